"""Chapter 4: a hyper-parameter sweep on AWS Batch: machines that come with the work and go with it.

      you --- <2> image --> ECR repository            CloudWatch log group <3>
       |                        |                           ^
       |  submit, sweep         | pull                      |
       v                        v                           |
    <7> queue --> <6> compute environment: 0 to 64 vCPUs    |
                  . . . . . . . . . . . . . VPC <4> . . .   |
                  .  g4dn.xlarge   g4dn.xlarge   ...    ----'
                  .  <8> job 0     job 1         ...    .
                  . . . . . . . . . . . . . . . . . . . .
       plot             | results, as the <1> job role may
       ^                v
       '------- <3> bucket: cells/  results/; the textbook's notebook finds its files at the root

Cost: nothing while no job runs. Then each machine costs 0.53 USD per hour (g4dn.xlarge in us-east-1, its
public address included), about 0.23 with --spot, 0.09 with --cpu. Batch itself is free; it ends machines some
minutes after the last job. The image in ECR is about 0.40 USD a month. What still runs 12 hours after the
last job was submitted (``--ttl``) is ended.
Time: 3 to 6 minutes to build, most of it for the image; 2 to 5 to take down. A first job waits some minutes
for its machine.

    python -m awslabs.batch_sweep up
    python -m awslabs.batch_sweep sweep --lr 0.1,0.01,0.001 --momentum 0.5,0.1,0.05 --epochs 10
    python -m awslabs.batch_sweep plot
    python -m awslabs.batch_sweep down

AWS calls, in order: CreateRole, PutRolePolicy, CreateInstanceProfile, AddRoleToInstanceProfile,
CreateRepository, CreateBucket, CreateLogGroup, PutRetentionPolicy, those of a public network (chapter 1),
CreateSecurityGroup, CreateComputeEnvironment, CreateJobQueue, RegisterJobDefinition; for work SubmitJob.
What one does with it stands in `workload/batch_sweep/`. To read along: "What is AWS Batch?" in AWS's guides.
"""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from typing import Any

from awslabs import images, journal, policies, prices
from awslabs.errors import AwsError, LabError, install
from awslabs.kinds.batch import describe_environment, describe_queue
from awslabs.kinds.storage import location
from awslabs.ledger import Ledger, ensure, exclusive
from awslabs.network import Subnet, public_network
from awslabs.policies import allow
from awslabs.preflight import on_free_plan, require_plan, require_quota, zones_offering
from awslabs.progress import at_once, attempts, meanwhile
from awslabs.roles import own_roles, permit, require_same, role
from awslabs.show import Shown
from awslabs.workload import standing
from awslabs.workload.batch_sweep import batch_jobs

log = logging.getLogger("awslabs.batch_sweep")  # also where it runs as __main__

TTL_MINUTES = 12 * 60  # after the last job
MAX_VCPUS = 64  # at the same time: sixteen g4dn.xlarge
TIMEOUT_S = 2 * 3600  # seconds after which Batch ends a job that hangs
ATTEMPTS = 3  # a job whose spot machine AWS has taken back begins anew
STUCK_S = 1800  # seconds in RUNNABLE after which Batch itself gives up a job that no machine will ever take
MEND_S = 120.0  # seconds in which a role made a moment ago must have become known everywhere
READY = ("VALID", "ENABLED")  # status and state of an environment or a queue in use
KEEP_LOGS_DAYS = 7
# The rows without which there is nothing to work with.
PARTS = ("bucket", "repository", "compute-environment", "job-queue", f"{batch_jobs.DEFINITION}*")
IMAGE = "mnist"
PROGRAM_NEEDS = ("torch", "torchvision", "sklearn")  # modules; in the image they are anyway
TORCH_FOR_CPU = "https://download.pytorch.org/whl/cpu"
# Why a job may stand in RUNNABLE: for each reason that AWS takes, an entry of its own (Batch API,
# "JobStateTimeLimitAction"). There is none for a quota of 0: `jobs` explains that one.
STUCK_REASONS = (
    "CAPACITY:INSUFFICIENT_INSTANCE_CAPACITY",
    "MISCONFIGURATION:COMPUTE_ENVIRONMENT_MAX_RESOURCE",
    "MISCONFIGURATION:JOB_RESOURCE_REQUIREMENT",
)


