"""What Lambda functions run in: the fork server of one account, and its children, which run handlers.

Started by `environments.py` with a socket as standard input, under the isolation of practice instances:

    python -I runtime.py

The fork server imports boto3 once and waits for orders. For each it forks: a child is one execution
environment of one function, imports the handler and answers events until it is killed. So a cold
start costs a few milliseconds, and the memory of boto3 is shared.

    server   <- {"fork": NUMBER, ...} with two descriptors: the channel for events, the pipe for output
             <- {"kill": NUMBER}
             -> {"died": NUMBER, "status": WAIT_STATUS}
    child    -> {"ready": true, "init_ms": 12.3, ...}
             <- {"request_id": ..., ...} + event
             -> {"ok": true, "memory_bytes": 50000000} + answer

A message is two lengths (4 bytes each, big-endian), a JSON header and a body. Whatever a function
prints goes through the pipe; a line break inside one record travels as a carriage return.

Standard library and boto3 only, and nothing of awslabs: it runs where that cannot be seen.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import importlib
import json
import logging
import os
import re
import resource
import select
import signal
import socket
import struct
import sys
import time
import traceback
from typing import Any, NoReturn

HEAD = struct.Struct(">II")
PR_SET_CHILD_SUBREAPER = 36  # <sys/prctl.h>
# From <sched.h>, <sys/mount.h>, <linux/capability.h>.
CLONE_NEWNS, CLONE_NEWIPC, CLONE_NEWUSER = 0x00020000, 0x08000000, 0x10000000
MS_NOSUID, MS_NODEV, MS_BIND, MS_REC = 2, 4, 4096, 16384
CAPABILITY_VERSION = 0x20080522
# Memory with which a function has one processor; with less it has less of one, in proportion.
# Source: Lambda developer guide, "Configure Lambda function memory".
MB_PER_VCPU = 1769
# Bytes of an answer, as AWS measures them (Lambda quotas: 6 MB and some room for its own wrapping).
LARGEST_ANSWER = 6_291_556
TOO_LARGE = "Function.ResponseSizeTooLarge"


def send(channel: socket.socket, header: dict[str, Any], body: bytes = b"") -> None:
    """Send one message."""
    head = json.dumps(header).encode()
    channel.sendall(HEAD.pack(len(head), len(body)) + head + body)


def receive(channel: socket.socket) -> tuple[dict[str, Any], bytes, list[int]] | None:
    """Wait for one message: header, body, descriptors that came along. None: the other end is gone."""
    first, fds, _, _ = socket.recv_fds(channel, HEAD.size, 2)
    if not first:
        return None
    sizes = HEAD.unpack(first + exactly(channel, HEAD.size - len(first)))
    head, body = (exactly(channel, size) for size in sizes)
    return json.loads(head), body, list(fds)


def exactly(channel: socket.socket, size: int) -> bytes:
    """Read so many bytes."""
    data = bytearray()
    while len(data) < size:
        part = channel.recv(size - len(data))
        if not part:
            raise ConnectionError("the practice cloud is gone")
        data += part
    return bytes(data)


# --- the fork server ----------------------------------------------------------------------------------


class ForkServerLoop:
    """The parent of all execution environments of an account."""

    def __init__(self, control: socket.socket) -> None:
        self.control = control
        self.children: dict[int, int] = {}  # process id -> number of the environment

    def run(self) -> None:
        """Obey until the practice cloud hangs up."""
        woken, wake = os.pipe()
        for fd in (woken, wake):
            os.set_blocking(fd, False)
        signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda number, frame: None)
        while True:
            ready, _, _ = select.select([self.control.fileno(), woken], [], [])
            if woken in ready:
                os.read(woken, 512)
                self.reap()
            if self.control.fileno() in ready:
                message = receive(self.control)
                if message is None:
                    return
                order, _, fds = message
                if "fork" in order:
                    self.fork(order, *fds)
                else:
                    self.kill(order["kill"])

    def fork(self, order: dict[str, Any], channel: int, output: int) -> None:
        """Fork an execution environment."""
        pid = os.fork()
        if pid == 0:
            status = 1
            try:
                self.control.close()
                become_environment(order, channel, output)
            except SystemExit as end:
                status = end.code if isinstance(end.code, int) else int(end.code is not None)
            except BaseException:
                traceback.print_exc()
            finally:
                os._exit(status & 0xFF)
        os.close(channel)
        os.close(output)
        self.children[pid] = order["fork"]

    def reap(self) -> None:
        """Reap what has ended, and report environments."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            number = self.children.pop(pid, None)
            if number is not None:
                send(self.control, {"died": number, "status": os.waitstatus_to_exitcode(status)})

    def kill(self, number: int) -> None:
        """Kill an environment with all that descends from it, again until there is none."""
        doomed = {pid for pid, each in self.children.items() if each == number}
        while doomed:
            parents = parents_of_all()
            for _ in parents:
                more = {pid for pid, parent in parents.items() if parent in doomed} - doomed
                if not more:
                    break
                doomed |= more
            for pid in doomed:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            left = parents_of_all()
            doomed = {pid for pid in doomed if pid in left}
        self.reap()  # only now does the practice cloud hear that it has died


