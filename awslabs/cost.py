"""The meter: what a lab has cost until now. The file counts the hours, AWS is asked for what it cannot know.

    lines(header, rows)     what each thing has cost, from the file alone: what stands, is gone, was used
    total(header, rows)     their sum; None, shown as "?", where a part of it is not known
    ask(client, book)       what AWS shows: servers, and what functions have logged
    note(book, answers)     ... written into the file's header, under `meter`

A row costs its `usd_per_hour` from `made` to `ended`, a minute at least (Fargate, EC2). AWS tells besides:

    a server was stopped, or ended by itself (its time was up, Spot took it)     ec2:DescribeInstances shows
    Batch's servers, which no row has made: they come and go                     an ended one for an hour
    what functions were billed for: their REPORT lines                           logs:FilterLogEvents
    how much was logged                                                          logs:DescribeLogGroups
    how much lies in buckets, and in repositories of images       s3:ListObjectsV2, ecr:DescribeImages

These calls are free, but for the listings of buckets. `Ledger.read_meter` makes them: before and after
`down`, and when somebody asks. What this package's clients ask of tables and buckets, those listings too,
`RequestCount` counts as it happens. Hours are exact. What was used is "at most": where AWS's bill alone
has the count, it is what the known calls may have made; and what is stored counts as if the most that was
ever seen had lain there from the beginning. Not counted: see `NOT_COUNTED`.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

from awslabs import journal, prices
from awslabs.journal import Journal, Row
from awslabs.kinds.containers import NO_REPOSITORY
from awslabs.kinds.ec2 import instances, of_ledger
from awslabs.kinds.named import as_kept, pages, unless
from awslabs.kinds.storage import MISSING

LEAST_S = 60.0  # seconds that are billed at least, of a server's or a task's life
SHOWN_S = 600.0  # age from which on AWS would show a server if there were one
BATCH_ROOT_GIB = 30  # an ECS-optimized AMI's root disk (ECS developer guide)
LISTINGS = 100  # calls for one bucket at most, each of a thousand files; a larger one's size is not known
BATCH_IDLE_S = 600.0  # seconds after its last job in which Batch ends a server that nobody saw ending


class PerCall(NamedTuple):
    """What one call of a function is at most, besides its own computing time.

    Attributes
    ----------
    requests : int
        To API Gateway: the page of a visitor may ask before it asks (a preflight of CORS).
    reads, writes : int
        Units of DynamoDB. A page of a table is 1 MB, read at half price in units of 4 KB. A haiku is less
        than 1 KB, and is written into the table and into its index.
    files : int
        Of Bashoutter's page, with the icon that browsers ask for: a visit begins with a list.
    """

    requests: int = 0
    reads: int = 0
    writes: int = 0
    files: int = 0


PER_CALL = {  # by how the names of their log groups end; other functions ask nobody
    "-list-haiku": PerCall(requests=2, reads=128, files=4),
    "-post-haiku": PerCall(requests=2, writes=2),
    "-like-haiku": PerCall(requests=2, writes=2),
    "-delete-haiku": PerCall(requests=2, writes=2),
}
POSTED, LISTED = "-post-haiku", "-list-haiku"
READ_BYTES = 8192  # of one read unit at half price
HAIKU_BYTES = 1024  # of a haiku at most, as DynamoDB counts: names and values
LOGGED_BYTES = 1024  # of a call: START, END and REPORT with 26 bytes each for AWS, and of few an error
NOT_COUNTED = (
    "transfer, what tables and logs store, queues, what a gateway answers without a function, "
    "and what programs other than awslabs ask of tables and buckets"
)
REFUSED = ("AccessDenied", "AccessDeniedException")  # somebody who may not look: then it is not counted
TRANSITION = re.compile(r"\((\d{4}-\d\d-\d\d \d\d:\d\d:\d\d) (?:GMT|UTC)\)")
REPORT = re.compile(r"Billed Duration: (\d+) ms\s+Memory Size: (\d+) MB")


@dataclass(frozen=True)
class Line:
    """What one thing has cost.

    Attributes
    ----------
    what, id : str
        The row's name, or what it is; and its identifier, if it has one.
    hours : float
        How long it was there, stopped or not.
    usd : float or None
        US dollars; None where its price is not known.
    at_most : bool
        Whether this is the most that it can be.
    """

    what: str
    id: str
    hours: float
    usd: float | None
    at_most: bool = False


# -- From the file alone ------------------------------------------------------------------------------------


def lines(header: dict[str, Any], rows: Iterable[Row]) -> list[Line]:
    """What each thing of this life of the ledger has cost, and what was used; 0 for none of them."""
    rates, rows = dict(header["meter"]["rates"]), list(rows)
    found = []
    for row in rows:
        spans = rates.pop(str(row.number), [[row.made, row.usd_per_hour]])
        if row.made and any(usd != 0 for _, usd in spans):
            found.append(_line(row.name, row.id, spans, row.ended))
    for key, spans in sorted(rates.items()):
        instance_type, _, instance_id = key.partition(" ")
        found.append(_line(f"{instance_type} of Batch", instance_id, spans, ""))
    by_number = {str(row.number): row for row in rows}
    for number, size in header["sizes"].items():
        if size != 0 and (holder := by_number.get(number)):
            found.append(_stored(holder, size, header["region"]))
    for what, count, usd in used(header):
        found.append(Line(f"{count:,.0f} {what}", "", 0.0, usd, at_most=True))
    return found


def total(header: dict[str, Any], rows: Iterable[Row]) -> float | None:
    """US dollars of all lives of a ledger until now."""
    return journal.total([header["usd_before"], *(one.usd for one in lines(header, rows))])


def price_note(header: dict[str, Any], rows: Iterable[Row]) -> str:
    """What is said behind `total` where a part of it is reckoned at another Region's price."""
    return prices.note(header["region"], used=any(one.at_most for one in lines(header, rows)))


