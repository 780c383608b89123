"""API Gateway, running: from a request to the function's event, and from its answer to the client."""

from __future__ import annotations

import base64
import functools
import gzip
import http.server
import io
import json
import threading
import urllib.parse
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import boto3
import pytest
import requests
import yaml
from moto.core.request import Request
from test_services_support import TRUST, client, cloud, wait
from werkzeug.test import EnvironBuilder

from awslabs import sandbox
from awslabs.sandbox.core import signatures
from awslabs.sandbox.core.answers import Answer
from awslabs.sandbox.core.engine import Refused
from awslabs.sandbox.services.apigateway import (
    execute_api,
    rest_apis,  # noqa: F401  (rules that this needs)
)
from awslabs.sandbox.services.lambda_ import (
    functions,  # noqa: F401  (rules that this needs)
    invocations,
    resource_policies,
)

ACCOUNT = "123456789012"
FUNCTION = f"arn:aws:lambda:us-east-1:{ACCOUNT}:function:lab"
URI = f"arn:aws:apigateway:us-east-1:lambda:path/2015-03-31/functions/{FUNCTION}/invocations"
OK = {"statusCode": 200, "body": "fine"}


def proxied(**more: Any) -> dict[str, Any]:
    integration = {"type": "aws_proxy", "httpMethod": "POST", "uri": URI} | more
    return {"responses": {}, "x-amazon-apigateway-integration": integration}


PREFLIGHT = {
    "responses": {"204": {"description": "", "headers": {"Access-Control-Allow-Origin": {}}}},
    "x-amazon-apigateway-integration": {
        "type": "mock",
        "requestTemplates": {"application/json": '{"statusCode": 204}'},
        "responses": {
            "default": {
                "statusCode": "204",
                "responseParameters": {"method.response.header.Access-Control-Allow-Origin": "'*'"},
            }
        },
    },
}
DOCUMENT = {
    "openapi": "3.0.1",
    "info": {"title": "lab", "version": "1"},
    "paths": {
        "/haiku": {"get": proxied(), "post": proxied(), "options": PREFLIGHT},
        "/haiku/{item_id}": {"patch": proxied()},
        "/slow": {"get": proxied(timeoutInMillis=50)},
        "/haiku/newest": {"get": proxied()},
        "/files/{path+}": {"x-amazon-apigateway-any-method": proxied()},
        "/files/exact": {"get": proxied()},
        "/by-get": {"get": proxied(httpMethod="GET")},
        "/mapped": {"get": proxied(requestParameters={"integration.request.header.te": "'b'"})},
        "/bucket": {
            "get": proxied(type="aws", uri="arn:aws:apigateway:us-east-1:s3:path/b/k", credentials="arn:role")
        },
    },
    "x-amazon-apigateway-gateway-responses": {
        "DEFAULT_4XX": {"responseParameters": {"gatewayresponse.header.Access-Control-Allow-Origin": "'*'"}},
        "DEFAULT_5XX": {"responseParameters": {"gatewayresponse.header.Access-Control-Allow-Origin": "'*'"}},
        "THROTTLED": {"responseTemplates": {"application/json": '{"oh":$context.error.messageString}'}},
    },
}


@functools.cache
def code() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("lab.py", "def handler(event, context): return event\n")
    return file.getvalue()


@dataclass
class Api:
    """A deployed API; `says` is what its function returns, `events` what it was told."""

    api_id: str
    gateway: execute_api.Gateway
    says: Any = field(default_factory=lambda: OK)
    error: str = ""
    events: list[dict[str, Any]] = field(default_factory=list)
    refuses: Refused | None = None
    wait: Callable[[], Any] | None = None

    def call(self, method: str, path: str, body: bytes = b"", stage: str = "prod", **headers: str) -> Answer:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        raw = f"{execute_api.PREFIX}{self.api_id}/{stage}{path}"
        builder = EnvironBuilder(method=method, path="/", headers=list(named.items()), data=body)
        environ = builder.get_environ()
        where, _, query = raw.partition("?")
        environ |= {
            "PATH_INFO": urllib.parse.unquote(where, "latin-1"),
            "QUERY_STRING": query,
            "RAW_URI": raw,
            "awslabs.sent": functools.partial(signatures.Sent, method, raw, list(named.items())),
        }
        return self.gateway.answer(Request(environ), body)

    def invoke(
        self, account: str, region: str, name: str, payload: bytes, asynchronous: bool = False
    ) -> invocations.Result:
        assert (account, region, name) == (ACCOUNT, "us-east-1", FUNCTION)
        if self.refuses is not None:
            raise self.refuses
        self.events.append(json.loads(payload))
        if self.wait is not None:
            self.wait()
        said = self.says if isinstance(self.says, bytes) else json.dumps(self.says).encode()
        return invocations.Result(200, said, self.error)

    def change(self, **more: Any) -> None:
        document = json.dumps(DOCUMENT | more).encode()
        client("apigateway").put_rest_api(restApiId=self.api_id, mode="overwrite", body=document)


