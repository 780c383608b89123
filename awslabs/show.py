"""Results that show themselves: as a small table in a notebook."""

from __future__ import annotations

import base64
import dataclasses
import html
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

ROWS = 20  # of a list that stands in a cell


class Shown:
    """For frozen dataclasses: a notebook shows one line per field."""

    def _repr_html_(self) -> str:
        lines = (f"<tr><th>{name}</th><td>{cell(value)}</td></tr>" for name, value in fields(self).items())
        return f"<table>{''.join(lines)}</table>"


def fields(one: Any) -> dict[str, Any]:
    """The names and values of a dataclass or of a dictionary."""
    if isinstance(one, Mapping):
        return dict(one)
    return {field.name: getattr(one, field.name) for field in dataclasses.fields(one)}


def cell(value: Any) -> str:
    """A value as HTML; what comes from elsewhere never becomes markup; text of several lines keeps them."""
    if isinstance(value, Path) and value.suffix == ".png" and value.is_file():
        return picture(value)
    if isinstance(value, list) and value and all(isinstance(one, Path) for one in value):
        return "<br>".join(map(cell, value))
    if isinstance(value, list) and value and all(map(is_row, value)):
        return rows([fields(one) for one in value])
    text = html.escape(str(value))
    return f"<pre>{text}</pre>" if "\n" in text else text


def picture(path: Path) -> str:
    """A PNG file as HTML that holds the picture itself."""
    data = base64.b64encode(path.read_bytes()).decode()
    return f'<img alt="{html.escape(path.name)}" src="data:image/png;base64,{data}">'


def is_row(value: Any) -> bool:
    return isinstance(value, Mapping) or dataclasses.is_dataclass(value)


def rows(found: Sequence[Mapping[str, Any]], most: int = ROWS) -> str:
    """A table of the first of many; a row may lack what others have."""
    heads = list(dict.fromkeys(name for one in found[:most] for name in one))
    lines = ["".join(f"<th>{html.escape(str(head))}</th>" for head in heads)]
    lines += ["".join(f"<td>{cell(one.get(head, ''))}</td>" for head in heads) for one in found[:most]]
    more = f"and {len(found) - most} more" if len(found) > most else ""
    return f"<table>{''.join(f'<tr>{line}</tr>' for line in lines)}</table>{more}"
