"""Where the processes of a practice instance live, and how all of them end.

`Namespaces` is the good place: user, PID, mount, UTS and IPC namespaces of Linux, made with
util-linux's `unshare` and entered with `nsenter`. No process in there can see, signal or outlive
what is outside; the folder of the instance is its root directory (`first_process.py` lays it out).

    server --pipe--> unshare --fork--> cat           PID 1 of the instance; ends when the pipe closes
       '--> nsenter --fork--> unshare --> setsid --> bash -c COMMAND      one of these per session

`Plain` is what is left where the operating system offers no namespaces (macOS, Linux that keeps
them from ordinary users): processes of this computer with a home directory in the instance's
folder, each session held by a `supervisor.py`, which ends with everything it started when the server does.

Both have the same five methods. If the server is real root, everything here runs as PRACTICE_UID.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import fcntl
import json
import os
import shutil
import signal
import socket
import struct
import sys
import tempfile
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent

# The user who stands for a root server: in the range that distributions and systemd leave unused,
# and below 65536, so that it exists in containers too.
# Source: systemd, docs/UIDS-GIDS.md (60578 to 61183).
PRACTICE_UID = 60700

SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
LONGEST_LINE = 64 * 1024  # bytes of console text that are kept together

# From <asm-generic/ioctls.h>: a new terminal's number, its lock, its other end.
TIOCGPTN, TIOCSPTLCK, TIOCGPTPEER = 0x80045430, 0x40045431, 0x5441

# From <linux/keyctl.h>, <linux/landlock.h>, <sys/prctl.h>, and the numbers of system calls.
KEYCTL_JOIN_SESSION_KEYRING, LANDLOCK_SCOPE_ABSTRACT_UNIX_SOCKET, PR_SET_NO_NEW_PRIVS = 1, 1, 38
SYS_KEYCTL = {"x86_64": 250, "aarch64": 219}
SYS_LANDLOCK_CREATE_RULESET, SYS_LANDLOCK_RESTRICT_SELF = 444, 446

# Without `site` and without the user's PYTHON variables: starts in 5 ms.
PYTHON = [os.path.realpath(sys.executable), "-I", "-S"]


class NoPlace(Exception):
    """The operating system refused what an instance needs; the text says what and why."""


def practice_uid() -> int | None:
    """Return the user id that practice processes get instead of the server's, or None for the same.

    The same: for an ordinary user, and where only a user namespace, without other users in it, says root.
    """
    if os.geteuid() != 0:
        return None
    if sys.platform != "linux":
        return PRACTICE_UID
    mapped = [tuple(map(int, line.split())) for line in Path("/proc/self/uid_map").read_text().splitlines()]
    return PRACTICE_UID if any(0 <= PRACTICE_UID - first < count for first, _, count in mapped) else None


def leave_login() -> None:
    """Let go, for this thread and all that it will start, of what no namespace hides.

    That are the keys which the kernel keeps for a login (Kerberos tickets, keys of encrypted folders), and
    sockets with abstract names that others of this computer have: on Linux from 6.12, with Landlock. Called
    before there are other threads.
    """
    if sys.platform != "linux":
        return
    libc = ctypes.CDLL(None, use_errno=True)
    if number := SYS_KEYCTL.get(os.uname().machine):
        libc.syscall(number, KEYCTL_JOIN_SESSION_KEYRING, None)
    wanted = (ctypes.c_uint64 * 3)(0, 0, LANDLOCK_SCOPE_ABSTRACT_UNIX_SOCKET)
    rules = libc.syscall(SYS_LANDLOCK_CREATE_RULESET, wanted, ctypes.c_size_t(ctypes.sizeof(wanted)), 0)
    if rules >= 0:
        libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)  # what Landlock asks of who is not root
        libc.syscall(SYS_LANDLOCK_RESTRICT_SELF, rules, 0)
        os.close(rules)


def login_shell() -> str:
    """Return the shell of practice users: bash, as on Amazon Linux and Ubuntu, or what there is."""
    return "/bin/bash" if os.path.exists("/bin/bash") else "/bin/sh"


@dataclass(frozen=True)
class Ground:
    """What this computer offers to instances; found out once per run, with the first boot."""

    why_plain: str  # why there are no namespaces; "" where there are
    instances: Path  # the folder that instances' folders are made in
    practice: Path  # programs that instances share: shims, sftp.py
    python: list[str]  # command line that runs those


@dataclass(frozen=True)
class Place:
    """What both kinds of place need to know about an instance."""

    folder: Path  # of the instance; its root directory where there are mount namespaces
    practice: Path  # see Ground
    user: str
    hostname: str
    marker: str  # a word in the environment of each process that no other process has
    fixed: tuple[str, ...] = ()  # files in the folder that nobody inside may change, others have them too


@dataclass(frozen=True)
class Terminal:
    """A new terminal: descriptors of its two ends, and what processes of the instance call it."""

    master: int
    slave: int
    name: str


class Namespaces:
    """An instance in namespaces of its own; started with the first command, cheap until then.

    Parameters
    ----------
    place : Place
    """

    practice_inside = "/practice"

    def __init__(self, place: Place):
        self.place = place
        self.init: asyncio.subprocess.Process | None = None
        self.init_pid = 0
        self.lifeline = -1
        self.starting = asyncio.Lock()

    def inside(self, path: str) -> str:
        """Return what processes of the instance call a path in the instance's folder."""
        return "/" + path

    async def start(self) -> None:
        """Make the namespaces, unless they stand.

        Raises
        ------
        NoPlace
            If the operating system refuses, with its words.
        """
        async with self.starting:
            if self.init is not None:
                if self.init.returncode is None:
                    return
                await self.end()  # killed from outside
            uid = practice_uid()
            unshare = [tool("unshare"), "--mount", "--pid", "--uts", "--ipc", "--fork"]
            if uid is None:
                unshare += ["--user", "--map-root-user"]
            spec = {
                "root": str(self.place.folder),
                "user": self.place.user,
                "hostname": self.place.hostname,
                "shell": login_shell(),
                "visible": interpreter_folders(),
                "practice": str(self.place.practice),
                "fixed": self.place.fixed,
                "uid": uid,
            }
            end_of_theirs, lifeline = os.pipe()
            said, say = os.pipe()
            try:
                self.init = await asyncio.create_subprocess_exec(
                    *unshare, *PYTHON, str(HERE / "first_process.py"), json.dumps(spec),
                    stdin=end_of_theirs, stdout=say, stderr=say, start_new_session=True, env={},
                )  # fmt: skip
            except BaseException:
                os.close(said)
                os.close(lifeline)
                raise
            finally:
                os.close(end_of_theirs)
                os.close(say)
            self.lifeline = lifeline
            line = "unshare ended without a word"
            async with contextlib.aclosing(lines_of(said)) as lines:
                async for line in lines:
                    if line.startswith("ready "):
                        self.init_pid = int(line.split()[1])
                        return
            await self.end()
            raise NoPlace(line)

    async def terminal(self) -> Terminal:
        """Open a terminal among the instance's own ones: of this computer's there are none inside."""
        await self.start()
        master = os.open(f"/proc/{self.init_pid}/root/dev/pts/ptmx", os.O_RDWR | os.O_NOCTTY)
        try:
            fcntl.ioctl(master, TIOCSPTLCK, struct.pack("i", 0))
            (number,) = struct.unpack("i", fcntl.ioctl(master, TIOCGPTN, bytes(4)))
            slave = fcntl.ioctl(master, TIOCGPTPEER, os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)
        except BaseException:
            os.close(master)
            raise
        return Terminal(master, slave, f"/dev/pts/{number}")

    async def spawn(
        self,
        argv: list[str],
        *,
        env: dict[str, str],
        stdin: int,
        stdout: int,
        stderr: int,
        tty: bool = False,
        root: bool = False,
    ) -> Entered:
        """Run a command inside, as the instance's user or as its root.

        Parameters
        ----------
        argv : list of str
        env : dict
            Its whole environment.
        stdin, stdout, stderr : int
            File descriptors.
        tty : bool
            Whether `stdin` is a terminal that shall control the command.
        root : bool
            Whether the command believes to be root. It has no more rights for that.
        """
        await self.start()
        enter = [tool("nsenter"), "--target", str(self.init_pid)]
        enter += ["--user", "--mount", "--pid", "--uts", "--ipc"]
        if practice_uid() is None:
            enter.append("--preserve-credentials")  # who is no root may not drop groups
        number, where = ("0", "/") if root else ("1000", f"/home/{self.place.user}")
        become = [tool("unshare"), "--user", f"--map-user={number}", f"--map-group={number}", f"--wd={where}"]
        session = [tool("setsid"), *(["--ctty"] if tty else [])]
        process = await asyncio.create_subprocess_exec(
            *enter, "--", *become, "--", *session, *argv,
            stdin=stdin, stdout=stdout, stderr=stderr, start_new_session=True, env=env,
        )  # fmt: skip
        return Entered(process)

    async def end(self) -> None:
        """End every process of the instance; return when the kernel has buried the last one."""
        if self.init is None:
            return
        if self.lifeline >= 0:
            os.close(self.lifeline)
            self.lifeline = -1
        # `unshare` waits for PID 1, and that is gone only after everything else in its namespace.
        await self.init.wait()
        self.init = None


