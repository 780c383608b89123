"""JupyterLab and the deep-learning programs on a server: brought there, run there, and their results home.

    prepare        PyTorch and JupyterLab where the image lacks them; our files; the service
    jupyter, stay  a tunnel to the notebook, for the length of a `with` block, or until Ctrl-C
    doorway        a page that leads the browser to it, and tells nobody else
    run            a notebook from its first cell to its last; the executed copy comes back
    bench          a matrix product on the CPU and the GPU
    mnist          handwritten digits: loss and accuracy live, a picture at the end
    bring_home     notebooks and results, before the server goes

All of it goes over SSH; AWS is asked for the server's address alone. What lies on the server:

    ~/lab/                     notebooks and programs; what the notebook shows
    ~/.awslabs/python          the Python that has PyTorch, as a script
    ~/.awslabs/token           who has it may use the notebook; readable by its owner alone
    ~/.awslabs/jupyter.log     what the service says
"""

from __future__ import annotations

import fcntl
import html
import json
import logging
import math
import posixpath
import shlex
import shutil
import tempfile
import urllib.parse
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from awslabs import images, journal, tunnel
from awslabs.errors import LabError, TimedOut, TunnelError
from awslabs.explain import boto3_errors
from awslabs.ledger import Ledger
from awslabs.progress import awaiting, plotting, poll
from awslabs.rehearsal import instead
from awslabs.servers import PARTS, describe, server_address
from awslabs.show import Shown
from awslabs.web import Web

if TYPE_CHECKING:
    import paramiko

log = logging.getLogger(__name__)

RESULTS = Path("awslabs-results", "gpu")
UNIT = "awslabs-jupyter"  # the service, as systemd calls it
PORT = 8888  # of JupyterLab on the server's loopback; the next free one if it is busy
LOCAL_PORT = 8931  # where a tunnel begins on this computer, or one of the next
LOCAL_TRIES = 20
INSTALL_S = 1800.0  # seconds for PyTorch and JupyterLab: a slow mirror and 3 GB
AS_IT_SAYS = "Do as its last words say; if the server itself lacks something: {}"
KILLED = "It was killed, most often because the memory was used up: ask for less, or take a larger server."
RUNNER = Path(__file__).with_name("run_notebook.py")  # lies on the server in ~/.awslabs
START_S = 120.0  # seconds for JupyterLab to start on a small server

# What the programs and notebooks import, and what pip calls it.
MODULES = {
    "torch": "torch",
    "torchvision": "torchvision",
    "numpy": "numpy",
    "sklearn": "scikit-learn",
    "matplotlib": "matplotlib",
    "boto3": "boto3",
    "jupyterlab": "jupyterlab",
    "nbclient": "nbclient",
    "ipykernel": "ipykernel",
}
TORCH = ("torch", "torchvision")
CPU_WHEELS = "https://download.pytorch.org/whl/cpu"  # a tenth of the size of those with CUDA

# Whoever installs waits for another who does: after an `up` that was killed, its pip runs on here. A computer
# without flock, such as a Mac that lends a practice server, does without.
ALONE = r"""
mkdir -p "$HOME/.awslabs" && chmod 700 "$HOME/.awslabs"
exec 9>> "$HOME/.awslabs/installing"
if command -v flock > /dev/null && ! flock -w SECONDS 9; then
    echo "another installation on the server has not ended within SECONDS s" >&2
    exit 1
fi
""".replace("SECONDS", f"{INSTALL_S:.0f}")

