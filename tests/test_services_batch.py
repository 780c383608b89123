"""The rules of AWS Batch: moto alone, then with the rule; the scheduler with a runner of the test's own."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError
from test_services_support import (
    FOR_EC2,
    TRUST,
    Case,
    Net,
    check,
    client,
    cloud,
    net,
    refused,
    said,
    table,
    wait,
)

from awslabs.sandbox.core import weather
from awslabs.sandbox.services.batch import fleet, running_jobs
from awslabs.sandbox.services.batch import runner as running
from awslabs.sandbox.services.servicequotas import quotas

ACCOUNT = "123456789012"
MAY = '{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":%s,"Resource":"*"}]}'
NO = "ClientException"
AWS_TIME = (("slow_states", 1.0),)
LIMITED = [
    {"reason": reason, "state": "RUNNABLE", "maxTimeSeconds": 600, "action": "CANCEL"}
    for reason in (
        "CAPACITY:INSUFFICIENT_INSTANCE_CAPACITY",
        "MISCONFIGURATION:COMPUTE_ENVIRONMENT_MAX_RESOURCE",
        "MISCONFIGURATION:JOB_RESOURCE_REQUIREMENT",
    )
]


# --- a small lab --------------------------------------------------------------------------------------


def trust(service: str) -> str:
    return TRUST % json.dumps({"Service": f"{service}.amazonaws.com"})


def allow(role: str, *actions: str) -> None:
    document = MAY % json.dumps(list(actions))
    client("iam").put_role_policy(RoleName=role, PolicyName="own", PolicyDocument=document)


def profile(name: str = "machines") -> str:
    """An instance profile whose role may join a cluster."""
    iam = client("iam")
    iam.create_role(RoleName=name, AssumeRolePolicyDocument=FOR_EC2)
    allow(name, "ecs:*", "ecr:*", "logs:*")
    iam.create_instance_profile(InstanceProfileName=name)
    iam.add_role_to_instance_profile(InstanceProfileName=name, RoleName=name)
    return name


def service_role(name: str = "service") -> str:
    made = client("iam").create_role(RoleName=name, AssumeRolePolicyDocument=trust("batch"))
    allow(name, "ec2:*", "ecs:*", "autoscaling:*")
    return made["Role"]["Arn"]


def network() -> Net:
    """A network with a road to the internet."""
    made = net()
    client("ec2").create_route(
        RouteTableId=made.table_id, DestinationCidrBlock="0.0.0.0/0", GatewayId=made.gateway_id
    )
    return made


def ready() -> Net:
    """A network, and an instance profile."""
    profile()
    return network()


def asked(where: Net, **resources: Any) -> dict[str, Any]:
    """A request for an environment; a resource that is None is left out."""
    known: dict[str, Any] = {
        "type": "EC2",
        "allocationStrategy": "BEST_FIT_PROGRESSIVE",
        "minvCpus": 0,
        "maxvCpus": 4,
        "instanceTypes": ["c5.large"],
        "subnets": [where.subnet_id],
        "securityGroupIds": [where.group_id],
        "instanceRole": "machines",
    }
    kept = {name: value for name, value in (known | resources).items() if value is not None}
    return {"computeEnvironmentName": "lab", "type": "MANAGED", "computeResources": kept}


def create(request: dict[str, Any]) -> str:
    return said(client("batch").create_compute_environment, **request)


def shown(name: str = "lab") -> dict[str, Any]:
    return client("batch").describe_compute_environments(computeEnvironments=[name])["computeEnvironments"][0]


def status(name: str = "lab") -> str:
    found = client("batch").describe_compute_environments(computeEnvironments=[name])["computeEnvironments"]
    return found[0]["status"] if found else "absent"


def queue_status(name: str = "queue") -> str:
    found = client("batch").describe_job_queues(jobQueues=[name])["jobQueues"]
    return found[0]["status"] if found else "absent"


def create_queue(environment: str = "lab", name: str = "queue", **more: Any) -> str:
    order = [{"order": 1, "computeEnvironment": environment}]
    request = {"jobQueueName": name, "state": "ENABLED", "priority": 1}
    request |= {"computeEnvironmentOrder": order} | more
    return said(client("batch").create_job_queue, **request)


def register(name: str = "work", vcpus: int = 2, memory_mib: int = 1000, **more: Any) -> dict[str, Any]:
    container: dict[str, Any] = {
        "image": "busybox",
        "command": ["run"],
        "resourceRequirements": [
            {"type": "VCPU", "value": str(vcpus)},
            {"type": "MEMORY", "value": str(memory_mib)},
        ],
    } | more.pop("container", {})
    kept = {key: value for key, value in container.items() if value is not None}
    return client("batch").register_job_definition(
        jobDefinitionName=name, type="container", containerProperties=kept, **more
    )


def submit(**more: Any) -> str:
    request = {"jobName": "job", "jobQueue": "queue", "jobDefinition": "work"} | more
    return client("batch").submit_job(**request)["jobId"]


def job(job_id: str) -> dict[str, Any]:
    return client("batch").describe_jobs(jobs=[job_id])["jobs"][0]


def state(job_id: str) -> tuple[str, str]:
    found = job(job_id)
    return found["status"], found.get("statusReason", "")


def runs(job_id: str, most_s: int = 60) -> None:
    """Let time pass until a job runs."""
    for _ in range(most_s):
        if state(job_id)[0] == "RUNNING":
            return
        wait(1)
    raise AssertionError(f"{state(job_id)} after {most_s} s")


def machines(*states: str) -> list[dict[str, Any]]:
    """Instances of the account in these states; default: those that are not terminated."""
    listed = client("ec2").describe_instances()["Reservations"]
    found = [each for reservation in listed for each in reservation["Instances"]]
    return [
        each
        for each in found
        if each["State"]["Name"] in states or (not states and each["State"]["Name"] != "terminated")
    ]


class Runner:
    """Who would run the programs: a test says when one begins, speaks and ends."""

    def __init__(self) -> None:
        self.tasks: dict[str, running.Task] = {}
        self.listeners: dict[str, running.Listener] = {}
        self.stopped: list[tuple[str, float]] = []

    def start(self, task: running.Task, listener: running.Listener) -> None:
        self.tasks[task.order.key], self.listeners[task.order.key] = task, listener
        listener.began()

    def stop(self, key: str, grace_s: float) -> None:
        self.stopped.append((key, grace_s))

    def end(self, job_id: str, exit_code: int | None = 0, reason: str = "", attempt: int = 1) -> None:
        self.listeners[f"{job_id}-{attempt}"].ended(exit_code, reason)

    def task(self, job_id: str, attempt: int = 1) -> running.Task:
        return self.tasks[f"{job_id}-{attempt}"]


@pytest.fixture
def runner(monkeypatch: pytest.MonkeyPatch) -> Runner:
    made = Runner()
    monkeypatch.setattr(running, "current", made)
    return made


@pytest.fixture
def aws() -> Iterator[Net]:
    """All rules, and an environment, a queue and a definition in a network. No state takes time."""
    with cloud(every=True):
        where = ready()
        assert create(asked(where)) == "ok"
        assert create_queue() == "ok"
        register()
        yield where


@pytest.fixture
def slow() -> Iterator[Net]:
    """The same, and from now on states take AWS's time."""
    with cloud(every=True):
        where = ready()
        assert create(asked(where)) == "ok"
        assert create_queue(jobStateTimeLimitActions=LIMITED) == "ok"
        register()
        assert (status(), queue_status()) == ("VALID", "VALID")
        weather.current.slow_states = 1.0
        yield where


# --- environments, queues and definitions beside moto's -----------------------------------------------


def an_environment_takes_its_time() -> list[str]:
    where = ready()
    wait(10)
    made = [create(asked(where) | {"serviceRole": service_role()}), status()]
    wait(20)
    made.append(status())
    client("batch").update_compute_environment(computeEnvironment="lab", state="DISABLED")
    made.append(status())
    wait(10)
    made.append(status())
    client("batch").delete_compute_environment(computeEnvironment="lab")
    made.append(status())
    wait(20)
    return [*made, status()]


def no_service_role() -> str:
    where = ready()
    return create(asked(where))


def the_same_name_twice() -> list[str]:
    where = ready()
    request = asked(where) | {"serviceRole": service_role()}
    return [create(request), create(request)]


def an_unknown_subnet() -> str:
    where = ready()
    return create(asked(where, subnets=["subnet-0123456789abcdef0"]) | {"serviceRole": service_role()})


def an_enabled_environment_is_deleted() -> str:
    where = ready()
    create(asked(where) | {"serviceRole": service_role()})
    status()
    return said(client("batch").delete_compute_environment, computeEnvironment="lab")


