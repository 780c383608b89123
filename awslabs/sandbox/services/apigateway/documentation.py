"""Documentation of an API: its parts, each about a place in the API, and versions, which a stage can name.

moto has none of it, nor addresses for it.
Source: API Gateway API reference, DocumentationPart, DocumentationVersion; aws-facts (k).
"""

from __future__ import annotations

import json
import secrets
import string
from dataclasses import dataclass, field
from typing import Any

from moto.apigateway import urls
from moto.apigateway.models import RestAPI
from moto.apigateway.responses import APIGatewayResponse

from awslabs.sandbox.core.engine import Call, Proceed, clock, memory, rule, state
from awslabs.sandbox.services.apigateway import openapi
from awslabs.sandbox.services.apigateway.patches import bad, replaced
from awslabs.sandbox.services.apigateway.rest_apis import (
    api_of,
    asked,
    backend_of,
    conflict,
    named,
    parts_of,
    there,
)

documentation = rule(
    "documentation",
    """Parts of an API's documentation can be made, read, changed, deleted and imported; versions can be made,
    described and deleted. moto has none. Source: aws-facts (k).""",
)


@state
@dataclass
class Documentation:
    """What is written of an API.

    Attributes
    ----------
    parts : dict
        Id to the part, as it is shown.
    versions : dict
        Name to the version, as it is shown.
    """

    parts: dict[str, dict[str, Any]] = field(default_factory=dict)
    versions: dict[str, dict[str, Any]] = field(default_factory=dict)


def of(call: Call) -> Documentation:
    """The documentation of the API that a request names."""
    return memory(there(call), Documentation)


@documentation.operation("apigateway:GetDocumentationPart")
def _part(call: Call) -> dict[str, Any]:
    api = api_of(call)
    parts = memory(api, Documentation).parts if api else None
    return named(parts, parts_of(call)[-1], "Documentation part identifier")


def add(api: RestAPI, location: dict[str, Any], properties: str) -> dict[str, Any]:
    """Write a part; one about the same place is there once."""
    parts = memory(api, Documentation).parts
    if any(each["location"] == location for each in parts.values()):
        said = ", ".join(f"{name} '{value}'" for name, value in sorted(location.items()))
        raise conflict(f"Documentation part already exists for the specified location: {said}")
    part_id = "".join(secrets.choice(string.ascii_lowercase + string.digits) for _ in range(6))
    parts[part_id] = {"id": part_id, "location": location, "properties": properties}
    return parts[part_id]


@documentation.around("apigateway:ImportRestApi", "apigateway:PutRestApi")
def _with_parts(call: Call, proceed: Proceed) -> Any:
    answer = proceed()
    body = answer[2] if isinstance(answer, tuple) else answer
    shown = json.loads(body or "{}")
    api = backend_of(call).apis.get(shown.get("id", ""))
    document = openapi.read(call.response.body)
    if api is not None and document is not None:
        if call.get("mode") == "overwrite":
            memory(api, Documentation).parts.clear()
        put_parts(api, document)
    return answer


@documentation.operation("apigateway:CreateDocumentationPart")
def _create_part(call: Call) -> dict[str, Any]:
    return add(there(call), dict(call.get("location") or {}), call.get("properties"))


@documentation.operation("apigateway:GetDocumentationParts")
def _get_parts(call: Call) -> dict[str, Any]:
    wanted = {name: value for name in ("type", "name", "path") if (value := asked(call, name)) is not None}
    return {"items": [each for each in of(call).parts.values() if wanted.items() <= each["location"].items()]}


@documentation.operation("apigateway:UpdateDocumentationPart")
def _update_part(call: Call) -> dict[str, Any]:
    part: dict[str, Any] = _part(call)
    for step in replaced(call, "/properties"):
        part["properties"] = step.value
    return part


@documentation.operation("apigateway:DeleteDocumentationPart")
def _delete_part(call: Call) -> dict[str, Any]:
    del of(call).parts[_part(call)["id"]]
    return {}


@documentation.operation("apigateway:ImportDocumentationParts")
def _import_parts(call: Call) -> dict[str, Any]:
    api = there(call)
    document = openapi.read(call.response.body)
    if document is None:
        raise bad("Unable to build importer with provided input.")
    if asked(call, "mode") == "overwrite":
        memory(api, Documentation).parts.clear()
    return {"ids": put_parts(api, document)}


def put_parts(api: RestAPI, document: dict[str, Any]) -> list[str]:
    """Write the parts that an OpenAPI document has; one about the same place takes its place."""
    ids = []
    written = (document.get("x-amazon-apigateway-documentation") or {}).get("documentationParts") or []
    for each in written:
        location, properties = dict(each["location"]), each.get("properties")
        if location.get("type") in ("METHOD", "RESPONSE") and "path" not in location:
            location["path"] = "/"
        text = properties if isinstance(properties, str) else json.dumps(properties)
        parts = memory(api, Documentation).parts
        for old in [name for name, part in parts.items() if part["location"] == location]:
            del parts[old]
        ids.append(add(api, location, text)["id"])
    return ids


# --- versions -----------------------------------------------------------------------------------------


@documentation.operation("apigateway:GetDocumentationVersion")
def _version(call: Call) -> dict[str, Any]:
    return named(of(call).versions, parts_of(call)[-1], "Documentation version")


@documentation.operation("apigateway:CreateDocumentationVersion")
def _create_version(call: Call) -> dict[str, Any]:
    versions, name = of(call).versions, str(call.get("documentationVersion") or "")
    if not name:
        raise bad("Documentation version must be non-empty")
    if name in versions:
        raise conflict("Documentation version already exists")
    versions[name] = {"version": name, "createdDate": int(clock.now())}
    if call.get("description"):
        versions[name]["description"] = call.get("description")
    return versions[name]


@documentation.operation("apigateway:GetDocumentationVersions")
def _get_versions(call: Call) -> dict[str, Any]:
    return {"items": list(of(call).versions.values())}


@documentation.operation("apigateway:UpdateDocumentationVersion")
def _update_version(call: Call) -> dict[str, Any]:
    version: dict[str, Any] = _version(call)
    for step in replaced(call, "/description"):
        version["description"] = step.value
    return version


@documentation.operation("apigateway:DeleteDocumentationVersion")
def _delete_version(call: Call) -> dict[str, Any]:
    del of(call).versions[_version(call)["version"]]
    return {}


_API = "{0}/restapis/(?P<function_id>[^/]+)"
_METHOD = f"{_API}/resources/(?P<resource_id>[^/]+)/methods/(?P<method_name>[^/]+)"
_PATHS = (
    f"{_API}/documentation/parts/?$",
    f"{_API}/documentation/parts/(?P<part_id>[^/]+)/?$",
    f"{_API}/documentation/versions/?$",
    f"{_API}/documentation/versions/(?P<version>[^/]+)/?$",
    f"{_METHOD}/responses/(?P<status_code>[^/]+)$",  # what is no number is refused, not unknown
    f"{_METHOD}/integration/responses/(?P<status_code>[^/]+)$",
)
documentation.puts(urls, "url_paths", urls.url_paths | dict.fromkeys(_PATHS, APIGatewayResponse.dispatch))
