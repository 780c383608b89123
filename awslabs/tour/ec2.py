"""Chapter 1 in the tour."""

from __future__ import annotations

from typing import Any

from awslabs import ec2, tunnel
from awslabs.errors import LabError
from awslabs.ledger import Ledger
from awslabs.servers import describe, server_address

BUILDS = "a network, a firewall, a key and one server"
OPTIONS = ("instance_type",)
NEEDS = ()
up = ec2.up


def usd_per_hour(region: str, **options: Any) -> float | None:
    """Of its one server."""
    return ec2.usd_per_hour(options.get("instance_type") or ec2.INSTANCE_TYPE, region)


def look(ledger: Ledger) -> str:
    """The server as AWS shows it."""
    server = describe(ledger)
    return f"{server.instance_id} is {server.state}, at {server.public_ip}"


def work(ledger: Ledger) -> str:
    """Log in to the server, and let it say what it is."""
    with tunnel.connect(server_address(ledger)) as server:
        answer = tunnel.run(server, ["uname", "-sr"])
    if answer.status != 0:
        raise LabError("The server did not run `uname`.", answer.stderr.strip(), ledger.command("ssh"))
    return f"logged in over SSH; the server says it is {answer.stdout.strip()}"
