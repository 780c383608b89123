"""Jobs as clients see them: submitting, describing, listing, cancelling and terminating."""

from __future__ import annotations

import itertools
import uuid
from collections.abc import Callable
from typing import Any

from moto.batch import urls
from moto.batch.responses import BatchResponse

from awslabs.sandbox.core.engine import Refused, spaced
from awslabs.sandbox.core.rates import Rate, admit
from awslabs.sandbox.services.batch import definitions, life, queues
from awslabs.sandbox.services.batch.api import (
    Operation,
    answers,
    batch,
    check_name,
    check_tags,
    invalid,
    not_here,
    page,
    refuse,
)
from awslabs.sandbox.services.batch.records import STATUSES, Batch, Definition, Job, Queue, Work, milliseconds

ARRAY = (2, 10_000)
DEPENDENCIES = 20
DESCRIBED = 100
LISTED, FILTERED = 1000, 100


# --- submitting ---------------------------------------------------------------------------------------


@answers("SubmitJob")
def submit(store: Batch, asked: dict[str, Any]) -> dict[str, Any]:
    """SubmitJob: a job, or an array of them."""
    # More than 50 calls per second are too many. Source: aws-facts (f); users report the code.
    if not admit(store, {"submit": Rate(spaced(0.02), 50)}):
        raise Refused("TooManyRequestsException", "Too Many Requests", 429)
    name = asked["jobName"]
    check_name(name, "Job name")
    for field in ("nodeOverrides", "eksPropertiesOverride", "ecsPropertiesOverride"):
        if field in asked:
            raise not_here(field)
    if "shareIdentifier" in asked or "schedulingPriorityOverride" in asked:
        raise refuse(
            "Job with shareIdentifier or schedulingPriority can only be submitted to job queue with fair "
            "share scheduling policy."
        )
    queue = queues.find(store, asked["jobQueue"])
    if queue.state != "ENABLED" or queue.status not in ("VALID", "UPDATING"):
        raise refuse(f"Job queue {queue.arn} is not ENABLED and VALID: it takes no jobs")  # words unsourced
    definition = definitions.find(store, asked["jobDefinition"])
    work = _work(asked, queue, definition)
    size = _size(asked)
    tags = check_tags(asked.get("tags", {}))
    job_id, now = str(uuid.uuid4()), milliseconds()

    def make(own_id: str, **own: Any) -> Job:
        return Job(
            id=own_id,
            name=name,
            arn=store.arn(f"job/{own_id}"),
            work=work,
            tags=dict(tags),
            depends_on=asked.get("dependsOn", []),
            created_at=now,
            **own,
        )

    job = make(job_id, size=size)
    job.children = [make(f"{job_id}:{index}", index=index, parent=job) for index in range(size)]
    _depend(store, job)
    life.submit(store, job)
    return {"jobName": name, "jobId": job_id, "jobArn": job.arn}


def _size(asked: dict[str, Any]) -> int:
    """Of an array; 0: it is none."""
    size = asked.get("arrayProperties", {}).get("size")
    if size is None:
        return 0
    if not ARRAY[0] <= size <= ARRAY[1]:
        raise invalid(f"Array size should be between {ARRAY[0]} and {ARRAY[1]}")
    return int(size)


def _work(asked: dict[str, Any], queue: Queue, definition: Definition) -> Work:
    """The definition with what the request overrides."""
    own, overrides = definition.asked, asked.get("containerOverrides", {})
    if "instanceType" in overrides:
        raise not_here("multi-node jobs")
    definitions.check_environment(overrides.get("environment", []))
    container = dict(own["containerProperties"])
    required = {each["type"]: each for each in container.get("resourceRequirements", [])}
    for kind, field in (("VCPU", "vcpus"), ("MEMORY", "memory")):
        if field in overrides and kind not in required:
            container[field] = overrides[field]  # those of resourceRequirements cannot be overridden this way
        if any(each["type"] == kind for each in overrides.get("resourceRequirements", [])):
            container.pop(field, None)
    definitions.check_requirements(overrides.get("resourceRequirements", []))
    required |= {each["type"]: each for each in overrides.get("resourceRequirements", [])}
    container["resourceRequirements"] = list(required.values())
    variables = {each["name"]: each for each in container.get("environment", [])}
    variables |= {each["name"]: each for each in overrides.get("environment", [])}
    container["environment"] = list(variables.values())
    container["command"] = overrides.get("command") or container.get("command", [])
    parameters = own.get("parameters", {}) | asked.get("parameters", {})
    for part in container["command"]:
        if life.substitute(part, parameters) is None:
            reference = part.removeprefix("Ref::")
            raise refuse(f"Unable to substitute value. No parameter found for reference {reference}")
    vcpus, memory_mib, gpus = definitions.resources(container)
    attempts, evaluate = definitions.check_retries(asked.get("retryStrategy", own.get("retryStrategy")))
    return Work(
        definition=definition,
        queue=queue,
        container=container,
        parameters=parameters,
        vcpus=vcpus,
        memory_mib=memory_mib,
        gpus=gpus,
        attempts=attempts,
        evaluate=evaluate,
        timeout_s=definitions.check_timeout(asked.get("timeout", own.get("timeout"))),
        propagate_tags=asked.get("propagateTags", own.get("propagateTags", False)),
    )


