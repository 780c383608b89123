"""Resources, methods, integrations and their responses: what AWS takes, changes and shows of them.

moto keeps them; it looks at little, shows members that AWS leaves out, and knows no Update operation. So
all operations on them are answered here: those that put check and then keep, those that update take AWS's
paths (`patches`), and all show the same thing the same way (`shown`).
Source: API Gateway API reference, "Patch operations"; aws-facts (k).
"""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Callable
from typing import Any

from moto.apigateway.models import Integration, IntegrationResponse, Method, MethodResponse, Resource, RestAPI

from awslabs.sandbox.core.engine import Call, Proceed, Refused, rule
from awslabs.sandbox.services.apigateway.patches import Step, bad, one_of, replaced, steps_of
from awslabs.sandbox.services.apigateway.rest_apis import (
    backend_of,
    conflict,
    missing,
    named,
    part_of,
    parts_of,
    there,
)
from awslabs.sandbox.services.apigateway.shown import (
    TIMEOUT_MS,
    integration_response_shown,
    integration_shown,
    is_timeout,
    method_shown,
    resource_shown,
    response_shown,
)

VERBS = ("GET", "PUT", "POST", "DELETE", "PATCH", "OPTIONS", "HEAD", "ANY")

methods = rule(
    "methods",
    """A method names models, validators, authorizers that are there, an integration an address of its type;
    names of parameters are unique. Each can be updated by AWS's paths; what is not there is named by AWS's
    words; what was not given is not shown. moto takes all, shows empty members and updates nothing.
    Source: aws-facts (k).""",
)


# --- what is named ------------------------------------------------------------------------------------


def _resource(call: Call) -> Resource:
    found: Resource = part_of(call, "resources", "Resource identifier")
    return found


def _method(call: Call) -> Method:
    return named(_resource(call).resource_methods, parts_of(call)[5], "Method identifier")


def _integration(call: Call) -> Integration:
    found = _method(call).method_integration
    if found is None:
        raise missing("Invalid Integration identifier specified")
    return found


# --- resources ----------------------------------------------------------------------------------------


@methods.operation("apigateway:GetResource")
def _get_resource(call: Call) -> dict[str, Any]:
    details = "methods" in (call.response.querystring or {}).get("embed", [])
    return resource_shown(_resource(call), details)


@methods.operation("apigateway:UpdateResource")
def _update_resource(call: Call) -> dict[str, Any]:
    resource, api = _resource(call), there(call)
    for step in replaced(call, "/parentId", "/pathPart"):
        parent_id, name = str(resource.parent_id), resource.path_part
        if resource.parent_id is None:
            raise bad(f"Root resource cannot update its {step.path[1:]}.")
        if step.path == "/pathPart":
            name = step.value
        else:
            parent_id = step.value
            above: Resource | None = named(api.resources, parent_id, "Resource identifier")
            while above is not None:
                if above.id == resource.id:
                    raise bad("Resources cannot be cyclical.")
                above = api.resources.get(above.parent_id or "")
        for each in api.resources.values():
            if each.id != resource.id and (each.parent_id, each.path_part) == (parent_id, name):
                raise conflict(f"Another resource with the same parent already has this name: {name}")
        resource.parent_id, resource.path_part = parent_id, name
    return resource_shown(resource)


# --- methods ------------------------------------------------------------------------------------------


@methods.operation("apigateway:PutMethod")
def _put_method(call: Call) -> dict[str, Any]:
    resource = _resource(call)
    verb = parts_of(call)[5]
    if verb not in VERBS:
        raise bad(f"Invalid HttpMethod specified. Valid options are {','.join(VERBS)}")
    if verb in resource.resource_methods:
        raise conflict("Method already exists for this resource")
    made = Method(  # type: ignore[abstract]  # moto makes it so, too
        verb,
        _authorization(call.get("authorizationType")),
        api_key_required=call.get("apiKeyRequired"),
        authorizer_id=call.get("authorizerId"),
        authorization_scopes=call.get("authorizationScopes"),
        request_parameters=call.get("requestParameters"),
        request_models=call.get("requestModels"),
        operation_name=call.get("operationName"),
        request_validator_id=call.get("requestValidatorId"),
    )
    _look_at_method(there(call), made)
    resource.resource_methods[verb] = made
    return method_shown(made)


