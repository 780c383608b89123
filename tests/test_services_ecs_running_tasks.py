"""ECS, running: an image goes to the registry, a task of it runs for real, and the API shows all of it."""

from __future__ import annotations

import itertools
import json
import os
import signal
import time
from collections.abc import Iterator
from typing import Any

import docker_engine
import pytest
from botocore.exceptions import ClientError
from practice import Account
from processes import alive, eventually, number, running
from registry_client import LIST, MANIFEST, Image, Registry, digest_of, program
from test_services_support import client, cloud, net

from awslabs import policies, sandbox
from awslabs.sandbox.run import programs
from awslabs.sandbox.services.ecs import running_tasks
from awslabs.sandbox.services.ecs import tasks as strict
from awslabs.sandbox.services.iam import identities

pytestmark = pytest.mark.live

TRUST = policies.trust("ecs-tasks.amazonaws.com")
EXECUTION = "arn:aws:iam::aws:policy/service-role/AmazonECSTaskExecutionRolePolicy"
GROUP = "/lab"
SLOW = 1000.0  # times what a state lasts: longer than any test
_numbers = itertools.count(1)


class Lab(Account):
    """An account with a network, a cluster, roles, a table, a log group and a repository."""

    def __init__(self, run: sandbox.Run) -> None:
        super().__init__(run)
        self.subnet_id, self.group_id = self.network()
        self.role("execution")
        self.iam.attach_role_policy(RoleName="execution", PolicyArn=EXECUTION)
        self.role("task", {"Effect": "Allow", "Action": "dynamodb:PutItem", "Resource": "*"})
        self.logs.create_log_group(logGroupName=GROUP)
        self.ecs.create_cluster(clusterName="lab")
        self.uri = self.ecr.create_repository(repositoryName="lab")["repository"]["repositoryUri"]

    def network(self) -> tuple[str, str]:
        """A public subnet, and a security group that nobody comes in by."""
        vpc_id = self.ec2.create_vpc(CidrBlock="10.12.0.0/23")["Vpc"]["VpcId"]
        subnet = self.ec2.create_subnet(VpcId=vpc_id, CidrBlock="10.12.0.0/24")["Subnet"]["SubnetId"]
        gateway = self.ec2.create_internet_gateway()["InternetGateway"]["InternetGatewayId"]
        self.ec2.attach_internet_gateway(InternetGatewayId=gateway, VpcId=vpc_id)
        chosen = [{"Name": "vpc-id", "Values": [vpc_id]}]
        (table,) = self.ec2.describe_route_tables(Filters=chosen)["RouteTables"]
        self.ec2.create_route(
            RouteTableId=table["RouteTableId"], DestinationCidrBlock="0.0.0.0/0", GatewayId=gateway
        )
        group = self.ec2.create_security_group(VpcId=vpc_id, GroupName="tasks", Description="tasks")
        return subnet, group["GroupId"]

    def role(self, name: str, *statements: dict[str, Any]) -> None:
        self.iam.create_role(RoleName=name, AssumeRolePolicyDocument=TRUST)
        if statements:
            own = policies.document(*statements)
            self.iam.put_role_policy(RoleName=name, PolicyName="own", PolicyDocument=own)

    def arn(self, role: str) -> str:
        return f"arn:aws:iam::{self.id}:role/{role}"

    def push(self, image: Image | str) -> str:
        """Push an image, or a program's code; what a definition calls it."""
        image = program(image) if isinstance(image, str) else image
        token = self.ecr.get_authorization_token()["authorizationData"][0]["authorizationToken"]
        tag = f"t{next(_numbers)}"
        Registry(self.run.endpoint_url, token).push("lab", image, tag)
        return f"{self.uri}:{tag}"

    def define(self, image: str, *more_containers: dict[str, Any], **more: Any) -> str:
        """Register a definition with one container `app` (and others); its ARN."""
        request: dict[str, Any] = {
            "family": "lab",
            "requiresCompatibilities": ["FARGATE"],
            "networkMode": "awsvpc",
            "cpu": "256",
            "memory": "512",
            "executionRoleArn": self.arn("execution"),
            "taskRoleArn": self.arn("task"),
            "containerDefinitions": [
                self.container("app", image, **more.pop("container", {})),
                *more_containers,
            ],
        }
        answer = self.ecs.register_task_definition(**request | more)
        return answer["taskDefinition"]["taskDefinitionArn"]

    def container(self, name: str, image: str, **more: Any) -> dict[str, Any]:
        options = {"awslogs-group": GROUP, "awslogs-region": "us-east-1", "awslogs-stream-prefix": "t"}
        logging = {"logDriver": "awslogs", "options": options}
        return {"name": name, "image": image, "logConfiguration": logging} | more

    def place(self, **more: Any) -> dict[str, Any]:
        network = {
            "subnets": [self.subnet_id],
            "securityGroups": [self.group_id],
            "assignPublicIp": "ENABLED",
        }
        return {"awsvpcConfiguration": network | more}

    def start(self, definition: str, *command: str, **more: Any) -> list[str]:
        """Run tasks; their ARNs."""
        request = {
            "cluster": "lab",
            "taskDefinition": definition,
            "launchType": "FARGATE",
            "networkConfiguration": self.place(),
        }
        if command:
            request["overrides"] = {"containerOverrides": [{"name": "app", "command": list(command)}]}
        answer = self.ecs.run_task(**request | more)
        assert answer["failures"] == []
        return [task["taskArn"] for task in answer["tasks"]]

    def task(self, arn: str) -> dict[str, Any]:
        return self.ecs.describe_tasks(cluster="lab", tasks=[arn])["tasks"][0]

    def finish(self, arn: str) -> dict[str, Any]:
        """The task when it has STOPPED."""
        eventually(lambda: self.task(arn)["lastStatus"] == "STOPPED")
        return self.task(arn)

    def once(self, code: str, *command: str, **more: Any) -> dict[str, Any]:
        """Run a program as a task to its end."""
        (arn,) = self.start(self.define(self.push(code), **more), *command)
        return self.finish(arn)

    def log(self, task: dict[str, Any] | str, container: str = "app") -> list[str]:
        number = (task if isinstance(task, str) else task["taskArn"]).rpartition("/")[2]
        try:
            answer = self.logs.get_log_events(
                logGroupName=GROUP, logStreamName=f"t/{container}/{number}", startFromHead=True
            )
        except self.logs.exceptions.ResourceNotFoundException:
            return []
        return [event["message"] for event in answer["events"]]

    def interfaces(self) -> list[dict[str, Any]]:
        return self.ec2.describe_network_interfaces()["NetworkInterfaces"]


