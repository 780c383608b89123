"""cost: a day of Bashoutter on a moved clock, against a bill that this test writes by AWS's own rules.

The bill hears each call that anybody makes in this process, the functions' too, and looks into the tables
itself. It knows nothing of ledgers. The visitors are the test's: it runs the handlers as API Gateway would,
measures them, and logs what Lambda logs.
"""

from __future__ import annotations

import itertools
import json
import math
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import inprocess
import pytest
from bashoutter_kit import HOME, event, loaded
from bill_kit import ACCOUNT, REGION, Bill, opened
from botocore.client import BaseClient
from click.testing import CliRunner
from moto.s3.models import s3_backends

from awslabs import cli, cost, journal, serverless
from awslabs.errors import OverBudget
from awslabs.ledger import Ledger
from awslabs.workload import tables
from awslabs.workload.serverless import buckets

PRICES = {  # us-east-1, in US dollars for one
    "requests to Lambda": 0.20 / 1e6,
    "GB-seconds of Lambda": 0.0000166667,
    "requests to API Gateway": 3.50 / 1e6,
    "reads of DynamoDB": 0.125 / 1e6,
    "writes of DynamoDB": 0.625 / 1e6,
    "bytes of logs": 0.50 / 1e9,
    "writes and listings of buckets": 0.005 / 1e3,
    "reads of buckets": 0.0004 / 1e3,
    "bytes in buckets, for an hour": 0.023 / 2**30 / 730,
}
EACH_EVENT = 26  # bytes that CloudWatch bills besides a line's own
PUTS = ("Put", "Copy", "Post", "List", "Create", "Upload", "Complete")  # S3's pricing page: one price
WHOLE = ("FilterExpression", "ProjectionExpression", "ReturnConsumedCapacity")


def size(item: dict[str, Any]) -> int:
    """Bytes of an item. Source: DynamoDB developer guide, "DynamoDB item sizes and formats"."""
    return sum(len(name.encode()) + size_of(value) for name, value in item.items())


def size_of(value: dict[str, Any]) -> int:
    ((kind, content),) = value.items()
    if kind == "N":
        return math.ceil(len(content.strip("-0.").replace(".", "")) / 2) + 1
    assert kind == "S", "the labs put nothing else"
    return len(content.encode())


