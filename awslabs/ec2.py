"""Chapter 1: a network, a firewall, a key, and one server.

        the internet
             |
    . . . . <1> gateway . . . . . . . . . VPC 10.10.0.0/23
    .        |                                          .
    .    route 0.0.0.0/0                                .
    .        |                                          .
    .    subnet 10.10.0.0/24                            .
    .        |                                          .
    .    <2> firewall: SSH, from one address            .
    .        |                                          .
    .    <4> server  t3.micro, Amazon Linux 2023        .
    .            opened by <3> your key                 .
    . . . . . . . . . . . . . . . . . . . . . . . . . . .

Cost: about 0.016 USD per hour in us-east-1 (server 0.0104, public address 0.005, 8 GiB disk 0.0009).
Time: one to two minutes to build, about one to take down.

    python -m awslabs.ec2 up
    python -m awslabs.ec2 ssh
    python -m awslabs.ec2 down

AWS calls, in order: CreateVpc, CreateSubnet, ModifySubnetAttribute, CreateInternetGateway,
AttachInternetGateway, CreateRoute, CreateSecurityGroup, AuthorizeSecurityGroupIngress, ImportKeyPair,
RunInstances. To read along: "What is Amazon VPC?" and "What is Amazon EC2?" in AWS's user guides.
"""

from __future__ import annotations

import ipaddress
import logging
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from awslabs import addresses, prices, tunnel
from awslabs.errors import AwsError, LabError, TimedOut
from awslabs.explain import PAID_PLAN, ask_for_quota, error_code, place_of, vcpu_quota
from awslabs.ledger import Ledger, ensure, exclusive
from awslabs.progress import at_once, awaiting, poll
from awslabs.show import Shown

log = logging.getLogger("awslabs.ec2")  # also where it runs as __main__

AMAZON_LINUX_2023 = "/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-default-x86_64"
LOGIN = "ec2-user"  # the user that Amazon Linux lets in
BOOT_S = 600.0  # until SSH answers; a type older than Nitro shows its console some minutes late
PATIENCE_S = 60.0  # until we look whether the firewall lets us in at all: most servers answer earlier
ROOT_GIB = 8  # size of that image's root disk, for the price that is told before it is looked up


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


@exclusive
def up(
    ledger: Ledger,
    *,
    allow_from: str | None = None,
    instance_type: str = "t3.micro",
    ttl_minutes: int | None = None,
) -> Server:
    """Build a network with one server in it, and wait until you can log in.

    Parameters
    ----------
    ledger : Ledger
        From ``awslabs.lab("ec2")``.
    allow_from : str, optional
        The only addresses that may reach SSH, as CIDR: ``203.0.113.7/32``. Your own, unless given.
    instance_type : str
        AWS's name for the size of the server; ``t3.micro`` has 2 vCPUs and 1 GiB.
    ttl_minutes : int, optional
        Minutes after which the server shuts itself down, and with that is deleted. Never, unless given.

    Returns
    -------
    Server

    Raises
    ------
    AwsError
        Refused by AWS: rights, quota, capacity, a type that this Region does not offer.
    TimedOut, TunnelError
        The server does not answer, or is not the one that AWS started.
    """
    ec2, ssm = ledger.client("ec2"), ledger.client("ssm")

    # <0> Before anything is built, some questions at once: where, may we, from which image, and who are we?
    zone, _, _, _, image, let_in = at_once(
        lambda: zone_offering(ec2, instance_type),
        lambda: size_of(ec2, instance_type, such_as="t3.micro"),
        lambda: require_plan(ledger, instance_type, f"{ledger.command('up')} --instance-type t3.micro"),
        lambda: require_quota(ec2, ledger.client("service-quotas"), instance_type),
        lambda: newest_image(ec2, ssm, AMAZON_LINUX_2023),
        lambda: allow_from or own_address(ec2),
    )

    # <1> The network: 512 addresses of our own, and the road to the internet.
    vpc_id, (subnet_id,) = public_network(ledger, "10.10.0.0/23", [Subnet("subnet", zone, "10.10.0.0/24")])

    # <2> The firewall: SSH, from this computer alone.
    group_id = ssh_firewall(ledger, vpc_id, let_in)

    # <3> The key: made here, so no crash can lose it; AWS gets the public half only.
    key_name = own_key(ledger)

    # <4> The server: from here on it costs money.
    instance_id = ledger.create(
        "instance",
        ec2.run_instances,
        ImageId=image["ImageId"],
        InstanceType=instance_type,
        MinCount=1,
        MaxCount=1,
        SubnetId=subnet_id,
        SecurityGroupIds=[group_id],
        KeyName=key_name,
        BlockDeviceMappings=[encrypted_root(image)],
        MetadataOptions={"HttpTokens": "required", "HttpEndpoint": "enabled"},  # IMDSv2 only
        InstanceInitiatedShutdownBehavior="terminate",  # whoever shuts it down has deleted it
        **standard_credits(instance_type),
        **shutdown_after(ttl_minutes),
    )
    wait_until_it_runs(ledger, instance_id)

    # <5> The login: the host key must be the one that the server wrote on its console.
    server = describe(ledger)
    wait_for_login(ledger, server)
    return server


