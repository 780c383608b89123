"""Chapter 4's work from a terminal: `submit`, `sweep`, `jobs`, `results`, `plot`, `logs`, `cancel`."""

from __future__ import annotations

import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from awslabs import cli
from awslabs.cli import wants_json
from awslabs.ledger import Ledger
from awslabs.workload.batch_sweep import batch_jobs, following, results, sweep, waiting_jobs
from awslabs.workload.batch_sweep.results import Cell, Results, Series

WATCH_S = 2.0  # seconds between two looks of `jobs --watch`


def numbers_in(words: str) -> list[float]:
    """``0.1,0.01,0.001``."""
    numbers = []
    for text in words.split(","):
        try:
            numbers.append(float(text))
        except ValueError as error:
            raise ValueError(f"{text!r} is no number; write 0.1,0.01,0.001.") from error
    return numbers


NUMBERS = cli.Read("numbers", numbers_in)
EPOCHS = click.IntRange(1, sweep.MOST_EPOCHS)
DATA = click.option(
    "--data", type=click.Choice(["mnist", "digits"]), help="Pictures; default: mnist on AWS, else digits."
)
PATIENCE = click.option(
    "--patience",
    type=click.IntRange(0),
    default=sweep.PATIENCE,
    show_default=True,
    help="Epochs without a smaller validation loss after which training stops; 0: never.",
)
AGAIN = click.option("--again", is_flag=True, help="Train although the results are there.")
FINAL_HELP = "measure {} on the test pictures, once."
SERIES = click.option(
    "--series", metavar="NAME", help="Folder of results; default: the one that was written to last."
)


def series_named(name: str | None) -> Series | None:
    """The series of this name; None for none."""
    if name is None:
        return None
    if name == results.TEXTBOOK.name:
        return results.TEXTBOOK
    if (series := Series.named(name)) is None:
        raise click.BadParameter(
            f"{name!r} is none; such as digits-epochs10-patience5, or textbook.", param_hint="--series"
        )
    return series


def table(ledger: Ledger, found: Results) -> Any:
    """As JSON one object; on a terminal the table, and what else is to say, above it."""
    if wants_json():
        return asdict(found)
    for name in found.broken:
        mend = results.again(ledger, found.series, name)
        cli.say(f"{name} cannot be read as metrics, and is left out. {mend}".rstrip())
    best = found.best
    tested = "" if found.test_accuracy is None else f"; on the test pictures {found.test_accuracy:.4f}"
    cli.say(
        f"{found.series}: best is lr {best.lr:g}, momentum {best.momentum:g}, "
        f"accuracy {best.accuracy:.4f}{tested}"
    )
    return [asdict(one) for one in found.cells]


def add(group: click.Group, lab: str) -> None:
    """Give a lab's command line these verbs."""
    add_training(group, lab)
    add_results(group, lab)
    add_jobs(group, lab)


def add_training(group: click.Group, lab: str) -> None:
    """`submit`, `sweep`."""

    @cli.verb(group, "submit", lab)
    @click.option("--lr", type=float, default=0.01, show_default=True, help="Learning rate.")
    @click.option("--momentum", type=float, default=0.1, show_default=True)
    @click.option("--epochs", type=EPOCHS, default=sweep.EPOCHS, show_default=True)
    @PATIENCE
    @DATA
    @AGAIN
    @click.option("--final", is_flag=True, help=f"Train to the best epoch, and {FINAL_HELP.format('it')}")
    @click.option("--no-wait", is_flag=True, help="Only submit; do not follow the job.")
    def _submit(
        ledger: Ledger,
        lr: float,
        momentum: float,
        again: bool,
        final: bool,
        no_wait: bool,
        **settings: Any,
    ) -> dict[str, Any]:
        """Train one model as a Batch job, and follow it."""
        cell, series = sweep.checked(lr, momentum), sweep.series_of(ledger, **settings)
        job_id = sweep.submit(ledger, cell, series, again=again, final=final)
        if job_id is None:
            cli.say("The results are there already; --again trains once more.")
        elif no_wait:
            return {"job_id": job_id, "series": series.name}
        else:
            following.follow(ledger, [job_id], show_log=True)
        if final:
            return {**asdict(cell), "test_accuracy": results.test_accuracy(ledger, series, cell)}
        return {"job_id": job_id, "series": series.name, **asdict(results.read(ledger, series, cell))}

    @cli.verb(group, "sweep", lab)
    @click.option("--lr", type=NUMBERS, default="0.1,0.01,0.001", show_default=True, help="Learning rates.")
    @click.option("--momentum", type=NUMBERS, default="0.5,0.1,0.05", show_default=True, help="Momenta.")
    @click.option(
        "--random",
        "many",
        type=click.IntRange(1),
        help="So many cells by chance, within --lr and --momentum.",
    )
    @click.option("--seed", type=int, default=0, show_default=True, help="Another one draws other cells.")
    @click.option("--epochs", type=EPOCHS, default=sweep.EPOCHS, show_default=True)
    @PATIENCE
    @DATA
    @click.option("--pack", type=click.IntRange(1, 1000), default=1, show_default=True, help="Cells per job.")
    @click.option("--single", is_flag=True, help="A job for each cell, not one array of jobs.")
    @AGAIN
    @click.option("--final", is_flag=True, help=f"At the end {FINAL_HELP.format('the best cell')}")
    @click.option("--no-wait", is_flag=True, help="Only submit; do not follow the jobs.")
    def _sweep(
        ledger: Ledger,
        lr: list[float],
        momentum: list[float],
        many: int | None,
        seed: int,
        pack: int,
        single: bool,
        again: bool,
        final: bool,
        no_wait: bool,
        **settings: Any,
    ) -> Any:
        """Train a whole grid, or cells by chance; those that have results are skipped."""
        series = sweep.series_of(ledger, **settings)
        cells = (
            sweep.scattered(many, (min(lr), max(lr)), (min(momentum), max(momentum)), seed=seed)
            if many
            else sweep.grid(lr, momentum)
        )
        begun = sweep.sweep(ledger, cells, series, pack=pack, single=single, again=again)
        cli.say(
            f"{begun.cells} cells: {begun.skipped} have results, {begun.under_way} are under way, "
            f"{begun.jobs} new jobs train the others."
        )
        if no_wait:
            return asdict(begun)
        if begun.job_ids:
            following.follow(ledger, begun.job_ids)
        found = results.results(ledger, series)
        if final:
            found = look_once(ledger, series, found, again)
        return table(ledger, found)

    def look_once(ledger: Ledger, series: Series, found: Results, again: bool) -> Results:
        """Train the best cell to its best epoch, and measure it on the test pictures."""
        best = Cell(found.best.lr, found.best.momentum)
        job_id = sweep.submit(ledger, best, series, again=again, final=True)
        if job_id:
            following.follow(ledger, [job_id], show_log=True)
        return results.results(ledger, series)


