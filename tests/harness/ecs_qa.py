"""Chapter 3, as the harness runs it, and what its services show from outside."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

from awslabs import ecs_qa, images
from awslabs.ledger import Ledger
from awslabs.workload.ecs_qa import questions
from harness import cases, outside
from harness.labs import Lab
from harness.outside import Thing, everything, thing

NAPPER = Path(__file__).parent / "napper"


def up(ledger: Ledger) -> None:
    """The lab with a program that only sleeps: the matrix looks at what stands, not at answers."""
    with mock.patch.object(images, "folder", return_value=NAPPER):
        ecs_qa.up(ledger, model="nobody/reads-it", without_docker=True, export=True)


def ask(ledger: Ledger) -> None:
    """Start a task and leave it: `down` must stop it."""
    questions.Runs(ledger, 1).start_all(["questions-of-nobody"])


ECS_QA = Lab("ecs_qa", up, ecs_qa.down, work=(ask,))


def ecs(client: Any) -> Iterator[Thing]:
    """Clusters, what runs in them, and task definitions."""
    for cluster in everything(client, "list_clusters", "clusterArns"):
        (shown,) = client.describe_clusters(clusters=[cluster])["clusters"]
        if shown["status"] == "INACTIVE":  # as AWS shows one that was deleted
            continue
        yield thing("ecs cluster", cluster, shown["clusterName"])
        for state in ("RUNNING", "STOPPED"):
            arns = everything(client, "list_tasks", "taskArns", cluster=cluster, desiredStatus=state)
            for task in client.describe_tasks(cluster=cluster, tasks=arns)["tasks"] if arns else []:
                if task["lastStatus"] != "STOPPED":
                    yield thing("ecs task", task["taskArn"], task["taskDefinitionArn"].rpartition("/")[2])
    for status in ("ACTIVE", "INACTIVE"):
        for arn in everything(client, "list_task_definitions", "taskDefinitionArns", status=status):
            yield thing("ecs task definition", arn, arn.rpartition("/")[2].partition(":")[0])


def ecr(client: Any) -> Iterator[Thing]:
    """Repositories and the images in them."""
    for repository in everything(client, "describe_repositories", "repositories"):
        name = repository["repositoryName"]
        yield thing("ecr repository", name, name)
        for image in everything(client, "list_images", "imageIds", repositoryName=name):
            yield thing("ecr image", f"{name} {image['imageDigest']}", image.get("imageTag"))


def parameters(client: Any) -> Iterator[Thing]:
    """Parameters of the account, without AWS's own."""
    for parameter in everything(client, "describe_parameters", "Parameters"):
        yield thing("ssm parameter", parameter["Name"], parameter["Name"], parameter["Version"])


outside.LISTINGS.update({"ecs": ecs, "ecr": ecr, "ssm": parameters})
cases.CODES.update(
    {
        "ecs": {
            "THROTTLED": "ThrottlingException",
            "INTERNAL": "ServerException",
            "DENIED": "AccessDeniedException",
        },
        "ssm": {
            "THROTTLED": "ThrottlingException",
            "INTERNAL": "InternalServerError",
            "DENIED": "AccessDeniedException",
        },
        "ecr": {
            "THROTTLED": "ThrottlingException",
            "INTERNAL": "ServerException",
            "DENIED": "AccessDeniedException",
        },
    }
)
