"""Roles count: what credentials of a role may do in the practice cloud.

A function, task or instance gets credentials of its role. Calls made with them are checked here, before
anything else looks at them, against the role's inline and attached policies:

    operation  --TABLE-->  IAM actions, each with the ARNs that the request touches
               --policies of the role, its boundary, the session's policy-->  allowed, or AccessDenied

The table is small on purpose: an operation that is not in it is refused to every role, with a sentence
that says so. Whoever comes with an ordinary key of the practice cloud is not checked.

How policies are read, and what becomes of conditions on keys that nobody here knows, says `core.policies`.
What is not looked at: policies of queues and repositories.
Source: IAM user guide, "Policy evaluation logic"; Service Authorization Reference, pages of each service.
"""

from __future__ import annotations

import dataclasses
import datetime
import functools
import html
import json
import re
import urllib.parse
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from moto.core.request import Request
from moto.core.utils import utcnow
from moto.iam.models import iam_backends
from moto.sts.models import AssumedRole, sts_backends

from awslabs.sandbox.core import policies, wire
from awslabs.sandbox.core.engine import lock
from awslabs.sandbox.services.iam.identities import find_role

SESSION_S = 12 * 3600  # how long credentials of a function or task are good
FRESH_S = 6 * 3600  # younger ones are given out again
REGION = "us-east-1"

_SCOPE = re.compile(r"Credential=[^/,\s]+/\d{8}/([^/]+)/")


def region_of(request: Request) -> str:
    """The Region that a request is signed for."""
    match = _SCOPE.search(request.headers.get("Authorization", ""))
    return match[1] if match else REGION


# --- sessions -----------------------------------------------------------------------------------------


def credentials(account: str, role_arn: str, session_name: str, region: str = REGION) -> AssumedRole:
    """Credentials of a role for something that runs: the same ones for hours, as AWS gives them.

    Parameters
    ----------
    role_arn : str
        Of a role that the service may assume: ask `identities.assumable` first.
    session_name : str
        The function's name, the task's id; shows in the caller's ARN.

    Returns
    -------
    AssumedRole
        moto's; it has ``access_key_id``, ``secret_access_key``, ``session_token`` and ``arn``.
    """
    with lock:
        backend = sts_backends[account]["aws"]
        old = utcnow() + datetime.timedelta(seconds=SESSION_S - FRESH_S)
        for session in backend.assumed_roles:
            same = (session.role_arn, session.session_name) == (role_arn, session_name)
            if same and session.expiration > old and not session.policy:
                return session
        return backend.assume_role(region, session_name, role_arn, "", SESSION_S, "")


def session_of(account: str, access_key: str) -> AssumedRole | None:
    """Whose credentials these are, or None: nobody's, or an ordinary key's."""
    if not access_key.startswith("ASIA") or account not in sts_backends:
        return None
    return sts_backends[account]["aws"].get_assumed_role_from_access_key(access_key)


# --- policies -----------------------------------------------------------------------------------------


def allows(
    account: str,
    role_arn: str,
    action: str,
    resource: str,
    region: str = REGION,
    facts: policies.Context | None = None,
) -> bool:
    """Whether a role's policies, within its boundary, let it do something.

    Parameters
    ----------
    action : str
        ``sqs:SendMessage``.
    resource : str
        The ARN of what it is done to; ``*`` for actions that know no resources.
    facts : mapping, optional
        Condition keys of the request; default: what is known of every call.
    """
    with lock:
        iam = iam_backends[account]["aws"]
        role = find_role(iam, role_arn)
        if role is None:
            return False
        own = [*role.policies.values(), *(_document(each) for each in role.managed_policies.values())]
        bounds = iam.managed_policies.get(role.permissions_boundary_arn)
        boundary = [_document(bounds)] if bounds is not None else []
    facts = facts or context_of(account, role_arn, region)
    if role.permissions_boundary_arn and not _allow(boundary, action, resource, facts):
        return False
    return _allow(own, action, resource, facts)


