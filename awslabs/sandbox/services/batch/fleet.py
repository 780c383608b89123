"""The scheduler: which job runs on which instance, and how many instances there are.

    a job is RUNNABLE --> an instance with room, of an environment of its queue, the first that has any
                      --> else another instance: the smallest type that fits, within maxvCpus and quota
    no job for 60 s   --> the instance ends, down to minvCpus

A queue is worked off in order: its first job waits for room, and all others wait behind it. An instance boots
as all of EC2 does, and joins the cluster 10 s later, if it has a way to the internet (public address and
route, or NAT) and its role may ``ecs:RegisterContainerInstance``. It is an instance of the account: it counts
against quotas, has an interface with the environment's groups, and can be terminated by hand, which ends its
jobs as a Spot reclaim does. No SSH host runs behind it. Weather: a fault of ``ec2:RunInstances`` strikes
these instances as well; with ``InsufficientInstanceCapacity`` a job that waits says so.

Where AWS would take the cheapest type, or a large one for many jobs, here it is always the smallest that
fits. All times `slow_states`. Source: aws-facts (e), (f), (g); AWS Batch user guide, "Jobs stuck in a
RUNNABLE status"; botocore, ComputeResource; the times are unsourced.
"""

from __future__ import annotations

import functools
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from moto.ec2.models.instance_types import INSTANCE_TYPE_OFFERINGS
from moto.ec2.models.instances import Instance

from awslabs.sandbox.core import weather
from awslabs.sandbox.core.engine import clock, memory, scaled, state
from awslabs.sandbox.services import accounts
from awslabs.sandbox.services.batch import environments, life
from awslabs.sandbox.services.batch.api import batch
from awslabs.sandbox.services.batch.records import AFTER_CHANGES, Batch, Environment, Host, Job, Queue
from awslabs.sandbox.services.ec2.instances import PENDING_S
from awslabs.sandbox.services.ec2.reach import no_way_out
from awslabs.sandbox.services.iam import permissions
from awslabs.sandbox.services.servicequotas import quotas

REGISTER_S, IDLE_S = 10.0, 60.0
AGAIN_S, LEAST_AGAIN_S = 30.0, 1.0  # until what failed is tried again: times `slow_states`, but at least
LEAST_LIMIT_S = 5.0
USABLE = 0.95
"""Share of an instance's memory that its agent offers to jobs: of 16,384 MiB 15,564. AWS says only that some
is kept back (aws-facts (g): ask at most 15,000 MiB of a g4dn.xlarge)."""

NO_CPU = (
    "MISCONFIGURATION:COMPUTE_ENVIRONMENT_MAX_RESOURCE - CE(s) associated with the job queue cannot meet the "
    "CPU requirement of the job."
)
NO_TYPE = (
    "MISCONFIGURATION:JOB_RESOURCE_REQUIREMENT - The job resource requirement (vCPU/memory/GPU) is higher "
    "than that can be met by the CE(s) attached to the job queue."
)
NO_CAPACITY = (
    "CAPACITY:INSUFFICIENT_INSTANCE_CAPACITY - Service cannot fulfill the capacity requested for instance "
    "type [{}]"
)
UNSUPPORTED = (
    "MISCONFIGURATION:EC2_INSTANCE_CONFIGURATION_UNSUPPORTED - Your compute environment associated with this "
    "job queue has an unsupported instance type configuration."
)
ALL_INVALID = "ACTION_REQUIRED - CE(s) associated with the job queue are invalid."
ALL_DISABLED = "ACTION_REQUIRED - CE(s) associated with the job queue are disabled."
CANCELLED = "Canceled by JobStateTimeLimit action due to reason: {}"

Room = tuple[int, int, int]  # vCPUs, MiB, GPUs


@state
@dataclass
class Tenant:
    """Whose an instance is; None: not Batch's."""

    store: Batch | None = None


