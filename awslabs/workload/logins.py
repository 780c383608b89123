"""The verb `ssh` of labs with a server."""

from __future__ import annotations

import click

from awslabs import cli, tunnel
from awslabs.ledger import Ledger
from awslabs.servers import server_address


def add(group: click.Group, lab: str) -> None:
    """Give a lab's command line the verb `ssh`."""

    @cli.verb(group, "ssh", lab)
    @click.argument("command", nargs=-1, type=click.UNPROCESSED)
    def _ssh(ledger: Ledger, command: tuple[str, ...]) -> None:
        """Log in, or run COMMAND there; its exit status is ours."""
        raise SystemExit(tunnel.interactive(server_address(ledger), command))
