"""What every test starts from: no real credentials, no user's files, no user's SSH agent."""

from __future__ import annotations

import gc
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import clients
import pytest
from layers import LAYERS

PRACTICE_ACCOUNT = "222233334444"
LEFT_OUT = pytest.StashKey[dict[str, int]]()  # how many tests of each were not chosen


def pytest_configure() -> None:
    """Ctrl-C works in what tests start, also where the tests run as a background job: there it is ignored.

    And labs find no Docker engine unless a test says so (`docker_engine.in_use`): builds take minutes.
    And a service's model is read once, not again for each of thousands of clients, and Python looks for
    garbage seldom: a quarter of the time went to looking through such models, which stay.
    """
    clients.keep_what_they_share()
    gc.set_threshold(100_000, 50, 100)
    host = os.environ.get("DOCKER_HOST", "unix:///var/run/docker.sock")
    os.environ.setdefault("AWSLABS_TEST_DOCKER_HOST", host)
    os.environ["DOCKER_HOST"] = "unix:///nowhere/docker.sock"
    for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGHUP):
        if signal.getsignal(number) == signal.SIG_IGN:
            signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)


# -- What takes long begins early --------------------------------------------------------------------------

# From half a minute on, the longest first: else one worker ends with such a file while the others have
# nothing left. A new one may be missing here; then only that happens.
LONG = (
    *("test_batch_sweep_docker", "test_ecs_qa_live", "test_kill_batch_sweep", "test_kill_ecs_qa"),
    *("test_kill", "test_kill_serverless", "test_terminal_ml", "test_lab_notebooks", "test_kill_gpu"),
    *("test_kill_switch", "test_batch_sweep_live", "test_terminal", "test_gpu_live", "test_concurrency"),
    *("test_services_ecs_running_tasks", "test_tunnel", "test_sandbox", "test_qa_bot_docker", "test_mnist"),
    *("test_sandbox_clients", "test_services_batch_running_jobs", "test_ec2", "test_safe", "test_qa_bot"),
    *("test_notebooks", "test_recorded_members", "test_student_policy"),
)


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """A file without a test of the layers that are asked for is not read: mostly half of all files."""
    asked = asked_for(config)
    if not asked or not collection_path.match("test_*.py"):
        return None
    return None if any(f"mark.{layer}" in collection_path.read_text() for layer in asked) else True


def asked_for(config: pytest.Config) -> set[str]:
    """The layers of ``-m "live or kill"``; none where other tests are asked for, too."""
    words = set(config.option.markexpr.split()) - {"or"}
    return words if words <= set(LAYERS) else set()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the files that take longest in front; the order of tests within a file stays."""
    places = {name: place for place, name in enumerate(LONG)}
    items.sort(key=lambda item: places.get(item.path.stem, len(LONG)))


# -- What is left out is said ------------------------------------------------------------------------------


def pytest_deselected(items: list[pytest.Item]) -> None:
    """Count them by layer. Where xdist runs the tests, only its workers get to know."""
    config = items[0].config
    found = config.stash.setdefault(LEFT_OUT, {})
    for layer in LAYERS:
        found[layer] = found.get(layer, 0) + sum(item.get_closest_marker(layer) is not None for item in items)
    if hasattr(config, "workeroutput"):
        config.workeroutput["left_out"] = found


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """What a worker of xdist has left out; all workers leave out the same."""
    if found := getattr(node, "workeroutput", {}).get("left_out"):
        node.config.stash[LEFT_OUT] = found


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """Name the layers that did not run, and the commands that run them; who asked for some knows."""
    if asked_for(config):
        return
    if found := {layer: many for layer, many in config.stash.get(LEFT_OUT, {}).items() if many}:
        many = ", ".join(f"{many} {layer}" for layer, many in found.items())
        terminalreporter.write_line(f"left out: {many}. All of them: make test-all")
        terminalreporter.write_line(f"one layer: make test-rest LAYERS={next(iter(found))}")


# -- Where every test starts from --------------------------------------------------------------------------


@pytest.fixture(scope="module", autouse=True)
def _leaves_nothing() -> Iterator[None]:
    """A file leaves no address of a cloud that is gone; the next one's fixtures are made before `_nobody`."""
    before = settings()
    yield
    left = {name: value for name, value in settings().items() if before.get(name) != value}
    for name in left:
        os.environ.pop(name)
    assert not left


def settings() -> dict[str, str]:
    """What this process says of a cloud."""
    return {name: value for name, value in os.environ.items() if name.startswith(("AWS_", "AWSLABS_"))}


@pytest.fixture(autouse=True)
def _nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty home, keys that open nothing, and none of the AWS settings of whoever runs the tests."""
    for name in list(os.environ):
        if name.startswith(("AWS_", "AWSLABS_")) and not name.startswith("AWSLABS_TEST_"):
            monkeypatch.delenv(name)
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("AWSLABS_HOME", str(home / ".awslabs"))
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", f"AKIAPRACTICE{PRACTICE_ACCOUNT}")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "opens nothing")
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_ENDPOINT_URL_FREETIER", "http://127.0.0.1:9")  # moto would let it out to AWS


@pytest.fixture(scope="module")
def run(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """One practice cloud (`sandbox.Run`) for the tests of a file that do not end it.

    It takes no time, unless the file has `SLOW_STATES`.
    """
    from awslabs import sandbox

    slow_states = getattr(request.module, "SLOW_STATES", 0)
    run = sandbox.start(slow_states=slow_states, home=tmp_path_factory.mktemp("cloud"))
    yield run
    run.stop()


@pytest.fixture(scope="module")
def home(run: Any) -> Path:
    """The home of one student of that practice cloud."""
    return Path(run.directory.parent)


@pytest.fixture(scope="module")
def window(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A browser without anybody before it."""
    from bashoutter_browser import browser

    with browser(tmp_path_factory.mktemp("chromium")) as driver:
        yield driver


@pytest.fixture
def student(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment of one student of that practice cloud."""
    import boto3

    for name, value in run.environment().items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)  # one of an earlier test keeps that one's keys


@pytest.fixture
def bill(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """What AWS would charge for what the test builds (`bill_kit.Bill`)."""
    import bill_kit

    yield from bill_kit.written(tmp_path, monkeypatch)


@pytest.fixture
def answers_fit() -> Iterator[None]:
    """Whatever boto3 is answered in this process, in this test, fits the service's model."""
    import shapes

    with shapes.watched() as seen:
        yield
    assert shapes.problems(seen) == []


@pytest.fixture(scope="session")
def aloud(pytestconfig: pytest.Config) -> Callable[[str], None]:
    """Prints figures past pytest's capture, so that they stand in the log of each run."""

    def say(text: str) -> None:
        with pytestconfig.pluginmanager.getplugin("capturemanager").global_and_fixture_disabled():
            print(text)

    return say
