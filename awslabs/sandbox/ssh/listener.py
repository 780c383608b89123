"""The port of a practice instance on 127.0.0.1, and what becomes of those who knock.

    the firewall lets in, sshd is up       they are taken
    the firewall lets in, sshd is not up   they are refused, as by a server that still boots
    the firewall lets nobody in            they hear nothing, as if their packets fell

No root is needed for the last: a listener whose queue is full answers no SYN. So it fills its own
queue (`PLUGS`). On Linux a client sees what it sees on AWS: `connect` goes on trying, for two minutes where
it sets no time of its own ("Connection timed out"), and comes in if the firewall opens meanwhile. Elsewhere
the kernel may let a client into the queue even so. Then it is connected and hears nothing; OpenSSH says
"Connection timed out during banner exchange". Who is in stays in: a security group tracks connections.

Source: Linux, tcp_conn_request (net/ipv4/tcp_input.c); EC2 user guide, security-group-connection-tracking.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import socket
from collections.abc import Callable

BACKLOG = 100  # connections that may wait to be taken
PLUGS = 2  # connections of our own that fill a queue of one: the kernel takes one more than it is told to


class Listener:
    """The port of one practice instance. All of it runs in one event loop.

    Parameters
    ----------
    take : callable
        Gets the socket of who has come in.
    """

    def __init__(self, take: Callable[[socket.socket], None]) -> None:
        self.take = take
        self.up = False
        self.lets_in = True
        self.socket = reserve_port()
        self.plugs: list[socket.socket] = []

    @property
    def port(self) -> int:
        """The TCP port on 127.0.0.1."""
        return int(self.socket.getsockname()[1])

    def answer(self) -> None:
        """Sshd is up."""
        self.up = True
        self.settle()

    def refuse(self) -> None:
        """Sshd is not up."""
        if self.up:
            self.up = False
            self.settle()

    def let_in(self, lets_in: bool) -> None:
        """The firewall lets the caller in, or not."""
        if lets_in != self.lets_in:
            if self.up and self.lets_in:
                self.accept()  # who came before the change
            self.lets_in = lets_in
            self.settle()

    def move(self) -> None:
        """Get another port."""
        self.close()
        self.socket = reserve_port()
        if not self.lets_in:
            self.settle()

    def close(self) -> None:
        """Give the port back."""
        asyncio.get_running_loop().remove_reader(self.socket)
        self.socket.close()
        self.unplug()

    def settle(self) -> None:
        """Make the port what it has to be now."""
        loop = asyncio.get_running_loop()
        loop.remove_reader(self.socket)
        if self.lets_in and not self.up:
            # On Linux this ends the listening and keeps the port: connections are refused again.
            # Elsewhere it is an error, and they wait until we listen again.
            with contextlib.suppress(OSError):
                self.socket.shutdown(socket.SHUT_RDWR)
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 0)
            self.unplug()
            return
        # Connections of the last boot may still fade away on this port.
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if not self.lets_in:
            self.socket.listen(1)
            self.plug()
            return
        self.socket.listen(BACKLOG)
        # Not by asyncssh.listen: a connection that comes while asyncio closes such a listener is forgotten
        # half-way, and its client waits for ever.
        loop.add_reader(self.socket, self.accept)
        self.accept()  # our own plugs, and who has waited behind them
        self.unplug()

    def accept(self) -> None:
        """Take the connections that have come in."""
        own = {plug.getsockname() for plug in self.plugs}
        with contextlib.suppress(BlockingIOError, ConnectionAbortedError):  # none is left, or it has gone
            while True:
                connection, peer = self.socket.accept()
                if peer in own:
                    connection.close()
                else:
                    self.take(connection)

    def plug(self) -> None:
        """Fill the queue, so that nobody else gets in."""
        while len(self.plugs) < PLUGS:
            plug = socket.socket()
            plug.setblocking(False)
            plug.connect_ex(("127.0.0.1", self.port))
            self.plugs.append(plug)

    def unplug(self) -> None:
        """Our own connections are needed no more."""
        for plug in self.plugs:
            plug.close()
        self.plugs.clear()


def reserve_port() -> socket.socket:
    """Return a socket that holds a port of its own, listening not yet.

    Until it listens the kernel refuses connections, as it does for a server that still boots. The
    port is asked for by number: only then does Linux leave it to a socket that stops listening.
    """
    while True:
        with socket.socket() as finder:
            finder.bind(("127.0.0.1", 0))
            number = finder.getsockname()[1]
        holder = socket.socket()
        holder.setblocking(False)
        try:
            holder.bind(("127.0.0.1", number))
        except OSError as error:  # somebody was faster
            holder.close()
            if error.errno != errno.EADDRINUSE:
                raise
        else:
            return holder
