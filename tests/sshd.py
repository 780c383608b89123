"""A real OpenSSH server on loopback, as the current user, with keys and a home folder of its own."""

from __future__ import annotations

import getpass
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import time
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from awslabs import tunnel

PROGRAM = shutil.which("sshd", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin:/sbin")
needs_sshd = pytest.mark.skipif(
    PROGRAM is None, reason="no sshd here; enable with: sudo apt-get install openssh-server"
)


def free_port() -> int:
    """A port of 127.0.0.1 on which nobody listens; none that a system gives to whoever asks for any."""
    while True:
        port = random.SystemRandom().randrange(20_000, 32_000)
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


# sshd ends when the test run does, even if that is killed: then `read` comes to an end.
KEEPER = '"$0" "$@" >&2 & echo $!; read _; kill -9 $!; wait'


class Sshd:
    """One server; `start` and `stop` at will, always on the same port."""

    def __init__(self, directory: Path, *settings: str, sftp: str = "") -> None:
        self.directory, self.settings, self.port = directory, settings, free_port()
        self.home = directory / "remote-home"
        self.home.mkdir(parents=True)
        self.sftp = sftp or f"internal-sftp -d {self.home}"
        ours = (
            directory / "it's 100% ours"
        )  # students have such folders, and ssh has its ways with each of them
        self.authorized = directory / "authorized_keys"
        self.authorized.write_bytes(tunnel.public_key(ours) + b"\n")
        self.address = tunnel.Address(
            "127.0.0.1", self.port, getpass.getuser(), ours / "key", ours / "known_hosts"
        )
        self.keeper: subprocess.Popen[bytes] | None = None
        self.listener = 0
        self.new_host_keys()

    def new_host_keys(self) -> None:
        """Host keys as if the server had been made anew."""
        for kind in ("ed25519", "ecdsa"):
            path = self.directory / f"host_{kind}"
            path.unlink(missing_ok=True)
            subprocess.run(["ssh-keygen", "-q", "-t", kind, "-N", "", "-f", path], check=True, input=b"y\n")

    def console(self) -> str:
        """What cloud-init prints at the end of a first boot; ssh-keygen computes the fingerprints."""
        lines = ["[   21.345] cloud-init[1234]: Cloud-init v. 22.2.2 finished"]
        lines.append("ec2: -----BEGIN SSH HOST KEY FINGERPRINTS-----")
        for kind in ("ecdsa", "ed25519"):
            shown = subprocess.run(
                ["ssh-keygen", "-l", "-f", self.directory / f"host_{kind}.pub"],
                check=True, capture_output=True, text=True,
            ).stdout  # fmt: skip
            lines.append(f"ec2: {shown.strip()}")
        lines.append("ec2: -----END SSH HOST KEY FINGERPRINTS-----")
        return "\r\n".join([*lines, "Amazon Linux 2023", "ip-10-10-0-7 login: "])

    def start(self) -> None:
        """Start it, and wait until it listens."""
        if os.geteuid() == 0:
            os.makedirs("/run/sshd", exist_ok=True)  # sshd as root will not run without
        config = self.directory / "sshd_config"
        config.write_text(
            "\n".join(
                [
                    *self.settings,  # sshd takes the first of two
                    f"Port {self.port}",
                    "ListenAddress 127.0.0.1",
                    *(f"HostKey {self.directory}/host_{kind}" for kind in ("ed25519", "ecdsa")),
                    f"AuthorizedKeysFile {self.authorized}",
                    f"PidFile {self.directory}/sshd.pid",
                    f"Subsystem sftp {self.sftp}",
                    f"SetEnv HOME={self.home}",
                    "StrictModes no",
                    "UsePAM no",
                    "PasswordAuthentication no",
                    "PermitRootLogin prohibit-password",
                    "PermitUserRC no",
                    "PrintMotd no",
                    "PrintLastLog no",
                    "MaxStartups 100",
                    "MaxSessions 100",
                ]
            )
        )
        with open(self.directory / "sshd.log", "ab") as log:
            assert PROGRAM
            self.keeper = subprocess.Popen(
                ["sh", "-c", KEEPER, PROGRAM, "-D", "-e", "-f", config],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log,
            )  # fmt: skip
        assert self.keeper.stdout
        self.listener = int(self.keeper.stdout.readline())
        for _ in range(6000):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            time.sleep(0.02)
        raise AssertionError("sshd does not listen: " + self.log())

    def pin(self) -> None:
        """Trust its host key, as after `wait_for_ssh`."""
        key = (self.directory / "host_ed25519.pub").read_text()
        self.address.known_hosts_path.write_text(f"[127.0.0.1]:{self.port} {key}")

    def connections(self) -> list[int]:
        """The process ids that serve connections: all below the one that listens."""
        return [process.pid for process in psutil.Process(self.listener).children(recursive=True)]

    def signal_connections(self, number: signal.Signals) -> None:
        """Send a signal to each process that serves a connection."""
        for pid in self.connections():
            with suppress(ProcessLookupError):
                os.kill(pid, number)

    def stop(self) -> None:
        """Stop listening, and end all connections."""
        if self.keeper:
            # Frozen first: whoever is cut off comes back at once, and the child that then serves would stay.
            listener = psutil.Process(self.listener)
            listener.suspend()
            while listener.status() != psutil.STATUS_STOPPED:
                time.sleep(0.001)
            self.signal_connections(signal.SIGKILL)
            self.keeper.communicate()
            self.keeper = None

    def log(self) -> str:
        """What sshd said so far."""
        path = self.directory / "sshd.log"
        return path.read_text(errors="replace") if path.exists() else ""

    def logins(self) -> int:
        """How many times somebody got in."""
        return len(re.findall(r"^Accepted publickey", self.log(), re.MULTILINE))
