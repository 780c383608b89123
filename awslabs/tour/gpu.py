"""Chapter 2 in the tour."""

from __future__ import annotations

from typing import Any

from awslabs import gpu, images, tunnel
from awslabs.ledger import Ledger
from awslabs.servers import Server, server_address
from awslabs.workload.gpu import notebook

BUILDS = "a GPU server"
OPTIONS = ("instance_type", "cpu", "spot")
NEEDS = ("jupyterlab", "nbclient", "matplotlib", "sklearn", "torch", "torchvision")


def type_of(options: dict[str, Any]) -> str:
    """The type of its server: where the account may have no GPU, one without."""
    return options.get("instance_type") or (gpu.CPU_TYPE if options.get("cpu") else gpu.INSTANCE_TYPE)


def usd_per_hour(region: str, **options: Any) -> float | None:
    """Of its one server."""
    return gpu.usd_per_hour(type_of(options), region, spot=bool(options.get("spot")))


def up(ledger: Ledger, **options: Any) -> Server:
    """Without what its notebooks need on this computer, the practice cloud's server alone."""
    return gpu.up(
        ledger,
        instance_type=type_of(options),
        spot=bool(options.get("spot")),
        ttl_minutes=options.get("ttl_minutes", gpu.TTL_MINUTES),
        without_notebook=not ledger.cloud.is_aws and bool(images.lacking(NEEDS)),
    )


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