def context_of(account: str, role_arn: str, region: str) -> dict[str, Any]:
    """What is known of a call that is made with credentials of a role."""
    role = find_role(iam_backends[account]["aws"], role_arn)
    tags = {f"aws:principaltag/{tag['Key'].lower()}": tag["Value"] for tag in getattr(role, "tags", [])}
    known = policies.context(
        region,
        multifactorauthpresent="false",
        principalaccount=account,
        principalarn=role_arn,
        principaltype="AssumedRole",
        resourceaccount=account,
        username=None,
    )
    return {**known, **tags, "aws:principaltag/": None}


def _allow(documents: Iterable[str], action: str, resource: str, facts: policies.Context) -> bool:
    """Whether policies of one's own let one do something."""
    found = (statement for document in documents for statement in policies.statements(document))
    return policies.decide(found, action, resource, None, facts) == "Allow"


def _document(policy: Any) -> str:
    """The text of a managed policy's default version."""
    return next(v.document for v in policy.versions if v.version_id == policy.default_version_id)


# --- requests -----------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class RoleCall:
    """A request, as the table looks at it."""

    account: str
    region: str
    request: Request
    body: bytes

    @functools.cached_property
    def json(self) -> dict[str, Any]:
        """The body of a JSON request; empty when there is none."""
        try:
            found = json.loads(self.body or b"{}")
        except ValueError:
            return {}
        return found if isinstance(found, dict) else {}

    @property
    def parts(self) -> list[str]:
        """The path's parts, decoded."""
        return self.request.path.split("/")[1:]

    def arn(self, service: str, rest: str) -> str:
        return f"arn:aws:{service}:{self.region}:{self.account}:{rest}"


Needs = Iterator[tuple[str, str]]
Entry = Callable[[RoleCall, str], Needs]
TABLE: dict[str, Entry] = {}
"""``dynamodb:PutItem`` to what it needs: pairs of an IAM action and the ARN it is done to."""


def _entry(*operations: str) -> Callable[[Entry], Entry]:
    """Put a function into the table for these operations."""

    def put(function: Entry) -> Entry:
        TABLE.update(dict.fromkeys(operations, function))
        return function

    return put


def refusal(call: wire.Call, account: str, request: Request, body: bytes) -> tuple[str, str] | None:
    """Error code and message when the caller is a role that may not do this; None: go ahead.

    Parameters
    ----------
    call : wire.Call
        What is asked.
    account : str
        The account of the access key.
    request, body
        Where the resources are read from.
    """
    session = session_of(account, call.access_key)
    if session is None or call.name == "sts:GetCallerIdentity":
        return None
    if session.expiration < utcnow():
        code = "ExpiredTokenException" if call.protocol.endswith("json") else "ExpiredToken"
        return code, "The security token included in the request is expired"
    entry = TABLE.get(call.name)
    if entry is None:
        why = f"the practice cloud does not let roles call {call.name}: it is not in its table of actions"
        return _denied(call), f"User: {session.arn} is not authorized to perform: {call.name} because {why}"
    region = region_of(request)
    asked = RoleCall(account, region, request, body)
    facts = context_of(account, session.role_arn, region) | {
        "aws:referer": request.headers.get("Referer"),
        "aws:sourceip": request.remote_addr,
        "aws:useragent": request.headers.get("User-Agent"),
        "aws:userid": session.user_id,
    }
    for action, resource in entry(asked, call.operation):
        limited = session.policy and not _allow([session.policy], action, resource, facts)
        if limited or not allows(account, session.role_arn, action, resource, region, facts):
            kind = "session" if limited else "identity-based"
            return _denied(call), (
                f"User: {session.arn} is not authorized to perform: {action} on resource: {resource} "
                f"because no {kind} policy allows the {action} action"
            )
    return None


