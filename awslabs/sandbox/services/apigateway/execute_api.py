"""API Gateway, running: deployed REST APIs answer.

    GET {endpoint}/_aws/execute-api/{api_id}/{stage}/haiku?limit=3
      |  which API, stage, resource, method     unknown API or stage: 403; unknown path or method: 403
      |  the API key, where one is required     403; beyond its usage plan: 429
      |  limits of the stage                    429
      |  a compressed body is unpacked          415
      |  integration
      |    AWS_PROXY   the Lambda permission, the proxy event, invocations.invoke, the answer
      |    others      what templates and mappings make of the call (`integrations`)
      v
    an answer, or one of API Gateway's own ("gateway responses", with the headers set for them)

Served is the snapshot of the stage's deployment (`rest_apis`); only the stage's variables and limits
are live. Any web page may call an API: CORS is the API's own matter.

What is not: integrations with AWS's services but Lambda, authorizers, caches, resource policies. A method
that needs one of them answers 501 and says so.
Source: API Gateway developer guide, "Lambda proxy integrations", "Gateway responses", "Throttle requests".
"""

from __future__ import annotations

import base64
import concurrent.futures
import dataclasses
import json
import logging
import re
import secrets
import time
import urllib.parse
import uuid
import zlib
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from moto.apigateway.models import RestAPI, Stage
from moto.core.request import Request
from werkzeug.datastructures import Headers

from awslabs.sandbox.core import engine, policies
from awslabs.sandbox.core.answers import Answer, as_header
from awslabs.sandbox.core.engine import Refused
from awslabs.sandbox.core.rates import Rate, admit
from awslabs.sandbox.services.apigateway import api_keys, integrations, rest_apis
from awslabs.sandbox.services.apigateway.calls import (
    ApiCall,
    Own,
    broken,
    fits_any,
    forbidden,
    header,
    not_here,
    too_long,
    too_many,
    unsupported,
)
from awslabs.sandbox.services.apigateway.shown import TIMEOUT_MS
from awslabs.sandbox.services.iam import permissions
from awslabs.sandbox.services.lambda_ import invocations, resource_policies

log = logging.getLogger("awslabs.sandbox")

PREFIX = "/_aws/execute-api/"
TIMEOUT_SCALE = 1.0  # tests need not wait for 29 s
REQUEST_BYTES = 10 * 1024 * 1024
THREADS = 1000  # requests that wait for a function at a time
PRINCIPAL = policies.Principal("Service", ("apigateway.amazonaws.com",))

_URI = re.compile(
    r"arn:aws[\w-]*:apigateway:[\w-]+:lambda:path/+2015-03-31/functions/(?P<arn>.+)/invocations"
)


