"""Labs that end by themselves: chapters with the dead-man's switch, and laptops that never come back.

    prove(labs, scratch, every)     each laptop dies at its call; then the switch's time comes, once for all

A case is killed in a fork, as in the matrix, and nobody runs anything ever again. Then the practice cloud's
clock is moved to the switches' time, and what stands is counted from outside: plain boto3, no ledger.

That clock goes on at the computer's pace: two minutes of it are two minutes in which a dozen functions start
on whatever processors are free, while each of AWS's has its own. So the promise "told to end within two
minutes" is held against the time since the switch's moment, every jump of the clock counted, times the share
of a processor that one busy thread got in that time (`Share`).
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import os
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any
from unittest import mock

import boto3
from botocore.exceptions import ClientError

from awslabs import inventory, sandbox
from awslabs.cloud import Cloud
from awslabs.ledger import Ledger
from harness import cases, outside
from harness.cases import KILLED_DURING, KILLS, Case, Point, Recording
from harness.labs import Lab
from harness.matrix import Matrix
from harness.outside import Thing, everything, thing
from harness.traps import Trap
from harness.trial import Place, Trial

LIFE = timedelta(days=2)  # longer than any test; a lab with a time of its own has that one
TIMED = ("gpu", "batch_sweep")
FIRST_S = 120.0  # after the switch's time all that costs was told to end: `Share` says by which clock
ROUND_S = 150.0  # until nothing stands, of the computer's: a loaded one starts a dozen functions
ROUNDS = 6  # times the schedule's two minutes, of the practice cloud's clock
PROBE_S = 0.1  # of a processor, once a second
TOGETHER = 16  # laptops whose switches come at the same time
COSTS = ("ec2 instance", "ec2 volume", "ecs task", "batch job", "ecr image")
STARTS = ("batch environment", "ec2 spot request")  # what starts something that costs, by itself
# What tells something that costs to end.
ENDS = (
    *("ec2:TerminateInstances", "ecs:StopTask", "batch:TerminateJob"),
    *("batch:DeleteComputeEnvironment", "ecr:DeleteRepository", "apigateway:DeleteRestApi"),
)


def schedules(client: Any) -> Iterator[Thing]:
    """Schedules of EventBridge Scheduler; when one begins is no matter of its shape."""
    for schedule in everything(client, "list_schedules", "Schedules"):
        yield thing("schedule", schedule["Name"], schedule["Name"], schedule["State"])


outside.LISTINGS["scheduler"] = schedules
cases.CODES["scheduler"] = {
    "THROTTLED": "ThrottlingException",
    "INTERNAL": "InternalServerException",
    "DENIED": "AccessDeniedException",
}


def switched(lab: Lab) -> Lab:
    """A lab whose `up` sets the switch; chapters with a time of their own do so anyway."""
    if lab.name in TIMED:
        return lab
    return dataclasses.replace(lab, up=functools.partial(up, lab.up))


def up(build: Callable[[Ledger], Any], ledger: Ledger) -> None:
    ledger.limit(ttl_minutes=round(LIFE.total_seconds() / 60))
    build(ledger)


# -- Laptops that die --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Abandoned:
    """A lab that nobody looks after any more.

    Attributes
    ----------
    account : str
        Where it stands.
    home : Path
        What is left of the laptop.
    before : set of Thing
        What was in the account before.
    ended : str
        How the last verb ended.
    at : datetime or None
        When its schedule calls first; None where there is none.
    """

    lab: str
    case: str
    account: str
    home: Path
    before: set[Thing]
    ended: str
    at: datetime | None


def abandon(case: Case, place: Place) -> Abandoned:
    """Run a lab's verbs until the one that is killed, and nothing ever again."""
    trial = Trial(case.lab, place, str(case), Counter(), tuple(outside.LISTINGS))
    before = outside.survey(trial.services, trial.client)
    verbs = list(case.lab.verbs)
    for verb in verbs[: verbs.index(case.point.verb)]:
        trial.must(verb, case)
    trap = Trap(case.point, case.fault, place.run, place.account, place.lag_s)
    done = trial.verb(case.point.verb, case, trap)
    assert trial.verdict.good, trial.verdict
    if case.fault == KILLED_DURING:
        time.sleep(place.lag_s + 1.0)  # nobody hears the answer, and it may take effect all the same
    scheduler = boto3.client("scheduler")
    made = [scheduler.get_schedule(Name=one["Name"]) for one in scheduler.list_schedules()["Schedules"]]
    at = max((one["StartDate"] for one in made), default=None)
    return Abandoned(case.lab.name, str(case), place.account, place.home, before, done.ended, at)


