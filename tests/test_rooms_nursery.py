"""Where Lambda functions live: the Lambda room without its server, and the nurseries in it."""

from __future__ import annotations

import io
import json
import os
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from moto.logs.models import logs_backends
from processes import alive
from test_rules_support import TRUST, client, cloud

from awslabs.sandbox.hosts import isolation
from awslabs.sandbox.rooms import functions
from awslabs.sandbox.rooms import nursery as nursery_module
from awslabs.sandbox.rooms.nursery import Ended, Nurseries, Nursery, TooBig, TooLong
from awslabs.sandbox.rules import functions as strict  # noqa: F401  (rules of the room)

pytestmark = pytest.mark.live

ACCOUNT = "123456789012"
VARIABLES = {
    "AWS_LAMBDA_FUNCTION_NAME": "lab",
    "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
    "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "128",
    "AWS_LAMBDA_LOG_GROUP_NAME": "/aws/lambda/lab",
    "AWS_LAMBDA_LOG_STREAM_NAME": "stream",
}
MAY_ALL = '{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"*","Resource":"*"}]}'
CODE = """
import os, subprocess, sys, time
def handler(event, context):
    if "child" in event:
        subprocess.Popen(["sleep", event["child"]], start_new_session=True)
    if "exit" in event:
        os._exit(event["exit"])
    if "hold" in event:
        x = b"x" * event["hold"]
    if "sleep" in event:
        time.sleep(event["sleep"])
    print("here", file=sys.stderr)
    return [os.getcwd(), len(event.get("text", ""))]
"""


def zipped(text: str = CODE, name: str = "lab.py") -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr(name, text)
    return file.getvalue()


@pytest.fixture(params=["namespaces", "plain"])
def nurseries(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Nurseries]:
    """On both kinds of ground; `plain` pretends that this computer has no namespaces."""
    if request.param == "plain":

        async def pretend(directory: Path) -> str:
            return "a test says so"

        monkeypatch.setattr(isolation, "why_no_namespaces", pretend)
    held = Nurseries(tmp_path)
    held.of(ACCOUNT)
    if request.param == "namespaces" and held.ground is not None and held.ground.why_plain:
        held.close()
        pytest.skip(f"this computer gives no namespaces: {held.ground.why_plain}")
    yield held
    held.close()


def bear(nursery: Nursery, code: bytes = b"", handler: str = "lab.handler") -> Any:
    task = nursery.unpack("lab", code or zipped())
    environment = nursery.bear({"environment": VARIABLES, "task": task, "handler": handler})
    ready = environment.listen(deadline=time.monotonic() + 20, memory_bytes=1e12)
    assert ready.header["ready"]
    return environment


def ask(environment: Any, event: Any, seconds: float = 20.0, memory_bytes: float = 1e12) -> Any:
    header = {
        "request_id": "r",
        "arn": "arn",
        "client_context": None,
        "deadline": time.time() + seconds,
        "trace_id": "t",
    }
    reply = environment.ask(
        header, json.dumps(event).encode(), deadline=time.monotonic() + seconds, memory_bytes=memory_bytes
    )
    return json.loads(reply.body)


def test_an_environment_answers_and_what_it_prints_arrives(nurseries: Nurseries) -> None:
    environment = bear(nurseries.of(ACCOUNT))
    where, length = ask(environment, {"text": "x" * 3_000_000})  # more than a socket holds
    assert where.endswith("/var/task/lab")
    assert length == 3_000_000
    assert bytes(environment.output) == b"here\n"
    assert environment.memory_bytes() > 5_000_000
    environment.kill()
    assert environment.memory_bytes() == 0


def test_bad_ends_have_their_names(nurseries: Nurseries) -> None:
    nursery = nurseries.of(ACCOUNT)
    with pytest.raises(Ended) as ended:
        ask(bear(nursery), {"exit": 5})
    assert ended.value.status == 5
    slow = bear(nursery)
    with pytest.raises(TooLong):
        ask(slow, {"sleep": 30}, seconds=0.2)
    slow.kill()
    assert slow.status == -9
    big = bear(nursery)
    with pytest.raises(TooBig) as too_big:
        ask(big, {"hold": 200_000_000, "sleep": 30}, memory_bytes=100_000_000)
    assert too_big.value.memory_bytes > 100_000_000
    big.kill()


