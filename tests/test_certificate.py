"""The certificate: what it says, and that none is issued while anything stands or could not be looked at."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import inprocess
import pytest
import test_not_ours as kinds
from click.testing import Result
from typed import typed
from wire import ALWAYS, Wire

from awslabs import certificate, inventory, journal
from awslabs.cloud import Cloud
from awslabs.errors import LabError, StillStanding
from awslabs.kinds import KINDS
from awslabs.ledger import Ledger

pytestmark = pytest.mark.live  # they take a minute together

ACCOUNT = "222233334444"
TOKYO = "ap-northeast-1"


CLOCK_DOUBTS = certificate.clock_doubts


class Office:
    """A computer on which a lab has stood and is gone, in one process with its cloud.

    Attributes
    ----------
    ledger : Ledger
        Of that lab: a network, a table and a bucket.
    """

    def __init__(self, patch: pytest.MonkeyPatch, trouble: inprocess.Trouble) -> None:
        self.patch, self.trouble, self.cloud = patch, trouble, Cloud()
        self.ledger = Ledger(self.cloud, "ec2", owner="ana")
        client = self.ledger.client("ec2")
        vpc = self.ledger.create("vpc", client.create_vpc, CidrBlock="10.10.0.0/23")
        self.ledger.create("subnet", client.create_subnet, VpcId=vpc, CidrBlock="10.10.0.0/24")
        self.ledger.create(
            "bucket", self.ledger.client("s3").create_bucket, Bucket=f"{self.ledger.prefix}-it"
        )
        self.ledger.down()
        self.path = self.ledger.journal.path

    def issue(self, owner: str = "ana", *clouds: Cloud) -> dict[str, Any]:
        return certificate.issue([*clouds] or [self.cloud], owner)

    def rewrite(self, change: Callable[[dict[str, Any]], Any]) -> None:
        """Change the file as an editor would."""
        content = json.loads(self.path.read_text())
        change(content)
        self.path.write_text(json.dumps(content))

    def refuse(self, operation: str, code: str = "AccessDenied") -> None:
        """One operation is not answered from now on."""
        Wire(self.patch).refuse(operation, code, 403, times=ALWAYS)

    def run(self, *line: str) -> Result:
        return typed(certificate.command_line(), ["certificate", *line])


@pytest.fixture
def office(monkeypatch: pytest.MonkeyPatch) -> Iterator[Office]:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", f"AKIAPRACTICE{ACCOUNT}")
    monkeypatch.setattr(certificate, "clock_doubts", lambda cloud: [])  # a clock that jumps is never right
    with inprocess.cloud(slow_states=0), inprocess.trouble() as trouble:
        yield Office(monkeypatch, trouble)


# -- What it says -------------------------------------------------------------------------------------------


def test_it_says_what_stood_until_when_and_what_was_not_looked_at(office: Office) -> None:
    content = office.issue()
    (book,) = content["ledgers"]
    assert [row["name"] for row in book["rows"]] == ["vpc", "subnet", "bucket"]
    for row in book["rows"]:
        assert row["begun"] <= row["made"] <= row["last_shown"] <= row["gone"] <= content["issued"]
    first = content["statement"]
    assert first.startswith("Not looked at: ")
    assert TOKYO in first.partition("; of kinds: none. ")[0]
    assert "us-east-1" not in content["not_looked_at"]["regions"]
    assert first.endswith(
        "In account 222233334444, us-east-1, AWS shows nothing that awslabs has built for ana."
    )
    assert content["looked_at"] == [
        {"region": "us-east-1", "at": content["looked_at"][0]["at"], "kinds": sorted(KINDS)}
    ]
    assert content["usd"] == "0.000000"
    assert "not a signature" in content["sum"]


def test_it_is_written_as_json_and_as_a_page_and_never_over_another(office: Office, tmp_path: Path) -> None:
    path = tmp_path / "proof.json"
    result = office.run("--owner", "ana", "-o", str(path), "--json")
    assert result.exit_code == 0, result.stderr
    content = certificate.check(path.read_text(encoding="utf-8"))
    assert json.loads(result.stdout)["sha256"] == content["sha256"]
    page = path.with_suffix(".html").read_text(encoding="utf-8")
    assert page.index(content["statement"]) < page.index("<h1>")
    assert content["sha256"] in page
    assert all(row["id"] in page for row in content["ledgers"][0]["rows"])
    assert office.run("--check", str(path)).exit_code == 0
    assert office.run("--owner", "ana", "-o", str(path.with_suffix(".html"))).exit_code == 2
    path.write_text(path.read_text().replace("bucket", "basket"))
    assert office.run("--check", str(path)).exit_code == 1


def test_the_sum_can_be_computed_by_anybody_from_what_the_document_says_of_it(office: Office) -> None:
    import hashlib

    content = json.loads(json.dumps(office.issue()))
    told = content.pop("sha256")
    text = json.dumps(content, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    assert hashlib.sha256(text.encode("utf-8")).hexdigest() == told


def test_what_a_name_holds_stays_text_on_the_page(office: Office) -> None:
    def name(content: dict[str, Any]) -> None:
        content["rows"][0]["name"] = "<script>alert(1)</script>"

    office.rewrite(name)
    page = certificate.as_page(office.issue())
    assert "<script>" not in page
    assert "&lt;script&gt;" in page


def test_others_do_not_stand_in_the_way_of_one_s_own_but_are_named(office: Office) -> None:
    kinds.vpc(Ledger(office.cloud, "ec2", "other", owner="ben"))
    assert office.issue()["others_stand"] == {"ben": 1}
    with pytest.raises(StillStanding, match="of ben stands"):
        office.issue(certificate.ALL)


def test_regions_are_those_of_all_ledgers_here(office: Office) -> None:
    there = Cloud(TOKYO)
    book = Ledger(there, "ec2", owner="ana")
    kinds.vpc(book)
    assert certificate.regions_of(office.cloud) == ["us-east-1", TOKYO]
    result = office.run("--owner", "ana")
    assert (result.exit_code, TOKYO in result.stderr) == (3, True)
    book.down()
    content = json.loads(office.run("--owner", "ana", "--json").stdout)
    assert [one["region"] for one in content["looked_at"]] == ["us-east-1", TOKYO]
    assert len(content["ledgers"]) == 2


def test_with_regions_all_each_that_the_account_may_use_is_looked_at(office: Office) -> None:
    office.patch.setattr(certificate, "enabled_regions", lambda cloud: ["us-east-1", TOKYO])
    content = json.loads(office.run("--owner", "ana", "--regions", "all", "--json").stdout)
    assert [one["region"] for one in content["looked_at"]] == ["us-east-1", TOKYO]


@pytest.mark.parametrize("region", ["all,us-east-1", "useast1"])
def test_what_is_no_region_is_named_before_any_call(region: str, office: Office) -> None:
    office.trouble.asked.clear()
    result = office.run("--owner", "ana", "--regions", region)
    named = region.partition(",")[0]
    assert (result.exit_code, f"--regions: {named} is no Region" in result.stderr) == (2, True), result.stderr
    assert office.trouble.asked == []


def test_a_region_that_aws_does_not_have_is_named(office: Office) -> None:
    office.patch.setattr(certificate, "clock_doubts", CLOCK_DOUBTS)
    office.refuse("GetCallerIdentity", "InvalidRegionError")
    result = office.run("--owner", "ana", "--regions", "us-nowhere-1")
    assert result.exit_code == 1
    assert "'us-nowhere-1' is no name of one" in result.stderr


def test_the_computer_s_clock_is_held_against_aws_s(monkeypatch: pytest.MonkeyPatch) -> None:
    class Sts:
        def __init__(self, date: str) -> None:
            self.date = date

        def client(self, service: str) -> Any:
            return self

        def get_caller_identity(self) -> dict[str, Any]:
            return {"ResponseMetadata": {"HTTPHeaders": {"date": self.date} if self.date else {}}}

    monkeypatch.setattr(journal, "now", lambda: "2026-11-29T12:00:00.000Z")
    assert certificate.clock_doubts(Sts("Sun, 29 Nov 2026 12:04:59 GMT")) == []  # type: ignore[arg-type]
    assert "s off" in certificate.clock_doubts(Sts("Sun, 29 Nov 2026 12:06:00 GMT"))[0]  # type: ignore[arg-type]
    assert "no time" in certificate.clock_doubts(Sts(""))[0]  # type: ignore[arg-type]
    assert "no time" in certificate.clock_doubts(Sts("noon"))[0]  # type: ignore[arg-type]


# -- What stands in its way: fifty situations ---------------------------------------------------------------

Change = Callable[[dict[str, Any]], Any]


def of_row(number: int, /, **fields: Any) -> Change:
    return lambda content: content["rows"][number - 1].update(fields)


def of_header(**fields: Any) -> Change:
    return lambda content: content.update(fields)


LATER, EARLIER = "2099-01-01T00:00:00.000Z", "2001-01-01T00:00:00.000Z"
IN_THE_FILE: dict[str, Change] = {
    "a row is open": of_row(1, state="standing"),
    "a row is being made": of_row(1, state="creating"),
    "a row is being deleted": of_row(2, state="deleting"),
    "a state that is none": of_row(1, state="deleted"),
    "gone at no time": of_row(1, ended=""),
    "gone in the future": of_row(1, ended=LATER),
    "gone before it was made": of_row(1, ended=EARLIER),
    "made before it was begun": of_row(1, made=EARLIER),
    "made after it was gone": of_row(1, made=LATER),
    "begun after it was gone": of_row(1, begun=LATER),
    "a time that is none": of_row(1, ended="yesterday"),
    "a time without its Z": of_row(1, ended="2026-11-29T12:00:00.000"),
    "shown after it was gone": of_row(1, telling={"shown": LATER}),
    "shown before it was begun": of_row(1, telling={"shown": EARLIER}),
    "shown at no time": of_row(1, telling={"shown": "often"}),
    "refused, though it was made": of_row(3, state="refused"),
    "no identifier": of_row(1, ids={}),
    "a token of no ledger": of_row(1, token="mine"),
    "a kind that nobody knows": of_row(1, call="ec2:CreateCastle"),
    "a call that is none": of_row(1, call="CreateVpc"),
    "a field too many": of_row(1, proof="yes"),
    "numbers out of order": of_row(1, number=7),
    "two rows of one number": of_row(2, number=1),
    "needs what is not there": of_row(2, needs=[9]),
    "the price is none": of_row(1, usd_per_hour=-1.0),
    "of another account": of_header(account="999999999999"),
    "of another Region": of_header(region="eu-west-1"),
    "of another lab": of_header(lab="gpu"),
    "of another cloud": of_header(cloud="sandbox"),
    "a prefix of others": of_header(prefix="production"),
    "of a newer version": of_header(schema=2),
    "of no version": of_header(schema="1"),
    "the owner is no text": of_header(owner=7),
    "the meter is none": of_header(meter=[]),
    "the rows are none": of_header(rows={}),
}


def no_field(name: str) -> Change:
    return lambda content: content["rows"][0].pop(name)


IN_THE_FILE |= {f"a row without {name}": no_field(name) for name in ("state", "ids", "token", "ended")}


@pytest.mark.parametrize("situation", sorted(IN_THE_FILE))
def test_none_is_issued_of_a_ledger_that_was_changed(situation: str, office: Office, tmp_path: Path) -> None:
    assert office.issue()  # it would be
    office.rewrite(IN_THE_FILE[situation])
    result = office.run("--owner", "ana", "-o", str(tmp_path / "proof"))
    assert result.exit_code == 3, result.stdout
    assert [path for path in tmp_path.iterdir() if path.name.startswith("proof")] == []


def cut(office: Office) -> None:
    office.path.write_text(office.path.read_text()[:-40])


def emptied(office: Office) -> None:
    office.path.write_text("")


def is_a_folder(office: Office) -> None:
    office.path.unlink()
    office.path.mkdir()


def is_a_link(office: Office) -> None:
    office.path.rename(office.path.with_suffix(".kept"))
    os.symlink(office.path.with_suffix(".kept"), office.path)


def row_lost(office: Office) -> None:
    """The file is lost, and something stands of what it held."""
    kinds.vpc(Ledger(office.cloud, "ec2", "second", owner="ana"))
    for path in journal.files(journal.home()):
        path.unlink()


def marked_closed(office: Office) -> None:
    """Somebody writes into the file that it is gone; AWS shows it."""
    book = Ledger(office.cloud, "ec2", "second", owner="ana")
    kinds.vpc(book)
    (row,) = book.journal.rows
    row.state, row.ended = "gone", journal.now()
    book.journal.save()


def closed_and_bare(office: Office) -> None:
    """The same, and its tags were taken away besides."""
    book = Ledger(office.cloud, "ec2", "second", owner="ana")
    kinds.vpc(book)
    kinds.untag(book)
    marked = book.journal.rows[-1]
    marked.state, marked.ended = "gone", journal.now()
    book.journal.save()


def under_another_owner(office: Office) -> None:
    """What stands of a ledger of ours carries somebody else's name."""
    book = Ledger(office.cloud, "ec2", "second", owner="ana")
    vpc = kinds.vpc(book)
    tags = [{"Key": "awslabs:owner", "Value": "ben"}]
    book.client("ec2").create_tags(Resources=[vpc], Tags=tags)
    marked_all_gone(book)


