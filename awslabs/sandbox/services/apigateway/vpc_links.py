"""Links of REST APIs to a VPC, as they are made and shown. Nothing is reached through one here.

Source: API Gateway API reference, VpcLink; aws-facts (k).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from moto.apigateway.models import VpcLink

from awslabs.sandbox.core.engine import Call, clock, memory, rule, scaled, state
from awslabs.sandbox.services.apigateway.patches import bad, replaced
from awslabs.sandbox.services.apigateway.rest_apis import backend_of, named, parts_of
from awslabs.sandbox.services.apigateway.shown import without_none

vpc_links = rule(
    "vpc_links",
    """A link has a name and well-formed ARNs; it is PENDING for some minutes, then AVAILABLE; name and
    description can be changed; one that is not there cannot be deleted. moto: none of these.
    Source: aws-facts (k).""",
)
PENDING_S = 180.0
"""How long a link takes. Source: API Gateway developer guide, "Set up a VPC link": 2 to 4 minutes."""


@state
@dataclass
class Since:
    """When a link was made (seconds since 1970)."""

    made: float = field(default_factory=clock.now)


def _link(call: Call) -> VpcLink:
    return named(backend_of(call).vpc_links, parts_of(call)[1], "Vpc Link identifier")


def _shown(link: VpcLink, tags: bool) -> dict[str, Any]:
    pending = clock.now() < memory(link, Since).made + scaled(PENDING_S)
    shown: dict[str, Any] = {
        "id": link.id,
        "name": link.name,
        "description": link.description or None,
        "targetArns": link.target_arns,
        "status": "PENDING" if pending else "AVAILABLE",
        "statusMessage": None if pending else "Your vpc link is ready for use",
        "tags": link.tags or ({} if tags else None),
    }
    return without_none(shown)


@vpc_links.operation("apigateway:CreateVpcLink")
def _create(call: Call) -> dict[str, Any]:
    name, targets = call.get("name"), call.get("targetArns") or []
    if not name:
        raise bad("Name cannot be empty")
    for arn in targets:
        if not str(arn).startswith("arn:") or str(arn).count(":") < 5:
            raise bad(f"Invalid ARN. ARN is not well formed {arn}")
    made = backend_of(call).create_vpc_link(name, call.get("description"), targets, call.get("tags"))
    memory(made, Since)
    shown = _shown(made, tags=False) | {"status": "PENDING"}  # however soon it is there
    shown.pop("statusMessage", None)
    return shown


@vpc_links.operation("apigateway:GetVpcLink")
def _get(call: Call) -> dict[str, Any]:
    return _shown(_link(call), tags=True)


@vpc_links.operation("apigateway:GetVpcLinks")
def _all(call: Call) -> dict[str, Any]:
    return {"items": [_shown(each, tags=False) for each in backend_of(call).vpc_links.values()]}


@vpc_links.operation("apigateway:UpdateVpcLink")
def _update(call: Call) -> dict[str, Any]:
    link = _link(call)
    for step in replaced(call, "/name", "/description"):
        setattr(link, step.path[1:], step.value)
    return _shown(link, tags=True)


@vpc_links.operation("apigateway:DeleteVpcLink")
def _delete(call: Call) -> dict[str, Any]:
    del backend_of(call).vpc_links[_link(call).id]
    return {}
