"""The plan of a lab: what its `up` would call, in order, from a run of `up` in this process.

    plan = rehearse("ec2", lambda ledger: ec2.up(ledger), region="us-east-1")
    plan.steps[0].call, plan.steps[0].params          "ec2:CreateVpc", {"CidrBlock": "10.10.0.0/23"}

The practice cloud's rules answer, so the plan holds real parameters; no request leaves the process. What only
AWS knows, or what is drawn when a lab is really built, is not guessed: in its place stands the name of a
variable, between `OPENS` and `CLOSES`, and `Step.asks` and `Step.gives` say which call tells its value.

Whatever an answer has told first, and a later call needs, becomes such a variable: nothing here knows a lab.
"""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import logging
import os
import re
import secrets
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

from awslabs import addresses, journal, progress, rehearsal
from awslabs.calls import READING
from awslabs.cloud import Cloud, session
from awslabs.kinds import KINDS
from awslabs.ledger import Ledger

OPENS, CLOSES = "\ue000", "\ue001"  # of Unicode's private use: in no name, policy or page
VARIABLE = re.compile(f"{OPENS}([^{CLOSES}]+){CLOSES}")
TOKEN = "token "  # what the variable of a row's token begins with; its end tells it from others'
ACCOUNT = "123456789012"  # moto's
REGION = "us-east-1"
# What of an answer names a thing: an identifier, an address, a zone, the value of a parameter.
NAMING = re.compile(r"(?i:id|arn|uri|url)$|^(Location|ZoneName|Value)$")
SHORTEST = 6  # characters of an identifier that AWS has drawn
CALL_OUT = re.compile(r"\s*# <(\d+)> (.*)")
GOES_ON = re.compile(r"\s*#\s+(.*)")
SWITCH = "switch-"  # what the rows of the dead-man's switch begin with


@dataclass(frozen=True)
class Ask:
    """A reading call, and the variables that its answer tells, each with the JMESPath to it."""

    call: str
    params: dict[str, Any]
    gives: dict[str, str]


@dataclass(frozen=True)
class Wait:
    """A waiter of boto3, and what it waits for."""

    service: str
    waiter: str
    params: dict[str, Any]


@dataclass
class Step:
    """A call that changes something, or an image that is built and pushed.

    Attributes
    ----------
    call : str
        ``ec2:CreateVpc``; ``docker:push`` for an image.
    row : str
        Its row in the ledger; empty for what dies with its parent.
    number : str
        The call-out in the chapter to which it belongs: ``1``; ``switch`` for the dead-man's switch.
    params, sent : dict
        As the chapter writes it, and with the marks of the ledger.
    needs : list of str
        Rows that must stand before.
    usd_per_hour : float or None
        What it costs each hour from then on; None where that is not known.
    asks : list of Ask
        What must be asked before it.
    gives : dict of str
        Variables that its answer tells, each with the JMESPath to it.
    waits : list of Wait
        What `up` waits for after it.
    """

    call: str
    row: str = ""
    number: str = ""
    params: dict[str, Any] = field(default_factory=dict)
    sent: dict[str, Any] = field(default_factory=dict)
    needs: list[str] = field(default_factory=list)
    usd_per_hour: float | None = 0.0
    asks: list[Ask] = field(default_factory=list)
    gives: dict[str, str] = field(default_factory=dict)
    waits: list[Wait] = field(default_factory=list)

    @property
    def service(self) -> str:
        """boto3's name of it."""
        return self.call.partition(":")[0]

    @property
    def operation(self) -> str:
        """AWS's name of it."""
        return self.call.partition(":")[2]


@dataclass
class Plan:
    """All steps of a lab.

    Attributes
    ----------
    lab, region, owner : str
        Of the ledger; the owner is a variable where nobody has said it.
    call_outs : dict of str
        The chapter's own words, by number.
    usd_per_hour : float or None
        What all of it costs each hour.
    """

    lab: str
    region: str
    owner: str
    call_outs: dict[str, str]
    steps: list[Step] = field(default_factory=list)

    @property
    def usd_per_hour(self) -> float | None:
        return journal.total(step.usd_per_hour for step in self.steps)


