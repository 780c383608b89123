"""Event source mappings at work: queues are read, functions invoked, messages deleted or seen again.

Here the function is one of the test's, and the clock is moved by hand; the last tests run the real thing.
"""

from __future__ import annotations

import heapq
import itertools
import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from processes import eventually
from test_services_lambda_invocations import Account
from test_services_lambda_mappings import (
    ACCOUNT,
    FUNCTION,
    MAY_READ,
    QUEUE,
    both,
    function,
    let,
    mapped,
    queue,
)
from test_services_support import client, cloud, wait

from awslabs import sandbox
from awslabs.sandbox.core import engine
from awslabs.sandbox.core.engine import clock
from awslabs.sandbox.services.lambda_ import invocations, polling

OK = invocations.Result(200, b"null")
FAILED = invocations.Result(200, b"{}", "Unhandled")


class Bench:
    """A timer, workers and a function, all of which do something when the test says so."""

    def __init__(self) -> None:
        self.due: list[tuple[float, int, Callable[[], Any]]] = []
        self.jobs: list[Callable[[], Any]] = []
        self.numbers = itertools.count()
        self.events: list[list[dict[str, Any]]] = []  # the records of each invocation
        self.arns: list[str] = []
        self.answers: list[Any] = []  # of the next invocations; then OK
        self.looks = 0
        self.workers = self

    # -- as the practice cloud sees it

    def do(self, due: float, action: Callable[[], Any]) -> None:
        heapq.heappush(self.due, (due, next(self.numbers), action))

    def submit(self, job: Callable[..., Any], *args: Any) -> None:
        self.jobs.append(lambda: job(*args))

    def invoke(self, account: str, region: str, arn: str, payload: bytes) -> invocations.Result:
        self.events.append(json.loads(payload)["Records"])
        self.arns.append(arn)
        answer = self.answers.pop(0) if self.answers else OK
        if isinstance(answer, Exception):
            raise answer
        return answer if isinstance(answer, invocations.Result) else OK

    # -- as the test does

    def look(self) -> None:
        """Let the timer do what is due."""
        while self.due and self.due[0][0] <= clock.now():
            self.looks += 1
            heapq.heappop(self.due)[2]()

    def run(self, seconds: float = 0.0) -> None:
        """Let time pass, and all that comes of it happen."""
        wait(seconds)
        self.look()
        while self.jobs:
            self.jobs.pop(0)()
            self.look()

    def bodies(self) -> list[list[str]]:
        """What each invocation got; then they are forgotten."""
        found = [[record["body"] for record in records] for records in self.events]
        self.events.clear()
        return found


@pytest.fixture
def bench() -> Iterator[Bench]:
    bench = Bench()
    with cloud(every=True), pytest.MonkeyPatch.context() as patches:
        patches.setattr(engine, "timer", bench)
        patches.setattr(invocations, "current", bench)
        patches.setattr(invocations, "invoke", bench.invoke)
        polling.add_handlers(None)
        yield bench
        polling.close()


def send(*bodies: str, url: str = "q", **more: Any) -> None:
    for body in bodies:
        client("sqs").send_message(QueueUrl=url, MessageBody=body, **more)


def seen(name: str = "q") -> tuple[int, int]:
    """Messages of a queue that can be seen, and those in flight."""
    names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
    found = client("sqs").get_queue_attributes(QueueUrl=name, AttributeNames=names)["Attributes"]
    return int(found[names[0]]), int(found[names[1]])


def ready(bench: Bench, **more: Any) -> str:
    """A mapping that polls."""
    both()
    uuid = str(mapped(**more)["UUID"])
    bench.run()
    return uuid


