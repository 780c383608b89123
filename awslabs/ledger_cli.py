"""What a teacher does after class: see what stands, take it all down, and find what no ledger knows.

python -m awslabs.ledger list                 every ledger on this computer, and what it costs
python -m awslabs.ledger show ec2             its rows
python -m awslabs.ledger graph ec2            what hangs on what; --mermaid, --json
python -m awslabs.ledger cost                 what was spent until now, also for what is gone
python -m awslabs.ledger down ec2 | --all     delete; --dry-run only says what
python -m awslabs.ledger down --force-row ec2 vpc     delete what stands under a row, though it lost our mark
python -m awslabs.ledger verify               ask AWS whether this is all true
python -m awslabs.ledger recover              write rows for what stands without one

`certificate` adds one more: what stood, and the proof that nothing of it is left.
"""

from __future__ import annotations

import contextlib
import csv
import dataclasses
import io
import itertools
import logging
import os
import shlex
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from awslabs import cost, journal, prices
from awslabs.errors import AwsError, LabError, LedgerError, StillStanding
from awslabs.explain import Place, explain
from awslabs.journal import Row
from awslabs.kinds import KINDS, Found, Kind, Overview
from awslabs.ledger import Cloud, Ledger, header_of, is_foreign, path_of
from awslabs.progress import each

log = logging.getLogger(__name__)