class Usage:
    """What was used in this cloud.

    Attributes
    ----------
    counts : dict
        By what `PRICES` are for.
    """

    def __init__(self, bill: Bill, patch: pytest.MonkeyPatch) -> None:
        self.bill, self.counts = bill, defaultdict[str, float](float)
        self.send = BaseClient._make_api_call
        self.own = inprocess.open_cloud(ACCOUNT, "auditor", REGION).client("dynamodb")
        patch.setattr(BaseClient, "_make_api_call", lambda *call: self.heard(*call))

    @property
    def usd(self) -> dict[str, float]:
        return {what: count * PRICES[what] for what, count in self.counts.items()}

    def heard(self, client: BaseClient, operation: str, request: dict[str, Any]) -> Any:
        service = client.meta.service_model.service_name
        if service == "dynamodb":
            return self.units(client, operation, request)
        if service == "s3" and not operation.startswith(("Delete", "Abort")):
            dear = operation.startswith(PUTS)
            self.counts["writes and listings of buckets" if dear else "reads of buckets"] += 1
        if service == "logs" and operation == "PutLogEvents":
            sizes = (len(one["message"].encode()) + EACH_EVENT for one in request["logEvents"])
            self.counts["bytes of logs"] += sum(sizes)
        return self.send(client, operation, request)

    def units(self, client: BaseClient, operation: str, request: dict[str, Any]) -> Any:
        if operation in ("Scan", "Query"):
            bare = {name: value for name, value in request.items() if name not in WHOLE}
            if "KeyConditionExpression" not in bare:
                bare.pop("ExpressionAttributeValues", None)
            read = sum(map(size, self.send(self.own, operation, bare)["Items"]))
            whole = 1.0 if request.get("ConsistentRead") else 0.5
            self.counts["reads of DynamoDB"] += whole * max(1, math.ceil(read / 4096))
            return self.send(client, operation, request)
        if operation == "GetItem":
            item = self.item(request["TableName"], request["Key"])
            whole = 1.0 if request.get("ConsistentRead") else 0.5
            self.counts["reads of DynamoDB"] += whole * max(1, math.ceil(size(item) / 4096))
            return self.send(client, operation, request)
        written = list(self.written(operation, request))
        before = [self.item(*one) for one in written]
        try:
            return self.send(client, operation, request)
        finally:  # a condition that fails is billed as the write would be
            for was, one in zip(before, written, strict=True):
                now = self.item(*one)
                unit = max(1, math.ceil(max(size(was), size(now)) / 1024))
                indexed = was != now and "feed" in {**was, **now}
                self.counts["writes of DynamoDB"] += 2 * unit if indexed else unit

    def written(self, operation: str, request: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
        """Table and key of each item that a call writes or deletes."""
        if operation in ("PutItem", "UpdateItem", "DeleteItem"):
            whole = request.get("Key") or request["Item"]
            yield request["TableName"], {"item_id": whole["item_id"]}
        for table, items in request.get("RequestItems", {}).items() if operation == "BatchWriteItem" else ():
            for each in items:
                ((_, what),) = each.items()
                yield table, {"item_id": (what.get("Item") or what["Key"])["item_id"]}

    def item(self, table: str, key: dict[str, Any]) -> dict[str, Any]:
        """An item as it is now, for nothing."""
        return self.send(self.own, "GetItem", {"TableName": table, "Key": key}).get("Item", {})

    def pass_hour(self) -> None:
        """What lies in buckets costs by the hour."""
        kept = s3_backends[ACCOUNT]["aws"].buckets.values()
        stored = sum(key.size for bucket in kept for key in bucket.keys.values())
        self.counts["bytes in buckets, for an hour"] += stored
        self.bill.clock.sleep(3600.0)


class Visitors:
    """Everybody's browsers, and what Lambda does for them: they share no code with the lab's own client.

    Parameters
    ----------
    ledger : Ledger
        Of a lab that stands.
    """

    def __init__(self, ledger: Ledger, usage: Usage, module: ModuleType) -> None:
        self.usage, self.module, self.prefix = usage, module, ledger.prefix
        self.logs, self.numbers = ledger.client("logs"), itertools.count()
        names = ("list-haiku", "post-haiku", "like-haiku", "delete-haiku", "greeter")
        for name in names:
            self.logs.create_log_stream(logGroupName=f"/aws/lambda/{self.prefix}-{name}", logStreamName="one")
        greeting: dict[str, Any] = {}
        exec(serverless.GREETER, greeting)
        greeting["time"] = usage.bill.clock
        self.greet = greeting["greet"]

    def run(self, name: str, handler: Callable[..., Any], event: dict[str, Any], memory_mib: int) -> Any:
        """One invocation, billed by the millisecond it took."""
        clock = self.usage.bill.clock
        began = clock.monotonic()
        answer = handler(event, None)
        milliseconds = 1000 * (clock.monotonic() - began)
        self.usage.counts["requests to Lambda"] += 1
        self.usage.counts["GB-seconds of Lambda"] += math.ceil(milliseconds) / 1000 * memory_mib / 1024
        self.logged(name, milliseconds, memory_mib)
        return answer

    def logged(self, name: str, milliseconds: float, memory_mib: int) -> None:
        """What Lambda logs of an invocation, in its own words."""
        id = f"9e8d7c6b-0000-4000-8000-{next(self.numbers):012}"
        lines = [
            f"START RequestId: {id} Version: $LATEST\n",
            f"END RequestId: {id}\n",
            f"REPORT RequestId: {id}\tDuration: {milliseconds:.2f} ms\t"
            f"Billed Duration: {math.ceil(milliseconds)} ms\t"
            f"Memory Size: {memory_mib} MB\tMax Memory Used: 80 MB\t\n",
        ]
        now = int(time.time() * 1000)  # logs go by the computer's clock
        self.logs.put_log_events(
            logGroupName=f"/aws/lambda/{self.prefix}-{name}",
            logStreamName="one",
            logEvents=[{"timestamp": now, "message": line} for line in lines],
        )

    def greeted(self) -> None:
        self.run("greeter", self.greet, {"name": "Ada"}, 128)

    def asked(self, verb: str, method: str, item_id: str = "", body: dict[str, str] | None = None) -> Any:
        """A request to the API; before what changes something a browser asks whether it may."""
        self.usage.counts["requests to API Gateway"] += 1 if method == "GET" else 2
        sent = event(
            method,
            f"/haiku/{item_id}" if item_id else "/haiku",
            json.dumps(body) if body else None,
            pathParameters={"item_id": item_id} if item_id else None,
        )
        answer = self.run(f"{verb}-haiku", getattr(self.module, f"{verb}_haiku"), sent, 512)
        assert answer["statusCode"] in (200, 201, 204, 404)
        return json.loads(answer["body"] or "null")

    def visit(self) -> list[dict[str, Any]]:
        """Load the page, which lists haiku."""
        self.usage.counts["reads of buckets"] += len(list((HOME / "page").iterdir())) + 1  # an icon, too
        return self.asked("list", "GET")

    def post(self, text: str = "an old silent pond") -> str:
        lines = {"username": "Basho", "first": text, "second": text, "third": text}
        return self.asked("post", "POST", body=lines)["item_id"]


@pytest.fixture
def usage(bill: Bill, monkeypatch: pytest.MonkeyPatch) -> Usage:
    monkeypatch.setattr(serverless, "wait_for_api", lambda url: None)
    return Usage(bill, monkeypatch)


@pytest.fixture
def lab(usage: Usage, monkeypatch: pytest.MonkeyPatch) -> tuple[Ledger, Visitors]:
    """The lab, built, with its handlers loaded into this process."""
    ledger = opened("serverless")
    serverless.up(ledger)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", f"AKIAPRACTICE{ACCOUNT}")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "nobody looks at it here")
    monkeypatch.setenv("AWS_DEFAULT_REGION", REGION)
    monkeypatch.setenv("TABLE_NAME", ledger.resources["haiku-table"])
    monkeypatch.setenv("READ", "scan")
    return ledger, Visitors(ledger, usage, loaded(monkeypatch))


def metered(ledger: Ledger) -> dict[str, float]:
    """What the meter says, in US dollars, by what it is for."""
    found = defaultdict[str, float](float)
    for line in cost.lines(ledger.journal.header, ledger.journal.rows):
        assert line.at_most
        assert line.usd is not None
        what = line.what.partition(" ")[2]
        found["bytes in buckets, for an hour" if what.startswith("bytes in the") else what] += line.usd
    return found


def assert_no_surprise(ledger: Ledger, usage: Usage) -> None:
    """Nothing on the bill is more than the meter has said."""
    said = metered(ledger)
    for what, usd in usage.usd.items():
        assert said[what] >= usd * (1 - 1e-9), what
    assert ledger.usd_so_far == pytest.approx(sum(said.values()))


def test_a_day_of_bashoutter_costs_no_more_than_the_meter_says(
    lab: tuple[Ledger, Visitors], usage: Usage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger, visitors = lab
    (tmp_path / "photo.jpg").write_bytes(b"x" * 300_000)
    for hour in range(24):
        if hour == 12:
            monkeypatch.setenv("READ", "query")
        ids = [visitors.post("夏草や" * 5) for _ in range(2)]
        for _ in range(4):
            visitors.visit()
        visitors.asked("like", "PATCH", ids[0])
        visitors.asked("delete", "DELETE", ids[-1])
        visitors.asked("delete", "DELETE", ids[-1])  # somebody else, too late
        visitors.greeted()
        buckets.put(ledger, tmp_path / "photo.jpg", f"{hour}.jpg")
        buckets.get(ledger, f"{hour}.jpg", tmp_path / "back.jpg")
        tables.write(ledger, 10)
        person = tables.put(ledger, "Ada", "Lovelace", 36)
        tables.get(ledger, person["item_id"])
        tables.search_under_age(ledger, 30)
        if hour % 6 == 5:
            tables.clear(ledger)
            ledger.read_meter()
            assert_no_surprise(ledger, usage)
        usage.pass_hour()
    serverless.down(ledger)
    ledger.read_meter()
    assert_no_surprise(ledger, usage)
    said, usd = sum(metered(ledger).values()), sum(usage.usd.values())
    # What a list reads is the largest part of it: the table is small, and the meter cannot see that.
    assert usd < said < 5 * usd
    for _ in range(24):
        usage.pass_hour()
    ledger.read_meter()
    assert (sum(metered(ledger).values()), sum(usage.usd.values())) == (said, usd)


def test_a_table_that_has_grown_beyond_a_page_is_read_whole(
    lab: tuple[Ledger, Visitors], usage: Usage
) -> None:
    ledger, visitors = lab
    table = ledger.resources["haiku-table"]
    visitors.post("\U0001f438" * 50)  # as long as a haiku can be: four bytes a character
    (longest,) = usage.send(usage.own, "Scan", {"TableName": table})["Items"]
    longest["username"] = {"S": "\U0001f438" * 30}
    assert 800 < size(longest) < cost.HAIKU_BYTES
    many = 1400
    for first in range(0, many, 25):
        copies = [{**longest, "item_id": {"S": f"{first + more:032}"}} for more in range(25)]
        puts = [{"PutRequest": {"Item": one}} for one in copies]
        usage.send(usage.own, "BatchWriteItem", {"RequestItems": {table: puts}})
    for _ in range(many):
        visitors.logged("post-haiku", 3.0, 512)
    visitors.visit()
    assert usage.counts["reads of DynamoDB"] > 128
    ledger.read_meter()
    assert_no_surprise(ledger, usage)


def asked(ledger: Ledger) -> dict[str, float]:
    """What stands in the ledger's file."""
    return dict(journal.read(ledger.journal.path)[0]["asked"])


def test_each_verb_writes_down_what_it_has_asked_of_tables_and_buckets(
    lab: tuple[Ledger, Visitors], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    ledger, _ = lab
    ledger.keep_count()
    before = asked(ledger)
    monkeypatch.setattr(cli, "open_ledger", lambda *_, **__: Ledger(ledger.cloud, "serverless"))
    (tmp_path / "a.txt").write_text("a")

    def did(*line: str) -> dict[str, float]:
        done = CliRunner().invoke(serverless.command_line(), line, catch_exceptions=False)
        assert done.exit_code == 0, done.output
        now = asked(ledger)
        news = {what: count - before.get(what, 0) for what, count in now.items()}
        before.update(now)
        return {what: count for what, count in news.items() if count}

    assert did("table", "write", "30") == {"writes": 30}
    assert did("table", "scan") == {"reads": 0.5}
    assert did("bucket", "put", str(tmp_path / "a.txt")) == {"puts": 1}
    assert did("bucket", "get", "a.txt", str(tmp_path / "b.txt")) == {"gets": 3}
    assert did("bucket", "rm", "a.txt") == {"gets": 1}


def test_two_objects_for_one_ledger_count_a_call_once_and_what_is_not_the_labs_never(
    lab: tuple[Ledger, Visitors],
) -> None:
    ledger, _ = lab
    ledger.keep_count()
    before = asked(ledger)
    again = Ledger(ledger.cloud, "serverless")
    s3 = ledger.client("s3")
    s3.create_bucket(Bucket="somebody-elses")
    s3.put_object(Bucket=ledger.resources["bucket"], Key="a", Body=b"a")
    again.keep_count()
    assert asked(ledger)["puts"] == before["puts"] + 1


@pytest.mark.parametrize(
    ("call", "kind", "least", "most"),
    [
        (lambda db, table: db.put_item(TableName=table, Item=person("x" * 5000)), "writes", 5, 14),
        (lambda db, table: db.scan(TableName=table), "reads", 1, 256),
        (lambda db, table: db.get_item(TableName=table, Key=key()), "reads", 2, 4),
        (lambda db, table: db.batch_get_item(RequestItems={table: {"Keys": [key()]}}), "reads", 2, 4),
        (lambda db, table: db.delete_item(TableName=table, Key=key()), "writes", 1, 2),
    ],
)
def test_a_call_that_did_not_ask_what_it_consumed_counts_as_the_most_that_it_can_be(
    call: Callable[[Any, str], Any], kind: str, least: float, most: float, lab: tuple[Ledger, Visitors]
) -> None:
    ledger, _ = lab
    db, table = ledger.client("dynamodb"), ledger.resources["table"]
    tables.put(ledger, "x" * 5000, "Lovelace", 36, item_id="ada")
    ledger.keep_count()
    before = asked(ledger)
    call(db, table)
    ledger.keep_count()
    assert least <= asked(ledger)[kind] - before.get(kind, 0) <= most


def key() -> dict[str, Any]:
    return {"item_id": {"S": "ada"}}


def person(name: str) -> dict[str, Any]:
    return {"item_id": {"S": "b"}, "first_name": {"S": name}}


def test_a_budget_holds_what_is_written_into_a_table(lab: tuple[Ledger, Visitors]) -> None:
    ledger, _ = lab
    ledger.limit(budget_usd=0.5)
    with pytest.raises(OverBudget, match="1,000,000 items"):
        tables.write(ledger, 1_000_000)
    assert tables.write(ledger, 10).count == 10
