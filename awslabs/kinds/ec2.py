"""EC2 and VPC: everything here takes tags in the call that creates it, and is found by them."""

from __future__ import annotations

import functools
import logging
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from awslabs import prices
from awslabs.kinds.kind import Found, Kind, Mark, Reason, Step
from awslabs.kinds.named import pages, parts, tags_in, unless

log = logging.getLogger(__name__)

# A fresh id is not known everywhere at once: "EC2 is eventually consistent" (AWS docs, "Troubleshooting API
# request errors"). These are answered for ids that a lab made a moment ago.
NOT_YET = (
    "InvalidVpcID.NotFound",
    "InvalidSubnetID.NotFound",
    "InvalidGroup.NotFound",
    "InvalidInternetGatewayID.NotFound",
    "InvalidRouteTableID.NotFound",
    "InvalidKeyPair.NotFound",
    "InvalidInstanceID.NotFound",
)
BUSY = ("DependencyViolation", "InvalidGroup.InUse", "IncorrectInstanceState")
FILTER_VALUES = 200  # of one filter in one call. Source: EC2 user guide, "Filtering and listing".


def tag_specifications(mark: Mark, *resource_types: str) -> list[dict[str, Any]]:
    """The TagSpecifications parameter that puts our tags on everything one call makes."""
    return [{"ResourceType": resource_type, "Tags": mark.tag_list()} for resource_type in resource_types]


def instances(ec2: Any, *filters: dict[str, Any]) -> list[dict[str, Any]]:
    """Servers as ``ec2:DescribeInstances`` shows them, out of their reservations."""
    reservations = pages(ec2, "describe_instances", "Reservations", Filters=list(filters))
    return [one for reservation in reservations for one in reservation["Instances"]]


def of_ledger(prefix: str) -> dict[str, Any]:
    """The filter for what carries a ledger's tag: Batch's machines do, though no row knows them."""
    return {"Name": "tag:awslabs:ledger", "Values": [prefix]}


def tagged(
    operation: str,
    noun: str,
    *,
    id_name: str = "",
    by_id: str = "",
    answer_in: str = "",
    marks: Callable[[dict[str, Any], Mark], dict[str, Any]] | None = None,
    read: Callable[[dict[str, Any]], list[dict[str, Any]]] | None = None,
    state: Callable[[dict[str, Any]], str] = lambda item: "standing",
    filters: tuple[dict[str, Any], ...] = (),
    names: tuple[str, ...] = (),
    since: str = "",
    priced: Callable[[Any, list[dict[str, Any]]], dict[str, dict[str, Any]]] = lambda client, items: {},
    **others: Any,
) -> Kind:
    """An entry for what EC2 tags at creation, and describes with a filter: of tags, or `by_id`.

    EC2 names all else by the noun: of an ``InternetGateway`` ``describe_internet_gateways``, which lists
    ``InternetGateways``, the ``InternetGatewayId`` and the filter ``internet-gateway-id``.
    """
    resource_type = re.sub(r"\B([A-Z])", r"-\1", noun).lower()
    describe, listing = f"describe_{resource_type.replace('-', '_')}s", f"{noun}s"
    id_name, by_id = id_name or f"{noun}Id", by_id or f"{resource_type}-id"

    def mark(request: dict[str, Any], mark: Mark) -> dict[str, Any]:
        request = {**request, "TagSpecifications": tag_specifications(mark, resource_type)}
        return marks(request, mark) if marks else request

    def ids(request: dict[str, Any], answer: dict[str, Any]) -> dict[str, str]:
        item = answer.get(answer_in, {}) if answer_in else answer
        if isinstance(item, list):
            item = item[0]
        return {name: item.get(name) or request[name] for name in (id_name, *names)}

    def find(client: Any, condition: dict[str, Any], *, with_prices: bool = False) -> list[Found]:
        paginator = client.get_paginator(describe) if client.can_paginate(describe) else None
        request = {"Filters": [condition, *filters]}
        answers = paginator.paginate(**request) if paginator else [getattr(client, describe)(**request)]
        items = [item for answer in answers for item in (read(answer) if read else answer[listing])]
        requests = priced(client, items) if with_prices else {}
        found = [
            Found(
                {name: item[name] for name in (id_name, *names)},
                state(item),
                tags_in(item.get("Tags")),
                str(item.get(since, "")),
                request=requests.get(item[id_name], {}),
            )
            for item in items
        ]
        return sorted(found, key=lambda one: (one.since, one.id))

    def look(client: Any, row: Any) -> list[Found]:
        found = find(client, {"Name": "tag:awslabs:token", "Values": [row.token]})
        if row.id and row.id not in [one.id for one in found]:
            found += find(client, {"Name": by_id, "Values": [row.id]})
        return found

    def at_once(client: Any, rows: list[Any], overview: Any) -> list[Found]:
        wanted = [row.id for row in rows if row.id]
        some = parts(wanted, FILTER_VALUES)
        return [one for part in some for one in find(client, {"Name": by_id, "Values": part})]

    with_token = {"Name": "tag-key", "Values": ["awslabs:token"]}
    return Kind(
        call=f"ec2:{operation}",
        ids=ids,
        mark=mark,
        look=look,
        listed=lambda client, overview: find(client, with_token, with_prices=True),
        at_once=at_once,
        not_yet=NOT_YET,
        busy=BUSY,
        **others,
    )


