"""How many threads this process may keep busy.

A thread more than there is CPU time for makes a task slower: all of them wait for the one that is held back.
"""

from __future__ import annotations

import json
import os
import urllib.request
from pathlib import Path

CGROUP = Path("/sys/fs/cgroup")


def available() -> int:
    """OMP_NUM_THREADS if it is set, else the least of what task, container and system allow."""
    told = os.environ.get("OMP_NUM_THREADS", "")
    if told.isdigit() and int(told) > 0:
        return int(told)
    allowed = (of_the_task(), of_the_container(), of_the_system())
    return max(1, int(min(vcpus for vcpus in allowed if vcpus is not None)))


def of_the_task() -> float | None:
    """The vCPUs of the Fargate task that this runs in; its machine may show more cores than that.

    Source: "Amazon ECS task metadata endpoint version 4 for tasks on Fargate", ECS developer guide:
    `Limits.CPU`, in vCPUs.
    """
    endpoint = os.environ.get("ECS_CONTAINER_METADATA_URI_V4")
    if not endpoint:
        return None
    try:
        with urllib.request.urlopen(f"{endpoint}/task", timeout=2) as response:
            vcpus = json.load(response).get("Limits", {}).get("CPU")
    except (OSError, ValueError):  # a wrong number of threads is slower, not wrong
        return None
    return vcpus if isinstance(vcpus, (int, float)) and vcpus > 0 else None


def of_the_container() -> float | None:
    """The CPU time that the control group grants, as by `docker run --cpus`.

    Source: "Control Group v2", Linux kernel documentation: cpu.max is "QUOTA PERIOD" or "max PERIOD"; in
    version 1 each has a file, and a quota of -1 is none ("CFS Bandwidth Control").
    """
    for names in (["cpu.max"], ["cpu/cpu.cfs_quota_us", "cpu/cpu.cfs_period_us"]):
        try:
            quota, period = " ".join((CGROUP / name).read_text(encoding="ascii") for name in names).split()
        except (OSError, ValueError):
            continue
        return int(quota) / int(period) if quota not in ("max", "-1") else None
    return None


def of_the_system() -> int:
    """The cores that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
