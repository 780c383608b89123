"""What the page is told: the ledgers' files as they change, and what AWS shows of the lab that is opened.

    files      read again when they change; never their locks
    AWS        describe calls for the opened lab alone, by one `Watch` for all pages that look at it

A page that nobody sees has no stream, and then nothing is read and nobody is asked.
"""

from __future__ import annotations

import dataclasses
import hashlib
import logging
import os
import threading
import time
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

from awslabs import callbook, cost, journal, limits
from awslabs.cloud import Cloud
from awslabs.console.looks import Barred, look, machines_of_batch
from awslabs.errors import LabError
from awslabs.explain import boto3_errors, explain
from awslabs.journal import Row
from awslabs.kinds import KINDS

log = logging.getLogger(__name__)

LIST_S = 1.0  # seconds between two looks at all ledgers' files
TICK_S = 0.05  # the same for the opened lab's two files
COST_S = 60.0  # seconds between two sums of what it costs, while nothing changes; the page counts on
BEAT_S = 15.0  # seconds after which a stream says that it is there
CLOSED_ROWS = 300  # of a ledger, the newest, that are told
LOOK_S = 5.0  # seconds between two looks at AWS
STILL_S = 30.0  # the same while nothing changes
LONGEST_S = 120.0  # the same while AWS asks for fewer calls
OF_A_ROW = ("name", "call", "id", "state", "needs", "begun", "made", "ended", "usd_per_hour")

Event = dict[str, Any]


@dataclasses.dataclass
class File:
    """One ledger's file as it was read the last time."""

    path: Path
    stamp: tuple[int, int, int] = (0, 0, 0)
    header: dict[str, Any] = dataclasses.field(default_factory=dict)
    rows: list[Row] = dataclasses.field(default_factory=list)
    unread: str = ""
    line: Event = dataclasses.field(default_factory=dict)

    @property
    def key(self) -> str:
        """What the page calls it: no path, and nothing that leads to another file."""
        return hashlib.sha256(str(self.path).encode()).hexdigest()[:12]

    def read(self) -> bool:
        """Read it again if it has changed; whether it has."""
        try:
            found = os.stat(self.path)
            stamp = found.st_ino, found.st_size, found.st_mtime_ns
        except OSError:
            stamp = (0, 0, 0)
        if stamp == self.stamp:
            return False
        self.stamp, self.line = stamp, {}
        try:
            self.header, self.rows = journal.read(self.path)
            self.unread = ""
        except journal.Absent:
            self.header, self.rows = {}, []
        except LabError as error:
            self.unread = error.what
        return True


class Files:
    """All ledgers of this computer that are to be seen.

    Parameters
    ----------
    folders : callable
        Where they lie now; the practice cloud may start and end meanwhile.
    owner, region : str, optional
        Only this one's, and only there; all unless given.
    """

    def __init__(
        self, folders: Callable[[], list[Path]], owner: str | None = None, region: str | None = None
    ) -> None:
        self._folders, self._owner, self._region = folders, owner, region
        self._known: dict[Path, File] = {}
        self._mutex = threading.Lock()
        self._listed = -LIST_S

    def of(self, key: str) -> File | None:
        """The file that the page calls so."""
        with self._mutex:
            return next((file for file in self._known.values() if file.key == key), None)

    def labs(self) -> list[Event]:
        """A line for each ledger; files that have not changed are not read again."""
        with self._mutex:
            if time.monotonic() - self._listed >= LIST_S:
                self._list()
                self._listed = time.monotonic()
            return [self._line(file) for file in self._known.values() if self._is_shown(file)]

    def _list(self) -> None:
        there: list[Path] = []
        for folder in self._folders():
            try:
                there += journal.files(folder)
            except LabError as error:
                log.debug("%s", error.what)
        self._known = {path: self._known.get(path) or File(path) for path in there}
        for file in self._known.values():
            file.read()

    def _is_shown(self, file: File) -> bool:
        if not (file.unread or file.rows) or self._region not in (None, file.path.name.split(".")[3]):
            return False
        return self._owner in (None, file.header.get("owner", self._owner))

    def _line(self, file: File) -> Event:
        file.line = file.line or self._told_of(file)
        return file.line

    def _told_of(self, file: File) -> Event:
        lab, name, account, region, _ = file.path.name.split(".")
        still = [row for row in file.rows if row.open]
        states = {row.state for row in still}
        stage = "gone"
        if still:
            going = "deleting" in states
            stage = "going" if going else "coming" if "creating" in states else "standing"
        return {
            "key": file.key,
            "lab": lab,
            "name": name,
            "account": account,
            "region": region,
            "cloud": file.header.get("cloud", ""),
            "owner": file.header.get("owner", "?"),
            "open": len(still),
            "stage": "unread" if file.unread else stage,
            "why": file.unread,
            "changed": file.stamp[2] // 1_000_000,
            "usd_per_hour": cost.per_hour(file.header, file.rows) if file.header else 0.0,
        }


