"""Chapter 4 in the tour."""

from __future__ import annotations

from typing import Any

from awslabs import batch_sweep, journal
from awslabs.ledger import Ledger
from awslabs.workload.batch_sweep import batch_jobs, following, results, sweep

BUILDS = "an image, a queue and its compute environment"
OPTIONS = ("cpu", "spot")
NEEDS = ("matplotlib", *batch_sweep.PROGRAM_NEEDS)
CELLS = 4


def usd_per_hour(region: str, **options: Any) -> float | None:
    """Of the machines that train its four cells at once."""
    machine = batch_sweep.CPU if options.get("cpu") else batch_sweep.GPU
    one = batch_sweep.usd_per_machine_hour(machine, bool(options.get("spot")), region)
    return journal.total(CELLS * [one])


def up(ledger: Ledger, **options: Any) -> batch_sweep.Batch:
    """The practice cloud gets the program without an operating system."""
    return batch_sweep.up(ledger, without_docker=not ledger.cloud.is_aws, **options)


def look(ledger: Ledger) -> str:
    """The queue, and the machines behind it: none while there is no work."""
    lab = batch_sweep.describe(ledger)
    (queue,) = ledger.client("batch").describe_job_queues(jobQueues=[lab.job_queue])["jobQueues"]
    machines = len(batch_jobs.machines(ledger))
    return f"the queue is {queue['status']} and {queue['state']}; {machines} machines stand behind it"


def work(ledger: Ledger) -> str:
    """A grid of two by two, trained for three epochs on machines that come and go."""
    series = sweep.series_of(ledger, epochs=3)
    swept = sweep.sweep(ledger, sweep.grid([0.1, 0.01], [0.9, 0.5]), series)
    following.follow(ledger, swept.job_ids)
    found = results.results(ledger, series)
    best = found.best
    return (
        f"{len(found.cells)} cells trained; best: lr {best.lr:g}, momentum {best.momentum:g}, "
        f"{best.accuracy:.1%} accuracy"
    )
