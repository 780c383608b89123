"""The one thing that is opened: what it is, the call that made it, what it logs or holds."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from awslabs import cost
from awslabs.calls import as_boto3, as_cli
from awslabs.console.feed import File
from awslabs.journal import Row
from awslabs.kinds.logs import MISSING
from awslabs.kinds.named import unless
from awslabs.ledger import digest
from awslabs.reasons import LANGUAGES, REASONS

LINES = 200  # of a log, the last
WIDEST = 2000  # characters of a line
ITEMS = 20  # of a table
OBJECTS = 50  # of a bucket
CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
Client = Callable[[str], Any]


def clean(text: str) -> str:
    """Text of somebody else's, with a sign in the place of what a terminal or a browser would obey."""

    def sign(found: re.Match[str]) -> str:
        code = ord(found[0])
        return chr(0x2400 + code) if code < 0x20 else "\u2421" if code == 0x7F else "\ufffd"

    text = CONTROL.sub(sign, text)
    return text if len(text) <= WIDEST else f"{text[:WIDEST]} … ({len(text)} characters)"


# -- What it is -------------------------------------------------------------------------------------------


def details(file: File, row: Row) -> dict[str, Any]:
    """What can be said of a row without asking anybody."""
    params, left_out = parameters(file, row)
    service, _, operation = row.call.partition(":")
    price = [line for line in cost.lines(file.header, [row]) if line.id == row.id]
    return {
        "call": row.call,
        "left_out": left_out,
        "boto3": as_boto3(service, operation, params),
        "cli": as_cli(service, operation, params),
        **_reason(row.call),
        "usd": price[0].usd if price else 0.0,
        "usd_per_hour": row.usd_per_hour,
    }


def parameters(file: File, row: Row) -> tuple[dict[str, Any], list[str]]:
    """The request that made a row, as far as the ledger knows it, and the names of the other parameters.

    A ledger keeps no request, but a digest of each parameter. A value that it knows from elsewhere, of an
    earlier row or of what it tells, is the parameter's if its digest is the same.
    """
    known = [value for other in file.rows if other.number in row.needs for value in other.ids.values()]
    known += [*row.ids.values(), *row.telling.values()]
    candidates: list[Any] = [*known, *([one] for one in known), 1, True, "PAY_PER_REQUEST", ""]
    by_digest = {digest(value): value for value in candidates}
    found, left_out = {}, []
    for name, wanted in row.digests.items():
        if name in row.telling and digest(row.telling[name]) == wanted:
            found[name] = row.telling[name]
        elif wanted in by_digest:
            found[name] = by_digest[wanted]
        else:
            left_out.append(name)
    return found, left_out


def _reason(call: str) -> dict[str, dict[str, str]]:
    """What a thing is and why it is there, in each language."""
    if (reason := REASONS.get(call)) is None:
        return {"what": {}, "why": {}}
    return {
        "what": {language: reason.what(language) for language in LANGUAGES},
        "why": {language: reason.why(language) for language in LANGUAGES},
    }


# -- What it says, and holds ---------------------------------------------------------------------------


def inside(client: Client, row: Row) -> dict[str, Any]:
    """Console output, the end of a log, items or files of one thing; the calls are made for it alone.

    Returns
    -------
    dict
        ``kind``: console, log, items, files, or empty for what has nothing inside; ``lines``.
    """
    if not row.id or row.call not in INSIDE:
        return {"kind": "", "lines": []}
    kind, read = INSIDE[row.call]
    lines = [clean(line) for line in read(client(row.call.partition(":")[0]), row, client)]
    return {"kind": kind, "lines": lines[-LINES:]}


def _console(ec2: Any, row: Row, client: Client) -> Iterator[str]:
    yield from ec2.get_console_output(InstanceId=row.id).get("Output", "").splitlines()


def _newest(logs: Any, group: str) -> Iterator[str]:
    """The end of the three streams of a log group in which something was written last."""
    newest = {"orderBy": "LastEventTime", "descending": True, "limit": 3}
    told = unless(MISSING, logs.describe_log_streams, logGroupName=group, **newest)
    events = []
    for stream in told["logStreams"] if told else ():
        events += _stream(logs, group, stream["logStreamName"])
    for event in sorted(events, key=lambda one: int(one["timestamp"])):
        yield event["message"].rstrip("\n")


def _stream(logs: Any, group: str, stream: str) -> list[Mapping[str, Any]]:
    last = {"limit": LINES, "startFromHead": False}
    told = unless(MISSING, logs.get_log_events, logGroupName=group, logStreamName=stream, **last)
    events: list[Mapping[str, Any]] = told["events"] if told else []
    return events


def _of_task(ecs: Any, row: Row, client: Client) -> Iterator[str]:
    found = ecs.describe_tasks(cluster=row.ids["clusterArn"], tasks=[row.id])["tasks"]
    for task in found:
        shown = ecs.describe_task_definition(taskDefinition=task["taskDefinitionArn"])["taskDefinition"]
        for box in shown["containerDefinitions"]:
            options = box.get("logConfiguration", {}).get("options", {})
            if "awslogs-group" in options:
                stream = (
                    f"{options.get('awslogs-stream-prefix', '')}/{box['name']}/{row.id.rpartition('/')[2]}"
                )
                for event in _stream(client("logs"), options["awslogs-group"], stream):
                    yield event["message"].rstrip("\n")


def _of_job(batch: Any, row: Row, client: Client) -> Iterator[str]:
    for job in batch.describe_jobs(jobs=[row.id])["jobs"]:
        box = job.get("container", {})
        options = box.get("logConfiguration", {}).get("options", {})
        if stream := box.get("logStreamName"):
            for event in _stream(client("logs"), options.get("awslogs-group", "/aws/batch/job"), stream):
                yield event["message"].rstrip("\n")


def _items(dynamodb: Any, row: Row, client: Client) -> Iterator[str]:
    for item in dynamodb.scan(TableName=row.id, Limit=ITEMS).get("Items", []):
        yield json.dumps(item, ensure_ascii=False, default=repr, sort_keys=True)


def _files(s3: Any, row: Row, client: Client) -> Iterator[str]:
    for one in s3.list_objects_v2(Bucket=row.id, MaxKeys=OBJECTS).get("Contents", []):
        yield f"{one['Size']:>12,} {one['Key']}"


INSIDE: dict[str, tuple[str, Callable[[Any, Row, Client], Iterator[str]]]] = {
    "ec2:RunInstances": ("console", _console),
    "lambda:CreateFunction": ("log", lambda _, row, client: _newest(client("logs"), f"/aws/lambda/{row.id}")),
    "logs:CreateLogGroup": ("log", lambda logs, row, _: _newest(logs, row.id)),
    "ecs:RunTask": ("log", _of_task),
    "batch:SubmitJob": ("log", _of_job),
    "dynamodb:CreateTable": ("items", _items),
    "s3:CreateBucket": ("files", _files),
}
