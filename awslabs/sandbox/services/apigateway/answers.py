"""API Gateway's answers in AWS's shape.

Source: aws-facts (k).
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from moto.apigateway.models import Deployment, RestAPI, Stage

from awslabs.sandbox.core.engine import Call, Proceed, clock, memory, rule, state
from awslabs.sandbox.services.apigateway.patches import bad


@state
@dataclass
class StageDates:
    """When a stage was made and last changed (seconds since 1970)."""

    created: float = field(default_factory=clock.now)
    updated: float = field(default_factory=clock.now)


apis_have_awss_shape = rule(
    "apis_have_awss_shape",
    """An API says its type of IP addresses and nothing of media types, a version or a policy that it has
    not; a stage has dates, says whether it caches and traces, and nothing of an empty description; a
    deployment does not know its stage. Methods come without details unless they are asked for with `embed`;
    stages of one deployment, if asked. What is made is a 201, what goes a 202. moto: none of these.
    Source: aws-facts (k).""",
)


@apis_have_awss_shape.patch(RestAPI, "to_dict")
def _api(original: Any, api: RestAPI) -> dict[str, Any]:
    shown: dict[str, Any] = original(api)
    where: dict[str, Any] = dict(shown.get("endpointConfiguration") or {})
    where.setdefault("ipAddressType", "dualstack" if "PRIVATE" in where.get("types", []) else "ipv4")
    shown["endpointConfiguration"] = where
    if shown.get("version") == "V1":  # moto's word for none
        del shown["version"]
    kept = ("id", "name", "tags", "disableExecuteApiEndpoint", "minimumCompressionSize")
    return {name: value for name, value in shown.items() if name in kept or value}


@apis_have_awss_shape.patch(Stage, "to_json")
def _stage(original: Any, stage: Stage) -> dict[str, Any]:
    shown: dict[str, Any] = original(stage)
    dates = memory(stage, StageDates)
    shown |= {"createdDate": int(dates.created), "lastUpdatedDate": int(dates.updated)}
    shown["cacheClusterEnabled"] = bool(shown.get("cacheClusterEnabled"))
    shown.setdefault("cacheClusterStatus", "NOT_AVAILABLE")
    shown["tracingEnabled"] = bool(shown.get("tracingEnabled"))
    empty = ("description", "variables", "accessLogSettings")
    return {name: value for name, value in shown.items() if name not in empty or value}


@apis_have_awss_shape.patch(Stage, "apply_operations")
def _change_stage(original: Any, stage: Stage, patch_operations: list[dict[str, Any]]) -> Stage:
    rest = []
    for step in patch_operations:
        setting = step["path"].removeprefix("/")
        if step["op"] == "remove" and setting.count("/") == 1 and not setting.startswith("variables/"):
            if setting not in stage.method_settings:
                raise bad(
                    f"Cannot remove method setting {setting} because there is no method setting for this "
                    "method "
                )
            del stage.method_settings[setting]
        else:
            rest.append(step)
    changed: Stage = original(stage, rest)
    memory(stage, StageDates).updated = clock.now()
    return changed


@apis_have_awss_shape.patch(Stage, "_get_default_method_settings")
def _default_settings(original: Any, stage: Stage) -> dict[str, Any]:
    mine = {"throttlingBurstLimit": 5000, "throttlingRateLimit": 10_000.0, "cacheDataEncrypted": False}
    found: dict[str, Any] = original(stage) | mine
    return found


@apis_have_awss_shape.patch(Deployment, "to_json")
def _deployment(original: Any, deployment: Deployment) -> dict[str, Any]:
    shown = original(deployment)
    return {name: value for name, value in shown.items() if name != "stageName" and value}


@apis_have_awss_shape.around("apigateway:GetResources")
def _without_details(call: Call, proceed: Proceed) -> Any:
    said = json.loads(proceed())
    if "methods" not in (call.response.querystring or {}).get("embed", []):
        for each in said["item"]:
            if "resourceMethods" in each:
                each["resourceMethods"] = {name: {} for name in each["resourceMethods"]}
    return json.dumps(said)


@apis_have_awss_shape.around("apigateway:GetStages")
def _of_a_deployment(call: Call, proceed: Proceed) -> Any:
    said = json.loads(proceed())
    wanted = (call.response.querystring or {}).get("deploymentId", [None])[0]
    if wanted is not None:
        said["item"] = [each for each in said["item"] if each["deploymentId"] == wanted]
    return json.dumps(said)


@apis_have_awss_shape.around("apigateway:CreateRestApi", "apigateway:ImportRestApi")
@apis_have_awss_shape.around("apigateway:PutGatewayResponse")
def _made(call: Call, proceed: Proceed) -> Any:
    status, headers, body = proceed()
    made = 201 if status == 200 else status
    return made, {**headers, "status": made}, body


@apis_have_awss_shape.around("apigateway:DeleteRestApi")
def _gone(call: Call, proceed: Proceed) -> Any:
    proceed()
    return 202, {"status": 202}, ""
