"""The README's walk through Bashoutter, as a student pastes it into a shell."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from awslabs import sandbox

pytestmark = pytest.mark.live

README = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")


@pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl: apt install curl")
def test_the_curl_commands_of_the_readme_do_what_they_say(tmp_path: Path) -> None:
    walk = re.search(r"```bash\n(.*?)```", README, re.DOTALL)
    assert walk
    run = sandbox.start(slow_states=0, home=tmp_path / "awslabs")
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "python").symlink_to(sys.executable)  # the README's `python` is the one of these tests
    environment = {
        **run.surroundings(),
        "AWSLABS_HOME": str(tmp_path / "awslabs"),
        "HOME": str(tmp_path),
        "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": os.pathsep.join(sys.path),  # a link does not know its virtualenv
    }
    lab = [sys.executable, "-m", "awslabs.serverless"]
    try:
        subprocess.run([*lab, "up", "--sandbox"], env=environment, capture_output=True, check=True)
        done = subprocess.run(["bash", "-euc", walk[1]], env=environment, capture_output=True, text=True)
        left = subprocess.run(
            [*lab, "haiku", "list", "--sandbox", "--json"], env=environment, capture_output=True
        )
        subprocess.run([*lab, "down", "--sandbox"], env=environment, capture_output=True, check=True)
    finally:
        run.stop()
    assert done.returncode == 0, done.stderr
    assert "古池や" in done.stdout
    assert re.search(r'"likes": ?1\b', done.stdout)
    assert done.stdout.rstrip().endswith("204")
    assert json.loads(left.stdout)["haiku"] == []
