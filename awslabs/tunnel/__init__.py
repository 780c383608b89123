"""Keys, waiting for SSH, port forwarding, copying files: all that a lab does over SSH.

    address = tunnel.Address(host, 22, "ec2-user", ledger.directory / "key", ledger.directory / "known_hosts")
    tunnel.wait_for_ssh(address, console)                       # pins the host key, proves the login
    tunnel.interactive(address)                                 # OpenSSH in this terminal
    tunnel.put(address, "notebooks", "~")                       # like `scp -rp`, but never half a file
    with tunnel.connect(address) as client:                     # a paramiko.SSHClient
        print(tunnel.run(client, ["uname", "-a"]).stdout)
    with tunnel.forward(address, 8888, local_port=8931, tries=20) as jupyter:
        webbrowser.open(jupyter.url("lab"))                     # comes back after a dropped connection

| module        | what it holds                                                               |
|---------------|-----------------------------------------------------------------------------|
| keys          | our key pair; the fingerprints in a server's console output                 |
| openssh       | `Address`, and the machine's own `ssh` with it                              |
| session       | connections through paramiko: strict host keys, dead peers noticed, commands |
| transfer      | files and folders over SFTP                                                 |
| forwarding    | a local port that leads to a port of the server                             |

Nothing here reads the user's SSH configuration, keys, known hosts or agent.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from awslabs.tunnel.keys import fingerprints, public_key
from awslabs.tunnel.openssh import Address, interactive

if TYPE_CHECKING:
    from awslabs.tunnel.forwarding import Forward, forward
    from awslabs.tunnel.session import Output, connect, run, wait_for_ssh
    from awslabs.tunnel.transfer import get, put

__all__ = [
    "Address",
    "Forward",
    "Output",
    "connect",
    "fingerprints",
    "forward",
    "get",
    "interactive",
    "public_key",
    "put",
    "run",
    "wait_for_ssh",
]

# These need paramiko, which takes longer to import than `--help` may take to answer.
_ON_FIRST_USE = {
    **dict.fromkeys(("Forward", "forward"), "forwarding"),
    **dict.fromkeys(("Output", "connect", "run", "wait_for_ssh"), "session"),
    **dict.fromkeys(("get", "put"), "transfer"),
}


def __getattr__(name: str) -> Any:
    """Import the module behind a name when the name is first used."""
    if name not in _ON_FIRST_USE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_ON_FIRST_USE[name]}"), name)
