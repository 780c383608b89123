"""notebooks/: what each is kept as and needs in a checkout; `test_gpu_live.py` runs them on a server."""

from __future__ import annotations

import ast
import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from extras import Later, needed

pytestmark = pytest.mark.ml

needed("torch")
nbformat, nbclient = Later("nbformat"), Later("nbclient")

NOTEBOOKS = Path(__file__).resolve().parents[1] / "notebooks"
NAMES = sorted(path.stem for path in NOTEBOOKS.glob("*.ipynb"))


def code_of(name: str) -> list[Any]:
    notebook = nbformat.read(NOTEBOOKS / f"{name}.ipynb", as_version=4)
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


@pytest.mark.parametrize("name", NAMES)
def test_a_notebook_is_kept_without_outputs(name):
    notebook = nbformat.read(NOTEBOOKS / f"{name}.ipynb", as_version=4)
    nbformat.validate(notebook)
    assert not [cell for cell in code_of(name) if cell.outputs]
    assert all(cell.get("execution_count") is None for cell in notebook.cells)
    assert sum(cell.cell_type == "markdown" for cell in notebook.cells) >= 4


@pytest.mark.parametrize("name", sorted({*NAMES} - {"mnist"}))
def test_a_notebook_finds_in_a_checkout_what_it_finds_on_a_server(name, monkeypatch):
    """There more lies beside it, where `test_gpu_live.py` runs it whole. And no file is read."""
    source = "\n".join(cell.source.replace("%matplotlib", "# ") for cell in code_of(name))
    parts = list(ast.walk(ast.parse(source)))
    wanted = [alias.name for part in parts if isinstance(part, ast.Import) for alias in part.names]
    wanted += [part.module or "" for part in parts if isinstance(part, ast.ImportFrom)]
    assert not {"open", "Path", "os", "pathlib"} & {part.id for part in parts if isinstance(part, ast.Name)}
    monkeypatch.syspath_prepend(NOTEBOOKS)
    assert wanted
    assert [one for one in wanted if importlib.util.find_spec(one.partition(".")[0]) is None] == []


def test_the_mnist_notebook_runs_in_a_checkout_and_shows_pictures(monkeypatch):
    """All of its cells, though it trains one epoch; on a server, all in one folder, it trains them all."""
    monkeypatch.setenv("MNIST_DATA", "digits")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    notebook = nbformat.read(NOTEBOOKS / "mnist.ipynb", as_version=4)
    (training,) = [cell for cell in notebook.cells if "epochs=10," in cell.source]
    training.source = training.source.replace("epochs=10,", "epochs=1,")
    client = nbclient.NotebookClient(
        notebook, timeout=1800, startup_timeout=600, resources={"metadata": {"path": str(NOTEBOOKS)}}
    )
    client.km = client.create_kernel_manager()
    client.km.kernel_spec.argv[0] = sys.executable
    done = [output for cell in client.execute().cells for output in cell.get("outputs", [])]
    assert [output for output in done if output.output_type == "error"] == []
    pictures = [output.data["image/png"] for output in done if "image/png" in output.get("data", {})]
    assert len(pictures) >= 3
    assert all(len(picture) > 5000 for picture in pictures)


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