def parents_of_all() -> dict[int, int]:
    """Process id to its parent's, of all processes here that are not dead."""
    if sys.platform != "linux":
        with os.popen("ps -axo pid=,ppid=,stat=") as listed:
            rows = [line.split() for line in listed]
        return {int(pid): int(parent) for pid, parent, state in rows if "Z" not in state}
    found = {}
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{name}/stat", encoding="ascii", errors="replace") as file:
                state, parent = file.read().rpartition(")")[2].split()[:2]
        except OSError:
            continue  # ended between the two looks
        if state != "Z":
            found[int(name)] = int(parent)
    return found


# --- an execution environment -------------------------------------------------------------------------


class Context:
    """The second argument of a handler. Source: Lambda developer guide, "Python context object"."""

    def __init__(self, header: dict[str, Any]) -> None:
        self.function_name = os.environ["AWS_LAMBDA_FUNCTION_NAME"]
        self.function_version = os.environ["AWS_LAMBDA_FUNCTION_VERSION"]
        self.memory_limit_in_mb = os.environ["AWS_LAMBDA_FUNCTION_MEMORY_SIZE"]
        self.log_group_name = os.environ["AWS_LAMBDA_LOG_GROUP_NAME"]
        self.log_stream_name = os.environ["AWS_LAMBDA_LOG_STREAM_NAME"]
        self.aws_request_id = header["request_id"]
        self.invoked_function_arn = header["arn"]
        self.client_context = header["client_context"]
        self.identity = None
        self._deadline = header["deadline"]

    def get_remaining_time_in_millis(self) -> int:
        return max(0, int(1000 * (self._deadline - time.time())))


class LogFormat(logging.Formatter):
    """AWS's: level, time, request and message with tabs between; one record however many lines."""

    request_id = ""

    def format(self, record: logging.LogRecord) -> str:
        text = super().format(record)
        at = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        line = f"[{record.levelname}]\t{at}.{int(record.msecs):03d}Z\t{LogFormat.request_id}\t{text}"
        return line.replace("\n", "\r")


class Failure(Exception):
    """What AWS answers in place of a function that cannot answer."""

    def __init__(self, kind: str, message: str, trace: list[str] | None = None) -> None:
        super().__init__(message)
        self.kind, self.message, self.trace = kind, message, trace or []

    def show(self, request_id: str) -> bytes:
        answer: dict[str, Any] = {"errorMessage": self.message, "errorType": self.kind}
        if self.kind != TOO_LARGE:
            answer |= {"requestId": request_id, "stackTrace": self.trace}
        return json.dumps(answer).encode()


