"""Bashoutter without AWS: its handlers over HTTP on loopback, as API Gateway would put them there.

    with tables(): ...              moto's DynamoDB in this process, with the table that the handlers expect
    with gateway(haiku) as api:     what `openapi.yaml` says, served: api.url
    with site(api.url) as page_url: the page, on an address of its own

The gateway reads its routes out of `openapi.yaml`, so a mistake in an integration shows here too.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import mimetypes
import re
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import ModuleType
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

import boto3
import pytest
import yaml
from moto import mock_aws
from wire import Call, around

import awslabs.bashoutter

HOME = Path(awslabs.bashoutter.__file__).parent
PAGE = HOME / "page"
TABLE = "haiku-of-a-test"
FUNCTIONS = {
    "__LIST_ARN__": "list_haiku",
    "__POST_ARN__": "post_haiku",
    "__LIKE_ARN__": "like_haiku",
    "__DELETE_ARN__": "delete_haiku",
}


def openapi() -> dict[str, Any]:
    """The API's description."""
    return yaml.safe_load((HOME / "openapi.yaml").read_text(encoding="utf-8"))


@contextlib.contextmanager
def handlers() -> Iterator[ModuleType]:
    """The module `haiku` as Lambda would load it, over a fresh table of moto's.

    moto does one thing after the other, as DynamoDB does with one item; what handlers do between two calls
    is still at once.
    """
    one_at_a_time = threading.Lock()

    def serialised(call: Call) -> Any:
        with one_at_a_time:
            return call.send()

    with mock_aws(), pytest.MonkeyPatch.context() as patched:
        boto3.client("dynamodb").create_table(
            TableName=TABLE,
            BillingMode="PAY_PER_REQUEST",
            AttributeDefinitions=[
                {"AttributeName": name, "AttributeType": "S"} for name in ("item_id", "feed", "created_at")
            ],
            KeySchema=[{"AttributeName": "item_id", "KeyType": "HASH"}],
            GlobalSecondaryIndexes=[
                {
                    "IndexName": "newest",
                    "KeySchema": [
                        {"AttributeName": "feed", "KeyType": "HASH"},
                        {"AttributeName": "created_at", "KeyType": "RANGE"},
                    ],
                    "Projection": {"ProjectionType": "ALL"},
                }
            ],
        )
        around(patched, serialised)
        patched.setenv("TABLE_NAME", TABLE)
        patched.setenv("READ", "query")
        yield loaded(patched)


