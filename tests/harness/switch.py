"""Labs that end by themselves: chapters with the dead-man's switch, and laptops that never come back."""

from __future__ import annotations

import dataclasses
import functools
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import Any

import boto3

from awslabs.ledger import Ledger
from awslabs.switch import Switch
from harness import cases, outside
from harness.cases import Case
from harness.labs import Lab
from harness.outside import Thing, everything, thing
from harness.traps import Trap
from harness.trial import Place, Trial

LIFE = timedelta(days=2)  # longer than any test
ENDS_AT = datetime.now(timezone.utc).replace(microsecond=0) + LIFE  # the same in all forks


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
    """A lab whose `up` sets the switch."""
    return dataclasses.replace(lab, up=functools.partial(up, lab.up))


def up(build: Callable[[Ledger], Any], ledger: Ledger) -> None:
    Switch(ledger, ENDS_AT)
    build(ledger)


@dataclass(frozen=True)
class Abandoned:
    """A lab that nobody looks after any more.

    Attributes
    ----------
    account : str
        Where it stands.
    before : set of Thing
        What was in the account before.
    ended : str
        How the last verb ended.
    armed : bool
        Whether there is a schedule.
    """

    case: str
    account: str
    before: set[Thing]
    ended: str
    armed: bool


def abandon(case: Case, place: Place) -> Abandoned:
    """Run a lab's verbs until the one that is killed, and nothing ever again."""
    trial = Trial(case.lab, place, str(case), Counter(), tuple(outside.LISTINGS))
    before = outside.survey(trial.services, trial.client)
    verbs = list(case.lab.verbs)
    for verb in verbs[: verbs.index(case.point.verb)]:
        trial.must(verb, case)
    done = trial.verb(
        case.point.verb, case, Trap(case.point, case.fault, place.run, place.account, place.lag_s)
    )
    assert trial.verdict.good, trial.verdict
    armed = bool(boto3.client("scheduler").list_schedules()["Schedules"])
    return Abandoned(str(case), place.account, before, done.ended, armed)
