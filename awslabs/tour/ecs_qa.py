"""Chapter 3 in the tour."""

from __future__ import annotations

from awslabs import ecs_qa, prices
from awslabs.errors import LabError
from awslabs.ledger import Ledger
from awslabs.workload.ecs_qa import questions

BUILDS = "an image, a cluster and a table"
OPTIONS = ()
NEEDS = questions.READER_NEEDS
TASKS = 2


def usd_per_hour(region: str) -> float:
    """Of the two tasks that answer."""
    return TASKS * prices.fargate_hour(ecs_qa.VCPUS, ecs_qa.MEMORY_GB, region)


def up(ledger: Ledger) -> ecs_qa.Reader:
    """The practice cloud gets the program without an operating system."""
    return ecs_qa.up(ledger, without_docker=not ledger.cloud.is_aws)


def look(ledger: Ledger) -> str:
    """The cluster, and the image that its tasks will run."""
    lab = ecs_qa.describe(ledger)
    (cluster,) = ledger.client("ecs").describe_clusters(clusters=[lab.cluster_name])["clusters"]
    return (
        f"the cluster is {cluster['status']}, {cluster['runningTasksCount']} tasks run; "
        f"its image has the tag {lab.image.rpartition(':')[2][:12]}"
    )


def work(ledger: Ledger) -> str:
    """The lab's own questions, answered by two tasks."""
    asked = questions.ask_many(ledger, tasks=TASKS)
    if asked.failed:
        raise LabError(
            f"{len(asked.failed)} questions have no answer.", asked.failed[0].why, asked.failed[0].fix
        )
    first = asked.answers[0]
    return f"{len(asked.answers)} questions answered by {asked.tasks} tasks: {first.question} {first.answer}."
