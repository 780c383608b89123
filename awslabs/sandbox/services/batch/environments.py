"""Compute environments: what a request must hold, and their life.

    CREATING --20 s--> VALID, or INVALID with a reason         all times times `slow_states`
    UpdateComputeEnvironment: UPDATING --10 s--> VALID or INVALID
    DeleteComputeEnvironment: DELETING --20 s, and its instances are terminated--> absent

A role that is too fresh, or deleted too early, makes an environment INVALID: AWS accepts it at first. Another
update lets Batch look again. Without its service role an environment cannot even be deleted: it comes back
from DELETING as INVALID. Source: aws-facts (a), (b), (g); AWS Batch user guide, "INVALID compute
environment"; the times are unsourced.
"""

from __future__ import annotations

import functools
import uuid
from typing import Any

from moto.ec2.models.instance_types import INSTANCE_TYPES

from awslabs.sandbox.core.engine import Call, Proceed, scaled
from awslabs.sandbox.services.batch.api import (
    answers,
    batch,
    by_name,
    check_at_rest,
    check_name,
    check_tags,
    chosen,
    invalid,
    not_here,
    page,
    refuse,
)
from awslabs.sandbox.services.batch.records import AFTER_CHANGES, Batch, Environment, batch_of
from awslabs.sandbox.services.iam import identities, permissions

CREATING_S, UPDATING_S, DELETING_S = 20.0, 10.0, 20.0
AGAIN_S = 0.05  # at least, until the end of instances is looked for again
MOST = 50  # Source: AWS Batch user guide, "AWS Batch service quotas"

SERVICE = "batch.amazonaws.com"
SERVICE_LINKED = "AWSServiceRoleForBatch"
STRATEGIES = {
    "EC2": ("BEST_FIT", "BEST_FIT_PROGRESSIVE", "BEST_FIT_PROGRESSIVE_ORDERED"),
    "SPOT": (
        *("BEST_FIT", "BEST_FIT_PROGRESSIVE", "SPOT_CAPACITY_OPTIMIZED"),
        *("SPOT_PRICE_CAPACITY_OPTIMIZED", "SPOT_CAPACITY_OPTIMIZED_PRIORITIZED"),
    ),
}
IMAGE_TYPES = ("ECS_AL2023", "ECS_AL2023_NVIDIA")
OLD_IMAGE_TYPES = ("ECS_AL1", "ECS_AL2", "ECS_AL2_NVIDIA")  # no new ones since 2026-06-30: aws-facts (g)
CHOSEN_BY_BATCH = {
    "optimal": ("m6i", "c6i", "r6i", "c7i"),
    "default_x86_64": ("m6i", "c6i", "r6i", "c7i"),
    "default_arm64": ("m6g", "c6g", "r6g", "c7g"),
}
"""Families behind a word. Source: botocore, ComputeResource."""

SCALING = {"minvCpus", "maxvCpus", "desiredvCpus"}  # can be changed whatever the allocation strategy
UNKNOWN_RESOURCES = {"launchTemplate", "placementGroup", "managedInstancesProvider", "capacityTags"}


# --- reading a request --------------------------------------------------------------------------------


def types_of(resources: dict[str, Any]) -> tuple[str, ...]:
    """The instance types that an environment may start, smallest first: GPUs, vCPUs, memory."""
    return _types_of(tuple(resources["instanceTypes"]))


@functools.lru_cache(maxsize=256)
def _types_of(listed: tuple[str, ...]) -> tuple[str, ...]:
    found: set[str] = set()
    for asked in listed:
        if asked in INSTANCE_TYPES:
            found.add(asked)
        else:
            families = CHOSEN_BY_BATCH.get(asked, (asked,))
            found |= {
                name for name in INSTANCE_TYPES if name.partition(".")[0] in families and "metal" not in name
            }
    return tuple(sorted(found, key=lambda name: (gpus_of(name), *size_of(name), name)))


def size_of(instance_type: str) -> tuple[int, int]:
    """vCPUs and MiB of a type."""
    known = INSTANCE_TYPES[instance_type]
    return known["VCpuInfo"]["DefaultVCpus"], known["MemoryInfo"]["SizeInMiB"]


