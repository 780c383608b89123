"""The rules of networks: what is in use cannot be deleted, and what there is only one of cannot be two."""

from __future__ import annotations

import pytest
from moto.ec2.models import ec2_backends
from test_services_support import Case, check, client, cloud, net, refused, said, table

from awslabs.sandbox.services.ec2.reach import no_way_out
from awslabs.sandbox.services.servicequotas import quotas

NEW = (("account", "new"),)


def default_group() -> str:
    here = net()
    filters = [{"Name": "vpc-id", "Values": [here.vpc_id]}, {"Name": "group-name", "Values": ["default"]}]
    group = client("ec2").describe_security_groups(Filters=filters)["SecurityGroups"][0]
    return said(client("ec2").delete_security_group, GroupId=group["GroupId"])


def group_of_an_instance() -> str:
    here = net()
    here.launch()
    return said(client("ec2").delete_security_group, GroupId=here.group_id)


def group_named_by_another_group() -> list[str]:
    here, ec2 = net(), client("ec2")
    other = ec2.create_security_group(VpcId=here.vpc_id, GroupName="other", Description="x")["GroupId"]
    permission = {
        "IpProtocol": "tcp",
        "FromPort": 1,
        "ToPort": 2,
        "UserIdGroupPairs": [{"GroupId": here.group_id}],
    }
    for group_id in (other, here.group_id):  # naming itself is no use
        ec2.authorize_security_group_ingress(GroupId=group_id, IpPermissions=[permission])
    first = said(ec2.delete_security_group, GroupId=here.group_id)
    said(ec2.revoke_security_group_ingress, GroupId=other, IpPermissions=[permission])
    return [first, said(ec2.delete_security_group, GroupId=here.group_id)]


def group_called(name: str, description: str = "x") -> str:
    return said(
        client("ec2").create_security_group, VpcId=net().vpc_id, GroupName=name, Description=description
    )


def group_names() -> list[str]:
    return [
        group_called(name) for name in ("sg-lab", "größe", "a" * 256, "semi~colon", "default", "lab (1)_2")
    ]


def group_description() -> str:
    return group_called("fine", "größe")


def subnet_with_an_instance() -> str:
    here = net()
    here.launch()
    return said(client("ec2").delete_subnet, SubnetId=here.subnet_id)


def subnet_with_an_interface() -> str:
    here = net()
    client("ec2").create_network_interface(SubnetId=here.subnet_id)
    return said(client("ec2").delete_subnet, SubnetId=here.subnet_id)


def subnet_sizes() -> list[str]:
    vpc_id, create = net().vpc_id, client("ec2").create_subnet
    return [said(create, VpcId=vpc_id, CidrBlock=f"10.10.1.{each}") for each in ("0/32", "8/29", "16/28")]


def table_of_a_deleted_subnet() -> str:
    here, ec2 = net(), client("ec2")
    table_id = ec2.create_route_table(VpcId=here.vpc_id)["RouteTable"]["RouteTableId"]
    ec2.associate_route_table(RouteTableId=table_id, SubnetId=here.subnet_id)
    ec2.delete_subnet(SubnetId=here.subnet_id)
    return said(ec2.delete_route_table, RouteTableId=table_id)


def main_table() -> str:
    return said(client("ec2").delete_route_table, RouteTableId=net().table_id)


def route_to(gateway_id: str, table_id: str) -> str:
    request = {"RouteTableId": table_id, "DestinationCidrBlock": "0.0.0.0/0", "GatewayId": gateway_id}
    return said(client("ec2").create_route, **request)


def route_to_a_loose_gateway() -> str:
    return route_to(
        client("ec2").create_internet_gateway()["InternetGateway"]["InternetGatewayId"], net().table_id
    )


def route_to_anothers_gateway() -> str:
    return route_to(net().gateway_id, net().table_id)


def route_to_no_gateway() -> str:
    return route_to("igw-0123456789abcdef0", net().table_id)


def route_replaced_by_a_loose_gateway() -> list[str]:
    here, ec2 = net(), client("ec2")
    loose = ec2.create_internet_gateway()["InternetGateway"]["InternetGatewayId"]
    made = route_to(here.gateway_id, here.table_id)
    request = {"RouteTableId": here.table_id, "DestinationCidrBlock": "0.0.0.0/0", "GatewayId": loose}
    return [made, said(ec2.replace_route, **request)]