def half_a_mark(office: Office) -> None:
    """One of its tags was changed, so that it is no ledger's mark any more; another still tells."""
    book = Ledger(office.cloud, "ec2", "second", owner="ana")
    vpc = kinds.vpc(book)
    tags = [{"Key": "awslabs:row", "Value": "none"}]
    book.client("ec2").create_tags(Resources=[vpc], Tags=tags)
    book.journal.rows[0].ids = {"VpcId": "vpc-0123456789abcdef0"}
    marked_all_gone(book)


def name_of_ours(office: Office) -> None:
    """A table without tags, under a name that a ledger of ours has drawn."""
    office.ledger.client("dynamodb").create_table(
        TableName=f"{office.ledger.prefix}-more",
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        BillingMode="PAY_PER_REQUEST",
    )


def marked_all_gone(book: Ledger) -> None:
    for row in book.journal.rows:
        row.state, row.ended = "gone", journal.now()
    book.journal.save()


def from_another_computer(office: Office) -> None:
    office.patch.setenv("AWSLABS_HOME", str(journal.home().with_name("another")))
    kinds.vpc(Ledger(Cloud(), "ec2", owner="ana"))
    office.patch.setenv("AWSLABS_HOME", str(office.path.parent))


def role_elsewhere(office: Office) -> None:
    """A role of another Region, which IAM lists in every one; its ledger was lost."""
    book = Ledger(Cloud(TOKYO), "ec2", owner="ana")
    kinds.role(book, "role")
    book.journal.path.unlink()


