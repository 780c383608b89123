"""The call book: what it holds, what it never holds, and that it stands in nobody's way."""

from __future__ import annotations

import gc
import json
import os
import subprocess
import sys
import threading
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import inprocess
import psutil
import pytest
from botocore.exceptions import ClientError

import awslabs
from awslabs import callbook, journal
from awslabs.cloud import Cloud
from awslabs.journal import Journal, Row
from awslabs.ledger import Ledger, ensure, exclusive
from awslabs.progress import awaiting

HEADER = {"lab": "ec2", "name": "default", "cloud": "aws", "account": "1" * 12, "region": "us-east-1"}


class Operation:
    """What the book looks at of botocore's model of an operation."""

    class service_model:  # noqa: N801 (botocore's own name)
        service_name = "ec2"

    name = "CreateSubnet"


@pytest.fixture
def book(tmp_path: Path) -> Journal:
    made = Journal(tmp_path / f"ec2.default.{'1' * 12}.us-east-1.json", {**HEADER, "owner": "me"})
    made.rows = [
        Row(1, "vpc", "ec2:CreateVpc", "t-1", "standing", {"VpcId": "vpc-1"}, begun=journal.now()),
    ]
    made.save()
    return made


@pytest.fixture
def ledger() -> Iterator[Ledger]:
    with inprocess.cloud():
        yield Ledger(Cloud(), "ec2")


def called(calls: callbook.CallBook, outcome: str = "ok", **params: Any) -> None:
    context: dict[str, Any] = {}
    calls._asked(params, Operation, context)
    calls._note(context, outcome)


def lines_of(ledger: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in callbook.path_of(ledger).read_text().splitlines()]


def test_each_call_of_a_lab_is_a_line_with_its_row(ledger: Ledger) -> None:
    ec2 = ledger.client("ec2")
    ec2.describe_vpcs()  # before there is a ledger's file
    vpc_id = ledger.create("vpc", ec2.create_vpc, CidrBlock="10.10.0.0/23")
    subnet_id = ledger.create("subnet", ec2.create_subnet, VpcId=vpc_id, CidrBlock="10.10.0.0/24")
    ensure(ec2.modify_subnet_attribute, SubnetId=subnet_id, MapPublicIpOnLaunch={"Value": True})
    with pytest.raises(ClientError):
        ec2.describe_instances(InstanceIds=["i-00000000000000000"])
    lines = lines_of(ledger.journal.path)
    calls = [(line["call"], line["row"], line["outcome"]) for line in lines]
    assert calls[:3] == [
        ("ec2:DescribeVpcs", "", "ok"),
        ("ec2:CreateVpc", "vpc", "ok"),
        ("ec2:CreateSubnet", "subnet", "ok"),
    ]
    assert ("ec2:ModifySubnetAttribute", "subnet", "ok") in calls
    assert calls[-1] == ("ec2:DescribeInstances", "", "InvalidInstanceID.NotFound")
    assert all(0 <= line["ms"] < 600_000 for line in lines)
    assert all(line.keys() == {"at", "call", "row", "outcome", "ms"} for line in lines)
    ledger.down()
    assert ("ec2:DeleteVpc", "vpc", "ok") in [
        (line["call"], line["row"], line["outcome"]) for line in lines_of(ledger.journal.path)
    ]


def test_no_parameter_and_no_answer_is_in_it_and_nobody_else_may_read_it(ledger: Ledger) -> None:
    ssm = ledger.client("ssm")
    ledger.create("vpc", ledger.client("ec2").create_vpc, CidrBlock="10.10.0.0/23")
    ssm.put_parameter(Name="/mine/pass", Value="hunter2-secret", Type="SecureString")
    path = callbook.path_of(ledger.journal.path)
    text = path.read_text()
    assert "ssm:PutParameter" in text
    assert not [word for word in ("hunter2", "/mine/pass", "10.10.0.0", "vpc-0") if word in text]
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_wait_is_a_line_when_it_begins_and_when_it_ends(ledger: Ledger) -> None:
    @exclusive
    def up(ledger: Ledger) -> None:
        ledger.create("vpc", ledger.client("ec2").create_vpc, CidrBlock="10.10.0.0/23")
        with awaiting("the server boots"):
            pass

    up(ledger)
    waits = [(line["wait"], line["on"]) for line in lines_of(ledger.journal.path) if "wait" in line]
    assert waits == [("the server boots", True), ("the server boots", False)]


def test_a_new_life_begins_a_new_book_and_down_keeps_the_old_one(ledger: Ledger) -> None:
    @exclusive
    def up(ledger: Ledger) -> None:
        ledger.create("vpc", ledger.client("ec2").create_vpc, CidrBlock="10.10.0.0/23")

    up(ledger)
    ledger.down()
    assert [line["call"] for line in lines_of(ledger.journal.path)].count("ec2:CreateVpc") == 1
    up(ledger)
    calls = [line["call"] for line in lines_of(ledger.journal.path)]
    assert calls.count("ec2:CreateVpc") == 1
    assert "ec2:DeleteVpc" not in calls


def test_of_two_ledgers_in_one_cloud_each_has_its_own_rows_calls() -> None:
    with inprocess.cloud():
        cloud = Cloud()
        one, two = Ledger(cloud, "ec2"), Ledger(cloud, "ec2", "second")
        for ledger in (one, two):
            ledger.create("vpc", ledger.client("ec2").create_vpc, CidrBlock="10.10.0.0/23")
        for ledger in (one, two):
            calls = [line["call"] for line in lines_of(ledger.journal.path)]
            assert calls.count("ec2:CreateVpc") == 1


