"""What a call needs: for each operation of AWS that is known here, which IAM actions on which resources.

    ecs:RunTask  --TABLE-->  ecs:RunTask on arn:aws:ecs:...:task-definition/qa
                             iam:PassRole on the task's roles        (PASSES)
                             ecs:TagResource, where it brings tags   (TAGS)

A row names an operation's resources as they stand in its request: ``table/{TableName}`` is an ARN of the
service, one for each table that is named; a value that is an ARN stands for itself; ``{cluster|default}`` has
a default, ``*`` is an action that knows no resources. What cannot be said so is a function below the table.
An operation that is in no row is refused to whoever is judged by policies.

Source: Service Authorization Reference, pages of each service ("API operations", "Actions", "Resource
types"); of operations that list, AWS's own refusals as quoted in public issues.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import io
import itertools
import re
import urllib.parse
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from moto.awslambda.utils import get_backend as lambda_backend
from moto.backends import get_backend
from moto.core.parse import PROTOCOL_PARSERS
from moto.core.request import Request, determine_request_protocol
from moto.core.routing import get_service_router
from moto.core.utils import get_service_model
from moto.ecs.models import ecs_backends
from moto.iam.models import iam_backends

from awslabs.sandbox.core import wire
from awslabs.sandbox.core.engine import lock
from awslabs.sandbox.core.policies import Context, as_list
from awslabs.sandbox.services.iam.identities import find_instance_profile, find_role


class Need(NamedTuple):
    """An IAM action, the ARN it is done to, and what else a policy may ask about that."""

    action: str
    resource: str
    facts: Context = {}


@dataclasses.dataclass(frozen=True)
class Asked:
    """A request, as the table looks at it."""

    account: str
    region: str
    call: wire.Call
    request: Request
    body: bytes

    @functools.cached_property
    def fields(self) -> dict[str, Any]:
        """Its parameters by AWS's names; where they cannot be read, those of its address alone."""
        request = Request({**self.request.environ, "wsgi.input": io.BytesIO(self.body)})
        placed: dict[str, Any] = {}
        try:
            placed = dict(get_service_router(self.call.service).match(request)[1])
            model = get_service_model(self.call.service)
            protocol = determine_request_protocol(model, request.content_type)
            return PROTOCOL_PARSERS[protocol](model.operation_model(self.call.operation)).parse(
                {
                    "method": request.method,
                    "values": request.values,
                    "headers": request.headers,
                    "body": self.body,
                    "url_path": request.path,
                    "url_params": placed,
                }
            )
        except Exception:  # of moto's or werkzeug's: the operation itself will say what is wrong
            return placed

    def values(self, path: str) -> list[str]:
        """The values of a parameter: ``A.B`` looks into structures, and into each element of lists."""
        found: list[Any] = [self.fields]
        for name in path.split("."):
            found = [v for each in found if isinstance(each, dict) for v in as_list(each.get(name))]
        return [str(each) for each in found if not isinstance(each, dict)]

    def arn(self, service: str, rest: str) -> str:
        """The ARN of something of the caller's."""
        region = "" if service == "iam" else self.region
        account = "" if rest.startswith("image/ami-") else self.account
        return f"arn:aws:{service}:{region}:{account}:{rest}"


# --- the table ----------------------------------------------------------------------------------------

