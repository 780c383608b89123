"""Chapter 3: question answering in containers that come with a question and go with the answer.

      you --- <2> image --> ECR repository          CloudWatch log group <5>
       |                       |                          ^
       |  ask, ask-many        | pull                     |
       v                       v                          |
    <6> cluster . . . . . . . . . . . . . . VPC <4> . . . |
                  .  <7> task   task   task   ...   . ----'
                  .      1 vCPU, 4 GB each          .
                  . . . . . | . . . . . . . . . . . .
       answers              | as the <1> task role may
       ^                    v
       '------------- <3> DynamoDB table

Cost: nothing while no task runs. Then each task costs about 0.063 USD per hour (us-east-1: 1 vCPU, 4 GB and
a public address), by the second and at least for a minute. The image in ECR is about 0.15 USD a month.
Time: two to five minutes to build, most of it for the image; a minute to take down.

    python -m awslabs.ecs_qa up
    python -m awslabs.ecs_qa ask "The octopus has three hearts." "How many hearts does the octopus have?"
    python -m awslabs.ecs_qa ask-many
    python -m awslabs.ecs_qa down

AWS calls, in order: CreateRole, PutRolePolicy, CreateRepository, CreateTable, those of a public network
(chapter 1), CreateSecurityGroup, CreateLogGroup, PutRetentionPolicy, CreateCluster, RegisterTaskDefinition;
for work RunTask. What one does with it stands in `workload/ecs_qa/`. To read along: "What is Amazon
Elastic Container Service?" in AWS's guides.
"""

from __future__ import annotations

import logging
import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from awslabs import images, journal, policies, prices
from awslabs.errors import AwsError, LabError, install
from awslabs.explain import ask_for_quota, place_of
from awslabs.ledger import Ledger, ensure, exclusive
from awslabs.network import Subnet, public_network
from awslabs.policies import allow
from awslabs.preflight import quota_value, whole_zones
from awslabs.progress import OFTEN, awaiting, meanwhile
from awslabs.roles import own_roles, require_same, role
from awslabs.show import Shown
from awslabs.workload import parameters
from awslabs.workload.ecs_qa.questions import CONTAINER, FARGATE_VCPUS, READER_NEEDS

log = logging.getLogger("awslabs.ecs_qa")  # also where it runs as __main__

VCPUS, MEMORY_GB = 1, 4  # of a task; Fargate takes 2 to 8 GB with 1 vCPU
IMAGE = "qa_bot"
MODEL = "distilbert-base-cased-distilled-squad"  # which the Dockerfile takes unless told otherwise
SMALL = "small"  # in the place of a model's name: the small reader
KEEP_LOGS_DAYS = 7
WITHOUT_FARGATE = {"apne1-az3", "usw1-az2"}  # ids of zones; source: "Amazon ECS on AWS Fargate", Regions
TASKS = "ecs-tasks.amazonaws.com"  # who acts in a role of tasks
# The rows without which there is nothing to work with.
PARTS = ("cluster", "task-definition", "subnet", "security-group", "table", "log-group")


@dataclass(frozen=True)
class Reader(Shown):
    """The lab as it stands.

    Attributes
    ----------
    cluster_name, task_definition_arn, container_name : str
        Where tasks run, and as what.
    subnet_id, security_group_id : str
        Their place in the network; nothing can connect to them.
    table_name : str
        Where the answers are put.
    image : str
        The image that the tasks pull.
    log_group : str
        What they print.
    """

    cluster_name: str
    task_definition_arn: str
    container_name: str
    subnet_id: str
    security_group_id: str
    table_name: str
    image: str
    log_group: str


