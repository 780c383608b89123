"""The dead-man's switch: what it may reach, how it is set, put off and moved, and what it takes down."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any
from unittest import mock

import boto3
import harness.switch  # noqa: F401  (what it looks at from outside)
import pytest
from botocore.exceptions import ClientError
from harness import outside

from awslabs import cli, inventory, journal, kinds, limits, policies, switch, switch_function
from awslabs.cloud import Cloud
from awslabs.errors import AwsError, StillStanding
from awslabs.kinds import schedules
from awslabs.ledger import Ledger
from awslabs.progress import poll
from awslabs.sandbox.core import policies as iam
from awslabs.switch import PARTS, Switch

PREFIX, OTHER = "awslabs-ec2-abc123", "awslabs-ec2-xyz789"
ACCOUNT, REGION = "123456789012", "us-east-1"


# --- what it may reach -----------------------------------------------------------------------------------


def may(action: str, resource: str, ledger: str = "") -> bool:
    """Whether the switch of `PREFIX` may do that, to something with another ledger's tag, or one's own."""
    facts = {**iam.context(REGION), "aws:resourcetag/": None}
    if ledger:
        facts["aws:resourcetag/awslabs:ledger"] = ledger
    document = policies.document(*policies.take_down(PREFIX, REGION, ACCOUNT))
    return iam.decide(iam.statements(document), action, resource, None, facts) == "Allow"


@pytest.mark.parametrize(
    ("action", "resource"),
    [
        ("lambda:DeleteFunction", "arn:aws:lambda:us-east-1:123456789012:function:{}-greeter"),
        ("logs:DeleteLogGroup", "arn:aws:logs:us-east-1:123456789012:log-group:/awslabs/{}:log-stream:"),
        ("logs:DeleteLogGroup", "arn:aws:logs:us-east-1:123456789012:log-group:/aws/lambda/{}-x:log-stream:"),
        ("dynamodb:DeleteTable", "arn:aws:dynamodb:us-east-1:123456789012:table/{}-people"),
        ("ecr:DeleteRepository", "arn:aws:ecr:us-east-1:123456789012:repository/{}-qa_bot"),
        ("ecs:DeleteCluster", "arn:aws:ecs:us-east-1:123456789012:cluster/{}-cluster"),
        ("ecs:StopTask", "arn:aws:ecs:us-east-1:123456789012:task/{}-cluster/0123"),
        ("ecs:DeleteTaskDefinitions", "arn:aws:ecs:us-east-1:123456789012:task-definition/{}-qa_bot:1"),
        ("batch:DeleteComputeEnvironment", "arn:aws:batch:us-east-1:123456789012:compute-environment/{}-m"),
        ("batch:UpdateJobQueue", "arn:aws:batch:us-east-1:123456789012:job-queue/{}-queue"),
        ("batch:DeregisterJobDefinition", "arn:aws:batch:us-east-1:123456789012:job-definition/{}-t:1"),
        ("sqs:DeleteQueue", "arn:aws:sqs:us-east-1:123456789012:{}-dead-letters"),
        ("s3:DeleteBucket", "arn:aws:s3:::{}-data-20261129120000-0123456789abcdef"),
        ("s3:DeleteObjectVersion", "arn:aws:s3:::{}-data-20261129120000-0123456789abcdef/a/b"),
        ("iam:DeleteRole", "arn:aws:iam::123456789012:role/awslabs/us-east-1/{}/x"),
        ("iam:DeleteInstanceProfile", "arn:aws:iam::123456789012:instance-profile/awslabs/us-east-1/{}/x"),
        ("scheduler:DeleteSchedule", "arn:aws:scheduler:us-east-1:123456789012:schedule/default/{}-2026"),
    ],
)
def test_what_has_a_name_or_path_is_reached_by_it(action: str, resource: str) -> None:
    assert may(action, resource.format(PREFIX))
    assert not may(action, resource.format(OTHER))


@pytest.mark.parametrize(
    ("action", "resource"),
    [
        ("ec2:TerminateInstances", "arn:aws:ec2:us-east-1:123456789012:instance/i-0123"),
        ("ec2:DeleteVpc", "arn:aws:ec2:us-east-1:123456789012:vpc/vpc-0123"),
        ("ec2:DeleteKeyPair", "arn:aws:ec2:us-east-1:123456789012:key-pair/x"),
        ("batch:TerminateJob", "arn:aws:batch:us-east-1:123456789012:job/0123"),
        ("ssm:DeleteParameter", "arn:aws:ssm:us-east-1:123456789012:parameter/TABLE_NAME"),
        ("apigateway:DELETE", "arn:aws:apigateway:us-east-1::/restapis/abc"),
    ],
)
def test_what_has_only_tags_is_reached_by_them(action: str, resource: str) -> None:
    assert may(action, resource, PREFIX)
    assert not may(action, resource, OTHER)
    assert not may(action, resource)


def test_it_may_make_nothing_and_its_policy_fits_into_a_role() -> None:
    for action in ("ec2:RunInstances", "iam:PassRole", "iam:PutRolePolicy", "lambda:CreateFunction"):
        assert not may(action, "*", PREFIX)
        assert not may(action, f"arn:aws:iam::{ACCOUNT}:role/awslabs/{REGION}/{PREFIX}/x", PREFIX)
    longest = policies.document(*policies.take_down("awslabs-batch-sweep-abc123", "ap-northeast-3", ACCOUNT))
    assert len(longest) < 9000  # of 10,240 for all inline policies of a role


def test_every_kind_can_be_listed_and_deleted_by_it() -> None:
    """A new kind needs its rights in `policies`: its service is named there at least."""
    granted = {
        action.partition(":")[0]
        for statement in policies.take_down(PREFIX, REGION, ACCOUNT)
        for action in statement["Action"]
    }
    assert {kind.service for kind in kinds.KINDS.values()} <= granted


def test_the_package_holds_all_that_it_imports(tmp_path: Path) -> None:
    with zipfile.ZipFile(io.BytesIO(switch.package())) as archive:
        archive.extractall(tmp_path)
    assert switch.package() == switch.package()
    imports = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); import awslabs.switch_function as f"
    told = "; print(f.__file__, 'click' in sys.modules, 'awslabs.sandbox' in sys.modules)"
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    ran = subprocess.run(
        [sys.executable, "-c", imports + told], env=environment, cwd="/", capture_output=True, text=True
    )
    assert ran.stdout.split() == [f"{tmp_path}/awslabs/switch_function.py", "False", "False"], ran.stderr


def test_a_schedule_says_whose_it_is() -> None:
    mark = kinds.Mark(
        PREFIX, "ana", "11 switch-schedule", "20261129120000-0123456789abcdef", REGION, "0" * 16
    )
    sent = schedules.mark_schedule({"Name": PREFIX}, mark)
    assert len(sent["Name"]) <= 64
    tags = schedules.marks_of(sent)
    assert tags == {key: value for key, value in mark.tags().items() if key != "Name"}
    assert schedules.marks_of({**sent, "Description": "changed by hand"})["awslabs:ledger"] == PREFIX
    assert schedules.marks_of({"Name": "somebody-else-s"}) == {}


NOW = schedules.now()
LATER = NOW + timedelta(hours=3)


@pytest.mark.parametrize("at", [NOW - timedelta(hours=2), NOW], ids=["long past", "now"])
def test_a_time_that_has_come_is_a_minute_from_now(at: datetime) -> None:
    begins = schedules.when(at)["StartDate"] - schedules.now()
    assert timedelta(seconds=50) < begins <= schedules.AT_ONCE


@pytest.mark.parametrize(
    ("stands", "at", "sooner", "sent"),
    [
        ({"StartDate": LATER}, LATER + timedelta(minutes=1), True, None),  # it makes no difference
        ({"StartDate": LATER}, LATER + timedelta(hours=1), True, "then"),
        ({"StartDate": LATER}, LATER - timedelta(hours=1), True, "then"),
        ({"StartDate": LATER}, LATER - timedelta(hours=1), False, None),
        ({"StartDate": LATER}, None, True, "out of use"),
        ({"State": "DISABLED"}, LATER, True, "then"),
        ({"State": "DISABLED"}, None, True, None),
        ({"State": "DISABLED"}, LATER, False, None),  # `down` need not put off what waits anyway
        ({}, LATER, False, "then"),  # it calls already
        ({}, None, True, "out of use"),
    ],
)
def test_a_schedule_is_moved_where_its_time_differs(
    stands: dict[str, Any], at: datetime | None, sooner: bool, sent: str | None
) -> None:
    kept = {"Name": PREFIX, "ScheduleExpression": "rate(2 minutes)", "FlexibleTimeWindow": {"Mode": "OFF"}}
    scheduler = mock.Mock()
    scheduler.get_schedule.return_value = {**kept, **stands}
    schedules.move(scheduler, PREFIX, at, sooner)
    if sent is None:
        scheduler.update_schedule.assert_not_called()
        return
    when = {"State": "DISABLED"} if sent == "out of use" else {"State": "ENABLED", "StartDate": at}
    scheduler.update_schedule.assert_called_once_with(**kept, **when)


# --- what is said of it ----------------------------------------------------------------------------------


SCHEDULE = journal.Row(1, "switch-schedule", "scheduler:CreateSchedule", "token", "standing")
SERVER = journal.Row(2, "instance", "ec2:RunInstances", "token", "standing", telling={"ttl_minutes": "60"})
ALONE = ", but only if an awslabs command or notebook runs then"


@pytest.mark.parametrize(
    ("budget_usd", "until", "rows", "told"),
    [
        (None, "", [], ""),
        (None, "2026-11-29T19:41:00Z", [SCHEDULE], "What costs ends at 2026-11-29 19:41 UTC."),
        (None, "2026-11-29T19:41:00Z", [SERVER], "What costs ends at 2026-11-29 19:41 UTC."),
        (None, "2026-11-29T19:41:00Z", [], f"What costs ends at 2026-11-29 19:41 UTC{ALONE}."),
        (5.0, "", [SERVER], f"What costs ends at 5 USD (0.0000 are spent){ALONE}."),
        (5.0, "", [SERVER, SCHEDULE], "What costs ends at 5 USD (0.0000 are spent)."),
    ],
)
def test_what_nobody_but_this_computer_ends_is_said_to_hang_on_it(
    budget_usd: float | None, until: str, rows: list[journal.Row], told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "spent", lambda header, rows: 0.0)
    header = {"limits": {**journal.blank_limits(), "budget_usd": budget_usd, "until": until}}
    assert limits.told(header, rows) == told


# --- in the practice cloud -------------------------------------------------------------------------------


@pytest.fixture
def account(run: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """An account of the test's own, which is in the environment."""
    number = f"{time.time_ns() % 10**12:012d}"
    for name, value in run.environment(number).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)
    monkeypatch.setattr(Ledger, "settle_s", 0.2)
    BEFORE.clear()
    BEFORE.update(outside.survey(SERVICES))
    yield number
    run.reset(number)


