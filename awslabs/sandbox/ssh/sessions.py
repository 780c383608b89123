"""What happens on an instance's SSH port: who may come in, and what they may start there.

`Connection` is one connection: it lets in the registered public key of the one user, and forwards ports
to the instance's own loopback only. `Session` is one channel in it: a command, a login shell or
SFTP, with or without a terminal. It moves bytes between the channel and the process as OpenSSH's
sshd does: a command's channel stays open until its output ends, a terminal's until the shell ends.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import os
import signal
from typing import Any

import asyncssh

from awslabs.sandbox.run import isolation
from awslabs.sandbox.ssh import terminal
from awslabs.sandbox.ssh.host import Host

log = logging.getLogger(__name__)

CHUNK = 64 * 1024  # bytes per read
LAST_WORDS_S = 0.2  # how long a terminal may be silent after its shell ended, if others still hold it

# Variables that a client may set, as in sshd_config of Amazon Linux and Debian (AcceptEnv LANG LC_*).
ACCEPTED = ("LANG", "LC_")

# What a shutdown leaves in /run/nologin five minutes before its time; pam_nologin(8) shows it and refuses.
# Source: shutdown(8); systemd, src/shared/nologin-util.c.
NOLOGIN = (
    "System is going down. Unprivileged users are not permitted to log in anymore. "
    "For technical details, see pam_nologin(8).\n\n"
)


class Connection(asyncssh.SSHServer):
    """One SSH connection to a practice instance."""

    def __init__(self, host: Host):
        self.host = host
        self.connection: asyncssh.SSHServerConnection | None = None

    def connection_made(self, conn: asyncssh.SSHServerConnection) -> None:
        """Remember the connection, to close it when the instance stops."""
        self.connection = conn
        self.host.connections.add(conn)
        if not self.host.up:  # it stopped since the client knocked
            conn.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        if self.connection is not None:
            self.host.connections.discard(self.connection)

    def public_key_auth_supported(self) -> bool:
        """Say that a key opens it; nothing else does."""
        return True

    def validate_public_key(self, username: str, key: asyncssh.SSHKey) -> bool:
        """Let in the registered key, for the image's user only, and in its last minutes nobody."""
        registered = self.host.public_key
        fits = (
            registered is not None
            and username == self.host.user
            and key.public_data == registered.public_data
        )
        if fits and self.connection is not None and self.host.lets_nobody_in():
            self.connection.send_auth_banner(NOLOGIN)
            self.connection.abort()  # as sshd does, without a word of its own
            return False
        return fits

    def session_requested(self) -> Session:
        """Open a channel for a command, a shell or SFTP."""
        return Session(self.host)

    def connection_requested(self, dest_host: str, dest_port: int, orig_host: str, orig_port: int) -> Any:
        """Forward a port to the instance itself, and nowhere else: no way leads out through it."""
        own_names = {self.host.hostname, self.host.hostname.partition(".")[0]}
        if dest_host not in own_names | {"localhost", "127.0.0.1", "::1"} or self.connection is None:
            raise asyncssh.ChannelOpenError(
                asyncssh.OPEN_ADMINISTRATIVELY_PROHIBITED,
                f"a practice instance forwards to localhost only, not to {dest_host}",
            )
        loopback = dest_host if dest_host in ("127.0.0.1", "::1") else "localhost"
        return self.connection.forward_connection(loopback, dest_port)