@pytest.fixture
def lab(run: sandbox.Run) -> Iterator[Lab]:
    made = Lab(run)
    yield made
    run.weather(slow_states=0, account="old")
    run.weather(account=made.id, faults=[])
    run.reset(made.id)


SLEEPY = """
    import subprocess, sys
    print("up", flush=True)
    subprocess.run(["sleep", sys.argv[1]])
    """


def asleep(word: str) -> list[int]:
    """The `sleep` of the program `SLEEPY` that was given this word."""
    return [pid for pid, _, said in running() if said == f"sleep {word}"]


def wake(word: str) -> None:
    """End that `sleep`, and so the program."""
    (pid,) = eventually(lambda: asleep(word))
    os.kill(pid, signal.SIGTERM)


# --- from the image to the answer -----------------------------------------------------------------------

SAVES = """
    import boto3, os, sys
    print("asked", sys.argv[1:], os.environ["GREETING"], os.environ["AWS_EXECUTION_ENV"], flush=True)
    boto3.client("dynamodb").put_item(TableName="answers", Item={"item_id": {"S": sys.argv[1]}})
    print("")
    print("saved")
    """


def table(lab: Lab) -> None:
    lab.dynamodb.create_table(
        TableName="answers",
        AttributeDefinitions=[{"AttributeName": "item_id", "AttributeType": "S"}],
        KeySchema=[{"AttributeName": "item_id", "KeyType": "HASH"}],
        BillingMode="PAY_PER_REQUEST",
    )


def test_a_task_runs_its_image_logs_saves_and_ends(lab: Lab) -> None:
    table(lab)
    began = time.time()
    image = lab.push(SAVES)
    definition = lab.define(image, container={"environment": [{"name": "GREETING", "value": "hello"}]})
    (arn,) = lab.start(definition, "one", "two words", startedBy="me")
    task = lab.finish(arn)
    (container,) = task["containers"]
    assert (container["exitCode"], container["lastStatus"]) == (0, "STOPPED"), lab.log(task)
    assert container["imageDigest"].startswith("sha256:")
    assert (task["stopCode"], task["stoppedReason"]) == (
        "EssentialContainerExited",
        "Essential container in task exited",
    )
    assert (task["startedBy"], task["group"], task["launchType"]) == ("me", "family:lab", "FARGATE")
    names = ("createdAt", "pullStartedAt", "pullStoppedAt", "startedAt", "stoppingAt", "executionStoppedAt")
    moments = [task[name].timestamp() for name in (*names, "stoppedAt")]
    assert moments == sorted(moments)
    assert began - 1 <= moments[0] <= moments[-1] <= time.time() + 1
    assert lab.log(task) == ["asked ['one', 'two words'] hello AWS_ECS_FARGATE", "saved"]
    events = lab.logs.filter_log_events(logGroupName=GROUP)["events"]
    assert task["startedAt"].timestamp() - 1 <= events[0]["timestamp"] / 1000 <= time.time()
    assert lab.dynamodb.scan(TableName="answers")["Items"] == [{"item_id": {"S": "one"}}]
    assert lab.interfaces() == []


