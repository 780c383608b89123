"""What makes something go wrong at one call, in the process that makes it."""

from __future__ import annotations

import errno
import os
import signal
import stat
import threading
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from botocore.awsrequest import AWSHTTPConnection
from wire import Call, around, around_tries

from awslabs.sandbox import Run
from harness.cases import SAVE, STAYS_UNTAGGED, Fault, Point, weather

HOOKS = pytest.MonkeyPatch()  # never undone: the process ends with its verb


class Trap:
    """Waits at a point, and springs once.

    Parameters
    ----------
    point, fault
        Where, and what happens there.
    run : Run
        The practice cloud; it has the weather.
    account : str
        The account that the weather strikes.
    lag_s : float
        How long new things stay invisible. At the point the trap waits that long first: then the call is
        not refused for naming something that AWS does not see yet, and the fault strikes the one try
        that takes effect.
    """

    def __init__(self, point: Point, fault: Fault, run: Run, account: str, lag_s: float) -> None:
        self.point, self.fault, self.run, self.account, self.lag_s = point, fault, run, account, lag_s
        self.sprung = False

    def set(self) -> None:
        """Put the hooks in; they stay as long as this process."""
        if self.point.operation == SAVE:
            self._fill_the_disk()
            return
        if self.fault == STAYS_UNTAGGED:
            self._hide_tags()
        took_effect: Counter[str] = Counter()
        under_way: Counter[str] = Counter()  # `down` sends several at once
        mutex = threading.Lock()

        def watched(name: str, send: Callable[[], Any]) -> Any:
            if name != self.point.operation:
                return send()
            with mutex:
                number = took_effect[name] + under_way[name] + 1
                mine = not self.sprung and number >= self.point.occurrence
                self.sprung |= mine
                under_way[name] += 1
            if mine:
                time.sleep(self.lag_s)
                self._before()
            answer, problem = send()
            if mine:
                self._after()
            with mutex:
                under_way[name] -= 1
                took_effect[name] += answer is not None and answer[0].status_code < 300
            return answer, problem

        around_tries(HOOKS, watched)

    def _before(self) -> None:
        if self.fault.weather:
            self.run.weather(account=self.account, faults=[weather(self.fault, self.point.operation)])
        elif self.fault.name == "killed before":
            os.kill(os.getpid(), signal.SIGKILL)
        elif self.fault.name == "interrupted before":
            os.kill(os.getpid(), signal.SIGINT)
        elif self.fault.name == "killed during":
            self._die_once_sent()

    def _after(self) -> None:
        signals = {
            "killed after": signal.SIGKILL,
            "terminated after": signal.SIGTERM,
            "interrupted after": signal.SIGINT,
        }
        if self.fault.name in signals:
            os.kill(os.getpid(), signals[self.fault.name])

    def _die_once_sent(self) -> None:
        """Kill this process when the request is on its way and the answer is awaited."""
        listen, sender = AWSHTTPConnection.getresponse, threading.get_ident()

        def die(connection: Any) -> Any:
            if threading.get_ident() == sender:
                os.kill(os.getpid(), signal.SIGKILL)
            return listen(connection)

        AWSHTTPConnection.getresponse = die  # type: ignore[method-assign]

    def _hide_tags(self) -> None:
        """Once the trap has sprung, no answer holds a tag of ours, and nothing is found by one."""

        def unmarked(call: Call) -> Any:
            answer = call.send()
            if not self.sprung:
                return answer
            filters = call.request.get("Filters", [])
            if any(one["Name"].startswith("tag") for one in filters):
                return {key: [] if isinstance(value, list) else value for key, value in answer.items()}
            return without_tags(answer)

        around(HOOKS, unmarked)

    def _fill_the_disk(self) -> None:
        """From this save on only half of what is written gets to the disk, and no save succeeds."""
        saves = Saves()

        def full(descriptor: int) -> None:
            saves(descriptor)
            if saves.count >= self.point.occurrence:
                self.sprung = True
                status = os.fstat(descriptor)
                if stat.S_ISREG(status.st_mode):
                    os.ftruncate(descriptor, status.st_size // 2)
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        os.fsync = full  # type: ignore[assignment]


class Strikes:
    """Weather at the first call of many operations, in the process that runs a verb.

    Parameters
    ----------
    strikes : tuple of (Point, Fault)
        Where, and what; each operation once.
    run, account, lag_s
        As a `Trap` has them. Each of these calls waits for the lag, too.
    """

    def __init__(
        self, strikes: tuple[tuple[Point, Fault], ...], run: Run, account: str, lag_s: float
    ) -> None:
        self.strikes, self.run, self.account, self.lag_s = strikes, run, account, lag_s
        self.struck: set[str] = set()

    @property
    def sprung(self) -> int:
        """How many have come."""
        return len(self.struck)

    def set(self) -> None:
        """Order the weather, and put the hook in."""
        faults = [weather(fault, point.operation) for point, fault in self.strikes]
        self.run.weather(account=self.account, faults=faults)
        mine = {point.operation for point, _ in self.strikes}

        def watched(name: str, send: Callable[[], Any]) -> Any:
            if name in mine - self.struck:
                self.struck.add(name)
                time.sleep(self.lag_s)
            return send()

        around_tries(HOOKS, watched)


def without_tags(value: Any) -> Any:
    """An answer of AWS without our tags, be they a list of Key and Value or an object."""
    if isinstance(value, dict):
        return {key: without_tags(one) for key, one in value.items() if not str(key).startswith("awslabs:")}
    if isinstance(value, list):
        return [without_tags(one) for one in value if not is_tag(one)]
    return value


def is_tag(value: Any) -> bool:
    name = value.get("Key", value.get("key", "")) if isinstance(value, dict) else ""
    return isinstance(name, str) and name.startswith("awslabs:")


class Saves:
    """Stands in for ``os.fsync``, and counts how often this process puts something on disk."""

    def __init__(self) -> None:
        self.count, self._sync = 0, os.fsync

    def __call__(self, descriptor: int) -> None:
        self.count += 1
        self._sync(descriptor)
