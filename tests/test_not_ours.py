"""What still stands but does not carry our token any more is not gone: of every kind, `up` and `down` say so.

Tags can be taken away by hand, be unreadable for want of a permission, or be lost by a deletion that failed
halfway; and somebody else may have made another thing under the same name.
"""

from __future__ import annotations

import io
import json
import re
import time
import zipfile
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from batch_kit import environment_request, roles_and_network
from botocore import xform_name
from botocore.exceptions import ClientError
from moto import mock_aws
from moto.apigateway.models import apigateway_backends
from typed import typed
from wire import ALWAYS, Call, Wire, changes, refusal

from awslabs import ledger_cli, policies, tunnel
from awslabs.cloud import Cloud
from awslabs.errors import NotOurs, StillStanding
from awslabs.kinds import KINDS, Found
from awslabs.ledger import Ledger
from awslabs.sandbox import rules, running_parts
from awslabs.sandbox.core import weather

pytestmark = pytest.mark.live

SENTENCE = "still stands, but nothing shows any more that it is ours."
# Nobody can take the token from these: it stands in the name of a bucket, job or schedule, a task's startedBy
INDELIBLE = {"s3:CreateBucket", "batch:SubmitJob", "ecs:RunTask", "scheduler:CreateSchedule"}


@pytest.fixture
def ledger(monkeypatch: pytest.MonkeyPatch) -> Iterator[Ledger]:
    """moto under the strict rules; what AWS takes its time for comes at once."""
    assert running_parts.PARTS
    monkeypatch.setattr(weather, "current", weather.Weather(slow_states=0))
    monkeypatch.setattr(Ledger, "settle_s", 0.2)
    monkeypatch.setattr(Ledger, "patience", 0.3)
    with rules.installed(running=True), mock_aws(config={"batch": {"use_docker": False}}):
        yield Ledger(Cloud(), "ec2")


def again(ledger: Ledger) -> Ledger:
    """The same ledger as another process would open it."""
    return Ledger(ledger.cloud, ledger.lab)


# -- One of each kind; its row is called "it" ----------------------------------------------------------------


def vpc(ledger: Ledger, row: str = "it") -> str:
    return ledger.create(row, ledger.client("ec2").create_vpc, CidrBlock="10.10.0.0/24")


def subnet(ledger: Ledger) -> str:
    method = ledger.client("ec2").create_subnet
    return ledger.create("it", method, VpcId=vpc(ledger, "vpc"), CidrBlock="10.10.0.0/24")


def gateway(ledger: Ledger) -> str:
    return ledger.create("it", ledger.client("ec2").create_internet_gateway)


def firewall(ledger: Ledger) -> str:
    names = {"GroupName": f"{ledger.prefix}-g", "Description": "none"}
    return ledger.create("it", ledger.client("ec2").create_security_group, VpcId=vpc(ledger, "vpc"), **names)


def key_pair(ledger: Ledger) -> str:
    public = tunnel.public_key(ledger.directory)
    method = ledger.client("ec2").import_key_pair
    return ledger.create("it", method, KeyName=f"{ledger.prefix}-key", PublicKeyMaterial=public)


def server(ledger: Ledger) -> str:
    ec2 = ledger.client("ec2")
    network = vpc(ledger, "vpc")
    zone = f"{ledger.cloud.region}a"  # not each zone has this type
    request = {"VpcId": network, "CidrBlock": "10.10.0.0/24", "AvailabilityZone": zone}
    subnet_id = ledger.create("subnet", ec2.create_subnet, **request)
    image = ec2.describe_images(Owners=["amazon"])["Images"][0]["ImageId"]
    size = {"InstanceType": "t3.micro", "MinCount": 1, "MaxCount": 1}
    return ledger.create("it", ec2.run_instances, ImageId=image, SubnetId=subnet_id, **size)


def role(ledger: Ledger, row: str = "it", service: str = "ec2") -> str:
    trust = policies.trust(f"{service}.amazonaws.com")
    method = ledger.client("iam").create_role
    return ledger.create(row, method, RoleName=f"{ledger.prefix}-{row}", AssumeRolePolicyDocument=trust)


