"""Command lines as a student types them, run in this process."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import click
from click.testing import CliRunner, Result


def typed(group: click.Command, line: Sequence[str], said: str | None = None, **more: Any) -> Result:
    """What comes of a line, with an answer to what it asks; a traceback would be a bug."""
    result = CliRunner().invoke(group, line, input=said, **more)
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result
