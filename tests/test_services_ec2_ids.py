"""Ids that cannot be one, and what is there under none."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from test_services_support import Case, check, client, cloud, net, refused, said, table


def ids(call: str, name: str, *values: str, **more: Any) -> list[str]:
    """What a call says of each of these ids."""
    method: Callable[..., Any] = getattr(client("ec2"), call)
    asked = [[value] if name.endswith("s") else value for value in values]
    return [said(method, **{name: each}, **more) for each in asked]


def instances() -> list[str]:
    return ids("terminate_instances", "InstanceIds", "i-xyz", "xyz", "i-12345678", "i-0123456789ABCDEF0")


def instance_of_a_console() -> list[str]:
    return ids("get_console_output", "InstanceId", "i-0123", "i-0123456789abcdef0")


def groups() -> list[str]:
    return ids("delete_security_group", "GroupId", "launch-wizard-1", "sg-0123456789abcdef0")


def groups_of_a_launch() -> str:
    return said(net().launch, SecurityGroupIds=["default"])


def route_tables() -> list[str]:
    return ids("delete_route_table", "RouteTableId", "vpc-0123456789abcdef0", "rtb-0123456789abcdef0")


def gateways() -> list[str]:
    return ids("describe_internet_gateways", "InternetGatewayIds", "igw", "igw-0123456789abcdef0")


def subnets_and_vpcs() -> list[str]:
    return ids("delete_subnet", "SubnetId", "example") + ids("delete_vpc", "VpcId", "example")


INSTANCE, GROUP, TABLE = "InvalidInstanceID", "InvalidGroup", "InvalidRouteTableID"
NO_INSTANCE = f"{INSTANCE}.NotFound"


@table(
    Case(
        "ids_have_a_form",
        instances,
        [NO_INSTANCE] * 4,
        [f"{INSTANCE}.Malformed"] * 2 + [NO_INSTANCE, f"{INSTANCE}.Malformed"],
    ),
    Case(
        "ids_have_a_form",
        instance_of_a_console,
        [NO_INSTANCE] * 2,
        [f"{INSTANCE}.Malformed", NO_INSTANCE],
    ),
    Case(
        "ids_have_a_form",
        groups,
        [f"{GROUP}.NotFound"] * 2,
        [f"{GROUP}Id.Malformed", f"{GROUP}.NotFound"],
    ),
    Case("ids_have_a_form", groups_of_a_launch, "InvalidGroup.NotFound", "InvalidGroupId.Malformed"),
    Case(
        "ids_have_a_form",
        route_tables,
        [f"{TABLE}.NotFound"] * 2,
        ["InvalidRouteTableId.Malformed", f"{TABLE}.NotFound"],
    ),
    Case(
        "ids_have_a_form",
        gateways,
        ["InvalidInternetGatewayID.NotFound"] * 2,
        ["InvalidInternetGatewayId.Malformed", "InvalidInternetGatewayID.NotFound"],
    ),
    Case(
        "ids_have_a_form",
        subnets_and_vpcs,
        ["InvalidSubnetID.NotFound", "InvalidVpcID.NotFound"],
        ["InvalidSubnetID.NotFound", "InvalidVpcID.NotFound"],
    ),
)
def test_ids(case: Case) -> None:
    check(case)


@pytest.mark.parametrize(
    ("id", "message"),
    [
        ("eks-cluster-sg*", 'Invalid id: "eks-cluster-sg*" (expecting "sg-...")'),
        ("sg-x", 'Invalid id: "sg-x"'),
    ],
)
def test_the_message_is_awss_own(id: str, message: str) -> None:
    with cloud("ids_have_a_form"):
        answer = refused(client("ec2").describe_security_groups, GroupIds=[id])
    assert answer == ("InvalidGroupId.Malformed", message, 400)
