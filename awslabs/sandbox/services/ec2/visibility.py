"""Late visibility: what was just made is not seen for a while, when the weather says so (`lag_ms`)."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from typing import Any

from moto.core.resource_tagging import TaggedResource
from moto.core.responses import ActionResult
from moto.resourcegroupstaggingapi import models as tagging

from awslabs.sandbox.core import weather
from awslabs.sandbox.core.engine import Call, Proceed, clock, memory, rule, state
from awslabs.sandbox.services.tagging.tags import Shown, is_ec2, missing


@state
class Young(dict[str, float]):
    """Id -> the moment from which it is seen. `ever` keeps the ids of those that have grown up, too."""

    def __init__(self) -> None:
        super().__init__()
        self.ever: set[str] = set()


late_visibility = rule(
    "late_visibility",
    """For `lag_ms` after its creation a VPC, subnet, security group, internet gateway, route table or
    instance is in no list, and a call that names it answers Invalid….NotFound. moto shows all at once.

    A VPC's default group, main table and default ACL are seen together with it.
    Source: aws-facts (b); EC2 user guide, "Troubleshooting API request errors".""",
)


@late_visibility.around("ec2:*")
def _look_with_delay(call: Call, proceed: Proceed) -> Any:
    young = memory(call.ec2, Young)
    if young:
        _grow_up(young)
        for text in _texts(
            {name: value for name, value in dict(call.response.params).items() if name != "Filters"}
        ):
            if text in young:
                raise missing(text)
    answer = proceed()
    if call.action.startswith("Describe") and young:
        return _without(answer, young)
    if weather.current.lag_ms > 0:
        seen_at = clock.now() + weather.current.lag_ms / 1000
        new = set(_made_by(call, answer)) - young.ever  # a repeated ClientToken makes nothing new
        young.ever |= new
        young.update(dict.fromkeys(new, seen_at))
    return answer


@late_visibility.patch(tagging, "iter_taggable_backends")
def _tagged(original: Callable[..., Iterator[Any]], account: str, region: str) -> Iterator[Any]:
    for backend in original(account, region):
        yield Shown(backend, _grown_up) if is_ec2(backend) else backend


def _grown_up(ec2: Any) -> Iterator[TaggedResource]:
    young = memory(ec2, Young)
    _grow_up(young)
    for resource in ec2.iter_tagged_resources():
        if resource.arn.rpartition("/")[2] not in young:
            yield resource


def _grow_up(young: Young) -> None:
    """Forget what everybody sees by now."""
    for resource_id in [each for each, seen_at in young.items() if seen_at <= clock.now()]:
        del young[resource_id]


def _made_by(call: Call, answer: Any) -> list[str]:
    """The ids of what a call has made."""
    made: Any = getattr(answer, "result", None)
    if call.action == "RunInstances":
        return [instance.id for instance in made.instances]
    if call.action == "CreateSecurityGroup":
        return [made["GroupId"]]
    if call.action in ("CreateSubnet", "CreateInternetGateway", "CreateRouteTable"):
        return [made[call.action.removeprefix("Create")].id]
    if call.action == "CreateVpc":
        vpc_id = made["Vpc"].id
        with_it = [
            *call.ec2.route_tables.values(),
            *call.ec2.groups[vpc_id].values(),
            *call.ec2.network_acls.values(),
        ]
        return [vpc_id, *(each.id for each in with_it if each.vpc_id == vpc_id)]
    return []


def _without(answer: Any, young: Young) -> Any:
    """The same answer, less what cannot be seen yet."""
    result = getattr(answer, "result", None)
    if not isinstance(result, dict):
        return answer
    seen: dict[str, Any] = {}
    for name, value in result.items():
        if name == "Reservations":
            value = [_reservation_without(each, young) for each in value]
            value = [each for each in value if each.instances]
        elif isinstance(value, list):
            value = [each for each in value if _id(each) not in young]
        seen[name] = value
    return ActionResult(seen)


def _reservation_without(reservation: Any, young: Young) -> Any:
    shown = copy.copy(reservation)
    shown.instances = [instance for instance in reservation.instances if instance.id not in young]
    return shown


def _id(thing: Any) -> str:
    """The id of one of moto's objects, or the one that a tag stands on."""
    return str(thing.get("resource_id", "")) if isinstance(thing, dict) else str(getattr(thing, "id", ""))


def _texts(value: Any) -> Iterator[str]:
    """Every string in a request, at any depth."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for each in value.values():
            yield from _texts(each)
    elif isinstance(value, list):
        for each in value:
            yield from _texts(each)
