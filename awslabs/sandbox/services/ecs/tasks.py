"""ECS on Fargate: tasks, from RunTask to STOPPED.

    RunTask --> PROVISIONING      its network interface is made                    5 s
            --> PENDING           image, log stream: may the execution role?       the pull, at least 2 s
            --> RUNNING           a `Runner` runs the containers
            --> STOPPING          StopTask, or an essential container has ended
            --> DEPROVISIONING    the interface goes                               4 s
            --> STOPPED           describable for an hour

The seconds are those of `slow_states` 1 (AWS takes longer: half a minute to RUNNING). moto's own tasks step
with each look, run nothing and keep their interface for ever, so a task here is an object of this module,
kept where moto keeps its own. What runs it is `runner`: in the server `running_tasks`. Under
`mock_aws` there is none, and moto alone answers; where a test asks for these rules a task is a record,
RUNNING until it is stopped.

Source: ECS developer guide, "Amazon ECS task lifecycle" and "Stopped tasks error codes"; aws-facts (a) to
(g), (j); messages as quoted in public issues.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any, Protocol

from moto.core.responses import ActionResult
from moto.core.utils import camelcase_to_underscores
from moto.ec2.models import ec2_backends
from moto.ec2.models.elastic_network_interfaces import NetworkInterface
from moto.ecs.models import Cluster, EC2ContainerServiceBackend, TaskDefinition
from moto.ecs.responses import DESCRIBE_TASKS_TAGS

from awslabs.sandbox.core import weather
from awslabs.sandbox.core.engine import (
    Call,
    Proceed,
    Refused,
    before,
    clock,
    later,
    memory,
    rule,
    scaled,
    spaced,
    state,
)
from awslabs.sandbox.core.rates import Rate, admit
from awslabs.sandbox.services.ecs import task_definitions
from awslabs.sandbox.services.ecs.task_definitions import backend_of, invalid, refuse, units
from awslabs.sandbox.services.iam import identities
from awslabs.sandbox.services.servicequotas import quotas

PROVISIONING_S = 5.0
PENDING_S = 2.0
DEPROVISIONING_S = 4.0
KEPT_S = 3600.0  # how long a stopped task is shown. Source: botocore, ecs DescribeTasks
SERVICE = "ecs-tasks.amazonaws.com"
MOST_TASKS = 10
MOST_OVERRIDES = 8192
ON_DEMAND, SPOT = "L-3032A538", "L-36FBB829"

CAPACITY = "Capacity is unavailable at this time. Please try again later or in a different availability zone"
NO_VCPUS = (
    "You’ve reached the limit on the number of vCPUs you can run concurrently. For more information, see the "
    "Troubleshooting section of the Amazon ECS Developer Guide."
)


class Runner(Protocol):
    """What lets tasks run for real. Called with the lock held: it must return at once.

    It tells what happens by `Task.running`, `Task.container_ended` and `Task.failed`.
    """

    def start(self, task: Task) -> None:
        """The task is PENDING: pull its images and run its containers."""

    def stop(self, task: Task) -> None:
        """End what still runs of the task: SIGTERM, and SIGKILL after each container's `stopTimeout`."""


runner: Runner | None = None


# --- a task -------------------------------------------------------------------------------------------


@dataclass
class Container:
    """One container of a task.

    Attributes
    ----------
    name : str
    definition : dict
        As the task definition has it.
    override : dict
        What RunTask said about it.
    status : str
        PENDING, RUNNING or STOPPED.
    """

    name: str
    definition: dict[str, Any]
    override: dict[str, Any]
    id: str = field(default_factory=lambda: str(uuid.uuid4()))
    status: str = "PENDING"
    exit_code: int | None = None
    reason: str = ""
    digest: str = ""

    @property
    def essential(self) -> bool:
        return bool(self.definition.get("essential", True))

    @property
    def command(self) -> list[str] | None:
        """What follows the entry point; None: as the image says."""
        return self.override.get("command") or self.definition.get("command") or None

    @property
    def environment(self) -> dict[str, str]:
        """The variables of definition and override."""
        pairs = [*(self.definition.get("environment") or []), *(self.override.get("environment") or [])]
        return {each["name"]: each.get("value", "") for each in pairs}

    @property
    def log_options(self) -> dict[str, str]:
        """The options of awslogs; empty: it logs nowhere."""
        configuration = self.definition.get("logConfiguration") or {}
        return (configuration.get("options") or {}) if configuration.get("logDriver") == "awslogs" else {}


