"""API keys and usage plans, as they are made, listed and changed; what a key opens is in `api_keys`.

Source: API Gateway API reference, "Patch operations"; aws-facts (k).
"""

from __future__ import annotations

import base64
from typing import Any

from moto.apigateway.models import ApiKey, UsagePlan

from awslabs.sandbox.core.engine import Call, Proceed, clock, rule
from awslabs.sandbox.services.apigateway.patches import bad, bad_path, one_of, replaced, steps_of
from awslabs.sandbox.services.apigateway.rest_apis import asked, backend_of, changed, missing, named, parts_of
from awslabs.sandbox.services.apigateway.shown import without_none

usage_plans = rule(
    "usage_plans",
    """A key's value is shown when it is made, or on demand; names, values and descriptions have a longest
    length; keys come newest first, page by page, and a deleted one leaves its plans. A plan's stages are
    those that it has: others cannot be removed. moto: none of these. Source: aws-facts (k).""",
)
_PAGE = 25


def _page(call: Call, items: list[dict[str, Any]]) -> dict[str, Any]:
    """A page of a list, and where the next one begins."""
    try:
        start = int(base64.b64decode(asked(call, "position") or "").decode() or 0)
        limit = int(asked(call, "limit") or _PAGE)
    except ValueError:
        start = -1
    if start < 0:
        raise bad("Invalid position parameter specified")
    shown: dict[str, Any] = {"items": items[start : start + max(limit, 0)]}
    if 0 < limit < len(items) - start:
        shown["position"] = base64.b64encode(str(start + limit).encode()).decode()
    return shown


# --- keys ---------------------------------------------------------------------------------------------


def _key_shown(key: ApiKey, value: bool, tags: bool) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "id": key.id,
        "value": key.value if value else None,
        "name": key.name or None,
        "customerId": key.customer_id or None,
        "description": key.description or None,
        "enabled": bool(key.enabled),
        "createdDate": key.created_date,
        "lastUpdatedDate": key.last_updated_date,
        "stageKeys": key.stage_keys,
        "tags": key.tags or ({} if tags else None),
    }
    return without_none(shown)


def _look_at_key(name: Any, description: Any) -> None:
    if len(name or "") > 1024:
        raise bad("Invalid API Key name, can be at most 1024 characters.")
    if len(description or "") > 125_000:
        raise bad("Invalid API Key description specified.")


@usage_plans.around("apigateway:CreateApiKey")
def _create_key(call: Call, proceed: Proceed) -> Any:
    _look_at_key(call.get("name"), call.get("description"))
    if len(call.get("value") or "") > 128:
        raise bad("API Key value exceeds maximum size of 128 characters")
    keys = backend_of(call).keys
    return changed(proceed(), lambda said: _key_shown(keys[said["id"]], value=True, tags=False))


def _key(call: Call) -> ApiKey:
    return named(backend_of(call).keys, parts_of(call)[1], "API Key identifier")


@usage_plans.operation("apigateway:GetApiKey")
def _get_key(call: Call) -> dict[str, Any]:
    return _key_shown(_key(call), asked(call, "includeValue") == "true", tags=True)


@usage_plans.operation("apigateway:GetApiKeys")
def _get_keys(call: Call) -> dict[str, Any]:
    begin, values = asked(call, "name") or "", asked(call, "includeValues") == "true"
    keys = [each for each in backend_of(call).keys.values() if (each.name or "").startswith(begin)]
    return _page(call, [_key_shown(each, values, tags=False) for each in reversed(keys)])


@usage_plans.operation("apigateway:UpdateApiKey")
def _update_key(call: Call) -> dict[str, Any]:
    key = _key(call)
    steps = replaced(call, "/description", "/enabled", "/name", "/customerId")
    for step in steps:
        _look_at_key(*((step.value, "") if step.path == "/name" else ("", step.value)))
    for step in steps:
        if step.path == "/enabled":
            key.enabled = step.value.lower() == "true"
        else:
            setattr(key, {"/customerId": "customer_id"}.get(step.path, step.path[1:]), step.value)
    key.last_updated_date = int(clock.now())
    return _key_shown(key, value=False, tags=True)