def become_environment(order: dict[str, Any], channel_fd: int, output: int) -> NoReturn:
    """Become the execution environment that an order describes."""
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    os.setsid()
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.dup2(output, 1)
    os.dup2(output, 2)
    for fd in (nothing, output):
        os.close(fd)
    # By line, so that what was printed shows when the function ends badly.
    how: dict[str, Any] = {"encoding": "utf-8", "errors": "backslashreplace", "buffering": 1}
    sys.stdout, sys.stderr = (open(fd, "w", closefd=False, **how) for fd in (1, 2))  # noqa: SIM115
    channel = socket.socket(fileno=channel_fd)
    os.environ.clear()
    os.environ.update(order["environment"])
    time.tzset()
    if order["own"]:
        part(order["own"])
    os.chdir(order["task"])
    sys.path.insert(0, order["task"])
    sys.argv[:] = ["bootstrap"]
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(LogFormat())
    logging.getLogger().addHandler(handler)
    began = time.perf_counter()
    function, problem = None, None
    try:
        function = find_handler(order["handler"])
    except Failure as failure:
        problem = failure
        tell(failure)
    sys.stdout.flush()
    share = int(order["environment"]["AWS_LAMBDA_FUNCTION_MEMORY_SIZE"]) / MB_PER_VCPU
    send(channel, {"ready": True, "init_ms": 1000 * (time.perf_counter() - began), "pid": os.getpid()})
    while True:
        message = receive(channel)
        if message is None:
            os._exit(0)
        header, event, _ = message
        os.environ["_X_AMZN_TRACE_ID"] = header["trace_id"]
        LogFormat.request_id = header["request_id"]
        began, used = time.monotonic(), processor_time()
        try:
            if problem is not None:
                raise problem
            answer, ok = handle(function, header, event), True
        except Failure as failure:
            tell(failure)
            answer, ok = failure.show("" if problem is not None else header["request_id"]), False
        with contextlib.suppress(ValueError, OSError):  # a function may close them
            sys.stdout.flush()
            sys.stderr.flush()
        # So long would it have worked on its own share of a processor; waiting for others costs nothing more.
        work = (processor_time() - used) / share
        time.sleep(max(0.0, work - (time.monotonic() - began)))
        most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        unit = 1 if sys.platform == "darwin" else 1024
        send(channel, {"ok": ok, "memory_bytes": most * unit}, answer)


