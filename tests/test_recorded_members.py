"""Each member that AWS's answers were seen to have is in an answer of ours, or in a list, with a reason."""

from __future__ import annotations

import importlib.util
import json
import re
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import inprocess
import pytest
import recorded_calls
import shapes
from test_chapters import build, changes  # noqa: F401  (a fixture)

from awslabs.labs import LABS
from awslabs.ledger import Ledger

HERE = Path(__file__).parent
RECORDED: dict[str, dict[str, Any]] = json.loads((HERE / "recorded_members.json").read_text())["operations"]
LEFT_OUT: dict[str, dict[str, str]] = json.loads((HERE / "recorded_members_left_out.json").read_text())
specification = importlib.util.spec_from_file_location("members", HERE.parent / "bench/fidelity/members.py")
assert specification is not None
assert specification.loader is not None
members = importlib.util.module_from_spec(specification)
specification.loader.exec_module(members)


def seen_in(answers: list[shapes.Answered]) -> dict[str, dict[str, str]]:
    """Operation to the paths of members in its answers, and their types."""
    found: dict[str, dict[str, str]] = {}
    for each in answers:
        shape = each.operation.output_shape
        if shape is not None and (parsed := shapes.parsed(each)) is not None:
            found.setdefault(each.name, {}).update(members.members_of(shape, parsed))
    return found


def reason_for(operation: str, path: str) -> str | None:
    """Why a member is left out."""
    patterns = LEFT_OUT.get(operation, {})
    return next(
        (why for pattern, why in patterns.items() if fnmatchcase(path, pattern.replace("[", "[[]"))), None
    )


@pytest.mark.usefixtures("changes")
def test_each_recorded_member_is_in_an_answer_or_left_out_for_a_reason() -> None:
    with shapes.watched() as answers:
        for chapter in LABS:
            build(chapter)
            Ledger(inprocess.open_cloud("111122223333", "ada"), chapter).down()
        recorded_calls.make_all(inprocess.open_cloud("111122223333", "ada"))
    assert shapes.problems(answers) == []
    ours = seen_in(answers)
    missing, of_another_type, needless = [], [], {(o, p) for o in LEFT_OUT for p in LEFT_OUT[o]}
    for operation, row in RECORDED.items():
        for path, kind in row["members"].items():
            if (here := ours.get(operation, {}).get(path)) is None:
                if reason_for(operation, path) is None:
                    missing.append(f"{operation} {path}")
                needless -= {
                    (operation, pattern)
                    for pattern in LEFT_OUT.get(operation, {})
                    if fnmatchcase(path, pattern.replace("[", "[[]"))
                }
            elif here != kind:
                of_another_type.append(f"{operation} {path}: {here} for {kind}")
    assert missing == []
    assert of_another_type == []
    assert needless == set(), "these are in our answers by now"


def test_the_paths_of_an_answer_are_found() -> None:
    shape = members.output_of("lambda:GetFunctionConfiguration")
    answer = {"Environment": {"Variables": {"MINE": "x"}}, "Timeout": 3, "Newer": 1, "Layers": [{"Arn": "a"}]}
    assert members.members_of(shape, answer) == {
        "Environment": "structure",
        "Environment.Variables": "map",
        "Environment.Variables{}": "string",
        "Timeout": "integer",
        "Layers": "list",
        "Layers[]": "structure",
        "Layers[].Arn": "string",
    }


def test_each_test_that_does_not_pass_has_a_reason_or_is_counted() -> None:
    page = (HERE.parent / "docs/fidelity.md").read_text(encoding="utf-8")
    found = re.search(r"^Tests without a reason: (.+)\.$", page, re.MULTILINE)
    assert found is not None
    assert {each.split()[0] for each in found[1].split(", ")} <= {"none", "s3", "sqs"}
    for reason in json.loads((HERE.parent / "bench/fidelity/reasons.json").read_text(encoding="utf-8")):
        assert reason.get("tests") or reason.get("says")
        assert reason["why"].endswith(".")
