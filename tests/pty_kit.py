"""Commands on a real terminal: what a person sees of them when they are done."""

from __future__ import annotations

import fcntl
import itertools
import json
import os
import pty
import re
import select
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyte

LINES = 400  # so high that nothing scrolls out of sight
QUIET_S = 1.0  # who shows nothing for so long waits for a key
# What only stands there while it is awaited; and such a line with another one in it.
LIVE = re.compile(r"[\u2800-\u28ff]|waiting until| \d:\d\d:\d\d$")
GLUED = re.compile(r"\S.*[\u2800-\u28ff]| \d:\d\d:\d\d\S")


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


def environment(home: Path, **more: str) -> dict[str, str]:
    """A student's, in the practice cloud."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "AWSLABS_"))}
    return {**kept, "AWSLABS_HOME": str(home), "AWSLABS_SANDBOX": "1", "HOME": str(home), **more}


def clean(seen: Seen, status: int = 0) -> Seen:
    """No wait is left on the screen, and none stands on one line with something else."""
    assert seen.status == status, "\n".join(seen.lines)
    left = [line for line in seen.lines if LIVE.search(line)]
    assert not left, f"{left}\nis left of:\n" + "\n".join(seen.lines)
    glued = [line for line in seen.during if GLUED.search(line)]
    assert not glued, "\n".join(glued)
    return seen


def each_leaves_whole_lines(
    verbs: Sequence[tuple[str, list[str], str]], environment: dict[str, str], columns: int
) -> None:
    """Run verbs one after the other; each leaves a line, or one broken between words, that is as expected."""
    for module, verb, expected in verbs:
        seen = clean(on_terminal([module, *verb], environment, columns))
        broken = map(" ".join, itertools.pairwise(seen.lines))
        found = [line for line in (*seen.lines, *broken) if re.fullmatch(expected, line)]
        assert found, f"{module} {verb}:\n" + "\n".join(seen.lines)


def on_terminal(
    command: Sequence[str],
    environment: dict[str, str],
    columns: int = 80,
    timeout_s: float = 300.0,
    interrupt_at: str = "",
) -> Seen:
    """Run a command with a terminal as its input and output, and look at the screen.

    Once a line of it has shown `interrupt_at` and nothing more comes, Ctrl-C is pressed: Python forgets one
    between the question and its wait for the answer, until somebody presses another key.
    """
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 60, columns, 0, 0))
    process = subprocess.Popen(
        [sys.executable, "-m", *command],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env={**environment, "TERM": "xterm-256color"},
        start_new_session=True,
        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),  # or no key would interrupt it
    )
    os.close(theirs)
    screen = _Screen(columns, LINES)
    stream, during, until = pyte.ByteStream(screen), set(), time.monotonic() + timeout_s
    due = False
    while True:
        ready, _, _ = select.select([ours], [], [], QUIET_S if due else max(0.0, until - time.monotonic()))
        if due and not ready:
            os.write(ours, b"\x03")
            due, interrupt_at = False, ""
            continue
        if not ready or time.monotonic() > until:
            process.kill()
            raise AssertionError(f"{command} had no end within {timeout_s:.0f} s:\n" + "\n".join(during))
        try:
            data = os.read(ours, 65536)
        except OSError:  # the last one who held the terminal is gone
            break
        stream.feed(data)
        changed = screen.changed_lines()
        during |= changed
        due = due or bool(interrupt_at and any(interrupt_at in line for line in changed))
    os.close(ours)
    return Seen(process.wait(120), screen.whole_lines(), during)


class _Screen(pyte.Screen):
    """A screen that knows which of its lines go on from the one above; a full line alone does not say so."""

    def __init__(self, columns: int, lines: int) -> None:
        super().__init__(columns, lines)
        self.drawing, self.going_on = False, set[int]()

    def changed_lines(self) -> set[str]:
        """The lines on which something was written since the last call: `display` draws all 400 anew."""
        numbers, width = sorted(self.dirty), self.columns
        self.dirty.clear()
        return {"".join(self.buffer[y][x].data for x in range(width)).rstrip() for y in numbers}

    def draw(self, data: str) -> None:
        self.drawing = True
        super().draw(data)
        self.drawing = False

    def linefeed(self) -> None:
        super().linefeed()
        (self.going_on.add if self.drawing else self.going_on.discard)(self.cursor.y)

    def erase_in_line(self, how: int = 0, private: bool = False) -> None:
        super().erase_in_line(how, private)
        self.going_on.discard(self.cursor.y)

    def whole_lines(self) -> list[str]:
        whole: list[str] = []
        for number, line in enumerate(self.display):
            if number in self.going_on:
                whole[-1] = whole[-1].ljust(self.columns) + line.rstrip()
            else:
                whole.append(line.rstrip())
        while whole and not whole[-1]:
            whole.pop()
        return whole
