"""Kinds of accounts (`--account`): AWS's Free plan, which runs few types of instances."""

from __future__ import annotations

from typing import Any

from moto.ec2.models.instance_types import INSTANCE_TYPES

from awslabs.sandbox import weather
from awslabs.sandbox.rules.engine import Refused

PLAN = "freetier:GetAccountPlanState"


def plan_runs(instance_type: str) -> bool:
    """Whether the account's plan runs such instances."""
    return weather.current.account != "free-plan" or INSTANCE_TYPES.get(instance_type, {}).get(
        "FreeTierEligible", False
    )


def refuse_beyond_free_plan(instance_type: str) -> None:
    """Refuse instances that the account's plan does not run.

    Raises
    ------
    Refused
        InvalidParameterCombination.
    """
    if not plan_runs(instance_type):
        raise Refused(
            "InvalidParameterCombination",
            "The specified instance type is not eligible for Free Tier. For a list of Free Tier instance "
            "types, run 'describe-instance-types' with the filter 'free-tier-eligible=true'.",
        )


def plan(account: str) -> dict[str, Any]:
    """What GetAccountPlanState answers, which moto does not know. Source: botocore, freetier."""
    kind = "FREE" if weather.current.account == "free-plan" else "PAID"
    return {"accountId": account, "accountPlanType": kind, "accountPlanStatus": "ACTIVE"}
