"""The rules of API Gateway: moto alone, then with the rule."""

from __future__ import annotations

import functools
import json
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError
from moto.apigateway.models import apigateway_backends
from test_services_support import Case, check, cloud, refused, said, table, wait

from awslabs.sandbox.services.apigateway import answers as shapes_of_answers  # noqa: F401  (its rules)
from awslabs.sandbox.services.apigateway import rest_apis

URI = (
    "arn:aws:apigateway:us-east-1:lambda:path/2015-03-31/functions/"
    "arn:aws:lambda:us-east-1:123456789012:function:lab/invocations"
)
AWS_TIME = (("slow_states", 1.0),)
BAD, GONE, TAKEN, OFTEN = (
    "BadRequestException",
    "NotFoundException",
    "ConflictException",
    "TooManyRequestsException",
)


@functools.cache
def client(service: str) -> Any:
    """One that tries once: a refusal is what these tests wait for."""
    once = Config(retries={"total_max_attempts": 1})
    return boto3.client(service, "us-east-1", aws_access_key_id="x", aws_secret_access_key="y", config=once)


def new(**more: Any) -> tuple[str, str]:
    """An API and its root."""
    made = client("apigateway").create_rest_api(
        name="lab", endpointConfiguration={"types": ["REGIONAL"]}, **more
    )
    return made["id"], made["rootResourceId"]


def method(api_id: str, resource_id: str, verb: str = "GET") -> dict[str, str]:
    where = {"restApiId": api_id, "resourceId": resource_id, "httpMethod": verb}
    client("apigateway").put_method(**where, authorizationType="NONE")
    return where


def integrated(**more: Any) -> tuple[str, dict[str, str]]:
    """An API whose root has a method that asks a function."""
    api_id, root = new()
    where = method(api_id, root)
    asked = {"type": "AWS_PROXY", "uri": URI, "integrationHttpMethod": "POST"} | more
    client("apigateway").put_integration(**where, **asked)
    return api_id, where


# --- deployments --------------------------------------------------------------------------------------


def a_stage_of_nothing() -> str:
    api_id, _ = integrated()
    return said(client("apigateway").create_stage, restApiId=api_id, stageName="prod", deploymentId="abc")


def a_stage_moved_to_nothing() -> str:
    api_id, _ = integrated()
    client("apigateway").create_deployment(restApiId=api_id, stageName="prod")
    step = [{"op": "replace", "path": "/deploymentId", "value": "abc"}]
    return said(client("apigateway").update_stage, restApiId=api_id, stageName="prod", patchOperations=step)


def limits_after_another_deployment() -> list[float]:
    api_id, _ = integrated()
    aws = client("apigateway")
    aws.create_deployment(restApiId=api_id, stageName="prod")
    step = [{"op": "replace", "path": "/*/*/throttling/rateLimit", "value": "7"}]
    aws.update_stage(restApiId=api_id, stageName="prod", patchOperations=step)
    aws.create_deployment(restApiId=api_id, stageName="prod")
    settings = aws.get_stage(restApiId=api_id, stageName="prod")["methodSettings"]
    return [each["throttlingRateLimit"] for each in settings.values()]


def the_deployment_of_a_stage() -> list[str]:
    api_id, _ = integrated()
    aws = client("apigateway")
    first, second = (aws.create_deployment(restApiId=api_id)["id"] for _ in range(2))
    aws.create_stage(restApiId=api_id, stageName="prod", deploymentId=first)
    return [said(aws.delete_deployment, restApiId=api_id, deploymentId=each) for each in (first, second)]


def a_deployment_that_a_stage_has_left() -> str:
    api_id, _ = integrated()
    aws = client("apigateway")
    first = aws.create_deployment(restApiId=api_id, stageName="prod")["id"]
    aws.create_deployment(restApiId=api_id, stageName="prod")
    return said(aws.delete_deployment, restApiId=api_id, deploymentId=first)


def a_deployment_of_a_method_alone() -> str:
    api_id, root = new()
    method(api_id, root)
    return said(client("apigateway").create_deployment, restApiId=api_id)


