"""The smallest check: a network, a firewall, a key. None of it has a price, and the Free plan has it all.

It shows whether credentials, rights and quotas are as the labs need them, whether our marks come back from
AWS, and whether everything goes again.
"""

from __future__ import annotations

from collections.abc import Callable

from awslabs import preflight, servers
from awslabs.explain import QUOTAS
from awslabs.ledger import Ledger
from awslabs.network import Subnet, public_network

BUILDS = "a network, a firewall and a key"


def steps(ledger: Ledger) -> dict[str, Callable[[], str]]:
    """One after the other; each says in a line what came of it."""
    return {
        "quotas": lambda: quotas(ledger),
        "network": lambda: network(ledger),
        "group": lambda: group(ledger),
        "key": lambda: key(ledger),
    }


def quotas(ledger: Ledger) -> str:
    """What the account may have. AWS calls: ``servicequotas:GetServiceQuota``, ``freetier:...PlanState``."""
    client = ledger.client("service-quotas")
    values = {
        code: preflight.quota_value(client, service, code)
        for _, service, code in (QUOTAS["VcpuLimitExceeded"], QUOTAS["VpcLimitExceeded"])
    }
    plan = "on the Free plan" if preflight.on_free_plan(ledger) else "not on the Free plan, or nobody may ask"
    return f"{', '.join(f'{code} is {value:g}' for code, value in values.items())}; the account is {plan}"


def network(ledger: Ledger) -> str:
    """A VPC, a subnet, a gateway and its route, as the labs have them."""
    zone = min(preflight.whole_zones(ledger.client("ec2")))
    public_network(ledger, "10.10.0.0/23", [Subnet("subnet", zone, "10.10.0.0/24")])
    return f"a network in {zone}, with a way to the internet"


def group(ledger: Ledger) -> str:
    """A firewall that lets nobody in but an address that is nobody's."""
    servers.ssh_firewall(ledger, ledger.resources["vpc"], "192.0.2.1/32")  # of TEST-NET-1, RFC 5737
    return "a firewall with one rule"


def key(ledger: Ledger) -> str:
    """The public half of a key that was made here."""
    servers.own_key(ledger)
    return "a key, made here"
