"""What AWS shows of one lab: the state of each thing in AWS's own words, why it waits, what it lets in.

    looked = look(cloud.client, header, rows)

Many things are asked for in one call. These are describe calls, all of which are free. What one may not look
at is ``not shown``; it stops nothing else.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from awslabs import addresses
from awslabs.explain import DENIED, THROTTLED, boto3_errors, error_code
from awslabs.journal import Row
from awslabs.kinds import KINDS
from awslabs.kinds.batch import described
from awslabs.kinds.ec2 import instances, of_ledger
from awslabs.kinds.named import pages, parts
from awslabs.progress import each

AT_ONCE = 8
PORTS = {22: "SSH", 80: "HTTP", 443: "HTTPS", 8888: "Jupyter"}
Words = dict[str, str]  # by language: en, ja
Client = Callable[[str], Any]
Seen = dict[str, "Shown"]  # by a thing's identifier
Looker = Callable[[Any, list[Row], Mapping[str, Any]], Seen]  # client, rows, the ledger's header


@dataclasses.dataclass
class Shown:
    """One thing as AWS shows it.

    Attributes
    ----------
    stage : str
        ``coming``, ``standing``, ``going``, ``ended``, ``failed``; ``hidden``: one may not look; ``absent``:
        AWS does not show it.
    state : str
        AWS's own word: ``running``, ``RUNNABLE``.
    why : dict of str
        Why it waits or has ended, by language.
    facts : list of (str, str or dict)
        What else a person may want to know: its name, and what AWS says, by language where words are ours.
    zone : str
        Its availability zone.
    """

    stage: str
    state: str = ""
    why: Words = dataclasses.field(default_factory=dict)
    facts: list[tuple[str, Any]] = dataclasses.field(default_factory=list)
    zone: str = ""


@dataclasses.dataclass
class Looked:
    """What AWS shows of a lab.

    Attributes
    ----------
    shown : dict
        By the number of the row.
    others : list of dict
        What stands without a row: the machines of Batch. Each with ``id``, ``name``, ``state``, ``stage``,
        ``zone``, ``subnet``.
    throttled : bool
        AWS asks for fewer calls.
    """

    shown: dict[int, Shown] = dataclasses.field(default_factory=dict)
    others: list[dict[str, str]] = dataclasses.field(default_factory=list)
    throttled: bool = False


class Barred(Exception):
    """Nothing can be looked at: the credentials have expired, or the cloud does not answer."""

    def __init__(self, call: str, error: Exception) -> None:
        super().__init__(str(error))
        self.call, self.error = call, error


def look(client: Client, header: Mapping[str, Any], rows: Iterable[Row]) -> Looked:
    """Look at all open rows of a lab.

    Raises
    ------
    Barred
        When the first answer says that none of these calls can succeed.
    """
    still = [row for row in rows if row.open and row.call in KINDS and row.state != "creating"]
    groups: dict[str, list[Row]] = {}
    for row in still:
        groups.setdefault(row.call, []).append(row)
    looked = Looked()

    def one(call: str) -> None:
        many = groups[call]
        try:
            looked.shown.update(_look_at(client, header, call, many))
        except boto3_errors() as error:
            code = error_code(error)
            if code in THROTTLED:
                looked.throttled = True
            elif code in DENIED:
                looked.shown.update({row.number: Shown("hidden", "not shown") for row in many})
            else:
                raise Barred(call, error) from error

    each(one, groups, AT_ONCE)
    return looked


def _look_at(client: Client, header: Mapping[str, Any], call: str, rows: list[Row]) -> dict[int, Shown]:
    """What is special about a kind, or else what its entry in `kinds` sees of each row."""
    service = client(call.partition(":")[0])
    if special := SPECIAL.get(call):
        named = [row for row in rows if row.id]
        seen = special(service, named, header) if named else {}
        return {row.number: seen.get(row.id) or Shown("absent") for row in rows}
    kind = KINDS[call]

    def state(row: Row) -> Shown:
        found = kind.seen(service, row)
        return Shown(found[0].state, "") if found else Shown("absent")

    return dict(zip((row.number for row in rows), each(state, rows, 4), strict=True))


def one_by_one(ask: Callable[[Any, str], Shown], gone: str = "ResourceNotFoundException") -> Looker:
    """Asks for things that AWS shows one in a call; what is `gone` it does not show."""

    def seen(client: Any, rows: list[Row], header: Mapping[str, Any]) -> Seen:
        def one(row: Row) -> Shown:
            try:
                return ask(client, row.id)
            except getattr(client.exceptions, gone):
                return Shown("absent")

        return dict(zip((row.id for row in rows), each(one, rows, 4), strict=True))

    return seen


def clause(en: str, ja: str) -> Words:
    return {"en": en, "ja": ja}


# -- The network ------------------------------------------------------------------------------------------


def _by_id(ec2: Any, rows: list[Row], describe: str, listing: str, by: str) -> dict[str, dict[str, Any]]:
    """What EC2 shows under these rows' identifiers; a filter refuses none that is gone."""
    found = []
    for some in parts([row.id for row in rows], 200):
        found += pages(ec2, describe, listing, Filters=[{"Name": by, "Values": some}])
    id_name = next(iter(rows[0].ids))
    return {one[id_name]: one for one in found}


