"""The certificate: what stood, when AWS last showed each thing of it, and that AWS shows none of it any more.

    issue(clouds, owner)     --> a document, or `StillStanding` with the reason why there is none
    write(document, path)    JSON, and beside it an HTML page to print
    check(text)              whether a document is as it was written

It is issued only where all of this holds, in every Region that was looked at:

    1  each ledger here reads, and each of its rows is closed, in an order of times that can be
    2  AWS lets every kind be listed, and shows nothing that carries a mark of ours, whole or in part
    3  AWS shows nothing under the identifier of any row, with a mark or without
    4  the ledgers did not change meanwhile, and this computer's clock is right

The first line says what was not looked at. The SHA-256 at its end shows that the document was changed by
accident. It is no signature: whoever can change the document can write another sum.
"""

from __future__ import annotations

import copy
import hashlib
import html
import json
import os
from collections import Counter
from collections.abc import Iterable
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

from awslabs import cost, inventory, journal, ledger_cli
from awslabs.cloud import Cloud
from awslabs.errors import LabError, LedgerError, StillStanding
from awslabs.journal import Row
from awslabs.kinds import KINDS, Found
from awslabs.ledger import Ledger
from awslabs.ledgers import files_of
from awslabs.progress import each

FORMAT = "awslabs certificate 1"
ALL = ""  # as an owner: everybody
SKEW_S = 300.0  # seconds by which this computer's clock may be off; AWS takes signatures that are no further
SUM = (
    "SHA-256 over all other fields as JSON in UTF-8, keys sorted, without spaces. It is not a signature: it "
    "shows changes by accident, and whoever can change this document can write another sum."
)
AT_ONCE = 8


def regions_of(cloud: Cloud) -> list[str]:
    """The Region in use, and all in which a ledger of this account lies here, of a class too."""
    account, names = cloud.identity["account"], [path.name.split(".") for path in files(cloud)]
    return [cloud.region, *sorted({name[3] for name in names if name[2] == account} - {cloud.region})]


def folders(cloud: Cloud) -> tuple[Path, Path]:
    """Where ledgers lie: this computer's own, and what was taken down after class."""
    return cloud.folder, cloud.folder / "class"


def files(cloud: Cloud) -> list[Path]:
    """The files of all of them."""
    return [path for folder in folders(cloud) for path in journal.files(folder)]


def enabled_regions(cloud: Cloud) -> list[str]:
    """The Regions that the account may use. AWS calls: ``ec2:DescribeRegions``."""
    return sorted(one["RegionName"] for one in cloud.client("ec2").describe_regions()["Regions"])


# -- To issue it --------------------------------------------------------------------------------------------


def issue(clouds: list[Cloud], owner: str) -> dict[str, Any]:
    """The certificate for one owner, or for `ALL`, of one account in some Regions.

    AWS calls: those of `inventory.survey` and `inventory.states` in each Region.

    Raises
    ------
    StillStanding
        While anything of ours stands, or is not proven to be gone.
    """
    first = clouds[0]
    account = first.identity["account"]  # whoever is refused here is told why
    doubts = clock_doubts(first)
    before = texts_of(first)
    looks = each(lambda cloud: _Look(cloud, owner), clouds, AT_ONCE)
    elsewhere = {cloud.region for cloud in clouds}
    for path in files(first):
        _, _, of, region, _ = path.name.split(".")
        if of == account and region not in elsewhere:
            doubts += open_elsewhere(path, owner)
    doubts += [doubt for one in looks for doubt in one.doubts]
    if texts_of(first) != before:
        doubts.append("A ledger was written while AWS was asked: a lab is at work.")
    if doubts:
        raise refused(first, doubts)
    return document(looks, owner)


def refused(cloud: Cloud, doubts: list[str]) -> StillStanding:
    """Why there is no certificate."""
    told = list(dict.fromkeys(doubts))
    more = [f"and {len(told) - 20} more"] if len(told) > 20 else []
    return StillStanding(
        "No certificate: something stands, or is not proven to be gone.",
        "\n       ".join([*told[:20], *more]),
        f"{cloud.place.of_ledgers('verify')}    # tells more; then `down`",
    )


