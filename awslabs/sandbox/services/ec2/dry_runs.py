"""Dry runs: a call of EC2 with DryRun does nothing."""

from __future__ import annotations

from typing import Any

from awslabs.sandbox.core.engine import Call, Proceed, Refused, around


@around("ec2:*")
def dry_runs_do_nothing(call: Call, proceed: Proceed) -> Any:
    """DryRun: DryRunOperation 412, and nothing happens; AWS looks at permissions only.

    moto does what CreateVpc, DeleteVpc and many more ask for. Source: botocore, CreateVpc (DryRun).
    """
    if call.get("DryRun") is True:
        raise Refused("DryRunOperation", "Request would have succeeded, but DryRun flag is set.", 412)
    return proceed()
