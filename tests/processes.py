"""What tests of the practice cloud ask about processes that come and go."""

from __future__ import annotations

import contextlib
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

from awslabs.sandbox.run import isolation


def eventually(what: Callable[[], Any], seconds: float = 120.0) -> Any:
    """Wait until something is true, and return it."""
    end = time.monotonic() + seconds
    while not (value := what()):
        assert time.monotonic() < end, f"not within {seconds} s"
        time.sleep(0.02)
    return value


def running() -> Iterator[tuple[int, int, str]]:
    """Number, session and command line of each process that has not ended; `ps` may be missing on Linux."""
    if not Path("/proc/self/stat").exists():
        asked = ["ps", "-A", "-o", "pid=,sess=,stat=,args="]
        for line in subprocess.run(asked, capture_output=True, text=True, check=True).stdout.splitlines():
            pid, session, state, command = (*line.split(maxsplit=3), "")[:4]
            if "Z" not in state:
                yield int(pid), int(session), command.strip()
        return
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # it has just ended
            fields = (folder / "stat").read_text().rpartition(") ")[2].split()
            command = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            if fields[0] not in "ZX":
                yield int(folder.name), int(fields[3]), command.strip()


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
