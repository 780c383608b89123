"""Jobs of AWS Batch: list them, read their logs, end them; `following.py` waits for them.

    SUBMITTED -> PENDING -> RUNNABLE -> STARTING -> RUNNING -> SUCCEEDED or FAILED
                 waits for   waits for    pulls the
                 other jobs  a machine    image

A job that stays RUNNABLE is the riddle of every beginner with Batch: `waiting_jobs.py` solves it.
"""

from __future__ import annotations

import json
import logging
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from awslabs.errors import LabError
from awslabs.kinds.batch import ENDED, describe_environment, jobs_named
from awslabs.kinds.batch import described as jobs_by_id
from awslabs.kinds.ec2 import instances, of_ledger
from awslabs.kinds.named import pages
from awslabs.ledger import Ledger
from awslabs.show import Shown
from awslabs.workload import Tail, standing

log = logging.getLogger(__name__)

DEFINITION = "job-definition-"  # what rows of job definitions begin with; the tag of the image follows
ORDER = ("SUBMITTED", "PENDING", "RUNNABLE", "STARTING", "RUNNING", "SUCCEEDED", "FAILED")


@dataclass(frozen=True)
class Job(Shown):
    """One job, or an array of them, as Batch shows it.

    Attributes
    ----------
    job_id : str
        An array's, too; its children are called ``JOB_ID:0``, ``JOB_ID:1``, ...
    name : str
        What it is: ``sweep``, ``submit``, ``final``.
    status : str
        See above. An array is PENDING until its last child has ended.
    children : str
        Of an array, how many are in each state.
    reason : str
        Why it failed, or what Batch says about its waiting.
    seconds : float
        How long it has run, 0 before it does; of an array since it was submitted, as it runs nowhere itself.
    """

    job_id: str
    name: str
    status: str
    children: str
    reason: str
    seconds: float

    @property
    def ended(self) -> bool:
        return self.status in ENDED


@dataclass(frozen=True)
class Machine(Shown):
    """A server that Batch has started for the lab.

    Attributes
    ----------
    instance_id, instance_type, state, zone : str
        As EC2 shows it.
    spot : bool
    """

    instance_id: str
    instance_type: str
    state: str
    zone: str
    spot: bool


# -- What stands ------------------------------------------------------------------------------------------


def definition_row(ledger: Ledger) -> Any:
    """The row of the newest job definition, or None: each image has a definition of its own."""
    rows = [row for row in ledger.journal.open_rows() if row.name.startswith(DEFINITION)]
    return next((row for row in reversed(rows) if row.state == "standing"), None)


def definition_arn(ledger: Ledger) -> str:
    """The job definition that new jobs follow. AWS calls: none."""
    row = definition_row(ledger)
    return row.id if row else standing(ledger, "job-definition")  # which says that there is none


def definition(ledger: Ledger) -> dict[str, Any]:
    """The same as Batch shows it. AWS calls: ``batch:DescribeJobDefinitions``."""
    answer = ledger.client("batch").describe_job_definitions(jobDefinitions=[definition_arn(ledger)])
    found: dict[str, Any] = answer["jobDefinitions"][0]
    return found


def require_environment(ledger: Ledger) -> dict[str, Any]:
    """The compute environment as Batch shows it; an error where somebody has deleted it."""
    name = standing(ledger, "compute-environment")
    shown = describe_environment(ledger.client("batch"), name)
    if shown is None or shown["status"] == "DELETING":
        raise LabError(
            f"The compute environment {name} was deleted.",
            "Somebody did so by hand; without it no machine will take a job.",
            f"{ledger.command('up')}    # makes it anew; with --cpu and --spot where it had them",
        )
    return shown


def up_as_before(ledger: Ledger, environment: dict[str, Any]) -> str:
    """The command that builds the lab as it stands: `up` alone takes a GPU and roles of its own."""
    resources = environment["computeResources"]
    gpus = any(one["imageType"].endswith("NVIDIA") for one in resources["ec2Configuration"])
    command = ledger.command("up") + ("" if gpus else " --cpu")
    command += " --spot" if resources["type"] == "SPOT" else ""
    if "machine-profile" in ledger.resources:
        return command
    role_arn = definition(ledger)["containerProperties"]["jobRoleArn"] if definition_row(ledger) else "ARN"
    return f"{command} --role-arn {role_arn} --instance-profile-arn {resources['instanceRole']}"


def described(ledger: Ledger, job_ids: Sequence[str]) -> list[dict[str, Any]]:
    """Jobs as Batch describes them. AWS calls: ``batch:DescribeJobs``, once per 100."""
    return jobs_by_id(ledger.client("batch"), job_ids)


