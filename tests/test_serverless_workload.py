"""What one does with chapter 5: functions, tables, files, haiku; over moto, or answers made up here."""

from __future__ import annotations

import base64
import io
import json
import math
import re
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError
from click.testing import CliRunner
from moto import mock_aws
from rich.cells import cell_len

from awslabs import cli, screen, serverless, workload
from awslabs.cloud import Cloud
from awslabs.errors import AwsError, LabError, LedgerError, TimedOut
from awslabs.journal import Row
from awslabs.ledger import Ledger
from awslabs.tour import serverless as in_tour
from awslabs.web import Reply
from awslabs.workload import pictures, tables
from awslabs.workload.serverless import buckets, dead_letters, functions, haiku

LINE = (
    "REPORT RequestId: {id}\tDuration: {ms} ms\tBilled Duration: 13 ms\tMemory Size: 128 MB\t"
    "Max Memory Used: 40 MB\t{more}\n"
)


@pytest.fixture
def ledger() -> Iterator[Ledger]:
    """A ledger with a table and a bucket, made beside it."""
    with mock_aws():
        ledger = Ledger(Cloud(), "serverless")
        ledger.client("dynamodb").create_table(
            TableName="people",
            AttributeDefinitions=[{"AttributeName": "item_id", "AttributeType": "S"}],
            KeySchema=[{"AttributeName": "item_id", "KeyType": "HASH"}],
            BillingMode="PAY_PER_REQUEST",
        )
        ledger.client("s3").create_bucket(Bucket="files")
        rows = {"table": ("dynamodb:CreateTable", "people"), "bucket": ("s3:CreateBucket", "files")}
        for name, (call, id_) in rows.items():
            ledger.journal.add(Row(0, name, call, "token", state="standing", ids={"Name": id_}))
        yield ledger


def test_no_work_is_begun_on_what_goes_or_does_not_stand(ledger: Ledger) -> None:
    assert workload.standing(ledger, "table") == "people"
    with pytest.raises(LabError, match="The greeter does not stand"):
        workload.standing(ledger, "greeter")
    ledger.journal.last("table").state = "deleting"  # type: ignore[union-attr]
    with pytest.raises(LabError, match="is being taken down"):
        tables.scan(ledger)


# -- Tables ------------------------------------------------------------------------------------------------


def test_many_people_are_written_scanned_searched_and_cleared(ledger: Ledger) -> None:
    written = tables.write(ledger, 260)
    assert (written.count, written.calls) == (260, 11)
    found = tables.scan(ledger)
    assert (found.count, len(found.items)) == (260, 260)
    assert set(found.items[0]) == {"item_id", "first_name", "last_name", "age"}
    assert all(1 <= one["age"] <= 50 for one in found.items)
    young = tables.search_under_age(ledger, 20)
    assert {one["item_id"] for one in young.items} == {
        one["item_id"] for one in found.items if one["age"] < 20
    }
    assert young.scanned == 260
    assert young.capacity_units > 0
    assert tables.clear(ledger).count == 260
    assert tables.scan(ledger).count == 0


def test_one_person_is_put_and_got_again(ledger: Ledger) -> None:
    person = tables.put(ledger, "Ada", "Lovelace", 36)
    assert tables.get(ledger, person["item_id"]) == person
    assert tables.get(ledger, "nobody") is None


def test_items_of_somebody_elses_are_shown_with_all_they_have(
    ledger: Ledger, capsys: pytest.CaptureFixture[str]
) -> None:
    client = ledger.client("dynamodb")
    mixed = {
        "big": {"N": "1" * 38},
        "half": {"N": "0.5"},
        "none": {"NULL": True},
        "ages": {"NS": ["-1", "2"]},
    }
    client.put_item(TableName="people", Item={"item_id": {"S": "0"}, **mixed})
    client.put_item(TableName="people", Item={"item_id": {"S": "1"}, "b": {"B": b"\xff\x00"}})
    found = {one["item_id"]: one for one in tables.scan(ledger).items}
    assert found["0"] == {"item_id": "0", "big": int("1" * 38), "half": 0.5, "none": None, "ages": [-1, 2]}
    assert found["1"] == {"item_id": "1", "b": "/wA="}
    for as_json in (False, True):
        cli.show([found["0"], found["1"]], as_json)
    assert "/wA=" in capsys.readouterr().out.splitlines()[2]


