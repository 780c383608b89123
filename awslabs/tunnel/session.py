"""Connections to a server through paramiko.

Every connection is made by `login`, so all of them are alike: the host key must be the pinned one, only our
key is offered, and a server that has fallen silent is noticed within `SILENCE_S`. paramiko alone would wait
for the kernel to give up, which takes a quarter of an hour.
"""

from __future__ import annotations

import errno
import logging
import shlex
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar, cast

import paramiko

from awslabs.errors import TimedOut, TunnelError
from awslabs.progress import poll
from awslabs.tunnel.keys import damaged, fingerprint, fingerprints, write_atomically
from awslabs.tunnel.openssh import Address

CONNECT_S = 10.0  # seconds for the TCP connection, and again for each step of the login
PROBE_S = 5.0  # seconds without traffic after which the server is asked for a sign of life
SILENCE_S = 20.0  # seconds without any byte from the server after which the connection counts as dead
WINDOW = 2 * 1024 * 1024  # bytes that a server may send ahead on one channel: paramiko's and OpenSSH's number
KEY_GRACE_S = 20.0  # seconds during which a young server may refuse our key: it may not have it yet

BROKEN = (OSError, EOFError, paramiko.SSHException)  # what paramiko raises when a connection breaks

T = TypeVar("T")

log = logging.getLogger("awslabs.tunnel")

# paramiko logs every lost connection as an error with a traceback; we say it in our own words.
packages_log = logging.getLogger("awslabs.tunnel.packages")
packages_log.addHandler(logging.NullHandler())
packages_log.propagate = False


class NoAnswer(TunnelError):
    """Nobody answers, or not to the end: worth another try."""


class KeyRefused(TunnelError):
    """The server does not let our key in."""


class HostKeyChanged(TunnelError):
    """The server shows another host key than the one we trust."""


# Connecting


@contextmanager
def connect(address: Address) -> Iterator[paramiko.SSHClient]:
    """An SSH connection for the length of a ``with`` block.

    Parameters
    ----------
    address : Address
        The server; its host key must be pinned (`wait_for_ssh`).

    Yields
    ------
    paramiko.SSHClient
        Logged in. If the server falls silent for 20 s it is closed, so nothing waits for ever.

    Raises
    ------
    TunnelError
        No answer, another host key than the pinned one, or our key is refused.
    """
    client = login(address)
    try:
        yield client
    finally:
        close(client)


def login(address: Address, *, opened: Callable[[socket.socket], None] | None = None) -> paramiko.SSHClient:
    """Connect and log in; the caller closes the client with `close`.

    ``opened`` receives the socket before it connects, so that another thread may shut it down.
    """
    key = private_key(address.key_path)
    trusted = pinned(address)
    if trusted is None:
        raise TunnelError(
            f"The host key of {address} is not known yet.",
            f"{address.known_hosts_path} has no line for it, so nobody can say whether it is our server.",
            "Run the lab's `up` again: it compares the key with the server's console output.",
        )
    client = paramiko.SSHClient()
    client.set_log_channel(packages_log.name)
    client.set_missing_host_key_policy(paramiko.RejectPolicy())
    client.get_host_keys().add(host_name(address), trusted.get_name(), trusted)
    try:
        with ExitStack() as undo:
            sock = undo.enter_context(_dial(address, CONNECT_S, opened))
            undo.callback(close, client)
            client.connect(
                address.host,
                address.port,
                username=address.user,
                pkey=key,
                sock=sock,
                timeout=CONNECT_S,
                banner_timeout=CONNECT_S,
                auth_timeout=CONNECT_S,
                channel_timeout=CONNECT_S,
                allow_agent=False,
                look_for_keys=False,
                transport_factory=_transport,
            )
            transport = transport_of(client)
            threading.Thread(target=_ask, args=(transport,), name=f"ask {address}", daemon=True).start()
            undo.pop_all()
    except paramiko.BadHostKeyException as error:
        raise HostKeyChanged(
            f"{address} shows another host key than before: it may not be our server.",
            f"It shows {fingerprint(error.key.asbytes())}; "
            f"pinned is {fingerprint(error.expected_key.asbytes())}.",
            "If the server was replaced, run the lab's `up` again: it compares the key with the console.",
        ) from error
    except paramiko.AuthenticationException as error:
        raise KeyRefused(
            f"{address} does not let {address.user} in with the key {address.key_path}.",
            str(error),
            "If the key was replaced after the server was made, run the lab's `down` and `up`.",
        ) from error
    except BROKEN as error:
        raise NoAnswer(
            f"SSH at {address} does not answer.",
            reason(error),
            "Run the lab's `status`: is the server running, and is this computer's address the one let in?",
        ) from error
    return client


