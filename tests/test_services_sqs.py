"""SQS in the practice cloud: long polls, which wait for a message and hold up nobody."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from typing import Any
from urllib.parse import urlsplit

import boto3
import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.config import Config

pytestmark = [pytest.mark.live, pytest.mark.usefixtures("student")]

POLLS = 20


@pytest.fixture
def queue(run: Any) -> Iterator[tuple[Any, str]]:
    """A client with a connection for everybody, and a queue of the test's own."""
    sqs = boto3.client(
        "sqs", "us-east-1", endpoint_url=run.endpoint_url, config=Config(max_pool_connections=POLLS + 5)
    )
    url = sqs.create_queue(QueueName=f"q{time.time_ns()}")["QueueUrl"]
    yield sqs, url
    sqs.delete_queue(QueueUrl=url)


def poll(pool: ThreadPoolExecutor, queue: tuple[Any, str], run: Any, **request: Any) -> Future[list[str]]:
    """A long poll in a thread of its own; what it brings."""
    sqs, url = queue
    asked = {"QueueUrl": url, "WaitTimeSeconds": 20, **request}
    return pool.submit(lambda: [m["Body"] for m in sqs.receive_message(**asked).get("Messages", [])])


def test_a_message_ends_a_long_poll_at_once(run: Any, queue: tuple[Any, str]) -> None:
    sqs, url = queue
    with ThreadPoolExecutor() as pool:
        waiting = poll(pool, queue, run)
        time.sleep(0.3)  # it is on its way
        sqs.send_message(QueueUrl=url, MessageBody="hello")
        sent = time.monotonic()
        assert waiting.result(timeout=120) == ["hello"]
        assert time.monotonic() - sent < 15, "it came when the poll was over"


def test_twenty_long_polls_hold_up_nobody(run: Any, queue: tuple[Any, str]) -> None:
    sqs, url = queue
    ec2 = boto3.client("ec2", "us-east-1", endpoint_url=run.endpoint_url)
    with ThreadPoolExecutor(POLLS) as pool:
        waiting = [poll(pool, queue, run, MaxNumberOfMessages=1) for _ in range(POLLS)]
        time.sleep(1)  # they are on their way
        ec2.describe_vpcs()
        assert not any(each.done() for each in waiting)
        for number in range(POLLS):
            sqs.send_message(QueueUrl=url, MessageBody=str(number))
        assert sorted(int(each.result(timeout=120)[0]) for each in waiting) == list(range(POLLS))


@pytest.mark.parametrize("late", ["delayed", "hidden", "given back"])
def test_a_message_that_can_be_seen_later_ends_a_long_poll_then(
    run: Any, queue: tuple[Any, str], late: str
) -> None:
    sqs, url = queue
    sqs.send_message(QueueUrl=url, MessageBody="later", DelaySeconds=600 if late == "delayed" else 0)
    handle = ""
    if late != "delayed":
        [got] = sqs.receive_message(QueueUrl=url, VisibilityTimeout=600)["Messages"]
        handle = got["ReceiptHandle"]
    with ThreadPoolExecutor() as pool:
        waiting = poll(pool, queue, run)
        time.sleep(0.3)  # it is on its way
        assert not waiting.done()
        if late == "given back":
            sqs.change_message_visibility(QueueUrl=url, ReceiptHandle=handle, VisibilityTimeout=0)
        else:
            run.let_pass(601)
        assert waiting.result(timeout=120) == ["later"]


def test_a_poll_ends_empty_and_takes_its_time(run: Any, queue: tuple[Any, str]) -> None:
    sqs, url = queue
    began = time.monotonic()
    assert "Messages" not in sqs.receive_message(QueueUrl=url, WaitTimeSeconds=1)
    assert time.monotonic() - began >= 1


def test_who_hangs_up_takes_no_message_along(run: Any, queue: tuple[Any, str]) -> None:
    sqs, url = queue
    asked = AWSRequest(
        "POST",
        run.endpoint_url + "/",
        headers={"X-Amz-Target": "AmazonSQS.ReceiveMessage", "Content-Type": "application/x-amz-json-1.0"},
        data=f'{{"QueueUrl": "{url}", "WaitTimeSeconds": 20}}',
    )
    SigV4Auth(boto3.Session().get_credentials(), "sqs", "us-east-1").add_auth(asked)
    address = urlsplit(run.endpoint_url)
    body = asked.prepare().body.encode()
    head = "".join(f"{name}: {value}\r\n" for name, value in asked.headers.items())
    with closing(socket.create_connection((address.hostname, address.port))) as connection:
        connection.sendall(
            f"POST / HTTP/1.1\r\nHost: {address.netloc}\r\nContent-Length: {len(body)}\r\n{head}\r\n".encode()
            + body
        )
        sqs.receive_message(QueueUrl=url, WaitTimeSeconds=1)  # when that is over, this poll waits, too
    sqs.send_message(QueueUrl=url, MessageBody="still here")
    time.sleep(0.3)
    [got] = sqs.receive_message(QueueUrl=url)["Messages"]
    assert got["Body"] == "still here"


def test_a_queue_says_how_many_messages_it_has(run: Any, queue: tuple[Any, str]) -> None:
    sqs, url = queue
    for body in "abc":
        sqs.send_message(QueueUrl=url, MessageBody=body, DelaySeconds=600 if body == "c" else 0)
    sqs.receive_message(QueueUrl=url)
    everything = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
    counts = [f"ApproximateNumberOfMessages{which}" for which in ("", "NotVisible", "Delayed")]
    assert [everything[name] for name in counts] == ["1", "1", "1"]
    assert "ContentBasedDeduplication" not in everything
    named = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=counts)["Attributes"]
    assert named == dict.fromkeys(counts, "1")


@pytest.mark.parametrize("by_content", ["true", "false"])
def test_a_fifo_queue_looks_at_content_if_it_was_made_to(
    run: Any, queue: tuple[Any, str], by_content: str
) -> None:
    sqs, _ = queue
    asked = {"FifoQueue": "true", "ContentBasedDeduplication": by_content}
    url = sqs.create_queue(QueueName=f"q{time.time_ns()}.fifo", Attributes=asked)["QueueUrl"]
    message = {"QueueUrl": url, "MessageBody": "same", "MessageGroupId": "g"}
    if by_content == "false":
        with pytest.raises(sqs.exceptions.ClientError, match="ContentBasedDeduplication enabled"):
            sqs.send_message(**message)
        return
    for _ in range(2):
        sqs.send_message(**message)
    assert len(sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10)["Messages"]) == 1


def test_a_message_is_sent_without_counting_those_before() -> None:
    """In a process of its own: what `moto_changes` changes stays so."""
    program = """
from moto.sqs.models import Queue, sqs_backends
from awslabs.sandbox.core import moto_changes
moto_changes.install()
counts = []
Queue.approximate_number_of_messages = property(lambda queue: counts.append(queue) or 0)
sqs = sqs_backends["111122223333"]["us-east-1"]
sqs.create_queue("q", {})
counts.clear()
sqs.send_message("q", "hello", {})
sent = len(counts)
sqs.get_queue_attributes("q", ["All"])["VisibilityTimeout"]
print(sent, len(counts))
"""
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert ran.stdout.split() == ["0", "1"]
