"""The kill matrix of chapter 4, as much of it as CI has time for: `harness.part`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from harness.batch_sweep import BATCH_SWEEP
from harness.part import prove

pytestmark = pytest.mark.kill


def test_kills_and_faults_leave_nothing_and_make_nothing_twice(
    tmp_path: Path, aloud: Callable[[str], None]
) -> None:
    prove(BATCH_SWEEP, tmp_path, aloud)