def subnet_in_two_tables() -> list[str]:
    here, ec2 = net(), client("ec2")
    first, second = (
        ec2.create_route_table(VpcId=here.vpc_id)["RouteTable"]["RouteTableId"] for _ in range(2)
    )
    return [
        said(ec2.associate_route_table, RouteTableId=each, SubnetId=here.subnet_id)
        for each in (first, first, second)
    ]


def table_made_twice_with_one_token() -> list[object]:
    here, ec2 = net(), client("ec2")
    made = [ec2.create_route_table(VpcId=here.vpc_id, ClientToken="t")["RouteTable"] for _ in range(2)]
    same = made[0]["RouteTableId"] == made[1]["RouteTableId"]
    other_vpc = said(ec2.create_route_table, VpcId=net().vpc_id, ClientToken="t")
    ec2.delete_route_table(RouteTableId=made[0]["RouteTableId"])
    return [same, other_vpc, said(ec2.create_route_table, VpcId=here.vpc_id, ClientToken="t")]


def second_gateway() -> str:
    here, ec2 = net(), client("ec2")
    other = ec2.create_internet_gateway()["InternetGateway"]["InternetGatewayId"]
    return said(ec2.attach_internet_gateway, InternetGatewayId=other, VpcId=here.vpc_id)


def gateway_under_a_public_instance() -> str:
    here = net()
    here.launch()
    return said(client("ec2").detach_internet_gateway, InternetGatewayId=here.gateway_id, VpcId=here.vpc_id)


def gateway_under_a_private_instance() -> str:
    here, ec2 = net(), client("ec2")
    ec2.modify_subnet_attribute(SubnetId=here.subnet_id, MapPublicIpOnLaunch={"Value": False})
    here.launch()
    return said(ec2.detach_internet_gateway, InternetGatewayId=here.gateway_id, VpcId=here.vpc_id)


def many_vpcs() -> list[str]:
    return [said(client("ec2").create_vpc, CidrBlock="10.0.0.0/16") for _ in range(6)]


def many_gateways() -> list[str]:
    return [said(client("ec2").create_internet_gateway) for _ in range(6)]


def one_group_more() -> str:
    here = net()
    quotas.granted["123456789012", "us-east-1", "L-E79EC296"] = 3  # that of the default VPC, and two here
    return said(client("ec2").create_security_group, VpcId=here.vpc_id, GroupName="more", Description="x")


def many_addresses() -> list[str]:
    return [said(client("ec2").allocate_address, Domain="vpc") for _ in range(6)]


def vpc_under_a_gateway() -> str:
    here, ec2 = net(), client("ec2")
    ec2.delete_subnet(SubnetId=here.subnet_id)
    ec2.delete_security_group(GroupId=here.group_id)
    return said(ec2.delete_vpc, VpcId=here.vpc_id)


def vpc_with_a_group() -> str:
    here, ec2 = net(), client("ec2")
    ec2.delete_subnet(SubnetId=here.subnet_id)
    ec2.detach_internet_gateway(InternetGatewayId=here.gateway_id, VpcId=here.vpc_id)
    return said(ec2.delete_vpc, VpcId=here.vpc_id)


def acls_after_the_vpc() -> int:
    ec2 = client("ec2")
    vpc_id = ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
    ec2.delete_vpc(VpcId=vpc_id)
    return len(ec2.describe_network_acls(Filters=[{"Name": "vpc-id", "Values": [vpc_id]}])["NetworkAcls"])


def interface_under_an_instance() -> str:
    eni_id = net().launch()["NetworkInterfaces"][0]["NetworkInterfaceId"]
    return said(client("ec2").delete_network_interface, NetworkInterfaceId=eni_id)


