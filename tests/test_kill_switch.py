"""Labs with a dead-man's switch whose laptop dies and never comes back: nothing of them stands in the end."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest
from harness import EVERY_LAB, Case, Matrix, Recording, outside, switched
from harness.cases import KILLS, Point
from harness.switch import LIFE, Abandoned, abandon

from awslabs import sandbox

pytestmark = pytest.mark.kill

ROUND_S = 150  # until nothing stands, of the computer's: a loaded one starts a dozen functions
ROUNDS = 4  # times two minutes of the practice cloud's clock
COSTS = ("ec2 instance", "ec2 volume", "ecs task", "batch environment", "batch job")


def chosen(recording: Recording, most: int) -> tuple[list[Point], list[Point]]:
    """Some of the calls before there is a schedule, and some from then on, the first and the last too."""
    calls = [point for point in recording.calls if point.verb != "down"]
    armed = [point.operation for point in calls].index("scheduler:CreateSchedule")
    return spread(calls[:armed], 2), spread(calls[armed:], most)


def spread(points: list[Point], most: int) -> list[Point]:
    step = max(1, -(-(len(points) - 1) // max(1, most - 1)))
    return points[:-1:step] + points[-1:]


def standing(run: sandbox.Run, one: Abandoned, patched: pytest.MonkeyPatch) -> set[outside.Thing]:
    """What is in the account that was not there, from outside."""
    for name, value in run.environment(one.account, region="us-east-1").items():
        patched.setenv(name, value)
    return outside.survey(tuple(outside.LISTINGS)) - one.before


def wait_for_nothing(
    run: sandbox.Run, armed: list[Abandoned], patched: pytest.MonkeyPatch
) -> dict[str, set[outside.Thing]]:
    """What stands of each lab in the end."""
    left = {one.case: standing(run, one, patched) for one in armed}
    for _ in range(ROUNDS):
        until = time.monotonic() + ROUND_S
        while any(left.values()) and time.monotonic() < until:
            time.sleep(2)
            left = {one.case: left[one.case] and standing(run, one, patched) for one in armed}
        if not any(left.values()):
            break
        run.pass_time(120)
    return {case: things for case, things in left.items() if things}


@pytest.mark.parametrize(("name", "most"), [("ec2", 5)])
def test_a_lab_whose_laptop_never_comes_back_is_taken_down(
    name: str, most: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, aloud: Callable[[str], None]
) -> None:
    began = time.monotonic()
    run = sandbox.start(slow_states=0.01, lag_ms=100, home=tmp_path / "cloud")
    try:
        lab = switched(EVERY_LAB[name])
        with Matrix(run, tmp_path / "cases", jobs=4) as matrix:
            recording = matrix.record(lab)
            early, late = chosen(recording, most)
            cases = [Case(lab, point, KILLS[1], ()) for point in (*early, *late)]
            left = matrix.each(abandon, cases)
        assert [one.ended for one in left] == ["SIGKILL"] * len(cases)
        assert [one.armed for one in left] == [False] * len(early) + [True] * len(late)
        for one in left[: len(early)]:
            found = standing(run, one, monkeypatch)
            assert found, one.case
            assert not [thing for thing in found if thing.kind.startswith(COSTS)], one.case
        armed = left[len(early) :]
        assert all(standing(run, one, monkeypatch) for one in armed)
        run.pass_time(LIFE.total_seconds())
        assert wait_for_nothing(run, armed, monkeypatch) == {}
    finally:
        run.stop()
    aloud(f"\nswitch: {name}, {len(cases)} laptops died, {time.monotonic() - began:.0f} s")