def test_a_task_may_do_what_its_role_may_and_no_more(lab: Lab) -> None:
    table(lab)
    lab.iam.delete_role_policy(RoleName="task", PolicyName="own")
    container = {"environment": [{"name": "GREETING", "value": "hello"}]}
    task = lab.once(SAVES, "one", container=container)
    assert task["containers"][0]["exitCode"] == 1
    assert any("AccessDeniedException" in line and "dynamodb:PutItem" in line for line in lab.log(task))
    assert lab.dynamodb.scan(TableName="answers")["Items"] == []


def test_a_task_without_a_role_has_no_credentials(lab: Lab) -> None:
    definition = lab.define(lab.push("import boto3; boto3.client('sts').get_caller_identity()"))
    without = {**lab.ecs.describe_task_definition(taskDefinition=definition)["taskDefinition"]}
    request = {name: without[name] for name in ("requiresCompatibilities", "networkMode", "cpu", "memory")}
    request |= {"family": "bare", "containerDefinitions": without["containerDefinitions"]}
    made = lab.ecs.register_task_definition(executionRoleArn=lab.arn("execution"), **request)
    task = lab.finish(lab.start(made["taskDefinition"]["taskDefinitionArn"])[0])
    assert task["containers"][0]["exitCode"] == 1
    assert any("NoCredentialsError" in line for line in lab.log(task))


def test_more_memory_than_the_task_has_is_explained(lab: Lab) -> None:
    task = lab.once("import time; held = bytearray(700_000_000); time.sleep(60)")
    (container,) = task["containers"]
    assert container["exitCode"] == 137
    assert container["reason"] == "OutOfMemoryError: Container killed due to memory usage"
    assert task["stopCode"] == "EssentialContainerExited"


def test_stop_task_ends_it_and_the_waiters_know(lab: Lab) -> None:
    word = number()
    (arn,) = lab.start(lab.define(lab.push(SLEEPY)), word)
    quick = {"Delay": 1, "MaxAttempts": 300}
    lab.ecs.get_waiter("tasks_running").wait(cluster="lab", tasks=[arn], WaiterConfig=quick)
    eventually(lambda: alive(word) and lab.log(arn))
    (interface,) = lab.interfaces()
    assert (interface["Status"], interface["Association"]["PublicIp"]) == ("in-use", "127.0.0.1")
    for method, request in (
        (lab.ec2.delete_security_group, {"GroupId": lab.group_id}),
        (lab.ec2.delete_subnet, {"SubnetId": lab.subnet_id}),
        (lab.ec2.delete_network_interface, {"NetworkInterfaceId": interface["NetworkInterfaceId"]}),
        (lab.ecs.delete_cluster, {"cluster": "lab"}),
    ):
        with pytest.raises(ClientError):
            method(**request)
    assert lab.ecs.describe_clusters(clusters=["lab"])["clusters"][0]["runningTasksCount"] == 1
    said = lab.ecs.stop_task(cluster="lab", task=arn, reason="enough")["task"]
    assert said["desiredStatus"] == "STOPPED"
    lab.ecs.get_waiter("tasks_stopped").wait(cluster="lab", tasks=[arn], WaiterConfig=quick)
    task = lab.task(arn)
    assert (task["stopCode"], task["stoppedReason"]) == ("UserInitiated", "enough")
    assert task["containers"][0]["exitCode"] == 143
    assert alive(word) == []
    assert lab.interfaces() == []
    lab.ec2.delete_security_group(GroupId=lab.group_id)
    lab.ec2.delete_subnet(SubnetId=lab.subnet_id)
    assert lab.ecs.delete_cluster(cluster="lab")["cluster"]["status"] == "INACTIVE"


