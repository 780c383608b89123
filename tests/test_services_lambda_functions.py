"""The rules of Lambda, CloudWatch Logs and SQS: moto alone, then with the rule."""

from __future__ import annotations

import functools
import io
import json
import time
import warnings
import zipfile
from collections.abc import Callable
from typing import Any
from unittest.mock import patch

from moto.core.config import default_user_config
from moto.sqs.models import sqs_backends
from test_services_support import TRUST, Case, check, client, cloud, refused, said, table, wait

from awslabs.sandbox.services.lambda_ import functions
from awslabs.sandbox.services.logs import log_groups  # noqa: F401  (what is tested here)
from awslabs.sandbox.services.sqs import queues  # noqa: F401  (what is tested here)

FOR_LAMBDA = TRUST % '{"Service":"lambda.amazonaws.com"}'
FOR_EC2 = TRUST % '{"Service":"ec2.amazonaws.com"}'
ACCOUNT = "123456789012"
MAY_SEND = (
    '{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"sqs:SendMessage","Resource":"%s"}]}'
)
RUNNING_WILD = {"Principal": "apigateway.amazonaws.com", "Action": "lambda:InvokeFunction"}


def role(trust: str = FOR_LAMBDA, name: str = "lab") -> str:
    return client("iam").create_role(RoleName=name, AssumeRolePolicyDocument=trust)["Role"]["Arn"]


@functools.cache
def code(text: str = "def handler(event, context):\n    return event\n") -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("lab.py", text)
    return file.getvalue()


def asked(**more: Any) -> dict[str, Any]:
    request = {
        "FunctionName": "lab",
        "Runtime": "python3.13",
        "Handler": "lab.handler",
        "Code": {"ZipFile": code()},
    }
    return request | more


def make(**more: Any) -> dict[str, Any]:
    if "Role" not in more:
        more["Role"] = role()
    return client("lambda").create_function(**asked(**more))


# --- the role -----------------------------------------------------------------------------------------


def a_role_for_ec2() -> str:
    return said(client("lambda").create_function, **asked(Role=role(FOR_EC2)))


def a_fresh_role() -> list[str]:
    arn = role()
    early = said(client("lambda").create_function, **asked(Role=arn))
    wait(8)
    return [early, said(client("lambda").create_function, **asked(FunctionName="later", Role=arn))]


def another_role_later() -> str:
    make()
    arn = role(FOR_EC2, "other")
    return said(client("lambda").update_function_configuration, FunctionName="lab", Role=arn)


# --- limits -------------------------------------------------------------------------------------------


def _made(**more: Any) -> str:
    return said(client("lambda").create_function, **asked(Role=role(), **more))


def too_much_memory() -> str:
    return _made(MemorySize=20_000)


def too_long() -> str:
    return _made(Timeout=901)


def an_unknown_runtime() -> str:
    return _made(Runtime="python2.7")


def a_runtime_of_nobody() -> list[str]:
    return [_made(Runtime="cobol60")]


def a_runtime_that_ends() -> list[str]:
    arn = role()
    now = said(client("lambda").create_function, **asked(Role=arn, Runtime="python3.9"))
    wait(365 * 86_400)
    then = said(client("lambda").create_function, **asked(Role=arn, Runtime="python3.9", FunctionName="b"))
    return [now, then]


def reserved_variables() -> str:
    return _made(Environment={"Variables": {"AWS_REGION": "eu-west-1"}})


def large_variables() -> str:
    return _made(Environment={"Variables": {"TEXT": "x" * 5000}})


def no_handler() -> str:
    request = asked(Role=role())
    del request["Handler"]
    return said(client("lambda").create_function, **request)


def larger_later() -> str:
    make()
    return said(client("lambda").update_function_configuration, FunctionName="lab", MemorySize=20_000)


def no_zip() -> str:
    return _made(Code={"ZipFile": b"no zip"})


def no_zip_later() -> str:
    make()
    return said(client("lambda").update_function_code, FunctionName="lab", ZipFile=b"no zip")


def an_empty_zip() -> str:
    file = io.BytesIO()
    zipfile.ZipFile(file, "w").close()
    return _made(Code={"ZipFile": file.getvalue()})


