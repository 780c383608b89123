"""Lambda's policies of functions: each version and each alias has one of its own.

    AddPermission lab            -->  the policy of the function: whoever names it without a qualifier
    AddPermission lab:live       -->  the policy of that alias, and of nothing else

Source: Lambda developer guide, "Viewing resource-based IAM policies in Lambda"; aws-facts (k).
"""

from __future__ import annotations

import json
import re
import urllib.parse
import uuid
from dataclasses import dataclass, field
from typing import Any

from moto.awslambda.models import LambdaFunction

from awslabs.sandbox.core.engine import Call, Refused, memory, rule, state
from awslabs.sandbox.services.lambda_ import aliases, functions, shapes


@state
@dataclass
class Policy:
    """What a function, version, alias or layer grants. Each change replaces its `revision`."""

    statements: list[dict[str, Any]] = field(default_factory=list)
    revision: str = ""

    def look_at_revision(self, call: Call, operation: str, own: str = "") -> None:
        """Refuse another RevisionId than this one; before there is a policy, `own`. `operation` tells it."""
        shapes.look_at_revision(call, self.revision or own, operation)

    def grant(self, call: Call, resource: str, condition: dict[str, Any]) -> str:
        """One more statement, which a request asks for; as answers write it."""
        sid = str(call.get("StatementId"))
        if any(each["Sid"] == sid for each in self.statements):
            raise Refused(
                "ResourceConflictException",
                f"The statement id ({sid}) provided already exists. Please provide a new statement id, or "
                "remove the existing statement.",
                409,
            )
        statement = {
            "Sid": sid,
            "Effect": "Allow",
            "Principal": _principal(str(call.get("Principal"))),
            "Action": call.get("Action"),
            "Resource": resource,
        }
        if condition:
            statement["Condition"] = condition
        self.statements.append(statement)
        self.revision = str(uuid.uuid4())
        return json.dumps(statement, separators=(",", ":"))

    def remove(self, sid: str) -> None:
        """One statement less."""
        left = [each for each in self.statements if each["Sid"] != sid]
        if len(left) == len(self.statements):
            raise shapes.missing(f"Statement {sid} is not found in resource policy.")
        self.statements, self.revision = left, str(uuid.uuid4())

    def shown(self) -> dict[str, Any]:
        """As answers have it."""
        document = {"Version": "2012-10-17", "Id": "default", "Statement": self.statements}
        return {"Policy": json.dumps(document, separators=(",", ":")), "RevisionId": self.revision}


@state
class FunctionPolicies(dict[str, Policy]):
    """The policies of a function, on its unpublished one: by qualifier, the function's own by ``""``."""


resource_policies = rule(
    "resource_policies",
    """A function, each of its versions and each of its aliases has a policy of its own, with a RevisionId
    that each change replaces; a second statement of one StatementId: ResourceConflictException 409; of what
    is not there AWS speaks in other words for each operation. An account or an identity stands in it as an
    ARN under `AWS`, with each condition that was asked for. moto has one policy for all of a function, and
    one RevisionId for ever, which it compares with a list; it loses conditions.
    Source: aws-facts (c), (j), (k).""",
)


def statements(account: str, region: str, given: str) -> list[dict[str, Any]]:
    """What the function, version or alias that is named `given` grants; nothing, if it is not there."""
    name, qualifier = shapes.split(given)
    latest = functions.known(account, region, name)
    held = memory(latest, FunctionPolicies) if latest is not None else {}
    return held[qualifier].statements if qualifier in held else []


def _place(call: Call) -> tuple[LambdaFunction, str]:
    """The function of a request, and the qualifier whose policy is meant."""
    name, qualifier = shapes.asked_for(call)
    try:
        latest = functions.find(call.account, call.region, name)
    except Refused as unknown:
        gone = unknown.message
        if call.action == "RemovePermission":
            gone = gone.replace("Function not found:", "No policy found for:")
        raise _gone(call, gone) from unknown
    try:
        functions.find(call.account, call.region, name, qualifier or None)
    except Refused as unknown:
        gone = unknown.message
        if re.fullmatch(r"(?!\d+$)[a-zA-Z0-9-_]+", qualifier):
            gone = f"Cannot find alias arn: {latest.function_arn}:{qualifier}"
        raise _gone(call, gone) from unknown
    return latest, qualifier


def _gone(call: Call, message: str) -> Refused:
    return shapes.missing() if call.action == "GetPolicy" else shapes.missing(message)


@resource_policies.operation("lambda:AddPermission")
def _add(call: Call) -> dict[str, Any]:
    latest, qualifier = _place(call)
    held = memory(latest, FunctionPolicies)
    policy = held.get(qualifier, Policy())
    alias = aliases.of(latest).get(qualifier)
    policy.look_at_revision(call, "GetPolicy", alias.revision_id if alias else "")
    if call.get("FunctionUrlAuthType") and call.get("Action") != "lambda:InvokeFunctionUrl":
        raise shapes.invalid("FunctionUrlAuthType is only supported for lambda:InvokeFunctionUrl action")
    resource = f"{latest.function_arn}:{qualifier}" if qualifier else latest.function_arn
    statement = policy.grant(call, resource, _condition(call))
    held[qualifier] = policy
    return {"Statement": statement}


def _principal(given: str) -> str | dict[str, str]:
    """Who is meant, as policies write it."""
    if given == "*":
        return given
    if re.fullmatch(r"\d{12}", given):
        return {"AWS": f"arn:aws:iam::{given}:root"}
    return {"AWS" if given.startswith("arn:") else "Service": given}


def _condition(call: Call) -> dict[str, dict[str, str]]:
    """The conditions of a new statement."""
    wanted = {
        "StringEquals": {
            "AWS:SourceAccount": call.get("SourceAccount"),
            "lambda:FunctionUrlAuthType": call.get("FunctionUrlAuthType"),
            "aws:PrincipalOrgID": call.get("PrincipalOrgID"),
            "lambda:EventSourceToken": call.get("EventSourceToken"),
        },
        "ArnLike": {"AWS:SourceArn": call.get("SourceArn")},
        "Bool": {"lambda:InvokedViaFunctionUrl": "true" if call.get("InvokedViaFunctionUrl") else None},
    }
    asked = {how: {key: value for key, value in keys.items() if value} for how, keys in wanted.items()}
    return {how: keys for how, keys in asked.items() if keys}


@resource_policies.operation("lambda:GetPolicy")
def _get(call: Call) -> dict[str, Any]:
    latest, qualifier = _place(call)
    policy = memory(latest, FunctionPolicies).get(qualifier)
    if policy is None:
        raise _gone(call, "")
    return policy.shown()


@resource_policies.operation("lambda:RemovePermission")
def _remove(call: Call) -> dict[str, Any]:
    latest, qualifier = _place(call)
    held = memory(latest, FunctionPolicies)
    policy = held.get(qualifier)
    if policy is None:
        raise _gone(call, "No policy is associated with the given resource.")
    policy.look_at_revision(call, "GetPolicy")
    policy.remove(urllib.parse.unquote(call.response.path.rpartition("/policy/")[2]))
    if not policy.statements:
        del held[qualifier]
    return {}


@resource_policies.around("lambda:DeleteAlias")
def _delete_alias(call: Call, proceed: Any) -> Any:
    """A policy goes with its alias."""
    answer = proceed()
    name, _ = shapes.split(shapes.named(call))
    alias = urllib.parse.unquote(call.response.path.rpartition("/aliases/")[2])
    memory(functions.find(call.account, call.region, name), FunctionPolicies).pop(alias, None)
    return answer
