"""The server of chapters 1 and 2: what RunInstances is told of it, how it stands, how one logs in."""

from __future__ import annotations

import ipaddress
import logging
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from awslabs import addresses, tunnel
from awslabs.errors import LabError, TunnelError
from awslabs.kinds.named import unless
from awslabs.ledger import Ledger, ensure
from awslabs.rehearsal import instead
from awslabs.show import Shown

log = logging.getLogger("awslabs.servers")

AMAZON_LINUX_2023 = "/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-default-x86_64"
PATIENCE_S = 60.0  # until we look whether the firewall lets us in at all: most servers answer earlier
PARTS = ("instance",)  # the rows without which there is nothing to work with


@dataclass(frozen=True)
class Server(Shown):
    """The lab as it stands.

    Attributes
    ----------
    instance_id : str
        ``i-...``.
    state : str
        ``pending``, ``running``, ``shutting-down``, ``stopped``, ...
    public_ip : str
        Its IPv4 address on the internet; empty while it has none.
    ssh : tunnel.Address
        Where and how to log in.
    """

    instance_id: str
    state: str
    public_ip: str
    ssh: tunnel.Address


# -- The lab as it stands ----------------------------------------------------------------------------------


def describe(ledger: Ledger) -> Server:
    """The lab's server as AWS shows it now. AWS calls: ``ec2:DescribeInstances``, ``DescribeImages``.

    Raises
    ------
    LabError
        When the lab does not stand.
    """
    ec2, instance_id = ledger.client("ec2"), ledger.whole(PARTS)["instance"]
    same = {"Name": "instance-id", "Values": [instance_id]}  # a filter finds nothing where an id is an error
    reservations = ec2.describe_instances(Filters=[same])["Reservations"]
    instance: dict[str, Any] = reservations[0]["Instances"][0] if reservations else {}
    host, port = addresses.ssh_address(ec2, instance)
    key_path, known_hosts_path = ledger.directory / "key", ledger.directory / "known_hosts"
    login = login_of(ec2, instance)
    ssh = tunnel.Address(host, port, login, key_path, known_hosts_path, host_key_alias=instance_id)
    state = instance["State"]["Name"] if instance else "terminated"
    return Server(instance_id, state, instance.get("PublicIpAddress", ""), ssh)


def login_of(ec2: Any, instance: dict[str, Any]) -> str:
    """The user that the server's image lets in.

    A server outlives its image's deprecation, from which on AWS lists the image only to those who ask so.
    Source: "Manage system users on your Amazon EC2 Linux instance"; EC2 API reference, DescribeImages.
    """
    by_id = {"Name": "image-id", "Values": [instance.get("ImageId", "none")]}  # one that is gone is no error
    images = ec2.describe_images(Filters=[by_id], IncludeDeprecated=True)["Images"]
    return "ubuntu" if images and "ubuntu" in images[0].get("Name", "").lower() else "ec2-user"


def server_address(ledger: Ledger) -> tunnel.Address:
    """Where to log in, if the server runs. AWS calls: as `describe`.

    Raises
    ------
    LabError
        When it does not: its time was up, AWS took a spot server back, or someone stopped it.
    """
    server = describe(ledger)
    if server.state != "running":
        raise LabError(
            f"The server {server.instance_id} is {server.state}.",
            "Only a running server answers. Was its --ttl over, did someone stop it, or did AWS take it back "
            "(spot)?",
            f"{ledger.command('up')}    # starts it again, or builds another",
        )
    return server.ssh


def report(server: Server) -> dict[str, Any]:
    """What `up` and `status` print of it."""
    return {**vars(server), "ssh": {**vars(server.ssh), "command": server.ssh.command}}


@instead(lambda *_: None)
def wait_for_login(ledger: Ledger, server: Server, timeout_s: float) -> None:
    """Until our key opens the server, and its host key is checked. AWS calls: ``ec2:GetConsoleOutput``."""
    ec2 = ledger.client("ec2")
    tunnel.wait_for_ssh(
        server.ssh,
        lambda: console(ec2, server.instance_id),
        timeout_s=timeout_s,
        doubt=doubts(ledger, server),
    )


def doubts(ledger: Ledger, server: Server) -> Callable[[], None]:
    """What is called while a server is silent: after a minute it asks once whether the firewall is why."""
    ask_at = time.monotonic() + PATIENCE_S

    def look() -> None:
        nonlocal ask_at
        if time.monotonic() >= ask_at:
            ask_at = math.inf
            require_open_firewall(ledger, server)

    return look


