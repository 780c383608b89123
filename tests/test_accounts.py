"""Accounts that may do less than others: AWS's Free plan, and those of a class."""

from __future__ import annotations

import inspect
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import boto3
import inprocess
import pytest
from moto.core.responses import BaseResponse
from test_services_support import client, cloud, net, refused, said
from wire import ALWAYS, Wire, refusal

from awslabs import (
    addresses,
    batch_sweep,
    ec2,
    ecs_qa,
    gpu,
    images,
    network,
    preflight,
    sandbox,
    serverless,
    tunnel,
)
from awslabs.cloud import Cloud
from awslabs.errors import AwsError, StillStanding
from awslabs.explain import Place, explain
from awslabs.ledger import Ledger
from awslabs.sandbox.core import policies
from awslabs.sandbox.services import accounts
from awslabs.sandbox.services.ec2 import power
from awslabs.workload.ecs_qa import questions
from awslabs.workload.gpu import notebook

ACCOUNT = "666677778888"
README = Path(__file__).parents[1] / "README.md"
NOT_FREE = (
    "The specified instance type is not eligible for Free Tier. For a list of Free Tier instance types, run "
    "'describe-instance-types' with the filter 'free-tier-eligible=true'."
)


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch) -> Iterator[Wire]:
    """Calls that change something, in this process; `weather.current.account` says what account it is."""
    with inprocess.cloud():
        monkeypatch.setattr(addresses, "my_ip", lambda client: "203.0.113.7")
        monkeypatch.setattr(images, "engine_for", lambda *_, **__: None)
        made = Wire(monkeypatch, times=ALWAYS)
        # moto has no such service; the practice cloud answers so
        made.fail("GetAccountPlanState", lambda call: accounts.plan(ACCOUNT))
        yield made


def lab(name: str) -> Ledger:
    return Ledger(inprocess.open_cloud(ACCOUNT, "ada"), name)


def becomes(account: str) -> None:
    from awslabs.sandbox.core import weather  # `inprocess.cloud` puts a fresh one there

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
    aws: Wire, chapter: Any, asked: dict[str, Any], way_out: str
) -> None:
    becomes("free-plan")
    with pytest.raises(AwsError) as caught:
        chapter.up(lab(chapter.__name__.rpartition(".")[2]), **asked)
    assert caught.value.what.startswith("This account's Free plan does not run a ")
    assert "c7i-flex.large, m7i-flex.large, t3.micro" in caught.value.why
    assert caught.value.fix.startswith(way_out)
    assert "aws freetier upgrade-account-plan" in caught.value.fix
    assert aws.calls == []


@pytest.mark.parametrize(
    ("account", "machine"), [("free-plan", batch_sweep.FREE_CPU), ("new", batch_sweep.CPU)]
)
def test_machines_without_a_gpu_are_those_that_the_plan_runs_until_the_lab_is_built(
    aws: Wire, monkeypatch: pytest.MonkeyPatch, account: str, machine: batch_sweep.Machine
) -> None:
    ledger = lab("batch_sweep")
    becomes(account)
    assert batch_sweep.machine_for(ledger, cpu=True) is machine
    batch_sweep.require_machine(ledger, machine, spot=False, instead="")  # they may run
    standing = {"computeResources": {"instanceTypes": list(machine.instance_types)}}
    monkeypatch.setattr(batch_sweep, "describe_environment", lambda *_: standing)
    monkeypatch.setattr(ledger.journal, "last", lambda name: ledger)  # it stands
    monkeypatch.setattr(ledger, "id", "machines", raising=False)
    becomes("new" if account == "free-plan" else "free-plan")
    assert batch_sweep.machine_for(ledger, cpu=True) is machine


