"""``python -m awslabs``: the labs, and what stands; ``python -m awslabs tour``: the whole course once."""

from __future__ import annotations

from typing import Any

import click

from awslabs import cli

LABS = {
    "ec2": "a network, a firewall, a key, one server",
    "gpu": "a GPU server, a notebook on it through a tunnel, and a network that learns to read digits",
    "ecs_qa": "a container that answers questions, on Fargate, as many at once as you like",
    "batch_sweep": "a grid of trainings on AWS Batch, on machines that come and go with the work",
    "serverless": "functions, tables, files, and Bashoutter, a web service made of them",
}


@click.group(cls=cli.Group, invoke_without_command=True)
@click.pass_context
def main(context: click.Context) -> None:
    """A cloud course that you can run. Each lab is a command of its own: python -m awslabs.LAB up."""
    if context.invoked_subcommand is None:
        with cli.reporting():
            overview()


def overview() -> None:
    """Print the labs, and under them what stands."""
    from awslabs.after_class import folders, standing

    cli.show_table([{"lab": f"python -m awslabs.{lab}", "builds": what} for lab, what in LABS.items()])
    entries = standing(folders())
    click.echo("\nNothing stands." if not entries else "\nWhat stands (python -m awslabs.ledger list):")
    for one in entries:
        click.echo(
            f"  {one.lab} ({one.name}) on {one.cloud}, {one.region}: {one.resources} resources, "
            f"{one.usd_per_hour:.4f} USD per hour"
        )


@cli.plain_verb(main, "tour")
def tour(as_json: bool, **_: Any) -> list[dict[str, Any]] | None:
    """Run the whole course once in the practice cloud, and leave nothing."""
    from awslabs.tour import tour

    lines = tour()
    return lines if as_json else None


if __name__ == "__main__":
    main(prog_name="python -m awslabs")
