"""After class: list, show, down, verify and recover, through their command line."""

from __future__ import annotations

import contextlib
import dataclasses
import importlib
import json
import re
import shlex
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import inprocess
import pytest
from click.testing import CliRunner, Result
from moto.ec2.exceptions import EC2ClientError
from moto.ec2.models import EC2Backend
from typed import typed
from wire import ALWAYS, Wire

from awslabs import cli, cost, ec2, journal, ledger_cli, policies, tunnel
from awslabs.__main__ import main
from awslabs.errors import install
from awslabs.inventory import STRAY
from awslabs.kinds import KINDS, Mark, iam
from awslabs.labs import LABS
from awslabs.ledger import Ledger

ACCOUNT, OTHER_ACCOUNT = "222233334444", "555566667777"
ME = "student"  # whom the practice cloud takes every caller for
TOKYO = "ap-northeast-1"
CALLS_OF_UP = 10  # that change something


class School:
    """A student's computer, and AWS as it is seen from outside."""

    def __init__(self, clock: inprocess.Clock, trouble: inprocess.Trouble, patch: pytest.MonkeyPatch) -> None:
        self.clock, self.trouble, self.patch = clock, trouble, patch

    def up(self, *options: str) -> Result:
        """``python -m awslabs.ec2 up``; returns as `run` does."""
        return self.run(*("up", "--allow-from", "192.0.2.1/32", *options), group=ec2.command_line())

    def run(self, *line: str, group: Any = None, said: str | None = None) -> Result:
        """``python -m awslabs.ledger ...``, with an answer to what it asks; a traceback would be a bug."""
        self.trouble.asked.clear()
        self.trouble.calls.clear()
        return typed(group or ledger_cli.command_line(), line, said)

    def rows(self, *line: str, **options: Any) -> list[dict[str, Any]]:
        """The result of a command that must go well, from its JSON."""
        result = self.run(*line, "--json", **options)
        assert result.exit_code == 0, result.stderr
        return json.loads(result.stdout)["rows"]

    def die_in_up(self, number: int) -> None:
        """Kill `up` when its changing call of this number has taken effect."""
        with self.trouble.ahead({number: "die after"}, {}), contextlib.suppress(inprocess.Death):
            self.up()
            pytest.fail("`up` lived on")

    def file(self, name: str = "default", region: str = inprocess.REGION) -> Path:
        return journal.home() / f"ec2.{name}.{ACCOUNT}.{region}.json"

    def changing_calls(self) -> list[str]:
        return [operation for operation, _ in self.trouble.calls]

    def console(self, region: str = inprocess.REGION) -> Any:
        return boto3.Session(region_name=region).client("ec2")  # the keys of this moment

    def left(self, region: str = inprocess.REGION) -> list[str]:
        """What stands in the account beside what every account has, by plain calls."""
        with self.trouble.hand():
            client = self.console(region)
            return [
                *(vpc["VpcId"] for vpc in client.describe_vpcs()["Vpcs"] if not vpc["IsDefault"]),
                *(one["SubnetId"] for one in client.describe_subnets()["Subnets"] if not one["DefaultForAz"]),
                *(one["InternetGatewayId"] for one in inprocess.gateways(client)),
                *(
                    one["GroupId"]
                    for one in client.describe_security_groups()["SecurityGroups"]
                    if one["GroupName"] != "default"
                ),
                *(one["KeyName"] for one in client.describe_key_pairs()["KeyPairs"]),
                *(
                    one["InstanceId"]
                    for reservation in client.describe_instances()["Reservations"]
                    for one in reservation["Instances"]
                    if one["State"]["Name"] != "terminated"
                ),
            ]


@pytest.fixture
def school(monkeypatch: pytest.MonkeyPatch) -> Iterator[School]:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", f"AKIAPRACTICE{ACCOUNT}")
    monkeypatch.setattr(tunnel, "wait_for_ssh", lambda *_, **__: None)
    with inprocess.cloud() as clock, inprocess.trouble() as trouble:
        yield School(clock, trouble, monkeypatch)


