"""The ledger: every resource goes through here, so that every resource can be taken down again.

    vpc_id = ledger.create("vpc", ec2.create_vpc, CidrBlock="10.10.0.0/23")

    1  a row with a fresh token goes to disk          a crash from here on leaves a trace
    2  AWS is called; the token travels along         as a tag, a client token or in a name
    3  the row, now with its id, goes to disk

`create` is for what must be undone, `ensure` for what dies with its parent, `start` for work that ends by
itself: tasks, jobs. `down` deletes: the newest first and what does not hang together at once. A crash, a
refused call and Ctrl-C leave the same file behind. So one path mends them all: whoever comes next asks AWS
first what carries the token.

What a service needs stands in `kinds/`, the file in `journal.py`. From a terminal:

    python -m awslabs.ledger list | show LAB | down [LAB ... | --all] [--dry-run] | verify | recover
    python -m awslabs.ledger certificate
    python -m awslabs.ledger down --force-row LAB ROW
"""

from __future__ import annotations

import contextlib
import dataclasses
import fnmatch
import functools
import hashlib
import json
import logging
import os
import random
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from datetime import datetime
from pathlib import Path
from typing import Any, NoReturn, Protocol, TypeVar

from awslabs import callbook, cost, journal, limits, prices, show
from awslabs.cloud import Cloud
from awslabs.drawing import Map
from awslabs.errors import (
    LabError,
    LedgerError,
    NotOurs,
    OverBudget,
    StillStanding,
    TimedOut,
    install,
)
from awslabs.explain import (
    BROKEN,
    NO_CAPACITY,
    THROTTLED,
    UNREACHED,
    Place,
    answers,
    as_options,
    boto3_errors,
    error_code,
    explain,
    http_status,
    is_refused_here,
    place_of,
)
from awslabs.journal import Journal, Row
from awslabs.kinds import ENSURES, KINDS, Found, Kind, Mark
from awslabs.progress import awaiting, each, heard_by, poll

log = logging.getLogger("awslabs.ledger")  # also where it runs as __main__
Verb = TypeVar("Verb", bound=Callable[..., Any])

SETTLE_S = 30.0  # seconds in which what was made a moment ago may still be invisible
NOT_YET_S = 120.0  # seconds to go on while AWS does not see yet what a request names
GONE_S = 900.0  # seconds until a deletion must have taken effect
START_S = 30.0  # seconds to wait for one's turn, while another terminal starts work
TIDY_S = 1.0  # the same, where nothing is lost if the turn does not come
FORGOTTEN_S = 600.0  # age of work from which on AWS would show it if it ran: ECS forgets the rest in an hour
# Seconds to go on while AWS asks for fewer calls: API Gateway takes one CreateDeployment per 5 s and account,
# so the last of 60 students who start together waits five minutes for that one alone.
THROTTLE_S = 900.0
UNANSWERED_S = 120.0  # seconds to go on while nobody knows whether a call took effect
AT_ONCE = 16  # deletions of one lab at the same time
TRANSPORT = (*UNREACHED, *BROKEN, "ResponseStreamingError")


def operation(method: Callable[..., Any]) -> str:
    """``ec2:CreateVpc`` of the bound client method ``ec2.create_vpc``."""
    client = method.__self__  # type: ignore[attr-defined]
    return f"{client.meta.service_model.service_name}:{client.meta.method_to_api_mapping[method.__name__]}"


def kind_of(method: Callable[..., Any]) -> Kind:
    """The entry of a bound client method.

    Raises
    ------
    LedgerError
        When there is none.
    """
    if (kind := KINDS.get(operation(method))) is None:
        raise LedgerError(
            f"{operation(method)} has no entry in awslabs/kinds.",
            "Nothing could delete what it makes, so it was not called.",
            "add an entry: awslabs/kinds/__init__.py says how",
        )
    return kind


def path_of(cloud: Cloud, lab: str, name: str) -> Path:
    """The file of one lab's ledger in this account and Region."""
    return cloud.folder / f"{lab}.{name}.{cloud.identity['account']}.{cloud.region}.json"


def header_of(cloud: Cloud, lab: str, name: str, owner: str | None = None) -> dict[str, str]:
    """What the file says of itself, above its rows."""
    return {
        "lab": lab,
        "name": name,
        "cloud": "aws" if cloud.is_aws else "sandbox",
        "account": cloud.identity["account"],
        "region": cloud.region,
        "owner": owner or cloud.identity["owner"],
    }


def exclusive(verb: Verb) -> Verb:
    """For a chapter's `up`: hold the ledger while it builds, since two builders would build twice.

    What AWS's waiters waited for in vain is told as other refusals are.
    """

    @functools.wraps(verb)
    def holding(ledger: Ledger, *args: Any, **options: Any) -> Any:
        from botocore.exceptions import WaiterError

        with ledger.locked(verb.__name__):
            if ledger.journal.start_over(ledger.usd_so_far):
                callbook.begin_anew(ledger.journal.path)
            ledger.keep_limits()
            try:
                with heard_by(ledger.calls):
                    built = verb(ledger, *args, **options)
                    ledger.arm()
                    return built
            except WaiterError as error:
                raise explain(error, f"waiting for {error.kwargs['name']}", ledger.place) from error

    return holding  # type: ignore[return-value]


class Guard(Protocol):
    """What sees to it that a lab ends though nobody comes back: `switch.Switch`."""

    def prepare(self) -> None:
        """The beginning of `up`, once nothing speaks against it."""

    def arm(self, at: datetime | None, usd_per_hour: float | None = None) -> None:
        """Before the first thing that costs, and at the end of `up`: from `at` on all of it goes."""

    def move(self, at: datetime | None) -> None:
        """When work is about to begin, or has begun: from then on all of it goes."""