def texts_of(cloud: Cloud) -> dict[Path, bytes | None]:
    """All ledgers as they lie there, to see whether one changes."""

    def content(path: Path) -> bytes | None:
        try:
            return path.read_bytes()
        except OSError:
            return None  # `_Look` says what is wrong with it

    return {path: content(path) for path in files(cloud)}


def clock_doubts(cloud: Cloud) -> list[str]:
    """Whether this computer's clock, as the rows have it, is AWS's. AWS calls: ``sts:GetCallerIdentity``."""
    answer = cloud.client("sts").get_caller_identity()
    told = answer["ResponseMetadata"]["HTTPHeaders"].get("date", "")
    try:
        off = (journal.as_datetime(journal.now()) - parsedate_to_datetime(told)).total_seconds()
    except (TypeError, ValueError):
        return ["AWS's answer tells no time, so nobody knows whether this computer's clock is right."]
    return [f"This computer's clock is {off:+.0f} s off."] if abs(off) > SKEW_S else []


def open_elsewhere(path: Path, owner: str) -> list[str]:
    """What may stand in a Region that is not looked at."""
    try:
        header, rows = journal.read(path)
    except LedgerError as error:
        return [error.what]
    if owner not in (ALL, header["owner"]) or not any(row.open for row in rows):
        return []
    return [f"{header['lab']} ({header['name']}) stands in {header['region']}, which was not looked at."]


class _Look:
    """One Region: its ledgers, what AWS shows, and what of it stands in the way of a certificate.

    Attributes
    ----------
    books : list of (dict, list of Row)
        Header and rows of each ledger that is certified.
    others : Counter
        Things of other owners that stand, by owner; they are none of this certificate's.
    doubts : list of str
        Why there can be none.
    """

    def __init__(self, cloud: Cloud, owner: str) -> None:
        self.cloud, self.owner, self.region = cloud, owner, cloud.region
        self.books: list[tuple[dict[str, Any], list[Row]]] = []
        self.others = Counter[str]()
        self.doubts: list[str] = []
        pairs = [pair for folder in folders(cloud) for pair in self._read(folder)]
        self.at = journal.now()
        try:
            self.seen = inventory.survey(cloud)
            self._judge_survey()
            self._judge_rows(pairs)
        except LabError as error:
            self.doubts.append(f"{self.region} was not looked at: {error.what}")

    def _read(self, folder: Path) -> list[tuple[Ledger, Row]]:
        """The rows of this Region's ledgers in a folder, where they can be as they are."""
        cloud = copy.copy(self.cloud)
        cloud.folder = folder
        pairs = []
        for path in files_of(cloud):
            lab, name, *_ = path.name.split(".")
            try:
                header, rows = journal.read(path)
                ledger = Ledger(cloud, lab, name)
            except LedgerError as error:
                self.doubts.append(error.what)
                continue
            if self.owner not in (ALL, header["owner"]):
                continue
            if header["cloud"] != ("aws" if cloud.is_aws else "sandbox"):
                self.doubts.append(f"{path.name} says that it is of another cloud ({header['cloud']}).")
            self.books.append((header, rows))
            for row in rows:
                if wrong := impossible(row):
                    self.doubts.append(f"{lab} ({name}): its {row.name} {row.id} {wrong}.")
                if row.state != "refused" and row.ids and row.call in KINDS:
                    pairs.append((ledger, row))
        return pairs

    def _judge_survey(self) -> None:
        """What AWS shows with a mark of ours, be it whole or in part, and what it does not let be listed."""
        for call, error in sorted(self.seen.refused.items()):
            self.doubts.append(f"{call} in {self.region}: not looked at: {error.code}.")
        prefixes = {header["prefix"] for header, _ in self.books}
        tokens = {row.token for _, rows in self.books for row in rows}
        for one in self.seen.ours:
            if not inventory.stands(self.cloud, one):
                continue
            known = one.ledger in prefixes or one.token in tokens
            if self.owner not in (ALL, one.owner) and one.owner != "?" and not known:
                self.others[one.owner] += 1
            else:
                self.doubts.append(f"{one.row[1]} {one.found.id} of {one.owner} stands in {self.region}.")
        marked = {(one.call, one.found.id) for one in self.seen.ours}
        for call, many in self.seen.listed.items():
            for found in many:
                if (call, found.id) not in marked and (trace := self._trace(found, prefixes, tokens)):
                    self.doubts.append(f"{found.id} stands, and {trace}.")

    def _trace(self, found: Found, prefixes: set[str], tokens: set[str]) -> str:
        """What tells that something is ours though its mark is not whole; empty where nothing does."""
        tags = {key: value for key, value in found.tags.items() if key.startswith("awslabs:")}
        if found.state in ("going", "ended"):
            return ""
        if tags.get("awslabs:ledger") in prefixes or tags.get("awslabs:token") in tokens:
            where = (
                f"a part of {self.cloud.region}'s mark"
                if found.region is None
                else f"a mark of {found.region}"
            )
            return f"carries {where}"
        if (
            tags
            and found.region not in (None, "", self.region)
            and self.owner in (ALL, tags.get("awslabs:owner"))
        ):
            return f"is of {found.region}"
        if any(prefix in value for prefix in prefixes for value in found.ids.values()):
            return "has a name of ours"
        return ""

    def _judge_rows(self, pairs: list[tuple[Ledger, Row]]) -> None:
        """What AWS shows under the identifiers of rows, whatever it carries."""
        states = inventory.states(self.cloud, self.seen, pairs)
        for (ledger, row), (on_aws, ids) in zip(pairs, states, strict=True):
            if on_aws != "absent":
                what = " ".join([row.name, *ids]).rstrip()
                self.doubts.append(f"{ledger.lab}: {what}, in {self.region}: {on_aws}.")


