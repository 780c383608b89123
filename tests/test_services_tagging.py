"""The rules of tags and key pairs."""

from __future__ import annotations

from unittest.mock import patch

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from moto.ec2.models import ec2_backends
from test_services_support import Case, check, client, cloud, net, refused, said, table

TAG = [{"Key": "lab", "Value": "1"}]


def openssh(key: object) -> bytes:
    encoding, form = serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH
    return key.public_key().public_bytes(encoding, form)  # type: ignore[attr-defined]


def reserved_key_on_a_thing_that_stands() -> str:
    reserved = [{"Key": "aws:lab", "Value": "1"}]
    return said(client("ec2").create_tags, Resources=[net().vpc_id], Tags=reserved)


def reserved_key_at_creation() -> str:
    specs = [{"ResourceType": "vpc", "Tags": [{"Key": "AWS:lab", "Value": "1"}]}]
    return said(client("ec2").create_vpc, CidrBlock="10.0.0.0/16", TagSpecifications=specs)


def tags_for_nobody() -> list[str]:
    nobody = ("i-0123456789abcdef0", "key-0123456789abcdef0")
    return [said(client("ec2").create_tags, Resources=[each], Tags=TAG) for each in nobody]


def tags_of_what_is_gone() -> int:
    ec2 = client("ec2")
    vpc_id = ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
    group = ec2.create_security_group(VpcId=vpc_id, GroupName="lab", Description="x")["GroupId"]
    gateway = ec2.create_internet_gateway()["InternetGateway"]["InternetGatewayId"]
    subnet = ec2.create_subnet(VpcId=vpc_id, CidrBlock="10.0.0.0/24")["Subnet"]["SubnetId"]
    routes = ec2.create_route_table(VpcId=vpc_id)["RouteTable"]["RouteTableId"]
    key = ec2.create_key_pair(KeyName="lab")["KeyPairId"]
    volume = ec2.create_volume(AvailabilityZone="us-east-1a", Size=1)["VolumeId"]
    ec2.create_tags(Resources=[vpc_id, group, gateway, subnet, routes, key, volume], Tags=TAG)
    ec2.delete_volume(VolumeId=volume)
    ec2.delete_key_pair(KeyName="lab")
    ec2.delete_route_table(RouteTableId=routes)
    ec2.delete_subnet(SubnetId=subnet)
    ec2.delete_internet_gateway(InternetGatewayId=gateway)
    ec2.delete_security_group(GroupId=group)
    ec2.delete_vpc(VpcId=vpc_id)
    return len(ec2.describe_tags()["Tags"])


def key_pairs_found() -> list[str]:
    specs = [{"ResourceType": "key-pair", "Tags": TAG}]
    client("ec2").create_key_pair(KeyName="lab", TagSpecifications=specs)
    filters = [{"Key": "lab", "Values": ["1"]}]
    found = client("resourcegroupstaggingapi").get_resources(TagFilters=filters)["ResourceTagMappingList"]
    return [each["ResourceARN"].rpartition("/")[0] for each in found]


def repositories_found() -> list[str]:
    client("ecr").create_repository(repositoryName="lab", tags=TAG)
    client("ecr").create_repository(repositoryName="another")
    filters = [{"Key": "lab", "Values": ["1"]}]
    find = client("resourcegroupstaggingapi").get_resources
    asked = (["ecr"], ["ecr:repository"], ["ec2"])
    found = [find(TagFilters=filters, ResourceTypeFilters=each)["ResourceTagMappingList"] for each in asked]
    return [each["ResourceARN"].rpartition(":")[2] for some in found for each in some]


def key_names() -> list[str]:
    names = ("größe", "k" * 256, " lab", "fine one")
    return [said(client("ec2").create_key_pair, KeyName=name, KeyType="ed25519") for name in names]


def an_odd_rsa_key() -> str:
    key = rsa.generate_private_key(public_exponent=65537, key_size=1536)
    return said(client("ec2").import_key_pair, KeyName="lab", PublicKeyMaterial=openssh(key))


def one_of_two_key_pairs() -> list[object]:
    ec2 = client("ec2")
    ids = [ec2.create_key_pair(KeyName=name, KeyType="ed25519")["KeyPairId"] for name in ("one", "two")]
    shown = [each["KeyName"] for each in ec2.describe_key_pairs(KeyPairIds=ids[:1])["KeyPairs"]]
    unknown = said(ec2.describe_key_pairs, KeyPairIds=["key-0123456789abcdef0"])
    ec2.delete_key_pair(KeyPairId=ids[0])
    return [shown, unknown, [each["KeyName"] for each in ec2.describe_key_pairs()["KeyPairs"]]]


def tags_looked_through() -> bool:
    """Whether showing one thing's tags asks for all of them: `quick_tags` changes no answer."""
    here, backend = net(), ec2_backends["123456789012"]["us-east-1"]
    client("ec2").create_tags(Resources=[here.vpc_id], Tags=TAG)
    with patch.object(backend, "describe_tags", wraps=backend.describe_tags) as all_tags:
        client("ec2").describe_vpcs(VpcIds=[here.vpc_id])
    return all_tags.called


