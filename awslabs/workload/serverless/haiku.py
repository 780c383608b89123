"""Bashoutter through its API, as everybody's browser uses it; and hard, to see what it bears."""

from __future__ import annotations

import itertools
import json
import logging
import math
import random
import re
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from awslabs import cost
from awslabs.errors import LabError
from awslabs.ledger import Ledger
from awslabs.progress import counting, each, plotting
from awslabs.show import Shown
from awslabs.web import Reply, Web
from awslabs.workload import pictures, standing
from awslabs.workload.serverless import functions

log = logging.getLogger(__name__)

AT_ONCE = 32  # requests under way
FUNCTIONS_AT_ONCE = "L-B99A9384"  # the quota "Concurrent executions"; new accounts have 10
# What API Gateway says by itself; a function's own words are others.
GATEWAYS_OWN = "Internal server error"
VISITORS = 256  # of `load`: who wait for an answer at the same time
TRIES = 8
PATIENCE_S = 60.0  # with a stage that says 429
NEXT_PAGE = re.compile(r'<(\?[^>]*)>;\s*rel="next"')
SEASONS = ["spring", "summer", "autumn", "winter"]


class Api:
    """The API under one address, with connections that stay open.

    Parameters
    ----------
    url : str
        Of the deployed stage, without a slash at its end.
    connections : int
        How many it keeps open.
    command : callable
        Makes of a verb the command line that runs it on this lab: `Ledger.command`.
    """

    def __init__(
        self,
        url: str,
        connections: int = AT_ONCE,
        command: Callable[[str], str] = "python -m awslabs.serverless {}".format,
    ) -> None:
        self.url, self.command = url, command
        self.web = Web(url, connections=connections)

    def send(self, method: str, path: str, body: dict[str, Any] | None = None) -> Reply:
        """One request as it is, sent once."""
        sent = None if body is None else json.dumps(body, ensure_ascii=False).encode()
        headers = {"Content-Type": "application/json"} if sent else {}
        return self.web.send(method, f"{self.url}{path}", sent, headers)

    def ask(self, method: str, path: str, body: dict[str, Any] | None = None) -> tuple[dict[str, str], Any]:
        """A request that is sent again where it was one too many, for it took no effect then.

        That is 429 from the stage, and 500 in the gateway's words where Lambda runs no more functions.
        Source: re:Post, "How do I troubleshoot HTTP 500 errors from API Gateway?".
        """
        until = time.monotonic() + PATIENCE_S
        for tried in itertools.count(1):
            reply = self.send(method, path, body)
            message = message_of(reply.content)
            crowded = reply.status == 500 and message == GATEWAYS_OWN
            if not (reply.status == 429 and time.monotonic() < until) and not (crowded and tried < TRIES):
                break
            time.sleep(min(0.1 * 2**tried, 5.0) * random.uniform(0.5, 1.0))
        status = reply.status
        if not 200 <= status < 300:
            if crowded:
                message += (
                    ". So says API Gateway where it may not call a function, and where as many run as "
                    f'the quota "Concurrent executions" ({FUNCTIONS_AT_ONCE}) allows.'
                )
            answered = f"was answered with {status}" if status else "got no answer"
            fixes = {
                400: "say it again, as the line above asks",
                404: self.command("haiku list"),
                429: f"{self.command('up')} --rate 100    # lets more through; it costs more, too",
            }
            puts_right = (
                f"{self.command('up')}    # puts the API right; then `logs` of its functions says more"
            )
            raise LabError(f"{method} {path} {answered}.", message, fixes.get(status, puts_right))
        return reply.headers, json.loads(reply.content) if reply.content else None


def message_of(content: bytes) -> str:
    """What an answer says of a refusal."""
    try:
        return str(json.loads(content)["message"])
    except (ValueError, KeyError, TypeError):
        return content[:200].decode(errors="replace")


@dataclass(frozen=True)
class Limits:
    """What the API bears: requests per second, and functions at once."""

    per_second: float
    at_once: int


def limits(ledger: Ledger) -> Limits:
    """Of the stage, and of the account's functions.

    AWS calls: ``apigateway:GetStages``, ``lambda:GetAccountSettings``.
    """
    (stage,) = ledger.client("apigateway").get_stages(restApiId=standing(ledger, "api"))["item"]
    per_second = stage["methodSettings"]["*/*"]["throttlingRateLimit"]
    lambda_ = ledger.client("lambda")
    try:
        settings = lambda_.get_account_settings()
        free = settings["AccountLimit"]["UnreservedConcurrentExecutions"]
    except lambda_.exceptions.ClientError as error:  # not everybody may ask
        log.debug("the account's functions: %s", error)
        free = AT_ONCE
    return Limits(per_second, max(1, min(AT_ONCE, free, int(per_second))))


def post(api: Api, username: str, first: str, second: str, third: str) -> dict[str, Any]:
    """Leave a haiku."""
    lines = {"username": username, "first": first, "second": second, "third": third}
    posted: dict[str, Any] = api.ask("POST", "/haiku", lines)[1]
    return posted


def newest(api: Api, limit: int = 30) -> list[dict[str, Any]]:
    """The newest haiku, over as many pages as it takes."""
    found: list[dict[str, Any]] = []
    query = f"?limit={min(limit, 100)}"
    while query and len(found) < limit:
        headers, haiku = api.ask("GET", f"/haiku{query}")
        found += haiku
        following = NEXT_PAGE.search(headers.get("link", ""))
        query = following[1] if following else ""
    return found[:limit]


def like(api: Api, item_id: str) -> dict[str, Any]:
    """Like a haiku once more."""
    liked: dict[str, Any] = api.ask("PATCH", f"/haiku/{quote(item_id, safe='')}")[1]
    return liked


