"""Accounts that may do less than others: AWS's Free plan, and those of a class."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import boto3
import inprocess
import pytest
from botocore.client import BaseClient
from moto.core.responses import BaseResponse
from test_rules_support import client, cloud, net, refused, said

from awslabs import addresses, batch_sweep, ec2, ecs_qa, gpu, images, serverless
from awslabs.errors import AwsError
from awslabs.explain import Place, explain
from awslabs.ledger import Ledger
from awslabs.sandbox.rules import accounts

ACCOUNT = "666677778888"
NOT_FREE = (
    "The specified instance type is not eligible for Free Tier. For a list of Free Tier instance types, run "
    "'describe-instance-types' with the filter 'free-tier-eligible=true'."
)


@pytest.fixture
def changes(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Calls that change something, in this process; `weather.current.account` says what account it is."""
    made, send = list[str](), BaseClient._make_api_call

    def call(one: BaseClient, operation: str, request: dict) -> Any:
        if operation == "GetAccountPlanState":  # moto has no such service; the practice cloud answers so
            return accounts.plan(ACCOUNT)
        if not operation.startswith(inprocess.READING):
            made.append(operation)
        return send(one, operation, request)

    with inprocess.cloud():
        monkeypatch.setattr(BaseClient, "_make_api_call", call)
        monkeypatch.setattr(addresses, "my_ip", lambda client: "203.0.113.7")
        monkeypatch.setattr(images, "engine_for", lambda *_, **__: None)
        yield made


def lab(name: str) -> Ledger:
    return Ledger(inprocess.open_cloud(ACCOUNT, "ada"), name)


def becomes(account: str) -> None:
    from awslabs.sandbox import weather  # `inprocess.cloud` puts a fresh one there

    weather.current.change({"account": account})


# -- The Free plan ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("chapter", "asked", "way_out"),
    [
        (ec2, {"instance_type": "t3.large"}, "python -m awslabs.ec2 up --instance-type t3.micro    #"),
        (gpu, {}, "python -m awslabs.gpu up --instance-type m7i-flex.large    #"),
        (gpu, {"instance_type": "t3.large"}, "python -m awslabs.gpu up --instance-type m7i-flex.large    #"),
        (batch_sweep, {}, "python -m awslabs.batch_sweep up --cpu    #"),
    ],
)
def test_the_free_plan_is_told_before_anything_is_built_with_a_type_that_it_runs(
    changes: list[str], chapter: Any, asked: dict[str, Any], way_out: str
) -> None:
    becomes("free-plan")
    with pytest.raises(AwsError) as caught:
        chapter.up(lab(chapter.__name__.rpartition(".")[2]), **asked)
    assert caught.value.what.startswith("This account's Free plan does not run a ")
    assert "c7i-flex.large, m7i-flex.large, t3.micro" in caught.value.why
    assert caught.value.fix.startswith(way_out)
    assert "aws freetier upgrade-account-plan" in caught.value.fix
    assert changes == []


@pytest.mark.parametrize(
    ("account", "machine"), [("free-plan", batch_sweep.FREE_CPU), ("new", batch_sweep.CPU)]
)
def test_machines_without_a_gpu_are_those_that_the_plan_runs_until_the_lab_is_built(
    changes: list[str], monkeypatch: pytest.MonkeyPatch, account: str, machine: batch_sweep.Machine
) -> None:
    ledger = lab("batch_sweep")
    becomes(account)
    assert batch_sweep.machine_for(ledger, cpu=True) is machine
    batch_sweep.require_machine(ledger, machine, spot=False)  # they may run
    standing = {"computeResources": {"instanceTypes": list(machine.instance_types)}}
    monkeypatch.setattr(batch_sweep, "describe_environment", lambda *_: standing)
    monkeypatch.setattr(ledger.journal, "last", lambda name: ledger)  # it stands
    monkeypatch.setattr(ledger, "id", "machines", raising=False)
    becomes("new" if account == "free-plan" else "free-plan")
    assert batch_sweep.machine_for(ledger, cpu=True) is machine


