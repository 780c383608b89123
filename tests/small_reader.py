"""The small reader of the image, trained once for all tests of a run."""

from __future__ import annotations

import os
import runpy
import subprocess
import sys
from pathlib import Path

import pytest
from once import once

PROGRAM = Path(__file__).parents[1] / "images" / "qa_bot" / "small_reader.py"
ANSWERS: dict[str, str] = runpy.run_path(str(PROGRAM))["ANSWERS"]


def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the reader."""
    return once(tmp_path_factory, "small-reader", train)


def train(folder: Path) -> None:
    """Run the program that trains it."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, str(PROGRAM), str(folder)], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