class Ledger:
    """What one lab has built in one account and Region.

    Parameters
    ----------
    cloud : Cloud
        Where calls go.
    lab : str
        The chapter: ``ec2``.
    name : str
        Tells a second copy of the lab from the first; lower-case letters, digits and dashes, at most 20.
    owner : str, optional
        Who is asked when something stands for long; AWSLABS_OWNER or the caller's IAM name unless given.

    Attributes
    ----------
    prefix : str
        What the names of its things on AWS begin with.
    directory : Path
        For the lab's SSH keys; removed by `down`.
    guard : Guard or None
        Ends what stands when its time or its budget is over, though nobody comes back.
    budget_usd : float or None
        What the next `up` makes the lab's budget, in US dollars; unless given, AWSLABS_BUDGET does.
    """

    guard: Guard | None = None

    def __init__(self, cloud: Cloud, lab: str, name: str = "default", owner: str | None = None) -> None:
        if not journal.NAME.fullmatch(name):
            raise LedgerError(
                f'"{name}" cannot be the name of a lab\'s copy.',
                "It becomes part of file names and of names on AWS.",
                "use 1 to 20 lower-case letters, digits and dashes, such as --name second",
            )
        self.cloud, self.lab = cloud, lab
        self._copy = {"name": "" if name == "default" else name, "owner": owner or ""}
        owner = journal.chosen_owner(owner)
        self._building: dict[str, threading.Lock] = {}  # by row name: of two threads the second finds it
        self._copies: dict[str, Row] = {}  # by identifier: what carries a row's token and is not the row's
        self.budget_usd: float | None = None
        self._spending = threading.Lock()  # of two threads the second sees what the first has begun
        self._forced: set[int] = set()  # numbers of rows that are deleted whatever they carry
        header = header_of(cloud, lab, name, owner)
        self.journal = Journal(path_of(cloud, lab, name), header, self.place.of_ledgers("recover"))
        self._refuse_others()
        self.calls = callbook.CallBook(self.journal)
        self.calls.listen(cloud)
        self.asked = cost.RequestCount(self.journal)
        self.asked.listen(cloud)

    def _refuse_others(self) -> None:
        """Stop at a file that is not for this version."""
        unknown = sorted({row.call for row in self.journal.open_rows()} - KINDS.keys())
        if unknown:
            raise LedgerError(
                f"The ledger {self.journal.path} holds what this version cannot delete: {unknown[0]}.",
                "It was written by a newer version of awslabs.",
                install(newer=True),
            )

    # -- what it knows without asking AWS -------------------------------------------------------------

    @property
    def prefix(self) -> str:
        return str(self.journal.header["prefix"])

    @property
    def directory(self) -> Path:
        return self.journal.directory

    @property
    def place(self) -> Place:
        account = self.cloud.identity["account"]
        return dataclasses.replace(self.cloud.place, lab=self.lab, account=account, **self._copy)

    def arn(self, service: str, resource: str) -> str:
        """The Amazon Resource Name of something in this account and Region."""
        return f"arn:aws:{service}:{self.cloud.region}:{self.cloud.identity['account']}:{resource}"

    @property
    def resources(self) -> dict[str, str]:
        """Row name to identifier, of all that stands; work that runs is not counted."""
        return {row.name: row.id for row in self.journal.open_rows() if not KINDS[row.call].work}

    def map(self) -> Map:
        """What stands, as a picture in a notebook that follows the ledger's file. AWS calls: none."""
        return Map(self.journal.path, f"{self.lab} in {self.cloud.region}: what stands")

    def missing(self, names: Iterable[str]) -> list[str]:
        """Which of these rows do not stand: before `up` has ended, or while `down` works.

        A name with a star stands for all rows that begin so: of ``job-definition-*`` one is enough.
        """
        standing = [row.name for row in self.journal.open_rows() if row.state == "standing"]
        return [name.removesuffix("-*") for name in names if not fnmatch.filter(standing, name)]

    def whole(self, names: Iterable[str]) -> dict[str, str]:
        """`resources`, if these rows stand.

        Raises
        ------
        LabError
            When one of them does not.
        """
        if gone := self.missing(names):
            raise LabError("The lab does not stand.", f"Missing: {', '.join(gone)}.", self.command("up"))
        return self.resources

    @property
    def usd_per_hour(self) -> float | None:
        """What the standing rows cost each hour, in US dollars: an estimate; None where one has no price."""
        return journal.total(row.usd_per_hour for row in self.journal.open_rows())

    @property
    def usd_so_far(self) -> float | None:
        """What this ledger has cost until now, in US dollars: an estimate; None where that is not known."""
        return cost.total(self.journal.header, self.journal.rows)

    def read_meter(self) -> None:
        """Note what AWS tells of the cost. AWS calls: those of `close_ended` and of `cost.ask`.

        It stands in nobody's way, least of all in that of `down`: while another terminal holds the ledger,
        the disk is full, AWS refuses to answer or an emulator leaves out what AWS tells, the file stays as
        it is.
        """
        try:
            self.close_ended(running=True)
            with callbook.about(self.journal):
                answers = cost.ask(self.client, self.journal)
            with self.journal.locked("start", patience_s=TIDY_S * self.patience):
                if self.asked.note() | cost.note(self.journal, answers):
                    self.journal.save()
        except (*boto3_errors(), LabError, LookupError, TypeError, ValueError) as error:
            log.debug("the meter was not read: %r", error)

    def keep_count(self) -> None:
        """Write down what this process has asked of the lab's tables and buckets; later, if not now."""
        if not self.asked.waiting or not self.journal.rows:
            return
        try:
            with self.journal.locked("start", patience_s=TIDY_S * self.patience):
                if self.asked.note():
                    self.journal.save()
        except LedgerError as error:
            log.debug("what was asked was not written down: %s", error)

    # -- what it may cost, and how long it may stand ---------------------------------------------------

    def limit(self, *, budget_usd: float | None = None, ttl_minutes: int | None = None) -> None:
        """Set what this life of the lab may cost, and how long it may stand from now on; None: as it is.

        A server's own timer counts from its start and cannot be moved, so the time of its lab is the timer's.
        Where there is a limit, `guard` sees to it: its role comes first while `up` builds, and what stands
        gets all of it at once.

        Raises
        ------
        LabError
            For a budget or a time that makes no sense.
        """
        building = self.journal.is_held
        self.keep_limits(budget_usd, ttl_minutes)
        if not building and self.journal.open_rows():
            with self.locked("create"):
                self.arm()
        elif building and self.guard and limits.are_set(self.journal.header):
            self.guard.prepare()

    def keep_limits(self, budget_usd: float | None = None, ttl_minutes: int | None = None) -> None:
        """Write them down, and no more; where nothing stands yet they get to the disk with the first row."""
        if budget_usd is not None:
            self.budget_usd = limits.checked_budget(budget_usd)
        if ttl_minutes is not None:
            limits.require_minutes(ttl_minutes)
        with self.locked("create"):
            kept = dict(self.journal.header["limits"])
            kept["budget_usd"] = self.budget_usd or limits.budget(self.journal.header)
            kept["ttl_minutes"] = ttl_minutes or kept["ttl_minutes"]
            kept["until"] = limits.until(kept["ttl_minutes"], self.journal.open_rows())
            self._keep_limits(kept)

    def _keep_limits(self, kept: dict[str, Any]) -> None:
        if self.journal.header["limits"] != kept:
            self.journal.header["limits"] = kept
            if self.journal.open_rows():
                self.journal.save()

    def arm(self, usd_per_hour: float | None = 0.0) -> None:
        """Let AWS know when what costs must end, before something with this price begins."""
        if self.guard and limits.are_set(self.journal.header):
            due = limits.due(self.journal.header, self.journal.rows, usd_per_hour or 0.0)
            self.guard.arm(journal.as_datetime(due) if due else None, usd_per_hour)

    def _move_its_end(self) -> None:
        """The same for what stands, where AWS knows already; who may not stops no work."""
        if self.guard and limits.are_set(self.journal.header):
            self.guard.move(journal.as_datetime(self.due) if self.due else None)

    @property
    def due(self) -> str:
        """When what costs must end, as `limits.due` reckons it; empty for never."""
        return limits.due(self.journal.header, self.journal.rows)

    def afford(self, what: str, usd: float | None) -> None:
        """Stop before something that costs so much at the least, if the lab's budget does not pay for it.

        Raises
        ------
        OverBudget
            As `limits.require`.
        """
        stands = bool(self.journal.open_rows())
        fix = f"{self.command('limit')} --budget {{}}    # then the same command again"
        again = "run the same command again with --budget {}"
        limits.require(self.journal.header, self.journal.rows, what, usd, fix if stands else again)

    def afford_hours(self, what: str, usd_per_hour: float | None) -> None:
        """The same for something with an hourly price, of which AWS bills a minute at the least."""
        self.afford(what, None if usd_per_hour is None else usd_per_hour * cost.LEAST_S / 3600)

    def end_costs(self) -> list[Row]:
        """End what costs by the hour and what works: servers, tasks, jobs. All else stands until `down`.

        Returns
        -------
        list of Row
            What was ended. Batch ends its machines by itself, some minutes after the last job.

        Raises
        ------
        LedgerError
            While `down`, or another process, holds the ledger.
        StillStanding
            When something could not be ended.
        """
        with self.journal.locked("stop", patience_s=TIDY_S * self.patience):
            self._refuse_others()
            work = [call for call, kind in KINDS.items() if kind.work]
            rows = limits.that_costs(self.journal.open_rows(), work, THROTTLE_S * self.patience)
            if failures := self._delete_all(rows):
                raise self._still_standing(failures)
            return rows

    def client(self, service: str) -> Any:
        """The boto3 client for a service, with retries that suit reading calls."""
        return self.cloud.client(service)

    @contextlib.contextmanager
    def locked(self, verb: str) -> Iterator[None]:
        """Hold the ledger for one verb; see `Journal.locked`. A block within a block is fine."""
        with self.journal.locked(verb, patience_s=START_S * self.patience):
            self._refuse_others()  # the file may be another one than when this object was made
            yield

    def __enter__(self) -> Ledger:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing ends with the block: what was built stands until `down`."""

    def _repr_html_(self) -> str:
        """In a notebook: what stands, as a table. Asks AWS nothing."""
        head = journal.whereabouts(self.journal.header)
        if note := prices.note(self.cloud.region).strip(" ()"):
            head["prices"] = note
        standing = [
            {"row": row.name, "state": row.state, "id": row.id}
            | {"USD per hour": "?" if row.usd_per_hour is None else f"{row.usd_per_hour:.4f}"}
            for row in self.journal.open_rows()
        ]
        return show.rows([head]) + (show.rows(standing) if standing else "Nothing stands.")

    # -- create -----------------------------------------------------------------------------------------

    def create(self, name: str, method: Callable[..., Any], /, **request: Any) -> str:
        """Make a resource, once, and return its identifier.

        If the row stands already and AWS shows it, no call is made that changes anything.

        Parameters
        ----------
        name : str
            The row's name: an AWS noun with dashes.
        method : callable
            A boto3 client method, such as ``ec2.create_vpc``; its operation must have an entry in `kinds`.
        **request
            The method's own arguments. Marks (tags, client token) are added here.

        Returns
        -------
        str
            The identifier that later calls use; of a join, that of its first end.

        Raises
        ------
        LedgerError
            For an operation without an entry, arguments other than those of the standing one, a join of what
            no row holds, a full disk.
        NotOurs
            When what the row has made stands without its token.
        AwsError
            When AWS refuses; nothing then stands under this row.
        """
        kind = kind_of(method)
        digests = {key: digest(value) for key, value in request.items()}
        with self.locked("create"), self._building.setdefault(name, threading.Lock()):
            row = self.journal.last(name)
            if row is not None:
                row = self._resume(kind, row, method, request, digests)
            if row is None:
                usd_per_hour = kind.usd_per_hour(request, self.cloud.region)
                if kind.spends or usd_per_hour != 0:  # or may cost: a price that is not known
                    self.arm(usd_per_hour)
                row = self._begin_if_paid(kind, name, request, digests)
                self._send(kind, row, method, request)
            return row.id

    # -- start ------------------------------------------------------------------------------------------

    def start(self, name: str, method: Callable[..., Any], /, **request: Any) -> str:
        """Start work that ends by itself, a task or a job, and return its identifier.

        Each call starts another one, in a row of its own. `close_ended` closes the rows of what has ended;
        `down` stops what has not. The ledger is held for the one call; threads may start at once.

        Parameters
        ----------
        name, method, **request
            As for `create`: ``ledger.start("task", ecs.run_task, cluster=..., ...)``.

        Raises
        ------
        LedgerError
            While `up` or `down` holds the ledger, for an operation without an entry, for a full disk.
        AwsError
            When AWS refuses, be it inside HTTP 200; nothing then runs under this row.
        """
        kind = kind_of(method)
        with self.locked("start"):
            row = self._begin_if_paid(kind, name, request, {})
            if limits.budget(self.journal.header) is not None:
                self._move_its_end()  # before it costs: who comes to an end here comes to no other
            self._send(kind, row, method, request)
            if minutes := self.journal.header["limits"]["ttl_minutes"]:
                until = limits.until(minutes, self.journal.open_rows())
                self._keep_limits({**self.journal.header["limits"], "until": until})
        self._move_its_end()
        return row.id

    def close_ended(self, *, running: bool = False) -> None:
        """Close the rows of work that has ended, and note since when it was billed: with `running`, of all.

        AWS calls: the kinds' describe calls.

        It only tidies up, and stands in nobody's way: while another terminal holds the ledger, or the disk is
        full, the rows stay as they are, until whoever comes next.
        """
        rows = [row for row in self.journal.open_rows() if KINDS[row.call].work]
        found = each(self._seen, rows, AT_ONCE)
        seen = list(zip(rows, found, strict=True))
        ends = {row.token: self._end_of(row, shown) for row, shown in seen}
        billed = {row.token: shown[0].billed for row, shown in seen if shown}
        if not any(ends.values()) and not (running and any(billed.values())):
            return
        try:
            with self.journal.locked("start", patience_s=TIDY_S * self.patience):
                for row in self.journal.open_rows():
                    if since := billed.get(row.token):
                        spans = [[row.made, 0.0], [max(since, row.made), row.usd_per_hour]]
                        self.journal.header["meter"]["rates"][str(row.number)] = spans
                    if ended := ends.get(row.token):
                        row.state, row.ended = "gone", ended
                self.journal.save()
        except LedgerError as error:
            log.debug("rows of ended work stay open: %s", error)

    def _end_of(self, row: Row, shown: list[Found]) -> str:
        """When the work of a row ended; empty while it goes on. What AWS has forgotten has ended, too."""
        if shown:
            over = all(one.state == "ended" for one in shown)
            return max(one.until for one in shown) or journal.now() if over else ""
        return journal.now() if journal.seconds_since(row.made or row.begun) > FORGOTTEN_S else ""

    # -- a row first, then the call -----------------------------------------------------------------------

    def _begin_if_paid(self, kind: Kind, name: str, request: dict[str, Any], digests: dict[str, Any]) -> Row:
        """`_begin`, where the lab's budget pays for it. What is free asks nobody, and is not held up.

        Before it is refused, AWS is asked: what the file counts on may have ended by itself.
        """
        usd_per_hour = kind.usd_per_hour(request, self.cloud.region)
        if usd_per_hour == 0 or limits.budget(self.journal.header) is None:
            return self._begin(kind, name, request, digests)
        with self._spending:
            try:
                self.afford_hours(f"the {name}", usd_per_hour)
            except OverBudget:
                self.read_meter()
                self.afford_hours(f"the {name}", usd_per_hour)
            return self._begin(kind, name, request, digests)

    def _begin(self, kind: Kind, name: str, request: dict[str, Any], digests: dict[str, Any]) -> Row:
        """A row on disk, with its token, before the call."""
        journal.home_id()  # where it cannot be had, nothing is begun
        row = Row(
            number=0,
            name=name,
            call=kind.call,
            token=journal.fresh_token(),
            needs=self._needs(request),
            digests=digests,
            telling={key: str(request[key]) for key in kind.described_by if key in request}
            | kind.tells(request),
            begun=journal.now(),
            usd_per_hour=kind.usd_per_hour(request, self.cloud.region),
        )
        self.journal.add(row)
        if kind.join or kind.named:
            row.ids = kind.ids(kind.mark(request, self._mark(row)), {})
        try:
            if kind.join and not self._holds_ends(kind, row):
                raise LedgerError(
                    f"{kind.call} would tie what this ledger does not hold.",
                    "`down` unties only what rows of its own ledger have made, so it was not called.",
                    "make both ends with `ledger.create` first",
                )
            self.journal.save()
        except LedgerError:
            self.journal.drop(row)
            raise
        return row

    def _mark(self, row: Row) -> Mark:
        """What this row's resource carries on AWS."""
        return Mark(
            ledger=self.prefix,
            owner=self.journal.header["owner"],
            row=f"{row.number:02d} {row.name}",
            token=row.token,
            region=self.cloud.region,
            home=journal.home_id(),
            boundary=os.environ.get("AWSLABS_BOUNDARY", ""),
        )

    def _needs(self, request: dict[str, Any]) -> list[int]:
        """Numbers of the open rows that the request names, at any depth, inside JSON text too."""
        text = json.dumps(request, default=str)
        return [
            row.number
            for row in self.journal.open_rows()
            if not KINDS[row.call].join and any(value and value in text for value in row.ids.values())
        ]

    def _resume(
        self,
        kind: Kind,
        row: Row,
        method: Callable[..., Any],
        request: dict[str, Any],
        digests: dict[str, Any],
    ) -> Row | None:
        """The row of an earlier run, put right by what AWS shows; None if a fresh one is wanted."""
        if row.state == "deleting":
            self._delete(row)
            return None
        repeatable = row.state == "creating" and row.digests == digests and not kind.not_idempotent
        found = self.shown(row) if repeatable else self._settled(row)
        if repeatable and is_foreign(found):
            found = self._settled(row)  # its tags may not be visible yet
        self._refuse_foreign(row, found)
        if found and found[0].state == "going":
            self._prove(row)
            return None
        lost = kind.join and row.digests != digests and self._lost_an_end(row)
        if found and (found[0].state == "spent" or lost):
            self._delete(row)
            return None
        if found:
            self._keep(kind, row, found)
            self._refuse_other_arguments(kind, row, digests)
            return row
        if row.state == "creating" and row.digests == digests:
            self._send(kind, row, method, request, unsure=True)  # the same token again
            return row
        self._close(row, "gone")  # deleted by hand, or never made and no longer wanted like this
        return None

    def _refuse_foreign(self, row: Row, found: list[Found]) -> None:
        """Stop at what stands under the row's identifier without being the row's own."""
        if not is_foreign(found):
            return
        if found[0].unread:
            why = f"Its tags, where that would stand, could not be read: {found[0].unread}"
        elif KINDS[row.call].join:
            why = "It ties to something that no row of this ledger holds."
        else:
            why = "Its tags were taken away, or it is another one under the same name."
        raise NotOurs(
            f"The {row.name} {found[0].id} still stands, but nothing shows any more that it is ours.",
            f"{why} It was left as it is.",
            f"{self.command_to_force(row)}    # deletes it all the same",
        )

    def refuse_other(self, what: str, way_on: str = "") -> NoReturn:
        """Stop an `up` whose options ask for another lab than stands; what stands is named in a few words.

        Parameters
        ----------
        way_on : str
            The command that goes on with what stands; that of `down` unless given.
        """
        down = f"{self.command('down')}    # then `up` again; or `up` with the options that it was built with"
        raise LedgerError(f"The lab stands with {what}.", "Nothing was changed.", way_on or down)

    def _lost_an_end(self, row: Row) -> bool:
        """Whether a join ties to what is gone: deleted by hand, and made anew under another id."""
        return not {one.number for one in self.journal.open_rows()}.issuperset(row.needs)

    def _refuse_other_arguments(self, kind: Kind, row: Row, digests: dict[str, Any]) -> None:
        if not row.digests:
            return  # recovered from AWS, where its request is not kept
        names = sorted((digests.keys() | row.digests.keys()) - set(kind.looked_up))
        others = [name for name in names if digests.get(name) != row.digests.get(name)]
        if others:
            stands = ", ".join(f"{key} {value}" for key, value in row.telling.items())
            raise LedgerError(
                f"The {row.name} stands with another {' and '.join(others)}.",
                f"It is {row.id}{f' ({stands})' if stands else ''}; nothing was changed.",
                f"{self.command('down')}    # then `up` again",
            )

    def command(self, verb: str, **given: str | bool | None) -> str:
        """The command line that runs a verb of this lab on this ledger.

        Parameters
        ----------
        **given
            Options that it needs besides: ``cpu=True`` is the flag ``--cpu``; None and False are left out.
        """
        return self.place.command(f"{verb}{as_options(given)}")

    def command_to_force(self, row: Row) -> str:
        """The command line that deletes what stands under one row, whatever it carries."""
        return self._of_ledgers(f"down --force-row {self.lab} {row.name}")

    def _of_ledgers(self, verb: str) -> str:
        """The command line of a verb of the ledgers that takes a copy's name."""
        name = self.journal.header["name"]
        return self.cloud.place.of_ledgers(verb + ("" if name == "default" else f" --name {name}"))

    # -- send: until AWS has answered one way or the other ------------------------------------------------

    def _send(
        self,
        kind: Kind,
        row: Row,
        method: Callable[..., Any],
        request: dict[str, Any],
        *,
        unsure: bool = False,
    ) -> None:
        """Send the marked request until there is exactly one of it, or AWS refuses; then save the row.

        `unsure`: an earlier try may have taken effect unseen, so a refusal of this one proves nothing yet.
        """
        from botocore.exceptions import ClientError, ParamValidationError

        call = getattr(self.cloud.client(kind.service, resends=False), method.__name__)
        began = time.monotonic()
        for attempt in range(1, 200):
            marked = kind.mark(request, self._mark(row))
            try:
                with callbook.about(self.journal, row):
                    answer = call(**marked)
                if refusal := kind.refusal(answer):
                    code, message = refusal
                    raise ClientError({"Error": {"Code": code, "Message": message}}, method.__name__)
            except ParamValidationError:
                self._close(row, "refused")
                raise
            except boto3_errors() as error:
                if self._after_error(kind, row, request, error, time.monotonic() - began, unsure):
                    return
                unsure = unsure or is_unanswered(error)
                if attempt == 4:  # it takes longer than it mostly does
                    log.info("%s: tried again for a while, since AWS says: %s", row.name, error)
                soon = answers(error, kind.not_yet)  # it passes within seconds, and all else waits for it
                time.sleep(pause(attempt, longest_s=1.0 if soon else 10.0))
            else:
                log.info("%s: %s", row.name, kind.call)
                self._stands(row, kind.ids(marked, answer))
                return
        raise TimedOut(f"{kind.call} was sent 200 times in vain.", "", "run the same command again")

    def _after_error(
        self, kind: Kind, row: Row, request: dict[str, Any], error: Exception, spent_s: float, unsure: bool
    ) -> bool:
        """True: it stands. False: send it again. Otherwise the refusal is raised, as one of our errors."""
        code = error_code(error)
        refusal = explain(error, kind.call, self.place, request)
        unanswered = is_unanswered(error)
        taken = answers(error, kind.taken)
        if taken or code.startswith("Idempotent") or unanswered or code in THROTTLED:
            # It may stand: made by an earlier try whose answer was lost. Never send again without a look.
            patient = taken or (unanswered and kind.not_idempotent)
            found = self._settled(row) if patient else self.shown(row)
            if taken and unsure:
                self._refuse_foreign(row, found)
            found = [one for one in found if one.state not in ("going", "foreign")]
            if found:
                self._keep(kind, row, found)
                return True
        if is_refused_here(error):
            raise refusal  # the row stays `creating`: an earlier try may have taken effect
        if unanswered or code in THROTTLED:
            if spent_s < (THROTTLE_S if code in THROTTLED else UNANSWERED_S) * self.patience:
                return False
            raise refusal  # the row stays `creating`: nobody knows, and the next run asks
        if answers(error, kind.not_yet) and spent_s < NOT_YET_S * self.patience:
            return False
        if code.startswith("Idempotent"):  # the token is spent on something that is gone
            row.token = journal.fresh_token()
            self.journal.save()
            return False
        if unsure and (found := self._settled(row)):
            self._refuse_foreign(row, found)
            self._keep(kind, row, found)
            return True
        self._close(row, "refused")
        raise refusal

    def _stands(self, row: Row, ids: dict[str, str]) -> None:
        row.ids, row.state, row.made = ids, "standing", row.made or journal.now()
        self.journal.save()

    def _keep(self, kind: Kind, row: Row, found: list[Found]) -> None:
        """Keep the oldest of several that one row has made before it knew of any; delete the others."""
        for extra in found[1:]:
            log.warning("%s: %s was made twice; deleting %s", row.name, kind.call, extra.id)
            with callbook.about(self.journal, row):
                kind.delete(self.cloud.client(kind.service), extra)
        if row.state != "standing" or row.ids != found[0].ids:
            self._stands(row, found[0].ids)

    def _close(self, row: Row, state: str) -> None:
        row.state, row.ended = state, journal.now()
        self.journal.save()

    # -- look: what AWS shows -------------------------------------------------------------------------

    settle_s = SETTLE_S
    patience = 1.0  # scales the other bounds; tests shorten them

    def shown(self, row: Row, listed: list[Found] | None = None) -> list[Found]:
        """What AWS shows under a row's token or identifier, or has shown in a listing of many things.

        Oldest first, and without what has ended. AWS calls: the kind's describe call, unless a listing is
        given.
        """
        return [one for one in self._seen(row, listed) if one.state != "ended"]

    def _seen(self, row: Row, listed: list[Found] | None = None) -> list[Found]:
        """The same, with work that has ended.

        Copies are told of once, and left out: "Launch more like this" in the console copies tags, too.
        """
        kind = KINDS[row.call]
        try:
            if listed is None:
                with callbook.about(self.journal, row):
                    seen = kind.seen(self.cloud.client(kind.service), row)
            else:
                seen = kind.among(listed, row)
        except boto3_errors() as error:
            raise explain(error, f"looking for the {row.name}", self.place) from error
        for one in seen:
            if one.state == "copy" and one.id not in self._copies and not self._holds(one.id):
                self._copies[one.id] = row
                log.warning("%s: %s %s", row.name, one.id, carries_mark_of(row))
        seen = [one for one in seen if one.state != "copy"]
        if row.number in self._forced:
            return [
                dataclasses.replace(one, state="standing") if one.state == "foreign" else one for one in seen
            ]
        if kind.join and not self._holds_ends(kind, row):
            return [dataclasses.replace(one, state="foreign") for one in seen]
        return seen

    def _holds(self, id: str) -> bool:
        """Whether a row of its own knows this identifier: `recover` writes one for each copy."""
        return any(row.id == id for row in self.journal.rows)

    def _holds_ends(self, kind: Kind, row: Row) -> bool:
        """Whether what a join ties is of this ledger's rows: a join carries no mark, that is its own."""
        rows = [one for one in self.journal.open_rows() if not KINDS[one.call].join]
        ours = {value for one in rows for value in one.ids.values()}
        return ours.issuperset(row.ids[end] for end in kind.ends)

    def _settled(self, row: Row) -> list[Found]:
        """As `shown`, but "nothing" and "foreign" count only once all had the time to become visible."""
        seen = self._seen(row)
        if row.state == "creating":
            left = self.settle_s
        else:
            left = self.settle_s - journal.seconds_since(row.made or row.begun)
        if (not seen or is_foreign(seen)) and left > 0:
            until = time.monotonic() + left
            with awaiting(f"certainty whether the {row.name} was made"):
                while (not seen or is_foreign(seen)) and time.monotonic() < until:
                    time.sleep(min(1.0, self.settle_s / 4))
                    seen = self._seen(row)
        return [one for one in seen if one.state != "ended"]

    # -- down -----------------------------------------------------------------------------------------

    def down(self, *, dry_run: bool = False) -> list[Row]:
        """Delete all that the ledger holds, in the order that AWS demands, and prove that it is gone.

        Parameters
        ----------
        dry_run : bool
            Only return what would be deleted, in that order.

        Returns
        -------
        list of Row
            The rows that were open, newest first.

        Raises
        ------
        StillStanding
            When something could not be deleted, is not ours any more, or carries a row's mark though no row
            made it; everything else is gone then.
        """
        if dry_run:
            return self.journal.open_rows()[::-1]
        with self.locked("down"):
            self._put_off_its_end()
            rows = self.journal.open_rows()[::-1]
            self._copies.clear()
            failures = self._delete_all(rows)
            if failures or self._copies:
                raise self._still_standing(failures)
            self.journal.forget_keys()
            if rows and self.journal.header["limits"] != journal.blank_limits():
                self.journal.header["limits"] = journal.blank_limits()
                self._save_if_possible()
            return rows

    def end(self, chosen: Callable[[list[Row]], list[Row]]) -> None:
        """Delete what is chosen of the open rows, which come newest first; `down` tells what could not be."""
        with self.locked("down"):
            self._put_off_its_end()
            self._delete_all(chosen(self.journal.open_rows()[::-1]))

    def end_work(self) -> None:
        """Stop what still runs, and wait for its end: the beginning of `down`."""
        self.end(lambda rows: [row for row in rows if KINDS[row.call].work])

    def end_what_costs(self) -> None:
        """Delete what costs by the hour, and work, before all else; `down` tells what could not be."""
        with self.locked("down"):
            rows = self.journal.open_rows()[::-1]
            self._delete_all([row for row in rows if KINDS[row.call].work or row.usd_per_hour != 0])

    def _put_off_its_end(self) -> None:
        """Nobody shall delete what `down` brings home; what guards the lab waits, and goes last.

        Where AWS refuses that, `down` goes on all the same.
        """
        for row in self.journal.open_rows():
            kind = KINDS[row.call]
            try:
                if kind.guards and row.state == "standing":
                    kind.put_off(self.client(kind.service), row.id)
            except boto3_errors() as error:
                log.debug("%s: not put off: %s", row.name, error)

    def delete(self, name: str) -> None:
        """Delete what stands under one row, if anything does, and wait until AWS shows that it is gone."""
        with self.locked("create"):
            if row := self.journal.last(name):
                self._delete(row)

    def states(self) -> dict[int, str]:
        """What AWS shows of each open row now, by its number: ``standing``, ``coming``, ``going``, ...

        AWS calls: the kinds' describe calls, many at once.
        """

        def state(row: Row) -> str:
            try:
                seen = self._seen(row)
            except LabError:
                return "not looked at"
            return seen[0].state if seen else "not shown by AWS"

        rows = self.journal.open_rows()
        return dict(zip((row.number for row in rows), each(state, rows, AT_ONCE), strict=True))

    def force(self, name: str) -> None:
        """Delete what stands under one row by its identifier, though it does not carry the row's token.

        Raises
        ------
        LedgerError
            When no row of that name is open.
        AwsError
            When AWS refuses the deletion, be it since something still hangs on it.
        """
        with self.locked("down"):
            row = self.open_row(name)
            self._forced.add(row.number)
            try:
                self._delete(row)
            finally:
                self._forced.discard(row.number)

    def open_row(self, name: str) -> Row:
        """The open row of this name."""
        if (row := self.journal.last(name)) is None:
            copy = self.journal.header["name"]
            raise LedgerError(
                f"The ledger of {self.lab} ({copy}) has no open row {name}.",
                f"Open are: {', '.join(one.name for one in self.journal.open_rows()) or 'none'}.",
                self._of_ledgers(f"show {self.lab}"),
            )
        return row

    def _delete_all(self, rows: list[Row]) -> dict[int, LabError]:
        """Delete each row as soon as what must go before it is out of its way; what failed, by row number.

        All are looked for at once. A row whose deletion was accepted makes way for the next, and AWS is asked
        meanwhile whether it is gone; only what takes its time (a server) makes way when it is gone.
        """
        before, failures = self.order(rows), {}
        waiting = {row.number: row for row in rows}
        running: dict[Future[None], tuple[Callable[[Row], None], Row]] = {}
        pool = ThreadPoolExecutor(AT_ONCE)
        try:
            looks = {row.number: pool.submit(self._settled, row) for row in rows}

            def ask(row: Row) -> None:
                self._ask(row, looks[row.number].result())

            while waiting or running:
                for row in [row for row in waiting.values() if not before[row.number]]:
                    running[pool.submit(ask, waiting.pop(row.number))] = (ask, row)
                if not running:
                    break  # the rest hangs on what failed
                done, _ = wait(running, return_when=FIRST_COMPLETED)
                for future in done:
                    (step, row), error = running.pop(future), future.exception()
                    if isinstance(error, LabError):
                        failures[row.number] = error
                        continue
                    if error is not None:
                        raise error
                    if step is ask:
                        running[pool.submit(self._prove, row)] = (self._prove, row)
                    if step is not ask or not KINDS[row.call].deletes_slowly:
                        for others in before.values():
                            others.discard(row.number)
        finally:
            pool.shutdown(wait=False, cancel_futures=True)  # Ctrl-C does not wait for a server to shut down
        for row in waiting.values():
            failures[row.number] = StillStanding(f"It waits for row {min(before[row.number])} to go.")
        return failures

    def order(self, rows: list[Row]) -> dict[int, set[int]]:
        """For each row, the numbers of those that must be gone first.

        A row waits for all that names it, and what `guards` for all that it does not need itself. A join
        waits also for all that came after it and reaches one of its ends: the gateway leaves its VPC only
        when no server with a public address is left in there.
        """
        by_number = {row.number: row for row in rows}
        before: dict[int, set[int]] = {number: set() for number in by_number}
        reach: dict[int, set[int]] = {}
        for row in sorted(rows, key=lambda row: row.number):
            needs = set(row.needs) & by_number.keys()
            reach[row.number] = needs.union(*(reach[number] for number in needs))
            for number in needs:
                before[number].add(row.number)
        for join in rows:
            if KINDS[join.call].join:
                ends = set(join.needs)
                before[join.number] |= {
                    row.number for row in rows if row.number > join.number and reach[row.number] & ends
                }
        for guard in rows:
            if KINDS[guard.call].guards:
                needed = reach[guard.number] | {guard.number}
                before[guard.number] |= {
                    row.number
                    for row in rows
                    if row.number not in needed and not (KINDS[row.call].join and needed & set(row.needs))
                }
        return before

    def _delete(self, row: Row) -> None:
        """Delete one row's resource and wait until AWS does not show it any more."""
        self._ask(row, self._settled(row))
        self._prove(row)

    def _ask(self, row: Row, found: list[Found]) -> None:
        """Ask AWS to delete what was found, for as long as it answers that something still hangs on it."""
        kind = KINDS[row.call]
        self._refuse_foreign(row, found)
        if row.state != "deleting":
            row.state = "deleting"
            self._save_if_possible()
        # Where AWS takes one in half a minute, botocore's own pauses, which double, would miss many a turn.
        client = self.cloud.client(kind.service, resends=not kind.rate)
        began, attempt = time.monotonic(), 0
        while found:
            row.telling["shown"] = journal.now()
            attempt += 1
            try:
                for one in found:
                    if one.state != "going":
                        with callbook.about(self.journal, row):
                            kind.delete(client, one)
                        log.info("%s: delete %s", row.name, one.id)
                return
            except boto3_errors() as error:
                code = error_code(error)
                if answers(error, kind.absent):
                    return
                throttled = code in THROTTLED
                passing = throttled or answers(error, kind.busy) or is_unanswered(error)
                if not passing or time.monotonic() - began > kind.busy_s * self.patience:
                    call = getattr(error, "operation_name", f"the call that deletes the {row.name}")
                    raise explain(error, f"{kind.service}:{call}", self.place) from error
                rate = f" ({kind.rate})" if kind.rate else ""
                with awaiting(
                    f"AWS takes the deletion of the {row.name}{rate}"
                    if throttled
                    else f"nothing uses the {row.name} any more"
                ):
                    time.sleep(pause(attempt, longest_s=5.0))
                found = self.shown(row)
                self._refuse_foreign(row, found)

    def _prove(self, row: Row) -> None:
        """Close the row once AWS does not show its resource any more: that, not a 200, is the proof.

        A thing may lose its tags before it goes; what stays without them is not awaited.
        """
        began = time.monotonic()

        def is_gone() -> bool:
            found = self.shown(row)
            if time.monotonic() - began > self.settle_s:
                self._refuse_foreign(row, found)
            if found:
                row.telling["shown"] = journal.now()
            return not found

        poll(
            f"the {row.name} {row.id} is gone",
            is_gone,
            timeout_s=GONE_S * self.patience,
            first_s=1.0 if KINDS[row.call].deletes_slowly else 0.2,
            longest_s=2.0,
            fix=self.command("down"),
        )
        row.state, row.ended = "gone", journal.now()
        self._save_if_possible()

    def _save_if_possible(self) -> None:
        """While things are deleted, a full disk is no reason to let them cost money."""
        try:
            self.journal.save()
        except LedgerError as error:
            if self.journal.disk_is_full_for_the_first_time():
                log.warning("%s Deleting goes on; the file shows less than is gone.", error.what)

    def _still_standing(self, failures: dict[int, LabError]) -> StillStanding:
        """What `down` has left, why, and the commands that mend it."""
        rows = {row.number: row for row in self.journal.rows}
        newest = sorted(failures.items(), reverse=True)
        lines = [
            f"{rows[number].name} {rows[number].id}: {error.what} {error.why}".rstrip()
            for number, error in newest
        ]
        fixes = [error.fix for _, error in newest if isinstance(error, NotOurs)]
        if len(fixes) < len(failures):
            fixes.append(f"{self.command('down')}    # tries again what is left")
        if self._copies:
            lines += [f"{row.name} {id}: it {carries_mark_of(row)}." for id, row in self._copies.items()]
            recover = self.place.of_ledgers(f"recover {self.lab}")
            fixes.append(f"{recover}    # gives it a row; then `down`")
        usd = journal.total(rows[number].usd_per_hour for number in failures)
        note = prices.note(self.cloud.region)
        price = "an unknown price" if usd is None else f"about {usd:.4f} USD per hour{note}"
        return StillStanding(
            f"{len(failures)} of the lab's resources still stand, at {price}."
            if failures
            else "What the lab has made is gone, but something else that carries its mark stands.",
            "\n       ".join(lines),
            "\n       ".join(fixes),
        )