def _depend(store: Batch, job: Job) -> None:
    """Let a job, or each child of an array, wait for the jobs that it depends on."""
    if len(job.depends_on) > DEPENDENCIES:
        raise invalid(f"A job can depend on at most {DEPENDENCIES} jobs")
    for dependency in job.depends_on:
        kind, other_id = dependency.get("type"), dependency.get("jobId")
        if other_id is None:
            if kind != "SEQUENTIAL" or not job.children:
                raise invalid("A dependency without jobId is of type SEQUENTIAL, and for array jobs only")
            for before, child in itertools.pairwise(job.children):
                child.waits_for.add(before.id)
            continue
        other = store.jobs.get(other_id)
        if other is None:
            raise invalid(f"Job {other_id} in dependsOn does not exist")
        if kind == "N_TO_N":
            if not job.size or other.size != job.size:
                raise invalid("N_TO_N dependencies are between array jobs of the same size")
            for mine, theirs in zip(job.children, other.children, strict=True):
                mine.waits_for.add(theirs.id)
        elif kind == "SEQUENTIAL":
            raise invalid("A dependency of type SEQUENTIAL has no jobId")
        else:
            for each in job.children or [job]:
                each.waits_for.add(other_id)


# --- describing ---------------------------------------------------------------------------------------


@answers("DescribeJobs")
def describe(store: Batch, asked: dict[str, Any]) -> dict[str, Any]:
    """DescribeJobs: at most 100; one that is not there is left out."""
    if len(asked["jobs"]) > DESCRIBED:
        raise invalid(f"Maximum number of jobs supported is  {DESCRIBED}")
    ids = [name.rpartition("/")[2] for name in asked["jobs"]]
    return {"jobs": [_detail(store.jobs[job_id]) for job_id in dict.fromkeys(ids) if job_id in store.jobs]}


def _detail(job: Job) -> dict[str, Any]:
    work = job.work
    container = {
        "mountPoints": [],
        "ulimits": [],
        "volumes": [],
        "secrets": [],
        "networkInterfaces": [],
        **work.container,
        **job.seen,
    }
    shown: dict[str, Any] = {
        **_summary(job),
        "jobQueue": work.queue.arn,
        "jobDefinition": work.definition.arn,
        "dependsOn": job.depends_on,
        "parameters": work.parameters,
        "attempts": job.attempts,
        "retryStrategy": {"attempts": work.attempts, "evaluateOnExit": work.evaluate},
        "container": container,
        "tags": work.definition.tags | job.tags if work.propagate_tags else job.tags,
        "propagateTags": work.propagate_tags,
        "platformCapabilities": ["EC2"],
        "eksAttempts": [],
    }
    if work.timeout_s is not None:
        shown["timeout"] = {"attemptDurationSeconds": work.timeout_s}
    return shown


def _summary(job: Job) -> dict[str, Any]:
    """What lists show, and descriptions as well. Times that have not come yet are left out."""
    shown: dict[str, Any] = {
        "jobArn": job.arn,
        "jobId": job.id,
        "jobName": job.name,
        "createdAt": job.created_at,
        "status": job.status,
        "jobDefinition": job.work.definition.arn,
        "isCancelled": bool(job.cancelled),
        "isTerminated": bool(job.terminated),
    }
    if job.status_reason:
        shown["statusReason"] = job.status_reason
    for name, at in (("startedAt", job.started_at), ("stoppedAt", job.stopped_at)):
        if at is not None:
            shown[name] = at
    if job.children:
        summary = {status: job.summary[status] for status in STATUSES}
        shown["arrayProperties"] = {"size": job.size, "statusSummary": summary}
    elif job.index is not None:
        shown["arrayProperties"] = {"index": job.index}
    if "exitCode" in job.seen or "reason" in job.seen:
        shown["container"] = {name: job.seen[name] for name in ("exitCode", "reason") if name in job.seen}
    return shown


# --- listing ------------------------------------------------------------------------------------------


