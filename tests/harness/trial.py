"""One case, from an empty account to its verdict."""

from __future__ import annotations

import functools
import importlib
import logging
import os
import shutil
import signal
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import boto3
import botocore.session

from awslabs import cli, journal
from awslabs.errors import LabError
from awslabs.ledger import Ledger
from awslabs.sandbox import Run
from harness import forks, outside
from harness.cases import KILLS, SAVE, Case, Point, Recording, changes, parse_calls, services
from harness.labs import Lab
from harness.traps import Saves, Trap

STEP_S = 600.0  # a verb that takes longer hangs; on an idle machine the slowest case takes about 20 s


@dataclass(frozen=True)
class Place:
    """Where a case happens.

    Attributes
    ----------
    run : Run
        The practice cloud that all cases share.
    account : str
        Its own account there.
    home : Path
        Its own folder: HOME, the ledger, the log.
    lag_s, settle_s, patience : float
        How long new things stay invisible; `Ledger.settle_s` and `Ledger.patience` in this case.
    """

    run: Run
    account: str
    home: Path
    lag_s: float
    settle_s: float
    patience: float

    @property
    def log(self) -> Path:
        return self.home / "log"

    def enter(self) -> None:
        """Let this process be a user who has only this account and this home."""
        self.home.mkdir(parents=True, exist_ok=True)
        os.environ.update(self.run.environment(self.account, region="us-east-1"))
        os.environ.update(HOME=str(self.home), AWSLABS_HOME=str(self.home / ".awslabs"))

    def ledgers(self) -> list[Path]:
        return journal.files(
            self.home / ".awslabs" / self.run.endpoint_url.removeprefix("http://").replace(":", "-")
        )


@dataclass
class Verdict:
    """What came of a case.

    Attributes
    ----------
    struck : int
        How many faults came.
    leaked : list of str
        What is in the account at the end and is not in one that nobody has used.
    doubled : list of str
        What there was more of than one lab has, after an `up` that ended well.
    complaints : list of str
        Everything else that is not as promised: a verb that ended otherwise, a lab that is not
        complete, an open row.
    """

    case: str
    struck: int = 0
    leaked: list[str] = field(default_factory=list)
    doubled: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)
    ledger: str = ""
    calls: list[str] = field(default_factory=list)
    log: str = ""
    seconds: float = 0.0

    @property
    def good(self) -> bool:
        return not (self.leaked or self.doubled or self.complaints)

    def __str__(self) -> str:
        if self.good:
            return f"good  {self.case}  ({self.seconds:.1f} s)"
        lines = [f"FAILED  {self.case}  ({self.seconds:.1f} s)"]
        lines += [f"  leaked     {one}" for one in self.leaked]
        lines += [f"  doubled    {one}" for one in self.doubled]
        lines += [f"  complaint  {one}" for one in self.complaints]
        for title, text in (("calls", "\n".join(self.calls)), ("log", self.log), ("ledger", self.ledger)):
            lines += [f"  {title}:", *(f"    {line}" for line in text.splitlines())]
        return "\n".join(lines)


def report(verdicts: list[Verdict], seconds: float) -> str:
    """The figures of many cases, in one line."""
    leaked = sum(len(one.leaked) for one in verdicts)
    doubled = sum(len(one.doubled) for one in verdicts)
    failed = sum(not one.good for one in verdicts)
    return (
        f"kill matrix: {len(verdicts)} cases with {sum(one.struck for one in verdicts)} faults, "
        f"{failed} failed, {leaked} resources leaked, {doubled} duplicates, {seconds:.0f} s"
    )


# -- In the process that runs a verb ---------------------------------------------------------------------


@dataclass(frozen=True)
class Done:
    """How a verb ended: ``done``, or the name of its error and, of a LabError, its exit code."""

    ended: str
    text: str = ""
    sprung: bool = False
    saves: int = 0


