"""A practice instance to log in to, with OpenSSH's own client, on the two kinds of ground there are."""

from __future__ import annotations

import contextlib
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import pytest
from processes import why_no_namespaces

from awslabs.sandbox.run import isolation
from awslabs.sandbox.run.loop import Loop
from awslabs.sandbox.ssh.hosts import Hosts


@dataclass
class Instance:
    """A booted practice instance and the files that a client needs."""

    hosts: Hosts
    instance_id: str
    port: int
    key: Path
    known_hosts: Path
    folder: Path
    orders: list[str] = field(default_factory=list)  # what on_power was told
    user: str = "ec2-user"

    def options(self) -> list[str]:
        """Return options for ssh, scp and sftp: no file of the user's; the host key must be the console's."""
        settings = ["BatchMode=yes", "IdentitiesOnly=yes", "IdentityAgent=none", "StrictHostKeyChecking=yes"]
        settings += [
            f"UserKnownHostsFile={self.known_hosts}",
            "GlobalKnownHostsFile=/dev/null",
            "LogLevel=ERROR",
        ]
        return ["-F", "/dev/null", "-i", str(self.key), *(word for one in settings for word in ("-o", one))]

    def ssh_line(self, *arguments: str, options: tuple[str, ...] = ()) -> list[str]:
        """Return the command line that runs something on the instance."""
        return ["ssh", *self.options(), "-p", str(self.port), *options, f"{self.user}@127.0.0.1", *arguments]

    def ssh(
        self, *arguments: str, options: tuple[str, ...] = (), **how: Any
    ) -> subprocess.CompletedProcess[str]:
        """Run a command on the instance with OpenSSH's ssh."""
        how.setdefault("stdin", subprocess.DEVNULL) if "input" not in how else None
        line = self.ssh_line(*arguments, options=options)
        return subprocess.run(line, capture_output=True, text=True, timeout=120, **how)

    def output(self, command: str) -> str:
        """Return what a command on the instance prints; it must succeed."""
        done = self.ssh(command)
        assert done.returncode == 0, (command, done)
        return done.stdout

    def paramiko(self) -> Any:
        """Return a connected paramiko client."""
        import paramiko

        client = paramiko.SSHClient()
        client.load_host_keys(str(self.known_hosts))
        client.connect(
            "127.0.0.1",
            self.port,
            self.user,
            key_filename=str(self.key),
            allow_agent=False,
            look_for_keys=False,
            banner_timeout=120,
            auth_timeout=120,
        )
        return client

    def refuses(self) -> bool:
        """Say whether the port refuses connections."""
        import socket

        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) != 0

    def trust(self) -> None:
        """Trust the host keys that the first boot shows on its console; later they count for any port."""
        text = self.hosts.console(self.instance_id)
        lines = text.partition("-----BEGIN SSH HOST KEY KEYS-----\n")[2].partition("-----END")[0].splitlines()
        if not lines:
            lines = [line.partition(" ")[2] for line in self.known_hosts.read_text().splitlines()]
        self.known_hosts.write_text("".join(f"[127.0.0.1]:{self.port} {line}\n" for line in lines))


@contextlib.contextmanager
def started(line: list[str], **how: Any) -> Iterator[subprocess.Popen[Any]]:
    """Run a program beside a test, and kill it if the test is through with it or fails."""
    with subprocess.Popen(line, **how) as process:
        try:
            yield process
        finally:
            process.kill()


@pytest.fixture(scope="session")
def key(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A key pair made by OpenSSH."""
    path = tmp_path_factory.mktemp("key") / "id_ed25519"
    subprocess.run(
        ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "student", "-f", str(path)], check=True
    )
    return path


@pytest.fixture
def hosts(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hosts]:
    """The hosts of one practice run; `ground` "plain" pretends that there are no namespaces."""
    ground = getattr(request, "param", "namespaces")
    if ground == "namespaces" and why_no_namespaces():
        pytest.skip(f"this computer gives no namespaces: {why_no_namespaces()}")
    if ground == "plain":

        async def pretend(directory: Path) -> str:
            return "a test says so"

        monkeypatch.setattr(isolation, "why_no_namespaces", pretend)
    loop = Loop(tmp_path / "run")
    made = Hosts(loop)
    yield made
    made.close()
    loop.close()
    assert not list((tmp_path / "run" / "instances").iterdir()), "a folder outlived its instance"


@pytest.fixture
def launch(hosts: Hosts, key: Path, tmp_path: Path) -> Callable[..., Instance]:
    """Return a function that boots an instance."""

    def boot(instance_id: str = "i-0123456789abcdef0", **how: Any) -> Instance:
        port = hosts.reserve(instance_id)
        folder = hosts.directory / "instances" / instance_id
        user = how.get("user", "ec2-user")
        instance = Instance(
            hosts, instance_id, port, key, tmp_path / f"known-{instance_id}", folder, user=user
        )
        arguments = {
            "user": "ec2-user",
            "public_key": key.with_suffix(".pub").read_text(),
            "hostname": "ip-10-10-0-5",
            "user_data": None,
            "on_power": instance.orders.append,
            **how,
        }
        hosts.boot(instance_id, **arguments)
        instance.trust()
        return instance

    return boot


@pytest.fixture
def instance(launch: Callable[..., Instance]) -> Instance:
    """A booted instance."""
    return launch()


def on_both(test: Any) -> Any:
    """Run a test in namespaces and without."""
    return pytest.mark.parametrize("hosts", ["namespaces", "plain"], indirect=True)(test)


def command_lines() -> dict[int, list[str]]:
    """Return the arguments of every process of this computer."""
    return {each.pid: each.info["cmdline"] or [] for each in psutil.process_iter(["cmdline"])}


def running(word: str) -> list[int]:
    """Return the processes that have a word among their arguments."""
    return [pid for pid, arguments in command_lines().items() if word in arguments]


def mentioning(text: str) -> list[int]:
    """Return the processes that have a text in one of their arguments."""
    return [pid for pid, arguments in command_lines().items() if text in " ".join(arguments)]


def eventually(check: Callable[[], Any], what: str, timeout_s: float = 120) -> Any:
    """Wait until `check` returns something true, and return that."""
    until = time.monotonic() + timeout_s
    while not (result := check()):
        assert time.monotonic() < until, f"still not: {what}"
        time.sleep(0.01)
    return result
