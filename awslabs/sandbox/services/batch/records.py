"""What AWS Batch knows in one account and Region: environments with their hosts, queues, definitions, jobs.

Records only. What changes them stands in the files beside this one; `Batch.wake` lets the scheduler look.
"""

from __future__ import annotations

import functools
import uuid
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from moto.batch.models import batch_backends
from moto.ec2.models import ec2_backends
from moto.iam.models import iam_backends
from moto.logs.models import logs_backends
from moto.utilities.utils import get_partition

from awslabs.sandbox.core.engine import clock, later, memory, state

ACTIVE = ("SUBMITTED", "PENDING", "RUNNABLE", "STARTING", "RUNNING")
ENDED = ("SUCCEEDED", "FAILED")
STATUSES = (*ACTIVE, *ENDED)

AFTER_CHANGES: list[Callable[[Batch], None]] = []
"""What is done when something has changed; `fleet` puts itself in here."""


def milliseconds() -> int:
    """Batch's time stamps."""
    return int(1000 * clock.now())


@dataclass(eq=False)
class Host:
    """An instance of an environment, and who runs on it.

    Attributes
    ----------
    instance : moto.ec2.models.instances.Instance
        The machine, as EC2 shows it.
    vcpus, memory_mib, gpus : int
        What jobs may share: memory less what the operating system and the ECS agent keep.
    arn : str
        Of the container instance.
    registered : bool
        Whether its agent has found the cluster.
    draining : bool
        It takes no more jobs: the environment's machines have become other ones.
    idle_since : float
        Since when no job is on it (seconds since 1970).
    """

    instance: Any
    vcpus: int
    memory_mib: int
    gpus: int
    arn: str
    jobs: list[Job] = field(default_factory=list)
    registered: bool = False
    draining: bool = False
    idle_since: float = 0.0

    @property
    def up(self) -> bool:
        """Whether it starts or runs."""
        return self.instance.state in ("pending", "running")

    def free(self) -> tuple[int, int, int]:
        """vCPUs, MiB and GPUs that no job has."""
        return (
            self.vcpus - sum(job.work.vcpus for job in self.jobs),
            self.memory_mib - sum(job.work.memory_mib for job in self.jobs),
            self.gpus - sum(job.work.gpus for job in self.jobs),
        )


@dataclass(eq=False)
class Environment:
    """A compute environment.

    Attributes
    ----------
    resources : dict
        ``computeResources`` as they were asked for, with defaults.
    service_role : str
        ARN; of the service-linked role when none was named.
    hosts : list of Host
        Its machines, until they are terminated.
    failure : str
        Why the last machine could not be had: ``capacity TYPE``, ``quota``, ``unsupported`` or empty.
    """

    name: str
    arn: str
    resources: dict[str, Any]
    service_role: str
    state: str
    tags: dict[str, str]
    cluster_arn: str
    more: dict[str, Any] = field(default_factory=dict)
    status: str = "CREATING"
    status_reason: str = ""
    uuid: str = field(default_factory=lambda: str(uuid.uuid4()))
    hosts: list[Host] = field(default_factory=list)
    failure: str = ""
    wanted_vcpus: int = 0  # desiredvCpus that somebody asked for

    @property
    def vcpus(self) -> int:
        """Of the machines that start or run."""
        return sum(host.vcpus for host in self.hosts if host.up)

    @property
    def spot(self) -> bool:
        return bool(self.resources["type"] == "SPOT")

    @property
    def usable(self) -> bool:
        """Whether jobs may be placed in it."""
        return self.state == "ENABLED" and self.status in ("VALID", "UPDATING")


@dataclass(eq=False)
class Queue:
    """A job queue. `order` holds the names of its environments, first choice first."""

    name: str
    arn: str
    priority: int
    order: list[str]
    state: str
    tags: dict[str, str]
    limits: list[dict[str, Any]]
    status: str = "CREATING"
    status_reason: str = ""
    runnable: dict[str, Job] = field(default_factory=dict)  # by id, the one that waits longest first