def test_whoever_may_not_ask_for_the_plan_is_not_held_up(aws: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    becomes("free-plan")
    monkeypatch.setattr(accounts, "plan", lambda account: (_ for _ in ()).throw(denied()))
    assert not preflight.on_free_plan(lab("ec2"))


def denied() -> Exception:
    return refusal("GetAccountPlanState", "AccessDeniedException")


def test_a_type_that_the_free_plan_refuses_has_a_sentence_of_its_own() -> None:
    refused = refusal("RunInstances", "InvalidParameterCombination", message=NOT_FREE)
    told = explain(refused, "ec2:RunInstances", Place("gpu", "eu-west-1"), {"InstanceType": "t3.large"})
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
    (ecs_qa, {"model": "parrot", "without_docker": True}, f"--model parrot --no-docker {LAB_ROLE}"),
    (batch_sweep, {"cpu": True}, f"--cpu {LAB_ROLE} {LAB_PROFILE}"),
    (serverless, {}, LAB_ROLE),
]


@pytest.mark.parametrize(("chapter", "asked", "options"), WITH_ROLES)
@pytest.mark.parametrize("account", ["classroom", "old"])
def test_whoever_may_not_make_roles_is_told_first_and_which_options_take_those_that_exist(
    aws: Wire,
    monkeypatch: pytest.MonkeyPatch,
    chapter: Any,
    asked: dict[str, Any],
    options: str,
    account: str,
) -> None:
    becomes(account)
    if account == "old":  # an ordinary account, in which somebody lacks this right alone
        aws.refuse("CreateRole", "AccessDenied", 403)
    name = chapter.__name__.rpartition(".")[2]
    with pytest.raises(AwsError) as caught:
        chapter.up(lab(name), **asked)
    assert caught.value.what == "iam:CreateRole was refused (AccessDenied)."
    assert caught.value.fix.startswith(f"python -m awslabs.{name} up {options}    #")
    assert aws.changed == ["CreateRole"]
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


def test_of_the_same_call_the_policy_of_a_class_is_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []

    def decide(statements: Any, operation: str, *asked: Any) -> Any:
        read.append(operation)
        return policies.decide(statements, operation, *asked)

    monkeypatch.setattr(accounts, "decide", decide)
    accounts._allowed.cache_clear()
    with cloud("classroom", account="classroom"):
        for region in ("us-east-1", "us-east-1", "eu-west-2", "eu-west-2"):
            student = boto3.client("sqs", region, aws_access_key_id="x", aws_secret_access_key="y")
            said(student.list_queue_tags, QueueUrl="https://sqs.us-east-1.amazonaws.com/1/none")
    assert read == 2 * ["sqs:ListQueueTags"], "once for each Region"


