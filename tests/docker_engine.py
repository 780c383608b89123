"""A Docker engine for tests, where one answers, and an operating system made of this one's files."""

from __future__ import annotations

import contextlib
import functools
import gzip
import io
import json
import os
import re
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import docker
import pytest
from registry_client import Image, digest_of

PROGRAMS = ("/bin/sh", "/bin/sleep", "/bin/cat", "/usr/bin/env", "/usr/bin/id", "/usr/bin/tail")


@functools.cache
def engine() -> docker.DockerClient | None:
    """The engine that AWSLABS_TEST_DOCKER_HOST names (`conftest` sees to it); None: none answers."""
    try:
        found = docker.DockerClient(base_url=os.environ["AWSLABS_TEST_DOCKER_HOST"], timeout=600)
        found.ping()
    except docker.errors.DockerException:
        return None
    return found


@contextlib.contextmanager
def in_use() -> Iterator[None]:
    """What is started in the body finds the engine where Docker's own programs look for it."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("DOCKER_HOST", os.environ["AWSLABS_TEST_DOCKER_HOST"])
        yield


def needed() -> docker.DockerClient:
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


def operating_system(command: str, **own: Any) -> Image:
    """An image with a shell, which runs this."""
    files = root_files()
    config = {
        "Entrypoint": ["/bin/sh", "-c"],
        "Cmd": [command],
        "Env": ["PATH=/usr/bin:/bin", "FROM_IMAGE=1"],
    }
    whole = {"architecture": "amd64", "os": "linux", "config": config | own}
    whole["rootfs"] = {"type": "layers", "diff_ids": [digest_of(files)]}
    return Image(gzip.compress(files, 1, mtime=0), json.dumps(whole).encode())
