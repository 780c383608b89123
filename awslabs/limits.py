"""What a lab may cost, and how long it may stand: its budget and its time, and who keeps them.

    budget(header)              US dollars for this life of the lab: of `up --budget`, or of AWSLABS_BUDGET
    due(header, rows)           when what costs must end: the earlier of its time and of the budget's
    require(...)                stop before something for which what is left of the budget does not pay
    Keeper(ledger)              ends what costs within a minute after that moment, while this process lives

Both stand in the ledger's header, under `limits`, until `down` has ended this life of the lab. The time
counts from the last `up`, or from the last task or job that was started; that of a server from its start, for
its own operating system keeps it. A budget counts what `cost` does, what is used "at most" included; where
that is not known, no budget can be kept, and it says so.
"""

from __future__ import annotations

import logging
import math
import os
import threading
import weakref
from collections.abc import Iterable
from typing import Any, Protocol

from awslabs import cost, journal, prices
from awslabs.errors import LabError, LedgerError, OverBudget
from awslabs.journal import Journal, Row

log = logging.getLogger("awslabs.limits")

LOOK_S = 30.0  # seconds between two looks at the meter, at most
AGAIN_S = 5.0  # seconds until the next attempt, while another terminal holds the ledger
NEVER_S = 10 * 365 * 86_400.0  # a budget that lasts longer than that has no end
MOST_USD = 1e6
UNSEEN = ("batch:SubmitJob", "apigateway:CreateRestApi")  # what may cost more than the rows of the file say
PUBLIC = ("apigateway:CreateRestApi",)  # what anybody may use who knows its address, and each use costs
MINUTES = (1, 7 * 24 * 60)  # that a lab's time may be


def amount(text: str) -> float:
    """``5`` or ``0.50``, as US dollars.

    Raises
    ------
    ValueError
        Saying why it cannot be a budget.
    """
    try:
        usd = float(text)
    except ValueError:
        raise ValueError(f"{text!r} is no amount; write US dollars, such as 5 or 0.50.") from None
    if not math.isfinite(usd) or not 0 < usd <= MOST_USD:
        raise ValueError(f"{text!r} is no budget: it must be more than 0 and at most {MOST_USD:,.0f} USD.")
    return usd


def written(usd: float) -> str:
    """A budget as its user wrote it: ``5``, ``0.5``, ``0.00001``."""
    return f"{usd:.8f}".rstrip("0").rstrip(".")


def from_environment() -> float | None:
    """The budget of ``AWSLABS_BUDGET``; None where that is not set.

    Raises
    ------
    LabError
        When it is no budget.
    """
    if not (told := os.environ.get("AWSLABS_BUDGET", "").strip()):
        return None
    try:
        return amount(told)
    except ValueError as error:
        raise LabError(
            f"AWSLABS_BUDGET is {told!r}, which is no budget.",
            f"{error} Nothing was started that it was to limit.",
            "export AWSLABS_BUDGET=5    # or: unset AWSLABS_BUDGET",
        ) from error


def checked_budget(usd: float) -> float:
    """A budget as a number that makes sense.

    Raises
    ------
    LabError
        For any other.
    """
    try:
        return amount(str(usd))
    except ValueError as error:
        raise LabError("The budget was not set.", str(error), "budget=5, or --budget 5") from error


def require_minutes(ttl_minutes: int) -> None:
    """Go on with a time that lies ahead, and not too far.

    Raises
    ------
    LabError
        For any other.
    """
    least, most = MINUTES
    if type(ttl_minutes) is not int or not least <= ttl_minutes <= most:
        raise LabError(
            f"The lab's time was not set: {ttl_minutes!r} minutes are none that lie ahead.",
            f"It counts from now, and is {least} minute to {most // 60} hours long.",
            "ttl_minutes=180, or --ttl 3h",
        )


def until(ttl_minutes: int | None, rows: Iterable[Row]) -> str:
    """When the time of a lab is over that it has from now on; empty where it has none.

    Of a lab with a server it is when that one's own timer ends it.
    """
    if ttl_minutes is None:
        return ""
    timers = [
        journal.after(row.made, 60 * int(row.telling["ttl_minutes"]))
        for row in rows
        if row.open and row.made and row.telling.get("ttl_minutes", "").isdigit()
    ]
    return min(timers, default=journal.after(journal.now(), 60 * ttl_minutes))


def budget(header: dict[str, Any]) -> float | None:
    """What this life of the lab may cost, in US dollars; None where nobody has said."""
    kept = header["limits"]["budget_usd"]
    return from_environment() if kept is None else float(kept)


