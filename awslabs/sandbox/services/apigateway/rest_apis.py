"""API Gateway's REST APIs: what a deployment keeps, what an OpenAPI document makes, what is refused.

Calling a deployed API is the business of `services.apigateway.execute_api`, in the server. It serves the
`Snapshot` that stands here: the API as it was when it was deployed.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from moto.apigateway.models import (
    APIGatewayBackend,
    Integration,
    Resource,
    RestAPI,
    apigateway_backends,
)

from awslabs.sandbox.core.engine import (
    Call,
    Proceed,
    Refused,
    around,
    before,
    memory,
    operation,
    rule,
    spaced,
    state,
)
from awslabs.sandbox.core.rates import Rate, admit
from awslabs.sandbox.services.apigateway import openapi, patches
from awslabs.sandbox.services.apigateway.patches import bad
from awslabs.sandbox.services.apigateway.shown import TIMEOUT_MS, is_timeout, resource_shown, validator_shown


def missing(message: str) -> Refused:
    return Refused("NotFoundException", message, 404)


def conflict(message: str) -> Refused:
    return Refused("ConflictException", message, 409)


def not_here(what: str) -> Refused:
    """What the practice cloud does not pretend to do."""
    return Refused("NotImplemented", f"The practice cloud's API Gateway has no {what}.", 501)


Thing = TypeVar("Thing")


def named(things: Mapping[str, Thing] | None, name: str, what: str) -> Thing:
    """One of several things; NotFoundException where there is none of this name."""
    if not things or name not in things:
        raise missing(f"Invalid {what} specified")
    return things[name]


def backend_of(call: Call) -> APIGatewayBackend:
    return apigateway_backends[call.account][call.region]


def parts_of(call: Call) -> list[str]:
    """The parts of the path: ``restapis``, the API's id, ``resources``, ..."""
    found: list[str] = call.response.path.strip("/").split("/")
    return found


def api_of(call: Call) -> RestAPI | None:
    """The API that a request names, if there is one."""
    parts = parts_of(call)
    return backend_of(call).apis.get(parts[1]) if len(parts) > 1 else None


def there(call: Call) -> RestAPI:
    """The same, of a request that needs one; NotFoundException where there is none."""
    api = api_of(call)
    if api is None:
        raise missing(f"Invalid API identifier specified {call.account}:{parts_of(call)[1]}")
    return api


def part_of(call: Call, attribute: str, what: str) -> Any:
    """What a request names of an API: ``models``, by its name in the path."""
    return named(getattr(api_of(call), attribute, None), parts_of(call)[3], what)


def asked(call: Call, name: str) -> str | None:
    """A parameter of the query."""
    found: str | None = (call.response.querystring or {}).get(name, [None])[0]
    return found


def changed(answer: Any, change: Callable[[dict[str, Any]], dict[str, Any]]) -> Any:
    """An answer of moto's, with `change` made to what it shows, or to each of its items."""
    status, headers, body = answer if isinstance(answer, tuple) else (200, {}, answer)
    if status >= 300:
        return answer
    said = json.loads(body)
    said = {"item": [change(each) for each in said["item"]]} if "item" in said else change(said)
    return status, headers, json.dumps(said)


# --- deployments --------------------------------------------------------------------------------------


@state
@dataclass
class Snapshot:
    """An API as it was when a deployment was made of it.

    Attributes
    ----------
    resources : dict
        Path to the resource, as GetResources shows it, methods and integrations included.
    gateway_responses : dict
        Type to the answer that API Gateway gives by itself.
    binary_media_types : list of str
        Bodies of these types travel as base64.
    models, validators : dict
        Name to JSON schema; id to what a request validator looks at.
    """

    resources: dict[str, dict[str, Any]] = field(default_factory=dict)
    gateway_responses: dict[str, dict[str, Any]] = field(default_factory=dict)
    binary_media_types: list[str] = field(default_factory=list)
    models: dict[str, Any] = field(default_factory=dict)
    validators: dict[str, dict[str, Any]] = field(default_factory=dict)


deployments = rule(
    "deployments",
    """A deployment keeps the API as it is now: what changes later is not live until the next one. A stage
    needs a deployment that is there: BadRequestException. Deploying to a stage that stands keeps its
    settings. A deployment that a stage serves cannot be deleted: BadRequestException.

    moto remembers nothing of the API, makes stages of nothing, forgets a stage's limits with each deployment,
    and looks at the stage that a deployment was made for, whatever it serves now. Source: aws-facts (a), (g);
    API Gateway developer guide, "Deploy REST APIs".""",
)


