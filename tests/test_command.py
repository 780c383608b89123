"""The command ``awslabs``: every module's own command line below one name."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from awslabs.__main__ import COMMANDS, main
from awslabs.errors import DISTRIBUTION
from awslabs.labs import LABS

AS_A_SCRIPT = [
    sys.executable,
    "-c",
    "import sys; del sys.path[0]; from awslabs.__main__ import main; main(prog_name='awslabs')",
]


def run(*words: str, cwd: Path, **more: str) -> subprocess.CompletedProcess:
    root = str(Path(__file__).parent.parent)
    environment = {**os.environ, "PYTHONPATH": root, **more}
    return subprocess.run([*AS_A_SCRIPT, *words], cwd=cwd, env=environment, capture_output=True, text=True)


@pytest.mark.parametrize("lab", LABS)
def test_a_labs_verbs_are_those_of_its_module(lab: str) -> None:
    context = click.Context(main)
    there = main.get_command(context, lab)
    assert isinstance(there, click.Group)
    assert list(there.commands) == list(importlib.import_module(f"awslabs.{lab}").command_line().commands)


def test_help_names_every_command_and_imports_no_lab(tmp_path: Path) -> None:
    said = run("--help", cwd=tmp_path)
    assert said.returncode == 0
    for name in [*COMMANDS, "tour", "aws-check"]:
        assert f"\n  {name} " in said.stdout
    probe = "import sys, click; from awslabs.__main__ import main; main.get_help(click.Context(main)); "
    loaded = subprocess.run(
        [sys.executable, "-c", probe + "print([m for m in sys.modules if m in ('awslabs.ec2', 'boto3')])"],
        capture_output=True,
        text=True,
    )
    assert loaded.stdout.strip() == "[]"


def test_a_file_of_the_students_named_like_pythons_own_breaks_nothing(tmp_path: Path) -> None:
    (tmp_path / "http.py").write_text("raise SystemExit('this is mine')\n")
    said = run("ledger", "list", cwd=tmp_path)
    assert (said.returncode, said.stderr) == (0, "Nothing stands.\n")


def test_the_shell_completes_labs_and_verbs(tmp_path: Path) -> None:
    words = {"_AWSLABS_COMPLETE": "bash_complete", "COMP_WORDS": "awslabs ec2 st", "COMP_CWORD": "2"}
    assert "plain,status" in run(cwd=tmp_path, **words).stdout.splitlines()


def test_an_unknown_lab_is_a_usage_error() -> None:
    said = CliRunner().invoke(main, ["ec3", "up"])
    assert said.exit_code == 2
    assert "No such command 'ec3'" in said.output


def test_it_tells_its_version(tmp_path: Path) -> None:
    if not installed():
        pytest.skip("a version is that of an installed package: pip install -e .")
    assert run("--version", cwd=tmp_path).stdout == f"awslabs, version {metadata.version(DISTRIBUTION)}\n"


def installed() -> bool:
    return any(one.metadata["Name"] == DISTRIBUTION for one in metadata.distributions())
