"""A Docker engine for tests, where one answers, and an operating system made of this one's files."""

from __future__ import annotations

import functools
import io
import os
import re
import subprocess
import tarfile
from pathlib import Path
from typing import Any

import docker
import pytest

PROGRAMS = ("/bin/sh", "/bin/sleep", "/bin/cat", "/usr/bin/env", "/usr/bin/id", "/usr/bin/tail")


@functools.cache
def engine() -> Any:
    """The engine that DOCKER_HOST or the usual socket name; None: none answers."""
    host = os.environ.get("AWSLABS_TEST_DOCKER_HOST") or os.environ.get("DOCKER_HOST")
    try:
        found = docker.DockerClient(base_url=host, timeout=60) if host else docker.from_env(timeout=60)
        found.ping()
    except docker.errors.DockerException:
        return None
    return found


def needed() -> Any:
    """The engine, or a skipped test."""
    found = engine()
    if found is None:
        pytest.skip("no Docker engine answers here; start dockerd (Debian: apt-get install docker.io)")
    return found


def root_files() -> bytes:
    """A root file system as a tar archive: a shell, a few programs, and the libraries that they need."""
    wanted = {Path(program) for program in PROGRAMS}
    for program in PROGRAMS:
        listed = subprocess.run(["ldd", program], capture_output=True, text=True).stdout
        wanted |= {Path(path) for path in re.findall(r"(/\S+) \(0x", listed)}
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        for path in sorted(wanted):
            archive.add(path.resolve(), str(path).lstrip("/"))
        for name in ("tmp", "proc", "dev", "sys", "etc"):
            folder = tarfile.TarInfo(name)
            folder.type, folder.mode = tarfile.DIRTYPE, 0o755
            archive.addfile(folder)
    return packed.getvalue()
