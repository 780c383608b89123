"""Lambda, running: functions run for real, in the practice cloud's server."""

from __future__ import annotations

import base64
import concurrent.futures
import io
import json
import os
import re
import signal
import sys
import textwrap
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import practice
import pytest
import requests
from botocore.exceptions import ClientError
from processes import alive, eventually, number

from awslabs import policies, sandbox
from awslabs.sandbox.services.iam import identities
from awslabs.sandbox.services.lambda_ import functions, invocations

TRUST = policies.trust("lambda.amazonaws.com")
BASIC = "arn:aws:iam::aws:policy/service-role/AWSLambdaBasicExecutionRole"
REPORT = re.compile(
    r"REPORT RequestId: (\S+)\tDuration: (\S+) ms\tBilled Duration: (\d+) ms\tMemory Size: (\d+) MB\t"
    r"Max Memory Used: (\d+) MB\t(?:Init Duration: (\S+) ms\t)?(?:Status: (\w+)\t)?(?:Error Type: (\S+)\t)?\n"
)


class Account(practice.Account):
    """An account with functions made in one line."""

    def role(self, name: str = "role", *statements: dict[str, Any], basic: bool = True) -> str:
        made = self.iam.create_role(RoleName=name, AssumeRolePolicyDocument=TRUST)["Role"]["Arn"]
        if basic:
            self.iam.attach_role_policy(RoleName=name, PolicyArn=BASIC)
        if statements:
            own = policies.document(*statements)
            self.iam.put_role_policy(RoleName=name, PolicyName="own", PolicyDocument=own)
        return made

    def make(self, code: str, name: str = "lab", **more: Any) -> dict[str, Any]:
        if "Role" not in more:
            more["Role"] = self.role(f"role-{name}")
        request = {"Runtime": "python3.13", "Handler": "lab.handler", "Timeout": 10} | more
        return self.lambda_.create_function(FunctionName=name, Code={"ZipFile": zipped(code)}, **request)

    def invoke(self, event: Any = None, name: str = "lab") -> tuple[Any, str, str]:
        """The answer, the function error, and the log tail."""
        answer = self.lambda_.invoke(FunctionName=name, LogType="Tail", Payload=json.dumps(event))
        tail = base64.b64decode(answer["LogResult"]).decode()
        return json.loads(answer["Payload"].read()), answer.get("FunctionError", ""), tail

    def send(self, event: Any, name: str = "lab") -> None:
        answer = self.lambda_.invoke(FunctionName=name, InvocationType="Event", Payload=json.dumps(event))
        assert answer["StatusCode"] == 202

    def log(self, name: str = "lab") -> list[str]:
        try:
            pages = self.logs.get_paginator("filter_log_events").paginate(logGroupName=f"/aws/lambda/{name}")
            return [event["message"] for page in pages for event in page["events"]]
        except self.logs.exceptions.ResourceNotFoundException:
            return []


def zipped(code: str) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("lab.py", textwrap.dedent(code))
    return file.getvalue()


@pytest.fixture
def aws(run: sandbox.Run) -> Iterator[Account]:
    account = Account(run)
    yield account
    run.weather(slow_states=0, account="old", faults=[])
    run.reset(account.id)


# --- the answer ---------------------------------------------------------------------------------------

ECHO = """
    import os
    print("imported")
    def handler(event, context):
        print("hello", context.aws_request_id)
        return {"event": event, "pid": os.getpid(), "arn": context.invoked_function_arn,
                "left": context.get_remaining_time_in_millis(), "memory": context.memory_limit_in_mb}
"""


def test_a_function_runs_and_its_process_is_used_again_while_it_is_warm(aws: Account) -> None:
    aws.make(ECHO, MemorySize=256)
    cold, error, first = aws.invoke({"haiku": "古池"})
    warm, _, second = aws.invoke([1, None])
    assert error == ""
    assert cold["event"] == {"haiku": "古池"}
    assert warm["event"] == [1, None]
    assert cold["pid"] == warm["pid"]
    assert cold["arn"] == f"arn:aws:lambda:us-east-1:{aws.id}:function:lab"
    assert 9_000 < cold["left"] <= 10_000
    assert cold["memory"] == "256"
    assert "INIT_START" in first
    assert "imported" in first
    assert "INIT_START" not in second
    assert "imported" not in second
    request_id, duration, billed, size, used, init, status, _ = report(first)
    assert f"START RequestId: {request_id} Version: $LATEST\n" in first
    assert f"hello {request_id}\nEND RequestId: {request_id}\nREPORT " in first
    assert (size, status) == ("256", None)
    # Both are rounded to 0.01 ms, and what is billed is not reckoned from the rounded ones.
    assert -0.01 <= int(billed) - float(duration) - float(init) < 1.01
    assert 5 < int(used) < 256
    assert report(second)[5] is None, "a warm start has no Init Duration"


