"""Holds one session of a practice instance where there are no namespaces, and ends all it started.

Run by `isolation.py`: `python -I supervisor.py '{"control": 7, "argv": ["/bin/bash", "-c", "..."], ...}'`.
The control socket's other end is the server's. Over it come signals for the command (a number and
a newline) and goes the command's raw wait status, once. When it closes, because the instance
stops or because the server was killed, everything that descends from this process is killed. On
Linux nothing can leave: this process is the subreaper of its descendants, so daemons come back to
it as children. Elsewhere what detached itself is found by session and by the marker in its environment.

Standard library and psutil only, and nothing of awslabs: it starts with every session.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import json
import os
import select
import signal
import socket
import sys
import termios
import time
from typing import Any

import psutil

PR_SET_CHILD_SUBREAPER = 36  # <sys/prctl.h>


def start(spec: dict[str, Any]) -> int:
    """Fork the command as the leader of a session of its own; return its process id."""
    pid = os.fork()
    if pid:
        return pid
    try:
        os.setsid()
        if spec["tty"]:
            fcntl.ioctl(0, termios.TIOCSCTTY, 0)
        if spec["uid"] is not None:
            os.setgroups([])
            os.setgid(spec["uid"])
            os.setuid(spec["uid"])
        os.chdir(spec["home"])
        os.execv(spec["argv"][0], spec["argv"])
    except OSError as error:
        os.write(2, f"practice instance: {error}\n".encode())
        if spec["uid"] is not None:
            os.write(2, b"The practice cloud runs as root, its sessions as a user who cannot get there.\n")
            os.write(2, b"Start it as an ordinary user, or with AWSLABS_HOME where all users may enter.\n")
    finally:
        os._exit(126)


def descendants(session: int, marker: str) -> set[psutil.Process]:
    """Every process that came of this one; where there is no subreaper, also what has left its parents."""
    found = set(psutil.Process().children(recursive=True))
    if sys.platform != "linux":
        for process in psutil.process_iter():
            with contextlib.suppress(OSError, psutil.Error):  # ended, or another user's
                if os.getsid(process.pid) == session or process.environ().get("AWSLABS_PRACTICE") == marker:
                    found.add(process)
    return found - {psutil.Process()}


def kill_all(session: int, marker: str) -> None:
    """Kill every descendant, again until there is none: one may fork while another is killed.

    All are stopped before the first is killed: a shell that saw its child fall would write so into the log.
    """
    while doomed := descendants(session, marker):
        for number in (signal.SIGSTOP, signal.SIGKILL):
            for process in doomed:
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.send_signal(number)
        reap()
        time.sleep(0.005)


def reap() -> dict[int, int]:
    """Reap the children that have ended; return their raw wait statuses."""
    ended: dict[int, int] = {}
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return ended
        if pid == 0:
            return ended
        ended[pid] = status


def send(command: int, number: int) -> None:
    """Send a signal to the command's process group; it leads one as soon as it is a session leader."""
    try:
        os.killpg(command, number)
    except ProcessLookupError:
        os.kill(command, number)


def main() -> None:
    """Start the command, pass signals and its end on, and stay while anything it started runs."""
    spec = json.loads(sys.argv[1])
    control = socket.socket(fileno=spec["control"])
    control.set_inheritable(False)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    woken, wake = os.pipe()
    os.set_blocking(wake, False)
    signal.set_wakeup_fd(wake)
    signal.signal(signal.SIGCHLD, lambda number, frame: None)
    command = start(spec)
    nowhere = os.open("/dev/null", os.O_RDWR)
    for fd in (0, 1, 2):  # or the session's pipes would never be seen to close
        os.dup2(nowhere, fd)
    reported = False
    while True:
        ready, _, _ = select.select([control.fileno(), woken], [], [])
        if control.fileno() in ready:
            orders = control.recv(512)
            if not orders:
                kill_all(command, spec["marker"])
                return
            if not reported:
                for number in orders.split():
                    send(command, int(number))
        elif woken in ready:
            os.read(woken, 512)
            ended = reap()
            if command in ended:
                control.send(f"{ended[command]}\n".encode())
                reported = True
            if reported and not psutil.Process().children():
                return


if __name__ == "__main__":
    main()