def _authorization(kind: Any) -> str:
    """The type of authorization, which AWS takes in any case of letters and shows in capitals."""
    named = str(kind or "").upper()
    if named not in ("NONE", "AWS_IAM", "CUSTOM", "COGNITO_USER_POOLS"):
        raise bad(
            "Invalid Authorization Type specified: Must be one of: "
            "[NONE, AWS_IAM, CUSTOM, COGNITO_USER_POOLS]"
        )
    return named


def _look_at_method(api: RestAPI, method: Method) -> None:
    """Refuse a method that names what is not there."""
    if method.authorization_type not in ("CUSTOM", "COGNITO_USER_POOLS"):
        method.authorizer_id = None
    elif method.authorizer_id not in api.authorizers:
        raise bad(
            "Invalid authorizer ID specified. Setting the authorization type to CUSTOM or COGNITO_USER_POOLS "
            "requires a valid authorizer."
        )
    if method.request_validator_id and method.request_validator_id not in api.request_validators:
        raise bad("Invalid Request Validator identifier specified")
    for model in (method.request_models or {}).values():
        if model not in {each.name for each in api.models.values()}:
            raise bad(f"Invalid model identifier specified: {model}")
    names = [name.rpartition(".")[2] for name in method.request_parameters or {}]
    if len(set(names)) < len(names):
        raise bad("Parameter names must be unique across querystring, header and path")


@methods.operation("apigateway:GetMethod")
def _get_method(call: Call) -> dict[str, Any]:
    return method_shown(_method(call))


@methods.operation("apigateway:DeleteMethod")
def _delete_method(call: Call) -> dict[str, Any]:
    del _resource(call).resource_methods[_method(call).http_method]
    return {}


_ATTRIBUTES = {
    "/authorizationType": "authorization_type",
    "/authorizerId": "authorizer_id",
    "/apiKeyRequired": "api_key_required",
    "/operationName": "operation_name",
    "/requestValidatorId": "request_validator_id",
}


@methods.operation("apigateway:UpdateMethod")
def _update_method(call: Call) -> dict[str, Any]:
    method = _method(call)
    changed = copy.copy(method)
    parameters = changed.request_parameters = dict(method.request_parameters or {})
    models = changed.request_models = dict(method.request_models or {})
    for step in steps_of(call):
        if step.path in _ATTRIBUTES:
            one_of(step.op, "replace")
            kept: Any = step.value.lower() == "true" if step.path == "/apiKeyRequired" else step.value
            kept = _authorization(step.value) if step.path == "/authorizationType" else kept
            setattr(changed, _ATTRIBUTES[step.path], kept)
        else:
            _change_one(step, requestParameters=parameters, requestModels=models)
    _look_at_method(there(call), changed)
    vars(method).update(vars(changed))
    return method_shown(method)


def _change_one(step: Step, **maps: dict[str, Any]) -> None:
    """Change one parameter or one media type's model of a method or of its response."""
    held, name = step.entry(**maps)
    of_parameters = "Parameters/" in step.path
    if step.op in ("remove", "replace") and name not in held:
        raise missing(
            "Invalid parameter name specified" if of_parameters else "Content-Type specified was not found"
        )
    step.put(held, name, step.value.lower() == "true" if of_parameters else step.value)


# --- their responses ----------------------------------------------------------------------------------


def _response(call: Call) -> MethodResponse:
    return named(_method(call).method_responses, parts_of(call)[-1], "Response status code")


@methods.operation("apigateway:PutMethodResponse")
def _put_response(call: Call) -> dict[str, Any]:
    method, code = _method(call), parts_of(call)[-1]
    if code in method.method_responses:
        raise conflict("Response already exists for this resource")
    parameters, models = call.get("responseParameters"), call.get("responseModels")
    return response_shown(method.create_response(code, models, parameters))


@methods.operation("apigateway:GetMethodResponse")
def _get_response(call: Call) -> dict[str, Any]:
    return response_shown(_response(call))


@methods.operation("apigateway:DeleteMethodResponse")
def _delete_response(call: Call) -> dict[str, Any]:
    del _method(call).method_responses[_response(call).status_code]
    return {}