CASES = (
    Case("reserved_tags", reserved_key_on_a_thing_that_stands, "ok", "InvalidParameterValue"),
    Case("reserved_tags", reserved_key_at_creation, "ok", "InvalidParameterValue"),
    Case(
        "tagged_things_exist",
        tags_for_nobody,
        ["ok", "ok"],
        ["InvalidInstanceID.NotFound", "InvalidKeyPair.NotFound"],
    ),
    Case("tags_go_with_the_thing", tags_of_what_is_gone, 7, 0),
    Case("repositories_are_found", repositories_found, [], ["repository/lab", "repository/lab"]),
    Case("key_pairs_are_found", key_pairs_found, [], ["arn:aws:ec2:us-east-1:123456789012:key-pair"]),
    Case("quick_tags", tags_looked_through, True, False),
    Case("key_pair_name_is_valid", key_names, ["ok"] * 4, ["InvalidParameterValue"] * 3 + ["ok"]),
    Case("imported_key_is_supported", an_odd_rsa_key, "ok", "InvalidKey.Format"),
    Case(
        "key_pair_by_id",
        one_of_two_key_pairs,
        [["one", "two"], "ok", ["one", "two"]],
        [["one"], "InvalidKeyPair.NotFound", ["two"]],
    ),
)


@table(*CASES)
def test_moto_lets_it_pass_and_aws_does_not(case: Case) -> None:
    check(case)


def test_tags_are_shown_and_filtered_as_before() -> None:
    with cloud(every=True):
        here, ec2 = net(), client("ec2")
        ec2.create_tags(Resources=[here.vpc_id], Tags=TAG)
        assert ec2.describe_vpcs(VpcIds=[here.vpc_id])["Vpcs"][0]["Tags"] == TAG
        for name, value in (("tag:lab", "1"), ("tag-key", "lab")):
            found = ec2.describe_vpcs(Filters=[{"Name": name, "Values": [value]}])["Vpcs"]
            assert [each["VpcId"] for each in found] == [here.vpc_id]
        assert ec2.describe_vpcs(Filters=[{"Name": "tag:lab", "Values": ["2"]}])["Vpcs"] == []


@pytest.mark.parametrize("bits", [2048, 4096])
def test_usual_rsa_keys_and_ed25519_are_imported(bits: int) -> None:
    with cloud(every=True):
        ec2 = client("ec2")
        rsa_key = openssh(rsa.generate_private_key(public_exponent=65537, key_size=bits))
        ed_key = openssh(ed25519.Ed25519PrivateKey.generate())
        assert said(ec2.import_key_pair, KeyName="rsa", PublicKeyMaterial=rsa_key) == "ok"
        assert said(ec2.import_key_pair, KeyName="ed", PublicKeyMaterial=ed_key) == "ok"
        assert said(ec2.import_key_pair, KeyName="ed", PublicKeyMaterial=ed_key) == "InvalidKeyPair.Duplicate"
        assert said(ec2.create_key_pair, KeyName="rsa") == "InvalidKeyPair.Duplicate"
        assert said(ec2.delete_key_pair, KeyName="never seen") == "ok"


@pytest.mark.parametrize("text", [b"", b"hello", b"ssh-ed25519 AAAA", b"ssh-rsa !!"])
def test_what_is_no_key_is_refused(text: bytes) -> None:
    with cloud(every=True):
        assert (
            said(client("ec2").import_key_pair, KeyName="lab", PublicKeyMaterial=text) == "InvalidKey.Format"
        )


def test_an_elliptic_curve_key_is_refused() -> None:
    with cloud(every=True):
        key = openssh(ec.generate_private_key(ec.SECP256R1()))
        code, message, _ = refused(client("ec2").import_key_pair, KeyName="lab", PublicKeyMaterial=key)
        assert (code, message) == ("InvalidKey.Format", "Key is not in valid OpenSSH public key format")


def test_the_tagging_api_finds_what_the_fact_sheet_says() -> None:
    with cloud(every=True):
        here, ec2 = net(), client("ec2")
        kinds = ("instance", "volume", "network-interface")
        here.launch(TagSpecifications=[{"ResourceType": kind, "Tags": TAG} for kind in kinds])
        ec2.create_tags(
            Resources=[here.vpc_id, here.subnet_id, here.group_id, here.gateway_id, here.table_id], Tags=TAG
        )
        filters = [{"Key": "lab", "Values": ["1"]}]
        found = client("resourcegroupstaggingapi").get_resources(TagFilters=filters)["ResourceTagMappingList"]
        kinds_found = {each["ResourceARN"].split(":")[5].partition("/")[0] for each in found}
        assert kinds_found == {*kinds, "vpc", "subnet", "security-group", "internet-gateway", "route-table"}
