"""What an account holds, seen with plain boto3: no word of the ledger's is believed here."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import boto3

AN_ID = re.compile(r"\b([a-z]+)-[0-9a-f]{8,17}\b")
A_NAME = re.compile(r"\bawslabs-[a-z0-9-]+?-[a-z0-9]{6}\b")  # what the names of one life of a lab begin with
A_TOKEN = re.compile(r"-\d{14}-[0-9a-f]{16}\b")


@dataclass(frozen=True)
class Thing:
    """One thing in the account.

    Attributes
    ----------
    kind : str
        ``ec2 vpc``.
    id : str
        Its identifier, or those of both ends.
    shape : str
        What a second, equal one would have in common with it: no ids, no names of one life of a lab.
    """

    kind: str
    id: str
    shape: str

    def __str__(self) -> str:
        return f"{self.kind} {self.id} {self.shape}".rstrip()


def thing(kind: str, id: str, *shape: object) -> Thing:
    """A `Thing`, with ids, names and tokens in its shape made equal (``vpc-...``)."""
    text = A_NAME.sub("awslabs", A_TOKEN.sub("", " ".join(str(one) for one in shape)))
    return Thing(kind, id, AN_ID.sub(r"\1-...", text))


def everything(client: Any, method: str, key: str, **request: Any) -> list[Any]:
    """All items of a listing, over its pages."""
    if client.can_paginate(method):
        return [one for page in client.get_paginator(method).paginate(**request) for one in page[key]]
    return getattr(client, method)(**request)[key]


def ec2(client: Any) -> Iterator[Thing]:
    """EC2 and VPC. What has terminated is gone, as AWS sees it."""
    for vpc in everything(client, "describe_vpcs", "Vpcs"):
        yield thing("ec2 vpc", vpc["VpcId"], vpc["CidrBlock"])
    for subnet in everything(client, "describe_subnets", "Subnets"):
        public = "public" if subnet["MapPublicIpOnLaunch"] else "private"
        yield thing("ec2 subnet", subnet["SubnetId"], subnet["CidrBlock"], public)
    for gateway in everything(client, "describe_internet_gateways", "InternetGateways"):
        yield thing("ec2 internet gateway", gateway["InternetGatewayId"])
        for tie in gateway["Attachments"]:
            yield thing("ec2 attachment", f"{gateway['InternetGatewayId']} {tie['VpcId']}")
    for table in everything(client, "describe_route_tables", "RouteTables"):
        yield thing("ec2 route table", table["RouteTableId"])
        for route in table["Routes"]:
            target = route.get("GatewayId") or route.get("NatGatewayId") or route.get("NetworkInterfaceId")
            where = route.get("DestinationCidrBlock")
            yield thing("ec2 route", f"{table['RouteTableId']} {where}", where, target, route.get("State"))
    for acl in everything(client, "describe_network_acls", "NetworkAcls"):
        yield thing("ec2 network acl", acl["NetworkAclId"])
    for group in everything(client, "describe_security_groups", "SecurityGroups"):
        default = group["GroupName"] if group["GroupName"] == "default" else ""
        yield thing("ec2 security group", group["GroupId"], default)
    for rule in everything(client, "describe_security_group_rules", "SecurityGroupRules"):
        way = "out" if rule["IsEgress"] else "in"
        what = [rule.get(name) for name in ("IpProtocol", "FromPort", "ToPort", "CidrIpv4", "Description")]
        yield thing("ec2 rule", f"{rule['GroupId']} {way} {what}", way, *what)
    for pair in everything(client, "describe_key_pairs", "KeyPairs"):
        yield thing("ec2 key pair", pair["KeyPairId"], pair["KeyType"])
    for reservation in everything(client, "describe_instances", "Reservations"):
        for instance in reservation["Instances"]:
            if instance["State"]["Name"] != "terminated":
                yield thing(
                    "ec2 instance",
                    instance["InstanceId"],
                    instance["InstanceType"],
                    instance["State"]["Name"],
                )
    for volume in everything(client, "describe_volumes", "Volumes"):
        yield thing("ec2 volume", volume["VolumeId"], volume["Size"], volume["VolumeType"])
    for interface in everything(client, "describe_network_interfaces", "NetworkInterfaces"):
        yield thing("ec2 network interface", interface["NetworkInterfaceId"])
    for address in everything(client, "describe_addresses", "Addresses"):
        yield thing("ec2 address", address["AllocationId"])
    for template in everything(client, "describe_launch_templates", "LaunchTemplates"):
        yield thing("ec2 launch template", template["LaunchTemplateId"])
    for image in everything(client, "describe_images", "Images", Owners=["self"]):
        yield thing("ec2 image", image["ImageId"])
    for gateway in everything(client, "describe_nat_gateways", "NatGateways"):
        yield thing("ec2 nat gateway", gateway["NatGatewayId"])
    for endpoint in everything(client, "describe_vpc_endpoints", "VpcEndpoints"):
        yield thing("ec2 vpc endpoint", endpoint["VpcEndpointId"])


def iam(client: Any) -> Iterator[Thing]:
    """IAM of the account, less what AWS itself keeps in it: service-linked roles stay, once they are made."""
    for role in everything(client, "list_roles", "Roles"):
        if role["Path"].startswith("/aws-service-role/"):
            continue
        yield thing("iam role", role["Arn"], role["Path"])
        attached = everything(
            client, "list_attached_role_policies", "AttachedPolicies", RoleName=role["RoleName"]
        )
        inline = everything(client, "list_role_policies", "PolicyNames", RoleName=role["RoleName"])
        for policy in [*(one["PolicyName"] for one in attached), *inline]:
            yield thing("iam policy of a role", f"{role['Arn']} {policy}")
    for profile in everything(client, "list_instance_profiles", "InstanceProfiles"):
        yield thing("iam instance profile", profile["Arn"], len(profile["Roles"]))
    for policy in everything(client, "list_policies", "Policies", Scope="Local"):
        yield thing("iam policy", policy["Arn"])


# A lab that calls another service brings its listing along.
LISTINGS: dict[str, Callable[[Any], Iterator[Thing]]] = {"ec2": ec2, "iam": iam}


def survey(services: tuple[str, ...], client: Callable[[str], Any] | None = None) -> set[Thing]:
    """Everything in the account that the environment's keys belong to, or those of the clients."""
    client = client or boto3.Session().client
    return {one for service in services for one in LISTINGS[service](client(service))}


def shapes(things: set[Thing]) -> Counter[str]:
    """How many there are of each."""
    return Counter(f"{one.kind} {one.shape}".rstrip() for one in things)
