"""Where Lambda functions live: the running part of Lambda without its server, and the fork servers in it."""

from __future__ import annotations

import functools
import io
import json
import os
import site
import subprocess
import tempfile
import time
import venv
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from moto.logs.models import logs_backends
from processes import alive
from test_services_support import TRUST, client, cloud, wait

from awslabs.sandbox.core import engine
from awslabs.sandbox.run import isolation
from awslabs.sandbox.run.loop import Loop
from awslabs.sandbox.services.lambda_ import environments as environments_module
from awslabs.sandbox.services.lambda_ import functions as strict  # noqa: F401  (rules that it needs)
from awslabs.sandbox.services.lambda_ import invocations
from awslabs.sandbox.services.lambda_.environments import Ended, ForkServer, ForkServers, TooBig, TooLong

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
def fork_servers(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[ForkServers]:
    """On both kinds of ground; `plain` pretends that this computer has no namespaces."""
    if request.param == "plain":

        async def pretend(directory: Path) -> str:
            return "a test says so"

        monkeypatch.setattr(isolation, "why_no_namespaces", pretend)
    loop = Loop(tmp_path)
    held = ForkServers(loop)
    held.of(ACCOUNT)
    try:
        if request.param == "namespaces" and loop.ground is not None and loop.ground.why_plain:
            pytest.skip(f"this computer gives no namespaces: {loop.ground.why_plain}")
        yield held
    finally:
        held.close()
        loop.close()


def started(fork_server: ForkServer, code: bytes = b"", handler: str = "lab.handler") -> Any:
    task = fork_server.unpack("lab", code or zipped())
    environment = fork_server.fork({"environment": VARIABLES, "task": task, "handler": handler, "own": {}})
    ready = environment.listen(deadline=time.monotonic() + 120, memory_bytes=1e12)
    assert ready.header["ready"]
    return environment


def ask(environment: Any, event: Any, seconds: float = 120.0, memory_bytes: float = 1e12) -> Any:
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


def test_an_environment_answers_and_what_it_prints_arrives(fork_servers: ForkServers) -> None:
    environment = started(fork_servers.of(ACCOUNT))
    where, length = ask(environment, {"text": "x" * 3_000_000})  # more than a socket holds
    assert where.endswith("/var/task/lab")
    assert length == 3_000_000
    assert bytes(environment.output) == b"here\n"
    assert environment.memory_bytes() > 5_000_000
    environment.kill()
    assert environment.memory_bytes() == 0


def test_bad_ends_have_their_names(fork_servers: ForkServers) -> None:
    fork_server = fork_servers.of(ACCOUNT)
    with pytest.raises(Ended) as ended:
        ask(started(fork_server), {"exit": 5})
    assert ended.value.status == 5
    slow = started(fork_server)
    with pytest.raises(TooLong):
        ask(slow, {"sleep": 30}, seconds=0.2)
    slow.kill()
    assert slow.status == -9
    big = started(fork_server)
    with pytest.raises(TooBig) as too_big:
        ask(big, {"hold": 200_000_000, "sleep": 30}, memory_bytes=100_000_000)
    assert too_big.value.memory_bytes > 100_000_000
    big.kill()


def test_a_fork_server_ends_with_what_its_functions_left_behind(fork_servers: ForkServers) -> None:
    words = [f"{4_000_000 + os.getpid() * 10 + n}" for n in range(2)]
    for account, word in zip((ACCOUNT, "222222222222"), words, strict=True):
        environment = started(fork_servers.of(account))
        ask(environment, {"child": word})
        assert alive(word)
    folder = fork_servers.of(ACCOUNT).folder
    fork_servers.end(ACCOUNT)
    assert not alive(words[0])
    assert alive(words[1]), "the functions of another account ended, too"
    assert not folder.exists()
    assert ask(started(fork_servers.of(ACCOUNT)), {})  # it can begin again
    fork_servers.end("222222222222")
    assert not alive(words[1])


def test_after_its_end_an_environment_says_so(fork_servers: ForkServers) -> None:
    fork_server = fork_servers.of(ACCOUNT)
    environment = started(fork_server)
    fork_servers.end(ACCOUNT)
    with pytest.raises(Ended):
        ask(environment, {})
    with pytest.raises(Ended):
        fork_server.fork({"environment": VARIABLES, "task": "/", "handler": "lab.handler", "own": {}})


FROM_TMP = """
import json, sys, time
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from test_services_lambda_environments import ACCOUNT, VARIABLES, ForkServers, Loop, ask, zipped
loop = Loop(Path(sys.argv[1]))
held = ForkServers(loop)
try:
    one = held.of(ACCOUNT)
    code = "import os, sys\\ndef handler(e, c):\\n    p = sys.prefix\\n"
    code += "    return [p, os.path.isfile(p + '/pyvenv.cfg'), os.listdir('/tmp')]"
    task = one.unpack("lab", zipped(code))
    own = {name: place for name, place in one.own(task, one.scratch("x")).items() if name == "/tmp"}
    order = {"environment": VARIABLES, "task": task, "handler": "lab.handler", "own": own}
    environment = one.fork(order)
    try:
        environment.listen(deadline=time.monotonic() + 60, memory_bytes=1e12)
    except Exception:
        sys.exit(bytes(environment.output).decode())
    print(json.dumps([loop.ground.why_plain, *ask(environment, {}, seconds=60)]))
finally:
    held.close()
    loop.close()
"""


def test_a_python_that_is_installed_below_tmp_is_there_though_each_function_has_its_own_tmp() -> None:
    """A clone of the project in /tmp had an API that answered 502 for ever."""
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        os.chmod(folder, 0o755)
        venv.create(folder)
        python = Path(folder) / "bin/python"
        found = [*site.getsitepackages(), str(Path(invocations.__file__).parents[4])]
        lib = next(Path(folder).glob("lib/python*/site-packages"))
        (lib / "those.pth").write_text("\n".join(found))
        with tempfile.TemporaryDirectory() as home:
            line = [str(python), "-c", FROM_TMP, home, str(Path(__file__).parent)]
            said = subprocess.run(line, capture_output=True, text=True, timeout=120, check=False)
    assert said.returncode == 0, said.stderr
    why_plain, prefix, there, in_tmp = json.loads(said.stdout)
    assert (prefix, there) == (folder, True)
    if not why_plain:  # of /tmp it sees that Python and no more
        assert in_tmp == [Path(folder).name]


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
    fork_server = ForkServer(folder, Place())  # type: ignore[arg-type]
    assert fork_server.unpack("one", file.getvalue()) == "var/task/one"
    files = sorted(path.relative_to(folder).as_posix() for path in tmp_path.rglob("*.py"))
    assert files == ["var/task/one/etc/evil.py", "var/task/one/evil.py", "var/task/one/good.py"]


def test_a_link_in_a_zip_stays_a_link(fork_servers: ForkServers) -> None:
    """As with `zip --symlinks`; what lies outside of the folder is neither written nor read on the way."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, target in (
            ("lab.py", "lib/real.py"),
            ("out", "/etc"),
            ("lib/up", "../../../.."),
            ("loop", "loop"),
        ):
            link = zipfile.ZipInfo(name)
            link.external_attr = 0o120777 << 16
            archive.writestr(link, target)
        archive.writestr("lib/real.py", CODE)
        tool = zipfile.ZipInfo("tool")
        tool.external_attr = 0o100755 << 16
        archive.writestr(tool, "#!/bin/sh")
    fork_server = fork_servers.of(ACCOUNT)
    environment = started(fork_server, file.getvalue())
    assert ask(environment, {"text": "four"})[1] == 4
    folder = fork_server.folder / "var/task/lab"
    assert os.readlink(folder / "lab.py") == "lib/real.py"
    assert os.readlink(folder / "out") == "/etc"
    assert (folder / "tool").stat().st_mode & 0o777 == 0o755
    assert (folder / "lib/real.py").stat().st_mode & 0o777 == 0o644
    environment.kill()


# --- the whole -----------------------------------------------------------------------------------------


ROOM_CODE = """
import os
def handler(event, context):
    len(b"x" * event.get("hold", 0))
    if event.get("fail"):
        raise ValueError("no")
    return os.getpid()
"""


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Callable[[str], invocations.Functions]]:
    """Makes a function in a fresh AWS; returns the running part of Lambda over it."""
    with cloud(every=True):
        trust = TRUST % '{"Service":"lambda.amazonaws.com"}'
        role = client("iam").create_role(RoleName="lab", AssumeRolePolicyDocument=trust)["Role"]["Arn"]
        loop = Loop(tmp_path)
        engine.start_timer()
        lambda_ = invocations.Functions("http://127.0.0.1:9", loop)

        def make(name: str) -> invocations.Functions:
            client("lambda").create_function(
                FunctionName=name,
                Runtime="python3.13",
                Role=role,
                Handler="lab.handler",
                Code={"ZipFile": zipped(ROOM_CODE)},
                Timeout=60,  # s; on a busy computer the usual 3 pass before 200 MB are held
            )
            return lambda_

        yield make
        lambda_.close()
        engine.stop_timer()
        loop.close()


def pid(lambda_: invocations.Functions, name: str) -> int:
    result = lambda_.invoke(ACCOUNT, "us-east-1", name, b"{}")
    assert result.function_error == ""
    return int(result.payload)


def test_when_the_computer_is_full_the_one_that_idles_longest_goes(
    make: Callable[[str], invocations.Functions], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(invocations, "CAPACITY", 2)
    for name in ("a", "b"):
        make(name)
    lambda_ = make("c")
    first, second = pid(lambda_, "a"), pid(lambda_, "b")
    assert pid(lambda_, "a") == first
    pid(lambda_, "c")  # in the place of b
    assert pid(lambda_, "a") == first
    assert lambda_.alive == 2
    assert pid(lambda_, "b") != second
    assert lambda_.alive == 2


def test_idle_environments_go_when_they_are_old_or_their_function_is_gone(
    make: Callable[[str], invocations.Functions],
) -> None:
    make("a")
    lambda_ = make("b")
    pid(lambda_, "a")
    pid(lambda_, "b")
    lambda_.sweep()
    assert lambda_.alive == 2
    client("lambda").delete_function(FunctionName="a")
    lambda_.sweep()
    assert [warm.version.name for warm in lambda_.idle] == ["b"]
    wait(invocations.IDLE_S + 1)
    lambda_.sweep()
    assert (lambda_.idle, lambda_.alive) == ([], 0)


def test_the_front_door_for_other_rooms_needs_a_room(
    make: Callable[[str], invocations.Functions], monkeypatch: pytest.MonkeyPatch
) -> None:
    lambda_ = make("a")
    with pytest.raises(RuntimeError, match="no running part of Lambda"):
        invocations.invoke(ACCOUNT, "us-east-1", "a", b"{}")
    monkeypatch.setattr(invocations, "current", lambda_)
    result = lambda_.invoke(ACCOUNT, "us-east-1", "a", b"{}", log_tail=True)
    assert result.status == 200
    assert f"START RequestId: {result.request_id} Version: $LATEST" in result.log_tail
    assert invocations.invoke(ACCOUNT, "us-east-1", "a", b"{}").log_tail == ""
    assert invocations.invoke(ACCOUNT, "us-east-1", "a", b"{}", asynchronous=True).status == 202
    with pytest.raises(invocations.Refused) as refused:
        invocations.invoke(ACCOUNT, "us-east-1", "nobody", b"{}")
    assert (refused.value.code, refused.value.status) == ("ResourceNotFoundException", 404)


def test_a_short_need_of_too_much_memory_counts_too(
    make: Callable[[str], invocations.Functions], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(environments_module, "LOOK_S", 100.0)
    lambda_ = make("a")
    result = lambda_.invoke(ACCOUNT, "us-east-1", "a", b'{"hold": 200000000}', log_tail=True)
    assert json.loads(result.payload)["errorType"] == "Runtime.ExitError"
    assert "Error Type: Runtime.OutOfMemory" in result.log_tail
    assert lambda_.alive == 0


def test_logs_that_are_late_do_not_bring_back_an_account_that_was_reset(
    make: Callable[[str], invocations.Functions], monkeypatch: pytest.MonkeyPatch
) -> None:
    lambda_ = make("a")
    client("iam").put_role_policy(RoleName="lab", PolicyName="all", PolicyDocument=MAY_ALL)
    due: list[Callable[[], Any]] = []
    monkeypatch.setattr(invocations, "scaled", lambda seconds: seconds)
    monkeypatch.setattr(
        lambda_, "later", lambda delay_s, action, *args: due.append(functools.partial(action, *args))
    )
    pid(lambda_, "a")
    due.pop()()
    assert list(logs_backends[ACCOUNT]["us-east-1"].groups) == ["/aws/lambda/a"]
    client("logs").delete_log_group(logGroupName="/aws/lambda/a")
    pid(lambda_, "a")
    lambda_.reset(ACCOUNT)
    due.pop()()
    assert list(logs_backends[ACCOUNT]["us-east-1"].groups) == []


def test_a_dead_letter_is_lost_when_the_role_may_not_send_it(
    make: Callable[[str], invocations.Functions],
) -> None:
    lambda_ = make("a")
    url = client("sqs").create_queue(QueueName="dead")["QueueUrl"]
    client("iam").put_role_policy(RoleName="lab", PolicyName="all", PolicyDocument=MAY_ALL)
    target = {"TargetArn": f"arn:aws:sqs:us-east-1:{ACCOUNT}:dead"}
    client("lambda").update_function_configuration(FunctionName="a", DeadLetterConfig=target)

    def deliver() -> int:
        payload, retries = b'{"fail": true}', len(invocations.RETRY_S)
        lambda_.deliver(
            invocations.Event(ACCOUNT, "us-east-1", "a", None, payload, "id", 0, time.monotonic(), retries)
        )
        return len(client("sqs").receive_message(QueueUrl=url).get("Messages", []))

    assert deliver() == 1
    client("iam").delete_role_policy(RoleName="lab", PolicyName="all")
    assert deliver() == 0
