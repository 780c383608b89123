"""What keeps the caller from an instance: addresses, routes, network ACLs, security groups."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from moto import mock_aws
from moto.ec2.models import ec2_backends
from test_services_ec2_instances import FakeHosts
from test_services_support import Case, Net, check, client, frozen, net, table

from awslabs.sandbox import rules
from awslabs.sandbox.services.ec2 import reach

ALL = "0.0.0.0/0"
ME = "127.0.0.1/32"
STRANGER = "203.0.113.7/32"
ROUTE = "the route of its subnet to 127.0.0.1 leads to {}, not to an internet gateway"


def ssh_from(cidr: str, first: int = 22, last: int = 22, protocol: str = "tcp") -> list[dict[str, Any]]:
    ports = {} if protocol == "-1" else {"FromPort": first, "ToPort": last}
    return [{"IpProtocol": protocol, **ports, "IpRanges": [{"CidrIp": cidr}]}]


class Doors:
    """A network with a server that can be reached, and how its door stands."""

    def __init__(self, hosts: FakeHosts) -> None:
        self.hosts, self.ec2 = hosts, client("ec2")
        self.net: Net = net()
        self.route(ALL)
        self.allow(ssh_from(ME))
        self.instance_id = self.net.launch()["InstanceId"]

    def route(self, cidr: str, **target: str) -> None:
        target = target or {"GatewayId": self.net.gateway_id}
        self.ec2.create_route(RouteTableId=self.net.table_id, DestinationCidrBlock=cidr, **target)

    def allow(self, permissions: list[dict[str, Any]]) -> None:
        self.ec2.authorize_security_group_ingress(GroupId=self.net.group_id, IpPermissions=permissions)

    def revoke(self, permissions: list[dict[str, Any]]) -> None:
        self.ec2.revoke_security_group_ingress(GroupId=self.net.group_id, IpPermissions=permissions)

    def acl(self, number: int, action: str, *, egress: bool, first: int = 0, last: int = 65535) -> None:
        """A rule for TCP in the network ACL of the subnet."""
        filters = [{"Name": "association.subnet-id", "Values": [self.net.subnet_id]}]
        (acl,) = self.ec2.describe_network_acls(Filters=filters)["NetworkAcls"]
        self.ec2.create_network_acl_entry(
            NetworkAclId=acl["NetworkAclId"],
            RuleNumber=number,
            RuleAction=action,
            Egress=egress,
            Protocol="6",
            PortRange={"From": first, "To": last},
            CidrBlock=ALL,
        )

    @property
    def open(self) -> bool:
        return self.hosts.doors.get(self.instance_id, True)

    @property
    def why(self) -> str:
        """What the rules say of the server's interface."""
        ec2 = ec2_backends["123456789012"]["us-east-1"]
        (interface,) = ec2.get_instance(self.instance_id).nics.values()
        return reach.no_way_in(ec2, interface, 22)


@pytest.fixture
def doors() -> Iterator[Doors]:
    fake = FakeHosts()
    with frozen(), rules.installed(fake), mock_aws():
        yield Doors(fake)
        fake.gate.set()
        fake.slow_boot.set()


def without_rules(doors: Doors) -> None:
    doors.revoke(ssh_from(ME))


def for_a_stranger(doors: Doors) -> None:
    doors.allow(ssh_from(STRANGER))
    doors.revoke(ssh_from(ME))


def for_another_port(doors: Doors) -> None:
    doors.allow(ssh_from(ALL, 23, 65535))
    doors.allow(ssh_from(ALL, protocol="udp"))
    doors.revoke(ssh_from(ME))


def for_the_group_itself(doors: Doors) -> None:
    pairs = [{"GroupId": doors.net.group_id}]
    doors.allow([{"IpProtocol": "-1", "UserIdGroupPairs": pairs}])
    doors.revoke(ssh_from(ME))


def with_another_group(doors: Doors) -> None:
    other = doors.ec2.create_security_group(VpcId=doors.net.vpc_id, GroupName="other", Description="x")
    doors.ec2.modify_instance_attribute(InstanceId=doors.instance_id, Groups=[other["GroupId"]])


def without_route(doors: Doors) -> None:
    doors.ec2.delete_route(RouteTableId=doors.net.table_id, DestinationCidrBlock=ALL)


def with_another_table(doors: Doors) -> None:
    made = doors.ec2.create_route_table(VpcId=doors.net.vpc_id)["RouteTable"]
    doors.ec2.associate_route_table(RouteTableId=made["RouteTableId"], SubnetId=doors.net.subnet_id)


def route_through_nat(doors: Doors) -> None:
    ec2, vpc_id = doors.ec2, doors.net.vpc_id
    subnet_id = ec2.create_subnet(VpcId=vpc_id, CidrBlock="10.10.1.0/24")["Subnet"]["SubnetId"]
    table_id = ec2.create_route_table(VpcId=vpc_id)["RouteTable"]["RouteTableId"]
    ec2.create_route(RouteTableId=table_id, DestinationCidrBlock=ALL, GatewayId=doors.net.gateway_id)
    ec2.associate_route_table(RouteTableId=table_id, SubnetId=subnet_id)
    address = ec2.allocate_address(Domain="vpc")["AllocationId"]
    nat = ec2.create_nat_gateway(SubnetId=subnet_id, AllocationId=address)["NatGateway"]
    doors.route("127.0.0.0/8", NatGatewayId=nat["NatGatewayId"])  # more specific than 0.0.0.0/0