class Entered:
    """A command inside namespaces, seen from outside: nsenter waits for it and ends as it did."""

    def __init__(self, process: asyncio.subprocess.Process):
        self.process = process

    async def wait(self) -> int:
        """Return the exit status; negative: minus the signal that ended it."""
        return await self.process.wait()

    def signal(self, number: int) -> None:
        """Send a signal to the command and what shares its process group."""
        pid = self.process.pid
        try:
            children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        except FileNotFoundError:
            return  # it has ended
        for child in children:  # the one child is, or becomes, a session leader: its number names its group
            try:
                os.killpg(int(child), number)
            except ProcessLookupError:
                os.kill(int(child), number)


class Plain:
    """An instance without namespaces: processes of this computer under a supervisor.

    Parameters
    ----------
    place : Place
    """

    def __init__(self, place: Place):
        self.place = place
        self.practice_inside = str(place.practice)
        self.supervised: set[Supervised] = set()

    def inside(self, path: str) -> str:
        """Return what processes of the instance call a path in the instance's folder."""
        return str(self.place.folder / path)

    async def start(self) -> None:
        """There is nothing to make before the first command."""

    async def terminal(self) -> Terminal:
        """Open one of this computer's terminals."""
        master, slave = os.openpty()
        return Terminal(master, slave, os.ttyname(slave))

    async def spawn(
        self,
        argv: list[str],
        *,
        env: dict[str, str],
        stdin: int,
        stdout: int,
        stderr: int,
        tty: bool = False,
        root: bool = False,
    ) -> Supervised:
        """Run a command in the home directory; see `Namespaces.spawn`. There is no root here."""
        if root:
            raise NoPlace("without namespaces nothing runs as root")
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        spec = {
            "control": theirs.fileno(),
            "uid": practice_uid(),
            "home": self.inside(f"home/{self.place.user}"),
            "tty": tty,
            "argv": [*seatbelt(self.place), *argv],
            "marker": self.place.marker,
        }
        with theirs:
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-I", str(HERE / "supervisor.py"), json.dumps(spec),
                stdin=stdin, stdout=stdout, stderr=stderr, start_new_session=True, pass_fds=[theirs.fileno()],
                env={**env, "AWSLABS_PRACTICE": self.place.marker},
            )  # fmt: skip
        supervised = Supervised(process, ours)
        self.supervised = {each for each in self.supervised if each.process.returncode is None}
        self.supervised.add(supervised)
        return supervised

    async def end(self) -> None:
        """End every process of the instance: each supervisor ends what it holds, then itself."""
        for supervised in self.supervised:
            supervised.let_go()
        for supervised in self.supervised:
            await supervised.process.wait()
        self.supervised = set()