class Gateway:
    """The running part of API Gateway in one practice cloud."""

    def __init__(self, endpoint_url: str) -> None:
        self.host = endpoint_url.partition("//")[2]
        self.workers = ThreadPoolExecutor(max_workers=THREADS, thread_name_prefix="integration")

    # -- a request --------------------------------------------------------------------------------

    def answer(self, request: Request, body: bytes) -> Answer:
        """Answer a request to an API."""
        request_id, began = str(uuid.uuid4()), time.perf_counter()
        kept = rest_apis.Snapshot()
        try:
            api, stage, kept, raw = self.look(request)
            asked = self.find(api, stage, kept, raw, request, body, request_id)
            answer = self.perform(asked, api, stage, kept)
        except Own as own:
            answer = own_answer(own, kept, request, request_id)
        except Exception:
            log.exception("%s %s fell over", request.method, request.path)
            answer = own_answer(broken(), kept, request, request_id)
        headers: Any = answer.headers
        headers.setdefault("Content-Type", "application/json")
        headers["x-amzn-RequestId"] = request_id
        headers["x-amz-apigw-id"] = secrets.token_urlsafe(11) + "="
        milliseconds = 1000 * (time.perf_counter() - began)
        log.info("%s %s %s %.1f ms", request.method, request.path, answer.status, milliseconds)
        return answer

    def look(self, request: Request) -> tuple[RestAPI, Stage, rest_apis.Snapshot, str]:
        """The API and stage that are asked, what is deployed there, and the path behind the stage."""
        raw = request.environ.get("RAW_URI") or urllib.parse.quote(request.path)
        raw = re.sub(r"^https?://[^/]+", "", raw).partition("?")[0]
        api_id, _, behind = raw[len(PREFIX) :].partition("/")
        name, _, path = behind.lstrip("/").partition("/")
        with engine.lock:
            api = rest_apis.find(api_id)
            stage = api.stages.get(urllib.parse.unquote(name)) if api is not None else None
            if api is None or stage is None or api.disableExecuteApiEndpoint:
                raise forbidden()
            kept = rest_apis.snapshot(api, stage.deployment_id or "")
        if kept is None:
            raise forbidden()
        return api, stage, kept, f"/{path}"

    def find(
        self,
        api: RestAPI,
        stage: Stage,
        kept: rest_apis.Snapshot,
        raw: str,
        request: Request,
        body: bytes,
        request_id: str,
    ) -> ApiCall:
        """The resource and method that are asked for."""
        if len(body) > REQUEST_BYTES:
            raise too_long()
        method = str(request.method)
        found = match(
            {path: set(each.get("resourceMethods", {})) for path, each in kept.resources.items()}, raw, method
        )
        if found is None:
            message = "Missing Authentication Token"
            raise Own(403, "MISSING_AUTHENTICATION_TOKEN", message, "MissingAuthenticationTokenException")
        resource = kept.resources[found[0]]
        methods = resource["resourceMethods"]
        declared = method if method in methods else "ANY"
        return ApiCall(
            request=request,
            headers=list(request.environ["awslabs.sent"](body).headers),
            body=body,
            request_id=request_id,
            account=api.account_id,
            region=api.region_name,
            api_id=api.id,
            stage=str(stage.name),
            deployment_id=str(stage.deployment_id),
            method=method,
            path=raw,
            parameters=found[1],
            declared=declared,
            resource=resource,
            definition=methods[declared],
            binary=tuple(kept.binary_media_types),
            variables=dict(stage.variables),
            host=self.host,
            began=time.time(),
        )

    def perform(self, asked: ApiCall, api: RestAPI, stage: Stage, kept: rest_apis.Snapshot) -> Answer:
        """Let a method answer."""
        if api.policy:
            raise not_here("resource policies")
        if (asked.definition.get("authorizationType") or "NONE") != "NONE":
            raise not_here(f"authorization of type {asked.definition['authorizationType']}")
        if asked.definition.get("apiKeyRequired"):
            asked = dataclasses.replace(asked, key=self.let_in(asked, api))
        self.admit(asked, stage)
        asked = dataclasses.replace(asked, body=unpacked(asked.body, header(asked, "Content-Encoding")))
        integrations.look(asked, kept)
        if asked.integration.get("type") == "AWS_PROXY":
            return self.proxy(asked)
        return self.mapped(asked)

    def mapped(self, asked: ApiCall) -> Answer:
        """Ask an integration that has templates and mappings."""
        kind, context = asked.integration.get("type"), integrations.context_of(asked)
        if kind is None:
            raise broken()
        sent = integrations.sent(asked, context)
        if kind == "MOCK":
            reply = integrations.from_nobody(sent)
        elif kind == "AWS":
            reply = self.from_function(asked, sent)
        else:
            limit_s = int(asked.integration.get("timeoutInMillis") or TIMEOUT_MS[1]) / 1000
            reply = integrations.from_web(sent, limit_s * TIMEOUT_SCALE)
        if kind == "HTTP_PROXY":
            return integrations.as_it_is(reply)
        return integrations.answer(asked, reply, context)

    def from_function(self, asked: ApiCall, sent: integrations.Sent) -> integrations.Reply:
        """AWS: a function that is told what the request template makes of the call."""
        match = _URI.fullmatch(sent.uri)
        if match is None:
            raise not_here(f"AWS integration with {sent.uri}")
        if sent.method != "POST":
            raise broken()
        kind = next((v for name, v in sent.headers.items() if name.lower() == "x-amz-invocation-type"), "")
        asynchronous = kind.strip("'") == "Event"
        result = self.invoke(asked, match["arn"], sent.body or b"{}", asynchronous)
        error = ""
        if result.function_error:
            try:
                said = json.loads(result.payload)
            except ValueError:
                said = None
            error = str(said.get("errorMessage", "")) if isinstance(said, dict) else ""
        headers = [("Content-Type", "application/json"), ("X-Amzn-Trace-Id", asked.trace)]
        return integrations.Reply(result.status, headers, result.payload, error)

    def admit(self, asked: ApiCall, stage: Stage) -> None:
        """Count a request, or refuse it: each method has the limits of its stage to itself.

        Source: the API Gateway console, "Default method throttling: Each method in this stage will respect
        these rate and burst settings."
        """
        own = f"{asked.resource['path'].replace('/', '~1')}/{asked.declared}"
        settings = stage.method_settings.get(own) or stage.method_settings.get("*/*")
        if settings is None:
            return
        rate, burst = settings["throttlingRateLimit"], settings["throttlingBurstLimit"]
        if rate < 0 or burst < 0:
            return
        if not rate or not burst:
            raise too_many()
        self.spend(stage, own, rate, burst)

    def spend(self, owner: Any, name: str, rate: float, burst: int) -> None:
        """Count a call against one of a stage's or plan's limits, or refuse it: 429."""
        # Named with its numbers: a limit that is changed begins anew.
        with engine.lock:
            admitted = admit(owner, {f"{name} {rate} {burst}": Rate(1 / rate, burst)})
        if not admitted:
            raise too_many()

    def let_in(self, asked: ApiCall, api: RestAPI) -> api_keys.Key:
        """The API key of a request: one that is enabled, in a usage plan of this stage, and not used up.

        Source: API Gateway developer guide, "Usage plans and API keys for REST APIs"; aws-facts (k).
        """
        if api.api_key_source != "HEADER":
            raise not_here(f"API keys from {api.api_key_source}")
        with engine.lock:
            key = api_keys.find(asked.account, asked.region, header(asked, "x-api-key"), api.id, asked.stage)
            if key is None:
                raise Own(403, "INVALID_API_KEY", "Forbidden", "ForbiddenException")
            if key.rate and key.burst:
                self.spend(key.plan, key.id, key.rate, key.burst)
            if not api_keys.count(key):
                raise Own(429, "QUOTA_EXCEEDED", "Limit Exceeded", "LimitExceededException")
        return key

    # -- Lambda -----------------------------------------------------------------------------------

    def proxy(self, asked: ApiCall) -> Answer:
        """Ask a function."""
        uri = integrations.with_variables(asked.integration.get("uri") or "", asked.variables)
        match = _URI.fullmatch(uri)
        if match is None:
            raise not_here(f"AWS_PROXY integration with {uri}")
        if asked.integration.get("httpMethod") != "POST":
            # Lambda is asked by POST and nothing else: aws-facts (g), (k).
            log.info("%s is asked by %s", uri, asked.integration.get("httpMethod"))
            raise broken()
        integrations.mappings(asked, asked.context)
        result = self.invoke(asked, match["arn"], json.dumps(event(asked)).encode())
        if result.function_error:
            raise broken(502, "DEFAULT_5XX")
        try:
            return from_proxy(result.payload, asked)
        except (ValueError, TypeError, OverflowError) as problem:
            raise broken(502, "DEFAULT_5XX") from problem

    def invoke(
        self, asked: ApiCall, arn: str, payload: bytes, asynchronous: bool = False
    ) -> invocations.Result:
        """Invoke a function for a method, as long as its integration waits."""
        parts = arn.split(":")
        account, region = (parts[4], parts[3]) if len(parts) > 6 else (asked.account, asked.region)
        self.may_invoke(asked, account, region, arn)
        limit_s = int(asked.integration.get("timeoutInMillis") or TIMEOUT_MS[1]) / 1000
        waiting = self.workers.submit(
            invocations.invoke, account, region, arn, payload, asynchronous=asynchronous
        )
        try:
            return waiting.result(limit_s * TIMEOUT_SCALE)
        except concurrent.futures.TimeoutError:
            # The function goes on, as on AWS; nobody reads its answer.
            message = "Endpoint request timed out"
            raise Own(504, "INTEGRATION_TIMEOUT", message, "InternalServerErrorException") from None
        except Refused as refused:
            log.info("%s cannot be invoked: %s: %s", arn, refused.code, refused.message)
            if refused.status == 501:  # a runtime that is not here
                raise Own(501, "", refused.message, "NotImplemented") from refused
            # A throttled function is a 500, too. Source: re:Post, "How can I troubleshoot the 'internal
            # server' error with status code 500 for API Gateway endpoints that integrate with Lambda?"
            raise broken(500, "INTEGRATION_FAILURE") from refused

    def may_invoke(self, asked: ApiCall, account: str, region: str, arn: str) -> None:
        """Stop where the function does not let this method of this API invoke it.

        Source: aws-facts (g): without the permission, and the matching SourceArn, every call is a 500.
        """
        credentials = asked.integration.get("credentials")
        path = asked.resource["path"]
        method = "*" if asked.declared == "ANY" else asked.declared
        source = (
            f"arn:aws:execute-api:{asked.region}:{asked.account}:{asked.api_id}/{asked.stage}/{method}{path}"
        )
        with engine.lock:
            if credentials:
                allowed = permissions.allows(asked.account, credentials, "lambda:InvokeFunction", arn, region)
            else:
                context = policies.context(region, sourcearn=source, sourceaccount=asked.account)
                said = resource_policies.statements(account, region, arn)
                allowed = policies.decide(said, "lambda:InvokeFunction", arn, PRINCIPAL, context) == "Allow"
        if not allowed:
            log.info("%s may not invoke %s", source, arn)
            raise broken()

    # -- the end ----------------------------------------------------------------------------------

    def close(self) -> None:
        """Wait for nobody: functions end with their own running part."""
        self.workers.shutdown(wait=False, cancel_futures=True)