def acl_denies_ssh(doors: Doors) -> None:
    doors.acl(50, "deny", egress=False, first=22, last=22)


def acl_denies_some_answers(doors: Doors) -> None:
    doors.acl(50, "deny", egress=True, first=50_000, last=50_000)


def stopped(doors: Doors) -> None:
    doors.ec2.stop_instances(InstanceIds=[doors.instance_id])


@pytest.mark.parametrize(
    ("close", "why"),
    [
        (without_rules, "no security group lets 127.0.0.1 in"),
        (for_a_stranger, "no security group lets 127.0.0.1 in"),
        (for_another_port, "no security group lets 127.0.0.1 in"),
        (for_the_group_itself, "no security group lets 127.0.0.1 in"),
        (with_another_group, "no security group lets 127.0.0.1 in"),
        (without_route, ROUTE.format("nowhere")),
        (with_another_table, ROUTE.format("nowhere")),
        (route_through_nat, ROUTE.format("a NAT gateway")),
        (acl_denies_ssh, "the network ACL does not let 127.0.0.1 in"),
        (acl_denies_some_answers, "the network ACL does not let the answers out to 127.0.0.1"),
        (stopped, "it has no public address"),
    ],
)
def test_a_change_closes_the_door_at_once(doors: Doors, close: Callable[[Doors], None], why: str) -> None:
    assert (doors.open, doors.why) == (True, "")
    close(doors)
    assert (doors.open, doors.why) == (False, why)


def test_what_opens_again_lets_in_again(doors: Doors) -> None:
    without_rules(doors)
    for permissions in (ssh_from(ALL), ssh_from("127.0.0.0/8", 1, 1000), ssh_from(ME, protocol="-1")):
        assert not doors.open
        doors.allow(permissions)
        assert doors.open
        doors.revoke(permissions)
    doors.allow(ssh_from(ME))
    doors.acl(50, "deny", egress=False, first=22, last=22)
    assert not doors.open
    doors.acl(40, "allow", egress=False, first=22, last=22)  # the lower number decides
    assert doors.open
    without_route(doors)
    assert not doors.open
    doors.route(ALL)
    assert doors.open
    assert doors.why == ""


def test_a_prefix_list_counts_as_its_ranges(doors: Doors) -> None:
    entries = {"Entries": [{"Cidr": ME}], "MaxEntries": 2, "AddressFamily": "IPv4"}
    made = doors.ec2.create_managed_prefix_list(PrefixListName="me", **entries)["PrefixList"]
    without_rules(doors)
    lists = [{"PrefixListId": made["PrefixListId"]}]
    doors.allow([{"IpProtocol": "tcp", "FromPort": 22, "ToPort": 22, "PrefixListIds": lists}])
    assert doors.open


def test_a_server_without_a_public_address_gets_one_by_an_elastic_ip(doors: Doors) -> None:
    request = {"SubnetId": doors.net.subnet_id, "Groups": [doors.net.group_id], "DeviceIndex": 0}
    interfaces = [request | {"AssociatePublicIpAddress": False}]
    made = doors.net.launch(NetworkInterfaces=interfaces, SubnetId=None, SecurityGroupIds=None)
    doors.instance_id = made["InstanceId"]
    assert (doors.open, doors.why) == (False, "it has no public address")
    address = doors.ec2.allocate_address(Domain="vpc")["AllocationId"]
    doors.ec2.associate_address(AllocationId=address, InstanceId=doors.instance_id)
    assert doors.open
    doors.ec2.disassociate_address(
        AssociationId=doors.ec2.describe_addresses()["Addresses"][0]["AssociationId"]
    )
    assert not doors.open


def test_looking_moves_no_door_and_neither_does_what_has_ended(doors: Doors) -> None:
    told = len(doors.hosts.told)
    doors.ec2.describe_instances()
    doors.allow(ssh_from(STRANGER))  # the caller is in already
    assert len(doors.hosts.told) == told
    doors.ec2.terminate_instances(InstanceIds=[doors.instance_id])
    without_rules(doors)
    assert len(doors.hosts.told) == told


def gateway_of_the_default_vpc() -> list[str]:
    ec2 = client("ec2")
    tables = ec2.describe_route_tables()["RouteTables"]
    attached = [
        each["VpcId"]
        for gw in ec2.describe_internet_gateways()["InternetGateways"]
        for each in gw["Attachments"]
    ]
    assert attached in ([], [tables[0]["VpcId"]])
    return [route["GatewayId"][:3] for route in tables[0]["Routes"]]


CASES = (Case("default_vpc_has_a_gateway", gateway_of_the_default_vpc, ["loc"], ["loc", "igw"]),)


@table(*CASES)
def test_the_default_vpc_reaches_the_world(case: Case) -> None:
    check(case)
