"""What `up` asks AWS before it builds, so that what would fail in the middle fails before the first call."""

from __future__ import annotations

import logging
import math
from collections import Counter
from typing import Any

from awslabs.errors import AwsError
from awslabs.explain import PAID_PLAN, ask_for_quota, boto3_errors, place_of, vcpu_quota
from awslabs.kinds.ec2 import instances
from awslabs.kinds.named import pages, parts
from awslabs.ledger import Ledger

log = logging.getLogger(__name__)


def zones_offering(ec2: Any, instance_type: str) -> list[str]:
    """The zones of the Region that offer this type: not each does (``us-east-1e`` has no t3.micro).

    AWS calls: ``ec2:DescribeInstanceTypeOfferings``; as `whole_zones`.
    """
    offerings = ec2.describe_instance_type_offerings(
        LocationType="availability-zone", Filters=[{"Name": "instance-type", "Values": [instance_type]}]
    )["InstanceTypeOfferings"]
    zones = sorted({offering["Location"] for offering in offerings} & whole_zones(ec2).keys())
    if not zones:
        raise AwsError(
            f"{instance_type} is not offered in {ec2.meta.region_name}.",
            "No zone of the Region lists it; a Region offers some types only, and names are exact.",
            "run `up` with another type, such as --instance-type t3.micro",
            code="Unsupported",
            operation="ec2:RunInstances",
        )
    return zones


def whole_zones(ec2: Any) -> dict[str, str]:
    """The Region's Availability Zones, name to id (``us-east-1a``: ``use1-az6``; ids are everybody's).

    Local Zones and Wavelength Zones, which an account may have opted in to, have prices and gateways of their
    own. AWS calls: ``ec2:DescribeAvailabilityZones``.
    """
    return {
        zone["ZoneName"]: zone["ZoneId"]
        for zone in ec2.describe_availability_zones()["AvailabilityZones"]
        if zone["ZoneType"] == "availability-zone" and zone["State"] == "available"
    }


def size_of(ec2: Any, instance_type: str, such_as: str) -> dict[str, Any]:
    """A type as ``ec2:DescribeInstanceTypes`` shows it, if the labs' images run on it; `such_as` would do.

    Raises
    ------
    AwsError
        Its processor is another one than the images are made for.
    """
    size: dict[str, Any]
    (size,) = ec2.describe_instance_types(InstanceTypes=[instance_type])["InstanceTypes"]
    if "x86_64" not in size["ProcessorInfo"]["SupportedArchitectures"]:
        raise AwsError(
            f"The lab's images do not run on {instance_type}.",
            "Its processor is an ARM; they are made for x86_64.",
            f"run `up` with another type, such as --instance-type {such_as}",
            code="Unsupported",
            operation="ec2:RunInstances",
        )
    return size


def require_plan(ledger: Ledger, instance_type: str, instead: str) -> None:
    """Stop before anything is built if the account is on AWS's Free plan, and that does not run this type.

    AWS calls: ``freetier:GetAccountPlanState``, on that plan ``ec2:DescribeInstanceTypes``. A dry run of
    RunInstances looks at rights alone and would not tell.

    Parameters
    ----------
    instead : str
        The command that does with a type which the plan runs.
    """
    if not on_free_plan(ledger):
        return
    ec2 = ledger.client("ec2")
    eligible = [{"Name": "free-tier-eligible", "Values": ["true"]}]
    sizes = pages(ec2, "describe_instance_types", "InstanceTypes", Filters=eligible)
    free = sorted(size["InstanceType"] for size in sizes)
    if instance_type not in free:
        raise AwsError(
            f"This account's Free plan does not run a {instance_type}.",
            f"In {ec2.meta.region_name} it runs {', '.join(free)}; a higher quota would change nothing.",
            f"{instead}    # or pay for what you use, your credits first: {PAID_PLAN}",
            code="InvalidParameterCombination",
            operation="ec2:RunInstances",
        )


def on_free_plan(ledger: Ledger) -> bool:
    """Whether the account is on the plan that accounts opened since 2025-07-15 begin with.

    AWS calls: ``freetier:GetAccountPlanState``.
    """
    try:
        plan = ledger.cloud.client("freetier", resends=False).get_account_plan_state()
    except boto3_errors() as error:
        # Not everybody may ask, and only newer accounts have a plan.
        log.info("the account's plan was not looked at: %s", error)
        return False
    return bool(plan["accountPlanType"] == "FREE")


def require_quota(ec2: Any, quotas: Any, instance_type: str, *, spot: bool = False) -> None:
    """Stop before anything is built if the account may not run a single server of this type.

    AWS calls: ``ec2:DescribeInstanceTypes``, ``servicequotas:GetServiceQuota``. The quota counts vCPUs; new
    accounts start with few of them, or none. Spot servers have a quota of their own.
    """
    (size,) = ec2.describe_instance_types(InstanceTypes=[instance_type])["InstanceTypes"]
    needs = size["VCpuInfo"]["DefaultVCpus"]
    name, quota = vcpu_quota(instance_type, spot=spot)
    allowed = quota_value(quotas, "ec2", quota)
    if allowed < needs:
        raise AwsError(
            f"This account may not run a {instance_type} in {ec2.meta.region_name}.",
            f'It needs {needs} vCPUs; the quota "{name}" ({quota}) is {allowed:.0f}.',
            ask_for_quota("ec2", quota, max(8, needs), place_of(ec2)),
            code="VcpuLimitExceeded",
            operation="ec2:RunInstances",
        )


def quota_value(quotas: Any, service: str, code: str) -> float:
    """How much the account may have of what a quota counts; without bound if one may not ask.

    AWS calls: ``servicequotas:GetServiceQuota``.
    """
    try:
        quota = quotas.get_service_quota(ServiceCode=service, QuotaCode=code)["Quota"]
        return float(quota["Value"])
    except quotas.exceptions.ClientError as error:
        # Not everybody may read quotas; the call to come would say the same, later.
        log.info("the quota %s of %s was not checked: %s", code, service, error)
        return math.inf


def vcpus_in_use(ec2: Any) -> Counter[str]:
    """vCPUs of all servers of the account in this Region, whoever started them, by the code of their quota.

    Each counts what its type has by default: AWS does not show the CPU options of every server (a recorded
    t3.micro of 2025 has none). AWS calls: ``ec2:DescribeInstances``, ``ec2:DescribeInstanceTypes``.
    """
    servers = instances(ec2, {"Name": "instance-state-name", "Values": ["pending", "running"]})
    sizes: dict[str, int] = {}
    for types in parts(sorted({one["InstanceType"] for one in servers})):
        for size in ec2.describe_instance_types(InstanceTypes=types)["InstanceTypes"]:
            sizes[size["InstanceType"]] = size["VCpuInfo"]["DefaultVCpus"]
    found = Counter[str]()
    for one in servers:
        _, code = vcpu_quota(one["InstanceType"], spot=one.get("InstanceLifecycle") == "spot")
        found[code] += sizes[one["InstanceType"]]
    return found


def newest_image(ec2: Any, ssm: Any, parameter: str) -> dict[str, Any]:
    """The image that an SSM public parameter names, as ``ec2:DescribeImages`` shows it."""
    image_id = ssm.get_parameter(Name=parameter)["Parameter"]["Value"]
    image: dict[str, Any]
    (image,) = ec2.describe_images(ImageIds=[image_id])["Images"]
    return image
