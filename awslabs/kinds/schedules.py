"""Schedules of EventBridge Scheduler. They take no tags: name and description say whose they are."""

from __future__ import annotations

import json
import re
from datetime import datetime, timedelta, timezone
from typing import Any

from awslabs.kinds.kind import Found, Mark, Reason
from awslabs.kinds.named import OURS, listed_by_name, named, pages, unless

MISSING = ("ResourceNotFoundException",)
NAME = re.compile(r"(?P<ledger>awslabs-[a-z0-9-]+-[a-z0-9]{6})-(?P<token>\d{14}-[0-9a-f]{16})")
PUT_OFF = timedelta(hours=1)
STEP = timedelta(minutes=2)  # by less no schedule is moved: a hundred tasks do it once
AT_ONCE = timedelta(minutes=1)  # from now, the soonest time that a schedule is given
TOLD = ("awslabs:owner", "awslabs:home", "awslabs:row")


def mark_schedule(request: dict[str, Any], mark: Mark) -> dict[str, Any]:
    """The token in the name, of 64 characters at most, and as client token; the rest as description."""
    told = json.dumps({key: mark.tags()[key] for key in TOLD})
    name = f"{request['Name']}-{mark.token}"
    return {**request, "Name": name, "ClientToken": mark.token, "Description": told}


def marks_of(shown: dict[str, Any]) -> dict[str, str]:
    """What the tags of another thing would say."""
    name = NAME.fullmatch(shown["Name"])
    try:
        told = json.loads(shown.get("Description") or "{}")
        tags = {key: str(told[key]) for key in TOLD}
    except (ValueError, KeyError, TypeError):
        tags = {"awslabs:row": "0 switch-schedule"}  # somebody has changed it
    return {**tags, "awslabs:ledger": name["ledger"], "awslabs:token": name["token"]} if name else {}


def show_schedule(scheduler: Any, ids: dict[str, str]) -> Found | None:
    answer = unless(MISSING, scheduler.get_schedule, Name=ids["Name"])
    return None if answer is None else Found({"Name": answer["Name"]}, tags=marks_of(answer))


def when(at: datetime | None) -> dict[str, Any]:
    """What a request says of the time from which on a schedule calls; without one it is out of use.

    AWS refuses a time that lies minutes back, and the clock of this computer may be late: a time that has
    come is a minute from now.
    """
    if at is None:
        return {"State": "DISABLED"}
    return {"State": "ENABLED", "StartDate": max(at, now() + AT_ONCE)}


def now() -> datetime:
    return datetime.now(timezone.utc).replace(microsecond=0)


def move(scheduler: Any, name: str, at: datetime | None, sooner: bool = True) -> None:
    """Let a schedule begin at another time, or not yet; without `sooner` only at a later one.

    It is left where it is a few minutes from there. What an update leaves out would be lost, so all is sent.
    """
    shown = unless(MISSING, scheduler.get_schedule, Name=name)
    if shown is None:
        return
    works = shown.get("State") != "DISABLED"
    begins = shown.get("StartDate") if works else None
    calls = works and begins is None  # somebody has taken its start out: it calls already
    later = at is not None and (calls or (begins is not None and at > begins))
    if (calls or differs(begins, at)) and (sooner or later):
        kept = ("Name", "Description", "FlexibleTimeWindow", "ScheduleExpression", "Target")
        scheduler.update_schedule(**{name: shown[name] for name in kept if name in shown}, **when(at))


def differs(one: datetime | None, other: datetime | None) -> bool:
    """Whether two times lie so far apart that a schedule is to be moved."""
    return one is not other if one is None or other is None else abs(one - other) >= STEP


def put_off(scheduler: Any, name: str) -> None:
    """Let it begin in an hour at the soonest."""
    move(scheduler, name, now() + PUT_OFF, sooner=False)


SCHEDULE = named(
    "scheduler:CreateSchedule",
    "Name",
    show_schedule,
    mark=mark_schedule,
    listed=listed_by_name(  # which shows no descriptions, so each is shown by itself
        show_schedule,
        lambda scheduler: pages(
            scheduler, "list_schedules", "Schedules", GroupName="default", NamePrefix=OURS
        ),
    ),
    delete=lambda scheduler, found: scheduler.delete_schedule(Name=found.id),
    guards=True,
    put_off=put_off,
    taken=("ConflictException already exists",),
    not_yet=("ValidationException must allow AWS EventBridge Scheduler to assume the role",),
    busy=("ConflictException",),
    absent=MISSING,
    looked_up=("StartDate", "State"),  # `move` puts them right
)

KINDS = [SCHEDULE]


# -- What a reader is told ---------------------------------------------------------------------------------

REASONS = {
    "scheduler:CreateSchedule": Reason(
        "An alarm clock within AWS (a schedule of EventBridge), which calls a function.",
        "When the lab's time is up it takes the lab down, though nobody comes back.",
        "AWS の中の目覚まし時計で、時間になると関数を呼びます（EventBridge のスケジュール）。",
        "時間が来たら、誰も戻らなくてもラボを片付けます。",
    ),
}
