"""Job queues: their environments, their limits on jobs that are stuck, and their life.

    CREATING --5 s--> VALID
    UpdateJobQueue: UPDATING --5 s--> VALID
    DeleteJobQueue: DELETING --10 s--> absent

All times `slow_states`. Source: aws-facts (a), (f); botocore, batch; the times are unsourced.
"""

from __future__ import annotations

import functools
from typing import Any

from awslabs.sandbox.core.engine import scaled
from awslabs.sandbox.services.batch import life
from awslabs.sandbox.services.batch.api import (
    answers,
    by_name,
    check_at_rest,
    check_name,
    check_tags,
    chosen,
    invalid,
    not_here,
    page,
    refuse,
)
from awslabs.sandbox.services.batch.environments import find as find_environment
from awslabs.sandbox.services.batch.records import ACTIVE, Batch, Queue

CREATING_S, UPDATING_S, DELETING_S = 5.0, 5.0, 10.0
AGAIN_S = 0.05
MOST = 50
ENVIRONMENTS = 3
REASONS = (
    "CAPACITY:INSUFFICIENT_INSTANCE_CAPACITY",
    "MISCONFIGURATION:COMPUTE_ENVIRONMENT_MAX_RESOURCE",
    "MISCONFIGURATION:JOB_RESOURCE_REQUIREMENT",
)
"""For which a queue may cancel its first job. Source: aws-facts (f)."""


def find(store: Batch, name: str) -> Queue:
    """A queue by name or ARN; refused where there is none."""
    return by_name(store, store.queues, "job-queue", name)


def _order(store: Batch, asked: list[dict[str, Any]]) -> list[str]:
    """The names of a queue's environments, first choice first; each has to be VALID."""
    if not 1 <= len(asked) <= ENVIRONMENTS:
        raise invalid(f"A job queue has between 1 and {ENVIRONMENTS} compute environments")
    if len({entry.get("order") for entry in asked}) < len(asked):
        raise invalid("Compute environment order must be unique")
    names = []
    for entry in sorted(asked, key=lambda entry: int(entry["order"])):
        environment = find_environment(store, entry["computeEnvironment"])
        if environment.status not in ("VALID", "UPDATING"):
            raise refuse(
                f"Compute Environment {environment.arn} is not valid. It must be valid before attaching it "
                "to the job queue."
            )
        names.append(environment.name)
    if len(set(names)) < len(names):
        raise invalid("A compute environment can be in a job queue once")
    return names


