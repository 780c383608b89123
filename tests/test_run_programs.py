"""The runner: program-only images run as processes, and end with all they have started."""

from __future__ import annotations

import contextlib
import gzip
import itertools
import json
import os
import re
import sys
import tarfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

import boto3
import pytest
from processes import alive, eventually, number
from registry_client import digest_of, layer_of

from awslabs.sandbox.run import containers, isolation, programs
from awslabs.sandbox.run.loop import Loop
from awslabs.sandbox.run.orders import Order
from awslabs.sandbox.run.programs import Ended
from awslabs.sandbox.services.ecr import registry

pytestmark = pytest.mark.live

_numbers = itertools.count(1)
ACCOUNT = "600000000001"


class Told:
    """What a program says, and how it ends."""

    def __init__(self) -> None:
        self.lines: list[tuple[float, str]] = []
        self.ended: list[Ended] = []
        self.began = threading.Event()

    def say(self, at: float, line: str) -> None:
        assert not self.ended, "a line after the end"
        self.lines.append((at, line))

    @property
    def texts(self) -> list[str]:
        return [line for _, line in self.lines]


class Runner:
    """Programs of one practice cloud, and images for them."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.images: dict[str, registry.Stored] = {}
        self.programs = programs.Programs(Loop(directory), 12345)

    def image(self, code: str, files: dict[str, bytes] | None = None, **more: Any) -> str:
        name = f"127.0.0.1:12345/lab:{next(_numbers)}"
        data = layer_of({"app/main.py": code, **(files or {})})
        path = self.directory / digest_of(data).removeprefix("sha256:")
        path.write_bytes(data)
        known: dict[str, Any] = {
            "digest": digest_of(data),
            "entry_point": ["python", "main.py"],
            "command": [],
            "working_directory": "/app",
            "environment": {},
            "layers": [path],
            "program_only": True,
            "architecture": "amd64",
        }
        self.images[name] = registry.Stored(**known | more)
        return name

    def order(self, image: str, *command: str, **more: Any) -> Order:
        known: dict[str, Any] = {
            "key": f"task-{next(_numbers)}",
            "account": ACCOUNT,
            "region": "us-east-1",
            "image": image,
            "command": list(command) or None,
            "environment": {},
            "vcpus": 1.0,
            "memory_mib": 512,
        }
        return Order(**known | more)

    def start(self, order: Order) -> tuple[programs.Program, Told]:
        told = Told()
        with mock.patch.object(programs, "current", self.programs):
            return programs.start(order, told.say, told.ended.append, told.began.set), told

    def run(self, code: str, *command: str, **more: Any) -> Told:
        """Run a program to its end."""
        program, told = self.start(self.order(self.image(code), *command, **more))
        assert program.wait(120)
        return told


@pytest.fixture(scope="module")
def _runner(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runner]:
    runner = Runner(tmp_path_factory.mktemp("run"))
    yield runner
    runner.programs.close()
    runner.programs.loop.close()


@pytest.fixture(params=["isolated", "under a supervisor"], scope="module")
def kind(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="module")
def shared(kind: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runner]:
    """One runner for many tests: on the best ground there is, and as where there are no namespaces."""
    with pytest.MonkeyPatch.context() as patched:
        if kind == "under a supervisor":

            async def none(directory: Path) -> str:
                return "this test has none"

            patched.setattr(isolation, "why_no_namespaces", none)
        runner = Runner(tmp_path_factory.mktemp("run"))
        yield runner
        runner.programs.close()
        runner.programs.loop.close()
        left = [
            path for path in runner.directory.glob("programs/*") if path.name not in ("images", "practice")
        ]
        assert left == [], "folders of programs that have ended"


@pytest.fixture
def runner(shared: Runner, monkeypatch: pytest.MonkeyPatch) -> Runner:
    monkeypatch.setattr(registry, "look", lambda account, region, image, _: shared.images.get(image))
    monkeypatch.setattr(containers, "engine", lambda: None)
    return shared


def test_what_programs_share_of_an_image_none_can_change(runner: Runner, kind: str) -> None:
    """Large files are there once. Nobody becomes their owner by that: the next task has what was pushed."""
    if kind != "isolated":
        pytest.skip("takes mounts, which are read-only")
    code = """
        import os
        print(open("model.bin").read(5))
        for change in (lambda: os.chmod("model.bin", 0o777), lambda: open("model.bin", "r+").write("taken")):
            try:
                change()
            except OSError:
                continue
        """
    image = runner.image(code, files={"app/model.bin": b"whole" + b"." * programs.SHARED_FROM})
    for _ in range(3):
        program, told = runner.start(runner.order(image))
        assert program.wait(120)
        assert told.texts == ["whole"]
        for stored in runner.directory.glob("programs/images/*/app/model.bin"):
            isolation.own(stored)  # where root runs the practice cloud it is root's; without root, one's own


# --- a program's life ---------------------------------------------------------------------------------


def test_a_program_runs_with_its_command_prints_and_ends_with_its_exit_code(runner: Runner) -> None:
    before = time.time()
    told = runner.run(
        """
        import sys
        print("arguments", sys.argv[1:])
        print("to the other end", file=sys.stderr)
        sys.stdout.write("no line end")
        sys.exit(7)
        """,
        "--data",
        "digits and more",
    )
    assert told.ended == [Ended(7, "")]
    assert sorted(told.texts) == [
        "arguments ['--data', 'digits and more']",
        "no line end",
        "to the other end",
    ]
    assert all(before <= at <= time.time() for at, _ in told.lines)
    assert told.began.is_set()


def test_lines_come_while_it_runs_with_the_time_at_which_they_were_said(runner: Runner) -> None:
    code = """
        import sys, time
        print("first", flush=True)
        time.sleep(2)
        print("second", flush=True)
        sys.stdin.read()
        time.sleep(100)
        """
    program, told = runner.start(runner.order(runner.image(code)))
    eventually(lambda: "second" in told.texts)
    assert told.ended == []
    assert told.lines[1][0] - told.lines[0][0] >= 0.5
    program.stop(0)
    assert program.wait(120)
    assert told.ended == [Ended(137, "")]


def test_the_environment_is_the_order_s_with_a_home_and_a_path_and_nothing_of_ours(
    runner: Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECRET_OF_THE_HOST", "1")
    image = runner.image(
        """
        import json, os, pathlib
        pathlib.Path("result.txt").write_text("in /app")
        (pathlib.Path.home() / "kept").write_text("at home")
        pathlib.Path(os.environ["TMPDIR"], "scratch").write_text("for a moment")
        print(json.dumps(dict(os.environ)))
        """,
        environment={"GREETING": "of the image", "ONLY": "image"},
    )
    order = runner.order(
        image, environment={"GREETING": "of the order", "AWS_REGION": "eu-west-1"}, vcpus=2.0
    )
    program, told = runner.start(order)
    assert program.wait(120)
    assert told.ended == [Ended(0, "")], told.texts
    found = json.loads(told.texts[0])
    assert found["GREETING"] == "of the order"
    assert found["ONLY"] == "image"
    assert found["AWS_REGION"] == "eu-west-1"
    assert found["OMP_NUM_THREADS"] == "2"
    assert found["AWS_EC2_METADATA_DISABLED"] == "true"
    assert "SECRET_OF_THE_HOST" not in found
    assert os.environ["HOME"] != found["HOME"]
    assert not any(name.startswith("AWS_ACCESS") for name in found)


def test_an_entry_point_and_a_folder_of_the_order_win_over_the_image_s(runner: Runner) -> None:
    image = runner.image(
        "print('main')", {"app/below/other.py": b"import os; print(os.path.basename(os.getcwd()))"}
    )
    order = runner.order(image, "other.py", entry_point=["python3", "-I"], working_directory="/app/below")
    program, told = runner.start(order)
    assert program.wait(120)
    assert (told.texts, told.ended) == (["below"], [Ended(0, "")])


def test_it_runs_with_the_packages_of_the_practice_cloud(runner: Runner, kind: str) -> None:
    own_user = isolation.practice_uid() is not None
    if (
        kind == "under a supervisor"
        and own_user
        and not isolation.open_to_all(Path(sys.executable).resolve())
    ):
        pytest.skip("programs of a root server run as another user, whom this Python is closed to")
    told = runner.run("import boto3, sys; print(boto3.__version__, sys.version_info[:2])")
    assert told.ended == [Ended(0, "")], told.texts
    assert told.texts[0].startswith(boto3.__version__)


def test_a_program_that_is_killed_by_a_signal_ends_as_in_a_container(runner: Runner) -> None:
    assert runner.run("import os; os.kill(os.getpid(), 11)").ended == [Ended(139, "")]


def test_stop_is_sigterm_first_and_then_sigkill(runner: Runner) -> None:
    code = """
        import os, signal, sys, time
        def goodbye(*_):
            os.write(1, b"goodbye\\n")  # print in a handler fails if the signal came within a print
            if "stubborn" not in sys.argv:
                sys.exit(3)
        signal.signal(signal.SIGTERM, goodbye)
        os.write(1, b"ready\\n")
        while True:
            time.sleep(0.05)
        """
    image = runner.image(code)
    polite, heard = runner.start(runner.order(image))
    stubborn, unmoved = runner.start(runner.order(image, "stubborn"))
    eventually(lambda: heard.texts and unmoved.texts)
    polite.stop(60)
    stubborn.stop(2)
    stubborn.stop(60)  # asking again gives no more time
    assert polite.wait(120)
    assert stubborn.wait(120)
    assert (heard.texts, heard.ended) == (["ready", "goodbye"], [Ended(3, "")])
    assert (unmoved.texts, unmoved.ended) == (["ready", "goodbye"], [Ended(137, "")])


def test_what_a_program_has_started_ends_with_it_also_what_hides(runner: Runner) -> None:
    word = number()
    code = f"""
        import subprocess
        subprocess.Popen(["sleep", "{word}"], start_new_session=True)
        for _ in range(20):  # shells, who would say so if they saw their child fall first
            subprocess.Popen(["setsid", "--fork", "sh", "-c", "sleep {word}; true"])
        subprocess.run(["sleep", "0.3"])
        print("done")
        """
    told = runner.run(code)
    assert (told.texts, told.ended) == (["done"], [Ended(0, "")])
    assert alive(word) == []


def test_more_memory_than_it_may_have_ends_it_also_when_a_child_takes_it(runner: Runner) -> None:
    hungry = """
        import subprocess, sys, time
        if len(sys.argv) > 1:
            held = bytearray(200_000_000)
            print("held", flush=True)
            time.sleep(60)
        else:
            subprocess.run([sys.executable, "main.py", "eat"])
        """
    said = runner.run(hungry, memory_mib=128)
    assert said.ended == [Ended(137, "OutOfMemoryError: Container killed due to memory usage")]
    enough = runner.run("held = bytearray(200_000_000); print(len(held))", memory_mib=512)
    assert enough.ended == [Ended(0, "")]


def test_memory_that_processes_share_counts_once(runner: Runner) -> None:
    """Four children of one that holds 150 MB: 750 MB of resident memory, of which 150 MB are there."""
    code = """
        import os, time
        held = bytearray(b"x") * 150_000_000
        children = []
        for _ in range(4):
            if (pid := os.fork()) == 0:
                sum(held[::4096])
                time.sleep(1.0)
                os._exit(0)
            children.append(pid)
        for pid in children:
            os.waitpid(pid, 0)
        print("all well")
        """
    said = runner.run(code, memory_mib=400)
    assert (said.texts, said.ended) == (["all well"], [Ended(0, "")])


def test_nine_run_at_the_same_time_and_share_the_large_files_of_their_image(runner: Runner) -> None:
    code = """
        import os, pathlib, time
        print(os.stat("model.bin").st_nlink > 1, pathlib.Path("note.txt").exists(), flush=True)
        pathlib.Path("note.txt").write_text("mine")
        while not pathlib.Path("/dev/null").exists(): pass
        time.sleep(1.0)
        """
    image = runner.image(code, {"app/model.bin": bytes(2 << 20)})
    started = [runner.start(runner.order(image)) for _ in range(9)]
    eventually(lambda: sum(bool(told.texts) for _, told in started) == 9)
    for program, told in started:
        assert program.wait(120)
        assert (told.texts, told.ended) == (["True False"], [Ended(0, "")])


# --- what does not run --------------------------------------------------------------------------------


def test_what_it_cannot_run_it_says(runner: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    other = runner.image("print(1)", program_only=False)
    outside = runner.image("print(1)", {"etc/passwd": b"root"})
    no_command = runner.image("print(1)", entry_point=[], command=[])
    broken = runner.image("print(1)")
    runner.images[broken].layers[0].write_bytes(b"no archive")

    def missing(account: str, region: str, image: str, architecture: str) -> Any:
        if image == "127.0.0.1:12345/unknown":
            raise registry.Missing("failed to resolve ref: not found")
        return runner.images.get(image)

    monkeypatch.setattr(registry, "look", missing)
    for image, reason in {
        other: "CannotPullContainerError: .* has an operating system, .* needs a Docker engine",
        "python:3.13-slim": "CannotPullContainerError: python:3.13-slim is not in the practice registry",
        "127.0.0.1:12345/unknown": "CannotPullContainerError: failed to resolve ref: not found",
        outside: "CannotPullContainerError: a program-only image holds files below /app only, not etc/passwd",
        broken: "CannotPullContainerError: the layer .* cannot be unpacked",
        no_command: "CannotStartContainerError: no command specified",
    }.items():
        program, told = runner.start(runner.order(image))
        assert program.wait(120)
        (end,) = told.ended
        assert end.exit_code is None
        assert re.match(reason, end.reason), end.reason
        assert not told.began.is_set()


def raw_entry(name: str, size: int = 0, **more: Any) -> bytes:
    """A header of an archive, whatever it says."""
    entry = tarfile.TarInfo(name)
    entry.size = size
    for field, value in more.items():
        setattr(entry, field, value)
    return entry.tobuf(tarfile.GNU_FORMAT)


def pax_name(name: str) -> bytes:
    """An entry that takes its name from a header before it, where a name may hold any byte."""
    line = f" path={name}\n".encode()
    record = f"{len(line) + 2}".encode() + line
    return raw_entry("x", len(record), type=tarfile.XHDTYPE) + record.ljust(512, b"\0") + raw_entry("x")


LINKS = tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE
TRAPS = {
    "absolute": raw_entry("/etc/passwd"),
    "up": raw_entry("app/../../up"),
    "in": raw_entry("app/x/../../../app2/x"),
    **{f"link {kind!r}": raw_entry("app/link", type=kind, linkname="/etc/passwd") for kind in LINKS},
    "link, then below it": raw_entry("app/link", type=tarfile.SYMTYPE, linkname="/")
    + raw_entry("app/link/x"),
    "no name": pax_name("app/\0"),
    "app is a file": raw_entry("app"),
    "a folder over a file": raw_entry("app/x") + raw_entry("app/x/y"),
    "a long header": raw_entry("x", 1 << 33, type=tarfile.XHDTYPE),
    "a long name": raw_entry("x", 1 << 33, type=tarfile.GNUTYPE_LONGNAME),
    "a negative size": raw_entry("app/x", -(1 << 40)) * 3,
    "too large": raw_entry("app/x", 1 << 40),
    "too many": raw_entry("app/", type=tarfile.DIRTYPE) * 60,
    "broken": gzip.compress(raw_entry("app/x", 4096) + os.urandom(4096), mtime=0)[:-2000] + bytes(2000),
    "cut": gzip.compress(raw_entry("app/x", 4096) + os.urandom(4096), mtime=0)[:2000],
}


@pytest.mark.parametrize("trap", TRAPS)
def test_a_layer_leads_nowhere_and_fills_no_disk(
    trap: str, runner: Runner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(programs, "IMAGE_ENTRIES", 50)
    good = layer_of({"app/good": b"x" * 100})
    layers = [tmp_path / "first", tmp_path / "second"]
    layers[0].write_bytes(good)
    content = TRAPS[trap]
    layers[1].write_bytes(content if content[:2] == b"\x1f\x8b" else gzip.compress(content + bytes(1024)))
    image = runner.image("print(1)", layers=layers, digest=f"sha256:{trap}")
    program, told = runner.start(runner.order(image))
    assert program.wait(120)
    (end,) = told.ended
    assert re.match("CannotPullContainerError: ", end.reason), end
    base = runner.directory / "programs"
    assert not [path for path in base.rglob("*") if path.name in ("good", "up", "app2", "link")]
    assert Path("/etc/passwd").stat().st_size


def test_what_a_layer_unpacks_to_is_bounded(runner: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    image = runner.image("print('fits')", {"app/zeros": bytes(3 << 20)})
    with monkeypatch.context() as small:
        small.setattr(programs, "IMAGE_BYTES", 1 << 20)
        program, told = runner.start(runner.order(image))
        assert program.wait(120)
    assert told.ended[0].reason.endswith("no space left on device")
    assert not list((runner.directory / "programs").rglob("zeros"))
    program, told = runner.start(runner.order(image))
    assert program.wait(120)
    assert told.texts == ["fits"]


@pytest.mark.parametrize("machine", ["amd64", "arm64"])
def test_an_image_is_judged_by_the_machine_it_would_run_on_and_not_by_this_one(
    runner: Runner, machine: str
) -> None:
    for architecture in ("amd64", "arm64"):
        image = runner.image("print('ran')", architecture=architecture)
        program, told = runner.start(runner.order(image, architecture=machine))
        assert program.wait(120)
        assert told.began.is_set()
        if architecture == machine:
            assert (told.texts, told.ended) == (["ran"], [Ended(0, "")])
        else:
            assert (told.texts, told.ended) == (["exec python: exec format error"], [Ended(1, "")])


def test_a_command_that_is_not_there_ends_with_127_as_a_shell_says(runner: Runner) -> None:
    said = runner.run("", "x", entry_point=["no-such-program"])
    assert said.ended[0].exit_code == 127


def test_stop_before_the_start_lets_nothing_run(runner: Runner) -> None:
    image = runner.image("print('ran')")
    runner.programs.unpacking.acquire()
    try:
        program, told = runner.start(runner.order(image))
        program.stop()
    finally:
        runner.programs.unpacking.release()
    assert program.wait(120)
    assert (told.texts, told.ended) == ([], [Ended(None, "")])


def test_reset_ends_an_account_s_programs_and_leaves_the_others(runner: Runner) -> None:
    mine, other = number(), number()
    image = runner.image(
        "import subprocess, sys; print('up', flush=True); subprocess.run(['sleep', sys.argv[1]])"
    )
    _, told = runner.start(runner.order(image, mine))
    neighbour, heard = runner.start(runner.order(image, other, account="600000000002"))
    eventually(lambda: told.texts and heard.texts and alive(mine) and alive(other))
    runner.programs.end(runner.programs.of(ACCOUNT))
    assert told.ended == [Ended(137, "")]
    assert alive(mine) == []
    assert alive(other) != []
    neighbour.stop(0)
    assert neighbour.wait(120)


def test_what_comes_while_the_practice_cloud_closes_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    @contextlib.contextmanager
    def taken() -> Iterator[None]:
        monkeypatch.setattr(programs, "current", None)  # as `close` does, meanwhile
        yield

    closing = SimpleNamespace(mutex=taken(), closed=True, running=set())
    monkeypatch.setattr(programs, "current", closing)
    order = Order("task", ACCOUNT, "us-east-1", "image", None, {}, 1.0, 512)
    with pytest.raises(RuntimeError, match="is closing"):
        programs.start(order, lambda _at, _line: None, lambda _how: None)
    assert closing.running == set()
