"""Raw answers of the practice cloud fit botocore's models.

Here the labs are built and taken down. What a lab's work meets, where programs run, is looked at there: by
the fixture `answers_fit` (conftest.py).
"""

from __future__ import annotations

import functools

import inprocess
import pytest
import shapes
from botocore.model import OperationModel
from botocore.session import get_session
from practice import everything_ours
from test_chapters import build, changes  # noqa: F401  (a fixture)

from awslabs.labs import LABS
from awslabs.ledger import Ledger


@pytest.mark.parametrize("chapter", LABS)
def test_each_answer_to_a_lab_fits_its_model(chapter: str, changes: object) -> None:  # noqa: F811
    with shapes.watched() as seen:
        build(chapter)
        ledger = Ledger(inprocess.open_cloud("111122223333", "ada"), chapter)
        build(chapter)
        ledger.down()
        assert everything_ours(ledger.cloud) == []
    assert len(seen) > 50
    assert shapes.problems(seen) == []


@functools.cache  # each session reads the service's whole model anew
def operation(name: str) -> OperationModel:
    service, _, action = name.partition(":")
    return get_session().get_service_model(service).operation_model(action)


def answer(name: str, body: str, status: int = 200, **headers: str) -> list[str]:
    """What is found wrong with an answer, without the operation's name."""
    made = shapes.Answered(operation(name), status, headers, body.encode())
    return [problem.removeprefix(f"{name}: ") for problem in shapes.problems([made])]


VPC = "<CreateVpcResponse><requestId>1</requestId><vpc>%s</vpc></CreateVpcResponse>"
ROLE = "<GetRoleResponse><GetRoleResult><Role>%s</Role></GetRoleResult><ResponseMetadata/></GetRoleResponse>"
WHOLE_ROLE = "<Path>/</Path><RoleName>r</RoleName><RoleId>R</RoleId><Arn>a</Arn>"
OBJECTS = "<ListBucketResult>%s</ListBucketResult>"
STOPPED = '{"tasks": []}'


@pytest.mark.parametrize(
    ("name", "right", "wrong", "problem"),
    [
        (
            "ec2:CreateVpc",
            VPC % "<vpcId>v</vpcId>",
            VPC % "<vpcID>v</vpcID>",
            ".Vpc.vpcID: the model has no such",
        ),
        (
            "ec2:CreateVpc",
            VPC % "<state>pending</state>",
            VPC % "<state>new</state>",
            ".Vpc.State: 'new' is none of",
        ),
        (
            "ec2:CreateVpc",
            VPC % "<isDefault>true</isDefault>",
            VPC % "<isDefault>True</isDefault>",
            "no boolean",
        ),
        (
            "ec2:CreateVpc",
            VPC % "<tagSet><item/></tagSet>",
            VPC % "<tagSet><member/></tagSet>",
            "one of item",
        ),
        (
            "ec2:CreateVpc",
            VPC % "<vpcId>v</vpcId>",
            VPC % "<vpcId>v</vpcId><vpcId>v</vpcId>",
            ".vpcId: twice",
        ),
        ("ec2:CreateVpc", VPC % "", VPC % "text", "is no structure"),
        ("ec2:CreateVpc", VPC % "", "<CreateVpcResponse>", "no XML"),
        (
            "iam:GetRole",
            ROLE % WHOLE_ROLE,
            ROLE % "<Pfad>/</Pfad>",
            ".Role.Pfad: the model has no such member",
        ),
        ("iam:GetRole", ROLE % "", "<GetRoleResponse/>", "GetRoleResult: it is missing"),
        (
            "iam:GetRole",
            ROLE % "<CreateDate>2026-01-01T00:00:00Z</CreateDate>",
            ROLE % "<CreateDate>2026-01-01</CreateDate>",
            "is no timestamp",
        ),
        (
            "s3:ListObjectsV2",
            OBJECTS % "<KeyCount>1</KeyCount>",
            OBJECTS % "<KeyCount>one</KeyCount>",
            "no integer",
        ),
        (
            "s3:ListObjectsV2",
            OBJECTS % "<Contents><Key>k</Key></Contents>",
            OBJECTS % "<Content/>",
            ".Content: ",
        ),
        ("ecs:StopTask", '{"task": {"taskArn": "a"}}', STOPPED, ".tasks: the model has no such member"),
        ("ecs:StopTask", '{"task": {"createdAt": 1.5}}', '{"task": {"createdAt": "now"}}', "is no timestamp"),
        ("ecs:StopTask", '{"task": {"containers": []}}', '{"task": {"containers": {}}}', "is no list"),
        (
            "dynamodb:GetItem",
            '{"Item": {"a": {"N": "1"}}}',
            '{"Item": {"a": {"N": 1}}}',
            ".Item{}.N: 1 is no string",
        ),
        ("dynamodb:GetItem", '{"Item": {"a": {"B": "YQ=="}}}', '{"Item": {"a": {"B": "?"}}}', "is no blob"),
        (
            "lambda:GetFunction",
            '{"Configuration": {"Timeout": 3}}',
            '{"Configuration": {"Timeout": "3"}}',
            "integer",
        ),
        ("batch:SubmitJob", '{"jobName": "j", "jobId": "i"}', '{"jobName": "j"}', ".jobId: it is required"),
        ("batch:DescribeJobs", '{"jobs": []}', "jobs", "no JSON"),
    ],
)
def test_a_wrong_member_is_found(name: str, right: str, wrong: str, problem: str) -> None:
    assert answer(name, right) == []
    (found,) = answer(name, wrong)
    assert problem in found


@pytest.mark.parametrize(
    ("name", "status", "right", "wrong", "problem"),
    [
        (
            "iam:GetRole",
            404,
            "<ErrorResponse><Error><Code>NoSuchEntity</Code><Message>m</Message></Error></ErrorResponse>",
            "<ErrorResponse><Error><Code>NoSuchEntity</Code><message>m</message></Error></ErrorResponse>",
            "NoSuchEntity.message: no error has such a member",
        ),
        (
            "ec2:CreateVpc",
            400,
            "<Response><Errors><Error><Code>A</Code><Message>m</Message></Error></Errors></Response>",
            "<ErrorResponse><Error><Code>A</Code><Message>m</Message></Error></ErrorResponse>",
            "an error in the form",
        ),
        ("s3:ListObjectsV2", 404, "<Error><Code>A</Code><Message>m</Message></Error>", "gone", "is no XML"),
        (
            "ecs:StopTask",
            400,
            '{"__type": "ClientException", "message": "m"}',
            '{"__type": "ClientException", "message": "m", "why": "?"}',
            "ClientException.why: the model has no such member",
        ),
        (
            "lambda:GetFunction",
            404,
            '{"__type": "ResourceNotFoundException", "Message": "m"}',
            '{"__type": "ResourceConflictException", "Message": "m"}',
            "HTTP 404, in the model 409",
        ),
        (
            "ecs:StopTask",
            400,
            '{"__type": "A", "message": "m"}',
            '{"message": "m"}',
            "an error without a code",
        ),
    ],
)
def test_a_wrong_refusal_is_found(name: str, status: int, right: str, wrong: str, problem: str) -> None:
    assert answer(name, right, status) == []
    assert any(problem in found for found in answer(name, wrong, status))
