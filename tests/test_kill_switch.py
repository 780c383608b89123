"""Labs with a dead-man's switch whose laptop dies and never comes back: nothing of them stands in the end.

A few kills of each lab, all on one practice cloud; ``make matrix-switch LAB=...`` makes all of one lab.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from harness import EVERY_LAB
from harness.switch import prove, sample

pytestmark = pytest.mark.kill


def test_labs_whose_laptops_never_come_back_are_taken_down(
    tmp_path: Path, aloud: Callable[[str], None]
) -> None:
    began = time.monotonic()
    proven = prove(EVERY_LAB.values(), tmp_path, functools.partial(sample, most=3))
    for name, figures in proven.items():
        aloud(f"\nswitch: {name}: {figures}")
    aloud(f"\nswitch: {time.monotonic() - began:.0f} s")
    wrong = [one for figures in proven.values() for one in figures.wrong]
    assert not wrong, "\n" + "\n".join(wrong)
    for name, figures in proven.items():
        assert (figures.early, figures.armed) == (1, 2), name
        assert figures.told_s or name == "serverless", name  # of which nothing costs while nobody asks for it