def test_whoever_may_not_ask_for_the_plan_is_not_held_up(
    changes: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    becomes("free-plan")
    monkeypatch.setattr(accounts, "plan", lambda account: (_ for _ in ()).throw(denied()))
    assert not ec2.on_free_plan(lab("ec2"))


def denied() -> Exception:
    return inprocess.refusal("GetAccountPlanState", "AccessDeniedException")


def test_a_type_that_the_free_plan_refuses_has_a_sentence_of_its_own() -> None:
    refusal = inprocess.refusal("RunInstances", "InvalidParameterCombination", message=NOT_FREE)
    told = explain(refusal, "ec2:RunInstances", Place("gpu", "eu-west-1"), {"InstanceType": "t3.large"})
    assert told.what == "This account's Free plan does not run a t3.large."
    assert "t3.micro" not in told.fix  # a GPU lab that is sent to t3.micro comes back with too little memory
    assert "free-tier-eligible" in told.fix
    assert "--region eu-west-1" in told.fix


@pytest.mark.parametrize("instance_type", ["g4dn.xlarge", "t3.large", "c5.large", "t2.micro"])
def test_the_practice_cloud_on_the_free_plan_refuses_as_aws_does(instance_type: str) -> None:
    with cloud("free_plan", account="free-plan"):
        code, message, status = refused(net().launch, InstanceType=instance_type)
    assert (code, message, status) == ("InvalidParameterCombination", NOT_FREE, 400)


@pytest.mark.parametrize("instance_type", ["t3.micro", "m7i-flex.large", "c7i-flex.large"])
def test_and_runs_what_is_eligible(instance_type: str) -> None:
    with cloud(every=True, account="free-plan"):
        assert net().launch(InstanceType=instance_type)["InstanceType"] == instance_type
        quota = client("service-quotas").get_service_quota(ServiceCode="ec2", QuotaCode="L-1216C47A")
        assert quota["Quota"]["Value"] == 8  # as a new account


# -- A class ---------------------------------------------------------------------------------------------

LAB_ROLE = f"--role-arn arn:aws:iam::{ACCOUNT}:role/LabRole"
LAB_PROFILE = f"--instance-profile-arn arn:aws:iam::{ACCOUNT}:instance-profile/LabInstanceProfile"
WITH_ROLES: list[tuple[Any, dict[str, Any], str]] = [
    (ecs_qa, {"model": "parrot", "without_docker": True}, LAB_ROLE),
    (batch_sweep, {"cpu": True, "without_docker": True}, f"{LAB_ROLE} {LAB_PROFILE}"),
    (serverless, {}, LAB_ROLE),
]


@pytest.mark.parametrize(("chapter", "asked", "options"), WITH_ROLES)
@pytest.mark.parametrize("account", ["classroom", "old"])
def test_whoever_may_not_make_roles_is_told_first_and_which_options_take_those_that_exist(
    changes: list[str],
    monkeypatch: pytest.MonkeyPatch,
    chapter: Any,
    asked: dict[str, Any],
    options: str,
    account: str,
) -> None:
    becomes(account)
    send = BaseClient._make_api_call
    if account == "old":  # an ordinary account, in which somebody lacks this right alone

        def refuse(one: BaseClient, operation: str, request: dict) -> Any:
            if operation == "CreateRole":
                changes.append(operation)
                raise inprocess.refusal(operation, "AccessDenied", 403)
            return send(one, operation, request)

        monkeypatch.setattr(BaseClient, "_make_api_call", refuse)
    name = chapter.__name__.rpartition(".")[2]
    with pytest.raises(AwsError) as caught:
        chapter.up(lab(name), **asked)
    assert caught.value.what == "iam:CreateRole was refused (AccessDenied)."
    assert caught.value.fix.startswith(f"python -m awslabs.{name} up {options}    #")
    assert changes == ["CreateRole"]
    assert lab(name).resources == {}


@pytest.mark.parametrize(
    ("method", "request_", "code"),
    [
        ("create_role", {"RoleName": "mine", "AssumeRolePolicyDocument": "{}"}, "AccessDenied"),
        ("delete_role", {"RoleName": "LabRole"}, "AccessDenied"),
        ("create_user", {"UserName": "mine"}, "AccessDenied"),
        ("create_service_linked_role", {"AWSServiceName": "spot.amazonaws.com"}, "ok"),
        ("get_role", {"RoleName": "LabRole"}, "ok"),
        ("get_instance_profile", {"InstanceProfileName": "LabInstanceProfile"}, "ok"),
    ],
)
def test_a_class_may_read_iam_and_change_nothing_in_it(
    method: str, request_: dict[str, str], code: str
) -> None:
    with cloud("classroom", "service_linked_role_names", account="classroom"):
        assert said(getattr(client("iam"), method), **request_) == code


@pytest.mark.parametrize(
    ("request_", "answer"),
    [
        ({"InstanceType": "t3.large"}, "ok"),
        ({"InstanceType": "t3.xlarge"}, "UnauthorizedOperation"),
        ({"InstanceType": "g4dn.xlarge"}, "UnauthorizedOperation"),
        ({"InstanceMarketOptions": {"MarketType": "spot"}}, "UnauthorizedOperation"),
    ],
)
def test_a_class_starts_small_servers_on_demand(request_: dict[str, Any], answer: str) -> None:
    with cloud(every=True, account="classroom"):
        assert said(net().launch, **request_) == answer


def test_a_class_has_two_regions() -> None:
    with cloud("classroom", account="classroom"):
        for region, answer in (("us-west-2", "ok"), ("eu-west-1", "UnauthorizedOperation")):
            elsewhere = boto3.client("ec2", region, aws_access_key_id="x", aws_secret_access_key="y")
            assert said(elsewhere.describe_vpcs) == answer


def test_what_runs_in_the_role_of_a_class_is_not_judged_as_its_students(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with cloud("classroom", account="classroom"):
        monkeypatch.setattr(BaseResponse, "get_access_key", lambda response: "ASIA" + 16 * "X")
        assert said(client("iam").create_user, UserName="by-the-role") == "ok"  # the server asks its policies