@deployments.around("apigateway:CreateDeployment")
def _keep(call: Call, proceed: Proceed) -> Any:
    api, name = api_of(call), call.get("stageName")
    standing = api.stages.get(name) if api is not None else None
    answer = proceed()
    api = backend_of(call).apis[parts_of(call)[1]]
    deployment = api.deployments[json.loads(answer[2])["id"]]
    if standing is not None:
        standing.deployment_id = deployment.id
        standing.variables |= call.get("variables") or {}
        api.stages[name] = standing
    kept = memory(deployment, Snapshot)
    resources = [resource_shown(each, details=True) for each in api.resources.values()]
    kept.resources = {each["path"]: each for each in resources}
    kept.gateway_responses = {kind: each.to_json() for kind, each in api.gateway_responses.items()}
    kept.binary_media_types = list(api.binaryMediaTypes)
    kept.models = {each.name: json.loads(each.schema or "{}") for each in api.models.values()}
    kept.validators = {each.id: validator_shown(each) for each in api.request_validators.values()}
    return answer


@deployments.patch(RestAPI, "update_integration_mocks")
def _no_mocks(original: Any, api: RestAPI, stage_name: str) -> None:
    """moto would keep a fake of every method for ever; `execute_api` serves them for real."""


@deployments.around("apigateway:DeleteDeployment")
def _still_served(call: Call, proceed: Proceed) -> Any:
    api, deployment_id = api_of(call), parts_of(call)[3]
    if api is None:
        return proceed()
    named(api.deployments, deployment_id, "Deployment identifier")
    if any(stage.deployment_id == deployment_id for stage in api.stages.values()):
        raise bad("Active stages pointing to this deployment must be moved or deleted")
    del api.deployments[deployment_id]
    return 202, {"status": 202}, ""


@operation("apigateway:UpdateDeployment")
def deployment_descriptions(call: Call) -> dict[str, Any]:
    """UpdateDeployment changes the description, and nothing else. moto has no such operation.
    Source: aws-facts (k).
    """
    deployment = part_of(call, "deployments", "Deployment identifier")
    for step in patches.steps_of(call):
        if step.path != "/description":
            raise patches.bad_path(step.path)
        patches.one_of(step.op, "replace")
        deployment.description = step.value
    shown = {"id": deployment.id, "createdDate": deployment.created_date}
    return shown | ({"description": deployment.description} if deployment.description else {})


@deployments.before("apigateway:CreateStage", "apigateway:UpdateStage")
def _stage_of_something(call: Call) -> None:
    api = api_of(call)
    if api is None:
        return
    wanted = [call.get("deploymentId")] if call.action == "CreateStage" else []
    wanted += [step.value for step in patches.steps_of(call) if step.path == "/deploymentId"]
    if any(each not in api.deployments for each in wanted):
        raise bad("Deployment id does not exist")


def snapshot(api: RestAPI, deployment_id: str) -> Snapshot | None:
    """What a deployment serves; None where it is gone."""
    deployment = api.deployments.get(deployment_id)
    return None if deployment is None else memory(deployment, Snapshot)


def find(api_id: str) -> RestAPI | None:
    """An API by its id, which is the only one of its kind in the world. The caller holds the lock."""
    for regions in list(apigateway_backends.values()):
        for backend in list(regions.values()):
            if api_id in backend.apis:
                return backend.apis[api_id]
    return None


@before("apigateway:CreateDeployment")
def deployments_need_integrations(call: Call) -> None:
    """A method without an integration: BadRequestException "No integration defined for method".

    moto is content with one integration, and says NotFoundException without any. Source: aws-facts (j).
    """
    api = api_of(call)
    resources = [] if api is None else list(api.resources.values())
    methods = [method for each in resources for method in each.resource_methods.values()]
    if methods and not all(method.method_integration for method in methods):
        raise bad("No integration defined for method")


# --- an API and its parts -----------------------------------------------------------------------------


@before(
    *("apigateway:DeleteRestApi", "apigateway:GetRestApi", "apigateway:UpdateRestApi"),
    *("apigateway:PutRestApi", "apigateway:GetGatewayResponse", "apigateway:GetGatewayResponses"),
    *("apigateway:DeleteGatewayResponse", "apigateway:PutGatewayResponse"),
)
def apis_that_are_there(call: Call) -> None:
    """An API that is not there: NotFoundException 404 "Invalid API identifier specified", with the account.
    moto falls over its own KeyError, or says it otherwise. Source: aws-facts (a), (j), (k).
    """
    if len(parts_of(call)) > 1:
        there(call)


