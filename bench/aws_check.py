"""The rehearsal for a first real account: up, work, down, verify, and a report without ids.

    python bench/aws_check.py --lab ec2                on AWS: says the account and the cost, then asks
    python bench/aws_check.py --lab ec2 --sandbox      the same in the practice cloud, free

The report goes to docs/aws-checks/LAB.md: date, Region, versions, seconds and estimated cost of each step. It
holds no account number, no id, no address and no name.
"""

from __future__ import annotations

import datetime
import platform
import re
from importlib import metadata
from pathlib import Path

import click

from awslabs import cli, screen, tour
from awslabs.errors import DISTRIBUTION, LabError
from awslabs.labs import LABS

LONGEST_H = 0.5  # hours that a check may take before its stated cost no longer holds
IDS = re.compile(r"\b[a-z]+-[0-9a-f]{8,17}\b|\b\d{12}\b|\b\d+\.\d+\.\d+\.\d+\b|\bawslabs-[a-z0-9-]+")


@click.command()
@click.option("--lab", type=click.Choice(sorted(LABS)), required=True)
@click.option("--sandbox", is_flag=True, help="Rehearse the rehearsal in the practice cloud.")
@click.option("--region", help="AWS Region.")
@click.option("--profile", help="Profile of the AWS configuration.")
@click.option("--report", type=click.Path(path_type=Path), help="Where the report goes.")
@click.option("--yes", is_flag=True, help="Do not ask.")
def main(lab: str, report: Path | None, yes: bool, **where: str | None) -> None:
    """Run one LAB from end to end and write down how it went."""
    with cli.reporting():
        check(lab, report or Path("docs/aws-checks") / f"{lab}.md", yes, where)


def check(lab: str, report: Path, yes: bool, where: dict) -> None:
    ledger, chapter = cli.open_ledger(lab, name="check", **where), tour.chapter(lab)
    hourly = chapter.USD_PER_HOUR
    most = "?" if hourly is None else f"{hourly * LONGEST_H:.3f}"
    cli.say(
        f"Will build {chapter.BUILDS} in account {ledger.cloud.identity['account']}, {ledger.cloud.region}, "
        f"use it, and delete it: at most about {most} USD, "
        f"if it takes under {LONGEST_H * 60:.0f} min."
    )
    if not yes:
        click.confirm("Go on?", abort=True, err=True)
    try:
        lines = tour.run(ledger)
    except LabError as error:
        lines = [{"step": "failed", "seconds": 0.0, "result": str(error)}]
        write(report, lab, where, lines, ledger.usd_so_far)
        raise
    write(report, lab, where, lines, ledger.usd_so_far)
    cli.say(f"The report is {report}.")


def write(report: Path, lab: str, where: dict, lines: list[dict], usd: float | None) -> None:
    """One Markdown page; what could tell whose account it was is blotted out."""
    cloud = "the practice cloud" if where["sandbox"] else "AWS"
    versions = ", ".join(f"{name} {metadata.version(name)}" for name in (DISTRIBUTION, "boto3", "paramiko"))
    text = [
        f"# {lab} on {cloud}, {datetime.date.today()}",
        "",
        f"Region {where['region'] or 'of the configuration'}; {versions}; "
        f"Python {platform.python_version()}, {platform.system()}; about {screen.amount('usd', usd)} USD.",
        "",
        "| step | seconds | result |",
        "|---|---|---|",
        *(f"| {line['step']} | {line['seconds']} | {IDS.sub('...', line['result'])} |" for line in lines),
        "",
    ]
    report.parent.mkdir(parents=True, exist_ok=True)
    report.write_text("\n".join(text), encoding="utf-8")


if __name__ == "__main__":
    main()
