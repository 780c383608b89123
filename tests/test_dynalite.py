"""The table verbs beside an independent DynamoDB, `dynalite`: what they find and pay is the same.

npm install --prefix FOLDER dynalite@3
AWSLABS_TEST_DYNALITE=FOLDER python -m pytest tests/test_dynalite.py
"""

from __future__ import annotations

import os
import random
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import boto3
import pytest
from test_services_support import cloud

from awslabs.cloud import Cloud
from awslabs.journal import Row
from awslabs.ledger import Ledger
from awslabs.workload import tables

FOLDER = os.environ.get("AWSLABS_TEST_DYNALITE", "")
SERVE = (
    "const server = require('dynalite')({createTableMs: 0});"
    "server.listen(0, '127.0.0.1', () => console.log(server.address().port));"
    "process.stdin.on('end', () => process.exit()).resume()"  # it ends with the tests, whatever ends them
)
PAGE_UNITS = 128.0  # a page of 1 MB, half a unit for each 4 KB

pytestmark = [
    pytest.mark.live,
    pytest.mark.skipif(
        not Path(FOLDER, "node_modules", "dynalite").is_dir() or shutil.which("node") is None,
        reason="needs Node.js, and AWSLABS_TEST_DYNALITE=FOLDER: npm install --prefix FOLDER dynalite@3",
    ),
]


@pytest.fixture
def other() -> Iterator[Any]:
    """A client of dynalite, in memory on a port of its own."""
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen(["node", "-e", SERVE], cwd=FOLDER, **pipes) as server:
        yield boto3.client("dynamodb", endpoint_url=f"http://127.0.0.1:{int(server.stdout.readline())}")


@pytest.fixture
def ledger() -> Iterator[Ledger]:
    """A ledger in the practice cloud's AWS, which takes no time today."""
    with cloud(every=True):
        ledger = Ledger(Cloud(), "serverless")
        ledger.journal.add(
            Row(0, "table", "dynamodb:CreateTable", "t", state="standing", ids={"Name": "people"})
        )
        yield ledger


def on(ledger: Ledger, client: Any, monkeypatch: pytest.MonkeyPatch) -> Ledger:
    """The same ledger, whose tables are where this client looks; the people made from now on are known."""
    client.create_table(
        TableName="people",
        AttributeDefinitions=[{"AttributeName": "item_id", "AttributeType": "S"}],
        KeySchema=[{"AttributeName": "item_id", "KeyType": "HASH"}],
        BillingMode="PAY_PER_REQUEST",
    )
    client.get_waiter("table_exists").wait(TableName="people", WaiterConfig={"Delay": 1})
    dice = random.Random(3)
    monkeypatch.setattr(ledger, "client", lambda service: client)
    monkeypatch.setattr(tables, "random", dice)
    monkeypatch.setattr(tables, "uuid", SimpleNamespace(uuid4=lambda: UUID(int=dice.getrandbits(128))))
    return ledger


def found(read: tables.Read) -> list[tuple]:
    """The items that a scan found, in an order of their own: a hash table has none."""
    return sorted((one["item_id"], one["age"], one.get("first_name", "")) for one in read.items)


def small(ledger: Ledger) -> list[Any]:
    """What the verbs say of a table that fits on one page."""
    seen: list[Any] = [
        tables.put(ledger, "芭蕉", "松尾", 50, item_id="1"),
        tables.put(ledger, "Ada", "Lovelace", 36, item_id="1"),
        tables.get(ledger, "1"),
        tables.get(ledger, "nobody"),
    ]
    for one in (tables.write(ledger, 260), tables.write(ledger, 1)):
        seen.append((one.count, one.calls, one.retried, one.capacity_units))
    for read in (tables.scan(ledger), *(tables.search_under_age(ledger, age) for age in (0, 1, 20, 51))):
        seen.append((read.count, read.scanned, read.pages, read.segments, read.capacity_units, found(read)))
    cleared = tables.clear(ledger)
    seen.append((cleared.count, cleared.calls, cleared.retried, cleared.capacity_units))
    return [*seen, tables.scan(ledger).count, tables.clear(ledger).count]


def large(ledger: Ledger) -> tuple[list[Any], float]:
    """What they say of 6 MB, which are read in pages by several readers; and what a scan of it costs.

    In plain letters: dynalite weighs a text by its characters, AWS by its bytes of UTF-8.
    """
    people = [{**one, "text": {"S": "x" * 100_000}} for one in tables.people(60)]
    puts = [{"PutRequest": {"Item": one}} for one in people]
    written = [
        tables.send(ledger.client("dynamodb"), "people", puts[at : at + 10], 10) for at in range(0, 60, 10)
    ]
    everybody, young = tables.scan(ledger), tables.search_under_age(ledger, 20)
    assert everybody.pages > everybody.segments, "every reader has a page, and one was read before"
    cleared = tables.clear(ledger)
    units = [sum(one.capacity_units for one in written), cleared.capacity_units]
    return [units, found(everybody), found(young), cleared.count], everybody.capacity_units


def test_a_small_table_is_the_same_in_both(
    ledger: Ledger, other: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours = small(on(ledger, ledger.client("dynamodb"), monkeypatch))
    theirs = small(on(ledger, other, monkeypatch))
    assert ours == theirs


def test_a_table_of_many_pages_is_the_same_in_both(
    ledger: Ledger, other: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours, units = large(on(ledger, ledger.client("dynamodb"), monkeypatch))
    theirs, their_units = large(on(ledger, other, monkeypatch))
    assert ours == theirs
    # The first page, which is read twice, holds other items here than there.
    assert abs(units - their_units) <= PAGE_UNITS