def loaded(patched: pytest.MonkeyPatch) -> ModuleType:
    """The handlers, which look at their environment when they are imported."""
    spec = importlib.util.spec_from_file_location("haiku", HOME / "functions" / "haiku.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    patched.setitem(sys.modules, "haiku", module)
    spec.loader.exec_module(module)
    return module


def event(method: str = "GET", path: str = "/haiku", body: str | None = None, **more: Any) -> dict[str, Any]:
    """A request as API Gateway hands it to a function.

    Source: "Input format of a Lambda function for proxy integration", API Gateway developer guide.
    """
    return {
        "resource": path,
        "path": path,
        "httpMethod": method,
        "headers": None,
        "multiValueHeaders": None,
        "queryStringParameters": None,
        "multiValueQueryStringParameters": None,
        "pathParameters": None,
        "stageVariables": None,
        "requestContext": {"stage": "prod", "httpMethod": method},
        "body": body,
        "isBase64Encoded": False,
    } | more


class Server(ThreadingHTTPServer):
    """On a free port of loopback, until the block ends."""

    daemon_threads = True
    request_queue_size = 128

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    @contextlib.contextmanager
    def running(self) -> Iterator[Server]:
        thread = threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield self
        finally:
            self.shutdown()
            self.server_close()
            thread.join()


class Quiet(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log_message(self, format: str, *args: Any) -> None:
        """Tests print nothing."""

    def reply(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        if status != 204:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if status != 204:
            self.wfile.write(body)


class Gateway(Server):
    """`openapi.yaml`, served.

    Attributes
    ----------
    throttled : bool
        Whether it answers 429, as a method at its limit. Preflights have a limit of their own.
    seen : list of str
        ``POST /haiku`` and so on, as they came.
    """

    def __init__(self, module: ModuleType) -> None:
        super().__init__(("127.0.0.1", 0), GatewayHandler)
        self.module, self.description = module, openapi()
        self.throttled = False
        self.seen: list[str] = []

    def route(self, method: str, path: str) -> tuple[str, dict[str, str], dict[str, Any]] | None:
        """Resource, path parameters and integration of a request."""
        for resource, methods in self.description["paths"].items():
            pattern = re.sub(r"{(\w+)}", r"(?P<\1>[^/]+)", resource)
            match = re.fullmatch(pattern, path)
            if match and method in methods:
                found = {name: unquote(value) for name, value in match.groupdict().items()}
                return resource, found, methods[method]["x-amazon-apigateway-integration"]
        return None

    def extra_headers(self, kind: str) -> dict[str, str]:
        """What the gateway adds to an answer that is its own."""
        own = self.description["x-amazon-apigateway-gateway-responses"][kind]["responseParameters"]
        return {name.removeprefix("gatewayresponse.header."): value.strip("'") for name, value in own.items()}


class GatewayHandler(Quiet):
    server: Gateway

    def handle_any(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        there = urlsplit(self.path)
        self.server.seen.append(f"{self.command} {there.path}")
        if self.server.throttled and self.command != "OPTIONS":
            self.refuse(429, "Too Many Requests")
            return
        found = self.server.route(self.command.lower(), there.path)
        if not found:
            self.refuse(403, "Missing Authentication Token")
            return
        resource, parameters, integration = found
        if integration["type"] == "mock":
            only = integration["responses"]["default"]
            headers = {
                name.removeprefix("method.response.header."): value.strip("'")
                for name, value in only["responseParameters"].items()
            }
            self.reply(int(only["statusCode"]), headers, b"")
            return
        placeholder = re.search(r"functions/(__\w+__)/invocations", integration["uri"])
        assert placeholder
        handler = getattr(self.server.module, FUNCTIONS[placeholder[1]])
        query = dict(parse_qsl(there.query, keep_blank_values=True))
        request = event(
            self.command,
            there.path,
            body.decode("utf-8", "replace") or None,
            resource=resource,
            headers=dict(self.headers.items()),
            pathParameters=parameters or None,
            queryStringParameters=query or None,
        )
        answer = handler(json.loads(json.dumps(request)), None)
        self.reply(answer["statusCode"], answer["headers"], answer["body"].encode())

    def __getattr__(self, name: str) -> Any:
        """A request of any method is one, known or not."""
        if name.startswith("do_"):
            return self.handle_any
        raise AttributeError(name)

    def refuse(self, status: int, message: str) -> None:
        headers = {"Content-Type": "application/json", **self.server.extra_headers("DEFAULT_4XX")}
        self.reply(status, headers, json.dumps({"message": message}).encode())


class Site(Server):
    """The folder `page/`, with the address of the API filled in, as a public bucket would serve it.

    Attributes
    ----------
    address : str
        Of the page.
    sent : dict
        Path to the number of bytes that went out for it, without headers.
    """

    def __init__(self, api_url: str) -> None:
        super().__init__(("127.0.0.1", 0), SiteHandler)
        self.api_url, self.address = api_url, f"{self.url}/index.html"
        self.sent: dict[str, int] = {}


class SiteHandler(Quiet):
    server: Site

    def do_GET(self) -> None:
        path = urlsplit(self.path).path
        file = PAGE / (path.lstrip("/") or "index.html")
        if file.parent != PAGE or not file.is_file():
            self.reply(404, {"Content-Type": "text/plain"}, b"no such object")
            return
        body = file.read_bytes().replace(b"__API_URL__", self.server.api_url.encode())
        self.server.sent[path] = len(body)
        self.reply(200, {"Content-Type": mimetypes.guess_type(file.name)[0] or "text/plain"}, body)


@contextlib.contextmanager
def gateway(module: ModuleType) -> Iterator[Gateway]:
    """The API over HTTP."""
    with Gateway(module).running() as server:
        assert isinstance(server, Gateway)
        yield server


@contextlib.contextmanager
def site(api_url: str) -> Iterator[Site]:
    """The page over HTTP."""
    with Site(api_url).running() as server:
        assert isinstance(server, Site)
        yield server