def room_of(environment: Environment, instance_type: str) -> Room:
    """What an instance of a type offers to jobs."""
    vcpus, memory_mib = environments.size_of(instance_type)
    listed = environment.resources.get("ec2Configuration")
    drivers = listed is None or any(entry["imageType"].endswith("NVIDIA") for entry in listed)
    return vcpus, int(memory_mib * USABLE), environments.gpus_of(instance_type) if drivers else 0


def fits(job: Job, room: Room) -> bool:
    work = job.work
    return work.vcpus <= room[0] and work.memory_mib <= room[1] and work.gpus <= room[2]


def schedule(store: Batch) -> None:
    """Look at everything, and do what has to be done."""
    for environment in store.environments.values():
        _end_jobs_of_ended_hosts(store, environment)
    _place(store)
    _scale(store)


AFTER_CHANGES.append(schedule)


# --- jobs on instances --------------------------------------------------------------------------------


def _queues(store: Batch) -> Iterator[tuple[Queue, list[Environment]]]:
    """Queues with their environments, the most important first."""
    for queue in sorted(store.queues.values(), key=lambda queue: -queue.priority):
        if queue.status in ("VALID", "UPDATING"):
            yield queue, [store.environments[name] for name in queue.order if name in store.environments]


def _place(store: Batch) -> None:
    """Let jobs start where there is room."""
    for queue, listed in _queues(store):
        while queue.runnable:
            job = next(iter(queue.runnable.values()))
            found = next(
                (
                    (host, environment)
                    for environment in listed
                    if environment.usable
                    for host in environment.hosts
                    if host.registered and host.up and not host.draining and fits(job, host.free())
                ),
                None,
            )
            if found is None:
                break
            life.begin(store, job, *found)


def _end_jobs_of_ended_hosts(store: Batch, environment: Environment) -> None:
    """Jobs end with their instance; one that is terminated is forgotten."""
    for host in environment.hosts:
        if not host.up:
            for job in list(host.jobs):
                life.stop(store, job, f"Host EC2 (instance {host.instance.id}) terminated.", grace_s=0.0)
    if environment.status != "DELETING":
        environment.hosts = [h for h in environment.hosts if h.jobs or h.instance.state != "terminated"]


# --- instances ----------------------------------------------------------------------------------------


def _scale(store: Batch) -> None:
    """Start the instances that jobs wait for, and end those that nobody needs."""
    rooms = {
        host: host.free()
        for environment in store.environments.values()
        for host in environment.hosts
        if host.up and not host.draining
    }
    for environment in store.environments.values():
        _keep_least(store, environment, rooms)
    used: set[Host] = set()
    for queue, listed in _queues(store):
        for job in queue.runnable.values():
            host = _room_for(job, listed, rooms) or _another(store, job, listed, rooms)
            if host is None:
                _explain(store, queue, job, listed)
                break
            job.status_reason, job.stuck_since = "", None
            used.add(host)
            free, work = rooms[host], job.work
            rooms[host] = (free[0] - work.vcpus, free[1] - work.memory_mib, free[2] - work.gpus)
    for environment in store.environments.values():
        _shrink(store, environment, used)


def _room_for(job: Job, listed: list[Environment], rooms: dict[Host, Room]) -> Host | None:
    """An instance that will have room for a job: it may still boot."""
    for environment in listed:
        if environment.usable:
            for host in environment.hosts:
                if host in rooms and fits(job, rooms[host]):
                    return host
    return None


def _another(store: Batch, job: Job, listed: list[Environment], rooms: dict[Host, Room]) -> Host | None:
    """A new instance for a job, in the first environment that can have one."""
    for environment in listed:
        if not environment.usable:
            continue
        for instance_type in environments.types_of(environment.resources):
            room = room_of(environment, instance_type)
            if fits(job, room) and _may_grow(environment, room[0]):
                host = _launch(store, environment, instance_type)
                if host is not None:
                    rooms[host] = room
                    return host
                store.wake(max(LEAST_AGAIN_S, scaled(AGAIN_S)))
                break
    return None