def vpcs(ec2: Any, rows: list[Row], header: Mapping[str, Any]) -> Seen:
    """VPCs, with the routes of their tables in words."""
    found = _by_id(ec2, rows, "describe_vpcs", "Vpcs", "vpc-id")
    within = [{"Name": "vpc-id", "Values": list(found)}]
    tables = pages(ec2, "describe_route_tables", "RouteTables", Filters=within) if found else []
    seen = {}
    for vpc_id, one in found.items():
        routes = [route for table in tables if table["VpcId"] == vpc_id for route in table.get("Routes", [])]
        facts: list[tuple[str, Any]] = [("addresses", one["CidrBlock"])]
        facts += [("route", _route(route)) for route in routes]
        stage = "standing" if one["State"] == "available" else "coming"
        seen[vpc_id] = Shown(stage, one["State"], facts=facts)
    return seen


def _route(route: Mapping[str, Any]) -> Words:
    to = route.get("DestinationCidrBlock") or route.get("DestinationIpv6CidrBlock") or "?"
    by = route.get("GatewayId") or route.get("NatGatewayId") or route.get("NetworkInterfaceId") or "?"
    if by == "local":
        return clause(f"{to} stays inside", f"{to} は内側で届く")
    everything = to == "0.0.0.0/0"
    return clause(
        f"{'everything else' if everything else to} by {by}",
        f"{'それ以外すべて' if everything else to} は {by} へ",
    )


def subnets(ec2: Any, rows: list[Row], header: Mapping[str, Any]) -> Seen:
    found = _by_id(ec2, rows, "describe_subnets", "Subnets", "subnet-id")
    return {
        subnet_id: Shown(
            "standing" if one["State"] == "available" else "coming",
            one["State"],
            facts=[("addresses", one["CidrBlock"]), ("free addresses", str(one["AvailableIpAddressCount"]))],
            zone=one["AvailabilityZone"],
        )
        for subnet_id, one in found.items()
    }


def groups(ec2: Any, rows: list[Row], header: Mapping[str, Any]) -> Seen:
    """Security groups, and what each lets in and out, in words."""
    found = _by_id(ec2, rows, "describe_security_groups", "SecurityGroups", "group-id")
    seen, nothing = {}, clause("nothing", "なし")
    for group_id, one in found.items():
        into = [rule for each in one["IpPermissions"] for rule in in_words(each)]
        out = [rule for each in one["IpPermissionsEgress"] for rule in in_words(each, "to")]
        facts = [("lets in", rule) for rule in into or [nothing]]
        facts += [("lets out", rule) for rule in out or [nothing]]
        seen[group_id] = Shown("standing", facts=facts)
    return seen


def in_words(rule: Mapping[str, Any], way: str = "from") -> list[Words]:
    """``SSH from 203.0.113.7 only``: one rule of a security group, a sentence for each source."""
    protocol, first, last = rule.get("IpProtocol"), rule.get("FromPort"), rule.get("ToPort")
    if protocol == "-1":
        en, ja = "everything", "すべて"
    elif protocol in ("icmp", "icmpv6"):
        en = ja = "ping"
    elif first is None or (first, last) == (0, 65535):
        en, ja = f"all {protocol}", f"すべての{protocol}"
    elif first == last:
        en = ja = PORTS.get(first, f"{protocol} {first}") if protocol == "tcp" else f"{protocol} {first}"
    else:
        en = ja = f"{protocol} {first}-{last}"
    sources = [one["CidrIp"] for one in rule.get("IpRanges", [])]
    sources += [one["CidrIpv6"] for one in rule.get("Ipv6Ranges", [])]
    found = []
    for source in sources:
        if source in ("0.0.0.0/0", "::/0"):
            where = clause("everywhere", "どこ")
        else:
            alone = source.removesuffix("/32").removesuffix("/128")
            where = clause(f"{alone} only" if alone != source else alone, alone)
        only = "のみ" if where["en"].endswith(" only") else ""
        particle = "から" if way == "from" else "へ"
        everywhere = "でも" if where["ja"] == "どこ" else ""
        found.append(
            clause(f"{en} {way} {where['en']}", f"{ja}: {where['ja']}{particle}{everywhere or only}")
        )
    for pair in rule.get("UserIdGroupPairs", []):
        group = pair.get("GroupId", "?")
        found.append(clause(f"{en} {way} members of {group}", f"{ja}: {group} の仲間"))
    return found