def test_what_runs_in_the_role_of_a_class_is_not_judged_as_its_students(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with cloud("classroom", account="classroom"):
        monkeypatch.setattr(BaseResponse, "get_access_key", lambda response: "ASIA" + 16 * "X")
        assert said(client("iam").create_user, UserName="by-the-role") == "ok"  # the server asks its policies


# -- Accounts that have more than others -----------------------------------------------------------------

ZONES = [  # of an account that has opted in to a Local Zone and a Wavelength Zone
    ("us-west-2a", "usw2-az1", "availability-zone", "available"),
    ("us-west-2-lax-1a", "usw2-lax1-az1", "local-zone", "available"),
    ("us-west-2-wl1-las-wlz-1", "usw2-wl1-las-wlz1", "wavelength-zone", "available"),
    ("us-west-2b", "usw2-az2", "availability-zone", "impaired"),
    ("us-west-2c", "usw2-az3", "availability-zone", "available"),
]


def with_zones(zones: list[tuple[str, str, str, str]]) -> Any:
    """An EC2 with these zones, all of which offer every type."""
    names = ("ZoneName", "ZoneId", "ZoneType", "State")
    return SimpleNamespace(
        meta=SimpleNamespace(region_name="us-west-2"),
        describe_availability_zones=lambda **_: {
            "AvailabilityZones": [dict(zip(names, zone, strict=True)) for zone in zones]
        },
        describe_instance_type_offerings=lambda **_: {
            "InstanceTypeOfferings": [{"Location": zone[0]} for zone in zones]
        },
    )


def test_local_and_wavelength_zones_of_an_account_that_opted_in_are_left_out() -> None:
    assert preflight.zones_offering(with_zones(ZONES), "t3.micro") == ["us-west-2a", "us-west-2c"]
    assert batch_sweep.zones_of(with_zones(ZONES), batch_sweep.CPU) == ["us-west-2a", "us-west-2c"]
    with pytest.raises(AwsError, match="not offered in us-west-2"):
        preflight.zones_offering(with_zones(ZONES[1:3]), "t3.micro")


def test_tasks_run_in_a_zone_that_has_fargate(aws: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    zones = {"us-east-1a": "apne1-az3", "us-east-1b": "usw1-az2", "us-east-1c": "use1-az4"}
    monkeypatch.setattr(ecs_qa, "whole_zones", lambda ec2: zones)
    ledger = lab("ecs_qa")
    ecs_qa.up(ledger, image="public.ecr.aws/docker/library/python:3", model="parrot")
    (subnet,) = ledger.client("ec2").describe_subnets(SubnetIds=[ledger.resources["subnet"]])["Subnets"]
    assert subnet["AvailabilityZone"] == "us-east-1c"


@pytest.mark.parametrize("reference", [":2026", "@sha256:" + 64 * "0", ""])
def test_tasks_may_pull_a_teachers_image_from_the_same_account(aws: Wire, reference: str) -> None:
    ledger = lab("ecs_qa")
    made = ledger.client("ecr").create_repository(repositoryName="teacher/reader")["repository"]
    ecs_qa.up(ledger, image=made["repositoryUri"] + reference, model="parrot")
    names = {"RoleName": f"{ledger.prefix}-execution-role", "PolicyName": "what-it-needs"}
    document = ledger.client("iam").get_role_policy(**names)["PolicyDocument"]
    may_pull = [one["Resource"] for one in document["Statement"] if "ecr:BatchGetImage" in one["Action"]]
    assert may_pull == [ledger.arn("ecr", f"repository/{ledger.prefix}-qa_bot"), made["repositoryArn"]]


@pytest.mark.parametrize("image", ["python:3", "docker.io/library/python:3", "localhost:5000/teacher/reader"])
def test_public_images_need_no_right(aws: Wire, image: str) -> None:
    ledger = lab("ecs_qa")
    ledger.client("ecr").create_repository(repositoryName="teacher/reader")
    assert ecs_qa.private_repository(ledger.client("ecr"), image) == []


def test_the_reason_of_a_task_is_that_of_our_container_and_not_of_a_guards(aws: Wire) -> None:
    ledger = lab("ecs_qa")
    task = {
        "taskArn": "arn:aws:ecs:us-east-1:1:task/cluster/0",
        "memory": "4096",
        "stoppedReason": "Essential container in task exited",
        "containers": [
            {"name": "aws-guardduty-agent-mfjGLB", "reason": "CannotPullContainerError: its own trouble"},
            {"name": questions.CONTAINER, "reason": "OutOfMemoryError: killed", "exitCode": 137},
        ],
    }
    assert questions.why_it_failed(ledger, task)[0] == "The task used more than its 4 GB of memory."


def test_what_guardduty_has_put_into_a_network_is_named_and_waited_for(
    aws: Wire, caplog: pytest.LogCaptureFixture
) -> None:
    ledger = lab("ec2")
    api = ledger.client("ec2")
    vpc_id, (subnet_id,) = network.public_network(
        ledger, "10.10.0.0/23", [network.Subnet("subnet", "us-east-1a", "10.10.0.0/24")]
    )
    group_id = api.create_security_group(
        VpcId=vpc_id, GroupName=f"GuardDutyManagedSecurityGroup-{vpc_id}", Description="GuardDuty"
    )["GroupId"]
    endpoint_id = api.create_vpc_endpoint(
        VpcId=vpc_id,
        ServiceName="com.amazonaws.us-east-1.guardduty-data",
        VpcEndpointType="Interface",
        SubnetIds=[subnet_id],
        SecurityGroupIds=[group_id],
    )["VpcEndpoint"]["VpcEndpointId"]
    with pytest.raises(StillStanding) as caught:
        ledger.down()
    assert f"GuardDuty has put {endpoint_id} and {group_id} into this network" in caught.value.why
    assert f"aws ec2 delete-vpc-endpoints --vpc-endpoint-ids {endpoint_id} --region us-east-1" in caplog.text
    assert f"aws ec2 delete-security-group --group-id {group_id} --region us-east-1" in caplog.text
    assert api.describe_security_groups(GroupIds=[group_id])["SecurityGroups"]  # it is not ours
    api.delete_vpc_endpoints(VpcEndpointIds=[endpoint_id])
    api.delete_security_group(GroupId=group_id)
    ledger.down()
    assert ledger.resources == {}


# -- What AWS says of accounts ---------------------------------------------------------------------------

VALIDATED = (
    "Your request for accessing resources in this region is being validated, and you will not be able to "
    "launch additional resources in this region until the validation is complete."
)
OF_ACCOUNTS = {
    "PendingVerification": (
        VALIDATED,
        "AWS is still checking whether this account may use eu-west-1.",
        "mail",
    ),
    "OptInRequired": (
        "You are not subscribed to this service. Please go to http://aws.amazon.com to subscribe.",
        "This account is not signed up for the service yet.",
        "https://portal.aws.amazon.com/billing/signup",
    ),
    "Blocked": (
        "This account is currently blocked and not recognized as a valid account.",
        "AWS has blocked this account.",
        "https://console.aws.amazon.com/support/home",
    ),
    "AuthFailure.ServiceLinkedRoleCreationNotPermitted": (
        "The provided credentials do not have permission to create the service-linked role for EC2 Spot "
        "Instances.",
        "ec2:RunInstances was refused (AuthFailure.ServiceLinkedRoleCreationNotPermitted).",
        "aws iam create-service-linked-role --aws-service-name spot.amazonaws.com    #",
    ),
    "UnauthorizedOperation": (
        "You are not authorized to perform this operation. User: arn:aws:sts::1:assumed-role/voclabs/u is "
        "not authorized to perform: ec2:RunInstances with an explicit deny in an identity-based policy: "
        "arn:aws:iam::1:policy/voc-cancel-cred",
        "The session of this AWS Academy lab has ended.",
        "start the lab again",
    ),
}


@pytest.mark.parametrize("code", OF_ACCOUNTS)
def test_what_aws_says_of_an_account_has_a_sentence_of_its_own(code: str) -> None:
    message, what, fix = OF_ACCOUNTS[code]
    refused = refusal("RunInstances", code, message=message)
    told = explain(refused, "ec2:RunInstances", Place("gpu", "eu-west-1"), {"InstanceType": "g4dn.xlarge"})
    assert told.what == what
    assert fix in told.fix
    assert "ledger verify" not in told.fix  # which would ask the same account, and be refused
    assert "aws configure" not in told.fix


@pytest.mark.parametrize(
    ("request_", "way_out"),
    [
        ({"InstanceType": "t3.large", "InstanceMarketOptions": {"MarketType": "spot"}}, "leave --spot out"),
        ({"InstanceType": "g4dn.xlarge"}, "take another --instance-type"),
    ],
)
def test_a_server_that_one_may_not_start_may_be_had_otherwise(request_: dict[str, Any], way_out: str) -> None:
    refused = refusal("RunInstances", "UnauthorizedOperation", 403)
    assert way_out in explain(refused, "ec2:RunInstances", Place("gpu", "us-east-1"), request_).fix


# -- Types of servers --------------------------------------------------------------------------------------


@pytest.mark.parametrize(("chapter", "such_as"), [(ec2, "t3.micro"), (gpu, "g4dn.xlarge")])
def test_an_arm_is_refused_before_the_network_is_built(aws: Wire, chapter: Any, such_as: str) -> None:
    with pytest.raises(AwsError) as caught:
        chapter.up(lab(chapter.__name__.rpartition(".")[2]), instance_type="t4g.micro")
    assert caught.value.what == "The lab's images do not run on t4g.micro."
    assert caught.value.fix.endswith(f"--instance-type {such_as}")
    assert aws.calls == []


@pytest.mark.parametrize("instance_type", ["t2.micro", "t3.micro"])
def test_the_console_of_a_server_that_is_not_of_nitro_is_read_too(
    aws: Wire, monkeypatch: pytest.MonkeyPatch, instance_type: str
) -> None:
    monkeypatch.setattr(power.current, "console", lambda instance_id: "-----BEGIN SSH HOST KEY FINGERPRINTS")
    read = []
    monkeypatch.setattr(tunnel, "wait_for_ssh", lambda address, console, **_: read.append(console()))
    ec2.up(lab("ec2"), instance_type=instance_type)
    assert read == ["-----BEGIN SSH HOST KEY FINGERPRINTS"]


def test_the_first_boot_of_a_large_image_may_take_longer_than_five_minutes(
    aws: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[float] = []
    monkeypatch.setattr(tunnel, "wait_for_ssh", lambda *_, timeout_s, **__: waits.append(timeout_s))
    monkeypatch.setattr(notebook, "prepare", lambda *_, **__: "")
    gpu.up(lab("gpu"))
    assert waits[0] >= 15 * 60


# -- All labs in all accounts ----------------------------------------------------------------------------

NO_ROLE, NO_GPU = "iam:CreateRole was refused", "This account may not run a g4dn.xlarge"
NOT_ON_PLAN = "This account's Free plan does not run a g4dn.xlarge"
WAYS: dict[str, dict[Any, list[str]]] = {  # account, lab: what is refused before it ends well
    "new": {ec2: [], gpu: [NO_GPU], ecs_qa: [], batch_sweep: [NO_GPU], serverless: []},
    "free-plan": {ec2: [], gpu: [NOT_ON_PLAN], ecs_qa: [], batch_sweep: [NOT_ON_PLAN], serverless: []},
    "classroom": {
        ec2: [],
        gpu: [NO_GPU],
        ecs_qa: [NO_ROLE],
        batch_sweep: [NO_GPU, NO_ROLE],
        serverless: [NO_ROLE],
    },
}
BEGIN = {ecs_qa: "--model parrot --no-docker", batch_sweep: "--no-docker"}  # nothing here builds an image
UP = re.compile(r"python -m awslabs\.\w+ up([^#;]*)")


def options_of(chapter: Any, line: str) -> dict[str, Any]:
    """What `up` gets from a command line, as the command line reads it."""
    command = chapter.command_line().commands["up"]
    given = command.make_context("up", shlex.split(line)).params
    return {name: given[name] for name in inspect.signature(chapter.up).parameters if name in given}


def rights_of(lab: str) -> set[str]:
    """The services that the README says a lab needs, under "Rights"."""
    section = README.read_text(encoding="utf-8").partition("## Rights")[2].partition("\n## ")[0]
    rows = [line.split("|") for line in section.splitlines() if line.startswith("| `")]
    (actions,) = [row[2] for row in rows if f"`{lab}`" in row[1]]
    return set(re.findall(r"`(\w+)", actions))


@pytest.mark.parametrize(
    ("account", "chapter"), [(account, chapter) for account, labs in WAYS.items() for chapter in labs]
)
def test_each_lab_ends_well_or_its_refusals_lead_there_before_anything_costs(
    run: sandbox.Run, monkeypatch: pytest.MonkeyPatch, account: str, chapter: Any
) -> None:
    monkeypatch.setattr(notebook, "prepare", lambda *_, **__: "")  # it would install PyTorch
    run.weather(account=account)
    name = chapter.__name__.rpartition(".")[2]
    number = f"{list(WAYS).index(account)}{list(WAYS[account]).index(chapter)}".zfill(12)
    ledger = Ledger(Cloud(environment=run.environment(number)), name)
    line = BEGIN.get(chapter, "")
    for what in WAYS[account][chapter]:
        with pytest.raises(AwsError) as caught:
            chapter.up(ledger, **options_of(chapter, line))
        assert caught.value.what.startswith(what)
        assert ledger.resources == {}
        way = UP.search(caught.value.fix)
        assert way, caught.value.fix
        line = way[1]
    chapter.up(ledger, **options_of(chapter, line))
    assert ledger.resources
    ledger.down()
    assert ledger.resources == {}
    done = {call["operation"] for call in run.calls(number) if call["status"] == 200}
    assert account != "classroom" or not [call for call in done if call.startswith("iam:Create")]
    asked = {call.partition(":")[0] for call in done} - {"sts", "service-quotas", "freetier", "iam"}
    assert asked == rights_of(name)
