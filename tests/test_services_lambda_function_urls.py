"""Addresses of functions: what may be set, and what a request there gives."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import boto3
import pytest
import requests
from botocore.config import Config
from test_services_lambda_functions import make
from test_services_lambda_invocations import Account
from test_services_support import client, cloud, refused

from awslabs import sandbox
from awslabs.sandbox.services.lambda_ import function_urls  # noqa: F401  (what is tested here)

FUNCTION = "arn:aws:lambda:us-east-1:123456789012:function:lab"
GONE, BUSY, BAD = "ResourceNotFoundException", "ResourceConflictException", "ValidationException"
NOTHING = (GONE, "The resource you requested does not exist.", 404)
NOBODY = (GONE, "Function does not exist", 404)
LAB = {"FunctionName": "lab"}


def with_alias() -> Any:
    make()
    aws = client("lambda")
    aws.publish_version(FunctionName="lab")
    aws.create_alias(FunctionName="lab", Name="live", FunctionVersion="1")
    return aws


# --- what may be set ----------------------------------------------------------------------------------


def test_a_function_and_its_alias_have_an_address_each() -> None:
    with cloud(every=True):
        aws = with_alias()
        own = aws.create_function_url_config(**LAB, AuthType="NONE")
        alias = aws.create_function_url_config(
            **LAB, Qualifier="live", AuthType="NONE", InvokeMode="BUFFERED"
        )
        assert (own["FunctionArn"], alias["FunctionArn"]) == (FUNCTION, f"{FUNCTION}:live")
        assert own["FunctionUrl"] != alias["FunctionUrl"]
        assert ("InvokeMode" in own, "LastModifiedTime" in own, alias["InvokeMode"]) == (
            False,
            False,
            "BUFFERED",
        )
        shown = aws.get_function_url_config(**LAB)
        assert (shown["InvokeMode"], shown["LastModifiedTime"]) == ("BUFFERED", own["CreationTime"])
        listed = aws.list_function_url_configs(**LAB, MaxItems=1)
        rest = aws.list_function_url_configs(**LAB, Marker=listed["NextMarker"])["FunctionUrlConfigs"]
        assert [each["FunctionUrl"] for each in [*listed["FunctionUrlConfigs"], *rest]] == [
            own["FunctionUrl"],
            alias["FunctionUrl"],
        ]
        aws.delete_function_url_config(**LAB)
        assert refused(aws.get_function_url_config, **LAB) == NOTHING
        assert aws.get_function_url_config(FunctionName="lab:live")["FunctionUrl"] == alias["FunctionUrl"]


def test_a_second_address_is_refused() -> None:
    with cloud(every=True):
        make()
        create = client("lambda").create_function_url_config
        create(**LAB, AuthType="NONE")
        says = (
            f"Failed to create function url config for [functionArn = {FUNCTION}]. Error message:  "
            "FunctionUrlConfig exists for this Lambda function"
        )
        assert refused(create, **LAB, AuthType="NONE") == (BUSY, says, 409)


def test_what_is_not_there_has_its_own_words() -> None:
    with cloud(every=True):
        aws = with_alias()
        for method, more, unknown in (
            (aws.create_function_url_config, {"AuthType": "NONE"}, NOBODY),
            (aws.update_function_url_config, {}, NOBODY),
            (aws.get_function_url_config, {}, NOTHING),
            (aws.delete_function_url_config, {}, NOTHING),
        ):
            assert refused(method, FunctionName="none", **more) == unknown
            assert refused(method, **LAB, Qualifier="other", **more) == unknown
            for qualifier in ("1", "$LATEST"):
                assert refused(method, **LAB, Qualifier=qualifier, **more)[::2] == (BAD, 400)
            if method != aws.create_function_url_config:
                assert refused(method, **LAB, **more) == NOTHING
        assert refused(aws.list_function_url_configs, FunctionName="none") == NOBODY


def test_what_does_not_answer_here_is_refused_honestly() -> None:
    with cloud(every=True):
        make()
        create = client("lambda").create_function_url_config
        for more in ({"InvokeMode": "RESPONSE_STREAM"}, {"Cors": {"AllowOrigins": ["*"]}}):
            code, _, status = refused(create, **LAB, AuthType="NONE", **more)
            assert (code, status) == ("NotImplemented", 501)
        says = (
            "1 validation error detected: Value 'UNKNOWN' at 'invokeMode' failed to satisfy constraint: "
            "Member must satisfy enum value set: [RESPONSE_STREAM, BUFFERED]"
        )
        assert refused(create, **LAB, AuthType="NONE", InvokeMode="UNKNOWN") == (BAD, says, 400)


def test_who_may_come_in_is_one_of_two_words() -> None:
    with cloud(every=True):
        make()
        aws = client("lambda")
        says = (
            "1 validation error detected: Value 'ANYBODY' at 'authType' failed to satisfy constraint: "
            "Member must satisfy enum value set: [NONE, AWS_IAM]"
        )
        assert refused(aws.create_function_url_config, **LAB, AuthType="ANYBODY") == (BAD, says, 400)
        aws.create_function_url_config(**LAB, AuthType="AWS_IAM")
        assert refused(aws.update_function_url_config, **LAB, AuthType="ANYBODY") == (BAD, says, 400)
        assert aws.get_function_url_config(**LAB)["AuthType"] == "AWS_IAM"


def test_a_page_that_is_none_is_refused() -> None:
    with cloud(every=True):
        make()
        pages = boto3.client("lambda", "us-east-1", config=Config(parameter_validation=False))
        for method in (pages.list_function_url_configs, pages.list_function_event_invoke_configs):
            assert refused(method, **LAB, Marker="x")[::2] == ("InvalidParameterValueException", 400)
            assert refused(method, **LAB, MaxItems="x")[::2] == ("InvalidParameterValueException", 400)
            for count, bound in ((0, "greater than or equal to 1"), (51, "less than or equal to 50")):
                code, text, status = refused(method, **LAB, MaxItems=count)
                assert (code, status) == (BAD, 400)
                assert text.endswith(
                    f"Value '{count}' at 'maxItems' failed to satisfy constraint: Member must "
                    f"have value {bound}"
                )


# --- what a request gives -----------------------------------------------------------------------------

ECHO = """
    import json
    def handler(event, context):
        if event["rawPath"] == "/own":
            return json.loads(event["body"])
        if event["rawPath"] == "/fails":
            raise RuntimeError("no")
        return event