def a_deployment_of_one_method_in_two() -> str:
    api_id, where = integrated()
    method(api_id, where["resourceId"], "POST")
    return said(client("apigateway").create_deployment, restApiId=api_id)


# --- an API and its parts -----------------------------------------------------------------------------


def shapes() -> list[Any]:
    """What there is of an API, a stage and a deployment; details that nobody asked for; stages; statuses."""
    api_id, _ = integrated()
    aws = client("apigateway")
    first = aws.create_deployment(restApiId=api_id, stageName="prod")["id"]
    aws.create_deployment(restApiId=api_id, stageName="test")
    api = aws.get_rest_api(restApiId=api_id)
    stage = aws.get_stage(restApiId=api_id, stageName="prod")
    stages = aws.get_stages(restApiId=api_id, deploymentId=first)["item"]
    (resource,) = aws.get_resources(restApiId=api_id)["items"]
    made = aws.create_rest_api(name="other")["ResponseMetadata"]["HTTPStatusCode"]
    gone = aws.delete_rest_api(restApiId=api_id)["ResponseMetadata"]["HTTPStatusCode"]
    return [
        [name for name in ("binaryMediaTypes", "version", "policy") if name in api],
        api["endpointConfiguration"].get("ipAddressType"),
        [
            name
            for name in ("createdDate", "description", "lastUpdatedDate", "tracingEnabled", "variables")
            if name in stage
        ],
        bool(resource["resourceMethods"]["GET"]),
        len(stages),
        made,
        gone,
    ]


def a_setting_that_goes() -> list[Any]:
    api_id, _ = integrated()
    aws = client("apigateway")
    aws.create_deployment(restApiId=api_id, stageName="prod")
    path = "/*/*/throttling/rateLimit"
    where = {"restApiId": api_id, "stageName": "prod"}
    aws.update_stage(**where, patchOperations=[{"op": "replace", "path": path, "value": "7"}])
    gone = [{"op": "remove", "path": "/*/*"}]
    first = said(aws.update_stage, **where, patchOperations=gone)
    left = len(aws.get_stage(**where)["methodSettings"])
    return [first, left, said(aws.update_stage, **where, patchOperations=gone)]


def an_api_that_is_not_there() -> str:
    return said(client("apigateway").delete_rest_api, restApiId="abc")


def binary_types() -> list[Any]:
    api_id, _ = new(binaryMediaTypes=["image/*"], version="7")
    shown = client("apigateway").get_rest_api(restApiId=api_id)
    return [shown["binaryMediaTypes"], shown["version"]]


def a_resource_twice() -> list[str]:
    api_id, root = new()
    make = client("apigateway").create_resource
    return [said(make, restApiId=api_id, parentId=root, pathPart=part) for part in ("a", "a", "b")]


def a_deployment_with_another_word() -> Any:
    api_id, _ = integrated()
    aws = client("apigateway")
    where = {"restApiId": api_id, "deploymentId": aws.create_deployment(restApiId=api_id)["id"]}
    step = {"op": "replace", "path": "/description", "value": "new"}
    shown = aws.update_deployment(**where, patchOperations=[step])["description"]
    return [shown, said(aws.update_deployment, **where, patchOperations=[step | {"path": "/id"}])]


def apis_that_cannot_be() -> list[str]:
    make = client("apigateway").create_rest_api
    asked: tuple[dict[str, Any], ...] = (
        {"description": ""},
        {"endpointConfiguration": {"types": []}},
        {"endpointConfiguration": {"types": ["EDGE", "REGIONAL"]}},
        {"endpointConfiguration": {"types": ["PRIVATE"], "ipAddressType": "ipv4"}},
    )
    return [said(make, name="lab", **each) for each in asked]


def a_method_twice() -> list[str]:
    api_id, root = new()
    put = client("apigateway").put_method
    where = {"restApiId": api_id, "resourceId": root, "authorizationType": "NONE"}
    return [said(put, **where, httpMethod=verb) for verb in ("GET", "GET", "POST")]