# -- Servers ----------------------------------------------------------------------------------------------

STAGES = {
    "pending": "coming",
    "running": "standing",
    "stopping": "going",
    "stopped": "standing",
    "shutting-down": "going",
    "terminated": "ended",
}


def servers(ec2: Any, rows: list[Row], header: Mapping[str, Any]) -> Seen:
    """Servers of these rows; Batch's machines carry the ledger's tag as well."""
    known, seen = {row.id for row in rows}, {}
    for one in instances(ec2, of_ledger(header["prefix"])):
        if one["InstanceId"] not in known:
            continue
        state = one["State"]["Name"]
        host, port = addresses.ssh_address(ec2, one)
        address = host if port == 22 else f"{host}:{port}"
        facts = [
            ("type", one["InstanceType"]),
            ("private address", one.get("PrivateIpAddress", "")),
            ("public address", one.get("PublicIpAddress", "")),
            ("SSH", address),
            ("image", one.get("ImageId", "")),
            ("disks", str(len(one.get("BlockDeviceMappings", [])))),
            ("since", str(one.get("LaunchTime", ""))[:19]),
        ]
        reason = one.get("StateReason", {}).get("Message", "") or one.get("StateTransitionReason", "")
        why = clause(reason, reason) if reason and state not in ("running",) else {}
        if state == "pending":
            why = clause("AWS is starting its machine", "AWSが機械を起動しています")
        zone = one.get("Placement", {}).get("AvailabilityZone", "")
        facts = [fact for fact in facts if fact[1]]
        seen[one["InstanceId"]] = Shown(STAGES.get(state, "standing"), state, why, facts, zone)
    return seen


def machines_of_batch(client: Client, header: Mapping[str, Any], rows: Iterable[Row]) -> list[dict[str, str]]:
    """The machines that Batch has started for a lab, which no row has made.

    They carry the ledger's tag, which Batch puts on them as the compute environment says.
    """
    if not any(row.call == "batch:CreateComputeEnvironment" and row.open for row in rows):
        return []
    known = {row.id for row in rows}
    return [
        {
            "id": one["InstanceId"],
            "name": f"{one['InstanceType']} of Batch",
            "state": one["State"]["Name"],
            "stage": STAGES.get(one["State"]["Name"], "standing"),
            "zone": one.get("Placement", {}).get("AvailabilityZone", ""),
            "subnet": one.get("SubnetId", ""),
        }
        for one in instances(client("ec2"), of_ledger(header["prefix"]))
        if one["InstanceId"] not in known and one["State"]["Name"] != "terminated"
    ]


# -- Tasks ------------------------------------------------------------------------------------------------

# What happens in each state before a task runs. Source: ECS developer guide, "Task lifecycle".
TASK_WAITS = {
    "PROVISIONING": clause("its network address is being made", "ネットワークの住所を準備中"),
    "PENDING": clause("its machine is being found and its image pulled", "機械を探し、イメージを取り寄せ中"),
    "ACTIVATING": clause("it is about to start", "まもなく開始"),
    "DEACTIVATING": clause("it is about to stop", "まもなく停止"),
    "STOPPING": clause("its program was asked to end", "プログラムに終了を求めています"),
    "DEPROVISIONING": clause("its network address is being given back", "ネットワークの住所を返却中"),
}


def tasks(ecs: Any, rows: list[Row], header: Mapping[str, Any]) -> Seen:
    """Tasks of Fargate, a hundred in one call, with why one waits or has ended."""
    clusters: dict[str, list[str]] = {}
    for row in rows:
        if "taskArn" in row.ids:
            clusters.setdefault(row.ids["clusterArn"], []).append(row.id)
    return {
        one["taskArn"]: _task(one)
        for cluster, arns in clusters.items()
        for some in parts(arns)
        for one in ecs.describe_tasks(cluster=cluster, tasks=some)["tasks"]
    }


