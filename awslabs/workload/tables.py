"""A DynamoDB table of people: written in parallel batches, read page after page."""

from __future__ import annotations

import base64
import random
import time
import uuid
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from awslabs import prices
from awslabs.errors import AwsError
from awslabs.ledger import Ledger
from awslabs.progress import counting, each
from awslabs.show import Shown
from awslabs.workload import standing

BATCH = 25  # the most that BatchWriteItem takes
AT_ONCE = 32  # batches under way
SEGMENTS = 8  # readers of a large table
FIRST_NAMES = ["Ada", "Alan", "Barbara", "Claude", "Donald", "Edsger", "Frances", "Grace", "Hedy", "Ken"]
LAST_NAMES = ["Allen", "Dijkstra", "Hopper", "Knuth", "Lamarr", "Liskov", "Lovelace", "Shannon", "Turing"]

Item = dict[str, Any]  # as DynamoDB has it: {"age": {"N": "36"}}


@dataclass(frozen=True)
class Written(Shown):
    """What a write or a deletion did.

    Attributes
    ----------
    count : int
        Items.
    calls, retried : int
        Batches sent, and items that AWS did not take at first.
    capacity_units : float
        Write units consumed; a million cost 0.625 USD in us-east-1.
    seconds, per_second : float
    """

    count: int
    calls: int
    retried: int
    capacity_units: float
    seconds: float
    per_second: float


@dataclass(frozen=True)
class Read(Shown):
    """What a scan found.

    Attributes
    ----------
    count, scanned : int
        Items returned, and items that DynamoDB read, and billed, to find them.
    pages, segments : int
        Answers of up to 1 MB, and how many readers asked for them at the same time.
    capacity_units : float
        Read units consumed; a million cost 0.125 USD in us-east-1.
    items : list of dict
    """

    count: int
    scanned: int
    pages: int
    segments: int
    capacity_units: float
    items: list[dict[str, Any]]


def people(many: int) -> Iterator[Item]:
    """Generated people: ``item_id``, ``first_name``, ``last_name``, ``age`` (1 to 50)."""
    for _ in range(many):
        yield {
            "item_id": {"S": uuid.uuid4().hex},
            "first_name": {"S": random.choice(FIRST_NAMES)},
            "last_name": {"S": random.choice(LAST_NAMES)},
            "age": {"N": str(random.randint(1, 50))},
        }


def plain(item: Item) -> dict[str, Any]:
    """An item as Python has it: whole numbers as int, bytes in base64, as the AWS CLI shows them."""
    return {name: as_python(value) for name, value in item.items()}


def as_python(value: dict[str, Any]) -> Any:
    ((kind, content),) = value.items()
    if kind in ("NS", "BS"):
        return [as_python({kind[0]: one}) for one in content]
    if kind == "N":
        return int(content) if content.lstrip("-").isdigit() else float(content)
    if kind == "M":
        return plain(content)
    if kind == "B":
        return base64.b64encode(content).decode()
    if kind == "NULL":
        return None
    return [as_python(one) for one in content] if kind == "L" else content


# -- One ---------------------------------------------------------------------------------------------------


def put(ledger: Ledger, first_name: str, last_name: str, age: int, *, item_id: str = "") -> dict[str, Any]:
    """Write one person; an item with the same ``item_id`` is replaced. AWS calls: ``dynamodb:PutItem``."""
    item = {
        "item_id": {"S": item_id or uuid.uuid4().hex},
        "first_name": {"S": first_name},
        "last_name": {"S": last_name},
        "age": {"N": str(age)},
    }
    ledger.client("dynamodb").put_item(TableName=standing(ledger, "table"), Item=item)
    return plain(item)


def get(ledger: Ledger, item_id: str) -> dict[str, Any] | None:
    """One person, as last written; None where there is none. AWS calls: ``dynamodb:GetItem``."""
    answer = ledger.client("dynamodb").get_item(
        TableName=standing(ledger, "table"), Key={"item_id": {"S": item_id}}, ConsistentRead=True
    )
    return plain(answer["Item"]) if "Item" in answer else None


# -- Many --------------------------------------------------------------------------------------------------


def write(ledger: Ledger, many: int) -> Written:
    """Write generated people in parallel batches. AWS calls: ``dynamodb:BatchWriteItem``."""
    usd = many * prices.rate("DynamoDB million writes", ledger.cloud.region) / 1e6
    ledger.afford(f"{many:,} items", usd)
    requests = ({"PutRequest": {"Item": item}} for item in people(many))
    return send(ledger.client("dynamodb"), standing(ledger, "table"), requests, many)


