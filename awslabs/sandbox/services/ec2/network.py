"""VPCs, subnets, gateways, route tables, interfaces and security groups: what AWS refuses to do to them.

Nearly all of it is one idea, which moto mostly lacks: a thing that something else uses cannot be
deleted. Messages are AWS's own, as people quote them in public issues.
"""

from __future__ import annotations

import functools
import itertools
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from moto.ec2.models import elastic_network_interfaces
from moto.ec2.models.instances import Instance

from awslabs.sandbox.core.engine import Call, Proceed, Refused, around, before, memory, mismatch, rule, state
from awslabs.sandbox.services.servicequotas import quotas
from awslabs.sandbox.services.tagging.tags import invalid_value

_in_use = functools.partial(Refused, "DependencyViolation")

# --- security groups ----------------------------------------------------------------------------------


@before("ec2:DeleteSecurityGroup")
def default_security_group_stays(call: Call) -> None:
    """The default group of a VPC goes with the VPC only: CannotDelete. moto deletes it.

    Source: aws-facts (a), VPC user guide, default-security-group.
    """
    for group in _groups_named(call):
        if group.name == "default":
            raise Refused(
                "CannotDelete",
                f'the specified group: "{group.id}" name: "default" cannot be deleted by a user',
            )


@before("ec2:DeleteSecurityGroup")
def security_group_in_use(call: Call) -> None:
    """A group that a network interface has, or another group's rule names: DependencyViolation.

    moto deletes it. An instance keeps its interface until it is terminated, so shutting-down counts as use.
    A group that names only itself is free. Source: aws-facts (a), (j); botocore, DeleteSecurityGroup.
    """
    for group in _groups_named(call):
        in_use = any(group.id in {each.id for each in eni.group_set} for eni in call.ec2.enis.values())
        if in_use or any(
            other.id != group.id and group.id in _named_by(other) for other in _groups(call.ec2)
        ):
            raise _in_use(f"resource {group.id} has a dependent object")


@before("ec2:CreateSecurityGroup")
def security_group_name_is_valid(call: Call) -> None:
    """Names `sg-…`, `default`, and characters beyond AWS's set: InvalidParameterValue. moto takes them all.

    Source: aws-facts (j); botocore, CreateSecurityGroup (a-z, A-Z, 0-9, spaces, ._-:/()#,@[]+=&;{}!$*).
    """
    for field, value in (
        ("GroupName", call.get("GroupName", "")),
        ("GroupDescription", call.get("Description", "")),
    ):
        if not value.isascii():
            why = "Character sets beyond ASCII are not supported."
        elif field == "GroupName" and value.startswith("sg-"):
            why = "Group names may not be in the format sg-*."
        elif len(value) > 255 or not re.fullmatch(r"[A-Za-z0-9 ._\-:/()#,@\[\]+=&;{}!$*]*", value):
            why = "Valid are up to 255 of a-z, A-Z, 0-9, spaces and ._-:/()#,@[]+=&;{}!$*"
        elif field == "GroupName" and value == "default":
            raise invalid_value("Cannot use reserved security group name: default")
        else:
            continue
        raise invalid_value(f"Value ({value}) for parameter {field} is invalid. {why}")


@before("ec2:CreateSecurityGroup")
def security_group_quota(call: Call) -> None:
    """More groups in a Region than the quota L-E79EC296 allows: SecurityGroupLimitExceeded.

    moto counts only the rules in a group. Source: aws-facts (f).
    """
    if sum(1 for _ in _groups(call.ec2)) >= quotas.limit(call.account, call.region, "vpc", "L-E79EC296"):
        raise Refused("SecurityGroupLimitExceeded", "The maximum number of security groups has been reached.")


# --- subnets ------------------------------------------------------------------------------------------


@before("ec2:CreateSubnet")
def subnet_size_is_valid(call: Call) -> None:
    """A block smaller than /28: InvalidSubnet.Range. moto refuses only what lies outside of the VPC.

    Source: botocore, CreateSubnet; kubernetes/kops#7193, for code and message.
    """
    asked = call.get("CidrBlock", "")
    prefix = asked.rpartition("/")[2]
    if prefix.isdecimal() and 28 < int(prefix) <= 32:
        raise Refused("InvalidSubnet.Range", f"The CIDR '{asked}' is invalid.")


