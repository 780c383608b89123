"""Commands on a real terminal: what a person sees of them when they are done."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import select
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pyte

LINES = 400  # so high that nothing scrolls out of sight


@dataclass
class Seen:
    """The rendered screen at the end of a command.

    Attributes
    ----------
    status : int
        Its exit status.
    lines : list of str
        What stands on the screen; a line that was wrapped at the edge is one line again.
    during : set of str
        All that a line of the screen showed at some moment.
    """

    status: int
    lines: list[str]
    during: set[str]

    @property
    def json(self) -> dict[str, Any]:
        """The object that ``--json`` printed, as the screen shows it."""
        first = self.lines.index("{")
        last = len(self.lines) - self.lines[::-1].index("}")
        return json.loads("\n".join(self.lines[first:last]))


def on_terminal(
    command: Sequence[str], environment: dict[str, str], columns: int = 80, timeout_s: float = 120.0
) -> Seen:
    """Run a command with a terminal as its input and output, and look at the screen."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 60, columns, 0, 0))
    process = subprocess.Popen(
        [sys.executable, "-m", *command],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env={**environment, "TERM": "xterm-256color"},
        start_new_session=True,
    )
    os.close(theirs)
    screen = pyte.Screen(columns, LINES)
    stream, during, until = pyte.ByteStream(screen), set(), time.monotonic() + timeout_s
    while select.select([ours], [], [], max(0.0, until - time.monotonic()))[0]:
        try:
            data = os.read(ours, 65536)
        except OSError:  # the last one who held the terminal is gone
            break
        stream.feed(data)
        during |= {line.rstrip() for line in screen.display}
    else:
        process.kill()
        raise AssertionError(f"{command} had no end within {timeout_s:.0f} s:\n" + "\n".join(during))
    os.close(ours)
    return Seen(process.wait(10), _unwrapped(screen, columns), during)


def _unwrapped(screen: pyte.Screen, columns: int) -> list[str]:
    whole: list[str] = []
    wraps = False
    for line in screen.display:
        if wraps:
            whole[-1] += line.rstrip()
        else:
            whole.append(line.rstrip())
        wraps = len(line.rstrip()) == columns
    while whole and not whole[-1]:
        whole.pop()
    return whole