def test_a_message_goes_to_the_function_and_is_deleted(bench: Bench) -> None:
    ready(bench)
    send("hello")
    bench.look()
    assert seen() == (0, 1)
    bench.run()
    assert seen() == (0, 0)
    [[record]] = bench.events
    assert bench.arns == [FUNCTION]
    assert record == {
        "messageId": record["messageId"],
        "receiptHandle": record["receiptHandle"],
        "body": "hello",
        "attributes": {
            "ApproximateReceiveCount": "1",
            "SentTimestamp": record["attributes"]["SentTimestamp"],
            "SenderId": record["attributes"]["SenderId"],
            "ApproximateFirstReceiveTimestamp": record["attributes"]["ApproximateFirstReceiveTimestamp"],
        },
        "messageAttributes": {},
        "md5OfBody": "5d41402abc4b2a76b9719d911017c592",
        "eventSource": "aws:sqs",
        "eventSourceARN": QUEUE,
        "awsRegion": "us-east-1",
    }
    assert all(
        text.isdigit() for text in record["attributes"].values() if text != record["attributes"]["SenderId"]
    )


def test_attributes_of_messages_have_the_shape_of_lambda(bench: Bench) -> None:
    ready(bench)
    sent = {
        "Title": {"DataType": "String", "StringValue": "The Whistler"},
        "Author": {"DataType": "String", "StringValue": "John Grisham"},
        "WeeksOn": {"DataType": "Number", "StringValue": "6"},
    }
    send("x", MessageAttributes=sent)
    send("y", MessageAttributes={"b": {"DataType": "Binary", "BinaryValue": b"\0\1"}})
    bench.run()
    [[first, second]] = bench.events
    assert first["md5OfMessageAttributes"] == "d25a6aea97eb8f585bfa92d314504a92"
    lists = {"stringListValues": [], "binaryListValues": []}
    assert first["messageAttributes"]["WeeksOn"] == {"stringValue": "6", "dataType": "Number"} | lists
    assert second["messageAttributes"]["b"] == {"binaryValue": "AAE=", "dataType": "Binary"} | lists


def test_a_batching_window_gathers_messages(bench: Bench) -> None:
    function()
    queue(VisibilityTimeout="60")
    mapped(BatchSize=20, MaximumBatchingWindowInSeconds=30)
    bench.run()
    send("a")
    bench.run()
    bench.run(20)
    send("b")
    bench.run(9)
    assert bench.bodies() == []
    bench.run(1.1)
    assert [record["md5OfMessageAttributes"] for record in bench.events[0]] == [None, None]
    assert bench.bodies() == [["a", "b"]]
    send(*map(str, range(25)))
    bench.run()
    assert bench.bodies() == [[str(number) for number in range(20)]]
    bench.run(31)
    assert bench.bodies() == [["20", "21", "22", "23", "24"]]
    assert seen() == (0, 0)


def test_what_is_gathered_for_too_long_is_received_again(bench: Bench) -> None:
    ready(bench, BatchSize=20, MaximumBatchingWindowInSeconds=40)
    send("a")
    bench.run()
    bench.run(35)
    bench.run(5.1)
    [[record]] = bench.events
    assert record["attributes"]["ApproximateReceiveCount"] == "2"
    bench.run(100)
    assert (len(bench.bodies()), seen()) == (1, (0, 0))


def test_a_queue_that_hides_nothing_is_not_read_without_end(bench: Bench) -> None:
    ready(bench, BatchSize=20, MaximumBatchingWindowInSeconds=3)
    client("sqs").set_queue_attributes(QueueUrl="q", Attributes={"VisibilityTimeout": "0"})
    send("a")
    bench.run()
    bench.run(3.1)
    assert bench.bodies() == [["a"]]
    assert bench.looks < 20


def test_batches_are_no_larger_than_asked_for_nor_than_an_invocation_may_be(bench: Bench) -> None:
    ready(bench, BatchSize=10)
    send(*"abcdefghijklm")
    bench.run()
    assert sorted(map(len, bench.bodies())) == [3, 10]
    big = "x" * 1_000_000
    for _ in range(7):
        send(big)
    bench.run()
    assert [len(bodies) for bodies in bench.bodies()] == [6, 1]


