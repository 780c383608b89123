"""Members of EC2's answers that AWS sends: moto alone, then with the rule."""

from __future__ import annotations

from typing import Any

from test_services_support import Case, check, client, cloud, net, refused, said, table

from awslabs.sandbox.services.ec2 import answers  # noqa: F401  (rules that this needs)


def a_zone() -> list[Any]:
    (zone,) = client("ec2").describe_availability_zones(ZoneNames=["us-east-1b"])["AvailabilityZones"]
    names = ("GroupName", "GroupLongName", "NetworkBorderGroup", "OptInStatus")
    return [zone.get(name) for name in names]


def a_new_vpc() -> list[str]:
    ec2 = client("ec2")
    made = ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]
    (shown,) = ec2.describe_vpcs(VpcIds=[made["VpcId"]])["Vpcs"]
    return [made["State"], shown["State"]]


def a_route_table() -> list[Any]:
    tables = client("ec2").describe_route_tables(RouteTableIds=[net().table_id])["RouteTables"]
    return [each.get("PropagatingVgws") for each in tables]


def an_instance() -> list[Any]:
    made = net().launch()
    names = ("EnaSupport", "PlatformDetails", "CpuOptions", "PrivateDnsNameOptions")
    return [made.get(name) for name in names]


def a_subnet() -> list[Any]:
    (subnet,) = client("ec2").describe_subnets(SubnetIds=[net().subnet_id])["Subnets"]
    return [subnet.get("EnableDns64"), subnet.get("BlockPublicAccessStates")]


def an_empty_template() -> str:
    return said(client("ec2").create_launch_template, LaunchTemplateName="lab", LaunchTemplateData={})


def a_template_with_a_blank() -> str:
    data = {"InstanceType": "t3.micro"}
    return said(client("ec2").create_launch_template, LaunchTemplateName="my lab", LaunchTemplateData=data)


CASES = (
    Case(
        "zones_have_groups",
        a_zone,
        [None] * 4,
        ["us-east-1-zg-1", "US East (N. Virginia) 1", "us-east-1", "opt-in-not-required"],
    ),
    Case("a_new_vpc_is_pending", a_new_vpc, ["available"] * 2, ["pending", "available"]),
    Case("tables_propagate_nothing", a_route_table, [None], [[]]),
    Case(
        "plain_members",
        an_instance,
        [None] * 4,
        [
            True,
            "Linux/UNIX",
            {"CoreCount": 1, "ThreadsPerCore": 2},
            {
                "HostnameType": "ip-name",
                "EnableResourceNameDnsARecord": False,
                "EnableResourceNameDnsAAAARecord": False,
            },
        ],
    ),
    Case("plain_members", a_subnet, [None] * 2, [False, {"InternetGatewayBlockMode": "off"}]),
    Case("launch_templates_are_sound", an_empty_template, "ok", "MissingParameter"),
    Case(
        "launch_templates_are_sound",
        a_template_with_a_blank,
        "ok",
        "InvalidLaunchTemplateName.MalformedException",
    ),
)


@table(*CASES)
def test_ec2_says_what_aws_says(case: Case) -> None:
    check(case)


def test_a_refused_template_is_a_400() -> None:
    with cloud(every=True):
        made = refused(client("ec2").create_launch_template, LaunchTemplateName="x y", LaunchTemplateData={})
        assert made[0::2] == ("MissingParameter", 400)


def test_groups_that_can_be_used_in_a_vpc_are_listed() -> None:
    with cloud(every=True):
        ec2 = client("ec2")
        vpc_id = ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
        group_id = ec2.create_security_group(GroupName="lab", Description="ours", VpcId=vpc_id)["GroupId"]
        ec2.create_tags(Resources=[group_id], Tags=[{"Key": "a", "Value": "b"}])
        listed = ec2.get_security_groups_for_vpc(VpcId=vpc_id)["SecurityGroupForVpcs"]
        assert sorted(each["GroupName"] for each in listed) == ["default", "lab"]
        (ours,) = (each for each in listed if each["GroupId"] == group_id)
        assert (ours["PrimaryVpcId"], ours["Tags"]) == (vpc_id, [{"Key": "a", "Value": "b"}])
        gone = refused(ec2.get_security_groups_for_vpc, VpcId="vpc-0123456789abcdef0")
        assert gone[0] == "InvalidVpcID.NotFound"
