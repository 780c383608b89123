"""What is kept and changed of an API: methods, integrations, models, documentation, usage plans."""

from __future__ import annotations

import base64
import json
from typing import Any

import boto3
import pytest
from botocore.config import Config
from test_services_support import client, cloud, refused, said, wait

ACCOUNT = "123456789012"
FUNCTION = f"arn:aws:lambda:us-east-1:{ACCOUNT}:function:lab"
LAMBDA = "arn:aws:apigateway:us-east-1:lambda:path"
URI = f"{LAMBDA}/2015-03-31/functions/{FUNCTION}/invocations"
NO_METHOD = "Invalid Method identifier specified"
NO_RESOURCE = "Invalid Resource identifier specified"
NO_INTEGRATION = "Invalid Integration identifier specified"
NO_STATUS = "Invalid Response status code specified"
NO_AUTHORIZER = (
    "Invalid authorizer ID specified. Setting the authorization type to CUSTOM or COGNITO_USER_POOLS "
    "requires a valid authorizer."
)


@pytest.fixture
def where() -> Any:
    """The root of an API, for each call on a method of it."""
    with cloud(every=True):
        made = client("apigateway").create_rest_api(name="lab", endpointConfiguration={"types": ["REGIONAL"]})
        yield {"restApiId": made["id"], "resourceId": made["rootResourceId"]}


def integrated(where: dict[str, str]) -> None:
    """Give the root a method, so that there is something to deploy."""
    aws = client("apigateway")
    aws.put_method(**where, httpMethod="GET", authorizationType="NONE")
    aws.put_integration(**where, httpMethod="GET", type="MOCK")


def shown(answer: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in answer.items() if name != "ResponseMetadata"}


def step(op: str, path: str, value: str | None = None) -> list[dict[str, Any]]:
    return [{"op": op, "path": path} | ({} if value is None else {"value": value})]


def test_a_method_shows_what_it_was_given_and_no_more(where: dict[str, str]) -> None:
    aws, get = client("apigateway"), where | {"httpMethod": "GET"}
    bare = {"httpMethod": "GET", "authorizationType": "NONE", "apiKeyRequired": False}
    assert shown(aws.put_method(**get, authorizationType="none")) == bare
    assert shown(aws.put_method_response(**get, statusCode="200")) == {"statusCode": "200"}
    integration = aws.put_integration(**get, type="MOCK", uri="http://example.com")
    assert shown(integration) == {
        "type": "MOCK",
        "passthroughBehavior": "WHEN_NO_MATCH",
        "timeoutInMillis": 29000,
        "cacheNamespace": where["resourceId"],
        "cacheKeyParameters": [],
    }
    answer = aws.put_integration_response(**get, statusCode="200", selectionPattern="", responseTemplates={})
    assert shown(answer) == {"statusCode": "200", "selectionPattern": "", "responseTemplates": {}}
    whole = shown(aws.get_method(**get))
    assert whole["methodResponses"] == {"200": {"statusCode": "200"}}
    assert whole["methodIntegration"]["integrationResponses"] == {"200": shown(answer)}
    aws.put_integration(**get, type="HTTP_PROXY", uri="http://example.com", integrationHttpMethod="POST")
    assert aws.get_integration(**get)["connectionType"] == "INTERNET"
    aws.delete_method(**get)
    assert refused(aws.get_method, **get)[1] == NO_METHOD
    assert refused(aws.delete_method, **get)[1] == NO_METHOD


@pytest.mark.parametrize(
    ("asked", "why"),
    [
        ({"authorizationType": "CUSTOM"}, NO_AUTHORIZER),
        ({"requestValidatorId": "gone"}, "Invalid Request Validator identifier specified"),
        ({"requestModels": {"application/json": "Gone"}}, "Invalid model identifier specified: Gone"),
        (
            {"requestParameters": {"method.request.header.a": True, "method.request.querystring.a": True}},
            "Parameter names must be unique across querystring, header and path",
        ),
    ],
)
def test_a_method_names_what_is_there(where: dict[str, str], asked: dict[str, Any], why: str) -> None:
    put = client("apigateway").put_method
    asked = {"authorizationType": "NONE"} | asked
    assert refused(put, **where, httpMethod="GET", **asked) == ("BadRequestException", why, 400)
    wrong = where | {"resourceId": "gone"}
    assert refused(put, **wrong, httpMethod="WRONG", **asked)[1] == NO_RESOURCE