@dataclass(frozen=True)
class Machine:
    """What Batch may start, and what one job takes of it.

    Attributes
    ----------
    instance_types : tuple of str
        Batch takes the one that fits best.
    image_type : str
        Batch's name for the operating system: with NVIDIA's driver, or without.
    vcpus, memory_mib, gpus : int
        Of one job. A machine keeps about a twelfth of its memory for itself.
    """

    instance_types: tuple[str, ...]
    image_type: str
    vcpus: int
    memory_mib: int
    gpus: int


GPU = Machine(("g4dn.xlarge",), "ECS_AL2023_NVIDIA", 4, 12_000, 1)
CPU = Machine(("c5.large", "m5.large"), "ECS_AL2023", 2, 3_000, 0)
FREE_CPU = Machine(("c7i-flex.large", "m7i-flex.large"), CPU.image_type, CPU.vcpus, CPU.memory_mib, 0)


@dataclass(frozen=True)
class Batch(Shown):
    """The lab as it stands.

    Attributes
    ----------
    bucket_name : str
        The private bucket of cells and results.
    compute_environment, job_queue : str
        Their names.
    job_definition : str
        Its ARN, which ends with its revision.
    repository_uri : str
        Where the image lies, without its tag.
    """

    bucket_name: str
    compute_environment: str
    job_queue: str
    job_definition: str
    repository_uri: str


