"""Late visibility: what was just made is not seen for `lag_ms`."""

from __future__ import annotations

from typing import Any

from test_services_support import Case, check, client, cloud, image_id, net, said, table, wait

from awslabs.sandbox.core import weather

LATE = (("lag_ms", 500.0),)
TAGS = [{"Key": "lab", "Value": "1"}]


def vpc(**more: Any) -> str:
    return client("ec2").create_vpc(CidrBlock="10.10.0.0/23", **more)["Vpc"]["VpcId"]


def a_new_vpc() -> list[object]:
    ec2, before = client("ec2"), len(client("ec2").describe_vpcs()["Vpcs"])
    vpc_id = vpc()
    return [
        len(ec2.describe_vpcs()["Vpcs"]) - before,
        said(ec2.describe_vpcs, VpcIds=[vpc_id]),
        said(ec2.create_subnet, VpcId=vpc_id, CidrBlock="10.10.0.0/24"),
        len(ec2.describe_route_tables(Filters=[{"Name": "vpc-id", "Values": [vpc_id]}])["RouteTables"]),
        said(ec2.delete_vpc, VpcId=vpc_id),
    ]


def new_things_in_a_vpc() -> list[str]:
    ec2, vpc_id = client("ec2"), vpc()
    wait(1)
    subnet = ec2.create_subnet(VpcId=vpc_id, CidrBlock="10.10.0.0/24", AvailabilityZone="us-east-1a")[
        "Subnet"
    ]
    group = ec2.create_security_group(VpcId=vpc_id, GroupName="lab", Description="x")["GroupId"]
    gateway = ec2.create_internet_gateway()["InternetGateway"]["InternetGatewayId"]
    routes = ec2.create_route_table(VpcId=vpc_id)["RouteTable"]["RouteTableId"]
    return [
        said(ec2.describe_subnets, SubnetIds=[subnet["SubnetId"]]),
        said(ec2.describe_security_groups, GroupIds=[group]),
        said(ec2.describe_internet_gateways, InternetGatewayIds=[gateway]),
        said(ec2.attach_internet_gateway, InternetGatewayId=gateway, VpcId=vpc_id),
        said(ec2.describe_route_tables, RouteTableIds=[routes]),
    ]


def a_new_instance() -> list[object]:
    ec2, here = client("ec2"), net_seen()
    instance_id = here.launch()["InstanceId"]
    return [
        said(ec2.describe_instances, InstanceIds=[instance_id]),
        said(ec2.terminate_instances, InstanceIds=[instance_id]),
        len(ec2.describe_instances()["Reservations"]),
    ]


def tags_of_a_new_vpc() -> list[int]:
    vpc(TagSpecifications=[{"ResourceType": "vpc", "Tags": TAGS}])
    of_it = [{"Name": "key", "Values": ["lab"]}]
    filters = [{"Key": "lab", "Values": ["1"]}]
    found = client("resourcegroupstaggingapi").get_resources(TagFilters=filters)
    return [len(client("ec2").describe_tags(Filters=of_it)["Tags"]), len(found["ResourceTagMappingList"])]


def net_seen() -> Any:
    """A network that everybody sees by now, in weather with a lag."""
    lag, weather.current.lag_ms = weather.current.lag_ms, 0
    here = net()
    weather.current.lag_ms = lag
    return here


NOT_FOUND = [
    f"Invalid{kind}.NotFound"
    for kind in ("SubnetID", "Group", "InternetGatewayID", "InternetGatewayID", "RouteTableID")
]
CASES = (
    Case(
        "late_visibility",
        a_new_vpc,
        [1, "ok", "ok", 1, "DependencyViolation"],
        [0, "InvalidVpcID.NotFound", "InvalidVpcID.NotFound", 0, "InvalidVpcID.NotFound"],
        LATE,
    ),
    Case("late_visibility", new_things_in_a_vpc, ["ok"] * 5, NOT_FOUND, LATE),
    Case(
        "late_visibility",
        a_new_instance,
        ["ok", "ok", 1],
        ["InvalidInstanceID.NotFound", "InvalidInstanceID.NotFound", 0],
        LATE,
    ),
    Case("late_visibility", tags_of_a_new_vpc, [1, 1], [0, 0], LATE),
)


@table(*CASES)
def test_moto_shows_at_once_and_aws_does_not(case: Case) -> None:
    check(case)


def test_after_the_lag_everything_is_there() -> None:
    with cloud(every=True, lag_ms=500.0):
        ec2, vpc_id = client("ec2"), vpc()
        wait(0.6)
        assert said(ec2.describe_vpcs, VpcIds=[vpc_id]) == "ok"
        of_it = [{"Name": "vpc-id", "Values": [vpc_id]}]
        assert len(ec2.describe_route_tables(Filters=of_it)["RouteTables"]) == 1
        assert len(ec2.describe_security_groups(Filters=of_it)["SecurityGroups"]) == 1


def test_a_repeated_token_hides_nothing_again() -> None:
    with cloud(every=True, lag_ms=500.0):
        here = net_seen()
        request = {"ClientToken": "t", "ImageId": image_id()}
        instance_id = here.launch(**request)["InstanceId"]
        wait(0.6)
        assert here.launch(**request)["InstanceId"] == instance_id
        assert said(client("ec2").describe_instances, InstanceIds=[instance_id]) == "ok"


def test_what_was_there_stays_visible_beside_what_is_new() -> None:
    with cloud(every=True, lag_ms=500.0):
        ec2, here = client("ec2"), net_seen()
        vpc()
        shown = [each["VpcId"] for each in ec2.describe_vpcs()["Vpcs"]]
        assert here.vpc_id in shown
        assert said(ec2.describe_vpcs, VpcIds=[here.vpc_id]) == "ok"


def test_without_a_lag_nothing_is_hidden() -> None:
    with cloud(every=True):
        assert said(client("ec2").describe_vpcs, VpcIds=[vpc()]) == "ok"
