"""Connections to a server through paramiko.

Every connection is made by `login`, so all of them are alike: the host key must be the pinned one, only our
key is offered, and a server that has fallen silent is noticed within `SILENCE_S`. paramiko alone would wait
for the kernel to give up, which takes a quarter of an hour.
"""

from __future__ import annotations

import logging
import shlex
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import paramiko

from awslabs.errors import TimedOut, TunnelError
from awslabs.tunnel.keys import damaged, fingerprint, fingerprints, write_atomically
from awslabs.tunnel.openssh import Address

CONNECT_S = 10.0  # seconds for the TCP connection, and again for each step of the login
PROBE_S = 5.0  # seconds without traffic after which the server is asked for a sign of life
SILENCE_S = 20.0  # seconds without any byte from the server after which the connection counts as dead
WINDOW = 2 * 1024 * 1024  # bytes that a server may send ahead on one channel: as much as OpenSSH lets it
KEY_GRACE_S = 20.0  # seconds during which a young server may refuse our key: it may not have it yet

BROKEN = (OSError, EOFError, paramiko.SSHException)  # what paramiko raises when a connection breaks

log = logging.getLogger("awslabs.tunnel")

# paramiko and sshtunnel log every lost connection as an error with a traceback; we say it in our own words.
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
        with _dialled(address, CONNECT_S, opened) as sock, _closed_on_failure(client):
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
                transport_factory=_Transport,
            )
            transport_of(client).watch()
    except paramiko.BadHostKeyException as error:
        raise _changed(address, error.key, error.expected_key) from error
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


@contextmanager
def _closed_on_failure(client: paramiko.SSHClient) -> Iterator[None]:
    """Leave no thread of a connection that did not come about."""
    try:
        yield
    except BaseException:
        close(client)
        raise


def transport_of(client: paramiko.SSHClient) -> _Transport:
    """The live connection inside a client."""
    transport = client.get_transport()
    if not isinstance(transport, _Transport):
        raise NoAnswer("The SSH connection is closed.")
    return transport


@contextmanager
def _dialled(
    address: Address, within_s: float, opened: Callable[[socket.socket], None] | None = None
) -> Iterator[_Socket]:
    """A TCP connection, closed again if the block under it fails."""
    failure: OSError | None = None
    for family, kind, protocol, _, place in socket.getaddrinfo(
        address.host, address.port, type=socket.SOCK_STREAM
    ):
        sock = _Socket(family, kind, protocol)
        try:
            sock.settimeout(within_s)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # no keystroke waits for the next
            if opened:
                opened(sock)
            sock.connect(place)
        except OSError as error:
            sock.close()
            failure = error
            continue
        except BaseException:
            sock.close()
            raise
        try:
            yield sock
        except BaseException:
            sock.close()
            raise
        return
    raise failure or OSError(f"{address.host} has no address")


class _Socket(socket.socket):
    """A TCP socket that remembers when the server was last heard."""

    heard = 0.0

    def recv(self, *arguments: int) -> bytes:
        data = super().recv(*arguments)
        self.heard = time.monotonic()
        return data


class _Transport(paramiko.Transport):
    """A connection that notices when the other side is gone."""

    sock: _Socket

    def __init__(self, sock: _Socket, **arguments: object) -> None:
        super().__init__(sock, default_window_size=WINDOW, **arguments)
        self.set_log_channel(packages_log.name)
        self.fell_silent = False
        # GCM encrypts and authenticates in one pass; paramiko would rather take two.
        options = self.get_security_options()
        options.ciphers = sorted(options.ciphers, key=lambda name: "gcm" not in name)

    def watch(self) -> None:
        """Ask a quiet server for a sign of life now and then; close the connection if none comes."""
        self.sock.heard = time.monotonic()
        self.packetizer.set_keepalive(PROBE_S, self._ask)
        threading.Thread(target=self._watch, name=f"watch {self.name}", daemon=True).start()

    def _ask(self) -> None:
        """Send a request that no server knows, so every server answers; paramiko's own wants no answer."""
        message = paramiko.Message()
        message.add_byte(b"\x50")  # SSH_MSG_GLOBAL_REQUEST, RFC 4254 section 4
        message.add_string("keepalive@openssh.com")
        message.add_boolean(True)
        self._send_user_message(message)

    def _watch(self) -> None:
        """Any byte counts as a sign of life: the answer itself may be queued behind a large upload."""
        while self.is_active():
            self.join(min(PROBE_S, SILENCE_S) / 4)
            if self.is_active() and time.monotonic() - self.sock.heard > SILENCE_S:
                self.fell_silent = True
                self.close()

    def farewell(self) -> str:
        """Why this connection ended."""
        if self.fell_silent:
            return f"no answer for {SILENCE_S:.0f} s"
        error = self.get_exception()
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