@exclusive
def up(
    ledger: Ledger,
    *,
    cpu: bool = False,
    spot: bool = False,
    without_docker: bool = False,
    role_arn: str | None = None,
    instance_profile_arn: str | None = None,
    ttl_minutes: int | None = TTL_MINUTES,
) -> Batch:
    """Build the bucket, the network, the queue and its compute environment, and push the image meanwhile.

    Parameters
    ----------
    ledger : Ledger
        From ``awslabs.lab("batch_sweep")``.
    cpu : bool
        Small machines without a GPU, where the account may have none; on AWS's Free plan those that it runs.
    spot : bool
        Machines that AWS may take back: less than half the price, and a job may begin anew.
    without_docker : bool
        Do not build with Docker, though an engine answers: only the practice cloud can run what comes of it.
    role_arn, instance_profile_arn : str, optional
        Where you may not make roles: one that exists for the jobs, and a profile for the machines. Neither is
        ever deleted. The role must trust ``ecs-tasks.amazonaws.com`` and reach the bucket.
    ttl_minutes : int, optional
        Minutes after the last `up` or job after which what costs ends; None: never.

    Returns
    -------
    Batch

    Raises
    ------
    AwsError
        Refused by AWS: rights, quotas, a type that this Region does not offer.
    LabError
        No Docker engine to build the image with; a compute environment that is INVALID and stays so.
    """
    ec2, s3, logs = ledger.client("ec2"), ledger.client("s3"), ledger.client("logs")
    ecr, batch, iam = ledger.client("ecr"), ledger.client("batch"), ledger.client("iam")
    machine = machine_for(ledger, cpu)

    # <0> Before anything is built: in which zones, and does the account allow a single machine?
    require_both_roles(ledger, role_arn, instance_profile_arn)
    require_same_machines(ledger, machine, spot)
    engine = images.engine_for(ledger, recipe(machine), without=without_docker)
    instead = ledger.command(
        "up",
        cpu=True,
        spot=spot and not cpu,
        no_docker=without_docker,
        role_arn=role_arn,
        instance_profile_arn=instance_profile_arn,
    )
    zones, _ = at_once(
        lambda: zones_of(ec2, machine), lambda: require_machine(ledger, machine, spot, instead)
    )
    if engine is None:
        warn_of_missing(ledger)

    ledger.limit(ttl_minutes=ttl_minutes)

    # <1> Two roles: a job's, which may nothing yet, for the bucket has no name before it is made; and the
    #     machines', which join the one cluster, pull the one image and write logs. They come first, for not
    #     everybody may make them.
    repository, machines = f"{ledger.prefix}-{IMAGE}", f"{ledger.prefix}-machines"
    log_group = f"/awslabs/{ledger.prefix}"
    given = role_arn is not None
    if role_arn is None or instance_profile_arn is None:
        with own_roles(ledger, profile=True, cpu=cpu, spot=spot, no_docker=without_docker):
            role_arn = role(ledger, "job", "ecs-tasks.amazonaws.com")
            role(
                ledger,
                "machine",
                "ec2.amazonaws.com",
                *policies.join_a_cluster(machines, ledger.cloud.region, ledger.cloud.identity["account"]),
                *policies.pull_image(ledger.arn("ecr", f"repository/{repository}")),
                policies.write_logs(ledger.arn("logs", f"log-group:{log_group}")),
            )
            profile = f"{ledger.prefix}-machine-profile"  # through which a server wears a role
            instance_profile_arn = ledger.create(
                "machine-profile", iam.create_instance_profile, InstanceProfileName=profile
            )
            ledger.create(
                "role-in-profile",
                iam.add_role_to_instance_profile,
                InstanceProfileName=profile,
                RoleName=f"{ledger.prefix}-machine-role",
            )

    # <2> The image. Building and pushing take minutes, so they go on while AWS makes all the rest.
    ledger.create("repository", ecr.create_repository, repositoryName=repository)
    pushed = meanwhile(images.publish, ledger, repository, recipe(machine), engine)

    # <3> The bucket of results, and a log group that forgets after a week: Batch's own keeps lines for ever.
    bucket = ledger.create(
        "bucket", s3.create_bucket, Bucket=f"{ledger.prefix}-data", **location(ledger.cloud.region)
    )
    ledger.create("log-group", logs.create_log_group, logGroupName=log_group)
    ensure(logs.put_retention_policy, logGroupName=log_group, retentionInDays=KEEP_LOGS_DAYS)

    # <4> The network: a public subnet in each zone that has such machines; nobody may connect.
    vpc_id, subnet_ids = public_network(
        ledger, "10.13.0.0/20", [Subnet(f"subnet-{zone[-1]}", zone, cidr_of(zone)) for zone in zones]
    )
    group_id = ledger.create(
        "security-group",
        ec2.create_security_group,
        VpcId=vpc_id,
        GroupName=f"{ledger.prefix}-firewall",
        Description="Nobody may connect to the machines",
    )

    # <5> What a job may: read cells and results and write results, in this bucket alone.
    if not given:
        permit(
            ledger,
            "job",
            allow(f"arn:aws:s3:::{bucket}", "s3:ListBucket"),
            allow(f"arn:aws:s3:::{bucket}/cells/*", "s3:GetObject"),
            allow(f"arn:aws:s3:::{bucket}/results/*", "s3:GetObject", "s3:PutObject"),
            allow(f"arn:aws:s3:::{bucket}/metrics_lr*.csv", "s3:PutObject"),  # of the textbook's own client
        )

    # <6> The compute environment: it costs nothing while no job waits.
    environment = ledger.create(
        "compute-environment",
        batch.create_compute_environment,
        computeEnvironmentName=machines,
        type="MANAGED",
        state="ENABLED",
        computeResources={
            "type": "SPOT" if spot else "EC2",
            "allocationStrategy": "SPOT_PRICE_CAPACITY_OPTIMIZED" if spot else "BEST_FIT_PROGRESSIVE",
            "minvCpus": 0,
            "maxvCpus": MAX_VCPUS,
            "instanceTypes": list(machine.instance_types),
            "ec2Configuration": [{"imageType": machine.image_type}],
            "subnets": subnet_ids,
            "securityGroupIds": [group_id],
            "instanceRole": instance_profile_arn,
        },
    )

    environment_arn = wait_for_environment(ledger, environment)

    # <7> The queue. A job that no machine will ever take leaves it after a while, with the reason.
    queue = ledger.create(
        "job-queue",
        batch.create_job_queue,
        jobQueueName=f"{ledger.prefix}-queue",
        state="ENABLED",
        priority=1,
        computeEnvironmentOrder=[{"order": 1, "computeEnvironment": environment_arn}],
        jobStateTimeLimitActions=[
            {"reason": reason, "state": "RUNNABLE", "maxTimeSeconds": STUCK_S, "action": "CANCEL"}
            for reason in STUCK_REASONS
        ],
    )
    wait_for_queue(ledger, queue)

    # <8> What a job is. It names the image, so here the push must be done.
    define_job(ledger, pushed(), machine, role_arn, log_group)
    return describe(ledger)


def describe(ledger: Ledger) -> Batch:
    """The lab's names, from its ledger. AWS calls: none.

    Raises
    ------
    LabError
        When the lab does not stand.
    """
    stands, repository = ledger.whole(PARTS), ledger.journal.last("repository")
    return Batch(
        bucket_name=stands["bucket"],
        compute_environment=stands["compute-environment"],
        job_queue=stands["job-queue"],
        job_definition=batch_jobs.definition_arn(ledger),
        repository_uri=repository.ids["repositoryUri"] if repository else "",
    )


