"""The rules of EventBridge Scheduler: moto alone, then with the rule; and schedules that fire."""

from __future__ import annotations

import io
import json
import time
import zipfile
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError
from test_services_support import Case, check, client, cloud, refused, said

from awslabs.progress import poll
from awslabs.sandbox import rules

INVALID, CONFLICT, MISSING = "ValidationException", "ConflictException", "ResourceNotFoundException"
ACCOUNT = "123456789012"
QUEUE_ARN = f"arn:aws:sqs:us-east-1:{ACCOUNT}:here"
ROLE_ARN = f"arn:aws:iam::{ACCOUNT}:role/x/y/runs"
OFF = {"Mode": "OFF"}
SERVICES = ["lambda.amazonaws.com", "scheduler.amazonaws.com"]


def role(iam: Any, name: str = "runs", service: Any = "scheduler.amazonaws.com", *actions: str) -> str:
    trusts = {"Effect": "Allow", "Principal": {"Service": service}, "Action": "sts:AssumeRole"}
    document = json.dumps({"Version": "2012-10-17", "Statement": [trusts]})
    made = iam.create_role(RoleName=name, Path="/x/y/", AssumeRolePolicyDocument=document)
    if actions:
        may = {"Effect": "Allow", "Action": list(actions), "Resource": "*"}
        policy = json.dumps({"Version": "2012-10-17", "Statement": [may]})
        iam.put_role_policy(RoleName=name, PolicyName="may", PolicyDocument=policy)
    return str(made["Role"]["Arn"])


def request(expression: str = "rate(2 minutes)", **more: Any) -> dict[str, Any]:
    target = {"Arn": QUEUE_ARN, "RoleArn": ROLE_ARN} | more.pop("target", {})
    asked = {"Name": "n", "ScheduleExpression": expression, "FlexibleTimeWindow": OFF, "Target": target}
    return asked | more


def put(expression: str = "rate(2 minutes)", **more: Any) -> str:
    return said(client("scheduler").create_schedule, **request(expression, **more))


def with_role(service: str, wait_s: float = 0.0) -> str:
    role(client("iam"), service=service)
    rules.clock.offset_s += wait_s
    return put()


def twice(**second: Any) -> str:
    put(ClientToken="t")
    return put(**second)


def status_of_second() -> str:
    put()
    with pytest.raises(ClientError) as refused:
        client("scheduler").create_schedule(**request())
    return str(refused.value.response["ResponseMetadata"]["HTTPStatusCode"])


def updated_state() -> str:
    put(State="DISABLED")
    client("scheduler").update_schedule(**request())
    return str(client("scheduler").get_schedule(Name="n").get("State"))


