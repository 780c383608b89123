"""Calls as one types them: what boto3 and the AWS CLI are given is what was to be called."""

from __future__ import annotations

import base64
import importlib
import json
import os
import shlex
import subprocess
from datetime import datetime
from pathlib import Path
from typing import Any

import aws_cli
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from awslabs import plan
from awslabs.calls import as_boto3, as_cli
from awslabs.labs import LABS

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


# -- The AWS CLI itself -----------------------------------------------------------------------------------

PARSED = """
import base64, json, sys
import botocore.client
import botocore.session
from awscli.clidriver import create_clidriver

def plain(value):
    if isinstance(value, (bytes, bytearray)):
        return {"bytes": base64.b64encode(value).decode()}
    if hasattr(value, "read"):
        return plain(value.read())
    if hasattr(value, "isoformat"):
        return value.isoformat()
    raise TypeError(type(value))

said = []
def call(client, operation, params):
    service = client.meta.service_model.service_name
    said.append([service, operation, json.loads(json.dumps(params, default=plain))])
    return {}
botocore.client.BaseClient._make_api_call = call
make, kept = botocore.session.create_loader, {}
botocore.session.create_loader = lambda path=None: kept.setdefault(path, make(path))
for words in json.load(sys.stdin):
    assert create_clidriver().main(words) == 0, words
json.dump(said, open(sys.argv[1], "w"))
"""


@pytest.fixture(scope="module")
def parsed(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """What the AWS CLI of version 1 makes of commands, by its own parser; no call is made."""
    command = aws_cli.python()
    if not command:
        pytest.skip("this AWS CLI is not of version 1, whose parser can be asked: pip install awscli")
    folder = tmp_path_factory.mktemp("parsed")

    def parse(lines: list[str], files: dict[str, bytes]) -> list[Any]:
        for name, content in files.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(content)
        environment = {"PATH": os.environ["PATH"], "AWS_DEFAULT_REGION": "us-east-1"}
        environment |= {"AWS_ACCESS_KEY_ID": "none", "AWS_SECRET_ACCESS_KEY": "none", "HOME": str(folder)}
        asked = subprocess.run(
            [*command, "-c", PARSED, "said.json"],
            input=json.dumps([words_of(line)[1:] for line in lines]),
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert asked.returncode == 0, asked.stderr[-2000:]
        return json.loads((folder / "said.json").read_text())

    return parse


def words_of(line: str) -> list[str]:
    """The words of a command as a shell reads it."""
    command = f"set -- {line}\nprintf '%s\\0' \"$@\""
    said = subprocess.run(["sh", "-c", command], capture_output=True, check=True)
    return said.stdout.decode().split("\0")[:-1]


@pytest.mark.live
def test_the_aws_cli_reads_what_was_to_be_called(parsed: Any) -> None:
    """Every kind of call of the five labs, and texts that a shell or the AWS CLI could take otherwise."""
    calls: list[tuple[str, str, dict[str, Any]]] = [
        ("sqs", "CreateQueue", {"QueueName": text, "Attributes": {"it's": text}})
        for text in ("it's", "--help", "http://x", "file://x", "a b", '$HOME `x` \\ "', "[x]", "{}", "ü\nx")
    ]
    calls += [("ec2", "DescribeVpcs", {"VpcIds": words}) for words in (["a", "b"], ["[a]"], ["-a"], ["a,b"])]
    for lab in LABS:
        made = plan.rehearse(lab, importlib.import_module(f"awslabs.{lab}").up, owner="ada")
        kinds = {(step.call, *step.params): step for step in made.steps if step.call != "docker:push"}
        calls += [(step.service, step.operation, named(step.sent)) for step in kinds.values()]
    files: dict[str, bytes] = {}

    def filed(member: str, content: bytes) -> str:
        name = f"files of it's/{len(files)}"
        files[name] = content
        return name

    lines = [as_cli(*call, filed=filed, width=80 if place % 2 else None) for place, call in enumerate(calls)]
    said = parsed(lines, files)
    assert len(said) == len(calls) > 50
    for (service, operation, params), (its_service, its_operation, its_params) in zip(
        calls, said, strict=True
    ):
        assert (its_service, its_operation) == (service, operation)
        assert documents(its_params) == documents(json.loads(json.dumps(params, default=in_base64)))


def named(value: Any) -> Any:
    """The plan's variables as texts that could be values."""
    if isinstance(value, str):
        return plan.VARIABLE.sub(lambda found: f"x-{found[1].replace(' ', '-')}", value)
    if isinstance(value, dict):
        return {key: named(item) for key, item in value.items()}
    return [named(item) for item in value] if isinstance(value, list) else value


def in_base64(value: Any) -> Any:
    return {"bytes": base64.b64encode(value).decode()} if isinstance(value, bytes) else value.isoformat()


def documents(value: Any) -> Any:
    """The same, where texts of JSON are what they hold: the white space in a policy means nothing."""
    if isinstance(value, str) and value.startswith("{"):
        try:
            return json.loads(value)
        except ValueError:
            return value
    if isinstance(value, dict):
        return {key: documents(item) for key, item in value.items()}
    return [documents(item) for item in value] if isinstance(value, list) else value