def subnet_of_a_nat_gateway() -> int:
    here, ec2 = net(), client("ec2")
    address = ec2.allocate_address(Domain="vpc")["AllocationId"]
    nat = ec2.create_nat_gateway(SubnetId=here.subnet_id, AllocationId=address)["NatGateway"]["NatGatewayId"]
    ec2.delete_nat_gateway(NatGatewayId=nat)
    ec2.release_address(AllocationId=address)
    return len(ec2.describe_network_interfaces()["NetworkInterfaces"])


def addresses() -> list[bool]:
    public = net().launch()["PublicIpAddress"]
    elastic = [client("ec2").allocate_address(Domain="vpc")["PublicIp"] for _ in range(3)]
    return [public == "127.0.0.1", all(each.startswith("127.1.") for each in elastic), len(set(elastic)) == 3]


def names_of_public_addresses() -> list[str]:
    here, ec2 = net(), client("ec2")
    before = here.launch()["PublicDnsName"]
    ec2.modify_vpc_attribute(VpcId=here.vpc_id, EnableDnsHostnames={"Value": True})
    return [before and "a name", here.launch()["PublicDnsName"].rpartition(".")[2]]


def a_dry_run() -> list[object]:
    ec2 = client("ec2")
    before = len(ec2.describe_vpcs()["Vpcs"])
    answer = said(ec2.create_vpc, CidrBlock="10.0.0.0/16", DryRun=True)
    return [answer, len(ec2.describe_vpcs()["Vpcs"]) - before]


CASES = (
    Case("dry_runs_do_nothing", a_dry_run, ["ok", 1], ["DryRunOperation", 0]),
    Case("default_security_group_stays", default_group, "ok", "CannotDelete"),
    Case("security_group_in_use", group_of_an_instance, "ok", "DependencyViolation"),
    Case(
        "security_group_in_use",
        group_named_by_another_group,
        ["ok", "InvalidGroup.NotFound"],
        ["DependencyViolation", "ok"],
    ),
    Case(
        "security_group_name_is_valid",
        group_names,
        ["ok", "ok", "ok", "ok", "InvalidGroup.Duplicate", "ok"],
        ["InvalidParameterValue"] * 5 + ["ok"],
    ),
    Case("security_group_name_is_valid", group_description, "ok", "InvalidParameterValue"),
    Case("subnet_in_use", subnet_with_an_instance, "ok", "DependencyViolation"),
    Case("subnet_in_use", subnet_with_an_interface, "ok", "DependencyViolation"),
    Case("subnet_size_is_valid", subnet_sizes, ["ok"] * 3, ["InvalidSubnet.Range"] * 2 + ["ok"]),
    Case("association_goes_with_subnet", table_of_a_deleted_subnet, "DependencyViolation", "ok"),
    Case("main_route_table_stays", main_table, "ok", "DependencyViolation"),
    Case("route_needs_attached_gateway", route_to_a_loose_gateway, "ok", "InvalidParameterValue"),
    Case("route_needs_attached_gateway", route_to_anothers_gateway, "ok", "InvalidParameterValue"),
    Case(
        "route_needs_attached_gateway",
        route_to_no_gateway,
        "InvalidInternetGatewayID.NotFound",
        "InvalidGatewayID.NotFound",
    ),
    Case(
        "route_needs_attached_gateway",
        route_replaced_by_a_loose_gateway,
        ["ok", "ok"],
        ["ok", "InvalidParameterValue"],
    ),
    Case(
        "subnet_has_one_route_table",
        subnet_in_two_tables,
        ["ok", "ok", "ok"],
        ["ok", "ok", "Resource.AlreadyAssociated"],
    ),
    Case(
        "route_table_client_token",
        table_made_twice_with_one_token,
        [False, "ok", "ok"],
        [True, "IdempotentParameterMismatch", "ok"],
    ),
    Case("one_gateway_per_vpc", second_gateway, "ok", "InvalidParameterValue"),
    Case("gateway_carries_public_addresses", gateway_under_a_public_instance, "ok", "DependencyViolation"),
    Case("vpc_quota", many_vpcs, ["ok"] * 6, ["ok"] * 4 + ["VpcLimitExceeded"] * 2, NEW),
    Case("gateway_quota", many_gateways, ["ok"] * 6, ["ok"] * 5 + ["InternetGatewayLimitExceeded"], NEW),
    Case("security_group_quota", one_group_more, "ok", "SecurityGroupLimitExceeded"),
    Case("address_quota", many_addresses, ["ok"] * 6, ["ok"] * 5 + ["AddressLimitExceeded"], NEW),
    Case("vpc_in_use", vpc_under_a_gateway, "ok", "DependencyViolation"),
    Case("vpc_in_use", vpc_with_a_group, "ok", "DependencyViolation"),
    Case("default_acl_goes_with_vpc", acls_after_the_vpc, 1, 0),
    Case("interface_in_use", interface_under_an_instance, "ok", "InvalidParameterValue"),
    Case("interface_goes_with_nat_gateway", subnet_of_a_nat_gateway, 1, 0),
    Case("local_addresses", addresses, [False, False, True], [True, True, True]),
    Case("local_addresses", names_of_public_addresses, ["a name", "com"], ["", "localhost"]),
)