def profile(ledger: Ledger) -> str:
    method = ledger.client("iam").create_instance_profile
    return ledger.create("it", method, InstanceProfileName=f"{ledger.prefix}-profile")


def function(ledger: Ledger) -> str:
    package = io.BytesIO()
    with zipfile.ZipFile(package, "w") as file:
        file.writestr(zipfile.ZipInfo("it.py"), "def it(event, context): return 1")
    settings = {"Runtime": "python3.13", "Handler": "it.it", "Role": role(ledger, "role", "lambda")}
    method, code = ledger.client("lambda").create_function, {"ZipFile": package.getvalue()}
    return ledger.create("it", method, FunctionName=f"{ledger.prefix}-it", Code=code, **settings)


def parameter(ledger: Ledger) -> str:
    method = ledger.client("ssm").put_parameter
    return ledger.create("it", method, Name="TABLE_NAME", Value="people", Type="String")


def table(ledger: Ledger) -> str:
    return ledger.create(
        "it",
        ledger.client("dynamodb").create_table,
        TableName=f"{ledger.prefix}-it",
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        BillingMode="PAY_PER_REQUEST",
    )


def bucket(ledger: Ledger) -> str:
    return ledger.create("it", ledger.client("s3").create_bucket, Bucket=f"{ledger.prefix}-it")


def queue(ledger: Ledger) -> str:
    return ledger.create("it", ledger.client("sqs").create_queue, QueueName=f"{ledger.prefix}-it")


def log_group(ledger: Ledger) -> str:
    method = ledger.client("logs").create_log_group
    return ledger.create("it", method, logGroupName=f"/awslabs/{ledger.prefix}")


def api(ledger: Ledger) -> str:
    return ledger.create("it", ledger.client("apigateway").create_rest_api, name=f"{ledger.prefix}-api")


def environment(ledger: Ledger, row: str = "it") -> str:
    request = environment_request(ledger, *roles_and_network(ledger))
    return ledger.create(row, ledger.client("batch").create_compute_environment, **request)


def job_queue(ledger: Ledger) -> str:
    order = [{"order": 1, "computeEnvironment": environment(ledger, "environment")}]
    method, name = ledger.client("batch").create_job_queue, f"{ledger.prefix}-queue"
    return ledger.create("it", method, jobQueueName=name, priority=1, computeEnvironmentOrder=order)


def job_definition(ledger: Ledger) -> str:
    sizes = [{"type": "VCPU", "value": "1"}, {"type": "MEMORY", "value": "512"}]
    return ledger.create(
        "it",
        ledger.client("batch").register_job_definition,
        jobDefinitionName=f"{ledger.prefix}-work",
        type="container",
        containerProperties={"image": "nowhere", "resourceRequirements": sizes},
    )


def repository(ledger: Ledger) -> str:
    method = ledger.client("ecr").create_repository
    return ledger.create("it", method, repositoryName=f"{ledger.prefix}-it")


def cluster(ledger: Ledger) -> str:
    return ledger.create("it", ledger.client("ecs").create_cluster, clusterName=f"{ledger.prefix}-it")


def task_definition(ledger: Ledger) -> str:
    return ledger.create(
        "it",
        ledger.client("ecs").register_task_definition,
        family=f"{ledger.prefix}-it",
        cpu="256",
        memory="512",
        networkMode="awsvpc",
        requiresCompatibilities=["FARGATE"],
        containerDefinitions=[{"name": "it", "image": "none", "memory": 512}],
    )


def schedule(ledger: Ledger) -> str:
    target = {"Arn": ledger.arn("lambda", "function:none"), "RoleArn": role(ledger, "role", "scheduler")}
    return ledger.create(
        "it",
        ledger.client("scheduler").create_schedule,
        Name=ledger.prefix,
        ScheduleExpression="rate(2 minutes)",
        FlexibleTimeWindow={"Mode": "OFF"},
        Target=target,
    )


