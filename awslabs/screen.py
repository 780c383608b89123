"""What a person sees: waits and log lines on stderr, results on stdout, each on a line of its own.

    say(...)        a line for the person at the terminal
    out(...)        text that is the result itself: a log, a picture made of characters
    tell(...)       the same for prose, broken between words
    show(...)       a result as a table, or with --json as one JSON object

Names, logs and items come from elsewhere: their control characters are shown as escapes and never reach the
terminal, where they could move the cursor or change what was printed above. Where an encoding lacks a
character, its escape is written, too.
"""

from __future__ import annotations

import contextlib
import csv
import dataclasses
import io
import itertools
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
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator
from pathlib import Path
from typing import Any, TextIO

import click

from awslabs import progress
from awslabs.errors import LabError

WORD = re.compile(r"[^ \-_/.,:]+[\-_/.,:]?")  # what stays whole in a cell that is folded,
WORD_MOST, WORD_LEAST = 10, 4  # and of how many places: the fewer, the narrower the terminal is
NUMBER = re.compile(r"<?-?\d[\d.]*")  # a cell that is never folded
# A command to paste, up to the end of its line. Prose says "make room" and "run the same command" as well, so
# only what cannot be prose begins one.
COMMAND = re.compile(
    r"(?<!\S)(?:python3? (?:-m )?\S|/\S+ -m |aws [a-z-]+ [a-z-]+\b|pip install |(?:export|unset) [A-Z_]{3,}"
    r"|sudo |rm (?:-|/)|ls -|kill -|chmod \d|git -|tail -|ssh-keygen ).*"
)
LABEL = re.compile(r"(?:error|Error|why|fix): *")
FRAME_S = 0.1  # between two drawings of live lines
BESIDE = 22  # places of a live line for what stands beside its text: "⠙ " and " 300 of 1000 0:00:07"
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
    """A line for the person at the terminal, broken between words; scripts that read stdout do not see it."""
    (progress.watcher or PlainWatcher()).line(fitted(text, sys.stderr))


def say_beside(head: str, text: str) -> None:
    """The same, with the text in a column to the right of `head`, as wide as the terminal leaves."""
    width = max(shutil.get_terminal_size().columns, len(head) + 40)
    say(textwrap.fill(text, width, initial_indent=head, subsequent_indent=" " * len(head)))


def fitted(text: str, stream: TextIO) -> str:
    """Text for a terminal whose long lines end between two words; elsewhere, as it is.

    A command to paste is never broken: where it does not fit behind what is said of it, it has a line of its
    own, and what it is for, behind a ``#``, has the next.
    """
    if (room := room_of(stream)) is None:
        return text
    return "\n".join(part for line in text.split("\n") for part in _fitted(line, room))


def _fitted(line: str, room: int) -> Iterator[str]:
    from rich.cells import cell_len

    if cell_len(line) <= room:
        yield line
        return
    found = COMMAND.search(line)
    prose, command = (line[: found.start()], found[0]) if found else (line, "")
    label = found[0] if (found := LABEL.match(prose)) else ""
    yield from between_words(label, prose[len(label) :].rstrip(), room)
    if command:
        alone, mark, why = command.partition("    # ")
        yield from [command] if cell_len(command) <= room else filter(None, [alone, mark.lstrip() + why])


def between_words(label: str, text: str, room: int | None) -> Iterator[str]:
    """A label and its text in lines of so many places, each broken at a blank; without `room` it is one."""
    from rich.cells import cell_len

    first, *words = text.split(" ")
    so_far, indent = label + first, " " * cell_len(label)
    for word in words:
        if room is not None and cell_len(so_far) + 1 + cell_len(word) > room:
            yield so_far.rstrip()
            so_far = indent + word
        else:
            so_far += " " + word
    yield so_far.rstrip()


def room_of(stream: TextIO) -> int | None:
    """The places of a line where the stream is a terminal."""
    return shutil.get_terminal_size().columns if stream.isatty() else None


def complain(text: str) -> None:
    """A line on stderr; one that leads nowhere (a full disk) is no reason to stop deleting."""
    try:
        click.echo(visible(text), err=True)
    except OSError:
        _let_go(sys.stderr)


def _let_go(stream: TextIO) -> None:
    """Lead a stream that takes no more to nowhere: else Python tries again at its end, and exits with 120."""
    with open(os.devnull, "w") as nowhere:
        os.dup2(nowhere.fileno(), stream.fileno())


def out(text: str) -> None:
    """Print a result on stdout.

    Raises
    ------
    CannotPrint
        When stdout takes no more. A reader that has seen enough (``| head``) is no error.
    """
    watcher = progress.watcher
    aside = watcher.aside() if isinstance(watcher, TerminalWatcher) else contextlib.nullcontext()
    try:
        with aside:
            click.echo(visible(text))
            sys.stdout.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        _let_go(sys.stdout)
        raise CannotPrint(
            "The result could not be printed.",
            f"{error.strerror}. What was built or deleted is as the ledger says.",
            "make room where the output goes, then ask again: python -m awslabs.ledger list",
        ) from error