class Task:
    """A task of Fargate. The caller of its methods holds the lock.

    moto finds its own tasks' attributes here: `task_arn`, `cluster_arn`, `task_definition_arn`, `started_by`,
    `desired_status`, `last_status`, `tags`.
    """

    def __init__(
        self,
        backend: EC2ContainerServiceBackend,
        cluster: Cluster,
        definition: TaskDefinition,
        asked: dict[str, Any],
        interface: NetworkInterface,
        provider: str,
    ) -> None:
        self.backend, self.definition = backend, definition
        self.interface, self.provider = interface, provider
        self.id = uuid.uuid4().hex
        self.account, self.region = backend.account_id, backend.region_name
        self.ec2 = ec2_backends[self.account][self.region]  # its interfaces; the clock of what comes later
        self.cluster_name, self.cluster_arn = cluster.name, cluster.arn
        self.task_arn = f"arn:aws:ecs:{self.region}:{self.account}:task/{cluster.name}/{self.id}"
        self.task_definition_arn = definition.arn
        self.overrides: dict[str, Any] = asked.get("overrides") or {}
        self.started_by = asked.get("startedBy") or ""
        self.group = asked.get("group") or f"family:{definition.family}"
        self.platform_version = asked.get("platformVersion") or "LATEST"
        self.tags: list[dict[str, str]] = list(asked.get("tags") or [])
        if asked.get("propagateTags") == "TASK_DEFINITION":
            own = {tag["key"] for tag in self.tags}
            self.tags += [tag for tag in definition.tags if tag["key"] not in own]
        self.container_instance_arn = None
        self.desired_status, self.last_status = "RUNNING", "PROVISIONING"
        self.stop_code, self.stopped_reason = "", ""
        self.times: dict[str, float] = {"createdAt": clock.now()}
        self.version = 1
        self.launched = False
        self.attachment_id = str(uuid.uuid4())
        self.attachment_status = "ATTACHING"
        said: dict[str, Any] = {each["name"]: each for each in self.overrides.get("containerOverrides") or []}
        defined: list[dict[str, Any]] = definition.container_definitions
        self.containers = [Container(each["name"], each, said.get(each["name"], {})) for each in defined]

    # what is the task's own, or overridden

    @property
    def cpu(self) -> int:
        """CPU units: 1024 are one vCPU."""
        return units(self.overrides.get("cpu"), "vcpu") or int(self.definition.cpu or 256)

    @property
    def memory_mib(self) -> int:
        return units(self.overrides.get("memory"), "gb") or int(self.definition.memory or 512)

    @property
    def task_role(self) -> str:
        """ARN, or empty."""
        return role_of("taskRoleArn", self.overrides, self.definition)

    @property
    def execution_role(self) -> str:
        """ARN, or empty."""
        return role_of("executionRoleArn", self.overrides, self.definition)

    @property
    def going(self) -> bool:
        """Whether nobody has begun to stop it."""
        return self.desired_status == "RUNNING"

    # what happens to it

    def become(self, status: str, **times: float) -> None:
        """Enter a state."""
        self.last_status = status
        self.version += 1
        self.times.update(times)
        _count(self.backend, self.cluster_name)

    def provisioned(self) -> None:
        """Its interface is there: on to the image."""
        if self.last_status != "PROVISIONING" or not self.going:
            return
        self.attachment_status = "ATTACHED"
        self.become("PENDING", connectivityAt=clock.now(), pullStartedAt=clock.now())
        later(self.ec2, scaled(PENDING_S), self.launch)

    def launch(self) -> None:
        """AWS has found a machine for it: its containers are started."""
        if not self.going:
            return
        self.launched = True
        if runner is not None:
            runner.start(self)
        else:
            self.running(self.containers)

    def running(self, containers: Iterable[Container]) -> None:
        """These containers run."""
        if self.last_status not in ("PENDING", "RUNNING"):
            return
        for container in containers:
            container.status = "RUNNING"
        if self.last_status == "PENDING" and all(each.status != "PENDING" for each in self.containers):
            now = clock.now()
            self.become("RUNNING", pullStoppedAt=now, startedAt=now)

    def container_ended(self, container: Container, exit_code: int | None, reason: str = "") -> None:
        """A container has ended, or never started (exit code None)."""
        container.status, container.exit_code, container.reason = "STOPPED", exit_code, reason
        self.version += 1
        if self.going and exit_code is None:
            self.end("TaskFailedToStart", reason)
        elif self.going and (container.essential or self.over):
            self.end("EssentialContainerExited", "Essential container in task exited")
        elif not self.going and self.over:
            self.deprovision()

    @property
    def over(self) -> bool:
        """Whether all containers have ended."""
        return all(each.status == "STOPPED" for each in self.containers)

    def failed(self, reason: str) -> None:
        """It cannot start: ``ResourceInitializationError: ...``."""
        if not self.going:
            return
        for container in self.containers:
            container.status = "STOPPED"
        self.end("TaskFailedToStart", reason)

    def end(self, code: str, reason: str) -> None:
        """Stop it, for this reason."""
        if not self.going:
            return
        self.desired_status = "STOPPED"
        self.stop_code, self.stopped_reason = code, reason
        before = self.last_status
        self.times["stoppingAt"] = clock.now()
        if not self.launched or runner is None:
            for container in self.containers:
                container.status = "STOPPED"
                if before == "RUNNING":
                    container.exit_code = 143  # SIGTERM, which a record does not resist
        if self.over:
            self.deprovision()
            return
        self.become("STOPPING" if before == "RUNNING" else before)
        if runner is not None:  # else the practice cloud is closing
            runner.stop(self)

    def deprovision(self) -> None:
        """All has ended; the interface goes."""
        self.become("DEPROVISIONING", executionStoppedAt=clock.now())
        self.attachment_status = "DETACHING"
        later(self.ec2, scaled(DEPROVISIONING_S), self.stopped)

    def stopped(self) -> None:
        """The end."""
        self.attachment_status = "DELETED"
        if self.interface.id in self.ec2.enis:
            self.ec2.delete_network_interface(eni_id=self.interface.id)
        self.become("STOPPED", stoppedAt=clock.now())
        task_definitions.let_go(self.backend)
        later(self.ec2, KEPT_S, self.forget)

    def forget(self) -> None:
        """It is not shown any more."""
        self.backend.tasks.get(self.cluster_name, {}).pop(self.task_arn, None)

    # how it is shown

    def show(self, tags: bool = False) -> dict[str, Any]:
        """As DescribeTasks shows it."""
        eni = self.interface
        details = {
            "subnetId": eni.subnet.id,
            "networkInterfaceId": eni.id,
            "macAddress": eni.mac_address,
            "privateDnsName": getattr(eni, "private_dns_name", None),
            "privateIPv4Address": eni.private_ip_address,
        }
        shown: dict[str, Any] = {
            "attachments": [
                {
                    "id": self.attachment_id,
                    "type": "ElasticNetworkInterface",
                    "status": self.attachment_status,
                    "details": [{"name": name, "value": value} for name, value in details.items() if value],
                }
            ],
            "attributes": [{"name": "ecs.cpu-architecture", "value": "x86_64"}],
            "availabilityZone": eni.subnet.availability_zone,
            "clusterArn": self.cluster_arn,
            "containers": [self.show_container(each) for each in self.containers],
            "cpu": str(self.cpu),
            "desiredStatus": self.desired_status,
            "enableExecuteCommand": False,
            "ephemeralStorage": {"sizeInGiB": 20},
            "group": self.group,
            "healthStatus": "UNKNOWN",
            "lastStatus": self.last_status,
            "memory": str(self.memory_mib),
            "overrides": {"containerOverrides": [], "inferenceAcceleratorOverrides": [], **self.overrides},
            "platformFamily": "Linux",
            "platformVersion": "1.4.0" if self.platform_version == "LATEST" else self.platform_version,
            "taskArn": self.task_arn,
            "taskDefinitionArn": self.task_definition_arn,
            "version": self.version,
        }
        if tags and self.tags:
            shown["tags"] = self.tags
        if self.provider:
            shown["capacityProviderName"] = self.provider
        if self.provider in ("", "FARGATE"):
            shown["launchType"] = "FARGATE"
        if "connectivityAt" in self.times:
            shown["connectivity"] = "CONNECTED" if self.last_status != "STOPPED" else "DISCONNECTED"
        more = {
            "startedBy": self.started_by,
            "stopCode": self.stop_code,
            "stoppedReason": self.stopped_reason,
        }
        shown |= {name: value for name, value in more.items() if value}
        return shown | {name: datetime.fromtimestamp(at, timezone.utc) for name, at in self.times.items()}

    def show_container(self, each: Container) -> dict[str, Any]:
        own = self.interface.private_ip_address
        shown: dict[str, Any] = {
            "containerArn": f"{self.task_arn.replace(':task/', ':container/')}/{each.id}",
            "taskArn": self.task_arn,
            "name": each.name,
            "image": each.definition["image"],
            "lastStatus": each.status,
            "networkBindings": [],
            "networkInterfaces": [{"attachmentId": self.attachment_id, "privateIpv4Address": own}],
            "healthStatus": "UNKNOWN",
            "cpu": str(each.override.get("cpu") or each.definition.get("cpu") or 0),
        }
        if each.status != "PENDING":
            shown["runtimeId"] = f"{self.id}-{each.id[:10]}"
        for name in ("memory", "memoryReservation"):
            value = each.override.get(name) or each.definition.get(name)
            if value:
                shown[name] = str(value)
        more = {"exitCode": each.exit_code, "reason": each.reason or None, "imageDigest": each.digest or None}
        return shown | {name: value for name, value in more.items() if value is not None}


