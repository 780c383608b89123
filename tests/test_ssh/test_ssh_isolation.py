"""What an instance can see of this computer, and that nothing of it stays."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hosts_kit import Instance, eventually, mentioning, on_both, running, started

from awslabs.sandbox.run import first_process, isolation
from awslabs.sandbox.ssh.hosts import Hosts

pytestmark = pytest.mark.live

# Namespaces.


def test_where_there_are_namespaces_instances_get_them(instance: Instance) -> None:
    assert instance.hosts.loop.ground is not None
    assert instance.hosts.loop.ground.why_plain == ""


def test_an_instance_has_its_own_name_user_and_processes(instance: Instance) -> None:
    assert instance.output("hostname; cat /etc/hostname; uname -n").split() == ["ip-10-10-0-5"] * 3
    assert instance.output("id -un; id -u; whoami").split() == ["ec2-user", "1000", "ec2-user"]
    assert instance.output("stat -c %U ~ .") == "ec2-user\nec2-user\n"
    pids = instance.output("ls /proc | grep '^[0-9]'").split()
    assert "1" in pids
    assert len(pids) < 8
    assert str(os.getpid()) not in pids


def test_an_instance_cannot_signal_what_is_outside(instance: Instance) -> None:
    with started(["sleep", "600"]) as bystander:
        assert instance.ssh(f"kill -9 {bystander.pid}").returncode != 0
        instance.ssh("kill -9 -1")
        instance.ssh("sudo kill -9 -1; sudo kill -9 1")
        assert bystander.poll() is None
    assert instance.output("echo still there") == "still there\n"


def test_the_students_files_are_not_visible(launch: Callable[..., Instance], tmp_path: Path) -> None:
    own = Path.home() / "diary"
    own.write_text("secret")
    for folder in (own, *own.parents):
        if folder.stat().st_uid == os.getuid() and folder.is_relative_to(tmp_path):
            folder.chmod(0o755)  # so that only its absence hides it
    one, other = launch("i-1"), launch("i-2")
    other.output("echo x > /tmp/of-the-other; echo y > /dev/shm/of-the-other; echo z > ~/of-the-other")
    places = [own, tmp_path, one.hosts.directory, other.folder, "/tmp/of-the-other", "/dev/shm/of-the-other"]
    real_home = os.path.expanduser(f"~{os.getuid()}")
    seen = one.output(
        f"ls -d {' '.join(map(str, places))} {real_home}/.* /home/* 2>/dev/null || true"
    ).split()
    assert seen == ["/home/ec2-user"]
    found = one.output("find /home /root /tmp /var /run /dev/shm -name '*of-the-other*' -o -name diary")
    assert found == ""
    assert one.output("ls -A /run/user /mnt /media /srv 2>/dev/null || true") == ""


def test_nothing_of_this_computer_can_be_written(instance: Instance) -> None:
    places = "/etc/mine /usr/mine /usr/local/bin/mine /practice/mine /practice/bin/sudo /sys/mine"
    write = f"for p in {places}; do (echo x > $p) && echo wrote $p; done 2>/dev/null"
    assert instance.output(f"{write}; sudo sh -c '{write}'; true") == ""
    for command in (
        "mount -o remount,rw /usr",
        "umount /etc/passwd",
        "mount --bind /tmp /etc",
        "chmod 777 /usr",
    ):
        assert instance.ssh(f"sudo {command}").returncode != 0, command
    assert not Path("/etc/mine").exists()
    instance.output("sudo mkdir /data; echo kept > /data/file; sudo touch /root/file /var/file")


def test_root_inside_is_nobody_outside(instance: Instance) -> None:
    instance.output("sudo touch /tmp/made-by-root")
    owner = (instance.folder / "tmp/made-by-root").stat().st_uid
    assert owner == (isolation.practice_uid() or os.getuid())
    assert owner != 0
    capabilities = instance.output("grep -E '^Cap(Eff|Prm)' /proc/self/status").split()
    assert capabilities[1::2] == ["0" * 16] * 2


def test_orphans_are_buried(instance: Instance) -> None:
    instance.output("for i in 1 2 3 4 5; do (setsid true &) ; done; sleep 0.2")
    states = "cat /proc/[0-9]*/stat 2>/dev/null | sed 's/.*) //' | cut -c1"
    eventually(lambda: "Z" not in instance.output(states), "the burial")


def test_the_instance_keeps_what_it_wrote_until_it_stops(instance: Instance) -> None:
    instance.output("mkdir -p locked/in; touch locked/in/file; chmod 0 locked/in locked; ln -s / root")
    instance.hosts.reboot(instance.instance_id)
    assert instance.output("ls").split() == ["locked", "root"]
    instance.hosts.stop(instance.instance_id)
    assert not instance.folder.exists()
    assert Path("/etc").exists()


def test_no_link_is_followed_where_a_mount_point_belongs(tmp_path: Path) -> None:
    root, victim = tmp_path / "root", tmp_path / "victim"
    (root / "home").mkdir(parents=True)
    victim.mkdir()
    (root / "home" / "student").symlink_to(victim)
    (root / "usr").symlink_to(victim)
    assert first_process.place(str(root), "/home/student/.venv") == str(root / "home/student/.venv")
    first_process.place(str(root), "usr")
    assert (root / "home/student/.venv").is_dir()
    assert not (root / "usr").is_symlink()
    assert list(victim.iterdir()) == []


def test_a_hostile_folder_survives_no_reboot(instance: Instance, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.mkdir()
    instance.output(f"rm -f /bin; ln -s {victim} /bin; ln -s {victim} /sneaky; ls /")
    instance.hosts.reboot(instance.instance_id)
    assert instance.output("/bin/echo fine") == "fine\n"
    assert list(victim.iterdir()) == []


# The end.

DAEMONS = """
nohup sleep WORD >/dev/null 2>&1 &
setsid sleep WORD >/dev/null 2>&1 &
(setsid sh -c 'env -i setsid sleep WORD & exec sleep WORD' >/dev/null 2>&1 &)
sleep 0.1
"""


@on_both
def test_stop_ends_every_process_however_it_detached(hosts: Hosts, launch: Callable[..., Instance]) -> None:
    one, other, word = launch("i-1"), launch("i-2"), "621.25"
    one.output(DAEMONS.replace("WORD", word))
    other.output("nohup sleep 622.25 >/dev/null 2>&1 &")
    eventually(lambda: len(running(word)) == 4, "four daemons")
    with started(one.ssh_line("sleep 621.75")) as open_session:
        eventually(lambda: running("621.75"), "a session")
        hosts.stop("i-1")
        assert running(word) == []
        assert one.refuses()
        assert open_session.wait(120) == 255
    assert len(running("622.25")) >= 1  # the other instance's
    hosts.stop("i-2")
    assert running("622.25") == []


def test_an_instance_whose_first_process_was_killed_from_outside_starts_anew(instance: Instance) -> None:
    place = instance.hosts.hosts[instance.instance_id].place
    assert isinstance(place, isolation.Namespaces)
    instance.output("echo kept > file; nohup sleep 624.25 >/dev/null 2>&1 &")
    first = place.init_pid
    os.kill(first, signal.SIGKILL)
    eventually(lambda: not running("624.25"), "the end of all")
    assert instance.output("cat file") == "kept\n"
    assert place.init_pid != first


SERVER = """
import asyncio, json, sys, time
from pathlib import Path
from awslabs.sandbox.run import isolation
from awslabs.sandbox.run.loop import Loop
from awslabs.sandbox.ssh.hosts import Hosts
directory, key, plain = sys.argv[1:]
if plain == "plain":
    async def pretend(directory):
        return "a test says so"
    isolation.why_no_namespaces = pretend
