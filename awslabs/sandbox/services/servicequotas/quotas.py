"""Service Quotas: the limits of an account, old or new, and the API that shows them.

`limit` is what other rules ask. The values of an old account are those of one whose owner has asked
for more over the years; all others have what AWS gives on the first day (`--account new`).
"""

from __future__ import annotations

import functools
import math
import uuid
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

from moto.ec2.models.instance_types import INSTANCE_TYPES
from moto.servicequotas.models import servicequotas_backends
from moto.servicequotas.resources.default_quotas.vpc import VPC_DEFAULT_QUOTAS

from awslabs.sandbox.core import weather
from awslabs.sandbox.core.engine import Call, Refused, clock, memory, rule, state

SERVICES = {
    "ec2": "Amazon Elastic Compute Cloud (Amazon EC2)",
    "vpc": "Amazon Virtual Private Cloud (Amazon VPC)",
    "fargate": "AWS Fargate",
    "lambda": "AWS Lambda",
    "s3": "Amazon Simple Storage Service (Amazon S3)",
}


@dataclass(frozen=True)
class Quota:
    """One limit. `old` and `new` are its values by kind of account, in the unit of its name."""

    service: str
    code: str
    name: str
    old: float
    new: float


# Codes and new values: aws-facts (f). The old values are those of a course's account whose limits were
# raised: room for a class of a hundred, as AWS grants it. P, F, X, Inf and Trn codes: unsourced.
QUOTAS = {
    quota.code: quota
    for quota in (
        Quota(
            "ec2", "L-1216C47A", "Running On-Demand Standard (A, C, D, H, I, M, R, T, Z) instances", 640, 8
        ),
        Quota("ec2", "L-DB2E81BA", "Running On-Demand G and VT instances", 64, 0),
        Quota("ec2", "L-417A185B", "Running On-Demand P instances", 0, 0),
        Quota("ec2", "L-34B43A08", "All Standard (A, C, D, H, I, M, R, T, Z) Spot Instance Requests", 640, 8),
        Quota("ec2", "L-3819A6DF", "All G and VT Spot Instance Requests", 64, 0),
        Quota("ec2", "L-7212CCBC", "All P4, P3 and P2 Spot Instance Requests", 0, 0),
        Quota("ec2", "L-0263D0A3", "EC2-VPC Elastic IPs", 5, 5),
        Quota("vpc", "L-F678F1CE", "VPCs per Region", 150, 5),
        Quota("vpc", "L-A4707A72", "Internet gateways per Region", 150, 5),
        Quota("vpc", "L-E79EC296", "VPC security groups per Region", 2500, 2500),
        Quota("vpc", "L-0EA8095F", "Inbound or outbound rules per security group", 60, 60),
        Quota("fargate", "L-3032A538", "Fargate On-Demand vCPU resource count", 4000, 6),
        Quota("fargate", "L-36FBB829", "Fargate Spot vCPU resource count", 4000, 6),
        Quota("lambda", "L-B99A9384", "Concurrent executions", 1000, 10),
        Quota("s3", "L-DC2B2D3D", "General purpose buckets", 10_000, 10_000),
    )
}

CLASSROOM = {"L-1216C47A": 32, "L-34B43A08": 0}  # AWS Academy's Learner Lab; else as a new account

_STANDARD = set("acdhimrtz")  # first letters of the families that share the Standard quota
_BUCKETS = {"g": ("L-DB2E81BA", "L-3819A6DF"), "p": ("L-417A185B", "L-7212CCBC")}

granted: dict[tuple[str, str, str], float] = {}
"""(account, Region, quota code) -> a limit that AWS has raised or lowered, as when it approves a request."""


def limit(account: str, region: str, service: str, quota_code: str) -> float:
    """What this account may have of something, in the quota's own unit."""
    raised = granted.get((account, region, quota_code))
    if raised is not None:
        return raised
    quota = QUOTAS[quota_code]
    assert quota.service == service, (quota, service)
    if weather.current.account == "classroom" and quota_code in CLASSROOM:
        return CLASSROOM[quota_code]
    return quota.old if weather.current.account == "old" else quota.new


def vcpu_quota_code(instance_type: str, spot: bool) -> str | None:
    """The quota that an instance type counts against; None: one that the practice cloud does not count."""
    family = instance_type.partition(".")[0]
    if family.startswith(("hpc", "inf", "mac", "trn", "dl", "f", "u", "x")):
        return None
    on_demand, spot_code = _BUCKETS["g"] if family.startswith("vt") else _BUCKETS.get(family[0], ("", ""))
    if not on_demand and family[0] in _STANDARD:
        on_demand, spot_code = "L-1216C47A", "L-34B43A08"
    return (spot_code if spot else on_demand) or None


def vcpus(instance_type: str) -> int:
    """How many vCPUs a type has; 0 for a type that moto does not know."""
    return int(INSTANCE_TYPES.get(instance_type, {}).get("VCpuInfo", {}).get("DefaultVCpus", 0))


def vcpu_room(ec2: Any, instance_type: str, spot: bool) -> float:
    """How many more instances of a type the account's vCPU quota allows; pending and running ones count."""
    code, each = vcpu_quota_code(instance_type, spot), vcpus(instance_type)
    if code is None or each == 0:
        return math.inf
    in_use = sum(
        vcpus(instance.instance_type)
        for reservation in ec2.reservations.values()
        for instance in reservation.instances
        if instance.state in ("pending", "running")
        and vcpu_quota_code(instance.instance_type, instance.lifecycle == "spot") == code
    )
    return (limit(ec2.account_id, ec2.region_name, "ec2", code) - in_use) // each


