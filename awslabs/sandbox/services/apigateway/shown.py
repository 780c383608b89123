"""What AWS shows of a resource, a method, an integration and their responses: nothing that was not given.

Source: aws-facts (k).
"""

from __future__ import annotations

from typing import Any

from moto.apigateway.models import (
    Integration,
    IntegrationResponse,
    Method,
    MethodResponse,
    RequestValidator,
    Resource,
)

TIMEOUT_MS = (50, 29_000)
"""How long an integration may take. Source: aws-facts (g)."""


def is_timeout(ms: Any) -> bool:
    """Whether an integration can be given so many milliseconds; a document may write them 5e3."""
    try:
        return TIMEOUT_MS[0] <= int(ms) <= TIMEOUT_MS[1]
    except (OverflowError, TypeError, ValueError):  # infinite, none, no number
        return False


def without_none(shown: dict[str, Any]) -> dict[str, Any]:
    """The members that were given."""
    return {name: value for name, value in shown.items() if value is not None}


def resource_shown(resource: Resource, details: bool = False) -> dict[str, Any]:
    """A resource; its methods by name alone, or in all `details`."""
    shown: dict[str, Any] = {"id": resource.id, "path": resource.get_path()}
    if resource.parent_id:
        shown |= {"parentId": resource.parent_id, "pathPart": resource.path_part}
    if resource.resource_methods:
        shown["resourceMethods"] = {
            name: method_shown(method) if details else {}
            for name, method in resource.resource_methods.items()
        }
    return shown


def method_shown(method: Method) -> dict[str, Any]:
    """A method, with its integration and its responses."""
    return without_none(
        {
            "httpMethod": method.http_method,
            "authorizationType": method.authorization_type,
            "authorizerId": method.authorizer_id or None,
            "authorizationScopes": method.authorization_scopes or None,
            "apiKeyRequired": bool(method.api_key_required),
            "requestValidatorId": method.request_validator_id or None,
            "operationName": method.operation_name or None,
            "requestParameters": method.request_parameters or None,
            "requestModels": method.request_models or None,
            "methodResponses": {
                code: response_shown(each) for code, each in sorted(method.method_responses.items())
            }
            or None,
            "methodIntegration": integration_shown(method.method_integration)
            if method.method_integration
            else None,
        }
    )


def response_shown(response: MethodResponse) -> dict[str, Any]:
    """A response of a method; members that were given are shown, were they empty."""
    return without_none(
        {
            "statusCode": response.status_code,
            "responseParameters": response.response_parameters,
            "responseModels": response.response_models,
        }
    )


def integration_shown(integration: Integration) -> dict[str, Any]:
    """An integration, with its responses."""
    kind = integration.integration_type
    connection = integration.connection_type or ("INTERNET" if kind in ("HTTP", "HTTP_PROXY") else None)
    answers = integration.integration_responses
    return without_none(
        {
            "type": kind,
            "httpMethod": None if kind == "MOCK" else integration.http_method or None,
            "uri": None if kind == "MOCK" else integration.uri or None,
            "connectionType": connection,
            "connectionId": vars(integration).get("connection_id"),
            "credentials": integration.credentials or None,
            "requestParameters": integration.request_parameters or None,
            "requestTemplates": integration.request_templates or None,
            "passthroughBehavior": integration.passthrough_behaviour or "WHEN_NO_MATCH",
            "contentHandling": integration.content_handling or None,
            "timeoutInMillis": int(integration.timeout_in_millis or TIMEOUT_MS[1]),
            "cacheNamespace": integration.cache_namespace,
            "cacheKeyParameters": integration.cache_key_parameters,
            "tlsConfig": integration.tls_config or None,
            "integrationResponses": {
                code: integration_response_shown(each) for code, each in sorted((answers or {}).items())
            }
            or None,
        }
    )


def integration_response_shown(response: IntegrationResponse) -> dict[str, Any]:
    """A response of an integration; members that were given are shown, were they empty."""
    return without_none(
        {
            "statusCode": response.status_code,
            "selectionPattern": response.selection_pattern,
            "responseParameters": response.response_parameters or None,
            "responseTemplates": vars(response).get("given_templates", response.response_templates or None),
            "contentHandling": response.content_handling or None,
        }
    )


def validator_shown(validator: RequestValidator) -> dict[str, Any]:
    """A validator, with both that it may look at."""
    return {
        "id": validator.id,
        "name": validator.name,
        "validateRequestBody": bool(validator.validate_request_body),
        "validateRequestParameters": bool(validator.validate_request_parameters),
    }