def per_hour(header: dict[str, Any], rows: Iterable[Row]) -> float | None:
    """US dollars per hour of all that runs now, Batch's machines too; None where a price is not known."""
    rates = header["meter"]["rates"]
    own = [
        rates.get(str(row.number), [[row.made, row.usd_per_hour]])[-1][1]
        for row in rows
        if row.open and row.made
    ]
    return journal.total([*own, *(spans[-1][1] for key, spans in rates.items() if not key.isdigit())])


def used(header: dict[str, Any]) -> list[tuple[str, float, float]]:
    """What was used besides hours: what, how much of it, US dollars."""
    logs: dict[str, tuple[int, float, int]] = header["meter"]["logs"]
    calls, gb_seconds, _ = (sum(one[place] for one in logs.values()) for place in range(3))
    logged = sum(max(size, LOGGED_BYTES * calls) for calls, _, size in logs.values())
    asked, region = header["asked"], header["region"]
    most = {
        name: sum(_calls(header, ending) * float(getattr(each, name)) for ending, each in PER_CALL.items())
        for name in PerCall._fields
    }
    # A table that has grown beyond a page is read whole by who scans it.
    most["reads"] += _calls(header, LISTED) * _calls(header, POSTED) * HAIKU_BYTES / READ_BYTES
    counted = [
        ("requests to Lambda", calls, "Lambda million requests", 1e6),
        ("GB-seconds of Lambda", gb_seconds, "Lambda GB-second", 1),
        ("requests to API Gateway", most["requests"], "API Gateway million requests", 1e6),
        ("reads of DynamoDB", most["reads"] + asked.get("reads", 0), "DynamoDB million reads", 1e6),
        ("writes of DynamoDB", most["writes"] + asked.get("writes", 0), "DynamoDB million writes", 1e6),
        ("bytes of logs", logged, "logs GB", 1e9),
        ("writes and listings of buckets", asked.get("puts", 0), "S3 thousand writes", 1e3),
        ("reads of buckets", most["files"] + asked.get("gets", 0), "S3 thousand reads", 1e3),
    ]
    return [
        (what, count, count / per * prices.rate(item, region)) for what, count, item, per in counted if count
    ]


def _calls(header: dict[str, Any], ending: str) -> int:
    """Calls of the function whose log group's name ends so."""
    logs = header["meter"]["logs"].items()
    return sum(counts[0] for name, counts in logs if name.endswith(ending))


def request_usd(region: str) -> float:
    """US dollars of one request to a lab's API at most, but for its computing time."""
    api, calls, reads = "API Gateway million requests", "Lambda million requests", "DynamoDB million reads"
    usd = prices.rate(api, region) + prices.rate(calls, region)
    usd += PER_CALL[LISTED].reads * prices.rate(reads, region)
    return usd / 1e6


