"""Bashoutter on AWS Lambda: one handler per kind of request, each with the one right that it needs.

    GET    /haiku            list_haiku     dynamodb:Scan on the table, or dynamodb:Query on its index
    POST   /haiku            post_haiku     dynamodb:PutItem
    PATCH  /haiku/{item_id}  like_haiku     dynamodb:UpdateItem
    DELETE /haiku/{item_id}  delete_haiku   dynamodb:DeleteItem

Environment: ``TABLE_NAME``; ``READ`` says how haiku are listed, by ``scan`` (the whole table each time, as a
first version would) or by ``query`` (only what is shown, out of the index). See `READERS`.

Anybody with rights on the table may put rows into it that look otherwise. What has three lines of text is
shown; of the rest of such a row as much as makes sense. What has not is left out. In the index stands only
what has the attribute `feed`, so a row of others is found by ``scan`` alone.

The table has the partition key ``item_id``, and an index ``newest`` with partition key ``feed`` (the same
word for all haiku) and sort key ``created_at``. What a request and an answer look like: ``openapi.yaml``.
"""

from __future__ import annotations

import base64
import functools
import heapq
import json
import logging
import os
import re
import time
import uuid
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from typing import Any
from urllib.parse import unquote, urlencode

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
LONGEST_ID = 2048  # bytes of a key of DynamoDB
LIMIT = re.compile(r"[1-9][0-9]?|100")
CURSOR = re.compile(r"[0-9a-f]{14}([0-9a-f]{2}){1,2048}")
EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
LATEST = 16**14 - 1  # microseconds since then that a cursor can hold: the year 4253
UNSEEN = "…"  # in the place of a text that is none

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


def answer(status: int, body: Any, **headers: str) -> dict[str, Any]:
    """What API Gateway turns into an HTTP answer.

    Source: "Output format of a Lambda function for proxy integration", API Gateway developer guide.
    """
    text = "" if body is None else json.dumps(body, ensure_ascii=False)
    return {"statusCode": status, "headers": HEADERS | headers, "body": text}


def answering(
    handler: Callable[[dict[str, Any]], dict[str, Any]],
) -> Callable[[dict[str, Any], Any], dict[str, Any]]:
    """Let every request end in an answer that a browser may read, and that tells nothing of our inside."""

    @functools.wraps(handler)
    def answered(event: dict[str, Any], context: Any) -> dict[str, Any]:
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
def list_haiku(event: dict[str, Any]) -> dict[str, Any]:
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
def post_haiku(event: dict[str, Any]) -> dict[str, Any]:
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
def like_haiku(event: dict[str, Any]) -> dict[str, Any]:
    """Add one like, and answer the haiku.

    The adding happens inside DynamoDB. Reading the number here and writing it back plus one would lose
    likes as soon as two come at once.
    """
    try:
        changed = dynamodb.update_item(
            TableName=TABLE_NAME,
            Key={"item_id": {"S": item_id_of(event)}},
            UpdateExpression="ADD likes :one",
            # Or an unknown id would become a new row, and likes that are a text an error.
            ConditionExpression="attribute_exists(item_id)"
            " AND (attribute_not_exists(likes) OR attribute_type(likes, :number))",
            ExpressionAttributeValues={":one": {"N": "1"}, ":number": {"S": "N"}},
            ReturnValues="ALL_NEW",
        )
    except dynamodb.exceptions.ConditionalCheckFailedException:
        raise no_such_haiku() from None
    haiku = haiku_of(changed["Attributes"])
    if haiku is None:
        raise no_such_haiku()
    return answer(200, haiku)


@answering
def delete_haiku(event: dict[str, Any]) -> dict[str, Any]:
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


def texts_of(event: dict[str, Any]) -> dict[str, str]:
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


def item_id_of(event: dict[str, Any]) -> str:
    """The id in the path: ours is 32 hexadecimal digits, that of another's row may be anything."""
    item_id = unquote((event.get("pathParameters") or {}).get("item_id", ""))
    if not item_id or SURROGATE.search(item_id) or len(item_id.encode()) > LONGEST_ID:
        raise no_such_haiku()
    return item_id


def no_such_haiku() -> Refused:
    return Refused(404, "There is no such haiku.")