@exclusive
def up(
    ledger: Ledger,
    *,
    image: str | None = None,
    model: str | None = None,
    without_docker: bool = False,
    role_arn: str | None = None,
    export: bool = False,
    ttl_minutes: int | None = None,
) -> Reader:
    """Build what tasks need: an image, a place in a network, a cluster, and a table for the answers.

    Parameters
    ----------
    ledger : Ledger
        From ``awslabs.lab("ecs_qa")``.
    image : str, optional
        An image that exists, of a public registry or of this account's ECR; nothing is built then. It must
        take the arguments that ``images/qa_bot/main.py`` takes.
    model : str, optional
        The reader's model: a name on the Hugging Face hub, or a folder on this computer, which is put into
        the image. Unless given, the Dockerfile's: a DistilBERT that has learned from SQuAD; and without
        Docker ``small``, a reader of the lab's own questions that is trained here in half a minute. Where
        that cannot be, for lack of PyTorch, the lab is built without a reader, and questions are refused.
    without_docker : bool
        Do not build with Docker, though an engine answers: only the practice cloud can run what comes of it.
    role_arn : str, optional
        A role that exists, for Fargate and for the program, where you may not make roles. It is never
        deleted. It must trust ``ecs-tasks.amazonaws.com`` and allow what the policies below would.
    export : bool
        Keep the lab's names as SSM parameters, for programs of your own that look for them there (`exports`).
    ttl_minutes : int, optional
        Minutes after the last `up` or task after which what costs ends; never, unless given.

    Returns
    -------
    Reader

    Raises
    ------
    LabError
        No Docker engine where one is needed; a build or push that fails; a model folder that is none.
    AwsError
        Refused by AWS: rights, quotas.
    """
    ec2, ecs, ecr = ledger.client("ec2"), ledger.client("ecs"), ledger.client("ecr")
    dynamodb, logs = ledger.client("dynamodb"), ledger.client("logs")

    # <0> Before anything is built: may the account run a task, can this computer build an image, and does the
    # lab stand with another?
    require_vcpus(ledger.client("service-quotas"), ledger.cloud.region)
    if image and model and not is_name(model):
        raise LabError(
            f"The model {model} cannot be put into {image}.",
            "It is a folder of this computer, and an image that exists is taken as it is.",
            f"{ledger.command('up')} --model {model}    # builds an image of the lab's own",
        )
    recipe, asked_model = recipe_with(ledger, model), model
    engine = None if image else images.engine_for(ledger, recipe, without=without_docker)
    bare = not (engine or image or ledger.cloud.is_aws)  # the program alone, for the practice cloud
    if bare and model is None and not warn_of_missing():
        model = SMALL
        recipe = recipe_with(ledger, model)
    require_same(ledger, "task-definition", "task-role", role_arn)
    require_same_image(ledger, image or f"{recipe.tag}{images.PROGRAM_TAG if bare else ''}")

    ledger.limit(ttl_minutes=ttl_minutes)

    # <1> Two roles: one for Fargate, which pulls and logs; one for the program, which saves. They come first,
    # for not everybody may make them; what they allow is named by names that will be.
    names = {one: f"{ledger.prefix}-{one}" for one in (IMAGE, "answers")}
    log_group = f"/awslabs/{ledger.prefix}"
    also = {"export=ssm": export}  # an option that may go without its value
    with own_roles(ledger, image=image, model=asked_model, no_docker=without_docker, **also):
        execution_role = role_arn or role(
            ledger,
            "execution",
            TASKS,
            policies.write_logs(ledger.arn("logs", f"log-group:{log_group}")),
            *policies.pull_image(
                ledger.arn("ecr", f"repository/{names[IMAGE]}"), *private_repository(ecr, image)
            ),
        )
        task_role = role_arn or role(
            ledger,
            "task",
            TASKS,
            allow(
                ledger.arn("dynamodb", f"table/{names['answers']}"),
                "dynamodb:GetItem",
                "dynamodb:BatchWriteItem",
            ),
            # A task definition of your own may look for the table's name there.
            allow(ledger.arn("ssm", "parameter/TABLE_NAME"), "ssm:GetParameter"),
        )

    # <2> The image. Building and pushing take minutes, so they go on while AWS makes all the rest.
    repository = ledger.create("repository", ecr.create_repository, repositoryName=names[IMAGE])
    pushed = None if image else meanwhile(images.publish, ledger, repository, recipe, engine)

    # <3> The table of answers, paid per request.
    table = ledger.create(
        "table",
        dynamodb.create_table,
        TableName=names["answers"],
        AttributeDefinitions=[{"AttributeName": "item_id", "AttributeType": "S"}],
        KeySchema=[{"AttributeName": "item_id", "KeyType": "HASH"}],
        BillingMode="PAY_PER_REQUEST",
    )

    # <4> The network. Tasks get a public address, to pull the image; no rule lets anybody in.
    zone = next(name for name, zone_id in whole_zones(ec2).items() if zone_id not in WITHOUT_FARGATE)
    vpc_id, _ = public_network(ledger, "10.12.0.0/23", [Subnet("subnet", zone, "10.12.0.0/24")])
    ledger.create(
        "security-group",
        ec2.create_security_group,
        VpcId=vpc_id,
        GroupName=f"{ledger.prefix}-tasks",
        Description="Tasks: nobody may connect to them",
    )

    # <5> The log, which forgets after a week: else AWS would keep it, and charge for it, for ever.
    ledger.create("log-group", logs.create_log_group, logGroupName=log_group)
    ensure(logs.put_retention_policy, logGroupName=log_group, retentionInDays=KEEP_LOGS_DAYS)

    # <6> The cluster: a name under which tasks run. With Fargate there is no server in it.
    ledger.create("cluster", ecs.create_cluster, clusterName=f"{ledger.prefix}-cluster")

    # <7> What a task is. It names the image, so here the push must be done.
    variables = {
        "TABLE_NAME": table,
        "AWS_REGION": ledger.cloud.region,
        **model_variables(model, image=image, bare=bare),
    }
    ledger.create(
        "task-definition",
        ecs.register_task_definition,
        family=f"{ledger.prefix}-{IMAGE}",
        requiresCompatibilities=["FARGATE"],
        networkMode="awsvpc",
        cpu=str(VCPUS * 1024),
        memory=str(MEMORY_GB * 1024),
        runtimePlatform={"cpuArchitecture": "X86_64", "operatingSystemFamily": "LINUX"},
        executionRoleArn=execution_role,
        taskRoleArn=task_role,
        containerDefinitions=[
            {
                "name": CONTAINER,
                "image": pushed() if pushed else image,
                "essential": True,
                "environment": [{"name": name, "value": value} for name, value in variables.items()],
                "logConfiguration": {
                    "logDriver": "awslogs",
                    "options": {
                        "awslogs-group": log_group,
                        "awslogs-region": ledger.cloud.region,
                        "awslogs-stream-prefix": "task",
                    },
                },
            }
        ],
    )
    with awaiting(f"the table {table} is active"):
        dynamodb.get_waiter("table_exists").wait(TableName=table, WaiterConfig=OFTEN)
    lab = describe(ledger)
    if export:
        parameters.put(ledger, exports(lab))
    return lab


