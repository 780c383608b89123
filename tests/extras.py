"""Packages of the extras `ml` and `notebook`, which whole files need.

Nothing is imported while tests are only collected: PyTorch alone takes five seconds of each worker, and the
tests of those files are mostly left out.
"""

from __future__ import annotations

import importlib
import importlib.util
from typing import Any

import pytest


def needed(*names: str) -> None:
    """Skip the file that asks where one of these packages is missing."""
    if missing := [name for name in names if importlib.util.find_spec(name) is None]:
        why = f"{', '.join(missing)} not installed: pip install -e '.[ml,notebook]'"
        pytest.skip(why, allow_module_level=True)


class Later:
    """A package that is imported when a test first asks it for something."""

    def __init__(self, name: str) -> None:
        needed(name)
        self.package = name

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or name == "_mock_name":  # pytest asks whatever stands in a file what it is
            raise AttributeError(name)
        return getattr(importlib.import_module(self.package), name)
