"""SQS: what it refuses, in which words, and the order of a FIFO queue."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
import requests
from botocore.exceptions import ClientError
from test_services_support import Case, check, client, cloud, refused, said, table, wait

INVALID = "InvalidParameterValue"
LONG = "AWS.SimpleQueueService."
MIB = 1024 * 1024
SIGNED = "AWS4-HMAC-SHA256 Credential=x/20260101/us-east-1/sqs/aws4_request, SignedHeaders=host, Signature=0"
FIFO = {"FifoQueue": "true", "ContentBasedDeduplication": "true"}


def made(name: str = "q", **attributes: str) -> str:
    return str(client("sqs").create_queue(QueueName=name, Attributes=attributes)["QueueUrl"])


def text(name: str, value: str) -> dict[str, Any]:
    return {name: {"DataType": "String", "StringValue": value}}


def sizes() -> list[str]:
    sqs, url = client("sqs"), made(MaximumMessageSize="1024")
    attributes = {"k": {"DataType": "String", "StringValue": "x"}}
    fits = said(sqs.send_message, QueueUrl=url, MessageBody="a" * 1016, MessageAttributes=attributes)
    letters = said(sqs.send_message, QueueUrl=url, MessageBody="ä" * 600)
    entries = [{"Id": "1", "MessageBody": "a" * MIB}, {"Id": "2", "MessageBody": "a"}]
    return [
        fits,
        said(sqs.send_message, QueueUrl=url, MessageBody="a" * 1017, MessageAttributes=attributes),
        letters,
        said(sqs.send_message_batch, QueueUrl=url, Entries=entries),
    ]


def standard_queues() -> list[str]:
    make = client("sqs").create_queue
    return [
        said(make, QueueName="q", Attributes={"FifoQueue": "false"}),
        said(make, QueueName="r", Attributes={"DeduplicationScope": "queue"}),
        said(make, QueueName="q.fifo"),
        said(make, QueueName="r.fifo", Attributes=FIFO),
    ]


def attributes_out_of_bounds() -> list[str]:
    sqs, url = client("sqs"), made()
    fits = {"VisibilityTimeout": "43200", "DelaySeconds": "0", "MessageRetentionPeriod": "60"}
    new = said(sqs.create_queue, QueueName="r", Attributes={"MessageRetentionPeriod": "59"})
    beyond = {"VisibilityTimeout": "43201"}, {"DelaySeconds": "-1"}, {"ReceiveMessageWaitTimeSeconds": "21"}
    change = sqs.set_queue_attributes
    return [new, *(said(change, QueueUrl=url, Attributes=each) for each in (*beyond, fits))]


def interleaved() -> list[str]:
    """Two groups in turn; a second look while the first one is in flight, a third one when it is back."""
    sqs, url = client("sqs"), made("q.fifo", **FIFO, VisibilityTimeout="30")
    for body in ("a1", "b1", "a2", "c1"):
        sqs.send_message(QueueUrl=url, MessageBody=body, MessageGroupId=body[0])

    def receive(number: int) -> str:
        found = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=number).get("Messages", [])
        return " ".join(message["Body"] for message in found)

    seen = [receive(2), receive(1)]
    wait(31)
    return [*seen, receive(10)]


def two_names() -> str:
    with pytest.raises(ClientError) as caught:
        client("sqs").send_message(
            QueueUrl=made("q.fifo", **FIFO), MessageBody="m", MessageGroupId="g", DelaySeconds=2
        )
    return str(caught.value.response["Error"]["QueryErrorCode"])


def no_tags() -> bool:
    return "Tags" in client("sqs").list_queue_tags(QueueUrl=made())


def no_label() -> str:
    return refused(client("sqs").remove_permission, QueueUrl=made(), Label="l")[1][-16:]


def by_get() -> int:
    """A list of queues, asked for at the address of one; the query protocol, without a client."""
    url = made() + "?Action=ListQueues&Version=2012-11-05"
    return requests.get(url, headers={"Authorization": SIGNED}, timeout=60).status_code


def version_of_a_policy() -> str:
    url = made()
    sqs = client("sqs")
    sqs.add_permission(QueueUrl=url, Label="l", AWSAccountIds=["111122223333"], Actions=["SendMessage"])
    found = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["Policy"])["Attributes"]["Policy"]
    return str(json.loads(found)["Version"])


def sent_again_after_deletion() -> list[int]:
    """How many are received: first, again at once, in another group, and again after five minutes."""
    sqs, url = client("sqs"), made("q.fifo", **FIFO)

    def sent(group: str = "g") -> int:
        sqs.send_message(QueueUrl=url, MessageBody="same", MessageGroupId=group)
        found = sqs.receive_message(QueueUrl=url).get("Messages", [])
        for message in found:
            sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
        return len(found)

    received = [sent(), sent(), sent("another")]
    wait(301)
    return [*received, sent()]


def sent_again_after_a_purge() -> int:
    sqs, url = client("sqs"), made("q.fifo", **FIFO)
    sqs.send_message(QueueUrl=url, MessageBody="same", MessageGroupId="g")
    sqs.purge_queue(QueueUrl=url)
    sqs.send_message(QueueUrl=url, MessageBody="same", MessageGroupId="g")
    return len(sqs.receive_message(QueueUrl=url).get("Messages", []))


def one_group_or_all(scope: str) -> int:
    attributes = {"DeduplicationScope": scope, "FifoThroughputLimit": "perQueue"}
    sqs, url = client("sqs"), made("q.fifo", **FIFO, **attributes)
    for group in ("a", "b"):
        sqs.send_message(QueueUrl=url, MessageBody="same", MessageGroupId=group)
    return len(sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10)["Messages"])


def scope_changed(later_s: float) -> int:
    """How many of two messages come, of one id and two groups, so long after the scope became the group."""
    attributes = {"DeduplicationScope": "queue", "FifoThroughputLimit": "perQueue"}
    sqs, url = client("sqs"), made("q.fifo", **FIFO, **attributes)
    wanted = {"DeduplicationScope": "messageGroup", "FifoThroughputLimit": "perMessageGroupId"}
    sqs.set_queue_attributes(QueueUrl=url, Attributes=wanted)
    shown = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["DeduplicationScope"])["Attributes"]
    assert shown == {"DeduplicationScope": "messageGroup"}
    wait(later_s)
    for group in ("a", "b"):
        sqs.send_message(QueueUrl=url, MessageBody="same", MessageGroupId=group)
    return len(sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10)["Messages"])


def both_encryptions() -> str:
    both = {"KmsMasterKeyId": "alias/aws/sqs", "SqsManagedSseEnabled": "true"}
    return said(client("sqs").set_queue_attributes, QueueUrl=made(), Attributes=both)


CASES = (
    Case("duplicates_come_once", sent_again_after_deletion, [1, 1, 1, 1], [1, 0, 0, 1]),
    Case("duplicates_come_once", sent_again_after_a_purge, 1, 1),
    Case("duplicates_come_once", lambda: one_group_or_all("queue"), 1, 1),
    Case("duplicates_come_once", lambda: one_group_or_all("messageGroup"), 1, 2),
    Case("duplicates_come_once", lambda: scope_changed(59), 1, 1, (("slow_states", 1.0),)),
    Case("duplicates_come_once", lambda: scope_changed(60), 1, 2, (("slow_states", 1.0),)),
    Case("duplicates_come_once", lambda: scope_changed(0), 1, 2),
    Case("queues_are_of_one_type", both_encryptions, "ok", "InvalidAttributeName"),
    Case("added_policies_are_old", version_of_a_policy, "2012-10-17", "2008-10-17"),
    Case("refusals_of_sqs", two_names, INVALID, "InvalidParameterValueException"),
    Case("addresses_of_queues", by_get, 200, 400),
    Case(
        "queue_attributes_have_bounds",
        attributes_out_of_bounds,
        ["ok"] * 5,
        ["InvalidAttributeValue"] * 4 + ["ok"],
    ),
    Case("no_tags_no_list", no_tags, True, False),
    Case("labels_that_are_not_there", no_label, "existing policy.", "can't find label"[1:] + "."),
    Case(
        "messages_are_sound",
        sizes,
        ["ok", "ok", "ok", LONG + "BatchRequestTooLong"],
        [
            "ok",
            INVALID,
            INVALID,
            LONG + "BatchRequestTooLong",
        ],
    ),
    Case(
        "queues_are_of_one_type",
        standard_queues,
        ["ok", "ok", "ok", "ok"],
        ["InvalidAttributeName", "InvalidAttributeName", INVALID, "ok"],
    ),
    Case(
        "groups_take_turns",
        interleaved,
        ["a1 b1", "c1", ""],
        ["a1 a2", "b1", "c1 a1 a2 b1"],
        needs=("messages_go_by_the_clock",),
    ),
)


@table(*CASES)
def test_the_rule_makes_the_difference(case: Case) -> None:
    check(case)


@pytest.fixture
def sqs() -> Iterator[Any]:
    with cloud(
        "refusals_of_sqs",
        "messages_are_sound",
        "queues_are_of_one_type",
        "queue_attributes_have_bounds",
        "groups_take_turns",
        "messages_go_by_the_clock",
        "no_tags_no_list",
        "labels_that_are_not_there",
    ):
        yield client("sqs")


def test_a_refusal_has_two_names(sqs: Any) -> None:
    url = made()
    with pytest.raises(ClientError) as caught:
        sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=11)
    assert caught.value.response["Error"] == {
        "Code": INVALID,
        "QueryErrorCode": "InvalidParameterValueException",
        "Type": "Sender",
        "Message": "Value 11 for parameter MaxNumberOfMessages is invalid. Reason: Must be between 1 and 10, "
        "if provided.",
    }
    with pytest.raises(ClientError) as caught:
        sqs.create_queue(QueueName="q", Attributes={"DelaySeconds": "5"})
    error = caught.value.response["Error"]
    assert (error["Code"], error["QueryErrorCode"]) == ("QueueAlreadyExists", "QueueNameExists")
    assert error["Message"].endswith("different value for attribute DelaySeconds")
    with pytest.raises(sqs.exceptions.QueueDoesNotExist):
        sqs.get_queue_url(QueueName="nobody")


TOO_MANY = [{"Id": str(number), "MessageBody": "m"} for number in range(11)]


@pytest.mark.parametrize(
    ("request_", "code"),
    [
        ({"MessageBody": ""}, "MissingParameter"),
        ({"MessageBody": "a\x08"}, "InvalidMessageContents"),
        ({"MessageBody": "m", "MessageGroupId": "a b"}, INVALID),
        ({"MessageBody": "m", "MessageDeduplicationId": "a" * 129}, INVALID),
        (
            {"MessageBody": "m", "MessageAttributes": text("aWs.x", "v")},
            "Inval",
        ),
        (
            {"MessageBody": "m", "MessageAttributes": text("x", "")},
            "Inval",
        ),
        (
            {"MessageBody": "m", "MessageAttributes": text("ä.x", "v")},
            "ok",
        ),
        ({"Entries": TOO_MANY}, LONG + "TooManyEntriesInBatchRequest"),
        ({"Entries": [{"Id": "a:b", "MessageBody": "m"}]}, LONG + "InvalidBatchEntryId"),
    ],
)
def test_messages_that_are_not_sound_are_refused(sqs: Any, request_: dict[str, Any], code: str) -> None:
    send = sqs.send_message_batch if "Entries" in request_ else sqs.send_message
    assert said(send, QueueUrl=made(), **request_).startswith(code)


def test_of_a_batch_those_fail_that_are_not_sound(sqs: Any) -> None:
    url = made(MaximumMessageSize="1024")
    bodies = {"a": "x" * 1025, "b": "\x01", "c": "x"}
    entries = [{"Id": name, "MessageBody": body} for name, body in bodies.items()]
    answer = sqs.send_message_batch(QueueUrl=url, Entries=entries)
    assert [each["Id"] for each in answer["Successful"]] == ["c"]
    assert [(each["Id"], each["Code"]) for each in answer["Failed"]] == [
        ("a", INVALID),
        ("b", "InvalidMessageContents"),
    ]
    none = sqs.send_message_batch(QueueUrl=url, Entries=entries[:2])
    assert (len(none["Failed"]), "Successful" in none) == (2, False)
    lonely = [{"Id": "a", "MessageBody": "x", "MessageDeduplicationId": "d"}]
    fifo = made("q.fifo", **FIFO)
    assert said(sqs.send_message_batch, QueueUrl=fifo, Entries=lonely) == INVALID


def test_a_handle_of_a_message_that_is_gone_is_another_mistake_than_none(sqs: Any) -> None:
    url = made()
    sqs.send_message(QueueUrl=url, MessageBody="m")
    handle = sqs.receive_message(QueueUrl=url)["Messages"][0]["ReceiptHandle"]
    sqs.delete_message(QueueUrl=url, ReceiptHandle=handle)
    later = {"QueueUrl": url, "VisibilityTimeout": 1}
    gone = refused(sqs.change_message_visibility, **later, ReceiptHandle=handle)
    assert gone[:2] == (
        INVALID,
        f"Value {handle} for parameter ReceiptHandle is invalid. Reason: Message does not exist or is not "
        "available for visibility timeout change.",
    )
    never = 'The input receipt handle "garbage" is not a valid receipt handle.'
    assert refused(sqs.delete_message, QueueUrl=url, ReceiptHandle="garbage")[1] == never


def test_a_queue_keeps_its_type_and_counts_deaths(sqs: Any) -> None:
    url, fifo = made(), made("q.fifo", **FIFO)
    change = sqs.set_queue_attributes
    assert said(change, QueueUrl=url, Attributes={"FifoQueue": "true"}) == "InvalidAttributeName"
    assert said(change, QueueUrl=fifo, Attributes={"FifoQueue": "true"}) == "ok"
    assert said(change, QueueUrl=fifo, Attributes={"FifoQueue": "false"}) == "InvalidAttributeValue"
    arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    policy = f'{{"deadLetterTargetArn": "{arn}", "maxReceiveCount": "many"}}'
    assert said(change, QueueUrl=url, Attributes={"RedrivePolicy": policy}) == INVALID
    assert said(change, QueueUrl=url, Attributes={"RedrivePolicy": policy.replace("many", "5")}) == "ok"


@pytest.mark.parametrize("value", ["901", "", "1.5"])
def test_a_delay_is_a_number_within_its_bounds(sqs: Any, value: str) -> None:
    assert refused(sqs.create_queue, QueueName="q", Attributes={"DelaySeconds": value}) == (
        "InvalidAttributeValue",
        "Invalid value for the parameter DelaySeconds.",
        400,
    )


def test_lists_that_are_empty_are_left_out(sqs: Any) -> None:
    url = made()
    sent = sqs.send_message_batch(QueueUrl=url, Entries=TOO_MANY[:2])
    assert len(sent["Successful"]) == 2
    assert "Failed" not in sent


def test_messages_of_a_fifo_queue_have_numbers_and_handles_that_expire(sqs: Any) -> None:
    url = made("q.fifo", **FIFO, VisibilityTimeout="5")
    numbers = [
        sqs.send_message(QueueUrl=url, MessageBody=body, MessageGroupId="g")["SequenceNumber"]
        for body in "ab"
    ]
    assert [len(number) for number in numbers] == [20, 20]
    assert numbers == sorted(numbers)
    handle = sqs.receive_message(QueueUrl=url)["Messages"][0]["ReceiptHandle"]
    wait(6)
    code, message, _ = refused(sqs.delete_message, QueueUrl=url, ReceiptHandle=handle)
    assert (code, message[-31:]) == (INVALID, "The receipt handle has expired.")


def test_the_trace_header_has_a_digest(sqs: Any) -> None:
    trace = "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1"
    sent = sqs.send_message(
        QueueUrl=made(),
        MessageBody="test",
        MessageSystemAttributes={"AWSTraceHeader": {"StringValue": trace, "DataType": "String"}},
    )
    assert sent["MD5OfMessageSystemAttributes"] == "5ae4d5d7636402d80f4eb6d213245a88"


def test_of_a_group_only_those_wait_that_come_after_one_in_flight() -> None:
    with cloud(every=True):
        sqs, url = client("sqs"), made("q.fifo", **FIFO, VisibilityTimeout="1")
        for body in ("a", "b", "c"):
            sqs.send_message(QueueUrl=url, MessageBody=body, MessageGroupId="g")
        found = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10)["Messages"]
        handle = found[1]["ReceiptHandle"]
        sqs.change_message_visibility(QueueUrl=url, ReceiptHandle=handle, VisibilityTimeout=60)
        wait(2)
        again = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10)["Messages"]
        assert [message["Body"] for message in again] == ["a"]


def test_an_error_that_the_model_knows_carries_its_namespace(sqs: Any) -> None:
    with pytest.raises(ClientError) as caught:
        sqs.get_queue_url(QueueName="nobody")
    headers = caught.value.response["ResponseMetadata"]["HTTPHeaders"]
    assert headers["x-amzn-errortype"] == "com.amazonaws.sqs#QueueDoesNotExist"
    assert caught.value.response["Error"]["Code"] == "AWS.SimpleQueueService.NonExistentQueue"
    assert caught.value.response["Error"]["QueryErrorCode"] == "QueueDoesNotExist"
