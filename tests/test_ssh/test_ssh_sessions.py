"""Logging in: who may, what a session is like, and what it cannot reach."""

from __future__ import annotations

import asyncio
import hashlib
import os
import re
import shutil
import socket
import subprocess
import threading
import urllib.request
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import asyncssh
import paramiko
import pexpect
import pytest
from hosts_kit import Instance, eventually, on_both, running, started
from sshd import free_port

from awslabs.sandbox.run import isolation
from awslabs.sandbox.ssh.hosts import Hosts

pytestmark = pytest.mark.live

# Who may come in.


def test_the_port_refuses_until_boot(hosts: Hosts, launch: Callable[..., Instance]) -> None:
    port = hosts.reserve("i-1")
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", port)) != 0
    with socket.socket() as thief, pytest.raises(OSError, match="in use"):
        thief.bind(("127.0.0.1", port))  # nobody else gets it meanwhile
    assert hosts.console("i-1") == ""
    assert hosts.reserve("i-1") == port
    instance = launch("i-1")
    assert instance.port == port
    assert instance.output("echo up") == "up\n"


def test_the_console_shows_the_fingerprints_of_the_keys_that_the_port_shows(instance: Instance) -> None:
    console = instance.hosts.console(instance.instance_id)
    block = console.partition("-----BEGIN SSH HOST KEY FINGERPRINTS-----\n")[2].partition("ec2: -----END")[0]
    shown = re.findall(r"^ec2: 256 (SHA256:\S{43}) \((ED25519|ECDSA)\)$", block, re.MULTILINE)
    scanned = subprocess.run(
        ["ssh-keyscan", "-T", "120", "-p", str(instance.port), "127.0.0.1"], capture_output=True, text=True
    )
    listed = subprocess.run(
        ["ssh-keygen", "-lf", "-"], input=scanned.stdout, capture_output=True, text=True
    ).stdout
    assert {(line.split()[1], line.split()[-1].strip("()")) for line in listed.splitlines()} == set(shown)
    assert {kind for _, kind in shown} == {"ED25519", "ECDSA"}


def test_another_key_is_refused(instance: Instance, tmp_path: Path) -> None:
    instance.key = tmp_path / "other"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(instance.key)], check=True)
    refused = instance.ssh("true")
    assert refused.returncode == 255
    assert "Permission denied (publickey)" in refused.stderr


@pytest.mark.parametrize("user", ["root", "ubuntu", "student", ""])
def test_another_user_is_refused(instance: Instance, user: str) -> None:
    with paramiko.Transport(("127.0.0.1", instance.port)) as transport:
        transport.start_client()
        with pytest.raises(paramiko.AuthenticationException):
            transport.auth_publickey(user, paramiko.Ed25519Key.from_private_key_file(str(instance.key)))


def test_passwords_are_not_even_asked_for(instance: Instance) -> None:
    with paramiko.Transport(("127.0.0.1", instance.port)) as transport:
        transport.start_client()
        with pytest.raises(paramiko.BadAuthenticationType) as refused:
            transport.auth_password("ec2-user", "secret")
        assert refused.value.allowed_types == ["publickey"]


def test_an_instance_without_key_lets_nobody_in(launch: Callable[..., Instance]) -> None:
    refused = launch(public_key=None).ssh("true")
    assert "Permission denied (publickey)" in refused.stderr


def test_an_rsa_key_opens_too(launch: Callable[..., Instance], tmp_path: Path) -> None:
    key = tmp_path / "rsa"
    subprocess.run(["ssh-keygen", "-q", "-t", "rsa", "-b", "2048", "-N", "", "-f", str(key)], check=True)
    instance = launch(public_key=key.with_suffix(".pub").read_text(), user="ubuntu")
    instance.key = key
    assert instance.output("echo ~; echo $USER").split() == ["/home/ubuntu", "ubuntu"]