# -- <1> to <5>, in the order in which `up` calls them -----------------------------------------------------


class Subnet(NamedTuple):
    """A part of a network, in one zone: its row in the ledger, ``us-east-1a``, ``10.10.0.0/24``."""

    row: str
    zone: str
    cidr: str


def public_network(ledger: Ledger, cidr: str, subnets: Sequence[Subnet]) -> tuple[str, list[str]]:
    """A network whose servers get public addresses, and its road to the internet.

    AWS calls: ``ec2:CreateVpc``, ``CreateSubnet`` and ``ModifySubnetAttribute`` for each subnet,
    ``CreateInternetGateway``, ``AttachInternetGateway``, ``CreateRoute``.

    Parameters
    ----------
    cidr : str
        The network's addresses, /16 to /28: ``10.10.0.0/23``.
    subnets : sequence of Subnet
        Its parts; each within ``cidr``.

    Returns
    -------
    (str, list of str)
        The VPC's id, and the subnets' in their order.
    """
    ec2 = ledger.client("ec2")
    vpc_id = ledger.create("vpc", ec2.create_vpc, CidrBlock=cidr)
    subnet_ids = []
    for subnet in subnets:
        subnet_id = ledger.create(
            subnet.row,
            ec2.create_subnet,
            VpcId=vpc_id,
            CidrBlock=subnet.cidr,
            AvailabilityZone=subnet.zone,
        )
        ensure(ec2.modify_subnet_attribute, SubnetId=subnet_id, MapPublicIpOnLaunch={"Value": True})
        subnet_ids.append(subnet_id)
    igw_id = ledger.create("internet-gateway", ec2.create_internet_gateway)
    ledger.create("gateway-attachment", ec2.attach_internet_gateway, InternetGatewayId=igw_id, VpcId=vpc_id)
    ensure(
        ec2.create_route,
        RouteTableId=main_route_table(ec2, vpc_id),
        DestinationCidrBlock="0.0.0.0/0",
        GatewayId=igw_id,
    )
    return vpc_id, subnet_ids


def own_address(ec2: Any) -> str:
    """This computer alone, as CIDR: ``203.0.113.7/32``."""
    return f"{addresses.my_ip(ec2)}/32"


