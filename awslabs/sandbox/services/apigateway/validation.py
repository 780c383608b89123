"""Values of API Gateway's requests that are not in their lists: refused before anybody looks further.

Which values there are says botocore's model; in what order AWS names them, where it was recorded, `_ORDER`.
Source: botocore's model of API Gateway; aws-facts (k).
"""

from __future__ import annotations

import json
import re
import urllib.parse
from collections.abc import Iterator
from typing import Any

from botocore.model import Shape
from moto.core.utils import get_service_model

from awslabs.sandbox.core.engine import Call, Refused, before
from awslabs.sandbox.services.apigateway import openapi
from awslabs.sandbox.services.apigateway.patches import bad

_ORDER = {
    "DocumentationPartType": (
        *("RESPONSE_BODY", "RESPONSE", "METHOD", "MODEL", "AUTHORIZER", "RESPONSE_HEADER", "RESOURCE"),
        *("PATH_PARAMETER", "REQUEST_BODY", "QUERY_PARAMETER", "API", "REQUEST_HEADER"),
    ),
    "EndpointType": ("PRIVATE", "EDGE", "REGIONAL"),
    "GatewayResponseType": (
        *("REQUEST_TOO_LARGE", "RESOURCE_NOT_FOUND", "AUTHORIZER_CONFIGURATION_ERROR"),
        *("MISSING_AUTHENTICATION_TOKEN", "BAD_REQUEST_BODY", "INVALID_SIGNATURE", "INVALID_API_KEY"),
        *("BAD_REQUEST_PARAMETERS", "AUTHORIZER_FAILURE", "UNAUTHORIZED", "INTEGRATION_TIMEOUT"),
        *("ACCESS_DENIED", "DEFAULT_4XX", "DEFAULT_5XX", "WAF_FILTERED", "QUOTA_EXCEEDED", "THROTTLED"),
        *("API_CONFIGURATION_ERROR", "UNSUPPORTED_MEDIA_TYPE", "INTEGRATION_FAILURE", "EXPIRED_TOKEN"),
    ),
    "IntegrationType": ("HTTP", "MOCK", "AWS_PROXY", "HTTP_PROXY", "AWS"),
    "Op": ("add", "remove", "move", "test", "replace", "copy"),
}


@before("apigateway:PutRestApi", "apigateway:ImportRestApi")
def documents_can_be_read(call: Call) -> None:
    """What is no OpenAPI document: BadRequestException, whether the API is there or not. moto makes an API
    without a name of it. Source: aws-facts (k).
    """
    if openapi.read(call.response.body) is None:
        raise bad("Invalid OpenAPI input.")


@before("apigateway:*")
def values_are_in_their_lists(call: Call) -> None:
    """A value outside of its enumeration or pattern, as the model has them: ValidationException. moto takes
    any. Source: botocore's model; aws-facts (k).
    """
    model = get_service_model("apigateway")
    if call.action not in model.operation_names:
        return
    operation = model.operation_model(call.action)
    shape = operation.input_shape
    if shape is None or shape.serialization.get("payload"):
        return
    problems = [*_in_body(call, shape), *_in_path(call, operation)]
    if problems:
        count = f"{len(problems)} validation error{'s' if len(problems) > 1 else ''} detected: "
        raise Refused("ValidationException", count + "; ".join(problems), 400)


def _in_body(call: Call, shape: Any) -> Iterator[str]:
    try:
        body = json.loads(call.response.body or "{}")
    except ValueError:
        return
    if isinstance(body, dict):
        name = f"{call.action[0].lower()}{call.action[1:]}Input"
        members = {key: each for key, each in shape.members.items() if not each.serialization.get("location")}
        yield from _in_members(name, members, body)


def _in_members(where: str, members: dict[str, Shape], values: dict[str, Any]) -> Iterator[str]:
    for name, shape in members.items():
        value = values.get(shape.serialization.get("name", name))
        if value is not None:
            yield from _problems(f"{where}.{name}", shape, value)


def _problems(where: str, shape: Any, value: Any) -> Iterator[str]:
    """What is wrong with a value of a request, at any depth."""
    shown = f"[{', '.join(map(str, value))}]" if isinstance(value, list) else value
    begin = f"Value '{shown}' at '{where}' failed to satisfy constraint: "
    if shape.type_name == "string" and isinstance(value, str):
        if why := _constraint(shape, value):
            yield begin + why
    elif shape.type_name == "structure" and isinstance(value, dict):
        yield from _in_members(where, shape.members, value)
    elif shape.type_name == "list" and isinstance(value, list):
        if shape.member.type_name == "string":
            wrong = [why for each in value if (why := _constraint(shape.member, str(each)))]
            if wrong:
                yield f"{begin}Member must satisfy constraint: [{wrong[0]}]"
            return
        for number, each in enumerate(value, 1):
            yield from _problems(f"{where}.{number}.member", shape.member, each)


def _constraint(shape: Any, value: str) -> str:
    """Which constraint of the model a text does not meet; empty: none."""
    if shape.enum and value not in shape.enum:
        allowed = _ORDER.get(shape.name, shape.enum)
        return f"Member must satisfy enum value set: [{', '.join(allowed)}]"
    pattern = shape.metadata.get("pattern")
    if pattern and not re.fullmatch(pattern, value, re.ASCII):
        return f"Member must satisfy regular expression pattern: {pattern}"
    return ""


def _in_path(call: Call, operation: Any) -> Iterator[str]:
    template = re.escape(operation.http["requestUri"].partition("?")[0])
    expression = re.sub(r"\\\{(\w+)\\\}", r"(?P<\1>[^/]+)", template)
    match = re.fullmatch(expression, call.response.path)
    for name, shape in operation.input_shape.members.items() if match else ():
        if match and shape.serialization.get("location") == "uri":
            value = urllib.parse.unquote(match[shape.serialization["name"]])
            yield from _problems(name, shape, value)
