"""CloudWatch Logs: how long logs may be kept, which names a group may have, what the answers say of it."""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Callable
from typing import Any

from moto.logs.exceptions import ResourceAlreadyExistsException, ResourceNotFoundException
from moto.logs.models import LogStream, logs_backends

from awslabs.sandbox.core.engine import (
    Call,
    Proceed,
    Refused,
    around,
    before,
    clock,
    memory,
    patch,
    rule,
    scaled,
    state,
)
from awslabs.sandbox.core.policies import as_list

LATE_S = 300.0
LONGEST_NAME = 512

DAYS = (
    *(1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731),
    *(1096, 1827, 2192, 2557, 2922, 3288, 3653),
)
"""The retention times that there are. Source: CloudWatch Logs API reference, PutRetentionPolicy."""


invalid = functools.partial(Refused, "InvalidParameterException")


@before("logs:PutRetentionPolicy")
def retention_from_a_list(call: Call) -> None:
    """Days that are not on AWS's list: InvalidParameterException. moto keeps any.

    Source: aws-facts (g), (j).
    """
    days = call.get("retentionInDays")
    if days not in DAYS:
        raise invalid(
            f"1 validation error detected: Value '{days}' at 'retentionInDays' failed to satisfy constraint: "
            f"Member must satisfy enum value set: {list(DAYS)}",
        )


@before("logs:CreateLogGroup")
def log_group_names(call: Call) -> None:
    """A name that begins with ``aws/``, or has other signs than AWS takes: InvalidParameterException.

    moto takes any. Source: aws-facts (j), (k); CloudWatch Logs API reference, CreateLogGroup.
    """
    name = call.get("logGroupName", "")
    if len(name) > LONGEST_NAME:
        raise invalid(
            f"Invalid LogGroup or LogStream, both must have length less than or equal to {LONGEST_NAME}.",
        )
    if name.lower().startswith("aws/"):
        raise invalid("Log groups starting with AWS/ are reserved for AWS.")
    if not re.fullmatch(r"[.\-_/#A-Za-z0-9]+", name):
        raise invalid(
            f"1 validation error detected: Value '{name}' at 'logGroupName' failed to satisfy constraint: "
            r"Member must satisfy regular expression pattern: [\.\-_/#A-Za-z0-9]+",
        )


@around("logs:CreateLogStream", "logs:DeleteLogStream", "logs:GetLogEvents")
def streams_have_their_own_words(call: Call, proceed: Proceed) -> Any:
    """A log stream that is not there, or is there already, is called a stream. moto speaks of its group.
    Source: aws-facts (k).
    """
    try:
        return proceed()
    except ResourceAlreadyExistsException as problem:
        raise Refused(problem.error_type, "The specified log stream already exists", 400) from problem
    except ResourceNotFoundException as problem:
        name = call.get("logGroupName") or call.get("logGroupIdentifier", "").rpartition(":")[2]
        if name not in logs_backends[call.account][call.region].groups:
            raise
        raise Refused(problem.error_type, "The specified log stream does not exist.", 400) from problem


@state
class Written(list[tuple[float, int]]):
    """What was put into a stream: when, and the time of its latest event in ms since 1970."""


last_event_is_late = rule(
    "last_event_is_late",
    """A stream's lastEventTimestamp, and so the order by LastEventTime, is 5 min late (times `slow_states`).

    moto knows it at once. On AWS it "updates on an eventual consistency basis. It typically updates in less
    than an hour from ingestion". Source: CloudWatch Logs API reference, LogStream, DescribeLogStreams.""",
)


@last_event_is_late.patch(LogStream, "put_log_events")
def _note(original: Callable[..., str], stream: Any, log_events: list[dict[str, Any]]) -> str:
    token = original(stream, log_events)
    if log_events:  # all may be too old or too new
        memory(stream, Written).append((clock.now(), max(event["timestamp"] for event in log_events)))
    return token


@last_event_is_late.patch(LogStream, "to_describe_dict")
def _describe(original: Callable[[Any], dict[str, Any]], stream: Any) -> dict[str, Any]:
    shown = original(stream)
    known = [last for at, last in memory(stream, Written) if at + scaled(LATE_S) <= clock.now()]
    shown.pop("lastEventTimestamp", None)
    return {**shown, "lastEventTimestamp": max(known)} if known else shown


# --- what the answers say -----------------------------------------------------------------------------


@state
class Class(list[str]):
    """The class of a log group, if one was asked for."""


groups_have_a_class = rule(
    "groups_have_a_class",
    """DescribeLogGroups shows each group's logGroupClass and that nothing protects it from deletion.

    moto knows no classes. Source: aws-facts (k).""",
)


@groups_have_a_class.around("logs:CreateLogGroup")
def _note_class(call: Call, proceed: Proceed) -> Any:
    answer = proceed()
    group = call.response.logs_backend.groups[call.get("logGroupName")]
    memory(group, Class)[:] = [call.get("logGroupClass", "STANDARD")]
    return answer