# -- what goes out -------------------------------------------------------------------------------------


def by_scan(count: int, after: dict[str, Any] | None) -> list[dict[str, Any]]:
    """The newest haiku, out of all: DynamoDB reads, and bills, the whole table for every visitor."""
    haiku = everything()
    if after:
        last = after["created_at"], after["item_id"]
        haiku = (one for one in haiku if position(one) < last)
    return heapq.nlargest(count, haiku, key=position)


def everything() -> Iterator[dict[str, Any]]:
    """All haiku in no order, page after page of 1 MB."""
    pages = dynamodb.get_paginator("scan").paginate(TableName=TABLE_NAME)
    return filter(None, (haiku_of(item) for page in pages for item in page["Items"]))


def by_query(count: int, after: dict[str, Any] | None) -> list[dict[str, Any]]:
    """The newest haiku, out of an index that keeps them in order: only what is shown is read."""
    found: list[dict[str, Any]] = []
    where = after and {name: {"S": value} for name, value in after.items()}
    while True:
        answer = dynamodb.query(
            TableName=TABLE_NAME,
            IndexName="newest",
            KeyConditionExpression="feed = :feed",
            ExpressionAttributeValues={":feed": {"S": FEED}},
            ScanIndexForward=False,
            Limit=count - len(found),
            **({"ExclusiveStartKey": where} if where else {}),
        )
        found += filter(None, map(haiku_of, answer["Items"]))
        where = answer.get("LastEvaluatedKey")
        if not where or len(found) == count:  # else there were rows among them that are no haiku
            return found


READERS = {"scan": by_scan, "query": by_query}


def haiku_of(item: dict[str, Any]) -> dict[str, Any] | None:
    """A row of the table as the API shows it; None for what has not three lines of text."""
    if not all("S" in item.get(name, {}) for name in LINES):
        return None
    return {
        "item_id": item["item_id"]["S"],
        **{name: text_of(item.get(name, {}), longest) for name, longest in LONGEST.items()},
        "likes": max(0, int(Decimal(item.get("likes", {}).get("N", "0")))),
        "created_at": moment_of(item.get("created_at", {})),
    }


def text_of(value: dict[str, Any], longest: int) -> str:
    """A text of the table, as one line that can be seen."""
    text = re.sub(f"[{CONTROL}]", " ", str(value.get("S", "")))[:longest]
    return text if TEXT.fullmatch(text) else UNSEEN


def moment_of(value: dict[str, Any]) -> str:
    """A time of the table as ours, from ISO 8601 or from seconds since 1970; what is neither, is 1970."""
    try:
        if "N" in value:
            return moment(int(Decimal(value["N"]) * 1_000_000))
        when = datetime.fromisoformat(value["S"].replace("Z", "+00:00"))  # "Z" only since Python 3.11
        when = when if when.tzinfo else when.replace(tzinfo=timezone.utc)
        return moment((when - EPOCH) // timedelta(microseconds=1))
    except (KeyError, ValueError, ArithmeticError):
        return moment(0)


def position(haiku: dict[str, Any]) -> tuple[str, str]:
    """Where a haiku stands among the others."""
    return haiku["created_at"], haiku["item_id"]


# -- time and pages ------------------------------------------------------------------------------------


def moment(microseconds: int) -> str:
    """A time since 1970 as text of fixed width, so that texts sort as the times do."""
    when = EPOCH + timedelta(microseconds=min(max(0, microseconds), LATEST))
    return when.isoformat(timespec="microseconds").replace("+00:00", "Z")


def cursor(haiku: dict[str, Any]) -> str:
    """Where a page ended: time and id of its last haiku, in hexadecimal.

    Any such text is a good one: nothing need stand there.
    """
    when = datetime.fromisoformat(haiku["created_at"].replace("Z", "+00:00"))
    return f"{(when - EPOCH) // timedelta(microseconds=1):014x}{haiku['item_id'].encode().hex()}"


def key_of(after: str) -> dict[str, str]:
    """The key in the index behind which the next page begins."""
    item_id = bytes.fromhex(after[14:]).decode(errors="replace")
    return {"feed": FEED, "created_at": moment(int(after[:14], 16)), "item_id": item_id}