def report(tail: str) -> tuple[Any, ...]:
    match = REPORT.search(tail)
    assert match is not None, tail
    return match.groups()


def test_names_arns_versions_and_kinds_of_invocation(aws: Account) -> None:
    arn = aws.make(ECHO)["FunctionArn"]
    version = aws.lambda_.publish_version(FunctionName="lab")["Version"]
    for name, expected in (
        ("lab", "$LATEST"), (arn, "$LATEST"), (f"lab:{version}", version), (f"{arn}:{version}", version),
        (f"{aws.id}:function:lab", "$LATEST"),
    ):  # fmt: skip
        answer = aws.lambda_.invoke(FunctionName=name)
        assert answer["ExecutedVersion"] == expected
        assert "LogResult" not in answer
        assert json.loads(answer["Payload"].read())["event"] == {}
    assert aws.lambda_.invoke(FunctionName="lab", Qualifier=version)["ExecutedVersion"] == version
    assert aws.lambda_.invoke(FunctionName="lab", InvocationType="DryRun")["StatusCode"] == 204


def test_code_and_settings_count_from_the_next_invocation_on(aws: Account) -> None:
    aws.make(ECHO)
    before = aws.invoke()[0]["pid"]
    aws.lambda_.update_function_code(
        FunctionName="lab", ZipFile=zipped("import os\ndef handler(e, c): return os.environ.get('MOOD')\n")
    )
    assert aws.invoke()[0] is None
    aws.lambda_.update_function_configuration(FunctionName="lab", Environment={"Variables": {"MOOD": "good"}})
    assert aws.invoke()[0] == "good"
    assert before


def refused(method: Callable[..., Any], **request: Any) -> tuple[str, int, dict[str, Any]]:
    with pytest.raises(ClientError) as caught:
        method(**request)
    answer = caught.value.response
    return answer["Error"]["Code"], answer["ResponseMetadata"]["HTTPStatusCode"], answer


def test_what_cannot_be_invoked_is_refused(aws: Account) -> None:
    assert refused(aws.lambda_.invoke, FunctionName="nobody")[:2] == ("ResourceNotFoundException", 404)
    first = aws.make(ECHO)
    large = json.dumps("x" * 6_300_000)
    assert refused(aws.lambda_.invoke, FunctionName="lab", Payload=large)[:2] == (
        "RequestTooLargeException",
        413,
    )
    for wrong in (b"no json", '{"a": 1}'.encode("utf-16"), b"[" * 100_000):
        code, status, _ = refused(aws.lambda_.invoke, FunctionName="lab", Payload=wrong)
        assert (code, status) == ("InvalidRequestContentException", 400)
    for context in ("no base64", "YQ==", "NQ=="):  # `a` and `5`
        code, status, answer = refused(aws.lambda_.invoke, FunctionName="lab", ClientContext=context)
        assert (code, status) == ("InvalidRequestContentException", 400)
        assert answer["Error"]["Message"] == "Client context must be a valid Base64-encoded JSON object."
    for member in ("InvocationType", "LogType"):
        code, status, answer = refused(aws.lambda_.invoke, FunctionName="lab", **{member: "event"})
        assert (code, status) == ("ValidationException", 400)
        assert f"Value 'event' at '{member[0].lower()}{member[1:]}' failed" in answer["Error"]["Message"]
    aws.make(ECHO, "node", Runtime="nodejs22.x", Role=first["Role"])
    code, status, answer = refused(aws.lambda_.invoke, FunctionName="node")
    assert (code, status) == ("NotImplemented", 501)
    assert "Python" in answer["Error"]["Message"]
    aws.iam.detach_role_policy(RoleName="role-lab", PolicyArn=BASIC)
    aws.iam.delete_role(RoleName="role-lab")
    assert refused(aws.lambda_.invoke, FunctionName="lab")[:2] == ("AccessDeniedException", 403)