def _line(what: str, id: str, spans: list[list[Any]], ended: str) -> Line:
    """The cost of something whose price changed at these times, until it ended or now."""
    ended = ended or journal.now()
    moments = [min(moment, ended) for moment, _ in spans] + [ended]
    usd: float | None = 0.0
    running_s = 0.0
    for (_, per_hour), begun, over in zip(spans, moments, moments[1:], strict=False):
        seconds = journal.seconds_since(begun, over)
        if per_hour is None:
            usd = None
        elif per_hour and usd is not None:
            usd += max(seconds, LEAST_S) / 3600 * per_hour
        if per_hour != 0:
            running_s += seconds
    return Line(what, id, running_s / 3600, usd)


def _stored(row: Row, size: int | None, region: str) -> Line:
    """What a bucket's or a repository's content has cost at most."""
    hours = journal.seconds_since(row.made, row.ended) / 3600 if row.made else 0.0
    item = "ECR GB-month" if row.call == "ecr:CreateRepository" else "S3 GB-month"
    usd = None
    if size is not None:
        usd = size / 2**30 * hours / prices.HOURS_PER_MONTH * prices.rate(item, region)
    text = "?" if size is None else f"{size:,.0f}"
    return Line(f"{text} bytes in the {row.name}", row.id, hours, usd, at_most=True)


# -- From AWS ----------------------------------------------------------------------------------------------


@dataclass
class Answers:
    """What AWS shows of a ledger's things.

    Attributes
    ----------
    servers : list of dict or None
        As DescribeInstances has them, those that ended within the hour too; None where nobody asked.
    gib : dict
        GiB of the disks that are attached to a server now, by its id.
    logs : dict
        Of each log group: calls of a function, their GB-seconds, bytes.
    sizes : dict
        Of each bucket and repository, by the number of its row: bytes, None for too many to count.
    """

    servers: list[dict[str, Any]] | None = None
    gib: dict[str, int] = field(default_factory=dict)
    logs: dict[str, tuple[int, float, int]] = field(default_factory=dict)
    sizes: dict[int, int | None] = field(default_factory=dict)


def ask(client: Callable[[str], Any], book: Journal) -> Answers:
    """What AWS shows of a ledger's servers and logs. AWS calls: see above."""
    answers, calls = Answers(), {row.call for row in book.rows}
    if calls & {"ec2:RunInstances", "batch:CreateComputeEnvironment"}:
        ec2 = client("ec2")
        answers.servers = instances(ec2, of_ledger(book.header["prefix"]))
        rows = {row.id for row in book.rows}
        unknown = [one["InstanceId"] for one in answers.servers if one["InstanceId"] not in rows]
        attached = [{"Name": "attachment.instance-id", "Values": unknown}]
        for volume in pages(ec2, "describe_volumes", "Volumes", Filters=attached) if unknown else []:
            for tie in volume["Attachments"]:
                answers.gib[tie["InstanceId"]] = answers.gib.get(tie["InstanceId"], 0) + volume["Size"]
    for row in book.open_rows():
        if row.call == "logs:CreateLogGroup":
            answers.logs |= _logged(client("logs"), row.id)
        elif row.made and row.call == "s3:CreateBucket":
            answers.sizes[row.number] = _in_bucket(client("s3"), row.id)
        elif row.made and row.call == "ecr:CreateRepository":
            answers.sizes[row.number] = _in_repository(client("ecr"), row.id)
    return answers


def _in_bucket(s3: Any, name: str) -> int | None:
    """Bytes of all files, None for too many to list; nothing where it is gone, or not to be read."""
    size = 0
    try:
        listing = s3.get_paginator("list_objects_v2").paginate(Bucket=name)
        for number, page in enumerate(listing, 1):
            size += sum(one["Size"] for one in page.get("Contents", []))
            if number == LISTINGS and page.get("IsTruncated"):
                return None
    except s3.exceptions.ClientError as error:
        if error.response["Error"]["Code"] not in (*MISSING, *REFUSED):
            raise
        return 0
    return size


def _in_repository(ecr: Any, name: str) -> int:
    """Bytes of all images; what two of them share counts twice, so it is the most that it can be."""
    unseen = (*NO_REPOSITORY, *REFUSED)
    images = unless(unseen, pages, ecr, "describe_images", "imageDetails", repositoryName=name) or []
    return sum(one.get("imageSizeInBytes", 0) for one in images)


