"""Who imports whom: no circle anywhere in the package, and docs/architecture.md shows what is so.

Imports inside functions count like those at the top, and so do those for types alone: a reader who follows
a name goes there all the same. Only what stands under ``if __name__ == "__main__"`` does not: it is the
foot of a page.
"""

from __future__ import annotations

import ast
import functools
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

import awslabs
from awslabs.labs import LABS

ROOT = Path(awslabs.__file__).parents[1]
MAP = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
ALONE = "awslabs/bashoutter/functions/"  # it runs in Lambda, without the package

Graph = dict[str, set[str]]


def modules() -> dict[str, Path]:
    """Every module of the package, by its dotted name."""
    found = {}
    for path in sorted((ROOT / "awslabs").rglob("*.py")):
        name = path.relative_to(ROOT).with_suffix("")
        if not str(name).startswith(ALONE):
            found[".".join(name.parts).removesuffix(".__init__")] = path
    return found


def is_foot(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and "__main__" in ast.unparse(node.test)


def statements(node: ast.AST) -> Iterator[ast.Import | ast.ImportFrom]:
    """All import statements below a node but those at the foot of a page."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, (ast.Import, ast.ImportFrom)):
            yield child
        elif not is_foot(child):
            yield from statements(child)


def by_lab(tree: ast.AST) -> Iterator[str]:
    """What is imported by the name of a lab, whichever it is: ``import_module(f"awslabs.{lab}")``."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("import_module"):
            pattern = ast.unparse(node.args[0])
            yield from (pattern[2:-1].replace("{lab}", lab) for lab in LABS if "{lab}" in pattern)


def named_by(tree: ast.Module, known: dict[str, Path]) -> set[str]:
    """The modules of the package that a file names in its imports."""
    found = set(by_lab(tree))
    for statement in statements(tree):
        if isinstance(statement, ast.Import):
            found |= {alias.name for alias in statement.names}
        else:
            assert not statement.level, "imports are written in full"
            whole = {f"{statement.module}.{alias.name}" for alias in statement.names}
            found |= {name if name in known else str(statement.module) for name in whole}
    return found & known.keys()


@functools.cache
def named() -> Graph:
    """Which modules each module of the package names."""
    known = modules()
    return {name: named_by(ast.parse(path.read_text()), known) - {name} for name, path in known.items()}


def parents(name: str) -> set[str]:
    parts = name.split(".")
    return {".".join(parts[:length]) for length in range(1, len(parts))}


def loaded(direct: Graph) -> Graph:
    """With what Python loads on the way: the packages that a module lies in, save the importer's own."""
    found = {}
    for name, theirs in direct.items():
        packages = {package for one in theirs for package in parents(one)} & direct.keys()
        found[name] = theirs | (packages - parents(name) - {name})
    return found


def circle(graph: Graph) -> list[str]:
    """A way that leads back to its beginning, or nothing."""
    done: set[str] = set()

    def search(name: str, way: list[str]) -> list[str]:
        if name in way:
            return [*way[way.index(name) :], name]
        if name not in done:
            for one in sorted(graph.get(name, ())):
                if found := search(one, [*way, name]):
                    return found
            done.add(name)
        return []

    return next(filter(None, (search(name, []) for name in sorted(graph))), [])


def part_of(name: str) -> str:
    """The part of the map that a module belongs to: a chapter, a lab's folder, a service, ..."""
    parts = name.split(".")[1:]
    deep = {"sandbox": 2, "workload": 2, "console": 2}.get(parts[0], 1) if parts else 1
    if parts[:2] == ["sandbox", "services"]:
        deep = 3
    if parts[:1] == ["workload"] and len(parts) == 2 and not (ROOT / "awslabs" / Path(*parts)).is_dir():
        deep = 1  # `tables`, `pictures`: what labs share
    return "/".join(parts[:deep]).replace("sandbox/services", "services") or "awslabs"


def map_of(direct: Graph) -> Graph:
    """Which part names which other parts."""
    found: Graph = defaultdict(set)
    for name, theirs in direct.items():
        found[part_of(name)] |= {part_of(one) for one in theirs} - {part_of(name)}
    return found


def as_text(graph: Graph) -> str:
    """The map as the document has it: each part below all that it imports."""
    height: dict[str, int] = {}

    def rise(part: str) -> int:
        if part not in height:
            height[part] = 1 + max((rise(one) for one in graph[part]), default=-1)
        return height[part]

    order = sorted(graph, key=lambda part: (rise(part), part))
    return "\n".join(f"{part:<32}{' '.join(sorted(graph[part]))}".rstrip() for part in order)


def test_no_import_leads_in_a_circle() -> None:
    way = circle(loaded(named()))
    assert not way, " -> ".join(way)


def test_no_part_needs_one_that_needs_it() -> None:
    way = circle(map_of(named()))
    assert not way, " -> ".join(way)


def test_the_map_is_what_the_imports_are() -> None:
    shown = re.search(r"<!-- imports -->\n```text\n(.*?)\n```", MAP, re.DOTALL)
    assert shown, "docs/architecture.md has no map of imports"
    true = as_text(map_of(named()))
    assert shown[1] == true, f"put this into docs/architecture.md:\n{true}"


@pytest.mark.parametrize("lab", LABS)
def test_a_lab_imports_nothing_of_another_lab_s(lab: str) -> None:
    """Neither its page nor its command line nor its work: what labs share has a module named for it."""
    graph, others = map_of(named()), {*LABS} - {lab}
    for part in (lab, f"workload/{lab}"):
        assert not graph[part] & (others | {f"workload/{other}" for other in others}), part


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("import awslabs.errors", {"awslabs.errors"}),
        ("from awslabs.errors import LabError", {"awslabs.errors"}),
        ("from awslabs import errors, ledger as book", {"awslabs.errors", "awslabs.ledger"}),
        ("def later():\n    from awslabs import cli", {"awslabs.cli"}),
        ("if TYPE_CHECKING:\n    from awslabs.ledger import Ledger", {"awslabs.ledger"}),
        ('if __name__ == "__main__":\n    from awslabs import cli', set()),
        ("import json", set()),
        ('import_module(f"awslabs.{lab}").PARTS', {f"awslabs.{lab}" for lab in LABS}),
    ],
)
def test_an_import_is_seen_wherever_it_stands(text: str, found: set[str]) -> None:
    assert named_by(ast.parse(text), modules()) == found


def test_a_circle_is_found_also_through_a_package() -> None:
    direct = {"a": set(), "a.b": {"c.d"}, "c": {"a.b"}, "c.d": set()}
    assert circle(direct) == []  # no module names another that names it
    assert circle(loaded(direct)) == ["a.b", "c", "a.b"]  # but `import c.d` runs c, which needs a.b
