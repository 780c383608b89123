"""moto with the strict rules in this process, a clock that jumps, and trouble at any call: for fast tests.

    with inprocess.cloud() as clock, inprocess.trouble() as trouble:
        trouble.at_calls = {3: "die after"}
        ...

A wait costs nothing here: who sleeps moves the clock, for the ledger and for the practice cloud's rules
alike. So AWS's real times (30 s of settling, 5 s of shutting down) can stay as they are.
"""

from __future__ import annotations

import contextlib
import re
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, NoReturn

import pytest
from moto import mock_aws
from moto.core.responses import BaseResponse
from moto.ec2.models import amis, ec2_backends
from moto.ec2.models.subnets import Subnet
from moto.utilities.utils import load_resource
from wire import Call, How, Wire, refusal

from awslabs import addresses, journal, tunnel
from awslabs.cloud import Cloud
from awslabs.ledger import Ledger
from awslabs.sandbox import rules
from awslabs.sandbox.core import weather

PRACTICE_KEY = re.compile(r"AKIAPRACTICE(\d{12})")
REGION = "us-east-1"


class Clock:
    """Stands in for the module `time`: who sleeps moves it forward, and goes on at once."""

    def __init__(self) -> None:
        self.offset_s = 0.0
        self.mutex = threading.Lock()

    def monotonic(self) -> float:
        return time.monotonic() + self.offset_s

    def sleep(self, seconds: float) -> None:
        with self.mutex:
            self.offset_s += seconds
            rules.clock.offset_s = self.offset_s


def no_images_for_ecs(path: str) -> Any:
    """What moto reads, without the 1,200 images for ECS that it makes in each EC2 of each account."""
    return [] if "ecs/" in path else load_resource(path)


def gateways(client: Any) -> list[dict[str, Any]]:
    """The internet gateways of an account, without that of its default VPC, which each account has."""
    default = {vpc["VpcId"] for vpc in client.describe_vpcs()["Vpcs"] if vpc["IsDefault"]}
    found = client.describe_internet_gateways()["InternetGateways"]
    return [one for one in found if not default & {tie["VpcId"] for tie in one["Attachments"]}]


