"""Cassettes: what is kept of a call, and that nothing of anybody's is."""

from __future__ import annotations

import base64
import json
import random
import string
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from botocore.loaders import create_loader
from botocore.model import OperationModel, ServiceModel
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from awslabs import cassettes
from awslabs.cassettes import Recorder
from awslabs.pseudonyms import Pseudonyms

MODELS: dict[str, ServiceModel] = {}


def model(service: str, operation: str) -> OperationModel:
    if service not in MODELS:
        MODELS[service] = ServiceModel(create_loader().load_service_model(service, "service-2"), service)
    return MODELS[service].operation_model(operation)


def recorder(**known: str) -> Recorder:
    clock = iter(range(1_000_000))
    return Recorder("ec2", "us-east-1", known, lambda: next(clock))


# -- What is kept ------------------------------------------------------------------------------------------


def test_a_call_keeps_what_we_put_into_it_and_the_shape_of_its_answer() -> None:
    made = recorder()
    answer = {
        "Vpc": {
            "VpcId": "vpc-0a1b2c3d4e5f60718",
            "State": "pending",
            "CidrBlock": "10.10.0.0/23",
            "IsDefault": False,
        }
    }
    made.saw(model("ec2", "CreateVpc"), {"CidrBlock": "10.10.0.0/23"}, answer, 200)
    asked = {"VpcIds": ["vpc-0a1b2c3d4e5f60718"]}
    made.saw(model("ec2", "DescribeVpcs"), asked, {"Vpcs": [answer["Vpc"]]}, 200)
    head, create, describe = map(json.loads, made.text().splitlines())
    assert list(head) == ["schema", "date", "region", "botocore", "lab"]
    assert list(create) == ["n", "at_s", "service", "operation", "params", "status", "code", "members"]
    assert create["params"] == {"CidrBlock": "10.10.0.0/23"}
    assert create["members"] == {
        "Vpc": "structure",
        "Vpc.VpcId": "string=<vpc-1>",
        "Vpc.State": "string=pending",
        "Vpc.CidrBlock": "string",
        "Vpc.IsDefault": "boolean",
    }
    assert describe["params"] == {"VpcIds": ["<vpc-1>"]}
    assert describe["members"]["Vpcs[].VpcId"] == "string=<vpc-1>"


def test_repeated_reads_are_one_line_until_something_changes() -> None:
    made = recorder()

    def look(state: str) -> None:
        shown = {"Vpcs": [{"VpcId": "vpc-0a1b2c3d4e5f60718", "State": state}]}
        made.saw(model("ec2", "DescribeVpcs"), {}, shown, 200)

    for state in ("pending", "pending", "pending", "available", "available"):
        look(state)
    made.saw(model("ec2", "CreateInternetGateway"), {}, {}, 200)
    look("available")
    kept = [(line["operation"], line.get("times", 1)) for line in made.entries]
    assert kept == [
        ("DescribeVpcs", 3),
        ("DescribeVpcs", 2),
        ("CreateInternetGateway", 1),
        ("DescribeVpcs", 1),
    ]
    assert made.entries[0]["until_s"] > made.entries[0]["at_s"]


def test_a_refusal_keeps_its_code_and_no_sentence() -> None:
    made = recorder()
    said = {
        "Error": {"Code": "DependencyViolation", "Message": "vpc-0a1b2c3d4e5f60718 has dependencies of ada"}
    }
    for _ in range(3):
        made.saw(model("ec2", "DeleteVpc"), {"VpcId": "vpc-0a1b2c3d4e5f60718"}, said, 400)
    (line,) = made.entries
    assert (line["status"], line["code"], line["members"], line["times"]) == (
        400,
        "DependencyViolation",
        {"Error.Message": "string"},
        3,
    )


def test_of_a_refusal_the_members_that_its_model_has_are_kept_and_no_others() -> None:
    made = recorder()
    said = {
        "Error": {"Code": "ResourceNotFoundException", "Message": "Function not found: ada", "Ada0a1": "x"},
        "Type": "User",
        "Message": "Function not found: ada",
        "ada": "ada",
    }
    made.saw(model("lambda", "GetFunction"), {"FunctionName": "greeter"}, said, 404)
    assert made.entries[0]["members"] == {
        "Error.Message": "string",
        "Type": "string",
        "Message": "string",
    }


