"""Files and folders to a server and back, over SFTP.

Names follow ``scp -rp``: into an existing folder, or under the new name that is given. Unlike scp, a file
travels under a temporary name and is renamed when it is complete, so an interrupted copy leaves the old file
or the new one, never half of one.
"""

from __future__ import annotations

import errno
import os
import posixpath
import secrets
import shlex
import stat
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO, Protocol

import paramiko

from awslabs.errors import TunnelError
from awslabs.tunnel.openssh import Address
from awslabs.tunnel.session import BROKEN, CONNECT_S, connect, farewell, log, reason, transport_of

CHUNK = 128 * 1024  # bytes in one SFTP request: OpenSSH takes up to 255 KiB, paramiko alone would ask for 32
AHEAD = 128  # read requests sent at once: 16 MiB on the way hide the distance to the server
WINDOW = 8 * 1024 * 1024  # bytes that a server may send ahead: 80 MB/s from a server 100 ms away
STALLED_S = 60.0  # seconds without an answer after which a copy gives up


def put(address: Address, local: str | Path, remote: str = "~") -> str:
    """Copy a file or a whole folder to the server.

    Parameters
    ----------
    address : Address
        The server; its host key must be pinned (`wait_for_ssh`).
    local : str or Path
        The file or folder. Symbolic links are followed. ``folder/.`` means its contents.
    remote : str
        Where to: an existing folder (it goes inside, under its own name), or the new name. Relative names and
        ``~`` start in the home folder. Permission bits and the files' modification times come along.

    Returns
    -------
    str
        The name that the copy has on the server.

    Raises
    ------
    TunnelError
        What could not be read, written or reached. What was complete by then stays; nothing half does.
    """
    with _server(address) as server:
        return _copy(_ThisComputer(), os.fspath(local), server, remote)


def get(address: Address, remote: str, local: str | Path = ".") -> Path:
    """Copy a file or a whole folder from the server.

    Parameters
    ----------
    address : Address
        The server; its host key must be pinned (`wait_for_ssh`).
    remote : str
        The file or folder there; relative names and ``~`` start in the home folder. Symbolic links are
        followed. ``folder/.`` means its contents.
    local : str or Path
        Where to: an existing folder (it goes inside, under its own name), or the new name. Permission bits
        (as far as this computer's umask lets them) and the files' modification times come along.

    Returns
    -------
    Path
        The copy.

    Raises
    ------
    TunnelError
        What could not be read, written or reached. What was complete by then stays; nothing half does.
    """
    with _server(address) as server:
        return Path(_copy(server, remote, _ThisComputer(), os.fspath(local)))


# What both sides of a copy can do


class _Calls(Protocol):
    """What the module `os` and a `paramiko.SFTPClient` have in common."""

    def stat(self, path: str, /) -> Any: ...
    def listdir(self, path: str, /) -> list[str]: ...
    def mkdir(self, path: str, mode: int, /) -> None: ...
    def chmod(self, path: str, mode: int, /) -> None: ...
    def utime(self, path: str, times: tuple[float, float], /) -> None: ...
    def remove(self, path: str, /) -> None: ...


class _ThisComputer:
    """This side of a copy."""

    name, prompt = "this computer", ""
    calls: _Calls = os

    def full(self, given: str) -> str:
        """A name as it was given, for `calls`."""
        return os.path.expanduser(given)

    def real(self, path: str) -> str:
        """The same without links."""
        return os.path.realpath(path)

    def rename(self, path: str, target: str) -> None:
        """Take the place of another file."""
        os.replace(path, target)

    def read(self, path: str, size: int) -> Iterator[bytes]:
        """A file's contents, piece by piece."""
        with self.explained(path), open(path, "rb") as file:
            while data := file.read(CHUNK):
                yield data

    def create(self, path: str, mode: int) -> BinaryIO:
        """A new file to write."""
        return open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb")

    @contextmanager
    def explained(self, path: str) -> Iterator[None]:
        """Explain what goes wrong here."""
        try:
            yield
        except OSError as error:
            fix = f"ls -ld {shlex.quote(path)}"
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                fix = f"df -h {shlex.quote(os.path.dirname(path))}"
            raise TunnelError(f"{path} on this computer was not copied.", reason(error), fix) from error