def what_no_folder_can_hold() -> list[str]:
    """A file and something below it, also when the file is a link; a link to nowhere; too long a name."""
    link = zipfile.ZipInfo("a")
    link.external_attr = 0o120777 << 16
    wanted: list[list[Any]] = [
        ["a", "a/b"],
        ["a/b", "a"],
        [link, "a/b"],
        ["a", "a/"],
        ["b" * 256],
        ["a", "a"],
    ]
    arn, answers = role(), []
    for number, names in enumerate(wanted):
        file = io.BytesIO()
        with zipfile.ZipFile(file, "w") as archive, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of two entries with one name
            for name in names:
                archive.writestr(name, "" if str(name).endswith("/") else "lab.py")
        wanted_now = asked(FunctionName=f"lab-{number}", Role=arn, Code={"ZipFile": file.getvalue()})
        answers.append(said(client("lambda").create_function, **wanted_now))
    aws = client("s3")
    aws.create_bucket(Bucket="lab-code")
    aws.put_object(Bucket="lab-code", Key="lab.zip", Body=b"no zip")
    stored = asked(FunctionName="stored", Role=arn, Code={"S3Bucket": "lab-code", "S3Key": "lab.zip"})
    return [*answers, said(client("lambda").create_function, **stored)]


def as_large_as_it_gets() -> list[str]:
    """Code of the most bytes that may be unpacked, and of one less."""
    with zipfile.ZipFile(io.BytesIO(code())) as archive:
        (size,) = (entry.file_size for entry in archive.infolist())
    arn, answers = role(), []
    for most in (size, size + 1):
        with patch.object(functions, "UNZIPPED_BYTES", most):
            wanted = asked(FunctionName=f"lab-{most}", Role=arn)
            answers.append(said(client("lambda").create_function, **wanted))
    return answers


def unknown_network() -> str:
    return _made(VpcConfig={"SubnetIds": ["subnet-1"], "SecurityGroupIds": ["sg-1"]})


# --- states -------------------------------------------------------------------------------------------


def pending() -> list[str]:
    first = make()
    aws = client("lambda")
    states = [first["State"], aws.get_function(FunctionName="lab")["Configuration"]["State"]]
    early = said(aws.update_function_configuration, FunctionName="lab", Timeout=5)
    states.append(early)
    if early != "ok":
        wait(3)
        states.append(aws.get_function_configuration(FunctionName="lab")["State"])
    return states


def deleted_while_pending() -> list[str]:
    make()
    aws = client("lambda")
    deleted = said(aws.delete_function, FunctionName="lab")
    return [deleted, said(aws.get_function, FunctionName="lab")]


def two_updates_in_a_row() -> list[str]:
    make()
    aws = client("lambda")
    wait(3)
    first = aws.update_function_configuration(FunctionName="lab", Timeout=5)["LastUpdateStatus"]
    second = said(aws.update_function_code, FunctionName="lab", ZipFile=code("x = 1\n"))
    wait(1.5)
    return [first, second, said(aws.update_function_code, FunctionName="lab", ZipFile=code("x = 1\n"))]


# --- dead letters -------------------------------------------------------------------------------------


def _queue() -> str:
    client("sqs").create_queue(QueueName="dead")
    return f"arn:aws:sqs:us-east-1:{ACCOUNT}:dead"


def dead_letters_are_shown() -> list[Any]:
    target, arn = _queue(), role()
    client("iam").put_role_policy(RoleName="lab", PolicyName="send", PolicyDocument=MAY_SEND % target)
    answer = make(Role=arn, DeadLetterConfig={"TargetArn": target})
    shown = client("lambda").get_function_configuration(FunctionName="lab")
    return [each.get("DeadLetterConfig", {}).get("TargetArn") == target for each in (answer, shown)]


def logging_is_shown() -> list[Any]:
    answer = make(LoggingConfig={"LogFormat": "Text", "LogGroup": "/labs/one"})
    other = make(Role=answer["Role"], FunctionName="plain")
    return [each.get("LoggingConfig", {}).get("LogGroup") for each in (answer, other)]


