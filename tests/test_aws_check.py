"""The rehearsal for a first real account, rehearsed in the practice cloud."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from awslabs import sandbox

pytestmark = pytest.mark.live

PROGRAM = Path(__file__).parent.parent / "bench" / "aws_check.py"


def test_it_runs_the_lab_from_end_to_end_and_its_report_tells_no_ids(tmp_path: Path) -> None:
    run = sandbox.start(slow_states=0, home=tmp_path / "awslabs")
    report = tmp_path / "report.md"
    environment = {**run.surroundings(), "AWSLABS_HOME": str(tmp_path / "awslabs"), "HOME": str(tmp_path)}
    command = [sys.executable, str(PROGRAM), "--lab", "ec2", "--sandbox", "--report", str(report)]
    try:
        refused = subprocess.run(command, env=environment, input="n\n", capture_output=True, text=True)
        assert (refused.returncode, report.exists()) == (1, False)
        assert "at most about 0.008 USD" in refused.stderr
        done = subprocess.run(command, env=environment, input="y\n", capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        made = {call["operation"] for call in run.calls()}
    finally:
        run.stop()
    text = report.read_text()
    for step in ("up", "work", "down", "verify"):
        assert re.search(rf"^\| {step} \| [\d.]+ \| \w", text, re.MULTILINE)
    assert {"ec2:RunInstances", "ec2:TerminateInstances"} <= made
    assert not re.search(r"\d{12}|\b(vpc|i|sg|igw|subnet)-[0-9a-f]{6,}|\d+\.\d+\.\d+\.\d+", text)