_ROWS = """
batch:
    CreateComputeEnvironment -> compute-environment/{computeEnvironmentName}
    DeleteComputeEnvironment UpdateComputeEnvironment -> compute-environment/{computeEnvironment}
    CreateJobQueue DeleteJobQueue UpdateJobQueue -> job-queue/{jobQueue,jobQueueName}
        compute-environment/{computeEnvironmentOrder.computeEnvironment?}
    RegisterJobDefinition -> job-definition/{jobDefinitionName}
    DeregisterJobDefinition -> job-definition/{jobDefinition}
    SubmitJob -> job-queue/{jobQueue} job-definition/{jobDefinition}
    CancelJob TerminateJob -> job/{jobId}
    ListTagsForResource TagResource UntagResource -> {resourceArn}
    DescribeComputeEnvironments DescribeJobDefinitions DescribeJobQueues DescribeJobs ListJobs -> *
dynamodb:
    CreateTable DeleteItem DeleteTable DescribeContinuousBackups DescribeTable DescribeTimeToLive
        GetItem PutItem UpdateItem UpdateTable -> table/{TableName}
    ListTagsOfResource TagResource UntagResource -> {ResourceArn}
    ListTables -> table/*
    DescribeLimits -> *
ec2:
    AttachInternetGateway DetachInternetGateway -> internet-gateway/{InternetGatewayId} vpc/{VpcId}
    AuthorizeSecurityGroupIngress DeleteSecurityGroup RevokeSecurityGroupIngress ->
        security-group/{GroupId|*}
    CreateInternetGateway DeleteInternetGateway -> internet-gateway/{InternetGatewayId|*}
    CreateRoute ReplaceRoute -> route-table/{RouteTableId}
    CreateSecurityGroup -> security-group/* vpc/{VpcId|*}
    CreateSubnet -> subnet/* vpc/{VpcId}
    DeleteSubnet ModifySubnetAttribute -> subnet/{SubnetId}
    CreateVpc DeleteVpc -> vpc/{VpcId|*}
    DeleteKeyPair ImportKeyPair -> key-pair/{KeyName|*}
    GetConsoleOutput RebootInstances StartInstances StopInstances TerminateInstances ->
        instance/{InstanceId,InstanceIds}
    RunInstances -> image/{ImageId|*} instance/* network-interface/* volume/* key-pair/{KeyName?}
        security-group/{SecurityGroupIds,NetworkInterfaces.Groups|*}
        subnet/{SubnetId,NetworkInterfaces.SubnetId|*}
    DescribeAvailabilityZones DescribeImages DescribeInstanceCreditSpecifications
        DescribeInstanceTypeOfferings DescribeInstanceTypes DescribeInstances DescribeInternetGateways
        DescribeKeyPairs DescribeNetworkAcls DescribeRegions DescribeRouteTables
        DescribeSecurityGroups DescribeSubnets DescribeVolumes DescribeVpcEndpoints DescribeVpcs -> *
ecr:
    BatchCheckLayerAvailability BatchDeleteImage BatchGetImage CompleteLayerUpload CreateRepository
        DeleteRepository DescribeImages DescribeRepositories InitiateLayerUpload ListImages PutImage
        UploadLayerPart -> repository/{repositoryName,repositoryNames|*}
    ListTagsForResource TagResource UntagResource -> {resourceArn}
    GetAuthorizationToken -> *
ecs:
    CreateCluster DeleteCluster DescribeClusters -> cluster/{clusterName,cluster,clusters|default}
    DescribeContainerInstances -> container-instance/{containerInstances}
    ListContainerInstances -> cluster/{cluster|default}
    DeleteTaskDefinitions -> task-definition/{taskDefinitions}
    RunTask -> task-definition/{taskDefinition}
    ListTagsForResource TagResource UntagResource -> {resourceArn}
    RegisterTaskDefinition -> task-definition/{family}:*
    DeregisterTaskDefinition DescribeTaskDefinition ListClusters ListTaskDefinitionFamilies
        ListTaskDefinitions ListTasks -> *
freetier:
    GetAccountPlanState -> *
iam:
    AttachRolePolicy CreateRole DeleteRole DeleteRolePolicy DetachRolePolicy GetRole GetRolePolicy
        ListAttachedRolePolicies ListRolePolicies PutRolePolicy UpdateAssumeRolePolicy -> {RoleName}
    AddRoleToInstanceProfile CreateInstanceProfile DeleteInstanceProfile GetInstanceProfile
        RemoveRoleFromInstanceProfile -> {InstanceProfileName}
    GetAccountAuthorizationDetails -> *
    CreateServiceLinkedRole -> role/aws-service-role/{AWSServiceName}/*
    ListInstanceProfiles -> instance-profile{PathPrefix|/}
    ListRoles -> role{PathPrefix|/}
lambda:
    AddPermission CreateFunction CreateFunctionUrlConfig DeleteFunction DeleteFunctionUrlConfig GetFunction
        GetFunctionConfiguration GetFunctionUrlConfig GetPolicy Invoke InvokeAsync ListFunctionUrlConfigs
        ListVersionsByFunction PutFunctionConcurrency RemovePermission UpdateFunctionCode
        UpdateFunctionConfiguration UpdateFunctionUrlConfig -> function:{FunctionName}
    DeleteEventSourceMapping GetEventSourceMapping UpdateEventSourceMapping -> event-source-mapping:{UUID}
    ListTags TagResource UntagResource -> {Resource}
    CreateEventSourceMapping GetAccountSettings ListEventSourceMappings ListFunctions -> *
logs:
    CreateLogGroup CreateLogStream DeleteLogGroup DescribeLogStreams FilterLogEvents GetLogEvents
        PutLogEvents PutRetentionPolicy ->
        log-group:{logGroupName,logGroupIdentifier}:log-stream:{logStreamName|}
    DescribeLogGroups -> log-group::log-stream:
    ListTagsForResource TagResource UntagResource -> {resourceArn}
resourcegroupstaggingapi:
    GetResources -> *
s3:
    AbortMultipartUpload CompleteMultipartUpload CreateMultipartUpload GetObjectAttributes
        GetObjectTagging ListParts PutObject PutObjectTagging UploadPart -> arn:aws:s3:::{Bucket}/{Key}
    CreateBucket DeleteBucket DeletePublicAccessBlock GetBucketEncryption GetBucketLocation
        GetBucketPolicy GetBucketTagging GetBucketWebsite GetPublicAccessBlock HeadBucket
        ListMultipartUploads ListObjectVersions ListObjects ListObjectsV2 PutBucketAcl PutBucketPolicy
        PutBucketWebsite PutPublicAccessBlock -> arn:aws:s3:::{Bucket}
    ListBuckets -> *
s3control:
    GetPublicAccessBlock -> *
scheduler:
    CreateSchedule DeleteSchedule GetSchedule UpdateSchedule -> schedule/{GroupName|default}/{Name}
    ListSchedules -> schedule/*/*
    CreateScheduleGroup DeleteScheduleGroup GetScheduleGroup -> schedule-group/{Name}
    ListScheduleGroups -> schedule-group/*
    ListTagsForResource TagResource UntagResource -> {ResourceArn}
service-quotas:
    GetServiceQuota -> *
sqs:
    ChangeMessageVisibility ChangeMessageVisibilityBatch CreateQueue DeleteMessage DeleteMessageBatch
        DeleteQueue GetQueueAttributes GetQueueUrl ListQueueTags PurgeQueue ReceiveMessage SendMessage
        SendMessageBatch SetQueueAttributes -> {QueueUrl,QueueName}
    ListQueues -> {QueueUrl|}
ssm:
    DeleteParameter GetParameter GetParameters PutParameter -> parameter/{Name,Names}
    ListTagsForResource -> parameter/{ResourceId}
sts:
    AssumeRole -> {RoleArn}
"""

