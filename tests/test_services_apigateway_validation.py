"""What API Gateway refuses before it looks further, and the answers that it gives by itself."""

from __future__ import annotations

from typing import Any

import pytest
from test_services_support import Case, check, client, cloud, refused, said, table

from awslabs.sandbox.services.apigateway import (  # noqa: F401  (what is tested here)
    answers,
    gateway_responses,
    methods,
    rest_apis,
    validation,
)

BAD, NOT_ALLOWED = "BadRequestException", "ValidationException"


def api() -> dict[str, str]:
    aws = client("apigateway")
    made = aws.create_rest_api(name="lab", endpointConfiguration={"types": ["REGIONAL"]})
    return {"restApiId": made["id"], "resourceId": made["rootResourceId"]}


def a_verb_that_is_none() -> str:
    asked = api() | {"httpMethod": "FOO", "authorizationType": "NONE"}
    return said(client("apigateway").put_method, **asked)


def an_integration_that_is_none() -> str:
    where = api() | {"httpMethod": "GET"}
    aws = client("apigateway")
    aws.put_method(**where, authorizationType="NONE")
    asked = {"type": "HTTPS_PROXY", "integrationHttpMethod": "GET", "uri": "https://example.com"}
    return said(aws.put_integration, **where, **asked)


def a_response_that_is_none() -> str:
    where = api()["restApiId"]
    return said(client("apigateway").put_gateway_response, restApiId=where, responseType="FOO")


def a_step_that_is_none() -> str:
    aws = client("apigateway")
    steps = [{"op": "change", "path": "/name", "value": "x"}]
    return said(aws.update_rest_api, restApiId=api()["restApiId"], patchOperations=steps)


@table(
    Case("methods", a_verb_that_is_none, "ok", BAD),
    Case("values_are_in_their_lists", an_integration_that_is_none, "ok", NOT_ALLOWED),
    Case("values_are_in_their_lists", a_response_that_is_none, "ok", NOT_ALLOWED),
    Case("values_are_in_their_lists", a_step_that_is_none, "ok", NOT_ALLOWED),
)
def test_aws_is_stricter_than_moto(case: Case) -> None:
    check(case)


def test_what_is_not_in_a_list_is_told_with_the_list() -> None:
    with cloud(every=True):
        aws, where = client("apigateway"), api()
        asked = where | {"httpMethod": "GET", "type": "HTTPS_PROXY", "uri": "https://example.com"}
        assert refused(aws.put_integration, **asked) == (
            NOT_ALLOWED,
            "1 validation error detected: Value 'HTTPS_PROXY' at 'putIntegrationInput.type' failed to "
            "satisfy constraint: Member must satisfy enum value set: "
            "[HTTP, MOCK, AWS_PROXY, HTTP_PROXY, AWS]",
            400,
        )
        response = {"restApiId": where["restApiId"], "responseType": "THROTTLED", "statusCode": "wrong"}
        code, text, _ = refused(aws.put_gateway_response, **response)
        assert code == NOT_ALLOWED
        assert text.endswith(
            r"Value 'wrong' at 'putGatewayResponseInput.statusCode' failed to satisfy constraint: Member "
            r"must satisfy regular expression pattern: [1-5]\d\d"
        )
        kinds: dict[str, Any] = {"types": ["wrong"], "ipAddressType": "odd"}
        _, text, _ = refused(aws.create_rest_api, name="x", endpointConfiguration=kinds)
        assert text.startswith(
            "2 validation errors detected: Value '[wrong]' at "
            "'createRestApiInput.endpointConfiguration.types' failed to satisfy constraint: Member must "
            "satisfy constraint: [Member must satisfy enum value set: [PRIVATE, EDGE, REGIONAL]]; "
            "Value 'odd' at 'createRestApiInput.endpointConfiguration.ipAddressType'"
        )
        verb = where | {"httpMethod": "FOO", "authorizationType": "NONE"}
        assert refused(aws.put_method, **verb)[1] == (
            "Invalid HttpMethod specified. Valid options are GET,PUT,POST,DELETE,PATCH,OPTIONS,HEAD,ANY"
        )


def test_what_is_in_the_lists_passes() -> None:
    with cloud(every=True):
        aws, where = client("apigateway"), api() | {"httpMethod": "ANY"}
        aws.put_method(**where, authorizationType="NONE")
        aws.put_integration(**where, type="MOCK", contentHandling="CONVERT_TO_TEXT")
        aws.put_method_response(**where, statusCode="200")
        steps = [{"op": "replace", "path": "/name", "value": "x"}]
        assert aws.update_rest_api(restApiId=where["restApiId"], patchOperations=steps)["name"] == "x"


DEEP = b"[" * 5000 + b"]" * 5000