def run_verb(lab: Lab, verb: str, place: Place, case: Case | None, trap: Trap | None) -> Done:
    """Run a verb as the command line does: a new process, a new ledger object."""
    logging.basicConfig(format="%(asctime)s.%(msecs)03d %(message)s", datefmt="%H:%M:%S")
    logging.getLogger("awslabs").setLevel(logging.INFO)
    Ledger.settle_s, Ledger.patience = place.settle_s, place.patience
    if case is None or not case.thorough:
        for skipped in lab.skip:
            module, _, function = skipped.partition(":")
            setattr(importlib.import_module(module), function, lambda *_, **__: None)
    if case and case.broken:
        case.broken()
    saves = Saves()
    os.fsync = saves  # type: ignore[assignment]
    if trap:
        trap.set()
    ended, text = "done", ""
    try:
        lab.verbs[verb](cli.open_ledger(lab.name))
    except LabError as error:
        ended, text = f"{type(error).__name__} {error.exit_code}", str(error)
    except KeyboardInterrupt:
        ended = "KeyboardInterrupt"
    return Done(ended, text, bool(trap and trap.sprung), saves.count)


# -- In the process that judges ------------------------------------------------------------------------------

Services = tuple[str, ...]


@functools.cache
def session() -> boto3.Session:
    """Of all judges: made once, before there are any, with credentials that each replaces by its own."""
    made = botocore.session.Session()
    made.set_credentials("nobody", "opens nothing")
    return boto3.Session(botocore_session=made)


@functools.cache
def client(service: str) -> Any:
    """A client of that session; a judge's own connections come with its first call."""
    return session().client(service)


def judges() -> Callable[[str], Any]:
    """Clients with the credentials of the environment, and of its practice cloud."""
    for service in outside.LISTINGS:
        client(service)
    credentials = session().get_credentials()
    credentials.access_key = os.environ["AWS_ACCESS_KEY_ID"]
    credentials.secret_key = os.environ["AWS_SECRET_ACCESS_KEY"]
    return client


class Trial:
    """A lab in an account of its own."""

    def __init__(self, lab: Lab, place: Place, name: str, fresh: Counter[str], services: Services) -> None:
        self.lab, self.place, self.fresh, self.services = lab, place, fresh, services
        self.verdict = Verdict(name)
        place.enter()
        self.client = judges()

    def survey(self) -> Counter[str]:
        """What is in the account now: how many of each."""
        return outside.shapes(outside.survey(self.services, self.client))

    def verb(self, verb: str, case: Case | None = None, trap: Trap | None = None) -> Done:
        """Run a verb in a process of its own, and return how it ended."""
        with open(self.place.log, "a") as log:
            log.write(f"--- {verb}{' with the fault' if trap else ''}\n")
        run = functools.partial(run_verb, self.lab, verb, self.place, case, trap)
        ended = forks.one(run, self.place.log, STEP_S)
        if ended.signal:
            done = Done(signal.Signals(ended.signal).name, sprung=True)
        else:
            done = ended.result or Done("trouble", ended.trouble)
        with open(self.place.log, "a") as log:
            log.write(f"--- {verb} ended: {done.ended} {done.text}\n")
        self.verdict.struck += done.sprung
        return done

    def must(self, verb: str, case: Case | None = None) -> Done:
        """Run a verb that has to end well."""
        done = self.verb(verb, case)
        self.expect(verb, done, ("done",))
        return done

    def expect(self, verb: str, done: Done, ends: tuple[str, ...]) -> None:
        if done.ended not in ends:
            wanted = " or ".join(ends)
            self.verdict.complaints.append(f"{verb} ended with {done.ended}, not with {wanted}: {done.text}")

    def things(self) -> Counter[str]:
        """What is in the account now that every account does not have."""
        time.sleep(self.place.lag_s * 1.2)  # the newest may still be invisible to us, too
        return self.survey() - self.fresh

    def judge_standing(self, least: Counter[str], most: Counter[str]) -> None:
        """There must be exactly one of each. What the lab's own work makes may be there, too."""
        there = self.things()
        self.verdict.doubled += sorted((there - most).elements())
        self.verdict.complaints += [f"missing after up: {one}" for one in sorted((least - there).elements())]

    def judge_end(self) -> None:
        """Nothing may be left: in the account, and on this computer no open row, no key, no half file."""
        time.sleep(self.place.lag_s * 1.2)
        now = self.survey()
        self.verdict.leaked = sorted((now - self.fresh).elements())
        complaints = [f"not the lab's, but gone: {one}" for one in sorted((self.fresh - now).elements())]
        ledgers = self.place.ledgers()
        if len(ledgers) > 1:
            complaints.append(f"{len(ledgers)} ledgers instead of one")
        for path in ledgers:
            self.verdict.ledger = path.read_text()
            _, rows = journal.read(path)
            complaints += [f"open row: {row.name} is {row.state}" for row in rows if row.open]
            rest = [path.with_suffix(""), *path.parent.glob(".*")]
            complaints += [f"left on disk: {one}" for one in rest if one.exists()]
        self.verdict.complaints += complaints

    def mark(self) -> int:
        """How many calls this account has made until now."""
        return len(self.place.run.calls(self.place.account))

    def changes_since(self, mark: int, verb: str) -> list[Point]:
        """What has changed something since then."""
        return parse_calls(verb, self.place.run.calls(self.place.account)[mark:])

    def finish(self, began: float) -> Verdict:
        """The verdict, with what explains it if it is bad; the account is emptied."""
        if not self.verdict.good:
            self.verdict.log = self.place.log.read_text()
            self.verdict.calls = [
                f"{row['at'] - began:7.2f} {row['operation']} {row['code']}".rstrip()
                for row in self.place.run.calls(self.place.account)
                if changes(row["operation"])
            ]
        self.place.run.reset(self.place.account)
        shutil.rmtree(self.place.home)
        self.verdict.seconds = time.time() - began
        return self.verdict


