"""What goes wrong, and where: the cases of one lab, from a recording of a run in which nothing does."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from harness.labs import Lab

SAVE = "save"  # the operation of a `Point` that is no call to AWS: the ledger syncs its file


@dataclass(frozen=True)
class Point:
    """A place in the run of a verb.

    Attributes
    ----------
    verb : str
        ``up``, ``down``, or one of the lab's own.
    operation : str
        ``ec2:CreateVpc``, or ``save``.
    occurrence : int
        1 for the first that takes effect in this run of the verb, 2 for the second; tries that AWS
        refuses are not counted.
    """

    verb: str
    operation: str
    occurrence: int = 1

    def __str__(self) -> str:
        nth = "" if self.occurrence == 1 else f" ({self.occurrence})"
        return f"{self.operation.partition(':')[2] or self.operation}{nth} of {self.verb}"


@dataclass(frozen=True)
class Fault:
    """Something that goes wrong at a point, and how the verb ends then.

    Attributes
    ----------
    name : str
        As a sentence goes on: ``killed before``.
    ends : tuple of str
        The ways in which the verb may end then; `down` has its own where `down_ends` is given.
    weather : str
        The fault that the practice cloud is to have for this operation; empty if it happens in the process.
    """

    name: str
    ends: tuple[str, ...]
    weather: str = ""
    down_ends: tuple[str, ...] = ()

    def endings(self, verb: str) -> tuple[str, ...]:
        return self.down_ends if verb == "down" and self.down_ends else self.ends


KILLS = (
    Fault("killed before", ("SIGKILL",)),
    Fault("killed after", ("SIGKILL",)),
)
# Sent, but nobody is left to hear the answer: it may take effect while the next run has begun.
KILLED_DURING = Fault("killed during", ("SIGKILL",))
INTERRUPTIONS = (
    Fault("interrupted before", ("KeyboardInterrupt",)),
    Fault("interrupted after", ("KeyboardInterrupt",)),
    Fault("terminated after", ("SIGTERM",)),
)
WEATHER = (
    Fault("answer lost of", ("done",), "cut:1:1"),
    Fault("throttled thrice at", ("done",), "THROTTLED:1:3"),
    Fault("fault inside AWS at", ("done",), "INTERNAL:1:1"),
    Fault("denied", ("AwsError 1",), "DENIED", down_ends=("StillStanding 3",)),
)
MORE_WEATHER = (
    Fault("three answers lost of", ("done",), "cut:1:3"),
    Fault("connection cut before", ("done",), "cut-before:1:1"),
    Fault("AWS down at", ("AwsError 1",), "INTERNAL", down_ends=("StillStanding 3",)),
)
# The deletion is answered with an error and does nothing; from then on nothing shows whose anything is.
STAYS_UNTAGGED = Fault("refused by AWS, tags no more shown, at", ("StillStanding 3",), "INTERNAL")
DISK_FULL = Fault("disk full from", ("LedgerError 1", "TunnelError 1"), down_ends=("done",))

# The codes of these, as each service says them.
CODES = {
    "ec2": {
        "THROTTLED": "RequestLimitExceeded",
        "INTERNAL": "InternalError",
        "DENIED": "UnauthorizedOperation",
    },
    "iam": {"THROTTLED": "Throttling", "INTERNAL": "ServiceFailure", "DENIED": "AccessDenied"},
}


def weather(fault: Fault, operation: str) -> str:
    """``ec2:CreateVpc=RequestLimitExceeded:1:3``, as `awslabs.sandbox.Run.weather` takes it."""
    code, colon, rest = fault.weather.partition(":")
    return f"{operation}={CODES[operation.partition(':')[0]].get(code, code)}{colon}{rest}"


@dataclass(frozen=True)
class Case:
    """One run of a lab in which one thing goes wrong.

    Attributes
    ----------
    point, fault
        Where, and what.
    then : tuple of str
        The verbs that follow; each must end well. After ``up`` there must be exactly one of each, after
        the last ``down`` nothing.
    again : Point, optional
        The first of these verbs is killed after this call, if it comes to that, and then begins anew.
    thorough : bool
        Leave out nothing (`Lab.skip`).
    broken : callable, optional
        Called first in every process of the case: it breaks the ledger, and the harness must see it.
    """

    lab: Lab
    point: Point
    fault: Fault
    then: tuple[str, ...]
    again: Point | None = None
    thorough: bool = False
    broken: Callable[[], None] | None = None

    def __str__(self) -> str:
        again = f", killed after {self.again}" if self.again else ""
        return f"{self.lab.name}: {self.fault.name} {self.point}{again}, then {' and '.join(self.then)}"


@dataclass(frozen=True)
class Recording:
    """A run of a lab in which nothing goes wrong.

    Attributes
    ----------
    points : tuple of Point
        Every call that changed something, in order, verb by verb; then the saves of the ledger.
    fresh : Counter
        What every account holds of the services in which the lab changes something.
    stands : Counter
        What the account held after ``up`` beside what every account holds.
    worked : Counter
        The same after the lab's own work.
    """

    lab: Lab
    points: tuple[Point, ...]
    fresh: Counter[str]
    stands: Counter[str]
    worked: Counter[str]

    @property
    def calls(self) -> list[Point]:
        return [point for point in self.points if point.operation != SAVE]

    @property
    def first_calls(self) -> list[Point]:
        """One for each verb and operation."""
        return [point for point in self.calls if point.occurrence == 1]

    def saves(self, verb: str) -> list[Point]:
        return [point for point in self.points if (point.verb, point.operation) == (verb, SAVE)]

    @property
    def services(self) -> tuple[str, ...]:
        """The services in which the lab changes something."""
        return services(self.points)


def services(points: Iterable[Point]) -> tuple[str, ...]:
    """The services of these calls."""
    called = {point.operation.partition(":")[0] for point in points if point.operation != SAVE}
    return tuple(sorted(called))


def goes_on(verb: str) -> tuple[tuple[str, ...], ...]:
    """The ways to go on after something went wrong in a verb: as planned, or with a change of mind."""
    if verb == "down":
        return ("down",), ("up", "down")
    return ("up", "down"), ("down",)


def mended(fault: Fault, verb: str) -> tuple[str, ...]:
    """The shortest way to go on that shows whether the lab was, or can be, made whole."""
    return ("down",) if fault.endings(verb) == ("done",) else goes_on(verb)[0]


def short(recording: Recording) -> list[Case]:
    """For CI: each kill at each call both ways, and every other fault once for each operation."""
    lab, calls = recording.lab, recording.calls
    kills = [
        Case(lab, point, kill, then) for point in calls for kill in KILLS for then in goes_on(point.verb)
    ]
    others = [
        Case(lab, point, fault, mended(fault, point.verb))
        for point in recording.first_calls
        for fault in WEATHER
    ]
    few = [point for verb in lab.verbs for point in some(recording, verb)]
    signals = [
        Case(lab, point, fault, then)
        for point, fault in zip(few, itertools.cycle(INTERRUPTIONS), strict=False)
        for then in goes_on(point.verb)
    ]
    return [*kills, *others, *signals, *full_disks(recording, few=True), *deletions_that_fail(recording)]


def deletions_that_fail(recording: Recording) -> list[Case]:
    """Each operation of `down`: it must not say that all is gone, and the next `down` mends it."""
    return [
        Case(recording.lab, point, STAYS_UNTAGGED, ("down",))
        for point in recording.first_calls
        if point.verb == "down"
    ]


def some(recording: Recording, verb: str) -> list[Point]:
    """The first, the middle and the last call of a verb."""
    calls = [point for point in recording.calls if point.verb == verb]
    return [calls[index] for index in sorted({0, len(calls) // 2, len(calls) - 1})] if calls else []


def full(recording: Recording) -> list[Case]:
    """The whole product: every fault, at every call, both ways; and all pairs of kills."""
    faults = [*KILLS, KILLED_DURING, *INTERRUPTIONS, *WEATHER, *MORE_WEATHER]
    at_calls = [
        Case(recording.lab, point, fault, then)
        for point in recording.calls
        for fault in faults
        for then in goes_on(point.verb)
    ]
    failing = deletions_that_fail(recording)
    return [*at_calls, *full_disks(recording), *failing, *killed_twice(recording)]


def killed_twice(recording: Recording) -> Iterator[Case]:
    """Killed after each call, and then after each call of the verb that is to mend it."""
    for first in recording.calls:
        for then in goes_on(first.verb):
            for second in recording.calls:
                if second.verb == then[0] and second != first:
                    yield Case(recording.lab, first, KILLS[1], then, again=second)


def full_disks(recording: Recording, *, few: bool = False) -> Iterator[Case]:
    """The disk is full from one save on, until the verb has ended.

    While `down` deletes, threads share saves, so only the first few are sure to come.
    """
    for verb in recording.lab.verbs:
        saves = recording.saves(verb)
        if verb == "down":
            saves = saves[:3]
        for number, point in enumerate(saves):
            if few and number % 4:
                continue
            for then in goes_on(verb):
                yield Case(recording.lab, point, DISK_FULL, then)


def parse_calls(verb: str, rows: list[dict[str, Any]]) -> list[Point]:
    """The calls among a practice cloud's records that changed something, in order."""
    seen: Counter[str] = Counter()
    points = []
    for row in rows:
        if not row["code"] and changes(row["operation"]):
            seen[row["operation"]] += 1
            points.append(Point(verb, row["operation"], seen[row["operation"]]))
    return points


def changes(operation: str) -> bool:
    """Whether a call changes anything: AWS names those that only read by a few verbs."""
    reads = ("Describe", "Get", "List", "Head", "BatchGet", "Query", "Scan", "Lookup", "Simulate")
    return not operation.partition(":")[2].startswith(reads)