# --- paths --------------------------------------------------------------------------------------------


def match(resources: dict[str, set[str]], raw: str, method: str) -> tuple[str, dict[str, str]] | None:
    """The resource for a path, and the parameters in it: what is written out wins over ``{name}``, and
    that over ``{name+}``, which also answers for a method that the other lacks.

    Slashes at both ends count for nothing, and nothing is decoded. Source: aws-facts (k).

    Parameters
    ----------
    resources : dict
        Path of each resource, ``/haiku/{item_id}``, to its methods.
    raw : str
        The path of a request, as it came: a ``%2F`` in it parts nothing.
    method : str
        Of the request.
    """
    inner = raw.strip("/")
    asked = inner.split("/") if inner else []
    fitting = []
    for path, methods in resources.items():
        fit = _fit([part for part in path.split("/") if part], asked)
        if fit is not None and methods:
            fitting.append((*fit, path))
    fitting.sort(key=lambda each: each[0])
    for rank, parameters, path in fitting:
        if {method, "ANY"} & resources[path] and (path == fitting[0][2] or rank[-1:] == [2]):
            return path, parameters
    return None


def _fit(declared: list[str], asked: list[str]) -> tuple[list[int], dict[str, str]] | None:
    """How closely a path fits, 0 for a part that is written out, 1 for ``{name}``, 2 for ``{name+}``."""
    rank: list[int] = []
    parameters: dict[str, str] = {}
    for place, part in enumerate(declared):
        if place >= len(asked):
            return None
        if part.endswith("+}"):
            parameters[part[1:-2]] = "/".join(asked[place:])
            return [*rank, 2], parameters
        if part.startswith("{") and asked[place]:
            parameters[part[1:-1]] = asked[place]
            rank.append(1)
        elif part == urllib.parse.unquote(asked[place]):
            rank.append(0)
        else:
            return None
    return (rank, parameters) if len(declared) == len(asked) else None


