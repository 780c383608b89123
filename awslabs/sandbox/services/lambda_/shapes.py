"""Lambda's requests and errors in AWS's shape: what a name may be, and how a refusal is written.

Source: botocore's model of Lambda (patterns, lengths, members of errors); aws-facts (k).
"""

from __future__ import annotations

import functools
import json
import re
import urllib.parse
from typing import Any

import botocore.session
from moto.core.exceptions import JsonRESTError

from awslabs.sandbox.core.engine import Call, Proceed, Refused, around, before

NAME_LENGTH = 64
_FIELDS = ("FunctionName", "Qualifier", "Role", "StatementId", "Action", "Principal", "SourceArn")
_SERVICES = re.compile(
    r"[a-z0-9-]+(\.[a-z0-9-]+)*\.amazonaws\.com(\.cn)?|[a-z0-9-]+(\.[a-z0-9-]+)*\.amazon\.com"
)


@functools.cache
def _model() -> Any:
    return botocore.session.get_session().get_service_model("lambda")


def invalid(message: str) -> Refused:
    """Lambda's answer to most mistakes."""
    return Refused("InvalidParameterValueException", message, 400)


def named(call: Call) -> str:
    """The function in a request's path."""
    return urllib.parse.unquote(call.response.path.partition("/functions/")[2].partition("/")[0])


@around("lambda:*")
def errors_have_awss_shape(call: Call, proceed: Proceed) -> Any:
    """An error carries a Type, but for PutFunctionConcurrency's, and its message in the member that the model
    says. moto: neither. Source: aws-facts (k).
    """
    try:
        return proceed()
    except Refused as refused:
        if not refused.status or refused.code == "NotImplemented":
            raise
        typed = call.action != "PutFunctionConcurrency"
        return error(refused.code, str(refused.message), refused.status, typed)
    except JsonRESTError as problem:
        return error(problem.error_type, str(problem.message), problem.code)


def error(code: str, message: str, status: int, typed: bool = True) -> tuple[int, dict[str, Any], str]:
    """An error as Lambda writes it: `message` or `Message`, as the model has it, and whose fault it is."""
    shape = _model().shape_for(code) if code in _model().shape_names else None
    member = "Message" if shape is not None and "Message" in shape.members else "message"
    said = {member: message}
    if typed and shape is not None and "Type" in shape.members:
        said["Type"] = "User" if status < 500 else "Service"
    return status, {"status": status, "x-amzn-errortype": code}, json.dumps(said)


@before("lambda:*")
def names_are_looked_at(call: Call) -> None:
    """A function's name, qualifier, role, statement id, action or principal that cannot be one:
    ValidationException, or InvalidParameterValueException; a name of another Region, or with another
    qualifier than the one beside it, is none either. moto takes all of them.
    Source: botocore's model of Lambda; aws-facts (k).
    """
    if call.action not in _model().operation_names:
        return
    shape = _model().operation_model(call.action).input_shape
    members = shape.members if shape is not None else {}
    asked = {name: value for name in _FIELDS if name in members and (value := _asked(call, name)) is not None}
    look_at(call.action, asked, call.region)


@before("lambda:CreateFunction", "lambda:UpdateFunctionConfiguration", "lambda:ListFunctions")
def words_are_of_the_model(call: Call) -> None:
    """A word that is none of an enumeration: ValidationException. moto takes it. Source: aws-facts (k)."""
    version = call.response.querystring.get("FunctionVersion", [None])[0]
    for path, value, words in (
        ("snapStart.applyOn", (call.get("SnapStart") or {}).get("ApplyOn"), ("PublishedVersions", "None")),
        ("functionVersion", version, ("ALL",)),
    ):
        if value is not None and value not in words:
            raise Refused(
                "ValidationException",
                f"1 validation error detected: Value '{value}' at '{path}' failed to satisfy constraint: "
                f"Member must satisfy enum value set: [{', '.join(words)}]",
                400,
            )
    architectures = call.get("Architectures") or []
    if len(architectures) > 1:
        raise Refused(
            "ValidationException",
            f"1 validation error detected: Value '[{', '.join(architectures)}]' at 'architectures' failed to "
            "satisfy constraint: Member must have length less than or equal to 1",
            400,
        )


def _asked(call: Call, name: str) -> str | None:
    """A member of a request, wherever it travels."""
    if name == "FunctionName" and call.action != "CreateFunction":
        return named(call) or None
    if name == "Qualifier":
        found: str | None = call.response.querystring.get("Qualifier", [None])[0]
        return found
    value = call.get(name)
    if name == "StatementId" and value is None and call.action == "RemovePermission":
        return urllib.parse.unquote(call.response.path.rpartition("/policy/")[2]) or None
    return value if isinstance(value, str) else None


def look_at(action: str, asked: dict[str, str], region: str) -> None:
    """Refuse what cannot be a name.

    Parameters
    ----------
    asked : dict
        Members of the request, by AWS's name: ``FunctionName``.
    """
    members = _model().operation_model(action).input_shape.members
    problems = [
        f"Value '{value}' at '{name[0].lower()}{name[1:]}' failed to satisfy constraint: {why}"
        for name, value in reversed(asked.items())
        for why in _constraints(value, members[name].metadata)
    ]
    if problems:
        count = f"{len(problems)} validation error{'s' if len(problems) > 1 else ''} detected: "
        raise Refused("ValidationException", count + "; ".join(problems), 400)
    name, qualifier = asked.get("FunctionName", ""), asked.get("Qualifier")
    parts = name.split(":")
    short = parts[6] if name.startswith("arn:") else parts[2] if len(parts) > 2 else parts[0]
    if action == "CreateFunction" and len(short) > NAME_LENGTH:
        raise invalid(
            f"1 validation error detected: Value '{short}' at 'functionName' failed to satisfy constraint: "
            f"Member must have length less than or equal to {NAME_LENGTH}"
        )
    own = parts[7:] if name.startswith("arn:") else parts[3:] if len(parts) > 2 else parts[1:]
    if own and qualifier is not None and own[0] != qualifier:
        raise invalid("The derived qualifier from the function name does not match the specified qualifier.")
    if name.startswith("arn:") and parts[3] != region:
        message = f"Functions from '{parts[3]}' are not reachable in this region ('{region}')"
        raise Refused("ResourceNotFoundException", message, 404)
    if action == "AddPermission":
        if (qualifier or (own or [""])[0]) == "$LATEST":
            raise invalid("We currently do not support adding policies for $LATEST.")
        principal = asked.get("Principal", "")
        known = principal == "*" or principal.startswith("arn:") or re.fullmatch(r"\d{12}", principal)
        if not (known or _SERVICES.fullmatch(principal)):
            raise invalid("The provided principal was invalid. Please check the principal and try again.")


def _constraints(value: str, allowed: dict[str, Any]) -> list[str]:
    """What of the model a value does not meet."""
    found = []
    if len(value) > allowed.get("max", len(value)):
        found.append(f"Member must have length less than or equal to {allowed['max']}")
    pattern = allowed.get("pattern")
    if pattern and not re.fullmatch(pattern, value, re.ASCII):
        found.append(f"Member must satisfy regular expression pattern: {pattern}")
    return found