class Session(asyncssh.SSHServerSession):  # type: ignore[type-arg]
    """One channel: a process of the instance and the bytes between it and the client."""

    def __init__(self, host: Host):
        self.host = host
        self.loop = asyncio.get_running_loop()
        self.command: str | None = None  # None: a login shell, unless it is sftp
        self.sftp = False
        self.terminal = False
        self.process: isolation.Entered | isolation.Supervised | None = None
        self.outputs: dict[int, int | None] = {}  # file descriptor -> SSH data type
        self.output_ended = asyncio.Event()
        self.input = -1
        self.input_ended = False
        self.pending = bytearray()  # from the client, not yet taken by the process
        self.writable = asyncio.Event()  # the client takes output
        self.writable.set()
        self.closed = False

    # What the client asks for, in this order: a terminal, then one of shell, command, subsystem.

    def connection_made(self, chan: Any) -> None:
        """Keep the channel, and what it knows of its ends as long as it is open."""
        self.channel = chan
        peer, own = chan.get_extra_info("peername"), chan.get_extra_info("sockname")
        self.ends = (peer[0], str(peer[1]), own[0], str(own[1]))

    def pty_requested(self, term_type: Any, term_size: Any, term_modes: Any) -> bool:
        """Grant a terminal."""
        self.terminal = True
        return True

    def shell_requested(self) -> bool:
        """Grant a login shell."""
        return True

    def exec_requested(self, command: str) -> bool:
        """Grant a command."""
        self.command = command
        return True

    def subsystem_requested(self, subsystem: str) -> bool:
        """Grant SFTP, the only subsystem."""
        self.sftp = subsystem == "sftp"
        return self.sftp

    def session_started(self) -> None:
        """Start what was granted."""
        self.host.keep(self.run())

    def argv(self) -> list[str]:
        """Return what to run; a command is read by the user's shell, as with sshd."""
        if self.sftp:
            return self.host.sftp_command()
        if self.command is None:
            return [isolation.login_shell(), "-l"]
        return [isolation.login_shell(), "-c", self.command]

    def environment(self) -> dict[str, str]:
        """Return the process's whole environment: nothing of the server's own gets in."""
        asked = self.channel.get_environment()
        accepted = {name: value for name, value in asked.items() if name.startswith(ACCEPTED)}
        kind = {"TERM": self.channel.get_terminal_type() or "dumb"} if self.terminal else {}
        return {
            **self.host.environment(),
            **accepted,
            **kind,
            "SSH_CLIENT": " ".join([*self.ends[:2], self.ends[3]]),
            "SSH_CONNECTION": " ".join(self.ends),
        }

    async def run(self) -> None:
        """Run the process, report how it ended, and close the channel."""
        if self.terminal and self.command is None:
            self.send(f"{self.host.instance_id}: a practice instance, on this computer\r\n".encode(), None)
        try:
            self.process = await (self.start_on_terminal() if self.terminal else self.start_on_pipes())
        except (isolation.NoPlace, OSError) as error:
            log.warning("%s: cannot start a session: %s", self.host.instance_id, error)
            self.send(f"practice instance: cannot start: {error}\n".encode(), asyncssh.EXTENDED_DATA_STDERR)
            self.finish(255)
            return
        self.feed()
        status = await self.process.wait()
        if self.terminal:
            await self.last_words()
        else:
            await self.output_ended.wait()
        self.finish(status)

    async def start_on_terminal(self) -> isolation.Entered | isolation.Supervised:
        """Start the process as the leader of a session with a terminal of its own."""
        opened = await self.host.open_terminal()
        master, slave = opened.master, opened.slave
        try:
            os.set_blocking(master, False)
            terminal.set_size(slave, *self.channel.get_terminal_size())
            terminal.set_modes(slave, self.channel.get_terminal_modes())
            uid = isolation.practice_uid()
            if uid is not None:
                os.fchown(slave, uid, -1)
            environment = {**self.environment(), "SSH_TTY": opened.name}
            started = await self.host.spawn(
                self.argv(), env=environment, stdin=slave, stdout=slave, stderr=slave, tty=True
            )
        except BaseException:
            os.close(master)
            raise
        finally:
            os.close(slave)
        self.adopt(master, {master: None})
        return started

    async def start_on_pipes(self) -> isolation.Entered | isolation.Supervised:
        """Start the process with three pipes."""
        theirs_in, ours_in = os.pipe()
        ours_out, theirs_out = os.pipe()
        ours_err, theirs_err = os.pipe()
        try:
            environment = self.environment()
            started = await self.host.spawn(
                self.argv(), env=environment, stdin=theirs_in, stdout=theirs_out, stderr=theirs_err
            )
        except BaseException:
            for fd in (ours_in, ours_out, ours_err):
                os.close(fd)
            raise
        finally:
            for fd in (theirs_in, theirs_out, theirs_err):
                os.close(fd)
        for fd in (ours_in, ours_out, ours_err):
            os.set_blocking(fd, False)
        self.adopt(ours_in, {ours_out: None, ours_err: asyncssh.EXTENDED_DATA_STDERR})
        return started

    def adopt(self, input_fd: int, outputs: dict[int, int | None]) -> None:
        """Take over our ends; the client may have gone while the process was starting."""
        self.input, self.outputs = input_fd, outputs
        if self.closed:
            self.close_all()
        elif self.writable.is_set():
            self.resume_writing()

    # From the process to the client.

    def take(self, fd: int) -> bool:
        """Send what a descriptor has for the client; return whether it may have more."""
        try:
            data = os.read(fd, CHUNK)
        except BlockingIOError:
            return False
        except OSError as error:
            if error.errno != errno.EIO:  # so a terminal says that nobody holds it any more
                raise
            data = b""
        if data:
            self.send(data, self.outputs[fd])
        else:
            self.close_output(fd)
        return bool(data)

    def send(self, data: bytes, datatype: int | None) -> None:
        """Write to the channel unless the client has closed it."""
        if not self.closed and not self.channel.is_closing():
            self.channel.write(data, datatype)

    def pause_writing(self) -> None:
        """Stop reading the process's output: the client does not take it."""
        self.writable.clear()
        for fd in self.outputs:
            self.loop.remove_reader(fd)

    def resume_writing(self) -> None:
        """Read the process's output again."""
        self.writable.set()
        for fd in self.outputs:
            self.loop.add_reader(fd, self.take, fd)

    def close_output(self, fd: int) -> None:
        """One of the process's outputs has ended."""
        del self.outputs[fd]
        self.loop.remove_reader(fd)
        if fd == self.input:
            self.drop_input()  # a terminal is both
        else:
            os.close(fd)
        if not self.outputs:
            self.output_ended.set()

    async def last_words(self) -> None:
        """Send what is left in the terminal after its shell has ended.

        The kernel hands it over a little later than the end of the process. It ends with the
        terminal, or, if something in the background still holds that, with silence.
        """
        silent = False
        while self.outputs:
            await self.writable.wait()
            had_more = [self.take(fd) for fd in list(self.outputs)]
            if any(had_more):
                silent = False
            elif silent:
                return
            else:
                silent = True
                with contextlib.suppress(asyncio.TimeoutError):
                    await asyncio.wait_for(self.output_ended.wait(), LAST_WORDS_S)

    # From the client to the process.

    def data_received(self, data: bytes, datatype: Any) -> None:
        """Hand the client's bytes to the process, and slow the client down when it does not take them."""
        self.pending += data
        self.feed()

    def eof_received(self) -> bool:
        """The client's input has ended; its channel stays open for the output."""
        self.input_ended = True
        self.feed()
        return True

    def feed(self) -> None:
        """Write pending input as far as the process takes it."""
        if self.process is None:  # still starting
            self.channel.pause_reading()
            return
        if self.input < 0:  # nobody reads it
            self.pending.clear()
        try:
            while self.pending:
                del self.pending[: os.write(self.input, self.pending[:CHUNK])]
        except BlockingIOError:
            self.loop.add_writer(self.input, self.feed)
            self.channel.pause_reading()
            return
        except OSError:  # EPIPE, EIO: the process has closed its input
            self.pending.clear()
        if self.input >= 0:
            self.loop.remove_writer(self.input)
            if self.input_ended and not self.terminal:  # the end of input is no key on a terminal
                self.drop_input()
        if not self.closed:
            self.channel.resume_reading()

    def drop_input(self) -> None:
        """Close the process's input."""
        fd, self.input = self.input, -1
        self.loop.remove_writer(fd)
        os.close(fd)

    def terminal_size_changed(self, width: int, height: int, pixwidth: int, pixheight: int) -> None:
        """Tell the terminal, which tells the process by SIGWINCH."""
        if self.input >= 0 and self.terminal:
            terminal.set_size(self.input, width, height, pixwidth, pixheight)

    def signal_received(self, signame: str) -> None:
        """Send the process a signal by name ("INT")."""
        number = getattr(signal, "SIG" + signame, None)
        if self.process is not None and number is not None:
            self.process.signal(number)

    # The end.

    def finish(self, status: int) -> None:
        """Report the exit status or the signal, and close."""
        self.close_all()
        if self.closed or self.channel.is_closing():
            return
        if status < 0:
            self.channel.exit_with_signal(signal.Signals(-status).name[3:])
        else:
            self.channel.exit(status)

    def connection_lost(self, exc: Exception | None) -> None:
        """The client is gone: a terminal hangs up, pipes close. What ignores that goes on, as with sshd."""
        self.closed = True
        self.close_all()

    def close_all(self) -> None:
        """Close our ends."""
        for fd in list(self.outputs):
            self.close_output(fd)
        if self.input >= 0:
            self.drop_input()
        self.output_ended.set()
