"""Chapter 4 over moto in this process: what is built, put right and taken down, and what is asked before."""

from __future__ import annotations

import contextlib
import importlib.util
import io
import json
import logging
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any

import pytest
import wire
from batch_kit import names
from click.testing import CliRunner
from inprocess import no_images_for_ecs
from moto import mock_aws
from moto.ec2.models import amis
from practice import everything_ours

from awslabs import batch_sweep, images
from awslabs.cloud import Cloud
from awslabs.errors import AwsError, LabError, LedgerError, install
from awslabs.journal import read
from awslabs.kinds import ENSURES, KINDS
from awslabs.ledger import Ledger
from awslabs.sandbox import rules, running_parts
from awslabs.sandbox.core import weather
from awslabs.sandbox.services.iam import identities
from awslabs.sandbox.services.servicequotas import quotas
from awslabs.workload.batch_sweep import batch_jobs, following, results, sweep, waiting_jobs
from awslabs.workload.batch_sweep.results import Cell, Series

G_AND_VT = "L-DB2E81BA"
Call = tuple[str, dict[str, Any]]
DIGITS = Series("digits", 10, 5)


@pytest.fixture
def cloud(monkeypatch: pytest.MonkeyPatch) -> Iterator[Cloud]:
    """moto under the strict rules, at once what AWS takes its time for; here no image is built."""
    assert running_parts.PARTS
    monkeypatch.setattr(weather, "current", weather.Weather(slow_states=0))
    monkeypatch.setattr(Ledger, "settle_s", 0.2)
    monkeypatch.setattr(amis, "load_resource", no_images_for_ecs)
    monkeypatch.setattr(images, "publish", publish)
    monkeypatch.setattr(images, "engine_for", lambda *_, **__: None)
    with (
        rules.installed(),
        mock_aws(config={"lambda": {"use_docker": False}, "batch": {"use_docker": False}}),
    ):
        yield Cloud()


def publish(ledger: Ledger, repository: str, recipe: images.Recipe, engine: Any) -> str:
    """An image of no layers, under the tag of its recipe."""
    ecr = ledger.client("ecr")
    media = "application/vnd.docker.distribution.manifest.v2+json"
    manifest = json.dumps({"schemaVersion": 2, "mediaType": media, "layers": []})
    if not images.is_there(ecr, repository, recipe.tag):
        ecr.put_image(repositoryName=repository, imageManifest=manifest, imageTag=recipe.tag)
    return f"{ecr.describe_repositories()['repositories'][0]['repositoryUri']}:{recipe.tag}"


@pytest.fixture
def changes(monkeypatch: pytest.MonkeyPatch) -> list[Call]:
    """Every call that changes something, in order."""
    return wire.changes(monkeypatch)


def lab(cloud: Cloud) -> Ledger:
    return Ledger(cloud, "batch_sweep")


def write(ledger: Ledger, series: Series, cell: Cell, losses: list[float], accuracies: list[float]) -> None:
    """Results of a cell, as a job writes them."""
    lines = ["train_loss,val_loss,val_accuracy"]
    lines += [f"0.5,{loss:.6f},{accuracy:.6f}" for loss, accuracy in zip(losses, accuracies, strict=True)]
    ledger.client("s3").put_object(
        Bucket=ledger.resources["bucket"], Key=f"{series.prefix}/{cell.name}", Body="\n".join(lines).encode()
    )


# -- Up and down -----------------------------------------------------------------------------------------


def test_up_builds_through_the_ledger_then_changes_nothing_and_down_leaves_nothing(
    cloud: Cloud, changes: list[Call]
) -> None:
    built = batch_sweep.up(lab(cloud))
    tokens = {row.token for row in read(lab(cloud).journal.path)[1]}
    for call, request in changes:
        if call not in ENSURES and call != "ecr:PutImage":
            assert KINDS[call].join or any(token in str(request) for token in tokens), call
    changes.clear()
    assert batch_sweep.up(lab(cloud)) == built
    assert changes == []
    batch_sweep.down(lab(cloud))
    assert lab(cloud).resources == {}
    assert everything_ours(cloud) == []
    assert not [
        role for role in cloud.client("iam").list_roles()["Roles"] if role["Path"].startswith("/awslabs")
    ]
    assert cloud.client("ecs").list_clusters()["clusterArns"] == []


def test_up_says_at_once_what_jobs_will_lack_in_the_practice_cloud(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "torch" else "is here")
    batch_sweep.up(lab(cloud))  # on AWS it is in the image
    assert "jobs will fail" not in caplog.text
    monkeypatch.setattr(cloud, "is_aws", False)
    batch_sweep.up(lab(cloud))
    assert f"no torch; mend it: {install('ml')}" in caplog.text


def test_the_environment_is_as_the_course_says(cloud: Cloud) -> None:
    batch_sweep.up(lab(cloud))
    batch = cloud.client("batch")
    (environment,) = batch.describe_compute_environments()["computeEnvironments"]
    resources = environment["computeResources"]
    assert (resources["minvCpus"], resources["maxvCpus"]) == (0, 64)
    assert (resources["type"], resources["allocationStrategy"]) == ("EC2", "BEST_FIT_PROGRESSIVE")
    assert resources["instanceTypes"] == ["g4dn.xlarge"]
    assert resources["ec2Configuration"][0]["imageType"] == "ECS_AL2023_NVIDIA"
    offered = cloud.client("ec2").describe_instance_type_offerings(
        LocationType="availability-zone", Filters=[{"Name": "instance-type", "Values": ["g4dn.xlarge"]}]
    )["InstanceTypeOfferings"]
    assert len(resources["subnets"]) == len(offered)
    (queue,) = batch.describe_job_queues()["jobQueues"]
    reasons = {action["reason"] for action in queue["jobStateTimeLimitActions"]}
    assert reasons == set(batch_sweep.STUCK_REASONS)
    (definition,) = batch.describe_job_definitions(status="ACTIVE")["jobDefinitions"]
    needs = {one["type"]: one["value"] for one in definition["containerProperties"]["resourceRequirements"]}
    assert needs == {"VCPU": "4", "MEMORY": "12000", "GPU": "1"}
    asked = {one["name"]: one["value"] for one in definition["containerProperties"]["environment"]}
    assert asked["MNIST_DEVICE"] == "cuda"  # a GPU that is paid for and not used is an error of the program
    assert definition["timeout"]["attemptDurationSeconds"] == 7200
    assert definition["retryStrategy"]["evaluateOnExit"][0] == {
        "onStatusReason": "Host EC2*",
        "action": "RETRY",
    }
    (group,) = cloud.client("ec2").describe_security_groups(
        GroupIds=[lab(cloud).resources["security-group"]]
    )["SecurityGroups"]
    assert group["IpPermissions"] == []