MAKERS: dict[str, Callable[[Ledger], str]] = {
    "ec2:CreateVpc": vpc,
    "ec2:CreateSubnet": subnet,
    "ec2:CreateInternetGateway": gateway,
    "ec2:CreateSecurityGroup": firewall,
    "ec2:ImportKeyPair": key_pair,
    "ec2:RunInstances": server,
    "iam:CreateRole": role,
    "iam:CreateInstanceProfile": profile,
    "lambda:CreateFunction": function,
    "ssm:PutParameter": parameter,
    "dynamodb:CreateTable": table,
    "s3:CreateBucket": bucket,
    "sqs:CreateQueue": queue,
    "logs:CreateLogGroup": log_group,
    "apigateway:CreateRestApi": api,
    "batch:CreateComputeEnvironment": environment,
    "batch:CreateJobQueue": job_queue,
    "batch:RegisterJobDefinition": job_definition,
    "ecr:CreateRepository": repository,
    "ecs:CreateCluster": cluster,
    "ecs:RegisterTaskDefinition": task_definition,
    "scheduler:CreateSchedule": schedule,
}
MARKED_BY_TAG = sorted(MAKERS.keys() - INDELIBLE)


def untag(ledger: Ledger, row: str = "it") -> None:
    """Take all of our tags away, as somebody in the console would."""
    one = ledger.open_row(row)
    kind, keys = KINDS[one.call], list(ledger._mark(one).tags())
    client, ids = ledger.client(kind.service), one.ids
    if kind.service == "ec2":
        resource = one.id
        if one.call == "ec2:ImportKeyPair":
            resource = client.describe_key_pairs(KeyNames=[one.id])["KeyPairs"][0]["KeyPairId"]
        client.delete_tags(Resources=[resource], Tags=[{"Key": key} for key in keys])
    elif one.call == "iam:CreateRole":
        client.untag_role(RoleName=ids["RoleName"], TagKeys=keys)
    elif one.call == "iam:CreateInstanceProfile":
        client.untag_instance_profile(InstanceProfileName=ids["InstanceProfileName"], TagKeys=keys)
    elif kind.service == "lambda":
        client.untag_resource(Resource=ledger.arn("lambda", f"function:{one.id}"), TagKeys=keys)
    elif kind.service == "dynamodb":
        client.untag_resource(ResourceArn=ledger.arn("dynamodb", f"table/{one.id}"), TagKeys=keys)
    elif kind.service == "ssm":
        client.remove_tags_from_resource(ResourceType="Parameter", ResourceId=one.id, TagKeys=keys)
    elif kind.service == "s3":
        client.delete_bucket_tagging(Bucket=one.id)
    elif kind.service == "sqs":
        client.untag_queue(QueueUrl=one.id, TagKeys=keys)
    elif kind.service == "logs":
        client.untag_resource(resourceArn=ledger.arn("logs", f"log-group:{one.id}"), tagKeys=keys)
    elif kind.service == "apigateway":
        account = ledger.cloud.identity["account"]  # moto's UntagResource knows stages alone
        apigateway_backends[account][ledger.cloud.region].apis[one.id].tags = {}
    elif kind.service == "batch":
        parts = {"CreateComputeEnvironment": "compute-environment", "CreateJobQueue": "job-queue"}
        part = parts.get(one.call.partition(":")[2])
        client.untag_resource(
            resourceArn=ledger.arn("batch", f"{part}/{one.id}") if part else one.id, tagKeys=keys
        )
    elif kind.service == "ecr":
        client.untag_resource(resourceArn=ledger.arn("ecr", f"repository/{one.id}"), tagKeys=keys)
    else:
        arn = one.id if one.id.startswith("arn:") else ledger.arn("ecs", f"cluster/{one.id}")
        client.untag_resource(resourceArn=arn, tagKeys=keys)


def stands(ledger: Ledger, row: str = "it") -> list[Found]:
    """What AWS shows under a row's identifier, closed rows too."""
    one = next(each for each in reversed(ledger.journal.rows) if each.name == row)
    return KINDS[one.call].look(ledger.client(KINDS[one.call].service), one)


# -- Every kind ----------------------------------------------------------------------------------------------


def test_one_of_every_kind_is_made_here() -> None:
    joins = {call for call, kind in KINDS.items() if kind.join}
    work = {call for call, kind in KINDS.items() if kind.work}
    assert MAKERS.keys() | joins | work == KINDS.keys()


