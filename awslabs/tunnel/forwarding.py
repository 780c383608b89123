"""A port of this computer that leads to a port of the server, and comes back after the connection drops.

sshtunnel listens and gives each guest a thread. Three of its parts are replaced here:

- the connection: `login` checks the pinned host key, has timeouts, and says what went wrong (sshtunnel writes
  it to a log and goes on);
- the way through: sshtunnel stops at the first end of either side and so drops the rest of an answer, and one
  thread for both directions deadlocks when both are full;
- what happens when the connection drops: in sshtunnel, nothing.
"""

from __future__ import annotations

import logging
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import paramiko
import sshtunnel

from awslabs.errors import TunnelError
from awslabs.tunnel.openssh import Address
from awslabs.tunnel.session import (
    BROKEN,
    CONNECT_S,
    WINDOW,
    HostKeyChanged,
    close,
    log,
    login,
    packages_log,
    pinned,
    private_key,
    transport_of,
)

CHUNK = 64 * 1024  # bytes read from a guest at once
PATIENCE_S = 10.0  # seconds that a new guest waits for a dropped connection to come back
FIRST_RETRY_S, LAST_RETRY_S = 0.5, 10.0  # pauses between tries to connect again, doubling


def forward(
    address: Address,
    remote_port: int,
    *,
    local_port: int = 0,
    tries: int = 1,
    remote_host: str = "127.0.0.1",
    on_change: Callable[[bool, str], None] | None = None,
) -> Forward:
    """A port on 127.0.0.1 that leads to a port of the server, for the length of a ``with`` block.

    It carries any number of connections at once. When the SSH connection drops (server restarted, laptop
    asleep), open connections are reset, the local port stays, and the tunnel connects again by itself; who
    connects meanwhile waits up to 10 s and is then hung up on.

    Parameters
    ----------
    address : Address
        The server; its host key must be pinned (`wait_for_ssh`).
    remote_port : int
        Where it leads, as seen from the server.
    local_port : int
        Where it starts; 0: any free port.
    tries : int
        How many ports to try, from ``local_port`` on, when that one is busy.
    remote_host : str
        The machine that the server connects to; itself by default.
    on_change : callable, optional
        Called from another thread with (is it up?, why) when the connection drops or comes back; the log
        says the same.

    Returns
    -------
    Forward
        Enter it to open the tunnel.

    Raises
    ------
    TunnelError
        No free local port (the text names the next free one); on entering, no connection to the server.
    """
    return Forward(address, remote_port, local_port, tries, remote_host, on_change)


