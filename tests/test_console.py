"""The console: what its feed tells, what its looks ask, and whom its server answers."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import inprocess
import pytest
from botocore.exceptions import ClientError
from processes import eventually

from awslabs import cli, console, ec2, journal
from awslabs.cloud import Cloud
from awslabs.console import details, feed, looks
from awslabs.console.server import POLICY, Console
from awslabs.errors import LedgerError
from awslabs.journal import Row
from awslabs.kinds import KINDS
from awslabs.ledger import Ledger, ensure
from awslabs.sandbox import front

ACCOUNT, REGION = "222233334444", "us-east-1"
HEADER = {"cloud": "sandbox", "account": ACCOUNT, "region": REGION, "owner": "me"}
PAGE = Path(console.__file__).parent / "page"


def write(lab: str = "ec2", name: str = "default", rows: list[Row] | None = None, **header: Any) -> Path:
    """A ledger's file, as another process has it."""
    path = journal.home() / f"{lab}.{name}.{ACCOUNT}.{REGION}.json"
    made = journal.Journal(path, {"lab": lab, "name": name, **HEADER, **header})
    made.rows = rows if rows is not None else [vpc_row()]
    made.save()
    return path


def vpc_row(number: int = 1, state: str = "standing", name: str = "vpc") -> Row:
    made = "2026-11-29T12:00:00.000Z"
    ids = {"VpcId": f"vpc-{number}"}
    return Row(number, name, "ec2:CreateVpc", f"token-{number}", state, ids, begun=made, made=made)


def files(**chosen: Any) -> feed.Files:
    return feed.Files(lambda: [journal.home()], **chosen)


def nobody(path: Path) -> Cloud:
    raise LedgerError("Nobody is asked here.")


class Asked:
    """A console that listens, and a client that can say anything."""

    def __init__(self, server: Console) -> None:
        self.server = server

    def get(
        self, path: str, method: str = "GET", key: str | None = "", **headers: str
    ) -> tuple[int, http.client.HTTPMessage, bytes]:
        """Status, headers and body; with the right key unless told otherwise."""
        connection = http.client.HTTPConnection("127.0.0.1", self.server.server_port, timeout=60)
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        if key is not None:
            sent["Authorization"] = f"Bearer {key or self.server.key}"
        connection.putrequest(method, path, skip_host="Host" in sent)
        for name, value in sent.items():
            connection.putheader(name, value)
        connection.endheaders()
        answer = connection.getresponse()
        endless = answer.status == 200 and answer.length is None
        told = answer.status, answer.headers, answer.readline() if endless else answer.read()
        connection.close()
        return told


@pytest.fixture
def asked() -> Iterator[Asked]:
    server = Console(files(), feed.Watches(nobody))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    yield Asked(server)
    server.shutdown()
    server.server_close()


def key_of(path: Path) -> str:
    return feed.File(path).key


# -- Whom it answers --------------------------------------------------------------------------------------

API = ("/api/stream?lab=", "/api/thing?lab={key}&row=1", "/api/inside?lab={key}&row=1")


def test_the_page_is_there_without_a_key_and_tells_nothing(asked: Asked) -> None:
    for path in ("/", "/console.js", "/console.css"):
        status, headers, body = asked.get(path, key=None)
        assert (status, headers["Content-Security-Policy"]) == (200, POLICY)
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert "Set-Cookie" not in headers
        assert asked.server.key.encode() not in body
    assert "default-src 'none'" in POLICY
    assert "unsafe" not in POLICY


@pytest.mark.parametrize("path", API)
@pytest.mark.parametrize("key", [None, "wrong", "\u00e9", "x" * 5000])
def test_another_user_without_the_key_gets_nothing(asked: Asked, path: str, key: str | None) -> None:
    ledger = write()
    asked.server.files.labs()
    status, headers, body = asked.get(path.format(key=key_of(ledger)), key=key)
    assert (status, body) == (401, b"Unauthorized")
    assert headers["WWW-Authenticate"] == "Bearer"


@pytest.mark.parametrize("path", ["/", *API])
@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:1"},
        {"Host": "evil.example"},
        {"Host": "127.0.0.1"},
        {"Host": "127.0.0.1.evil.example:80"},
    ],
)
def test_another_origin_gets_nothing(asked: Asked, path: str, headers: dict[str, str]) -> None:
    status, _, body = asked.get(path, **headers)
    assert status in (403, 421)
    assert body in (b"Forbidden", b"Misdirected Request")