"""


@pytest.fixture
def aws(run: sandbox.Run) -> Iterator[Account]:
    account = Account(run)
    yield account
    run.reset(account.id)


def opened(aws: Account, **of: str) -> str:
    """The address of the function, or of its alias, which anybody may use."""
    url: str = aws.lambda_.create_function_url_config(**LAB, AuthType="NONE", **of)["FunctionUrl"]
    aws.lambda_.add_permission(
        **LAB,
        StatementId="all",
        Action="lambda:InvokeFunctionUrl",
        Principal="*",
        FunctionUrlAuthType="NONE",
        **of,
    )
    return url


@pytest.mark.live
def test_a_request_becomes_an_event(aws: Account) -> None:
    aws.make(ECHO)
    url = opened(aws)
    headers = {"Content-Type": "text/plain", "Cookie": "a=1; b=2", "X-Own": "Yes"}
    told = requests.post(f"{url}/pa%2Fth?q=a&q=b%20c", data="hello", headers=headers, timeout=60).json()
    assert (told["version"], told["rawPath"], told["rawQueryString"]) == ("2.0", "/pa/th", "q=a&q=b%20c")
    assert told["queryStringParameters"] == {"q": "a,b c"}
    assert (told["cookies"], told["headers"]["x-own"]) == (["a=1", "b=2"], "Yes")
    assert "connection" not in told["headers"]
    assert (told["body"], told["isBase64Encoded"]) == ("hello", False)
    http = told["requestContext"]["http"]
    assert (http["method"], http["path"], http["sourceIp"]) == ("POST", "/pa/th", "127.0.0.1")
    form = requests.post(url, data={"a": "b"}, timeout=60).json()
    assert (form["body"], form["isBase64Encoded"], form["rawPath"]) == ("YT1i", True, "/")
    assert "body" not in requests.get(url, timeout=60).json()


@pytest.mark.live
@pytest.mark.parametrize(
    ("returned", "status", "body"),
    [
        ({"statusCode": 201, "body": "made"}, 201, "made"),
        ({"statusCode": "418", "body": "tea"}, 418, "tea"),
        ({"statusCode": 200, "body": "YQ==", "isBase64Encoded": True}, 200, "a"),
        ({"hello": "world"}, 200, '{"hello":"world"}'),
        ("hello", 200, "hello"),
        (["hello", 3, True], 200, '["hello",3,true]'),
        ({"statusCode": "none"}, 502, "Internal Server Error"),
        ({"statusCode": float("inf")}, 502, "Internal Server Error"),
        ({"statusCode": 100}, 502, "Internal Server Error"),
        ({"statusCode": 200, "headers": {"X\r\nSet-Cookie: a=1;": "b"}}, 502, "Internal Server Error"),
        ({"statusCode": 200, "headers": {"X: a": "b"}}, 502, "Internal Server Error"),
        ({"statusCode": 200, "headers": {"": "b"}}, 502, "Internal Server Error"),
        ({"statusCode": 200, "headers": {"\u6f22": "b"}}, 502, "Internal Server Error"),
        ({"statusCode": 200, "headers": {"X": "a\rb"}}, 502, "Internal Server Error"),
        ({"statusCode": 200, "cookies": ["a=1\r\nX: y"]}, 502, "Internal Server Error"),
    ],
)
def test_what_a_function_returns_becomes_an_answer(
    aws: Account, returned: Any, status: int, body: str
) -> None:
    aws.make(ECHO)
    answer = requests.post(
        f"{opened(aws)}own",
        data=json.dumps(returned),
        headers={"Content-Type": "application/json"},
        timeout=60,
    )
    assert (answer.status_code, answer.text) == (status, body)
    assert answer.headers["Content-Type"] == "application/json"


@pytest.mark.live
def test_headers_and_cookies_of_an_answer_are_the_functions(aws: Account) -> None:
    aws.make(ECHO)
    returned = {
        "statusCode": 200,
        "headers": {"X-Own": "yes", "Content-Type": "text/html"},
        "cookies": ["a=1"],
    }
    answer = requests.post(
        f"{opened(aws)}own",
        data=json.dumps(returned),
        headers={"Content-Type": "application/json"},
        timeout=60,
    )
    assert (answer.headers["X-Own"], answer.headers["Content-Type"]) == ("yes", "text/html")
    assert answer.cookies["a"] == "1"


@pytest.mark.live
def test_a_function_that_fails_is_a_502(aws: Account) -> None:
    aws.make(ECHO)
    answer = requests.get(f"{opened(aws)}fails", timeout=60)
    assert (answer.status_code, answer.text) == (502, "Internal Server Error")


@pytest.mark.live
def test_nobody_comes_in_whom_the_policy_does_not_let_in(aws: Account) -> None:
    aws.make(ECHO)
    url = aws.lambda_.create_function_url_config(**LAB, AuthType="NONE")["FunctionUrl"]
    shut = requests.get(url, timeout=60)
    assert (shut.status_code, shut.headers["x-amzn-ErrorType"]) == (403, "AccessDeniedException")
    assert shut.json()["Message"].startswith("Forbidden. For troubleshooting Function URL")
    may = {"Action": "lambda:InvokeFunctionUrl", "Principal": "*", "FunctionUrlAuthType": "NONE"}
    aws.lambda_.add_permission(**LAB, StatementId="all", **may)
    assert requests.get(url, timeout=60).status_code == 200
    aws.lambda_.update_function_url_config(**LAB, AuthType="AWS_IAM")
    assert requests.get(url, timeout=60).status_code == 403
    signed = requests.get(url, headers={"Authorization": "AWS4-HMAC-SHA256 Credential=forged"}, timeout=60)
    assert signed.status_code == 501
    nobody = requests.get(url.rstrip("/")[:-4] + "none/", timeout=60)
    assert (nobody.status_code, nobody.text) == (403, '{"Message":null}')


@pytest.mark.live
def test_the_address_of_an_alias_runs_its_version_while_there_is_one(aws: Account) -> None:
    aws.make("def handler(event, context):\n    return context.function_version\n")
    aws.lambda_.publish_version(**LAB)
    aws.lambda_.create_alias(**LAB, Name="live", FunctionVersion="1")
    url = opened(aws, Qualifier="live")
    assert requests.get(url, timeout=60).text == "1"
    aws.lambda_.delete_alias(**LAB, Name="live")
    assert requests.get(url, timeout=60).status_code == 403


@pytest.mark.live
def test_a_stranger_writes_no_lines_into_the_log(aws: Account) -> None:
    requests.get(f"{aws.run.endpoint_url}/_aws/lambda-url/none/%0d%0aforged%1b[31m", timeout=60)
    log = (aws.run.directory / "sandbox.log").read_text()
    assert r"/none/\x0d\x0aforged\x1b[31m: AccessDeniedException" in log
