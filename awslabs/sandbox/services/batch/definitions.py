"""Job definitions: revisions, what they must hold, and how a job reads them."""

from __future__ import annotations

import json
from typing import Any

from awslabs.sandbox.services.batch.api import (
    answers,
    check_name,
    check_role,
    check_tags,
    invalid,
    not_here,
    page,
    refuse,
)
from awslabs.sandbox.services.batch.records import Batch, Definition

BYTES = 24 * 1024  # Source: AWS Batch user guide, "AWS Batch service quotas"
LEAST_TIMEOUT_S = 60
ATTEMPTS = (1, 10)
RULES = 5
DRIVERS = ("awslogs",)
MISSING_ROOM = {
    "volumes": "volumes",
    "mountPoints": "mount points",
    "secrets": "secrets",
    "networkConfiguration": "network configurations",
    "fargatePlatformConfiguration": "Fargate",
    "ephemeralStorage": "ephemeral storage",
    "repositoryCredentials": "repository credentials",
    "instanceType": "multi-node jobs",
}


def check_timeout(timeout: dict[str, Any] | None) -> int | None:
    """Seconds of a timeout, at least 60; None: none."""
    if timeout is None:
        return None
    seconds = timeout.get("attemptDurationSeconds")
    if seconds is None or seconds < LEAST_TIMEOUT_S:
        raise invalid(f"attemptDurationSeconds must be at least {LEAST_TIMEOUT_S}")
    return int(seconds)


def check_retries(strategy: dict[str, Any] | None) -> tuple[int, list[dict[str, str]]]:
    """Attempts, and when there is another one."""
    if strategy is None:
        return 1, []
    attempts, rules = strategy.get("attempts"), strategy.get("evaluateOnExit", [])
    if attempts is None:
        raise invalid("RetryAttempts must be provided with retry strategy")
    if not ATTEMPTS[0] <= attempts <= ATTEMPTS[1]:
        raise invalid(f"RetryAttempts must be between {ATTEMPTS[0]} and {ATTEMPTS[1]}")
    if len(rules) > RULES:
        raise invalid(f"evaluateOnExit can have at most {RULES} entries")
    for each in rules:
        patterns = [each.get(name) for name in ("onStatusReason", "onReason", "onExitCode")]
        for pattern in patterns:
            if pattern is not None and (len(pattern) > 512 or "*" in pattern[:-1]):
                raise invalid(f"evaluateOnExit pattern {pattern!r} may have an asterisk at its end only")
        code = each.get("onExitCode")
        if code is not None and not code.rstrip("*").isdecimal() and code != "*":
            raise invalid(f"evaluateOnExit onExitCode {code!r} must be a number")
        if not any(patterns):
            raise invalid("evaluateOnExit needs onStatusReason, onReason or onExitCode")
    return int(attempts), rules


def check_requirements(listed: list[dict[str, str]]) -> None:
    """Each kind once, and whole numbers."""
    if len({each["type"] for each in listed}) < len(listed):
        raise invalid("resourceRequirements have each type once")
    for each in listed:
        if not each["value"].isdecimal():
            raise invalid(
                f"resourceRequirements {each['type']} {each['value']!r} must be a whole number for EC2"
            )


def resources(container: dict[str, Any]) -> tuple[int, int, int]:
    """vCPUs, MiB and GPUs that a container asks for.

    Raises
    ------
    Refused
        When vCPUs or memory are missing, named twice, or no numbers that EC2 can give.
    """
    found = {"VCPU": container.get("vcpus"), "MEMORY": container.get("memory"), "GPU": None}
    check_requirements(container.get("resourceRequirements", []))
    found |= {each["type"]: int(each["value"]) for each in container.get("resourceRequirements", [])}
    vcpus, memory, gpus = found["VCPU"], found["MEMORY"], found["GPU"]
    if vcpus is None or memory is None:
        raise invalid("Container properties should specify vcpus and memory")
    if vcpus < 1:
        raise invalid("vcpus must be at least 1")
    if memory < 4:
        raise invalid("memory must be at least 4 MiB")
    if gpus is not None and gpus < 1:
        raise invalid("GPU must be at least 1")
    return vcpus, memory, gpus or 0


def check_environment(variables: list[dict[str, str]]) -> None:
    """Names that a job may give its variables."""
    for each in variables:
        name = each.get("name", "")
        if not name or name.upper().startswith("AWS_BATCH"):
            raise invalid(f"Environment variable {name!r}: names cannot be empty or start with AWS_BATCH")


def _check_container(store: Batch, container: dict[str, Any]) -> None:
    image = container.get("image", "")
    if not image or len(image) > 255:
        raise invalid("Container properties should specify an image of at most 255 characters")
    for name, what in MISSING_ROOM.items():
        if container.get(name):
            raise not_here(f"job definitions with {what}")
    resources(container)
    check_environment(container.get("environment", []))
    for name in ("jobRoleArn", "executionRoleArn"):
        check_role(container.get(name), store.account, name)
    logs = container.get("logConfiguration")
    if logs is not None and logs["logDriver"] not in DRIVERS:
        raise not_here(f"log driver {logs['logDriver']}: awslogs alone")


