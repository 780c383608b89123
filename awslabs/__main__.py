"""``awslabs`` or ``python -m awslabs``: the labs and what stands, and every lab's own command below it.

awslabs                  the labs, and what stands
awslabs ec2 up           the same as  python -m awslabs.ec2 up
awslabs console          what stands, runs and costs, on a page in your browser
awslabs cost             the same as  python -m awslabs.ledger cost
awslabs tour             the whole course once, in the practice cloud
awslabs aws-check        a lab on a real account, from end to end, and a report to hand out
"""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import click

from awslabs import cli, prices, screen
from awslabs.errors import DISTRIBUTION
from awslabs.labs import LABS

# Modules with a command line of their own: what each is for.
COMMANDS = {
    **LABS,
    "ledger": "what all labs have built, and its end",
    "cost": "what was spent until now",
    "class": "what the students of a class have built, and its end",
    "console": "what stands, runs and costs, on a page in your browser",
    "sandbox": "the practice cloud on this computer",
}


class Course(cli.Group):
    """The command lines of all modules, each of which is read only when it is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [*COMMANDS, *super().list_commands(ctx)]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        command: click.Command | None = super().get_command(ctx, cmd_name)
        if cmd_name in ("sandbox", "console"):
            command = importlib.import_module(f"awslabs.{cmd_name}.__main__").main
        elif cmd_name == "class":
            command = importlib.import_module("awslabs.classroom").command_line()
        elif cmd_name in ("ledger", "cost"):
            ledgers = importlib.import_module("awslabs.certificate").command_line()
            command = ledgers if cmd_name == "ledger" else ledgers.commands["cost"]
        elif cmd_name in LABS:
            command = importlib.import_module(f"awslabs.{cmd_name}").command_line()
        return command

    def lines_of_help(self) -> list[tuple[str, str]]:
        return [*COMMANDS.items(), *super().lines_of_help()]


@click.group(cls=Course, invoke_without_command=True)
@click.version_option(package_name=DISTRIBUTION, prog_name="awslabs")
@click.pass_context
def main(context: click.Context) -> None:
    """A cloud course that you can run: `awslabs ec2 up` builds the first lab."""
    if context.invoked_subcommand is None:
        with cli.reporting():
            overview()


def overview() -> None:
    """Print the labs, and under them what stands."""
    from awslabs.ledgers import folders, standing

    cli.show_table([{"lab": f"python -m awslabs.{lab}", "builds": what} for lab, what in LABS.items()])
    entries = standing(folders())
    cli.out("\nNothing stands." if not entries else "\nWhat stands (python -m awslabs.ledger list):")
    for one in entries:
        what = (
            one.unread.what
            if one.unread
            else f"{one.resources} resources, {screen.amount('usd', one.usd_per_hour)} USD per hour"
            + prices.note(one.region)
        )
        cli.tell(f"  {one.lab} ({one.name}) on {one.cloud}, {one.region}: {what}")


@cli.plain_verb(main, "tour")
def tour(as_json: bool, **_: Any) -> list[dict[str, Any]] | None:
    """Run the whole course once in the practice cloud, and leave nothing."""
    from awslabs.tour import tour

    lines = tour()
    return lines if as_json else None


@main.command("aws-check")
@click.option("--lab", type=click.Choice(["smallest", *LABS]), default="smallest", show_default=True)
@click.option("--instance-type", metavar="TYPE", help="As the lab's `up` takes it: ec2, gpu.")
@click.option("--cpu", is_flag=True, help="Without a GPU: gpu, batch_sweep.")
@click.option("--spot", is_flag=True, help="Machines that AWS may take back: gpu, batch_sweep.")
@click.option(
    "--report", metavar="FILE", type=click.Path(path_type=Path), help="Default: aws-check-LAB.md here."
)
@click.option(
    "--record",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Keep all calls, without ids, for `replay`.",
)
@click.option("--yes", is_flag=True, help="Do not ask.")
@cli.with_options(*cli.CLOUD_OPTIONS, cli.OWNER)
def aws_check(lab: str, report: Path | None, record: Path | None, yes: bool, **given: Any) -> None:
    """Run a lab on a real account, from end to end, and write a report without ids.

    Without --lab it is the smallest: a network, a firewall and a key, which cost nothing.
    """
    with cli.reporting():
        from awslabs.aws_check import check

        options = {name: given.pop(name) for name in ("instance_type", "cpu", "spot")}
        check(lab, report or Path(f"aws-check-{lab}.md"), options, yes=yes, cassette=record, **given)


if __name__ == "__main__":
    main(prog_name="python -m awslabs")
