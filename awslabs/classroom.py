"""A class: who has what, what it costs, and its end, for a teacher with one account or one for each student.

awslabs class prepare --students 30   what the account must let a class have, and how to ask for more
awslabs class policy ec2              the IAM policies that a student needs for that lab
awslabs class list                    everybody's labs in all accounts and Regions of class.csv
awslabs class down                    delete them; --owner ana only hers, --dry-run only says what

`class.csv` has a line for each student:

    name,owner,profile,role_arn,region
    Ana,ana,,,us-east-1                                          shares the account of whoever runs this
    Ben,ben,student-ben,,us-east-1 eu-west-1                     an own account, by a profile of ~/.aws
    Cleo,,,arn:aws:iam::333344445555:role/Teacher,us-east-1      an own account, by a role that lets one in

AWS is asked, not this computer: what a lab builds carries its owner in a tag. `owner` is what the student
says with --owner or AWSLABS_OWNER, or else the IAM name; where an account is the student's own it may be
empty, and then all labs in it are meant. What carries another owner is not touched, nor what was built from
the teacher's computer: two classes may share an account.

`down` works as `python -m awslabs.ledger down` does, from rows that it writes of what AWS shows. They stand
in a folder of their own, `class` beside the teacher's ledgers, and stay there: of them a certificate is made.
"""

from __future__ import annotations

import copy
import csv
import fnmatch
import importlib
import io
import json
import re
import shlex
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from awslabs import inventory, journal, ledgers, prices, recovery, screen
from awslabs.cloud import Cloud
from awslabs.errors import LabError, LedgerError, StillStanding
from awslabs.explain import Place, boto3_errors, explain
from awslabs.inventory import Ours, Standing
from awslabs.kinds import KINDS
from awslabs.labs import LABS
from awslabs.ledger import Ledger
from awslabs.progress import each

COLUMNS = ["name", "owner", "profile", "role_arn", "region"]
ROLE_ARN = re.compile(r"arn:aws[a-z-]*:iam::[0-9]{12}:role/[\w+=,.@/-]+")
AT_ONCE = 24  # accounts that are looked at at the same time
PASSES = 3  # a student may be building meanwhile
# Of an account AWS takes one such deletion per 30 s.
RARE = {call for call, kind in KINDS.items() if kind.rate}
UNSEEN = "not looked at"


# -- class.csv ----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Student:
    """A line of class.csv; `line` is its number in the file."""

    line: int
    name: str
    owner: str
    profile: str
    role_arn: str
    regions: tuple[str, ...]

    @property
    def shares(self) -> bool:
        """Whether the account is that of whoever runs the command."""
        return not self.profile and not self.role_arn


class BadLine(ValueError):
    """A line of class.csv that cannot be meant so."""

    def __init__(self, line: int, why: str) -> None:
        super().__init__(f"line {line}: {why}")


def students(text: str) -> list[Student]:
    """The students of a class.csv.

    Raises
    ------
    BadLine
        At the first line with a fault.
    """
    lines = csv.reader(io.StringIO(text.removeprefix("\ufeff"), newline=""), strict=True)
    found: list[Student] = []
    try:
        head = [name.strip().lower() for name in next(lines, [])]
        if sorted(head) != sorted(COLUMNS):
            raise BadLine(1, f"the columns are {','.join(COLUMNS)}, not {','.join(head) or 'missing'}")
        for cells in lines:
            if any(cell.strip() for cell in cells):
                found.append(_student(lines.line_num, head, [cell.strip() for cell in cells]))
                _refuse_twice(found)
    except csv.Error as error:
        raise BadLine(lines.line_num, f"is no line of a CSV file ({error})") from error
    if not found:
        raise BadLine(2, "there is no student")
    return found