def an_unknown_environment_is_deleted() -> str:
    return said(client("batch").delete_compute_environment, computeEnvironment="nobody")


def _standing() -> None:
    where = ready()
    create(asked(where) | {"serviceRole": service_role()})
    status()
    create_queue()


def an_environment_in_a_queue_is_deleted() -> str:
    _standing()
    client("batch").update_compute_environment(computeEnvironment="lab", state="DISABLED")
    status()
    return said(client("batch").delete_compute_environment, computeEnvironment="lab")


def an_enabled_queue_is_deleted() -> str:
    _standing()
    return said(client("batch").delete_job_queue, jobQueue="queue")


def a_queue_is_deleted_again() -> list[str]:
    _standing()
    queue_status()
    client("batch").update_job_queue(jobQueue="queue", state="DISABLED")
    queue_status()
    first = said(client("batch").delete_job_queue, jobQueue="queue")
    queue_status()
    return [first, said(client("batch").delete_job_queue, jobQueue="queue")]


def a_queue_of_the_same_name() -> str:
    _standing()
    return create_queue()


def a_queue_takes_its_time() -> list[str]:
    where = ready()
    wait(10)
    create(asked(where) | {"serviceRole": service_role()})
    wait(10)
    status()
    wait(20)
    create_queue()
    made = [queue_status()]
    wait(5)
    return [*made, queue_status()]


def a_queue_on_an_environment_that_is_creating() -> str:
    where = ready()
    wait(10)
    create(asked(where) | {"serviceRole": service_role()})
    return create_queue()


def tags_are_found() -> list[str]:
    _standing()
    register(tags={"lab": "one"})
    client("batch").tag_resource(
        resourceArn=f"arn:aws:batch:us-east-1:{ACCOUNT}:job-queue/queue", tags={"lab": "one"}
    )
    found = client("resourcegroupstaggingapi").get_resources(TagFilters=[{"Key": "lab", "Values": ["one"]}])
    return sorted(each["ResourceARN"].split(":", 5)[5] for each in found["ResourceTagMappingList"])


@table(
    Case(
        "batch",
        an_environment_takes_its_time,
        ["ok", "VALID", "VALID", "VALID", "VALID", "absent", "absent"],
        ["ok", "CREATING", "VALID", "UPDATING", "VALID", "DELETING", "absent"],
        AWS_TIME,
        ("propagation",),
    ),
    Case("batch", no_service_role, NO, "ok"),
    Case("batch", the_same_name_twice, ["ok", "InvalidParameterValue"], ["ok", NO]),
    Case("batch", an_unknown_subnet, "InvalidParameterValue", NO),
    Case("batch", an_enabled_environment_is_deleted, "ok", NO),
    Case("batch", an_unknown_environment_is_deleted, "ok", NO),
    Case("batch", an_environment_in_a_queue_is_deleted, "ok", NO),
    Case("batch", an_enabled_queue_is_deleted, "ok", NO),
    Case("batch", a_queue_is_deleted_again, ["ok", "ok"], ["ok", NO]),
    Case("batch", a_queue_of_the_same_name, NO, NO),
    Case("batch", a_queue_takes_its_time, ["VALID", "VALID"], ["CREATING", "VALID"], AWS_TIME),
    Case("batch", a_queue_on_an_environment_that_is_creating, "ok", NO, AWS_TIME),
    Case("batch", tags_are_found, [], ["job-definition/work:1", "job-queue/queue"]),
)
def test_aws_is_stricter_than_moto(case: Case) -> None:
    check(case)


# --- environments -------------------------------------------------------------------------------------


def a_fresh_service_role() -> None:
    service_role()
    update = client("batch").update_compute_environment
    update(computeEnvironment="lab", serviceRole="service")


def a_service_role_without_policies() -> None:
    client("iam").create_role(RoleName="service", AssumeRolePolicyDocument=trust("batch"))
    client("batch").update_compute_environment(computeEnvironment="lab", serviceRole="service")


@pytest.mark.parametrize(
    ("request_", "reason"),
    [
        ({"instanceRole": "nobody"}, "CLIENT_ERROR - Invalid IamInstanceProfile: nobody"),
        ({"instanceRole": "machines"}, "CLIENT_ERROR - Invalid IamInstanceProfile: machines"),  # too fresh
        (
            {"serviceRole": "service"},
            "CLIENT_ERROR - Not authorized to perform sts:AssumeRole (Service: AWSSecurityTokenService; "
            "Status Code: 403; Error Code: AccessDenied;",
        ),
        (
            {
                "type": "SPOT",
                "allocationStrategy": "BEST_FIT",
                "spotIamFleetRole": "arn:aws:iam::1:role/none",
            },
            "CLIENT_ERROR - Parameter: SpotFleetRequestConfig.IamFleetRole is invalid.",
        ),
    ],
    ids=["no profile", "fresh profile", "no service role", "no fleet role"],
)
def test_an_environment_with_roles_that_cannot_be_used_becomes_invalid(
    request_: dict[str, Any], reason: str
) -> None:
    with cloud(every=True, slow_states=1.0):
        where = network()
        if "instanceRole" not in request_:
            profile()
            wait(10)
        named = {"serviceRole": request_["serviceRole"]} if "serviceRole" in request_ else {}
        resources = {name: value for name, value in request_.items() if name != "serviceRole"}
        assert create(asked(where, **resources) | named) == "ok"
        wait(14)
        if resources.get("instanceRole") == "machines":
            profile()  # 6 s before Batch looks: EC2 does not know it yet
        wait(6)
        assert shown()["status"] == "INVALID"
        assert shown()["statusReason"].startswith(reason)


def test_an_update_mends_an_invalid_environment() -> None:
    with cloud(every=True, slow_states=1.0):
        where = network()
        assert create(asked(where)) == "ok"
        profile()
        wait(20)
        assert (status(), create_queue()) == ("VALID", "ok")
    with cloud(every=True, slow_states=1.0):
        where = network()
        assert create(asked(where)) == "ok"
        wait(20)
        profile()
        assert (status(), create_queue()) == ("INVALID", NO)
        wait(10)
        assert status() == "INVALID", "it does not mend itself"
        client("batch").update_compute_environment(computeEnvironment="lab", state="ENABLED")
        assert status() == "UPDATING"
        wait(10)
        assert (status(), shown()["statusReason"]) == ("VALID", "ComputeEnvironment Healthy")


def test_a_service_role_needs_its_policies_everywhere() -> None:
    with cloud(every=True, slow_states=1.0):
        where = ready()
        client("iam").create_role(RoleName="service", AssumeRolePolicyDocument=trust("batch"))
        wait(10)
        create(asked(where) | {"serviceRole": "service"})
        wait(20)
        assert "assumed-role/service/aws-batch is not authorized" in shown()["statusReason"]
        allow("service", "ecs:*")
        client("batch").update_compute_environment(computeEnvironment="lab", state="ENABLED")
        wait(7)
        assert status() == "UPDATING"
        wait(3)
        assert status() == "VALID"


def test_without_a_service_role_batch_makes_its_own(aws: Net) -> None:
    role = client("iam").get_role(RoleName="AWSServiceRoleForBatch")["Role"]
    assert role["Path"] == "/aws-service-role/batch.amazonaws.com/"
    assert shown()["serviceRole"] == role["Arn"]
    assert create(asked(aws) | {"computeEnvironmentName": "second"}) == "ok"
    assert said(client("iam").delete_role, RoleName="AWSServiceRoleForBatch") == "UnmodifiableEntity"


def test_a_role_that_goes_too_early_makes_it_invalid_and_keeps_it(aws: Net) -> None:
    batch, iam = client("batch"), client("iam")
    arn = service_role()
    assert create(asked(aws) | {"computeEnvironmentName": "own", "serviceRole": arn}) == "ok"
    assert status("own") == "VALID"
    iam.delete_role_policy(RoleName="service", PolicyName="own")
    iam.delete_role(RoleName="service")
    assert status("own") == "INVALID"
    assert "sts:AssumeRole" in shown("own")["statusReason"]
    batch.update_compute_environment(computeEnvironment="own", state="DISABLED")
    assert (status("own"), shown("own")["state"]) == ("INVALID", "DISABLED")
    batch.delete_compute_environment(computeEnvironment="own")
    assert status("own") == "INVALID", "without its role Batch cannot clean up"
    service_role()
    batch.delete_compute_environment(computeEnvironment="own")
    assert status("own") == "absent"


def test_without_its_profile_it_is_invalid_but_can_be_deleted(aws: Net) -> None:
    iam = client("iam")
    create(asked(aws) | {"computeEnvironmentName": "own"})
    iam.remove_role_from_instance_profile(InstanceProfileName="machines", RoleName="machines")
    assert status("own") == "INVALID"
    client("batch").update_compute_environment(computeEnvironment="own", state="DISABLED")
    status("own")
    client("batch").delete_compute_environment(computeEnvironment="own")
    assert status("own") == "absent"