def role_of(which: str, overrides: dict[str, Any], definition: TaskDefinition) -> str:
    """The ARN of a task's role, or of its execution role; empty without one."""
    return overrides.get(which) or getattr(definition, camelcase_to_underscores(which), "") or ""


def tasks_of(backend: EC2ContainerServiceBackend) -> list[Task]:
    """All tasks that are still shown."""
    held: list[Any] = [task for tasks in backend.tasks.values() for task in tasks.values()]
    return [task for task in held if isinstance(task, Task)]


def _count(backend: EC2ContainerServiceBackend, cluster_name: str) -> None:
    """Keep the numbers that DescribeClusters shows."""
    cluster = backend.clusters.get(cluster_name)
    if cluster is not None:
        held = [task.last_status for task in tasks_of(backend) if task.cluster_arn == cluster.arn]
        cluster.running_tasks_count = held.count("RUNNING")
        cluster.pending_tasks_count = held.count("PROVISIONING") + held.count("PENDING")


# --- the calls ----------------------------------------------------------------------------------------


@state
class RunTokens(dict[str, tuple[str, list[Task]]]):
    """clientToken -> (what was asked, the tasks that came of it); `memory` of moto's ECS."""


tasks_run = rule(
    "tasks_run",
    """RunTask, DescribeTasks, ListTasks and StopTask as Fargate knows them: states that take their time, exit
    codes and reasons, an interface that goes with the task; a clientToken gives the same tasks (with other
    parameters: ConflictException); count over 10, overrides over 8192 characters, a missing network, an
    INACTIVE definition are refused; capacity and vCPUs that are not there come as `failures` in HTTP 200.

    moto: see the row "task life" of aws-facts (j). Weather: ``fargate:PlaceTask=Capacity`` is a task for
    which Fargate has no room. What a container asks for and the practice cloud has not, is a 501.""",
    runs=True,
)


