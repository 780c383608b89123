"""Chapter 1's work from a terminal: `ssh`, `put`, `get`."""

from __future__ import annotations

from typing import Any

import click

from awslabs import cli, tunnel
from awslabs.ledger import Ledger
from awslabs.servers import server_address
from awslabs.workload import logins


def add(group: click.Group, lab: str) -> None:
    """Give a lab's command line these verbs."""
    logins.add(group, lab)

    @cli.verb(group, "put", lab)
    @click.argument("local", type=click.Path(exists=True))
    @click.argument("remote", default=".")
    def _put(ledger: Ledger, local: str, remote: str) -> dict[str, Any]:
        """Copy a file or a folder to the server; say where it is there."""
        return {"remote": tunnel.put(server_address(ledger), local, remote)}

    @cli.verb(group, "get", lab)
    @click.argument("remote")
    @click.argument("local", default=".")
    def _get(ledger: Ledger, remote: str, local: str) -> dict[str, Any]:
        """Copy a file or a folder from the server; say where it is here."""
        return {"local": tunnel.get(server_address(ledger), remote, local)}
