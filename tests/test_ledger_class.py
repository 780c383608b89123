"""A class of many labs in one account: what `verify` and `recover` ask and see, and whose turn it is."""

from __future__ import annotations

import heapq
import random
from collections import Counter
from collections.abc import Iterator

import inprocess
import pytest
import test_not_ours as kinds
from wire import ALWAYS, Wire

from awslabs import inventory, ledger, ledgers, policies
from awslabs.cloud import Cloud
from awslabs.kinds import KINDS
from awslabs.kinds.rest_apis import REST_API
from awslabs.ledger import Ledger
from awslabs.sandbox.services.apigateway.rest_apis import RATES
from awslabs.sandbox.services.servicequotas import quotas

ACCOUNT = "222233334444"
# AWS lists these only by what they are in: one call for each cluster, queue and function.
ONE_BY_ONE = {"GetSchedule", "ListTasks", "ListJobs", "GetPolicy"}
# An account has one parameter of a name and at most 50 compute environments, and each job queue brings one.
# The tags of an instance profile are shown with the role that is in it.
LEFT_OUT = {"ssm:PutParameter", "batch:CreateComputeEnvironment", "iam:CreateInstanceProfile"}
# In pages of 50 to 100 things, of which a class fills several.
IN_PAGES = {"GetResources", "GetRestApis", "ListRoles"}


class Class:
    """Many small ledgers, each of one kind, and two of ties."""

    def __init__(self, cloud: Cloud, trouble: inprocess.Trouble) -> None:
        self.cloud, self.trouble = cloud, trouble

    def build(self, number: int) -> None:
        """What one student has: a ledger for each kind, and one of what ties things together."""
        for place, (call, make) in enumerate(kinds.MAKERS.items()):
            if call not in LEFT_OUT:
                make(Ledger(self.cloud, "ec2", f"s{number}-{place}"))
        ties = Ledger(self.cloud, "ec2", f"s{number}-ties")
        iam, ec2 = ties.client("iam"), ties.client("ec2")
        kinds.role(ties, "role")
        name = {"RoleName": f"{ties.prefix}-role"}
        allowed = policies.document(policies.allow("*", "s3:GetObject"))
        ties.create("policy", iam.put_role_policy, PolicyName="read", PolicyDocument=allowed, **name)
        profile = {"InstanceProfileName": f"{ties.prefix}-profile"}
        ties.create("profile", iam.create_instance_profile, **profile)
        ties.create("role-in-profile", iam.add_role_to_instance_profile, **profile, **name)
        network = kinds.vpc(ties, "vpc")
        gateway = ties.create("internet-gateway", ec2.create_internet_gateway)
        method = ec2.attach_internet_gateway
        ties.create("gateway-attachment", method, InternetGatewayId=gateway, VpcId=network)

    def verify(self) -> tuple[Counter[str], Counter[str]]:
        """What of all rows is said, and the calls that it took."""
        self.trouble.asked.clear()
        report, refused = inventory.verify(self.cloud)
        assert not refused
        return Counter(row["on_aws"] for row in report), Counter(self.trouble.asked)


@pytest.fixture
def school(monkeypatch: pytest.MonkeyPatch) -> Iterator[Class]:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", f"AKIAPRACTICE{ACCOUNT}")
    with inprocess.cloud(slow_states=0), inprocess.trouble() as trouble:
        quotas.granted[ACCOUNT, inprocess.REGION, "L-F678F1CE"] = 1000  # VPCs
        quotas.granted[ACCOUNT, inprocess.REGION, "L-1216C47A"] = 1000  # processors
        yield Class(Cloud(), trouble)


def lone(asked: Counter[str]) -> Counter[str]:
    """Without what AWS lists one by one or in pages."""
    return Counter({name: count for name, count in asked.items() if name not in ONE_BY_ONE | IN_PAGES})


@pytest.mark.parametrize("labs", [4, pytest.param(30, marks=pytest.mark.live)])
def test_many_labs_take_verify_no_more_calls_than_one_does(labs: int, school: Class) -> None:
    school.build(0)
    of_one, asked_of_one = school.verify()
    assert of_one.keys() == {"stands"}
    for number in range(1, labs):
        school.build(number)
    of_all, asked = school.verify()
    assert of_all == Counter(stands=labs * of_one["stands"])
    assert lone(asked) == lone(asked_of_one)
    assert all(asked[name] <= labs for name in ONE_BY_ONE)
    assert all(asked[name] <= 1 + labs / 3 for name in IN_PAGES), asked