@pytest.mark.parametrize("site", ["cross-site", "same-site", "none"])
def test_what_a_browser_calls_another_site_s_gets_nothing(asked: Asked, site: str) -> None:
    assert asked.get("/api/stream", Sec_Fetch_Site=site)[0] == 403
    assert asked.get("/console.js", Sec_Fetch_Site=site)[0] == (200 if site == "none" else 403)
    assert asked.get("/", Sec_Fetch_Site=site)[0] == 200  # a link may lead there


@pytest.mark.parametrize(
    "path",
    [
        "/../../../etc/passwd",
        "/..%2f..%2fetc/passwd",
        "//etc/passwd",
        "/page/index.html",
        "/console.js/../../__init__.py",
        "/.env",
        "/api/",
        "/api/ledgers",
        "/index.html%00.js",
    ],
)
def test_no_path_leads_to_another_file(asked: Asked, path: str) -> None:
    status, _, body = asked.get(path)
    assert (status, body) == (404, b"Not Found")


@pytest.mark.parametrize("lab", ["", "..%2f..", "x", "%00", "../../home-id"])
def test_no_key_of_a_lab_leads_to_another_file(asked: Asked, lab: str) -> None:
    write()
    asked.server.files.labs()
    assert asked.get(f"/api/thing?lab={lab}&row=1")[0] == 404


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "HEAD", "TRACE"])
def test_it_only_reads(asked: Asked, method: str) -> None:
    assert asked.get("/", method=method)[0] == 501


def test_it_listens_on_loopback_alone(asked: Asked) -> None:
    assert asked.server.server_address[0] == "127.0.0.1"


def test_a_browser_is_led_there_by_a_file_of_one_s_own_and_no_command_line_has_the_key() -> None:
    with console.noted("http://127.0.0.1:4711/", "the-key", ["--sandbox"]) as first:
        noted = {"address": "http://127.0.0.1:4711/", "shows": ["--sandbox"], "pid": os.getpid()}
        assert first
        assert console.running() == noted
        for path in (console.note_path(), console.door_path()):
            assert path.stat().st_mode & 0o777 == 0o600
        assert "url=http://127.0.0.1:4711/#the-key" in console.door_path().read_text()
        assert "the-key" not in console.note_path().read_text()
        with console.noted("http://127.0.0.1:4712/", "other", []) as second:
            assert not second
        assert console.running() == noted
    assert console.running() is None
    assert not console.door_path().exists()


def test_a_note_of_a_console_that_was_killed_is_not_believed() -> None:
    journal.home().mkdir(parents=True)
    console.note_path().write_text(json.dumps({"address": "http://127.0.0.1:4711/", "shows": []}))
    assert console.running() is None