@methods.operation("apigateway:UpdateMethodResponse")
def _update_response(call: Call) -> dict[str, Any]:
    response = _response(call)
    parameters: dict[str, Any] = dict(response.response_parameters or {})
    models: dict[str, Any] = dict(response.response_models or {})
    for step in steps_of(call):
        _change_one(step, responseParameters=parameters, responseModels=models)
    response.response_parameters, response.response_models = parameters or None, models or None  # type: ignore
    return response_shown(response)


# --- integrations -------------------------------------------------------------------------------------

_FUNCTION = re.compile(r"path/+2015-03-31/functions/.+/invocations")


def look_at_integration(kind: str, verb: str | None, uri: str | None, credentials: str | None) -> None:
    """Refuse an integration whose address is none of its type."""
    if kind != "MOCK" and not verb:
        raise bad("Enumeration value for HttpMethod must be non-empty")
    uri = uri or ""
    if kind in ("HTTP", "HTTP_PROXY") and not re.match(r"https?://|\$\{stageVariables\.", uri):
        raise bad("Invalid HTTP endpoint specified for URI")
    if kind in ("AWS", "AWS_PROXY"):
        parts = uri.split(":", 5)
        if len(parts) < 6 or parts[0] != "arn":
            raise bad("Invalid ARN specified in the request")
        if not re.match(r"(path|action)/", parts[5]) or parts[2] != "apigateway":
            raise bad("AWS ARN for integration must contain path or action")
        function = parts[4].endswith("lambda") and _FUNCTION.match(parts[5])
        if kind == "AWS_PROXY" and not function and not (parts[4] == "firehose" and "action/" in parts[5]):
            raise bad(
                "Integrations of type 'AWS_PROXY' currently only supports Lambda function and Firehose "
                "stream invocations."
            )
        if not function and not credentials:
            raise bad("Role ARN must be specified for AWS integrations")


@methods.operation("apigateway:PutIntegration")
def _put_integration(call: Call) -> dict[str, Any]:
    resource, method = _resource(call), _method(call)
    kind = call.get("type")
    verb = call.get("integrationHttpMethod") or call.get("httpMethod")
    uri, credentials = call.get("uri"), call.get("credentials")
    look_at_integration(kind, verb, uri, credentials)
    timeout_ms = call.get("timeoutInMillis")
    _look_at_timeout(timeout_ms)
    made = Integration(
        kind,
        uri,
        verb,
        request_templates=call.get("requestTemplates"),
        passthrough_behavior=call.get("passthroughBehavior"),
        cache_key_parameters=call.get("cacheKeyParameters"),
        tls_config=call.get("tlsConfig"),
        cache_namespace=call.get("cacheNamespace") or resource.id,
        timeout_in_millis=timeout_ms,
        request_parameters=call.get("requestParameters"),
        content_handling=call.get("contentHandling"),
        credentials=credentials,
        connection_type=call.get("connectionType"),
    )
    vars(made)["connection_id"] = call.get("connectionId")
    method.method_integration = made
    return integration_shown(made)


def _look_at_timeout(timeout_ms: Any) -> None:
    if timeout_ms is not None and not is_timeout(timeout_ms):
        raise bad(f"Timeout should be between {TIMEOUT_MS[0]} ms and {TIMEOUT_MS[1]} ms")


@methods.operation("apigateway:GetIntegration")
def _get_integration(call: Call) -> dict[str, Any]:
    return integration_shown(_integration(call))


@methods.operation("apigateway:DeleteIntegration")
def _delete_integration(call: Call) -> dict[str, Any]:
    _integration(call)
    _method(call).method_integration = None
    return {}


_OF_INTEGRATION: dict[str, tuple[str, Callable[[str], Any]]] = {
    "/httpMethod": ("http_method", str),
    "/uri": ("uri", str),
    "/credentials": ("credentials", str),
    "/connectionId": ("connection_id", str),
    "/connectionType": ("connection_type", str),
    "/passthroughBehavior": ("passthrough_behaviour", str),
    "/contentHandling": ("content_handling", str),
    "/timeoutInMillis": ("timeout_in_millis", int),
    "/cacheNamespace": ("cache_namespace", str),
}