@before("ecs:RunTask")
def run_task_rates(call: Call) -> None:
    """More than 20 calls per second, or 20 tasks per second after the first 100: ThrottlingException.
    moto answers any number. Source: aws-facts (f).
    """
    limits = {"calls": Rate(spaced(0.05), 20), "tasks": Rate(spaced(0.05), 100)}
    if not admit(backend_of(call), limits, tasks=call.get("count", 1)):
        raise Refused("ThrottlingException", "Rate exceeded")


@tasks_run.around("ecs:RunTask")
def _run_task(call: Call, proceed: Proceed) -> Any:
    asked = {name: call.get(name) for name in _ASKED if call.get(name) is not None}
    backend, token = backend_of(call), call.get("clientToken")
    digest = json.dumps(asked, sort_keys=True, default=str)
    known = memory(backend, RunTokens).get(token) if token else None
    if known is not None:
        if known[0] != digest:
            raise Refused(
                "ConflictException",
                "The request could not be processed because of a conflict: the clientToken was used with "
                "other parameters.",
            )
        return ActionResult({"tasks": [task.show(tags=True) for task in known[1]], "failures": []})
    cluster, definition, provider = _look(call, backend, asked)
    made: list[Task] = []
    failures: list[dict[str, str]] = []
    for _ in range(asked.get("count", 1)):
        reason = _no_place(call, backend, definition, asked, provider)
        if reason:
            failures.append({"reason": reason})
            continue
        interface = _interface(call, asked)
        task = Task(backend, cluster, definition, asked, interface, provider)
        interface.description = f"arn:aws:ecs:{call.region}:{call.account}:attachment/{task.attachment_id}"
        backend.tasks.setdefault(cluster.name, {})[task.task_arn] = task  # type: ignore[assignment]
        made.append(task)
        _count(backend, cluster.name)
        later(call.ec2, scaled(PROVISIONING_S), task.provisioned)
    if token and made:
        memory(backend, RunTokens)[token] = digest, made
    return ActionResult({"tasks": [task.show(tags=True) for task in made], "failures": failures})