def close(client: paramiko.SSHClient) -> None:
    """Close a connection and see its threads end."""
    transport = client.get_transport()
    client.close()
    if transport is not None:
        transport.join(CONNECT_S)


def transport_of(client: paramiko.SSHClient) -> paramiko.Transport:
    """The connection inside a client."""
    transport = client.get_transport()
    if transport is None:
        raise NoAnswer("The SSH connection is closed.")
    return transport


class _Socket(socket.socket):
    """A TCP socket that breaks when the server has fallen silent; paramiko waits for 0.1 s at a time."""

    heard = 0.0  # when the last byte came
    silent = False

    def recv(self, *arguments: int) -> bytes:
        try:
            data = super().recv(*arguments)
        except TimeoutError:
            self._break_if_silent()
            raise
        self.heard = time.monotonic()
        return data

    def send(self, *arguments: Any) -> int:
        try:
            return super().send(*arguments)
        except TimeoutError:
            self._break_if_silent()
            raise

    def _break_if_silent(self) -> None:
        """Any byte counts as a sign of life: the answer to `_ask` may be queued behind a large upload."""
        if time.monotonic() - self.heard > SILENCE_S:
            self.silent = True
            raise ConnectionResetError(errno.ECONNRESET, "the server fell silent")


def _dial(
    address: Address, within_s: float, opened: Callable[[socket.socket], None] | None = None
) -> _Socket:
    """A TCP connection."""
    failure = OSError(f"{address.host} has no address")
    places = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)
    for family, kind, protocol, _, place in places:
        with ExitStack() as undo:
            sock = undo.enter_context(_Socket(family, kind, protocol))
            sock.settimeout(within_s)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # no keystroke waits for the next
            if opened:
                opened(sock)
            try:
                sock.connect(place)
            except OSError as error:
                failure = error
                continue
            sock.heard = time.monotonic()
            undo.pop_all()
            return sock
    raise failure


def _transport(sock: socket.socket, **arguments: Any) -> paramiko.Transport:
    """paramiko's connection; GCM encrypts and authenticates in one pass, it would rather take two."""
    transport = paramiko.Transport(sock, **arguments)
    transport.set_log_channel(packages_log.name)
    options = transport.get_security_options()
    options.ciphers = sorted(options.ciphers, key=lambda name: "gcm" not in name)
    return transport


def _ask(transport: paramiko.Transport) -> None:
    """Ask the server for a sign of life now and then, as OpenSSH does; paramiko's own asks for no answer."""
    while transport.is_active():
        transport.join(PROBE_S)
        with suppress(*BROKEN):  # the connection broke: whoever uses it hears why
            transport.global_request("keepalive@openssh.com", wait=True)


def farewell(transport: paramiko.Transport) -> str:
    """Why a connection ended."""
    if isinstance(transport.sock, _Socket) and transport.sock.silent:
        return f"no answer for {SILENCE_S:.0f} s"
    error = transport.get_exception()
    return reason(error) if error else "the server closed the connection"


# Trust


def private_key(path: Path) -> paramiko.PKey:
    """Our private key."""
    try:
        return paramiko.PKey.from_path(path)
    except OSError as error:
        raise TunnelError(
            f"The private key {path} cannot be read.",
            error.strerror or str(error),
            "A server opens only to the key it was made with: run the lab's `down` and `up`.",
        ) from error
    except (paramiko.SSHException, paramiko.UnknownKeyType, ValueError, TypeError, IndexError) as error:
        raise damaged(path, error) from error


def host_name(address: Address) -> str:
    """The server's address as OpenSSH's known_hosts files write it; paramiko looks for no other name."""
    return address.host if address.port == 22 else f"[{address.host}]:{address.port}"


def known_as(address: Address) -> str:
    """The server's name in our file of known hosts."""
    return address.host_key_alias or host_name(address)