def architecture_of(instance_type: str) -> str:
    """Of a type, as images call it."""
    arm = "arm64" in INSTANCE_TYPES[instance_type]["ProcessorInfo"]["SupportedArchitectures"]
    return "arm64" if arm else "amd64"


def gpus_of(instance_type: str) -> int:
    listed = INSTANCE_TYPES[instance_type].get("GpuInfo", {}).get("Gpus", [])
    return sum(gpu["Count"] for gpu in listed if gpu.get("Manufacturer") == "NVIDIA")


def _check_resources(store: Batch, resources: dict[str, Any]) -> None:
    """Whether ``computeResources`` make sense; a default is filled in."""
    kind = resources["type"]
    if kind not in STRATEGIES:
        raise not_here(f"compute resources of type {kind}: EC2 and SPOT alone")
    for name in sorted(UNKNOWN_RESOURCES & resources.keys()):
        raise not_here(f"{name} in computeResources")
    for name, text in (
        ("minvCpus", "Resource minvCpus is required."),
        ("instanceRole", "Instance role is required."),
        ("instanceTypes", "Instance types are required."),
        ("subnets", "Resource subnets is required."),
        ("securityGroupIds", "Resource securityGroupIds is required."),
    ):
        if resources.get(name) in (None, [], ""):
            raise invalid(text)
    _check_vcpus(resources)
    strategy = resources.setdefault("allocationStrategy", "BEST_FIT")
    if strategy not in STRATEGIES[kind]:
        raise invalid(f"Allocation strategy {strategy} is not applicable for {kind} compute resources")
    for asked in resources["instanceTypes"]:
        if not types_of({"instanceTypes": [asked]}):
            raise invalid(f"Instance type {asked} is not supported")
    _check_spot(resources, kind, strategy)
    _check_images(store, resources)
    _check_network(store, resources)
    if (key := resources.get("ec2KeyPair")) is not None and key not in store.ec2.key_pairs:
        raise invalid(f"The key pair '{key}' does not exist")
    check_tags(resources.get("tags", {}))
    delay = resources.get("scalingPolicy", {}).get("minScaleDownDelayMinutes")
    if delay is not None and delay != 0 and not 20 <= delay <= 10_080:
        raise invalid("minScaleDownDelayMinutes must be between 20 and 10080")


def _check_vcpus(resources: dict[str, Any]) -> None:
    least, most = resources["minvCpus"], resources["maxvCpus"]
    if least < 0 or most < 1 or least > most:
        raise invalid("minvCpus must be at least 0, and maxvCpus at least 1 and not below minvCpus")
    if not least <= resources.get("desiredvCpus", least) <= most:
        raise invalid("desiredvCpus must be between minvCpus and maxvCpus")


def _check_spot(resources: dict[str, Any], kind: str, strategy: str) -> None:
    bid, fleet_role = resources.get("bidPercentage"), resources.get("spotIamFleetRole")
    if kind == "EC2" and bid is not None:
        raise invalid("bidPercentage is only applicable for SPOT compute resources")
    if kind == "EC2" and fleet_role is not None:
        raise invalid("spotIamFleetRole is only applicable for SPOT compute resources")
    if bid is not None and not 1 <= bid <= 100:
        raise invalid("bidPercentage must be between 1 and 100")
    if kind == "SPOT" and strategy == "BEST_FIT" and not fleet_role:
        raise invalid("spotIamFleetRole is required for SPOT compute resources with BEST_FIT")


def _check_images(store: Batch, resources: dict[str, Any]) -> None:
    listed = resources.get("ec2Configuration")
    if listed is not None and not 1 <= len(listed) <= 2:
        raise invalid("ec2Configuration must have one or two entries")
    for entry in listed or []:
        kind = entry["imageType"]
        if kind in OLD_IMAGE_TYPES and "imageIdOverride" not in entry:
            raise invalid(f"Image type {kind} is no longer supported for new compute environments")
        if kind not in (*IMAGE_TYPES, *OLD_IMAGE_TYPES):
            raise invalid(f"Image type {kind} is not supported")
    for image_id in [resources.get("imageId"), *(entry.get("imageIdOverride") for entry in listed or [])]:
        if image_id is not None and image_id not in store.ec2.amis:
            raise invalid(f"The image id '[{image_id}]' does not exist")