def impossible(row: Row) -> str:
    """What of a row cannot be so, or is not closed; empty where all can."""
    if row.call not in KINDS:
        return f"is of a kind that this version does not know ({row.call})"
    if row.open:
        return f"is {row.state}"
    if not row.ended:
        return "is closed, but at no time"
    if row.state == "refused" and row.made:
        return "was never made, and was made"
    if row.state == "gone" and row.made and not row.ids:
        return "was made, and has no identifier"
    shown = row.telling.get("shown", "")
    times = [time for time in (row.begun, row.made, row.ended, journal.now()) if time]
    if times != sorted(times):
        return f"has times that cannot be: {', '.join(times)}"
    if shown and not (row.begun <= shown <= row.ended):
        return f"was last shown at {shown}, which cannot be"
    if not journal.TOKEN.fullmatch(row.token):
        return "carries no mark that a ledger gives"
    return ""


# -- What it says -------------------------------------------------------------------------------------------


def document(looks: list[_Look], owner: str) -> dict[str, Any]:
    """The certificate as JSON has it: texts, numbers of rows, lists and objects. US dollars are texts."""
    cloud = looks[0].cloud
    known = set(cloud.session.get_available_regions("ec2"))
    account = cloud.identity["account"]
    looked = [one.region for one in looks]
    missed = sorted(known - set(looked))
    accounts = sorted({path.name.split(".")[2] for path in files(cloud)} - {account})
    ledgers = [_ledger(header, rows) for one in looks for header, rows in one.books]
    totals = [cost.total(header, rows) for one in looks for header, rows in one.books]
    others = sum((one.others for one in looks), Counter[str]())
    unlooked = f"{len(missed)} Regions ({', '.join(missed)})" if missed else "no Region"
    unlooked += f", and {len(accounts)} other accounts with ledgers here" if accounts else ""
    shower = "AWS" if cloud.is_aws else "the practice cloud"
    whose = "anybody" if owner == ALL else owner
    content = {
        "statement": (
            f"Not looked at: {unlooked}; of kinds: none. In account {account}, {', '.join(looked)}, {shower} "
            f"shows nothing that awslabs has built for {whose}."
        ),
        "format": FORMAT,
        "issued": journal.now(),
        "cloud": "aws" if cloud.is_aws else "sandbox",
        "account": account,
        "owner": owner or "all owners",
        "looked_at": [{"region": one.region, "at": one.at, "kinds": sorted(KINDS)} for one in looks],
        "not_looked_at": {"regions": missed, "accounts": accounts, "kinds": []},
        "ledgers": ledgers,
        "usd": dollars(journal.total(totals)),
        "others_stand": dict(sorted(others.items())),
        "sum": SUM,
    }
    return {**content, "sha256": digest(content)}


