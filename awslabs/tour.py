"""The whole course once, in the practice cloud: build, do the lab's work, take down, verify."""

from __future__ import annotations

import time
from collections.abc import Callable

from awslabs import after_class, cli, ec2, tunnel
from awslabs.errors import LabError
from awslabs.ledger import Ledger


def ec2_work(ledger: Ledger) -> str:
    """Chapter 1: log in to the server, and let it say what it is."""
    with tunnel.connect(ec2.describe(ledger).ssh) as server:
        answer = tunnel.run(server, ["uname", "-sr"])
    if answer.status != 0:
        raise LabError("The server did not run `uname`.", answer.stderr.strip(), ledger.command("ssh"))
    return f"logged in over SSH; the server says it is {answer.stdout.strip()}"


# chapter, what it builds, its `up`, the lab's own work, its `down`
Chapter = tuple[str, str, Callable[[Ledger], object], Callable[[Ledger], str], Callable[[Ledger], None]]
CHAPTERS: list[Chapter] = [
    ("ec2", "a network, a firewall, a key and one server", ec2.up, ec2_work, ec2.down),
]


def tour() -> list[dict[str, object]]:
    """Run every chapter in the practice cloud, and return one line per step with its seconds.

    A copy of the lab named ``tour`` is used, so that your own copies stay as they are.

    Raises
    ------
    LabError
        When a step fails, or something of the tour still stands at its end.
    """
    return [line for chapter in CHAPTERS for line in run_chapter(*chapter)]


def run_chapter(lab: str, what: str, up: Callable, work: Callable, down: Callable) -> list[dict[str, object]]:
    """Build, work, take down, verify: one line each, said as it is done."""
    ledger = cli.open_ledger(lab, name="tour", sandbox=True)
    ledger.down()  # what an interrupted tour may have left

    def build() -> str:
        up(ledger)
        return f"{what} ({len(ledger.resources)} resources)"

    def delete() -> str:
        down(ledger)
        return "everything deleted"

    lines: list[dict[str, object]] = []
    steps = {
        "up": build,
        "work": lambda: work(ledger),
        "down": delete,
        "verify": lambda: nothing_left(ledger),
    }
    for step, run in steps.items():
        since = time.monotonic()
        result = run()
        lines.append(
            {"lab": lab, "step": step, "seconds": round(time.monotonic() - since, 1), "result": result}
        )
        cli.say(f"{lab:<12} {step:<7} {lines[-1]['seconds']:>5} s  {result}")
    return lines


def nothing_left(ledger: Ledger) -> str:
    """Ask the cloud, not the ledger, whether anything of this ledger still stands."""
    left = [one for one in after_class.everything_ours(ledger.cloud) if one.ledger == ledger.prefix]
    if left:
        things = ", ".join(one.found.id for one in left)
        raise LabError(f"Of {ledger.lab} there is still {things}.", "", ledger.command("down"))
    return "nothing of it is left in the cloud"
