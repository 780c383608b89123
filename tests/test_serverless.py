"""Chapter 5 over moto in this process: what is built, put right and taken down."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
import wire
from botocore.exceptions import ClientError
from click.testing import CliRunner
from moto import mock_aws
from practice import everything_ours
from wire import ALWAYS, Wire

from awslabs import policies, progress, recovery, serverless
from awslabs.cloud import Cloud
from awslabs.errors import AwsError, LedgerError, StillStanding
from awslabs.journal import read
from awslabs.kinds import ENSURES, KINDS
from awslabs.kinds.rest_apis import REST_API
from awslabs.ledger import Ledger
from awslabs.sandbox import rules, running_parts
from awslabs.sandbox.core import weather

ROLE = "arn:aws:iam::123456789012:role/classroom"
CANNOT_ASSUME = "The role defined for the function cannot be assumed by Lambda."
Changes = list[tuple[str, dict[str, Any]]]


@pytest.fixture
def cloud(monkeypatch: pytest.MonkeyPatch) -> Iterator[Cloud]:
    """moto under the strict rules, at once what AWS takes its time for; no API answers here."""
    assert running_parts.PARTS  # with them come the strict rules of their services
    monkeypatch.setattr(weather, "current", weather.Weather(slow_states=0))
    monkeypatch.setattr(serverless, "wait_for_api", lambda url: None)
    monkeypatch.setattr(Ledger, "settle_s", 0.2)
    with (
        rules.installed(),
        mock_aws(config={"lambda": {"use_docker": False}, "batch": {"use_docker": False}}),
    ):
        yield Cloud()


@pytest.fixture
def changes(monkeypatch: pytest.MonkeyPatch) -> Changes:
    return wire.changes(monkeypatch)


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch) -> Wire:
    return Wire(monkeypatch)


def lab(cloud: Cloud) -> Ledger:
    return Ledger(cloud, "serverless")


def names(changes: Changes) -> list[str]:
    return [name for name, _ in changes]


def test_up_builds_through_the_ledger_then_changes_nothing_and_down_leaves_nothing(
    cloud: Cloud, changes: Changes
) -> None:
    built = serverless.up(lab(cloud))
    tokens = {row.token for row in read(lab(cloud).journal.path)[1]}
    for call, request in changes:
        if call not in ENSURES:
            assert KINDS[call].join or any(token in str(request) for token in tokens), call
    changes.clear()
    assert serverless.up(lab(cloud)) == built
    assert changes == []
    serverless.down(lab(cloud))
    assert lab(cloud).resources == {}
    assert everything_ours(cloud) == []
    assert cloud.client("iam").list_roles()["Roles"] == []
    assert cloud.client("s3").list_buckets()["Buckets"] == []


def test_down_takes_functions_before_policies_before_roles_and_permissions_before_the_api(
    cloud: Cloud, changes: Changes
) -> None:
    serverless.up(lab(cloud))
    changes.clear()
    serverless.down(lab(cloud))
    order = [(call.partition(":")[2], str(request)) for call, request in changes]

    def at(call: str, name: str) -> int:
        return next(place for place, (made, request) in enumerate(order) if made == call and name in request)

    for name in ("list-haiku", "post-haiku", "like-haiku", "delete-haiku"):
        assert at("RemovePermission", name) < at("DeleteFunction", name) < at("DeleteRolePolicy", name)
        assert at("DeleteRolePolicy", name) < at("DeleteRole", f"{name}-role'")
        assert at("DeleteFunction", name) < at("DeleteLogGroup", name)
        assert at("RemovePermission", name) < at("DeleteRestApi", "restApiId")


def test_each_function_has_a_role_that_allows_what_it_needs_and_no_more(cloud: Cloud) -> None:
    ledger = lab(cloud)
    serverless.up(ledger)
    allowed = {}
    for name in serverless.MEMORY_MIB:
        document = cloud.client("iam").get_role_policy(
            RoleName=f"{ledger.prefix}-{name}-role", PolicyName="what-it-needs"
        )["PolicyDocument"]
        statements = document["Statement"]
        assert not any(one["Resource"] == "*" for one in statements)
        allowed[name] = sorted(action for one in statements for action in one["Action"])
    logs = ["logs:CreateLogStream", "logs:PutLogEvents"]
    assert allowed == {
        "greeter": [*logs, "sqs:SendMessage"],
        "list-haiku": ["dynamodb:Query", "dynamodb:Scan", *logs],
        "post-haiku": ["dynamodb:PutItem", *logs],
        "like-haiku": ["dynamodb:UpdateItem", *logs],
        "delete-haiku": ["dynamodb:DeleteItem", *logs],
    }


def test_log_groups_forget_after_a_week(cloud: Cloud) -> None:
    serverless.up(lab(cloud))
    groups = cloud.client("logs").describe_log_groups()["logGroups"]
    assert len(groups) == 5
    assert {group["retentionInDays"] for group in groups} == {7}


@pytest.mark.live
def test_only_the_site_bucket_is_public_and_holds_the_page_with_the_apis_address(cloud: Cloud) -> None:
    built, s3 = serverless.up(lab(cloud)), cloud.client("s3")
    policy = json.loads(s3.get_bucket_policy(Bucket=built.site_bucket_name)["Policy"])
    assert policy["Statement"][0]["Action"] == "s3:GetObject"
    with pytest.raises(ClientError, match="NoSuchBucketPolicy"):
        s3.get_bucket_policy(Bucket=built.bucket_name)
    page = s3.get_object(Bucket=built.site_bucket_name, Key="index.html")
    assert page["ContentType"] == "text/html; charset=utf-8"
    everything = b"".join(
        s3.get_object(Bucket=built.site_bucket_name, Key=one["Key"])["Body"].read()
        for one in s3.list_objects_v2(Bucket=built.site_bucket_name)["Contents"]
    )
    assert built.api_url.encode() in everything
    assert b"__API_URL__" not in everything


# -- Put right ---------------------------------------------------------------------------------------------


def test_an_api_changed_by_hand_is_put_right_and_not_deployed_again(cloud: Cloud, changes: Changes) -> None:
    serverless.up(lab(cloud))
    api, gateway = lab(cloud).resources["api"], cloud.client("apigateway")
    haiku = next(
        one["id"] for one in gateway.get_resources(restApiId=api)["items"] if one["path"] == "/haiku"
    )
    gateway.delete_method(restApiId=api, resourceId=haiku, httpMethod="POST")
    changes.clear()
    serverless.up(lab(cloud))
    assert names(changes) == ["apigateway:PutRestApi"]


@pytest.mark.live
def test_an_api_deleted_by_hand_is_made_anew_with_its_permissions(cloud: Cloud) -> None:
    serverless.up(lab(cloud))
    cloud.client("apigateway").delete_rest_api(restApiId=lab(cloud).resources["api"])
    serverless.up(lab(cloud))
    for name in ("list-haiku", "post-haiku", "like-haiku", "delete-haiku"):
        answer = cloud.client("lambda").get_policy(FunctionName=lab(cloud).resources[name])
        (statement,) = json.loads(answer["Policy"])["Statement"]
        assert lab(cloud).resources["api"] in statement["Condition"]["ArnLike"]["AWS:SourceArn"]


def test_another_description_is_deployed_once_and_the_old_deployment_goes(
    cloud: Cloud, changes: Changes, monkeypatch: pytest.MonkeyPatch
) -> None:
    serverless.up(lab(cloud))
    description = serverless.description
    monkeypatch.setattr(serverless, "description", lambda ledger: description(ledger) + b"# more\n")
    changes.clear()
    serverless.up(lab(cloud))
    assert names(changes) == [
        "apigateway:PutRestApi",
        "apigateway:CreateDeployment",
        "apigateway:UpdateStage",
        "apigateway:DeleteDeployment",
    ]
    api = lab(cloud).resources["api"]
    assert len(cloud.client("apigateway").get_deployments(restApiId=api)["items"]) == 1


def test_settings_that_a_killed_tune_left_behind_are_put_right(cloud: Cloud, changes: Changes) -> None:
    serverless.up(lab(cloud))
    name = lab(cloud).resources["list-haiku"]
    variables = {"TABLE_NAME": lab(cloud).resources["haiku-table"], "READ": "query"}
    cloud.client("lambda").update_function_configuration(
        FunctionName=name, MemorySize=1024, Environment={"Variables": variables}
    )
    changes.clear()
    serverless.up(lab(cloud))
    assert names(changes) == ["lambda:UpdateFunctionConfiguration"]
    standing = cloud.client("lambda").get_function_configuration(FunctionName=name)
    assert (standing["MemorySize"], standing["Environment"]["Variables"]["READ"]) == (512, "scan")


@pytest.mark.live
def test_a_page_or_policy_or_limit_changed_by_hand_is_put_right(cloud: Cloud, changes: Changes) -> None:
    built, s3 = serverless.up(lab(cloud)), cloud.client("s3")
    s3.delete_bucket_policy(Bucket=built.site_bucket_name)
    s3.put_object(Bucket=built.site_bucket_name, Key="index.html", Body=b"defaced", ContentType="text/html")
    cloud.client("apigateway").update_stage(
        restApiId=lab(cloud).resources["api"],
        stageName="prod",
        patchOperations=[{"op": "replace", "path": "/*/*/throttling/rateLimit", "value": "9"}],
    )
    changes.clear()
    serverless.up(lab(cloud))
    assert names(changes) == ["apigateway:UpdateStage", "s3:PutBucketPolicy", "s3:PutObject"]


# -- Roles that exist --------------------------------------------------------------------------------------


def test_with_a_role_that_exists_none_is_made_and_none_deleted(cloud: Cloud, changes: Changes) -> None:
    cloud.client("iam").create_role(
        RoleName="classroom", AssumeRolePolicyDocument=policies.trust("lambda.amazonaws.com")
    )
    cloud.client("iam").put_role_policy(
        RoleName="classroom",
        PolicyName="all-of-it",
        PolicyDocument=policies.document(policies.allow("*", "dynamodb:*", "logs:*", "sqs:*")),
    )
    changes.clear()
    serverless.up(lab(cloud), role_arn=ROLE)
    serverless.down(lab(cloud))
    assert [name for name in names(changes) if name.startswith("iam:")] == []
    assert [role["RoleName"] for role in cloud.client("iam").list_roles()["Roles"]] == ["classroom"]


def test_a_standing_lab_does_not_change_its_roles(cloud: Cloud, changes: Changes) -> None:
    serverless.up(lab(cloud))
    changes.clear()
    with pytest.raises(LedgerError, match="roles of its own"):
        serverless.up(lab(cloud), role_arn=ROLE)
    assert changes == []


# -- What AWS refuses for a while, and for good ------------------------------------------------------------


@pytest.mark.live
def test_a_role_that_lambda_cannot_assume_yet_is_waited_for(cloud: Cloud, aws: Wire) -> None:
    aws.refuse("CreateFunction", "InvalidParameterValueException", message=CANNOT_ASSUME, times=2)
    serverless.up(lab(cloud))
    assert aws.changed.count("CreateFunction") == 7  # five functions and two refusals


NO_GRANT = (
    "Lambda was unable to configure access to your environment variables because the KMS key is invalid for "
    "CreateGrant. KMS Exception: InvalidArnException KMS Message: ARN does not refer to a valid principal"
)
UPDATING = "There is already an update in progress. Please wait until the current update finishes."


@pytest.mark.live
@pytest.mark.parametrize(
    ("call", "code", "message"),
    [
        ("CreateFunction", "InvalidParameterValueException", NO_GRANT),
        ("PutRestApi", "BadRequestException", UPDATING),
        ("CreateDeployment", "ConflictException", UPDATING),
        ("CreateStage", "BadRequestException", UPDATING),
        ("DeleteRestApi", "BadRequestException", UPDATING),
    ],
)
def test_what_aws_needs_a_moment_for_is_waited_out(
    cloud: Cloud, aws: Wire, call: str, code: str, message: str
) -> None:
    aws.refuse(call, code, message=message, times=2)
    serverless.up(lab(cloud))
    serverless.down(lab(cloud))
    assert aws.changed.count(call) >= 3
    assert lab(cloud).resources == {}


def test_a_role_that_lambda_never_assumes_is_named(
    cloud: Cloud, aws: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Ledger, "patience", 0.0)
    aws.refuse("CreateFunction", "InvalidParameterValueException", message=CANNOT_ASSUME, times=ALWAYS)
    with pytest.raises(AwsError) as caught:
        serverless.up(lab(cloud), role_arn=ROLE)
    assert caught.value.fix.startswith("aws iam get-role --role-name classroom ")


def test_a_step_that_is_throttled_for_minutes_is_waited_out(
    cloud: Cloud, aws: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("awslabs.ledger.pause", lambda attempt: 0.0)
    aws.refuse("CreateDeployment", "TooManyRequestsException", message="Too Many Requests", times=60)
    serverless.up(lab(cloud))
    assert aws.changed.count("CreateDeployment") == 61


def test_another_invalid_parameter_of_a_function_is_refused_at_once(cloud: Cloud, aws: Wire) -> None:
    aws.refuse("CreateFunction", "InvalidParameterValueException", message="no such runtime", times=ALWAYS)
    with pytest.raises(AwsError, match="no such runtime"):
        serverless.up(lab(cloud))
    assert aws.changed.count("CreateFunction") == 1


@pytest.mark.live
def test_a_throttled_deletion_of_the_api_is_waited_out_and_said(
    cloud: Cloud, aws: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    serverless.up(lab(cloud))
    aws.refuse("DeleteRestApi", "TooManyRequestsException", message="Too Many Requests", times=2)
    waits: list[str] = []
    monkeypatch.setattr(progress, "watcher", Watcher(waits))
    serverless.down(lab(cloud))
    assert aws.changed.count("DeleteRestApi") == 3
    assert any(REST_API.rate in wait for wait in waits)


class Watcher:
    """Keeps what is awaited."""

    def __init__(self, waits: list[str]) -> None:
        self.waits = waits

    def begin(self, what: str, total: int | None = None) -> None:
        self.waits.append(what)

    def advance(self, wait: None, many: int) -> None:
        """Nothing is shown."""

    def end(self, wait: None) -> None:
        """Nothing is shown."""

    def line(self, text: str) -> None:
        """Nothing is shown."""

    def curves(self, title: str, x: str, y: str, joined: bool) -> None:
        """Nothing is shown."""


# -- Emptied and found again -------------------------------------------------------------------------------


def test_a_bucket_loses_every_version_and_what_others_put_there_is_counted(
    cloud: Cloud, caplog: pytest.LogCaptureFixture
) -> None:
    built, s3 = serverless.up(lab(cloud)), cloud.client("s3")
    bucket = built.bucket_name
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    for body in (b"one", b"two"):
        s3.put_object(Bucket=bucket, Key="mine", Body=body, Metadata={"awslabs-ledger": "x"})
    s3.put_object(Bucket=bucket, Key="foreign", Body=b"three")
    s3.put_object(Bucket=bucket, Key="deleted", Body=b"four")
    s3.delete_object(Bucket=bucket, Key="deleted")
    with caplog.at_level(logging.WARNING, "awslabs"):
        serverless.down(lab(cloud))
    assert "1 of 2 objects were not put there by a lab" in caplog.text
    assert s3.list_buckets()["Buckets"] == []


@pytest.mark.live
def test_a_lost_ledger_is_found_again_and_down_leaves_nothing(cloud: Cloud) -> None:
    ledger = lab(cloud)
    serverless.up(ledger)
    ledger.journal.path.unlink()
    (lost,) = recovery.lost(cloud, everything_ours(cloud))
    assert lost.prefix == ledger.prefix
    assert len(lost.things) == 21  # all but the joins, which go with their parents
    recovery.write_back(cloud, lost).down()
    assert everything_ours(cloud) == []
    assert cloud.client("iam").list_roles()["Roles"] == []


def test_what_carries_another_token_is_neither_adopted_nor_deleted(cloud: Cloud, changes: Changes) -> None:
    ledger = lab(cloud)
    cloud.client("sqs").create_queue(
        QueueName=f"{ledger.prefix}-dead-letters", tags={"awslabs:token": "theirs"}
    )
    cloud.client("logs").create_log_group(logGroupName=f"/aws/lambda/{ledger.prefix}-greeter")
    ledger.journal.save()
    with pytest.raises(AwsError, match="ResourceAlreadyExists"):
        serverless.up(lab(cloud))
    serverless.down(lab(cloud))
    assert len(cloud.client("logs").describe_log_groups()["logGroups"]) == 1


# -- The command line ----------------------------------------------------------------------------------------


def test_up_and_status_say_in_json_what_scripts_need(cloud: Cloud) -> None:
    keys = {*vars(serverless.Serverless)["__annotations__"], "lab", "name", "cloud", "account", "region"}
    keys |= {"ledger", "usd_per_hour", "resources"}
    for verb in ("up", "status"):
        result = CliRunner().invoke(serverless.command_line(), [verb, "--json"])
        assert result.exit_code == 0, result.output
        assert not keys - json.loads(result.stdout).keys()


@pytest.mark.live
def test_status_says_what_is_missing_of_a_lab_that_is_half_down(cloud: Cloud, aws: Wire) -> None:
    serverless.up(lab(cloud))
    aws.refuse("DeleteTable", "AccessDeniedException", message="no", times=ALWAYS)
    with pytest.raises(StillStanding):
        serverless.down(lab(cloud))
    result = CliRunner().invoke(serverless.command_line(), ["status", "--json"])
    assert result.exit_code == 0, result.output
    assert "Missing: greeter" in result.stderr
    assert set(json.loads(result.stdout)["resources"]) == {"table", "haiku-table"}


def test_the_same_files_are_packed_to_the_same_bytes() -> None:
    files = {"haiku.py": b"one", "more.py": b"two"}
    assert serverless.packed(files) == serverless.packed(dict(files))
    assert serverless.packed(files) != serverless.packed({**files, "haiku.py": b"other"})


def test_the_api_is_exported_as_parameters_that_up_leaves_alone_and_down_takes(
    cloud: Cloud, changes: Changes
) -> None:
    built = serverless.up(lab(cloud), export=True)
    ssm = cloud.client("ssm")
    shown = {
        one["Name"]: one["Value"]
        for one in ssm.get_parameters(Names=["ENDPOINT_URL", "TABLE_NAME"])["Parameters"]
    }
    assert shown == {"ENDPOINT_URL": built.api_url, "TABLE_NAME": built.haiku_table_name}
    changes.clear()
    assert serverless.up(lab(cloud), export=True) == built
    assert changes == []
    serverless.down(lab(cloud))
    assert ssm.describe_parameters()["Parameters"] == []


def test_a_public_api_answers_ten_requests_per_second_unless_told_and_its_table_has_a_cap(
    cloud: Cloud, changes: Changes
) -> None:
    def stage() -> tuple[float, int]:
        (shown,) = cloud.client("apigateway").get_stages(restApiId=lab(cloud).resources["api"])["item"]
        settings = shown["methodSettings"]["*/*"]
        return settings["throttlingRateLimit"], settings["throttlingBurstLimit"]

    serverless.up(lab(cloud))
    assert stage() == (10.0, 50)
    people, poems = (request for call, request in changes if call == "dynamodb:CreateTable")
    cap = {"MaxReadRequestUnits": 1000, "MaxWriteRequestUnits": 100}
    assert "OnDemandThroughput" not in people  # its writers are as fast as they can, and have keys
    assert [poems["OnDemandThroughput"], poems["GlobalSecondaryIndexes"][0]["OnDemandThroughput"]] == [
        cap,
        cap,
    ]
    changes.clear()
    serverless.up(lab(cloud), rate=200)
    assert stage() == (200.0, 1000)
    assert names(changes) == ["apigateway:UpdateStage"]
