"""Batch, running: jobs run for real, in the practice cloud's server, from an image that the test pushes."""

from __future__ import annotations

import itertools
import json
import os
import textwrap
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import docker_engine
import pytest
import test_services_batch as small
from practice import Account
from processes import alive, eventually
from registry_client import Image, Registry, layer_of, program

from awslabs import sandbox
from awslabs.policies import allow, document, trust
from awslabs.sandbox.run import programs
from awslabs.sandbox.run.loop import Loop
from awslabs.sandbox.run.orders import Order
from awslabs.sandbox.services.batch import runner, running_jobs
from awslabs.sandbox.services.ecr import registry

pytestmark = pytest.mark.live

PROGRAM = """
    import json, os, signal, sys, time
    import boto3

    what, *words = sys.argv[1:]
    index = os.environ.get("AWS_BATCH_JOB_ARRAY_INDEX", "-")
    print(f"{what} {index}", flush=True)
    if what == "put":
        boto3.client("s3").put_object(Bucket=words[0], Key=f"{index}.json", Body=json.dumps(dict(os.environ)))
    elif what == "submit":
        asked = dict(jobName="next", jobQueue="queue", jobDefinition="work:1")
        print(boto3.client("batch").submit_job(**asked, containerOverrides={"command": words})["jobId"])
    elif what == "sleep":
        time.sleep(float(words[0]))
    elif what == "stubborn":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        time.sleep(600)
    elif what == "exit":
        sys.exit(int(words[0]))
    elif what == "second-time":
        sys.exit(0 if os.environ["AWS_BATCH_JOB_ATTEMPT"] == "2" else 5)
    elif what == "eat":
        held = bytearray(10_000_000) * 100
        time.sleep(60)
"""
FOR_ECS = "arn:aws:iam::aws:policy/service-role/AmazonEC2ContainerServiceforEC2Role"
_numbers = itertools.count(1)


def test_a_job_that_asked_for_a_gpu_is_told_what_stands_in_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    session = SimpleNamespace(access_key_id="id", secret_access_key="secret", session_token="token")
    monkeypatch.setattr(running_jobs.permissions, "credentials", lambda *_: session)
    order = Order("key", "1", "us-east-1", "image", [], {}, 4, 100)
    task = runner.Task(order, 1, "role", "session")
    room = running_jobs.Jobs("http://127.0.0.1:1")
    assert room.environment(task)["GPU_STAND_IN"] == "cpu"
    assert "GPU_STAND_IN" not in room.environment(replace(task, gpus=0))
    assert room.environment(task)["MNIST_DATA"] == "digits"
    # What a definition or a client says, counts.
    own = replace(task, order=replace(order, environment={"MNIST_DATA": "mnist"}))
    assert room.environment(own)["MNIST_DATA"] == "mnist"


