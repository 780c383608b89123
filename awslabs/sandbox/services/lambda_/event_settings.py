"""Lambda: how often an asynchronous event is tried and where it ends, of a function, version or alias.

Source: aws-facts (k); Lambda developer guide, "Asynchronous invocation error handling".
"""

from __future__ import annotations

from typing import Any

from moto.awslambda.models import LambdaFunction

from awslabs.sandbox.core.engine import Call, Refused, clock, memory, rule, state
from awslabs.sandbox.services.lambda_ import destinations, functions, shapes

_BOUNDS = {"MaximumRetryAttempts": (0, 2), "MaximumEventAgeInSeconds": (60, 21_600)}


@state
class EventSettings(dict[str, dict[str, Any]]):
    """What is set for each qualifier of a function: ``$LATEST``, ``1``, an alias."""


event_settings = rule(
    "event_settings",
    """Put replaces the settings of a function, version or alias, Update changes what it names and needs some
    to be there; each qualifier has its own, and an answer names it. moto has one for all, keeps the first
    that was put for ever, and updates by putting. Source: aws-facts (k).""",
)


def of(latest: LambdaFunction, given: str, beside: str | None) -> dict[str, Any]:
    """The settings that count for an invocation of a function as `given`; `latest` is its unpublished one."""
    return memory(latest, EventSettings).get(beside or shapes.split(given)[1] or "$LATEST", {})


def _asked(call: Call) -> tuple[str, str]:
    """Name and qualifier of a request."""
    name, qualifier = shapes.asked_for(call)
    return name, qualifier or "$LATEST"


def _arn(call: Call, name: str, qualifier: str) -> str:
    return f"arn:{call.partition}:lambda:{call.region}:{call.account}:function:{name}:{qualifier}"


def _held(call: Call, name: str, qualifier: str | None = None) -> dict[str, dict[str, Any]]:
    """The settings of a function that is there, with this qualifier."""
    try:
        if qualifier not in (None, "$LATEST"):
            functions.find(call.account, call.region, name, qualifier)
        return memory(functions.find(call.account, call.region, name), EventSettings)
    except Refused as gone:
        raise shapes.missing("The function doesn't exist.") from gone


def _none(call: Call, name: str, qualifier: str) -> Refused:
    return shapes.missing(f"The function {_arn(call, name, qualifier)} doesn't have an EventInvokeConfig")


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
    found = {member: call.get(member) for member in _BOUNDS if call.get(member) is not None}
    where = destinations.wanted(call)
    if not found and where is None:
        raise shapes.invalid("You must specify at least one of error handling or destination setting.")
    for member, value in found.items():
        shapes.look_at_number(member[0].lower() + member[1:], value, *_BOUNDS[member])
    return found if where is None else found | {"DestinationConfig": where}


def _shown(call: Call, name: str, qualifier: str, kept: dict[str, Any]) -> dict[str, Any]:
    where = {kind: {} for kind in destinations.KINDS} | kept.get("DestinationConfig", {})
    return kept | {"FunctionArn": _arn(call, name, qualifier), "DestinationConfig": where}


def _look_at_destinations(call: Call, name: str, wanted: dict[str, Any]) -> None:
    function = functions.find(call.account, call.region, name)
    destinations.look_at(call, function, wanted.get("DestinationConfig", {}))


@event_settings.operation("lambda:PutFunctionEventInvokeConfig")
def _put(call: Call) -> dict[str, Any]:
    name, qualifier = _asked(call)
    wanted = _wanted(call)
    held = _held(call, name, qualifier)
    _look_at_destinations(call, name, wanted)
    held[qualifier] = wanted | {"LastModified": clock.now()}
    return _shown(call, name, qualifier, held[qualifier])


@event_settings.operation("lambda:UpdateFunctionEventInvokeConfig")
def _update(call: Call) -> dict[str, Any]:
    name, qualifier = _asked(call)
    held = _held(call, name)
    if qualifier not in held:
        raise _none(call, name, qualifier)
    wanted = _wanted(call)
    _look_at_destinations(call, name, wanted)
    held[qualifier] = held[qualifier] | wanted | {"LastModified": clock.now()}
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
    found = [_shown(call, name, qualifier, kept) for qualifier, kept in sorted(held.items())]
    return shapes.page(call, "FunctionEventInvokeConfigs", found)
