"""Images: what a build is made of, what is pushed, and what a push says when it fails."""

from __future__ import annotations

import io
import json
import shutil
import subprocess
import sys
import tarfile
import venv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import docker
import pytest

from awslabs import images, sandbox
from awslabs.errors import LabError
from awslabs.images import Recipe
from awslabs.ledger import Cloud, Ledger


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


def test_a_wheel_brings_images_and_notebooks_along(tmp_path: Path) -> None:
    root = Path(images.__file__).parents[1]
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    source = tmp_path / "source"
    ignored = shutil.ignore_patterns(".*", "build", "*.egg-info", "tests", "bench")
    shutil.copytree(root, source, ignore=ignored)
    venv.create(tmp_path / "venv", with_pip=False)
    python = tmp_path / "venv" / "bin" / "python"
    wheel = [*pip, "wheel", "--no-deps", "--wheel-dir", str(tmp_path), str(source)]
    subprocess.run(wheel, check=True)
    (made,) = tmp_path.glob("*.whl")
    subprocess.run([*pip, "--python", str(python), "install", "--no-deps", str(made)], check=True)
    shutil.rmtree(source)
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


def test_a_build_gets_the_platform_the_arguments_and_the_whole_folder() -> None:
    engine = Engine([{"stream": "Step 1/2 : FROM scratch\n"}, {"stream": "Successfully built\n"}])
    images.build(engine, Recipe("qa_bot", {"MODEL": "tiny"}), "registry/reader:one")  # type: ignore[arg-type]
    assert engine.asked["platform"] == "linux/amd64"
    assert engine.asked["buildargs"] == {"MODEL": "tiny"}
    assert {"main.py", "questions.json"} <= set(engine.contexts[0])


def test_a_build_that_fails_shows_its_last_lines() -> None:
    said = [{"stream": f"line {number}\n"} for number in range(40)]
    engine = Engine([*said, {"error": "pip returned a non-zero code: 1"}])
    recipe = Recipe("qa_bot", {"MODEL": "a/b"})
    with pytest.raises(LabError) as failed:
        images.build(engine, recipe, "registry/reader:one")  # type: ignore[arg-type]
    assert " --build-arg MODEL=a/b /" in failed.value.fix
    assert "non-zero code" in failed.value.why
    assert "line 39" in failed.value.why
    assert "line 10\n" not in failed.value.why


def test_an_error_inside_the_stream_of_a_push_is_raised(ledger: Ledger) -> None:
    engine = Engine(
        [], [{"status": "Preparing"}, {"error": "no space", "errorDetail": {"message": "no space"}}]
    )
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
