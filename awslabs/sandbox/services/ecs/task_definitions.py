"""ECS: clusters and task definitions. Tasks themselves: `tasks.py`."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from moto.core.responses import ActionResult
from moto.ecs.models import EC2ContainerServiceBackend, TaskDefinition, ecs_backends
from moto.iam.models import iam_backends

from awslabs.sandbox.core.engine import (
    Call,
    Proceed,
    Refused,
    around,
    before,
    clock,
    later,
    memory,
    rule,
    scaled,
    state,
)
from awslabs.sandbox.services.ecr import repositories
from awslabs.sandbox.services.iam import identities

DELETE_S = 3.0
"""How long a task definition is DELETE_IN_PROGRESS at the least, at `slow_states` 1 (unsourced)."""
LINKED = "ecs.amazonaws.com"
ECR = re.compile(r"\d{12}\.dkr\.ecr\.[^/]+\.amazonaws\.com/")


refuse = functools.partial(Refused, "ClientException")
"""ECS's answer to most of what does not fit together."""
invalid = functools.partial(Refused, "InvalidParameterException")
"""ECS's answer to a parameter that cannot be."""


def backend_of(call: Call) -> EC2ContainerServiceBackend:
    """moto's ECS of the caller's account and Region."""
    return ecs_backends[call.account][call.region]


# --- clusters -----------------------------------------------------------------------------------------


@before("ecs:CreateCluster")
def ecs_has_a_role_of_its_own(call: Call) -> None:
    """The first cluster of an account makes the role AWSServiceRoleForECS; until IAM knows it everywhere
    (8 s times `slow_states`): InvalidParameterException. moto makes no role.

    Source: aws-facts (b); botocore, ecs CreateCluster.
    """
    if identities.find_role(call.iam, "AWSServiceRoleForECS") is None:
        role = call.iam.create_service_linked_role(
            LINKED, "Role to enable Amazon ECS to manage your cluster.", ""
        )
        role.name = "AWSServiceRoleForECS"
        memory(role, identities.Dates).made = clock.now()
    role = identities.find_role(call.iam, "AWSServiceRoleForECS")
    if not identities.usable(role):
        raise invalid(
            "Unable to assume the service linked role. Please verify that the ECS service linked role exists."
        )


@around("ecs:CreateCluster")
def a_cluster_is_made_once(call: Call, proceed: Proceed) -> Any:
    """The name of a cluster that is ACTIVE gives that cluster; bad names: InvalidParameterException.

    moto makes another one and forgets the tags of the first. Source: aws-facts (c), (j).
    """
    name = call.get("clusterName", "default")
    if not re.fullmatch(r"[A-Za-z0-9_-]{1,255}", name):
        raise invalid(f"Invalid identifier: Identifier is for {name}")
    found = backend_of(call).clusters.get(name)
    if found is not None and found.status == "ACTIVE":
        return ActionResult({"cluster": found})
    return proceed()


@around("ecs:ListClusters")
def inactive_clusters_are_not_listed(call: Call, proceed: Proceed) -> Any:
    """ListClusters shows clusters that are ACTIVE. moto shows deleted ones for ever.

    DescribeClusters still shows them as INACTIVE. Source: aws-facts (a).
    """
    proceed()
    found = backend_of(call).clusters.values()
    return ActionResult({"clusterArns": [each.arn for each in found if each.status == "ACTIVE"]})


# --- registering ------------------------------------------------------------------------------------------

# vCPU units -> what memory they go with, in MiB. Source: aws-facts (g).
MEMORY = {
    256: (512, 1024, 2048),
    512: tuple(range(1024, 4096 + 1, 1024)),
    1024: tuple(range(2048, 8192 + 1, 1024)),
    2048: tuple(range(4096, 16384 + 1, 1024)),
    4096: tuple(range(8192, 30720 + 1, 1024)),
    8192: tuple(range(16384, 61440 + 1, 4096)),
    16384: tuple(range(32768, 122880 + 1, 8192)),
}


def units(text: Any, kind: str) -> int | None:
    """``1024`` or ``1 vCPU`` as CPU units, ``2048`` or ``2 GB`` as MiB; None: neither.

    Source: ECS developer guide, "Task size".
    """
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*(vcpu|gb)?\s*", str(text), re.IGNORECASE)
    if not match or (match[2] and match[2].lower() != kind):
        return None
    return int(float(match[1]) * (1024 if match[2] else 1))