def variable(name: str) -> str:
    """A variable as it stands in a text of the plan."""
    return f"{OPENS}{name}{CLOSES}"


# -- The rehearsal -------------------------------------------------------------------------------------


def rehearse(
    lab: str,
    build: Callable[[Ledger], Any],
    *,
    region: str | None = None,
    name: str = "default",
    owner: str | None = None,
    budget_usd: float | None = None,
) -> Plan:
    """Run a lab's `up` as if nothing stood, in this process, and return what it has called.

    Whoever calls it has no other boto3 client at work in this process meanwhile: moto answers all of them.

    AWS calls: none.

    Parameters
    ----------
    build : callable
        Takes the ledger, and builds.
    region, name, owner, budget_usd
        As for `up`.

    Raises
    ------
    LabError
        When the extra ``sandbox`` is not installed; and what `up` itself would stop at: a budget that is too
        small, a type of server that does not fit.
    """
    from awslabs.sandbox import in_process

    whose = journal.chosen_owner(owner) or f"owner-{secrets.token_hex(4)}"
    home = journal.home_id()
    with in_process.cloud(), _elsewhere(home), _quietly():
        keys = {"AWS_ACCESS_KEY_ID": "none", "AWS_SECRET_ACCESS_KEY": "none", "AWS_REGION": region or REGION}
        cloud = Cloud(environment=keys)
        cloud.identity = {"account": ACCOUNT, "arn": f"arn:aws:iam::{ACCOUNT}:user/{whose}", "owner": whose}
        ledger = Rehearsed(cloud, lab, name, whose)
        ledger.budget_usd = budget_usd
        recorder = Recorder(ledger)
        with recorder.at_work():
            build(ledger)
        return recorder.plan(whose, given=journal.chosen_owner(owner) is not None)


def region_of(region: str | None, profile: str | None) -> str:
    """The Region that `up` would build in; where nothing names one, and `up` would stop, us-east-1."""
    from botocore.exceptions import NoRegionError

    try:
        return str(session({}, region, profile).region_name)
    except NoRegionError:
        return REGION


@contextlib.contextmanager
def _elsewhere(home_id: str) -> Iterator[None]:
    """A folder for ledgers that is gone afterwards; it says the same of itself as the true one.

    Whatever endpoint the user has chosen, a practice cloud's, say, has no part in it.
    """
    from unittest import mock

    with tempfile.TemporaryDirectory(prefix="awslabs-plan-") as folder:
        Path(folder, "home-id").write_text(f"{home_id}\n", encoding="utf-8")
        told = {"AWSLABS_HOME": folder, "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS": "true"}
        with mock.patch.dict(os.environ, told):
            yield


@contextlib.contextmanager
def _quietly() -> Iterator[None]:
    before, level = progress.watcher, logging.root.manager.disable
    progress.watcher = progress.Watcher()  # nothing of what waits and lines tell happens
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        progress.watcher = before
        logging.disable(level)


