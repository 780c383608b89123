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

from typing import Any

from awslabs import addresses, prices, tunnel
from awslabs.ledger import Ledger, ensure, exclusive
from awslabs.network import main_route_table
from awslabs.preflight import newest_image, require_plan, require_quota, size_of, zones_offering
from awslabs.progress import OFTEN, at_once, awaiting
from awslabs.servers import (
    AMAZON_LINUX_2023,
    PARTS,
    Server,
    describe,
    encrypted_root,
    report,
    shutdown_after,
    standard_credits,
    wait_for_login,
)

INSTANCE_TYPE = "t3.micro"  # 2 vCPUs, 1 GiB; the Free plan runs it
BOOT_S = 600.0  # until SSH answers; a type older than Nitro shows its console some minutes late
ROOT_GIB = 8  # size of that image's root disk, for the price that is told before it is looked up


@exclusive
def up(
    ledger: Ledger,
    *,
    allow_from: str | None = None,
    instance_type: str = INSTANCE_TYPE,
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
    ec2 = ledger.client("ec2")

    # <0> Before anything is built: in which zone is there such a server, from which image, and who are we?
    zone, image, let_in = questions(ledger, instance_type, allow_from)

    ledger.limit(ttl_minutes=ttl_minutes)

    # <1> The network: 512 addresses of our own, half of them in one subnet, where a server gets a public
    #     address besides; and the road to the internet: a gateway, and a route that leads there.
    vpc_id = ledger.create("vpc", ec2.create_vpc, CidrBlock="10.10.0.0/23")
    subnet_id = ledger.create(
        "subnet", ec2.create_subnet, VpcId=vpc_id, CidrBlock="10.10.0.0/24", AvailabilityZone=zone
    )
    ensure(ec2.modify_subnet_attribute, SubnetId=subnet_id, MapPublicIpOnLaunch={"Value": True})
    igw_id = ledger.create("internet-gateway", ec2.create_internet_gateway)
    ledger.create("gateway-attachment", ec2.attach_internet_gateway, InternetGatewayId=igw_id, VpcId=vpc_id)
    ensure(
        ec2.create_route,
        RouteTableId=main_route_table(ec2, vpc_id),
        DestinationCidrBlock="0.0.0.0/0",
        GatewayId=igw_id,
    )

    # <2> The firewall: it lets in SSH, from this computer alone.
    group_id = ledger.create(
        "security-group",
        ec2.create_security_group,
        VpcId=vpc_id,
        GroupName=f"{ledger.prefix}-ssh",
        Description="SSH from one address",
    )
    source = {"CidrIp": let_in, "Description": "awslabs SSH"}
    ensure(
        ec2.authorize_security_group_ingress,
        GroupId=group_id,
        IpPermissions=[{"IpProtocol": "tcp", "FromPort": 22, "ToPort": 22, "IpRanges": [source]}],
    )

    # <3> The key: made here, so no crash can lose it; AWS gets the public half only.
    key_name = ledger.create(
        "key-pair",
        ec2.import_key_pair,
        KeyName=f"{ledger.prefix}-key",
        PublicKeyMaterial=tunnel.public_key(ledger.directory),
    )

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
        **shutdown_after(ledger, ttl_minutes),
    )
    ensure(ec2.start_instances, InstanceIds=[instance_id])  # someone may have stopped it
    with awaiting(f"the server {instance_id} runs"):
        ec2.get_waiter("instance_running").wait(InstanceIds=[instance_id], WaiterConfig=OFTEN)

    # <5> The login: the host key must be the one that the server wrote on its console.
    server = describe(ledger)
    wait_for_login(ledger, server, BOOT_S)
    return server


def down(ledger: Ledger) -> None:
    """Take everything down again, and return when AWS shows nothing of it any more."""
    ledger.down()


# -- Small parts of the page above -----------------------------------------------------------------------


def questions(ledger: Ledger, instance_type: str, allow_from: str | None) -> tuple[str, dict[str, Any], str]:
    """What `up` asks before it builds, all at once: a zone, an image, whom to let in; or why not."""
    ec2, ssm, quotas = ledger.client("ec2"), ledger.client("ssm"), ledger.client("service-quotas")
    zones, image, my_ip, *_ = at_once(
        lambda: zones_offering(ec2, instance_type),
        lambda: newest_image(ec2, ssm, AMAZON_LINUX_2023),
        lambda: None if allow_from else addresses.my_ip(ec2),
        lambda: size_of(ec2, instance_type, such_as=INSTANCE_TYPE),
        lambda: require_plan(
            ledger, instance_type, f"{ledger.command('up')} --instance-type {INSTANCE_TYPE}"
        ),
        lambda: require_quota(ec2, quotas, instance_type),
    )
    return zones[0], image, allow_from or f"{my_ip}/32"


def usd_per_hour(instance_type: str, region: str) -> float | None:
    """What the lab costs each hour while it stands, in US dollars; None for a type without a known price."""
    return prices.server_hour(instance_type, region, ROOT_GIB)


# -- The command line -----------------------------------------------------------------------------------


def command_line() -> Any:
    """``python -m awslabs.ec2``: this page from a terminal."""
    import click

    from awslabs import cli
    from awslabs.workload.ec2 import verbs

    group = cli.lab_group("ec2", __doc__)

    @cli.verb(group, "up", "ec2")
    @click.option("--instance-type", default=INSTANCE_TYPE, show_default=True, help="Size of the server.")
    @cli.ALLOW_FROM
    @cli.ttl(text="End it all after 90m, 3h, ...")
    @cli.ends_by_itself
    def _up(
        ledger: Ledger, instance_type: str, allow_from: str | None, ttl_minutes: int | None
    ) -> dict[str, Any]:
        """Build the network and the server, and wait until you can log in."""
        cli.announce(
            ledger, f"a network and one {instance_type}", usd_per_hour(instance_type, ledger.cloud.region)
        )
        server = up(ledger, allow_from=allow_from, instance_type=instance_type, ttl_minutes=ttl_minutes)
        cli.say(f"The server answers at {server.ssh.host}. Log in: {ledger.command('ssh')}")
        cli.farewell(ledger)
        return {**cli.header(ledger), **report(server)}

    cli.add_status(group, "ec2", PARTS, lambda ledger: report(describe(ledger)))
    verbs.add(group, "ec2")
    cli.add_down(group, "ec2", down)
    return group


if __name__ == "__main__":
    command_line()(prog_name="python -m awslabs.ec2")
