"""The runner: what an ECS task or a Batch job names as its image runs, as a process or as a container.

    Order --> the image      practice registry (registry.py), or, with an engine, any public one
          --> as a process   a program-only image: its /app, with this cloud's own Python
          --> as a container an image with an operating system, where a Docker engine answers
          --> Ended          exit code, and the reason where AWS gives one

A *program-only* image has the label ``awslabs.program-only: "true"`` and holds a folder /app, nothing
else: it always runs as a process, on the ground of practice instances (`run.isolation`): a root
directory of its own in namespaces, or else a supervisor. Its /app is at /app there. Where this computer has
no namespaces, /app is the working directory and has no such name.

What is like AWS: environment, entry point and command, working directory, exit codes (128 + signal),
SIGTERM then SIGKILL, everything ends with the main process, the memory limit (a process: memory of the
whole tree, looked at 10 times per second), the architecture: an image for other machines than the order's
prints ``exec format error`` and ends with 1, whatever this computer is. What is not: the network is this
computer's own; a process has no limit on its CPU time, but OMP_NUM_THREADS and its kin say how many
threads it should take; SIGTERM ends a Python process, while PID 1 of a container ignores it.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import gzip
import io
import itertools
import logging
import math
import os
import posixpath
import re
import select
import shutil
import signal
import sys
import tarfile
import threading
import time
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import psutil

from awslabs.sandbox import HOST, remove_tree
from awslabs.sandbox.run import containers, isolation
from awslabs.sandbox.run.loop import Loop
from awslabs.sandbox.run.orders import Order
from awslabs.sandbox.services.ecr import registry

log = logging.getLogger("awslabs.sandbox")

USER = "app"
LOOK_S = 0.1  # how often the memory of a program is looked at
BURIED_S = 10.0  # for the last process of a program to be gone
LONGEST_LINE = 250_000  # bytes; CloudWatch Logs takes events of 256 KB
IMAGE_BYTES = 20 << 30  # of an unpacked image. Source: ECS developer guide, "Fargate task ephemeral storage"
IMAGE_ENTRIES = 100_000
HEADER_BYTES = 1 << 20  # at most, of a file's header in a layer: names and times
SHARED_FROM = 1 << 20  # bytes: larger files of an image are not copied for each program
SHARED_MOST = 200  # such files of an image: each is a mount; more are copied
MIB = 1024 * 1024
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")

OUT_OF_MEMORY = "OutOfMemoryError: Container killed due to memory usage"
CANNOT_PULL = "CannotPullContainerError: "
CANNOT_START = "CannotStartContainerError: "

T = TypeVar("T")


@dataclass(frozen=True)
class Ended:
    """How it ended.

    Attributes
    ----------
    exit_code : int or None
        0 to 255; None: it never started.
    reason : str
        ``OutOfMemoryError: ...``, ``CannotPullContainerError: ...``, ``CannotStartContainerError: ...``, or
        empty.
    """

    exit_code: int | None
    reason: str = ""


class Program:
    """One that was ordered. `programs.start` makes it; its own thread does the rest."""

    def __init__(
        self,
        programs: Programs,
        order: Order,
        say: Callable[[float, str], None],
        ended: Callable[[Ended], None],
        began: Callable[[], None],
    ) -> None:
        self.programs, self.order = programs, order
        self.say, self.ended, self.began = say, ended, began
        self.mutex = threading.Lock()
        self.asked_at: float | None = None  # when somebody asked it to stop
        self.kill_at = math.inf  # on the clock of time.monotonic
        self.over = threading.Event()
        self.finished = False  # its container
        self.woken, self.wake = os.pipe()
        os.set_blocking(self.wake, False)
        self.thread = threading.Thread(target=self.live, name=f"program {order.key}", daemon=True)

    def stop(self, grace_s: float = 30.0) -> None:
        """Ask it to end with SIGTERM; what still runs after `grace_s` seconds is killed. Returns at once.

        Asking again can only shorten the time that is left.
        """
        with self.mutex:
            now = time.monotonic()
            self.asked_at = now if self.asked_at is None else self.asked_at
            self.kill_at = min(self.kill_at, now + grace_s)
        self.nudge()

    def wait(self, timeout_s: float | None = None) -> bool:
        """Wait until it has ended and `ended` was told; whether that is so."""
        return self.over.wait(timeout_s)

    def nudge(self) -> None:
        """Wake its thread."""
        with self.mutex, contextlib.suppress(OSError):  # it is over, or has been woken often enough already
            os.write(self.wake, b"x")

    # -- in its own thread ------------------------------------------------------------------------

    def live(self) -> None:
        """All of its life."""
        try:
            how = self.perform()
        except Exception as problem:
            log.exception("the program %s", self.order.key)
            how = Ended(None, f"{CANNOT_START}the practice cloud stumbled: {problem!r}")
        try:
            self.ended(how)
        except Exception:
            log.exception("after the end of the program %s", self.order.key)
        self.programs.forget(self)
        with self.mutex:
            os.close(self.woken)
            os.close(self.wake)
            self.wake = -1
        self.over.set()

    def perform(self) -> Ended:
        """Find the image and run it."""
        order = self.order
        try:
            stored = registry.look(order.account, order.region, order.image, order.architecture)
        except registry.Missing as missing:
            return Ended(None, f"{CANNOT_PULL}{missing}")
        if stored is not None and stored.architecture != order.architecture:
            return self.of_another_machine(stored.entry_point + stored.command)
        if stored is not None and stored.program_only:
            return self.as_process(stored)
        engine = containers.engine()
        if engine is None:
            what = "has an operating system" if stored is not None else "is not in the practice registry"
            return Ended(
                None,
                f"{CANNOT_PULL}{order.image} {what}, and to run it the practice cloud needs a Docker engine: "
                "none answers on this computer. Without one it runs program-only images of its own registry.",
            )
        return self.as_container(engine, stored)

    def of_another_machine(self, argv: list[str]) -> Ended:
        """What the kernel says to a program that was compiled for another processor.

        Source: AWS re:Post, "exec format error" in Amazon ECS: the task begins, and ends with 1.
        """
        self.began()
        what = [*(self.order.entry_point or argv), *(self.order.command or []), "main"][0]
        self.say(time.time(), f"exec {what}: exec format error")
        return Ended(1)

    # -- as a process -----------------------------------------------------------------------------

    def as_process(self, image: registry.Stored) -> Ended:
        """Run a program-only image."""
        argv = [
            *(self.order.entry_point or image.entry_point),
            *(image.command if self.order.command is None else self.order.command),
        ]
        if not argv:
            return Ended(None, f"{CANNOT_START}no command specified")
        try:
            workplace = self.programs.workplace(self.order, image)
        except (isolation.NoPlace, Unpackable) as problem:
            kind = CANNOT_PULL if isinstance(problem, Unpackable) else CANNOT_START
            return Ended(None, f"{kind}{problem}")
        try:
            if self.asked_at is not None:
                return Ended(None, "")
            self.began()
            return self.watch(workplace, argv, image)
        finally:
            self.programs.loop.call(workplace.place.end())
            remove_tree(workplace.folder)

    def watch(self, workplace: Workplace, argv: list[str], image: registry.Stored) -> Ended:
        """Start it, and follow it to its end."""
        where = self.order.working_directory or image.working_directory or "/"
        where = workplace.place.inside(posixpath.normpath(where).lstrip("/"))
        enter = ["/bin/sh", "-c", 'cd "$0" || exit 126; exec "$@"', where, *argv]
        source, sink = os.pipe()
        nothing = os.open(os.devnull, os.O_RDONLY)
        try:
            environment = workplace.environment(self.order, image)
            process: Any = self.programs.loop.call(
                workplace.place.spawn(enter, env=environment, stdin=nothing, stdout=sink, stderr=sink)
            )
        except BaseException:
            os.close(source)
            raise
        finally:
            os.close(sink)
            os.close(nothing)
        finished = asyncio.run_coroutine_threadsafe(process.wait(), self.programs.loop.asyncio)
        finished.add_done_callback(lambda _: self.nudge())
        lines = Lines(source, self.say)
        why = self.follow(process, finished, lines, workplace)
        # As in a container: with the main process everything ends.
        self.programs.loop.call(workplace.place.end())
        lines.finish()
        status = finished.result(BURIED_S)
        if why:
            return Ended(128 + signal.SIGKILL, OUT_OF_MEMORY if why == "memory" else "")
        return Ended(128 - status if status < 0 else status)

    def follow(
        self, process: Any, finished: concurrent.futures.Future[int], lines: Lines, workplace: Workplace
    ) -> str:
        """Wait until it has ended by itself (empty), or must be killed: ``memory`` or ``time``."""
        poll = select.poll()
        poll.register(self.woken, select.POLLIN)
        poll.register(lines.source, select.POLLIN)
        asked, look_at = False, time.monotonic()
        while not finished.done():
            left = min(LOOK_S, self.kill_at - time.monotonic())
            for fd, _ in poll.poll(max(0.0, 1000 * left)):
                if fd == self.woken:
                    os.read(self.woken, 4096)
                elif not lines.read():
                    poll.unregister(lines.source)
            if self.asked_at is not None and not asked:
                asked = True
                self.programs.loop.asyncio.call_soon_threadsafe(process.signal, signal.SIGTERM)
            if time.monotonic() >= self.kill_at:
                return "time"
            if time.monotonic() >= look_at:
                look_at = time.monotonic() + LOOK_S
                if too_big(workplace.roots(process), self.order.memory_mib * MIB):
                    return "memory"
        return ""

    # -- as a container ---------------------------------------------------------------------------

    def as_container(self, engine: Any, image: registry.Stored | None) -> Ended:
        """Run an image with an operating system."""
        order = self.order
        login = registry.login(order.account, order.region) if image is not None else None
        try:
            name = f"awslabs-{self.programs.port}-{re.sub(r'[^A-Za-z0-9_.-]', '-', order.key)}"
            container = containers.create(engine, order, login, name=name, run=str(self.programs.directory))
        except containers.OtherMachine as other:
            return self.of_another_machine(other.argv)
        except containers.NoImage as problem:
            return Ended(None, f"{CANNOT_PULL}{problem}")
        except containers.NoStart as problem:
            return Ended(None, f"{CANNOT_START}{problem}")
        stopper = None
        try:
            if self.asked_at is not None:
                return Ended(None, "")
            try:
                container.start()
            except containers.NoStart as problem:
                return Ended(None, f"{CANNOT_START}{problem}")
            self.began()
            stopper = threading.Thread(target=self.pass_stop_on, args=(container,), daemon=True)
            stopper.start()
            container.follow(self.say)
            status, out_of_memory = container.result()
            return Ended(status, OUT_OF_MEMORY if out_of_memory else "")
        finally:
            self.finished = True
            self.nudge()
            if stopper is not None:
                stopper.join()
            container.remove()

    def pass_stop_on(self, container: containers.Container) -> None:
        """Bring an order to stop to a container, and kill it when its time is over."""
        asked = False
        poll = select.poll()
        poll.register(self.woken, select.POLLIN)
        while not self.finished:
            left = self.kill_at - time.monotonic()
            if poll.poll(None if math.isinf(left) else max(0.0, 1000 * left)):
                os.read(self.woken, 4096)
            if self.finished:
                return
            if self.asked_at is not None and not asked:
                asked = True
                container.signal("SIGTERM")
            if time.monotonic() >= self.kill_at:
                container.signal("SIGKILL")
                return


class Lines:
    """What comes through a pipe, line by line, with the time at which it came."""

    def __init__(self, source: int, say: Callable[[float, str], None]) -> None:
        self.source, self.say = source, say
        self.rest = b""

    def read(self) -> bool:
        """Take what is there; False: nobody will write any more."""
        data = os.read(self.source, 1 << 16)
        *lines, self.rest = (self.rest + data).split(b"\n")
        at = time.time()
        for line in lines:
            self.tell(at, line)
        while len(self.rest) > LONGEST_LINE:
            line, self.rest = self.rest[:LONGEST_LINE], self.rest[LONGEST_LINE:]
            self.tell(at, line)
        return bool(data)

    def finish(self) -> None:
        """Take what is left, when all who could write have ended."""
        try:
            while self.read():
                pass
            if self.rest:
                self.tell(time.time(), self.rest)
        finally:
            os.close(self.source)

    def tell(self, at: float, line: bytes) -> None:
        self.say(at, line.decode("utf-8", "replace").removesuffix("\r"))


def processes_below(root: int) -> Iterator[psutil.Process]:
    """All descendants of a process, without itself.

    This is asked 20 times per second for whatever runs. psutil asks every process of the computer for its
    parent, which takes 20 times as long as asking Linux for the children.
    """
    # Any may just have ended.
    with contextlib.suppress(FileNotFoundError, ProcessLookupError, psutil.NoSuchProcess):
        if sys.platform != "linux":
            yield from psutil.Process(root).children(recursive=True)
        # A child belongs to the thread that forked it.
        for listed in Path(f"/proc/{root}/task").glob("*/children"):
            for pid in map(int, listed.read_text().split()):
                with contextlib.suppress(psutil.NoSuchProcess):
                    yield psutil.Process(pid)
                yield from processes_below(pid)


def held_bytes(processes: Iterable[psutil.Process], *, parted: bool = False) -> int:
    """Memory that processes hold; what several share counts in full for each, or `parted` between them."""
    total = 0
    for process in processes:
        with contextlib.suppress(psutil.Error):  # it has ended
            total += process.memory_full_info().pss if parted else process.memory_info().rss
    return total


def too_big(roots: list[int], limit_bytes: int) -> bool:
    """Whether what runs below these processes holds more than it may.

    Pages that several share count once, as in a container; that costs a look at every page, so it is done
    only when the quick sum is too large; macOS knows no such part.
    """
    below = [process for root in roots for process in processes_below(root)]
    too_much = held_bytes(below) > limit_bytes
    return too_much and (sys.platform != "linux" or held_bytes(below, parted=True) > limit_bytes)


class Unpackable(Exception):
    """An image that is no program-only image, whatever its label says."""


@dataclass
class Workplace:
    """Where one program lives."""

    folder: Path
    place: isolation.Namespaces | isolation.Plain

    def roots(self, process: Any) -> list[int]:
        """The processes below which everything of it runs."""
        first = [self.place.init_pid] if isinstance(self.place, isolation.Namespaces) else []
        return [process.process.pid, *first]

    def environment(self, order: Order, image: registry.Stored) -> dict[str, str]:
        """The whole environment: the order's, over the image's, and what every program needs."""
        threads = str(max(1, min(math.floor(order.vcpus), os.cpu_count() or 1)))
        return {
            **dict.fromkeys(THREADS, threads),
            "OMP_WAIT_POLICY": "PASSIVE",  # many programs share this computer: none may wait busily
            "LANG": "C.UTF-8",
            "HOME": self.place.inside(f"home/{USER}"),
            "TMPDIR": self.place.inside("tmp"),
            "NO_PROXY": HOST,
            "no_proxy": HOST,
            "AWS_EC2_METADATA_DISABLED": "true",
            **image.environment,
            **order.environment,
            "PATH": f"{self.place.practice_inside}/python:/usr/local/bin:/usr/bin:/bin",
        }


class Programs:
    """All programs of one practice cloud. Its methods may be called from any thread.

    Parameters
    ----------
    loop : Loop
        Of the practice run.
    port : int
        Where the practice cloud listens.
    """

    def __init__(self, loop: Loop, port: int) -> None:
        self.loop, self.directory, self.port = loop, loop.directory, port
        self.numbers = itertools.count(1)
        self.mutex = threading.Lock()
        self.unpacking = threading.Lock()
        self.running: set[Program] = set()
        self.closed = False

    def forget(self, program: Program) -> None:
        """It has ended."""
        with self.mutex:
            self.running.discard(program)

    def end(self, doomed: Iterable[Program]) -> None:
        """Kill programs and wait until nothing of them is left."""
        doomed = list(doomed)
        for program in doomed:
            program.stop(0)
        for program in doomed:
            program.thread.join()

    def of(self, account: str) -> list[Program]:
        """The programs of an account that have not ended."""
        with self.mutex:
            return [program for program in self.running if program.order.account == account]

    def close(self) -> None:
        """End everything."""
        with self.mutex:
            self.closed = True
            left = list(self.running)
        self.end(left)

    # -- places ------------------------------------------------------------------------------------

    def workplace(self, order: Order, image: registry.Stored) -> Workplace:
        """Lay out the folder of a program.

        Raises
        ------
        Unpackable
            If the image cannot be run this way.
        """
        with self.unpacking:
            ground = self.loop.call(self.loop.find_ground())
            base = ground.practice.parent / "programs"
            practice = base / "practice"
            if not practice.exists():
                self.make_shared_folders(base, practice, ground)
            unpacked = base / "images" / image.digest.replace(":", "-")
            if not unpacked.exists():
                scratch = unpacked.with_name(f".{unpacked.name}")
                if scratch.exists():
                    remove_tree(scratch)
                try:
                    unpack(image.layers, scratch)
                except Unpackable:
                    remove_tree(scratch)
                    raise
                scratch.rename(unpacked)
        name = f"{next(self.numbers)}-{re.sub(r'[^A-Za-z0-9_.-]', '-', order.key)}"
        folder = base / name
        modes = {"": 0o755, "home": 0o755, "tmp": 0o1777, f"home/{USER}": 0o700}
        isolation.make_folders(folder, modes)
        shared = lay_out(unpacked / "app", folder / "app")
        fixed = tuple(path.relative_to(folder).as_posix() for path in shared)
        kind = isolation.Plain if ground.why_plain else isolation.Namespaces
        place = isolation.Place(folder, practice, USER, "ip-169-254-172-2", name, fixed)
        return Workplace(folder, kind(place))

    def make_shared_folders(self, base: Path, practice: Path, ground: isolation.Ground) -> None:
        """What all programs share: ``python`` and ``python3``, which are the Python of the practice cloud."""
        (practice / "bin").mkdir(parents=True)
        (practice / "python").mkdir()
        (base / "images").mkdir()
        for path in (base, practice, practice / "bin", practice / "python"):
            path.chmod(0o755)
        for name in ("python", "python3"):
            script = practice / "python" / name
            script.write_text(f'#!/bin/sh\nexec {isolation.python_with_packages(ground)[0]} "$@"\n')
            script.chmod(0o755)


def unpack(layers: Iterable[Path], target: Path) -> None:
    """Unpack layers: files and folders below /app, and nothing that could lead out of it or fill the disk.

    Raises
    ------
    Unpackable
        For anything else.
    """
    (target / "app").mkdir(parents=True)
    bytes_left = min(IMAGE_BYTES, shutil.disk_usage(target).free // 2)
    entries_left = IMAGE_ENTRIES
    for layer in layers:
        try:
            with layer_file(layer) as file, tarfile.open(mode="r:", fileobj=Cautious(file)) as archive:  # type: ignore[call-overload]
                for entry in archive:
                    archive.members = []  # it would keep them all
                    bytes_left, entries_left = bytes_left - abs(entry.size), entries_left - 1
                    if min(bytes_left, entries_left) < 0:
                        raise Unpackable(f"failed to extract layer {layer.name}: no space left on device")
                    put(archive, entry, target)
        except (tarfile.TarError, zlib.error, EOFError, OSError, ValueError) as problem:
            raise Unpackable(f"the layer {layer.name} cannot be unpacked: {problem}") from problem


def layer_file(layer: Path) -> io.BufferedIOBase:
    """The archive in a layer: as it is, or compressed by gzip."""
    with layer.open("rb") as file:
        packed = file.read(2) == b"\x1f\x8b"
    return gzip.open(layer) if packed else layer.open("rb")


class Cautious:
    """An archive that is read a little at a time: tarfile would read a header that says it has 8 GB."""

    def __init__(self, file: io.BufferedIOBase) -> None:
        self.file, self.seek, self.tell = file, file.seek, file.tell

    def read(self, size: int = -1) -> bytes:
        if not 0 <= size <= HEADER_BYTES:
            raise ValueError(f"a header of {size} bytes")
        return self.file.read(size)


def put(archive: tarfile.TarFile, entry: tarfile.TarInfo, target: Path) -> None:
    """Take a file or a folder below /app out of an archive."""
    name = posixpath.normpath("/" + entry.name).lstrip("/")
    if name in ("", "app") and entry.isdir():
        return
    if not name.startswith("app/") or not (entry.isfile() or entry.isdir()):
        raise Unpackable(f"a program-only image holds files below /app only, not {entry.name}")
    path = target / name
    if entry.isdir():
        path.mkdir(parents=True, exist_ok=True)
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    content = archive.extractfile(entry)
    assert content is not None
    with content, path.open("wb") as file:
        shutil.copyfileobj(content, file)
    path.chmod(0o755 if entry.mode & 0o100 else 0o644)


def lay_out(source: Path, target: Path) -> list[Path]:
    """Give a program its own /app; return its large files (models), which others of the image have too."""
    shared: list[Path] = []
    isolation.make_folders(target, {"": 0o755})
    for path in sorted(source.rglob("*")):
        copy = target / path.relative_to(source)
        if path.is_dir():
            copy.mkdir()
        elif path.stat().st_size >= SHARED_FROM and len(shared) < SHARED_MOST:
            os.link(path, copy)
            shared.append(copy)
            continue
        else:
            shutil.copyfile(path, copy)
        copy.chmod(0o755 if path.is_dir() else path.stat().st_mode & 0o777)
        isolation.own(copy)
    return shared


# --- the one of this process ----------------------------------------------------------------------------

current: Programs | None = None


def start(
    order: Order,
    say: Callable[[float, str], None],
    ended: Callable[[Ended], None],
    began: Callable[[], None] = lambda: None,
) -> Program:
    """Run a program; returns at once.

    Not one of the functions is called with a lock held; each is called from the program's own thread, and
    may take its time and `engine.lock`.

    Parameters
    ----------
    order : Order
        What shall run.
    say : callable
        Takes each line that it prints (standard output and error together), with its time (Unix seconds).
    ended : callable
        Takes the `Ended`, once, after the last line; nothing of the program runs any more then.
    began : callable, optional
        Called when the image is there and the program starts.

    Returns
    -------
    Program
        `stop` it with SIGTERM, and SIGKILL after some seconds.
    """
    part = current  # which `close` takes away at any time
    if part is None:
        raise RuntimeError("this practice cloud runs no programs")
    program = Program(part, order, say, ended, began)
    with part.mutex:
        if part.closed:
            raise RuntimeError("the practice cloud is closing")
        part.running.add(program)
        program.thread.start()
    return program


def add_handlers(cloud: Any) -> None:
    """Add its handlers to a practice cloud (`server.Cloud`)."""
    global current
    current = Programs(cloud.loop, int(cloud.run.endpoint_url.rpartition(":")[2]))


def reset(account: str) -> None:
    """End what an account runs."""
    if current is not None:
        current.end(current.of(account))


def close() -> None:
    """End everything here."""
    global current
    if current is not None:
        part, current = current, None
        part.close()
        containers.close(str(part.directory))