def as_job(ledger: Ledger, job: dict[str, Any]) -> Job:
    """A description, in short."""
    array = job.get("arrayProperties", {})
    counts = Counter(array.get("statusSummary", {}))
    children = ", ".join(f"{counts[status]} {status}" for status in ORDER if counts[status])
    began, ended = job.get("createdAt" if "size" in array else "startedAt"), job.get("stoppedAt")
    seconds = ((ended or 1000 * time.time()) - began) / 1000 if began else 0.0
    name = job["jobName"].removeprefix(f"{ledger.prefix}-").partition("-")[0]
    return Job(job["jobId"], name, job["status"], children, reason_of(job), round(max(seconds, 0.0), 1))


def reason_of(job: dict[str, Any]) -> str:
    """What Batch says of a job, and what its container said at the end; nothing of one that went well."""
    if job["status"] == "SUCCEEDED":
        return ""
    container = job.get("container", {})
    parts = [job.get("statusReason", ""), container.get("reason", "")]
    if job["status"] == "FAILED" and container.get("exitCode") is not None:
        parts.append(f"exit code {container['exitCode']}")
    return "; ".join(dict.fromkeys(part for part in parts if part))


def listed(ledger: Ledger) -> list[dict[str, Any]]:
    """All jobs of this lab in every state. AWS calls: ``batch:ListJobs``."""
    return jobs_named(ledger.client("batch"), standing(ledger, "job-queue"), f"{ledger.prefix}*")


def unended(ledger: Ledger) -> list[dict[str, Any]]:
    """Descriptions of those that wait or run, and were not told to end."""
    job_ids = [job["jobId"] for job in listed(ledger) if job["status"] not in ENDED]
    return [
        job
        for job in described(ledger, job_ids)
        if job["status"] not in ENDED and not (job.get("isTerminated") or job.get("isCancelled"))
    ]


def jobs(ledger: Ledger) -> list[Job]:
    """All jobs of this lab in every state, newest first; Batch forgets them about a week after their end.

    AWS calls: ``batch:ListJobs``, ``batch:DescribeJobs``.
    """
    found = described(ledger, [job["jobId"] for job in listed(ledger)])
    found.sort(key=lambda job: job.get("createdAt", 0), reverse=True)
    return [as_job(ledger, job) for job in found]


def machines(ledger: Ledger) -> list[Machine]:
    """The servers that Batch runs for the lab now. AWS calls: ``ec2:DescribeInstances``."""
    living = {"Name": "instance-state-name", "Values": ["pending", "running", "stopping", "shutting-down"]}
    return [
        Machine(
            one["InstanceId"],
            one["InstanceType"],
            one["State"]["Name"],
            one["Placement"]["AvailabilityZone"],
            one.get("InstanceLifecycle") == "spot",
        )
        for one in instances(ledger.client("ec2"), of_ledger(ledger.prefix), living)
    ]


def find(ledger: Ledger, beginning: str = "") -> str:
    """The id of the job that begins so; the newest one, unless given. ``ID:3`` is the child of an array.

    Raises
    ------
    LabError
        When there is none, or more than one.
    """
    parent, colon, index = beginning.partition(":")
    found = [job.job_id for job in jobs(ledger)]
    matching = [one for one in found if one.startswith(parent)]
    if not parent:
        matching = found[:1]
    if len(matching) != 1:
        raise LabError(
            f"{len(matching) or 'No'} jobs begin with {beginning!r}."
            if beginning
            else "There is no job yet.",
            "",
            ledger.command("jobs"),
        )
    return matching[0] + colon + index


# -- Following ----------------------------------------------------------------------------------------------


def states_of(job: dict[str, Any]) -> dict[str, int]:
    """How many jobs it stands for are in each state: of an array its children, else itself."""
    children = job.get("arrayProperties", {}).get("statusSummary", {})
    return {status: many for status, many in children.items() if many} or {job["status"]: 1}


def summary(shown: Sequence[dict[str, Any]]) -> str:
    """How many jobs are in each state, in words: ``2 RUNNING, 7 SUCCEEDED``."""
    return ", ".join(f"{many} {status}" for status, many in counts(shown).items() if many)


def counts(shown: Sequence[dict[str, Any]]) -> dict[str, int]:
    """How many jobs are in each state, in their order, children of arrays counted one by one."""
    found: Counter[str] = Counter()
    for job in shown:
        found.update(states_of(job))
    return {status: found[status] for status in ORDER}


