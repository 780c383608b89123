"""The evaluator of IAM's policy language: what a request meets, statement by statement, case by case."""

from __future__ import annotations

import json
from typing import Any

import pytest
from moto.iam.aws_managed_policies import aws_managed_policies_data

from awslabs.sandbox.core.policies import (
    ANYBODY,
    OPERATORS,
    OPPOSITES,
    Principal,
    as_list,
    decide,
    statements,
)

BUCKET = "arn:aws:s3:::b"
KEY = f"{BUCKET}/k"
TABLE = "arn:aws:dynamodb:us-east-1:1:table/haiku"
CONTEXT = {
    "aws:currenttime": "2026-11-29T12:00:00Z",
    "aws:mfa": None,
    "aws:principalarn": "arn:aws:iam::111122223333:role/reader",
    "aws:securetransport": "false",
    "aws:sourceip": "192.0.2.7",
    "aws:tagkeys": ["lab", "owner"],
    "aws:username": "Bob*",
    "aws:requesttag/lab": "ec2",
    "aws:requesttag/": None,
    "s3:max-keys": "10",
}


def allow(**more: Any) -> dict[str, Any]:
    return {"Effect": "Allow", "Action": "s3:GetObject", "Resource": "*", **more}


def deny(**more: Any) -> dict[str, Any]:
    return allow(**more) | {"Effect": "Deny"}


def said(*asked: dict[str, Any], action: str = "s3:GetObject", resource: str = KEY, who: Any = None) -> Any:
    return decide(asked, action, resource, who, CONTEXT)


@pytest.mark.parametrize(
    ("asked", "answer"),
    [
        ([], None),
        ([allow()], "Allow"),
        ([deny()], "Deny"),
        ([allow(), deny()], "Deny"),
        ([deny(), allow()], "Deny"),
        ([allow(), deny(Action="s3:PutObject")], "Allow"),
        ([allow(Action=["S3:get*"])], "Allow"),
        ([allow(Action="s3:Get?bject")], "Allow"),
        ([allow(Action="s3:[G]etObject")], None),
        ([{"Effect": "Allow", "NotAction": "s3:Put*", "Resource": "*"}], "Allow"),
        ([{"Effect": "Allow", "NotAction": ["iam:*", "s3:*"], "Resource": "*"}], None),
        ([allow(), {"Effect": "Deny", "NotAction": "iam:*", "Resource": "*"}], "Deny"),
        ([{"Effect": "Allow", "Action": "*", "NotResource": f"{BUCKET}/*"}], None),
        ([{"Effect": "Allow", "Action": "*", "NotResource": f"{BUCKET}/j*"}], "Allow"),
        ([{"Effect": "Allow", "Action": "*"}], None),
        ([{"Action": "*", "Resource": "*"}], "Deny"),
    ],
)
def test_effect_action_and_resource(asked: list[dict[str, Any]], answer: str | None) -> None:
    assert said(*asked) == answer


@pytest.mark.parametrize(
    ("pattern", "fits"),
    [
        ("*", True),
        (TABLE, True),
        ("arn:aws:dynamodb:*:table/haiku", True),  # at the end of a part, `*` goes on past it
        ("arn:aws:dynamodb:us-*-1:1:table/haiku", True),
        ("arn:aws:dynamodb:u*1:table/haiku", False),  # within one it does not
        ("arn:aws:dynamodb:us-east-1:?:table/h?iku", True),
        ("arn:aws:dynamodb:us-east-1?1:table/haiku", False),
        ("arn:aws:dynamodb:us-east-1:1:table/Haiku", False),
        ("arn:aws:dynamodb:us-east-1:1:table/*k*", True),
    ],
)
def test_resources_with_wildcards(pattern: str, fits: bool) -> None:
    found = said(allow(Action="*", Resource=pattern), action="dynamodb:Scan", resource=TABLE)
    assert (found == "Allow") is fits