@exclusive
def image(ledger: Ledger, *, without_docker: bool = False) -> Batch:
    """Build and push the image as its files are now; what is submitted later runs the new one.

    An image is known by a tag that changes with its files, and each tag gets a job definition of its own. So
    jobs that wait or run go on with the image that they were submitted with.
    """
    standing(ledger, "job-queue")
    shown = describe_environment(ledger.client("batch"), standing(ledger, "compute-environment"))
    machine = machine_of(shown or batch_jobs.require_environment(ledger))
    engine = images.engine_for(ledger, recipe(machine), without=without_docker)
    address = images.publish(ledger, standing(ledger, "repository"), recipe(machine), engine)
    old = batch_jobs.definition(ledger)["containerProperties"]
    define_job(ledger, address, machine, old["jobRoleArn"], standing(ledger, "log-group"))
    return describe(ledger)


def down(ledger: Ledger) -> None:
    """End all jobs and take everything down again, with the results in the bucket and the images.

    Batch wants its order: jobs end, the queue goes, then the compute environment with its machines, and only
    then roles and network. The ledger keeps it.
    """
    ledger.down()


# -- What `up` asks before it builds -------------------------------------------------------------------


def require_both_roles(ledger: Ledger, role_arn: str | None, instance_profile_arn: str | None) -> None:
    """Whoever may make no role may make no profile; and a lab does not change its roles while it stands."""
    if (role_arn is None) != (instance_profile_arn is None):
        raise LabError(
            "A role for the jobs and a profile for the machines are given together, or neither.",
            "Whoever may make one of them may make the other.",
            f"{ledger.command('up')} --role-arn ARN --instance-profile-arn ARN",
        )
    # After half a `down` too: the profile goes after the environment.
    require_same(
        ledger,
        "compute-environment",
        "machine-profile",
        role_arn,
        lambda: as_before_or_anew(ledger, environment_of(ledger)),
    )


def machine_for(ledger: Ledger, cpu: bool) -> Machine:
    """What Batch may start: without a GPU what stands, for an account may change its plan; or what that runs.

    AWS calls: ``batch:DescribeComputeEnvironments``, ``freetier:GetAccountPlanState``.
    """
    if not cpu:
        return GPU
    shown = environment_of(ledger)
    if shown is not None and machine_of(shown) is not GPU:
        return machine_of(shown)
    return FREE_CPU if on_free_plan(ledger) else CPU


def machine_of(environment: dict[str, Any]) -> Machine:
    """The machines of a compute environment that this lab has made."""
    types = tuple(environment["computeResources"]["instanceTypes"])
    return next((one for one in (CPU, FREE_CPU) if one.instance_types == types), GPU)


def require_same_machines(ledger: Ledger, machine: Machine, spot: bool) -> None:
    """A lab does not change its machines while it stands; to say so after building an image would be late."""
    shown = environment_of(ledger)
    if shown is None:
        return
    resources = shown["computeResources"]
    types, on_spot = resources["instanceTypes"], resources["type"] == "SPOT"
    if (tuple(types), on_spot) != (machine.instance_types, spot):
        ledger.refuse_other(
            f"machines of type {' or '.join(types)}{', on spot' if on_spot else ''}",
            as_before_or_anew(ledger, shown),
        )


def environment_of(ledger: Ledger) -> dict[str, Any] | None:
    """The compute environment that stands; None where there is none yet, or somebody has deleted it."""
    row = ledger.journal.last("compute-environment")
    return describe_environment(ledger.client("batch"), row.id) if row else None


def as_before_or_anew(ledger: Ledger, environment: dict[str, Any] | None) -> str:
    """The two ways on for whoever runs `up` with other options than those that the lab was built with."""
    if environment is None:
        return ""
    return f"{batch_jobs.up_as_before(ledger, environment)}    # as it stands; for another one `down` first"


def zones_of(ec2: Any, machine: Machine) -> list[str]:
    """The zones that offer every type of machine."""
    offers = [set(zones_offering(ec2, one)) for one in machine.instance_types]
    return sorted(set.intersection(*offers))


