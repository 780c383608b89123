"""EC2: the Regions that an account sees."""

from __future__ import annotations

from typing import Any

from moto.ec2.models.availability_zones_and_regions import RegionsAndZonesBackend

from awslabs.sandbox.core import regions
from awslabs.sandbox.core.engine import Call, operation
from awslabs.sandbox.core.policies import as_list

_FILTERS = {"endpoint": "Endpoint", "opt-in-status": "OptInStatus", "region-name": "RegionName"}


@operation("ec2:DescribeRegions")
def regions_are_opted_in(call: Call) -> dict[str, Any]:
    """DescribeRegions lists the Regions that are enabled for the account, with `AllRegions` those too that
    are to be opted in to, and filters. moto lists all of all partitions, and takes three for enabled that
    are not. Source: EC2 API reference, DescribeRegions; aws-facts (k).
    """
    wanted = call.get("RegionNames") or []
    everywhere = wanted or call.get("AllRegions") in (True, "true")
    found = [
        {"RegionName": each.name, "Endpoint": each.endpoint, "OptInStatus": _status(each.name)}
        for each in RegionsAndZonesBackend.regions
        if each.endpoint.endswith(".amazonaws.com") and not each.name.startswith("us-gov-")
    ]
    for asked in call.get("Filters") or []:
        member = _FILTERS.get(asked["Name"], "")
        found = [each for each in found if each.get(member) in as_list(asked["Values"])]
    return {
        "Regions": [
            each
            for each in found
            if (everywhere or each["RegionName"] in regions.ENABLED)
            and (not wanted or each["RegionName"] in wanted)
        ]
    }


def _status(region: str) -> str:
    return "opt-in-not-required" if region in regions.ENABLED else "not-opted-in"
