"""SQS: how it says no, how a queue is made and what it may be; messages go by the practice cloud's clock."""

from __future__ import annotations

import functools
import json
from typing import Any

from moto.core.exceptions import ServiceException
from moto.sqs import models
from moto.sqs.models import sqs_backends

from awslabs.sandbox.core.engine import (
    ASKED,
    Call,
    Proceed,
    Refused,
    around,
    before,
    clock,
    memory,
    rule,
    scaled,
    state,
)

REST_S = 60.0


invalid = functools.partial(Refused, "InvalidParameterValue")


def queue_of(call: Call) -> Any:
    """The queue of a call, by its parameter or by its address; None: there is none, and moto says so."""
    return sqs_backends[call.account][call.region].queues.get(call.response._get_queue_name())


def delete_messages(queue: Any, handles: set[str]) -> None:
    """Delete messages of a queue by their receipt handles, at once: moto looks through all for each.

    Of a FIFO queue a message that can be seen again is not deleted: its handle has expired.
    """
    kept = []
    for message in queue._messages:
        if handles.isdisjoint(message.all_receipt_handles) or (queue.fifo_queue and message.visible):
            kept.append(message)
        else:
            queue.pending_messages.discard(message)
            queue.deleted_messages.update(message.all_receipt_handles)
    queue._messages = kept


GONE = ("QueueDoesNotExist", "AWS.SimpleQueueService.NonExistentQueue")


@around("sqs:*")
def refusals_of_sqs(call: Call, proceed: Proceed) -> Any:
    """A refusal has a name in the body of JSON (InvalidParameterValueException), and a code in a header.

    The code (InvalidParameterValue; `wire.error`) is that of the query protocol, in which a queue that is not
    there has a sentence of its own. moto has the code in both places. Source: aws-facts (k).
    """
    try:
        return proceed()
    except ServiceException as problem:
        code, message = problem.code, str(problem.message)
    except Refused as problem:
        code, message = problem.code, problem.message
    if code in GONE and call.response.normalized_request.environ[ASKED].protocol == "query":
        message = "The specified queue does not exist for this wsdl version."
    raise Refused(code, message)


@state
class Deleted(dict[str, float]):
    """Name of a queue to the moment of its deletion."""


queue_names_rest = rule(
    "queue_names_rest",
    """For 60 s (times `slow_states`) after DeleteQueue the name is not free: QueueDeletedRecently.

    moto: free at once. Source: aws-facts (a), (j); SQS API reference, CreateQueue.""",
)


@queue_names_rest.around("sqs:DeleteQueue")
def _note(call: Call, proceed: Proceed) -> Any:
    answer = proceed()
    name = call.response._get_queue_name()
    memory(sqs_backends[call.account][call.region], Deleted)[name] = clock.now()
    return answer


@queue_names_rest.before("sqs:CreateQueue")
def _look(call: Call) -> None:
    deleted = memory(sqs_backends[call.account][call.region], Deleted)
    gone_at = deleted.get(call.get("QueueName", ""))
    if gone_at is not None and clock.now() < gone_at + scaled(REST_S):
        raise Refused(
            "AWS.SimpleQueueService.QueueDeletedRecently",
            "You must wait 60 seconds after deleting a queue before you can create another with the same "
            "name.",
        )


FIFO_ALONE = {
    "FifoQueue": "Unknown Attribute FifoQueue.",
    "ContentBasedDeduplication": "Unknown Attribute ContentBasedDeduplication.",
    "DeduplicationScope": "You can specify the DeduplicationScope only when FifoQueue is set to true.",
    "FifoThroughputLimit": "You can specify the FifoThroughputLimit only when FifoQueue is set to true.",
}
"""Attributes that a standard queue does not have, and what AWS says to them."""

queues_are_of_one_type = rule(
    "queues_are_of_one_type",
    """A queue is a FIFO queue from the first to the last day: its name ends in .fifo, and no other's does; a
    standard queue has none of its attributes, not even `false`. A second CreateQueue names the attribute that
    differs. A redrive policy counts from 1 to 1,000. moto takes all that. Source: aws-facts (k).""",
)


@queues_are_of_one_type.before("sqs:CreateQueue")
def _create(call: Call) -> None:
    name, attributes = str(call.get("QueueName", "")), call.get("Attributes", {})
    fifo = str(attributes.get("FifoQueue", "")).lower() == "true"
    if not fifo:
        _standard(attributes)
        if name.endswith(".fifo"):
            raise invalid(
                "Can only include alphanumeric characters, hyphens, or underscores. 1 to 80 in length",
            )
    _redrives(attributes)
    queue = sqs_backends[call.account][call.region].queues.get(name)
    held = queue.attributes if queue is not None else {}
    for attribute, value in attributes.items() if held else ():
        if _plain(held.get(attribute)) != _plain(value):
            raise Refused(
                "QueueAlreadyExists",
                "A queue already exists with the same name and a different value for attribute " + attribute,
            )