def part(own: dict[str, str]) -> None:
    """Part this environment from the account's others: folders, memory that is shared, what /proc tells.

    Parameters
    ----------
    own : dict
        A folder by the name that every environment knows it by, and which folder that is: ``/tmp``,
        ``/var/task``. The others have no name any more.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    uid, gid = os.getuid(), os.getgid()

    def check(result: int, what: str) -> None:
        if result != 0:
            raise OSError(ctypes.get_errno(), what)

    # Who is in another user namespace reads nothing of a process: environment, memory, open files.
    check(libc.unshare(CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWIPC), "unshare")
    for name, text in (("setgroups", "deny"), ("uid_map", f"{uid} {uid} 1"), ("gid_map", f"{gid} {gid} 1")):
        with open(f"/proc/self/{name}", "w", encoding="ascii") as file:
            file.write(text)
    python = {os.path.realpath(folder) for folder in (sys.prefix, sys.base_prefix)}
    for target, source in own.items():
        # A Python that somebody has installed below /tmp must be there afterwards, too.
        hidden = {path: os.open(path, os.O_PATH) for path in python if path.startswith(f"{target}/")}
        check(libc.mount(source.encode(), target.encode(), None, ctypes.c_ulong(MS_BIND), None), target)
        for path, fd in hidden.items():
            os.makedirs(path, exist_ok=True)
            same = f"/proc/self/fd/{fd}".encode()
            flags = ctypes.c_ulong(MS_BIND | MS_REC)
            check(libc.mount(same, path.encode(), None, flags, None), path)
            os.close(fd)
    shared, flags = b"/dev/shm", ctypes.c_ulong(MS_NOSUID | MS_NODEV)
    check(libc.mount(b"tmpfs", shared, b"tmpfs", flags, b"mode=1777"), "/dev/shm")
    # The rights to undo this go; those of a user namespace of its own would not reach these mounts.
    header, none = (ctypes.c_uint32 * 2)(CAPABILITY_VERSION, 0), (ctypes.c_uint32 * 6)()
    check(libc.capset(header, none), "capset")


def processor_time() -> float:
    """Seconds of processor that this process has used, with its children that have ended."""
    of_all = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(one.ru_utime + one.ru_stime for one in of_all)


def find_handler(name: str) -> Any:
    """Import a function by the name of its handler, ``module.function``."""
    module_name, dot, attribute = name.rpartition(".")
    if not dot:
        raise Failure("Runtime.MalformedHandlerName", f"Bad handler '{name}': not enough values to unpack")
    try:
        module = importlib.import_module(module_name.replace("/", "."))
    except ImportError as problem:
        message = f"Unable to import module '{module_name}': {problem}"
        raise Failure("Runtime.ImportModuleError", message) from problem
    except SyntaxError as problem:
        message = f"Syntax error in module '{module_name}': {problem}"
        where = f'  File "{problem.filename}" Line {problem.lineno}\n    {problem.text or ""}'
        raise Failure("Runtime.UserCodeSyntaxError", message, [where]) from problem
    except SystemExit:
        raise
    except BaseException as problem:
        raise Failure(type(problem).__name__, str(problem), frames(problem, importing=True)) from problem
    try:
        return getattr(module, attribute)
    except AttributeError as problem:
        message = f"Handler '{attribute}' missing on module '{module_name}'"
        raise Failure("Runtime.HandlerNotFound", message) from problem


def handle(function: Any, header: dict[str, Any], event: bytes) -> bytes:
    """One event through the handler; the answer as JSON."""
    try:
        answer = function(json.loads(event or b"{}"), Context(header))
    except SystemExit:
        raise
    except BaseException as problem:
        raise Failure(type(problem).__name__, str(problem), frames(problem)) from problem
    try:
        text = json.dumps(answer, ensure_ascii=False).encode()
    except (TypeError, ValueError) as problem:
        raise Failure("Runtime.MarshalError", f"Unable to marshal response: {problem}") from problem
    if len(text) > LARGEST_ANSWER:
        message = f"Response payload size exceeded maximum allowed payload size ({LARGEST_ANSWER} bytes)."
        raise Failure(TOO_LARGE, message)
    return text


def frames(problem: BaseException, importing: bool = False) -> list[str]:
    """The stack of an exception, without this file's part of it, and, but of an import, the importer's."""
    found = [each for each in traceback.extract_tb(problem.__traceback__) if each.filename != __file__]
    importers = ("<frozen importlib", str(importlib.__file__))
    return traceback.format_list(
        [each for each in found if importing or not each.filename.startswith(importers)]
    )


def tell(failure: Failure) -> None:
    """Write a failure to the log as AWS does: one record, whose lines begin with spaces that do not break."""
    trace = "".join(["\nTraceback (most recent call last):\n", *failure.trace]) if failure.trace else ""
    trace = re.sub("(?m)^ +", lambda spaces: "\N{NO-BREAK SPACE}" * len(spaces[0]), trace)
    text = f"[ERROR] {failure.kind}: {failure.message}{trace}".rstrip("\n").replace("\n", "\r")
    os.write(1, text.encode() + b"\n")


def main() -> None:
    """Import what functions want, then obey."""
    control = socket.socket(fileno=os.dup(0))
    control.set_inheritable(False)
    nothing = os.open(os.devnull, os.O_RDWR)
    for fd in (0, 1):
        os.dup2(nothing, fd)
    if sys.platform == "linux":  # what a function leaves behind comes back here, and ends with this process
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    with contextlib.suppress(ImportError):  # as in AWS's runtime, boto3 is there for whoever wants it
        importlib.import_module("boto3")
    os.umask(0o022)
    gc.collect()
    gc.freeze()  # children share these pages until they write to them
    send(control, {"waiting": True})
    ForkServerLoop(control).run()


if __name__ == "__main__":
    main()
