"""The beginning and the end of a class: everybody types `up` at once, and the teacher `class down`.

    python bench/class_start.py --students 60                     in one account, with the quotas it needs
    python bench/class_start.py --students 60 --serverless 12     twelve of them build chapter 5
    python bench/class_start.py --students 100 --own-accounts --at-once 12

Each student is a process of their own, ``python -m awslabs.<lab> up``, with a folder of ledgers of their own,
on one practice cloud with AWS's rates, quotas and states; the rest build chapter 1 and log in. `--at-once`
says how many processes run at the same time, for computers that do not hold them all. Nobody may fail: a
student who does is shown with what was said, and the exit code is 1.
"""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import click

from awslabs import classroom, policies, sandbox
from awslabs.cloud import Cloud

TEACHER = "111122223333"
TRUST = policies.document(
    {"Effect": "Allow", "Principal": {"AWS": f"arn:aws:iam::{TEACHER}:root"}, "Action": "sts:AssumeRole"}
)
# Seconds between two calls in an account. Source: "Amazon API Gateway quotas".
RATES_S = {"CreateDeployment": 5.0, "DeleteRestApi": 30.0}


class School:
    """Students and a teacher, each with a folder of ledgers, on one practice cloud."""

    def __init__(self, run: sandbox.Run, folder: Path, students: int, own_accounts: bool) -> None:
        self.run, self.folder = run, folder
        self.accounts = [str(400000000000 + one) if own_accounts else TEACHER for one in range(students)]
        with open(folder / "class.csv", "w", newline="") as file:
            lines = csv.writer(file)
            lines.writerow(classroom.COLUMNS)
            for number, account in enumerate(self.accounts):
                role = f"arn:aws:iam::{account}:role/Teacher" if own_accounts else ""
                lines.writerow([f"Student {number}", f"student-{number}", "", role, ""])
        if own_accounts:
            with ThreadPoolExecutor(8) as pool:
                list(pool.map(self.open_door, self.accounts))

    def open_door(self, account: str) -> None:
        """Give an account the role by which the teacher comes in."""
        iam = Cloud(environment=self.run.environment(account)).client("iam")
        iam.create_role(RoleName="Teacher", AssumeRolePolicyDocument=TRUST)
        every = policies.document(policies.allow("*", "*"))
        iam.put_role_policy(RoleName="Teacher", PolicyName="all", PolicyDocument=every)

    def process(self, account: str, home: str, *line: str) -> tuple[subprocess.CompletedProcess[str], float]:
        """One command, and the seconds it took."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith("AWS")}
        settings = {**kept, **self.run.environment(account), "AWSLABS_HOME": str(self.folder / home)}
        began = time.monotonic()
        done = subprocess.run(
            [sys.executable, "-m", *line],
            cwd=self.folder,
            env=settings,
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
        )
        return done, time.monotonic() - began

    def up(self, number: int, lab: str) -> tuple[subprocess.CompletedProcess[str], float]:
        """A student builds a lab."""
        owner = f"student-{number}"
        return self.process(self.accounts[number], owner, f"awslabs.{lab}", "up", "--owner", owner, "--json")

    def teacher(self, *line: str) -> tuple[subprocess.CompletedProcess[str], float]:
        """``awslabs class ...`` at the teacher's computer."""
        return self.process(TEACHER, "teacher", "awslabs", "class", *line)

    def begin(self, serverless: int, at_once: int) -> list[str]:
        """All build, and what those were told who failed."""
        labs = ["serverless" if number < serverless else "ec2" for number in range(len(self.accounts))]
        began = time.monotonic()
        with ThreadPoolExecutor(at_once) as pool:
            ends = list(pool.map(self.up, range(len(labs)), labs))
        seconds = time.monotonic() - began
        failed = [
            f"student-{number}, {labs[number]}: exit {end.returncode}\n{end.stderr[-2000:]}"
            for number, (end, _) in enumerate(ends)
            if end.returncode
        ]
        took = sorted(one for _, one in ends)
        print(
            f"up: {len(labs)} processes, {at_once} at once, {serverless} of chapter 5: {seconds:.0f} s; "
            f"one took {took[len(took) // 2]:.0f} s (median), {took[-1]:.0f} s (longest); "
            f"{len(labs) - len(failed)} came through",
            flush=True,
        )
        return failed

    def end(self, serverless: int) -> list[str]:
        """The teacher looks, takes all down and looks again; what is wrong with it."""
        wrong = []
        listed, looked_s = self.teacher("list", "--json")
        rows: list[dict[str, Any]] = json.loads(listed.stdout)["rows"] if listed.stdout else []
        states = Counter(row["state"] for row in rows)
        if listed.returncode != 3 or states != {"stands": len(self.accounts)}:
            wrong.append(f"class list: exit {listed.returncode}, {dict(states)}\n{listed.stderr[-2000:]}")
        downed, down_s = self.teacher("down", "--yes", "--json")
        if downed.returncode:
            wrong.append(f"class down: exit {downed.returncode}\n{downed.stderr[-4000:]}")
        after, again_s = self.teacher("list", "--json")
        if after.returncode:
            wrong.append(f"class list afterwards: exit {after.returncode}\n{after.stderr[-2000:]}")
        shared = self.accounts.count(TEACHER)
        floor_s = RATES_S["DeleteRestApi"] * max(0, serverless - 1) if shared else 0.0
        floor = f", the floor of {serverless} REST APIs {floor_s:.0f} s" if floor_s else ""
        print(
            f"class list {looked_s:.0f} s, class down {down_s:.0f} s{floor}, list again {again_s:.0f} s",
            flush=True,
        )
        return wrong


@click.command()
@click.option("--students", default=60, show_default=True)
@click.option("--own-accounts", is_flag=True, help="An account for each, entered by a role.")
@click.option("--serverless", default=0, show_default=True, help="So many build chapter 5.")
@click.option("--at-once", default=0, help="Processes at the same time; default: all.")
def main(students: int, own_accounts: bool, serverless: int, at_once: int) -> None:
    """Print the times of both ends, and what went wrong."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.environ["AWSLABS_HOME"] = str(folder / "cloud")
        run = sandbox.start()
        try:
            school = School(run, folder, students, own_accounts)
            wrong = school.begin(serverless, at_once or students) + school.end(serverless)
        finally:
            run.stop()
    for line in wrong:
        print(line, file=sys.stderr)
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