def _denied(call: wire.Call) -> str:
    """What a protocol calls it."""
    if call.protocol == "ec2":
        return "UnauthorizedOperation"
    return "AccessDeniedException" if call.protocol in ("json", "rest-json", "cbor") else "AccessDenied"


# DynamoDB: the table, or one of its indexes.


def _table_arn(asked: RoleCall, name: str) -> str:
    return name if name.startswith("arn:") else asked.arn("dynamodb", f"table/{name}")


@_entry(
    *(
        f"dynamodb:{operation}"
        for operation in (
            "DeleteItem", "DeleteTable", "DescribeContinuousBackups", "DescribeTable", "DescribeTimeToLive",
            "GetItem", "ListTagsOfResource", "PutItem", "TagResource", "UntagResource", "UpdateItem",
            "UpdateTable", "CreateTable",
        )
    )
)  # fmt: skip
def _dynamodb_table(asked: RoleCall, operation: str) -> Needs:
    name = asked.json.get("TableName") or asked.json.get("ResourceArn", "")
    yield f"dynamodb:{operation}", _table_arn(asked, name)


@_entry("dynamodb:Query", "dynamodb:Scan")
def _dynamodb_read(asked: RoleCall, operation: str) -> Needs:
    index = asked.json.get("IndexName")
    table = _table_arn(asked, asked.json.get("TableName", ""))
    yield f"dynamodb:{operation}", f"{table}/index/{index}" if index else table


@_entry("dynamodb:BatchGetItem", "dynamodb:BatchWriteItem")
def _dynamodb_batch(asked: RoleCall, operation: str) -> Needs:
    for name in asked.json.get("RequestItems") or {"": None}:
        yield f"dynamodb:{operation}", _table_arn(asked, name)


@_entry("dynamodb:TransactGetItems", "dynamodb:TransactWriteItems")
def _dynamodb_transaction(asked: RoleCall, operation: str) -> Needs:
    actions = {"Get": "GetItem", "Put": "PutItem", "Update": "UpdateItem", "Delete": "DeleteItem"}
    for item in asked.json.get("TransactItems", []):
        for kind, what in item.items():
            action = actions.get(kind, "ConditionCheckItem")
            yield f"dynamodb:{action}", _table_arn(asked, what.get("TableName", ""))


@_entry("dynamodb:DescribeLimits", "dynamodb:ListTables")
def _dynamodb_account(asked: RoleCall, operation: str) -> Needs:
    yield f"dynamodb:{operation}", asked.arn("dynamodb", "table/*") if operation == "ListTables" else "*"


# SQS: the queue, by its URL. A batch needs the action of its single call.


@_entry(
    *(
        f"sqs:{operation}"
        for operation in (
            "ChangeMessageVisibility", "ChangeMessageVisibilityBatch", "DeleteMessage", "DeleteMessageBatch",
            "GetQueueAttributes", "PurgeQueue", "ReceiveMessage", "SendMessage", "SendMessageBatch",
        )
    )
)  # fmt: skip
def _sqs_queue(asked: RoleCall, operation: str) -> Needs:
    name = asked.json.get("QueueUrl", "").rpartition("/")[2]
    yield f"sqs:{operation.removesuffix('Batch')}", asked.arn("sqs", name)


@_entry("sqs:GetQueueUrl")
def _sqs_name(asked: RoleCall, operation: str) -> Needs:
    yield f"sqs:{operation}", asked.arn("sqs", asked.json.get("QueueName", ""))


# CloudWatch Logs.


@_entry("logs:CreateLogGroup", "logs:DescribeLogStreams", "logs:FilterLogEvents", "logs:PutRetentionPolicy")
@_entry("logs:CreateLogStream", "logs:GetLogEvents", "logs:PutLogEvents")
def _logs(asked: RoleCall, operation: str) -> Needs:
    name = asked.json.get("logGroupName") or asked.json.get("logGroupIdentifier", "")
    yield f"logs:{operation}", log_arn(asked.account, asked.region, name, asked.json.get("logStreamName", ""))