def test_spot_and_cpu_take_other_machines(cloud: Cloud) -> None:
    batch_sweep.up(lab(cloud), cpu=True, spot=True)
    (environment,) = cloud.client("batch").describe_compute_environments()["computeEnvironments"]
    resources = environment["computeResources"]
    assert (resources["type"], resources["allocationStrategy"]) == ("SPOT", "SPOT_PRICE_CAPACITY_OPTIMIZED")
    assert resources["instanceTypes"] == ["c5.large", "m5.large"]
    assert resources["ec2Configuration"][0]["imageType"] == "ECS_AL2023"
    needs = batch_jobs.definition(lab(cloud))["containerProperties"]["resourceRequirements"]
    assert {one["type"] for one in needs} == {"VCPU", "MEMORY"}
    environment = batch_jobs.definition(lab(cloud))["containerProperties"]["environment"]
    assert {"name": "MNIST_DEVICE", "value": "cpu"} in environment


def test_a_lab_that_stands_does_not_change_its_machines(cloud: Cloud, changes: list[Call]) -> None:
    batch_sweep.up(lab(cloud))
    changes.clear()
    for other in ({"cpu": True}, {"spot": True}):
        with pytest.raises(LedgerError, match="stands with machines of type g4dn.xlarge") as stopped:
            batch_sweep.up(lab(cloud), **other)
        assert stopped.value.fix.startswith("python -m awslabs.batch_sweep up    #")
    assert changes == []


def test_an_up_with_other_options_names_those_that_the_lab_was_built_with(cloud: Cloud) -> None:
    built = batch_sweep.up(lab(cloud), cpu=True, spot=True)
    for other in ({}, {"role_arn": "arn:1", "instance_profile_arn": "arn:2"}):
        with pytest.raises(LedgerError, match="The lab stands with") as stopped:
            batch_sweep.up(lab(cloud), **other)
        assert stopped.value.fix.startswith("python -m awslabs.batch_sweep up --cpu --spot    #")
    assert batch_sweep.up(lab(cloud), cpu=True, spot=True) == built
    sweep.submit(lab(cloud), Cell(0.1, 0.5), DIGITS)
    cloud.client("batch").update_job_queue(jobQueue=built.job_queue, state="DISABLED")
    assert "up --cpu --spot    # puts it to use again" in why(lab(cloud)).fix


def test_each_role_allows_what_it_needs_and_no_more(cloud: Cloud) -> None:
    ledger = lab(cloud)
    batch_sweep.up(ledger)
    bucket = f"arn:aws:s3:::{ledger.resources['bucket']}"
    document = cloud.client("iam").get_role_policy(
        RoleName=f"{ledger.prefix}-job-role", PolicyName="what-it-needs"
    )["PolicyDocument"]
    allowed = {(one["Resource"], action) for one in document["Statement"] for action in one["Action"]}
    assert allowed == {
        (bucket, "s3:ListBucket"),
        (f"{bucket}/cells/*", "s3:GetObject"),
        (f"{bucket}/results/*", "s3:GetObject"),
        (f"{bucket}/results/*", "s3:PutObject"),
        (f"{bucket}/metrics_lr*.csv", "s3:PutObject"),
    }
    document = cloud.client("iam").get_role_policy(
        RoleName=f"{ledger.prefix}-machine-role", PolicyName="what-it-needs"
    )["PolicyDocument"]
    for_all = [one["Action"] for one in document["Statement"] if one["Resource"] == "*"]
    assert not [action for actions in for_all for action in actions if action.startswith(("s3:", "iam:"))]


def test_roles_that_are_given_are_used_and_stay(cloud: Cloud) -> None:
    iam = cloud.client("iam")
    trust = json.dumps(
        {
            "Version": "2012-10-17",
            "Statement": [
                {
                    "Effect": "Allow",
                    "Principal": {"Service": ["ecs-tasks.amazonaws.com", "ec2.amazonaws.com"]},
                    "Action": "sts:AssumeRole",
                }
            ],
        }
    )
    role_arn = iam.create_role(RoleName="classroom", AssumeRolePolicyDocument=trust)["Role"]["Arn"]
    profile = iam.create_instance_profile(InstanceProfileName="classroom")["InstanceProfile"]["Arn"]
    iam.add_role_to_instance_profile(InstanceProfileName="classroom", RoleName="classroom")
    with pytest.raises(LabError, match="together"):
        batch_sweep.up(lab(cloud), role_arn=role_arn)
    batch_sweep.up(lab(cloud), role_arn=role_arn, instance_profile_arn=profile)
    assert not [name for name in lab(cloud).resources if "role" in name or "profile" in name]
    with pytest.raises(LedgerError, match="given by --role-arn"):
        batch_sweep.up(lab(cloud))
    batch_sweep.down(lab(cloud))
    assert iam.get_instance_profile(InstanceProfileName="classroom")["InstanceProfile"]["Roles"]


def test_up_goes_on_after_a_down_that_got_as_far_as_the_job_role(cloud: Cloud) -> None:
    built, ledger = batch_sweep.up(lab(cloud)), lab(cloud)
    for row in reversed(ledger.journal.open_rows()):
        if row.name.startswith("job-") and row.name != "job-queue":
            ledger._delete(row)
    assert "job-role" not in lab(cloud).resources
    assert batch_sweep.up(lab(cloud)).job_queue == built.job_queue


