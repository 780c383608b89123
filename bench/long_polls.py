"""How long others wait while long polls are open, beside `moto.server` and MiniStack (servers.py).

    python bench/long_polls.py                      50 polls, 30 accounts with 5 calls per second each
    python bench/long_polls.py --seconds 60

Two client processes: one holds the long polls open, on one queue in each of the accounts, and opens the next
when one ends; the other one calls DescribeVpcs and GetItem in turn, in an open loop: a call that is late
because the one before it was counts from when it was due. In between a message goes to a queue of an account
of its own, for which a poll waits: how long it takes to arrive.
"""

from __future__ import annotations

import argparse
import http.client
import json
import multiprocessing
import os
import statistics
import threading
import time
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from itertools import cycle, islice
from typing import Any
from urllib.parse import urlsplit

from requests_per_second import signed
from servers import SERVERS, Server

Signed = tuple[str, str, dict[str, str], bytes]
KEY = {"id": {"S": "1"}}
POLL_S = 20


def ask(connection: http.client.HTTPConnection, request: Signed) -> bytes:
    """The body of an answer, which has to be good."""
    method, path, headers, body = request
    connection.request(method, path, body, headers)
    answer = connection.getresponse()
    said = answer.read()
    if answer.status != 200:
        raise SystemExit(f"{path}: {answer.status} {said[:300]!r}")
    return said


def prepare(server: Server, account: str) -> dict[str, Signed]:
    """A table and a queue of an account, and the calls that are measured."""
    ec2, dynamodb, sqs = (server.client(service, account) for service in ("ec2", "dynamodb", "sqs"))
    dynamodb.create_table(
        TableName="bench",
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
    )
    dynamodb.get_waiter("table_exists").wait(TableName="bench", WaiterConfig={"Delay": 1})
    dynamodb.put_item(TableName="bench", Item=KEY)
    ec2.describe_vpcs()  # an account that is new takes its time once
    url = sqs.create_queue(QueueName="bench")["QueueUrl"]
    return {
        "DescribeVpcs": signed(ec2, "describe_vpcs"),
        "GetItem": signed(dynamodb, "get_item", TableName="bench", Key=KEY),
        "poll": signed(sqs, "receive_message", QueueUrl=url, WaitTimeSeconds=POLL_S),
        "send": signed(sqs, "send_message", QueueUrl=url, MessageBody="x"),
    }


def hold(address: str, polls: list[Signed], open_: Any, over: Any) -> None:
    """Long polls, each one opened again when it ends, until it is over."""

    def one(poll: Signed) -> None:
        while not over.is_set():
            connection = http.client.HTTPConnection(address)
            connection.connect()
            open_.release()
            try:
                ask(connection, poll)
            except BaseException:
                os._exit(1)  # fewer polls than were asked for would be another figure

    for poll in polls:
        threading.Thread(target=one, args=(poll,), daemon=True).start()
    over.wait()
    os._exit(0)  # and not when the last poll ends


def call(
    address: str, calls: list[dict[str, Signed]], each_s: float, seconds: float
) -> dict[str, list[float]]:
    """Seconds from when each call was due to its answer, by operation."""
    waited: dict[str, list[float]] = {"DescribeVpcs": [], "GetItem": []}
    begin = time.perf_counter() + 0.5

    def one(number: int) -> None:
        connection = http.client.HTTPConnection(address)
        due = begin + each_s * number / len(calls)
        for what in islice(cycle(waited), int(seconds / each_s)):
            time.sleep(max(0.0, due - time.perf_counter()))
            ask(connection, calls[number][what])
            waited[what].append(time.perf_counter() - due)
            due += each_s

    with ThreadPoolExecutor(len(calls)) as pool:
        list(pool.map(one, range(len(calls))))
    return waited


def delivery(address: str, requests: dict[str, Signed], seconds: float) -> list[float]:
    """Seconds from sending a message to the end of the poll that waits for it."""
    took = []
    ends = time.perf_counter() + seconds
    with ThreadPoolExecutor(1) as pool:
        while time.perf_counter() < ends:
            connection = http.client.HTTPConnection(address)
            poll = pool.submit(ask, http.client.HTTPConnection(address), requests["poll"])
            time.sleep(0.5)  # it waits by now
            since = time.perf_counter()
            ask(connection, requests["send"])
            poll.result()
            took.append(time.perf_counter() - since)
    return took


def percentile(values: Iterable[float], percent: int) -> float:
    return statistics.quantiles(values, n=100)[percent - 1]


def measure(
    name: str, polls: int, accounts: int, rate: float, seconds: float
) -> tuple[dict[str, list[float]], float]:
    """What one server's clients waited, and how much of a core the server took."""
    with SERVERS[name]() as server:
        prepared = [prepare(server, f"{number:012}") for number in range(1, accounts + 2)]
        address = urlsplit(server.endpoint_url).netloc
        *measured, apart = prepared
        context = multiprocessing.get_context("spawn")
        open_, over = context.Semaphore(0), context.Event()
        held = list(islice(cycle(each["poll"] for each in measured), polls))
        holder = context.Process(target=hold, args=(address, held, open_, over), daemon=True)
        holder.start()
        for _ in held:
            open_.acquire()
        try:
            with ProcessPoolExecutor(2, context) as clients:
                used_s, since = server.cpu_used_s(), time.perf_counter()
                waited = clients.submit(call, address, measured, 1 / rate, seconds)
                arrived = clients.submit(delivery, address, apart, seconds)
                found = waited.result() | {"a message": arrived.result()}
                share = (server.cpu_used_s() - used_s) / (time.perf_counter() - since)
                if not holder.is_alive():
                    raise SystemExit(f"{name}: a long poll ended badly")
                return found, share
        finally:
            over.set()
            holder.join()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--polls", type=int, default=50)
    parser.add_argument("--accounts", type=int, default=30)
    parser.add_argument("--rate", type=float, default=5.0, help="calls per second and account")
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--only", choices=SERVERS)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    names = [options.only] if options.only else list(SERVERS)
    found = {}
    for name in names:
        load = os.getloadavg()[0]
        waited, share = measure(name, options.polls, options.accounts, options.rate, options.seconds)
        found[name] = {
            what: {f"p{each}_ms": round(1000 * percentile(took, each), 1) for each in (50, 99)}
            | {"calls": len(took), "cores": round(share, 2), "load": round(load, 1)}
            for what, took in waited.items()
        }
    if options.json:
        print(json.dumps(found))
        return
    for name, of_server in found.items():
        for what, row in of_server.items():
            print(
                f"{name:<12} {what:<14} p50 {row['p50_ms']:8.1f} ms   p99 {row['p99_ms']:8.1f} ms   "
                f"{row['calls']} calls, {row['cores']} cores, load {row['load']}"
            )


if __name__ == "__main__":
    main()
