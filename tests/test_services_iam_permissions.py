"""What credentials of a role may do: policies, sessions, and the table of operations."""

from __future__ import annotations

import datetime
import json
from collections.abc import Iterator
from typing import Any

import pytest
from moto.core.request import Request
from test_services_support import TRUST, client, cloud
from werkzeug.test import EnvironBuilder

from awslabs.sandbox.core import wire
from awslabs.sandbox.services.iam import permissions

ACCOUNT = "123456789012"
ROLE = f"arn:aws:iam::{ACCOUNT}:role/reader"
TABLE = f"arn:aws:dynamodb:us-east-1:{ACCOUNT}:table/haiku"
FOR_LAMBDA = TRUST % '{"Service":"lambda.amazonaws.com"}'


@pytest.fixture(autouse=True)
def iam() -> Iterator[Any]:
    """A role `reader` without policies."""
    with cloud(every=True):
        client("iam").create_role(RoleName="reader", AssumeRolePolicyDocument=FOR_LAMBDA)
        yield client("iam")


def policy(*statements: dict[str, Any]) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": list(statements)})


def allow(action: Any, resource: Any = "*", **more: Any) -> dict[str, Any]:
    return {"Effect": "Allow", "Action": action, "Resource": resource, **more}


def deny(action: Any, resource: Any = "*", **more: Any) -> dict[str, Any]:
    return allow(action, resource, **more) | {"Effect": "Deny"}


def may(iam: Any, *statements: dict[str, Any], action: str = "dynamodb:Query", resource: str = TABLE) -> bool:
    iam.put_role_policy(RoleName="reader", PolicyName="inline", PolicyDocument=policy(*statements))
    return permissions.allows(ACCOUNT, ROLE, action, resource)


# --- policies -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("statements", "expected"),
    [
        ([], False),
        ([allow("dynamodb:Query", TABLE)], True),
        ([allow("dynamodb:*", TABLE)], True),
        ([allow("DynamoDB:qu?ry", TABLE)], True),
        ([allow("dynamodb:Scan", TABLE)], False),
        ([allow("dynamodb:Query", TABLE + "s")], False),
        ([allow("dynamodb:Query", TABLE[:-5] + "Haiku")], False),
        ([allow("dynamodb:Query", TABLE[:-5] + "*")], True),
        ([allow("dynamodb:Query", TABLE[:-5] + "h?iku")], True),
        ([allow("dynamodb:Query", TABLE[:-5] + "[h]aiku")], False),
        ([allow(["s3:GetObject", "dynamodb:Query"], ["arn:aws:s3:::x", TABLE])], True),
        ([allow("*"), deny("dynamodb:Query", TABLE)], False),
        ([deny("dynamodb:Query", TABLE), allow("*")], False),
        ([allow("*"), deny("dynamodb:Query", TABLE + "s")], True),
        ([{"Effect": "Allow", "NotAction": "iam:*", "Resource": "*"}], True),
        ([{"Effect": "Allow", "NotAction": "dynamodb:*", "Resource": "*"}], False),
        ([{"Effect": "Allow", "Action": "*", "NotResource": TABLE}], False),
        ([allow("*", Condition={"StringEquals": {"aws:RequestedRegion": "us-east-1"}})], True),
        ([allow("*", Condition={"StringEquals": {"aws:RequestedRegion": ["eu-west-1"]}})], False),
        ([allow("*", Condition={"StringLike": {"aws:PrincipalArn": "arn:*:role/rea*"}})], True),
        ([allow("*", Condition={"ArnNotLike": {"aws:PrincipalArn": "arn:aws:iam::*:role/rea*"}})], False),
        ([allow("*", Condition={"Bool": {"aws:SecureTransport": True}})], False),
        ([allow("*", Condition={"StringEquals": {"aws:SourceIp": "1.2.3.4"}})], False),
        ([allow("*"), deny("*", Condition={"StringEquals": {"aws:SourceIp": "1.2.3.4"}})], False),
        ([allow("*"), deny("*", Condition={"StringEquals": {"aws:PrincipalAccount": "1"}})], True),
    ],
)
def test_policies_are_read_as_iam_does(iam: Any, statements: list[dict[str, Any]], expected: bool) -> None:
    if not statements:
        assert not permissions.allows(ACCOUNT, ROLE, "dynamodb:Query", TABLE)
    else:
        assert may(iam, *statements) is expected


def test_attached_policies_count_in_their_default_version(iam: Any) -> None:
    arn = iam.create_policy(PolicyName="p", PolicyDocument=policy(allow("dynamodb:Query")))["Policy"]["Arn"]
    iam.attach_role_policy(RoleName="reader", PolicyArn=arn)
    assert permissions.allows(ACCOUNT, ROLE, "dynamodb:Query", TABLE)
    iam.create_policy_version(PolicyArn=arn, PolicyDocument=policy(allow("s3:*")), SetAsDefault=True)
    assert not permissions.allows(ACCOUNT, ROLE, "dynamodb:Query", TABLE)
    iam.detach_role_policy(RoleName="reader", PolicyArn=arn)
    assert not permissions.allows(ACCOUNT, ROLE, "s3:GetObject", "arn:aws:s3:::b/k")


