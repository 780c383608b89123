"""Chapter 4 in the practice cloud, where jobs train for real: instances come and go, files arrive in S3.

The tests share one lab and stand in the order of a lesson.
"""

from __future__ import annotations

import csv
import functools
import io
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from extras import needed
from processes import eventually

from awslabs import batch_sweep
from awslabs.cloud import Cloud
from awslabs.errors import LabError
from awslabs.ledger import Ledger
from awslabs.sandbox import Run
from awslabs.workload.batch_sweep import batch_jobs, following, results, sweep
from awslabs.workload.batch_sweep.results import Cell, Series

SLOW_STATES = 0.01  # minutes are seconds
pytestmark = [pytest.mark.ml, pytest.mark.usefixtures("answers_fit")]

needed("torch", "sklearn")  # jobs train with the one on the digits of the other

RATES, MOMENTA = "0.1,0.001", "0.5,0.05"
CELLS = sweep.grid([0.1, 0.001], [0.5, 0.05])  # more than a machine takes at once
SERIES = Series("digits", 2, 5)
WAIT_S = 300.0  # until a job has got where it must; only what hangs takes so long
wait_for = functools.partial(eventually, seconds=WAIT_S)


@pytest.fixture(scope="module")
def environment(run: Run) -> dict[str, str]:
    """What a process needs to work in that cloud; without a Docker engine."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("AWS")}
    return {
        **clean,
        **run.environment(region="us-east-1"),
        "AWSLABS_HOME": str(run.directory / "home"),
        "OMP_NUM_THREADS": "1",
    }


@pytest.fixture(scope="module")
def ledger(run: Run, environment: dict[str, str]) -> Iterator[Ledger]:
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("AWSLABS_HOME", environment["AWSLABS_HOME"])
        ledger = Ledger(Cloud(environment=run.environment(region="us-east-1")), "batch_sweep")
        batch_sweep.up(ledger, without_docker=True)  # whose machines have GPUs, on AWS
        yield ledger
        batch_sweep.down(ledger)


@pytest.fixture
def terminal(environment: dict[str, str], tmp_path: Path) -> Callable[..., subprocess.Popen]:
    """Begin a command line in a process of its own."""

    def begin(*arguments: str) -> subprocess.Popen:
        return subprocess.Popen(
            [sys.executable, "-m", "awslabs.batch_sweep", *arguments],
            env=environment,
            cwd=tmp_path,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    return begin


def submitted(run: Run) -> int:
    """How many jobs and arrays were submitted until now."""
    calls = [row for row in run.calls() if row["operation"] == "batch:SubmitJob" and not row["code"]]
    return len(calls)


def test_a_sweep_killed_in_the_middle_is_taken_up_and_trains_each_cell_once(
    run: Run, ledger: Ledger, terminal: Callable[..., subprocess.Popen]
) -> None:
    command = ["sweep", "--lr", RATES, "--momentum", MOMENTA, "--epochs", "2"]
    first = terminal(*command)
    wait_for(lambda: len(batch_jobs.machines(ledger)) > 1)  # from zero
    wait_for(lambda: results.there(ledger, SERIES))
    first.send_signal(signal.SIGKILL)
    first.communicate()

    second = terminal(*command, "--final", "--json")
    said, complaints = second.communicate(timeout=WAIT_S)
    assert second.returncode == 0, complaints
    table = json.loads(said)
    assert submitted(run) == 2  # the array, once, and the final training
    files = results.there(ledger, SERIES)
    best = Cell(table["cells"][0]["lr"], table["cells"][0]["momentum"])
    assert files == {*(cell.name for cell in CELLS), best.final_name}

    # The table says what the files say.
    for one in table["cells"]:
        curve = results.metrics(
            results.content(ledger, f"{SERIES.prefix}/{Cell(one['lr'], one['momentum']).name}")
        )
        assert len(curve) == one["epochs"] == 2
        losses = [epoch["val_loss"] for epoch in curve]
        assert one["best_epoch"] == 1 + losses.index(min(losses))
        assert one["val_loss"] == min(losses)
    accuracies = {(one["lr"], one["momentum"]): one["accuracy"] for one in table["cells"]}
    assert max(accuracies.values()) == accuracies[best.lr, best.momentum] > 0.6
    assert accuracies[0.1, 0.5] > accuracies[0.001, 0.05]  # two epochs at a small rate teach little
    assert table["test_accuracy"] > 0.6

    lines = batch_jobs.logs(ledger, batch_jobs.jobs(ledger)[-1].job_id)
    assert sum('"done": true' in line for line in lines) == len(CELLS)
    assert ledger.journal.path.read_text().count("batch:SubmitJob") == 2
    ledger.close_ended()
    assert [row for row in ledger.journal.open_rows() if row.name == "job"] == []


def test_what_is_missing_is_trained_and_nothing_else_packed_into_one_job(run: Run, ledger: Ledger) -> None:
    before = submitted(run)
    s3, bucket = ledger.client("s3"), ledger.resources["bucket"]
    lost, kept = CELLS[1:3], CELLS[0]
    was = [results.content(ledger, f"{SERIES.prefix}/{cell.name}") for cell in lost]
    for cell in lost:
        s3.delete_object(Bucket=bucket, Key=f"{SERIES.prefix}/{cell.name}")
    standing = s3.head_object(Bucket=bucket, Key=f"{SERIES.prefix}/{kept.name}")["LastModified"]
    begun = sweep.sweep(ledger, CELLS, SERIES, pack=2)
    assert (begun.skipped, begun.jobs) == (len(CELLS) - len(lost), 1)
    following.follow(ledger, begun.job_ids)
    assert submitted(run) == before + 1
    assert s3.head_object(Bucket=bucket, Key=f"{SERIES.prefix}/{kept.name}")["LastModified"] == standing
    # Trained side by side, they learn what each learned alone.
    for cell, text in zip(lost, was, strict=True):
        now = results.metrics(results.content(ledger, f"{SERIES.prefix}/{cell.name}"))
        for epoch, before_it in zip(now, results.metrics(text), strict=True):
            assert epoch == pytest.approx(before_it, rel=1e-3, abs=1e-3)


def test_the_machines_go_when_no_job_is_left(ledger: Ledger) -> None:
    wait_for(lambda: not batch_jobs.machines(ledger))


def test_run_returns_the_accuracy_and_trains_a_cell_only_once(run: Run, ledger: Ledger) -> None:
    before = submitted(run)
    params = {"lr": 0.1, "momentum": 0.5}
    accuracy = sweep.run(ledger, params, epochs=1)
    assert 0 < accuracy <= 1
    assert sweep.run(ledger, {"lr": 0.100001, "momentum": 0.5}, epochs=1) == accuracy
    assert submitted(run) == before + 1


def test_a_job_that_fails_is_told_with_its_exit_code_and_its_log(ledger: Ledger) -> None:
    job_id = sweep.submit(ledger, Cell(0.1, 0.5), Series("/nowhere", 1, 5))
    assert job_id
    with pytest.raises(LabError, match="The job failed") as failed:
        following.follow(ledger, [job_id])
    assert "exit code 1" in failed.value.why
    assert " logs " in failed.value.fix
    assert failed.value.fix.endswith(job_id)
    assert any(line.startswith("error:") for line in batch_jobs.logs(ledger, job_id[:8]))


def test_a_job_that_runs_is_cancelled_and_down_leaves_nothing_of_it(
    ledger: Ledger, terminal: Callable[..., subprocess.Popen]
) -> None:
    job_id = sweep.submit(ledger, Cell(0.1, 0.1), Series("digits", 10_000, 0))
    assert job_id

    def state() -> str:
        return batch_jobs.described(ledger, [job_id])[0]["status"]

    wait_for(lambda: state() == "RUNNING")
    assert batch_jobs.cancel(ledger) == [job_id]
    wait_for(lambda: state() == "FAILED")
    ledger.close_ended()
    assert [row for row in ledger.journal.open_rows() if row.name == "job"] == []


def test_the_textbooks_own_notebook_finds_what_it_asks_for(
    ledger: Ledger, terminal: Callable[..., subprocess.Popen]
) -> None:
    """It knows names of queue, definition and bucket, its own arguments, and files at the root."""
    stands = batch_sweep.describe(ledger)
    definition = stands.job_definition.rpartition("/")[2].partition(":")[0]
    batch, rates, momenta = ledger.client("batch"), [0.1, 0.001], [0.5]
    job_ids = [
        batch.submit_job(
            jobName=f"lr{lr}_m{momentum}".replace(".", ""),
            jobQueue=stands.job_queue,
            jobDefinition=definition,
            containerOverrides={
                "command": [
                    *("--lr", str(lr), "--momentum", str(momentum)),
                    *("--epochs", "2", "--uploadS3", "true"),
                ]
            },
        )["jobId"]
        for lr in rates
        for momentum in momenta
    ]
    wait_for(
        lambda: {job["status"] for job in batch_jobs.described(ledger, job_ids)} <= {"SUCCEEDED", "FAILED"}
    )
    best = {}
    for lr in rates:
        for momentum in momenta:
            key = f"metrics_lr{lr:0.4f}_m{momentum:0.4f}.csv"
            body = ledger.client("s3").get_object(Bucket=stands.bucket_name, Key=key)["Body"].read()
            rows = list(csv.DictReader(io.StringIO(body.decode())))
            assert [list(row) for row in rows] == [["train_loss", "val_loss", "val_accuracy"]] * 2
            best[lr, momentum] = max(float(row["val_accuracy"]) for row in rows)
    assert 50 < best[0.1, 0.5] <= 100
    assert best[0.1, 0.5] > best[0.001, 0.5]

    # Our own verbs know that place, and what stands there.
    said = terminal("results", "--series", "textbook", "--json")
    found = json.loads(said.communicate(timeout=WAIT_S)[0])
    assert (found["cells"][0]["lr"], found["cells"][0]["device"]) == (0.1, "cpu")
    assert found["cells"][0]["accuracy"] == pytest.approx(best[0.1, 0.5] / 100, abs=0.01)
    assert results.newest_series(ledger) == results.TEXTBOOK


def test_down_brings_the_results_home(
    ledger: Ledger, terminal: Callable[..., subprocess.Popen], tmp_path: Path
) -> None:
    down = terminal("down")
    _, said = down.communicate(timeout=WAIT_S)
    assert down.returncode == 0, said
    saved = sorted(path.name for path in (tmp_path / "awslabs-results/batch_sweep" / SERIES.name).iterdir())
    assert len(saved) == len(CELLS) + 1
    assert "objects were not put there by a lab" not in said  # all of them are our own jobs'
    assert f"{len(CELLS) + 4} files of results saved" in said  # two of the textbook's, one of one epoch
    assert len(list((tmp_path / "awslabs-results/batch_sweep/textbook").iterdir())) == 2