def test_what_is_no_key_is_said_at_once(hosts: Hosts) -> None:
    hosts.reserve("i-1")
    with pytest.raises(ValueError, match="not a public key"):
        hosts.boot(
            "i-1",
            user="ec2-user",
            public_key="ssh-ed25519 AAAA",
            hostname="h",
            user_data=None,
            on_power=print,
        )


def test_ssh_refuses_an_instance_that_took_over_the_port_with_other_keys(
    launch: Callable[..., Instance],
) -> None:
    first, second = launch("i-1"), launch("i-2")
    line = first.known_hosts.read_text().replace(str(first.port), str(second.port))
    second.known_hosts.write_text(line)
    refused = second.ssh("true")
    assert refused.returncode == 255
    assert "REMOTE HOST IDENTIFICATION HAS CHANGED" in refused.stderr


# Commands.


@on_both
def test_a_command_has_input_output_errors_and_a_status(instance: Instance) -> None:
    done = instance.ssh("read line; echo got $line; echo trouble >&2; exit 7", input="hello\n")
    assert (done.stdout, done.stderr, done.returncode) == ("got hello\n", "trouble\n", 7)


@on_both
def test_the_end_of_input_reaches_the_command(instance: Instance) -> None:
    data = os.urandom(3_000_000)
    done = subprocess.run(instance.ssh_line("sha256sum"), input=data, capture_output=True, timeout=120)
    assert done.stdout.split()[0].decode() == hashlib.sha256(data).hexdigest()


def test_much_output_arrives_whole(instance: Instance) -> None:
    command = "head -c 30000000 /dev/zero | tr '\\0' x; echo end"
    with started(instance.ssh_line(command), stdout=subprocess.PIPE) as ssh:
        assert ssh.stdout is not None
        size, last = 0, b""
        while data := ssh.stdout.read(1_000_000):
            size, last = size + len(data), (last + data)[-5:]
        assert ssh.wait(120) == 0
    assert size == 30_000_004
    assert last.endswith(b"xend\n")


@on_both
@pytest.mark.parametrize(("terminal", "size"), [(False, 140_000), (True, 103_000)])
def test_output_waits_for_a_client_that_takes_none_for_now(
    hosts: Hosts, instance: Instance, terminal: bool, size: int
) -> None:
    with instance.paramiko() as client:
        # Some of it fits into the window, some into the server's buffer, the rest stays with the kernel.
        channel = client.get_transport().open_session(window_size=32 * 1024)
        if terminal:
            channel.get_pty()
        channel.exec_command(f"head -c {size} /dev/zero | tr '\\0' x; touch over; exit 4")
        eventually((instance.folder / "home/ec2-user/over").exists, "the end of the command")
        assert not channel.exit_status_ready()
        received = 0
        while data := channel.recv(100_000):
            received += len(data)
        assert received == size
        assert channel.recv_exit_status() == 4


@on_both
def test_a_command_that_a_signal_ends_says_which(hosts: Hosts, instance: Instance) -> None:
    async def run() -> object:
        options = {"username": "ec2-user", "client_keys": [str(instance.key)], "config": None}
        async with asyncssh.connect(
            "127.0.0.1", instance.port, known_hosts=str(instance.known_hosts), **options
        ) as connection:
            process = await connection.create_process("echo ready; exec sleep 600")
            await process.stdout.readline()
            process.send_signal("USR1")  # and a client may send it
            done = await process.wait()
            return done.exit_signal

    assert asyncio.run(run()) == ("USR1", False, "", "en-US")


@on_both
def test_a_signal_reaches_the_whole_group_of_the_command(
    hosts: Hosts, launch: Callable[..., Instance]
) -> None:
    instance, word = launch(), "613.25"

    async def run() -> None:
        options = {"username": "ec2-user", "client_keys": [str(instance.key)], "config": None}
        async with asyncssh.connect(
            "127.0.0.1", instance.port, known_hosts=str(instance.known_hosts), **options
        ) as connection:
            process = await connection.create_process(f"sleep {word}; echo over")
            await asyncio.get_running_loop().run_in_executor(
                None, lambda: eventually(lambda: running(word), "sleep")
            )
            process.send_signal("INT")
            await process.wait()

    asyncio.run(run())
    assert not running(word)


