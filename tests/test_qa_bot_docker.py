"""The image of the reader: its own Dockerfile, built by a real Docker engine and run without a network."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import docker
import docker_engine
import docker_images
import pytest
import small_reader
from extras import needed

pytestmark = pytest.mark.docker

needed("torch")  # it trains the small reader

FUJI = "Mount Fuji is the highest mountain of Japan. Its summit stands 3776 metres above the sea."


@pytest.fixture(scope="module")
def client() -> docker.DockerClient:
    """The Docker engine."""
    return docker_engine.needed()


@pytest.fixture(scope="module")
def image(client: docker.DockerClient, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The image with the small reader baked in."""
    recipe = docker_images.qa_bot(client, tmp_path_factory, small_reader.trained(tmp_path_factory))
    return docker_images.build(client, tmp_path_factory, recipe)


@pytest.fixture
def run(client: docker.DockerClient, image: str) -> Callable[..., str]:
    """What a container prints, run as strictly as a container can be."""

    def run(*command: str, **settings: object) -> str:
        strict = {"network_mode": "none", "read_only": True, "tmpfs": {"/tmp": ""}, "cap_drop": ["ALL"]}
        return client.containers.run(image, list(command), remove=True, **{**strict, **settings}).decode()

    return run


def test_the_container_answers_without_a_network(run: Callable) -> None:
    answer = json.loads(run("--no-save", FUJI, "What is the highest mountain of Japan?"))
    assert (answer["answer"], answer["start"], answer["end"]) == ("Mount Fuji", 0, 10)


def test_the_shipped_questions_are_in_the_image(run: Callable) -> None:
    answers = [json.loads(line) for line in run("--no-save", "--file", "questions.json").splitlines()]
    expected = list(small_reader.ANSWERS.values())
    right = sum(answer["answer"] == text for answer, text in zip(answers, expected, strict=True))
    assert right >= len(expected) * 3 // 4


def test_it_does_not_run_as_root(run: Callable) -> None:
    assert run("-c", "import os; print(os.getuid())", entrypoint="python").strip() != "0"


def test_threads_fit_the_cpus_of_the_container(run: Callable) -> None:
    program = "import vcpus; print(vcpus.available())"
    assert run("-c", program, entrypoint="python", nano_cpus=1_000_000_000).strip() == "1"


def test_only_what_is_imported_is_compiled_and_headers_are_left_out(run: Callable) -> None:
    program = """
import importlib.util, pathlib, torch
folder = pathlib.Path(torch.__file__).parent
print((folder / "include").exists(), (folder / "test").exists(), torch.version.cuda)
compiled, written = (len(list(folder.rglob(f"*.{kind}"))) for kind in ("pyc", "py"))
print(pathlib.Path(torch.nn.__cached__).exists(), compiled < written)
"""
    assert run("-c", program, entrypoint="python").split() == ["False", "False", "None", "True", "True"]


def test_a_stopped_container_ends_by_itself(client: docker.DockerClient, image: str, tmp_path: Path) -> None:
    """Exit status 143: it heard the SIGTERM; 137: it had to be killed."""
    rows = [{"context": FUJI, "question": "How high is the summit?"}] * 64
    rows += [{"context": FUJI * 5000, "question": "How high is the summit?"}] * 500
    file = tmp_path / "rows.json"
    file.write_text(json.dumps(rows), encoding="utf-8")
    container = client.containers.run(
        image,
        ["--no-save", "--file", "/rows.json"],
        detach=True,
        network_mode="none",
        volumes={str(file): {"bind": "/rows.json", "mode": "ro"}},
    )
    try:
        assert next(container.logs(stream=True, follow=True))
        container.stop(timeout=300)
        assert container.wait()["StatusCode"] == 143
    finally:
        container.remove(force=True)


def test_an_image_without_a_model_says_so(run: Callable) -> None:
    """`--build-arg MODEL=` leaves an empty folder there, for those who mount a model."""
    with pytest.raises(docker.errors.ContainerError) as ended:
        run("--no-save", "a", "b?", tmpfs={"/tmp": "", "/model": ""})
    assert ended.value.exit_status == 1
    assert b"error: the model distilbert-base-cased-distilled-squad cannot be loaded." in ended.value.stderr