def exports(lab: Reader) -> dict[str, str]:
    """What a program of your own needs to run tasks and to read answers, by the names it may look for."""
    return {
        "ECS_CLUSTER_NAME": lab.cluster_name,
        "ECS_TASK_DEFINITION_ARN": lab.task_definition_arn,
        "CONTAINER_NAME": lab.container_name,
        "ECS_TASK_VPC_SUBNET_1": lab.subnet_id,
        "TABLE_NAME": lab.table_name,
    }


def describe(ledger: Ledger) -> Reader:
    """The lab's names, from its ledger and its task definition. AWS calls: ``ecs:DescribeTaskDefinition``.

    Raises
    ------
    LabError
        When the lab does not stand.
    """
    stands = ledger.whole(PARTS)
    shown = ledger.client("ecs").describe_task_definition(taskDefinition=stands["task-definition"])
    (container,) = shown["taskDefinition"]["containerDefinitions"]
    return Reader(
        cluster_name=stands["cluster"],
        task_definition_arn=stands["task-definition"],
        container_name=CONTAINER,
        subnet_id=stands["subnet"],
        security_group_id=stands["security-group"],
        table_name=stands["table"],
        image=container["image"],
        log_group=stands["log-group"],
    )


def down(ledger: Ledger) -> None:
    """Stop what runs, and take everything down again, with the answers in the table and the images."""
    ledger.down()


# -- What `up` asks before it builds ---------------------------------------------------------------------


def require_vcpus(quotas: Any, region: str) -> None:
    """Stop before anything is built if the account may not run a single task. AWS calls: as `quota_value`."""
    if (allowed := quota_value(quotas, "fargate", FARGATE_VCPUS)) < VCPUS:
        raise AwsError(
            f"This account may not run a Fargate task in {region}.",
            f"A task needs {VCPUS} vCPU; the quota of Fargate vCPUs ({FARGATE_VCPUS}) is {allowed:.0f}.",
            ask_for_quota("fargate", FARGATE_VCPUS, 16, place_of(quotas)),
            code="VcpuLimitExceeded",
            operation="ecs:RunTask",
        )


def require_same_image(ledger: Ledger, image: str) -> None:
    """A lab keeps its image while it stands; to say so after building another one would be late.

    AWS calls: ``ecs:DescribeTaskDefinition``.
    """
    ecs, stands = ledger.client("ecs"), ledger.resources
    if "task-definition" not in stands:
        return
    try:
        shown = ecs.describe_task_definition(taskDefinition=stands["task-definition"])["taskDefinition"]
    except ecs.exceptions.ClientException:
        return  # somebody has deleted it: it is made anew, with whatever is asked for now
    other = shown["containerDefinitions"][0]["image"]
    if shown["status"] == "ACTIVE" and image not in (other, other.rpartition(":")[2]):
        ledger.refuse_other(other)


def warn_of_missing() -> bool:
    """Say at once that the practice cloud will have no reader: whether this Python cannot make one."""
    lacks = images.lacking(READER_NEEDS)
    if lacks:
        log.warning("no reader goes into the image: this Python has no %s", " and no ".join(lacks))
    return bool(lacks)


def recipe_with(ledger: Ledger, model: str | None) -> images.Recipe:
    """The image with this model: a name goes to the build, a folder into the image."""
    if model is None:
        return images.Recipe(IMAGE)
    folder = small_reader(ledger) if model == SMALL else Path(model)
    if not is_name(model) or folder.is_absolute() or model.startswith("."):
        if not (folder / "config.json").is_file():
            raise LabError(
                f"{folder} holds no model.",
                "There is no config.json in it, as transformers' save_pretrained writes it.",
                "name another folder, or a model of the Hugging Face hub: --model NAME",
            )
        return images.Recipe(IMAGE, {"MODEL": "model"}, {"model": folder})
    return images.Recipe(IMAGE, {"MODEL": model})