def dead_letters_nowhere() -> str:
    arn = role()
    target = f"arn:aws:sqs:us-east-1:{ACCOUNT}:nowhere"
    client("iam").put_role_policy(RoleName="lab", PolicyName="send", PolicyDocument=MAY_SEND % target)
    return said(client("lambda").create_function, **asked(Role=arn, DeadLetterConfig={"TargetArn": target}))


def dead_letters_without_permission() -> str:
    target, arn = _queue(), role()
    return said(client("lambda").create_function, **asked(Role=arn, DeadLetterConfig={"TargetArn": target}))


def dead_letters_too_early() -> list[str]:
    target, arn = _queue(), role()
    client("iam").put_role_policy(RoleName="lab", PolicyName="send", PolicyDocument=MAY_SEND % target)
    request = asked(Role=arn, DeadLetterConfig={"TargetArn": target})
    early = said(client("lambda").create_function, **request)
    wait(8)
    return [early, said(client("lambda").create_function, **request | {"FunctionName": "later"})]


def dead_letters_to_sns() -> str:
    target = f"arn:aws:sns:us-east-1:{ACCOUNT}:dead"
    return _made(DeadLetterConfig={"TargetArn": target})


# --- concurrency, invoking ----------------------------------------------------------------------------


def nearly_all_concurrency() -> list[str]:
    make()
    put = client("lambda").put_function_concurrency
    return [
        said(put, FunctionName="lab", ReservedConcurrentExecutions=950),
        said(put, FunctionName="lab", ReservedConcurrentExecutions=900),
    ]


def concurrency_of_two() -> list[str]:
    first = make()
    make(Role=first["Role"], FunctionName="b")
    put = client("lambda").put_function_concurrency
    return [
        said(put, FunctionName="lab", ReservedConcurrentExecutions=600),
        said(put, FunctionName="b", ReservedConcurrentExecutions=400),
        said(put, FunctionName="b", ReservedConcurrentExecutions=0),
    ]


def without_docker(do: Callable[[], Any]) -> Callable[[], Any]:
    """With moto's Lambda that runs nothing and says yes to everything; its other one wants Docker."""

    @functools.wraps(do)
    def run() -> Any:
        with patch.dict(default_user_config, {"lambda": {"use_docker": False}}):
            return do()

    return run


@without_docker
def unknown_functions() -> str:
    return said(client("lambda").invoke, FunctionName="nobody")


@without_docker
def too_large_a_payload() -> str:
    make()
    return said(client("lambda").invoke, FunctionName="lab", Payload=json.dumps("x" * 7_000_000))


@without_docker
def too_large_an_event() -> str:
    make()
    request = {"FunctionName": "lab", "InvocationType": "Event", "Payload": json.dumps("x" * 1_100_000)}
    return said(client("lambda").invoke, **request)


@without_docker
def a_payload_of_no_json() -> str:
    make()
    return said(client("lambda").invoke, FunctionName="lab", Payload=b"{no")


@without_docker
def invoked_too_early() -> list[str]:
    make()
    early = said(client("lambda").invoke, FunctionName="lab")
    wait(3)
    return [early, said(client("lambda").invoke, FunctionName="lab")]


# --- logs and queues ----------------------------------------------------------------------------------


def words_of_streams() -> list[str]:
    aws = client("logs")
    aws.create_log_group(logGroupName="lab")
    where = {"logGroupName": "lab", "logStreamName": "one"}
    aws.create_log_stream(**where)
    again = refused(aws.create_log_stream, **where)[1]
    return [again, refused(aws.get_log_events, logGroupName="lab", logStreamName="none")[1]]


def eight_days() -> list[str]:
    aws = client("logs")
    aws.create_log_group(logGroupName="lab")
    return [said(aws.put_retention_policy, logGroupName="lab", retentionInDays=days) for days in (8, 7)]


