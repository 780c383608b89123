"""Chapter 5, as the harness runs it, and what its services show from outside."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from awslabs import serverless
from harness import cases, outside
from harness.labs import Lab
from harness.outside import Thing, everything, thing

# `up` waits for the API to answer: slow, since a function starts for it, and it changes nothing.
SERVERLESS = Lab("serverless", serverless.up, serverless.down, skip=("awslabs.serverless:wait_for_api",))


def functions(client: Any) -> Iterator[Thing]:
    """Lambda functions, and each sentence of who may call them."""
    for function in everything(client, "list_functions", "Functions"):
        name = function["FunctionName"]
        shape = name, function["Handler"], function["MemorySize"], function["Runtime"]
        yield thing("lambda function", name, *shape)
        try:
            policy = json.loads(client.get_policy(FunctionName=name)["Policy"])
        except client.exceptions.ResourceNotFoundException:
            continue
        for statement in policy["Statement"]:
            yield thing("lambda permission", f"{name} {statement['Sid']}", name, statement["Action"])


def tables(client: Any) -> Iterator[Thing]:
    """DynamoDB tables with their indexes."""
    for name in everything(client, "list_tables", "TableNames"):
        table = client.describe_table(TableName=name)["Table"]
        indexes = [index["IndexName"] for index in table.get("GlobalSecondaryIndexes", [])]
        yield thing("dynamodb table", name, name, table["TableStatus"], indexes)


def buckets(client: Any) -> Iterator[Thing]:
    """S3 buckets, whether they are open, and each version of what lies in them."""
    for bucket in everything(client, "list_buckets", "Buckets"):
        name = bucket["Name"]
        opened = []
        for setting in ("get_bucket_policy", "get_bucket_website"):
            try:
                getattr(client, setting)(Bucket=name)
                opened.append(setting)
            except client.exceptions.ClientError as error:
                if not error.response["Error"]["Code"].startswith("NoSuch"):
                    raise
        yield thing("s3 bucket", name, name, opened)
        for key in ("Versions", "DeleteMarkers"):
            pages = client.get_paginator("list_object_versions").paginate(Bucket=name)
            for version in (one for page in pages for one in page.get(key, [])):
                yield thing("s3 object", f"{name} {version['Key']} {version['VersionId']}", version["Key"])


def queues(client: Any) -> Iterator[Thing]:
    """SQS queues."""
    for page in client.get_paginator("list_queues").paginate():
        for url in page.get("QueueUrls", []):
            yield thing("sqs queue", url, url.rpartition("/")[2])


def log_groups(client: Any) -> Iterator[Thing]:
    """CloudWatch log groups, and for how long they keep lines."""
    for group in everything(client, "describe_log_groups", "logGroups"):
        yield thing("logs group", group["arn"], group["logGroupName"], group.get("retentionInDays"))


def rest_apis(client: Any) -> Iterator[Thing]:
    """REST APIs with their methods, deployments and stages."""
    for api in everything(client, "get_rest_apis", "items"):
        api_id = {"restApiId": api["id"]}
        yield thing("apigateway api", api["id"], api["name"])
        for resource in everything(client, "get_resources", "items", embed=["methods"], **api_id):
            for method in resource.get("resourceMethods", {}):
                yield thing(
                    "apigateway method", f"{api['id']} {resource['path']} {method}", resource["path"], method
                )
        for deployment in everything(client, "get_deployments", "items", **api_id):
            yield thing("apigateway deployment", f"{api['id']} {deployment['id']}")
        for stage in client.get_stages(**api_id)["item"]:
            limits = stage["methodSettings"].get("*/*", {})
            shape = stage["stageName"], limits.get("throttlingRateLimit"), limits.get("throttlingBurstLimit")
            yield thing("apigateway stage", f"{api['id']} {stage['stageName']}", *shape)


outside.LISTINGS.update(
    {
        "lambda": functions,
        "dynamodb": tables,
        "s3": buckets,
        "sqs": queues,
        "logs": log_groups,
        "apigateway": rest_apis,
    }
)
cases.CODES.update(
    {
        "lambda": {
            "THROTTLED": "TooManyRequestsException",
            "INTERNAL": "ServiceException",
            "DENIED": "AccessDeniedException",
        },
        "dynamodb": {
            "THROTTLED": "ThrottlingException",
            "INTERNAL": "InternalServerError",
            "DENIED": "AccessDeniedException",
        },
        "s3": {"THROTTLED": "SlowDown", "INTERNAL": "InternalError", "DENIED": "AccessDenied"},
        "sqs": {"THROTTLED": "RequestThrottled", "INTERNAL": "InternalFailure", "DENIED": "AccessDenied"},
        "logs": {
            "THROTTLED": "ThrottlingException",
            "INTERNAL": "InternalFailure",
            "DENIED": "AccessDeniedException",
        },
        "apigateway": {
            "THROTTLED": "TooManyRequestsException",
            "INTERNAL": "InternalFailure",
            "DENIED": "AccessDeniedException",
        },
    }
)