@before("apigateway:CreateRestApi")
def apis_can_be_made(call: Call) -> None:
    """An empty description, no or two types of endpoint, a private API for IPv4 alone, a compression size
    that is no number: BadRequestException. moto takes them. Source: aws-facts (k).
    """
    if call.get("description") == "":
        raise bad("Description cannot be an empty string")
    where = call.get("endpointConfiguration") or {}
    if where.get("types") == []:
        raise bad("REGIONAL Configuration and EDGE Configuration cannot be both DISABLED.")
    if len(where.get("types") or []) > 1:
        raise bad("Cannot create an api with multiple Endpoint Types.")
    if where.get("ipAddressType") == "ipv4" and "PRIVATE" in where.get("types", []):
        raise bad("Only dualstack ipAddressType is supported for Private APIs.")
    size = call.get("minimumCompressionSize")
    if size is not None and not (isinstance(size, int) and 0 <= size <= patches.COMPRESSION_BYTES):
        why = f"must be between 0 and {patches.COMPRESSION_BYTES}"
        raise bad(f"Invalid minimum compression size, {why}")


@around("apigateway:CreateRestApi")
def binary_media_types(call: Call, proceed: Proceed) -> Any:
    """`binaryMediaTypes` and `version` of CreateRestApi count. moto drops both.

    Source: API Gateway API reference, CreateRestApi.
    """
    status, headers, body = proceed()
    shown = json.loads(body)
    api = backend_of(call).apis.get(shown.get("id", ""))
    if api is None:
        return status, headers, body
    api.binaryMediaTypes = list(call.get("binaryMediaTypes") or [])
    api.version = call.get("version") or api.version
    return status, headers, json.dumps(api.to_dict())


@before("apigateway:CreateResource")
def one_of_each_name(call: Call) -> None:
    """A second resource of the same name: ConflictException 409. moto makes it.

    Source: aws-facts (c), (j).
    """
    api = api_of(call)
    if api is None:
        return
    parent, name = parts_of(call)[-1], call.get("pathPart")
    if any(each.parent_id == parent and each.path_part == name for each in api.resources.values()):
        raise conflict(f"Another resource with the same parent already has this name: {name}")


rest_api_patches = rule(
    "rest_api_patches",
    """UpdateRestApi and UpdateStage change what AWS says they change; `/binaryMediaTypes/image~1png` is the
    type itself; an unknown path or operation: BadRequestException, and nothing is changed. moto keeps an
    empty type, takes any word for true, and passes over what it does not know. Source: aws-facts (k).""",
)
resource_trees = rule(
    "resource_trees",
    """DeleteResource takes everything below along; the root stays. A child of a greedy variable, a second
    variable beside one, a parent that is not there, and a deletion of nothing are refused. moto leaves the
    children behind, and no resource of the API can be listed any more. Source: aws-facts (k).""",
)


@resource_trees.around("apigateway:DeleteResource")
def _with_all_below(call: Call, proceed: Proceed) -> Any:
    api, resource_id = api_of(call), parts_of(call)[3]
    if api is None:
        return proceed()
    gone = named(api.resources, resource_id, "Resource identifier")
    if gone.parent_id is None:
        raise bad("Root resource cannot be deleted.")
    gone.get_path()  # before its parents are gone: moto's answer has it
    below = {resource_id}
    while more := {each.id for each in api.resources.values() if each.parent_id in below} - below:
        below |= more
    for each in below - {resource_id}:
        del api.resources[each]
    return proceed()


@resource_trees.before("apigateway:CreateResource")
def _may_grow(call: Call) -> None:
    api, name = api_of(call), str(call.get("pathPart"))
    if api is None:
        return
    parent = named(api.resources, parts_of(call)[-1], "Resource identifier")
    if parent.path_part.endswith("+}"):
        raise bad(f"Cannot create a child of a resource with a greedy path variable: {parent.path_part}")
    siblings = [each.path_part for each in api.resources.values() if each.parent_id == parent.id]
    variable = next((each for each in siblings if each.startswith("{") and each != name), None)
    if name.startswith("{") and variable is not None:
        raise bad(
            f"A sibling ({variable}) of this resource already has a variable path part -- only one is allowed"
        )


