"""Lambda's aliases: names for versions, and how much of an alias another version takes.

Source: Lambda developer guide, "Create an alias for a Lambda function"; aws-facts (k).
"""

from __future__ import annotations

import json
import random
import urllib.parse
import uuid
from typing import Any

from moto.awslambda.models import LambdaAlias, LambdaFunction
from moto.awslambda.utils import get_backend

from awslabs.sandbox.core.engine import Call, Refused, rule
from awslabs.sandbox.services.lambda_ import functions, shapes

_WEIGHTS = "routingConfig.additionalVersionWeights"
_KEYS = (
    "Map keys must satisfy constraint: [Member must have length less than or equal to 1024, Member must have "
    "length greater than or equal to 1, Member must satisfy regular expression pattern: [0-9]+]"
)
_VALUES = (
    "Map value must satisfy constraint: [Member must have value less than or equal to 1.0, Member must have "
    "value greater than or equal to 0.0, Member must not be null]"
)

aliases = rule(
    "aliases",
    """The versions of an alias must be there, and one more at most may take a share of it, which is neither
    its own nor $LATEST; a name of digits alone is none; each change gives it a new RevisionId, and one that
    is older than that is refused; lists know versions and pages. moto looks at none of this.
    Source: aws-facts (k).""",
)


def _latest(call: Call) -> LambdaFunction:
    """The function that a request names, whichever way."""
    return functions.find(call.account, call.region, shapes.named(call))


def of(function: LambdaFunction) -> dict[str, LambdaAlias]:
    """A function's aliases, by name."""
    held = get_backend(function.account_id, function.region)._lambdas
    found: dict[str, LambdaAlias] = held._get_function_aliases(function.function_name)
    return found


def drawn(alias: LambdaAlias) -> str:
    """The version that an invocation of an alias runs: another one as often as its share says."""
    for version, share in _weights(alias.routing_config).items():
        if random.random() < share:
            return version
    return str(alias.function_version)


def _arn(call: Call, name: str) -> str:
    plain = shapes.named(call).partition(":function:")[2] or shapes.named(call)
    return f"arn:{call.partition}:lambda:{call.region}:{call.account}:function:{plain}:{name}"


def _in_path(call: Call) -> str:
    """The alias that a request is about."""
    return urllib.parse.unquote(call.response.path.rpartition("/aliases/")[2])


def _there(call: Call, gone: str) -> LambdaAlias:
    """The alias that a request is about; `gone` is what AWS says where there is none."""
    name = _in_path(call)
    try:
        return of(_latest(call))[name]
    except (KeyError, Refused) as problem:
        raise shapes.missing(f"{gone}: {_arn(call, name)}") from problem


def _weights(routing: Any) -> dict[str, float]:
    """The shares that other versions have, of a RoutingConfig that may not be there."""
    return (routing or {}).get("AdditionalVersionWeights") or {}


def _shown(alias: LambdaAlias) -> dict[str, Any]:
    """An alias as AWS shows it: without a share that nobody has."""
    shown = {name: value for name, value in alias.to_json().items() if name != "RoutingConfig"}
    if _weights(alias.routing_config):
        shown["RoutingConfig"] = alias.routing_config
    return shown | {"Description": alias.description or ""}


def _look_at(call: Call, version: str, weights: dict[str, float]) -> None:
    """Refuse what cannot be the versions of an alias."""
    written = "{" + ", ".join(f"{key}={float(share)}" for key, share in weights.items()) + "}"
    if any(not key.isdigit() for key in weights):
        raise shapes.wrong(written, _WEIGHTS, _KEYS)
    if any(not 0 <= share <= 1 for share in weights.values()):
        raise shapes.wrong(written, _WEIGHTS, _VALUES)
    if len(weights) > 1:
        raise shapes.invalid("Number of items in AdditionalVersionWeights cannot be greater than 1")
    if weights and version == "$LATEST":
        message = "$LATEST is not supported for an alias pointing to more than 1 version"
        raise Refused("InvalidParameterValueException", message, 400, Type="")
    for each in weights:
        if each == version:
            raise shapes.invalid(
                f"Invalid function version {each}. Function version {each} is already included in routing "
                "configuration."
            )
    for wanted in (version, *weights):
        functions.find(call.account, call.region, shapes.named(call), wanted)


@aliases.operation("lambda:CreateAlias")
def _create(call: Call) -> dict[str, Any]:
    name, version = str(call.get("Name")), str(call.get("FunctionVersion"))
    if name.isdigit():
        pattern = "(?!^[0-9]+$)([a-zA-Z0-9-_]+)"
        raise shapes.wrong(name, "name", f"Member must satisfy regular expression pattern: {pattern}")
    _look_at(call, version, _weights(call.get("RoutingConfig")))
    function = _latest(call)
    held = of(function)
    if name in held:
        raise Refused("ResourceConflictException", f"Alias already exists: {held[name].arn}", 409)
    held[name] = LambdaAlias(
        account_id=call.account,
        region=call.region,
        name=name,
        function_name=function.function_name,
        function_version=version,
        description=call.get("Description", ""),
        routing_config=call.get("RoutingConfig"),
    )
    return _shown(held[name])


@aliases.operation("lambda:GetAlias")
def _get(call: Call) -> dict[str, Any]:
    return _shown(_there(call, "Cannot find alias arn"))


@aliases.operation("lambda:UpdateAlias")
def _update(call: Call) -> dict[str, Any]:
    alias = _there(call, "Alias not found")
    shapes.look_at_revision(call, alias.revision_id)
    version = call.get("FunctionVersion", alias.function_version)
    changes = "RoutingConfig" in json.loads(call.response.body or "{}")
    routing = call.get("RoutingConfig") if changes else None
    _look_at(call, version, _weights(routing if changes else alias.routing_config))
    alias.update(call.get("Description"), version, routing)
    alias.revision_id = str(uuid.uuid4())
    return _shown(alias)


@aliases.operation("lambda:DeleteAlias")
def _delete(call: Call) -> dict[str, Any]:
    of(_latest(call)).pop(_in_path(call), None)
    return {}


@aliases.operation("lambda:ListAliases")
def _list(call: Call) -> dict[str, Any]:
    version = call.get("FunctionVersion")
    held = sorted(of(_latest(call)).values(), key=lambda alias: str(alias.name))
    found = [_shown(alias) for alias in held if version in (None, alias.function_version)]
    return shapes.page(call, "Aliases", found)
