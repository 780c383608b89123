"""The kill matrix of chapter 2 on spot, as much of it as three minutes take; `make matrix` runs the whole.

It makes a subnet in each of five zones, so the part that `part.py` chooses is enough. Beside it stands what
this lab alone does: it goes from zone to zone until one has room for the server.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import pytest
from harness import Case, Matrix, Recording, Verdict, report
from harness.cases import KILLS, Fault, Point, goes_on
from harness.gpu import GPU
from harness.part import part

from awslabs import sandbox

pytestmark = pytest.mark.kill

KILLED_AFTER = KILLS[1]
NO_ROOM = Fault("no room in one zone at", ("done",), "InsufficientInstanceCapacity:1:1")
NO_ROOM_AT_ALL = Fault("no room in any zone at", ("AwsError 1",), "InsufficientInstanceCapacity")
RUN = Point("up", "ec2:RunInstances")


@pytest.fixture(scope="module")
def matrix(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Matrix]:
    run = sandbox.start(slow_states=0, lag_ms=100, home=tmp_path_factory.mktemp("cloud"))
    with Matrix(run, tmp_path_factory.mktemp("cases")) as matrix:
        yield matrix
    run.stop()


@pytest.fixture(scope="module")
def recording(matrix: Matrix) -> Recording:
    return matrix.record(GPU)


@pytest.fixture(scope="module")
def figures(aloud: Callable[[str], None]) -> Iterator[list[Verdict]]:
    """All verdicts; at the end their figures are printed."""
    began, verdicts = time.monotonic(), list[Verdict]()
    yield verdicts
    aloud(f"\n{report(verdicts, time.monotonic() - began)}")


def check(matrix: Matrix, recording: Recording, figures: list[Verdict], cases: list[Case]) -> None:
    verdicts = matrix.run(cases, recording)
    figures += verdicts
    bad = [verdict for verdict in verdicts if not verdict.good]
    assert not bad, "\n" + "\n".join(map(str, bad))


def test_a_lab_on_spot_has_a_request_and_a_subnet_in_each_zone(recording: Recording) -> None:
    assert recording.stands["ec2 spot request one-time"] == 1
    assert sum(count for shape, count in recording.stands.items() if shape.startswith("ec2 subnet")) == 5


def test_a_kill_and_a_fault_at_each_operation_leave_nothing(
    matrix: Matrix, recording: Recording, figures: list[Verdict]
) -> None:
    check(matrix, recording, figures, part(recording))


def test_a_kill_between_two_zones_leaves_nothing(
    matrix: Matrix, recording: Recording, figures: list[Verdict]
) -> None:
    """After the third subnet, and, both ways, after the call that has started the server."""
    third = Point("up", "ec2:CreateSubnet", 3)
    cases = [Case(GPU, point, KILLED_AFTER, then) for point in (third, RUN) for then in goes_on("up")]
    check(matrix, recording, figures, cases)


def test_zones_without_room_leave_nothing(
    matrix: Matrix, recording: Recording, figures: list[Verdict]
) -> None:
    """One without: the lab stands in the next. All without: it stands once there is room again."""
    cases = [Case(GPU, RUN, NO_ROOM, ("down",)), Case(GPU, RUN, NO_ROOM_AT_ALL, ("up", "down"))]
    cases += [Case(GPU, RUN, NO_ROOM_AT_ALL, ("up", "down"), again=RUN)]
    check(matrix, recording, figures, cases)