# -- VPC, subnet, gateway ------------------------------------------------------------------------------


def delete_vpc(ec2: Any, found: Found) -> None:
    with naming_guardduty(ec2, lambda: found.id):
        ec2.delete_vpc(VpcId=found.id)


def delete_subnet(ec2: Any, found: Found) -> None:
    with naming_guardduty(ec2, lambda: ec2.describe_subnets(SubnetIds=[found.id])["Subnets"][0]["VpcId"]):
        ec2.delete_subnet(SubnetId=found.id)


@contextmanager
def naming_guardduty(ec2: Any, vpc_of: Callable[[], str]) -> Iterator[None]:
    """Where GuardDuty's Runtime Monitoring holds a network of ours, its refusal names what to delete.

    GuardDuty puts an endpoint and a security group into the network of whatever it watches, and keeps them
    until it is switched off. They are not ours, so they are not deleted here; `down` waits for it meanwhile.
    Source: GuardDuty user guide, "Using Infrastructure as Code with GuardDuty automated security agents".
    """
    try:
        yield
    except ec2.exceptions.ClientError as error:
        if error.response["Error"]["Code"] == "DependencyViolation":
            error.response["Error"]["Message"] += guardduty_in(ec2, vpc_of)
        raise


def guardduty_in(ec2: Any, vpc_of: Callable[[], str]) -> str:
    """What to do about GuardDuty's things in a VPC; empty where there are none, or one may not look."""
    try:
        in_it = {"Name": "vpc-id", "Values": [vpc_of()]}
        endpoints = [
            one["VpcEndpointId"]
            for one in ec2.describe_vpc_endpoints(Filters=[in_it])["VpcEndpoints"]
            if one["ServiceName"].endswith(".guardduty-data") and one["State"] != "deleted"
        ]
        groups = [
            one["GroupId"]
            for one in ec2.describe_security_groups(Filters=[in_it])["SecurityGroups"]
            if one["GroupName"].startswith("GuardDutyManagedSecurityGroup-")
        ]
    except ec2.exceptions.ClientError as error:
        log.debug("it was not looked for what GuardDuty has made: %s", error)
        return ""
    if not endpoints and not groups:
        return ""
    region = f"--region {ec2.meta.region_name}"
    ends = (
        [f"aws ec2 delete-vpc-endpoints --vpc-endpoint-ids {' '.join(endpoints)} {region}"]
        if endpoints
        else []
    )
    ends += [f"aws ec2 delete-security-group --group-id {group} {region}" for group in groups]
    told = (
        f" Amazon GuardDuty has put {' and '.join([*endpoints, *groups])} into this network. They are not "
        f"the lab's; delete them, and it goes on: {'    # some minutes later: '.join(ends)}"
    )
    tell(told.strip())
    return told


