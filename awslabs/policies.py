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


def trust(service: str) -> str:
    """A role's trust policy: this service of AWS (``lambda.amazonaws.com``) may act in the role."""
    return document({"Effect": "Allow", "Principal": {"Service": service}, "Action": "sts:AssumeRole"})


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
