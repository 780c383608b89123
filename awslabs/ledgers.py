"""All ledgers on this computer: what stands in them, what it has cost, and the end of many at once.

What stands and what was spent is read from the files; AWS is asked by `read_meters` and `take_down` alone.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

from awslabs import cost, journal
from awslabs.cloud import Cloud
from awslabs.errors import LabError, LedgerError
from awslabs.journal import Row
from awslabs.kinds import KINDS
from awslabs.ledger import Ledger

log = logging.getLogger(__name__)

LEDGERS_AT_ONCE = 24
Item = TypeVar("Item")


# -- Their files --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Standing:
    """One ledger file in a list.

    Attributes
    ----------
    lab, name, cloud, account, region, owner : str
        Whose it is and where; `cloud` is ``aws`` or ``sandbox``.
    hours : float
        Age of what stands longest.
    resources : int
        Rows that are open; -1 for a file that does not read.
    usd_per_hour, usd_so_far : float or None
        Estimates in US dollars; None where a part of it is not known.
    path : Path
        The file.
    unread : LedgerError or None
        Why it does not read.
    """

    lab: str
    name: str
    cloud: str
    account: str
    region: str
    owner: str
    hours: float
    resources: int
    usd_per_hour: float | None
    usd_so_far: float | None
    path: Path
    unread: LedgerError | None = None


def standing(folders: Iterable[Path]) -> list[Standing]:
    """All ledgers in these folders in which something stands, or which cannot be read. No call is made."""
    return [entry for folder in folders for path in journal.files(folder) if (entry := _entry(path))]


def _entry(path: Path) -> Standing | None:
    lab, name, account, region, _ = path.name.split(".")
    whose = lab, name, "aws" if path.parent == journal.home() else "sandbox", account, region
    try:
        header, rows = journal.read(path)
    except journal.Absent:
        return None  # removed a moment ago
    except LedgerError as error:
        return Standing(*whose, "?", 0.0, -1, None, None, path, error)
    still = [row for row in rows if row.open]
    if not still:
        return None
    return Standing(
        *whose,
        header["owner"],
        max(journal.seconds_since(row.begun) for row in still) / 3600,
        len(still),
        journal.total(row.usd_per_hour for row in still),
        cost.total(header, rows),
        path,
    )


def folders(sandbox: bool = False) -> list[Path]:
    """Where ledgers lie: AWS's, and those of the endpoint in use or of the running practice cloud."""
    from awslabs import sandbox as practice

    try:
        run = practice.living()
    except LabError as problem:
        if sandbox:
            raise
        run = None
        log.warning("What stands in the practice cloud is not shown: %s", problem.what)
    endpoint = urlsplit(os.environ.get("AWS_ENDPOINT_URL", ""))
    there = [journal.home() / f"{endpoint.hostname}-{endpoint.port}"] if endpoint.hostname else []
    there += [run.directory] if run and run.directory not in there else []
    return there if sandbox else [journal.home(), *there]


def rows_in(paths: Iterable[Path]) -> tuple[dict[Path, list[Row]], dict[Path, LabError]]:
    """The rows of each file that reads, and why the others do not."""
    rows, failures = {}, dict[Path, LabError]()
    for path in paths:
        try:
            rows[path] = journal.read(path)[1]
        except LedgerError as error:
            failures[path] = error
    return rows, failures


def files_of(cloud: Cloud) -> list[Path]:
    """The ledger files of this account and Region on this computer."""
    here = [cloud.identity["account"], cloud.region]
    return [path for path in journal.files(cloud.folder) if path.name.split(".")[2:4] == here]


def ledgers_of(cloud: Cloud) -> Iterator[Ledger]:
    """Every readable ledger of this account and Region on this computer."""
    for path in files_of(cloud):
        lab, name, *_ = path.name.split(".")
        try:
            yield Ledger(cloud, lab, name)
        except LedgerError:
            continue  # damaged: `list` shows it, `recover` mends it


def unread(cloud: Cloud) -> dict[Path, LabError]:
    """Ledgers of this account and Region that do not read, each with the reason."""
    _, failures = rows_in(files_of(cloud))
    return {path: error for path, error in failures.items() if not isinstance(error, journal.Absent)}


def damaged_files(cloud: Cloud) -> list[Path]:
    """Those of them that `rebuild` can mend: a file of a newer version is not damaged."""
    return [path for path, error in unread(cloud).items() if isinstance(error, journal.Damaged)]


# -- Cost -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Spent:
    """What one thing has cost, and whose it is."""

    lab: str
    name: str
    cloud: str
    region: str
    owner: str
    what: str
    id: str
    hours: float
    usd: float | None
    at_most: bool


def spent(paths: Iterable[Path]) -> list[Spent]:
    """What each thing of these ledgers has cost until now, also what is gone. No call is made."""
    found = []
    for path in paths:
        try:
            header, rows = journal.read(path)
        except LedgerError as error:
            log.warning("What %s holds is not counted: %s", path, error.what)
            continue
        whose = {key: header[key] for key in ("lab", "name", "cloud", "region", "owner")}
        if header["usd_before"] != 0:
            found.append(Spent(**whose, **vars(cost.Line("earlier", "", 0.0, header["usd_before"]))))
        found += [Spent(**whose, **vars(line)) for line in cost.lines(header, rows)]
    return found


