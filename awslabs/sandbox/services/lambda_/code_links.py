"""Lambda's code, to be fetched: the address that GetFunction gives answers with the zip, for ten minutes.

Whoever has the address may fetch it, as on AWS, where it is a presigned one of S3. It goes on answering after
the code was replaced.

Source: Lambda API reference, "GetFunction".
"""

from __future__ import annotations

import json
import secrets
from typing import Any, NamedTuple

from moto.core.request import Request

from awslabs.sandbox.core.answers import Answer, as_text
from awslabs.sandbox.core.engine import Call, Proceed, around, clock, lock
from awslabs.sandbox.services.lambda_ import functions, shapes

PREFIX = "/_aws/lambda-code/"
VALID_S = 600.0
MOST = 1000
"""Addresses at a time, as each holds its code: the oldest one makes room."""


class Kept(NamedTuple):
    """Code that can be fetched."""

    account: str
    until: float
    code: bytes


_kept: dict[str, Kept] = {}
_endpoint = ""


@around("lambda:GetFunction")
def code_links(call: Call, proceed: Proceed) -> Any:
    """The Location that GetFunction gives is the function's code for 10 minutes, in the server. moto's leads
    nowhere.
    Source: Lambda API reference, "GetFunction".
    """
    status, headers, body = shapes.whole(proceed())
    said = json.loads(body)
    if "Location" in said.get("Code", {}) and _endpoint:
        function = functions.find(call.account, call.region, shapes.named(call), call.get("Qualifier"))
        said["Code"]["Location"] = _link(call.account, function.code_bytes)
    return status, headers, json.dumps(said)


def _link(account: str, code: bytes) -> str:
    """A new address for this code; the caller holds the lock."""
    now = clock.now()
    while _kept and (len(_kept) >= MOST or next(iter(_kept.values())).until <= now):
        del _kept[next(iter(_kept))]  # the oldest one
    token = secrets.token_urlsafe(32)
    _kept[token] = Kept(account, now + VALID_S, code)
    return f"{_endpoint}{PREFIX}{token}"


def answer(request: Request, body: bytes) -> Answer:
    """Answer a request for some code."""
    kept = _kept.get(request.path[len(PREFIX) :])
    if kept is None or kept.until <= clock.now():
        return as_text(403, "This address of a function's code is none, or not valid any more.")
    return Answer(200, {"Content-Type": "application/zip"}, kept.code)


def add_handlers(cloud: Any) -> None:
    """Add its route to a practice cloud (`server.Cloud`)."""
    global _endpoint
    _endpoint = cloud.run.endpoint_url
    cloud.routes[PREFIX] = answer


def reset(account: str) -> None:
    """Forget what an account has here."""
    with lock:
        for token in [token for token, kept in _kept.items() if kept.account == account]:
            del _kept[token]


def close() -> None:
    """End everything here."""
    global _endpoint
    _endpoint = ""
    _kept.clear()