_ASKED = (
    *("capacityProviderStrategy", "cluster", "count", "enableECSManagedTags", "enableExecuteCommand"),
    *("group", "launchType", "networkConfiguration", "overrides", "placementConstraints"),
    *("placementStrategy", "platformVersion", "propagateTags", "referenceId", "startedBy", "tags"),
    *("taskDefinition", "volumeConfigurations"),
)


def _look(
    call: Call, backend: EC2ContainerServiceBackend, asked: dict[str, Any]
) -> tuple[Cluster, TaskDefinition, str]:
    """What RunTask looks at before anything is made: cluster, definition, capacity provider."""
    cluster = find_cluster(backend, asked.get("cluster", "default"))
    if not 1 <= asked.get("count", 1) <= MOST_TASKS:
        raise invalid(f"Tasks count should be between 1 and {MOST_TASKS}.")
    definition = task_definitions.find(backend, asked["taskDefinition"])
    if definition is None:
        raise refuse("TaskDefinition not found.")
    if definition.status != "ACTIVE":
        raise refuse("TaskDefinition is inactive")
    provider = _provider(cluster, definition, asked)
    for name, most in (("startedBy", 128), ("clientToken", 64)):
        if len(call.get(name) or "") > most:
            raise invalid(f"{name} can have at most {most} characters.")
    if any(tag.get("key", "").lower().startswith("aws:") for tag in asked.get("tags") or []):
        raise invalid("Tag keys starting with 'aws:' are reserved for internal use.")
    overrides = asked.get("overrides") or {}
    _look_at_overrides(definition, overrides)
    _look_at_network(call, asked)
    for role in (role_of(which, overrides, definition) for which in ("taskRoleArn", "executionRoleArn")):
        source = f"arn:{call.partition}:ecs:{call.region}:{call.account}:*"
        if role and not identities.assumable(call.account, role, SERVICE, source_arn=source):
            raise refuse(
                f"ECS was unable to assume the role '{role}' that was provided for this task. Please verify "
                "that the role being passed has the proper trust relationship and permissions and that your "
                "IAM user has permissions to pass this role."
            )
    _look_at_containers(definition, asked)
    return cluster, definition, provider


