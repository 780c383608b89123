"""What a teacher does after class: see what stands, take it all down, and find what no ledger knows.

python -m awslabs.ledger list                 every ledger on this computer, and what it costs
python -m awslabs.ledger show ec2             its rows
python -m awslabs.ledger down ec2 | --all     delete; --dry-run only says what
python -m awslabs.ledger verify               ask AWS whether this is all true
python -m awslabs.ledger recover              write rows for what stands without one
"""

from __future__ import annotations

import dataclasses
import os
import shlex
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from awslabs import journal
from awslabs.errors import AwsError, LabError, LedgerError, StillStanding
from awslabs.explain import Place, explain
from awslabs.journal import Row
from awslabs.kinds import KINDS, Found, Kind
from awslabs.ledger import Cloud, Ledger, header_of

YOUNG_S = 3600.0  # seconds in which a ledger may still be at work on another computer
LEDGERS_AT_ONCE = 16
STRAY = "stands, in no ledger"
UNSEEN = "not looked at"
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
        Rows that are open; -1 for a damaged file.
    usd_per_hour, usd_so_far : float or None
        Estimates in US dollars; None where a part of it is not known.
    path : Path
        The file.
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


def standing(folders: Iterable[Path]) -> list[Standing]:
    """All ledgers in these folders in which something stands, or which cannot be read. No call is made."""
    return [entry for folder in folders for path in journal.files(folder) if (entry := _entry(path))]


def _entry(path: Path) -> Standing | None:
    lab, name, account, region, _ = path.name.split(".")
    cloud = "aws" if path.parent == journal.home() else "sandbox"
    try:
        header, rows = journal.read(path)
    except LedgerError:
        return Standing(lab, name, cloud, account, region, "?", 0.0, -1, None, None, path)
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
        journal.total([header["usd_before"], *(row.usd for row in rows)]),
        path,
    )


def folders(sandbox: bool = False) -> list[Path]:
    """Where ledgers lie: AWS's, and those of the endpoint in use or of the running practice cloud."""
    from awslabs import sandbox as practice

    run, endpoint = practice.current(), urlsplit(os.environ.get("AWS_ENDPOINT_URL", ""))
    there = [journal.home() / f"{endpoint.hostname}-{endpoint.port}"] if endpoint.hostname else []
    there += [run.directory] if run and run.directory not in there else []
    return there if sandbox else [journal.home(), *there]


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
            Ledger(cloud, entry.lab, entry.name).down()
        except LabError as error:
            return error
        return None

    with ThreadPoolExecutor(LEDGERS_AT_ONCE) as pool:
        return list(zip(entries, pool.map(one, entries), strict=True))


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
    """

    ours: list[Ours]
    refused: dict[str, AwsError]


def survey(cloud: Cloud) -> Survey:
    """Look at every kind; what cannot be looked at does not stand in the way of the others.

    AWS calls: one list per kind, most with one description or list of tags per thing. The clients go on while
    AWS asks for fewer calls (up to 10 attempts each).
    """
    refused: dict[str, AwsError] = {}
    with ThreadPoolExecutor(8) as pool:
        lists = pool.map(lambda kind: attempt(cloud, kind, kind.ours, refused), KINDS.values())
        ours = [
            Ours(kind.call, found, kind.usd_per_hour(found.request, cloud.region))
            for kind, many in zip(KINDS.values(), lists, strict=True)
            for found in many
        ]
    here = [one for one in ours if one.is_marked and one.found.region in (None, "", cloud.region)]
    return Survey(here, refused)


def attempt(
    cloud: Cloud, kind: Kind, ask: Callable[[Any], list[Found]], refused: dict[str, AwsError]
) -> list[Found]:
    """What AWS answers; nothing, with the reason in `refused`, where it does not."""
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        return ask(cloud.client(kind.service))
    except (BotoCoreError, ClientError) as error:
        call = f"{kind.service}:{getattr(error, 'operation_name', 'a listing')}"
        refused[kind.call] = explain(error, call, Place("", cloud.region))
        return []


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


def known_tokens(cloud: Cloud) -> set[str]:
    """What the open rows of all ledgers on this computer carry, whatever their account and Region."""
    tokens = set()
    for path in journal.files(cloud.folder):
        try:
            _, rows = journal.read(path)
        except LedgerError:
            continue  # damaged: `list` shows it, `recover` mends it
        tokens |= {row.token for row in rows if row.open}
    return tokens


def prefixes_elsewhere(cloud: Cloud, ours: list[Ours]) -> set[str]:
    """Prefixes of which nothing tells that they belong to this Region.

    Roles that an older awslabs made stand under a path without a Region, so every Region lists them. They
    belong to this one where something else of their ledger stands here, or a file of this Region names it.
    """
    here = {one.ledger for one in ours if one.found.region != ""}
    here |= {ledger.prefix for ledger in ledgers_of(cloud)}
    texts = [path.read_text(errors="replace") for path in damaged_files(cloud)]
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
        ``ledger``, ``row``, ``id`` and ``on_aws``: ``stands``, ``absent`` (deleted by hand, perhaps), or
        ``stands, in no ledger`` for what carries our mark and no row here knows. A role of an older awslabs,
        whose path does not tell its Region, is ``stands, in no ledger, of an unknown Region``. Rows of a kind
        that could not be looked at are ``not looked at``, and so is the kind itself, with AWS's code.
        ``owner``; and, of what no row knows, ``home``: whether it was built from ``this`` folder of ledgers.
    dict of AwsError
        Why not, by kind.
    """
    seen = survey(cloud)
    elsewhere = prefixes_elsewhere(cloud, seen.ours)
    tokens = {one.token for one in seen.ours}

    def stands(row: Row) -> bool:
        kind = KINDS[row.call]
        if kind.join:  # it carries no mark, so it is asked for by its two ends
            return bool(attempt(cloud, kind, lambda client: kind.look(client, row), seen.refused))
        return row.token in tokens

    known, home, report = known_tokens(cloud), journal.home_id(), []
    for ledger in ledgers_of(cloud):
        for row in ledger.journal.open_rows():
            on_aws = "stands" if stands(row) else UNSEEN if row.call in seen.refused else "absent"
            report.append(
                {
                    "ledger": ledger.prefix,
                    "row": row.name,
                    "id": row.id,
                    "on_aws": on_aws,
                    "owner": ledger.journal.header["owner"],
                }
            )
    for one in seen.ours:
        if one.token not in known:
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