def run_case(case: Case, recording: Recording, place: Place) -> Verdict:
    """One case, from an empty account to its verdict."""
    began = time.time()
    trial = Trial(case.lab, place, str(case), recording.fresh, recording.services)
    verbs = list(case.lab.verbs)
    for verb in verbs[: verbs.index(case.point.verb)]:
        trial.must(verb, case)
    trap = Trap(case.point, case.fault, place.run, place.account, place.lag_s)
    done = trial.verb(case.point.verb, case, trap)
    trial.expect(case.point.verb, done, case.fault.endings(case.point.verb))
    if not done.sprung:
        trial.verdict.complaints.append(f"nothing went wrong: {case.point} never came")
    place.run.weather(account=place.account, faults=[])
    if (case.point.verb, done.ended) == ("up", "done"):
        trial.judge_standing(recording.stands, recording.stands)
    if case.again:
        trap = Trap(case.again, KILLS[1], place.run, place.account, place.lag_s)
        trial.expect(case.again.verb, trial.verb(case.again.verb, case, trap), ("SIGKILL", "done"))
    for verb in case.then:
        if trial.must(verb, case).ended == "done" and verb == "up":
            trial.judge_standing(
                recording.stands, recording.worked if case.point.verb != "up" else recording.stands
            )
    trial.judge_end()
    return trial.finish(began)


def record(lab: Lab, place: Place) -> tuple[Recording, Verdict]:
    """A run in which nothing goes wrong: it shows where something can, and what a whole lab is."""
    began = time.time()
    trial = Trial(lab, place, f"{lab.name}: nothing goes wrong", Counter(), tuple(outside.LISTINGS))
    trial.fresh = trial.survey()
    points: list[Point] = []
    after: dict[str, Counter[str]] = {}
    for verb in lab.verbs:
        mark = trial.mark()
        done = trial.must(verb)
        points += trial.changes_since(mark, verb)
        points += [Point(verb, SAVE, number + 1) for number in range(done.saves)]
        after[verb] = trial.things()
        if verb == "up":
            mark = trial.mark()
            trial.must("up")
            for again in trial.changes_since(mark, "up"):
                trial.verdict.complaints.append(f"a second up changed something: {again}")
    trial.judge_end()
    *_, worked, _ = after.values()
    unseen = set(services(points)) - outside.LISTINGS.keys()
    if unseen:
        trial.verdict.complaints.append(f"nobody looks for what is left in {unseen}: outside.LISTINGS")
    trial.services = tuple(set(services(points)) - unseen)
    recording = Recording(lab, tuple(points), trial.survey(), after["up"], worked)
    return recording, trial.finish(began)