class _Server:
    """The other side: an open SFTP session."""

    name, prompt = "the server", "   # on the server"

    def __init__(self, address: Address, client: paramiko.SSHClient, sftp: paramiko.SFTPClient) -> None:
        self.address, self.client, self.sftp = address, client, sftp
        self.calls: _Calls = sftp

    def full(self, given: str) -> str:
        """A name as it was given, from the root on; "~" means nothing to SFTP."""
        if given == "~" or given.startswith("~/"):
            given = given[2:].lstrip("/")
        return posixpath.normpath(posixpath.join(self.sftp.normalize("."), given))

    def real(self, path: str) -> str:
        """The same without links."""
        return self.sftp.normalize(path) or path

    def rename(self, path: str, target: str) -> None:
        """Take the place of another file."""
        self.sftp.posix_rename(path, target)

    def read(self, path: str, size: int) -> Iterator[bytes]:
        """A file's contents, with many requests on the way at once."""
        with self.explained(path), self.sftp.open(path, "rb") as file:
            file.MAX_REQUEST_SIZE = CHUNK
            for start in range(0, size, AHEAD * CHUNK):
                end = min(size, start + AHEAD * CHUNK)
                pieces = [(at, min(CHUNK, end - at)) for at in range(start, end, CHUNK)]
                for (_, length), data in zip(pieces, file.readv(pieces), strict=True):
                    if len(data) < length:  # the end of the file, or of the connection
                        raise EOFError
                    yield data

    def create(self, path: str, mode: int) -> paramiko.SFTPFile:
        """A new file to write."""
        file = self.sftp.open(path, "wbx")
        file.chmod(mode)  # before the contents: they may be secret
        file.set_pipelined(True)
        file.MAX_REQUEST_SIZE = CHUNK
        return file

    @contextmanager
    def explained(self, path: str) -> Iterator[None]:
        """Explain what goes wrong on the server or on the way to it."""
        transport = transport_of(self.client)
        try:
            yield
        except FileNotFoundError as error:
            raise TunnelError(
                f"There is no {path} on the server.",
                "It does not exist, or the folder that it should go into does not.",
                f"{self.address.command} ls -la",
            ) from error
        except PermissionError as error:
            raise TunnelError(
                f"The server does not give access to {path}.",
                f"{self.address.user} lacks the permission.",
                "Copy to and from the home folder (~), and move the file there with sudo.",
            ) from error
        except UnicodeError as error:
            raise TunnelError(
                f"A file name in {path} is not UTF-8.", str(error), "Rename that file."
            ) from error
        except BROKEN as error:
            transport.join(0.5)  # the end of the connection may be noticed here first
            if isinstance(error, TimeoutError) or not transport.is_active():
                raise TunnelError(
                    f"The connection to {self.address} broke while {path} was copied.",
                    reason(error) if transport.is_active() else farewell(transport),
                    "Run the same command again.",
                ) from error
            if isinstance(error, EOFError):
                raise TunnelError(
                    f"{path} on the server was not copied.",
                    "It ended too early; did it change meanwhile?",
                    "Run the same command again.",
                ) from error
            why = reason(error)
            if why == "Failure":  # SFTP's one word for a full disk, a quota and all that it has no name for
                why = "Failure: the server says no more; most often its disk is full"
            raise TunnelError(
                f"{path} on the server was not copied.", why, f"{self.address.command} df -h ."
            ) from error


_Side = _ThisComputer | _Server


@contextmanager
def _server(address: Address) -> Iterator[_Server]:
    """An SFTP session for the length of a ``with`` block."""
    with connect(address) as client:
        try:
            channel = transport_of(client).open_session(window_size=WINDOW, timeout=CONNECT_S)
            channel.invoke_subsystem("sftp")
            channel.settimeout(STALLED_S)
            sftp = paramiko.SFTPClient(_Buffered(channel))
        except BROKEN as error:
            raise TunnelError(
                f"{address} does not serve files (SFTP).",
                reason(error),
                f"{address.command} grep -i sftp /etc/ssh/sshd_config",
            ) from error
        try:
            yield _Server(address, client, sftp)
        finally:
            with suppress(*BROKEN):  # the connection may be gone, and that has been said
                sftp.close()


class _Buffered:
    """A channel that is emptied at once.

    paramiko moves all that is left in its buffer at each read, and SFTP reads in small pieces: with a window
    of 8 MiB that costs more than the encryption.
    """

    def __init__(self, channel: paramiko.Channel) -> None:
        self.channel, self.rest, self.owner = channel, memoryview(b""), threading.current_thread()

    def recv(self, count: int) -> bytes:
        """Up to this many bytes, like the channel's own."""
        if not self.rest:
            self.rest = memoryview(self.channel.recv(WINDOW))
        piece, self.rest = self.rest[:count], self.rest[count:]
        return bytes(piece)

    def recv_ready(self) -> bool:
        """Whether a read would not wait."""
        return bool(self.rest) or self.channel.recv_ready()

    def send(self, data: bytes) -> int:
        """Send; paramiko's thread that asks for pieces of a file shows no traceback when that breaks."""
        try:
            return int(self.channel.send(data))
        except BROKEN:
            if threading.current_thread() is self.owner:
                raise
            return len(data)  # whoever waits for the pieces hears why none come

    def __getattr__(self, name: str) -> Any:
        return getattr(self.channel, name)


# A copy