@_entry("logs:DescribeLogGroups")
def _logs_account(asked: RoleCall, operation: str) -> Needs:
    yield f"logs:{operation}", asked.arn("logs", "log-group::log-stream:")


def log_arn(account: str, region: str, group: str, stream: str = "") -> str:
    """What IAM calls a log stream, or, without one, its group: policies name both ``log-group:NAME:*``."""
    return f"arn:aws:logs:{region}:{account}:log-group:{group}:log-stream:{stream}"


# S3: the object or the bucket, from a path-style URL.

_S3_OBJECT = {
    "AbortMultipartUpload": "AbortMultipartUpload",
    "CompleteMultipartUpload": "PutObject",
    "CreateMultipartUpload": "PutObject",
    "DeleteObject": "DeleteObject",
    "GetObject": "GetObject",
    "GetObjectAttributes": "GetObjectAttributes",
    "GetObjectTagging": "GetObjectTagging",
    "HeadObject": "GetObject",
    "ListParts": "ListMultipartUploadParts",
    "PutObject": "PutObject",
    "PutObjectTagging": "PutObjectTagging",
    "UploadPart": "PutObject",
}
_S3_BUCKET = {
    "GetBucketLocation": "GetBucketLocation",
    "HeadBucket": "ListBucket",
    "ListMultipartUploads": "ListBucketMultipartUploads",
    "ListObjectVersions": "ListBucketVersions",
    "ListObjects": "ListBucket",
    "ListObjectsV2": "ListBucket",
}


@_entry(*(f"s3:{operation}" for operation in _S3_OBJECT))
def _s3_object(asked: RoleCall, operation: str) -> Needs:
    bucket, *key = asked.parts
    version = "versionId" in asked.request.args and operation in ("GetObject", "HeadObject", "DeleteObject")
    action = _S3_OBJECT[operation] + ("Version" if version else "")
    yield f"s3:{action}", f"arn:aws:s3:::{bucket}/{'/'.join(key)}"


@_entry("s3:CopyObject", "s3:UploadPartCopy")
def _s3_copy(asked: RoleCall, operation: str) -> Needs:
    source = urllib.parse.unquote(asked.request.headers.get("x-amz-copy-source", "")).partition("?")[0]
    yield "s3:GetObject", f"arn:aws:s3:::{source.lstrip('/')}"
    yield from _s3_object(asked, "PutObject")


@_entry(*(f"s3:{operation}" for operation in _S3_BUCKET))
def _s3_bucket(asked: RoleCall, operation: str) -> Needs:
    yield f"s3:{_S3_BUCKET[operation]}", f"arn:aws:s3:::{asked.parts[0]}"


@_entry("s3:DeleteObjects")
def _s3_delete(asked: RoleCall, operation: str) -> Needs:
    for key in re.findall(rb"<Key>([^<]*)</Key>", asked.body):
        name = html.unescape(key.decode("utf-8", "replace"))
        yield "s3:DeleteObject", f"arn:aws:s3:::{asked.parts[0]}/{name}"


@_entry("s3:ListBuckets")
def _s3_account(asked: RoleCall, operation: str) -> Needs:
    yield "s3:ListAllMyBuckets", "*"


# AWS Batch: SubmitJob needs the queue and the definition.


def _batch_arn(asked: RoleCall, kind: str, name: str) -> str:
    return name if name.startswith("arn:") else asked.arn("batch", f"{kind}/{name}")


@_entry("batch:SubmitJob")
def _batch_submit(asked: RoleCall, operation: str) -> Needs:
    yield f"batch:{operation}", _batch_arn(asked, "job-queue", asked.json.get("jobQueue", ""))
    yield f"batch:{operation}", _batch_arn(asked, "job-definition", asked.json.get("jobDefinition", ""))


@_entry("batch:CancelJob", "batch:TerminateJob")
def _batch_job(asked: RoleCall, operation: str) -> Needs:
    yield f"batch:{operation}", _batch_arn(asked, "job", asked.json.get("jobId", ""))