# Source: LocalStack's records of AWS.
NO_EXPRESSIONS = [
    *("cron(0 1 * * * *)", "cron(7 20 * * NOT *)", "cron(INVALID)", "cron(0 dummy ? * MON-FRI *)"),
    *("cron(71 8 1 * ? *)", "cron()", "rate(10 seconds)", "rate(10 years)", "rate()", "rate(10)"),
    *("rate(10 minutess)", "rate(foo minutes)", "rate(-10 minutes)", "rate( 10 minutes )"),
    *(" rate(10 minutes)", "at(2021-12-31T23:59:59Z)", "at(2021-12-31)"),
]
CASES = [
    *(Case("schedule_expression", lambda text=text: put(text), "ok", INVALID) for text in NO_EXPRESSIONS),
    *(
        Case("schedule_expression", lambda text=text: put(text), "ok", "ok")
        for text in ("rate(1 minute)", "rate(2 minute)", "rate(25 days)", "at(2030-01-01T00:00:00)")
    ),
    Case("schedule_expression", lambda: put("cron(0 9 ? * MON-FRI *)"), "ok", "NotImplemented"),
    Case("schedule_fits_the_model", lambda: put(Name="a!b"), "ok", INVALID),
    Case("schedule_fits_the_model", lambda: put(Name="n" * 65), "ok", INVALID),
    Case("schedule_fits_the_model", lambda: put(Name="n" * 64), "ok", "ok"),
    Case("schedule_fits_the_model", lambda: put(target={"RoleArn": "runs"}), "ok", INVALID),
    Case("schedule_start", lambda: put(StartDate=rules.clock.now() - 400), "ok", INVALID),
    Case("schedule_start", lambda: put(StartDate=rules.clock.now() - 200), "ok", "ok"),
    Case("schedule_role_is_ready", put, "ok", INVALID),
    Case("schedule_role_is_ready", lambda: with_role("lambda.amazonaws.com"), "ok", INVALID),
    Case("schedule_role_is_ready", lambda: with_role("scheduler.amazonaws.com"), "ok", "ok"),
    Case(
        "schedule_role_is_ready",
        lambda: with_role("scheduler.amazonaws.com"),
        "ok",
        INVALID,
        (("slow_states", 1.0),),
        ("propagation",),
    ),
    Case(
        "schedule_role_is_ready",
        lambda: with_role("scheduler.amazonaws.com", 9.0),
        "ok",
        "ok",
        (("slow_states", 1.0),),
        ("propagation",),
    ),
    Case(
        "schedule_target_can_be_called",
        lambda: put(target={"Arn": "arn:aws:states:us-east-1:123456789012:stateMachine:x"}),
        "ok",
        "NotImplemented",
    ),
    Case("schedule_group_exists", lambda: put(GroupName="none"), "KeyError", MISSING),
    Case("schedule_token", lambda: twice(ClientToken="t"), CONFLICT, "ok"),
    Case("schedule_token", lambda: twice(ClientToken="u"), CONFLICT, CONFLICT),
    Case("schedule_token", lambda: twice(ClientToken="t", Description="other"), CONFLICT, CONFLICT),
    Case("schedule_token", status_of_second, "400", "409"),
    Case("schedule_update", updated_state, "None", "ENABLED"),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.rule)
def test_a_rule_changes_moto_s_answer(case: Case) -> None:
    check(case)


def test_aws_says_what_is_wrong_with_a_role() -> None:
    with cloud(every=True):
        assert refused(client("scheduler").create_schedule, **request()) == (
            INVALID,
            "The execution role you provide must allow AWS EventBridge Scheduler to assume the role.",
            400,
        )


# --- in the server ---------------------------------------------------------------------------------------


