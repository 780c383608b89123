"""Results that show themselves: as a small table in a notebook."""

from __future__ import annotations

import dataclasses
import html
from typing import Any


class Shown:
    """For frozen dataclasses: a notebook shows one line per field."""

    def _repr_html_(self) -> str:
        fields = dataclasses.fields(self)  # type: ignore[arg-type]
        lines = (
            f"<tr><th>{field.name}</th><td>{cell(getattr(self, field.name))}</td></tr>" for field in fields
        )
        return f"<table>{''.join(lines)}</table>"


def cell(value: Any) -> str:
    """A value as HTML; what comes from elsewhere never becomes markup; a picture keeps its lines."""
    text = html.escape(str(value))
    return f"<pre>{text}</pre>" if "\n" in text else text