def a_parent_that_goes() -> Any:
    api_id, root = new()
    aws = client("apigateway")
    parent = aws.create_resource(restApiId=api_id, parentId=root, pathPart="a")["id"]
    child = aws.create_resource(restApiId=api_id, parentId=parent, pathPart="b")["id"]
    answers: list[Any] = [said(aws.delete_resource, restApiId=api_id, resourceId=parent)]
    answers.append([each["path"] for each in aws.get_resources(restApiId=api_id)["items"]])
    return answers + [said(aws.delete_resource, restApiId=api_id, resourceId=each) for each in (child, root)]


def children_of_a_greedy_one() -> list[str]:
    api_id, root = new()
    aws = client("apigateway")
    greedy = aws.create_resource(restApiId=api_id, parentId=root, pathPart="{proxy+}")["id"]
    asked = ((greedy, "a"), (root, "{x}"), ("gone", "a"))
    return [
        said(aws.create_resource, restApiId=api_id, parentId=where, pathPart=name) for where, name in asked
    ]


def patched(*steps: tuple[str, ...]) -> list[str]:
    """What comes of patches of one API, each of its own."""
    api_id, _ = new()
    names = ("op", "path", "value")
    return [
        said(
            client("apigateway").update_rest_api,
            restApiId=api_id,
            patchOperations=[dict(zip(names, step, strict=False))],
        )
        for step in steps
    ]


def a_binary_type_more() -> list[str]:
    api_id, _ = new()
    steps = [{"op": "add", "path": f"/binaryMediaTypes/{name}"} for name in ("image~1png", "a~1b")]
    return client("apigateway").update_rest_api(restApiId=api_id, patchOperations=steps)["binaryMediaTypes"]


def an_endpoint_left_on() -> bool:
    api_id, _ = new()
    step = {"op": "replace", "path": "/disableExecuteApiEndpoint", "value": "false"}
    made = client("apigateway").update_rest_api(restApiId=api_id, patchOperations=[step])
    return made["disableExecuteApiEndpoint"]


def patches_of_nothing() -> list[str]:
    return patched(
        ("replace", "/nonsense", "a"),
        ("replace", "/binaryMediaTypes", "a"),
        ("add", "/name", "a"),
        ("replace", "/minimumCompressionSize", "-1"),
        ("replace", "/endpointConfiguration/types/EDGE", "NEAR"),
    )


def patches_of_stages() -> list[str]:
    api_id, _ = integrated()
    aws = client("apigateway")
    aws.create_deployment(restApiId=api_id, stageName="prod")
    paths = ("/variables/a", "/*/*/throttling/rateLimit", "/documentation_version", "/*/*/throttling/speed")
    return [
        said(
            aws.update_stage,
            restApiId=api_id,
            stageName="prod",
            patchOperations=[{"op": "replace", "path": path, "value": "1"}],
        )
        for path in paths
    ]


def a_minute_to_answer() -> list[str]:
    api_id, root = new()
    where = method(api_id, root)
    put = client("apigateway").put_integration
    asked = {"type": "AWS_PROXY", "uri": URI, "integrationHttpMethod": "POST"}
    return [said(put, **where, **asked, timeoutInMillis=ms) for ms in (60_000, 49, 29_000, 50)]


def an_answer_that_no_method_gives() -> str:
    _, where = integrated()
    return said(client("apigateway").put_integration_response, **where, statusCode="200")


def a_header_that_no_method_declares() -> list[str]:
    _, where = integrated()
    header = "method.response.header.X-One"
    client("apigateway").put_method_response(**where, statusCode="200", responseParameters={header: False})
    put = client("apigateway").put_integration_response
    return [
        said(put, **where, statusCode="200", responseParameters={name: "'1'"})
        for name in (header, "method.response.header.X-Two")
    ]


# --- documents ----------------------------------------------------------------------------------------


PROXY = {"type": "aws_proxy", "httpMethod": "POST", "uri": URI}
MOCK = {
    "type": "mock",
    "requestTemplates": {"application/json": '{"statusCode": 204}'},
    "responses": {
        "default": {"statusCode": "204", "responseParameters": {"method.response.header.X-One": "'1'"}}
    },
}
ONE = {"parameters": [{"name": "id", "in": "path", "required": True, "schema": {"type": "string"}}]}