def _check_network(store: Batch, resources: dict[str, Any]) -> None:
    """Unknown subnets and groups, or those of several VPCs. That Batch looks at once is unsourced."""
    networks = set()
    for subnet_id in resources["subnets"]:
        subnet = find_subnet(store, subnet_id)
        if subnet is None:
            raise invalid(f"The subnet ID '{subnet_id}' does not exist")
        networks.add(subnet.vpc_id)
    for group_id in resources["securityGroupIds"]:
        group = store.ec2.get_security_group_from_id(group_id)
        if group is None:
            raise invalid(f"The security group '{group_id}' does not exist")
        networks.add(group.vpc_id)
    if len(networks) > 1:
        raise invalid("Subnets and security groups must belong to the same VPC")


def find_subnet(store: Batch, subnet_id: str) -> Any:
    """moto's subnet, or None."""
    return next((each[subnet_id] for each in store.ec2.subnets.values() if subnet_id in each), None)


# --- roles --------------------------------------------------------------------------------------------


def profile_of(store: Batch, environment: Environment) -> Any:
    """moto's instance profile of an environment, or None."""
    return identities.find_instance_profile(store.iam, environment.resources["instanceRole"])


def instance_role(store: Batch, environment: Environment) -> Any:
    """moto's role of its instances, or None."""
    profile = profile_of(store, environment)
    return profile.roles[0] if profile is not None and profile.roles else None


def _role_arn(store: Batch, asked: str | None) -> str:
    """The ARN of the service role: the one that is named, or the service-linked one, made if need be."""
    if asked is None:
        return _service_linked_role(store)
    if asked.startswith("arn:"):
        return asked
    role = identities.find_role(store.iam, asked)
    return role.arn if role is not None else f"arn:aws:iam::{store.account}:role/{asked}"


def _service_linked_role(store: Batch) -> str:
    role = identities.find_role(store.iam, SERVICE_LINKED)
    if role is None:
        role = store.iam.create_service_linked_role(SERVICE, "", "")
        role.name = SERVICE_LINKED
    return str(role.arn)


def _may_not(store: Batch, environment: Environment) -> str:
    """Why Batch can do nothing with its service role; empty: it can."""
    role = identities.find_role(store.iam, environment.service_role)
    if role is not None and role.name == SERVICE_LINKED:
        return ""
    if role is None or not identities.assumable(store.account, environment.service_role, SERVICE):
        return (
            "CLIENT_ERROR - Not authorized to perform sts:AssumeRole (Service: AWSSecurityTokenService; "
            f"Status Code: 403; Error Code: AccessDenied; Request ID: {uuid.uuid4()})"
        )
    cluster = store.arn("cluster/*", "ecs")
    if not permissions.allows_by_now(store.account, role.arn, "ecs:CreateCluster", cluster, store.region):
        who = f"arn:aws:sts::{store.account}:assumed-role/{role.name}/aws-batch"
        what = f"ecs:CreateCluster on resource: {cluster}"
        return f"CLIENT_ERROR - User: {who} is not authorized to perform: {what}"
    return ""


def trouble(store: Batch, environment: Environment) -> str:
    """Why an environment cannot be VALID, in Batch's words; empty: it can."""
    if reason := _may_not(store, environment):
        return reason
    resources = environment.resources
    profile = profile_of(store, environment)
    known = profile is not None and profile.roles and identities.usable(profile)
    if not known or not identities.usable(profile, "joined"):
        return _no_profile(resources["instanceRole"])
    fleet_role = resources.get("spotIamFleetRole")
    if fleet_role is not None and not identities.assumable(
        store.account, fleet_role, "spotfleet.amazonaws.com"
    ):
        return (
            "CLIENT_ERROR - Parameter: SpotFleetRequestConfig.IamFleetRole is invalid. (Service: AmazonEC2; "
            f"Status Code: 400; Error Code: InvalidSpotFleetRequestConfig; Request ID: {uuid.uuid4()})"
        )
    return lost(store, environment)