@groups_have_a_class.around("logs:DescribeLogGroups")
def _with_class(call: Call, proceed: Proceed) -> Any:
    answer = json.loads(proceed())
    for shown in answer["logGroups"]:
        (kind,) = memory(call.response.logs_backend.groups[shown["logGroupName"]], Class) or ["STANDARD"]
        shown["logGroupClass"] = kind
        if call.get("logGroupNamePattern") is None:  # see `groups_by_pattern`
            shown["deletionProtectionEnabled"] = False
    return json.dumps(answer)


@around("logs:DescribeLogGroups")
def groups_by_pattern(call: Call, proceed: Proceed) -> Any:
    """A pattern is part of the names that are wanted; together with a prefix: InvalidParameterException.

    These answers have neither storedBytes nor deletionProtectionEnabled. moto does not look at the pattern.
    Source: aws-facts (k); botocore, DescribeLogGroups, logGroupNamePattern.
    """
    pattern, prefix = call.get("logGroupNamePattern"), call.get("logGroupNamePrefix")
    if pattern is None:
        return proceed()
    if prefix is not None:
        raise invalid("LogGroup name prefix and LogGroup name pattern are mutually exclusive parameters.")
    found = [group for name, group in sorted(call.response.logs_backend.groups.items()) if pattern in name]
    after, limit = str(call.get("nextToken", "")), int(call.get("limit", 50))
    page = [group for group in found if group.name > after]
    shown = [group.to_describe_dict() for group in page[:limit]]
    for each in shown:
        del each["storedBytes"]
    more = {"nextToken": page[limit - 1].name} if len(page) > limit else {}
    return json.dumps({"logGroups": shown, **more})


@before("logs:DescribeLogStreams", "logs:GetLogEvents", "logs:FilterLogEvents")
def name_or_identifier(call: Call) -> None:
    """A group's name and its identifier at once: ValidationException 400. moto takes the identifier.

    Source: aws-facts (k), recorded of DescribeLogStreams; botocore says the same of the other two.
    """
    if call.get("logGroupName") is not None and call.get("logGroupIdentifier") is not None:
        message = "LogGroup name and LogGroup ARN are mutually exclusive parameters."
        raise Refused("ValidationException", message)


@before("logs:FilterLogEvents")
def tokens_are_ours(call: Call) -> None:
    """A nextToken that FilterLogEvents never gave: InvalidParameterException. moto: an empty page.

    Source: aws-facts (k).
    """
    token = call.get("nextToken")
    group = call.response.logs_backend.groups.get(call.get("logGroupName"))
    if token is None or group is None:
        return
    name, _, rest = str(token).partition("@")
    stream, _, event_id = rest.rpartition("@")
    events = group.streams[stream].events if stream in group.streams else []
    if name != group.name or event_id not in {str(event.event_id) for event in events}:
        raise invalid("The specified nextToken is invalid.")


@patch(LogStream, "to_describe_dict")
def streams_have_no_size(original: Callable[[Any], dict[str, Any]], stream: Any) -> dict[str, Any]:
    """A stream's storedBytes is 0. moto counts. Source: botocore, LogStream: zero since 2019-06-17."""
    return {**original(stream), "storedBytes": 0}


@before("logs:DeleteResourcePolicy")
def resource_policies_that_are_not_there(call: Call) -> None:
    """AWS ends the sentence with a full stop, moto does not. Source: aws-facts (k)."""
    name = call.get("policyName")
    if name not in logs_backends[call.account][call.region].resource_policies:
        raise Refused("ResourceNotFoundException", f"Policy with name [{name}] does not exist.")


@around("logs:DescribeResourcePolicies", "logs:PutResourcePolicy")
def policies_have_a_scope(call: Call, proceed: Proceed) -> Any:
    """A resource policy without a resource is the account's: policyScope ACCOUNT. It is shown with a Version,
    and one principal alone is no list. moto does not say the first, and shows what was sent.

    Source: aws-facts (k).
    """
    answer = json.loads(proceed())
    for policy in answer.get("resourcePolicies", [answer.get("resourcePolicy")]):
        policy["policyScope"] = "ACCOUNT"
        if call.action == "DescribeResourcePolicies":
            policy["policyDocument"] = _kept(policy["policyDocument"])
    return json.dumps(answer)


def _kept(text: str) -> str:
    """A policy's document as it is shown when it is kept."""
    document = {"Version": "2008-10-17"} | json.loads(text)
    for statement in as_list(document.get("Statement")):
        principal = statement.get("Principal")
        for kind, names in principal.items() if isinstance(principal, dict) else ():
            principal[kind] = names[0] if isinstance(names, list) and len(names) == 1 else names
    return json.dumps(document)
