"""What the ledger must know of each thing that a lab makes: one entry per create operation.

    KINDS["ec2:CreateVpc"]         how to mark it, find it, delete it, and when it is gone
    ENSURES["ec2:CreateRoute"]     how to read what dies with its parent, and what puts it right
    REASONS["ec2:CreateVpc"]       what it is and why it is there, in English and Japanese; of both of these

Entries sit together by AWS service (`ec2.py`, ...). What AWS is like stands in the entry alone. An
operation without one is refused before any call, so all that a lab makes can be deleted.
"""

from __future__ import annotations

from awslabs.kinds import (
    batch,
    containers,
    ec2,
    functions,
    iam,
    logs,
    parameters,
    queues,
    rest_apis,
    schedules,
    storage,
    tables,
)
from awslabs.kinds.kind import Ensured, Found, Kind, Mark, Reason
from awslabs.kinds.overview import Overview

__all__ = ["ENSURES", "KINDS", "REASONS", "Ensured", "Found", "Kind", "Mark", "Overview", "Reason"]

SERVICES = (
    *(batch, containers, ec2, functions, iam, logs),
    *(parameters, queues, rest_apis, schedules, storage, tables),
)

KINDS: dict[str, Kind] = {kind.call: kind for service in SERVICES for kind in service.KINDS}
ENSURES: dict[str, Ensured] = {
    call: how for service in SERVICES for call, how in getattr(service, "ENSURES", {}).items()
}
REASONS: dict[str, Reason] = {call: why for service in SERVICES for call, why in service.REASONS.items()}