def in_(minutes: int) -> datetime:
    return datetime.now(timezone.utc).replace(microsecond=0) + timedelta(minutes=minutes)


def build(ledger: Ledger, switched: bool = True) -> None:
    """A network with a server in it: what costs, and what hangs together."""
    ec2 = ledger.client("ec2")
    if switched:
        Switch(ledger)
        ledger.keep_limits(ttl_minutes=60)
    if ledger.guard:
        ledger.guard.prepare()
    vpc = ledger.create("vpc", ec2.create_vpc, CidrBlock="10.10.0.0/24")
    gateway = ledger.create("gateway", ec2.create_internet_gateway)
    ledger.create("attachment", ec2.attach_internet_gateway, InternetGatewayId=gateway, VpcId=vpc)
    zone = f"{ledger.cloud.region}a"
    subnet = ledger.create(
        "subnet", ec2.create_subnet, VpcId=vpc, CidrBlock="10.10.0.0/24", AvailabilityZone=zone
    )
    image = ec2.describe_images(Owners=["amazon"])["Images"][0]["ImageId"]
    size = {"InstanceType": "t3.micro", "MinCount": 1, "MaxCount": 1}
    ledger.create("instance", ec2.run_instances, ImageId=image, SubnetId=subnet, **size)


SERVICES = ("ec2", "iam", "lambda", "logs", "scheduler")
BEFORE: set[outside.Thing] = set()  # what every account has


