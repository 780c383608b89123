"""AWS's Regions: which there are, and in which of them an account's keys are known.

    enabled from the first day    us-east-1, eu-west-1, ...
    to be opted in to             ap-east-1, ...: until then nobody there knows the account's keys
    of another partition          cn-north-1, ...: never
    none                          us-nowhere-1: on AWS its endpoints have no address

Nobody opts in here. Global services (IAM) are asked in us-east-1, whatever Region a client has.
Source: Account Management reference guide, "Enable or disable AWS Regions in your account"; the list of
Regions: botocore; aws-facts (k).
"""

from __future__ import annotations

import functools
from typing import Any

from botocore.loaders import create_loader

ENABLED = frozenset(
    {
        *("ap-northeast-1", "ap-northeast-2", "ap-northeast-3", "ap-south-1", "ap-southeast-1"),
        *("ap-southeast-2", "ca-central-1", "eu-central-1", "eu-north-1", "eu-west-1", "eu-west-2"),
        *("eu-west-3", "sa-east-1", "us-east-1", "us-east-2", "us-west-1", "us-west-2"),
    }
)
"""Where every account may work; Regions that came after March 20, 2019 are to be opted in to."""


def _partitions() -> list[dict[str, Any]]:
    """What botocore knows: 5 MiB in memory. So it is read for each question, and the answers are kept."""
    found: list[dict[str, Any]] = create_loader().load_data("endpoints")["partitions"]
    return found


@functools.lru_cache
def known(region: str) -> bool:
    """Whether there is such a Region, in any partition."""
    return region in ENABLED or any(region in each["regions"] for each in _partitions())


@functools.lru_cache
def description(region: str) -> str:
    """What a Region is called: `US East (N. Virginia)`; one that is none, as it is."""
    found = (each["regions"][region]["description"] for each in _partitions() if region in each["regions"])
    return str(next(found, region))


@functools.lru_cache
def is_global(service: str) -> bool:
    """Whether a service, by the name that it signs with, has one endpoint for all Regions."""
    return _partitions()[0]["services"].get(service, {}).get("isRegionalized") is False