@rest_api_patches.around("apigateway:UpdateRestApi")
def _patch(call: Call, proceed: Proceed) -> Any:
    api = there(call)
    patches.apply(api, patches.steps_of(call))
    return json.dumps(api.to_dict())


@rest_api_patches.before("apigateway:UpdateStage")
def _look_at_stage(call: Call) -> None:
    patches.look_at_stage(patches.steps_of(call))


# --- OpenAPI documents --------------------------------------------------------------------------------


openapi_documents = rule(
    "openapi_documents",
    """PutRestApi and ImportRestApi take resources, methods, API keys, authorizers, validators, models,
    parameters, answers, integrations, gateway responses and binary media types from an OpenAPI 3 or Swagger 2
    document, with its base path or without; `merge` keeps what the document does not name; the document's
    title becomes the API's name. A document that cannot be: BadRequestException. What else it asks for is a
    501 that names it.

    moto makes resources twice when it merges, loses the root's id when it overwrites, wants a URI of a
    `mock`, falls over `parameters` beside the methods, and drops security, models, gateway responses and
    headers. Source: API Gateway developer guide, "Use API Gateway extensions to OpenAPI".""",
)


def _document(call: Call) -> dict[str, Any]:
    """The document of a request, in OpenAPI 3, its base path in its paths if that is asked for."""
    said = {name.lower(): values[0] for name, values in (call.response.querystring or {}).items()}
    how = said.get("basepath", "ignore").lower()
    if how not in ("ignore", "prepend", "split"):
        raise bad('Enumeration value of basepath must be "ignore", "prepend" or "split"')
    if "endpointconfigurationtypes" in said:
        raise not_here(
            "endpointConfigurationTypes in an import: put the document into an API that you have made"
        )
    document = openapi.of_today(openapi.read(call.response.body) or {})
    return openapi.with_base(document, how)


@openapi_documents.around("apigateway:PutRestApi")
def _put(call: Call, proceed: Proceed) -> Any:
    document = _document(call)
    mode, api = call.get("mode", "merge"), there(call)
    if mode not in ("merge", "overwrite"):
        raise bad('Enumeration value of OpenAPI import mode must be "overwrite" or "merge"')
    return json.dumps(_fill(api, document, mode))


@openapi_documents.around("apigateway:ImportRestApi")
def _import(call: Call, proceed: Proceed) -> Any:
    document = _document(call)
    _look_at_document(document)
    info = document["info"]
    api = backend_of(call).create_rest_api(name=info["title"], description=info.get("description", ""))
    return 200, {}, json.dumps(_fill(api, document, "merge"))


def _fill(api: RestAPI, api_doc: dict[str, Any], mode: str) -> dict[str, Any]:
    """Make of an API what a document says, and show it; what was left out of it is in the warnings."""
    _look_at_document(api_doc)
    known = {each.get_path(): each.id for each in api.resources.values()}
    if mode == "overwrite":
        root = api.resources[api.root_resource_id]
        root.resource_methods = {}
        api.resources = {root.id: root}
        api.gateway_responses, api.binaryMediaTypes, api.models = {}, [], {}
        api.authorizers, api.request_validators = {}, {}
    api.name = api_doc["info"]["title"]
    api.description = api_doc["info"].get("description", api.description)
    version = api_doc["info"].get("version")
    api.version = api.version if version is None else str(version)
    types = api_doc.get("x-amazon-apigateway-binary-media-types") or []
    api.binaryMediaTypes = list(dict.fromkeys([*api.binaryMediaTypes, *types]))
    api.api_key_source = api_doc.get("x-amazon-apigateway-api-key-source", api.api_key_source)
    openapi.put_models(api, api_doc)
    parts = Parts(api_doc, openapi.put_authorizers(api, api_doc), _put_validators(api, api_doc))
    for path, described in api_doc["paths"].items():
        resource = _resource(api, path, known)
        for name in openapi.METHODS:
            if name in described:
                _describe(api, resource, _verb(name), described[name], described.get("parameters", []), parts)
    for kind, answer in api_doc.get("x-amazon-apigateway-gateway-responses", {}).items():
        status = answer.get("statusCode")
        api.put_gateway_response(
            kind,
            status if status is None else str(status),  # type: ignore[arg-type]
            answer.get("responseParameters", {}),
            answer.get("responseTemplates", {}),
        )
    return api.to_dict() | ({"warnings": parts.warnings} if parts.warnings else {})