# Prints the path of a Python that has PyTorch, or that it can be installed for; 3.10 or newer. What runs with
# it trains on the device $1: where a GPU is paid for, a processor must not take its place in silence. Deep
# Learning AMIs bring /opt/pytorch (their release notes: python_location). Amazon Linux 2023 comes with Python
# 3.9 and has newer ones beside it; Ubuntu wants a package for virtualenvs.
FIND_PYTHON = (
    ALONE
    + r"""
set -e
new_enough() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 10))' 2>/dev/null; }
has_torch() { "$1" -c 'import importlib.util as u, sys; sys.exit(u.find_spec("torch") is None)' 2>/dev/null; }
home="$HOME/.awslabs"
if [ -x /opt/pytorch/bin/python ]; then
    python=/opt/pytorch/bin/python
elif [ -e "$home/venv/complete" ]; then
    python="$home/venv/bin/python"
elif new_enough python3 && has_torch python3; then
    python=$(command -v python3)
else
    for base in python3.13 python3.12 python3.11 python3; do
        if new_enough $base; then break; fi
    done
    if ! new_enough $base; then
        sudo dnf install -y -q python3.12 >&2
        base=python3.12
    fi
    if ! $base -m venv --clear "$home/venv" >&2; then
        sudo apt-get update -q >&2
        sudo apt-get install -y -q -o DPkg::Lock::Timeout=300 python3-venv >&2  # updates may run at first
        $base -m venv --clear "$home/venv" >&2
    fi
    touch "$home/venv/complete"
    python="$home/venv/bin/python"
fi
printf '#!/bin/sh\nexport MNIST_DEVICE=%s\nexec %s "$@"\n' "${1:-auto}" "$python" > "$home/python.new"
chmod 755 "$home/python.new"
mv "$home/python.new" "$home/python"
echo "$python"
"""
)

# One small computation by PyTorch: a driver that lists its GPU may still be too old for it.
ASK_GPU = """
import sys, trainer
try:
    print(trainer.name_of(trainer.best_device("cuda")))
except trainer.TrainerError as error:
    sys.exit(str(error))
"""

MISSING = "import sys, importlib.util as u; print(*[m for m in sys.argv[1:] if u.find_spec(m) is None])"

# pip as the user, or with sudo where the packages belong to root. No `exec`: sudo would let go of the lock.
INSTALL = (
    ALONE
    + r"""
python=$1; shift
where=$("$python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
if [ -w "$where" ]; then
    "$python" -m pip install --quiet --disable-pip-version-check "$@"
else
    sudo -H "$python" -m pip install --quiet --disable-pip-version-check "$@"
fi
"""
)

# A token of 192 bits: made here, on the server, once; without a newline, for JupyterLab would take it along.
# The service is systemd's, not the session's: it outlives a dropped connection, and is started again if it
# fails. Nothing says the token aloud: JupyterLab reads it from the file, and does not log what it was given.
START = r"""
set -e
umask 077
home="$HOME/.awslabs"
if [ ! -s "$home/token" ]; then
    head -c 24 /dev/urandom | od -An -tx1 | tr -d ' \n' > "$home/token.new"
    mv "$home/token.new" "$home/token"
fi
if ! systemctl is-active --quiet UNIT; then
    rm -rf "$home/runtime"
    python=$(sed -n 's/^exec \(.*\) "$@"$/\1/p' "$home/python")
    sudo systemd-run --quiet --collect --unit=UNIT --uid="$(id -un)" --working-directory="$HOME/lab" \
        --property=Restart=on-failure --property=RestartSec=2 \
        --property=StandardOutput="append:$home/jupyter.log" \
        --property=StandardError="append:$home/jupyter.log" \
        --setenv=PATH="$(dirname "$python"):$PATH" --setenv=HOME="$HOME" \
        --setenv=MNIST_DEVICE="$(sed -n 's/^export MNIST_DEVICE=//p' "$home/python")" \
        --setenv=JUPYTER_TOKEN_FILE="$home/token" --setenv=JUPYTER_RUNTIME_DIR="$home/runtime" \
        "$python" -m jupyterlab --no-browser --ip=127.0.0.1 --port=PORT \
        --ServerApp.root_dir="$HOME/lab"
fi
"""

# The file in which the living JupyterLab says where it listens; nothing while there is none.
RUNNING = r"""
for file in $(ls -t "$HOME"/.awslabs/runtime/jpserver-*.json 2>/dev/null); do
    pid=${file##*jpserver-}
    if kill -0 "${pid%.json}" 2>/dev/null; then cat "$file"; exit; fi
done
"""

