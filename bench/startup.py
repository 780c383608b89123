"""How long a student waits for the command line to say anything, beside what it stands on.

    python bench/startup.py

Each command runs ten times; the best is printed, with its ratio to `import boto3` alone. Then servers, from
the command that starts them to their first answered call (GetCallerIdentity), the best of five: seconds, CPU
seconds of all processes together, and what the server has in memory then.
"""

from __future__ import annotations

import http.client
import os
import resource
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

COMMANDS = {
    "python -c 'import boto3'": [sys.executable, "-c", "import boto3"],
    "aws --version": ["aws", "--version"],
    "python -m awslabs.ec2 --help": [sys.executable, "-m", "awslabs.ec2", "--help"],
    "python -m awslabs.ledger --help": [sys.executable, "-m", "awslabs.ledger", "--help"],
    "python -m awslabs": [sys.executable, "-m", "awslabs"],
    "python -m awslabs.ledger list": [sys.executable, "-m", "awslabs.ledger", "list"],
}


def best_of(command: list[str], times: int = 10) -> float:
    """The shortest of `times` runs, in seconds."""
    seconds = []
    for _ in range(times):
        since = time.perf_counter()
        subprocess.run(command, check=True, capture_output=True)
        seconds.append(time.perf_counter() - since)
    return min(seconds)


class Start(NamedTuple):
    """What it takes until a server has answered."""

    seconds: float
    cpu_s: float
    memory_mib: float

    def __str__(self) -> str:
        return f"{self.seconds:6.3f} s   {self.cpu_s:5.2f} CPU-seconds   {self.memory_mib:4.0f} MiB"


def ask(port: int) -> None:
    """GetCallerIdentity, as soon as somebody listens; without boto3, whose import takes its own time."""
    credential = "Credential=AKIAPRACTICE111122223333/20260101/us-east-1/sts/aws4_request"
    headers = {
        "Authorization": f"AWS4-HMAC-SHA256 {credential}, SignedHeaders=host, Signature=0",
        "Content-Type": "application/x-www-form-urlencoded",
    }
    while True:
        connection = http.client.HTTPConnection("127.0.0.1", port)
        try:
            connection.request("POST", "/", "Action=GetCallerIdentity&Version=2011-06-15", headers)
        except ConnectionRefusedError:
            time.sleep(0.005)
            continue
        answer = connection.getresponse()
        assert answer.status == 200, answer.read()
        return


def of_process(pid: int) -> tuple[float, float]:
    """CPU-seconds and MiB of a process that lives (Linux)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    cpu_s = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return cpu_s, pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def of_children() -> float:
    """CPU-seconds of all processes that this one has started and that are gone."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def practice_cloud() -> Start:
    """`sandbox start`."""
    from awslabs import sandbox

    with tempfile.TemporaryDirectory() as home:
        before, since = of_children(), time.perf_counter()
        environment = {**os.environ, "AWSLABS_HOME": home}
        command = [sys.executable, "-m", "awslabs.sandbox"]
        subprocess.run([*command, "start"], check=True, capture_output=True, env=environment)
        run = sandbox.current(Path(home))
        assert run is not None
        try:
            ask(int(run.endpoint_url.rpartition(":")[2]))
            seconds, (cpu_s, memory_mib) = time.perf_counter() - since, of_process(run.pid)
            return Start(seconds, cpu_s + of_children() - before, memory_mib)
        finally:
            run.stop()


def moto_server() -> Start:
    """`python -m moto.server`, alone."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    since = time.perf_counter()
    command = [sys.executable, "-m", "moto.server", "-p", str(port)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as server:
        try:
            ask(port)
            seconds, (cpu_s, memory_mib) = time.perf_counter() - since, of_process(server.pid)
            return Start(seconds, cpu_s, memory_mib)
        finally:
            server.kill()


SERVERS: dict[str, Callable[[], Start]] = {"sandbox start": practice_cloud, "moto.server": moto_server}


def main() -> None:
    peer = 0.0
    for name, command in COMMANDS.items():
        if shutil.which(command[0]) is None:
            print(f"{name:<34} not on this computer")
            continue
        seconds = best_of(command)
        peer = peer or seconds
        print(f"{name:<34} {seconds:6.3f} s   {seconds / peer:5.2f} of `import boto3`")
    for name, start in SERVERS.items():
        print(f"{name:<34} {min(start() for _ in range(5))}")


if __name__ == "__main__":
    main()
