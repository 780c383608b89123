"""One practice instance: its port, its keys, its console, and what makes it stop.

A `Host` lives in the event loop of `Hosts`: every coroutine here runs there.
"""

from __future__ import annotations

import asyncio
import logging
import os
import re
import shlex
import socket
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import asyncssh

from awslabs.sandbox import remove_tree
from awslabs.sandbox.run import isolation
from awslabs.sandbox.ssh.listener import Listener

log = logging.getLogger(__name__)

CONSOLE_CHARACTERS = 64 * 1024  # as much as EC2 keeps. Source: EC2 API reference, GetConsoleOutput
POWER_PIPE = "var/practice/power"  # in the instance's folder; shims.py writes there
UNITS = "var/practice/system"  # in the instance's folder; inside it is /etc/systemd/system
NOLOGIN_S = 300  # seconds before a scheduled shutdown from which on nobody may log in. Source: shutdown(8)

# What a shim writes into the power pipe: "poweroff 300", "reboot 0", "cancel".
ORDER = re.compile(r"(poweroff|reboot) (\d{1,7})|cancel")


class Host:
    """An EC2 instance of the practice cloud as an SSH host.

    Parameters
    ----------
    instance_id : str
    folder : Path
        Made at the first boot, removed by `stop`.
    new_connection : callable
        Who looks after one SSH connection to this host: `sessions.Connection`.
    """

    def __init__(self, instance_id: str, folder: Path, new_connection: Callable[[Host], asyncssh.SSHServer]):
        self.instance_id = instance_id
        self.new_connection = new_connection
        self.folder = folder
        self.link: Path | None = None  # where the folder would be, if it had to be made elsewhere
        self.user = ""
        self.hostname = ""
        self.public_key: asyncssh.SSHKey | None = None
        self.host_keys: list[asyncssh.SSHKey] = []
        self.on_power: Callable[[str], None] = lambda verb: None
        self.listener = Listener(lambda connection: self.keep(self.serve(connection)))
        self.connections: set[asyncssh.SSHServerConnection] = set()
        self.place: isolation.Namespaces | isolation.Plain
        self.placing = asyncio.Lock()
        self.changing = asyncio.Lock()  # boot, halt, reboot and stop happen one after the other
        self.stopped = False
        self.tasks: set[asyncio.Task[None]] = set()
        self.power_pipe = -1
        self.scheduled: asyncio.TimerHandle | None = None
        self.booted_at = 0.0
        self.boot_text = ""
        self.later_text = ""

    @property
    def port(self) -> int:
        """The TCP port on 127.0.0.1."""
        return self.listener.port

    @property
    def up(self) -> bool:
        """Whether sshd answers whom the firewall lets in."""
        return self.listener.up

    def keep(self, work: Coroutine[Any, Any, None]) -> None:
        """Run a coroutine in the background and log how it fails."""
        task = asyncio.ensure_future(work)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)
        task.add_done_callback(self.complain)

    def complain(self, task: asyncio.Task[None]) -> None:
        """Log the exception of a background task."""
        if not task.cancelled() and task.exception() is not None:
            log.error("%s: %s", self.instance_id, task.exception(), exc_info=task.exception())

    async def move(self) -> int:
        """Return the port; of one that was halted another one, as on AWS a started server's address is."""
        async with self.changing:
            if self.host_keys and not self.up and not self.stopped:
                self.listener.move()
        return self.port

    # Boot and its opposites.

    async def boot(
        self,
        ground: isolation.Ground,
        user: str,
        public_key: asyncssh.SSHKey | None,
        hostname: str,
        user_data: bytes | None,
        on_power: Callable[[str], None],
    ) -> None:
        """Make the folder and the host keys if this is the first boot, and answer on the port."""
        async with self.changing:
            if self.stopped or self.up:
                raise ValueError(f"{self.instance_id} {'is gone' if self.stopped else 'runs already'}")
            first = not self.host_keys
            self.user, self.public_key, self.hostname, self.on_power = user, public_key, hostname, on_power
            self.booted_at = time.monotonic()
            if first:
                self.ground = ground
                self.make_folder(user_data)
                kind = isolation.Plain if ground.why_plain else isolation.Namespaces
                self.place = kind(
                    isolation.Place(self.folder, ground.practice, user, hostname, self.instance_id)
                )
                kinds = ("ecdsa-sha2-nistp256", "ssh-ed25519")
                self.host_keys = [asyncssh.generate_private_key(kind) for kind in kinds]
            self.listen()
            who = f"user {user}, one public key" if public_key else "no public key, so nobody can log in"
            self.boot_text = (
                f"{self.stamp()}practice instance {self.instance_id}: a stand-in, no kernel boots here\n"
                f"{self.stamp()}host name {hostname}, {who}\n{self.key_text() if first else ''}"
            )
            self.later_text = ""
            if first and user_data:
                self.keep(self.run_user_data(user_data))
            self.start_timers()

    def start_timers(self) -> None:
        """Start the timers that were enabled, as systemd does at each boot."""
        if os.path.lexists(self.folder / UNITS / "timers.target.wants"):
            self.keep(self.run_as_root("systemctl start timers.target 2>&1", "systemd"))

    def listen(self) -> None:
        """Let sshd answer."""
        self.options = asyncssh.SSHServerConnectionOptions(
            server_factory=lambda: self.new_connection(self),
            server_host_keys=self.host_keys,
            encoding=None,
            allow_scp=False,
            line_editor=False,
            # Room for 32 KiB of a file in one packet with its header: in two, clients that wait for each
            # answer (paramiko does) lose 40 ms per packet to TCP's delayed acknowledgement.
            max_pktsize=64 * 1024,
            agent_forwarding=False,
            x11_forwarding=False,
            gss_host=None,
        )
        self.listener.answer()

    async def serve(self, connection: socket.socket) -> None:
        """See a client through its login; after that its `sessions.Connection` does."""
        try:
            await asyncssh.run_server(connection, options=self.options)
        except (asyncssh.Error, OSError) as error:
            log.info("%s: nobody logged in: %s", self.instance_id, error)

    async def halt(self) -> None:
        """End all processes and connections; keys and folder stay."""
        async with self.changing:
            await self.go_down()

    async def reboot(self, told: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """End all processes and connections, let `told` finish, answer again with the same keys and home."""
        async with self.changing:
            if not self.up:
                return  # switched off, and stays so
            await self.go_down()
        await told()
        async with self.changing:
            if not self.stopped and not self.up:
                self.booted_at = time.monotonic()
                self.write_console(f"{self.stamp()}practice instance {self.instance_id}: up again\n")
                self.listen()
                self.start_timers()

    async def stop(self) -> None:
        """End everything, give the port back, remove the folder."""
        async with self.changing:
            if self.stopped:
                return
            self.stopped = True
            await self.go_down()
            self.listener.close()
            if self.power_pipe >= 0:
                asyncio.get_running_loop().remove_reader(self.power_pipe)
                os.close(self.power_pipe)
            await asyncio.get_running_loop().run_in_executor(None, self.remove_folder)

    async def go_down(self) -> None:
        """Close the port, then end what runs behind it."""
        if self.scheduled is not None:
            self.scheduled.cancel()
            self.scheduled = None
        self.listener.refuse()
        for connection in list(self.connections):
            connection.disconnect(asyncssh.DISC_BY_APPLICATION, "the practice instance is going down")
        async with self.placing:
            if self.host_keys:
                await self.place.end()

    # The folder and the processes.

    def make_folder(self, user_data: bytes | None) -> None:
        """Make what the instance finds at its first boot. Nothing of it can run yet."""
        self.remove_folder()  # of a first boot that failed half-way, on a full disk
        real = self.ground.instances / self.instance_id
        if real != self.folder:
            self.folder.symlink_to(real)
            self.link, self.folder = self.folder, real
        system = {"": 0o755, "home": 0o755, "root": 0o700, "tmp": 0o1777, "var": 0o755, "var/tmp": 0o1777}
        more = {
            "var/log": 0o755,
            "var/lib": 0o755,
            "var/lib/cloud": 0o755,
            "var/practice": 0o755,
            UNITS: 0o755,
        }
        isolation.make_folders(self.folder, {**system, **more, f"home/{self.user}": 0o700})
        if self.ground.why_plain:
            # A login shell reads it after this computer's /etc/profile, which may have put the real
            # sudo in front. (With namespaces the instance has an /etc/profile of its own.)
            profile = self.folder / "home" / self.user / ".profile"
            profile.write_text(f"PATH={shlex.quote(str(self.ground.practice / 'bin'))}:$PATH\nexport PATH\n")
            isolation.own(profile)
        script = self.folder / "var/lib/cloud/user-data"
        script.touch(mode=0o700)
        script.write_bytes(user_data or b"")
        isolation.own(script)
        pipe = self.folder / POWER_PIPE
        os.mkfifo(pipe, 0o600)
        isolation.own(pipe)
        # Read and write, or it would end with the first writer. Whatever the instance does to the
        # file later, the server holds this end.
        self.power_pipe = os.open(pipe, os.O_RDWR | os.O_NONBLOCK)
        asyncio.get_running_loop().add_reader(self.power_pipe, self.hear)

    def remove_folder(self) -> None:
        """Remove the folder, if there is one, whatever permissions processes left in it."""
        remove_tree(self.folder)
        if self.link is not None:
            self.link.unlink()
            self.folder, self.link = self.link, None

    async def spawn(self, argv: list[str], **how: Any) -> isolation.Entered | isolation.Supervised:
        """Run a command on the instance; see `isolation.Namespaces.spawn`."""
        async with self.placing:
            if not self.up:
                raise isolation.NoPlace("the instance is going down")
            return await self.place.spawn(argv, **how)

    async def open_terminal(self) -> isolation.Terminal:
        """Open a terminal on the instance."""
        async with self.placing:
            if not self.up:
                raise isolation.NoPlace("the instance is going down")
            return await self.place.terminal()

    def environment(self) -> dict[str, str]:
        """Return the environment of a login on this instance."""
        return {
            "HOME": self.place.inside(f"home/{self.user}"),
            "USER": self.user,
            "LOGNAME": self.user,
            "SHELL": isolation.login_shell(),
            "PATH": f"{self.place.practice_inside}/bin:{isolation.SYSTEM_PATH}",
            "LANG": "C.UTF-8",
            "AWSLABS_POWER": self.place.inside(POWER_PIPE),
            "MNIST_DATA": "digits",  # the digits inside scikit-learn: nothing has to be downloaded
            "OMP_WAIT_POLICY": "PASSIVE",  # others run on this computer, too: no thread may wait busily
            "GPU_STAND_IN": "cpu",  # of a type with a GPU or not: this computer lends its processor
        }

    async def run_user_data(self, user_data: bytes) -> None:
        """Run a user data script, as cloud-init does at the first boot, or say why not."""
        if not user_data.startswith(b"#!"):
            self.write_console(
                "cloud-init: user data that is no script (no #! in front) is not run by the practice cloud\n"
            )
            return
        if self.ground.why_plain:
            why = f"it needs namespaces, and this computer has none for it ({self.ground.why_plain})"
            self.write_console(f"cloud-init: user data was not run: {why}\n")
            return
        self.write_console(f"{self.stamp()}cloud-init: running user data\n")
        await self.run_as_root(
            '{ /var/lib/cloud/user-data; echo "user data ended with exit status $?"; } 2>&1'
            " | tee -a /var/log/cloud-init-output.log",
            "cloud-init",
        )

    async def run_as_root(self, script: str, who: str) -> None:
        """Run a shell script as the instance's root, and write what it says on the console."""
        said, say = os.pipe()
        nothing = os.open("/dev/null", os.O_RDONLY)
        try:
            environment = {**self.environment(), "HOME": "/root", "USER": "root", "LOGNAME": "root"}
            started = await self.spawn(
                ["/bin/sh", "-c", script], env=environment, stdin=nothing, stdout=say, stderr=say, root=True
            )
        finally:
            os.close(nothing)
            os.close(say)
        async for line in isolation.lines_of(said):
            self.write_console(f"{self.stamp()}{who}: {line}\n")
        await started.wait()

    def sftp_command(self) -> list[str]:
        """Return the SFTP server's command line, as processes of the instance call it."""
        jail = [f"/home/{self.user}"] if self.ground.why_plain else []
        return [*self.ground.python, f"{self.place.practice_inside}/sftp.py", *jail]

    # Power.

    def lets_nobody_in(self) -> bool:
        """Return whether a scheduled shutdown is so near that there is a /run/nologin."""
        left_s = self.scheduled.when() - asyncio.get_running_loop().time() if self.scheduled else NOLOGIN_S
        return left_s < NOLOGIN_S

    def hear(self) -> None:
        """Take the orders that shims have written into the power pipe."""
        for line in os.read(self.power_pipe, 4096).decode("ascii", "replace").splitlines():
            order = ORDER.fullmatch(line)
            if order is None or not self.up:
                continue
            if self.scheduled is not None:
                self.scheduled.cancel()
                self.scheduled = None
            if line == "cancel":
                self.write_console(f"{self.stamp()}practice instance: shutdown cancelled\n")
            else:
                verb, seconds = order[1], int(order[2])
                self.write_console(f"{self.stamp()}practice instance: {verb} in {seconds} s\n")
                self.scheduled = asyncio.get_running_loop().call_later(seconds, self.begin, verb)

    def begin(self, verb: str) -> None:
        """Obey in the background."""
        self.scheduled = None
        self.keep(self.obey(verb))

    async def obey(self, verb: str) -> None:
        """Do what the instance ordered, and tell the cloud, in a thread of its own: it may call us back."""
        loop = asyncio.get_running_loop()
        self.write_console(f"{self.stamp()}practice instance: {verb}\n")

        async def tell() -> None:
            await loop.run_in_executor(None, self.on_power, verb)

        if verb == "reboot":
            await self.reboot(tell)
        else:
            await self.halt()
            await tell()

    # The console.

    def stamp(self) -> str:
        """Return the time since boot as the kernel prints it."""
        return f"[{time.monotonic() - self.booted_at:12.6f}] "

    def write_console(self, text: str) -> None:
        """Append to the console; like EC2's it keeps the latest, but never loses how the boot began."""
        self.later_text = (self.later_text + text)[len(self.boot_text) - CONSOLE_CHARACTERS :]

    def console(self) -> str:
        """Return the console's text."""
        return self.boot_text + self.later_text

    def key_text(self) -> str:
        """Return the host keys as cloud-init prints them, at the first boot (aws-facts, sections i, k)."""
        frame = "#" * 61
        kinds = {"ecdsa-sha2-nistp256": "ECDSA", "ssh-ed25519": "ED25519"}
        lines = [frame, "-----BEGIN SSH HOST KEY FINGERPRINTS-----"]
        for key in self.host_keys:
            lines.append(f"256 {key.get_fingerprint('sha256')} ({kinds[key.get_algorithm()]})")
        lines += ["-----END SSH HOST KEY FINGERPRINTS-----", frame]
        text = "".join(f"ec2: {line}\n" for line in lines)
        public = b"".join(key.export_public_key() for key in self.host_keys).decode()
        return f"{text}-----BEGIN SSH HOST KEY KEYS-----\n{public}-----END SSH HOST KEY KEYS-----\n"
