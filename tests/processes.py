"""What tests of the practice cloud ask about processes that come and go."""

from __future__ import annotations

import contextlib
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any


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