def who_wrote_last() -> list[str]:
    """Two streams, written one after the other; which is the latest at once, and later?"""
    aws, now = client("logs"), int(time.time() * 1000)
    aws.create_log_group(logGroupName="lab")
    seen = []
    for at, name in enumerate(("first", "second")):
        stream = {"logGroupName": "lab", "logStreamName": name}
        aws.create_log_stream(**stream)
        aws.put_log_events(**stream, logEvents=[{"timestamp": now + at, "message": "hello"}])
        for later_s in (1, 600):
            wait(later_s)
            streams = aws.describe_log_streams(logGroupName="lab", orderBy="LastEventTime", descending=True)
            latest = streams["logStreams"][0]
            seen.append(latest["logStreamName"] if "lastEventTimestamp" in latest else "nobody")
    return seen


def a_group_of_aws() -> list[str]:
    make_group = client("logs").create_log_group
    names = ("aws/lambda/lab", "/aws/lambda/lab", "labs?")
    return [said(make_group, logGroupName=name) for name in names]


def a_queue_again() -> list[str]:
    aws = client("sqs")
    url = aws.create_queue(QueueName="lab")["QueueUrl"]
    aws.delete_queue(QueueUrl=url)
    early = said(aws.create_queue, QueueName="lab")
    other = said(aws.create_queue, QueueName="other")
    wait(60)
    return [early, other, said(aws.create_queue, QueueName="lab")]


NO = "InvalidParameterValueException"
BUSY = "ResourceConflictException"
MISSING = "ResourceNotFoundException"
AWS_TIME = (("slow_states", 1.0),)


def a_hidden_message() -> list[int]:
    """How many messages are seen at first, before a minute is over, and after it."""
    sqs = client("sqs")
    url = sqs.create_queue(QueueName="lab")["QueueUrl"]
    sqs.send_message(QueueUrl=url, MessageBody="x")
    look = functools.partial(sqs.receive_message, QueueUrl=url, VisibilityTimeout=60, WaitTimeSeconds=0)
    found = [len(look().get("Messages", []))]
    for _ in range(2):
        wait(31)
        found.append(len(look().get("Messages", [])))
    return found


CASES = (
    Case("function_role_is_ready", a_role_for_ec2, "ok", NO),
    Case("function_role_is_ready", a_fresh_role, ["ok", "ok"], [NO, "ok"], AWS_TIME, ("propagation",)),
    Case("function_role_is_ready", another_role_later, "ok", NO),
    Case("function_limits", too_much_memory, "ok", NO),
    Case("function_limits", too_long, "ok", NO),
    Case("function_limits", an_unknown_runtime, "ok", NO),
    Case("function_limits", a_runtime_of_nobody, ["ok"], [NO]),
    Case("function_limits", a_runtime_that_ends, ["ok", "ok"], ["ok", NO]),
    Case("function_limits", reserved_variables, "ok", NO),
    Case("function_limits", large_variables, "ok", NO),
    Case("function_limits", no_handler, "ok", NO),
    Case("function_limits", larger_later, "ok", NO),
    Case("code_is_a_zip", no_zip, "ok", NO),
    Case("code_is_a_zip", no_zip_later, "ok", NO),
    Case("code_is_a_zip", an_empty_zip, "ok", NO),
    Case("code_is_a_zip", as_large_as_it_gets, ["ok"] * 2, [NO, "ok"]),
    Case("code_is_a_zip", what_no_folder_can_hold, ["ok"] * 7, [NO] * 5 + ["ok", NO]),
    Case("function_network_exists", unknown_network, "ok", NO),
    Case(
        "function_states",
        pending,
        ["Active", "Active", "ok"],
        ["Pending", "Pending", BUSY, "Active"],
        AWS_TIME,
    ),
    Case("function_states", deleted_while_pending, ["ok", MISSING], ["ok", MISSING], AWS_TIME),
    Case(
        "function_states",
        two_updates_in_a_row,
        ["Successful", "ok", "ok"],
        ["InProgress", BUSY, "ok"],
        AWS_TIME,
    ),
    Case("function_extras", dead_letters_are_shown, [False, False], [True, True]),
    Case("function_extras", logging_is_shown, [None, None], ["/labs/one", "/aws/lambda/plain"]),
    Case("function_extras", dead_letters_nowhere, "ok", NO),
    Case("function_extras", dead_letters_without_permission, "ok", NO),
    Case("function_extras", dead_letters_too_early, ["ok", "ok"], [NO, "ok"], AWS_TIME, ("propagation",)),
    Case("function_extras", dead_letters_to_sns, "ok", "NotImplemented"),
    Case("some_concurrency_stays_free", nearly_all_concurrency, ["ok", "ok"], [NO, "ok"]),
    Case("some_concurrency_stays_free", concurrency_of_two, ["ok", "ok", "ok"], ["ok", NO, "ok"]),
    Case(
        "streams_have_their_own_words",
        words_of_streams,
        ["The specified log group already exists", "The specified log group does not exist."],
        ["The specified log stream already exists", "The specified log stream does not exist."],
    ),
    Case("retention_from_a_list", eight_days, ["ok", "ok"], ["InvalidParameterException", "ok"]),
    Case(
        "log_group_names",
        a_group_of_aws,
        ["ok", "ok", "ok"],
        ["InvalidParameterException", "ok", "InvalidParameterException"],
    ),
    Case(
        "last_event_is_late",
        who_wrote_last,
        ["first", "first", "second", "second"],
        ["nobody", "first", "first", "second"],
        AWS_TIME,
    ),
    Case(
        "queue_names_rest",
        a_queue_again,
        ["ok", "ok", "ok"],
        ["AWS.SimpleQueueService.QueueDeletedRecently", "ok", "ok"],
        AWS_TIME,
    ),
    Case("messages_go_by_the_clock", a_hidden_message, [1, 0, 0], [1, 0, 1]),
    Case("invoke_looks_first", unknown_functions, "ok", "ResourceNotFoundException"),
    Case("invoke_looks_first", too_large_a_payload, "ok", "RequestTooLargeException"),
    Case("invoke_looks_first", too_large_an_event, "ok", "RequestTooLargeException"),
    Case("invoke_looks_first", a_payload_of_no_json, "ok", "InvalidRequestContentException"),
    Case("invoke_looks_first", invoked_too_early, ["ok", "ok"], [BUSY, "ok"], AWS_TIME, ("function_states",)),
)