def test_the_rules_of_logs_and_queues_hold_in_the_server(aws: Account) -> None:
    aws.logs.create_log_group(logGroupName="lab")
    with pytest.raises(ClientError, match="InvalidParameterException"):
        aws.logs.put_retention_policy(logGroupName="lab", retentionInDays=8)
    aws.run.weather(slow_states=1)
    aws.sqs.delete_queue(QueueUrl=aws.sqs.create_queue(QueueName="lab")["QueueUrl"])
    with pytest.raises(ClientError, match="QueueDeletedRecently"):
        aws.sqs.create_queue(QueueName="lab")


def test_a_function_in_the_making_cannot_be_invoked(aws: Account) -> None:
    role = aws.role()
    aws.run.weather(slow_states=1000)
    with pytest.raises(aws.lambda_.exceptions.InvalidParameterValueException):  # the role is too fresh
        aws.make(ECHO, Role=role)
    aws.run.pass_time(1000 * identities.READY_S)
    aws.make(ECHO, Role=role)
    code, status, _ = refused(aws.lambda_.invoke, FunctionName="lab")
    assert (code, status) == ("ResourceConflictException", 409)
    aws.run.pass_time(1000 * functions.PENDING_S)
    aws.lambda_.get_waiter("function_active_v2").wait(FunctionName="lab")
    assert aws.invoke({})[1] == ""


# --- the surroundings ---------------------------------------------------------------------------------


