"""EventBridge Scheduler: which schedules AWS takes, and what it answers to a request that comes twice.

The practice cloud fires what it takes (firing.py). What it cannot fire it refuses, and says so: cron
expressions, and targets other than functions and queues.
"""

from __future__ import annotations

import functools
import hashlib
import json
import re
from collections.abc import Callable
from datetime import datetime, timezone
from typing import Any

from moto.scheduler.models import EventBridgeSchedulerBackend, Schedule, scheduler_backends

from awslabs.sandbox.core.engine import Call, Proceed, Refused, around, before, clock, memory, nobody, state
from awslabs.sandbox.services.iam import identities

SERVICE = "scheduler.amazonaws.com"
RATE = re.compile(r"rate\(([1-9]\d*) (minute|hour|day)s?\)")
AT = re.compile(r"at\((\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)\)")
CRON = re.compile(r"cron\((\S+) (\S+) (\S+) (\S+) (\S+) (\S+)\)")
MONTHS = "JAN|FEB|MAR|APR|MAY|JUN|JUL|AUG|SEP|OCT|NOV|DEC"
DAYS = "SUN|MON|TUE|WED|THU|FRI|SAT"
FIELDS = ((0, 59, ""), (0, 23, ""), (1, 31, ""), (1, 12, MONTHS), (1, 7, DAYS), (1970, 2199, ""))
SECONDS = {"minute": 60, "hour": 3600, "day": 86400}
OLDEST_S = 300  # of a start that lies in the past
NAME = re.compile(r"[0-9a-zA-Z-_.]+")
ROLE_ARN = re.compile(r"arn:aws[a-z-]*:iam::\d{12}:role\/[\w+=,.@\/-]+")


def backend_of(call: Call) -> EventBridgeSchedulerBackend:
    """moto's Scheduler of the caller's account and Region."""
    return scheduler_backends[call.account][call.region]


def name_of(call: Call) -> str:
    """The schedule that a request is about: its name stands in the address."""
    return str(call.response.uri.split("?")[0].rpartition("/")[2])


def find(call: Call) -> Schedule | None:
    """The schedule that CreateSchedule or UpdateSchedule is about, if it is there."""
    group = backend_of(call).schedule_groups.get(call.get("GroupName") or "default")
    return group.schedules.get(name_of(call)) if group else None


invalid = functools.partial(Refused, "ValidationException")


# --- names, roles and times ------------------------------------------------------------------------------


@before("scheduler:CreateSchedule", "scheduler:UpdateSchedule")
def schedule_fits_the_model(call: Call) -> None:
    """A name of other characters or more than 64, an ARN that is none: ValidationException. moto takes any.

    Source: botocore, Name and RoleArn; the sentence: aws/aws-sdk-net#2495.
    """
    target = call.get("Target") or {}
    for where, value, pattern in (
        ("name", name_of(call), NAME),
        ("target.roleArn", target.get("RoleArn", ""), ROLE_ARN),
    ):
        begin = f"1 validation error detected: Value '{value}' at '{where}' failed to satisfy constraint: "
        if not pattern.fullmatch(value):
            raise invalid(f"{begin}Member must satisfy regular expression pattern: {pattern.pattern}")
        if where == "name" and len(value) > 64:
            raise invalid(f"{begin}Member must have length less than or equal to 64")


@before("scheduler:CreateSchedule", "scheduler:UpdateSchedule")
def schedule_expression(call: Call) -> None:
    """An expression that is none: ValidationException. moto takes any text.

    Source: LocalStack's records of AWS (2025-01-26), which AWS lets be `rate(2 minute)`.
    """
    text = call.get("ScheduleExpression", "")
    if not (RATE.fullmatch(text) or is_moment(text) or is_cron(text)):
        raise invalid(f"Invalid Schedule Expression {text}.")
    if text.startswith("cron"):
        raise Refused("NotImplemented", "The practice cloud fires rate(...) and at(...), but no cron.")


def is_moment(text: str) -> bool:
    match = AT.fullmatch(text)
    try:
        return bool(match and datetime.fromisoformat(match[1]))
    except ValueError:
        return False


def is_cron(text: str) -> bool:
    """Six fields, one of the two for days a question mark, numbers within their bounds.

    Source: EventBridge Scheduler user guide, "Schedule types".
    """
    match = CRON.fullmatch(text)
    if not match or (match[3] == "?") == (match[5] == "?"):
        return False
    return all(
        re.fullmatch(rf"([*?,/LW#-]|\d+|{names or '-'})+", part)
        and all(least <= int(number) <= most for number in re.findall(r"(?<![/#\d])\d+", part))
        for part, (least, most, names) in zip(match.groups(), FIELDS, strict=True)
    )


@before("scheduler:CreateSchedule", "scheduler:UpdateSchedule")
def schedule_start(call: Call) -> None:
    """A StartDate more than five minutes ago: ValidationException. moto looks at cron expressions alone.

    Source: moto's own refusal, whose sentence this is.
    """
    start = call.get("StartDate")
    if start is not None and float(start) < clock.now() - OLDEST_S:
        raise invalid("The StartDate you specify cannot be earlier than 5 minutes ago.")