# Operations whose IAM action has another name.
_ACTIONS = {
    "lambda:Invoke": "lambda:InvokeFunction",
    "resourcegroupstaggingapi:GetResources": "tag:GetResources",
    "s3:CompleteMultipartUpload": "s3:PutObject",
    "s3:CreateMultipartUpload": "s3:PutObject",
    "s3:DeletePublicAccessBlock": "s3:PutBucketPublicAccessBlock",
    "s3:GetBucketEncryption": "s3:GetEncryptionConfiguration",
    "s3:GetPublicAccessBlock": "s3:GetBucketPublicAccessBlock",
    "s3:HeadBucket": "s3:ListBucket",
    "s3:HeadObject": "s3:GetObject",
    "s3:ListBuckets": "s3:ListAllMyBuckets",
    "s3:ListMultipartUploads": "s3:ListBucketMultipartUploads",
    "s3:ListObjectVersions": "s3:ListBucketVersions",
    "s3:ListObjects": "s3:ListBucket",
    "s3:ListObjectsV2": "s3:ListBucket",
    "s3:ListParts": "s3:ListMultipartUploadParts",
    "s3:PutPublicAccessBlock": "s3:PutBucketPublicAccessBlock",
    "s3:UploadPart": "s3:PutObject",
    "s3control:GetPublicAccessBlock": "s3:GetAccountPublicAccessBlock",
    "service-quotas:GetServiceQuota": "servicequotas:GetServiceQuota",
    "sqs:ChangeMessageVisibilityBatch": "sqs:ChangeMessageVisibility",
    "sqs:DeleteMessageBatch": "sqs:DeleteMessage",
    "sqs:SendMessageBatch": "sqs:SendMessage",
}