def test_a_table_of_many_pages_is_read_whole_by_several_readers(ledger: Ledger) -> None:
    client = ledger.client("dynamodb")
    for number in range(12):
        client.put_item(
            TableName="people", Item={"item_id": {"S": str(number)}, "text": {"S": "x" * 300_000}}
        )
    found = tables.scan(ledger)
    assert sorted(int(one["item_id"]) for one in found.items) == list(range(12))
    assert found.segments == tables.SEGMENTS


class Busy:
    """A table that leaves a part of each batch unprocessed at first."""

    def __init__(self, refusals: int) -> None:
        self.refusals, self.kept, self.mutex = refusals, Counter[str](), threading.Lock()

    def batch_write_item(self, RequestItems: dict, **_: Any) -> dict:  # noqa: N803 (AWS's own name)
        ((table, requests),) = RequestItems.items()
        with self.mutex:
            left = requests[10:] if self.refusals > 0 else []
            self.refusals -= 1
            self.kept.update(one["PutRequest"]["Item"]["item_id"]["S"] for one in requests if one not in left)
        return {"UnprocessedItems": {table: left} if left else {}}


def test_items_left_unprocessed_are_sent_again_and_none_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("awslabs.workload.tables.time.sleep", lambda seconds: None)
    busy, people = Busy(3), list(tables.people(110))
    written = tables.send(busy, "people", ({"PutRequest": {"Item": one}} for one in people), 110)
    assert busy.kept == Counter(one["item_id"]["S"] for one in people)
    assert written.retried > 0


def test_a_table_that_takes_nothing_is_given_up_with_a_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("awslabs.workload.tables.time.sleep", lambda seconds: None)
    monkeypatch.setattr(
        Busy, "batch_write_item", lambda self, RequestItems, **_: {"UnprocessedItems": RequestItems}
    )
    requests = ({"PutRequest": {"Item": one}} for one in tables.people(5))
    with pytest.raises(AwsError, match="unwritten"):
        tables.send(Busy(0), "people", requests, 5)


# -- Files -------------------------------------------------------------------------------------------------


def test_a_file_goes_into_the_bucket_marked_as_ours_and_comes_back(ledger: Ledger, tmp_path: Path) -> None:
    local = tmp_path / "haiku.txt"
    local.write_text("furuike ya")
    assert buckets.put(ledger, local, "poems/one.txt") == {"key": "poems/one.txt", "bytes": 10}
    assert [one["key"] for one in buckets.ls(ledger, "poems/")] == ["poems/one.txt"]
    head = ledger.client("s3").head_object(Bucket="files", Key="poems/one.txt")
    assert head["Metadata"]["awslabs-ledger"] == ledger.prefix
    got = buckets.get(ledger, "poems/one.txt", tmp_path)
    assert got["path"].read_text() == "furuike ya"
    buckets.rm(ledger, "poems/one.txt")
    assert buckets.ls(ledger) == []
    with pytest.raises(LabError, match="There is no poems/one.txt"):
        buckets.rm(ledger, "poems/one.txt")


def test_what_is_wrong_with_a_file_here_or_a_bucket_there_is_said(ledger: Ledger, tmp_path: Path) -> None:
    local = tmp_path / "haiku.txt"
    local.write_text("furuike ya")
    buckets.put(ledger, local, "folder/")
    for work in (
        lambda: buckets.put(ledger, tmp_path / "missing"),
        lambda: buckets.put(ledger, tmp_path),
        lambda: buckets.get(ledger, "folder/", tmp_path / "missing" / "here"),
        lambda: buckets.get(ledger, ""),
    ):
        with pytest.raises(LabError):
            work()
    buckets.rm(ledger, "folder/")
    ledger.client("s3").delete_bucket(Bucket="files")
    with pytest.raises(ClientError, match="NoSuchBucket"):  # which the command line explains
        buckets.put(ledger, local)