def numbers(store: Batch, name: str) -> tuple[str, int | None]:
    """Name and revision of ``NAME``, ``NAME:REVISION`` or an ARN."""
    plain = name.rpartition("/")[2] if name.startswith("arn:") else name
    plain, colon, revision = plain.partition(":")
    if not colon:
        return plain, None
    if not revision.isdecimal():
        raise invalid(f"JobDefinition {name} has no valid revision")
    return plain, int(revision)


def find(store: Batch, name: str) -> Definition:
    """The definition that a job names; without a revision the latest active one.

    Raises
    ------
    Refused
        When there is none that is ACTIVE.
    """
    plain, revision = numbers(store, name)
    known = store.definitions.get(plain, [])
    active = [each for each in known if each.status == "ACTIVE" and revision in (None, each.revision)]
    if not active:
        raise invalid(f"JobDefinition {name} does not exist or is not ACTIVE")
    return active[-1]


@answers("RegisterJobDefinition")
def register(store: Batch, asked: dict[str, Any]) -> dict[str, Any]:
    """RegisterJobDefinition: another revision each time."""
    name = asked["jobDefinitionName"]
    check_name(name, "Job definition name")
    if asked["type"] != "container" or "nodeProperties" in asked:
        raise not_here("multi-node jobs")
    for field in ("eksProperties", "ecsProperties", "consumableResourceProperties"):
        if field in asked:
            raise not_here(f"job definitions with {field}")
    if asked.get("platformCapabilities", ["EC2"]) != ["EC2"]:
        raise not_here("job definitions for Fargate")
    if "containerProperties" not in asked:
        raise invalid("Container properties should not be empty")
    if len(json.dumps(asked)) > BYTES:
        raise invalid(f"Job definition cannot be larger than {BYTES} bytes")
    _check_container(store, asked["containerProperties"])
    check_timeout(asked.get("timeout"))
    check_retries(asked.get("retryStrategy"))
    tags = check_tags(asked.get("tags", {}))
    known = store.definitions.setdefault(name, [])
    revision = len(known) + 1
    definition = Definition(name, store.arn(f"job-definition/{name}:{revision}"), revision, asked, tags)
    known.append(definition)
    return {"jobDefinitionName": name, "jobDefinitionArn": definition.arn, "revision": revision}


@answers("DeregisterJobDefinition")
def deregister(store: Batch, asked: dict[str, Any]) -> dict[str, Any]:
    """DeregisterJobDefinition: INACTIVE; AWS forgets it after 180 days."""
    plain, revision = numbers(store, asked["jobDefinition"])
    if revision is None:
        raise invalid("Job definition revision should be specified")
    for definition in store.definitions.get(plain, []):
        if definition.revision == revision:
            definition.status = "INACTIVE"
            return {}
    raise refuse(f"{store.arn(f'job-definition/{plain}:{revision}')} does not exist")


@answers("DescribeJobDefinitions")
def describe(store: Batch, asked: dict[str, Any]) -> dict[str, Any]:
    """DescribeJobDefinitions by ARN or NAME:REVISION, by name, by status; newest first."""
    names = asked.get("jobDefinitions")
    if names and len(names) > 100:
        raise invalid("Maximum number of job definitions supported is 100")
    every = [each for known in store.definitions.values() for each in reversed(known)]
    if names:
        wanted = {numbers(store, name) for name in names}
        every = [each for each in every if {(each.name, each.revision), (each.name, None)} & wanted]
    if (name := asked.get("jobDefinitionName")) is not None:
        every = [each for each in every if each.name == name]
    if (status := asked.get("status")) is not None:
        every = [each for each in every if each.status == status]
    return page([_show(each) for each in every], asked, 100, "jobDefinitions")


def _show(definition: Definition) -> dict[str, Any]:
    asked = definition.asked
    container = {
        "environment": [],
        "mountPoints": [],
        "ulimits": [],
        "volumes": [],
        "secrets": [],
        "command": [],
        "resourceRequirements": [],
        **asked["containerProperties"],
    }
    shown = {
        "jobDefinitionName": definition.name,
        "jobDefinitionArn": definition.arn,
        "revision": definition.revision,
        "status": definition.status,
        "type": "container",
        "parameters": asked.get("parameters", {}),
        "containerProperties": container,
        "tags": definition.tags,
        "propagateTags": asked.get("propagateTags", False),
        "platformCapabilities": ["EC2"],
        "containerOrchestrationType": "ECS",
    }
    return shown | {
        name: asked[name] for name in ("retryStrategy", "timeout", "schedulingPriority") if name in asked
    }