@on_both
def test_the_environment_is_that_of_a_server_and_holds_nothing_of_ours(
    hosts: Hosts, launch: Callable[..., Instance], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LC_TIME", "ja_JP.UTF-8")
    monkeypatch.setenv("SECRET_OF_THE_STUDENT", "x")
    instance = launch()
    sent = instance.ssh("env", options=("-o", "SendEnv=LC_* SECRET_*"))
    found = dict(line.split("=", 1) for line in sent.stdout.splitlines())
    assert found["USER"] == found["LOGNAME"] == "ec2-user"
    assert found["SHELL"] == isolation.login_shell()
    assert found["HOME"].endswith("/home/ec2-user")
    assert found["PATH"].split(":")[0].endswith("/practice/bin")
    assert found["LANG"] == "C.UTF-8"
    assert found["LC_TIME"] == "ja_JP.UTF-8"
    assert found["SSH_CONNECTION"].split()[3] == str(instance.port)
    assert not [name for name in found if name.startswith(("AWS_", "SECRET", "PYTHON", "SSH_AUTH", "PYTEST"))]


@on_both
def test_many_sessions_run_at_once(instance: Instance) -> None:
    def over_one_connection(number: int) -> str:
        _, stdout, _ = client.exec_command(f"sleep 0.3; echo {number}")
        return stdout.read().decode().strip()

    with instance.paramiko() as client, ThreadPoolExecutor(20) as threads:
        shared = threads.map(over_one_connection, range(20))
        own = threads.map(lambda number: instance.output(f"echo {number}").strip(), range(5))
        assert [*shared] == [str(number) for number in range(20)]
        assert [*own] == [str(number) for number in range(5)]


def test_keepalive_requests_are_answered(instance: Instance) -> None:
    with instance.paramiko() as client:
        transport = client.get_transport()
        transport.global_request("keepalive@openssh.com", wait=True)  # returns when the answer is there
        assert transport.is_active()


def test_what_ignores_the_end_of_its_session_goes_on(instance: Instance) -> None:
    word = "614.25"
    instance.output(f"nohup sleep {word} >/dev/null 2>&1 &")
    assert running(word)
    instance.hosts.stop(instance.instance_id)
    assert not running(word)


# Terminals.


@pytest.fixture
def shell(instance: Instance) -> pexpect.spawn:
    """A login shell on a terminal of 100 columns and 30 lines."""
    line = instance.ssh_line(options=("-tt",))
    child = pexpect.spawn(line[0], line[1:], encoding="utf-8", timeout=120, dimensions=(30, 100))
    child.expect(r"[$] ")
    child.sendline("bind 'set enable-bracketed-paste off'; PS1='rea''dy> '")
    child.expect("ready> ")
    yield child
    child.close(force=True)


def answer(shell: pexpect.spawn, command: str) -> str:
    """Return what a command prints on the terminal."""
    shell.sendline(command)
    shell.expect_exact(command)
    shell.expect("ready> ")
    return shell.before.strip()


@on_both
def test_a_shell_has_a_terminal_of_the_clients_size(hosts: Hosts, shell: pexpect.spawn) -> None:
    assert answer(shell, "stty size") == "30 100"
    shell.setwinsize(41, 133)
    answer(shell, "true")
    eventually(lambda: answer(shell, "stty size") == "41 133", "the new size")
    assert re.fullmatch(r"/dev/\S+", answer(shell, "tty"))
    assert answer(shell, "echo $TERM") == os.environ.get("TERM", "dumb")


def test_a_terminal_is_the_instances_own(shell: pexpect.spawn) -> None:
    """It has a name, in a /dev/pts with nothing else in it; programs that open more of them start."""
    assert answer(shell, "tty; echo $SSH_TTY").split() == ["/dev/pts/0"] * 2
    assert answer(shell, "ls /dev/pts").split() == ["0", "ptmx"]
    assert answer(shell, "test -c /dev/tty && echo typed > /dev/tty") == "typed"
    opened = "import os, pty; print(*map(os.ttyname, pty.openpty()))"
    assert answer(shell, f'python3 -c "{opened}"').split()[-1] == "/dev/pts/1"
    if shutil.which("tmux"):
        assert answer(shell, "tmux new-session -d 'tty > ~/inner; sleep 60' && echo started") == "started"
        eventually(lambda: answer(shell, "cat ~/inner") == "/dev/pts/1", "the terminal in tmux")


def state(pid: int) -> str:
    """Return the letter that ps shows for a process: T is stopped, S sleeps."""
    return subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True).stdout