def document(*paths: str, **more: Any) -> bytes:
    answers = {"204": {"description": "", "headers": {"X-One": {"schema": {"type": "string"}}}}}
    verbs = {
        "get": {"responses": answers, "x-amazon-apigateway-integration": PROXY},
        "options": {"responses": answers, "x-amazon-apigateway-integration": MOCK},
    }
    described = {path: verbs | (ONE if "{id}" in path else {}) for path in paths}
    info = {"title": "haiku", "version": "1"}
    return json.dumps({"openapi": "3.0.1", "info": info, "paths": described} | more).encode()


def put(api_id: str, body: bytes, mode: str = "overwrite") -> str:
    return said(client("apigateway").put_rest_api, restApiId=api_id, mode=mode, body=body)


def paths(api_id: str) -> list[str]:
    return sorted(each["path"] for each in client("apigateway").get_resources(restApiId=api_id)["items"])


def a_document_with_a_mock() -> list[Any]:
    api_id, _ = new()
    return [put(api_id, document("/a")), paths(api_id)]


def a_document_with_shared_parameters() -> list[Any]:
    api_id, _ = new()
    plain = json.loads(document("/a/{id}"))
    del plain["paths"]["/a/{id}"]["options"]  # which moto would not take
    return [put(api_id, json.dumps(plain).encode()), paths(api_id)]


def without_mock(*names: str) -> bytes:
    plain = json.loads(document(*names))
    for path in plain["paths"].values():
        del path["options"]
    return json.dumps(plain).encode()


def merged_twice() -> list[str]:
    api_id, _ = new()
    put(api_id, without_mock("/a"), "merge")
    put(api_id, without_mock("/a", "/b"), "merge")
    return paths(api_id)


def overwritten_and_its_root() -> bool:
    api_id, _ = new()
    put(api_id, without_mock("/a"))
    root = client("apigateway").get_rest_api(restApiId=api_id)["rootResourceId"]
    made = said(client("apigateway").create_resource, restApiId=api_id, parentId=root, pathPart="b")
    return made == "ok" and paths(api_id) == ["/", "/a", "/b"]


def gateway_responses() -> list[str]:
    api_id, _ = new()
    plain = json.loads(without_mock("/a"))
    kind = {"DEFAULT_4XX": {"responseParameters": {"gatewayresponse.header.X-One": "'1'"}}}
    put(api_id, json.dumps(plain | {"x-amazon-apigateway-gateway-responses": kind}).encode())
    shown = client("apigateway").get_gateway_responses(restApiId=api_id)["items"]
    return [each["responseType"] for each in shown]


def a_document_without_paths() -> str:
    api_id, _ = new()
    return put(api_id, json.dumps({"openapi": "3.0.1", "info": {"title": "a", "version": "1"}}).encode())


# --- how often ----------------------------------------------------------------------------------------


def two_deletions() -> list[str]:
    first, _ = new()
    wait(3)
    second, _ = new()
    delete = client("apigateway").delete_rest_api
    now = [said(delete, restApiId=each) for each in (first, second)]
    wait(30)
    if now[-1] != "ok":
        now.append(said(delete, restApiId=second))
    return now


def fifty_calls() -> int:
    look = client("apigateway").get_account
    return sum(said(look) == "ok" for _ in range(50))


