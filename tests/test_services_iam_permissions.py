"""What credentials of a role may do: policies, sessions, and the table of operations."""

from __future__ import annotations

import datetime
import functools
import json
from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from botocore.config import Config
from test_services_iam_needs import sent
from test_services_support import TRUST, client, cloud, refused

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
    assert ask("dynamodb", "delete_table", TableName="haiku", key=f"AKIAPRACTICE{ACCOUNT}") is None


# --- requests -----------------------------------------------------------------------------------------


def ask(service: str, method: str, *, key: str = "", **request: Any) -> tuple[str, str] | None:
    """What the server is told of such a call of the role `reader`."""
    asked = sent(
        service, method, key or permissions.credentials(ACCOUNT, ROLE, "lab").access_key_id, **request
    )
    return permissions.refusal(asked.call, ACCOUNT, asked.request, asked.body)


@pytest.mark.parametrize(
    ("service", "method", "request_", "needed"),
    [
        ("dynamodb", "put_item", {"TableName": "haiku", "Item": {}}, [("dynamodb:PutItem", TABLE)]),
        (
            "s3",
            "copy_object",
            {"Bucket": "b", "Key": "k", "CopySource": "from/a k"},
            [("s3:GetObject", "arn:aws:s3:::from/a k"), ("s3:PutObject", "arn:aws:s3:::b/k")],
        ),
        (
            "sts",
            "assume_role",
            {"RoleArn": "arn:aws:iam::123456789012:role/x", "RoleSessionName": "lab"},
            [("sts:AssumeRole", "arn:aws:iam::123456789012:role/x")],
        ),
    ],
)
def test_an_operation_needs_its_actions_on_its_resources_and_no_more(
    iam: Any, service: str, method: str, request_: dict[str, Any], needed: list[tuple[str, str]]
) -> None:
    """Without any one of them: refused, with the action and the resource; with all of them: not."""
    for missing in range(len(needed)):
        rest = [allow(action, arn) for action, arn in needed[:missing] + needed[missing + 1 :]]
        may(iam, *(rest or [allow("iam:ListUsers")]))
        refused = ask(service, method, **request_)
        assert refused is not None
        action, resource = needed[missing]
        assert f"is not authorized to perform: {action} on resource: {resource} because" in refused[1]
        assert refused[0] == ("AccessDenied" if service in ("s3", "sts") else "AccessDeniedException")
    may(iam, *(allow(action, resource) for action, resource in needed))
    assert ask(service, method, **request_) is None


def test_conditions_are_asked_of_each_need_by_itself(iam: Any) -> None:
    passing = {"StringEquals": {"iam:PassedToService": "ecs-tasks.amazonaws.com"}}
    tagged = {"StringEquals": {"aws:RequestTag/lab": "qa"}}
    own = {"family": "qa", "containerDefinitions": [], "taskRoleArn": ROLE}
    register = functools.partial(ask, "ecs", "register_task_definition", **own)
    may(iam, allow("ecs:RegisterTaskDefinition", Condition=tagged), allow("iam:PassRole", Condition=passing))
    assert register(tags=[{"key": "lab", "value": "qa"}]) is not None  # it may not tag
    may(iam, allow("ecs:*", Condition=tagged), allow("iam:PassRole", Condition=passing))
    assert register(tags=[{"key": "lab", "value": "qa"}]) is None
    assert register(tags=[{"key": "lab", "value": "gpu"}]) is not None
    assert register() is not None
    passing["StringEquals"]["iam:PassedToService"] = "lambda.amazonaws.com"
    may(iam, allow("ecs:*"), allow("iam:PassRole", Condition=passing))
    refused = register()
    assert refused is not None
    assert "is not authorized to perform: iam:PassRole on resource: " + ROLE in refused[1]


def test_an_operation_outside_the_table_is_refused_even_to_an_administrator(iam: Any) -> None:
    may(iam, allow("*"))
    for service, method, request, code in (
        ("iam", "create_user", {"UserName": "x"}, "AccessDenied"),
        ("ec2", "create_image", {"InstanceId": "i-0", "Name": "lab"}, "UnauthorizedOperation"),
        ("dynamodb", "list_backups", {}, "AccessDeniedException"),
    ):
        refused = ask(service, method, **request)
        assert refused is not None
        assert refused[0] == code
        assert "not in its table" in refused[1]


def test_anyone_may_ask_who_he_is() -> None:
    assert ask("sts", "get_caller_identity") is None


