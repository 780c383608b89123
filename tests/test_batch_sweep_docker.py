"""Chapter 4 on a computer with Docker: an image is built, pushed and pulled, and each cell is a container."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import docker_engine
import docker_images
import pytest
from extras import needed

from awslabs import batch_sweep, sandbox
from awslabs.cloud import Cloud
from awslabs.images import Recipe
from awslabs.ledger import Ledger
from awslabs.sandbox import Run
from awslabs.workload.batch_sweep import following, results, sweep
from awslabs.workload.batch_sweep.results import Series

pytestmark = pytest.mark.docker

needed("torch")  # its wheel goes into the image

CELLS = sweep.grid([0.1, 0.01, 0.001], [0.5, 0.1, 0.05])
SERIES = Series("digits", 2, 5)


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Run]:
    docker_engine.needed()
    with docker_engine.in_use():
        run = sandbox.start(slow_states=0.01, home=tmp_path / "cloud")
        yield run
        run.stop()


@pytest.fixture
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Recipe:
    return docker_images.mnist(docker_engine.needed(), tmp_path_factory)


@pytest.fixture
def ledger(run: Run, recipe: Recipe, monkeypatch: pytest.MonkeyPatch) -> Iterator[Ledger]:
    client = docker_engine.needed()
    monkeypatch.setattr(batch_sweep, "recipe", lambda machine: recipe)
    monkeypatch.setenv("AWSLABS_HOME", str(run.directory / "home"))
    ledger = Ledger(Cloud(environment=run.environment(region="us-east-1")), "batch_sweep")
    lab = batch_sweep.up(ledger, cpu=True)
    client.images.remove(f"{lab.repository_uri}:{recipe.tag}", force=True)  # a job must pull it
    yield ledger
    batch_sweep.down(ledger)
    docker_images.untag(client, lab.repository_uri)


def test_nine_cells_train_in_nine_containers(run: Run, ledger: Ledger, recipe: Recipe) -> None:
    engine, since = docker_engine.needed(), int(time.time())
    swept = sweep.sweep(ledger, CELLS, SERIES)
    following.follow(ledger, swept.job_ids)
    told = {"label": f"awslabs.practice={run.directory.resolve()}", "type": "container", "event": "die"}
    ended = list(engine.events(since=since, until=int(time.time()) + 1, filters=told, decode=True))
    assert [event["Actor"]["Attributes"]["exitCode"] for event in ended] == ["0"] * len(CELLS)
    table = results.results(ledger, SERIES)
    assert {(row.lr, row.momentum) for row in table.cells} == {(cell.lr, cell.momentum) for cell in CELLS}
    assert results.there(ledger, SERIES) == {cell.name for cell in CELLS}

    # The image that they pulled: what they import was compiled when it was built, and little else.
    program = """
import pathlib, torch
folder = pathlib.Path(torch.__file__).parent
compiled, written = (len(list(folder.rglob(f"*.{kind}"))) for kind in ("pyc", "py"))
print(*(pathlib.Path(one.__cached__).exists() for one in (torch.nn, torch.optim)), compiled < written)
"""
    image = f"{batch_sweep.describe(ledger).repository_uri}:{recipe.tag}"
    said = engine.containers.run(image, ["-c", program], entrypoint="python", remove=True)
    assert said.decode().split() == ["True"] * 3
