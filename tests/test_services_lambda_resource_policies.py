"""The policies of functions, of their versions and of their aliases: moto alone, then with the rule."""

from __future__ import annotations

import json
from typing import Any

import pytest
from test_services_lambda_functions import FOR_LAMBDA, asked, make
from test_services_lambda_sharing import OTHER, stranger
from test_services_lambda_tags import layers
from test_services_support import Case, check, client, cloud, refused, said, table

from awslabs.sandbox.core import policies
from awslabs.sandbox.core.engine import Refused
from awslabs.sandbox.services.lambda_ import resource_policies, sharing  # noqa: F401  (what is tested here)

FUNCTION = "arn:aws:lambda:us-east-1:123456789012:function:lab"
MAY = {"FunctionName": "lab", "Action": "lambda:InvokeFunction", "Principal": "sqs.amazonaws.com"}
ROOT = {"AWS": f"arn:aws:iam::{OTHER}:root"}
STALE, GONE, BUSY = "PreconditionFailedException", "ResourceNotFoundException", "ResourceConflictException"


def held(**of: str) -> list[dict[str, Any]]:
    policy = client("lambda").get_policy(FunctionName="lab", **of)
    statements: list[dict[str, Any]] = json.loads(policy["Policy"])["Statement"]
    return statements


def with_alias() -> None:
    make()
    client("lambda").publish_version(FunctionName="lab")
    client("lambda").create_alias(FunctionName="lab", Name="live", FunctionVersion="1")


def a_permission_twice() -> list[str]:
    make()
    add = client("lambda").add_permission
    return [said(add, StatementId=name, **MAY) for name in ("api", "api", "other")]


def words() -> list[str]:
    """What is said of a statement, a revision and a function that are not there."""
    make()
    aws = client("lambda")
    aws.add_permission(StatementId="a", **MAY)
    revision = aws.get_policy(FunctionName="lab")["RevisionId"]
    remove = aws.remove_permission
    return [
        refused(remove, FunctionName="lab", StatementId="b")[1][:12].strip(),
        said(remove, FunctionName="lab", StatementId="a", RevisionId="wrong"),
        said(remove, FunctionName="lab", StatementId="a", RevisionId=revision),
        refused(remove, FunctionName="nobody", StatementId="a")[1][:19],
        refused(aws.get_policy, FunctionName="nobody")[1][:12].strip(),
    ]


def an_account() -> list[Any]:
    make()
    answer = client("lambda").add_permission(**MAY | {"Principal": OTHER}, StatementId="a")
    shown = json.loads(answer["Statement"])["Principal"]
    return [shown, held()[0]["Principal"], answer["ResponseMetadata"]["HTTPStatusCode"]]


def one_of_each() -> list[list[str]]:
    """The same StatementId in three policies."""
    with_alias()
    add = client("lambda").add_permission
    add(**MAY, StatementId="a")
    add(**MAY | {"FunctionName": "lab:1"}, StatementId="a")
    add(**MAY, StatementId="a", Qualifier="live")
    return [
        [each["Resource"] for each in held(**of)] for of in ({}, {"Qualifier": "1"}, {"Qualifier": "live"})
    ]


@table(
    Case("resource_policies", a_permission_twice, ["ok", "ok", "ok"], ["ok", BUSY, "ok"]),
    Case(
        "resource_policies",
        words,
        ["No policy is", STALE, STALE, "Function not found:", "Function not"],
        ["Statement b", STALE, "ok", "No policy found for", "The resource"],
    ),
    Case("resource_policies", an_account, [OTHER, OTHER, 200], [ROOT, ROOT, 201]),
    Case(
        "resource_policies",
        one_of_each,
        [[FUNCTION, FUNCTION, f"{FUNCTION}:live"]] * 3,
        [[FUNCTION], [f"{FUNCTION}:1"], [f"{FUNCTION}:live"]],
    ),
)
def test_aws_is_stricter_than_moto(case: Case) -> None:
    check(case)