def ssh_firewall(ledger: Ledger, vpc_id: str, allow_from: str) -> str:
    """A security group that lets SSH in from one place alone: `allow_from`, as CIDR.

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
    source = {"CidrIp": allow_from, "Description": "awslabs SSH"}
    ensure(
        ec2.authorize_security_group_ingress,
        GroupId=group_id,
        IpPermissions=[{"IpProtocol": "tcp", "FromPort": 22, "ToPort": 22, "IpRanges": [source]}],
    )
    return group_id


def own_key(ledger: Ledger) -> str:
    """The name of the key pair on AWS; only its public half is there. AWS calls: ``ec2:ImportKeyPair``."""
    return ledger.create(
        "key-pair",
        ledger.client("ec2").import_key_pair,
        KeyName=f"{ledger.prefix}-key",
        PublicKeyMaterial=tunnel.public_key(ledger.directory),
    )


def wait_until_it_runs(ledger: Ledger, instance_id: str) -> None:
    """Until AWS says ``running``; a stopped server is started. AWS calls: ``ec2:DescribeInstances``."""
    ec2 = ledger.client("ec2")
    ensure(ec2.start_instances, InstanceIds=[instance_id])  # someone may have stopped it
    poll(
        f"the server {instance_id} runs",
        lambda: instance_state(ec2, instance_id) == "running",
        timeout_s=600,
        longest_s=2.0,
        fix=ledger.command("down"),
    )


def wait_for_login(ledger: Ledger, server: Server, timeout_s: float = BOOT_S) -> None:
    """Until our key opens the server, and its host key is checked. AWS calls: ``ec2:GetConsoleOutput``."""
    ec2 = ledger.client("ec2")
    with awaiting("SSH answers with the host key that the console shows"):
        tunnel.wait_for_ssh(
            server.ssh,
            lambda: console(ec2, server.instance_id),
            timeout_s=timeout_s,
            progress=doubts(ledger, server),
        )


def doubts(ledger: Ledger, server: Server) -> Callable[[str], None]:
    """What is called while a server is silent: after a minute it asks once whether the firewall is why."""
    ask_at = time.monotonic() + PATIENCE_S

    def look(awaited: str) -> None:
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
    TimedOut
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
        raise TimedOut(
            f"SSH at {server.ssh} does not answer: the firewall does not let this computer in.",
            f"{group_id} lets in {', '.join(let_in) or 'nobody'}; this computer's address is {mine}.",
            f"{ledger.command('up')} --allow-from {mine}/32",
        )


# -- The lab as it stands ----------------------------------------------------------------------------------


def describe(ledger: Ledger, login_of: Callable[[Any, dict[str, Any]], str] | None = None) -> Server:
    """The lab's server as AWS shows it now. AWS calls: ``ec2:DescribeInstances``.

    Parameters
    ----------
    login_of : callable, optional
        (ec2 client, instance) -> the user that its image lets in; ``ec2-user`` unless given.

    Raises
    ------
    LabError
        When the lab does not stand.
    """
    ec2, instance_id = ledger.client("ec2"), ledger.resources.get("instance")
    if not instance_id:
        raise LabError("The lab does not stand.", "Its ledger holds no server.", ledger.command("up"))
    instance = find_instance(ec2, instance_id) or {"State": {"Name": "terminated"}}
    host, port = addresses.ssh_address(ec2, instance)
    login = login_of(ec2, instance) if login_of else LOGIN
    key_path, known_hosts_path = ledger.directory / "key", ledger.directory / "known_hosts"
    ssh = tunnel.Address(host, port, login, key_path, known_hosts_path, host_key_alias=instance_id)
    return Server(instance_id, instance["State"]["Name"], instance.get("PublicIpAddress", ""), ssh)


def server_address(ledger: Ledger) -> tunnel.Address:
    """Where to log in, if the server runs. AWS calls: ``ec2:DescribeInstances``.

    Raises
    ------
    LabError
        When it does not: its time was up, or someone stopped it.
    """
    return require_running(ledger, describe(ledger)).ssh


def require_running(ledger: Ledger, server: Server) -> Server:
    """The same server, if it runs; a LabError that says what to do, if it does not."""
    if server.state != "running":
        raise LabError(
            f"The server {server.instance_id} is {server.state}.",
            "Only a running server answers. Was its --ttl over, did someone stop it, or did AWS take it back "
            "(spot)?",
            f"{ledger.command('up')}    # starts it again, or builds another",
        )
    return server


def down(ledger: Ledger) -> None:
    """Take everything down again, and return when AWS shows nothing of it any more."""
    ledger.down()


# -- What `up` asks AWS before it builds ---------------------------------------------------------------


def zone_offering(ec2: Any, instance_type: str) -> str:
    """The first zone of the Region that offers this type. AWS calls: as `zones_offering`."""
    return zones_offering(ec2, instance_type)[0]


def zones_offering(ec2: Any, instance_type: str) -> list[str]:
    """The zones of the Region that offer this type: not each does (``us-east-1e`` has no t3.micro).

    AWS calls: ``ec2:DescribeInstanceTypeOfferings``; as `whole_zones`.
    """
    offerings = ec2.describe_instance_type_offerings(
        LocationType="availability-zone", Filters=[{"Name": "instance-type", "Values": [instance_type]}]
    )["InstanceTypeOfferings"]
    zones = sorted({offering["Location"] for offering in offerings} & whole_zones(ec2).keys())
    if not zones:
        raise AwsError(
            f"{instance_type} is not offered in {ec2.meta.region_name}.",
            "No zone of the Region lists it; a Region offers some types only, and names are exact.",
            "run `up` with another type, such as --instance-type t3.micro",
            code="Unsupported",
            operation="ec2:RunInstances",
        )
    return zones


def whole_zones(ec2: Any) -> dict[str, str]:
    """The Region's Availability Zones, name to id (``us-east-1a``: ``use1-az6``; ids are everybody's).

    Local Zones and Wavelength Zones, which an account may have opted in to, have prices and gateways of their
    own. AWS calls: ``ec2:DescribeAvailabilityZones``.
    """
    return {
        zone["ZoneName"]: zone["ZoneId"]
        for zone in ec2.describe_availability_zones()["AvailabilityZones"]
        if zone["ZoneType"] == "availability-zone" and zone["State"] == "available"
    }


def size_of(ec2: Any, instance_type: str, such_as: str) -> dict[str, Any]:
    """A type as ``ec2:DescribeInstanceTypes`` shows it, if the labs' images run on it; `such_as` would do.

    Raises
    ------
    AwsError
        Its processor is another one than the images are made for.
    """
    (size,) = ec2.describe_instance_types(InstanceTypes=[instance_type])["InstanceTypes"]
    if "x86_64" not in size["ProcessorInfo"]["SupportedArchitectures"]:
        raise AwsError(
            f"The lab's images do not run on {instance_type}.",
            "Its processor is an ARM; they are made for x86_64.",
            f"run `up` with another type, such as --instance-type {such_as}",
            code="Unsupported",
            operation="ec2:RunInstances",
        )
    return size


def require_plan(ledger: Ledger, instance_type: str, instead: str) -> None:
    """Stop before anything is built if the account is on AWS's Free plan, and that does not run this type.

    AWS calls: ``freetier:GetAccountPlanState``, on that plan ``ec2:DescribeInstanceTypes``. A dry run of
    RunInstances looks at rights alone and would not tell.

    Parameters
    ----------
    instead : str
        The command that does with a type which the plan runs.
    """
    if not on_free_plan(ledger):
        return
    ec2 = ledger.client("ec2")
    pages = ec2.get_paginator("describe_instance_types").paginate(
        Filters=[{"Name": "free-tier-eligible", "Values": ["true"]}]
    )
    free = sorted(size["InstanceType"] for page in pages for size in page["InstanceTypes"])
    if instance_type not in free:
        raise AwsError(
            f"This account's Free plan does not run a {instance_type}.",
            f"In {ec2.meta.region_name} it runs {', '.join(free)}; a higher quota would change nothing.",
            f"{instead}    # or pay for what you use, your credits first: {PAID_PLAN}",
            code="InvalidParameterCombination",
            operation="ec2:RunInstances",
        )


def on_free_plan(ledger: Ledger) -> bool:
    """Whether the account is on the plan that accounts opened since 2025-07-15 begin with.

    AWS calls: ``freetier:GetAccountPlanState``.
    """
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        plan = ledger.cloud.client("freetier", resends=False).get_account_plan_state()
    except (
        BotoCoreError,
        ClientError,
    ) as error:  # not everybody may ask, and only newer accounts have a plan
        log.info("the account's plan was not looked at: %s", error)
        return False
    return plan["accountPlanType"] == "FREE"


def require_quota(ec2: Any, quotas: Any, instance_type: str, *, spot: bool = False) -> None:
    """Stop before anything is built if the account may not run a single server of this type.

    AWS calls: ``ec2:DescribeInstanceTypes``, ``servicequotas:GetServiceQuota``. The quota counts vCPUs; new
    accounts start with few of them, or none. Spot servers have a quota of their own.
    """
    (size,) = ec2.describe_instance_types(InstanceTypes=[instance_type])["InstanceTypes"]
    needs = size["VCpuInfo"]["DefaultVCpus"]
    name, quota = vcpu_quota(instance_type, spot=spot)
    allowed = quota_value(quotas, "ec2", quota)
    if allowed < needs:
        raise AwsError(
            f"This account may not run a {instance_type} in {ec2.meta.region_name}.",
            f'It needs {needs} vCPUs; the quota "{name}" ({quota}) is {allowed:.0f}.',
            ask_for_quota("ec2", quota, max(8, needs), place_of(ec2)),
            code="VcpuLimitExceeded",
            operation="ec2:RunInstances",
        )


def quota_value(quotas: Any, service: str, code: str) -> float:
    """How much the account may have of what a quota counts; without bound if one may not ask.

    AWS calls: ``servicequotas:GetServiceQuota``.
    """
    from botocore.exceptions import ClientError

    try:
        return quotas.get_service_quota(ServiceCode=service, QuotaCode=code)["Quota"]["Value"]
    except ClientError as error:  # not everybody may read quotas; the call to come would say the same, later
        log.info("the quota %s of %s was not checked: %s", code, service, error)
        return math.inf


def newest_image(ec2: Any, ssm: Any, parameter: str) -> dict[str, Any]:
    """The image that an SSM public parameter names, as ``ec2:DescribeImages`` shows it."""
    image_id = ssm.get_parameter(Name=parameter)["Parameter"]["Value"]
    (image,) = ec2.describe_images(ImageIds=[image_id])["Images"]
    return image


def usd_per_hour(instance_type: str, region: str) -> float | None:
    """What the lab costs each hour while it stands, in US dollars; None for a type without a known price."""
    server = prices.instance_hour(instance_type, region)
    return None if server is None else server + prices.PUBLIC_IPV4_HOUR + prices.volume_hour(ROOT_GIB, region)


# -- Small parts of the page above -----------------------------------------------------------------------


def main_route_table(ec2: Any, vpc_id: str) -> str:
    """The route table that every VPC is born with."""
    answer = ec2.describe_route_tables(
        Filters=[{"Name": "vpc-id", "Values": [vpc_id]}, {"Name": "association.main", "Values": ["true"]}]
    )
    return answer["RouteTables"][0]["RouteTableId"]


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


def shutdown_after(ttl_minutes: int | None) -> dict[str, Any]:
    """User data that lets the server's own operating system end it."""
    return {} if ttl_minutes is None else {"UserData": TTL.format(minutes=ttl_minutes)}