class Rehearsed(Ledger):
    """A ledger that tells which row a call is for, and what the chapter has written."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.under_way = threading.local()

    def create(self, name: str, method: Callable[..., Any], /, **request: Any) -> str:
        before, self.under_way.now = getattr(self.under_way, "now", None), (name, request)
        try:
            return super().create(name, method, **request)
        finally:
            self.under_way.now = before


@dataclass
class Called:
    """A call as it was made, and its answer."""

    call: str
    sent: dict[str, Any]
    request: dict[str, Any]
    row: str
    number: str
    needs: list[str]
    answer: dict[str, Any] = field(default_factory=dict)

    @property
    def changes(self) -> bool:
        return not self.call.partition(":")[2].startswith(READING)


class Recorder:
    """Notes all calls of a ledger's clients, the waiters between them, and the images that would be built."""

    def __init__(self, ledger: Rehearsed) -> None:
        self.ledger = ledger
        self.happened: list[Called | Wait] = []
        self.page = Path(__file__).with_name(f"{ledger.lab}.py")
        self.call_outs, self.lines = call_outs(self.page)
        self._mutex = threading.Lock()
        self._open = threading.local()

    @contextlib.contextmanager
    def at_work(self) -> Iterator[None]:
        from botocore.waiter import Waiter

        self.ledger.cloud.listen("provide-client-params", self._begins)
        self.ledger.cloud.listen("after-call", self._ends)
        wait, happened = Waiter.wait, self.happened

        def noting(waiter: Any, **request: Any) -> None:
            params = {name: value for name, value in request.items() if name != "WaiterConfig"}
            client = waiter._operation_method._client_method.__self__
            wait(waiter, **request)
            happened.append(Wait(client.meta.service_model.service_name, waiter.name, params))

        Waiter.wait = noting
        rehearsal.noted = []
        try:
            yield
        finally:
            self.images, rehearsal.noted = rehearsal.noted, None
            Waiter.wait = wait

    def _begins(self, params: dict[str, Any], model: Any, **_: Any) -> None:
        self._open.sent = dict(params)

    def _ends(self, parsed: dict[str, Any], model: Any, http_response: Any, **_: Any) -> None:
        if http_response.status_code >= 300:
            return
        own = self.ledger.under_way
        call, sent = f"{model.service_model.service_name}:{model.name}", self._open.sent
        row, request = getattr(own, "now", None) or ("", sent)
        if call not in KINDS or call.partition(":")[2].startswith(READING):
            row, request = "", sent
        made = Called(call, sent, request, row, self._number(row), self._needs(row, sent), parsed)
        with self._mutex:
            self.happened.append(made)

    def _number(self, row: str) -> str:
        """The call-out above the line of `up` that is under way."""
        if row.startswith(SWITCH):
            return "switch"
        frame: FrameType | None = sys._getframe()
        while frame is not None:
            code = frame.f_code
            if code.co_name == "up" and Path(code.co_filename) == self.page:
                line = frame.f_lineno
                return next((number for at, number in reversed(self.lines) if at <= line), "")
            frame = frame.f_back
        return ""

    def _needs(self, row: str, sent: dict[str, Any]) -> list[str]:
        last = self.ledger.journal.last(row) if row else None
        needs = last.needs if last else self.ledger._needs(sent)
        return [one.name for one in self.ledger.journal.open_rows() if one.number in needs]

    # -- What it comes to ----------------------------------------------------------------------------------

    def plan(self, owner: str, *, given: bool) -> Plan:
        """The steps, with variables for what only AWS knows."""
        known = {ACCOUNT: "account_id", self.ledger.prefix: "prefix", addresses.NOBODYS_IP: "my_ip"}
        if not given:
            known[owner] = "owner"
        for row in self.ledger.journal.rows:
            known[row.token] = f"{TOKEN}{row.token[-16:]}"
        names = Names(self.happened, known)
        whose = owner if given else variable("owner")
        made = Plan(self.ledger.lab, self.ledger.cloud.region, whose, self.call_outs)
        rows = {row.name: row for row in self.ledger.journal.rows}
        for at, one in enumerate(self.happened):
            if isinstance(one, Wait):
                names.learn(at)
                if made.steps:
                    made.steps[-1].waits.append(dataclasses.replace(one, params=names.put(one.params)))
            elif one.changes:
                names.learn(at)
                asks = names.asks(at)
                kind = KINDS.get(one.call) if one.row else None
                named = {key: one.sent[key] for key in (kind.known_by if kind else ()) if key in one.request}
                made.steps.append(
                    Step(
                        call=one.call,
                        row=names.put(one.row),
                        number=one.number,
                        params=names.put({**one.request, **named}),
                        sent=names.put(one.sent),
                        needs=names.put(one.needs),
                        usd_per_hour=rows[one.row].usd_per_hour if one.row else 0.0,
                        asks=asks,
                    )
                )
                names.steps[at] = made.steps[-1]
        self._ask_once(made)
        for what, facts in self.images or []:
            self._insert(made, what, names.put(facts))
        return made

    def _ask_once(self, plan: Plan) -> None:
        """What one call tells, it tells to the first step that needs any of it."""
        first: dict[str, Ask] = {}
        for step in plan.steps:
            for ask in list(step.asks):
                before = first.setdefault(f"{ask.call} {ask.params}", ask)
                if before is not ask:
                    before.gives.update(ask.gives)
                    step.asks.remove(ask)

    def _insert(self, plan: Plan, what: str, facts: dict[str, Any]) -> None:
        """An image is built once its repository is there, while `up` goes on."""
        at = next(place for place, step in enumerate(plan.steps) if step.call == "ecr:CreateRepository")
        repository = plan.steps[at]
        push = Step("docker:push", what, repository.number, facts, facts, [repository.row])
        plan.steps.insert(at + 1, push)


