"""What a student sees on a terminal of the labs that train and ask networks: whole lines, nothing else.

Each lab stands once. Each verb is seen at both widths, with work to do at each; what can be done only once,
building and deleting, at one width, and at the other what the same verb says of what stands.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import small_reader
from extras import needed
from pty_kit import clean, each_leaves_whole_lines, environment, on_terminal

SLOW_STATES = 0.01
pytestmark = pytest.mark.ml

needed("torch", "torchvision", "transformers", "sklearn", "matplotlib", "jupyterlab", "nbclient")

NARROW, WIDE = 80, 110
COSTS = r"On AWS it would cost .* until: .* down --sandbox"
ENDS = r"End it: python -m awslabs\.\w+ down --sandbox"
WOULD_GO = r"Would delete \d+ resources, in this order:"
GONE = r"\d+ resources deleted; nothing of it is left\. .*"
LONG = ["submit", "--epochs", "10000", "--patience", "0", "--no-wait"]

Step = tuple[int, list[str], str]  # how wide the terminal is, what is typed, what it leaves


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What comes home lies in an empty folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


def both(line: list[str], expected: str) -> list[Step]:
    """The same at one width, then at the other."""
    return [(NARROW, line, expected), (WIDE, line, expected)]


def leave_whole_lines(lab: str, steps: list[Step], home: Path) -> None:
    for columns, line, expected in steps:
        each_leaves_whole_lines([(f"awslabs.{lab}", line, expected)], environment(home), columns)


def test_each_verb_of_ecs_qa_leaves_whole_lines(home: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    model = str(small_reader.trained(tmp_path_factory))
    text, question = "Two dogs and three cats live here.", "How many cats live here?"
    steps = [
        *both(["up", "--model", model, "--no-docker"], COSTS),
        *both(["status"], ENDS),
        *both(["ask", text, question], rf"question +{question[:-1]}\?"),
        (NARROW, ["clear"], r"count +2"),
        (NARROW, ["ask-many", "--tasks", "2"], r"\d+ answers from 2 tasks in [\d.]+ s"),
        (WIDE, ["ask-many", "--tasks", "1"], r"\d+ answers from 1 tasks in [\d.]+ s"),
        *both(["answers", "--limit", "3"], r"question +answer +score"),
        *both(["logs"], r"\{.*\}"),
        (WIDE, ["clear"], r"count +[1-9]\d*"),
        (WIDE, ["down", "--dry-run"], WOULD_GO),
        (NARROW, ["down"], GONE),
    ]
    leave_whole_lines("ecs_qa", steps, home)


def test_each_verb_of_batch_sweep_leaves_whole_lines(home: Path) -> None:
    def cells(*rates: str) -> list[str]:
        return ["--lr", ",".join(rates), "--momentum", "0.5", "--epochs", "1"]

    one_new = r"\d cells: \d have results, 0 are under way, 1 new jobs train the others\."
    best = r".*: best is lr .*, accuracy 0\.\d+; on the test pictures 0\.\d+"
    steps = [
        (WIDE, ["up", "--cpu", "--no-docker"], COSTS),
        (NARROW, ["up", "--cpu", "--no-docker"], COSTS),
        *both(["image", "--no-docker"], r"repository_uri +.*"),
        (NARROW, ["submit", *cells("0.1")], r"accuracy +0\.\d+"),
        (WIDE, ["submit", *cells("0.05")], r"accuracy +0\.\d+"),
        (NARROW, ["sweep", *cells("0.1", "0.01")], one_new),
        (WIDE, ["sweep", *cells("0.05", "0.001")], one_new),
        *both(["sweep", *cells("0.1", "0.01"), "--final"], best),  # measured the first time, then read
        *both(["results"], r"lr +momentum +.*"),
        *both(["plot"], r"picture +sweep\.png"),
        *both(["logs"], r".*: epoch 1 of 1, .*"),
        (NARROW, LONG, r"job_id +[0-9a-f-]+"),
        (NARROW, ["cancel"], r"cancelled +1"),
        (WIDE, LONG, r"job_id +[0-9a-f-]+"),
        (WIDE, ["cancel"], r"cancelled +1"),
        *both(["jobs", "--watch"], r"job_id +.*"),
        *both(["status"], ENDS),
        (NARROW, ["down", "--dry-run"], WOULD_GO),
        (WIDE, ["down"], GONE),
    ]
    leave_whole_lines("batch_sweep", steps, home)


def test_each_verb_of_gpu_leaves_whole_lines(home: Path, tmp_path: Path) -> None:
    begin = [
        *both(["up"], r"The notebook runs at 127\.0\.0\.1\. Open it: .* jupyter --sandbox"),
        *both(["status"], ENDS),
    ]
    leave_whole_lines("gpu", begin, home)
    stay = ["awslabs.gpu", "jupyter", "--no-browser"]
    for columns in (NARROW, WIDE):
        seen = clean(on_terminal(stay, environment(home), columns, interrupt_at="Whoever has this address"))
        assert [line for line in seen.lines if line.startswith("http://127.0.0.1:")]
        assert [line for line in seen.lines if line.startswith("The tunnel is closed; the notebook goes on.")]
    cells = [{"cell_type": "code", "source": "6 * 7", "id": f"cell-{number}"} for number in range(2)]
    empty = {"execution_count": None, "metadata": {}, "outputs": []}
    book = {"cells": [cell | empty for cell in cells], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}
    (tmp_path / "short.ipynb").write_text(json.dumps(book))
    work = [
        *both(["run", "short.ipynb"], r"notebook +short\.ipynb"),
        *both(["bench", "--size", "64"], r"device +name +.*"),
        *both(["mnist", "--epochs", "1"], r"val_accuracy +0\.\d+"),
        (NARROW, ["down", "--dry-run"], WOULD_GO),
        (WIDE, ["down"], GONE),
    ]
    leave_whole_lines("gpu", work, home)