CASES = (
    Case("deployments", a_stage_of_nothing, "ok", BAD),
    Case("deployments", a_stage_moved_to_nothing, "ok", BAD),
    Case("deployments", limits_after_another_deployment, [], [7.0]),
    Case("deployments", the_deployment_of_a_stage, ["ok", "ok"], [BAD, "ok"]),
    Case("deployments", a_deployment_that_a_stage_has_left, BAD, "ok"),
    Case("deployment_descriptions", a_deployment_with_another_word, "NotImplementedError", ["new", BAD]),
    Case("deployments_need_integrations", a_deployment_of_a_method_alone, GONE, BAD),
    Case("deployments_need_integrations", a_deployment_of_one_method_in_two, "ok", BAD),
    Case("apis_that_are_there", an_api_that_is_not_there, "KeyError", GONE),
    Case("binary_media_types", binary_types, [[], "V1"], [["image/*"], "7"]),
    Case("apis_can_be_made", apis_that_cannot_be, ["ok"] * 4, [BAD] * 4),
    Case("one_of_each_name", a_resource_twice, ["ok", "ok", "ok"], ["ok", TAKEN, "ok"]),
    Case("methods", a_method_twice, ["ok", "ok", "ok"], ["ok", TAKEN, "ok"]),
    Case("methods", a_minute_to_answer, ["ok"] * 4, [BAD, BAD, "ok", "ok"]),
    Case("methods", an_answer_that_no_method_gives, "ok", "ok"),
    Case("resource_trees", a_parent_that_goes, GONE, ["ok", ["/"], GONE, BAD]),
    Case("resource_trees", children_of_a_greedy_one, ["ok", "ok", GONE], [BAD, BAD, GONE]),
    Case("rest_api_patches", a_binary_type_more, ["", ""], ["image/png", "a/b"]),
    Case("rest_api_patches", an_endpoint_left_on, True, False),
    Case("rest_api_patches", patches_of_nothing, ["ok"] * 5, [BAD] * 5),
    Case("rest_api_patches", patches_of_stages, ["ok"] * 4, ["ok", "ok", BAD, BAD]),
    Case("methods", a_header_that_no_method_declares, ["ok", "ok"], ["ok", BAD]),
    Case("openapi_documents", a_document_with_a_mock, "TypeError", ["ok", ["/", "/a"]]),
    Case(
        "openapi_documents",
        a_document_with_shared_parameters,
        "AttributeError",
        ["ok", ["/", "/a", "/a/{id}"]],
    ),
    Case("openapi_documents", merged_twice, ["/", "/a", "/a", "/b"], ["/", "/a", "/b"]),
    Case("openapi_documents", overwritten_and_its_root, False, True),
    Case("openapi_documents", gateway_responses, [], ["DEFAULT_4XX"]),
    Case("openapi_documents", a_document_without_paths, "KeyError", BAD),
    Case(
        "apis_have_awss_shape",
        shapes,
        [["binaryMediaTypes", "version"], None, ["description", "variables"], True, 2, 200, 200],
        [[], "ipv4", ["createdDate", "lastUpdatedDate", "tracingEnabled"], True, 1, 201, 202],
    ),
    Case("apis_have_awss_shape", a_setting_that_goes, ["ok", 1, "ok"], ["ok", 0, BAD]),
    Case("control_plane_rates", two_deletions, ["ok", "ok"], ["ok", OFTEN, "ok"], AWS_TIME),
    Case("control_plane_rates", fifty_calls, 50, 40, AWS_TIME),
)


@table(*CASES)
def test_aws_is_stricter_than_moto(case: Case) -> None:
    check(case)


def test_without_slow_states_there_are_no_rates() -> None:
    with cloud(every=True):
        for _ in range(3):
            assert said(client("apigateway").delete_rest_api, restApiId=new()[0]) == "ok"


def test_rates_are_awss_own_however_quick_the_states_are() -> None:
    with cloud(every=True, slow_states=0.01):
        first, _ = new()
        wait(3.0)
        second, _ = new()
        delete = client("apigateway").delete_rest_api
        answers = [said(delete, restApiId=first)]
        for seconds in (29.0, 1.0):
            wait(seconds)
            answers.append(said(delete, restApiId=second))
        assert answers == ["ok", OFTEN, "ok"]


