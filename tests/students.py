"""Students with a policy of their own in a practice cloud: what they run there, and what was decided.

ana = students.enrol(run, "ana", folder, *documents)    a user of IAM with a key, and these policies
ana.passes("ec2", "up")                                 all that she types for that step, one after another
ana.decisions()                                         what the practice cloud has decided since it was asked
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import re
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from typed import typed

from awslabs import policies, sandbox, student_policy
from awslabs.cloud import Cloud
from awslabs.ledger import Ledger
from awslabs.workload.ecs_qa import questions

ACCOUNT = "111122223333"

# What a student types, by lab and step. The second `up` looks at all that stands, a third one lets another
# address in. `limit` moves the switch, in both steps: whether work does so is a matter of the clock.
# ``!``: in a process of its own, for it takes the terminal over.
STEPS: dict[str, dict[str, list[str]]] = {
    "ec2": {
        "up": [
            *(
                "up --ttl 3h --require-switch",
                "up --ttl 3h --allow-from 127.0.0.0/8",
                "up --ttl 3h",
                "status",
                "limit --budget 0.02",
            ),
        ],
        "work": [
            *("!ssh -- true", "put FOLDER/notes.txt", "get notes.txt FOLDER/back.txt", "status"),
            "limit --budget 0.03",
        ],
    },
    "gpu": {
        "up": [
            "up --ttl 3h --no-notebook --require-switch",
            "up --ttl 3h --no-notebook --allow-from 127.0.0.0/8",
            *("up --ttl 3h --no-notebook", "status", "limit --budget 0.5"),
        ],
        "work": ["!ssh -- true", "status", "limit --budget 1"],
    },
    "ecs_qa": {
        "up": [
            "up --ttl 3h --require-switch --no-docker --export=ssm --model MODEL",
            "up --ttl 3h --no-docker --export=ssm --model MODEL",
            *("status", "limit --ttl 4h"),
        ],
        "work": [
            *("ask CONTEXT QUESTION", "ask-many --tasks 1", "answers", "logs", "clear", "status"),
            *("limit --ttl 5h", "TASK"),
        ],
    },
    "batch_sweep": {
        "up": [
            "up --ttl 12h --require-switch --no-docker",
            "up --ttl 12h --no-docker",
            "status",
            "limit --ttl 13h",
        ],
        "work": [
            *(
                "sweep --lr 0.1,0.01 --momentum 0.5 --epochs 1",
                "submit --epochs 1 --again",
                "jobs",
                "results",
            ),
            *("plot FOLDER/cells.png", "logs", "image --no-docker", "limit --ttl 15h"),
            *("submit --epochs 9 --no-wait", "cancel"),
        ],
    },
    "serverless": {
        "up": ["up --ttl 3h --require-switch", "up --ttl 3h", "status", "limit --ttl 4h"],
        "work": [
            *(
                "invoke Ada",
                "invoke-many 3",
                "dead-letters",
                "logs",
                "table put Ada Lovelace 36",
                "table scan",
            ),
            *("table search-under-age 40", "table write 30", "table get ID", "table clear"),
            *("bucket put FOLDER/notes.txt", "bucket ls", "bucket get notes.txt FOLDER/back.txt"),
            *("bucket rm notes.txt", "haiku post-many 2", "haiku list", "haiku clear"),
            *("load --rate 1 --seconds 1", "tune --memory 128,256 --times 3", "status"),
            "limit --ttl 5h",
        ],
    },
}
for steps in STEPS.values():
    steps["down"] = ["down --dry-run", "down"]
    steps["verify"] = ["LEDGER verify"]


@dataclass
class Student:
    """A user of IAM at a computer of her own.

    Attributes
    ----------
    words : dict
        What stands for what in her commands: ``FOLDER``, ``MODEL``.
    """

    run: sandbox.Run
    name: str
    folder: Path
    key: dict[str, str]
    words: dict[str, str] = field(default_factory=dict)
    seen: int = 0

    @property
    def environment(self) -> dict[str, str]:
        own = {"AWSLABS_HOME": str(self.folder / "ledgers"), "HOME": str(self.folder)}
        cloud = self.run.environment(ACCOUNT, "us-east-1")
        here = {"AWS_ENDPOINT_URL_FREETIER": cloud["AWS_ENDPOINT_URL"]}  # else pytest's goes nowhere
        return {**cloud, **here, **self.key, **own}

    def types(self, lab: str, line: str) -> str:
        """What a command says, if it succeeds; the test fails if not."""
        if line == "TASK":
            return self._leaves_a_task()
        words = [self._word(word) for word in shlex.split(line.removeprefix("!"))]
        part = "ledger" if words[0] == "LEDGER" else lab
        words = words[1:] if words[0] == "LEDGER" else words
        if line.startswith("!"):
            called = [sys.executable, "-m", f"awslabs.{part}", *words]
            done = subprocess.run(
                called, env={**self.run.surroundings(), **self.environment}, capture_output=True, text=True
            )
            assert done.returncode == 0, done.stdout + done.stderr
            return done.stdout
        result = self._run(part, words)
        if result.exit_code:
            pytest.fail(f"{lab} {line}: {result.exit_code}\n{result.output}", pytrace=False)
        return result.stdout

    def fails(self, lab: str, line: str, exit_code: int = 1) -> str:
        """What a command says when it does not succeed; the test fails if it does."""
        result = self._run(lab, shlex.split(line))
        assert result.exit_code == exit_code, result.output
        return result.output

    def _run(self, part: str, words: list[str]) -> Result:
        commands = importlib.import_module("awslabs.ledger_cli" if part == "ledger" else f"awslabs.{part}")
        return typed(commands.command_line(), words, env=self.environment)

    def client(self, service: str) -> Any:
        """A client of boto3, with her key."""
        return Cloud(environment=self.environment).client(service)

    def _leaves_a_task(self) -> str:
        """She starts one, and closes her laptop: `down` must stop it.

        It has its network interface only minutes later, so it cannot have ended by then; and the role that it
        works in, whose age counts in the same way, is old enough.
        """
        self.run.pass_time(1200)
        before = self.run.weather()["slow_states"]
        self.run.weather(slow_states=100)
        with contextlib.ExitStack() as stack:
            stack.callback(self.run.weather, slow_states=before)
            patch = stack.enter_context(pytest.MonkeyPatch.context())
            for name, value in self.environment.items():
                patch.setenv(name, value)
            ledger = Ledger(Cloud(environment={**self.environment}), "ecs_qa")
            questions.Runs(ledger, 1).start_all(["questions-of-nobody"])
        return ""

    def _word(self, word: str) -> str:
        for name, meant in self.words.items():
            word = word.replace(name, meant)
        return word

    def passes(self, lab: str, *steps: str) -> None:
        """All that she types for these steps."""
        for step in steps:
            for line in STEPS[lab][step]:
                said = self.types(lab, line)
                if line.startswith("table put"):
                    self.words["ID"] = said.split("item_id")[1].split()[0]

    def decisions(self) -> list[dict[str, Any]]:
        """What was decided about her calls since this was asked last."""
        calls = self.run.calls(ACCOUNT)
        own = [row for row in calls[self.seen :] if row.get("key") == self.key["AWS_ACCESS_KEY_ID"]]
        self.seen = len(calls)
        return [decision for row in own for decision in row["decisions"]]


def owner_of(run: sandbox.Run, service: str) -> Any:
    """A client of whoever runs the account, and may do all."""
    import boto3

    own = run.environment(ACCOUNT, "us-east-1")
    return boto3.client(
        service,
        "us-east-1",
        endpoint_url=own["AWS_ENDPOINT_URL"],
        aws_access_key_id=own["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=own["AWS_SECRET_ACCESS_KEY"],
    )


def enrol(
    run: sandbox.Run, name: str, folder: Path, *documents: dict[str, Any], bounded: str = ""
) -> Student:
    """A student who may do what these policies say, and makes roles within that boundary."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "notes.txt").write_text("Some notes.\n")
    iam = owner_of(run, "iam")
    iam.create_user(UserName=name)
    gives(run, name, *documents)
    key = iam.create_access_key(UserName=name)["AccessKey"]
    own = {"AWS_ACCESS_KEY_ID": key["AccessKeyId"], "AWS_SECRET_ACCESS_KEY": key["SecretAccessKey"]}
    if bounded:
        own["AWSLABS_BOUNDARY"] = bounded
    student = Student(run, name, folder, own, {"FOLDER": str(folder), "MODEL": "small"})
    student.decisions()
    return student