def pinned(address: Address) -> paramiko.PKey | None:
    """The host key that we trust for this server, if there is one."""
    try:
        known = paramiko.HostKeys(str(address.known_hosts_path)).lookup(known_as(address))
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise TunnelError(
            f"The host key file {address.known_hosts_path} cannot be read.",
            str(error),
            f"rm -f {shlex.quote(str(address.known_hosts_path))}   # then run the lab's `up` again",
        ) from error
    return next(iter(known.values()), None) if known else None


def pin(address: Address, key: paramiko.PKey) -> None:
    """Trust this host key from now on."""
    line = f"{known_as(address)} {key.get_name()} {key.get_base64()}\n"
    try:
        write_atomically(address.known_hosts_path, line, 0o600)
    except OSError as error:
        raise TunnelError(
            f"The host key file {address.known_hosts_path} cannot be written.",
            error.strerror or str(error),
            f"df -h {shlex.quote(str(address.known_hosts_path.parent))}",
        ) from error


# Waiting


def wait_for_ssh(
    address: Address,
    console: Callable[[], str],
    *,
    timeout_s: float = 300.0,
    doubt: Callable[[], None] = lambda: None,
) -> None:
    """Wait until the server answers SSH, check that it is ours, pin its host key, and prove that we get in.

    The key that the network shows is compared with the fingerprints that the server printed on its console,
    which we read through AWS. So a machine in between cannot pass for the server.

    Parameters
    ----------
    address : Address
        Where the server will answer. A key already pinned in ``known_hosts_path``, for its ``host_key_alias``
        or else for this address, is trusted without asking the console; another key than that one must be on
        the console, and then replaces it.
    console : callable
        Returns the console output so far (``ec2:GetConsoleOutput``), "" while there is none. Called every
        2 s at first and every 10 s later: AWS throttles it more than most calls, and shows the output of a
        new server only after a minute or more. Source: "Troubleshooting API request errors".
    timeout_s : float
        Seconds for everything together.
    doubt : callable
        Called before each try while the server is silent; raises when no waiting will help.

    Raises
    ------
    TunnelError
        The console shows other fingerprints (nothing is pinned then), or our key is refused.
    TimedOut
        Something did not come in time; the text says what.
    """
    deadline = time.monotonic() + timeout_s
    key = _host_key(address, deadline, doubt)
    if key != pinned(address):
        shown = _until(
            f"the console of {address} shows its host key fingerprints",
            lambda: fingerprints(console()),
            deadline,
            "Run the lab's `up` again to go on waiting; if the server was stopped since, `down` and `up`.",
            "AWS is sometimes minutes late; and a server prints them at its first boot, not after a stop.",
            first_s=2.0,
            longest_s=10.0,
        )
        if fingerprint(key.asbytes()) not in shown:
            key = _host_key(address, deadline, doubt)  # a first boot may have made its keys after we looked
        if fingerprint(key.asbytes()) not in shown:
            raise HostKeyChanged(
                f"{address} is not the server that we made: possibly a machine in between listens.",
                f"SSH shows the host key {fingerprint(key.asbytes())}; "
                f"the server's console shows {', '.join(sorted(shown))}.",
                "Try from another network, or run the lab's `down` and `up`. Nothing was sent or stored.",
            )
        pin(address, key)
    refused_until = time.monotonic() + KEY_GRACE_S

    def get_in() -> bool:
        try:
            with connect(address):
                return True
        except KeyRefused as error:
            if time.monotonic() >= min(deadline, refused_until):
                raise
            raise NoAnswer(error.what, error.why, error.fix) from error

    again = "Run the lab's `up` again to go on waiting."
    _until(f"{address} lets {address.user} in", get_in, deadline, again)


def _host_key(address: Address, deadline: float, doubt: Callable[[], None]) -> paramiko.PKey:
    """The host key that the server shows once it answers."""

    def look() -> paramiko.PKey:
        doubt()
        return _shown_key(address, min(CONNECT_S, max(1.0, deadline - time.monotonic())))

    return _until(
        f"SSH at {address} answers",
        look,
        deadline,
        "Run the lab's `up` again to go on waiting; does its firewall let this computer's address in?",
    )


def _shown_key(address: Address, within_s: float) -> paramiko.PKey:
    """The host key that the server shows now; ed25519 if it has one, for paramiko asks for that first."""
    with _dial(address, within_s) as sock:
        transport = _transport(sock)
        transport.banner_timeout = within_s
        try:
            transport.start_client(timeout=within_s)
            return transport.get_remote_server_key()
        finally:
            transport.close()
            sock.close()
            transport.join(CONNECT_S)