def test_a_document_gives_methods_answers_and_integrations() -> None:
    with cloud(every=True):
        api_id, _ = new()
        assert put(api_id, document("/a/{id}")) == "ok"
        shown = client("apigateway").get_resources(restApiId=api_id, embed=["methods"])["items"]
        methods = next(each for each in shown if each["path"] == "/a/{id}")["resourceMethods"]
        assert methods["GET"]["requestParameters"] == {"method.request.path.id": True}
        assert methods["GET"]["authorizationType"] == "NONE"
        assert methods["GET"]["methodIntegration"]["type"] == "AWS_PROXY"
        assert methods["GET"]["methodIntegration"]["timeoutInMillis"] == 29_000
        answer = methods["OPTIONS"]["methodIntegration"]["integrationResponses"]["204"]
        assert answer["responseParameters"] == {"method.response.header.X-One": "'1'"}
        declared = methods["OPTIONS"]["methodResponses"]["204"]["responseParameters"]
        assert declared == {"method.response.header.X-One": False}
        assert client("apigateway").get_rest_api(restApiId=api_id)["name"] == "haiku"


def test_what_overwrites_leaves_nothing_of_before() -> None:
    with cloud(every=True):
        api_id, root = new()
        method(api_id, root)
        put(api_id, document("/a", "/b/c"))
        put(api_id, document("/d"))
        assert paths(api_id) == ["/", "/d"]
        shown = client("apigateway").get_resources(restApiId=api_id)["items"]
        assert "resourceMethods" not in next(each for each in shown if each["path"] == "/")


def test_a_document_that_cannot_be_is_refused_and_changes_nothing() -> None:
    with cloud(every=True):
        api_id, _ = new()
        put(api_id, document("/a"))
        code, message, status = refused(
            client("apigateway").put_rest_api, restApiId=api_id, mode="overwrite", body=document("/a b")
        )
        assert (code, status) == (BAD, 400)
        assert "Unable to create resource at path '/a b'" in message
        broken = json.loads(document("/b"))
        broken["paths"]["/b"]["get"]["x-amazon-apigateway-integration"] = {"type": "aws_proxy"}
        assert put(api_id, json.dumps(broken).encode()) == BAD
        assert paths(api_id) == ["/", "/a"]


def from_document(**more: Any) -> tuple[str, str]:
    """An API from a document, and what was said of it."""
    api_id, _ = new()
    document = {"openapi": "3.0.1", "info": {"title": "lab", "version": "1"}, "paths": {}} | more
    body = json.dumps(document).encode()
    try:
        client("apigateway").put_rest_api(restApiId=api_id, mode="overwrite", body=body)
    except ClientError as error:
        return api_id, error.response["Error"]["Message"]
    return api_id, "ok"


def a_get(**more: Any) -> dict[str, Any]:
    integration = {"type": "aws_proxy", "httpMethod": "POST", "uri": URI} | more.pop("integration", {})
    return {"/a": {"get": {"x-amazon-apigateway-integration": integration} | more}}


def schemes(**each: dict[str, Any]) -> dict[str, Any]:
    return {"components": {"securitySchemes": each}}


KEY = {"type": "apiKey", "name": "X-API-Key", "in": "header"}
AUTHORIZER = {"type": "token", "authorizerUri": URI}


@pytest.mark.parametrize(
    ("document", "names"),
    [
        (schemes(a={"type": "http", "scheme": "bearer"}) | {"security": [{"a": []}]}, "security scheme 'a'"),
        (schemes(a=KEY | {"name": "token"}) | {"paths": a_get(security=[{"a": []}])}, "security scheme 'a'"),
        ({"security": [{"gone": []}]}, "security scheme 'gone'"),
        ({"x-amazon-apigateway-policy": {}}, "x-amazon-apigateway-policy"),
        ({"paths": a_get(integration={"responseTransferMode": "STREAM"})}, "responseTransferMode"),
    ],
)
def test_what_a_document_asks_for_in_vain_is_named(document: dict[str, Any], names: str) -> None:
    with cloud("openapi_documents"):
        api_id, problem = from_document(**({"paths": a_get()} | document))
        assert problem.startswith(f"The practice cloud's API Gateway has no {names}")
        assert len(client("apigateway").get_resources(restApiId=api_id)["items"]) == 1