@around("ecs:RegisterTaskDefinition")
def fargate_definitions_fit(call: Call, proceed: Proceed) -> Any:
    """A definition for Fargate needs awsvpc, a pair of CPU and memory that exists, an execution role for
    awslogs and for ECR; roles must exist: ClientException. moto takes all.

    ``1 vCPU`` and ``2 GB`` are written as 1024 and 2048. Source: aws-facts (g), (j); messages as quoted in
    public issues.
    """
    containers = call.get("containerDefinitions") or []
    names = [each.get("name") for each in containers]
    if not re.fullmatch(r"[A-Za-z0-9_-]{1,255}", call.get("family", "")):
        raise refuse("Family contains invalid characters.")
    if not containers:
        raise refuse("Container list cannot be empty.")
    if len(set(names)) < len(names):
        raise refuse("Container name should be unique within the task definition.")
    if not any(each.get("essential", True) for each in containers):
        raise refuse("At least one container must be essential.")
    for parameter in ("taskRoleArn", "executionRoleArn"):
        role = call.get(parameter)
        if role and identities.find_role(iam_backends[call.account][call.partition], role) is None:
            raise refuse("Role is not valid")
    for each in containers:
        options = (each.get("logConfiguration") or {}).get("options") or {}
        if (each.get("logConfiguration") or {}).get("logDriver") != "awslogs":
            continue
        missing = [name for name in ("awslogs-region", "awslogs-group") if not options.get(name)]
        if missing:
            raise refuse(f"Log driver awslogs requires options: {', '.join(missing)}")
    if "FARGATE" in (call.get("requiresCompatibilities") or []):
        _fits_fargate(call, containers)
    return proceed()


def _fits_fargate(call: Call, containers: list[dict[str, Any]]) -> None:
    """Refuse what Fargate does not run; write CPU and memory as numbers."""
    if call.get("networkMode") != "awsvpc":
        raise refuse("Fargate only supports network mode ‘awsvpc’.")
    sizes = {}
    for parameter, kind in (("cpu", "vcpu"), ("memory", "gb")):
        if not call.get(parameter):
            raise refuse(f"Fargate requires that '{parameter}' be defined at the task level.")
        size = units(call.get(parameter), kind)
        if size is None:
            raise refuse(f"Invalid '{parameter}' setting for task.")
        sizes[parameter] = size
        call.change(parameter, str(size))
    if sizes["memory"] not in MEMORY.get(sizes["cpu"], ()):
        raise refuse("No Fargate configuration exists for given values.")
    for each in containers:
        for parameter in ("memory", "memoryReservation"):
            if (each.get(parameter) or 0) > sizes["memory"]:
                raise refuse(
                    f"Invalid setting for container '{each['name']}'. The '{parameter}' setting is greater "
                    "than that of the task."
                )
        if call.get("executionRoleArn"):
            continue
        what = ""
        if (each.get("logConfiguration") or {}).get("logDriver") == "awslogs":
            what = "log driver awslogs"
        elif is_ecr(each.get("image", "")):
            what = "ECR images"
        if what:
            raise refuse(f"Fargate requires task definition to have execution role ARN to support {what}.")


def is_ecr(image: str) -> bool:
    """Whether an image lies in ECR: AWS's, or that of this practice cloud."""
    here = bool(repositories.address) and image.startswith(f"{repositories.address}/")
    return here or bool(ECR.match(image))


# --- the life of a definition -------------------------------------------------------------------------


@state
class LastRevisions(dict[str, int]):
    """Family -> the highest revision there ever was; `memory` of moto's ECS."""


@dataclass(frozen=True)
class Leaving:
    """A definition that is DELETE_IN_PROGRESS."""

    definition: TaskDefinition
    gone_at: float


@state
class LeavingDefinitions(dict[str, Leaving]):
    """ARN -> a definition that is being deleted."""