def find_cluster(backend: EC2ContainerServiceBackend, name: str) -> Cluster:
    """An ACTIVE cluster by name or ARN."""
    cluster = backend.clusters.get(name.rpartition("/")[2])
    if cluster is None:
        raise Refused("ClusterNotFoundException", "Cluster not found.")
    if cluster.status != "ACTIVE":
        raise Refused("ClusterNotFoundException", "The referenced cluster was inactive.")
    return cluster


def _provider(cluster: Cluster, definition: TaskDefinition, asked: dict[str, Any]) -> str:
    """FARGATE or FARGATE_SPOT where a capacity provider strategy says so; empty: launchType FARGATE."""
    launch_type, strategy = asked.get("launchType"), asked.get("capacityProviderStrategy")
    if launch_type and strategy:
        raise invalid("Specify either launch type or capacity provider strategy, but not both.")
    if not launch_type:
        strategy = strategy or cluster.default_capacity_provider_strategy
    provider = max(strategy, key=lambda each: each.get("weight", 0))["capacityProvider"] if strategy else ""
    if provider and provider not in (cluster.capacity_providers or []):
        raise invalid(
            "The capacity provider strategy contains a capacity provider that is not associated with the "
            "cluster."
        )
    if launch_type != "FARGATE" and provider not in ("FARGATE", "FARGATE_SPOT"):
        raise invalid("No Container Instances were found in your cluster.")
    if "FARGATE" not in (definition.requires_compatibilities or []):
        raise invalid("Task definition does not support launch_type FARGATE.")
    return provider


def _look_at_overrides(definition: TaskDefinition, overrides: dict[str, Any]) -> None:
    """Overrides fit the definition, and into 8192 characters."""
    if len(json.dumps(overrides, separators=(",", ":"), ensure_ascii=False)) > MOST_OVERRIDES:
        raise invalid(f"Container Overrides length must be at most {MOST_OVERRIDES}")
    names = {each["name"] for each in definition.container_definitions}
    for each in overrides.get("containerOverrides") or []:
        if each.get("name") not in names:
            raise invalid(
                f"Override for container named {each.get('name')} is not a container in the TaskDefinition."
            )
    if "cpu" in overrides or "memory" in overrides:
        cpu = units(overrides.get("cpu") or definition.cpu, "vcpu")
        size = units(overrides.get("memory") or definition.memory, "gb")
        if size not in task_definitions.MEMORY.get(cpu or 0, ()):
            raise refuse("No Fargate configuration exists for given values.")


def _look_at_network(call: Call, asked: dict[str, Any]) -> None:
    """Subnets and security groups are there, and in one VPC."""
    network = (asked.get("networkConfiguration") or {}).get("awsvpcConfiguration")
    if not network:
        raise invalid("Network Configuration must be provided when networkMode 'awsvpc' is specified.")
    if not network.get("subnets"):
        raise invalid("subnets can not be empty.")
    held = {subnet.id: subnet for zone in call.ec2.subnets.values() for subnet in zone.values()}
    for subnet_id in network["subnets"]:
        if subnet_id not in held:
            raise invalid(
                f"Error retrieving subnet information for [{subnet_id}]: The subnet ID '{subnet_id}' does "
                "not exist (ErrorCode: InvalidSubnetID.NotFound)"
            )
    if len({held[subnet_id].vpc_id for subnet_id in network["subnets"]}) > 1:
        raise invalid("The subnets are in different VPCs.")
    vpc_id = held[network["subnets"][0]].vpc_id
    for group_id in network.get("securityGroups") or []:
        group = call.ec2.get_security_group_from_id(group_id)
        if group is None:
            raise invalid(
                f"Error retrieving security group information for [{group_id}]: The security group "
                f"'{group_id}' does not exist (ErrorCode: InvalidGroup.NotFound)"
            )
        if group.vpc_id != vpc_id:
            raise invalid(f"The security group {group_id} and the subnets are in different VPCs.")


