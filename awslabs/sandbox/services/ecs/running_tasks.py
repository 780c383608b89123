"""ECS, running: the containers of tasks run for real, and what they print comes to CloudWatch Logs.

    a task is PENDING --> may it start?        a way out, the execution role, the log group
                      --> programs.py          one program for each container
                      --> its log stream       PREFIX/CONTAINER/TASKID, within a second
                      --> its end              exit code and reason, to tasks.py

What a container's environment holds besides its definition's: where AWS is, the Region, and, if the task has
a role, its credentials. Not there: the metadata service of a task, and other tasks' network; a container
sees this computer's own.
"""

from __future__ import annotations

import functools
import logging
import threading
from typing import Any

from moto.ecr.models import ecr_backends
from moto.logs.models import logs_backends

from awslabs.sandbox.core import engine
from awslabs.sandbox.run import programs
from awslabs.sandbox.run.orders import Order
from awslabs.sandbox.services.ec2.reach import no_way_out
from awslabs.sandbox.services.ecr import repositories
from awslabs.sandbox.services.ecs import tasks as strict
from awslabs.sandbox.services.ecs.tasks import Container, Task
from awslabs.sandbox.services.iam import identities, permissions

log = logging.getLogger("awslabs.sandbox")

FLUSH_S = 0.25  # how often what containers have printed is written to their streams
MOST_EVENTS = 10_000  # Source: botocore, logs PutLogEvents
RETRIED = "has been retried 1 time(s)"
ARCHITECTURES = {"X86_64": "amd64", "ARM64": "arm64"}  # ECS's word and an image's


class Cannot(Exception):
    """Why a task cannot start; the text is its stoppedReason."""


class Stream:
    """The log stream of one container: lines wait here until they are written."""

    def __init__(self, task: Task, container: Container) -> None:
        options = container.log_options
        self.account, self.region = task.account, options.get("awslogs-region") or task.region
        self.role, self.group = task.execution_role, options["awslogs-group"]
        self.create_group = options.get("awslogs-create-group") == "true"
        prefix = options.get("awslogs-stream-prefix")
        self.name = f"{prefix}/{container.name}/{task.id}" if prefix else f"{task.id}-{container.id[:10]}"
        self.lines: list[tuple[float, str]] = []
        self.mutex = threading.Lock()

    def open(self) -> None:
        """Make the stream. The caller holds the lock.

        Raises
        ------
        Cannot
            As the awslogs driver says it: no such group, or the execution role may not.
        """
        backend = logs_backends[self.account][self.region]
        what = f"ResourceInitializationError: failed to validate logger args: create stream {RETRIED}: "
        if self.group not in backend.groups:
            if not self.create_group:
                raise Cannot(
                    f"{what}failed to create Cloudwatch log stream: ResourceNotFoundException: The specified "
                    "log group does not exist. : exit status 1"
                )
            self.need("CreateLogGroup", f"{what}failed to create Cloudwatch log group: ", stream="")
            backend.create_log_group(self.group, {})
        self.need("CreateLogStream", f"{what}failed to create Cloudwatch log stream: ")
        self.need("PutLogEvents", f"{what}failed to put events: ")
        if self.name not in backend.groups[self.group].streams:
            backend.create_log_stream(self.group, self.name)

    def need(self, action: str, what: str, stream: str | None = None) -> None:
        """Raise unless the execution role may do this to the stream, or to the group."""
        arn = permissions.log_arn(
            self.account, self.region, self.group, self.name if stream is None else stream
        )
        if not permissions.allows(self.account, self.role, f"logs:{action}", arn, self.region):
            raise Cannot(what + denied(self.account, self.role, f"logs:{action}", arn))

    def say(self, at: float, line: str) -> None:
        """Take a line; the awslogs driver drops empty ones."""
        if line:
            with self.mutex:
                self.lines.append((at, line))

    def flush(self) -> None:
        """Write what waits, if the group and the role's right are still there."""
        with self.mutex:
            lines, self.lines = self.lines, []
        if not lines:
            return
        arn = permissions.log_arn(self.account, self.region, self.group, self.name)
        with engine.lock:
            backend = logs_backends[self.account][self.region]
            group = backend.groups.get(self.group)
            if group is None or self.name not in group.streams:
                return  # somebody has deleted it: what comes now is lost, as on AWS
            if not permissions.allows(self.account, self.role, "logs:PutLogEvents", arn, self.region):
                return
            for first in range(0, len(lines), MOST_EVENTS):
                events = [
                    {"timestamp": int(1000 * at), "message": line}
                    for at, line in lines[first : first + MOST_EVENTS]
                ]
                backend.put_log_events(self.group, self.name, events)