CONDITIONS = [
    ("StringEquals", "aws:PrincipalArn", CONTEXT["aws:principalarn"], True),
    ("StringEquals", "aws:PrincipalArn", "arn:aws:iam::111122223333:role/*", False),
    ("StringEquals", "aws:RequestTag/lab", ["gpu", "ec2"], True),
    ("StringNotEquals", "aws:RequestTag/lab", ["gpu", "ec2"], False),
    ("StringNotEquals", "aws:RequestTag/other", "ec2", True),
    ("StringEquals", "aws:RequestTag/other", "ec2", False),
    ("StringEqualsIfExists", "aws:RequestTag/other", "ec2", True),
    ("StringEqualsIfExists", "aws:RequestTag/lab", "gpu", False),
    ("StringEqualsIgnoreCase", "aws:RequestTag/lab", "EC2", True),
    ("StringNotEqualsIgnoreCase", "aws:RequestTag/lab", "EC2", False),
    ("StringEqualsIgnoreCase", "aws:username", "${aws:UserName}", True),
    ("StringLike", "aws:RequestTag/lab", "e?*", True),
    ("StringNotLike", "aws:RequestTag/lab", "e?*", False),
    ("StringLikeIfExists", "aws:mfa", "x", True),
    ("ArnLike", "aws:PrincipalArn", "arn:aws:iam::*:role/r*", True),
    ("ArnEquals", "aws:PrincipalArn", "arn:aws:iam::*:role/r*", True),
    ("ArnLike", "aws:PrincipalArn", "arn:*:role/r*", False),  # six parts, each by itself
    ("ArnNotLike", "aws:PrincipalArn", "arn:aws:iam::*:role/w*", True),
    ("ArnNotEquals", "aws:PrincipalArn", "arn:aws:iam::*:role/r*", False),
    ("Bool", "aws:SecureTransport", False, True),
    ("Bool", "aws:SecureTransport", "True", False),
    ("BoolIfExists", "aws:mfa", "true", True),
    ("Null", "aws:mfa", True, True),
    ("Null", "aws:SecureTransport", "true", False),
    ("Null", "aws:SecureTransport", "false", True),
    ("IpAddress", "aws:SourceIp", ["198.51.100.0/24", "192.0.2.0/24"], True),
    ("IpAddress", "aws:SourceIp", "2001:db8::/32", False),
    ("NotIpAddress", "aws:SourceIp", "192.0.2.7", False),
    ("NumericEquals", "s3:max-keys", "10.0", True),
    ("NumericNotEquals", "s3:max-keys", 10, False),
    ("NumericLessThan", "s3:max-keys", 10, False),
    ("NumericLessThanEquals", "s3:max-keys", 10, True),
    ("NumericGreaterThan", "s3:max-keys", "9", True),
    ("NumericGreaterThanEquals", "s3:max-keys", "11", False),
    ("DateEquals", "aws:CurrentTime", "2026-11-29T13:00:00+01:00", True),
    ("DateNotEquals", "aws:CurrentTime", "2026-11-29T12:00:00Z", False),
    ("DateLessThan", "aws:CurrentTime", "2026-12-01", True),
    ("DateLessThanEquals", "aws:CurrentTime", "1700000000", False),
    ("DateGreaterThan", "aws:CurrentTime", "1700000000", True),
    ("DateGreaterThanEquals", "aws:CurrentTime", "2026-12-01T00:00:00Z", False),
    ("BinaryEquals", "aws:RequestTag/lab", "ec2", True),
    ("ForAnyValue:StringEquals", "aws:TagKeys", ["owner", "x"], True),
    ("ForAnyValue:StringEquals", "aws:TagKeys", ["x"], False),
    ("ForAnyValue:StringEquals", "aws:mfa", ["x"], False),
    ("ForAnyValue:StringNotEquals", "aws:TagKeys", ["owner"], True),
    ("ForAllValues:StringEquals", "aws:TagKeys", ["owner", "x"], False),
    ("ForAllValues:StringLike", "aws:TagKeys", ["o*", "l*"], True),
    ("ForAllValues:StringEquals", "aws:mfa", ["x"], True),
    ("ForAllValues:StringNotEquals", "aws:TagKeys", ["owner"], False),
    ("StringNotEquals", "aws:TagKeys", ["owner"], False),
]


@pytest.mark.parametrize(("operator", "key", "wanted", "holds"), CONDITIONS)
def test_conditions(operator: str, key: str, wanted: Any, holds: bool) -> None:
    condition = {operator: {key: wanted}}
    assert said(allow(Condition=condition)) == ("Allow" if holds else None)
    assert said(deny(Condition=condition)) == ("Deny" if holds else None)


def test_every_operator_has_a_case() -> None:
    tried = {operator.rpartition(":")[2].removesuffix("IfExists") for operator, *_ in CONDITIONS}
    assert tried == {*OPERATORS, *OPPOSITES, "Null"}


@pytest.mark.parametrize(
    "condition",
    [
        {"StringEquals": {"aws:NobodyKnows": "x"}},
        {"StringNotEquals": {"aws:NobodyKnows": "x"}},
        {"StringEqualsIfExists": {"aws:NobodyKnows": "x"}},
        {"Null": {"aws:NobodyKnows": "true"}},
        {"StringSoundsLike": {"aws:SecureTransport": "false"}},
        {"NotBool": {"aws:SecureTransport": "true"}},
        {"ForMostValues:StringEquals": {"aws:TagKeys": "lab"}},
        {"NumericLessThan": {"aws:SecureTransport": "3"}},
        {"StringEquals": {"aws:RequestTag/lab": "${aws:NobodyKnows}"}},
    ],
)
def test_what_cannot_be_judged_never_lets_pass(condition: dict[str, Any]) -> None:
    assert said(allow(Condition=condition)) is None
    assert said(allow(), deny(Condition=condition)) == "Deny"
    sure = {"StringEquals": {"aws:RequestTag/lab": "gpu"}}  # one line that fails settles it
    assert said(allow(), deny(Condition={**condition, "StringLike": sure["StringEquals"]})) == "Allow"


