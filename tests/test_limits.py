"""limits: a budget refuses work, and ends what costs within a minute; so does a time. On a moved clock."""

from __future__ import annotations

import importlib
import re
from typing import Any

import inprocess
import pytest
from bill_kit import ACCOUNT, REGION, Bill, opened
from click.testing import CliRunner
from moto.apigateway import apigateway_backends
from test_kinds_batch import build, submit
from test_kinds_containers import cluster_and_definition, network

import awslabs
from awslabs import batch_sweep, cli, cost, ec2, gpu, journal, limits, prices
from awslabs.errors import LabError, OverBudget
from awslabs.labs import LABS
from awslabs.ledger import Ledger
from awslabs.workload.batch_sweep import sweep

pytestmark = pytest.mark.live  # they take a minute together

HOUR = 0.0104 + 0.005 + 8 * 0.08 / 730  # of the first lab's server, in us-east-1


def watch(ledger: Ledger, bill: Bill, hours: float) -> float:
    """A process that lives and does nothing but to look; seconds until it began to end something."""
    keeper, began = limits.Keeper(ledger), bill.clock.monotonic()
    while bill.clock.monotonic() - began < hours * 3600:
        before = len(ledger.journal.open_rows())
        asked = bill.clock.monotonic()
        pause_s = keeper.look(ledger)
        assert 1.0 <= pause_s <= limits.LOOK_S
        if len(ledger.journal.open_rows()) < before:
            return asked - began
        bill.clock.sleep(pause_s)
    raise AssertionError(f"nothing was ended within {hours} h")


def task(ledger: Ledger, cluster: str, definition: str, where: dict[str, Any]) -> str:
    return ledger.start(
        "task",
        ledger.client("ecs").run_task,
        cluster=cluster,
        taskDefinition=definition,
        launchType="FARGATE",
        networkConfiguration={"awsvpcConfiguration": where},
        overrides={"cpu": "1024", "memory": "4096"},
    )


# -- A budget ends what costs ------------------------------------------------------------------------------


def test_a_server_ends_within_a_minute_after_its_budget_is_spent(
    bill: Bill, caplog: pytest.LogCaptureFixture
) -> None:
    ledger = opened("ec2")
    ledger.limit(budget_usd=0.005)
    ec2.up(ledger)
    server = ledger.journal.last("instance")
    assert server
    rate = cost.per_hour(ledger.journal.header, ledger.journal.rows)
    assert rate == pytest.approx(HOUR, rel=0.01)
    spent_at = journal.after(server.made, 0.005 / HOUR * 3600)
    watch(ledger, bill, hours=1)
    assert 0 < journal.seconds_since(spent_at) < 60
    assert "instance" not in ledger.resources
    assert "vpc" in ledger.resources  # what costs nothing stands until `down`
    assert "The budget of 0.005 USD is spent" in caplog.text
    assert "What costs was ended: instance." in caplog.text
    assert ledger.usd_so_far == pytest.approx(0.005, rel=0.05)
    with pytest.raises(OverBudget) as refused:
        ec2.up(ledger)
    assert "does not pay for the instance" in refused.value.what
    assert "0.0050 USD are spent" in refused.value.why
    amount = re.fullmatch(r"python -m awslabs.ec2 limit --budget (\S+)    # then .*", refused.value.fix)
    assert amount, refused.value.fix
    ledger.limit(budget_usd=float(amount[1]))
    ec2.up(ledger)
    assert "instance" in ledger.resources


def test_batchs_machines_that_no_row_knows_count_against_it(bill: Bill) -> None:
    ledger = opened("batch_sweep")
    ledger.limit(budget_usd=0.02)
    queue, definition = build(ledger)
    bill.pass_time(2)  # until the queue is VALID
    job_id = submit(ledger, queue, definition)
    watch(ledger, bill, hours=1)
    usd = limits.spent(ledger.journal.header, ledger.journal.rows)
    assert usd is not None
    hour = prices.server_hour("c5.large", REGION, cost.BATCH_ROOT_GIB)
    assert hour is not None
    assert 0 < usd - 0.02 < hour * 60 / 3600
    (job,) = ledger.client("batch").describe_jobs(jobs=[job_id])["jobs"]
    assert job.get("isTerminated") or job["status"] == "FAILED"


def test_a_task_that_ended_by_itself_is_not_counted_on(bill: Bill) -> None:
    """The file alone would say that it runs; before anything is ended, ECS is asked."""
    ledger = opened("ecs_qa")
    ledger.limit(budget_usd=0.03)
    subnet_id, group_id = network(ledger)
    cluster, definition = cluster_and_definition(ledger)
    where = {"subnets": [subnet_id], "securityGroups": [group_id], "assignPublicIp": "ENABLED"}
    first = task(ledger, cluster, definition, where)
    bill.pass_time(5)
    ledger.client("ecs").stop_task(cluster=cluster, task=first)
    bill.pass_time(60)
    usd = limits.spent(ledger.journal.header, ledger.journal.rows)
    assert usd is not None
    assert usd > 0.03
    task(ledger, cluster, definition, where)
    assert limits.Keeper(ledger).look(ledger) > 0
    assert sum(row.name == "task" for row in ledger.journal.open_rows()) == 1


