"""A network with a way to the internet, as chapters 2 to 4 need one: what chapter 1 shows call by call."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from awslabs.ledger import Ledger, ensure


class Subnet(NamedTuple):
    """A part of a network, in one zone: its row in the ledger, ``us-east-1a``, ``10.10.0.0/24``."""

    row: str
    zone: str
    cidr: str


def public_network(ledger: Ledger, cidr: str, subnets: Sequence[Subnet]) -> tuple[str, list[str]]:
    """A network whose servers get public addresses, and its road to the internet.

    AWS calls: ``ec2:CreateVpc``, ``CreateSubnet`` and ``ModifySubnetAttribute`` for each subnet,
    ``CreateInternetGateway``, ``AttachInternetGateway``, ``CreateRoute``.

    Parameters
    ----------
    cidr : str
        The network's addresses, /16 to /28: ``10.10.0.0/23``.
    subnets : sequence of Subnet
        Its parts; each within ``cidr``.

    Returns
    -------
    (str, list of str)
        The VPC's id, and the subnets' in their order.
    """
    ec2 = ledger.client("ec2")
    vpc_id = ledger.create("vpc", ec2.create_vpc, CidrBlock=cidr)
    subnet_ids = []
    for subnet in subnets:
        subnet_id = ledger.create(
            subnet.row,
            ec2.create_subnet,
            VpcId=vpc_id,
            CidrBlock=subnet.cidr,
            AvailabilityZone=subnet.zone,
        )
        ensure(ec2.modify_subnet_attribute, SubnetId=subnet_id, MapPublicIpOnLaunch={"Value": True})
        subnet_ids.append(subnet_id)
    igw_id = ledger.create("internet-gateway", ec2.create_internet_gateway)
    ledger.create("gateway-attachment", ec2.attach_internet_gateway, InternetGatewayId=igw_id, VpcId=vpc_id)
    ensure(
        ec2.create_route,
        RouteTableId=main_route_table(ec2, vpc_id),
        DestinationCidrBlock="0.0.0.0/0",
        GatewayId=igw_id,
    )
    return vpc_id, subnet_ids


def main_route_table(ec2: Any, vpc_id: str) -> str:
    """The route table that every VPC is born with."""
    answer = ec2.describe_route_tables(
        Filters=[{"Name": "vpc-id", "Values": [vpc_id]}, {"Name": "association.main", "Values": ["true"]}]
    )
    return str(answer["RouteTables"][0]["RouteTableId"])
