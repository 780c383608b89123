"""The kill matrix of chapter 5, as much of it as three minutes take; `make matrix` runs the whole.

The lab makes five functions in the same way: a kill comes before and after the first call of each operation
of `up`, after the first of each of `down`, and one of the other faults strikes at each.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator

import pytest
from harness import Case, Matrix, Recording, Verdict, report
from harness.cases import KILLS, WEATHER, goes_on
from harness.serverless import SERVERLESS

from awslabs import sandbox


@pytest.fixture(scope="module")
def matrix(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Matrix]:
    run = sandbox.start(slow_states=0, lag_ms=100, home=tmp_path_factory.mktemp("cloud"))
    with Matrix(run, tmp_path_factory.mktemp("cases")) as matrix:
        yield matrix
    run.stop()


@pytest.fixture(scope="module")
def recording(matrix: Matrix) -> Recording:
    return matrix.record(SERVERLESS)


@pytest.fixture(scope="module")
def figures(pytestconfig: pytest.Config) -> Iterator[list[Verdict]]:
    """All verdicts; at the end their figures are printed, past pytest's capture."""
    began, verdicts = time.monotonic(), list[Verdict]()
    yield verdicts
    with pytestconfig.pluginmanager.getplugin("capturemanager").global_and_fixture_disabled():
        print(f"\n{report(verdicts, time.monotonic() - began)}")


def check(matrix: Matrix, recording: Recording, figures: list[Verdict], cases: list[Case]) -> None:
    verdicts = matrix.run(cases, recording)
    figures += verdicts
    bad = [verdict for verdict in verdicts if not verdict.good]
    assert not bad, "\n" + "\n".join(map(str, bad))


def test_a_kill_at_the_first_call_of_each_operation_leaves_nothing(
    matrix: Matrix, recording: Recording, figures: list[Verdict]
) -> None:
    """Each way to go on comes after each second kill."""
    kills = [
        (point, kill)
        for point in recording.first_calls
        for kill in KILLS
        if point.verb == "up" or kill == KILLS[1]
    ]
    cases = [
        Case(SERVERLESS, point, kill, goes_on(point.verb)[number // 2 % 2])
        for number, (point, kill) in enumerate(kills)
    ]
    check(matrix, recording, figures, cases)


def test_every_operation_meets_one_fault_of_aws_or_the_network(
    matrix: Matrix, recording: Recording, figures: list[Verdict]
) -> None:
    faults = zip(recording.first_calls, itertools.cycle(WEATHER), strict=False)
    check(
        matrix,
        recording,
        figures,
        [Case(SERVERLESS, point, fault, goes_on(point.verb)[0]) for point, fault in faults],
    )