# What changes how a container runs, and would go unheard here.
_UNHEARD = (
    *("secrets", "environmentFiles", "mountPoints", "volumesFrom", "dependsOn", "firelensConfiguration"),
    *("repositoryCredentials", "resourceRequirements", "healthCheck", "user", "ulimits", "restartPolicy"),
)


def _look_at_containers(definition: TaskDefinition, asked: dict[str, Any]) -> None:
    """Refuse to run a container otherwise than its definition says."""
    containers: list[dict[str, Any]] = definition.container_definitions
    for each in containers:
        unheard = [name for name in _UNHEARD if each.get(name)]
        driver = (each.get("logConfiguration") or {}).get("logDriver", "awslogs")
        unheard += [f"the log driver {driver}"] if driver != "awslogs" else []
        unheard += ["enableExecuteCommand"] if asked.get("enableExecuteCommand") else []
        if unheard:
            raise Refused("NotImplemented", f"The practice cloud runs no tasks with {', '.join(unheard)}.")


def _no_place(
    call: Call,
    backend: EC2ContainerServiceBackend,
    definition: TaskDefinition,
    asked: dict[str, Any],
    provider: str,
) -> str:
    """Why Fargate has no room for one more task; empty: it has."""
    fault = weather.current.draw("fargate:PlaceTask", call.account)
    if fault and fault not in (weather.CUT, weather.CUT_BEFORE):
        return CAPACITY if fault == "Capacity" else fault
    cpu = units((asked.get("overrides") or {}).get("cpu") or definition.cpu, "vcpu") or 256
    spot = provider == "FARGATE_SPOT"
    in_use = sum(
        task.cpu
        for task in tasks_of(backend)
        if task.last_status != "STOPPED" and (task.provider == "FARGATE_SPOT") == spot
    )
    limit = quotas.limit(call.account, call.region, "fargate", SPOT if spot else ON_DEMAND)
    return NO_VCPUS if (in_use + cpu) / 1024 > limit else ""


def _interface(call: Call, asked: dict[str, Any]) -> NetworkInterface:
    """The network interface of a task."""
    network = asked["networkConfiguration"]["awsvpcConfiguration"]
    subnet = call.ec2.get_subnet(network["subnets"][0])
    groups = network.get("securityGroups")
    if not groups:
        groups = [call.ec2.get_default_security_group(subnet.vpc_id).id]
    interface: NetworkInterface = call.ec2.create_network_interface(subnet, None, group_ids=groups)
    interface.status, interface.requester_managed = "in-use", True
    if network.get("assignPublicIp") == "ENABLED":
        interface.public_ip_auto_assign = True
        interface.start()
    return interface


@tasks_run.around("ecs:DescribeTasks")
def _describe_tasks(call: Call, proceed: Proceed) -> Any:
    backend, wanted = backend_of(call), call.get("tasks") or []
    name = call.get("cluster", "default").rpartition("/")[2]
    if name not in backend.clusters:
        raise Refused("ClusterNotFoundException", "Cluster not found.")
    if not wanted:
        raise invalid("Tasks cannot be empty.")
    if len(wanted) > 100:
        raise invalid("Tasks can have at most 100 items.")
    call.response._include_in_response(DESCRIBE_TASKS_TAGS)  # moto keeps it for all; `show` knows whether
    found, failures = [], []
    before_id = f"arn:aws:ecs:{call.region}:{call.account}:task/{name}/"
    for each in wanted:
        task = _find(backend, name, each)
        if task is not None:
            found.append(task.show(tags="TAGS" in (call.get("include") or [])))
            continue
        arn = each if each.startswith("arn:") else before_id + each
        failures.append({"arn": arn, "reason": "MISSING"})
    return ActionResult({"tasks": found, "failures": failures})


