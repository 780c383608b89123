"""Lambda's tags: what can carry some, and how many.

Source: Lambda developer guide, "Using tags on Lambda functions"; aws-facts (k).
"""

from __future__ import annotations

import re
import urllib.parse
from typing import Any

from awslabs.sandbox.core.engine import Call, Proceed, around, before
from awslabs.sandbox.services.lambda_ import configurations, functions, shapes

_MOST = 50
_PATTERN = (
    r"arn:(aws[a-zA-Z-]*):lambda:(eusc-)?[a-z]{2}((-gov)|(-iso([a-z]?)))?-[a-z]+-\d{1}:\d{12}:"
    r"(function:[a-zA-Z0-9-_]+(:(\$LATEST|[a-zA-Z0-9-_]+))?|layer:([a-zA-Z0-9-_]+)|"
    r"code-signing-config:csc-[a-z0-9]{17}|"
    r"event-source-mapping:[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}|"
    r"capacity-provider:[a-zA-Z0-9-_]+)"
)
"""Of an ARN, as AWS named it on 2025-11-25: botocore's model has another one."""


@before("lambda:TagResource", "lambda:UntagResource", "lambda:ListTags")
def tags_are_of_functions(call: Call) -> None:
    """An ARN that is of nothing with tags: ValidationException; of a version or an alias, or no tags at all:
    InvalidParameterValueException. moto takes the last words of any ARN for a function's name.
    Source: aws-facts (k).
    """
    arn = _arn(call)
    if not re.fullmatch(_PATTERN, arn, re.ASCII):
        raise shapes.wrong(arn, "resource", f"Member must satisfy regular expression pattern: {_PATTERN}")
    kind, _, name = arn.split(":", 5)[5].partition(":")
    if kind == "capacity-provider":
        raise shapes.missing(f"Capacity provider not found: {arn}")
    if kind != "function":
        return
    if ":" in name:
        raise shapes.invalid(
            "Tags on function aliases and versions are not supported. Please specify a function ARN."
        )
    if call.action == "TagResource":
        tags = call.get("Tags") or {}
        if not tags:
            raise shapes.invalid("An error occurred and the request cannot be processed.")
        held = functions.find(call.account, call.region, arn).tags or {}
        look_at_number(held | tags)


@around("lambda:TagResource", "lambda:UntagResource")
def tags_are_changes(call: Call, proceed: Proceed) -> Any:
    """Tagging a function gives it another RevisionId. moto has none. Source: aws-facts (k)."""
    answer = proceed()
    if ":function:" in _arn(call):
        configurations.revise(functions.find(call.account, call.region, _arn(call)))
    return answer


def _arn(call: Call) -> str:
    return urllib.parse.unquote(call.response.path.partition("/tags/")[2])


@before("lambda:CreateFunction")
def functions_have_fifty_tags(call: Call) -> None:
    """More than 50 tags: InvalidParameterValueException. moto takes them. Source: aws-facts (k)."""
    look_at_number(call.get("Tags") or {})


def look_at_number(tags: dict[str, str]) -> None:
    """Refuse more tags than a function, or an event source mapping, may have."""
    if len(tags) > _MOST:
        raise shapes.invalid("Number of tags exceeds resource tag limit.")