@table(*CASES)
def test_moto_lets_it_pass_and_aws_does_not(case: Case) -> None:
    check(case)


def test_a_private_instance_does_not_hold_the_gateway() -> None:
    with cloud("gateway_carries_public_addresses"):
        assert gateway_under_a_private_instance() == "ok"


def test_a_network_can_be_deleted_in_the_right_order_and_leaves_nothing() -> None:
    with cloud(every=True):
        ec2 = client("ec2")
        before = len(ec2.describe_vpcs()["Vpcs"]), len(ec2.describe_network_acls()["NetworkAcls"])
        here = net()
        route_to(here.gateway_id, here.table_id)
        instance_id = here.launch()["InstanceId"]
        ec2.terminate_instances(InstanceIds=[instance_id])
        ec2.delete_security_group(GroupId=here.group_id)
        ec2.delete_subnet(SubnetId=here.subnet_id)
        ec2.detach_internet_gateway(InternetGatewayId=here.gateway_id, VpcId=here.vpc_id)
        ec2.delete_internet_gateway(InternetGatewayId=here.gateway_id)
        ec2.delete_vpc(VpcId=here.vpc_id)
        assert (len(ec2.describe_vpcs()["Vpcs"]), len(ec2.describe_network_acls()["NetworkAcls"])) == before
        of_it = [{"Name": "vpc-id", "Values": [here.vpc_id]}]
        assert ec2.describe_security_groups(Filters=of_it)["SecurityGroups"] == []
        assert ec2.describe_route_tables(Filters=of_it)["RouteTables"] == []
        assert ec2.describe_network_interfaces()["NetworkInterfaces"] == []
        assert ec2.describe_volumes()["Volumes"] == []


@pytest.mark.parametrize("every", [False, True], ids=["moto", "rules"])
def test_what_moto_does_right_by_itself_stays_right(every: bool) -> None:
    with cloud(every=every):
        here, ec2 = net(), client("ec2")
        assert said(ec2.delete_internet_gateway, InternetGatewayId=here.gateway_id) == "DependencyViolation"
        attach = {"InternetGatewayId": here.gateway_id, "VpcId": here.vpc_id}
        assert said(ec2.attach_internet_gateway, **attach) == "Resource.AlreadyAssociated"
        subnet = {"VpcId": here.vpc_id, "CidrBlock": "10.10.0.0/24"}
        assert said(ec2.create_subnet, **subnet) == "InvalidSubnet.Conflict"
        group = {"VpcId": here.vpc_id, "GroupName": "lab", "Description": "x"}
        assert said(ec2.create_security_group, **group) == "InvalidGroup.Duplicate"
        allow = {
            "GroupId": here.group_id,
            "IpProtocol": "tcp",
            "FromPort": 22,
            "ToPort": 22,
            "CidrIp": "1.2.3.4/32",
        }
        assert [said(ec2.authorize_security_group_ingress, **allow) for _ in range(2)] == [
            "ok",
            "InvalidPermission.Duplicate",
        ]
        assert [route_to(here.gateway_id, here.table_id) for _ in range(2)] == ["ok", "RouteAlreadyExists"]
        ec2.detach_internet_gateway(**attach)
        assert said(ec2.detach_internet_gateway, **attach) == "Gateway.NotAttached"
        assert said(ec2.delete_vpc, VpcId="vpc-0123456789abcdef0") == "InvalidVpcID.NotFound"
        assert said(ec2.delete_subnet, SubnetId="subnet-0123456789abcdef0") == "InvalidSubnetID.NotFound"
        assert said(ec2.delete_security_group, GroupId="sg-0123456789abcdef0") == "InvalidGroup.NotFound"