DOORWAY = """<!DOCTYPE html>
<html lang="en">
<meta charset="utf-8">
<meta http-equiv="refresh" content="0; url={0}">
<title>JupyterLab</title>
<p><a href="{0}">To the notebook</a>
</html>
"""


@dataclass(frozen=True)
class Notebook:
    """A notebook that answers through a tunnel.

    Attributes
    ----------
    local_url : str
        Where it answers on this computer, without the token.
    token : str
        What opens it; not shown with the rest.
    """

    local_url: str
    token: str = field(repr=False)

    @property
    def url(self) -> str:
        """The address to open by hand: whoever has it may run anything on the server, so see `doorway`."""
        return f"{self.local_url}?token={self.token}"


# -- Getting the server ready --------------------------------------------------------------------------------


@instead(lambda *_, **__: "")
def prepare(address: tunnel.Address, *, gpu: bool, again: str, without: str) -> str:
    """Install what the image lacks, bring our files, start JupyterLab. What is there already stays.

    Parameters
    ----------
    gpu : bool
        Whether PyTorch must be able to use a GPU; if not, a smaller one is installed.
    again : str
        The command that goes on after an interruption.
    without : str
        The commands that lead to a server without a GPU.

    Returns
    -------
    str
        What PyTorch computes on: the GPU's name, or ``cpu``.

    Raises
    ------
    LabError, TimedOut, TunnelError
        A step failed; run `again`, it goes on where it stopped. Or PyTorch cannot use the server's GPU.
    """
    with tunnel.connect(address) as client:
        with awaiting("the server has a Python for PyTorch"):
            find = ["sh", "-c", FIND_PYTHON, "find", "cuda" if gpu else "auto"]
            python = remote(client, find, "find or make a Python", again).strip()
        missing = remote(client, [python, "-c", MISSING, *MODULES], "look for PyTorch", again).split()
        torch = [MODULES[name] for name in missing if name in TORCH]
        if torch and "torch" not in missing:  # what goes with the one that is there: no other in its place
            version = [python, "-c", "from importlib.metadata import version; print(version('torch'))"]
            torch.append(f"torch=={remote(client, version, 'ask for its PyTorch', again).strip()}")
        others = [MODULES[name] for name in missing if name not in TORCH]
        for packages, source in ((torch, [] if gpu else ["--index-url", CPU_WHEELS]), (others, [])):
            if packages:
                with awaiting(f"{', '.join(packages)} are installed on the server, which takes minutes"):
                    command = ["sh", "-c", INSTALL, "install", python, *source, *packages]
                    remote(client, command, f"install {', '.join(packages)}", again, timeout_s=INSTALL_S)
    with awaiting("notebooks and programs are on the server"):
        bring(address)
    with tunnel.connect(address) as client:
        serve(client, again)
        if not gpu:
            return "cpu"
        with awaiting("PyTorch computes on the server's GPU"):
            asked = f"cd lab && exec ../.awslabs/python -c {shlex.quote(ASK_GPU)}"
            return remote(client, asked, "compute on its GPU", without).strip()


def bring(address: tunnel.Address) -> None:
    """Copy the notebooks and programs into ``~/lab``; notebooks that are there stay as they are."""
    with tunnel.connect(address) as client:
        there = tunnel.run(client, "ls lab 2>/dev/null").stdout.split("\n")
    with tempfile.TemporaryDirectory() as scratch:
        stage = Path(scratch) / "lab"
        stage.mkdir(mode=0o755)
        for path in files():
            if path.suffix != ".ipynb" or path.name not in there:
                shutil.copyfile(path, stage / path.name)
        tunnel.put(address, stage, "~")
    tunnel.put(address, RUNNER, ".awslabs")


def files() -> list[Path]:
    """What the lab brings to a server: notebooks, the matrix product, and the trainer with its program."""
    notebooks, mnist = images.notebooks(), images.folder("mnist")
    programs = [notebooks / "matrix_product.py", mnist / "main.py", mnist / "trainer.py"]
    return [*sorted(notebooks.glob("*.ipynb")), *programs]


