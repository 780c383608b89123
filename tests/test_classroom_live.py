"""A class over HTTP: an account for each student, entered by a role, beside one that several share."""

from __future__ import annotations

import csv
import itertools
import json
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
import test_not_ours as kinds
from click.testing import Result
from practice import everything_ours
from typed import typed

from awslabs import classroom, journal, policies
from awslabs.cloud import Cloud
from awslabs.ledger import Ledger

pytestmark = pytest.mark.live

TEACHER = "111122223333"
TRUST = policies.document(
    {"Effect": "Allow", "Principal": {"AWS": f"arn:aws:iam::{TEACHER}:root"}, "Action": "sts:AssumeRole"}
)
FRESH = itertools.count()  # accounts: each test has its own
ALL = policies.document(policies.allow("*", "*"))


class School:
    """A teacher, and students in a practice cloud; `accounts`: of those who have one of their own."""

    def __init__(self, run: Any, folder: Path, patch: pytest.MonkeyPatch, accounts: int) -> None:
        self.run, self.folder, self.patch = run, folder, patch
        self.accounts = [f"{400000000000 + next(FRESH)}" for _ in range(accounts)]
        for name, value in run.environment(TEACHER).items():
            patch.setenv(name, value)
        patch.chdir(folder)

    def at(self, home: str) -> None:
        """Sit down at somebody's computer."""
        self.patch.setenv("AWSLABS_HOME", str(self.folder / home))

    def cloud(self, account: str = TEACHER, region: str | None = None) -> Cloud:
        return Cloud(environment=self.run.environment(account, region))

    def build(self, account: str, owner: str, name: str = "default") -> Ledger:
        """What a student has: things of several services, one of which AWS deletes once per 30 s."""
        cloud = self.cloud(account)
        cloud.folder = journal.home() / account
        ledger = Ledger(cloud, "serverless", name, owner=owner)
        kinds.role(ledger, "role")
        queues, tables = ledger.client("sqs"), ledger.client("dynamodb")
        ledger.create("dead-letter-queue", queues.create_queue, QueueName=f"{ledger.prefix}-letters")
        ledger.create(
            "table",
            tables.create_table,
            TableName=f"{ledger.prefix}-table",
            AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
            KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
            BillingMode="PAY_PER_REQUEST",
        )
        ledger.create("api", ledger.client("apigateway").create_rest_api, name=f"{ledger.prefix}-api")
        return ledger

    def open_doors(self) -> None:
        """Give each account the role by which the teacher comes in."""

        def door(account: str) -> None:
            iam = self.cloud(account).client("iam")
            iam.create_role(RoleName="Teacher", AssumeRolePolicyDocument=TRUST)
            iam.put_role_policy(RoleName="Teacher", PolicyName="all", PolicyDocument=ALL)

        with ThreadPoolExecutor(8) as pool:
            list(pool.map(door, self.accounts))

    def write(self, *shared: str) -> None:
        """The class: a line for each account, and for each who shares the teacher's."""
        with open("class.csv", "w", newline="") as file:
            lines = csv.writer(file)
            lines.writerow(classroom.COLUMNS)
            for number, account in enumerate(self.accounts):
                lines.writerow([f"Student {number}", "", "", f"arn:aws:iam::{account}:role/Teacher", ""])
            for owner in shared:
                lines.writerow([owner.title(), owner, "", "", ""])

    def verb(self, *line: str) -> Result:
        return typed(classroom.command_line(), line)

    def left(self, account: str) -> set[str]:
        """The owners of what stands in an account."""
        return {one.owner for one in everything_ours(self.cloud(account))}


@pytest.fixture
def school(run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> School:
    return School(run, tmp_path, monkeypatch, int(os.environ.get("AWSLABS_TEST_ACCOUNTS", "6")))


def test_a_class_of_many_accounts_and_of_one_that_is_shared(school: School) -> None:
    school.at("students")
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda account: school.build(account, f"user-{account}"), school.accounts))
    school.build(TEACHER, "ana", "ana")
    school.build(TEACHER, "other", "other")  # of another class in the same account
    school.at("teacher")
    school.open_doors()
    school.write("ana")
    shut = school.accounts[-1]
    iam = school.cloud(shut).client("iam")
    iam.delete_role_policy(RoleName="Teacher", PolicyName="all")
    iam.delete_role(RoleName="Teacher")

    rows = json.loads((listed := school.verb("list", "--json")).stdout)["rows"]
    assert listed.exit_code == 3
    standing = {row["account"] for row in rows if row["lab"] == "serverless"}
    assert standing == {TEACHER, *school.accounts[:-1]}
    (unseen,) = (row for row in rows if row["state"] == classroom.UNSEEN)
    assert unseen["student"] == f"Student {len(school.accounts) - 1}"
    assert {row["owner"] for row in rows if row["account"] == TEACHER} == {"ana"}

    downed = school.verb("down", "--yes", "--json")
    assert downed.exit_code == 3, downed.stderr  # one account lets nobody in
    assert "sts:AssumeRole" in downed.stderr
    assert [school.left(account) for account in school.accounts[:-1]] == [set()] * (len(school.accounts) - 1)
    assert school.left(shut) == {f"user-{shut}"}
    assert school.left(TEACHER) == {"other"}

    iam.create_role(RoleName="Teacher", AssumeRolePolicyDocument=TRUST)
    iam.put_role_policy(RoleName="Teacher", PolicyName="all", PolicyDocument=ALL)
    assert school.verb("down", "--yes").exit_code == 0
    assert school.left(shut) == set()
    assert school.verb("list").exit_code == 0
    assert school.left(TEACHER) == {"other"}
    assert [path.name for path in journal.files(school.cloud().folder)] == []