def test_each_change_replaces_the_revision_of_one_policy() -> None:
    with cloud(every=True):
        with_alias()
        aws = client("lambda")

        def revisions() -> list[str]:
            return [aws.get_policy(FunctionName=name)["RevisionId"] for name in ("lab", "lab:live")]

        aws.add_permission(**MAY, StatementId="a")
        alias = aws.get_alias(FunctionName="lab", Name="live")["RevisionId"]
        other = MAY | {"StatementId": "a", "Qualifier": "live"}
        code, text, status = refused(aws.add_permission, **other, RevisionId="wrong")
        assert (code, status) == (STALE, 412)
        assert text.endswith("Call the GetPolicy API to retrieve the latest Revision Id")
        aws.add_permission(**other, RevisionId=alias)
        first = revisions()
        aws.add_permission(**MAY, StatementId="b")
        second = revisions()
        aws.remove_permission(FunctionName="lab", StatementId="b")
        assert len({first[0], second[0], revisions()[0]}) == 3
        assert first[1] == revisions()[1]


def test_what_is_not_there_has_its_own_words() -> None:
    with cloud(every=True):
        with_alias()
        aws = client("lambda")
        asked = MAY | {"StatementId": "a"}
        says = {
            "none": f"Cannot find alias arn: {FUNCTION}:none",
            "42": f"Function not found: {FUNCTION}:42",
        }
        for qualifier, text in says.items():
            assert refused(aws.add_permission, **asked, Qualifier=qualifier) == (GONE, text, 404)
        remove = {"FunctionName": "lab", "StatementId": "a"}
        says_nothing = (GONE, "No policy is associated with the given resource.", 404)
        assert refused(aws.remove_permission, **remove) == says_nothing
        assert refused(aws.remove_permission, **remove, Qualifier="live") == says_nothing


def test_a_policy_goes_with_its_alias() -> None:
    with cloud(every=True):
        with_alias()
        aws = client("lambda")
        aws.add_permission(**MAY, StatementId="a", Qualifier="live")
        aws.delete_alias(FunctionName="lab", Name="live")
        aws.create_alias(FunctionName="lab", Name="live", FunctionVersion="1")
        assert said(aws.get_policy, FunctionName="lab", Qualifier="live") == GONE


def test_the_policy_of_an_alias_opens_the_alias_alone() -> None:
    with cloud(every=True):
        with_alias()
        opened = {"Principal": OTHER, "Action": "lambda:GetFunction", "StatementId": "a"}
        client("lambda").add_permission(FunctionName="lab:live", **opened)
        get = stranger().get_function
        assert said(get, FunctionName=f"{FUNCTION}:live") == "ok"
        assert said(get, FunctionName=FUNCTION) == said(get, FunctionName=f"{FUNCTION}:1")
        assert said(get, FunctionName=FUNCTION) == "AccessDeniedException"


def test_conditions_are_all_kept() -> None:
    with cloud(every=True):
        make()
        bucket = "arn:aws:s3:::lab"
        more = {"SourceArn": bucket, "SourceAccount": OTHER, "PrincipalOrgID": "o-1234567890"}
        client("lambda").add_permission(**MAY, StatementId="a", **more)
        assert held()[0]["Condition"] == {
            "StringEquals": {"AWS:SourceAccount": OTHER, "aws:PrincipalOrgID": "o-1234567890"},
            "ArnLike": {"AWS:SourceArn": bucket},
        }


# --- layers -------------------------------------------------------------------------------------------


