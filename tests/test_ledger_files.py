"""Damaged ledger files, as hypothesis thinks them up, and every verb that a class uses after a lesson.

One file of a home with several is changed: a byte, a value, its kind. No verb may end in a traceback, touch
another ledger's file, or delete what is somebody else's. `recover` mends what is damaged, and then
`down --all` leaves nothing.

CI runs a hundred examples, always the same ones. For a long search: AWSLABS_TEST_FILES=EXAMPLES (1000).
"""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import fcntl
import json
import os
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import inprocess
import pytest
from botocore.exceptions import ClientError
from click.testing import CliRunner, Result
from hypothesis import HealthCheck, given, note, settings
from hypothesis import strategies as st
from moto.ec2.models import ec2_backends
from typed import typed

from awslabs import cli, ec2, inventory, journal, ledger_cli, sandbox
from awslabs.__main__ import main
from awslabs.errors import LabError, LedgerError, install
from awslabs.journal import HEADER_FORMS, ROW_FORMS, Row
from awslabs.kinds import KINDS
from awslabs.kinds.ec2 import KINDS as EC2
from awslabs.ledger import Ledger

EXAMPLES = int(os.environ.get("AWSLABS_TEST_FILES", "0"))  # 0: the short run of CI
ACCOUNT, ME = "222233334444", "moto"
TOKYO = "ap-northeast-1"

happened: Counter[str] = Counter()


class World:
    """A home with four ledgers, their things on AWS, and things of others beside them."""

    def __init__(self) -> None:
        self.clouds = {
            region: inprocess.open_cloud(ACCOUNT, ME, region) for region in (inprocess.REGION, TOKYO)
        }
        self.ec2 = self.clouds[inprocess.REGION].client("ec2")
        tags = [
            {"Key": "awslabs:ledger", "Value": "theirs-ec2-abc123"},
            {"Key": "awslabs:token", "Value": "t"},
        ]
        spec = [{"ResourceType": "vpc", "Tags": tags}]
        for options in ({}, {"TagSpecifications": spec}):
            self.ec2.create_vpc(CidrBlock="10.10.0.0/23", **options)
        self.foreign = self.stands() | self.stands(TOKYO)

    def open_cloud(self, *, region: str | None = None, **_: Any) -> Any:
        """What the command line opens: clients are made once."""
        return self.clouds[region or inprocess.REGION]

    def begin(self) -> None:
        """Three ledgers beside the one that will be damaged."""
        shutil.rmtree(journal.home(), ignore_errors=True)
        self.build("default", inprocess.REGION, whole=True)
        self.build("second", inprocess.REGION)
        self.build("default", TOKYO)
        self.neighbours = [self.file("second"), self.file(region=TOKYO)]

    def build(self, name: str, region: str, *, whole: bool = False) -> None:
        ledger = Ledger(self.clouds[region], "ec2", name)
        client = ledger.client("ec2")
        vpc_id = ledger.create("vpc", client.create_vpc, CidrBlock="10.10.0.0/23")
        if whole:
            ledger.create("subnet", client.create_subnet, VpcId=vpc_id, CidrBlock="10.10.0.0/24")
            igw_id = ledger.create("internet-gateway", client.create_internet_gateway)
            ledger.create(
                "gateway-attachment",
                client.attach_internet_gateway,
                InternetGatewayId=igw_id,
                VpcId=vpc_id,
            )

    def file(self, name: str = "default", region: str = inprocess.REGION) -> Path:
        return journal.home() / f"ec2.{name}.{ACCOUNT}.{region}.json"

    def stands(self, region: str = inprocess.REGION) -> set[str]:
        """All VPCs, subnets and gateways, as moto keeps them: asking takes longer than all the rest."""
        backend = ec2_backends[ACCOUNT][region]
        subnets = [id for zone in backend.subnets.values() for id in zone]
        gateways = [
            id for id, one in backend.internet_gateways.items() if one.vpc is None or not one.vpc.is_default
        ]
        return {*backend.vpcs, *subnets, *gateways}

    def sweep(self) -> None:
        """By hand, what an example left."""
        for region, cloud in self.clouds.items():
            client, left = cloud.client("ec2"), self.stands(region) - self.foreign
            if not left:
                continue
            for gateway in inprocess.gateways(client):
                for tie in gateway["Attachments"]:
                    client.detach_internet_gateway(
                        InternetGatewayId=gateway["InternetGatewayId"], VpcId=tie["VpcId"]
                    )
            for one in sorted(left, key=lambda one: one.startswith("vpc")):
                kind = {"igw": "internet_gateway", "sub": "subnet", "vpc": "vpc"}[one[:3]]
                parameter = {"igw": "InternetGatewayId", "sub": "SubnetId", "vpc": "VpcId"}[one[:3]]
                getattr(client, f"delete_{kind}")(**{parameter: one})

    def run(self, *line: str, group: Any = None) -> Result:
        """One command; anything but an exit code is a bug."""
        before = {path: path.read_bytes() for path in self.neighbours}
        result = typed(group or ledger_cli.command_line(), line)
        happened[f"{' '.join(line)}: exit {result.exit_code}"] += 1
        assert self.foreign <= self.stands() | self.stands(TOKYO), line
        if line[0] != "down" or "--dry-run" in line:
            assert {path: path.read_bytes() for path in self.neighbours} == before, line
        return result