# Which parameters hand a role (or a profile with one) to which service: that needs iam:PassRole.
_TASKS = "ecs-tasks.amazonaws.com"
_PASSES = {
    "batch:CreateComputeEnvironment": {
        "serviceRole": "batch.amazonaws.com",
        "computeResources.instanceRole": "ec2.amazonaws.com",
        "computeResources.spotIamFleetRole": "spotfleet.amazonaws.com",
    },
    "batch:UpdateComputeEnvironment": {"serviceRole": "batch.amazonaws.com"},
    "batch:RegisterJobDefinition": {
        "containerProperties.jobRoleArn": _TASKS,
        "containerProperties.executionRoleArn": _TASKS,
    },
    "ec2:RunInstances": {
        "IamInstanceProfile.Name": "ec2.amazonaws.com",
        "IamInstanceProfile.Arn": "ec2.amazonaws.com",
    },
    "ecs:RegisterTaskDefinition": {"taskRoleArn": _TASKS, "executionRoleArn": _TASKS},
    "ecs:RunTask": {"overrides.taskRoleArn": _TASKS, "overrides.executionRoleArn": _TASKS},
    "iam:AddRoleToInstanceProfile": {"RoleName": "ec2.amazonaws.com"},
    "lambda:CreateFunction": {"Role": "lambda.amazonaws.com"},
    "lambda:UpdateFunctionConfiguration": {"Role": "lambda.amazonaws.com"},
    "scheduler:CreateSchedule": {"Target.RoleArn": "scheduler.amazonaws.com"},
    "scheduler:UpdateSchedule": {"Target.RoleArn": "scheduler.amazonaws.com"},
}


def _boundary(asked: Asked, arn: str) -> str | None:
    """What bounds a role: as the call wants it, or as it is."""
    if asked.call.name == "iam:CreateRole":
        return asked.fields.get("PermissionsBoundary")
    role = find_role(iam_backends[asked.account]["aws"], arn)
    return role.permissions_boundary_arn if role else None


def _instance_type(asked: Asked, arn: str) -> str | None:
    """Of the instance alone: AWS knows it of nothing else that a launch is about."""
    return asked.fields.get("InstanceType", "m1.small") if ":instance/" in arn else None


def _of_container(name: str) -> Callable[[Asked, str], str | None]:
    """A parameter of the one container of a job."""

    def tell(asked: Asked, arn: str) -> str | None:
        value = (asked.fields.get("containerProperties") or {}).get(name)
        return str(value).lower() if isinstance(value, bool) else value

    return tell


# What a policy may ask about some calls besides their tags; services add theirs.
# Source: Service Authorization Reference.
TOLD: dict[str, dict[str, Callable[[Asked, str], str | None]]] = {
    "batch:RegisterJobDefinition": {
        "batch:image": _of_container("image"),
        "batch:privileged": _of_container("privileged"),
        "batch:user": _of_container("user"),
    },
    "ec2:RunInstances": {"ec2:instancetype": _instance_type},
    **{
        f"iam:{operation}": {"iam:permissionsboundary": _boundary}
        for operation in (
            "AttachRolePolicy",
            "CreateRole",
            "DeleteRolePolicy",
            "DetachRolePolicy",
            "PutRolePolicy",
        )
    },
}

# What tags that come with a creation need, where it is not ``SERVICE:TagResource``.
_TAGGING = {
    "iam:CreateInstanceProfile": "iam:TagInstanceProfile",
    "iam:CreateRole": "iam:TagRole",
    "sqs:CreateQueue": "sqs:TagQueue",
    "ssm:PutParameter": "ssm:AddTagsToResource",
}
_TAGGED = {
    "batch:SubmitJob": "job/*",
    "ecs:RegisterTaskDefinition": "task-definition/{family}:*",
    "ecs:RunTask": "task/{cluster|default}/*",
    "lambda:CreateEventSourceMapping": "event-source-mapping:*",
}