def open_in_a_region_not_looked_at(office: Office) -> None:
    kinds.vpc(Ledger(Cloud(TOKYO), "ec2", owner="ana"))


def damaged_in_a_region_not_looked_at(office: Office) -> None:
    office.path.with_name(f"ec2.third.{ACCOUNT}.{TOKYO}.json").write_text("{")


def refused_vpcs(office: Office) -> None:
    office.refuse("DescribeVpcs", "UnauthorizedOperation")


def refused_roles(office: Office) -> None:
    office.refuse("ListRoles")


def refused_buckets(office: Office) -> None:
    office.refuse("ListBuckets")


def expired(office: Office) -> None:
    office.refuse("DescribeInstances", "ExpiredToken")


def class_left_open(office: Office) -> None:
    """What was taken down after class is not all gone."""
    folder = journal.home() / "class"
    folder.mkdir()
    copy = folder / office.path.name
    copy.write_text(office.path.read_text().replace('"state": "gone"', '"state": "deleting"'))


def at_work(office: Office) -> None:
    """A lab begins while AWS is asked."""
    survey = inventory.survey

    def begin(cloud: Cloud) -> Any:
        seen = survey(cloud)
        kinds.vpc(Ledger(cloud, "ec2", "second", owner="ana"))
        return seen

    office.patch.setattr(inventory, "survey", begin)