def refuse_over_vcpu_quota(ec2: Any, instance_type: str, count: int, spot: bool) -> None:
    """Refuse instances for which the account has no vCPUs left.

    Raises
    ------
    Refused
        VcpuLimitExceeded, or MaxSpotInstanceCountExceeded for Spot: aws-facts (f).
    """
    code = vcpu_quota_code(instance_type, spot)
    if code is None or count <= vcpu_room(ec2, instance_type, spot):
        return
    if spot:
        raise Refused("MaxSpotInstanceCountExceeded", "Max spot instance count exceeded")
    allowed = limit(ec2.account_id, ec2.region_name, "ec2", code)
    raise Refused(
        "VcpuLimitExceeded",
        f"You have requested more vCPU capacity than your current vCPU limit of {allowed:g} allows for the "
        "instance bucket that the specified instance type belongs to. Please visit "
        "http://aws.amazon.com/contact-us/ec2-request to request an adjustment to this limit.",
    )


# --- the API ------------------------------------------------------------------------------------------

service_quotas = rule(
    "service_quotas",
    """Get, list, defaults and requests for more answer for EC2, VPC, Fargate, Lambda and S3.

    moto knows get and default lists of VPC alone. A request for more is recorded and stays PENDING: nobody
    at AWS reads it here. Source: aws-facts (f), (j); botocore, service-quotas.""",
)


_missing = functools.partial(Refused, "NoSuchResourceException")


@state
class Requests(list[dict[str, Any]]):
    """What this account has asked for in one Region."""


@service_quotas.operation("service-quotas:GetServiceQuota", "service-quotas:GetAWSDefaultServiceQuota")
def _get(call: Call) -> dict[str, Any]:
    return {"Quota": _quota(call, default="Default" in call.action)}


@service_quotas.operation("service-quotas:ListServiceQuotas", "service-quotas:ListAWSDefaultServiceQuotas")
def _list(call: Call) -> dict[str, Any]:
    return {"Quotas": _quotas(call, default="Default" in call.action)}


@service_quotas.operation("service-quotas:ListServices")
def _list_services(call: Call) -> dict[str, Any]:
    return {"Services": [{"ServiceCode": code, "ServiceName": name} for code, name in SERVICES.items()]}


@service_quotas.operation("service-quotas:RequestServiceQuotaIncrease")
def _request(call: Call) -> dict[str, Any]:
    code, desired = call.get("QuotaCode"), float(call.get("DesiredValue"))
    quota, made = _quota(call, default=False), memory(_backend(call), Requests)
    if desired <= quota["Value"]:
        message = "You must provide a quota value greater than the current quota value."
        raise Refused("IllegalArgumentException", message)
    if any(request["QuotaCode"] == code for request in made):
        message = "Only one open service quota increase request is allowed per quota."
        raise Refused("ResourceAlreadyExistsException", message)
    now = datetime.fromtimestamp(clock.now(), timezone.utc)
    names = ("ServiceCode", "ServiceName", "QuotaCode", "QuotaName", "QuotaArn", "GlobalQuota", "Unit")
    request = {
        "Id": uuid.uuid4().hex,
        "DesiredValue": desired,
        "Status": "PENDING",
        "Created": now,
        "LastUpdated": now,
    }
    made.append(request | {name: quota[name] for name in names})
    return {"RequestedQuota": made[-1]}


@service_quotas.operation(
    "service-quotas:ListRequestedServiceQuotaChangeHistory",
    "service-quotas:ListRequestedServiceQuotaChangeHistoryByQuota",
)
def _history(call: Call) -> dict[str, Any]:
    wanted = {name: call.get(name) for name in ("ServiceCode", "QuotaCode", "Status")}
    made = memory(_backend(call), Requests)
    return {"RequestedQuotas": [r for r in made if all(v in (None, r[name]) for name, v in wanted.items())]}


@service_quotas.operation("service-quotas:GetRequestedServiceQuotaChange")
def _get_request(call: Call) -> dict[str, Any]:
    for request in memory(_backend(call), Requests):
        if request["Id"] == call.get("RequestId"):
            return {"RequestedQuota": request}
    raise _missing("The request failed because the specified request does not exist.")


def _backend(call: Call) -> Any:
    return servicequotas_backends[call.account][call.region]


def _quotas(call: Call, default: bool) -> list[dict[str, Any]]:
    """All quotas of the service that a request names, ours and moto's, in the API's words."""
    service, region, account = call.get("ServiceCode"), call.region, call.account
    if service not in SERVICES:
        raise _missing(
            "This service is not available in the current Region. Choose a different Region or a different "
            "service.",
        )
    ours = [
        {
            "ServiceCode": service,
            "ServiceName": SERVICES[service],
            "QuotaArn": f"arn:aws:servicequotas:{region}:{account}:{service}/{quota.code}",
            "QuotaCode": quota.code,
            "QuotaName": quota.name,
            "Value": float(quota.new if default else limit(account, region, service, quota.code)),
            "Unit": "None",
            "Adjustable": True,
            "GlobalQuota": False,
        }
        for quota in QUOTAS.values()
        if quota.service == service
    ]
    motos = [quota for quota in VPC_DEFAULT_QUOTAS if service == "vpc" and quota["QuotaCode"] not in QUOTAS]
    return ours + motos


def _quota(call: Call, default: bool) -> dict[str, Any]:
    """The quota that a request names."""
    for quota in _quotas(call, default):
        if quota["QuotaCode"] == call.get("QuotaCode"):
            return quota
    raise _missing("The request failed because the specified service quota does not exist.")