@pytest.fixture
def api(monkeypatch: pytest.MonkeyPatch) -> Iterator[Api]:
    with cloud(every=True):
        trust = TRUST % '{"Service":"lambda.amazonaws.com"}'
        role = client("iam").create_role(RoleName="lab", AssumeRolePolicyDocument=trust)["Role"]["Arn"]
        client("lambda").create_function(
            FunctionName="lab", Runtime="python3.13", Handler="lab.handler", Role=role,
            Code={"ZipFile": code()},
        )  # fmt: skip
        api_id = client("apigateway").create_rest_api(name="lab")["id"]
        permit(f"arn:aws:execute-api:us-east-1:{ACCOUNT}:{api_id}/*/*")
        made = Api(api_id, execute_api.Gateway("http://127.0.0.1:4321"))
        made.change()
        client("apigateway").create_deployment(restApiId=api_id, stageName="prod", variables={"color": "red"})
        monkeypatch.setattr(invocations, "invoke", made.invoke)
        yield made
        made.gateway.close()


def permit(source: str, name: str = "api") -> None:
    client("lambda").add_permission(
        FunctionName="lab", StatementId=name, Action="lambda:InvokeFunction",
        Principal="apigateway.amazonaws.com", SourceArn=source,
    )  # fmt: skip


def message(answer: Answer) -> tuple[int, str]:
    return answer.status, json.loads(answer.body)["message"]


# --- the event ----------------------------------------------------------------------------------------


def test_the_function_is_told_of_the_request_as_aws_tells_it(api: Api) -> None:
    body = '{"first": "古池や"}'.encode()
    api.call("POST", "/haiku?tag=a&tag=b%20c&empty=", body, Content_Type="application/json", X_One="1")
    told = api.events[0]
    assert (told["resource"], told["path"], told["httpMethod"]) == ("/haiku", "/haiku", "POST")
    assert told["queryStringParameters"] == {"tag": "b c", "empty": ""}
    assert told["multiValueQueryStringParameters"] == {"tag": ["a", "b c"], "empty": [""]}
    assert (told["headers"]["X-One"], told["multiValueHeaders"]["X-One"]) == ("1", ["1"])
    assert told["headers"]["X-Forwarded-Proto"] == "http"
    assert (told["body"], told["isBase64Encoded"]) == (body.decode(), False)
    assert told["pathParameters"] is None
    assert told["stageVariables"] == {"color": "red"}
    context = told["requestContext"]
    assert (context["apiId"], context["stage"], context["accountId"]) == (api.api_id, "prod", ACCOUNT)
    assert (context["path"], context["resourcePath"]) == ("/prod/haiku", "/haiku")
    assert context["identity"]["sourceIp"] == "127.0.0.1"


def test_what_is_not_there_is_null(api: Api) -> None:
    api.call("GET", "/haiku")
    names = ("queryStringParameters", "multiValueQueryStringParameters", "pathParameters", "body")
    assert [api.events[0][name] for name in names] == [None] * 4


@pytest.mark.parametrize(
    ("method", "path", "resource", "parameters"),
    [
        ("PATCH", "/haiku/abc", "/haiku/{item_id}", {"item_id": "abc"}),
        ("PATCH", "/haiku/a%2Fb%20%E5%8F%A4", "/haiku/{item_id}", {"item_id": "a%2Fb%20%E5%8F%A4"}),
        ("GET", "/haiku/newest", "/haiku/newest", None),
        ("GET", "/haiku/", "/haiku", None),
        ("GET", "//haiku", "/haiku", None),
        ("DELETE", "/files/a/b.txt", "/files/{path+}", {"path": "a/b.txt"}),
        ("GET", "/files/a//b+c%2Bd/", "/files/{path+}", {"path": "a//b+c%2Bd"}),
        ("GET", "/files/exact", "/files/exact", None),
        ("OPTIONS", "/files/exact", "/files/{path+}", {"path": "exact"}),
    ],
)
def test_paths_find_their_resource(
    api: Api, method: str, path: str, resource: str, parameters: dict[str, str] | None
) -> None:
    assert api.call(method, path).status == 200
    assert (api.events[0]["resource"], api.events[0]["pathParameters"]) == (resource, parameters)


def test_the_path_is_told_as_it_was_sent(api: Api) -> None:
    api.call("GET", "//files/a%20b//c/")
    told = api.events[0]
    assert (told["path"], told["requestContext"]["path"]) == ("/files/a%20b//c/", "/prod//files/a%20b//c/")


def test_headers_are_told_as_the_client_spelled_them_but_for_those_of_the_connection(api: Api) -> None:
    between = ("Connection", "Te", "Upgrade", "Transfer-Encoding", "Expect", "Content-Length", "Content-MD5")
    sent = {"x-oNE": "1", "authORIZATION": "me", "HOST": "elsewhere"} | dict.fromkeys(between, "x")
    api.call("GET", "/haiku", **sent)
    told = api.events[0]
    ours = {"X-Amzn-Trace-Id", "X-Forwarded-For", "X-Forwarded-Port", "X-Forwarded-Proto"}
    assert (
        told["headers"].keys()
        == told["multiValueHeaders"].keys()
        == {"x-oNE", "Authorization", "Host"} | ours
    )
    assert (told["headers"]["x-oNE"], told["headers"]["Authorization"]) == ("1", "me")
    assert told["headers"]["Host"] == "127.0.0.1:4321"