def serve(client: paramiko.SSHClient, again: str) -> dict[str, Any]:
    """See to it that JupyterLab runs, and return what it says of itself: ``port``, ``token``, ``pid``."""
    if said := running(client):
        return said
    remote(client, START.replace("UNIT", UNIT).replace("PORT", str(PORT)), "start JupyterLab", again)

    def last_words() -> str:
        return tunnel.run(client, "tail -n 3 .awslabs/jupyter.log").stdout.strip()

    def look() -> dict[str, Any]:
        said = running(client)
        if not said and tunnel.run(client, f"systemctl is-active --quiet {UNIT}").status:
            raise LabError("JupyterLab ended while it started on the server.", last_words(), again)
        return said

    try:
        return poll("JupyterLab runs on the server", look, timeout_s=START_S, fix=again)
    except TimedOut as error:
        raise TimedOut(error.what, last_words() or error.why, error.fix) from error


def running(client: paramiko.SSHClient) -> dict[str, Any]:
    """What the living JupyterLab says of itself; nothing while there is none, or it is still writing that."""
    try:
        running: dict[str, Any] = json.loads(tunnel.run(client, RUNNING).stdout)
        return running
    except ValueError:
        return {}


def remote(
    client: paramiko.SSHClient,
    command: str | list[str],
    doing: str,
    again: str,
    *,
    timeout_s: float | None = None,
) -> str:
    """What a command on the server prints; a LabError with its last words if it fails."""
    done = tunnel.run(client, command, timeout_s=timeout_s)
    if done.status:
        words = [line for line in (done.stderr or done.stdout).strip().splitlines() if line.strip()]
        raise LabError(
            f"The server could not {doing}.", "\n       ".join(words[-5:]) or "It gave no reason.", again
        )
    return done.stdout


# -- The notebook, through a tunnel ------------------------------------------------------------------------


@contextmanager
def jupyter(
    ledger: Ledger,
    *,
    local_port: int | None = None,
    on_change: Callable[[bool, str], None] | None = None,
) -> Iterator[tuple[Notebook, tunnel.Forward]]:
    """A tunnel to the server's notebook, which answers when the block begins.

    Parameters
    ----------
    local_port : int, optional
        Where it begins on this computer; unless given 8931, or one of the next 19 if that is busy.
    on_change : callable, optional
        Called with (is it up?, why) when the connection drops or is back.

    Yields
    ------
    (Notebook, tunnel.Forward)
        Its ``url`` opens it; the tunnel comes back by itself after the connection drops, and `stay` waits
        until it ends.

    Raises
    ------
    LabError
        The notebook does not answer, or does not know its token.
    TunnelError
        No free port, or no way to the server.
    """
    address, again = server_address(ledger), ledger.command("up")
    with tunnel.connect(address) as client:
        said = serve(client, again)
    port, tries = (local_port, 1) if local_port else (LOCAL_PORT, LOCAL_TRIES)
    way = tunnel.forward(address, said["port"], local_port=port, tries=tries, on_change=on_change)
    with way as forward:
        notebook = Notebook(forward.url("lab"), said["token"])
        poll(
            "the notebook answers through the tunnel",
            lambda: answers(forward.url("api/status"), notebook.token, again),
            timeout_s=60,
            fix=again,
        )
        with noted(ledger, forward.local_port):
            yield notebook, forward


def stay(ledger: Ledger, forward: tunnel.Forward) -> None:
    """Until Ctrl-C; while the connection is down, look whether there still is a server to come back to.

    Raises
    ------
    LabError
        There is none, or it has another address since it was stopped and started.
    """
    while True:
        forward.wait(timeout_s=10)
        if forward.is_up:
            continue
        try:
            now = server_address(ledger)
        except boto3_errors() as error:  # no network, as for the tunnel itself: both come back
            log.debug("AWS could not be asked for the server: %s", error)
            continue
        if (now.host, now.port) != (forward.address.host, forward.address.port):
            raise LabError(
                "The server has another address now.",
                f"It was stopped and started: {forward.address} is now {now}.",
                f"{ledger.command('up')}    # then `jupyter` again",
            )