def test_a_method_is_changed_by_its_paths_or_not_at_all(where: dict[str, str]) -> None:
    aws, get = client("apigateway"), where | {"httpMethod": "GET"}
    assert refused(aws.update_method, **get, patchOperations=[])[1] == NO_METHOD
    aws.put_method(**get, authorizationType="NONE")
    parameter = "/requestParameters/method.request.querystring.q"
    changed = aws.update_method(
        **get,
        patchOperations=[
            *step("add", parameter, "true"),
            *step("add", "/requestModels/application~1json", "Empty"),
            *step("replace", "/operationName", "Look"),
            *step("replace", "/authorizationType", "AWS_IAM"),
            *step("replace", "/authorizerId", "is not looked at"),
        ],
    )
    assert shown(changed) == {
        "httpMethod": "GET",
        "authorizationType": "AWS_IAM",
        "apiKeyRequired": False,
        "operationName": "Look",
        "requestParameters": {"method.request.querystring.q": True},
        "requestModels": {"application/json": "Empty"},
    }
    for patch, why in (
        (step("add", "/operationName", "x"), "Invalid patch operation specified. Must be one of: [replace]"),
        (step("replace", "/httpMethod", "PUT"), "Invalid patch path /httpMethod"),
        (step("replace", "/requestModels/text/html", "Empty"), "Invalid patch path /requestModels/text/html"),
        (step("remove", "/requestModels/text~1html"), "Content-Type specified was not found"),
        ([*step("remove", parameter), *step("replace", "/authorizationType", "CUSTOM")], NO_AUTHORIZER),
    ):
        assert refused(aws.update_method, **get, patchOperations=patch)[1] == why
    assert shown(aws.get_method(**get)) == shown(changed)


def test_responses_are_changed_by_their_paths(where: dict[str, str]) -> None:
    aws, get = client("apigateway"), where | {"httpMethod": "GET"}
    aws.put_method(**get, authorizationType="NONE")
    aws.put_integration(**get, type="MOCK")
    ok, header = get | {"statusCode": "200"}, "method.response.header.X-One"
    assert refused(aws.update_method_response, **ok, patchOperations=[])[1] == NO_STATUS
    aws.put_method_response(**ok)
    assert refused(aws.put_method_response, **ok)[0] == "ConflictException"
    gone = step("remove", f"/responseParameters/{header}")
    assert (
        refused(aws.update_method_response, **ok, patchOperations=gone)[1]
        == "Invalid parameter name specified"
    )
    added = aws.update_method_response(
        **ok,
        patchOperations=[
            *step("add", f"/responseParameters/{header}", "true"),
            *step("add", "/responseModels/application~1json", "Empty"),
        ],
    )
    assert added["responseModels"] == {"application/json": "Empty"}
    assert refused(aws.get_integration_response, **ok)[1] == NO_STATUS
    aws.put_integration_response(**ok, responseTemplates={"application/json": ""})
    patch = [
        *step("replace", "/selectionPattern", "2.."),
        *step("add", f"/responseParameters/{header}", "'1'"),
        *step("replace", "/responseTemplates/application~1json", "x"),
    ]
    changed = shown(aws.update_integration_response(**ok, patchOperations=patch))
    assert changed == {
        "statusCode": "200",
        "selectionPattern": "2..",
        "responseParameters": {header: "'1'"},
        "responseTemplates": {"application/json": "x"},
    }
    other = step("add", "/responseParameters/method.response.header.X-Two", "'1'")
    assert "X-Two" in refused(aws.update_integration_response, **ok, patchOperations=other)[1]
    assert refused(aws.get_integration_response, **get, statusCode="wrong")[0] == "ValidationException"
    assert (
        refused(aws.delete_integration_response, **where, httpMethod="PUT", statusCode="200")[1]
        == NO_INTEGRATION
    )
    aws.delete_integration_response(**ok)
    assert refused(aws.delete_integration_response, **ok)[1] == NO_STATUS