def _no_profile(name: str) -> str:
    return (
        f"CLIENT_ERROR - Invalid IamInstanceProfile: {name} (Service: AmazonAutoScaling; Status Code: 400; "
        f"Error Code: ValidationError; Request ID: {uuid.uuid4()})"
    )


def lost(store: Batch, environment: Environment) -> str:
    """What an environment has lost since it was VALID, in Batch's words; empty: nothing."""
    resources = environment.resources
    if identities.find_role(store.iam, environment.service_role) is None:
        return _may_not(store, environment)
    if instance_role(store, environment) is None:
        return _no_profile(resources["instanceRole"])
    for subnet_id in resources["subnets"]:
        if find_subnet(store, subnet_id) is None:
            return f"CLIENT_ERROR - The subnet ID '{subnet_id}' does not exist"
    for group_id in resources["securityGroupIds"]:
        if store.ec2.get_security_group_from_id(group_id) is None:
            return f"CLIENT_ERROR - The security group '{group_id}' does not exist"
    return ""


def look_after(store: Batch) -> None:
    """Let environments that have lost something be INVALID."""
    for environment in store.environments.values():
        if environment.status == "VALID" and (reason := lost(store, environment)):
            environment.status, environment.status_reason = "INVALID", reason


AFTER_CHANGES.append(look_after)


@batch.around("batch:*")
def _look_first(call: Call, proceed: Proceed) -> Any:
    """Batch notices by itself when a role goes; here it looks whenever somebody asks it something."""
    look_after(batch_of(call.account, call.region))
    return proceed()


# --- operations ---------------------------------------------------------------------------------------


def find(store: Batch, name: str) -> Environment:
    """An environment by name or ARN; refused where there is none."""
    return by_name(store, store.environments, "compute-environment", name)


@answers("CreateComputeEnvironment")
def create(store: Batch, asked: dict[str, Any]) -> dict[str, Any]:
    """CreateComputeEnvironment: it is CREATING, and looks at its roles when that is done."""
    name = asked["computeEnvironmentName"]
    check_name(name, "Compute environment name")
    if asked["type"] != "MANAGED":
        raise not_here("unmanaged compute environments")
    if "eksConfiguration" in asked:
        raise not_here("environments on EKS")
    if "unmanagedvCpus" in asked:
        raise invalid("unmanagedvCpus is not applicable for MANAGED compute environments")
    if "computeResources" not in asked:
        raise invalid("computeResources must be provided for a MANAGED compute environment")
    resources = dict(asked["computeResources"])
    _check_resources(store, resources)
    tags = check_tags(asked.get("tags", {}))
    if name in store.environments:
        raise invalid("Object already exists")
    if len(store.environments) >= MOST:
        raise invalid(f"The limit of {MOST} compute environments is reached")
    named = asked.get("serviceRole") or None
    unique = str(uuid.uuid4())
    cluster = f"AWSBatch-{name}-{unique}" if named is None else f"{name}_Batch_{unique}"
    environment = Environment(
        name=name,
        arn=store.arn(f"compute-environment/{name}"),
        resources=resources,
        service_role=_role_arn(store, named),
        state=asked.get("state", "ENABLED"),
        tags=tags,
        cluster_arn=store.arn(f"cluster/{cluster}", "ecs"),
        more={field: asked[field] for field in ("context", "ecsSettings") if field in asked},
        status_reason="ComputeEnvironment Creating",
        uuid=unique,
        wanted_vcpus=resources.get("desiredvCpus", 0),
    )
    store.environments[name] = environment
    store.later(scaled(CREATING_S), functools.partial(_settle, store, environment))
    return {"computeEnvironmentName": name, "computeEnvironmentArn": environment.arn}


def _settle(store: Batch, environment: Environment) -> None:
    """The end of CREATING and UPDATING."""
    reason = trouble(store, environment)
    environment.status = "INVALID" if reason else "VALID"
    environment.status_reason = reason or "ComputeEnvironment Healthy"
    store.wake()


@answers("DescribeComputeEnvironments")
def describe(store: Batch, asked: dict[str, Any]) -> dict[str, Any]:
    """DescribeComputeEnvironments: those that are named, or all; one that is not there is left out."""
    found = chosen(store.environments, asked.get("computeEnvironments"), "compute environments")
    return page([_show(each) for each in found], asked, 100, "computeEnvironments")


