"""What AWS shows of everything that a ledger has made, whoever made it, in one account and Region.

survey(cloud)    all that carries a ledger's mark, kind by kind, and which kinds nobody may look at
verify(cloud)    the same beside this computer's ledgers: what each of the two knows alone
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any, TypeVar

from awslabs import journal
from awslabs.cloud import Cloud
from awslabs.errors import AwsError, StillStanding
from awslabs.explain import boto3_errors, explain
from awslabs.journal import Row
from awslabs.kinds import KINDS, Found, Kind, Overview
from awslabs.kinds.named import as_kept
from awslabs.ledger import Ledger, is_foreign
from awslabs.ledgers import damaged_files, ledgers_of, rows_in
from awslabs.progress import each

STRAY = "stands, in no ledger"
UNSEEN = "not looked at"
NOT_OURS = "stands, not ours any more"


# -- Survey -------------------------------------------------------------------------------------------------


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
        return as_kept(moment)


class Standing:
    """What stands on AWS under one prefix, for whoever shows it."""

    prefix: str
    things: list[Ours]

    @property
    def lab(self) -> str:
        return journal.lab_of(self.prefix)

    @property
    def hours(self) -> float:
        return max(journal.seconds_since(one.begun) for one in self.things) / 3600

    @property
    def usd_per_hour(self) -> float | None:
        return journal.total(one.usd_per_hour for one in self.things)


Lab = TypeVar("Lab", bound=Standing)


def merged(labs: Iterable[Lab], key: Callable[[Lab], Any]) -> list[Lab]:
    """One for each key: what several have built of one ledger goes down in one order."""
    found: dict[Any, Lab] = {}
    for lab in labs:
        if key(lab) not in found:
            found[key(lab)] = copy.copy(lab)
            found[key(lab)].things = []
        found[key(lab)].things += lab.things
    return list(found.values())


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
    try:
        return ask(cloud.client(kind.service))
    except boto3_errors() as error:
        call = f"{kind.service}:{getattr(error, 'operation_name', 'a listing')}"
        refused[kind.call] = explain(error, call, cloud.place)
        return None


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
    return not kind.listed_when_gone or bool(kind.look(cloud.client(kind.service), row))


def not_proven(refused: dict[str, AwsError]) -> StillStanding:
    """Exit 3, as for what stands: nobody knows whether something of these kinds does."""
    lines = [f"{call}: not looked at: {error.code}. {error.why}" for call, error in sorted(refused.items())]
    return StillStanding(
        f"{len(refused)} kinds could not be looked at: whether anything of them stands is not proven.",
        "\n       ".join(lines),
        next(iter(refused.values())).fix,
    )


# -- Verify -----------------------------------------------------------------------------------------------


def verify(cloud: Cloud) -> tuple[list[dict[str, Any]], dict[str, AwsError]]:
    """Compare every ledger with what AWS shows, in both directions.

    Returns
    -------
    list of dict
        ``ledger``, ``row``, ``id`` and ``on_aws``: ``stands``, ``absent`` (deleted by hand, perhaps),
        ``stands, not ours any more`` for what lost its mark, or ``stands, in no ledger`` for what carries our
        mark and no row here knows. A role of an older awslabs, whose path does not tell its Region, is
        ``stands, in no ledger, of an unknown Region``. Rows of a kind that could not be looked at are
        ``not looked at``, and so is the kind itself, with AWS's code. A row that heard no answer knows no
        ``id``: AWS's is told, and of several things with its token each in an entry of its own.
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
            "id": id,
            "on_aws": on_aws,
            "owner": ledger.journal.header["owner"],
        }
        for (ledger, row), (on_aws, ids) in zip(rows, states(cloud, seen, rows), strict=True)
        for id in ids
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


def states(cloud: Cloud, seen: Survey, rows: list[tuple[Ledger, Row]]) -> list[tuple[str, list[str]]]:
    """Of each row, what AWS shows: in the survey, in an answer about many, or, where neither tells, alone.

    With the row's identifier; where it has none yet, with those of what AWS shows under its token.
    """
    marked = {(one.token, one.found.id) for one in seen.ours}
    missing: dict[str, list[Row]] = {}
    for _, row in rows:
        if (row.token, row.id) not in marked and row.call not in seen.refused:
            missing.setdefault(row.call, []).append(row)
    listed: dict[str, list[Found] | None] = {}
    for call, those in missing.items():
        listed[call] = seen.listed[call] if KINDS[call].complete else asked_at_once(cloud, seen, call, those)

    def on_aws(ledger: Ledger, row: Row) -> tuple[str, list[str]]:
        if (row.token, row.id) in marked:
            return "stands", [row.id]
        if row.call in seen.refused:
            return UNSEEN, [row.id]
        try:
            shown = ledger.shown(row, listed[row.call])
        except AwsError as error:
            seen.refused[row.call] = error
            return UNSEEN, [row.id]
        ids = [row.id] if row.id or not shown else [one.id for one in shown]
        return (NOT_OURS if is_foreign(shown) else "stands" if shown else "absent"), ids

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


def without_row(cloud: Cloud, ours: list[Ours]) -> list[Ours]:
    """What is no open row's own, in any ledger of this computer, whatever its account and Region.

    Its row was lost, or its mark was copied by hand. What AWS lists for a while after its end is asked for.
    """
    rows: dict[str, list[Row]] = {}
    for those in rows_in(journal.files(cloud.folder))[0].values():  # what is damaged, `recover` mends
        for row in those:
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
