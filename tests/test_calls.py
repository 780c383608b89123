"""Calls as one types them: what boto3 and the AWS CLI are given is what was to be called."""

from __future__ import annotations

import shlex
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from awslabs.calls import as_boto3, as_cli

TEXTS = st.text(max_size=12)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=8,
)
NAMES = st.from_regex(r"[A-Z][a-z]{1,8}([A-Z][a-z]{1,8})?", fullmatch=True).filter(
    lambda name: name not in ("True", "False", "None")
)


class Noting:
    """In place of a client: keeps what it was called with."""

    def __getattr__(self, method: str) -> Any:
        return lambda **params: (method, params)


def run_as_python(line: str, **clients: Noting) -> Any:
    return eval(line, {"__builtins__": {"None": None, "True": True, "False": False}, "Path": Path, **clients})


@given(params=st.dictionaries(NAMES, VALUES, max_size=4), width=st.sampled_from([30, 80, 200]))
@settings(max_examples=60, deadline=None)
def test_what_python_is_given_is_what_was_to_be_called(params: dict[str, Any], width: int) -> None:
    line = as_boto3("ec2", "CreateVpc", params, width=width)
    assert run_as_python(line, ec2=Noting()) == ("create_vpc", params)


def test_a_long_call_is_broken_as_a_formatter_does() -> None:
    rule = {"IpProtocol": "tcp", "FromPort": 22, "ToPort": 22, "IpRanges": [{"CidrIp": "198.51.100.7/32"}]}
    params = {"GroupId": "sg-0123456789abcdef0", "IpPermissions": [rule]}
    assert as_boto3("ec2", "AuthorizeSecurityGroupIngress", params, width=70).split("\n") == [
        "ec2.authorize_security_group_ingress(",
        '    GroupId="sg-0123456789abcdef0",',
        "    IpPermissions=[",
        "        {",
        '            "IpProtocol": "tcp",',
        '            "FromPort": 22,',
        '            "ToPort": 22,',
        '            "IpRanges": [{"CidrIp": "198.51.100.7/32"}],',
        "        },",
        "    ],",
        ")",
    ]


def test_a_service_whose_name_python_keeps_for_itself_has_another() -> None:
    assert as_boto3("lambda", "Invoke", {}) == "lambda_.invoke()"
    assert as_boto3("service-quotas", "ListServices", {}) == "service_quotas.list_services()"


def test_bytes_are_read_from_files(tmp_path: Path) -> None:
    package, file = b"PK\3\4", tmp_path / "greeter's.zip"
    file.write_bytes(package)
    params = {"FunctionName": "greeter", "Code": {"ZipFile": package}}
    line = as_boto3("lambda", "CreateFunction", params, filed=lambda member, content: str(file))
    assert run_as_python(line, lambda_=Noting()) == ("create_function", params)
    words = shlex.split(
        as_cli("lambda", "CreateFunction", params, filed=lambda member, content: "greeter's.zip")
    )
    assert words[3:] == ["--function-name", "greeter", "--zip-file", "fileb://greeter's.zip"]


@pytest.mark.parametrize(
    ("service", "operation", "params", "line"),
    [
        (
            "ec2",
            "CreateSubnet",
            {"VpcId": "vpc-1", "CidrBlock": "10.10.0.0/24"},
            "aws ec2 create-subnet --vpc-id vpc-1 --cidr-block 10.10.0.0/24",
        ),
        ("s3", "DeleteBucket", {"Bucket": "b"}, "aws s3api delete-bucket --bucket b"),
        (
            "s3",
            "PutObject",
            {"Bucket": "b", "Key": "index.html", "Body": b"<html>"},
            "aws s3api put-object --bucket b --key index.html --body body",
        ),
        (
            "ec2",
            "ImportKeyPair",
            {"KeyName": "it's", "PublicKeyMaterial": b"ssh-ed25519 AAAA"},
            """aws ec2 import-key-pair --key-name 'it'"'"'s' """
            "--public-key-material fileb://public-key-material",
        ),
        (
            "ec2",
            "RunInstances",
            {"MinCount": 1, "MaxCount": 1, "SecurityGroupIds": ["sg-1", "sg-2"]},
            "aws ec2 run-instances --count 1 --security-group-ids sg-1 sg-2",
        ),
        ("ec2", "RunInstances", {"MinCount": 1, "MaxCount": 3}, "aws ec2 run-instances --count 1:3"),
        (
            "ec2",
            "ModifySubnetAttribute",
            {"SubnetId": "subnet-1", "MapPublicIpOnLaunch": {"Value": True}},
            "aws ec2 modify-subnet-attribute --subnet-id subnet-1 "
            """--cli-input-json '{"MapPublicIpOnLaunch": {"Value": true}}'""",
        ),
        (
            "scheduler",
            "CreateSchedule",
            {"Name": "-x", "StartDate": datetime(2026, 11, 29, 12)},
            """aws scheduler create-schedule --start-date 2026-11-29T12:00:00 """
            """--cli-input-json '{"Name": "-x"}'""",
        ),
        (
            "iam",
            "PutRolePolicy",
            {"RoleName": "r", "PolicyDocument": '{"Version": "2012-10-17"}'},
            """aws iam put-role-policy --role-name r --policy-document '{"Version": "2012-10-17"}'""",
        ),
    ],
)
def test_a_call_as_a_command(service: str, operation: str, params: dict[str, Any], line: str) -> None:
    assert as_cli(service, operation, params) == line


def test_bytes_deep_within_a_request_are_no_command() -> None:
    with pytest.raises(ValueError, match="bytes within"):
        as_cli("dynamodb", "PutItem", {"Item": {"it": {"B": b"x"}}})