def _student(line: int, head: list[str], cells: list[str]) -> Student:
    if len(cells) != len(head):
        raise BadLine(line, f"has {len(cells)} cells instead of {len(head)}")
    told = dict(zip(head, cells, strict=True))
    for name, cell in told.items():
        if not journal.is_text(cell):
            raise BadLine(line, f"{name} holds a character that no terminal shows")
    regions = tuple(dict.fromkeys(told.pop("region").replace(";", " ").split()))
    one = Student(line, regions=regions, **told)
    if not one.name:
        raise BadLine(line, "has no name")
    if one.profile and one.role_arn:
        raise BadLine(line, "has both a profile and a role_arn; one of them says where the account is")
    if one.role_arn and not ROLE_ARN.fullmatch(one.role_arn):
        raise BadLine(
            line, f"{one.role_arn} is no ARN of a role, such as arn:aws:iam::333344445555:role/Teacher"
        )
    if one.owner != journal.fit_owner(one.owner):
        raise BadLine(line, f"{one.owner} cannot be an owner: no tag on AWS takes it")
    if one.shares and not one.owner:
        raise BadLine(line, "has neither an owner nor an account: in a shared account nothing else tells")
    for region in regions:
        if not journal.REGION.fullmatch(region):
            raise BadLine(line, f"{region} is no Region, such as us-east-1")
    return one


def _refuse_twice(found: list[Student]) -> None:
    *others, last = found
    for other in others:
        if other.name == last.name:
            raise BadLine(last.line, f"has the name of line {other.line}")
        same = (other.profile, other.role_arn) == (last.profile, last.role_arn)
        if same and (other.owner == last.owner or not (other.owner and last.owner)):
            raise BadLine(last.line, f"means the same labs as line {other.line}")


# -- Looking ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Room:
    """One account in one Region, and whose labs in it are the class's.

    Attributes
    ----------
    cloud : Cloud
        Credentials of it.
    owners : dict
        The student by owner; under an empty owner the one to whom the whole account belongs.
    """

    cloud: Cloud
    owners: dict[str, Student]

    @property
    def account(self) -> str:
        return self.cloud.identity["account"]

    def student(self, owner: str) -> str | None:
        """Whose labs those of an owner are; None: of nobody in the class."""
        found = self.owners.get(owner, self.owners.get(""))
        return found.name if found else None


@dataclass(frozen=True)
class Unseen:
    """What could not be looked at: whether anything stands there, nobody knows."""

    student: str
    owner: str
    region: str
    what: str
    error: LabError


@dataclass
class Lab(Standing):
    """What stands on AWS of one ledger of one owner, built from one computer.

    Attributes
    ----------
    student : str or None
        Whose it is; None for who is not in class.csv.
    mine : bool
        Built from this very computer: the teacher's own, which `python -m awslabs.ledger` takes down.
    """

    room: Room
    prefix: str
    owner: str
    home: str
    student: str | None
    mine: bool
    things: list[Ours] = field(default_factory=list)

    @property
    def usd_so_far(self) -> float | None:
        """What those that stand have cost until now; what is gone and what is paid by use is not in it."""
        return journal.total(
            None if one.usd_per_hour is None else one.usd_per_hour * journal.seconds_since(one.begun) / 3600
            for one in self.things
        )

    @property
    def state(self) -> str:
        """``stands``, ``going``, or ``half built`` with the first row without which one cannot work."""
        if all(one.found.state == "going" for one in self.things):
            return "going"
        names = {one.row[1] for one in self.things}
        lacks = [part for part in parts_of(self.lab) if not fnmatch.filter(names, part)]
        return f"half built: no {lacks[0].removesuffix('-*')}" if lacks else "stands"

    @property
    def waits(self) -> str:
        """What has not begun yet and will cost when it does: ``2 job``."""
        count = Counter(one.row[1] for one in self.things if one.found.state == "coming")
        return ", ".join(f"{many} {name}" for name, many in sorted(count.items()))

    def shown(self) -> dict[str, Any]:
        """A row of `list`."""
        return {
            "student": self.student,
            "owner": self.owner,
            "lab": self.lab,
            "account": self.room.account,
            "region": self.room.cloud.region,
            "state": self.state,
            "hours": round(self.hours, 2),
            "resources": len(self.things),
            "usd_per_hour": self.usd_per_hour,
            "usd_so_far": self.usd_so_far,
            "waits": self.waits,
            "ledger": self.prefix,
        }