@dataclass
class Parts:
    """What the methods of a document share: authorizers and validators by name, and what was left out."""

    document: dict[str, Any]
    authorizers: dict[str, str]
    validators: dict[str, str]
    warnings: list[str] = field(default_factory=list)


def _put_validators(api: RestAPI, api_doc: dict[str, Any]) -> dict[str, str]:
    """Make the request validators of a document; name to id."""
    ids = {each.name: each.id for each in api.request_validators.values()}
    for name, said in (api_doc.get("x-amazon-apigateway-request-validators") or {}).items():
        if name in ids:
            del api.request_validators[ids[name]]
        body, parameters = bool(said.get("validateRequestBody")), bool(said.get("validateRequestParameters"))
        ids[name] = api.create_request_validator(name, body, parameters).id
    return ids


def _look_at_document(document: dict[str, Any]) -> None:
    """Refuse a document of which no API can be made, or another one than it says."""
    problems = list(_problems(document))
    if problems:
        raise bad(f"Errors found during import:\n\t{'; '.join(problems)}")
    if what := openapi.missing(document):
        raise not_here(what)


def _verb(name: str) -> str:
    return "ANY" if name.startswith("x-") else name.upper()


def _problems(document: dict[str, Any]) -> Iterator[str]:
    """What keeps an API from being made of this document."""
    if not (document.get("info") or {}).get("title"):
        yield "Unable to create API: the document has no title"
    paths = document.get("paths")
    if not isinstance(paths, dict):
        yield "Unable to create API: the document has no paths"
        return
    for path, described in paths.items():
        for part in path.strip("/").split("/"):
            if part and not re.fullmatch(r"\{[\w.\-]+\+?\}|[\w.\-:]+", part):
                yield (
                    f"Unable to create resource at path '{path}': Resource's path part only allow "
                    "a-zA-Z0-9._-: or a valid greedy path variable and curly braces at the beginning and end."
                )
        for name in openapi.METHODS:
            integration = (described.get(name) or {}).get("x-amazon-apigateway-integration")
            if integration is not None:
                yield from _integration_problems(f"{_verb(name)} on resource '{path}'", integration)


def _integration_problems(where: str, integration: dict[str, Any]) -> Iterator[str]:
    kind = str(integration.get("type", "")).upper()
    begin = f"Unable to put integration on '{where}'"
    if kind not in ("AWS", "AWS_PROXY", "HTTP", "HTTP_PROXY", "MOCK"):
        yield f"{begin}: Invalid integration type {integration.get('type')}"
    if kind != "MOCK" and not integration.get("uri"):
        yield f"{begin}: Invalid ARN specified in the request"
    if kind != "MOCK" and not integration.get("httpMethod"):
        yield f"{begin}: Enumeration value for HttpMethod must be non-empty"
    least, most = TIMEOUT_MS
    if not is_timeout(integration.get("timeoutInMillis", most)):
        yield f"{begin}: Timeout should be between {least} ms and {most} ms"


def _resource(api: RestAPI, path: str, known: dict[str, str]) -> Resource:
    """The resource of a path, made with its parents where it is not there; a path keeps its id."""
    resource = api.resources[api.root_resource_id]
    for part in path.strip("/").split("/"):
        if part:
            children = [each for each in api.resources.values() if each.parent_id == resource.id]
            found = next((each for each in children if each.path_part == part), None)
            resource = found or api.add_child(part, resource.id)
            before = known.get(resource.get_path())
            if before is not None and before not in api.resources:
                del api.resources[resource.id]
                resource.id = before
                api.resources[before] = resource
    return resource


_PLACES = {"path": "path", "query": "querystring", "header": "header"}


