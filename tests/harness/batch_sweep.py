"""Chapter 4, as the harness runs it, and what Batch shows from outside."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

from awslabs import batch_sweep, images
from awslabs.kinds.batch import ENDED
from awslabs.ledger import Ledger
from awslabs.progress import poll
from awslabs.workload.batch_sweep import batch_jobs
from awslabs.workload.batch_sweep import sweep as training
from harness import cases, outside
from harness.labs import Lab
from harness.outside import Thing, everything, thing

NAPPER = Path(__file__).parent / "napper"


def up(ledger: Ledger) -> None:
    """The lab in two zones, with a program that only sleeps: what stands is looked at, not results."""
    with (
        mock.patch.object(images, "folder", return_value=NAPPER),
        mock.patch.object(batch_sweep, "zones_of", return_value=["us-east-1a", "us-east-1b"]),
    ):
        batch_sweep.up(ledger, without_docker=True)


def sweep(ledger: Ledger) -> None:
    """Start an array of two jobs, and leave it once it runs: `down` must end it, with its machines."""
    series = training.series_of(ledger, data="digits")
    (job_id,) = training.sweep(ledger, training.grid([0.1, 0.01], [0.5]), series).job_ids

    def both_run() -> bool:
        (job,) = batch_jobs.described(ledger, [job_id])
        return batch_jobs.states_of(job) == {"RUNNING": 2}

    poll("both jobs run", both_run, timeout_s=300, first_s=0.1)


BATCH_SWEEP = Lab("batch_sweep", up, batch_sweep.down, work=(sweep,))


def batch(client: Any) -> Iterator[Thing]:
    """Environments, queues and what waits or runs in them, definitions in use."""
    for environment in everything(client, "describe_compute_environments", "computeEnvironments"):
        name = environment["computeEnvironmentName"]
        yield thing("batch environment", name, name, environment["state"], environment["status"])
    for queue in everything(client, "describe_job_queues", "jobQueues"):
        name = queue["jobQueueName"]
        yield thing("batch queue", name, name, queue["state"], queue["status"])
        everyone = [{"name": "JOB_NAME", "values": ["*"]}]
        for job in everything(client, "list_jobs", "jobSummaryList", jobQueue=name, filters=everyone):
            if job["status"] not in ENDED:
                yield thing("batch job", job["jobId"], job["jobName"])
    for definition in everything(client, "describe_job_definitions", "jobDefinitions", status="ACTIVE"):
        yield thing("batch definition", definition["jobDefinitionArn"], definition["jobDefinitionName"])


def ec2(client: Any) -> Iterator[Thing]:
    """EC2; a machine that Batch has just started counts as one that runs."""
    for one in without_batch(client):
        yield dataclasses.replace(one, shape=one.shape.replace(" pending", " running"))


without_batch = outside.LISTINGS["ec2"]
outside.LISTINGS.update({"batch": batch, "ec2": ec2})
cases.CODES["batch"] = {
    "THROTTLED": "TooManyRequestsException",
    "INTERNAL": "ServerException",
    "DENIED": "AccessDeniedException",
}
