"""graph: the first lab's rows as a tree, as Mermaid and as nodes and edges."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import inprocess
import pytest
from click.testing import CliRunner

from awslabs import cli, ec2, graph, journal, ledger_cli
from awslabs.cloud import Cloud
from awslabs.journal import Row
from awslabs.ledger import Ledger

ACCOUNT = "222222222222"


@pytest.fixture
def ledger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Ledger]:
    """The first lab, as it stands."""
    with inprocess.first_lab(monkeypatch, tmp_path) as ledger:
        ec2.up(ledger)
        yield ledger


def asked(*line: str) -> Any:
    result = CliRunner().invoke(ledger_cli.command_line(), ["graph", *line])
    assert result.exit_code == 0, result.output
    return result.stdout


def test_the_first_lab_as_a_tree(ledger: Ledger) -> None:
    names = [re.split(r" {2,}(?=\w)", line)[0] for line in asked("ec2").splitlines()]
    assert names == [
        "vpc",
        "├─ subnet",
        "│  └─ instance",
        "├─ gateway-attachment",
        "└─ security-group",
        "internet-gateway",
        "key-pair",
    ]
    assert re.search(r"└─ instance +standing +0\.0163 USD/h +i-[0-9a-f]{17}$", asked("ec2"), re.M)
    plain = graph.tree(ledger.journal.rows, {7: "running"}, plain=True)
    assert plain[2].startswith("|  `- instance")
    assert all(line.isascii() for line in plain)
    assert "running" in plain[2]


def test_the_same_as_mermaid_and_as_json_with_all_edges(ledger: Ledger) -> None:
    told = json.loads(asked("ec2", "--json"))
    rows = {row.number: row for row in ledger.journal.rows}
    assert {one["row"]: one["id"] for one in told["nodes"]} == {row.number: row.id for row in rows.values()}
    edges = {(rows[edge["needed"]].name, rows[edge["by"]].name) for edge in told["edges"]}
    assert edges == {
        ("vpc", "subnet"),
        ("vpc", "gateway-attachment"),
        ("internet-gateway", "gateway-attachment"),
        ("vpc", "security-group"),
        ("subnet", "instance"),
        ("security-group", "instance"),
        ("key-pair", "instance"),
    }
    drawn = asked("ec2", "--mermaid")
    assert drawn.startswith("flowchart TD\n")
    numbers = {(int(one), int(other)) for one, other in re.findall(r"r(\d+) --> r(\d+)", drawn)}
    assert numbers == {(edge["needed"], edge["by"]) for edge in told["edges"]}
    assert all(row.id in drawn for row in rows.values())


def test_what_is_gone_is_in_no_graph(ledger: Ledger) -> None:
    ledger.down()
    assert asked("ec2") == ""
    assert json.loads(asked("ec2", "--json"))["nodes"] == []
    missing = CliRunner().invoke(ledger_cli.command_line(), ["graph", "gpu"])
    assert (missing.exit_code, "There is no ledger of gpu" in missing.stderr) == (1, True)


def test_what_is_too_long_for_a_line_goes_on_below_itself() -> None:
    rows = [
        Row(1, "function", "lambda:CreateFunction", "t", "standing", {"FunctionName": "greeter"}),
        Row(
            *(2, "list-haiku-permission", "lambda:AddPermission", "t", "standing"),
            {"FunctionName": "awslabs-serverless-j5ovwp-list-haiku"},
            needs=[1],
        ),
    ]
    assert graph.tree(rows, room=60) == [
        "function                  standing    greeter",
        "└─ list-haiku-permission  standing    awslabs-serverless-",
        "                                      j5ovwp-list-haiku",
    ]
    assert len(graph.tree(rows)) == 2  # through a pipe nothing is broken


def test_names_of_others_are_no_markup() -> None:
    row = Row(1, "vpc", "ec2:CreateVpc", "t", "standing", {"VpcId": '"]; click r1 "evil" <b>\x1b[2J'})
    drawn = graph.mermaid([row])
    assert not set("<>[]\x1b;") & set(re.sub(r"#\d+;", "", drawn.split("<br/>")[1])[:-2])
    assert '"' not in drawn.split("<br/>")[1][:-2]
    assert "\x1b" not in graph.tree([row])[0]


def test_a_row_that_needs_what_is_gone_stands_at_the_top() -> None:
    rows = [
        Row(1, "vpc", "ec2:CreateVpc", "t", "gone", {"VpcId": "vpc-1"}),
        Row(2, "subnet", "ec2:CreateSubnet", "t", "deleting", {"SubnetId": "subnet-1"}, needs=[1]),
    ]
    assert graph.tree(rows) == ["subnet  deleting    subnet-1"]
    header = dict.fromkeys(("lab", "name", "cloud", "account", "region"), "x")
    assert graph.as_dict(header, rows)["edges"] == []
    assert journal.total([]) == 0


def verb(*line: str) -> Any:
    result = CliRunner().invoke(ec2.command_line(), line)
    assert result.exit_code == 0, result.output
    return result


def test_up_ends_in_few_lines_and_status_is_a_tree_with_the_states_that_aws_shows(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    def elsewhere(**_: Any) -> Cloud:
        cloud = inprocess.open_cloud(ACCOUNT, "ana")
        cloud.is_aws = False
        return cloud

    monkeypatch.setattr(cli, "open_cloud", elsewhere)
    built = verb("up")
    assert built.stdout == ""
    assert len(built.stderr.splitlines()) <= 6
    assert built.stderr.count("USD") == 1  # what it would cost on AWS is said once, as that
    assert "Its parts, their states and ids: python -m awslabs.ec2 status" in built.stderr
    assert {"instance_id", "ssh", "resources"} <= json.loads(verb("up", "--json").stdout).keys()
    server, subnet = ledger.resources["instance"], ledger.resources["subnet"]
    ledger.client("ec2").stop_instances(InstanceIds=[server])
    shown = verb("status").stdout
    assert re.search(rf"^│  └─ instance +stopp(ing|ed) +0\.0163 USD/h +{server}$", shown, re.M)
    assert re.search(rf"^├─ subnet +standing +{subnet}$", shown, re.M)
    assert shown.splitlines()[-1] == "End it: python -m awslabs.ec2 down"
    ledger.client("ec2").terminate_instances(InstanceIds=[server])
    states = json.loads(verb("status", "--json").stdout)["states"]
    assert states["instance"] in ("going", "not shown by AWS")
    assert states["vpc"] == "standing"
    verb("down")
    assert verb("status").stdout.splitlines()[2] == "Nothing stands."


def test_a_role_is_shown_by_its_name_for_its_arn_is_wider_than_a_terminal() -> None:
    arn = "arn:aws:iam::222222222222:role/awslabs/us-east-1/awslabs-ec2-abc123/awslabs-ec2-abc123-switch-role"
    row = Row(
        number=1,
        name="switch-role",
        call="iam:CreateRole",
        token="t",
        state="standing",
        ids={"RoleName": arn},
    )
    (line,) = graph.tree([row])
    assert line.split() == ["switch-role", "standing", "awslabs-ec2-abc123-switch-role"]