@pytest.mark.parametrize(
    ("document", "how", "wanted"),
    [
        ({"servers": [{"url": "https://lab.example/v1/api/"}]}, "ignore", "/a"),
        ({"servers": [{"url": "https://lab.example/v1/api/"}]}, "prepend", "/v1/api/a"),
        ({"servers": [{"url": "https://lab.example/v1/api/"}]}, "split", "/api/a"),
        ({"servers": [{"url": "/", "variables": {"basePath": {"default": "v2"}}}]}, "prepend", "/v2/a"),
        ({"openapi": None, "swagger": "2.0", "basePath": "/v1"}, "prepend", "/v1/a"),
        ({"openapi": None, "swagger": "2.0", "basePath": "/v1"}, "split", "/a"),
    ],
)
def test_a_base_path_is_ignored_prepended_or_split_off(
    document: dict[str, Any], how: str, wanted: str
) -> None:
    with cloud("openapi_documents"):
        api_id, _ = new()
        info = {"openapi": "3.0.1", "info": {"title": "lab", "version": "1"}, "paths": a_get()} | document
        body = json.dumps({name: value for name, value in info.items() if value is not None}).encode()
        client("apigateway").put_rest_api(restApiId=api_id, body=body, parameters={"basepath": how})
        assert paths(api_id)[-1] == wanted


def test_an_import_does_not_choose_its_endpoint() -> None:
    with cloud("openapi_documents"):
        body = json.dumps({"openapi": "3.0.1", "info": {"title": "lab"}, "paths": a_get()}).encode()
        asked = {"body": body, "parameters": {"endpointConfigurationTypes": "REGIONAL"}}
        code, problem, status = refused(client("apigateway").import_rest_api, **asked)
        assert (code, status) == ("NotImplemented", 501)
        assert "endpointConfigurationTypes" in problem


def test_a_swagger_document_says_the_same_in_other_words() -> None:
    with cloud("openapi_documents", "methods"):
        api_id, _ = new()
        body = {"name": "haiku", "in": "body", "schema": {"$ref": "#/definitions/Haiku"}}
        name = {"name": "name", "in": "query", "required": True, "type": "string"}
        gives = {"200": {"description": "", "schema": {"$ref": "#/definitions/Haiku"}}}
        document = {
            "swagger": "2.0",
            "info": {"title": "lab", "version": "1"},
            "produces": ["text/plain"],
            "paths": a_get(parameters=[name, body], responses=gives, security=[{"guard": ["read"]}]),
            "definitions": {"Haiku": {"properties": {"next": {"$ref": "#/definitions/Haiku"}}}},
            "securityDefinitions": {
                "guard": {
                    "type": "apiKey",
                    "name": "Token",
                    "in": "header",
                    "x-amazon-apigateway-authorizer": AUTHORIZER,
                }
            },
        }
        aws = client("apigateway")
        aws.put_rest_api(restApiId=api_id, body=json.dumps(document).encode())
        resource = next(each for each in aws.get_resources(restApiId=api_id)["items"] if each["path"] == "/a")
        shown = aws.get_method(restApiId=api_id, resourceId=resource["id"], httpMethod="GET")
        (authorizer,) = aws.get_authorizers(restApiId=api_id)["items"]
        assert (authorizer["type"], authorizer["identitySource"]) == ("TOKEN", "method.request.header.Token")
        assert (shown["authorizationType"], shown["authorizerId"]) == ("CUSTOM", authorizer["id"])
        assert shown["requestModels"] == {"application/json": "Haiku"}
        assert shown["requestParameters"] == {"method.request.querystring.name": True}
        assert shown["methodResponses"]["200"]["responseModels"] == {"text/plain": "Haiku"}
        schema = aws.get_model(restApiId=api_id, modelName="Haiku")["schema"]
        assert json.loads(schema)["properties"]["next"]["$ref"].endswith(f"{api_id}/models/Haiku")