hosts = Hosts(Loop(Path(directory)))
port = hosts.reserve("i-1")
hosts.boot("i-1", user="ec2-user", public_key=key, hostname="h", user_data=None, on_power=print)
print(json.dumps({"port": port}), flush=True)
time.sleep(600)
"""


@pytest.fixture
def doomed(hosts: Hosts, request: pytest.FixtureRequest, key: Path, tmp_path: Path) -> Iterator[Instance]:
    """An instance whose server is another process, on the same ground as `hosts`."""
    ground = request.node.callspec.params["hosts"]
    line = [
        sys.executable,
        "-c",
        SERVER,
        str(tmp_path / "doomed"),
        key.with_suffix(".pub").read_text(),
        ground,
    ]
    elsewhere = tempfile.mkdtemp()  # where a root server without namespaces puts instances
    os.chmod(elsewhere, 0o755)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "TMPDIR": elsewhere}
    with started(line, stdout=subprocess.PIPE, env=environment) as server:
        assert server.stdout is not None
        port = json.loads(server.stdout.readline())["port"]
        instance = Instance(hosts, "i-1", port, key, tmp_path / "known", tmp_path / "doomed/instances/i-1")
        instance.server, instance.elsewhere = server, elsewhere  # type: ignore[attr-defined]
        scanned = subprocess.run(
            ["ssh-keyscan", "-T", "120", "-p", str(port), "127.0.0.1"], capture_output=True, text=True
        )
        instance.known_hosts.write_text(scanned.stdout)
        yield instance
    shutil.rmtree(elsewhere)


@on_both
def test_everything_dies_with_a_server_that_is_killed(hosts: Hosts, doomed: Instance) -> None:
    word = "623.25"
    doomed.output(DAEMONS.replace("WORD", word))
    line = doomed.ssh_line("sleep 623.75", options=("-tt",))
    with started(line, stdin=subprocess.PIPE) as session:
        eventually(lambda: len(running(word)) == 4 and running("623.75"), "daemons and a session")
        places = [str(doomed.folder.parent), str(doomed.elsewhere)]  # type: ignore[attr-defined]
        assert any(map(mentioning, places))
        before = running(word) + running("623.75")
        doomed.server.send_signal(signal.SIGKILL)  # type: ignore[attr-defined]
        assert session.wait(120) == 255
        eventually(lambda: not any(Path(f"/proc/{pid}").exists() for pid in before), "the end of all")
    eventually(lambda: not any(map(mentioning, places)), "the end of the helpers")


# Without namespaces.


@pytest.mark.parametrize("hosts", ["plain"], indirect=True)
def test_without_namespaces_a_session_is_still_no_root(hosts: Hosts, instance: Instance) -> None:
    assert int(instance.output("id -u")) == (isolation.practice_uid() or os.getuid())
    assert instance.ssh("touch /etc/mine").returncode != 0 or os.access("/etc", os.W_OK)
    home = instance.output("pwd; echo $HOME").split()
    assert home[0] == home[1] == str(instance.folder.resolve() / "home/ec2-user")


def test_the_reason_for_no_namespaces_is_the_systems_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        isolation, "tool", lambda name: "/bin/false" if name == "unshare" else f"/usr/bin/{name}"
    )
    assert asyncio.run(isolation.why_no_namespaces(tmp_path)) == "unshare ended without a word"
    monkeypatch.setattr(isolation.shutil, "which", lambda name, path: None)
    monkeypatch.undo()
    monkeypatch.setattr(isolation.shutil, "which", lambda name, path=None: None)
    assert "there is no unshare" in asyncio.run(isolation.why_no_namespaces(tmp_path))
    assert list(tmp_path.glob("try-*")) == []


def test_a_python_that_is_known_by_a_link_runs_inside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where ~/.local/bin/python3.12 is a link, and a virtual environment was made with that."""
    called, venv = tmp_path / "links" / "python3", tmp_path / "venv"
    (venv / "bin").mkdir(parents=True)
    called.parent.mkdir()
    called.symlink_to(os.path.realpath(sys.executable))
    (venv / "bin" / "python").symlink_to("python3")
    (venv / "bin" / "python3").symlink_to(called)
    monkeypatch.setattr(isolation.sys, "prefix", str(venv))
    monkeypatch.setattr(isolation.sys, "executable", str(venv / "bin" / "python"))
    shown = isolation.interpreter_folders()
    assert shown[-2:] == [str(venv), str(called.parent)]
    assert not [path for path in shown if path in ("/bin", "/usr/bin")]
