"""The tunnel against a real OpenSSH server on loopback."""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import hashlib
import http.server
import os
import pty
import re
import resource
import shutil
import signal
import socket
import socketserver
import stat
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from unittest.mock import Mock

import paramiko
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sshd import Sshd, free_port, needs_sshd

from awslabs import progress, tunnel
from awslabs.errors import TimedOut, TunnelError
from awslabs.tunnel import forwarding, session

pytestmark = pytest.mark.live

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(autouse=True)
def _threads_end_and_end_well(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Whatever a test does, no thread of ours outlives it or shows a traceback."""
    tracebacks: list[threading.ExceptHookArgs] = []
    monkeypatch.setattr(threading, "excepthook", tracebacks.append)
    before = set(threading.enumerate())
    yield
    eventually(lambda: set(threading.enumerate()) <= before, lambda: f"left: {threading.enumerate()}")
    assert not tracebacks


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Sshd]:
    """A server that runs, and whose host key is pinned."""
    sshd = Sshd(tmp_path / "sshd")
    sshd.start()
    sshd.pin()
    yield sshd
    sshd.stop()


@pytest.fixture
def unborn(tmp_path: Path) -> Iterator[Sshd]:
    """A server that does not run yet, and of which nothing is known."""
    sshd = Sshd(tmp_path / "sshd")
    yield sshd
    sshd.stop()


def eventually(
    true: Callable[[], object], otherwise: Callable[[], str] = lambda: "it did not happen"
) -> None:
    """Wait for something that happens in another thread or process."""
    until = time.monotonic() + 120
    while not true():
        assert time.monotonic() < until, otherwise()
        time.sleep(0.02)


# Keys


def test_a_key_pair_is_made_once(tmp_path: Path) -> None:
    directory = tmp_path / "lab"
    line = tunnel.public_key(directory)

    assert line.startswith(b"ssh-ed25519 AAAA")
    assert b"\n" not in line
    assert tunnel.public_key(directory) == line
    assert [path.name for path in directory.iterdir()] == ["key"]
    assert stat.S_IMODE((directory / "key").stat().st_mode) == 0o400
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700


def test_openssh_reads_our_private_key(tmp_path: Path) -> None:
    line = tunnel.public_key(tmp_path)
    shown = subprocess.run(
        ["ssh-keygen", "-y", "-f", tmp_path / "key"], capture_output=True, check=True
    ).stdout
    assert shown.split()[:2] == line.split()[:2]


@pytest.mark.parametrize("step", ["os.fsync", "os.link"])
def test_a_process_killed_while_it_makes_the_key_leaves_none_or_a_whole_one(
    tmp_path: Path, step: str
) -> None:
    program = (
        "import os, signal, sys, pathlib\n"
        "from awslabs import tunnel\n"
        f"{step} = lambda *_: os.kill(os.getpid(), signal.SIGKILL)\n"
        "tunnel.public_key(pathlib.Path(sys.argv[1]))\n"
    )
    killed = subprocess.run([sys.executable, "-c", program, tmp_path / "lab"], cwd=ROOT)
    assert killed.returncode == -signal.SIGKILL
    assert not (tmp_path / "lab" / "key").exists()
    assert list((tmp_path / "lab").iterdir()), "the kill should have come after the temporary file"

    line = tunnel.public_key(tmp_path / "lab")

    assert [path.name for path in (tmp_path / "lab").iterdir()] == ["key"]
    assert tunnel.public_key(tmp_path / "lab") == line


def test_a_key_that_another_process_made_meanwhile_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    theirs = tunnel.public_key(tmp_path / "theirs")
    really = os.fsync

    def fsync(descriptor: int) -> None:
        if not (tmp_path / "lab" / "key").exists():
            shutil.copy2(tmp_path / "theirs" / "key", tmp_path / "lab" / "key")
        really(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    assert tunnel.public_key(tmp_path / "lab") == theirs
    assert [path.name for path in (tmp_path / "lab").iterdir()] == ["key"]


@pytest.mark.parametrize("kept", [0, 1, 100, 300, -2])
def test_a_damaged_key_is_named_with_the_command_that_removes_it(tmp_path: Path, kept: int) -> None:
    tunnel.public_key(tmp_path)
    whole = (tmp_path / "key").read_bytes()
    (tmp_path / "key").chmod(0o600)
    (tmp_path / "key").write_bytes(whole[:kept])
    address = tunnel.Address("127.0.0.1", 1, "nobody", tmp_path / "key", tmp_path / "known_hosts")

    for read in (lambda: tunnel.public_key(tmp_path), lambda: session.login(address)):
        with pytest.raises(TunnelError, match="is damaged") as caught:
            read()
        assert f"rm -f {tmp_path}/key" in caught.value.fix


def test_a_key_that_others_may_read_is_closed_again(tmp_path: Path) -> None:
    tunnel.public_key(tmp_path)
    (tmp_path / "key").chmod(0o644)
    tunnel.public_key(tmp_path)
    assert stat.S_IMODE((tmp_path / "key").stat().st_mode) == 0o400


def test_a_key_that_cannot_be_written_is_an_error_with_a_fix(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(TunnelError, match="neither read nor made") as caught:
        tunnel.public_key(tmp_path / "file" / "lab")
    assert caught.value.fix


# The console

CONSOLE = """\
[   20.9] cloud-init[1523]: Generating public/private ed25519 key pair.
ec2: \r
ec2: #############################################################\r
ec2: -----BEGIN SSH HOST KEY FINGERPRINTS-----\r
ec2: 256 SHA256:l4UB/neBad9tvkgJf1QZWxheQmR59WgrgzEimCG6kZY no comment (ECDSA)\r
ec2: 256 SHA256:kpEa+rw/Uq3zxaYZN8KT501iBtJOIdHG52dFi66EEfQ root@ip-10-10-0-7 (ED25519)\r
ec2: -----END SSH HOST KEY FINGERPRINTS-----\r
ec2: #############################################################\r
Amazon Linux 2023
Kernel 6.1.0 on an x86_64 (-)
"""


def test_fingerprints_are_read_from_a_console() -> None:
    assert tunnel.fingerprints(CONSOLE) == {
        "SHA256:l4UB/neBad9tvkgJf1QZWxheQmR59WgrgzEimCG6kZY",
        "SHA256:kpEa+rw/Uq3zxaYZN8KT501iBtJOIdHG52dFi66EEfQ",
    }


def test_an_unfinished_list_counts_as_none() -> None:
    whole = CONSOLE.index("-----END")
    assert tunnel.fingerprints(CONSOLE[:whole]) == set()


def test_fingerprints_outside_the_list_do_not_count() -> None:
    printed_by_a_guest = "SHA256:" + "A" * 43
    assert printed_by_a_guest not in tunnel.fingerprints(
        f"{printed_by_a_guest}\n{CONSOLE}{printed_by_a_guest}"
    )


def test_whole_public_keys_on_the_console_count_too(tmp_path: Path) -> None:
    subprocess.run(["ssh-keygen", "-q", "-t", "ecdsa", "-N", "", "-f", tmp_path / "k"], check=True)
    shown = subprocess.run(
        ["ssh-keygen", "-l", "-f", tmp_path / "k"], capture_output=True, text=True, check=True
    )
    text = (
        "-----BEGIN SSH HOST KEY KEYS-----\r\n"
        + (tmp_path / "k.pub").read_text()
        + "ssh-rsa AAAAB3NzaC1yc2EAAAADAQABA cut\r\n-----END SSH HOST KEY KEYS-----\r\n"
    )
    assert tunnel.fingerprints(text) == {shown.stdout.split()[1]}


PIECES = st.sampled_from(
    ["SHA256:", "A" * 43, "b/" * 22, "+" * 42, "c", "256 ", " (ED25519)", "\r\n", "-----"]
)


@given(st.lists(PIECES, max_size=12).map("".join))
@settings(deadline=None, database=None, derandomize=True, suppress_health_check=list(HealthCheck))
def test_nothing_but_whole_fingerprints_is_read(text: str) -> None:
    block = f"-----BEGIN SSH HOST KEY FINGERPRINTS-----{text}-----END SSH HOST KEY FINGERPRINTS-----"
    for one in tunnel.fingerprints(block):
        assert len(one) == len("SHA256:") + 43
        assert re.search(re.escape(one) + "(?![A-Za-z0-9+/])", block)


# Waiting


@contextlib.contextmanager
def watched() -> Iterator[list[str]]:
    """What is shown as awaited."""
    said: list[str] = []
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(progress, "watcher", Mock(begin=lambda what, total=None: said.append(what)))
        yield said


def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Retries and patience as short as loopback allows."""
    monkeypatch.setattr(session, "KEY_GRACE_S", 0.0)


@needs_sshd
def test_waiting_goes_from_a_closed_port_over_an_empty_console_to_a_proven_login(unborn: Sshd) -> None:
    asked: list[str] = []

    def console() -> str:
        asked.append(unborn.console() if asked else "")
        return asked[-1]

    threading.Timer(0.5, unborn.start).start()
    with watched() as said:
        tunnel.wait_for_ssh(unborn.address, console, timeout_s=300)

    assert [asked[0] == "", len(asked)] == [True, 2]
    assert said == [
        f"SSH at {unborn.address} answers",
        f"the console of {unborn.address} shows its host key fingerprints",
        f"{unborn.address} lets {unborn.address.user} in",
    ]
    assert unborn.logins() == 1
    assert stat.S_IMODE(unborn.address.known_hosts_path.stat().st_mode) == 0o600
    assert subprocess.run([*unborn.address.arguments, "exit 4"]).returncode == 4, (
        "OpenSSH accepts what we pinned"
    )


@needs_sshd
def test_a_pinned_host_key_needs_no_console(server: Sshd) -> None:
    def console() -> str:
        raise AssertionError("the console was asked")

    tunnel.wait_for_ssh(server.address, console, timeout_s=300)
    assert server.logins() == 1


@needs_sshd
def test_a_server_is_known_under_another_address_by_its_alias(server: Sshd) -> None:
    def console() -> str:
        raise AssertionError("it was stopped and started: its console shows no key any more")

    named = dataclasses.replace(server.address, host_key_alias="i-0abc")
    tunnel.wait_for_ssh(named, server.console, timeout_s=300)
    assert named.known_hosts_path.read_text().startswith("i-0abc ssh-ed25519 ")
    moved = dataclasses.replace(named, host="localhost")
    tunnel.wait_for_ssh(moved, console, timeout_s=300)
    assert "-o HostKeyAlias=i-0abc " in moved.command
    assert subprocess.run([*moved.arguments, "true"], timeout=120).returncode == 0
    with tunnel.forward(moved, server.port) as forward:
        assert forward.is_up
    with pytest.raises(TunnelError, match="is not known yet"):
        session.login(dataclasses.replace(moved, host_key_alias="i-0def"))  # another server


@needs_sshd
def test_a_host_key_that_the_console_does_not_show_is_an_attack(unborn: Sshd) -> None:
    unborn.start()
    with pytest.raises(TunnelError, match="machine in between") as caught:
        tunnel.wait_for_ssh(unborn.address, lambda: CONSOLE, timeout_s=300)
    assert "SHA256:kpEa" in caught.value.why
    assert fingerprint_of(unborn) in caught.value.why
    assert caught.value.fix
    assert not unborn.address.known_hosts_path.exists()
    assert unborn.logins() == 0


@needs_sshd
def test_another_key_than_the_pinned_one_is_an_attack_unless_the_console_shows_it(server: Sshd) -> None:
    pinned = server.address.known_hosts_path.read_text()
    old_console = server.console()
    server.stop()
    server.new_host_keys()
    server.start()

    with pytest.raises(TunnelError, match="machine in between"):
        tunnel.wait_for_ssh(server.address, lambda: old_console, timeout_s=300)
    assert server.address.known_hosts_path.read_text() == pinned
    assert server.logins() == 0

    tunnel.wait_for_ssh(server.address, server.console, timeout_s=300)  # the server was made anew
    assert server.logins() == 1
    assert server.address.known_hosts_path.read_text() != pinned


@needs_sshd
def test_a_host_key_made_while_we_waited_for_the_console_is_taken_anew(unborn: Sshd) -> None:
    unborn.start()

    def console() -> str:
        unborn.stop()
        unborn.new_host_keys()
        unborn.start()
        return unborn.console()

    tunnel.wait_for_ssh(unborn.address, console, timeout_s=300)
    assert unborn.logins() == 1


@needs_sshd
def test_a_server_without_an_ed25519_key_is_known_by_the_one_it_has(
    tmp_path: Path,
) -> None:
    sshd = Sshd(tmp_path / "sshd", "HostKeyAlgorithms ecdsa-sha2-nistp256")
    sshd.start()
    try:
        tunnel.wait_for_ssh(sshd.address, sshd.console, timeout_s=300)
        assert "ecdsa-sha2-nistp256" in sshd.address.known_hosts_path.read_text()
        assert tunnel.interactive(sshd.address, ["true"]) == 0
    finally:
        sshd.stop()


@needs_sshd
def test_a_refused_key_is_an_error_with_a_fix(unborn: Sshd, monkeypatch: pytest.MonkeyPatch) -> None:
    quick(monkeypatch)
    unborn.authorized.write_text("")
    unborn.start()
    with pytest.raises(TunnelError, match="does not let") as caught:
        tunnel.wait_for_ssh(unborn.address, unborn.console, timeout_s=300)
    assert str(unborn.address.key_path) in caught.value.what
    assert caught.value.fix


@needs_sshd
def test_a_key_that_arrives_after_sshd_is_waited_for(unborn: Sshd) -> None:
    line = unborn.authorized.read_bytes()
    unborn.authorized.write_text("")
    unborn.start()
    threading.Timer(1.5, unborn.authorized.write_bytes, [line]).start()
    tunnel.wait_for_ssh(unborn.address, unborn.console, timeout_s=300)
    assert "Connection closed by authenticating user" in unborn.log()


def test_a_port_where_nobody_listens_times_out_with_the_last_answer(tmp_path: Path) -> None:
    tunnel.public_key(tmp_path)
    address = tunnel.Address("127.0.0.1", free_port(), "nobody", tmp_path / "key", tmp_path / "known_hosts")
    with pytest.raises(TimedOut, match="in vain until SSH at .* answers") as caught:
        tunnel.wait_for_ssh(address, str, timeout_s=1)
    assert "refused" in caught.value.why
    assert caught.value.fix


@pytest.mark.parametrize("greeting", [b"", b"SSH-2.0-half", b"HTTP/1.1 400 Bad Request\r\n\r\n"])
def test_half_a_greeting_is_not_an_answer(tmp_path: Path, greeting: bytes) -> None:
    class Half(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            self.request.sendall(greeting)

    tunnel.public_key(tmp_path)
    with listening(Half) as port:
        address = tunnel.Address("127.0.0.1", port, "nobody", tmp_path / "key", tmp_path / "known_hosts")
        with pytest.raises(TimedOut, match="in vain until SSH at"):
            tunnel.wait_for_ssh(address, str, timeout_s=1)


def test_a_server_that_never_greets_is_not_waited_for_longer_than_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Mute(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            while self.request.recv(4096):
                continue

    monkeypatch.setattr(session, "CONNECT_S", 600.0)
    tunnel.public_key(tmp_path)
    with listening(Mute) as port:
        address = tunnel.Address("127.0.0.1", port, "nobody", tmp_path / "key", tmp_path / "known_hosts")
        with pytest.raises(TimedOut, match="in vain until SSH at"):
            tunnel.wait_for_ssh(address, str, timeout_s=1)


@needs_sshd
def test_a_console_that_stays_empty_times_out_and_pins_nothing(unborn: Sshd) -> None:
    unborn.start()
    with pytest.raises(TimedOut, match="in vain until the console of .* shows its host key"):
        tunnel.wait_for_ssh(unborn.address, str, timeout_s=1)
    assert not unborn.address.known_hosts_path.exists()


@needs_sshd
def test_the_console_is_asked_less_and_less_often(unborn: Sshd, monkeypatch: pytest.MonkeyPatch) -> None:
    clock, pauses = [0.0], []

    def sleep(seconds: float) -> None:
        pauses.append(seconds)
        clock[0] += seconds

    unborn.start()
    for module in (progress, session):
        monkeypatch.setattr(module, "time", Mock(monotonic=lambda: clock[0], sleep=sleep))
    with pytest.raises(TimedOut, match="Waited 300 s in vain until the console"):
        tunnel.wait_for_ssh(unborn.address, str, timeout_s=300)

    assert pauses[0] == 2.0
    assert max(pauses) == 10.0
    assert pauses[:-1] == sorted(pauses[:-1]), "only the last one is cut by the deadline"
    assert len(pauses) < 70


# Connections and commands


@needs_sshd
def test_run_returns_status_and_both_streams(server: Sshd) -> None:
    with tunnel.connect(server.address) as client:
        assert tunnel.run(client, "echo out; echo err >&2; exit 3") == tunnel.Output(3, "out\n", "err\n")
        assert tunnel.run(client, ["printf", "%s.", "a  b", "$HOME", "it's"]).stdout == "a  b.$HOME.it's."
        assert tunnel.run(client, "cat").stdout == "", "there is no input"
    eventually(lambda: not server.connections())


@needs_sshd
def test_run_hands_out_lines_while_the_command_runs(server: Sshd) -> None:
    flag = server.home / "flag"
    lines: list[str] = []

    def on_line(line: str) -> None:
        lines.append(line)
        if line == "first":
            flag.write_text("go on")

    with tunnel.connect(server.address) as client:
        command = f"echo first; until [ -e '{flag}' ]; do sleep 0.05; done; printf 'süß\\nlast'"
        output = tunnel.run(client, command, timeout_s=300, on_line=on_line)
    assert lines == ["first", "süß", "last"]
    assert output.stdout == "first\nsüß\nlast"


@needs_sshd
def test_run_reads_two_full_streams_at_once(server: Sshd) -> None:
    size = 3 * session.WINDOW // 2
    with tunnel.connect(server.address) as client:
        command = f"head -c {size} /dev/zero >&2; head -c {size} /dev/zero; head -c {size} /dev/zero >&2"
        output = tunnel.run(client, command, timeout_s=300)
    assert (output.status, len(output.stdout), len(output.stderr)) == (0, size, 2 * size)


@needs_sshd
def test_a_command_that_takes_too_long_is_given_up(server: Sshd) -> None:
    with tunnel.connect(server.address) as client:
        with pytest.raises(TimedOut, match="did not end within 1 s"):
            tunnel.run(client, "sleep 60", timeout_s=1)
        assert tunnel.run(client, "echo still here").stdout == "still here\n"


@needs_sshd
def test_a_command_ended_by_a_signal_has_no_exit_status(server: Sshd) -> None:
    with tunnel.connect(server.address) as client:
        assert tunnel.run(client, "kill -9 $$").status == -1


@needs_sshd
def test_a_connection_that_breaks_under_a_command_is_an_error(server: Sshd) -> None:
    with tunnel.connect(server.address) as client:
        with pytest.raises(TunnelError, match="broke while a command ran"):
            tunnel.run(client, "echo up; sleep 60", on_line=lambda _: server.stop())
        with pytest.raises(TunnelError):
            tunnel.run(client, "true")


@needs_sshd
def test_a_server_that_falls_silent_is_noticed(server: Sshd, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "PROBE_S", 0.2)
    monkeypatch.setattr(session, "SILENCE_S", 1.0)
    with tunnel.connect(server.address) as client:
        try:
            with pytest.raises(TunnelError, match="no answer for 1 s"):
                tunnel.run(
                    client, "echo up; sleep 60", on_line=lambda _: server.signal_connections(signal.SIGSTOP)
                )
        finally:
            server.signal_connections(signal.SIGCONT)


@needs_sshd
def test_a_server_with_nothing_to_say_is_not_silent(server: Sshd, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "PROBE_S", 0.2)
    monkeypatch.setattr(session, "SILENCE_S", 1.0)
    with tunnel.connect(server.address) as client:
        assert tunnel.run(client, "sleep 3; echo done").stdout == "done\n"


@needs_sshd
def test_a_changed_host_key_is_refused_and_both_are_named(server: Sshd) -> None:
    before = fingerprint_of(server)
    server.stop()
    server.new_host_keys()
    server.start()
    with pytest.raises(TunnelError, match="another host key") as caught, tunnel.connect(server.address):
        pass
    assert before in caught.value.why
    assert fingerprint_of(server) in caught.value.why
    assert caught.value.fix
    assert server.logins() == 0
    assert tunnel.interactive(server.address, ["true"]) == 255, "OpenSSH refuses it too"


@needs_sshd
@pytest.mark.parametrize("content", [None, "", "garbage\n", "[127.0.0.1]:1 ssh-ed25519 AAAA\n"])
def test_a_server_whose_key_was_never_checked_is_not_spoken_to(server: Sshd, content: str | None) -> None:
    server.address.known_hosts_path.unlink()
    if content is not None:
        server.address.known_hosts_path.write_text(content)
    with pytest.raises(TunnelError, match="is not known yet") as caught, tunnel.connect(server.address):
        pass
    assert "up" in caught.value.fix
    assert "Connection from" not in server.log()


@needs_sshd
def test_the_users_own_keys_agent_and_configuration_are_left_alone(
    server: Sshd, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    dot_ssh = Path(os.environ["HOME"]) / ".ssh"
    dot_ssh.mkdir(mode=0o700)
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", dot_ssh / "id_ed25519"], check=True)
    (dot_ssh / "config").write_text("Host *\n  ProxyCommand false\n")
    server.authorized.write_bytes((dot_ssh / "id_ed25519.pub").read_bytes())  # theirs would open it, ours not
    with ssh_agent(tmp_path_factory.mktemp("a"), monkeypatch):
        subprocess.run(["ssh-add", "-q", dot_ssh / "id_ed25519"], check=True)
        for attempt in (tunnel.connect(server.address), tunnel.forward(server.address, 80)):
            with pytest.raises(TunnelError, match="does not let"), attempt:
                pass
        ssh, *rest = server.address.arguments
        shown = subprocess.run([ssh, "-v", *rest, "true"], capture_output=True, text=True)
        assert shown.returncode == 255
        assert "Permission denied" in shown.stderr
        assert "Reading configuration data" not in shown.stderr
    assert server.logins() == 0


@contextlib.contextmanager
def ssh_agent(directory: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The user's agent, reached as every program reaches it."""
    path = directory / "agent"
    with subprocess.Popen(["ssh-agent", "-D", "-a", path], stdout=subprocess.DEVNULL) as agent:
        try:
            eventually(path.exists)
            monkeypatch.setenv("SSH_AUTH_SOCK", str(path))
            yield
        finally:
            agent.terminate()


def test_a_server_that_is_gone_is_an_error_with_a_fix(tmp_path: Path) -> None:
    tunnel.public_key(tmp_path)
    port = free_port()
    key = (tmp_path / "key").with_name("known_hosts")
    key.write_bytes(f"[127.0.0.1]:{port} ".encode() + tunnel.public_key(tmp_path))
    address = tunnel.Address("127.0.0.1", port, "nobody", tmp_path / "key", key)
    for attempt in (tunnel.connect(address), tunnel.forward(address, 80)):
        with pytest.raises(TunnelError, match="does not answer") as caught, attempt:
            pass
        assert "refused" in caught.value.why
        assert "status" in caught.value.fix


def fingerprint_of(server: Sshd) -> str:
    """The fingerprint of a server's ed25519 key, as ssh-keygen says."""
    path = server.directory / "host_ed25519.pub"
    return subprocess.run(
        ["ssh-keygen", "-l", "-f", path], capture_output=True, text=True, check=True
    ).stdout.split()[1]


# OpenSSH


@needs_sshd
def test_the_printed_command_works_when_pasted_into_a_shell(server: Sshd) -> None:
    pasted = f"{server.address.command} 'echo $((6*7)); exit 5'"
    done = subprocess.run(["sh", "-c", pasted], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (5, "42\n"), done.stderr


@needs_sshd
def test_interactive_returns_the_remote_exit_status(server: Sshd, capfd: pytest.CaptureFixture[str]) -> None:
    assert tunnel.interactive(server.address, ["echo", "$HOME;", "exit", "7"]) == 7
    assert capfd.readouterr().out == f"{server.home}\n"
    assert tunnel.interactive(server.address, ["-x"]) != 0, "a word with a dash is a command, not our option"
    server.stop()
    assert tunnel.interactive(server.address, ["true"]) == 255


@needs_sshd
def test_an_interactive_shell_works_under_a_terminal(server: Sshd) -> None:
    child, terminal = pty.fork()
    if child == 0:
        try:
            os._exit(tunnel.interactive(server.address))
        finally:
            os._exit(99)
    os.write(terminal, b"test -t 0 && echo a-$((6*7))-terminal; exit 5\n")
    shown = b""
    with contextlib.suppress(OSError):  # the end of a terminal
        while data := os.read(terminal, 4096):
            shown += data
    _, status = os.waitpid(child, 0)
    os.close(terminal)
    if b"a-42-terminal" not in shown and "chown(/dev/pts/" in server.log():
        pytest.skip(
            "this sshd may not own terminals; enable by running as root, or mount devpts with gid=5,mode=620"
        )
    assert b"a-42-terminal" in shown
    assert os.waitstatus_to_exitcode(status) == 5


def test_a_computer_without_ssh_is_told_how_to_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    address = tunnel.Address("127.0.0.1", 1, "nobody", tmp_path / "key", tmp_path / "known_hosts")
    with pytest.raises(TunnelError, match="no OpenSSH client") as caught:
        tunnel.interactive(address)
    assert "openssh-client" in caught.value.fix


# Files


def tree(top: Path) -> dict[str, object]:
    """All below a folder: contents, permission bits, and the files' times."""
    found: dict[str, object] = {}
    for path in sorted(top.rglob("*")):
        info = path.stat()
        mode = stat.S_IMODE(info.st_mode)
        name = str(path.relative_to(top))
        found[name] = (mode, path.read_bytes(), int(info.st_mtime)) if path.is_file() else mode
    return found


def make_tree(top: Path) -> Path:
    """A folder with what folders have in them."""
    (top / "empty").mkdir(parents=True)
    (top / "deep" / "er").mkdir(parents=True)
    (top / "deep" / "er" / "ünï cödé \n'x'").write_text("odd name")
    (top / "nothing").write_bytes(b"")
    (top / "run.sh").write_text("#!/bin/sh\n")
    (top / "run.sh").chmod(0o755)
    (top / "secret").write_text("token")
    (top / "secret").chmod(0o600)
    (top / "big").write_bytes(os.urandom(1000) * 5000)
    (top / "closed").mkdir()
    (top / "closed" / "file").write_text("in a folder that forbids writing")
    (top / "closed" / "file").chmod(0o444)
    for number, path in enumerate(sorted(top.rglob("*"))):
        os.utime(path, (1_600_000_000, 1_600_000_000 + number))
    (top / "closed").chmod(0o555)
    return top


CASES = {
    "a file into the home folder": ("src/run.sh", ""),
    "a file into a folder": ("src/run.sh", "there"),
    "a file into a folder with a slash": ("src/run.sh", "there/"),
    "a file under a new name": ("src/run.sh", "there/new.sh"),
    "a file over another": ("src/run.sh", "there/old"),
    "a folder into the home folder": ("src", ""),
    "a folder into a folder": ("src", "there"),
    "a folder with a slash into a folder": ("src/", "there"),
    "a folder under a new name": ("src", "new"),
    "a folder's contents into a folder": ("src/.", "there"),
    "a folder over one with its name": ("src", "has"),
    "a file behind a link": ("link", "there"),
    "a file over a link": ("src/run.sh", "there/link"),
}


def prepare(top: Path) -> Path:
    """A folder that a copy goes into."""
    (top / "there").mkdir(parents=True)
    (top / "there" / "old").write_text("old")
    (top / "there" / "link").symlink_to("behind")
    (top / "there" / "behind").write_text("behind the link")
    (top / "has" / "src" / "deep").mkdir(parents=True)
    (top / "has" / "src" / "deep" / "stays").write_text("stays")
    for path in top.rglob("*"):
        os.utime(path, (1_500_000_000, 1_500_000_000))
    return top


def scp(server: Sshd, source: str, target: str) -> None:
    """OpenSSH's own copy."""
    options = server.address.arguments[1:-1]
    options[options.index("-p")] = "-P"
    subprocess.run(["scp", "-q", "-r", "-p", *options, source, target], check=True)


@needs_sshd
@pytest.mark.parametrize("case", CASES)
def test_put_places_things_as_scp_does(server: Sshd, tmp_path: Path, case: str) -> None:
    source, target = CASES[case]
    make_tree(tmp_path / "src")
    (tmp_path / "link").symlink_to("src/run.sh")
    given = f"{tmp_path}/{source}"

    prepare(server.home)
    scp(server, given, f"{server.address.user}@127.0.0.1:{target}")
    by_scp = tree(server.home)
    erase(server.home)
    prepare(server.home)
    assert tunnel.put(server.address, given, target).startswith(str(server.home))

    assert tree(server.home) == by_scp


@needs_sshd
@pytest.mark.parametrize("case", CASES)
def test_get_places_things_as_scp_does(
    server: Sshd, tmp_path: Path, case: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, target = CASES[case]
    make_tree(server.home / "src")
    (server.home / "link").symlink_to("src/run.sh")
    old = os.umask(0)
    try:
        monkeypatch.chdir(prepare(tmp_path / "by-scp"))
        scp(server, f"{server.address.user}@127.0.0.1:{source}", target or ".")
        monkeypatch.chdir(prepare(tmp_path / "by-us"))
        assert tunnel.get(server.address, source, target or ".").exists()
    finally:
        os.umask(old)

    assert tree(tmp_path / "by-us") == tree(tmp_path / "by-scp")


def erase(folder: Path) -> None:
    """Remove a folder, whatever it forbids."""
    for path in folder.rglob("*"):
        if path.is_dir():
            path.chmod(0o700)
    shutil.rmtree(folder)


@needs_sshd
def test_home_has_several_names(server: Sshd, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    for number, home in enumerate(("~", "~/", "", ".", str(server.home))):
        (tmp_path / f"file{number}").write_text("x")
        assert tunnel.put(server.address, tmp_path / f"file{number}", home) == f"{server.home}/file{number}"
    assert tunnel.get(server.address, "~/file0", tmp_path / "back").read_text() == "x"
    assert tunnel.get(server.address, "~", tmp_path / "all") == tmp_path / "all"
    assert sorted(path.name for path in (tmp_path / "all").iterdir()) == [f"file{n}" for n in range(5)]


@contextlib.contextmanager
def at_half(total: int, act: Callable[[], object]) -> Iterator[None]:
    """Do something once when a copy of so many bytes is half done."""
    done, acted = [0], threading.Event()

    def count(many: int) -> None:
        done[0] += many
        if done[0] > total // 2 and not acted.is_set():
            acted.set()
            act()

    write, read = paramiko.SFTPFile.write, paramiko.SFTPFile.read

    def written(file: paramiko.SFTPFile, data: bytes) -> None:
        write(file, data)
        count(len(data))

    def was_read(file: paramiko.SFTPFile, size: int) -> bytes:
        data = read(file, size)
        count(len(data))
        return data

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(paramiko.SFTPFile, "write", written)
        patched.setattr(paramiko.SFTPFile, "read", was_read)
        yield
    assert acted.is_set()


def interrupt() -> None:
    raise KeyboardInterrupt


@needs_sshd
def test_an_interrupted_copy_leaves_the_old_file_and_no_half(server: Sshd, tmp_path: Path) -> None:
    (tmp_path / "new").write_bytes(b"new" * 3_000_000)
    (server.home / "new").write_bytes(b"newer" * 3_000_000)
    for folder in (server.home, tmp_path / "here"):
        folder.mkdir(exist_ok=True)
        (folder / "kept").write_text("old")

    with at_half(9_000_000, interrupt), pytest.raises(KeyboardInterrupt):
        tunnel.put(server.address, tmp_path / "new", "kept")
    with at_half(15_000_000, interrupt), pytest.raises(KeyboardInterrupt):
        tunnel.get(server.address, "new", tmp_path / "here" / "kept")

    for folder, names in ((server.home, ["kept", "new"]), (tmp_path / "here", ["kept"])):
        assert (folder / "kept").read_text() == "old"
        assert sorted(path.name for path in folder.iterdir()) == names


@needs_sshd
def test_a_copy_whose_connection_breaks_leaves_the_old_file(
    server: Sshd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    really = paramiko.Channel.send

    def slowly(channel: paramiko.Channel, data: bytes) -> int:
        if threading.current_thread() is not threading.main_thread():
            time.sleep(0.003)  # so that paramiko's helper thread is at work when the connection breaks
        return really(channel, data)

    monkeypatch.setattr(paramiko.Channel, "send", slowly)
    (tmp_path / "new").write_bytes(os.urandom(1000) * 20_000)
    (server.home / "new").write_bytes(os.urandom(1000) * 20_000)
    (server.home / "kept").write_text("old")
    (tmp_path / "kept").write_text("old")

    def cut() -> None:
        server.signal_connections(signal.SIGKILL)

    with (
        at_half(20_000_000, cut),
        pytest.raises(TunnelError, match="broke while .*kept was copied") as caught,
    ):
        tunnel.put(server.address, tmp_path / "new", "kept")
    assert "again" in caught.value.fix
    with at_half(20_000_000, cut), pytest.raises(TunnelError, match="broke while .*new was copied"):
        tunnel.get(server.address, "new", tmp_path / "kept")

    assert (server.home / "kept").read_text() == (tmp_path / "kept").read_text() == "old"
    assert not list(tmp_path.glob(".awslabs-*"))

    tunnel.put(server.address, tmp_path / "new", "kept")
    assert (server.home / "kept").read_bytes() == (tmp_path / "new").read_bytes()


@needs_sshd
def test_a_copy_over_a_silent_connection_ends(
    server: Sshd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "PROBE_S", 0.2)
    monkeypatch.setattr(session, "SILENCE_S", 1.0)
    (tmp_path / "new").write_bytes(bytes(30_000_000))
    stop = at_half(30_000_000, lambda: server.signal_connections(signal.SIGSTOP))
    try:
        with stop, pytest.raises(TunnelError, match="broke while") as caught:
            tunnel.put(server.address, tmp_path / "new")
        assert "no answer for 1 s" in caught.value.why
    finally:
        server.signal_connections(signal.SIGCONT)


@needs_sshd
def test_a_file_that_shrinks_while_it_is_copied_is_explained(server: Sshd, tmp_path: Path) -> None:
    (server.home / "log").write_bytes(bytes(40_000_000))
    rotate = at_half(40_000_000, lambda: os.truncate(server.home / "log", 39_900_000))  # within a request
    with rotate, pytest.raises(TunnelError, match="log on the server was not copied") as caught:
        tunnel.get(server.address, "log", tmp_path / "log")
    assert "did it change" in caught.value.why
    assert not (tmp_path / "log").exists()


@needs_sshd
def test_what_is_neither_file_nor_folder_is_named_and_the_rest_is_copied(
    server: Sshd, tmp_path: Path
) -> None:
    for top in (tmp_path / "src", server.home / "theirs"):
        (top / "sub").mkdir(parents=True)
        (top / "sub" / "good").write_text("good")
        (top / "dangling").symlink_to("nowhere")
        (top / "sub" / "loop").symlink_to("..")
        os.mkfifo(top / "pipe")
        (top / "alias").symlink_to("sub/good")

    for copy, copied in (
        (lambda: tunnel.put(server.address, tmp_path / "src"), server.home / "src"),
        (lambda: tunnel.get(server.address, "theirs", tmp_path), tmp_path / "theirs"),
    ):
        with pytest.raises(TunnelError, match="3 of 5 files were not copied") as caught:
            copy()
        for name in (
            "dangling (a link that leads nowhere)",
            "loop (a link back",
            "pipe (neither file nor folder)",
        ):
            assert name in caught.value.why
        assert (copied / "sub" / "good").read_text() == (copied / "alias").read_text() == "good"
        assert not (copied / "alias").is_symlink()


@needs_sshd
def test_the_modes_of_folders_that_stand_are_not_touched(server: Sshd, tmp_path: Path) -> None:
    (tmp_path / "src").mkdir(mode=0o700)
    (tmp_path / "src").chmod(0o500)
    (tmp_path / "target").mkdir()
    for folder in (server.home, tmp_path / "target"):
        folder.chmod(0o755)
    tunnel.put(server.address, f"{tmp_path}/src/.", "~")
    assert stat.S_IMODE(server.home.stat().st_mode) == 0o755
    (server.home / "closed").mkdir(mode=0o500)
    tunnel.get(server.address, "closed/.", tmp_path / "target")
    assert stat.S_IMODE((tmp_path / "target").stat().st_mode) == 0o755


@needs_sshd
@pytest.mark.parametrize(
    ("direction", "source", "target", "says"),
    [
        ("put", "missing", "", r"missing on this computer was not copied.\nwhy:   No such file"),
        ("put", "file", "no/folder/here", "There is no .*no/folder/here on the server"),
        ("put", "file", "nofolder/", "There is no folder nofolder/ on the server"),
        ("put", "folder", "file", r"(?s)file on the server was not copied.*there is a file of this name"),
        ("put", "file", "has", r"(?s)has/file on the server was not copied.*not a file"),
        ("get", "missing", "", "There is no missing on the server"),
        (
            "get",
            "file",
            "no/folder/here",
            r"(?s)no/folder/here on this computer was not copied.*No such file",
        ),
        ("get", "file", "nofolder/", "There is no folder .*/nofolder/ on this computer"),
        ("get", "folder", "file", r"(?s)file on this computer was not copied.*there is a file of this name"),
        ("get", "file", "has", r"(?s)has/file on this computer was not copied.*not a file"),
    ],
)
def test_what_cannot_be_copied_is_explained(
    server: Sshd, tmp_path: Path, direction: str, source: str, target: str, says: str
) -> None:
    here = tmp_path / "here"
    for top in (here, server.home):
        (top / "folder").mkdir(parents=True)
        (top / "folder" / "inner").write_text("inner")
        (top / "has" / "file").mkdir(parents=True)
        (top / "file").write_text("file")
    before = tree(here), tree(server.home)

    copy = {
        "put": lambda: tunnel.put(server.address, here / source, target),
        "get": lambda: tunnel.get(server.address, source, f"{here}/{target}"),
    }
    with pytest.raises(TunnelError, match=says) as caught:
        copy[direction]()

    assert caught.value.fix
    assert (tree(here), tree(server.home)) == before


@needs_sshd
def test_a_place_where_the_server_forbids_to_write_is_explained(tmp_path: Path) -> None:
    sshd = Sshd(tmp_path / "sshd", sftp=f"internal-sftp -R -d {tmp_path}")
    sshd.start()
    sshd.pin()
    try:
        (tmp_path / "file").write_text("x")
        with pytest.raises(TunnelError, match="does not give access to .*new") as caught:
            tunnel.put(sshd.address, tmp_path / "file", "new")
        assert "sudo" in caught.value.fix
    finally:
        sshd.stop()


SFTP_SERVER = next(
    (path for path in ("/usr/lib/openssh/sftp-server", "/usr/libexec/sftp-server") if os.path.exists(path)),
    "",
)


@needs_sshd
@pytest.mark.skipif(
    not SFTP_SERVER, reason="no sftp-server here; enable with: apt-get install openssh-sftp-server"
)
def test_a_full_disk_on_the_server_is_explained_and_leaves_the_old_file(tmp_path: Path) -> None:
    # A limit of 100 KB on each file stands for the full disk: the server's answer is the same.
    script = tmp_path / "limited"
    script.write_text(f"#!/bin/bash\ntrap '' XFSZ\nulimit -f 100\ncd {tmp_path}\nexec {SFTP_SERVER}\n")
    script.chmod(0o755)
    sshd = Sshd(tmp_path / "sshd", sftp=str(script))
    sshd.start()
    sshd.pin()
    try:
        (tmp_path / "kept").write_text("old")
        for size in (10_000_000, 150_000):  # refused on the way, and only seen at the end
            (tmp_path / "big").write_bytes(bytes(size))
            with pytest.raises(TunnelError, match="kept on the server was not copied") as caught:
                tunnel.put(sshd.address, tmp_path / "big", "kept")
            assert "disk is full" in caught.value.why
            assert caught.value.fix.endswith("df -h .")
        assert (tmp_path / "kept").read_text() == "old"
        assert not list(tmp_path.glob(".awslabs-*"))
    finally:
        sshd.stop()


@needs_sshd
def test_a_full_disk_here_is_explained_and_leaves_the_old_file(server: Sshd, tmp_path: Path) -> None:
    (server.home / "big").write_bytes(bytes(10_000_000))
    (tmp_path / "kept").write_text("old")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, limits[1]))
    try:
        with pytest.raises(TunnelError, match="kept on this computer was not copied") as caught:
            tunnel.get(server.address, "big", tmp_path / "kept")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert os.strerror(errno.EFBIG) in caught.value.why
    assert (tmp_path / "kept").read_text() == "old"
    assert not list(tmp_path.glob(".awslabs-*"))


@needs_sshd
def test_a_hostile_server_cannot_write_outside_the_target(
    server: Sshd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (server.home / "trap").mkdir()
    evil = paramiko.SFTPAttributes()
    evil.filename, evil.st_mode, evil.st_size = "../evil", stat.S_IFREG | 0o644, 1
    monkeypatch.setattr(paramiko.SFTPClient, "listdir_attr", lambda *_: [evil])
    (tmp_path / "in").mkdir()
    with pytest.raises(TunnelError, match="trap on the server was not copied") as caught:
        tunnel.get(server.address, "trap", tmp_path / "in")
    assert "../evil" in caught.value.why
    assert list((tmp_path / "in").iterdir()) == []


@needs_sshd
def test_a_server_without_sftp_is_explained(tmp_path: Path) -> None:
    sshd = Sshd(tmp_path / "sshd", sftp="/nonexistent/sftp-server")
    sshd.start()
    sshd.pin()
    try:
        with pytest.raises(TunnelError, match=r"does not serve files \(SFTP\)"):
            tunnel.get(sshd.address, "x", tmp_path)
    finally:
        sshd.stop()


# Tunnels


@contextlib.contextmanager
def listening(handler: type[socketserver.BaseRequestHandler]) -> Iterator[int]:
    """A TCP server on a free port of loopback; its port."""
    with Listener(("127.0.0.1", 0), handler) as listener:
        thread = threading.Thread(target=listener.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield listener.server_address[1]
        finally:
            listener.shutdown()
            thread.join()


class Listener(socketserver.ThreadingTCPServer):
    request_queue_size = 128
    daemon_threads = True

    def handle_error(self, *_: object) -> None:
        """A guest that goes in the middle is part of these tests."""


class Pages(http.server.BaseHTTPRequestHandler):
    """Answers GET with the path repeated, POST with the digest of what was sent."""

    def answer(self, body: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self) -> None:
        self.answer(self.path.encode() * 20_000)

    def do_POST(self) -> None:
        self.answer(hashlib.sha256(self.rfile.read(int(self.headers["Content-Length"]))).hexdigest().encode())

    def log_message(self, *_: object) -> None:
        """Quiet."""


class Echo(socketserver.BaseRequestHandler):
    """Sends back what it gets, as it comes."""

    def handle(self) -> None:
        while data := self.request.recv(65536):
            self.request.sendall(data)


def fetch(url: str, body: bytes | None = None) -> bytes:
    """A page, through no proxy."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(url, body, timeout=120) as answer:
        return answer.read()


def dial(port: int) -> socket.socket:
    """A connection to a local port."""
    return socket.create_connection(("127.0.0.1", port), timeout=120)


@needs_sshd
def test_a_tunnel_carries_many_connections_at_once(server: Sshd) -> None:
    answers: dict[int, bytes] = {}
    with listening(Pages) as port, tunnel.forward(server.address, port) as forward:
        assert forward.is_up
        assert forward.url() == f"http://127.0.0.1:{forward.local_port}/"
        threads = [
            threading.Thread(target=lambda n=n: answers.update({n: fetch(forward.url(f"page{n}"))}))
            for n in range(60)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        body = os.urandom(1000) * 5000
        assert fetch(forward.url("post"), body) == hashlib.sha256(body).hexdigest().encode()
    assert answers == {n: f"/page{n}".encode() * 20_000 for n in range(60)}
    assert not forward.is_up
    assert server.logins() == 1


@needs_sshd
def test_a_guest_may_stop_sending_before_the_answer(server: Sshd) -> None:
    class Reversed(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            got = b"".join(iter(lambda: self.request.recv(65536), b""))
            self.request.sendall(got[::-1])

    sent = os.urandom(3_000_000)
    with listening(Reversed) as port, tunnel.forward(server.address, port) as forward:
        with dial(forward.local_port) as guest:
            guest.sendall(sent)
            guest.shutdown(socket.SHUT_WR)
            got = b"".join(iter(lambda: guest.recv(65536), b""))
    assert got == sent[::-1]


@needs_sshd
def test_the_server_may_stop_sending_before_its_guest(server: Sshd) -> None:
    heard: list[bytes] = []

    class First(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            self.request.sendall(b"bye")
            self.request.shutdown(socket.SHUT_WR)
            heard.append(b"".join(iter(lambda: self.request.recv(65536), b"")))

    with listening(First) as port, tunnel.forward(server.address, port) as forward:
        with dial(forward.local_port) as guest:
            assert b"".join(iter(lambda: guest.recv(65536), b"")) == b"bye"
            guest.sendall(b"thanks")
        eventually(lambda: heard)
    assert heard == [b"thanks"]


@needs_sshd
def test_both_directions_can_be_full_at_once(server: Sshd) -> None:
    sent = os.urandom(1000) * 40_000
    with listening(Echo) as port, tunnel.forward(server.address, port) as forward:
        with dial(forward.local_port) as guest:
            sender = threading.Thread(target=guest.sendall, args=(sent,))
            sender.start()
            time.sleep(1)  # until every buffer on the way is full
            got = bytearray()
            while len(got) < len(sent) and (data := guest.recv(65536)):
                got += data
            sender.join()
    assert got == sent


@needs_sshd
def test_a_dropped_connection_comes_back_on_the_same_port(server: Sshd) -> None:
    changes: list[tuple[bool, str]] = []
    with listening(Pages) as pages, listening(Echo) as echo:
        with (
            tunnel.forward(
                server.address, pages, on_change=lambda *change: changes.append(change)
            ) as forward,
            tunnel.forward(server.address, echo) as other,
            dial(other.local_port) as guest,
        ):
            port = forward.local_port
            guest.sendall(b"hello")
            assert guest.recv(5) == b"hello"

            server.stop()
            with pytest.raises(ConnectionResetError):  # an end would look like a whole answer
                guest.recv(1)
            eventually(lambda: changes)
            assert not forward.is_up
            threading.Timer(1.0, server.start).start()
            assert fetch(forward.url("again")) == b"/again" * 20_000, "who comes meanwhile waits"

            eventually(lambda: forward.is_up and other.is_up)
            assert forward.local_port == port
            server.signal_connections(signal.SIGKILL)  # the server stays, its connections break
            eventually(lambda: len(changes) == 4)
            assert fetch(forward.url("third")) == b"/third" * 20_000
    assert [is_up for is_up, _ in changes] == [False, True, False, True]
    assert str(server.address) in changes[0][1]


@needs_sshd
def test_a_guest_that_ends_while_the_connection_breaks_is_no_traceback(
    server: Sshd, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(channel: paramiko.Channel) -> None:
        server.signal_connections(signal.SIGKILL)
        raise EOFError

    with listening(Echo) as port, tunnel.forward(server.address, port) as forward:
        with monkeypatch.context() as patched, dial(forward.local_port) as guest:
            patched.setattr(paramiko.Channel, "shutdown_write", broken)
            guest.sendall(b"hello")
            guest.shutdown(socket.SHUT_WR)
            with contextlib.suppress(ConnectionResetError):
                while guest.recv(100):
                    continue
        assert forward.transport().is_active()


@needs_sshd
def test_a_connection_that_falls_silent_is_replaced(server: Sshd, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "PROBE_S", 0.2)
    monkeypatch.setattr(session, "SILENCE_S", 1.0)
    changes: list[tuple[bool, str]] = []
    with listening(Pages) as port:
        with tunnel.forward(
            server.address, port, on_change=lambda *change: changes.append(change)
        ) as forward:
            frozen = server.connections()
            server.signal_connections(signal.SIGSTOP)
            try:
                eventually(lambda: len(changes) == 2)
                assert fetch(forward.url("alive")) == b"/alive" * 20_000
            finally:
                for pid in frozen:
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGCONT)
    assert "no answer for 1 s" in changes[0][1]


@needs_sshd
def test_a_tunnel_does_not_come_back_to_another_server(server: Sshd) -> None:
    changes: list[tuple[bool, str]] = []
    with listening(Pages) as port:
        with tunnel.forward(
            server.address, port, on_change=lambda *change: changes.append(change)
        ) as forward:
            server.stop()
            server.new_host_keys()
            server.start()
            with pytest.raises(TunnelError, match="another host key"):
                forward.wait()
            with pytest.raises(OSError):
                fetch(forward.url())
    assert [is_up for is_up, _ in changes] == [False, False]
    assert "another host key" in changes[1][1]
    assert server.logins() == 1


@needs_sshd
def test_a_guest_is_hung_up_on_when_the_server_stays_away(
    server: Sshd, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(forwarding, "PATIENCE_S", 0.3)
    with listening(Pages) as port, tunnel.forward(server.address, port) as forward:
        server.stop()
        eventually(lambda: not forward.is_up)
        with pytest.raises(OSError) as caught:
            fetch(forward.url())
        assert "timed out" not in str(caught.value)


@needs_sshd
def test_nobody_behind_the_tunnel_is_not_the_end_of_it(
    server: Sshd, caplog: pytest.LogCaptureFixture
) -> None:
    port = free_port()
    with tunnel.forward(server.address, port) as forward, caplog.at_level("INFO", "awslabs.tunnel"):
        for _ in range(2):
            with pytest.raises(OSError):
                fetch(forward.url())
        assert forward.is_up
    said = [record.getMessage() for record in caplog.records if record.name == "awslabs.tunnel"]
    assert len(said) == 1, "who waits for a program to start asks often"
    assert f"127.0.0.1:{port} on the server does not answer" in said[0]


def test_a_busy_port_is_named_with_the_next_free_one(tmp_path: Path) -> None:
    tunnel.public_key(tmp_path)
    address = tunnel.Address("127.0.0.1", 1, "nobody", tmp_path / "key", tmp_path / "known_hosts")
    with listening(Echo) as busy:
        attempt = tunnel.forward(address, 80, local_port=busy)
        with pytest.raises(TunnelError, match=f"Port {busy} of this computer is busy") as caught, attempt:
            pass
        free = int(caught.value.fix.split("port ")[1].split(":")[0])
        assert free > busy
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", free))


@needs_sshd
def test_the_next_free_port_is_taken_when_asked_for(server: Sshd) -> None:
    with listening(Pages) as pages, listening(Echo) as busy:
        with tunnel.forward(server.address, pages, local_port=busy, tries=20) as forward:
            assert busy < forward.local_port < busy + 20
            assert fetch(forward.url("/here")) == b"/here" * 20_000


@needs_sshd
@pytest.mark.parametrize("guest_is", ["idle", "not reading"])
def test_a_closed_tunnel_leaves_no_guest_no_port_and_no_connection(server: Sshd, guest_is: str) -> None:
    class Flood(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            if guest_is == "not reading":
                while True:
                    self.request.sendall(bytes(65536))
            self.request.recv(1)

    with listening(Flood) as port:
        with tunnel.forward(server.address, port) as forward:
            guest = dial(forward.local_port)
            eventually(lambda: forward.guests)
            time.sleep(0.5)  # until every buffer on the way is full
        assert not forward.guests
        with guest, contextlib.suppress(ConnectionResetError):
            while guest.recv(65536):
                continue
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(("127.0.0.1", forward.local_port))
    eventually(lambda: not server.connections())


@needs_sshd
def test_closing_does_not_wait_for_a_server_that_is_being_dialled(
    server: Sshd, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Mute(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            self.request.recv(1 << 20)
            self.request.recv(1)

    monkeypatch.setattr(session, "CONNECT_S", 60.0)
    dialled = threading.Event()
    with tunnel.forward(server.address, 80) as forward:
        server.stop()
        Listener.allow_reuse_address = True
        with Listener(("127.0.0.1", server.port), Mute) as mute:
            thread = threading.Thread(target=mute.serve_forever, args=(0.02,))
            mute.verify_request = lambda *_: dialled.set() or True  # type: ignore[method-assign,func-returns-value]
            thread.start()
            assert dialled.wait(120)
            began = time.monotonic()
            forward.close()
            assert time.monotonic() - began < 5, "a login may take a minute"
            mute.shutdown()
            thread.join()


def test_waiting_is_done_in_steps_so_that_ctrl_c_is_heard() -> None:
    """A signal just before Python begins to wait is heard when it stops waiting, and not before."""

    keeper = Mock(**{"is_alive.side_effect": [True, True, False]})
    forwarding.Forward.wait(Mock(_keeper=keeper, gave_up=None))
    assert [call.args for call in keeper.join.call_args_list] == [(forwarding.HEARD_S,)] * 2


@needs_sshd
def test_ctrl_c_ends_a_waiting_tunnel(server: Sshd) -> None:
    program = (
        "import pathlib, sys\n"
        "from awslabs import tunnel\n"
        "host, port, user, key, known = sys.argv[1:]\n"
        "address = tunnel.Address(host, int(port), user, pathlib.Path(key), pathlib.Path(known))\n"
        "try:\n"
        "    with tunnel.forward(address, 80) as forward:\n"
        "        print(forward.local_port, flush=True)\n"
        "        forward.wait()\n"
        "except KeyboardInterrupt:\n"
        "    print('interrupted')\n"
    )
    values = [str(value) for value in dataclasses.astuple(server.address)[:5]]
    with subprocess.Popen(
        [sys.executable, "-c", program, *values],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stdout
            port = int(process.stdout.readline())
            with dial(port):
                process.send_signal(signal.SIGINT)
                out, err = process.communicate(timeout=120)
        finally:
            process.kill()
    assert (process.returncode, out, err) == (0, "interrupted\n", "")


# The package


def test_importing_the_tunnel_does_not_import_paramiko() -> None:
    program = (
        "import sys; import awslabs.tunnel\n"
        "heavy = {'paramiko', 'sshtunnel', 'cryptography', 'hashlib', 'logging'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
        "from awslabs.tunnel import connect\n"
        "assert all(hasattr(awslabs.tunnel, name) for name in awslabs.tunnel.__all__)\n"
    )
    subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=True)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'teleport'"):
        tunnel.teleport  # noqa: B018
