"""A class: its file, what stands, and its end, in one account and in many."""

from __future__ import annotations

import json
import random
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import inprocess
import pytest
import test_not_ours as kinds
from click.testing import CliRunner, Result
from practice import everything_ours
from typed import typed
from wire import ALWAYS, Call, Wire, around, refusal

from awslabs import certificate, classroom, ec2, journal, ledger, ledger_cli, ledgers, preflight, tunnel
from awslabs.__main__ import main
from awslabs.classroom import BadLine, students
from awslabs.cloud import Cloud
from awslabs.kinds import KINDS
from awslabs.ledger import Ledger
from awslabs.sandbox.services.apigateway.rest_apis import RATES
from awslabs.sandbox.services.servicequotas import quotas

pytestmark = pytest.mark.live  # they take a minute together

ACCOUNT = "222233334444"
HEAD = "name,owner,profile,role_arn,region\n"
ROLE = "arn:aws:iam::333344445555:role/Teacher"


# -- class.csv ----------------------------------------------------------------------------------------------


def test_a_line_for_each_student_whatever_spreadsheet_has_written_it() -> None:
    text = (
        "\ufeffname,owner,profile,role_arn,region\r\n"
        'Ana,ana,,,us-east-1\r\n"Ben, the second",ben,p-ben,,us-east-1;eu-west-1\r\n\r\n'
        f"Cleo,,,{ROLE},\r\n"
    )
    ana, ben, cleo = students(text)
    assert (ana.line, ana.shares, ana.regions) == (2, True, ("us-east-1",))
    assert (ben.line, ben.name, ben.profile, ben.regions) == (
        3,
        "Ben, the second",
        "p-ben",
        ("us-east-1", "eu-west-1"),
    )
    assert (cleo.line, cleo.owner, cleo.role_arn, cleo.regions) == (5, "", ROLE, ())


