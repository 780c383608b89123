"""Models of bodies, and request validators, which hold requests against them.

An API has two models from the beginning, Empty and Error, but not one that is imported; a model that a method
names cannot be deleted.
Source: API Gateway API reference, "Patch operations"; aws-facts (k).
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from moto.apigateway.models import Model, RequestValidator, RestAPI

from awslabs.sandbox.core.engine import Call, Proceed, rule
from awslabs.sandbox.services.apigateway.patches import bad, replaced
from awslabs.sandbox.services.apigateway.rest_apis import (
    api_of,
    backend_of,
    conflict,
    missing,
    part_of,
    parts_of,
    there,
)
from awslabs.sandbox.services.apigateway.shown import validator_shown

_SCHEMA = """{
  "$schema" : "http://json-schema.org/draft-04/schema#",
  "title" : "%s Schema",
  "type" : "object"%s
}"""
DEFAULTS = {
    "Empty": ("This is a default empty schema model", _SCHEMA % ("Empty", "")),
    "Error": (
        "This is a default error schema model",
        _SCHEMA % ("Error", ',\n  "properties" : {\n    "message" : { "type" : "string" }\n  }'),
    ),
}
"""What those say of themselves, and their schemas."""

models = rule(
    "models",
    """An API that is not imported has the models Empty and Error. A model has a name of its own and a
    schema; one that a method names cannot be deleted; description and schema can be updated. moto: none of
    these.
    Source: aws-facts (k).""",
)
validators = rule(
    "validators",
    """A validator says of both kinds whether it looks at them; without a value an update is to false.
    moto shows null, and falls over an update without a value and over what is not there.
    Source: aws-facts (k).""",
)


@models.around("apigateway:CreateRestApi")
def _with_models(call: Call, proceed: Proceed) -> Any:
    answer = proceed()
    api = backend_of(call).apis.get(json.loads(answer[2]).get("id", ""))
    for name, (description, schema) in DEFAULTS.items():
        if api is not None and name not in api.models:
            api.add_model(name, description, schema, "application/json")
    return answer


def _model(call: Call) -> tuple[RestAPI, Model]:
    api, name = api_of(call), parts_of(call)[3]
    if api is None or name not in api.models:
        raise missing(f"Invalid model name specified: {name}")
    return api, api.models[name]


@models.operation("apigateway:CreateModel")
def _create_model(call: Call) -> dict[str, Any]:
    name = call.get("name")
    if not name:
        raise bad("Model name must be non-empty")
    api = there(call)
    if name in api.models:
        raise conflict("Model name already exists for this REST API")
    schema = _schema(call.get("schema"))
    return api.add_model(name, call.get("description") or "", schema, call.get("contentType")).to_json()


def _schema(text: str | None) -> str:
    if not text:
        raise bad("Model schema must have at least 1 property or array items defined")
    return text


@models.operation("apigateway:GetModel")
def _get_model(call: Call) -> dict[str, Any]:
    return _model(call)[1].to_json()


@models.operation("apigateway:GetModels")
def _get_models(call: Call) -> dict[str, Any]:
    return {"items": [each.to_json() for _, each in sorted(there(call).models.items())]}


@models.operation("apigateway:UpdateModel")
def _update_model(call: Call) -> dict[str, Any]:
    _, model = _model(call)
    steps = replaced(call, "/description", "/schema")
    for step in steps:
        if step.path == "/schema":
            _schema(step.value)
    for step in steps:
        setattr(model, step.path[1:], step.value)
    return model.to_json()


@models.operation("apigateway:DeleteModel")
def _delete_model(call: Call) -> dict[str, Any]:
    api, model = _model(call)
    for place, what in _users(api, str(model.name)):
        raise conflict(f"Cannot delete model '{model.name}', is referenced in method {what}: {place}")
    del api.models[str(model.name)]
    return {}


def _users(api: RestAPI, name: str) -> Iterator[tuple[str, str]]:
    """The methods that name a model, those of the newest resource first."""
    for resource in reversed(api.resources.values()):
        for verb, method in resource.resource_methods.items():
            place = f"{resource.get_path()}/{verb}"
            if name in (method.request_models or {}).values():
                yield place, "request"
            if any(
                name in (each.response_models or {}).values() for each in method.method_responses.values()
            ):
                yield place, "response"


# --- request validators -------------------------------------------------------------------------------


def _validator(call: Call) -> RequestValidator:
    found: RequestValidator = part_of(call, "request_validators", "Request Validator identifier")
    return found


@validators.operation("apigateway:CreateRequestValidator")
def _create_validator(call: Call) -> dict[str, Any]:
    api = api_of(call)
    if api is None:
        raise bad("Invalid REST API identifier specified")
    made = api.create_request_validator(
        call.get("name"), bool(call.get("validateRequestBody")), bool(call.get("validateRequestParameters"))
    )
    return validator_shown(made)


@validators.operation("apigateway:GetRequestValidator")
def _get_validator(call: Call) -> dict[str, Any]:
    return validator_shown(_validator(call))


@validators.operation("apigateway:GetRequestValidators")
def _get_validators(call: Call) -> dict[str, Any]:
    return {"items": [validator_shown(each) for each in there(call).request_validators.values()]}


@validators.operation("apigateway:DeleteRequestValidator")
def _delete_validator(call: Call) -> dict[str, Any]:
    validator = _validator(call)
    del there(call).request_validators[validator.id]
    return {}


@validators.operation("apigateway:UpdateRequestValidator")
def _update_validator(call: Call) -> dict[str, Any]:
    validator = _validator(call)
    steps = replaced(call, "/name", "/validateRequestParameters", "/validateRequestBody")
    if any(step.path == "/name" and not step.value for step in steps):
        raise bad("Request Validator name cannot be blank")
    for step in steps:
        if step.path == "/name":
            validator.name = step.value
        elif step.path == "/validateRequestBody":
            validator.validate_request_body = step.value.lower() == "true"
        else:
            validator.validate_request_parameters = step.value.lower() == "true"
    return validator_shown(validator)