def small_reader(ledger: Ledger) -> Path:
    """The folder of a reader that knows the lab's own questions, trained once in the life of the lab.

    It is for the practice cloud: the real one would be 260 MB to fetch, for each task anew.
    """
    folder = ledger.directory / "small-reader"
    if (folder / "config.json").exists():
        return folder
    if lacks := images.lacking(READER_NEEDS):
        raise LabError(
            "The reader cannot run on this computer.",
            f"Without Docker it runs with this Python, which has no {' and no '.join(lacks)}.",
            f"{install('ml')}    # or start Docker",
        )
    program = images.folder(IMAGE) / "small_reader.py"
    journal.make_private(ledger.directory)
    with awaiting("a small reader is trained"), tempfile.TemporaryDirectory(dir=ledger.directory) as begun:
        trained = subprocess.run(
            [sys.executable, program, begun], capture_output=True, text=True, check=False
        )
        if trained.returncode:
            raise LabError(
                "The small reader was not trained.", trained.stderr[-500:], f"python {program} /tmp/it"
            )
        shutil.copytree(begun, folder.with_suffix(".part"), dirs_exist_ok=True)
        folder.with_suffix(".part").rename(folder)  # whole, or not there
    return folder


def model_variables(model: str | None, *, image: str | None, bare: bool) -> dict[str, str]:
    """What answers call the model; and where it is, if no build has put it where a program looks first."""
    if model is None:
        return {} if image else {"QA_MODEL_NAME": MODEL}
    name = model if is_name(model) else Path(model).resolve().name
    place = {"QA_MODEL": model if is_name(model) else "model"} if bare or image else {}
    return {**place, "QA_MODEL_NAME": name}


def private_repository(ecr: Any, image: str | None) -> list[str]:
    """The ARN of the ECR repository of this account that an image lies in; none for images of elsewhere.

    AWS calls: ``ecr:DescribeRepositories``.
    """
    uri = re.sub(r"(@.*|:[^/]*)$", "", image or "")
    name = uri.partition("/")[2]
    if not name:
        return []
    try:
        (shown,) = ecr.describe_repositories(repositoryNames=[name])["repositories"]
    except ecr.exceptions.ClientError as error:
        log.info("%s is taken for a public image: %s", image, error)
        return []
    return [shown["repositoryArn"]] if shown["repositoryUri"] == uri else []


def is_name(model: str) -> bool:
    """Whether a model is one of the Hugging Face hub, and not a folder of this computer."""
    return model != SMALL and not Path(model).is_dir()


# -- The command line ------------------------------------------------------------------------------------


def command_line() -> Any:
    """``python -m awslabs.ecs_qa``: this page from a terminal."""
    import click

    from awslabs import cli
    from awslabs.workload.ecs_qa import questions, verbs

    group = cli.lab_group("ecs_qa", __doc__)

    @cli.verb(group, "up", "ecs_qa")
    @click.option(
        "--image", metavar="URI", help="An image that exists, public or in your ECR; nothing is built then."
    )
    @click.option(
        "--model",
        metavar="NAME_OR_FOLDER",
        help="Another model for question answering; small: one that is trained here.",
    )
    @cli.NO_DOCKER
    @cli.ROLE_ARN
    @cli.EXPORT
    @cli.ttl()
    @cli.ends_by_itself
    def _up(ledger: Ledger, export: str | None, **how: Any) -> dict[str, Any] | None:
        """Build the image, the cluster, the table and the network."""
        cli.announce(ledger, "an image, a cluster, a table and a network", 0.0)
        price = prices.fargate_hour(VCPUS, MEMORY_GB, ledger.cloud.region)
        cli.say(f"While tasks run, each costs {cli.per_hour(price, ledger.cloud.region)}.")
        lab = up(ledger, export=export == "ssm", **how)
        cli.say(f"Ask it: {ledger.command('ask')} CONTEXT QUESTION")
        cli.farewell(ledger)
        return parameters.built(ledger, lab, exports(lab), export)

    def report(ledger: Ledger) -> dict[str, Any]:
        running = sum(row.name == "task" for row in ledger.journal.open_rows())
        return {**vars(describe(ledger)), "tasks_running": running}

    cli.add_status(group, "ecs_qa", PARTS, report)
    verbs.add(group, "ecs_qa", describe)
    cli.add_down(group, "ecs_qa", down, questions.bring_home)
    return group


if __name__ == "__main__":
    command_line()(prog_name="python -m awslabs.ecs_qa")