@pytest.fixture
def world() -> Iterator[World]:
    with inprocess.cloud(), pytest.MonkeyPatch.context() as patched:
        made = World()
        patched.setattr(cli, "open_cloud", made.open_cloud)
        patched.setattr(inventory, "KINDS", {kind.call: kind for kind in EC2})  # all that these labs make
        yield made


# -- How a file is damaged ---------------------------------------------------------------------------------

Damage = Callable[[Path], None]  # changes the file at a path

WEIRD = [None, True, False, 0, -1, 1, 10**30, 0.5, -0.5, float("nan"), float("inf"), "", "\0", "\ud800", "x"]
WEIRD += ["../../x", "x" * 5000, "2O26-11-21T20:55:33.123Z", "2026-11-21", "gone", "ec2:CreateVpd", [], {}]
WEIRD += [
    [0],
    [99],
    [1, 1],
    [None],
    {"VpcId": 1},
    {"": ""},
    [[]],
    "s3:CreateBucket",
    "9999-12-31T23:59:59.999Z",
]


def at(text: bytes, where: float) -> int:
    return int(where * max(len(text) - 1, 0))


def flip(where: float, bit: int) -> Damage:
    def damage(path: Path) -> None:
        text = bytearray(path.read_bytes())
        text[at(text, where)] ^= 1 << bit
        path.write_bytes(text)

    return damage


def replace(where: float, length: int, by: bytes) -> Damage:
    """Also deletes, and inserts."""

    def damage(path: Path) -> None:
        text = path.read_bytes()
        first = at(text, where)
        path.write_bytes(text[:first] + by + text[first + length :])

    return damage