def test_a_document_brings_its_validators_and_says_what_it_left_out() -> None:
    with cloud("openapi_documents", "methods"):
        api_id, _ = new()
        both = {"all": {"validateRequestBody": True, "validateRequestParameters": True}}
        wrong = {"requestParameters": {"integration.request.header.x": True}}
        document = {
            "openapi": "3.0.1",
            "info": {"title": "lab", "version": "1"},
            "paths": a_get(integration=wrong),
            "x-amazon-apigateway-request-validators": both,
            "x-amazon-apigateway-request-validator": "all",
        }
        aws = client("apigateway")
        said_of_it = aws.put_rest_api(restApiId=api_id, body=json.dumps(document).encode())
        assert said_of_it["warnings"] == [
            "Invalid format for 'requestParameters'. Expected type string for property "
            "'integration.request.header.x' of resource '/a' and method 'GET' but got 'true'"
        ]
        (validator,) = aws.get_request_validators(restApiId=api_id)["items"]
        resource = next(each for each in aws.get_resources(restApiId=api_id)["items"] if each["path"] == "/a")
        shown = aws.get_method(restApiId=api_id, resourceId=resource["id"], httpMethod="GET")
        assert (validator["name"], shown["requestValidatorId"]) == ("all", validator["id"])


def test_a_document_closes_its_methods_to_those_without_a_key() -> None:
    with cloud("openapi_documents"):
        open_one = a_get(security=[])["/a"]["get"]
        paths = {"/a": a_get()["/a"] | {"post": open_one}, "/b": a_get(security=[{"k": []}])["/a"]}
        api_id, problem = from_document(security=[{"k": []}], paths=paths, **schemes(k=KEY))
        assert problem == "ok"
        shown = client("apigateway").get_resources(restApiId=api_id, embed=["methods"])["items"]
        wanted = {
            (each["path"], name): method["apiKeyRequired"]
            for each in shown
            for name, method in each.get("resourceMethods", {}).items()
        }
        assert wanted == {("/a", "GET"): True, ("/a", "POST"): False, ("/b", "GET"): True}


def test_a_document_brings_its_models_along() -> None:
    with cloud("openapi_documents"):
        schemas = {
            "Line": {"type": "string"},
            "Haiku": {"properties": {"a": {"$ref": "#/components/schemas/Line"}}},
        }
        named = {"content": {"application/json": {"schema": {"$ref": "#/components/schemas/Haiku"}}}}
        nameless = {
            "200": {"description": "", "content": {"application/json": {"schema": {"type": "array"}}}}
        }
        api_id, problem = from_document(
            components={"schemas": schemas}, paths=a_get(requestBody=named, responses=nameless)
        )
        assert problem == "ok"
        aws = client("apigateway")
        models = {
            each["name"]: json.loads(each["schema"]) for each in aws.get_models(restApiId=api_id)["items"]
        }
        address = f"https://apigateway.amazonaws.com/restapis/{api_id}/models/Line"
        assert models["Haiku"] == {"properties": {"a": {"$ref": address}}}
        resource = next(
            each
            for each in aws.get_resources(restApiId=api_id, embed=["methods"])["items"]
            if each["path"] == "/a"
        )
        method = resource["resourceMethods"]["GET"]
        assert method["requestModels"] == {"application/json": "Haiku"}
        (made,) = method["methodResponses"]["200"]["responseModels"].values()
        assert models[made] == {"type": "array"}


def test_refusals_have_the_status_and_the_words_of_aws() -> None:
    with cloud(every=True):
        api_id, root = new()
        aws = client("apigateway")
        method(api_id, root)
        where = {"restApiId": api_id, "resourceId": root, "httpMethod": "GET"}
        assert refused(aws.put_method, **where, authorizationType="NONE")[1:] == (
            "Method already exists for this resource",
            409,
        )
        assert refused(aws.delete_rest_api, restApiId="abc")[2] == 404
        assert refused(aws.create_deployment, restApiId=api_id)[1] == "No integration defined for method"


def test_a_snapshot_is_kept_with_its_deployment() -> None:
    with cloud(every=True):
        api_id, _ = integrated()
        made = client("apigateway").create_deployment(restApiId=api_id)["id"]
        client("apigateway").put_rest_api(restApiId=api_id, mode="overwrite", body=document("/a"))
        kept = rest_apis.snapshot(apigateway_backends["123456789012"]["us-east-1"].apis[api_id], made)
        assert kept is not None
        assert list(kept.resources) == ["/"]
        found = rest_apis.find(api_id)
        assert found is not None
        assert found.id == api_id
        assert rest_apis.find("abc") is None