# --- the body -----------------------------------------------------------------------------------------


def unpacked(body: bytes, encoding: str) -> bytes:
    """A body as it was before the client compressed it; what is damaged, or packed in another way: 415.

    Source: API Gateway developer guide, "Call an API method with a compressed payload"; aws-facts (k).
    """
    kind = encoding.strip().lower()
    if not body or kind in ("", "identity"):
        return body
    windows = {"gzip": (31,), "deflate": (15, -15)}.get(kind, ())
    for bits in windows:
        unpacker = zlib.decompressobj(bits)
        try:
            data = unpacker.decompress(body, REQUEST_BYTES + 1)
        except zlib.error:
            continue
        if len(data) > REQUEST_BYTES:
            raise too_long()
        if unpacker.eof:
            return data
    raise unsupported()


# --- the proxy event and its answer -------------------------------------------------------------------


def event(asked: ApiCall) -> dict[str, Any]:
    """What the function is told.

    Source: API Gateway developer guide, "Input format of a Lambda function for proxy integration".
    """
    request, headers, query = asked.request, asked.told_headers, asked.query
    binary = fits_any(request.headers.get("Content-Type", ""), asked.binary)
    body = base64.b64encode(asked.body).decode() if binary else asked.body.decode("utf-8", "replace")
    return {
        "resource": asked.resource["path"],
        "path": "/" + asked.path.lstrip("/"),
        "httpMethod": asked.method,
        "headers": {name: values[-1] for name, values in headers.items()},
        "multiValueHeaders": headers,
        "queryStringParameters": {name: values[-1] for name, values in query.items()} or None,
        "multiValueQueryStringParameters": query or None,
        "pathParameters": asked.parameters or None,
        "stageVariables": asked.variables or None,
        "requestContext": asked.context,
        "body": body or None,
        "isBase64Encoded": binary and bool(body),
    }


KEYS = {"statusCode", "headers", "multiValueHeaders", "body", "isBase64Encoded"}


