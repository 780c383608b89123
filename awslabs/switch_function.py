"""What runs on AWS when a lab's time is up: it takes down what is of one ledger, and then itself.

    1  look for all of it, by tag, name and path         as `ledger recover` does: no ledger file is needed
    2  end what costs, then delete the rest in order     as `down` does
    3  look again: nothing?                              log group, schedule, function, policies, role
       something?                                        the schedule calls again in two minutes

Runs may overlap and may be killed: each looks for itself, and what is gone already is no error. While some
kind cannot be looked at, nothing is proven and the switch stays. A role cannot be deleted before its policies
are, and without them it may nothing; but for some seconds AWS does not know that yet (aws-facts, l). If its
last call is refused all the same, a role without rights is left, and ``ledger verify`` names it.
"""

from __future__ import annotations

import os
import tempfile
import time
from typing import Any

from awslabs import inventory, recovery
from awslabs.cloud import Cloud
from awslabs.errors import LabError
from awslabs.explain import answers
from awslabs.kinds import KINDS

PATIENCE = 0.4  # of the ledger's: a wait of `down` ends within six minutes, and the next run goes on
LAST = ("logs:CreateLogGroup", "scheduler:CreateSchedule", "lambda:CreateFunction", "iam:CreateRole")
OWN = "switch-"  # what the names of its own rows begin with


def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """One run.

    Parameters
    ----------
    event : dict
        ``ledger``: the prefix of what is to go. ``settle_s``: how long what was made a moment ago may be
        invisible.
    """
    with tempfile.TemporaryDirectory() as scratch:
        os.environ["AWSLABS_HOME"] = scratch
        cloud = Cloud()
        left = take_down(cloud, event["ledger"])
        if not left:
            time.sleep(event["settle_s"])
            left = take_down(cloud, event["ledger"])
        if not left:
            end(cloud, event["ledger"])
        for line in left:
            print(line)
        return {"left": left}


def is_own(one: inventory.Ours) -> bool:
    """Whether it is a part of the switch itself."""
    return one.row[1].startswith(OWN)


def take_down(cloud: Cloud, prefix: str) -> list[str]:
    """Delete what is of this ledger, but for the switch; what is left, and what could not be looked at."""
    seen = inventory.survey(cloud)
    things = [one for one in seen.ours if one.ledger == prefix and not is_own(one)]
    left = [f"{call} was not looked at: {error}" for call, error in seen.refused.items()]
    if not things:
        return left
    print(f"{prefix}: {len(things)} things stand")
    lost = recovery.Lost(prefix, things[0].owner, things[0].home, things)
    ledger = recovery.write_back(cloud, lost)
    ledger.patience = PATIENCE
    try:
        ledger.end_what_costs()
        ledger.down()
    except LabError as error:
        left.append(str(error))
    return left


def end(cloud: Cloud, prefix: str) -> None:
    """Delete the switch. What is refused is raised: Lambda then tries this run again, if it still can."""
    from botocore.exceptions import ClientError

    own = [one for one in inventory.survey(cloud).ours if one.ledger == prefix and is_own(one)]
    for one in sorted(own, key=lambda one: LAST.index(one.call)):
        kind = KINDS[one.call]
        try:
            kind.delete(cloud.client(kind.service), one.found)
            print(f"{one.row[1]}: delete {one.found.id}")
        except ClientError as error:
            if not answers(error, kind.absent):
                raise
