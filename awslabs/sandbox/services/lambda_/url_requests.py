"""Lambda's function URLs, running: a request to an address invokes its function.

    {endpoint}/_aws/lambda-url/ID/path?query  -->  the function's or the alias's policy: may anybody?
                                              -->  the event, version 2.0  -->  the function
                                              -->  the answer in what it returned

On AWS the ID stands in the host's name. With AuthType AWS_IAM nobody without a signature comes in, and a
signed request is refused honestly.

Source: Lambda developer guide, "Invoking Lambda function URLs", "Control access to Lambda function URLs";
aws-facts (k).
"""

from __future__ import annotations

import base64
import json
import logging
import re
import time
import urllib.parse
import uuid
from typing import Any

from moto.core.request import Request
from werkzeug.datastructures import Headers

from awslabs.sandbox.core import engine, policies
from awslabs.sandbox.core.answers import Answer, as_header
from awslabs.sandbox.core.engine import Refused
from awslabs.sandbox.services.lambda_ import function_urls, invocations, resource_policies

log = logging.getLogger("awslabs.sandbox")

PREFIX = "/_aws/lambda-url/"
_TEXT = re.compile(r"text/.*|application/(.+\+)?(json|xml|javascript)")
FORBIDDEN = (
    "Forbidden. For troubleshooting Function URL authorization issues, see: "
    "https://docs.aws.amazon.com/lambda/latest/dg/urls-auth.html"
)


def answer(request: Request, body: bytes) -> Answer:
    """Answer a request to a function's address."""
    raw = request.environ.get("RAW_URI") or urllib.parse.quote(request.path)
    url_id, _, path = re.sub(r"^https?://[^/]+", "", raw).partition("?")[0][len(PREFIX) :].partition("/")
    try:
        account, region, arn = _let_in(request, url_id)
        told = event(request, body, url_id, "/" + urllib.parse.unquote(path).lstrip("/"))
        result = invocations.invoke(account, region, arn, json.dumps(told).encode())
    except Refused as refused:
        log.info("%s: %s %s", request.path, refused.code, refused.message)
        if refused.status not in (403, 429, 501):
            return _broken(str(uuid.uuid4()))
        headers = {"Content-Type": "application/json", "x-amzn-ErrorType": refused.code}
        return Answer(refused.status, headers, _compact({"Message": refused.message or None}).encode())
    if result.function_error:
        return _broken(result.request_id)
    return from_function(result.payload, result.request_id)


def _let_in(request: Request, url_id: str) -> tuple[str, str, str]:
    """Account, Region and ARN of the function that an address is of, if it lets this request in."""
    with engine.lock:
        found = function_urls.find(url_id)
        if found is None:
            raise Refused("AccessDeniedException", "", 403)
        latest, url = found
        if url.auth != "NONE":
            if request.headers.get("Authorization"):
                message = "The practice cloud answers function URLs of AuthType NONE only."
                raise Refused("NotImplemented", message, 501)
            raise Refused("AccessDeniedException", FORBIDDEN, 403)
        said = resource_policies.statements(latest.account_id, latest.region, url.arn)
        context = policies.context(latest.region) | {"lambda:functionurlauthtype": url.auth}
        may = policies.decide(said, "lambda:InvokeFunctionUrl", url.arn, policies.ANYBODY, context)
        if may != "Allow":
            raise Refused("AccessDeniedException", FORBIDDEN, 403)
        return latest.account_id, latest.region, url.arn


def _broken(request_id: str) -> Answer:
    """What is said of a function that fails."""
    headers = {"Content-Type": "application/json", "x-amzn-RequestId": request_id}
    return Answer(502, headers, b"Internal Server Error")


def event(request: Request, body: bytes, url_id: str, path: str) -> dict[str, Any]:
    """What the function is told: a payload of version 2.0."""
    sent: dict[str, list[str]] = request.environ["awslabs.sent"](body).values
    sent.pop("connection", None)
    cookies = [each.strip() for value in sent.pop("cookie", []) for each in value.split(";")]
    raw = request.query_string.decode("latin-1")
    query = urllib.parse.parse_qs(raw, keep_blank_values=True)
    source, port = str(request.environ.get("REMOTE_ADDR", "")), request.host.rpartition(":")[2]
    headers = {name: ",".join(values) for name, values in sent.items()}
    headers |= {
        "x-amzn-trace-id": f"Root=1-{int(time.time()):08x}-{uuid.uuid4().hex[:24]}",
        "x-forwarded-for": source,
        "x-forwarded-port": port,
        "x-forwarded-proto": "http",
    }
    now = time.time()
    told: dict[str, Any] = {
        "version": "2.0",
        "routeKey": "$default",
        "rawPath": path,
        "rawQueryString": raw,
        "headers": headers,
        "requestContext": {
            "accountId": "anonymous",
            "apiId": url_id,
            "domainName": request.host,
            "domainPrefix": url_id,
            "http": {
                "method": request.method,
                "path": path,
                "protocol": "HTTP/1.1",
                "sourceIp": source,
                "userAgent": headers.get("user-agent"),
            },
            "requestId": str(uuid.uuid4()),
            "routeKey": "$default",
            "stage": "$default",
            "time": time.strftime("%d/%b/%Y:%H:%M:%S +0000", time.gmtime(now)),
            "timeEpoch": int(1000 * now),
        },
        "isBase64Encoded": False,
    }
    if cookies:
        told["cookies"] = cookies
    if query:
        told["queryStringParameters"] = {name: ",".join(values) for name, values in query.items()}
    if body:
        text = _TEXT.fullmatch(headers.get("content-type", "").partition(";")[0].strip().lower())
        told["isBase64Encoded"] = not text
        told["body"] = body.decode("utf-8", "replace") if text else base64.b64encode(body).decode()
    return told


def from_function(payload: bytes, request_id: str) -> Answer:
    """The HTTP answer in what a function has returned: anything without a statusCode is the body itself."""
    said = json.loads(payload or b"null")
    if not isinstance(said, dict) or "statusCode" not in said:
        said = {"statusCode": 200, "body": said if isinstance(said, str) else _compact(said)}
    headers = Headers()
    try:
        status, body = int(said["statusCode"]), said.get("body")
        body = "" if body is None else body if isinstance(body, str) else _compact(body)
        data = base64.b64decode(body, validate=True) if said.get("isBase64Encoded") else body.encode()
        pairs = [*(said.get("headers") or {}).items()]
        pairs += [("Set-Cookie", cookie) for cookie in said.get("cookies") or []]
        for name, value in pairs:
            headers.add(*as_header(name, str(value)))
    except (TypeError, ValueError, AttributeError, OverflowError):
        return _broken(request_id)
    if not 200 <= status <= 599:  # after a 1xx a client would wait for the answer
        return _broken(request_id)
    headers.setdefault("Content-Type", "application/json")
    headers["x-amzn-RequestId"] = request_id
    return Answer(status, headers, data)  # type: ignore[arg-type]  # it may say a header twice


def _compact(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


# --- the one of this process ----------------------------------------------------------------------------


def add_handlers(cloud: Any) -> None:
    """Add its route to a practice cloud (`server.Cloud`)."""
    cloud.routes[PREFIX] = answer

    def address(url_id: str, region: str) -> str:
        return f"{cloud.run.endpoint_url}{PREFIX}{url_id}/"

    function_urls.address = address


def close() -> None:
    """End everything here."""
    function_urls.address = function_urls.awss_address