def test_of_many_tasks_those_are_started_that_it_pays_for(bill: Bill) -> None:
    ledger = opened("ecs_qa")
    minute = prices.fargate_hour(1, 4, REGION) / 60
    ledger.limit(budget_usd=3.5 * minute)
    subnet_id, group_id = network(ledger)
    cluster, definition = cluster_and_definition(ledger)
    where = {"subnets": [subnet_id], "securityGroups": [group_id], "assignPublicIp": "ENABLED"}
    for _ in range(3):
        task(ledger, cluster, definition, where)
    with pytest.raises(OverBudget, match="does not pay for the task"):
        task(ledger, cluster, definition, where)
    assert len(bill_tasks(ledger, cluster)) == 3


def bill_tasks(ledger: Ledger, cluster: str) -> list[str]:
    arns: list[str] = ledger.client("ecs").list_tasks(cluster=cluster)["taskArns"]
    return arns


def test_an_api_that_anybody_may_use_is_closed(bill: Bill) -> None:
    ledger = opened("serverless")
    ledger.limit(ttl_minutes=10)
    ledger.create("queue", ledger.client("sqs").create_queue, QueueName=f"{ledger.prefix}-dead-letters")
    ledger.create("api", ledger.client("apigateway").create_rest_api, name=f"{ledger.prefix}-api")
    assert len(apigateway_backends[ACCOUNT][REGION].apis) == 1
    over = ledger.due
    watch(ledger, bill, hours=1)
    assert 0 < journal.seconds_since(over) < 60
    assert len(apigateway_backends[ACCOUNT][REGION].apis) == 0
    assert set(ledger.resources) == {"queue"}


def test_what_has_no_known_price_is_not_started_under_a_budget(bill: Bill) -> None:
    ledger = opened("ec2")
    ledger.limit(budget_usd=100)
    with pytest.raises(OverBudget) as refused:
        ec2.up(ledger, instance_type="t3a.micro")
    assert "What the instance costs is not in the price list" in refused.value.why
    assert "instance" not in ledger.resources


# -- A time ------------------------------------------------------------------------------------------------


def test_due_is_the_earlier_of_the_time_and_of_the_budgets_end(bill: Bill) -> None:
    ledger = opened("ec2")
    assert ledger.due == ""
    ec2.up(ledger, ttl_minutes=120)
    server = ledger.journal.last("instance")
    assert server
    by_time = journal.after(server.made, 2 * 3600)
    assert journal.seconds_since(ledger.due, by_time) < 60
    ledger.limit(budget_usd=HOUR / 2)
    left_s = journal.seconds_since(journal.now(), ledger.due)
    assert 0.4 * 3600 < left_s < 0.5 * 3600
    ledger.limit(budget_usd=100)
    assert ledger.due == by_time


@pytest.mark.parametrize("lab", LABS)
def test_only_labs_that_would_cost_by_themselves_have_a_time_of_their_own(lab: str) -> None:
    """The first lab's server costs, too, but so little that its user decides; `up` says how much."""
    group = importlib.import_module(f"awslabs.{lab}").command_line()
    given = group.commands["up"].make_context("up", []).params
    assert (given.get("ttl") or given.get("ttl_minutes")) == {"gpu": 180, "batch_sweep": 720}.get(lab)


def test_a_jobs_submission_begins_the_twelve_hours_anew(bill: Bill) -> None:
    assert batch_sweep.TTL_MINUTES == 12 * 60
    ledger = opened("batch_sweep")
    queue, definition = build(ledger)
    ledger.limit(ttl_minutes=batch_sweep.TTL_MINUTES)
    bill.clock.sleep(10 * 3600)
    job_id = submit(ledger, queue, definition)
    assert journal.seconds_since(journal.now(), ledger.due) > 11.9 * 3600
    bill.clock.sleep(8 * 3600)
    ledger.client("batch").terminate_job(jobId=job_id, reason="it is enough")
    submit(ledger, queue, definition)
    over = ledger.due
    bill.clock.sleep(11.9 * 3600)
    watch(ledger, bill, hours=1)
    assert 0 < journal.seconds_since(over) < 60
    assert not [row for row in ledger.journal.open_rows() if row.call == "batch:SubmitJob"]
    bill.pass_time(20)
    before = bill.usd["server"]
    bill.pass_time(20)
    assert bill.usd["server"] == before  # the machines have gone