@pytest.mark.parametrize(
    ("pattern", "resource", "answer"),
    [
        ("${aws:username}/*", "Bob*/k", "Allow"),
        ("${aws:username}/*", "Bobby/k", None),  # what stands in a value is no wildcard
        ("${aws:RequestTag/lab}/*", "ec2/k", "Allow"),
        ("${aws:mfa}/*", "/k", None),
        ("${aws:mfa, 'none'}/*", "none/k", "Allow"),
        ("${*}/${$}${?}", "*/$?", "Allow"),
        ("${aws:NobodyKnows}/*", "x/k", None),
        ("a$b{c}", "a$b{c}", "Allow"),
    ],
)
def test_variables(pattern: str, resource: str, answer: str | None) -> None:
    asked = allow(Resource=f"{BUCKET}/{pattern}")
    assert said(asked, resource=f"{BUCKET}/{resource}") == answer
    old = statements(json.dumps({"Version": "2008-10-17", "Statement": asked}))
    assert said(*old, resource=f"{BUCKET}/{resource}") == ("Allow" if "{c}" in pattern else None)
    assert said(*old, resource=f"{BUCKET}/{pattern}") == "Allow"


ROLE = "arn:aws:iam::111122223333:role/reader"
SESSION = "arn:aws:sts::111122223333:assumed-role/reader/lab"
SOMEBODY = Principal("AWS", (SESSION, ROLE), "111122223333")
LAMBDA = Principal("Service", ("lambda.amazonaws.com",))


@pytest.mark.parametrize(
    ("element", "who", "answer"),
    [
        ({}, None, "Allow"),
        ({}, SOMEBODY, None),
        ({"Principal": "*"}, None, None),
        ({"Principal": "*"}, ANYBODY, "Allow"),
        ({"Principal": {"AWS": ["*"]}}, ANYBODY, "Allow"),
        ({"Principal": {"AWS": "*"}}, LAMBDA, "Allow"),
        ({"Principal": {"AWS": ROLE}}, ANYBODY, None),
        ({"Principal": {"AWS": ROLE}}, SOMEBODY, "Allow"),
        ({"Principal": {"AWS": SESSION}}, SOMEBODY, "Allow"),
        ({"Principal": {"AWS": "111122223333"}}, SOMEBODY, "Allow"),
        ({"Principal": {"AWS": "arn:aws:iam::111122223333:root"}}, SOMEBODY, "Allow"),
        ({"Principal": {"AWS": "arn:aws:iam::999922223333:root"}}, SOMEBODY, None),
        ({"Principal": {"Service": "lambda.amazonaws.com"}}, LAMBDA, "Allow"),
        ({"Principal": {"Service": ["ecs-tasks.amazonaws.com"]}}, LAMBDA, None),
        ({"Principal": {"Service": "lambda.amazonaws.com"}}, SOMEBODY, None),
        ({"NotPrincipal": {"AWS": ROLE}}, SOMEBODY, None),
        ({"NotPrincipal": {"AWS": ROLE + "s"}}, SOMEBODY, "Allow"),
        ({"NotPrincipal": {"AWS": ROLE}}, ANYBODY, "Allow"),
        ({"NotPrincipal": "*"}, ANYBODY, None),
    ],
)
def test_principals(element: dict[str, Any], who: Principal | None, answer: str | None) -> None:
    assert said(allow(**element), who=who) == answer


def test_a_trust_policy_names_no_resource() -> None:
    trust = {"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}
    assert said(trust, action="sts:AssumeRole", resource=ROLE, who=LAMBDA) == "Allow"


@pytest.mark.parametrize("text", ["", "[]", '"x"', "{}", '{"Statement": "x"}', '{"Statement": ["x"]}'])
def test_a_text_that_is_no_policy_says_nothing(text: str) -> None:
    assert statements(text) == ()


def test_the_operators_of_all_of_aws_own_policies_are_known() -> None:
    """1,600 policies as AWS writes them: none has an operator that this cannot read."""
    used = {
        operator.rpartition(":")[2].removesuffix("IfExists")
        for each in json.loads(aws_managed_policies_data).values()
        for statement in statements(json.dumps(each["Document"]))
        for operator in statement.get("Condition") or {}
    }
    assert {"StringEquals", "ArnLike", "Null"} <= used <= {*OPERATORS, *OPPOSITES, "Null"}
    assert as_list(None) == []
