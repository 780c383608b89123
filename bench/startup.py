"""How long a student waits for the command line to say anything, beside what it stands on.

    python bench/startup.py
    python bench/startup.py OTHER/bin/python ...       `sandbox start` of other virtualenvs, too
    MINISTACK=... python bench/startup.py              beside MiniStack: see servers.py

Each command runs ten times; the best is printed, with its ratio to `import boto3` alone. Then servers, from
the command that starts them to their first answered call (GetCallerIdentity), the best of five: seconds, CPU
seconds of all processes together, and what the server has in memory then; of the practice cloud also what
it has after the first lab's `up`.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from functools import partial

from servers import SERVERS, Server, practice_cloud

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


def told(server: Server) -> str:
    return f"{server.seconds:6.3f} s   {server.cpu_s:5.2f} CPU-seconds   {server.memory_mib():4.0f} MiB"


def after_a_lab(server: Server) -> float:
    """MiB of the practice cloud once `ec2 up` stands in it."""
    with tempfile.TemporaryDirectory() as home:
        keys = {"AWS_ACCESS_KEY_ID": server.access_key, "AWS_SECRET_ACCESS_KEY": server.secret_key}
        where = {"AWS_ENDPOINT_URL": server.endpoint_url, "AWS_REGION": "us-east-1", "AWSLABS_HOME": home}
        command = [sys.executable, "-m", "awslabs.ec2", "up"]
        subprocess.run(command, check=True, capture_output=True, env={**os.environ, **keys, **where})
    return server.memory_mib()


def main() -> None:
    peer = 0.0
    for name, command in COMMANDS.items():
        if shutil.which(command[0]) is None:
            print(f"{name:<34} not on this computer")
            continue
        seconds = best_of(command)
        peer = peer or seconds
        print(f"{name:<34} {seconds:6.3f} s   {seconds / peer:5.2f} of `import boto3`")
    others = {python: partial(practice_cloud, python) for python in sys.argv[1:]}
    print(f"load {os.getloadavg()[0]:.1f}")
    for name, start in {**SERVERS, **others}.items():
        starts = []
        for _ in range(5):
            with start() as server:
                starts.append((server.seconds, told(server)))
        print(f"{name:<34} {min(starts)[1]}")
    with practice_cloud() as server:
        print(f"{'ours, after ec2 up':<34} {after_a_lab(server):.0f} MiB")


if __name__ == "__main__":
    main()
