"""SFTP server of a practice instance: one client on standard input and output.

Run inside the instance, as its user, so SFTP and the shell see the same files with the same rights:

    python -I -S sftp.py                 paths are those of the instance
    python -I -S sftp.py /home/ec2-user  without namespaces: that is $HOME, and nothing else is served

Version 3 of the protocol (draft-ietf-secsh-filexfer-02), the one OpenSSH and paramiko speak, with
OpenSSH's extensions that its clients use (PROTOCOL in its source).

Standard library only, and nothing of awslabs: it runs without `site`.
"""

from __future__ import annotations

import errno
import grp
import os
import pwd
import stat
import struct
import sys
import time
from collections.abc import Callable, Iterator

# Packet types.
INIT, VERSION, OPEN, CLOSE, READ, WRITE, LSTAT, FSTAT, SETSTAT, FSETSTAT, OPENDIR, READDIR = range(1, 13)
REMOVE, MKDIR, RMDIR, REALPATH, STAT, RENAME, READLINK, SYMLINK = range(13, 21)
STATUS, HANDLE, DATA, NAME, ATTRS, EXTENDED, EXTENDED_REPLY = 101, 102, 103, 104, 105, 200, 201

# Status codes.
OK, EOF, NO_SUCH_FILE, PERMISSION_DENIED, FAILURE, BAD_MESSAGE, OP_UNSUPPORTED = 0, 1, 2, 3, 4, 5, 8
CODES: dict[type, int] = {FileNotFoundError: NO_SUCH_FILE, PermissionError: PERMISSION_DENIED}

# Bits of OPEN and of file attributes.
PFLAG_READ, PFLAG_WRITE, PFLAG_APPEND, PFLAG_CREAT, PFLAG_TRUNC, PFLAG_EXCL = 1, 2, 4, 8, 16, 32
HAS_SIZE, HAS_IDS, HAS_MODE, HAS_TIMES = 1, 2, 4, 8

LARGEST_PACKET = 256 * 1024  # bytes, as OpenSSH's server
LARGEST_DATA = LARGEST_PACKET - 1024
NAMES_AT_ONCE = 100

EXTENSIONS = {
    "posix-rename@openssh.com": "1",
    "hardlink@openssh.com": "1",
    "fsync@openssh.com": "1",
    "statvfs@openssh.com": "2",
    "lsetstat@openssh.com": "1",
    "limits@openssh.com": "1",
    "expand-path@openssh.com": "1",
}


class Packet:
    """The fields of one packet, read in order."""

    def __init__(self, body: bytes):
        self.body = body
        self.at = 0

    def number(self, form: str = ">I") -> int:
        """Read an unsigned integer."""
        (value,) = struct.unpack_from(form, self.body, self.at)
        self.at += struct.calcsize(form)
        return int(value)

    def string(self) -> bytes:
        """Read a byte string."""
        length = self.number()
        value = self.body[self.at : self.at + length]
        if len(value) != length:
            raise struct.error("a string is cut short")
        self.at += length
        return value

    def attributes(self) -> dict[str, tuple[int, ...]]:
        """Read file attributes: size, owner and group, mode, times."""
        flags, found = self.number(), {}
        for bit, name, form in ((HAS_SIZE, "size", ">Q"), (HAS_IDS, "ids", ">II"), (HAS_MODE, "mode", ">I"),
                                (HAS_TIMES, "times", ">II")):  # fmt: skip
            if flags & bit:
                found[name] = tuple(struct.unpack_from(form, self.body, self.at))
                self.at += struct.calcsize(form)
        return found


def string(value: bytes) -> bytes:
    """Write a byte string."""
    return struct.pack(">I", len(value)) + value


def attributes(info: os.stat_result) -> bytes:
    """Write file attributes."""
    numbers = (info.st_uid, info.st_gid, info.st_mode, int(info.st_atime), int(info.st_mtime))
    flags = HAS_SIZE | HAS_IDS | HAS_MODE | HAS_TIMES
    return struct.pack(">IQ5I", flags, info.st_size, *(number & 0xFFFFFFFF for number in numbers))