# What may be done in the student's home: nothing, but with the instance's own files and the Python in use. A
# later line of a profile wins; what lies outside of the home stays as it is.
SEATBELT = """(version 1)
(allow default)
(deny file-read-data file-write* (subpath (param "HOME")))
(allow file-read-data file-write* (subpath (param "FOLDER")))
"""


def seatbelt(place: Place) -> list[str]:
    """What keeps a command out of the home on macOS, if AWSLABS_SEATBELT=1 asks for it; to be put before it.

    It was written from what is known of Apple's sandbox-exec and was not seen to run: so nobody gets it
    unasked, and `why_no_namespaces` says as before that there is no wall.
    """
    if sys.platform != "darwin" or os.environ.get("AWSLABS_SEATBELT") != "1":
        return []
    readable = [str(place.practice), str(HERE.parent), *interpreter_folders()]
    given = {"HOME": str(Path.home()), "FOLDER": str(place.folder)}
    given |= {f"READ{number}": path for number, path in enumerate(readable)}
    rules = [f'(allow file-read-data (subpath (param "READ{number}")))' for number in range(len(readable))]
    options = [word for name, path in given.items() for word in ("-D", f"{name}={os.path.realpath(path)}")]
    return ["/usr/bin/sandbox-exec", *options, "-p", SEATBELT + "\n".join(rules)]


