"""User data, and what an instance may do to itself: sudo, shutdown, reboot and their kin."""

from __future__ import annotations

import errno
import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from hosts_kit import Instance, eventually, on_both, running

from awslabs import servers
from awslabs.sandbox.ssh.host import CONSOLE_CHARACTERS
from awslabs.sandbox.ssh.hosts import Hosts

pytestmark = pytest.mark.live


def console_shows(instance: Instance, text: str) -> str:
    """Wait until the console shows a text, and return all of it."""
    eventually(lambda: text in instance.hosts.console(instance.instance_id), f"{text} in the console")
    return instance.hosts.console(instance.instance_id)


# User data.


def test_user_data_runs_once_as_the_instances_root(hosts: Hosts, launch: Callable[..., Instance]) -> None:
    script = (
        b"#!/bin/bash -e\nid -u; echo HOME=$HOME; pwd; echo trouble >&2; echo once >> /var/marks\nexit 5\n"
    )
    instance = launch(user_data=script)
    console = console_shows(instance, "user data ended with exit status 5")
    said = [line.partition("cloud-init: ")[2] for line in console.splitlines() if "cloud-init: " in line]
    assert said[:5] == ["running user data", "0", "HOME=/root", "/", "trouble"]
    log = instance.output("cat /var/log/cloud-init-output.log")
    assert log.splitlines()[:4] == said[1:5]
    hosts.halt(instance.instance_id)
    again = launch(user_data=script)
    assert again.output("cat /var/marks") == "once\n"
    assert "user data" not in hosts.console(again.instance_id)


def test_user_data_can_shut_the_instance_down(launch: Callable[..., Instance]) -> None:
    instance = launch(user_data=b"#!/bin/sh\nshutdown -h now\n")
    eventually(lambda: instance.orders == ["poweroff"], "the order")
    assert instance.refuses()


@pytest.mark.parametrize("user_data", [b"#cloud-config\npackages: [git]\n", b"\x1f\x8b\x08", b"echo hi"])
def test_what_is_no_script_is_refused_in_words(launch: Callable[..., Instance], user_data: bytes) -> None:
    instance = launch(user_data=user_data)
    assert "is not run by the practice cloud" in console_shows(instance, "cloud-init")
    assert instance.output("ls -A /var/log") == ""


@pytest.mark.parametrize("hosts", ["plain"], indirect=True)
def test_without_namespaces_user_data_does_not_run_and_says_why(
    hosts: Hosts, launch: Callable[..., Instance], tmp_path: Path
) -> None:
    instance = launch(user_data=f"#!/bin/sh\ntouch {tmp_path}/ran\n".encode())
    assert "it needs namespaces" in console_shows(instance, "user data was not run")
    assert "a test says so" in hosts.console(instance.instance_id)
    assert instance.output("echo but sessions work") == "but sessions work\n"
    assert not (tmp_path / "ran").exists()


def test_much_output_of_user_data_does_not_push_the_host_keys_out(launch: Callable[..., Instance]) -> None:
    instance = launch(user_data=b"#!/bin/sh\nseq 40000; head -c 300000 /dev/zero | tr '\\0' y\n")
    console = console_shows(instance, "user data ended with exit status 0")
    assert len(console) <= CONSOLE_CHARACTERS
    assert "-----BEGIN SSH HOST KEY FINGERPRINTS-----" in console
    assert "cloud-init: 1\n" not in console


# Power.


@on_both
@pytest.mark.parametrize(
    "command",
    [
        "sudo shutdown -h now",
        "sudo shutdown now",
        "sudo poweroff",
        "sudo halt -f",
        "sudo systemctl poweroff",
        "sudo /sbin/shutdown -P now 'a message'",
        "sudo bash -c 'shutdown +0'",
    ],
)
def test_an_instance_switches_itself_off(hosts: Hosts, launch: Callable[..., Instance], command: str) -> None:
    instance = launch()
    instance.output("nohup sleep 631.25 >/dev/null 2>&1 &")
    done = instance.ssh(f"{command}; sleep 600")
    assert done.returncode == 255, done  # the connection was closed
    eventually(lambda: instance.orders == ["poweroff"], "the order")
    assert running("631.25") == []
    assert instance.refuses()
    assert instance.folder.exists()  # it is off, not gone


@on_both
@pytest.mark.parametrize("command", ["shutdown now", "poweroff", "systemctl reboot", "shutdown -c"])
def test_only_root_may_switch_off(hosts: Hosts, instance: Instance, command: str) -> None:
    done = instance.ssh(command)
    assert done.returncode == 1
    assert "use sudo" in done.stderr
    assert instance.orders == []


