"""Instances that are more than a record: each is an SSH host on loopback, while `Hosts` is there.

Under `mock_aws` there are no hosts, and all of this does nothing. Booting and ending take their time
in threads of their own, one after the other for one instance, so that no AWS call waits for them.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, Protocol

from awslabs.sandbox.core.engine import quiet


class Hosts(Protocol):
    """What the rules ask of `sandbox.ssh.hosts.Hosts`, which knows no moto."""

    def reserve(self, instance_id: str) -> int: ...

    def let_in(self, instance_id: str, lets_in: bool) -> None: ...

    def boot(self, instance_id: str, *args: Any, **machine: Any) -> None: ...

    def console(self, instance_id: str) -> str: ...

    def halt(self, instance_id: str) -> None: ...

    def reboot(self, instance_id: str) -> None: ...

    def stop(self, instance_id: str) -> None: ...


class Power:
    """The plugs of all instances.

    Parameters
    ----------
    hosts : Hosts or None
        Where instances run; None: nowhere.
    """

    def __init__(self, hosts: Hosts | None) -> None:
        self.hosts = hosts
        self._mutex = threading.Lock()
        self._turns: dict[str, threading.Lock] = {}
        self._ending: set[str] = set()
        self._threads: set[threading.Thread] = set()
        self._open: dict[str, bool] = {}

    def reserve(self, instance_id: str) -> int | None:
        """The loopback port of a new instance, or None where nothing runs."""
        if self.hosts is None:
            return None
        port = self.hosts.reserve(instance_id)
        self._open.setdefault(instance_id, True)
        return port

    def has(self, instance_id: str) -> bool:
        """Whether an instance has a port here."""
        return instance_id in self._open

    def let_in(self, instance_id: str, lets_in: bool) -> bool:
        """Let the caller reach an instance, or let the packets fall that he sends; whether that is new."""
        if self.hosts is None or self._open[instance_id] == lets_in:
            return False
        self.hosts.let_in(instance_id, lets_in)
        self._open[instance_id] = lets_in
        return True

    def boot(self, instance_id: str, wanted: Callable[[], bool], **machine: Any) -> None:
        """Let an instance boot, if it is still `wanted` when its turn comes."""
        self._start(
            "boot", instance_id, lambda hosts: hosts.boot(instance_id, **machine) if wanted() else None
        )

    def reboot(self, instance_id: str) -> None:
        """Let an instance boot anew, with all that it keeps."""
        self._start("reboot", instance_id, lambda hosts: hosts.reboot(instance_id))

    def halt(self, instance_id: str) -> None:
        """Switch an instance off; it keeps its folder. `ending` is true until that is done."""
        self._end("halt", instance_id, lambda hosts: hosts.halt(instance_id))

    def stop(self, instance_id: str) -> None:
        """End an instance with all that it has. `ending` is true until that is done."""
        self._end("end", instance_id, lambda hosts: hosts.stop(instance_id))

    def ending(self, instance_id: str) -> bool:
        """Whether processes of an instance that was switched off may still run."""
        with self._mutex:
            return instance_id in self._ending

    def console(self, instance_id: str) -> str:
        """What the instance has printed; empty before it boots, and where nothing runs."""
        return "" if self.hosts is None else self.hosts.console(instance_id)

    def wait(self) -> None:
        """Until nothing is under way."""
        with self._mutex:
            threads = list(self._threads)
        for thread in threads:
            thread.join()

    def _end(self, what: str, instance_id: str, work: Callable[[Hosts], None]) -> None:
        if self.hosts is None:
            return
        with self._mutex:
            self._ending.add(instance_id)

        def end(hosts: Hosts) -> None:
            try:
                work(hosts)
            finally:
                with self._mutex:
                    self._ending.discard(instance_id)

        self._start(what, instance_id, end)

    def _start(self, what: str, instance_id: str, work: Callable[[Hosts], None]) -> None:
        """Work in a thread, where anything runs; what concerns one instance waits for its turn."""
        hosts = self.hosts
        if hosts is None:
            return
        with self._mutex:
            turn = self._turns.setdefault(instance_id, threading.Lock())

        def run() -> None:
            try:
                with turn, quiet(f"{what} of {instance_id}"):
                    work(hosts)
            finally:
                with self._mutex:
                    self._threads.discard(thread)

        thread = threading.Thread(target=run, name=f"{what} of {instance_id}", daemon=True)
        with self._mutex:
            self._threads.add(thread)
        thread.start()

    def forget(self, instance_id: str) -> None:
        """Nothing more will be asked of this instance."""
        with self._mutex:
            self._turns.pop(instance_id, None)
        self._open.pop(instance_id, None)


current = Power(None)
"""The plugs of this process."""
