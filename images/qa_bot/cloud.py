"""What the program reads from S3 and from DynamoDB, and writes into DynamoDB."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from problems import Failure, Unreadable

BATCH = 25  # items that one BatchWriteItem takes
LARGEST_ITEM = 400_000  # bytes, names of the attributes included; AWS takes 400 KiB and rounds its own way
NUMBER = 21  # bytes that a number takes at most
ROUNDS = 10  # times that items which DynamoDB left out are sent again, within about a minute
SHORT = Config(connect_timeout=2, read_timeout=10, retries={"mode": "standard", "total_max_attempts": 3})
CONFIG = Config(connect_timeout=5, read_timeout=30, retries={"mode": "standard", "total_max_attempts": 8})


class Table:
    """A DynamoDB table of answers, keyed by `item_id`: a block that writes what is left when it ends.

    Items are sent 25 at a time. The same `item_id` again replaces the item, so a task that is run a second
    time leaves no doubles.

    AWS calls: dynamodb:GetItem, dynamodb:BatchWriteItem.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        with explained(f"the table {name}"):
            self.dynamodb = boto3.resource("dynamodb", config=CONFIG)
        self.waiting: dict[str, dict[str, Any]] = {}

    def __enter__(self) -> Table:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None or not issubclass(
            kind, Failure
        ):  # also when the task is stopped: what is answered stays
            self.flush()

    def questions(self, item_id: str) -> bytes:
        """The JSON text in the attribute `questions` of an item."""
        with explained(f"item {item_id} of the table {self.name}"):
            found = self.dynamodb.Table(self.name).get_item(Key={"item_id": item_id}, ConsistentRead=True)
        text = found.get("Item", {}).get("questions")
        if not isinstance(text, str):
            raise Failure(
                f"the table {self.name} has no questions under {item_id}.",
                "there is no such item." if "Item" not in found else "it has no text attribute `questions`.",
                f"put an item with item_id {item_id} and a JSON list in `questions` there first.",
            )
        return text.encode()

    def put(self, item: dict[str, Any]) -> None:
        """Write an item, with up to 24 others; a float becomes a Decimal.

        Raises
        ------
        Unreadable
            It is larger than an item may be, even without its context.
        """
        self.waiting[item["item_id"]] = fit(item)
        if len(self.waiting) == BATCH:
            self.flush()

    def flush(self) -> None:
        """Write what waits; what DynamoDB leaves out for now is sent again, later and later.

        Source: "BatchWriteItem", DynamoDB API reference: `UnprocessedItems`, exponential backoff.
        """
        requests = {self.name: [{"PutRequest": {"Item": item}} for item in self.waiting.values()]}
        for attempt in range(ROUNDS):
            if not requests.get(self.name):
                self.waiting = {}
                return
            if attempt:
                time.sleep(random.uniform(0.5, 1) * min(10, 0.1 * 2**attempt))
            with explained(f"the table {self.name}"):
                requests = self.dynamodb.batch_write_item(RequestItems=requests)["UnprocessedItems"]
        raise Failure(
            f"{len(requests[self.name])} answers were not written.",
            f"the table {self.name} left them out {ROUNDS} times: it is asked for more than it grants.",
            "ask again, in fewer tasks at once.",
        )


def fit(item: dict[str, Any]) -> dict[str, Any]:
    """An answer as an item that DynamoDB takes.

    An item holds 400 KB. Of a longer context only the part around the answer is kept, and `context_start`
    says at which character it begins; `start` and `end` stay positions in the whole context.

    Raises
    ------
    Unreadable
        Even without the context it is too large.
    """
    item = {name: Decimal(str(value)) if isinstance(value, float) else value for name, value in item.items()}
    spare = LARGEST_ITEM - size(item)
    if spare >= 0:
        return item
    item["context_start"] = 0
    context, start, end = item["context"], item["start"], item["end"]
    room = LARGEST_ITEM - size(item | {"context": ""}) - len(context[start:end].encode())
    if room < 0:
        raise Unreadable(f"its answer of {end - start} characters does not fit into an item of 400 KB")
    before, after = context[:start].encode(), context[end:].encode()
    before = before[
        max(0, len(before) - max(room // 2, room - len(after))) :
    ]  # what one side leaves, the other has
    after = after[: room - len(before)]
    kept_before = before.decode(errors="ignore")  # a character that was cut through is left out
    item["context"] = kept_before + context[start:end] + after.decode(errors="ignore")
    item["context_start"] = start - len(kept_before)
    return item


def size(item: dict[str, Any]) -> int:
    """Bytes that an item of texts and numbers counts for, at most.

    Source: "DynamoDB item sizes and formats", developer guide: names and texts in UTF-8, numbers up to 21.
    """
    return sum(
        len(name.encode()) + (len(value.encode()) if isinstance(value, str) else NUMBER)
        for name, value in item.items()
    )


def parameter(name: str) -> str:
    """The value of an SSM parameter that stands in for an environment variable of the same name.

    AWS calls: ssm:GetParameter.
    """
    try:
        return str(boto3.client("ssm", config=SHORT).get_parameter(Name=name)["Parameter"]["Value"])
    except (ClientError, BotoCoreError) as error:
        raise Failure(
            "there is no table for the answers.",
            f"the environment variable {name} is not set, and the SSM parameter {name} was not read: {error}",
            f"set {name}, or add --no-save to print the answers only.",
        ) from error


def read_object(url: str) -> bytes:
    """What `s3://bucket/key` holds."""
    bucket, _, key = url.removeprefix("s3://").partition("/")
    if not bucket or not key:
        raise Failure(f"{url} names no object.", "a bucket and a key are needed.", "--file s3://bucket/key")
    with explained(url):
        found = boto3.client("s3", config=CONFIG).get_object(Bucket=bucket, Key=key)
        return bytes(found["Body"].read())


@contextmanager
def explained(what: str) -> Iterator[None]:
    """Turn an error of AWS into what, why and a fix."""
    try:
        yield
    except ClientError as error:
        code = error.response.get("Error", {}).get("Code", "")
        raise Failure(
            f"{error.operation_name} for {what} was refused ({code}).",
            error.response.get("Error", {}).get("Message") or "AWS says no more.",
            FIXES.get(code, "see the message; the program can be run again."),
        ) from error
    except BotoCoreError as error:
        raise Failure(
            f"AWS was not reached for {what}.",
            str(error),
            "set AWS_REGION and credentials, as for any AWS program; on ECS the task role gives them.",
        ) from error


FIXES = {
    "ResourceNotFoundException": "set TABLE_NAME to a table of this Region, or add --no-save.",
    "AccessDeniedException": "give the role dynamodb:BatchWriteItem (for --from-table also GetItem) on it.",
    "AccessDenied": "give the role s3:GetObject on this object.",
    "NoSuchKey": "upload the file first, or correct the key.",
    "NoSuchBucket": "correct the bucket.",
}
