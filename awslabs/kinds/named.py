"""What AWS knows by a name that we choose: it can be asked for before the answer to its creation came."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timezone
from typing import Any

from awslabs.kinds.kind import Found

OURS = "awslabs-"  # what all our names on AWS begin with

# (client, identifiers) -> the thing as AWS shows it, or None
Show = Callable[[Any, dict[str, str]], Found | None]


def look_by_name(show: Show) -> Callable[[Any, Any], list[Found]]:
    """The `look` of an entry: the thing of that name, whosever it is."""

    def look(client: Any, row: Any) -> list[Found]:
        found = show(client, row.ids)
        return [found] if found else []

    return look


def those_of_ours(show: Show, ids: Callable[[Any], list[dict[str, str]]]) -> Callable[[Any], list[Found]]:
    """The `ours` of an entry: of all names that `ids` lists, the things with a token."""

    def ours(client: Any) -> list[Found]:
        found = [show(client, each) for each in ids(client)]
        return [one for one in found if one and "awslabs:token" in one.tags]

    return ours


def unless(codes: tuple[str, ...], method: Callable[..., Any], **request: Any) -> Any:
    """The answer to a reading call; None where AWS answers, with one of these codes, that there is none."""
    try:
        return method(**request)
    except method.__self__.exceptions.ClientError as error:  # type: ignore[attr-defined]
        if error.response["Error"]["Code"] not in codes:
            raise
        return None


def as_kept(moment: datetime | int | None) -> str:
    """A time as AWS tells it, be it in milliseconds, as rows keep it; empty for none."""
    if moment is None:
        return ""
    at = moment if isinstance(moment, datetime) else datetime.fromtimestamp(moment / 1000, timezone.utc)
    return at.astimezone(timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def pages(client: Any, method: str, key: str, **request: Any) -> list[Any]:
    """All items of a listing."""
    return [item for page in client.get_paginator(method).paginate(**request) for item in page.get(key, [])]
