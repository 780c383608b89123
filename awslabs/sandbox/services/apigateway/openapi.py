"""What an OpenAPI document says beyond its paths: who is let in, its models, and what is not here.

A Swagger 2 document is read as the OpenAPI 3 document that says the same. What would change how the API
answers, and is not served by the practice cloud, is named with a 501 when the document comes. moto drops it
without a word, so that an API which should be closed is open.
Source: API Gateway developer guide, "Use API Gateway extensions to OpenAPI"; aws-facts (k).
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import pickle
import urllib.parse
from collections.abc import Iterator
from typing import Any

import yaml
from moto.apigateway.models import RestAPI

EXTENSION = "x-amazon-apigateway-"
METHODS = ("get", "put", "post", "delete", "options", "head", "patch", f"{EXTENSION}any-method")
_KNOWN = {
    "document": {
        "api-key-source",
        "binary-media-types",
        "documentation",
        "gateway-responses",
        "importexport-version",
        "request-validator",
        "request-validators",
    },
    "path": {"any-method"},
    "method": {"integration", "request-validator", "auth"},
}
_INTEGRATION = {
    *("cacheKeyParameters", "cacheNamespace", "connectionId", "connectionType", "contentHandling"),
    *("credentials", "httpMethod", "passthroughBehavior", "payloadFormatVersion", "requestParameters"),
    *("requestTemplates", "responses", "timeoutInMillis", "type", "uri"),
}

_YAML = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # libyaml: ten times as quick


def read(text: str | bytes) -> dict[str, Any] | None:
    """An OpenAPI document, or None where a text is none."""
    document: dict[str, Any] | None = pickle.loads(_read(text))  # its own: who asks may change it
    return document


@functools.lru_cache(8)  # one call asks four times
def _read(text: str | bytes) -> bytes:
    with contextlib.suppress(ValueError, yaml.YAMLError, RecursionError):  # the last: nested too deeply
        try:
            document = json.loads(text or "null")
        except ValueError:
            document = yaml.load(text, Loader=_YAML)
        if isinstance(document, dict) and {"openapi", "swagger"} & document.keys():
            return pickle.dumps(document)
    return pickle.dumps(None)


# --- Swagger 2 ----------------------------------------------------------------------------------------


def of_today(document: dict[str, Any]) -> dict[str, Any]:
    """A document as OpenAPI 3 has it."""
    if "openapi" in document:
        return document
    text = json.dumps(document, default=str).replace('"#/definitions/', '"#/components/schemas/')
    made: dict[str, Any] = json.loads(text)
    made["components"] = {
        "schemas": made.pop("definitions", None) or {},
        "securitySchemes": made.pop("securityDefinitions", None) or {},
    }
    made["openapi"] = "3.0.1"
    for described in (made.get("paths") or {}).values():
        for name in METHODS:
            if isinstance(described.get(name), dict):
                _method_of_today(made, described[name])
    return made


def _method_of_today(document: dict[str, Any], method: dict[str, Any]) -> None:
    takes = method.get("consumes") or document.get("consumes") or ["application/json"]
    gives = method.get("produces") or document.get("produces") or ["application/json"]
    parameters = method.get("parameters") or []
    for each in parameters:
        if each.get("in") == "body" and each.get("schema"):
            method["requestBody"] = {"content": {kind: {"schema": each["schema"]} for kind in takes}}
    method["parameters"] = [each for each in parameters if each.get("in") != "body"]
    for answer in (method.get("responses") or {}).values():
        if isinstance(answer, dict) and answer.get("schema"):
            answer["content"] = {kind: {"schema": answer["schema"]} for kind in gives}


# --- the path before all paths ------------------------------------------------------------------------


def base_path(document: dict[str, Any]) -> str:
    """The path before all others: Swagger's `basePath`, the server's variable of this name, or its path."""
    server = (document.get("servers") or [{}])[0]
    variable = (server.get("variables") or {}).get("basePath") or {}
    found = document.get("basePath") or variable.get("default")
    return str(found or urllib.parse.urlsplit(server.get("url") or "").path).strip("/")


def with_base(document: dict[str, Any], how: str) -> dict[str, Any]:
    """A document whose paths begin with its base path (`prepend`), or all but its first part (`split`)."""
    parts = [part for part in base_path(document).split("/") if part]
    before = "".join(f"/{part}" for part in (parts[1:] if how == "split" else parts))
    if how == "ignore" or not before or not isinstance(document.get("paths"), dict):
        return document
    return document | {
        "paths": {f"{before}{path}".rstrip("/") or "/": each for path, each in document["paths"].items()}
    }


# --- what is not here ---------------------------------------------------------------------------------


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
            where = f"{name.upper()} {path}"
            for scheme in schemes(document, method):
                said = scheme_of(document, scheme)
                if not is_key(said) and not is_authorizer(said):
                    yield f"security scheme {scheme!r} ({where}) without an authorizer or x-api-key"
            integration = method.get(f"{EXTENSION}integration") or {}
            for key in sorted(integration.keys() - _INTEGRATION):
                if (key, integration[key]) != ("responseTransferMode", "BUFFERED"):
                    yield f"{key} of an integration ({where})"


def _extensions(where: str, described: dict[str, Any]) -> Iterator[str]:
    known = {EXTENSION + name for name in _KNOWN[where]}
    return (name for name in described if name.startswith(EXTENSION) and name not in known)


# --- who is let in ------------------------------------------------------------------------------------


def schemes(document: dict[str, Any], method: dict[str, Any]) -> dict[str, list[str]]:
    """The security schemes that a method asks for, with scopes: its own or, where it says none, all's."""
    asked = method.get("security", document.get("security")) or []
    return {name: scopes or [] for each in asked for name, scopes in each.items()}