@usage_plans.operation("apigateway:DeleteApiKey")
def _delete_key(call: Call) -> dict[str, Any]:
    backend, key = backend_of(call), _key(call)
    for keys in backend.usage_plan_keys.values():
        keys.pop(key.id, None)
    del backend.keys[key.id]
    return {}


# --- plans --------------------------------------------------------------------------------------------


def _plan(call: Call) -> UsagePlan:
    return named(backend_of(call).usage_plans, parts_of(call)[1], "Usage Plan ID")


def _plan_shown(plan: UsagePlan, tags: bool) -> dict[str, Any]:
    quota = {"offset": 0, **plan.quota} if plan.quota else None
    shown = {
        "id": plan.id,
        "name": plan.name,
        "description": plan.description or None,
        "apiStages": plan.api_stages,
        "throttle": plan.throttle or None,
        "quota": quota,
        "productCode": plan.product_code or None,
        "tags": plan.tags or ({} if tags else None),
    }
    return without_none(shown)


@usage_plans.around("apigateway:CreateUsagePlan")
def _create_plan(call: Call, proceed: Proceed) -> Any:
    plans = backend_of(call).usage_plans
    return changed(proceed(), lambda said: _plan_shown(plans[said["id"]], tags=False))


@usage_plans.operation("apigateway:GetUsagePlan")
def _get_plan(call: Call) -> dict[str, Any]:
    return _plan_shown(_plan(call), tags=True)


@usage_plans.operation("apigateway:GetUsagePlans")
def _get_plans(call: Call) -> dict[str, Any]:
    plans = backend_of(call).get_usage_plans(asked(call, "keyId"))
    return _page(call, [_plan_shown(each, tags=False) for each in plans])


@usage_plans.operation("apigateway:UpdateUsagePlan")
def _update_plan(call: Call) -> dict[str, Any]:
    plan = _plan(call)
    stages, throttle, quota = list(plan.api_stages), dict(plan.throttle), dict(plan.quota)
    texts = {"name": plan.name, "description": plan.description, "productCode": plan.product_code}
    for step in steps_of(call):
        path, value, gone = step.path, step.value, step.op == "remove"
        first, _, second = path.removeprefix("/").partition("/")
        if path == "/apiStages":
            one_of(step.op, "add", "remove")
            stages = _stages(call, plan, stages, value, gone)
        elif first in texts and not second:
            texts[first] = None if gone else value
        elif path in ("/throttle", "/quota") and gone:
            (throttle if first == "throttle" else quota).clear()
        elif path in ("/throttle/rateLimit", "/throttle/burstLimit"):
            throttle[second] = step.read(float if second == "rateLimit" else int)
        elif path in ("/quota/limit", "/quota/offset", "/quota/period"):
            quota[second] = step.read(str if second == "period" else int)
        else:
            raise bad_path(path)
    plan.api_stages, plan.throttle, plan.quota = stages, throttle, quota
    plan.name, plan.description, plan.product_code = texts.values()
    return _plan_shown(plan, tags=True)


def _stages(
    call: Call, plan: UsagePlan, stages: list[dict[str, Any]], value: str, gone: bool
) -> list[dict[str, Any]]:
    """A plan's stages with one more, or one less."""
    api_id, parted, stage = value.partition(":")
    if not parted:
        raise bad("Invalid API Stage specified")
    one = {"apiId": api_id, "stage": stage}
    api = backend_of(call).apis.get(api_id)
    if (gone and one not in stages) or (not gone and (api is None or stage not in api.stages)):
        raise missing(
            f"Invalid API Stage {{api: {api_id}, stage: {stage}}} specified for usageplan {plan.id}"
        )
    others = [each for each in stages if each != one]
    return others if gone else [*others, one]


@usage_plans.operation("apigateway:GetUsagePlanKeys")
def _get_plan_keys(call: Call) -> dict[str, Any]:
    begin = asked(call, "name") or ""
    keys = backend_of(call).usage_plan_keys.get(parts_of(call)[1], {}).values()
    found = [each.to_json() for each in keys if (each.name or "").startswith(begin)]
    return _page(call, found[::-1])