# -- Variables -----------------------------------------------------------------------------------------


class Names:
    """Which values of answers later calls need, and what they are called.

    Attributes
    ----------
    known : dict of str
        Value to name of its variable.
    steps : dict of Step
        By the place of its call.
    """

    def __init__(self, happened: list[Called | Wait], known: dict[str, str]) -> None:
        self.happened, self.known = happened, dict(known)
        self.steps: dict[int, Step] = {}
        self.asked: set[str] = set()
        self._pattern: re.Pattern[str] | None = None
        self.told: dict[str, tuple[int, tuple[str | int, ...]]] = {}  # value: place of the call, way to it
        requested = ""
        for at, one in enumerate(happened):
            if isinstance(one, Wait):
                continue
            requested += "\n".join(texts(one.sent)) + "\n"
            for way, value in sorted(leaves(one.answer), key=lambda leaf: len(leaf[0])):
                if is_told(way, value) and value not in requested and self._better(at, value):
                    self.told[value] = (at, way)

    def _better(self, at: int, value: str) -> bool:
        """Of two listings that tell a value, the one that tells fewer: it was asked for less."""
        if value not in self.told:
            return True
        before, now = self._call(self.told[value][0]), self._call(at)
        if before.changes or now.changes:
            return False

        def size(one: Called) -> tuple[int, int, str]:
            return len(list(leaves(one.answer))), -len(one.sent), one.call

        return size(now) < size(before)

    def _call(self, at: int) -> Called:
        one = self.happened[at]
        assert isinstance(one, Called)
        return one

    def learn(self, at: int) -> None:
        """Give names to what this call needs of answers before it."""
        one = self.happened[at]
        self._name_all(one.params if isinstance(one, Wait) else one.sent, at)

    def _name_all(self, sent: dict[str, Any], before: int) -> None:
        whole = "\n".join(texts(sent))
        for value, (told_at, way) in self.told.items():
            if value in self.known or told_at >= before or not within(value, whole):
                continue
            source = self._call(told_at)
            self.known[value] = self._free(name_for(source, self.put(source.row), way, value, sent))
            self._pattern = None
            if source.changes:
                self.steps[told_at].gives[self.known[value]] = query(source, way, value)
            else:
                self._name_all(source.sent, told_at)

    def _free(self, name: str) -> str:
        taken = set(self.known.values())
        names = itertools.chain([name], (f"{name}_{number}" for number in itertools.count(2)))
        return next(one for one in names if one not in taken)

    def asks(self, at: int) -> list[Ask]:
        """The reading calls whose answers this call needs and none before it did."""
        found: dict[int, dict[str, str]] = {}
        self._collect("\n".join(texts(self.put(self._call(at).sent))), found)
        sources = [(self._call(place), gives) for place, gives in sorted(found.items())]
        return [Ask(source.call, self.put(source.sent), gives) for source, gives in sources]

    def _collect(self, whole: str, found: dict[int, dict[str, str]]) -> None:
        by_name = {name: value for value, name in self.known.items()}
        for name in dict.fromkeys(VARIABLE.findall(whole)):
            at, way = self.told.get(by_name[name], (-1, ()))
            if name in self.asked or at < 0 or (source := self._call(at)).changes:
                continue
            self.asked.add(name)
            found.setdefault(at, {})[name] = query(source, way, by_name[name])
            self._collect("\n".join(texts(self.put(source.sent))), found)

    def put(self, value: Any) -> Any:
        """The same with variables in the place of their values."""
        if self._pattern is None:
            known = sorted(self.known, key=len, reverse=True)
            self._pattern = re.compile(
                "|".join(rf"(?<![0-9A-Za-z]){re.escape(one)}(?![0-9A-Za-z])" for one in known)
            )
        return mapped(value, self._put)

    def _put(self, value: Any) -> Any:
        assert self._pattern is not None
        if isinstance(value, str):
            return self._pattern.sub(lambda found: variable(self.known[found[0]]), value)
        if isinstance(value, bytes):
            with contextlib.suppress(UnicodeDecodeError):
                return self._put(value.decode()).encode()
        return value


