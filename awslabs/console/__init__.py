"""The console: what stands, what runs, what it costs and why, as one page on this computer.

    python -m awslabs.console          or: awslabs console; or: awslabs ec2 up --open

This is the handle from outside: is one running, and how is it opened? What it shows comes of the ledgers'
files and of ordinary describe calls (`feed`, `looks`, `details`); `server` gives it to the page in `page/`.

    console.json      the address of the one that runs, and what it shows; it locks it while it lives    0600
    console.html      leads a browser there, with the key that opens it                                  0600
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from awslabs import journal
from awslabs.errors import LabError

ADDRESS = re.compile(r"http://127\.0\.0\.1:\d{1,5}/")
START_S = 60.0  # on a computer that is busy with `up`


def note_path() -> Path:
    return journal.home() / "console.json"


def door_path() -> Path:
    """The file that a browser is sent to: no key is in any command line."""
    return journal.home() / "console.html"


def running() -> dict[str, Any] | None:
    """What the console that runs has noted: ``address``, ``shows`` and ``pid``. None where none runs."""
    try:
        file = os.open(note_path(), os.O_RDONLY | os.O_NOFOLLOW)
    except OSError:
        return None
    try:
        with contextlib.suppress(BlockingIOError):
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            return None  # nobody holds it: its process has ended
        note = json.loads(os.pread(file, 10_000, 0))
    except (OSError, ValueError):
        return None
    finally:
        os.close(file)
    fits = isinstance(note, dict) and ADDRESS.fullmatch(str(note.get("address")))
    return note if fits else None


@contextlib.contextmanager
def noted(address: str, key: str, shows: Sequence[str]) -> Iterator[bool]:
    """Say that a console runs, while the body does; False where another one has said so, which stays."""
    journal.make_private(journal.home())
    file = os.open(note_path(), os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    try:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        journal.write(door_path(), _door(address, key))  # by mkstemp: mode 0600 from its first moment
        os.ftruncate(file, 0)
        os.pwrite(
            file, json.dumps({"address": address, "shows": list(shows), "pid": os.getpid()}).encode(), 0
        )
        try:
            yield True
        finally:
            door_path().unlink(missing_ok=True)
            os.ftruncate(file, 0)
    finally:
        os.close(file)


def _door(address: str, key: str) -> str:
    """A page that leads on: the key is in the fragment, which a browser sends to nobody."""
    head = '<!doctype html><meta charset="utf-8"><title>awslabs</title>'
    head += '<meta name="referrer" content="no-referrer">'
    return f'{head}<meta http-equiv="refresh" content="0;url={address}#{key}">\n'


def open_browser() -> bool:
    """Open the console that runs in the user's browser; whether there is one to open it in."""
    import webbrowser

    try:
        return webbrowser.open(door_path().as_uri())
    except (webbrowser.Error, OSError):
        return False


def open_beside(options: Sequence[str]) -> dict[str, Any]:
    """Open the console in a browser; start one in the background if none runs, which ends when nobody looks.

    Parameters
    ----------
    options : sequence of str
        Which cloud it shows, as its command takes them.

    Raises
    ------
    LabError
        When it did not start.
    """
    note = running()
    if note is None:
        command = [sys.executable, "-m", "awslabs.console", "--no-browser", "--while-seen", *options]
        quiet = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        process = subprocess.Popen(command, start_new_session=True, **quiet)  # type: ignore[call-overload]
        until = time.monotonic() + START_S
        while (note := running()) is None:
            if process.poll() is not None or time.monotonic() > until:
                raise LabError(
                    "The console did not start.", "", " ".join(["python -m awslabs.console", *options])
                )
            time.sleep(0.05)
    open_browser()
    return note
