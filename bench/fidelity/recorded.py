"""The answers that LocalStack's snapshots hold, test by test, and whose they are: what a run had to reach.

A snapshot names its answers, not the operation that gave each. That stands in the test: in
``snapshot.match("key", answer)`` the answer is a name that a call was assigned to, the call itself, or the
error that a call within ``pytest.raises`` gave.
"""

from __future__ import annotations

import ast
import functools
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import botocore.session

CLIENT = re.compile(r"(?:\w*_client|client)$")


def answers(localstack: Path, test: str) -> dict[str, Any]:
    """What AWS answered in a test, by the key of its snapshot."""
    held = _snapshots(localstack / test.split("::")[0].replace(".py", ".snapshot.json"))
    return held.get(test, {}).get("recorded-content") or {}


def is_of_a_call(answer: Any) -> bool:
    """Whether it is what boto3 gives for a call; others are bodies, lines of logs, numbers."""
    return isinstance(answer, dict) and "ResponseMetadata" in answer


def operations(localstack: Path, test: str, service: str, keys: list[str]) -> dict[str, str]:
    """Of a test's keys the operation that each belongs to, as far as the text of the test says it."""
    file, _, name = test.partition("[")[0].partition("::")
    known = _matches(localstack / file, service).get(name, [])
    found = {}
    for key in keys:
        fits = [operation for pattern, operation in known if re.fullmatch(pattern, key)]
        if fits:
            found[key] = fits[0]
    return found


@functools.cache
def _snapshots(file: Path) -> dict[str, Any]:
    """A file of snapshots, or nothing where there is none."""
    return json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}


@functools.cache
def _methods(service: str) -> dict[str, str]:
    """A service's operations by the names that boto3 gives to its methods."""
    try:
        model = botocore.session.get_session().get_service_model(service)
    except botocore.exceptions.UnknownServiceError:
        return {}
    return {botocore.xform_name(name): f"{service}:{name}" for name in model.operation_names}


@functools.cache
def _matches(file: Path, service: str) -> dict[str, list[tuple[str, str]]]:
    """Of each test of a file, by ``Class::test``: a pattern of keys and the operation, in order."""
    found: dict[str, list[tuple[str, str]]] = {}
    text = re.sub(
        r"(?m)^( *(?:def|class) \w+)\[\w+\]", r"\1", file.read_text(encoding="utf-8")
    )  # newer than ours
    tree = ast.parse(text)
    for node in tree.body:
        inside = node.body if isinstance(node, ast.ClassDef) else [node]
        for each in inside:
            if isinstance(each, ast.FunctionDef) and each.name.startswith("test"):
                name = f"{node.name}::{each.name}" if isinstance(node, ast.ClassDef) else each.name
                found[name] = list(_of_function(each, service))
    return found


def _of_function(function: ast.FunctionDef, service: str) -> Iterator[tuple[str, str]]:
    """Walk a test from top to bottom, and say whose answer each `match` looks at."""
    given: dict[str, str] = {}
    for node in _in_order(function):
        if isinstance(node, ast.Assign) and (operation := _called(node.value, service)):
            given.update({each.id: operation for each in node.targets if isinstance(each, ast.Name)})
        elif isinstance(node, ast.With):
            called = [one for part in node.body for each in ast.walk(part) if (one := _called(each, service))]
            for item in node.items:
                if called and isinstance(item.optional_vars, ast.Name):
                    given[item.optional_vars.id] = called[-1]
        elif isinstance(node, ast.Call) and _is_match(node):
            answer = node.args[1]
            while isinstance(answer, ast.Attribute):  # of `error.value.response` the error
                answer = answer.value
            whose = given.get(answer.id) if isinstance(answer, ast.Name) else _called(answer, service)
            if whose:
                yield _pattern(node.args[0]), whose


def _in_order(node: ast.AST) -> Iterator[ast.AST]:
    """A node and all within it, as they stand in the text."""
    yield node
    for child in ast.iter_child_nodes(node):
        yield from _in_order(child)


def _is_match(node: ast.Call) -> bool:
    return isinstance(node.func, ast.Attribute) and node.func.attr == "match" and len(node.args) == 2


def _called(node: ast.AST, service: str) -> str:
    """The operation that is called: ``lambda:GetFunction`` by ``aws_client.lambda_.get_function(...)``."""
    if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
        return ""
    held = node.func.value
    if isinstance(held, ast.Attribute):  # aws_client.lambda_
        service = held.attr.rstrip("_")
    elif not (isinstance(held, ast.Name) and CLIENT.match(held.id)):
        return ""
    return _methods(service).get(node.func.attr, "")


def _pattern(key: ast.AST) -> str:
    """A key as a pattern: what an f-string puts in may be anything."""
    if isinstance(key, ast.Constant):
        return re.escape(str(key.value))
    if isinstance(key, ast.JoinedStr):
        return "".join(
            re.escape(str(part.value)) if isinstance(part, ast.Constant) else ".*" for part in key.values
        )
    return ".*"