def enrolled(run: sandbox.Run, lab: str, name: str, folder: Path, **options: Any) -> Student:
    """A student with the policies that `awslabs class policy` prints for a lab; its boundary is made, too."""
    place = student_policy.Place(lab, ACCOUNT, "us-east-1")
    named = student_policy.documents(place, **options)
    boundary = named.pop(student_policy.boundary_name(lab), None)
    if boundary is not None:
        iam = owner_of(run, "iam")
        with contextlib.suppress(iam.exceptions.EntityAlreadyExistsException):
            name_of = student_policy.boundary_name(lab)
            iam.create_policy(PolicyName=name_of, PolicyDocument=json.dumps(boundary))
    return enrol(run, name, folder, *named.values(), bounded=place.boundary if boundary else "")


def documents_of(lab: str, **options: Any) -> list[dict[str, Any]]:
    """What `awslabs class policy` prints for a student of that lab, without the boundary."""
    named = student_policy.documents(student_policy.Place(lab, ACCOUNT, "us-east-1"), **options)
    named.pop(student_policy.boundary_name(lab), None)
    return list(named.values())


def gives(run: sandbox.Run, name: str, *documents: dict[str, Any]) -> None:
    """A student has these policies from now on, and no other ones."""
    iam = owner_of(run, "iam")
    for held in iam.list_attached_user_policies(UserName=name)["AttachedPolicies"]:
        iam.detach_user_policy(UserName=name, PolicyArn=held["PolicyArn"])
        iam.delete_policy(PolicyArn=held["PolicyArn"])
    for number, document in enumerate(documents):
        text = json.dumps(document)
        policy = iam.create_policy(PolicyName=f"{name}-{number}", PolicyDocument=text)["Policy"]
        iam.attach_user_policy(UserName=name, PolicyArn=policy["Arn"])