def _ledger(header: dict[str, Any], rows: list[Row]) -> dict[str, Any]:
    told = {key: header[key] for key in ("lab", "name", "owner", "region", "begun")}
    return {
        **told,
        "ledger": header["prefix"],
        "usd": dollars(cost.total(header, rows)),
        "usd_of_earlier_lives": dollars(header["usd_before"]),
        "rows": [
            {
                "number": row.number,
                "name": row.name,
                "call": row.call,
                "id": row.id,
                "begun": row.begun,
                "made": row.made,
                "last_shown": row.telling.get("shown", ""),
                "gone": row.ended,
                "usd": dollars(row.usd),
            }
            for row in rows
            if row.state == "gone"
        ],
    }


def dollars(usd: float | None) -> str:
    """An amount as text, which every program writes alike: ``?`` where it is not known."""
    return "?" if usd is None else f"{usd:.6f}"


def canonical(content: dict[str, Any]) -> bytes:
    """The bytes over which the sum goes: `sum` in the document says how they come about."""
    return json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def digest(content: dict[str, Any]) -> str:
    """SHA-256 of a document without its sum."""
    return hashlib.sha256(canonical({key: content[key] for key in content if key != "sha256"})).hexdigest()


def check(text: str) -> dict[str, Any]:
    """A certificate out of its file.

    Raises
    ------
    LabError
        When it is none, or not as it was written.
    """
    try:
        content = json.loads(text)
        fits = content["format"] == FORMAT and content["sha256"] == digest(content)
    except (KeyError, TypeError, ValueError, RecursionError, UnicodeEncodeError) as error:
        raise LabError("This is no certificate of awslabs.", f"{type(error).__name__}: {error}") from error
    if not fits or text != as_text(content):
        raise LabError(
            "This certificate is not as it was written.",
            "Its SHA-256 is that of another text.",
            "ask for it again where it was issued",
        )
    return dict(content)


# -- Files --------------------------------------------------------------------------------------------------


def as_text(content: dict[str, Any]) -> str:
    """The JSON file."""
    return json.dumps(content, indent=1, ensure_ascii=False) + "\n"


def paths_of(path: Path) -> tuple[Path, Path]:
    """The JSON file and the page, whichever of the two is named."""
    stem = path.with_suffix("") if path.suffix in (".json", ".html") else path
    return stem.with_name(f"{stem.name}.json"), stem.with_name(f"{stem.name}.html")


def write(content: dict[str, Any], path: Path) -> tuple[Path, Path]:
    """Write both files, or none.

    Raises
    ------
    LabError
        When the disk does not take them.
    """
    sheet, page = paths_of(path)
    try:
        journal.write(sheet, as_text(content))
        try:
            journal.write(page, as_page(content))
        except OSError:
            sheet.unlink(missing_ok=True)
            raise
    except OSError as error:
        raise LabError(
            f"The certificate could not be written to {path}.",
            f"{error.strerror or error}.",
            "make room, or name another file with -o",
        ) from error
    return sheet, page


STYLE = """body { font: 10pt/1.4 sans-serif; max-width: 60em; margin: 2em auto; padding: 0 1em }
h1 { font-size: 1.4em } h2 { font-size: 1.1em; margin: 1.2em 0 .2em; break-after: avoid }
.statement { font-weight: bold } table { border-collapse: collapse; width: 100% }
th, td { text-align: left; padding: .2em .5em; border-bottom: 1px solid #bbb; overflow-wrap: break-word }
td:nth-child(2) { overflow-wrap: anywhere } td:first-child, td:last-child { min-width: 4.5em }
.sum { font-family: monospace; overflow-wrap: anywhere }
@media print { body { margin: 0 } tr { break-inside: avoid } }"""