@pytest.mark.parametrize(
    ("asked", "why"),
    [
        ({"type": "HTTP", "uri": "http://a"}, "Enumeration value for HttpMethod must be non-empty"),
        (
            {"type": "HTTP", "uri": "a", "integrationHttpMethod": "GET"},
            "Invalid HTTP endpoint specified for URI",
        ),
        (
            {"type": "AWS", "uri": "a", "integrationHttpMethod": "POST"},
            "Invalid ARN specified in the request",
        ),
        (
            {"type": "AWS_PROXY", "uri": FUNCTION, "integrationHttpMethod": "POST"},
            "AWS ARN for integration must contain path or action",
        ),
        (
            {
                "type": "AWS_PROXY",
                "uri": f"{LAMBDA}/random/{FUNCTION}/invocations",
                "integrationHttpMethod": "POST",
            },
            "Integrations of type 'AWS_PROXY' currently only supports Lambda function and Firehose stream "
            "invocations.",
        ),
        (
            {"type": "MOCK", "timeoutInMillis": 49},
            "Timeout should be between 50 ms and 29000 ms",
        ),
    ],
)
def test_an_integration_has_an_address_of_its_type(
    where: dict[str, str], asked: dict[str, Any], why: str
) -> None:
    aws, get = client("apigateway"), where | {"httpMethod": "GET"}
    assert refused(aws.put_integration, **get, **asked)[1] == NO_METHOD
    aws.put_method(**get, authorizationType="NONE")
    assert refused(aws.put_integration, **get, **asked) == ("BadRequestException", why, 400)
    assert refused(aws.get_integration, **get)[1] == NO_INTEGRATION


def test_an_integration_is_changed_by_its_paths_or_not_at_all(where: dict[str, str]) -> None:
    aws, get = client("apigateway"), where | {"httpMethod": "GET"}
    aws.put_method(**get, authorizationType="NONE")
    aws.put_integration(**get, type="AWS", uri=URI, integrationHttpMethod="POST")
    patch = [
        *step("replace", "/timeoutInMillis", "1000"),
        *step("add", "/requestTemplates/application~1json", "{}"),
        *step("add", "/cacheKeyParameters/method.request.querystring.q"),
    ]
    changed = shown(aws.update_integration(**get, patchOperations=patch))
    assert changed["timeoutInMillis"] == 1000
    assert changed["requestTemplates"] == {"application/json": "{}"}
    assert changed["cacheKeyParameters"] == ["method.request.querystring.q"]
    for wrong in (step("replace", "/timeoutInMillis", "1"), step("replace", "/type", "MOCK")):
        assert refused(aws.update_integration, **get, patchOperations=[*patch[1:2], *wrong])[2] == 400
    assert shown(aws.get_integration(**get)) == changed


def test_a_resource_moves_but_not_below_itself(where: dict[str, str]) -> None:
    aws, api = client("apigateway"), {"restApiId": where["restApiId"]}
    root = where["resourceId"]
    pets = aws.create_resource(**api, parentId=root, pathPart="pets")["id"]
    below = aws.create_resource(**api, parentId=pets, pathPart="dogs")["id"]

    def why(resource: str, *steps: dict[str, Any]) -> str:
        return refused(aws.update_resource, **api, resourceId=resource, patchOperations=list(steps))[1]

    assert why(pets, *step("replace", "/parentId", below)) == "Resources cannot be cyclical."
    assert why(root, *step("replace", "/pathPart", "x")) == "Root resource cannot update its pathPart."
    assert why(below, *step("replace", "/parentId", "gone")) == NO_RESOURCE
    begin = "Invalid patch path  '/pathPart' specified for op 'add'. "
    assert why(below, *step("add", "/pathPart", "x")) == begin + "Please choose supported operations"
    begin = "Invalid patch path  '/id' specified for op 'replace'. "
    assert why(below, *step("replace", "/id", "x")) == begin + "Must be one of: [/parentId, /pathPart]"
    moved = aws.update_resource(**api, resourceId=below, patchOperations=step("replace", "/parentId", root))
    assert (moved["path"], moved["parentId"]) == ("/dogs", root)
    assert "already has this name: pets" in why(below, *step("replace", "/pathPart", "pets"))