# -- Functions ---------------------------------------------------------------------------------------------


class Lambda:
    """A function whose answers are made here."""

    def __init__(self, durations: list[float] | None = None, answer: Any = "Hola", **more: str) -> None:
        self.answer, self.more = json.dumps(answer).encode(), more
        self.settings: dict[str, Any] = {"MemorySize": 128}
        self.durations = durations or [12.0]
        self.seen: list[int] = []

    def invoke(self, **request: Any) -> dict:
        self.seen.append(self.settings["MemorySize"])
        line = LINE.format(id="r-1", ms=self.durations[len(self.seen) % len(self.durations)], more="")
        return {
            "LogResult": base64.b64encode(("hello\n" + line).encode()).decode(),
            "Payload": io.BytesIO(self.answer),
            **self.more,
        }

    def get_function_configuration(self, FunctionName: str) -> dict:  # noqa: N803 (AWS's own name)
        return dict(self.settings)

    def update_function_configuration(self, FunctionName: str, **settings: Any) -> None:  # noqa: N803
        self.settings.update(settings)

    def get_waiter(self, name: str) -> Any:
        return SimpleNamespace(wait=lambda **which: None)


def test_an_answer_comes_with_its_billed_time_and_its_log() -> None:
    result = functions.call(Lambda(), "f", {})
    assert (result.answer, result.failed) == ("Hola", False)
    assert (result.report.billed_ms, result.report.memory_mib, result.report.used_mib) == (13.0, 128, 40)
    assert result.log.startswith("hello\n")


def test_a_cold_start_stands_in_its_own_report() -> None:
    (report,) = functions.reports(LINE.format(id="a-b", ms="8.5", more="Init Duration: 210.40 ms"))
    assert (report.request_id, report.duration_ms, report.init_ms) == ("a-b", 8.5, 210.4)


def test_settings_come_back_when_the_work_is_interrupted(ledger: Ledger) -> None:
    client, seen = Lambda(), []

    def work() -> None:
        with functions.restoring(ledger, client, "f", "MemorySize"):
            functions.configure(client, "f", MemorySize=1024)
            seen.append(client.settings["MemorySize"])
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        work()
    assert (seen, client.settings["MemorySize"]) == ([1024], 128)