def test_a_task_is_killed_when_it_does_not_stop_in_time(lab: Lab) -> None:
    stubborn = """
        import os, signal, time
        signal.signal(signal.SIGTERM, lambda *_: os.write(1, b"no\\n"))
        os.write(1, b"up\\n")
        while True:
            time.sleep(0.1)
        """
    (arn,) = lab.start(lab.define(lab.push(stubborn), container={"stopTimeout": 2}))
    eventually(lambda: lab.log(arn) == ["up"])
    lab.ecs.stop_task(cluster="lab", task=arn)
    eventually(lambda: lab.task(arn)["lastStatus"] == "STOPPING")
    task = lab.finish(arn)
    assert task["containers"][0]["exitCode"] == 137
    assert lab.log(task) == ["up", "no"]


def test_nine_tasks_in_parallel_each_with_its_own_log(lab: Lab) -> None:
    table(lab)
    container = {"environment": [{"name": "GREETING", "value": "hello"}]}
    definition = lab.define(lab.push(SAVES), container=container)
    arns = [lab.start(definition, f"question {n}")[0] for n in range(9)]
    tasks = [lab.finish(arn) for arn in arns]
    assert [task["containers"][0]["exitCode"] for task in tasks] == [0] * 9
    for n, task in enumerate(tasks):
        assert lab.log(task)[0].startswith(f"asked ['question {n}']")
    saved = {item["item_id"]["S"] for item in lab.dynamodb.scan(TableName="answers")["Items"]}
    assert saved == {f"question {n}" for n in range(9)}


def slowly(lab: Lab, definition: str, *command: str) -> list[str]:
    """Run a task whose states last until the test moves the practice cloud's clock; its ARN."""
    lab.run.weather(slow_states=SLOW)
    lab.run.pass_time(SLOW * identities.READY_S)  # its roles are known everywhere
    return lab.start(definition, *command)


def test_states_come_one_after_the_other_and_take_their_time(lab: Lab) -> None:
    word = number()
    (arn,) = slowly(lab, lab.define(lab.push(SLEEPY)), word)

    def comes(status: str) -> None:
        eventually(lambda: lab.task(arn)["lastStatus"] == status)

    for status, seconds in (
        ("PROVISIONING", strict.PROVISIONING_S),
        ("PENDING", strict.PENDING_S),
        ("RUNNING", 0),
        ("DEPROVISIONING", strict.DEPROVISIONING_S),
    ):
        comes(status)
        if status == "RUNNING":
            wake(word)
        lab.run.pass_time(SLOW * seconds)
    comes("STOPPED")
    task = lab.task(arn)
    assert task["containers"][0]["exitCode"] == 0
    assert (task["pullStartedAt"] - task["createdAt"]).total_seconds() >= SLOW * strict.PROVISIONING_S
    assert (task["stoppedAt"] - task["executionStoppedAt"]).total_seconds() >= SLOW * strict.DEPROVISIONING_S


def test_a_task_that_is_stopped_before_it_runs_runs_nothing(lab: Lab) -> None:
    (arn,) = slowly(lab, lab.define(lab.push("print('ran')")))
    assert lab.task(arn)["lastStatus"] == "PROVISIONING"
    lab.ecs.stop_task(cluster="lab", task=arn)
    lab.run.pass_time(SLOW * (strict.PROVISIONING_S + strict.DEPROVISIONING_S))
    task = lab.finish(arn)
    assert "startedAt" not in task
    assert "exitCode" not in task["containers"][0]
    assert lab.log(task) == []
    assert lab.interfaces() == []


def test_an_essential_container_ends_the_others(lab: Lab) -> None:
    essential, word = number(), number()
    sleeper, quick = lab.push(SLEEPY), lab.push("print('short')")
    definition = lab.define(
        sleeper,
        lab.container("beside", sleeper, command=[word], essential=False),
        lab.container("short", quick, essential=False),
    )
    (arn,) = lab.start(definition, essential)

    def codes() -> dict[str, int | None]:
        return {each["name"]: each.get("exitCode") for each in lab.task(arn)["containers"]}

    eventually(lambda: codes()["short"] == 0 and asleep(word))
    assert codes() == {"app": None, "beside": None, "short": 0}
    wake(essential)
    task = lab.finish(arn)
    assert codes() == {"app": 0, "beside": 143, "short": 0}
    assert lab.log(task, "short") == ["short"]
    assert alive(word) == []


# --- what does not start --------------------------------------------------------------------------------


def failed(lab: Lab, definition: str, **more: Any) -> str:
    """The reason for which a task did not start."""
    task = lab.finish(lab.start(definition, **more)[0])
    assert task["stopCode"] == "TaskFailedToStart"
    assert "startedAt" not in task
    assert all("exitCode" not in each for each in task["containers"])
    assert lab.interfaces() == []
    return task["stoppedReason"]