@before("scheduler:CreateSchedule", "scheduler:UpdateSchedule")
def schedule_role_is_ready(call: Call) -> None:
    """A role that is too fresh, or does not trust the service: ValidationException. moto does not look.

    Source: hashicorp/terraform-provider-aws, internal/service/scheduler/retry.go; aws/aws-sdk-js-v3#6494.
    """
    role = (call.get("Target") or {}).get("RoleArn", "")
    group = call.get("GroupName") or "default"
    group_arn = f"arn:aws:scheduler:{call.region}:{call.account}:schedule-group/{group}"
    if not identities.assumable(call.account, role, SERVICE, source_arn=group_arn):
        raise invalid(
            "The execution role you provide must allow AWS EventBridge Scheduler to assume the role."
        )


@before("scheduler:CreateSchedule", "scheduler:UpdateSchedule")
def schedule_target_can_be_called(call: Call) -> None:
    """The practice cloud's own limit: it calls functions, sends to queues, and says so for all else.

    moto keeps any target. AWS calls more than 270 services.
    """
    arn = (call.get("Target") or {}).get("Arn", "")
    if not re.fullmatch(r"arn:aws:(lambda:[^:]+:\d{12}:function|sqs:[^:]+:\d{12}):.+", arn):
        message = f"The practice cloud's schedules call Lambda functions and SQS queues, not {arn}."
        raise Refused("NotImplemented", message)


@before("scheduler:CreateSchedule")
def schedule_group_exists(call: Call) -> None:
    """A group that is not there: ResourceNotFoundException 404. moto fails with a KeyError.

    Source: botocore, CreateSchedule; the sentence is that of GetSchedule, as moto has it.
    """
    group = call.get("GroupName") or "default"
    if group not in backend_of(call).schedule_groups:
        raise Refused("ResourceNotFoundException", f"Schedule group {group} does not exist.")


# --- when it fires ---------------------------------------------------------------------------------------


changed: Callable[[EventBridgeSchedulerBackend, Schedule], None] = nobody
"""Who is told of a schedule that was made or changed: `firing`. Under `mock_aws` nothing fires."""


@around("scheduler:CreateSchedule", "scheduler:UpdateSchedule")
def schedules_fire(call: Call, proceed: Proceed) -> Any:
    """A schedule calls its target when its time comes. moto only keeps it.

    Source: EventBridge Scheduler user guide, "Schedule types".
    """
    answer = proceed()
    if (schedule := find(call)) is not None:
        changed(backend_of(call), schedule)
    return answer


def next_due(schedule: Schedule, begun: float) -> float | None:
    """When a schedule fires next, from now on; None for one that is over.

    A rate without a start fires as soon as it has `begun`, and with one at that moment ("use the StartDate
    property to set the first occurrence"); from there on in even steps.
    Source: EventBridge Scheduler user guide, "Schedule types".
    """
    now, text = clock.now(), schedule.schedule_expression
    if match := AT.fullmatch(text):
        at = datetime.fromisoformat(match[1]).replace(tzinfo=timezone.utc).timestamp()
        return at if at > now else None
    match = RATE.fullmatch(text)
    assert match is not None  # nothing else was taken
    period = int(match[1]) * SECONDS[match[2]]
    start = float(schedule.start_date or begun)
    due = start if start >= now else start + -(-(now - start) // period) * period
    return None if schedule.end_date and due > float(schedule.end_date) else due


# --- twice, and anew -------------------------------------------------------------------------------------


@state
class ScheduleTokens(dict[str, str]):
    """Client tokens of CreateSchedule, with what was asked."""


@around("scheduler:CreateSchedule")
def schedule_token(call: Call, proceed: Proceed) -> Any:
    """The same ClientToken with the same request: the same answer; another request: ConflictException 409.

    moto says that there is one already, with 400. Source: botocore, CreateSchedule ("to ensure the
    idempotency") and the status of its ConflictException; the sentence is moto's.
    """
    token, kept = call.get("ClientToken"), memory(backend_of(call), ScheduleTokens)
    body = json.dumps(json.loads(call.response.body), sort_keys=True)
    digest, schedule = hashlib.sha256(f"{name_of(call)} {body}".encode()).hexdigest(), find(call)
    if token and kept.get(token) == digest and schedule is not None:
        return 200, {}, json.dumps({"ScheduleArn": schedule.arn})
    if schedule is not None:
        raise Refused("ConflictException", f"Schedule {name_of(call)} already exists.")
    answer = proceed()
    if token:
        kept[token] = digest
    return answer


@around("scheduler:UpdateSchedule")
def schedule_update(call: Call, proceed: Proceed) -> Any:
    """What UpdateSchedule leaves out gets its default again: the state ENABLED, no dates. moto: no state.

    Source: EventBridge Scheduler API reference, UpdateSchedule.
    """
    answer = proceed()
    if (schedule := find(call)) is not None:
        schedule.state = call.get("State") or "ENABLED"
        schedule.action_after_completion = call.get("ActionAfterCompletion") or "NONE"
    return answer
