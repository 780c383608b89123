"""A port of this computer that leads to a port of the server, and comes back after the connection drops.

Each guest is a channel of one SSH connection, opened by paramiko and served by `socketserver`. sshtunnel has
no public way to what is promised here: when its connection drops it stays down, and closes its port; it takes
the end of one direction for the end of both, and loses the rest of the answer; its one thread for both stands
still when both are full; and a connection that breaks looks to its guest like the end of the answer.
"""

from __future__ import annotations

import logging
import socket
import socketserver
import struct
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import suppress

import paramiko

from awslabs.errors import TunnelError
from awslabs.tunnel.openssh import Address
from awslabs.tunnel.session import (
    BROKEN,
    CONNECT_S,
    WINDOW,
    HostKeyChanged,
    close,
    farewell,
    log,
    login,
    reason,
)

CHUNK = 64 * 1024  # bytes read from a guest at once
PATIENCE_S = 10.0  # seconds that a new guest waits for a dropped connection to come back
HEARD_S = 0.5  # within so many seconds a Ctrl-C is heard for certain
FIRST_RETRY_S, LAST_RETRY_S = 0.5, 10.0  # pauses between tries to connect again, doubling


class Forward:
    """A port on 127.0.0.1 that leads to a port of the server, for the length of a ``with`` block.

    It carries any number of connections at once. When the SSH connection drops (server restarted, laptop
    asleep), open connections are reset, the local port stays, and the tunnel connects again by itself; who
    connects meanwhile waits up to 10 s and is then hung up on.

    Parameters
    ----------
    address : Address
        The server; its host key must be pinned (`wait_for_ssh`).
    remote_port : int
        Where it leads, on the server itself.
    local_port : int
        Where it starts; 0: any free port.
    tries : int
        How many ports to try, from ``local_port`` on, when that one is busy.
    on_change : callable, optional
        Called from another thread with (is it up?, why) when the connection drops or comes back; the log
        says the same.

    Raises
    ------
    TunnelError
        On entering: no free local port (the text names the next free one), or no connection to the server.
    """

    def __init__(
        self,
        address: Address,
        remote_port: int,
        *,
        local_port: int = 0,
        tries: int = 1,
        on_change: Callable[[bool, str], None] | None = None,
    ) -> None:
        self.address, self.on_change = address, on_change
        self.remote, self.ports = ("127.0.0.1", remote_port), range(local_port, local_port + tries)
        self.local_port = 0
        self.gave_up: TunnelError | None = None
        self.is_refused = False  # whether nobody answered at the other end when it was last tried
        self.guests: set[socket.socket] = set()
        self._client = paramiko.SSHClient()  # none yet
        self._sock: socket.socket | None = None  # that of the connection, from before it connects
        self._closing = threading.Event()
        self._keeper = threading.Thread(target=self._keep, name=f"tunnel to {address}", daemon=True)

    def __enter__(self) -> Forward:
        self._listener = self._listen()
        self.local_port = self._listener.server_address[1]
        try:
            self._connect()
        except BaseException:
            self._listener.server_close()
            raise
        self._keeper.start()
        threading.Thread(target=self._listener.serve_forever, args=(0.1,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the tunnel and every connection in it; leaving the ``with`` block does."""
        self._closing.set()
        _wake(self._sock)
        close(self._client)
        self._listener.shutdown()
        for guest in self.guests.copy():
            _wake(guest)
        self._listener.server_close()  # waits for the guests' threads
        self._keeper.join(CONNECT_S)

    @property
    def is_up(self) -> bool:
        """Whether the connection to the server stands at this moment."""
        transport = self._client.get_transport()
        return transport is not None and transport.is_active() and not self._closing.is_set()

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
        until = time.monotonic() + timeout_s if timeout_s is not None else float("inf")
        # In steps: a Ctrl-C that comes just before Python begins to wait is heard when it stops waiting.
        while self._keeper.is_alive() and (left_s := until - time.monotonic()) > 0:
            self._keeper.join(min(left_s, HEARD_S))
        if self.gave_up:
            raise self.gave_up

    def transport(self) -> paramiko.Transport:
        """The connection to the server, waited for if it is just coming back."""
        until = time.monotonic() + PATIENCE_S
        while True:
            transport = self._client.get_transport()
            if self.is_up and transport:
                return transport
            if self._closing.wait(0.05) or self.gave_up or time.monotonic() > until:
                raise TunnelError(f"The tunnel to {self.address} is down.")

    def _listen(self) -> _Listener:
        """Take the local port, or the first free one of those to try."""
        if listener := self._listener_on(self.ports):
            return listener
        first, end = self.ports.start, self.ports.stop
        other = self._listener_on(range(end, min(first + 1000, 65536)))
        if other:
            other.server_close()
        raise TunnelError(
            f"Port {first} of this computer is busy."
            if len(self.ports) == 1
            else f"The ports {first} to {end - 1} of this computer are all busy.",
            "Another program listens there, perhaps another tunnel.",
            f"Close that program, or use port {other.server_address[1]}: it is free."
            if other
            else "Close that program.",
        )

    def _listener_on(self, ports: Iterable[int]) -> _Listener | None:
        """A listener on the first of these ports that is free."""
        for port in ports:
            with suppress(OSError):
                return _Listener(self, port)
        return None

    def _connect(self) -> None:
        """Connect to the server, for as long as the tunnel is open."""
        self._client = login(self.address, opened=self._dial)
        if self._closing.is_set():
            close(self._client)

    def _dial(self, sock: socket.socket) -> None:
        """Keep a socket that is about to connect, so that `close` need not wait for it."""
        self._sock = sock
        if self._closing.is_set():
            raise TunnelError(f"The tunnel to {self.address} was closed.")

    def _keep(self) -> None:
        """Connect again whenever the connection is lost."""
        while transport := self._client.get_transport():
            transport.join()
            if self._closing.is_set():
                return
            lost_at = time.monotonic()
            self._tell(False, f"the connection to {self.address} is lost: {farewell(transport)}")
            try:
                self._return()
            except HostKeyChanged as error:
                self.gave_up = error
                self._tell(False, str(error))
                return
            if not self._closing.is_set():
                self._tell(
                    True, f"the connection to {self.address} is back after {time.monotonic() - lost_at:.0f} s"
                )

    def _return(self) -> None:
        """Try until the server lets us in again, or the tunnel is closed."""
        pause = 0.0
        while not self._closing.wait(pause):
            try:
                self._connect()
                return
            except HostKeyChanged:
                raise
            except TunnelError as error:  # a booting server may refuse even the right key
                log.debug("%s %s", error.what, error.why)
            pause = min(LAST_RETRY_S, max(FIRST_RETRY_S, pause * 2))

    def _tell(self, is_up: bool, text: str) -> None:
        """Say what happened to the connection."""
        log.log(logging.INFO if is_up else logging.WARNING, "tunnel: %s", text)
        if self.on_change:
            self.on_change(is_up, text)


forward = Forward  # as one says it: `with tunnel.forward(address, 8888) as jupyter:`


class _Listener(socketserver.ThreadingTCPServer):
    """The local port; each guest has a thread."""

    allow_reuse_address = True
    request_queue_size = 128

    def __init__(self, forward: Forward, port: int) -> None:
        self.forward = forward
        super().__init__(("127.0.0.1", port), _Guest)


class _Guest(socketserver.BaseRequestHandler):
    """One connection through the tunnel."""

    server: _Listener
    request: socket.socket

    def setup(self) -> None:
        self.server.forward.guests.add(self.request)

    def finish(self) -> None:
        self.server.forward.guests.discard(self.request)
        self.request.close()  # by ourselves: socketserver would send an end first, and no reset

    def handle(self) -> None:
        forward = self.server.forward
        try:
            channel = forward.transport().open_channel(
                "direct-tcpip", forward.remote, self.client_address, timeout=CONNECT_S
            )
        except (TunnelError, *BROKEN) as error:
            # Said once: whoever waits for a program to start asks again and again.
            level = logging.DEBUG if forward.is_refused else logging.INFO
            forward.is_refused = True
            log.log(level, "tunnel: %s:%s on the server does not answer: %s", *forward.remote, reason(error))
            return
        forward.is_refused = False
        outward = threading.Thread(target=self._carry_out, args=(channel,))
        outward.start()
        try:
            while data := channel.recv(WINDOW):  # all there is: paramiko moves what is left at each read
                self.request.sendall(data)
            if channel.eof_received:
                self.request.shutdown(socket.SHUT_WR)
            else:
                # The connection broke in the middle. A plain close would look like the end of the answer.
                self.request.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                self.request.shutdown(socket.SHUT_RD)
        except BROKEN:  # the guest has gone, or the connection has
            _hang_up(channel)
        outward.join()
        _hang_up(channel)

    def _carry_out(self, channel: paramiko.Channel) -> None:
        """From the guest to the server."""
        try:
            while data := self.request.recv(CHUNK):
                channel.sendall(data)
            channel.shutdown_write()
        except BROKEN:
            _hang_up(channel)


def _hang_up(channel: paramiko.Channel) -> None:
    """Close the server's side, so that the other direction ends too."""
    with suppress(*BROKEN):  # a broken connection has closed it already
        channel.close()


def _wake(sock: socket.socket | None) -> None:
    """Make whoever waits on a socket go on."""
    with suppress(OSError):  # it was closed already
        if sock:
            sock.shutdown(socket.SHUT_RDWR)
