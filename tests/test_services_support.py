"""What the tests of the strict rules share: clients, a small network, and a table of cases.

A case does something with AWS twice, and says what comes out: with moto alone, and with one rule
switched on. So each test shows that moto is lax, and that it is this rule which is not.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any
from unittest.mock import patch

import boto3
import pytest
from botocore.exceptions import ClientError
from inprocess import no_images_for_ecs
from moto import mock_aws
from moto.ec2.models import amis

from awslabs.sandbox import rules
from awslabs.sandbox.core import weather

AL2023 = "/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-default-x86_64"
TRUST = '{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":%s,"Action":"sts:AssumeRole"}]}'
FOR_EC2 = TRUST % '{"Service":"ec2.amazonaws.com"}'
MAY_READ = '{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"s3:GetObject","Resource":"*"}]}'
READ_ONLY = "arn:aws:iam::aws:policy/AmazonS3ReadOnlyAccess"


@functools.cache
def client(service: str) -> Any:
    """One client for all tests: making one takes longer than a test."""
    return boto3.client(service, "us-east-1", aws_access_key_id="x", aws_secret_access_key="y")


def client_with(service: str, keys: dict[str, Any]) -> Any:
    """A client with the credentials of a role, as AssumeRole gives them."""
    return boto3.client(
        service,
        "us-east-1",
        aws_access_key_id=keys["AccessKeyId"],
        aws_secret_access_key=keys["SecretAccessKey"],
        aws_session_token=keys["SessionToken"],
    )


def said(method: Callable[..., Any], **request: Any) -> str:
    """The error code of a call, or `ok`."""
    try:
        method(**request)
    except ClientError as error:
        return str(error.response["Error"]["Code"])
    return "ok"


def refused(method: Callable[..., Any], **request: Any) -> tuple[str, str, int]:
    """Error code, message and HTTP status of a call that has to fail."""
    with pytest.raises(ClientError) as caught:
        method(**request)
    answer = caught.value.response
    return answer["Error"]["Code"], answer["Error"]["Message"], answer["ResponseMetadata"]["HTTPStatusCode"]


@contextmanager
def cloud(*names: str, every: bool = False, **conditions: Any) -> Iterator[None]:
    """A fresh AWS with these rules (`every`: all of them), in this weather."""
    only = None if every else names
    with patch.object(amis, "load_resource", no_images_for_ecs):
        with frozen(**conditions), rules.installed(only=only, running=True), mock_aws():
            yield


@contextmanager
def frozen(**conditions: Any) -> Iterator[None]:
    """Such weather, and a clock that stands still unless a test lets it `wait`."""
    began = rules.clock.now()
    today = replace(weather.Weather(slow_states=0.0), **conditions)
    with patch.object(weather, "current", today), patch.object(rules.clock, "offset_s", 0.0):
        with patch.object(rules.clock, "now", lambda: began + rules.clock.offset_s):
            yield


def wait(seconds: float) -> None:
    """Let time pass in the practice cloud; the test does not wait."""
    rules.clock.offset_s += seconds


@dataclass(frozen=True)
class Net:
    """A VPC with a subnet, a security group, and a road to the internet."""

    vpc_id: str
    subnet_id: str
    group_id: str
    gateway_id: str
    table_id: str

    def launch(self, **request: Any) -> dict[str, Any]:
        """Start an instance in it; the first one, as RunInstances shows it."""
        asked = {
            "ImageId": image_id(),
            "InstanceType": "t3.micro",
            "MinCount": 1,
            "MaxCount": 1,
            "SubnetId": self.subnet_id,
            "SecurityGroupIds": [self.group_id],
        }
        asked |= request
        return client("ec2").run_instances(**{k: v for k, v in asked.items() if v is not None})["Instances"][
            0
        ]


def net(zone: str = "us-east-1a", cidr: str = "10.10.0.0/24") -> Net:
    ec2 = client("ec2")
    vpc_id = ec2.create_vpc(CidrBlock="10.10.0.0/23")["Vpc"]["VpcId"]
    subnet = ec2.create_subnet(VpcId=vpc_id, CidrBlock=cidr, AvailabilityZone=zone)["Subnet"]
    ec2.modify_subnet_attribute(SubnetId=subnet["SubnetId"], MapPublicIpOnLaunch={"Value": True})
    gateway_id = ec2.create_internet_gateway()["InternetGateway"]["InternetGatewayId"]
    ec2.attach_internet_gateway(InternetGatewayId=gateway_id, VpcId=vpc_id)
    group_id = ec2.create_security_group(VpcId=vpc_id, GroupName="lab", Description="lab")["GroupId"]
    tables = ec2.describe_route_tables(Filters=[{"Name": "vpc-id", "Values": [vpc_id]}])["RouteTables"]
    return Net(vpc_id, subnet["SubnetId"], group_id, gateway_id, tables[0]["RouteTableId"])


def image_id() -> str:
    return client("ssm").get_parameter(Name=AL2023)["Parameter"]["Value"]


def instance(instance_id: str) -> dict[str, Any]:
    """An instance, as DescribeInstances shows it."""
    return client("ec2").describe_instances(InstanceIds=[instance_id])["Reservations"][0]["Instances"][0]


def state(instance_id: str) -> str:
    return instance(instance_id)["State"]["Name"]


@dataclass(frozen=True)
class Case:
    """Something that moto and AWS answer differently.

    Attributes
    ----------
    rule : str
        The rule that makes the difference.
    do : callable
        Does it, and returns what is compared.
    moto, aws : object
        What moto answers alone, and with the rule. An exception's name, where moto falls over.
    weather : tuple of pairs
        Today's weather.
    needs : tuple of str
        Rules without which this one shows nothing.
    """

    rule: str
    do: Callable[[], Any]
    moto: Any
    aws: Any
    weather: tuple[tuple[str, Any], ...] = ()
    needs: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.rule}-{self.do.__name__}"


def check(case: Case) -> None:
    """Do it with moto alone, then with the rule."""
    for names, expected in ((), case.moto), ((case.rule, *case.needs), case.aws):
        with cloud(*names, **dict(case.weather)):
            try:
                got = case.do()
            except ClientError as error:
                got = error.response["Error"]["Code"]
            except Exception as problem:  # moto's own: that is what the case is about
                got = type(problem).__name__
        assert got == expected, f"with {names or 'moto alone'}"


def table(*cases: Case) -> Any:
    """A test's parameters."""
    return pytest.mark.parametrize("case", cases, ids=str)