def parts_of(lab: str) -> tuple[str, ...]:
    """The rows without which a lab is none to work with, as its page says."""
    parts: tuple[str, ...] = importlib.import_module(f"awslabs.{lab}").PARTS
    return parts


@dataclass
class Look:
    """What AWS shows of a class: its labs, those of others, and what could not be looked at."""

    labs: list[Lab] = field(default_factory=list)
    others: list[Lab] = field(default_factory=list)
    unseen: list[Unseen] = field(default_factory=list)

    def of(self, owner: str | None) -> Look:
        """The same for one owner alone."""
        if owner is None:
            return self
        return Look(
            [lab for lab in self.labs if lab.owner == owner],
            self.others,
            [one for one in self.unseen if one.owner in ("", owner)],
        )


def rooms(
    found: Iterable[Student], teacher: Cloud, opened: Callable[[str, str], Cloud], regions: list[str]
) -> tuple[list[Room], list[Unseen]]:
    """The accounts and Regions of a class, each once, and those of which the credentials are refused.

    Parameters
    ----------
    opened : callable
        Profile, Region -> Cloud; an empty profile is the teacher's.
    regions : list of str
        Those that are looked at besides the students' own; a student without any has the teacher's.

    Raises
    ------
    LedgerError
        Where an account is said to be one student's own, and another line leads into it, too.
    """
    asked = [
        (one, region)
        for one in found
        for region in dict.fromkeys([*(one.regions or (teacher.region,)), *regions])
    ]
    shared = {region: opened("", region) for one, region in asked if one.shares}

    def enter(one: Student, region: str) -> Cloud | Unseen:
        try:
            if one.shares:
                cloud = shared[region]
            elif one.role_arn:
                cloud = teacher.as_role(one.role_arn, region)
            else:
                cloud = opened(one.profile, region)
            _ = cloud.identity
            return cloud
        except LabError as error:
            return Unseen(one.name, one.owner, region, UNSEEN, error)

    entered = each(lambda pair: enter(*pair), asked, AT_ONCE)
    by_place: dict[tuple[str, str], Room] = {}
    unseen, lines = list[Unseen](), dict[tuple[str, str], dict[str, Student]]()
    for (one, _), cloud in zip(asked, entered, strict=True):
        if isinstance(cloud, Unseen):
            unseen.append(cloud)
            continue
        place = cloud.identity["account"], cloud.region
        room = by_place.setdefault(place, Room(cloud, {}))
        there = lines.setdefault(place, {})
        for owner, other in there.items():
            if other != one and (owner == one.owner or "" in (owner, one.owner)):
                raise LedgerError(
                    f"Lines {other.line} and {one.line} of the class mean the same labs: both lead into "
                    f"account {place[0]}.",
                    "Without an owner in its line, an account is one student's own; an owner is one student.",
                    "give each of the two lines an owner of its own",
                )
        there[one.owner] = one
        room.owners[one.owner] = one
    return list(by_place.values()), unseen