def places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Every container within a JSON value, with each of its keys."""
    for key, item in list(value.items() if isinstance(value, dict) else enumerate(value)):
        yield value, key
        if isinstance(item, (dict, list)):
            yield from places(item)


def change(number: int, how: str, by: Any) -> Damage:
    """A value within the JSON becomes another, goes, gets another key or comes twice."""

    def damage(path: Path) -> None:
        content = json.loads(path.read_text())
        all_places = list(places(content))
        container, key = all_places[number % len(all_places)]
        if how == "value":
            container[key] = by
        elif how == "gone":
            del container[key]
        elif isinstance(container, dict):
            container[f"{key}x"] = container.pop(key) if how == "key" else container[key]
        else:
            container.insert(key, container[key])
        path.write_text(laid_out(content))

    return damage


def laid_out(content: Any) -> str:
    """As the ledger writes: a line for each row."""
    rows = content.get("rows")
    if not isinstance(rows, list):
        return json.dumps(content, indent=1)
    lines = ",\n  ".join(json.dumps(row) for row in rows)
    return json.dumps({**content, "rows": []}, indent=1).replace('"rows": []', f'"rows": [\n  {lines}\n ]')


def folder(path: Path) -> None:
    path.unlink()
    path.mkdir()
    (path / "file").write_text("")


def link_to(target: str) -> Damage:
    def damage(path: Path) -> None:
        moved = path.with_suffix(".moved")
        path.rename(moved)
        path.symlink_to({"itself": path, "moved": moved, "nothing": "nowhere"}.get(target, target))

    return damage


def pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def huge(path: Path) -> None:
    os.truncate(path, (journal.LARGEST_MIB + 1) * 2**20)  # holes: they take no disk


def another(name: str) -> Damage:
    def damage(path: Path) -> None:
        shutil.copy(path.with_name(name), path)

    return damage


def content(text: bytes) -> Damage:
    return lambda path: path.write_bytes(text) and None


def encoded(encoding: str) -> Damage:
    return lambda path: path.write_bytes(path.read_text().encode(encoding)) and None


WHOLE: dict[str, Damage] = {
    "empty": content(b""),
    "NUL bytes": content(b"\0" * 4096),
    "deep": content(b"[" * 100_000),
    "deeper": content(b'{"schema": 1, "rows": ' + b"[" * 100_000),
    "a list": content(b"[1, 2]"),
    "no rows": content(b'{"schema": 1}'),
    "a long number": content(b'{"schema": ' + b"9" * 10_000 + b"}"),
    "utf-16": encoded("utf-16"),
    "with a mark": encoded("utf-8-sig"),
    "folder": folder,
    "pipe": pipe,
    "huge": huge,
    **{f"link to {one}": link_to(one) for one in ("itself", "moved", "nothing", "/dev/zero", "/")},
    "another ledger's": another(f"ec2.second.{ACCOUNT}.{inprocess.REGION}.json"),
    "another Region's": another(f"ec2.default.{ACCOUNT}.{TOKYO}.json"),
}

wheres = st.floats(0, 1)
damages: st.SearchStrategy[tuple[str, Damage]] = st.one_of(
    st.builds(lambda *one: (f"flip {one}", flip(*one)), wheres, st.integers(0, 7)),
    st.builds(
        lambda *one: (f"replace {one}", replace(*one)),
        wheres,
        st.sampled_from([0, 0, 1, 2, 30, 300, 100_000]),
        st.one_of(
            st.just(b""), st.binary(min_size=1, max_size=3), st.sampled_from([b'"', b",", b"}", b"\n"])
        ),
    ),
    st.builds(
        lambda *one: (f"change {one!r:.90}", change(*one)),
        st.integers(0, 200),
        st.sampled_from(["value", "value", "value", "gone", "key", "twice"]),
        st.sampled_from(WEIRD),
    ),
    st.sampled_from(sorted(WHOLE)).map(lambda name: (name, WHOLE[name])),
)


def kept(path: Path) -> Any:
    """What a file is, without following it."""
    return (
        os.readlink(path)
        if path.is_symlink()
        else path.read_bytes()
        if path.is_file()
        else os.stat(path).st_ino
    )


def fails_to_read(path: Path) -> LabError | None:
    try:
        journal.read(path)
    except LedgerError as error:
        return error
    return None


@pytest.mark.live
@given(damages)
@settings(
    max_examples=EXAMPLES or 100,
    derandomize=not EXAMPLES,
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),
)
def test_no_damage_ends_in_a_traceback_or_reaches_another_ledger(
    world: World, damage: tuple[str, Damage]
) -> None:
    name, do = damage
    note(name)
    world.begin()
    do(world.file())
    try:
        after_damage(world)
    finally:
        world.sweep()


def after_damage(world: World) -> None:
    error, was = fails_to_read(world.file()), kept(world.file())
    is_damaged = isinstance(error, journal.Damaged)
    happened["damaged" if is_damaged else "refused" if error else "reads"] += 1
    listed = json.loads(world.run("list", "--json").stdout)["rows"]
    assert {(one["name"], one["region"]) for one in listed} >= {("second", "us-east-1"), ("default", TOKYO)}
    shown = world.run("show", "ec2", "--json")
    assert shown.exit_code == (1 if error else 0)
    assert len(json.loads(shown.stdout)["rows"]) >= 1  # Tokyo's
    assert world.run("show", "ec2", "--name", "second").exit_code == 0
    assert world.run("verify").exit_code in (0, 1, 3)
    world.run("down", "--all", "--dry-run")
    status = world.run("status", group=ec2.command_line())
    assert not is_damaged or (status.exit_code == 1 and "recover" in status.stderr)
    assert kept(world.file()) == was
    recovered = world.run("recover", "--yes")
    if is_damaged:
        assert recovered.exit_code == 0, recovered.stderr
        assert fails_to_read(world.file()) is None
        (aside,) = journal.home().glob("ec2.default.*.damaged-*")
        assert kept(aside) == was
    down = world.run("down", "--all")
    left = (world.stands() | world.stands(TOKYO)) - world.foreign
    assert not fails_to_read(world.file("second"))
    if is_damaged:
        assert (down.exit_code, left) == (0, set()), down.stderr
    verified = world.run("verify")
    assert not left or 3 in (down.exit_code, verified.exit_code)  # what is left is never hidden


# -- What reads, and what does not -------------------------------------------------------------------------


def test_each_field_that_is_written_is_checked_when_it_is_read(world: World) -> None:
    world.begin()
    content = json.loads(world.file().read_text())
    assert content.keys() - {"schema", "rows"} == HEADER_FORMS.keys()
    assert {field.name for field in dataclasses.fields(Row)} == ROW_FORMS.keys()


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("begun", "2O26-11-21T20:55:33.123Z", "row 1 has the begun '2O26-"),
        ("made", "yesterday", "row 1 has the made 'yesterday'"),
        ("ended", 7, "row 1 has the ended 7"),
        ("number", True, "row 1 has the number True"),
        ("number", 2, "Row 2 comes after row 2"),
        ("needs", [9], "Row 1 needs \\[9\\]"),
        ("state", "stood", "row 1 has the state 'stood'"),
        ("ids", {"VpcId": 1}, "row 1 has the ids"),
        ("name", "\ud800", "row 1 has the name"),
        ("token", "", "row 1 has the token ''"),
        ("call", "CreateVpc", "row 1 has the call"),
        ("usd_per_hour", -1, "row 1 has the usd_per_hour -1"),
        ("usd_per_hour", float("nan"), "NaN is no number"),
        ("prefix", "awslabs-../../x-abc123", "header has the prefix"),
        ("usd_before", float("inf"), "Infinity is no number"),
        ("meter", {"rates": {}}, "header has the meter"),
        ("meter", {"rates": {"1": [["noon", 0.1]]}, "logs": {}}, "header has the meter"),
        ("meter", {"rates": {"1": []}, "logs": {}}, "header has the meter"),
        ("meter", {"rates": {"1": [["2026-11-21T20:55:33.123Z", -1]]}, "logs": {}}, "header has the meter"),
        ("meter", {"rates": {}, "logs": {"x": [1, True, 3]}}, "header has the meter"),
        ("lab", "gpu", "Its header says lab gpu, its file name ec2"),
        ("name of the ledger", "second", "Its header says name second, its file name default"),
        ("account", "999988887777", "Its header says account 999988887777"),
        ("region", TOKYO, "Its header says region"),
        ("schema", 0, "header has the schema 0"),
        ("colour", "red", "row 1 has an unknown 'colour'"),
    ],
)
def test_a_field_that_is_not_as_it_must_be_is_named(world: World, field: str, value: Any, said: str) -> None:
    world.begin()
    content = json.loads(world.file().read_text())
    header_field = field.partition(" ")[0]
    of_header = " " in field or (header_field in content and field not in ("name", "begun"))
    (content if of_header else content["rows"][0])[header_field] = value
    world.file().write_text(laid_out(content))
    with pytest.raises(journal.Damaged, match=said):
        journal.read(world.file())


def test_a_row_holds_what_aws_is_asked_for_by_its_kind(world: World) -> None:
    """`known_by` of each entry is what its `look` takes from a row without a second thought."""

    class Asked(dict):
        def __missing__(self, key: str) -> str:
            asked.add(key)
            return "x"

    class Answers:
        """A client to which nothing is there."""

        exceptions = type("Exceptions", (), {"__getattr__": lambda self, name: ClientError})()

        def __getattr__(self, name: str) -> Any:
            raise ClientError({"Error": {"Code": "NoSuchThing", "Message": ""}}, name)

    for kind in KINDS.values():
        asked: set[str] = set()
        row = Row(1, "x", kind.call, "x", "standing", ids=Asked(), telling=Asked())
        with contextlib.suppress(ClientError, TypeError):
            list(kind.look(Answers(), row))
        known = {name for names in kind.known_by for name in names.split("|")}
        assert asked <= known, kind.call
        assert not kind.named or len(known) == 1, kind.call


def test_a_tie_has_the_ids_of_its_two_ends_and_no_others(world: World) -> None:
    """They are sent to AWS as they are: another one would keep it from going."""
    world.begin()
    changed = json.loads(world.file().read_text())
    changed["rows"][3]["ids"]["VpcIdx"] = "vpc-1"
    world.file().write_text(laid_out(changed))
    with pytest.raises(journal.Damaged, match="Its row 4 has an unknown 'VpcIdx'"):
        journal.read(world.file())


def test_an_owner_that_could_not_be_read_again_is_refused(world: World) -> None:
    with pytest.raises(LedgerError, match="cannot be the name of an owner"):
        Ledger(world.clouds[TOKYO], "ec2", "third", owner="ben\nand\x1b[2Jothers")


@pytest.mark.parametrize("asked", ["*", "../ec2", "/ec2", "ec2."])
def test_show_takes_no_pattern_and_no_path(world: World, asked: str) -> None:
    world.begin()
    result = world.run("show", asked)
    assert (result.exit_code, result.stdout) == (1, "")
    assert f"There is no ledger of {asked}" in result.stderr


def test_what_has_another_form_of_name_is_no_ledger(world: World) -> None:
    world.begin()
    for name in ("a.b.c.d.json", f"ec2.Default.{ACCOUNT}.us-east-1.json", f"ec2.x.{ACCOUNT}.us east.json"):
        shutil.copy(world.file(), world.file().with_name(name))
    assert len(journal.files(journal.home())) == 3


def test_a_folder_that_cannot_be_listed_is_an_error_and_not_an_empty_list(world: World) -> None:
    world.neighbours = []
    journal.home().write_text("")
    result = world.run("list")
    assert result.exit_code == 1
    assert "could not be listed" in result.stderr


# -- Mended ------------------------------------------------------------------------------------------------


def test_recover_keeps_the_rows_that_only_the_damaged_file_knew(world: World) -> None:
    world.begin()
    before = {row.number: row for row in journal.read(world.file())[1]}
    world.file().write_text(
        world.file().read_text().replace('"begun": "2', '"begun": "Z').replace("Z", "2", 1)
    )
    text = world.file().read_text().splitlines()
    assert before[4].name == "gateway-attachment"
    whole = [line for line in text if '"begun": "Z' not in line]
    assert len(text) - len(whole) == 4  # all rows are damaged
    good = [json.dumps(vars(before[number])) for number in (2, 4)]
    bad = [next(line for line in text if f'"number": {number},' in line).strip(" ,") for number in (1, 3)]
    rows = ",\n  ".join([bad[0], good[0], bad[1], good[1]])
    header = "\n".join(line for line in whole if line.startswith(' "') and '"rows"' not in line)
    world.file().write_text("{\n" + header + '\n "rows": [\n  ' + rows + "\n ]\n}\n")
    assert "row 1 has the begun" in str(fails_to_read(world.file()))
    assert world.run("recover", "--yes").exit_code == 0
    after = {row.number: row for row in journal.read(world.file())[1]}
    assert (after[2], after[4]) == (before[2], before[4])  # as they were, the join too
    for number in (1, 3):  # of these AWS's tags tell
        assert (after[number].ids, after[number].token) == (before[number].ids, before[number].token)
    assert world.run("down", "--all").exit_code == 0
    assert world.stands() | world.stands(TOKYO) == world.foreign


def test_two_damaged_ledgers_of_one_lab_are_each_rebuilt_as_themselves(world: World) -> None:
    world.begin()
    names = {name: journal.read(world.file(name))[0]["prefix"] for name in ("default", "second")}
    for name in names:
        world.file(name).write_bytes(world.file(name).read_bytes()[:-4])
    world.neighbours = [world.file(region=TOKYO)]
    assert world.run("recover", "--yes").exit_code == 0
    assert {name: journal.read(world.file(name))[0]["prefix"] for name in names} == names
    assert [len(journal.read(world.file(name))[1]) for name in names] == [4, 1]
    world.sweep()


def test_a_file_that_lost_its_rights_is_readable_again(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.begin()
    rows, read_text = journal.read(world.file())[1], Path.read_text

    def as_a_user(path: Path, *args: Any, **options: Any) -> str:
        if not path.stat().st_mode & 0o400:
            raise PermissionError(errno.EACCES, "Permission denied")
        return read_text(path, *args, **options)

    monkeypatch.setattr(Path, "read_text", as_a_user)
    world.file().chmod(0)
    assert "Permission denied" in world.run("status", group=ec2.command_line()).stderr
    assert world.run("list").exit_code == 0
    assert world.run("recover", "--yes").exit_code == 0
    assert journal.read(world.file())[1] == rows
    world.sweep()


def test_another_users_file_is_moved_aside_and_rebuilt_from_the_tags(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.begin()
    read_text, theirs = Path.read_text, world.file().stat().st_ino

    def as_a_user(path: Path, *args: Any, **options: Any) -> str:
        if path.stat().st_ino == theirs:
            raise PermissionError(errno.EACCES, "Permission denied")
        return read_text(path, *args, **options)

    def not_mine(*_: Any, **__: Any) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(Path, "read_text", as_a_user)
    monkeypatch.setattr(Path, "chmod", not_mine)
    monkeypatch.setattr(os, "link", not_mine)  # as Linux does: fs.protected_hardlinks
    assert world.run("recover", "--yes").exit_code == 0
    assert [row.name for row in journal.read(world.file())[1]] == ["vpc", "subnet", "internet-gateway"]
    (aside,) = journal.home().glob("*.damaged-*")
    assert aside.stat().st_ino == theirs
    assert world.run("down", "--all").exit_code == 0
    assert world.stands() | world.stands(TOKYO) == world.foreign


def test_a_ledger_of_a_newer_version_does_not_keep_recover_from_the_others(world: World) -> None:
    world.begin()
    newer = world.file("second")
    newer.write_text(newer.read_text().replace('"schema": 1', '"schema": 2'))
    world.file().write_text("")
    result = world.run("recover", "--yes")
    assert result.exit_code == 1
    assert install(newer=True) in result.stderr
    assert fails_to_read(world.file()) is None
    assert len(list(journal.home().glob("*.json"))) == 3  # what stands in the newer one is in no second one
    world.sweep()


@pytest.mark.parametrize("how", ["linked", "moved"])
def test_a_full_disk_leaves_the_damaged_file_as_it_was(
    how: str, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_link(*_: Any, **__: Any) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    if how == "moved":
        monkeypatch.setattr(os, "link", no_link)
    world.begin()
    world.file().write_text("{")

    def full(path: Path, text: str) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(journal, "write", full)
    result = world.run("recover", "--yes")
    assert result.exit_code == 1
    assert "No space left on device" in result.stderr
    assert world.file().read_text() == "{"
    assert list(journal.home().glob("*.damaged-*")) == []
    world.sweep()


def test_a_damaged_file_is_not_replaced_under_the_hands_of_a_verb(world: World) -> None:
    world.begin()
    with Ledger(world.clouds[inprocess.REGION], "ec2").locked("up"):
        world.file().write_text("{")
        result = world.run("recover", "--yes")
    assert result.exit_code == 1
    assert "is in use" in result.stderr
    assert world.file().read_text() == "{"
    world.sweep()


def test_the_list_of_labs_names_a_damaged_ledger(world: World) -> None:
    world.begin()
    world.file().write_text("{")
    result = CliRunner().invoke(main, [])
    assert f"The ledger {world.file()} is damaged." in result.stdout
    assert "-1 resources" not in result.stdout
    world.sweep()


# -- The folder, the lock, the clock -------------------------------------------------------------------------


def test_a_tilde_in_awslabs_home_is_the_users_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("AWSLABS_HOME", "~/ledgers")
    assert journal.home() == sandbox._home(None) == tmp_path / "ledgers"


@pytest.mark.parametrize("told", ["ledgers", "./ledgers", "~nobody-of-this-name/ledgers"])
def test_an_awslabs_home_that_is_relative_is_refused(
    told: str, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.neighbours = []
    monkeypatch.setenv("AWSLABS_HOME", told)
    result = world.run("list")
    assert result.exit_code == 1
    assert "is no absolute path" in result.stderr
    assert "fix:   export AWSLABS_HOME=" in result.stderr


@pytest.mark.parametrize("number", [errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP])
def test_a_folder_that_knows_no_locks_is_refused_in_one_sentence(
    number: int, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def flock(*_: Any) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", flock)
    open_files = len(os.listdir("/dev/fd"))
    with pytest.raises(LedgerError, match="cannot be locked") as refused:
        world.build("default", inprocess.REGION)
    assert os.strerror(number) in refused.value.why
    assert len(os.listdir("/dev/fd")) == open_files


def test_a_full_disk_at_the_lock_says_so(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = os.open

    def full(path: Any, flags: int, *more: Any) -> int:
        if flags & os.O_CREAT and str(path).endswith(".lock"):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return opened(path, flags, *more)

    monkeypatch.setattr(os, "open", full)
    with pytest.raises(LedgerError, match="make room"):
        world.build("default", inprocess.REGION)


def test_a_temporary_file_that_nobody_may_remove_is_in_nobodys_way(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.begin()
    left = world.file().with_name(f".{world.file().stem}-left")
    left.write_text("")
    unlink = Path.unlink

    def refuse(path: Path, *args: Any, **options: Any) -> None:
        if path == left:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))  # of a file system that copies on write
        unlink(path, *args, **options)

    monkeypatch.setattr(Path, "unlink", refuse)
    assert world.run("down", "--all").exit_code == 0
    assert world.stands() | world.stands(TOKYO) == world.foreign


def test_a_clock_that_was_set_back_makes_nothing_cheaper_and_no_wait_longer() -> None:
    later = "2999-01-01T00:00:00.000Z"
    row = Row(1, "instance", "ec2:RunInstances", "t", "standing", made=later, usd_per_hour=1.0)
    assert journal.seconds_since(later) == row.usd == 0.0


def test_recover_without_a_terminal_names_the_option_that_does_not_ask(world: World) -> None:
    world.begin()
    world.file().write_text("{")
    result = world.run("recover", "ec2")
    assert result.exit_code == 1
    assert "Nobody is there to answer" in result.stderr
    assert "fix:   python -m awslabs.ledger recover ec2 --yes" in result.stderr
    assert world.file().read_text() == "{"
    world.sweep()


if EXAMPLES:

    def test_what_happened(aloud: Callable[[str], None]) -> None:
        aloud("\n" + "\n".join(f"{count:6}  {what}" for what, count in sorted(happened.items())))
