"""Chapter 2 in the practice cloud: a real JupyterLab behind a real tunnel, and real training.

The practice server has the Python of the practice cloud, so this needs its packages:
pip install '.[notebook,ml]'
"""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from extras import Later, needed
from processes import eventually
from sshd import free_port

from awslabs import gpu, images, progress, sandbox, tunnel
from awslabs.cloud import Cloud
from awslabs.errors import LabError, TunnelError
from awslabs.ledger import Ledger
from awslabs.workload.gpu import notebook

pytestmark = [pytest.mark.ml, pytest.mark.usefixtures("answers_fit")]

needed("jupyterlab", "nbclient", "torch", "torchvision", "sklearn", "matplotlib")  # on the practice server
nbformat, websocket = Later("nbformat"), Later("websocket")

OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class Lab:
    """The lab as it stands, as a library and from a terminal."""

    def __init__(self, run: sandbox.Run, home: Path) -> None:
        self.run, self.home = run, home
        self.environment = {**run.surroundings(), "AWSLABS_HOME": str(home), "HOME": str(home)}
        self.ledger = Ledger(Cloud(environment=run.environment(region="us-east-1")), "gpu")
        self.server = gpu.up(self.ledger)

    def on_the_server(self, command: str) -> str:
        with tunnel.connect(self.server.ssh) as client:
            return notebook.remote(client, command, "do it", "nothing")

    def __call__(
        self, *arguments: str, expect: int = 0, cwd: Path | None = None
    ) -> subprocess.CompletedProcess:
        line = [sys.executable, "-m", "awslabs.gpu", *arguments]
        done = subprocess.run(line, env=self.environment, capture_output=True, text=True, cwd=cwd)
        assert done.returncode == expect, done.stdout + done.stderr
        return done


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    home = tmp_path_factory.mktemp("gpu")
    run = sandbox.start(slow_states=0, home=home)
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("AWSLABS_HOME", str(home))
        # Practice servers share this computer's loopback. One that is ended for two seconds would lose its
        # port to the JupyterLab of a test beside it: they all try 8888 and what is near.
        patched.setattr(notebook, "PORT", free_port())
        try:
            lab = Lab(run, home)
            yield lab
            gpu.down(lab.ledger)
        finally:
            run.stop()


def ask(url: str, token: str = "", **body: Any) -> Any:
    """What the notebook server answers; a body makes it a POST."""
    request = urllib.request.Request(url, data=json.dumps(body).encode() if body else None)
    if token:
        request.add_header("Authorization", f"token {token}")
    with OPENER.open(request, timeout=120) as answer:
        return json.loads(answer.read() or b"null")


class Kernel:
    """A kernel of the notebook server, spoken to as a browser does: HTTP starts it, a WebSocket runs code."""

    def __init__(self, base: str, token: str) -> None:
        self.base, self.token = base, token
        self.id = ask(f"{base}/api/kernels", token, name="python3")["id"]

    def __call__(self, code: str) -> str:
        """The repr of the code's value."""
        address = f"{self.base.replace('http', 'ws', 1)}/api/kernels/{self.id}/channels"
        header = [f"Authorization: token {self.token}"]
        wire = websocket.create_connection(address, timeout=120, header=header, http_no_proxy=["127.0.0.1"])
        try:
            message = {
                "header": {
                    "msg_id": uuid.uuid4().hex,
                    "msg_type": "execute_request",
                    "username": "",
                    "session": uuid.uuid4().hex,
                    "version": "5.3",
                },
                "parent_header": {},
                "metadata": {},
                "content": {"code": code, "silent": False},
                "channel": "shell",
            }
            wire.send(json.dumps(message))
            value, missing = "", {"reply", "idle"}  # two channels: the reply may overtake the value
            while missing:
                heard = json.loads(wire.recv())
                if heard["parent_header"].get("msg_id") != message["header"]["msg_id"]:  # type: ignore[index]
                    continue
                if heard["msg_type"] == "execute_result":
                    value = heard["content"]["data"]["text/plain"]
                if heard["msg_type"] == "execute_reply":
                    assert heard["content"]["status"] == "ok", heard
                    missing.discard("reply")
                if heard["msg_type"] == "status" and heard["content"]["execution_state"] == "idle":
                    missing.discard("idle")
            return value
        finally:
            wire.close()