@methods.operation("apigateway:UpdateIntegration")
def _update_integration(call: Call) -> dict[str, Any]:
    integration = _integration(call)
    changed = dict(vars(integration))
    parameters = changed["request_parameters"] = dict(integration.request_parameters or {})
    templates = changed["request_templates"] = dict(integration.request_templates or {})
    keys = dict.fromkeys(integration.cache_key_parameters or [])
    maps = {"requestParameters": parameters, "requestTemplates": templates, "cacheKeyParameters": keys}
    for step in steps_of(call):
        if step.path in _OF_INTEGRATION:
            one_of(step.op, "replace")
            name, of_type = _OF_INTEGRATION[step.path]
            changed[name] = step.read(of_type) if step.value else None
        else:
            held, name = step.entry(**maps)
            step.put(held, name, step.value)
    changed["cache_key_parameters"] = list(keys)
    _look_at_timeout(changed["timeout_in_millis"])
    vars(integration).update(changed)
    return integration_shown(integration)


# --- their responses ----------------------------------------------------------------------------------


def _integration_response(call: Call) -> IntegrationResponse:
    return named(_integration(call).integration_responses, parts_of(call)[-1], "Response status code")


@methods.operation("apigateway:PutIntegrationResponse")
def _put_integration_response(call: Call) -> dict[str, Any]:
    integration, code = _integration(call), parts_of(call)[-1]
    mapping = call.get("responseParameters") or {}
    _look_at_mapping(call, code, mapping)
    templates = call.get("responseTemplates")
    _look_at_templates(templates or {})
    made = integration.create_integration_response(
        code, call.get("selectionPattern"), dict(templates or {}), mapping, call.get("contentHandling")
    )
    if templates is not None:
        vars(made)["given_templates"] = {kind: template or None for kind, template in templates.items()}
    return integration_response_shown(made)


def _look_at_mapping(call: Call, code: str, mapping: dict[str, Any]) -> None:
    """Refuse a header that the method's response does not have."""
    response = _method(call).method_responses.get(code)
    declared = (response.response_parameters if response is not None else None) or {}
    for name in mapping:
        if name not in declared:
            raise bad(
                "Invalid mapping expression specified: Validation Result: warnings : [], errors : "
                f"[Invalid mapping expression parameter specified: {name}]"
            )


def _look_at_templates(templates: dict[str, Any]) -> None:
    for kind, template in templates.items():
        if isinstance(template, (int, float)):
            raise Refused(
                "SerializationException",
                "class com.amazon.coral.value.json.numbers.TruncatingBigNumber can not be converted to an "
                "String",
                400,
            )
        if "/" not in kind:
            why = f"Invalid content type specified: {kind}"
            raise bad(f"Validation Result: warnings : [], errors : [{why}]")


@methods.operation("apigateway:GetIntegrationResponse")
def _get_integration_response(call: Call) -> dict[str, Any]:
    return integration_response_shown(_integration_response(call))


@methods.operation("apigateway:DeleteIntegrationResponse")
def _delete_integration_response(call: Call) -> dict[str, Any]:
    if parts_of(call)[5] not in _resource(call).resource_methods:
        raise missing("Invalid Integration identifier specified")
    answers = _integration(call).integration_responses or {}
    del answers[str(_integration_response(call).status_code)]
    return {}


@methods.operation("apigateway:UpdateIntegrationResponse")
def _update_integration_response(call: Call) -> dict[str, Any]:
    response = _integration_response(call)
    given = vars(response).get("given_templates") or response.response_templates
    parameters, templates = dict(response.response_parameters or {}), dict(given or {})
    texts = {
        "/selectionPattern": response.selection_pattern,
        "/contentHandling": response.content_handling,
    }
    for step in steps_of(call):
        if step.path in texts:
            one_of(step.op, "replace")
            texts[step.path] = step.value
        else:
            held, name = step.entry(responseParameters=parameters, responseTemplates=templates)
            step.put(held, name, step.value)
    _look_at_mapping(call, str(response.status_code), parameters)
    response.selection_pattern, response.content_handling = texts.values()
    response.response_parameters, response.response_templates = parameters, templates
    if templates or vars(response).get("given_templates") is not None:
        vars(response)["given_templates"] = templates
    return integration_response_shown(response)


@methods.around("apigateway:GetResources")
def _all_resources(call: Call, proceed: Proceed) -> Any:
    proceed()
    api = backend_of(call).apis[parts_of(call)[1]]
    details = "methods" in (call.response.querystring or {}).get("embed", [])
    return json.dumps({"item": [resource_shown(each, details) for each in api.resources.values()]})
