"""API Gateway's own answers, as an API has them set: each type has its default until it is put.

Source: aws-facts (k); API Gateway developer guide, "Gateway response types".
"""

from __future__ import annotations

import re
from typing import Any

from moto.apigateway.models import GatewayResponse, RestAPI

from awslabs.sandbox.core.engine import Call, Proceed, Refused, rule
from awslabs.sandbox.services.apigateway.patches import bad, bad_path, plain
from awslabs.sandbox.services.apigateway.rest_apis import api_of, missing, parts_of

STATUS = {
    "ACCESS_DENIED": 403,
    "API_CONFIGURATION_ERROR": 500,
    "AUTHORIZER_CONFIGURATION_ERROR": 500,
    "AUTHORIZER_FAILURE": 500,
    "BAD_REQUEST_BODY": 400,
    "BAD_REQUEST_PARAMETERS": 400,
    "DEFAULT_4XX": None,
    "DEFAULT_5XX": None,
    "EXPIRED_TOKEN": 403,
    "INTEGRATION_FAILURE": 504,
    "INTEGRATION_TIMEOUT": 504,
    "INVALID_API_KEY": 403,
    "INVALID_SIGNATURE": 403,
    "MISSING_AUTHENTICATION_TOKEN": 403,
    "QUOTA_EXCEEDED": 429,
    "REQUEST_TOO_LARGE": 413,
    "RESOURCE_NOT_FOUND": 404,
    "THROTTLED": 429,
    "UNAUTHORIZED": 401,
    "UNSUPPORTED_MEDIA_TYPE": 415,
    "WAF_FILTERED": 403,
}
TEMPLATES = {"application/json": '{"message":$context.error.messageString}'}

gateway_responses = rule(
    "gateway_responses",
    """Every type has an answer, which says whether it is the default; what is put without a status, headers
    or templates has those of the default; types that are not put follow DEFAULT_4XX and DEFAULT_5XX.
    Deleting one that is not put: NotFoundException. moto knows those alone that were put.
    Source: aws-facts (k).""",
)


@gateway_responses.patch(GatewayResponse, "to_json")
def _shown(original: Any, response: GatewayResponse) -> dict[str, Any]:
    shown: dict[str, Any] = original(response)
    status = STATUS.get(response.response_type)
    if not shown.get("statusCode") and status is not None:
        shown["statusCode"] = str(status)
    shown["responseParameters"] = shown.get("responseParameters") or {}
    shown["responseTemplates"] = shown.get("responseTemplates") or dict(TEMPLATES)
    return shown


@gateway_responses.patch(RestAPI, "get_gateway_response")
def _one(original: Any, api: RestAPI, response_type: str) -> GatewayResponse:
    put = api.gateway_responses.get(response_type)
    if put is not None:
        return put
    status = STATUS.get(response_type)
    family = None if status is None else f"DEFAULT_{status // 100}XX"
    pattern = api.gateway_responses.get(family or "")
    default = GatewayResponse(
        response_type,
        (pattern.status_code if pattern else None) or status,  # type: ignore[arg-type]
        pattern.response_parameters if pattern else {},
        pattern.response_templates if pattern else {},
    )
    if default.status_code is not None:
        default.status_code = str(default.status_code)  # type: ignore[assignment]
    default.default_response = True
    return default


@gateway_responses.patch(RestAPI, "get_gateway_responses")
def _all(original: Any, api: RestAPI) -> list[GatewayResponse]:
    return [api.get_gateway_response(each) for each in sorted({*STATUS, *api.gateway_responses})]


@gateway_responses.operation("apigateway:UpdateGatewayResponse")
def _update(call: Call) -> dict[str, Any]:
    api, kind = api_of(call), parts_of(call)[3]
    if api is None:
        raise missing(f"Invalid API identifier specified {call.account}:{parts_of(call)[1]}")
    standing = api.get_gateway_response(kind).to_json()
    status, parameters = standing.get("statusCode"), dict(standing["responseParameters"])
    templates = dict(standing["responseTemplates"])
    for step in call.get("patchOperations") or []:
        operation, path, value = step.get("op"), step.get("path"), step.get("value")
        found = re.fullmatch(r"/response(Parameters|Templates)/([^/]+)", path or "")
        if path == "/statusCode" and operation == "replace":
            status = value
            continue
        if found is None:
            raise bad_path(path or "null")
        held, name = parameters if found[1] == "Parameters" else templates, plain(found[2])
        if operation in ("replace", "remove") and name not in held:
            raise missing("Invalid parameter name specified")
        if operation == "remove":
            del held[name]
        elif not value:
            raise bad(f"Invalid null or empty value in response{found[1]}")
        else:
            held[name] = value
    made = api.put_gateway_response(kind, status, parameters, templates)  # type: ignore[arg-type]
    shown: dict[str, Any] = made.to_json()
    return {**shown, "defaultResponse": False}


@gateway_responses.around("apigateway:DeleteGatewayResponse")
def _gone(call: Call, proceed: Proceed) -> Any:
    api = api_of(call)
    if api is not None and parts_of(call)[3] not in api.gateway_responses:
        raise Refused("NotFoundException", "Gateway response type not defined on api", 404)
    proceed()
    return 202, {"status": 202}, ""