def from_proxy(payload: bytes, asked: ApiCall) -> Answer:
    """The HTTP answer in what a function has returned.

    Source: API Gateway developer guide, "Output format of a Lambda function for proxy integration".

    Raises
    ------
    ValueError, TypeError, OverflowError
        It is none: AWS answers 502.
    """
    said = json.loads(payload)
    if not isinstance(said, dict) or not said.keys() <= KEYS:
        raise ValueError("other members than an answer has")
    single, multiple = said.get("headers") or {}, said.get("multiValueHeaders") or {}
    body, encoded = said.get("body"), said.get("isBase64Encoded") or False
    kinds = (single, dict), (multiple, dict), (encoded, bool), ("" if body is None else body, str)
    if not all(isinstance(value, kind) for value, kind in kinds):
        raise ValueError("a member of another type")
    headers = Headers()
    pairs = []
    for name, values in multiple.items():
        if not isinstance(values, list):
            raise ValueError(f"no list of values for {name}")
        pairs += [(name, value) for value in values]
    spelled = {name.lower(): name for name in multiple}
    pairs += [(spelled.get(name.lower(), name), value) for name, value in single.items()]
    for name, value in pairs:
        if not isinstance(value, (str, int, float)):
            raise ValueError(f"no value for {name}")
        text = str(value).lower() if isinstance(value, bool) else str(value)
        kept = integrations.REMAPPED | {"transfer-encoding"}
        name = f"x-amzn-Remapped-{name}" if name.lower() in kept else name
        headers.add(*as_header(name, text))
    status = int(said.get("statusCode", 200))
    data = (body or "").encode()
    # An answer becomes binary for clients that ask for a binary type first.
    accepted = asked.request.headers.get("Accept", "").partition(",")[0]
    if encoded and asked.binary and fits_any(accepted, asked.binary):
        data = integrations.decoded(data)
    if not 200 <= status <= 599:  # after a 1xx a client would wait for the answer
        raise ValueError(f"status {status}")
    headers.setdefault("X-Amzn-Trace-Id", traced(asked.trace))
    return Answer(status, headers, data)  # type: ignore[arg-type]  # it may say a header twice


def traced(trace: str) -> str:
    """A trace as an answer says it: with a parent, and whether it is sampled. Source: aws-facts (k)."""
    return trace if ";Parent=" in trace else f"{trace};Parent={secrets.token_hex(8)};Sampled=0"


def own_answer(own: Own, kept: rest_apis.Snapshot, request: Request, request_id: str) -> Answer:
    """An answer of API Gateway's own, with what the API says of answers of its kind.

    Source: API Gateway developer guide, "Gateway responses".
    """
    default = "DEFAULT_4XX" if own.status < 500 else "DEFAULT_5XX"
    said = (
        (kept.gateway_responses.get(own.kind) or kept.gateway_responses.get(default) or {})
        if own.kind
        else {}
    )
    headers = Headers({"Content-Type": "application/json", "x-amzn-ErrorType": own.error})
    known = {
        "context.error.message": own.message,
        "context.error.responseType": own.kind,
        "context.requestId": request_id,
    }
    for target, source in (said.get("responseParameters") or {}).items():
        headers[target.rpartition(".header.")[2]] = _mapped(source, request, known)
    body = json.dumps({"message": own.message})
    for kind, template in (said.get("responseTemplates") or {}).items():
        headers["Content-Type"] = kind
        body = template.replace("$context.error.messageString", json.dumps(own.message))
        for name, value in known.items():
            body = body.replace(f"${name}", value)
        break
    return Answer(int(said.get("statusCode") or own.status), headers, body.encode())  # type: ignore[arg-type]


def _mapped(source: str, request: Request, known: dict[str, str]) -> str:
    """A header of such an answer: ``'text'``, something of the request, or what is `known` of it."""
    if source.startswith("'") and source.endswith("'"):
        return source[1:-1]
    where, _, name = source.rpartition(".")
    if where == "method.request.header":
        return request.headers.get(name, "")
    if where == "method.request.querystring":
        return request.args.get(name, "")
    return known.get(source, "")


# --- the one of this process --------------------------------------------------------------------------

current: Gateway | None = None


def add_handlers(cloud: Any) -> None:
    """Add its handlers to a practice cloud (`server.Cloud`)."""
    global current
    current = Gateway(cloud.run.endpoint_url)
    cloud.routes[PREFIX] = current.answer


def close() -> None:
    """End everything here."""
    global current
    if current is not None:
        part, current = current, None
        part.close()