@on_both
def test_a_shutdown_waits_its_minutes_and_can_be_cancelled(hosts: Hosts, instance: Instance) -> None:
    done = instance.ssh("sudo shutdown -h +180")
    assert "Shutdown scheduled for" in done.stderr
    console_shows(instance, "poweroff in 10800 s")
    instance.output("sudo shutdown -r +10")
    console_shows(instance, "reboot in 600 s")
    host = hosts.hosts[instance.instance_id]
    timer = host.scheduled
    assert timer is not None
    instance.output("sudo shutdown -c")
    console_shows(instance, "shutdown cancelled")
    assert timer.cancelled()
    assert host.scheduled is None


@on_both
def test_in_the_last_five_minutes_before_a_shutdown_nobody_is_let_in(
    hosts: Hosts, instance: Instance
) -> None:
    done = instance.ssh("sudo shutdown -h +5; sudo shutdown -c; sudo shutdown -h +4; echo who is in stays in")
    assert (done.returncode, done.stdout) == (0, "who is in stays in\n")
    line = [word.replace("LogLevel=ERROR", "LogLevel=INFO") for word in instance.ssh_line("echo too late")]
    late = subprocess.run(line, capture_output=True, text=True, timeout=120)
    assert (late.returncode, late.stdout) == (255, "")
    assert "System is going down. Unprivileged users are not permitted to log in" in late.stderr
    hosts.reboot(instance.instance_id)
    assert instance.output("echo forgotten") == "forgotten\n"
    assert instance.orders == []


def test_a_scheduled_shutdown_outlives_its_session(instance: Instance) -> None:
    instance.output("sudo sh -c 'echo poweroff 4 > /var/practice/power'")
    eventually(lambda: instance.orders == ["poweroff"], "the shutdown seconds later")


def test_nonsense_in_the_power_pipe_is_ignored(instance: Instance) -> None:
    nonsense = ["format c:", "poweroff", "poweroff -1", "poweroff 99999999999", "reboot 0; id", "\\0\\377"]
    for line in nonsense:
        instance.output(f"printf '{line}\\n' > /var/practice/power")
    instance.output("head -c 100000 /dev/urandom | timeout 1 tee /var/practice/power >/dev/null; true")
    instance.output("rm /var/practice/power")
    assert instance.output("echo up") == "up\n"
    assert instance.orders == []


@on_both
def test_a_reboot_ends_processes_and_keeps_keys_and_home(
    hosts: Hosts, launch: Callable[..., Instance]
) -> None:
    refused_meanwhile: list[bool] = []
    told: list[str] = []

    def on_power(verb: str) -> None:
        told.append(verb)
        refused_meanwhile.append(instance.refuses())

    instance = launch(on_power=on_power)
    instance.output("echo kept > file; nohup sleep 632.25 >/dev/null 2>&1 &")
    assert instance.ssh("sudo reboot; sleep 600").returncode == 255
    eventually(lambda: told == ["reboot"] and not instance.refuses(), "sshd again")
    assert refused_meanwhile == [True]
    assert running("632.25") == []
    assert instance.output("cat file") == "kept\n"  # with strict host key checking: same keys


def test_the_cloud_may_stop_the_instance_from_within_its_answer(
    hosts: Hosts, launch: Callable[..., Instance]
) -> None:
    def on_power(verb: str) -> None:
        told.append(verb)
        hosts.stop("i-1")
        told.append("stopped")

    told: list[str] = []
    instance = launch("i-1", on_power=on_power)
    instance.ssh("sudo poweroff")
    eventually(lambda: told == ["poweroff", "stopped"], "the stop")
    assert not instance.folder.exists()


def test_halt_and_boot_again_keep_keys_and_home_and_change_the_port(
    hosts: Hosts, launch: Callable[..., Instance]
) -> None:
    instance = launch("i-1")
    keys = instance.known_hosts.read_text()
    instance.output("echo kept > file; sudo shutdown +100")
    hosts.halt("i-1")
    hosts.halt("i-1")
    hosts.reboot("i-1")  # which wakes nobody who is off
    assert instance.refuses()
    again = launch("i-1")
    assert again.port != instance.port
    assert again.known_hosts.read_text().replace(str(again.port), str(instance.port)) == keys
    assert "host name" in hosts.console("i-1")
    assert "SSH HOST KEY" not in hosts.console("i-1")
    assert again.output("cat file") == "kept\n"
    with pytest.raises(ValueError, match="runs already"):
        launch("i-1")