@pytest.mark.parametrize(
    "text",
    [
        *(b"not: [json", b"{'key:value}", b"{}", b"", b"[1]", b'{"info": {"title": "x"}}', b"a word"),
        *(b'{"openapi": "3.0.1", "x": ' + DEEP + b"}", b"openapi: 3.0.1\nx: " + DEEP),
    ],
    ids=lambda text: text[:24].decode(),
)
def test_what_is_no_openapi_document_is_refused(text: bytes) -> None:
    with cloud(every=True):
        aws = client("apigateway")
        for method, more in ((aws.import_rest_api, {}), (aws.put_rest_api, {"restApiId": "none"})):
            assert refused(method, body=text, **more) == (BAD, "Invalid OpenAPI input.", 400)


# --- gateway responses --------------------------------------------------------------------------------

DEFAULT = {"application/json": '{"message":$context.error.messageString}'}


def test_every_type_of_answer_has_a_default() -> None:
    with cloud(every=True):
        aws, where = client("apigateway"), api()["restApiId"]
        listed = aws.get_gateway_responses(restApiId=where)["items"]
        assert len(listed) == 21
        assert all(each["defaultResponse"] and each["responseTemplates"] == DEFAULT for each in listed)
        statuses = {each["responseType"]: each.get("statusCode") for each in listed}
        assert (statuses["THROTTLED"], statuses["DEFAULT_4XX"]) == ("429", None)
        one = aws.get_gateway_response(restApiId=where, responseType="INTEGRATION_TIMEOUT")
        assert (one["statusCode"], one["responseParameters"], one["defaultResponse"]) == ("504", {}, True)


def test_an_answer_that_is_put_takes_the_rest_from_the_default_until_it_is_deleted() -> None:
    with cloud(every=True):
        aws = client("apigateway")
        where = {"restApiId": api()["restApiId"], "responseType": "AUTHORIZER_FAILURE"}
        headers = {"gatewayresponse.header.foo": "'bar'"}
        put = aws.put_gateway_response(**where, responseParameters=headers)
        assert (put["statusCode"], put["responseTemplates"], put["defaultResponse"]) == (
            "500",
            DEFAULT,
            False,
        )
        gone = aws.delete_gateway_response(**where)
        assert gone["ResponseMetadata"]["HTTPStatusCode"] == 202
        again = aws.get_gateway_response(**where)
        assert (again["defaultResponse"], again["responseParameters"]) == (True, {})
        code, text, status = refused(aws.delete_gateway_response, **where)
        assert (code, text, status) == ("NotFoundException", "Gateway response type not defined on api", 404)


def test_answers_that_are_not_put_follow_those_of_their_hundred() -> None:
    with cloud(every=True):
        aws, where = client("apigateway"), api()["restApiId"]
        headers = {"gatewayresponse.header.x": "'y'"}
        aws.put_gateway_response(
            restApiId=where, responseType="DEFAULT_5XX", statusCode="599", responseParameters=headers
        )
        listed = aws.get_gateway_responses(restApiId=where)["items"]
        found = {each["responseType"]: each for each in listed}
        timeout = found["INTEGRATION_TIMEOUT"]
        assert (timeout["statusCode"], timeout["responseParameters"]) == ("599", headers)
        assert timeout["defaultResponse"] is True
        assert found["THROTTLED"]["statusCode"] == "429"


# --- what is not there, integrations --------------------------------------------------------------------


def test_what_is_not_there_is_named_as_aws_does() -> None:
    with cloud(every=True):
        aws, where = client("apigateway"), api()
        said_of_api = "Invalid API identifier specified 123456789012:none"
        listed = refused(aws.get_gateway_responses, restApiId="none")
        assert listed == ("NotFoundException", said_of_api, 404)
        said_of_resource = ("NotFoundException", "Invalid Resource identifier specified", 404)
        for wrong in ({"restApiId": "none"}, {"resourceId": "none"}):
            asked = {**where, **wrong, "httpMethod": "GET"}
            assert refused(aws.get_integration, **asked) == said_of_resource
            assert refused(aws.put_integration_response, **asked, statusCode="200") == said_of_resource


def test_an_integration_says_what_it_has_by_default() -> None:
    with cloud(every=True):
        aws, where = client("apigateway"), api() | {"httpMethod": "GET"}
        aws.put_method(**where, authorizationType="NONE")
        made = aws.put_integration(**where, type="MOCK")
        shown = aws.get_method(**where)["methodIntegration"]
        for each in (made, shown, aws.get_integration(**where)):
            each.pop("ResponseMetadata", None)
            assert each == {
                "type": "MOCK",
                "passthroughBehavior": "WHEN_NO_MATCH",
                "timeoutInMillis": 29_000,
                "cacheNamespace": where["resourceId"],
                "cacheKeyParameters": [],
            }


def test_an_answer_of_an_integration_shows_what_it_was_given() -> None:
    with cloud(every=True):
        aws, where = client("apigateway"), api() | {"httpMethod": "GET"}
        aws.put_method(**where, authorizationType="NONE")
        aws.put_integration(**where, type="MOCK")
        bare = aws.put_integration_response(**where, statusCode="200")
        assert {*bare} - {"ResponseMetadata"} == {"statusCode"}
        given = aws.put_integration_response(**where, statusCode="200", selectionPattern="")
        assert given["selectionPattern"] == ""
