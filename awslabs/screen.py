"""What a person sees: waits and log lines on stderr, results on stdout, each on a line of its own.

    say(...)        a line for the person at the terminal
    out(...)        text that is the result itself: a log, a picture made of characters
    show(...)       a result as a table, or with --json as one JSON object

Names, logs and items come from elsewhere: their control characters are shown as escapes and never reach the
terminal, where they could move the cursor or change what was printed above. Where an encoding lacks a
character, its escape is written, too.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import logging
import math
import os
import re
import shutil
import sys
import textwrap
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

import click

from awslabs import progress
from awslabs.errors import LabError

STEP_S = 10.0  # seconds between two lines of a counter where no line can be written over
# Control characters of both sets, and those that turn the direction of writing; a line break is none here.
CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")


class CannotPrint(LabError):
    """The disk is full, or whatever else stdout leads to takes no more."""


# -- Text that is safe to show -----------------------------------------------------------------------------


def visible(text: str) -> str:
    """The text with escapes in place of its control characters; line breaks and tabs stay."""
    return CONTROLS.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def one_line(text: str) -> str:
    """The same for a cell of a table: line breaks and tabs are escapes, too."""
    return visible(text).replace("\n", "\\n").replace("\t", "\\t")


def takes_unicode(stream: TextIO) -> bool:
    """Whether a stream is written in an encoding that has all characters."""
    return (getattr(stream, "encoding", None) or "").lower().replace("-", "") in ("utf8", "utf16", "utf32")


def never_fail_on_a_character() -> None:
    """Let stdout and stderr write an escape for a character that their encoding lacks."""
    for stream in (sys.stdout, sys.stderr):
        if reconfigure := getattr(stream, "reconfigure", None):  # a notebook's streams take everything
            reconfigure(errors="backslashreplace")


# -- Lines and results -------------------------------------------------------------------------------------


def say(text: str) -> None:
    """A line for the person at the terminal; scripts that read stdout do not see it."""
    (progress.watcher or PlainWatcher()).line(text)


def say_beside(head: str, text: str) -> None:
    """The same, with the text in a column to the right of `head`, as wide as the terminal leaves."""
    width = max(shutil.get_terminal_size().columns, len(head) + 40)
    say(textwrap.fill(text, width, initial_indent=head, subsequent_indent=" " * len(head)))


def complain(text: str) -> None:
    """A line on stderr; one that leads nowhere (a full disk) is no reason to stop deleting."""
    with contextlib.suppress(OSError):
        click.echo(visible(text), err=True)


def out(text: str) -> None:
    """Print a result on stdout.

    Raises
    ------
    CannotPrint
        When stdout takes no more. A reader that has seen enough (``| head``) is no error.
    """
    try:
        click.echo(visible(text))
        sys.stdout.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        # Python would try once more at its end, and complain on its own behalf.
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)
        raise CannotPrint(
            "The result could not be printed.",
            f"{error.strerror}. What was built or deleted is as the ledger says.",
            "make room where the output goes, then ask again: python -m awslabs.ledger list",
        ) from error


def show(result: Any, as_json: bool) -> None:
    """Print a dictionary as a table of two columns, a list of dictionaries as one of many.

    As JSON it is one object always, a list its ``rows``.
    """
    result = plain(result)
    if as_json:
        whole = {"rows": result} if isinstance(result, list) else result
        text = json.dumps(whole, indent=1, ensure_ascii=not takes_unicode(sys.stdout))
        out(CONTROLS.sub(lambda found: f"\\u{ord(found[0]):04x}", text))
    elif isinstance(result, list):
        show_table(result)
    elif result:
        out("\n".join(lines_of(result)))


def plain(value: Any) -> Any:
    """A result as JSON can hold it: dataclasses as objects, paths as text, no number as null."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None  # JSON has no word for what is no number: a loss of a training that fell apart
    return str(value) if isinstance(value, Path) else value


def lines_of(result: dict[str, Any], indent: str = "") -> Iterator[str]:
    """One line per key; an object within it stands indented below its key, an empty one as ``none``."""
    width = max((len(key) for key in result), default=0)
    for key, value in result.items():
        if isinstance(value, dict) and value:
            yield f"{indent}{one_line(key)}"
            yield from lines_of(value, indent + "  ")
        else:
            yield f"{indent}{one_line(key):<{width}}  {amount(key, value)}"


def show_table(rows: list[dict[str, Any]]) -> None:
    """A table with the keys of the rows as its heads; nothing for no rows. A row may lack a key."""
    from rich.cells import cell_len  # a Japanese character takes two places, an accent on a letter none

    if not rows:
        return
    heads = list(dict.fromkeys(key for row in rows for key in row))
    cells = [[amount(head, row[head]) if head in row else "" for head in heads] for row in rows]
    cells.insert(0, [one_line(head) for head in heads])
    widths = [max(cell_len(line[column]) for line in cells) for column in range(len(heads))]
    padded = (
        "  ".join(cell + " " * (width - cell_len(cell)) for cell, width in zip(line, widths, strict=True))
        for line in cells
    )
    out("\n".join(line.rstrip() for line in padded))


def amount(key: str, value: Any) -> str:
    """A cell: four digits of a number, what is not known as ``?``, what is empty as ``none``."""
    if value is None:
        return "?"
    if value in ({}, []):
        return "none"
    if key.startswith("usd") and isinstance(value, (int, float)):
        return f"{value:.4f}"
    if not isinstance(value, float):
        return one_line(str(value))
    return f"{value:.4g}" if abs(value) < 1000 else f"{value:.0f}"


# -- Waits, counters and the log ---------------------------------------------------------------------------