def _show(environment: Environment) -> dict[str, Any]:
    resources = dict(environment.resources)
    resources["desiredvCpus"] = max(resources["minvCpus"], environment.vcpus)
    resources.setdefault("tags", {})
    # What Batch takes when nobody says: since 2026-01-12 ECS_AL2023_NVIDIA for types with a GPU.
    usual = "ECS_AL2023_NVIDIA" if any(map(gpus_of, types_of(resources))) else "ECS_AL2023"
    resources.setdefault("ec2Configuration", [{"imageType": usual}])
    return {
        "computeEnvironmentName": environment.name,
        "computeEnvironmentArn": environment.arn,
        "ecsClusterArn": environment.cluster_arn,
        "tags": environment.tags,
        "type": "MANAGED",
        "state": environment.state,
        "status": environment.status,
        "statusReason": environment.status_reason,
        "computeResources": resources,
        "serviceRole": environment.service_role,
        "updatePolicy": environment.more.get(
            "updatePolicy", {"terminateJobsOnUpdate": False, "jobExecutionTimeoutMinutes": 30}
        ),
        "containerOrchestrationType": "ECS",
        "uuid": environment.uuid,
    } | {field: environment.more[field] for field in ("context", "ecsSettings") if field in environment.more}


@answers("UpdateComputeEnvironment")
def update(store: Batch, asked: dict[str, Any]) -> dict[str, Any]:
    """UpdateComputeEnvironment: UPDATING, and then Batch looks at the roles anew."""
    environment = find(store, asked["computeEnvironment"])
    check_at_rest(environment, "update")
    changes = dict(asked.get("computeResources", {}))
    resources = environment.resources | changes
    infrastructure = {
        name for name, value in changes.items() if value != environment.resources.get(name)
    } - SCALING
    if infrastructure and environment.resources["allocationStrategy"] == "BEST_FIT":
        raise invalid(
            f"{', '.join(sorted(infrastructure))} cannot be updated with allocation strategy BEST_FIT"
        )
    if "maxvCpus" in changes and "desiredvCpus" not in changes:
        resources.pop("desiredvCpus", None)
    _check_resources(store, resources)
    environment.resources = resources
    environment.wanted_vcpus = changes.get("desiredvCpus", 0)
    environment.state = asked.get("state", environment.state)
    if "serviceRole" in asked:
        environment.service_role = _role_arn(store, asked["serviceRole"] or None)
    environment.more |= {field: asked[field] for field in ("updatePolicy", "context") if field in asked}
    for host in environment.hosts:
        host.draining = host.draining or bool(infrastructure)
    environment.status, environment.status_reason = "UPDATING", "ComputeEnvironment Updating"
    store.later(scaled(UPDATING_S), functools.partial(_settle, store, environment))
    return {"computeEnvironmentName": environment.name, "computeEnvironmentArn": environment.arn}


@answers("DeleteComputeEnvironment")
def delete(store: Batch, asked: dict[str, Any]) -> dict[str, Any]:
    """DeleteComputeEnvironment: only when it is DISABLED, at rest, and in no queue."""
    environment = find(store, asked["computeEnvironment"])
    check_at_rest(environment, "delete")
    if any(environment.name in queue.order for queue in store.queues.values()):
        raise refuse("Cannot delete, found existing JobQueue relationship")
    environment.status, environment.status_reason = "DELETING", "ComputeEnvironment Deleting"
    store.later(scaled(DELETING_S), functools.partial(_end, store, environment))
    return {}


def _end(store: Batch, environment: Environment) -> None:
    """The end of DELETING: without its role Batch cannot end the instances, and they keep what they use."""
    if reason := _may_not(store, environment):
        environment.status, environment.status_reason = "INVALID", reason
        return
    for host in environment.hosts:
        if host.up:
            host.instance.terminate()
    if any(host.instance.state != "terminated" for host in environment.hosts):
        store.later(max(AGAIN_S, scaled(1.0)), functools.partial(_end, store, environment))
        return
    del store.environments[environment.name]
