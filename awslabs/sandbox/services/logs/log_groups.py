"""CloudWatch Logs: how long logs may be kept, which names a group may have, how late a stream's time is."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from moto.logs.exceptions import ResourceAlreadyExistsException, ResourceNotFoundException
from moto.logs.models import LogStream, logs_backends

from awslabs.sandbox.core.engine import Call, Proceed, Refused, before, clock, memory, rule, scaled, state

LATE_S = 300.0

DAYS = (
    *(1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731),
    *(1096, 1827, 2192, 2557, 2922, 3288, 3653),
)
"""The retention times that there are. Source: CloudWatch Logs API reference, PutRetentionPolicy."""


@before("logs:PutRetentionPolicy")
def retention_from_a_list(call: Call) -> None:
    """Days that are not on AWS's list: InvalidParameterException. moto keeps any.

    Source: aws-facts (g), (j).
    """
    days = call.get("retentionInDays")
    if days not in DAYS:
        raise Refused(
            "InvalidParameterException",
            f"1 validation error detected: Value '{days}' at 'retentionInDays' failed to satisfy constraint: "
            f"Member must satisfy enum value set: {list(DAYS)}",
            400,
        )


@before("logs:CreateLogGroup")
def log_group_names(call: Call) -> None:
    """A name that begins with ``aws/``, or has other signs than AWS takes: InvalidParameterException.

    moto takes any. Source: aws-facts (j); CloudWatch Logs API reference, CreateLogGroup.
    """
    name = call.get("logGroupName", "")
    if name.lower().startswith("aws/"):
        raise Refused("InvalidParameterException", "Log groups starting with AWS/ are reserved for AWS.", 400)
    if not re.fullmatch(r"[.\-_/#A-Za-z0-9]+", name):
        raise Refused(
            "InvalidParameterException",
            f"1 validation error detected: Value '{name}' at 'logGroupName' failed to satisfy constraint: "
            r"Member must satisfy regular expression pattern: [\.\-_/#A-Za-z0-9]+",
            400,
        )


streams_have_their_own_words = rule(
    "streams_have_their_own_words",
    """A log stream that is not there, or is there already, is called a stream. moto speaks of its group.
    Source: aws-facts (k).""",
)


@streams_have_their_own_words.around("logs:CreateLogStream", "logs:DeleteLogStream", "logs:GetLogEvents")
def _call_it_a_stream(call: Call, proceed: Proceed) -> Any:
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
    memory(stream, Written).append((clock.now(), max(event["timestamp"] for event in log_events)))
    return token


@last_event_is_late.patch(LogStream, "to_describe_dict")
def _describe(original: Callable[[Any], dict[str, Any]], stream: Any) -> dict[str, Any]:
    shown = original(stream)
    known = [last for at, last in memory(stream, Written) if at + scaled(LATE_S) <= clock.now()]
    shown.pop("lastEventTimestamp", None)
    return {**shown, "lastEventTimestamp": max(known)} if known else shown
