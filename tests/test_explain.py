"""A lab explained: its plan from a run in this process, both calls of each step, and no word to AWS.

The script's proof is in `test_explain_live.py`.
"""

from __future__ import annotations

import importlib
import itertools
import json
import os
import re
import shlex
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from rich.cells import cell_len

from awslabs import journal, lesson, plan, script
from awslabs.kinds import ENSURES, KINDS
from awslabs.labs import LABS
from awslabs.plan import VARIABLE, Plan
from awslabs.reasons import CALL_OUTS_JA


@pytest.fixture(scope="module")
def plans(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Plan]]:
    """The plan of each lab."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("AWSLABS_HOME", str(tmp_path_factory.mktemp("home")))
        yield {lab: planned(lab) for lab in LABS}


def planned(lab: str) -> Plan:
    return plan.rehearse(lab, importlib.import_module(f"awslabs.{lab}").up, owner="ada")


@pytest.mark.parametrize("lab", LABS)
def test_a_plan_holds_each_call_with_real_parameters(lab: str, plans: dict[str, Plan]) -> None:
    steps = plans[lab].steps
    assert len(steps) >= 10
    for step in steps:
        if step.call == "docker:push":
            continue
        assert step.call in KINDS or step.call in ENSURES
        assert bool(step.row) == (step.call in KINDS and not (step.row == "" and step.call in ENSURES))
        assert step.number in plans[lab].call_outs
    numbers = [int(step.number) for step in steps]
    assert numbers == sorted(numbers)


@pytest.mark.parametrize("lab", LABS)
def test_what_a_step_needs_was_told_before(lab: str, plans: dict[str, Plan]) -> None:
    """So the script never meets a variable without a value."""
    known, rows = {"account_id", "prefix", "my_ip"}, set[str]()
    for step in plans[lab].steps:
        for ask in step.asks:
            assert unknown(ask.params) <= known
            known |= ask.gives.keys()
        assert unknown([step.params, step.sent]) <= known
        assert set(step.needs) <= rows
        known |= step.gives.keys()
        rows.add(step.row)
        for wait in step.waits:
            assert unknown(wait.params) <= known


def unknown(value: Any) -> set[str]:
    names = VARIABLE.findall("\n".join(plan.texts(value)))
    return {name for name in names if not name.startswith(plan.TOKEN)}


@pytest.mark.parametrize("lab", LABS)
def test_nothing_that_only_the_rehearsal_knew_stands_in_a_plan(lab: str, plans: dict[str, Plan]) -> None:
    shown = "\n".join(plan.texts([[step.params, step.sent] for step in plans[lab].steps]))
    shown += lesson.lesson(plans[lab], "en", "") + script.script(plans[lab], "free")
    assert plan.ACCOUNT not in shown
    assert "198.51.100.7" not in shown
    assert not re.search(r"\b(vpc|subnet|igw|rtb|sg|i|ami)-[0-9a-f]{8,}", shown)
    assert not re.search(rf"awslabs-{lab.replace('_', '-')}-[a-z0-9]{{6}}\b", shown)
    assert "awslabs-plan-" not in shown


def test_the_plan_of_chapter_1_is_its_page(plans: dict[str, Plan]) -> None:
    made = plans["ec2"]
    assert [(step.number, step.operation, step.row) for step in made.steps] == [
        ("1", "CreateVpc", "vpc"),
        ("1", "CreateSubnet", "subnet"),
        ("1", "ModifySubnetAttribute", ""),
        ("1", "CreateInternetGateway", "internet-gateway"),
        ("1", "AttachInternetGateway", "gateway-attachment"),
        ("1", "CreateRoute", ""),
        ("2", "CreateSecurityGroup", "security-group"),
        ("2", "AuthorizeSecurityGroupIngress", ""),
        ("3", "ImportKeyPair", "key-pair"),
        ("4", "RunInstances", "instance"),
    ]
    subnet, route, server = made.steps[1], made.steps[5], made.steps[9]
    assert (
        lesson.in_short(subnet.params) == "{VpcId <vpc_id>, CidrBlock 10.10.0.0/24, AvailabilityZone <zone>}"
    )
    assert made.steps[0].gives == {"vpc_id": "Vpc.VpcId"}
    assert [(ask.call, ask.gives) for ask in subnet.asks] == [
        ("ec2:DescribeInstanceTypeOfferings", {"zone": "sort(InstanceTypeOfferings[].Location)[0]"})
    ]
    assert [ask.gives for ask in route.asks] == [{"route_table_id": "RouteTables[0].RouteTableId"}]
    assert server.needs == ["subnet", "security-group", "key-pair"]
    assert server.usd_per_hour == made.usd_per_hour == pytest.approx(0.0163, abs=1e-4)
    assert [(wait.waiter, lesson.in_short(wait.params)) for wait in server.waits] == [
        ("InstanceRunning", "{InstanceIds [<instance_id>]}")
    ]


def test_bytes_that_are_no_text_hold_no_variables() -> None:
    """A zip of a hundred thousand bytes holds by chance, once in a hundred, what a variable begins with."""
    packed = b"PK\xff" + plan.variable("prefix").encode()
    assert list(plan.texts({"ZipFile": packed, "Body": b"text"})) == ["text"]


def test_a_zone_is_told_once_for_all_subnets(plans: dict[str, Plan]) -> None:
    asks = [ask for step in plans["gpu"].steps for ask in step.asks]
    zones = [ask for ask in asks if ask.call == "ec2:DescribeInstanceTypeOfferings"]
    subnets = [step for step in plans["gpu"].steps if step.operation == "CreateSubnet"]
    assert [len(ask.gives) for ask in zones] == [len(subnets)]
    assert lesson.marked_text(subnets[1].row) == "subnet-<zone_2>"


def test_an_image_stands_behind_its_repository(plans: dict[str, Plan]) -> None:
    for lab in ("ecs_qa", "batch_sweep"):
        calls = [step.call for step in plans[lab].steps]
        assert calls[calls.index("ecr:CreateRepository") + 1] == "docker:push"
        assert calls.count("docker:push") == 1


# -- Nothing is asked ------------------------------------------------------------------------------------


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """Every socket to the outside fails, and is noted; so does any name that is looked up."""
    tried: list[object] = []

    def refused(*args: Any, **more: Any) -> Any:
        tried.append(args)
        raise OSError("no network in this test")

    for name in ("connect", "connect_ex", "sendto"):
        monkeypatch.setattr(socket.socket, name, refused)
    for name in ("getaddrinfo", "create_connection", "gethostbyname"):
        monkeypatch.setattr(socket, name, refused)
    return tried


@pytest.mark.parametrize("lab", LABS)
def test_a_dry_run_opens_no_socket(lab: str, no_network: list[object], tmp_path: Path) -> None:
    """Not to AWS, not to STS, not to whatever a profile names as a source of credentials; nothing is left."""
    config = tmp_path / "config"
    config.write_text("[default]\nregion = eu-central-1\ncredential_process = /bin/false\n")
    none = ("AWS_REGION", "AWS_DEFAULT_REGION", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
    environment = {"AWS_CONFIG_FILE": str(config), **dict.fromkeys(none)}
    environment["AWS_ENDPOINT_URL"] = "http://127.0.0.1:9"  # of a practice cloud, say: it has no part in it
    command = importlib.import_module(f"awslabs.{lab}").command_line()
    said = CliRunner().invoke(command, ["up", "--dry-run", "--json"], env=environment)
    assert said.exit_code == 0, said.output
    made = json.loads(said.stdout)
    assert made["region"] == "eu-central-1"
    assert len(made["steps"]) >= 10
    assert no_network == []
    assert journal.files(journal.home()) == []
    assert not list(journal.home().glob("*/key"))


def test_the_network_is_what_the_fixture_says(no_network: list[object]) -> None:
    with pytest.raises(OSError, match="no network in this test"):
        socket.create_connection(("127.0.0.1", 9))
    assert len(no_network) == 1


def test_without_the_extra_it_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("awslabs.sandbox.in_process.NEEDED", ("moto", "nothing_of_that_name"))
    for verb in (["up", "--dry-run"], ["explain"]):
        said = CliRunner().invoke(importlib.import_module("awslabs.ec2").command_line(), verb)
        assert said.exit_code == 1
        assert "Python packages are missing: nothing_of_that_name." in said.stderr
        assert re.search(r"fix:   .*pip install .*\[sandbox\]", said.stderr)
    assert plan.rehearsal.noted is None


def test_the_options_of_up_change_the_plan(no_network: list[object]) -> None:
    command = importlib.import_module("awslabs.ec2").command_line()
    options = ["--instance-type", "t3.small", "--ttl", "3h", "--allow-from", "203.0.113.0/24"]
    said = CliRunner().invoke(command, ["explain", *options, "--lang", "en", "--region", "us-west-2"])
    assert said.exit_code == 0, said.output
    assert 'InstanceType="t3.small"' in said.stdout
    assert '"CidrIp": "203.0.113.0/24"' in said.stdout
    assert "AWS takes the lab down" in said.stdout
    assert "scheduler.create_schedule(" in said.stdout
    again = f"python -m awslabs.ec2 up {shlex.join(options)} --region us-west-2"
    assert said.stdout.endswith(f"Build it: {again}\n")
    assert no_network == []


def test_what_up_would_stop_at_stops_the_plan(no_network: list[object]) -> None:
    command = importlib.import_module("awslabs.ec2").command_line()
    said = CliRunner().invoke(command, ["up", "--dry-run", "--instance-type", "t4g.micro"])
    assert said.exit_code == 1
    assert "The lab's images do not run on t4g.micro." in said.stderr
    assert plan.rehearsal.noted is None
    assert os.environ["AWSLABS_HOME"] == str(journal.home())


# -- What is printed -------------------------------------------------------------------------------------


@pytest.mark.parametrize("lang", ["en", "ja"])
@pytest.mark.parametrize("lab", LABS)
def test_each_step_is_explained_in_eighty_columns(lab: str, lang: str, plans: dict[str, Plan]) -> None:
    text = (
        lesson.lesson(plans[lab], lang, "python -m awslabs.x up") + "\n" + lesson.table(plans[lab], lang, "x")
    )
    steps = lesson.table(plans[lab], lang, "x").partition("\n\n")[2].rpartition("\n\n")[0]
    assert [line for line in steps.split("\n") if not line.startswith(" ")] == []
    for line in text.split("\n"):
        words = line.split()
        long_word = any(len(word) > 40 for word in words)  # an ARN, the name of an image of AWS's
        assert cell_len(line) <= lesson.WIDTH or long_word, line
    for number in range(1, len(plans[lab].steps) + 1):
        assert f"[{number}/{len(plans[lab].steps)}]" in text
    assert plan.OPENS not in text


@pytest.mark.parametrize("lab", LABS)
def test_what_a_script_says_of_itself_is_read_at_eighty_columns(lab: str, plans: dict[str, Plan]) -> None:
    written = script.script(plans[lab], "0.0163 USD per hour").split("\n")
    head = written[: written.index("    tries=40")]
    said = [line for line in head if line.startswith("# ") and "    python" not in line]
    for step in {step.number for step in plans[lab].steps if step.number}:
        begin = written.index(next(line for line in written if line.startswith(f"# <{step}> ")))
        said += itertools.takewhile(lambda line: line.startswith("# "), written[begin:])
    assert [line for line in said if cell_len(line) > lesson.WIDTH] == []


def test_a_word_is_explained_where_it_is_first_met_and_never_again(plans: dict[str, Plan]) -> None:
    text = lesson.lesson(plans["ec2"], "en", "")
    for word in ("CIDR", "Zone", "Security group", "SSH", "Image (AMI)"):
        assert text.count(f"\n* {word}: ") == 1
    assert text.index("* CIDR: ") < text.index("create_vpc")
    roles = lesson.lesson(plans["serverless"], "en", "")
    assert roles.count("\n* Role: ") == roles.count("\n* ARN: ") == 1


def test_every_call_out_has_its_japanese() -> None:
    words = {text for lab in LABS for text in outs(lab).values()}
    assert words == CALL_OUTS_JA.keys()


def outs(lab: str) -> dict[str, str]:
    return plan.call_outs(Path(plan.__file__).with_name(f"{lab}.py"))[0]


@pytest.mark.parametrize(
    ("environment", "language"),
    [
        ({}, "en"),
        ({"LANG": "C.UTF-8"}, "en"),
        ({"LANG": "ja_JP.UTF-8"}, "ja"),
        ({"LANG": "ja_JP.UTF-8", "LC_ALL": "en_US.UTF-8"}, "en"),
        ({"LANG": "en_US.UTF-8", "LC_MESSAGES": "ja_JP.UTF-8"}, "ja"),
    ],
)
def test_the_language_is_the_terminals(environment: dict[str, str], language: str) -> None:
    assert lesson.language(environment) == language


def test_no_line_of_japanese_begins_with_a_full_stop() -> None:
    text = "あいうえおかきくけこ" * 3 + "さしすせそたちつてと。なにぬねの、はひふへほ（まみ）むめも。"
    for width in range(60, 90):
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(lesson, "WIDTH", width)
            lines = lesson.wrapped(text).split("\n")
        assert "".join(lines) == text
        assert not any(line[0] in "。、）" for line in lines)


def test_python_of_a_step_runs_as_it_stands(plans: dict[str, Plan]) -> None:
    """With clients that answer what the practice cloud did: the variables come out, in order."""
    for made in plans.values():
        for step in made.steps:
            if step.call != "docker:push":
                code = "\n".join(map(lesson.in_python, [*step.asks, step]))
                compile(code, step.call, "exec")


# -- Words of a shell ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "plain",
        "it's",
        "{} and $HOME `date` \\ \" '",
        f"{plan.variable('vpc_id')}",
        f"{plan.variable('vpc_id')}_x $HOME `date` \\ '",
        f'{{"a": "{plan.variable("vpc_id")}$HOME `date` \\\\ \\" \'"}}',
        f"two\nlines of {plan.variable('vpc_id')} and \\$HOME \\\\",
        f"{plan.variable('token 0123')}",
    ],
)
def test_a_word_of_the_shell_is_what_it_was(text: str) -> None:
    import subprocess

    environment = {"vpc_id": "vpc-1", "stamp": "20261129", "PATH": os.environ["PATH"]}
    command = f"printf %s {lesson.quoted(text)}"
    said = subprocess.run(["sh", "-c", command], env=environment, capture_output=True, text=True, check=True)
    wanted = text.replace(plan.variable("vpc_id"), "vpc-1")
    assert said.stdout == wanted.replace(plan.variable("token 0123"), "20261129-0123")
    assert said.stderr == ""