def again(cloud: Cloud, verb: str) -> str:
    """The command that runs another verb of the ledger in the same account and Region."""
    return f"python -m awslabs.ledger {verb}{cloud.options}{'' if cloud.is_aws else ' --sandbox'}"


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
    def hours(self) -> float:
        return max(journal.seconds_since(one.begun) for one in self.things) / 3600

    @property
    def usd_per_hour(self) -> float | None:
        return journal.total(one.usd_per_hour for one in self.things)


def lost(cloud: Cloud, ours: list[Ours]) -> list[Lost]:
    """What of `ours` stands in none of this computer's ledgers, by prefix, owner and home."""
    known = known_tokens(cloud)
    by_marks: dict[tuple[str, str, str], Lost] = {}
    for one in ours:
        if one.token not in known:
            marks = one.ledger, one.owner, one.home
            by_marks.setdefault(marks, Lost(*marks)).things.append(one)
    elsewhere = prefixes_elsewhere(cloud, ours)
    for lab in by_marks.values():
        lab.placed = lab.prefix not in elsewhere
        lab.known = [one for one in ours if one.ledger == lab.prefix and one.token in known]
    return [by_marks[marks] for marks in sorted(by_marks)]


def whole(labs: list[Lost]) -> list[Lost]:
    """One for each prefix: what several have built of one ledger goes down in one order."""
    by_prefix: dict[str, Lost] = {}
    for lab in labs:
        there = by_prefix.setdefault(lab.prefix, dataclasses.replace(lab, things=[]))
        there.things.extend(lab.things)
    return list(by_prefix.values())


def rows_of(things: list[Ours], first: int = 1) -> list[Row]:
    """Rows for what was found, from number `first` on, in the order in which it was made.

    They go down one by one in falling number, since what hung on what is not known any more.
    """
    return [
        Row(
            number=number,
            name=thing.row[1],
            call=thing.call,
            token=thing.token,
            state="standing",
            ids=thing.found.ids,
            needs=list(range(1, number)),
            begun=thing.begun,
            made=thing.begun,
            usd_per_hour=thing.usd_per_hour,
        )
        for number, thing in enumerate(sorted(things, key=lambda thing: thing.row), start=first)
    ]