def row_event(row: Row) -> Event:
    """A row as the page gets it: identifiers and times, nothing of what was asked for."""
    kind = KINDS.get(row.call)
    return {
        "n": row.number,
        **{name: getattr(row, name) for name in OF_A_ROW},
        "telling": {key: value for key, value in row.telling.items() if key != "shown"},
        "work": bool(kind and kind.work),
        "join": bool(kind and kind.join),
    }


def costs(file: File) -> Event:
    """What a lab costs now and has cost, by thing, and when it ends."""
    header, rows = file.header, file.rows
    try:
        budget, due = limits.budget(header), limits.due(header, rows)
    except LabError:  # AWSLABS_BUDGET makes no sense: every command says so
        budget, due = None, header["limits"]["until"]
    lines = cost.lines(header, rows)
    shown = sorted(lines, key=lambda line: -(line.usd or 0.0))[:200]
    return {
        "type": "costs",
        "key": file.key,
        "per_hour": cost.per_hour(header, rows),
        "so_far": cost.total(header, rows),
        "at": int(time.time() * 1000),
        "budget": budget,
        "ends": due,
        "lines": [dataclasses.asdict(line) for line in shown],
        "more": len(lines) - len(shown),
    }


# -- AWS ------------------------------------------------------------------------------------------------


class Watch:
    """Looks at AWS for one lab, again and again, while a page shows it.

    Parameters
    ----------
    file : File
        Its ledger.
    cloud_of : callable
        The `Cloud` of a ledger's file; may raise a LabError.
    forget : callable
        Has credentials read anew.
    """

    def __init__(self, file: File, cloud_of: Callable[[Path], Cloud], forget: Callable[[], None]) -> None:
        self.file, self._cloud_of, self._forget = File(file.path), cloud_of, forget
        self.version, self.told = 0, Event()
        self._pages, self._mutex = 0, threading.Lock()
        self._wake = threading.Event()
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Watch:
        with self._mutex:
            self._pages += 1
            if self._pages == 1:
                self._wake = threading.Event()
                self._thread = threading.Thread(target=self._run, args=(self._wake,), daemon=True)
                self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        with self._mutex:
            self._pages -= 1
            if self._pages == 0:
                self._wake.set()

    def _run(self, over: threading.Event) -> None:
        pause_s, before = LOOK_S, None
        while not over.is_set():
            self.file.read()
            stamp = self.file.stamp
            told, throttled = self._look()
            if told["banner"]:
                self._forget()
            shown = told.get("shown"), told.get("others"), told.get("banner")
            moving = any(one["stage"] in ("coming", "going") for one in (shown[0] or {}).values())
            if throttled:
                pause_s = min(2 * pause_s, LONGEST_S)
            elif shown == before and not moving:
                pause_s = STILL_S
            else:
                pause_s = LOOK_S
            told["next_s"] = pause_s
            self.told, before = told, shown
            self.version += 1
            self._rest(over, stamp, pause_s, pause_s if throttled else LOOK_S)

    def _rest(self, over: threading.Event, stamp: Any, longest_s: float, shortest_s: float) -> None:
        """Wait, for a shorter time where the ledger's file changes meanwhile."""
        over.wait(shortest_s)
        until = time.monotonic() + longest_s - shortest_s
        while not over.is_set() and time.monotonic() < until:
            over.wait(0.5)
            if self.file.read() or self.file.stamp != stamp:
                return

    def _look(self) -> tuple[Event, bool]:
        """What AWS shows now, as the page gets it; and whether AWS asks for fewer calls."""
        told: Event = {"type": "looked", "key": self.file.key, "shown": {}, "others": [], "banner": None}
        if not any(row.open for row in self.file.rows):
            return told, False
        try:
            cloud = self._cloud_of(self.file.path)
            looked = look(cloud.client, self.file.header, self.file.rows)
            looked.others = self._machines(cloud)
        except Barred as barred:
            banner: LabError = explain(barred.error, barred.call, cloud.place)
        except LabError as error:
            banner = error
        except Exception:  # the next look may succeed, and a page that ends here tells nobody
            log.exception("AWS could not be looked at")
            banner = LabError("AWS could not be looked at.")
        else:
            told["shown"] = {number: dataclasses.asdict(one) for number, one in looked.shown.items()}
            told["others"] = looked.others
            return told, looked.throttled
        told["banner"] = {"what": banner.what, "why": banner.why, "fix": banner.fix}
        return told, False

    def _machines(self, cloud: Cloud) -> list[dict[str, str]]:
        try:
            return machines_of_batch(cloud.client, self.file.header, self.file.rows)
        except boto3_errors() as error:
            log.debug("Batch's machines are not shown: %s", error)
            return []


