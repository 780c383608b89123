"""Where a server answers, and the machine's own OpenSSH client that goes there."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from awslabs.errors import TunnelError


@dataclass(frozen=True)
class Address:
    """Where a server answers SSH, as whom we log in, and how both sides are known.

    Parameters
    ----------
    host : str
        Name or IP address.
    port : int
        22 on AWS.
    user : str
        ``ec2-user`` on Amazon Linux, ``ubuntu`` on Ubuntu.
        Source: "Manage system users on your Amazon EC2 Linux instance".
    key_path : Path
        Our private key: what `public_key` made.
    known_hosts_path : Path
        The file that holds the server's host key once `wait_for_ssh` has checked it. It should belong to one
        server alone: addresses are used again by other servers.
    host_key_alias : str
        The server's name in that file, as OpenSSH's ``HostKeyAlias``: its instance id. So it is known under
        any address: one that was stopped and started has another, and does not print its keys again. Empty:
        the host key counts for this address alone.
    """

    host: str
    port: int
    user: str
    key_path: Path
    known_hosts_path: Path
    host_key_alias: str = ""

    @property
    def command(self) -> str:
        """The OpenSSH command line to paste into a shell."""
        return shlex.join(self.arguments)

    @property
    def arguments(self) -> list[str]:
        """The same as a list of arguments: what the remote command is appended to."""
        return [
            "ssh",
            *("-F", "none"),  # the user's own configuration could send us elsewhere
            *self._identity,
            *("-p", str(self.port)),
            *("-o", f"UserKnownHostsFile={_as_option(self.known_hosts_path)}"),
            *(["-o", f"HostKeyAlias={self.host_key_alias}"] if self.host_key_alias else []),
            *("-o", "StrictHostKeyChecking=yes"),
            *("-o", "IdentitiesOnly=yes"),
            f"{self.user}@{self.host}",
        ]

    @property
    def _identity(self) -> list[str]:
        if "%" in str(self.key_path):  # -i looks for the file before it reads %% as %, the option after that
            return ["-o", f"IdentityFile={_as_option(self.key_path)}"]
        return ["-i", str(self.key_path)]

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


def interactive(address: Address, command: Sequence[str] | None = None) -> int:
    """Run OpenSSH's ``ssh`` in this terminal, and return the remote exit status.

    Parameters
    ----------
    address : Address
        The server; its host key must be pinned (`wait_for_ssh`).
    command : sequence of str, optional
        What to run there instead of a login shell. As with ``ssh`` itself the words are joined with blanks
        and read by the remote shell.

    Returns
    -------
    int
        The exit status of the remote command; 255 if the connection failed (``ssh`` then says why on stderr).

    Raises
    ------
    TunnelError
        There is no ``ssh`` on this computer.
    """
    import subprocess

    ssh = address.arguments
    # An open terminal behind a dead connection would hang for ever: ask every 15 s, give up after three.
    ssh[1:1] = ["-o", "ConnectTimeout=15", "-o", "ServerAliveInterval=15", "-o", "ServerAliveCountMax=3"]
    if command:
        ssh += ["--", *command]  # without "--" ssh would read the command's first dashes as its own options
    try:
        status = subprocess.run(ssh).returncode
    except FileNotFoundError as error:
        raise TunnelError(
            "This computer has no OpenSSH client.",
            "There is no `ssh` on the PATH.",
            "sudo apt-get install openssh-client   # Debian, Ubuntu; dnf install openssh-clients on Fedora",
        ) from error
    return status if status >= 0 else 128 - status  # as a shell shows a client that a signal ended


def _as_option(path: Path) -> str:
    """A file name inside an option: ssh expands %h and its kind there, splits at blanks, and reads quotes."""
    text = str(path).replace("%", "%%")
    return f'"{text}"' if set(text) & set(" \t'") else text
