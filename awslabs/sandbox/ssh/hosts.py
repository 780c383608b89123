"""EC2 instances of the practice cloud as real SSH hosts on 127.0.0.1.

    hosts = Hosts(Loop(directory))
    port = hosts.reserve("i-0abc")                    # connections are refused, as while a server boots
    hosts.boot("i-0abc", user="ec2-user", public_key="ssh-ed25519 AAAA...", hostname="ip-10-10-0-5",
               user_data=None, on_power=tell_the_cloud)          # now `ssh -p PORT ec2-user@127.0.0.1` works
    hosts.stop("i-0abc")                              # every process of it has ended when this returns

All listeners live in the one event loop of a practice run; an instance that nobody has logged in
to is a socket and two host keys. With the first session or user data it gets its own namespaces.

    host.py        an instance: keys, console, power
    listener.py    its port: who knocks is taken, refused, or not heard
    sessions.py    what may happen on its SSH port, and the bytes between a client and a process
    terminal.py    the client's terminal modes and size, applied
    sftp.py        SFTP server, run inside                        | run alone, by path, as programs
    shims.py       sudo, shutdown, systemctl, ..., run inside     |

Where its processes live (namespaces, or a supervisor), and how all of them end, says `run/isolation.py`.
"""

from __future__ import annotations

import asyncio
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path

import asyncssh

from awslabs.sandbox.run import isolation
from awslabs.sandbox.run.loop import Loop
from awslabs.sandbox.ssh.host import Host
from awslabs.sandbox.ssh.sessions import Connection

__all__ = ["Hosts"]

HERE = Path(__file__).parent

SHIMS = (
    "sudo",
    "shutdown",
    "poweroff",
    "halt",
    "reboot",
    "systemctl",
    "loginctl",
    "systemd-run",
    "pip",
    "pip3",
)

# The instance's `python3` is the practice cloud's own Python, with what is installed there; its pip and venv
# are shims, which install nothing.
PYTHON3 = """#!/bin/sh
export AWSLABS_PYTHON={python}
if [ "$1" = -m ]; then case "$2" in
    pip) shift 2; exec {bin}/pip "$@" ;;
    venv) shift 2; exec {shim} venv "$@" ;;
esac; fi
exec {python} "$@"
"""


class Hosts:
    """The SSH hosts of one practice cloud. All methods may be called from any thread.

    Parameters
    ----------
    loop : Loop
        Of the practice run. In its directory instances live in `instances/<id>/`, programs they share in
        `practice/`.
    """

    def __init__(self, loop: Loop):
        self.loop, self.directory = loop, loop.directory
        self.hosts: dict[str, Host] = {}
        self.shared = False  # whether the programs that instances share are there
        (self.directory / "instances").mkdir(parents=True, exist_ok=True)

    def reserve(self, instance_id: str) -> int:
        """Return a port for an instance on 127.0.0.1: bound from now on, refusing until it boots.

        One that was halted gets another port than before; one that runs keeps its own.
        """

        async def find_or_make() -> int:
            if instance_id in self.hosts:
                return await self.hosts[instance_id].move()
            folder = self.directory / "instances" / instance_id
            self.hosts[instance_id] = Host(instance_id, folder, Connection)
            return self.hosts[instance_id].port

        return self.loop.call(find_or_make())

    def let_in(self, instance_id: str, lets_in: bool) -> None:
        """Let new connections reach an instance from now on, or let their packets fall; see `listener.py`."""

        async def change() -> None:
            self.hosts[instance_id].listener.let_in(lets_in)

        if instance_id in self.hosts:
            self.loop.call(change())

    def boot(
        self,
        instance_id: str,
        *,
        user: str,
        public_key: str | None,
        hostname: str,
        user_data: bytes | None,
        on_power: Callable[[str], None],
    ) -> None:
        """Let sshd of a reserved instance answer; it does when this returns.

        A halted instance boots again with the same host keys and home; user data runs at the first boot only,
        and only that boot prints the host keys on the console.

        Parameters
        ----------
        user : str
            The one user that may log in: "ec2-user" on Amazon Linux, "ubuntu" on Ubuntu.
        public_key : str or None
            In OpenSSH's one-line form. With None nobody can log in.
        hostname : str
            Such as "ip-10-10-0-5".
        user_data : bytes or None
            A script ("#!...") runs, where the operating system offers namespaces. Anything else does not,
            and the console says so.
        on_power : callable
            Called in a thread of its own with "poweroff" or "reboot" when the instance ordered that, after
            all of its processes have ended. After "poweroff" the instance stays halted. After "reboot" it
            answers again as soon as `on_power` returns.

        Raises
        ------
        ValueError
            If the instance was not reserved or runs already, or the key is none.
        """
        if instance_id not in self.hosts:
            raise ValueError(f"{instance_id} has no port: reserve it first")
        try:
            key = asyncssh.import_public_key(public_key) if public_key else None
        except asyncssh.KeyImportError as error:
            raise ValueError(f"not a public key in OpenSSH's form: {error}") from error

        async def boot() -> None:
            ground = await self.loop.find_ground()
            if not self.shared:
                write_shared_programs(ground)
                self.shared = True
            await self.hosts[instance_id].boot(ground, user, key, hostname, user_data, on_power)

        self.loop.call(boot())

    def console(self, instance_id: str) -> str:
        """Return the text of the latest boot; of the first with the host keys' fingerprints, "" before it."""
        host = self.hosts.get(instance_id)
        return host.console() if host else ""

    def halt(self, instance_id: str) -> None:
        """Switch an instance off from outside: its processes end; folder and keys stay."""
        if instance_id in self.hosts:
            self.loop.call(self.hosts[instance_id].halt())

    def reboot(self, instance_id: str) -> None:
        """Reboot an instance from outside: processes end; same port, host keys and home afterwards."""
        if instance_id in self.hosts:  # and nobody has to be told
            self.loop.call(self.hosts[instance_id].reboot(lambda: asyncio.sleep(0)))

    def stop(self, instance_id: str) -> None:
        """End an instance for good: when this returns no process of it is left, nor its folder."""
        host = self.hosts.get(instance_id)
        if host is not None:
            self.loop.call(host.stop())
            self.hosts.pop(instance_id, None)

    def close(self) -> None:
        """Stop all instances."""

        async def stop_all() -> None:
            await asyncio.gather(*(host.stop() for host in self.hosts.values()))

        self.loop.call(stop_all())
        self.hosts.clear()


def write_shared_programs(ground: isolation.Ground) -> None:
    """Make the folder of programs that instances share."""
    inside = str(ground.practice) if ground.why_plain else isolation.Namespaces.practice_inside
    programs = ground.practice / "bin"
    programs.mkdir(parents=True, exist_ok=True)
    for name in ("sftp.py", "shims.py"):
        shutil.copyfile(HERE / name, ground.practice / name)
    python = isolation.python_with_packages(ground)[0]
    shim = shlex.join([*ground.python, f"{inside}/shims.py"])
    for name in SHIMS:
        write_script(
            programs / name,
            f'#!/bin/sh\nexport AWSLABS_PYTHON={shlex.quote(python)}\nexec {shim} "$0" "$@"\n',
        )
    script = PYTHON3.format(python=shlex.quote(python), shim=shim, bin=shlex.quote(f"{inside}/bin"))
    write_script(programs / "python3", script)
    for path in (ground.practice, programs, *ground.practice.glob("*.py")):
        path.chmod(0o755)


def write_script(path: Path, text: str) -> None:
    """Write a shell script that everybody may run."""
    path.write_text(text)
    path.chmod(0o755)