def test_what_lost_its_tags_is_told_of_many_at_once_too(school: Class) -> None:
    for number in range(2):
        school.build(number)
    there = list(ledgers.ledgers_of(school.cloud))
    rows = [(ledger, row) for ledger in there for row in ledger.journal.open_rows() if row.name == "it"]
    marked = [(ledger, row) for ledger, row in rows if row.call not in kinds.INDELIBLE]
    with school.trouble.hand():
        for ledger, _ in marked:
            kinds.untag(ledger)
    said, asked = school.verify()
    assert said["stands, not ours any more"] == len(marked)
    assert asked["DescribeVpcs"] == 2  # the listing, and one for all the rows that are not in it


def test_what_was_deleted_in_the_console_is_told_of_many_at_once_too(school: Class) -> None:
    for number in range(5):
        kinds.table(Ledger(school.cloud, "ec2", f"t{number}"))
        kinds.gateway(Ledger(school.cloud, "ec2", f"g{number}"))
    ec2, tables = school.cloud.client("ec2"), school.cloud.client("dynamodb")
    with school.trouble.hand():
        for name in tables.list_tables()["TableNames"]:
            tables.delete_table(TableName=name)
        ours = [{"Name": "tag-key", "Values": ["awslabs:token"]}]  # the default network has one, too
        for one in ec2.describe_internet_gateways(Filters=ours)["InternetGateways"]:
            ec2.delete_internet_gateway(InternetGatewayId=one["InternetGatewayId"])
    said, asked = school.verify()
    assert said == {"absent": 10}
    assert (asked["DescribeInternetGateways"], asked["DescribeTable"]) == (2, 0)


def test_who_may_not_read_the_tags_at_once_sees_the_same(
    school: Class, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(2):
        school.build(number)
    said, asked = school.verify()
    aws = Wire(monkeypatch, times=ALWAYS)
    for operation in ("GetResources", "GetAccountAuthorizationDetails"):
        aws.refuse(operation, "AccessDenied", 403)
    refused, asked_singly = school.verify()
    assert refused == said
    assert asked_singly["GetRole"] > asked["GetRole"]


def test_a_queue_that_is_still_listed_after_its_end_is_no_stray(school: Class) -> None:
    """SQS lists a deleted queue for up to a minute, and so may the tagging API."""
    ledger = Ledger(school.cloud, "ec2", "queue")
    kinds.queue(ledger)
    seen = inventory.survey(school.cloud)
    ledger.down()
    assert [one.call for one in seen.ours] == ["sqs:CreateQueue"]
    assert inventory.without_row(school.cloud, seen.ours) == []


def test_each_kind_tells_what_is_not_in_its_listing() -> None:
    """Else `verify` asks for each such row by itself, which no class can wait for."""
    singly = {call for call, kind in KINDS.items() if not kind.complete and kind.at_once is None}
    assert singly == {"iam:CreateInstanceProfile", "lambda:AddPermission"}


# -- Sixty at once, at the rates of AWS ---------------------------------------------------------------------

CLASS = 60


def last_one(each_s: float, longest_s: float) -> tuple[float, int]:
    """Of a class that asks at once: when the last one's call is taken, and how often the keenest had asked.

    Each asks, and after a refusal again after the ledger's own pause; AWS takes one call in so many seconds.
    """
    waiting, free_at, last, most = [(0.0, 0, who) for who in range(CLASS)], 0.0, 0.0, 0
    while waiting:
        now, asked, who = heapq.heappop(waiting)
        asked += 1
        if now >= free_at:
            free_at, last, most = now + each_s, now, max(most, asked)
        else:
            heapq.heappush(waiting, (now + ledger.pause(asked, longest_s), asked, who))
    return last, most


@pytest.mark.parametrize(
    ("operation", "each_s", "patience_s", "longest_s"),
    [
        ("CreateRestApi", 3.0, ledger.THROTTLE_S, 10.0),
        ("PutRestApi", RATES["PutRestApi"][0], ledger.THROTTLE_S, 10.0),
        ("CreateDeployment", RATES["CreateDeployment"][0], ledger.THROTTLE_S, 10.0),
        ("DeleteRestApi", RATES["DeleteRestApi"][0], REST_API.busy_s, 5.0),
    ],
)
def test_the_last_of_a_class_is_patient_enough(
    operation: str, each_s: float, patience_s: float, longest_s: float
) -> None:
    for seed in range(20):
        random.seed(seed)
        last_s, asked = last_one(each_s, longest_s)
        assert last_s >= (CLASS - 1) * each_s
        assert last_s < 0.8 * patience_s, (operation, seed, last_s)
        assert operation == "DeleteRestApi" or asked < 99, seed  # so often `create` and `ensure` send a call