@pytest.mark.parametrize("call", MARKED_BY_TAG)
def test_what_lost_its_tags_stops_up_outlives_down_and_goes_by_force(call: str, ledger: Ledger) -> None:
    MAKERS[call](ledger)
    ledger.create("other", ledger.client("ec2").create_internet_gateway)
    untag(ledger)
    (foreign,) = stands(ledger)

    with pytest.raises(NotOurs, match=re.escape(SENTENCE)) as stopped:
        MAKERS[call](again(ledger))
    assert stopped.value.exit_code == 1
    assert stopped.value.fix.startswith("python -m awslabs.ledger down --force-row ec2 it")
    assert stands(again(ledger)) == [foreign]

    with pytest.raises(StillStanding) as left:
        again(ledger).down()
    assert left.value.exit_code == 3
    assert SENTENCE in left.value.why
    assert foreign.id in left.value.why
    assert [one.id for one in stands(again(ledger))] == [foreign.id]
    assert stands(again(ledger), "other") == []  # it went on with the rest

    again(ledger).force("it")
    assert stands(again(ledger)) == []
    again(ledger).down()
    assert again(ledger).journal.open_rows() == []


def test_a_bucket_without_tags_is_ours_by_its_name(ledger: Ledger) -> None:
    name = bucket(ledger)
    untag(ledger)
    assert bucket(again(ledger)) == name
    again(ledger).down()
    assert stands(again(ledger)) == []


# Whose names come back at once: of a queue AWS takes a minute.
NAMED = sorted(call for call in MARKED_BY_TAG if KINDS[call].named and call != "sqs:CreateQueue")