def mapped(value: Any, change: Callable[[Any], Any]) -> Any:
    """A request with all changed that is no mapping and no list."""
    if isinstance(value, Mapping):
        return {key: mapped(item, change) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [mapped(item, change) for item in value]
    return change(value)


def texts(value: Any) -> Iterator[str]:
    """All texts within a request, those of files too."""
    return (text for _, text in leaves(value))


def leaves(value: Any, way: tuple[str | int, ...] = ()) -> Iterator[tuple[tuple[str | int, ...], str]]:
    """All texts within an answer or a request, each with the way to it."""
    if isinstance(value, str):
        yield way, value
    elif isinstance(value, bytes):
        with contextlib.suppress(UnicodeDecodeError):  # a zip may hold by chance what a variable begins with
            yield way, value.decode()
    elif isinstance(value, dict):
        for key, item in value.items():
            if key != "ResponseMetadata":
                yield from leaves(item, (*way, key))
    elif isinstance(value, (list, tuple)):
        for place, item in enumerate(value):
            yield from leaves(item, (*way, place))


def key_of(way: tuple[str | int, ...]) -> str:
    """What a text is called: the last name on the way to it."""
    return next(part for part in reversed(way) if isinstance(part, str))


def is_told(way: tuple[str | int, ...], value: str) -> bool:
    """Whether a text of an answer names a thing."""
    return len(value) >= SHORTEST and bool(NAMING.search(key_of(way)))


def within(value: str, text: str) -> bool:
    """Whether a value stands in a text, and not as a part of a longer word."""
    return value in text and bool(re.search(rf"(?<![0-9A-Za-z]){re.escape(value)}(?![0-9A-Za-z])", text))


def query(source: Called, way: tuple[str | int, ...], value: str) -> str:
    """JMESPath to a value; of a listing of many, whose order is nobody's promise, its place when sorted."""
    first = next((place for place, part in enumerate(way) if isinstance(part, int)), None)
    if source.changes or first is None:
        return dotted(way)
    items: Any = source.answer
    for part in way[:first]:
        items = items[part]
    if len(items) == 1:
        return dotted(way)
    before, behind = way[:first], way[first + 1 :]
    found = sorted({text for other, text in leaves(items) if other[1:] == behind})
    return f"sort({dotted(before)}[].{dotted(behind)})[{found.index(value)}]"


def dotted(way: tuple[str | int, ...]) -> str:
    """``RouteTables[0].RouteTableId``."""
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in way).lstrip(".")


def name_for(source: Called, row: str, way: tuple[str | int, ...], value: str, sent: dict[str, Any]) -> str:
    """``vpc_id`` of the row `vpc`; of what was only asked for, the name of the parameter that takes it."""
    from botocore import xform_name

    key = key_of(way)
    ending = xform_name(key).rpartition("_")[2]
    if source.changes and row:
        stem = re.sub(r"\W+", "_", row).strip("_")
        return stem if ending in ("name", "value") else f"{stem}_{ending}"
    if source.changes:
        return f"{xform_name(source.call.partition(':')[2]).partition('_')[2]}_{ending}"
    taking = next((key_of(there) for there, text in leaves(sent) if text == value), key)
    return "zone" if taking == "AvailabilityZone" else str(xform_name(taking))


# -- The chapter's own words ---------------------------------------------------------------------------


def call_outs(page: Path) -> tuple[dict[str, str], list[tuple[int, str]]]:
    """The call-outs of a chapter's `up`: their words by number, and the lines at which they stand."""
    words: dict[str, str] = {}
    places = []
    number = ""
    for place, line in enumerate(page.read_text(encoding="utf-8").splitlines(), 1):
        if found := CALL_OUT.match(line):
            number = found[1]
            words[number] = found[2]
            places.append((place, number))
        elif number and (more := GOES_ON.match(line)):
            words[number] += f" {more[1]}"
        else:
            number = ""
    return words, places
