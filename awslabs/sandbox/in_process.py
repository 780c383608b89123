"""The practice cloud's rules in this process: nothing listens, nothing runs, no time passes between states.

For who wants to know what would be called, such as `up --dry-run`. What moto does not answer is refused: not
one request leaves the process.
"""

from __future__ import annotations

import contextlib
import importlib.util
from collections.abc import Iterator
from typing import Any

from awslabs.errors import LabError, install
from awslabs.sandbox import NEEDED
from awslabs.sandbox.core import weather


@contextlib.contextmanager
def cloud() -> Iterator[None]:
    """Let moto, under the strict rules, answer the clients of all sessions that are made in a `with` block.

    Raises
    ------
    LabError
        When a package of the extra ``sandbox`` is missing.
    """
    if missing := [name for name in NEEDED if importlib.util.find_spec(name) is None]:
        raise LabError(
            "Without the practice cloud nobody knows what would be called.",
            f"Python packages are missing: {', '.join(missing)}.",
            install("sandbox"),
        )
    from botocore.httpsession import URLLib3Session
    from moto import mock_aws

    from awslabs.sandbox import rules, services

    before, weather.current = weather.current, weather.Weather(slow_states=0, stale=0)
    send, URLLib3Session.send = URLLib3Session.send, refuse
    try:
        with rules.installed(running=True), mock_aws(config={"core": {"mock_credentials": False}}):
            services.load()  # here, and not by several threads at once
            yield
    finally:
        URLLib3Session.send, weather.current = send, before


def refuse(session: Any, request: Any) -> None:
    """What moto has left unanswered would go out to AWS."""
    from botocore.exceptions import EndpointConnectionError

    raise EndpointConnectionError(endpoint_url=request.url)