@dataclasses.dataclass
class Wait:
    """One thing that is awaited, or counted up to `total`."""

    what: str
    total: int | None
    timer: threading.Timer | None = None
    shown: Any = None  # where a notebook shows it
    done: int = 0
    since: float = dataclasses.field(default_factory=time.monotonic)
    told: float = dataclasses.field(default_factory=time.monotonic)


class PlainWatcher:
    """Where no line can be written over: a line when a wait has lasted a second, and one when it is over."""

    def begin(self, what: str, total: int | None = None) -> Wait:
        wait = Wait(what, total)
        if total is None:
            wait.timer = threading.Timer(1.0, self.line, [f"waiting until {what}"])
            wait.timer.daemon = True
            wait.timer.start()
        return wait

    def advance(self, wait: Wait, many: int) -> None:
        wait.done += many
        now = time.monotonic()
        if now - wait.told >= STEP_S:
            wait.told = now
            self.line(f"{wait.what}: {wait.done} of {wait.total}")

    def end(self, wait: Wait) -> None:
        seconds = time.monotonic() - wait.since
        if wait.timer:
            wait.timer.cancel()
        if seconds >= 1.0:
            counted = f"{wait.what}: {wait.done} of {wait.total} in {seconds:.1f} s"
            self.line(counted if wait.timer is None else f"waited {seconds:.1f} s until {wait.what}")

    def line(self, text: str) -> None:
        complain(text)

    def close(self) -> None:
        """Nothing is left on the screen."""


class NotebookWatcher(PlainWatcher):
    """In a notebook: a line per wait that is written over, under the cell and not in the red of errors."""

    def __init__(self) -> None:
        self.mutex = threading.RLock()

    def begin(self, what: str, total: int | None = None) -> Wait:
        wait = Wait(what, total)
        wait.timer = self._shown_in_a_second(wait)
        return wait

    def advance(self, wait: Wait, many: int) -> None:
        wait.done += many

    def end(self, wait: Wait) -> None:
        with self.mutex:
            assert wait.timer is not None
            wait.timer.cancel()
            wait.timer = None
        seconds = time.monotonic() - wait.since
        if seconds >= 1.0:
            counted = f"{wait.what}: {wait.done} of {wait.total} in {seconds:.1f} s"
            self._show(wait, f"waited {seconds:.1f} s until {wait.what}" if wait.total is None else counted)

    def line(self, text: str) -> None:
        print(visible(text), flush=True)

    def _shown_in_a_second(self, wait: Wait) -> threading.Timer:
        timer = threading.Timer(1.0, self._go_on, [wait])
        timer.daemon = True
        timer.start()
        return timer

    def _go_on(self, wait: Wait) -> None:
        with self.mutex:
            if wait.timer is None:
                return  # it has just ended
            counted, seconds = f"{wait.what}: {wait.done} of {wait.total}", time.monotonic() - wait.since
            awaited = f"waiting until {wait.what}"
            self._show(wait, f"{awaited if wait.total is None else counted}, {seconds:.0f} s")
            wait.timer = self._shown_in_a_second(wait)

    def _show(self, wait: Wait, text: str) -> None:
        from IPython.display import display

        data = {"text/plain": visible(text)}
        if wait.shown is None:
            wait.shown = display(data, raw=True, display_id=True)
        else:
            wait.shown.update(data, raw=True)


class TerminalWatcher:
    """On a terminal: a live line for each wait, with the seconds so far, under the lines of the log.

    The live lines end with the last wait, so that whatever is printed next begins on an empty line.
    """

    def __init__(self) -> None:
        self.live: Any = None
        self.mutex = threading.RLock()

    def begin(self, what: str, total: int | None = None) -> object:
        with self.mutex:
            if self.live is None:
                self.live = self._new()
                self.live.start()
            counted = total is not None
            described = what if counted else f"waiting until {what}"
            count = f"{0} of {total}" if counted else ""
            return self.live.add_task(visible(described), total=total, count=count)

    def _new(self) -> Any:
        from rich.console import Console
        from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

        spinner = SpinnerColumn("dots" if takes_unicode(sys.stderr) else "line")
        text = TextColumn("{task.description} {task.fields[count]}", markup=False)
        return Progress(spinner, text, TimeElapsedColumn(), console=Console(stderr=True), transient=True)

    def advance(self, wait: Any, many: int) -> None:
        with self.mutex:
            task = next(task for task in self.live.tasks if task.id == wait)
            done = int(task.completed) + many
            self.live.update(wait, completed=done, count=f"{done} of {int(task.total)}")

    def end(self, wait: Any) -> None:
        with self.mutex:
            self.live.remove_task(wait)
            if not self.live.tasks:
                self.close()

    def line(self, text: str) -> None:
        with self.mutex:
            if self.live is None:
                complain(text)
            else:
                self.live.console.print(visible(text), markup=False, highlight=False, soft_wrap=True)

    def close(self) -> None:
        with self.mutex:
            if self.live is not None:
                self.live.stop()
                self.live = None


def watcher_for(stream: TextIO) -> PlainWatcher | TerminalWatcher:
    """Who shows waits on this stream."""
    return TerminalWatcher() if stream.isatty() else PlainWatcher()


def watch_in_notebook() -> None:
    """In a notebook, show waits and the log under the cell; elsewhere whoever calls decides.

    Without a handler of ours Python writes warnings on stderr, and a notebook shows that in red.
    """
    get_ipython = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)
    if getattr(get_ipython(), "kernel", None) is None or progress.watcher is not None:
        return
    progress.watcher = NotebookWatcher()
    logger = logging.getLogger("awslabs")
    logger.addHandler(WatcherHandler())
    logger.setLevel(logging.INFO)


class WatcherHandler(logging.Handler):
    """Log lines, above the waits."""

    def emit(self, record: logging.LogRecord) -> None:
        say(record.getMessage())
