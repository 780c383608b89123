"""What AWS tells of many things in one answer: whoever looks at a class's labs asks for each page once."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Any

log = logging.getLogger(__name__)

# Of these services listings by name show no tags. Source: API reference of the Resource Groups Tagging API.
TAGGED = ["dynamodb", "ecr", "ecs", "lambda", "logs", "s3", "sqs"]


class Overview:
    """The tags of a Region's things and the roles of an account, each read once, when somebody first asks.

    It is not the truth: the tagging API shows for a while what is gone, and not yet what is new. So a kind
    takes from its own listing what stands, and from here its tags; what has none here is asked for by itself.
    So is everything where the caller may not read it: ``tag:GetResources`` and
    ``iam:GetAccountAuthorizationDetails`` are rights that a student may lack.
    """

    def __init__(self, client_of: Callable[[str], Any]) -> None:
        self._client_of, self._mutex = client_of, threading.Lock()
        self._tags: dict[tuple[str, str], dict[str, str]] | None = None
        self._roles: dict[str, dict[str, Any]] | None = None

    def tags(self, service: str, resource: str) -> dict[str, str]:
        """The tags of one thing of ours, by how its ARN ends: ``table/people``; empty if nothing is known.

        AWS calls: ``tag:GetResources``, a page for some 80 things.
        """
        with self._mutex:
            if self._tags is None:
                self._tags = dict(self._read(self._tagged))
            return self._tags.get((service, resource), {})

    def role(self, name: str) -> dict[str, Any] | None:
        """A role with its tags, its policies and its instance profiles; None if nothing is known.

        AWS calls: ``iam:GetAccountAuthorizationDetails``, a page for 100 roles.
        """
        with self._mutex:
            if self._roles is None:
                self._roles = dict(self._read(self._all_roles))
            return self._roles.get(name)

    def knows_roles(self) -> bool:
        """Whether the roles of the account could be read: then one that is not known is not there."""
        return bool(self._roles)

    def _tagged(self) -> list[tuple[tuple[str, str], dict[str, str]]]:
        paginator = self._client_of("resourcegroupstaggingapi").get_paginator("get_resources")
        ours = [{"Key": "awslabs:token"}]
        answers = paginator.paginate(TagFilters=ours, ResourceTypeFilters=TAGGED, TagsPerPage=500)
        shown = [one for answer in answers for one in answer["ResourceTagMappingList"]]
        parts = [(one["ResourceARN"].split(":", 5), one["Tags"]) for one in shown]
        return [
            ((arn[2], arn[5].removesuffix(":*")), {tag["Key"]: tag["Value"] for tag in tags})
            for arn, tags in parts
        ]

    def _all_roles(self) -> list[tuple[str, dict[str, Any]]]:
        paginator = self._client_of("iam").get_paginator("get_account_authorization_details")
        answers = paginator.paginate(Filter=["Role"])
        return [(role["RoleName"], role) for answer in answers for role in answer["RoleDetailList"]]

    def _read(self, read: Callable[[], list[Any]]) -> list[Any]:
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            return read()
        except (BotoCoreError, ClientError) as error:
            log.debug("things are asked for one by one: %s", error)
            return []