def look(class_rooms: list[Room], unseen: list[Unseen]) -> Look:
    """What AWS shows in all of them. AWS calls: those of `inventory.survey` in each."""
    seen, home = Look(unseen=list(unseen)), journal.home_id()

    def one(room: Room) -> tuple[list[Ours], dict[str, LabError]]:
        try:
            survey = inventory.survey(room.cloud)
            there = [one for one in survey.ours if inventory.stands(room.cloud, one)]
            return there, {f"{UNSEEN}: {call}": error for call, error in survey.refused.items()}
        except LabError as error:
            return [], {UNSEEN: error}
        except boto3_errors() as error:
            return [], {UNSEEN: explain(error, "looking for what stands", room.cloud.place)}

    shown = each(one, class_rooms, AT_ONCE)
    for room, (ours, refused) in zip(class_rooms, shown, strict=True):
        names = ", ".join(one.name for one in room.owners.values())
        owner = "" if len(room.owners) > 1 else next(iter(room.owners))
        seen.unseen += [
            Unseen(names, owner, room.cloud.region, what, error) for what, error in sorted(refused.items())
        ]
        for lab in labs_in(room, ours, home):
            (seen.others if lab.student is None or lab.mine else seen.labs).append(lab)
    # As class.csv has them: of its texts "Student 10" would come before "Student 2".
    lines = {one.name: one.line for room in class_rooms for one in room.owners.values()}
    seen.labs.sort(key=lambda lab: (lines[lab.student or ""], lab.lab, lab.prefix))
    return seen


def labs_in(room: Room, ours: list[Ours], home: str) -> list[Lab]:
    """All labs in a room, each with what stands of it."""
    found: dict[tuple[str, str, str], Lab] = {}
    for one in ours:
        lab = Lab(room, one.ledger, one.owner, one.home, room.student(one.owner), one.home == home)
        found.setdefault((one.ledger, one.owner, one.home), lab).things.append(one)
    return list(found.values())


def not_looked_at(unseen: list[Unseen]) -> list[dict[str, Any]]:
    """The rows of `list` for what could not be looked at."""
    return [
        {"student": one.student, "owner": one.owner, "lab": "?", "account": "?", "region": one.region}
        | {"state": one.what, "hours": None, "resources": None, "usd_per_hour": None, "usd_so_far": None}
        | {"waits": "", "ledger": "?"}
        for one in unseen
    ]


# -- Down ---------------------------------------------------------------------------------------------------


def folder_of(cloud: Cloud) -> Path:
    """Where the rows of what was taken down after class stand, beside the ledgers of this computer."""
    return cloud.folder / "class"


def record(lab: Lab) -> Ledger:
    """A ledger of what AWS shows, in the class's own folder, so that it can go down as any other does.

    What hung on what is not known, so the rows go one by one, in falling number.
    """
    cloud = copy.copy(lab.room.cloud)
    cloud.folder = folder_of(cloud)
    ledger = Ledger(cloud, lab.lab, lab.prefix[-6:], lab.owner.strip("?"))
    with ledger.locked("recover"):
        book = ledger.journal
        book.rows = recovery.rows_of(lab.things, book.rows)
        begun = min(row.begun for row in book.rows)
        book.header |= {"prefix": lab.prefix, "owner": lab.owner, "begun": begun}
        book.save()
    return ledger


def take_down(labs: list[Lab]) -> list[tuple[Lab, LabError]]:
    """Delete labs, many at once, as `ledger down --all` does; what went wrong."""
    whole = inventory.merged(labs, lambda lab: (id(lab.room), lab.prefix))
    errors = ledgers.take_down(whole, record)
    return [(lab, error) for lab, error in zip(whole, errors, strict=True) if error]


def close_records(class_rooms: list[Room]) -> list[LabError]:
    """Close rows that an earlier `down` left open, where AWS shows nothing more; else say what stands."""
    failures = []
    for room in class_rooms:
        cloud = copy.copy(room.cloud)
        cloud.folder = folder_of(cloud)
        for ledger in ledgers.ledgers_of(cloud):
            if ledger.journal.open_rows() and room.student(ledger.journal.header["owner"]) is not None:
                try:
                    ledger.down()
                except LabError as error:
                    failures.append(error)
    return failures


# -- The command line ---------------------------------------------------------------------------------------


