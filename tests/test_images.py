"""Images: what a build is made of, what is pushed, and what a push says when it fails."""

from __future__ import annotations

import io
import json
import re
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import docker
import pytest
import wheel_kit

from awslabs import images, sandbox
from awslabs.cloud import Cloud
from awslabs.errors import LabError
from awslabs.images import Recipe
from awslabs.ledger import Ledger


@pytest.fixture
def ledger(run: sandbox.Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Ledger]:
    monkeypatch.setenv("AWSLABS_HOME", str(tmp_path))
    ledger = Ledger(Cloud("us-east-1", environment=run.environment()), "ecs_qa")
    yield ledger
    ledger.down()


@pytest.fixture
def repository(ledger: Ledger) -> str:
    name = f"{ledger.prefix}-reader"
    return ledger.create("repository", ledger.client("ecr").create_repository, repositoryName=name)


class Engine:
    """What the docker SDK gives, with the streams that a real engine sends."""

    base_url, adapters = "http://127.0.0.1:2375", {}
    platform = {"Os": "linux", "Architecture": "amd64"}

    def __init__(self, built: list[dict], *pushed: list[dict]) -> None:
        self.api = self
        self.built, self.pushes = built, list(pushed)
        self.contexts: list[list[str]] = []
        self.logins: list[dict] = []
        self.asked: dict[str, Any] = {}

    def build(self, fileobj: Any, **how: Any) -> Iterator[dict]:
        with tarfile.open(fileobj=fileobj) as archive:
            self.contexts.append(archive.getnames())
        self.asked = how
        yield from self.built

    def inspect_image(self, address: str) -> dict:
        return self.platform

    def push(self, uri: str, tag: str, auth_config: dict, **_: Any) -> Iterator[dict]:
        self.logins.append(auth_config)
        yield from self.pushes.pop(0)


