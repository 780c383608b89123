"""What a student sees on a terminal of the labs that train and ask networks: whole lines, nothing else."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from pathlib import Path

import pytest
import small_reader
from pty_kit import clean, each_leaves_whole_lines, environment, on_terminal

from awslabs import sandbox

pytestmark = pytest.mark.ml

for module in ("torch", "torchvision", "transformers", "sklearn", "matplotlib", "jupyterlab", "nbclient"):
    if importlib.util.find_spec(module) is None:
        pytest.skip(f"needs {module}: pip install '.[notebook,ml]'", allow_module_level=True)

GONE = r"\d+ resources deleted; nothing of it is left\. .*"
GRID = ["--lr", "0.1,0.01", "--momentum", "0.5", "--epochs", "1"]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The home of one student, with a practice cloud."""
    home = tmp_path_factory.mktemp("student")
    run = sandbox.start(slow_states=0.01, home=home)
    yield home
    run.stop()


@pytest.fixture(params=[80, 110])
def columns(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> int:
    """How wide the terminal is; what comes home lies in an empty folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    return request.param


def test_each_verb_of_ecs_qa_leaves_whole_lines(
    home: Path, columns: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    model = str(small_reader.trained(tmp_path_factory))
    text, question = "Two dogs and three cats live here.", "How many cats live here?"
    verbs = [
        ("up", ["--model", model, "--no-docker"], r"On AWS it would cost .* until: .* down --sandbox"),
        ("status", [], r"End it: python -m awslabs\.\w+ down --sandbox"),
        ("ask", [text, question], rf"question +{question[:-1]}\?"),
        ("ask-many", ["--tasks", "2"], r"\d+ answers from 2 tasks in [\d.]+ s"),
        ("answers", ["--limit", "3"], r"question +answer +score"),
        ("logs", [], r"\{.*\}"),
        ("clear", [], r"count +\d+"),
        ("down", [], GONE),
    ]
    each_leaves_whole_lines([("awslabs.ecs_qa", [v, *w], e) for v, w, e in verbs], environment(home), columns)


def test_each_verb_of_batch_sweep_leaves_whole_lines(home: Path, columns: int) -> None:
    verbs = [
        ("up", ["--cpu", "--no-docker"], r"On AWS it would cost .* until: .* down --sandbox"),
        ("image", ["--no-docker"], r"repository_uri +.*"),
        ("submit", ["--lr", "0.1", "--momentum", "0.5", "--epochs", "1"], r"accuracy +0\.\d+"),
        ("sweep", GRID, r"2 cells: 1 have results, 0 are under way, 1 new jobs train the others\."),
        ("sweep", [*GRID, "--final"], r".*: best is lr .*, accuracy 0\.\d+; on the test pictures 0\.\d+"),
        ("results", [], r"lr +momentum +.*"),
        ("plot", [], r"picture +sweep\.png"),
        ("logs", [], r".*: epoch 1 of 1, .*"),
        ("submit", ["--epochs", "10000", "--patience", "0", "--no-wait"], r"job_id +[0-9a-f-]+"),
        ("cancel", [], r"cancelled +1"),
        ("jobs", ["--watch"], r"job_id +.*"),
        ("status", [], r"End it: python -m awslabs\.\w+ down --sandbox"),
        ("down", [], GONE),
    ]
    each_leaves_whole_lines(
        [("awslabs.batch_sweep", [v, *w], e) for v, w, e in verbs], environment(home), columns
    )


def test_each_verb_of_gpu_leaves_whole_lines(home: Path, columns: int) -> None:
    begin = [
        ("up", [], r"The notebook runs at 127\.0\.0\.1\. Open it: .* jupyter --sandbox"),
        ("status", [], r"End it: python -m awslabs\.\w+ down --sandbox"),
    ]
    work = [
        ("run", ["first_steps"], r"notebook +first_steps\.ipynb"),
        ("bench", ["--size", "64"], r"device +name +.*"),
        ("mnist", ["--epochs", "1"], r"val_accuracy +0\.\d+"),
        ("down", [], GONE),
    ]
    each_leaves_whole_lines([("awslabs.gpu", [v, *w], e) for v, w, e in begin], environment(home), columns)
    stay = ["awslabs.gpu", "jupyter", "--no-browser"]
    seen = clean(on_terminal(stay, environment(home), columns, interrupt_at="Whoever has this address"))
    assert [line for line in seen.lines if line.startswith("http://127.0.0.1:")]
    assert [line for line in seen.lines if line.startswith("The tunnel is closed; the notebook goes on.")]
    each_leaves_whole_lines([("awslabs.gpu", [v, *w], e) for v, w, e in work], environment(home), columns)
