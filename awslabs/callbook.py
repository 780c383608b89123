"""The call book: what the ledger's clients called, one line of JSON each, in a file beside the ledger.

    ~/.awslabs/ec2.default.123456789012.us-east-1.calls      mode 0600
    ~/.awslabs/ec2.default.123456789012.us-east-1.calls.1    what was written before that

    {"at": "2026-11-21T20:55:33.123Z", "call": "ec2:CreateVpc", "row": "vpc", "outcome": "ok", "ms": 214}

So another process, the console, can show what happens while it happens. A line holds no parameter, and of an
answer nothing but the code of a refusal. Waits are lines too: ``{"at": ..., "wait": "the server boots", "on":
true}``. Only calls of this package's clients are here: nobody tells us what the AWS CLI, AWS's console or a
program on a server calls. The two files hold 5 MB at the most. They stay after `down`, and go when a new life
begins.

A call that cannot be written down is no reason to stop: a full disk loses lines here, but no row of a ledger.
"""

from __future__ import annotations

import contextlib
import contextvars
import fcntl
import json
import logging
import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from awslabs.journal import Journal, Row, now

log = logging.getLogger("awslabs.callbook")

LARGEST = 2_500_000  # bytes of each of the two files
KEPT = 200  # lines from before the ledger's first row, until its file is there
NEVER_NAMED = ("sts:GetCallerIdentity",)  # asked by every command; tells nothing of the lab

_about: contextvars.ContextVar[tuple[Path, str] | None] = contextvars.ContextVar("about", default=None)


@contextlib.contextmanager
def about(book: Journal, row: Row | None = None) -> Iterator[None]:
    """Calls that the body makes in this thread are about this row of this ledger, or about all of it."""
    token = _about.set((book.path, row.name if row else ""))
    try:
        yield
    finally:
        _about.reset(token)


def path_of(ledger: Path) -> Path:
    """The call book of a ledger's file."""
    return ledger.with_suffix(".calls")


def older(path: Path) -> Path:
    """Where the lines lie that a call book held before it was full."""
    return path.with_name(f"{path.name}.1")


def begin_anew(ledger: Path) -> None:
    """Forget the calls of an earlier life of a ledger."""
    with contextlib.suppress(OSError):
        older(path_of(ledger)).unlink(missing_ok=True)
        os.truncate(path_of(ledger), 0)


class CallBook:
    """Writes down the calls of one ledger.

    Parameters
    ----------
    book : Journal
        The ledger's rows, by whose identifiers a call is told to be about one of them.
    """

    def __init__(self, book: Journal) -> None:
        self.book, self.path = book, path_of(book.path)
        self._mutex = threading.Lock()
        self._early: list[bytes] = []

    def listen(self, cloud: Any) -> None:
        """Hear of all calls of a `Cloud`, as long as this call book is in use."""
        cloud.listen("provide-client-params", self._asked)
        cloud.listen("after-call", self._answered)
        cloud.listen("after-call-error", self._failed)

    # -- what `progress` tells ------------------------------------------------------------------------

    def began(self, what: str) -> None:
        """Write down that something is awaited."""
        self._write({"at": now(), "wait": what, "on": True})

    def ended(self, what: str, began: None) -> None:
        """Write down that it is awaited no more."""
        self._write({"at": now(), "wait": what, "on": False})

    # -- what botocore tells --------------------------------------------------------------------------

    def _asked(self, params: Any, model: Any, context: dict[str, Any], **_: Any) -> None:
        call = f"{model.service_model.service_name}:{model.name}"
        if call not in NEVER_NAMED and (row := self._row(params)) is not None:
            # By ledger: all that one process has opened in a cloud hear of each call there.
            context[f"awslabs-called {self.path}"] = (call, row, time.monotonic())

    def _answered(
        self, parsed: dict[str, Any], context: dict[str, Any], http_response: Any, **_: Any
    ) -> None:
        refused = http_response.status_code >= 300
        code = str(parsed.get("Error", {}).get("Code", "")) or str(http_response.status_code)
        self._note(context, code if refused else "ok")

    def _failed(self, exception: Exception, context: dict[str, Any], **_: Any) -> None:
        self._note(context, type(exception).__name__)

    def _note(self, context: dict[str, Any], outcome: str) -> None:
        if (told := context.pop(f"awslabs-called {self.path}", None)) is None:
            return
        call, row, began = told
        ms = round(1000 * (time.monotonic() - began), 1)
        self._write({"at": now(), "call": call, "row": row, "outcome": outcome[:80], "ms": ms})

    def _row(self, params: Any) -> str | None:
        """The row that a call is about; empty for none, None where it is another ledger's."""
        if told := _about.get():
            return told[1] if told[0] == self.book.path else None
        named = set[str]()
        for value in params.values() if isinstance(params, dict) else ():
            named.update(one for one in (value if isinstance(value, list) else [value]) if type(one) is str)
        rows = reversed(self.book.rows) if named else ()
        return next((row.name for row in rows if row.open and not named.isdisjoint(row.ids.values())), "")

    # -- the file ---------------------------------------------------------------------------------------

    def _write(self, line: dict[str, Any]) -> None:
        """Append a line, if the ledger's own file is there; what was called before it was comes first.

        No file stays open: a class has as many ledgers as this computer lets a process have files.
        """
        text = (json.dumps(line) + "\n").encode()
        with self._mutex:
            self._early = [*self._early, text][-KEPT:]
            if not self.book.path.exists():
                return
            lines, self._early = b"".join(self._early), []
            try:
                self._turn_over()
                with open(self.path, "ab", buffering=0, opener=private) as file:
                    file.write(lines)  # one write: lines of several processes do not mix
            except OSError as error:
                log.debug("a call was not written down: %s", error)

    def _turn_over(self) -> None:
        """Begin a new file where this one is full, unless another process has done so already."""
        try:
            if self.path.lstat().st_size <= LARGEST:
                return
            with open(self.path, "ab", buffering=0, opener=private) as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                mine = os.fstat(file.fileno())
                if mine.st_size > LARGEST and os.path.samestat(mine, self.path.stat()):
                    os.replace(self.path, older(self.path))
        except (FileNotFoundError, BlockingIOError):
            pass  # another process has moved it a moment ago, or is at it; or a new life has begun