def test_a_boundary_limits_what_policies_allow(iam: Any) -> None:
    arn = iam.create_policy(PolicyName="b", PolicyDocument=policy(allow("s3:*")))["Policy"]["Arn"]
    assert may(iam, allow("*"))
    iam.put_role_permissions_boundary(RoleName="reader", PermissionsBoundary=arn)
    assert not permissions.allows(ACCOUNT, ROLE, "dynamodb:Query", TABLE)
    assert permissions.allows(ACCOUNT, ROLE, "s3:GetObject", "arn:aws:s3:::b/k")


def test_a_role_that_is_gone_may_nothing() -> None:
    assert not permissions.allows(ACCOUNT, ROLE + "s", "dynamodb:Query", TABLE)


# --- sessions -----------------------------------------------------------------------------------------


def test_credentials_are_the_same_for_hours_and_belong_to_one_session() -> None:
    first = permissions.credentials(ACCOUNT, ROLE, "lab")
    assert permissions.credentials(ACCOUNT, ROLE, "lab") is first
    assert permissions.credentials(ACCOUNT, ROLE, "other").access_key_id != first.access_key_id
    assert first.arn == f"arn:aws:sts::{ACCOUNT}:assumed-role/reader/lab"
    assert permissions.session_of(ACCOUNT, first.access_key_id) is first
    first.expiration -= datetime.timedelta(hours=7)
    assert permissions.credentials(ACCOUNT, ROLE, "lab") is not first


def test_ordinary_keys_have_no_session() -> None:
    for key in (f"AKIAPRACTICE{ACCOUNT}", "ASIANOBODYNOBODYNOBO", ""):
        assert permissions.session_of(ACCOUNT, key) is None
    assert ask("dynamodb", "DeleteTable", {"TableName": "haiku"}, key=f"AKIAPRACTICE{ACCOUNT}") is None


# --- requests -----------------------------------------------------------------------------------------


def ask(
    service: str, operation: str, body: Any = None, *, key: str = "", path: str = "/", **headers: str
) -> tuple[str, str] | None:
    """What the server would be told of such a request of the role `reader`."""
    key = key or permissions.credentials(ACCOUNT, ROLE, "lab").access_key_id
    scope = f"AWS4-HMAC-SHA256 Credential={key}/20260101/us-east-1/{service}/aws4_request, Signature=x"
    sent = {"Authorization": scope, **{name.replace("_", "-"): value for name, value in headers.items()}}
    request = Request(EnvironBuilder(path=path, method="POST", headers=sent).get_environ())
    raw = body if isinstance(body, bytes) else json.dumps(body or {}).encode()
    protocols = {"s3": "rest-xml", "lambda": "rest-json", "ec2": "ec2", "sts": "query", "iam": "query"}
    call = wire.Call(service, operation, protocols.get(service, "json"), key, "header")
    return permissions.refusal(call, ACCOUNT, request, raw)


TRANSACTION = {
    "TransactItems": [
        {"Put": {"TableName": "haiku"}},
        {"Update": {"TableName": "haiku"}},
        {"ConditionCheck": {"TableName": "other"}},
    ]
}
LIST = b"<Delete><Object><Key>a&amp;b</Key></Object><Object><Key>c</Key></Object></Delete>"
OTHER = TABLE.replace("haiku", "other")
LOGS = f"arn:aws:logs:us-east-1:{ACCOUNT}:log-group:"


