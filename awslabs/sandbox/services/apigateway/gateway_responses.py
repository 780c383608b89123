"""API Gateway's own answers, as an API has them set: each type has its default until it is put.

Source: aws-facts (k); API Gateway developer guide, "Gateway response types".
"""

from __future__ import annotations

import json
from typing import Any

from moto.apigateway.models import RestAPI

from awslabs.sandbox.core.engine import Call, Proceed, rule
from awslabs.sandbox.services.apigateway.patches import bad, steps_of
from awslabs.sandbox.services.apigateway.rest_apis import missing, parts_of, there

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


def _whole(api: RestAPI, kind: str) -> dict[str, Any]:
    """An answer as it was put, or its default, with what nobody has said of it."""
    status = STATUS.get(kind)
    put = api.gateway_responses.get(kind)
    said = put or api.gateway_responses.get(f"DEFAULT_{status // 100}XX" if status else "")
    known = said.to_json() if said else {}
    code = known.get("statusCode") or status
    return {
        "responseType": kind,
        "defaultResponse": put is None,
        **({"statusCode": str(code)} if code else {}),
        "responseParameters": known.get("responseParameters") or {},
        "responseTemplates": known.get("responseTemplates") or TEMPLATES,
    }


@gateway_responses.around("apigateway:PutGatewayResponse")
def _put(call: Call, proceed: Proceed) -> Any:
    status, headers, _ = proceed()
    return status, headers, json.dumps(_whole(there(call), parts_of(call)[3]))


@gateway_responses.around("apigateway:GetGatewayResponse", "apigateway:GetGatewayResponses")
def _shown(call: Call, proceed: Proceed) -> Any:
    api = there(call)
    if call.action == "GetGatewayResponse":
        return 200, {}, json.dumps(_whole(api, parts_of(call)[3]))
    kinds = sorted({*STATUS, *api.gateway_responses})
    return 200, {}, json.dumps({"item": [_whole(api, kind) for kind in kinds]})


@gateway_responses.operation("apigateway:UpdateGatewayResponse")
def _update(call: Call) -> dict[str, Any]:
    api, kind = there(call), parts_of(call)[3]
    standing = _whole(api, kind)
    status, parameters = standing.get("statusCode"), dict(standing["responseParameters"])
    templates = dict(standing["responseTemplates"])
    for step in steps_of(call):
        if step.path == "/statusCode" and step.op == "replace":
            status = step.value
            continue
        held, name = step.entry(responseParameters=parameters, responseTemplates=templates)
        if step.op in ("replace", "remove") and name not in held:
            raise missing("Invalid parameter name specified")
        if step.op != "remove" and not step.value:
            raise bad(f"Invalid null or empty value in {step.path.split('/')[1]}")
        step.put(held, name, step.value)
    api.put_gateway_response(kind, status, parameters, templates)  # type: ignore[arg-type]
    return _whole(api, kind)


@gateway_responses.around("apigateway:DeleteGatewayResponse")
def _gone(call: Call, proceed: Proceed) -> Any:
    if parts_of(call)[3] not in there(call).gateway_responses:
        raise missing("Gateway response type not defined on api")
    proceed()
    return 202, {"status": 202}, ""