def test_a_gpu_server_has_three_hours_also_where_no_option_was_given(bill: Bill) -> None:
    ledger = opened("gpu")
    gpu.up(ledger)
    server = ledger.journal.last("instance")
    assert server
    assert journal.seconds_since(ledger.due, journal.after(server.made, 3 * 3600)) < 60
    bill.clock.sleep(3600)
    gpu.up(ledger)  # its timer is its own, and was not moved
    assert ledger.due == journal.after(server.made, 3 * 3600)


def test_a_server_that_stands_without_a_timer_gets_a_time_all_the_same(bill: Bill) -> None:
    ledger = opened("ec2")
    ec2.up(ledger)
    assert ledger.due == ""
    before = ledger.resources["instance"]
    ec2.up(ledger, ttl_minutes=120)
    left_s = journal.seconds_since(journal.now(), ledger.due)
    assert 119 * 60 < left_s <= 120 * 60
    assert ledger.resources["instance"] == before
    bill.clock.sleep(3600)
    ec2.up(ledger, ttl_minutes=120)  # anew with each `up`
    assert journal.seconds_since(journal.now(), ledger.due) > 119 * 60
    bill.clock.sleep(119 * 60)
    watch(ledger, bill, hours=1)
    assert "instance" not in ledger.resources
    ec2.up(ledger, ttl_minutes=120)  # a new one has a timer of its own
    (server,) = [row for row in ledger.journal.open_rows() if row.name == "instance"]
    assert server.telling["ttl_minutes"] == "120"


def test_a_budgets_end_counts_the_machines_that_jobs_wait_for(bill: Bill) -> None:
    """The laptop may be shut before the first of them runs."""
    ledger = opened("batch_sweep")
    ledger.limit(budget_usd=2.0)
    queue, definition = build(ledger)
    bill.pass_time(2)
    assert ledger.due == ""
    submit(ledger, queue, definition)
    hour = prices.server_hour("c5.large", REGION, cost.BATCH_ROOT_GIB)
    assert hour is not None
    left_s = journal.seconds_since(journal.now(), ledger.due)
    assert left_s == pytest.approx(2.0 / hour * 3600, rel=0.01)
    bill.pass_time(10)
    ledger.read_meter()  # now it runs, and counts once
    again_s = journal.seconds_since(journal.now(), ledger.due)
    assert again_s == pytest.approx(left_s, rel=0.05)


def test_a_time_begins_anew_with_each_up_and_ends_with_down(bill: Bill) -> None:
    ledger = opened("ec2")
    ec2.up(ledger, ttl_minutes=60)
    ledger.down()
    assert ledger.journal.header["limits"] == journal.blank_limits()
    bill.clock.sleep(7200)
    ec2.up(ledger)
    assert ledger.due == ""
    again = opened("ec2")
    assert again.due == ""


# -- Who asks, and what makes no sense ---------------------------------------------------------------------


@pytest.mark.parametrize("told", ["ten", "0", "-1", "nan", "inf", "1e9"])
def test_a_budget_that_is_none_is_refused_wherever_it_is_told(
    told: str, bill: Bill, monkeypatch: pytest.MonkeyPatch
) -> None:
    for verb in ("up", "limit"):
        result = CliRunner().invoke(ec2.command_line(), [verb, "--budget", told])
        assert result.exit_code == 2
        assert f"'{told}' is no" in result.stderr
    monkeypatch.setenv("AWSLABS_BUDGET", told)
    result = CliRunner().invoke(ec2.command_line(), ["up"])
    assert result.exit_code == 1
    assert f"error: AWSLABS_BUDGET is '{told}', which is no budget." in result.stderr
    assert "fix:   export AWSLABS_BUDGET=5" in result.stderr
    ledger = opened("ec2")
    with pytest.raises(LabError, match="AWSLABS_BUDGET"):
        ec2.up(ledger)
    assert ledger.resources == {}
    ledger.down()  # nothing stands in the way of that one


def test_limit_of_a_lab_that_does_not_stand_names_the_up_that_takes_the_same(
    bill: Bill, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cli, "open_ledger", lambda *_, **__: opened("ec2"))
    for given, fix in (
        (["--budget", "0.00001"], "up --budget 0.00001"),
        (["--ttl", "3h"], "up --ttl 180m"),
        ([], "up"),
    ):
        result = CliRunner().invoke(ec2.command_line(), ["limit", *given])
        assert result.exit_code == 1
        assert f"fix:   python -m awslabs.ec2 {fix}\n" in result.stderr


def test_a_small_budget_is_named_as_it_was_told(bill: Bill) -> None:
    ledger = opened("ec2")
    ledger.limit(budget_usd=0.00001)
    with pytest.raises(OverBudget) as refused:
        ledger.afford("the server", 0.5)
    assert refused.value.what == "The budget of 0.00001 USD does not pay for the server."
    assert [limits.written(one) for one in (5, 0.5, 1e6)] == ["5", "0.5", "1000000"]


