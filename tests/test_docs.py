"""What the README says is so: its commands parse, its files exist, its example runs, its figures hold."""

from __future__ import annotations

import importlib
import re
import shlex
from pathlib import Path

import click
import pytest

from awslabs import ec2

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```sh\n(.*?)```", README, re.DOTALL)
COMMANDS = [line.partition("#")[0].strip() for block in BLOCKS for line in block.splitlines()]


def group_of(module: str) -> click.Command:
    """The command line that `python -m MODULE` runs."""
    if module in ("awslabs", "awslabs.sandbox"):
        return importlib.import_module(f"{module}.__main__").main
    if module == "awslabs.ledger":
        return importlib.import_module("awslabs.after_class").command_line()
    return importlib.import_module(module).command_line()


@pytest.mark.parametrize("command", [line for line in COMMANDS if "python -m awslabs" in line])
def test_each_command_parses(command: str) -> None:
    command = re.sub(r'eval "\$\((.*)\)"', r"\1", command)
    python, flag, module, *arguments = shlex.split(command)
    assert (python, flag) == ("python", "-m")
    current, context = group_of(module), click.Context(group_of(module))
    while isinstance(current, click.Group):
        name = arguments.pop(0)
        assert name in current.commands, f"{module} has no {name}"
        current = current.commands[name]
    current.make_context(current.name, arguments, parent=context)  # raises on an option it does not know


@pytest.mark.parametrize("target", sorted({line.split()[1] for line in COMMANDS if line.startswith("make ")}))
def test_each_make_target_exists(target: str) -> None:
    assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), re.MULTILINE)


@pytest.mark.parametrize("path", sorted(set(re.findall(r"\]\((?!http)([^)]+)\)", README))))
def test_each_file_exists(path: str) -> None:
    assert (ROOT / path).exists()


def test_the_price_in_the_table_is_the_price_that_up_tells() -> None:
    told = ec2.usd_per_hour("t3.micro", "us-east-1")
    assert told is not None
    assert f"| {told:.3f} |" in README


def test_the_programs_that_make_runs_exist() -> None:
    for name in re.findall(r"bench/(\w+)\.py", (ROOT / "Makefile").read_text()):
        assert (ROOT / "bench" / f"{name}.py").exists()
    figures = re.search(r"FIGURES = ((?:[\w ]|\\\n|\t)+)", (ROOT / "Makefile").read_text())
    assert figures
    named = figures[1].replace("\\", "").split()
    assert len(named) >= 10
    for name in named:
        assert (ROOT / "bench" / f"{name}.py").exists()