@pytest.mark.parametrize(
    ("resources", "word"),
    [
        ({"minvCpus": None}, "Resource minvCpus is required."),
        ({"instanceRole": None}, "Instance role is required."),
        ({"instanceTypes": None}, "Instance types are required."),
        ({"subnets": []}, "subnets is required"),
        ({"securityGroupIds": []}, "securityGroupIds is required"),
        ({"minvCpus": 5}, "maxvCpus"),
        ({"desiredvCpus": 9}, "desiredvCpus"),
        ({"instanceTypes": ["c5.enormous"]}, "c5.enormous"),
        ({"allocationStrategy": "SPOT_CAPACITY_OPTIMIZED"}, "not applicable for EC2"),
        ({"allocationStrategy": "CHEAPEST"}, "CHEAPEST"),
        ({"type": "SPOT", "allocationStrategy": "BEST_FIT"}, "spotIamFleetRole is required"),
        ({"bidPercentage": 50}, "bidPercentage"),
        ({"ec2Configuration": [{"imageType": "ECS_AL2"}]}, "no longer supported"),
        ({"ec2Configuration": [{"imageType": "WINDOWS"}]}, "WINDOWS"),
        ({"imageId": "ami-0123456789abcdef0"}, "does not exist"),
        ({"ec2KeyPair": "nobody"}, "'nobody' does not exist"),
        ({"securityGroupIds": ["sg-0123456789abcdef0"]}, "does not exist"),
        ({"tags": {"aws:mine": "x"}}, "aws:mine"),
        ({"scalingPolicy": {"minScaleDownDelayMinutes": 5}}, "minScaleDownDelayMinutes"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_an_environment_cannot_be(aws: Net, resources: dict[str, Any], word: str) -> None:
    request = asked(aws, **resources) | {"computeEnvironmentName": "other"}
    code, message, http = refused(client("batch").create_compute_environment, **request)
    assert (code, http) == (NO, 400)
    assert word in message
    assert message.startswith("Error executing request, Exception : ")


def test_groups_and_subnets_are_of_one_vpc(aws: Net) -> None:
    other = net(cidr="10.10.1.0/24")
    message = refused(client("batch").create_compute_environment, **asked(aws, subnets=[other.subnet_id]))[1]
    assert "same VPC" in message


@pytest.mark.parametrize(
    "change",
    [
        {"type": "UNMANAGED"},
        {"eksConfiguration": {"eksClusterArn": "arn:x", "kubernetesNamespace": "n"}},
        {"computeResources": {"type": "FARGATE", "maxvCpus": 4, "subnets": ["subnet-1"]}},
    ],
    ids=["unmanaged", "eks", "fargate"],
)
def test_what_the_practice_cloud_cannot_do_it_says(aws: Net, change: dict[str, Any]) -> None:
    request = asked(aws) | {"computeEnvironmentName": "other"} | change
    code, message, http = refused(client("batch").create_compute_environment, **request)
    assert (code, http) == ("NotImplemented", 501)
    assert "practice cloud" in message


def test_an_environment_has_its_order_of_deletion_in_words(slow: Net) -> None:
    batch = client("batch")
    delete = batch.delete_compute_environment
    assert "DISABLED" in refused(delete, computeEnvironment="lab")[1]
    batch.update_compute_environment(computeEnvironment="lab", state="DISABLED")
    assert refused(delete, computeEnvironment="lab")[1] == "Cannot delete, resource is being modified."
    assert (
        "being modified"
        in refused(batch.update_compute_environment, computeEnvironment="lab", state="ENABLED")[1]
    )
    wait(10)
    assert (
        refused(delete, computeEnvironment="lab")[1] == "Cannot delete, found existing JobQueue relationship"
    )
    assert "DISABLED" in refused(batch.delete_job_queue, jobQueue="queue")[1]
    batch.update_job_queue(jobQueue="queue", state="DISABLED")
    assert "being modified" in refused(batch.delete_job_queue, jobQueue="queue")[1]
    wait(5)
    batch.delete_job_queue(jobQueue="queue")
    assert queue_status() == "DELETING"
    assert "JobQueue relationship" in refused(delete, computeEnvironment="lab")[1]
    wait(10)
    assert queue_status() == "absent"
    assert refused(batch.delete_job_queue, jobQueue="queue")[1].endswith("job-queue/queue does not exist")
    delete(computeEnvironment="lab")
    assert "being modified" in refused(delete, computeEnvironment="lab")[1]
    wait(20)
    assert status() == "absent"
    assert refused(delete, computeEnvironment="lab")[1].endswith("compute-environment/lab does not exist")


def test_best_fit_is_the_default_and_allows_no_new_infrastructure(aws: Net) -> None:
    create(asked(aws, allocationStrategy=None) | {"computeEnvironmentName": "plain"})
    assert shown("plain")["computeResources"]["allocationStrategy"] == "BEST_FIT"
    update = client("batch").update_compute_environment
    assert said(update, computeEnvironment="plain", computeResources={"maxvCpus": 16}) == "ok"
    status("plain")
    types = {"instanceTypes": ["m5.large"]}
    assert "BEST_FIT" in refused(update, computeEnvironment="plain", computeResources=types)[1]
    assert said(update, computeEnvironment="lab", computeResources=types) == "ok"
    assert shown()["computeResources"]["instanceTypes"] == ["m5.large"]


def test_pages_of_environments_follow_each_other(aws: Net) -> None:
    create(asked(aws) | {"computeEnvironmentName": "second"})
    pages = client("batch").get_paginator("describe_compute_environments")
    found = [page["computeEnvironments"] for page in pages.paginate(PaginationConfig={"PageSize": 1})]
    assert [[each["computeEnvironmentName"] for each in page] for page in found] == [["lab"], ["second"]]


# --- queues and definitions ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"reason": "CAPACITY:NO_QUOTA"}, "CAPACITY:NO_QUOTA"),
        ({"maxTimeSeconds": 599}, "between 600 and 86400"),
        ({"maxTimeSeconds": 86_401}, "between 600 and 86400"),
        ({"action": "TERMINATE"}, "CANCEL"),
    ],
    ids=["reason", "too soon", "too late", "action"],
)
def test_limits_of_a_queue_are_looked_at(aws: Net, change: dict[str, Any], word: str) -> None:
    order = [{"order": 1, "computeEnvironment": "lab"}]
    request = {"jobQueueName": "other", "priority": 1, "computeEnvironmentOrder": order}
    for limits in ([LIMITED[0] | change], [*LIMITED, LIMITED[0] | change]):
        make = client("batch").create_job_queue
        assert word in refused(make, **request, jobStateTimeLimitActions=limits)[1]
    assert "one entry for each reason" in refused(make, **request, jobStateTimeLimitActions=LIMITED * 2)[1]
    assert said(make, **request, jobStateTimeLimitActions=LIMITED) == "ok"


def test_a_queue_needs_environments_that_are_there(aws: Net) -> None:
    order = [{"order": 1, "computeEnvironment": "nobody"}]
    request = {"jobQueueName": "other", "priority": 1}
    make = client("batch").create_job_queue
    assert "does not exist" in refused(make, **request, computeEnvironmentOrder=order)[1]
    assert said(make, **request, computeEnvironmentOrder=[]) == NO
    assert create_queue(jobQueueName="bad name") == NO
    assert create_queue(jobQueueName="other", priority=1001) == NO


def test_each_registration_is_a_revision_and_deregistered_ones_are_inactive(aws: Net) -> None:
    batch = client("batch")
    assert [register()["revision"], register("other")["revision"]] == [2, 1]
    assert said(batch.deregister_job_definition, jobDefinition="work:2") == "ok"
    assert said(batch.deregister_job_definition, jobDefinition="work") == NO, "without a revision"
    assert said(batch.deregister_job_definition, jobDefinition="work:9") == NO
    assert said(batch.deregister_job_definition, jobDefinition="work:²") == NO
    for token in ("-2", "²", "9" * 5000):
        assert said(batch.describe_job_definitions, nextToken=token) == NO, token[:9]

    def revisions(**which: Any) -> list[tuple[int, str]]:
        found = batch.describe_job_definitions(jobDefinitionName="work", **which)["jobDefinitions"]
        return [(each["revision"], each["status"]) for each in found]

    assert revisions() == [(2, "INACTIVE"), (1, "ACTIVE")]
    assert revisions(status="ACTIVE") == [(1, "ACTIVE")]
    assert job(submit())["jobDefinition"].endswith(":1"), "the latest that is active"
    assert said(batch.submit_job, jobName="j", jobQueue="queue", jobDefinition="work:2") == NO
    batch.deregister_job_definition(jobDefinition="work:1")
    assert register()["revision"] == 3, "numbers never start again"


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"container": {"resourceRequirements": [{"type": "VCPU", "value": "1"}]}}, "vcpus and memory"),
        ({"container": {"resourceRequirements": [{"type": "VCPU", "value": "0.5"}]}}, "whole number"),
        ({"vcpus": 0}, "vcpus must be at least 1"),
        ({"memory_mib": 3}, "at least 4 MiB"),
        ({"container": {"image": ""}}, "image"),
        ({"container": {"environment": [{"name": "AWS_BATCH_X", "value": "1"}]}}, "AWS_BATCH"),
        ({"container": {"jobRoleArn": "worker"}}, "ARN"),
        ({"timeout": {"attemptDurationSeconds": 59}}, "at least 60"),
        ({"retryStrategy": {"attempts": 11}}, "between 1 and 10"),
        ({"retryStrategy": {"attempts": 0}}, "between 1 and 10"),
        ({"retryStrategy": {}}, "RetryAttempts must be provided"),
        ({"retryStrategy": {"attempts": 2, "evaluateOnExit": [{"action": "RETRY"}]}}, "onStatusReason"),
        (
            {"retryStrategy": {"attempts": 2, "evaluateOnExit": [{"action": "JUMP", "onReason": "*"}]}},
            "one of RETRY, EXIT",
        ),
        (
            {"retryStrategy": {"attempts": 2, "evaluateOnExit": [{"action": "EXIT", "onReason": "*x"}]}},
            "asterisk",
        ),
        (
            {"retryStrategy": {"attempts": 2, "evaluateOnExit": [{"action": "EXIT", "onReason": "x"}] * 6}},
            "at most 5",
        ),
        ({"name": "bad name"}, "valid pattern"),
        ({"tags": {str(n): "" for n in range(51)}}, "at most 50"),
        ({"container": {"command": ["x" * 25_000]}}, "24576 bytes"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_a_definition_cannot_be(aws: Net, change: dict[str, Any], word: str) -> None:
    with pytest.raises(ClientError) as caught:
        register(**change)
    assert caught.value.response["Error"]["Code"] == NO
    assert word in caught.value.response["Error"]["Message"]


# --- submitting ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"jobName": "bad name"}, "Job name should match valid pattern"),
        ({"jobName": "x" * 129}, "Job name should match valid pattern"),
        ({"jobQueue": "nobody"}, "job-queue/nobody does not exist"),
        ({"jobDefinition": "nobody"}, "nobody"),
        ({"jobDefinition": "work:7"}, "work:7"),
        ({"arrayProperties": {"size": 1}}, "between 2 and 10000"),
        ({"arrayProperties": {"size": 10_001}}, "between 2 and 10000"),
        ({"timeout": {"attemptDurationSeconds": 5}}, "at least 60"),
        ({"retryStrategy": {"attempts": 20}}, "between 1 and 10"),
        ({"dependsOn": [{"jobId": "nobody"}]}, "does not exist"),
        ({"dependsOn": [{"type": "SEQUENTIAL"}]}, "array jobs only"),
        ({"shareIdentifier": "me"}, "fair share"),
        ({"containerOverrides": {"command": ["Ref::lr"]}}, "No parameter found for reference lr"),
        ({"containerOverrides": {"environment": [{"name": "AWS_BATCH_JOB_ID", "value": "1"}]}}, "AWS_BATCH"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_cannot_be_submitted(aws: Net, change: dict[str, Any], word: str) -> None:
    request = {"jobName": "job", "jobQueue": "queue", "jobDefinition": "work"} | change
    code, message, _ = refused(client("batch").submit_job, **request)
    assert code == NO
    assert word in message


def test_a_disabled_queue_takes_no_jobs_but_ends_those_it_has(aws: Net, runner: Runner) -> None:
    job_id = submit()
    client("batch").update_job_queue(jobQueue="queue", state="DISABLED")
    assert queue_status() == "VALID"
    assert said(client("batch").submit_job, jobName="j", jobQueue="queue", jobDefinition="work") == NO
    runner.end(job_id)
    assert state(job_id)[0] == "SUCCEEDED"


def test_a_job_overrides_its_definition(aws: Net, runner: Runner) -> None:
    register(
        "base",
        container={"environment": [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}]},
        parameters={"lr": "0.1", "epochs": "5"},
        timeout={"attemptDurationSeconds": 100},
    )
    job_id = submit(
        jobDefinition="base:1",
        parameters={"lr": "0.2"},
        timeout={"attemptDurationSeconds": 60},
        containerOverrides={
            "command": ["--lr", "Ref::lr", "--epochs", "Ref::epochs"],
            "environment": [{"name": "B", "value": "3"}],
            "resourceRequirements": [{"type": "MEMORY", "value": "2000"}],
        },
    )
    found = job(job_id)
    assert found["timeout"] == {"attemptDurationSeconds": 60}
    order = runner.task(job_id).order
    assert order.command == ["--lr", "0.2", "--epochs", "5"]
    assert (order.vcpus, order.memory_mib) == (2, 2000)
    assert (order.environment["A"], order.environment["B"]) == ("1", "3")


def test_more_than_50_calls_of_submit_in_a_second_are_too_many(slow: Net) -> None:
    for _ in range(50):
        submit()
    request = {"jobName": "job", "jobQueue": "queue", "jobDefinition": "work"}
    no_retries = client("batch").meta.config.merge(Config(retries={"total_max_attempts": 1}))
    patient = boto3.client(
        "batch", "us-east-1", aws_access_key_id="x", aws_secret_access_key="y", config=no_retries
    )
    code, _, http = refused(patient.submit_job, **request)
    assert (code, http) == ("TooManyRequestsException", 429)
    wait(1)
    assert said(patient.submit_job, **request) == "ok"


def test_tags_of_a_job_and_of_its_definition(aws: Net) -> None:
    register("tagged", tags={"kind": "definition", "who": "all"})
    job_id = submit(jobDefinition="tagged", tags={"kind": "job"})
    assert job(job_id)["tags"] == {"kind": "job"}
    both = submit(jobDefinition="tagged", tags={"kind": "job"}, propagateTags=True)
    assert job(both)["tags"] == {"kind": "job", "who": "all"}
    batch, arn = client("batch"), job(job_id)["jobArn"]
    batch.tag_resource(resourceArn=arn, tags={"more": "1"})
    batch.untag_resource(resourceArn=arn, tagKeys=["kind"])
    assert batch.list_tags_for_resource(resourceArn=arn)["tags"] == {"more": "1"}
    assert said(batch.list_tags_for_resource, resourceArn=arn.replace(":job/", ":job/0")) == NO
    found = client("resourcegroupstaggingapi").get_resources(TagFilters=[{"Key": "more"}])
    assert found["ResourceTagMappingList"] == [], "jobs are not in there"


# --- the life of a job --------------------------------------------------------------------------------


def test_a_job_goes_through_its_states(slow: Net, runner: Runner) -> None:
    job_id = submit(tags={"a": "b"})
    seen = []
    for seconds in (0, 1, 15, 3):
        wait(seconds)
        seen.append(state(job_id)[0])
    assert seen == ["SUBMITTED", "RUNNABLE", "STARTING", "RUNNING"]
    assert "startedAt" in job(job_id)
    assert "stoppedAt" not in job(job_id)
    assert client("batch").list_jobs(jobQueue="queue")["jobSummaryList"][0]["jobId"] == job_id
    wait(7)
    runner.end(job_id)
    found = job(job_id)
    assert (found["status"], found["statusReason"]) == ("SUCCEEDED", "Essential container in task exited")
    assert found["stoppedAt"] - found["startedAt"] == 7000
    attempt = found["attempts"][0]
    assert attempt["container"]["exitCode"] == found["container"]["exitCode"] == 0
    assert attempt["container"]["logStreamName"].startswith("work/default/")
    assert attempt["container"]["taskArn"].rpartition("/")[2] in attempt["container"]["logStreamName"]


def test_a_job_finds_who_it_is(aws: Net, runner: Runner) -> None:
    job_id = submit()
    state(job_id)
    own = {k: v for k, v in runner.task(job_id).order.environment.items() if k.startswith("AWS_BATCH")}
    assert own == {
        "AWS_BATCH_JOB_ID": job_id,
        "AWS_BATCH_JOB_ATTEMPT": "1",
        "AWS_BATCH_JQ_NAME": "queue",
        "AWS_BATCH_CE_NAME": "lab",
    }


def test_without_a_runner_a_job_is_a_record_until_its_timeout(slow: Net) -> None:
    job_id = submit(timeout={"attemptDurationSeconds": 60})
    for _ in range(3):
        wait(30)
        state(job_id)
    assert state(job_id)[0] == "RUNNING"
    wait(60)
    assert state(job_id) == ("FAILED", "Job attempt duration exceeded timeout")


def test_an_array_has_children_and_waits_for_all(aws: Net, runner: Runner) -> None:
    array = submit(arrayProperties={"size": 3})
    assert state(array)[0] == "PENDING"
    children = [f"{array}:{index}" for index in range(3)]
    assert job(array)["arrayProperties"] == {
        "size": 3,
        "statusSummary": dict.fromkeys(("SUBMITTED", "PENDING", "STARTING", "SUCCEEDED", "FAILED"), 0)
        | {"RUNNABLE": 1, "RUNNING": 2},
    }, "2 vCPUs each, and 4 at most"
    for index in (0, 1):
        environment = runner.task(children[index]).order.environment
        assert (environment["AWS_BATCH_JOB_ARRAY_INDEX"], environment["AWS_BATCH_JOB_ID"]) == (
            str(index),
            children[index],
        )
        assert job(children[index])["arrayProperties"] == {"index": index}
    runner.end(children[0])
    assert [state(child)[0] for child in children] == ["SUCCEEDED", "RUNNING", "RUNNING"]
    runner.end(children[1])
    assert state(array)[0] == "PENDING"
    runner.end(children[2])
    assert state(array)[0] == "SUCCEEDED"
    found = client("batch").list_jobs(arrayJobId=array, jobStatus="SUCCEEDED")["jobSummaryList"]
    assert [each["jobId"] for each in found] == children


def test_an_array_fails_with_one_of_its_children(aws: Net, runner: Runner) -> None:
    array = submit(arrayProperties={"size": 2})
    state(array)
    runner.end(f"{array}:0", 3)
    assert state(array)[0] == "PENDING"
    runner.end(f"{array}:1")
    assert state(array) == ("FAILED", "Array Child Job failed")
    assert job(f"{array}:0")["container"]["exitCode"] == 3


def test_a_job_waits_for_those_it_depends_on(aws: Net, runner: Runner) -> None:
    first = submit()
    second = submit(dependsOn=[{"jobId": first}])
    third = submit(dependsOn=[{"jobId": second}])
    assert [state(each)[0] for each in (first, second, third)] == ["RUNNING", "PENDING", "PENDING"]
    runner.end(first)
    assert [state(each)[0] for each in (second, third)] == ["RUNNING", "PENDING"]
    runner.end(second, 1)
    assert state(third) == ("FAILED", "Dependent Job failed")
    late = submit(dependsOn=[{"jobId": first}])
    assert state(late)[0] == "RUNNING", "what it waits for has succeeded long ago"
    never = submit(dependsOn=[{"jobId": second}])
    assert state(never) == ("FAILED", "Dependent Job failed")


def test_a_sequential_array_runs_one_after_the_other(aws: Net, runner: Runner) -> None:
    array = submit(arrayProperties={"size": 3}, dependsOn=[{"type": "SEQUENTIAL"}])
    children = [f"{array}:{index}" for index in range(3)]
    assert [state(child)[0] for child in children] == ["RUNNING", "PENDING", "PENDING"]
    runner.end(children[0])
    assert [state(child)[0] for child in children[1:]] == ["RUNNING", "PENDING"]
    runner.end(children[1], 1)
    assert state(children[2]) == ("FAILED", "Dependent Job failed")
    assert state(array)[0] == "FAILED"


def test_the_children_of_two_arrays_wait_for_each_other_by_index(aws: Net, runner: Runner) -> None:
    first = submit(arrayProperties={"size": 2})
    second = submit(arrayProperties={"size": 2}, dependsOn=[{"jobId": first, "type": "N_TO_N"}])
    message = "arrays of the same size"
    with pytest.raises(ClientError, match="same size"):
        submit(arrayProperties={"size": 3}, dependsOn=[{"jobId": first, "type": "N_TO_N"}])
    state(first)
    runner.end(f"{first}:1")
    assert [state(f"{second}:{index}")[0] for index in (0, 1)] == ["PENDING", "RUNNING"], message


def test_a_failing_job_is_tried_again_as_often_as_it_may(aws: Net, runner: Runner) -> None:
    job_id = submit(retryStrategy={"attempts": 3})
    for attempt in (1, 2):
        assert state(job_id)[0] == "RUNNING"
        assert runner.task(job_id, attempt).order.environment["AWS_BATCH_JOB_ATTEMPT"] == str(attempt)
        runner.end(job_id, 7, attempt=attempt)
    assert state(job_id)[0] == "RUNNING"
    runner.end(job_id, 0, attempt=3)
    found = job(job_id)
    assert found["status"] == "SUCCEEDED"
    assert [each["container"]["exitCode"] for each in found["attempts"]] == [7, 7, 0]
    streams = {each["container"]["logStreamName"] for each in found["attempts"]}
    assert len(streams) == 3
    once = submit()
    state(once)
    runner.end(once, 1)
    assert state(once) == ("FAILED", "Essential container in task exited")


RECLAIM = [{"onStatusReason": "Host EC2*", "action": "RETRY"}, {"onReason": "*", "action": "exit"}]


@pytest.mark.parametrize(
    ("rules", "exit_code", "reason", "again"),
    [
        (RECLAIM, 1, "", False),
        ([{"onExitCode": "13*", "action": "RETRY"}, {"onExitCode": "*", "action": "EXIT"}], 137, "", True),
        ([{"onExitCode": "13*", "action": "RETRY"}, {"onExitCode": "*", "action": "EXIT"}], 1, "", False),
        ([{"onReason": "OutOfMemory*", "action": "EXIT"}], 137, "OutOfMemoryError: Container killed", False),
        ([{"onReason": "OutOfMemory*", "action": "EXIT"}], 1, "", True),
        ([{"onReason": "OutOf*", "onExitCode": "9", "action": "EXIT"}], 137, "OutOfMemoryError: x", True),
        ([{"onStatusReason": "CannotPull*", "action": "EXIT"}], None, "CannotPullContainerError: no", False),
        ([{"onStatusReason": "Essential", "action": "EXIT"}], 1, "", True),
    ],
    ids=[
        *("exit on anything else", "code", "other code", "reason", "none matches", "both have to match"),
        *("not started", "a whole text without an asterisk"),
    ],
)
def test_evaluate_on_exit_decides(
    aws: Net, runner: Runner, rules: list[dict[str, str]], exit_code: int | None, reason: str, again: bool
) -> None:
    job_id = submit(retryStrategy={"attempts": 2, "evaluateOnExit": rules})
    state(job_id)
    runner.end(job_id, exit_code, reason)
    assert state(job_id)[0] == ("RUNNING" if again else "FAILED")


def test_an_image_that_cannot_be_pulled_is_the_reason(aws: Net, runner: Runner) -> None:
    job_id = submit(retryStrategy={"attempts": 2})
    state(job_id)
    for attempt in (1, 2):
        runner.end(job_id, None, "CannotPullContainerError: busybox is not there", attempt=attempt)
        state(job_id)
    found = job(job_id)
    assert (found["status"], found["statusReason"]) == (
        "FAILED",
        "CannotPullContainerError: busybox is not there",
    )
    assert found["container"]["reason"] == "CannotPullContainerError: busybox is not there"
    assert "exitCode" not in found["container"]
    assert len(found["attempts"]) == 2
    assert "startedAt" not in found["attempts"][0]


def test_a_timeout_kills_and_is_not_tried_again(slow: Net, runner: Runner) -> None:
    job_id = submit(timeout={"attemptDurationSeconds": 60}, retryStrategy={"attempts": 3})
    runs(job_id)
    wait(59)
    state(job_id)
    assert runner.stopped == []
    wait(2)
    state(job_id)
    assert runner.stopped == [(f"{job_id}-1", 30.0)]
    assert state(job_id)[0] == "RUNNING", "until its program has ended"
    runner.end(job_id, 143)
    assert state(job_id) == ("FAILED", "Job attempt duration exceeded timeout")
    assert job(job_id)["container"]["exitCode"] == 143


def test_cancel_ends_what_has_not_started(aws: Net, runner: Runner) -> None:
    batch = client("batch")
    running_, more, waits = submit(), submit(), submit()
    after = submit(dependsOn=[{"jobId": waits}])
    assert [state(each)[0] for each in (running_, more, waits, after)] == [
        *("RUNNING", "RUNNING", "RUNNABLE", "PENDING")
    ]
    for each in (running_, waits, after):
        assert said(batch.cancel_job, jobId=each, reason="not needed") == "ok"
    assert state(running_)[0] == "RUNNING", "what runs, runs on"
    assert not job(running_)["isCancelled"]
    assert runner.stopped == []
    assert state(waits) == ("FAILED", "not needed")
    assert job(waits)["isCancelled"]
    assert state(after)[0] == "FAILED"
    runner.end(running_)
    assert state(running_)[0] == "SUCCEEDED"
    assert said(batch.cancel_job, jobId=running_, reason="late") == "ok"
    assert state(running_)[0] == "SUCCEEDED"
    assert said(batch.cancel_job, jobId="nobody", reason="x") == NO


def test_a_pending_job_is_cancelled_when_its_turn_comes(aws: Net, runner: Runner) -> None:
    first = submit()
    second = submit(dependsOn=[{"jobId": first}])
    state(second)
    client("batch").cancel_job(jobId=second, reason="changed my mind")
    assert state(second)[0] == "PENDING"
    runner.end(first)
    assert state(second) == ("FAILED", "changed my mind")


def test_cancelling_an_array_leaves_the_children_that_run(aws: Net, runner: Runner) -> None:
    array = submit(arrayProperties={"size": 4})
    state(array)
    client("batch").cancel_job(jobId=array, reason="enough")
    assert [state(f"{array}:{index}")[0] for index in range(4)] == ["RUNNING", "RUNNING", "FAILED", "FAILED"]
    assert state(array)[0] == "PENDING"
    for index in (0, 1):
        runner.end(f"{array}:{index}")
    assert state(array) == ("FAILED", "enough")


def test_terminate_ends_a_job_whatever_it_does(aws: Net, runner: Runner) -> None:
    batch = client("batch")
    runs, _, waits = submit(retryStrategy={"attempts": 3}), submit(), submit()
    state(runs)
    for each in (runs, waits):
        batch.terminate_job(jobId=each, reason="enough")
    assert state(waits) == ("FAILED", "enough")
    assert state(runs)[0] == "RUNNING"
    assert runner.stopped == [(f"{runs}-1", 30.0)]
    runner.end(runs, 143)
    assert state(runs) == ("FAILED", "enough"), "and there is no other attempt"
    assert job(runs)["isTerminated"]


def test_terminating_an_array_ends_all_children(aws: Net, runner: Runner) -> None:
    array = submit(arrayProperties={"size": 3})
    state(array)
    client("batch").terminate_job(jobId=array, reason="down")
    assert {key for key, _ in runner.stopped} == {f"{array}:0-1", f"{array}:1-1"}
    for index in (0, 1):
        runner.end(f"{array}:{index}", 143)
    assert state(array) == ("FAILED", "down")
    assert job(array)["arrayProperties"]["statusSummary"]["FAILED"] == 3


def test_many_jobs_are_cancelled_and_terminated_at_once(aws: Net, runner: Runner) -> None:
    batch = client("batch")
    runs, waits = submit(containerOverrides={"command": ["x"]}), submit(jobName="other")
    state(runs)
    answer = batch.terminate_jobs(jobs=[runs, "nobody"], reason="enough")
    assert answer["successful"] == [runs]
    assert [(each["job"], each["code"]) for each in answer["errors"]] == [("nobody", NO)]
    assert batch.cancel_jobs(jobs=[waits], reason="enough")["successful"] == [waits]


def test_a_deleted_queue_terminates_its_jobs(aws: Net, runner: Runner) -> None:
    job_id = submit()
    state(job_id)
    batch = client("batch")
    batch.update_job_queue(jobQueue="queue", state="DISABLED")
    queue_status()
    batch.delete_job_queue(jobQueue="queue")
    assert queue_status() == "DELETING"
    assert runner.stopped == [(f"{job_id}-1", 30.0)]
    runner.end(job_id, 143)
    wait(1)
    assert (queue_status(), state(job_id)) == ("absent", ("FAILED", "Job queue is being deleted"))


def test_lists_of_jobs(aws: Net, runner: Runner) -> None:
    batch = client("batch")
    first, second, array = submit(jobName="one"), submit(jobName="Two"), submit(arrayProperties={"size": 2})
    state(first)

    def listed(**which: Any) -> list[str]:
        return [each["jobId"] for each in batch.list_jobs(**{"jobQueue": "queue"} | which)["jobSummaryList"]]

    assert listed() == [first, second], "without a status those that run"
    assert listed(jobStatus="PENDING") == [array]
    assert listed(jobStatus="RUNNABLE") == [], "children are listed with their array alone"
    assert listed(filters=[{"name": "JOB_NAME", "values": ["two"]}]) == [second]
    assert listed(filters=[{"name": "JOB_NAME", "values": ["O*"]}], jobStatus="FAILED") == [first]
    assert set(listed(filters=[{"name": "JOB_DEFINITION", "values": ["work"]}])) == {first, second, array}
    assert listed(filters=[{"name": "JOB_DEFINITION", "values": ["work:2"]}]) == []
    before = str(job(first)["createdAt"])
    assert listed(filters=[{"name": "BEFORE_CREATED_AT", "values": [before]}]) == []
    pages = batch.get_paginator("list_jobs").paginate(jobQueue="queue", PaginationConfig={"PageSize": 1})
    assert [each["jobId"] for page in pages for each in page["jobSummaryList"]] == [first, second]
    assert said(batch.list_jobs) == NO
    assert said(batch.list_jobs, jobQueue="queue", arrayJobId=array) == NO
    assert said(batch.list_jobs, jobQueue="nobody") == NO
    assert said(batch.list_jobs, jobQueue="queue", filters=[{"name": "JOB_NAME", "values": ["a"]}] * 2) == NO
    assert [
        each["jobId"] for each in batch.list_jobs(arrayJobId=array, jobStatus="RUNNABLE")["jobSummaryList"]
    ] == [
        f"{array}:0",
        f"{array}:1",
    ]


def test_at_most_100_jobs_are_described(aws: Net) -> None:
    describe = client("batch").describe_jobs
    assert describe(jobs=["nobody"])["jobs"] == []
    assert "100" in refused(describe, jobs=["nobody"] * 101)[1]


# --- instances ----------------------------------------------------------------------------------------


def test_instances_scale_from_zero_and_back(slow: Net, runner: Runner) -> None:
    assert machines() == []
    assert shown()["computeResources"]["desiredvCpus"] == 0
    job_id = submit()
    wait(1)
    assert state(job_id)[0] == "RUNNABLE"
    (machine,) = machines("pending")
    assert shown()["computeResources"]["desiredvCpus"] == 2
    assert machine["InstanceType"] == "c5.large"
    assert machine["SubnetId"] == slow.subnet_id
    assert {"Key": "AWSBatchServiceTag", "Value": "batch"} in machine["Tags"]
    assert "awslabs:ssh" not in {tag["Key"] for tag in machine["Tags"]}
    wait(15)
    state(job_id)
    wait(3)
    assert state(job_id)[0] == "RUNNING"
    runner.end(job_id)
    wait(59)
    assert len(machines("running")) == 1
    wait(1)
    status()
    assert machines("running") == []
    assert len(machines("shutting-down")) == 1
    assert shown()["computeResources"]["desiredvCpus"] == 0
    wait(5)
    assert machines() == []


def test_tags_of_the_environment_reach_instances_only_from_its_resources(aws: Net) -> None:
    create(
        asked(aws, tags={"Name": "machine"}, minvCpus=2)
        | {"computeEnvironmentName": "own", "tags": {"a": "b"}}
    )
    status("own")
    (machine,) = machines()
    assert {tag["Key"]: tag["Value"] for tag in machine["Tags"]} == {
        "AWSBatchServiceTag": "batch",
        "Name": "machine",
    }
    assert shown("own")["tags"] == {"a": "b"}


def test_as_many_run_at_a_time_as_the_environment_has_vcpus(aws: Net, runner: Runner) -> None:
    every = [submit() for _ in range(5)]
    assert [state(each)[0] for each in every].count("RUNNING") == 2
    client("batch").update_compute_environment(computeEnvironment="lab", computeResources={"maxvCpus": 8})
    assert [state(each)[0] for each in every].count("RUNNING") == 4
    small = register("small", vcpus=1)["jobDefinitionArn"]
    runner.end(every[0])
    state(every[4])
    runner.end(every[1])
    pair = [submit(jobDefinition=small) for _ in range(2)]
    assert [state(each)[0] for each in pair] == ["RUNNING", "RUNNING"]
    hosts = {job(each)["container"]["containerInstanceArn"] for each in pair}
    assert len(hosts) == 1, "two of one vCPU share an instance"


def test_a_queue_is_worked_off_in_order(aws: Net) -> None:
    register("large", vcpus=2, memory_mib=3_000)
    first, second = submit(jobDefinition="large"), submit(jobDefinition="large")
    third, small = submit(jobDefinition="large"), submit(jobDefinition=register("s", 1)["jobDefinitionArn"])
    assert [state(each)[0] for each in (first, second, third, small)] == [
        *("RUNNING", "RUNNING", "RUNNABLE", "RUNNABLE")
    ]


def test_best_fit_never_exceeds_its_maximum_and_others_by_one_instance(aws: Net) -> None:
    for name, strategy, expected in (("fit", "BEST_FIT", 2), ("grow", "BEST_FIT_PROGRESSIVE", 4)):
        create(asked(aws, allocationStrategy=strategy, maxvCpus=3) | {"computeEnvironmentName": name})
        status(name)
        create_queue(name, f"queue-{name}")
        queue_status(f"queue-{name}")
        for _ in range(3):
            state(submit(jobQueue=f"queue-{name}"))
        assert shown(name)["computeResources"]["desiredvCpus"] == expected


def test_the_smallest_type_that_fits_is_taken(aws: Net) -> None:
    create(
        asked(aws, instanceTypes=["g4dn.xlarge", "optimal", "c5"], maxvCpus=64)
        | {"computeEnvironmentName": "any"}
    )
    status("any")
    create_queue("any", "any")
    queue_status("any")
    gpu = {
        "resourceRequirements": [
            {"type": "VCPU", "value": "4"},
            {"type": "MEMORY", "value": "12000"},
            {"type": "GPU", "value": "1"},
        ]
    }
    register("gpu", container=gpu)
    register("wide", vcpus=2, memory_mib=5_000)
    for definition in ("gpu", "work", "wide"):
        state(submit(jobQueue="any", jobDefinition=definition))
    assert sorted(machine["InstanceType"] for machine in machines()) == [
        "c5.large",
        "g4dn.xlarge",
        "m6i.large",
    ]


def test_memory_that_never_fits_stays_runnable_until_the_queue_loses_patience(slow: Net) -> None:
    job_id = submit(jobDefinition=register("huge", memory_mib=4_000)["jobDefinitionArn"])
    behind = submit()
    wait(1)
    status_, reason = state(job_id)
    assert status_ == "RUNNABLE"
    assert reason.startswith("MISCONFIGURATION:JOB_RESOURCE_REQUIREMENT - The job resource requirement")
    assert machines() == [], "c5.large has 4,096 MiB, but its agent keeps some"
    wait(598)
    assert state(job_id)[0] == state(behind)[0] == "RUNNABLE"
    wait(2)
    assert state(job_id) == (
        "FAILED",
        "Canceled by JobStateTimeLimit action due to reason: MISCONFIGURATION:JOB_RESOURCE_REQUIREMENT",
    )
    wait(20)
    assert state(behind)[0] == "STARTING", "it was behind that one"


def test_more_vcpus_than_the_environment_may_have(aws: Net) -> None:
    job_id = submit(jobDefinition=register("wide", vcpus=8)["jobDefinitionArn"])
    assert state(job_id)[1].startswith("MISCONFIGURATION:COMPUTE_ENVIRONMENT_MAX_RESOURCE - CE(s)")


def test_without_quota_a_job_waits_for_ever_and_nobody_says_why(slow: Net) -> None:
    quotas.granted[ACCOUNT, "us-east-1", "L-1216C47A"] = 0
    job_id = submit()
    for _ in range(60):
        wait(60)
        assert state(job_id) == ("RUNNABLE", "")
    assert machines("pending", "running", "terminated") == []
    quotas.granted[ACCOUNT, "us-east-1", "L-1216C47A"] = 2
    for _ in range(3):
        wait(30)
        state(job_id)
    assert state(job_id)[0] == "RUNNING"


def test_gpus_count_against_the_quota_of_gpus(aws: Net) -> None:
    weather.current.account = "new"
    create(asked(aws, instanceTypes=["g4dn.xlarge"]) | {"computeEnvironmentName": "gpu"})
    status("gpu")
    create_queue("gpu", "gpu")
    queue_status("gpu")
    assert state(submit(jobQueue="gpu")) == ("RUNNABLE", "")
    assert state(submit())[0] == "RUNNING", "of other types a new account has some"


def test_on_the_free_plan_jobs_wait_for_machines_that_it_does_not_run(aws: Net) -> None:
    weather.current.account = "free-plan"
    create(asked(aws, instanceTypes=["c7i-flex.large"]) | {"computeEnvironmentName": "free"})
    status("free")
    create_queue("free", "free")
    queue_status("free")
    assert state(submit()) == ("RUNNABLE", ""), "the others are c5.large"
    assert state(submit(jobQueue="free"))[0] == "RUNNING"


def test_capacity_in_the_weather_is_named_and_passes(slow: Net) -> None:
    weather.current.change({"faults": ["ec2:RunInstances=InsufficientInstanceCapacity"]})
    job_id = submit()
    wait(1)
    assert state(job_id)[0] == "RUNNABLE"
    assert state(job_id)[1] == (
        "CAPACITY:INSUFFICIENT_INSTANCE_CAPACITY - Service cannot fulfill the capacity requested for "
        "instance type [c5.large]"
    )
    weather.current.change({"faults": []})
    for _ in range(3):
        wait(30)
        state(job_id)
    assert state(job_id) == ("RUNNING", "")


@pytest.mark.parametrize("missing", ["address", "route", "permission"])
def test_an_instance_that_cannot_join_the_cluster_leaves_its_job_runnable(missing: str) -> None:
    with cloud(every=True):
        where, ec2 = network(), client("ec2")
        profile()
        create(asked(where))
        create_queue()
        register()
        if missing == "address":
            ec2.modify_subnet_attribute(SubnetId=where.subnet_id, MapPublicIpOnLaunch={"Value": False})
        elif missing == "route":
            ec2.delete_route(RouteTableId=where.table_id, DestinationCidrBlock="0.0.0.0/0")
        else:
            allow("machines", "logs:*")
        status()
        job_id = submit()
        for _ in range(5):
            wait(60)
            assert state(job_id) == ("RUNNABLE", "")
        assert len(machines("running")) == 1, "it stands there and costs"
        behind = submit()  # Batch looks at everything again
        assert state(behind)[0] == state(job_id)[0] == "RUNNABLE"
        if missing == "route":
            ec2.create_route(
                RouteTableId=where.table_id, DestinationCidrBlock="0.0.0.0/0", GatewayId=where.gateway_id
            )
            wait(60)
            assert state(job_id)[0] == "RUNNING"


def test_a_zone_that_does_not_offer_the_type(aws: Net) -> None:
    other = client("ec2").create_subnet(
        VpcId=aws.vpc_id, CidrBlock="10.10.1.0/24", AvailabilityZone="us-east-1e"
    )["Subnet"]["SubnetId"]
    for name, subnets in (("none", [other]), ("one", [other, aws.subnet_id])):
        request = asked(aws, subnets=subnets, instanceTypes=["g4dn.xlarge"])
        create(request | {"computeEnvironmentName": name})
        status(name)
        create_queue(name, name)
        queue_status(name)
    assert state(submit(jobQueue="none"))[1].startswith(
        "MISCONFIGURATION:EC2_INSTANCE_CONFIGURATION_UNSUPPORTED"
    )
    assert state(submit(jobQueue="one"))[0] == "RUNNING"


def test_a_job_ends_with_its_instance_and_is_tried_again_if_the_strategy_says_so(
    aws: Net, runner: Runner
) -> None:
    strategy = {"attempts": 2, "evaluateOnExit": RECLAIM}
    kept, lost = submit(retryStrategy=strategy), submit()
    assert state(kept)[0] == state(lost)[0] == "RUNNING"
    ids = [machine["InstanceId"] for machine in machines()]
    client("ec2").terminate_instances(InstanceIds=ids)
    state(kept)
    assert sorted(runner.stopped) == sorted([(f"{kept}-1", 0.0), (f"{lost}-1", 0.0)])
    for job_id in (kept, lost):
        runner.end(job_id, 137)
    status_, reason = state(lost)
    assert status_ == "FAILED"
    assert reason in {f"Host EC2 (instance {instance_id}) terminated." for instance_id in ids}
    assert "exitCode" not in job(lost)["attempts"][0]["container"]
    assert state(kept)[0] == "RUNNING", "on another instance"
    assert job(kept)["attempts"][0]["statusReason"].startswith("Host EC2 (instance ")
    runner.end(kept, 0, attempt=2)
    assert state(kept)[0] == "SUCCEEDED"


def test_a_job_that_is_terminated_while_its_instance_goes_is_not_tried_again(
    aws: Net, runner: Runner
) -> None:
    job_id = submit(retryStrategy={"attempts": 5})
    state(job_id)
    client("ec2").terminate_instances(InstanceIds=[machines()[0]["InstanceId"]])
    state(job_id)
    client("batch").terminate_job(jobId=job_id, reason="enough")
    runner.end(job_id, 137)
    assert state(job_id)[0] == "FAILED"


def test_instances_hold_what_they_use_until_the_environment_is_gone(slow: Net, runner: Runner) -> None:
    batch, ec2 = client("batch"), client("ec2")
    job_id = submit()
    runs(job_id)
    assert said(ec2.delete_security_group, GroupId=slow.group_id) == "DependencyViolation"
    assert said(ec2.delete_subnet, SubnetId=slow.subnet_id) == "DependencyViolation"
    runner.end(job_id)
    batch.update_job_queue(jobQueue="queue", state="DISABLED")
    wait(5)
    batch.delete_job_queue(jobQueue="queue")
    wait(10)
    batch.update_compute_environment(computeEnvironment="lab", state="DISABLED")
    wait(10)
    batch.delete_compute_environment(computeEnvironment="lab")
    wait(20)
    assert (status(), len(machines("shutting-down"))) == ("DELETING", 1)
    assert said(ec2.delete_security_group, GroupId=slow.group_id) == "DependencyViolation"
    for _ in range(2):
        wait(6)
        status()
    assert status() == "absent"
    assert machines() == []
    assert said(ec2.delete_security_group, GroupId=slow.group_id) == "ok"


def test_a_disabled_environment_starts_nothing_and_keeps_its_least(aws: Net) -> None:
    update = client("batch").update_compute_environment
    update(computeEnvironment="lab", state="DISABLED")
    assert state(submit())[0] == "RUNNABLE"
    assert state(submit())[0] == "RUNNABLE"
    first = client("batch").list_jobs(jobQueue="queue", jobStatus="RUNNABLE")["jobSummaryList"][0]
    assert first["statusReason"] == fleet.ALL_DISABLED
    assert machines() == []
    update(computeEnvironment="lab", computeResources={"minvCpus": 2})
    status()
    assert len(machines()) == 1
    assert job(first["jobId"])["status"] == "RUNNABLE"


def test_an_invalid_environment_is_the_reason_that_a_job_waits(aws: Net) -> None:
    client("iam").remove_role_from_instance_profile(InstanceProfileName="machines", RoleName="machines")
    assert state(submit()) == (
        "RUNNABLE",
        "ACTION_REQUIRED - CE(s) associated with the job queue are invalid.",
    )


def test_the_second_environment_of_a_queue_takes_what_the_first_cannot(aws: Net) -> None:
    create(asked(aws) | {"computeEnvironmentName": "second"})
    status("second")
    order = [{"order": n, "computeEnvironment": name} for n, name in ((1, "lab"), (2, "second"))]
    client("batch").update_job_queue(jobQueue="queue", computeEnvironmentOrder=order)
    for _ in range(3):
        state(submit())
    assert [shown(name)["computeResources"]["desiredvCpus"] for name in ("lab", "second")] == [4, 2]


def test_other_types_replace_the_instances(aws: Net) -> None:
    create(asked(aws, minvCpus=2) | {"computeEnvironmentName": "kept"})
    status("kept")
    assert [machine["InstanceType"] for machine in machines()] == ["c5.large"]
    changes = {"instanceTypes": ["m5.large"]}
    client("batch").update_compute_environment(computeEnvironment="kept", computeResources=changes)
    for _ in range(3):
        status("kept")
    assert "m5.large" in [machine["InstanceType"] for machine in machines()]
    assert "c5.large" not in [machine["InstanceType"] for machine in machines()]


# --- logs and roles -----------------------------------------------------------------------------------


def log_of(job_id: str, group: str = "/aws/batch/job") -> list[str]:
    stream = job(job_id)["container"]["logStreamName"]
    found = client("logs").get_log_events(logGroupName=group, logStreamName=stream, startFromHead=True)
    return [event["message"] for event in found["events"]]


def test_what_a_job_prints_is_in_batchs_own_group(aws: Net, runner: Runner) -> None:
    job_id = submit()
    state(job_id)
    runner.listeners[f"{job_id}-1"].say(time.time(), "hello")
    wait(1)
    assert log_of(job_id) == ["hello"]
    runner.listeners[f"{job_id}-1"].say(time.time(), "bye")
    runner.end(job_id)
    assert log_of(job_id) == ["hello", "bye"]
    groups = client("logs").describe_log_groups()["logGroups"]
    assert [group["logGroupName"] for group in groups] == ["/aws/batch/job"]


def logging_to(group: str, **options: str) -> dict[str, Any]:
    return {"logConfiguration": {"logDriver": "awslogs", "options": {"awslogs-group": group, **options}}}


def test_a_definition_has_a_group_of_its_own_that_must_be_there(aws: Net, runner: Runner) -> None:
    register("own", container=logging_to("/labs/own", **{"awslogs-stream-prefix": "sweep"}))
    job_id = submit(jobDefinition="own")
    status_, reason = state(job_id)
    assert status_ == "FAILED"
    assert reason.startswith("CannotStartContainerError: ")
    assert "log group does not exist" in reason
    client("logs").create_log_group(logGroupName="/labs/own")
    job_id = submit(jobDefinition="own")
    state(job_id)
    runner.listeners[f"{job_id}-1"].say(time.time(), "hello")
    runner.end(job_id)
    assert log_of(job_id, "/labs/own") == ["hello"]
    assert job(job_id)["container"]["logStreamName"].startswith("sweep/default/")
    register("made", container=logging_to("/labs/made", **{"awslogs-create-group": "true"}))
    assert state(submit(jobDefinition="made"))[0] == "RUNNING"


@pytest.mark.parametrize(
    ("lacking", "word"),
    [
        (["logs:*"], "CannotPullContainerError: AccessDeniedException"),
        (["ecr:*"], "not authorized to perform: logs:CreateLogStream"),
        (["ecr:*", "logs:CreateLogStream"], "not authorized to perform: logs:PutLogEvents"),
    ],
    ids=["ecr", "logs", "events"],
)
def test_instances_pull_and_log_with_their_own_role(aws: Net, lacking: list[str], word: str) -> None:
    allow("machines", "ecs:*", *lacking)
    register("ours", container={"image": "127.0.0.1:5000/lab:1"})
    status_, reason = state(submit(jobDefinition="ours"))
    assert status_ == "FAILED"
    assert word in reason


def test_a_job_has_its_own_role_once_ecs_can_assume_it(slow: Net, runner: Runner) -> None:
    arn = client("iam").create_role(RoleName="worker", AssumeRolePolicyDocument=trust("ecs-tasks"))["Role"][
        "Arn"
    ]
    register("ours", container={"jobRoleArn": arn})
    job_id, plain = submit(jobDefinition="ours"), submit()
    for _ in range(5):
        wait(6)
        state(job_id)
    assert runner.task(job_id).role_arn == arn
    assert runner.task(plain).role_arn.endswith(":role/machines")
    client("iam").update_assume_role_policy(RoleName="worker", PolicyDocument=trust("lambda"))
    wait(10)
    runner.end(job_id)
    refused_ = submit(jobDefinition="ours")
    for _ in range(5):
        wait(6)
        state(refused_)
    assert state(refused_)[0] == "FAILED"
    assert state(refused_)[1].startswith(f"ECS was unable to assume the role '{arn}'")


def test_ten_thousand_children_are_one_call_and_do_not_slow_the_others_down(aws: Net, runner: Runner) -> None:
    array = submit(arrayProperties={"size": 10_000})
    assert state(array)[0] == "PENDING"
    looked = []

    def look(original: Callable[..., Any], *args: Any) -> Any:
        looked.append(args)
        return original(*args)

    with pytest.MonkeyPatch.context() as patched:
        real = fleet._room_for
        patched.setattr(fleet, "_room_for", lambda *args: look(real, *args))
        runner.end(f"{array}:0")
        state(array)
    assert len(looked) < 20, "the scheduler stops at the first job without room"
    assert job(array)["arrayProperties"]["statusSummary"]["SUCCEEDED"] == 1


def test_nothing_happens_to_jobs_of_an_account_that_was_reset(aws: Net, runner: Runner) -> None:
    job_id = submit(retryStrategy={"attempts": 5})
    state(job_id)
    running_jobs.reset(ACCOUNT)
    runner.end(job_id, 1)
    assert list(runner.tasks) == [f"{job_id}-1"]
    assert client("batch").describe_jobs(jobs=[job_id])["jobs"] == []


def test_what_was_to_happen_in_an_account_that_was_reset_does_not(slow: Net, runner: Runner) -> None:
    job_id = submit()
    for _ in range(60):
        wait(1)
        if state(job_id)[0] == "STARTING":
            break
    assert runner.tasks == {}, "its program starts a moment later"
    running_jobs.reset(ACCOUNT)
    for _ in range(2):
        wait(60)
        client("batch").describe_job_queues()
    assert runner.tasks == {}
