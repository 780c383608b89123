"""Tags of AWS Batch: on environments, queues, definitions and jobs; the tagging API finds all but jobs.

Source: aws-facts (c)+(d). moto keeps Batch out of the tagging API.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterable, Iterator
from typing import Any
from urllib.parse import unquote

from moto.batch.models import batch_backends
from moto.core.resource_tagging import TaggedResource
from moto.resourcegroupstaggingapi import models as tagging

from awslabs.sandbox.core.engine import Call, Refused
from awslabs.sandbox.services.batch.api import batch, check_tags, refuse
from awslabs.sandbox.services.batch.records import Batch, Definition, Environment, Job, Queue, batch_of
from awslabs.sandbox.services.iam import needs


def tags_of(store: Batch, arn: str) -> dict[str, str]:
    """The tags of a thing, to read and to change.

    Raises
    ------
    Refused
        When there is no such thing.
    """
    every: list[Iterable[Environment | Queue | Job | Definition]] = list(store.definitions.values())
    every += (store.environments.values(), store.queues.values(), store.jobs.values())
    for thing in itertools.chain.from_iterable(every):
        if thing.arn == arn:
            return thing.tags
    raise refuse(f"{arn} does not exist")


def _tags(account: str, region: str, rest: str) -> dict[str, str]:
    """For policies: what stands under the end of an ARN, ``job/ID``; of an array's child, its parent's."""
    arn = f"arn:aws:batch:{region}:{account}:{rest.partition(':')[0]}"
    try:
        return tags_of(batch_of(account, region), arn)
    except Refused:
        return {}


needs.TAGGED["batch"] = _tags


@batch.operation("batch:ListTagsForResource")
def _list(call: Call) -> dict[str, Any]:
    return {"tags": tags_of(*_named(call))}


@batch.operation("batch:TagResource")
def _tag(call: Call) -> dict[str, Any]:
    store, arn = _named(call)
    Found(store).tag_resource(arn, json.loads(call.response.body or "{}").get("tags", {}))
    return {}


@batch.operation("batch:UntagResource")
def _untag(call: Call) -> dict[str, Any]:
    store, arn = _named(call)
    Found(store).untag_resource(arn, call.response.querystring.get("tagKeys", []))
    return {}


def _named(call: Call) -> tuple[Batch, str]:
    """What a call names in its path, and where it is."""
    return batch_of(call.account, call.region), unquote(call.response.path).partition("/v1/tags/")[2]


class Found:
    """Batch of one account and Region, as moto's tagging API wants a service."""

    def __init__(self, store: Batch) -> None:
        self.store = store

    def iter_tagged_resources(self) -> Iterator[TaggedResource]:
        """Everything; what has no tags is left out by who asks."""
        for environment in self.store.environments.values():
            yield TaggedResource(environment.arn, dict(environment.tags), "batch:compute-environment")
        for queue in self.store.queues.values():
            yield TaggedResource(queue.arn, dict(queue.tags), "batch:job-queue")
        for known in self.store.definitions.values():
            for definition in known:
                yield TaggedResource(definition.arn, dict(definition.tags), "batch:job-definition")

    def owns_arn(self, arn: str) -> bool:
        return arn.startswith(self.store.arn(""))

    def tag_resource(self, arn: str, tags: dict[str, str]) -> None:
        own = tags_of(self.store, arn)
        own |= check_tags(own | tags)

    def untag_resource(self, arn: str, tag_keys: list[str]) -> None:
        own = tags_of(self.store, arn)
        for key in tag_keys:
            own.pop(key, None)


@batch.patch(tagging, "iter_taggable_backends")
def _with_batch(original: Callable[..., Iterator[Any]], account: str, region: str) -> Iterator[Any]:
    yield from original(account, region)
    if account in batch_backends and region in list(batch_backends[account]):
        yield Found(batch_of(account, region))
