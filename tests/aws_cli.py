"""The AWS CLI of version 1 for tests: which Python runs it, and a process of it that is warm already.

To start it takes half a second of a processor, most of it for AWS's models. `warm` reads these once; each
command is then a fork of that process. What parses, calls and prints is the AWS CLI's own code.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

SERVER = """
import json, os, signal, socket, sys
import botocore.session
from awscli.clidriver import create_clidriver

make, kept = botocore.session.create_loader, {}
botocore.session.create_loader = lambda path=None: kept.setdefault(path, make(path))
session = create_clidriver().session
for service in sys.argv[2:]:  # what it reads is kept: clients need their rules for endpoints, too
    session.create_client(service, "us-east-1", aws_access_key_id="none", aws_secret_access_key="none")
    session.get_waiter_model(service) if service in ("ec2", "dynamodb", "lambda") else None
session.get_component("data_loader").load_data("cli")
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
door = socket.socket(socket.AF_UNIX)
door.bind(sys.argv[1])
door.listen(64)
print("warm", flush=True)
while True:
    guest, _ = door.accept()
    if os.fork():
        guest.close()
        continue
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    text, streams, _, _ = socket.recv_fds(guest, 4, 3)
    length = int.from_bytes(text, "big")
    text = b""
    while len(text) < length:
        text += guest.recv(length - len(text))
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
    words, folder, environment = json.loads(text)
    os.chdir(folder)
    own = {"AWS_DATA_PATH": os.environ["AWS_DATA_PATH"]}  # which the AWS CLI sets when it is imported
    os.environ.clear()
    os.environ.update(environment | own)
    code = create_clidriver().main(words)
    sys.stdout.flush()
    sys.stderr.flush()
    guest.sendall(bytes([code]))
    os._exit(0)
"""

CLIENT = """#!{python} -ISs
import json, os, socket, sys
home = socket.socket(socket.AF_UNIX)
home.connect({door!r})
text = json.dumps([sys.argv[1:], os.getcwd(), dict(os.environ)]).encode()
socket.send_fds(home, [len(text).to_bytes(4, "big")], [0, 1, 2])
home.sendall(text)
sys.exit(home.recv(1)[0])
"""


def program() -> str:
    """Where the AWS CLI is; the test is skipped where there is none."""
    found = shutil.which("aws")
    if found is None:
        pytest.skip("the AWS CLI is not installed: pip install awscli")
    return found


def python() -> list[str]:
    """The Python that runs it, as words of a command; empty for version 2, which brings its own along."""
    aws = program()
    if "pyenv" in aws:
        asked = subprocess.run(["pyenv", "which", "aws"], capture_output=True, text=True, check=True)
        aws = asked.stdout.strip()
    first = Path(aws).read_bytes().partition(b"\n")[0].decode(errors="replace")
    return shlex.split(first[2:]) if first.startswith("#!") and "python" in first else []


@contextlib.contextmanager
def warm(folder: Path, services: Sequence[str]) -> Iterator[Path]:
    """A folder with a program `aws` that answers at once; of version 2 the program itself."""
    command = python()
    (folder / "warm").mkdir()
    if not command:
        (folder / "warm" / "aws").symlink_to(program())
        yield folder / "warm"
        return
    door = folder / "door"
    environment = {"PATH": os.environ["PATH"], "HOME": str(folder), "AWS_DEFAULT_REGION": "us-east-1"}
    with subprocess.Popen(
        [*command, "-c", SERVER, str(door), *services], stdout=subprocess.PIPE, text=True, env=environment
    ) as server:
        try:
            assert server.stdout is not None
            assert server.stdout.readline() == "warm\n"
            client = folder / "warm" / "aws"
            client.write_text(CLIENT.format(python=sys.executable, door=str(door)))
            client.chmod(0o755)
            yield folder / "warm"
        finally:
            server.kill()
