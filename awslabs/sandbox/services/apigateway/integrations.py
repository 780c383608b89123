"""Integrations that are told what a template or a mapping makes of a call: MOCK, HTTP, HTTP_PROXY, AWS.

    what came --> mapped parameters, request template --> `Sent`
              --> the other side: nobody, a web server, a Lambda function --> `Reply`
              --> the integration response that fits --> mapped headers, response template --> the answer

Who asks the other side is `execute_api`. Of AWS's services, Lambda alone is asked.
Source: API Gateway developer guide, "Data mapping in REST APIs"; aws-facts (k).
"""

from __future__ import annotations

import base64
import dataclasses
import json
import re
import urllib.parse
from typing import Any

from werkzeug.datastructures import Headers

from awslabs.sandbox.core.answers import Answer
from awslabs.sandbox.services.apigateway import rest_apis, without_grammars
from awslabs.sandbox.services.apigateway.calls import (
    ApiCall,
    Own,
    broken,
    fits_any,
    header,
    unsupported,
)

# Headers that no mapping may set, and those that a web server's answer has under another name or not at all.
# Source: aws-facts (k).
_KEPT = {"content-length", "transfer-encoding", "x-amzn-trace-id", "x-amzn-apigateway-api-id"}
_KEPT_OF_AWS = _KEPT | {"authorization", "connection", "expect", "proxy-authenticate", "te"}
_NOT_SENT = {"expect", "proxy-authenticate", "te", "via"}
REMAPPED = {
    *("authorization", "connection", "content-length", "content-md5", "date", "expect", "host"),
    *("max-forwards", "proxy-authenticate", "server", "trailer", "upgrade", "user-agent"),
    "www-authenticate",
}
_NOT_RETURNED = {"transfer-encoding", "keep-alive"}
_OWN = {"host", "content-encoding", "x-forwarded-for", "x-forwarded-port", "x-forwarded-proto"}
_WITHOUT_BODY = {"GET", "HEAD", "OPTIONS"}


@dataclasses.dataclass(frozen=True)
class Sent:
    """What an integration is asked.

    Attributes
    ----------
    query : list of (str, str)
        Parameters behind those that `uri` has.
    """

    method: str
    uri: str
    query: list[tuple[str, str]]
    headers: dict[str, str]
    body: bytes


@dataclasses.dataclass(frozen=True)
class Reply:
    """What the other side said.

    Attributes
    ----------
    outcome : str
        What the patterns of the integration responses are held against: the status, or a function's error.
    """

    status: int
    headers: list[tuple[str, str]]
    body: bytes
    outcome: str


def context_of(asked: ApiCall) -> dict[str, Any]:
    """`$context` of a call's templates, with the overrides that they may write."""
    return asked.context | {
        "requestOverride": {"header": {}, "path": {}, "querystring": {}},
        "responseOverride": {"header": {}, "status": 0},
    }


# --- mapping expressions ------------------------------------------------------------------------------


def _document(body: bytes) -> Any:
    """A body as JSON; what does not begin as JSON does has nothing to find in it. Source: aws-facts (k)."""
    text = body.strip()
    return json.loads(text) if text[:1] in (b"{", b"[", b'"', b"'") else {}


def _in_body(body: bytes, path: str) -> str | None:
    from awslabs.sandbox.services.apigateway import templates

    document = _document(body)
    if not path:
        return body.decode("utf-8", "replace")
    found = templates.look(document, f"$.{path}")
    return found if found is None or isinstance(found, str) else json.dumps(found, separators=(",", ":"))


def _elsewhere(asked: ApiCall, context: dict[str, Any], source: str) -> str | None:
    """What a mapping says that is neither of the request nor of the answer."""
    if len(source) > 1 and source[0] == source[-1] == "'":
        return source[1:-1]
    where, _, rest = source.partition(".")
    if where == "stageVariables":
        return asked.variables.get(rest)
    if where == "context":
        found: Any = context
        for name in rest.split("."):
            found = found.get(name) if isinstance(found, dict) else None
        return found if isinstance(found, str) else None
    return None


def _of_request(asked: ApiCall, context: dict[str, Any], source: str) -> list[str]:
    """The values of a mapping expression of the integration request."""
    if not source.startswith("method.request."):
        found = _elsewhere(asked, context, source)
        return [] if found is None else [found]
    where, _, name = source.removeprefix("method.request.").partition(".")
    if where == "body":
        try:
            found = _in_body(asked.body or b"{}", name)
        except ValueError as problem:
            why = "Invalid JSON in request body"
            raise Own(400, "BAD_REQUEST_BODY", why, "BadRequestException") from problem
        return [] if found is None else [found]
    if where == "path":
        return [asked.parameters[name]] if name in asked.parameters else []
    values = (asked.query if "querystring" in where else asked.told_headers).get(name, [])
    if where == "multivalueheader":
        return [",".join(values)] if values else []
    return values if where == "multivaluequerystring" else values[-1:]