@pytest.mark.parametrize(
    ("encoding", "body", "status"),
    [
        ("gzip", gzip.compress(b"text", mtime=0), 200),
        ("GZIP", gzip.compress(b"text", mtime=0), 200),
        ("deflate", zlib.compress(b"text"), 200),
        ("deflate", zlib.compress(b"text")[2:-4], 200),
        ("identity", b"text", 200),
        ("gzip", gzip.compress(b"text", mtime=0)[:-3], 415),
        ("gzip", b"text", 415),
        ("deflate", b"text", 415),
        ("br", b"text", 415),
        ("gzip", gzip.compress(bytes(11 * 1024 * 1024), mtime=0), 413),
    ],
)
def test_a_compressed_body_is_unpacked_or_refused(api: Api, encoding: str, body: bytes, status: int) -> None:
    answer = api.call("POST", "/haiku", body, Content_Encoding=encoding, Content_Type="text/plain")
    assert answer.status == status
    assert [event["body"] for event in api.events] == ["text"] * (status == 200)


def test_a_function_that_is_asked_by_get_is_a_500(api: Api) -> None:
    assert message(api.call("GET", "/by-get")) == (500, "Internal server error")
    assert not api.events


@pytest.mark.parametrize(
    ("method", "path"), [("GET", "/nowhere"), ("PUT", "/haiku"), ("HEAD", "/haiku"), ("GET", "/files")]
)
def test_an_unknown_path_or_method_is_forbidden(api: Api, method: str, path: str) -> None:
    answer = api.call(method, path)
    assert message(answer) == (403, "Missing Authentication Token")
    assert answer.headers["x-amzn-ErrorType"] == "MissingAuthenticationTokenException"
    assert answer.headers["Access-Control-Allow-Origin"] == "*"
    assert not api.events


def test_an_unknown_api_or_stage_is_forbidden(api: Api) -> None:
    assert message(api.call("GET", "/haiku", stage="test")) == (403, "Forbidden")
    api.api_id = "abcdefghij"
    assert message(api.call("GET", "/haiku")) == (403, "Forbidden")


def test_binary_bodies_travel_as_base64(api: Api) -> None:
    api.change(**{"x-amazon-apigateway-binary-media-types": ["image/*"]})
    client("apigateway").create_deployment(restApiId=api.api_id, stageName="prod")
    api.says = OK | {"body": base64.b64encode(b"\x00\xff").decode(), "isBase64Encoded": True}
    answer = api.call("POST", "/haiku", b"\x89PNG\xff", Content_Type="image/png", Accept="image/png")
    told = api.events[0]
    assert (told["isBase64Encoded"], base64.b64decode(told["body"])) == (True, b"\x89PNG\xff")
    assert answer.body == b"\x00\xff"
    assert api.call("POST", "/haiku", b"text", Content_Type="text/plain").body == b"AP8="
    assert (api.events[1]["isBase64Encoded"], api.events[1]["body"]) == (False, "text")


# --- the answer ---------------------------------------------------------------------------------------


def test_the_functions_answer_goes_back_with_all_its_headers(api: Api) -> None:
    api.says = {
        "statusCode": 201,
        "headers": {"Content-Type": "text/plain", "X-Both": "one", "X-True": True, "Date": "then"},
        "multiValueHeaders": {"Set-Cookie": ["a=1", "b=2"], "x-both": ["two"]},
        "body": "古池や",
    }
    answer = api.call("GET", "/haiku")
    headers: Any = answer.headers
    assert (answer.status, answer.body) == (201, "古池や".encode())
    assert [value for name, value in headers.items() if name == "Set-Cookie"] == ["a=1", "b=2"]
    assert [(name, value) for name, value in headers.items() if name.lower() == "x-both"] == [
        ("x-both", "two"),
        ("x-both", "one"),
    ]
    assert (headers["X-True"], headers["x-amzn-Remapped-Date"]) == ("true", "then")
    assert headers["Content-Type"] == "text/plain"
    assert headers["x-amzn-RequestId"]


def test_an_answer_without_a_status_or_type_is_json_and_200(api: Api) -> None:
    api.says = {}
    answer = api.call("GET", "/haiku")
    assert (answer.status, answer.body, answer.headers["Content-Type"]) == (200, b"", "application/json")


@pytest.mark.parametrize(
    "said",
    [
        "text", [1], None, {"status": 200}, OK | {"body": {"a": 1}}, OK | {"statusCode": "many"},
        OK | {"statusCode": 1000}, OK | {"headers": ["a"]}, OK | {"headers": {"a": {}}}, b"no json",
        OK | {"multiValueHeaders": {"a": "b"}}, OK | {"headers": {"a": "b\r\nSet-Cookie: c"}},
        OK | {"headers": {"\u6f22": "b"}}, OK | {"headers": {"a": "\ud800"}},
        OK | {"statusCode": float("inf")}, OK | {"statusCode": 100},
    ],
    ids=str,
)  # fmt: skip
def test_what_is_no_proxy_answer_is_a_502(api: Api, said: Any) -> None:
    api.says = said
    answer = api.call("GET", "/haiku")
    assert message(answer) == (502, "Internal server error")
    assert answer.headers["Access-Control-Allow-Origin"] == "*"


