"""Chapter 2, as the harness runs it, and what it leaves besides servers: spot requests."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

from awslabs import gpu
from harness import outside
from harness.labs import Lab
from harness.outside import Thing, everything, thing

# On spot: there is a request besides the server. What `up` does over SSH changes nothing on AWS.
GPU = Lab(
    "gpu",
    partial(gpu.up, spot=True),
    gpu.down,
    skip=("awslabs.tunnel:wait_for_ssh", "awslabs.workload.gpu.notebook:prepare"),
)


def ec2(client: Any) -> Iterator[Thing]:
    """EC2 with the spot requests that could still start a server, or have one that runs."""
    yield from without_requests(client)
    for request in everything(client, "describe_spot_instance_requests", "SpotInstanceRequests"):
        if request["State"] in ("open", "active"):
            yield thing("ec2 spot request", request["SpotInstanceRequestId"], request["Type"])


without_requests = outside.LISTINGS["ec2"]
outside.LISTINGS["ec2"] = ec2
