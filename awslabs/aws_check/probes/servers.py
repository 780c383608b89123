"""Of chapter 1: a network with one server in it. Chapter 2 has the same, and shows what its server has."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from awslabs.aws_check.probes.question import NOBODYS, Question, default_group, of_network
from awslabs.kinds.ec2 import instances
from awslabs.ledger import Ledger
from awslabs.network import main_route_table

NO_KEY = b"ssh-ed25519 bm90IGEga2V5"


def questions(ledger: Ledger) -> Iterator[Question]:
    """What AWS refuses of a network and of a server, and what chapter 1 does not look at."""
    ec2, stands = ledger.client("ec2"), ledger.resources
    vpc_id, group_id = stands["vpc"], stands["security-group"]
    server = running(ledger)

    # What is in use stays.
    yield "network in use", lambda: ec2.delete_vpc(VpcId=vpc_id)
    yield "subnet in use", lambda: ec2.delete_subnet(SubnetId=stands["subnet"])
    yield "group in use", lambda: ec2.delete_security_group(GroupId=group_id)
    gateway = {"InternetGatewayId": stands["internet-gateway"], "VpcId": vpc_id}
    yield "gateway in use", lambda: ec2.detach_internet_gateway(**gateway)
    yield from of_network(ledger)

    # A second way out, which a network cannot have.
    other = ledger.create("probe-gateway", ec2.create_internet_gateway)
    yield (
        "second gateway",
        lambda: ledger.create(
            "probe-attachment", ec2.attach_internet_gateway, InternetGatewayId=other, VpcId=vpc_id
        ),
    )
    table = main_route_table(ec2, vpc_id)
    nowhere = {"RouteTableId": table, "DestinationCidrBlock": "198.51.100.0/24", "GatewayId": other}
    yield "route to a gateway elsewhere", lambda: ec2.create_route(**nowhere)

    yield "network with a gateway", lambda: network_with(ledger, other)

    # Names and forms.
    named = {"VpcId": vpc_id, "GroupName": "sg-probe", "Description": "not to be made"}
    yield "name of a group", lambda: ledger.create("probe-group", ec2.create_security_group, **named)
    yield "form of a key", lambda: key(ledger, "probe-key", NO_KEY)
    yield "name of a key", lambda: ec2.import_key_pair(KeyName=" probe", PublicKeyMaterial=NO_KEY)
    yield "form of an id", lambda: ec2.describe_instances(InstanceIds=["i-xyz"])
    yield "key by its id", lambda: ec2.describe_key_pairs(KeyPairIds=[f"key-{NOBODYS}"])
    yield (
        "reserved tag",
        lambda: ec2.create_tags(Resources=[vpc_id], Tags=[{"Key": "aws:probe", "Value": "probe"}]),
    )
    yield "dry run", lambda: ec2.create_vpc(CidrBlock="10.10.0.0/23", DryRun=True)

    # Servers that cannot be. Each differs in one thing from the one that runs.
    def run(**otherwise: Any) -> Callable[[], Any]:
        asked = {
            "ImageId": server["ImageId"],
            "InstanceType": server["InstanceType"],
            "MinCount": 1,
            "MaxCount": 1,
            "SubnetId": server["SubnetId"],
            "SecurityGroupIds": [group_id],
            "KeyName": stands["key-pair"],
            "InstanceInitiatedShutdownBehavior": "terminate",
        }
        return lambda: ledger.create("probe-server", ec2.run_instances, **(asked | otherwise))

    yield "unknown image", run(ImageId=f"ami-{NOBODYS}")
    yield "unknown type", run(InstanceType="t3.probe")
    yield "type of another processor", run(InstanceType="t4g.nano")
    yield "unknown key", run(KeyName="probe")
    yield "unknown group", run(SecurityGroupIds=[f"sg-{NOBODYS}"])
    if elsewhere := ledger.resources.get("probe-vpc"):
        yield "group of another network", run(SecurityGroupIds=[default_group(ec2, elsewhere)])
    yield "unknown profile", run(IamInstanceProfile={"Name": "probe"})
    yield "long user data", run(UserData="# probe\n" * 2500)
    small = {"DeviceName": "/dev/xvda", "Ebs": {"VolumeSize": 1}}
    yield "small disk", run(BlockDeviceMappings=[small])

    # The same token with another request. Its tags are the first one's: `down` would see a second.
    tags = [tag for tag in server["Tags"] if not tag["Key"].startswith(("aws:", "awslabs:ssh"))]
    yield (
        "token used twice",
        lambda: ec2.run_instances(
            ImageId=server["ImageId"],
            InstanceType="t3.nano",
            MinCount=1,
            MaxCount=1,
            ClientToken=server["ClientToken"],
            TagSpecifications=[{"ResourceType": "instance", "Tags": tags}],
        ),
    )

    yield "credits", lambda: ec2.describe_instance_credit_specifications(InstanceIds=[server["InstanceId"]])
    yield from belongings(ledger)


def belongings(ledger: Ledger) -> Iterator[Question]:
    """What a server and its network have, and nobody asked for."""
    ec2 = ledger.client("ec2")
    server = running(ledger)
    yield "server", lambda: server
    yield (
        "default ACL",
        lambda: ec2.describe_network_acls(Filters=[{"Name": "vpc-id", "Values": [ledger.resources["vpc"]]}]),
    )
    yield (
        "disk",
        lambda: ec2.describe_volumes(
            Filters=[{"Name": "attachment.instance-id", "Values": [server["InstanceId"]]}]
        ),
    )


def running(ledger: Ledger) -> dict[str, Any]:
    """The lab's server, as AWS shows it."""
    ec2 = ledger.client("ec2")
    (reservation,) = ec2.describe_instances(InstanceIds=[ledger.resources["instance"]])["Reservations"]
    (server,) = reservation["Instances"]
    return dict(server)


def network_with(ledger: Ledger, gateway_id: str) -> None:
    """Delete a second network, in which there is nothing but a gateway."""
    ec2 = ledger.client("ec2")
    vpc_id = ledger.create("probe-vpc", ec2.create_vpc, CidrBlock="10.11.0.0/24")
    tie = {"InternetGatewayId": gateway_id, "VpcId": vpc_id}
    ledger.create("probe-tie", ec2.attach_internet_gateway, **tie)
    ec2.delete_vpc(VpcId=vpc_id)


def look_back(ledger: Ledger) -> str:
    """After `down`: what AWS still shows of the server and of the network's own things."""
    ec2 = ledger.client("ec2")
    ids = {row.name: row.id for row in ledger.journal.rows}
    shown = instances(ec2, {"Name": "instance-id", "Values": [ids["instance"]]})
    born = [{"Name": "vpc-id", "Values": [ids["vpc"]]}]
    acls = ec2.describe_network_acls(Filters=born)["NetworkAcls"]
    states = ", ".join(one["State"]["Name"] for one in shown) or "not shown"
    return f"the server is {states}; {len(acls)} network ACLs are left"


def key(ledger: Ledger, row: str, material: bytes) -> str:
    """A key pair through the ledger."""
    return ledger.create(
        row,
        ledger.client("ec2").import_key_pair,
        KeyName=f"{ledger.prefix}-{row}",
        PublicKeyMaterial=material,
    )