@before("ec2:DeleteSubnet")
def subnet_in_use(call: Call) -> None:
    """A subnet with any network interface in it: DependencyViolation. moto deletes it.

    Source: aws-facts (a), (j); terraform-provider-aws, ec2/vpc_subnet.go.
    """
    subnet_id = call.get("SubnetId")
    if any(eni.subnet.id == subnet_id for eni in call.ec2.enis.values()):
        raise _in_use(f"The subnet '{subnet_id}' has dependencies and cannot be deleted.")


@around("ec2:DeleteSubnet")
def association_goes_with_subnet(call: Call, proceed: Proceed) -> Any:
    """Deleting a subnet ends its association with a route table. moto keeps it, and the table is stuck.

    Source: aws-facts (a), (j).
    """
    answer = proceed()
    for table in call.ec2.route_tables.values():
        for association_id, target in list(table._associations.items()):
            if target == call.get("SubnetId"):
                del table._associations[association_id]
    return answer


# --- route tables and routes --------------------------------------------------------------------------


@before("ec2:DeleteRouteTable")
def main_route_table_stays(call: Call) -> None:
    """The main route table goes with its VPC only: DependencyViolation. moto deletes it.

    moto itself refuses a table that is still associated. Source: aws-facts (a), (j).
    """
    table = call.ec2.route_tables.get(call.get("RouteTableId"))
    if table is not None and table.main_association_id is not None:
        raise _in_use(f"The routeTable '{table.id}' has dependencies and cannot be deleted.")


@before("ec2:CreateRoute", "ec2:ReplaceRoute")
def route_needs_attached_gateway(call: Call) -> None:
    """A route to an internet gateway of another VPC, or of none: InvalidParameterValue. moto takes it.

    An unknown gateway is InvalidGatewayID.NotFound here (moto: InvalidInternetGatewayID.NotFound).
    Source: aws-facts (j); smoketurner/serverless-vpc-plugin#147 for code and message.
    """
    gateway_id = call.get("GatewayId", "")
    table = call.ec2.route_tables.get(call.get("RouteTableId"))
    if table is None or not gateway_id.startswith("igw-"):
        return
    gateway = call.ec2.internet_gateways.get(gateway_id)
    if gateway is None:
        raise Refused("InvalidGatewayID.NotFound", f"The gateway ID '{gateway_id}' does not exist")
    if gateway.vpc is None or gateway.vpc.id != table.vpc_id:
        message = f"route table {table.id} and network gateway {gateway_id} belong to different networks"
        raise invalid_value(message)


@before("ec2:AssociateRouteTable")
def subnet_has_one_route_table(call: Call) -> None:
    """A subnet associated with another table already: Resource.AlreadyAssociated. moto: the old association.

    The same table again gives the same association, as in moto. Source: terraform-provider-aws,
    website/docs/r/route_table_association.
    """
    subnet_id, table_id = call.get("SubnetId"), call.get("RouteTableId")
    for table in call.ec2.route_tables.values():
        if table.id != table_id and subnet_id is not None and subnet_id in table._associations.values():
            message = (
                f"the specified association for route table {table_id} conflicts with an existing association"
            )
            raise Refused("Resource.AlreadyAssociated", message)


@around("ec2:CreateRouteTable")
def route_table_client_token(call: Call, proceed: Proceed) -> Any:
    """The same ClientToken gives the same route table. moto makes another one.

    botocore fills the token in, so its silent resend after a cut connection makes one table on AWS.
    Source: aws-facts (c).
    """
    tables = memory(call.ec2, RouteTableTokens)
    token = call.get("ClientToken")
    vpc_id, answer = tables.get(token, (None, None))
    if answer is None or answer.result["RouteTable"].id not in call.ec2.route_tables:
        answer = proceed()
        if token is not None:
            tables[token] = (call.get("VpcId"), answer)
    elif vpc_id != call.get("VpcId"):
        raise mismatch()
    return answer


@state
class RouteTableTokens(dict[str, tuple[str, Any]]):
    """ClientToken -> (VPC, moto's answer)."""


# --- internet gateways --------------------------------------------------------------------------------


@before("ec2:AttachInternetGateway")
def one_gateway_per_vpc(call: Call) -> None:
    """A second internet gateway for a VPC: InvalidParameterValue. moto attaches it.

    moto itself answers Resource.AlreadyAssociated for a gateway that is attached. Source: aws-facts (c), (j).
    """
    gateway = call.ec2.internet_gateways.get(call.get("InternetGatewayId"))
    vpc_id = call.get("VpcId")
    if gateway is None or gateway.vpc is not None:
        return
    if any(other.vpc is not None and other.vpc.id == vpc_id for other in call.ec2.internet_gateways.values()):
        raise invalid_value(f"Network {vpc_id} already has an internet gateway attached")