@table(*CASES)
def test_aws_is_stricter_than_moto(case: Case) -> None:
    check(case)


def test_refusals_have_the_status_and_the_words_of_aws() -> None:
    with cloud(every=True):
        aws = client("lambda")
        code_, message, status = refused(aws.create_function, **asked(Role=role(FOR_EC2)))
        assert (code_, status) == (NO, 400)
        assert message == "The role defined for the function cannot be assumed by Lambda."
        client("iam").update_assume_role_policy(RoleName="lab", PolicyDocument=FOR_LAMBDA)
        make(Role=f"arn:aws:iam::{ACCOUNT}:role/lab")
        add = {"FunctionName": "lab", "StatementId": "api", **RUNNING_WILD}
        aws.add_permission(**add)
        assert refused(aws.add_permission, **add)[2] == 409
        assert refused(aws.get_function, FunctionName="nobody")[2] == 404


def test_an_update_keeps_the_dead_letters_until_they_are_taken_away() -> None:
    with cloud(every=True):
        target, arn = _queue(), role()
        client("iam").put_role_policy(RoleName="lab", PolicyName="send", PolicyDocument=MAY_SEND % target)
        make(Role=arn, DeadLetterConfig={"TargetArn": target})
        update = functools.partial(client("lambda").update_function_configuration, FunctionName="lab")
        assert update(Timeout=7)["DeadLetterConfig"] == {"TargetArn": target}
        assert "DeadLetterConfig" not in update(DeadLetterConfig={"TargetArn": ""})


def test_names_of_queues_rest_per_account() -> None:
    with cloud("queue_names_rest", slow_states=1.0):
        aws = client("sqs")
        aws.delete_queue(QueueUrl=aws.create_queue(QueueName="lab")["QueueUrl"])
        assert said(aws.create_queue, QueueName="lab") == "AWS.SimpleQueueService.QueueDeletedRecently"
        assert "lab" not in sqs_backends[ACCOUNT]["us-east-1"].queues