def test_an_image_that_cannot_be_had_is_named(lab: Lab) -> None:
    reason = failed(lab, lab.define(f"{lab.uri}:absent"))
    assert reason.startswith("CannotPullContainerError: ")
    assert "absent: not found" in reason
    reason = failed(lab, lab.define("python:3.13-slim"))
    assert reason.startswith("CannotPullContainerError: python:3.13-slim is not in the practice registry")
    assert "Docker engine" in reason
    whole = program("print(1)", program_only=False)
    assert "has an operating system" in failed(lab, lab.define(lab.push(whole)))


ARM = {"runtimePlatform": {"cpuArchitecture": "ARM64", "operatingSystemFamily": "LINUX"}}


def test_an_image_for_other_machines_than_the_definition_names_does_not_run(lab: Lab) -> None:
    intel, arm = (lab.push(program("print(1)", architecture=one)) for one in ("amd64", "arm64"))
    for image, more, lines, exit_code in (
        (intel, {}, ["1"], 0),
        (arm, ARM, ["1"], 0),
        (arm, {}, ["exec python: exec format error"], 1),
        (intel, ARM, ["exec python: exec format error"], 1),
    ):
        task = lab.finish(lab.start(lab.define(image, **more))[0])
        assert task["stoppedReason"] == "Essential container in task exited"
        assert (lab.log(task), task["containers"][0]["exitCode"]) == (lines, exit_code)


def test_of_a_list_of_images_the_one_for_the_machine_runs(lab: Lab) -> None:
    images = {one: program(f"print('{one}')", architecture=one) for one in ("amd64", "arm64")}
    for image in images.values():
        lab.push(image)

    def listed(*architectures: str) -> str:
        """Push a list of these; what a definition calls it."""
        entries = [
            {
                "mediaType": MANIFEST,
                "size": len(images[one].manifest),
                "digest": digest_of(images[one].manifest),
                "platform": {"os": "linux", "architecture": one},
            }
            for one in architectures
        ]
        text = json.dumps({"schemaVersion": 2, "mediaType": LIST, "manifests": entries}).encode()
        token = lab.ecr.get_authorization_token()["authorizationData"][0]["authorizationToken"]
        tag = "-".join(architectures)
        path = f"/v2/lab/manifests/{tag}"
        assert Registry(lab.run.endpoint_url, token).ask("PUT", path, text, Content_Type=LIST)[0] == 201
        return f"{lab.uri}:{tag}"

    both, arm = listed("amd64", "arm64"), listed("arm64")
    for more, line in (({}, "amd64"), (ARM, "arm64")):
        assert lab.log(lab.finish(lab.start(lab.define(both, **more))[0])) == [line]
    assert "does not contain descriptor matching platform 'linux/amd64'" in failed(lab, lab.define(arm))


def test_a_task_needs_a_way_to_the_internet(lab: Lab) -> None:
    definition = lab.define(lab.push("print(1)"))
    closed = lab.place(assignPublicIp="DISABLED")
    reason = failed(lab, definition, networkConfiguration=closed)
    assert reason.startswith("ResourceInitializationError: unable to pull secrets or registry auth")
    public = failed(lab, lab.define("python:3.13-slim"), networkConfiguration=closed)
    assert public.startswith("CannotPullContainerError: ")
    assert "i/o timeout" in public
    (subnet,) = lab.ec2.describe_subnets(SubnetIds=[lab.subnet_id])["Subnets"]
    filters = [{"Name": "vpc-id", "Values": [subnet["VpcId"]]}]
    (table,) = lab.ec2.describe_route_tables(Filters=filters)["RouteTables"]
    lab.ec2.delete_route(RouteTableId=table["RouteTableId"], DestinationCidrBlock="0.0.0.0/0")
    assert "no route to the internet" in failed(lab, definition)
    # An endpoint for ECR leads to ECR alone.
    name = "com.amazonaws.us-east-1.ecr.dkr"
    lab.ec2.create_vpc_endpoint(VpcId=subnet["VpcId"], ServiceName=name, VpcEndpointType="Interface")
    assert "no route to the internet" in failed(lab, lab.define("python:3.13-slim"))
    task = lab.finish(lab.start(definition)[0])
    assert task["containers"][0]["exitCode"] == 0


