"""Bashoutter in the practice cloud: how long a warm request takes, and what an index is worth.

    python bench/bashoutter.py [HAIKU] [PER_SECOND]

First one request after the other, over one connection, with 30 haiku in the table. Then `load` as the command
line has it: a steady stream of lists, by a scan of the table and, as its peer, by a query of the index, over
the same haiku (default: 500 haiku, 2 requests per second: what a scan bears on two cores).
"""

from __future__ import annotations

import os
import signal
import sys
import tempfile
import time
import uuid
from collections.abc import Callable
from typing import Any

from awslabs import sandbox, serverless
from awslabs.cloud import Cloud
from awslabs.ledger import Ledger
from awslabs.workload import pictures, tables
from awslabs.workload.serverless import haiku

TIMES = 200
SECONDS = 15.0


def fill(ledger: Ledger, many: int) -> None:
    """Haiku as the API keeps them, straight into the table."""
    requests = []
    for number in range(many):
        texts = {"username": f"poet {number}", "first": "an old silent pond", "second": "a frog jumps in"}
        texts |= {"third": "splash, silence again", "feed": "haiku", "item_id": uuid.uuid4().hex}
        created = f"2026-01-01T00:00:00.{number:06}Z"
        item = {name: {"S": text} for name, text in {**texts, "created_at": created}.items()}
        requests.append({"PutRequest": {"Item": {**item, "likes": {"N": "0"}}}})
    tables.send(ledger.client("dynamodb"), ledger.resources["haiku-table"], requests, many)


def warm(what: str, ask: Callable[[], Any]) -> None:
    """Milliseconds of a request, its function and its connection being warm."""
    for _ in range(10):
        ask()
    taken = []
    for _ in range(TIMES):
        began = time.perf_counter()
        ask()
        taken.append(1000 * (time.perf_counter() - began))
    p50, p95 = (pictures.quantile(taken, share) for share in (0.5, 0.95))
    print(f"{what:<26} p50 {p50:6.1f} ms, p95 {p95:6.1f} ms")


def main() -> None:
    many, rate = (int(sys.argv[n]) if len(sys.argv) > n else given for n, given in ((1, 500), (2, 2)))
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # end the practice cloud, as on Ctrl-C
    os.environ["AWSLABS_HOME"] = tempfile.mkdtemp()
    run = sandbox.start(slow_states=0)
    try:
        ledger = Ledger(Cloud(environment=run.environment(region="us-east-1")), "serverless")
        api = haiku.Api(serverless.up(ledger, read="query", rate=1000).api_url)
        fill(ledger, 30)
        item_id = haiku.newest(api)[0]["item_id"]
        warm("GET /haiku, 30 of them", lambda: haiku.newest(api))
        warm("PATCH /haiku/{item_id}", lambda: haiku.like(api, item_id))
        warm("POST /haiku", lambda: haiku.post(api, "basho", "furuike ya", "kawazu tobikomu", "mizu no oto"))
        fill(ledger, many)
        loads = [haiku.load(ledger, api, rate=rate, seconds=SECONDS, read=read) for read in ("scan", "query")]
    finally:
        run.stop()
    for load in loads:
        print(f"\n{many} haiku, {rate} lists per second, by {load.read}: {load.statuses}")
        print(f"p50 {load.p50_ms} ms, p95 {load.p95_ms} ms, p99 {load.p99_ms} ms\n{load.picture}")
    print(f"\nthe index: {loads[0].p50_ms / loads[1].p50_ms:.1f} times faster")


if __name__ == "__main__":
    main()
