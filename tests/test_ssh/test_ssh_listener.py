"""The port of a practice instance: who is taken, who is refused, and who hears nothing."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from hosts_kit import Instance, eventually

from awslabs.sandbox.ssh.hosts import Hosts

pytestmark = pytest.mark.live
NAME = "i-0123456789abcdef0"
SILENCE_S = 0.5


def knock(port: int, timeout_s: float = 120) -> str:
    """What a client sees on a port: `greeted`, `refused` or, as if its packets fell, `nothing`."""
    with socket.socket() as client:
        client.settimeout(timeout_s)
        try:
            client.connect(("127.0.0.1", port))
            return "greeted" if client.recv(4) == b"SSH-" else "closed"
        except ConnectionRefusedError:
            return "refused"
        except TimeoutError:
            return "nothing"


def test_a_closed_door_is_silent_and_who_is_in_stays_in(instance: Instance) -> None:
    assert knock(instance.port) == "greeted"
    with instance.paramiko() as client:
        for _ in range(2):  # saying it twice changes nothing
            instance.hosts.let_in(instance.instance_id, False)
            assert knock(instance.port, SILENCE_S) == "nothing"
        _, stdout, _ = client.exec_command("echo still here")
        assert stdout.read() == b"still here\n"
    instance.hosts.let_in(instance.instance_id, True)
    assert knock(instance.port) == "greeted"


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a client may be connected, and hear nothing")
def test_openssh_says_what_it_says_on_aws(instance: Instance) -> None:
    instance.hosts.let_in(instance.instance_id, False)
    line = [word.replace("LogLevel=ERROR", "LogLevel=INFO") for word in instance.ssh_line("true")]
    line[1:1] = ["-o", "ConnectTimeout=1"]
    done = subprocess.run(line, capture_output=True, text=True, timeout=120)
    assert done.returncode == 255
    assert f"ssh: connect to host 127.0.0.1 port {instance.port}: Connection timed out" in done.stderr


def test_who_waits_at_a_closed_door_comes_in_when_it_opens(instance: Instance) -> None:
    instance.hosts.let_in(instance.instance_id, False)
    seen: list[str] = []
    waiting = threading.Thread(target=lambda: seen.append(knock(instance.port)))
    waiting.start()
    time.sleep(0.3)
    instance.hosts.let_in(instance.instance_id, True)
    waiting.join()
    assert seen == ["greeted"]


def test_a_closed_door_stays_closed_through_boot_halt_and_another_port(
    hosts: Hosts, launch: Callable[..., Instance]
) -> None:
    port = hosts.reserve(NAME)
    assert knock(port) == "refused"
    hosts.let_in(NAME, False)
    assert knock(port, SILENCE_S) == "nothing"
    assert launch(NAME).port == port
    assert knock(port, SILENCE_S) == "nothing"
    hosts.reboot(NAME)
    assert knock(port, SILENCE_S) == "nothing"
    hosts.halt(NAME)
    assert knock(port, SILENCE_S) == "nothing"
    moved = hosts.reserve(NAME)
    assert moved != port
    assert knock(port) == "refused"  # nobody has it any more
    assert knock(moved, SILENCE_S) == "nothing"
    hosts.let_in(NAME, True)
    assert knock(moved) == "refused"  # it has not booted
    again = launch(NAME)
    assert again.output("echo in") == "in\n"
    hosts.let_in(NAME, False)
    hosts.stop(NAME)
    eventually(lambda: knock(again.port) == "refused", "the port given back")
    hosts.let_in(NAME, True)  # of one that is gone: nothing


def test_a_door_that_opens_and_closes_all_the_time_loses_nobody(instance: Instance) -> None:
    over = threading.Event()

    def swing() -> None:
        while not over.is_set():
            for lets_in in (False, True):
                instance.hosts.let_in(instance.instance_id, lets_in)
                # Mostly open: Linux tries a connection again at 1, 3, 7, 15 and 31 s, and then forgets it.
                time.sleep(0.04 if lets_in else 0.01)

    swinging = threading.Thread(target=swing)
    swinging.start()
    try:
        with ThreadPoolExecutor(20) as clients:
            seen = list(clients.map(lambda _: knock(instance.port), range(20)))
    finally:
        over.set()
        swinging.join()
    assert set(seen) == {"greeted"}
    assert instance.hosts.hosts[instance.instance_id].listener.plugs == []