YOUNG_S = 3600.0  # seconds in which a ledger may still be at work on another computer
LEDGERS_AT_ONCE = 16
STRAY = "stands, in no ledger"
UNSEEN = "not looked at"
NOT_OURS = "stands, not ours any more"
WITH_RESULTS = ("gpu", "ecs_qa", "batch_sweep")  # labs whose own `down` saves what came of their work


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
    cloud = "aws" if path.parent == journal.home() else "sandbox"
    try:
        header, rows = journal.read(path)
    except journal.Absent:
        return None  # removed a moment ago
    except LedgerError as error:
        return Standing(lab, name, cloud, account, region, "?", 0.0, -1, None, None, path, error)
    still = [row for row in rows if row.open]
    if not still:
        return None
    return Standing(
        lab,
        name,
        cloud,
        account,
        region,
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


def down_all(clouds: Clouds, entries: list[Standing]) -> list[tuple[Standing, LabError | None]]:
    """Take down many ledgers at once; each with what went wrong, or None."""

    def one(entry: Standing) -> LabError | None:
        try:
            cloud = clouds.of(entry.region)
            if cloud.identity["account"] != entry.account:
                return LedgerError(
                    f"{entry.lab} ({entry.name}) is of account {entry.account}.",
                    f"These credentials are of account {cloud.identity['account']}; they may not touch it.",
                    "use the credentials that built it: --profile NAME",
                )
            ledger = Ledger(cloud, entry.lab, entry.name)
            ledger.read_meter()
            ledger.down()
            ledger.read_meter()
        except LabError as error:
            return error
        return None

    return list(zip(entries, each(one, entries, LEDGERS_AT_ONCE), strict=True))


class Clouds:
    """The same credentials in several Regions: one `Cloud` each, made when it is needed."""

    def __init__(self, first: Cloud, make: Any) -> None:
        self.by_region, self.make = {first.region: first}, make

    def of(self, region: str) -> Cloud:
        if region not in self.by_region:
            self.by_region[region] = self.make(region)
        return self.by_region[region]


# -- Verify -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Ours:
    """One thing on AWS with any ledger's mark."""

    call: str
    found: Found
    usd_per_hour: float | None

    @property
    def token(self) -> str:
        return self.found.tags.get("awslabs:token", "")

    @property
    def ledger(self) -> str:
        return self.found.tags.get("awslabs:ledger", "")

    @property
    def is_marked(self) -> bool:
        """Whether a ledger can have written these tags: others may have such tags, too."""
        forms = {"awslabs:token": journal.TOKEN, "awslabs:row": journal.ROW}
        return bool(journal.lab_of(self.ledger)) and all(
            form.fullmatch(self.found.tags.get(key, "")) for key, form in forms.items()
        )

    @property
    def owner(self) -> str:
        return journal.fit_owner(self.found.tags.get("awslabs:owner", "")) or "?"

    @property
    def home(self) -> str:
        """The id of the folder from which it was built; empty where no tag tells."""
        home = self.found.tags.get("awslabs:home", "")
        return home if journal.HOME_ID.fullmatch(home) else ""

    @property
    def row(self) -> tuple[int, str]:
        """Number and name, from the tag ``07 instance``."""
        number, _, name = self.found.tags["awslabs:row"].partition(" ")
        return int(number), name

    @property
    def begun(self) -> str:
        """When its row was begun: the token begins with that second."""
        try:
            moment = datetime.strptime(self.token[:14], "%Y%m%d%H%M%S").replace(tzinfo=timezone.utc)
        except ValueError:
            moment = datetime.now(timezone.utc)
        return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


@dataclass(frozen=True)
class Survey:
    """What AWS shows of all ledgers' things in one account and Region.

    Attributes
    ----------
    ours : list of Ours
        All that carries a ledger's mark. Of what AWS lists in every Region alike (roles), what its path puts
        into another one is left out.
    refused : dict of AwsError
        Why a kind could not be looked at, by its create call: AWS refused the listing, or did not answer. Of
        such a kind nothing is proven, not even that nothing stands.
    overview : Overview
        What was read of many kinds at once.
    listed : dict of list of Found
        What each kind's listing has shown, by its create call, with a mark or without.
    """

    ours: list[Ours]
    refused: dict[str, AwsError]
    overview: Overview
    listed: dict[str, list[Found]]


def survey(cloud: Cloud, calls: Iterable[str] | None = None) -> Survey:
    """Look at every kind, or only at those of these create calls; what cannot be looked at stops no other.

    AWS calls: one list per kind, and two for the tags of all. Single calls for what those do not tell: the
    tasks of each cluster, the jobs of each queue, and what somebody may not list. The clients go on while AWS
    asks for fewer calls (up to 10 attempts each).
    """
    refused: dict[str, AwsError] = {}
    overview = Overview(cloud.client)

    def look(kind: Kind) -> list[Found]:
        return attempt(cloud, kind, lambda client: kind.listed(client, overview), refused) or []

    kinds = {call: KINDS[call] for call in (KINDS if calls is None else calls)}
    listed = dict(zip(kinds, each(look, kinds.values(), 8), strict=True))
    ours = [
        Ours(call, found, KINDS[call].usd_per_hour(found.request, cloud.region))
        for call, many in listed.items()
        for found in many
    ]
    here = [one for one in ours if one.is_marked and one.found.region in (None, "", cloud.region)]
    return Survey(here, refused, overview, listed)


def attempt(
    cloud: Cloud, kind: Kind, ask: Callable[[Any], list[Found] | None], refused: dict[str, AwsError]
) -> list[Found] | None:
    """What AWS answers; None, with the reason in `refused`, where it does not."""
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        return ask(cloud.client(kind.service))
    except (BotoCoreError, ClientError) as error:
        call = f"{kind.service}:{getattr(error, 'operation_name', 'a listing')}"
        refused[kind.call] = explain(error, call, cloud.place)
        return None


def everything_ours(cloud: Cloud) -> list[Ours]:
    """All on AWS, in this account and Region, that carries a ledger's mark: nothing is left unlooked at.

    Raises
    ------
    AwsError
        When a kind could not be looked at.
    """
    seen = survey(cloud)
    for error in seen.refused.values():
        raise error
    return seen.ours


def left_of(ledger: Ledger) -> list[Ours]:
    """What AWS still shows of one ledger, of the kinds that its rows are of, those that are gone too.

    Raises
    ------
    StillStanding
        When one of these kinds could not be looked at.
    """
    seen = survey(ledger.cloud, sorted({row.call for row in ledger.journal.rows}))
    if seen.refused:
        raise not_proven(seen.refused)
    return [one for one in seen.ours if one.ledger == ledger.prefix and stands(ledger.cloud, one)]


def stands(cloud: Cloud, one: Ours) -> bool:
    """Whether it stands indeed: some things AWS lists for a while after their end."""
    kind = KINDS[one.call]
    row = Row(number=one.row[0], name=one.row[1], call=one.call, token=one.token, ids=one.found.ids)
    return not kind.lingers or bool(kind.look(cloud.client(kind.service), row))


def without_row(cloud: Cloud, ours: list[Ours]) -> list[Ours]:
    """What is no open row's own, in any ledger of this computer, whatever its account and Region.

    Its row was lost, or its mark was copied by hand. What AWS lists for a while after its end is asked for.
    """
    rows: dict[str, list[Row]] = {}
    for path in journal.files(cloud.folder):
        with contextlib.suppress(LedgerError):  # damaged: `list` shows it, `recover` mends it
            for row in journal.read(path)[1]:
                if row.open:
                    rows.setdefault(row.token, []).append(row)

    def is_copy(one: Ours, row: Row) -> bool:
        return KINDS[one.call].judged(one.found, row).state == "copy"

    strays = [one for one in ours if all(is_copy(one, row) for row in rows.get(one.token, []))]
    return [one for one in strays if stands(cloud, one)]


def prefixes_elsewhere(cloud: Cloud, ours: list[Ours]) -> set[str]:
    """Prefixes of which nothing tells that they belong to this Region.

    Roles that an older awslabs made stand under a path without a Region, so every Region lists them. They
    belong to this one where something else of their ledger stands here, or a file of this Region names it.
    """
    here = {one.ledger for one in ours if one.found.region != ""}
    here |= {ledger.prefix for ledger in ledgers_of(cloud)}
    texts = [journal.remains(path).text for path in damaged_files(cloud)]
    return (
        {one.ledger for one in ours}
        - here
        - {one.ledger for one in ours if any(one.ledger in text for text in texts)}
    )


def ledgers_of(cloud: Cloud) -> Iterator[Ledger]:
    """Every readable ledger of this account and Region on this computer."""
    for path in journal.files(cloud.folder):
        lab, name, account, region, _ = path.name.split(".")
        if (account, region) == (cloud.identity["account"], cloud.region):
            try:
                yield Ledger(cloud, lab, name)
            except LedgerError:
                continue  # damaged: `list` shows it, `recover` mends it


def verify(cloud: Cloud) -> tuple[list[dict[str, Any]], dict[str, AwsError]]:
    """Compare every ledger with what AWS shows, in both directions.

    Returns
    -------
    list of dict
        ``ledger``, ``row``, ``id`` and ``on_aws``: ``stands``, ``absent`` (deleted by hand, perhaps),
        ``stands, not ours any more`` for what lost its mark, or ``stands, in no ledger`` for what carries our
        mark and no row here knows. A role of an older awslabs, whose path does not tell its Region, is
        ``stands, in no ledger, of an unknown Region``. Rows of a kind that could not be looked at are
        ``not looked at``, and so is the kind itself, with AWS's code.
        ``owner``; and, of what no row knows, ``home``: whether it was built from ``this`` folder of ledgers.
    dict of AwsError
        Why not, by kind.
    """
    seen = survey(cloud)
    elsewhere = prefixes_elsewhere(cloud, seen.ours)
    home = journal.home_id()
    rows = [(ledger, row) for ledger in ledgers_of(cloud) for row in ledger.journal.open_rows()]
    report = [
        {
            "ledger": ledger.prefix,
            "row": row.name,
            "id": row.id,
            "on_aws": on_aws,
            "owner": ledger.journal.header["owner"],
        }
        for (ledger, row), on_aws in zip(rows, states(cloud, seen, rows), strict=True)
    ]
    for one in without_row(cloud, seen.ours):
        report.append(
            {
                "ledger": one.ledger,
                "row": one.row[1],
                "id": one.found.id,
                "on_aws": STRAY + (", of an unknown Region" if one.ledger in elsewhere else ""),
                "owner": one.owner,
                "home": "this" if one.home == home else "another" if one.home else "?",
            }
        )
    for call, error in sorted(seen.refused.items()):
        report.append(
            {"ledger": "?", "row": call, "id": "", "on_aws": f"{UNSEEN}: {error.code}", "owner": "?"}
        )
    return report, seen.refused


def states(cloud: Cloud, seen: Survey, rows: list[tuple[Ledger, Row]]) -> list[str]:
    """Of each row, what AWS shows: in the survey, in an answer about many, or, where neither tells, alone."""
    marked = {(one.token, one.found.id) for one in seen.ours}
    missing: dict[str, list[Row]] = {}
    for _, row in rows:
        if (row.token, row.id) not in marked and row.call not in seen.refused:
            missing.setdefault(row.call, []).append(row)
    listed: dict[str, list[Found] | None] = {}
    for call, those in missing.items():
        listed[call] = seen.listed[call] if KINDS[call].complete else asked_at_once(cloud, seen, call, those)

    def on_aws(ledger: Ledger, row: Row) -> str:
        if (row.token, row.id) in marked:
            return "stands"
        if row.call in seen.refused:
            return UNSEEN
        try:
            shown = ledger.shown(row, listed[row.call])
        except AwsError as error:
            seen.refused[row.call] = error
            return UNSEEN
        return NOT_OURS if is_foreign(shown) else "stands" if shown else "absent"

    return [on_aws(ledger, row) for ledger, row in rows]


def asked_at_once(cloud: Cloud, seen: Survey, call: str, rows: list[Row]) -> list[Found] | None:
    """What AWS shows of many rows of a kind, and its listing; None where it tells only of one at a time."""
    kind = KINDS[call]
    ask = kind.at_once
    if ask is None:
        return None
    found = attempt(cloud, kind, lambda client: ask(client, rows, seen.overview), seen.refused)
    if found is None:
        return None
    listed = {one.id: one for one in (*found, *seen.listed[call])}
    return found if kind.join else list(listed.values())


def not_proven(refused: dict[str, AwsError]) -> StillStanding:
    """Exit 3, as for what stands: nobody knows whether something of these kinds does."""
    lines = [f"{call}: not looked at: {error.code}. {error.why}" for call, error in sorted(refused.items())]
    return StillStanding(
        f"{len(refused)} kinds could not be looked at: whether anything of them stands is not proven.",
        "\n       ".join(lines),
        next(iter(refused.values())).fix,
    )


# -- Recover ----------------------------------------------------------------------------------------------


@dataclass
class Lost:
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
    def lab(self) -> str:
        return journal.lab_of(self.prefix)

    @property
    def tokens(self) -> set[str]:
        return {one.token for one in self.things}

    @property
    def hours(self) -> float:
        return max(journal.seconds_since(one.begun) for one in self.things) / 3600

    @property
    def usd_per_hour(self) -> float | None:
        return journal.total(one.usd_per_hour for one in self.things)


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


def whole(labs: list[Lost]) -> list[Lost]:
    """One for each prefix: what several have built of one ledger goes down in one order."""
    by_prefix: dict[str, Lost] = {}
    for lab in labs:
        there = by_prefix.setdefault(lab.prefix, dataclasses.replace(lab, things=[]))
        there.things.extend(lab.things)
    return list(by_prefix.values())


def rows_of(things: list[Ours], beside: list[Row], known: Iterable[Ours] = ()) -> list[Row]:
    """All rows of a ledger: those `beside`, and one for each thing that was found and none of them knows.

    Such a thing gets the number in its tag where that is free among theirs, else one after them all, in the
    order in which it was made. They go down one by one in falling number, since what hung on what is not
    known any more. `known`: what AWS shows of the rows `beside`; the rest of a token is a copy of its mark.
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
    for row in fresh:
        row.needs = sorted(number for number in taken if number < row.number)
    for row in beside:  # of one whose request is known, `needs` are too
        if row.open and not row.digests:
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


def unread(cloud: Cloud) -> dict[Path, LedgerError]:
    """Ledgers of this account and Region that do not read, each with the reason."""
    reasons = {}
    for path in journal.files(cloud.folder):
        _, _, account, region, _ = path.name.split(".")
        if (account, region) == (cloud.identity["account"], cloud.region):
            try:
                journal.read(path)
            except journal.Absent:
                continue
            except LedgerError as error:
                reasons[path] = error
    return reasons


def damaged_files(cloud: Cloud) -> list[Path]:
    """Those of them that `rebuild` can mend: a file of a newer version is not damaged."""
    return [path for path, error in unread(cloud).items() if isinstance(error, journal.Damaged)]


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


# -- The command line ---------------------------------------------------------------------------------------


def rows_in(paths: list[Path]) -> tuple[dict[Path, list[Row]], list[LabError]]:
    """The rows of each file that reads, and why the others do not."""
    rows, failures = {}, list[LabError]()
    for path in paths:
        try:
            rows[path] = journal.read(path)[1]
        except LedgerError as error:
            failures.append(error)
    return rows, failures


def unless_failed(
    result: list[dict[str, Any]], failures: list[LabError], as_json: bool
) -> list[dict[str, Any]]:
    """A result that is whole. Of one that is not, what there is is shown, and what failed is raised."""
    from awslabs import cli

    if not failures:
        return result
    cli.show(result, as_json)
    first, *more = failures
    if not more:
        raise first
    whys = "\n       ".join(f"{one.what} {one.why}" for one in failures)
    unproven = any(isinstance(one, StillStanding) for one in failures)
    raise (StillStanding if unproven else LedgerError)("Not all could be looked at.", whys, first.fix)


def command_line() -> Any:
    """``python -m awslabs.ledger``."""
    import click

    from awslabs import cli, graph

    group = cli.Group("ledger", help="See and clean up what all labs have built.")

    def where(options: dict[str, Any]) -> dict[str, Any]:
        return {key: options[key] for key in ("sandbox", "region", "profile")}

    @cli.plain_verb(group, "list")
    @cli.OWNER
    def _list(sandbox: bool, owner: str | None, profile: str | None, **_: Any) -> list[dict[str, Any]]:
        """Show every ledger on this computer in which something stands. Asks AWS nothing."""
        whose, found = journal.chosen_owner(owner), standing(folders(sandbox))
        entries = [one for one in found if whose in (None, one.owner) or one.resources < 0]
        if not entries:
            cli.say("Nothing stands.")
        if len(entries) < len(found):
            cli.say(f"Of other owners than {whose}, {len(found) - len(entries)} ledgers are not shown.")
        for entry in entries:
            if isinstance(entry.unread, journal.Damaged):
                there = Place.asked(entry.region, profile, entry.cloud == "sandbox")
                cli.say(f"damaged: {entry.path}    # mend it: {there.of_ledgers('recover')}")
            elif entry.unread:
                cli.say(f"not readable: {entry.unread}")
        for region in sorted({entry.region for entry in entries if prices.note(entry.region)}):
            cli.say(f"Prices in {region}: {prices.note(region).strip(' ()')}.")
        usd = journal.total(entry.usd_per_hour for entry in entries if entry.cloud == "aws")
        if usd != 0:
            price = cli.per_hour(usd, *{entry.region for entry in entries if entry.cloud == "aws"})
            down = Place.asked(None, profile, sandbox=False).of_ledgers("down --all")
            cli.say(f"{price[0].upper()}{price[1:]} on AWS. Delete it all: {down}")
        left_out = ("path", "unread")
        shown = [
            {key: value for key, value in vars(entry).items() if key not in left_out} for entry in entries
        ]
        return [{**entry, "hours": round(entry["hours"], 2)} for entry in shown]

    @cli.plain_verb(group, "cost")
    @click.option("--by", type=click.Choice(["lab", "owner"]), help="Only a sum for each.")
    @click.option("--csv", "as_csv", is_flag=True, help="Print it for a spreadsheet.")
    def _cost(by: str | None, as_csv: bool, as_json: bool, **options: Any) -> list[dict[str, Any]] | None:
        """Show what was spent until now, to the minute; what is gone, too."""
        if as_csv and as_json:
            raise click.UsageError("--csv or --json, not both.")
        paths = [path for folder in folders(options["sandbox"]) for path in journal.files(folder)]

        def cloud_of(region: str, sandbox: bool) -> Cloud:
            practised = sandbox and not os.environ.get("AWS_ENDPOINT_URL")
            return cli.open_cloud(sandbox=practised, region=region, profile=options["profile"])

        for why in read_meters(paths, cloud_of):
            cli.say(f"AWS was not asked about {why}. Shown is what the ledger knows.")
        found = spent(paths)
        regions = sorted({one.region for one in found if prices.note(one.region)})
        for region in regions:
            cli.say(f"Prices in {region}: {prices.note(region).strip(' ()')}.")
        if options["sandbox"]:
            usd = journal.total(one.usd for one in found)
            words = "The practice cloud is free. On AWS it would be"
        else:
            usd, words = journal.total(one.usd for one in found if one.cloud == "aws"), "On AWS"
        cli.say(f"{words} {'?' if usd is None else f'{usd:.4f}'} USD until now; prices of {prices.AS_OF}.")
        shown = summed(found, by) if by else [dict(vars(one)) for one in found]
        if not as_csv:
            return shown
        text = io.StringIO()
        writer = csv.DictWriter(text, list(shown[0]) if shown else ["usd"], lineterminator="\n")
        writer.writeheader()
        writer.writerows(
            {key: "?" if value is None else value for key, value in one.items()} for one in shown
        )
        cli.out(text.getvalue().rstrip("\n"))
        return None

    @cli.plain_verb(group, "show")
    @click.argument("lab")
    @click.option("--name", default="default", help="Name of the copy.")
    def _show(lab: str, name: str, sandbox: bool, as_json: bool, **_: Any) -> list[dict[str, Any]]:
        """Show the rows of a LAB's ledger, those that are gone too. Asks AWS nothing."""
        listed = [path for folder in folders(sandbox) for path in journal.files(folder)]
        paths = [path for path in listed if path.name.split(".")[:2] == [lab, name]]
        if not paths:
            raise LabError(f"There is no ledger of {lab} ({name}).", "", "python -m awslabs.ledger list")
        rows, failures = rows_in(paths)
        shown = [
            {"row": row.number, "name": row.name, "state": row.state, "id": row.id, "needs": row.needs}
            | {"made": row.made, "ended": row.ended, "usd": row.usd}
            for those in rows.values()
            for row in those
        ]
        return unless_failed(shown, failures, as_json)

    @cli.plain_verb(group, "graph")
    @click.argument("lab")
    @click.option("--name", default="default", help="Name of the copy.")
    @click.option("--mermaid", "as_mermaid", is_flag=True, help="Print it for https://mermaid.js.org.")
    def _graph(
        lab: str, name: str, as_mermaid: bool, sandbox: bool, as_json: bool, **_: Any
    ) -> dict[str, Any] | None:
        """Show what of a LAB stands, and what hangs on what. Asks AWS nothing."""
        if as_mermaid and as_json:
            raise click.UsageError("--mermaid or --json, not both.")
        header, rows = journal.read(the_one(lab, name, sandbox))
        if as_json:
            return graph.as_dict(header, rows)
        if as_mermaid:
            cli.out(graph.mermaid(rows))
        elif lines := graph.tree(rows, plain=not cli.takes_unicode(sys.stdout)):
            cli.out("\n".join(lines))
        else:
            cli.say("Nothing stands.")
        return None

    def the_one(lab: str, name: str, sandbox: bool) -> Path:
        """The file of the one ledger of this lab and name, be it on AWS or in the practice cloud."""
        listed = [path for folder in folders(sandbox) for path in journal.files(folder)]
        paths = [path for path in listed if path.name.split(".")[:2] == [lab, name]]
        if not paths:
            raise LabError(f"There is no ledger of {lab} ({name}).", "", "python -m awslabs.ledger list")
        still = [path for path in paths if any(row.open for row in journal.read(path)[1])]
        if len(still) > 1:
            places = ", ".join(f"{path.name.split('.')[3]} in {path.parent}" for path in still)
            raise LabError(
                f"{lab} ({name}) stands {len(still)} times: {places}.",
                "A graph is of one of them.",
                f"{Place.asked(None, None, True).of_ledgers(f'graph {lab}')}    # only the practice cloud's",
            )
        return (still or paths)[0]

    def force(ledger: Ledger, row_name: str, dry_run: bool, yes: bool) -> list[dict[str, Any]]:
        row = ledger.open_row(row_name)
        for found in ledger.shown(row):
            tags = ", ".join(f"{key}={value}" for key, value in found.tags.items() if value) or "none"
            cli.say(f"{row.name} {found.id}{f', of {found.since}' if found.since else ''}; its tags: {tags}")
        if not (yes or dry_run):
            cli.agree("Delete it, whosever it is?", f"{ledger.command_to_force(row)} --yes")
        if not dry_run:
            ledger.force(row.name)
        return [{"lab": ledger.lab, "name": ledger.journal.header["name"], "row": row.name, "id": row.id}]

    @cli.plain_verb(group, "down")
    @click.argument("labs", nargs=-1)
    @click.option("--all", "all_labs", is_flag=True, help="Every ledger on this computer.")
    @click.option("--dry-run", is_flag=True, help="Only say what would be deleted.")
    @click.option(
        "--force-row",
        nargs=2,
        metavar="LAB ROW",
        help="Delete what stands under one row's identifier, though it is not shown to be ours.",
    )
    @click.option("--name", default="default", help="With --force-row: name of the copy.")
    @click.option("--yes", is_flag=True, help="With --force-row: do not ask.")
    def _down(
        labs: tuple[str, ...],
        all_labs: bool,
        dry_run: bool,
        force_row: tuple[str, str] | None,
        name: str,
        yes: bool,
        **options: Any,
    ) -> list[dict[str, Any]]:
        """Delete what the ledgers of these LABS hold (all copies, all Regions), with all results."""
        if [bool(labs), all_labs, bool(force_row)].count(True) != 1:
            raise click.UsageError("name the labs, or say --all, or --force-row LAB ROW")
        cloud = cli.open_cloud(**where(options))
        if force_row:
            return force(Ledger(cloud, force_row[0], name), force_row[1], dry_run, yes)
        entries = [one for one in standing([cloud.folder]) if all_labs or one.lab in labs]
        if not entries:
            cli.say("Nothing stands.")
        if dry_run:
            for one in entries:
                if one.lab in WITH_RESULTS:
                    there = Place.asked(
                        one.region, options["profile"], options["sandbox"], lab=one.lab, name=one.name
                    )
                    cli.say(
                        f"{one.lab} ({one.name}, {one.region}): its results go too; to save them first: "
                        f"{there.command('down')}"
                    )
            rows, failures = rows_in([one.path for one in entries])
            would = [
                {"lab": lab, "name": name, "region": region, "row": row.name, "id": row.id}
                for path, those in rows.items()
                for lab, name, _, region, _ in [path.name.split(".")]
                for row in reversed(those)
                if row.open
            ]
            return unless_failed(would, failures, options["as_json"])
        regions = Clouds(cloud, lambda region: cli.open_cloud(**{**where(options), "region": region}))
        results = down_all(regions, entries)
        failed = [f"{one.lab} ({one.name}): {error}" for one, error in results if error]
        if failed:
            raise StillStanding(
                f"{len(failed)} of {len(results)} ledgers still hold something.",
                "\n".join(failed),
                f"{cloud.place.of_ledgers(' '.join(('down', *labs)) if labs else 'down --all')}"
                "    # tries again what is left",
            )
        return [{"lab": one.lab, "name": one.name, "deleted": one.resources} for one in entries]

    @cli.plain_verb(group, "verify")
    @cli.OWNER
    def _verify(owner: str | None, **options: Any) -> list[dict[str, Any]]:
        """Ask AWS whether each row stands, and whether anything of ours stands that no row knows."""
        whose = journal.chosen_owner(owner)
        cloud = cli.open_cloud(**where(options))
        whose = whose or cloud.identity["owner"]
        report, refused = verify(cloud)
        strays = [one for one in report if one["on_aws"].startswith(STRAY)]
        named = [one for one in strays if one["on_aws"] == STRAY and one["owner"] == whose]
        mine = [one for one in named if one["home"] == "this"]
        count = Counter(one["on_aws"] for one in report)
        unseen = f", {count[UNSEEN]} not looked at" if count[UNSEEN] else ""
        cli.say(
            f"{count['stands']} rows stand, {count['absent']} absent on AWS{unseen}. In no ledger here: "
            f"{len(mine)} things of yours, {len(strays) - len(mine)} of other owners or computers."
            + (f" Stands, but not ours any more: {count[NOT_OURS]}." if count[NOT_OURS] else "")
        )
        if len(named) > len(mine):
            cli.say(
                f"{len(named) - len(mine)} are of {whose}, and built from another computer. If that was you: "
                f"{cloud.place.of_ledgers('recover')} --owner {shlex.quote(whose)} --any-home"
            )
        if mine or refused:
            cli.show(report, options["as_json"])
        if mine:
            if refused:
                cli.say(str(not_proven(refused)))
            raise StillStanding(
                f"{len(mine)} things of yours stand in no ledger on this computer.",
                "They were built from here, so a ledger was lost.",
                cloud.place.of_ledgers("recover") + (f" --owner {shlex.quote(owner)}" if owner else ""),
            )
        if refused:
            raise not_proven(refused)
        return report

    @cli.plain_verb(group, "recover")
    @click.argument("named", nargs=-1, metavar="[LAB_OR_PREFIX...]")
    @click.option("--all-owners", is_flag=True, help="Those of other owners too: for the teacher.")
    @click.option("--any-home", is_flag=True, help="What --owner built from other computers, too.")
    @cli.OWNER
    @click.option("--yes", is_flag=True, help="Do not ask.")
    def _recover(
        named: tuple[str, ...], all_owners: bool, any_home: bool, owner: str | None, yes: bool, **options: Any
    ) -> list[dict[str, Any]]:
        """Find what carries a ledger's mark but stands in no ledger here, and write its rows back."""
        whose = journal.chosen_owner(owner)
        if any_home and not whose:
            raise click.UsageError("--any-home needs --owner NAME: a class may share one IAM name")
        cloud = cli.open_cloud(**where(options))
        whose, home = whose or cloud.identity["owner"], journal.home_id()
        damaged, chosen = damaged_files(cloud), []
        left = Counter[str]()
        labs = {path.name.partition(".")[0] for path in damaged}
        texts = [journal.remains(path).text for path in damaged]
        newer = {path: error for path, error in unread(cloud).items() if path not in damaged}
        theirs = [journal.remains(path).text for path in newer]
        seen = survey(cloud)
        for one in lost(cloud, seen.ours):
            if any(one.prefix in text for text in theirs):
                continue  # it stands in a ledger, which this version does not read
            is_named = one.prefix in named or one.lab in named or one.lab in labs
            is_mine = one.owner == whose and (any_home or one.home == home)
            if named and not is_named:
                continue
            if not (is_mine or all_owners or any(one.prefix in text for text in texts)):
                left["of other owners or computers"] += 1
                continue
            price = cli.per_hour(one.usd_per_hour, cloud.region)
            if not is_named and one.hours * 3600 < YOUNG_S:
                cli.say(
                    f"{one.prefix}, of {one.owner}: younger than an hour, so perhaps at work; name it to "
                    f"recover it. {len(one.things)} things, {price}."
                )
                left["younger than an hour"] += 1
                continue
            things = ", ".join(f"{thing.row[1]} {thing.found.id}" for thing in one.things)
            if not one.placed:
                cli.say(
                    f"{one.prefix}, of {one.owner}: {things}. Nothing tells its Region, so it is left alone: "
                    "run `recover` in the Region where its lab was, or delete it in the IAM console."
                )
                continue
            built = "" if one.home == home else ", built from another computer"
            cli.say(f"{one.prefix}, of {one.owner}{built}, {one.hours:.1f} h old, {price}: {things}")
            chosen.append(one)
        chosen = whole(chosen)
        if left:
            cli.say("Left out: " + ", ".join(f"{count} {why}" for why, count in left.items()) + ".")
        failures: list[LabError] = list(newer.values())
        if seen.refused:
            failures.append(not_proven(seen.refused))
        if not chosen and not damaged:
            if not failures:
                cli.say("Nothing to recover.")
            return unless_failed([], failures, options["as_json"])
        if not yes:
            mends = f" and mend {len(damaged)} damaged" if damaged else ""
            told = ["--all-owners"] * all_owners + ["--any-home"] * any_home
            told += ["--owner", shlex.quote(owner)] if owner else []
            again = cloud.place.of_ledgers(" ".join(["recover", *named, *told, "--yes"]))
            cli.agree(f"Write {len(chosen)} ledgers back{mends}?", again)
        ledgers = []
        for path in damaged:
            lab, name, *_ = path.name.split(".")
            try:
                aside, found = rebuild(cloud, path, chosen)
                cli.say(f"{path.name} is mended; the damaged one is kept as {aside.name}.")
                chosen = [one for one in chosen if one is not found]
                ledgers.append(Ledger(cloud, lab, name))
            except LabError as error:
                failures.append(error)
                chosen = [one for one in chosen if one.lab != lab]  # perhaps its own: not twice
        for one in chosen:
            try:
                ledgers.append(write_back(cloud, one))
            except LabError as error:
                failures.append(error)
        written = [
            {"lab": one.lab, "name": one.journal.header["name"], "prefix": one.prefix}
            | {"resources": len(one.resources), "down": one.command("down")}
            for one in ledgers
        ]
        return unless_failed(written, failures, options["as_json"])

    return group