def test_a_cassette_is_at_most_a_megabyte(tmp_path: Path) -> None:
    made = recorder()
    tags = [{"Key": f"key{number}", "Value": "network " * 900} for number in range(3)]
    for number in range(100):
        resources = [f"i-{number:017x}"]
        made.saw(model("ec2", "CreateTags"), {"Resources": resources, "Tags": tags}, {}, 200)
    made.write(tmp_path / "long.jsonl")
    assert (tmp_path / "long.jsonl").stat().st_size <= cassettes.LARGEST
    last = json.loads((tmp_path / "long.jsonl").read_text().splitlines()[-1])
    assert last == {"left_out": 100 - len(made.entries)}
    assert len(cassettes.read(tmp_path / "long.jsonl")[1]) == len(made.entries) > 10


@pytest.mark.parametrize(
    "text",
    [
        "",
        "no json",
        "[]",
        '{"schema": 1}',
        '{"schema": 2, "date": "", "region": "", "botocore": "", "lab": ""}',
        '{"schema": 1, "date": "", "region": "", "botocore": "", "lab": ""}\n{"n": 1}',
    ],
)
def test_what_is_no_cassette_is_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text(text)
    with pytest.raises(cassettes.Unreadable) as refused:
        cassettes.read(tmp_path / "file")
    assert refused.value.exit_code == 2


# -- Nothing of anybody's survives ---------------------------------------------------------------------------

LETTERS, HEX = string.ascii_letters + string.digits, string.hexdigits.lower()[:16]


def some(draw: random.Random, alphabet: str, least: int, most: int = 0) -> str:
    return "".join(draw.choices(alphabet, k=draw.randint(least, most or least)))


# Each makes a secret, an identifier or a name as it may stand in a call or its answer.
LOWER = string.ascii_lowercase
IDS = ["vpc", "i", "sg", "subnet", "eni", "vol", "ami", "igw", "rtb", "eipalloc"]
SECRETS: dict[str, Callable[[random.Random], str]] = {
    "access key": lambda draw: draw.choice(["AKIA", "ASIA"]) + some(draw, LOWER.upper() + "234567", 16),
    "secret key": lambda draw: some(draw, LETTERS + "+/", 40),
    "session token": lambda draw: base64.b64encode(draw.randbytes(120)).decode(),
    "password": lambda draw: some(draw, LETTERS + "!$%&*@#", 9, 20) + draw.choice(string.digits),
    "words": lambda draw: "-".join(some(draw, LOWER, 6, 9) for _ in range(3)),
    "name": lambda draw: some(draw, LOWER, 6, 10),
    "Name": lambda draw: f"{some(draw, LOWER, 6, 9).title()} {some(draw, 'äöüéçßñ', 5, 7)}",
    "account": lambda draw: some(draw, "123456789", 12),
    "id": lambda draw: f"{draw.choice(IDS)}-{some(draw, HEX, 16)}7",
    "short id": lambda draw: f"i-{some(draw, HEX, 7)}3",
    "api id": lambda draw: some(draw, LOWER + string.digits, 9) + "z",
    "uuid": lambda draw: str(uuid.UUID(int=draw.getrandbits(128), version=4)),
    "digest": lambda draw: some(draw, HEX, 62) + "1a",
    "arn": lambda draw: f"arn:aws:iam::{some(draw, '123456789', 12)}:user/{some(draw, LOWER, 6, 9)}",
    "email": lambda draw: f"{some(draw, LOWER, 6, 8)}@{some(draw, LOWER, 6, 8)}.org",
    "ipv4": lambda draw: ".".join(str(draw.randint(20, 250)) for _ in range(4)),
    "ipv6": lambda draw: ":".join(some(draw, HEX, 4) for _ in range(8)),
    "short ipv6": lambda draw: f"2001:db8::{some(draw, HEX, 4)}:{some(draw, HEX, 4)}",
    "host": lambda draw: f"{some(draw, LOWER, 6, 8)}.{some(draw, LOWER, 6, 8)}.edu",
    "aws host": lambda draw: f"ec2-{draw.randint(20, 99)}-{draw.randint(20, 99)}-7-9.compute-1.amazonaws.com",
    "mac": lambda draw: ":".join(some(draw, HEX, 2) for _ in range(6)),
    "path": lambda draw: f"/home/{some(draw, LOWER, 6, 8)}/.ssh/id_ed25519",
    "phone": lambda draw: f"+{some(draw, '123456789', 11)}",
    "public key": lambda draw: f"ssh-ed25519 {base64.b64encode(draw.randbytes(51)).decode()}",
    "token": lambda draw: f"{some(draw, '123456789', 14)}-{some(draw, HEX, 16)}",
}


