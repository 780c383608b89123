"""Lambda's requests and errors in AWS's shape: what a name may be, and how a refusal is written.

Source: botocore's model of Lambda (patterns, lengths, members of errors); aws-facts (k).
"""

from __future__ import annotations

import json
import re
import urllib.parse
from typing import Any

from moto.core.exceptions import JsonRESTError
from moto.core.utils import get_service_model

from awslabs.sandbox.core.engine import Call, Proceed, Refused, around, before

NAME_LENGTH = 64
_ARCHITECTURES = ("x86_64", "arm64")
_FIELDS = ("FunctionName", "Qualifier", "Role", "StatementId", "Action", "Principal", "SourceArn")
_SERVICES = re.compile(
    r"[a-z0-9-]+(\.[a-z0-9-]+)*\.amazonaws\.com(\.cn)?|[a-z0-9-]+(\.[a-z0-9-]+)*\.amazon\.com"
)


def invalid(message: str) -> Refused:
    """Lambda's answer to most mistakes."""
    return Refused("InvalidParameterValueException", message, 400)


def missing(message: str = "The resource you requested does not exist.") -> Refused:
    """Lambda's answer where something is not there."""
    return Refused("ResourceNotFoundException", message, 404)


def wrong(value: object, member: str, why: str) -> Refused:
    """Lambda's answer to a value that its model does not allow."""
    said = "null" if value is None else f"'{value}'"
    message = f"1 validation error detected: Value {said} at '{member}' failed to satisfy constraint: {why}"
    return Refused("ValidationException", message, 400)


def look_at_word(member: str, value: str | None, words: tuple[str, ...]) -> None:
    """Refuse a word that is none of an enumeration."""
    if value is not None and value not in words:
        raise wrong(value, member, f"Member must satisfy enum value set: [{', '.join(words)}]")


def look_at_revision(call: Call, now: str, operation: str = "GetFunction/GetAlias") -> None:
    """Refuse a request for another RevisionId than there is now; `operation` tells that one."""
    if (wanted := call.get("RevisionId")) and wanted != now:
        raise Refused(
            "PreconditionFailedException",
            "The Revision Id provided does not match the latest Revision Id. Call the "
            f"{operation} API to retrieve the latest Revision Id",
            412,
        )


def bound(value: int, least: int, most: int) -> str:
    """What is said of a number that is too small or too large; empty: it is neither."""
    if least <= value <= most:
        return ""
    said = f"less than or equal to {most}" if value > most else f"greater than or equal to {least}"
    return f"Member must have value {said}"


def look_at_number(member: str, value: int, least: int, most: int) -> None:
    """Refuse a number that is too small or too large."""
    if why := bound(value, least, most):
        raise wrong(value, member, why)


def look_at_problems(problems: list[str]) -> None:
    """Refuse a request with any of these."""
    if problems:
        count = f"{len(problems)} validation error{'s' if len(problems) > 1 else ''} detected: "
        raise Refused("ValidationException", count + "; ".join(problems), 400)


def page(call: Call, name: str, found: list[dict[str, Any]], usual: int = 50) -> dict[str, Any]:
    """A page of a list, `usual` long, and where the next one begins."""
    asked = {"Marker": call.get("Marker", "0"), "MaxItems": call.get("MaxItems", str(usual))}
    for member, text in asked.items():
        if not re.fullmatch("-?[0-9]{1,9}", text):
            raise invalid(f"{member} {text} is no number, or none that a list has given.")
    first, count = max(0, int(asked["Marker"])), int(asked["MaxItems"])
    bounds = get_service_model("lambda").operation_model(call.action).input_shape.members["MaxItems"].metadata
    look_at_number("maxItems", count, bounds["min"], bounds["max"])
    last = first + count
    return {name: found[first:last]} | ({"NextMarker": str(last)} if last < len(found) else {})


def named(call: Call) -> str:
    """The function in a request's path."""
    return urllib.parse.unquote(call.response.path.partition("/functions/")[2].partition("/")[0])


def split(given: str) -> tuple[str, str]:
    """Name and qualifier of ``NAME``, ``NAME:QUALIFIER``, or an ARN, whole or from the account on.

    Without a qualifier: ``""``.
    """
    parts = given.split(":")
    if given.startswith("arn:"):
        parts = parts[6:]
    elif len(parts) > 2:
        parts = parts[2:]
    return (parts[0] if parts else ""), ":".join(parts[1:])


def asked_for(call: Call) -> tuple[str, str]:
    """Name and qualifier of the function that a request names; without a qualifier: ``""``."""
    name, own = split(named(call))
    return name, call.get("Qualifier", own)


@around("lambda:*")
def errors_have_awss_shape(call: Call, proceed: Proceed) -> Any:
    """An error carries a Type, but for a few, and its message in the member that the model says. moto:
    neither. Source: aws-facts (k).
    """
    try:
        return proceed()
    except Refused as refused:
        if not refused.status or refused.code == "NotImplemented":
            raise
        return error(refused.code, str(refused.message), refused.status, "Type" not in refused.more)
    except JsonRESTError as problem:
        return error(problem.error_type, str(problem.message), problem.code)


@around("lambda:*")
def statuses_are_of_the_model(call: Call, proceed: Proceed) -> Any:
    """What is done has the HTTP status that the model names, a deletion of a function 204; moto: 201 or 200
    for others. Source: botocore's model of Lambda; aws-facts (k).
    """
    answer = whole(proceed())
    model = get_service_model("lambda")
    known = call.action in model.operation_names and call.action not in ("Invoke", "DeleteFunction")
    if not known or not isinstance(answer, tuple) or answer[0] // 100 != 2:
        return answer
    _, headers, body = answer
    status = model.operation_model(call.action).http["responseCode"]
    return status, headers | {"status": status}, body


