"""Chapter 4's work: train one model, or a whole grid of them, on machines that come with the work.

    cells = sweep.grid([0.1, 0.01, 0.001], [0.5, 0.1, 0.05])      nine pairs of learning rate and momentum
    sweep.sweep(ledger, cells, epochs=10)                          one call to AWS, nine jobs
    results.results(ledger)                                        what came of it

Each cell becomes one file in the bucket, whose name says which cell it is. So a sweep that was killed in the
middle is simply run again: it trains what has no file yet.
"""

from __future__ import annotations

import hashlib
import json
import math
import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from awslabs import images, prices
from awslabs.cost import BATCH_ROOT_GIB
from awslabs.errors import LabError
from awslabs.kinds.named import parts
from awslabs.ledger import Ledger, ensure
from awslabs.show import Shown
from awslabs.workload import standing
from awslabs.workload.batch_sweep import batch_jobs, following, results
from awslabs.workload.batch_sweep.results import Cell, Series

DIGITS = 4  # after the point, in the names of files: values that differ later would share a file
EPOCHS = 10  # of each model, at most
PATIENCE = 5  # epochs without a smaller validation loss after which training stops
LARGEST_ARRAY = 10_000  # jobs that one array can have (AWS Batch service quotas)
MOST_EPOCHS = 10_000


@dataclass(frozen=True)
class Swept(Shown):
    """What a sweep has begun, and what had been there.

    Attributes
    ----------
    series : str
        The folder of its results.
    cells, skipped, under_way : int
        How many there are; how many of them had their results already; how many are trained by jobs that an
        earlier call has begun.
    jobs : int
        How many jobs were begun for the others.
    job_ids : list of str
        All that is to be waited for; one for an array, whatever its size.
    """

    series: str
    cells: int
    skipped: int
    under_way: int
    jobs: int
    job_ids: list[str]


# -- Which cells ---------------------------------------------------------------------------------------------


def grid(learning_rates: Sequence[float], momenta: Sequence[float]) -> list[Cell]:
    """Every learning rate with every momentum, each pair once.

    Raises
    ------
    LabError
        For a value that training cannot take, or that has more than four digits after the point.
    """
    cells = [checked(lr, momentum) for lr in learning_rates for momentum in momenta]
    return list(dict.fromkeys(cells))


def scattered(
    many: int, learning_rates: tuple[float, float], momenta: tuple[float, float], *, seed: int = 0
) -> list[Cell]:
    """That many cells by chance; the same ones for the same seed, so that a sweep can be taken up again.

    Parameters
    ----------
    learning_rates, momenta : (float, float)
        Lowest and highest. Rates are drawn evenly over their magnitudes, since what counts is their ratio.
    """
    low, high = sorted(checked(value, 0.0).lr for value in learning_rates)
    least, most = sorted(checked(1.0, value).momentum for value in momenta)
    draw, cells = random.Random(seed), dict[Cell, None]()
    for _ in range(100 * many):
        lr = round(math.exp(draw.uniform(math.log(low), math.log(high))), DIGITS)
        cells[Cell(lr, round(draw.uniform(least, most), DIGITS))] = None
        if len(cells) == many:
            return list(cells)
    raise LabError(
        f"Between these bounds there are fewer than {many} cells that can be told apart.",
        f"Values are rounded to {DIGITS} digits after the point.",
        "ask for fewer, or for wider bounds",
    )


def checked(lr: float, momentum: float) -> Cell:
    """The cell of these two values, if a model can be trained with them and a file be named after them."""
    for what, value, fits, range_, mostly in (
        ("learning rate", lr, 0 < lr <= 10, "above 0, at most 10", "0.01"),
        ("momentum", momentum, 0 <= momentum < 1, "0 to below 1", "0.9"),
    ):
        if not fits:
            raise LabError(
                f"A {what} of {value:g} trains nothing.", f"It must be {range_}.", f"take {mostly}"
            )
        if round(value, DIGITS) != value:
            raise LabError(
                f"The {what} {value:g} has more than {DIGITS} digits after the point.",
                "Files of results are named with that many, so two cells could share one.",
                f"take {max(round(value, DIGITS), 10**-DIGITS):g}",
            )
    return Cell(lr + 0.0, momentum + 0.0)  # files have no -0.0000


