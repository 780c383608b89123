"""Of chapters 3 and 4: what runs in containers, on Fargate or on Batch's machines. Nothing is started."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from awslabs.aws_check.probes import question
from awslabs.aws_check.probes.question import Question
from awslabs.ledger import Ledger


def of_fargate(ledger: Ledger) -> Iterator[Question]:
    """What AWS refuses of a cluster, a definition, a table and a network."""
    ecs, family = ledger.client("ecs"), f"{ledger.prefix}-probe"
    # Of what Fargate has: 0.25 vCPU with 0.5 to 2 GB.
    container = {"name": "probe", "image": "probe", "essential": True}
    misfit = {"family": family, "requiresCompatibilities": ["FARGATE"], "containerDefinitions": [container]}

    def define(row: str, **otherwise: str) -> Callable[[], str]:
        asked = {**misfit, "cpu": "256", "networkMode": "awsvpc", "memory": "512", **otherwise}
        return lambda: ledger.create(row, ecs.register_task_definition, **asked)

    yield "memory of a task", define("probe-memory", memory="8192")
    yield "network of a task", define("probe-mode", networkMode="bridge")
    yield (
        "name of a cluster",
        lambda: ledger.create("probe-cluster", ecs.create_cluster, clusterName="a cluster"),
    )
    yield "cluster there already", lambda: ecs.create_cluster(clusterName=ledger.resources["cluster"])
    yield "families", lambda: ecs.list_task_definition_families(familyPrefix=ledger.prefix, status="ACTIVE")
    yield from question.of_network(ledger)
    yield from question.of_role(ledger, "task-role")
    yield from question.of_table(ledger, "table")
    yield from question.of_log_group(ledger, "log-group")


def of_batch(ledger: Ledger) -> Iterator[Question]:
    """What AWS refuses of an environment, a queue, a bucket and a network."""
    batch, stands = ledger.client("batch"), ledger.resources
    environment, queue = stands["compute-environment"], stands["job-queue"]
    yield (
        "environment in use",
        lambda: batch.delete_compute_environment(computeEnvironment=environment),
    )
    yield "queue in use", lambda: batch.delete_job_queue(jobQueue=queue)
    job = {"jobName": "probe", "jobQueue": queue, "jobDefinition": "probe"}
    yield "unknown definition", lambda: batch.submit_job(**job)
    if "machine-profile" in stands:
        iam = ledger.client("iam")
        profile = stands["machine-profile"].rpartition("/")[2]
        other = {"InstanceProfileName": profile, "RoleName": question.name_of_role(ledger, "job-role")}
        yield "role elsewhere", lambda: iam.remove_role_from_instance_profile(**other)
        yield from question.of_role(ledger, "job-role")
    yield from question.of_network(ledger)
    yield from question.of_bucket(ledger, "bucket")
    yield from question.of_log_group(ledger, "log-group")


def families_left(ledger: Ledger) -> str:
    """After `down`: whether AWS still names the lab's definitions."""
    ecs, ours = ledger.client("ecs"), ledger.prefix
    left = ecs.list_task_definition_families(familyPrefix=ours, status="ACTIVE")["families"]
    return f"{len(left)} families of task definitions are active"