def _copy(a: _Side, source: str, b: _Side, target: str) -> str:
    """Copy all that is at `source` on side a to side b, and return its name there."""
    with a.explained(source):
        top = a.full(source)
        found, odd = _walk(a, top)
        last = source.rstrip("/").rpartition("/")[2]
        name = "" if last == "." else posixpath.basename(a.real(top)) if last in ("", "..", "~") else last
    with b.explained(target):
        goal = _place(b, name, target)
    made: dict[str, int] = {}
    for below, info in found:
        path, mode = posixpath.join(goal, below).rstrip("/"), stat.S_IMODE(info.st_mode) & 0o777
        if not stat.S_ISDIR(info.st_mode):
            _copy_file(a, posixpath.join(top, below).rstrip("/"), info, b, path)
            continue
        with b.explained(path):
            if not _stands(b, path, stat.S_ISDIR, "there is a file of this name"):
                b.calls.mkdir(path, mode | 0o700)
                made[path] = mode
    for path, mode in reversed(made.items()):
        if mode & 0o700 != 0o700:  # a folder that forbids to write into it: only now that all is in it
            with b.explained(path):
                b.calls.chmod(path, mode)
    if odd:
        count = sum(not stat.S_ISDIR(info.st_mode) for _, info in found)
        rest = f" and {len(odd) - 5} more" if len(odd) > 5 else ""
        raise TunnelError(
            f"{len(odd)} of {len(odd) + count} files were not copied; the others were.",
            "; ".join(odd[:5]) + rest,
            "Remove them, or copy what they stand for by its own name.",
        )
    return goal


def _copy_file(a: _Side, source: str, info: Any, b: _Side, target: str) -> None:
    """Copy one file."""
    with b.explained(target):
        if _stands(b, target, stat.S_ISREG, "there is something of this name that is not a file"):
            target = b.real(target)  # behind links
        part = posixpath.join(posixpath.dirname(target), f".awslabs-{secrets.token_hex(6)}.part")
        with _swept(lambda: b.calls.remove(part)):
            sent = 0
            with b.create(part, stat.S_IMODE(info.st_mode) & 0o777) as writer:
                for data in a.read(source, info.st_size):
                    writer.write(data)
                    sent += len(data)
            arrived = b.calls.stat(part).st_size  # SFTP's last writes are not answered one by one
            if arrived != sent:
                raise OSError(f"only {arrived} of {sent} bytes arrived; most often the disk is full")
            b.calls.utime(part, (info.st_atime, info.st_mtime))
            b.rename(part, target)


@contextmanager
def _swept(remove: Callable[[], None]) -> Iterator[None]:
    """Remove the temporary file if the copy fails, as far as that can still be done."""
    try:
        yield
    except BaseException:
        try:
            remove()
        except BROKEN as error:
            log.debug("a temporary file was not removed: %s", reason(error))
        raise


def _walk(side: _Side, top: str) -> tuple[list[tuple[str, Any]], list[str]]:
    """Files and folders from a path on, parents first, by their names below it; and what is neither."""
    found: list[tuple[str, Any]] = []
    odd: list[str] = []

    def visit(below: str, above: tuple[str, ...]) -> None:
        path = posixpath.join(top, below).rstrip("/")
        try:
            info = side.calls.stat(path)
        except FileNotFoundError:
            if not below:
                raise
            odd.append(f"{path} (a link that leads nowhere)")
            return
        if stat.S_ISREG(info.st_mode):
            found.append((below, info))
        elif not stat.S_ISDIR(info.st_mode):
            odd.append(f"{path} (neither file nor folder)")
        elif (real := side.real(path)) in above:
            odd.append(f"{path} (a link back to a folder that holds it)")
        else:
            found.append((below, info))
            for name in sorted(side.calls.listdir(path)):
                if "/" in name or name in ("", ".", ".."):  # a hostile server's way out of the target folder
                    raise OSError(f"the server lists a file named {name!r}")
                visit(posixpath.join(below, name), (*above, real))

    visit("", ())
    return found, odd


def _place(side: _Side, name: str, given: str) -> str:
    """Where a copy goes: inside an existing folder, or to the new name."""
    path = side.full(given)
    with suppress(FileNotFoundError):
        if stat.S_ISDIR(side.calls.stat(path).st_mode):
            return posixpath.join(path, name).rstrip("/")
    if given.endswith("/"):
        raise TunnelError(
            f"There is no folder {given} on {side.name}.",
            "A name that ends in / must be a folder that exists.",
            f"mkdir -p {shlex.quote(given)}{side.prompt}",
        )
    return path


def _stands(side: _Side, path: str, kind: Callable[[int], bool], otherwise: str) -> bool:
    """Whether there is something; it must be of this kind."""
    try:
        info = side.calls.stat(path)
    except FileNotFoundError:
        return False
    if not kind(info.st_mode):
        raise OSError(otherwise)
    return True