def test_a_function_that_fails_is_a_502(api: Api) -> None:
    api.error = "Unhandled"
    assert message(api.call("GET", "/haiku")) == (502, "Internal server error")


def test_a_function_that_cannot_be_invoked_is_a_500(api: Api) -> None:
    api.refuses = invocations.Throttled("ReservedFunctionConcurrentInvocationLimitExceeded")
    assert message(api.call("GET", "/haiku")) == (500, "Internal server error")


def test_a_runtime_that_is_not_here_is_said(api: Api) -> None:
    api.refuses = Refused("NotImplemented", "The practice cloud runs functions in Python.", 501)
    assert message(api.call("GET", "/haiku")) == (501, "The practice cloud runs functions in Python.")


def test_a_function_that_takes_too_long_is_a_504_and_goes_on(api: Api) -> None:
    go_on, ended = threading.Event(), threading.Event()

    def slowly() -> None:
        go_on.wait(120)
        ended.set()

    api.wait = slowly
    assert message(api.call("GET", "/slow")) == (504, "Endpoint request timed out")
    go_on.set()
    assert ended.wait(120)


def test_the_timeout_is_29_seconds_where_none_is_set(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(execute_api, "TIMEOUT_SCALE", 0.001)
    go_on = threading.Event()
    api.wait = lambda: go_on.wait(120)
    assert message(api.call("GET", "/haiku")) == (504, "Endpoint request timed out")
    go_on.set()


def test_more_than_10_mb_are_too_long(api: Api) -> None:
    assert message(api.call("POST", "/haiku", bytes(10 * 1024 * 1024 + 1))) == (413, "Request Too Long")
    assert not api.events


# --- permissions --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "status"),
    [
        ("{api}/*/*", 200),
        ("{api}/prod/GET/haiku", 200),
        ("{api}/test/GET/haiku", 500),
        ("{api}/prod/POST/haiku", 500),
        ("another/*/*", 500),
        (None, 500),
    ],
)
def test_the_function_has_to_let_the_api_invoke_it(api: Api, source: str | None, status: int) -> None:
    client("lambda").remove_permission(FunctionName="lab", StatementId="api")
    if source:
        permit(f"arn:aws:execute-api:us-east-1:{ACCOUNT}:{source.format(api=api.api_id)}")
    answer = api.call("GET", "/haiku")
    assert answer.status == status
    assert len(api.events) == (status == 200)


def test_what_denies_in_a_functions_policy_counts(api: Api) -> None:
    held = resource_policies.statements(ACCOUNT, "us-east-1", "lab")
    held.append(held[0] | {"Effect": "Deny"})
    assert api.call("GET", "/haiku").status == 500


def test_a_function_that_is_gone_is_a_500(api: Api) -> None:
    client("lambda").delete_function(FunctionName="lab")
    assert message(api.call("GET", "/haiku")) == (500, "Internal server error")


# --- deployments, limits ------------------------------------------------------------------------------


def test_a_change_is_not_live_until_the_next_deployment(api: Api) -> None:
    api.change(paths={"/other": {"get": proxied()}})
    assert api.call("GET", "/haiku").status == 200
    assert api.call("GET", "/other").status == 403
    client("apigateway").create_deployment(restApiId=api.api_id, stageName="prod")
    assert api.call("GET", "/haiku").status == 403
    assert api.call("GET", "/other").status == 200


def test_a_stage_may_go_back_to_an_older_deployment(api: Api) -> None:
    aws = client("apigateway")
    first = aws.get_stage(restApiId=api.api_id, stageName="prod")["deploymentId"]
    api.change(paths={"/other": {"get": proxied()}})
    aws.create_deployment(restApiId=api.api_id, stageName="prod")
    back = [{"op": "replace", "path": "/deploymentId", "value": first}]
    aws.update_stage(restApiId=api.api_id, stageName="prod", patchOperations=back)
    assert (api.call("GET", "/haiku").status, api.call("GET", "/other").status) == (200, 403)


def limit(api: Api, where: str, rate: int, burst: int) -> None:
    steps = [
        {"op": "replace", "path": f"/{where}/throttling/{name}", "value": str(value)}
        for name, value in (("rateLimit", rate), ("burstLimit", burst))
    ]
    client("apigateway").update_stage(restApiId=api.api_id, stageName="prod", patchOperations=steps)


