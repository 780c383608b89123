"""What tests of the practice cloud ask about processes that come and go."""

from __future__ import annotations

import contextlib
import itertools
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any

import psutil

from awslabs.sandbox.run import isolation


def eventually(what: Callable[[], Any], seconds: float = 120.0) -> Any:
    """Wait until something is true, and return it."""
    end = time.monotonic() + seconds
    while not (value := what()):
        assert time.monotonic() < end, f"not within {seconds} s"
        time.sleep(0.02)
    return value


_numbers = itertools.count(1)


def number() -> str:
    """A number that no other process has in its command line."""
    return f"{3_000_000 + os.getpid() * 100 + next(_numbers)}"


def running() -> Iterator[tuple[int, int, str]]:
    """Number, session and command line of each process that has not ended."""
    for process in psutil.process_iter():
        with contextlib.suppress(OSError, psutil.Error):  # it has just ended
            if process.status() != psutil.STATUS_ZOMBIE:
                yield process.pid, os.getsid(process.pid), " ".join(process.cmdline())


def alive(word: str) -> list[str]:
    """Command lines of processes of this computer in which this word stands."""
    return [command for _, _, command in running() if word in command]


@lru_cache
def why_no_namespaces() -> str:
    """Say why this computer gives no namespaces, asked once, and not with the code under test."""
    unshare = ["unshare", "--mount", "--pid", "--uts", "--ipc", "--fork", "--mount-proc"]
    as_root = ["setpriv", "--reuid", str(isolation.PRACTICE_UID), "--clear-groups", "unshare", "--user"]
    line = [*unshare, *as_root] if os.geteuid() == 0 else [*unshare, "--user", "--map-root-user"]
    try:
        tried = subprocess.run([*line, "true"], capture_output=True, text=True)
    except FileNotFoundError as error:
        return str(error)
    return "" if tried.returncode == 0 else tried.stderr.strip() or "unshare fails without a word"
