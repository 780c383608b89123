"""Bashoutter on AWS Lambda: one handler per kind of request, each with the one right that it needs.

    GET    /haiku            list_haiku     dynamodb:Scan on the table, or dynamodb:Query on its index
    POST   /haiku            post_haiku     dynamodb:PutItem
    PATCH  /haiku/{item_id}  like_haiku     dynamodb:UpdateItem
    DELETE /haiku/{item_id}  delete_haiku   dynamodb:DeleteItem

Environment: ``TABLE_NAME``; ``READ`` says how haiku are listed, by ``scan`` (the whole table each time, as a
first version would) or by ``query`` (only what is shown, out of the index). See `READERS`.

The table has the partition key ``item_id``, and an index ``newest`` with partition key ``feed`` (the same
word for all haiku) and sort key ``created_at``. What a request and an answer look like: ``openapi.yaml``.
"""

from __future__ import annotations

import base64
import functools
import json
import logging
import os
import re
import time
import uuid
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta, timezone
from typing import Any
from urllib.parse import urlencode

import boto3
from botocore.config import Config

log = logging.getLogger(__name__)

# Made once per process and kept while it is warm: the first request pays, the others find it open.
dynamodb = boto3.client(
    "dynamodb",
    config=Config(connect_timeout=2, read_timeout=5, retries={"mode": "standard", "total_max_attempts": 3}),
)
TABLE_NAME = os.environ["TABLE_NAME"]

FEED = "haiku"
LINES = ("first", "second", "third")
LONGEST = {"username": 30, "first": 50, "second": 50, "third": 50}  # characters: Unicode code points
PAGE, LONGEST_PAGE = 30, 100  # haiku in an answer

# One line of text: no control characters, no line breaks, and something in it that can be seen.
# The same pattern stands in openapi.yaml.
CONTROL = r"\u0000-\u001F\u007F-\u009F\u2028\u2029"
BLANK = r"\u0020\u00A0\u1680\u2000-\u200F\u202A-\u202F\u205F-\u206F\u3000\uFEFF"
TEXT = re.compile(f"[^{CONTROL}]*[^{CONTROL}{BLANK}][^{CONTROL}]*")
SURROGATE = re.compile(r"[\uD800-\uDFFF]")  # half a character; JSON can spell it, UTF-8 cannot
ITEM_ID = re.compile(r"[0-9a-f]{32}")
LIMIT = re.compile(r"[1-9][0-9]?|100")
CURSOR = re.compile(r"[0-9a-f]{46}")
EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)

# Lambda itself must say this: what API Gateway adds reaches only the answers that it gives by itself.
HEADERS = {
    "Access-Control-Allow-Origin": "*",
    "Access-Control-Expose-Headers": "Link",
    "Content-Type": "application/json",
}