def long_name(name: bytes, info: os.stat_result) -> bytes:
    """Return a line as `ls -l` prints it, which clients show to people."""
    try:
        owner = pwd.getpwuid(info.st_uid).pw_name
    except KeyError:
        owner = str(info.st_uid)
    try:
        group = grp.getgrgid(info.st_gid).gr_name
    except KeyError:
        group = str(info.st_gid)
    recent = abs(time.time() - info.st_mtime) < 180 * 24 * 3600
    date = time.strftime("%b %e %H:%M" if recent else "%b %e  %Y", time.localtime(info.st_mtime))
    mode = stat.filemode(info.st_mode)
    return f"{mode} {info.st_nlink:4} {owner:8} {group:8} {info.st_size:8} {date} ".encode() + name


class Unsupported(Exception):
    """A request that this server does not know."""


class Server:
    """One client's requests and its open files. A request whose method returns nothing has succeeded.

    Parameters
    ----------
    name_of_home : bytes
        Empty: paths are the file system's. Otherwise what clients call the home directory, outside of
        which nothing is served.
    """

    def __init__(self, name_of_home: bytes = b""):
        self.home = os.path.realpath(os.fsencode(os.environ["HOME"]))
        self.name_of_home = name_of_home
        self.files: dict[bytes, int] = {}
        self.folders: dict[bytes, Iterator[os.DirEntry[bytes]]] = {}
        self.handles = 0
        self.requests: dict[int, Callable[[Packet], bytes | None]] = {
            OPEN: self.open, CLOSE: self.close, READ: self.read, WRITE: self.write, LSTAT: self.lstat,
            FSTAT: self.fstat, SETSTAT: self.setstat, FSETSTAT: self.fsetstat, OPENDIR: self.opendir,
            READDIR: self.readdir, REMOVE: self.remove, MKDIR: self.mkdir, RMDIR: self.rmdir,
            REALPATH: self.realpath, STAT: self.stat, RENAME: self.rename, READLINK: self.readlink,
            SYMLINK: self.symlink, EXTENDED: self.extended,
        }  # fmt: skip

    # Paths.

    def path(self, name: bytes, *, follow: bool = True) -> bytes:
        """Return the file system's path for a client's; relative ones start at the home directory.

        With a `name_of_home`, whatever lies or leads outside the home directory is refused.
        """
        if not self.name_of_home:
            return os.path.join(self.home, name)
        path = os.path.normpath(os.path.join(self.name_of_home, name))
        if not (path + b"/").startswith(self.home + b"/"):  # `pwd` in the shell prints that one
            if not (path + b"/").startswith(self.name_of_home + b"/"):
                raise PermissionError(errno.EACCES, "a practice instance serves its home directory only")
            path = self.home + path[len(self.name_of_home) :]
        real = os.path.realpath(path) if follow else os.path.realpath(os.path.dirname(path))
        if path != self.home and not (real + b"/").startswith(self.home + b"/"):
            raise PermissionError(errno.EACCES, "a symbolic link leads out of the home directory")
        return path

    def name(self, path: bytes) -> bytes:
        """Return a client's name for a path of the file system."""
        if self.name_of_home and (path + b"/").startswith(self.home + b"/"):
            return self.name_of_home + path[len(self.home) :]
        return path

    # Files.

    def open(self, packet: Packet) -> bytes:
        name, flags, wanted = packet.string(), packet.number(), packet.attributes()
        how = {PFLAG_READ: os.O_RDONLY, PFLAG_WRITE: os.O_WRONLY}.get(flags & 3, os.O_RDWR)
        for bit, meaning in ((PFLAG_CREAT, os.O_CREAT), (PFLAG_TRUNC, os.O_TRUNC), (PFLAG_EXCL, os.O_EXCL),
                             (PFLAG_APPEND, os.O_APPEND)):  # fmt: skip
            how |= meaning if flags & bit else 0
        mode = wanted.get("mode", (0o666,))[0] & 0o7777
        handle = self.new_handle()
        self.files[handle] = os.open(self.path(name), how | os.O_NOCTTY, mode)
        return bytes([HANDLE]) + string(handle)

    def new_handle(self) -> bytes:
        """Return a handle that was never given out before."""
        self.handles += 1
        return b"%d" % self.handles

    def close(self, packet: Packet) -> None:
        handle = packet.string()
        if handle in self.files:
            os.close(self.files.pop(handle))
        else:
            del self.folders[handle]

    def read(self, packet: Packet) -> bytes:
        handle, offset, length = packet.string(), packet.number(">Q"), packet.number()
        data = os.pread(self.files[handle], min(length, LARGEST_DATA), offset)
        return bytes([DATA]) + string(data) if data else status(EOF, "end of file")

    def write(self, packet: Packet) -> None:
        handle, offset, data = packet.string(), packet.number(">Q"), memoryview(packet.string())
        while data:
            written = os.pwrite(self.files[handle], data, offset)
            data, offset = data[written:], offset + written

    def fstat(self, packet: Packet) -> bytes:
        return bytes([ATTRS]) + attributes(os.fstat(self.files[packet.string()]))

    def stat(self, packet: Packet) -> bytes:
        return bytes([ATTRS]) + attributes(os.stat(self.path(packet.string())))

    def lstat(self, packet: Packet) -> bytes:
        return bytes([ATTRS]) + attributes(os.lstat(self.path(packet.string(), follow=False)))

    def setstat(self, packet: Packet) -> None:
        self.change(self.path(packet.string()), packet.attributes())

    def fsetstat(self, packet: Packet) -> None:
        self.change(self.files[packet.string()], packet.attributes())

    def change(self, target: bytes | int, wanted: dict[str, tuple[int, ...]]) -> None:
        """Set the attributes that a client gave."""
        if "size" in wanted:
            os.truncate(target, wanted["size"][0])
        if "mode" in wanted:
            os.chmod(target, wanted["mode"][0] & 0o7777)
        if "ids" in wanted:
            os.chown(target, *wanted["ids"])
        if "times" in wanted:
            os.utime(target, (wanted["times"][0], wanted["times"][1]))

    def remove(self, packet: Packet) -> None:
        os.unlink(self.path(packet.string(), follow=False))

    def rename(self, packet: Packet) -> None:
        old, new = (self.path(packet.string(), follow=False) for _ in range(2))
        if os.path.lexists(new):  # version 3 renames onto nothing; the extension does
            raise FileExistsError(errno.EEXIST, "the new name exists")
        os.rename(old, new)

    def readlink(self, packet: Packet) -> bytes:
        return names([(os.readlink(self.path(packet.string(), follow=False)), None)])

    def symlink(self, packet: Packet) -> None:
        target, link = packet.string(), packet.string()  # OpenSSH's order, which all clients have taken over
        os.symlink(target, self.path(link, follow=False))

    # Folders.

    def opendir(self, packet: Packet) -> bytes:
        handle = self.new_handle()
        self.folders[handle] = os.scandir(self.path(packet.string()))
        return bytes([HANDLE]) + string(handle)

    def readdir(self, packet: Packet) -> bytes:
        entries = self.folders[packet.string()]
        found: list[tuple[bytes, os.stat_result | None]] = []
        for entry in entries:
            try:
                info = entry.stat(follow_symlinks=False)
            except FileNotFoundError:
                continue  # removed since
            found.append((entry.name, info))
            if len(found) == NAMES_AT_ONCE:
                break
        return names(found) if found else status(EOF, "end of folder")

    def mkdir(self, packet: Packet) -> None:
        name, wanted = packet.string(), packet.attributes()
        os.mkdir(self.path(name, follow=False), wanted.get("mode", (0o777,))[0] & 0o7777)

    def rmdir(self, packet: Packet) -> None:
        os.rmdir(self.path(packet.string(), follow=False))

    def realpath(self, packet: Packet) -> bytes:
        return names([(self.name(os.path.realpath(self.path(packet.string()))), None)])

    # OpenSSH's extensions.

    def extended(self, packet: Packet) -> bytes | None:
        request = packet.string()
        if request == b"posix-rename@openssh.com":
            old, new = (self.path(packet.string(), follow=False) for _ in range(2))
            os.replace(old, new)
        elif request == b"hardlink@openssh.com":
            old, new = self.path(packet.string()), self.path(packet.string(), follow=False)
            os.link(old, new)
        elif request == b"fsync@openssh.com":
            os.fsync(self.files[packet.string()])
        elif request == b"lsetstat@openssh.com":
            self.change_link(self.path(packet.string(), follow=False), packet.attributes())
        elif request == b"statvfs@openssh.com":
            info = os.statvfs(self.path(packet.string()))
            return bytes([EXTENDED_REPLY]) + struct.pack(
                ">11Q", info.f_bsize, info.f_frsize, info.f_blocks, info.f_bfree, info.f_bavail, info.f_files,
                info.f_ffree, info.f_favail, 0, info.f_flag & 3, info.f_namemax,
            )  # fmt: skip
        elif request == b"limits@openssh.com":
            return bytes([EXTENDED_REPLY]) + struct.pack(">4Q", LARGEST_PACKET, LARGEST_DATA, LARGEST_DATA, 0)
        elif request == b"expand-path@openssh.com":
            path = packet.string()
            user, slash, rest = path.partition(b"/")
            if user in (b"~", b"~" + os.fsencode(os.environ["USER"])):
                path = self.home + slash + rest
            return names([(self.name(os.path.normpath(os.path.join(self.home, path))), None)])
        else:
            raise Unsupported(request.decode(errors="replace"))
        return None

    def change_link(self, path: bytes, wanted: dict[str, tuple[int, ...]]) -> None:
        """Set the attributes of a symbolic link itself; it has no size and no mode to set."""
        if "ids" in wanted:
            os.lchown(path, *wanted["ids"])
        if "times" in wanted:
            os.utime(path, (wanted["times"][0], wanted["times"][1]), follow_symlinks=False)

    # The conversation.

    def answer(self, body: bytes) -> bytes:
        """Return the answer to one packet, without its length."""
        packet = Packet(body)
        kind = packet.number(">B")
        if kind == INIT:
            words = [word.encode() for pair in EXTENSIONS.items() for word in pair]
            return struct.pack(">BI", VERSION, 3) + b"".join(map(string, words))
        request_id = struct.pack(">I", packet.number())
        try:
            if kind not in self.requests:
                raise Unsupported(f"request {kind}")
            reply = self.requests[kind](packet) or status(OK, "")
        except OSError as error:
            reply = status(CODES.get(type(error), FAILURE), str(error.strerror))
        except KeyError:
            reply = status(FAILURE, "no such handle")
        except (struct.error, ValueError) as error:
            reply = status(BAD_MESSAGE, str(error))
        except Unsupported as error:
            reply = status(OP_UNSUPPORTED, f"{error} is not supported")
        return reply[:1] + request_id + reply[1:]