def test_a_stages_limits_let_a_burst_through_and_then_a_rate(api: Api) -> None:
    limit(api, "*/*", 2, 3)
    assert [api.call("GET", "/haiku").status for _ in range(5)] == [200, 200, 200, 429, 429]
    answer = api.call("GET", "/haiku")
    assert json.loads(answer.body) == {"oh": "Too Many Requests"}  # as the API says for THROTTLED
    assert answer.headers["x-amzn-ErrorType"] == "TooManyRequestsException"
    assert api.call("GET", "/haiku/newest").status == 200  # each method has them to itself
    wait(0.5)
    assert [api.call("GET", "/haiku").status for _ in range(2)] == [200, 429]
    limit(api, "*/*", 2, 4)  # other numbers begin anew
    assert api.call("GET", "/haiku").status == 200


def test_a_methods_own_limit_wins(api: Api) -> None:
    limit(api, "*/*", 100, 100)
    limit(api, "~1haiku/GET", 1, 1)
    assert [api.call("GET", "/haiku").status for _ in range(2)] == [200, 429]
    assert [api.call("POST", "/haiku").status for _ in range(2)] == [200, 200]


# --- without a function -------------------------------------------------------------------------------


def test_a_preflight_is_answered_without_a_function(api: Api) -> None:
    answer = api.call("OPTIONS", "/haiku", Origin="http://elsewhere", Access_Control_Request_Method="POST")
    assert (answer.status, answer.body) == (204, b"")
    assert answer.headers["Access-Control-Allow-Origin"] == "*"
    assert not api.events


def test_what_the_room_cannot_do_it_says(api: Api) -> None:
    status, said = message(api.call("GET", "/bucket"))
    assert (status, "AWS integration with" in said) == (501, True)
    everybody = {"Effect": "Deny", "Principal": "*", "Action": "execute-api:Invoke", "Resource": "*"}
    policy = json.dumps({"Version": "2012-10-17", "Statement": [everybody]})
    step = [{"op": "replace", "path": "/policy", "value": policy}]
    client("apigateway").update_rest_api(restApiId=api.api_id, patchOperations=step)
    status, said = message(api.call("GET", "/haiku"))
    assert (status, "resource policies" in said) == (501, True)


# --- templates and mappings ---------------------------------------------------------------------------


def described(integration: dict[str, Any], *statuses: str, **method: Any) -> dict[str, Any]:
    """A method that declares these statuses, with the headers that its integration maps."""
    mapped = [
        name
        for each in integration.get("responses", {}).values()
        for name in each.get("responseParameters", {})
    ]
    headers = {name.removeprefix("method.response.header."): {} for name in mapped}
    answers = {status: {"description": "", "headers": headers} for status in statuses}
    return {"responses": answers, "x-amazon-apigateway-integration": integration, **method}


def deploy(api: Api, paths: dict[str, Any], **more: Any) -> None:
    api.change(paths=paths, **more)
    client("apigateway").create_deployment(restApiId=api.api_id, stageName="prod")


def test_a_mock_says_what_its_templates_make_of_a_call(api: Api) -> None:
    request = """#set($context.responseOverride.header.X-Two = "2")
#if($input.params('q') == 'teapot')#set($context.responseOverride.status = 418)#end {"statusCode": 200}"""
    mock = {
        "type": "mock",
        "requestTemplates": {"application/json": request},
        "responses": {
            "default": {
                "statusCode": "200",
                "responseParameters": {"method.response.header.X-One": "context.stage"},
                "responseTemplates": {"application/json": '{"id": "$input.params(\'id\')"}'},
            }
        },
    }
    deploy(api, {"/{id}": {"get": described(mock, "200")}})
    answer = api.call("GET", "/a%20b?q=tea")
    assert (answer.status, json.loads(answer.body)) == (200, {"id": "a b"})
    assert (answer.headers["X-One"], answer.headers["X-Two"]) == ("prod", "2")
    assert "X-Amzn-Trace-Id" not in answer.headers
    assert api.call("GET", "/a?q=teapot").status == 418


@pytest.mark.parametrize(
    ("behavior", "kind", "status"),
    [
        ("when_no_match", "text/plain", 500),  # the body passes through, and names no status
        ("when_no_templates", "text/plain", 415),
        ("never", "text/plain", 415),
        ("never", "application/json", 200),
    ],
)
def test_a_body_that_no_template_is_for_passes_through_or_not(
    api: Api, behavior: str, kind: str, status: int
) -> None:
    mock = {
        "type": "mock",
        "passthroughBehavior": behavior,
        "requestTemplates": {"application/json": "{statusCode: 200}"},
        "responses": {"default": {"statusCode": "200"}},
    }
    deploy(api, {"/": {"post": described(mock, "200")}})
    assert api.call("POST", "/", b"haiku", Content_Type=kind).status == status