class Forward(sshtunnel.SSHTunnelForwarder):
    """An open tunnel; see `forward`."""

    is_alive = False  # sshtunnel looks at it when an object goes that never came to be
    _server_list: list[Any]

    def __init__(
        self,
        address: Address,
        remote_port: int,
        local_port: int,
        tries: int,
        remote_host: str,
        on_change: Callable[[bool, str], None] | None,
    ) -> None:
        self.address, self.on_change = address, on_change
        self.local_port = _free_port(local_port, tries)
        self.gave_up: TunnelError | None = None
        self.is_refused = False  # whether nobody answered at the other end when it was last tried
        self._client: paramiko.SSHClient | None = None
        self._closing = threading.Event()
        self._changes = threading.Lock()  # held to replace the connection, and to end for good
        self._dialling: socket.socket | None = None
        self._guests: dict[threading.Thread, socket.socket] = {}
        self._keeper = threading.Thread(target=self._keep, name=f"tunnel to {address}", daemon=True)
        super().__init__(
            (address.host, address.port),
            ssh_config_file=None,
            ssh_username=address.user,
            ssh_pkey=private_key(address.key_path),
            ssh_host_key=pinned(address),
            allow_agent=False,
            host_pkey_directories=[],
            local_bind_address=("127.0.0.1", self.local_port),
            remote_bind_address=(remote_host, remote_port),
            logger=packages_log,
        )

    @property
    def is_up(self) -> bool:
        """Whether the connection to the server stands at this moment."""
        return not self._closing.is_set() and self.is_active

    def url(self, path: str = "") -> str:
        """The address of a web page behind the tunnel."""
        return f"http://127.0.0.1:{self.local_port}/{path.lstrip('/')}"

    def wait(self, timeout_s: float | None = None) -> None:
        """Stay until Ctrl-C, until the tunnel gives up, or until so many seconds are over.

        Raises
        ------
        TunnelError
            The server came back with another host key: the tunnel leads nowhere any more.
        """
        until = None if timeout_s is None else time.monotonic() + timeout_s
        while self._keeper.is_alive():
            left = 1.0 if until is None else min(1.0, until - time.monotonic())
            if left <= 0:
                break
            self._keeper.join(left)
        if self.gave_up:
            raise self.gave_up

    def start(self) -> None:
        """Open the tunnel; a ``with`` block does."""
        try:
            super().start()
        except sshtunnel.BaseSSHTunnelForwarderError as error:
            self._drop_unstarted()
            raise TunnelError(
                f"The tunnel from port {self.local_port} to {self.address} did not open.",
                str(error) or "sshtunnel gives no reason.",
                "Run the same command again.",
            ) from error
        except BaseException:
            self._drop_unstarted()
            raise
        self.local_port = self.local_bind_port
        self._keeper.start()

    def stop(self, force: bool = True) -> None:
        """Close the tunnel and every connection in it; leaving the ``with`` block does."""
        with self._changes:
            self._closing.set()
            if self._dialling:
                _wake(self._dialling)
        super().stop(force=True)
        guests = self._guests.copy()
        for sock in guests.values():
            _wake(sock)
        for thread in [*guests, self._keeper]:
            if thread.is_alive() and thread is not threading.current_thread():
                thread.join(CONNECT_S)
        if self._client:
            close(self._client)

    def transport(self) -> paramiko.Transport:
        """The connection to the server, waited for if it is just coming back."""
        until = time.monotonic() + PATIENCE_S
        while not self.is_up:
            if self._closing.wait(0.05) or self.gave_up or time.monotonic() > until:
                raise TunnelError(f"The tunnel to {self.address} is down.")
        return self._transport

    # What sshtunnel calls

    def _connect_to_gateway(self) -> None:
        client = login(self.address, opened=self._remember)
        with self._changes:
            self._dialling = None
            if not self._closing.is_set():
                self._client, self._transport = client, transport_of(client)
                return
        close(client)

    def _make_ssh_forward_handler_class(self, remote_address_: tuple[str, int]) -> type[_Guest]:
        class Guest(_Guest):
            forward = self
            remote_address = remote_address_
            logger = self.logger

        return Guest

    # Coming back

    def _keep(self) -> None:
        """Connect again whenever the connection is lost."""
        while True:
            self._transport.join()
            if self._closing.is_set():
                return
            lost_at = time.monotonic()
            self._tell(False, f"the connection to {self.address} is lost: {self._transport.farewell()}")
            try:
                back = self._return()
            except HostKeyChanged as error:
                self.gave_up = error
                self._tell(False, str(error))
                return
            if not back:
                return
            away_s = time.monotonic() - lost_at
            self._tell(True, f"the connection to {self.address} is back after {away_s:.0f} s")

    def _return(self) -> bool:
        """Try until the server lets us in again; False if the tunnel is closed before that."""
        pause = 0.0
        while not self._closing.wait(pause):
            try:
                self._connect_to_gateway()
                return not self._closing.is_set()
            except HostKeyChanged:
                raise
            except TunnelError as error:  # a booting server may refuse even the right key
                log.debug("%s %s", error.what, error.why)
            pause = min(LAST_RETRY_S, max(FIRST_RETRY_S, pause * 2))
        return False

    def _tell(self, is_up: bool, text: str) -> None:
        """Say what happened to the connection."""
        log.log(logging.INFO if is_up else logging.WARNING, "tunnel: %s", text)
        if self.on_change:
            self.on_change(is_up, text)

    def _remember(self, sock: socket.socket) -> None:
        """Keep a socket that is about to connect, so that `stop` need not wait for it."""
        with self._changes:
            self._dialling = sock
            if self._closing.is_set():
                _wake(sock)

    def _drop_unstarted(self) -> None:
        """Undo half a start: sshtunnel's own stop would wait for threads that never ran."""
        self._closing.set()
        for server in self._server_list:
            server.server_close()
        self._server_list = []
        if self._client:
            close(self._client)

    @contextmanager
    def guest(self, sock: socket.socket) -> Iterator[None]:
        """Keep a guest's socket and thread, so that `stop` can end them."""
        self._guests[threading.current_thread()] = sock
        try:
            yield
        finally:
            del self._guests[threading.current_thread()]


