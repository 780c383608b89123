"""API keys: which key opens a stage, and how much of its usage plan is left.

A key opens a stage when it is enabled and in a usage plan that has the stage; without a plan it opens
nothing.
Source: API Gateway developer guide, "Usage plans and API keys for REST APIs".
"""

from __future__ import annotations

import time
from dataclasses import dataclass

from moto.apigateway.models import APIGatewayBackend, UsagePlan, apigateway_backends

from awslabs.sandbox.core.engine import clock, memory, state


@dataclass(frozen=True)
class Key:
    """An API key in the usage plan through which it opens a stage.

    Attributes
    ----------
    rate, burst : float, int
        Calls per second, and how many may come at once; 0: no limit.
    plan : moto.apigateway.models.UsagePlan
        The plan, whose quota counts.
    """

    id: str
    value: str
    rate: float
    burst: int
    plan: UsagePlan


@state
class Used(dict[tuple[str, str], int]):
    """How often each key of a usage plan was used in a period: (key, the period's name) to the number."""


def find(account: str, region: str, value: str, api_id: str, stage: str) -> Key | None:
    """The key of this value, if it opens this stage. The caller holds the lock."""
    backend: APIGatewayBackend = apigateway_backends[account][region]
    key = next((each for each in backend.keys.values() if each.value == value), None)
    if key is None or not key.enabled:
        return None
    for plan in backend.usage_plans.values():
        stages = {(each.get("apiId"), each.get("stage")) for each in plan.api_stages}
        if (api_id, stage) in stages and key.id in backend.usage_plan_keys.get(plan.id, {}):
            rate, burst = plan.throttle.get("rateLimit") or 0, plan.throttle.get("burstLimit") or 0
            return Key(key.id, key.value, float(rate) if burst else 0.0, int(burst), plan)
    return None


def count(key: Key) -> bool:
    """Count a call against the plan's quota, or say that it is used up. The caller holds the lock."""
    limit = key.plan.quota.get("limit")
    if limit is None:
        return True
    used = memory(key.plan, Used)
    place = key.id, _period(str(key.plan.quota.get("period", "DAY")))
    if used.get(place, 0) >= int(limit):
        return False
    used[place] = used.get(place, 0) + 1
    return True


def _period(kind: str) -> str:
    """The day, week or month that it is now, in UTC."""
    return time.strftime(
        {"DAY": "%Y-%m-%d", "WEEK": "%Y week %U"}.get(kind, "%Y-%m"), time.gmtime(clock.now())
    )