@pytest.mark.parametrize("call", NAMED)
def test_another_thing_under_our_name_is_left_alone_and_not_awaited(
    call: str, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ours was deleted by hand, and somebody made another one: without our tags, under the same name."""
    kind = KINDS[call]
    with monkeypatch.context() as patched:
        made = changes(patched)
        MAKERS[call](ledger)
    client, (ours,) = ledger.client(kind.service), stands(ledger)
    for _ in range(50):
        if not stands(ledger):
            break
        try:
            kind.delete(client, ours)
        except ClientError:
            time.sleep(0.05)  # Batch refuses while it changes state
    request = [request for name, request in made if name == call][-1]
    method = getattr(client, xform_name(call.partition(":")[2]))
    method(**{key: request[key] for key in request if key.lower() != "tags"})

    if call == "logs:CreateLogGroup":
        untag(ledger)  # moto gives a new group the tags of an old one of that name

    began = time.monotonic()
    with pytest.raises(StillStanding, match="--force-row ec2 it"):
        again(ledger).down()
    assert time.monotonic() - began < 60
    assert len(stands(again(ledger))) == 1


# -- When tags are late, unreadable, or lost on the way ------------------------------------------------------


def test_tags_that_are_not_readable_are_said_to_be_so(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As GetFunction answers who may not call lambda:ListTags."""
    function(ledger)

    def without_tags(call: Call) -> Any:
        answer = call.send()
        if answer.pop("Tags", None):
            answer["TagsError"] = {
                "ErrorCode": "AccessDeniedException",
                "Message": "no lambda:ListTags for you",
            }
        return answer

    with monkeypatch.context() as patched:
        Wire(patched).fail("GetFunction", without_tags, ALWAYS)
        with pytest.raises(StillStanding, match="could not be read: no lambda:ListTags for you"):
            again(ledger).down()
    again(ledger).down()
    assert stands(again(ledger)) == []


def test_tags_that_come_late_are_awaited(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    function(ledger)
    monkeypatch.setattr(Ledger, "settle_s", 5.0)
    until = time.monotonic() + 1.0

    def late(call: Call) -> Any:
        answer = call.send()
        if time.monotonic() < until:
            answer.pop("Tags", None)
        return answer

    with monkeypatch.context() as patched:
        Wire(patched).fail("GetFunction", late, ALWAYS)
        again(ledger).down()
    assert stands(again(ledger)) == []


def test_a_failed_deletion_that_took_the_tags_along_is_not_gone(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So another emulator did it: 500, and the function stood without its tags."""
    name = function(ledger)

    def half_deleted(call: Call) -> Any:
        untag(ledger)
        raise refusal(call.operation, "ServiceException", 500)

    with monkeypatch.context() as patched:
        Wire(patched).fail("DeleteFunction", half_deleted, ALWAYS)
        with pytest.raises(StillStanding, match=re.escape(SENTENCE)):
            again(ledger).down()
    assert [one.id for one in stands(again(ledger))] == [name]


def test_an_accepted_deletion_after_which_it_stands_without_tags_is_not_awaited(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    function(ledger)
    began = time.monotonic()
    with monkeypatch.context() as patched:
        Wire(patched).fail("DeleteFunction", lambda call: untag(ledger), ALWAYS)
        with pytest.raises(StillStanding, match=re.escape(SENTENCE)):
            again(ledger).down()
    assert time.monotonic() - began < 60


def test_a_crash_before_the_answer_and_no_tags_to_be_seen_is_not_never_made(ledger: Ledger) -> None:
    """Its name holds the ledger's own six characters: perhaps it is ours, and nothing shows it."""
    name = function(ledger)
    row = ledger.open_row("it")
    row.state, row.made = "creating", ""
    ledger.journal.save()
    untag(ledger)
    with pytest.raises(NotOurs):
        function(again(ledger))
    with pytest.raises(StillStanding, match=re.escape(SENTENCE)):
        again(ledger).down()
    assert [one.id for one in stands(again(ledger))] == [name]


# -- The command line ----------------------------------------------------------------------------------------


def run(*line: str, said: str | None = None) -> Any:
    return typed(ledger_cli.command_line(), line, said)


def test_force_row_asks_shows_the_tags_and_needs_yes_without_a_terminal(ledger: Ledger) -> None:
    vpc_id = vpc(ledger)
    untag(ledger)
    ledger.client("ec2").create_tags(Resources=[vpc_id], Tags=[{"Key": "Name", "Value": "of Hanako"}])

    unasked = run("down", "--force-row", "ec2", "it")
    assert unasked.exit_code == 1
    assert f"{vpc_id}; its tags: Name=of Hanako" in unasked.stderr
    fix = unasked.stderr.partition("fix:   ")[2].strip()
    assert fix == "python -m awslabs.ledger down --force-row ec2 it --yes"

    assert run("down", "--force-row", "ec2", "it", "--dry-run").exit_code == 0
    assert run("down", "--force-row", "ec2", "it", said="n\n").exit_code == 1
    assert [one.id for one in stands(again(ledger))] == [vpc_id]

    forced = run(*fix.split()[3:], "--json")
    assert forced.exit_code == 0
    assert json.loads(forced.stdout)["rows"] == [{"lab": "ec2", "name": "default", "row": "it", "id": vpc_id}]
    assert stands(again(ledger)) == []


def test_the_way_out_names_the_copy_of_the_lab(ledger: Ledger) -> None:
    second = Ledger(ledger.cloud, "ec2", "second")
    vpc(second)
    untag(second)
    with pytest.raises(StillStanding) as left:
        second.down()
    command = left.value.fix.partition("    #")[0]
    assert command == "python -m awslabs.ledger down --force-row ec2 it --name second"
    assert run(*command.split()[3:], "--yes").exit_code == 0
    assert stands(Ledger(ledger.cloud, "ec2", "second")) == []


def test_force_row_of_a_row_that_is_not_there_names_those_that_are(ledger: Ledger) -> None:
    vpc(ledger)
    result = run("down", "--force-row", "ec2", "server", "--yes")
    assert result.exit_code == 1
    assert "Open are: it." in result.stderr


def test_force_row_beside_labs_is_wrong_usage(ledger: Ledger) -> None:
    assert run("down", "ec2", "--force-row", "ec2", "it").exit_code == 2


def test_verify_tells_what_stands_without_its_mark_from_what_is_absent(ledger: Ledger) -> None:
    vpc(ledger)
    gone = ledger.create("gone", ledger.client("ec2").create_internet_gateway)
    ledger.client("ec2").delete_internet_gateway(InternetGatewayId=gone)
    untag(ledger)
    result = run("verify", "--json")
    states = {row["row"]: row["on_aws"] for row in json.loads(result.stdout)["rows"]}
    assert states == {"it": "stands, not ours any more", "gone": "absent"}
    assert "1 absent on AWS" in result.stderr
    assert "Stands, but not ours any more: 1." in result.stderr
