"""The small reader of the image, trained once for all tests of a run."""

from __future__ import annotations

import os
import runpy
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

PROGRAM = Path(__file__).parents[1] / "images" / "qa_bot" / "small_reader.py"
ANSWERS: dict[str, str] = runpy.run_path(str(PROGRAM))["ANSWERS"]


def once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the reader; the first test of a run that asks trains it, whatever worker it is on."""
    from filelock import FileLock  # comes with torch

    shared = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        shared = shared.parent
    folder = shared / "small-reader"
    with FileLock(shared / "small-reader.lock"):
        if not folder.exists():
            unfinished = Path(tempfile.mkdtemp(dir=shared))
            command = [sys.executable, str(PROGRAM), str(unfinished)]
            done = subprocess.run(
                command, env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True
            )
            assert done.returncode == 0, done.stderr
            unfinished.rename(folder)
    return folder