@pytest.mark.parametrize(
    ("lines", "line", "why"),
    [
        ("", 1, "missing"),
        ("name,owner\nAna,ana\n", 1, "name,owner"),
        (HEAD, 2, "no student"),
        (HEAD + "Ana,ana,,us-east-1\n", 2, "4 cells"),
        (HEAD + ",ana,,,us-east-1\n", 2, "no name"),
        (HEAD + f"Ana,ana,p,{ROLE},\n", 2, "both"),
        (HEAD + "Ana,ana,,,\nBen,,,,\n", 3, "neither"),
        (HEAD + "Ana,ana,,role/Teacher,\n", 2, "no ARN of a role"),
        (HEAD + "Ana,a*a,,,\n", 2, "owner"),
        (HEAD + "Ana,ana,,,Virginia\n", 2, "no Region"),
        (HEAD + "Ana,ana,,,\nAna,ben,,,\n", 3, "name of line 2"),
        (HEAD + "Ana,ana,,,\nBen,ana,,,\n", 3, "same labs as line 2"),
        (HEAD + "Ana,ana,p,,\n\nBen,,p,,\n", 4, "same labs as line 2"),
        (HEAD + "Ana\x1b[31m,ana,,,\n", 2, "character"),
        (HEAD + 'Ana,"ana,,,\n', 2, "no line of a CSV"),
    ],
)
def test_a_bad_line_is_named_before_any_call(
    lines: str, line: int, why: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(BadLine) as caught:
        students(lines)
    assert str(caught.value).startswith(f"line {line}: ")
    assert why in str(caught.value)
    (tmp_path / "class.csv").write_text(lines)
    monkeypatch.chdir(tmp_path)
    with inprocess.trouble() as trouble:
        for verb in ("list", "down"):
            result = CliRunner().invoke(classroom.command_line(), [verb])
            assert (result.exit_code, f"line {line}: " in result.stderr) == (2, True), result.stderr
    assert trouble.asked == []


def test_a_class_that_is_not_there_and_one_in_another_writing_end_before_any_call(tmp_path: Path) -> None:
    for path in (tmp_path / "none.csv", tmp_path / "latin.csv"):
        if path.stem == "latin":
            path.write_bytes((HEAD + "Zoé,zoe,,,\n").encode("latin-1"))
        result = CliRunner().invoke(classroom.command_line(), ["list", "--class", str(path)])
        assert (result.exit_code, path.name in result.stderr) == (2, True)


# -- One account --------------------------------------------------------------------------------------------


class School:
    """A teacher's computer, and students with theirs, in one account of this process."""

    def __init__(self, folder: Path, patch: pytest.MonkeyPatch, trouble: inprocess.Trouble) -> None:
        self.folder, self.patch, self.trouble = folder, patch, trouble

    def at(self, home: str) -> None:
        """Sit down at somebody's computer."""
        self.patch.setenv("AWSLABS_HOME", str(self.folder / home))

    def up(self, owner: str, home: str = "", **options: Any) -> Ledger:
        """A student builds the first lab."""
        self.at(home or owner)
        ledger = Ledger(Cloud(), "ec2", owner=owner)
        ec2.up(ledger, allow_from="192.0.2.1/32", **options)
        self.at("teacher")
        return ledger

    def begin(self, owner: str, home: str = "") -> Ledger:
        """A student builds a network and no more."""
        self.at(home or owner)
        ledger = Ledger(Cloud(), "ec2", owner=owner)
        client = ledger.client("ec2")
        network = ledger.create("vpc", client.create_vpc, CidrBlock="10.10.0.0/23")
        zone = f"{ledger.cloud.region}a"  # one of AWS's choice may have no t3.micro
        subnet = {"VpcId": network, "CidrBlock": "10.10.0.0/24", "AvailabilityZone": zone}
        ledger.create("subnet", client.create_subnet, **subnet)
        gateway = ledger.create("internet-gateway", client.create_internet_gateway)
        attach = client.attach_internet_gateway
        ledger.create("gateway-attachment", attach, InternetGatewayId=gateway, VpcId=network)
        self.at("teacher")
        return ledger

    def run(self, *line: str, said: str | None = None) -> Result:
        """``awslabs class ...`` at the teacher's computer; a traceback would be a bug."""
        self.trouble.asked.clear()
        self.trouble.calls.clear()
        return typed(classroom.command_line(), line, said)

    def rows(self, *line: str) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = json.loads(self.run("list", "--json", *line).stdout)["rows"]
        return rows

    def owners(self) -> dict[str, int]:
        """How many things stand of each owner, by AWS's tags."""
        found: dict[str, int] = {}
        for one in everything_ours(Cloud()):
            found[one.owner] = found.get(one.owner, 0) + 1
        return found


@pytest.fixture
def school(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[School]:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", f"AKIAPRACTICE{ACCOUNT}")
    monkeypatch.setattr(tunnel, "wait_for_ssh", lambda *_, **__: None)
    monkeypatch.chdir(tmp_path)
    Path("class.csv").write_text(HEAD + "Ana,ana,,,\nBen,ben,,,us-east-1\n")
    with inprocess.cloud() as _, inprocess.trouble() as trouble:
        quotas.granted[ACCOUNT, inprocess.REGION, "L-F678F1CE"] = 1000  # VPCs
        there = School(tmp_path, monkeypatch, trouble)
        there.at("teacher")
        yield there


def test_list_shows_whose_labs_stand_and_exits_3_until_none_does(school: School) -> None:
    assert school.run("list").exit_code == 0
    school.up("ana")
    school.up("ben", instance_type="t3.large")
    result = school.run("list", "--json")
    ana, ben = json.loads(result.stdout)["rows"]
    assert result.exit_code == 3
    assert "python -m awslabs.classroom down" in result.stderr
    assert (ana["student"], ana["owner"], ana["lab"], ana["state"]) == ("Ana", "ana", "ec2", "stands")
    assert (ana["account"], ana["region"], ana["resources"]) == (ACCOUNT, "us-east-1", 6)
    assert 0 < ana["usd_per_hour"] < ben["usd_per_hour"]
    assert school.run("list", "--owner", "cleo").exit_code == 0
    sheet = school.run("list", "--csv").stdout.splitlines()
    assert sheet[0].startswith("student,owner,lab,account,region,state,")
    assert len(sheet) == 3
    assert {operation for operation, _ in school.trouble.calls} == set()


def test_students_stand_in_the_order_of_the_class(school: School) -> None:
    names = ["Student 2", "Student 10", "Ana", "Student 1"]
    owners = [name.lower().replace(" ", "-") for name in names]
    # Each in another Region than the one before: the order is that of the class, not that of the places.
    regions = ["us-east-1", "ap-northeast-1", "us-east-1", "ap-northeast-1"]
    lines = [",".join([*pair, "", "", region]) for *pair, region in zip(names, owners, regions, strict=True)]
    Path("class.csv").write_text(HEAD + "\n".join(lines) + "\n")
    for owner, region in zip(owners, regions, strict=True):
        school.patch.setenv("AWS_REGION", region)
        school.begin(owner)
    assert [row["student"] for row in school.rows()] == names
    sheet = school.run("list", "--csv").stdout.splitlines()[1:]
    assert [line.partition(",")[0] for line in sheet] == names


def test_a_lab_that_is_half_built_says_what_it_lacks_and_goes_down_as_well(school: School) -> None:
    school.at("ana")
    with school.trouble.ahead({5: "die after"}, {}), pytest.raises(inprocess.Death):
        ec2.up(Ledger(Cloud(), "ec2", owner="ana"), allow_from="192.0.2.1/32")
    school.at("teacher")
    (row,) = school.rows()
    assert row["state"] == "half built: no instance"
    assert school.run("down", "--yes").exit_code == 0
    assert school.owners() == {}


def test_down_touches_no_other_class_and_writes_no_ledger_of_the_teacher_s(school: School) -> None:
    for owner in ("ana", "ben", "other"):
        school.begin(owner)
    own = school.begin("ana", home="teacher")  # the teacher shows the lab, and gives a student's name
    before, mine = school.owners(), own.journal.path.read_text()
    assert before == {"ana": 6, "ben": 3, "other": 3}
    assert school.run("down").exit_code == 1  # nobody is there to agree
    assert school.run("down", "--dry-run").exit_code == 0
    assert (school.owners(), school.trouble.calls) == (before, [])
    result = school.run("down", said="y\n")
    assert result.exit_code == 0, result.stderr
    assert "left alone: other (1)" in result.stderr
    assert school.owners() == {"ana": 3, "other": 3}
    assert own.journal.path.read_text() == mine
    assert [path.name for path in journal.files(journal.home())] == [own.journal.path.name]
    kept = [journal.read(path) for path in journal.files(journal.home() / "class")]
    assert sorted(header["owner"] for header, _ in kept) == ["ana", "ben"]
    assert {row.state for _, rows in kept for row in rows} == {"gone"}
    assert school.run("down").exit_code == 0  # there is nothing to agree to
    own.down()
    assert school.owners() == {"other": 3}


def test_the_student_s_own_down_finds_all_gone(school: School) -> None:
    ledger = school.begin("ana")
    school.run("down", "--yes")
    school.at("ana")
    assert len(ledger.down()) == 4
    assert ledger.journal.open_rows() == []


def test_who_gave_another_s_name_is_seen_before_anything_goes(school: School) -> None:
    school.begin("ben")
    school.begin("ben", home="impostor")
    result = school.run("down", "--owner", "ben", "--yes")
    assert (result.exit_code, school.owners()) == (1, {"ben": 6})
    assert "built from 2 computers" in result.stderr
    assert "--owner ben --any-home" in result.stderr
    assert school.run("down", "--owner", "ben", "--any-home", "--yes").exit_code == 0
    assert school.owners() == {}


def test_down_for_one_owner_leaves_the_others(school: School) -> None:
    school.begin("ana")
    school.begin("ben")
    assert school.run("down", "--owner", "ana", "--yes").exit_code == 0
    assert school.owners() == {"ben": 3}


def test_what_cannot_be_deleted_is_named_and_the_rest_goes(school: School) -> None:
    school.begin("ana")
    held = school.begin("ben")
    with school.trouble.hand():  # somebody's server in the student's network
        client = held.client("ec2")
        subnet = held.resources["subnet"]
        image = client.describe_images(Owners=["amazon"])["Images"][0]["ImageId"]
        client.run_instances(ImageId=image, MinCount=1, MaxCount=1, SubnetId=subnet, InstanceType="t3.micro")
    result = school.run("down", "--yes")
    assert result.exit_code == 3
    assert "Ben, ec2: " in result.stderr
    assert set(school.owners()) == {"ben"}
    with school.trouble.hand():
        for reservation in client.describe_instances()["Reservations"]:
            for one in reservation["Instances"]:
                client.terminate_instances(InstanceIds=[one["InstanceId"]])
    assert school.run("down", "--yes").exit_code == 0
    assert school.owners() == {}


def test_a_kind_that_may_not_be_listed_is_not_looked_at_and_that_is_exit_3(
    school: School, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        Wire(patch).refuse("DescribeVpcs", "UnauthorizedOperation", 403, times=ALWAYS)
        for verb in ("list", "down"):
            result = school.run(verb)
            assert result.exit_code == 3
            assert "not looked at: ec2:CreateVpc" in result.stdout
    assert school.run("list").exit_code == 0


@pytest.mark.parametrize("expired", ["before", "meanwhile"])
def test_who_s_credentials_have_expired_is_not_looked_at_and_the_others_are(
    school: School, monkeypatch: pytest.MonkeyPatch, expired: str
) -> None:
    """A profile of SSO or of a role ends after some hours: before the first call, or between two of them."""
    school.begin("ana")
    ended = "666677778888"

    def opened(profile: str, region: str) -> Cloud:
        keys = {"AWS_ENDPOINT_URL": None, "AWS_SECRET_ACCESS_KEY": "opens nothing", "AWS_REGION": region}
        account = ended if profile else ACCOUNT
        return Cloud(environment={**keys, "AWS_ACCESS_KEY_ID": f"AKIAPRACTICE{account}"})

    def refuse(call: Call) -> Any:
        mine = ended in call.client._request_signer._credentials.access_key
        if mine and (expired == "before" or call.operation != "GetCallerIdentity"):
            raise refusal(call.operation, "ExpiredTokenException", 400)
        return call.send()

    around(monkeypatch, refuse)
    two = students(HEAD + "Ana,ana,,,\nBen,ben,sso,,\n")
    rooms, unseen = classroom.rooms(two, opened("", inprocess.REGION), opened, [])
    seen = classroom.look(rooms, unseen)
    assert [lab.owner for lab in seen.labs] == ["ana"]
    assert {one.student for one in seen.unseen} == {"Ben"}
    assert {getattr(one.error, "code", "") for one in seen.unseen} == {"ExpiredTokenException"}
    asked = {one.what for one in seen.unseen}  # where a kind is listed, and not found on another one's way
    assert asked == {classroom.UNSEEN} if expired == "before" else len(asked) > len(KINDS) / 2


def test_what_was_deleted_in_the_console_after_a_down_that_failed_is_closed_by_the_next_one(
    school: School,
) -> None:
    ledger = school.begin("ana")
    lab = classroom.look(
        [classroom.Room(Cloud(), {"ana": classroom.Student(2, "Ana", "ana", "", "", ())})], []
    ).labs[0]
    book = classroom.record(lab)  # as of a `down` that was killed
    ledger.down()
    assert book.journal.open_rows()
    assert school.run("down").exit_code == 0
    assert {row.state for row in journal.read(book.journal.path)[1]} == {"gone"}


@pytest.mark.parametrize("way", ["class down", "ledger down --all"])
def test_nothing_waits_for_what_aws_deletes_once_per_30_s(school: School, way: str) -> None:
    """While an API waits for its turn, all else goes, also what the API's own lab has built before it."""
    school.at("ana")
    for number in range(3):
        mixed = Ledger(Cloud(), "serverless", f"s{number}", owner="ana")
        queues = mixed.client("sqs")
        mixed.create("queue", queues.create_queue, QueueName=f"{mixed.prefix}-letters")
        kinds.MAKERS["apigateway:CreateRestApi"](mixed)
    if way == "class down":
        school.at("teacher")
        labs = classroom.look(
            [classroom.Room(Cloud(), {"ana": classroom.Student(2, "Ana", "ana", "", "", ())})], []
        ).labs
        assert len(labs) == 3

        def wrong() -> list[Any]:
            return classroom.take_down(labs)
    else:
        here = Cloud()
        entries = ledgers.standing([here.folder])
        assert len(entries) == 3

        def wrong() -> list[Any]:
            ends = ledgers.down_all(lambda region: here, entries)
            return [error for _, error in ends if error]

    with school.trouble.ahead({}, {}):
        school.trouble.calls.clear()
        assert wrong() == []
        deleted = [name for name, _ in school.trouble.calls if name.startswith("Delete")]
    apis = [place for place, name in enumerate(deleted) if name == "DeleteRestApi"]
    others = [place for place, name in enumerate(deleted) if name == "DeleteQueue"]
    assert len(others) == 3
    done = [place for place in apis if place > max(others)]
    assert len(done) >= 2, deleted
    assert school.owners() == {}
    open_rows = [row for path in journal.files(Cloud().folder) for row in journal.read(path)[1] if row.open]
    assert open_rows == []


def test_who_waits_for_a_turn_keeps_the_switch_and_tells_what_failed(school: School) -> None:
    """What guards a lab goes last, after the API; and one lab that cannot go holds up no other."""
    school.at("ana")
    books = [Ledger(Cloud(), "serverless", f"s{number}", owner="ana") for number in range(2)]
    for book in books:
        role = kinds.role(book, "role", "scheduler")
        kinds.MAKERS["apigateway:CreateRestApi"](book)
        book.create(
            "guard",
            book.client("scheduler").create_schedule,
            Name=book.prefix,
            ScheduleExpression="rate(2 minutes)",  # without a date to begin at, as somebody has left it
            FlexibleTimeWindow={"Mode": "OFF"},
            Target={"Arn": book.arn("lambda", "function:none"), "RoleArn": role},
        )
    kinds.MAKERS["ec2:CreateVpc"](held := Ledger(Cloud(), "ec2", owner="ana"))
    with school.trouble.hand():
        kinds.untag(held)
    assert [ledgers.takes_turns(book) for book in (*books, held)] == [True, True, False]
    here = Cloud()
    with school.trouble.ahead({}, {}):
        school.trouble.calls.clear()
        ends = ledgers.down_all(lambda region: here, ledgers.standing([here.folder]))
        names = [name for name, _ in school.trouble.calls if name.startswith("Delete")]
    failed = {entry.lab: error.what for entry, error in ends if error}
    assert set(failed) == {"ec2"}, failed
    assert names.count("DeleteSchedule") == 2
    first = names.index("DeleteSchedule")
    assert "DeleteRestApi" in names[:first]
    assert "DeleteRole" not in names[:first]
    assert [row.name for book in books for row in journal.read(book.journal.path)[1] if row.open] == []


def test_what_takes_turns_stays_while_something_that_hangs_on_it_could_not_go(school: School) -> None:
    book = Ledger(Cloud(), "serverless")
    api = journal.Row(1, "api", "apigateway:CreateRestApi", "t", "standing", {"id": "x"})
    permission = journal.Row(2, "permission", "lambda:AddPermission", "t", "standing", {}, needs=[1])
    assert ledgers.before_turns(book, [permission, api]) == [permission]
    assert ledgers.in_turn(book, [permission, api]) == []  # AWS did not let that go in the step before
    assert ledgers.in_turn(book, [api]) == [api]


def test_a_hundred_in_one_line_miss_few_seconds_of_their_turns() -> None:
    """Each asks, and after a refusal again after the ledger's own pause; AWS takes one in 30 s."""
    each_s, labs = RATES["DeleteRestApi"][0], 100
    for seed in range(20):
        random.seed(seed)
        now = free_at = 0.0
        for _ in range(labs):
            now += 2.0  # the one before is proved to be gone
            asked = 1
            while now < free_at:
                now += ledger.pause(asked, longest_s=5.0)
                asked += 1
            free_at = now + each_s
        floor_s = (labs - 1) * each_s
        assert floor_s < now < 1.2 * floor_s, seed


# -- Before class -------------------------------------------------------------------------------------------


def test_prepare_counts_what_stands_and_asks_for_what_lacks(
    school: School, monkeypatch: pytest.MonkeyPatch
) -> None:
    from awslabs.sandbox.core import weather

    weather.current.change({"account": "new"})
    quotas.granted.clear()
    line = ("prepare", "--students", "30", "--json")
    result = school.run(*line, "--labs", "ec2,serverless")
    rows = {row["what"]: row for row in json.loads(result.stdout)["rows"]}
    assert result.exit_code == 1
    vpcs = rows["VPCs in the Region"]
    assert (vpcs["needed"], vpcs["in_use"], vpcs["allowed"], vpcs["enough"]) == (30, 1, 5, "no")
    command = (
        "aws service-quotas request-service-quota-increase --service-code vpc --quota-code L-F678F1CE "
        "--desired-value 31 --region us-east-1"
    )
    assert vpcs["fix"] == command
    assert command in result.stderr
    (servers,) = (row for what, row in rows.items() if "Standard" in what)
    assert (servers["needed"], servers["allowed"]) == (60, 8)
    (functions,) = (row for what, row in rows.items() if "functions" in what)
    assert (functions["needed"], functions["allowed"]) == (300, 10)
    assert not [what for what in rows if "G and VT" in what or "Fargate" in what or "pulls" in what]
    assert "30 REST APIs take 14.5 min" in result.stderr
    assert "the last of 30 waits 2.4 min for CreateDeployment" in result.stderr


def test_prepare_is_content_with_an_account_that_has_room(school: School) -> None:
    result = school.run("prepare", "--students", "4", "--labs", "ec2,ecs_qa,serverless", "--json")
    assert result.exit_code == 0, result.stderr
    assert {row["enough"] for row in json.loads(result.stdout)["rows"]} == {"yes"}
    told = school.run("prepare", "--students", "4", "--labs", "ec2").stdout
    assert told.splitlines()[0].split()[-1] == "enough"  # no column of fixes where nothing lacks
    crowd = school.run("prepare", "--students", "60", "--labs", "batch_sweep")
    assert (crowd.exit_code, "job queues of Batch" in crowd.stderr) == (1, True)
    assert "docker login" in crowd.stderr


def test_servers_count_what_their_types_do_whatever_aws_shows_of_them(
    school: School, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As recorded: a t3.micro of AWS without CPU options."""
    shown = [
        {"InstanceType": "t3.micro"},
        {"InstanceType": "t3.micro", "CpuOptions": {"CoreCount": 1, "ThreadsPerCore": 1}},
        {"InstanceType": "g4dn.xlarge", "InstanceLifecycle": "spot"},
    ]
    monkeypatch.setattr(preflight, "instances", lambda *_: shown)
    in_use = preflight.vcpus_in_use(Cloud().client("ec2"))
    assert in_use == {"L-1216C47A": 4, "L-3819A6DF": 4}
    monkeypatch.setattr(preflight, "instances", lambda *_: [])
    assert not preflight.vcpus_in_use(Cloud().client("ec2"))


def test_prepare_does_not_stop_where_nobody_may_read_quotas(
    school: School, monkeypatch: pytest.MonkeyPatch
) -> None:
    Wire(monkeypatch).refuse("GetServiceQuota", "AccessDeniedException", 403, times=ALWAYS)
    result = school.run("prepare", "--students", "4", "--labs", "ec2", "--json")
    assert result.exit_code == 0
    assert {row["enough"] for row in json.loads(result.stdout)["rows"]} == {"?"}


def test_prepare_says_that_the_account_allows_no_public_bucket(
    school: School, monkeypatch: pytest.MonkeyPatch
) -> None:
    block = {"BlockPublicAcls": True, "IgnorePublicAcls": True, "BlockPublicPolicy": True}
    with school.trouble.hand():
        Cloud().client("s3control").put_public_access_block(
            AccountId=ACCOUNT, PublicAccessBlockConfiguration={**block, "RestrictPublicBuckets": True}
        )
    result = school.run("prepare", "--students", "1", "--labs", "serverless")
    assert result.exit_code == 1
    assert "aws s3control delete-public-access-block" in result.stderr


@pytest.mark.parametrize("labs", ["", "ec3", "ec2,quantum"])
def test_prepare_knows_the_labs(labs: str) -> None:
    result = CliRunner().invoke(classroom.command_line(), ["prepare", "--students", "2", "--labs", labs])
    assert result.exit_code == 2
    assert "batch_sweep" in result.stderr


# -- The README ---------------------------------------------------------------------------------------------

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")


def test_the_readme_s_commands_for_after_class_run_as_they_stand_there(
    school: School, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, _, section = README.partition("## Cleaning up after class\n")
    section = section.partition("\n## ")[0]
    (roster,) = re.findall(r"```csv\n(.*?)```", section, re.DOTALL)
    ana, ben, cleo = students(roster)
    assert (ana.shares, ben.profile, cleo.role_arn[:13]) == (True, "student-ben", "arn:aws:iam::")
    head, shared, *_ = roster.splitlines()
    Path("class.csv").write_text(f"{head}\n{shared}\n")
    monkeypatch.setattr(certificate, "clock_doubts", lambda cloud: [])  # a clock that jumps is never right
    after_class, one_s_own, lost = (
        [shlex.split(line, comments=True) for line in block.splitlines()]
        for block in re.findall(r"```sh\n(.*?)```", section, re.DOTALL)
    )

    def run(python: str, flag: str, module: str, *line: str) -> int:
        assert (python, flag) == ("python", "-m")
        group = main if module == "awslabs" else certificate.command_line()
        return typed(group, line, "y\n").exit_code

    school.begin("ana")
    quotas.granted[ACCOUNT, inprocess.REGION, "L-A4707A72"] = 1000  # internet gateways
    assert [run(*line) for line in after_class] == [0, 0, 3, 0, 0, 0, 0]
    assert Path("after-class.html").is_file()
    (book,) = certificate.check(Path("after-class.json").read_text())["ledgers"]
    assert (book["owner"], len(book["rows"])) == ("ana", 3)
    school.begin("student", home="teacher")  # whom the practice cloud takes every caller for
    assert [run(*line) for line in one_s_own] == [0] * 8
    assert school.owners() == {}
    school.begin("ana", home="broken-laptop")
    with monkeypatch.context() as later:
        later.setattr(ledger_cli, "YOUNG_S", 0.0)
        assert [run(*line) for line in lost] == [0]
    assert run("python", "-m", "awslabs.ledger", "down", "--all") == 0
    assert school.owners() == {}