def test_a_function_behind_templates_is_told_and_answers_through_them(api: Api) -> None:
    custom = {
        "type": "aws",
        "httpMethod": "POST",
        "uri": URI,
        "requestTemplates": {"application/json": '{"name": "$input.params(\'name\')"}'},
        "responses": {
            "default": {"statusCode": "200"},
            ".*four hundred.*": {
                "statusCode": "400",
                "responseTemplates": {"application/json": "$input.path('$.errorMessage')"},
            },
        },
    }
    deploy(api, {"/a": {"get": described(custom, "200", "400")}})
    api.says = {"said": "hello"}
    answer = api.call("GET", "/a?name=basho")
    assert (answer.status, json.loads(answer.body)) == (200, {"said": "hello"})
    assert answer.headers["X-Amzn-Trace-Id"].startswith("Root=1-")
    assert api.events == [{"name": "basho"}]
    api.says, api.error = {"errorMessage": "four hundred\nlines"}, "Unhandled"
    answer = api.call("GET", "/a")
    assert (answer.status, answer.body) == (400, b"four hundred\nlines")


def test_a_header_that_none_may_map_is_a_500_even_where_nobody_is_told(api: Api) -> None:
    assert api.call("GET", "/mapped").status == 500
    assert not api.events


@pytest.fixture
def web() -> Iterator[str]:
    """A web server that says what it was asked, with the status that its path begins with."""

    class Echo(http.server.BaseHTTPRequestHandler):
        def answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
            status = int(self.path.strip("/").partition("/")[0].partition("?")[0])
            asked = {"method": self.command, "path": self.path, "headers": dict(self.headers), "body": body}
            said = json.dumps(asked).encode()
            self.send_response(status)
            for name, value in (
                ("X-One", "1"),
                ("X-Two", "a"),
                ("X-Two", "b"),
                ("Content-Length", len(said)),
            ):
                self.send_header(name, str(value))
            self.end_headers()
            self.wfile.write(said)

        do_GET = do_POST = answer  # noqa: N815  (the names are http.server's)

        def log_message(self, *args: Any) -> None:
            """Nobody reads it."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Echo)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_web_server_is_asked_what_the_mapping_says(api: Api, web: str) -> None:
    custom = {
        "type": "http",
        "httpMethod": "POST",
        "uri": f"{web}/{{status}}",
        "requestParameters": {
            "integration.request.path.status": "method.request.path.status",
            "integration.request.querystring.q": "method.request.querystring.name",
            "integration.request.header.X-Stage": "context.stage",
            "integration.request.header.X-Word": "method.request.body.word",
        },
        "responses": {
            "default": {
                "statusCode": "200",
                "responseParameters": {
                    "method.response.header.X-Two": "integration.response.multivalueheader.X-Two",
                    "method.response.header.X-Path": "integration.response.body.path",
                    "method.response.header.Server": "'mine'",
                },
            },
            "4\\d{2}": {"statusCode": "400"},
        },
    }
    deploy(api, {"/{status}": {"post": described(custom, "200", "400")}})
    answer = api.call("POST", "/201?name=a", b'{"word": "old pond"}', Content_Type="application/json")
    asked = json.loads(answer.body)
    assert (answer.status, asked["method"], asked["path"]) == (200, "POST", "/201?q=a")
    assert asked["body"] == '{"word": "old pond"}'
    headers = {name.lower(): value for name, value in asked["headers"].items()}
    assert (headers["x-stage"], headers["x-word"]) == ("prod", "old pond")
    assert headers["user-agent"] == f"AmazonAPIGateway_{api.api_id}"
    assert headers["x-amzn-apigateway-api-id"] == api.api_id
    assert answer.headers["X-Two"] == "a,b"
    assert (answer.headers["X-Path"], answer.headers["x-amzn-Remapped-Server"]) == ("/201?q=a", "mine")
    assert api.call("POST", "/404").status == 400
    assert api.call("POST", "/503").status == 200


def test_a_proxy_of_a_web_server_passes_on_what_it_says(api: Api, web: str) -> None:
    proxy = {
        "type": "http_proxy",
        "httpMethod": "ANY",
        "uri": f"{web}/418/{{path}}",
        "requestParameters": {"integration.request.path.path": "method.request.path.path"},
    }
    gone = {"type": "http_proxy", "httpMethod": "GET", "uri": "http://127.0.0.1:1/"}
    deploy(
        api,
        {"/{path+}": {"x-amazon-apigateway-any-method": described(proxy)}, "/gone": {"get": described(gone)}},
    )
    answer = api.call("GET", "/a/b?q=1&q=2", X_Own="x")
    asked = json.loads(answer.body)
    assert (answer.status, asked["path"]) == (418, "/418/a/b?q=1&q=2")
    assert asked["headers"]["X-Own"] == "x"
    assert answer.headers["X-One"] == "1"
    assert "x-amzn-Remapped-Content-Length" in answer.headers
    assert message(api.call("GET", "/gone")) == (504, "Network error communicating with endpoint")


def test_a_request_validator_looks_at_parameters_and_bodies(api: Api) -> None:
    haiku = {
        "type": "object",
        "required": ["lines"],
        "properties": {"lines": {"$ref": "#/components/schemas/Lines"}},
    }
    mock = {
        "type": "mock",
        "requestTemplates": {"application/json": '{"statusCode": 200}'},
        "responses": {"default": {"statusCode": "200"}},
    }
    asked = [
        {"name": "q", "in": "query", "required": True},
        {"name": "X-One", "in": "header", "required": True},
    ]
    body = {"content": {"application/json": {"schema": {"$ref": "#/components/schemas/Haiku"}}}}
    deploy(
        api,
        {"/": {"post": described(mock, "200", parameters=asked, requestBody=body)}},
        components={"schemas": {"Haiku": haiku, "Lines": {"type": "array"}}},
        **{
            "x-amazon-apigateway-request-validators": {
                "all": {"validateRequestBody": True, "validateRequestParameters": True}
            },
            "x-amazon-apigateway-request-validator": "all",
        },
    )
    assert message(api.call("POST", "/")) == (400, "Missing required request parameters: [X-One, q]")
    said = functools.partial(api.call, "POST", "/?q=1", X_One="1", Content_Type="application/json")
    assert said(b'{"lines": [1, 2, 3]}').status == 200
    for wrong in (b'{"lines": 3}', b"{}", b"", b"{"):
        assert message(said(wrong)) == (400, "Invalid request body")


def test_an_answer_tells_the_trace_of_the_call(api: Api) -> None:
    trace = "Root=1-3152b799-8954dae64eda91bc9a23a7e8"
    whole = f"{trace};Parent=7fa8c0f79203be72;Sampled=1"
    assert api.call("GET", "/haiku", X_Amzn_Trace_Id=whole).headers["X-Amzn-Trace-Id"] == whole
    answer = api.call("GET", "/haiku", X_Amzn_Trace_Id=trace)
    assert answer.headers["X-Amzn-Trace-Id"].startswith(f"{trace};Parent=")


def test_a_method_that_an_authorizer_guards_is_closed(api: Api) -> None:
    guard = {
        "type": "apiKey", "name": "Authorization", "in": "header",
        "x-amazon-apigateway-authorizer": {"type": "token", "authorizerUri": URI},
    }  # fmt: skip
    deploy(
        api,
        {"/a": {"get": proxied()}},
        security=[{"guard": []}],
        components={"securitySchemes": {"guard": guard}},
    )
    status, said = message(api.call("GET", "/a"))
    assert (status, "authorization of type CUSTOM" in said) == (501, True)
    assert not api.events


# --- API keys -----------------------------------------------------------------------------------------

SECURED = {
    "paths": {"/haiku": {"get": proxied()}},
    "security": [{"key": []}],
    "components": {"securitySchemes": {"key": {"type": "apiKey", "name": "x-api-key", "in": "header"}}},
}


@dataclass
class Plan:
    """A usage plan of an API that asks for keys, with a key."""

    api: Api
    plan_id: str
    key_id: str
    value: str

    def get(self, **headers: str) -> Answer:
        return self.api.call("GET", "/haiku", **headers)


@pytest.fixture
def plan(api: Api) -> Plan:
    aws = client("apigateway")
    api.change(**SECURED)
    aws.create_deployment(restApiId=api.api_id, stageName="prod")
    plan_id = aws.create_usage_plan(name="few", apiStages=[{"apiId": api.api_id, "stage": "prod"}])["id"]
    key = aws.create_api_key(name="mine", enabled=True)
    aws.create_usage_plan_key(usagePlanId=plan_id, keyId=key["id"], keyType="API_KEY")
    return Plan(api, plan_id, key["id"], key["value"])


def test_an_api_that_wants_a_key_is_closed_without_one(plan: Plan) -> None:
    for answer in (plan.get(), plan.get(x_api_key="another")):
        assert message(answer) == (403, "Forbidden")
        assert answer.headers["x-amzn-ErrorType"] == "ForbiddenException"
    assert plan.get(X_Api_Key=plan.value).status == 200
    identity = plan.api.events[0]["requestContext"]["identity"]
    assert (identity["apiKey"], identity["apiKeyId"]) == (plan.value, plan.key_id)


def test_a_key_opens_nothing_when_it_is_disabled_or_in_no_plan_of_the_stage(plan: Plan) -> None:
    aws, api = client("apigateway"), plan.api
    step = [{"op": "replace", "path": "/enabled", "value": "false"}]
    aws.update_api_key(apiKey=plan.key_id, patchOperations=step)
    assert plan.get(x_api_key=plan.value).status == 403
    step[0]["value"] = "true"
    aws.update_api_key(apiKey=plan.key_id, patchOperations=step)
    assert plan.get(x_api_key=plan.value).status == 200
    stage = {"op": "remove", "path": "/apiStages", "value": f"{api.api_id}:prod"}
    aws.update_usage_plan(usagePlanId=plan.plan_id, patchOperations=[stage])
    assert plan.get(x_api_key=plan.value).status == 403


def test_a_usage_plan_ends(plan: Plan) -> None:
    steps = [
        {"op": "replace", "path": f"/{name}", "value": value}
        for name, value in (("throttle/rateLimit", "1"), ("throttle/burstLimit", "2"))
    ]
    aws = client("apigateway")
    aws.update_usage_plan(usagePlanId=plan.plan_id, patchOperations=steps)
    assert [plan.get(x_api_key=plan.value).status for _ in range(3)] == [200, 200, 429]
    steps = [
        {"op": "replace", "path": "/quota/limit", "value": "1"},
        {"op": "replace", "path": "/quota/period", "value": "DAY"},
    ]
    aws.update_usage_plan(usagePlanId=plan.plan_id, patchOperations=steps)
    wait(10)
    assert plan.get(x_api_key=plan.value).status == 200
    assert message(plan.get(x_api_key=plan.value)) == (429, "Limit Exceeded")
    wait(24 * 3600)
    assert plan.get(x_api_key=plan.value).status == 200


def test_bashoutters_own_description_is_served(api: Api) -> None:
    from awslabs import serverless

    text = (serverless.BASHOUTTER / "openapi.yaml").read_text().replace("__REGION__", "us-east-1")
    for verb in ("LIST", "POST", "LIKE", "DELETE"):
        text = text.replace(f"__{verb}_ARN__", FUNCTION)
    assert yaml.safe_load(text)["openapi"]
    aws = client("apigateway")
    aws.put_rest_api(restApiId=api.api_id, mode="overwrite", failOnWarnings=True, body=text.encode())
    aws.create_deployment(restApiId=api.api_id, stageName="prod")
    preflight = api.call("OPTIONS", "/haiku/abc")
    assert preflight.status == 204
    assert preflight.headers["Access-Control-Allow-Methods"] == "PATCH,DELETE,OPTIONS"
    assert preflight.headers["Access-Control-Max-Age"] == "600"
    assert api.call("DELETE", "/haiku/abc").status == 200
    assert api.events[0]["pathParameters"] == {"item_id": "abc"}


# --- over HTTP, with a real function ------------------------------------------------------------------


ECHO = """
import base64, json