def _describe(
    api: RestAPI,
    resource: Resource,
    verb: str,
    described: dict[str, Any],
    shared: list[dict[str, Any]],
    parts: Parts,
) -> None:
    """A method as a document has it."""
    parameters = {
        f"method.request.{_PLACES[each['in']]}.{each['name']}": bool(each.get("required"))
        for each in [*shared, *(described.get("parameters") or [])]
        if each.get("in") in _PLACES
    }
    for variable in re.findall(r"\{([^}+]+)\+?\}", resource.get_path()):
        parameters.setdefault(f"method.request.path.{variable}", True)
    asked = openapi.schemes(parts.document, described)
    guard = next((name for name in asked if name in parts.authorizers), None)
    authorizer = api.authorizers[parts.authorizers[guard]] if guard is not None else None
    kind = "NONE" if authorizer is None else "CUSTOM"
    if authorizer is not None and authorizer.type == "COGNITO_USER_POOLS":
        kind = "COGNITO_USER_POOLS"
    name = "x-amazon-apigateway-request-validator"
    validator = described.get(name) or parts.document.get(name)
    bodies = openapi.models(api, described.get("requestBody") or {})
    method = resource.add_method(
        verb,
        kind,
        any(openapi.is_key(openapi.scheme_of(parts.document, each)) for each in asked),
        request_parameters=parameters or None,
        request_models=bodies or None,
        operation_name=described.get("operationId"),
        authorizer_id=authorizer.id if authorizer is not None else None,
        authorization_scopes=(asked.get(guard or "") or None) if authorizer is not None else None,
        request_validator_id=parts.validators.get(str(validator)),
    )
    for status, answer in (described.get("responses") or {}).items():
        declared = (answer or {}).get("headers") or {}
        headers: dict[str, Any] = {f"method.response.header.{header}": False for header in declared}
        made = openapi.models(api, answer or {})
        method.create_response(str(status), made or None, headers or None)  # type: ignore[arg-type]
    integration = described.get("x-amazon-apigateway-integration")
    if integration is not None:
        where = f"of resource '{resource.get_path()}' and method '{verb}'"
        method.method_integration = _integration(integration, where, parts.warnings)
        method.method_integration.cache_namespace = integration.get("cacheNamespace") or resource.id


def _integration(described: dict[str, Any], where: str, warnings: list[str]) -> Integration:
    """An integration as a document has it."""
    kind = described["type"].upper()
    parameters = {}
    for name, value in (described.get("requestParameters") or {}).items():
        if isinstance(value, str):
            parameters[name] = value
        else:
            said = str(value).lower() if isinstance(value, bool) else value
            warnings.append(
                "Invalid format for 'requestParameters'. Expected type string for property "
                f"'{name}' {where} but got '{said}'"
            )
    integration = Integration(
        kind,
        described.get("uri") if kind != "MOCK" else None,  # type: ignore[arg-type]
        str(described.get("httpMethod") or "").upper(),
        request_templates=described.get("requestTemplates"),
        passthrough_behavior=described.get("passthroughBehavior", "WHEN_NO_MATCH").upper(),
        timeout_in_millis=described.get("timeoutInMillis", TIMEOUT_MS[1]),
        request_parameters=parameters or None,
        content_handling=described.get("contentHandling"),
        credentials=described.get("credentials"),
        connection_type=described.get("connectionType"),
        cache_key_parameters=described.get("cacheKeyParameters"),
    )
    vars(integration)["connection_id"] = described.get("connectionId")
    for pattern, answer in (described.get("responses") or {}).items():
        integration.create_integration_response(
            str(answer.get("statusCode", "200")),
            None if pattern == "default" else pattern,  # type: ignore[arg-type]
            dict(answer.get("responseTemplates") or {}),
            dict(answer.get("responseParameters") or {}),
            answer.get("contentHandling"),
        )
    return integration


# --- how often ----------------------------------------------------------------------------------------


RATES = {
    # Source: aws-facts (f).
    "DeleteRestApi": Rate(30.0, 1),
    "CreateDeployment": Rate(5.0, 1),
    "CreateResource": Rate(0.2, 5),
    "DeleteResource": Rate(0.2, 5),
    "PutRestApi": Rate(1.0, 1),
    "GetResources": Rate(0.4, 5),
    "UpdateAccount": Rate(20.0, 1),
}
EVERYTHING = Rate(0.1, 40)


@before("apigateway:*")
def control_plane_rates(call: Call) -> None:
    """More calls than an account may make: TooManyRequestsException 429; DeleteRestApi one per 30 s,
    CreateRestApi one per 3 s (edge: 30 s), 10 per second in all. moto answers any number.
    Source: aws-facts (f).
    """
    rates = {"all": EVERYTHING}
    if call.action in ("CreateRestApi", "ImportRestApi"):
        kinds = (call.get("endpointConfiguration") or {}).get("types") or ["EDGE"]
        rates["CreateRestApi"] = Rate(30.0 if "EDGE" in kinds else 3.0, 1)
    elif call.action in RATES:
        rates[call.action] = RATES[call.action]
    rates = {name: Rate(spaced(rate.each_s), rate.burst) for name, rate in rates.items()}
    if not admit(backend_of(call), rates):
        raise Refused("TooManyRequestsException", "Too Many Requests", 429)