def _task(one: Mapping[str, Any]) -> Shown:
    state, why = one["lastStatus"], dict(TASK_WAITS.get(one["lastStatus"], {}))
    stage = {"RUNNING": "standing", "STOPPED": "ended"}.get(state, "coming")
    if state in ("DEACTIVATING", "STOPPING", "DEPROVISIONING"):
        stage = "going"
    codes = [box["exitCode"] for box in one.get("containers", []) if "exitCode" in box]
    if state == "STOPPED":
        reasons = [one.get("stoppedReason", "")] + [
            box.get("reason", "") for box in one.get("containers", [])
        ]
        text = "; ".join(filter(None, reasons))
        why = clause(text, text)
        stage = "ended" if codes and not any(codes) else "failed"
    facts: list[tuple[str, Any]] = [("size", f"{one.get('cpu', '?')} CPU, {one.get('memory', '?')} MiB")]
    facts += [("exit code", str(code)) for code in codes]
    return Shown(stage, state, why, facts, one.get("availabilityZone", ""))


# -- Batch ------------------------------------------------------------------------------------------------

JOB_STAGES = {"RUNNING": "standing", "SUCCEEDED": "ended", "FAILED": "failed"}


def jobs(batch: Any, rows: list[Row], header: Mapping[str, Any]) -> Seen:
    """Jobs, a hundred in one call, with why one waits: AWS's own reason, or what its queue's machines say."""
    job_ids = [row.id for row in rows if "jobId" in row.ids]
    found = described(batch, job_ids)
    waiting = any(one["status"] == "RUNNABLE" and not one.get("statusReason") for one in found)
    room = _room(batch, header) if waiting else {}
    seen = {}
    for one in found:
        state = one["status"]
        facts: list[tuple[str, Any]] = [("queue", one.get("jobQueue", "").rpartition("/")[2])]
        box = one.get("container", {})
        if "exitCode" in box:
            facts.append(("exit code", str(box["exitCode"])))
        if many := one.get("arrayProperties", {}).get("statusSummary"):
            children = ", ".join(f"{count} {word}" for word, count in many.items() if count)
            facts.append(("children", children))
        facts += [("attempts", str(len(one["attempts"])))] if one.get("attempts") else []
        seen[one["jobId"]] = Shown(JOB_STAGES.get(state, "coming"), state, _why_job(one, room), facts)
    return seen


def _why_job(one: Mapping[str, Any], room: Words) -> Words:
    state, reason = one["status"], one.get("statusReason", "")
    if state == "RUNNING" or (state == "SUCCEEDED" and not reason):
        return {}
    if reason:
        return clause(reason, reason)
    if state == "PENDING":
        first = ", ".join(each.get("jobId", "?") for each in one.get("dependsOn", []))
        return clause(
            f"it waits for the end of {first or 'other jobs'}", f"{first or '他のジョブ'} の終わりを待つ"
        )
    if state == "RUNNABLE":
        return room or clause("no machine has room for it yet", "空きのある機械がまだない")
    if state == "STARTING":
        return clause("its machine pulls the image", "機械がイメージを取り寄せ中")
    return clause("Batch has just got it", "Batchが受け取ったところ") if state == "SUBMITTED" else {}


def _room(batch: Any, header: Mapping[str, Any]) -> Words:
    """What the lab's compute environments say to why nothing starts."""
    found = pages(batch, "describe_compute_environments", "computeEnvironments")
    ours = [one for one in found if one["computeEnvironmentName"].startswith(header["prefix"])]
    for one in ours:
        if one["state"] != "ENABLED" or one["status"] != "VALID":
            told = f"{one['status']}, {one['state']}. {one.get('statusReason', '')}"
            return clause(f"its compute environment is {told}", f"コンピューティング環境: {told}")
    have = sum(one.get("computeResources", {}).get("desiredvCpus", 0) for one in ours)
    most = sum(one.get("computeResources", {}).get("maxvCpus", 0) for one in ours)
    if not ours:
        return {}
    if have >= most:
        return clause(
            f"all {most} vCPUs that it may use are in use or starting",
            f"使える{most} vCPUはすべて使用中か起動中",
        )
    return clause(
        f"no machine has room yet: {have} of at most {most} vCPUs are there or starting",
        f"空きのある機械がまだない: {have}/{most} vCPU",
    )


