"""RunInstances: what AWS looks at before it starts an instance.

The rules stand in the order in which they look. moto checks security group ids and little else.
"""

from __future__ import annotations

import base64
import binascii
import json
from dataclasses import dataclass
from typing import Any

from moto.ec2.models.instance_types import INSTANCE_TYPE_OFFERINGS, INSTANCE_TYPES

from awslabs.sandbox.core import weather
from awslabs.sandbox.core.engine import Call, Proceed, Refused, around, before, memory, mismatch, state
from awslabs.sandbox.services import accounts
from awslabs.sandbox.services.ec2 import images
from awslabs.sandbox.services.iam import identities
from awslabs.sandbox.services.servicequotas import quotas
from awslabs.sandbox.services.tagging.tags import invalid_value, missing

USER_DATA_BYTES = 16 * 1024

# Refusals after which EC2 still remembers the token with its parameters: the request was sound.
_REMEMBERED = {
    "InsufficientFreeAddressesInSubnet",
    "InsufficientInstanceCapacity",
    "MaxSpotInstanceCountExceeded",
    "Unsupported",
    "VcpuLimitExceeded",
}


# --- the same request again ---------------------------------------------------------------------------


@dataclass
class Launch:
    """What one ClientToken stands for. `answer` is None after a refusal."""

    parameters: str
    answer: Any


@state
class Launches(dict[str, Launch]):
    """ClientToken -> launch."""


@around("ec2:RunInstances")
def client_token(call: Call, proceed: Proceed) -> Any:
    """The same ClientToken gives the same instances. moto starts new ones.

    With other parameters: IdempotentParameterMismatch, also when the first call failed for capacity.
    When the instances have been terminated: IdempotentInstanceTerminated. botocore fills a token in
    by itself. Source: aws-facts (c); boto/boto3#4406; ubicloud/ubicloud#5898.
    """
    token = call.get("ClientToken")
    if token is None:
        return proceed()
    if len(token) > 64 or not token.isascii():
        raise invalid_value("Invalid client token: up to 64 ASCII characters are allowed.")
    launches = memory(call.ec2, Launches)
    asked = {name: value for name, value in dict(call.response.params).items() if name != "ClientToken"}
    parameters = json.dumps(asked, sort_keys=True, default=repr)
    launch = launches.get(token)
    if launch is not None and launch.parameters != parameters:
        raise mismatch()
    if launch is not None and launch.answer is not None:
        if all(instance.state == "terminated" for instance in launch.answer.result.instances):
            raise Refused(
                "IdempotentInstanceTerminated",
                "The client token you have provided is associated with a terminated instance. "
                "Please use a different client token.",
            )
        return launch.answer
    try:
        answer = proceed()
    except Refused as refused:
        if refused.code in _REMEMBERED:
            launches[token] = Launch(parameters, None)
        raise
    launches[token] = Launch(parameters, answer)
    return answer


# --- what the request names ---------------------------------------------------------------------------


@before("ec2:RunInstances")
def image_exists(call: Call) -> None:
    """An unknown AMI: InvalidAMIID.NotFound; no AMI id at all: InvalidAMIID.Malformed or MissingParameter.

    moto starts instances of AMIs that do not exist. Source: aws-facts (j).
    """
    image_id = _asked(call, "ImageId")
    if image_id is None:
        raise Refused("MissingParameter", "The request must contain the parameter ImageId")
    if not image_id.startswith("ami-"):
        raise Refused("InvalidAMIID.Malformed", f'Invalid id: "{image_id}" (expecting "ami-...")')
    if image_id not in call.ec2.amis:
        raise Refused("InvalidAMIID.NotFound", f"The image id '[{image_id}]' does not exist")


@before("ec2:RunInstances")
def instance_type_exists(call: Call) -> None:
    """An unknown instance type: InvalidParameterValue. moto starts it. Source: aws-facts (j)."""
    if _instance_type(call) not in INSTANCE_TYPES:
        raise invalid_value(f"Invalid value '{_instance_type(call)}' for InstanceType.")