class Lab(Account):
    """An account with an environment of 4 vCPUs, a queue, a bucket and an image."""

    def build(self) -> None:
        """All that jobs need."""
        vpc_id = self.ec2.create_vpc(CidrBlock="10.10.0.0/24")["Vpc"]["VpcId"]
        # Not every zone has a c5.large.
        place = {"CidrBlock": "10.10.0.0/24", "AvailabilityZone": "us-east-1a"}
        subnet_id = self.ec2.create_subnet(VpcId=vpc_id, **place)["Subnet"]["SubnetId"]
        self.ec2.modify_subnet_attribute(SubnetId=subnet_id, MapPublicIpOnLaunch={"Value": True})
        gateway_id = self.ec2.create_internet_gateway()["InternetGateway"]["InternetGatewayId"]
        self.ec2.attach_internet_gateway(InternetGatewayId=gateway_id, VpcId=vpc_id)
        filters = [{"Name": "vpc-id", "Values": [vpc_id]}]
        table = self.ec2.describe_route_tables(Filters=filters)["RouteTables"][0]["RouteTableId"]
        self.ec2.create_route(RouteTableId=table, DestinationCidrBlock="0.0.0.0/0", GatewayId=gateway_id)
        group = self.ec2.describe_security_groups(Filters=filters)["SecurityGroups"][0]["GroupId"]
        self.iam.create_role(RoleName="machine", AssumeRolePolicyDocument=trust("ec2.amazonaws.com"))
        self.iam.attach_role_policy(RoleName="machine", PolicyArn=FOR_ECS)
        self.iam.create_instance_profile(InstanceProfileName="machine")
        self.iam.add_role_to_instance_profile(InstanceProfileName="machine", RoleName="machine")
        self.bucket = f"lab-{self.id}"
        self.s3.create_bucket(Bucket=self.bucket)
        assume = trust("ecs-tasks.amazonaws.com")
        self.worker = self.iam.create_role(RoleName="worker", AssumeRolePolicyDocument=assume)
        may = document(allow(f"arn:aws:s3:::{self.bucket}/*", "s3:PutObject"))
        self.iam.put_role_policy(RoleName="worker", PolicyName="p", PolicyDocument=may)
        self.batch.create_compute_environment(
            computeEnvironmentName="lab",
            type="MANAGED",
            computeResources={
                "type": "EC2",
                "allocationStrategy": "BEST_FIT_PROGRESSIVE",
                "minvCpus": 0,
                "maxvCpus": 4,
                "instanceTypes": ["c5.large"],
                "subnets": [subnet_id],
                "securityGroupIds": [group],
                "instanceRole": "machine",
            },
        )
        eventually(lambda: self.environment()["status"] == "VALID")
        order = [{"order": 1, "computeEnvironment": "lab"}]
        self.batch.create_job_queue(jobQueueName="queue", priority=1, computeEnvironmentOrder=order)
        self.ecr.create_repository(repositoryName="work")
        self.image = self.push(PROGRAM)
        self.register("work")

    def push(self, code: str, tag: str = "1", **config: Any) -> str:
        uri = f"{self.run.endpoint_url.removeprefix('http://')}/work"
        token = self.ecr.get_authorization_token()["authorizationData"][0]["authorizationToken"]
        Registry(self.run.endpoint_url, token).push("work", program(textwrap.dedent(code), **config), tag)
        return f"{uri}:{tag}"

    def register(self, name: str, **more: Any) -> None:
        container = {
            "image": self.image,
            "jobRoleArn": self.worker["Role"]["Arn"],
            "resourceRequirements": [
                {"type": "VCPU", "value": "2"},
                {"type": "MEMORY", "value": "500"},
            ],
        }
        self.batch.register_job_definition(
            jobDefinitionName=name, type="container", containerProperties=container | more
        )

    def submit(self, *command: str, **more: Any) -> str:
        request: dict[str, Any] = {"jobName": "job", "jobQueue": "queue", "jobDefinition": "work"}
        request |= {"containerOverrides": {"command": list(command)}} | more
        return self.batch.submit_job(**request)["jobId"]

    def job(self, job_id: str) -> dict[str, Any]:
        return self.batch.describe_jobs(jobs=[job_id])["jobs"][0]

    def status(self, job_id: str) -> str:
        return self.job(job_id)["status"]

    def end(self, job_id: str) -> dict[str, Any]:
        """Wait until a job has ended, and return it."""
        eventually(lambda: self.status(job_id) in ("SUCCEEDED", "FAILED"))
        return self.job(job_id)

    def running(self, job_id: str) -> None:
        """Wait until a job runs, and has said so."""
        eventually(lambda: self.status(job_id) == "RUNNING" and self.log(job_id))

    def log(self, job_id: str) -> list[str]:
        stream = self.job(job_id)["container"].get("logStreamName", "")
        found = self.logs.get_log_events(
            logGroupName="/aws/batch/job", logStreamName=stream, startFromHead=True
        )
        return [event["message"] for event in found["events"]]

    def environment(self) -> dict[str, Any]:
        return self.batch.describe_compute_environments(computeEnvironments=["lab"])["computeEnvironments"][0]

    def machines(self) -> list[str]:
        found = self.ec2.describe_instances()["Reservations"]
        return [
            i["State"]["Name"] for r in found for i in r["Instances"] if i["State"]["Name"] != "terminated"
        ]


@pytest.fixture
def lab(run: sandbox.Run) -> Iterator[Lab]:
    made = Lab(run)
    made.build()
    yield made
    run.weather(slow_states=0, faults=[])
    run.reset(made.id)


def seconds() -> str:
    """How long a program sleeps: a number that no other process has on its command line."""
    return f"{500 + next(_numbers)}.{os.getpid()}"


def test_an_array_of_three_runs_with_the_rights_of_its_role(lab: Lab) -> None:
    array = lab.submit("put", lab.bucket, arrayProperties={"size": 3}, tags={"who": "me"})
    found = lab.end(array)
    assert found["status"] == "SUCCEEDED"
    assert found["arrayProperties"]["statusSummary"]["SUCCEEDED"] == 3
    for index in range(3):
        body = json.loads(lab.s3.get_object(Bucket=lab.bucket, Key=f"{index}.json")["Body"].read())
        assert body["AWS_BATCH_JOB_ID"] == f"{array}:{index}"
        assert (body["AWS_BATCH_JOB_ARRAY_INDEX"], body["AWS_BATCH_JQ_NAME"]) == (str(index), "queue")
        assert lab.log(f"{array}:{index}") == [f"put {index}"]
        assert lab.job(f"{array}:{index}")["container"]["exitCode"] == 0
    other = lab.submit("put", "somebody-elses")
    assert lab.end(other)["container"]["exitCode"] == 1
    assert "AccessDenied" in "".join(lab.log(other))