def test_what_fails_is_seen_again_and_goes_to_the_queue_of_dead_letters(bench: Bench) -> None:
    function()
    queue("dead")
    redrive = json.dumps({"deadLetterTargetArn": QUEUE[:-1] + "dead", "maxReceiveCount": 2})
    queue(VisibilityTimeout="60", RedrivePolicy=redrive)
    mapped()
    bench.run()
    bench.answers = [FAILED, FAILED]
    send("bad")
    bench.run()
    bench.run(59)
    assert bench.bodies() == [["bad"]]
    bench.run(1.1)
    assert [record["attributes"]["ApproximateReceiveCount"] for record in bench.events[0]] == ["2"]
    bench.events.clear()
    bench.run(61)
    assert bench.bodies() == []
    assert (seen(), seen("dead")) == ((0, 0), (1, 0))


@pytest.mark.parametrize(
    ("answer", "left"),
    [
        (b"null", ""),
        (b"", ""),
        (b"{}", ""),
        (b'{"batchItemFailures": []}', ""),
        (b'{"batchItemFailures": null}', ""),
        (b'{"batchItemFailures": [{"itemIdentifier": "B"}]}', "b"),
        (b'{"batchItemFailures": [{"itemIdentifier": ""}]}', "abc"),
        (b'{"batchItemFailures": [{"itemIdentifier": null}]}', "abc"),
        (b'{"batchItemFailures": [{"foo": "B"}]}', "abc"),
        (b'{"batchItemFailures": [{"itemIdentifier": "nobody"}]}', "abc"),
        (b'"done"', "abc"),
    ],
)
def test_a_function_reports_what_of_a_batch_failed(bench: Bench, answer: bytes, left: str) -> None:
    ready(bench, FunctionResponseTypes=["ReportBatchItemFailures"])
    send(*"abc")
    bench.look()
    [poller] = polling.pollers.values()
    ids = {message.body: message.id for message in polling.queue_of(poller.mapping)._messages}
    bench.answers = [invocations.Result(200, answer.replace(b'"B"', json.dumps(ids["b"]).encode()))]
    bench.run()
    assert bench.bodies() == [["a", "b", "c"]]
    bench.run(31)
    assert "".join(itertools.chain(*bench.bodies())) == left


def test_an_answer_means_nothing_where_it_was_not_asked_for(bench: Bench) -> None:
    ready(bench)
    bench.answers = [invocations.Result(200, b'{"batchItemFailures": [{"itemIdentifier": ""}]}')]
    send("a")
    bench.run()
    assert seen() == (0, 0)


def test_what_no_filter_lets_through_is_deleted(bench: Bench) -> None:
    ready(bench, FilterCriteria={"Filters": [{"Pattern": '{"body": {"k": [1]}}'}]})
    send('{"k": 1}', '{"k": 2}', "text")
    bench.run()
    assert bench.bodies() == [['{"k": 1}']]
    assert seen() == (0, 0)


def test_five_batches_run_at_first_and_five_more_each_second(bench: Bench) -> None:
    ready(bench, BatchSize=1)
    send(*map(str, range(30)))
    bench.look()
    assert len(bench.jobs) == 5
    for _ in range(5):
        wait(0.21)
        bench.look()
    assert len(bench.jobs) == 10
    bench.run()
    assert len(bench.bodies()) == 30


def test_a_mapping_may_be_held_back(bench: Bench) -> None:
    ready(bench, BatchSize=1, ScalingConfig={"MaximumConcurrency": 2})
    send(*map(str, range(10)))
    for _ in range(20):
        wait(1)
        bench.look()
    assert len(bench.jobs) == 2
    assert seen() == (8, 2)


def test_a_fifo_queue_is_read_group_by_group(bench: Bench) -> None:
    function()
    queue("q.fifo", FifoQueue="true", ContentBasedDeduplication="true", VisibilityTimeout="60")
    mapped(EventSourceArn=QUEUE + ".fifo", BatchSize=1)
    bench.run()
    for body in ("a1", "a2", "b1"):
        send(body, url="q.fifo", MessageGroupId=body[0])
    bench.look()
    assert len(bench.jobs) == 2
    bench.answers = [OK, FAILED]
    bench.run()
    assert sorted(itertools.chain(*bench.bodies())) == ["a1", "a2", "b1"]
    bench.run(61)
    [[record]] = bench.events
    assert record["body"] in ("a2", "b1")
    assert record["attributes"].keys() > {"MessageGroupId", "MessageDeduplicationId", "SequenceNumber"}


