"""Repositories, clusters, task definitions and tasks, as the ledger knows them."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from inprocess import no_images_for_ecs
from moto import mock_aws
from moto.ec2.models import amis
from moto.moto_api import state_manager
from wire import Wire

from awslabs import journal
from awslabs.cloud import Cloud
from awslabs.errors import AwsError, LedgerError
from awslabs.kinds import KINDS, Overview
from awslabs.ledger import Ledger


@pytest.fixture
def ledger(monkeypatch: pytest.MonkeyPatch) -> Iterator[Ledger]:
    monkeypatch.setattr(Ledger, "settle_s", 0.2)
    monkeypatch.setattr(amis, "load_resource", no_images_for_ecs)
    monkeypatch.setattr(Ledger, "patience", 0.02)
    with mock_aws():
        state_manager.set_transition("ecs::task", {"progression": "manual", "times": 1000})
        yield Ledger(Cloud(region="us-east-1"), "ecs_qa")
        state_manager.unset_transition("ecs::task")


def network(ledger: Ledger) -> tuple[str, str]:
    ec2 = ledger.client("ec2")
    vpc_id = ledger.create("vpc", ec2.create_vpc, CidrBlock="10.10.0.0/24")
    ec2.modify_vpc_attribute(VpcId=vpc_id, EnableDnsHostnames={"Value": True})
    subnet_id = ledger.create("subnet", ec2.create_subnet, VpcId=vpc_id, CidrBlock="10.10.0.0/24")
    group_id = ledger.create(
        "group", ec2.create_security_group, VpcId=vpc_id, GroupName=f"{ledger.prefix}-g", Description="none"
    )
    return subnet_id, group_id


def cluster_and_definition(ledger: Ledger) -> tuple[str, str]:
    ecs = ledger.client("ecs")
    cluster = ledger.create("cluster", ecs.create_cluster, clusterName=f"{ledger.prefix}-cluster")
    definition = ledger.create(
        "task-definition",
        ecs.register_task_definition,
        family=f"{ledger.prefix}-reader",
        cpu="1024",
        memory="4096",
        networkMode="awsvpc",
        requiresCompatibilities=["FARGATE"],
        containerDefinitions=[{"name": "reader", "image": "none", "memory": 4096}],
    )
    return cluster, definition


@pytest.fixture
def task(ledger: Ledger) -> dict[str, Any]:
    """What starts a task."""
    subnet_id, group_id = network(ledger)
    cluster, definition = cluster_and_definition(ledger)
    return {
        "cluster": cluster,
        "taskDefinition": definition,
        "launchType": "FARGATE",
        "networkConfiguration": {
            "awsvpcConfiguration": {"subnets": [subnet_id], "securityGroups": [group_id]}
        },
        "overrides": {"cpu": "1024", "memory": "4096"},
    }


def running(ledger: Ledger, cluster: str) -> list[str]:
    return ledger.client("ecs").list_tasks(cluster=cluster)["taskArns"]


def test_a_second_registration_is_not_made_by_a_second_up(ledger: Ledger) -> None:
    first = cluster_and_definition(ledger)
    assert cluster_and_definition(ledger) == first
    ecs = ledger.client("ecs")
    assert len(ecs.list_task_definitions(familyPrefix=f"{ledger.prefix}-reader")["taskDefinitionArns"]) == 1


def test_a_registration_whose_answer_was_lost_is_found_by_its_token(ledger: Ledger) -> None:
    _, definition = cluster_and_definition(ledger)
    row = ledger.journal.last("task-definition")
    assert row is not None
    row.ids, row.state = {}, "creating"
    assert KINDS[row.call].look(ledger.client("ecs"), row)[0].id == definition
    assert cluster_and_definition(ledger)[1] == definition


def test_a_definition_that_somebody_deregistered_is_made_anew_and_none_is_left(ledger: Ledger) -> None:
    _, definition = cluster_and_definition(ledger)
    ecs = ledger.client("ecs")
    ecs.deregister_task_definition(taskDefinition=definition)
    _, anew = cluster_and_definition(ledger)
    assert ecs.list_task_definitions(status="ACTIVE")["taskDefinitionArns"] == [anew]
    assert ecs.list_task_definitions(status="INACTIVE")["taskDefinitionArns"] == []


def test_down_leaves_no_revision_and_no_cluster(ledger: Ledger) -> None:
    cluster, _ = cluster_and_definition(ledger)
    ledger.down()
    ecs = ledger.client("ecs")
    shown = ecs.describe_clusters(clusters=[cluster])["clusters"]
    assert [one["status"] for one in shown] in ([], ["INACTIVE"])
    for status in ("ACTIVE", "INACTIVE"):
        assert ecs.list_task_definitions(status=status)["taskDefinitionArns"] == []


def test_each_start_is_a_row_of_its_own_with_a_price(ledger: Ledger, task: dict[str, Any]) -> None:
    ecs = ledger.client("ecs")
    before, standing = ledger.usd_per_hour, dict(ledger.resources)
    arns = [ledger.start("task", ecs.run_task, **task) for _ in range(2)]
    assert sorted(running(ledger, task["cluster"])) == sorted(arns)
    assert ledger.usd_per_hour - before == pytest.approx(2 * (0.04048 + 4 * 0.004445 + 0.005))
    assert ledger.resources == standing  # work is no resource


def test_rows_of_ended_work_close_and_others_stay(ledger: Ledger, task: dict[str, Any]) -> None:
    ecs = ledger.client("ecs")
    ended, going_on = (ledger.start("task", ecs.run_task, **task) for _ in range(2))
    ecs.stop_task(cluster=task["cluster"], task=ended)
    ledger.close_ended()
    assert {row.id for row in ledger.journal.open_rows() if row.name == "task"} == {going_on}


def test_work_that_aws_has_forgotten_costs_nothing_any_more(
    ledger: Ledger, task: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger.start("task", ledger.client("ecs").run_task, **task)
    monkeypatch.setattr(ledger, "_seen", lambda row: [])
    ledger.close_ended()
    assert ledger.journal.last("task") is not None  # so young it may only be invisible yet
    monkeypatch.setattr("awslabs.ledger.FORGOTTEN_S", 0.0)
    time.sleep(0.05)
    ledger.close_ended()
    assert ledger.journal.last("task") is None


def test_tidying_up_stands_in_nobodys_way(
    ledger: Ledger, task: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    ecs = ledger.client("ecs")
    ecs.stop_task(cluster=task["cluster"], task=ledger.start("task", ecs.run_task, **task))
    other = Ledger(ledger.cloud, ledger.lab)
    with other.locked("up"):
        ledger.close_ended()

    def full(path: Path, text: str) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(journal, "write", full)
        ledger.close_ended()
    assert Ledger(ledger.cloud, ledger.lab).journal.last("task") is not None
    Ledger(ledger.cloud, ledger.lab).close_ended()
    assert Ledger(ledger.cloud, ledger.lab).journal.last("task") is None


def test_down_stops_what_runs_and_what_was_started_and_not_recorded(
    ledger: Ledger, task: dict[str, Any]
) -> None:
    ecs = ledger.client("ecs")
    ledger.start("task", ecs.run_task, **task)
    row = ledger.journal.last("task")
    assert row is not None
    row.ids, row.state = {}, "creating"  # the crash came between the answer and the file
    ledger.journal.save()
    ledger.down()
    stopped = ecs.list_tasks(cluster=task["cluster"], desiredStatus="STOPPED")["taskArns"]
    assert len(stopped) == 1
    assert not ledger.journal.open_rows()


def test_a_task_that_could_not_be_placed_is_a_refusal_though_http_says_200(
    ledger: Ledger, task: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    answer = {"tasks": [], "failures": [{"reason": "Capacity is unavailable at this time."}]}
    Wire(monkeypatch).fail("RunTask", lambda call: answer)
    with pytest.raises(AwsError) as refused:
        ledger.start("task", ledger.client("ecs").run_task, **task)
    assert refused.value.code == "Capacity is unavailable at this time."
    assert ledger.journal.last("task") is None


@pytest.mark.parametrize(
    ("verb", "seconds", "other_verb", "waits"),
    [
        ("start", 60, "start", True),
        ("down", 60, "start", True),
        ("start", 0.2, "down", True),  # signed with the name of who had it before, as for a moment it is
        ("start", 60, "down", False),
        ("up", 60, "down", False),
    ],
)
def test_who_waits_for_another_terminal(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch, verb: str, seconds: float, other_verb: str, waits: bool
) -> None:
    holder = """