def write_back(cloud: Cloud, one: Lost) -> Ledger:
    """Give what was lost its rows back, so that `down` can delete it."""
    ledger = next((ledger for ledger in ledgers_of(cloud) if ledger.prefix == one.prefix), None)
    if ledger is None:
        taken = [other.journal.header["name"] for other in ledgers_of(cloud) if other.lab == one.lab]
        names = ["default", f"recovered-{one.prefix[-6:]}"]
        name, owner = next(name for name in names if name not in taken), one.owner.strip("?")
        ledger = Ledger(cloud, one.lab, name, owner)
    with ledger.locked("recover"):
        rows, things = ledger.journal.rows, list(one.things)
        if not any(row.digests for row in ledger.journal.open_rows()):
            # All was recovered, and not all of it at once: what was found late may have been made first.
            there = {row.token for row in ledger.journal.open_rows()}
            things += [thing for thing in one.known if thing.token in there]
            rows[:] = [row for row in rows if row.token not in {thing.token for thing in things}]
        first = max((row.number for row in rows), default=0) + 1
        for row in rows_of(things, first):
            ledger.journal.add(row)
        ledger.journal.header["prefix"] = one.prefix
        ledger.journal.save()
    return ledger


def damaged_files(cloud: Cloud) -> list[Path]:
    """Ledgers of this account and Region that do not read as such."""
    damaged = []
    for path in journal.files(cloud.folder):
        _, _, account, region, _ = path.name.split(".")
        if (account, region) == (cloud.identity["account"], cloud.region):
            try:
                journal.read(path)
            except journal.Damaged:
                damaged.append(path)
    return damaged


def rebuild(cloud: Cloud, path: Path, candidates: list[Lost]) -> tuple[Path, Lost | None]:
    """Replace a damaged file by what stands of it: whose prefix its text shows, or its lab's only one."""
    lab, name, _, _, _ = path.name.split(".")
    text = path.read_text(errors="replace")
    of_lab = [one for one in candidates if one.lab == lab]
    shown = [one for one in of_lab if one.prefix in text]
    found = next(iter(shown or (of_lab if len(of_lab) == 1 else [])), None)
    prefix, things = (found.prefix, found.things) if found else (journal.fresh_prefix(lab), [])
    return journal.replace_damaged(path, header_of(cloud, lab, name), prefix, rows_of(things)), found


# -- The command line ---------------------------------------------------------------------------------------