@pytest.mark.live
def test_ctrl_c_ends_it_with_one_line_and_takes_its_traces_along() -> None:
    command = [sys.executable, "-m", "awslabs.console", "--no-browser"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stderr is not None
    first = process.stderr.readline()
    assert console.running() is not None
    (key,) = re.findall(r"url=(\S+)#(\S+)\"", console.door_path().read_text())
    with open(f"/proc/{process.pid}/cmdline") as file:
        assert key[1] not in file.read()
    process.send_signal(signal.SIGINT)
    out, told = process.communicate(timeout=120)
    assert (process.returncode, out) == (0, "")
    assert told.splitlines()[-1] == "The console has ended."
    assert "Traceback" not in told
    assert f"{key[0]}#{key[1]}" in first
    assert console.running() is None
    assert not console.door_path().exists()


@pytest.mark.live
def test_up_opens_one_beside_itself_and_a_second_up_the_same_one(monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []
    monkeypatch.setattr("webbrowser.open", lambda address: bool(opened.append(address)) or True)
    note = console.open_beside(["--region", "us-east-1"])
    try:
        assert console.open_beside([]) == note
        assert opened == 2 * [console.door_path().as_uri()]
    finally:
        os.kill(note["pid"], signal.SIGTERM)
    eventually(lambda: console.running() is None)


def test_the_practice_cloud_s_own_address_leads_a_browser_there_or_names_the_command() -> None:
    asks = {"REQUEST_METHOD": "GET", "PATH_INFO": "/", "HTTP_ACCEPT": "text/html,*/*"}
    assert front.wants_page(asks)
    for other in (
        {"HTTP_ACCEPT": "*/*"},
        {"REQUEST_METHOD": "POST"},
        {"PATH_INFO": "/bucket/index.html"},
        {"QUERY_STRING": "Action=DescribeVpcs"},
        {"HTTP_AUTHORIZATION": "AWS4-HMAC-SHA256 x"},
    ):
        assert not front.wants_page({**asks, **other})
    answer = front.page(journal.home())
    assert answer.status == 200
    assert b"python -m awslabs.console --sandbox" in answer.body
    with console.noted("http://127.0.0.1:4711/", "the-key", []):
        answer = front.page(journal.home())
        assert (answer.status, answer.headers["location"]) == (302, "http://127.0.0.1:4711/")
        assert b"the-key" not in answer.body
    assert front.page(journal.home()).status == 200


def test_a_console_that_does_not_open_stops_no_up(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(options: list[str]) -> None:
        raise LedgerError("It did not start.")

    monkeypatch.setattr(console, "open_beside", fail)
    cli.open_console(sandbox=True, region=None, profile="class")
    assert "The console did not open: It did not start." in capsys.readouterr().err


# -- What it tells ----------------------------------------------------------------------------------------


def told_of(path: Path | None, turns: int, at: dict[int, Any] | None = None) -> list[dict[str, Any]]:
    """What one page is told within so many turns; before some of them something is done."""
    found, turn = files(), 0
    found.labs()
    watches = feed.Watches(nobody)

    def rest(seconds: float) -> bool:
        nonlocal turn
        turn += 1
        if at and turn in at:
            at[turn]()
        found._listed = -feed.LIST_S  # a second later
        return turn < turns

    return list(feed.events(found, watches, key_of(path) if path else "", rest))


def test_ledgers_are_listed_and_a_new_one_comes_by_itself() -> None:
    write()
    events = told_of(None, 3, {1: lambda: write("gpu")})
    labs = [[one["lab"] for one in event["labs"]] for event in events if event["type"] == "labs"]
    assert labs == [["ec2"], ["ec2", "gpu"]]
    (first, *_) = events
    assert first["labs"][0]["stage"] == "standing"
    assert str(journal.home()) not in json.dumps(events)  # a path is nobody's business, and no key


def test_a_damaged_ledger_is_told_of_and_hides_no_other() -> None:
    write()
    write("gpu").write_text("{")
    (event, *_) = told_of(None, 1)
    assert {one["lab"]: one["stage"] for one in event["labs"]} == {"ec2": "standing", "gpu": "unread"}


def test_an_owner_s_ledgers_are_shown_alone_and_all_if_nobody_is_named() -> None:
    write()
    write("gpu", owner="ana")
    assert [one["lab"] for one in files().labs()] == ["ec2", "gpu"]
    assert [one["lab"] for one in files(owner="ana").labs()] == ["gpu"]
    assert files(region="eu-west-1").labs() == []


def test_rows_come_as_they_change_and_only_those() -> None:
    path = write(rows=[vpc_row(1), vpc_row(2, "creating", "other")])
    changes = {
        1: lambda: write(rows=[vpc_row(1), vpc_row(2, "standing", "other")]),
        2: lambda: write(rows=[vpc_row(1, "gone"), vpc_row(2, "standing", "other")]),
    }
    header = journal.read(path)[0]

    def same_life(change: Any) -> Any:
        def run() -> None:
            change()
            text = path.read_text()
            path.write_text(re.sub(r'"prefix": "[^"]*"', f'"prefix": "{header["prefix"]}"', text))

        return run

    events = told_of(path, 4, {turn: same_life(change) for turn, change in changes.items()})
    (whole,) = [event for event in events if event["type"] == "lab"]
    assert [(row["name"], row["state"]) for row in whole["rows"]] == [
        ("vpc", "standing"),
        ("other", "creating"),
    ]
    states = [
        [(row["n"], row["state"]) for row in event["rows"]] for event in events if event["type"] == "rows"
    ]
    assert [(2, "standing")] in states
    assert (1, "gone") in [one for some in states for one in some]


def test_a_lab_is_told_without_tokens_and_digests() -> None:
    path = write()
    text = json.dumps(told_of(path, 1))
    assert "token-1" not in text
    assert "digests" not in text


def test_the_ledger_s_lock_is_never_taken() -> None:
    path = write()
    lock = journal.take_lock(path, "up", time.monotonic())
    try:
        assert "lab" in [event["type"] for event in told_of(path, 2)]
    finally:
        os.close(lock)


def test_what_it_costs_is_told_with_its_end() -> None:
    row = vpc_row()
    row.call, row.ids, row.usd_per_hour, row.made = (
        "ec2:RunInstances",
        {"InstanceId": "i-1"},
        1.5,
        journal.now(),
    )
    limits = {"budget_usd": 5.0, "ttl_minutes": 60, "until": journal.after(journal.now(), 3600)}
    path = write(rows=[row])
    made = journal.Journal(path, {"lab": "ec2", "name": "default", **HEADER})
    made.header["limits"] = limits
    made.save()
    (costs, *_) = [event for event in told_of(path, 1) if event["type"] == "costs"]
    assert (costs["per_hour"], costs["budget"], costs["ends"]) == (1.5, 5.0, limits["until"])
    assert [line["what"] for line in costs["lines"]] == ["vpc"]


# -- What AWS is asked ------------------------------------------------------------------------------------


class Counting:
    """A cloud that says no to some, and counts."""

    def __init__(self, error: Exception | None) -> None:
        self.error, self.looks = error, 0

    def __call__(self, client: Any, header: Any, rows: list[Row]) -> looks.Looked:
        self.looks += 1
        if self.error:
            raise self.error
        return looks.Looked({1: looks.Shown("standing", "available")})


def watch_of(path: Path, monkeypatch: pytest.MonkeyPatch, look: Any) -> feed.Watch:
    with inprocess.cloud():
        cloud = Cloud()
    monkeypatch.setattr(feed, "look", look)
    monkeypatch.setattr(feed, "machines_of_batch", lambda *_: [])
    watch = feed.Watch(feed.File(path), lambda path: cloud, lambda: None)
    watch.file.read()
    return watch


def refusal(code: str) -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": "no"}, "ResponseMetadata": {}}, "DescribeVpcs")


def pauses(watch: feed.Watch, turns: int, monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """After how many seconds each next look would come."""
    found: list[float] = []

    def rest(over: threading.Event, stamp: Any, longest_s: float, shortest_s: float) -> None:
        found.append(longest_s)
        if len(found) == turns:
            over.set()

    monkeypatch.setattr(watch, "_rest", rest)
    watch._run(threading.Event())
    return found


def test_aws_is_asked_every_5_s_and_every_30_s_while_nothing_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    watch = watch_of(write(), monkeypatch, Counting(None))
    assert pauses(watch, 4, monkeypatch) == [5.0, 30.0, 30.0, 30.0]


def test_what_is_on_its_way_is_looked_at_every_5_s(monkeypatch: pytest.MonkeyPatch) -> None:
    watch = watch_of(write(), monkeypatch, lambda *_: looks.Looked({1: looks.Shown("coming", "pending")}))
    assert pauses(watch, 3, monkeypatch) == [5.0, 5.0, 5.0]


def test_throttled_it_asks_less_and_less(monkeypatch: pytest.MonkeyPatch) -> None:
    watch = watch_of(write(), monkeypatch, lambda *_: looks.Looked(throttled=True))
    assert pauses(watch, 6, monkeypatch) == [10.0, 20.0, 40.0, 80.0, 120.0, 120.0]


def test_an_expired_session_is_a_banner_with_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    barred = looks.Barred("ec2:DescribeVpcs", refusal("ExpiredToken"))
    watch = watch_of(write(), monkeypatch, Counting(barred))
    told, _ = watch._look()
    assert "expired" in told["banner"]["what"].lower() + told["banner"]["why"].lower()
    assert "aws" in told["banner"]["fix"]


def test_a_lab_that_nobody_sees_is_not_asked_about(monkeypatch: pytest.MonkeyPatch) -> None:
    look = Counting(None)
    watch = watch_of(write(), monkeypatch, look)
    assert look.looks == 0
    with watch:
        deadline = time.monotonic() + 60
        while not watch.version and time.monotonic() < deadline:
            time.sleep(0.01)
    assert watch._thread is not None
    watch._thread.join(60)
    assert not watch._thread.is_alive()
    assert look.looks == 1


def test_a_lab_of_which_nothing_stands_is_not_asked_about(monkeypatch: pytest.MonkeyPatch) -> None:
    look = Counting(None)
    watch_of(write(rows=[vpc_row(1, "gone")]), monkeypatch, look)._look()
    assert look.looks == 0


def test_what_one_may_not_look_at_is_not_shown_and_stops_nothing_else() -> None:
    rows = [vpc_row(), Row(2, "queue", "sqs:CreateQueue", "t-2", "standing", {"QueueUrl": "u"})]

    class Client:
        can_paginate = staticmethod(lambda name: False)

        def __init__(self, service: str) -> None:
            self.exceptions = type("E", (), {"QueueDoesNotExist": KeyError})

        def describe_vpcs(self, **_: Any) -> None:
            raise refusal("UnauthorizedOperation")

        def get_queue_attributes(self, **_: Any) -> dict[str, Any]:
            return {"Attributes": {"ApproximateNumberOfMessages": "3"}}

        def get_paginator(self, name: str) -> Any:
            return type("P", (), {"paginate": lambda *_, **__: self.describe_vpcs()})()

    shown = looks.look(Client, HEADER, rows).shown
    assert (shown[1].stage, shown[1].state) == ("hidden", "not shown")
    assert shown[2].facts == [("messages", "3")]


def test_a_network_is_told_in_words_as_aws_shows_it() -> None:
    with inprocess.cloud():
        ledger = Ledger(Cloud(), "ec2")
        client = ledger.client("ec2")
        vpc_id = ledger.create("vpc", client.create_vpc, CidrBlock="10.10.0.0/23")
        ledger.create("subnet", client.create_subnet, VpcId=vpc_id, CidrBlock="10.10.0.0/24")
        igw_id = ledger.create("internet-gateway", client.create_internet_gateway)
        ledger.create(
            "gateway-attachment", client.attach_internet_gateway, InternetGatewayId=igw_id, VpcId=vpc_id
        )
        ensure(
            client.create_route,
            RouteTableId=ec2.main_route_table(client, vpc_id),
            DestinationCidrBlock="0.0.0.0/0",
            GatewayId=igw_id,
        )
        group_id = ledger.create(
            "security-group", client.create_security_group, VpcId=vpc_id, GroupName="g", Description="d"
        )
        rule = {"IpProtocol": "tcp", "FromPort": 22, "ToPort": 22, "IpRanges": [{"CidrIp": "203.0.113.7/32"}]}
        ensure(client.authorize_security_group_ingress, GroupId=group_id, IpPermissions=[rule])
        header, rows = journal.read(ledger.journal.path)
        shown = {
            rows[number - 1].name: one
            for number, one in looks.look(ledger.cloud.client, header, rows).shown.items()
        }
    assert all(one.stage == "standing" for one in shown.values())
    assert shown["subnet"].zone.startswith(REGION)
    words = [value for name, value in shown["security-group"].facts if name == "lets in"]
    assert words == [{"en": "SSH from 203.0.113.7 only", "ja": "SSH: 203.0.113.7からのみ"}]
    routes = [value["en"] for name, value in shown["vpc"].facts if name == "route"]
    assert f"everything else by {igw_id}" in routes


@pytest.mark.parametrize(
    ("rule", "en"),
    [
        ({"IpProtocol": "-1", "IpRanges": [{"CidrIp": "0.0.0.0/0"}]}, "everything from everywhere"),
        (
            {"IpProtocol": "tcp", "FromPort": 443, "ToPort": 443, "IpRanges": [{"CidrIp": "10.0.0.0/8"}]},
            "HTTPS from 10.0.0.0/8",
        ),
        (
            {"IpProtocol": "udp", "FromPort": 53, "ToPort": 60, "Ipv6Ranges": [{"CidrIpv6": "::1/128"}]},
            "udp 53-60 from ::1 only",
        ),
        (
            {"IpProtocol": "tcp", "FromPort": 5, "ToPort": 5, "UserIdGroupPairs": [{"GroupId": "sg-1"}]},
            "tcp 5 from members of sg-1",
        ),
    ],
)
def test_a_rule_in_words(rule: dict[str, Any], en: str) -> None:
    (words,) = looks.in_words(rule)
    assert words["en"] == en
    assert words["ja"] != en


# Why a job waits: of what Batch answers. Source: Batch user guide, "Job states"; ECS, "Task lifecycle".
@pytest.mark.parametrize(
    ("job", "room", "why"),
    [
        ({"status": "RUNNABLE", "statusReason": "MISCONFIGURATION:x"}, {}, "MISCONFIGURATION:x"),
        ({"status": "RUNNABLE"}, looks.clause("2 of 4", "4のうち2"), "2 of 4"),
        ({"status": "PENDING", "dependsOn": [{"jobId": "j-1"}]}, {}, "it waits for the end of j-1"),
        ({"status": "RUNNING"}, {}, ""),
        (
            {"status": "FAILED", "statusReason": "Essential container exited"},
            {},
            "Essential container exited",
        ),
    ],
)
def test_a_job_says_why_it_waits(job: dict[str, Any], room: dict[str, str], why: str) -> None:
    assert looks._why_job(job, room).get("en", "") == why


def test_a_task_says_why_it_waits_and_why_it_ended() -> None:
    assert looks._task({"lastStatus": "PROVISIONING"}).why["en"] == "its network address is being made"
    ended = looks._task(
        {
            "lastStatus": "STOPPED",
            "stoppedReason": "Essential container in task exited",
            "containers": [{"exitCode": 137, "reason": "OutOfMemoryError"}],
        }
    )
    assert (ended.stage, ended.why["en"]) == (
        "failed",
        "Essential container in task exited; OutOfMemoryError",
    )


# -- One thing --------------------------------------------------------------------------------------------


def test_a_thing_has_its_call_with_the_parameters_that_the_ledger_can_vouch_for() -> None:
    with inprocess.cloud():
        ledger = Ledger(Cloud(), "ec2")
        client = ledger.client("ec2")
        vpc_id = ledger.create("vpc", client.create_vpc, CidrBlock="10.10.0.0/23")
        ledger.create(
            "subnet",
            client.create_subnet,
            VpcId=vpc_id,
            CidrBlock="10.10.0.0/24",
            AvailabilityZone="us-east-1b",
        )
    file = feed.File(ledger.journal.path)
    file.read()
    told = details.details(file, file.rows[1])
    assert told["boto3"] == f'ec2.create_subnet(VpcId="{vpc_id}", CidrBlock="10.10.0.0/24")'
    assert told["cli"].startswith("aws ec2 create-subnet")
    assert vpc_id in told["cli"]
    assert told["left_out"] == ["AvailabilityZone"]
    assert told["what"]["en"]
    assert told["what"]["ja"]


def test_hostile_text_stays_text_and_of_a_bearable_length() -> None:
    text = details.clean("\x1b]0;owned\x07\x00<script>\u202e" + "x" * 2**20)
    assert not re.search(r"[\x00-\x1f\u202e]", text)
    assert text.startswith("\u241b]0;owned\u2407\u2400<script>\ufffd")
    assert len(text) < 2200


def test_every_kind_has_a_place_on_the_map() -> None:
    code = (PAGE / "console.js").read_text(encoding="utf-8")
    placed = set(re.findall(r'"([a-z0-9-]+:[A-Za-z]+)"', code))
    missing = {call for call, kind in KINDS.items() if not kind.join} - placed
    assert missing <= {"ec2:CreateVpc", "ec2:CreateSubnet"}


# -- The page ---------------------------------------------------------------------------------------------


def test_the_page_is_small_and_brings_nothing_from_elsewhere() -> None:
    texts = {path.name: path.read_text(encoding="utf-8") for path in PAGE.iterdir()}
    assert sum(len(text.encode()) for text in texts.values()) < 150_000
    for text in texts.values():
        addresses = set(re.findall(r"(?:https?:)?//[\w.-]+\.[a-z]{2,}[^\s\"']*", text))
        assert addresses <= {"http://www.w3.org/2000/svg"}, addresses


def test_the_page_makes_markup_of_no_text() -> None:
    code = (PAGE / "console.js").read_text(encoding="utf-8")
    assert not re.findall(
        r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function", code
    )


def test_the_page_says_all_in_both_languages() -> None:
    code = (PAGE / "console.js").read_text(encoding="utf-8")
    english, japanese = (
        set(re.findall(r'(?:^ +|", )"?([a-z][\w. /]*?)"?: "', part, re.MULTILINE))
        for part in re.findall(r"\n  (?:en|ja): \{(.*?)\n  \},", code, re.DOTALL)
    )
    assert english <= japanese
