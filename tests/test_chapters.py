"""The house rules: imports point one way, and nothing that a chapter makes bypasses the ledger."""

from __future__ import annotations

import ast
import importlib
import inspect
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import inprocess
import pytest
from practice import everything_ours
from wire import Call, around

import awslabs
from awslabs import addresses, ec2, images, serverless, tunnel
from awslabs.journal import read
from awslabs.kinds import ENSURES, KINDS
from awslabs.labs import LABS
from awslabs.ledger import Ledger
from awslabs.sandbox import running_parts
from awslabs.workload.gpu import notebook

PACKAGE = Path(awslabs.__file__).parent

# Each part sees only parts that stand before its own line.
HOUSE = [
    ["errors", "labs", "prices", "show", "web", "buckets", "calls", "rehearsal"],
    [
        "explain",
        "progress",
        "drawing",
        "screen",
        "journal",
        "addresses",
        "policies",
        "tunnel",
        "kinds",
        "images",
        "pseudonyms",
    ],
    ["callbook", "cloud", "cost", "cassettes", "graph", "reasons"],
    ["limits"],
    ["ledger"],
    ["network", "preflight", "roles", "servers", "student_policy", "plan"],
    ["lesson", "switch"],
    ["script"],
    ["cli"],
    ["ledgers"],
    ["inventory"],
    ["recovery"],
    ["ledger_cli"],
    ["certificate", "switch_function"],
    ["console"],
    ["workload"],
    [*LABS],
    ["tour", "preparation"],
    ["classroom"],
    ["aws_check"],
    ["__main__"],
]
LATE = {
    "sandbox": {"cli", "ledgers", "console", "plan"},
    "console": {"cli", "console"},
}  # who may start it, inside a function


def imports(path: Path) -> set[tuple[str, bool]]:
    """Parts of awslabs that a file imports, and whether it does so at the top."""
    tree, found = ast.parse(path.read_text()), set()
    top = set(tree.body)
    for node in ast.walk(tree):
        names = []
        if isinstance(node, ast.ImportFrom) and node.module == "awslabs":
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("awslabs."):
            names = [(node.module or "").split(".")[1]]
        found |= {(name, node in top) for name in names}
    return found


def part_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


# The practice cloud and what runs inside Lambda are houses of their own.
FILES = [
    path
    for path in sorted(PACKAGE.rglob("*.py"))
    if part_of(path) not in ("sandbox", "bashoutter", "__init__")
]


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_point_one_way(path: Path) -> None:
    part = part_of(path)
    floor = next(number for number, parts in enumerate(HOUSE) if part in parts)
    for name, at_top in imports(path):
        if name in LATE:
            assert part in LATE[name], f"{part} imports {name}"
            continue
        theirs = next(number for number, parts in enumerate(HOUSE) if name in parts)
        foot = not at_top and part == "ledger"  # its command line, at the foot of the page
        assert theirs < floor or name == part or foot or theirs == floor == 1, f"{part} -> {name}"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_nothing_heavy_is_imported_at_the_top(path: Path) -> None:
    if part_of(path) == "tunnel":
        return  # its modules that need paramiko are imported on first use; test_tunnel.py times that
    top = [
        node for node in ast.parse(path.read_text()).body if isinstance(node, (ast.Import, ast.ImportFrom))
    ]
    names = {name.name for node in top if isinstance(node, ast.Import) for name in node.names}
    names |= {node.module or "" for node in top if isinstance(node, ast.ImportFrom)}
    assert not {
        name for name in names if name.split(".")[0] in ("boto3", "botocore", "paramiko", "moto", "rich")
    }


@dataclass(frozen=True)
class Change:
    """A call that changes something: what was asked for, and the course's functions that led to it."""

    call: str
    request: dict[str, Any]
    way: list[tuple[str, str, int]]  # file, function, line: `up` first


def way_here() -> list[tuple[str, str, int]]:
    """The functions of the course that are under way, without the ledger and what it knows of AWS."""
    frame: FrameType | None = sys._getframe(1)
    way = []
    while frame is not None:
        code = frame.f_code
        path = Path(code.co_filename)
        if path.is_relative_to(PACKAGE) and part_of(path) not in ("ledger", "kinds", "errors", "sandbox"):
            way.append((str(path.relative_to(PACKAGE)), code.co_name, frame.f_lineno))
        frame = frame.f_back
    return [step for step in reversed(way) if not step[1].endswith(("comp>", "genexpr>"))]