def find_instance(ec2: Any, instance_id: str) -> dict[str, Any] | None:
    """One server as AWS shows it; None while a new one is not visible yet, and an hour after it ended."""
    same = {"Name": "instance-id", "Values": [instance_id]}  # a filter finds nothing where an id is an error
    reservations = ec2.describe_instances(Filters=[same])["Reservations"]
    return reservations[0]["Instances"][0] if reservations else None


def instance_state(ec2: Any, instance_id: str) -> str:
    """``running``, or what it is instead; empty while AWS does not show it yet."""
    instance = find_instance(ec2, instance_id)
    if instance is None:
        return ""
    state = instance["State"]["Name"]
    if state in ("shutting-down", "terminated"):
        reason = instance.get("StateReason", {}).get("Message", "AWS gives no reason")
        raise LabError(f"The server {instance_id} ended while it started.", f"{reason}.", "run `up` again")
    return state


def console(ec2: Any, instance_id: str) -> str:
    """What the server has written to its console, where its host keys' fingerprints stand."""
    from botocore.exceptions import ClientError

    try:
        answer = ec2.get_console_output(InstanceId=instance_id, Latest=True)
    except ClientError as error:
        if error_code(error) != "UnsupportedOperation":
            raise
        answer = ec2.get_console_output(
            InstanceId=instance_id
        )  # t2 is not of Nitro: what AWS keeps of its boot
    return answer.get("Output", "")


