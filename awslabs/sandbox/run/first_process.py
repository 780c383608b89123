"""The first process of a practice instance: builds the instance's view of this computer, then waits.

Run by `isolation.py` as PID 1 of fresh mount, PID, UTS and IPC namespaces, which `unshare` has made:

    python -I -S first_process.py '{"root": "...", "user": "ec2-user", "hostname": "ip-10-10-0-5", ...}'

The instance's own folder becomes `/`. Of this computer only the system's directories are laid into
it, read-only with all that is mounted below them; whatever else there is (home directories, other
instances, sockets under /run, terminals, control groups) has no name in there. Standard input is a
pipe whose other end only the practice cloud holds. When that end closes, for whatever reason, this
process ends, and the kernel ends every process of the instance with it.

The server may be real root. Then the mounts are made by real root, and before anything else runs
this process becomes an unprivileged user who is root only in a user namespace of its own. Paths
inside the instance's folder may have been prepared by a hostile hand before a reboot (a symbolic
link where a mount point was): `place` follows none.

Standard library only, and nothing of awslabs: it runs without `site`.
"""

from __future__ import annotations

import ctypes
import errno
import json
import os
import re
import shutil
import signal
import socket
import stat
import sys
from typing import Any

# What of this computer is visible inside: programs and their settings.
SYSTEM = ("bin", "etc", "lib", "lib32", "lib64", "libx32", "opt", "sbin", "usr")

# Of /dev: what every program may have, and a GPU. Terminals are the instance's own.
DEVICES = re.compile(r"full|null|random|tty|urandom|zero|nvidia(\d+|ctl|-uvm|-uvm-tools|-modeset)")

# Of /proc: what tells of the whole computer or changes it, also where file modes would let nobody in.
# Source: the OCI default spec of containerd, `maskedPaths` and `readonlyPaths`.
HIDDEN = (
    "acpi",
    "asound",
    "kcore",
    "keys",
    "latency_stats",
    "sched_debug",
    "scsi",
    "timer_list",
    "timer_stats",
)
FIXED = ("bus", "fs", "irq", "sys", "sysrq-trigger")

# From <sys/mount.h>, <sched.h>, <sys/prctl.h>: the same on every Linux architecture.
MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_REMOUNT = 1, 2, 4, 8, 32
MS_NOATIME, MS_NODIRATIME, MS_BIND, MS_REC, MS_RELATIME = 1024, 2048, 4096, 16384, 1 << 21
ST_RELATIME = 4096  # the one flag here that statvfs numbers otherwise than mount
MNT_DETACH = 2
CLONE_NEWUSER = 0x10000000
PR_SET_DUMPABLE = 4
SYS_MOUNT_SETATTR = 442  # one number on every architecture, since Linux 5.12
AT_FDCWD, AT_RECURSIVE = -100, 0x8000

libc = ctypes.CDLL(None, use_errno=True)


def check(result: int, what: str) -> None:
    """Raise the C library's error, with what was tried."""
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


def mount(source: str, target: str, kind: str = "", flags: int = 0, data: str = "") -> None:
    """Call mount(2)."""
    arguments = [os.fsencode(text) for text in (source, target, kind, data)]
    result = libc.mount(arguments[0], arguments[1], arguments[2], ctypes.c_ulong(flags), arguments[3])
    check(result, f"mount {source or kind} on {target}")


def bind(source: str, target: str, *, readonly: bool = True) -> None:
    """Let `target` show what `source` holds; read-only binds also lose set-user-id programs."""
    mount(source, target, flags=MS_BIND | MS_REC)
    if readonly:
        close(target)


def close(target: str) -> None:
    """Make a mount and all mounts below it read-only, without set-user-id programs."""
    wanted = (ctypes.c_uint64 * 4)(MS_RDONLY | MS_NOSUID)  # struct mount_attr: what is to be set comes first
    path, size = os.fsencode(target), ctypes.sizeof(wanted)
    if libc.syscall(SYS_MOUNT_SETATTR, AT_FDCWD, path, AT_RECURSIVE, wanted, size) == 0:
        return
    if ctypes.get_errno() not in (errno.ENOSYS, errno.EPERM):  # the latter: a filter does not know it
        check(-1, f"mount_setattr of {target}")
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as file:
        points = [re.sub(r"\\(\d{3})", lambda code: chr(int(code[1], 8)), line.split()[4]) for line in file]
    for point in points:
        if f"{point}/".startswith(f"{target}/"):
            # In a user namespace the kernel refuses a remount that drops a flag it already has.
            had = os.statvfs(point).f_flag
            kept = had & (MS_NODEV | MS_NOEXEC | MS_NOATIME | MS_NODIRATIME)
            kept |= MS_RELATIME if had & ST_RELATIME else 0
            mount("", point, flags=MS_REMOUNT | MS_BIND | MS_RDONLY | MS_NOSUID | kept)


