"""What tests of the practice cloud's rooms ask about processes that come and go."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable
from typing import Any


def eventually(what: Callable[[], Any], seconds: float = 120.0) -> Any:
    """Wait until something is true, and return it."""
    end = time.monotonic() + seconds
    while not (value := what()):
        assert time.monotonic() < end, f"not within {seconds} s"
        time.sleep(0.02)
    return value


def alive(word: str) -> list[str]:
    """Processes of this computer whose command line has this word."""
    listed = subprocess.run(["ps", "-A", "-o", "stat=,args="], capture_output=True, text=True).stdout
    return [line for line in listed.splitlines() if word in line and not line.startswith("Z")]
