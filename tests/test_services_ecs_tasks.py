"""The rules of ECS: moto alone, then with the rule; and the life of a task, without anything behind it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from test_services_support import TRUST, Case, Net, check, client, cloud, net, refused, said, table, wait

from awslabs.sandbox.core import weather
from awslabs.sandbox.services.ecs import tasks
from awslabs.sandbox.services.ecs.tasks import Task

FOR_TASKS = TRUST % '{"Service":"ecs-tasks.amazonaws.com"}'
FOR_LAMBDA = TRUST % '{"Service":"lambda.amazonaws.com"}'
ACCOUNT = "123456789012"
LOGS = {"awslogs-group": "/lab", "awslogs-region": "us-east-1", "awslogs-stream-prefix": "t"}
LOGGING = {"logDriver": "awslogs", "options": LOGS}


def role(name: str = "lab", trust: str = FOR_TASKS) -> str:
    return client("iam").create_role(RoleName=name, AssumeRolePolicyDocument=trust)["Role"]["Arn"]


def container(**more: Any) -> dict[str, Any]:
    return {"name": "app", "image": "python:3.13-slim", "memory": 512} | more


def definition(**more: Any) -> dict[str, Any]:
    request = {
        "family": "lab",
        "requiresCompatibilities": ["FARGATE"],
        "networkMode": "awsvpc",
        "cpu": "1024",
        "memory": "4096",
        "containerDefinitions": [container()],
    }
    return {name: value for name, value in (request | more).items() if value is not None}


def define(**more: Any) -> str:
    answer = client("ecs").register_task_definition(**definition(**more))
    return answer["taskDefinition"]["taskDefinitionArn"]


def defined(**more: Any) -> str:
    """What RegisterTaskDefinition says."""
    return said(client("ecs").register_task_definition, **definition(**more))


def cluster(name: str = "lab") -> str:
    return client("ecs").create_cluster(clusterName=name)["cluster"]["clusterArn"]


def asked(place: Net, **more: Any) -> dict[str, Any]:
    network = {"subnets": [place.subnet_id], "securityGroups": [place.group_id], "assignPublicIp": "ENABLED"}
    return {
        "cluster": "lab",
        "taskDefinition": "lab",
        "launchType": "FARGATE",
        "networkConfiguration": {"awsvpcConfiguration": network},
    } | more


def ready() -> Net:
    """A network with DNS names (which moto needs), a cluster and a definition."""
    place = net()
    client("ec2").modify_vpc_attribute(VpcId=place.vpc_id, EnableDnsHostnames={"Value": True})
    cluster()
    define()
    return place


def run(place: Net, **more: Any) -> list[str]:
    answer = client("ecs").run_task(**asked(place, **more))
    assert answer["failures"] == []
    return [each["taskArn"] for each in answer["tasks"]]


def task(arn: str, name: str = "lab") -> dict[str, Any]:
    return client("ecs").describe_tasks(cluster=name, tasks=[arn])["tasks"][0]


def listed(**more: Any) -> int:
    return len(client("ecs").list_tasks(cluster="lab", **more)["taskArns"])


# --- clusters -----------------------------------------------------------------------------------------


def the_first_cluster() -> list[Any]:
    create = client("ecs").create_cluster
    answers = [said(create, clusterName="lab")]
    wait(8)
    answers.append(said(create, clusterName="lab"))
    answers.append(said(create, clusterName="second"))
    roles = client("iam").list_roles(PathPrefix="/aws-service-role/")["Roles"]
    return [*answers, [each["RoleName"] for each in roles]]


def the_same_cluster_again() -> list[Any]:
    ecs = client("ecs")
    ecs.create_cluster(clusterName="lab", tags=[{"key": "a", "value": "b"}])
    ecs.create_cluster(clusterName="lab")
    (found,) = ecs.describe_clusters(clusters=["lab"], include=["TAGS"])["clusters"]
    ecs.delete_cluster(cluster="lab")
    ecs.create_cluster(clusterName="lab")
    (again,) = ecs.describe_clusters(clusters=["lab"])["clusters"]
    return [found.get("tags"), again["status"]]


def a_bad_cluster_name() -> str:
    return said(client("ecs").create_cluster, clusterName="a b")


def a_deleted_cluster() -> list[Any]:
    ecs = client("ecs")
    cluster()
    ecs.delete_cluster(cluster="lab")
    (found,) = ecs.describe_clusters(clusters=["lab"])["clusters"]
    return [found["status"], len(ecs.list_clusters()["clusterArns"])]


@table(
    Case(
        "ecs_has_a_role_of_its_own",
        the_first_cluster,
        ["ok", "ok", "ok", []],
        ["InvalidParameterException", "ok", "ok", ["AWSServiceRoleForECS"]],
        weather=(("slow_states", 1.0),),
    ),
    Case(
        "a_cluster_is_made_once",
        the_same_cluster_again,
        [None, "ACTIVE"],
        [[{"key": "a", "value": "b"}], "ACTIVE"],
    ),
    Case("a_cluster_is_made_once", a_bad_cluster_name, "ok", "InvalidParameterException"),
    Case("inactive_clusters_are_not_listed", a_deleted_cluster, ["INACTIVE", 1], ["INACTIVE", 0]),
)
def test_clusters(case: Case) -> None:
    check(case)


# --- definitions --------------------------------------------------------------------------------------


def pairs() -> list[str]:
    return [
        f"{cpu} {memory}"
        for cpu, memory in (
            *((256, 512), (256, 4096), (512, 512), (512, 1024), (1024, 1024), (1024, 2048), (1024, 8192)),
            *((1024, 9216), (2048, 4096), (4096, 30720), (4096, 8191), (8192, 16384), (8192, 17408)),
            *((16384, 32768), (16384, 33792), (1000, 2048)),
        )
        if defined(cpu=str(cpu), memory=str(memory)) == "ok"
    ]


GOOD = [
    *(
        "256 512",
        "512 1024",
        "1024 2048",
        "1024 8192",
        "2048 4096",
        "4096 30720",
        "8192 16384",
        "16384 32768",
    ),
]
ALL = [
    *("256 512", "256 4096", "512 512", "512 1024", "1024 1024", "1024 2048", "1024 8192", "1024 9216"),
    *("2048 4096", "4096 30720", "4096 8191", "8192 16384", "8192 17408", "16384 32768", "16384 33792"),
    "1000 2048",
]


def other_networks() -> list[str]:
    return [defined(networkMode="bridge"), defined(networkMode=None)]


def no_size() -> list[str]:
    return [defined(cpu=None), defined(memory=None), defined(cpu="many")]


def sizes_in_words() -> tuple[str, str]:
    define(cpu="1 vCPU", memory="4GB")
    found = client("ecs").describe_task_definition(taskDefinition="lab")["taskDefinition"]
    return found["cpu"], found["memory"]


def logs_without_a_role() -> list[str]:
    logging = [container(logConfiguration=LOGGING)]
    without = defined(containerDefinitions=logging)
    return [without, defined(containerDefinitions=logging, executionRoleArn=role())]


def ecr_without_a_role() -> list[str]:
    image = [container(image=f"{ACCOUNT}.dkr.ecr.us-east-1.amazonaws.com/lab:1")]
    return [defined(containerDefinitions=image), defined(containerDefinitions=image, executionRoleArn=role())]


def roles_that_are_not_there() -> list[str]:
    arn = f"arn:aws:iam::{ACCOUNT}:role/nobody"
    return [defined(taskRoleArn=arn), defined(executionRoleArn=arn)]


def logs_without_a_group() -> str:
    bare = {"logDriver": "awslogs", "options": {"awslogs-region": "us-east-1"}}
    return defined(containerDefinitions=[container(logConfiguration=bare)], executionRoleArn=role())


def odd_containers() -> list[str]:
    return [
        defined(containerDefinitions=[]),
        defined(containerDefinitions=[container(), container()]),
        defined(containerDefinitions=[container(essential=False)]),
        defined(containerDefinitions=[container(memory=9999)]),
        defined(family="a b"),
    ]


REFUSED = "ClientException"


@table(
    Case("fargate_definitions_fit", pairs, ALL, GOOD),
    Case("fargate_definitions_fit", other_networks, ["ok", "ok"], [REFUSED] * 2),
    Case("fargate_definitions_fit", no_size, ["ok"] * 3, [REFUSED] * 3),
    Case("fargate_definitions_fit", sizes_in_words, ("1 vCPU", "4GB"), ("1024", "4096")),
    Case("fargate_definitions_fit", logs_without_a_role, ["ok", "ok"], [REFUSED, "ok"]),
    Case("fargate_definitions_fit", ecr_without_a_role, ["ok", "ok"], [REFUSED, "ok"]),
    Case("fargate_definitions_fit", roles_that_are_not_there, ["ok", "ok"], [REFUSED] * 2),
    Case("fargate_definitions_fit", logs_without_a_group, "ok", REFUSED),
    Case("fargate_definitions_fit", odd_containers, ["ok"] * 5, [REFUSED] * 5),
)
def test_definitions(case: Case) -> None:
    check(case)


def a_family_means_its_newest_active() -> list[Any]:
    ecs = client("ecs")
    for _ in range(2):
        define()
    ecs.deregister_task_definition(taskDefinition="lab:2")
    found = ecs.describe_task_definition(taskDefinition="lab")["taskDefinition"]["revision"]
    ecs.deregister_task_definition(taskDefinition="lab:1")
    return [found, said(ecs.describe_task_definition, taskDefinition="lab")]


def numbers_never_start_again() -> list[int]:
    ecs = client("ecs")
    define()
    ecs.deregister_task_definition(taskDefinition="lab:1")
    ecs.delete_task_definitions(taskDefinitions=["lab:1"])
    wait(10)
    return [int(define().rpartition(":")[2])]


def deletion_takes_a_moment() -> list[Any]:
    ecs = client("ecs")
    arn = define()
    early = ecs.delete_task_definitions(taskDefinitions=[arn])["failures"]
    ecs.deregister_task_definition(taskDefinition=arn)
    (gone,) = ecs.delete_task_definitions(taskDefinitions=[arn])["taskDefinitions"]
    then = said(ecs.describe_task_definition, taskDefinition=arn)
    going = ecs.list_task_definitions(status="DELETE_IN_PROGRESS")["taskDefinitionArns"]
    wait(5)
    later = said(ecs.describe_task_definition, taskDefinition=arn)
    return [len(early), gone["status"], then, len(going), later]


def families() -> list[list[str]]:
    ecs = client("ecs")
    define(family="used")
    define(family="old")
    ecs.deregister_task_definition(taskDefinition="old:1")
    define(family="gone")
    ecs.deregister_task_definition(taskDefinition="gone:1")
    ecs.delete_task_definitions(taskDefinitions=["gone:1"])
    shown = (ecs.list_task_definition_families(status=each) for each in ("ACTIVE", "INACTIVE", "ALL"))
    return [sorted(each["families"]) for each in shown]


EVERY = ["gone", "old", "used"]


@table(
    Case("definitions_live", a_family_means_its_newest_active, [2, "ok"], [1, REFUSED]),
    Case("definitions_live", numbers_never_start_again, [1], [2]),
    Case(
        "definitions_live",
        deletion_takes_a_moment,
        [1, "DELETE_IN_PROGRESS", REFUSED, 0, REFUSED],
        [1, "DELETE_IN_PROGRESS", "ok", 1, REFUSED],
        weather=(("slow_states", 1.0),),
    ),
    Case("families_that_are", families, [EVERY] * 3, [["used"], ["old"], ["old", "used"]]),
)
def test_the_life_of_a_definition(case: Case) -> None:
    check(case)


# --- running ------------------------------------------------------------------------------------------


def too_many() -> list[str]:
    place = ready()
    return [said(client("ecs").run_task, **asked(place, count=count)) for count in (10, 11)]


def a_network_that_is_not_there() -> list[str]:
    place, other = ready(), net(cidr="10.10.1.0/24")
    answers = []
    for subnet, group in (
        ("subnet-1", place.group_id),
        (place.subnet_id, "sg-1"),
        (place.subnet_id, other.group_id),
    ):
        network = {"awsvpcConfiguration": {"subnets": [subnet], "securityGroups": [group]}}
        answers.append(said(client("ecs").run_task, **asked(place, networkConfiguration=network)))
    return answers


def the_same_token() -> list[Any]:
    place = ready()
    first, second = (run(place, clientToken="token") for _ in range(2))
    other = said(client("ecs").run_task, **asked(place, clientToken="token", startedBy="me"))
    return [first == second, other, listed()]


def an_inactive_definition() -> list[str]:
    place = ready()
    client("ecs").deregister_task_definition(taskDefinition="lab:1")
    names = ("lab:1", "lab", "lab:7", "unknown")
    return [said(client("ecs").run_task, **asked(place, taskDefinition=name)) for name in names]


def clusters_that_are_not_there() -> list[str]:
    place = ready()
    cluster("old")
    client("ecs").delete_cluster(cluster="old")
    return [said(client("ecs").run_task, **asked(place, cluster=name)) for name in ("unknown", "old")]


def long_overrides() -> list[str]:
    place, answers = ready(), []
    for size in (8000, 8192):
        each = {"name": "app", "command": ["x" * size]}
        request = asked(place, overrides={"containerOverrides": [each]})
        answers.append(said(client("ecs").run_task, **request))
    return answers


def odd_overrides() -> list[str]:
    place = ready()
    return [
        said(client("ecs").run_task, **asked(place, overrides=overrides))
        for overrides in (
            {"containerOverrides": [{"name": "other"}]},
            {"cpu": "256", "memory": "8192"},
            {"cpu": "4096"},
            {"cpu": "2048", "memory": "8 GB"},
        )
    ]


def a_fresh_role() -> list[str]:
    place = ready()
    define(taskRoleArn=role())
    early = said(client("ecs").run_task, **asked(place))
    wait(8)
    define(executionRoleArn=role("other", FOR_LAMBDA), family="other")
    wait(8)
    other = said(client("ecs").run_task, **asked(place, taskDefinition="other"))
    return [early, said(client("ecs").run_task, **asked(place)), other]


def other_launches() -> list[str]:
    place = ready()
    strategy = [{"capacityProvider": "FARGATE_SPOT"}]
    both = asked(place, capacityProviderStrategy=strategy)
    spot = {name: value for name, value in both.items() if name != "launchType"}
    return [
        said(client("ecs").run_task, **asked(place, launchType="EC2")),
        said(client("ecs").run_task, **both),
        said(client("ecs").run_task, **spot),
    ]


def an_unknown_task() -> list[Any]:
    place = ready()
    ecs = client("ecs")
    (arn,) = run(place)
    answer = ecs.describe_tasks(cluster="lab", tasks=[arn, "unknown"])
    return [len(answer["tasks"]), answer["failures"]]


def listing() -> list[Any]:
    place = ready()
    define(family="other")
    (stopped,) = run(place, startedBy="me")
    run(place, startedBy="you")
    run(place, taskDefinition="other")
    client("ecs").stop_task(cluster="lab", task=stopped)
    return [
        listed(),
        listed(desiredStatus="STOPPED"),
        listed(family="lab"),
        listed(startedBy="you"),
        listed(startedBy="me"),
        said(client("ecs").list_tasks, cluster="lab", startedBy="me", desiredStatus="STOPPED"),
        listed(desiredStatus="PENDING"),
    ]


def in_a_row() -> list[int]:
    """How many of 25 calls go through at once, and of 12 calls for ten tasks each; then after a second."""
    place, went = ready(), []
    for calls, count in ((25, 1), (12, 10), (1, 1)):
        answers = [said(client("ecs").run_task, **asked(place, count=count)) for _ in range(calls)]
        assert set(answers) <= {"ok", "ThrottlingException"}
        went.append(answers.count("ok"))
        wait(2 if count == 1 else 1)
    return went


def no_task() -> str:
    ready()
    return said(client("ecs").stop_task, cluster="lab", task="unknown")


def a_cluster_that_is_used() -> list[str]:
    ecs = client("ecs")
    (arn,) = run(ready())
    early = said(ecs.delete_cluster, cluster="lab")
    ecs.stop_task(cluster="lab", task=arn)
    wait(20)
    return [early, said(ecs.delete_cluster, cluster="lab")]


def its_interface() -> list[Any]:
    place = ready()
    (arn,) = run(place)
    ec2 = client("ec2")
    network_interface = _interface_of(arn)
    by_hand = said(ec2.delete_network_interface, NetworkInterfaceId=network_interface)
    in_use = said(ec2.delete_security_group, GroupId=place.group_id)
    client("ecs").stop_task(cluster="lab", task=arn)
    wait(20)
    left = ec2.describe_network_interfaces()["NetworkInterfaces"]
    return [by_hand, in_use, len(left), said(ec2.delete_subnet, SubnetId=place.subnet_id)]


def _interface_of(arn: str) -> str:
    details = task(arn)["attachments"][0]["details"]
    return next(each["value"] for each in details if each["name"] == "networkInterfaceId")


INVALID = "InvalidParameterException"


@table(
    Case("tasks_run", too_many, ["ok", "ok"], ["ok", INVALID]),
    Case("tasks_run", a_network_that_is_not_there, ["InvalidSubnetID.NotFound", "ok", "ok"], [INVALID] * 3),
    Case("tasks_run", the_same_token, [False, "ok", 3], [True, "ConflictException", 1]),
    Case("tasks_run", an_inactive_definition, ["ok", "ok", REFUSED, REFUSED], [REFUSED] * 4),
    Case(
        "tasks_run",
        clusters_that_are_not_there,
        ["ClusterNotFoundException", "ok"],
        ["ClusterNotFoundException"] * 2,
    ),
    Case("tasks_run", long_overrides, ["ok", "ok"], ["ok", INVALID]),
    Case("tasks_run", odd_overrides, ["ok"] * 4, [INVALID, REFUSED, REFUSED, "ok"]),
    Case(
        "tasks_run",
        a_fresh_role,
        ["ok", "ok", "ok"],
        [REFUSED, "ok", REFUSED],
        weather=(("slow_states", 1.0),),
        needs=("propagation",),
    ),
    Case("tasks_run", other_launches, "Exception", [INVALID] * 3),
    Case(
        "tasks_run",
        an_unknown_task,
        [1, []],
        [1, [{"arn": f"arn:aws:ecs:us-east-1:{ACCOUNT}:task/lab/unknown", "reason": "MISSING"}]],
    ),
    Case("tasks_run", listing, [3, 1, 2, 1, 1, "ok", 0], [2, 1, 1, 1, 0, INVALID, 0]),
    Case("run_task_rates", in_a_row, [25, 12, 1], [20, 10, 1], weather=(("slow_states", 1.0),)),
    Case("tasks_run", no_task, "Exception", INVALID),
    Case(
        "cluster_in_use",
        a_cluster_that_is_used,
        ["ok", "ok"],
        ["ClusterContainsTasksException", "ok"],
        needs=("tasks_run",),
    ),
    Case(
        "interface_of_a_task",
        its_interface,
        ["ok", "ok", 0, "ok"],
        ["InvalidParameterValue", "DependencyViolation", 0, "ok"],
        needs=("tasks_run", "security_group_in_use", "subnet_in_use"),
    ),
)
def test_running(case: Case) -> None:
    check(case)


# --- the life of a task ---------------------------------------------------------------------------------


class Record:
    """A runner that does nothing by itself, and remembers what it was told."""

    def __init__(self) -> None:
        self.started: list[Task] = []
        self.stopped: list[Task] = []

    def start(self, task: Task) -> None:
        self.started.append(task)

    def stop(self, task: Task) -> None:
        self.stopped.append(task)


@pytest.fixture
def runner(monkeypatch: pytest.MonkeyPatch) -> Record:
    made = Record()
    monkeypatch.setattr(tasks, "runner", made)
    return made


def state(arn: str) -> tuple[str, str]:
    found = task(arn)
    return found["lastStatus"], found["desiredStatus"]


def test_a_task_goes_from_provisioning_to_stopped_in_its_time(runner: Record) -> None:
    with cloud(every=True, slow_states=1.0):
        place = net()
        said(client("ecs").create_cluster, clusterName="lab")
        wait(8)
        cluster()
        define()
        (arn,) = run(place)
        assert state(arn) == ("PROVISIONING", "RUNNING")
        assert [each["lastStatus"] for each in task(arn)["containers"]] == ["PENDING"]
        wait(4.9)
        assert state(arn) == ("PROVISIONING", "RUNNING")
        wait(0.2)
        assert state(arn) == ("PENDING", "RUNNING")
        assert runner.started == []
        wait(2)
        assert state(arn) == ("PENDING", "RUNNING")
        (running,) = runner.started
        running.running(running.containers)
        assert state(arn) == ("RUNNING", "RUNNING")
        (shown,) = client("ecs").describe_clusters(clusters=["lab"])["clusters"]
        assert (shown["runningTasksCount"], shown["pendingTasksCount"]) == (1, 0)
        assert "exitCode" not in task(arn)["containers"][0]
        running.container_ended(running.containers[0], 3)
        assert state(arn) == ("DEPROVISIONING", "STOPPED")
        assert len(client("ec2").describe_network_interfaces()["NetworkInterfaces"]) == 1
        wait(4.1)
        assert state(arn) == ("STOPPED", "STOPPED")
        assert client("ec2").describe_network_interfaces()["NetworkInterfaces"] == []
        found = task(arn)
        assert (found["stopCode"], found["containers"][0]["exitCode"]) == ("EssentialContainerExited", 3)
        wait(3590)
        assert state(arn)[0] == "STOPPED"
        wait(20)
        answer = client("ecs").describe_tasks(cluster="lab", tasks=[arn])
        assert answer["failures"] == [{"arn": arn, "reason": "MISSING"}]
        assert runner.stopped == []


def test_a_task_that_is_stopped_waits_for_its_containers(runner: Record) -> None:
    with cloud("tasks_run"):
        place = ready()
        (arn,) = run(place)
        state(arn)
        (running,) = runner.started
        running.running(running.containers)
        answer = client("ecs").stop_task(cluster="lab", task=arn, reason="enough")["task"]
        assert (answer["lastStatus"], answer["desiredStatus"]) == ("STOPPING", "STOPPED")
        client("ecs").stop_task(cluster="lab", task=arn, reason="again")
        assert runner.stopped == [running]
        running.container_ended(running.containers[0], 137)
        found = task(arn)
        assert (found["lastStatus"], found["stoppedReason"]) == ("STOPPED", "enough")


def test_a_task_that_cannot_start_says_why(runner: Record) -> None:
    with cloud("tasks_run"):
        place = ready()
        pulled, refused_log = run(place)[0], run(place)[0]
        state(pulled)
        for started in runner.started:
            if started.task_arn == pulled:
                started.container_ended(started.containers[0], None, "CannotPullContainerError: no")
            else:
                started.failed("ResourceInitializationError: no")
        for arn, reason in (
            (pulled, "CannotPullContainerError: no"),
            (refused_log, "ResourceInitializationError: no"),
        ):
            found = task(arn)
            assert (found["stopCode"], found["stoppedReason"]) == ("TaskFailedToStart", reason)
            assert found["lastStatus"] == "STOPPED"
            assert "startedAt" not in found


def test_without_a_runner_a_task_is_a_record_that_runs_until_it_is_stopped() -> None:
    with cloud("tasks_run"):
        place = ready()
        (arn,) = run(place)
        assert state(arn) == ("RUNNING", "RUNNING")
        wait(86_400)
        assert state(arn) == ("RUNNING", "RUNNING")
        client("ecs").stop_task(cluster="lab", task=arn)
        assert state(arn) == ("STOPPED", "STOPPED")
        assert task(arn)["stopCode"] == "UserInitiated"


def test_what_a_task_is_asked_for_is_shown() -> None:
    with cloud("tasks_run", "fargate_definitions_fit"):
        place = ready()
        each = {"name": "app", "command": ["a"], "environment": [{"name": "X", "value": "1"}]}
        overrides = {"containerOverrides": [each], "cpu": "2 vCPU", "memory": "8192"}
        more: dict[str, Any] = {"startedBy": "token", "group": "g", "tags": [{"key": "k", "value": "v"}]}
        (arn,) = run(place, overrides=overrides, **more)
        found = task(arn)
        assert (found["startedBy"], found["group"], found.get("tags")) == ("token", "g", None)
        assert (found["cpu"], found["memory"], found["platformVersion"]) == ("2048", "8192", "1.4.0")
        assert found["overrides"]["containerOverrides"] == [each]
        tagged = client("ecs").describe_tasks(cluster="lab", tasks=[arn], include=["TAGS"])["tasks"]
        assert tagged[0]["tags"] == more["tags"]
        found_by_tag = client("resourcegroupstaggingapi").get_resources(TagFilters=[{"Key": "k"}])
        assert [each["ResourceARN"] for each in found_by_tag["ResourceTagMappingList"]] == [arn]
        client("ecs").stop_task(cluster="lab", task=arn)
        assert (
            "tags"
            not in client("ecs").describe_tasks(cluster="lab", tasks=[arn], include=["TAGS"])["tasks"][0]
        )


def test_capacity_and_vcpus_that_are_not_there_come_as_failures() -> None:
    with cloud("tasks_run", account="new"):
        place = ready()
        weather.current.change({"faults": ["fargate:PlaceTask=Capacity:1:2", "fargate:PlaceTask=cut:1:1"]})
        answer = client("ecs").run_task(**asked(place, count=10))
        assert len(answer["tasks"]) == 6  # of 1 vCPU each
        reasons = [each["reason"] for each in answer["failures"]]
        assert [reason.partition(" ")[0] for reason in reasons] == [
            "Capacity",
            "Capacity",
            "You’ve",
            "You’ve",
        ]
        client("ecs").stop_task(cluster="lab", task=answer["tasks"][0]["taskArn"])
        assert len(client("ecs").run_task(**asked(place))["tasks"]) == 1


def test_a_call_without_room_is_not_remembered_by_its_token() -> None:
    with cloud("tasks_run"):
        place = ready()
        weather.current.change({"faults": ["fargate:PlaceTask=Capacity:1:1"]})
        request = asked(place, clientToken="token")
        assert client("ecs").run_task(**request)["tasks"] == []
        assert len(client("ecs").run_task(**request)["tasks"]) == 1


def test_a_role_that_cannot_be_assumed_is_named_as_aws_does() -> None:
    with cloud("tasks_run", "propagation", slow_states=1.0):
        place = ready()
        define(taskRoleArn=role())
        code, message, status = refused(client("ecs").run_task, **asked(place))
    assert (code, status) == ("ClientException", 400)
    assert message.startswith(f"ECS was unable to assume the role 'arn:aws:iam::{ACCOUNT}:role/lab' that was")


def test_no_network_is_named_as_aws_does() -> None:
    with cloud("tasks_run"):
        request = asked(ready())
        del request["networkConfiguration"]
        code, message, _ = refused(client("ecs").run_task, **request)
    assert (code, message) == (
        INVALID,
        "Network Configuration must be provided when networkMode 'awsvpc' is specified.",
    )


def test_a_definition_that_a_task_needs_stays_until_it_has_ended() -> None:
    with cloud("tasks_run", "definitions_live"):
        place = ready()
        (arn,) = run(place)
        ecs = client("ecs")
        ecs.deregister_task_definition(taskDefinition="lab:1")
        ecs.delete_task_definitions(taskDefinitions=["lab:1"])
        wait(60)
        shown = ecs.describe_task_definition(taskDefinition="lab:1")["taskDefinition"]
        assert shown["status"] == "DELETE_IN_PROGRESS"
        assert said(ecs.run_task, **asked(place, taskDefinition="lab:1")) == "ClientException"
        ecs.stop_task(cluster="lab", task=arn)
        task(arn)
        assert said(ecs.describe_task_definition, taskDefinition="lab:1") == "ClientException"


@pytest.mark.parametrize(
    "more",
    [
        {"secrets": [{"name": "X", "valueFrom": "arn:aws:ssm:us-east-1:1:parameter/x"}]},
        {"healthCheck": {"command": ["CMD", "true"]}},
        {"logConfiguration": {"logDriver": "splunk"}},
    ],
    ids=json.dumps,
)
def test_a_container_that_would_run_otherwise_than_it_says_is_refused(more: dict[str, Any]) -> None:
    with cloud("tasks_run"):
        place = ready()
        define(containerDefinitions=[container(**more)])
        code, message, status = refused(client("ecs").run_task, **asked(place))
    assert (code, status) == ("NotImplemented", 501)
    assert "practice cloud" in message


def test_pages_of_tasks() -> None:
    with cloud("tasks_run"):
        place = ready()
        arns = {arn for _ in range(3) for arn in run(place, count=2)}
        pages = (
            client("ecs")
            .get_paginator("list_tasks")
            .paginate(cluster="lab", PaginationConfig={"PageSize": 4})
        )
        sizes = [page["taskArns"] for page in pages]
    assert [len(each) for each in sizes] == [4, 2]
    assert {arn for each in sizes for arn in each} == arns


@pytest.mark.parametrize("token", ["-2", "²", "9" * 5000], ids=["below zero", "no number", "long"])
def test_a_page_of_tasks_begins_where_the_one_before_ended(token: str) -> None:
    with cloud("tasks_run"):
        ready()
        answer = refused(client("ecs").list_tasks, cluster="lab", nextToken=token)
    assert answer[:2] == ("InvalidParameterException", "Invalid token")
