"""The tour: all labs, on a computer that has only the practice cloud, and nothing of it stays."""

from __future__ import annotations

import importlib.util
from typing import Any

import pytest
from click.testing import CliRunner, Result

from awslabs import cli, sandbox
from awslabs.__main__ import main
from awslabs.errors import LabError, install
from awslabs.labs import LABS
from awslabs.ledger import Ledger
from awslabs.tour import chapter, tour

HEAVY = {name for lab in LABS for name in chapter(lab).NEEDS}


@pytest.fixture
def light(monkeypatch: pytest.MonkeyPatch) -> None:
    """No PyTorch and no JupyterLab here, as after `make tour` on a fresh machine."""
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *more: None if name in HEAVY else find(name, *more)
    )


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Labs of one step: whoever tours them is noted."""
    toured: list[str] = []

    def run(ledger: Ledger) -> list[dict[str, Any]]:
        toured.append(ledger.lab)
        if ledger.lab == "gpu":
            raise LabError("No room.")
        return [{"lab": ledger.lab, "step": "up", "seconds": 0.1, "result": "it stands"}]

    monkeypatch.setattr("awslabs.tour.run", run)
    return toured


@pytest.mark.usefixtures("light", "answers_fit")
def test_all_labs_are_built_looked_at_and_taken_down_without_pytorch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    run = sandbox.start(slow_states=0)
    try:
        ended: Result = CliRunner().invoke(main, ["tour"])
        assert ended.exit_code == 0, ended.output
        assert sandbox.current() == run  # it ran before, so it stays
        assert sandbox.standing(run.directory) == []
    finally:
        run.stop()
    steps, _, summary = ended.output.partition("\nThe tour is over: 5 labs, 25 steps, ")
    said = [line for line in steps.splitlines() if line.split(" ")[0] in LABS]
    assert [line.split()[:2] for line in said] == [
        [lab, step] for lab in LABS for step in ("up", "look", "work", "down", "verify")
    ]
    labs = summary.splitlines()[1:6]
    assert [line.split()[0] for line in labs] == list(LABS)
    assert "work left out" in labs[1]
    assert max(map(len, said + labs)) <= 80
    left_out = [line.split()[0] for line in said if "left out: it needs" in line]
    assert left_out == ["gpu", "ecs_qa", "batch_sweep"]
    assert ended.output.splitlines()[-1] == install("sandbox,ml,notebook")


@pytest.mark.parametrize("failing", [False, True])
def test_a_practice_cloud_that_the_tour_starts_ends_with_it(
    failing: bool, steps: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[sandbox.Run] = []
    start = sandbox.start

    def noted() -> sandbox.Run:
        started.append(start())
        return started[-1]

    monkeypatch.setattr(sandbox, "start", noted)
    if failing:
        with pytest.raises(LabError, match="No room"):
            tour()
        assert steps == ["ec2", "gpu"]
    else:
        others = {lab: builds for lab, builds in LABS.items() if lab != "gpu"}
        monkeypatch.setattr("awslabs.tour.LABS", others)
        tour()
        assert steps == list(others)
    (run,) = started
    assert sandbox.current() is None
    assert sandbox.born(run.pid) is None
    assert not run.directory.exists()


def test_a_result_has_a_column_of_its_own(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "58")
    cli.say_beside("ec2  up   4.0 s  ", "a network, a firewall, a key, and a server")
    assert capsys.readouterr().err.splitlines() == [
        "ec2  up   4.0 s  a network, a firewall, a key, and a",
        "                 server",
    ]