@before("ec2:RunInstances")
def architecture_fits(call: Call) -> None:
    """An arm64 type with an x86_64 AMI, or the other way round: InvalidParameterValue. moto starts it.

    The code is unsourced.
    """
    image = call.ec2.amis.get(_asked(call, "ImageId"))
    supported = (
        INSTANCE_TYPES.get(_instance_type(call), {})
        .get("ProcessorInfo", {})
        .get("SupportedArchitectures", [])
    )
    if image is not None and supported and image.architecture not in supported:
        raise invalid_value(
            f"The architecture '{supported[-1]}' of the specified instance type does not match the "
            f"architecture '{image.architecture}' of the specified AMI. Specify an instance type and an AMI "
            "that have matching architectures, and try again.",
        )


@before("ec2:RunInstances")
def key_pair_exists(call: Call) -> None:
    """An unknown key pair: InvalidKeyPair.NotFound. moto starts an instance that nobody can open.

    Source: aws-facts (j).
    """
    name = _asked(call, "KeyName")
    if name is not None and name not in call.ec2.key_pairs:
        raise Refused("InvalidKeyPair.NotFound", f"The key pair '{name}' does not exist")


@before("ec2:RunInstances")
def security_groups_fit(call: Call) -> None:
    """A group of another VPC than the subnet's: InvalidParameter; an unknown one: InvalidGroup.NotFound.

    moto starts the instance, and makes up groups that a NetworkInterfaces parameter names.
    Source: aws-facts (a) for the latter; the former is unsourced.
    """
    subnet = _subnet(call)
    group_ids = list(_asked(call, "SecurityGroupIds") or [])
    for interface in _interfaces(call):
        group_ids += interface.get("Groups") or interface.get("SecurityGroupIds") or []
    for group_id in group_ids:
        group = call.ec2.get_security_group_from_id(group_id)
        if group is None:
            raise missing(group_id)
        if subnet is not None and group.vpc_id != subnet.vpc_id:
            message = f"Security group {group_id} and subnet {subnet.id} belong to different networks."
            raise Refused("InvalidParameter", message)


@before("ec2:RunInstances")
def instance_profile_is_usable(call: Call) -> None:
    """A profile that is unknown, too fresh, or without a role: InvalidParameterValue.

    moto: NoSuchEntity 404 for an unknown one, and it takes the others. After CreateInstanceProfile and after
    AddRoleToInstanceProfile it takes 8 s until EC2 knows. Source: aws-facts (b), (j);
    terraform-provider-aws, ec2/ec2_instance.go, for the texts.
    """
    asked = call.get("IamInstanceProfile", {})
    for field, value in (("name", asked.get("Name")), ("arn", asked.get("Arn"))):
        if value is None:
            continue
        profile = identities.find_instance_profile(call.iam, value)
        if profile is None or not identities.usable(profile):
            kind = "name" if field == "name" else "ARN"
            raise invalid_value(
                f"Value ({value}) for parameter iamInstanceProfile.{field} is invalid. "
                f"Invalid IAM Instance Profile {kind}",
            )
        if not profile.roles or not identities.usable(profile, "joined"):
            raise invalid_value(f'IAM Instance Profile "{profile.arn}" has no associated IAM Roles')


@before("ec2:RunInstances")
def user_data_is_short(call: Call) -> None:
    """User data above 16 KB before base64: InvalidParameterValue. moto takes it.

    Source: aws-facts (i), (j); EC2 user guide, instancedata-add-user-data.
    """
    try:
        raw = base64.b64decode(str(_asked(call, "UserData") or ""), validate=False)
    except binascii.Error:
        return  # moto: InvalidUserData
    if len(raw) > USER_DATA_BYTES:
        raise invalid_value(f"User data is limited to {USER_DATA_BYTES} bytes")


@before("ec2:RunInstances")
def root_volume_holds_the_image(call: Call) -> None:
    """A root volume smaller than the AMI's: InvalidBlockDeviceMapping. moto makes it.

    Source: aws-facts (j).
    """
    image = call.ec2.amis.get(_asked(call, "ImageId"))
    for mapping in _asked(call, "BlockDeviceMappings") or []:
        size = (mapping.get("Ebs") or {}).get("VolumeSize")
        if image is None or size is None or mapping.get("DeviceName") != image.root_device_name:
            continue
        needed = images.disk_of(image).size_gib
        if int(size) < needed:
            snapshot = image.ebs_snapshot.id
            message = (
                f"Volume of size {size}GB is smaller than snapshot '{snapshot}', expect size >= {needed}GB"
            )
            raise Refused("InvalidBlockDeviceMapping", message)


# --- whether there is room for it ---------------------------------------------------------------------


