"""Where asynchronous events end: what may be set, and what a queue or another function is told."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from processes import eventually
from test_services_lambda_functions import make
from test_services_lambda_invocations import FRAGILE, Account, letters
from test_services_support import client, cloud, refused

from awslabs import sandbox
from awslabs.sandbox.services.lambda_ import destinations, functions, invocations

FUNCTION = "arn:aws:lambda:us-east-1:123456789012:function:lab"
NO = "InvalidParameterValueException"


@pytest.fixture
def aws(run: sandbox.Run) -> Iterator[Account]:
    account = Account(run)
    yield account
    run.weather(slow_states=0)
    run.reset(account.id)


# --- what may be set ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("target", "says"),
    [
        (FUNCTION, "You can't specify the function as a destination for itself."),
        (FUNCTION + "ter", f"The destination ARN {FUNCTION}ter is invalid."),
        (
            "arn:aws:sqs:us-east-1:123456789012:none",
            "The destination ARN arn:aws:sqs:us-east-1:123456789012:none is invalid.",
        ),
        (
            "arn:aws:iam:us-east-1:123456789012:lab",
            "The provided destination config DestinationConfig(onSuccess=OnSuccess(destination="
            "arn:aws:iam:us-east-1:123456789012:lab), onFailure=null) is invalid.",
        ),
    ],
)
def test_what_is_no_destination_is_refused(target: str, says: str) -> None:
    with cloud(every=True):
        make()
        where = {"OnSuccess": {"Destination": target}}
        put = client("lambda").put_function_event_invoke_config
        assert refused(put, FunctionName="lab", DestinationConfig=where) == (NO, says, 400)


@pytest.mark.parametrize(
    "target",
    ["arn:aws:sns:us-east-1:123456789012:t", "arn:aws:s3:::bucket", "arn:aws:sqs:eu-west-1:123456789012:q"],
)
def test_what_is_not_built_is_refused_honestly(target: str) -> None:
    with cloud(every=True):
        make()
        where = {"OnFailure": {"Destination": target}}
        put = client("lambda").put_function_event_invoke_config
        code, text, status = refused(put, FunctionName="lab", DestinationConfig=where)
        assert (code, status) == ("NotImplemented", 501)
        assert "queues and functions of one account" in text


def test_an_update_replaces_the_destination_that_it_names() -> None:
    with cloud(every=True):
        make()
        aws = client("lambda")
        arns = []
        for name in ("a", "b"):
            client("sqs").create_queue(QueueName=name)
            arns.append(f"arn:aws:sqs:us-east-1:123456789012:{name}")
        first, second = ({"Destination": arn} for arn in arns)
        aws.put_function_event_invoke_config(
            FunctionName="lab", DestinationConfig={"OnSuccess": first, "OnFailure": first}
        )
        aws.update_function_event_invoke_config(FunctionName="lab", MaximumRetryAttempts=0)
        shown = aws.get_function_event_invoke_config(FunctionName="lab")
        assert shown["DestinationConfig"] == {"OnSuccess": first, "OnFailure": first}
        aws.update_function_event_invoke_config(FunctionName="lab", DestinationConfig={"OnFailure": second})
        shown = aws.get_function_event_invoke_config(FunctionName="lab")
        assert shown["DestinationConfig"]["OnFailure"] == second
        aws.put_function_event_invoke_config(FunctionName="lab", DestinationConfig={"OnSuccess": {}})
        shown = aws.get_function_event_invoke_config(FunctionName="lab")
        assert shown["DestinationConfig"] == {"OnSuccess": {}, "OnFailure": {}}


def test_a_word_that_is_no_arn_is_refused() -> None:
    with cloud(every=True):
        make()
        where = {"OnFailure": {"Destination": FUNCTION.replace(":lambda:", ":_-/!lambda:")}}
        put = client("lambda").put_function_event_invoke_config
        code, text, _ = refused(put, FunctionName="lab", DestinationConfig=where)
        assert code == "ValidationException"
        assert "at 'destinationConfig.onFailure.destination' failed to satisfy constraint" in text
        assert "kafka://" in text


def test_what_a_role_may_not_send_is_lost() -> None:
    with cloud(every=True):
        role = make()["Role"]
        url = client("sqs").create_queue(QueueName="q")["QueueUrl"]
        arn = "arn:aws:sqs:us-east-1:123456789012:q"
        sent = ("123456789012", "us-east-1", role, arn, "hello", {})
        destinations.send(*sent)
        assert "Messages" not in client("sqs").receive_message(QueueUrl=url)
        document = '{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"sqs:*","Resource":"*"}]}'
        client("iam").put_role_policy(RoleName="lab", PolicyName="may", PolicyDocument=document)
        destinations.send(*sent)
        assert client("sqs").receive_message(QueueUrl=url)["Messages"][0]["Body"] == "hello"
        assert functions.find("123456789012", "us-east-1", "lab").role == role


# --- what arrives -------------------------------------------------------------------------------------


def with_destination(aws: Account, code: str = FRAGILE, **settings: Any) -> str:
    """A function whose events all end in one queue, whose URL comes back."""
    url = aws.sqs.create_queue(QueueName="end")["QueueUrl"]
    arn = f"arn:aws:sqs:us-east-1:{aws.id}:end"
    aws.make(code, Role=aws.role("role", {"Effect": "Allow", "Action": "sqs:SendMessage", "Resource": arn}))
    both = {kind: {"Destination": arn} for kind in ("OnSuccess", "OnFailure")}
    aws.lambda_.put_function_event_invoke_config(FunctionName="lab", DestinationConfig=both, **settings)
    return url


def told(aws: Account, url: str) -> dict[str, Any]:
    (letter,) = eventually(lambda: letters(aws, url))
    record: dict[str, Any] = json.loads(letter["Body"])
    return record


@pytest.mark.live
def test_a_queue_is_told_what_an_event_gave(aws: Account) -> None:
    url = with_destination(aws, "def handler(event, context):\n    return [event, context.aws_request_id]\n")
    aws.send({"n": 7})
    record = told(aws, url)
    context = record["requestContext"]
    assert record["version"] == "1.0"
    assert record["requestPayload"] == {"n": 7}
    assert record["responsePayload"] == [{"n": 7}, context["requestId"]]
    assert record["responseContext"] == {"statusCode": 200, "executedVersion": "$LATEST"}
    arn = f"arn:aws:lambda:us-east-1:{aws.id}:function:lab:$LATEST"
    assert (context["functionArn"], context["condition"], context["approximateInvokeCount"]) == (
        arn,
        "Success",
        1,
    )


@pytest.mark.live
@pytest.mark.parametrize(
    ("settings", "condition", "tries"),
    [
        ({}, "RetriesExhausted", 3),
        ({"MaximumRetryAttempts": 0}, "RetriesExhausted", 1),
        ({"MaximumEventAgeInSeconds": 60}, "EventAgeExceeded", 1),
        ({"MaximumEventAgeInSeconds": 90}, "EventAgeExceeded", 2),
    ],
)
def test_a_failure_says_how_often_it_was_tried_and_why_no_more(
    aws: Account, settings: dict[str, int], condition: str, tries: int
) -> None:
    url = with_destination(aws, **settings)
    aws.send({"fail": True})
    record = told(aws, url)
    context = record["requestContext"]
    assert (context["condition"], context["approximateInvokeCount"]) == (condition, tries)
    assert record["responseContext"]["functionError"] == "Unhandled"
    assert record["responsePayload"]["errorMessage"] == "it did not work"


@pytest.mark.live
def test_without_any_concurrency_an_event_ends_untried(aws: Account) -> None:
    url = with_destination(aws)
    aws.lambda_.put_function_concurrency(FunctionName="lab", ReservedConcurrentExecutions=0)
    aws.send({})
    record = told(aws, url)
    context = record["requestContext"]
    assert (context["condition"], context["approximateInvokeCount"]) == ("ZeroReservedConcurrency", 0)
    assert "responseContext" not in record


@pytest.mark.live
def test_a_function_is_told_as_an_event_of_its_own(aws: Account) -> None:
    url = with_destination(aws)  # "lab", whose end is the queue
    arn = f"arn:aws:lambda:us-east-1:{aws.id}:function:lab"
    may = {"Effect": "Allow", "Action": "lambda:InvokeFunction", "Resource": arn}
    aws.make("def handler(event, context):\n    return 5\n", name="first", Role=aws.role("first", may))
    aws.lambda_.put_function_event_invoke_config(
        FunctionName="first", DestinationConfig={"OnSuccess": {"Destination": arn}}
    )
    aws.send({"n": 1}, name="first")
    record = told(aws, url)
    assert record["requestContext"]["functionArn"] == f"{arn}:$LATEST"
    inner = record["requestPayload"]
    assert inner["requestContext"]["functionArn"].endswith(":first:$LATEST")
    assert (inner["requestPayload"], inner["responsePayload"]) == ({"n": 1}, 5)
    assert inner["requestContext"]["requestId"] != record["requestContext"]["requestId"]


@pytest.mark.live
def test_a_record_for_a_function_that_does_not_run_here_is_dropped_at_once(aws: Account) -> None:
    made = aws.make("no Python", name="node", Runtime="nodejs22.x", Role=aws.role("node"))
    may = {"Effect": "Allow", "Action": "lambda:InvokeFunction", "Resource": made["FunctionArn"]}
    aws.make("def handler(event, context):\n    return 5\n", Role=aws.role("first", may))
    where = {"OnSuccess": {"Destination": made["FunctionArn"]}}
    aws.lambda_.put_function_event_invoke_config(FunctionName="lab", DestinationConfig=where)
    aws.send({})
    log = aws.run.directory / "sandbox.log"
    eventually(lambda: f"an event of {aws.id} {made['FunctionArn']} is dropped: " in log.read_text())


def in_a_circle(aws: Account, *statements: dict[str, Any]) -> list[str]:
    """Two functions, each of which is told what the other one has given; their ARNs."""
    role = aws.role("circle", *statements)
    names = ("a", "b")
    arns = [aws.make("def handler(event, context): pass\n", name, Role=role)["FunctionArn"] for name in names]
    for name, other in zip(names, reversed(arns), strict=True):
        where = {"OnSuccess": {"Destination": other}}
        aws.lambda_.put_function_event_invoke_config(FunctionName=name, DestinationConfig=where)
    return arns


def starts(aws: Account) -> int:
    return len([line for name in ("a", "b") for line in aws.log(name) if line.startswith("START ")])


@pytest.mark.live
def test_a_function_that_a_role_may_not_invoke_is_told_nothing(aws: Account) -> None:
    _, other = in_a_circle(aws)
    aws.send({}, "a")
    log = aws.run.directory / "sandbox.log"
    eventually(lambda: f"role/circle may not invoke {other}: a record is lost" in log.read_text())
    assert starts(aws) == 1


@pytest.mark.live
def test_functions_that_tell_one_another_in_a_circle_come_to_an_end(aws: Account) -> None:
    first, _ = in_a_circle(aws, {"Effect": "Allow", "Action": "lambda:InvokeFunction", "Resource": "*"})
    aws.send({}, "b")
    log = aws.run.directory / "sandbox.log"
    eventually(
        lambda: f"a record to {first} is dropped: {invocations.HOPS} functions in a row" in log.read_text()
    )
    assert starts(aws) == invocations.HOPS + 1