def test_the_sentences_are_those_of_aws() -> None:
    with cloud(every=True):
        here, ec2 = net(), client("ec2")
        here.launch()
        assert refused(ec2.detach_internet_gateway, InternetGatewayId=here.gateway_id, VpcId=here.vpc_id) == (
            "DependencyViolation",
            f"Network {here.vpc_id} has some mapped public address(es). "
            "Please unmap those public address(es) before detaching the gateway.",
            400,
        )
        assert refused(ec2.delete_security_group, GroupId=here.group_id) == (
            "DependencyViolation",
            f"resource {here.group_id} has a dependent object",
            400,
        )
        assert refused(ec2.create_subnet, VpcId=here.vpc_id, CidrBlock="10.10.1.0/29") == (
            "InvalidSubnet.Range",
            "The CIDR '10.10.1.0/29' is invalid.",
            400,
        )


NO_ROUTE, NO_ADDRESS = "its subnet has no route to the internet", "it has no public address"


@pytest.mark.parametrize(
    ("what", "why"),
    [
        ((), NO_ROUTE),
        (("route",), ""),
        (("route", "no address"), NO_ADDRESS),
        (("route", "own table"), NO_ROUTE),  # that of the subnet counts, not the VPC's main one
        (("route", "no address", "nat"), ""),
        (("no address", "endpoint"), ""),
        (("route", "shut"), "no security group lets it out"),
    ],
)
def test_a_way_out_of_a_vpc(what: tuple[str, ...], why: str) -> None:
    with cloud(every=True):
        here, ec2 = net(), client("ec2")
        if "no address" in what:
            ec2.modify_subnet_attribute(SubnetId=here.subnet_id, MapPublicIpOnLaunch={"Value": False})
        if "nat" in what:
            address = ec2.allocate_address(Domain="vpc")["AllocationId"]
            nat = ec2.create_nat_gateway(SubnetId=here.subnet_id, AllocationId=address)["NatGateway"]
            asked = {"VpcId": here.vpc_id, "CidrBlock": "10.10.1.0/24", "AvailabilityZone": "us-east-1a"}
            inside = ec2.create_subnet(**asked)["Subnet"]["SubnetId"]
            own = ec2.create_route_table(VpcId=here.vpc_id)["RouteTable"]["RouteTableId"]
            ec2.associate_route_table(RouteTableId=own, SubnetId=inside)
            to_nat = {"RouteTableId": own, "DestinationCidrBlock": "0.0.0.0/0"}
            ec2.create_route(**to_nat, NatGatewayId=nat["NatGatewayId"])
        if "route" in what:
            assert route_to(here.gateway_id, here.table_id) == "ok"
        if "own table" in what:
            own = ec2.create_route_table(VpcId=here.vpc_id)["RouteTable"]["RouteTableId"]
            ec2.associate_route_table(RouteTableId=own, SubnetId=here.subnet_id)
        if "endpoint" in what:
            name = "com.amazonaws.us-east-1.ecr.dkr"
            ec2.create_vpc_endpoint(VpcId=here.vpc_id, ServiceName=name, VpcEndpointType="Interface")
        if "shut" in what:
            everything = {"IpProtocol": "-1", "IpRanges": [{"CidrIp": "0.0.0.0/0"}]}
            ec2.revoke_security_group_egress(GroupId=here.group_id, IpPermissions=[everything])
        launched = here.launch(SubnetId=inside if "nat" in what else here.subnet_id)
        backend = ec2_backends["123456789012"]["us-east-1"]
        eni = backend.get_instance(launched["InstanceId"]).nics[0]
        assert no_way_out(backend, eni, endpoint="ecr.dkr") == why
        assert no_way_out(backend, eni, endpoint="ecs") == (NO_ROUTE if "endpoint" in what else why)