def summed(found: list[Spent], by: str) -> list[dict[str, Any]]:
    """One line for each lab or owner: what AWS bills, and what it would, apart."""
    groups: dict[tuple[str, str], list[Spent]] = {}
    for one in found:
        groups.setdefault((getattr(one, by), one.cloud), []).append(one)
    return [
        {by: whose, "cloud": on, "usd": journal.total(one.usd for one in group)}
        for (whose, on), group in sorted(groups.items())
    ]


def read_meters(paths: Iterable[Path], cloud_of: Callable[[str, bool], Cloud]) -> list[str]:
    """Ask AWS about the ledgers in which something stands; why some could not be asked."""
    unasked = []
    for path in paths:
        lab, name, account, region, _ = path.name.split(".")
        try:
            if not any(row.open for row in journal.read(path)[1]):
                continue
            cloud = cloud_of(region, path.parent != journal.home())
            if (cloud.folder, cloud.identity["account"]) != (path.parent, account):
                unasked.append(
                    f"{lab} ({name}) in {region}: other credentials than those of account {account}"
                )
                continue
            Ledger(cloud, lab, name).read_meter()
        except LabError as error:
            unasked.append(f"{lab} ({name}) in {region}: {error.what}")
    return unasked


# -- Down -------------------------------------------------------------------------------------------------


def take_down(
    wanted: Iterable[Item], opened: Callable[[Item], Ledger], closed: Callable[[Ledger], None] | None = None
) -> list[LabError | None]:
    """Take down many ledgers at once; of each, in order, what went wrong, or None.

    1  of each all that waits for nobody's turn    `LEDGERS_AT_ONCE`
    2  what AWS deletes at a slow rate             of an account and Region one after the other, beside 1
    3  what is left of it                          as 1

    So no server runs on while somebody's REST API waits for the half minute in which AWS takes the next one.

    Parameters
    ----------
    opened : callable
        The ledger of each that is wanted; it may raise a `LabError`.
    closed : callable, optional
        What is done with a ledger of which all is gone.
    """
    pool, mutex = ThreadPoolExecutor(LEDGERS_AT_ONCE), threading.Lock()
    lines: dict[tuple[str, str], ThreadPoolExecutor] = {}

    def begin(one: Item) -> Future[Any] | None:
        ledger = opened(one)
        if not takes_turns(ledger):
            end(ledger)
            return None
        ledger.end(lambda rows: before_turns(ledger, rows))
        place = ledger.cloud.identity["account"], ledger.cloud.region
        with mutex:
            line = lines.setdefault(place, ThreadPoolExecutor(1))
        return line.submit(take_turn, ledger)

    def take_turn(ledger: Ledger) -> Future[None]:
        ledger.end(lambda rows: in_turn(ledger, rows))
        return pool.submit(end, ledger)

    def end(ledger: Ledger) -> None:
        ledger.down()
        if closed:
            closed(ledger)

    def error_of(step: Future[Any] | None) -> LabError | None:
        try:
            while step is not None:
                step = step.result()
        except LabError as error:
            return error
        return None

    try:
        return [error_of(step) for step in [pool.submit(begin, one) for one in wanted]]
    finally:  # an error and Ctrl-C wait for nothing
        with mutex:
            every = [pool, *lines.values()]
        for workers in every:
            workers.shutdown(wait=False, cancel_futures=True)


def takes_turns(ledger: Ledger) -> bool:
    """Whether something stands of which AWS deletes few in a minute, whoever asks."""
    return any(KINDS[row.call].rate for row in ledger.journal.open_rows())


def before_turns(ledger: Ledger, rows: list[Row]) -> list[Row]:
    """All but that, and what can go only after it."""
    before, late = ledger.order(rows), {row.number for row in rows if KINDS[row.call].rate}
    while more := {number for number in before if before[number] & late} - late:
        late |= more
    return [row for row in rows if row.number not in late]


def in_turn(ledger: Ledger, rows: list[Row]) -> list[Row]:
    """That alone, where nothing must go before it any more."""
    before = ledger.order(rows)
    return [row for row in rows if KINDS[row.call].rate and not before[row.number]]


def down_all(
    in_region: Callable[[str], Cloud], entries: list[Standing]
) -> list[tuple[Standing, LabError | None]]:
    """Take down many ledgers of this computer; each with what went wrong, or None.

    `in_region` gives the cloud of a Region, with the same credentials in all.
    """

    def opened(entry: Standing) -> Ledger:
        cloud = in_region(entry.region)
        if cloud.identity["account"] != entry.account:
            raise LedgerError(
                f"{entry.lab} ({entry.name}) is of account {entry.account}.",
                f"These credentials are of account {cloud.identity['account']}; they may not touch it.",
                "use the credentials that built it: --profile NAME",
            )
        ledger = Ledger(cloud, entry.lab, entry.name)
        ledger.read_meter()
        return ledger

    return list(zip(entries, take_down(entries, opened, Ledger.read_meter), strict=True))
