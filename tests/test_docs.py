"""What the README says is so: its commands parse, its files exist, its example runs, its figures hold."""

from __future__ import annotations

import configparser
import importlib
import re
import shlex
import subprocess
from pathlib import Path
from types import ModuleType

import click
import pytest
from layers import LAYERS

from awslabs import batch_sweep, ec2, ecs_qa, errors, gpu, prices

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```sh\n(.*?)```", README, re.DOTALL)
COMMANDS = [line.partition("#")[0].strip() for block in BLOCKS for line in block.splitlines()]


def group_of(module: str) -> click.Command:
    """The command line that `python -m MODULE` runs."""
    if module in ("awslabs", "awslabs.console", "awslabs.sandbox"):
        return importlib.import_module(f"{module}.__main__").main
    if module == "awslabs.ledger":
        return importlib.import_module("awslabs.certificate").command_line()
    return importlib.import_module(module).command_line()


@pytest.mark.parametrize("command", [line for line in COMMANDS if "python -m awslabs" in line])
def test_each_command_parses(command: str) -> None:
    command = re.sub(r'eval "\$\((.*)\)"', r"\1", command)
    python, flag, module, *arguments = shlex.split(command)
    assert (python, flag) == ("python", "-m")
    current, context = group_of(module), click.Context(group_of(module))
    while isinstance(current, click.Group):
        name = arguments.pop(0)
        verb = current.get_command(context, name)  # that of `awslabs` reads a module when it is asked for
        assert verb, f"{module} has no {name}"
        current = verb
    current.make_context(current.name, arguments, parent=context)  # raises on an option it does not know


@pytest.mark.parametrize("lab", ["ec2", "gpu", "ecs_qa", "batch_sweep", "serverless"])
def test_help_lists_verbs_from_up_to_down_in_whole_sentences(lab: str) -> None:
    group = group_of(f"awslabs.{lab}")
    assert isinstance(group, click.Group)
    context = click.Context(group, terminal_width=80)
    verbs = group.list_commands(context)
    assert (*verbs[:3], verbs[-1]) == ("up", "explain", "status", "down")
    shown = " ".join(group.get_help(context).split())
    for name in verbs:
        said = " ".join((group.commands[name].help or "").partition("\n\n")[0].split())
        assert f"{name} {said.rstrip('.')}" in shown


@pytest.mark.parametrize("target", sorted({line.split()[1] for line in COMMANDS if line.startswith("make ")}))
def test_each_make_target_exists(target: str) -> None:
    assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), re.MULTILINE)


@pytest.mark.parametrize("path", sorted(set(re.findall(r"\]\((?!http)([^)]+)\)", README))))
def test_each_file_exists(path: str) -> None:
    assert (ROOT / path).exists()


@pytest.mark.parametrize(
    ("chapter", "told"),
    [
        (ec2, ec2.usd_per_hour("t3.micro", "us-east-1")),
        (gpu, gpu.usd_per_hour(gpu.INSTANCE_TYPE, "us-east-1")),
        (ecs_qa, prices.fargate_hour(ecs_qa.VCPUS, ecs_qa.MEMORY_GB, "us-east-1")),
        (batch_sweep, batch_sweep.usd_per_machine_hour(batch_sweep.GPU, False, "us-east-1")),
    ],
    ids=["ec2", "gpu", "ecs_qa", "batch_sweep"],
)
def test_the_price_in_table_and_chapter_is_the_price_that_up_tells(chapter: ModuleType, told: float) -> None:
    (line,) = [line for line in README.splitlines() if line.startswith(f"| [`{chapter.__name__}`]")]
    assert f"| {told:.3f}" in line
    assert {f"{told:.2f} USD per hour", f"{told:.3f} USD per hour"} & set(
        re.findall(r"[\d.]+ USD per hour", " ".join((chapter.__doc__ or "").split()))
    )


def test_no_line_installs_a_package_of_somebody_else() -> None:
    """`awslabs` of PyPI is another's: what is installed is the checkout, or our own name."""
    anothers = re.compile(
        r"(?:pip3?|pipx|uv)\b[ '\",]+(?:install|add|download)\b[^\n]*['\" ]awslabs(?![\w./-])"
    )
    name = "awslabs"
    assert anothers.search(f"pip install '{name}[sandbox]'")
    assert anothers.search(f"python -m pip install --upgrade {name}")
    assert not anothers.search(f"pip install '{name}-course[sandbox]'")
    tracked = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True)
    for path in filter(None, tracked.stdout.split("\0")):
        assert not anothers.findall((ROOT / path).read_text(encoding="utf-8", errors="replace")), path


def test_what_pip_is_told_is_what_setup_cfg_calls_it() -> None:
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    assert setup["metadata"]["name"] == errors.DISTRIBUTION != "awslabs"
    code = "".join(path.read_text() for path in (ROOT / "awslabs").rglob("*.py"))
    asked = {
        extra for extras in re.findall(r"\binstall\(['\"]([^'\"]+)", code) for extra in extras.split(",")
    }
    assert {"sandbox", "ml", "notebook"} <= asked <= set(setup["options.extras_require"])


def test_the_programs_that_make_runs_exist() -> None:
    for name in re.findall(r"bench/(\w+)\.py", (ROOT / "Makefile").read_text()):
        assert (ROOT / "bench" / f"{name}.py").exists()
    figures = re.search(r"FIGURES = ((?:[\w ]|\\\n|\t)+)", (ROOT / "Makefile").read_text())
    assert figures
    named = figures[1].replace("\\", "").split()
    assert len(named) >= 10
    for name in named:
        assert (ROOT / "bench" / f"{name}.py").exists()


def test_ci_runs_the_readme_s_test_command_before_it_installs_what_a_newcomer_lacks() -> None:
    """Python with venv, make and git are all that `make test` may need; the rest is only fetched."""
    assert "make test" in COMMANDS
    lines = [line.strip() for line in (ROOT / ".ci" / "run").read_text().splitlines()]
    before = lines[: lines.index("make test")]
    first = before[: before.index('first=("${missing[@]}")')]
    packages = {line.split()[2] for line in first if line.startswith("need ")}
    packages |= {name for line in first for name in re.findall(r"missing\+=\(([\w-]+)\)", line)}
    assert packages == {"git", "make", "python3-venv"}
    done = "\n".join(line for line in before if not line.startswith("need "))
    assert re.findall(r'\binstall (.*"\$\{\w+\[@\]\}")', done) == [
        '"${first[@]}"',
        '--download-only "${rest[@]}"',
    ]
    assert re.findall(r'\bpip" ([\w-]+)', done) == ["wheel"]
    assert not re.search(r"\b(npm|dockerd|pip install)\b", done)
    assert lines.index("make test") < lines.index("make test-rest")


def test_make_test_and_make_test_rest_are_all_tests() -> None:
    """The layers that one leaves out are those that the other runs, and each is explained."""
    chosen, marks = re.search(
        r'-m "not \((.*)\)"\nmarkers =\n((?:    .*\n)+)', (ROOT / "setup.cfg").read_text()
    ).groups()  # type: ignore[union-attr]
    layers = re.search(r"^LAYERS \?= (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert layers
    assert layers[1] == chosen == " or ".join(re.findall(r"^ +(\w+):", marks, re.MULTILINE))
    assert chosen.split(" or ") == list(LAYERS)