def tell(text: str) -> None:
    """Print a result in prose: on a terminal its lines end between words."""
    out(fitted(text, sys.stdout))


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
        out("\n".join(lines_of(result, room=room_of(sys.stdout))))


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


def lines_of(result: dict[str, Any], indent: str = "", room: int | None = None) -> Iterator[str]:
    """One line per key; an object within it stands indented below its key, an empty one as ``none``.

    A line that is longer than `room` ends between two words, and goes on below its first.
    """
    inner = {key: value for key, value in result.items() if isinstance(value, dict) and value}
    heads = columns([one_line(key), "|"] for key in result).split("\n")
    for (key, value), head in zip(result.items(), heads, strict=True):
        label = indent + head.removesuffix("|")
        yield from between_words(label, "" if key in inner else amount(key, value), room)
        yield from lines_of(inner[key], indent + "  ", room) if key in inner else ()


def show_table(rows: list[dict[str, Any]]) -> None:
    """A table with the keys of the rows as its heads; nothing for no rows. A row may lack a key.

    On a terminal it is no wider than that.
    """
    heads = list(dict.fromkeys(key for row in rows for key in row))
    if rows:
        cells = ([amount(head, row[head]) if head in row else "" for head in heads] for row in rows)
        out(columns([map(one_line, heads), *cells], room_of(sys.stdout)))


def sheet(rows: list[dict[str, Any]], heads: Collection[str]) -> str:
    """The rows for a spreadsheet, what is not known as ``?``; of others' names none is a formula."""
    text = io.StringIO()
    writer = csv.DictWriter(text, heads, lineterminator="\n")
    writer.writeheader()
    writer.writerows({key: in_sheet(value) for key, value in one.items()} for one in rows)
    return text.getvalue().rstrip("\n")


def in_sheet(value: Any) -> Any:
    """A cell of it: before what a spreadsheet would reckon stands an apostrophe."""
    if isinstance(value, str) and value.startswith(("=", "+", "-", "@", "\t", "\r")):
        return f"'{value}"
    return "?" if value is None else value


def columns(lines: Iterable[Iterable[str]], room: int | None = None) -> str:
    """Lines of cells, each as wide as its column; rich's Table would take twenty times as long for them.

    Where they need more places than there is `room`, cells are folded. The first line is heads.
    """
    from rich.cells import cell_len, set_cell_size  # a Japanese character takes two places, an accent none

    rows = [list(line) for line in lines]
    widths = [max(map(cell_len, column)) for column in zip(*rows, strict=True)]
    gap = "  "
    if room is not None and sum(widths) + len(gap) * (len(widths) - 1) > room:
        longest, whole = [], []
        for column in zip(*rows, strict=True):
            longest.append(max((cell_len(word) for cell in column for word in WORD.findall(cell)), default=1))
            whole.append(max((len(cell) for cell in column if NUMBER.fullmatch(cell)), default=1))
        for most in range(WORD_MOST, WORD_LEAST - 1, -1):
            least = [max(min(word, most), number) for word, number in zip(longest, whole, strict=True)]
            if sum(least) + len(least) - 1 <= room:
                break
        gap = "  " if sum(least) + 2 * (len(widths) - 1) <= room else " "
        widths = narrowed(rows, widths, least, room - len(gap) * (len(widths) - 1))
        rows = [
            list(line)
            for row in rows
            for line in itertools.zip_longest(*map(folded, row, widths), fillvalue="")
        ]
    return "\n".join(gap.join(map(set_cell_size, row, widths)).rstrip() for row in rows)