def test_a_nursery_ends_with_what_its_functions_left_behind(nurseries: Nurseries) -> None:
    words = [f"{4_000_000 + os.getpid() * 10 + n}" for n in range(2)]
    for account, word in zip((ACCOUNT, "222222222222"), words, strict=True):
        environment = bear(nurseries.of(account))
        ask(environment, {"child": word})
        assert alive(word)
    folder = nurseries.of(ACCOUNT).folder
    nurseries.end(ACCOUNT)
    assert not alive(words[0])
    assert alive(words[1]), "the functions of another account ended, too"
    assert not folder.exists()
    assert ask(bear(nurseries.of(ACCOUNT)), {})  # it can begin again
    nurseries.end("222222222222")
    assert not alive(words[1])


def test_after_its_end_an_environment_says_so(nurseries: Nurseries) -> None:
    nursery = nurseries.of(ACCOUNT)
    environment = bear(nursery)
    nurseries.end(ACCOUNT)
    with pytest.raises(Ended):
        ask(environment, {})
    with pytest.raises(Ended):
        nursery.bear({"environment": VARIABLES, "task": "/", "handler": "lab.handler"})


def test_a_zip_stays_in_its_folder(tmp_path: Path) -> None:
    class Place:
        def inside(self, path: str) -> str:
            return path

    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("../../../evil.py", "")
        archive.writestr("/etc/evil.py", "")
        archive.writestr("good.py", "")
    folder = tmp_path / "account"
    (folder / "var/task").mkdir(parents=True)
    nursery = Nursery(folder, Place())  # type: ignore[arg-type]
    assert nursery.unpack("one", file.getvalue()) == "var/task/one"
    files = sorted(path.relative_to(folder).as_posix() for path in tmp_path.rglob("*.py"))
    assert files == ["var/task/one/etc/evil.py", "var/task/one/evil.py", "var/task/one/good.py"]


# --- the room -----------------------------------------------------------------------------------------


ROOM_CODE = """
import os
def handler(event, context):
    len(b"x" * event.get("hold", 0))
    if event.get("fail"):
        raise ValueError("no")
    return os.getpid()
"""


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Callable[[str], functions.Functions]]:
    """Makes a function in a fresh AWS; returns the Lambda room over it."""
    with cloud(every=True):
        trust = TRUST % '{"Service":"lambda.amazonaws.com"}'
        role = client("iam").create_role(RoleName="lab", AssumeRolePolicyDocument=trust)["Role"]["Arn"]
        room = functions.Functions("http://127.0.0.1:9", tmp_path)

        def make(name: str) -> functions.Functions:
            client("lambda").create_function(
                FunctionName=name,
                Runtime="python3.13",
                Role=role,
                Handler="lab.handler",
                Code={"ZipFile": zipped(ROOM_CODE)},
            )
            return room

        yield make
        room.close()


def pid(room: functions.Functions, name: str) -> int:
    result = room.invoke(ACCOUNT, "us-east-1", name, b"{}")
    assert result.function_error == ""
    return int(result.payload)