class Supervised:
    """A command held by a `supervisor.py`, which outlives it while something it started still runs."""

    def __init__(self, process: asyncio.subprocess.Process, control: socket.socket):
        self.process = process
        self.control = control
        self.status: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self.watching = asyncio.ensure_future(self.watch())

    async def watch(self) -> None:
        """Take the raw wait status that the supervisor sends, then wait until the supervisor itself goes."""
        said = b""
        with contextlib.suppress(ConnectionError):  # it went without reading the last signal
            while more := await asyncio.get_running_loop().sock_recv(self.control, 64):
                said += more
                if said.endswith(b"\n"):
                    self.status.set_result(os.waitstatus_to_exitcode(int(said)))
        self.control.close()
        if not self.status.done():  # killed, and the command with it
            self.status.set_result(-signal.SIGKILL)

    async def wait(self) -> int:
        """Return the exit status; negative: minus the signal that ended it."""
        return await asyncio.shield(self.status)

    def signal(self, number: int) -> None:
        """Send a signal to the command and what shares its process group."""
        with contextlib.suppress(OSError):  # it has just ended
            self.control.send(f"{number}\n".encode())

    def let_go(self) -> None:
        """Close the control channel: the supervisor takes it as the order to end everything."""
        with contextlib.suppress(OSError):  # it has gone already
            self.control.shutdown(socket.SHUT_RDWR)


def tool(name: str) -> str:
    """Return the path of a program of util-linux, which is the same inside."""
    path = shutil.which(name, path="/usr/bin:/bin:/usr/sbin:/sbin")
    if path is None:
        raise NoPlace(f"there is no {name} (util-linux) on this computer")
    return path


def interpreter_folders() -> list[str]:
    """Return the folders of this Python and its virtual environment that the system's folders do not hold.

    And those of the links between the two: a virtual environment links to the name under which its Python was
    called, such as ~/.local/bin/python3.12, and that is a link itself.
    """
    folders = [os.path.realpath(path) for path in (sys.base_prefix, sys.prefix)]
    link = sys.executable
    while os.path.islink(link):
        link = os.path.abspath(os.path.join(os.path.dirname(link), os.readlink(link)))
        if not any(Path(link).is_relative_to(folder) for folder in folders):
            folders.append(os.path.dirname(link))
    return [
        path
        for path in dict.fromkeys(folders)
        if not Path.home().is_relative_to(path) and not f"{path}/".startswith(("/bin/", "/opt/", "/usr/"))
    ]


