"""API Gateway's answers in AWS's shape.

Source: aws-facts (k).
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from moto.apigateway.models import Stage

from awslabs.sandbox.core.engine import Call, Proceed, clock, memory, rule, state
from awslabs.sandbox.services.apigateway.patches import bad
from awslabs.sandbox.services.apigateway.rest_apis import asked, backend_of, changed, parts_of


@state
@dataclass
class StageDates:
    """When a stage was made and last changed (seconds since 1970), and the documentation that it names."""

    created: float = field(default_factory=clock.now)
    updated: float = field(default_factory=clock.now)
    documentation_version: str = ""


apis_have_awss_shape = rule(
    "apis_have_awss_shape",
    """An API says its type of IP addresses and nothing of media types, a version or a policy that it
    has not; a stage has dates, says whether it caches and traces, and nothing of an empty description;
    a deployment does not know its stage; a method's settings begin with those of all. Methods come
    without details unless they are asked for with `embed`; stages of one deployment, if asked. What is
    made is a 201, what goes a 202. moto: none of these. Source: aws-facts (k).""",
)


@apis_have_awss_shape.around("apigateway:GetRestApi", "apigateway:GetRestApis", "apigateway:PutRestApi")
@apis_have_awss_shape.around("apigateway:CreateRestApi", "apigateway:ImportRestApi")
@apis_have_awss_shape.around("apigateway:UpdateRestApi")
def _apis(call: Call, proceed: Proceed) -> Any:
    tagged = call.action in ("GetRestApi", "PutRestApi", "UpdateRestApi")  # shown, were they none
    return changed(proceed(), lambda shown: _api(shown, tagged))


def _api(shown: dict[str, Any], tagged: bool) -> dict[str, Any]:
    where: dict[str, Any] = dict(shown.get("endpointConfiguration") or {})
    where.setdefault("ipAddressType", "dualstack" if "PRIVATE" in where.get("types", []) else "ipv4")
    shown["endpointConfiguration"] = where
    if shown.get("version") == "V1":  # moto's word for none
        del shown["version"]
    if tagged:
        shown["tags"] = shown.get("tags") or {}
    kept = (
        "id",
        "name",
        "disableExecuteApiEndpoint",
        "minimumCompressionSize",
        *(["tags"] if tagged else []),
    )
    return {name: value for name, value in shown.items() if value or (name in kept and value is not None)}


@apis_have_awss_shape.around("apigateway:CreateStage", "apigateway:GetStage", "apigateway:GetStages")
def _stages(call: Call, proceed: Proceed) -> Any:
    answer = proceed()
    stages = backend_of(call).apis[parts_of(call)[1]].stages
    if call.action == "CreateStage" and call.get("stageName") in stages and call.get("documentationVersion"):
        memory(stages[call.get("stageName")], StageDates).documentation_version = call.get(
            "documentationVersion"
        )
    return changed(answer, lambda shown: _stage(shown, stages[shown["stageName"]]))


def _stage(shown: dict[str, Any], stage: Stage) -> dict[str, Any]:
    dates = memory(stage, StageDates)
    shown |= {"createdDate": int(dates.created), "lastUpdatedDate": int(dates.updated)}
    shown["cacheClusterEnabled"] = bool(shown.get("cacheClusterEnabled"))
    shown.setdefault("cacheClusterStatus", "NOT_AVAILABLE")
    if dates.documentation_version:
        shown["documentationVersion"] = dates.documentation_version
    shown["tracingEnabled"] = bool(shown.get("tracingEnabled"))
    empty = ("description", "variables", "accessLogSettings")
    return {name: value for name, value in shown.items() if name not in empty or value}


_SETTINGS = {
    "throttling/burstLimit": ("throttlingBurstLimit", 5000),
    "throttling/rateLimit": ("throttlingRateLimit", 10_000.0),
    "caching/dataEncrypted": ("cacheDataEncrypted", False),
}
"""What a method's settings are at first, where moto has other numbers."""


@apis_have_awss_shape.operation("apigateway:UpdateStage")
def _change_stage(call: Call) -> dict[str, Any]:
    stage = backend_of(call).get_stage(parts_of(call)[1], parts_of(call)[3])
    steps: list[dict[str, Any]] = call.get("patchOperations") or []  # as moto wants them
    gone = [step for step in steps if step["op"] == "remove" and _names_settings(step["path"])]
    for step in gone:
        setting = step["path"].removeprefix("/")
        if setting not in stage.method_settings:
            raise bad(
                f"Cannot remove method setting {setting} because there is no method setting for this method "
            )
        del stage.method_settings[setting]
    known = set(stage.method_settings)
    logs = [step for step in steps if step["path"].startswith("/accessLogSettings")]
    _change_logs(stage, logs)
    named = [step for step in steps if step["path"] == "/documentationVersion"]
    for step in named:
        memory(stage, StageDates).documentation_version = step.get("value") or ""
    stage.apply_operations([step for step in steps if step not in [*gone, *logs, *named]])
    said = {step["path"] for step in steps}
    for name in sorted(stage.method_settings.keys() - known):  # those of all methods, `*/*`, come first
        fresh = {path: kept for path, kept in _SETTINGS.items() if f"/{name}/{path}" not in said}
        stage.method_settings[name] |= dict(fresh.values())
        begin = f"/{name}/"
        own = {
            stage._method_settings_translations(path.removeprefix(begin))
            for path in said
            if path.startswith(begin)
        }
        shared = stage.method_settings.get("*/*", {})
        stage.method_settings[name] |= {key: value for key, value in shared.items() if key not in own}
    memory(stage, StageDates).updated = clock.now()
    return _stage(stage.to_json(), stage)


def _change_logs(stage: Stage, steps: list[dict[str, Any]]) -> None:
    """Change where a stage logs its accesses to, and how; both together can be removed."""
    settings = dict(stage.access_log_settings or {})
    paths = [f"/accessLogSettings/{name}" for name in ("destinationArn", "format")]
    for step in steps:
        if step["op"] == "remove":
            settings = {}  # one alone is refused before
        elif step["path"] not in paths:
            raise bad(f"Invalid accessLogSettings path. Must be one of : [{', '.join(paths)}]")
        elif not step.get("value"):
            raise bad("Access Log value must not be empty")
        else:
            settings[step["path"].rpartition("/")[2]] = step["value"]
    stage.access_log_settings = settings or None


def _names_settings(path: str) -> bool:
    """Whether a path names all settings of a method."""
    return path.count("/") == 2 and not path.startswith("/variables/")


@apis_have_awss_shape.around("apigateway:CreateDeployment", "apigateway:GetDeployment")
@apis_have_awss_shape.around("apigateway:GetDeployments")
def _deployments(call: Call, proceed: Proceed) -> Any:
    return changed(proceed(), lambda shown: {n: v for n, v in shown.items() if n != "stageName" and v})


@apis_have_awss_shape.around("apigateway:GetStages")
def _of_a_deployment(call: Call, proceed: Proceed) -> Any:
    said = json.loads(proceed())
    wanted = asked(call, "deploymentId")
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