@functools.cache
def tell(what: str) -> None:
    """Say it once, while `down` goes on trying."""
    log.warning("%s", what)


VPC = tagged(
    "CreateVpc",
    "Vpc",
    answer_in="Vpc",
    not_idempotent=True,
    described_by=("CidrBlock",),
    delete=delete_vpc,
    absent=("InvalidVpcID.NotFound",),
)

SUBNET = tagged(
    "CreateSubnet",
    "Subnet",
    answer_in="Subnet",
    taken=("InvalidSubnet.Conflict",),
    looked_up=("AvailabilityZone",),
    described_by=("CidrBlock",),
    delete=delete_subnet,
    absent=("InvalidSubnetID.NotFound",),
)


def delete_internet_gateway(ec2: Any, found: Found) -> None:
    """Delete a gateway of ours; from a VPC of its ledger (their join was lost) it is taken off first.

    It stays on somebody else's VPC: AWS refuses the deletion then.
    """
    try:
        ec2.delete_internet_gateway(InternetGatewayId=found.id)
    except ec2.exceptions.ClientError as error:
        if error.response["Error"]["Code"] != "DependencyViolation":
            raise
        (gateway,) = ec2.describe_internet_gateways(InternetGatewayIds=[found.id])["InternetGateways"]
        attached = {
            "vpc-id": [attachment["VpcId"] for attachment in gateway["Attachments"]],
            "tag:awslabs:ledger": [found.tags.get("awslabs:ledger", "none")],
        }
        filters = [{"Name": name, "Values": values} for name, values in attached.items()]
        for vpc in ec2.describe_vpcs(Filters=filters)["Vpcs"]:
            ec2.detach_internet_gateway(InternetGatewayId=found.id, VpcId=vpc["VpcId"])
        ec2.delete_internet_gateway(InternetGatewayId=found.id)


INTERNET_GATEWAY = tagged(
    "CreateInternetGateway",
    "InternetGateway",
    answer_in="InternetGateway",
    not_idempotent=True,
    delete=delete_internet_gateway,
    absent=("InvalidInternetGatewayID.NotFound", "Gateway.NotAttached"),
)


def look_for_attachments(ec2: Any, rows: list[Any]) -> list[Found]:
    """The ties of these rows' gateways to VPCs. They carry no tag: a row's two ids are its mark."""
    found, wanted = [], sorted({row.ids["InternetGatewayId"] for row in rows})
    for some in parts(wanted, FILTER_VALUES):
        by_id = {"Name": "internet-gateway-id", "Values": some}
        for gateway in pages(ec2, "describe_internet_gateways", "InternetGateways", Filters=[by_id]):
            for tie in gateway["Attachments"]:
                ids = {"InternetGatewayId": gateway["InternetGatewayId"], "VpcId": tie["VpcId"]}
                state = {"attaching": "coming", "detaching": "going"}.get(tie["State"], "standing")
                found += [Found(ids, state)] if tie["State"] != "detached" else []
    return found


def look_for_attachment(ec2: Any, row: Any) -> list[Found]:
    """The tie between this gateway and this VPC."""
    return [one for one in look_for_attachments(ec2, [row]) if one.ids["VpcId"] == row.ids["VpcId"]]


GATEWAY_ATTACHMENT = Kind(
    call="ec2:AttachInternetGateway",
    known_by=("InternetGatewayId", "VpcId"),
    ids=lambda request, answer: {name: request[name] for name in ("InternetGatewayId", "VpcId")},
    look=look_for_attachment,
    at_once=lambda ec2, rows, overview: look_for_attachments(ec2, rows),
    delete=lambda ec2, found: ec2.detach_internet_gateway(**found.ids),
    ends=("InternetGatewayId", "VpcId"),
    taken=("Resource.AlreadyAssociated",),
    not_yet=NOT_YET,
    busy=BUSY,
    absent=("Gateway.NotAttached", "InvalidInternetGatewayID.NotFound", "InvalidVpcID.NotFound"),
)


