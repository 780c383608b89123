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
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import paramiko

from awslabs.errors import TunnelError
from awslabs.tunnel.openssh import Address
from awslabs.tunnel.session import BROKEN, CONNECT_S, connect, log, reason, transport_of

CHUNK = 128 * 1024  # bytes in one SFTP request: OpenSSH takes up to 255 KiB, paramiko alone would ask for 32
AHEAD = 128  # read requests sent at once: 16 MiB on the way hide the distance to the server
WINDOW = 8 * 1024 * 1024  # bytes that a server may send ahead: 80 MB/s from a server 100 ms away
STALLED_S = 60.0  # seconds without an answer after which a copy gives up

Progress = Callable[[int, int], None]


def put(address: Address, local: str | Path, remote: str = "~", *, progress: Progress | None = None) -> str:
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
    progress : callable, optional
        Called with bytes done and bytes in all.

    Returns
    -------
    str
        The name that the copy has on the server.

    Raises
    ------
    TunnelError
        What could not be read, written or reached. What was complete by then stays; nothing half does.
    """
    source = Path(local).expanduser()
    with _server(address) as server:
        entries, odd = _walk_local(source)
        name = _own_name(os.fspath(local), lambda: source.resolve().name)
        with server.explained(remote):
            target = _place_remote(server.sftp, name, remote)
        meter = _Meter(entries, progress)
        made: dict[str, int] = {}
        for entry in entries:
            there = posixpath.join(target, *entry.parts)
            if not entry.is_folder:
                _put_file(
                    server, source.joinpath(*entry.parts), there, posixpath.dirname(there) in made, meter
                )
                continue
            with server.explained(there):
                if _make_remote_folder(server.sftp, there, entry.mode | 0o700):
                    made[there] = entry.mode
        for there, mode in reversed(made.items()):
            if mode & 0o700 != 0o700:  # a folder that forbids to write into it: only now that all is in it
                with server.explained(there):
                    server.sftp.chmod(there, mode)
    _complain_of(odd, entries)
    return target


def get(address: Address, remote: str, local: str | Path = ".", *, progress: Progress | None = None) -> Path:
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
    progress : callable, optional
        Called with bytes done and bytes in all.

    Returns
    -------
    Path
        The copy.

    Raises
    ------
    TunnelError
        What could not be read, written or reached. What was complete by then stays; nothing half does.
    """
    source = _at_home(remote)
    with _server(address) as server:
        with server.explained(remote):
            entries, odd = _walk_remote(server.sftp, source)
            name = _own_name(remote, lambda: posixpath.basename(server.sftp.normalize(source)))
        target = _place_local(name, local)
        meter = _Meter(entries, progress)
        made: dict[Path, int] = {}
        for entry in entries:
            here = target.joinpath(*entry.parts)
            if not entry.is_folder:
                _get_file(server, posixpath.join(source, *entry.parts), here, meter)
                continue
            with _here(here):
                if not here.is_dir():
                    here.mkdir(mode=entry.mode | 0o700)
                    made[here] = entry.mode
        for here, mode in reversed(made.items()):
            if mode & 0o700 != 0o700:
                with _here(here):
                    here.chmod(mode)
    _complain_of(odd, entries)
    return target


@dataclass(frozen=True)
class _Entry:
    """One file or folder of a copy: where below the top, and what it is."""

    parts: tuple[str, ...]
    is_folder: bool
    mode: int
    size: int


class _Meter:
    """Counts the bytes of a copy for whoever watches."""

    def __init__(self, entries: list[_Entry], progress: Progress | None) -> None:
        self.done, self.total, self.progress = 0, sum(entry.size for entry in entries), progress
        self.add(0)

    def add(self, count: int) -> None:
        """Count bytes that are through."""
        self.done += count
        self.total = max(self.total, self.done)  # a file may grow while it travels
        if self.progress:
            self.progress(self.done, self.total)


# One file


def _put_file(server: _Server, here: Path, there: str, is_new: bool, meter: _Meter) -> None:
    """Copy one file to the server; ``is_new``: nothing can be there, so no need to ask."""
    sftp = server.sftp
    with _here(here), open(here, "rb") as reader, server.explained(there):
        info = os.fstat(reader.fileno())
        final = there if is_new else _regular_remote(sftp, there)
        part = posixpath.join(posixpath.dirname(final), _part_name())
        with _swept(lambda: sftp.remove(part)):
            with sftp.open(part, "wbx") as writer:
                writer.chmod(stat.S_IMODE(info.st_mode) & 0o777)  # before the contents: they may be secret
                writer.set_pipelined(True)
                writer.MAX_REQUEST_SIZE = CHUNK
                sent = 0
                while data := _read(reader, here):
                    writer.write(data)
                    sent += len(data)
                    meter.add(len(data))
            arrived = sftp.stat(part).st_size  # the last writes are not answered one by one
            if arrived != sent:
                raise OSError(f"only {arrived} of {sent} bytes arrived; most often the disk is full")
            sftp.utime(part, (info.st_atime, info.st_mtime))
            sftp.posix_rename(part, final)