def mappings(asked: ApiCall, context: dict[str, Any]) -> dict[str, dict[str, list[str]]]:
    """What the integration's `requestParameters` put where; a header that none may set is a 500, even where
    nobody is told of it (AWS_PROXY).
    """
    places: dict[str, dict[str, list[str]]] = {"header": {}, "path": {}, "querystring": {}}
    for target, source in (asked.integration.get("requestParameters") or {}).items():
        where, _, name = target.removeprefix("integration.request.").partition(".")
        values = [value for value in _of_request(asked, context, source) if value]
        if values and where in places:
            places[where][name] = values
    forbidden = _KEPT_OF_AWS if asked.integration["type"] in ("AWS", "AWS_PROXY") else _KEPT
    if any(name.lower() in forbidden for name in places["header"]):
        raise broken()
    return places


# --- what is asked ------------------------------------------------------------------------------------


def _request_template(asked: ApiCall) -> str | None:
    """The template for the call's media type; None: its body passes through."""
    templates = asked.integration.get("requestTemplates") or {}
    kind = header(asked, "Content-Type").partition(";")[0].strip() or "application/json"
    template = templates.get(kind) or templates.get("$default")
    behavior = asked.integration.get("passthroughBehavior")
    if not template and (behavior == "NEVER" or (behavior == "WHEN_NO_TEMPLATES" and templates)):
        raise unsupported()
    return template or None


def _rendered(asked: ApiCall, template: str, body: bytes, context: dict[str, Any]) -> bytes:
    """What a template makes of a body; what it overrides is in `context` afterwards."""
    if "$" not in template and "#" not in template:
        return template.strip().encode()
    from awslabs.sandbox.services.apigateway import templates

    parameters = {
        "path": {name: urllib.parse.unquote(value) for name, value in asked.parameters.items()},
        "querystring": {name: values[-1] for name, values in asked.query.items()},
        "header": {name: values[-1] for name, values in asked.told_headers.items()},
    }
    try:
        given, held = templates.Input(body.decode(), parameters), templates.Map(context)
        made = templates.render(template.strip(), given, held, asked.variables).encode()
    except (UnicodeDecodeError, templates.Unmade) as problem:
        raise broken() from problem
    context.update(held)
    return made


def _converted(asked: ApiCall) -> bytes:
    """The call's body, binary or text as the integration wants it."""
    handling = asked.integration.get("contentHandling")
    binary = fits_any(header(asked, "Content-Type"), asked.binary)
    if binary and handling == "CONVERT_TO_TEXT":
        return base64.b64encode(asked.body)
    if not binary and handling == "CONVERT_TO_BINARY":
        return decoded(asked.body)
    return asked.body


def decoded(body: bytes) -> bytes:
    """What a body in base64 says."""
    try:
        return base64.b64decode(body, validate=True)
    except ValueError as problem:
        raise broken() from problem


def sent(asked: ApiCall, context: dict[str, Any]) -> Sent:
    """What the integration of a call is asked."""
    kind = asked.integration["type"]
    mapped = mappings(asked, context)
    headers, query = {}, []
    if kind == "HTTP_PROXY":
        body = asked.body
        headers = {name: ",".join(values) for name, values in asked.told_headers.items()}
        headers = {name: value for name, value in headers.items() if name.lower() not in _OWN}
        query = [(name, value) for name, values in asked.query.items() for value in values]
    else:
        body, template = _converted(asked), _request_template(asked)
        if template is not None:
            body = _rendered(asked, template, body, context)
            for place, values in mapped.items():
                found = context["requestOverride"].get(place)
                for name, value in found.items() if isinstance(found, dict) else ():
                    values[name] = value if isinstance(value, list) else [str(value)]
    query += [(name, value) for name, values in mapped["querystring"].items() for value in values]
    headers |= {name: values[-1] for name, values in mapped["header"].items()}
    headers = {name: value for name, value in headers.items() if name.lower() not in _NOT_SENT}
    default = {
        "Accept": "application/json",
        "Connection": "keep-alive",
        "User-Agent": f"AmazonAPIGateway_{asked.api_id}",
    }
    if asked.method not in _WITHOUT_BODY and header(asked, "Content-Type"):
        default["Content-Type"] = header(asked, "Content-Type")
    named = {name.lower() for name in headers}
    headers |= {name: value for name, value in default.items() if name.lower() not in named}
    headers["X-Amzn-Trace-Id"] = asked.trace
    if kind != "AWS":
        headers["X-Amzn-Apigateway-Api-Id"] = asked.api_id
    method = asked.integration.get("httpMethod") or "ANY"
    uri = _address(asked, {name: values[-1] for name, values in mapped["path"].items()})
    return Sent(asked.method if method == "ANY" else method, uri, query, headers, body)


