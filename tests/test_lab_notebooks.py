"""notebooks/labs/: each lab from a notebook, from `up` to `down`, on the practice cloud."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest
from extras import Later

from awslabs import sandbox
from awslabs.journal import files, read
from awslabs.labs import LABS
from awslabs.tour import chapter

pytestmark = pytest.mark.ml

nbformat, nbclient = Later("nbformat"), Later("nbclient")

FOLDER = Path(__file__).resolve().parents[1] / "notebooks" / "labs"
MORE_NEEDS = {"optuna_sweep": ("optuna", *chapter("batch_sweep").NEEDS)}  # of those beside the chapters
BOOKS = sorted(FOLDER.glob("*.ipynb"))
# What a reader waits for longer than the test needs: it says nothing of how well a network learns.
SHORTER = {
    "batch_sweep": {"epochs=3": "epochs=1"},
    "gpu": {"epochs=2": "epochs=1"},
    "optuna_sweep": {"epochs=2": "epochs=1", "n_trials=6, n_jobs=3": "n_trials=3, n_jobs=3"},
}


@pytest.mark.parametrize("path", BOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_kept_without_outputs(path: Path) -> None:
    book = nbformat.read(path, as_version=4)
    nbformat.validate(book)
    assert not [cell for cell in book.cells if cell.get("outputs") or cell.get("execution_count")]


def test_each_lab_has_a_notebook() -> None:
    assert {path.stem for path in BOOKS} >= LABS.keys()


@pytest.mark.parametrize("path", BOOKS, ids=lambda path: path.stem)
def test_a_notebook_builds_works_and_leaves_nothing(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    needs = chapter(path.stem).NEEDS if path.stem in LABS else MORE_NEEDS[path.stem]
    if missing := [name for name in needs if importlib.util.find_spec(name) is None]:
        pytest.skip(f"{', '.join(missing)} not installed: pip install -e '.[ml,notebook]'")
    monkeypatch.setenv("DOCKER_HOST", "unix:///nowhere/docker.sock")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    run = sandbox.start(slow_states=0.02)
    try:
        book = nbformat.read(path, as_version=4)
        for whole, shorter in SHORTER.get(path.stem, {}).items():
            (cell,) = [cell for cell in book.cells if cell.cell_type == "code" and whole in cell.source]
            cell.source = cell.source.replace(whole, shorter)
        client = nbclient.NotebookClient(
            book, timeout=1800, startup_timeout=600, resources={"metadata": {"path": str(tmp_path)}}
        )
        client.km = client.create_kernel_manager()
        client.km.kernel_spec.argv[0] = sys.executable
        client.execute()
        assert all(
            cell.outputs for cell in book.cells if cell.cell_type == "code" and cell.source.count("\n") == 0
        )
        if path.stem in LABS:  # Optuna's own log goes to stderr
            outputs = [output for cell in book.cells for output in cell.get("outputs", [])]
            assert [output.text for output in outputs if output.get("name") == "stderr"] == []
            assert [output for output in outputs if output.output_type == "display_data"], "waits"
        for ledger in files(run.directory):
            _, rows = read(ledger)
            assert rows
            assert not [row for row in rows if row.open]
    finally:
        run.stop()