def stands() -> set[str]:
    """Kinds of what is in the account besides."""
    return {one.kind for one in outside.survey(SERVICES) - BEFORE}


def fire(ledger: Ledger) -> list[str]:
    """A run of the function here, with the rights of whoever runs the test; what it says is left."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("AWSLABS_HOME", os.environ["AWSLABS_HOME"])  # it sets a home of its own
        left: list[str] = switch_function.handler({"ledger": ledger.prefix, "settle_s": 0.0}, None)["left"]
    return left


@pytest.mark.live
def test_it_is_armed_before_the_first_thing_that_costs_and_goes_last(run: Any, account: str) -> None:
    ledger = Ledger(Cloud(), "ec2")
    build(ledger)
    names = [row.name for row in ledger.journal.open_rows()]
    assert names[:3] == ["switch-role", "switch-policy", "switch-logs"]
    assert names[-3:] == ["switch-function", "switch-schedule", "instance"]
    begun = len(run.calls(account))
    ledger.down()
    calls = [one["operation"] for one in run.calls(account)[begun:] if not one["code"]]
    changes = [one for one in calls if ":Delete" in one or ":Terminate" in one or ":Detach" in one]
    last = ["scheduler:DeleteSchedule", "lambda:DeleteFunction"]
    assert [one for one in changes if one in last] == last
    assert changes.index("scheduler:DeleteSchedule") > changes.index("ec2:DeleteVpc")
    assert stands() == set()


@pytest.mark.live
def test_down_puts_the_end_off_so_that_nobody_deletes_what_it_brings_home(run: Any, account: str) -> None:
    ledger = Ledger(Cloud(), "ec2")
    build(ledger)
    scheduler, name = ledger.client("scheduler"), ledger.resources["switch-schedule"]
    switch.move(ledger, in_(5))
    ledger.end_work()
    assert schedules.NAME.fullmatch(name)
    assert scheduler.get_schedule(Name=name)["StartDate"] >= in_(58)
    switch.move(ledger, in_(300))
    ledger.end_work()
    assert scheduler.get_schedule(Name=name)["StartDate"] >= in_(298)  # never sooner
    shown = scheduler.get_schedule(Name=name)
    assert shown["State"] == "ENABLED"
    assert json.loads(shown["Target"]["Input"])["ledger"] == ledger.prefix
    assert schedules.marks_of(shown)["awslabs:row"].endswith("switch-schedule")
    ledger.down()


@pytest.mark.live
def test_a_second_up_moves_the_end_and_makes_nothing_twice(run: Any, account: str) -> None:
    build(Ledger(Cloud(), "ec2"))
    again = Ledger(Cloud(), "ec2")
    Switch(again)
    begun = len(run.calls(account))
    for minutes in (600, 600, 601, 1200):  # extended again and again
        again.limit(ttl_minutes=minutes)
    calls = [one["operation"].partition(":")[2] for one in run.calls(account)[begun:]]
    changes = [one for one in calls if one.startswith(("Create", "Update", "Put"))]
    assert changes == ["UpdateSchedule"] * 2
    name = again.resources["switch-schedule"]
    late = again.client("scheduler").get_schedule(Name=name)["StartDate"] - in_(1200)
    assert abs(late.total_seconds()) < 120
    again.down()


@pytest.mark.live
def test_what_moves_the_end_of_the_lab_moves_the_switch_and_is_not_stopped_by_it(
    run: Any, account: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """`limit`, `up`, and each task or job that is started; jobs by the hundred move it once."""
    ledger = Ledger(Cloud(), "ec2")
    build(ledger)
    scheduler, name = ledger.client("scheduler"), ledger.resources["switch-schedule"]

    def late_s() -> float:
        due = journal.as_datetime(ledger.due)
        return float((scheduler.get_schedule(Name=name)["StartDate"] - due).total_seconds())

    ledger.limit(ttl_minutes=180)
    assert abs(late_s()) < 2
    ledger.limit(ttl_minutes=181)
    assert -62 < late_s() < -58
    ledger.limit(ttl_minutes=30)
    assert abs(late_s()) < 2
    with monkeypatch.context() as refusing:
        refused = ClientError({"Error": {"Code": "AccessDeniedException"}}, "UpdateSchedule")
        refusing.setattr(schedules, "move", mock.Mock(side_effect=refused))
        ledger.limit(ttl_minutes=300)
    assert "AWS takes the lab down when it was to before" in caplog.text
    ledger.limit(ttl_minutes=300)  # it is tried again
    assert abs(late_s()) < 2
    ledger.down()


@pytest.mark.live
def test_a_budget_alone_sets_a_switch_that_waits_until_something_costs(run: Any, account: str) -> None:
    ledger = Ledger(Cloud(), "ec2")
    Switch(ledger)
    ledger.keep_limits(budget_usd=1.0)
    ec2, scheduler = ledger.client("ec2"), ledger.client("scheduler")
    ledger.create("vpc", ec2.create_vpc, CidrBlock="10.10.0.0/24")
    ledger.arm()  # as at the end of `up`
    name = ledger.resources["switch-schedule"]
    waiting = scheduler.get_schedule(Name=name)
    assert (waiting["State"], waiting.get("StartDate")) == ("DISABLED", None)
    schedules.put_off(scheduler, name)
    assert scheduler.get_schedule(Name=name)["State"] == "DISABLED"
    build(ledger, switched=False)
    shown = scheduler.get_schedule(Name=name)
    (hour,) = [row.usd_per_hour for row in ledger.journal.open_rows() if row.name == "instance"]
    assert hour
    assert shown["State"] == "ENABLED"
    assert abs((shown["StartDate"] - in_(round(60 / hour))).total_seconds()) < 300
    begun = [one["operation"] for one in run.calls(account)]
    assert begun.index("scheduler:UpdateSchedule") < begun.index("ec2:RunInstances")
    ledger.journal.rows[-1].made = journal.after(journal.now(), -60 * 3600 / hour)  # long spent
    ledger.arm()
    assert scheduler.get_schedule(Name=name)["StartDate"] > datetime.now(timezone.utc) - timedelta(minutes=4)
    ledger.down()
    assert stands() == set()


@pytest.mark.live
def test_a_time_that_is_set_later_sets_the_switch_for_what_stands(run: Any, account: str) -> None:
    ledger = Ledger(Cloud(), "ec2")
    build(ledger, switched=False)
    Switch(ledger)
    ledger.limit(ttl_minutes=60)
    shown = ledger.client("scheduler").get_schedule(Name=ledger.resources["switch-schedule"])
    assert abs((shown["StartDate"] - in_(60)).total_seconds()) < 120
    assert fire(ledger) == []
    assert stands() == set()


@pytest.mark.live
def test_results_in_a_bucket_go_and_up_has_said_so(
    run: Any, account: str, capsys: pytest.CaptureFixture[str]
) -> None:
    ledger = Ledger(Cloud(), "serverless")
    Switch(ledger)
    ledger.keep_limits(ttl_minutes=60)
    s3 = ledger.client("s3")
    bucket = ledger.create("bucket", s3.create_bucket, Bucket=f"{ledger.prefix}-data")
    for number in range(3):
        s3.put_object(Bucket=bucket, Key=f"results/{number}.csv", Body=b"1,2,3")
    ledger.arm()
    cli.farewell(ledger)
    said = " ".join(capsys.readouterr().err.split())
    assert "AWS deletes the lab then, with all results, though nobody comes back." in said
    assert fire(ledger) == []
    assert s3.list_buckets()["Buckets"] == []
    assert stands() == set()


@pytest.mark.live
def test_a_lost_ledger_does_not_matter_and_two_switches_leave_each_other_alone(
    run: Any, account: str
) -> None:
    first, second = Ledger(Cloud(), "ec2"), Ledger(Cloud(), "ec2", "second")
    build(first)
    build(second)
    first.journal.path.unlink()
    assert fire(first) == []
    left = {one.ledger for one in inventory.survey(Cloud()).ours}
    assert left == {second.prefix}
    assert "ec2 instance" in stands()
    assert fire(second) == []
    assert stands() == set()
    assert fire(second) == []  # one more run, late


@pytest.mark.live
def test_what_is_refused_once_is_deleted_by_the_next_run(run: Any, account: str) -> None:
    ledger = Ledger(Cloud(), "ec2")
    build(ledger)
    run.weather(account=account, faults=["ec2:DeleteSubnet=UnauthorizedOperation:1:1"])
    left = fire(ledger)
    assert "subnet" in "".join(left)
    assert "ec2 instance" not in stands()  # what costs went first
    assert {"schedule", "lambda function", "iam role"} <= stands()  # and it stays until all is gone
    run.weather(account=account, faults=[])
    assert fire(ledger) == []
    assert stands() == set()


@pytest.mark.live
def test_what_cannot_be_looked_at_may_stand_so_the_switch_stays(run: Any, account: str) -> None:
    ledger = Ledger(Cloud(), "ec2")
    build(ledger)
    run.weather(account=account, faults=["dynamodb:ListTables=AccessDeniedException"])
    left = fire(ledger)
    assert "dynamodb:CreateTable was not looked at" in "".join(left)
    assert {"schedule", "lambda function", "iam role"} <= stands()
    run.weather(account=account, faults=[])
    assert fire(ledger) == []
    assert stands() == set()


@pytest.mark.live
def test_a_run_that_is_killed_in_the_middle_is_no_harm(run: Any, account: str) -> None:
    ledger = Ledger(Cloud(), "ec2")
    build(ledger)
    event = {"ledger": ledger.prefix, "settle_s": 0.0}
    code = f"from awslabs import switch_function as f; f.handler({event!r}, None)"
    running = subprocess.Popen([sys.executable, "-c", code])

    def has_begun() -> bool:
        calls = [one["operation"] for one in run.calls(account)]
        return "ec2:TerminateInstances" in calls or running.poll() is not None

    poll("it has begun to delete", has_begun, timeout_s=120, first_s=0.02, longest_s=0.05)
    running.kill()
    running.wait()
    assert fire(ledger) == []
    assert stands() == set()


@pytest.mark.live
def test_a_role_whose_deletion_is_refused_is_left_without_rights_and_named(run: Any, account: str) -> None:
    ledger = Ledger(Cloud(), "ec2")
    build(ledger)
    # The first try comes while its policy still hangs on it; the second one without any rights.
    refusals = ["iam:DeleteRole=DeleteConflict:1:1", "iam:DeleteRole=AccessDenied"]
    run.weather(account=account, faults=refusals)
    with pytest.raises(Exception, match="AccessDenied"):
        fire(ledger)
    run.weather(account=account, faults=[])
    assert stands() == {"iam role"}
    report, _ = inventory.verify(Cloud())
    assert ("switch-role", "stands") in [(one["row"], one["on_aws"]) for one in report]


@pytest.mark.live
def test_where_no_role_may_be_made_one_warning_says_so_or_nothing_is_built(
    run: Any, account: str, caplog: pytest.LogCaptureFixture
) -> None:
    run.weather(account=account, faults=["iam:CreateRole=AccessDenied"])
    strict = Ledger(Cloud(), "ec2", "strict")
    with pytest.raises(AwsError) as stopped:
        Switch(strict, required=True).prepare()
    assert "--require-switch" in stopped.value.fix
    assert strict.journal.open_rows() == []
    ledger = Ledger(Cloud(), "ec2")
    build(ledger)
    said = [one for one in caplog.messages if "AWS cannot take this lab down by itself" in one]
    assert len(said) == 1
    assert "It costs about 0.0154 USD per hour until you do: python -m awslabs.ec2 down" in said[0]
    assert not {*PARTS} & {row.name for row in ledger.journal.open_rows()}
    ledger.down()


@pytest.mark.live
def test_a_region_without_the_service_is_told_from_the_start(
    run: Any, account: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    ledger = Ledger(Cloud(), "ec2")
    monkeypatch.setattr(ledger.cloud.session, "get_available_regions", lambda service: ["eu-central-1"])
    with pytest.raises(AwsError, match="EventBridge Scheduler is not in us-east-1"):
        Switch(ledger, required=True).prepare()
    assert ledger.journal.open_rows() == []
    build(ledger)
    assert "EventBridge Scheduler is not in us-east-1. It costs about 0.0154" in caplog.text
    assert set(ledger.resources) == {"vpc", "gateway", "attachment", "subnet", "instance"}
    ledger.down()


@pytest.mark.live
def test_what_down_cannot_delete_the_switch_still_guards(run: Any, account: str) -> None:
    ledger = Ledger(Cloud(), "ec2")
    build(ledger)
    run.weather(account=account, faults=["ec2:DeleteSubnet=UnauthorizedOperation:1:1"])
    with pytest.raises(StillStanding):
        ledger.down()
    assert {"schedule", "lambda function", "iam role"} <= stands()
    run.weather(account=account, faults=[])
    assert fire(ledger) == []
    assert stands() == set()