class Refused(Exception):
    """A request that gets no better answer than a status and a sentence."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


def answer(status: int, body: Any, **headers: str) -> dict:
    """What API Gateway turns into an HTTP answer.

    Source: "Output format of a Lambda function for proxy integration", API Gateway developer guide.
    """
    text = "" if body is None else json.dumps(body, ensure_ascii=False)
    return {"statusCode": status, "headers": HEADERS | headers, "body": text}


def answering(handler: Callable[[dict], dict]) -> Callable[[dict, Any], dict]:
    """Let every request end in an answer that a browser may read, and that tells nothing of our inside."""

    @functools.wraps(handler)
    def answered(event: dict, context: Any) -> dict:
        try:
            return handler(event)
        except Refused as refused:
            return answer(refused.status, {"message": str(refused)})
        except Exception:
            log.exception("no answer to this request")  # with all details, where only we can read it
            return answer(500, {"message": "Something went wrong here. Please try again."})

    return answered


# -- the handlers --------------------------------------------------------------------------------------


@answering
def list_haiku(event: dict) -> dict:
    """Answer the newest haiku, ``?limit=`` of them; the header ``Link`` says where the next page is."""
    query = event.get("queryStringParameters") or {}
    limit, after = query.get("limit", str(PAGE)), query.get("after")
    if not LIMIT.fullmatch(limit):
        raise Refused(400, f"limit: a whole number from 1 to {LONGEST_PAGE}.")
    if after is not None and not CURSOR.fullmatch(after):
        raise Refused(400, "after: take it from the Link header of the page before.")
    read = READERS[os.environ.get("READ", "scan")]
    found = read(int(limit) + 1, after and key_of(after))  # one more than asked, to see if there are more
    haiku, more = found[: int(limit)], len(found) > int(limit)
    if not more:
        return answer(200, haiku)
    there = urlencode({"limit": limit, "after": cursor(haiku[-1])})
    return answer(200, haiku, Link=f'<?{there}>; rel="next"')


@answering
def post_haiku(event: dict) -> dict:
    """Keep a haiku, and answer it with its id."""
    texts = texts_of(event)
    haiku = {
        "item_id": uuid.uuid4().hex,
        **texts,
        "likes": 0,
        "created_at": moment(time.time_ns() // 1000),
    }
    item = {name: {"S": value} for name, value in haiku.items() if name != "likes"}
    dynamodb.put_item(TableName=TABLE_NAME, Item={**item, "likes": {"N": "0"}, "feed": {"S": FEED}})
    return answer(201, haiku)


@answering
def like_haiku(event: dict) -> dict:
    """Add one like, and answer the haiku.

    The adding happens inside DynamoDB. Reading the number here and writing it back plus one would lose
    likes as soon as two come at once.
    """
    try:
        changed = dynamodb.update_item(
            TableName=TABLE_NAME,
            Key={"item_id": {"S": item_id_of(event)}},
            UpdateExpression="ADD likes :one",
            ConditionExpression="attribute_exists(item_id)",  # or an unknown id would become a new row
            ExpressionAttributeValues={":one": {"N": "1"}},
            ReturnValues="ALL_NEW",
        )
    except dynamodb.exceptions.ConditionalCheckFailedException:
        raise no_such_haiku() from None
    return answer(200, haiku_of(changed["Attributes"]))


@answering
def delete_haiku(event: dict) -> dict:
    """Forget a haiku."""
    try:
        dynamodb.delete_item(
            TableName=TABLE_NAME,
            Key={"item_id": {"S": item_id_of(event)}},
            ConditionExpression="attribute_exists(item_id)",
        )
    except dynamodb.exceptions.ConditionalCheckFailedException:
        raise no_such_haiku() from None
    return answer(204, None)


# -- what comes in -------------------------------------------------------------------------------------


def texts_of(event: dict) -> dict[str, str]:
    """Name and lines of a posted haiku, without the blanks around them."""
    try:
        body = event.get("body") or ""
        if event.get("isBase64Encoded"):
            body = base64.b64decode(body, validate=True).decode()
        sent = json.loads(body)
    except (ValueError, RecursionError):
        raise Refused(400, "The body is not JSON.") from None
    if not isinstance(sent, dict) or set(sent) != set(LONGEST):
        raise Refused(400, f"The body is a JSON object with {', '.join(LONGEST)}, and nothing else.")
    for name, longest in LONGEST.items():
        text = sent[name]
        if not isinstance(text, str) or not 1 <= len(text) <= longest:
            raise Refused(400, f"{name}: a text of 1 to {longest} characters.")
        if not TEXT.fullmatch(text) or SURROGATE.search(text):
            raise Refused(400, f"{name}: one line of text, with something in it that can be seen.")
    return {name: sent[name].strip() for name in LONGEST}


def item_id_of(event: dict) -> str:
    """The id in the path."""
    item_id = (event.get("pathParameters") or {}).get("item_id", "")
    if not ITEM_ID.fullmatch(item_id):
        raise no_such_haiku()
    return item_id


def no_such_haiku() -> Refused:
    return Refused(404, "There is no such haiku.")


# -- what goes out -------------------------------------------------------------------------------------


def by_scan(count: int, after: dict | None) -> list[dict]:
    """The newest haiku, out of all: DynamoDB reads, and bills, the whole table for every visitor."""
    haiku = sorted(everything(), key=position, reverse=True)
    if after:
        haiku = [one for one in haiku if position(one) < position(after)]
    return haiku[:count]


def everything() -> Iterator[dict]:
    """All haiku in no order, page after page of 1 MB."""
    pages = dynamodb.get_paginator("scan").paginate(
        TableName=TABLE_NAME,
        FilterExpression="feed = :feed",
        ExpressionAttributeValues={":feed": {"S": FEED}},
    )
    return (haiku_of(item) for page in pages for item in page["Items"])


def by_query(count: int, after: dict | None) -> list[dict]:
    """The newest haiku, out of an index that keeps them in order: only what is shown is read."""
    where: dict[str, Any] = {}
    if after:
        where["ExclusiveStartKey"] = {name: {"S": value} for name, value in after.items()}
    found = dynamodb.query(
        TableName=TABLE_NAME,
        IndexName="newest",
        KeyConditionExpression="feed = :feed",
        ExpressionAttributeValues={":feed": {"S": FEED}},
        ScanIndexForward=False,
        Limit=count,
        **where,
    )
    return [haiku_of(item) for item in found["Items"]]


READERS = {"scan": by_scan, "query": by_query}


def haiku_of(item: dict) -> dict:
    """A row of the table as the API shows it."""
    texts = {name: item[name]["S"] for name in ("item_id", "username", *LINES)}
    return {**texts, "likes": int(item["likes"]["N"]), "created_at": item["created_at"]["S"]}


def position(haiku: dict) -> tuple[str, str]:
    """Where a haiku stands among the others."""
    return haiku["created_at"], haiku["item_id"]


# -- time and pages ------------------------------------------------------------------------------------


def moment(microseconds: int) -> str:
    """A time since 1970 as text of fixed width, so that texts sort as the times do."""
    when = EPOCH + timedelta(microseconds=microseconds)
    return when.isoformat(timespec="microseconds").replace("+00:00", "Z")


def cursor(haiku: dict) -> str:
    """Where a page ended: time and id of its last haiku, in hexadecimal.

    Any text of this form is a good one: 14 digits reach to the year 4253, and nothing need stand there.
    """
    when = datetime.strptime(haiku["created_at"], "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=timezone.utc)
    return f"{(when - EPOCH) // timedelta(microseconds=1):014x}{haiku['item_id']}"


def key_of(after: str) -> dict[str, str]:
    """The key in the index behind which the next page begins."""
    return {"feed": FEED, "created_at": moment(int(after[:14], 16)), "item_id": after[14:]}
