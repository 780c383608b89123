"""Lambda's versions: what is published stays as it was, under a number that never comes back.

Source: Lambda developer guide, "Manage Lambda function versions"; aws-facts (k).
"""

from __future__ import annotations

import copy
import json
from dataclasses import dataclass
from typing import Any

from moto.awslambda.models import LambdaFunction, LambdaStorage

from awslabs.sandbox.core.engine import Call, Proceed, memory, rule, state
from awslabs.sandbox.services.lambda_ import aliases, configurations, functions, shapes

_OWN = "_awslabs_"  # what `memory` has put on a function


@state
@dataclass
class Published:
    """The number of the last version, kept on the unpublished function."""

    last: int = 0


versions = rule(
    "versions",
    """Publishing what has not changed gives the last version again; a number is never given twice. A version
    has a RevisionId of its own, and publishing one gives $LATEST another; one that is published with an
    update is Pending as long as that takes. GetFunction of an alias names the alias. moto counts the versions
    that are left, publishes the first change twice, and shares what it knows between versions.
    Source: aws-facts (k).""",
)


@versions.patch(LambdaStorage, "publish_version")
def _publish(original: Any, storage: Any, name_or_arn: str, description: str = "") -> LambdaFunction:
    latest: LambdaFunction = storage.get_function_by_name_or_arn_forbid_qualifier(name_or_arn)
    held: list[LambdaFunction] = storage._functions[latest.function_name]["versions"]
    counted = memory(latest, Published)
    if held and held[-1].version == counted.last and not latest.code_or_config_updated:
        return held[-1]
    latest.code_or_config_updated = False
    counted.last += 1
    version = copy.copy(latest)
    for name in [name for name in vars(version) if name.startswith(_OWN)]:
        delattr(version, name)
    version.set_version(counted.last)
    if description:
        version.description = description
    of_latest, own = functions.life(latest), functions.life(version)
    own.active_at, own.more = of_latest.active_at, dict(of_latest.more)
    configurations.inherit(latest, version)
    configurations.revise(latest)
    held.append(version)
    storage._arns[version.function_arn] = version
    return version


@versions.around("lambda:CreateFunction", "lambda:UpdateFunctionCode")
def _published_on_the_way(call: Call, proceed: Proceed) -> Any:
    """A version that is published with a change is Pending until that is done."""
    status, headers, body = proceed()
    said = json.loads(body)
    if not call.get("Publish") or said.get("Version") in (None, "$LATEST"):
        return status, headers, body
    latest = functions.find(call.account, call.region, said["FunctionName"])
    version = functions.find(call.account, call.region, said["FunctionName"], said["Version"])
    of_latest = functions.life(latest)
    functions.life(version).active_at = max(of_latest.active_at, of_latest.updated_at)
    if call.action == "UpdateFunctionCode":
        said = {name: value for name, value in said.items() if not name.startswith("LastUpdate")}
        said |= version.get_configuration()
    return status, headers, json.dumps(said)


@versions.around("lambda:GetFunction", "lambda:GetFunctionConfiguration")
def _name_the_alias(call: Call, proceed: Proceed) -> Any:
    status, headers, body = shapes.whole(proceed())
    name, qualifier = shapes.asked_for(call)
    alias = aliases.of(functions.find(call.account, call.region, name)).get(qualifier)
    if alias is not None:
        said = json.loads(body)
        said.get("Configuration", said)["FunctionArn"] = alias.arn
        body = json.dumps(said)
    return status, headers, body