@pytest.mark.parametrize(
    ("service", "operation", "request_", "needed"),
    [
        ("dynamodb", "PutItem", {"body": {"TableName": "haiku"}}, [("dynamodb:PutItem", TABLE)]),
        ("dynamodb", "GetItem", {"body": {"TableName": TABLE}}, [("dynamodb:GetItem", TABLE)]),
        (
            "dynamodb",
            "Query",
            {"body": {"TableName": "haiku", "IndexName": "newest"}},
            [("dynamodb:Query", f"{TABLE}/index/newest")],
        ),
        (
            "dynamodb",
            "BatchWriteItem",
            {"body": {"RequestItems": {"haiku": [], "other": []}}},
            [("dynamodb:BatchWriteItem", TABLE), ("dynamodb:BatchWriteItem", OTHER)],
        ),
        (
            "dynamodb",
            "TransactWriteItems",
            {"body": TRANSACTION},
            [
                ("dynamodb:PutItem", TABLE),
                ("dynamodb:UpdateItem", TABLE),
                ("dynamodb:ConditionCheckItem", OTHER),
            ],
        ),
        (
            "sqs",
            "SendMessageBatch",
            {"body": {"QueueUrl": f"http://127.0.0.1:1/{ACCOUNT}/dead"}},
            [("sqs:SendMessage", f"arn:aws:sqs:us-east-1:{ACCOUNT}:dead")],
        ),
        (
            "logs",
            "PutLogEvents",
            {"body": {"logGroupName": "/aws/lambda/f", "logStreamName": "s"}},
            [("logs:PutLogEvents", f"{LOGS}/aws/lambda/f:log-stream:s")],
        ),
        (
            "logs",
            "CreateLogGroup",
            {"body": {"logGroupName": "/aws/lambda/f"}},
            [("logs:CreateLogGroup", f"{LOGS}/aws/lambda/f:log-stream:")],
        ),
        ("s3", "GetObject", {"path": "/b/dir/k%20k"}, [("s3:GetObject", "arn:aws:s3:::b/dir/k k")]),
        (
            "s3",
            "GetObject",
            {"path": "/b/k?versionId=1"},
            [("s3:GetObjectVersion", "arn:aws:s3:::b/k")],
        ),
        ("s3", "UploadPart", {"path": "/b/k?partNumber=1"}, [("s3:PutObject", "arn:aws:s3:::b/k")]),
        ("s3", "ListObjectsV2", {"path": "/b?list-type=2"}, [("s3:ListBucket", "arn:aws:s3:::b")]),
        (
            "s3",
            "CopyObject",
            {"path": "/b/k", "x_amz_copy_source": "from/a%20k?versionId=3"},
            [("s3:GetObject", "arn:aws:s3:::from/a k"), ("s3:PutObject", "arn:aws:s3:::b/k")],
        ),
        (
            "s3",
            "DeleteObjects",
            {"path": "/b?delete", "body": LIST},
            [("s3:DeleteObject", "arn:aws:s3:::b/a&b"), ("s3:DeleteObject", "arn:aws:s3:::b/c")],
        ),
        ("s3", "ListBuckets", {}, [("s3:ListAllMyBuckets", "*")]),
        (
            "lambda",
            "Invoke",
            {"path": "/2015-03-31/functions/f/invocations"},
            [("lambda:InvokeFunction", f"arn:aws:lambda:us-east-1:{ACCOUNT}:function:f")],
        ),
        (
            "ssm",
            "GetParameter",
            {"body": {"Name": "/a/b"}},
            [("ssm:GetParameter", f"arn:aws:ssm:us-east-1:{ACCOUNT}:parameter/a/b")],
        ),
        (
            "sts",
            "AssumeRole",
            {"body": b"Action=AssumeRole&RoleArn=arn%3Aaws%3Aiam%3A%3A1%3Arole%2Fx"},
            [("sts:AssumeRole", "arn:aws:iam::1:role/x")],
        ),
    ],
)
def test_an_operation_needs_its_actions_on_its_resources_and_no_more(
    iam: Any, service: str, operation: str, request_: dict[str, Any], needed: list[tuple[str, str]]
) -> None:
    """Without any one of them: refused, with the action and the resource; with all of them: not."""
    for missing in range(len(needed)):
        rest = [allow(action, arn) for action, arn in needed[:missing] + needed[missing + 1 :]]
        may(iam, *(rest or [allow("iam:ListUsers")]))
        refused = ask(service, operation, **request_)
        assert refused is not None
        action, resource = needed[missing]
        assert f"is not authorized to perform: {action} on resource: {resource} because" in refused[1]
        assert refused[0] == ("AccessDenied" if service in ("s3", "sts") else "AccessDeniedException")
    may(iam, *(allow(action, resource) for action, resource in needed))
    assert ask(service, operation, **request_) is None


def test_an_operation_outside_the_table_is_refused_even_to_an_administrator(iam: Any) -> None:
    may(iam, allow("*"))
    for service, operation, code in (
        ("iam", "CreateUser", "AccessDenied"),
        ("ec2", "RunInstances", "UnauthorizedOperation"),
        ("dynamodb", "ExportTableToPointInTime", "AccessDeniedException"),
    ):
        refused = ask(service, operation)
        assert refused is not None
        assert refused[0] == code
        assert "not in its table" in refused[1]


def test_anyone_may_ask_who_he_is() -> None:
    assert ask("sts", "GetCallerIdentity") is None


def test_credentials_that_have_run_out_are_refused(iam: Any) -> None:
    may(iam, allow("*"))
    session = permissions.credentials(ACCOUNT, ROLE, "lab")
    session.expiration -= datetime.timedelta(hours=13)
    refused = ask("dynamodb", "PutItem", {"TableName": "haiku"}, key=session.access_key_id)
    assert refused is not None
    assert refused[0] == "ExpiredTokenException"


def test_a_policy_of_the_session_limits_the_role(iam: Any) -> None:
    may(iam, allow("dynamodb:*"))
    session = permissions.credentials(ACCOUNT, ROLE, "lab")
    session.policy = policy(allow("dynamodb:GetItem"))
    key = session.access_key_id
    assert ask("dynamodb", "GetItem", {"TableName": "haiku"}, key=key) is None
    refused = ask("dynamodb", "PutItem", {"TableName": "haiku"}, key=key)
    assert refused is not None
    assert "no session policy allows" in refused[1]
