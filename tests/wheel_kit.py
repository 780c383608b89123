"""The package as somebody installs it: a wheel, in a virtual environment outside of any checkout."""

from __future__ import annotations

import shutil
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

ROOT = Path(__file__).parents[1]


def installed(folder: Path, *, with_needed: bool = False) -> Path:
    """Build the wheel, install it in a new environment below `folder`, and return that one's `bin`.

    What it needs it sees only `with_needed`: from here, since a test downloads nothing.
    """
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    source = folder / "source"
    ignored = shutil.ignore_patterns(".*", "build", "*.egg-info", "tests", "bench")
    shutil.copytree(ROOT, source, ignore=ignored)
    for image in (source / "images").iterdir():
        (image / "__pycache__").mkdir(exist_ok=True)  # as where its programs have run
    venv.create(folder / "venv", with_pip=False)
    python = folder / "venv" / "bin" / "python"
    subprocess.run([*pip, "wheel", "--no-deps", "--wheel-dir", str(folder), str(source)], check=True)
    (made,) = folder.glob("*.whl")
    subprocess.run([*pip, "--python", str(python), "install", "--no-deps", str(made)], check=True)
    shutil.rmtree(source)
    if with_needed:  # after its own packages; an editable installation of this checkout is not followed
        (own,) = (folder / "venv" / "lib").glob("python*/site-packages")
        (own / "needed.pth").write_text(f"{sysconfig.get_path('purelib')}\n")
    return python.parent