def every(recording: Recording) -> list[Case]:
    """A kill before the first call of `up`, and during and after each, and so of the lab's work."""
    calls = [point for point in recording.calls if point.verb != "down"]
    first = [Case(recording.lab, calls[0], KILLS[0], ())]
    return first + [
        Case(recording.lab, point, fault, ()) for point in calls for fault in (KILLED_DURING, KILLS[1])
    ]


def sample(recording: Recording, most: int) -> list[Case]:
    """The kill just before there is a schedule, the last of all, and more of those between, evenly."""
    calls = [point for point in recording.calls if point.verb != "down"]
    armed = [point.operation for point in calls].index("scheduler:CreateSchedule")
    late = calls[armed:]
    step = (len(late) - 1) / max(1, most - 2)
    chosen = {len(late) - 1 - round(number * step) for number in range(most - 1)}
    points: list[Point] = [calls[armed - 1], *(late[number] for number in sorted(chosen))]
    return [Case(recording.lab, point, KILLS[1], ()) for point in points]


# -- And what becomes of their labs ------------------------------------------------------------------------


@dataclass
class Figures:
    """What was seen of one lab.

    Attributes
    ----------
    armed, early : int
        Laptops that died with a schedule, and before there was one.
    told_s : list of float
        Of each laptop's lab with something that costs: seconds of the practice cloud's clock from the
        switch's time until the last of it was told to end.
    wrong : list of str
        What is not as promised.
    """

    armed: int = 0
    early: int = 0
    told_s: list[float] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        slowest = f"{max(self.told_s):.0f} s after its time at the latest" if self.told_s else "never needed"
        return (
            f"{self.armed + self.early} laptops died, {self.early} of them before there was a switch; "
            f"what costs was told to end {slowest}; {len(self.wrong)} wrong"
        )


class Share:
    """How much of a processor one busy thread gets, seen in a short piece of work now and then."""

    def __init__(self) -> None:
        self.wall_s = self.worked_s = 0.0

    def look(self) -> None:
        """Work for a tenth of a second of a processor's time."""
        wall, worked = time.monotonic(), time.thread_time()
        while time.thread_time() - worked < PROBE_S:
            pass
        self.wall_s += time.monotonic() - wall
        self.worked_s += time.thread_time() - worked

    @property
    def now(self) -> float:
        """1 on a computer with a processor to spare, less on a loaded one."""
        return min(1.0, self.worked_s / self.wall_s)


def prove(
    labs: Iterable[Lab],
    scratch: Path,
    choose: Callable[[Recording], list[Case]],
    say: Callable[[str], None] = lambda text: None,
    *,
    jobs: int = 4,
    slow_states: float = 0.01,
) -> dict[str, Figures]:
    """Let laptops die, some at a time, each group on a practice cloud of its own.

    Parameters
    ----------
    choose : callable
        Of the recording of a lab, at which calls: `every` or `sample`.

    Returns
    -------
    dict of Figures
        By the lab's name.
    """
    labs = [switched(lab) for lab in labs]
    figures = {lab.name: Figures() for lab in labs}
    number, left = 0, None
    while left is None or left:
        home = scratch / f"group-{number}"
        run = sandbox.start(slow_states=slow_states, lag_ms=100, home=home / "cloud")
        try:
            with Matrix(run, home / "cases", jobs) as matrix:
                if left is None:
                    left = [case for recording in matrix.records(labs) for case in choose(recording)]
                now, left = left[:TOGETHER], left[TOGETHER:]
                abandoned = matrix.each(abandon, now)
            before = {name: len(seen.wrong) for name, seen in figures.items()}
            group(run, abandoned, figures)
        finally:
            run.stop()
        number += 1
        for name in sorted({one.lab for one in abandoned}):
            new = figures[name].wrong[before[name] :]
            say("\n".join([*new, f"{name}: {figures[name]}; {len(left)} to come"]))
    return figures


