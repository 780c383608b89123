"""What AWS Batch makes, as the ledger marks, finds and deletes it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import wire
from batch_kit import environment_request, names, roles_and_network
from inprocess import no_images_for_ecs
from moto import mock_aws
from moto.ec2.models import amis
from practice import everything_ours
from processes import eventually

from awslabs import recovery
from awslabs.cloud import Cloud
from awslabs.kinds import KINDS, Overview
from awslabs.kinds.batch import JOB_QUEUE
from awslabs.ledger import Ledger, ensure
from awslabs.sandbox import rules, running_parts
from awslabs.sandbox.core import weather


@pytest.fixture
def ledger(monkeypatch: pytest.MonkeyPatch) -> Iterator[Ledger]:
    """moto under the strict rules; what AWS takes its time for comes at once."""
    assert running_parts.PARTS
    monkeypatch.setattr(weather, "current", weather.Weather(slow_states=0))
    monkeypatch.setattr(Ledger, "settle_s", 0.2)
    monkeypatch.setattr(amis, "load_resource", no_images_for_ecs)
    with rules.installed(), mock_aws(config={"batch": {"use_docker": False}}):
        yield Ledger(Cloud(), "batch_sweep")


@pytest.fixture
def changes(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, dict]]:
    """Every call that has changed something, in order."""
    made: list[tuple[str, dict]] = []

    def noted(call: wire.Call) -> Any:
        answer = call.send()
        if not call.reads:
            made.append((call.operation, call.request))
        return answer

    wire.around(monkeypatch, noted)
    return made


def build(ledger: Ledger) -> tuple[str, str]:
    """An environment, a queue on it and a job definition; returns queue and definition."""
    batch = ledger.client("batch")
    subnet_id, group_id, profile_arn = roles_and_network(ledger)
    environment = ledger.create(
        "environment",
        batch.create_compute_environment,
        **environment_request(ledger, subnet_id, group_id, profile_arn),
    )
    queue = ledger.create(
        "queue",
        batch.create_job_queue,
        jobQueueName=f"{ledger.prefix}-queue",
        priority=1,
        computeEnvironmentOrder=[{"order": 1, "computeEnvironment": environment}],
    )
    return queue, define(ledger)


def define(ledger: Ledger, name: str = "definition") -> str:
    return ledger.create(
        name,
        ledger.client("batch").register_job_definition,
        jobDefinitionName=f"{ledger.prefix}-work",
        type="container",
        containerProperties={
            "image": "nowhere",
            "resourceRequirements": [{"type": "VCPU", "value": "1"}, {"type": "MEMORY", "value": "512"}],
        },
    )


def submit(ledger: Ledger, queue: str, definition: str, **more: Any) -> str:
    return ledger.start(
        "job",
        ledger.client("batch").submit_job,
        jobName=f"{ledger.prefix}-one",
        jobQueue=queue,
        jobDefinition=definition,
        **more,
    )


def test_each_thing_is_found_by_its_token_though_its_answer_was_lost(ledger: Ledger) -> None:
    queue, definition = build(ledger)
    job_id = submit(ledger, queue, definition)
    found = {}
    for row in ledger.journal.open_rows():
        if row.call.startswith("batch:"):
            kind = KINDS[row.call]
            row.ids = kind.ids(kind.mark({**row.telling, **named(row.ids)}, ledger._mark(row)), {})
            found[row.name] = [one.id for one in kind.look(ledger.client("batch"), row)]
    assert found == {
        "environment": [f"{ledger.prefix}-machines"],
        "queue": [queue],
        "definition": [definition],
        "job": [job_id],
    }


def named(ids: dict[str, str]) -> dict[str, Any]:
    """A request as far as a kind that is `named` reads it."""
    return {name: value for name, value in ids.items() if name.endswith("Name")} | {"computeResources": {}}


def test_what_carries_another_token_is_not_ours(ledger: Ledger) -> None:
    build(ledger)
    for row in ledger.journal.open_rows():
        if row.call.startswith("batch:"):
            row.token = "20260101000000-0123456789abcdef"
            shown = KINDS[row.call].seen(ledger.client("batch"), row)
            assert [one.state for one in shown] == ["foreign"]


def test_recover_sees_environment_queue_definition_and_jobs_but_no_machine(ledger: Ledger) -> None:
    queue, definition = build(ledger)
    job_id = submit(ledger, queue, definition)
    ours = {
        call: [one.id for one in kind.listed(ledger.client("batch"), Overview(ledger.client))]
        for call, kind in KINDS.items()
        if call.startswith("batch:")
    }
    assert ours == {
        "batch:CreateComputeEnvironment": [f"{ledger.prefix}-machines"],
        "batch:CreateJobQueue": [queue],
        "batch:RegisterJobDefinition": [definition],
        "batch:SubmitJob": [job_id],
    }
    resources = ledger.client("batch").describe_compute_environments()["computeEnvironments"][0]
    assert "awslabs:token" not in resources["computeResources"]["tags"]
    assert resources["computeResources"]["tags"]["awslabs:ledger"] == ledger.prefix


def test_down_goes_in_the_order_that_batch_demands(ledger: Ledger, changes: list[tuple[str, dict]]) -> None:
    queue, definition = build(ledger)
    submit(ledger, queue, definition)
    changes.clear()
    ledger.down()
    order = names(changes)
    first = order.index
    last = len(order) - 1 - order[::-1].index("DeleteRole")
    assert first("TerminateJob") < first("UpdateJobQueue") < first("DeleteJobQueue")
    assert first("DeleteJobQueue") < first("UpdateComputeEnvironment") < first("DeleteComputeEnvironment")
    assert first("DeleteComputeEnvironment") < first("RemoveRoleFromInstanceProfile")
    assert first("RemoveRoleFromInstanceProfile") < first("DeleteInstanceProfile")
    assert first("RemoveRoleFromInstanceProfile") < last
    assert first("DeleteComputeEnvironment") < first("DeleteSubnet")
    assert first("DeleteComputeEnvironment") < first("DeleteSecurityGroup")
    batch = ledger.client("batch")
    assert batch.describe_compute_environments()["computeEnvironments"] == []
    assert batch.describe_job_queues()["jobQueues"] == []
    assert batch.describe_job_definitions(status="ACTIVE")["jobDefinitions"] == []


def test_every_revision_that_carries_our_token_is_deregistered(ledger: Ledger) -> None:
    define(ledger)
    define(ledger, "second")
    batch = ledger.client("batch")
    foreign = batch.register_job_definition(
        jobDefinitionName="somebodys",
        type="container",
        containerProperties={
            "image": "nowhere",
            "resourceRequirements": [{"type": "VCPU", "value": "1"}, {"type": "MEMORY", "value": "512"}],
        },
    )["jobDefinitionArn"]
    ledger.down()
    active = batch.describe_job_definitions(status="ACTIVE")["jobDefinitions"]
    assert [one["jobDefinitionArn"] for one in active] == [foreign]


def test_a_lost_answer_makes_no_second_definition_and_no_second_job(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    queue, definition = build(ledger)
    aws = wire.Wire(monkeypatch)

    def lose(call: wire.Call) -> None:
        call.send()
        raise wire.refusal(call.operation, "ServerException", 500, "lost")

    for operation in ("SubmitJob", "RegisterJobDefinition"):
        aws.fail(operation, lose)
    job_id = submit(ledger, queue, definition)
    define(ledger, "second")
    assert {"SubmitJob", "RegisterJobDefinition"} <= set(aws.changed)
    batch = ledger.client("batch")
    filters = [{"name": "JOB_NAME", "values": [f"{ledger.prefix}*"]}]
    listed = batch.list_jobs(jobQueue=queue, filters=filters)["jobSummaryList"]
    assert [job["jobId"] for job in listed] == [job_id]
    assert len(batch.describe_job_definitions(status="ACTIVE")["jobDefinitions"]) == 2


def test_a_job_that_ended_closes_its_row(ledger: Ledger) -> None:
    queue, definition = build(ledger)
    job_id = submit(ledger, queue, definition)
    going_on = submit(ledger, queue, definition, dependsOn=[{"jobId": job_id}])
    batch = ledger.client("batch")
    batch.terminate_job(jobId=going_on, reason="enough")
    eventually(lambda: batch.describe_jobs(jobs=[going_on])["jobs"][0]["status"] == "FAILED")
    ledger.close_ended()
    assert going_on not in [row.id for row in ledger.journal.open_rows()]


def test_what_was_recovered_goes_down_again(ledger: Ledger) -> None:
    queue, definition = build(ledger)
    submit(ledger, queue, definition)
    names_before = set(ledger.resources)
    ledger.journal.path.unlink()
    (lost,) = recovery.lost(ledger.cloud, everything_ours(ledger.cloud))
    found = recovery.write_back(ledger.cloud, lost)
    assert names_before - set(found.resources) == {"policy", "join"}  # they go with their parents
    assert found.journal.last("job") is not None
    found.down()
    assert everything_ours(ledger.cloud) == []


def test_ensure_puts_back_to_use_what_somebody_disabled(
    ledger: Ledger, changes: list[tuple[str, dict]]
) -> None:
    queue, _ = build(ledger)
    batch = ledger.client("batch")
    environment = f"{ledger.prefix}-machines"
    batch.update_job_queue(jobQueue=queue, state="DISABLED")
    batch.update_compute_environment(computeEnvironment=environment, state="DISABLED")
    assert ensure(batch.update_compute_environment, computeEnvironment=environment, state="ENABLED")
    assert ensure(batch.update_job_queue, jobQueue=queue, state="ENABLED")
    changes.clear()
    assert not ensure(batch.update_compute_environment, computeEnvironment=environment, state="ENABLED")
    assert not ensure(batch.update_job_queue, jobQueue=queue, state="ENABLED")
    assert changes == []


def test_a_profile_whose_join_was_lost_is_deleted_all_the_same(ledger: Ledger) -> None:
    roles_and_network(ledger)
    profile = KINDS["iam:CreateInstanceProfile"]
    (found,) = profile.listed(ledger.client("iam"), Overview(ledger.client))
    profile.delete(ledger.client("iam"), found)
    assert profile.listed(ledger.client("iam"), Overview(ledger.client)) == []


def test_a_deleted_queue_has_no_jobs(ledger: Ledger) -> None:
    queue, definition = build(ledger)
    submit(ledger, queue, definition)
    row = ledger.journal.last("job")
    assert row is not None
    row.ids = {}
    batch = ledger.client("batch")
    batch.terminate_job(jobId=submit(ledger, queue, definition), reason="enough")
    batch.update_job_queue(jobQueue=queue, state="DISABLED")
    batch.delete_job_queue(jobQueue=queue)
    eventually(lambda: JOB_QUEUE.listed(batch, Overview(ledger.client)) == [])
    assert KINDS[row.call].look(batch, row) == []