def test_a_model_that_a_method_names_stays(where: dict[str, str]) -> None:
    aws, api = client("apigateway"), {"restApiId": where["restApiId"]}
    assert [each["name"] for each in aws.get_models(**api)["items"]] == ["Empty", "Error"]
    line = {"name": "Line", "contentType": "application/json", "schema": '{"type": "string"}'}
    assert "id" in aws.create_model(**api, **line)
    assert refused(aws.create_model, **api, **line)[1] == "Model name already exists for this REST API"
    empty = "Model schema must have at least 1 property or array items defined"
    assert refused(aws.create_model, **api, name="A", contentType="application/json")[1] == empty
    assert refused(aws.create_model, **api, **(line | {"name": ""}))[1] == "Model name must be non-empty"
    gone = {"restApiId": "gone"}
    assert refused(aws.get_models, **gone)[1] == f"Invalid API identifier specified {ACCOUNT}:gone"
    assert refused(aws.get_model, **gone, modelName="Line")[1] == "Invalid model name specified: Line"
    one = api | {"modelName": "Line"}
    assert refused(aws.update_model, **one, patchOperations=step("replace", "/schema", ""))[1] == empty
    changed = aws.update_model(**one, patchOperations=step("replace", "/description", "of a haiku"))
    assert changed["description"] == "of a haiku"
    models = {"application/json": "Line"}
    aws.put_method(**where, httpMethod="GET", authorizationType="NONE", requestModels=models)
    why = "Cannot delete model 'Line', is referenced in method request: //GET"
    assert refused(aws.delete_model, **one) == ("ConflictException", why, 409)
    aws.delete_method(**where, httpMethod="GET")
    aws.delete_model(**one)


def test_a_request_validator_says_of_both_whether_it_looks(where: dict[str, str]) -> None:
    aws, api = client("apigateway"), {"restApiId": where["restApiId"]}
    made = aws.create_request_validator(**api, name="all")
    assert (made["validateRequestBody"], made["validateRequestParameters"]) == (False, False)
    one, gone = api | {"requestValidatorId": made["id"]}, "Invalid Request Validator identifier specified"
    changed = aws.update_request_validator(
        **one, patchOperations=step("replace", "/validateRequestBody", "true")
    )
    assert changed["validateRequestBody"] is True
    changed = aws.update_request_validator(**one, patchOperations=step("replace", "/validateRequestBody"))
    assert changed["validateRequestBody"] is False
    blank = refused(aws.update_request_validator, **one, patchOperations=step("replace", "/name"))
    assert blank[1] == "Request Validator name cannot be blank"
    assert refused(aws.create_request_validator, restApiId="gone", name="a")[0] == "BadRequestException"
    aws.delete_request_validator(**one)
    assert refused(aws.get_request_validator, **one) == ("NotFoundException", gone, 404)
    assert refused(aws.delete_request_validator, **one)[1] == gone


def test_an_authorizer_says_its_kind_and_its_time_if_it_has_one(where: dict[str, str]) -> None:
    aws, api = client("apigateway"), {"restApiId": where["restApiId"]}
    asked = {"name": "guard", "type": "TOKEN", "authorizerUri": URI}
    source = {"identitySource": "method.request.header.Authorization"}
    made = shown(aws.create_authorizer(**api, **asked, **source))
    assert made == {"id": made["id"], "authType": "custom", **asked, **source}
    assert (
        aws.create_authorizer(**api, **asked, authorizerResultTtlInSeconds=5)["authorizerResultTtlInSeconds"]
        == 5
    )
    assert shown(aws.get_authorizers(**api))["items"][0] == made
    assert refused(aws.create_authorizer, restApiId="gone", **asked)[0] == "ConflictException"
    assert refused(aws.get_authorizers, restApiId="gone")[0] == "NotFoundException"
    aws.put_method(**where, httpMethod="GET", authorizationType="CUSTOM", authorizerId=made["id"])