@on_both
def test_a_shell_controls_its_jobs_and_ctrl_c_ends_one(hosts: Hosts, shell: pexpect.spawn) -> None:
    assert "no job control" not in answer(shell, "set -o | grep monitor")
    shell.sendline("sleep 617.25")
    eventually(lambda: running("617.25"), "sleep")
    shell.sendcontrol("z")
    shell.expect("Stopped")
    shell.expect("ready> ")
    assert "Stopped" in answer(shell, "jobs")
    shell.sendline("fg")
    shell.expect_exact("fg\r\nsleep 617.25")
    eventually(lambda: "S" in state(running("617.25")[0]), "sleep again")
    shell.sendcontrol("c")
    shell.expect("ready> ")
    assert answer(shell, "echo status $?") == "status 130"


@on_both
def test_the_shells_status_is_sshs(hosts: Hosts, shell: pexpect.spawn) -> None:
    shell.sendline("exit 9")
    shell.expect(pexpect.EOF)
    shell.wait()
    assert shell.exitstatus == 9


@on_both
def test_a_shell_ends_though_something_still_holds_its_terminal(hosts: Hosts, shell: pexpect.spawn) -> None:
    answer(shell, "(trap '' HUP; exec sleep 615.25) &")
    shell.sendline("exit 3")
    shell.expect(pexpect.EOF)
    shell.wait()
    assert shell.exitstatus == 3
    assert running("615.25")


def test_a_terminal_that_goes_away_hangs_up(hosts: Hosts, instance: Instance) -> None:
    line = instance.ssh_line("sleep 616.25", options=("-tt",))
    child = pexpect.spawn(line[0], line[1:])
    eventually(lambda: running("616.25"), "sleep")
    child.kill(9)
    child.wait()
    eventually(lambda: not running("616.25"), "the hang-up")


def test_the_last_words_on_a_terminal_arrive(instance: Instance) -> None:
    done = instance.ssh("seq 20000", options=("-tt",))
    assert done.stdout.splitlines()[-1] == "20000"
    assert len(done.stdout.splitlines()) == 20000


def test_the_clients_erase_character_works_on_the_terminal(instance: Instance) -> None:
    async def run() -> str:
        options = {"username": "ec2-user", "client_keys": [str(instance.key)], "config": None}
        async with asyncssh.connect(
            "127.0.0.1", instance.port, known_hosts=str(instance.known_hosts), **options
        ) as connection:
            modes = {asyncssh.PTY_VERASE: ord("#"), asyncssh.PTY_ECHO: 0, asyncssh.PTY_IUTF8: 1}
            process = await connection.create_process("stty -a; cat", term_type="vt100", term_modes=modes)
            process.stdin.write("ab#c\n\x04")
            process.stdin.write("\x04")
            return str((await process.wait()).stdout)

    said = asyncio.run(run())
    assert re.search(r"\berase = #", said)
    assert re.search(r"[^-]iutf8", said)
    assert re.search(r"-echo\b", said)
    assert said.splitlines()[-1] == "ac"


# Ports.