def _may_grow(environment: Environment, vcpus: int) -> bool:
    """Whether maxvCpus allow an instance; all strategies but BEST_FIT may exceed it by one."""
    most = environment.resources["maxvCpus"]
    if environment.resources["allocationStrategy"] == "BEST_FIT":
        return bool(environment.vcpus + vcpus <= most)
    return bool(environment.vcpus < most)


def _keep_least(store: Batch, environment: Environment, rooms: dict[Host, Room]) -> None:
    """As many instances as minvCpus say, or desiredvCpus that somebody asked for; DISABLED or not."""
    least = max(environment.resources["minvCpus"], environment.wanted_vcpus)
    while environment.status == "VALID" and environment.vcpus < least:
        instance_type = environments.types_of(environment.resources)[0]
        host = _launch(store, environment, instance_type)
        if host is None:
            store.wake(max(LEAST_AGAIN_S, scaled(AGAIN_S)))
            return
        rooms[host] = room_of(environment, instance_type)
    environment.wanted_vcpus = 0


def _shrink(store: Batch, environment: Environment, used: set[Host]) -> None:
    """End instances that have been idle for long."""
    minutes = environment.resources.get("scalingPolicy", {}).get("minScaleDownDelayMinutes", 0)
    patience_s = scaled(max(IDLE_S, 60.0 * minutes))
    for host in environment.hosts:
        if not host.up or host.jobs:
            host.idle_since = clock.now()
            continue
        if host in used:
            continue
        if not host.draining and environment.vcpus - host.vcpus < environment.resources["minvCpus"]:
            continue
        left_s = host.idle_since + (0.0 if host.draining else patience_s) - clock.now()
        if left_s <= 0:
            host.instance.terminate()
        else:
            store.wake(left_s)


def _launch(store: Batch, environment: Environment, instance_type: str) -> Host | None:
    """Start an instance, or note why there is none."""
    ec2, resources = store.ec2, environment.resources
    fault = weather.current.draw("ec2:RunInstances", store.account)
    if fault not in (None, weather.CUT, weather.CUT_BEFORE):
        environment.failure = f"capacity {instance_type}" if "Capacity" in str(fault) else "fault"
        return None
    if not accounts.runs(instance_type, spot=environment.spot):
        environment.failure = "account"
        return None
    if quotas.vcpu_room(ec2, instance_type, environment.spot) < 1:
        environment.failure = "quota"
        return None
    subnet_id = _subnet(store, environment, instance_type)
    if subnet_id is None:
        environment.failure = "unsupported"
        return None
    profile = environments.profile_of(store, environment)
    tags = {**resources.get("tags", {}), "AWSBatchServiceTag": "batch"}
    reservation = ec2.run_instances(
        resources.get("imageId") or _image(store),
        1,
        None,
        [],
        instance_type=instance_type,
        is_instance_type_default=False,
        region_name=store.region,
        subnet_id=subnet_id,
        security_group_ids=list(resources["securityGroupIds"]),
        key_name=resources.get("ec2KeyPair"),
        associate_public_ip=None,
        instance_initiated_shutdown_behavior="terminate",
        tags={"instance": tags, "volume": tags},
        hostless=True,
    )
    instance = reservation.instances[0]
    instance.lifecycle = "spot" if environment.spot else None
    if profile is not None:
        ec2.associate_iam_instance_profile(instance_id=instance.id, iam_instance_profile_arn=profile.arn)
    memory(instance, Tenant).store = store
    arn = f"{environment.cluster_arn.replace(':cluster/', ':container-instance/')}/{uuid.uuid4().hex}"
    host = Host(instance, *room_of(environment, instance_type), arn, idle_since=clock.now())
    environment.hosts.append(host)
    environment.failure = ""
    store.later(scaled(PENDING_S + REGISTER_S), functools.partial(_register, store, environment, host))
    return host


