"""The kill matrix of every lab: whatever goes wrong wherever, nothing leaks and nothing is made twice.

`harness` says how a case goes; ``make matrix`` runs the full product of what is run here in part.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from harness import LABS, Case, Matrix, Recording, Verdict, report, short
from harness.broken import (
    closes_what_still_stands,
    lets_botocore_resend,
    never_settles,
    saves_too_late,
    takes_what_lost_its_tags_for_gone,
)
from harness.cases import (
    DENIED,
    DISK_FULL,
    INTERRUPTIONS,
    KILLS,
    STAYS_UNTAGGED,
    STORMS,
    Fault,
    Point,
    Storm,
    storms,
)
from harness.small import SMALL

from awslabs import sandbox
from awslabs.sandbox import Run

KILLED_AFTER = KILLS[1]
ANSWER_LOST = STORMS[0]
CREATE_VPC = Point("up", "ec2:CreateVpc")


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    run = sandbox.start(slow_states=0.1, lag_ms=200, home=tmp_path_factory.mktemp("cloud"))
    yield run
    run.stop()


@pytest.fixture(scope="module")
def matrix(cloud: Run, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Matrix]:
    with Matrix(cloud, tmp_path_factory.mktemp("cases")) as matrix:
        yield matrix


@pytest.fixture(scope="module")
def figures(aloud: Callable[[str], None]) -> Iterator[list[Verdict]]:
    """All verdicts; at the end their figures are printed."""
    began, verdicts = time.monotonic(), list[Verdict]()
    yield verdicts
    aloud(f"\n{report(verdicts, time.monotonic() - began)}")


@pytest.fixture(scope="module", params=LABS)
def recording(matrix: Matrix, request: pytest.FixtureRequest) -> Recording:
    return matrix.record(LABS[request.param])


@pytest.fixture(scope="module")
def small(matrix: Matrix) -> Recording:
    return matrix.record(SMALL)


@pytest.fixture
def all_good(matrix: Matrix, figures: list[Verdict]) -> Callable[[Recording, list[Case | Storm]], None]:
    """Run cases; the test fails with all that is known of each that went wrong."""

    def run(recording: Recording, cases: list[Case | Storm]) -> None:
        assert cases
        verdicts = matrix.run(cases, recording)
        figures.extend(verdicts)
        bad = [verdict for verdict in verdicts if not verdict.good]
        assert not bad, "\n" + "\n".join(map(str, bad))

    return run


# -- The labs ----------------------------------------------------------------------------------------------


@pytest.mark.kill
def test_up_can_be_killed_at_every_call(all_good: Callable, recording: Recording) -> None:
    cases = [case for case in short(recording) if case.fault in KILLS and case.point.verb != "down"]
    all_good(recording, cases)


@pytest.mark.kill
def test_down_can_be_killed_at_every_call(all_good: Callable, recording: Recording) -> None:
    cases = [case for case in short(recording) if case.fault in KILLS and case.point.verb == "down"]
    all_good(recording, cases)


@pytest.mark.kill
def test_every_operation_can_fail_or_lose_its_answer(all_good: Callable, recording: Recording) -> None:
    all_good(recording, [*storms(recording), *(case for case in short(recording) if case.fault == DENIED)])


@pytest.mark.kill
def test_what_a_failed_deletion_leaves_without_tags_is_not_called_gone(
    all_good: Callable, recording: Recording
) -> None:
    all_good(recording, [case for case in short(recording) if case.fault == STAYS_UNTAGGED])


@pytest.mark.kill
def test_ctrl_c_and_a_full_disk_lose_nothing(all_good: Callable, recording: Recording) -> None:
    cases = [case for case in short(recording) if case.fault in (*INTERRUPTIONS, DISK_FULL)]
    all_good(recording, cases)


def test_nothing_is_lost_with_the_slow_steps_left_in(all_good: Callable, recording: Recording) -> None:
    last = [point for point in recording.calls if point.verb == "up"][-1]
    all_good(recording, [Case(recording.lab, last, KILLED_AFTER, ("up", "down"), thorough=True)])


# -- The harness -------------------------------------------------------------------------------------------


def test_a_verb_of_the_labs_own_is_killed_too(all_good: Callable, small: Recording) -> None:
    cases = [case for case in short(small) if case.point.verb == "firewall" and case.fault in KILLS]
    assert [str(case) for case in cases] == [
        "small: killed before CreateSecurityGroup of firewall, then up and down",
        "small: killed before CreateSecurityGroup of firewall, then down",
        "small: killed after CreateSecurityGroup of firewall, then up and down",
        "small: killed after CreateSecurityGroup of firewall, then down",
    ]
    all_good(small, cases)


@pytest.mark.parametrize(
    ("fault", "broken"),
    [(KILLED_AFTER, saves_too_late), (ANSWER_LOST, lets_botocore_resend)],
    ids=["saves_too_late", "lets_botocore_resend"],
)
def test_the_harness_sees_what_is_made_twice(
    matrix: Matrix, small: Recording, fault: Fault, broken: Callable[[], None]
) -> None:
    (verdict,) = matrix.run([Case(SMALL, CREATE_VPC, fault, ("up", "down"), broken=broken)], small)
    assert "ec2 vpc 10.20.0.0/24" in verdict.doubled


def test_the_harness_sees_what_leaks_from_a_ledger_that_saves_too_late(
    matrix: Matrix, small: Recording
) -> None:
    (verdict,) = matrix.run([Case(SMALL, CREATE_VPC, KILLED_AFTER, ("down",), broken=saves_too_late)], small)
    assert kinds(verdict)["ec2 vpc"] == 1


@pytest.mark.kill
def test_the_harness_sees_what_leaks_from_a_ledger_that_never_settles(
    cloud: Run, matrix: Matrix, small: Recording
) -> None:
    cloud.weather(lag_ms=2000)  # so that even on a busy machine `down` looks before it can be seen
    try:
        (verdict,) = matrix.run(
            [Case(SMALL, CREATE_VPC, KILLED_AFTER, ("down",), broken=never_settles)], small
        )
    finally:
        cloud.weather(lag_ms=200)
    assert kinds(verdict)["ec2 vpc"] == 1


@pytest.mark.kill
def test_the_harness_sees_rows_closed_too_early(matrix: Matrix, small: Recording) -> None:
    case = Case(SMALL, Point("down", "ec2:DeleteVpc"), DENIED, ("down",), broken=closes_what_still_stands)
    (verdict,) = matrix.run([case], small)
    assert kinds(verdict)["ec2 vpc"] == 1
    assert "down ended with done, not with StillStanding 3" in verdict.complaints[0]


def test_the_harness_sees_what_lost_its_tags_and_is_called_gone(matrix: Matrix, small: Recording) -> None:
    broken = takes_what_lost_its_tags_for_gone
    case = Case(SMALL, Point("down", "ec2:DeleteVpc"), STAYS_UNTAGGED, ("down",), broken=broken)
    (verdict,) = matrix.run([case], small)
    assert kinds(verdict)["ec2 vpc"] == 1
    assert "down ended with done, not with StillStanding 3" in verdict.complaints[0]


def test_the_harness_sees_a_fault_that_never_came(matrix: Matrix, small: Recording) -> None:
    never = Point("up", "ec2:CreateVpc", occurrence=2)
    storm = Storm(SMALL, 0, ((CREATE_VPC, ANSWER_LOST), (Point("up", "ec2:CreateSubnet"), ANSWER_LOST)))
    verdict, of_storm = matrix.run([Case(SMALL, never, ANSWER_LOST, ("down",)), storm], small)
    assert verdict.complaints == ["nothing went wrong: CreateVpc (2) of up never came"]
    assert of_storm.complaints == ["1 of 2 faults of up never came"]


@pytest.mark.kill
def test_the_harness_ends_what_hangs(tmp_path: Path) -> None:
    hang = f"forks.one(lambda: time.sleep(600), pathlib.Path({str(tmp_path / 'log')!r}), 0.5)"
    program = f"import pathlib, time; from harness import forks; print({hang}.trouble)"
    here = Path(__file__).parent
    ended = subprocess.run(
        [sys.executable, "-c", program], cwd=here, capture_output=True, text=True, check=True
    )
    assert ended.stdout == "it hung and was killed\n"


def kinds(verdict: Verdict) -> Counter[str]:
    """How many of each kind have leaked: ``ec2 vpc`` from ``ec2 vpc vpc-0abc 10.20.0.0/24``."""
    return Counter(" ".join(one.split()[:2]) for one in verdict.leaked)