def group(run: sandbox.Run, abandoned: list[Abandoned], figures: dict[str, Figures]) -> None:
    """Judge some labs; their time comes at once."""
    for one in abandoned:
        if one.ended != "SIGKILL":
            figures[one.lab].wrong.append(f"{one.case}: ended with {one.ended}")
        if one.at is None:
            figures[one.lab].early += 1
            figures[one.lab].wrong += [f"{one.case}: {text}" for text in of_no_switch(run, one)]
    armed = [one for one in abandoned if one.at is not None]
    if not armed:
        return
    left = {one.account: standing(run, one) for one in armed}
    costly = {account: those_of(things, (*COSTS, *STARTS)) for account, things in left.items()}
    due, began, share = max(one.at for one in armed if one.at), time.time(), Share()
    run.pass_time(max(0.0, (due - datetime.now(timezone.utc)).total_seconds()))  # both go alike from here on
    jumps: list[float] = []
    for _ in range(ROUNDS):
        until = time.monotonic() + ROUND_S
        while any(left.values()) and time.monotonic() < until:
            share.look()
            time.sleep(1)
            for one in armed:
                with contextlib.suppress(ClientError):  # it went between two questions about it: asked again
                    left[one.account] = left[one.account] and standing(run, one)
        if not any(left.values()):
            break
        jumps.append(time.time())
        run.pass_time(FIRST_S)
    for one in armed:
        seen = figures[one.lab]
        seen.armed += 1
        seen.wrong += [
            f"{one.case}: {thing} stands in the end" for thing in sorted(map(str, left[one.account]))
        ]
        if not costly[one.account]:
            continue
        ends = [call["at"] for call in run.calls(one.account) if is_end(call) and call["at"] >= began]
        last = max(ends, default=float("inf"))
        told_s = last - began + FIRST_S * sum(jump <= last for jump in jumps)
        seen.told_s.append(told_s)
        if told_s * share.now > FIRST_S:
            seen.wrong.append(
                f"{one.case}: {', '.join(costly[one.account])}: told to end {told_s:.0f} s after its time, "
                f"with {share.now:.0%} of a processor"
            )


def is_end(call: dict[str, Any]) -> bool:
    return call["operation"] in ENDS and not call["code"]


def of_no_switch(run: sandbox.Run, one: Abandoned) -> list[str]:
    """What is wrong with a lab whose laptop died early: something costs, or `verify` does not name it."""
    found = standing(run, one)
    costs = [f"{thing} costs, and there is no switch" for thing in those_of(found, (*COSTS, *STARTS))]
    with as_user(run, one):
        report, refused = inventory.verify(Cloud())
    named = with_what_comes(
        {str(row["id"]) for row in report if row["id"] and row["on_aws"] != "absent"}, clients(run, one)
    )
    unnamed = [
        f"{thing} is not listed by verify"
        for thing in sorted(found, key=str)
        if not any(is_in(id, thing) for id in named)
    ]
    return [*costs, *unnamed, *map(str, refused)]


def with_what_comes(ids: set[str], client: Callable[[str], Any]) -> set[str]:
    """These identifiers, the other one of a key pair, and those of what AWS makes with each VPC, unasked."""
    ec2 = client("ec2")
    pairs = {
        one["KeyPairId"] for one in everything(ec2, "describe_key_pairs", "KeyPairs") if one["KeyName"] in ids
    }
    tables = [
        one
        for one in everything(ec2, "describe_route_tables", "RouteTables")
        if any(tie.get("Main") for tie in one["Associations"])
    ]
    groups = [
        one
        for one in everything(ec2, "describe_security_groups", "SecurityGroups")
        if one["GroupName"] == "default"
    ]
    lists = [one for one in everything(ec2, "describe_network_acls", "NetworkAcls") if one["IsDefault"]]
    made = [(tables, "RouteTableId"), (groups, "GroupId"), (lists, "NetworkAclId")]
    return ids | pairs | {one[id] for those, id in made for one in those if one["VpcId"] in ids}


def is_in(id: str, one: Thing) -> bool:
    """Whether the thing is it, or a part of it: a rule begins with its group, an ARN ends with a name."""
    words = [word.removesuffix(":*") for word in one.id.split()]
    return any(word == id or word.endswith((f":{id}", f"/{id}")) for word in words)


def those_of(things: set[Thing], kinds: tuple[str, ...]) -> list[str]:
    return sorted(str(one) for one in things if one.kind in kinds)


def as_user(run: sandbox.Run, one: Abandoned) -> contextlib.AbstractContextManager[Any]:
    """Be the user of this account, with what the laptop has left."""
    home = {"HOME": str(one.home), "AWSLABS_HOME": str(one.home / ".awslabs")}
    return mock.patch.dict(os.environ, run.environment(one.account, region="us-east-1") | home)


def standing(run: sandbox.Run, one: Abandoned) -> set[Thing]:
    """What is in the account that was not there, from outside."""
    return outside.survey(tuple(outside.LISTINGS), clients(run, one)) - one.before


def clients(run: sandbox.Run, one: Abandoned) -> Callable[[str], Any]:
    """boto3's clients of one account, by service."""
    given = run.environment(one.account, region="us-east-1")
    session = boto3.Session(
        aws_access_key_id=given["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=given["AWS_SECRET_ACCESS_KEY"],
        region_name="us-east-1",
    )
    return functools.cache(functools.partial(session.client, endpoint_url=run.endpoint_url))
