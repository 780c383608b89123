"""What calls need: requests as boto3 sends them, and the IAM actions and resources that AWS asks for."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import boto3
import pytest
from botocore import xform_name
from botocore.session import get_session
from moto.core.request import Request
from test_services_support import TRUST, client, cloud
from werkzeug.test import EnvironBuilder

import awslabs
from awslabs.kinds import ENSURES, KINDS
from awslabs.sandbox.core import wire
from awslabs.sandbox.services.iam import needs

ACCOUNT = "123456789012"
HERE = f"us-east-1:{ACCOUNT}"
ROLE = f"arn:aws:iam::{ACCOUNT}:role/labs/reader"
UUID = "01234567-89ab-cdef-0123-456789abcdef"
PROFILE = f"arn:aws:iam::{ACCOUNT}:instance-profile/labs/server"
QUEUE = f"https://sqs.us-east-1.amazonaws.com/{ACCOUNT}/dead"
PASS = ("iam:PassRole", ROLE)
TAGS = [{"Key": "lab", "Value": "ec2"}]


class Sent(Exception):
    """What a client would have sent."""


def sent(service: str, method: str, key: str = "ASIAEXAMPLE", **request: Any) -> needs.Asked:
    """A call, as boto3 sends it and the server reads it."""

    def stop(request: Any, **_: Any) -> None:
        raise Sent(request)

    own = boto3.client(
        service,
        "us-east-1",
        aws_access_key_id=key,
        aws_secret_access_key="x",
        endpoint_url="http://127.0.0.1:1",
    )
    own.meta.events.register_first("before-send", stop)
    try:
        getattr(own, method)(**request)
    except Sent as caught:
        raw = caught.args[0]
    url = urlsplit(raw.url)
    headers = {k: v if isinstance(v, str) else v.decode() for k, v in raw.headers.items()}
    body = raw.body.read() if hasattr(raw.body, "read") else raw.body or b""
    body = body.encode() if isinstance(body, str) else body
    environ = EnvironBuilder(
        path=unquote(url.path), query_string=url.query, method=raw.method, headers=headers, data=body
    ).get_environ()
    arrived = Request(environ)
    return needs.Asked(ACCOUNT, "us-east-1", wire.read(arrived, body), arrived, body)


@pytest.fixture(scope="module", autouse=True)
def roles() -> Iterator[None]:
    """A role, and a profile with it."""
    with cloud():
        iam = client("iam")
        trust = TRUST % '{"Service":"ec2.amazonaws.com"}'
        iam.create_role(RoleName="reader", Path="/labs/", AssumeRolePolicyDocument=trust)
        iam.create_instance_profile(InstanceProfileName="server", Path="/labs/")
        iam.add_role_to_instance_profile(InstanceProfileName="server", RoleName="reader")
        client("ecs").register_task_definition(family="qa", containerDefinitions=[], taskRoleArn=ROLE)
        yield


def arn(service: str, rest: str) -> str:
    return f"arn:aws:{service}:{HERE}:{rest}"


def ec2(*rests: str) -> list[tuple[str, str]]:
    return [("", arn("ec2", rest)) for rest in rests]


CALLS = [
    # EC2
    ("ec2:DescribeVpcs", {}, [("", "*")]),
    ("ec2:CreateSubnet", {"VpcId": "vpc-1", "CidrBlock": "10.0.0.0/24"}, ec2("subnet/*", "vpc/vpc-1")),
    (
        "ec2:AttachInternetGateway",
        {"InternetGatewayId": "igw-1", "VpcId": "vpc-1"},
        ec2("internet-gateway/igw-1", "vpc/vpc-1"),
    ),
    ("ec2:TerminateInstances", {"InstanceIds": ["i-1", "i-2"]}, ec2("instance/i-1", "instance/i-2")),
    ("ec2:AuthorizeSecurityGroupIngress", {"GroupId": "sg-1"}, ec2("security-group/sg-1")),
    (
        "ec2:CreateVpc",
        {"CidrBlock": "10.0.0.0/16", "TagSpecifications": [{"ResourceType": "vpc", "Tags": TAGS}]},
        [*ec2("vpc/*"), ("ec2:CreateTags", arn("ec2", "vpc/*"))],
    ),
    (
        "ec2:RunInstances",
        {
            "ImageId": "ami-1",
            "MinCount": 1,
            "MaxCount": 1,
            "KeyName": "k",
            "SubnetId": "subnet-1",
            "SecurityGroupIds": ["sg-1", "sg-2"],
            "IamInstanceProfile": {"Name": "server"},
            "TagSpecifications": [{"ResourceType": "volume", "Tags": TAGS}],
        },
        [
            ("", "arn:aws:ec2:us-east-1::image/ami-1"),
            *ec2("instance/*", "network-interface/*", "volume/*", "key-pair/k"),
            *ec2("security-group/sg-1", "security-group/sg-2", "subnet/subnet-1"),
            PASS,
            ("ec2:CreateTags", arn("ec2", "volume/*")),
        ],
    ),
    # IAM
    (
        "iam:CreateRole",
        {"RoleName": "new", "Path": "/labs/", "AssumeRolePolicyDocument": "{}", "Tags": TAGS},
        [
            ("", f"arn:aws:iam::{ACCOUNT}:role/labs/new"),
            ("iam:TagRole", f"arn:aws:iam::{ACCOUNT}:role/labs/new"),
        ],
    ),
    ("iam:DeleteRole", {"RoleName": "reader"}, [("", ROLE)]),
    ("iam:ListRoles", {"PathPrefix": "/labs/"}, [("", f"arn:aws:iam::{ACCOUNT}:role/labs/")]),
    ("iam:ListInstanceProfiles", {}, [("", f"arn:aws:iam::{ACCOUNT}:instance-profile/")]),
    (
        "iam:AddRoleToInstanceProfile",
        {"InstanceProfileName": "server", "RoleName": "reader"},
        [("", PROFILE), PASS],
    ),
    # containers
    ("ecr:GetAuthorizationToken", {}, [("", "*")]),
    ("ecr:DescribeRepositories", {}, [("", arn("ecr", "repository/*"))]),
    ("ecr:DescribeRepositories", {"repositoryNames": ["labs"]}, [("", arn("ecr", "repository/labs"))]),
    ("ecs:CreateCluster", {"clusterName": "qa"}, [("", arn("ecs", "cluster/qa"))]),
    ("ecs:DescribeClusters", {}, [("", arn("ecs", "cluster/default"))]),
    (
        "ecs:DescribeClusters",
        {"clusters": ["arn:aws:ecs:x:1:cluster/a"]},
        [("", "arn:aws:ecs:x:1:cluster/a")],
    ),
    ("ecs:ListTasks", {"cluster": "qa"}, [("", "*")]),
    (
        "ecs:RegisterTaskDefinition",
        {"family": "qa", "containerDefinitions": [], "executionRoleArn": ROLE},
        [("", arn("ecs", "task-definition/qa:*")), PASS],
    ),
    (
        "ecs:RunTask",
        {
            "cluster": "arn:aws:ecs:x:1:cluster/qa",
            "taskDefinition": "qa",
            "tags": [{"key": "a", "value": "b"}],
        },
        [
            ("", arn("ecs", "task-definition/qa")),
            PASS,
            ("ecs:TagResource", arn("ecs", "task/qa/*")),
        ],
    ),
    (
        "ecs:DescribeTasks",
        {"cluster": "qa", "tasks": ["1", arn("ecs", "task/qa/2")]},
        [("", arn("ecs", "task/qa/1")), ("", arn("ecs", "task/qa/2"))],
    ),
    # Batch
    (
        "batch:CreateComputeEnvironment",
        {
            "computeEnvironmentName": "ce",
            "type": "MANAGED",
            "tags": {"a": "b"},
            "computeResources": {"type": "EC2", "maxvCpus": 1, "subnets": [], "instanceRole": PROFILE},
        },
        [
            ("", arn("batch", "compute-environment/ce")),
            PASS,
            ("batch:TagResource", arn("batch", "compute-environment/ce")),
        ],
    ),
    (
        "batch:CreateJobQueue",
        {
            "jobQueueName": "q",
            "priority": 1,
            "computeEnvironmentOrder": [
                {"order": 1, "computeEnvironment": arn("batch", "compute-environment/ce")}
            ],
        },
        [("", arn("batch", "job-queue/q")), ("", arn("batch", "compute-environment/ce"))],
    ),
    ("batch:DeleteJobQueue", {"jobQueue": "q"}, [("", arn("batch", "job-queue/q"))]),
    (
        "batch:SubmitJob",
        {"jobName": "j", "jobQueue": "q", "jobDefinition": "d:1"},
        [("", arn("batch", "job-queue/q")), ("", arn("batch", "job-definition/d:1"))],
    ),
    # Lambda, API Gateway
    ("lambda:ListFunctions", {}, [("", "*")]),
    (
        "lambda:CreateFunction",
        {"FunctionName": "f", "Role": ROLE, "Code": {"ZipFile": b""}, "Tags": {"a": "b"}},
        [
            ("", arn("lambda", "function:f")),
            PASS,
            ("lambda:TagResource", arn("lambda", "function:f")),
        ],
    ),
    ("lambda:Invoke", {"FunctionName": "f"}, [("lambda:InvokeFunction", arn("lambda", "function:f"))]),
    (
        "lambda:CreateEventSourceMapping",
        {"FunctionName": "f", "EventSourceArn": arn("sqs", "q"), "Tags": {"a": "b"}},
        [("", "*"), ("lambda:TagResource", arn("lambda", "event-source-mapping:*"))],
    ),
    (
        "lambda:UpdateEventSourceMapping",
        {"UUID": UUID, "BatchSize": 1},
        [("", arn("lambda", f"event-source-mapping:{UUID}"))],
    ),
    (
        "lambda:ListTags",
        {"Resource": arn("lambda", f"event-source-mapping:{UUID}")},
        [("", arn("lambda", f"event-source-mapping:{UUID}"))],
    ),
    (
        "lambda:AddPermission",
        {"FunctionName": arn("lambda", "function:f"), "StatementId": "s", "Action": "a", "Principal": "p"},
        [("", arn("lambda", "function:f"))],
    ),
    (
        "apigateway:CreateRestApi",
        {"name": "a"},
        [("apigateway:POST", "arn:aws:apigateway:us-east-1::/restapis")],
    ),
    (
        "apigateway:UpdateStage",
        {"restApiId": "a", "stageName": "prod"},
        [("apigateway:PATCH", "arn:aws:apigateway:us-east-1::/restapis/a/stages/prod")],
    ),
    # S3
    ("s3:ListBuckets", {}, [("s3:ListAllMyBuckets", "*")]),
    ("s3:GetObject", {"Bucket": "b", "Key": "dir/k k{1}"}, [("", "arn:aws:s3:::b/dir/k k{1}")]),
    (
        "s3:GetObject",
        {"Bucket": "b", "Key": "k", "VersionId": "1"},
        [("s3:GetObjectVersion", "arn:aws:s3:::b/k")],
    ),
    ("s3:PutObject", {"Bucket": "b", "Key": "k", "Body": b"x"}, [("", "arn:aws:s3:::b/k")]),
    (
        "s3:PutObject",
        {
            "Bucket": "b",
            "Key": "k",
            "Tagging": "lab=s3",
            "ACL": "private",
            "ObjectLockMode": "GOVERNANCE",
            "ObjectLockRetainUntilDate": "2030-01-01",
            "ObjectLockLegalHoldStatus": "ON",
        },
        [
            ("", "arn:aws:s3:::b/k"),
            ("s3:PutObjectTagging", "arn:aws:s3:::b/k"),
            ("s3:PutObjectAcl", "arn:aws:s3:::b/k"),
            ("s3:PutObjectRetention", "arn:aws:s3:::b/k"),
            ("s3:PutObjectLegalHold", "arn:aws:s3:::b/k"),
        ],
    ),
    (
        "s3:CopyObject",
        {"Bucket": "b", "Key": "k", "CopySource": "from/k", "GrantRead": "id=1"},
        [
            ("s3:GetObject", "arn:aws:s3:::from/k"),
            ("s3:PutObject", "arn:aws:s3:::b/k"),
            ("s3:PutObjectAcl", "arn:aws:s3:::b/k"),
        ],
    ),
    (
        "s3:CreateMultipartUpload",
        {"Bucket": "b", "Key": "k", "Tagging": "lab=s3"},
        [("s3:PutObject", "arn:aws:s3:::b/k"), ("s3:PutObjectTagging", "arn:aws:s3:::b/k")],
    ),
    (
        "s3:UploadPart",
        {"Bucket": "b", "Key": "k", "UploadId": "u", "PartNumber": 1, "Body": b"x"},
        [("s3:PutObject", "arn:aws:s3:::b/k")],
    ),
    ("s3:ListObjectsV2", {"Bucket": "b"}, [("s3:ListBucket", "arn:aws:s3:::b")]),
    (
        "s3:CreateBucket",
        {"Bucket": "b", "CreateBucketConfiguration": {"Tags": TAGS}},
        [("", "arn:aws:s3:::b"), ("s3:TagResource", "arn:aws:s3:::b")],
    ),
    (
        "s3:DeletePublicAccessBlock",
        {"Bucket": "b"},
        [("s3:PutBucketPublicAccessBlock", "arn:aws:s3:::b")],
    ),
    (
        "s3:CopyObject",
        {"Bucket": "b", "Key": "k", "CopySource": {"Bucket": "from", "Key": "a k", "VersionId": "3"}},
        [("s3:GetObjectVersion", "arn:aws:s3:::from/a k"), ("s3:PutObject", "arn:aws:s3:::b/k")],
    ),
    (
        "s3:DeleteObjects",
        {"Bucket": "b", "Delete": {"Objects": [{"Key": "a&b"}, {"Key": "c", "VersionId": "1"}]}},
        [],  # each object's deletion is looked at where it is done
    ),
    (
        "s3:DeleteObject",
        {"Bucket": "b", "Key": "k", "VersionId": "1", "BypassGovernanceRetention": True},
        [
            ("s3:DeleteObjectVersion", "arn:aws:s3:::b/k"),
            ("s3:BypassGovernanceRetention", "arn:aws:s3:::b/k"),
        ],
    ),
    # DynamoDB, SQS, Logs, SSM, others
    ("dynamodb:ListTables", {}, [("", arn("dynamodb", "table/*"))]),
    (
        "dynamodb:GetItem",
        {"TableName": arn("dynamodb", "table/t"), "Key": {}},
        [("", arn("dynamodb", "table/t"))],
    ),
    ("dynamodb:Query", {"TableName": "t", "IndexName": "new"}, [("", arn("dynamodb", "table/t/index/new"))]),
    (
        "dynamodb:BatchWriteItem",
        {"RequestItems": {each: [{"DeleteRequest": {"Key": {}}}] for each in "ab"}},
        [("", arn("dynamodb", "table/a")), ("", arn("dynamodb", "table/b"))],
    ),
    (
        "dynamodb:TransactWriteItems",
        {
            "TransactItems": [
                {"Put": {"TableName": "a", "Item": {}}},
                {"ConditionCheck": {"TableName": "b", "Key": {}, "ConditionExpression": "x"}},
            ]
        },
        [
            ("dynamodb:PutItem", arn("dynamodb", "table/a")),
            ("dynamodb:ConditionCheckItem", arn("dynamodb", "table/b")),
        ],
    ),
    ("sqs:ListQueues", {}, [("", arn("sqs", ""))]),
    (
        "sqs:CreateQueue",
        {"QueueName": "dead", "tags": {"a": "b"}},
        [("", arn("sqs", "dead")), ("sqs:TagQueue", arn("sqs", "dead"))],
    ),
    ("sqs:SendMessageBatch", {"QueueUrl": QUEUE, "Entries": []}, [("sqs:SendMessage", arn("sqs", "dead"))]),
    (
        "logs:PutLogEvents",
        {"logGroupName": "/a/f", "logStreamName": "s", "logEvents": [{"timestamp": 0, "message": "x"}]},
        [("", arn("logs", "log-group:/a/f:log-stream:s"))],
    ),
    ("logs:CreateLogGroup", {"logGroupName": "/a/f"}, [("", arn("logs", "log-group:/a/f:log-stream:"))]),
    ("logs:DescribeLogGroups", {}, [("", arn("logs", "log-group::log-stream:"))]),
    ("ssm:DescribeParameters", {}, [("", arn("ssm", "*"))]),
    ("ssm:GetParameter", {"Name": "/a/b"}, [("", arn("ssm", "parameter/a/b"))]),
    (
        "ssm:PutParameter",
        {"Name": "a", "Value": "v", "Type": "String", "Tags": TAGS},
        [("", arn("ssm", "parameter/a")), ("ssm:AddTagsToResource", arn("ssm", "parameter/a"))],
    ),
    ("sts:AssumeRole", {"RoleArn": ROLE, "RoleSessionName": "lab"}, [("", ROLE)]),
    (
        "service-quotas:GetServiceQuota",
        {"ServiceCode": "ec2", "QuotaCode": "L"},
        [("servicequotas:GetServiceQuota", "*")],
    ),
    ("resourcegroupstaggingapi:GetResources", {}, [("tag:GetResources", "*")]),
]


@pytest.mark.parametrize(("operation", "request_", "needed"), CALLS)
def test_a_call_needs(operation: str, request_: dict[str, Any], needed: list[tuple[str, str]]) -> None:
    service, _, name = operation.partition(":")
    asked = sent(service, xform_name(name), **request_)
    assert asked.call.name == operation
    found = [(need.action, need.resource) for need in needs.needs(asked)]
    assert found == [(action or operation, resource) for action, resource in needed]


def test_what_else_may_be_asked() -> None:
    tags = [{"key": "lab", "value": "qa"}, {"key": "Owner", "value": "me"}]
    asked = sent(
        "ecs", "register_task_definition", family="qa", containerDefinitions=[], taskRoleArn=ROLE, tags=tags
    )
    own, passed, tagged = needs.needs(asked)
    assert own.facts["aws:requesttag/lab"] == tagged.facts["aws:requesttag/lab"] == "qa"
    assert own.facts["aws:tagkeys"] == ["lab", "Owner"]
    assert own.facts["aws:requesttag/"] is None
    assert passed.facts == {"iam:passedtoservice": "ecs-tasks.amazonaws.com"}


def test_a_broken_request_needs_what_names_nothing() -> None:
    asked = sent("dynamodb", "get_item", TableName="t", Key={})
    broken = needs.Asked(asked.account, asked.region, asked.call, asked.request, b"no json")
    assert [need.resource for need in needs.needs(broken)] == [arn("dynamodb", "table/")]


def test_the_table_names_operations_that_are_there() -> None:
    for name in {**needs.TABLE, **dict.fromkeys(needs._SPECIAL), **needs._ACTIONS, **needs._PASSES}:
        service, _, operation = name.partition(":")
        assert operation in get_session().get_service_model(service).operation_names, name
        assert name in needs.TABLE or name in needs._SPECIAL


SERVICES = (
    "apigateway", "batch", "dynamodb", "ec2", "ecr", "ecs", "freetier", "iam", "lambda", "logs", "s3",
    "s3control", "scheduler", "service-quotas", "sqs", "ssm", "sts",
)  # fmt: skip


def test_the_table_covers_all_that_labs_and_ledger_call() -> None:
    """Each method of boto3 whose name stands in their code, of whichever service of theirs has it."""
    services: dict[str, list[str]] = {}
    for service in SERVICES:
        for operation in get_session().get_service_model(service).operation_names:
            services.setdefault(xform_name(operation), []).append(f"{service}:{operation}")
    names = set()
    for path in Path(awslabs.__file__).parent.rglob("*.py"):
        if "sandbox" not in path.parts:
            for node in ast.walk(ast.parse(path.read_text())):
                names.add(getattr(node, "attr", getattr(node, "value", None)))
    called = {name for name in services if name in names}
    assert {"create_vpc", "list_roles", "invoke", "describe_compute_environments"} <= called
    known = {
        operation
        for operations in services.values()
        for operation in operations
        if operation in needs.TABLE or operation in needs._SPECIAL or operation.startswith("apigateway:")
    } | {"sts:GetCallerIdentity"}
    assert {name for name in called if not set(services[name]) & known} - {"list_commands"} == set()
    assert {*KINDS, *ENSURES} <= known