# -- The notebook --------------------------------------------------------------------------------------------


def test_a_kernel_behind_the_tunnel_computes(lab: Lab) -> None:
    with notebook.jupyter(lab.ledger) as (opened, _):
        kernel = Kernel(opened.local_url.removesuffix("/lab"), opened.token)
        assert kernel("1 + 1") == "2"
        # Its threads do not wait busily: on a laptop that is short of processors a training took five times.
        assert kernel("__import__('os').environ['OMP_WAIT_POLICY']") == "'PASSIVE'"
        assert lab.on_the_server("echo $OMP_WAIT_POLICY") == "PASSIVE\n"


def test_without_its_token_the_notebook_refuses_everything(lab: Lab) -> None:
    with notebook.jupyter(lab.ledger) as (opened, forward):
        assert ask(forward.url("api/status"), opened.token)["kernels"] >= 0
        for token in ("", "wrong"):
            for path in ("api/status", "api/contents", "api/kernels"):
                with pytest.raises(urllib.error.HTTPError) as caught:
                    ask(forward.url(path), token)
                assert caught.value.code == 403
        kernel = Kernel(forward.url().rstrip("/"), opened.token)
        kernel.token = "wrong"
        with pytest.raises(websocket.WebSocketBadStatusException):
            kernel("1 + 1")
        with pytest.raises(LabError, match="refuses its token"):
            notebook.answers(forward.url("api/status"), "wrong", "up")


def test_a_cut_connection_comes_back_and_the_kernel_remembers(lab: Lab) -> None:
    changes: list[bool] = []
    with notebook.jupyter(lab.ledger, on_change=lambda is_up, why: changes.append(is_up)) as (
        opened,
        forward,
    ):
        kernel = Kernel(forward.url().rstrip("/"), opened.token)
        kernel("answer = 42")
        for _ in range(2):
            forward.transport().sock.shutdown(socket.SHUT_RDWR)  # as if the laptop had slept
            progress.poll("the tunnel is back", lambda: changes[-2:] == [False, True], timeout_s=300)
            assert kernel("answer") == "42"
            changes.clear()


def test_the_service_is_started_again_with_the_same_token(lab: Lab) -> None:
    with notebook.jupyter(lab.ledger) as (opened, forward):
        with tunnel.connect(lab.server.ssh) as client:
            pid = notebook.serve(client, "up")["pid"]
        lab.on_the_server(f"kill -9 {pid}")
        progress.poll(
            "the notebook is back",
            lambda: notebook.answers(forward.url("api/status"), opened.token, "up"),
            timeout_s=300,
        )
    with tunnel.connect(lab.server.ssh) as client:
        again = notebook.serve(client, "up")
    assert again["pid"] != pid
    assert again["token"] == opened.token


def test_a_stopped_service_is_started_when_it_is_wanted(lab: Lab) -> None:
    lab.on_the_server(f"sudo systemctl stop {notebook.UNIT}")
    with notebook.jupyter(lab.ledger) as (opened, forward):
        assert notebook.answers(forward.url("api/status"), opened.token, "up")


def test_a_busy_port_makes_way_for_the_next(lab: Lab) -> None:
    with notebook.jupyter(lab.ledger) as (_, first), notebook.jupyter(lab.ledger) as (opened, second):
        assert first.local_port < second.local_port < first.local_port + notebook.LOCAL_TRIES
        assert len(notebook.open_tunnels(lab.ledger)) == 2
        with pytest.raises(TunnelError, match=f"Port {first.local_port} of this computer is busy"):
            with notebook.jupyter(lab.ledger, local_port=first.local_port):  # nobody asked for another
                pass
        assert notebook.answers(second.url("api/status"), opened.token, "up")


