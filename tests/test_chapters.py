"""The house rules: imports point one way, and nothing that a chapter makes bypasses the ledger."""

from __future__ import annotations

import ast
import importlib
from pathlib import Path
from typing import Any

import pytest
from botocore.client import BaseClient
from moto import mock_aws

import awslabs
from awslabs import tunnel
from awslabs.journal import read
from awslabs.kinds import ENSURES, KINDS
from awslabs.ledger import Cloud, Ledger

PACKAGE = Path(awslabs.__file__).parent
CHAPTERS = ["ec2", "gpu", "ecs_qa", "batch_sweep", "serverless"]

# Each part sees only parts that stand before its own line.
HOUSE = [
    ["errors", "prices", "show", "web"],
    ["explain", "progress", "screen", "journal", "addresses", "policies", "tunnel", "kinds", "images"],
    ["cost"],
    ["ledger"],
    ["cli"],
    ["ledger_cli"],
    ["workload"],
    CHAPTERS,
    ["tour"],
    ["__main__"],
]
LATE = {"sandbox": {"cli", "ledger_cli"}}  # who may start the practice cloud, inside a function


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
        same_part_or_chapter = name == part or (part in CHAPTERS and name in CHAPTERS)
        foot = not at_top and part in ("ledger", *CHAPTERS)  # the command line at the foot of a page
        assert theirs < floor or same_part_or_chapter or foot or theirs == floor == 1, f"{part} -> {name}"


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


@pytest.mark.parametrize("chapter", ["ec2"])  # of the others their own tests say the same
def test_all_that_a_chapter_makes_goes_through_the_ledger(
    chapter: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = importlib.import_module(f"awslabs.{chapter}")
    changing: list[tuple[str, dict]] = []
    send = BaseClient._make_api_call

    def recorded(self: BaseClient, operation_name: str, kwargs: dict) -> Any:
        if not operation_name.startswith(("Describe", "Get", "List")):
            changing.append((f"{self.meta.service_model.service_name}:{operation_name}", kwargs))
        return send(self, operation_name, kwargs)

    monkeypatch.setattr(BaseClient, "_make_api_call", recorded)
    monkeypatch.setattr(tunnel, "wait_for_ssh", lambda *_, **__: None, raising=False)
    with mock_aws():
        ledger = Ledger(Cloud(), chapter)
        module.up(ledger, allow_from="198.51.100.7/32")
        rows = read(ledger.journal.path)[1]
        tokens = {row.token for row in rows}
        for call, request in changing:
            if call in ENSURES:
                continue
            assert call in KINDS, f"{call} was called without the ledger"
            assert KINDS[call].join or any(token in str(request) for token in tokens), f"{call} has no mark"
        changing.clear()
        module.up(Ledger(Cloud(), chapter), allow_from="198.51.100.7/32")
        assert changing == []
        module.down(Ledger(Cloud(), chapter))
        assert Ledger(Cloud(), chapter).resources == {}


@pytest.mark.parametrize("module", [*CHAPTERS, "ledger"])
def test_a_page_logs_under_its_own_name_also_as_a_program(module: str) -> None:
    """Run as ``python -m`` it is called ``__main__``, whose lines nobody shows."""
    assert "getLogger(__name__)" not in (PACKAGE / f"{module}.py").read_text()