@on_both
def test_a_web_server_on_the_instance_is_reached_through_the_tunnel(instance: Instance) -> None:
    instance.output("mkdir site; echo hello from the instance > site/index.html")
    serve = "cd site && exec python3 -u -m http.server --bind 127.0.0.1 0"
    with started(instance.ssh_line(serve), stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        there = re.search(r"port (\d+)", server.stdout.readline())
        assert there is not None
        here = free_port()
        for name in ("localhost", "127.0.0.1", "ip-10-10-0-5"):
            forward = ("-o", "ExitOnForwardFailure=yes", "-N", "-L", f"127.0.0.1:{here}:{name}:{there[1]}")
            with started(instance.ssh_line(options=forward), stderr=subprocess.PIPE) as tunnel:
                page = eventually(lambda: fetch(f"http://127.0.0.1:{here}/"), "the page")
                assert page == b"hello from the instance\n"
                tunnel.terminate()
        server.terminate()
        instance.hosts.stop(instance.instance_id)


def fetch(url: str) -> bytes:
    """Return a page, or nothing while nobody listens."""
    try:
        return bytes(urllib.request.urlopen(url, timeout=120).read())
    except OSError:
        return b""


@pytest.mark.parametrize(
    "name", ["example.com", "192.0.2.1", "127.0.0.2", "0.0.0.0", "", "localhost.evil.test"]
)
def test_no_port_is_forwarded_to_anywhere_else(instance: Instance, name: str) -> None:
    with instance.paramiko() as client, pytest.raises(paramiko.ChannelException) as refused:
        client.get_transport().open_channel("direct-tcpip", (name, instance.port), ("127.0.0.1", 1))
    assert refused.value.code == 1  # administratively prohibited


def test_a_port_where_nobody_listens_is_refused(instance: Instance) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        with instance.paramiko() as client, pytest.raises(paramiko.ChannelException) as refused:
            client.get_transport().open_channel(
                "direct-tcpip", ("localhost", probe.getsockname()[1]), ("::1", 1)
            )
    assert refused.value.code == 2  # connect failed


def test_sshtunnel_forwards(instance: Instance) -> None:
    import sshtunnel

    with socket.create_server(("127.0.0.1", 0)) as listener:

        def echo() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.sendall(connection.recv(100)[::-1])

        threading.Thread(target=echo, daemon=True).start()
        with (
            sshtunnel.SSHTunnelForwarder(
                ("127.0.0.1", instance.port),
                ssh_username="ec2-user",
                ssh_pkey=str(instance.key),
                remote_bind_address=("127.0.0.1", listener.getsockname()[1]),
                allow_agent=False,
                host_pkey_directories=[],
            ) as tunnel,
            socket.create_connection(("127.0.0.1", tunnel.local_bind_port)) as connection,
        ):
            connection.sendall(b"abc")
            assert connection.recv(100) == b"cba"


def test_nothing_is_forwarded_from_the_instance(instance: Instance) -> None:
    options = ("-o", "ExitOnForwardFailure=yes", "-R", f"0:127.0.0.1:{instance.port}")
    assert instance.ssh("true", options=options).returncode == 255
    agent = instance.ssh("echo ${SSH_AUTH_SOCK-none} ${DISPLAY-none}", options=("-A", "-X"))
    assert agent.stdout == "none none\n"


# How much an instance costs before anybody logs in.


def test_a_hundred_instances_start_no_process(
    hosts: Hosts, launch: Callable[..., Instance], monkeypatch: pytest.MonkeyPatch
) -> None:
    launch("i-first")  # tries out what this computer offers
    started: list[object] = []
    really = asyncio.create_subprocess_exec

    async def count(*line: object, **how: object) -> object:
        started.append(line)
        return await really(*line, **how)  # type: ignore[arg-type]

    monkeypatch.setattr(asyncio, "create_subprocess_exec", count)
    instances = [launch(f"i-{number}") for number in range(100)]
    assert len({instance.port for instance in instances}) == 100
    assert started == []
    assert threading.active_count() < 50  # a pool, but none per instance
    assert instances[57].output("echo $HOSTNAME") == "ip-10-10-0-5\n"
    assert len(started) == 2  # PID 1 of that instance, and the session