def _logged(logs: Any, name: str) -> dict[str, tuple[int, float, int]]:
    """What one log group holds, by its name; nothing where it is gone."""
    groups = pages(logs, "describe_log_groups", "logGroups", logGroupNamePrefix=name)
    sizes = [group.get("storedBytes", 0) for group in groups if group["logGroupName"] == name]
    if not sizes:
        return {}
    events = pages(logs, "filter_log_events", "events", logGroupName=name, filterPattern="REPORT")
    reports = [match for event in events if (match := REPORT.search(event["message"]))]
    gb_seconds = sum(
        int(billed) / 1000 * int(mib) / 1024 for billed, mib in (one.groups() for one in reports)
    )
    return {name: (len(reports), gb_seconds, sizes[0])}


def note(book: Journal, answers: Answers) -> bool:
    """Write down what AWS has shown; whether anything of it is new."""
    meter = book.header["meter"]
    sizes = book.header["sizes"]
    before = repr((meter, sizes))
    for name, counts in answers.logs.items():  # lines are kept for some days only, so a count never falls
        meter["logs"][name] = [
            max(pair) for pair in zip(counts, meter["logs"].get(name, counts), strict=True)
        ]
    if answers.servers is not None:
        _note_servers(book, answers, meter["rates"])
    for number, size in answers.sizes.items():
        most = sizes.get(str(number), 0)
        sizes[str(number)] = None if size is None or most is None else max(size, most)
    return repr((meter, sizes)) != before


def _note_servers(book: Journal, answers: Answers, rates: dict[str, list[list[Any]]]) -> None:
    rows = {row.id: row for row in book.rows if row.call == "ec2:RunInstances" and row.made}
    region, seen = book.header["region"], set()
    for server in answers.servers or []:
        row = rows.get(server["InstanceId"])
        key = str(row.number) if row else f"{server['InstanceType']} {server['InstanceId']}"
        seen.add(key)
        launched = as_kept(server["LaunchTime"])
        disks = answers.gib.get(server["InstanceId"], BATCH_ROOT_GIB)
        whole = row.usd_per_hour if row else _server_hour(server, region, disks)
        spans = rates.get(key) or [[row.made if row else launched, whole]]
        state = server["State"]["Name"]
        if state in ("pending", "running"):
            since, usd = launched, whole if row else spans[0][1]
        elif state in ("stopping", "stopped"):  # its disks stay; its address goes back to AWS
            bare = _server_hour(server, region, 0)
            since, usd = _changed(server) or journal.now(), None
            if whole is not None and bare is not None:
                usd = max(0.0, whole - bare)
        else:
            since, usd = _changed(server) or _last_moment(row), 0.0
        if spans[-1][1] != usd:
            spans = [*spans, [max(since, spans[-1][0]), usd]]
        if len(spans) > 1 or row is None:
            rates[key] = spans
    for row in rows.values():
        key = str(row.number)
        spans = rates.get(key) or [[row.made, row.usd_per_hour]]
        if row.open and key not in seen and spans[-1][1] != 0 and journal.seconds_since(row.made) > SHOWN_S:
            rates[key] = [*spans, [max(_last_moment(row), spans[-1][0]), 0.0]]
    for key, spans in rates.items():
        if not key.isdigit() and key not in seen and spans[-1][1] != 0:
            spans.append([max(_after_work(book), spans[-1][0]), 0.0])


def _server_hour(server: dict[str, Any], region: str, gib: int) -> float | None:
    """A server with a public address and disks of that size."""
    spot = server.get("InstanceLifecycle") == "spot"
    return prices.server_hour(server["InstanceType"], region, gib, spot=spot)


def _changed(server: dict[str, Any]) -> str:
    """When a server came into its state, if AWS tells: ``User initiated (2026-11-21 20:55:33 GMT)``."""
    match = TRANSITION.search(server.get("StateTransitionReason", ""))
    return as_kept(datetime.fromisoformat(f"{match[1]}+00:00")) if match else ""


def _last_moment(row: Row | None) -> str:
    """When a server ended at the latest, that AWS shows no more or does not tell of: its own time, or now."""
    if row is None or not row.telling.get("ttl_minutes", "").isdigit():
        return journal.now()
    return min(journal.now(), journal.after(row.made, 60 * int(row.telling["ttl_minutes"])))


