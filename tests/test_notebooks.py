"""notebooks/: each runs from top to end, in a checkout and beside its modules, and shows pictures."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.ml

pytest.importorskip("torch", reason="torch is not installed: pip install -e '.[ml]'")
nbformat = pytest.importorskip("nbformat", reason="nbformat is not installed: pip install -e '.[notebook]'")
nbclient = pytest.importorskip("nbclient", reason="nbclient is not installed: pip install -e '.[notebook]'")

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOKS = ROOT / "notebooks"
PICTURES = {"first_steps": 1, "cpu_gpu": 1, "mnist": 3}  # at least


def executed(path: Path, monkeypatch) -> Any:
    """The notebook after a run in its own folder, by a kernel of this Python."""
    monkeypatch.setenv("MNIST_DATA", "digits")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    notebook = nbformat.read(path, as_version=4)
    client = nbclient.NotebookClient(
        notebook, timeout=1800, startup_timeout=600, resources={"metadata": {"path": str(path.parent)}}
    )
    client.km = client.create_kernel_manager()
    client.km.kernel_spec.argv[0] = sys.executable
    return client.execute()


def outputs(notebook: Any) -> list[Any]:
    return [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]


def test_all_notebooks_are_in_the_list():
    assert {path.stem for path in NOTEBOOKS.glob("*.ipynb")} == set(PICTURES)


@pytest.mark.parametrize("name", PICTURES)
def test_a_notebook_is_kept_without_outputs(name):
    notebook = nbformat.read(NOTEBOOKS / f"{name}.ipynb", as_version=4)
    nbformat.validate(notebook)
    assert outputs(notebook) == []
    assert all(cell.get("execution_count") is None for cell in notebook.cells)
    assert sum(cell.cell_type == "markdown" for cell in notebook.cells) >= 4


@pytest.mark.parametrize("name", PICTURES)
def test_a_notebook_runs_in_a_checkout_and_shows_pictures(name, monkeypatch):
    done = outputs(executed(NOTEBOOKS / f"{name}.ipynb", monkeypatch))
    assert [output for output in done if output.output_type == "error"] == []
    pictures = [output for output in done if "image/png" in output.get("data", {})]
    assert len(pictures) >= PICTURES[name]
    assert all(len(output.data["image/png"]) > 5000 for output in pictures)


def test_the_mnist_notebook_reads_digits_on_a_server_where_all_lies_in_one_folder(tmp_path, monkeypatch):
    for path in (NOTEBOOKS / "mnist.ipynb", ROOT / "images" / "mnist" / "trainer.py"):
        shutil.copy(path, tmp_path)
    done = outputs(executed(tmp_path / "mnist.ipynb", monkeypatch))
    text = "".join(output.text for output in done if output.output_type == "stream")
    assert "1149 to train, 288 to validate, 360 to test" in text
    accuracy = float(text.split("best in epoch")[1].split("accuracy ")[1].split(" %")[0])
    assert accuracy > 93
    assert "test accuracy" in text


def matrix_product(*arguments: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, str(NOTEBOOKS / "matrix_product.py"), *arguments],
        env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True,
    )  # fmt: skip


def test_the_matrix_product_tells_time_and_operations_of_each_device():
    ended = matrix_product("--size", "300", "--json")
    assert (ended.returncode, ended.stderr) == (0, "")
    products = [json.loads(line) for line in ended.stdout.splitlines()]
    assert products[0]["device"] == "cpu"
    for product in products:
        assert set(product) == {"device", "name", "size", "seconds", "tflop_s"}
        assert product["size"] == 300
        assert product["tflop_s"] * product["seconds"] * 1e12 == pytest.approx(2 * 300**3)
    assert "TFLOP/s" in matrix_product("--size", "100").stdout


def test_matrices_that_the_memory_cannot_hold_are_refused_before_they_are_made():
    sys.path.insert(0, str(NOTEBOOKS))
    try:
        import matrix_product as program
    finally:
        sys.path.remove(str(NOTEBOOKS))
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    least = int((memory / 12) ** 0.5) + 1  # three matrices of 4 bytes a number
    with pytest.raises(MemoryError, match=f"three matrices of {least} rows take"):
        program.require_memory(least)
    program.require_memory(least - 1)


@pytest.mark.parametrize("size", ["0", "many", "-3", "100000"])
def test_a_size_that_makes_no_sense_is_refused(size):
    ended = matrix_product("--size", size)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert "from 1 to 65536" in ended.stderr