def _get_file(server: _Server, there: str, here: Path, meter: _Meter) -> None:
    """Copy one file from the server."""
    with server.explained(there), server.sftp.open(there, "rb") as reader:
        info = reader.stat()
        mode = stat.S_IMODE(info.st_mode) & 0o777
        with _here(here):
            final = _regular_local(here)
            part = final.parent / _part_name()
            descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
            with _swept(part.unlink):
                with open(descriptor, "wb", buffering=0) as writer:
                    for data in _read_ahead(server, there, reader, info.st_size):
                        rest = memoryview(data)
                        while rest:  # a nearly full disk takes a part of it
                            rest = rest[writer.write(rest) :]
                        meter.add(len(data))
                os.utime(part, (info.st_atime, info.st_mtime))
                os.replace(part, final)


def _read(reader: BinaryIO, here: Path) -> bytes:
    """The next piece of a local file."""
    with _here(here):
        return reader.read(CHUNK)


def _read_ahead(server: _Server, there: str, reader: paramiko.SFTPFile, size: int) -> Iterator[bytes]:
    """A remote file's contents, with many requests on the way at once."""
    reader.MAX_REQUEST_SIZE = CHUNK
    reader._prefetch_thread = _without_traceback(reader._prefetch_thread)
    for start in range(0, size, AHEAD * CHUNK):
        end = min(size, start + AHEAD * CHUNK)
        pieces = reader.readv([(at, min(CHUNK, end - at)) for at in range(start, end, CHUNK)])
        for at in range(start, end, CHUNK):
            with server.explained(there):
                data = next(pieces)
                if len(data) < min(CHUNK, end - at):  # the end of the file, or of the connection
                    raise EOFError
            yield data


def _without_traceback(send: Callable[..., None]) -> Callable[..., None]:
    """paramiko's thread that sends read requests; if the connection breaks the reader says so, in words."""

    def sender(*arguments: object) -> None:
        with suppress(*BROKEN):
            send(*arguments)

    return sender


def _part_name() -> str:
    """A name for a file that is still on its way."""
    return f".awslabs-{secrets.token_hex(6)}.part"


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


# What there is to copy


def _walk_local(source: Path) -> tuple[list[_Entry], list[str]]:
    """Files and folders below a local path, parents first, and what is neither."""
    entries: list[_Entry] = []
    odd: list[str] = []

    def visit(path: Path, parts: tuple[str, ...], above: frozenset[tuple[int, int]]) -> None:
        if parts and path.is_symlink() and not path.exists():
            odd.append(f"{path} (a link that leads nowhere)")
            return
        with _here(path):
            info = path.stat()
        mode = stat.S_IMODE(info.st_mode) & 0o777
        if stat.S_ISREG(info.st_mode):
            entries.append(_Entry(parts, False, mode, info.st_size))
        elif not stat.S_ISDIR(info.st_mode):
            odd.append(f"{path} (neither file nor folder)")
        elif (info.st_dev, info.st_ino) in above:
            odd.append(f"{path} (a link back to a folder that holds it)")
        else:
            entries.append(_Entry(parts, True, mode, 0))
            with _here(path):
                names = sorted(os.listdir(path))
            for name in names:
                visit(path / name, (*parts, name), above | {(info.st_dev, info.st_ino)})

    visit(source, (), frozenset())
    return entries, odd


def _walk_remote(sftp: paramiko.SFTPClient, source: str) -> tuple[list[_Entry], list[str]]:
    """Files and folders below a remote path, parents first, and what is neither."""
    entries: list[_Entry] = []
    odd: list[str] = []

    def visit(
        path: str, parts: tuple[str, ...], info: paramiko.SFTPAttributes, above: tuple[str, ...]
    ) -> None:
        if stat.S_ISLNK(info.st_mode):
            try:
                info = sftp.stat(path)
            except FileNotFoundError:
                odd.append(f"{path} (a link that leads nowhere)")
                return
        mode = stat.S_IMODE(info.st_mode) & 0o777
        if stat.S_ISREG(info.st_mode):
            entries.append(_Entry(parts, False, mode, info.st_size))
            return
        if not stat.S_ISDIR(info.st_mode):
            odd.append(f"{path} (neither file nor folder)")
            return
        real = sftp.normalize(path)
        if real in above:
            odd.append(f"{path} (a link back to a folder that holds it)")
            return
        entries.append(_Entry(parts, True, mode, 0))
        for below in sorted(sftp.listdir_attr(path), key=lambda entry: entry.filename):
            name = below.filename
            if "/" in name or name in ("", ".", ".."):  # a hostile server's way out of the target folder
                raise OSError(f"the server lists a file named {name!r}")
            visit(posixpath.join(path, name), (*parts, name), below, (*above, real))

    visit(source, (), sftp.stat(source), ())
    return entries, odd


def _complain_of(odd: list[str], entries: list[_Entry]) -> None:
    """Say what was left out of a copy."""
    if odd:
        count = sum(not entry.is_folder for entry in entries)
        rest = f" and {len(odd) - 5} more" if len(odd) > 5 else ""
        raise TunnelError(
            f"{len(odd)} of {len(odd) + count} files were not copied; the others were.",
            "; ".join(odd[:5]) + rest,
            "Remove them, or copy what they stand for by its own name.",
        )