def ensure(method: Callable[..., Any], /, **request: Any) -> bool:
    """See to it that something holds which dies with its parent: a route, a rule, an attribute.

    It is read first. If it is as asked for, no call is made; if it differs, it is replaced.

    Parameters
    ----------
    method : callable
        The boto3 client method that would make it; its operation must have an entry in `kinds.ENSURES`.
    **request
        The method's own arguments.

    Returns
    -------
    bool
        Whether anything was changed.

    Raises
    ------
    AwsError
        When AWS refuses. What it answers for a while only (what the request names is not visible yet, too
        many calls) is waited out, as `Ledger.create` does.
    """
    call, client = operation(method), method.__self__  # type: ignore[attr-defined]
    place = place_of(client)
    service = call.partition(":")[0]
    passing = [
        code for kind in KINDS.values() if kind.service == service for code in (*kind.not_yet, *kind.busy)
    ]
    began, changed, step = time.monotonic(), False, call
    for attempt in range(1, 100):
        try:
            for repair, arguments in ENSURES[call](client, request):
                step = operation(repair)
                repair(**arguments)
                log.info("%s", step)
                changed = True
            return changed
        except boto3_errors() as error:
            spent_s = time.monotonic() - began
            repeated = error_code(error).endswith(("Duplicate", "AlreadyExists"))
            late = answers(error, passing) and spent_s < NOT_YET_S
            throttled = error_code(error) in THROTTLED and spent_s < THROTTLE_S
            if not repeated and not late and not throttled:
                raise explain(error, step, place, request) from error
            time.sleep(pause(attempt))
    raise TimedOut(f"{call} did not come to hold.", "", "run the same command again")


