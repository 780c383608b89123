"""What tests build with a real Docker engine: a base made by mmdebstrap, and the project's images on it.

No image is pulled and none leaves this machine. They are kept between runs, since a build takes minutes:

    docker image prune --all --filter label=awslabs.test     removes them
"""

from __future__ import annotations

import hashlib
import os
import platform
import pwd
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import docker
import pytest

IMAGES = Path(__file__).parents[1] / "images"
LABEL = "awslabs.test"
PACKAGES = "python3,python3-venv,ca-certificates"
WHEELS = ("manylinux_2_28_x86_64", "manylinux_2_27_x86_64", "manylinux_2_17_x86_64", "manylinux2014_x86_64")


def base(client: docker.DockerClient) -> str:
    """A base image of Debian packages, made once."""
    if not shutil.which("mmdebstrap"):
        pytest.skip("mmdebstrap makes the base image: apt-get install mmdebstrap")
    suite = platform.freedesktop_os_release()["VERSION_CODENAME"]
    tag = f"awslabs-test-base:{suite}"
    if not client.images.list(tag):
        with tempfile.TemporaryDirectory() as folder:
            tree = Path(folder) / "base.tar"
            command = ["mmdebstrap", "--variant=minbase", f"--include={PACKAGES}", suite, str(tree)]
            made = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True)
            assert made.returncode == 0, made.stderr
            repository, version = tag.split(":")
            client.api.import_image_from_file(
                str(tree), repository=repository, tag=version, changes=[f"LABEL {LABEL}=1"]
            )
    return tag


def build(client: docker.DockerClient, name: str, model: Path | None = None) -> str:
    """Build images/NAME from its own Dockerfile, offline, with wheels and model out of the build context."""
    parent = base(client)
    source = IMAGES / name
    digest = hashlib.sha256(parent.encode())
    for path in sorted([*source.glob("*.*"), source / "Dockerfile"]):
        digest.update(path.read_bytes())
    for path in sorted(model.glob("*.json")) if model else ():
        digest.update(path.read_bytes())
    tag = f"awslabs-test-{name}:{digest.hexdigest()[:12]}"
    if client.images.list(tag):
        return tag
    with tempfile.TemporaryDirectory() as folder:
        context = Path(folder) / name
        shutil.copytree(source, context, ignore=shutil.ignore_patterns("__pycache__"))
        if model:
            shutil.copytree(model, context / "model")
        wheels(client, parent, context)
        arguments = {"BASE_IMAGE": parent, "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": "/build"}
        arguments["MODEL"] = "model" if model else ""
        client.images.build(
            path=str(context), tag=tag, buildargs=arguments, labels={LABEL: "1"}, rm=True, forcerm=True
        )
    return tag


def wheels(client: docker.DockerClient, parent: str, context: Path) -> None:
    """What requirements.txt names, for the Python of the base, into the folder wheels/ of the context."""
    say = "import sys; print('%d.%d' % sys.version_info[:2])"
    version = client.containers.run(parent, ["python3", "-c", say], remove=True).decode().strip()
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--only-binary=:all:"]
    command += ["--python-version", version, *(f"--platform={tag}" for tag in WHEELS)]
    command += ["--dest", str(context / "wheels"), "--requirement", str(context / "requirements.txt")]
    environment = {**os.environ, **pip_settings()}
    fetched = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert fetched.returncode == 0, fetched.stderr


def pip_settings() -> dict[str, str]:
    """The pip configuration of whoever runs the tests, since the test's own home is empty."""
    home = Path(pwd.getpwuid(os.getuid()).pw_dir)
    files = [home / ".config/pip/pip.conf", home / ".pip/pip.conf"]
    return next(({"PIP_CONFIG_FILE": str(file)} for file in files if file.exists()), {})
