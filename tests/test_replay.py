"""Recordings are played: our own cloud's the same, others' with what is known to differ."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import wheel_kit
from click.testing import CliRunner
from harness import tapes

from awslabs import sandbox
from awslabs.__main__ import main
from awslabs.labs import LABS
from awslabs.sandbox import rules
from awslabs.sandbox.replay import replay, stage, told

pytestmark = pytest.mark.live  # they take a minute together


@pytest.fixture(scope="module")
def tape(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Chapter 1 and its probes, under the strict rules."""
    with pytest.MonkeyPatch.context() as patched:
        folder = tmp_path_factory.mktemp("tape")
        patched.setenv("AWSLABS_HOME", str(folder / "ledgers"))
        patched.setenv("AWS_EC2_METADATA_DISABLED", "true")
        tapes.record("ec2", folder / "ec2.jsonl")
        yield folder / "ec2.jsonl"


def test_a_recording_of_our_own_cloud_is_played_the_same(tape: Path) -> None:
    outcome = replay(tape)
    assert outcome.differences == []
    assert outcome.same >= 80


@pytest.mark.live
@pytest.mark.parametrize("lab", [lab for lab in LABS if lab != "ec2"])
def test_so_is_that_of_every_lab(lab: str, tmp_path: Path) -> None:
    tapes.record(lab, tmp_path / "tape")
    outcome = replay(tmp_path / "tape")
    assert outcome.differences == []
    assert outcome.same >= 80