# -- The command line -----------------------------------------------------------------------------------


def report(ledger: Ledger, server: Server) -> dict[str, Any]:
    """What `up` and `status` print of a lab with a server, in chapter 2 as well."""
    from awslabs import cli

    return {
        **cli.header(ledger),
        "instance_id": server.instance_id,
        "state": server.state,
        "public_ip": server.public_ip,
        "ssh": {**vars(server.ssh), "command": server.ssh.command},
    }


def add_ssh(group: Any, lab: str, server_address: Callable[[Ledger], tunnel.Address]) -> None:
    """The verb `ssh` of a lab with a server."""
    import click

    from awslabs import cli

    @cli.verb(group, "ssh", lab)
    @click.argument("command", nargs=-1, type=click.UNPROCESSED)
    def _ssh(ledger: Ledger, command: tuple[str, ...]) -> None:
        """Log in, or run COMMAND there; its exit status is ours."""
        raise SystemExit(tunnel.interactive(server_address(ledger), command))


def command_line() -> Any:
    """``python -m awslabs.ec2``: this page from a terminal."""
    import click

    from awslabs import cli

    group = cli.lab_group("ec2", __doc__)

    @cli.verb(group, "up", "ec2")
    @click.option("--instance-type", default="t3.micro", show_default=True, help="Size of the server.")
    @cli.ALLOW_FROM
    @click.option("--ttl", metavar="TIME", type=cli.Duration(), help="Delete the server after 90m, 3h, ...")
    def _up(ledger: Ledger, instance_type: str, allow_from: str | None, ttl: int | None) -> dict[str, Any]:
        """Build the network and the server, and wait until you can log in."""
        cli.announce(
            ledger, f"a network and one {instance_type}", usd_per_hour(instance_type, ledger.cloud.region)
        )
        server = up(ledger, allow_from=allow_from, instance_type=instance_type, ttl_minutes=ttl)
        cli.say(f"The server answers at {server.ssh.host}. Log in: {ledger.command('ssh')}")
        cli.farewell(ledger)
        return report(ledger, server)

    @cli.verb(group, "status", "ec2")
    def _status(ledger: Ledger) -> dict[str, Any]:
        """Show what stands, where, and what it costs."""
        if "instance" not in ledger.resources:
            cli.say("No server stands.")
            return cli.header(ledger)
        return report(ledger, describe(ledger))

    add_ssh(group, "ec2", server_address)

    @cli.verb(group, "put", "ec2")
    @click.argument("local", type=click.Path(exists=True))
    @click.argument("remote", default=".")
    def _put(ledger: Ledger, local: str, remote: str) -> dict[str, Any]:
        """Copy a file or a folder to the server; say where it is there."""
        return {"remote": tunnel.put(server_address(ledger), local, remote)}

    @cli.verb(group, "get", "ec2")
    @click.argument("remote")
    @click.argument("local", default=".")
    def _get(ledger: Ledger, remote: str, local: str) -> dict[str, Any]:
        """Copy a file or a folder from the server; say where it is here."""
        return {"local": tunnel.get(server_address(ledger), remote, local)}

    cli.add_down(group, "ec2", down)
    return group


if __name__ == "__main__":
    command_line()(prog_name="python -m awslabs.ec2")