@contextlib.contextmanager
def cloud(slow_states: float = 1.0) -> Iterator[Clock]:
    """moto, the strict rules and a fresh clock. A key ``AKIAPRACTICE`` + 12 digits opens that account."""
    clock = Clock()

    class Datetime(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> Any:
            return datetime.now(tz) + timedelta(seconds=clock.offset_s)

    def account_of(response: BaseResponse) -> str:
        match = PRACTICE_KEY.search(response.headers.get("Authorization", ""))
        return match[1] if match else "111122223333"

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("awslabs.ledger.time", clock)
        patched.setattr("botocore.waiter.time", clock)
        patched.setattr("awslabs.progress.time", clock)
        patched.setattr("awslabs.journal.datetime", Datetime)
        patched.setattr(BaseResponse, "get_current_account", account_of)
        patched.setattr(weather, "current", weather.Weather(slow_states=slow_states))
        patched.setattr(rules.clock, "offset_s", 0.0)
        patched.setattr(amis, "load_resource", no_images_for_ecs)
        with rules.installed(running=True), mock_aws(config={"core": {"mock_credentials": False}}):
            yield clock
            for regions in ec2_backends.values():
                regions.clear()  # else moto makes each anew when it stops, with its images
            Subnet._base_avail_ip_iterator.cache_clear()  # type: ignore[attr-defined]  # it holds all of them


def open_cloud(account: str, owner: str, region: str = REGION, profile: str | None = None) -> Cloud:
    """Credentials of somebody in an account of this cloud."""
    opened = Cloud(
        environment={
            "AWS_ACCESS_KEY_ID": f"AKIAPRACTICE{account}",
            "AWS_SECRET_ACCESS_KEY": "nobody looks at it here",
            "AWS_REGION": region,
        }
    )
    arn = f"arn:aws:iam::{account}:user/{owner}"
    assert opened.client("sts").get_caller_identity()["Account"] == account
    opened.identity = {"account": account, "arn": arn, "owner": owner}
    return opened


@contextlib.contextmanager
def first_lab(patched: pytest.MonkeyPatch, home: Path) -> Iterator[Ledger]:
    """The first lab's ledger, of which nothing stands yet; its server will answer at once."""
    patched.setenv("AWSLABS_HOME", str(home))
    patched.setattr(tunnel, "wait_for_ssh", lambda *_, **__: None)
    patched.setattr(addresses, "my_ip", lambda client: "203.0.113.7")
    with cloud():
        yield Ledger(open_cloud("222222222222", "ana"), "ec2")


class Death(BaseException):
    """What kill -9 would be: nothing of ours runs after it."""


class Trouble(Wire):
    """What goes wrong with the next calls that change something, and with the next saves of a ledger.

    Attributes
    ----------
    at_calls : dict
        1 for the next such call, 2 for the one after it, ... to one of `KINDS`.
    at_saves : dict
        The same for saves: ``die before``, ``die after``, or ``full``, from which on all saves fail.
    """

    KINDS = (
        "die before",
        "die after",
        "lost",
        "cut",
        "RequestLimitExceeded",
        "InternalError",
        "UnauthorizedOperation",
    )

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        super().__init__(patch)
        self.at_calls: dict[int, str] = {}
        self.at_saves: dict[int, str] = {}
        self.ways: dict[str, How] = {
            "": Call.send,
            "die before": lambda call: self.die(),
            "die after": self.die_after,
            "lost": Call.lose,
            "cut": Call.cut,
        }
        self.sent = self.saved = 0
        self.dead = self.full = False
        self.by_hand = False
        self.pools: list[ThreadPoolExecutor] = []

    @contextlib.contextmanager
    def ahead(self, at_calls: dict[int, str], at_saves: dict[int, str]) -> Iterator[None]:
        """Plan trouble for one verb. When that dies, all of its threads end before this does."""
        self.at_calls, self.at_saves, self.sent, self.saved = dict(at_calls), dict(at_saves), 0, 0
        try:
            yield
        finally:
            for pool in self.pools:
                pool.shutdown(wait=True)
            self.at_calls, self.at_saves, self.dead, self.full = {}, {}, False, False
            self.pools.clear()

    @contextlib.contextmanager
    def hand(self) -> Iterator[None]:
        """What follows is done by a person in the console: it is not counted, and nothing goes wrong."""
        self.by_hand = True
        try:
            yield
        finally:
            self.by_hand = False

    def through(self, call: Call) -> Any:
        if self.dead:
            raise Death
        return call.send() if self.by_hand else super().through(call)

    def fault(self, call: Call) -> How | BaseException:
        if call.reads:
            return Call.send
        self.sent += 1
        kind = self.at_calls.pop(self.sent, "")
        status = {"RequestLimitExceeded": 503, "InternalError": 500}.get(kind, 403)
        return self.ways.get(kind) or refusal(call.operation, kind, status)

    def save(self, write: Callable[[Path, str], None], path: Path, text: str) -> None:
        if self.dead:
            raise Death
        with self.mutex:
            self.saved += 1
            kind = self.at_saves.pop(self.saved, "")
        if kind == "die before":
            self.die()
        self.full = self.full or kind == "full"
        if self.full:
            raise OSError(28, "No space left on device")
        write(path, text)
        if kind == "die after":
            self.die()

    def die(self) -> NoReturn:
        self.dead = True
        raise Death

    def die_after(self, call: Call) -> NoReturn:
        call.send()
        self.die()


@contextlib.contextmanager
def trouble() -> Iterator[Trouble]:
    """Put one `Trouble` between the ledger and everything it talks to."""
    write = journal.write

    class Pool(ThreadPoolExecutor):
        def __init__(self, *args: Any, **options: Any) -> None:
            super().__init__(*args, **options)
            made.pools.append(self)

    with pytest.MonkeyPatch.context() as patched:
        made = Trouble(patched)
        patched.setattr("awslabs.ledger.ThreadPoolExecutor", Pool)
        patched.setattr(
            journal,
            "write",
            lambda path, text: made.save(write, path, text) if path.suffix == ".json" else write(path, text),
        )
        yield made