@pytest.fixture
def ensured(monkeypatch: pytest.MonkeyPatch) -> list[Change]:
    """What was seen to by `ensure`, whether there was anything to change or not."""
    seen: list[Change] = []

    def noting(call: str, repairs: Callable[..., Any]) -> Callable[..., Any]:
        def noted(client: Any, request: dict[str, Any]) -> Any:
            seen.append(Change(call, request, way_here()))
            return repairs(client, request)

        return noted

    for call, repairs in ENSURES.items():
        monkeypatch.setitem(ENSURES, call, noting(call, repairs))
    return seen


@pytest.fixture
def changes(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Change]]:
    """The calls that change something in a cloud where nothing runs: no image, no server, no function."""
    made: list[Change] = []

    def recorded(call: Call) -> Any:
        if not call.reads:
            made.append(Change(call.name, call.request, way_here()))
        return call.send()

    around(monkeypatch, recorded)
    monkeypatch.setattr(tunnel, "wait_for_ssh", lambda *_, **__: None)
    monkeypatch.setattr(notebook, "prepare", lambda *_, **__: "")
    monkeypatch.setattr(images, "engine_for", lambda *_, **__: None)
    monkeypatch.setattr(images, "publish", lambda _, repository, recipe, *__: f"{repository}:{recipe.tag}")
    monkeypatch.setattr(serverless, "wait_for_api", lambda url: None)
    monkeypatch.setattr(addresses, "my_ip", lambda client: "198.51.100.7")
    assert running_parts.PARTS  # with them come the strict rules of their services
    with inprocess.cloud(slow_states=0):
        yield made


def build(chapter: str) -> object:
    """One run of a chapter's `up`, with all that it can be asked to make."""
    lab = importlib.import_module(f"awslabs.{chapter}")
    also = {"export": True} if "export" in inspect.signature(lab.up).parameters else {}
    return lab.up(Ledger(inprocess.open_cloud("111122223333", "ada"), chapter), **also)


@pytest.mark.parametrize("chapter", LABS)
def test_all_that_a_chapter_makes_goes_through_the_ledger(chapter: str, changes: list[Change]) -> None:
    built = build(chapter)
    ledger = Ledger(inprocess.open_cloud("111122223333", "ada"), chapter)
    tokens = {row.token for row in read(ledger.journal.path)[1]}
    for change in changes:
        if change.call in ENSURES and change.call not in KINDS:
            continue
        assert change.call in KINDS, f"{change.call} was called without the ledger"
        marked = any(token in str(change.request) for token in tokens)
        assert KINDS[change.call].join or marked, f"{change.call} has no mark"
    changes.clear()
    assert build(chapter) == built
    assert changes == []
    ledger.down()
    assert everything_ours(ledger.cloud) == []


@pytest.mark.parametrize("chapter", LABS)
def test_whoever_reads_up_meets_each_call_after_two_more_functions_at_most(
    chapter: str, changes: list[Change], ensured: list[Change]
) -> None:
    build(chapter)
    assert len(changes) >= 10
    assert ensured
    for change in changes + ensured:
        assert change.way[0][:2] == (f"{chapter}.py", "up"), change
        assert len(change.way) <= 3, f"{change.call} is {len(change.way)} functions deep: {change.way}"
        assert len({file for file, _, _ in change.way}) <= 2, f"{change.call}: {change.way}"


def test_chapter_1_shows_each_call_on_its_page_in_order(changes: list[Change]) -> None:
    build("ec2")
    lines = [change.way[0][2] for change in changes]
    assert [change.way[1:] for change in changes] == [[]] * len(changes)
    assert lines == sorted(lines)
    page = ast.parse(inspect.getsource(ec2.up))
    assert not [node for node in ast.walk(page) if isinstance(node, ast.Lambda)]


@pytest.mark.parametrize("module", [*LABS, "ledger"])
def test_a_page_logs_under_its_own_name_also_as_a_program(module: str) -> None:
    """Run as ``python -m`` it is called ``__main__``, whose lines nobody shows."""
    assert "getLogger(__name__)" not in (PACKAGE / f"{module}.py").read_text()