def _find(backend: EC2ContainerServiceBackend, cluster_name: str, name: str) -> Task | None:
    """A task of a cluster by ARN or id."""
    number = name.rpartition("/")[2]
    for task in tasks_of(backend):
        if task.cluster_name == cluster_name and task.id == number:
            return task if not name.startswith("arn:") or name == task.task_arn else None
    return None


@tasks_run.around("ecs:ListTasks")
def _list_tasks(call: Call, proceed: Proceed) -> Any:
    backend = backend_of(call)
    cluster = find_cluster(backend, call.get("cluster", "default"))
    desired = call.get("desiredStatus", "RUNNING")
    if desired not in ("RUNNING", "PENDING", "STOPPED"):
        raise invalid("desiredStatus should be one of [RUNNING,PENDING,STOPPED]")
    others = ("containerInstance", "desiredStatus", "family", "launchType", "serviceName")
    if call.get("startedBy") and any(call.get(name) for name in others):
        # Source: ECS API reference, ListTasks: "it must be the only filter that you use"; text unsourced.
        raise invalid("startedBy must be the only filter")
    if call.get("containerInstance") or call.get("serviceName"):
        chosen: list[Task] = []  # there are no instances and no services that run
    else:
        chosen = [task for task in tasks_of(backend) if task.cluster_arn == cluster.arn]
    arns = [
        task.task_arn
        for task in chosen
        if task.desired_status == desired
        and call.get("family") in (None, task.definition.family)
        and call.get("startedBy") in (None, task.started_by)
        and call.get("launchType") in (None, "FARGATE")
    ]
    try:
        first = int(call.get("nextToken") or 0)
    except ValueError:  # no number, or one of too many digits for Python
        first = -1
    if first < 0:
        raise invalid("Invalid token")
    end = first + min(100, call.get("maxResults") or 100)
    more = {"nextToken": str(end)} if end < len(arns) else {}
    return ActionResult({"taskArns": arns[first:end], **more})


@tasks_run.around("ecs:StopTask")
def _stop_task(call: Call, proceed: Proceed) -> Any:
    backend = backend_of(call)
    cluster = find_cluster(backend, call.get("cluster", "default"))
    task = _find(backend, cluster.name, call.get("task", ""))
    if task is None:
        raise invalid("The referenced task was not found.")
    if task.going:
        task.tags = []  # Source: botocore, ecs StopTask: "Any tags associated with the task will be deleted."
        task.end("UserInitiated", call.get("reason") or "Task stopped by user")
    return ActionResult({"task": task.show(tags=True)})


@before("ecs:DeleteCluster")
def cluster_in_use(call: Call) -> None:
    """A cluster with tasks that have not STOPPED: ClusterContainsTasksException; with services:
    ClusterContainsServicesException. moto makes it INACTIVE. Source: aws-facts (a), (j).
    """
    backend = backend_of(call)
    name = call.get("cluster", "").rpartition("/")[2]
    if any(task.cluster_name == name and task.last_status != "STOPPED" for task in tasks_of(backend)):
        raise Refused(
            "ClusterContainsTasksException", "The Cluster cannot be deleted while Tasks are active."
        )
    if any(each.cluster_name == name and each.status == "ACTIVE" for each in backend.services.values()):
        raise Refused(
            "ClusterContainsServicesException",
            "The Cluster cannot be deleted while Services are active.",
        )


@before("ec2:DeleteNetworkInterface")
def interface_of_a_task(call: Call) -> None:
    """The interface of a task goes with it, and not by hand: InvalidParameterValue. moto deletes it.

    Source: aws-facts (e).
    """
    eni = call.ec2.enis.get(call.get("NetworkInterfaceId"))
    if eni is not None and eni.requester_managed:
        raise Refused("InvalidParameterValue", f"Network interface '{eni.id}' is currently in use.")