def add_results(group: click.Group, lab: str) -> None:
    """`results`, `plot`."""

    @cli.verb(group, "results", lab)
    @SERIES
    def _results(ledger: Ledger, series: str | None) -> Any:
        """Show all cells, the best first, each by its best epoch."""
        return table(ledger, results.results(ledger, series_named(series)))

    @cli.verb(group, "plot", lab)
    @click.argument("path", type=click.Path(dir_okay=False, path_type=Path), default="sweep.png")
    @SERIES
    def _plot(ledger: Ledger, path: Path, series: str | None) -> dict[str, Any]:
        """Draw heat map and learning curves into the PNG file PATH."""
        return {"picture": results.plot(ledger, path, series_named(series)).path}


def add_jobs(group: click.Group, lab: str) -> None:
    """`jobs`, `logs`, `cancel`."""

    @cli.verb(group, "jobs", lab)
    @click.option("--watch", is_flag=True, help="Again and again, until all have ended.")
    def _jobs(ledger: Ledger, watch: bool) -> Any:
        """Show all jobs and machines; a job that waits for a machine is explained."""
        ledger.close_ended()
        said: list[str] = []
        while watch and any(not job.ended for job in batch_jobs.jobs(ledger)):
            now = overview(ledger)
            if now != said:
                cli.say("\n".join(now) + "\n")
                said = now
            time.sleep(WATCH_S)
        found, running = batch_jobs.jobs(ledger), batch_jobs.machines(ledger)
        why = explained(ledger, [job.job_id for job in found if not job.ended])
        if wants_json():
            return {
                "jobs": [asdict(job) for job in found],
                "machines": [asdict(one) for one in running],
                "waiting": asdict(why) if why else None,
            }
        for one in running:
            cli.say(f"{one.instance_id}  {one.instance_type}  {one.state}")
        if not found:
            cli.say("There is no job yet.")
        if why:
            cli.say(f"{why.cause}\nwhy:   {why.why}\nfix:   {why.fix}")
        return [asdict(job) for job in found]

    def overview(ledger: Ledger) -> list[str]:
        jobs = [
            f"{job.job_id}  {job.name:<6} {job.children or job.status}" for job in batch_jobs.jobs(ledger)
        ]
        return jobs + [f"{one.instance_id}  {one.state}" for one in batch_jobs.machines(ledger)]

    def explained(ledger: Ledger, job_ids: list[str]) -> waiting_jobs.Why | None:
        stuck = waiting_jobs.stuck(ledger, batch_jobs.described(ledger, job_ids)) if job_ids else ""
        return waiting_jobs.explain(ledger, stuck) if stuck else None

    @cli.verb(group, "logs", lab)
    @click.argument("job", default="")
    def _logs(ledger: Ledger, job: str) -> Any:
        """Show what JOB has logged: the beginning of its id, the newest job unless given."""
        return cli.logged(batch_jobs.logs(ledger, job))

    @cli.verb(group, "cancel", lab)
    @click.argument("job", default="")
    def _cancel(ledger: Ledger, job: str) -> dict[str, Any]:
        """End JOB, or all jobs that have not ended; what was trained so far stays."""
        ended = batch_jobs.cancel(ledger, job)
        ledger.close_ended()
        return {"cancelled": len(ended), "job_ids": ended}