def narrowed(lines: list[list[str]], widths: list[int], least: list[int], room: int) -> list[int]:
    """The widths of columns that have so much room together, none below its least.

    Of all columns that one is narrowed next in which the fewest lines are added by that.
    """
    from rich.cells import cell_len

    sizes = [Counter(map(cell_len, column)) for column in zip(*lines, strict=True)]

    def added(place: int) -> tuple[int, int]:
        """How many lines one place less adds; of two the wider column is narrowed."""
        width = widths[place]
        more = (many * (-(-size // (width - 1)) + size // -width) for size, many in sizes[place].items())
        return sum(more), -width

    widths = list(widths)
    while sum(widths) > room and (
        spare := [place for place, width in enumerate(widths) if width > least[place]]
    ):
        widths[min(spare, key=added)] -= 1
    return widths


def folded(text: str, width: int) -> list[str]:
    """A cell in lines of so many places, broken after a space, a dash or the like where one is near."""
    from rich.cells import cell_len

    lines = []
    while len(text) > 1 and cell_len(text) > width:
        end = taken = 0
        while end == 0 or taken + cell_len(text[end]) <= width:
            taken += cell_len(text[end])
            end += 1
        if text[end] != " ":
            near = max(text.rfind(mark, 0, end) for mark in " -_/.,:") + 1
            end = near if near > end // 3 else end
        lines.append(text[:end].rstrip())
        text = text[end:].lstrip()
    return [*lines, text]


def amount(key: str, value: Any) -> str:
    """A cell: four digits of a number, what is not known as ``?``, what is empty as ``none``."""
    if value is None:
        return "?"
    if value in ({}, []):
        return "none"
    if key.startswith("usd") and isinstance(value, (int, float)):
        return "<0.0001" if 0 < value < 5e-5 else f"{value:.4f}"
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

    def so_far(self) -> str:
        counted = f"{self.what}: {self.done} of {self.total}"
        return f"waiting until {self.what}" if self.total is None else counted

    def in_the_end(self) -> str:
        """What is said when it is over; nothing of a moment."""
        seconds = time.monotonic() - self.since
        counted = f"{self.so_far()} in {seconds:.1f} s"
        text = f"waited {seconds:.1f} s until {self.what}" if self.total is None else counted
        return text if seconds >= 1.0 else ""

    def in_a_second(self, act: Callable[..., None], *arguments: Any) -> None:
        self.timer = threading.Timer(1.0, act, arguments)
        self.timer.daemon = True
        self.timer.start()


class PlainWatcher(progress.Watcher):
    """Where no line can be written over: a line when a wait has lasted a second, and one when it is over."""

    def begin(self, what: str, total: int | None = None) -> Wait:
        wait = Wait(what, total)
        if total is None:
            wait.in_a_second(self.line, wait.so_far())
        return wait

    def advance(self, wait: Wait, many: int) -> None:
        wait.done += many
        now = time.monotonic()
        if now - wait.told >= STEP_S:
            wait.told = now
            self.line(wait.so_far())

    def end(self, wait: Wait) -> None:
        if wait.timer:
            wait.timer.cancel()
        if text := wait.in_the_end():
            self.line(text)

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
        wait.in_a_second(self._go_on, wait)
        return wait

    def advance(self, wait: Wait, many: int) -> None:
        wait.done += many

    def end(self, wait: Wait) -> None:
        with self.mutex:
            assert wait.timer is not None
            wait.timer.cancel()
            wait.timer = None
        if text := wait.in_the_end():
            self._show(wait, text)

    def line(self, text: str) -> None:
        print(visible(text), flush=True)

    def curves(self, title: str, x: str, y: str, joined: bool) -> progress.Curves | None:
        from awslabs.drawing import LiveCurves

        return LiveCurves(title, x, y, joined=joined)

    def _go_on(self, wait: Wait) -> None:
        with self.mutex:
            if wait.timer is None:
                return  # it has just ended
            self._show(wait, f"{wait.so_far()}, {time.monotonic() - wait.since:.0f} s")
            wait.in_a_second(self._go_on, wait)

    def _show(self, wait: Wait, text: str) -> None:
        from IPython.display import display

        data = {"text/plain": visible(text)}
        if wait.shown is None:
            wait.shown = display(data, raw=True, display_id=True)
        else:
            wait.shown.update(data, raw=True)


class TerminalWatcher(progress.Watcher):
    """On a terminal: a live line for each wait, with the seconds so far, under the lines of the log.

    The live lines end with the last wait, so that whatever is printed next begins on an empty line.
    """

    def __init__(self) -> None:
        self.live: Any = None
        self.mutex = threading.RLock()

    def begin(self, what: str, total: int | None = None) -> object:
        from rich.console import Console
        from rich.progress import Progress, SpinnerColumn, TaskProgressColumn, TextColumn, TimeElapsedColumn
        from rich.table import Column

        with self.mutex:
            if self.live is None:
                console = Console(stderr=True)
                room = max(console.width - BESIDE, BESIDE)  # else a long name would push the seconds out
                self.live = Progress(
                    SpinnerColumn("dots" if takes_unicode(sys.stderr) else "line"),
                    TextColumn(
                        "{task.description}", markup=False, table_column=Column(no_wrap=True, max_width=room)
                    ),
                    TaskProgressColumn("{task.completed:.0f} of {task.total:.0f}"),  # of what is counted
                    TimeElapsedColumn(),
                    console=console,
                    redirect_stdout=False,  # `out` stands aside; rich's stand-in for stdout has no encoding
                    transient=True,
                    auto_refresh=False,  # rich draws without asking whether a line is printed just then
                )
                self.live.start()
                threading.Thread(target=self._draw, args=(self.live,), name="live lines", daemon=True).start()
            return self.live.add_task(
                visible(f"waiting until {what}" if total is None else what), total=total
            )

    def advance(self, wait: Any, many: int) -> None:
        self.live.advance(wait, many)

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

    @contextlib.contextmanager
    def aside(self) -> Iterator[None]:
        """Keep the live lines off the screen while the body prints: a thread may wait just then."""
        with self.mutex:
            if self.live is not None:
                self.live.stop()
            try:
                yield
            finally:
                if self.live is not None:
                    self.live.start()

    def close(self) -> None:
        with self.mutex:
            if self.live is not None:
                self.live.stop()
                self.live = None

    def _draw(self, live: Any) -> None:
        """Let the live lines go on while they are shown."""
        while True:
            time.sleep(FRAME_S)
            with self.mutex:
                if self.live is not live:
                    return
                live.refresh()


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
