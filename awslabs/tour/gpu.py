"""Chapter 2 in the tour."""

from __future__ import annotations

from awslabs import gpu, tunnel
from awslabs.ledger import Ledger
from awslabs.servers import Server, server_address
from awslabs.tour import LEARNING, missing
from awslabs.workload.gpu import notebook

BUILDS = "a GPU server"
USD_PER_HOUR = gpu.usd_per_hour(gpu.INSTANCE_TYPE, "us-east-1")
NEEDS = ("jupyterlab", "nbclient", *LEARNING)


def up(ledger: Ledger) -> Server:
    """Without what its notebooks need on this computer, the practice cloud's server alone."""
    return gpu.up(ledger, without_notebook=bool(missing(ledger)))


def look(ledger: Ledger) -> str:
    """Log in, and see who is there."""
    with tunnel.connect(server_address(ledger)) as server:
        answer = tunnel.run(server, "id -un; nvidia-smi --list-gpus || echo it shows no GPU")
    user, seen = answer.stdout.strip().split("\n", 1)
    return f"logged in as {user}: {'; '.join(seen.splitlines())}"


def work(ledger: Ledger) -> str:
    """Multiply two matrices on the server, and train its network for two epochs."""
    notebook.bench(ledger, size=512)
    trained = notebook.mnist(ledger, epochs=2)
    return f"a matrix product timed; digits read with {trained.val_accuracy:.1%} accuracy after two epochs"