def test_a_role_that_is_not_known_yet_makes_the_environment_invalid_and_up_mends_it(
    cloud: Cloud, changes: list[Call], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(weather, "current", weather.Weather(slow_states=0.05))
    monkeypatch.setattr(identities, "READY_S", 1e9)  # until `up` mends it; CREATING takes a second

    def mending(call: wire.Call) -> Any:
        if call.operation == "UpdateComputeEnvironment":
            monkeypatch.setattr(identities, "READY_S", 0.0)
        return call.send()

    wire.around(monkeypatch, mending)
    batch_sweep.up(lab(cloud))
    assert "batch:UpdateComputeEnvironment" in [call for call, _ in changes]
    (environment,) = cloud.client("batch").describe_compute_environments()["computeEnvironments"]
    assert (environment["status"], environment["state"]) == ("VALID", "ENABLED")


def test_an_environment_that_stays_invalid_is_reported_with_its_reason(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    reason = "CLIENT_ERROR - Not authorized to perform sts:AssumeRole"
    shown = {"status": "INVALID", "state": "ENABLED", "statusReason": reason, "computeEnvironmentArn": "arn"}
    monkeypatch.setattr(batch_sweep, "describe_environment", lambda *_: shown)
    monkeypatch.setattr(batch_sweep, "MEND_S", 0.0)
    with pytest.raises(LabError, match="INVALID") as stopped:
        batch_sweep.wait_for_environment(lab(cloud), "machines")
    assert reason in stopped.value.why
    assert "down" in stopped.value.fix


def test_up_makes_anew_what_was_deleted_by_hand_and_puts_to_use_what_was_disabled(cloud: Cloud) -> None:
    built = batch_sweep.up(lab(cloud))
    batch = cloud.client("batch")
    for _ in range(2):  # the queue first, then the environment
        batch.update_job_queue(jobQueue=built.job_queue, state="DISABLED")
        batch.update_compute_environment(computeEnvironment=built.compute_environment, state="DISABLED")
        batch.delete_job_queue(jobQueue=built.job_queue)
        batch.delete_compute_environment(computeEnvironment=built.compute_environment)
        with pytest.raises(LabError, match="was deleted"):
            sweep.submit(lab(cloud), Cell(0.1, 0.5), DIGITS)
        assert batch_sweep.up(lab(cloud)).compute_environment == built.compute_environment
    batch.update_job_queue(jobQueue=built.job_queue, state="DISABLED")
    batch_sweep.up(lab(cloud))
    assert batch.describe_job_queues()["jobQueues"][0]["state"] == "ENABLED"


def test_a_bucket_deleted_by_hand_is_made_anew_and_jobs_may_write_to_the_new_one(cloud: Cloud) -> None:
    old = batch_sweep.up(lab(cloud))
    cloud.client("s3").delete_bucket(Bucket=old.bucket_name)
    new = batch_sweep.up(lab(cloud))
    assert new.bucket_name != old.bucket_name
    document = cloud.client("iam").get_role_policy(
        RoleName=f"{lab(cloud).prefix}-job-role", PolicyName="what-it-needs"
    )["PolicyDocument"]
    assert new.bucket_name in str(document)
    environment = batch_jobs.definition(lab(cloud))["containerProperties"]["environment"]
    assert {"name": "BUCKET_NAME", "value": new.bucket_name} in environment
    assert old.bucket_name not in str(document)
    sweep.sweep(lab(cloud), sweep.grid([0.1, 0.01], [0.5]), DIGITS)
    batch_sweep.down(lab(cloud))
    assert everything_ours(cloud) == []


def test_a_changed_image_gets_a_definition_of_its_own_and_down_takes_all(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = batch_sweep.up(lab(cloud))
    assert batch_sweep.image(lab(cloud)) == before
    with monkeypatch.context() as changed:
        changed.setattr(images.Recipe, "tag", "another")
        after = batch_sweep.image(lab(cloud))
        assert after.job_definition != before.job_definition
        properties = batch_jobs.definition(lab(cloud))["containerProperties"]
        assert properties["image"].endswith(":another")
    batch_sweep.image(lab(cloud))  # the change is taken back
    properties = batch_jobs.definition(lab(cloud))["containerProperties"]
    assert not properties["image"].endswith(":another")
    batch_sweep.down(lab(cloud))
    assert cloud.client("batch").describe_job_definitions(status="ACTIVE")["jobDefinitions"] == []


# -- Before anything is built ------------------------------------------------------------------------------


def test_without_quota_nothing_is_built_and_a_way_without_gpu_is_named(
    cloud: Cloud, changes: list[Call]
) -> None:
    quotas.granted[cloud.identity["account"], cloud.region, G_AND_VT] = 0
    with pytest.raises(AwsError) as refused:
        batch_sweep.up(lab(cloud))
    assert refused.value.code == "VcpuLimitExceeded"
    assert "up --sandbox --cpu" in refused.value.fix or "up --cpu" in refused.value.fix
    assert changes == []
    batch_sweep.up(lab(cloud), cpu=True)


# -- Cells -------------------------------------------------------------------------------------------------


def test_an_array_counts_from_its_submission_and_a_job_from_its_start(cloud: Cloud) -> None:
    times = {"createdAt": 1_000, "startedAt": 61_000, "stoppedAt": 91_000}
    shown = {"jobId": "1", "jobName": "sweep-1", "status": "SUCCEEDED", **times}
    array = {"size": 9, "statusSummary": {"SUCCEEDED": 9}}
    assert batch_jobs.as_job(lab(cloud), shown).seconds == 30
    assert batch_jobs.as_job(lab(cloud), {**shown, "arrayProperties": {"index": 3}}).seconds == 30
    assert batch_jobs.as_job(lab(cloud), {**shown, "arrayProperties": array}).seconds == 90


def test_a_grid_is_every_pair_once() -> None:
    cells = sweep.grid([0.1, 0.01, 0.1], [0.5, 0.05])
    assert cells == [Cell(0.1, 0.5), Cell(0.1, 0.05), Cell(0.01, 0.5), Cell(0.01, 0.05)]
    assert cells[2].name == "metrics_lr0.0100_m0.5000.csv"
    assert sweep.grid([0.01], [-0.0])[0].name == "metrics_lr0.0100_m0.0000.csv"


@pytest.mark.parametrize(
    ("lr", "momentum", "says"),
    [
        (0, 0.5, "trains nothing"),
        (-0.1, 0.5, "trains nothing"),
        (float("nan"), 0.5, "trains nothing"),
        (0.1, 1.0, "trains nothing"),
        (0.00005, 0.5, "more than 4 digits"),
        (0.1, 0.12345, "more than 4 digits"),
    ],
)
def test_a_value_that_trains_nothing_or_shares_a_file_is_refused(
    lr: float, momentum: float, says: str
) -> None:
    with pytest.raises(LabError, match=says):
        sweep.grid([lr], [momentum])


def test_cells_by_chance_are_the_same_for_the_same_seed_and_stay_within_their_bounds() -> None:
    cells = sweep.scattered(50, (0.1, 0.001), (0.0, 0.9), seed=3)
    assert cells == sweep.scattered(50, (0.001, 0.1), (0.9, 0.0), seed=3)
    assert cells != sweep.scattered(50, (0.001, 0.1), (0.9, 0.0), seed=4)
    assert len(set(cells)) == 50
    assert all(0.001 <= cell.lr <= 0.1 and 0 <= cell.momentum <= 0.9 for cell in cells)
    assert 15 <= sum(cell.lr < 0.01 for cell in cells) <= 35  # evenly over the magnitudes
    with pytest.raises(LabError, match="fewer than"):
        sweep.scattered(50, (0.001, 0.001), (0.5, 0.5001))


def test_a_sweep_submits_one_array_of_what_has_no_results_yet(cloud: Cloud, changes: list[Call]) -> None:
    ledger = lab(cloud)
    batch_sweep.up(ledger)
    cells = sweep.grid([0.1, 0.01, 0.001], [0.5, 0.1])
    write(ledger, DIGITS, cells[1], [1.0], [0.5])
    write(ledger, Series("digits", 20, 5), cells[0], [1.0], [0.5])  # another series: does not count
    changes.clear()
    begun = sweep.sweep(ledger, cells, DIGITS)
    assert (begun.cells, begun.skipped, begun.jobs, len(begun.job_ids)) == (6, 1, 5, 1)
    (request,) = [request for call, request in changes if call == "batch:SubmitJob"]
    assert request["arrayProperties"] == {"size": 5}
    command = request["containerOverrides"]["command"]
    key = command[command.index("--cells") + 1].removeprefix(f"s3://{ledger.resources['bucket']}/")
    listed = json.loads(results.content(ledger, key))
    assert [Cell(one["lr"], one["momentum"]) for one in listed] == [cells[0], *cells[2:]]
    assert command[command.index("--out") + 1].endswith(f"/{DIGITS.prefix}")


def test_a_sweep_of_which_all_is_there_submits_nothing_unless_again(cloud: Cloud) -> None:
    ledger = lab(cloud)
    batch_sweep.up(ledger)
    write(ledger, DIGITS, Cell(0.1, 0.5), [1.0], [0.5])
    assert sweep.sweep(ledger, [Cell(0.1, 0.5)], DIGITS).job_ids == []
    assert sweep.submit(ledger, Cell(0.1, 0.5), DIGITS) is None
    assert len(sweep.sweep(ledger, [Cell(0.1, 0.5)], DIGITS, again=True).job_ids) == 1


def test_cells_that_jobs_are_about_to_train_are_left_to_them(cloud: Cloud, changes: list[Call]) -> None:
    ledger = lab(cloud)
    batch_sweep.up(ledger)
    first = sweep.sweep(ledger, sweep.grid([0.1, 0.01], [0.5, 0.1]), DIGITS, pack=2)
    alone = sweep.submit(ledger, Cell(0.001, 0.1), DIGITS)
    assert sweep.submit(ledger, Cell(0.001, 0.1), DIGITS) == alone
    assert sweep.submit(ledger, Cell(0.001, 0.1), DIGITS, final=True) != alone
    other = sweep.sweep(ledger, [Cell(0.1, 0.5)], Series("digits", 20, 5))
    assert other.jobs == 1
    changes.clear()
    second = sweep.sweep(lab(cloud), sweep.grid([0.1, 0.01, 0.001], [0.5, 0.1]), DIGITS)
    assert (second.skipped, second.under_way, second.jobs) == (0, 5, 1)
    assert set(second.job_ids[:-1]) == {*first.job_ids, alone}
    (request,) = [request for call, request in changes if call == "batch:SubmitJob"]
    assert "arrayProperties" not in request
    batch_jobs.cancel(ledger)
    assert sweep.sweep(lab(cloud), sweep.grid([0.1, 0.01, 0.001], [0.5, 0.1]), DIGITS).jobs == 6


def test_of_two_sweeps_at_once_the_second_leaves_all_to_the_first(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch_sweep.up(lab(cloud))
    cells, look, seconds = sweep.grid([0.1, 0.01], [0.5]), sweep.under_way, list[Future]()
    with ThreadPoolExecutor(1) as other_terminal:

        def meanwhile(ledger: Ledger, series: Series) -> dict[str, set[str]]:
            found = look(ledger, series)
            if not seconds:
                seconds.append(other_terminal.submit(sweep.sweep, lab(cloud), cells, series))
                wait(seconds, timeout=1.0)  # it would be through by then, if it did not wait
            return found

        monkeypatch.setattr(sweep, "under_way", meanwhile)
        first = sweep.sweep(lab(cloud), cells, DIGITS)
        second = seconds[0].result()
    assert (first.jobs, second.jobs) == (2, 0)
    assert second.job_ids == first.job_ids


def test_jobs_whose_list_of_cells_was_deleted_are_not_counted_on(cloud: Cloud) -> None:
    ledger = lab(cloud)
    batch_sweep.up(ledger)
    cells = sweep.grid([0.1, 0.01], [0.5])
    sweep.sweep(ledger, cells, DIGITS)
    s3, bucket = cloud.client("s3"), ledger.resources["bucket"]
    for one in s3.list_objects_v2(Bucket=bucket, Prefix="cells/")["Contents"]:
        s3.delete_object(Bucket=bucket, Key=one["Key"])
    assert sweep.sweep(ledger, cells, DIGITS).jobs == 2


def test_ctrl_c_ends_the_waiting_and_says_that_the_jobs_go_on(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    ledger = lab(cloud)
    batch_sweep.up(ledger)
    job_id = sweep.submit(ledger, Cell(0.1, 0.5), DIGITS)
    assert job_id

    def interrupted(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as waiting:
        waiting.setattr(batch_jobs, "described", interrupted)
        with pytest.raises(KeyboardInterrupt):
            following.follow(ledger, [job_id])
    assert f"the jobs go on without you; to end them: {ledger.command('cancel')}" in caplog.text
    assert [job.ended for job in batch_jobs.jobs(ledger)] == [False]


def test_a_state_has_a_curve_once_a_job_was_in_it(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    ledger = lab(cloud)
    batch_sweep.up(ledger)
    job_id = sweep.submit(ledger, Cell(0.1, 0.5), DIGITS)
    assert job_id
    (shown,) = batch_jobs.described(ledger, [job_id])
    states, points = iter(["RUNNABLE", "RUNNING", "SUCCEEDED"]), list[tuple[str, int]]()

    @contextlib.contextmanager
    def plotting(*_: str) -> Iterator[Callable[[str, float, int], None]]:
        yield lambda series, x, y: points.append((series, y))

    monkeypatch.setattr(batch_jobs, "described", lambda *_: [{**shown, "status": next(states)}])
    monkeypatch.setattr(following, "plotting", plotting)
    monkeypatch.setattr(following, "FIRST_S", 0)
    following.follow(ledger, [job_id])
    first, second, third = {"RUNNABLE": 1}, {"RUNNABLE": 0, "RUNNING": 1}, {"RUNNABLE": 0, "RUNNING": 0}
    assert points[:1] == [*first.items()]
    assert dict(points[1:3]) == second
    assert dict(points[3:]) == {**third, "SUCCEEDED": 1}


def test_what_a_failed_child_of_an_array_should_have_trained_is_missing(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger = lab(cloud)
    batch_sweep.up(ledger)
    cells = sweep.grid([0.1, 0.01], [0.5, 0.1, 0.05])
    sweep.sweep(ledger, cells, DIGITS, pack=2)
    monkeypatch.setattr(batch_jobs, "failed_indices", lambda *_: {1})
    (files,) = sweep.under_way(ledger, DIGITS).values()
    assert files == {cell.name for cell in (*cells[:2], *cells[4:])}


@pytest.mark.live
def test_packs_single_jobs_and_sweeps_beyond_the_largest_array(
    cloud: Cloud, changes: list[Call], monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger = lab(cloud)
    batch_sweep.up(ledger)
    cells = sweep.grid([0.1, 0.01, 0.001], [0.5, 0.1, 0.05])

    def sizes(**options: Any) -> list[int]:
        batch_jobs.cancel(ledger)
        changes.clear()
        sweep.sweep(ledger, cells, DIGITS, **options)
        requests = [request for call, request in changes if call == "batch:SubmitJob"]
        return [request.get("arrayProperties", {}).get("size", 1) for request in requests]

    assert sizes(pack=4) == [3]
    assert sizes(pack=9) == [1]
    assert sizes(single=True) == [1] * 9
    monkeypatch.setattr(sweep, "LARGEST_ARRAY", 2)
    assert sizes(pack=2) == [2, 2, 1]


@pytest.mark.parametrize("epochs", [0, -1, 10_001])
def test_epochs_that_are_no_training_are_refused(cloud: Cloud, epochs: int) -> None:
    with pytest.raises(LabError, match="no training"):
        sweep.series_of(lab(cloud), epochs=epochs)


def test_a_job_whose_image_was_never_pushed_is_not_submitted(cloud: Cloud, changes: list[Call]) -> None:
    ledger = lab(cloud)
    batch_sweep.up(ledger)
    tag = batch_jobs.definition_row(ledger).name.removeprefix(batch_jobs.DEFINITION)
    repository = ledger.resources["repository"]
    cloud.client("ecr").batch_delete_image(repositoryName=repository, imageIds=[{"imageTag": tag}])
    changes.clear()
    with pytest.raises(LabError, match="is not in ECR") as stopped:
        sweep.sweep(ledger, [Cell(0.1, 0.5)], DIGITS)
    assert stopped.value.fix.endswith("image")
    assert "batch:SubmitJob" not in [call for call, _ in changes]


def test_down_ends_jobs_first(cloud: Cloud, changes: list[Call]) -> None:
    ledger = lab(cloud)
    batch_sweep.up(ledger)
    sweep.sweep(ledger, sweep.grid([0.1, 0.01], [0.5]), DIGITS)
    changes.clear()
    batch_sweep.down(lab(cloud))
    order = [name.partition(":")[2] for name in names(changes)]
    assert order.index("TerminateJob") < order.index("DeleteJobQueue")
    assert lab(cloud).journal.open_rows() == []


# -- Results -----------------------------------------------------------------------------------------------


def test_a_cell_is_judged_by_the_epoch_of_its_smallest_loss_and_not_by_its_best_accuracy() -> None:
    losses, accuracies = [0.9, 0.3, 0.5, float("nan")], [0.5, 0.8, 0.9, 0.1]
    epochs = [
        {"train_loss": 0.1, "val_loss": loss, "val_accuracy": accuracy}
        for loss, accuracy in zip(losses, accuracies, strict=True)
    ]
    judged = results.judged(Cell(0.1, 0.5), epochs)
    assert (judged.best_epoch, judged.epochs, judged.accuracy) == (2, 4, 0.8)


def test_results_are_a_table_best_first_and_name_what_is_broken(cloud: Cloud) -> None:
    ledger = lab(cloud)
    batch_sweep.up(ledger)
    with pytest.raises(LabError, match="no results yet"):
        results.results(ledger)
    write(ledger, DIGITS, Cell(0.1, 0.5), [0.9, 0.3], [0.5, 0.8])
    write(ledger, DIGITS, Cell(0.01, 0.5), [0.9, 0.2], [0.5, 0.9])
    s3, bucket = cloud.client("s3"), ledger.resources["bucket"]
    s3.put_object(Bucket=bucket, Key=f"{DIGITS.prefix}/metrics_lr0.0010_m0.5000.csv", Body=b"half a fi")
    s3.put_object(Bucket=bucket, Key=f"{DIGITS.prefix}/holiday.jpg", Body=b"\xff\xd8")
    deep = f"{DIGITS.prefix}/{Cell(0.001, 0.9).final_name}"
    s3.put_object(Bucket=bucket, Key=deep, Body=b"[" * 100_000)
    cold = f"{DIGITS.prefix}/{Cell(0.001, 0.8).name}"
    s3.put_object(Bucket=bucket, Key=cold, Body=b"archived", StorageClass="GLACIER")
    s3.put_object(
        Bucket=bucket, Key=f"results/digits-epochs{'9' * 900}-patience5/{Cell(1, 0).name}", Body=b""
    )
    s3.put_object(Bucket=bucket, Key=f"{DIGITS.prefix}/metrics_lr0.0010_m0.1000.csv", Body=b"x" * 200_000)
    s3.put_object(Bucket=bucket, Key=f"{DIGITS.prefix}/", Body=b"")  # as the console makes a folder
    final = json.dumps({"test_accuracy": 0.91, "test_loss": 0.3, "epoch": 2}).encode()
    s3.put_object(Bucket=bucket, Key=f"{DIGITS.prefix}/{Cell(0.01, 0.5).final_name}", Body=final)
    found = results.results(ledger)
    assert [(one.lr, one.accuracy) for one in found.cells] == [(0.01, 0.9), (0.1, 0.8)]
    deep, cold = (key.rpartition("/")[2] for key in (deep, cold))
    broken = [deep, "holiday.jpg", "metrics_lr0.0010_m0.1000.csv", "metrics_lr0.0010_m0.5000.csv", cold]
    assert found.broken == broken
    assert found.test_accuracy == 0.91
    assert "0.91" in found._repr_html_()
    assert results.again(ledger, found.series, "holiday.jpg") == ""
    for name in found.broken[2:]:
        assert " submit --lr 0.001 --momentum 0." in results.again(ledger, found.series, name)
    for cell in (Cell(0.1, 0.5), Cell(0.01, 0.5)):
        s3.delete_object(Bucket=bucket, Key=f"{DIGITS.prefix}/{cell.name}")
    with pytest.raises(LabError, match="has no results") as stopped:
        results.results(ledger, DIGITS)
    assert stopped.value.fix == results.again(ledger, found.series, found.broken[0])


def test_the_place_and_not_the_size_of_a_number_tells_percent(cloud: Cloud, tmp_path: Path) -> None:
    """One percent at the bucket's root, all of them under our prefix: both files say 1."""
    ledger, cell = lab(cloud), Cell(0.1, 0.5)
    batch_sweep.up(ledger)
    write(ledger, DIGITS, cell, [0.2], [1.0])
    assert results.newest_series(ledger) == DIGITS
    s3, bucket = ledger.client("s3"), ledger.resources["bucket"]
    text = "train_loss,val_loss,val_accuracy\n0.5,0.2,1.0\n"
    s3.put_object(Bucket=bucket, Key=cell.name, Body=text.encode(), Metadata={"device": "Tesla T4"})
    s3.put_object(Bucket=bucket, Key="notes.txt", Body=b"nothing of a cell")
    assert results.results(ledger, DIGITS).best.accuracy == 1.0
    ours = results.results(ledger, results.TEXTBOOK)
    assert (ours.best.accuracy, ours.best.device, ours.broken) == (0.01, "Tesla T4", [])
    assert "<td>Tesla T4</td>" in ours._repr_html_()
    assert results.bring_home(ledger, tmp_path) == "2 files of results"
    assert (tmp_path / "textbook" / cell.name).read_text() == text
    assert (tmp_path / DIGITS.name / cell.name).is_file()


def test_results_come_home_and_nothing_outside_of_their_folder(cloud: Cloud, tmp_path: Path) -> None:
    ledger = lab(cloud)
    batch_sweep.up(ledger)
    assert results.bring_home(ledger, tmp_path / "home") == ""
    write(ledger, DIGITS, Cell(0.1, 0.5), [0.9], [0.5])
    cloud.client("s3").put_object(Bucket=ledger.resources["bucket"], Key="results/../../outside", Body=b"x")
    for folder in ("results/", "results/mine/"):  # as the console makes them
        cloud.client("s3").put_object(Bucket=ledger.resources["bucket"], Key=folder, Body=b"")
    for key in ("mine", "mine/below", "x" * 300):  # which a disk does not take
        cloud.client("s3").put_object(Bucket=ledger.resources["bucket"], Key=f"results/{key}", Body=b"x")
    found = results.bring_home(ledger, tmp_path / "home")
    assert found == "2 files of results"  # one of the two whose names cannot both be
    assert (tmp_path / "home" / DIGITS.name / Cell(0.1, 0.5).name).read_text().startswith("train_loss")
    assert not (tmp_path / "outside").exists()
    (tmp_path / "file").write_text("")
    with pytest.raises(LabError, match="nothing was deleted") as stopped:
        results.bring_home(ledger, tmp_path / "file")
    assert "--discard" in stopped.value.fix
    cloud.client("s3").delete_object(Bucket=ledger.resources["bucket"], Key="results/../../outside")
    batch_sweep.down(ledger)
    assert results.bring_home(ledger, tmp_path / "home") == ""


@pytest.mark.ml
def test_the_picture_shows_each_cell_where_it_belongs(cloud: Cloud, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="the picture needs matplotlib: pip install -e '.[ml]'")
    from matplotlib.figure import Figure

    trained = [
        results.Trained(lr, momentum, 1, 1, 1 - lr - momentum, lr + momentum / 10)
        for lr in (0.1, 0.01)
        for momentum in (0.5, 0.1)
    ]
    figure = Figure()
    axes = figure.subplots()
    results.draw_grid(figure, axes, trained, [0.01, 0.1], [0.1, 0.5])
    texts = {text.get_position(): text.get_text() for text in axes.texts}
    assert texts == {(0, 0): "2.0 %", (1, 0): "11.0 %", (0, 1): "6.0 %", (1, 1): "15.0 %"}
    assert [label.get_text() for label in axes.get_xticklabels()] == ["0.01", "0.1"]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["0.1", "0.5"]
    fields = axes.images[0].get_array()
    assert fields.tolist()[1][1] == pytest.approx(0.15)
    assert axes.patches[0].get_xy() == (0.5, 0.5)  # the frame is around the best


@pytest.mark.ml
def test_plot_writes_a_png_that_a_notebook_shows(cloud: Cloud, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="the picture needs matplotlib: pip install -e '.[ml]'")
    from matplotlib import image

    ledger = lab(cloud)
    batch_sweep.up(ledger)
    for number, cell in enumerate(sweep.grid([0.1, 0.01], [0.5, 0.1])):
        write(ledger, DIGITS, cell, [0.9, 0.3 + number], [0.5, 0.6 + number / 10])
    grid = results.plot(ledger, tmp_path / "grid.png")
    assert image.imread(io.BytesIO(grid.path.read_bytes())).shape[:2] == (540, 1560)
    assert 'src="data:image/png;base64,' in grid._repr_html_()
    other = Series("digits", 7, 5)
    for cell in sweep.scattered(5, (0.001, 0.1), (0, 0.9)):
        write(ledger, other, cell, [0.9], [0.5])
    assert results.plot(ledger, tmp_path / "points.png", other).path.stat().st_size > 10_000


# -- A job that stays RUNNABLE ---------------------------------------------------------------------------


@pytest.fixture
def waiting(cloud: Cloud) -> Ledger:
    """A lab with a job in it that waits, since the practice cloud has not looked yet."""
    ledger = lab(cloud)
    batch_sweep.up(ledger)
    sweep.submit(ledger, Cell(0.1, 0.5), DIGITS)
    return ledger


def why(ledger: Ledger) -> waiting_jobs.Why:
    return waiting_jobs.explain(ledger, batch_jobs.find(ledger))


def test_a_waiting_job_is_explained_by_its_first_cause(
    cloud: Cloud, waiting: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cause after cause is brought about, the last one first: each hides what comes after it."""
    ledger, ec2 = waiting, cloud.client("ec2")
    assert why(ledger).cause == "A machine is on its way."

    environment = batch_jobs.require_environment(ledger)
    environment = {**environment, "status": "INVALID", "statusReason": "CLIENT_ERROR - no role"}
    monkeypatch.setattr(batch_jobs, "require_environment", lambda ledger: environment)
    assert "INVALID" in why(ledger).cause
    assert "no role" in why(ledger).why

    subnet_id = environment["computeResources"]["subnets"][0]
    ec2.modify_subnet_attribute(SubnetId=subnet_id, MapPublicIpOnLaunch={"Value": False})
    assert "no public address" in why(ledger).cause
    assert subnet_id in why(ledger).fix

    asked = waiting_jobs.ask(ledger, batch_jobs.find(ledger))
    large = waiting_jobs.WaitingJob(**{**vars(asked), "memory_mib": 15_500})
    monkeypatch.setattr(waiting_jobs, "ask", lambda *_: large)
    assert "asks for more" in why(ledger).cause
    assert "15500 MiB" in why(ledger).why

    job = {**large.job, "statusReason": "CAPACITY:INSUFFICIENT_INSTANCE_CAPACITY - Service cannot fulfill"}
    full = waiting_jobs.WaitingJob(**{**vars(large), "job": job})
    monkeypatch.setattr(waiting_jobs, "ask", lambda *_: full)
    assert why(ledger).cause.startswith("AWS has no g4dn.xlarge free")

    quotas.granted[cloud.identity["account"], cloud.region, G_AND_VT] = 0
    assert "quota allows no g4dn.xlarge" in why(ledger).cause
    assert G_AND_VT in why(ledger).fix


@pytest.mark.live
def test_a_quota_that_is_used_up_is_told_with_its_numbers(cloud: Cloud, waiting: Ledger) -> None:
    account, region = cloud.identity["account"], cloud.region
    quotas.granted[account, region, G_AND_VT] = 4
    subnet_id = waiting.resources["subnet-a"]
    image_id = cloud.client("ec2").describe_images(Owners=["amazon"])["Images"][0]["ImageId"]
    if not batch_jobs.machines(waiting):
        cloud.client("ec2").run_instances(
            ImageId=image_id, InstanceType="g4dn.xlarge", MinCount=1, MaxCount=1, SubnetId=subnet_id
        )
    assert why(waiting).cause == "The account's quota is used up."
    assert "4 of the 4 vCPUs" in why(waiting).why


def test_a_route_that_is_missing_is_found(cloud: Cloud, waiting: Ledger) -> None:
    ec2 = cloud.client("ec2")
    (table,) = ec2.describe_route_tables(Filters=[{"Name": "vpc-id", "Values": [waiting.resources["vpc"]]}])[
        "RouteTables"
    ]
    ec2.delete_route(RouteTableId=table["RouteTableId"], DestinationCidrBlock="0.0.0.0/0")
    assert "no road to the internet" in why(waiting).cause
    batch_sweep.up(waiting)
    assert why(waiting).cause == "A machine is on its way."


def test_only_a_job_that_waits_while_none_runs_is_stuck(cloud: Cloud) -> None:
    def job(status: str, **children: int) -> dict:
        array = {"arrayProperties": {"size": 3, "statusSummary": children}} if children else {}
        return {"jobId": "one", "status": status, **array}

    ledger = lab(cloud)
    assert waiting_jobs.stuck(ledger, [job("RUNNABLE")]) == "one"
    assert waiting_jobs.stuck(ledger, [job("RUNNABLE"), job("RUNNING")]) == ""
    assert waiting_jobs.stuck(ledger, [job("PENDING", RUNNABLE=3, FAILED=0)]) == "one:0"
    assert waiting_jobs.stuck(ledger, [job("PENDING", RUNNABLE=2, RUNNING=1)]) == ""
    assert waiting_jobs.stuck(ledger, [job("FAILED")]) == ""


# -- From a terminal -----------------------------------------------------------------------------------------


@pytest.fixture
def terminal(cloud: Cloud, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., Any]:
    """Run a command line; what it prints, and its exit code."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str) -> Any:
        return CliRunner().invoke(batch_sweep.command_line(), list(arguments))

    return run


@pytest.mark.ml
def test_a_picture_that_cannot_be_written_is_said(cloud: Cloud, terminal: Callable[..., Any]) -> None:
    pytest.importorskip("matplotlib", reason="the picture needs matplotlib: pip install -e '.[ml]'")
    batch_sweep.up(lab(cloud))
    write(lab(cloud), DIGITS, Cell(0.1, 0.5), [0.9, 0.3], [0.5, 0.8])
    nowhere = terminal("plot", "/dev/null/sweep.png")
    assert (nowhere.exit_code, "could not be written" in nowhere.stderr) == (1, True)


@pytest.mark.live
def test_up_results_and_down_from_a_terminal(
    terminal: Callable[..., Any], cloud: Cloud, tmp_path: Path
) -> None:
    up = terminal("up", "--json")
    assert up.exit_code == 0, up.output
    shown = json.loads(up.stdout)
    assert {
        "bucket_name",
        "compute_environment",
        "job_queue",
        "job_definition",
        "repository_uri",
        "usd_per_hour",
        "resources",
    } <= shown.keys()
    assert shown["usd_per_hour"] == 0
    assert "g4dn.xlarge costs about 0.5310 USD per hour" in up.stderr
    sent = json.loads(terminal("sweep", "--lr", "0.1,0.01", "--no-wait", "--json").stdout)
    assert (sent["cells"], sent["jobs"]) == (6, 6)
    write(lab(cloud), DIGITS, Cell(0.1, 0.5), [0.9, 0.3], [0.5, 0.8])
    assert json.loads(terminal("results", "--json").stdout)["cells"][0]["best_epoch"] == 2
    listed = json.loads(terminal("jobs", "--json").stdout)
    assert [job["name"] for job in listed["jobs"]] == ["sweep"]
    (job_id,) = (job["job_id"] for job in listed["jobs"])
    assert "There is no job" in terminal("logs", f"{job_id}:99").stderr
    write(lab(cloud), DIGITS, Cell(10, 0.9), [float("nan")], [0.1])
    text = terminal("results", "--json").stdout
    assert json.loads(text, parse_constant=pytest.fail)["cells"][1]["val_loss"] is None
    assert "is left out. python -m awslabs" not in terminal("results").stderr
    cloud.client("s3").put_object(
        Bucket=shown["bucket_name"], Key=f"{DIGITS.prefix}/{Cell(0.01, 0.9).name}", Body=b"x"
    )
    assert "is left out. python -m awslabs.batch_sweep submit --lr 0.01 " in terminal("results").stderr
    cancelled = json.loads(terminal("cancel", "--json").stdout)
    assert cancelled["job_ids"] == [listed["jobs"][0]["job_id"]]
    down = terminal("down")
    assert down.exit_code == 0, down.output
    assert "It cost about 0." in down.stderr
    assert (tmp_path / "awslabs-results/batch_sweep" / DIGITS.name / Cell(0.1, 0.5).name).exists()
    assert lab(cloud).resources == {}


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["sweep", "--lr", "0.1,zero"], "'zero' is no number; write 0.1,0.01,0.001."),
        (["sweep", "--epochs", "0"], "0 is not in the range"),
        (["submit", "--epochs", "0"], "0 is not in the range"),
        (["sweep", "--pack", "0"], "0 is not in the range"),
        (["results", "--series", "mine"], "'mine' is none"),
    ],
)
def test_bad_arguments_are_refused_with_a_sentence(
    terminal: Callable[..., Any], arguments: list[str], says: str
) -> None:
    result = terminal(*arguments)
    assert result.exit_code == 2
    assert says in result.output


@pytest.mark.live
def test_work_on_a_lab_that_does_not_stand_names_up(terminal: Callable[..., Any]) -> None:
    for verb in ("sweep", "submit", "jobs", "results", "plot", "logs", "cancel", "image"):
        result = terminal(verb)
        assert result.exit_code == 1, verb
        assert "awslabs.batch_sweep up" in result.output, verb
    status = terminal("status")
    assert status.exit_code == 0
    assert "does not stand" in status.stderr


def test_a_bucket_that_somebody_filled_is_counted_before_it_is_emptied(
    cloud: Cloud, caplog: pytest.LogCaptureFixture
) -> None:
    ledger = lab(cloud)
    batch_sweep.up(ledger)
    for number in range(3):
        cloud.client("s3").put_object(
            Bucket=ledger.resources["bucket"], Key=f"holiday{number}.jpg", Body=b"x"
        )
    with caplog.at_level(logging.WARNING):
        batch_sweep.down(ledger)
    assert "3 of 3 objects were not put there by a lab" in caplog.text
