"""cost: the meter against a bill that this test writes itself, from the practice cloud's own record.

The bill knows nothing of ledgers: each minute of a moved clock it looks at what runs, and adds a sixtieth of
its hourly price, which stands here once more.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any

import pytest
from bill_kit import ACCOUNT, REGION, Bill, opened
from moto.ec2 import ec2_backends
from test_kinds_batch import build, submit
from test_kinds_containers import cluster_and_definition, network
from wire import ALWAYS, Wire

from awslabs import cost, ec2, gpu
from awslabs.ledger import Ledger
from awslabs.sandbox import rules


def of_kind(ledger: Ledger, call: str) -> str:
    (row,) = [row for row in ledger.journal.rows if row.call == call]
    return row.id


def test_a_day_of_the_first_lab(bill: Bill) -> None:
    ledger = opened("ec2")
    ec2.up(ledger, allow_from="203.0.113.7/32")
    bill.pass_time(6 * 60)
    client, server = ledger.client("ec2"), of_kind(ledger, "ec2:RunInstances")
    client.stop_instances(InstanceIds=[server])  # in the console
    bill.pass_time(8 * 60)
    ledger.read_meter()
    assert ledger.usd_so_far == pytest.approx(bill.total, rel=0.05)
    client.start_instances(InstanceIds=[server])
    bill.pass_time(9 * 60)
    ledger.read_meter()
    assert ledger.usd_so_far == pytest.approx(bill.total, rel=0.05)
    ec2.down(ledger)
    ledger.read_meter()
    bill.pass_time(60)
    assert ledger.usd_so_far == pytest.approx(bill.total, rel=0.05)
    assert bill.usd["server"] == pytest.approx(15 * 0.0104, rel=0.01)


def test_a_server_that_its_own_timer_ended_costs_no_longer_than_that_whoever_looks_when(bill: Bill) -> None:
    ledger = opened("gpu")
    gpu.up(ledger, spot=True, ttl_minutes=180)
    bill.pass_time(180)
    (server,) = (
        one
        for reservation in ec2_backends[ACCOUNT][REGION].reservations.values()
        for one in reservation.instances
    )
    server.terminate()  # as its operating system would
    server._reason = ""
    bill.pass_time(21 * 60)  # the laptop was closed
    assert ledger.client("ec2").describe_instances()["Reservations"] == []
    ledger.read_meter()
    assert ledger.usd_so_far == pytest.approx(bill.total, rel=0.05)
    gpu.down(ledger)
    assert ledger.usd_so_far == pytest.approx(bill.total, rel=0.05)
    assert 180 / 60 * 0.2158 < bill.total < 180 / 60 * 0.24


def test_a_day_of_tasks_on_fargate(bill: Bill) -> None:
    ledger = opened("ecs_qa")
    subnet_id, group_id = network(ledger)
    cluster, definition = cluster_and_definition(ledger)
    where = {"subnets": [subnet_id], "securityGroups": [group_id], "assignPublicIp": "ENABLED"}
    ecs, arns = ledger.client("ecs"), []
    for minutes in (30, 2, 0, 300):
        arns.append(
            ledger.start(
                "task",
                ecs.run_task,
                cluster=cluster,
                taskDefinition=definition,
                launchType="FARGATE",
                networkConfiguration={"awsvpcConfiguration": where},
                overrides={"cpu": "1024", "memory": "4096"},
            )
        )
        bill.pass_time(minutes + 1)
        ecs.stop_task(cluster=cluster, task=arns[-1])
        bill.pass_time(5)
        ledger.read_meter()
    usd = bill.of_tasks(0.04048 + 4 * 0.004445 + 0.005)
    assert len(bill.tasks) == 4
    assert usd > 5.5 * 0.0633
    assert ledger.usd_so_far == pytest.approx(usd, rel=0.05)


def test_batchs_machines_come_and_go_and_are_counted(bill: Bill) -> None:
    ledger = opened("batch_sweep")
    queue, definition = build(ledger)
    bill.pass_time(2)  # until the queue is VALID
    for minutes in (45, 200):
        job_id = submit(ledger, queue, definition)
        bill.pass_time(minutes)
        ledger.read_meter()
        ledger.client("batch").terminate_job(jobId=job_id, reason="it is enough")
        bill.pass_time(30)
        ledger.read_meter()
        bill.pass_time(90)
    assert bill.usd["server"] > 4 * 0.085
    assert ledger.usd_so_far == pytest.approx(bill.total, rel=0.05)
    machines = [one for one in cost.lines(ledger.journal.header, ledger.journal.rows) if "Batch" in one.what]
    assert [one.what for one in machines] == ["c5.large of Batch"] * 2


def test_what_functions_were_billed_for_is_counted_before_their_logs_go(bill: Bill) -> None:
    ledger = opened("serverless")
    logs, group = ledger.client("logs"), f"/aws/lambda/{ledger.prefix}-list-haiku"
    ledger.create("list-haiku-logs", logs.create_log_group, logGroupName=group)
    logs.create_log_stream(logGroupName=group, logStreamName="one")
    lines = [
        f"REPORT RequestId: {billed}\tDuration: 9.20 ms\tBilled Duration: {billed} ms\t"
        "Memory Size: 512 MB\tMax Memory Used: 60 MB"
        for billed in (10, 250, 3000)
    ]
    events = [
        {"timestamp": int(rules.clock.now() * 1000), "message": line} for line in [*lines, "START of another"]
    ]
    logs.put_log_events(logGroupName=group, logStreamName="one", logEvents=events)
    ledger.read_meter()
    ledger.down()
    ledger.read_meter()
    used = {what: (count, usd) for what, count, usd in cost.used(ledger.journal.header)}
    assert used["GB-seconds of Lambda"] == (
        pytest.approx(3.26 / 2),
        pytest.approx(3.26 / 2 * 0.0000166667),
    )
    assert used["requests to Lambda"] == (3, pytest.approx(3 * 0.20 / 1e6))
    assert used["requests to API Gateway"][0] == 2 * 3
    assert used["reads of DynamoDB"][0] == 128 * 3
    assert used["bytes of logs"][0] >= sum(len(line) + 26 for line in lines)
    assert ledger.usd_so_far == pytest.approx(sum(usd for _, usd in used.values()))
    assert all(one.at_most for one in cost.lines(ledger.journal.header, ledger.journal.rows))


def test_a_file_of_an_older_version_reads_and_the_next_life_goes_on_counting(bill: Bill) -> None:
    ledger = opened("ec2")
    ec2.up(ledger, allow_from="203.0.113.7/32")
    bill.pass_time(60)
    path = ledger.journal.path
    text = "".join(line for line in path.read_text().splitlines(True) if not line.startswith(' "meter"'))
    assert '"meter"' not in text
    path.write_text(text)
    again = opened("ec2")
    again.read_meter()
    assert again.usd_so_far == pytest.approx(bill.total, rel=0.05)
    ec2.down(again)
    ec2.up(again, allow_from="203.0.113.7/32")
    bill.pass_time(60)
    assert again.usd_so_far == pytest.approx(bill.total, rel=0.05)
    assert 0 < again.journal.header["usd_before"] < again.usd_so_far


def test_a_price_that_is_not_known_is_a_question_mark_and_never_nothing(bill: Bill) -> None:
    ledger = opened("ec2")
    ec2.up(ledger, allow_from="203.0.113.7/32", instance_type="t3a.micro")
    bill.clock.sleep(3600)
    ledger.read_meter()
    (line,) = cost.lines(ledger.journal.header, ledger.journal.rows)
    assert (line.usd, ledger.usd_so_far) == (None, None)
    assert line.hours == pytest.approx(1.0, abs=0.05)


def test_what_lies_in_buckets_and_repositories_counts_as_at_most(bill: Bill) -> None:
    ledger = opened("batch_sweep")
    s3, ecr = ledger.client("s3"), ledger.client("ecr")
    bucket = ledger.create("bucket", s3.create_bucket, Bucket=f"{ledger.prefix}-data")
    repository = ledger.create("repository", ecr.create_repository, repositoryName=f"{ledger.prefix}-mnist")
    ledger.read_meter()
    asked = cost.lines(ledger.journal.header, ledger.journal.rows)[-1].what
    assert asked == "2 writes and listings of buckets"  # made, and listed
    for name in ("a", "b", "c"):
        s3.put_object(Bucket=bucket, Key=name, Body=b"x" * 400_000)
    kind = "application/vnd.docker.distribution.manifest.v2+json"
    parts = [upload(ecr, repository, blob) for blob in (b"{}", b"y" * 700_000)]
    manifest = {"schemaVersion": 2, "mediaType": kind, "config": parts[0], "layers": parts[1:]}
    ecr.put_image(repositoryName=repository, imageManifest=json.dumps(manifest), imageTag="one")
    ledger.read_meter()
    for name in ("a", "b"):
        s3.delete_object(Bucket=bucket, Key=name)
    bill.clock.sleep(1000 * 3600)
    ledger.read_meter()  # a third listing: less lies there, but nobody knows since when
    ledger.down()
    bill.clock.sleep(1000 * 3600)  # and this time it costs no more
    shown = {line.what: line for line in cost.lines(ledger.journal.header, ledger.journal.rows)}
    in_bucket = shown["1,200,000 bytes in the bucket"]
    assert in_bucket.at_most
    assert in_bucket.usd == pytest.approx(1_200_000 / 2**30 * 1000 / 730 * 0.023, rel=0.01)
    (images,) = [line for line in shown.values() if line.what.endswith("bytes in the repository")]
    assert images.usd == pytest.approx(700_000 / 2**30 * 1000 / 730 * 0.10, rel=0.01)
    puts = [line for line in shown.values() if line.what.endswith("writes and listings of buckets")]
    assert 7 <= sum(line.usd or 0.0 for line in puts) / 0.005 * 1000 < 12  # 1 bucket, 3 files, 3 readings


def upload(ecr: Any, repository: str, blob: bytes) -> dict[str, Any]:
    """A part of an image, in ECR; how a manifest names it."""
    upload_id = ecr.initiate_layer_upload(repositoryName=repository)["uploadId"]
    sent = {"repositoryName": repository, "uploadId": upload_id}
    ecr.upload_layer_part(partFirstByte=0, partLastByte=len(blob) - 1, layerPartBlob=blob, **sent)
    digest = f"sha256:{hashlib.sha256(blob).hexdigest()}"
    ecr.complete_layer_upload(layerDigests=[digest], **sent)
    return {"mediaType": "application/octet-stream", "size": len(blob), "digest": digest}


def test_a_bucket_that_is_too_large_to_count_is_a_question_mark(
    bill: Bill, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger = opened("serverless")
    s3 = ledger.client("s3")
    bucket = ledger.create("bucket", s3.create_bucket, Bucket=f"{ledger.prefix}-files")
    for number in range(1001):
        s3.put_object(Bucket=bucket, Key=f"{number}", Body=b"x")
    monkeypatch.setattr(cost, "LISTINGS", 1)
    ledger.read_meter()
    (line, _) = cost.lines(ledger.journal.header, ledger.journal.rows)
    assert (line.what, line.usd, ledger.usd_so_far) == ("? bytes in the bucket", None, None)


def test_whoever_may_not_look_into_a_bucket_still_sees_the_rest(
    bill: Bill, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger = opened("batch_sweep")
    s3, ecr = ledger.client("s3"), ledger.client("ecr")
    ledger.create("bucket", s3.create_bucket, Bucket=f"{ledger.prefix}-data")
    ledger.create("repository", ecr.create_repository, repositoryName=f"{ledger.prefix}-mnist")
    queue, definition = build(ledger)
    bill.pass_time(2)
    submit(ledger, queue, definition)
    bill.pass_time(45)
    aws = Wire(monkeypatch, times=ALWAYS)
    for operation, code in {
        "ListObjectsV2": "AccessDenied",
        "DescribeImages": "AccessDeniedException",
    }.items():
        aws.refuse(operation, code, 403)
    ledger.read_meter()
    assert ledger.usd_so_far == pytest.approx(bill.total, rel=0.05)