def test_the_execution_role_must_be_allowed_to_pull_and_to_log(lab: Lab) -> None:
    definition = lab.define(lab.push("print(1)"))
    lab.iam.detach_role_policy(RoleName="execution", PolicyArn=EXECUTION)
    allowed: list[str] = []
    for action, begin in (
        ("ecr:GetAuthorizationToken", "ResourceInitializationError: unable to pull secrets or registry auth"),
        ("ecr:BatchGetImage", "CannotPullContainerError: "),
        ("ecr:GetDownloadUrlForLayer", "CannotPullContainerError: "),
        ("logs:CreateLogStream", "ResourceInitializationError: failed to validate logger args"),
        ("logs:PutLogEvents", "ResourceInitializationError: failed to validate logger args"),
    ):
        reason = failed(lab, definition)
        assert reason.startswith(begin), reason
        assert f"is not authorized to perform: {action}" in reason
        allowed.append(action)
        statement = {"Effect": "Allow", "Action": allowed, "Resource": "*"}
        document = policies.document(statement)
        lab.iam.put_role_policy(RoleName="execution", PolicyName="own", PolicyDocument=document)
    task = lab.finish(lab.start(definition)[0])
    assert (task["containers"][0]["exitCode"], lab.log(task)) == (0, ["1"])


def test_the_log_group_must_be_there(lab: Lab) -> None:
    definition = lab.define(lab.push("print(1)"))
    lab.logs.delete_log_group(logGroupName=GROUP)
    assert "ResourceNotFoundException: The specified log group does not exist" in failed(lab, definition)


def test_a_log_group_is_made_if_the_definition_says_so_and_the_role_may(lab: Lab) -> None:
    container = lab.container("app", lab.push("print('heard')"))
    container["logConfiguration"]["options"] |= {"awslogs-group": "/new", "awslogs-create-group": "true"}
    definition = lab.define("", containerDefinitions=[container])
    assert "is not authorized to perform: logs:CreateLogGroup" in failed(lab, definition)
    statement = {"Effect": "Allow", "Action": "logs:CreateLogGroup", "Resource": "*"}
    document = policies.document(statement)
    lab.iam.put_role_policy(RoleName="execution", PolicyName="own", PolicyDocument=document)
    lab.finish(lab.start(definition)[0])
    assert [each["message"] for each in lab.logs.filter_log_events(logGroupName="/new")["events"]] == [
        "heard"
    ]


def test_logs_that_nobody_can_take_do_not_stop_a_task(lab: Lab) -> None:
    code = """
        import time
        for n in range(20):
            print(n, flush=True)
            time.sleep(0.1)
        """
    (arn,) = lab.start(lab.define(lab.push(code)))
    eventually(lambda: lab.log(arn))
    lab.logs.delete_log_group(logGroupName=GROUP)
    assert lab.finish(arn)["containers"][0]["exitCode"] == 0


def test_no_room_and_no_quota_come_as_failures_in_http_200(lab: Lab) -> None:
    definition = lab.define(lab.push("import time; time.sleep(100)"), cpu="4096", memory="8192")
    request = {
        "cluster": "lab",
        "taskDefinition": definition,
        "launchType": "FARGATE",
        "networkConfiguration": lab.place(),
    }
    lab.run.weather(account=lab.id, faults=["fargate:PlaceTask=Capacity:1:1"])
    answer = lab.ecs.run_task(**request, count=2)
    assert len(answer["tasks"]) == 1
    assert answer["failures"][0]["reason"].startswith("Capacity is unavailable at this time")
    lab.run.weather(account="new")
    answer = lab.ecs.run_task(**request)
    assert answer["tasks"] == []
    assert "reached the limit on the number of vCPUs" in answer["failures"][0]["reason"]


def test_what_the_practice_cloud_does_not_run_it_refuses(lab: Lab) -> None:
    image = lab.push("print(1)")
    secret = [{"name": "X", "valueFrom": "arn:aws:ssm:us-east-1:1:parameter/x"}]
    for method, request in (
        (lab.start, {"definition": lab.define(image, container={"secrets": secret})}),
        (lab.ecs.create_service, {"serviceName": "x", "cluster": "lab", "taskDefinition": lab.define(image)}),
    ):
        with pytest.raises(ClientError) as caught:
            method(**request)
        assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 501


