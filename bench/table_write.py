"""`table write`, beside one `batch_writer`.

    python bench/table_write.py [10000]

Both write generated people to an endpoint on this computer that answers each batch after 50 ms. The peer is
what boto3's own guide shows: one table resource, one `batch_writer`, a loop. It writes a fifth of the items,
since its rate does not depend on their number.
"""

from __future__ import annotations

import sys
import time

import boto3
import stub

from awslabs.cloud import Cloud
from awslabs.workload import tables


def peer(many: int) -> float:
    """Items per second of one batch_writer."""
    table = boto3.resource("dynamodb").Table("people")
    people = [tables.plain(item) for item in tables.people(many)]
    began = time.perf_counter()
    with table.batch_writer() as batch:
        for person in people:
            batch.put_item(Item=person)
    return many / (time.perf_counter() - began)


def main() -> None:
    many = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000
    with stub.serving():
        theirs = peer(max(many // 5, 25))
        requests = ({"PutRequest": {"Item": item}} for item in tables.people(many))
        written = tables.send(Cloud().client("dynamodb"), "people", requests, many)
    assert written.count == many
    ratio = written.per_second / theirs
    print(f"one batch_writer        {theirs:8.1f} items per second")
    print(f"table write {many:<8}    {written.per_second:8.1f} items per second, {ratio:.1f} times")


if __name__ == "__main__":
    main()