def test_a_batch_that_is_throttled_is_tried_again_until_its_messages_are_seen_again(bench: Bench) -> None:
    ready(bench)
    throttled = invocations.Throttled("ReservedFunctionConcurrentInvocationLimitExceeded")
    bench.answers = [throttled, throttled]
    send("a")
    bench.run()
    bench.run(1)
    assert bench.bodies() == [["a"], ["a"]]
    assert seen() == (0, 1)
    bench.run(2)
    assert bench.bodies() == [["a"]]
    assert seen() == (0, 0)
    bench.answers = [throttled] * 50
    send("b")
    bench.run()
    for _ in range(29):
        bench.run(1)
    tries = len(bench.bodies())
    assert 3 <= tries <= 6
    bench.run(1.1)
    assert [record["attributes"]["ApproximateReceiveCount"] for record in bench.events[0]] == ["2"]


def test_what_a_mapping_does_it_does_until_the_change_is_done(bench: Bench, monkeypatch: Any) -> None:
    uuid = ready(bench)
    monkeypatch.setattr(engine.weather, "current", engine.weather.Weather(slow_states=1.0))
    update = client("lambda").update_event_source_mapping
    bench.run(30)  # until the role's policy counts
    update(UUID=uuid, FunctionName="lab:$LATEST")
    send("a")
    bench.run()
    bench.run(5)
    send("b")
    bench.run()
    assert bench.arns == [FUNCTION, f"{FUNCTION}:$LATEST"]
    update(UUID=uuid, Enabled=False)
    bench.run(5)
    send("c")
    bench.run(100)
    assert seen() == (1, 0)
    update(UUID=uuid, Enabled=True)
    bench.run(5)
    client("lambda").delete_event_source_mapping(UUID=uuid)
    bench.run(5)
    send("d")
    bench.run(100)
    assert bench.bodies() == [["a"], ["b"], ["c"]]
    assert (seen(), polling.pollers) == ((1, 0), {})


def test_delayed_messages_are_read_when_their_time_has_come(bench: Bench) -> None:
    ready(bench)
    send("later", DelaySeconds=100)
    bench.run(99)
    assert bench.bodies() == []
    bench.run(1.1)
    assert bench.bodies() == [["later"]]


def test_a_mapping_reads_only_what_the_role_may_read(bench: Bench) -> None:
    ready(bench)
    let("sqs:SendMessage")
    send("a")
    bench.run(30)
    assert (bench.bodies(), seen()) == ([], (1, 0))
    let(*MAY_READ)
    bench.run(30)
    assert (bench.bodies(), seen()) == ([["a"]], (0, 0))
    let(MAY_READ[0])
    send("b")
    bench.run()
    assert (bench.bodies(), seen()) == ([["b"]], (0, 1))


def test_without_its_function_a_mapping_reads_nothing(bench: Bench) -> None:
    ready(bench)
    client("lambda").delete_function(FunctionName="lab")
    send("a")
    bench.run(100)
    assert (bench.bodies(), seen()) == ([], (1, 0))


def test_an_account_that_is_reset_has_no_mappings(bench: Bench) -> None:
    ready(bench)
    send("a")
    bench.look()
    polling.reset(ACCOUNT)
    assert polling.pollers == {}
    assert client("lambda").list_event_source_mappings()["EventSourceMappings"] == []
    send("b")
    bench.run(100)
    assert seen()[0] == 1


def test_a_queue_at_rest_is_not_looked_at(bench: Bench) -> None:
    ready(bench)
    send("a")
    bench.run()
    bench.run(40)
    bench.looks = 0
    for _ in range(1000):
        bench.run(60)
    assert (bench.looks, bench.due) == (0, [])


def test_a_thousand_messages_of_one_batch_are_received_in_pieces(bench: Bench) -> None:
    ready(bench, BatchSize=1000, MaximumBatchingWindowInSeconds=5)
    for first in range(0, 1000, 10):
        entries = [{"Id": str(n), "MessageBody": str(first + n)} for n in range(10)]
        client("sqs").send_message_batch(QueueUrl="q", Entries=entries)
    bench.run()
    [bodies] = bench.bodies()
    assert bodies == [str(number) for number in range(1000)]
    assert seen() == (0, 0)