def test_jupyter_in_a_terminal_prints_the_address_and_ends_with_ctrl_c(lab: Lab) -> None:
    line = [sys.executable, "-m", "awslabs.gpu", "jupyter"]
    told = lab.home / "told"
    environment = {**lab.environment, "BROWSER": f"sh -c 'echo \"$0\" > {told}' %s"}
    with subprocess.Popen(
        line, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout
            url = process.stdout.readline().strip()
            base, _, token = url.partition("/lab?token=")
            assert ask(f"{base}/api/status", token)["started"]
            assert json.loads(lab("status", "--json").stdout)["jupyter"] == {"local_url": f"{base}/lab"}
            eventually(lambda: told.exists() and told.read_text())
            assert told.read_text().startswith(f"file://{lab.home}")
            page = Path(told.read_text().strip().removeprefix("file://"))
            assert f'url={url}"' in page.read_text()
            assert token not in subprocess.run(["ps", "axww"], capture_output=True, text=True).stdout
            process.send_signal(signal.SIGINT)
            _, said = process.communicate(timeout=120)
        finally:
            process.kill()
    assert process.returncode == 0
    assert "The tunnel is closed; the notebook goes on." in said
    assert "Traceback" not in said
    assert token not in said
    assert json.loads(lab("status", "--json").stdout)["jupyter"] == {}
    assert not page.exists()


def test_the_token_stays_on_the_server(lab: Lab) -> None:
    token = lab.on_the_server("cat .awslabs/token")
    assert lab.on_the_server("stat -c %a .awslabs/token 2>/dev/null || stat -f %Lp .awslabs/token") == "600\n"
    assert len(token) == 48
    said = lab("up", "--json")
    assert token not in said.stdout + said.stderr
    assert token not in lab.on_the_server("cat .awslabs/jupyter.log; ps axww")
    inside = lab.home / "practice"  # the practice server's own disk is in there
    for path in lab.home.rglob("*"):
        if path.is_file() and "instances" not in path.parts and inside not in path.parents:
            assert token.encode() not in path.read_bytes(), path


# -- Work --------------------------------------------------------------------------------------------------


PICTURES = {"first_steps.ipynb": 1, "cpu_gpu.ipynb": 1, "mnist.ipynb": 3}  # at least


def test_all_notebooks_are_in_the_list() -> None:
    assert {path.name for path in images.notebooks().glob("*.ipynb")} == set(PICTURES)


@pytest.mark.parametrize("name", PICTURES)
def test_every_notebook_runs_to_its_end_and_comes_back_with_its_outputs(
    lab: Lab, tmp_path: Path, name: str
) -> None:
    heard: list[dict] = []
    executed = notebook.run(lab.ledger, name, tmp_path / "home", heard.append)
    copy = nbformat.read(executed.copy, as_version=4)
    code = [cell for cell in copy.cells if cell.cell_type == "code"]
    assert len(code) == executed.cells == len(heard) > 2
    assert all(cell.execution_count for cell in code)
    outputs = [output for cell in code for output in cell.outputs]
    assert outputs
    assert not [output for output in outputs if output.output_type == "error"]
    pictures = [output.data["image/png"] for output in outputs if "image/png" in output.get("data", {})]
    assert len(pictures) >= PICTURES[name]
    assert all(len(picture) > 5000 for picture in pictures)
    if name == "mnist.ipynb":
        text = "".join(output.text for output in outputs if output.output_type == "stream")
        assert "1149 to train, 288 to validate, 360 to test" in text
        assert float(text.split("best in epoch")[1].split("accuracy ")[1].split(" %")[0]) > 93
        assert "test accuracy" in text


def test_a_notebook_that_fails_comes_back_with_its_error(lab: Lab, tmp_path: Path) -> None:
    cells = [nbformat.v4.new_code_cell(code) for code in ("print('before')", "1 / 0", "print('after')")]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), tmp_path / "fails.ipynb")
    done = lab("run", "fails.ipynb", "--to", "home", cwd=tmp_path, expect=1)
    assert "fails.ipynb stopped at its code cell 2: ZeroDivisionError: division by zero" in done.stderr
    before, error, after = nbformat.read(tmp_path / "home/executed/fails.ipynb", as_version=4).cells
    assert before.outputs[0].text == "before\n"
    assert error.outputs[0].ename == "ZeroDivisionError"
    assert after.outputs == []


