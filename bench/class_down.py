"""The end of a class in one account: `awslabs class down` beside the time that AWS's own rate takes.

    python bench/class_down.py --labs 100 --apis 6

Each lab is a network with a table; so many of them have a REST API besides, of which AWS deletes one per
30 s: (APIs - 1) times that is the floor. On a practice cloud with 20 ms per call. It prints also after how
many seconds all was gone that waits for nobody's turn.
"""

from __future__ import annotations

import os
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import click

from awslabs import classroom, sandbox
from awslabs.cloud import Cloud
from awslabs.ledger import Ledger

EACH_S = 30.0  # source: "Amazon API Gateway quotas"


def build(cloud: Cloud, number: int, *, api: bool) -> None:
    """What one student has."""
    ledger = Ledger(cloud, "serverless", f"s{number}", owner=f"student-{number}")
    ec2, tables = ledger.client("ec2"), ledger.client("dynamodb")
    vpc_id = ledger.create("vpc", ec2.create_vpc, CidrBlock="10.10.0.0/23")
    ledger.create("subnet", ec2.create_subnet, VpcId=vpc_id, CidrBlock="10.10.0.0/24")
    ledger.create(
        "table",
        tables.create_table,
        TableName=f"{ledger.prefix}-table",
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        BillingMode="PAY_PER_REQUEST",
    )
    if api:
        gateway, regional = ledger.client("apigateway"), {"types": ["REGIONAL"]}
        ledger.create(
            "api", gateway.create_rest_api, name=f"{ledger.prefix}-api", endpointConfiguration=regional
        )


@click.command()
@click.option("--labs", default=100, show_default=True, help="Students, with a lab each.")
@click.option("--apis", default=6, show_default=True, help="How many of these labs have a REST API.")
def main(labs: int, apis: int) -> None:
    """Print both times and their ratio."""
    with tempfile.TemporaryDirectory() as name:
        os.environ["AWSLABS_HOME"] = str(Path(name) / "students")
        run = sandbox.start(latency_ms=20, slow_states=0.2)
        try:
            cloud = Cloud(environment=run.environment())
            with ThreadPoolExecutor(16) as pool:
                list(pool.map(lambda number: build(cloud, number, api=number < apis), range(labs)))
            os.environ["AWSLABS_HOME"] = str(Path(name) / "teacher")
            teacher = Cloud(environment=run.environment())
            names = [f"student-{number}" for number in range(labs)]
            owners = {
                name: classroom.Student(line, name, name, "", "", ()) for line, name in enumerate(names, 2)
            }
            seen = classroom.look([room := classroom.Room(teacher, owners)], [])
            assert (len(seen.labs), seen.unseen) == (labs, [])
            began, since = time.time(), time.monotonic()
            failures = classroom.take_down(seen.labs)
            seconds = time.monotonic() - since
            assert failures == []
            assert classroom.look([room], []).labs == []
            rest_s = max(
                call["at"] - began
                for call in run.calls()
                if call["operation"] in ("dynamodb:DeleteTable", "ec2:DeleteVpc")
            )
        finally:
            run.stop()
    floor_s = EACH_S * (apis - 1)
    print(
        f"{labs} labs, {apis} with a REST API: {seconds:.1f} s, the floor {floor_s:.0f} s: "
        f"{seconds / floor_s:.2f} times; the last deletion of all else was asked for after {rest_s:.1f} s"
    )


if __name__ == "__main__":
    main()