def status(code: int, message: str) -> bytes:
    """Write a status."""
    return struct.pack(">BI", STATUS, code) + string(message.encode()) + string(b"en")


def names(found: list[tuple[bytes, os.stat_result | None]]) -> bytes:
    """Write a list of names; without attributes where there are none to tell."""
    parts = [struct.pack(">BI", NAME, len(found))]
    for name, info in found:
        long = name if info is None else long_name(name, info)
        parts += [string(name), string(long), struct.pack(">I", 0) if info is None else attributes(info)]
    return b"".join(parts)


def main() -> None:
    """Answer packets until the client closes."""
    server = Server(os.fsencode(sys.argv[1]) if len(sys.argv) > 1 else b"")
    os.umask(0o022)
    received = b""
    while data := os.read(0, LARGEST_PACKET):
        received += data
        replies, at = [], 0
        while len(received) - at >= 4:
            (length,) = struct.unpack_from(">I", received, at)
            if not 0 < length <= LARGEST_PACKET:
                sys.exit(f"sftp: a packet of {length} bytes")
            if len(received) - at - 4 < length:
                break
            reply = server.answer(received[at + 4 : at + 4 + length])
            replies.append(struct.pack(">I", len(reply)) + reply)
            at += 4 + length
        received = received[at:]
        sys.stdout.buffer.write(b"".join(replies))
        sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
