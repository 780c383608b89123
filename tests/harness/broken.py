"""Ledgers with a fault each: they prove that the harness sees what it looks for.

Each function breaks the ledger of the process that calls it.
"""

from __future__ import annotations

from typing import Any

from awslabs.cloud import Cloud
from awslabs.journal import Journal
from awslabs.ledger import Ledger


def saves_too_late() -> None:
    """The row gets to disk only after the call: a crash in between leaves no trace of what was made."""
    begin, save = Ledger._begin, Journal.save

    def begin_in_memory(ledger: Ledger, *arguments: Any) -> Any:
        Journal.save = lambda self: None  # type: ignore[method-assign]
        try:
            return begin(ledger, *arguments)
        finally:
            Journal.save = save  # type: ignore[method-assign]

    Ledger._begin = begin_in_memory  # type: ignore[method-assign, assignment]


def never_settles() -> None:
    """What is not seen at once counts as never made."""
    Ledger._settled = Ledger.shown  # type: ignore[method-assign]


def lets_botocore_resend() -> None:
    """After a cut connection botocore sends a create call again by itself."""
    client = Cloud.client
    Cloud.client = lambda self, service, *, resends=True: client(self, service)  # type: ignore[method-assign]


def takes_what_lost_its_tags_for_gone() -> None:
    """What stands under a recorded identifier, but without the token, is overlooked."""
    seen = Ledger._seen

    def ours_alone(ledger: Ledger, *arguments: Any) -> Any:
        return [one for one in seen(ledger, *arguments) if one.state != "foreign"]

    Ledger._seen = ours_alone  # type: ignore[method-assign]


def closes_what_still_stands() -> None:
    """A row counts as gone as soon as its deletion was asked for, whatever AWS answered."""

    def close(ledger: Ledger, row: Any, *_: Any) -> None:
        row.state = "gone"
        ledger.journal.save()

    Ledger._ask = close  # type: ignore[method-assign, assignment]
    Ledger._prove = close  # type: ignore[method-assign, assignment]