def test_documentation_has_parts_and_versions(where: dict[str, str]) -> None:
    aws, api = client("apigateway"), {"restApiId": where["restApiId"]}
    part = aws.create_documentation_part(**api, location={"type": "API"}, properties='{"a": 1}')
    one = api | {"documentationPartId": part["id"]}
    changed = aws.update_documentation_part(**one, patchOperations=step("replace", "/properties", '{"a": 2}'))
    assert shown(aws.get_documentation_part(**one)) == shown(changed)
    aws.delete_documentation_part(**one)
    missing = "Invalid Documentation part identifier specified"
    assert refused(aws.get_documentation_part, **one) == ("NotFoundException", missing, 404)
    parts = [
        {"location": {"type": "METHOD", "method": "GET"}, "properties": {"description": "Looks."}},
        {"location": {"type": "API"}, "properties": {"description": "Haiku."}},
    ]
    document = {
        "openapi": "3.0.1",
        "info": {"title": "lab", "version": "1"},
        "paths": {},
        "x-amazon-apigateway-documentation": {"documentationParts": parts},
    }
    imported = aws.import_documentation_parts(**api, mode="overwrite", body=json.dumps(document).encode())
    assert len(imported["ids"]) == 2
    (method,) = aws.get_documentation_parts(**api, type="METHOD")["items"]
    assert method["location"] == {"type": "METHOD", "method": "GET", "path": "/"}
    broken = refused(aws.import_documentation_parts, **api, body=b"{'key:value}")
    assert broken[1] == "Unable to build importer with provided input."
    aws.put_rest_api(**api, mode="overwrite", body=json.dumps(document).encode())
    assert len(aws.get_documentation_parts(**api)["items"]) == 2
    version = api | {"documentationVersion": "v1"}
    aws.create_documentation_version(**version)
    assert refused(aws.create_documentation_version, **version)[0] == "ConflictException"
    patch = step("replace", "/description", "the first")
    assert aws.update_documentation_version(**version, patchOperations=patch)["description"] == "the first"
    assert [each["version"] for each in aws.get_documentation_versions(**api)["items"]] == ["v1"]
    aws.delete_documentation_version(**version)
    assert refused(aws.get_documentation_version, **version)[0] == "NotFoundException"


def test_a_stage_names_its_documentation_and_its_log(where: dict[str, str]) -> None:
    aws, api = client("apigateway"), {"restApiId": where["restApiId"]}
    stage = api | {"stageName": "prod"}
    integrated(where)
    deployment = aws.create_deployment(**api)["id"]
    made = aws.create_stage(**stage, deploymentId=deployment, documentationVersion="v1")
    assert made["documentationVersion"] == "v1"
    log = step("add", "/accessLogSettings/destinationArn", "arn:aws:logs:us-east-1:123456789012:log-group:a")
    changed = aws.update_stage(**stage, patchOperations=log)
    assert changed["accessLogSettings"] == {"destinationArn": log[0]["value"]}
    for patch, why in (
        (step("add", "/accessLogSettings", "x"), "Invalid accessLogSettings path."),
        (step("add", "/accessLogSettings/x", "x"), "Invalid accessLogSettings path."),
        (
            step("remove", "/accessLogSettings/format"),
            "Cannot remove method setting accessLogSettings/format",
        ),
        (step("replace", "/accessLogSettings/format", ""), "Access Log value must not be empty"),
        (
            step("replace", "/tags/a", "x"),
            "Invalid method setting path: /tags/a. Must be one of: [/deploymentId",
        ),
        (step("replace", "/deploymentId", "gone"), "Deployment id does not exist"),
    ):
        assert refused(aws.update_stage, **stage, patchOperations=patch)[1].startswith(why)
    assert "accessLogSettings" not in aws.update_stage(
        **stage, patchOperations=step("remove", "/accessLogSettings")
    )


def test_a_methods_settings_begin_with_those_of_all(where: dict[str, str]) -> None:
    aws, stage = client("apigateway"), {"restApiId": where["restApiId"], "stageName": "prod"}
    integrated(where)
    aws.create_deployment(**stage)
    patch = [
        *step("replace", "/*/*/caching/enabled", "true"),
        *step("replace", "/*/*/throttling/burstLimit", "7"),
        *step("replace", "/a/GET/throttling/burstLimit", "8"),
    ]
    settings = aws.update_stage(**stage, patchOperations=patch)["methodSettings"]
    shown = [
        (settings[name]["cachingEnabled"], settings[name]["throttlingBurstLimit"])
        for name in ("*/*", "a/GET")
    ]
    assert shown == [(True, 7), (True, 8)]


def test_a_path_keeps_its_id_in_the_next_document(where: dict[str, str]) -> None:
    aws, api = client("apigateway"), {"restApiId": where["restApiId"]}
    method = {"x-amazon-apigateway-integration": {"type": "mock"}}
    body = {"openapi": "3.0.1", "info": {"title": "lab"}, "paths": {"/a/b": {"get": method}}}
    ids = []
    for _ in range(2):
        aws.put_rest_api(**api, mode="overwrite", body=json.dumps(body).encode())
        ids.append({each["path"]: each["id"] for each in aws.get_resources(**api)["items"]})
    assert ids[0] == ids[1]
    assert len(ids[0]) == 3