def test_a_version_of_a_layer_has_a_policy_of_its_own() -> None:
    with cloud(every=True):
        arn, aws = layers(1)[0], client("lambda")
        at: dict[str, Any] = {"LayerName": "l0", "VersionNumber": 1}
        asked = at | {"StatementId": "a", "Action": "lambda:GetLayerVersion", "Principal": OTHER}
        nothing = (GONE, "No policy is associated with the given resource.", 404)
        assert refused(aws.get_layer_version_policy, **at) == nothing
        first = aws.add_layer_version_permission(**asked)
        assert json.loads(first["Statement"])["Principal"] == ROOT
        assert json.loads(first["Statement"])["Resource"] == arn
        assert said(aws.add_layer_version_permission, **asked) == BUSY
        other = asked | {"StatementId": "b"}
        code, text, status = refused(aws.add_layer_version_permission, **other, RevisionId="wrong")
        assert (code, status, "Call the GetLayerPolicy API" in text) == (STALE, 412, True)
        second = aws.add_layer_version_permission(**other, RevisionId=first["RevisionId"])
        assert aws.get_layer_version_policy(**at)["RevisionId"] == second["RevisionId"]
        remove = at | {"StatementId": "b"}
        aws.remove_layer_version_permission(**remove, RevisionId=second["RevisionId"])
        left = aws.get_layer_version_policy(**at)
        assert [each["Sid"] for each in json.loads(left["Policy"])["Statement"]] == ["a"]
        assert len({first["RevisionId"], second["RevisionId"], left["RevisionId"]}) == 3
        assert refused(aws.remove_layer_version_permission, **remove)[1].startswith("Statement b is not")


def test_a_layer_grants_its_own_action_alone_and_is_there() -> None:
    with cloud(every=True):
        arn, aws = layers(1)[0], client("lambda")
        asked: dict[str, Any] = {"LayerName": "l0", "VersionNumber": 1, "StatementId": "a", "Principal": "*"}
        add = aws.add_layer_version_permission
        code, text, _ = refused(add, **asked, Action="*")
        assert (code, text.endswith("pattern: lambda:GetLayerVersion")) == ("ValidationException", True)
        gone = (GONE, f"Layer version {arn[:-1]}2 does not exist.", 404)
        asked["VersionNumber"] = 2
        assert refused(add, **asked, Action="lambda:GetLayerVersion") == gone


def test_a_layer_is_for_another_account_where_its_policy_says_so() -> None:
    with cloud(every=True):
        (arn,), aws, other = layers(1), client("lambda"), stranger()
        code, text, status = refused(other.get_layer_version_by_arn, Arn=arn)
        assert (code, status) == ("AccessDeniedException", 403)
        allows = "no resource-based policy allows the lambda:GetLayerVersion action"
        assert f"lambda:GetLayerVersion on resource: {arn} because {allows}" in text
        assert said(other.get_layer_version_by_arn, Arn=arn.replace("l0", "none")) == "AccessDeniedException"
        made = stranger("iam").create_role(RoleName="lab", AssumeRolePolicyDocument=FOR_LAMBDA)
        create = asked(Layers=[arn], Role=made["Role"]["Arn"])
        assert said(other.create_function, **create) == "AccessDeniedException"
        grant = {"StatementId": "a", "Action": "lambda:GetLayerVersion", "Principal": OTHER}
        aws.add_layer_version_permission(LayerName="l0", VersionNumber=1, **grant)
        assert other.get_layer_version_by_arn(Arn=arn)["LayerVersionArn"] == arn
        content = {"ZipFile": create["Code"]["ZipFile"]}
        other.publish_layer_version(LayerName="l0", Content=content)  # which is not meant by the other's ARN
        add = other.add_layer_version_permission
        assert said(add, LayerName=arn.removesuffix(":1"), VersionNumber=1, **grant) == GONE
        assert said(add, LayerName="l0", VersionNumber=1, **grant) == "ok"
        assert other.create_function(**create)["Layers"][0]["Arn"] == arn
        elsewhere = arn.replace("us-east-1", "nowhere-1")
        assert said(aws.get_layer_version_by_arn, Arn=elsewhere) == GONE


def test_a_permission_for_function_urls_alone_keeps_its_condition() -> None:
    with cloud(every=True):
        make()
        add = client("lambda").add_permission
        add(**MAY | {"Principal": "*"}, StatementId="url", InvokedViaFunctionUrl=True)
        (statement,) = held()
        assert statement["Condition"] == {"Bool": {"lambda:InvokedViaFunctionUrl": "true"}}
        assert said(stranger().get_function, FunctionName=FUNCTION) == "AccessDeniedException"
        caller = policies.Principal("AWS", (f"arn:aws:iam::{OTHER}:user/x",), OTHER)
        with pytest.raises(Refused):
            sharing.look_at_policy(FUNCTION, "us-east-1", "Invoke", caller)