@pytest.mark.parametrize("minutes", [0, -180, 7 * 24 * 60 + 1, 1.5])
def test_a_time_that_does_not_lie_ahead_is_refused(minutes: Any, bill: Bill) -> None:
    ledger = opened("ecs_qa")
    with pytest.raises(LabError, match="none that lie ahead"):
        ledger.limit(ttl_minutes=minutes)
    assert ledger.due == ""


@pytest.mark.parametrize("lab", LABS)
@pytest.mark.parametrize("told", ["-3h", "0m", "2026-11-28", "soon"])
def test_a_time_of_the_past_is_wrong_usage(lab: str, told: str) -> None:
    group = importlib.import_module(f"awslabs.{lab}").command_line()
    result = CliRunner().invoke(group, ["up", f"--ttl={told}"])
    assert result.exit_code == 2
    assert "is no time from 10m to 168h" in result.stderr


def run(*line: str, lab: str = "ec2") -> Any:
    return CliRunner().invoke(importlib.import_module(f"awslabs.{lab}").command_line(), line)


def test_the_budget_of_the_shell_holds_where_up_was_told_none(
    bill: Bill, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cli, "open_cloud", lambda **_: inprocess.open_cloud(ACCOUNT, "ana", REGION))
    monkeypatch.setenv("AWSLABS_BUDGET", "0.0001")
    refused = run("up")
    assert refused.exit_code == 1
    assert "The budget of 0.0001 USD does not pay for the lab." in refused.stderr
    assert "again with --budget " in refused.stderr
    assert opened("ec2").resources == {}  # said before anything was built
    monkeypatch.setenv("AWSLABS_BUDGET", "3")
    assert run("up", "--budget", "2").exit_code == 0
    told = run("limit")
    assert "usd_budget    2.0000" in told.stdout
    assert run("limit", "--budget", "7", "--json").exit_code == 0
    assert limits.budget(opened("ec2").journal.header) == 7
    assert run("up").exit_code == 0
    assert limits.budget(opened("ec2").journal.header) == 7
    assert run("down").exit_code == 0
    stands_not = run("limit", "--budget", "7")
    assert (stands_not.exit_code, "The lab does not stand." in stands_not.stderr) == (1, True)


def test_a_notebook_sets_one_and_is_watched(bill: Bill, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cli, "open_cloud", lambda **_: inprocess.open_cloud(ACCOUNT, "ana", REGION))
    watched = []
    monkeypatch.setattr(limits.Keeper, "start", lambda keeper: watched.append(keeper) or keeper)
    ledger = awslabs.lab("ec2", budget=0.5)
    ec2.up(ledger)
    assert limits.budget(opened("ec2").journal.header) == 0.5
    assert len(watched) == 1
    with pytest.raises(LabError, match="The budget was not set"):
        awslabs.lab("ec2", budget=0)


def test_a_job_is_refused_that_its_machine_would_make_too_dear(bill: Bill) -> None:
    ledger = opened("batch_sweep")
    build(ledger)
    (environment,) = [row for row in ledger.journal.rows if row.call == "batch:CreateComputeEnvironment"]
    environment.name = "compute-environment"  # as the lab calls it
    price = sweep.usd_per_machine_hour(ledger)
    assert price == prices.server_hour("c5.large", REGION, cost.BATCH_ROOT_GIB)
    ledger.limit(budget_usd=0.001)
    with pytest.raises(OverBudget, match="does not pay for the job"):
        ledger.afford_hours("the job", price)


def test_the_thread_looks_and_ends_with_its_ledger(bill: Bill, monkeypatch: pytest.MonkeyPatch) -> None:
    looks = []
    monkeypatch.setattr(limits.Keeper, "look", lambda keeper, ledger: looks.append(ledger.lab) or 0.01)
    ledger = opened("ec2")
    keeper = limits.Keeper(ledger).start()
    while len(looks) < 3:
        keeper._thread.join(0.01)
    del ledger
    keeper._thread.join(60)
    assert not keeper._thread.is_alive()
    assert set(looks) == {"ec2"}
    with limits.Keeper(opened("ec2")):
        pass  # it stops at once


def test_what_goes_wrong_while_it_looks_is_told_once(
    bill: Bill, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any) -> float:
        raise RuntimeError("no such thing")

    monkeypatch.setattr(limits.Keeper, "look", broken)
    monkeypatch.setattr(limits, "LOOK_S", 0.01)
    ledger = opened("ec2")
    with limits.Keeper(ledger) as keeper:
        while "no such thing" not in caplog.text:
            keeper._thread.join(0.01)
    assert caplog.text.count("The lab's limits could not be kept: no such thing") == 1
