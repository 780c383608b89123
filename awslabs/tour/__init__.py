"""The whole course once, in the practice cloud: build, look, do the lab's work, take down, verify.

Beside this file stands one for each lab:

    BUILDS            what it builds, in a few words
    OPTIONS           those of `up` that choose its machines: `awslabs aws-check` takes them, too
    NEEDS             modules that its work needs on this computer when it runs in the practice cloud
    usd_per_hour      takes the Region and those options: what it costs while it stands and works; None where
                      the price table does not know it
    up, look, work    take the ledger, `up` those options, too; `look` asks the cloud what stands, `work` does
                      what the lab is for, and both say in a line what came of it

`awslabs.aws_check` runs the same steps on AWS.
"""

from __future__ import annotations

import importlib
import time
from collections.abc import Callable
from types import ModuleType
from typing import Any

from awslabs import cli, images, inventory
from awslabs.errors import LabError, install
from awslabs.labs import LABS
from awslabs.ledger import Ledger

LEFT_OUT = "left out"  # how the result of work begins that this computer cannot do


def chapter(lab: str) -> ModuleType:
    """How one lab is run from end to end: its file beside this one."""
    return importlib.import_module(f"awslabs.tour.{lab}")


def missing(ledger: Ledger) -> list[str]:
    """What the work of a lab needs and this computer lacks; on AWS it is there, in images."""
    return [] if ledger.cloud.is_aws else images.lacking(chapter(ledger.lab).NEEDS)


def tour() -> list[dict[str, Any]]:
    """Run every chapter in the practice cloud, and return one line per step with its seconds.

    A copy of the lab named ``tour`` is used, so that your own copies stay as they are. Work that cannot be
    done on this computer is named, with the command that changes it. A practice cloud that is started for
    the tour ends with it.

    Raises
    ------
    LabError
        When a step fails, or something of the tour still stands at its end.
    """
    lines = []
    with cli.practice_cloud():
        for lab in LABS:
            lines += run(cli.open_ledger(lab, name="tour", sandbox=True))
    sum_up(lines)
    return lines


def sum_up(lines: list[dict[str, Any]]) -> None:
    """A line for each lab, since the log has carried the others away, and what was left out."""
    seconds = sum(line["seconds"] for line in lines)
    cli.say(f"\nThe tour is over: {len(LABS)} labs, {len(lines)} steps, {seconds:.0f} s.")
    left_out = [line for line in lines if line["result"].startswith(LEFT_OUT)]
    for lab in LABS:
        steps = [
            f"{line['step']} {LEFT_OUT if line in left_out else str(line['seconds']) + ' s'}"
            for line in lines
            if line["lab"] == lab
        ]
        cli.say_beside(f"{lab:<12} ", ", ".join(steps))
    if left_out:
        cli.say("Work that was left out needs PyTorch (6 GB). With this the tour does it:")
        cli.say(install("sandbox,ml,notebook"))


def run(ledger: Ledger) -> list[dict[str, Any]]:
    """Build, look, work, take down, verify: one line each, said as it is done."""
    ledger.down()  # what an interrupted run may have left
    lines: list[dict[str, Any]] = []
    for step, act in (building(ledger) | ending(ledger)).items():
        since = time.monotonic()
        result = act()
        lines.append(
            {"lab": ledger.lab, "step": step, "seconds": round(time.monotonic() - since, 1), "result": result}
        )
        cli.say_beside(f"{ledger.lab:<12} {step:<7} {lines[-1]['seconds']:>5} s  ", result)
    return lines


def building(ledger: Ledger, **options: Any) -> dict[str, Callable[[], str]]:
    """The steps that build a lab and use it; options as its `up` takes them."""
    lab = chapter(ledger.lab)

    def build() -> str:
        lab.up(ledger, **options)
        return f"{lab.BUILDS} ({len(ledger.resources)} resources)"

    def work() -> str:
        if lacking := missing(ledger):
            return f"{LEFT_OUT}: it needs {', '.join(lacking)}"
        return str(lab.work(ledger))

    return {"up": build, "look": lambda: str(lab.look(ledger)), "work": work}


def ending(ledger: Ledger) -> dict[str, Callable[[], str]]:
    """The steps that take it down and prove it."""

    def delete() -> str:
        ledger.down()
        return "everything deleted"

    return {"down": delete, "verify": lambda: verify(ledger)}


def verify(ledger: Ledger) -> str:
    """Ask the cloud, not the ledger, whether anything of this ledger still stands.

    Asked is of the kinds that the lab has made, or tried to make: who may build it may list those.
    """
    left = inventory.left_of(ledger)
    if left:
        things = ", ".join(one.found.id for one in left)
        raise LabError(f"Of {ledger.lab} there is still {things}.", "", ledger.command("down"))
    return "nothing of it is left in the cloud"
