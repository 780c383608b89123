"""EC2: members of answers that AWS sends and moto does not."""

from __future__ import annotations

import copy
import re
from typing import Any

from moto.ec2.models.instance_types import INSTANCE_TYPES

from awslabs.sandbox.core import regions
from awslabs.sandbox.core.engine import Call, Proceed, Refused, around, before, operation, rule
from awslabs.sandbox.services.tagging.tags import missing

TEMPLATE_NAME = re.compile(r"[a-zA-Z0-9().\-/_]{3,128}")


@around("ec2:DescribeAvailabilityZones")
def zones_have_groups(call: Call, proceed: Proceed) -> Any:
    """A zone's group (short and long name), its border group, and that one need not ask to be let in.

    moto has none of these. Source: aws-facts (k).
    """
    answer = proceed()
    region = call.region
    answer.result["AvailabilityZones"] = [
        {
            "State": zone.state,
            "OptInStatus": "opt-in-not-required",
            "Messages": [],
            "RegionName": region,
            "ZoneName": zone.name,
            "ZoneId": zone.zone_id,
            "GroupName": f"{region}-zg-1",
            "GroupLongName": f"{regions.description(region)} 1",
            "NetworkBorderGroup": region,
            "ZoneType": zone.zone_type,
        }
        for zone in answer.result["AvailabilityZones"]
    ]
    return answer


@around("ec2:CreateVpc")
def a_new_vpc_is_pending(call: Call, proceed: Proceed) -> Any:
    """CreateVpc answers that the VPC is pending. moto: available; and so it is in the next answer.

    Source: aws-facts (k).
    """
    answer = proceed()
    shown = copy.copy(answer.result["Vpc"])
    shown.state = "pending"
    answer.result["Vpc"] = shown
    return answer


@operation("ec2:GetSecurityGroupsForVpc")
def groups_of_a_vpc(call: Call) -> dict[str, Any]:
    """GetSecurityGroupsForVpc lists the groups that can be used in a VPC: its own. moto does not know it.

    Source: aws-facts (k).
    """
    vpc = call.ec2.get_vpc(call.get("VpcId"))
    if vpc is None:
        raise missing(str(call.get("VpcId")))
    groups = [
        {
            "GroupId": group.id,
            "GroupName": group.name,
            "Description": group.description,
            "OwnerId": call.account,
            "PrimaryVpcId": vpc.id,
            "Tags": [{"Key": tag["key"], "Value": tag["value"]} for tag in group.get_tags()],
        }
        for group in call.ec2.groups[vpc.id].values()
    ]
    return {"SecurityGroupForVpcs": groups}


@around("ec2:DescribeRouteTables", "ec2:CreateRouteTable")
def tables_propagate_nothing(call: Call, proceed: Proceed) -> Any:
    """A route table has a list of gateways that write routes into it: none. moto has no list.

    Source: aws-facts (k).
    """
    answer = proceed()
    made = [answer.result["RouteTable"]] if "RouteTable" in answer.result else []
    for table in [*answer.result.get("RouteTables", ()), *made]:
        table.propagating_vgws = []
    return answer


@before("ec2:CreateLaunchTemplate")
def launch_templates_are_sound(call: Call) -> None:
    """A launch template without data: MissingParameter; a name with a blank: ...MalformedException.

    moto takes both. Source: aws-facts (k); botocore, CreateLaunchTemplate, LaunchTemplateName.
    """
    if not call.get("LaunchTemplateData"):
        raise Refused("MissingParameter", "The request must contain the parameter LaunchTemplateData")
    if not TEMPLATE_NAME.fullmatch(str(call.get("LaunchTemplateName", ""))):
        raise Refused(
            "InvalidLaunchTemplateName.MalformedException",
            "A launch template name must be between 3 and 128 characters, and may contain letters, numbers, "
            "and the following characters: - ( ) . / _.",
        )


# --- what stands in every answer alike ----------------------------------------------------------------

plain_members = rule(
    "plain_members",
    """Instances, subnets and images have members that are the same for all of a lab's: no capacity reserved,
    no enclave, Linux billed as RunInstances. moto leaves them out. Source: aws-facts (k); botocore.""",
)
OF_INSTANCES: dict[str, Any] = {
    "ena_support": True,
    "platform_details": "Linux/UNIX",
    "usage_operation": "RunInstances",
    "capacity_reservation_specification": {"CapacityReservationPreference": "open"},
    "enclave_options": {"Enabled": False},
    "hibernation_options": {"Configured": False},
    "maintenance_options": {"AutoRecovery": "default", "RebootMigration": "default"},
    "network_performance_options": {"BandwidthWeighting": "default"},
    "operator": {"Managed": False},
    "private_dns_name_options": {
        "HostnameType": "ip-name",
        "EnableResourceNameDnsARecord": False,
        "EnableResourceNameDnsAAAARecord": False,
    },
}
OF_SUBNETS: dict[str, Any] = {
    "enable_dns64": False,
    "map_customer_owned_ip_on_launch": False,
    "block_public_access_states": {"InternetGatewayBlockMode": "off"},
}
OF_IMAGES: dict[str, Any] = {
    "ena_support": True,
    "platform_details": "Linux/UNIX",
    "usage_operation": "RunInstances",
    "sriov_net_support": "simple",
}


@plain_members.around("ec2:RunInstances", "ec2:DescribeInstances")
def _complete_instances(call: Call, proceed: Proceed) -> Any:
    answer = proceed()
    found = answer.result["Reservations"] if call.operation == "ec2:DescribeInstances" else [answer.result]
    for instance in (each for reservation in found for each in reservation.instances):
        vars(instance).update(
            OF_INSTANCES,
            usage_operation_update_time=instance.launch_time,
            cpu_options=_cores(instance.instance_type),
        )
        _as_linux(instance)
    return answer


@plain_members.around("ec2:CreateSubnet", "ec2:DescribeSubnets")
def _complete_subnets(call: Call, proceed: Proceed) -> Any:
    answer = proceed()
    for subnet in answer.result.get("Subnets", [answer.result.get("Subnet")]):
        vars(subnet).update(OF_SUBNETS)
    return answer


@plain_members.around("ec2:DescribeImages")
def _complete_images(call: Call, proceed: Proceed) -> Any:
    answer = proceed()
    for image in answer.result["Images"]:
        vars(image).update(OF_IMAGES)
        _as_linux(image)
    return answer


def _as_linux(thing: Any) -> None:
    """Only Windows has a platform, and a root device is a volume (`ebs`); moto: "Linux/UNIX", "standard"."""
    if str(thing.platform).lower() != "windows":
        thing.platform = None
    if thing.root_device_type == "standard":
        thing.root_device_type = "ebs"


def _cores(instance_type: str) -> dict[str, int] | None:
    """How many cores, and threads on each, a type has."""
    known = INSTANCE_TYPES.get(instance_type, {}).get("VCpuInfo")
    if not known:
        return None
    return {"CoreCount": known["DefaultCores"], "ThreadsPerCore": known["DefaultThreadsPerCore"]}