def calls_with(secret: str) -> list[tuple[str, str, dict[str, Any], dict[str, Any]]]:
    """Where a secret may stand: as a parameter, in a text, as a key, in JSON, in bytes; and in answers."""
    within = f"awslabs {secret} server"
    policy = json.dumps({"Statement": [{"Effect": "Allow", "Resource": secret, "Sid": "deny"}]})
    zipped = b"PK\x03\x04\xff\xfe" + secret.encode()
    return [
        ("ec2", "CreateTags", {"Resources": [secret], "Tags": [{"Key": secret, "Value": within}]}, {}),
        ("ec2", "DescribeVpcs", {}, {"Vpcs": [{"VpcId": secret, "State": secret, "OwnerId": secret}]}),
        ("ec2", "ImportKeyPair", {"KeyName": "k", "PublicKeyMaterial": secret.encode()}, {"KeyName": within}),
        (
            "lambda",
            "CreateFunction",
            {
                "FunctionName": secret,
                "Code": {"ZipFile": zipped},
                "Environment": {"Variables": {secret: within}},
            },
            {"FunctionArn": secret, "State": "Pending", "Environment": {"Variables": {secret: secret}}},
        ),
        (
            "iam",
            "CreateRole",
            {"RoleName": "r", "AssumeRolePolicyDocument": policy},
            {"Role": {"Arn": secret}},
        ),
        ("ssm", "PutParameter", {"Name": "/a", "Value": secret, "Type": "String"}, {"Tier": secret}),
        ("dynamodb", "PutItem", {"TableName": "t", "Item": {secret: {"S": within}, "n": {"N": secret}}}, {}),
        ("dynamodb", "Scan", {"TableName": "t"}, {"Items": [{secret: {"S": secret}}]}),
        ("logs", "GetLogEvents", {"logStreamName": secret}, {"events": [{"message": within}]}),
    ]


def survivors(secrets: list[str], text: str) -> list[str]:
    """Those that stand in a text, as they are or as JSON writes them."""
    return [secret for secret in secrets if secret in text or json.dumps(secret)[1:-1] in text]


@pytest.mark.live
def test_of_ten_thousand_secrets_none_survives() -> None:
    draw = random.Random(20261129)
    kinds = list(SECRETS)
    secrets = [SECRETS[kinds[number % len(kinds)]](draw) for number in range(10_000)]
    assert len(set(secrets)) > 9_900
    for first in range(0, len(secrets), 50):  # what a long recording knows of would only make this test slow
        made, kept = recorder(), list[str]()
        for number, secret in enumerate(secrets[first : first + 50], first):
            service, operation, asked, answer = calls_with(secret)[number // len(kinds) % 9]
            made.entries, made.size = [], 0  # so that none is left out for its length
            made.saw(model(service, operation), asked, answer, 200)
            kept.append(made.text())
        text = "".join(kept)
        assert survivors(secrets[first : first + 50], text) == []
        assert text.count('"operation"') == 50


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(sorted(SECRETS)),
            st.integers(0, 2**32),
            st.sampled_from([" ", "/", ":", '"', "-", ""]),
        ),
        min_size=2,
        max_size=5,
    )
)
def test_nothing_survives_side_by_side(parts: list[tuple[str, int, str]]) -> None:
    secrets = [SECRETS[kind](random.Random(seed)) for kind, seed, _ in parts]
    joined = "".join(secret + glue for secret, (_, _, glue) in zip(secrets, parts, strict=True))
    made = recorder()
    for service, operation, asked, answer in calls_with(joined):
        made.saw(model(service, operation), asked, answer, 200)
    assert survivors(secrets, made.text()) == []


def test_a_report_is_blotted_of_the_same() -> None:
    """Its sentences are AWS's and ours, so words stay; what is an identifier, an address or a key goes."""
    draw = random.Random(7)
    words = {
        "password",
        "words",
        "name",
        "Name",
        "api id",
        "phone",
        "host",
    }  # of no form: known ones are told
    for kind in sorted(SECRETS.keys() - words):
        for _ in range(200):
            secret = SECRETS[kind](draw)
            said = Pseudonyms().blotted(f"The server {secret} said no to {secret}.")
            assert secret not in said, (kind, secret, said)
    names = Pseudonyms({"ada": "user", "lovelace-mac": "host"})
    assert (
        names.blotted("ada on lovelace-mac (ada) and Canada") == "<user-1> on <host-1> (<user-1>) and Canada"
    )