def as_page(content: dict[str, Any]) -> str:
    """One page to print. What comes from ledgers stays text."""

    def cells(tag: str, values: Iterable[Any]) -> str:
        return "<tr>" + "".join(f"<{tag}>{html.escape(str(value))}</{tag}>" for value in values) + "</tr>"

    heads = {"name": "thing", "id": "identifier", "made": "made"}
    heads |= {"last_shown": "last shown", "gone": "gone", "usd": "USD"}
    unsaid = {"last_shown": "not asked"}
    parts = []
    for one in content["ledgers"]:
        rows = [cells("td", [row[key] or unsaid.get(key, "") for key in heads]) for row in one["rows"]]
        title = f"{one['lab']} of {one['owner']}, {one['region']}: {one['usd']} USD"
        parts.append(
            f"<h2>{html.escape(title)}</h2>\n<table>{cells('th', heads.values())}\n"
            + "\n".join(rows)
            + "</table>"
        )
    looked = ", ".join(f"{one['region']} at {one['at']}" for one in content["looked_at"])
    others = ", ".join(f"{owner}: {many}" for owner, many in content["others_stand"].items()) or "none"
    facts = {
        "issued": content["issued"],
        "account": f"{content['account']} ({content['cloud']})",
        "owner": content["owner"],
        "looked at": f"{looked}; {len(KINDS)} kinds in each: {', '.join(sorted(KINDS))}",
        "cost in all": f"{content['usd']} USD, an estimate",
        "things of other owners that stand": others,
    }
    table = "\n".join(cells("td", pair) for pair in facts.items())
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><title>Certificate</title>\n'
        f"<style>{STYLE}</style></head>\n<body>\n"
        f'<p class="statement">{html.escape(content["statement"])}</p>\n'
        "<h1>Certificate: nothing is left</h1>\n"
        f"<table>{table}</table>\n"
        + "\n".join(parts)
        + f'\n<p>{html.escape(content["sum"])}</p>\n<p class="sum">{content["sha256"]}</p>\n</body></html>\n'
    )


# -- The command line ---------------------------------------------------------------------------------------


def command_line() -> Any:
    """``python -m awslabs.ledger``: the verbs of `ledger_cli`, and this one."""
    import click

    from awslabs import cli

    group = ledger_cli.command_line()

    @cli.plain_verb(group, "certificate")
    @click.option("--all-owners", is_flag=True, help="For everybody who has used this account.")
    @cli.OWNER
    @click.option(
        "--regions", metavar="A,B", default="", help="Where to look; all: in each that the account may use."
    )
    @click.option("-o", "--output", type=click.Path(path_type=Path), help="Write FILE.json and FILE.html.")
    @click.option(
        "--check",
        "checked",
        type=click.Path(path_type=Path),
        help="Only say whether this one is as it was written.",
    )
    def _certificate(
        all_owners: bool,
        owner: str | None,
        regions: str,
        output: Path | None,
        checked: Path | None,
        **options: Any,
    ) -> dict[str, Any]:
        """Certify what stood, and that AWS shows none of it any more; no file, and exit 3, while it does."""
        if checked:
            try:
                text = checked.read_text(encoding="utf-8")
            except (OSError, ValueError) as error:
                raise LabError(f"{checked} could not be read.", str(error)) from error
            content = check(text)
            return {key: content[key] for key in ("statement", "issued", "account", "owner", "sha256")}
        if all_owners and owner:
            raise click.UsageError("--all-owners or --owner, not both.")
        for path in paths_of(output) if output else ():
            if os.path.lexists(path):
                raise click.UsageError(f"{path} is there already; a certificate is never written over.")
        whose = journal.chosen_owner(owner)
        here = {key: options[key] for key in ("sandbox", "region", "profile")}
        everywhere = regions.strip() == "all"
        names = [] if everywhere else cli.regions_in(regions)
        cloud = cli.open_cloud(**here)
        names = enabled_regions(cloud) if everywhere else names or regions_of(cloud)
        clouds = [cli.open_cloud(**{**here, "region": name}) for name in names]
        content = issue(clouds, ALL if all_owners else whose or cloud.identity["owner"])
        if output is None:
            brief = ("statement", "issued", "account", "owner", "usd", "sha256")
            return content if options["as_json"] else {key: content[key] for key in brief}
        written = write(content, output)
        cli.say(content["statement"])
        return {"json": written[0], "html": written[1], "sha256": content["sha256"]}

    return group
