"""Containers for images with an operating system, where a Docker engine answers.

    engine()      the engine of this computer, as DOCKER_HOST or its usual socket say, or None
    create(...)   pulls the image and makes a container: this computer's network, limits, no restart
    close(run)    removes what a practice cloud has left in the engine: containers and pulled images

When the practice cloud is killed, `watcher.py`, which it starts with its first container, does the same.
A task's container sees 127.0.0.1 as its own, so it finds the practice cloud where its environment says;
an engine in a virtual machine (macOS) must have host networking switched on for that.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

from awslabs.sandbox.run.orders import Order

log = logging.getLogger("awslabs.sandbox")

LABEL = "awslabs.practice"
LOOK_AGAIN_S = 5.0  # until an engine that did not answer is asked again
PING_S = 5.0
PULL_S = 600.0  # without a word from the engine
LEAST_MEMORY = 6 * 1024 * 1024  # what Docker takes


class NoImage(Exception):
    """The image cannot be pulled; the text says why."""


class NoStart(Exception):
    """The container cannot be made or started; the text says why."""


class OtherMachine(Exception):
    """The image is for another architecture; `argv` is what it would have run."""

    def __init__(self, argv: list[str]) -> None:
        super().__init__(argv)
        self.argv = argv


_mutex = threading.Lock()
_found: Any = None
_looked_at = -1e9
_pulled: dict[str, set[str]] = {}  # run -> images of its registry
_watchers: dict[str, subprocess.Popen[bytes]] = {}


def engine() -> Any:
    """docker's low-level client for the engine of this computer; None: none answers."""
    import docker  # 0.2 s: only who runs something pays for it

    global _found, _looked_at
    with _mutex:
        if _found is not None:
            try:
                _found.ping()
                return _found
            except (docker.errors.DockerException, OSError):
                _found = None
        if time.monotonic() - _looked_at < LOOK_AGAIN_S:
            return None
        _looked_at = time.monotonic()
        try:
            quick = docker.from_env(timeout=PING_S)
            quick.ping()
            quick.close()
            _found = docker.from_env(timeout=PULL_S).api
        except (docker.errors.DockerException, OSError) as problem:
            log.info("no Docker engine: %s", problem)
        return _found


class Container:
    """One container."""

    def __init__(self, api: Any, container_id: str) -> None:
        self.api, self.id = api, container_id

    def start(self) -> None:
        """Let it run.

        Raises
        ------
        NoStart
            With what the engine says.
        """
        import docker

        try:
            self.api.start(self.id)
        except (docker.errors.DockerException, OSError) as problem:
            raise NoStart(explained(problem)) from None

    def follow(self, say: Callable[[float, str], None]) -> None:
        """Tell its lines until it has ended, with the times at which the engine saw them.

        An engine that is asked to follow may leave out the last ones (Docker 20.10.24: of 150 containers that
        ended in the middle of a line 8): once it has ended, the rest is read from what the engine keeps.
        """
        at, text = 0.0, b""
        for frame in self.frames():
            stamp, _, words = frame.partition(b" ")
            at = at if text else unix_time(stamp.decode())
            text += words
            if text.endswith(b"\n"):  # else a part of a long line
                say(at, text.decode("utf-8", "replace").rstrip("\r\n"))
                text = b""
        if text:
            say(at, text.decode("utf-8", "replace"))

    def frames(self) -> Iterator[bytes]:
        """What the engine has heard of it, each piece with its time in front."""
        count = 0
        for frame in self.api.logs(self.id, stream=True, follow=True, timestamps=True):
            count += 1
            yield frame
        yield from itertools.islice(self.api.logs(self.id, stream=True, timestamps=True), count, None)

    def result(self) -> tuple[int, bool]:
        """Exit code, and whether the kernel ended it for its memory."""
        status = self.api.wait(self.id)["StatusCode"]
        return status, bool(self.api.inspect_container(self.id)["State"]["OOMKilled"])

    def signal(self, name: str) -> None:
        """Send a signal to its main process."""
        import docker

        with contextlib.suppress(docker.errors.APIError):  # it has ended
            self.api.kill(self.id, signal=name)

    def remove(self) -> None:
        """Kill it if need be, and remove it with its volumes."""
        import docker

        with contextlib.suppress(docker.errors.NotFound):
            self.api.remove_container(self.id, v=True, force=True)