class _Guest(sshtunnel._ForwardHandler):
    """One connection through the tunnel."""

    forward: Forward

    @property
    def ssh_transport(self) -> paramiko.Transport:
        """Looked up for each guest, since the tunnel may have a new connection by now."""
        return self.forward.transport()

    def handle(self) -> None:
        try:
            with self.forward.guest(self.request):
                super().handle()
        except sshtunnel.HandlerSSHTunnelForwarderError as error:
            # Said once: whoever waits for a program to start asks again and again.
            level = logging.DEBUG if self.forward.is_refused else logging.INFO
            self.forward.is_refused = True
            log.log(level, "tunnel: %s:%s on the server does not answer: %s", *self.remote_address, error)

    def _redirect(self, chan: paramiko.Channel) -> None:
        """Carry both directions at once, each to its own end."""
        self.forward.is_refused = False
        outward = threading.Thread(target=self._carry_out, args=(chan,), daemon=True)
        outward.start()
        try:
            while data := chan.recv(WINDOW):  # all there is: paramiko moves what is left at each read
                self.request.sendall(data)
            if chan.eof_received:
                self.request.shutdown(socket.SHUT_WR)
            else:
                # The connection broke in the middle. A plain close would look like the end of the answer.
                self._reset_on_close()
        except BROKEN:  # the guest has gone, or the connection has
            self._hang_up(chan)
        outward.join()

    def _carry_out(self, chan: paramiko.Channel) -> None:
        """From the guest to the server."""
        try:
            while data := self.request.recv(CHUNK):
                chan.sendall(data)
            chan.shutdown_write()
        except BROKEN:
            self._hang_up(chan)

    def _hang_up(self, chan: paramiko.Channel) -> None:
        """Close the server's side, so that the other direction ends too."""
        with suppress(*BROKEN):  # a broken connection has closed it already
            chan.close()

    def _reset_on_close(self) -> None:
        """Let the guest see a reset instead of an end, and wake the other direction."""
        self.request.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.request.shutdown(socket.SHUT_RD)


def _free_port(first: int, tries: int) -> int:
    """The first free port on 127.0.0.1 from this one on."""
    if first == 0:
        return 0
    for port in range(first, first + tries):
        if _is_free(port):
            return port
    free = next((port for port in range(first + tries, min(first + 1000, 65536)) if _is_free(port)), 0)
    raise TunnelError(
        f"Port {first} of this computer is busy."
        if tries == 1
        else f"The ports {first} to {first + tries - 1} of this computer are all busy.",
        "Another program listens there, perhaps another tunnel.",
        f"Close that program, or use port {free}: it is free." if free else "Close that program.",
    )


def _is_free(port: int) -> bool:
    """Whether a server could listen on this port of 127.0.0.1 now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
            probe.listen()
        except OSError:
            return False
        return True


def _wake(sock: Any) -> None:
    """Make whoever waits on a socket go on."""
    try:
        sock.shutdown(socket.SHUT_RDWR)
    except OSError as error:
        log.debug("a socket was closed already: %s", error)
