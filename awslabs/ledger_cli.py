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

import functools
import os
import shlex
import sys
from collections import Counter
from dataclasses import fields
from pathlib import Path
from typing import Any

from awslabs import cost, journal, ledgers, prices, screen
from awslabs.cloud import Cloud
from awslabs.errors import LabError, LedgerError, StillStanding
from awslabs.explain import Place
from awslabs.inventory import NOT_OURS, STRAY, UNSEEN, merged, not_proven, survey, verify
from awslabs.ledger import Ledger
from awslabs.recovery import lost, rebuild, write_back

YOUNG_S = 3600.0  # seconds in which a ledger may still be at work on another computer
WITH_RESULTS = ("gpu", "ecs_qa", "batch_sweep")  # labs whose own `down` saves what came of their work


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
        whose, found = journal.chosen_owner(owner), ledgers.standing(ledgers.folders(sandbox))
        entries = [one for one in found if whose in (None, one.owner) or one.resources < 0]
        if not entries:
            cli.say("Nothing stands.")
        if len(entries) < len(found):
            cli.say(f"Of other owners than {whose}, {len(found) - len(entries)} ledgers are not shown.")
        for entry in entries:
            if isinstance(entry.unread, journal.Damaged):
                there = Place.asked(entry.region, profile, entry.cloud == "sandbox")
                cli.say(f"damaged: {entry.path}")
                cli.say(f"mend it: {there.of_ledgers('recover')}")
            elif entry.unread:
                cli.say(f"not readable: {entry.unread}")
        for region in sorted({entry.region for entry in entries if prices.note(entry.region)}):
            cli.say(f"Prices in {region}: {prices.note(region).strip(' ()')}.")
        usd = journal.total(entry.usd_per_hour for entry in entries if entry.cloud == "aws")
        if usd != 0:
            price = cli.per_hour(usd, *{entry.region for entry in entries if entry.cloud == "aws"})
            down = Place.asked(None, profile, sandbox=False).of_ledgers("down --all")
            cli.say(f"{price[0].upper()}{price[1:]} on AWS. Delete it all: {down}")
        shown = [{**vars(entry), "hours": round(entry.hours, 2)} for entry in entries]
        return [{key: one[key] for key in one if key not in ("path", "unread")} for one in shown]

    @cli.plain_verb(group, "cost")
    @click.option("--by", type=click.Choice(["lab", "owner"]), help="Only a sum for each.")
    @click.option("--csv", "as_csv", is_flag=True, help="Print it for a spreadsheet.")
    def _cost(by: str | None, as_csv: bool, as_json: bool, **options: Any) -> list[dict[str, Any]] | None:
        """Show what was spent until now, to the minute; what is gone, too."""
        if as_csv and as_json:
            raise click.UsageError("--csv or --json, not both.")
        paths = [path for folder in ledgers.folders(options["sandbox"]) for path in journal.files(folder)]

        def cloud_of(region: str, sandbox: bool) -> Cloud:
            practised = sandbox and not os.environ.get("AWS_ENDPOINT_URL")
            return cli.open_cloud(sandbox=practised, region=region, profile=options["profile"])

        for why in ledgers.read_meters(paths, cloud_of):
            cli.say(f"AWS was not asked about {why.rstrip('.')}. Shown is what the ledger knows.")
        found = ledgers.spent(paths)
        for region in sorted({one.region for one in found}):
            used = any(one.at_most for one in found if one.region == region)
            if note := prices.note(region, used=used).strip(" ()"):
                cli.say(f"Prices in {region}: {note}.")
        if options["sandbox"]:
            usd = journal.total(one.usd for one in found)
            words = "The practice cloud is free. On AWS it would be"
        else:
            usd, words = journal.total(one.usd for one in found if one.cloud == "aws"), "On AWS"
        cli.say(f"{words} {'?' if usd is None else f'{usd:.4f}'} USD until now; prices of {prices.AS_OF}.")
        if any(one.at_most for one in found):
            cli.say(f"Not counted: {cost.NOT_COUNTED}.")
        shown = ledgers.summed(found, by) if by else [dict(vars(one)) for one in found]
        if not as_csv:
            return shown
        heads = [by, "cloud", "usd"] if by else [field.name for field in fields(ledgers.Spent)]
        cli.out(screen.sheet(shown, heads))
        return None

    @cli.plain_verb(group, "show")
    @click.argument("lab")
    @click.option("--name", default="default", help="Name of the copy.")
    def _show(lab: str, name: str, sandbox: bool, as_json: bool, **_: Any) -> list[dict[str, Any]]:
        """Show the rows of a LAB's ledger, those that are gone too. Asks AWS nothing."""
        rows, failures = ledgers.rows_in(files_of(lab, name, sandbox))
        shown = [
            {"row": row.number, "name": row.name, "state": row.state, "id": row.id, "needs": row.needs}
            | {"made": row.made, "ended": row.ended, "usd": row.usd}
            for those in rows.values()
            for row in those
        ]
        return unless_failed(shown, [*failures.values()], as_json)

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
            return None
        plain, room = not cli.takes_unicode(sys.stdout), screen.room_of(sys.stdout)
        if lines := graph.tree(rows, plain=plain, room=room):
            cli.out("\n".join(lines))
        else:
            cli.say("Nothing stands.")
        return None

    def files_of(lab: str, name: str, sandbox: bool) -> list[Path]:
        """The files of all ledgers of this lab and name."""
        listed = [path for folder in ledgers.folders(sandbox) for path in journal.files(folder)]
        paths = [path for path in listed if path.name.split(".")[:2] == [lab, name]]
        if not paths:
            raise LabError(f"There is no ledger of {lab} ({name}).", "", "python -m awslabs.ledger list")
        return paths

    def the_one(lab: str, name: str, sandbox: bool) -> Path:
        """The file of the one ledger of this lab and name, be it on AWS or in the practice cloud."""
        paths = files_of(lab, name, sandbox)
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
        entries = [one for one in ledgers.standing([cloud.folder]) if all_labs or one.lab in labs]
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
            rows, failures = ledgers.rows_in([one.path for one in entries])
            would = [
                {"lab": lab, "name": name, "region": region, "row": row.name, "id": row.id}
                for path, those in rows.items()
                for lab, name, _, region, _ in [path.name.split(".")]
                for row in reversed(those)
                if row.open
            ]
            return unless_failed(would, [*failures.values()], options["as_json"])

        @functools.cache
        def in_region(region: str) -> Cloud:
            return cloud if region == cloud.region else cli.open_cloud(**{**where(options), "region": region})

        results = ledgers.down_all(in_region, entries)
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
        damaged, chosen = ledgers.damaged_files(cloud), []
        left = Counter[str]()
        labs = {path.name.partition(".")[0] for path in damaged}
        texts = [journal.remains(path).text for path in damaged]
        newer = {path: error for path, error in ledgers.unread(cloud).items() if path not in damaged}
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
        chosen = merged(chosen, lambda one: one.prefix)
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
        written = []
        for path in damaged:
            lab, name, *_ = path.name.split(".")
            try:
                aside, found = rebuild(cloud, path, chosen)
                cli.say(f"{path.name} is mended; the damaged one is kept as {aside.name}.")
                chosen = [one for one in chosen if one is not found]
                written.append(Ledger(cloud, lab, name))
            except LabError as error:
                failures.append(error)
                chosen = [one for one in chosen if one.lab != lab]  # perhaps its own: not twice
        for one in chosen:
            try:
                written.append(write_back(cloud, one))
            except LabError as error:
                failures.append(error)
        shown = [
            {"lab": one.lab, "name": one.journal.header["name"], "prefix": one.prefix}
            | {"resources": len(one.resources), "down": one.command("down")}
            for one in written
        ]
        return unless_failed(shown, failures, options["as_json"])

    return group
