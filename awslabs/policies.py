"""IAM documents: who may do what to which. Pure functions; each returns JSON text or a part of it.

A policy is a list of statements, and each statement is one sentence: *this effect*, for *these actions*, on
*these resources*. What no sentence allows is forbidden. So a role gets the sentences that its function needs,
and no more: a reader that is broken into still cannot write.

Source: "IAM JSON policy elements reference", IAM user guide.
"""

from __future__ import annotations

import json
from typing import Any

Statement = dict[str, Any]


def document(*statements: Statement) -> str:
    """A policy of these statements, as IAM and S3 take it."""
    return json.dumps({"Version": "2012-10-17", "Statement": list(statements)})


def allow(resource: str, *actions: str) -> Statement:
    """Whoever has the policy may do these actions on this resource."""
    return {"Effect": "Allow", "Action": list(actions), "Resource": resource}


def trust(*services: str) -> str:
    """A role's trust policy: this service of AWS (``lambda.amazonaws.com``) may act in the role; or these."""
    named = services[0] if len(services) == 1 else list(services)
    return document({"Effect": "Allow", "Principal": {"Service": named}, "Action": "sts:AssumeRole"})


def write_logs(log_group_arn: str) -> Statement:
    """Write lines to one log group.

    The right to make groups (``logs:CreateLogGroup``) is missing on purpose: what a function logs late would
    else bring its group back after it was deleted, without an end to its costs.
    """
    return allow(f"{log_group_arn}:*", "logs:CreateLogStream", "logs:PutLogEvents")


def public_read(bucket: str) -> str:
    """A bucket policy: the whole world may read each object. For web pages, and nothing else."""
    return document(
        {
            "Effect": "Allow",
            "Principal": "*",
            "Action": "s3:GetObject",
            "Resource": f"arn:aws:s3:::{bucket}/*",
        }
    )


def pull_image(*repository_arns: str) -> list[Statement]:
    """Pull images from ECR repositories. The token to log in with is the account's, so it names none."""
    pull = ("ecr:BatchCheckLayerAvailability", "ecr:GetDownloadUrlForLayer", "ecr:BatchGetImage")
    return [
        allow("*", "ecr:GetAuthorizationToken"),
        *(allow(repository_arn, *pull) for repository_arn in repository_arns),
    ]


def join_a_cluster(environment: str, region: str, account: str) -> list[Statement]:
    """What a server needs to take the tasks of one ECS cluster, and with them Batch jobs.

    Batch makes the cluster, and calls it after the compute environment (``AWSBatch-NAME-...``). What asks
    where to go, and what lets a server tag itself as it registers, knows no cluster.

    Source: AWS managed policy "AmazonEC2ContainerServiceforEC2Role" (v10), less its rights on images and
    logs; Service Authorization Reference, "Amazon Elastic Container Service", for what can be bound how.
    """
    arn = f"arn:aws:ecs:{region}:{account}"
    name = f"AWSBatch-{environment}-*"
    cluster = f"{arn}:cluster/{name}"
    in_it = {"ArnLike": {"ecs:cluster": cluster}}
    registering = {"StringEquals": {"ecs:CreateAction": "RegisterContainerInstance"}}
    return [
        allow("*", "ec2:DescribeTags", "ecs:DiscoverPollEndpoint"),
        allow(cluster, "ecs:RegisterContainerInstance", "ecs:DeregisterContainerInstance", "ecs:Submit*"),
        allow("*", "ecs:Poll", "ecs:StartTelemetrySession", "ecs:UpdateContainerInstancesState")
        | {"Condition": in_it},
        allow("*", "ecs:TagResource") | {"Condition": registering},
        allow(f"{arn}:container-instance/{name}/*", "ecs:ListTagsForResource"),
        allow(f"{arn}:task/{name}/*", "ecs:ListTagsForResource"),
    ]