def damage(path: Path) -> str:
    """Cut a file off in its middle, and return what is left of it."""
    half = path.read_text()[: path.stat().st_size // 2]
    path.write_text(half)
    return half


# -- List and show -----------------------------------------------------------------------------------------


def test_list_shows_every_ledger_in_which_something_stands_and_asks_aws_nothing(school: School) -> None:
    school.up()
    school.up("--name", "second", "--owner", "ben")
    school.up("--region", TOKYO)
    school.up("--name", "third")
    school.run("down", "--name", "third", group=ec2.command_line())
    rows = school.rows("list")
    assert school.trouble.asked == []
    assert {(row["lab"], row["name"], row["region"], row["owner"]) for row in rows} == {
        ("ec2", "default", "us-east-1", ME),
        ("ec2", "second", "us-east-1", "ben"),
        ("ec2", "default", TOKYO, ME),
    }
    assert {(row["cloud"], row["account"], row["resources"]) for row in rows} == {("aws", ACCOUNT, 7)}
    first = next(row for row in rows if row["region"] == "us-east-1")
    assert first["usd_per_hour"] == pytest.approx(0.0163, abs=0.0001)


def test_list_shows_hours_and_dollars_so_far(school: School) -> None:
    school.up()
    school.clock.sleep(10 * 3600)
    (row,) = school.rows("list")
    assert row["hours"] == pytest.approx(10, abs=0.1)
    assert row["usd_so_far"] == pytest.approx(0.163, abs=0.005)


def test_list_prints_a_table_on_stdout_and_the_way_out_on_stderr(school: School) -> None:
    school.up()
    result = school.run("list")
    heads, row = result.stdout.splitlines()
    assert heads.split()[:5] == ["lab", "name", "cloud", "account", "region"]
    assert row.split()[:5] == ["ec2", "default", "aws", ACCOUNT, "us-east-1"]
    assert "python -m awslabs.ledger down --all" in result.stderr


def test_list_of_nothing_says_so_and_prints_an_empty_list(school: School) -> None:
    assert school.rows("list") == []
    result = school.run("list")
    assert (result.exit_code, result.stdout) == (0, "")
    assert "Nothing stands." in result.stderr


def test_list_names_damaged_files_and_what_mends_them(school: School) -> None:
    school.up()
    damage(school.file())
    result = school.run("list")
    assert result.exit_code == 0
    said = result.stderr.splitlines()
    assert said[said.index(f"damaged: {school.file()}") + 1].startswith(
        "mend it: python -m awslabs.ledger recover"
    )
    assert f"{school.file()} is damaged. Shown is what" in school.run("cost").stderr
    (row,) = school.rows("list")
    assert (row["resources"], row["usd_per_hour"]) == (-1, None)


def test_show_prints_all_rows_those_that_are_gone_too(school: School) -> None:
    school.up()
    school.run("down", group=ec2.command_line())
    rows = school.rows("show", "ec2")
    assert school.trouble.asked == []
    assert [row["name"] for row in rows][:3] == ["vpc", "subnet", "internet-gateway"]
    assert {row["state"] for row in rows} == {"gone"}
    assert all(row["made"] <= row["ended"] for row in rows)


def test_show_of_an_unknown_lab_is_an_error(school: School) -> None:
    result = school.run("show", "quantum")
    assert (result.exit_code, result.stdout) == (1, "")
    assert "There is no ledger of quantum (default)." in result.stderr
    assert "fix:   python -m awslabs.ledger list" in result.stderr


def test_show_of_a_damaged_ledger_says_what_mends_it(school: School) -> None:
    school.up()
    damage(school.file())
    result = school.run("show", "ec2")
    assert (result.exit_code, result.stdout) == (1, "")
    assert "fix:   python -m awslabs.ledger recover" in result.stderr


def test_an_answer_that_lacks_what_the_meter_wants_does_not_keep_down_from_deleting(
    school: School, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert school.up().exit_code == 0
    monkeypatch.setattr(cost, "ask", lambda client, book: {}["LaunchTime"])  # as an emulator may answer
    assert school.run("down", group=ec2.command_line()).exit_code == 0
    assert school.rows("list") == []


def test_cost_shows_what_was_spent_also_when_all_is_gone(school: School) -> None:
    """To the minute, for each thing; `--by` sums up, `--csv` is for a spreadsheet."""
    assert school.up().exit_code == 0
    school.clock.sleep(6 * 3600)
    (line,) = school.rows("cost")
    assert (line["lab"], line["what"], line["at_most"]) == ("ec2", "instance", False)
    assert (line["usd"], line["hours"]) == (pytest.approx(6 * 0.0163, rel=0.01), pytest.approx(6, rel=0.01))
    assert re.match(r"On AWS 0\.097\d USD until now; prices of ", school.run("cost").stderr)
    assert school.run("down", group=ec2.command_line()).exit_code == 0
    school.clock.sleep(24 * 3600)
    (whose,) = school.rows("cost", "--by", "owner")
    assert (whose["owner"], whose["usd"]) == (ME, pytest.approx(line["usd"], rel=0.01))
    assert school.run("cost", "--by", "lab", "--csv").stdout.startswith("lab,cloud,usd\nec2,aws,0.09")
    assert CliRunner().invoke(main, ["cost", "--by", "lab"]).stdout.split()[:3] == ["lab", "cloud", "usd"]
    assert school.up().exit_code == 0
    assert [one["what"] for one in school.rows("cost")] == ["earlier", "instance"]


def test_cost_of_nothing_and_wrong_words(school: School) -> None:
    assert school.rows("cost") == []
    assert school.run("cost", "--by", "owner", "--csv").stdout == "owner,cloud,usd\n"
    assert school.run("cost", "--csv").stdout == "lab,name,cloud,region,owner,what,id,hours,usd,at_most\n"
    assert school.run("cost", "--csv", "--json").exit_code == 2
    assert school.run("cost", "--by", "town").exit_code == 2
    assert school.up("--region", TOKYO).exit_code == 0
    school.patch.setenv("AWS_ACCESS_KEY_ID", f"AKIAPRACTICE{OTHER_ACCOUNT}")
    shown = school.run("cost")
    assert shown.exit_code == 0
    assert f"AWS was not asked about ec2 (default) in {TOKYO}: other credentials" in shown.stderr


# -- Down --------------------------------------------------------------------------------------------------


@pytest.mark.live
def test_down_of_a_lab_takes_all_its_copies_in_all_regions(school: School) -> None:
    school.up()
    school.up("--name", "second")
    school.up("--region", TOKYO)
    rows = school.rows("down", "ec2")
    assert sorted((row["lab"], row["name"], row["deleted"]) for row in rows) == [
        ("ec2", "default", 7),
        ("ec2", "default", 7),
        ("ec2", "second", 7),
    ]
    assert school.left() == school.left(TOKYO) == []
    assert school.rows("list") == []


def test_a_dry_run_names_the_command_that_saves_results_first(school: School) -> None:
    school.up()
    results = school.file().with_name(school.file().name.replace("ec2", "batch_sweep"))
    results.write_text(school.file().read_text().replace('"lab": "ec2"', '"lab": "batch_sweep"'))
    said = school.run("down", "--all", "--dry-run").stderr
    saves = f"python -m awslabs.batch_sweep down --region {inprocess.REGION}"
    assert [line.endswith(saves) for line in said.splitlines()] == [True]  # ec2 has none
    results.unlink()
    groups = {lab: importlib.import_module(f"awslabs.{lab}").command_line() for lab in LABS}
    saving = [
        lab
        for lab, group in groups.items()
        if "discard" in [option.name for option in group.commands["down"].params]
    ]
    assert sorted(saving) == sorted(ledger_cli.WITH_RESULTS)


def test_down_of_another_lab_leaves_this_one(school: School) -> None:
    school.up()
    result = school.run("down", "serverless")
    assert result.exit_code == 0
    assert school.changing_calls() == []


def test_down_all_goes_past_a_ledger_that_it_cannot_take(school: School) -> None:
    school.up()
    school.up("--name", "second")
    damage(school.file())
    result = school.run("down", "--all")
    assert (result.exit_code, result.stdout) == (3, "")
    assert "1 of 2 ledgers" in result.stderr
    assert "python -m awslabs.ledger recover" in result.stderr
    assert len(school.left()) == 6


def test_a_dry_run_lists_what_would_go_newest_first_and_changes_nothing(school: School) -> None:
    school.up()
    stood, text = school.left(), school.file().read_text()
    rows = school.rows("down", "--all", "--dry-run")
    assert [row["row"] for row in rows] == [
        "instance",
        "key-pair",
        "security-group",
        "gateway-attachment",
        "internet-gateway",
        "subnet",
        "vpc",
    ]
    assert {row["id"] for row in rows} == {*stood}
    assert school.changing_calls() == []
    assert (school.left(), school.file().read_text()) == (stood, text)


@pytest.mark.live
def test_a_ledger_of_another_account_is_refused_until_its_own_keys_come(school: School) -> None:
    school.up()
    school.patch.setenv("AWS_ACCESS_KEY_ID", f"AKIAPRACTICE{OTHER_ACCOUNT}")
    school.up("--name", "second")
    result = school.run("down", "--all")
    assert result.exit_code == 3
    assert f"ec2 (default) is of account {ACCOUNT}" in result.stderr
    assert school.left() == []  # of this account
    school.patch.setenv("AWS_ACCESS_KEY_ID", f"AKIAPRACTICE{ACCOUNT}")
    assert len(school.left()) == 6
    assert school.run("down", "--all").exit_code == 0
    assert school.left() == []


def test_an_open_notebook_refuses_a_file_that_came_from_another_account(school: School) -> None:
    school.up()
    notebook = Ledger(inprocess.open_cloud(ACCOUNT, ME), "ec2")
    theirs = school.file().read_text().replace(ACCOUNT, OTHER_ACCOUNT)
    school.file().write_text(theirs)
    school.trouble.calls.clear()
    for verb in (notebook.down, lambda: ec2.up(notebook, allow_from="192.0.2.1/32")):
        with pytest.raises(journal.Damaged, match=f"says account {OTHER_ACCOUNT}, its file name {ACCOUNT}"):
            verb()
    assert school.changing_calls() == []
    assert school.file().read_text() == theirs


@pytest.mark.live
def test_down_says_what_aws_refused_and_exits_3(school: School) -> None:
    school.up()
    with school.trouble.ahead({1: "UnauthorizedOperation"}, {}):  # the server, before all others
        result = school.run("down", "--all")
    assert (result.exit_code, result.stdout) == (3, "")
    assert re.search(r"ec2:\w+ was refused \(UnauthorizedOperation\)", result.stderr)
    assert school.run("down", "--all").exit_code == 0
    assert school.left() == []


@pytest.mark.parametrize("line", ["down", "down ec2 --all", "show", "sweep", "list --name x"])
def test_wrong_usage_exits_2_and_asks_aws_nothing(line: str, school: School) -> None:
    result = school.run(*line.split())
    assert (result.exit_code, result.stdout) == (2, "")
    assert school.trouble.asked == []


# -- Verify ------------------------------------------------------------------------------------------------


def test_verify_finds_that_all_rows_stand(school: School) -> None:
    school.up()
    rows = school.rows("verify")
    assert [row["on_aws"] for row in rows] == ["stands"] * 7
    assert school.changing_calls() == []


def test_verify_finds_what_was_deleted_by_hand(school: School) -> None:
    school.up()
    ids = {row["name"]: row["id"] for row in school.rows("show", "ec2")}
    with school.trouble.hand():
        school.console().delete_key_pair(KeyName=ids["key-pair"])
        school.console().terminate_instances(InstanceIds=[ids["instance"]])
    school.clock.sleep(60)
    with school.trouble.hand():
        school.console().detach_internet_gateway(InternetGatewayId=ids["internet-gateway"], VpcId=ids["vpc"])
    result = school.run("verify")
    assert result.exit_code == 0
    assert "4 rows stand, 3 absent on AWS" in result.stderr
    absent = [row["row"] for row in school.rows("verify") if row["on_aws"] == "absent"]
    assert sorted(absent) == ["gateway-attachment", "instance", "key-pair"]


def test_verify_names_what_stands_under_a_row_that_heard_no_answer(school: School) -> None:
    school.die_in_up(1)
    (made,) = school.left()
    (row,) = school.rows("show", "ec2")
    assert (row["state"], row["id"]) == ("creating", "")
    assert [(row["id"], row["on_aws"]) for row in school.rows("verify")] == [(made, "stands")]
    with school.trouble.hand():
        client = school.console()
        tags = client.describe_vpcs(VpcIds=[made])["Vpcs"][0]["Tags"]
        specification = [{"ResourceType": "vpc", "Tags": tags}]
        client.create_vpc(CidrBlock="10.10.0.0/23", TagSpecifications=specification)
    # Which of two that carry its token is its own, the row does not tell: both are named.
    assert sorted(row["id"] for row in school.rows("verify")) == sorted(school.left())
    with school.trouble.hand():
        for vpc_id in school.left():
            client.delete_vpc(VpcId=vpc_id)
    assert [(row["id"], row["on_aws"]) for row in school.rows("verify")] == [("", "absent")]


def test_verify_exits_3_for_what_stands_in_no_ledger(school: School) -> None:
    school.up()
    school.file().unlink()
    result = school.run("verify", "--json")
    rows = json.loads(result.stdout)["rows"]
    assert result.exit_code == 3
    assert {(row["on_aws"], row["owner"]) for row in rows} == {("stands, in no ledger", ME)}
    assert {row["id"] for row in rows} == {*school.left()}
    assert "fix:   python -m awslabs.ledger recover" in result.stderr


def test_verify_reports_what_others_have_and_is_content(school: School) -> None:
    school.up("--owner", "ben")
    school.file().unlink()
    result = school.run("verify")
    assert result.exit_code == 0
    assert "0 things of yours, 6 of other owners" in result.stderr
    assert result.stdout.count("stands, in no ledger") == 6


def test_tags_of_another_tool_that_look_like_ours_are_not_ours(school: School) -> None:
    tags = {"awslabs:ledger": "theirs-ec2-abc123", "awslabs:token": "20260101000000-00", "awslabs:owner": ME}
    spec = {"ResourceType": "vpc", "Tags": [{"Key": key, "Value": value} for key, value in tags.items()]}
    with school.trouble.hand():
        school.console().create_vpc(CidrBlock="10.10.0.0/23", TagSpecifications=[spec])
    assert school.rows("verify") == []
    result = school.run("recover", "--yes", "--all-owners", "ec2")
    assert "Nothing to recover." in result.stderr


MARKS = ("ledger", "owner", "home", "row", "token")
HOME_OF_NOBODY = "nowhere"
MARK = {
    "awslabs:ledger": "awslabs-ec2-abc123",
    "awslabs:owner": ME,
    "awslabs:row": "01 vpc",
    "awslabs:token": "20260101000000-0123456789abcdef",
}


def make_vpc(school: School, **tags: str) -> None:
    """A VPC that somebody has given the tags of a ledger, with changes."""
    own = {"awslabs:home": journal.home_id()}
    marked = {**MARK, **own, **{f"awslabs:{key}": value for key, value in tags.items()}}
    spec = {"ResourceType": "vpc", "Tags": [{"Key": key, "Value": value} for key, value in marked.items()]}
    with school.trouble.hand():
        school.console().create_vpc(CidrBlock="10.10.0.0/23", TagSpecifications=[spec])


@pytest.mark.live
@pytest.mark.parametrize(
    ("tag", "value"),
    [
        ("ledger", "awslabs-../../x-abc123"),
        ("ledger", "awslabs-/etc/x-abc123"),
        ("ledger", "awslabs-quantum-abc123"),  # no lab of ours
        ("ledger", "awslabs-ec2-abc12"),
        ("ledger", "awslabs-ec2-ABC123"),
        ("ledger", "awslabs-ec2-abc123\n"),
        ("ledger", "awslabs-ecs_qa-abc123"),
        ("row", "vpc"),
        ("row", "01 ../vpc"),
        ("row", "² vpc"),
        ("row", "01 \u009b2Jvpc"),
        ("token", "20260101000000-0123"),
        ("token", "20260101000000-0123456789abcdef, 1"),
    ],
)
def test_what_has_not_the_form_of_a_ledgers_mark_is_not_ours(tag: str, value: str, school: School) -> None:
    make_vpc(school, **{tag: value})
    before = sorted(journal.home().parent.rglob("*"))
    assert school.rows("verify") == []
    for named in ((), ("ec2",), (value,)):
        assert "Nothing to recover." in school.run("recover", "--yes", "--all-owners", *named).stderr
    assert sorted(journal.home().parent.rglob("*")) == before


def test_the_same_mark_in_our_form_is_ours(school: School) -> None:
    make_vpc(school)
    assert [row["on_aws"] for row in json.loads(school.run("verify", "--json").stdout)["rows"]] == [STRAY]
    (row,) = school.rows("recover", "--yes", "--all-owners")
    assert (row["lab"], row["prefix"]) == ("ec2", "awslabs-ec2-abc123")


def test_an_owner_from_a_tag_commands_no_terminal(school: School) -> None:
    make_vpc(school, owner="ben \u009b31m, (red)")
    for line in (["verify"], ["recover", "--yes", "--all-owners"], ["list"]):
        result = school.run(*line)
        assert result.exit_code == 0
        assert "ben -31m- -red-" in result.output
        assert "\u009b" not in result.output


def test_no_text_that_is_shown_commands_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    cli.say("a \x1b[2J\u009b1mkey")
    cli.show([{"key\tname": "b \x1b]0;x\x07"}], as_json=False)
    shown = capsys.readouterr()
    assert (shown.err, shown.out) == (
        r"a \x1b[2J\x9b1mkey" + "\n",
        r"key\tname" + "\n" + r"b \x1b]0;x\x07" + "\n",
    )


def test_every_lab_of_the_course_has_a_form_of_mark_and_no_other() -> None:
    prefixes = [journal.fresh_prefix(lab) for lab in LABS]
    assert [journal.lab_of(prefix) for prefix in prefixes] == list(LABS)
    assert journal.TOKEN.fullmatch(journal.fresh_token())


# -- Whose it is -------------------------------------------------------------------------------------------


@contextlib.contextmanager
def at_home_of(student: str) -> Iterator[None]:
    """On the computer of a student; all of them have the same credentials."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWSLABS_HOME", str(Path.home() / student))
        yield


def test_of_two_students_with_one_iam_user_neither_takes_the_others_lab(school: School) -> None:
    with at_home_of("ana"):
        school.up()
        anas, prefix = school.left(), json.loads(school.file().read_text())["prefix"]
    school.clock.sleep(3601)
    with at_home_of("ben"):
        school.up()
        result = school.run("verify", "--json")
        rows = json.loads(result.stdout)["rows"]
        strays = [(row["id"], row["owner"], row["home"]) for row in rows if row["on_aws"] == STRAY]
        assert sorted(strays) == sorted((one, ME, "another") for one in anas)
        assert result.exit_code == 0
        assert "0 things of yours, 6 of other owners or computers" in result.stderr
        for named in ((), ("ec2",), (prefix,), ("--owner", ME)):
            result = school.run("recover", "--yes", *named)
            assert (result.exit_code, result.stdout) == (0, "")
            assert "Left out: 1 of other owners or computers." in result.stderr
            assert "Nothing to recover." in result.stderr
        assert school.run("down", "--all").exit_code == 0
        assert sorted(school.left()) == sorted(anas)
    with at_home_of("ana"):
        assert [row["on_aws"] for row in school.rows("verify")] == ["stands"] * 7
        assert school.run("down", "--all").exit_code == 0
        assert school.left() == []


@pytest.mark.live
def test_a_new_laptop_takes_over_what_its_owner_names_and_asks_first(school: School) -> None:
    with at_home_of("old"):
        school.up("--owner", "ana")
    school.clock.sleep(3601)
    with at_home_of("new"):
        assert school.run("recover", "--yes", "--any-home").exit_code == 2
        said = school.run("verify", "--owner", "ana").stderr
        command = "python -m awslabs.ledger recover --owner ana --any-home"
        assert f"6 are of ana, and built from another computer. If that was you: {command}" in said
        line = command.split()[3:]
        asked = school.run(*line, said="n\n")
        assert asked.exit_code == 1
        assert re.search(r"awslabs-ec2-\w+, of ana, built from another computer, 1\.0 h old", asked.stderr)
        assert not school.file().exists()
        assert school.run("recover", "--any-home", "--owner", "ben", "--yes").stdout == ""
        assert school.run(*line, said="y\n").exit_code == 0
        assert school.rows("list", "--owner", "ana")[0]["resources"] == 6
        assert school.run("down", "--all").exit_code == 0
    assert school.left() == []


def test_what_carries_no_home_is_anothers(school: School) -> None:
    make_vpc(school, home=HOME_OF_NOBODY)
    result = school.run("verify", "--json")
    assert (result.exit_code, json.loads(result.stdout)["rows"][0]["home"]) == (0, "?")
    assert "Nothing to recover." in school.run("recover", "--yes", "ec2").stderr
    (row,) = school.rows("recover", "--yes", "--owner", ME, "--any-home")
    assert row["resources"] == 1


def test_what_two_computers_built_of_one_ledger_goes_down_in_one_order(school: School) -> None:
    with at_home_of("old"):
        school.die_in_up(7)
        text = school.file().read_text()
    with at_home_of("new"):
        journal.home().mkdir()
        school.file().write_text(text)
        school.up()
        school.file().unlink()
        (row,) = school.rows("recover", "--yes", "ec2", "--owner", ME, "--any-home")
        assert row["resources"] == 6
        assert [row["name"] for row in school.rows("show", "ec2")] == [
            *("vpc", "subnet", "internet-gateway", "security-group", "key-pair", "instance")
        ]
        assert school.run("down", "--all").exit_code == 0
    assert school.left() == []


def test_the_owner_may_stand_in_the_environment(school: School) -> None:
    school.patch.setenv("AWSLABS_OWNER", "ana")
    school.up()
    school.up("--name", "second", "--owner", "ben")
    assert [row["owner"] for row in school.rows("list")] == ["ana"]
    assert "Of other owners than ana, 1 ledgers are not shown." in school.run("list").stderr
    assert [row["owner"] for row in school.rows("list", "--owner", "ben")] == ["ben"]
    school.file().unlink()
    assert "6 things of yours" in school.run("verify").stderr
    assert "0 things of yours" in school.run("verify", "--owner", "ben").stderr
    (row,) = school.rows("recover", "--yes", "ec2")
    assert row["resources"] == 6
    school.patch.delenv("AWSLABS_OWNER")
    assert {row["owner"] for row in school.rows("list")} == {"ana", "ben"}


def test_an_owner_whom_some_tag_refuses_is_refused_before_any_call(school: School) -> None:
    def is_refused(result: Result) -> None:
        assert (result.exit_code, result.stdout, school.trouble.asked) == (1, "", [])
        assert "cannot be the name of an owner" in result.stderr
        (other,) = shlex.split(result.stderr.split("such as --owner ")[1])
        assert journal.chosen_owner(other) == other

    for owner in ("Tanaka, Taro", "ana (2)", "ana\u009b1m", " ana", "a" * 65, "?"):
        is_refused(school.up("--owner", owner))
        for verb in ("list", "verify", "recover"):
            is_refused(school.run(verb, "--owner", owner))
        school.patch.setenv("AWSLABS_OWNER", owner)
        is_refused(school.up())
        school.patch.delenv("AWSLABS_OWNER")


def test_an_iam_name_that_some_tag_refuses_is_an_owner_with_dashes(school: School) -> None:
    arn = f"arn:aws:sts::{ACCOUNT}:assumed-role/student/tanaka,taro@example.com"
    Wire(school.patch).fail("GetCallerIdentity", lambda call: {"Account": ACCOUNT, "Arn": arn}, ALWAYS)
    school.up()
    assert school.rows("list")[0]["owner"] == "tanaka-taro@example.com"
    assert school.run("verify").exit_code == 0


def test_the_home_id_is_drawn_once_however_many_come_at_once() -> None:
    program = "from awslabs import journal; print(journal.home_id())"
    started = [
        subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) for _ in range(6)
    ]
    drawn = {one.communicate()[0].strip() for one in started}
    assert drawn == {journal.home_id()}
    assert journal.HOME_ID.fullmatch(journal.home_id())
    for path in journal.home().iterdir():
        assert path.stat().st_mode & 0o777 == 0o600
    assert sorted(path.name for path in journal.home().iterdir()) == ["home-id", "home-id.lock"]


@pytest.mark.live
@pytest.mark.parametrize("text", ["", "x", "0123456789ABCDEF", "0" * 17])
def test_a_damaged_home_id_stops_up_before_it_builds_and_says_what_mends_it(
    text: str, school: School
) -> None:
    journal.home().mkdir()
    (journal.home() / "home-id").write_text(text)
    result = school.up()
    assert (result.exit_code, school.changing_calls()) == (1, [])
    assert f"{journal.home() / 'home-id'} is damaged" in result.stderr
    assert not school.file().exists()
    (journal.home() / "home-id").unlink()
    assert school.up().exit_code == 0


def test_every_kind_that_takes_tags_carries_all_of_them() -> None:
    mark = Mark("awslabs-ec2-abc123", "ana", "01 thing", journal.fresh_token(), "us-east-1", "0" * 16)
    request = {"Bucket": "b", "jobName": "j", "StatementId": "s", "computeResources": {}, "Name": "n"}
    tagless = {"scheduler:CreateSchedule"}  # its name and its description say the same: test_switch.py
    for kind in KINDS.values():
        marked = json.dumps(kind.mark(request, mark))
        assert (
            kind.call in tagless
            or kind.join
            or all(json.dumps(value) in marked for value in mark.tags().values())
        ), kind.call
    assert set(mark.tags()) == {"Name", *(f"awslabs:{one}" for one in MARKS)}


@contextlib.contextmanager
def refused(operations: dict[str, str]) -> Iterator[None]:
    """These operations are answered with these error codes."""
    with pytest.MonkeyPatch.context() as patch:
        aws = Wire(patch, times=ALWAYS)
        for operation, code in operations.items():
            aws.refuse(operation, code, 403, f"You may not {operation}.")
        yield


NO_LISTS = {"ListRoles": "AccessDenied", "DescribeVpcs": "UnauthorizedOperation"}


def test_verify_goes_past_what_it_may_not_list_and_exits_3(school: School) -> None:
    school.up()
    with refused(NO_LISTS):
        result = school.run("verify", "--json")
    rows = json.loads(result.stdout)["rows"]
    assert Counter(row["on_aws"] for row in rows) == {
        "stands": 6,
        "not looked at": 1,
        "not looked at: AccessDenied": 1,
        "not looked at: UnauthorizedOperation": 1,
    }
    by_row = {row["row"]: row["on_aws"] for row in rows}
    assert (by_row["vpc"], by_row["iam:CreateRole"]) == ("not looked at", "not looked at: AccessDenied")
    assert result.exit_code == 3
    assert "6 rows stand, 0 absent on AWS, 1 not looked at" in result.stderr
    assert "2 kinds could not be looked at" in result.stderr
    assert "iam:CreateRole: not looked at: AccessDenied. These credentials may not do iam:ListRoles" in (
        result.stderr
    )


def test_a_join_that_cannot_be_looked_at_is_not_absent(school: School) -> None:
    school.up()
    with refused({"DescribeInternetGateways": "AccessDenied"}):
        rows = json.loads(school.run("verify", "--json").stdout)["rows"]
    by_row = {row["row"]: row["on_aws"] for row in rows}
    assert by_row["gateway-attachment"] == by_row["internet-gateway"] == "not looked at"
    assert by_row["ec2:AttachInternetGateway"] == "not looked at: AccessDenied"


def test_verify_names_both_what_is_lost_and_what_it_could_not_look_at(school: School) -> None:
    school.up()
    school.file().unlink()
    with refused(NO_LISTS):
        result = school.run("verify")
    assert result.exit_code == 3
    assert "5 things of yours stand in no ledger" in result.stderr
    assert "not looked at: UnauthorizedOperation" in result.stderr


def test_recover_writes_back_what_it_sees_and_exits_3_for_the_rest(school: School) -> None:
    school.up()
    school.file().unlink()
    with refused({**NO_LISTS, "ListFunctions": "ThrottlingException"}):
        result = school.run("recover", "--yes", "ec2", "--json")
    (row,) = json.loads(result.stdout)["rows"]
    assert (row["resources"], result.exit_code) == (5, 3)
    assert "3 kinds could not be looked at" in result.stderr
    (row,) = school.rows("recover", "--yes", "ec2")  # allowed to look, it finds the rest
    assert row["resources"] == 6
    assert school.run("down", "--all").exit_code == 0
    assert school.left() == []


def test_recover_that_finds_nothing_does_not_say_so_where_it_could_not_look(school: School) -> None:
    with refused(NO_LISTS):
        result = school.run("recover", "--yes")
    assert (result.exit_code, result.stdout) == (3, "")
    assert "Nothing to recover." not in result.stderr
    assert "not proven" in result.stderr


def test_what_only_asks_for_fewer_calls_is_looked_at_all_the_same(school: School) -> None:
    school.up()
    asked, describe = [], EC2Backend.describe_vpcs

    def throttle(backend: Any, *args: Any, **options: Any) -> Any:
        asked.append(1)
        if len(asked) < 3:
            raise EC2ClientError("RequestLimitExceeded", "Request limit exceeded.")
        return describe(backend, *args, **options)

    school.patch.setattr(EC2Backend, "describe_vpcs", throttle)
    rows = school.rows("verify")
    assert len(asked) == 3
    assert [row["on_aws"] for row in rows] == ["stands"] * 7


# -- Recover -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", range(1, CALLS_OF_UP + 1))
def test_a_file_lost_in_the_middle_of_up_is_recovered_and_down_leaves_nothing(
    number: int, school: School
) -> None:
    school.die_in_up(number)
    school.clock.sleep(60)
    school.file().unlink()
    (row,) = school.rows("recover", "--yes", "ec2")
    assert row["resources"] == len(school.left()) > 0
    result = school.run("down", "--all")
    assert result.exit_code == 0, result.stderr
    assert school.left() == []
    assert school.rows("verify") == school.rows("list") == []


def test_up_has_as_many_changing_calls_as_the_test_above_kills(school: School) -> None:
    school.up()
    assert len(school.changing_calls()) == CALLS_OF_UP


def test_a_recovered_lab_is_completed_by_the_next_up(school: School) -> None:
    school.die_in_up(7)  # the security group
    school.file().unlink()
    school.rows("recover", "--yes", "ec2")
    vpc_id = school.left()[0]
    assert school.up().exit_code == 0
    assert (len(school.left()), school.left()[0]) == (6, vpc_id)
    assert school.run("down", "--all").exit_code == 0
    assert school.left() == []


def test_recovered_rows_go_down_one_by_one_newest_first(school: School) -> None:
    school.up()
    school.file().unlink()
    school.rows("recover", "--yes", "ec2")
    rows = {row["row"]: row for row in school.rows("show", "ec2")}
    assert all(row["needs"] == [one for one in rows if one < number] for number, row in rows.items())
    school.run("down", "--all")
    deletions = [
        call for call in school.changing_calls() if call.startswith(("Delete", "Terminate", "Detach"))
    ]
    first = list(dict.fromkeys(deletions))
    order = ["TerminateInstances", "DeleteKeyPair", "DeleteSecurityGroup", "DeleteInternetGateway"]
    assert [call for call in first if call in order] == order
    assert first[-1] == "DeleteVpc"
    assert school.left() == []


def test_a_young_ledger_is_left_alone_unless_it_is_named(school: School) -> None:
    school.up()
    prefix = json.loads(school.file().read_text())["prefix"]
    school.file().unlink()
    for line in (("recover", "--yes"), ("recover", "--yes", "gpu")):
        result = school.run(*line)
        assert (result.exit_code, result.stdout) == (0, "")
        assert not school.file().exists()
    said = school.run("recover", "--yes").stderr
    assert f"{prefix}, of {ME}: younger than an hour" in said
    assert "Left out: 1 younger than an hour." in said
    (row,) = school.rows("recover", "--yes", prefix)
    assert (row["lab"], row["prefix"], row["name"]) == ("ec2", prefix, "default")


def test_after_an_hour_it_need_not_be_named(school: School) -> None:
    school.up()
    school.file().unlink()
    school.clock.sleep(3601)
    (row,) = school.rows("recover", "--yes")
    assert row["resources"] == 6


def test_what_others_own_is_recovered_for_the_teacher_only(school: School) -> None:
    school.up("--owner", "ben")
    school.file().unlink()
    school.clock.sleep(3601)
    for named in ((), ("ec2",)):
        assert "Nothing to recover." in school.run("recover", "--yes", *named).stderr
        assert not school.file().exists()
    (row,) = school.rows("recover", "--yes", "--all-owners")
    assert row["resources"] == 6
    assert school.rows("list")[0]["owner"] == "ben"
    assert school.run("down", "--all").exit_code == 0
    assert school.left() == []


@pytest.mark.live
def test_down_never_touches_what_stands_in_no_ledger(school: School) -> None:
    school.up("--owner", "ben")
    school.file().unlink()
    school.up()
    school.run("down", "--all")
    assert len(school.left()) == 6
    assert "6 of other owners" in school.run("verify").stderr


@pytest.mark.parametrize("disks", [True, False])
def test_what_was_recovered_costs_what_it_did_or_nobody_knows(disks: bool, school: School) -> None:
    school.up()
    usd = school.rows("list")[0]["usd_per_hour"]
    school.file().unlink()
    with contextlib.nullcontext() if disks else refused({"DescribeVolumes": "UnauthorizedOperation"}):
        young = school.run("recover", "--yes", "--all-owners").stderr
        school.clock.sleep(2 * 3600)
        said = school.run("recover", "--yes", "--all-owners").stderr
    price = "about 0.0163 USD per hour" if disks else "an unknown price"
    assert f"6 things, {price}." in young
    assert "Left out: 1 younger than an hour." in young
    assert f"2.0 h old, {price}: vpc" in said
    (row,) = school.rows("list")
    assert row["usd_per_hour"] == (pytest.approx(usd) if disks else None)
    assert row["usd_so_far"] == (pytest.approx(2 * usd, rel=0.01) if disks else None)
    table = school.run("list")
    assert ("?" in table.stdout.splitlines()[1].split()) == (not disks)
    assert f"{price[0].upper()}{price[1:]} on AWS." in table.stderr
    status = school.run("status", group=ec2.command_line()).stdout
    assert ("0.0163 USD per hour" if disks else "an unknown price") in status, status
    if not disks:
        assert " ? USD per hour" in CliRunner().invoke(main, []).output
    with school.trouble.ahead({1: "UnauthorizedOperation"}, {}):
        assert f"still stand, at {price}." in school.run("down", group=ec2.command_line()).stderr
    down = school.run("down", group=ec2.command_line()).stderr
    assert ("It cost an unknown price." in down) == (not disks)
    school.up()  # a new life: what the old one has cost stays as unknown as it was
    assert (school.rows("list")[0]["usd_so_far"] is None) == (not disks)


def test_recover_asks_first_and_says_what_of_whom_and_how_old(school: School) -> None:
    school.up()
    school.file().unlink()
    school.clock.sleep(2 * 3600)
    refused = school.run("recover", said="n\n")
    assert refused.exit_code == 1
    assert re.search(
        rf"awslabs-ec2-\w+, of {ME}, 2\.0 h old, about 0\.0163 USD per hour: vpc vpc-\w+, subnet subnet-",
        refused.stderr,
    )
    assert not school.file().exists()
    agreed = school.run("recover", said="y\n")
    assert agreed.exit_code == 0
    assert school.file().exists()


@pytest.mark.live
def test_a_lost_lab_beside_a_new_one_gets_a_ledger_of_its_own(school: School) -> None:
    school.up()
    prefix = json.loads(school.file().read_text())["prefix"]
    school.file().unlink()
    school.up()
    new = school.file().read_text()
    (row,) = school.rows("recover", "--yes", prefix)
    assert row["name"] == f"recovered-{prefix[-6:]}"
    assert row["down"] == f"python -m awslabs.ec2 down --name {row['name']}"
    assert school.file().read_text() == new
    assert school.run("down", "--name", row["name"], group=ec2.command_line()).exit_code == 0
    assert len(school.left()) == 6
    assert {one["id"] for one in school.rows("show", "ec2")} == {*school.left()}


def test_rows_that_an_old_backup_lacks_come_back_into_the_same_ledger(school: School) -> None:
    school.die_in_up(2)
    old = school.file().read_text()
    school.up()
    school.file().write_text(old)
    (row,) = school.rows("recover", "--yes", "ec2")
    assert row["name"] == "default"
    assert {one["name"] for one in school.rows("show", "ec2")} >= {
        "vpc",
        "subnet",
        "security-group",
        "instance",
    }
    assert school.run("down", "--all").exit_code == 0
    assert school.left() == []


def test_recover_with_nothing_lost_changes_nothing(school: School) -> None:
    school.up()
    text = school.file().read_text()
    result = school.run("recover", "--yes", "--all-owners", "ec2")
    assert (result.exit_code, result.stdout) == (0, "")
    assert "Nothing to recover." in result.stderr
    assert school.file().read_text() == text


def test_a_damaged_ledger_stops_up_and_down_until_recover_rebuilds_it(school: School) -> None:
    school.up()
    stood, half = school.left(), damage(school.file())
    for line in (("up",), ("down",)):
        result = school.run(*line, group=ec2.command_line())
        assert result.exit_code == 1
        assert "is damaged" in result.stderr
        assert school.changing_calls() == []
    (row,) = school.rows("recover", "--yes")  # the very command that the error names, on a young ledger
    assert (row["name"], row["resources"]) == ("default", 6)
    (aside,) = journal.home().glob("ec2.default.*damaged-*")
    assert aside.read_text() == half
    assert school.up().exit_code == 0
    assert school.left() == stood
    assert school.run("down", "--all").exit_code == 0
    assert school.left() == []


def test_a_damaged_ledger_of_another_owner_on_this_computer_is_rebuilt_too(school: School) -> None:
    school.up("--owner", "ben")
    damage(school.file())
    (row,) = school.rows("recover", "--yes")
    assert row["resources"] == 6
    assert school.run("down", "--all").exit_code == 0
    assert school.left() == []


def test_a_damaged_ledger_of_which_nothing_stands_is_replaced_by_an_empty_one(school: School) -> None:
    school.up()
    school.run("down", "--all")
    school.file().write_text("")
    (row,) = school.rows("recover", "--yes")
    assert row["resources"] == 0
    assert school.up().exit_code == 0


def test_a_damaged_ledger_stays_as_it_is_when_recover_is_refused(school: School) -> None:
    school.up()
    half = damage(school.file())
    assert school.run("recover", said="n\n").exit_code == 1
    assert school.file().read_text() == half


def test_a_ledger_of_a_newer_awslabs_is_no_damaged_one(school: School) -> None:
    school.up()
    newer = school.file().read_text().replace('"schema": 1', '"schema": 2').replace('"number"', '"nth"')
    school.file().write_text(newer)
    result = school.run("recover", "--yes")
    assert result.exit_code == 1
    assert f"fix:   {install(newer=True)}" in result.stderr
    assert school.file().read_text() == newer


def test_two_of_one_token_are_both_recovered_and_deleted(school: School) -> None:
    school.up()
    with school.trouble.hand():
        client = school.console()
        (vpc,) = [one for one in client.describe_vpcs()["Vpcs"] if not one["IsDefault"]]
        client.create_vpc(
            CidrBlock="10.10.0.0/23", TagSpecifications=[{"ResourceType": "vpc", "Tags": vpc["Tags"]}]
        )
    school.file().unlink()
    school.rows("recover", "--yes", "ec2")
    assert school.run("down", "--all").exit_code == 0
    assert school.left() == []


def test_a_copied_mark_is_seen_by_verify_and_goes_once_it_was_recovered(school: School) -> None:
    school.up()
    stood = school.left()
    with school.trouble.hand():
        client = school.console()
        (ours,) = [one for one in client.describe_vpcs()["Vpcs"] if not one["IsDefault"]]
        spec = [{"ResourceType": "vpc", "Tags": ours["Tags"]}]
        twin = {"CidrBlock": "10.10.0.0/23", "TagSpecifications": spec}
        for _ in range(20):  # AWS does not tell when a VPC was made: one is to come before ours in any order
            if client.create_vpc(**twin)["Vpc"]["VpcId"] < ours["VpcId"]:
                break
    assert school.up().exit_code == 0
    copies = sorted({*school.left()} - {*stood})
    assert copies
    verified = school.run("verify")
    assert verified.exit_code == 3
    assert all(copy in verified.stdout for copy in copies)
    school.rows("recover", "--yes", "ec2")
    assert school.run("down", "ec2").exit_code == 0
    assert school.left() == []


def make_role(region: str, path: str = "") -> Ledger:
    """A ledger in which one role stands; under the path of an older awslabs, if one is given."""
    ledger = Ledger(inprocess.open_cloud(ACCOUNT, ME, region), "serverless")
    with pytest.MonkeyPatch.context() as patch:
        if path:
            mark = iam.mark_role
            older = lambda request, made: {**mark(request, made), "Path": f"{path}{made.ledger}/"}  # noqa: E731
            patch.setitem(KINDS, "iam:CreateRole", dataclasses.replace(iam.ROLE, mark=older))
        ledger.create(
            "role",
            ledger.client("iam").create_role,
            RoleName=f"{ledger.prefix}-role",
            AssumeRolePolicyDocument=policies.trust("lambda.amazonaws.com"),
        )
    return ledger


def roles() -> list[str]:
    """The paths of all roles that a lab made, by a plain call."""
    listed = boto3.client("iam").list_roles(PathPrefix="/awslabs/")["Roles"]
    return [role["Path"] for role in listed]


def test_a_role_stands_under_a_path_of_its_region(school: School) -> None:
    ledger = make_role(TOKYO)
    assert roles() == [f"/awslabs/{TOKYO}/{ledger.prefix}/"]


@pytest.mark.live
@pytest.mark.parametrize("is_lost", [False, True])
@pytest.mark.parametrize("path", ["", "/awslabs/"])
def test_roles_of_a_lab_in_another_region_are_left_alone(is_lost: bool, path: str, school: School) -> None:
    ledger = make_role(TOKYO, path)
    there = roles()
    if is_lost:
        ledger.journal.path.unlink()
    school.up()
    school.clock.sleep(3601)
    found = [row["row"] for row in school.rows("verify") if row["on_aws"] != "stands"]
    assert found == (["role"] if is_lost and path else [])  # a path without a Region tells nobody whose it is
    for line in (["--all-owners"], ["serverless"], [ledger.prefix, "--all-owners"]):
        result = school.run("recover", "--yes", *line)
        assert (result.exit_code, result.stdout) == (0, "")
        assert ("Nothing tells its Region" in result.stderr) == bool(found)
    assert school.run("down", "--all").exit_code == 0
    assert school.rows("list") == [] or not is_lost
    assert roles() == ([] if not is_lost else there)


def test_a_lost_role_is_recovered_in_its_own_region(school: School) -> None:
    make_role(TOKYO).journal.path.unlink()
    result = school.run("verify", "--region", TOKYO)
    assert result.exit_code == 3
    (row,) = school.rows("recover", "--yes", "serverless", "--region", TOKYO)
    assert row["resources"] == 1
    assert school.run("down", "--all").exit_code == 0
    assert roles() == []


def test_a_role_under_an_older_path_is_recovered_beside_what_tells_its_region(school: School) -> None:
    ledger = make_role(TOKYO, "/awslabs/")
    ledger.create("queue", ledger.client("sqs").create_queue, QueueName=f"{ledger.prefix}-queue")
    ledger.journal.path.unlink()
    assert "Nothing tells its Region" in school.run("recover", "--yes", "--all-owners", "serverless").stderr
    (row,) = school.rows("recover", "--yes", "--all-owners", "serverless", "--region", TOKYO)
    assert row["resources"] == 2
    assert school.run("down", "--all").exit_code == 0
    assert roles() == []


def test_recover_in_another_region_finds_that_region_s(school: School) -> None:
    school.up("--region", TOKYO)
    school.file(region=TOKYO).unlink()
    assert "Nothing to recover." in school.run("recover", "--yes", "ec2").stderr
    (row,) = school.rows("recover", "--yes", "ec2", "--region", TOKYO)
    assert row["resources"] == 6
    assert school.run("down", "--all").exit_code == 0
    assert school.left(TOKYO) == []


def test_a_ledger_at_work_is_not_recovered_into(school: School) -> None:
    school.die_in_up(3)
    old = school.file().read_text()
    school.up()
    school.file().write_text(old)
    with Ledger(inprocess.open_cloud(ACCOUNT, ME), "ec2").locked("up"):
        result = school.run("recover", "--yes", "ec2")
    assert (result.exit_code, result.stdout) == (1, "")
    assert "is in use" in result.stderr
    assert school.file().read_text() == old
