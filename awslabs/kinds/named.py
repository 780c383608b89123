"""What AWS knows by a name that we choose: it can be asked for before the answer to its creation came."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any, TypeVar

from awslabs.kinds.kind import Found, Kind, Mark

if TYPE_CHECKING:
    from awslabs.kinds.overview import Overview

Item = TypeVar("Item")

OURS = "awslabs-"  # what all our names on AWS begin with

# (client, identifiers) -> the thing as AWS shows it, or None
Show = Callable[[Any, dict[str, str]], Found | None]


def named(call: str, name: str, show: Show, **others: Any) -> Kind:
    """An entry for what stands under the name that the request's parameter `name` gives it.

    It is looked for by that name, whosever it is. `others` are the rest of `Kind`, or another than these.
    """

    def look(client: Any, row: Any) -> list[Found]:
        found = show(client, row.ids)
        return [found] if found else []

    def ids(request: dict[str, Any], answer: dict[str, Any]) -> dict[str, str]:
        return {name: request[name]}

    entry: dict[str, Any] = {"ids": ids, "look": look, "complete": True, **others}
    return Kind(call=call, known_by=(name,), named=True, **entry)


def tags_as(
    parameter: str, written: Callable[[Mark], Any] = Mark.tags
) -> Callable[[dict[str, Any], Mark], dict[str, Any]]:
    """The `mark` of an entry: our tags in one parameter of the request, as the service writes them."""
    return lambda request, mark: {**request, parameter: written(mark)}


def tags_in(listed: list[dict[str, Any]] | None) -> dict[str, str]:
    """AWS's list of Key and Value as a dictionary."""
    return {tag["Key"]: tag["Value"] for tag in listed or []}


def listed_by_name(
    show: Show,
    names: Callable[[Any], list[dict[str, str]]],
    known: Callable[[Overview, dict[str, str]], Found] | None = None,
) -> Callable[[Any, Overview], list[Found]]:
    """The `listed` of an entry: the things of all names that `names` lists.

    `known` makes each of what its listing and the overview show; one whose mark is not among that, and each
    one without `known`, is shown by itself.
    """

    def listed(client: Any, overview: Overview) -> list[Found]:
        found = []
        for each in names(client):
            one = known(overview, each) if known else None
            if one is None or "awslabs:token" not in one.tags:
                one = show(client, each)
            found += [one] if one else []
        return found

    return listed


def unless(codes: tuple[str, ...], ask: Callable[..., Any], *what: Any, **request: Any) -> Any:
    """The answer to reading calls; None where AWS answers, with one of these codes, that there is none."""
    from botocore.exceptions import ClientError

    try:
        return ask(*what, **request)
    except ClientError as error:
        if error.response["Error"]["Code"] not in codes:
            raise
        return None


def as_kept(moment: datetime | int | None) -> str:
    """A time as AWS tells it, be it in milliseconds, as rows keep it; empty for none."""
    if moment is None:
        return ""
    at = moment if isinstance(moment, datetime) else datetime.fromtimestamp(moment / 1000, timezone.utc)
    return at.astimezone(timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def parts(many: Sequence[Item], size: int = 100) -> list[list[Item]]:
    """The same in parts, each of so many as one call takes."""
    return [list(many[first : first + size]) for first in range(0, len(many), size)]


def pages(client: Any, method: str, key: str, **request: Any) -> list[Any]:
    """All items of a listing."""
    return [item for page in client.get_paginator(method).paginate(**request) for item in page.get(key, [])]
