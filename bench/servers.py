"""The practice cloud and its peers as processes of their own, for the figures that compare them.

moto.server comes with the practice cloud; MiniStack is measured where MINISTACK names its program:

    python -m venv peer && peer/bin/pip install 'ministack==1.5.*'
    MINISTACK=peer/bin/ministack python bench/startup.py
"""

from __future__ import annotations

import functools
import http.client
import os
import resource
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from awslabs import sandbox

os.environ |= {"no_proxy": "127.0.0.1", "NO_PROXY": "127.0.0.1"}


@dataclass(frozen=True)
class Server:
    """A server that has answered its first call (GetCallerIdentity).

    Attributes
    ----------
    endpoint_url, access_key, secret_key : str
        What a client needs; all is in us-east-1.
    pid : int
        The server's process.
    keys : callable
        Access key and secret of another account.
    seconds, cpu_s : float
        From the command that starts it to that answer; CPU-seconds of all processes together.
    """

    endpoint_url: str
    access_key: str
    secret_key: str
    pid: int
    seconds: float
    cpu_s: float
    keys: Callable[[str], tuple[str, str]] = lambda account: (account, "test")

    def client(self, service: str, account: str = "") -> Any:
        """boto3's client of an AWS service here, of another account where one is named (12 digits)."""
        key = self.keys(account) if account else (self.access_key, self.secret_key)
        client = boto3.client(
            service,
            "us-east-1",
            endpoint_url=self.endpoint_url,
            aws_access_key_id=key[0],
            aws_secret_access_key=key[1],
        )
        if account:  # moto.server's word for it; the others go by the key

            def name(params: dict[str, Any], **_: Any) -> None:
                params["headers"]["x-moto-account-id"] = account

            client.meta.events.register("before-call", name)
        return client

    def cpu_used_s(self) -> float:
        """CPU-seconds that the server's process has taken until now (Linux)."""
        return _of_process(self.pid)

    def memory_mib(self) -> float:
        """What the server's process has in memory now (Linux)."""
        pages = int(Path(f"/proc/{self.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


@contextmanager
def practice_cloud(python: str = sys.executable) -> Iterator[Server]:
    """`sandbox start` of this Python, in a folder of its own, and without waits."""
    with tempfile.TemporaryDirectory() as home:
        before, since = _of_children(), time.perf_counter()
        command = [python, "-m", "awslabs.sandbox", "start", "--slow-states", "0"]
        environment = {**os.environ, "AWSLABS_HOME": home}
        subprocess.run(command, check=True, capture_output=True, env=environment)
        run = sandbox.current(Path(home))
        assert run is not None
        own = run.environment()
        keys = own["AWS_ACCESS_KEY_ID"], own["AWS_SECRET_ACCESS_KEY"]
        try:
            _ask(run.endpoint_url, *keys)
            seconds, cpu_s = time.perf_counter() - since, _of_process(run.pid) + _of_children() - before
            yield Server(run.endpoint_url, *keys, run.pid, seconds, cpu_s, functools.partial(_keys, run))
        finally:
            run.stop()


def _keys(run: sandbox.Run, account: str) -> tuple[str, str]:
    """The key of an account of the practice cloud."""
    own = run.environment(account)
    return own["AWS_ACCESS_KEY_ID"], own["AWS_SECRET_ACCESS_KEY"]


@contextmanager
def moto_server() -> Iterator[Server]:
    """`python -m moto.server`, alone."""
    port = _free_port()
    with _process([sys.executable, "-m", "moto.server", "-p", str(port)], port) as server:
        yield server


@contextmanager
def ministack() -> Iterator[Server]:
    """The MiniStack whose program MINISTACK names."""
    port = _free_port()
    with _process([os.environ["MINISTACK"]], port, GATEWAY_PORT=str(port)) as server:
        yield server


SERVERS: dict[str, Callable[[], AbstractContextManager[Server]]] = {
    "ours": practice_cloud,
    "moto.server": moto_server,
    **({"MiniStack": ministack} if "MINISTACK" in os.environ else {}),
}


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port: int = free.getsockname()[1]
    return port


@contextmanager
def _process(command: list[str], port: int, **environment: str) -> Iterator[Server]:
    """A server that verifies nobody's signature, from its start to its end."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    since = time.perf_counter()
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    with subprocess.Popen(command, env=kept | environment, **quiet) as server:  # type: ignore[call-overload]
        keys, endpoint_url = ("test", "test"), f"http://127.0.0.1:{port}"
        try:
            _ask(endpoint_url, *keys)
            yield Server(
                endpoint_url, *keys, server.pid, time.perf_counter() - since, _of_process(server.pid)
            )
        finally:
            server.kill()


def _ask(endpoint_url: str, access_key: str, secret_key: str) -> None:
    """GetCallerIdentity, as soon as somebody listens; without boto3, whose import takes its own time."""
    body, kind = "Action=GetCallerIdentity&Version=2011-06-15", "application/x-www-form-urlencoded"
    asked = AWSRequest("POST", endpoint_url + "/", {"Content-Type": kind}, body)
    SigV4Auth(Credentials(access_key, secret_key), "sts", "us-east-1").add_auth(asked)
    while True:
        connection = http.client.HTTPConnection(endpoint_url.rpartition("/")[2])
        try:
            connection.request("POST", "/", body, dict(asked.headers))
        except ConnectionRefusedError:
            time.sleep(0.005)
            continue
        answer = connection.getresponse()
        assert answer.status == 200, answer.read()
        return


def _of_process(pid: int) -> float:
    """CPU-seconds of a process that lives (Linux)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _of_children() -> float:
    """CPU-seconds of all processes that this one has started and that are gone."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