def _address(asked: ApiCall, path: dict[str, str]) -> str:
    """The integration's URI, with what the mapping and the stage say for the names in it."""
    uri = with_variables(asked.integration.get("uri") or "", asked.variables)
    greedy = {name: value for name, value in path.items() if f"{{{name}+}}" in uri}
    for name, value in {**path, **{f"{name}+": value for name, value in greedy.items()}}.items():
        uri = uri.replace(f"{{{name}}}", value)
    return uri


def with_variables(text: str, variables: dict[str, str]) -> str:
    """A text with the stage's variables in place of ``${stageVariables.name}``."""
    return re.sub(r"\$\{stageVariables\.([^}]+)\}", lambda match: variables.get(match[1], ""), text)


# --- who is asked -------------------------------------------------------------------------------------


def from_nobody(asked: Sent) -> Reply:
    """MOCK: the status that the request template names; a CDK names it without quotes. None: 500."""
    text = asked.body.decode("utf-8", "replace")
    named = re.search(r"""["']?statusCode["']?\s*:\s*["']?(\d{3})""", text)
    if named is None:
        raise broken()
    return Reply(int(named[1]), [], b"", named[1])


def from_web(asked: Sent, timeout_s: float) -> Reply:
    """HTTP and HTTP_PROXY: a web server's answer, redirects included, or a 504 where there is none."""
    import requests
    from urllib3.util import SKIP_HEADER

    session = requests.Session()
    session.headers.clear()
    prepared = requests.Request(asked.method, asked.uri, params=asked.query, headers=asked.headers)
    try:
        ready = session.prepare_request(prepared)
        if asked.method not in _WITHOUT_BODY:
            ready.prepare_body(asked.body, None)
        ready.headers.setdefault("Accept-Encoding", SKIP_HEADER)
        proxies = session.merge_environment_settings(asked.uri, {}, None, None, None)
        answer = session.send(ready, allow_redirects=False, timeout=timeout_s, **proxies)
        body = answer.content
    except (requests.exceptions.InvalidURL, requests.exceptions.InvalidSchema, ValueError) as problem:
        raise broken() from problem
    except requests.exceptions.RequestException as problem:
        why = "Network error communicating with endpoint"
        raise Own(504, "INTEGRATION_FAILURE", why, "InternalServerErrorException") from problem
    finally:
        session.close()
    gone = {"content-encoding"} if "Content-Encoding" in answer.headers else set()  # requests has unpacked it
    headers = [(name, value) for name, value in answer.raw.headers.items() if name.lower() not in gone]
    return Reply(answer.status_code, headers, body, str(answer.status_code))


# --- the answer ---------------------------------------------------------------------------------------


def remapped(name: str) -> str:
    """Under which name an answer has a header; empty: under none."""
    if name.lower() in _NOT_RETURNED:
        return ""
    return f"x-amzn-Remapped-{name}" if name.lower() in REMAPPED else name


def as_it_is(reply: Reply) -> Answer:
    """HTTP_PROXY: what the web server said, but for headers that are API Gateway's own."""
    headers = Headers()
    for name, value in reply.headers:
        if returned := remapped(name):
            headers.add(returned, value)
    return Answer(reply.status, headers, reply.body)  # type: ignore[arg-type]  # it may say a header twice


def answer(asked: ApiCall, reply: Reply, context: dict[str, Any]) -> Answer:
    """What the integration response that fits makes of a reply."""
    chosen = _chosen(asked, reply.outcome)
    if str(chosen["statusCode"]) not in (asked.definition.get("methodResponses") or {}):
        raise broken()
    headers = Headers()
    for target, source in (chosen.get("responseParameters") or {}).items():
        value = _of_reply(asked, reply, context, source)
        name = remapped(target.removeprefix("method.response.header."))
        if value and name:
            headers[name] = value
    templates = chosen.get("responseTemplates") or {}
    wanted = [value for name, value in asked.headers if name.lower() == "accept"]
    template = templates.get(wanted[-1]) if wanted else None
    template = template or templates.get("application/json") or next(iter(templates.values()), None)
    body = _as_wanted(asked, reply, chosen.get("contentHandling"))
    if template:
        body = _rendered(asked, template, body, context)
    status: Any = int(chosen["statusCode"])
    override = context["responseOverride"]
    if isinstance(override.get("status"), int) and 100 <= override["status"] < 600:
        status = override["status"]
    for name, value in (override.get("header") or {}).items():
        headers[name] = str(value)
    if asked.integration["type"] != "MOCK":
        headers.setdefault("X-Amzn-Trace-Id", asked.trace)
    return Answer(status, headers, body)  # type: ignore[arg-type]