def private(path: str, flags: int) -> int:
    """Open a file of which nobody else may know, and which is where it says."""
    return os.open(path, flags | os.O_NOFOLLOW, 0o600)


# -- Reading --------------------------------------------------------------------------------------------

FORMS: dict[str, Callable[[Any], bool]] = {
    "at": lambda value: isinstance(value, str) and len(value) < 40,
    "call": lambda value: isinstance(value, str) and len(value) < 200,
    "row": lambda value: isinstance(value, str) and len(value) < 200,
    "outcome": lambda value: isinstance(value, str) and len(value) < 200,
    "ms": lambda value: type(value) in (int, float),
    "wait": lambda value: isinstance(value, str),
    "on": lambda value: type(value) is bool,
}


def as_line(text: bytes) -> dict[str, Any] | None:
    """One line of a call book; None for what is none, such as half of one."""
    try:
        line = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if not isinstance(line, dict) or not line.keys() <= FORMS.keys() or "at" not in line:
        return None
    return line if all(FORMS[key](value) for key, value in line.items()) else None


class Reader:
    """Reads a call book from where it stopped the last time.

    Parameters
    ----------
    ledger : Path
        The ledger's file.
    first : int
        How many bytes of what is there already are read.
    """

    def __init__(self, ledger: Path, first: int = 100_000) -> None:
        self.path, self._first = path_of(ledger), first
        self._inode, self._at, self._rest = 0, 0, b""

    def news(self) -> tuple[bool, list[dict[str, Any]]]:
        """Whether it is another file than the last time, and the lines that are new in it."""
        try:
            found = os.stat(self.path, follow_symlinks=False)
            if (found.st_ino, found.st_size) == (self._inode, self._at):
                return False, []
            with open(os.open(self.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), "rb") as file:
                return self._read(file)
        except OSError:
            fresh, self._inode, self._at, self._rest = self._inode != 0, 0, 0, b""
            return fresh, []

    def _read(self, file: Any) -> tuple[bool, list[dict[str, Any]]]:
        found = os.fstat(file.fileno())
        fresh = found.st_ino != self._inode or found.st_size < self._at
        if fresh:
            turned_over = self._inode and found.st_ino != self._inode
            self._inode, self._rest = found.st_ino, b""
            self._at = 0 if turned_over else max(0, found.st_size - self._first)
            if self._at:
                file.seek(self._at)
                self._at += len(file.readline())  # the rest of a line
        file.seek(self._at)
        text = self._rest + file.read(4_000_000)
        self._at = file.tell()
        *lines, self._rest = text.split(b"\n")
        known = (as_line(line) for line in lines)
        return fresh, [line for line in known if line is not None]
