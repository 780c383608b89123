"""A lab as a graph: what stands, and what hangs on what, as the ledger's rows say it.

    tree(rows)                  lines for a terminal: each thing below the first that it needs
    mermaid(rows)               the same with all edges, for https://mermaid.js.org
    as_dict(header, rows)       nodes and edges, for a program

An edge leads from what was there first to what needs it; `down` goes the other way. No call is made.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from awslabs.drawing import price, short
from awslabs.journal import Row, whereabouts
from awslabs.screen import columns, folded, one_line

UNICODE = ("├─ ", "└─ ", "│  ", "   ")
ASCII = ("|- ", "`- ", "|  ", "   ")
LEAST_ID = 20  # places for an identifier, however narrow the terminal
UNPLAIN = re.compile(r"[^\w .:/@+=,-]", re.ASCII)  # in a label of Mermaid, which would read it as its own


def tree(
    rows: Iterable[Row],
    said: Mapping[int, str] | None = None,
    *,
    plain: bool = False,
    room: int | None = None,
) -> list[str]:
    """One line for each open row, below the first row that it needs; joins stand below their first end.

    Parameters
    ----------
    said : mapping of int to str
        What is said of a row, by its number; what the ledger knows of its state unless given.
    plain : bool
        Draw with ASCII alone.
    room : int, optional
        Places of a line; an identifier that does not fit goes on below itself.
    """
    from rich.cells import cell_len

    still = {row.number: row for row in rows if row.open}
    below: dict[int, list[Row]] = {}
    for row in still.values():
        parent = min((number for number in row.needs if number in still), default=0)
        below.setdefault(parent, []).append(row)
    walked = list(_walk(below, 0, "", ASCII if plain else UNICODE))
    heads = columns(
        [drawn + row.name, (said or {}).get(row.number, row.state), price(row), "|"] for drawn, row in walked
    ).split("\n")
    lines = []
    for head, (_, row) in zip(heads, walked, strict=False):  # of no rows there is one empty head
        label, name = head.removesuffix("|"), short(one_line(row.id))
        wide = cell_len(label)
        first, *more = [name] if room is None else folded(name, max(LEAST_ID, room - wide))
        lines += [(label + first).rstrip(), *(" " * wide + part for part in more)]
    return lines


def _walk(
    below: Mapping[int, list[Row]], parent: int, before: str, signs: tuple[str, str, str, str]
) -> Iterator[tuple[str, Row]]:
    """What stands below a row, and what is drawn before each name; what stands at the top has no branch."""
    children = below.get(parent, [])
    for row in children:
        last = row is children[-1]
        branch, beside = (signs[1], signs[3]) if last else (signs[0], signs[2])
        if parent == 0:
            branch = beside = ""
        yield before + branch, row
        yield from _walk(below, row.number, before + beside, signs)


def as_dict(header: Mapping[str, Any], rows: Iterable[Row]) -> dict[str, Any]:
    """Nodes and edges of what stands; ``needed`` and ``by`` are numbers of rows."""
    still = [row for row in rows if row.open]
    known = {row.number for row in still}
    return {
        **whereabouts(header),
        "nodes": [
            {"row": row.number, "name": row.name, "call": row.call, "id": row.id, "state": row.state}
            | {"usd_per_hour": row.usd_per_hour}
            for row in still
        ],
        "edges": [
            {"needed": number, "by": row.number} for row in still for number in row.needs if number in known
        ],
    }


def mermaid(rows: Iterable[Row]) -> str:
    """A flow chart from top to bottom: each thing with its id, and what needs it below."""
    still = [row for row in rows if row.open]
    known = {row.number for row in still}
    nodes = [f'  r{row.number}["{_label(row.name)}<br/>{_label(row.id or row.state)}"]' for row in still]
    edges = [f"  r{number} --> r{row.number}" for row in still for number in row.needs if number in known]
    return "\n".join(["flowchart TD", *nodes, *edges])


def _label(text: str) -> str:
    """A text of somebody else's as a label: what could be markup is written as its number."""
    return UNPLAIN.sub(lambda found: f"#{ord(found[0])};", text)
