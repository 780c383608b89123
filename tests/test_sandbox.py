"""The practice cloud's server: it starts once, ends wholly, keeps accounts apart and makes weather."""

from __future__ import annotations

import concurrent.futures
import dataclasses
import errno
import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import paramiko
import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from botocore.exceptions import ClientError, ConnectionClosedError
from practice import client_of, fresh_account
from processes import running

from awslabs import journal, ledgers, policies, sandbox
from awslabs.errors import LabError, install
from awslabs.sandbox.core.weather import Fault, Weather

ROOT = Path(sandbox.__file__).parents[2]


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A home for a practice cloud of the test's own."""
    (tmp_path / "place").mkdir()
    return tmp_path / "place"


@pytest.fixture
def account(run: sandbox.Run) -> Iterator[str]:
    """An account that nobody has used, in weather that is fine again afterwards."""
    account_id = fresh_account()
    yield account_id
    run.weather(latency_ms=0, faults=[], slow_states=0, lag_ms=0, stale=0, account="old")
    run.reset(account_id)


@pytest.fixture
def client(run: sandbox.Run, account: str) -> Callable[..., Any]:
    """Makes boto3 clients of that account: ``client("ec2")``; further arguments go to botocore's Config."""

    def make(service: str, **config: Any) -> Any:
        return client_of(run, account, service, **config)

    return make


def own_vpcs(ec2: Any) -> list[str]:
    return [vpc["VpcId"] for vpc in ec2.describe_vpcs()["Vpcs"] if not vpc["IsDefault"]]


def command(*arguments: str, home: Path) -> subprocess.CompletedProcess[str]:
    """`python -m awslabs.sandbox ...`, as a user runs it."""
    environment = {**os.environ, "AWSLABS_HOME": str(home), "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        [sys.executable, "-m", "awslabs.sandbox", *arguments], capture_output=True, text=True, env=environment
    )


def ask(
    run: sandbox.Run, path: str, headers: dict[str, str], method: str = "GET", body: str = ""
) -> tuple[int, str]:
    """One plain request, as a browser or curl would send it; `http.client` sets Host unless it is given."""
    connection = http.client.HTTPConnection(run.endpoint_url.removeprefix("http://"), timeout=120)
    connection.request(method, path, body or None, headers)
    answer = connection.getresponse()
    text = answer.read().decode()
    connection.close()
    return answer.status, text


def processes_of(session: int) -> list[int]:
    """All processes of a session: what a server began, however deep."""
    return [pid for pid, its, _ in running() if its == session]


# -- start and stop --------------------------------------------------------------------------------------


@pytest.mark.live
def test_start_finds_the_one_that_runs_and_stop_leaves_nothing(place: Path) -> None:
    first = sandbox.start(home=place)
    try:
        assert sandbox.start(home=place) == first == sandbox.current(place)
        assert oct((place / "sandbox.json").stat().st_mode & 0o777) == "0o600"
        assert (first.directory / "sandbox.log").exists()
        session = os.getsid(first.pid)
        assert session != os.getsid(0), "it would die with the terminal"
    finally:
        first.stop()
    assert sandbox.current(place) is None
    assert sandbox.born(first.pid) is None
    assert processes_of(session) == []
    assert sorted(path.name for path in place.iterdir()) == ["sandbox.lock"]


@pytest.mark.live
def test_two_starts_at_once_make_one_server(place: Path) -> None:
    try:
        with concurrent.futures.ThreadPoolExecutor() as pool:
            said = list(pool.map(lambda _: command("start", home=place), range(4)))
        assert [each.returncode for each in said] == [0] * 4, said
        addresses = {
            word for each in said for word in each.stdout.replace(";", " ").split() if "http:" in word
        }
        assert len({address.rstrip(".,") for address in addresses}) == 1
        (log,) = place.glob("127.0.0.1-*/sandbox.log")
        assert log.read_text().count("listening at") == 1
    finally:
        command("stop", home=place)


def test_what_breaks_off_a_start_does_not_wait_for_a_server_that_hangs(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class BrokenOff(Exception):
        """Raised by a signal's handler: a test that takes too long."""

    begun: list[subprocess.Popen[bytes]] = []

    def communicate(process: subprocess.Popen[bytes], *_: Any) -> None:
        begun.append(process)
        raise BrokenOff

    hanging = place / "python"
    hanging.write_text("#!/bin/sh\nexec sleep 5\n")
    hanging.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(hanging))
    monkeypatch.setattr(subprocess.Popen, "communicate", communicate)
    with pytest.raises(BrokenOff):
        sandbox.start(home=place)
    assert [process.poll() for process in begun] == [-signal.SIGKILL]


@pytest.mark.live
def test_start_after_kill_9_clears_up_and_begins_again(place: Path) -> None:
    killed = sandbox.start(home=place)
    (killed.directory / "ec2.default.json").write_text('{"rows": []}')
    os.kill(killed.pid, signal.SIGKILL)
    wait_for_end(killed)
    assert sandbox.current(place) is None
    run = sandbox.start(home=place)
    try:
        assert run.pid != killed.pid
        assert not (run.directory / "ec2.default.json").exists()
        assert list(place.glob("127.0.0.1-*")) == [run.directory]
        assert own_vpcs(client_of(run, sandbox.ACCOUNT, "ec2")) == []
    finally:
        run.stop()


@pytest.mark.live
def test_a_number_that_another_process_has_now_is_not_the_practice_cloud(place: Path) -> None:
    run = sandbox.start(home=place)
    run.stop()
    bystander = subprocess.Popen(["sleep", "60"])
    try:
        run.directory.mkdir()
        sandbox.write_note(place, dataclasses.replace(run, pid=bystander.pid))
        assert sandbox.current(place) is None
        second = sandbox.start(home=place)
        assert bystander.poll() is None, "start ended a process that is not ours"
        second.stop()
    finally:
        bystander.kill()
        bystander.wait()


