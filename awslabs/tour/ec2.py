"""Chapter 1 in the tour."""

from __future__ import annotations

from awslabs import ec2, tunnel
from awslabs.errors import LabError
from awslabs.ledger import Ledger
from awslabs.servers import describe, server_address

BUILDS = "a network, a firewall, a key and one server"
USD_PER_HOUR = ec2.usd_per_hour("t3.micro", "us-east-1")
NEEDS = ()
up = ec2.up


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