# -- Firewall and key ----------------------------------------------------------------------------------

SECURITY_GROUP = tagged(
    "CreateSecurityGroup",
    "SecurityGroup",
    id_name="GroupId",
    by_id="group-id",
    names=("GroupName",),
    taken=("InvalidGroup.Duplicate",),
    delete=lambda ec2, found: ec2.delete_security_group(GroupId=found.ids["GroupId"]),
    absent=("InvalidGroup.NotFound",),
)

KEY_PAIR = tagged(
    "ImportKeyPair",
    "KeyPair",
    id_name="KeyName",
    by_id="key-name",
    since="CreateTime",
    taken=("InvalidKeyPair.Duplicate",),
    delete=lambda ec2, found: ec2.delete_key_pair(KeyName=found.id),
    absent=("InvalidKeyPair.NotFound",),
)


# -- Servers -------------------------------------------------------------------------------------------


def mark_instance(request: dict[str, Any], mark: Mark) -> dict[str, Any]:
    """Our token as ClientToken, our tags on the server, its volumes and its network interfaces.

    On a Spot request, too. A one-time request ends with its server, so nothing of it has to be deleted.
    Source: EC2 user guide, "Spot Instance request status" (instance-terminated-by-user).
    """
    types = ["instance", "volume", "network-interface"]
    if "InstanceMarketOptions" in request:
        types.append("spot-instances-request")
    return {**request, "ClientToken": mark.token, "TagSpecifications": tag_specifications(mark, *types)}


def instance_usd_per_hour(request: dict[str, Any], region: str) -> float | None:
    """The server, its public address and its disks, while it runs."""
    is_spot = request.get("InstanceMarketOptions", {}).get("MarketType") == "spot"
    disks = sum(
        mapping.get("Ebs", {}).get("VolumeSize", 0) for mapping in request.get("BlockDeviceMappings", [])
    )
    return prices.server_hour(request.get("InstanceType", ""), region, disks, spot=is_spot)