def _limits(asked: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """``jobStateTimeLimitActions``: RUNNABLE, CANCEL, 10 minutes to a day, one for each reason."""
    for entry in asked:
        if entry["reason"] not in REASONS:
            raise invalid(
                f"jobStateTimeLimitActions reason {entry['reason']} must be one of {', '.join(REASONS)}"
            )
        if entry["state"] != "RUNNABLE" or entry["action"] != "CANCEL":
            raise invalid("jobStateTimeLimitActions allow state RUNNABLE and action CANCEL only")
        if not 600 <= entry["maxTimeSeconds"] <= 86_400:
            raise invalid("jobStateTimeLimitActions maxTimeSeconds must be between 600 and 86400")
    if len({entry["reason"] for entry in asked}) < len(asked):
        raise invalid("jobStateTimeLimitActions have one entry for each reason")
    return asked


@answers("CreateJobQueue")
def create(store: Batch, asked: dict[str, Any]) -> dict[str, Any]:
    """CreateJobQueue, on environments that are VALID."""
    name = asked["jobQueueName"]
    check_name(name, "Job queue name")
    _check_kind(asked)
    if not 0 <= asked["priority"] <= 1000:
        raise invalid("Priority must be between 0 and 1000")
    tags = check_tags(asked.get("tags", {}))
    limits = _limits(asked.get("jobStateTimeLimitActions", []))
    if name in store.queues:
        raise invalid("Object already exists")
    if len(store.queues) >= MOST:
        raise invalid(f"The limit of {MOST} job queues is reached")
    queue = Queue(
        name=name,
        arn=store.arn(f"job-queue/{name}"),
        priority=asked["priority"],
        order=_order(store, asked.get("computeEnvironmentOrder", [])),
        state=asked.get("state", "ENABLED"),
        tags=tags,
        limits=limits,
        status_reason="JobQueue Creating",
    )
    store.queues[name] = queue
    store.later(scaled(CREATING_S), functools.partial(_settle, store, queue))
    return {"jobQueueName": name, "jobQueueArn": queue.arn}


def _check_kind(asked: dict[str, Any]) -> None:
    if asked.get("schedulingPolicyArn"):
        raise not_here("scheduling policies on job queues")
    if asked.get("serviceEnvironmentOrder") or asked.get("jobQueueType", "ECS") != "ECS":
        raise not_here("job queues but for ECS")


def _settle(store: Batch, queue: Queue) -> None:
    queue.status, queue.status_reason = "VALID", "JobQueue Healthy"
    store.wake()


@answers("DescribeJobQueues")
def describe(store: Batch, asked: dict[str, Any]) -> dict[str, Any]:
    """DescribeJobQueues: those that are named, or all; one that is not there is left out."""
    found = chosen(store.queues, asked.get("jobQueues"), "job queues")
    return page([_show(store, each) for each in found], asked, 100, "jobQueues")


def _show(store: Batch, queue: Queue) -> dict[str, Any]:
    order = [
        {"order": number, "computeEnvironment": store.arn(f"compute-environment/{name}")}
        for number, name in enumerate(queue.order, 1)
    ]
    return {
        "jobQueueName": queue.name,
        "jobQueueArn": queue.arn,
        "state": queue.state,
        "status": queue.status,
        "statusReason": queue.status_reason,
        "priority": queue.priority,
        "computeEnvironmentOrder": order,
        "serviceEnvironmentOrder": [],
        "jobQueueType": "ECS",
        "tags": queue.tags,
        "jobStateTimeLimitActions": queue.limits,
    }


@answers("UpdateJobQueue")
def update(store: Batch, asked: dict[str, Any]) -> dict[str, Any]:
    """UpdateJobQueue: UPDATING for a while. What is in a DISABLED queue runs on; nothing new comes in."""
    queue = find(store, asked["jobQueue"])
    check_at_rest(queue, "update")
    _check_kind(asked)
    if not 0 <= asked.get("priority", 0) <= 1000:
        raise invalid("Priority must be between 0 and 1000")
    limits = _limits(asked.get("jobStateTimeLimitActions", queue.limits))
    if "computeEnvironmentOrder" in asked:
        queue.order = _order(store, asked["computeEnvironmentOrder"])
    queue.limits = limits
    for job in queue.runnable.values():
        job.stuck_since = None  # new limits count from now on
    queue.priority = asked.get("priority", queue.priority)
    queue.state = asked.get("state", queue.state)
    queue.status, queue.status_reason = "UPDATING", "JobQueue Updating"
    store.later(scaled(UPDATING_S), functools.partial(_settle, store, queue))
    return {"jobQueueName": queue.name, "jobQueueArn": queue.arn}


@answers("DeleteJobQueue")
def delete(store: Batch, asked: dict[str, Any]) -> dict[str, Any]:
    """DeleteJobQueue: only when it is DISABLED and at rest; its jobs are terminated."""
    queue = find(store, asked["jobQueue"])
    check_at_rest(queue, "delete")
    queue.status, queue.status_reason = "DELETING", "JobQueue Deleting"
    for job in _active(store, queue):
        life.terminate(store, job, "Job queue is being deleted")
    store.later(scaled(DELETING_S), functools.partial(_end, store, queue))
    return {}


def _active(store: Batch, queue: Queue) -> list[Any]:
    return [job for job in store.jobs.values() if job.work.queue is queue and job.status in ACTIVE]


def _end(store: Batch, queue: Queue) -> None:
    if _active(store, queue):
        store.later(max(AGAIN_S, scaled(1.0)), functools.partial(_end, store, queue))
        return
    del store.queues[queue.name]