# Where it goes


def _own_name(given: str, real_name: Callable[[], str]) -> str:
    """The name that a source has inside a folder; "" if only its contents are meant (``folder/.``)."""
    last = given.rstrip("/").rpartition("/")[2]
    if last == ".":
        return ""
    return real_name() if last in ("", "..", "~") else last


def _at_home(remote: str) -> str:
    """A remote name as SFTP takes it: relative names start at home, "~" means nothing to it."""
    if remote == "~" or remote.startswith("~/"):
        remote = remote[2:].lstrip("/")
    return remote or "."


def _place_remote(sftp: paramiko.SFTPClient, name: str, remote: str) -> str:
    """Inside an existing folder, or the new name."""
    path = posixpath.join(sftp.normalize("."), _at_home(remote))
    try:
        is_folder = stat.S_ISDIR(sftp.stat(path).st_mode)
    except FileNotFoundError:
        is_folder = False
    if remote.endswith("/") and not is_folder:
        raise TunnelError(
            f"There is no folder {remote} on the server.",
            "A name that ends in / must be a folder that exists.",
            f"mkdir -p {shlex.quote(remote)}   # on the server",
        )
    return posixpath.join(sftp.normalize(path), name).rstrip("/") if is_folder else path


def _place_local(name: str, local: str | Path) -> Path:
    """Inside an existing folder, or the new name."""
    path = Path(local).expanduser()
    if path.is_dir():
        return path / name
    if os.fspath(local).endswith("/"):
        raise TunnelError(
            f"There is no folder {local} on this computer.",
            "A name that ends in / must be a folder that exists.",
            f"mkdir -p {shlex.quote(str(path))}",
        )
    return path


def _make_remote_folder(sftp: paramiko.SFTPClient, path: str, mode: int) -> bool:
    """Make a folder; False if it is there already."""
    try:
        if not stat.S_ISDIR(sftp.stat(path).st_mode):
            raise OSError("there is a file of this name")
        return False
    except FileNotFoundError:
        sftp.mkdir(path, mode)
        return True


def _regular_remote(sftp: paramiko.SFTPClient, path: str) -> str:
    """The file to replace: behind links, and nothing but a regular file."""
    try:
        info = sftp.stat(path)
    except FileNotFoundError:
        return path
    if not stat.S_ISREG(info.st_mode):
        raise OSError("there is something of this name that is not a file")
    return sftp.normalize(path)


def _regular_local(path: Path) -> Path:
    """The file to replace: behind links, and nothing but a regular file."""
    if path.exists() and not path.is_file():
        raise OSError("there is something of this name that is not a file")
    return path.resolve()


# What can go wrong


@contextmanager
def _here(path: Path) -> Iterator[None]:
    """Explain what goes wrong on this computer."""
    try:
        yield
    except OSError as error:
        fix = f"ls -ld {shlex.quote(str(path))}"
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            fix = f"df -h {shlex.quote(str(path.parent))}"
        raise TunnelError(f"{path} on this computer was not copied.", reason(error), fix) from error


class _Buffered:
    """A channel that is emptied at once.

    paramiko moves all that is left in its buffer at each read, and SFTP reads in small pieces: with a window
    of 8 MiB that costs more than the encryption.
    """

    def __init__(self, channel: paramiko.Channel) -> None:
        self.channel, self.rest = channel, memoryview(b"")

    def recv(self, count: int) -> bytes:
        """Up to this many bytes, like the channel's own."""
        if not self.rest:
            self.rest = memoryview(self.channel.recv(WINDOW))
        piece, self.rest = self.rest[:count], self.rest[count:]
        return bytes(piece)

    def recv_ready(self) -> bool:
        """Whether a read would not wait."""
        return bool(self.rest) or self.channel.recv_ready()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.channel, name)


@dataclass(frozen=True)
class _Server:
    """An open SFTP session, and what explains its failures."""

    address: Address
    client: paramiko.SSHClient
    sftp: paramiko.SFTPClient

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
                    reason(error) if transport.is_active() else transport.farewell(),
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


@contextmanager
def _server(address: Address) -> Iterator[_Server]:
    """An SFTP session for the length of a ``with`` block."""
    with connect(address) as client:
        try:
            channel = transport_of(client).open_session(window_size=WINDOW, timeout=CONNECT_S)
            channel.invoke_subsystem("sftp")
            sftp = paramiko.SFTPClient(_Buffered(channel))
        except (paramiko.SSHException, EOFError) as error:
            raise TunnelError(
                f"{address} does not serve files (SFTP).",
                reason(error),
                f"{address.command} grep -i sftp /etc/ssh/sshd_config",
            ) from error
        channel.settimeout(STALLED_S)
        try:
            yield _Server(address, client, sftp)
        finally:
            with suppress(*BROKEN):  # the connection may be gone, and that has been said
                sftp.close()
