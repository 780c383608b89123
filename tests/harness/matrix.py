"""The warmed parent of all cases, and the handle to it.

The parent is a process of its own, so that it has no threads, whatever
the process that asks for cases has. It has loaded boto3 and its descriptions of the services, once, for
all forks. Questions come through its standard input, verdicts leave through its standard output, pickled.
"""

from __future__ import annotations

import functools
import gc
import importlib
import os
import pickle
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import boto3
import clients

from awslabs.cloud import Cloud
from awslabs.ledger import Ledger
from awslabs.sandbox import Run
from harness import forks, outside, trial
from harness.cases import Case, Recording, Storm
from harness.labs import Lab
from harness.trial import Place, Verdict

CASE_S = 1800.0  # several verbs, each with its own limit
SETTLE_LAGS = 4.0  # SETTLE, in lags: late visibility must be over by then, with room
PATIENCE = 0.1  # scales how long the ledger goes on while AWS refuses, from minutes to seconds
ROOM = 1 << 30  # bytes that cases may need, with much to spare
FIRST_ACCOUNT = 300_000_000_000


class Matrix:
    """Runs cases on a practice cloud.

    Parameters
    ----------
    run : Run
        The practice cloud; its ``lag_ms`` is the late visibility that the cases meet.
    scratch : Path
        Where cases keep their files, unless this computer keeps files in memory.
    jobs : int
        Cases at a time. Mostly they wait, so more than processors.
    on_verdict : callable, optional
        Told of each verdict as it comes.
    """

    def __init__(
        self,
        run: Run,
        scratch: Path,
        jobs: int = 12,
        on_verdict: Callable[[Verdict], None] = lambda verdict: None,
    ) -> None:
        self.cloud, self.jobs, self.on_verdict = run, jobs, on_verdict
        self._memory = in_memory()
        self.scratch = Path(self._memory.name) if self._memory else scratch
        self._accounts = iter(range(FIRST_ACCOUNT, FIRST_ACCOUNT + 10**9))
        here = Path(__file__).resolve()
        environment = {name: value for name, value in os.environ.items() if not name.startswith("AWS")}
        environment["PYTHONPATH"] = os.pathsep.join([str(here.parents[2]), str(here.parents[1])])
        self._parent = subprocess.Popen(
            [sys.executable, "-c", "from harness import matrix; matrix.parent()"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment,
        )
        self._tell(self._place())

    def __enter__(self) -> Matrix:
        return self

    def __exit__(self, *_: object) -> None:
        """End the parent; it ends what still runs."""
        self._parent.terminate()
        self._parent.communicate()
        if self._memory:
            self._memory.cleanup()

    def record(self, lab: Lab) -> Recording:
        """Run a lab in which nothing goes wrong.

        Raises
        ------
        AssertionError
            When that alone goes wrong: no case would prove anything then.
        """
        (recording,) = self.records([lab])
        return recording

    def records(self, labs: Iterable[Lab]) -> list[Recording]:
        """The same of several labs, some at a time."""
        recordings = []
        for recording, verdict in self.each(trial.record, labs):
            assert verdict.good, str(verdict)
            recordings.append(recording)
        return recordings

    def run(self, cases: Iterable[Case | Storm], recording: Recording) -> list[Verdict]:
        """Run cases, and return their verdicts in that order."""
        cases = list(cases)
        verdicts = {}
        tasks: list[tuple[Any, ...]] = [
            (trial.run_storm if isinstance(case, Storm) else trial.run_case, case, recording)
            for case in cases
        ]
        for number, ended in self._ask(tasks):
            trouble = ended.trouble or f"the judge was killed by signal {ended.signal}"
            verdict = ended.result or Verdict(str(cases[number]), complaints=[trouble])
            verdicts[number] = verdict
            self.on_verdict(verdict)
        return [verdicts[number] for number in range(len(cases))]

    def each(self, function: Callable[..., Any], arguments: Iterable[Any]) -> list[Any]:
        """What a function of an argument and a place gives, for each argument, in that order.

        Raises
        ------
        AssertionError
            When one of them fails.
        """
        asked = [(function, one) for one in arguments]
        results = dict(self._ask(asked))
        for ended in results.values():
            assert not ended.trouble, ended.trouble
        return [results[number].result for number in range(len(asked))]

    def _ask(self, tasks: list[tuple[Any, ...]]) -> Iterator[tuple[int, forks.Ended]]:
        """Have the parent run functions in forks; yields the number of each and how it ended."""
        placed = []
        for function, *arguments in tasks:
            place = self._place()
            placed.append((functools.partial(function, *arguments, place), place.home))
        self._tell((self.jobs, placed))
        assert self._parent.stdout
        for _ in placed:
            yield pickle.load(self._parent.stdout)

    def _place(self) -> Place:
        """An account and a folder that nobody has used."""
        account = str(next(self._accounts))
        lag_s = self.cloud.weather()["lag_ms"] / 1000
        return Place(self.cloud, account, self.scratch / account, lag_s, SETTLE_LAGS * lag_s, PATIENCE)

    def _tell(self, what: Any) -> None:
        assert self._parent.stdin
        pickle.dump(what, self._parent.stdin)
        self._parent.stdin.flush()


def in_memory() -> tempfile.TemporaryDirectory[str] | None:
    """A folder that is on no disk; None where there is none, or little room.

    A ledger syncs its file with every row, which is a fifth of what a case costs on a disk. What is killed
    here are processes, and of what they have written a disk keeps no more than memory does.
    """
    memory = Path("/dev/shm")
    if not os.access(memory, os.W_OK) or shutil.disk_usage(memory).free < ROOM:
        return None
    return tempfile.TemporaryDirectory(prefix="awslabs-", dir=memory)


def parent() -> None:
    """Answer questions until there are no more."""
    questions, answers = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever is printed here must not end up among the answers
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    warm(pickle.load(questions))
    while True:
        try:
            jobs, tasks = pickle.load(questions)
        except EOFError:
            return
        numbered = []
        for number, (function, home) in enumerate(tasks):
            home.mkdir(parents=True)
            numbered.append((number, function, home / "log"))
        for answer in forks.many(numbered, at_once=jobs, timeout_s=CASE_S):
            pickle.dump(answer, answers)
            answers.flush()


def warm(place: Place) -> None:
    """Do once what every fork would do: import, read botocore's descriptions of the services, call."""
    for module in ("awslabs.cli", "awslabs.ledger_cli", "awslabs.tunnel.session"):
        importlib.import_module(module)
    clients.keep_what_they_share()
    place.enter()
    outside.survey(tuple(outside.LISTINGS))
    trial.judges()
    Ledger(Cloud(), "ec2").down()  # `awslabs.lab` would keep its limits, in a thread
    session = boto3.Session()
    for service in ("ssm", "service-quotas"):
        session.client(service)
    gc.collect()
    gc.freeze()  # the collector would write to what the forks share