def require_open_firewall(ledger: Ledger, server: Server) -> None:
    """Go on if the lab's firewall lets this computer in, or if nobody can say whether it does.

    AWS calls: ``ec2:DescribeSecurityGroups``.

    Raises
    ------
    TunnelError
        It lets in others only: no waiting helps.
    """
    ec2, group_id = ledger.client("ec2"), ledger.resources["security-group"]
    try:
        mine = addresses.my_ip(ec2)
    except LabError as error:
        log.info("whether the firewall lets this computer in is not known: %s", error)
        return
    (group,) = ec2.describe_security_groups(GroupIds=[group_id])["SecurityGroups"]
    let_in = [each["CidrIp"] for rule in group["IpPermissions"] for each in rule["IpRanges"]]
    if not any(ipaddress.ip_address(mine) in ipaddress.ip_network(cidr, strict=False) for cidr in let_in):
        raise TunnelError(
            f"SSH at {server.ssh} does not answer: the firewall does not let this computer in.",
            f"{group_id} lets in {', '.join(let_in) or 'nobody'}; this computer's address is {mine}.",
            f"{ledger.command('up')} --allow-from {mine}/32",
        )


def console(ec2: Any, instance_id: str) -> str:
    """What the server has written to its console, where its host keys' fingerprints stand."""
    answer = unless(("UnsupportedOperation",), ec2.get_console_output, InstanceId=instance_id, Latest=True)
    if answer is None:  # a t2 is not of Nitro: what AWS keeps of its boot
        answer = ec2.get_console_output(InstanceId=instance_id)
    return str(answer.get("Output", ""))


# -- The way in, as chapter 1 shows it call by call --------------------------------------------------------


def ssh_firewall(ledger: Ledger, vpc_id: str, cidr: str) -> str:
    """A firewall that lets in SSH, from these addresses alone; returns its id.

    AWS calls: ``ec2:CreateSecurityGroup``, ``AuthorizeSecurityGroupIngress``.
    """
    ec2 = ledger.client("ec2")
    group_id = ledger.create(
        "security-group",
        ec2.create_security_group,
        VpcId=vpc_id,
        GroupName=f"{ledger.prefix}-ssh",
        Description="SSH from one address",
    )
    source = {"CidrIp": cidr, "Description": "awslabs SSH"}
    ensure(
        ec2.authorize_security_group_ingress,
        GroupId=group_id,
        IpPermissions=[{"IpProtocol": "tcp", "FromPort": 22, "ToPort": 22, "IpRanges": [source]}],
    )
    return group_id


def own_key(ledger: Ledger) -> str:
    """The public half of a key that is made here; returns its name. AWS calls: ``ec2:ImportKeyPair``."""
    return ledger.create(
        "key-pair",
        ledger.client("ec2").import_key_pair,
        KeyName=f"{ledger.prefix}-key",
        PublicKeyMaterial=tunnel.public_key(ledger.directory),
    )


# -- What RunInstances is told -----------------------------------------------------------------------------


def encrypted_root(image: dict[str, Any], at_least_gib: int = 0) -> dict[str, Any]:
    """The image's own root disk, in its size or a larger one, as encrypted gp3 that goes with the server."""
    root = next(
        mapping
        for mapping in image["BlockDeviceMappings"]
        if mapping["DeviceName"] == image["RootDeviceName"]
    )
    disk = {
        "VolumeSize": max(root["Ebs"]["VolumeSize"], at_least_gib),
        "VolumeType": "gp3",
        "Encrypted": True,
        "DeleteOnTermination": True,
    }
    return {"DeviceName": image["RootDeviceName"], "Ebs": disk}


def standard_credits(instance_type: str) -> dict[str, Any]:
    """For T types: no surplus CPU credits, which AWS would charge for (T3 takes them unless told)."""
    return {"CreditSpecification": {"CpuCredits": "standard"}} if instance_type.startswith("t") else {}


# Run once, at the first boot. `shutdown -h +MINUTES` would be shorter, but a reboot or a stop forgets it,
# and in its last five minutes it lets nobody log in. An enabled timer stays; with `Persistent` a server that
# was stopped when its time came ends as soon as it is started.
# Source: systemd.timer(5), systemd.time(7), shutdown(8).
TTL = """#!/bin/sh
cat > /etc/systemd/system/awslabs-ttl.service <<END
[Unit]
Description=The end of this server

[Service]
Type=oneshot
ExecStart=/usr/bin/systemctl poweroff
END
cat > /etc/systemd/system/awslabs-ttl.timer <<END
[Unit]
Description=How long this server may live

[Timer]
OnCalendar=$(date -u -d "+{minutes} minutes" "+%F %T UTC")
AccuracySec=1s
Persistent=true

[Install]
WantedBy=timers.target
END
systemctl enable --now awslabs-ttl.timer
"""


def shutdown_after(ledger: Ledger, ttl_minutes: int | None) -> dict[str, Any]:
    """User data that lets the server's own operating system end it; none for one that runs without.

    It is read at the first boot alone. So a server that stands without a timer gets none, and what ends it is
    an awslabs command that is alive, or the switch. AWS calls: ``ec2:DescribeInstances`` for such a one.
    """
    server = ledger.journal.last("instance")
    bare = server is not None and server.state == "standing" and "ttl_minutes" not in server.telling
    if ttl_minutes is None or (server and bare and ledger.shown(server)):
        return {}
    return {"UserData": TTL.format(minutes=ttl_minutes)}