def test_a_function_finds_its_surroundings_and_none_of_the_students(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "student"
    (home / ".aws").mkdir(parents=True)
    (home / ".aws/credentials").write_text("[default]\naws_access_key_id = AKIAREAL\n")
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("SECRET_OF_THE_STUDENT", "1")
    run = sandbox.start(slow_states=0, home=tmp_path / "place")
    try:
        aws = Account(run)
        aws.make(
            """
            import os, tempfile, boto3
            def handler(event, context):
                with open("/tmp/kept", "a") as file:
                    file.write("x")
                with tempfile.NamedTemporaryFile() as file:
                    where = file.name
                return {"env": dict(os.environ), "home": os.listdir(os.path.expanduser("~")), "where": where,
                        "seen": os.path.exists(event), "boto3": boto3.__version__, "cwd": os.getcwd(),
                        "key": boto3.Session().get_credentials().access_key}
            """,
            Environment={"Variables": {"TABLE_NAME": "haiku"}},
        )
        found, error, _ = aws.invoke(str(home / ".aws/credentials"))
        assert error == ""
        variables = found["env"]
        assert variables["TABLE_NAME"] == "haiku"
        assert variables["_HANDLER"] == "lab.handler"
        assert variables["AWS_EXECUTION_ENV"] == "AWS_Lambda_python3.13"
        assert variables["AWS_LAMBDA_FUNCTION_NAME"] == "lab"
        assert variables["AWS_LAMBDA_FUNCTION_MEMORY_SIZE"] == "128"
        assert variables["AWS_LAMBDA_LOG_GROUP_NAME"] == "/aws/lambda/lab"
        assert variables["AWS_REGION"] == "us-east-1"
        assert variables["AWS_ENDPOINT_URL"] == run.endpoint_url
        assert variables["LAMBDA_TASK_ROOT"] == found["cwd"]
        assert variables["_X_AMZN_TRACE_ID"].startswith("Root=1-")
        assert variables["AWS_ACCESS_KEY_ID"].startswith("ASIA")
        assert found["key"] == variables["AWS_ACCESS_KEY_ID"]
        assert "SECRET_OF_THE_STUDENT" not in variables
        # It is /tmp, where there are namespaces, with the Python that runs here if that lies below it.
        python = Path(sys.prefix).parts[2:3] if Path(sys.prefix).is_relative_to("/tmp") else ()
        assert set(found["home"]) <= {"kept", *python}
        assert found["where"].startswith(variables["TMPDIR"])
        if found["cwd"] == "/var/task":  # in namespaces, not on macOS and the like
            assert not found["seen"], "a function sees the home directory of who runs the practice cloud"
    finally:
        run.stop()
    assert [path.name for path in (tmp_path / "place").iterdir()] == ["sandbox.lock"]


def test_calls_of_a_function_are_checked_against_its_role(aws: Account) -> None:
    aws.dynamodb.create_table(
        TableName="haiku",
        KeySchema=[{"AttributeName": "item_id", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "item_id", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
    )
    table = f"arn:aws:dynamodb:us-east-1:{aws.id}:table/haiku"
    reader = aws.role("reader", {"Effect": "Allow", "Action": "dynamodb:Scan", "Resource": table})
    aws.make(
        """
        import boto3, os
        from botocore.exceptions import ClientError
        def code_of(call, **request):
            try:
                call(**request)
            except ClientError as error:
                return [error.response["Error"]["Code"], error.response["Error"]["Message"]]
            return ["ok", ""]
        def handler(event, context):
            table, s3, iam = boto3.client("dynamodb"), boto3.client("s3"), boto3.client("iam")
            return {
                "me": boto3.client("sts").get_caller_identity()["Arn"],
                "scan": code_of(table.scan, TableName="haiku"),
                "put": code_of(table.put_item, TableName="haiku", Item={"item_id": {"S": "1"}}),
                "s3": code_of(s3.put_object, Bucket="b", Key="k", Body=b""),
                "iam": code_of(iam.list_users),
            }
        """,
        Role=reader,
    )
    found, error, _ = aws.invoke()
    assert error == ""
    assert found["me"] == f"arn:aws:sts::{aws.id}:assumed-role/reader/lab"
    assert found["scan"][0] == "ok"
    assert found["put"][0] == "AccessDeniedException"
    assert f"dynamodb:PutItem on resource: {table} because" in found["put"][1]
    assert found["s3"][0] == "AccessDenied"
    assert found["iam"][0] == "AccessDenied"
    assert "not in its table" in found["iam"][1]
    assert aws.dynamodb.scan(TableName="haiku")["Count"] == 0


# --- what goes wrong ----------------------------------------------------------------------------------


def test_a_process_whose_answer_nobody_can_read_is_ended(aws: Account) -> None:
    word = number()
    aws.make(
        """
        import os, stat, subprocess
        def handler(event, context):
            subprocess.Popen(["sleep", event])
            for fd in range(3, 20):
                try:
                    if stat.S_ISSOCK(os.fstat(fd).st_mode):
                        os.write(fd, b"\\0\\0\\0\\1\\0\\0\\0\\0x")
                except OSError:
                    pass
        """
    )
    assert refused(aws.lambda_.invoke, FunctionName="lab", Payload=json.dumps(word))[:2] == (
        "NotImplemented",
        501,
    )
    eventually(lambda: not alive(word))


def test_a_loop_that_prints_fills_no_memory_and_ends(aws: Account) -> None:
    aws.make("def handler(event, context):\n    while True:\n        print('x' * 1000)\n", Timeout=1)
    assert aws.invoke()[0]["errorType"] == "Sandbox.Timedout"
    lines = aws.log()
    assert "The practice cloud keeps 1048576 bytes of what an invocation prints, no more.\n" in lines
    assert sum(map(len, lines)) < 1_060_000


def test_all_code_of_an_account_is_counted(aws: Account) -> None:
    size = aws.make(ECHO)["CodeSize"]
    aws.lambda_.publish_version(FunctionName="lab")
    layer = zipped("x = 1")
    aws.lambda_.publish_layer_version(LayerName="own", Content={"ZipFile": layer})
    usage = aws.lambda_.get_account_settings()["AccountUsage"]
    assert usage == {"TotalCodeSize": 2 * size + len(layer), "FunctionCount": 1}


@pytest.mark.parametrize(
    ("code", "kind", "message"),
    [
        ("def handler(e, c): raise ValueError('no')", "ValueError", "no"),
        ("def handler(e, c): return object()", "Runtime.MarshalError", "Unable to marshal response: "),
        ("def handler(e, c): return 'x' * 6_300_000", "Function.ResponseSizeTooLarge", "Response payload"),
        ("import nothing_here", "Runtime.ImportModuleError", "Unable to import module 'lab': No module"),
        ("def other(e, c): pass", "Runtime.HandlerNotFound", "Handler 'handler' missing on module 'lab'"),
        ("def handler(e, c) return 1", "Runtime.UserCodeSyntaxError", "Syntax error in module 'lab'"),
        ("1 / 0", "ZeroDivisionError", "division by zero"),
        ("import sys\ndef handler(e, c): sys.exit(3)", "Runtime.ExitError", "with error: exit status 3"),
        ("import os\ndef handler(e, c): os._exit(0)", "Runtime.ExitError", "without providing a reason"),
        ("import os\nos._exit(4)", "Runtime.ExitError", "with error: exit status 4"),
    ],
)
def test_errors_come_back_as_aws_says_them(aws: Account, code: str, kind: str, message: str) -> None:
    aws.make(code)
    for _ in range(2):  # a function that failed can be invoked again
        answer, error, tail = aws.invoke()
        assert error == "Unhandled"
        assert answer["errorType"] == kind
        assert message in answer["errorMessage"]
        assert report(tail)[7] == ("Runtime.ExitError" if kind == "Runtime.ExitError" else None)


def test_an_exception_shows_the_functions_own_stack(aws: Account) -> None:
    aws.make("def deeper(): raise KeyError('x')\ndef handler(e, c): deeper()\n")
    answer, _, tail = aws.invoke()
    assert len(answer["stackTrace"]) == 2
    assert "lab.py" in answer["stackTrace"][0]
    assert "in deeper" in answer["stackTrace"][1]
    assert "[ERROR] KeyError: 'x'\nTraceback (most recent call last):\n\N{NO-BREAK SPACE}" in tail


def test_a_function_that_takes_too_long_ends_with_all_it_started(aws: Account) -> None:
    word = number()
    aws.make(
        """
        import subprocess, time
        def handler(event, context):
            subprocess.Popen(["sleep", event])
            print("waiting")
            time.sleep(30)
        """,
        Timeout=1,
    )
    answer, error, tail = aws.invoke(word)
    request_id, duration, billed, *_, status, _ = report(tail)
    assert error == "Unhandled"
    assert answer == {
        "errorType": "Sandbox.Timedout",
        "errorMessage": f"RequestId: {request_id} Error: Task timed out after 1.00 seconds",
    }
    assert (duration, billed, status) == ("1000.00", "1000", "timeout")
    assert "waiting\n" in tail
    assert alive(word) == []


def test_a_function_that_takes_too_much_memory_is_killed(aws: Account) -> None:
    aws.make("def handler(event, c):\n    x = b'x' * event\n    return len(x)\n")
    assert aws.invoke(10_000_000)[0] == 10_000_000
    answer, error, tail = aws.invoke(300_000_000)
    assert error == "Unhandled"
    assert answer["errorType"] == "Runtime.ExitError"
    assert answer["errorMessage"].endswith("Error: Runtime exited with error: signal: killed")
    assert report(tail)[4:] == ("128", None, "error", "Runtime.OutOfMemory")
    assert aws.invoke(1)[0] == 1


# --- many at once -------------------------------------------------------------------------------------

SLOW = """
    import os, time
    def handler(event, context):
        time.sleep(event)
        return os.getpid()
"""


def test_a_function_has_its_share_of_a_processor_by_its_memory(aws: Account) -> None:
    code = """
        import resource, subprocess, sys

        def used():
            of_all = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
            return sum(one.ru_utime + one.ru_stime for one in of_all)

        def handler(event, context):
            before = used()
            while used() - before < 0.02:
                sum(range(1000))
            subprocess.run([sys.executable, "-S", "-c", ""], check=True)
            return used() - before
        """
    for memory_mb in (128, 512):
        aws.make(code, f"lab{memory_mb}", MemorySize=memory_mb)
        seconds, _, tail = aws.invoke(name=f"lab{memory_mb}")
        assert seconds > 0.02
        assert float(report(tail)[1]) >= 1000 * seconds * 1769 / memory_mb


def test_each_execution_has_a_process_of_its_own(aws: Account) -> None:
    aws.make(SLOW)
    with concurrent.futures.ThreadPoolExecutor(5) as pool:
        pids = list(pool.map(lambda _: aws.invoke(0.7)[0], range(5)))
    assert len(set(pids)) == 5
    assert aws.invoke(0)[0] in pids


def test_reserved_concurrency_throttles(aws: Account) -> None:
    aws.make("import subprocess\ndef handler(event, context): subprocess.run(['sleep', event])\n")
    aws.lambda_.put_function_concurrency(FunctionName="lab", ReservedConcurrentExecutions=1)
    word = f"2.{number()}"
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        first = pool.submit(aws.invoke, word)
        eventually(lambda: alive(word))
        code, status, answer = refused(aws.lambda_.invoke, FunctionName="lab", Payload='"0"')
        assert (code, status) == ("TooManyRequestsException", 429)
        assert answer["Reason"] == "ReservedFunctionConcurrentInvocationLimitExceeded"
        assert first.result()[1] == ""
    assert aws.invoke("0")[1] == ""
    aws.lambda_.put_function_concurrency(FunctionName="lab", ReservedConcurrentExecutions=0)
    code, status, _ = refused(aws.lambda_.invoke, FunctionName="lab", Payload='"0"')
    assert (code, status) == ("TooManyRequestsException", 429)


def test_a_new_account_runs_ten_at_a_time(aws: Account) -> None:
    aws.make(SLOW)
    aws.run.weather(account="new")
    limits = aws.lambda_.get_account_settings()
    assert limits["AccountLimit"]["ConcurrentExecutions"] == 10
    assert limits["AccountUsage"]["FunctionCount"] == 1

    def code(_: int) -> str:
        try:
            aws.invoke(3)
        except ClientError as error:
            return error.response["Reason"]
        return "ok"

    with concurrent.futures.ThreadPoolExecutor(11) as pool:
        assert sorted(pool.map(code, range(11))) == ["ConcurrentInvocationLimitExceeded"] + ["ok"] * 10


# --- the code -----------------------------------------------------------------------------------------


def test_the_address_of_the_code_gives_the_zip_that_it_was_asked_for(aws: Account) -> None:
    aws.make("def handler(event, context): pass\n")
    places = [aws.lambda_.get_function(FunctionName="lab")["Code"]["Location"]]
    second = zipped("def handler(event, context): return 2\n")
    aws.lambda_.update_function_code(FunctionName="lab", ZipFile=second)
    places.append(aws.lambda_.get_function(FunctionName="lab:$LATEST")["Code"]["Location"])
    fetched = [requests.get(place, timeout=60) for place in places]
    assert [each.status_code for each in fetched] == [200, 200]
    assert fetched[1].content == second != fetched[0].content
    assert requests.get(places[1] + "x", timeout=60).status_code == 403
    aws.run.pass_time(601)
    assert requests.get(places[1], timeout=60).status_code == 403


# --- versions and aliases -----------------------------------------------------------------------------


def test_a_function_is_told_by_which_name_it_was_invoked(aws: Account) -> None:
    aws.make(ECHO)
    aws.lambda_.publish_version(FunctionName="lab")
    aws.lambda_.create_alias(FunctionName="lab", Name="live", FunctionVersion="1")
    arn = f"arn:aws:lambda:us-east-1:{aws.id}:function:lab"
    pids = set()
    for given, own in (("lab:live", ":live"), (f"{arn}:1", ":1"), ("lab:$LATEST", ":$LATEST"), ("lab", "")):
        said = aws.invoke(name=given)[0]
        assert said["arn"] == arn + own
        pids.add(said["pid"])
    assert len(pids) == 2  # version 1, and $LATEST


def test_an_alias_may_run_another_version_now_and_then(aws: Account) -> None:
    aws.make("def handler(event, context):\n    return context.function_version\n")
    aws.lambda_.publish_version(FunctionName="lab")
    aws.lambda_.update_function_configuration(FunctionName="lab", Description="two")
    aws.lambda_.publish_version(FunctionName="lab")
    shares = {"FunctionName": "lab", "Name": "live", "FunctionVersion": "1"}
    for share, version in ((1.0, "2"), (0.0, "1")):
        routing = {"AdditionalVersionWeights": {"2": share}}
        make = aws.lambda_.create_alias if share else aws.lambda_.update_alias
        make(**shares, RoutingConfig=routing)
        assert {aws.invoke(name="lab:live")[0] for _ in range(10)} == {version}


# --- asynchronous -------------------------------------------------------------------------------------

FRAGILE = """
    def handler(event, context):
        print("try", context.aws_request_id)
        if event.get("fail"):
            raise RuntimeError("it did not work")
"""


def with_dead_letters(aws: Account, code: str = FRAGILE) -> str:
    """A function with a dead-letter queue, whose URL comes back."""
    url = aws.sqs.create_queue(QueueName="dead")["QueueUrl"]
    arn = f"arn:aws:sqs:us-east-1:{aws.id}:dead"
    role = aws.role("role", {"Effect": "Allow", "Action": "sqs:SendMessage", "Resource": arn})
    aws.make(code, Role=role, DeadLetterConfig={"TargetArn": arn})
    return url


def letters(aws: Account, url: str) -> list[dict[str, Any]]:
    answer = aws.sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10, MessageAttributeNames=["All"])
    return answer.get("Messages", [])


def test_an_event_that_fails_is_tried_three_times_and_ends_as_a_dead_letter(aws: Account) -> None:
    url = with_dead_letters(aws)
    aws.send({"fail": False})
    aws.send({"fail": True, "n": 7})
    (letter,) = eventually(lambda: letters(aws, url))
    assert json.loads(letter["Body"]) == {"fail": True, "n": 7}
    attributes = {name: each["StringValue"] for name, each in letter["MessageAttributes"].items()}
    assert attributes["ErrorCode"] == "200"
    assert attributes["ErrorMessage"] == "it did not work"
    tried = [line for line in aws.log() if line == f"try {attributes['RequestID']}\n"]
    assert len(tried) == 3
    # The other event has a process of its own, and may take longer than all three tries.
    eventually(lambda: len([line for line in aws.log() if line.startswith("try ")]) == 4)
    assert letters(aws, url) == []


def test_how_often_an_event_is_tried_can_be_set(aws: Account) -> None:
    url = with_dead_letters(aws)
    aws.lambda_.put_function_event_invoke_config(FunctionName="lab", MaximumRetryAttempts=0)
    aws.send({"fail": True})
    assert len(eventually(lambda: letters(aws, url))) == 1
    assert len([line for line in aws.log() if line.startswith("try ")]) == 1


def test_tries_are_minutes_apart_as_the_weather_has_it(aws: Account) -> None:
    url = with_dead_letters(aws)
    aws.run.weather(slow_states=0.01)  # 0.6 s and 1.2 s
    began = time.monotonic()
    aws.send({"fail": True})
    eventually(lambda: letters(aws, url))
    assert time.monotonic() - began >= 1.8


def test_an_event_waits_until_its_role_can_be_assumed(aws: Account) -> None:
    aws.make(FRAGILE)
    aws.run.weather(slow_states=1)  # now the role is too fresh: 8 s
    assert refused(aws.lambda_.invoke, FunctionName="lab")[0] == "AccessDeniedException"
    aws.send({})
    time.sleep(0.3)  # the event was tried, and put back
    aws.run.weather(slow_states=0)
    eventually(lambda: [line for line in aws.log() if line.startswith("try ")])


def test_throttled_events_wait_and_none_is_lost(aws: Account) -> None:
    aws.make("import time\ndef handler(event, c):\n    time.sleep(0.05)\n    print('event', event)\n")
    aws.lambda_.put_function_concurrency(FunctionName="lab", ReservedConcurrentExecutions=2)
    for n in range(12):
        aws.send(n)
    seen = eventually(lambda: [each for each in aws.log() if each.startswith("event ")][11:] and aws.log())
    events = sorted(int(line.split()[1]) for line in seen if line.startswith("event "))
    assert events == list(range(12))


# --- logs ---------------------------------------------------------------------------------------------


def test_logs_stand_in_a_stream_of_the_process(aws: Account) -> None:
    aws.make(
        """
        import logging
        logging.getLogger().setLevel("INFO")
        def handler(event, context):
            logging.info("two\\nlines")
            print("more", event)
        """
    )
    aws.invoke(1)
    aws.invoke(2)
    (stream,) = aws.logs.describe_log_streams(logGroupName="/aws/lambda/lab")["logStreams"]
    assert re.fullmatch(r"\d{4}/\d\d/\d\d/\[\$LATEST\][0-9a-f]{32}", stream["logStreamName"])
    lines = aws.log()
    assert [line.split()[0] for line in lines] == [
        *("INIT_START", "START", "[INFO]", "more", "END", "REPORT"),
        *("START", "[INFO]", "more", "END", "REPORT"),
    ]
    assert lines[2].endswith("\ttwo\nlines\n")
    assert REPORT.fullmatch(lines[-1])


def test_without_permission_there_are_no_logs_and_the_tail_is_there_all_the_same(aws: Account) -> None:
    aws.make(ECHO, Role=aws.role(basic=False))
    assert "hello" in aws.invoke()[2]
    aws.logs.create_log_group(logGroupName="/aws/lambda/lab")
    assert "hello" in aws.invoke()[2]
    assert aws.logs.describe_log_streams(logGroupName="/aws/lambda/lab")["logStreams"] == []


def test_logs_come_late_and_bring_back_a_group_that_was_deleted(aws: Account) -> None:
    """Unless the role may not make groups: aws-facts (a)."""
    rest = ["logs:CreateLogStream", "logs:PutLogEvents"]
    careful = aws.role("careful", {"Effect": "Allow", "Action": rest, "Resource": "*"}, basic=False)
    aws.make(ECHO, "careful", Role=careful)
    aws.make(ECHO, "careless")
    for name in ("careful", "careless"):
        aws.invoke(name=name)
    aws.logs.create_log_group(logGroupName="/aws/lambda/careful")
    aws.run.weather(slow_states=1000)
    aws.run.pass_time(1000 * identities.READY_S)  # their roles are known everywhere
    for name in ("careful", "careless"):
        aws.invoke(name=name)
        aws.logs.delete_log_group(logGroupName=f"/aws/lambda/{name}")
    assert aws.log("careless") == []
    aws.run.pass_time(1000 * invocations.LATE_S)
    eventually(lambda: aws.log("careless"))
    groups = [group["logGroupName"] for group in aws.logs.describe_log_groups()["logGroups"]]
    assert groups == ["/aws/lambda/careless"]


# --- the end ------------------------------------------------------------------------------------------

BUSY = """
    import os, subprocess
    def handler(event, context):
        subprocess.Popen(["sleep", event], start_new_session=True)
        sum(iter(int, 1))  # for ever, and no other thread of this process runs
"""


def busy(aws: Account) -> str:
    """A function that runs for ever with a process of its own; its word is in the list of processes."""
    word = number()
    aws.make(BUSY, Timeout=300)
    aws.send(word)
    eventually(lambda: alive(word))
    return word


def test_reset_ends_what_runs_in_an_account_and_nothing_comes_back(aws: Account) -> None:
    other = Account(aws.run)
    other.make(ECHO)
    pid = other.invoke()[0]["pid"]
    word = busy(aws)
    aws.run.reset(aws.id)
    assert alive(word) == []
    assert aws.lambda_.list_functions()["Functions"] == []
    assert aws.logs.describe_log_groups()["logGroups"] == []
    assert other.invoke()[0]["pid"] == pid, "another account's function was ended"
    aws.make(ECHO)
    assert aws.invoke()[1] == ""
    aws.run.reset(other.id)


@pytest.mark.parametrize("how", ["stop", "kill"])
def test_nothing_outlives_the_practice_cloud(tmp_path: Path, how: str) -> None:
    run = sandbox.start(slow_states=0, home=tmp_path / "place")
    try:
        word = busy(Account(run))
        if how == "kill":
            os.kill(run.pid, signal.SIGKILL)
        else:
            run.stop()
        eventually(lambda: not alive(word))
        eventually(lambda: not alive(str(run.directory)))
    finally:
        run.stop()


def test_a_process_ends_when_its_function_is_deleted(aws: Account) -> None:
    word = number()
    aws.make(
        """
        import subprocess
        def handler(event, context):
            subprocess.Popen(["sleep", event])
        """
    )
    aws.invoke(word)
    assert alive(word)
    aws.lambda_.delete_function(FunctionName="lab")
    assert refused(aws.lambda_.invoke, FunctionName="lab")[:2] == ("ResourceNotFoundException", 404)
    eventually(lambda: not alive(word))