def test_when_the_computer_is_full_the_one_that_idles_longest_goes(
    make: Callable[[str], functions.Functions], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(functions, "CAPACITY", 2)
    for name in ("a", "b"):
        make(name)
    room = make("c")
    first, second = pid(room, "a"), pid(room, "b")
    assert pid(room, "a") == first
    pid(room, "c")  # in the place of b
    assert pid(room, "a") == first
    assert room.alive == 2
    assert pid(room, "b") != second
    assert room.alive == 2


def test_idle_environments_go_when_they_are_old_or_their_function_is_gone(
    make: Callable[[str], functions.Functions], monkeypatch: pytest.MonkeyPatch
) -> None:
    make("a")
    room = make("b")
    pid(room, "a")
    pid(room, "b")
    room.sweep()
    assert room.alive == 2
    client("lambda").delete_function(FunctionName="a")
    room.sweep()
    assert [warm.version.name for warm in room.idle] == ["b"]
    monkeypatch.setattr(functions, "IDLE_S", 0.0)
    room.sweep()
    assert (room.idle, room.alive) == ([], 0)


def test_the_front_door_for_other_rooms_needs_a_room(
    make: Callable[[str], functions.Functions], monkeypatch: pytest.MonkeyPatch
) -> None:
    room = make("a")
    with pytest.raises(RuntimeError, match="no Lambda room"):
        functions.invoke(ACCOUNT, "us-east-1", "a", b"{}")
    monkeypatch.setattr(functions, "current", room)
    result = functions.invoke(ACCOUNT, "us-east-1", "a", b"{}", log_tail=True)
    assert result.status == 200
    assert f"START RequestId: {result.request_id} Version: $LATEST" in result.log_tail
    assert functions.invoke(ACCOUNT, "us-east-1", "a", b"{}").log_tail == ""
    assert functions.invoke(ACCOUNT, "us-east-1", "a", b"{}", asynchronous=True).status == 202
    with pytest.raises(functions.Refused) as refused:
        functions.invoke(ACCOUNT, "us-east-1", "nobody", b"{}")
    assert (refused.value.code, refused.value.status) == ("ResourceNotFoundException", 404)


def test_a_short_need_of_too_much_memory_counts_too(
    make: Callable[[str], functions.Functions], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nursery_module, "LOOK_S", 100.0)
    room = make("a")
    result = room.invoke(ACCOUNT, "us-east-1", "a", b'{"hold": 200000000}', log_tail=True)
    assert json.loads(result.payload)["errorType"] == "Runtime.ExitError"
    assert "Error Type: Runtime.OutOfMemory" in result.log_tail
    assert room.alive == 0


def test_logs_that_are_late_do_not_bring_back_an_account_that_was_reset(
    make: Callable[[str], functions.Functions], monkeypatch: pytest.MonkeyPatch
) -> None:
    room = make("a")
    client("iam").put_role_policy(RoleName="lab", PolicyName="all", PolicyDocument=MAY_ALL)
    due: list[Callable[[], Any]] = []
    monkeypatch.setattr(functions, "scaled", lambda seconds: seconds)
    monkeypatch.setattr(room.later, "do", lambda delay_s, action: due.append(action))
    pid(room, "a")
    due.pop()()
    assert list(logs_backends[ACCOUNT]["us-east-1"].groups) == ["/aws/lambda/a"]
    client("logs").delete_log_group(logGroupName="/aws/lambda/a")
    pid(room, "a")
    room.reset(ACCOUNT)
    due.pop()()
    assert list(logs_backends[ACCOUNT]["us-east-1"].groups) == []


def test_a_dead_letter_is_lost_when_the_role_may_not_send_it(
    make: Callable[[str], functions.Functions],
) -> None:
    room = make("a")
    url = client("sqs").create_queue(QueueName="dead")["QueueUrl"]
    client("iam").put_role_policy(RoleName="lab", PolicyName="all", PolicyDocument=MAY_ALL)
    target = {"TargetArn": f"arn:aws:sqs:us-east-1:{ACCOUNT}:dead"}
    client("lambda").update_function_configuration(FunctionName="a", DeadLetterConfig=target)

    def deliver() -> int:
        payload, retries = b'{"fail": true}', len(functions.RETRY_S)
        room.deliver(
            functions.Event(ACCOUNT, "us-east-1", "a", None, payload, "id", 0, time.monotonic(), retries)
        )
        return len(client("sqs").receive_message(QueueUrl=url).get("Messages", []))

    assert deliver() == 1
    client("iam").delete_role_policy(RoleName="lab", PolicyName="all")
    assert deliver() == 0
