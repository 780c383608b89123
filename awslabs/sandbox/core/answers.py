"""What goes back to a client."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, NamedTuple


class Answer(NamedTuple):
    """An answer over HTTP. A body that is a path is a file, sent piece by piece."""

    status: int
    headers: dict[str, str]
    body: bytes | Path


def as_text(status: int, sentence: str) -> Answer:
    """A sentence for a person."""
    return Answer(status, {"Content-Type": "text/plain; charset=utf-8"}, (sentence + "\n").encode())


def as_json(status: int, what: Any, **headers: str) -> Answer:
    """JSON, with further headers."""
    return Answer(status, {"Content-Type": "application/json", **headers}, json.dumps(what).encode())


def as_header(name: str, value: str) -> tuple[str, str]:
    """A header that a program of a user's has written, as it travels.

    Raises
    ------
    ValueError
        It would be no header, or more than one.
    """
    if not re.fullmatch(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", name) or re.search(r"[\r\n\0]", value):
        raise ValueError(f"{name!r}: {value!r} is no header")
    return name, value.encode().decode("latin-1")