def without(document: dict[str, Any], action: str) -> dict[str, Any]:
    """A policy that does not allow that."""
    kept = []
    for one in document["Statement"]:
        if left := [each for each in student_policy.as_list(one["Action"]) if each != action]:
            kept.append({**one, "Action": left})
    return {**document, "Statement": kept}


def roles_of(run: sandbox.Run, lab: str) -> list[dict[str, Any]]:
    """What a lab that stands allows its roles: each statement once, as the record holds it."""
    iam, found = owner_of(run, "iam"), {}
    for role in iam.list_roles(PathPrefix="/awslabs/")["Roles"]:
        for name in iam.list_role_policies(RoleName=role["RoleName"])["PolicyNames"]:
            document = iam.get_role_policy(RoleName=role["RoleName"], PolicyName=name)["PolicyDocument"]
            for statement in document["Statement"]:
                text = re.sub(
                    rf"awslabs-{lab.replace('_', '-')}-[a-z0-9]{{6}}", "{ledger}", json.dumps(statement)
                )
                text = re.sub(
                    r"(\{ledger\}-\w+)-\d{14}-[0-9a-f]{16}", r"\1-*", text
                )  # a bucket's name is drawn
                text = text.replace(ACCOUNT, "{account}").replace("us-east-1", "{region}")
                found[text] = json.loads(text)
    return [found[text] for text in sorted(found)]


def calls_of(
    student: Student, lab: str, *steps: str
) -> tuple[list[student_policy.Call], list[dict[str, Any]]]:
    """What a lab calls and allows its roles, as a student runs these steps of it now."""
    decided, roles = {}, []
    for step in steps:
        student.passes(lab, step)
        decided[step] = student.decisions()
        if step == "up":
            roles = roles_of(student.run, lab)
    place = {"account": ACCOUNT, "region": "us-east-1", "owner": student.name}
    return calls(lab, decided, place), roles


# -- From what was decided to calls -------------------------------------------------------------------------

# What is drawn anew, or belongs to nobody's name, in an ARN; in this order.
DRAWN = (
    (re.compile(r"\{ledger\}[^/:]*"), "{ledger}*"),
    (re.compile(r"(/\{ledger\}\*/)\{ledger\}\*"), r"\1*"),
    (re.compile(r"\b(ami|eni|i|igw|key|rtb|sg|subnet|vol|vpc)-[0-9a-f]{8,17}\b"), "*"),
    (re.compile(r"(/restapis/|/deployments/)[a-z0-9]{6,10}\b"), r"\1*"),
    (re.compile(r"(:job/|:log-stream:|parameter/aws/service/[\w-]+/|arn:aws:s3:::[^/]+/).+"), r"\1*"),
    (re.compile(r"\b[0-9a-f]{32}\b|(?<=\*:)\d+$"), "*"),
    (re.compile(r":log-stream:$"), ""),
)
ASKED = ("batch:image", "ec2:createaction", "ec2:instancetype", "iam:passedtoservice")


