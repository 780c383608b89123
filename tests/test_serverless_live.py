"""Chapter 5 in the practice cloud, where its functions run and its API answers."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from awslabs import sandbox, serverless
from awslabs.cloud import Cloud
from awslabs.ledger import Ledger
from awslabs.workload import tables
from awslabs.workload.serverless import buckets, dead_letters, functions, haiku

pytestmark = [pytest.mark.live, pytest.mark.usefixtures("answers_fit")]


@pytest.fixture(scope="module")
def ledger(run: sandbox.Run, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ledger]:
    """The lab, standing in it."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("AWSLABS_HOME", str(tmp_path_factory.mktemp("home")))
        ledger = Ledger(Cloud(environment=run.environment(region="us-east-1")), "serverless")
        serverless.up(ledger)
        yield ledger
        serverless.down(ledger)


def test_the_greeting_greets_and_says_what_it_costs(ledger: Ledger) -> None:
    result = functions.invoke(ledger, {"name": "Ada"})
    assert str(result.answer).endswith(", Ada!")
    assert not result.failed
    assert result.report.memory_mib == 128
    assert 2000 <= result.report.duration_ms <= result.report.billed_ms <= 10_000


def test_many_run_at_the_same_time_and_those_that_fail_become_dead_letters(ledger: Ledger) -> None:
    result = functions.invoke_many(ledger, 8, failing=2)
    assert (result.sent, result.finished) == (8, 8)
    assert result.most_at_once > 1
    assert result.picture
    deadline = time.monotonic() + 240
    while functions.dead_letters(ledger) < 2 and time.monotonic() < deadline:
        time.sleep(0.5)
    assert functions.dead_letters(ledger) == 2
    dead = dead_letters.read(ledger)
    assert sorted(one.event["name"] for one in dead) == ["number 0", "number 1"]
    assert {one.error for one in dead} == {"asked to fail"}
    assert {one.request_id for one in dead} <= set(result.request_ids)
    assert dead_letters.read(ledger, discard=True) == dead
    assert dead_letters.read(ledger) == []


def test_haiku_are_posted_liked_and_deleted_through_the_api(ledger: Ledger) -> None:
    api = haiku.Api(serverless.describe(ledger).api_url)
    posted = haiku.post(api, "芭蕉", "古池や", "蛙飛び込む", "水の音")
    assert haiku.like(api, posted["item_id"])["likes"] == 1
    assert haiku.newest(api)[0] == {**posted, "likes": 1}
    haiku.delete(api, posted["item_id"])
    assert posted["item_id"] not in [one["item_id"] for one in haiku.newest(api)]


def test_what_a_test_of_your_own_puts_into_the_table_is_listed_by_the_api(ledger: Ledger) -> None:
    """As the test of a textbook's API does: rows straight into the table, and then the list."""
    lab = serverless.describe(ledger)
    table, api = ledger.client("dynamodb"), haiku.Api(lab.api_url)
    kept = haiku.post(api, "芭蕉", "古池や", "蛙飛び込む", "水の音")
    for number in (1, 2):
        texts = {"username": "me", "first": "one", "second": "two", "third": "three"}
        item = {name: {"S": text} for name, text in texts.items()}
        item |= {"item_id": {"S": f"my id {number}"}, "likes": {"N": "0"}}
        item |= {"created_at": {"S": f"2036-01-01T00:00:0{number}"}}
        table.put_item(TableName=lab.haiku_table_name, Item=item)
    table.put_item(TableName=lab.haiku_table_name, Item={"item_id": {"S": "no haiku"}, "likes": {"N": "1.5"}})
    assert [one["item_id"] for one in haiku.newest(api)] == ["my id 2", "my id 1", kept["item_id"]]
    assert haiku.like(api, "my id 1")["likes"] == 1
    assert haiku.clear(api) == 3
    assert haiku.newest(api) == []


def test_a_new_account_posts_as_many_at_once_as_it_may_and_none_is_lost(
    run: sandbox.Run, ledger: Ledger
) -> None:
    bears = haiku.limits(ledger)
    assert bears == haiku.Limits(10.0, 10)
    api = haiku.Api(serverless.describe(ledger).api_url)
    run.weather(account="new")
    try:
        assert haiku.limits(ledger).at_once == 10
        assert len(haiku.post_many(api, 70, at_once=32)) == 70  # the stage's burst is 50
    finally:
        run.weather(account="old")
    assert haiku.clear(api) == 70


def test_load_by_scan_and_tune_leave_the_function_as_it_was(ledger: Ledger) -> None:
    client, name = ledger.client("lambda"), ledger.resources["list-haiku"]
    before = client.get_function_configuration(FunctionName=name)
    api = haiku.Api(serverless.describe(ledger).api_url)
    result = haiku.load(ledger, api, rate=5, seconds=1, read="scan")
    assert (result.requests, result.statuses) == (5, {"200": 5})
    (tuned,) = functions.tune(ledger, sizes=[256], times=3)
    assert (tuned.memory_mib, tuned.counted + tuned.outliers) == (256, 3)
    after = client.get_function_configuration(FunctionName=name)
    assert [after[key] for key in ("MemorySize", "Environment")] == [
        before[key] for key in ("MemorySize", "Environment")
    ]


def test_a_large_file_and_a_table_of_people_come_back_whole(ledger: Ledger, tmp_path: Path) -> None:
    local = tmp_path / "large"
    local.write_bytes(bytes(range(256)) * 40_000)  # 10 MB: sent in parts
    buckets.put(ledger, local)
    buckets.get(ledger, "large", tmp_path / "back")
    assert (tmp_path / "back").read_bytes() == local.read_bytes()
    tables.write(ledger, 120)
    assert tables.scan(ledger).count == 120
    assert tables.clear(ledger).count == 120


def test_values_of_all_kinds_come_back_as_they_were_put(ledger: Ledger) -> None:
    client, table = ledger.client("dynamodb"), ledger.resources["table"]
    item = {
        "item_id": {"S": "all kinds"},
        "text": {"S": "古池や"},
        "number": {"N": "-1.5"},
        "yes": {"BOOL": False},
        "nothing": {"NULL": True},
        "bytes": {"B": b"\x00\xff"},
        "texts": {"SS": ["a", "b"]},
        "numbers": {"NS": ["1", "2"]},
        "files": {"BS": [b"\x00", b"\x01"]},
        "list": {"L": [{"N": "1"}, {"B": b"\xff"}, {"M": {"S": {"S": "x"}}}]},
        "map": {"M": {"N": {"N": "1"}, "deeper": {"L": []}, "bytes": {"B": b"\x00"}}},
    }
    client.put_item(TableName=table, Item=item)
    assert client.get_item(TableName=table, Key={"item_id": item["item_id"]})["Item"] == item
    assert client.scan(TableName=table)["Items"] == [item]
    client.delete_item(TableName=table, Key={"item_id": item["item_id"]})
