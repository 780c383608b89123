"""The Regions that an account sees."""

from __future__ import annotations

from test_services_support import Case, check, client, table

from awslabs.sandbox.core import regions
from awslabs.sandbox.services.ec2 import regions as rules  # noqa: F401  (what is tested here)

IN, OUT = "opt-in-not-required", "not-opted-in"
RULE = "regions_are_opted_in"
LATE = ["af-south-1", "ap-east-1", "cn-north-1", "us-gov-west-1"]


def seen(**asked: object) -> dict[str, str]:
    found = client("ec2").describe_regions(**asked)["Regions"]
    return {each["RegionName"]: each["OptInStatus"] for each in found}


def usual() -> list[object]:
    found = seen()
    return [found.keys() >= regions.ENABLED, *(name in found for name in LATE)]


def every_one() -> list[object]:
    found = seen(AllRegions=True)
    return [found.keys() >= regions.ENABLED, *(found.get(name) for name in LATE)]


def named() -> dict[str, str]:
    return seen(RegionNames=["af-south-1", "eu-west-1"])


def filtered() -> set[str]:
    return set(seen(AllRegions=True, Filters=[{"Name": "opt-in-status", "Values": [OUT]}]).values())


@table(
    Case(RULE, usual, [True] * 5, [True, False, False, False, False]),
    Case(RULE, every_one, [True, IN, OUT, IN, IN], [True, OUT, OUT, None, None]),
    Case(RULE, named, {"af-south-1": IN, "eu-west-1": IN}, {"af-south-1": OUT, "eu-west-1": IN}),
    Case(RULE, filtered, {IN, OUT}, {OUT}),
)
def test_aws_is_stricter_than_moto(case: Case) -> None:
    check(case)