def test_settings_that_were_not_changed_are_not_written_again(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    client, written = Lambda(), []
    monkeypatch.setattr(client, "update_function_configuration", lambda **settings: written.append(settings))
    with functions.restoring(ledger, client, "f", "MemorySize") as before:
        assert before == {"MemorySize": 128}
    assert written == []


def test_nobody_else_changes_settings_that_will_be_put_back(ledger: Ledger) -> None:
    other = Ledger(ledger.cloud, ledger.lab)
    other.patience = 0.0
    with functions.restoring(ledger, Lambda(), "f", "MemorySize"):
        with pytest.raises(LedgerError, match="in use"), functions.restoring(other, Lambda(), "f", "Timeout"):
            pytest.fail("both changed them")


def test_outliers_and_cold_starts_do_not_count() -> None:
    def report(ms: float, init: float = 0.0) -> functions.Report:
        return functions.Report("r", ms, ms, init, 256, 40)

    measured = [report(10), report(12), report(11), report(400), report(9, init=200)]
    tuned = functions.summary(256, measured, "us-east-1")
    assert (tuned.counted, tuned.outliers, tuned.duration_ms) == (3, 2, 11)
    assert tuned.usd_per_million == pytest.approx(0.20 + 1e6 * 0.011 * 0.25 * 0.0000166667)


def test_every_size_is_measured_and_the_own_one_comes_back(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = Lambda(answer={"statusCode": 200})
    monkeypatch.setattr(ledger, "client", lambda service: client)
    ledger.journal.add(
        Row(0, "list-haiku", "lambda:CreateFunction", "t", state="standing", ids={"Name": "f"})
    )
    tuned = functions.tune(ledger, sizes=(256, 512), times=4)
    assert [one.memory_mib for one in tuned] == [256, 512]
    assert Counter(client.seen) == {256: 5, 512: 5}
    assert client.settings["MemorySize"] == 128


@pytest.mark.parametrize(
    ("answer", "more"),
    [
        ({"errorMessage": "No module named 'haiku'"}, {"FunctionError": "Unhandled"}),
        ({"statusCode": 500, "body": "the table is gone"}, {}),
    ],
)
def test_how_fast_a_function_fails_is_not_measured(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch, answer: dict, more: dict
) -> None:
    client = Lambda([0.3], answer, **more)
    monkeypatch.setattr(ledger, "client", lambda service: client)
    ledger.journal.add(
        Row(0, "list-haiku", "lambda:CreateFunction", "t", state="standing", ids={"Name": "f"})
    )
    with pytest.raises(LabError, match="list-haiku failed at 256 MB") as failed:
        functions.tune(ledger, sizes=(256,), times=4)
    assert str(next(iter(answer.values()))) in failed.value.why
    assert failed.value.fix.startswith("python -m awslabs.serverless logs list-haiku")
    assert client.settings["MemorySize"] == 128


class Logs:
    """A log group that shows its lines one call later than they were written."""

    def __init__(self, lines: list[tuple[str, float]]) -> None:
        self.lines, self.asked = lines, 0

    def get_paginator(self, name: str) -> Logs:
        return self

    def paginate(self, **request: Any) -> list[dict]:
        self.asked += 1
        shown = self.lines[: 2 * self.asked]
        return [{"events": [{"message": line, "timestamp": int(1000 * at)} for line, at in shown]}]


def test_all_reports_are_awaited_and_those_of_others_do_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("awslabs.progress.time.sleep", lambda seconds: None)
    lines = [(LINE.format(id=f"r-{number}", ms=2000, more=""), 100.0 + number) for number in range(5)]
    found = functions.await_reports(Logs(lines), "group", {"r-0", "r-1", "r-3"}, 0.0, 60)
    assert sorted(one.request_id for one in found) == ["r-0", "r-1", "r-3"]


def test_who_waits_in_vain_hears_how_many_have_run() -> None:
    with pytest.raises(TimedOut, match="1 of 2 have run"):
        functions.await_reports(
            Logs([(LINE.format(id="r-0", ms=1, more=""), 1.0)]), "group", {"r-0", "r-1"}, 0.0, 0
        )


def test_every_event_is_sent_once(monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[dict] = []

    class Client:
        def invoke(self, FunctionName: str, InvocationType: str, Payload: str) -> dict:  # noqa: N803
            sent.append(json.loads(Payload))
            return {"ResponseMetadata": {"RequestId": f"r-{len(sent)}"}}

    result = functions.send(Client(), "f", [{"number": number} for number in range(100)])
    assert sorted(one["number"] for one in sent) == list(range(100))
    assert (result.sent, len(set(result.request_ids))) == (100, 100)


# -- Dead letters ------------------------------------------------------------------------------------------


@pytest.fixture
def dead(ledger: Ledger) -> str:
    """A queue with 13 dead letters, as Lambda writes them."""
    sqs = ledger.client("sqs")
    url = sqs.create_queue(QueueName="dead")["QueueUrl"]
    row = Row(0, "dead-letter-queue", "sqs:CreateQueue", "t", state="standing", ids={"QueueUrl": url})
    ledger.journal.add(row)
    for number in range(13):
        texts = {"RequestID": ("String", f"r-{number}"), "ErrorCode": ("Number", "200")}
        texts["ErrorMessage"] = ("String", "asked to fail")
        sqs.send_message(
            QueueUrl=url,
            MessageBody=json.dumps({"number": number}),
            MessageAttributes={
                name: {"DataType": kind, "StringValue": text} for name, (kind, text) in texts.items()
            },
        )
    return url


def test_dead_letters_say_what_failed_and_why_and_stay(ledger: Ledger, dead: str) -> None:
    for _ in range(2):  # the first look takes nothing away from the second
        found = dead_letters.read(ledger, limit=100)
        assert sorted(one.event["number"] for one in found) == list(range(13))
        assert {one.request_id for one in found} == {f"r-{number}" for number in range(13)}
        assert {(one.error, one.error_code) for one in found} == {("asked to fail", 200)}
        assert all(one.given_up_at[:4] >= "2025" and one.given_up_at.endswith("Z") for one in found)
    assert functions.dead_letters(ledger) == 13


def test_only_dead_letters_that_were_shown_are_discarded(ledger: Ledger, dead: str) -> None:
    shown = dead_letters.read(ledger, limit=11, discard=True)
    left = dead_letters.read(ledger, limit=100)
    assert (len(shown), len(left)) == (11, 2)
    assert sorted(one.event["number"] for one in shown + left) == list(range(13))


def test_a_message_of_somebody_elses_is_shown_as_it_is(ledger: Ledger, dead: str) -> None:
    dead_letters.read(ledger, limit=100, discard=True)
    ledger.client("sqs").send_message(QueueUrl=dead, MessageBody="by hand")
    (found,) = dead_letters.read(ledger)
    assert (found.event, found.error, found.error_code) == ("by hand", "", 0)


def test_a_queue_that_answers_little_and_twice_is_read_whole_and_each_once() -> None:
    class Queue:
        """Shows one message per call, the second one twice, and waits while asked to."""

        answers = ["a", "b", "b", "c"]
        waited: list[int] = []

        def receive_message(self, WaitTimeSeconds: int, **_: Any) -> dict:  # noqa: N803 (AWS's own name)
            self.waited.append(WaitTimeSeconds)
            return {"Messages": [{"MessageId": self.answers.pop(0)}]} if self.answers else {}

    queue = Queue()
    found = dead_letters.receive(queue, "url", 10, about=2)
    assert [one["MessageId"] for one in found] == ["a", "b", "c"]
    assert queue.waited == [1, 1, 0, 0, 0]


def test_a_dead_letter_that_is_not_deleted_is_told(ledger: Ledger, dead: str) -> None:
    class Sqs:
        def __getattr__(self, name: str) -> Any:
            return getattr(ledger.client("sqs"), name)

        def delete_message_batch(self, **_: Any) -> dict:
            return {"Failed": [{"Id": "0", "Code": "ReceiptHandleIsInvalid", "SenderFault": True}]}

    with pytest.raises(AwsError, match="did not delete 1 of 2") as caught:
        dead_letters.settle(Sqs(), dead, [{"ReceiptHandle": "x"}, {"ReceiptHandle": "y"}], discard=True)
    assert caught.value.code == "ReceiptHandleIsInvalid"


# -- Pictures ----------------------------------------------------------------------------------------------


def test_who_comes_when_another_goes_does_not_run_at_the_same_time() -> None:
    """Lambda's clock has whole milliseconds: what is computed from it begins up to one too early."""
    first, second = (
        functions.Report("r", duration, duration, 0.0, 128, 30, ended_at)
        for duration, ended_at in ((2000.0, 100.0), (1000.6, 101.0))
    )
    running = pictures.at_the_same_time([functions.span(first), functions.span(second)])
    assert max(many for _, many in running) == 1


def test_the_picture_shows_how_many_ran_at_the_same_time() -> None:
    running = pictures.at_the_same_time([(0.0, 2.0), (1.0, 3.0), (1.5, 4.0)], steps=4)
    assert running == [(0.0, 1), (1.0, 3), (2.0, 3), (3.0, 2), (4.0, 1)]


def test_no_numbers_make_no_picture() -> None:
    assert pictures.at_the_same_time([]) == []
    assert pictures.bars([]) == ""
    assert pictures.quantile([], 0.5) == 0.0


def test_quantiles_are_values_that_were_measured() -> None:
    values = [float(number) for number in range(100)]
    assert [pictures.quantile(values, share) for share in (0.5, 0.95, 0.99)] == [50.0, 95.0, 99.0]


def test_a_histogram_counts_every_answer_once() -> None:
    picture = haiku.histogram([0.4, 1.0, 3.0, 5.0, 900.0])
    assert sum(int(line.split()[-1]) for line in picture.splitlines()) == 5


def test_a_table_of_japanese_and_english_stands_in_columns(capsys: pytest.CaptureFixture[str]) -> None:
    cli.show_table([{"first": "古池や", "likes": 1}, {"first": "un e\u0301te\u0301", "likes": 12}])
    assert capsys.readouterr().out.splitlines() == [
        "first   likes",
        "古池や  1",
        "un e\u0301te\u0301  12",
    ]


def test_a_table_is_no_wider_than_the_terminal_and_loses_nothing() -> None:
    names = ["田中太郎-東京大学大学院", "a.very.long.name@university.example.org", "b" * 30, "ana"]
    lines = [
        ["owner", "state", "usd_per_hour"],
        *([name, "half built: no instance", "0.0154"] for name in names),
    ]
    assert max(map(cell_len, screen.columns(lines).splitlines())) > 70  # a pipe gets whole lines
    for room in (70, 40, 30):
        table = screen.columns(lines, room)
        assert max(map(cell_len, table.splitlines())) <= room
        for name in names:
            assert re.sub(r"\s", "", table).count("0.0154") == len(names)
            rest = iter(re.sub(r"\s", "", table))
            assert all(character in rest for character in name), (room, name)
    assert screen.columns(lines, 80).count("half built: no instance") == len(names)
    assert screen.folded("half built: no instance", 12) == ["half built:", "no instance"]
    assert screen.folded("us-east-1", 5) == ["us-", "east-", "1"]
    assert screen.folded("古池や", 1) == ["古", "池", "や"]  # a place too few for any


def test_ten_columns_fit_into_eighty_places_and_a_number_is_never_folded() -> None:
    heads = ["lab", "name", "cloud", "region", "owner", "what", "id", "hours", "usd", "at_most"]
    line = [
        "serverless",
        "default",
        "sandbox",
        "ap-northeast-3",
        "student",
        "reads of DynamoDB",
        "vpc-0123456789",
    ]
    table = screen.columns([heads, [*line, "0.01928", "0.0000", "True"]], 80)
    assert max(map(cell_len, table.splitlines())) <= 80
    assert {"0.01928", "0.0000", "True"} <= set(table.split())


def test_a_notebook_shows_the_first_of_many_items_as_a_table() -> None:
    people = [{"item_id": str(number), "name": "<b>"} for number in range(500)]
    shown = tables.Read(500, 500, 1, 1, 2.5, [*people[:1], {"item_id": "x"}, *people[2:]])._repr_html_()
    assert "<tr><th>item_id</th><th>name</th></tr><tr><td>0</td><td>&lt;b&gt;</td></tr>" in shown
    assert "<tr><td>x</td><td></td></tr>" in shown
    assert shown.count("<tr>") == 6 + 1 + 20
    assert "and 480 more" in shown


def test_a_picture_keeps_its_lines_in_a_notebook() -> None:
    many = functions.ManyInvocations(2, 0.1, 20.0, picture="0 s # 1\n1 s ## 2")
    assert "<td><pre>0 s # 1\n1 s ## 2</pre></td>" in many._repr_html_()


# -- Haiku, over HTTP --------------------------------------------------------------------------------------


class Bashoutter(BaseHTTPRequestHandler):
    """The API, as short as can be: pages of two, and every third request is one too many."""

    protocol_version = "HTTP/1.1"
    kept: list[dict] = []
    asked = 0
    refusal: tuple[int, Any] = (429, {"message": "Too Many Requests"})
    mutex = threading.Lock()

    def reply(self, status: int, body: Any, **headers: str) -> None:
        content = b"" if body is None else json.dumps(body).encode()
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def do_POST(self) -> None:
        sent = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with self.mutex:
            Bashoutter.asked += 1
            if Bashoutter.asked % 3 == 0:
                return self.reply(*Bashoutter.refusal)
            made = {"item_id": f"{len(self.kept):032x}", **sent}
            self.kept.append(made)
        return self.reply(201, made)

    def do_GET(self) -> None:
        after = int(self.path.partition("after=")[2] or 0)
        more = {"Link": f'<?limit=2&after={after + 2}>; rel="next"'} if after + 2 < len(self.kept) else {}
        self.reply(200, self.kept[after : after + 2], **more)

    def do_DELETE(self) -> None:
        with self.mutex:
            left = [one for one in self.kept if self.path != f"/haiku/{one['item_id']}"]
            gone = len(left) < len(self.kept)
            self.kept[:] = left
        self.reply(204 if gone else 404, None if gone else {"message": "There is no such haiku."})

    def log_message(self, *_: object) -> None:
        """Nothing is said on stderr."""


class Server(ThreadingHTTPServer):
    """It may keep more than five connections waiting: `post_many` opens 32 at once."""

    request_queue_size = 128


@pytest.fixture
def api() -> Iterator[haiku.Api]:
    Bashoutter.kept, Bashoutter.asked = [], 0
    server = Server(("127.0.0.1", 0), Bashoutter)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    yield haiku.Api(f"http://127.0.0.1:{server.server_port}")
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.parametrize(
    "refusal",
    [(429, {"message": "Too Many Requests"}), (500, {"message": "Internal server error"})],
    ids=["by the stage", "for lack of functions"],
)
def test_posts_that_are_one_too_many_are_sent_again_and_none_is_lost(
    api: haiku.Api, refusal: tuple[int, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Bashoutter, "refusal", refusal)
    assert len(haiku.post_many(api, 30)) == 30
    assert len(Bashoutter.kept) == 30


def test_a_stage_that_never_lets_one_through_is_named_with_its_rate(
    api: haiku.Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(api, "send", lambda *_: Reply(429, content=b'{"message": "Too Many Requests"}'))
    monkeypatch.setattr(haiku, "PATIENCE_S", 0.3)
    with pytest.raises(LabError, match="answered with 429") as caught:
        haiku.post(api, "a", "b", "c", "d")
    assert "up --rate 100" in caught.value.fix


@pytest.mark.parametrize(
    ("message", "times", "said"),
    [
        ("Internal server error", haiku.TRIES, "Concurrent executions"),
        ("Something went wrong here.", 1, "wrong here"),
    ],
)
def test_a_500_is_the_function_s_own_or_names_the_quota(
    api: haiku.Api, message: str, times: int, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[str] = []
    answer = Reply(500, content=json.dumps({"message": message}).encode())
    monkeypatch.setattr(api, "send", lambda method, *_: sent.append(method) or answer)
    monkeypatch.setattr(haiku.time, "sleep", lambda seconds: None)
    with pytest.raises(LabError, match="answered with 500") as caught:
        haiku.post(api, "a", "b", "c", "d")
    assert (len(sent), said in caught.value.why) == (times, True)


def test_a_list_follows_the_pages_as_far_as_asked(api: haiku.Api) -> None:
    Bashoutter.kept = [{"item_id": f"{number:032x}"} for number in range(7)]
    assert haiku.newest(api, 100) == Bashoutter.kept
    assert haiku.newest(api, 3) == Bashoutter.kept[:3]


def test_clear_ends_where_nothing_can_be_deleted(api: haiku.Api, monkeypatch: pytest.MonkeyPatch) -> None:
    Bashoutter.kept = [{"item_id": "never/there"}]
    monkeypatch.setattr(haiku.time, "sleep", lambda seconds: None)
    with pytest.raises(LabError, match="1 haiku are shown, and not one of them could be deleted"):
        haiku.clear(api)


def test_the_tour_waits_until_the_index_shows_its_haiku(monkeypatch: pytest.MonkeyPatch) -> None:
    """An index follows its table a moment later: first nothing, then the haiku without its like, then all."""
    posted = {"item_id": "1", "first": "an old pond", "likes": 0}
    lists = [[], [posted], [{**posted, "likes": 1}]]
    monkeypatch.setattr(functions, "invoke_many", lambda *_: SimpleNamespace(finished=20, most_at_once=3))
    monkeypatch.setattr(tables, "write", lambda *_: SimpleNamespace(count=500))
    monkeypatch.setattr(serverless, "describe", lambda _: SimpleNamespace(api_url="http://127.0.0.1:1"))
    monkeypatch.setattr(haiku, "post", lambda *_: posted)
    monkeypatch.setattr(haiku, "like", lambda *_: {**posted, "likes": 1})
    monkeypatch.setattr(haiku, "newest", lambda _: lists.pop(0))
    assert "a haiku liked" in in_tour.work(SimpleNamespace())  # type: ignore[arg-type]
    assert lists == []


def test_clear_deletes_all_and_counts_them(api: haiku.Api) -> None:
    Bashoutter.kept = [{"item_id": f"{number:032x}"} for number in range(7)]
    assert haiku.clear(api) == 7
    assert Bashoutter.kept == []


def test_a_refusal_says_what_the_api_said(api: haiku.Api) -> None:
    with pytest.raises(LabError, match="answered with 404") as caught:
        haiku.delete(api, "f" * 32)
    assert caught.value.why == "There is no such haiku."


def test_a_stream_counts_every_request(api: haiku.Api) -> None:
    result = haiku.stream(api, rate=100, seconds=0.2, read="query")
    assert (result.requests, result.errors, result.statuses) == (20, 0, {"200": 20})
    assert 0 < result.p50_ms <= result.p95_ms <= result.p99_ms


def test_a_stream_that_is_interrupted_sends_nothing_more(
    api: haiku.Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent = []

    def send(*_: object) -> tuple[int, dict, bytes]:
        sent.append(1)
        if len(sent) == 3:  # the visit before the stream, and two of it
            signal.raise_signal(signal.SIGINT)
        return 200, {}, b"[]"

    monkeypatch.setattr(haiku.Api, "send", send)
    with pytest.raises(KeyboardInterrupt):
        haiku.stream(api, rate=5, seconds=60, read="query")
    assert len(sent) < 20


def test_a_stream_says_how_fast_it_really_was(api: haiku.Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(haiku, "VISITORS", 1)
    monkeypatch.setattr(haiku.Api, "send", lambda *_: (time.sleep(0.05), Reply(200, content=b"[]"))[1])
    assert haiku.stream(api, rate=100, seconds=0.2, read="query").per_second < 30


def test_an_id_is_never_a_part_of_another_address(api: haiku.Api) -> None:
    Bashoutter.kept = [{"item_id": "f" * 32}]
    for item_id in ("f" * 32 + "#", "f" * 32 + "?x", "../haiku/" + "f" * 32):
        with pytest.raises(LabError, match="answered with 404") as caught:
            haiku.delete(api, item_id)
        assert caught.value.fix == "python -m awslabs.serverless haiku list"


def test_a_server_that_is_gone_is_counted_as_errors(api: haiku.Api, monkeypatch: pytest.MonkeyPatch) -> None:
    gone = haiku.Api("http://127.0.0.1:9")
    monkeypatch.setattr(haiku.Api, "ask", lambda *_: None)  # the visit before the stream
    result = haiku.stream(gone, rate=50, seconds=0.1, read="query")
    assert (result.errors, result.statuses) == (5, {"0": 5})
    assert math.isnan(result.p50_ms)  # not 0 ms, which would be fast


def test_a_client_of_boto3s_own_sees_the_people_too(ledger: Ledger) -> None:
    person = tables.put(ledger, "Grace", "Hopper", 50)
    seen = boto3.resource("dynamodb").Table("people").get_item(Key={"item_id": person["item_id"]})["Item"]
    assert dict(seen) == person


def test_more_than_ten_thousand_invocations_are_paid_for_only_after_a_yes(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[int] = []
    result = functions.ManyInvocations(sent=0, seconds=0.0, per_second=0.0)
    monkeypatch.setattr(functions, "invoke_many", lambda ledger, many, **_: sent.append(many) or result)
    monkeypatch.setattr(cli, "open_ledger", lambda lab, **_: ledger)
    command = serverless.command_line()
    refused = CliRunner().invoke(command, ["invoke-many", "10001", "--failing", "2"])
    assert (refused.exit_code, sent) == (1, [])
    assert "10,001 invocations cost about 0.07 USD on AWS. Send them?" in refused.output
    assert "python -m awslabs.serverless invoke-many 10001 --failing 2 --yes" in refused.output
    for arguments in (["invoke-many", "10000"], ["invoke-many", "10001", "--yes"]):
        assert CliRunner().invoke(command, arguments).exit_code == 0
    assert sent == [10_000, 10_001]
