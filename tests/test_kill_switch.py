"""Labs with a dead-man's switch whose laptop dies and never comes back: nothing of them stands in the end.

A few kills of each lab; ``make matrix-switch LAB=...`` makes all.
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


@pytest.mark.parametrize(
    ("name", "kills"), [("ec2", 3), ("gpu", 2), ("ecs_qa", 3), ("batch_sweep", 3), ("serverless", 3)]
)
def test_a_lab_whose_laptop_never_comes_back_is_taken_down(
    name: str, kills: int, tmp_path: Path, aloud: Callable[[str], None]
) -> None:
    began = time.monotonic()
    figures = prove(EVERY_LAB[name], tmp_path, functools.partial(sample, most=kills))
    aloud(f"\nswitch: {name}: {figures}, {time.monotonic() - began:.0f} s")
    assert figures.armed > 0
    assert figures.early > 0
    assert not figures.wrong, "\n" + "\n".join(figures.wrong)