def place(root: str, path: str) -> str:
    """Make the directory `path` below `root`, replacing links and files in its way; return its real path."""
    at = root
    for part in path.strip("/").split("/"):
        at = os.path.join(at, part)
        if os.path.lexists(at) and not stat.S_ISDIR(os.lstat(at).st_mode):
            os.unlink(at)
        if not os.path.lexists(at):
            os.mkdir(at, 0o755)
    return at


def lay_out(root: str, visible: list[Any], practice: str, fixed: list[Any]) -> None:
    """Lay the visible parts of this computer into the instance's folder."""
    bind(root, root, readonly=False)  # pivot_root wants a mount point
    for name in SYSTEM:
        if os.path.islink("/" + name):  # /bin -> usr/bin
            target = os.path.join(root, name)
            if os.path.isdir(target) and not os.path.islink(target):
                shutil.rmtree(target)
            elif os.path.lexists(target):
                os.unlink(target)
            os.symlink(os.readlink("/" + name), target)
        elif os.path.isdir("/" + name):
            bind("/" + name, place(root, name))
    for path in visible:  # the Python that runs sftp.py and the shims, where it is not the system's
        bind(path, place(root, path))
    bind(practice, place(root, "practice"))
    for path in (os.path.join(root, path) for path in fixed):
        bind(path, path)
    mount("tmpfs", place(root, "run"), "tmpfs", MS_NOSUID | MS_NODEV, "mode=755")
    lay_out_devices(place(root, "dev"))
    lay_out_kernel(place(root, "sys"), place(root, "proc"), os.path.join(root, "dev/null"))


def lay_out_devices(dev: str) -> None:
    """Make a /dev with terminals of its own: this computer's have other people's keyboards behind them."""
    mount("tmpfs", dev, "tmpfs", MS_NOSUID | MS_NOEXEC, "mode=755")
    for name in filter(DEVICES.fullmatch, os.listdir("/dev")):
        with open(os.path.join(dev, name), "x"):
            bind("/dev/" + name, os.path.join(dev, name), readonly=False)
    for name, kind, data in (
        ("pts", "devpts", "newinstance,ptmxmode=0666,mode=600"),
        ("shm", "tmpfs", "mode=1777"),
    ):
        os.mkdir(os.path.join(dev, name))
        mount(kind, os.path.join(dev, name), kind, MS_NOSUID | MS_NOEXEC, data)
    links = {"ptmx": "pts/ptmx", "fd": "/proc/self/fd"}
    links |= {name: f"/proc/self/fd/{number}" for number, name in enumerate(("stdin", "stdout", "stderr"))}
    for name, target in links.items():
        os.symlink(target, os.path.join(dev, name))
    mount("", dev, flags=MS_REMOUNT | MS_BIND | MS_RDONLY | MS_NOSUID | MS_NOEXEC)


