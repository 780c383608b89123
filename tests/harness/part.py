"""As much of a lab's kill matrix as CI has time for; `make matrix` runs the whole.

A lab makes many things in the same way. So a kill comes before and after the first call of each operation of
`up` and of the work, after the first of each of `down`. Storms bring all else that a verb gets through, at
each operation; every fourth is denied. Each operation of `down` fails once while nothing shows any more whose
things are.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from awslabs import sandbox
from harness.cases import DENIED, KILLS, Case, Recording, Storm, deletions_that_fail, goes_on, storms
from harness.labs import Lab
from harness.matrix import Matrix
from harness.trial import report


def part(recording: Recording) -> list[Case | Storm]:
    """The cases. Each way to go on comes after each second kill."""
    kills = [
        (point, kill)
        for point in recording.first_calls
        for kill in KILLS
        if point.verb != "down" or kill == KILLS[1]
    ]
    killed = [
        Case(recording.lab, point, kill, goes_on(point.verb)[number // 2 % 2])
        for number, (point, kill) in enumerate(kills)
    ]
    denied = [
        Case(recording.lab, point, DENIED, goes_on(point.verb)[0]) for point in recording.first_calls[3::4]
    ]
    return [*storms(recording), *killed, *denied, *deletions_that_fail(recording)]


def prove(lab: Lab, scratch: Path, say: Callable[[str], None]) -> None:
    """Run the part on a practice cloud of its own, and say its figures.

    Raises
    ------
    AssertionError
        With the verdicts that are bad.
    """
    began = time.monotonic()
    run = sandbox.start(slow_states=0, lag_ms=100, home=scratch / "cloud")
    try:
        with Matrix(run, scratch / "cases") as matrix:
            recording = matrix.record(lab)
            verdicts = matrix.run(part(recording), recording)
    finally:
        run.stop()
    say(f"\n{report(verdicts, time.monotonic() - began)}")
    bad = [verdict for verdict in verdicts if not verdict.good]
    assert not bad, "\n" + "\n".join(map(str, bad))