def _changed(address: Address, seen: paramiko.PKey, trusted: paramiko.PKey) -> HostKeyChanged:
    """The error for a server that shows another host key than the pinned one."""
    return HostKeyChanged(
        f"{address} shows another host key than before: it may not be our server.",
        f"It shows {fingerprint(seen.asbytes())}; pinned is {fingerprint(trusted.asbytes())}.",
        "If the server was replaced, run the lab's `up` again: it compares the key with the console output.",
    )


# Waiting


def wait_for_ssh(
    address: Address,
    console: Callable[[], str],
    *,
    timeout_s: float = 300.0,
    progress: Callable[[str], None] | None = None,
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
    progress : callable, optional
        Called before each try with what is awaited.

    Raises
    ------
    TunnelError
        The console shows other fingerprints (nothing is pinned then), or our key is refused.
    TimedOut
        Something did not come in time; the text says what.
    """
    deadline = time.monotonic() + timeout_s
    key = _await_host_key(address, deadline, timeout_s, progress)
    if key != pinned(address):
        shown = _await_fingerprints(address, console, deadline, timeout_s, progress)
        if fingerprint(key.asbytes()) not in shown:
            # A first boot may have made its keys after we looked.
            key = _await_host_key(address, deadline, timeout_s, progress)
        if fingerprint(key.asbytes()) not in shown:
            raise HostKeyChanged(
                f"{address} is not the server that we made: possibly a machine in between listens.",
                f"SSH shows the host key {fingerprint(key.asbytes())}; "
                f"the server's console shows {', '.join(sorted(shown))}.",
                "Try from another network, or run the lab's `down` and `up`. Nothing was sent or stored.",
            )
        pin(address, key)
    _await_login(address, deadline, timeout_s, progress)


def _await_host_key(
    address: Address, deadline: float, timeout_s: float, progress: Callable[[str], None] | None
) -> paramiko.PKey:
    """Poll until SSH answers, and take the host key it shows."""
    awaited = f"SSH at {address}"
    last = ""
    for _ in _tries(1.0, 5.0, deadline, awaited, progress):
        try:
            return _host_key(address, min(CONNECT_S, max(1.0, deadline - time.monotonic())))
        except BROKEN as error:  # refused, silent, or half a greeting
            last = reason(error)
    raise TimedOut(
        f"{awaited} did not answer within {timeout_s:.0f} s.",
        f"The last try: {last}." if last else "",
        "Run the lab's `up` again to go on waiting; does its firewall let this computer's address in?",
    )


def _host_key(address: Address, within_s: float) -> paramiko.PKey:
    """The host key that the server shows now; ed25519 if it has one, for paramiko asks for that first."""
    with _dialled(address, within_s) as sock:
        transport = _Transport(sock)
        transport.banner_timeout = within_s
        try:
            transport.start_client(timeout=within_s)
            return transport.get_remote_server_key()
        finally:
            transport.close()
            sock.close()
            transport.join(CONNECT_S)


def _await_fingerprints(
    address: Address,
    console: Callable[[], str],
    deadline: float,
    timeout_s: float,
    progress: Callable[[str], None] | None,
) -> set[str]:
    """Poll until the console shows host key fingerprints."""
    awaited = f"the host key fingerprints of {address} in its console output"
    for _ in _tries(2.0, 10.0, deadline, awaited, progress):
        if shown := fingerprints(console()):
            return shown
    raise TimedOut(
        f"SSH at {address} answers, but its console output showed no host key within {timeout_s:.0f} s.",
        "Without it nobody can say whether the server is ours. AWS is sometimes minutes late with it; "
        "and a server prints it at its first boot only, not after a stop.",
        "Run the lab's `up` again to go on waiting. If the server was stopped since, run `down` and `up`.",
    )


def _await_login(
    address: Address, deadline: float, timeout_s: float, progress: Callable[[str], None] | None
) -> None:
    """Poll until our key opens the server."""
    awaited = f"the login as {address.user} at {address}"
    refused_at = 0.0
    last: TunnelError | None = None
    for _ in _tries(1.0, 5.0, deadline, awaited, progress):
        try:
            with connect(address):
                return
        except KeyRefused as error:
            refused_at = refused_at or time.monotonic()
            if time.monotonic() - refused_at >= KEY_GRACE_S:
                raise
            last = error
        except NoAnswer as error:  # sshd restarts once on some images
            last = error
    if isinstance(last, KeyRefused):
        raise last
    raise TimedOut(
        f"The login as {address.user} at {address} did not work within {timeout_s:.0f} s.",
        last.why if last else "",
        "Run the lab's `up` again to go on waiting.",
    )


def _tries(
    first_s: float, longest_s: float, deadline: float, awaited: str, progress: Callable[[str], None] | None
) -> Iterator[None]:
    """Say what is awaited, once before each try, with growing pauses until the deadline; at least one try."""
    began = time.monotonic()
    while True:
        if progress:
            progress(awaited)
        yield
        now = time.monotonic()
        if now >= deadline:
            return
        pause = min(longest_s, max(first_s, (now - began) / 10))  # a young server deserves quick tries
        time.sleep(min(pause, deadline - now))


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
            raise NoAnswer("The connection broke while a command ran on the server.", transport.farewell())
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
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
