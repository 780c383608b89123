"""Lambda's configurations of functions in AWS's shape: what they show beyond moto's record.

Source: aws-facts (k).
"""

from __future__ import annotations

import hashlib
import json
import uuid
from dataclasses import dataclass, field
from typing import Any

from moto.awslambda.models import LambdaFunction
from moto.ec2.models import ec2_backends

from awslabs.sandbox.core.engine import Call, Proceed, memory, rule, state
from awslabs.sandbox.services.lambda_ import functions

_CHANGES = ("CreateFunction", "UpdateFunctionCode", "UpdateFunctionConfiguration", "PublishVersion")


@state
@dataclass
class ShownFunction:
    """What answers say of a function beyond moto's record and `functions.FunctionLife`.

    Attributes
    ----------
    changing, settled : str
        The RevisionId while a change is under way, and when it is done: both are others after each change.
    environment : bool
        Whether it was given an environment, were it an empty one.
    """

    changing: str = field(default_factory=lambda: str(uuid.uuid4()))
    settled: str = field(default_factory=lambda: str(uuid.uuid4()))
    environment: bool = False


def revise(function: LambdaFunction) -> None:
    """Give a function other RevisionIds: it has changed."""
    kept = memory(function, ShownFunction)
    kept.changing, kept.settled = str(uuid.uuid4()), str(uuid.uuid4())


def inherit(latest: LambdaFunction, version: LambdaFunction) -> None:
    """Let a new version show what $LATEST does, with one RevisionId for good."""
    kept = memory(version, ShownFunction)
    kept.changing, kept.environment = kept.settled, memory(latest, ShownFunction).environment


answers_have_awss_shape = rule(
    "answers_have_awss_shape",
    """A function has a RevisionId, which each change replaces, and a RuntimeVersionConfig; no empty Layers,
    but the empty Environment that it was given. Lists leave states out. moto has none of these.
    Source: aws-facts (k).""",
)


@answers_have_awss_shape.patch(LambdaFunction, "get_configuration")
def _shape(original: Any, function: LambdaFunction, on_create: bool = False) -> dict[str, Any]:
    shown: dict[str, Any] = original(function, on_create)
    kept = memory(function, ShownFunction)
    under_way = functions.life(function).last_update == "InProgress"
    shown["RevisionId"] = kept.changing if under_way else kept.settled
    if function.package_type == "Zip":
        digest = hashlib.sha256(str(function.run_time).encode()).hexdigest()
        arn = f"arn:aws:lambda:{function.region}::runtime:{digest}"
        shown["RuntimeVersionConfig"] = {"RuntimeVersionArn": arn}
    if not shown.get("Layers"):
        shown.pop("Layers", None)
    if (network := shown.get("VpcConfig")) is not None:
        subnets = ec2_backends[function.account_id][function.region].subnets
        found = {each for held in subnets.values() for each in held if each in network.get("SubnetIds", ())}
        vpcs = {held[each].vpc_id for each in found for held in subnets.values() if each in held}
        dual = bool(network.get("Ipv6AllowedForDualStack"))
        more = {"Ipv6AllowedForDualStack": dual, "VpcId": min(vpcs, default="")}
        shown["VpcConfig"] = {"SubnetIds": [], "SecurityGroupIds": []} | network | more
    if kept.environment:
        shown.setdefault("Environment", {"Variables": {}})
    return shown


_STATES = {
    *("State", "StateReason", "StateReasonCode", "LastUpdateStatus", "LastUpdateStatusReason"),
    *("LastUpdateStatusReasonCode", "RuntimeVersionConfig"),
}


@answers_have_awss_shape.around("lambda:ListFunctions", "lambda:ListVersionsByFunction")
def _list_without_states(call: Call, proceed: Proceed) -> Any:
    said = json.loads(proceed())
    for name in ("Functions", "Versions"):
        for each in said.get(name, []):
            for name_of_state in _STATES & each.keys():
                del each[name_of_state]
    return json.dumps(said)


@answers_have_awss_shape.around(*(f"lambda:{action}" for action in _CHANGES))
def _revise(call: Call, proceed: Proceed) -> Any:
    status, headers, body = proceed()
    said = json.loads(body)
    name = said.get("FunctionName")
    if not name:
        return status, headers, body
    latest = functions.find(call.account, call.region, name)
    if call.action != "PublishVersion":
        revise(latest)
    if call.get("Environment") is not None:
        for each in {None, _version(said)}:
            held = functions.find(call.account, call.region, name, each)
            memory(held, ShownFunction).environment = True
    # The RevisionId is a version's own, but that of $LATEST where both are made at once.
    version = None if call.action == "CreateFunction" else _version(said)
    fresh = functions.find(call.account, call.region, name, version).get_configuration()
    for member in ("RevisionId", "RuntimeVersionConfig", "Environment", "VpcConfig"):
        if member in fresh:
            said[member] = fresh[member]
    if not said.get("Layers"):
        said.pop("Layers", None)
    return status, headers, json.dumps(said)


def _version(said: dict[str, Any]) -> str | None:
    version = said.get("Version")
    return None if version in (None, "$LATEST") else str(version)