def _until(
    what: str, probe: Callable[[], T], deadline: float, fix: str, why: str = "", **how_often: float
) -> T:
    """Poll until the probe answers; if it never does, say how the last try failed."""

    def look() -> T | None:
        nonlocal why
        try:
            return probe()
        except (NoAnswer, *BROKEN) as error:  # refused, silent, half a greeting; sshd restarts on some images
            why = f"The last try: {reason(error)}."
            return None

    left_s = max(0.0, deadline - time.monotonic())
    try:
        return cast(T, poll(what, look, timeout_s=left_s, **how_often))
    except TimedOut as error:
        raise TimedOut(error.what, why, fix) from error


# Commands


@dataclass(frozen=True)
class Output:
    """What a remote command left.

    Parameters
    ----------
    status : int
        Its exit status; -1 if a signal ended it.
    stdout, stderr : str
        All that it printed, as UTF-8 (what is not becomes U+FFFD).
    """

    status: int
    stdout: str
    stderr: str


def run(
    client: paramiko.SSHClient,
    command: str | Sequence[str],
    *,
    timeout_s: float | None = None,
    on_line: Callable[[str], None] | None = None,
) -> Output:
    """Run one command on the server and wait for its end. It gets no input and no terminal.

    Parameters
    ----------
    client : paramiko.SSHClient
        From `connect`; any number of commands may share one connection.
    command : str or sequence of str
        A string is read by the remote shell; the words of a sequence arrive as they are.
    timeout_s : float, optional
        Seconds; none: as long as it takes.
    on_line : callable, optional
        Called with each line of stdout as it comes, without its newline.

    Raises
    ------
    TimedOut
        The command took longer; its connection is closed, it may still be running.
    TunnelError
        The connection broke.
    """
    text = command if isinstance(command, str) else shlex.join(command)
    deadline = None if timeout_s is None else time.monotonic() + timeout_s
    transport = transport_of(client)
    errors: list[bytes] = []
    try:
        channel = transport.open_session(timeout=CONNECT_S)
        with channel:
            channel.exec_command(text)
            channel.shutdown_write()
            # In a thread of its own: a command that fills one stream waits until somebody reads it.
            reader = threading.Thread(target=_drain_errors, args=(channel, errors), daemon=True)
            reader.start()
            stdout = _read_stdout(channel, deadline, on_line)
            reader.join()
            status = channel.recv_exit_status()
        if status == -1 and not transport.is_active():
            raise NoAnswer("The connection broke while a command ran on the server.", farewell(transport))
    except TimeoutError as error:
        raise TimedOut(f"The command did not end within {timeout_s:.0f} s.", text) from error
    except BROKEN as error:
        raise NoAnswer(
            "The connection broke while a command ran on the server.", f"{text}: {reason(error)}"
        ) from error
    return Output(status, stdout, b"".join(errors).decode(errors="replace"))


def _read_stdout(
    channel: paramiko.Channel, deadline: float | None, on_line: Callable[[str], None] | None
) -> str:
    """All of a command's stdout, line by line to whoever listens."""
    output = bytearray()
    shown = 0  # bytes of it handed out as lines
    while True:
        channel.settimeout(None if deadline is None else max(0.001, deadline - time.monotonic()))
        data = channel.recv(WINDOW)
        output += data
        while on_line and (end := output.find(b"\n", shown)) >= 0:
            on_line(output[shown:end].decode(errors="replace"))
            shown = end + 1
        if not data:
            if on_line and shown < len(output):
                on_line(output[shown:].decode(errors="replace"))
            return output.decode(errors="replace")


def _drain_errors(channel: paramiko.Channel, errors: list[bytes]) -> None:
    """Read stderr until the command ends."""
    try:
        while data := channel.recv_stderr(WINDOW):
            errors.append(data)
    except TimeoutError:
        log.debug("stderr was still open when the command's time was over")


def reason(error: BaseException) -> str:
    """An exception as part of a sentence."""
    if isinstance(error, EOFError):
        return "the server closed the connection"
    if isinstance(error, TimeoutError):
        return "nobody answered in time"
    if isinstance(error, TunnelError):
        return error.why or error.what
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