@_entry("batch:DescribeComputeEnvironments", "batch:DescribeJobDefinitions", "batch:DescribeJobQueues")
@_entry("batch:DescribeJobs", "batch:ListJobs")
def _batch_account(asked: RoleCall, operation: str) -> Needs:
    yield f"batch:{operation}", "*"


# ECR: a repository. What goes through the registry is checked there, `services.ecr.registry`.


@_entry(
    *(
        f"ecr:{operation}"
        for operation in (
            "BatchCheckLayerAvailability", "BatchDeleteImage", "BatchGetImage", "CompleteLayerUpload",
            "CreateRepository", "DeleteRepository", "DescribeImages", "DescribeRepositories",
            "InitiateLayerUpload", "ListImages", "PutImage", "UploadLayerPart",
        )
    )
)  # fmt: skip
def _ecr_repository(asked: RoleCall, operation: str) -> Needs:
    names = asked.json.get("repositoryNames") or [asked.json.get("repositoryName") or "*"]
    for name in names:
        yield f"ecr:{operation}", asked.arn("ecr", f"repository/{name}")


@_entry("ecr:GetAuthorizationToken")
def _ecr_token(asked: RoleCall, operation: str) -> Needs:
    yield f"ecr:{operation}", "*"


# ECS: tasks, by definition or cluster. That who runs a task needs iam:PassRole, too, is not looked at.


@_entry("ecs:DescribeTasks", "ecs:StopTask")
def _ecs_task(asked: RoleCall, operation: str) -> Needs:
    cluster = asked.json.get("cluster", "default").rpartition("/")[2]
    for task in asked.json.get("tasks") or [asked.json.get("task", "")]:
        yield f"ecs:{operation}", asked.arn("ecs", f"task/{cluster}/{task.rpartition('/')[2]}")


@_entry("ecs:DescribeTaskDefinition", "ecs:ListClusters")
def _ecs_account(asked: RoleCall, operation: str) -> Needs:
    yield f"ecs:{operation}", "*"


@_entry("ecs:DescribeClusters", "ecs:ListTasks")
def _ecs_cluster(asked: RoleCall, operation: str) -> Needs:
    if operation == "ListTasks":  # knows container instances only
        yield f"ecs:{operation}", "*"
        return
    for cluster in asked.json.get("clusters") or ["default"]:
        yield f"ecs:{operation}", asked.arn("ecs", f"cluster/{cluster.rpartition('/')[2]}")


@_entry("ecs:RunTask")
def _ecs_run(asked: RoleCall, operation: str) -> Needs:
    name = asked.json.get("taskDefinition", "").rpartition("/")[2]
    yield f"ecs:{operation}", asked.arn("ecs", f"task-definition/{name if ':' in name else f'{name}:*'}")


# Others.


@_entry("lambda:GetFunction", "lambda:GetFunctionConfiguration", "lambda:Invoke", "lambda:InvokeAsync")
def _lambda(asked: RoleCall, operation: str) -> Needs:
    name = asked.parts[2] if len(asked.parts) > 2 else ""
    arn = name if name.startswith("arn:") else asked.arn("lambda", f"function:{name}")
    action = "InvokeFunction" if operation == "Invoke" else operation
    yield f"lambda:{action}", arn


@_entry("ssm:GetParameter", "ssm:GetParameters")
def _ssm(asked: RoleCall, operation: str) -> Needs:
    for name in asked.json.get("Names") or [asked.json.get("Name", "")]:
        yield f"ssm:{operation}", asked.arn("ssm", f"parameter/{name.lstrip('/')}")


@_entry("sts:AssumeRole")
def _sts(asked: RoleCall, operation: str) -> Needs:
    form = urllib.parse.parse_qs(asked.body.decode("utf-8", "replace"))
    yield f"sts:{operation}", form.get("RoleArn", [""])[0]