def test_credentials_that_have_run_out_are_refused(iam: Any) -> None:
    may(iam, allow("*"))
    session = permissions.credentials(ACCOUNT, ROLE, "lab")
    session.expiration -= datetime.timedelta(hours=13)
    refused = ask("dynamodb", "put_item", TableName="haiku", Item={}, key=session.access_key_id)
    assert refused is not None
    assert refused[0] == "ExpiredTokenException"


def test_a_policy_of_the_session_limits_the_role(iam: Any) -> None:
    may(iam, allow("dynamodb:*"))
    session = permissions.credentials(ACCOUNT, ROLE, "lab")
    session.policy = policy(allow("dynamodb:GetItem"))
    key = session.access_key_id
    assert ask("dynamodb", "get_item", TableName="haiku", Key={}, key=key) is None
    refused = ask("dynamodb", "put_item", TableName="haiku", Item={}, key=key)
    assert refused is not None
    assert "no session policy allows" in refused[1]


# --- users ----------------------------------------------------------------------------------------------


@pytest.fixture
def ann(iam: Any) -> str:
    """The key of a user without policies."""
    iam.create_user(UserName="ann")
    return str(iam.create_access_key(UserName="ann")["AccessKey"]["AccessKeyId"])


def test_a_user_may_do_what_a_policy_of_the_user_or_of_a_group_allows(iam: Any, ann: str) -> None:
    get = functools.partial(ask, "dynamodb", "get_item", TableName="haiku", Key={}, key=ann)
    refused = get()
    assert refused is not None
    assert refused[0] == "AccessDeniedException"
    assert refused[1] == (
        f"User: arn:aws:iam::{ACCOUNT}:user/ann is not authorized to perform: dynamodb:GetItem on resource: "
        f"{TABLE} because no identity-based policy allows the dynamodb:GetItem action"
    )
    iam.put_user_policy(
        UserName="ann", PolicyName="read", PolicyDocument=policy(allow("dynamodb:GetItem", TABLE))
    )
    assert get() is None
    assert ask("dynamodb", "put_item", TableName="haiku", Item={}, key=ann) is not None
    iam.create_group(GroupName="class")
    iam.put_group_policy(
        GroupName="class", PolicyName="write", PolicyDocument=policy(allow("dynamodb:PutItem"))
    )
    assert ask("dynamodb", "put_item", TableName="haiku", Item={}, key=ann) is not None
    iam.add_user_to_group(GroupName="class", UserName="ann")
    assert ask("dynamodb", "put_item", TableName="haiku", Item={}, key=ann) is None
    made = iam.create_policy(PolicyName="no", PolicyDocument=policy(deny("dynamodb:*")))["Policy"]["Arn"]
    iam.attach_group_policy(GroupName="class", PolicyArn=made)
    assert get() is not None
    iam.detach_group_policy(GroupName="class", PolicyArn=made)
    iam.attach_user_policy(UserName="ann", PolicyArn=made)
    assert get() is not None


def test_a_boundary_is_the_most_that_a_user_may(iam: Any, ann: str) -> None:
    get = functools.partial(ask, "dynamodb", "get_item", TableName="haiku", Key={}, key=ann)
    put = functools.partial(ask, "dynamodb", "put_item", TableName="haiku", Item={}, key=ann)
    iam.put_user_policy(UserName="ann", PolicyName="all", PolicyDocument=policy(allow("*")))
    most = iam.create_policy(PolicyName="most", PolicyDocument=policy(allow("dynamodb:GetItem")))["Policy"][
        "Arn"
    ]
    iam.put_user_permissions_boundary(UserName="ann", PermissionsBoundary=most)
    assert (get() is None, put() is None) == (True, False)
    iam.delete_user_permissions_boundary(UserName="ann")
    assert (get() is None, put() is None) == (True, True)
    made = iam.create_user(UserName="ben", PermissionsBoundary=most)["User"]
    shown = {"PermissionsBoundaryType": "Policy", "PermissionsBoundaryArn": most}
    assert made["PermissionsBoundary"] == shown
    assert iam.get_user(UserName="ben")["User"]["PermissionsBoundary"] == shown
    assert "PermissionsBoundary" not in iam.get_user(UserName="ann")["User"]
    assert all("PermissionsBoundary" not in each for each in iam.list_users()["Users"])
    key = iam.create_access_key(UserName="ben")["AccessKey"]["AccessKeyId"]
    iam.put_user_policy(UserName="ben", PolicyName="all", PolicyDocument=policy(allow("*")))
    assert ask("dynamodb", "put_item", TableName="haiku", Item={}, key=key) is not None
    assert ask("dynamodb", "get_item", TableName="haiku", Key={}, key=key) is None
    iam.delete_policy(PolicyArn=most)
    assert ask("dynamodb", "get_item", TableName="haiku", Key={}, key=key) is not None


