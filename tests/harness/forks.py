"""A function in a process of its own, forked from this one."""

from __future__ import annotations

import contextlib
import os
import pickle
import select
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn


@dataclass(frozen=True)
class Ended:
    """How a fork ended.

    Attributes
    ----------
    result : object
        What the function returned; None when it did not get that far.
    signal : int
        The signal that killed it, or 0.
    trouble : str
        The traceback of an exception that the function let through, or that it hung; else empty.
    """

    result: Any = None
    signal: int = 0
    trouble: str = ""


class Fork:
    """A running fork.

    Parameters
    ----------
    function : callable
        Runs there; what it returns is pickled.
    log : Path
        Takes what it prints.
    timeout_s : float
        After that it counts as hanging and is killed.
    leads : bool
        It leads a process group, so that forks of its own are killed with it.
    """

    def __init__(
        self, function: Callable[[], Any], log: Path, timeout_s: float, *, leads: bool = False
    ) -> None:
        if threading.active_count() != 1:
            others = threading.enumerate()[1:]
            raise RuntimeError(f"a fork of a process with threads inherits locks that nobody opens: {others}")
        self.deadline, self.leads = time.monotonic() + timeout_s, leads
        self.source, sink = os.pipe()
        self.said = b""
        sys.stdout.flush()
        sys.stderr.flush()
        self.pid = os.fork()
        if self.pid == 0:
            live(function, log, sink, leads)
        os.close(sink)

    def read(self) -> bool:
        """Take what the fork has said; False once it is silent for good."""
        chunk = os.read(self.source, 1 << 20)
        self.said += chunk
        return bool(chunk)

    def end(self, *, by_force: bool) -> Ended:
        """Collect a fork that is silent, or kill it."""
        if by_force:
            with contextlib.suppress(ProcessLookupError):
                (os.killpg if self.leads else os.kill)(self.pid, signal.SIGKILL)
        _, status = os.waitpid(self.pid, 0)
        os.close(self.source)
        if by_force:
            return Ended(trouble="it hung and was killed")
        if os.WIFSIGNALED(status):
            return Ended(signal=os.WTERMSIG(status))
        result, trouble = pickle.loads(self.said)
        return Ended(result, trouble=trouble)


def live(function: Callable[[], Any], log: Path, sink: int, leads: bool) -> NoReturn:
    """The whole life of a fork."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored in what a shell runs in the background
    if leads:
        os.setpgid(0, 0)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.dup2(output, 1)
    os.dup2(output, 2)
    result, trouble = None, ""
    try:
        result = function()
    except BaseException:
        trouble = traceback.format_exc()
    sys.stdout.flush()
    sys.stderr.flush()
    with os.fdopen(sink, "wb") as pipe:
        pickle.dump((result, trouble), pipe)
    os._exit(0)  # whoever forked this must not see its own end run twice


def one(function: Callable[[], Any], log: Path, timeout_s: float) -> Ended:
    """Run a function in a fork, and wait for it."""
    ((_, ended),) = many([(None, function, log)], at_once=1, timeout_s=timeout_s, lead=False)
    return ended


def many(
    tasks: Iterable[tuple[Any, Callable[[], Any], Path]], *, at_once: int, timeout_s: float, lead: bool = True
) -> Iterator[tuple[Any, Ended]]:
    """Run functions in forks, so many at a time, and yield how each ended, the quickest first.

    Parameters
    ----------
    tasks
        Of each: what to call it in the answer, the function, and the file for what it prints.
    """
    coming = iter(tasks)
    running: dict[int, tuple[Any, Fork]] = {}
    try:
        while True:
            while len(running) < at_once and (task := next(coming, None)):
                name, function, log = task
                fork = Fork(function, log, timeout_s, leads=lead)
                running[fork.source] = name, fork
            if not running:
                return
            first = min(fork.deadline for _, fork in running.values())
            ready, _, _ = select.select(list(running), [], [], max(0.0, first - time.monotonic()))
            silent = [source for source in ready if not running[source][1].read()]
            late = [source for source, (_, fork) in running.items() if fork.deadline < time.monotonic()]
            for source in {*silent, *late}:
                name, fork = running.pop(source)
                yield name, fork.end(by_force=source not in silent)
    finally:
        for _, fork in running.values():
            fork.end(by_force=True)