def test_students_who_type_up_at_the_same_moment_all_come_through(school: School) -> None:
    """Processes of their own, in the account of whoever teaches; those of another class stay as they are."""

    def up(number: int) -> subprocess.CompletedProcess[str]:
        owner = "other" if number == 0 else f"student-{number}"
        lab = "serverless" if number == 1 else "ec2"
        return subprocess.run(
            [sys.executable, "-m", f"awslabs.{lab}", "up", "--owner", owner],
            env={**os.environ, "AWSLABS_HOME": str(school.folder / owner)},
            capture_output=True,
            text=True,
        )

    school.at("teacher")
    stood = others_of(school)  # of another test, in the same account
    school.accounts.clear()
    school.write(*(f"student-{number}" for number in range(1, 6)))
    with ThreadPoolExecutor(6) as pool:
        ends = list(pool.map(up, range(6)))
    assert [one.returncode for one in ends] == [0] * 6, [one.stderr for one in ends if one.returncode]
    rows = json.loads(school.verb("list", "--json").stdout)["rows"]
    assert {row["state"] for row in rows} == {"stands"}
    assert sorted(row["owner"] for row in rows) == [f"student-{number}" for number in range(1, 6)]
    before = others_of(school)
    downed = school.verb("down", "--yes")
    assert downed.exit_code == 0, downed.stderr
    assert others_of(school) == before
    assert school.left(TEACHER) == {"other"}
    school.at("other")
    (path,) = journal.files(school.cloud().folder)
    Ledger(school.cloud(), *path.name.split(".")[:2]).down()  # its owner's own ledger still fits
    until = time.monotonic() + 120
    while (left := others_of(school)) != stood and time.monotonic() < until:
        time.sleep(1)  # AWS may show for some seconds what it has deleted
    assert left == stood


def others_of(school: School) -> list[tuple[str, str]]:
    """What stands of the other class, by kind and identifier."""
    ours = everything_ours(school.cloud())
    return sorted((one.call, one.found.id) for one in ours if one.owner == "other")


def test_credentials_of_a_role_renew_themselves(school: School, monkeypatch: pytest.MonkeyPatch) -> None:
    """A class of a hundred labs takes longer to delete than a role's hour."""
    school.at("teacher")
    school.open_doors()
    account = school.accounts[0]
    cloud = school.cloud().as_role(f"arn:aws:iam::{account}:role/Teacher", "eu-west-1")
    assert (cloud.identity["account"], cloud.region) == (account, "eu-west-1")
    assert cloud.client("ec2").meta.region_name == "eu-west-1"
    credentials = cloud.session.get_credentials()
    first = credentials.get_frozen_credentials()
    later = datetime.now(timezone.utc) + timedelta(minutes=58)
    monkeypatch.setattr("botocore.credentials._local_now", lambda: later)
    monkeypatch.setattr(credentials, "_time_fetcher", lambda: later)
    assert credentials.get_frozen_credentials() != first
    assert cloud.client("sts").get_caller_identity()["Account"] == account


def test_two_lines_that_lead_into_one_student_s_own_account_are_a_fault(school: School) -> None:
    school.at("teacher")
    school.open_doors()
    school.write()
    with open("class.csv", "a") as file:
        file.write(f"Zoe,zoe,,arn:aws:iam::{school.accounts[0]}:role/Second,\n")
    iam = school.cloud(school.accounts[0]).client("iam")
    iam.create_role(RoleName="Second", AssumeRolePolicyDocument=TRUST)
    result = school.verb("list")
    assert (result.exit_code, "mean the same labs" in result.stderr) == (1, True), result.stderr