def test_the_last_lines_are_written_before_a_task_is_seen_to_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without anything that runs: the running part alone, its writer of logs fast asleep."""
    started: list[tuple[Any, ...]] = []
    monkeypatch.setattr(running_tasks, "FLUSH_S", 3600.0)
    monkeypatch.setattr(programs, "start", lambda *given: started.append(given))
    tasks = running_tasks.Tasks("http://127.0.0.1:1")
    monkeypatch.setattr(strict, "runner", tasks)
    with cloud("tasks_run"):
        place = net()
        client("iam").create_role(RoleName="lab", AssumeRolePolicyDocument=TRUST)
        policy = {"Effect": "Allow", "Action": "logs:*", "Resource": "*"}
        document = policies.document(policy)
        client("iam").put_role_policy(RoleName="lab", PolicyName="own", PolicyDocument=document)
        client("logs").create_log_group(logGroupName=GROUP)
        client("ec2").create_route(
            RouteTableId=place.table_id, DestinationCidrBlock="0.0.0.0/0", GatewayId=place.gateway_id
        )
        client("ecs").create_cluster(clusterName="lab")
        options = {"awslogs-group": GROUP, "awslogs-region": "us-east-1", "awslogs-stream-prefix": "t"}
        logging = {"logDriver": "awslogs", "options": options}
        client("ecs").register_task_definition(
            family="lab",
            requiresCompatibilities=["FARGATE"],
            networkMode="awsvpc",
            cpu="256",
            memory="512",
            executionRoleArn="arn:aws:iam::123456789012:role/lab",
            containerDefinitions=[{"name": "app", "image": "x", "logConfiguration": logging}],
        )
        network = {
            "subnets": [place.subnet_id],
            "securityGroups": [place.group_id],
            "assignPublicIp": "ENABLED",
        }
        (made,) = client("ecs").run_task(
            cluster="lab",
            taskDefinition="lab",
            launchType="FARGATE",
            networkConfiguration={"awsvpcConfiguration": network},
        )["tasks"]
        seen = client("ecs").describe_tasks(cluster="lab", tasks=[made["taskArn"]])["tasks"][0]
        assert seen["lastStatus"] == "PENDING", seen.get("stoppedReason")
        ((_, say, ended, began),) = started
        began()
        say(time.time(), "the last line")
        say(time.time(), "")
        ended(programs.Ended(0))
        stream = f"t/app/{made['taskArn'].rpartition('/')[2]}"
        events = client("logs").get_log_events(logGroupName=GROUP, logStreamName=stream)["events"]
        assert [event["message"] for event in events] == ["the last line"]
    tasks.close()


# --- the end --------------------------------------------------------------------------------------------


def test_reset_ends_what_an_account_runs(lab: Lab) -> None:
    word = number()
    (arn,) = lab.start(lab.define(lab.push(SLEEPY)), word)
    eventually(lambda: alive(word))
    lab.run.reset(lab.id)
    assert alive(word) == []
    assert lab.ecs.list_clusters()["clusterArns"] == []
    with pytest.raises(lab.ecs.exceptions.ClusterNotFoundException):
        lab.task(arn)


@pytest.mark.parametrize("how", ["stop", "kill -9"])
def test_nothing_outlives_the_practice_cloud(
    how: str, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_HOST", "unix:///nowhere/docker.sock")
    run = sandbox.start(slow_states=0, home=tmp_path)
    try:
        lab, word = Lab(run), number()
        lab.start(lab.define(lab.push(SLEEPY)), word)
        eventually(lambda: alive(word))
        if how == "kill -9":
            os.kill(run.pid, signal.SIGKILL)
            eventually(lambda: not alive(word))
    finally:
        run.stop()
    assert alive(word) == []
    assert not run.directory.exists()


# --- with an engine ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def engine_run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[sandbox.Run]:
    """A practice cloud on a computer with Docker."""
    docker_engine.needed()
    with docker_engine.in_use():
        run = sandbox.start(slow_states=0, home=tmp_path_factory.mktemp("cloud"))
    yield run
    run.stop()
    assert containers(run) == []
    port = run.endpoint_url.rpartition(":")[2]
    known = docker_engine.engine().images.list()
    names = [name for image in known for name in (*image.tags, *image.attrs.get("RepoDigests", []))]
    assert [name for name in names if f":{port}/" in name] == []


@pytest.fixture
def engine_lab(engine_run: sandbox.Run) -> Iterator[Lab]:
    made = Lab(engine_run)
    yield made
    engine_run.reset(made.id)


def containers(run: sandbox.Run) -> list[Any]:
    """The containers of a practice cloud."""
    chosen = {"label": f"awslabs.practice={run.directory.resolve()}"}
    return docker_engine.engine().containers.list(all=True, filters=chosen, ignore_removed=True)


@pytest.mark.docker
def test_an_image_with_an_operating_system_runs_as_a_container(engine_lab: Lab) -> None:
    command = "id -u; env; echo to the other end >&2; printf 'no line end'; exit 4"
    image = engine_lab.push(docker_engine.operating_system(command, User="1000:1000", WorkingDir="/tmp"))
    container = {"environment": [{"name": "GREETING", "value": "hello"}]}
    task = engine_lab.finish(engine_lab.start(engine_lab.define(image, container=container))[0])
    (shown,) = task["containers"]
    lines = engine_lab.log(task)
    assert shown["exitCode"] == 4, (shown, lines)
    assert {"1000", "GREETING=hello", "FROM_IMAGE=1", "to the other end", "no line end"} <= set(lines)
    assert f"AWS_ENDPOINT_URL={engine_lab.run.endpoint_url}" in lines
    assert any(line.startswith("AWS_SESSION_TOKEN=") for line in lines)
    assert containers(engine_lab.run) == []


@pytest.mark.docker
def test_an_image_is_pulled_by_its_digest(engine_lab: Lab) -> None:
    image = engine_lab.push(docker_engine.operating_system("echo pulled"))
    (found,) = engine_lab.ecr.describe_images(
        repositoryName="lab", imageIds=[{"imageTag": image.rpartition(":")[2]}]
    )["imageDetails"]
    definition = engine_lab.define(f"{engine_lab.uri}@{found['imageDigest']}")
    task = engine_lab.finish(engine_lab.start(definition)[0])
    assert (task["containers"][0]["exitCode"], engine_lab.log(task)) == (0, ["pulled"])
    assert task["containers"][0]["imageDigest"] == found["imageDigest"]


@pytest.mark.docker
def test_what_the_engine_cannot_pull_or_start_is_said(engine_lab: Lab) -> None:
    reason = failed(engine_lab, engine_lab.define("127.0.0.1:1/nobody/listens:1"))
    assert reason.startswith("CannotPullContainerError: ")
    assert "refused" in reason
    image = engine_lab.push(docker_engine.operating_system("", Entrypoint=["/no/such/program"]))
    reason = failed(engine_lab, engine_lab.define(image))
    assert reason.startswith("CannotStartContainerError: ")
    assert "/no/such/program" in reason
    assert containers(engine_lab.run) == []


@pytest.mark.docker
def test_a_container_s_memory_is_limited(engine_lab: Lab) -> None:
    image = engine_lab.push(docker_engine.operating_system("tail /dev/zero"))
    definition = engine_lab.define(image, container={"memory": 64})
    task = engine_lab.finish(engine_lab.start(definition)[0])
    (shown,) = task["containers"]
    assert (shown["exitCode"], shown.get("reason")) == (
        137,
        "OutOfMemoryError: Container killed due to memory usage",
    )


@pytest.mark.docker
def test_a_container_is_stopped(engine_lab: Lab) -> None:
    image = engine_lab.push(
        docker_engine.operating_system("trap 'echo bye; exit 5' TERM; echo up; while :; do sleep 0.2; done")
    )
    (arn,) = engine_lab.start(engine_lab.define(image))
    eventually(lambda: engine_lab.log(arn) == ["up"])
    (container,) = containers(engine_lab.run)
    host = container.attrs["HostConfig"]
    assert (host["NetworkMode"], host["Memory"], host["NanoCpus"]) == ("host", 512 << 20, 250_000_000)
    engine_lab.ecs.stop_task(cluster="lab", task=arn)
    task = engine_lab.finish(arn)
    assert task["containers"][0]["exitCode"] == 5
    assert engine_lab.log(task) == ["up", "bye"]
    assert containers(engine_lab.run) == []


@pytest.mark.docker
def test_a_program_only_image_runs_as_a_process_also_with_an_engine(engine_lab: Lab) -> None:
    word = number()
    (arn,) = engine_lab.start(engine_lab.define(engine_lab.push(SLEEPY)), word)
    eventually(lambda: engine_lab.log(arn) == ["up"])
    assert containers(engine_lab.run) == []
    assert alive(word) != []


@pytest.mark.docker
def test_no_container_outlives_a_practice_cloud_that_was_killed(
    tmp_path: Any,
) -> None:
    docker_engine.needed()
    with docker_engine.in_use():
        run = sandbox.start(slow_states=0, home=tmp_path)
    try:
        lab = Lab(run)
        (arn,) = lab.start(lab.define(lab.push(docker_engine.operating_system("echo up; sleep 1000"))))
        eventually(lambda: lab.log(arn) == ["up"])
        assert len(containers(run)) == 1
        os.kill(run.pid, signal.SIGKILL)
        eventually(lambda: containers(run) == [])
    finally:
        run.stop()
        for container in containers(run):
            container.remove(force=True)