def queues_of_batch(batch: Any, rows: list[Row], header: Mapping[str, Any]) -> Seen:
    listed = _named(batch.describe_job_queues, "jobQueues", rows)
    return {one["jobQueueName"]: _of_batch(one) for one in listed}


def environments(batch: Any, rows: list[Row], header: Mapping[str, Any]) -> Seen:
    listed = _named(batch.describe_compute_environments, "computeEnvironments", rows)
    seen = {}
    for one in listed:
        has = one.get("computeResources", {})
        told = f"{has.get('desiredvCpus', 0)} ({has.get('minvCpus', 0)}-{has.get('maxvCpus', 0)})"
        facts = [("vCPUs", told), ("types", ", ".join(has.get("instanceTypes", [])))]
        seen[one["computeEnvironmentName"]] = _of_batch(one, facts)
    return seen


def _named(describe: Callable[..., Any], listing: str, rows: list[Row]) -> list[dict[str, Any]]:
    found = []
    for some in parts([row.id for row in rows]):
        found += describe(**{listing: some})[listing]
    return found


def _of_batch(one: Mapping[str, Any], facts: list[tuple[str, Any]] | None = None) -> Shown:
    status = one.get("status", "")
    stage = {"CREATING": "coming", "UPDATING": "coming", "DELETING": "going", "DELETED": "ended"}.get(status)
    reason = one.get("statusReason", "")
    why = clause(reason, reason) if reason and status != "VALID" else {}
    state = f"{status} {one['state']}" if one.get("state") == "DISABLED" else status
    return Shown("failed" if status == "INVALID" else stage or "standing", state, why, facts or [])


# -- All else ---------------------------------------------------------------------------------------------


def clusters(ecs: Any, rows: list[Row], header: Mapping[str, Any]) -> Seen:
    seen = {}
    for one in ecs.describe_clusters(clusters=[row.id for row in rows])["clusters"]:
        if one["status"] != "INACTIVE":
            told = f"{one.get('runningTasksCount', 0)} / {one.get('pendingTasksCount', 0)}"
            stage = "standing" if one["status"] == "ACTIVE" else "coming"
            seen[one["clusterName"]] = Shown(stage, one["status"], facts=[("tasks running / waiting", told)])
    return seen


def _function(lambda_: Any, name: str) -> Shown:
    told = lambda_.get_function_configuration(FunctionName=name)
    state = told.get("State", "Active")
    stage = {"Pending": "coming", "Failed": "failed"}.get(state, "standing")
    reason = told.get("StateReason", "")
    facts = [
        ("runtime", told.get("Runtime", "")),
        ("memory", f"{told.get('MemorySize', '?')} MiB"),
        ("timeout", f"{told.get('Timeout', '?')} s"),
        ("role", told.get("Role", "").rpartition("/")[2]),
    ]
    return Shown(stage, state, clause(reason, reason) if reason else {}, [f for f in facts if f[1]])


def _table(dynamodb: Any, name: str) -> Shown:
    table = dynamodb.describe_table(TableName=name)["Table"]
    state = table["TableStatus"]
    stage = {"CREATING": "coming", "UPDATING": "coming", "DELETING": "going"}.get(state, "standing")
    keys = ", ".join(key["AttributeName"] for key in table["KeySchema"])
    return Shown(stage, state, facts=[("key", keys), ("items", str(table.get("ItemCount", 0)))])


def _message_queue(sqs: Any, url: str) -> Shown:
    told = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
    return Shown("standing", facts=[("messages", told.get("ApproximateNumberOfMessages", "0"))])


SPECIAL: dict[str, Looker] = {
    "ec2:CreateVpc": vpcs,
    "ec2:CreateSubnet": subnets,
    "ec2:CreateSecurityGroup": groups,
    "ec2:RunInstances": servers,
    "ecs:RunTask": tasks,
    "ecs:CreateCluster": clusters,
    "batch:SubmitJob": jobs,
    "batch:CreateJobQueue": queues_of_batch,
    "batch:CreateComputeEnvironment": environments,
    "lambda:CreateFunction": one_by_one(_function),
    "dynamodb:CreateTable": one_by_one(_table),
    "sqs:CreateQueue": one_by_one(_message_queue, "QueueDoesNotExist"),
}
