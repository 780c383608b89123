"""Where Lambda functions of the practice cloud run: one fork server per account, one process per environment.

    practice cloud --socket--> fork server (runtime.py, with boto3 imported)
                                  |-- fork --> environment of function A    <== channel: events, answers
                                  |-- fork --> environment of function A    --> pipe: what it prints
                                  '-- fork --> environment of function B

A fork server stands on the same ground as practice instances (`run.isolation`): in namespaces of its
own, with a root directory in which this computer's home directories have no name, or else as a
process under a supervisor. When the practice cloud ends, in whatever way, all of it ends too.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import logging
import os
import resource
import select
import shutil
import socket
import sys
import threading
import time
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import psutil

from awslabs.sandbox import remove_tree
from awslabs.sandbox.run import isolation, programs
from awslabs.sandbox.run.loop import Loop
from awslabs.sandbox.services.lambda_ import runtime, unpacking

log = logging.getLogger("awslabs.sandbox")

USER = "sbx_user1051"  # whose home and processes they are; AWS calls its own so
START_S = 30.0  # for a fork server to import boto3 on a busy laptop
GONE_S = 10.0  # for a killed environment to be buried
LOOK_S = 0.05  # how often the memory of a running function is looked at
OUTPUT_BYTES = 1 << 20  # what is kept of one invocation's output: a loop that prints makes a GB in a second
READS = 32  # of 64 KiB, at a time: a pipe never holds so much
OPEN_FILES = 4096  # two for each environment, one for each connection
SO_PASSCRED = 16  # <asm-generic/socket.h>
UCRED = 12  # bytes: process, user and group id, 4 each

T = TypeVar("T")


class Ended(Exception):
    """The environment has ended. `status`: its exit status; negative: minus a signal; None: unknown."""

    def __init__(self, status: int | None) -> None:
        super().__init__(status)
        self.status = status


class TooLong(Exception):
    """A deadline has passed."""


class TooBig(Exception):
    """The environment took more memory than it may have; `memory_bytes` is how much."""

    def __init__(self, memory_bytes: int) -> None:
        super().__init__(memory_bytes)
        self.memory_bytes = memory_bytes


@dataclass(frozen=True)
class Reply:
    """A message from an environment."""

    header: dict[str, Any]
    body: bytes


class Environment:
    """One execution environment, seen from the practice cloud. Used by one thread at a time.

    Attributes
    ----------
    output : bytearray
        What it has printed and nobody has taken yet.
    """

    def __init__(self, fork_server: ForkServer, number: int, channel: socket.socket, pipe: int) -> None:
        self.fork_server, self.number, self.channel, self.pipe = fork_server, number, channel, pipe
        self.output = bytearray()
        self.pid = 0  # in this computer's numbers, as soon as it has said a word
        self.status: int | None = None
        self.over = threading.Event()
        self.buffer = bytearray()
        if sys.platform == "linux":
            channel.setsockopt(socket.SOL_SOCKET, SO_PASSCRED, 1)
        channel.setblocking(False)
        os.set_blocking(pipe, False)
        self.poll = select.poll()
        self.poll.register(channel, select.POLLIN)
        self.poll.register(pipe, select.POLLIN)

    def ask(self, header: dict[str, Any], body: bytes, *, deadline: float, memory_bytes: float) -> Reply:
        """Send an event and wait for the answer.

        Parameters
        ----------
        deadline : float
            On the clock of `time.monotonic`.
        memory_bytes : float
            What the environment may hold; looked at 20 times per second.

        Raises
        ------
        Ended, TooLong, TooBig
            The environment is of no use any more: `kill` it.
        """
        head = json.dumps(header).encode()
        message = memoryview(runtime.HEAD.pack(len(head), len(body)) + head + body)
        room = select.poll()
        room.register(self.channel, select.POLLOUT)
        while message:
            try:
                message = message[self.channel.send(message) :]
            except BlockingIOError:
                room.poll(1000 * max(0.0, deadline - time.monotonic()))
                if time.monotonic() >= deadline:
                    raise TooLong from None
            except OSError:
                raise self.ended() from None
        return self.listen(deadline=deadline, memory_bytes=memory_bytes)

    def listen(self, *, deadline: float, memory_bytes: float) -> Reply:
        """Wait for a message; see `ask`."""
        look_at = time.monotonic() + LOOK_S
        while True:
            now = time.monotonic()
            for fd, _ in self.poll.poll(1000 * max(0.0, min(deadline, look_at) - now)):
                if fd == self.pipe:
                    self.drain()
                elif not self.read():
                    raise self.ended()
                elif (reply := self.complete()) is not None:
                    self.drain()
                    return reply
            now = time.monotonic()
            if now >= look_at:
                look_at = now + LOOK_S
                size = self.memory_bytes() + len(self.buffer)  # which is kept for it
                if size > memory_bytes:
                    raise TooBig(size)
            if now >= deadline:
                raise TooLong

    def memory_bytes(self) -> int:
        """What it holds in memory now; 0 before it has said a word, and after its end."""
        return resident(self.pid) if self.pid and not self.over.is_set() else 0

    def read(self) -> bool:
        """Take what the channel has; whether it is still open."""
        try:
            data, notes, _, _ = self.channel.recvmsg(1 << 20, socket.CMSG_SPACE(UCRED))
        except BlockingIOError:
            return True
        except OSError:
            return False
        for level, kind, value in notes:
            if (level, kind) == (socket.SOL_SOCKET, getattr(socket, "SCM_CREDENTIALS", None)):
                self.pid = int.from_bytes(value[:4], sys.byteorder)
        self.buffer += data
        return bool(data)

    def complete(self) -> Reply | None:
        """The message in the buffer, if all of it is there."""
        size = runtime.HEAD.size
        if len(self.buffer) < size:
            return None
        head, body = runtime.HEAD.unpack_from(self.buffer)
        if len(self.buffer) < size + head + body:
            return None
        reply = Reply(
            json.loads(self.buffer[size : size + head]), bytes(self.buffer[size + head : size + head + body])
        )
        del self.buffer[: size + head + body]
        return reply

    def drain(self) -> None:
        """Take what the environment has printed, as much as is kept; one that prints on and on waits."""
        with contextlib.suppress(BlockingIOError):
            for _ in range(READS):
                if not (data := os.read(self.pipe, 1 << 16)):
                    with contextlib.suppress(KeyError):  # nobody will write there any more
                        self.poll.unregister(self.pipe)
                    return
                self.output += data[: OUTPUT_BYTES - len(self.output)]

    def ended(self) -> Ended:
        """How it has ended."""
        self.over.wait(GONE_S)
        self.drain()
        return Ended(self.status)

    def kill(self) -> None:
        """End it and all that it started; return when it is buried."""
        self.fork_server.kill(self)
        self.drain()
        self.channel.close()
        os.close(self.pipe)


def resident(pid: int) -> int:
    """Bytes of memory that a process and its descendants hold; 0: it has ended."""
    with contextlib.suppress(psutil.NoSuchProcess):
        return programs.held_bytes([psutil.Process(pid), *programs.processes_below(pid)])
    return 0


class ForkServer:
    """The environments of one account."""

    def __init__(self, folder: Path, place: isolation.Namespaces | isolation.Plain) -> None:
        self.folder, self.place = folder, place
        self.control: socket.socket | None = None
        self.mutex = threading.Lock()
        self.unpacking = threading.Lock()
        self.living: dict[int, Environment] = {}
        self.forked = 0
        self.closed = False

    async def start(self, python: list[str], program: str) -> None:
        """Let it import boto3 and wait for orders."""
        ours, theirs = socket.socketpair()
        with theirs:
            self.process = await self.place.spawn(
                [*python, program], env={"LANG": "C.UTF-8"}, stdin=theirs.fileno(), stdout=2, stderr=2
            )
        ours.settimeout(START_S)
        self.control = ours
        loop = asyncio.get_running_loop()
        if await loop.run_in_executor(None, runtime.receive, ours) is None:
            raise isolation.NoPlace("the process that Lambda functions run in ended at once")
        ours.settimeout(None)
        threading.Thread(target=self.hear, name="fork servers", daemon=True).start()

    def hear(self) -> None:
        """Note which environments have ended, until the fork server itself has."""
        assert self.control is not None
        with contextlib.suppress(OSError):
            while (message := runtime.receive(self.control)) is not None:
                with self.mutex:
                    environment = self.living.pop(message[0]["died"], None)
                if environment is not None:
                    environment.status = message[0]["status"]
                    environment.over.set()
        with self.mutex:
            self.closed = True
            left, self.living = list(self.living.values()), {}
        for environment in left:
            environment.over.set()

    def fork(self, order: dict[str, Any]) -> Environment:
        """Make an execution environment: a folder for its code, its environment variables, its handler."""
        ours, theirs = socket.socketpair()
        pipe, output = os.pipe()
        with theirs:
            try:
                with self.mutex:
                    if self.closed or self.control is None:
                        raise Ended(None)
                    self.forked += 1
                    environment = self.living[self.forked] = Environment(self, self.forked, ours, pipe)
                    text = json.dumps({**order, "fork": self.forked}).encode()
                    message = runtime.HEAD.pack(len(text), 0) + text
                    sent = socket.send_fds(self.control, [message], [theirs.fileno(), output])
                    self.control.sendall(message[sent:])
            finally:
                os.close(output)
        return environment

    def kill(self, environment: Environment) -> None:
        """See `Environment.kill`."""
        with self.mutex:
            if environment.number in self.living and self.control is not None:
                with contextlib.suppress(OSError):
                    runtime.send(self.control, {"kill": environment.number})
        environment.over.wait(GONE_S)

    async def end(self) -> None:
        """End everything in it, and remove its folder."""
        with self.mutex:
            self.closed = True
            if self.control is not None:
                with contextlib.suppress(OSError):
                    self.control.shutdown(socket.SHUT_RDWR)
        await self.place.end()
        await asyncio.get_running_loop().run_in_executor(None, remove_tree, self.folder)

    # -- files ------------------------------------------------------------------------------------

    def unpack(self, name: str, code: bytes) -> str:
        """Lay out a function's zip, once; its folder as the function calls it."""
        target = self.folder / "var/task" / name
        with self.unpacking:
            if not target.exists():
                scratch = target.with_name(f".{name}")
                with zipfile.ZipFile(io.BytesIO(code)) as archive:
                    unpacking.unpack(archive, scratch)
                scratch.rename(target)
        return self.place.inside(f"var/task/{name}")

    def own(self, task: str, scratch: str) -> dict[str, str]:
        """The folders that an environment shall have for itself, by AWS's names for them.

        Empty without namespaces: there all environments of an account see one another.
        """
        walls = isinstance(self.place, isolation.Namespaces)
        return {"/var/task": task, "/tmp": scratch} if walls else {}

    def scratch(self, name: str) -> str:
        """A fresh folder for temporary files; what the function calls it."""
        path = self.folder / "tmp" / name
        path.mkdir(mode=0o700)
        isolation.own(path)
        return self.place.inside(f"tmp/{name}")

    def discard(self, name: str) -> None:
        """Remove a folder of temporary files, whatever a function has made of it."""
        shutil.rmtree(self.folder / "tmp" / name, ignore_errors=True)