def delete(api: Api, item_id: str) -> None:
    """Delete a haiku."""
    api.ask("DELETE", f"/haiku/{quote(item_id, safe='')}")


def post_many(api: Api, many: int, at_once: int = AT_ONCE) -> list[dict[str, Any]]:
    """Leave generated haiku, so many at a time: more than `limits` says would only wait for each other."""
    with counting("posted", many) as more:

        def one(number: int) -> dict[str, Any]:
            season = random.choice(SEASONS)
            made = post(
                api, f"poet {number}", "an old silent pond", f"a frog jumps in: {season}", "splash, silence"
            )
            more(1)
            return made

        return each(one, range(many), at_once)


def clear(api: Api) -> int:
    """Delete all haiku that are shown; returns how many."""
    count = in_vain = 0
    while haiku := newest(api, 100):
        gone = sum(each(lambda one: forget(api, one["item_id"]), haiku, AT_ONCE))
        in_vain = 0 if gone else in_vain + 1
        if in_vain > 1:
            time.sleep(0.1 * 2**in_vain)  # an index may show for a moment what is deleted
        if in_vain == TRIES:
            raise LabError(
                f"{len(haiku)} haiku are shown, and not one of them could be deleted.",
                "The API says of each that it is not there.",
                api.command("haiku clear"),
            )
        count += gone
    return count


def forget(api: Api, item_id: str) -> bool:
    """Delete a haiku that somebody else may have deleted meanwhile; whether it was we."""
    try:
        delete(api, item_id)
    except LabError as error:
        if " 404" not in error.what:
            raise
        return False
    return True


# -- Load ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Load(Shown):
    """How the API bore a stream of requests.

    Attributes
    ----------
    read : str
        How haiku were listed: ``scan`` or ``query``.
    requests, errors : int
        Sent, and answered with anything but 200 or not at all.
    per_second : float
        Requests begun per second: fewer than asked for where this computer cannot keep up.
    p50_ms, p95_ms, p99_ms : float
        Half, 95 and 99 of 100 good answers came within this time, counted from when the request was due; nan
        where there was no good one.
    statuses : dict
        How many of each HTTP status; 0 for no answer.
    picture : str
        How many took how long.
    """

    read: str
    requests: int
    errors: int
    per_second: float
    p50_ms: float
    p95_ms: float
    p99_ms: float
    statuses: dict[str, int]
    picture: str


def load(ledger: Ledger, api: Api, *, rate: float = 5, seconds: float = 10, read: str = "query") -> Load:
    """List haiku at a steady rate, whatever the answers do, and see how long they take.

    The stream is open: the next request goes out when it is due, even if earlier ones still wait. So a slow
    server is seen as its visitors see it. Time counts from when a request was due.

    AWS calls: ``lambda:UpdateFunctionConfiguration`` where `read` is not how the function stands.

    Parameters
    ----------
    rate : float
        Requests per second. What is more than the stage lets through (`limits`), it answers with 429.
    seconds : float
        For how long.
    read : str
        ``query`` (the index) or ``scan`` (the whole table); set back afterwards.
    """
    many = round(rate * seconds)
    ledger.afford(f"{many:,} requests", many * cost.request_usd(ledger.cloud.region))
    client, name = ledger.client("lambda"), standing(ledger, "list-haiku")
    if functions.settings(client, name, "Environment")["Environment"]["Variables"]["READ"] == read:
        return stream(api, rate, seconds, read)
    with functions.restoring(ledger, client, name, "Environment") as before:
        variables = {**before["Environment"]["Variables"], "READ": read}
        functions.configure(client, name, Environment={"Variables": variables})
        return stream(api, rate, seconds, read)


def stream(api: Api, rate: float, seconds: float, read: str) -> Load:
    """Send the requests when they are due."""
    total = max(1, round(rate * seconds))
    api.send("GET", "/haiku")  # the cold start is another lesson
    api = Api(api.url, connections=VISITORS, command=api.command)

    def one(due: float) -> tuple[float, int, float]:
        sent_at = time.monotonic()
        status = api.send("GET", "/haiku").status
        milliseconds = 1000 * (time.monotonic() - due)
        more(1)
        point("answered" if status == 200 else f"status {status}", due - began, milliseconds)
        return sent_at, status, milliseconds

    with (
        counting("answered", total) as more,
        plotting("How long answers take", "due after, s", "ms", joined=False) as point,
        ThreadPoolExecutor(min(VISITORS, total)) as pool,
    ):
        began, sent = time.monotonic(), []
        try:
            for number in range(total):
                due = began + number / rate
                time.sleep(max(0.0, due - time.monotonic()))
                sent.append(pool.submit(one, due))
            done = [each.result() for each in sent]
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    lasted = max(sent_at for sent_at, _, _ in done) - began + 1 / rate
    good = [milliseconds for _, status, milliseconds in done if status == 200]
    statuses = Counter(str(status) for _, status, _ in done)
    times = good or [math.nan]  # of no answers none came within any time
    p50, p95, p99 = (round(pictures.quantile(times, share), 1) for share in (0.5, 0.95, 0.99))
    per_second, errors = round(total / lasted, 1), total - len(good)
    return Load(read, total, errors, per_second, p50, p95, p99, dict(statuses), histogram(good))


def histogram(milliseconds: list[float]) -> str:
    """How many answers took how long, in steps that double."""
    if not milliseconds:
        return ""
    lines: list[tuple[str, float]] = []
    edge = 2.0
    while not lines or edge / 2 <= max(milliseconds):
        here = sum(one < edge and (edge == 2.0 or one >= edge / 2) for one in milliseconds)
        if here or lines:
            lines.append((f"< {edge:g} ms", here))
        edge *= 2
    return pictures.bars(lines)