def calls(
    lab: str, decided: Mapping[str, Iterable[dict[str, Any]]], place: Mapping[str, str]
) -> list[student_policy.Call]:
    """What a lab needs, by what was decided in each of its steps.

    Parameters
    ----------
    decided : mapping
        Step to decisions, each with ``action``, ``resource`` and ``facts``: what a policy may ask about it.
    place : mapping
        ``account``, ``region`` and ``owner`` of whoever ran it.
    """
    found: dict[tuple[str, str], tuple[set[str], list[dict[str, str]]]] = {}
    for verb, decisions in decided.items():
        for one in decisions:
            where = one["action"], general(one["resource"], lab, place)
            verbs, facts = found.setdefault(where, (set(), []))
            verbs.add(verb)
            facts.append(one["facts"])
    return [
        student_policy.Call(
            action, on, frozenset(verbs), owner_in(facts, place["owner"]), asked_in(facts, lab, place)
        )
        for (action, on), (verbs, facts) in sorted(found.items())
    ]


def general(resource: str, lab: str, place: Mapping[str, str]) -> str:
    """An ARN without what differs from run to run."""
    text = re.sub(rf"awslabs-{lab.replace('_', '-')}-[a-z0-9]{{6}}", "{ledger}", resource)
    text = text.replace(place["account"], "{account}").replace(place["region"], "{region}")
    for drawn, instead in DRAWN:
        text = drawn.sub(instead, text)
    return text


def owner_in(facts: list[dict[str, str]], owner: str) -> str:
    for name, key in (("made", "requesttag"), ("owned", "resourcetag")):
        if all(one.get(f"aws:{key}/{student_policy.TAG}") == owner for one in facts):
            return name
    return ""


def asked_in(facts: list[dict[str, str]], lab: str, place: Mapping[str, str]) -> dict[str, tuple[str, ...]]:
    found = {}
    for key in ASKED:
        values = [general(str(one[key]), lab, place) for one in facts if one.get(key)]
        if len(values) == len(facts):  # a registry's address is its own
            found[key] = tuple(sorted({re.sub(r"^.*/\{ledger\}.*", "*/{ledger}*", one) for one in values}))
    return found


def as_recorded(known: list[student_policy.Call]) -> list[dict[str, Any]]:
    """Calls as the record holds them."""
    rows = []
    for call in known:
        row: dict[str, Any] = {"action": call.action, "on": call.on, "verbs": sorted(call.verbs)}
        row |= {"owner": call.owner} if call.owner else {}
        row |= {"asks": {key: list(values) for key, values in call.asks.items()}} if call.asks else {}
        rows.append(row)
    return rows


def main(*labs: str) -> None:
    """Write the record anew: of all labs, or of these."""
    known = json.loads(student_policy.RECORD.read_text()) if student_policy.RECORD.exists() else {}
    os.environ.setdefault("DOCKER_HOST", "unix:///nowhere/docker.sock")
    for lab in labs or STEPS:
        with tempfile.TemporaryDirectory() as folder:
            os.environ["AWSLABS_HOME"] = f"{folder}/home"
            run = sandbox.start(slow_states=0, home=Path(folder) / "cloud")
            try:
                may_all = student_policy.document([policies.allow("*", "*")])
                found, roles = calls_of(enrol(run, "ana", Path(folder) / "ana", may_all), lab, *STEPS[lab])
            finally:
                run.stop()
        known[lab] = {"calls": as_recorded(found), "roles": roles}
        print(lab, len(found), "calls", len(roles), "statements")
    # Put in place whole: who reads it meanwhile, a test beside, finds the record before or this one.
    beside = student_policy.RECORD.with_suffix(".part")
    beside.write_text(one_a_line({lab: known[lab] for lab in STEPS if lab in known}))
    beside.replace(student_policy.RECORD)


def one_a_line(known: dict[str, dict[str, list[Any]]]) -> str:
    """JSON with a line for each call, so that two records can be compared."""
    lines = []
    for lab, held in known.items():
        parts = [
            f'  "{part}": [\n' + ",\n".join(f"    {json.dumps(one)}" for one in rows) + "\n  ]"
            for part, rows in held.items()
        ]
        lines.append(f'"{lab}": {{\n' + ",\n".join(parts) + "\n}")
    return "{\n" + ",\n".join(lines) + "\n}\n"


if __name__ == "__main__":
    main(*sys.argv[1:])