def python_with_packages(ground: Ground) -> list[str]:
    """Return the Python of all that runs: this one, with what its virtual environment has.

    A root server without namespaces, whose Python other users cannot reach, has only the system's to give.
    """
    prefix, name = Path(sys.prefix).resolve(), Path(sys.executable).name
    inside = prefix / "bin" / name
    path = inside if inside.exists() else Path(sys.executable)
    away = practice_uid() is not None and not open_to_all(path.resolve())
    if ground.why_plain and away:
        path = Path(ground.python[0])
    return [str(path), "-I"]


async def lines_of(fd: int) -> AsyncGenerator[str, None]:
    """Yield the lines that come from a pipe until its end; close it."""
    reader = asyncio.StreamReader(limit=LONGEST_LINE)
    transport, _ = await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(fd, "rb", 0)
    )
    rest = b""
    try:
        while data := await reader.read(LONGEST_LINE):
            *lines, rest = (rest + data).split(b"\n")
            if len(rest) > LONGEST_LINE:  # a stream without line ends
                lines, rest = [*lines, rest], b""
            for line in lines:
                yield line.decode(errors="replace").rstrip("\r")
        if rest:
            yield rest.decode(errors="replace")
    finally:
        transport.close()


async def find_ground(directory: Path) -> Ground:
    """Find out what this computer offers.

    Parameters
    ----------
    directory : Path
        Of the practice run.
    """
    plain = await why_no_namespaces(directory)
    base, python = directory, PYTHON
    if plain and practice_uid() is not None:
        # Without mounts, the user whom a root server uses must come by the ordinary way, which often
        # leads through /root: then the folder is elsewhere, and the system's Python does.
        if not open_to_all(directory):
            base = Path(tempfile.mkdtemp(prefix="awslabs-practice-"))
            base.chmod(0o711)
            (base / "instances").mkdir()
        system = shutil.which("python3", path=SYSTEM_PATH)
        if system and not open_to_all(Path(PYTHON[0])):
            python = [system, *PYTHON[1:]]
    return Ground(plain, base / "instances", base / "practice", python)


def open_to_all(path: Path) -> bool:
    """Say whether every user may go to a path."""
    return all(folder.stat().st_mode & 0o001 for folder in (path, *path.parents))


async def why_no_namespaces(directory: Path) -> str:
    """Try namespaces for real; return why they cannot be had, or "" when they can.

    Parameters
    ----------
    directory : Path
        Where instances will live: a folder is made and removed there.
    """
    if sys.platform != "linux":
        return "this operating system has no namespaces"
    scratch = Path(tempfile.mkdtemp(prefix="try-", dir=directory))
    folder, practice = scratch / "instance", scratch / "practice"
    (practice / "bin").mkdir(parents=True)
    folder.mkdir()
    own(folder)
    trial = Namespaces(Place(folder, practice, "probe", "probe", "probe"))
    try:
        said, say = os.pipe()
        try:
            process = await trial.spawn(
                ["/bin/sh", "-c", "id -u"], env={}, stdin=say, stdout=say, stderr=say, root=True
            )
        finally:
            os.close(say)
        lines = [line async for line in lines_of(said)]
        await process.wait()
        return "" if lines == ["0"] else (lines[-1] if lines else "nothing runs inside them")
    except (NoPlace, OSError) as error:
        return str(error)
    finally:
        await trial.end()
        shutil.rmtree(scratch)


def make_folders(folder: Path, modes: dict[str, int]) -> None:
    """Make folders for practice processes: those in `folder` by their names, itself by an empty one."""
    for path, mode in ((folder / name, mode) for name, mode in modes.items()):
        path.mkdir()
        path.chmod(mode)
        own(path)


def own(path: Path) -> None:
    """Give a file or folder to the user of practice processes."""
    uid = practice_uid()
    if uid is not None:
        os.chown(path, uid, uid, follow_symlinks=False)