def _chosen(asked: ApiCall, outcome: str) -> dict[str, Any]:
    """The integration response whose pattern fits, or the one without."""
    answers = list((asked.integration.get("integrationResponses") or {}).values())
    fitting = [
        each
        for each in answers
        if each.get("selectionPattern") and re.fullmatch(each["selectionPattern"], outcome, re.DOTALL)
    ]
    fitting = fitting or [each for each in answers if not each.get("selectionPattern")]
    if not fitting:
        raise broken()
    found: dict[str, Any] = fitting[0]
    return found


def _of_reply(asked: ApiCall, reply: Reply, context: dict[str, Any], source: str) -> str | None:
    """The value of a mapping expression of the integration response."""
    if not source.startswith("integration.response."):
        return _elsewhere(asked, context, source)
    where, _, name = source.removeprefix("integration.response.").partition(".")
    if where == "body":
        try:
            return _in_body(reply.body or b"{}", name)
        except ValueError as problem:
            raise broken() from problem
    values = [value for each, value in reply.headers if each == name]
    if not values:
        return None
    return ",".join(values) if where == "multivalueheader" else values[-1]


def _as_wanted(asked: ApiCall, reply: Reply, handling: str | None) -> bytes:
    """A reply's body, binary or text as the integration response wants it and the client takes it."""
    kind = next((value for name, value in reply.headers if name.lower() == "content-type"), "")
    binary, takes = fits_any(kind, asked.binary), fits_any(header(asked, "Accept"), asked.binary)
    to_text = handling == "CONVERT_TO_TEXT" or (not handling and not takes)
    if binary:
        return base64.b64encode(reply.body) if to_text else reply.body
    return reply.body if to_text else decoded(reply.body)


# --- what a method asks of a call ---------------------------------------------------------------------


def look(asked: ApiCall, kept: rest_apis.Snapshot) -> None:
    """Refuse what the method's request validator does not let through.

    Source: API Gateway developer guide, "Request validation for REST APIs"; aws-facts (k).
    """
    validator = kept.validators.get(asked.definition.get("requestValidatorId") or "")
    if validator is None:
        return
    if validator["validateRequestParameters"] and (missing := _missing(asked)):
        why = f"Missing required request parameters: [{', '.join(missing)}]"
        raise Own(400, "BAD_REQUEST_PARAMETERS", why, "BadRequestException")
    if validator["validateRequestBody"] and not _fits_model(asked, kept.models):
        raise Own(400, "BAD_REQUEST_BODY", "Invalid request body", "BadRequestException")


def _missing(asked: ApiCall) -> list[str]:
    """The parameters that a method requires and a call does not have."""
    have = {
        "header": {name for name, _ in asked.headers},
        "path": set(asked.parameters),
        "querystring": set(asked.query),
    }
    found = []
    for parameter, required in sorted((asked.definition.get("requestParameters") or {}).items()):
        where, _, name = parameter.removeprefix("method.request.").partition(".")
        if required and name not in have.get(where, ()):
            found.append(name)
    return found


def _fits_model(asked: ApiCall, models: dict[str, Any]) -> bool:
    """Whether a body is what the method's model describes; a body that is not there is an empty map."""
    import referencing
    import referencing.jsonschema

    with without_grammars():
        import jsonschema

    wanted = asked.definition.get("requestModels") or {}
    name = wanted.get("application/json") or wanted.get("$default") or "Empty"
    if name not in models:
        return False
    base = f"https://apigateway.amazonaws.com/restapis/{asked.api_id}/models/"
    registry: Any = referencing.Registry().with_resources(
        (f"{base}{each}", referencing.jsonschema.DRAFT4.create_resource(schema))
        for each, schema in models.items()
    )
    try:
        document = json.loads(asked.body or b"{}")
        jsonschema.Draft4Validator({"$ref": f"{base}{name}"}, registry=registry).validate(document)
    except (ValueError, jsonschema.ValidationError):
        return False
    return True