def spent(header: dict[str, Any], rows: list[Row]) -> float | None:
    """What this life of the lab has cost; None: not known. Before it begins, nothing."""
    if not any(row.open for row in rows):
        return 0.0
    return journal.total(one.usd for one in cost.lines(header, rows))


def are_set(header: dict[str, Any]) -> bool:
    """Whether a lab has a time or a budget."""
    return bool(header["limits"]["until"]) or budget(header) is not None


def due(header: dict[str, Any], rows: list[Row], more: float = 0.0) -> str:
    """When what costs must end: ``min(ttl, now + budget left / USD per hour)``; empty for never.

    A budget that is spent is due now. One of which nobody knows what is left of it sets no moment. The price
    is that of all that runs, of what is being started, and of what `more` per hour is about to be.
    """
    moments = [header["limits"]["until"]] if header["limits"]["until"] else []
    limit, gone = budget(header), spent(header, rows)
    if limit is not None and gone is not None:
        per_hour = journal.total([cost.per_hour(header, rows), *_coming(header, rows), more])
        if gone >= limit:
            moments.append(journal.now())
        elif per_hour and (left_s := (limit - gone) / per_hour * 3600) < NEVER_S:
            moments.append(journal.after(journal.now(), left_s))
    return min(moments, default="")


def require(header: dict[str, Any], rows: list[Row], what: str, usd: float | None, fix: str) -> None:
    """Go on if what is left of the budget pays for something that costs so much at the least.

    Parameters
    ----------
    what : str
        What would be started, as the error names it: "the server".
    usd : float or None
        What it costs at the least, in US dollars; None: not known.
    fix : str
        The command that raises the budget, with ``{}`` in the place of the amount.

    Raises
    ------
    OverBudget
        When it does not, or when nobody knows.
    """
    limit = budget(header)
    if limit is None or usd == 0:
        return
    gone = spent(header, rows)
    if usd is None or gone is None:
        unknown = f"What {what} costs" if usd is None else "What this lab has cost"
        raise OverBudget(
            f"Whether the budget of {written(limit)} USD pays for {what} is not known.",
            f"{unknown} is not in the price list, so no budget can hold it; nothing was started.",
            "run the same command again without a budget: `down` ends that of `up`, "
            "`unset AWSLABS_BUDGET` that of the shell",
        )
    per_hour = sum(row.usd_per_hour or 0.0 for row in rows if row.state == "creating")
    under_way = per_hour * cost.LEAST_S / 3600
    if gone + under_way + usd > limit:
        more = math.ceil((gone + under_way + max(usd, 0.01)) * 200) / 100  # as much again
        raise OverBudget(
            f"The budget of {written(limit)} USD does not pay for {what}.",
            f"{gone + under_way:.4f} USD are spent, and it costs {usd:.4f} at the least. It was not started.",
            fix.format(written(more)),
        )


def told(header: dict[str, Any], rows: list[Row]) -> str:
    """When and why what costs will end, in a sentence; empty where it will not.

    Without a switch on AWS (a role refused), a budget, and the time of anything but a server, whose operating
    system keeps it, are this computer's to keep: that is said, since nobody may rely on more.
    """
    limit, until = budget(header), header["limits"]["until"]
    gone = spent(header, rows)
    left = (
        ""
        if limit is None
        else f"at {written(limit)} USD ({'?' if gone is None else f'{gone:.4f}'} are spent)"
    )
    ends = [f"at {until[:16].replace('T', ' ')} UTC"] * bool(until) + [left] * bool(left)
    standing = [row for row in rows if row.state == "standing"]
    by_itself = any(row.call == "scheduler:CreateSchedule" for row in standing) or (
        limit is None and any("ttl_minutes" in row.telling for row in standing)
    )
    alone = "" if by_itself else ", but only if an awslabs command or notebook runs then"
    return f"What costs ends {', or '.join(ends)}{alone}." if ends else ""


class Kept(Protocol):
    """A ledger, as its keeper sees it."""

    journal: Journal

    def read_meter(self) -> None:
        """Note what AWS tells of the cost."""

    def end_costs(self) -> list[Row]:
        """End what costs; what that was."""