def _after_work(book: Journal) -> str:
    """When Batch has ended a server at the latest that nobody saw ending: a while after the last job."""
    jobs = [row for row in book.rows if row.call == "batch:SubmitJob" and row.made]
    if not jobs or any(row.open for row in jobs):
        return journal.now()
    return min(journal.now(), journal.after(max(row.ended for row in jobs), BATCH_IDLE_S))


# -- What this computer asks -------------------------------------------------------------------------------

_READING = ("GetItem", "BatchGetItem", "Query", "Scan", "TransactGetItems")
_WRITING = ("PutItem", "UpdateItem", "DeleteItem", "BatchWriteItem", "TransactWriteItems")
_DEAR = ("Put", "Create", "Copy", "Complete", "Upload", "List", "Post")  # S3: all at the price of a PUT
_FREE = ("Delete", "Abort")
_unwritten: dict[Path, dict[str, float]] = {}  # by ledger: of several objects for one, any may write it down
_mutex = threading.Lock()


class RequestCount:
    """Counts what this process asks of a ledger's tables and buckets, until it is written into the file.

    Parameters
    ----------
    book : Journal
        With its prefix begin the names of what is counted.

    Notes
    -----
    What DynamoDB has read and written stands in its answer, if that was asked for (`ReturnConsumedCapacity`);
    else it is reckoned from what was sent or came back: a page for who reads many, a table and its index for
    who writes. Of S3's requests deletions are free; what it refuses is counted all the same.
    """

    def __init__(self, book: Journal) -> None:
        self._book = book

    def listen(self, cloud: Any) -> None:
        """Hear of the calls of a `Cloud`, as long as this object is in use."""
        for service in ("s3", "dynamodb"):
            cloud.listen(f"provide-client-params.{service}", self._asked)
            cloud.listen(f"after-call.{service}", self._answered)

    def _asked(self, params: dict[str, Any], context: dict[str, Any], **_: Any) -> None:
        names = [params.get("Bucket"), params.get("TableName"), *params.get("RequestItems", ())]
        if any(str(name).startswith(self._book.header["prefix"]) for name in names):
            context[f"awslabs-asked {self._book.path}"] = params

    def _answered(self, model: Any, parsed: dict[str, Any], context: dict[str, Any], **_: Any) -> None:
        params = context.pop(f"awslabs-asked {self._book.path}", None)
        if params is None:
            return  # not ours, or another object for this ledger has counted it
        kind, count = _counted(model.name, params, parsed)
        if count:
            with _mutex:
                counts = _unwritten.setdefault(self._book.path, {})
                counts[kind] = counts.get(kind, 0.0) + count

    @property
    def waiting(self) -> bool:
        """Whether something is not written down yet."""
        return bool(_unwritten.get(self._book.path))

    def note(self) -> bool:
        """Write it into the file's header; whether there was anything."""
        with _mutex:
            fresh = _unwritten.pop(self._book.path, None)
        asked = self._book.header["asked"]
        for kind, count in (fresh or {}).items():
            asked[kind] = asked.get(kind, 0) + count
        return bool(fresh)


def _counted(name: str, params: dict[str, Any], parsed: dict[str, Any]) -> tuple[str, float]:
    """What one call is, and how much of it: ``("reads", 0.5)``."""
    if name in (*_READING, *_WRITING):
        told = parsed.get("ConsumedCapacity")
        if told:
            units = sum(one["CapacityUnits"] for one in (told if isinstance(told, list) else [told]))
        elif name in ("Query", "Scan"):
            units = 2 * PER_CALL[LISTED].reads  # consistent reads cost twice
        elif name in _READING:
            keys = [one.get("Keys", ()) for one in params.get("RequestItems", {}).values()]
            units = (sum(map(len, keys)) or 1) + _size(parsed) // 4096
        else:
            items = sum(map(len, params.get("RequestItems", {}).values())) or 1
            units = 2 * (items + _size(params) // 1024)
        return ("reads" if name in _READING else "writes"), units
    if name.startswith(_FREE) or "TableName" in params:
        return "", 0
    return ("puts" if name.startswith(_DEAR) else "gets"), 1


def _size(value: Any) -> int:
    """Bytes that names and values have at the most."""
    return len(repr(value).encode())