@dataclass(eq=False)
class Definition:
    """One revision of a job definition; `asked` is the request that registered it."""

    name: str
    arn: str
    revision: int
    asked: dict[str, Any]
    tags: dict[str, str]
    status: str = "ACTIVE"


@dataclass(frozen=True)
class Work:
    """What a job does: the definition with the overrides of SubmitJob. Children of an array share it."""

    definition: Definition
    queue: Queue
    container: dict[str, Any]
    parameters: dict[str, str]
    vcpus: int
    memory_mib: int
    gpus: int
    attempts: int
    evaluate: list[dict[str, str]]
    timeout_s: int | None
    propagate_tags: bool


@dataclass(eq=False)
class Job:
    """A job, an array job, or the child of one.

    Attributes
    ----------
    waits_for : set of str
        Ids of jobs that have to succeed first.
    attempt : int
        Number of the attempt that runs or ran last; 0: none yet.
    seen : dict
        The container of the last attempt, as DescribeJobs adds it to ``container``.
    over : str
        Why its program has to end: a status reason; empty: it may run on.
    lines : list
        Time and text of what it printed and its log does not show yet.
    """

    id: str
    name: str
    arn: str
    work: Work
    tags: dict[str, str]
    depends_on: list[dict[str, str]]
    created_at: int
    status: str = "SUBMITTED"
    status_reason: str = ""
    size: int = 0
    index: int | None = None
    parent: Job | None = None
    children: list[Job] = field(default_factory=list)
    summary: Counter[str] = field(default_factory=Counter)
    waits_for: set[str] = field(default_factory=set)
    attempt: int = 0
    attempts: list[dict[str, Any]] = field(default_factory=list)
    seen: dict[str, Any] = field(default_factory=dict)
    started_at: int | None = None
    stopped_at: int | None = None
    host: Host | None = None
    environment: str = ""
    stuck_since: float | None = None
    cancelled: str = ""
    terminated: str = ""
    over: str = ""
    lines: list[tuple[float, str]] = field(default_factory=list)
    writing: bool = False

    @property
    def key(self) -> str:
        """What tells this attempt from any other one."""
        return f"{self.id}-{self.attempt}"


@state
class Batch:
    """AWS Batch of one account in one Region."""

    def __init__(self) -> None:
        self.account, self.region = "", ""
        self.environments: dict[str, Environment] = {}
        self.queues: dict[str, Queue] = {}
        self.definitions: dict[str, list[Definition]] = {}
        self.jobs: dict[str, Job] = {}
        self.followers: dict[str, list[Job]] = {}  # job id -> who waits for it
        self.due: float | None = None

    @property
    def ec2(self) -> Any:
        return ec2_backends[self.account][self.region]

    @property
    def logs(self) -> Any:
        return logs_backends[self.account][self.region]

    @property
    def iam(self) -> Any:
        return iam_backends[self.account][get_partition(self.region)]

    @property
    def forgotten(self) -> bool:
        """Whether the account was reset since."""
        regions = batch_backends.get(self.account)
        if regions is None or self.region not in list(regions):
            return True
        return regions[self.region].__dict__.get(f"_awslabs_{Batch.__name__}") is not self

    def arn(self, rest: str, service: str = "batch") -> str:
        return f"arn:{get_partition(self.region)}:{service}:{self.region}:{self.account}:{rest}"

    def later(self, delay_s: float, action: Callable[[], None]) -> None:
        """Let something happen after so many seconds, unless the account is forgotten by then."""

        def act() -> None:
            if not self.forgotten:
                action()

        later(self.ec2, delay_s, act)

    def wake(self, delay_s: float = 0.0) -> None:
        """Let the scheduler look at everything, at the latest after so many seconds."""
        at = clock.now() + delay_s
        if self.due is None or at < self.due:
            self.due = at
            self.later(delay_s, functools.partial(self.look, at))

    def look(self, at: float) -> None:
        if self.due == at:
            self.due = None
            for action in AFTER_CHANGES:
                action(self)


def batch_of(account: str, region: str) -> Batch:
    """AWS Batch of an account in a Region; it is forgotten with moto's own."""
    batch = memory(batch_backends[account][region], Batch)
    batch.account, batch.region = account, region
    return batch