def require_success(ledger: Ledger, shown: Sequence[dict[str, Any]]) -> None:
    """Raise where a job has failed, with what the first of them says."""
    failed = [child for job in shown if job["status"] == "FAILED" for child in failures(ledger, job)]
    if failed:
        job_id, reason = failed[0]
        many = sum(child_count(job) for job in shown)
        raise LabError(
            f"{len(failed)} of {many} jobs failed." if many > 1 else "The job failed.",
            f"{job_id}: {reason}",
            f"{ledger.command('logs')} {job_id}",
        )


def child_count(job: dict[str, Any]) -> int:
    """How many jobs it stands for."""
    return int(job.get("arrayProperties", {}).get("size", 1))


def failures(ledger: Ledger, job: dict[str, Any]) -> list[tuple[str, str]]:
    """Which jobs failed, and why: the job itself, or those of an array's children that did."""
    children = [(child["jobId"], reason_of(child)) for child in failed_children(ledger, job)]
    return children or [(job["jobId"], reason_of(job))]


def failed_indices(ledger: Ledger, job: dict[str, Any]) -> set[int]:
    """Of an array, the indices of the children that failed; of a single job none."""
    return {child["arrayProperties"]["index"] for child in failed_children(ledger, job)}


def failed_children(ledger: Ledger, job: dict[str, Any]) -> list[dict[str, Any]]:
    """Of an array, the children that failed. AWS calls: ``batch:ListJobs``."""
    if "size" not in job.get("arrayProperties", {}):
        return []
    which = {"arrayJobId": job["jobId"], "jobStatus": "FAILED"}
    return pages(ledger.client("batch"), "list_jobs", "jobSummaryList", **which)


# -- Logs ---------------------------------------------------------------------------------------------------


def say_log(tail: Tail, job: dict[str, Any]) -> None:
    """Log each new line of a job."""
    stream = job.get("container", {}).get("logStreamName")
    if stream and job["status"] in ("RUNNING", *ENDED):
        for line in tail.lines(stream):
            log.info("%s", readable(line))


def readable(line: str) -> str:
    """A line of the program's: an epoch in words, anything else as it is."""
    try:
        said = json.loads(line)
        return (
            f"lr {said['lr']:g}, momentum {said['momentum']:g}: epoch {said['epoch']} of {said['epochs']}, "
            f"validation loss {said['val_loss']:.4f}, accuracy {said['val_accuracy']:.4f}"
        )
    except (ValueError, KeyError, TypeError):
        return line.rstrip()


def logs(ledger: Ledger, job: str = "") -> list[str]:
    """What a job has logged, oldest first; of an array, what each child has, with its index before it.

    AWS calls: ``batch:DescribeJobs``, ``batch:ListJobs``, ``logs:GetLogEvents``.

    Parameters
    ----------
    job : str
        The beginning of its id; the newest job, unless given.
    """
    shown = next(iter(described(ledger, [find(ledger, job)])), None)
    if shown is None:
        raise LabError(f"There is no job {job}.", "An array has its jobs from :0 on.", ledger.command("jobs"))
    if "size" not in shown.get("arrayProperties", {}):
        return [readable(line) for line in job_log(ledger, shown)]
    children = [f"{shown['jobId']}:{index}" for index in range(child_count(shown))]
    return [
        f"[{child['arrayProperties']['index']}] {readable(line)}"
        for child in described(ledger, children)
        for line in job_log(ledger, child)
    ]


def job_log(ledger: Ledger, job: dict[str, Any]) -> Iterator[str]:
    """The lines of one job, of all its attempts."""
    streams = [one.get("container", {}).get("logStreamName") for one in job.get("attempts", [])]
    streams.append(job.get("container", {}).get("logStreamName"))
    for stream in dict.fromkeys(one for one in streams if one):
        yield from Tail(ledger).lines(stream)


# -- Ending -------------------------------------------------------------------------------------------------


def cancel(ledger: Ledger, job: str = "") -> list[str]:
    """End a job, or all that have not ended; returns their ids. What a cell has written so far stays.

    AWS calls: ``batch:TerminateJob``, which ends jobs in any state; ``batch:CancelJob`` does nothing to one
    that runs.

    Parameters
    ----------
    job : str
        The beginning of its id; all, unless given.
    """
    batch = ledger.client("batch")
    chosen = [find(ledger, job)] if job else [one.job_id for one in jobs(ledger) if not one.ended]
    for job_id in chosen:
        batch.terminate_job(jobId=job_id, reason="awslabs: cancel")
    return chosen