def cidr_of(zone: str) -> str:
    """256 addresses for a zone's subnet, the same ones each time: ``us-east-1b`` gets 10.13.1.0/24."""
    return f"10.13.{ord(zone[-1]) - ord('a')}.0/24"


def warn_of_missing(ledger: Ledger) -> None:
    """Say at once what jobs will lack that the practice cloud runs as processes of this computer."""
    lacks = images.lacking(PROGRAM_NEEDS)
    if lacks and not ledger.cloud.is_aws:
        log.warning(
            "jobs will fail: without Docker they run with this Python, which has no %s; mend it: %s",
            " and no ".join(lacks),
            install("ml"),
        )


def require_machine(ledger: Ledger, machine: Machine, spot: bool, instead: str) -> None:
    """Stop if the account's plan or quota does not allow one machine: Batch would build, and jobs wait.

    `instead` is the command that does without a GPU, or without spot.
    """
    ec2, quotas = ledger.client("ec2"), ledger.client("service-quotas")
    for instance_type in machine.instance_types:
        require_plan(ledger, instance_type, instead)
    try:
        require_quota(ec2, quotas, machine.instance_types[0], spot=spot)
    except AwsError as refused:
        if not machine.gpus and not spot:
            raise
        fix = f"{instead}    # or ask for more, and wait for a day: {refused.fix}"
        raise refused.mended_by(fix) from refused


# -- Parts of the page above -----------------------------------------------------------------------------


def define_job(ledger: Ledger, address: str, machine: Machine, role_arn: str, log_group: str) -> str:
    """A job definition for this image: its share of a machine, and what happens when it fails."""
    batch = ledger.client("batch")
    gpus = [{"type": "GPU", "value": str(machine.gpus)}] if machine.gpus else []
    environment = [
        {"name": "AWSLABS_LEDGER", "value": ledger.prefix},  # marks files in the bucket
        {"name": "BUCKET_NAME", "value": standing(ledger, "bucket")},  # for --uploadS3
        # A GPU is paid for: a program that finds none must say so, not train on the processor.
        {"name": "MNIST_DEVICE", "value": "cuda" if machine.gpus else "cpu"},
    ]
    name, newest = f"{batch_jobs.DEFINITION}{address.rpartition(':')[2]}", batch_jobs.definition_row(ledger)
    if newest is not None:
        (shown,) = batch.describe_job_definitions(jobDefinitions=[newest.id])["jobDefinitions"] or [None]
        if (
            newest.name != name
            or shown is None
            or variables_of(shown["containerProperties"]["environment"]) != variables_of(environment)
        ):
            ledger.delete(name)  # files as they were before, or another bucket: it must be the newest
    return ledger.create(
        name,
        batch.register_job_definition,
        jobDefinitionName=f"{ledger.prefix}-training",
        type="container",
        platformCapabilities=["EC2"],
        containerProperties={
            "image": address,
            "jobRoleArn": role_arn,
            "environment": environment,
            "resourceRequirements": [
                {"type": "VCPU", "value": str(machine.vcpus)},
                {"type": "MEMORY", "value": str(machine.memory_mib)},
                *gpus,
            ],
            "logConfiguration": {
                "logDriver": "awslogs",
                "options": {
                    "awslogs-group": log_group,
                    "awslogs-region": ledger.cloud.region,
                    "awslogs-stream-prefix": "job",
                },
            },
        },
        timeout={"attemptDurationSeconds": TIMEOUT_S},
        retryStrategy={  # "Host EC2 (instance i-...) terminated.": AWS took the machine back
            "attempts": ATTEMPTS,
            "evaluateOnExit": [
                {"onStatusReason": "Host EC2*", "action": "RETRY"},
                {"onReason": "*", "action": "EXIT"},
            ],
        },
    )


def variables_of(environment: list[dict[str, str]]) -> dict[str, str]:
    """An environment as Batch writes it, by name."""
    return {one["name"]: one["value"] for one in environment}


def recipe(machine: Machine) -> images.Recipe:
    """The image: for machines without a GPU with a PyTorch that has no part for one, 1 GB instead of 4."""
    return images.Recipe(IMAGE, {} if machine.gpus else {"TORCH_INDEX_URL": TORCH_FOR_CPU})


