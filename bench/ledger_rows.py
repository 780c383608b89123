"""What a row costs, and how fast many ledgers are listed, each beside its peer.

    python bench/ledger_rows.py

A row: `create` with a call that answers at once, in a ledger that holds 50 rows already. Its peer writes the
same two facts (begun, standing) to SQLite, each on disk before it goes on. Listing: 10,000 rows in 200
ledgers, beside nothing but `json.loads` of the same files.
"""

from __future__ import annotations

import json
import os
import sqlite3
import tempfile
import time
from pathlib import Path
from typing import Any

from awslabs import callbook, journal, ledger_cli
from awslabs.explain import Place
from awslabs.journal import Row
from awslabs.kinds import KINDS, Kind
from awslabs.ledger import Ledger

HEADER = {
    "lab": "ec2",
    "name": "default",
    "cloud": "aws",
    "account": "1" * 12,
    "region": "us-east-1",
    "owner": "me",
}


class FakeMeta:
    """What `ledger.operation` and `send` look at of a client."""

    method_to_api_mapping = {"create_thing": "CreateThing"}

    class service_model:  # noqa: N801 (botocore's own name)
        service_name = "bench"


class FakeOperation:
    """What the call book looks at of botocore's model of an operation."""

    name, service_model = "CreateSubnet", FakeMeta.service_model


class FakeCloud:
    """A cloud whose one call answers at once."""

    meta, region, is_aws, place = FakeMeta, "us-east-1", True, Place("", "us-east-1")
    identity = {"account": "1" * 12, "owner": "me"}

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def client(self, service: str, resends: bool = True) -> FakeCloud:
        return self

    def listen(self, event: str, listener: object) -> None:
        """No call of this cloud is botocore's: what the call book costs is told by `a_line`."""

    def create_thing(self, **request: str) -> dict:
        return {"ThingId": request["Name"]}


THING = Kind(
    call="bench:CreateThing",
    ids=lambda request, answer: answer,
    mark=lambda request, mark: {**request, "Tags": mark.tags()},
    look=lambda client, row: [],
    listed=lambda client, overview: [],
    delete=lambda client, found: None,
)


def rows_of(count: int) -> list[Row]:
    """Rows as a lab leaves them."""
    return [
        Row(
            number,
            f"thing-{number}",
            "ec2:CreateVpc",
            journal.fresh_token(),
            "standing",
            {"VpcId": f"vpc-{number:017}"},
            begun=journal.now(),
            made=journal.now(),
            usd_per_hour=0.01,
        )
        for number in range(1, count + 1)
    ]


def a_row(folder: Path, times: int = 200) -> None:
    """Median milliseconds of one `create` in a ledger of 50 rows, with and without waiting for the disk."""
    KINDS[THING.call] = THING
    cloud = FakeCloud(folder)
    ledger = Ledger(cloud, "ec2")  # type: ignore[arg-type]
    walls, ours = [], []
    with ledger.locked("up"):
        for number in range(times):
            ledger.journal.rows = rows_of(50)
            wall, own = time.perf_counter(), time.thread_time()
            ledger.create(
                f"new-{number}", cloud.create_thing, Name=f"thing-{number}", Other="vpc-00000000000000007"
            )
            walls.append(time.perf_counter() - wall)
            ours.append(time.thread_time() - own)
    base = sqlite3.connect(folder / "peer.db")
    base.execute("CREATE TABLE row (name TEXT, token TEXT, state TEXT, id TEXT)")
    base.execute("PRAGMA synchronous = FULL")
    peer = []
    for number in range(times):
        wall = time.perf_counter()
        with base:
            base.execute(
                "INSERT INTO row VALUES (?, ?, 'creating', '')", (f"new-{number}", journal.fresh_token())
            )
        with base:
            base.execute("UPDATE row SET state = 'standing', id = 'x' WHERE name = ?", (f"new-{number}",))
        peer.append(time.perf_counter() - wall)
    wall, own, theirs = (sorted(many)[times // 2] * 1000 for many in (walls, ours, peer))
    print(
        f"a row in a ledger of 50   {own:6.2f} ms of our own time, {wall:.2f} ms with the disk; "
        f"SQLite {theirs:.2f} ms with the disk: {wall / theirs:.2f} of it"
    )


def a_list(folder: Path) -> None:
    """Seconds to list 10,000 rows in 200 ledgers."""
    for number in range(200):
        header = {
            **HEADER,
            "schema": 1,
            "name": f"n{number}",
            "prefix": "awslabs-ec2-aaaaaa",
            "begun": journal.now(),
            "usd_before": 0.0,
        }
        path = folder / f"ec2.n{number}.{'1' * 12}.us-east-1.json"
        path.write_text(journal.as_text(header, rows_of(50)))
    since = time.perf_counter()
    entries = ledger_cli.standing([folder])
    seconds = time.perf_counter() - since
    since = time.perf_counter()
    for path in journal.files(folder):
        json.loads(path.read_text())
    peer = time.perf_counter() - since
    rows = sum(one.resources for one in entries)
    print(
        f"list {rows} rows in {len(entries)} ledgers  {seconds:.3f} s; "
        f"json.loads alone {peer:.3f} s: {seconds / peer:.1f} of it"
    )


def a_line(folder: Path, times: int = 2000) -> None:
    """What the call book takes for one call, from botocore's two events to the file; in a ledger of 50."""
    book = journal.Journal(folder / f"ec2.book.{'1' * 12}.us-east-1.json", HEADER)
    book.rows = rows_of(50)
    book.save()
    calls = callbook.CallBook(book)
    since, own = time.perf_counter(), time.thread_time()
    for number in range(times):
        context: dict[str, Any] = {}
        calls._asked({"VpcId": f"vpc-{number % 60:017}", "Cidr": "10.0.0.0/24"}, FakeOperation, context)
        calls._note(context, "ok")
    wall, own = time.perf_counter() - since, time.thread_time() - own
    print(
        f"a line in the call book   {own / times * 1000:6.3f} ms of our own time, "
        f"{wall / times * 1000:.3f} ms in all"
    )


def main() -> None:
    for figure in (a_row, a_line, a_list):
        with tempfile.TemporaryDirectory() as name:
            os.environ["AWSLABS_HOME"] = name
            figure(Path(name))


if __name__ == "__main__":
    main()
