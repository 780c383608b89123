"""Several builders at once: real processes on one practice cloud, and threads within one ledger.

So that two commands surely meet, the weather holds the first: a call that it needs is throttled, and
the ledger goes on asking for two minutes. When the second command has ended, the weather lifts.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import boto3
import inprocess
import pytest
from harness.cases import changes
from moto import mock_aws

from awslabs import ec2, journal, network, sandbox, tunnel
from awslabs.cloud import Cloud
from awslabs.errors import LedgerError
from awslabs.ledger import Ledger

pytestmark = pytest.mark.live

ROOT = Path(sandbox.__file__).parents[2]
LONG_S = 240.0  # no command may take longer, on any machine: a deadlock ends the test
EACH_ONCE = {"vpc": 1, "subnet": 1, "gateway": 1, "group": 1, "key pair": 1, "instance": 1}
numbers = itertools.count(1)


class Terminal:
    """One command line that runs beside others."""

    def __init__(self, environment: dict[str, str], *line: str) -> None:
        command = [sys.executable, "-m", "awslabs.ec2", *line]
        self.process = subprocess.Popen(
            command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    def end(self) -> tuple[int, str, str]:
        """Exit code, stdout and stderr; everything that it started is over."""
        try:
            stdout, stderr = self.process.communicate(timeout=LONG_S)
        finally:
            self.process.kill()
        return self.process.returncode, stdout, stderr


class Room:
    """A computer with keys of an account of its own on the practice cloud."""

    def __init__(self, run: sandbox.Run, account: str, home: Path) -> None:
        self.run, self.account = run, account
        self.environment = {
            **os.environ,
            **run.environment(account),
            "AWSLABS_HOME": str(home),
            "PYTHONPATH": str(ROOT),
        }
        self.terminals: list[Terminal] = []

    def start(self, *line: str) -> Terminal:
        terminal = Terminal(self.environment, *line)
        self.terminals.append(terminal)
        return terminal

    def does(self, *line: str) -> tuple[int, str, str]:
        """A command from its beginning to its end."""
        return self.start(*line).end()

    def hold(self, operation: str) -> None:
        """Throttle a call of this account for as long as it takes."""
        self.run.weather(account=self.account, faults=[f"{operation}=RequestLimitExceeded"])

    def let_go(self) -> None:
        self.run.weather(account=self.account, faults=[])

    def wait_for(self, operation: str) -> None:
        """Until that call has been sent."""
        deadline = time.monotonic() + LONG_S
        while operation not in [call["operation"] for call in self.run.calls(self.account)]:
            assert time.monotonic() < deadline, f"{operation} never came"
            time.sleep(0.05)

    def changing_calls(self) -> list[str]:
        """Calls that have changed something so far, in order."""
        calls = self.run.calls(self.account)
        return [one["operation"] for one in calls if not one["code"] and changes(one["operation"])]

    def stands(self) -> Counter[str]:
        """What the account holds beside what every account has, by plain calls."""
        environment = self.run.environment(self.account)
        client = boto3.client(
            "ec2",
            endpoint_url=environment["AWS_ENDPOINT_URL"],
            aws_access_key_id=environment["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=environment["AWS_SECRET_ACCESS_KEY"],
            region_name="us-east-1",
        )
        instances = [
            instance
            for reservation in client.describe_instances()["Reservations"]
            for instance in reservation["Instances"]
        ]
        counts = {
            "vpc": [one for one in client.describe_vpcs()["Vpcs"] if not one["IsDefault"]],
            "subnet": [one for one in client.describe_subnets()["Subnets"] if not one["DefaultForAz"]],
            "gateway": inprocess.gateways(client),
            "group": [
                one
                for one in client.describe_security_groups()["SecurityGroups"]
                if one["GroupName"] != "default"
            ],
            "key pair": client.describe_key_pairs()["KeyPairs"],
            "instance": [one for one in instances if one["State"]["Name"] != "terminated"],
        }
        return Counter({kind: len(things) for kind, things in counts.items() if things})


@pytest.fixture
def room(run: sandbox.Run, tmp_path: Path) -> Iterator[Room]:
    room = Room(run, f"6000{os.getpid() % 10_000:04}{next(numbers):04}", tmp_path / "home" / ".awslabs")
    yield room
    for terminal in room.terminals:
        terminal.process.kill()
        terminal.process.wait()
    room.let_go()
    run.reset(room.account)


# -- Two terminals -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("first", "held", "second"),
    [
        ("up", "ec2:RunInstances", "up"),
        ("up", "ec2:RunInstances", "down"),
        ("down", "ec2:TerminateInstances", "up"),
        ("down", "ec2:TerminateInstances", "down"),
    ],
)
def test_the_second_of_two_commands_is_told_who_holds_the_ledger(
    first: str, held: str, second: str, room: Room
) -> None:
    if first == "down":
        assert room.does("up")[0] == 0
    room.hold(held)
    holder = room.start(first)
    room.wait_for(held)
    before = room.changing_calls()
    status, stdout, stderr = room.does(second)
    assert (status, stdout) == (1, "")
    assert "error: The ledger of ec2 (default) is in use." in stderr
    assert f"Held by `{first}`, process {holder.process.pid}, since 20" in stderr
    assert "run the same command again" in stderr
    assert room.changing_calls() == before
    if first == second == "down":  # reading verbs do not wait for who changes something
        status, stdout, _ = room.does("status", "--json")
        assert status == 0
        assert json.loads(stdout)["resources"]["instance"].startswith("i-")
    room.let_go()
    assert holder.end()[0] == 0
    status, _, stderr = room.does(second)  # the loser's turn
    assert status == 0, stderr
    assert room.stands() == (EACH_ONCE if second == "up" else {})
    assert room.does("down")[0] == 0
    assert room.stands() == {}


def test_of_many_at_once_one_builds_or_deletes_and_none_hangs(room: Room) -> None:
    ended = [terminal.end() for terminal in [room.start("up", "--json") for _ in range(4)]]
    built = {json.loads(stdout)["instance_id"] for status, stdout, _ in ended if status == 0}
    assert {status for status, _, _ in ended} <= {0, 1}
    assert all("is in use" in stderr for status, _, stderr in ended if status == 1)
    status, stdout, _ = room.does("up", "--json")
    assert status == 0
    assert built == {json.loads(stdout)["instance_id"]}
    assert room.stands() == EACH_ONCE

    ended = [terminal.end() for terminal in [room.start("down") for _ in range(4)]]
    assert 0 in {status for status, _, _ in ended} <= {0, 1}
    assert all("is in use" in stderr for status, _, stderr in ended if status == 1)
    assert room.stands() == {}
    assert room.does("down")[0] == 0
    assert Counter(room.changing_calls())["ec2:TerminateInstances"] == 1


def test_copies_with_names_of_their_own_do_not_wait_for_each_other(room: Room) -> None:
    room.hold("ec2:RunInstances")
    terminals = [room.start("up", "--name", name, "--json") for name in ("one", "two")]
    deadline = time.monotonic() + LONG_S
    while Counter(call["operation"] for call in room.run.calls(room.account))["ec2:ImportKeyPair"] < 2:
        assert time.monotonic() < deadline, "one waits for the other"
        time.sleep(0.05)
    room.let_go()
    ended = [terminal.end() for terminal in terminals]
    assert [status for status, _, _ in ended] == [0, 0]
    assert len({json.loads(stdout)["instance_id"] for _, stdout, _ in ended}) == 2
    assert room.stands() == dict.fromkeys(EACH_ONCE, 2)
    downs = [
        terminal.end()[0] for terminal in [room.start("down", "--name", name) for name in ("one", "two")]
    ]
    assert downs == [0, 0]
    assert room.stands() == {}


# -- Twice is once -----------------------------------------------------------------------------------------


def test_up_with_other_arguments_on_a_standing_lab_changes_nothing_but_its_time(
    room: Room,
) -> None:
    assert room.does("up")[0] == 0
    before = room.changing_calls()
    status, stdout, stderr = room.does("up", "--instance-type", "t3.small")
    assert (status, stdout) == (1, "")
    assert "The instance stands with another InstanceType." in stderr
    assert "InstanceType t3.micro" in stderr
    assert "nothing was changed" in stderr
    assert "fix:   python -m awslabs.ec2 down" in stderr
    assert room.changing_calls() == before
    assert room.does("up")[0] == 0
    assert room.changing_calls() == before

    # But a time, for a server that stands without one, the switch keeps.
    status, _, stderr = room.does("up", "--ttl", "3h")
    assert status == 0, stderr
    assert "AWS deletes the lab then" in stderr
    made = [call for call in room.changing_calls()[len(before) :] if call != "logs:FilterLogEvents"]
    assert made == [
        *("iam:CreateRole", "iam:PutRolePolicy", "logs:CreateLogGroup"),
        *("lambda:CreateFunction", "scheduler:CreateSchedule"),
    ]


# -- Changed by hand (in this process: nobody else is at work) ---------------------------------------------


@pytest.fixture
def clock() -> Iterator[inprocess.Clock]:
    """The strict rules, and time that passes as soon as somebody waits."""
    with inprocess.cloud() as clock:
        yield clock


@pytest.fixture
def standing(clock: inprocess.Clock, monkeypatch: pytest.MonkeyPatch) -> Ledger:
    """A lab that stands."""
    monkeypatch.setattr(tunnel, "wait_for_ssh", lambda *_, **__: None)
    ledger = Ledger(inprocess.open_cloud("222233334444", "ana"), "ec2")
    up(ledger)
    return ledger


def up(ledger: Ledger) -> ec2.Server:
    return ec2.up(ledger, allow_from="192.0.2.1/32")


def changes_of(ledger: Ledger) -> list[str]:
    """The calls by which the next `up`, in another process, puts the lab right."""
    with inprocess.trouble() as recorder:
        up(Ledger(ledger.cloud, "ec2"))
    return [operation for operation, _ in recorder.calls]


def shown(client: Any, instance_id: str) -> dict[str, Any]:
    """A server as AWS shows it."""
    (reservation,) = client.describe_instances(InstanceIds=[instance_id])["Reservations"]
    return reservation["Instances"][0]


def test_a_route_changed_by_hand_is_put_right(standing: Ledger) -> None:
    client, ids = standing.client("ec2"), standing.resources
    table_id = network.main_route_table(client, ids["vpc"])
    instance = shown(client, ids["instance"])
    client.replace_route(
        RouteTableId=table_id,
        DestinationCidrBlock="0.0.0.0/0",
        NetworkInterfaceId=instance["NetworkInterfaces"][0]["NetworkInterfaceId"],
    )
    assert changes_of(standing) == ["ReplaceRoute"]
    client.delete_route(RouteTableId=table_id, DestinationCidrBlock="0.0.0.0/0")
    assert changes_of(standing) == ["CreateRoute"]
    (table,) = client.describe_route_tables(RouteTableIds=[table_id])["RouteTables"]
    assert ids["internet-gateway"] in [route.get("GatewayId") for route in table["Routes"]]


def test_a_rule_changed_by_hand_is_put_right(standing: Ledger) -> None:
    client, group_id = standing.client("ec2"), standing.resources["security-group"]

    def rules() -> list[dict[str, Any]]:
        return client.describe_security_groups(GroupIds=[group_id])["SecurityGroups"][0]["IpPermissions"]

    right = rules()
    client.revoke_security_group_ingress(GroupId=group_id, IpPermissions=right)
    assert changes_of(standing) == ["AuthorizeSecurityGroupIngress"]
    assert rules() == right


def test_a_subnet_changed_by_hand_is_put_right(standing: Ledger) -> None:
    client, subnet_id = standing.client("ec2"), standing.resources["subnet"]
    client.modify_subnet_attribute(SubnetId=subnet_id, MapPublicIpOnLaunch={"Value": False})
    assert changes_of(standing) == ["ModifySubnetAttribute"]


def test_a_server_stopped_by_hand_is_started(standing: Ledger, clock: inprocess.Clock) -> None:
    client, instance_id = standing.client("ec2"), standing.resources["instance"]
    client.stop_instances(InstanceIds=[instance_id])
    clock.sleep(60)
    assert changes_of(standing) == ["StartInstances"]
    assert shown(client, instance_id)["State"]["Name"] == "running"


def test_a_gateway_deleted_by_hand_is_made_and_joined_anew(standing: Ledger, clock: inprocess.Clock) -> None:
    client, ids = standing.client("ec2"), standing.resources
    client.terminate_instances(InstanceIds=[ids["instance"]])
    clock.sleep(60)  # it has terminated
    client.detach_internet_gateway(InternetGatewayId=ids["internet-gateway"], VpcId=ids["vpc"])
    client.delete_internet_gateway(InternetGatewayId=ids["internet-gateway"])
    assert changes_of(standing) == [
        "CreateInternetGateway",
        "AttachInternetGateway",
        "ReplaceRoute",
        "RunInstances",
    ]
    fresh = Ledger(standing.cloud, "ec2")
    (gateway,) = inprocess.gateways(client)
    assert gateway["InternetGatewayId"] == fresh.resources["internet-gateway"] != ids["internet-gateway"]
    assert [tie["VpcId"] for tie in gateway["Attachments"]] == [ids["vpc"]]
    fresh.down()
    assert inprocess.gateways(client) == []


def test_a_gateway_detached_by_hand_is_attached_again(standing: Ledger, clock: inprocess.Clock) -> None:
    client, ids = standing.client("ec2"), standing.resources
    client.terminate_instances(InstanceIds=[ids["instance"]])
    clock.sleep(60)  # it has terminated
    client.detach_internet_gateway(InternetGatewayId=ids["internet-gateway"], VpcId=ids["vpc"])
    assert changes_of(standing) == ["AttachInternetGateway", "RunInstances"]
    fresh = Ledger(standing.cloud, "ec2")
    fresh.down()  # the new tie is younger than nothing but the server
    assert fresh.resources == {}


# -- Threads of one process ----------------------------------------------------------------------------------


@pytest.fixture
def ledger(monkeypatch: pytest.MonkeyPatch) -> Iterator[Ledger]:
    with mock_aws():
        yield Ledger(Cloud(), "ec2")


def meet(monkeypatch: pytest.MonkeyPatch, owner: Any, name: str, parties: int) -> None:
    """Let threads wait for each other after a method, so that they surely go on at once.

    One that nobody joins goes on after a second.
    """
    barrier, method = threading.Barrier(parties), getattr(owner, name)

    def meeting(*arguments: Any) -> Any:
        answer = method(*arguments)
        with contextlib.suppress(threading.BrokenBarrierError):
            barrier.wait(timeout=1.0)
        return answer

    monkeypatch.setattr(owner, name, meeting)


def in_threads(many: int, work: Callable[[int], Any]) -> list[Any]:
    with ThreadPoolExecutor(many) as pool:
        return list(pool.map(work, range(many), timeout=LONG_S))


def test_threads_that_build_different_things_get_one_row_each(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = ledger.client("ec2")
    vpc_id = ledger.create("vpc", client.create_vpc, CidrBlock="10.10.0.0/16")

    def subnet(number: int) -> str:
        cidr = f"10.10.{number}.0/24"
        return ledger.create(f"subnet-{number}", client.create_subnet, VpcId=vpc_id, CidrBlock=cidr)

    meet(monkeypatch, journal.Journal, "add", 8)
    subnet_ids = in_threads(8, subnet)
    rows = journal.read(ledger.journal.path)[1]
    assert sorted(row.number for row in rows) == list(range(1, 10))
    assert {row.id for row in rows} == {vpc_id, *subnet_ids}
    assert all(row.needs == [1] for row in rows if row.name != "vpc")
    assert len(set(subnet_ids)) == 8
    ledger.down()
    assert not [vpc for vpc in client.describe_vpcs()["Vpcs"] if not vpc["IsDefault"]]


def test_threads_that_build_the_same_thing_get_the_same(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    meet(monkeypatch, journal.Journal, "last", 2)  # neither has begun when the other looks
    client = ledger.client("ec2")
    ids = in_threads(2, lambda _: ledger.create("internet-gateway", client.create_internet_gateway))
    assert len(set(ids)) == 1
    assert len(inprocess.gateways(client)) == 1
    assert len(ledger.journal.rows) == 1


def test_a_thread_that_takes_down_and_one_that_builds_do_not_meet(ledger: Ledger) -> None:
    client = ledger.client("ec2")
    with ledger.locked("up"):
        refused = in_threads(1, lambda _: pytest.raises(LedgerError, ledger.down))
    assert "`up` of this same process" in refused[0].value.why
    with ledger.locked("down"):
        build = ("vpc", client.create_vpc)
        refused = in_threads(
            1, lambda _: pytest.raises(LedgerError, ledger.create, *build, CidrBlock="10.0.0.0/16")
        )
    assert "`down` of this same process" in refused[0].value.why
    assert ledger.journal.rows == []


def test_two_ledger_objects_of_one_process_hold_each_other_off(ledger: Ledger) -> None:
    other = Ledger(ledger.cloud, "ec2")
    with ledger.locked("up"):
        refused = in_threads(1, lambda _: pytest.raises(LedgerError, other.down))
    assert f"`up`, process {os.getpid()}" in refused[0].value.why
    other.down()  # and the lock is free again