def instance_requests(ec2: Any, items: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """What the prices of servers hang on, by id; of none, where their disks cannot be looked at.

    AWS calls: ``ec2:DescribeVolumes``.
    """
    ours = [{"Name": "tag-key", "Values": ["awslabs:token"]}]
    refused = ("UnauthorizedOperation", "AccessDenied")
    volumes = unless(refused, pages, ec2, "describe_volumes", "Volumes", Filters=ours) if items else []
    if volumes is None:
        return {}
    requests = {
        item["InstanceId"]: {
            "InstanceType": item["InstanceType"],
            "InstanceMarketOptions": {"MarketType": item.get("InstanceLifecycle", "")},
            "BlockDeviceMappings": [],
        }
        for item in items
    }
    for volume in volumes:
        for tie in volume["Attachments"]:
            if request := requests.get(tie["InstanceId"]):
                request["BlockDeviceMappings"].append({"Ebs": {"VolumeSize": volume["Size"]}})
    return requests


def its_own_end(request: dict[str, Any]) -> dict[str, str]:
    """After how many minutes a server's own timer ends it, of its user data; nothing for one without."""
    minutes = re.search(r"\+(\d+) minutes", str(request.get("UserData", "")))
    return {"ttl_minutes": minutes[1]} if minutes else {}


INSTANCE = tagged(
    "RunInstances",
    "Instance",
    answer_in="Instances",
    marks=mark_instance,
    read=lambda answer: [item for reservation in answer["Reservations"] for item in reservation["Instances"]],
    # A terminated server stays describable for about an hour: it is gone all the same.
    filters=(
        {
            "Name": "instance-state-name",
            "Values": ["pending", "running", "stopping", "stopped", "shutting-down"],
        },
    ),
    state=lambda item: {"pending": "coming", "shutting-down": "going"}.get(item["State"]["Name"], "standing"),
    since="LaunchTime",
    looked_up=("ImageId", "BlockDeviceMappings", "SubnetId"),  # it stands in the zone that had room
    described_by=("InstanceType",),
    priced=instance_requests,
    deletes_slowly=True,
    delete=lambda ec2, found: ec2.terminate_instances(InstanceIds=[found.id]),
    absent=("InvalidInstanceID.NotFound",),
    tells=its_own_end,
    usd_per_hour=instance_usd_per_hour,
)

KINDS = [VPC, SUBNET, INTERNET_GATEWAY, GATEWAY_ATTACHMENT, SECURITY_GROUP, KEY_PAIR, INSTANCE]


# -- What dies with its parent ---------------------------------------------------------------------------


def subnet_attribute(ec2: Any, wanted: dict[str, Any]) -> Iterator[Step]:
    """ModifySubnetAttribute, where the attribute has another value."""
    (subnet,) = ec2.describe_subnets(SubnetIds=[wanted["SubnetId"]])["Subnets"]
    if any(subnet[name] != value["Value"] for name, value in wanted.items() if name != "SubnetId"):
        yield ec2.modify_subnet_attribute, wanted


def route(ec2: Any, wanted: dict[str, Any]) -> Iterator[Step]:
    """CreateRoute, or ReplaceRoute where the same destination leads elsewhere."""
    (table,) = ec2.describe_route_tables(RouteTableIds=[wanted["RouteTableId"]])["RouteTables"]
    same = [
        one for one in table["Routes"] if one.get("DestinationCidrBlock") == wanted["DestinationCidrBlock"]
    ]
    if not same:
        yield ec2.create_route, wanted
    elif same[0].get("GatewayId") != wanted["GatewayId"] or same[0].get("State") == "blackhole":
        yield ec2.replace_route, wanted


def ingress(ec2: Any, wanted: dict[str, Any]) -> Iterator[Step]:
    """AuthorizeSecurityGroupIngress for what is missing; older addresses of ours on the same port go.

    Ours are those whose description begins with ``awslabs``: a rule that someone added by hand stays.
    """
    (group,) = ec2.describe_security_groups(GroupIds=[wanted["GroupId"]])["SecurityGroups"]
    for permission in wanted["IpPermissions"]:
        ports = {name: permission[name] for name in ("IpProtocol", "FromPort", "ToPort")}
        there = [
            one
            for rule in group["IpPermissions"]
            if all(rule.get(name) == value for name, value in ports.items())
            for one in rule["IpRanges"]
        ]
        cidrs = {one["CidrIp"] for one in permission["IpRanges"]}
        missing = [
            one for one in permission["IpRanges"] if one["CidrIp"] not in {old["CidrIp"] for old in there}
        ]
        stale = [
            {"CidrIp": one["CidrIp"]}
            for one in there
            if one["CidrIp"] not in cidrs and one.get("Description", "").startswith("awslabs")
        ]
        for step, ranges in (
            (ec2.authorize_security_group_ingress, missing),
            (ec2.revoke_security_group_ingress, stale),
        ):
            if ranges:
                yield step, {"GroupId": wanted["GroupId"], "IpPermissions": [{**ports, "IpRanges": ranges}]}


def started(ec2: Any, wanted: dict[str, Any]) -> Iterator[Step]:
    """StartInstances for a server that someone stopped; refused, and tried again, while it still stops."""
    answer = ec2.describe_instances(InstanceIds=wanted["InstanceIds"])
    states = [
        item["State"]["Name"] for reservation in answer["Reservations"] for item in reservation["Instances"]
    ]
    if {"stopping", "stopped"} & set(states):
        yield ec2.start_instances, wanted


ENSURES = {
    "ec2:ModifySubnetAttribute": subnet_attribute,
    "ec2:CreateRoute": route,
    "ec2:AuthorizeSecurityGroupIngress": ingress,
    "ec2:StartInstances": started,
}


# -- What a reader is told ---------------------------------------------------------------------------------

REASONS = {
    "ec2:CreateVpc": Reason(
        "A network of your own within AWS (a VPC), with the addresses that you choose.",
        "What stands in it is cut off from everybody else, and from the internet, until you open a way.",
        "AWS の中に作る自分専用のネットワークです（VPC）。使うアドレスは自分で決めます。",
        "道を開けない限り、中のものは他人からもインターネットからも切り離されています。",
    ),
    "ec2:CreateSubnet": Reason(
        "A part of the network's addresses, in one zone (a subnet).",
        "A server is always put into a subnet, and so into a zone.",
        "ネットワークのアドレスの一部を、ひとつのゾーンに置いたものです（サブネット）。",
        "サーバーは必ずどれかのサブネットに、つまりどれかのゾーンに置かれます。",
    ),
    "ec2:ModifySubnetAttribute": Reason(
        "A setting of the subnet: what starts in it gets a public address, too.",
        "Without one nothing on the internet could reach it, and it could reach nothing there.",
        "サブネットの設定です。ここで起動したものには公開アドレスも付きます。",
        "公開アドレスがないと、インターネットとの間でどちら向きにも届きません。",
    ),
    "ec2:CreateInternetGateway": Reason(
        "A door between a network and the internet (an internet gateway).",
        "A new network has none, so nothing could come in or go out.",
        "ネットワークとインターネットの間の扉です（インターネットゲートウェイ）。",
        "新しいネットワークには扉がないので、何も出入りできません。",
    ),
    "ec2:AttachInternetGateway": Reason(
        "It puts the gateway onto the network.",
        "A gateway is made by itself, and serves the one network that it is attached to.",
        "ゲートウェイをネットワークに取り付けます。",
        "ゲートウェイは単独で作られ、取り付けた先のネットワークだけで働きます。",
    ),
    "ec2:CreateRoute": Reason(
        "A line in the network's route table: what is for any address outside goes to the gateway.",
        "The door alone is not enough; the network must also know the way to it.",
        "ルートテーブルの一行です。外のアドレス宛てのものはすべてゲートウェイへ送ります。",
        "扉があるだけでは足りず、そこへ行く道も教える必要があります。",
    ),
    "ec2:CreateSecurityGroup": Reason(
        "A firewall around servers (a security group): it lists who may connect, and to which port.",
        "A new one lets nobody in, so whatever is open was opened on purpose.",
        "サーバーを囲むファイアウォールです（セキュリティグループ）。誰がどのポートに接続できるかを並べます。",
        "最初は誰も入れません。開いているものはすべて、意図して開けたものです。",
    ),
    "ec2:AuthorizeSecurityGroupIngress": Reason(
        "A rule of the firewall: who comes from these addresses may connect to this port.",
        "It lets in SSH, by which one logs in, from the one address that is yours.",
        "ファイアウォールの規則です。このアドレスからは、このポートに接続できます。",
        "ログインに使う SSH を、あなたのアドレスからだけ通します。",
    ),
    "ec2:ImportKeyPair": Reason(
        "The public half of your SSH key, handed to AWS (a key pair).",
        "AWS puts it onto the server. Only the private half, which never leaves this computer, opens it.",
        "SSH 鍵の公開側を AWS に渡したものです（キーペア）。",
        "AWS がサーバーに置きます。このパソコンから出ない秘密側だけで開けられます。",
    ),
    "ec2:RunInstances": Reason(
        "A server (an instance): a virtual machine of the size that you ask for, started from an image.",
        "It is what all the rest was made for. From here on it costs money, by the second.",
        "サーバーです（インスタンス）。頼んだ大きさの仮想マシンを、イメージから起動します。",
        "ここまでの準備はすべてこのためです。ここから先は秒単位で料金がかかります。",
    ),
    "ec2:StartInstances": Reason(
        "It starts the server again, if somebody has stopped it.",
        "A second `up` shall find it running; for a server that runs no call is made.",
        "誰かがサーバーを止めていたら、もう一度起動します。",
        "二度目の `up` の後も動いているためです。動いていれば何も呼びません。",
    ),
}
