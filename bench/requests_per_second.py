"""How many requests per second the practice cloud answers, beside `moto.server` and MiniStack (servers.py).

    python bench/requests_per_second.py             one client, which is a process of its own, five operations
    python bench/requests_per_second.py --seconds 5

The client speaks HTTP by itself, since boto3 would be what is measured: requests are signed beforehand and
sent over one connection that stays open where the server lets it.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import time
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from typing import Any
from urllib.parse import urlsplit

from botocore.awsrequest import AWSPreparedRequest
from servers import SERVERS, Server

KEY = {"id": {"S": "1"}}


class Prepared(Exception):
    """A request that was to be sent."""


def signed(client: Any, operation: str, **request: Any) -> tuple[str, str, dict[str, str], bytes]:
    """Method, path, headers and body, as boto3 would send them."""
    found: list[AWSPreparedRequest] = []

    def keep(request: AWSPreparedRequest, **_: Any) -> None:
        found.append(request)
        raise Prepared

    client.meta.events.register_first("before-send", keep)
    with suppress(Prepared):
        getattr(client, operation)(**request)
    client.meta.events.unregister("before-send", keep)
    [sent] = found
    parts = urlsplit(sent.url)
    headers = {
        name: value.decode() if isinstance(value, bytes) else value for name, value in sent.headers.items()
    }
    body = sent.body.read() if hasattr(sent.body, "read") else sent.body
    path = parts.path + (f"?{parts.query}" if parts.query else "")
    return sent.method, path, headers, body.encode() if isinstance(body, str) else body or b""


def prepare(server: Server) -> dict[str, tuple[str, str, dict[str, str], bytes]]:
    """A table, a bucket and a queue, and one request of each kind."""
    dynamodb, s3, sqs, ec2 = map(server.client, ("dynamodb", "s3", "sqs", "ec2"))
    dynamodb.create_table(
        TableName="bench",
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
    )
    dynamodb.get_waiter("table_exists").wait(TableName="bench", WaiterConfig={"Delay": 1})
    dynamodb.put_item(TableName="bench", Item=KEY)
    s3.create_bucket(Bucket="awslabs-bench")
    url = sqs.create_queue(QueueName="bench")["QueueUrl"]
    return {
        "DescribeVpcs": signed(ec2, "describe_vpcs"),
        "PutItem": signed(dynamodb, "put_item", TableName="bench", Item={**KEY, "n": {"N": "1"}}),
        "GetItem": signed(dynamodb, "get_item", TableName="bench", Key=KEY),
        "PutObject": signed(s3, "put_object", Bucket="awslabs-bench", Key="k", Body=b"x" * 1024),
        "SendMessage": signed(sqs, "send_message", QueueUrl=url, MessageBody="x"),
    }


def rate(endpoint_url: str, request: tuple[str, str, dict[str, str], bytes], seconds: float) -> float:
    """Answers per second to one client; every one has to be good."""
    method, path, headers, body = request
    connection = http.client.HTTPConnection(urlsplit(endpoint_url).netloc)
    done, began = 0, time.perf_counter()
    while (passed := time.perf_counter() - began) < seconds:
        connection.request(method, path, body, headers)
        answer = connection.getresponse()
        said = answer.read()
        if answer.status != 200:
            raise SystemExit(f"{path}: {answer.status} {said[:300]!r}")
        done += 1
    return done / passed


def measure(name: str, seconds: float) -> dict[str, float]:
    """Requests per second of one server, by operation."""
    with SERVERS[name]() as server:
        requests = prepare(server)
        with ProcessPoolExecutor(1) as client:
            return {
                what: client.submit(rate, server.endpoint_url, request, seconds).result()
                for what, request in requests.items()
            }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=3.0, help="per operation")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    found = {name: measure(name, options.seconds) for name in SERVERS}
    if options.json:
        print(json.dumps(found))
        return
    print(f"load {os.getloadavg()[0]:.1f}; requests per second, one client")
    for what, ours in found["ours"].items():
        peers = {name: of_peer[what] for name, of_peer in found.items() if name != "ours"}
        beside = "".join(f"   {name} {peer:7.0f} ({ours / peer:.2f})" for name, peer in peers.items())
        print(f"{what:<14} {ours:7.0f}{beside}")


if __name__ == "__main__":
    main()
