"""What a running part gives back to the server."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple


class Answer(NamedTuple):
    """What goes back to the client: the server's `HttpAnswer`, under a name that running parts can import.

    A body that is a path is a file, sent piece by piece; routes of `Cloud.streams` alone may do so.
    """

    status: int
    headers: dict[str, str]
    body: bytes | Path


def as_json(status: int, what: Any, **headers: str) -> Answer:
    """JSON, with further headers."""
    return Answer(status, {"Content-Type": "application/json", **headers}, json.dumps(what).encode())