@before("ec2:RunInstances")
def type_is_offered_in_zone(call: Call) -> None:
    """A type that the subnet's zone does not offer (t3.micro in us-east-1e): Unsupported. moto starts it.

    Source: aws-facts (g), (j).
    """
    subnet, instance_type = _subnet(call), _instance_type(call)
    zone = subnet.availability_zone if subnet is not None else call.get("Placement.AvailabilityZone")
    offered = sorted(
        offering["Location"]
        for offering in INSTANCE_TYPE_OFFERINGS["availability-zone"].get(call.region, [])
        if offering["InstanceType"] == instance_type
    )
    if zone is not None and instance_type in INSTANCE_TYPES and zone not in offered:
        raise Refused(
            "Unsupported",
            f"Your requested instance type ({instance_type}) is not supported in your requested Availability "
            f"Zone ({zone}). Please retry your request by not specifying an Availability Zone or choosing "
            f"{', '.join(offered)}.",
        )


@around("ec2:RunInstances")
def as_many_as_there_is_room_for(call: Call, proceed: Proceed) -> Any:
    """Between MinCount and MaxCount instances start, as many as quota and subnet allow. moto starts MinCount.

    Source: botocore, RunInstances.
    """
    least, most = int(call.get("MinCount", 1)), int(call.get("MaxCount", 1))
    if not 1 <= least <= most:
        message = (
            f"Invalid value '{least}' for minCount: it must be at least 1 and at most maxCount ({most})."
        )
        raise invalid_value(message)
    room: float = quotas.vcpu_room(call.ec2, _instance_type(call), _is_spot(call))
    subnet = _subnet(call)
    if subnet is not None:
        room = min(room, subnet.available_ip_address_count)
    call.change("MinCount", max(least, int(min(most, room))))
    return proceed()


@before("ec2:RunInstances")
def free_plan(call: Call) -> None:
    """On the Free plan, a type that is not FreeTierEligible: InvalidParameterCombination. moto starts it.

    Source: aws-facts (k); nilbuild/developer-roadmap#10171 for the text.
    """
    if weather.current.account == "free-plan" and not accounts.runs(_instance_type(call)):
        raise Refused(
            "InvalidParameterCombination",
            "The specified instance type is not eligible for Free Tier. For a list of Free Tier instance "
            "types, run 'describe-instance-types' with the filter 'free-tier-eligible=true'.",
        )


@before("ec2:RunInstances")
def vcpu_quota(call: Call) -> None:
    """More vCPUs than the account may run: VcpuLimitExceeded, Spot: MaxSpotInstanceCountExceeded.

    moto counts nothing. Source: aws-facts (f).
    """
    quotas.refuse_over_vcpu_quota(
        call.ec2, _instance_type(call), int(call.get("MinCount", 1)), _is_spot(call)
    )


@before("ec2:RunInstances")
def subnet_has_room(call: Call) -> None:
    """A subnet without a free address: InsufficientFreeAddressesInSubnet. moto raises a bare StopIteration.

    AWS keeps 5 addresses of each subnet. Source: aws-facts (j); VPC user guide, subnet sizing.
    """
    subnet = _subnet(call)
    if subnet is not None and subnet.available_ip_address_count < int(call.get("MinCount", 1)):
        message = "The specified subnet does not have enough free addresses to satisfy the request."
        raise Refused("InsufficientFreeAddressesInSubnet", message)


# --- reading the request ------------------------------------------------------------------------------


def _asked(call: Call, name: str) -> Any:
    """A parameter of the request, or else of the launch template that it names."""
    value = call.get(name)
    template = call.get("LaunchTemplate")
    if value is None and template:
        value = call.ec2._get_template_from_args(template).data.get(name)
    return value


def _instance_type(call: Call) -> str:
    return _asked(call, "InstanceType") or "m1.small"  # botocore, RunInstances: the default


def _interfaces(call: Call) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = call.get("NetworkInterfaces", [])
    return found


def _subnet(call: Call) -> Any:
    """The subnet that a request names, if it is there."""
    named = [call.get("SubnetId"), *(interface.get("SubnetId") for interface in _interfaces(call))]
    for subnets in call.ec2.subnets.values():
        for subnet_id in named:
            if subnet_id in subnets:
                return subnets[subnet_id]
    return None


def _is_spot(call: Call) -> bool:
    return bool(call.get("InstanceMarketOptions.MarketType") == "spot")