def _subnet(store: Batch, environment: Environment, instance_type: str) -> str | None:
    """The subnet with the most addresses left, in a zone that offers the type."""
    offered = {
        offering["Location"]
        for offering in INSTANCE_TYPE_OFFERINGS["availability-zone"].get(store.region, [])
        if offering["InstanceType"] == instance_type
    }
    known = [environments.find_subnet(store, subnet_id) for subnet_id in environment.resources["subnets"]]
    able = [
        subnet
        for subnet in known
        if subnet is not None
        and subnet.availability_zone in offered
        and subnet.available_ip_address_count > 0
    ]
    return max(able, key=lambda subnet: subnet.available_ip_address_count).id if able else None


def _image(store: Batch) -> str:
    """An AMI for ECS, where moto has made them, or else Amazon Linux 2023."""
    named = {(image.name or ""): image.id for image in store.ec2.amis.values()}
    for begin in ("al2023-ami-ecs-hvm-", "amzn2-ami-ecs-hvm-", "al2023-ami-2"):
        found = sorted(name for name in named if name.startswith(begin) and "x86_64" in name)
        if found:
            return str(named[found[-1]])
    return str(next(iter(named.values())))


def _register(store: Batch, environment: Environment, host: Host) -> None:
    """The agent looks for the cluster; without a way to it the instance just stands there, and costs."""
    if not host.up:
        return
    role = environments.instance_role(store, environment)
    action = "ecs:RegisterContainerInstance"
    may = role is not None and permissions.allows(
        store.account, role.arn, action, environment.cluster_arn, store.region
    )
    shut = no_way_out(store.ec2, host.instance.nics[0], endpoint="ecs")
    if may and host.instance.state == "running" and not shut:
        host.registered, host.idle_since = True, clock.now()
        store.wake()
        return
    again_s = max(LEAST_AGAIN_S, scaled(AGAIN_S))
    store.later(again_s, functools.partial(_register, store, environment, host))


@batch.patch(Instance, "terminate", "stop")
def _somebody_ends_it(original: Callable[[Any], Any], instance: Any) -> Any:
    """An instance that is terminated takes its jobs with it; Batch sees that at once."""
    answer = original(instance)
    store = memory(instance, Tenant).store
    if store is not None and not store.forgotten:
        store.wake()
    return answer


# --- why a job waits ----------------------------------------------------------------------------------


def reason_for(job: Job, listed: list[Environment]) -> str:
    """Why the first job of a queue waits, in Batch's words; empty: nobody says, or it only takes its time."""
    if all(environment.status == "INVALID" for environment in listed):
        return ALL_INVALID
    if all(environment.state == "DISABLED" for environment in listed):
        return ALL_DISABLED
    if all(environment.resources["maxvCpus"] < job.work.vcpus for environment in listed):
        return NO_CPU
    types = {
        name: room_of(environment, name)
        for environment in listed
        for name in environments.types_of(environment.resources)
    }
    if not any(fits(job, room) for room in types.values()):
        return NO_TYPE
    failures = [environment.failure for environment in listed if environment.usable]
    if failures and all(failure.startswith("capacity ") for failure in failures):
        return NO_CAPACITY.format(failures[0].partition(" ")[2])
    if failures and all(failure == "unsupported" for failure in failures):
        return UNSUPPORTED
    return ""


def _explain(store: Batch, queue: Queue, job: Job, listed: list[Environment]) -> None:
    """Say why a queue is blocked, and cancel its first job when the queue's limit for that is over."""
    reason = reason_for(job, listed)
    if reason == job.status_reason and job.stuck_since is not None:
        return
    job.status_reason, job.stuck_since = reason, clock.now()
    code = reason.partition(" - ")[0]
    for limit in queue.limits:
        if limit["reason"] == code:
            patience_s = max(LEAST_LIMIT_S, scaled(limit["maxTimeSeconds"]))
            store.later(patience_s, functools.partial(_cancel, store, queue, job, code, job.stuck_since))


def _cancel(store: Batch, queue: Queue, job: Job, code: str, since: float) -> None:
    """The end of a queue's patience, if nothing has changed since."""
    if job.id in queue.runnable and job.stuck_since == since:
        life.cancel(store, job, CANCELLED.format(code))
        store.wake()