def test_the_tag_changes_with_every_file_and_argument_and_else_not(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    recipe = Recipe("qa_bot", {"MODEL": ""}, {"model": tmp_path})
    tag = recipe.tag
    assert tag == Recipe("qa_bot", {"MODEL": ""}, {"model": tmp_path}).tag
    assert "model/config.json" in recipe.files()
    (tmp_path / "config.json").write_text('{"a": 1}')
    assert len({tag, recipe.tag, Recipe("qa_bot").tag, Recipe("qa_bot", {"MODEL": "x"}).tag}) == 4


def test_an_image_that_is_not_shipped_is_a_broken_installation() -> None:
    with pytest.raises(LabError, match=r"images/nothing/main\.py is not there"):
        images.folder("nothing")


def test_a_wheel_brings_images_and_notebooks_along(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PYTHONPATH", raising=False)  # the wheel is imported, not this folder
    python = wheel_kit.installed(tmp_path) / "python"
    where = "from awslabs.images import *; print(folder('mnist'), folder('qa_bot'), notebooks())"
    told = subprocess.run([python, "-c", where], cwd=tmp_path, capture_output=True, text=True, check=True)
    folders = [Path(folder) for folder in told.stdout.split()]
    assert len(folders) == 3
    for folder in folders:
        assert folder.is_relative_to(tmp_path / "venv")
        assert list(folder.glob("*.py"))


def test_without_an_engine_the_program_is_pushed_once(ledger: Ledger, repository: str) -> None:
    address = images.publish(ledger, repository, Recipe("qa_bot"), None)
    ecr = ledger.client("ecr")
    (shown,) = ecr.describe_images(repositoryName=repository)["imageDetails"]
    assert address.endswith(f"/{repository}:{shown['imageTags'][0]}")
    digest = shown["imageDigest"]
    answer = ecr.batch_get_image(repositoryName=repository, imageIds=[{"imageDigest": digest}])
    manifest = json.loads(answer["images"][0]["imageManifest"])
    assert [layer["mediaType"].rpartition(".")[2] for layer in manifest["layers"]] == ["tar"]
    assert images.publish(ledger, repository, Recipe("qa_bot"), None) == address
    assert len(ecr.describe_images(repositoryName=repository)["imageDetails"]) == 1


def test_a_push_into_a_repository_that_is_gone_says_so(ledger: Ledger, repository: str) -> None:
    ecr = ledger.client("ecr")
    with pytest.raises(LabError) as refused:
        images.push_program(ecr, "nobodys-repository", Recipe("qa_bot"), "one")
    assert "NAME_UNKNOWN" in refused.value.why


@pytest.fixture
def no_buildx(monkeypatch: pytest.MonkeyPatch) -> None:
    """Docker's command is not there, so the engine's own builder works."""
    monkeypatch.setenv("PATH", "/nowhere")


@pytest.mark.usefixtures("no_buildx")
def test_a_build_gets_the_platform_the_arguments_and_the_whole_folder() -> None:
    engine = Engine([{"stream": "Step 1/2 : FROM scratch\n"}, {"stream": "Successfully built\n"}])
    images.build(engine, Recipe("qa_bot", {"MODEL": "tiny"}), "registry/reader:one")  # type: ignore[arg-type]
    assert engine.asked["platform"] == "linux/amd64"
    assert engine.asked["buildargs"] == {"MODEL": "tiny"}
    assert {"main.py", "questions.json"} <= set(engine.contexts[0])


@pytest.mark.usefixtures("no_buildx")
@pytest.mark.parametrize(
    "end",
    [
        {"error": "pip returned a non-zero code: 1"},
        {"errorDetail": {"code": 1, "message": "pip returned a non-zero code: 1"}},
    ],
)
def test_a_build_that_fails_shows_its_last_lines(end: dict) -> None:
    # As engines send it: between the lines pull the base image, and tell the id of what was built.
    others = [
        {"status": "Downloading", "progressDetail": {"total": 9}, "id": "a"},
        {"aux": {"ID": "sha256:1"}},
    ]
    said = [{"stream": f"line {number}\n"} for number in range(40)]
    engine = Engine([*others, *said, end])
    recipe = Recipe("qa_bot", {"MODEL": "a/b"})
    with pytest.raises(LabError) as failed:
        images.build(engine, recipe, "registry/reader:one")  # type: ignore[arg-type]
    assert " --build-arg MODEL=a/b /" in failed.value.fix
    assert "non-zero code" in failed.value.why
    assert "line 39" in failed.value.why
    assert "line 10\n" not in failed.value.why


BUILDX = """#!/bin/sh
[ "$1 $2" = "buildx version" ] && exit 0
cat > "$0.context"
printf '%s\\n' "$DOCKER_HOST" "$DOCKER_CONFIG" "$@" > "$0.asked"
echo '#1 [internal] load build definition from Dockerfile' >&2
echo '#5 [build 2/7] RUN pip install' >&2
echo "$SAYS" >&2
exit ${ENDS:-0}
"""


@pytest.fixture
def docker_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A `docker` with buildx, first in the PATH, that keeps what it was asked."""
    command = tmp_path / "bin" / "docker"
    command.parent.mkdir()
    command.write_text(BUILDX)
    command.chmod(0o755)
    monkeypatch.setenv("PATH", f"{command.parent}:/usr/bin:/bin")
    monkeypatch.setenv("DOCKER_CONFIG", "/the/users/own")
    monkeypatch.setenv("DOCKER_HOST", "unix:///of/another/engine.sock")
    return command


def test_buildx_builds_for_aws_in_the_engine_that_is_pushed_from(
    docker_command: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "awslabs.images")
    engine = Engine([])
    images.build(engine, Recipe("qa_bot", {"MODEL": "a b"}), "registry/reader:one")  # type: ignore[arg-type]
    assert not engine.contexts, "the SDK's builder was not asked"
    host, config, *asked = docker_command.with_name("docker.asked").read_text().splitlines()
    assert (host, config) == ("tcp://127.0.0.1:2375", "/the/users/own")
    assert asked[:2] == ["buildx", "build"]
    assert {"--provenance=false", "--load"} <= set(asked)
    pairs = list(zip(asked, asked[1:], strict=False))
    for pair in [
        ("--platform", "linux/amd64"),
        ("--tag", "registry/reader:one"),
        ("--build-arg", "MODEL=a b"),
    ]:
        assert pair in pairs
    with tarfile.open(docker_command.with_name("docker.context")) as archive:
        assert {"Dockerfile", "main.py"} <= set(archive.getnames())
    assert [record.getMessage() for record in caplog.records][:1] == ["qa_bot: [build 2/7] RUN pip install"]


def test_a_build_that_fails_in_buildx_shows_its_last_lines(
    docker_command: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ENDS", "17")
    monkeypatch.setenv("SAYS", "ERROR: failed to solve: no space left")
    with pytest.raises(LabError) as failed:
        images.build(Engine([]), Recipe("qa_bot"), "registry/reader:one")  # type: ignore[arg-type]
    assert "exit status 17" in failed.value.why
    assert failed.value.why.endswith("failed to solve: no space left")
    assert failed.value.fix.startswith("docker --host tcp://127.0.0.1:2375 build --platform linux/amd64 ")


@pytest.mark.parametrize("host", ["unix:///run/user/1000/docker.sock", "tcp://127.0.0.1:2375"])
def test_the_engine_of_the_sdk_is_told_to_buildx(host: str) -> None:
    assert images.host_of(docker.DockerClient(base_url=host, version="1.41")) == host


@pytest.mark.parametrize("has_buildx", [True, False])
def test_an_image_of_another_architecture_is_never_pushed(
    ledger: Ledger, repository: str, docker_command: Path, has_buildx: bool
) -> None:
    if not has_buildx:
        docker_command.unlink()
    engine = Engine([])
    engine.platform = {"Os": "linux", "Architecture": "arm64"}
    with pytest.raises(LabError, match="was built for linux/arm64; AWS needs linux/amd64") as refused:
        images.publish(ledger, repository, Recipe("qa_bot"), engine)  # type: ignore[arg-type]
    assert engine.logins == []
    assert ("is not installed" in refused.value.why) == (not has_buildx)
    assert f"&& {ledger.command('up')} " in refused.value.fix


# What an engine sends during a push. The classic store: recorded, Engine 20.10. Images kept by containerd (as
# Engine 29 does unless told otherwise): made after its progress.go, which leaves out every number that is 0.
CLASSIC = [
    {"status": "The push refers to repository [127.0.0.1:42847/reader]"},
    {"status": "Preparing", "progressDetail": {}, "id": "d6e77b04f0d6"},
    {"status": "Pushing", "progressDetail": {"current": 34304, "total": 3332096}, "id": "d6e77b04f0d6"},
    {"status": "Pushing", "progressDetail": {"current": 3358720, "total": 3332096}, "id": "d6e77b04f0d6"},
    {"status": "Pushed", "progressDetail": {}, "id": "d6e77b04f0d6"},
    {"status": "1: digest: sha256:d500 size: 528"},
    {"progressDetail": {}, "aux": {"Tag": "1", "Digest": "sha256:d500", "Size": 528}},
]
CONTAINERD = [
    {"status": "The push refers to repository [127.0.0.1:5000/reader]"},
    {"status": "Waiting", "progressDetail": {}, "id": "de8c0d7d0f0b"},
    {"status": "Pushing", "progressDetail": {"total": 2800000000}, "id": "de8c0d7d0f0b"},
    {"status": "Pushing", "progressDetail": {"current": 1048576, "total": 2800000000}, "id": "de8c0d7d0f0b"},
    {"status": "Pushing", "progressDetail": {"total": 1024}},
    {"status": "Pushed", "progressDetail": {}, "id": "de8c0d7d0f0b"},
    {"aux": {"manifestPushedInsteadOfIndex": True, "originalIndex": {}, "selectedManifest": {}}},
    {"status": "one: digest: sha256:0123 size: 943"},
]


@pytest.mark.parametrize("events", [CLASSIC, CONTAINERD], ids=["classic", "containerd"])
def test_a_push_is_followed_whatever_keeps_the_images(
    events: list[dict], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(images, "SAY_S", -1.0)
    caplog.set_level("INFO", "awslabs.images")
    assert images._pushed(iter(events)) == ""
    assert len(caplog.records) == len(events)


@pytest.mark.parametrize(
    "event",
    [
        {"error": "no space", "errorDetail": {"message": "no space"}},
        {"errorDetail": {"message": "no space"}},
        {"errorDetail": {"code": 5, "message": "no space"}, "error": ""},
        {"error": "no space", "errorDetail": None},
    ],
)
def test_an_error_inside_the_stream_of_a_push_is_raised(ledger: Ledger, event: dict) -> None:
    engine = Engine([], [{"status": "Preparing"}, event])
    with pytest.raises(LabError) as failed:
        images.push(engine, ledger.client("ecr"), "registry/reader", "one")  # type: ignore[arg-type]
    assert failed.value.why == "no space"


def test_a_token_that_expires_during_a_push_is_replaced(ledger: Ledger) -> None:
    expired = [{"errorDetail": {"message": "Your authorization token has expired."}, "error": "denied"}]
    done = [{"id": "a", "progressDetail": {"current": 1, "total": 1}}, {"status": "one: digest: sha256:..."}]
    engine = Engine([], expired, done)
    images.push(engine, ledger.client("ecr"), "registry/reader", "one")  # type: ignore[arg-type]
    assert [login["username"] for login in engine.logins] == ["AWS", "AWS"]
    assert all(login["password"] for login in engine.logins)


def test_a_token_that_is_never_taken_ends_as_an_error(ledger: Ledger) -> None:
    refused = [{"error": "denied: no basic auth credentials"}]
    engine = Engine([], refused, refused, refused)
    with pytest.raises(LabError, match="was not pushed"):
        images.push(engine, ledger.client("ecr"), "registry/reader", "one")  # type: ignore[arg-type]
    assert len(engine.logins) == images.TRIES


def test_without_an_engine_aws_is_refused_and_the_practice_cloud_is_not(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_HOST", "unix:///nowhere/docker.sock")
    assert images.engine() is None
    recipe = Recipe("qa_bot")
    assert images.engine_for(ledger, recipe) is None
    monkeypatch.setattr(ledger.cloud, "is_aws", True)
    with pytest.raises(LabError, match="No Docker engine answers") as refused:
        images.engine_for(ledger, recipe)
    assert f"export DOCKER_HOST=$({images.WHERE}) && python -m awslabs.ecs_qa up" in refused.value.fix
    with pytest.raises(LabError, match="Without Docker no image") as refused:
        images.engine_for(ledger, recipe, without=True)
    assert "without --no-docker" in refused.value.fix


def test_what_is_in_the_repository_needs_no_engine_any_more(
    ledger: Ledger, repository: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = Recipe("qa_bot")
    images.push_program(ledger.client("ecr"), repository, recipe, recipe.tag)  # as if it had been built
    monkeypatch.setenv("DOCKER_HOST", "unix:///nowhere/docker.sock")
    monkeypatch.setattr(ledger.cloud, "is_aws", True)
    assert images.publish(ledger, repository, recipe, images.engine_for(ledger, recipe)).endswith(recipe.tag)


def test_an_engine_that_goes_away_in_between_is_an_error_of_ours(ledger: Ledger) -> None:
    engine = docker.DockerClient(base_url="http://127.0.0.1:9", version="1.41", timeout=1)
    with pytest.raises(LabError, match="was not built"):
        images.build(engine, Recipe("qa_bot"), "registry/reader:one")
    with pytest.raises(LabError, match="was not pushed"):
        images.push(engine, ledger.client("ecr"), "registry/reader", "one")


def test_an_archive_is_the_same_each_time(tmp_path: Path) -> None:
    (tmp_path / "main.py").write_text("print(1)\n")
    packed = []
    for _ in range(2):
        buffer = io.BytesIO()
        images.pack(buffer, {"app/main.py": tmp_path / "main.py"})
        packed.append(buffer.getvalue())
        (tmp_path / "main.py").touch()
    assert packed[0] == packed[1]


# -- The same image next year --------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["qa_bot", "mnist"])
def test_the_list_with_hashes_has_the_same_versions_and_a_hash_of_each(name: str) -> None:
    folder = images.folder(name)
    listed = (folder / "requirements.txt").read_text(encoding="utf-8").splitlines()
    wanted = {line for line in listed if "==" in line and not line.startswith(("#", "torch=="))}
    lines = (folder / "requirements.lock").read_text(encoding="utf-8").splitlines()
    held = [re.fullmatch(r"([a-z0-9-]+==\S+) --hash=sha256:[0-9a-f]{64}", line) for line in lines[2:]]
    assert all(held), lines
    assert wanted <= {one[1] for one in held if one}
    assert len(held) > 20  # and what they need
    recipe = (folder / "Dockerfile").read_text(encoding="utf-8")
    assert "--build-arg REQUIREMENTS=requirements.lock" in recipe
    assert "ARG BASE_IMAGE=" in recipe
