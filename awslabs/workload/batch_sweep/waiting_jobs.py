"""Why a job stays in RUNNABLE: AWS does not say, so each cause that is known is looked at, in this order.

    1  quota         the account may not run such a machine, or runs as many as it may
    2  capacity      AWS has none of them free just now
    3  size          the job asks for more than any of the machines has; then it waits for ever
    4  road          machines without a public address never report to Batch
    5  environment   it is INVALID or out of use, or so is the queue

Source: "Troubleshooting AWS Batch", Jobs stuck in a RUNNABLE status.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from awslabs.explain import ask_for_quota, vcpu_quota
from awslabs.kinds.batch import describe_queue
from awslabs.ledger import Ledger
from awslabs.preflight import quota_value, vcpus_in_use
from awslabs.show import Shown
from awslabs.workload import standing
from awslabs.workload.batch_sweep import batch_jobs

KEPT = 1 / 12  # of a machine's memory, for its system and ECS's agent: of 16,384 MiB a job gets 15,000
NO_CAPACITY = re.compile(r"INSUFFICIENT_INSTANCE_CAPACITY|InsufficientInstanceCapacity|no capacity", re.I)


@dataclass(frozen=True)
class Why(Shown):
    """Why a job waits.

    Attributes
    ----------
    cause : str
        In a few words.
    why : str
        What AWS shows of it.
    fix : str
        A command to paste, or what to wait for.
    """

    cause: str
    why: str
    fix: str


@dataclass(frozen=True)
class WaitingJob:
    """All that the causes are judged by, asked of AWS once.

    Attributes
    ----------
    job, environment, queue : dict
        As Batch describes them.
    vcpus, memory_mib, gpus : int
        What the job asks for.
    types : list of dict
        The machines that the environment may start, as EC2 describes them.
    """

    ledger: Ledger
    job: dict[str, Any]
    environment: dict[str, Any]
    queue: dict[str, Any]
    vcpus: int
    memory_mib: int
    gpus: int
    types: list[dict[str, Any]]

    @property
    def spot(self) -> bool:
        return bool(self.environment["computeResources"]["type"] == "SPOT")

    @property
    def says(self) -> str:
        """What Batch itself gives as reasons."""
        shown = self.job, self.environment, self.queue
        return "; ".join(filter(None, (one.get("statusReason", "") for one in shown)))


def stuck(ledger: Ledger, shown: Sequence[dict[str, Any]]) -> str:
    """The id of a job among these that waits for a machine while none of them runs; else nothing."""
    states = {state for job in shown for state in batch_jobs.states_of(job)}
    if "RUNNABLE" not in states or states & {"STARTING", "RUNNING"}:
        return ""
    for job in shown:
        if job["status"] == "RUNNABLE":
            return str(job["jobId"])
        if "RUNNABLE" in batch_jobs.states_of(job):
            return f"{job['jobId']}:0"
    return ""


def explain(ledger: Ledger, job_id: str) -> Why:
    """Why this job is not running yet.

    AWS calls: ``batch:DescribeJobs``, ``DescribeComputeEnvironments``, ``DescribeJobQueues``,
    ``ec2:DescribeInstanceTypes``, ``DescribeInstances``, ``DescribeSubnets``, ``DescribeRouteTables``,
    ``servicequotas:GetServiceQuota``.

    Raises
    ------
    LabError
        When the compute environment was deleted.
    """
    asked = ask(ledger, job_id)
    for cause in CAUSES:
        if why := cause(asked):
            return why
    return Why(
        "A machine is on its way.",
        f"Nothing is known to stand in the way; Batch takes some minutes to start one. {asked.says}".strip(),
        f"{ledger.command('jobs')}    # again in two minutes",
    )


def ask(ledger: Ledger, job_id: str) -> WaitingJob:
    """Everything that the causes need."""
    environment = batch_jobs.require_environment(ledger)
    queue = describe_queue(ledger.client("batch"), standing(ledger, "job-queue")) or {}
    (job,) = batch_jobs.described(ledger, [job_id])
    needs = {one["type"]: int(float(one["value"])) for one in job["container"]["resourceRequirements"]}
    types = ledger.client("ec2").describe_instance_types(
        InstanceTypes=environment["computeResources"]["instanceTypes"]
    )["InstanceTypes"]
    return WaitingJob(
        ledger, job, environment, queue, needs["VCPU"], needs["MEMORY"], needs.get("GPU", 0), types
    )


# -- The causes, in their order ----------------------------------------------------------------------------


def quota(asked: WaitingJob) -> Why | None:
    """The account may run none of these machines, or no more than it runs."""
    smallest = min(asked.types, key=lambda one: one["VCpuInfo"]["DefaultVCpus"])
    needs, place = smallest["VCpuInfo"]["DefaultVCpus"], asked.ledger.place
    name, code = vcpu_quota(smallest["InstanceType"], spot=asked.spot)
    found = quota_value(asked.ledger.client("service-quotas"), "ec2", code)
    if found == math.inf:
        return None  # not everybody may read quotas; then the next cause is looked at
    allowed = int(found)
    more = ask_for_quota("ec2", code, max(8, 2 * allowed), place)
    if allowed < needs:
        return Why(
            f"The account's quota allows no {smallest['InstanceType']}.",
            f'It needs {needs} vCPUs; the quota "{name}" ({code}) is {allowed}.',
            f"{more}    # or build anew without a GPU: `down`, then `up --cpu`",
        )
    used = vcpus_in_use(asked.ledger.client("ec2"))[code]
    if used + needs > allowed:
        return Why(
            "The account's quota is used up.",
            f'{used} of the {allowed} vCPUs of "{name}" ({code}) are in use; one more machine needs {needs}.',
            f"wait until other machines have ended; or {more}",
        )
    return None


def capacity(asked: WaitingJob) -> Why | None:
    """AWS has no such machine free."""
    if not NO_CAPACITY.search(asked.says):
        return None
    names = " or ".join(one["InstanceType"] for one in asked.types)
    other = "without --spot" if asked.spot else "with --spot, or in another --region"
    return Why(
        f"AWS has no {names} free in the lab's zones just now.",
        asked.says.strip(),
        f"wait: Batch tries again by itself; or build anew {other}",
    )


def size(asked: WaitingJob) -> Why | None:
    """No machine of the environment is large enough."""
    if any(fits(asked, one) for one in asked.types):
        return None  # Batch may say so of a job that fits, while it starts machines
    largest = max(asked.types, key=lambda one: one["MemoryInfo"]["SizeInMiB"])
    room = int(largest["MemoryInfo"]["SizeInMiB"] * (1 - KEPT))
    has = f"{largest['VCpuInfo']['DefaultVCpus']} vCPUs, about {room} MiB and {gpus_of(largest)} GPUs"
    return Why(
        "The job asks for more than any of the machines has.",
        f"It wants {asked.vcpus} vCPUs, {asked.memory_mib} MiB and {asked.gpus} GPUs; the largest, "
        f"{largest['InstanceType']}, has {has} to give.",
        f"{asked.ledger.command('cancel')} {asked.job['jobId'][:8]}    # it would wait for ever",
    )


def fits(asked: WaitingJob, machine: dict[str, Any]) -> bool:
    """Whether an empty machine of this type would take the job."""
    return (
        asked.vcpus <= machine["VCpuInfo"]["DefaultVCpus"]
        and asked.memory_mib <= machine["MemoryInfo"]["SizeInMiB"] * (1 - KEPT)
        and asked.gpus <= gpus_of(machine)
    )


def gpus_of(machine: dict[str, Any]) -> int:
    return sum(one["Count"] for one in machine.get("GpuInfo", {}).get("Gpus", []))


def road(asked: WaitingJob) -> Why | None:
    """A machine without a way to the internet never reports to Batch."""
    ec2, resources = asked.ledger.client("ec2"), asked.environment["computeResources"]
    for subnet in ec2.describe_subnets(SubnetIds=resources["subnets"])["Subnets"]:
        routes = routes_of(ec2, subnet)
        outward = [one for one in routes if one.get("DestinationCidrBlock") == "0.0.0.0/0"]
        gateways = [one for one in outward if one.get("State") != "blackhole"]
        if any("NatGatewayId" in one for one in gateways):
            continue
        subnet_id = subnet["SubnetId"]
        if not subnet["MapPublicIpOnLaunch"]:
            return Why(
                "Machines get no public address, so they never report to Batch.",
                f"The subnet {subnet_id} gives none (MapPublicIpOnLaunch is off); there is no NAT gateway.",
                asked.ledger.place.aws(
                    f"ec2 modify-subnet-attribute --subnet-id {subnet_id} --map-public-ip-on-launch "
                    f"--region {asked.ledger.cloud.region}"
                )
                + "    # `up` does the same",
            )
        if not gateways:
            return Why(
                "Machines have no road to the internet, so they never report to Batch.",
                f"The subnet {subnet_id} has no route to 0.0.0.0/0.",
                f"{batch_jobs.up_as_before(asked.ledger, asked.environment)}    # puts the route back",
            )
    return None


def routes_of(ec2: Any, subnet: dict[str, Any]) -> list[dict[str, Any]]:
    """The routes that hold for a subnet: of its own table, or of the VPC's main one."""
    for name, value in (
        ("association.subnet-id", subnet["SubnetId"]),
        ("association.main", "true"),
    ):
        vpc = {"Name": "vpc-id", "Values": [subnet["VpcId"]]}
        tables = ec2.describe_route_tables(Filters=[vpc, {"Name": name, "Values": [value]}])["RouteTables"]
        if tables:
            routes: list[dict[str, Any]] = tables[0]["Routes"]
            return routes
    return []


def environment(asked: WaitingJob) -> Why | None:
    """The environment or the queue takes no jobs."""
    up = batch_jobs.up_as_before(asked.ledger, asked.environment)
    for what, shown in (("compute environment", asked.environment), ("queue", asked.queue)):
        if shown.get("status") == "INVALID":
            return Why(
                f"The {what} is INVALID.",
                shown.get("statusReason", ""),
                f"{up}    # lets Batch look again; a role may have been missing",
            )
        if shown.get("state") == "DISABLED":
            return Why(
                f"The {what} is out of use.",
                "Somebody has set it to DISABLED.",
                f"{up}    # puts it to use again",
            )
    return None


CAUSES: tuple[Callable[[WaitingJob], Why | None], ...] = (quota, capacity, size, road, environment)
