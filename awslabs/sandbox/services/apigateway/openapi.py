"""What an OpenAPI document says beyond its paths: who is let in, its models, and what is not here.

What would change how the API answers, and is not served by the practice cloud, is named with a 501 when the
document comes. moto drops it without a word, so that an API which should be closed is open.
Source: API Gateway developer guide, "Use API Gateway extensions to OpenAPI"; aws-facts (k).
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Iterator
from typing import Any

import yaml
from moto.apigateway.models import RestAPI

from awslabs.sandbox.services.apigateway.patches import bad

EXTENSION = "x-amazon-apigateway-"
_KNOWN = {
    "document": {
        "api-key-source",
        "binary-media-types",
        "documentation",
        "gateway-responses",
        "importexport-version",
    },
    "path": {"any-method"},
    "method": {"integration"},
}
_INTEGRATION = {
    *(
        "cacheKeyParameters",
        "cacheNamespace",
        "connectionType",
        "contentHandling",
        "credentials",
        "httpMethod",
    ),
    *(
        "passthroughBehavior",
        "requestParameters",
        "requestTemplates",
        "responses",
        "timeoutInMillis",
        "type",
        "uri",
    ),
}


def look_at_text(text: str | bytes) -> None:
    """Refuse what is no OpenAPI document: neither JSON nor YAML, or of something else."""
    document: Any = None
    with contextlib.suppress(ValueError, yaml.YAMLError):
        try:
            document = json.loads(text or "null")
        except ValueError:
            document = yaml.safe_load(text)
    if not isinstance(document, dict) or not {"openapi", "swagger"} & document.keys():
        raise bad("Invalid OpenAPI input.")


def missing(document: dict[str, Any]) -> str:
    """The first thing in a document that the practice cloud does not serve; empty when there is none."""
    return next(_missing(document), "")


def _missing(document: dict[str, Any]) -> Iterator[str]:
    yield from _extensions("document", document)
    for path, described in document["paths"].items():
        yield from _extensions("path", described)
        for name, method in described.items():
            if not isinstance(method, dict) or name == "parameters":
                continue
            yield from _extensions("method", method)
            for scheme in _schemes(document, method):
                if not _is_key(_scheme(document, scheme)):
                    where = f"{name.upper()} {path}"
                    yield f"security scheme {scheme!r} ({where}); only an apiKey in the header x-api-key"
            integration = method.get(f"{EXTENSION}integration") or {}
            for key in sorted(integration.keys() - _INTEGRATION):
                if (key, integration[key]) != ("responseTransferMode", "BUFFERED"):
                    yield f"{key} of an integration ({name.upper()} {path})"


def _extensions(where: str, described: dict[str, Any]) -> Iterator[str]:
    known = {EXTENSION + name for name in _KNOWN[where]}
    return (name for name in described if name.startswith(EXTENSION) and name not in known)


def _schemes(document: dict[str, Any], method: dict[str, Any]) -> list[str]:
    """The security schemes that a method asks for: its own or, where it says nothing, the document's."""
    asked = method.get("security", document.get("security")) or []
    return [name for each in asked for name in each]


def _scheme(document: dict[str, Any], name: str) -> dict[str, Any]:
    return (document.get("components") or {}).get("securitySchemes", {}).get(name) or {}


def _is_key(scheme: dict[str, Any]) -> bool:
    """Whether this is API Gateway's own API key, and not a header that an authorizer looks at."""
    mine = (scheme.get("type"), scheme.get("in"), str(scheme.get("name")).lower())
    extended = any(name.startswith(EXTENSION) for name in scheme)
    return mine == ("apiKey", "header", "x-api-key") and not extended


def needs_key(document: dict[str, Any], method: dict[str, Any]) -> bool:
    """Whether a method's callers bring an API key."""
    return any(_is_key(_scheme(document, name)) for name in _schemes(document, method))


def put_models(api: RestAPI, document: dict[str, Any]) -> None:
    """Make a model of each schema in the document."""
    for name, schema in ((document.get("components") or {}).get("schemas") or {}).items():
        _put_model(api, name, schema)


def models(api: RestAPI, described: dict[str, Any]) -> dict[str, str]:
    """Media type to model, of a request body or an answer; a schema that has no name gets one."""
    found = {}
    for kind, content in (described.get("content") or {}).items():
        schema = (content or {}).get("schema")
        if schema is None:
            continue
        name = str(schema.get("$ref", "")).rpartition("/")[2]
        if not name:
            name = "MODEL" + hashlib.sha256(json.dumps(schema, sort_keys=True).encode()).hexdigest()[:6]
            _put_model(api, name, schema)
        found[kind] = name
    return found


def _put_model(api: RestAPI, name: str, schema: dict[str, Any]) -> None:
    """Keep a schema as a model, which refers to other models by their address."""
    address = f"https://apigateway.amazonaws.com/restapis/{api.id}/models/"
    text = json.dumps(schema, default=str).replace('"#/components/schemas/', f'"{address}')
    api.add_model(name, schema.get("description", ""), text, "application/json")
