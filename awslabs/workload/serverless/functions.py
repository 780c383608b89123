"""Call Lambda functions: one and look at it, a thousand at once, and at several sizes to compare."""

from __future__ import annotations

import base64
import contextlib
import json
import re
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from awslabs import prices
from awslabs.errors import LabError, TimedOut
from awslabs.kinds.named import pages
from awslabs.ledger import Ledger
from awslabs.progress import OFTEN, awaiting, counting, each, plotting, poll
from awslabs.show import Shown
from awslabs.workload import pictures, standing

RUN_S = 600.0  # seconds to wait for all events to have run
AT_ONCE = 64  # calls under way: with 50 ms per call more keeps no core busier
REPORT = re.compile(
    r"REPORT RequestId: (?P<id>[\w-]+)\s+Duration: (?P<duration>[\d.]+) ms"
    r"\s+Billed Duration: (?P<billed>\d+) ms"
    r"\s+Memory Size: (?P<memory>\d+) MB"
    r"\s+Max Memory Used: (?P<used>\d+) MB"
    r"(?:\s+Init Duration: (?P<init>[\d.]+) ms)?"
)
CLOCKS_DIFFER_S = 120  # seconds by which this computer's clock may be ahead of AWS's
GREETING_USD = 7.49e-6  # of one greeting: 128 MiB for 3.5 s (us-east-1)
OUTLIER = 3.0  # invocations that took more than this many times the median are left out by `tune`


@dataclass(frozen=True)
class Report(Shown):
    """What Lambda says of one invocation.

    Attributes
    ----------
    request_id : str
        The same for all tries of one asynchronous event.
    duration_ms, billed_ms, init_ms : float
        How long it ran, for how long it is billed, and what a cold start added (0 for none).
    memory_mib, used_mib : int
        What it may use, and what it used at most.
    ended_at : float
        Seconds since 1970; 0 where it is not known.
    """

    request_id: str
    duration_ms: float
    billed_ms: float
    init_ms: float
    memory_mib: int
    used_mib: int
    ended_at: float = 0.0


@dataclass(frozen=True)
class Invocation(Shown):
    """One answer of a function.

    Attributes
    ----------
    answer : object
        What it returned; of a failure, what it raised.
    failed : bool
        Whether the function failed. AWS says so within HTTP 200.
    report : Report
    log : str
        The end of what it logged, up to 4 KB.
    """

    answer: Any
    failed: bool
    report: Report
    log: str


def invoke(ledger: Ledger, payload: dict[str, Any] | None = None, *, function: str = "greeter") -> Invocation:
    """Call a function and wait for its answer. AWS calls: ``lambda:Invoke``.

    Parameters
    ----------
    payload : dict, optional
        Its event; the greeting takes ``{"name": "Ada"}``, and fails on ``{"fail": true}``.
    function : str
        The row of the ledger that holds it.
    """
    return call(ledger.client("lambda"), standing(ledger, function), payload or {})


def call(client: Any, function_name: str, payload: dict[str, Any]) -> Invocation:
    """One invocation whose answer is awaited, with the end of its log."""
    answer = client.invoke(FunctionName=function_name, Payload=json.dumps(payload), LogType="Tail")
    log = base64.b64decode(answer.get("LogResult", "")).decode(errors="replace")
    found = reports(log)
    if not found:
        raise LabError(f"{function_name} gave no REPORT line.", log[-300:])
    content = answer["Payload"].read()
    return Invocation(json.loads(content) if content else None, "FunctionError" in answer, found[-1], log)


def reports(text: str, ended_at: float = 0.0) -> list[Report]:
    """The REPORT lines in a piece of log."""
    return [
        Report(
            match["id"],
            float(match["duration"]),
            float(match["billed"]),
            float(match["init"] or 0),
            int(match["memory"]),
            int(match["used"]),
            ended_at,
        )
        for match in REPORT.finditer(text)
    ]


# -- Many at once ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class ManyInvocations(Shown):
    """What came of many asynchronous invocations.

    Attributes
    ----------
    sent : int
    seconds, per_second : float
        How long sending took, and how fast it was.
    finished : int
        How many have run at least once; 0 if they were not awaited.
    most_at_once : int
        How many ran at the same time.
    dead_letters : int
        Events in the dead-letter queue, about: SQS counts roughly.
    picture : str
        How many ran, over time.
    request_ids : list of str
    """

    sent: int
    seconds: float
    per_second: float
    finished: int = 0
    most_at_once: int = 0
    dead_letters: int = 0
    picture: str = ""
    request_ids: list[str] = field(default_factory=list, repr=False)