def test_it_says_what_differs_and_ends_with_that_code(tape: Path, tmp_path: Path) -> None:
    lines = [json.loads(line) for line in tape.read_text().splitlines()]
    create, *_ = [line for line in lines if line.get("operation") == "CreateVpc" and line["status"] == 200]
    create["members"]["Vpc.VpcId"] = "number"
    create["members"]["Vpc.Planted"] = "string"
    del create["members"]["Vpc.IsDefault"]
    (tmp_path / "changed.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    done = CliRunner().invoke(main, ["sandbox", "replay", str(tmp_path / "changed.jsonl")])
    assert done.exit_code == 1
    for said in (
        "ec2:CreateVpc: lacks Vpc.Planted",
        "ec2:CreateVpc: has Vpc.IsDefault besides",
        "ec2:CreateVpc: Vpc.VpcId is a string, recorded is a number",
    ):
        assert said in done.stdout


def test_time_stands_still_but_for_the_recording() -> None:
    """On a loaded computer a role would else be old enough too soon."""
    with stage():
        began = rules.clock.now()
        time.sleep(0.01)
        assert rules.clock.now() == began
        rules.clock.offset_s += 5
        assert rules.clock.now() == began + 5
    assert rules.clock.now() != began


def test_the_same_ends_with_0_and_no_cassette_with_2(tape: Path, tmp_path: Path) -> None:
    same = CliRunner().invoke(main, ["sandbox", "replay", str(tape)])
    assert (same.exit_code, "are answered as they were recorded" in same.output) == (0, True)
    (tmp_path / "none").write_text("nothing")
    none = CliRunner().invoke(main, ["sandbox", "replay", str(tmp_path / "none")])
    assert (none.exit_code, "is no cassette" in none.output) == (2, True)


def test_the_order_of_states_counts(tape: Path, tmp_path: Path) -> None:
    """A server that runs at once was not pending first."""
    text = tape.read_text().replace('State.Name": "string=pending', 'State.Name": "string=stopping')
    assert text != tape.read_text()
    (tmp_path / "tape").write_text(text)
    assert "State.Name is" in "\n".join(map(str, replay(tmp_path / "tape").differences))


def test_no_call_leaves_this_process(tmp_path: Path) -> None:
    head = {"schema": 1, "date": "2026-11-29", "region": "us-east-1", "botocore": "1", "lab": "ec2"}
    call: dict[str, Any] = {"n": 1, "at_s": 0, "service": "gamelift", "operation": "ListBuilds", "params": {}}
    call |= {"status": 200, "code": "", "members": {}}
    (tmp_path / "tape").write_text(f"{json.dumps(head)}\n{json.dumps(call)}\n")
    with mock.patch("botocore.httpsession.URLLib3Session.send") as sent:
        (difference,) = replay(tmp_path / "tape").differences
    assert difference.what.startswith(("404", "501"))
    sent.assert_not_called()


def test_it_is_played_here_wherever_the_environment_points(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After `sandbox env`, AWS_ENDPOINT_URL is that of a server, which may be gone."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    head = {"schema": 1, "date": "2026-11-29", "region": "us-east-1", "botocore": "1", "lab": "ec2"}
    call: dict[str, Any] = {"n": 1, "at_s": 0, "service": "ec2", "operation": "DescribeVpcs", "params": {}}
    call |= {"params": {"VpcIds": ["vpc-0123456789abcdef0"]}, "status": 400, "code": "InvalidVpcID.NotFound"}
    call["members"] = {"Error.Message": "string"}
    (tmp_path / "tape").write_text(f"{json.dumps(head)}\n{json.dumps(call)}\n")
    assert replay(tmp_path / "tape").differences == []


def test_a_refusal_that_says_less_differs(tmp_path: Path) -> None:
    head = {"schema": 1, "date": "2026-11-29", "region": "us-east-1", "botocore": "1", "lab": "serverless"}
    call: dict[str, Any] = {"n": 1, "at_s": 0, "service": "lambda", "operation": "GetFunction"}
    call |= {"params": {"FunctionName": "probe"}, "status": 404, "code": "ResourceNotFoundException"}
    call["members"] = {"Error.Message": "string", "Message": "string", "Type": "string"}
    (tmp_path / "tape").write_text(f"{json.dumps(head)}\n{json.dumps(call)}\n")
    assert replay(tmp_path / "tape").differences == []
    (difference,) = replay(tmp_path / "tape", without={"errors_have_awss_shape"}).differences
    assert difference.what == "lacks Message, Type"


def test_what_plain_moto_answers_is_listed(tmp_path: Path) -> None:
    """Recorded without the strict rules, chapter 1 differs in what aws-facts (j) says of moto."""
    tapes.record("ec2", tmp_path / "plain", strict=False)
    words, lines = told(tmp_path / "plain", replay(tmp_path / "plain"))
    listed = "\n".join(lines)
    for known in (
        "service-quotas:GetServiceQuota: 200, recorded is 400 NoSuchResourceException",
        "ec2:DescribeInstances: 400 InvalidInstanceID.Malformed, recorded is 400 InvalidInstanceID.NotFound",
        "ec2:CreateRoute: 400 InvalidParameterValue, recorded is 200",
        "ec2:CreateTags: 400 InvalidParameterValue, recorded is 200",
        "ec2:CreateVpc: 412 DryRunOperation, recorded is 200",
        "ec2:DeleteVpc: 400 DependencyViolation, recorded is 200",
        "ec2:RunInstances: 400 IdempotentParameterMismatch, recorded is 200",
    ):
        assert known in listed, listed


@pytest.mark.live
def test_rules_that_are_missing_are_noticed(tape: Path) -> None:
    """Ten of them, spread over all that chapter 1 meets; `make replay-matrix` takes them all."""
    rules = tapes.met(tape)
    assert len(rules) >= 20
    outcomes = tapes.matrix(tape, rules[:: max(1, len(rules) // 10)][:10])
    assert tapes.noticed(outcomes) >= 0.9, [rule for rule, one in outcomes.items() if not one.differences]


@pytest.mark.live
def test_a_wheel_records_and_plays_outside_of_any_checkout(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The words of our programs, by which a recording is kept, are found where the package is installed."""
    monkeypatch.delenv("PYTHONPATH", raising=False)
    there = wheel_kit.installed(tmp_path, with_needed=True)
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    run = sandbox.start(home=tmp_path / "awslabs")
    environment = {**run.surroundings(), "AWSLABS_HOME": str(tmp_path / "awslabs"), "HOME": str(tmp_path)}

    def say(*command: str) -> str:
        done = subprocess.run(
            [there / command[0], *command[1:]], env=environment, cwd=folder, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        return done.stdout + done.stderr

    try:
        assert say("python", "-c", "import awslabs; print(awslabs.__file__)").startswith(str(there.parent))
        say("awslabs", "aws-check", "--sandbox", "--yes", "--record", "tape.jsonl")
    finally:
        run.stop()
    text = (folder / "tape.jsonl").read_text()
    assert "string=<vpc-1>" in text
    assert '"CidrBlock": "10.10.0.0/23"' in text  # a text of ours
    for command in (("awslabs", "sandbox"), ("python", "-m", "awslabs.sandbox")):
        assert "calls of tape.jsonl are answered as they were recorded" in say(
            *command, "replay", "tape.jsonl"
        )


@pytest.mark.live
def test_what_is_said_to_be_unseen_is_met_and_not_seen(tape: Path) -> None:
    """An entry that a new probe or grade makes visible is to go from the list."""
    unseen = {rule for rule, (labs, _) in tapes.UNSEEN.items() if "ec2" in labs}
    assert unseen <= set(tapes.had_a_hand(tape)) - set(tapes.met(tape))
    outcomes = tapes.matrix(tape, sorted(unseen))
    assert tapes.noticed(outcomes) == 0, [rule for rule, one in outcomes.items() if one.differences]


def test_the_stage_leaves_nothing_behind() -> None:
    from awslabs.sandbox.core import engine

    with stage():
        assert engine.switched_on()
    assert not engine.switched_on()
    assert engine.clock.offset_s == 0.0