@before("ec2:DetachInternetGateway")
def gateway_carries_public_addresses(call: Call) -> None:
    """Detaching while an interface in the VPC has a public address: DependencyViolation. moto detaches.

    Source: aws-facts (a), (j); terraform-provider-aws, ec2/vpc_internet_gateway.go.
    """
    gateway = call.ec2.internet_gateways.get(call.get("InternetGatewayId"))
    vpc_id = call.get("VpcId")
    if gateway is None or gateway.vpc is None or gateway.vpc.id != vpc_id:
        return  # moto: Gateway.NotAttached
    if any(eni.public_ip and eni.vpc_id == vpc_id for eni in call.ec2.enis.values()):
        raise _in_use(
            f"Network {vpc_id} has some mapped public address(es). "
            "Please unmap those public address(es) before detaching the gateway.",
        )


@before("ec2:CreateInternetGateway")
def gateway_quota(call: Call) -> None:
    """More internet gateways than the quota L-A4707A72 allows: InternetGatewayLimitExceeded.

    moto counts nothing. Source: aws-facts (f).
    """
    if len(call.ec2.internet_gateways) >= quotas.limit(call.account, call.region, "vpc", "L-A4707A72"):
        raise Refused(
            "InternetGatewayLimitExceeded", "The maximum number of internet gateways has been reached."
        )


# --- interfaces and addresses -------------------------------------------------------------------------


@before("ec2:DeleteNetworkInterface")
def interface_in_use(call: Call) -> None:
    """An interface that is attached: InvalidParameterValue. moto deletes it under the instance.

    Source: terraform-provider-aws, ec2/vpc_network_interface.go, for "is currently in use".
    """
    eni = call.ec2.enis.get(call.get("NetworkInterfaceId"))
    if eni is not None and eni.instance is not None:
        raise invalid_value(f"Network interface '{eni.id}' is currently in use.")


@around("ec2:DeleteNatGateway")
def interface_goes_with_nat_gateway(call: Call, proceed: Proceed) -> Any:
    """The interface of a NAT gateway goes with it, so that its subnet can go. moto keeps it for ever."""
    answer = proceed()
    eni = call.ec2.nat_gateways[call.get("NatGatewayId")]._eni
    for address in call.ec2.addresses:
        if address.eni is eni:
            address.eni, address.association_id = None, None
    call.ec2.enis.pop(eni.id, None)
    return answer


@before("ec2:AllocateAddress")
def address_quota(call: Call) -> None:
    """More Elastic IPs than the quota L-0263D0A3 allows: AddressLimitExceeded. moto counts nothing.

    Source: aws-facts (f).
    """
    if len(call.ec2.addresses) >= quotas.limit(call.account, call.region, "ec2", "L-0263D0A3"):
        raise Refused("AddressLimitExceeded", "The maximum number of addresses has been reached.")


local_addresses = rule(
    "local_addresses",
    """The practice cloud hands out no public address outside 127.0.0.0/8: an instance has 127.0.0.1.

    moto invents addresses that belong to others. An Elastic IP gets an address of its own, 127.1.x.y, since
    moto finds it by that. The public DNS name is `localhost`, and there is none unless the VPC has DNS
    hostnames on, as on AWS (moto invents one always). Source: DESIGN section 1; VPC user guide, vpc-dns.""",
)
_elastic = itertools.count(1)


@local_addresses.patch(elastic_network_interfaces, "random_public_ip")
def _public_address(original: Callable[[], str]) -> str:
    return "127.0.0.1"


@local_addresses.before("ec2:AllocateAddress")
def _elastic_address(call: Call) -> None:
    if not call.get("Address"):
        number = next(_elastic) % 0xFE01
        call.change("Address", f"127.1.{number // 254}.{number % 254 + 1}")


@local_addresses.patch(Instance, "public_dns_name")
def _public_dns_name(original: Callable[[Any], str | None], instance: Any) -> str:
    return _name_in(instance.ec2_backend, instance.vpc_id) if instance.public_ip else ""


@local_addresses.patch(elastic_network_interfaces.NetworkInterface, "association")
def _association(original: Callable[[Any], dict[str, Any]], eni: Any) -> dict[str, Any]:
    association = original(eni)
    return association and association | {"publicDnsName": _name_in(eni.ec2_backend, eni.vpc_id)}


def _name_in(ec2: Any, vpc_id: str) -> str:
    """The DNS name of a public address in a VPC."""
    vpc = ec2.vpcs.get(vpc_id)
    return "localhost" if vpc is not None and str(vpc.enable_dns_hostnames).lower() == "true" else ""


