"""`invoke-many`, beside a pool of processes with one client each.

    python bench/invoke_many.py [1000]

Both send asynchronous invocations to an endpoint on this computer that answers each after 50 ms. The pool
has a process per core, each with a boto3 client of its own: what one writes first. It sends a tenth of the
events, since its rate does not depend on their number.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import sys
import time
from typing import Any

import boto3
import stub

from awslabs.cloud import Cloud
from awslabs.workload.serverless import functions

client: Any = None


def make_client() -> None:
    """Once per process of the pool."""
    global client
    client = boto3.client("lambda")


def invoke(number: int) -> int:
    """One event, as the pool sends it."""
    payload = json.dumps({"name": f"number {number}"})
    return client.invoke(FunctionName="f", InvocationType="Event", Payload=payload)["StatusCode"]


def peer(many: int) -> float:
    """Events per second of the pool, once it runs."""
    cores = os.cpu_count() or 1
    with multiprocessing.get_context("spawn").Pool(cores, make_client) as pool:
        pool.map(invoke, range(2 * cores), chunksize=1)  # every process has loaded boto3
        began = time.perf_counter()
        assert set(pool.map(invoke, range(many))) == {202}
        return many / (time.perf_counter() - began)


def main() -> None:
    many = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
    with stub.serving():
        theirs = peer(max(many // 10, 20))
        sent = functions.send(Cloud().client("lambda"), "f", [{"name": f"number {n}"} for n in range(many)])
    assert sent.sent == many
    ratio = sent.per_second / theirs
    print(f"process pool, {os.cpu_count()} cores   {theirs:7.1f} calls per second")
    print(f"invoke-many {many:<8}     {sent.per_second:7.1f} calls per second, {ratio:.1f} times")


if __name__ == "__main__":
    main()
