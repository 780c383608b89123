"""The whole course once, in the practice cloud: build, do the lab's work, take down, verify."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from awslabs import after_class, cli, ec2, serverless, tunnel
from awslabs.errors import LabError
from awslabs.ledger import Ledger
from awslabs.workload import functions, haiku, tables


def ec2_work(ledger: Ledger) -> str:
    """Chapter 1: log in to the server, and let it say what it is."""
    with tunnel.connect(ec2.door(ledger)) as server:
        answer = tunnel.run(server, ["uname", "-sr"])
    if answer.status != 0:
        raise LabError("The server did not run `uname`.", answer.stderr.strip(), ledger.command("ssh"))
    return f"logged in over SSH; the server says it is {answer.stdout.strip()}"


def serverless_work(ledger: Ledger) -> str:
    """Chapter 5: many functions at once, a table filled, and a haiku posted, liked and read again."""
    ran = functions.invoke_many(ledger, 20)
    written = tables.write(ledger, 500)
    api = haiku.Api(serverless.describe(ledger).api_url)
    posted = haiku.post(
        api, "tour", "An old silent pond", "A frog jumps into the pond", "Splash! Silence again."
    )
    haiku.like(api, posted["item_id"])
    likes = [one["likes"] for one in haiku.newest(api) if one["item_id"] == posted["item_id"]]
    if ran.finished != 20 or likes != [1]:
        raise LabError(f"{ran.finished} of 20 functions ran, and the haiku's likes are {likes}.")
    return f"20 functions ran, {ran.most_at_once} at once; {written.count} people in a table; a haiku liked"


@dataclass(frozen=True)
class Chapter:
    """How one lab is run from end to end.

    Attributes
    ----------
    builds : str
        What it builds, in a few words.
    up, work, down : callable
        Its verbs; each takes the ledger. `work` does what the lab is for, and says in a line what came of it.
    usd_per_hour : float
        What it costs in us-east-1 while it stands, for who runs it on a real account.
    """

    builds: str
    up: Callable[[Ledger], object]
    work: Callable[[Ledger], str]
    down: Callable[[Ledger], None]
    usd_per_hour: float


CHAPTERS = {
    "ec2": Chapter(
        "a network, a firewall, a key and one server",
        ec2.up,
        ec2_work,
        ec2.down,
        ec2.usd_per_hour("t3.micro", "us-east-1") or 0.0,
    ),
    "serverless": Chapter(
        "functions, tables, files and Bashoutter", serverless.up, serverless_work, serverless.down, 0.0
    ),
}


def tour() -> list[dict[str, Any]]:
    """Run every chapter in the practice cloud, and return one line per step with its seconds.

    A copy of the lab named ``tour`` is used, so that your own copies stay as they are.

    Raises
    ------
    LabError
        When a step fails, or something of the tour still stands at its end.
    """
    return [line for lab in CHAPTERS for line in run(cli.open_ledger(lab, name="tour", sandbox=True))]


def run(ledger: Ledger) -> list[dict[str, Any]]:
    """Build, work, take down, verify: one line each, said as it is done."""
    chapter = CHAPTERS[ledger.lab]
    ledger.down()  # what an interrupted run may have left

    def build() -> str:
        chapter.up(ledger)
        return f"{chapter.builds} ({len(ledger.resources)} resources)"

    def delete() -> str:
        chapter.down(ledger)
        return "everything deleted"

    steps = {
        "up": build,
        "work": lambda: chapter.work(ledger),
        "down": delete,
        "verify": lambda: verify(ledger),
    }
    lines: list[dict[str, Any]] = []
    for step, act in steps.items():
        since = time.monotonic()
        result = act()
        lines.append(
            {"lab": ledger.lab, "step": step, "seconds": round(time.monotonic() - since, 1), "result": result}
        )
        cli.say(f"{ledger.lab:<12} {step:<7} {lines[-1]['seconds']:>5} s  {result}")
    return lines


def verify(ledger: Ledger) -> str:
    """Ask the cloud, not the ledger, whether anything of this ledger still stands."""
    left = [one for one in after_class.everything_ours(ledger.cloud) if one.ledger == ledger.prefix]
    if left:
        things = ", ".join(one.found.id for one in left)
        raise LabError(f"Of {ledger.lab} there is still {things}.", "", ledger.command("down"))
    return "nothing of it is left in the cloud"