# --- VPCs ---------------------------------------------------------------------------------------------


@before("ec2:CreateVpc")
def vpc_quota(call: Call) -> None:
    """More VPCs than the quota L-F678F1CE allows, the default one included: VpcLimitExceeded.

    moto counts nothing. Source: aws-facts (f), (j).
    """
    if len(call.ec2.vpcs) >= quotas.limit(call.account, call.region, "vpc", "L-F678F1CE"):
        raise Refused("VpcLimitExceeded", "The maximum number of VPCs has been reached.")


@before("ec2:DeleteVpc")
def vpc_in_use(call: Call) -> None:
    """A VPC with anything but its default group, main table and default ACL: DependencyViolation.

    moto refuses for subnets, route tables and VPN gateways, but deletes a VPC under an attached
    gateway or with groups of one's own, and leaves those orphaned. Source: aws-facts (a), (j).
    """
    vpc_id = call.get("VpcId")
    if any(True for _ in _dependents(call.ec2, vpc_id)):
        raise _in_use(f"The vpc '{vpc_id}' has dependencies and cannot be deleted.")


@around("ec2:DeleteVpc")
def default_acl_goes_with_vpc(call: Call, proceed: Proceed) -> Any:
    """The default network ACL goes with its VPC. moto keeps it for ever. Source: aws-facts (e)."""
    answer = proceed()
    for acl in [acl for acl in call.ec2.network_acls.values() if acl.vpc_id == call.get("VpcId")]:
        del call.ec2.network_acls[acl.id]
    return answer


@state
@dataclass
class Equipped:
    """The default VPC that has been given its gateway; whoever takes that away has taken it."""

    vpc_id: str = ""


@around("ec2:*")
def default_vpc_has_a_gateway(call: Call, proceed: Proceed) -> Any:
    """The default VPC has an internet gateway, and the route 0.0.0.0/0 to it in its main table: what is
    launched there can be reached. moto gives it neither. Source: VPC user guide, default-vpc.
    """
    ec2, equipped = call.ec2, memory(call.ec2, Equipped)
    vpc = ec2.get_default_vpc()
    if vpc is not None and equipped.vpc_id != vpc.id:
        equipped.vpc_id = vpc.id
        gateway = ec2.create_internet_gateway()
        ec2.attach_internet_gateway(gateway.id, vpc.id)
        main = next(table for table in ec2.route_tables.values() if table.vpc_id == vpc.id)
        ec2.create_route(main.id, "0.0.0.0/0", gateway_id=gateway.id)
    return proceed()


def _dependents(ec2: Any, vpc_id: str) -> Iterator[Any]:
    """What keeps a VPC from being deleted."""
    yield from (
        subnet for zone in ec2.subnets.values() for subnet in zone.values() if subnet.vpc_id == vpc_id
    )
    yield from (igw for igw in ec2.internet_gateways.values() if igw.vpc is not None and igw.vpc.id == vpc_id)
    yield from (t for t in ec2.route_tables.values() if t.vpc_id == vpc_id and t.main_association_id is None)
    yield from (group for group in _groups(ec2) if group.vpc_id == vpc_id and group.name != "default")
    yield from (eni for eni in ec2.enis.values() if eni.vpc_id == vpc_id)
    yield from (acl for acl in ec2.network_acls.values() if acl.vpc_id == vpc_id and not acl.default)
    yield from (end for end in ec2.vpc_end_points.values() if end.vpc_id == vpc_id and end.state != "deleted")
    yield from (nat for nat in ec2.nat_gateways.values() if nat.vpc_id == vpc_id and nat.state != "deleted")


# --- looking around -----------------------------------------------------------------------------------


def _groups(ec2: Any) -> Iterator[Any]:
    """All security groups."""
    for groups in list(ec2.groups.values()):
        yield from list(groups.values())


def _groups_named(call: Call) -> list[Any]:
    """The groups that a request means: by id, or by name in the default VPC."""
    wanted_id, name = call.get("GroupId"), call.get("GroupName")
    if wanted_id is not None:
        return [group for group in _groups(call.ec2) if group.id == wanted_id]
    default = call.ec2.get_default_vpc()
    return [g for g in _groups(call.ec2) if name and g.name == name and default and g.vpc_id == default.id]


def _named_by(group: Any) -> set[str]:
    """The groups that another group's rules let in or out."""
    return {rule.source_group.get("GroupId", "") for rule in group.ingress_rules + group.egress_rules}