def test_a_first_boot_that_failed_half_way_can_be_repeated(
    hosts: Hosts, launch: Callable[..., Instance], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: str, mode: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as disk:
        disk.setattr(os, "mkfifo", full)
        with pytest.raises(OSError, match="No space left"):
            launch("i-1")
    assert launch("i-1").output("ls") == ""


def test_stop_comes_once_and_unknown_instances_are_none_of_its_business(
    hosts: Hosts, launch: Callable[..., Instance]
) -> None:
    hosts.reserve("i-never-booted")
    hosts.stop("i-never-booted")
    launch("i-1")
    hosts.stop("i-1")
    hosts.stop("i-1")
    hosts.stop("i-unknown")
    hosts.reboot("i-unknown")
    hosts.halt("i-unknown")
    with pytest.raises(ValueError, match="reserve"):
        hosts.boot("i-1", user="u", public_key=None, hostname="h", user_data=None, on_power=print)


# Timers.

LIVES_S = 10, 60, 600  # for how long a server lives; the second if this computer was too busy for the first


def ends_after(time: str) -> bytes:
    """The user data with which `--ttl` ends a server, for shorter times, too."""
    return servers.TTL.format(minutes=1).replace("+1 minutes", f"+{time}").encode()


def test_a_server_with_a_ttl_lets_people_in_to_the_end(launch: Callable[..., Instance]) -> None:
    for seconds in LIVES_S:
        ends_at = time.time() + seconds
        instance = launch(f"i-{seconds}", user_data=ends_after(f"{seconds} seconds"))
        console_shows(instance, "user data ended with exit status 0")
        came_in = instance.ssh("systemctl is-active awslabs-ttl.timer")
        if time.time() < ends_at:
            break
    assert (came_in.returncode, came_in.stdout) == (0, "active\n")
    eventually(lambda: instance.orders == ["poweroff"], "the end")


def test_a_ttl_survives_reboot_and_stop(hosts: Hosts, launch: Callable[..., Instance]) -> None:
    instance = launch(user_data=ends_after("3 hours"))
    console_shows(instance, "user data ended with exit status 0")
    timers = instance.output("systemctl list-timers")
    assert "UTC  awslabs-ttl.timer " in timers
    hosts.reboot(instance.instance_id)
    eventually(lambda: instance.output("systemctl list-timers") == timers, "the timer after a reboot")
    hosts.halt(instance.instance_id)
    again = launch()
    eventually(lambda: again.output("systemctl list-timers") == timers, "the timer after a stop")
    assert again.orders == []
    again.output("sudo systemctl disable awslabs-ttl.timer; sudo systemctl stop awslabs-ttl.timer")
    hosts.reboot(again.instance_id)
    assert "awslabs" not in again.output("systemctl list-timers")


def test_a_server_that_was_off_when_its_time_came_ends_at_its_next_boot(
    hosts: Hosts, launch: Callable[..., Instance]
) -> None:
    for seconds in LIVES_S:
        instance = launch(f"i-{seconds}", user_data=ends_after(f"{seconds} seconds"))
        ends_at = time.time() + seconds
        console_shows(instance, "user data ended with exit status 0")
        hosts.halt(instance.instance_id)
        if instance.orders == []:
            break
    assert instance.orders == []
    time.sleep(max(0.0, ends_at - time.time()))
    again = launch(instance.instance_id)
    eventually(lambda: again.orders == ["poweroff"], "the end")


def test_a_timer_that_is_more_than_ours_is_refused_in_words(instance: Instance) -> None:
    unit = "printf '[Timer]\\n{0}\\n' | sudo tee /etc/systemd/system/x.timer >/dev/null; {1}"
    start = "sudo systemctl start x.timer"
    for line, why in {
        "OnCalendar=daily": "OnCalendar=daily is no time as 2030-01-31 12:00:00 UTC",
        "OnBootSec=5min": "OnBootSec= is not supported on a practice instance",
        "OnCalendar=2030-01-31 12:00:00 UTC": "Unit file x.service does not exist",
    }.items():
        assert why in instance.ssh(unit.format(line, start)).stderr
    assert "use sudo" in instance.ssh("systemctl start x.timer").stderr


# Shims.


@pytest.mark.parametrize(
    ("command", "prints"),
    [
        ("sudo whoami", "root"),
        ("sudo -n -E id -u", "0"),
        ("sudo -u root -- id -u", "0"),
        ("sudo -u ec2-user whoami", "ec2-user"),
        ("sudo A=1 B='x y' sh -c 'echo $A $B $HOME $SUDO_USER'", "1 x y /root ec2-user"),
        ("sudo sudo whoami", "root"),
        ("sudo -i pwd", "/root"),
        ("sudo -s echo '$USER' 'a  b'", "root a  b"),
        ("sudo sh -c 'exit 0'; echo $?", "0"),
        ("sudo false; echo $?", "1"),
        ("echo through | sudo tee copy", "through"),
        ("systemctl is-system-running", "running"),
        (
            "systemctl status | tail -1",
            "    a practice instance: its services are those that systemd-run started",
        ),
    ],
)
def test_stand_ins_do_what_they_can(instance: Instance, command: str, prints: str) -> None:
    assert instance.output(command).strip("\n") == prints


@on_both
@pytest.mark.parametrize(
    ("command", "why"),
    [
        ("sudo", "usage"),
        ("sudo -u postgres id", "unknown user postgres"),
        ("sudo --chroot=/ id", "not supported on a practice instance"),
        ("sudo no-such-command", "no-such-command: command not found"),
        ("sudo shutdown tomorrow", "cannot read the time tomorrow"),
        ("sudo shutdown --weird", "unknown option --weird"),
        ("systemctl start nginx", "cannot start nginx: a practice instance has no systemd"),
        ("sudo systemctl enable --now docker", "cannot enable docker"),
        ("loginctl enable-linger", "no systemd here"),
        ("systemd-run --user true", "--user is not supported"),
    ],
)
def test_stand_ins_say_what_they_cannot(hosts: Hosts, instance: Instance, command: str, why: str) -> None:
    done = instance.ssh(command)
    assert done.returncode == 1
    assert why in done.stderr
    assert "Traceback" not in done.stderr


@on_both
def test_stand_ins_come_first_in_every_kind_of_shell(hosts: Hosts, instance: Instance) -> None:
    for shell in ("sh -c", "bash -c", "bash -lc", "bash -ic", "sudo bash -c", "sudo -i sh -c"):
        found = instance.ssh(f"{shell} 'command -v sudo; command -v reboot; command -v systemctl'").stdout
        assert [path.rpartition("/practice/bin/")[2] for path in found.split()] == [
            "sudo",
            "reboot",
            "systemctl",
        ]
        assert found.count("/practice/bin/") == 3, (shell, found)


def test_stand_ins_cover_the_real_commands(instance: Instance) -> None:
    covered = instance.output(
        "for c in /usr/bin/sudo /usr/sbin/shutdown; do [ ! -e $c ] || head -c 9 $c; done"
    )
    assert covered == "#!/bin/sh" * sum(
        Path(path).exists() for path in ("/usr/bin/sudo", "/usr/sbin/shutdown")
    )


# Services and Python.

SERVE = (
    "sudo systemd-run --quiet --collect --unit=clock --uid=$(id -un) --working-directory=$HOME"
    " --property=Restart=on-failure --property=RestartSec=0.1"
    " --property=StandardOutput=append:$HOME/log --setenv=WHO=me"
)


@on_both
def test_a_service_outlives_its_session_and_ends_with_the_instance(hosts: Hosts, instance: Instance) -> None:
    instance.output(f"{SERVE} sh -c 'echo $WHO $(id -u) $PWD; exec sleep 31415926'")
    instance.output("systemctl is-active --quiet clock")
    eventually(lambda: running("31415926"), "the service")
    assert instance.output("cat log").split() == ["me", *instance.output("id -u; pwd").split()]
    assert "already loaded" in instance.ssh(f"{SERVE} true").stderr
    hosts.stop(instance.instance_id)
    assert not running("31415926")


@on_both
def test_a_service_that_fails_is_started_again_and_one_that_is_stopped_is_not(instance: Instance) -> None:
    once = "echo start; [ -e second ] || { touch second; exit 1; }; exec sleep 2718281828"
    instance.output(f"{SERVE} sh -c '{once}'")
    eventually(lambda: running("2718281828"), "the second start")
    assert instance.output("cat log") == "start\nstart\n"
    assert "use sudo" in instance.ssh("systemctl stop clock").stderr
    instance.output("sudo systemctl stop clock")
    assert not running("2718281828")
    assert instance.ssh("systemctl is-active clock").stdout == "inactive\n"


def test_a_service_that_fails_at_once_is_given_up(instance: Instance) -> None:
    instance.output(f"{SERVE.replace('0.1', '0')} sh -c 'echo start; exit 1'")
    eventually(lambda: instance.ssh("systemctl is-active clock").returncode, "the end")
    assert instance.output("cat log") == "start\n" * 5


def test_pip_installs_what_is_there_and_refuses_what_is_not(instance: Instance) -> None:
    assert (
        instance.output("python3 -m venv --clear env && env/bin/python -c 'import boto3; print(1)'") == "1\n"
    )
    for pip in ("python3 -m pip", "env/bin/python -m pip", "env/bin/pip", "sudo -H python3 -m pip"):
        assert "already satisfied: boto3" in instance.output(f"{pip} install --index-url http://x boto3")
    refused = instance.ssh("pip install no-such-package==1")
    assert refused.returncode == 1
    assert "without no-such-package==1. Install it where the practice cloud runs" in refused.stderr