# --- really -------------------------------------------------------------------------------------------

COUNTS = """
    import json, boto3
    def handler(event, context):
        for record in event["Records"]:
            if record["body"] == "bad":
                raise ValueError("bad")
        done = [record["body"] for record in event["Records"]]
        boto3.client("sqs").send_message(QueueUrl="done", MessageBody=json.dumps(done))
"""


@pytest.fixture
def aws(run: sandbox.Run) -> Iterator[Account]:
    account = Account(run)
    yield account
    run.weather(slow_states=0)
    run.reset(account.id)


def prepared(aws: Account) -> str:
    """A function, its queues, and a mapping; its UUID."""
    may = {"Effect": "Allow", "Action": [*MAY_READ, "sqs:SendMessage"], "Resource": "*"}
    aws.make(COUNTS, Role=aws.role("r", may))
    for name in ("q", "dead", "done"):
        aws.sqs.create_queue(QueueName=name, Attributes={"VisibilityTimeout": "10"})
    redrive = {"deadLetterTargetArn": f"arn:aws:sqs:us-east-1:{aws.id}:dead", "maxReceiveCount": 1}
    aws.sqs.set_queue_attributes(QueueUrl="q", Attributes={"RedrivePolicy": json.dumps(redrive)})
    arn = f"arn:aws:sqs:us-east-1:{aws.id}:q"
    return str(aws.lambda_.create_event_source_mapping(FunctionName="lab", EventSourceArn=arn)["UUID"])


def got(aws: Account, name: str) -> str:
    found = aws.sqs.receive_message(QueueUrl=name, WaitTimeSeconds=20)["Messages"]
    return str(found[0]["Body"])


def in_flight(aws: Account) -> int:
    """Messages of the queue that a function has, or had in vain."""
    name = "ApproximateNumberOfMessagesNotVisible"
    return int(aws.sqs.get_queue_attributes(QueueUrl="q", AttributeNames=[name])["Attributes"][name])


@pytest.mark.live
@pytest.mark.usefixtures("answers_fit")
def test_a_real_function_gets_what_comes_into_a_queue(aws: Account) -> None:
    uuid = prepared(aws)
    aws.sqs.send_message(QueueUrl="q", MessageBody="good")
    assert json.loads(got(aws, "done")) == ["good"]
    eventually(lambda: in_flight(aws) == 0)  # it has returned, and the message is deleted
    aws.sqs.send_message(QueueUrl="q", MessageBody="bad")
    eventually(lambda: any("ValueError" in line for line in aws.log()))
    aws.run.pass_time(11)
    assert got(aws, "dead") == "bad"
    assert not aws.sqs.receive_message(QueueUrl="q").get("Messages")
    aws.lambda_.delete_event_source_mapping(UUID=uuid)
    with pytest.raises(aws.lambda_.exceptions.ResourceNotFoundException):
        aws.lambda_.get_event_source_mapping(UUID=uuid)


SLEEPS = """
    import time
    def handler(event, context):
        time.sleep(25)
"""


@pytest.mark.live
@pytest.mark.usefixtures("answers_fit")
def test_calls_are_answered_while_a_batch_runs_and_a_reset_ends_it(aws: Account) -> None:
    may = {"Effect": "Allow", "Action": list(MAY_READ), "Resource": "*"}
    aws.make(SLEEPS, Role=aws.role("r", may), Timeout=30)
    aws.sqs.create_queue(QueueName="q")
    arn = f"arn:aws:sqs:us-east-1:{aws.id}:q"
    aws.lambda_.create_event_source_mapping(FunctionName="lab", EventSourceArn=arn)
    aws.sqs.send_message(QueueUrl="q", MessageBody="long")
    eventually(lambda: in_flight(aws) == 1)
    aws.run.reset(aws.id)
    assert aws.lambda_.list_event_source_mappings()["EventSourceMappings"] == []