class ForkServers:
    """All fork servers of a practice run.

    Parameters
    ----------
    loop : Loop
        In which they start and end.
    """

    def __init__(self, loop: Loop) -> None:
        self.loop = loop
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        if soft < OPEN_FILES:  # macOS begins with 256
            most = OPEN_FILES if hard == resource.RLIM_INFINITY else min(OPEN_FILES, hard)
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
        self.mutex = threading.Lock()
        self.held: dict[str, ForkServer] = {}

    def of(self, account: str) -> ForkServer:
        """The fork server of an account, started with its first function."""
        with self.mutex:
            fork_server = self.held.get(account)
            if fork_server is None or fork_server.closed:
                if fork_server is not None:
                    self.loop.call(fork_server.end())
                fork_server = self.held[account] = self.loop.call(self.make(account))
            return fork_server

    async def make(self, account: str) -> ForkServer:
        """Make the folder of an account and start its fork server."""
        ground = await self.loop.find_ground()
        base = ground.practice.parent / "functions"
        practice = base / "practice"
        if not practice.exists():
            (practice / "bin").mkdir(parents=True)
            shutil.copyfile(Path(runtime.__file__), practice / "runtime.py")
            for path in (base, practice, practice / "bin", practice / "runtime.py"):
                path.chmod(0o755)
        folder = base / account
        system = {"": 0o755, "home": 0o755, "tmp": 0o1777, "var": 0o755, "var/task": 0o755}
        isolation.make_folders(folder, {**system, f"home/{USER}": 0o700})
        kind = isolation.Plain if ground.why_plain else isolation.Namespaces
        place = kind(isolation.Place(folder, practice, USER, "169-254-10-1", f"functions-{account}"))
        fork_server = ForkServer(folder, place)
        try:
            await fork_server.start(
                isolation.python_with_packages(ground), f"{place.practice_inside}/runtime.py"
            )
        except BaseException:
            await fork_server.end()
            raise
        return fork_server

    def end(self, account: str) -> None:
        """End all functions of an account; when this returns no process of them is left."""
        with self.mutex:
            fork_server = self.held.pop(account, None)
            if fork_server is not None:
                self.loop.call(fork_server.end())

    def close(self) -> None:
        """End all functions."""
        for account in list(self.held):
            self.end(account)