def test_a_notebook_that_is_nowhere_is_named_with_those_that_are_there(lab: Lab, tmp_path: Path) -> None:
    with pytest.raises(LabError) as caught:
        notebook.run(lab.ledger, "nowhere", tmp_path)
    assert caught.value.what.startswith("There is no notebook nowhere.ipynb")
    assert "mnist.ipynb" in caught.value.why


def test_bench_measures_the_cpu(lab: Lab) -> None:
    (cpu, *others) = json.loads(lab("bench", "--size", "256", "--json").stdout)["rows"]
    assert (cpu["device"], cpu["size"]) == ("cpu", 256)
    assert cpu["seconds"] > 0
    assert cpu["tflop_s"] > 0
    assert len(others) <= 1  # a GPU, where this computer has one


def test_mnist_learns_the_digits_and_brings_its_picture_home(lab: Lab, tmp_path: Path) -> None:
    done = lab("mnist", "--epochs", "3", "--to", "home", "--json", cwd=tmp_path)
    trained = json.loads(done.stdout)
    assert trained["val_accuracy"] >= 0.9
    assert len(trained["epochs"]) == 3
    assert "epoch   3 of 3" in done.stderr
    names = {Path(name).name for name in trained["files"]}
    assert names == {"mnist.png", "metrics_lr0.0500_m0.9000.csv"}
    assert (tmp_path / "home/mnist.png").read_bytes().startswith(b"\x89PNG")


def test_a_failing_program_says_its_last_words(lab: Lab, tmp_path: Path) -> None:
    with pytest.raises(LabError, match="The training failed on the server") as caught:
        notebook.mnist(lab.ledger, data="/no/such/folder", epochs=1, folder=tmp_path)
    assert "/no/such/folder" in caught.value.why


def test_a_second_up_keeps_what_was_written_in_a_notebook(lab: Lab) -> None:
    lab.on_the_server("echo '{}' > lab/first_steps.ipynb; echo spoiled > lab/trainer.py")
    try:
        gpu.up(lab.ledger)
        assert lab.on_the_server("cat lab/first_steps.ipynb") == "{}\n"
        assert lab.on_the_server("head -c 7 lab/trainer.py") != "spoiled"  # a program of the lab's own
    finally:
        lab.on_the_server("rm lab/first_steps.ipynb")
        notebook.bring(lab.server.ssh)


def test_a_server_without_a_gpu_works_and_takes_its_notebook_with_it(lab: Lab, tmp_path: Path) -> None:
    """Plain Amazon Linux beside the other server: both have a notebook, on ports of their own."""
    up = json.loads(lab("up", "--name", "cpu", "--instance-type", "t3.large", "--json").stdout)
    assert up["ssh"]["user"] == "ec2-user"
    there = {key: up["ssh"][key] for key in ("host", "port", "user", "host_key_alias")}
    paths = {key: Path(up["ssh"][key]) for key in ("key_path", "known_hosts_path")}
    with tunnel.connect(tunnel.Address(**there, **paths)) as client:
        port = notebook.serve(client, "up")["port"]
    with tunnel.connect(lab.server.ssh) as client:
        assert notebook.serve(client, "up")["port"] != port
    assert listens(port)
    said = lab("down", "--name", "cpu", cwd=tmp_path).stderr
    assert "saved in awslabs-results/gpu/." in said
    assert (tmp_path / "awslabs-results/gpu/mnist.ipynb").is_file()
    assert not listens(port)


def listens(port: int) -> bool:
    """Whether anybody answers on this port of 127.0.0.1."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