def scheme_of(document: dict[str, Any], name: str) -> dict[str, Any]:
    return (document.get("components") or {}).get("securitySchemes", {}).get(name) or {}


def is_key(scheme: dict[str, Any]) -> bool:
    """Whether this is API Gateway's own API key, and not a header that an authorizer looks at."""
    mine = (scheme.get("type"), scheme.get("in"), str(scheme.get("name")).lower())
    extended = any(name.startswith(EXTENSION) for name in scheme)
    return mine == ("apiKey", "header", "x-api-key") and not extended


def is_authorizer(scheme: dict[str, Any]) -> bool:
    return isinstance(scheme.get(f"{EXTENSION}authorizer"), dict)


def put_authorizers(api: RestAPI, document: dict[str, Any]) -> dict[str, str]:
    """Make an authorizer of each scheme that describes one; name to id."""
    ids = {}
    for name, scheme in ((document.get("components") or {}).get("securitySchemes") or {}).items():
        if not is_authorizer(scheme):
            continue
        said = scheme[f"{EXTENSION}authorizer"]
        kind = str(said.get("type", "")).upper()
        known = {each.name: each.id for each in api.authorizers.values()}
        if name in known:
            del api.authorizers[str(known[name])]
        header = scheme.get("name")
        source = said.get("identitySource")
        if not source and header and scheme.get("in") == "header" and kind != "REQUEST":
            source = f"method.request.header.{header}"
        made = api.create_authorizer(
            known.get(name) or hashlib.sha256(f"{api.id} {name}".encode()).hexdigest()[:6],
            name,
            kind,
            said.get("providerARNs"),
            scheme.get(f"{EXTENSION}authtype")
            or ("custom" if kind in ("TOKEN", "REQUEST") else kind.lower()),
            said.get("authorizerUri"),
            said.get("authorizerCredentials"),
            source,
            said.get("identityValidationExpression"),
            said.get("authorizerResultTtlInSeconds"),
        )
        made.identity_validation_expression = said.get("identityValidationExpression")
        ids[name] = str(made.id)
    return ids


# --- models -------------------------------------------------------------------------------------------


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