# What the last switch of a lab may look at, in the whole account: names, states and tags. AWS binds most of
# these to no resource, and whoever lists must see what stands before it can tell whose it is.
LOOK = (
    *(f"ec2:Describe{one}" for one in ("Instances", "Volumes", "Vpcs", "Subnets", "InternetGateways")),
    *(f"ec2:Describe{one}" for one in ("SecurityGroups", "KeyPairs", "VpcEndpoints")),
    *(f"iam:{one}" for one in ("ListRoles", "GetRole", "GetRolePolicy", "ListRolePolicies")),
    *(f"iam:{one}" for one in ("ListInstanceProfiles", "GetInstanceProfile")),
    "iam:GetAccountAuthorizationDetails",
    *("lambda:ListFunctions", "lambda:GetFunction", "lambda:GetPolicy"),
    *("logs:DescribeLogGroups", "logs:ListTagsForResource"),
    *("dynamodb:ListTables", "dynamodb:DescribeTable", "dynamodb:ListTagsOfResource"),
    *("ecr:DescribeRepositories", "ecr:ListTagsForResource"),
    *("ecs:ListClusters", "ecs:DescribeClusters", "ecs:ListTasks", "ecs:DescribeTasks"),
    *("ecs:ListTaskDefinitions", "ecs:DescribeTaskDefinition"),
    *("batch:DescribeComputeEnvironments", "batch:DescribeJobQueues", "batch:DescribeJobDefinitions"),
    *("batch:DescribeJobs", "batch:ListJobs"),
    *("sqs:ListQueues", "sqs:GetQueueUrl", "sqs:ListQueueTags"),
    *("s3:ListAllMyBuckets", "s3:GetBucketTagging"),
    *("ssm:DescribeParameters", "ssm:ListTagsForResource"),
    *("scheduler:ListSchedules", "scheduler:GetSchedule"),
    *("apigateway:GET", "tag:GetResources"),
)


def take_down(prefix: str, region: str, account: str) -> list[Statement]:
    """Look at what stands, and delete what is of one ledger alone: by its tag, its name or its path.

    Two rights reach further, for AWS binds them to nothing: `LOOK`, which changes nothing, and
    ``ecs:DeregisterTaskDefinition``, which takes a definition out of use and deletes none.

    Source: Service Authorization Reference, resource types and condition keys of each action.
    """

    def arn(service: str, *resources: str) -> list[str]:
        where = f"arn:aws:{service}:{'' if service == 'iam' else region}:{account}"
        return [f"{where}:{resource}" for resource in resources]

    own = {"StringEquals": {"aws:ResourceTag/awslabs:ledger": prefix}}
    by_tag = {
        "ec2": ("TerminateInstances", "DeleteVpc", "DeleteSubnet", "DetachInternetGateway")
        + ("DeleteInternetGateway", "DeleteSecurityGroup", "DeleteKeyPair"),
        "batch": ("TerminateJob",),
        "ssm": ("DeleteParameter",),
    }
    tagged = [f"{service}:{action}" for service, actions in by_tag.items() for action in actions]
    by_name = {
        ("lambda:DeleteFunction", "lambda:RemovePermission"): arn("lambda", f"function:{prefix}-*"),
        ("logs:DeleteLogGroup",): arn(
            "logs", f"log-group:/awslabs/{prefix}*", f"log-group:/aws/lambda/{prefix}-*"
        ),
        ("dynamodb:DeleteTable",): arn("dynamodb", f"table/{prefix}-*"),
        ("ecr:DeleteRepository",): arn("ecr", f"repository/{prefix}-*"),
        ("ecs:DeleteCluster", "ecs:StopTask", "ecs:DeleteTaskDefinitions"): arn(
            "ecs", f"cluster/{prefix}-*", f"task/{prefix}-*/*", f"task-definition/{prefix}-*"
        ),
        (
            *("batch:DeleteComputeEnvironment", "batch:UpdateComputeEnvironment"),
            *("batch:DeleteJobQueue", "batch:UpdateJobQueue", "batch:DeregisterJobDefinition"),
        ): arn(
            "batch",
            f"compute-environment/{prefix}-*",
            f"job-queue/{prefix}-*",
            f"job-definition/{prefix}-*",
        ),
        ("sqs:DeleteQueue",): arn("sqs", f"{prefix}-*"),
        ("scheduler:DeleteSchedule",): arn("scheduler", f"schedule/default/{prefix}-*"),
        ("iam:DeleteRole", "iam:DeleteRolePolicy"): arn("iam", f"role/awslabs/{region}/{prefix}/*"),
        ("iam:DeleteInstanceProfile", "iam:RemoveRoleFromInstanceProfile"): arn(
            "iam", f"instance-profile/awslabs/{region}/{prefix}/*"
        ),
        ("s3:DeleteBucket", "s3:ListBucket", "s3:ListBucketVersions"): [f"arn:aws:s3:::{prefix}-*"],
        ("s3:DeleteObject", "s3:DeleteObjectVersion", "s3:GetObject"): [f"arn:aws:s3:::{prefix}-*/*"],
    }
    return [
        allow("*", *LOOK),
        allow("*", "ecs:DeregisterTaskDefinition"),
        allow("*", *tagged) | {"Condition": own},
        allow(f"arn:aws:apigateway:{region}::/restapis/*", "apigateway:DELETE") | {"Condition": own},
        *({**allow("", *actions), "Resource": arns} for actions, arns in by_name.items()),
    ]