def command_line() -> Any:
    """``python -m awslabs.ledger``."""
    import click

    from awslabs import cli

    group = cli.Group("ledger", help="See and clean up what all labs have built.")

    def where(options: dict[str, Any]) -> dict[str, Any]:
        return {key: options[key] for key in ("sandbox", "region", "profile")}

    @cli.plain_verb(group, "list")
    @cli.OWNER
    def _list(sandbox: bool, owner: str | None, **_: Any) -> list[dict[str, Any]]:
        """Show every ledger on this computer in which something stands. Asks AWS nothing."""
        whose, found = journal.chosen_owner(owner), standing(folders(sandbox))
        entries = [one for one in found if whose in (None, one.owner) or one.resources < 0]
        if not entries:
            cli.say("Nothing stands.")
        if len(entries) < len(found):
            cli.say(f"Of other owners than {whose}, {len(found) - len(entries)} ledgers are not shown.")
        for entry in entries:
            if entry.resources < 0:
                cli.say(f"damaged: {entry.path}    # mend it: python -m awslabs.ledger recover")
        usd = journal.total(entry.usd_per_hour for entry in entries if entry.cloud == "aws")
        if usd != 0:
            price = cli.per_hour(usd).capitalize().replace("usd", "USD")
            cli.say(f"{price} on AWS. Delete it all: python -m awslabs.ledger down --all")
        shown = [{key: value for key, value in vars(entry).items() if key != "path"} for entry in entries]
        return [{**entry, "hours": round(entry["hours"], 2)} for entry in shown]

    @cli.plain_verb(group, "show")
    @click.argument("lab")
    @click.option("--name", default="default", help="Name of the copy.")
    def _show(lab: str, name: str, sandbox: bool, **_: Any) -> list[dict[str, Any]]:
        """Show the rows of a LAB's ledger, those that are gone too. Asks AWS nothing."""
        paths = [path for folder in folders(sandbox) for path in folder.glob(f"{lab}.{name}.*.json")]
        if not paths:
            raise LabError(f"There is no ledger of {lab} ({name}).", "", "python -m awslabs.ledger list")
        return [
            {"row": row.number, "name": row.name, "state": row.state, "id": row.id, "needs": row.needs}
            | {"made": row.made, "ended": row.ended, "usd": row.usd}
            for path in paths
            for row in journal.read(path)[1]
        ]

    @cli.plain_verb(group, "down")
    @click.argument("labs", nargs=-1)
    @click.option("--all", "all_labs", is_flag=True, help="Every ledger on this computer.")
    @click.option("--dry-run", is_flag=True, help="Only say what would be deleted.")
    def _down(labs: tuple[str, ...], all_labs: bool, dry_run: bool, **options: Any) -> list[dict[str, Any]]:
        """Delete what the ledgers of these LABS hold (all copies, all Regions), with all results."""
        if bool(labs) == all_labs:
            raise click.UsageError("name the labs, or say --all")
        cloud = cli.open_cloud(**where(options))
        entries = [one for one in standing([cloud.folder]) if all_labs or one.lab in labs]
        if not entries:
            cli.say("Nothing stands.")
        if dry_run:
            for one in entries:
                if one.lab in WITH_RESULTS:
                    copy = "" if one.name == "default" else f" --name {one.name}"
                    place = " --sandbox" if one.cloud == "sandbox" else ""
                    cli.say(
                        f"{one.lab} ({one.name}, {one.region}): its results go too; to save them first: "
                        f"python -m awslabs.{one.lab} down{copy} --region {one.region}{place}"
                    )
            return [
                {"lab": one.lab, "name": one.name, "region": one.region, "row": row.name, "id": row.id}
                for one in entries
                for row in reversed(journal.read(one.path)[1])
                if row.open
            ]
        regions = Clouds(cloud, lambda region: cli.open_cloud(**{**where(options), "region": region}))
        results = down_all(regions, entries)
        failed = [f"{one.lab} ({one.name}): {error}" for one, error in results if error]
        if failed:
            raise StillStanding(
                f"{len(failed)} of {len(results)} ledgers still hold something.",
                "\n".join(failed),
                "python -m awslabs.ledger down --all    # tries again what is left",
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
        )
        if len(named) > len(mine):
            cli.say(
                f"{len(named) - len(mine)} are of {whose}, and built from another computer. If that was you: "
                f"{again(cloud, 'recover')} --owner {shlex.quote(whose)} --any-home"
            )
        if mine or refused:
            cli.show(report, options["as_json"])
        if mine:
            if refused:
                cli.say(str(not_proven(refused)))
            raise StillStanding(
                f"{len(mine)} things of yours stand in no ledger on this computer.",
                "They were built from here, so a ledger was lost.",
                again(cloud, "recover") + (f" --owner {shlex.quote(owner)}" if owner else ""),
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
        texts = [path.read_text(errors="replace") for path in damaged]
        seen = survey(cloud)
        for one in lost(cloud, seen.ours):
            is_named = one.prefix in named or one.lab in named or one.lab in labs
            is_mine = one.owner == whose and (any_home or one.home == home)
            if named and not is_named:
                continue
            if not (is_mine or all_owners or any(one.prefix in text for text in texts)):
                left["of other owners or computers"] += 1
                continue
            price = cli.per_hour(one.usd_per_hour)
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
        if not chosen and not damaged:
            if seen.refused:
                raise not_proven(seen.refused)
            cli.say("Nothing to recover.")
            return []
        if not yes:
            mends = f" and mend {len(damaged)} damaged" if damaged else ""
            click.confirm(f"Write {len(chosen)} ledgers back{mends}?", abort=True, err=True)
        mended = []
        for path in damaged:
            aside, found = rebuild(cloud, path, chosen)
            cli.say(f"{path.name} is mended; the damaged one is kept as {aside.name}.")
            lab, name, *_ = path.name.split(".")
            mended.append(Ledger(cloud, lab, name))
            chosen = [one for one in chosen if one is not found]
        ledgers = mended + [write_back(cloud, one) for one in chosen]
        written = [
            {"lab": one.lab, "name": one.journal.header["name"], "prefix": one.prefix}
            | {"resources": len(one.resources), "down": one.command("down")}
            for one in ledgers
        ]
        if seen.refused:
            cli.show(written, options["as_json"])
            raise not_proven(seen.refused)
        return written

    return group