def create(api: Any, order: Order, login: dict[str, str] | None, *, name: str, run: str) -> Container:
    """Pull an image and make a container of it, which does not run yet.

    It has at most as many processors as the engine; an engine of another architecture emulates it, if it can.

    Parameters
    ----------
    order : Order
        What shall run.
    login : dict or None
        User name and password for the practice registry; None: a public image.
    run : str
        The folder of the practice run, under whose name the container is found again.

    Raises
    ------
    NoImage, NoStart
        With what the engine says.
    OtherMachine
        The image is for another architecture.
    """
    import docker

    try:
        watch(run)
        pull(api, order.image, login, f"linux/{order.architecture}")
        if login is not None:
            with _mutex:
                _pulled.setdefault(run, set()).add(order.image)
        shown = api.inspect_image(order.image)
    except (docker.errors.DockerException, OSError) as problem:
        raise NoImage(explained(problem)) from None
    if shown.get("Architecture", order.architecture) != order.architecture:
        own = shown.get("Config") or {}
        raise OtherMachine([*(own.get("Entrypoint") or []), *(own.get("Cmd") or [])])
    try:
        processors = api.info()["NCPU"]
        memory_bytes = max(order.memory_mib * 1024 * 1024, LEAST_MEMORY)
        host = api.create_host_config(
            network_mode="host",
            nano_cpus=int(1e9 * min(order.vcpus, processors)),
            mem_limit=memory_bytes,
            memswap_limit=memory_bytes,  # together with swap: none
        )
        made = api.create_container(
            order.image,
            order.command,
            name=name,
            entrypoint=order.entry_point,
            working_dir=order.working_directory,
            environment=order.environment,
            labels={LABEL: run},
            host_config=host,
        )
    except (docker.errors.DockerException, OSError) as problem:
        raise NoStart(explained(problem)) from None
    return Container(api, made["Id"])


def pull(api: Any, image: str, login: dict[str, str] | None, platform: str) -> None:
    """Let the engine pull; errors stand inside its stream of words."""
    import docker

    name, at, digest = image.partition("@")
    tag: str | None = digest if at else None
    if not at:
        head, colon, last = name.rpartition(":")
        name, tag = (head, last) if colon and "/" not in last else (name, "latest")
    for line in api.pull(name, tag=tag, stream=True, decode=True, platform=platform, auth_config=login):
        detail = line.get("errorDetail") or {}  # Engine API: `error` is deprecated for it, and will go
        if said := detail.get("message") or line.get("error"):
            raise docker.errors.APIError(said)


def explained(problem: Exception) -> str:
    """What the engine says, without the SDK's wrapping."""
    return str(getattr(problem, "explanation", None) or problem)


def unix_time(stamp: str) -> float:
    """Seconds since 1970 of ``2026-11-22T00:00:00.123456789Z``."""
    whole, _, part = stamp.rstrip("Z").partition(".")
    return datetime.fromisoformat(f"{whole}+00:00").timestamp() + float(f"0.{part or 0}")


# --- the end ------------------------------------------------------------------------------------------


def watch(run: str) -> None:
    """Start the watcher of a run, once: it removes the run's containers should this process be killed."""
    with _mutex:
        if run not in _watchers:
            _watchers[run] = subprocess.Popen(
                [sys.executable, str(Path(__file__).with_name("watcher.py")), LABEL, run],
                stdin=subprocess.PIPE,
                start_new_session=True,
            )


def close(run: str) -> None:
    """Remove the containers and the pulled images of a practice cloud, and end its watcher."""
    import docker

    with _mutex:
        watcher, images = _watchers.pop(run, None), _pulled.pop(run, set())
    if watcher is None:
        return
    api = engine()
    for image in images if api is not None else ():
        with contextlib.suppress(docker.errors.APIError):  # gone, or another container's
            api.remove_image(image)
    assert watcher.stdin is not None
    watcher.stdin.close()  # it looks once more for what is left
    watcher.wait()