def denied(account: str, role_arn: str, action: str, resource: str) -> str:
    """What AWS says when a role may not."""
    name = role_arn.rpartition("/")[2]
    return (
        f"AccessDeniedException: User: arn:aws:sts::{account}:assumed-role/{name}/ecs is not authorized to "
        f"perform: {action} on resource: {resource} because no identity-based policy allows the {action} "
        "action"
    )


class Tasks:
    """The running part of ECS in one practice cloud: the `Runner` of the rules.

    Parameters
    ----------
    endpoint_url : str
        Where programs find AWS.
    """

    def __init__(self, endpoint_url: str) -> None:
        self.endpoint_url = endpoint_url
        self.mutex = threading.Lock()
        self.running: dict[str, dict[str, programs.Program]] = {}  # task id -> container name -> program
        self.streams: set[Stream] = set()
        self.closing = threading.Event()
        self.thread = threading.Thread(target=self.flush, name="task logs", daemon=True)
        self.thread.start()

    # -- what the rules order, with the lock held -------------------------------------------------

    def start(self, task: Task) -> None:
        """Let a task run, or tell why it cannot."""
        try:
            streams = self.check(task)
        except Cannot as why:
            task.failed(str(why))
            return
        held = self.running[task.id] = {}
        for container in task.containers:
            stream = streams.get(container.name)
            if stream is not None:
                self.streams.add(stream)
            order = self.order(task, container)
            held[container.name] = programs.start(
                order,
                stream.say if stream is not None else lambda _at, _line: None,  # nobody hears it
                functools.partial(self.ended, task, container, stream),
                functools.partial(self.began, task, container),
            )

    def stop(self, task: Task) -> None:
        """Stop what still runs of a task."""
        held = self.running.get(task.id, {})
        for container in task.containers:
            if container.status != "STOPPED" and container.name in held:
                # After SIGTERM it may take 30 s unless said, at most 120.
                held[container.name].stop(float(min(120, container.definition.get("stopTimeout") or 30)))

    def check(self, task: Task) -> dict[str, Stream]:
        """The log streams of a task that may start.

        Raises
        ------
        Cannot
            No way to the internet, an execution role that may not, no log group.
        """
        role = task.execution_role
        if role and not identities.assumable(task.account, role, strict.SERVICE, source_arn=task.task_arn):
            raise Cannot(
                "ResourceInitializationError: unable to pull secrets or registry auth: execution resource "
                f"retrieval failed: the role {role} cannot be assumed"
            )
        no_way, no_way_to_ecr = (
            no_way_out(task.ec2, task.interface, endpoint=endpoint) for endpoint in ("", "ecr.dkr")
        )
        for container in task.containers:
            image = str(container.definition["image"])
            if repositories.address and image.startswith(f"{repositories.address}/"):
                self.may_pull(task, image, no_way_to_ecr)
            elif no_way:
                raise Cannot(
                    f"CannotPullContainerError: pull image manifest {RETRIED}: "
                    f"failed to resolve ref {image}: "
                    f"failed to do request: dial tcp: i/o timeout ({no_way})"
                )
        streams = {}
        for container in task.containers:
            if container.log_options:
                stream = streams[container.name] = Stream(task, container)
                stream.open()
        return streams

    def may_pull(self, task: Task, image: str, no_way: str) -> None:
        """Raise unless the execution role may pull an image from ECR."""
        begin = "ResourceInitializationError: unable to pull secrets or registry auth: "
        if no_way:
            raise Cannot(
                f"{begin}The task cannot pull registry auth from Amazon ECR: There is a connection issue "
                "between the task and Amazon ECR. Check your task network configuration. dial tcp: i/o "
                f"timeout ({no_way})"
            )
        name = image.partition("/")[2].partition("@")[0].partition(":")[0]
        arn = f"arn:aws:ecr:{task.region}:{task.account}:repository/{name}"

        def may(action: str, resource: str) -> bool:
            return permissions.allows(
                task.account, task.execution_role, f"ecr:{action}", resource, task.region
            )

        if not may("GetAuthorizationToken", "*"):
            raise Cannot(
                f"{begin}execution resource retrieval failed: unable to retrieve ecr registry auth: service "
                f"call {RETRIED}: "
                + denied(task.account, task.execution_role, "ecr:GetAuthorizationToken", "*")
            )
        for action in ("BatchGetImage", "GetDownloadUrlForLayer"):
            if not may(action, arn):
                raise Cannot(
                    f"CannotPullContainerError: pull image manifest {RETRIED}: "
                    f"failed to resolve ref {image}: "
                    "unexpected status from HEAD request: 403 Forbidden: "
                    + denied(task.account, task.execution_role, f"ecr:{action}", arn)
                )
        # What will be pulled, for the container's imageDigest; the runner finds out what is missing.
        repository = ecr_backends[task.account][task.region].repositories.get(name)
        reference = image.rpartition("@")[2] if "@" in image else image.partition("/")[2].partition(":")[2]
        for held in repository.images if repository is not None else []:
            if (reference or "latest") in (*held.image_tags, held.get_image_digest()):
                for container in task.containers:
                    if container.definition["image"] == image:
                        container.digest = held.get_image_digest()

    def order(self, task: Task, container: Container) -> Order:
        """What the runner shall run."""
        variables = container.environment
        if task.task_role:
            session = permissions.credentials(task.account, task.task_role, task.id, task.region)
            variables = {
                "AWS_ACCESS_KEY_ID": session.access_key_id,
                "AWS_SECRET_ACCESS_KEY": session.secret_access_key,
                "AWS_SESSION_TOKEN": session.session_token,
                **variables,
            }
        cpu = container.override.get("cpu") or container.definition.get("cpu") or task.cpu
        limit = container.override.get("memory") or container.definition.get("memory") or task.memory_mib
        platform = task.definition.runtime_platform or {}
        return Order(
            key=f"{task.id}-{container.name}",
            account=task.account,
            region=task.region,
            image=container.definition["image"],
            command=container.command,
            environment={
                "AWS_ENDPOINT_URL": self.endpoint_url,
                "AWS_REGION": task.region,
                "AWS_DEFAULT_REGION": task.region,
                "AWS_EXECUTION_ENV": "AWS_ECS_FARGATE",
                "AWS_EC2_METADATA_DISABLED": "true",
                **variables,
            },
            vcpus=cpu / 1024,
            memory_mib=min(limit, task.memory_mib),
            entry_point=container.definition.get("entryPoint") or None,
            working_directory=container.definition.get("workingDirectory") or None,
            architecture=ARCHITECTURES[platform.get("cpuArchitecture", "X86_64")],
        )

    # -- what programs tell, from their own threads -----------------------------------------------

    def began(self, task: Task, container: Container) -> None:
        """The image is there, and the container runs."""
        with engine.lock:
            task.running([container])

    def ended(self, task: Task, container: Container, stream: Stream | None, how: programs.Ended) -> None:
        """A container has ended: its last lines first, then its exit code."""
        if stream is not None:
            stream.flush()
            self.streams.discard(stream)
        with engine.lock:
            task.container_ended(container, how.exit_code, how.reason)
            held = self.running.get(task.id, {})
            held.pop(container.name, None)
            if not held:
                self.running.pop(task.id, None)

    def flush(self) -> None:
        """Write logs until the practice cloud closes."""
        while not self.closing.wait(FLUSH_S):
            for stream in list(self.streams):
                try:
                    stream.flush()
                except Exception:
                    log.exception("the log %s", stream.name)

    def close(self) -> None:
        """No more logs; the programs end with their own running part."""
        self.closing.set()
        self.thread.join()


# --- the one of this process ----------------------------------------------------------------------------

current: Tasks | None = None


def add_handlers(cloud: Any) -> None:
    """Add its handlers to a practice cloud (`server.Cloud`)."""
    global current
    current = strict.runner = Tasks(cloud.run.endpoint_url)


def close() -> None:
    """End everything here."""
    global current
    if current is not None:
        part, current, strict.runner = current, None, None
        part.close()