class Keeper:
    """Looks at one lab's limits again and again, and ends what costs when it is time.

    Parameters
    ----------
    ledger : Kept
        It is not kept alive by this: with it the looking ends.

    Notes
    -----
    Where another terminal holds the ledger, that one's keeper does it, or this one as soon as it can.
    """

    def __init__(self, ledger: Kept) -> None:
        self._ledger = weakref.ref(ledger)
        self._over = threading.Event()
        self._told = ""
        self._thread = threading.Thread(target=self._run, name="limits", daemon=True)

    def start(self) -> Keeper:
        self._thread.start()
        return self

    def __enter__(self) -> Keeper:
        return self.start()

    def __exit__(self, *_: object) -> None:
        """No further look; one that is ending something is waited for."""
        self._over.set()
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        while not self._over.is_set() and (ledger := self._ledger()) is not None:
            try:
                pause_s = self.look(ledger)
            except Exception as error:  # nobody else would see it: what it was to end may cost on
                self._tell(f"The lab's limits could not be kept: {error}")
                pause_s = LOOK_S
            del ledger
            self._over.wait(pause_s)

    def look(self, ledger: Kept) -> float:
        """Look once, and end what costs if it is time; seconds until the next look.

        AWS calls: none, as long as the ledger's file says that there is time; but with a budget, what Batch
        starts and strangers use is asked for. Before anything is ended AWS is asked what has ended by itself.
        """
        try:
            header, rows = journal.read(ledger.journal.path)
        except journal.Absent:
            return LOOK_S
        if not are_set(header):
            return LOOK_S
        if any(row.open and row.call in UNSEEN for row in rows) and budget(header) is not None:
            header, rows = self._read(ledger)
        if (left_s := _seconds_to(due(header, rows))) > 0:
            return max(1.0, min(LOOK_S, left_s))
        header, rows = self._read(ledger)
        if (left_s := _seconds_to(due(header, rows))) > 0:
            return max(1.0, min(LOOK_S, left_s))
        try:
            ended = ledger.end_costs()
        except LedgerError as error:
            log.debug("what costs was not ended yet: %s", error)
            return AGAIN_S
        except LabError as error:
            self._tell(f"{why(header, rows)} Not all that costs could be ended. {error}")
            return LOOK_S
        if ended:
            names = ", ".join(sorted({row.name for row in ended}))
            self._tell(f"{why(header, rows)} What costs was ended: {names}.")
        return LOOK_S

    def _read(self, ledger: Kept) -> tuple[dict[str, Any], list[Row]]:
        """What the file says once AWS was asked."""
        ledger.read_meter()
        return journal.read(ledger.journal.path)

    def _tell(self, text: str) -> None:
        """Say it once."""
        if text != self._told:
            self._told = text
            log.warning("%s", text)


def why(header: dict[str, Any], rows: list[Row]) -> str:
    """Why what costs must end now."""
    limit, gone = budget(header), spent(header, rows)
    if limit is not None and gone is not None and gone >= limit:
        return f"The budget of {written(limit)} USD is spent ({gone:.4f} USD)."
    return f"The lab's time was over at {header['limits']['until'][:16].replace('T', ' ')} UTC."


def _coming(header: dict[str, Any], rows: list[Row]) -> list[float | None]:
    """Hourly prices of what was asked for and does not run yet: what is being made, and machines for jobs.

    Batch starts a machine for each job at the most, and as many as its environment may have.
    """
    made = [row.usd_per_hour for row in rows if row.state == "creating"]
    jobs = sum(int(row.telling.get("jobs", 0)) for row in rows if row.open)
    running = sum(spans[-1][1] != 0 for key, spans in header["meter"]["rates"].items() if not key.isdigit())
    machines: list[float | None] = []
    for row in rows:
        if row.open and "machine" in row.telling:
            kind, _, spot = row.telling["machine"].partition(" on ")
            price = prices.server_hour(kind, header["region"], cost.BATCH_ROOT_GIB, spot=bool(spot))
            waiting = max(0, min(jobs, int(row.telling["machines"])) - running)
            machines.append(price and waiting * price if waiting else 0.0)
    return made + machines


def _seconds_to(moment: str) -> float:
    """Seconds from now to a moment; endless for none."""
    return journal.seconds_since(journal.now(), moment) if moment else math.inf


def that_costs(rows: Iterable[Row], works: Iterable[str], sure_s: float) -> list[Row]:
    """Open rows of what costs by the hour, of work, and of what strangers can use; newest first.

    What is being made just now is left out for `sure_s` seconds: the next look finds it made.
    """
    calls = {*works, *PUBLIC}
    return [
        row
        for row in reversed(list(rows))
        if row.open
        and (row.call in calls or row.usd_per_hour != 0)
        and (row.made or journal.seconds_since(row.begun) > sure_s)
    ]