def test_instances_come_with_the_jobs_and_go_after_them(lab: Lab) -> None:
    assert lab.machines() == []
    jobs = [lab.submit("sleep", seconds()) for _ in range(3)]
    for job_id in jobs[:2]:
        lab.running(job_id)
    assert lab.status(jobs[2]) == "RUNNABLE", "there are 4 vCPUs, and each takes two"
    assert lab.machines() == ["running", "running"]
    assert lab.environment()["computeResources"]["desiredvCpus"] == 4
    tags = lab.ec2.describe_tags(Filters=[{"Name": "resource-type", "Values": ["instance"]}])["Tags"]
    assert {tag["Key"] for tag in tags} == {"AWSBatchServiceTag"}, "no SSH host, so no address of one"
    lab.batch.terminate_job(jobId=jobs[0], reason="enough")
    lab.running(jobs[2])
    assert lab.batch.terminate_jobs(jobs=jobs[1:], reason="enough")["successful"] == jobs[1:]
    for job_id in jobs[1:]:
        lab.end(job_id)
    eventually(lambda: lab.machines() == [])


def test_a_job_waits_for_another_one(lab: Lab) -> None:
    first = lab.submit("exit", "0")
    second = lab.submit("exit", "3", dependsOn=[{"jobId": first}])
    third = lab.submit("exit", "0", dependsOn=[{"jobId": second}])
    assert lab.end(third)["statusReason"] == "Dependent Job failed"
    assert lab.job(second)["container"]["exitCode"] == 3
    assert lab.job(second)["startedAt"] >= lab.job(first)["stoppedAt"]


def test_a_failing_job_is_tried_again(lab: Lab) -> None:
    found = lab.end(lab.submit("second-time", retryStrategy={"attempts": 3}))
    assert found["status"] == "SUCCEEDED"
    assert [attempt["container"]["exitCode"] for attempt in found["attempts"]] == [5, 0]
    assert lab.end(lab.submit("exit", "7"))["status"] == "FAILED"


def test_terminate_ends_a_program_and_cancel_does_not(lab: Lab) -> None:
    word = seconds()
    job_id = lab.submit("sleep", word, retryStrategy={"attempts": 3})
    lab.running(job_id)
    assert alive(word)
    lab.batch.cancel_job(jobId=job_id, reason="too late")
    assert lab.status(job_id) == "RUNNING"
    lab.batch.terminate_job(jobId=job_id, reason="enough")
    found = lab.end(job_id)
    assert (found["status"], found["statusReason"]) == ("FAILED", "enough")
    assert found["container"]["exitCode"] in (137, 143)
    assert len(found["attempts"]) == 1
    assert not alive(word)