@contextmanager
def noted(ledger: Ledger, port: int) -> Iterator[None]:
    """Leave a note for `status` that a tunnel is open; it counts while this process holds its lock."""
    note = ledger.directory / f"tunnel-{port}"
    with open(note, "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        try:
            yield
        finally:
            note.unlink(missing_ok=True)  # `down` may have been here


def open_tunnels(ledger: Ledger) -> list[str]:
    """Addresses of the notebook on this computer, of tunnels that are open now."""
    urls = []
    for note in sorted(ledger.directory.glob("tunnel-*")):
        with open(note) as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                urls.append(f"http://127.0.0.1:{note.name.removeprefix('tunnel-')}/lab")
    return urls


def answers(url: str, token: str, again: str) -> bool:
    """Whether the notebook answers who shows this token; False while nobody answers."""
    reply = Web(url, timeout_s=10).send("GET", url, headers={"Authorization": f"token {token}"})
    if reply.status in (401, 403):
        raise LabError(
            "The notebook refuses its token.",
            "Its token was changed while it ran; it must read the new one.",
            f"{again}    # first end it on the server: sudo systemctl stop {UNIT}",
        )
    if reply.status not in (0, 200):
        why = reply.content[:200].decode(errors="replace")
        raise LabError(f"The notebook answers with HTTP status {reply.status}.", why, again)
    return reply.status == 200  # 0: refused, reset, too slow; it may still come


@contextmanager
def doorway(folder: Path, notebook: Notebook) -> Iterator[str]:
    """A page that leads to the notebook, for the length of a ``with`` block.

    A browser gets the address to open as an argument, and every user of this computer can list the arguments
    of all programs. So it gets the address of this file, which only its owner may read.
    Source: jupyter_server, ``ServerApp.use_redirect_file``.

    Parameters
    ----------
    folder : Path
        Where the page lies; 0600.

    Yields
    ------
    str
        Its address: ``file:///...``. Not every browser may read it: a snap, or Windows' own over WSL.
    """
    page = folder.absolute() / f"jupyter-{urllib.parse.urlsplit(notebook.local_url).port}.html"
    journal.write(page, DOORWAY.format(html.escape(notebook.url)))  # by mkstemp: 0600 from its first moment
    try:
        yield page.as_uri()
    finally:
        page.unlink(missing_ok=True)  # `down` may have been here


# -- Work ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Executed(Shown):
    """A notebook that ran to its end.

    Attributes
    ----------
    notebook : str
        Its name.
    cells : int
        How many code cells ran.
    seconds : float
        How long they took together.
    copy : Path
        The executed copy on this computer, with all that the cells printed and drew.
    """

    notebook: str
    cells: int
    seconds: float
    copy: Path


def say_cell(line: dict[str, Any]) -> None:
    """Log that a cell of the notebook has ended."""
    log.info("cell %s of %s: %.1f s", line["cell"], line["cells"], line["seconds"])


def run(
    ledger: Ledger,
    notebook: str | Path,
    folder: Path = RESULTS,
    on_cell: Callable[[dict[str, Any]], None] = say_cell,
) -> Executed:
    """Run a notebook on the server, and bring the executed copy back.

    Parameters
    ----------
    notebook : str or Path
        A file of this computer, which is copied to the server; or else the name of one that is there already,
        such as ``mnist`` or ``mnist.ipynb``.
    folder : Path
        The copy goes into its folder ``executed``, as on the server: beside it `bring_home` puts the notebook
        as it was written.
    on_cell : callable
        Called with ``cell``, ``cells`` and ``seconds`` after each code cell.

    Raises
    ------
    LabError
        There is no such notebook; or one of its cells failed: the copy with the error in it comes back first.
    """
    address, again = server_address(ledger), ledger.command("up")
    local, name = Path(notebook).expanduser(), Path(notebook).name
    name = name if name.endswith(".ipynb") else f"{name}.ipynb"
    if local.is_file():
        tunnel.put(address, local, f"lab/{name}")
    target = f"executed/{name}"
    ended: dict[str, Any] = {}
    seconds: list[float] = []

    def heard(line: dict[str, Any]) -> None:
        if "seconds" in line:
            seconds.append(line["seconds"])
            on_cell(line)
        else:
            ended.update(line)

    with tunnel.connect(address) as client:
        if tunnel.run(client, ["test", "-f", f"lab/{name}"]).status:
            there = tunnel.run(client, "ls lab 2>/dev/null").stdout.split("\n")
            raise LabError(
                f"There is no notebook {name}, neither here nor on the server.",
                "On the server: " + ", ".join(each for each in there if each.endswith(".ipynb")),
                again,
            )
        with awaiting(f"{name} has run on the server"):
            status, words = program(client, ["../.awslabs/run_notebook.py", name, target], heard)
    if not ended:
        raise LabError(f"{name} did not run on the server.", words, again)
    (folder / target).parent.mkdir(parents=True, exist_ok=True)
    copy = tunnel.get(address, f"lab/{target}", folder / target)
    if status:
        raise LabError(
            f"{name} stopped at its code cell {ended['cell']}: {ended['error']}",
            f"The executed copy is {copy}; it shows the error where it happened.",
            f"jupyter lab {shlex.quote(str(copy))}",
        )
    return Executed(name, len(seconds), round(sum(seconds), 3), copy)


def bench(ledger: Ledger, size: int | None = None) -> list[dict[str, Any]]:
    """The product of two matrices on the server's CPU and, where it has one, its GPU.

    Parameters
    ----------
    size : int, optional
        Rows and columns of the matrices; the program chooses by device unless given.

    Returns
    -------
    list of dict
        For each device: ``device``, ``name``, ``size``, ``seconds`` for one product, and ``tflop_s``.
    """
    heard: list[dict[str, Any]] = []
    asked = [] if size is None else ["--size", str(size)]
    with (
        tunnel.connect(server_address(ledger)) as client,
        awaiting("the matrices are multiplied on the server"),
    ):
        status, words = program(client, ["matrix_product.py", "--json", *asked], heard.append)
    if status or not heard:
        up = ledger.command("up")
        raise LabError("The matrix product failed on the server.", words, AS_IT_SAYS.format(up))
    return heard


@dataclass(frozen=True)
class Trained(Shown):
    """What training came to.

    Attributes
    ----------
    epochs : list of dict
        One per epoch: ``train_loss``, ``val_loss``, ``val_accuracy``, ``seconds``.
    val_accuracy : float
        Between 0 and 1, of the epoch with the smallest validation loss: chapter 4 judges in the same way.
    seconds : float
        All epochs together.
    files : list of Path
        What was brought home: the metrics as CSV, and the picture.
    device : str
        What trained: the GPU's name, or ``cpu``.
    """

    epochs: list[dict[str, Any]]
    val_accuracy: float
    seconds: float
    files: list[Path]
    device: str = ""


def loss_of(epoch: dict[str, Any]) -> float:
    """Its validation loss; one that ran away (JSON has no number for it) is the largest there is."""
    return math.inf if epoch["val_loss"] is None else epoch["val_loss"]


def say_epoch(line: dict[str, Any]) -> None:
    """Log what an epoch came to."""
    losses = (line["train_loss"], line["val_loss"])
    train, validation = ("ran away" if loss is None else f"{loss:.4f}" for loss in losses)
    log.info(
        "epoch %3d of %d  train loss %s  loss %s  accuracy %.2f %%  %.2f s",
        line["epoch"],
        line["epochs"],
        train,
        validation,
        100 * line["val_accuracy"],
        line["seconds"],
    )


def mnist(
    ledger: Ledger,
    *,
    epochs: int = 10,
    lr: float = 0.05,
    momentum: float = 0.9,
    data: str | None = None,
    folder: Path = RESULTS,
    graph: bool = True,
    on_epoch: Callable[[dict[str, Any]], None] = say_epoch,
) -> Trained:
    """Train the network on handwritten digits on the server, and bring curve and predictions back.

    Parameters
    ----------
    epochs : int
        How often all pictures are seen.
    lr, momentum : float
        Learning rate, 0.0001 to 100, and momentum, 0 to below 1; four decimals at most.
    data : str, optional
        ``mnist``, ``digits`` or a folder of the server; the server's own default unless given.
    folder : Path
        Where metrics and picture go on this computer.
    graph : bool
        On a GPU: record a step once and play it; False asks for each call one by one.
    on_epoch : callable
        Called with each epoch's numbers as they come.
    """
    address, again = server_address(ledger), ledger.command("up")
    lines: list[dict[str, Any]] = []
    end: dict[str, Any] = {}

    def heard(line: dict[str, Any]) -> None:
        if line.get("done"):
            end.update(line)
        elif "val_accuracy" in line and "epoch" in line:
            lines.append(line)
            point("training", line["epoch"], line.get("train_loss"))
            point("validation", line["epoch"], line.get("val_loss"))
            on_epoch(line)

    asked = ["main.py", "--progress", "json", "--epochs", str(epochs), "--again"]
    asked += ["--lr", str(lr), "--momentum", str(momentum)]
    asked += ["--out", "results", "--picture", "results/mnist.png", *(["--data", data] if data else [])]
    asked += [] if graph else ["--no-graph"]
    with tunnel.connect(address) as client:
        remote(client, "mkdir -p lab/results", "make a folder for results", again)
        with (
            awaiting("the network is trained on the server"),
            plotting("Loss", "epoch", "cross-entropy") as point,
        ):
            status, words = program(client, asked, heard)
    if status or not lines:
        raise LabError("The training failed on the server.", words, AS_IT_SAYS.format(again))
    folder.mkdir(parents=True, exist_ok=True)
    home = tunnel.get(address, "lab/results/.", folder)
    return Trained(
        lines,
        min(lines, key=loss_of)["val_accuracy"],
        round(sum(line["seconds"] for line in lines), 3),
        [home / name for name in (*end.get("written", ()), "mnist.png")],
        end.get("device", ""),
    )


def program(
    client: paramiko.SSHClient, arguments: list[str], heard: Callable[[dict[str, Any]], None]
) -> tuple[int, str]:
    """Run one of our programs in ``~/lab``; hand out the JSON it prints, return its status and last words.

    If this end goes away the program ends at the next line that it prints.
    """

    def on_line(text: str) -> None:
        try:
            line = json.loads(text)
        except ValueError:
            line = None
        found = line if isinstance(line, list) else [line]
        if not all(isinstance(each, dict) for each in found):
            log.info("%s", text)  # a library has printed it, be it a bare number
            return
        for each in found:
            heard(each)

    command = f"cd lab && exec ../.awslabs/python {shlex.join(arguments)}"
    done = tunnel.run(client, command, on_line=on_line)
    words = [line for line in done.stderr.splitlines() if line.strip()] or [KILLED] * (done.status < 0)
    return done.status, "\n       ".join(words[-5:])


def bring_home(ledger: Ledger, folder: Path) -> str:
    """Copy notebooks, executed copies and results from the server, if it runs; say what was saved.

    Raises
    ------
    LabError
        It failed; ``down --discard`` takes the lab down without them.
    """
    if ledger.missing(PARTS) or describe(ledger).state != "running":
        return ""
    address = server_address(ledger)
    try:
        with tunnel.connect(address) as client:
            listing = tunnel.run(client, "cd lab 2>/dev/null && ls -d *.ipynb executed results 2>/dev/null")
        names = listing.stdout.split("\n")[:-1]
        if names:
            folder.mkdir(parents=True, exist_ok=True)
        for name in names:
            tunnel.get(address, posixpath.join("lab", name), folder)
    except (TunnelError, OSError) as error:  # or this computer has no room for them
        why = f"{error.what} {error.why}".strip() if isinstance(error, TunnelError) else str(error)
        raise LabError(
            "The notebooks could not be brought home.", why, ledger.command("down --discard")
        ) from error
    return f"{len(names)} notebooks and folders" if names else ""
