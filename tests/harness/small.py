"""The smallest lab with a verb of its own that makes something: a network, and firewalls on demand."""

from __future__ import annotations

from awslabs.ledger import Ledger, exclusive
from harness.labs import Lab


@exclusive
def up(ledger: Ledger) -> None:
    """Build the network."""
    ledger.create("vpc", ledger.client("ec2").create_vpc, CidrBlock="10.20.0.0/24")


def firewall(ledger: Ledger) -> None:
    """Put a firewall into it."""
    ledger.create(
        "security-group",
        ledger.client("ec2").create_security_group,
        VpcId=ledger.resources["vpc"],
        GroupName=f"{ledger.prefix}-wall",
        Description="a firewall",
    )


def down(ledger: Ledger) -> None:
    """Take everything down again."""
    ledger.down()


SMALL = Lab("small", up, down, work=(firewall,))