def test_a_timeout_ends_a_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The least is 60 s: too long for a test, so here the programs run in this process, with its clock."""
    layer = tmp_path / "layer"
    layer.write_bytes(layer_of({"app/main.py": PROGRAM}))
    stored = registry.Stored("sha256:0", ["python", "main.py"], [], "/app", {}, [layer], True)
    monkeypatch.setattr(registry, "look", lambda account, region, image, architecture: stored)
    monkeypatch.setattr(programs, "current", programs.Programs(Loop(tmp_path), 12345))
    monkeypatch.setattr(runner, "current", running_jobs.Jobs("http://127.0.0.1:1"))
    word = seconds()
    try:
        with small.cloud(every=True):
            where = small.network()
            small.profile()
            small.create(small.asked(where))
            small.create_queue()
            small.register()
            job_id = small.submit(
                containerOverrides={"command": ["sleep", word]}, timeout={"attemptDurationSeconds": 60}
            )
            eventually(lambda: small.state(job_id)[0] == "RUNNING" and alive(word))
            small.wait(61)
            eventually(lambda: small.state(job_id)[0] == "FAILED")
            assert small.state(job_id)[1] == "Job attempt duration exceeded timeout"
            assert not alive(word)
    finally:
        programs.close()


def test_a_reclaimed_instance_ends_its_program_and_the_job_begins_anew(lab: Lab) -> None:
    rules = [{"onStatusReason": "Host EC2*", "action": "RETRY"}, {"onReason": "*", "action": "EXIT"}]
    job_id = lab.submit("stubborn", retryStrategy={"attempts": 2, "evaluateOnExit": rules})
    lab.running(job_id)
    found = lab.ec2.describe_instances()["Reservations"]
    ids = [i["InstanceId"] for r in found for i in r["Instances"]]
    lab.ec2.terminate_instances(InstanceIds=ids)
    eventually(lambda: lab.job(job_id)["attempts"])
    reason = lab.job(job_id)["attempts"][0]["statusReason"]
    assert reason == f"Host EC2 (instance {ids[0]}) terminated."
    eventually(lambda: lab.status(job_id) == "RUNNING")


def test_a_job_submits_another_one_if_its_role_may(lab: Lab) -> None:
    refused = lab.submit("submit", "exit", "0")
    assert lab.end(refused)["container"]["exitCode"] == 1
    assert "is not authorized to perform: batch:SubmitJob" in "".join(lab.log(refused))
    where = f"arn:aws:batch:us-east-1:{lab.id}"
    may = {"Effect": "Allow", "Action": "batch:SubmitJob"}
    document = {
        "Version": "2012-10-17",
        "Statement": may | {"Resource": [f"{where}:job-queue/queue", f"{where}:job-definition/work:1"]},
    }
    lab.iam.put_role_policy(RoleName="worker", PolicyName="b", PolicyDocument=json.dumps(document))
    allowed = lab.submit("submit", "exit", "0")
    assert lab.end(allowed)["status"] == "SUCCEEDED", lab.log(allowed)
    assert lab.end(lab.log(allowed)[-1])["jobName"] == "next"


def test_memory_above_the_limit_ends_a_job(lab: Lab) -> None:
    found = lab.end(lab.submit("eat"))
    assert (found["status"], found["container"]["exitCode"]) == ("FAILED", 137)
    assert found["container"]["reason"].startswith("OutOfMemoryError")


def test_an_image_that_was_never_pushed(lab: Lab) -> None:
    lab.register("other", image=lab.image.replace(":1", ":2"))
    found = lab.end(lab.submit("x", jobDefinition="other", retryStrategy={"attempts": 2}))
    assert found["status"] == "FAILED"
    assert found["statusReason"].startswith("CannotPullContainerError: ")
    assert len(found["attempts"]) == 2


def test_an_image_for_other_machines_than_the_environment_has(lab: Lab) -> None:
    lab.register("other", image=lab.push("print(1)", "arm", architecture="arm64"))
    job_id = lab.submit("x", jobDefinition="other")
    found = lab.end(job_id)
    assert (found["status"], found["container"]["exitCode"]) == ("FAILED", 1)
    assert lab.log(job_id) == ["exec python: exec format error"]


def test_a_reset_ends_all_jobs(lab: Lab) -> None:
    word = seconds()
    lab.running(lab.submit("sleep", word, retryStrategy={"attempts": 10}))
    assert alive(word)
    lab.run.reset(lab.id)
    assert not alive(word)
    assert lab.batch.describe_job_queues()["jobQueues"] == []


def test_stopping_the_practice_cloud_ends_all_jobs(tmp_path_factory: pytest.TempPathFactory) -> None:
    run = sandbox.start(slow_states=0, home=tmp_path_factory.mktemp("other"))
    try:
        lab, word = Lab(run), seconds()
        lab.build()
        lab.running(lab.submit("sleep", word, retryStrategy={"attempts": 10}))
        assert alive(word)
    finally:
        run.stop()
    assert not alive(word)


@pytest.mark.docker
def test_an_image_with_an_operating_system_runs_as_a_container(tmp_path: Path) -> None:
    engine = docker_engine.needed()
    with docker_engine.in_use():
        run = sandbox.start(slow_states=0, home=tmp_path)
    try:
        lab = Lab(run)
        lab.build()
        token = lab.ecr.get_authorization_token()["authorizationData"][0]["authorizationToken"]
        image = docker_engine.operating_system("exit 9", User="1000:1000")
        Registry(run.endpoint_url, token).push("work", image, "system")
        arm = json.dumps(json.loads(image.config) | {"architecture": "arm64"}).encode()
        Registry(run.endpoint_url, token).push("work", Image(image.layer, arm), "arm")
        lab.image = lab.image.rpartition(":")[0] + ":system"
        lab.register("system")
        command = "id -u; echo $FROM_IMAGE $AWS_BATCH_JOB_ATTEMPT; exit 3"
        job_id = lab.submit(command, jobDefinition="system")
        job = lab.end(job_id)
        assert (job["status"], job["container"].get("exitCode")) == ("FAILED", 3), job.get("statusReason")
        assert lab.log(job_id) == ["1000", "1 1"]
        lab.image = lab.image.rpartition(":")[0] + ":arm"
        lab.register("arm")
        job_id = lab.submit(command, jobDefinition="arm")
        assert lab.end(job_id)["container"]["exitCode"] == 1
        assert lab.log(job_id) == ["exec /bin/sh: exec format error"]
        labelled = {"label": f"awslabs.practice={run.directory.resolve()}"}
        assert engine.containers.list(all=True, filters=labelled, ignore_removed=True) == []
    finally:
        run.stop()
