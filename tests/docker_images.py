"""What tests build with a real Docker engine: a base made by mmdebstrap, and the project's images on it.

No image is pulled and none leaves this machine. They are kept between runs, since a build takes minutes:

    docker image prune --all --filter label=awslabs.test     removes them
"""

from __future__ import annotations

import os
import platform
import pwd
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import docker
import pytest
from once import once

from awslabs import images
from awslabs.images import Recipe

LABEL = "awslabs.test"  # of the base, and so of all that stands on it
PACKAGES = "python3,python3-venv,ca-certificates"
WHEELS = ("manylinux_2_28_x86_64", "manylinux_2_27_x86_64", "manylinux_2_17_x86_64", "manylinux2014_x86_64")


def qa_bot(client: docker.DockerClient, tmp_path_factory: pytest.TempPathFactory, model: Path) -> Recipe:
    """The reader's image, with the model in this folder."""
    return offline(client, tmp_path_factory, Recipe("qa_bot", {"MODEL": "model"}, {"model": model}))


def mnist(client: docker.DockerClient, tmp_path_factory: pytest.TempPathFactory) -> Recipe:
    """The trainer's image, without a GPU: with the PyTorch of the reader's, and so without torchvision."""
    pinned = (images.folder("qa_bot") / "requirements.txt").read_text(encoding="utf-8").splitlines()
    (torch,) = (line for line in pinned if line.startswith("torch=="))
    return offline(client, tmp_path_factory, Recipe("mnist", {"TORCH": torch}), [torch])


def offline(
    client: docker.DockerClient,
    tmp_path_factory: pytest.TempPathFactory,
    recipe: Recipe,
    also: Sequence[str] = (),
) -> Recipe:
    """The recipe with a base of Debian packages, and with wheels out of the build context."""
    parent = base(client, tmp_path_factory)
    wanted = [*also, "--requirement", str(images.folder(recipe.name) / "requirements.txt")]

    def fetch(folder: Path) -> None:
        wheels(client, parent, wanted, folder)

    folder = once(tmp_path_factory, f"wheels-{recipe.name}", fetch)
    arguments = {"BASE_IMAGE": parent, "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": "/build"}
    return Recipe(recipe.name, {**arguments, **recipe.args}, {**recipe.extra, "wheels": folder})


def base(client: docker.DockerClient, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A base image of Debian packages, made once."""
    if not shutil.which("mmdebstrap"):
        pytest.skip("mmdebstrap makes the base image: apt-get install mmdebstrap")
    suite = platform.freedesktop_os_release()["VERSION_CODENAME"]
    repository = "awslabs-test-base"

    def make(folder: Path) -> None:
        if client.images.list(f"{repository}:{suite}"):
            return
        tree = folder / "base.tar"
        command = ["mmdebstrap", "--variant=minbase", f"--include={PACKAGES}", suite, str(tree)]
        made = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True)
        assert made.returncode == 0, made.stderr
        changes = [f"LABEL {LABEL}=1"]
        client.api.import_image_from_file(str(tree), repository=repository, tag=suite, changes=changes)
        tree.unlink()

    once(tmp_path_factory, "base", make)
    return f"{repository}:{suite}"


def wheels(client: docker.DockerClient, parent: str, wanted: Sequence[str], folder: Path) -> None:
    """What the image installs, for the Python of its base, into the folder."""
    say = "import sys; print('%d.%d' % sys.version_info[:2])"
    version = client.containers.run(parent, ["python3", "-c", say], remove=True).decode().strip()
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--only-binary=:all:"]
    command += ["--python-version", version, *(f"--platform={tag}" for tag in WHEELS)]
    command += ["--dest", str(folder), *wanted]
    environment = {**os.environ, **pip_settings()}
    fetched = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert fetched.returncode == 0, fetched.stderr


def pip_settings() -> dict[str, str]:
    """The pip configuration of whoever runs the tests, since the test's own home is empty."""
    home = Path(pwd.getpwuid(os.getuid()).pw_dir)
    files = [home / ".config/pip/pip.conf", home / ".pip/pip.conf"]
    return next(({"PIP_CONFIG_FILE": str(file)} for file in files if file.exists()), {})


def build(client: docker.DockerClient, tmp_path_factory: pytest.TempPathFactory, recipe: Recipe) -> str:
    """Build the image, once in a run; what a lab builds of the same recipe is in the engine's cache then."""
    tag = f"awslabs-test-{recipe.name}:{recipe.tag}"
    once(tmp_path_factory, tag.replace(":", "-"), lambda _: images.build(client, recipe, tag))
    return tag


def untag(client: docker.DockerClient, repository: str) -> None:
    """Take a lab's names off the engine's images; other tests may know the same images by other names."""
    for image in client.images.list(name=repository):
        for tag in image.tags:
            if tag.startswith(f"{repository}:"):
                client.images.remove(tag, force=True)