def handler(event, context):
    if event["httpMethod"] == "DELETE":
        raise ValueError("no")
    kept = {name: event[name] for name in ("path", "httpMethod", "pathParameters", "queryStringParameters")}
    return {
        "statusCode": 200,
        "headers": {"Content-Type": "application/json"},
        "multiValueHeaders": {"Set-Cookie": ["a=1", "b=2"]},
        "body": json.dumps(kept | {"body": event["body"]}, ensure_ascii=False),
    }
"""


def test_a_browser_reaches_a_real_function_through_the_server(tmp_path: Path) -> None:
    run = sandbox.start(slow_states=0, home=tmp_path)
    try:
        made = functools.partial(
            boto3.client, endpoint_url=run.endpoint_url, region_name="us-east-1",
            aws_access_key_id=f"AKIAPRACTICE{ACCOUNT}",
            aws_secret_access_key=run.secret_access_key(f"AKIAPRACTICE{ACCOUNT}"),
        )  # fmt: skip
        trust = TRUST % '{"Service":"lambda.amazonaws.com"}'
        role = made("iam").create_role(RoleName="lab", AssumeRolePolicyDocument=trust)["Role"]["Arn"]
        file = io.BytesIO()
        with zipfile.ZipFile(file, "w") as archive:
            archive.writestr("lab.py", ECHO)
        made("lambda").create_function(
            FunctionName="lab", Runtime="python3.13", Handler="lab.handler", Role=role, Timeout=60,
            Code={"ZipFile": file.getvalue()},
        )  # fmt: skip
        aws = made("apigateway")
        api_id = aws.create_rest_api(name="lab")["id"]
        aws.put_rest_api(restApiId=api_id, mode="overwrite", body=json.dumps(DOCUMENT).encode())
        aws.create_deployment(restApiId=api_id, stageName="prod")
        url = f"{run.endpoint_url}{execute_api.PREFIX}{api_id}/prod"
        page = {"Origin": "http://elsewhere.example"}
        assert requests.get(f"{url}/files/a", headers=page, timeout=120).status_code == 500
        made("lambda").add_permission(
            FunctionName="lab", StatementId="api", Action="lambda:InvokeFunction",
            Principal="apigateway.amazonaws.com",
            SourceArn=f"arn:aws:execute-api:us-east-1:{ACCOUNT}:{api_id}/prod/*/files/*",
        )  # fmt: skip
        answer = requests.post(
            f"{url}/files/a%2Fb/%E5%8F%A4?q=1+2", data="古池".encode(), headers=page, timeout=120
        )
        assert answer.status_code == 200
        assert answer.json() == {
            "path": "/files/a%2Fb/%E5%8F%A4",
            "httpMethod": "POST",
            "pathParameters": {"path": "a%2Fb/%E5%8F%A4"},
            "queryStringParameters": {"q": "1 2"},
            "body": "古池",
        }
        assert [value for name, value in answer.raw.headers.items() if name == "Set-Cookie"] == ["a=1", "b=2"]
        assert requests.head(f"{url}/files/a", timeout=120).status_code == 200
        assert requests.options(f"{url}/haiku", headers=page, timeout=120).status_code == 204
        answer = requests.delete(f"{url}/files/a", headers=page, timeout=120)
        assert (answer.status_code, answer.json()) == (502, {"message": "Internal server error"})
        assert answer.headers["Access-Control-Allow-Origin"] == "*"
    finally:
        run.stop()