@pytest.mark.live
def test_a_practice_cloud_that_lives_and_does_not_answer_is_cleared_by_stop_alone(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWSLABS_HOME", str(place))
    run = sandbox.start()
    ledger = run.directory / "ec2.default.111122223333.us-east-1.json"
    ledger.write_text("{}")
    os.kill(run.pid, signal.SIGSTOP)
    try:
        lab = [sys.executable, "-m", "awslabs.ec2", "status", "--sandbox"]
        silent = {
            name: subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
            for name, line in {
                "lab": lab,
                **{verb: [*lab[:2], "awslabs.sandbox", verb] for verb in ("status", "start", "reset", "env")},
            }.items()
        }
        for name, process in silent.items():
            said = process.communicate()
            assert process.returncode == 1, (name, said)
            assert f"Its process {run.pid} lives" in said[1], name
            assert "fix:   python -m awslabs.sandbox stop" in said[1], name
        assert ledgers.folders() == [journal.home(), run.directory], "its ledgers need no answer"
        assert ledger.exists()
        assert sandbox.born(run.pid) == run.born
        os.kill(run.pid, signal.SIGCONT)
        assert sandbox.current() == run
        os.kill(run.pid, signal.SIGSTOP)
    finally:
        said = command("stop", home=place)
    assert said.stdout.startswith(f"The practice cloud at {run.endpoint_url} is gone"), said
    assert sandbox.born(run.pid) is None
    assert sorted(path.name for path in place.iterdir()) == ["sandbox.lock"]


def test_the_practice_cloud_of_another_computer_is_never_cleared(
    place: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("AWSLABS_HOME", str(place))
    here = sandbox.Host.here()
    directory = place / "127.0.0.1-4566"
    directory.mkdir()
    gone = sandbox.Run("http://127.0.0.1:4566", 2**22 + 1, directory, "token", "1", here)
    others = [
        dataclasses.replace(here, name="elsewhere", boot="b"),  # two computers installed from one image
        dataclasses.replace(here, machine="m", boot="b"),  # two that have the same name
        dataclasses.replace(here, pids="pid:[1]"),  # two containers
    ]
    for host in others:
        sandbox.write_note(place, dataclasses.replace(gone, host=host))
        for verb in ("status", "stop", "start", "env"):
            said = command(verb, home=place)
            assert said.returncode == 1, verb
            assert f"runs on another computer: {host.name}." in said.stderr
            assert f"fix:   export AWSLABS_HOME={place}-{here.name} " in said.stderr
        assert ledgers.folders() == [place], "ledgers of AWS are there for all that"
        assert "What stands in the practice cloud is not shown" in caplog.text
        with pytest.raises(LabError, match="on another computer"):
            ledgers.folders(sandbox=True)
        assert directory.exists()
        assert (place / "sandbox.json").exists()
    # What this very computer left when it went down is known to be dead; its name may change while it runs.
    for host, dead in (
        (dataclasses.replace(here, boot="before"), True),
        (dataclasses.replace(here, name="at-the-cafe"), False),
    ):
        mine = dataclasses.replace(gone, host=host, pid=os.getpid(), born=str(sandbox.born(os.getpid())))
        assert mine.alive is not dead


BROKEN_NOTES: list[Any] = [
    b"",
    b"\xff\xfe",
    b"[" * 100_000,
    b"null",
    b"[]",
    {"pid": -1},  # kill(2): every process of this user
    {"pid": 0},
    {"pid": True},
    {"pid": "12"},
    {"pid": 1},
    {"born": None},
    {"token": 1},
    {"endpoint_url": "http://127.0.0.1:80/../.."},
    {"endpoint_url": "http://example.com:80"},
    {"endpoint_url": None},
    {"host": None},
    {"host": {"name": "x"}},
    {"unknown": 1},
]


def test_a_damaged_note_is_said_so_and_nothing_is_ended_or_deleted(place: Path) -> None:
    directory = place / "127.0.0.1-80"
    directory.mkdir()
    path = place / "sandbox.json"
    bystander = subprocess.Popen(["sleep", "60"])
    try:
        began = str(sandbox.born(bystander.pid))
        good = sandbox.Run("http://127.0.0.1:80", bystander.pid, directory, "t", began, sandbox.Host.here())
        sandbox.write_note(place, good)
        assert sandbox.living(place) == good
        note = json.loads(path.read_text())
        for broken in BROKEN_NOTES:
            path.write_bytes(broken if isinstance(broken, bytes) else json.dumps(note | broken).encode())
            for find in (sandbox.living, sandbox.current, lambda home: sandbox.start(home=home)):
                with pytest.raises(LabError, match="does not say which practice cloud runs") as refused:
                    find(place)
                assert refused.value.fix == f"rm {path}"
        path.write_text(json.dumps(note | {"directory": str(place)}))
        assert sandbox.living(place) == good, "a folder to delete is taken from no file"
        assert bystander.poll() is None
        assert directory.exists()
    finally:
        bystander.kill()
        bystander.wait()


def test_what_another_user_wrote_there_is_not_believed(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = sandbox.Run("http://127.0.0.1:80", 2, place / "127.0.0.1-80", "t", "1", sandbox.Host.here())
    sandbox.write_note(place, run)
    monkeypatch.setattr(os, "getuid", lambda: 4711)
    with pytest.raises(LabError, match="belongs to another user") as refused:
        sandbox.start(home=place)
    assert refused.value.fix.startswith(f"export AWSLABS_HOME={place}-4711 ")
    assert (place / "sandbox.json").exists()


def test_a_home_where_nothing_can_be_kept_is_said_so(place: Path) -> None:
    (place / "file").write_text("")
    said = command("start", home=place / "file" / "home")
    assert said.returncode == 1
    assert "has no place in" in said.stderr
    assert "Traceback" not in said.stderr


def test_the_traces_of_a_later_run_at_the_same_port_stay(place: Path) -> None:
    first = sandbox.start(home=place)
    first.stop()
    second = sandbox.start(home=place, port=int(first.endpoint_url.rpartition(":")[2]))
    try:
        first.stop()
        assert sandbox.current(place) == second
        assert second.directory.exists()
    finally:
        second.stop()


@pytest.mark.parametrize("platform", ["linux", pytest.param("darwin", marks=pytest.mark.live)])
def test_a_process_is_known_by_its_begin_until_it_ends(
    platform: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if platform == "linux" and not Path("/proc/self/stat").exists():
        pytest.skip("there is no /proc here")
    if platform == "darwin" and shutil.which("ps") is None:
        pytest.skip("needs ps: apt-get install procps")
    monkeypatch.setattr(sandbox.sys, "platform", platform)
    process = subprocess.Popen(["sleep", "60"])
    began = sandbox.born(process.pid)
    assert began
    assert sandbox.born(process.pid) == began
    process.kill()
    wait_until(lambda: sandbox.born(process.pid) is None)  # a zombie, which nobody has waited for yet
    process.wait()
    assert sandbox.born(process.pid) is None


@pytest.mark.live
def test_sigterm_ends_it_as_cleanly_as_stop(place: Path) -> None:
    run = sandbox.start(home=place)
    os.kill(run.pid, signal.SIGTERM)
    wait_for_end(run)
    assert not run.directory.exists()
    assert not (place / "sandbox.json").exists()


def wait_for_end(run: sandbox.Run) -> None:
    wait_until(lambda: sandbox.born(run.pid) is None)


def write_ledgers(folder: Path) -> None:
    """One ledger with rows of each state, a cut one, and a folder in the place of one."""
    told = {"call": "ec2:CreateVpc", "token": "t", "begun": journal.now()}
    rows = [
        journal.Row(number=1, name="vpc", ids={"VpcId": "vpc-1"}, **told),  # type: ignore[arg-type]
        journal.Row(number=2, name="instance", **told),  # type: ignore[arg-type]
        journal.Row(number=3, name="subnet", state="gone", ids={"SubnetId": "subnet-1"}, **told),  # type: ignore[arg-type]
        journal.Row(number=4, name="key-pair", state="refused", **told),  # type: ignore[arg-type]
    ]
    where = {"lab": "ec2", "account": sandbox.ACCOUNT, "region": "us-east-1"}
    header = {"schema": journal.SCHEMA, **where, "name": "default", "cloud": "sandbox", "owner": "ana"}
    header |= {"prefix": "awslabs-ec2-abc123", "begun": journal.now(), "usd_before": 0.0}
    (folder / f"ec2.default.{sandbox.ACCOUNT}.us-east-1.json").write_text(journal.as_text(header, rows))
    (folder / f"ec2.other.{sandbox.ACCOUNT}.us-east-1.json").write_text(
        '{"rows": [{"state": "x", "ids": 1}]}'
    )
    (folder / f"ec2.third.{sandbox.ACCOUNT}.us-east-1.json").mkdir()


def test_what_stands_is_told_of_any_folder(tmp_path: Path) -> None:
    write_ledgers(tmp_path)
    lines = sandbox.standing(tmp_path)
    assert lines[:2] == ["ec2 default: vpc vpc-1", "ec2 default: instance creating"]
    assert [line.partition(": ")[2] for line in lines[2:]] == ["damaged, so nobody knows"] * 2
    no_folder = tmp_path / "file"
    no_folder.write_text("")
    assert sandbox.standing(no_folder) == ["file: Not a directory. So nobody knows"]
    assert sandbox.standing(tmp_path / "absent") == []


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP])
def test_a_home_that_cannot_be_locked_is_told_in_one_sentence(
    number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(sandbox.fcntl, "flock", refuse)
    with pytest.raises(LabError) as caught:
        sandbox.start(home=tmp_path)
    assert "cannot be locked" in caught.value.what
    assert "AWSLABS_HOME" in caught.value.fix


def test_its_commands_say_it_when_stdout_takes_no_more(tmp_path: Path) -> None:
    environment = {**os.environ, "AWSLABS_HOME": str(tmp_path)}
    line = [sys.executable, "-m", "awslabs.sandbox", "status"]
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            line, stdout=full, stderr=subprocess.PIPE, text=True, env=environment, check=False
        )
    assert done.returncode == 1
    assert "could not be printed" in done.stderr
    assert "Traceback" not in done.stderr


FIRST = """
import sys
from awslabs import cli, ec2, sandbox
from awslabs.errors import LabError
def start(**_):
    assert "boto3" not in sys.modules and "moto" not in sys.modules
    raise LabError("now it would start")
sandbox.start = start
ec2.command_line().main(["up", "--sandbox"])
"""


def test_the_first_up_says_at_once_that_it_starts_the_practice_cloud(tmp_path: Path) -> None:
    environment = {**os.environ, "AWSLABS_HOME": str(tmp_path)}
    line = [sys.executable, "-c", FIRST]
    done = subprocess.run(line, capture_output=True, text=True, env=environment, check=False)
    assert done.stderr.splitlines()[:2] == [
        "Starting the practice cloud: some seconds, the first time up to a minute ...",
        "error: now it would start",
    ]


@pytest.mark.live
def test_stop_names_what_still_stands_and_removes_what_was_made_unwritable(place: Path) -> None:
    run = sandbox.start(home=place)
    write_ledgers(run.directory)
    locked = run.directory / "instances" / "i-1" / "deep"
    locked.mkdir(parents=True)
    (locked / "file").write_text("")
    locked.chmod(0)
    stopped = command("stop", home=place)
    assert stopped.returncode == 0, stopped.stderr
    assert stopped.stdout.splitlines()[1:] == [
        "  ec2 default: vpc vpc-1",
        "  ec2 default: instance creating",
        f"  ec2.other.{sandbox.ACCOUNT}.us-east-1.json: damaged, so nobody knows",
        f"  ec2.third.{sandbox.ACCOUNT}.us-east-1.json: damaged, so nobody knows",
    ]
    assert not run.directory.exists()
    assert command("stop", home=place).stdout == "No practice cloud is running.\n"


@pytest.mark.live
@pytest.mark.parametrize("how", ["stop", "kill -9"])
def test_what_runs_on_an_instance_ends_with_the_cloud(place: Path, how: str) -> None:
    run = sandbox.start(home=place, slow_states=0)
    try:
        nap = f"sleep {100_000 + os.getpid()}.{time.time_ns() % 10**9}"
        user_at_instance(run, f"setsid sh -c '{nap} & exec {nap}' < /dev/null > /dev/null 2>&1 & sleep 1")
        assert len(processes_called(nap)) == 2
        if how == "stop":
            run.stop()
        else:
            os.kill(run.pid, signal.SIGKILL)
            wait_for_end(run)
        wait_until(lambda: not processes_called(nap))
    finally:
        run.stop()


def user_at_instance(run: sandbox.Run, command: str) -> None:
    """Start an instance, log in to it and run a command."""
    ec2, ssm = client_of(run, sandbox.ACCOUNT, "ec2"), client_of(run, sandbox.ACCOUNT, "ssm")
    key = paramiko.RSAKey.generate(2048)
    ssh = {"IpProtocol": "tcp", "FromPort": 22, "ToPort": 22, "IpRanges": [{"CidrIp": "127.0.0.1/32"}]}
    ec2.authorize_security_group_ingress(GroupName="default", IpPermissions=[ssh])
    ec2.import_key_pair(KeyName="key", PublicKeyMaterial=f"ssh-rsa {key.get_base64()}".encode())
    image = "/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-default-x86_64"
    image_id = ssm.get_parameter(Name=image)["Parameter"]["Value"]
    machine = {
        "ImageId": image_id,
        "InstanceType": "t3.micro",
        "KeyName": "key",
        "MinCount": 1,
        "MaxCount": 1,
    }
    instance = ec2.run_instances(**machine)["Instances"][0]
    tags = {tag["Key"]: tag["Value"] for tag in instance["Tags"]}
    host, port = tags["awslabs:ssh"].split(":")
    wait_until(
        lambda: "FINGERPRINTS" in ec2.get_console_output(InstanceId=instance["InstanceId"]).get("Output", "")
    )
    with paramiko.SSHClient() as session:
        session.set_missing_host_key_policy(paramiko.AutoAddPolicy())
        session.connect(host, int(port), "ec2-user", pkey=key, allow_agent=False, look_for_keys=False)
        session.exec_command(command)[1].channel.recv_exit_status()


def processes_called(command: str) -> list[str]:
    return [line for _, _, line in running() if line == command]


def wait_until(there: Callable[[], Any]) -> None:
    deadline = time.monotonic() + 120
    while not there():
        assert time.monotonic() < deadline, "it does not happen"
        time.sleep(0.05)


def test_time_passes_at_once_where_somebody_says_so(run: sandbox.Run, client: Any, account: str) -> None:
    """What takes an hour on AWS is due without anybody waiting; backwards no time passes."""
    run.weather(slow_states=1000)
    try:
        sqs = client("sqs")
        url = sqs.create_queue(QueueName="later")["QueueUrl"]
        sqs.send_message(QueueUrl=url, MessageBody="a word", DelaySeconds=900)
        assert "Messages" not in sqs.receive_message(QueueUrl=url)
        [made] = client("ec2").run_instances(ImageId="ami-12c6146b", MinCount=1, MaxCount=1)["Instances"]

        def state() -> str:
            [shown] = client("ec2").describe_instances(InstanceIds=[made["InstanceId"]])["Reservations"]
            return str(shown["Instances"][0]["State"]["Name"])

        assert state() == "pending"
        run.pass_time(60_000)
        wait_until(lambda: state() == "running")
        assert [each["Body"] for each in sqs.receive_message(QueueUrl=url)["Messages"]] == ["a word"]
        for seconds in (-1, float("nan"), float("inf")):
            with pytest.raises(LabError, match="cannot pass"):
                run.pass_time(seconds)
    finally:
        run.weather(slow_states=0)


def test_start_says_when_its_port_is_taken(place: Path, run: sandbox.Run) -> None:
    port = int(run.endpoint_url.rpartition(":")[2])
    with pytest.raises(LabError, match="did not start") as refused:
        sandbox.start(port=port, home=place)
    assert f"Port {port}" in refused.value.why
    assert run.about()["pid"] == run.pid


def test_start_on_another_port_than_the_running_one_is_refused(run: sandbox.Run) -> None:
    port = int(run.endpoint_url.rpartition(":")[2])
    with pytest.raises(LabError, match="runs already") as refused:
        sandbox.start(port=port + 1, home=run.directory.parent)
    assert f"--port {port + 1}" in refused.value.fix


def test_start_without_moto_says_what_to_install(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sandbox, "NEEDED", ("moto_that_nobody_has",))
    with pytest.raises(LabError, match="cannot start") as refused:
        sandbox.start(home=place)
    assert "moto_that_nobody_has" in refused.value.why
    assert refused.value.fix == install("sandbox")


def test_start_reports_why_the_server_died(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(place))
    (place / "moto.py").write_text("raise ImportError('a broken installation')")
    monkeypatch.setattr(sandbox, "__file__", str(place / "gone" / "awslabs" / "sandbox" / "__init__.py"))
    monkeypatch.setattr(sandbox.os, "pathsep", ":")
    environment_root = f"{place}:{ROOT}"
    monkeypatch.setenv("PYTHONPATH", environment_root)
    with pytest.raises(LabError, match="did not start") as refused:
        sandbox.start(home=place)
    assert "a broken installation" in refused.value.why
    assert sandbox.current(place) is None


# -- the command line -------------------------------------------------------------------------------------


def test_help_imports_neither_moto_nor_boto3() -> None:
    code = (
        "import sys, awslabs.sandbox.__main__\n"
        "print([name for name in ('moto', 'boto3', 'botocore', 'rich') if name in sys.modules])"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert shown.stdout == "[]\n", shown.stderr


def test_commands_say_how_the_weather_changed(place: Path) -> None:
    try:
        assert "listens at" in command("start", home=place).stdout
        changed = command("start", "--latency", "5", "--fault", "ec2:*=Throttling:0.5", home=place).stdout
        assert "ran already" in changed
        assert "its weather is changed" in changed
        assert "latency 5 ms, slow states x0.2, lag 0 ms, stale 0.25, old account," in changed
        assert " fault ec2:*=Throttling:0.5." in changed
        again = command("start", "--account", "new", home=place).stdout
        assert "latency 5 ms" in again
        assert "new account" in again
        assert "fault ec2:*=Throttling:0.5" in again
        shown = json.loads(command("status", "--json", home=place).stdout)
        assert shown["running"]
        assert shown["weather"]["account"] == "new"
    finally:
        command("stop", home=place)


@pytest.mark.parametrize(
    ("arguments", "exit_code", "words"),
    [
        (["start", "--fault", "RunInstances"], 2, "OPERATION=CODE"),
        (["start", "--latency", "-1"], 2, "-1"),
        (["start", "--account", "rich"], 2, "rich"),
        (["env", "--account", "12"], 2, "12 digits"),
        (["env"], 1, "fix:   python -m awslabs.sandbox start"),
        (["reset"], 1, "fix:   python -m awslabs.sandbox start"),
        (["dance"], 2, "dance"),
    ],
)
def test_wrong_use_has_its_exit_code_and_says_what_is_wrong(
    place: Path, arguments: list[str], exit_code: int, words: str
) -> None:
    said = command(*arguments, home=place)
    assert said.returncode == exit_code
    assert words in said.stderr
    assert "Traceback" not in said.stderr


def test_env_is_what_a_shell_can_evaluate(run: sandbox.Run) -> None:
    environment = {
        **os.environ,
        "AWS_PROFILE": "work",
        "AWS_SESSION_TOKEN": "old",
        "AWS_CA_BUNDLE": "/my/ca.pem",
    }
    environment |= {
        "AWS_ENDPOINT_URL_S3": "http://elsewhere",
        "no_proxy": "intranet",
        "PYTHONPATH": str(ROOT),
    }
    environment["AWSLABS_HOME"] = str(run.directory.parent)
    script = f'eval "$({sys.executable} -m awslabs.sandbox env --account 123456789012)"; env'
    shown = subprocess.run(["sh", "-c", script], capture_output=True, text=True, env=environment).stdout
    variables = dict(line.split("=", 1) for line in shown.splitlines() if "=" in line)
    assert variables["AWS_ENDPOINT_URL"] == run.endpoint_url
    assert variables["AWS_ACCESS_KEY_ID"] == "AKIAPRACTICE123456789012"
    assert variables["AWS_SECRET_ACCESS_KEY"] == run.secret_access_key("AKIAPRACTICE123456789012")
    assert variables["AWS_CA_BUNDLE"] == "/my/ca.pem"
    assert variables["NO_PROXY"] == variables["no_proxy"] == "intranet,127.0.0.1"
    assert not {"AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_ENDPOINT_URL_S3"} & variables.keys()


def test_each_run_and_each_account_has_a_secret_of_its_own(run: sandbox.Run) -> None:
    runs = (run, dataclasses.replace(run, token="another"))
    made = {
        each.environment(account)["AWS_SECRET_ACCESS_KEY"] for each in runs for account in (None, "1" * 12)
    }
    assert len(made) == 4
    assert {len(secret) for secret in made} == {40}
    assert not [secret for secret in (run.token, *made) if secret in repr(run)]


def test_keys_that_would_open_nothing_are_not_handed_out(client: Any) -> None:
    for ask_for in (client("sts").get_session_token, lambda: client("sts").get_federation_token(Name="me")):
        with pytest.raises(ClientError, match="its keys would open nothing here") as refused:
            ask_for()
        assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] == 501


def test_surroundings_lead_past_a_profile_a_session_and_a_proxy(
    run: sandbox.Run, account: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in (
        "AWS_PROFILE",
        "AWS_SESSION_TOKEN",
        "AWS_USE_FIPS_ENDPOINT",
        "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS",
    ):
        monkeypatch.setenv(name, "true")
    monkeypatch.setenv("AWS_ENDPOINT_URL_STS", "http://127.0.0.1:9")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    code = "import boto3; print(boto3.client('sts').get_caller_identity()['Account'])"
    shown = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=run.surroundings(account)
    )
    assert shown.stdout == f"{account}\n", shown.stderr


# -- accounts ----------------------------------------------------------------------------------------------


def test_accounts_are_apart_and_reset_empties_only_one(run: sandbox.Run, client: Any, account: str) -> None:
    other_account = "600000000001"
    other = client_of(run, other_account, "ec2")
    mine = client("ec2")
    vpc_id = mine.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
    other_vpc_id = other.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
    client("s3").create_bucket(Bucket=f"bucket-{account}")
    client_of(run, other_account, "s3").create_bucket(Bucket=f"bucket-{other_account}")
    assert own_vpcs(mine) == [vpc_id]
    assert own_vpcs(other) == [other_vpc_id]
    run.reset(account)
    assert own_vpcs(mine) == []
    assert run.calls(account)[0]["operation"] == "ec2:DescribeVpcs", "the calls from before are still there"
    assert own_vpcs(other) == [other_vpc_id]
    assert client("s3").list_buckets()["Buckets"] == []
    client("s3").create_bucket(Bucket=f"bucket-{account}")
    assert [each["Name"] for each in client_of(run, other_account, "s3").list_buckets()["Buckets"]] == [
        f"bucket-{other_account}"
    ]
    run.reset(other_account)
    assert own_vpcs(other) == []


def test_the_caller_is_the_student_of_the_account(client: Any, account: str) -> None:
    identity = client("sts").get_caller_identity()
    assert identity["Arn"] == f"arn:aws:iam::{account}:user/student"
    assert identity["Account"] == account


def test_keys_that_iam_and_sts_made_belong_to_the_account_that_made_them(
    run: sandbox.Run, client: Any, account: str
) -> None:
    trust = policies.document({"Effect": "Allow", "Principal": {"AWS": account}, "Action": "sts:AssumeRole"})
    role = client("iam").create_role(RoleName="reader", AssumeRolePolicyDocument=trust)["Role"]
    keys = client("sts").assume_role(RoleArn=role["Arn"], RoleSessionName="me")["Credentials"]

    def caller(keys: dict[str, Any]) -> str:
        given = [keys[name] for name in ("AccessKeyId", "SecretAccessKey", "SessionToken")]
        return client_of(run, account, "sts", *given).get_caller_identity()["Arn"]

    assert caller(keys) == f"arn:aws:sts::{account}:assumed-role/reader/me"
    wrong = dict(keys, SessionToken="another")
    nobody = {"AccessKeyId": "AKIANOBODYKNOWSTHIS1", "SecretAccessKey": "x", "SessionToken": None}
    client("iam").create_user(UserName="ann")
    anns = client("iam").create_access_key(UserName="ann")["AccessKey"] | {"SessionToken": None}
    assert caller(anns) == f"arn:aws:iam::{account}:user/ann"
    client("iam").update_access_key(UserName="ann", AccessKeyId=anns["AccessKeyId"], Status="Inactive")
    for keys in (wrong, nobody, anns):
        with pytest.raises(ClientError, match="InvalidClientTokenId"):
            caller(keys)
    with pytest.raises(ClientError, match="SignatureDoesNotMatch"):
        caller(nobody | {"AccessKeyId": sandbox.KEY_PREFIX + account})


def test_aws_managed_policies_are_attached_per_account(run: sandbox.Run, client: Any, account: str) -> None:
    arn = "arn:aws:iam::aws:policy/AmazonSSMManagedInstanceCore"
    trust = policies.trust("ec2.amazonaws.com")
    client("iam").create_role(RoleName="one", AssumeRolePolicyDocument=trust)
    client("iam").attach_role_policy(RoleName="one", PolicyArn=arn)
    assert client("iam").get_policy(PolicyArn=arn)["Policy"]["AttachmentCount"] == 1
    other = client_of(run, "600000000002", "iam")
    assert other.get_policy(PolicyArn=arn)["Policy"]["AttachmentCount"] == 0
    run.reset("600000000002")


def test_public_images_are_the_same_in_all_accounts_and_belong_to_amazon(
    run: sandbox.Run, client: Any
) -> None:
    other = client_of(run, "600000000003", "ec2")
    name = "/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-default-x86_64"
    image_id = client("ssm").get_parameter(Name=name)["Parameter"]["Value"]
    mine, theirs = (each.describe_images(ImageIds=[image_id])["Images"][0] for each in (client("ec2"), other))
    assert mine == theirs
    assert mine["OwnerId"] == "137112412989"
    snapshot_id = mine["BlockDeviceMappings"][0]["Ebs"]["SnapshotId"]
    other.create_tags(Resources=[image_id, snapshot_id], Tags=[{"Key": "mine", "Value": "yes"}])
    assert client("ec2").describe_images(ImageIds=[image_id])["Images"][0].get("Tags", []) == []
    assert client("ec2").describe_snapshots(SnapshotIds=[snapshot_id])["Snapshots"][0].get("Tags", []) == []
    assert other.describe_snapshots(SnapshotIds=[snapshot_id])["Snapshots"][0]["Tags"]
    assert other.describe_images(ImageIds=[image_id])["Images"][0]["Tags"]
    run.reset("600000000003")


# -- operations and protocols -------------------------------------------------------------------------------

# What each protocol looks like on the wire, through boto3 itself. Some of these calls are refused by moto for
# lack of what they name: the operation is known all the same.
CALLS: list[tuple[str, str, dict[str, Any]]] = [
    ("ec2", "DescribeInstances", {}),
    ("iam", "ListRoles", {}),
    ("sts", "GetCallerIdentity", {}),
    ("ssm", "DescribeParameters", {}),
    ("service-quotas", "GetServiceQuota", {"ServiceCode": "vpc", "QuotaCode": "L-F678F1CE"}),
    ("resourcegroupstaggingapi", "GetResources", {}),
    ("dynamodb", "ListTables", {}),
    ("dynamodbstreams", "ListStreams", {}),
    ("sqs", "GetQueueUrl", {"QueueName": "q"}),
    ("logs", "DescribeLogGroups", {}),
    ("ecs", "DescribeClusters", {}),
    ("ecr", "DescribeRepositories", {}),
    ("s3", "ListBuckets", {}),
    ("s3", "PutObject", {"Bucket": "b-1", "Key": "a/b c", "Body": b"x"}),
    ("s3", "ListObjectsV2", {"Bucket": "b-1"}),
    ("s3", "GetBucketTagging", {"Bucket": "b-1"}),
    ("s3", "DeletePublicAccessBlock", {"Bucket": "b-1"}),
    ("s3", "DeleteObjects", {"Bucket": "b-1", "Delete": {"Objects": [{"Key": "k"}]}}),
    ("lambda", "GetFunction", {"FunctionName": "f"}),
    ("lambda", "DeleteFunction", {"FunctionName": "f"}),
    ("apigateway", "GetRestApis", {}),
    (
        "apigateway",
        "PutIntegration",
        {"restApiId": "a", "resourceId": "r", "httpMethod": "GET", "type": "MOCK"},
    ),
    ("apigatewayv2", "GetApis", {}),
    ("batch", "DescribeJobQueues", {}),
    ("elbv2", "DescribeLoadBalancers", {}),
    ("elb", "DescribeLoadBalancers", {}),
    ("cloudwatch", "ListMetrics", {}),
    ("stepfunctions", "ListStateMachines", {}),
]


def send(client: Any, service: str, operation: str, arguments: dict[str, Any]) -> dict[str, Any] | None:
    """One call; what was refused, or None."""
    made = client(service, retries={"total_max_attempts": 1})
    try:
        getattr(made, boto3_name(made, operation))(**arguments)
    except ClientError as refused:
        return refused.response
    return None


def boto3_name(made: Any, operation: str) -> str:
    return next(name for name, its in made.meta.method_to_api_mapping.items() if its == operation)


@pytest.mark.parametrize(
    ("service", "operation", "arguments"), CALLS, ids=lambda value: value if isinstance(value, str) else ""
)
def test_every_protocol_is_named_right_and_can_fail(
    run: sandbox.Run, client: Any, account: str, service: str, operation: str, arguments: dict[str, Any]
) -> None:
    send(client, service, operation, arguments)
    assert run.calls(account)[-1]["operation"] == f"{service}:{operation}"
    run.weather(account=account, faults=[f"{service}:{operation}=AccessDenied"])
    refused = send(client, service, operation, arguments)
    assert refused is not None
    assert refused["Error"]["Code"] == "AccessDenied"
    assert (
        refused["Error"]["Message"]
        == f"The weather of the practice cloud: {service}:{operation} fails with AccessDenied."
    )
    assert refused["ResponseMetadata"]["HTTPStatusCode"] == 403
    assert refused["ResponseMetadata"]["RequestId"]
    row = run.calls(account)[-1]
    assert (row["operation"], row["status"], row["code"]) == (f"{service}:{operation}", 403, "AccessDenied")


@pytest.mark.parametrize(
    ("service", "operation", "code", "status"),
    [
        ("ec2", "DescribeVpcs", "RequestLimitExceeded", 503),
        ("ec2", "DescribeVpcs", "Throttling", 503),
        ("ec2", "DescribeVpcs", "UnauthorizedOperation", 403),
        ("ec2", "DescribeVpcs", "InvalidVpcID.NotFound", 400),
        ("ec2", "DescribeVpcs", "InternalError", 500),
        ("sts", "GetCallerIdentity", "Throttling", 400),
        ("iam", "ListRoles", "ServiceFailure", 500),
        ("iam", "ListRoles", "NoSuchEntity", 404),
        ("ssm", "DescribeParameters", "ThrottlingException", 400),
        ("dynamodb", "ListTables", "ProvisionedThroughputExceededException", 400),
        ("lambda", "ListFunctions", "TooManyRequestsException", 429),
        ("apigateway", "GetRestApis", "TooManyRequestsException", 429),
        ("s3", "ListBuckets", "SlowDown", 503),
    ],
)
def test_a_fault_has_the_status_with_which_aws_sends_it(
    run: sandbox.Run, client: Any, account: str, service: str, operation: str, code: str, status: int
) -> None:
    run.weather(account=account, faults=[f"{service}:{operation}={code}"])
    refused = send(client, service, operation, {})
    assert refused is not None
    assert (refused["Error"]["Code"], refused["ResponseMetadata"]["HTTPStatusCode"]) == (code, status)


@pytest.mark.parametrize(
    ("service", "operation", "arguments"),
    [
        ("ec2", "DescribeVpcBlockPublicAccessOptions", {}),
        ("iam", "GetOrganizationsAccessReport", {"JobId": "0" * 36}),
        ("pricing", "DescribeServices", {}),
        ("braket", "SearchDevices", {"filters": []}),
        ("lambda", "ListProvisionedConcurrencyConfigs", {"FunctionName": "f"}),
        ("apigateway", "TestInvokeMethod", {"restApiId": "a", "resourceId": "r", "httpMethod": "GET"}),
        ("batch", "GetJobQueueSnapshot", {"jobQueue": "q"}),
        (
            "ssm",
            "SendCommand",
            {"InstanceIds": ["i-0123456789abcdef0"], "DocumentName": "AWS-RunShellScript"},
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_it_cannot_do_it_says_at_once(
    run: sandbox.Run, client: Any, account: str, service: str, operation: str, arguments: dict[str, Any]
) -> None:
    made = client(service)  # with botocore's own retries
    with pytest.raises(ClientError) as refused:
        getattr(made, boto3_name(made, operation))(**arguments)
    assert refused.value.response["Error"]["Code"] == "NotImplemented"
    assert "The practice cloud does not know" in refused.value.response["Error"]["Message"]
    assert len(run.calls(account)) == 1, "it was asked more than once"


def test_a_moto_that_stumbles_is_an_honest_refusal(run: sandbox.Run, client: Any, account: str) -> None:
    # moto answers the deletion of an unknown usage plan with a KeyError of its own.
    refused = send(client, "apigateway", "DeleteUsagePlan", {"usagePlanId": "unknown"})
    assert refused is not None
    assert refused["ResponseMetadata"]["HTTPStatusCode"] == 501
    assert "moto stumbled" in refused["Error"]["Message"]
    assert "KeyError" in (run.directory / "sandbox.log").read_text()


def test_objects_survive_the_way_through_http(client: Any, account: str) -> None:
    s3 = client("s3")
    bucket = f"bytes-{account}"
    s3.create_bucket(Bucket=bucket)
    body = bytes(range(256)) * 5_000
    s3.put_object(Bucket=bucket, Key="ä/ö ü+%/", Body=body, Metadata={"under_score": "kept"})
    got = s3.get_object(Bucket=bucket, Key="ä/ö ü+%/")
    assert got["Body"].read() == body
    assert got["Metadata"] == {"under_score": "kept"}
    assert s3.head_object(Bucket=bucket, Key="ä/ö ü+%/")["ContentLength"] == len(body)
    assert s3.delete_object(Bucket=bucket, Key="ä/ö ü+%/")["ResponseMetadata"]["HTTPStatusCode"] == 204
    assert [each["Name"] for each in s3.list_buckets()["Buckets"]] == [bucket]


# -- weather ----------------------------------------------------------------------------------------------


def test_an_answer_that_is_lost_makes_botocore_build_a_second_one(
    run: sandbox.Run, client: Any, account: str
) -> None:
    run.weather(account=account, faults=["ec2:CreateVpc=cut:1:1"])
    client("ec2").create_vpc(CidrBlock="10.0.0.0/16")
    assert len(own_vpcs(client("ec2"))) == 2
    rows = [row for row in run.calls(account) if row["operation"] == "ec2:CreateVpc"]
    assert [(row["status"], row["code"]) for row in rows] == [(None, "cut"), (200, "")]


def test_cut_closes_the_connection_after_the_effect_and_cut_before_without(
    run: sandbox.Run, client: Any, account: str
) -> None:
    ec2 = client("ec2", retries={"total_max_attempts": 1})
    for fault, left in (("cut-before", 0), ("cut", 1)):
        run.weather(account=account, faults=[f"ec2:CreateVpc={fault}"])
        with pytest.raises(ConnectionClosedError):
            ec2.create_vpc(CidrBlock="10.0.0.0/16")
        assert len(own_vpcs(client("ec2"))) == left


def test_throttling_goes_away_by_itself(run: sandbox.Run, client: Any, account: str) -> None:
    run.weather(account=account, faults=["ec2:CreateVpc=RequestLimitExceeded:1:2"])
    client("ec2", retries={"mode": "standard"}).create_vpc(CidrBlock="10.0.0.0/16")
    rows = [row["code"] for row in run.calls(account) if row["operation"] == "ec2:CreateVpc"]
    assert rows == ["RequestLimitExceeded", "RequestLimitExceeded", ""]
    assert len(own_vpcs(client("ec2"))) == 1


def test_a_fault_of_one_account_does_not_strike_another(run: sandbox.Run, client: Any, account: str) -> None:
    run.weather(account=account, faults=["*=InternalError"])
    run.weather(faults=["sts:*=AccessDenied"])
    assert own_vpcs(client_of(run, "600000000004", "ec2")) == []
    with pytest.raises(ClientError, match="AccessDenied"):
        client_of(run, "600000000004", "sts").get_caller_identity()
    refused = send(client, "ec2", "DescribeVpcs", {})
    assert refused is not None
    assert refused["Error"]["Code"] == "InternalError"
    run.weather(account=account, faults=[])
    assert send(client, "ec2", "DescribeVpcs", {}) is None
    run.reset("600000000004")


def test_latency_is_part_of_every_call_and_calls_wait_side_by_side(
    run: sandbox.Run, client: Any, account: str
) -> None:
    run.weather(latency_ms=500)
    ec2 = client("ec2", max_pool_connections=20)
    with concurrent.futures.ThreadPoolExecutor(20) as pool:
        list(pool.map(lambda _: ec2.describe_vpcs(), range(20)))
    took = [row["seconds"] for row in run.calls(account)]
    assert len(took) == 20
    assert min(took) >= 0.5
    assert max(took) < 20 * 0.5, "one call waits for the other"


def test_weather_reaches_the_rules_and_refuses_nonsense(run: sandbox.Run, account: str) -> None:
    shown = run.weather(slow_states=0.5, lag_ms=250, stale=0.5, account="new")
    times = {"latency_ms": 0.0, "slow_states": 0.5, "lag_ms": 250.0}
    assert shown == times | {"faults": [], "stale": 0.5, "account": "new"}
    for nonsense in (
        {"slow_states": -1},
        {"latency_ms": "much"},
        {"latency_ms": float("inf")},
        {"account": "rich"},
        {"stale": 1.5},
        {"stale": "often"},
        {"faults": ["ec2:RunInstances"]},
        {"rain": 1},
        {"account": account, "slow_states": 1},
    ):
        with pytest.raises(LabError):
            run.weather(**nonsense)
    assert run.weather() == shown


@pytest.mark.parametrize(
    "text",
    [
        "",
        "=",
        "ec2:RunInstances",
        "RunInstances=X",
        "ec2:RunInstances=",
        "*=X:0",
        "*=X:1.5",
        "*=X:a",
        "*=X:1:0",
        "*=X:1:1:1",
        "* =X",
    ],
)
def test_a_fault_that_makes_no_sense_is_refused_with_a_sentence(text: str) -> None:
    with pytest.raises(ValueError, match=r".{20,}"):
        Fault.parse(text)


@pytest.mark.parametrize(
    "text", ["*=cut", "ec2:Describe*=Throttling:0.5", "service-quotas:GetServiceQuota=X.Y:1:3"]
)
def test_a_fault_reads_as_it_was_written(text: str) -> None:
    assert str(Fault.parse(text)) == text


def test_a_fault_strikes_as_often_as_it_says() -> None:
    weather = Weather()
    weather.change({"faults": ["ec2:RunInstances=A:1:2", "ec2:Run*=B:1:1"]})
    struck = [weather.draw("ec2:RunInstances", "1" * 12) for _ in range(4)]
    assert struck == ["A", "A", "B", None]
    assert weather.draw("ec2:DescribeInstances", "1" * 12) is None
    weather.change({"faults": ["*=C:0.5"]})
    assert 200 < sum(weather.draw("x:Y", "1" * 12) == "C" for _ in range(1000)) < 800


def test_weather_that_is_partly_wrong_changes_nothing() -> None:
    weather = Weather()
    with pytest.raises(ValueError):
        weather.change({"latency_ms": 5, "lag_ms": -1})
    assert weather == Weather()


# -- who may come in ----------------------------------------------------------------------------------------


def test_control_routes_want_the_token(run: sandbox.Run) -> None:
    for headers in ({}, {sandbox.TOKEN_HEADER: "guess"}, {sandbox.TOKEN_HEADER: "ä"}):
        for method, path in (
            ("GET", "/_awslabs/run"),
            ("GET", "/_awslabs/calls"),
            ("POST", "/_awslabs/reset"),
        ):
            status, _ = ask(run, path, headers, method)
            assert status == 403
    assert ask(run, "/_awslabs/nothing", {sandbox.TOKEN_HEADER: run.token})[0] == 404
    assert ask(run, "/_awslabs/weather", {sandbox.TOKEN_HEADER: run.token}, "POST", "[1")[0] == 400
    assert ask(run, "/_awslabs/weather", {sandbox.TOKEN_HEADER: run.token}, "POST", "[1]")[0] == 400


def signed(
    run: sandbox.Run, account_id: str, body: str, headers: dict[str, str], secret: str = ""
) -> dict[str, str]:
    """The headers of a form that the student of an account signs, or somebody with another secret."""
    host = headers.get("Host", run.endpoint_url.removeprefix("http://"))
    more = {"Host": host, "Content-Type": "application/x-www-form-urlencoded"} | headers
    request = AWSRequest("POST", f"http://{host}/", more, body)
    key = sandbox.KEY_PREFIX + account_id
    SigV4Auth(Credentials(key, secret or run.secret_access_key(key)), "ec2", "us-east-1").add_auth(request)
    return dict(request.headers.items())


def test_other_names_and_other_pages_are_kept_out(run: sandbox.Run, account: str) -> None:
    create = "Action=CreateVpc&CidrBlock=10.0.0.0/16&Version=2016-11-15"
    port = run.endpoint_url.rpartition(":")[2]
    for headers in (
        {"Host": f"evil.example:{port}"},
        {"Host": "127.0.0.1"},
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": run.endpoint_url},
        {"Origin": f"http://localhost:{port}"},
        {"Sec-Fetch-Site": "same-origin"},
    ):
        assert ask(run, "/", signed(run, account, create, headers), "POST", create)[0] == 403
    assert run.calls(account) == []
    for headers in ({"Host": f"localhost:{port}"}, {}):
        assert ask(run, "/", signed(run, account, create, headers), "POST", create)[0] == 200


def test_a_request_that_nobody_signed_is_refused_as_aws_does(run: sandbox.Run) -> None:
    create = "Action=CreateVpc&CidrBlock=10.0.0.0/16&Version=2016-11-15"
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    for method, path, headers, body in (
        ("POST", "/", form, create),
        ("GET", f"/?{create}", {}, ""),
        ("POST", "/ec2_us-east-1/", form, create),
        ("POST", "/", {"X-Amz-Target": "AmazonSSM.DescribeParameters"}, "{}"),
    ):
        status, text = ask(run, path, headers, method, body)
        assert (status, "MissingAuthenticationToken" in text) == (403, True), (method, path)
    assert ask(run, "/lambda_us-east-1/2015-03-31/functions", {})[0] == 404
    status, text = ask(run, "/", {})
    assert (status, "AccessDenied" in text) == (403, True), "whose buckets would that be?"


def test_the_account_of_a_key_is_not_enough_nor_is_the_secret_of_another_run(
    run: sandbox.Run, account: str
) -> None:
    create = "Action=CreateVpc&CidrBlock=10.0.0.0/16&Version=2016-11-15"
    before = dataclasses.replace(run, token="another run").secret_access_key(sandbox.KEY_PREFIX + account)
    others = run.secret_access_key(sandbox.KEY_PREFIX + "1" * 12)
    for secret in ("practice", "x", before, others, run.token):
        status, text = ask(run, "/", signed(run, account, create, {}, secret), "POST", create)
        assert (status, "AuthFailure" in text) == (401, True)
    made_up = f"X-Amz-Credential={sandbox.KEY_PREFIX}{account}/20260101/us-east-1/ec2/aws4_request"
    for path, headers in (
        (f"/?{create}&{made_up}", {}),
        ("/bucket/key", {"Authorization": "AWS key:sig"}),
        ("/bucket/key", {"Authorization": "Bearer word"}),
    ):
        status, text = ask(run, path, headers)
        assert status == 400
        assert "IncompleteSignature" in text or "AuthorizationHeaderMalformed" in text
    assert run.calls(account) == []


@pytest.mark.parametrize(
    "path",
    [
        "/moto-api/",
        "/moto-api/data.json",
        "/moto-api/reset",
        "/latest/meta-data/",
        "/favicon.ico",
        "/%6doto-api/",
    ],
)
def test_what_moto_serves_besides_aws_is_not_served(run: sandbox.Run, path: str) -> None:
    status, text = ask(run, path, {})
    assert status == 404
    assert "nothing at" in text


def test_it_listens_on_loopback_alone(run: sandbox.Run) -> None:
    port = int(run.endpoint_url.rpartition(":")[2])
    rows = (
        [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
        if sys.platform == "linux"
        else []
    )
    if not rows:
        pytest.skip("only Linux lists its sockets in /proc/net/tcp")
    listening = [row[1] for row in rows if row[3] == "0A" and row[1].endswith(f":{port:04X}")]
    assert listening == [f"0100007F:{port:04X}"]


def test_no_web_page_elsewhere_may_read_an_answer(run: sandbox.Run, account: str) -> None:
    connection = http.client.HTTPConnection(run.endpoint_url.removeprefix("http://"), timeout=120)
    body = "Action=DescribeVpcs&Version=2016-11-15"
    connection.request("POST", "/", body, signed(run, account, body, {}))
    answer = connection.getresponse()
    connection.close()
    assert answer.status == 200
    assert not [name for name in answer.headers if name.lower().startswith("access-control-")]


@pytest.mark.parametrize("length", ["Content-Length: 62", "Transfer-Encoding: chunked", "Content-Length: -5"])
def test_half_a_request_has_no_effect(run: sandbox.Run, client: Any, account: str, length: str) -> None:
    # What arrives would be a call by itself: CreateVpc with 10.0.0.0/16, but the client meant to send more.
    body = "Action=CreateVpc&Version=2016-11-15&CidrBlock=10.0.0.0/16"
    body = f"{len(body):x}\r\n{body}\r\n" if "chunked" in length else body
    host = run.endpoint_url.removeprefix("http://")
    lines = [
        "POST / HTTP/1.1",
        *(f"{k}: {v}" for k, v in signed(run, account, body, {}).items()),
        length,
        "",
        "",
    ]
    with socket.create_connection(("127.0.0.1", int(host.rpartition(":")[2])), timeout=120) as half:
        half.sendall(("\r\n".join(lines) + body).encode())
        half.shutdown(socket.SHUT_WR)
        assert half.recv(100) == b""
    assert own_vpcs(client("ec2")) == []
    assert [row["operation"] for row in run.calls(account)] == ["ec2:DescribeVpcs"]


def test_connections_stay_open_between_calls(run: sandbox.Run, account: str) -> None:
    connection = http.client.HTTPConnection(run.endpoint_url.removeprefix("http://"), timeout=120)
    describe = "Action=DescribeVpcs&Version=2016-11-15"
    used = set()
    for method, path, body in (
        ("POST", "/", describe),
        ("HEAD", "/no-bucket", ""),
        ("PUT", "/no-bucket/key", "x" * 70_000),
        ("POST", "/", describe),
    ):
        connection.request(method, path, body, signed(run, account, body, {}) if path == "/" else {})
        answer = connection.getresponse()
        text = answer.read()
        assert connection.sock is not None, "it was closed"
        used.add(connection.sock.getsockname())
    assert len(used) == 1
    assert answer.status == 200
    assert b"DescribeVpcsResponse" in text
    connection.close()


def test_a_form_without_an_action_is_answered(run: sandbox.Run, account: str) -> None:
    body = "Actikn=ListUsers&Version=2010-05-08"
    assert ask(run, "/", signed(run, account, body, {}), "POST", body)[0] in range(400, 502)