def test_gateway_responses_are_changed_by_their_paths(where: dict[str, str]) -> None:
    aws = client("apigateway")
    kind = {"restApiId": where["restApiId"], "responseType": "DEFAULT_4XX"}
    changed = aws.update_gateway_response(**kind, patchOperations=step("replace", "/statusCode", "444"))
    assert (changed["statusCode"], changed["defaultResponse"]) == ("444", False)
    header = "/responseParameters/gatewayresponse.header.X-One"
    for patch, why in (
        (step("add", "/statusCode", "444"), "Invalid patch path /statusCode"),
        (step("replace", header, "'1'"), "Invalid parameter name specified"),
        (step("add", header), "Invalid null or empty value in responseParameters"),
        (step("add", "/wrong", "x"), "Invalid patch path /wrong"),
    ):
        assert refused(aws.update_gateway_response, **kind, patchOperations=patch)[1] == why
    aws.update_gateway_response(**kind, patchOperations=step("add", header, "'1'"))
    assert aws.get_gateway_response(**kind)["responseParameters"] == {"gatewayresponse.header.X-One": "'1'"}


def test_a_keys_value_is_shown_once_and_newest_come_first(where: dict[str, str]) -> None:
    aws = client("apigateway")
    first, second = (aws.create_api_key(name=name) for name in ("lab-1", "lab-2"))
    assert "value" in first
    assert "tags" not in first
    page = aws.get_api_keys(limit=1)
    assert [each["id"] for each in page["items"]] == [second["id"]]
    rest = aws.get_api_keys(limit=1, position=page["position"])
    assert [each["id"] for each in rest["items"]] == [first["id"]]
    assert "position" not in rest
    assert aws.get_api_keys(limit=-1)["items"] == []
    assert aws.get_api_keys(nameQuery="LAB")["items"] == []
    changed = aws.update_api_key(apiKey=first["id"], patchOperations=step("replace", "/enabled", "perhaps"))
    assert (changed["enabled"], changed["tags"], "value" in changed) == (False, {}, False)
    immutable = refused(aws.update_api_key, apiKey=first["id"], patchOperations=step("replace", "/id", "x"))
    assert immutable[1].endswith("Must be one of: [/description, /enabled, /name, /customerId]")
    for wrong in (
        {"name": "a" * 1025},
        {"value": "a" * 129},
        {"value": "short"},
        {"description": "a" * 125_001},
    ):
        assert refused(aws.create_api_key, **wrong)[0] == "BadRequestException"
    plan = aws.create_usage_plan(name="plan")["id"]
    aws.create_usage_plan_key(usagePlanId=plan, keyId=first["id"], keyType="API_KEY")
    aws.delete_api_key(apiKey=first["id"])
    assert aws.get_usage_plan_keys(usagePlanId=plan)["items"] == []


def test_a_usage_plan_has_the_stages_that_there_are(where: dict[str, str]) -> None:
    aws, api_id = client("apigateway"), where["restApiId"]
    integrated(where)
    aws.create_deployment(restApiId=api_id, stageName="prod")
    plan = aws.create_usage_plan(name="plan", apiStages=[{"apiId": api_id, "stage": "prod"}])
    one = {"usagePlanId": plan["id"]}
    patch = [*step("replace", "/quota/limit", "5"), *step("replace", "/quota/period", "DAY")]
    changed = aws.update_usage_plan(
        **one, patchOperations=[*patch, *step("replace", "/throttle/rateLimit", "2")]
    )
    assert changed["quota"] == {"limit": 5, "offset": 0, "period": "DAY"}
    assert (changed["throttle"]["rateLimit"], changed["tags"]) == (2.0, {})
    for value, code in ((f"{api_id}:gone", "NotFoundException"), ("word", "BadRequestException")):
        assert (
            refused(aws.update_usage_plan, **one, patchOperations=step("remove", "/apiStages", value))[0]
            == code
        )
    aws.update_usage_plan(**one, patchOperations=step("remove", "/apiStages", f"{api_id}:prod"))
    assert aws.get_usage_plan(**one)["apiStages"] == []
    assert refused(aws.update_usage_plan, usagePlanId="gone", patchOperations=patch)[0] == "NotFoundException"


