"""Ways into a VPC and out of it: what a public address, routes, network ACLs and security groups let through.

There is one world outside of a practice VPC, this computer: `CALLER`. 127.0.0.1/32 and 0.0.0.0/0 contain
it, and no other range that one writes by hand does.

    no_way_in(ec2, interface, 22)                      why a packet from outside does not reach an interface
    no_way_out(ec2, interface, endpoint="ecr.dkr")     why nothing outside is reached from there

Source: VPC user guide, VPC_Internet_Gateway (a public address and a route to the gateway),
vpc-network-acls (rules in the order of their numbers, without memory: answers need a rule of their own),
vpc-security-groups (what is let in may answer), VPC_Route_Tables (the most specific route counts).
"""

from __future__ import annotations

import functools
import ipaddress
import logging
from pathlib import Path
from typing import Any

from awslabs.sandbox.core.engine import Call, Proceed, around
from awslabs.sandbox.services.ec2 import power

log = logging.getLogger("awslabs.sandbox")

CALLER = "127.0.0.1"
SSH, HTTPS = 22, 443
IANA_EPHEMERAL = (49152, 65535)  # Source: RFC 6335, section 6; macOS keeps to it


# --- ways -------------------------------------------------------------------------------------------------


def no_way_in(ec2: Any, interface: Any, port: int) -> str:
    """Why the caller does not reach a TCP port of a network interface; empty: he does."""
    if not interface.public_ip:
        return "it has no public address"
    gateway = _gateway(ec2, interface.subnet)
    if gateway != "internet gateway":
        where = f"a {gateway}" if gateway else "nowhere"
        return f"the route of its subnet to {CALLER} leads to {where}, not to an internet gateway"
    if not any(_contains(ec2, each, port) for group in interface.group_set for each in group.ingress_rules):
        return f"no security group lets {CALLER} in"
    acl = _acl(ec2, interface.subnet)
    if not _acl_lets(acl, port, port, egress=False):
        return f"the network ACL does not let {CALLER} in"
    if not _acl_lets(acl, *_ephemeral(), egress=True):
        return f"the network ACL does not let the answers out to {CALLER}"
    return ""


def no_way_out(ec2: Any, interface: Any, *, endpoint: str = "") -> str:
    """Why HTTPS from a network interface reaches nothing outside of its VPC; empty: it does.

    For a service of AWS an endpoint in the VPC (``ecr.dkr``) will do as well. Source: aws-facts (g).
    """
    groups = interface.group_set
    if not any(group.egress_rules for group in groups):
        return "no security group lets it out"
    vpc_id = interface.subnet.vpc_id
    ends = [end for end in ec2.vpc_end_points.values() if end.vpc_id == vpc_id and end.state != "deleted"]
    if endpoint and any(end.service_name.endswith(f".{endpoint}") for end in ends):
        return ""
    if not any(_contains(ec2, each, HTTPS) for group in groups for each in group.egress_rules):
        return f"no security group lets it out to {CALLER}"
    gateway = _gateway(ec2, interface.subnet)
    if not gateway:
        return "its subnet has no route to the internet"
    if gateway == "internet gateway" and not interface.public_ip:
        return "it has no public address"
    acl = _acl(ec2, interface.subnet)
    if not (_acl_lets(acl, HTTPS, HTTPS, egress=True) and _acl_lets(acl, *_ephemeral(), egress=False)):
        return "the network ACL of its subnet does not let it out, or no answers in"
    return ""


def _gateway(ec2: Any, subnet: Any) -> str:
    """What leads from a subnet to the world: an internet gateway, or a NAT gateway; empty: nothing."""
    route = _route(ec2, subnet)
    if route is None:
        return ""
    if route.nat_gateway is None:
        return "internet gateway" if _is_internet(ec2, route, subnet.vpc_id) else ""
    nat = ec2.nat_gateways.get(route.nat_gateway.id)
    if nat is None or nat.state == "deleted" or nat.connectivity_type == "private":
        return ""
    onward = _route(ec2, nat._eni.subnet)
    return "NAT gateway" if onward is not None and _is_internet(ec2, onward, nat.vpc_id) else ""


def _route(ec2: Any, subnet: Any) -> Any:
    """The most specific of a subnet's routes to the world; None: it has none."""
    fitting = [
        (ipaddress.ip_network(cidr, strict=False).prefixlen, route)
        for route in _table(ec2, subnet).routes
        for cidr in _destinations(route)
        if _is_caller(cidr)
    ]
    return max(fitting, key=lambda each: each[0])[1] if fitting else None