def test_a_ledger_that_is_gone_keeps_no_file_open_and_hears_no_more() -> None:
    """A class has hundreds, and macOS lets a process have 256 files."""

    def listeners() -> int:
        return sum(isinstance(one, weakref.WeakMethod) for one in gc.get_objects())

    def life(number: int) -> None:
        ledger = Ledger(cloud, "ec2", f"copy-{number}")
        ledger.create("vpc", client.create_vpc, CidrBlock="10.10.0.0/23")
        assert lines_of(ledger.journal.path)

    with inprocess.cloud():
        cloud = Cloud()
        client = cloud.client("ec2")
        life(0)
        gc.collect()
        files, one = psutil.Process().num_fds(), listeners()
        for number in range(1, 20):
            life(number)
        gc.collect()
        assert (psutil.Process().num_fds(), listeners()) == (files, one)


class Ear:
    """Who listens to a cloud, and perhaps raises."""

    def __init__(self, heard: list[str], trouble: bool = False) -> None:
        self.heard, self.trouble = heard, trouble

    def hear(self, model: Any, **_: Any) -> None:
        self.heard.append(model.name)
        if self.trouble:
            raise OSError("no room")


def test_all_who_listen_are_told_once_of_clients_before_and_after(caplog: pytest.LogCaptureFixture) -> None:
    heard: list[str] = []
    with inprocess.cloud():
        cloud = Cloud()
        cloud.client("ec2")
        ears = [Ear(heard), Ear(heard), Ear(heard, trouble=True)]
        with mock.patch.object(cloud.session.events, "register", wraps=cloud.session.events.register) as said:
            for ear in ears:
                cloud.listen("after-call", ear.hear)
        assert said.call_count == 1  # botocore looks through all that is registered, at each call
        cloud.client("ec2").describe_vpcs()
        cloud.client("ssm").describe_parameters()
        assert heard == ["DescribeVpcs"] * 3 + ["DescribeParameters"] * 3
        assert caplog.text.count("who listens to after-call failed") == 2
        del ear, ears[:2]
        gc.collect()
        cloud.client("ec2").describe_vpcs()
        assert heard[6:] == ["DescribeVpcs"]  # of the one that is kept


def test_a_file_that_cannot_be_written_stops_nothing(book: Journal) -> None:
    calls = callbook.CallBook(book)
    callbook.path_of(book.path).symlink_to("/etc/passwd-of-nobody")
    called(calls, VpcId="vpc-1")
    assert not Path("/etc/passwd-of-nobody").exists()


def test_a_full_book_is_turned_over_and_the_two_files_stay_below_5_mb(
    book: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(callbook, "LARGEST", 20_000)
    calls, path = callbook.CallBook(book), callbook.path_of(book.path)
    for _ in range(900):
        called(calls, VpcId="vpc-1")
    sizes = path.stat().st_size, callbook.older(path).stat().st_size
    assert all(0 < size < 20_200 for size in sizes)
    assert all(callbook.as_line(line) for line in path.read_bytes().splitlines())


def test_lines_of_several_processes_and_threads_do_not_mix(book: Journal) -> None:
    program = (
        "import sys; from pathlib import Path; from test_callbook import called, HEADER;"
        "from awslabs import callbook, journal;"
        "callbook.LARGEST = 60_000;"
        "book = journal.Journal(Path(sys.argv[1]), {**HEADER, 'owner': 'me'});"
        "calls = callbook.CallBook(book); [called(calls, VpcId='vpc-1') for _ in range(300)]"
    )
    paths = os.pathsep.join([str(Path(awslabs.__file__).parents[1]), str(Path(__file__).parent)])
    command = [sys.executable, "-c", program, str(book.path)]
    started = [subprocess.Popen(command, env={**os.environ, "PYTHONPATH": paths}) for _ in range(3)]
    calls = callbook.CallBook(book)
    threads = [
        threading.Thread(target=lambda: [called(calls, VpcId="vpc-1") for _ in range(100)]) for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [process.wait(120) for process in started] == [0, 0, 0]
    path = callbook.path_of(book.path)
    whole = path.read_bytes() + callbook.older(path).read_bytes()
    assert all(callbook.as_line(line) for line in whole.splitlines())


def test_a_reader_goes_on_where_it_stopped_also_in_a_new_file(
    book: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    reader, calls = callbook.Reader(book.path), callbook.CallBook(book)
    assert reader.news() == (False, [])
    called(calls, VpcId="vpc-1")
    fresh, lines = reader.news()
    assert fresh
    assert [line["row"] for line in lines] == ["vpc"]
    assert reader.news() == (False, [])
    monkeypatch.setattr(callbook, "LARGEST", 1)
    called(calls, "Throttled", VpcId="vpc-2")
    fresh, lines = reader.news()
    assert fresh
    assert [line["outcome"] for line in lines] == ["Throttled"]


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"{",
        b"[]",
        b'"x"',
        b'{"at": 1}',
        b'{"at": "x", "evil": 1}',
        b'{"at": "x", "ms": "1"}',
        b"[" * 9999,
    ],
)
def test_what_is_no_line_is_left_out(book: Journal, text: bytes) -> None:
    path = callbook.path_of(book.path)
    path.write_bytes(text + b'\n{"at": "x", "call": "ec2:A", "row": "", "outcome": "ok", "ms": 1}\n')
    assert [line["call"] for line in callbook.Reader(book.path).news()[1]] == ["ec2:A"]