def clear(ledger: Ledger) -> Written:
    """Delete all items, and keep the table. AWS calls: ``dynamodb:Scan``, ``dynamodb:BatchWriteItem``."""
    client, table = ledger.client("dynamodb"), standing(ledger, "table")
    keys = scan_all(client, table, ProjectionExpression="item_id").items
    requests = [{"DeleteRequest": {"Key": {"item_id": {"S": one["item_id"]}}}} for one in keys]
    return send(client, table, requests, len(requests))


def send(client: Any, table: str, requests: Iterable[dict[str, Any]], total: int) -> Written:
    """Send put and delete requests, 25 to a batch and 32 batches at a time.

    What AWS does not take at first (``UnprocessedItems``) is sent again, each time after a longer pause.
    """
    began, source = time.monotonic(), iter(requests)
    batches = iter(lambda: list(islice(source, BATCH)), [])
    with counting("written", total) as more:

        def one(batch: list[dict[str, Any]]) -> tuple[int, int, int, float]:
            calls, retried, units = 0, 0, 0.0
            left = batch
            while left:
                answer = client.batch_write_item(RequestItems={table: left}, ReturnConsumedCapacity="TOTAL")
                calls += 1
                units += sum(used["CapacityUnits"] for used in answer.get("ConsumedCapacity", []))
                rest = answer.get("UnprocessedItems", {}).get(table, [])
                more(len(left) - len(rest))
                left = rest
                if left:
                    retried += len(left)
                    if calls == 12:
                        raise AwsError(
                            f"DynamoDB left {len(left)} items of a batch unwritten twelve times.",
                            "It takes no more writes at this rate.",
                            "run the same command again in a minute, for fewer items",
                            code="UnprocessedItems",
                            operation="dynamodb:BatchWriteItem",
                        )
                    time.sleep(min(0.05 * 2**calls, 10.0) * random.uniform(0.5, 1.0))
            return len(batch), calls, retried, units

        done = each(one, batches, AT_ONCE)
    seconds = time.monotonic() - began
    count, calls, retried, units = (
        (sum(column) for column in zip(*done, strict=True)) if done else (0, 0, 0, 0.0)
    )
    per_second = count / max(seconds, 1e-9)
    return Written(int(count), int(calls), int(retried), units, round(seconds, 3), round(per_second, 1))


# -- Reading -----------------------------------------------------------------------------------------------


def scan(ledger: Ledger) -> Read:
    """Everybody. AWS calls: ``dynamodb:Scan``, once per megabyte."""
    return scan_all(ledger.client("dynamodb"), standing(ledger, "table"))


def search_under_age(ledger: Ledger, age: int) -> Read:
    """Everybody younger than `age`. AWS calls: ``dynamodb:Scan``.

    The filter works inside DynamoDB, but after reading: what it sorts out is billed all the same.
    """
    return scan_all(
        ledger.client("dynamodb"),
        standing(ledger, "table"),
        FilterExpression="age < :age",
        ExpressionAttributeValues={":age": {"N": str(age)}},
    )


def scan_all(client: Any, table: str, **how: Any) -> Read:
    """All items, page after page; a table of more than one page is read by several readers at once."""
    request = {"TableName": table, "ReturnConsumedCapacity": "TOTAL", **how}
    first = client.scan(**request)
    if "LastEvaluatedKey" not in first:
        return read([first], 1, [first])

    def segment(number: int) -> Sequence[dict[str, Any]]:
        pages = client.get_paginator("scan").paginate(**request, Segment=number, TotalSegments=SEGMENTS)
        return list(pages)

    pages = [page for pages in each(segment, range(SEGMENTS), SEGMENTS) for page in pages]
    return read(pages, SEGMENTS, [first, *pages])


def read(pages: Sequence[dict[str, Any]], segments: int, billed: Sequence[dict[str, Any]]) -> Read:
    """The pages of a scan as one result; the first page was billed even if it was read again."""
    items = [plain(item) for page in pages for item in page["Items"]]
    scanned = sum(page["ScannedCount"] for page in billed)
    units = sum(page.get("ConsumedCapacity", {}).get("CapacityUnits", 0.0) for page in billed)
    return Read(len(items), scanned, len(billed), segments, units, items)