def whole(answer: Any) -> tuple[int, dict[str, Any], str]:
    """An answer of moto's methods with status and headers, which some leave out."""
    return (200, {"status": 200}, answer) if isinstance(answer, str) else answer


def error(code: str, message: str, status: int, typed: bool = True) -> tuple[int, dict[str, Any], str]:
    """An error as Lambda writes it: `message` or `Message`, as the model has it, and whose fault it is."""
    model = get_service_model("lambda")
    shape = model.shape_for(code) if code in model.shape_names else None
    member = "Message" if shape is not None and "Message" in shape.members else "message"
    said = {member: message or None}
    if typed and shape is not None and "Type" in shape.members:
        said["Type"] = "User" if status < 500 else "Service"
    return status, {"status": status, "x-amzn-errortype": code}, json.dumps(said)


@before("lambda:*")
def names_are_looked_at(call: Call) -> None:
    """A member that is required and not there, a function's name, qualifier, role, statement id, action or
    principal that cannot be one: ValidationException, or InvalidParameterValueException; a name of another
    Region, or with another qualifier than the one beside it, is none either. moto takes all of them.
    Source: botocore's model of Lambda; aws-facts (k).
    """
    model = get_service_model("lambda")
    if call.action not in model.operation_names:
        return
    shape = model.operation_model(call.action).input_shape
    members = shape.members if shape is not None else {}
    for name in shape.required_members if shape is not None else ():
        how = members[name].serialization
        elsewhere = how.get("location") in ("uri", "header") or name == shape.serialization.get("payload")
        if not elsewhere and call.get(how.get("name", name)) is None:
            raise wrong(None, name[0].lower() + name[1:], "Member must not be null")
    asked = {name: value for name in _FIELDS if name in members and (value := _asked(call, name)) is not None}
    look_at(call.action, asked, call.region)


@before("lambda:CreateFunction", "lambda:UpdateFunctionConfiguration", "lambda:ListFunctions")
def words_are_of_the_model(call: Call) -> None:
    """A word that is none of an enumeration: ValidationException. moto takes it. Source: aws-facts (k)."""
    snap_start = (call.get("SnapStart") or {}).get("ApplyOn")
    look_at_word("snapStart.applyOn", snap_start, ("PublishedVersions", "None"))
    look_at_word("functionVersion", call.get("FunctionVersion"), ("ALL",))
    architectures = call.get("Architectures") or []
    written = f"[{', '.join(architectures)}]"
    if len(architectures) > 1:
        raise wrong(written, "architectures", "Member must have length less than or equal to 1")
    if any(each not in _ARCHITECTURES for each in architectures):
        raise wrong(
            written,
            "architectures",
            "Member must satisfy constraint: [Member must satisfy enum value set: "
            f"[{', '.join(_ARCHITECTURES)}], Member must not be null]",
        )


def _asked(call: Call, name: str) -> str | None:
    """A member of a request, wherever it travels."""
    if name == "FunctionName" and call.action != "CreateFunction":
        return named(call) or None
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
    members = get_service_model("lambda").operation_model(action).input_shape.members
    look_at_problems(
        [
            f"Value '{value}' at '{name[0].lower()}{name[1:]}' failed to satisfy constraint: {why}"
            for name, value in reversed(asked.items())
            for why in _constraints(value, members[name].metadata)
        ]
    )
    name, qualifier = asked.get("FunctionName", ""), asked.get("Qualifier")
    short, own = split(name)
    if action == "CreateFunction" and len(short) > NAME_LENGTH:
        why = f"Member must have length less than or equal to {NAME_LENGTH}"
        raise invalid(wrong(short, "functionName", why).message)
    if own and qualifier is not None and own != qualifier:
        raise invalid("The derived qualifier from the function name does not match the specified qualifier.")
    if name.startswith("arn:") and (elsewhere := name.split(":")[3]) != region:
        raise missing(f"Functions from '{elsewhere}' are not reachable in this region ('{region}')")
    if action == "AddPermission":
        if (qualifier or own) == "$LATEST":
            raise invalid("We currently do not support adding policies for $LATEST.")
        principal = asked.get("Principal", "")
        known = principal == "*" or principal.startswith("arn:") or re.fullmatch(r"\d{12}", principal)
        if not (known or _SERVICES.fullmatch(principal)):
            raise invalid("The provided principal was invalid. Please check the principal and try again.")


def look_at_layers(layers: list[str]) -> None:
    """Refuse what cannot be ARNs of versions of layers."""
    member = get_service_model("lambda").shape_for("LayerList").member.metadata
    if all(re.fullmatch(member["pattern"], arn, re.ASCII) for arn in layers):
        return
    raise wrong(
        f"[{', '.join(layers)}]",
        "layers",
        f"Member must satisfy constraint: [Member must have length less than or equal to {member['max']}, "
        f"Member must have length greater than or equal to {member['min']}, Member must satisfy regular "
        f"expression pattern: {_bare(member['pattern'])}, Member must not be null]",
    )


def _bare(pattern: str) -> str:
    """A pattern as AWS's message writes it: without the brackets that botocore's model has around it all."""
    return pattern[1:-1] if pattern.startswith("((") and pattern.endswith("))") else pattern


def _constraints(value: str, allowed: dict[str, Any]) -> list[str]:
    """What of the model a value does not meet."""
    found = []
    if len(value) > allowed.get("max", len(value)):
        found.append(f"Member must have length less than or equal to {allowed['max']}")
    pattern = allowed.get("pattern")
    if pattern and not re.fullmatch(pattern, value, re.ASCII):
        found.append(f"Member must satisfy regular expression pattern: {pattern}")
    return found