definitions_live = rule(
    "definitions_live",
    """A family without a revision means its newest ACTIVE one. Deleted definitions are DELETE_IN_PROGRESS
    until their last task has ended, then gone; revision numbers never start again.

    moto takes the newest one, INACTIVE or not, forgets deleted ones at once and uses their numbers again.
    Source: aws-facts (a); botocore, ecs DeleteTaskDefinitions.""",
)


def find(backend: EC2ContainerServiceBackend, name: str) -> TaskDefinition | None:
    """A task definition by ARN, ``FAMILY:REVISION`` or ``FAMILY``: its newest that is ACTIVE."""
    family, colon, number = name.split("/")[-1].partition(":")
    leaving = memory(backend, LeavingDefinitions)
    held = dict(backend.task_definitions.get(family, {}))
    for each in leaving.values():
        if each.definition.family == family:
            held[each.definition.revision] = each.definition
    if colon:
        return held.get(int(number)) if number.isdecimal() else None
    active = [revision for revision, each in held.items() if each.status == "ACTIVE"]
    return held[max(active)] if active else None


@definitions_live.patch(EC2ContainerServiceBackend, "describe_task_definition")
def _describe(original: Any, backend: EC2ContainerServiceBackend, task_definition_str: str) -> TaskDefinition:
    found = find(backend, task_definition_str)
    if found is None:
        raise refuse("Unable to describe task definition.")
    return found


@definitions_live.patch(EC2ContainerServiceBackend, "_get_last_task_definition_revision_id")
def _last_revision(original: Any, backend: EC2ContainerServiceBackend, family: str) -> int | None:
    return max(original(backend, family) or 0, memory(backend, LastRevisions).get(family, 0)) or None


@definitions_live.around("ecs:RegisterTaskDefinition")
def _register(call: Call, proceed: Proceed) -> Any:
    backend, family = backend_of(call), call.get("family")
    backend.task_definitions.setdefault(family, {})  # all of whose revisions were deleted, it has its number
    answer = proceed()
    memory(backend, LastRevisions)[family] = max(backend.task_definitions[family])
    if tags := call.get("tags"):  # moto leaves them out (aws-facts, k)
        answer.result["tags"] = tags
    return answer


@definitions_live.around("ecs:DeleteTaskDefinitions")
def _delete(call: Call, proceed: Proceed) -> Any:
    backend = backend_of(call)
    answer = proceed()
    leaving = memory(backend, LeavingDefinitions)
    for definition in answer.result["taskDefinitions"]:
        leaving[definition.arn] = Leaving(definition, clock.now() + scaled(DELETE_S))
        later(call.ec2, scaled(DELETE_S), lambda: let_go(backend))
    return answer


@definitions_live.around("ecs:ListTaskDefinitions")
def _list(call: Call, proceed: Proceed) -> Any:
    if call.get("status", "ACTIVE") != "DELETE_IN_PROGRESS":
        return proceed()
    family = call.get("familyPrefix")
    kept = memory(backend_of(call), LeavingDefinitions).values()
    arns = [each.definition.arn for each in kept if family in (None, each.definition.family)]
    return ActionResult({"taskDefinitionArns": arns})


def let_go(backend: EC2ContainerServiceBackend) -> None:
    """Forget definitions that are being deleted and that no task needs any more."""
    leaving = memory(backend, LeavingDefinitions)
    needed = {
        task.task_definition_arn
        for tasks in backend.tasks.values()
        for task in tasks.values()
        if task.last_status != "STOPPED"
    }
    for arn, each in list(leaving.items()):
        if arn not in needed and clock.now() >= each.gone_at:
            del leaving[arn]


@around("ecs:ListTaskDefinitionFamilies")
def families_that_are(call: Call, proceed: Proceed) -> Any:
    """ListTaskDefinitionFamilies shows families with an ACTIVE definition (or, status INACTIVE, those
    without; ALL). moto shows every name it ever heard. Source: botocore, ecs ListTaskDefinitionFamilies.
    """
    status, prefix = call.get("status", "ACTIVE"), call.get("familyPrefix", "")
    backend = backend_of(call)

    def shown() -> Iterator[str]:
        for family, held in backend.task_definitions.items():
            active = any(each.status == "ACTIVE" for each in held.values())
            fits = status == "ALL" or active == (status == "ACTIVE")
            if held and fits and family.startswith(prefix):
                yield family

    return ActionResult({"families": sorted(shown())})