def series_of(
    ledger: Ledger, *, data: str | None = None, epochs: int = EPOCHS, patience: int = PATIENCE
) -> Series:
    """Under which settings cells are trained; they stand in the name of the folder of results.

    Parameters
    ----------
    data : str, optional
        ``mnist``, or ``digits``: 1,797 small pictures that need no download, the default beside AWS.
    """
    if not 1 <= epochs <= MOST_EPOCHS:
        raise LabError(
            f"{epochs} epochs are no training.",
            f"An epoch is one pass over all pictures; a model takes 1 to {MOST_EPOCHS}.",
            "--epochs 10",
        )
    if patience < 0:
        raise LabError(
            f"A patience of {patience} epochs makes no sense.", "0 means: never stop early.", "--patience 0"
        )
    return Series(data or ("mnist" if ledger.cloud.is_aws else "digits"), epochs, patience)


# -- Submit --------------------------------------------------------------------------------------------------


def submit(
    ledger: Ledger, cell: Cell, series: Series, *, again: bool = False, final: bool = False
) -> str | None:
    """Train one cell, unless a job does so already. AWS calls: ``batch:SubmitJob``.

    Parameters
    ----------
    again : bool
        Although its results are there.
    final : bool
        Train it once more, to its best epoch, and measure it on the pictures that no training has seen.

    Returns
    -------
    str or None
        The job's id; None where the results are there already.
    """
    cell = checked(cell.lr, cell.momentum)
    name = cell.final_name if final else cell.name
    with ledger.locked("start"):  # another terminal's sweep looks before this job is there, or after
        if not again:
            if name in results.there(ledger, series):
                return None
            for job_id, files in under_way(ledger, series).items():
                if name in files:
                    return job_id
        return begin(ledger, cell, series, again=again, final=final)


def sweep(
    ledger: Ledger,
    cells: Iterable[Cell],
    series: Series,
    *,
    pack: int = 1,
    single: bool = False,
    again: bool = False,
) -> Swept:
    """Train all cells that have no results yet, as one array of jobs: one call to AWS.

    Cells that jobs of an earlier call are about to train are left to those.

    AWS calls: ``s3:ListObjectsV2``, ``batch:ListJobs``, ``batch:DescribeJobs``, ``s3:PutObject`` of the
    list of cells, ``batch:SubmitJob``.

    Parameters
    ----------
    pack : int
        So many cells share one job and its GPU, which a single small model leaves idle.
    single : bool
        A job for each cell instead, with a call for each.
    again : bool
        Train all, although results are there.
    """
    wanted = list(dict.fromkeys(checked(cell.lr, cell.momentum) for cell in cells))
    with ledger.locked("start"):  # two sweeps at once would both find that nobody trains these cells
        return missing_ones(ledger, wanted, series, pack=pack, single=single, again=again)


def missing_ones(
    ledger: Ledger, wanted: list[Cell], series: Series, *, pack: int, single: bool, again: bool
) -> Swept:
    """Begin jobs for those of these cells that have no results, and that nobody is about to train."""
    done, busy = (set(), {}) if again else (results.there(ledger, series), under_way(ledger, series))
    missing = [cell for cell in wanted if cell.name not in done]
    job_ids = [job_id for job_id, files in busy.items() if any(cell.name in files for cell in missing)]
    skipped, left = len(wanted) - len(missing), set[str]().union(*(busy[job_id] for job_id in job_ids))
    missing = [cell for cell in missing if cell.name not in left]
    if single:
        pack = 1
        job_ids += [begin(ledger, cell, series, again=again) for cell in missing]
    else:
        arrays = parts(missing, LARGEST_ARRAY * pack)
        job_ids += [array(ledger, cells, series, pack=pack, again=again) for cells in arrays]
    jobs = math.ceil(len(missing) / pack)
    return Swept(series.name, len(wanted), skipped, len(wanted) - skipped - len(missing), jobs, job_ids)


def under_way(ledger: Ledger, series: Series) -> dict[str, set[str]]:
    """Which files jobs that have not ended will write, by job id: their commands tell.

    AWS calls: ``batch:ListJobs``, ``batch:DescribeJobs``, ``s3:GetObject`` for each array.
    """
    found = {}
    for job in batch_jobs.unended(ledger):
        command = job.get("container", {}).get("command", [])
        said = dict(zip(command, command[1:], strict=False))  # "--lr": "0.1", and what else follows what
        if said.get("--out") != address(ledger, series):
            continue
        if "--cells" not in said:
            cell = Cell(float(said["--lr"]), float(said["--momentum"]))
            found[job["jobId"]] = {cell.final_name if "--final" in command else cell.name}
            continue
        try:
            listed = json.loads(results.content(ledger, said["--cells"].partition("//")[2].partition("/")[2]))
        except ledger.client("s3").exceptions.NoSuchKey:
            continue  # somebody has deleted the list: what has not begun yet will fail
        pack, failed = int(said["--pack"]), batch_jobs.failed_indices(ledger, job)
        found[job["jobId"]] = {
            Cell(one["lr"], one["momentum"]).name
            for number, one in enumerate(listed)
            if number // pack not in failed
        }
    return found