def wait_for_environment(ledger: Ledger, name: str) -> str:
    """Until the compute environment is VALID and in use; returns its ARN.

    It is accepted with a role that is not known everywhere yet, and INVALID then. An update lets Batch look
    again. Source: "Troubleshooting AWS Batch", INVALID compute environment.
    """
    batch, began, arn = ledger.client("batch"), time.monotonic(), ""
    for _ in attempts(f"the compute environment {name} is VALID", timeout_s=600, longest_s=2.0):
        ensure(batch.update_compute_environment, computeEnvironment=name, state="ENABLED")
        shown = describe_environment(batch, name)
        if shown is None:
            raise LabError(f"The compute environment {name} is gone.", "", ledger.command("up"))
        arn = shown["computeEnvironmentArn"]
        if (shown["status"], shown["state"]) == READY:
            break
        if shown["status"] == "INVALID" and time.monotonic() - began > MEND_S * ledger.patience:
            raise LabError(
                f"The compute environment {name} is INVALID, and stays so.",
                shown.get("statusReason", ""),
                f"{ledger.command('down')}    # then mend what the reason names, and `up` again",
            )
    return arn


def wait_for_queue(ledger: Ledger, name: str) -> None:
    """Until the queue is VALID and takes jobs."""
    batch, up = ledger.client("batch"), ledger.command("up")
    for _ in attempts(f"the queue {name} is VALID", timeout_s=300, longest_s=2.0, fix=up):
        ensure(batch.update_job_queue, jobQueue=name, state="ENABLED")
        shown = describe_queue(batch, name) or {}
        if (shown.get("status"), shown.get("state")) == READY:
            break


def usd_per_machine_hour(machine: Machine, spot: bool, region: str) -> float | None:
    """What one machine costs while it runs, with its public address; None where the price is not known."""
    return prices.server_hour(machine.instance_types[0], region, spot=spot)


# -- The command line ------------------------------------------------------------------------------------


def command_line() -> Any:
    """``python -m awslabs.batch_sweep``: this page from a terminal."""
    import click

    from awslabs import cli
    from awslabs.workload.batch_sweep import results, verbs

    group = cli.lab_group("batch_sweep", __doc__)

    @cli.verb(group, "up", "batch_sweep")
    @click.option("--cpu", is_flag=True, help="Small machines without a GPU.")
    @click.option(
        "--spot", is_flag=True, help="Machines that AWS may take back, for less than half the price."
    )
    @cli.NO_DOCKER
    @cli.ROLE_ARN
    @click.option(
        "--instance-profile-arn",
        metavar="ARN",
        help="And a profile, for the machines: with --role-arn, or neither.",
    )
    @cli.ttl("12h")
    @cli.ends_by_itself
    def _up(ledger: Ledger, cpu: bool, spot: bool, **more: Any) -> dict[str, Any]:
        """Build the image, the queue and its compute environment."""
        cli.announce(ledger, "an image, a queue and a compute environment of 0 machines", 0.0)
        machine = machine_for(ledger, cpu)
        price = usd_per_machine_hour(machine, spot, ledger.cloud.region)
        cli.say(
            f"While jobs run, each {machine.instance_types[0]} costs "
            f"{cli.per_hour(price, ledger.cloud.region)}; at most "
            f"{MAX_VCPUS} vCPUs run at once."
        )
        lab = up(ledger, cpu=cpu, spot=spot, **more)
        cli.say(f"Train a grid of models: {ledger.command('sweep')}")
        cli.farewell(ledger)
        return {**cli.header(ledger), **vars(lab)}

    def report(ledger: Ledger) -> dict[str, Any]:
        running = batch_jobs.machines(ledger)
        hours = [prices.server_hour(one.instance_type, ledger.cloud.region, spot=one.spot) for one in running]
        usd = journal.total([ledger.usd_per_hour, *hours])
        return {**vars(describe(ledger)), "machines": len(running), "usd_per_hour": usd}

    cli.add_status(group, "batch_sweep", PARTS, report)

    @cli.verb(group, "image", "batch_sweep")
    @cli.NO_DOCKER
    def _image(ledger: Ledger, without_docker: bool) -> dict[str, Any]:
        """Build and push the image anew; jobs that are submitted later run it."""
        return vars(image(ledger, without_docker=without_docker))

    verbs.add(group, "batch_sweep")
    cli.add_down(group, "batch_sweep", down, results.bring_home)
    return group


if __name__ == "__main__":
    command_line()(prog_name="python -m awslabs.batch_sweep")
