"""The kill matrix of chapter 5, as much of it as CI has time for: `harness.part`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from harness.part import prove
from harness.serverless import SERVERLESS

pytestmark = pytest.mark.kill


def test_kills_and_faults_leave_nothing_and_make_nothing_twice(
    tmp_path: Path, aloud: Callable[[str], None]
) -> None:
    prove(SERVERLESS, tmp_path, aloud)
