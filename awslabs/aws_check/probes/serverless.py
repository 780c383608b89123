"""Of chapter 5: functions, an API, a queue, tables and buckets. Nothing is called, nobody let in."""

from __future__ import annotations

from collections.abc import Iterator

from awslabs.aws_check.probes import question
from awslabs.aws_check.probes.question import Question
from awslabs.ledger import Ledger
from awslabs.serverless import STAGE


def questions(ledger: Ledger) -> Iterator[Question]:
    """What AWS refuses of each, and what the lab does not look at."""
    yield from of_function(ledger, "greeter")
    yield from of_policy(ledger, "list-haiku")
    yield from of_api(ledger)
    yield from question.of_role(ledger, "greeter-role")
    yield from question.of_table(ledger, "table")
    yield from question.of_bucket(ledger, "bucket")
    yield from question.of_log_group(ledger, "greeter-logs")
    sqs = ledger.client("sqs")
    fifo = {"QueueUrl": ledger.resources["dead-letter-queue"], "Attributes": {"FifoQueue": "true"}}
    yield "queue of another type", lambda: sqs.set_queue_attributes(**fifo)


def of_function(ledger: Ledger, name: str) -> Iterator[Question]:
    """What a function cannot be. It stays as it is, so that nothing is made that was to be refused."""
    lambda_, function = ledger.client("lambda"), ledger.resources[name]
    role = lambda_.get_function_configuration(FunctionName=function)["Role"]

    def change(**setting: object) -> Question:
        (called,) = setting
        return called, lambda: lambda_.update_function_configuration(FunctionName=function, **setting)

    yield change(Role=f"{role}-probe")
    yield change(Runtime="python2.7")
    yield change(MemorySize=20_000)
    yield change(Timeout=1000)
    yield change(Environment={"Variables": {"AWS_REGION": "nowhere"}})
    yield "code", lambda: lambda_.update_function_code(FunctionName=function, ZipFile=b"no archive")
    yield (
        "all concurrency",
        lambda: lambda_.put_function_concurrency(
            FunctionName=function, ReservedConcurrentExecutions=1_000_000
        ),
    )
    yield "form of a qualifier", lambda: lambda_.get_function(FunctionName=function, Qualifier="a version")
    yield "versions", lambda: lambda_.list_versions_by_function(FunctionName=function)


def of_policy(ledger: Ledger, name: str) -> Iterator[Question]:
    """A permission has a name of its own."""
    lambda_, function = ledger.client("lambda"), ledger.resources[name]
    twice = {"FunctionName": function, "StatementId": "api", "Action": "lambda:InvokeFunction"}
    yield (
        "permission there already",
        lambda: lambda_.add_permission(**twice, Principal="apigateway.amazonaws.com"),
    )


def of_api(ledger: Ledger) -> Iterator[Question]:
    """An API's parts are there once, and what is served stays."""
    gateway, api_id = ledger.client("apigateway"), ledger.resources["api"]
    resources = gateway.get_resources(restApiId=api_id, embed=["methods"])["items"]
    (root,) = (each for each in resources if each["path"] == "/")
    child = next(each for each in resources if each.get("parentId") == root["id"])
    twice = {"restApiId": api_id, "parentId": root["id"], "pathPart": child["pathPart"]}
    yield "resource there already", lambda: gateway.create_resource(**twice)
    yield "root", lambda: gateway.delete_resource(restApiId=api_id, resourceId=root["id"])
    nowhere = {"restApiId": api_id, "resourceId": child["id"], "httpMethod": "TRACE"}
    yield "unknown method", lambda: gateway.get_method(**nowhere)
    for verb in sorted(child.get("resourceMethods", {})):
        one = {"restApiId": api_id, "resourceId": child["id"], "httpMethod": verb}
        yield f"{verb} of a resource", lambda one=one: gateway.get_method(**one)  # type: ignore[misc]
    stage = gateway.get_stage(restApiId=api_id, stageName=STAGE)
    served = {"restApiId": api_id, "deploymentId": stage["deploymentId"]}
    yield "deployment that is served", lambda: gateway.delete_deployment(**served)
    nothing = {"restApiId": api_id, "stageName": "probe", "deploymentId": "nothing"}
    yield "stage of nothing", lambda: gateway.create_stage(**nothing)
    replaced = {"op": "replace", "path": "/probe", "value": "probe"}
    yield (
        "change of nothing",
        lambda: gateway.update_rest_api(restApiId=api_id, patchOperations=[replaced]),
    )
    yield "no document", lambda: gateway.put_rest_api(restApiId="nothing", mode="merge", body=b"no document")
    yield "answers of an API", lambda: gateway.get_gateway_responses(restApiId=api_id)