@queues_are_of_one_type.before("sqs:SetQueueAttributes")
def _set(call: Call) -> None:
    queue, attributes = queue_of(call), call.get("Attributes", {})
    if queue is None:
        return
    _redrives(attributes)
    if attributes.get("KmsMasterKeyId") and str(attributes.get("SqsManagedSseEnabled")).lower() == "true":
        raise Refused(
            "InvalidAttributeName",
            "You can use one type of server-side encryption (SSE) at one time. You can either enable KMS SSE "
            "or SQS SSE.",
        )
    if not queue.fifo_queue:
        _standard(attributes)
    elif str(attributes.get("FifoQueue", "true")).lower() != "true":
        raise Refused(
            "InvalidAttributeValue",
            "Invalid value for the parameter FifoQueue. Reason: Modifying queue type is not supported.",
        )


def _standard(attributes: dict[str, Any]) -> None:
    """Refuse what only a FIFO queue has."""
    for name, says in FIFO_ALONE.items():
        if name in attributes:
            raise Refused("InvalidAttributeName", says)


def _redrives(attributes: dict[str, Any]) -> None:
    """Refuse a redrive policy that does not count."""
    text = attributes.get("RedrivePolicy")
    try:
        policy = json.loads(text) if text else {}
    except ValueError:
        return  # moto says so
    count = str(policy.get("maxReceiveCount", 1)) if isinstance(policy, dict) else "1"
    if not count.isdecimal() or not 1 <= int(count) <= 1000:
        raise invalid(
            f"Value {text} for parameter RedrivePolicy is invalid. Reason: Invalid value for "
            f"maxReceiveCount: {count}, valid values are from 1 to 1000 both inclusive.",
        )


BOUNDS = {
    "DelaySeconds": (0, 900),
    "MaximumMessageSize": (1024, 1048576),
    "MessageRetentionPeriod": (60, 1209600),
    "ReceiveMessageWaitTimeSeconds": (0, 20),
    "VisibilityTimeout": (0, 43200),
}
"""Attributes that are whole numbers: the least and the most of each, in seconds and bytes."""


@before("sqs:CreateQueue", "sqs:SetQueueAttributes")
def queue_attributes_have_bounds(call: Call) -> None:
    """A delay, timeout, period or size that is no number within its bounds: InvalidAttributeValue.

    moto looks at MaximumMessageSize alone, takes the rest, and falls over what is no number. Source:
    botocore, CreateQueue; ballerina-platform/module-ballerinax-aws.sqs, tests against AWS, for the answer.
    """
    attributes = call.get("Attributes", {})
    for name, (least, most) in BOUNDS.items():
        value = str(attributes.get(name, least))
        if not (value.isdecimal() and least <= int(value) <= most):
            raise Refused("InvalidAttributeValue", f"Invalid value for the parameter {name}.")


def _plain(value: Any) -> str:
    """An attribute's value, to compare: true, 30, a policy without its blanks."""
    text = str(value)
    if text.startswith("{"):
        try:
            found = json.loads(text)
        except ValueError:
            return text
        return json.dumps({name: str(inner) for name, inner in found.items()}, sort_keys=True)
    return text.lower() if text.lower() in ("true", "false") else text


@around("sqs:ListQueueTags")
def no_tags_no_list(call: Call, proceed: Proceed) -> Any:
    """A queue without tags has no `Tags` in the answer. moto: an empty one. Source: aws-facts (k)."""
    answer = proceed()
    if not answer.result.get("Tags", True):
        del answer.result["Tags"]
    return answer


@around("sqs:AddPermission")
def added_policies_are_old(call: Call, proceed: Proceed) -> Any:
    """A policy that AddPermission begins is of the version of 2008. moto: of 2012. Source: aws-facts (k)."""
    queue = queue_of(call)
    if queue is not None and not queue._policy_json["Statement"]:
        queue._policy_json["Version"] = "2008-10-17"
    return proceed()


@around("sqs:RemovePermission")
def labels_that_are_not_there(call: Call, proceed: Proceed) -> Any:
    """To a label that no statement has: "Reason: can't find label.", a shorter word than moto's.

    Source: aws-facts (k).
    """
    queue, label = queue_of(call), call.get("Label")
    if queue is not None and all(line.get("Sid") != label for line in queue._policy_json["Statement"]):
        raise invalid(f"Value {label} for parameter Label is invalid. Reason: can't find label.")
    return proceed()


@before("sqs:CreateQueue", "sqs:ListQueues")
def addresses_of_queues(call: Call) -> None:
    """At the address of a queue no queue is made, and none are listed: InvalidAction. moto does both.

    Source: aws-facts (k).
    """
    request = call.response.normalized_request
    if request.environ[ASKED].protocol == "query" and request.path.count("/") > 1:
        raise Refused("InvalidAction", f"The action {call.action} is not valid for this endpoint.")


messages_go_by_the_clock = rule(
    "messages_go_by_the_clock",
    """A message that is delayed or hidden is seen when its time has passed on the practice cloud's clock.
    moto asks the computer's, and makes a date of it for each message that it looks at: with 1,000 of them a
    SendMessage takes 5 ms. Source: SQS developer guide, "Amazon SQS visibility timeout".""",
)

messages_go_by_the_clock.puts(models, "unix_time", lambda: int(clock.now()))
messages_go_by_the_clock.puts(models, "unix_time_millis", lambda: 1000 * clock.now())