def begin(ledger: Ledger, cell: Cell, series: Series, *, again: bool, final: bool = False) -> str:
    """One job for one cell."""
    arguments = ["--lr", f"{cell.lr:g}", "--momentum", f"{cell.momentum:g}"]
    arguments += ["--final"] if final else []
    return start(ledger, "final" if final else "submit", series, arguments, again=again)


def array(ledger: Ledger, cells: Sequence[Cell], series: Series, *, pack: int, again: bool) -> str:
    """One array job for these cells. The list lies in the bucket; job 3 takes those from 3 * `pack` on."""
    body = json.dumps([{"lr": cell.lr, "momentum": cell.momentum} for cell in cells]).encode()
    key = f"cells/{hashlib.sha256(body).hexdigest()[:16]}.json"
    bucket = standing(ledger, "bucket")
    ensure(
        ledger.client("s3").put_object,
        Bucket=bucket,
        Key=key,
        Body=body,
        ContentType="application/json",
        Metadata={"awslabs-ledger": ledger.prefix},
    )
    jobs = math.ceil(len(cells) / pack)
    # Batch knows arrays of two and more; a single job finds no index and takes the first cells.
    size = {"arrayProperties": {"size": jobs}} if jobs > 1 else {}
    arguments = ["--cells", f"s3://{bucket}/{key}", "--pack", str(pack)]
    return start(ledger, "sweep", series, arguments, again=again, **size)


def start(
    ledger: Ledger, name: str, series: Series, arguments: list[str], *, again: bool, **more: Any
) -> str:
    """Submit a job with these arguments of the program; returns its id."""
    require_image(ledger)
    ledger.afford_hours("the job", usd_per_machine_hour(ledger))
    command = [
        *("--data", series.data, "--epochs", str(series.epochs), "--patience", str(series.patience)),
        *("--out", address(ledger, series), "--progress", "json"),
        *(["--again"] if again else []),
        *arguments,
    ]
    return ledger.start(
        "job",
        ledger.client("batch").submit_job,
        jobName=f"{ledger.prefix}-{name}",
        jobQueue=standing(ledger, "job-queue"),
        jobDefinition=batch_jobs.definition_arn(ledger),
        containerOverrides={"command": command},
        **more,
    )


def usd_per_machine_hour(ledger: Ledger) -> float | None:
    """What the machine of a job costs; None where that is not known."""
    resources = batch_jobs.require_environment(ledger)["computeResources"]
    spot = resources["type"] == "SPOT"
    return prices.server_hour(resources["instanceTypes"][0], ledger.cloud.region, BATCH_ROOT_GIB, spot=spot)


def address(ledger: Ledger, series: Series) -> str:
    """Where the results of a series go, as the program takes it."""
    return f"s3://{standing(ledger, 'bucket')}/{series.prefix}"


def require_image(ledger: Ledger) -> None:
    """Stop before a job that no machine could begin. AWS calls: ``ecr:DescribeImages``."""
    repository = standing(ledger, "repository")
    row = batch_jobs.definition_row(ledger)
    tag = row.name.removeprefix(batch_jobs.DEFINITION) if row else ""
    if not images.is_there(ledger.client("ecr"), repository, tag):
        raise LabError(
            f"The image {repository}:{tag} is not in ECR.",
            "It was never pushed, or someone deleted it; a job would fail with CannotPullContainerError.",
            ledger.command("image"),
        )


# -- For whoever searches with a program of their own -----------------------------------------------------


def run(ledger: Ledger, params: dict[str, float], *, epochs: int = EPOCHS, data: str | None = None) -> float:
    """Train with these parameters as a Batch job, wait for it, and return its accuracy: between 0 and 1.

    What a search calls again and again; see ``notebooks/labs/optuna_sweep.ipynb``. A cell that was trained
    before is not trained again. Threads may call it at the same time: each call is a job of its own.

    Parameters
    ----------
    params : dict
        ``{"lr": 0.01, "momentum": 0.9}``, rounded here to four digits after the point.

    Returns
    -------
    float
        Accuracy on the validation pictures, in the epoch in which the validation loss was smallest.

    Raises
    ------
    LabError
        For parameters that train nothing, or if the job fails.
    """
    cell = checked(*(round(params[name], DIGITS) for name in ("lr", "momentum")))
    series = series_of(ledger, data=data, epochs=epochs)
    job_id = submit(ledger, cell, series)
    if job_id:
        following.follow(ledger, [job_id])
    return results.read(ledger, series, cell).accuracy