import fcntl, os, sys, time
file = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT, 0o600)
fcntl.flock(file, fcntl.LOCK_EX)
os.pwrite(file, f"`{sys.argv[2]}`, process 1\\n".encode(), 0)
print("held", flush=True)
time.sleep(float(sys.argv[3]))
"""
    monkeypatch.setattr(Ledger, "patience", 1.0)
    lock = ledger.journal.path.with_suffix(".lock")
    lock.parent.mkdir(exist_ok=True)
    other = subprocess.Popen(
        [sys.executable, "-c", holder, os.fspath(lock), other_verb, str(seconds)], stdout=subprocess.PIPE
    )
    try:
        assert other.stdout is not None
        assert other.stdout.readline() == b"held\n"
        if waits:
            threading.Timer(1.0, other.kill).start()  # longer than a lock shows the name of its last holder
        with contextlib.nullcontext() if waits else pytest.raises(LedgerError, match="in use"):
            with ledger.journal.locked("start", patience_s=30.0) if verb == "start" else ledger.locked(verb):
                assert other.wait(120) is not None
    finally:
        other.kill()
        other.communicate()


def test_a_repository_goes_with_its_images_and_only_ours_is_taken(ledger: Ledger) -> None:
    ecr = ledger.client("ecr")
    name = ledger.create("repository", ecr.create_repository, repositoryName=f"{ledger.prefix}-reader")
    row = ledger.journal.last("repository")
    assert row is not None
    assert row.ids["repositoryUri"].endswith(name)
    media = "application/vnd.docker.distribution.manifest.v2+json"
    manifest = json.dumps({"schemaVersion": 2, "mediaType": media, "layers": []})
    image = {"imageManifest": manifest, "imageTag": "latest"}
    ecr.put_image(repositoryName=name, **image)
    assert [found.id for found in KINDS["ecr:CreateRepository"].listed(ecr, Overview(ledger.client))] == [
        name
    ]
    ledger.down()
    assert ecr.describe_repositories()["repositories"] == []
    ecr.create_repository(repositoryName="somebody-elses")
    with pytest.raises(AwsError):
        ledger.create("repository", ecr.create_repository, repositoryName="somebody-elses")
    assert len(ecr.describe_repositories()["repositories"]) == 1
