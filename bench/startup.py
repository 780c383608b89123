"""How long a student waits for the command line to say anything, beside what it stands on.

    python bench/startup.py

Each command runs ten times; the best is printed, with its ratio to `import boto3` alone.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import time

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


def main() -> None:
    peer = 0.0
    for name, command in COMMANDS.items():
        if shutil.which(command[0]) is None:
            print(f"{name:<34} not on this computer")
            continue
        seconds = best_of(command)
        peer = peer or seconds
        print(f"{name:<34} {seconds:6.3f} s   {seconds / peer:5.2f} of `import boto3`")


if __name__ == "__main__":
    main()