@answers("ListJobs")
def list_jobs(store: Batch, asked: dict[str, Any]) -> dict[str, Any]:
    """ListJobs of a queue, or the children of an array: those of one status, RUNNING if none is named.

    With a filter: all of a queue whatever their status, newest first; children are never filtered.
    """
    named = [name for name in ("jobQueue", "arrayJobId", "multiNodeJobId") if asked.get(name)]
    if len(named) != 1:
        raise invalid("Exactly one of jobQueue, arrayJobId and multiNodeJobId should be specified")
    filters = asked.get("filters", [])
    if named == ["multiNodeJobId"]:
        raise not_here("multi-node jobs")
    if named == ["arrayJobId"]:
        array = store.jobs.get(asked["arrayJobId"])
        jobs = array.children if array is not None else []
        if filters:
            raise invalid("Filters do not apply to the children of an array job")
    else:
        queue = queues.find(store, asked["jobQueue"])
        jobs = [job for job in store.jobs.values() if job.work.queue is queue and job.parent is None]
    if filters:
        keep = _filter(filters)
        jobs = sorted((job for job in jobs if keep(job)), key=lambda job: -job.created_at)
        return page([_summary(job) for job in jobs], asked, FILTERED, "jobSummaryList")
    status = asked.get("jobStatus", "RUNNING")
    jobs = [job for job in jobs if job.status == status]
    return page([_summary(job) for job in jobs], asked, LISTED, "jobSummaryList")


def _filter(filters: list[dict[str, Any]]) -> Callable[[Job], bool]:
    """Which jobs a filter keeps. Source: botocore, ListJobs."""
    if len(filters) != 1:
        raise invalid("Only one filter can be used at a time")
    name, values = filters[0].get("name", ""), filters[0].get("values", [])
    if len(values) != 1:
        raise invalid("A filter has one value")
    value = values[0]
    if name == "JOB_NAME":
        return lambda job: _starts(job.name.lower(), value.lower())
    if name == "JOB_DEFINITION":
        definition = value.rpartition("/")[2].lower()
        return lambda job: any(
            _starts(own.lower(), definition)
            for own in (
                job.work.definition.name,
                f"{job.work.definition.name}:{job.work.definition.revision}",
            )
        )
    if name in ("BEFORE_CREATED_AT", "AFTER_CREATED_AT"):
        if not value.isdecimal():
            raise invalid(f"Filter {name} takes milliseconds since 1970")
        at = int(value)
        return lambda job: job.created_at < at if name.startswith("BEFORE") else job.created_at > at
    raise invalid(f"Filter {name} is not supported")


def _starts(text: str, pattern: str) -> bool:
    return text.startswith(pattern[:-1]) if pattern.endswith("*") else text == pattern


# --- cancelling and terminating -----------------------------------------------------------------------


def _find(store: Batch, name: str) -> Job:
    job = store.jobs.get(name.rpartition("/")[2])
    if job is None:
        raise refuse(f"Job {name} not found")  # unsourced
    return job


def _reason(asked: dict[str, Any]) -> str:
    if not asked["reason"]:
        raise invalid("Reason should not be empty")
    return str(asked["reason"])


@answers("CancelJob")
def cancel(store: Batch, asked: dict[str, Any]) -> dict[str, Any]:
    """CancelJob: what is STARTING or RUNNING already runs on, and the call succeeds."""
    life.cancel(store, _find(store, asked["jobId"]), _reason(asked))
    store.wake()
    return {}


@answers("TerminateJob")
def terminate(store: Batch, asked: dict[str, Any]) -> dict[str, Any]:
    """TerminateJob: whatever it does, it ends; its program gets SIGTERM first."""
    life.terminate(store, _find(store, asked["jobId"]), _reason(asked))
    store.wake()
    return {}


@answers("CancelJobs")
def cancel_many(store: Batch, asked: dict[str, Any]) -> dict[str, Any]:
    """CancelJobs: as CancelJob, for each."""
    return _each(store, asked, cancel)


@answers("TerminateJobs")
def terminate_many(store: Batch, asked: dict[str, Any]) -> dict[str, Any]:
    """TerminateJobs: as TerminateJob, for each."""
    return _each(store, asked, terminate)


def _each(store: Batch, asked: dict[str, Any], act: Operation) -> dict[str, Any]:
    """Do it to each job; what fails is said, and stops nothing."""
    if not 1 <= len(asked["jobs"]) <= DESCRIBED:
        raise invalid(f"Maximum number of jobs supported is  {DESCRIBED}")
    successful, errors = [], []
    for job_id in asked["jobs"]:
        try:
            act(store, {"jobId": job_id, "reason": asked["reason"]})
            successful.append(job_id)
        except Refused as refused:
            errors.append({"job": job_id, "code": refused.code, "message": refused.message})
    return {"successful": successful, "errors": errors}


batch.puts(
    urls,
    "url_paths",
    urls.url_paths
    | {f"{{0}}/v1/{name}$": BatchResponse.dispatch for name in ("canceljobs", "terminatejobs")},
)