@pytest.mark.parametrize(
    "patch",
    [
        step("replace", "/throttle/rateLimit", "many"),
        step("replace", "/quota/limit", "1.5"),
        step("remove", "/throttle/rateLimit"),
    ],
)
def test_a_limit_that_is_no_number_is_refused(where: dict[str, str], patch: list[dict[str, Any]]) -> None:
    aws = client("apigateway")
    plan = aws.create_usage_plan(name="plan", throttle={"rateLimit": 1.0, "burstLimit": 2})["id"]
    assert refused(aws.update_usage_plan, usagePlanId=plan, patchOperations=patch)[0] == "BadRequestException"
    assert aws.get_usage_plan(usagePlanId=plan)["throttle"] == {"rateLimit": 1.0, "burstLimit": 2}


def test_a_page_begins_where_the_one_before_ended_and_nowhere_else(where: dict[str, str]) -> None:
    aws = client("apigateway")
    for name in ("one", "two", "three"):
        aws.create_api_key(name=name)
    first = aws.get_api_keys(limit=2)
    assert len(aws.get_api_keys(position=first["position"])["items"]) == 1
    for place in (b"-1", b"x"):
        position = base64.b64encode(place).decode()
        assert refused(aws.get_api_keys, position=position)[0] == "BadRequestException"


def with_timeout(ms: Any) -> str:
    """A document with one integration that may take so long."""
    integration = {"type": "MOCK", "timeoutInMillis": ms}
    paths = {"/": {"get": {"x-amazon-apigateway-integration": integration}}}
    return json.dumps({"openapi": "3.0.1", "info": {"title": "lab", "version": "1"}, "paths": paths})


@pytest.mark.parametrize("ms", ["long", None, float("inf"), "9" * 5000, 49.0])
def test_a_timeout_in_a_document_is_a_number(where: dict[str, str], ms: Any) -> None:
    code, message = refused(client("apigateway").import_rest_api, body=with_timeout(ms))[:2]
    assert code == "BadRequestException"
    assert "Timeout should be between 50 ms and 29000 ms" in message


@pytest.mark.parametrize("ms", [5000, 5e3, "5000"])
def test_a_document_writes_a_timeout_as_numbers_are_written(where: dict[str, str], ms: Any) -> None:
    assert said(client("apigateway").import_rest_api, body=with_timeout(ms)) == "ok"


def test_a_number_is_no_template(where: dict[str, str]) -> None:
    unchecked = Config(parameter_validation=False)
    aws, get = boto3.client("apigateway", "us-east-1", config=unchecked), where | {"httpMethod": "GET"}
    aws.put_method(**get, authorizationType="NONE")
    aws.put_integration(**get, type="MOCK")
    put = aws.put_integration_response
    assert refused(put, **get, statusCode="200", responseTemplates={"a/b": 1})[0] == "SerializationException"
    why = "Validation Result: warnings : [], errors : [Invalid content type specified: 123]"
    assert refused(put, **get, statusCode="200", responseTemplates={"123": "a"})[1] == why


def test_a_vpc_link_is_there_after_some_minutes(where: dict[str, str]) -> None:
    aws = client("apigateway")
    arn = f"arn:aws:elasticloadbalancing:us-east-1:{ACCOUNT}:loadbalancer/net/a/50dc6c495c0c9188"
    made = shown(aws.create_vpc_link(name="link", targetArns=[arn]))
    assert made == {"id": made["id"], "name": "link", "targetArns": [arn], "status": "PENDING"}
    wait(180)
    one = {"vpcLinkId": made["id"]}
    there = {"status": "AVAILABLE", "statusMessage": "Your vpc link is ready for use"}
    changed = aws.update_vpc_link(**one, patchOperations=step("replace", "/name", "other"))
    assert shown(changed) == made | there | {"name": "other", "tags": {}}
    assert shown(aws.get_vpc_links())["items"] == [made | there | {"name": "other"}]
    aws.delete_vpc_link(**one)
    for gone in (aws.get_vpc_link, aws.delete_vpc_link):
        assert refused(gone, **one) == ("NotFoundException", "Invalid Vpc Link identifier specified", 404)
    wrong = refused(aws.create_vpc_link, name="link", targetArns=["invalid-arn"])
    assert wrong[1] == "Invalid ARN. ARN is not well formed invalid-arn"
    assert refused(aws.create_vpc_link, name="", targetArns=[])[1] == "Name cannot be empty"