def test_a_boundary_is_a_policy_that_is_there(iam: Any, ann: str) -> None:
    most = iam.create_policy(PolicyName="most", PolicyDocument=policy(allow("dynamodb:GetItem")))["Policy"]
    iam.put_user_permissions_boundary(UserName="ann", PermissionsBoundary=most["Arn"])
    gone = most["Arn"] + "er"
    says = ("NoSuchEntity", f"Scope ARN: {gone} does not exist or is not attachable.", 404)
    who = ({"UserName": "ann"}, {"RoleName": "reader"})
    for put, of in zip(
        (iam.put_user_permissions_boundary, iam.put_role_permissions_boundary), who, strict=True
    ):
        assert refused(put, **of, PermissionsBoundary=gone) == says
        code, text, status = refused(put, **of, PermissionsBoundary="arn:aws:s3:::no-policy-at-all")
        assert (code, status) == ("ValidationError", 400)
    make = {"RoleName": "new", "AssumeRolePolicyDocument": FOR_LAMBDA}
    assert refused(iam.create_role, **make, PermissionsBoundary=gone) == says
    assert refused(iam.create_user, UserName="new", PermissionsBoundary=gone) == says
    unlooked = boto3.client("iam", "us-east-1", config=Config(parameter_validation=False))
    code, text, status = refused(unlooked.put_user_permissions_boundary, UserName="ann")
    assert (code, "'permissionsBoundary'" in text, status) == ("ValidationError", True, 400)
    shown = iam.get_user(UserName="ann")["User"]["PermissionsBoundary"]
    assert shown["PermissionsBoundaryArn"] == most["Arn"]


def test_a_user_may_look_at_himself_if_a_policy_says_so(iam: Any, ann: str) -> None:
    own = f"arn:aws:iam::{ACCOUNT}:user/ann"
    refused = ask("iam", "get_user", key=ann)
    assert refused is not None
    assert f"iam:GetUser on resource: {own}" in refused[1]
    iam.put_user_policy(UserName="ann", PolicyName="me", PolicyDocument=policy(allow("iam:GetUser", own)))
    assert ask("iam", "get_user", key=ann) is None
    assert ask("iam", "get_user", key=ann, UserName="ann") is None
    iam.create_user(UserName="ben")
    assert ask("iam", "get_user", key=ann, UserName="ben") is not None


def test_conditions_know_the_user_by_name_tag_and_arn(iam: Any, ann: str) -> None:
    iam.tag_user(UserName="ann", Tags=[{"Key": "class", "Value": "b"}])
    for condition, may_read in (
        ({"StringEquals": {"aws:username": "ann"}}, True),
        ({"StringEquals": {"aws:username": "ben"}}, False),
        ({"StringEquals": {"aws:PrincipalTag/class": "b"}}, True),
        ({"StringEquals": {"aws:PrincipalTag/class": "a"}}, False),
        ({"StringEquals": {"aws:PrincipalType": "User"}}, True),
        ({"ArnLike": {"aws:PrincipalArn": "arn:aws:iam::*:user/a*"}}, True),
    ):
        own = policy(allow("dynamodb:GetItem", TABLE, Condition=condition))
        iam.put_user_policy(UserName="ann", PolicyName="read", PolicyDocument=own)
        found = ask("dynamodb", "get_item", TableName="haiku", Key={}, key=ann)
        assert (found is None) is may_read, condition


def test_a_user_too_may_ask_who_he_is_and_nothing_outside_the_table(iam: Any, ann: str) -> None:
    assert ask("sts", "get_caller_identity", key=ann) is None
    iam.put_user_policy(UserName="ann", PolicyName="all", PolicyDocument=policy(allow("*")))
    refused = ask("dynamodb", "list_backups", key=ann)
    assert refused is not None
    assert "does not let users call" in refused[1]


def test_a_key_that_was_deleted_is_nobody_s_and_the_owner_s_key_is_not_judged(iam: Any, ann: str) -> None:
    iam.delete_access_key(UserName="ann", AccessKeyId=ann)
    assert permissions.user_of(ACCOUNT, ann) is None
    assert permissions.user_of("999999999999", ann) is None
    assert ask("dynamodb", "get_item", TableName="haiku", Key={}, key=f"AKIAPRACTICE{ACCOUNT}") is None