ELSEWHERE: list[Callable[[Office], None]] = [
    cut, emptied, is_a_folder, is_a_link, row_lost, marked_closed, closed_and_bare, under_another_owner,
    half_a_mark, name_of_ours, from_another_computer, role_elsewhere, open_in_a_region_not_looked_at,
    damaged_in_a_region_not_looked_at, refused_vpcs, refused_roles, refused_buckets, expired, class_left_open,
    at_work,
]  # fmt: skip


@pytest.mark.parametrize("situation", ELSEWHERE, ids=lambda situation: situation.__name__)
def test_none_is_issued_while_anything_stands_or_is_not_proven(
    situation: Callable[[Office], None], office: Office, tmp_path: Path
) -> None:
    situation(office)
    result = office.run("--owner", "ana", "--regions", "us-east-1", "-o", str(tmp_path / "proof"))
    assert result.exit_code == 3, result.stdout
    assert "No certificate" in result.stderr
    assert [path for path in tmp_path.iterdir() if path.name.startswith("proof")] == []


def test_the_situations_are_fifty() -> None:
    assert len(IN_THE_FILE) + len(ELSEWHERE) >= 50


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{}",
        "[]",
        "null",
        "[" * 100_000,
        '{"format": "awslabs certificate 1"}',
        '{"sha256": "' + "0" * 64 + '"}',
    ],
    ids=["empty", "object", "list", "null", "deep", "bare", "sum"],
)
def test_what_is_no_certificate_is_none(text: str) -> None:
    with pytest.raises(LabError):
        certificate.check(text)


@pytest.mark.parametrize(
    "field", ["statement", "issued", "account", "owner", "looked_at", "ledgers", "usd", "sum"]
)
def test_a_changed_certificate_is_seen(field: str, office: Office) -> None:
    content = office.issue()
    certificate.check(certificate.as_text(content))
    for changed in ({**content, field: "another"}, {key: content[key] for key in content if key != field}):
        with pytest.raises(LabError):
            certificate.check(certificate.as_text(changed))
    with pytest.raises(LabError):
        certificate.check(certificate.as_text({**content, "note": "all is well"}))


def test_a_disk_that_takes_one_of_the_two_files_keeps_none(office: Office, tmp_path: Path) -> None:
    write = journal.write

    def full(path: Path, text: str) -> None:
        if path.suffix == ".html":
            raise OSError(28, "No space left on device")
        write(path, text)

    office.patch.setattr(journal, "write", full)
    assert office.run("--owner", "ana", "-o", str(tmp_path / "proof")).exit_code == 1
    assert [path for path in tmp_path.iterdir() if path.name.startswith("proof")] == []
