"""Before class: what N students who share an account need of AWS at once, and what it lets them have.

awslabs class prepare --students 30 --labs ec2,serverless

quotas             counted against what stands in the account now; each with the command that asks for more
rates and limits   that nobody raises: what a class must wait for, or share out over Regions and accounts
"""

from __future__ import annotations

import functools
import math
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from awslabs import batch_sweep, ecs_qa, gpu, serverless
from awslabs.cloud import Cloud
from awslabs.errors import AwsError
from awslabs.explain import ask_for_quota, vcpu_quota
from awslabs.kinds.named import pages
from awslabs.ledger import Ledger
from awslabs.preflight import quota_value, vcpus_in_use
from awslabs.workload.ecs_qa.questions import FARGATE_VCPUS

# Seconds between two calls of an account, which AWS does not change. Source: "Amazon API Gateway quotas".
API_UP_S = {"CreateRestApi": 3, "PutRestApi": 1, "CreateDeployment": 5}
API_DOWN_S = 30
FUNCTIONS_AT_ONCE = 10  # of one student who has the functions called; less works, and waits
BATCH_MOST = 50  # job queues, and compute environments. Source: "AWS Batch service quotas"
ROLES_MOST = 1000  # Source: "IAM and AWS STS quotas"
ROLES = {"ecs_qa": 2, "batch_sweep": 2, "serverless": 5}
WITH_NETWORK = ("ec2", "gpu", "ecs_qa", "batch_sweep")
WITH_IMAGE = ("ecs_qa", "batch_sweep")
# Pulls in an hour from one address without a login; at other times it was 100 in six hours.
# Source: docker/docs, manuals/docker-hub/usage, 2025-04.
PULLS_PER_HOUR = 10
T3_MICRO_VCPUS = 2  # what a t3.micro counts


@dataclass(frozen=True)
class Need:
    """One thing of which a class needs so many.

    Attributes
    ----------
    what : str
        In words.
    needed, in_use, allowed : float
        By the class; by what stands already; in all. `allowed` is infinite where nobody may ask.
    fix : str
        The command that asks for more, or what else helps; empty where it is enough.
    """

    what: str
    needed: float
    in_use: float
    allowed: float
    fix: str = ""

    @property
    def enough(self) -> bool:
        return self.needed + self.in_use <= self.allowed

    def shown(self) -> dict[str, Any]:
        """A row of `prepare`."""
        allowed = None if math.isinf(self.allowed) else round(self.allowed)
        return {
            "what": self.what,
            "needed": round(self.needed),
            "in_use": round(self.in_use),
            "allowed": allowed,
            "enough": "?" if allowed is None else "yes" if self.enough else "no",
            "fix": "" if self.enough else self.fix,
        }


def needs(cloud: Cloud, students: int, labs: Iterable[str]) -> list[Need]:
    """What so many students need who have each of these labs at the same time, in one account and Region.

    AWS calls: ``servicequotas:GetServiceQuota``, and of what is counted the EC2 calls that list it.
    """
    chosen, quotas, ec2 = set(labs), cloud.client("service-quotas"), cloud.client("ec2")
    found: list[Need] = []

    def quota(service: str, code: str, what: str, each: float, in_use: Callable[[], float]) -> None:
        if not each:
            return
        needed, used = each * students, in_use()
        allowed = quota_value(quotas, service, code)
        ask = ask_for_quota(service, code, math.ceil(needed + used), cloud.place)
        found.append(Need(what, needed, used, allowed, ask))

    def counted(describe: str, listing: str) -> Callable[[], float]:
        return lambda: len(pages(ec2, describe, listing))

    networks = len(chosen & {*WITH_NETWORK})
    quota("vpc", "L-F678F1CE", "VPCs in the Region", networks, counted("describe_vpcs", "Vpcs"))
    gateways = counted("describe_internet_gateways", "InternetGateways")
    quota("vpc", "L-A4707A72", "internet gateways in the Region", networks, gateways)
    servers = vcpus_in_use(ec2) if chosen & {"ec2", "gpu", "batch_sweep"} else Counter[str]()
    machines = {
        "t3.micro": T3_MICRO_VCPUS * ("ec2" in chosen),
        gpu.INSTANCE_TYPE: batch_sweep.GPU.vcpus * len(chosen & {"gpu", "batch_sweep"}),
    }
    for instance_type, vcpus in machines.items():
        name, code = vcpu_quota(instance_type)
        quota("ec2", code, f"vCPUs: {name}", vcpus, functools.partial(servers.__getitem__, code))
    tasks = ecs_qa.VCPUS * ("ecs_qa" in chosen)
    quota("fargate", FARGATE_VCPUS, "vCPUs of Fargate, one task each", tasks, lambda: 0.0)
    functions = FUNCTIONS_AT_ONCE * ("serverless" in chosen)
    quota("lambda", "L-B99A9384", f"functions at once, {FUNCTIONS_AT_ONCE} each", functions, lambda: 0.0)
    return found + fixed(students, chosen)


def fixed(students: int, labs: set[str]) -> list[Need]:
    """What AWS and Docker let an account or an address have, whoever asks."""
    found = []
    share = "share the class out over Regions or accounts: class.csv has a column for each"
    if "batch_sweep" in labs:
        found.append(Need("job queues of Batch in the Region", students, 0, BATCH_MOST, share))
    if roles := sum(ROLES.get(lab, 0) for lab in labs):
        give = "give out roles: `up --role-arn ARN`; or use several accounts"
        found.append(Need("roles in the account", roles * students, 0, ROLES_MOST, give))
    if images := len(labs & {*WITH_IMAGE}):
        what = "pulls of python:3.13-slim from Docker Hub in an hour, from one address"
        login = "let each student `docker login`, or build at different hours"
        found.append(Need(what, images * students, 0, PULLS_PER_HOUR, login))
    return found


def waits(students: int, labs: Iterable[str]) -> list[str]:
    """How long AWS's rates let the last of a class wait that starts, or ends, all at once."""
    if "serverless" not in set(labs):
        return []
    slowest = max(API_UP_S, key=lambda call: API_UP_S[call])
    return [
        f"serverless up: the last of {students} waits {minutes(API_UP_S[slowest] * (students - 1))} for "
        f"{slowest}, which AWS takes once per {API_UP_S[slowest]} s.",
        f"serverless down: {students} REST APIs take {minutes(API_DOWN_S * (students - 1))} at least, one "
        f"per {API_DOWN_S} s; all else is gone long before.",
    ]


def minutes(seconds: float) -> str:
    return f"{seconds / 60:.1f} min"


def public_buckets(cloud: Cloud) -> AwsError | None:
    """Why nobody could load the page of Bashoutter; None where all could. AWS calls: as `serverless` says."""
    try:
        serverless.require_public_buckets(Ledger(cloud, "serverless"))
    except AwsError as error:
        return error
    return None