def invoke_many(ledger: Ledger, many: int, *, wait: bool = True, failing: int = 0) -> ManyInvocations:
    """Send `many` events to the greeting as fast as AWS and this computer allow, and watch them run.

    AWS calls: ``lambda:Invoke``, ``logs:FilterLogEvents``, ``sqs:GetQueueAttributes``.

    Parameters
    ----------
    wait : bool
        Return only when all have run; else as soon as Lambda has taken them.
    failing : int
        So many of them fail. Lambda tries an event twice more, after about one and two minutes, and then puts
        it into the dead-letter queue.
    """
    name, began = standing(ledger, "greeter"), time.time()
    ledger.afford(f"{many:,} invocations", many * GREETING_USD)
    payloads = [{"name": f"number {number}", "fail": number < failing} for number in range(many)]
    sent = send(ledger.client("lambda"), name, payloads)
    if not wait:
        return sent
    group = standing(ledger, "greeter-logs")
    fix = ledger.command("logs")
    found = await_reports(ledger.client("logs"), group, set(sent.request_ids), began, RUN_S, fix)
    running = pictures.at_the_same_time([span(one) for one in found])
    return replace(
        sent,
        finished=len({one.request_id for one in found}),
        most_at_once=max((many for _, many in running), default=0),
        dead_letters=dead_letters(ledger),
        picture=pictures.bars([(f"{second:.1f} s", many) for second, many in running]),
    )


def send(client: Any, function_name: str, payloads: Sequence[dict[str, Any]]) -> ManyInvocations:
    """Send asynchronous events, `AT_ONCE` at a time; boto3 itself tries again what AWS throttles.

    A thread per call under way is enough: nearly all of a call is waiting for the answer. What limits the
    rest is the time that boto3 needs to make a request, about 1 ms on one core.
    """
    began = time.monotonic()
    with counting("sent", len(payloads)) as more:

        def one(payload: dict[str, Any]) -> str:
            answer = client.invoke(
                FunctionName=function_name, InvocationType="Event", Payload=json.dumps(payload)
            )
            more(1)
            return str(answer["ResponseMetadata"].get("RequestId", ""))

        ids = each(one, payloads, AT_ONCE)
    seconds = time.monotonic() - began
    return ManyInvocations(
        len(ids), round(seconds, 3), round(len(ids) / max(seconds, 1e-9), 1), request_ids=ids
    )


def await_reports(
    logs: Any, group: str, request_ids: set[str], began: float, timeout_s: float, fix: str = ""
) -> list[Report]:
    """The REPORT lines of these requests, once there is one of each."""
    found: dict[tuple[str, float], Report] = {}
    since_ms = int((began - CLOCKS_DIFFER_S) * 1000)
    wanted = {"logGroupName": group, "startTime": since_ms, "filterPattern": "REPORT"}

    def all_have_run() -> bool:
        for event in pages(logs, "filter_log_events", "events", **wanted):
            for report in reports(event["message"], event["timestamp"] / 1000):
                if report.request_id in request_ids:
                    found[report.request_id, report.ended_at] = report
        seen = {request_id for request_id, _ in found}
        point("have run", time.time() - began, len(seen))
        return seen >= request_ids

    try:
        with plotting("Invocations", "after the first was sent, s", "how many") as point:
            poll(
                f"all {len(request_ids)} have run",
                all_have_run,
                timeout_s=timeout_s,
                longest_s=3.0,
                fix=fix,
            )
    except TimedOut as late:
        seen = len({request_id for request_id, _ in found})
        raise TimedOut(late.what, f"{seen} of {len(request_ids)} have run so far.", late.fix) from late
    return list(found.values())


def span(report: Report) -> tuple[float, float]:
    """When an invocation surely ran. A log's clock drops what is less than a millisecond: it began later."""
    return min(report.ended_at - report.duration_ms / 1000 + 0.001, report.ended_at), report.ended_at


def dead_letters(ledger: Ledger) -> int:
    """About how many events lie in the dead-letter queue. AWS calls: ``sqs:GetQueueAttributes``."""
    answer = ledger.client("sqs").get_queue_attributes(
        QueueUrl=standing(ledger, "dead-letter-queue"), AttributeNames=["ApproximateNumberOfMessages"]
    )
    return int(answer["Attributes"]["ApproximateNumberOfMessages"])


