"""Rows for what stands on AWS without one: a ledger was lost, damaged, or lies on another computer.

lost(cloud, ours)          what stands in no ledger here, by prefix, owner and home
write_back(cloud, one)     a ledger for it, which `down` deletes as any other
rebuild(cloud, path, ..)   a damaged file, from those of its rows that are whole and from what AWS shows
"""

from __future__ import annotations

import contextlib
import itertools
import os
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from awslabs import journal
from awslabs.cloud import Cloud
from awslabs.inventory import Ours, Standing, prefixes_elsewhere, without_row
from awslabs.journal import Row
from awslabs.kinds import KINDS
from awslabs.ledger import Ledger, header_of, path_of
from awslabs.ledgers import ledgers_of


@dataclass
class Lost(Standing):
    """What stands on AWS under one prefix without a row on this computer.

    `owner` and `home` are its tags'; `placed`: whether it is known to belong to this Region; `known`: what
    stands under the same prefix and has its row.
    """

    prefix: str
    owner: str
    home: str
    things: list[Ours] = field(default_factory=list)
    known: list[Ours] = field(default_factory=list)
    placed: bool = True

    @property
    def tokens(self) -> set[str]:
        return {one.token for one in self.things}


def lost(cloud: Cloud, ours: list[Ours]) -> list[Lost]:
    """What of `ours` stands in none of this computer's ledgers, by prefix, owner and home."""
    strays = without_row(cloud, ours)
    by_marks: dict[tuple[str, str, str], Lost] = {}
    for one in strays:
        marks = one.ledger, one.owner, one.home
        by_marks.setdefault(marks, Lost(*marks)).things.append(one)
    elsewhere = prefixes_elsewhere(cloud, ours)
    for lab in by_marks.values():
        lab.placed = lab.prefix not in elsewhere
        lab.known = [one for one in ours if one.ledger == lab.prefix and one not in strays]
    return [by_marks[marks] for marks in sorted(by_marks)]


def rows_of(things: list[Ours], beside: list[Row], known: Iterable[Ours] = ()) -> list[Row]:
    """All rows of a ledger: those `beside`, and one for each thing that was found and none of them knows.

    Such a thing gets the number in its tag where that is free among theirs, else one after them all, in the
    order in which it was made. They go down one by one in falling number, since what hung on what is not
    known any more; but nothing waits for what AWS deletes at a slow rate. `known`: what AWS shows of the
    rows `beside`; the rest of a token is a copy of its mark.
    """
    by_token, taken = {row.token: row for row in beside if row.open}, {row.number for row in beside}
    shown = {one.found.id for one in (*things, *known)}
    fresh = []
    for thing in sorted(things, key=lambda thing: thing.row):
        row = by_token.get(thing.token)
        if row and row.call == thing.call and (row.id == thing.found.id or row.id not in shown):
            row.ids = thing.found.ids  # AWS knows better than a damaged file
            continue
        number = thing.row[0] if thing.row[0] not in taken else max(taken) + 1
        taken.add(number)
        fresh.append(
            Row(
                number=number,
                name=thing.row[1],
                call=thing.call,
                token=thing.token,
                state="standing",
                ids=thing.found.ids,
                begun=thing.begun,
                made=thing.begun,
                usd_per_hour=thing.usd_per_hour,
            )
        )
    for row in fresh:  # AWS lets go what a REST API calls, and nothing is to wait until one may be deleted
        lower = [] if KINDS[row.call].rate else [number for number in taken if number < row.number]
        row.needs = sorted(lower)
    for row in beside:  # of one whose request is known, `needs` are too
        if row.open and not row.digests and not KINDS[row.call].rate:
            row.needs = sorted({*row.needs, *(one.number for one in fresh if one.number < row.number)})
    return journal.in_order([*beside, *fresh])


def write_back(cloud: Cloud, one: Lost) -> Ledger:
    """Give what was lost its rows back, so that `down` can delete it."""
    ledger = next((ledger for ledger in ledgers_of(cloud) if ledger.prefix == one.prefix), None)
    if ledger is None:
        numbered = (f"recovered-{one.prefix[-6:]}-{number}" for number in itertools.count(2))
        names = itertools.chain(["default", f"recovered-{one.prefix[-6:]}"], numbered)
        free = next(name for name in names if not os.path.lexists(path_of(cloud, one.lab, name)))
        ledger = Ledger(cloud, one.lab, free, one.owner.strip("?"))
    with ledger.locked("recover"):
        ledger.journal.rows = rows_of(one.things, ledger.journal.rows, one.known)
        ledger.journal.header["prefix"] = one.prefix
        ledger.journal.save()
    return ledger


def rebuild(cloud: Cloud, path: Path, candidates: list[Lost]) -> tuple[Path, Lost | None]:
    """Replace a damaged file by those of its rows that are whole, and by what AWS shows beside them.

    On AWS its own is what stands under a prefix that its text shows, or carries a token of its rows; if no
    prefix can be read any more, what is lost of its lab, if that is one ledger. A join is known by its row
    alone, since AWS does not tell whose it is. A row that another ledger here has is that one's; and of a
    file that says it is another one's, rows are taken only if AWS shows one of them here.
    """
    lab, name, _, _, _ = path.name.split(".")
    lock = journal.take_lock(path, "recover", time.monotonic())
    try:
        if path.is_file() and not path.is_symlink():
            with contextlib.suppress(OSError):  # another user's: its rows are then read off AWS's tags
                path.chmod(0o600)
        left = journal.remains(path)
        others = [ledger for ledger in ledgers_of(cloud) if ledger.journal.path != path]  # it may read now
        tokens = {row.token for ledger in others for row in ledger.journal.open_rows()}
        rows = [row for row in left.rows if row.token not in tokens]
        taken = {ledger.prefix for ledger in others}
        of_lab = [one for one in candidates if one.lab == lab and one.prefix not in taken]
        marked = {row.token for row in rows}
        found = next((one for one in of_lab if one.prefix in left.text or one.tokens & marked), None)
        if found is None and "prefix" not in left.header and len(of_lab) == 1:
            found = of_lab[0]
        told = {} if journal.misplaced(path, left.header) else left.header
        if found is None and told != left.header:
            rows = []
        prefix = found.prefix if found else told.get("prefix", "")
        header = {
            **header_of(cloud, lab, name, told.get("owner") or (found.owner if found else None)),
            "prefix": prefix if prefix and prefix not in taken else journal.fresh_prefix(lab),
            "begun": told.get("begun", journal.now()),
            "usd_before": told.get("usd_before", 0.0),
            **{name: told.get(name, blank) for name, blank in journal.fresh_counts().items()},
        }
        rows = rows_of(found.things if found else [], rows)
        return journal.replace_damaged(path, header, rows), found
    finally:
        os.close(lock)
