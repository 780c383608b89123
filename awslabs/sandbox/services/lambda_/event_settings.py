"""Lambda: how often an asynchronous event is tried, as a function, version or alias has it set.

Source: aws-facts (k); Lambda developer guide, "Asynchronous invocation error handling".
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from moto.awslambda.models import LambdaFunction

from awslabs.sandbox.core.engine import Call, Refused, clock, memory, rule, state
from awslabs.sandbox.services.lambda_ import functions, shapes

_MEMBERS = ("MaximumRetryAttempts", "MaximumEventAgeInSeconds")
_BOUNDS = {"MaximumRetryAttempts": (0, 2), "MaximumEventAgeInSeconds": (60, 21_600)}


@state
@dataclass
class EventSettings:
    """What is set for each qualifier of a function: ``$LATEST``, ``1``, an alias."""

    held: dict[str, dict[str, Any]] = field(default_factory=dict)


event_settings = rule(
    "event_settings",
    """Put replaces the settings of a function, version or alias, Update changes what it names and needs some
    to be there; each qualifier has its own, and an answer names it. moto has one for all, keeps the first
    that was put for ever, and updates by putting. Source: aws-facts (k).""",
)


def of(latest: LambdaFunction, given: str, beside: str | None) -> dict[str, Any]:
    """The settings that count for an invocation of a function as `given`; `latest` is its unpublished one."""
    return memory(latest, EventSettings).held.get(_split(given, beside)[1], {})


def _asked(call: Call) -> tuple[str, str]:
    """Name and qualifier of a request."""
    return _split(shapes.named(call), call.response.querystring.get("Qualifier", [None])[0])


def _split(given: str, beside: str | None) -> tuple[str, str]:
    """Name and qualifier of ``NAME``, ``NAME:QUALIFIER`` or an ARN, with a qualifier beside it."""
    parts = given.split(":")
    if given.startswith("arn:"):
        parts = parts[6:]
    elif len(parts) > 2:
        parts = parts[2:]
    return parts[0], str(beside or (parts[1] if len(parts) > 1 else "$LATEST"))


def _arn(call: Call, name: str, qualifier: str) -> str:
    return f"arn:{call.partition}:lambda:{call.region}:{call.account}:function:{name}:{qualifier}"


def _held(call: Call, name: str, qualifier: str | None = None) -> dict[str, dict[str, Any]]:
    """The settings of a function that is there, with this qualifier."""
    try:
        if qualifier not in (None, "$LATEST"):
            functions.find(call.account, call.region, name, qualifier)
        return memory(functions.find(call.account, call.region, name), EventSettings).held
    except Refused as gone:
        raise Refused("ResourceNotFoundException", "The function doesn't exist.", 404) from gone


def _none(call: Call, name: str, qualifier: str) -> Refused:
    arn = _arn(call, name, qualifier)
    return Refused("ResourceNotFoundException", f"The function {arn} doesn't have an EventInvokeConfig", 404)


def _there(call: Call) -> tuple[dict[str, dict[str, Any]], str, str]:
    """All settings of a function, its name, and a qualifier that has some."""
    name, qualifier = _asked(call)
    try:
        held = _held(call, name)
    except Refused:
        held = {}
    if qualifier not in held:
        raise _none(call, name, qualifier)
    return held, name, qualifier


def _wanted(call: Call) -> dict[str, Any]:
    """What a request sets, looked at."""
    found = {member: call.get(member) for member in _MEMBERS if call.get(member) is not None}
    if not found and not call.get("DestinationConfig"):
        raise shapes.invalid("You must specify at least one of error handling or destination setting.")
    for member, value in found.items():
        least, most = _BOUNDS[member]
        if not least <= value <= most:
            bound = f"less than or equal to {most}" if value > most else f"greater than or equal to {least}"
            message = (
                f"1 validation error detected: Value '{value}' at '{member[0].lower()}{member[1:]}' failed "
                f"to satisfy constraint: Member must have value {bound}"
            )
            raise Refused("ValidationException", message, 400)
    return found


def _shown(call: Call, name: str, qualifier: str, kept: dict[str, Any]) -> dict[str, Any]:
    where: dict[str, Any] = {"OnSuccess": {}, "OnFailure": {}}  # others are refused: no_destinations
    return {"FunctionArn": _arn(call, name, qualifier), "DestinationConfig": where, **kept}


@event_settings.operation("lambda:PutFunctionEventInvokeConfig")
def _put(call: Call) -> dict[str, Any]:
    name, qualifier = _asked(call)
    wanted = _wanted(call)
    held = _held(call, name, qualifier)
    held[qualifier] = wanted | {"LastModified": clock.now()}
    return _shown(call, name, qualifier, held[qualifier])


@event_settings.operation("lambda:UpdateFunctionEventInvokeConfig")
def _update(call: Call) -> dict[str, Any]:
    name, qualifier = _asked(call)
    held = _held(call, name)
    if qualifier not in held:
        raise _none(call, name, qualifier)
    held[qualifier] = held[qualifier] | _wanted(call) | {"LastModified": clock.now()}
    return _shown(call, name, qualifier, held[qualifier])


@event_settings.operation("lambda:GetFunctionEventInvokeConfig")
def _get(call: Call) -> dict[str, Any]:
    held, name, qualifier = _there(call)
    return _shown(call, name, qualifier, held[qualifier])


@event_settings.operation("lambda:DeleteFunctionEventInvokeConfig")
def _delete(call: Call) -> dict[str, Any]:
    held, _, qualifier = _there(call)
    del held[qualifier]
    return {}


@event_settings.operation("lambda:ListFunctionEventInvokeConfigs")
def _list(call: Call) -> dict[str, Any]:
    name, _ = _asked(call)
    held = _held(call, name)
    asked = call.response.querystring
    first = int(asked.get("Marker", ["0"])[0])
    last = first + int(asked.get("MaxItems", ["50"])[0])
    found = [_shown(call, name, qualifier, kept) for qualifier, kept in sorted(held.items())]
    page: dict[str, Any] = {"FunctionEventInvokeConfigs": found[first:last]}
    return page | ({"NextMarker": str(last)} if last < len(found) else {})
