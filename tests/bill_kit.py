"""A bill that the tests write themselves, and the practice cloud in this process that it reads."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import inprocess
import pytest
from moto.batch import batch_backends
from moto.ec2 import ec2_backends
from moto.ecs import ecs_backends

from awslabs import addresses, tunnel
from awslabs.ledger import Ledger
from awslabs.sandbox import rules
from awslabs.sandbox.core import engine
from awslabs.workload.gpu import notebook

ACCOUNT, REGION = "222222222222", "us-east-1"
SERVER = {"t3.micro": 0.0104, "g4dn.xlarge": 0.526, "c5.large": 0.085, "m5.large": 0.096}
SPOT = {"g4dn.xlarge": 0.2158, "c5.large": 0.0396}
ADDRESS, GIB = 0.005, 0.08 / 730


class Bill:
    """What AWS would charge, by the minute.

    Attributes
    ----------
    usd : dict
        By what it is for.
    tasks : dict
        The times of each Fargate task, as ECS keeps them.
    """

    def __init__(self, clock: inprocess.Clock) -> None:
        self.clock, self.usd = clock, defaultdict[str, float](float)
        self.tasks: dict[str, dict[str, float]] = {}

    def pass_time(self, minutes: float) -> None:
        """Let time pass, and charge for what was there in each minute of it."""
        for _ in range(round(minutes)):
            self.clock.sleep(60.0)
            self.charge()

    def charge(self) -> None:
        backend = ec2_backends[ACCOUNT][REGION]
        with rules.lock:
            for each in (batch_backends, ecs_backends, ec2_backends):
                engine.settle(each[ACCOUNT][REGION])
        for reservation in list(backend.reservations.values()):
            for one in reservation.instances:
                if one.state in ("pending", "running"):
                    prices = SPOT if one.lifecycle == "spot" else SERVER
                    self.usd["server"] += prices[one.instance_type] / 60
                    self.usd["address"] += ADDRESS / 60
        for volume in backend.volumes.values():
            self.usd["disk"] += volume.size * GIB / 60
        for cluster in ecs_backends[ACCOUNT][REGION].tasks.values():
            self.tasks |= {task.task_arn: task.times for task in cluster.values()}

    def of_tasks(self, usd_per_hour: float) -> float:
        """Fargate bills from the pull of the image to the end, by the second, a minute at least."""
        pulled = [times for times in self.tasks.values() if "pullStartedAt" in times]
        seconds = [times.get("stoppedAt", rules.clock.now()) - times["pullStartedAt"] for times in pulled]
        return sum(max(60.0, one) for one in seconds) / 3600 * usd_per_hour

    @property
    def total(self) -> float:
        return sum(self.usd.values())


def written(home: Path, patch: pytest.MonkeyPatch) -> Iterator[Bill]:
    """A bill of an account in which nothing stands yet, on a clock that only the test moves."""
    patch.setenv("AWSLABS_HOME", str(home))
    patch.setattr(tunnel, "wait_for_ssh", lambda *_, **__: None)
    patch.setattr(notebook, "prepare", lambda *_, **__: "cpu")
    patch.setattr(addresses, "my_ip", lambda client: "203.0.113.7")
    with inprocess.cloud() as clock:
        yield Bill(clock)


def opened(lab: str) -> Ledger:
    return Ledger(inprocess.open_cloud(ACCOUNT, "ana", REGION), lab)