class Watches:
    """One `Watch` for each lab that some page shows."""

    def __init__(self, cloud_of: Callable[[Path], Cloud], forget: Callable[[], None] = lambda: None) -> None:
        self.cloud_of, self._forget = cloud_of, forget
        self._by_path: dict[Path, Watch] = {}
        self._mutex = threading.Lock()

    def of(self, file: File) -> Watch:
        with self._mutex:
            if file.path not in self._by_path:
                self._by_path[file.path] = Watch(file, self.cloud_of, self._forget)
            return self._by_path[file.path]


# -- The stream of one page --------------------------------------------------------------------------------


def events(
    files: Files, watches: Watches, key: str, rest: Callable[[float], bool]
) -> Generator[Event, None, None]:
    """What one page is told, until it goes away.

    Parameters
    ----------
    key : str
        The lab that it shows; empty for none.
    rest : callable
        Waits so many seconds; False once the page has gone.
    """
    listed = files.labs()
    if opened := files.of(key):
        with watches.of(opened) as watch:
            yield from _opened(files, File(opened.path), watch, rest)
        return
    yield {"type": "labs", "labs": listed}
    beat = time.monotonic()
    while rest(LIST_S):
        labs = files.labs()
        if labs != listed:
            listed = labs
            yield {"type": "labs", "labs": labs}
        elif time.monotonic() - beat > BEAT_S:
            beat = time.monotonic()
            yield {"type": "beat"}


def _opened(
    files: Files, file: File, watch: Watch, rest: Callable[[float], bool]
) -> Generator[Event, None, None]:
    """The opened lab: its rows and calls as they come, the rest from time to time."""
    listed: list[Event] | None = None
    told: dict[int, Event] | None = None
    life: str | None = None
    calls, version = callbook.Reader(file.path), 0
    next_list = next_cost = beat = 0.0
    while True:
        now = time.monotonic()
        changed = file.read()
        if told is None or changed:
            rows = _told(file)
            if told is None or file.header.get("prefix") != life:
                life = file.header.get("prefix")
                yield {"type": "lab", "key": file.key, "head": _head(file), "rows": list(rows.values())}
            else:
                news = [row for number, row in rows.items() if told.get(number) != row]
                gone = [number for number in told if number not in rows]
                if news or gone:
                    yield {"type": "rows", "key": file.key, "rows": news, "without": gone}
            told, next_cost = rows, 0.0
        fresh, lines = calls.news()
        if fresh or lines:
            yield {"type": "calls", "key": file.key, "fresh": fresh, "lines": lines}
        if watch.version != version:
            version = watch.version
            yield watch.told
        if now >= next_cost:
            next_cost = now + COST_S
            if file.header:
                yield costs(file)
        if now >= next_list:
            next_list = now + LIST_S
            if (labs := files.labs()) != listed:
                listed = labs
                yield {"type": "labs", "labs": labs}
        if now - beat > BEAT_S:
            beat = now
            yield {"type": "beat"}
        if not rest(TICK_S):
            return


def _head(file: File) -> Event:
    lab, name, account, region, _ = file.path.name.split(".")
    head = {"lab": lab, "name": name, "account": account, "region": region, "unread": file.unread}
    return head | {
        key: file.header[key] for key in ("cloud", "owner", "prefix", "begun") if key in file.header
    }


def _told(file: File) -> dict[int, Event]:
    """The rows that the page gets: all open ones, and the newest of the others."""
    closed = [row.number for row in file.rows if not row.open]
    left_out = set(closed[:-CLOSED_ROWS])
    return {row.number: row_event(row) for row in file.rows if row.number not in left_out}