@pytest.fixture
def places(student: None) -> dict[str, str]:
    """A queue, and a role that may send to it; what is there of an earlier test is gone."""
    run_id = str(time.time_ns())
    iam, sqs = boto3.client("iam"), boto3.client("sqs")
    role_arn = role(iam, f"runs-{run_id}", SERVICES, "sqs:SendMessage", "lambda:InvokeFunction", "logs:*")
    url = sqs.create_queue(QueueName=f"q-{run_id}")["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    return {"role": role_arn, "queue": arn, "url": url, "id": run_id}


def received(url: str, wait_s: int = 0) -> list[str]:
    sqs = boto3.client("sqs")
    answer = sqs.receive_message(QueueUrl=url, WaitTimeSeconds=wait_s, MaxNumberOfMessages=10)
    for one in answer.get("Messages", []):
        sqs.delete_message(QueueUrl=url, ReceiptHandle=one["ReceiptHandle"])
    return [one["Body"] for one in answer.get("Messages", [])]


def ahead(run: Any) -> float:
    """What the practice cloud's clock says, near enough: it is never behind the computer's."""
    return time.time() + run.passed_s


@pytest.fixture
def moving(run: Any) -> Any:
    """The practice cloud, with what has been let pass there counted."""
    if not hasattr(run, "passed_s"):
        object.__setattr__(run, "passed_s", 0.0)
    return run


def let_pass(run: Any, seconds: float) -> None:
    run.pass_time(seconds)
    object.__setattr__(run, "passed_s", run.passed_s + seconds)


@pytest.mark.live
def test_a_rate_fires_at_its_start_and_in_even_steps_until_it_is_deleted(
    moving: Any, places: dict[str, str]
) -> None:
    scheduler, name = boto3.client("scheduler"), f"s-{places['id']}"
    start = ahead(moving) + 3600
    target = {"Arn": places["queue"], "RoleArn": places["role"], "Input": "at <aws.scheduler.scheduled-time>"}
    asked = {"Name": name, "ScheduleExpression": "rate(2 minutes)", "FlexibleTimeWindow": OFF}
    scheduler.create_schedule(**asked, StartDate=start, Target=target)
    let_pass(moving, 3000)
    assert received(places["url"]) == []
    let_pass(moving, 600)
    (first,) = received(places["url"], 20)
    assert first == f"at {time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime(start))}"
    let_pass(moving, 120)
    (second,) = received(places["url"], 20)
    assert second == f"at {time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime(start + 120))}"
    scheduler.update_schedule(**asked, StartDate=ahead(moving) + 7200, Target=target)
    let_pass(moving, 3600)  # it was moved
    assert received(places["url"]) == []
    let_pass(moving, 3600)
    assert len(received(places["url"], 20)) == 1
    scheduler.delete_schedule(Name=name)
    let_pass(moving, 600)
    assert received(places["url"], 1) == []


@pytest.mark.live
def test_a_schedule_calls_a_function_in_its_role(moving: Any, places: dict[str, str]) -> None:
    lambda_, name = boto3.client("lambda"), f"f-{places['id']}"
    package = io.BytesIO()
    with zipfile.ZipFile(package, "w") as archive:
        archive.writestr("m.py", "def handler(event, context):\n    print('called with', event['x'])\n")
    made = lambda_.create_function(
        FunctionName=name,
        Runtime="python3.12",
        Role=places["role"],
        Handler="m.handler",
        Code={"ZipFile": package.getvalue()},
    )
    target = {"Arn": made["FunctionArn"], "RoleArn": places["role"], "Input": '{"x": 7}'}
    once = time.strftime("at(%Y-%m-%dT%H:%M:%S)", time.gmtime(ahead(moving) + 100))
    scheduler = boto3.client("scheduler")
    scheduler.create_schedule(
        Name=name,
        ScheduleExpression=once,
        FlexibleTimeWindow=OFF,
        Target=target,
        ActionAfterCompletion="DELETE",
    )
    let_pass(moving, 101)
    logs = boto3.client("logs")

    def said_so() -> bool:
        try:
            events = logs.filter_log_events(logGroupName=f"/aws/lambda/{name}")["events"]
        except ClientError:
            return False
        return any("called with 7" in event["message"] for event in events)

    poll("the function was called", said_so, timeout_s=60, first_s=0.1)
    assert said(scheduler.get_schedule, Name=name) == MISSING  # it was to be deleted once it had fired


@pytest.mark.live
def test_what_the_role_may_not_call_ends_in_the_dead_letter_queue(
    moving: Any, places: dict[str, str]
) -> None:
    iam, scheduler = boto3.client("iam"), boto3.client("scheduler")
    nowhere = places["queue"].replace("q-", "none-")
    target = {
        "Arn": nowhere,
        "RoleArn": places["role"],
        "Input": "lost",
        "RetryPolicy": {"MaximumRetryAttempts": 1},
        "DeadLetterConfig": {"Arn": places["queue"]},
    }
    start = ahead(moving) + 60
    scheduler.create_schedule(
        Name=f"d-{places['id']}",
        ScheduleExpression="rate(1 days)",
        FlexibleTimeWindow=OFF,
        StartDate=start,
        Target=target,
    )
    let_pass(moving, 61)
    assert received(places["url"], 20) == ["lost"]
    scheduler.delete_schedule(Name=f"d-{places['id']}")
    assert iam.get_role(RoleName=places["role"].rpartition("/")[2])