def lay_out_kernel(sys_: str, proc: str, null: str) -> None:
    """Make a /sys that tells of processors alone, without control groups, and a /proc of these processes."""
    mount("tmpfs", sys_, "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, "mode=755")
    if os.path.isdir("/sys/devices/system"):
        bind("/sys/devices/system", place(sys_, "devices/system"))
    mount("", sys_, flags=MS_REMOUNT | MS_BIND | MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC)
    mount("proc", proc, "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC)
    for path in (os.path.join(proc, name) for name in FIXED):
        if os.path.exists(path):
            bind(path, path)
    for path in (os.path.join(proc, name) for name in HIDDEN):
        if os.path.isdir(path):
            mount("tmpfs", path, "tmpfs", MS_RDONLY)
        elif os.path.exists(path):
            bind(null, path)


def name_resolution() -> tuple[str, bytes] | None:
    """Where /etc/resolv.conf really is, when that place is not visible inside, and what it says."""
    path = os.path.realpath("/etc/resolv.conf")
    if path.startswith("/etc/") or not os.path.isfile(path):
        return None
    with open(path, "rb") as file:
        return path, file.read()


def enter(root: str) -> None:
    """Make `root` the root directory, and this computer's own one unreachable."""
    os.chdir(root)
    check(libc.pivot_root(b".", b"."), "pivot_root")
    check(libc.umount2(b".", MNT_DETACH), "umount of the old root")
    os.chdir("/")


def settings(user: str, hostname: str, shell: str) -> dict[str, str]:
    """The instance's own files in /etc."""
    name = hostname.partition(".")[0]
    names = hostname if name == hostname else f"{hostname} {name}"
    return {
        "passwd": f"root:x:0:0:root:/root:{shell}\n"
        f"{user}:x:1000:1000:EC2 Default User:/home/{user}:{shell}\n"
        "nobody:x:65534:65534:nobody:/:/usr/sbin/nologin\n",
        "group": f"root:x:0:\n{user}:x:1000:\nnogroup:x:65534:\n",
        "hostname": f"{hostname}\n",
        "hosts": f"127.0.0.1 localhost\n127.0.0.1 {names}\n::1 localhost ip6-localhost\n",
        # A login shell reads it last: this computer's own one would put its PATH before the shims.
        "profile": "PATH=/practice/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\n"
        "export PATH\numask 022\n[ -z \"$BASH\" ] || PS1='[\\u@\\h \\W]\\$ '\n",
    }


def cover_system_files(user: str, hostname: str, shell: str, resolver: tuple[str, bytes] | None) -> None:
    """Cover files of this computer with the instance's own, and real commands with their shims."""
    own = place("/run", "practice/etc")
    for name, text in settings(user, hostname, shell).items():
        with open(os.path.join(own, name), "w", encoding="utf-8") as file:
            file.write(text)
        if os.path.isfile("/etc/" + name):
            bind(os.path.join(own, name), "/etc/" + name, readonly=False)
    # Units of the instance's own, which stay when it is off; those of this computer are none of its business.
    if os.path.isdir("/etc/systemd/system"):
        bind(place("/", "var/practice/system"), "/etc/systemd/system", readonly=False)
    if resolver:
        path, content = resolver
        with open(os.path.join(place("/", os.path.dirname(path)), os.path.basename(path)), "wb") as file:
            file.write(content)
    for name in os.listdir("/practice/bin"):
        if name == "python3":  # it leads to the real one, which may have this very name
            continue
        for folder in ("/usr/sbin", "/usr/bin", "/sbin", "/bin"):
            if os.path.isfile(os.path.join(folder, name)):  # /sbin/shutdown may be a link to systemctl
                bind("/practice/bin/" + name, os.path.join(folder, name), readonly=False)


def give_up_root(uid: int) -> None:
    """Become the unprivileged user `uid`, who is root in a user namespace of its own only."""
    os.setgroups([])
    os.setresgid(uid, uid, uid)
    os.setresuid(uid, uid, uid)
    # The kernel hides /proc/self from a process that changed its user; the maps are written there.
    check(libc.prctl(PR_SET_DUMPABLE, 1, 0, 0, 0), "prctl")
    check(libc.unshare(CLONE_NEWUSER), "unshare")
    for name, text in (("setgroups", "deny"), ("uid_map", f"0 {uid} 1"), ("gid_map", f"0 {uid} 1")):
        with open("/proc/self/" + name, "w", encoding="ascii") as file:
            file.write(text)


def main() -> None:
    """Build the instance, say under which process id it can be entered, wait for the pipe to close."""
    spec = json.loads(sys.argv[1])
    pid = os.readlink("/proc/self")  # still the outside's /proc, so the outside's number
    resolver = name_resolution()
    os.umask(0o022)
    lay_out(spec["root"], spec["visible"], spec["practice"], spec["fixed"])
    enter(spec["root"])
    cover_system_files(spec["user"], spec["hostname"], spec["shell"], resolver)
    socket.sethostname(spec["hostname"])
    if spec["uid"] is not None:
        give_up_root(spec["uid"])
    # Orphans of the instance become children of this process: ignoring them lets the kernel reap them.
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    os.write(1, f"ready {pid}\n".encode())
    nowhere = os.open("/dev/null", os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)
    # Waiting needs no Python: `cat` takes a hundredth of its memory, and ends when the pipe closes.
    os.execv("/bin/cat", ["cat"])


if __name__ == "__main__":
    main()