def logs(ledger: Ledger, *, function: str = "greeter", minutes: float = 10) -> list[str]:
    """What a function has logged in the last minutes, oldest first. AWS calls: ``logs:FilterLogEvents``."""
    group, since_ms = standing(ledger, f"{function}-logs"), int((time.time() - 60 * minutes) * 1000)
    events = pages(
        ledger.client("logs"), "filter_log_events", "events", logGroupName=group, startTime=since_ms
    )
    return [event["message"].rstrip() for event in events]


# -- At several sizes --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Tuned(Shown):
    """One memory size of a function.

    Attributes
    ----------
    memory_mib : int
    duration_ms, billed_ms : float
        Medians over the invocations that count.
    usd_per_million : float
        What a million of them would cost, requests included.
    counted, outliers : int
        Invocations that count, and those left out: they took more than three times the median. Cold starts
        are made before and never count.
    """

    memory_mib: int
    duration_ms: float
    billed_ms: float
    usd_per_million: float
    counted: int
    outliers: int


def tune(ledger: Ledger, *, sizes: Sequence[int] = (128, 256, 512, 1024), times: int = 20) -> list[Tuned]:
    """Call ``list-haiku`` at several memory sizes: more is more processor, too, and costs more per second.

    The function's own settings come back at the end, and when it is interrupted. If this process is killed,
    the next ``up`` puts them right.

    AWS calls: ``lambda:UpdateFunctionConfiguration``, ``lambda:Invoke``.

    Parameters
    ----------
    sizes : sequence of int
        Memory in MiB, 128 to 10240.
    times : int
        Invocations that are measured at each size.

    Raises
    ------
    LabError
        An invocation failed: how fast it does that is no measure of its work.
    """
    client, name = ledger.client("lambda"), standing(ledger, "list-haiku")
    tuned = []

    def visit(size: int) -> Report:
        done = call(client, name, A_VISIT)
        if done.failed or not isinstance(done.answer, dict) or done.answer.get("statusCode") != 200:
            raise LabError(
                f"list-haiku failed at {size} MB, so there is nothing to measure.",
                json.dumps(done.answer, ensure_ascii=False),
                ledger.command("logs list-haiku"),
            )
        return done.report

    with restoring(ledger, client, name, "MemorySize"):
        for size in sizes:
            configure(client, name, MemorySize=size)
            with awaiting(f"{times} invocations at {size} MB are over"):
                visit(size)  # the cold start
                tuned.append(summary(size, [visit(size) for _ in range(times)], ledger.cloud.region))
    return tuned


A_VISIT = {"httpMethod": "GET", "path": "/haiku", "queryStringParameters": {"limit": "30"}}


def summary(size: int, measured: Sequence[Report], region: str) -> Tuned:
    """The medians of what is left without the outliers."""
    warm = [one for one in measured if not one.init_ms]
    middle = pictures.quantile([one.duration_ms for one in warm], 0.5)
    kept = [one for one in warm if one.duration_ms <= OUTLIER * middle]
    duration, billed = (
        pictures.quantile([getattr(one, name) for one in kept], 0.5) for name in ("duration_ms", "billed_ms")
    )
    usd = prices.lambda_million(billed / 1000, size, region)
    return Tuned(size, duration, billed, usd, len(kept), len(measured) - len(kept))


@contextlib.contextmanager
def restoring(ledger: Ledger, client: Any, function_name: str, *names: str) -> Iterator[dict[str, Any]]:
    """Put settings of a function back as they were when the body ends, whatever happened in it.

    The ledger is held meanwhile: of two at once, the second would put back what the first has set for now.

    Yields
    ------
    dict
        The settings as they are.
    """
    with ledger.locked("tune or load"):
        before = settings(client, function_name, *names)
        try:
            yield before
        finally:
            if settings(client, function_name, *names) != before:
                configure(client, function_name, **before)


def settings(client: Any, function_name: str, *names: str) -> dict[str, Any]:
    """Some of a function's settings as they are."""
    standing = client.get_function_configuration(FunctionName=function_name)
    return {name: standing[name] for name in names}


def configure(client: Any, function_name: str, **wanted: Any) -> None:
    """Give a function these settings, and wait until it works with them."""
    settled = client.get_waiter("function_updated_v2")
    with awaiting(f"{function_name} has its new settings"):
        settled.wait(FunctionName=function_name, WaiterConfig=OFTEN)
        client.update_function_configuration(FunctionName=function_name, **wanted)
        settled.wait(FunctionName=function_name, WaiterConfig=OFTEN)