def is_foreign(found: list[Found]) -> bool:
    """Whether what was found stands under an identifier of ours, but does not carry our token."""
    return any(one.state == "foreign" for one in found)


def carries_mark_of(row: Row) -> str:
    """What is said of a copy: "Launch more like this" in the console copies tags, too."""
    return f"carries the mark of {row.id}, but no row made it: by hand, perhaps, with copied tags; it stays"


def is_unanswered(error: Exception) -> bool:
    """Whether nobody knows if the call took effect: the connection broke, or AWS failed within.

    No capacity is a plain refusal, though EC2 counts it among its server errors (AWS docs, "Error codes").
    """
    code = error_code(error)
    if is_refused_here(error) or http_status(error) == 501:
        return False  # nothing was sent; an endpoint that does not know the call
    return code in TRANSPORT or (http_status(error) >= 500 and code not in NO_CAPACITY)


def digest(value: Any) -> str:
    """Eight hexadecimal digits that change with the value of a parameter."""
    text = json.dumps(
        value, sort_keys=True, default=lambda other: other.hex() if isinstance(other, bytes) else str(other)
    )
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def pause(attempt: int, longest_s: float = 10.0) -> float:
    """Seconds before the next attempt: growing from a quarter of a second, with jitter."""
    return min(longest_s, 0.25 * 1.6**attempt) * random.uniform(0.7, 1.0)


if __name__ == "__main__":
    from awslabs.certificate import command_line

    command_line()(prog_name="python -m awslabs.ledger")