def _read(rows: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for service, block in re.findall(r"^([\w-]+):\n(.*?)(?=^[\w-]+:$|\Z)", rows, re.MULTILINE | re.DOTALL):
        for operations, resources in re.findall(r"([\w\s]+?)\s->\s(.+?)(?=\n    \w|\Z)", block, re.DOTALL):
            found |= dict.fromkeys((f"{service}:{each}" for each in operations.split()), resources)
    return found


TABLE = _read(_ROWS)
"""``dynamodb:PutItem`` to its resources."""


# --- from the table to needs --------------------------------------------------------------------------


def known(call: wire.Call) -> bool:
    """Whether anybody here can say what a call needs."""
    return call.name in TABLE or call.name in _SPECIAL or (call.service == "apigateway" and call.known)


def needs(asked: Asked) -> Iterator[Need]:
    """What a known call needs: all of it, or it is refused."""
    tags = _tags(asked)
    name, service = asked.call.name, asked.call.service
    facts: Context = {} if service in _SWITCHED else _brought(tags)
    if service == "apigateway":
        path = f"arn:aws:apigateway:{asked.region}::{asked.request.path}"
        yield Need(f"apigateway:{asked.request.method}", path, {**facts, **tags_of(asked, path)})
        if name == "apigateway:CreateRestApi" and tags:
            # AWS names no id yet. Source: its refusal as quoted in mattclay/aws-terminator, pull request 284.
            new = urllib.parse.quote(f"arn:aws:apigateway:{asked.region}::/restapis/", safe="")
            yield Need("apigateway:PUT", f"arn:aws:apigateway:{asked.region}::/tags/{new}*", facts)
        return
    if name in _SPECIAL:
        own = list(_SPECIAL[name](asked))
    else:
        own = [Need(_ACTIONS.get(name, name), each) for each in _resources(asked, TABLE[name])]
    if name in _WRITES:
        own += [Need(f"s3:{action}", own[-1].resource) for action in _with_it(asked.request)]
    for action, resource, more in own:
        told = {key: tell(asked, resource) for key, tell in TOLD.get(name, {}).items()}
        brought = facts if _takes_tags(asked, resource) else _brought({})
        yield Need(action, resource, {**brought, **tags_of(asked, resource), **told, **more})
    yield from _passes(asked)
    if service == "ec2":
        for kind in asked.values("TagSpecifications.ResourceType"):
            more = {**facts, "ec2:createaction": asked.call.operation}
            yield Need("ec2:CreateTags", asked.arn("ec2", f"{kind}/*"), more)
    elif tags and "Tag" not in asked.call.operation:
        where = _resources(asked, _TAGGED[name]) if name in _TAGGED else [own[0].resource]
        tagging_it = _TAGGING.get(name, f"{service}:TagResource")
        yield from (Need(tagging_it, each, {**facts, **tags_of(asked, each)}) for each in where)


def _brought(tags: dict[str, str]) -> Context:
    """What a policy may ask about the tags that a request brings."""
    told = {f"aws:requesttag/{key.lower()}": value for key, value in tags.items()}
    return {**told, "aws:requesttag/": None, "aws:tagkeys": list(tags) or None}


def _takes_tags(asked: Asked, arn: str) -> bool:
    """Whether the tags of a request are for this one of all that it is about.

    In EC2 they are for kinds of things, in a job's submission for the job: a policy that asks for tags of a
    launch must not ask for them where the subnet is meant.

    Source: Service Authorization Reference, which condition keys each resource type of an action has.
    """
    if asked.call.service == "ec2" and asked.call.operation != "CreateTags":
        return arn.rpartition(":")[2].partition("/")[0] in asked.values("TagSpecifications.ResourceType")
    return asked.call.name != "batch:SubmitJob"


_SWITCHED = ("dynamodb", "s3")
"""Where tags count in policies only once somebody has switched that on, for an account or a bucket.

Source: DynamoDB developer guide, "Enabling ABAC"; S3 user guide, "Enabling ABAC in general purpose buckets".
"""

TAGGED: dict[str, Callable[[str, str, str], dict[str, str] | None]] = {}
"""Service to (account, Region, the end of an ARN) -> the tags of what is there; None: nobody here knows."""


def tags_of(asked: Asked, arn: str) -> Context:
    """What a policy may ask about the tags of what a call is about: ``aws:ResourceTag/...``."""
    return resource_tags(asked.account, asked.region, arn)


def resource_tags(account: str, region: str, arn: str) -> Context:
    """The same of one thing of an account, without a call."""
    service, rest = arn.split(":", 5)[2::3] if arn.startswith("arn:") else ("", "")
    tags = TAGGED[service](account, region, rest) if service in TAGGED else None
    if tags is None:
        return {}
    return {"aws:resourcetag/": None, **{f"aws:resourcetag/{key.lower()}": tags[key] for key in tags}}


def _ec2_tags(account: str, region: str, rest: str) -> dict[str, str]:
    ec2, (kind, _, name) = get_backend("ec2")[account][region], rest.partition("/")
    if name == "*":
        return {}
    if kind == "key-pair" and name in ec2.key_pairs:
        name = ec2.key_pairs[name].id
    return {str(tag["key"]): str(tag["value"]) for tag in ec2.describe_tags({"resource-id": [name]})}


def _api_tags(account: str, region: str, rest: str) -> dict[str, str]:
    api_id = rest.removeprefix("/restapis/").partition("/")[0]
    api = get_backend("apigateway")[account][region].apis.get(api_id)
    return dict(api.tags or {}) if api else {}


def _parameter_tags(account: str, region: str, rest: str) -> dict[str, str]:
    held = get_backend("ssm")[account][region]._resource_tags["Parameter"]
    name = rest.removeprefix("parameter/")
    return dict(held.get(name) or held.get(f"/{name}") or {})


def _iam_tags(account: str, region: str, rest: str) -> dict[str, str]:
    """Of a role or an instance profile, whose path is part of what its ARN ends with."""
    iam, (kind, _, path) = iam_backends[account]["aws"], rest.partition("/")
    find = {"role": find_role, "instance-profile": find_instance_profile}.get(kind)
    thing = find(iam, path.rpartition("/")[2]) if find else None
    return {tag["Key"]: tag["Value"] for tag in thing.tags or []} if thing else {}


def _repository_tags(account: str, region: str, rest: str) -> dict[str, str]:
    ecr = get_backend("ecr")[account][region]
    return dict(ecr.tagger.get_tag_dict_for_resource(f"arn:aws:ecr:{region}:{account}:{rest}"))


def _listed_tags(service: str) -> Callable[[str, str, str], dict[str, str]]:
    """Of a service whose things moto shows to the tagging API."""

    def tags(account: str, region: str, rest: str) -> dict[str, str]:
        known = f"arn:aws:{service}:{region}:{account}:{rest.partition(':log-stream:')[0]}"
        with lock:
            if service == "lambda":  # of which moto has two
                backend: Any = lambda_backend(account, region)
            else:
                backend = get_backend(service)[account][region]  # type: ignore[call-overload]
            things = backend.iter_tagged_resources()
            return next((dict(one.tags) for one in things if _END.sub("", one.arn) == known), {})

    return tags


_END = re.compile(r":(\*|\$LATEST)$")  # of a log group's ARN, and of a function's as moto has it


# Schedules have none; of `_SWITCHED`, none that count.
TAGGED.update(ec2=_ec2_tags, apigateway=_api_tags, ssm=_parameter_tags, iam=_iam_tags, ecr=_repository_tags)
TAGGED.update({service: _listed_tags(service) for service in ("ecs", "lambda", "logs", "sqs")})

_FIELD = re.compile(r"\{([^}|?]+)(\?|\|[^}]*)?\}")


def _resources(asked: Asked, row: str) -> Iterator[str]:
    """The ARNs that a row of the table means."""
    for pattern in row.split():
        texts, ends = [], 0
        for field in _FIELD.finditer(pattern):
            values = [value for path in field[1].split(",") for value in asked.values(path)]
            if name := _NAMES.get(field[1]):
                values = [name(asked, value) for value in values]
            if not values and field[2] != "?":
                values = [(field[2] or "|")[1:]]
            texts += [[pattern[ends : field.start()]], values]
            ends = field.end()
        for parts in itertools.product(*texts, [pattern[ends:]]):
            whole = next((value for value in parts[1::2] if value.startswith("arn:")), "".join(parts))
            fixed = whole == "*" or whole.startswith("arn:")
            yield whole if fixed else asked.arn(asked.call.service, whole)


def _role(asked: Asked, name: str) -> str:
    """The ARN of a role: its path is part of it."""
    role = find_role(iam_backends[asked.account]["aws"], name)
    path = next(iter(asked.values("Path")), "/")
    return str(role.arn) if role else name if ":" in name else asked.arn("iam", f"role{path}{name}")


def _profile(asked: Asked, name: str) -> str:
    profile = find_instance_profile(iam_backends[asked.account]["aws"], name)
    path = next(iter(asked.values("Path")), "/")
    return str(profile.arn) if profile else asked.arn("iam", f"instance-profile{path}{name}")


_NAMES: dict[str, Callable[[Asked, str], str]] = {  # what a parameter calls its resource, for an ARN
    "FunctionName": lambda asked, name: name if name.startswith("arn:") else name.rpartition(":function:")[2],
    "InstanceProfileName": _profile,
    "Name,Names": lambda asked, name: name.lstrip("/"),
    "QueueUrl,QueueName": lambda asked, url: url.rpartition("/")[2],
    "ResourceId": lambda asked, name: name.lstrip("/"),
    "RoleName": _role,
    "cluster": lambda asked, name: name.rpartition("/")[2],
}


def _passes(asked: Asked) -> Iterator[Need]:
    """The roles that a call hands to a service."""
    handed = [
        (value, service)
        for path, service in _PASSES.get(asked.call.name, {}).items()
        for value in asked.values(path)
    ]
    if asked.call.name == "ecs:RunTask":
        with contextlib.suppress(Exception):  # of moto's: no such definition, which the call itself will say
            ecs = ecs_backends[asked.account][asked.region]
            definition = ecs.describe_task_definition(asked.fields["taskDefinition"])
            roles = (getattr(definition, f"{kind}_role_arn", None) for kind in ("task", "execution"))
            handed += [(role, _TASKS) for role in roles if role]
    for value, service in handed:
        iam = iam_backends[asked.account]["aws"]
        profile = find_instance_profile(iam, value) if service == "ec2.amazonaws.com" else None
        for arn in [role.arn for role in profile.roles] if profile else [_role(asked, value)]:
            yield Need("iam:PassRole", arn, {"iam:passedtoservice": service})


def _tags(asked: Asked) -> dict[str, str]:
    """The tags that a request brings."""
    fields = asked.fields
    structures = [fields, fields.get("CreateBucketConfiguration") or {}, *fields.get("TagSpecifications", [])]
    found: dict[str, str] = {}
    for given in (each.get(name) for each in structures for name in ("tags", "Tags")):
        if isinstance(given, dict):
            found |= given
        for tag in given if isinstance(given, list) else []:
            found[tag.get("Key") or tag.get("key")] = tag.get("Value") or tag.get("value") or ""
    return found


# --- what no row can say ------------------------------------------------------------------------------


def _batch_of_items(asked: Asked) -> Iterator[Need]:
    for name in asked.fields.get("RequestItems") or {"": None}:
        yield Need(asked.call.name, _table(asked, name))


def _table(asked: Asked, name: str) -> str:
    return name if name.startswith("arn:") else asked.arn("dynamodb", f"table/{name}")


def _table_or_index(asked: Asked) -> Iterator[Need]:
    table, index = _table(asked, asked.fields.get("TableName", "")), asked.fields.get("IndexName")
    yield Need(asked.call.name, f"{table}/index/{index}" if index else table)


def _transaction(asked: Asked) -> Iterator[Need]:
    actions = {"Get": "GetItem", "Put": "PutItem", "Update": "UpdateItem", "Delete": "DeleteItem"}
    for item in asked.fields.get("TransactItems", []):
        for kind, what in item.items():
            action = actions.get(kind, "ConditionCheckItem")
            yield Need(f"dynamodb:{action}", _table(asked, what.get("TableName", "")))


# What tags can be put on, by the beginning of its id.
_BY_ID = {
    "i": "instance",
    "igw": "internet-gateway",
    "rtb": "route-table",
    "sg": "security-group",
    "subnet": "subnet",
    "vol": "volume",
    "vpc": "vpc",
}


def _tagged(asked: Asked) -> Iterator[Need]:
    """EC2's own operations for tags: the action on each thing that is named, by its id."""
    for one in asked.values("Resources"):
        kind = _BY_ID.get(one.partition("-")[0], "*")
        yield Need(asked.call.name, asked.arn("ec2", f"{kind}/{one}"))


def _tasks(asked: Asked) -> Iterator[Need]:
    cluster = asked.fields.get("cluster", "default").rpartition("/")[2]
    for task in asked.values("tasks") + asked.values("task") or [""]:
        yield Need(asked.call.name, asked.arn("ecs", f"task/{cluster}/{task.rpartition('/')[2]}"))


def _object(asked: Asked) -> Iterator[Need]:
    version = "Version" if "versionId" in asked.request.args else ""
    yield Need(f"s3:GetObject{version}", next(_resources(asked, _KEY)))


_KEY = "arn:aws:s3:::{Bucket}/{Key}"


def deletion(request: Request, resource: str, versioned: bool) -> Iterator[Need]:
    """What an object's deletion needs: for one of its versions another action, and one more to pass over
    what is retained.
    """
    yield Need("s3:DeleteObjectVersion" if versioned else "s3:DeleteObject", resource)
    if request.headers.get("x-amz-bypass-governance-retention", "").lower() == "true":
        yield Need("s3:BypassGovernanceRetention", resource)


def copied(header: str) -> str:
    """The bucket and key that an `x-amz-copy-source` names, which may be encoded, or a whole address."""
    source = urllib.parse.unquote_plus(header.partition("?")[0])
    return re.sub(r"^https?://[^/]*", "", source).lstrip("/")


def _copy(asked: Asked) -> Iterator[Need]:
    source = asked.request.headers.get("x-amz-copy-source", "")
    version = "Version" if "versionId=" in source.partition("?")[2] else ""
    yield Need(f"s3:GetObject{version}", f"arn:aws:s3:::{copied(source)}")
    yield Need("s3:PutObject", next(_resources(asked, _KEY)))


_WRITES = ("s3:CopyObject", "s3:CreateMultipartUpload", "s3:PutObject")


def _with_it(request: Request) -> Iterator[str]:
    """The actions that a new object needs for what its headers bring along.

    Source: S3 API reference, PutObject, CreateMultipartUpload and CopyObject, "Permissions".
    """
    sent = {name.lower() for name, _ in request.headers}
    if "x-amz-tagging" in sent:
        yield "PutObjectTagging"
    if any(name == "x-amz-acl" or name.startswith("x-amz-grant-") for name in sent):
        yield "PutObjectAcl"
    if "x-amz-object-lock-mode" in sent:
        yield "PutObjectRetention"
    if "x-amz-object-lock-legal-hold" in sent:
        yield "PutObjectLegalHold"


def _user(asked: Asked) -> Iterator[Need]:
    """Who is asked for: without a name the user who asks."""
    iam = iam_backends[asked.account]["aws"]
    key = iam.access_keys.get(asked.call.access_key)
    name = asked.fields.get("UserName") or (str(key.user_name) if key else "")
    user = iam.users.get(name)
    yield Need(asked.call.name, user.arn if user else f"arn:aws:iam::{asked.account}:user/{name}")


_SPECIAL: dict[str, Callable[[Asked], Iterator[Need]]] = {
    "dynamodb:BatchGetItem": _batch_of_items,
    "dynamodb:BatchWriteItem": _batch_of_items,
    "dynamodb:Query": _table_or_index,
    "dynamodb:Scan": _table_or_index,
    "dynamodb:TransactGetItems": _transaction,
    "dynamodb:TransactWriteItems": _transaction,
    "ec2:CreateTags": _tagged,
    "ecs:DescribeTasks": _tasks,
    "ecs:StopTask": _tasks,
    "iam:GetUser": _user,
    "s3:CopyObject": _copy,
    "s3:DeleteObject": lambda asked: deletion(
        asked.request, next(_resources(asked, _KEY)), "versionId" in asked.request.args
    ),
    "s3:DeleteObjects": lambda asked: iter(()),  # each of them is judged for itself, where it is deleted
    "s3:GetObject": _object,
    "s3:HeadObject": _object,
    "s3:UploadPartCopy": _copy,
    "ssm:DescribeParameters": lambda asked: iter([Need(asked.call.name, asked.arn("ssm", "*"))]),
}