def command_line() -> Any:
    """``awslabs class``, ``python -m awslabs.classroom``."""
    import click

    from awslabs import cli

    group = cli.Group("class", help="See what a class has built, and end it.")

    of_class = cli.with_options(
        click.option(
            "--class",
            "roster",
            type=click.Path(path_type=Path),
            default=Path("class.csv"),
            help="The students; default: class.csv.",
        ),
        click.option("--regions", metavar="A,B", default="", help="Look in these Regions, too."),
        click.option("--owner", metavar="OWNER", help="Only this student's."),
    )

    def read(roster: Path, sandbox: bool) -> list[Student]:
        try:
            found = students(roster.read_text(encoding="utf-8"))
            for one in found:
                if sandbox and one.profile:
                    raise BadLine(one.line, "the practice cloud knows no profiles; give a role_arn")
        except OSError as error:
            raise click.UsageError(
                f"{roster}: {error.strerror}. Name the students with --class FILE."
            ) from error
        except ValueError as error:
            raise click.UsageError(f"{roster}, {error}") from error
        return found

    def enter(found: list[Student], names: list[str], **where: Any) -> tuple[list[Room], list[Unseen]]:
        def opened(of: str, there: str) -> Cloud:
            return cli.open_cloud(**{**where, "region": there, "profile": of or where["profile"]})

        return rooms(found, opened("", where["region"]), opened, names)

    def again(verb: str, roster: Path, regions: str, **where: Any) -> str:
        """The command line that runs a verb of this class in the same place."""
        told = f" --class {shlex.quote(str(roster))}" if roster != Path("class.csv") else ""
        told += f" --regions {shlex.quote(regions)}" if regions else ""
        return f"python -m awslabs.classroom {verb}{told}{Place.asked(**where).options}"

    def say_others(seen: Look) -> None:
        if own := [lab for lab in seen.others if lab.mine]:
            cli.say(
                f"Built from this computer, and left alone: {len(own)}. See: python -m awslabs.ledger list"
            )
        if others := Counter(lab.owner for lab in seen.others if not lab.mine):
            names = ", ".join(f"{owner} ({many})" for owner, many in sorted(others.items()))
            cli.say(f"Of owners who are not in the class, and left alone: {names}.")

    def unproven(seen: Look, what: str, fix: str) -> StillStanding:
        whys = [f"{one.student}, {one.region}: {one.what}. {one.error.what}" for one in seen.unseen]
        return StillStanding(what, "\n       ".join(whys), fix)

    @cli.plain_verb(group, "prepare")
    @click.option(
        "--students", type=click.IntRange(1, 10_000), required=True, help="How many share an account."
    )
    @click.option(
        "--labs", metavar="A,B", default=",".join(LABS), help="Which each has at once; default: all."
    )
    def _prepare(students: int, labs: str, as_json: bool, **where: Any) -> list[dict[str, Any]]:
        """Compare what so many students need at once with what the account may have; exit 1 if it lacks."""
        from awslabs import preparation

        names = labs.replace(",", " ").split()
        if not names or {*names} - LABS.keys():
            raise click.UsageError(f"--labs: {labs!r} is none of {', '.join(LABS)}, or several with commas.")
        cloud = cli.open_cloud(**where)
        needs = preparation.needs(cloud, students, names)
        for line in preparation.waits(students, names):
            cli.say(line)
        rows = [need.shown() for need in needs]
        block = preparation.public_buckets(cloud) if "serverless" in names else None
        lacking = [need for need in needs if not need.enough]
        without_fix = [{key: value for key, value in row.items() if key != "fix"} for row in rows]
        shown = rows if as_json else without_fix  # where one lacks, they follow, to be pasted
        if not lacking and not block:
            return shown
        cli.show(shown, as_json)
        fixes = [need.fix for need in lacking] + ([block.fix] if block else [])
        raise LabError(
            f"{len(fixes)} things are not enough for {students} students.",
            "\n       ".join(
                [
                    f"{one.what}: {one.needed + one.in_use:.0f} needed, {one.allowed:.0f} allowed"
                    for one in lacking
                ]
                + ([f"{block.what} {block.why}"] if block else [])
            ),
            "\n       ".join(fixes),
        )

    @cli.plain_verb(group, "policy")
    @click.argument("lab", type=click.Choice([*LABS]))
    @click.option(
        "--verbs", metavar="A,B", default="up,work,down,verify", help="For these alone.", show_default=True
    )
    @click.option("--owner", metavar="OWNER", help="For this one; default: whoever has it, by the IAM name.")
    @click.option(
        "--instance-types", metavar="A,B", default="", help="Besides the type that the lab takes by itself."
    )
    @click.option(
        "-o",
        "folder",
        metavar="FOLDER",
        type=click.Path(path_type=Path, file_okay=False),
        help="Write a file for each, and print the commands that make them.",
    )
    def _policy(
        lab: str,
        verbs: str,
        owner: str | None,
        instance_types: str,
        folder: Path | None,
        as_json: bool,
        **where: Any,
    ) -> None:
        """Print the IAM policies that a student needs for LAB, computed from the calls that it makes."""
        from awslabs import student_policy

        wanted = verbs.replace(",", " ").split()
        if not wanted or {*wanted} - {*student_policy.VERBS}:
            raise click.UsageError(
                f"--verbs: {verbs!r} is none of {', '.join(student_policy.VERBS)}, or several with commas."
            )
        cloud = cli.open_cloud(**where)
        types = tuple(instance_types.replace(",", " ").split())
        place = student_policy.Place(
            lab, cloud.identity["account"], cloud.region, owner or student_policy.OWNER, types
        )
        named = student_policy.documents(place, wanted)
        for line in student_policy.remarks(named, place):
            if " " in line:
                cli.say_beside("", line)
            else:
                cli.say(line)  # to paste
        if folder is None:
            cli.out(json.dumps(named, indent=None if as_json else 2))
            return
        folder.mkdir(parents=True, exist_ok=True)
        for name, document in named.items():
            file = folder / f"{name}.json"
            file.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
            cli.out(
                f"aws iam create-policy --policy-name {name} --policy-document {shlex.quote(f'file://{file}')}"
            )

    @cli.plain_verb(group, "list")
    @of_class
    @click.option("--csv", "as_csv", is_flag=True, help="Print it for a spreadsheet.")
    def _list(
        roster: Path,
        regions: str,
        owner: str | None,
        as_csv: bool,
        as_json: bool,
        **where: Any,
    ) -> None:
        """Show everybody's labs in all accounts and Regions, as AWS shows them; exit 3 while any stands."""
        if as_csv and as_json:
            raise click.UsageError("--csv or --json, not both.")
        class_rooms, unseen = enter(read(roster, where["sandbox"]), cli.regions_in(regions), **where)
        seen = look(class_rooms, unseen).of(owner)
        rows = [lab.shown() for lab in seen.labs] + not_looked_at(seen.unseen)
        say_others(seen)
        places = {(lab.room.account, lab.room.cloud.region) for lab in seen.labs}
        if len(places) == 1:
            cli.say("All labs stand in account {}, {}.".format(*next(iter(places))))
        for region in sorted(
            {lab.room.cloud.region for lab in seen.labs if prices.note(lab.room.cloud.region)}
        ):
            cli.say(f"Prices in {region}: {prices.note(region).strip(' ()')}.")
        if as_csv:
            cli.out(screen.sheet(rows, rows[0] if rows else ["student"]))
        else:
            cli.show(rows if as_json else in_brief(rows), as_json)
        down = again("down", roster, regions, **where)
        if seen.labs:
            usd = cli.per_hour(journal.total(lab.usd_per_hour for lab in seen.labs))
            what = f"{len(seen.labs)} labs stand: {usd}."
            late = Counter(
                (lab.room.account, lab.room.cloud.region)
                for lab in seen.labs
                for one in lab.things
                if one.call in RARE
            )
            if late and (longest := max(late.values())) > 1:
                cli.say(
                    f"To delete them takes at least {longest / 2:.0f} min: AWS takes one REST API per 30 s."
                )
            raise unproven(seen, what, down)
        if seen.unseen:
            what = f"Nothing was seen to stand, but {len(seen.unseen)} times nobody could look."
            raise unproven(seen, what, seen.unseen[0].error.fix)
        cli.say("Nothing stands.")

    @cli.plain_verb(group, "down")
    @of_class
    @click.option("--any-home", is_flag=True, help="With --owner: from whatever computers they were built.")
    @click.option("--dry-run", is_flag=True, help="Only say what would be deleted.")
    @click.option("--yes", is_flag=True, help="Do not ask.")
    def _down(
        roster: Path,
        regions: str,
        owner: str | None,
        any_home: bool,
        dry_run: bool,
        yes: bool,
        as_json: bool,
        **where: Any,
    ) -> list[dict[str, Any]]:
        """Delete everybody's labs, with all results, and look again whether AWS still shows any."""
        if any_home and not owner:
            raise click.UsageError(
                "--any-home goes with --owner: without it, all that the class has built goes."
            )
        class_rooms, unseen = enter(read(roster, where["sandbox"]), cli.regions_in(regions), **where)
        seen = look(class_rooms, unseen).of(owner)
        say_others(seen)
        would = [
            {"student": lab.student, "owner": lab.owner, "lab": lab.lab, "region": lab.room.cloud.region}
            | {"account": lab.room.account, "ledger": lab.prefix, "resources": len(lab.things)}
            for lab in seen.labs
        ]
        told = "down" + (f" --owner {shlex.quote(owner)}" if owner else "")
        homes = {lab.home for lab in seen.labs}
        if owner and len(homes) > 1 and not any_home:
            cli.show(would, as_json)
            raise LabError(
                f"The labs of {owner} were built from {len(homes)} computers.",
                "Perhaps both are the student's; perhaps another one gave that name. None was touched.",
                again(f"{told} --any-home", roster, regions, **where),
            )
        if dry_run:
            return would
        if seen.labs and not yes:
            many = sum(len(lab.things) for lab in seen.labs)
            whose = len({lab.student for lab in seen.labs})
            question = f"Delete {len(seen.labs)} labs of {whose} students, {many} things?"
            cli.agree(question, again(f"{told} --yes", roster, regions, **where))
        prefixes, failures = {lab.prefix for lab in seen.labs}, []
        for _ in range(PASSES):
            if not seen.labs:
                break
            failures = take_down(seen.labs)
            seen = look(class_rooms, unseen).of(owner)
            if failures:
                break
            prefixes |= {lab.prefix for lab in seen.labs}
        left = [] if owner else close_records(class_rooms)
        if seen.labs or failures or left or seen.unseen:
            rows = [lab.shown() for lab in seen.labs] + not_looked_at(seen.unseen)
            cli.show(rows if as_json else in_brief(rows), as_json)
            lines = [f"{lab.student}, {lab.lab}: {error.what} {error.why}" for lab, error in failures]
            lines += [f"{error.what} {error.why}" for error in left]
            lines += [f"{one.student}, {one.region}: {one.what}. {one.error.what}" for one in seen.unseen]
            lines += [
                f"{lab.student}, {lab.lab}: {lab.state}; built meanwhile, perhaps"
                for lab in seen.labs
                if not failures
            ]
            raise StillStanding(
                f"{len(seen.labs)} labs still stand."
                if seen.labs or failures
                else "Not all could be looked at.",
                "\n       ".join(lines),
                f"{again(told, roster, regions, **where)}    # tries again what is left",
            )
        cli.say(
            f"{len(prefixes)} labs deleted; AWS shows nothing of them any more."
            if prefixes
            else "Nothing stands."
        )
        return would

    return group


def in_brief(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows for a terminal: without names of ledgers, and columns that tell nothing. `--json` has all."""
    without = {"ledger", "resources"}
    without |= {key for key in ("account", "region") if len({row[key] for row in rows} - {"?"}) < 2}
    without |= {"waits"} if not any(row["waits"] for row in rows) else set()
    return [{key: value for key, value in row.items() if key not in without} for row in rows]


if __name__ == "__main__":
    command_line()(prog_name="python -m awslabs.classroom")