def _is_internet(ec2: Any, route: Any, vpc_id: str) -> bool:
    """Whether a route leads to the VPC's internet gateway, still: one to what is gone is a black hole."""
    gateway = route.gateway and ec2.internet_gateways.get(route.gateway.id)
    return bool(gateway and gateway.vpc is not None and gateway.vpc.id == vpc_id)


def _destinations(route: Any) -> list[str]:
    """The IPv4 ranges that a route is for."""
    if route.destination_prefix_list is not None:
        return _prefixes(route.destination_prefix_list)
    return [route.destination_cidr_block] if route.destination_cidr_block else []


def _prefixes(prefix_list: Any) -> list[str]:
    """The ranges in a managed prefix list, as its newest version has them."""
    return [entry["Cidr"] for entry in prefix_list.entries.get(prefix_list.version) or []]


def _table(ec2: Any, subnet: Any) -> Any:
    """The route table of a subnet: its own, or the main one of its VPC."""
    tables = [table for table in ec2.route_tables.values() if table.vpc_id == subnet.vpc_id]
    own = (table for table in tables if subnet.id in table._associations.values())
    return next(own, None) or next(table for table in tables if table.main_association_id is not None)


def _contains(ec2: Any, rule: Any, port: int) -> bool:
    """Whether a rule of a security group is about TCP, this port and the caller."""
    if rule.ip_protocol not in ("-1", "tcp"):
        return False
    if rule.ip_protocol == "tcp" and not rule.from_port <= port <= rule.to_port:
        return False
    ranges = [rule.cidr_ipv4] if rule.cidr_ipv4 else []
    if rule.prefix_list_id in ec2.managed_prefix_lists:
        ranges += _prefixes(ec2.managed_prefix_lists[rule.prefix_list_id])
    return any(_is_caller(cidr) for cidr in ranges)


def _is_caller(cidr: str) -> bool:
    return ipaddress.ip_address(CALLER) in ipaddress.ip_network(cidr, strict=False)


def _acl(ec2: Any, subnet: Any) -> Any:
    """The network ACL of a subnet: it has exactly one."""
    return next(
        acl
        for acl in ec2.network_acls.values()
        if any(association.subnet_id == subnet.id for association in acl.associations)
    )


def _acl_lets(acl: Any, first: int, last: int, *, egress: bool) -> bool:
    """Whether a network ACL lets all of these TCP ports pass. The first rule that fits a port decides."""
    rules = sorted(
        (each for each in acl.network_acl_entries if each.egress == egress and each.cidr_block),
        key=lambda each: int(each.rule_number),
    )
    fitting = [
        (each.rule_action == "allow", *_ports(each))
        for each in rules
        if str(each.protocol) in ("-1", "6") and _is_caller(each.cidr_block)
    ]
    edges = {first, *(edge for _, low, high in fitting for edge in (low, high + 1) if first <= edge <= last)}
    return all(
        next((allows for allows, low, high in fitting if low <= port <= high), False) for port in edges
    )


def _ports(entry: Any) -> tuple[int, int]:
    """The ports of a network ACL's rule; all of them where it names none."""
    if str(entry.protocol) == "-1" or entry.port_range_from is None:
        return 0, 65535
    return int(entry.port_range_from), int(entry.port_range_to)


@functools.cache
def _ephemeral() -> tuple[int, int]:
    """The ports from which clients on this computer call, so to which answers go."""
    try:
        first, last = Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()
    except OSError:
        return IANA_EPHEMERAL
    return int(first), int(last)


# --- the doors of the instances ---------------------------------------------------------------------------


@around("ec2:*", "autoscaling:*", "cloudformation:*")
def firewall(call: Call, proceed: Proceed) -> Any:
    """An instance that its security groups, its subnet's route or network ACL, or a missing public address
    keep the caller from does not answer him: packets fall, nothing is refused. A change counts at once, for
    new connections; those that are open live on.

    moto has no network. Source: EC2 user guide, TroubleshootingInstancesConnecting ("Connection timed out")
    and security-group-connection-tracking.
    """
    answer = proceed()
    if not call.action.startswith(("Describe", "Get", "List", "Search")):
        _set_doors(call.ec2)
    return answer


def _set_doors(ec2: Any) -> None:
    """Open and close the ports of all instances that run here, as the network now says."""
    for instance in [each for kept in ec2.reservations.values() for each in kept.instances]:
        if instance.state in ("shutting-down", "terminated") or not power.current.has(instance.id):
            continue
        reasons = [no_way_in(ec2, interface, SSH) for interface in instance.nics.values()]
        kept_out = all(reasons)  # one interface in reach is enough
        if power.current.let_in(instance.id, not kept_out):
            log.info("%s %s", instance.id, f"answers nobody: {reasons[0]}" if kept_out else "can be reached")
