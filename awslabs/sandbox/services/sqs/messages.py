"""SQS: what a message may hold, and how many one may ask for."""

from __future__ import annotations

import re
from typing import Any

from moto.core.responses import ActionResult
from moto.sqs.constants import MAXIMUM_MESSAGE_LENGTH as LONGEST
from moto.sqs.exceptions import ReceiptHandleIsInvalid
from moto.sqs.models import Message

from awslabs.sandbox.core.engine import Call, Proceed, Refused, rule
from awslabs.sandbox.services.sqs.queues import invalid, queue_of

NO_TEXT = re.compile("[^\\t\\n\\r\\x20-\\ud7ff\\ue000-\\ufffd\\U00010000-\\U0010ffff]")
NAME = re.compile(r"(?!(?i:aws|amazon)\.)(?!\.)[\w.\-]{1,256}(?<!\.)")
ID = re.compile(r"[!-~]{1,128}")
HANDLE = re.compile(r"[a-z]{100,}")  # moto's own
TYPE_LENGTH = 256

messages_are_sound = rule(
    "messages_are_sound",
    """A message has a body, of characters that XML knows; its attributes have names, types and values; body
    and attributes together are at most as long as the queue allows, in bytes, in a batch 1 MiB in all; of a
    batch, those fail alone that are too long or no text; ids of groups and duplicates are printable, and of
    128 characters. moto counts the characters of the body alone,
    and takes the rest. Source: aws-facts (k).""",
)


@messages_are_sound.before("sqs:SendMessage")
def _send(call: Call) -> None:
    entry = {
        name: call.get(name)
        for name in ("MessageBody", "MessageAttributes", "MessageGroupId", "MessageDeduplicationId")
    }
    _look_at(entry)
    queue = queue_of(call)
    if queue is not None and _length(entry) > queue.maximum_message_size:
        raise invalid(
            "One or more parameters are invalid. Reason: Message must be shorter than "
            f"{queue.maximum_message_size} bytes."
        )


@messages_are_sound.around("sqs:SendMessageBatch")
def _send_batch(call: Call, proceed: Proceed) -> Any:
    entries, queue = call.get("Entries", []), queue_of(call)
    length = sum(map(_length, entries))
    if length > LONGEST:
        raise Refused(
            "AWS.SimpleQueueService.BatchRequestTooLong",
            f"Batch requests cannot be longer than {LONGEST} bytes. You have sent {length} bytes.",
        )
    if queue is not None and queue.fifo_queue and not all(entry.get("MessageGroupId") for entry in entries):
        raise invalid("The request must contain the parameter MessageGroupId.")
    longest = LONGEST if queue is None else queue.maximum_message_size
    failed = []
    for entry in entries:
        try:
            _look_at(entry)
            if _length(entry) > longest:
                raise invalid(
                    "One or more parameters cannot be validated. Reason: Message must be shorter than "
                    f"{longest} bytes.",
                )
        except Refused as refused:
            if refused.code != "InvalidMessageContents" and _length(entry) <= longest:
                raise
            why = {"SenderFault": True, "Code": refused.code, "Message": refused.message}
            failed.append({"Id": entry["Id"]} | why)
    bad = {each["Id"] for each in failed}
    if queue is None or not bad:
        return proceed()
    call.change("Entries", [entry for entry in entries if entry["Id"] not in bad])
    done = proceed().result if len(bad) < len(entries) else {}
    return ActionResult(done | {"Failed": failed + done.get("Failed", [])})


@messages_are_sound.around("sqs:ChangeMessageVisibility", "sqs:DeleteMessage")
def _handles(call: Call, proceed: Proceed) -> Any:
    """A handle of a message that is gone is another mistake than what never was a handle."""
    try:
        return proceed()
    except ReceiptHandleIsInvalid as problem:
        handle = str(call.get("ReceiptHandle"))
        if HANDLE.fullmatch(handle):
            raise invalid(
                f"Value {handle} for parameter ReceiptHandle is invalid. Reason: Message does not exist or "
                "is not available for visibility timeout change."
            ) from problem
        message = f'The input receipt handle "{handle}" is not a valid receipt handle.'
        raise Refused("ReceiptHandleIsInvalid", message) from problem


@messages_are_sound.around("sqs:SendMessageBatch", "sqs:DeleteMessageBatch")
@messages_are_sound.around("sqs:ChangeMessageVisibilityBatch")
def _batch(call: Call, proceed: Proceed) -> Any:
    """At most ten at once, each with a name of its own; lists that are empty are not in the answer."""
    entries = call.get("Entries", [])
    if len(entries) > 10:
        raise Refused(
            "AWS.SimpleQueueService.TooManyEntriesInBatchRequest",
            f"Maximum number of entries per request are 10. You have sent {len(entries)}.",
        )
    if any(not re.fullmatch(r"[a-zA-Z0-9_-]{1,80}", str(entry.get("Id", ""))) for entry in entries):
        raise Refused(
            "AWS.SimpleQueueService.InvalidBatchEntryId",
            "A batch entry id can only contain alphanumeric characters, hyphens and underscores. It can be "
            "at most 80 letters long.",
        )
    answer = proceed()
    for name in ("Successful", "Failed"):
        if not answer.result.get(name, True):
            del answer.result[name]
    return answer


@messages_are_sound.before("sqs:ReceiveMessage")
def _receive(call: Call) -> None:
    number, wait_s = call.get("MaxNumberOfMessages", 1), call.get("WaitTimeSeconds", 0)
    if not 1 <= number <= 10:
        raise invalid(
            f"Value {number} for parameter MaxNumberOfMessages is invalid. Reason: Must be between 1 and 10, "
            "if provided."
        )
    if not 0 <= wait_s <= 20:
        raise invalid(
            f"Value {wait_s} for parameter WaitTimeSeconds is invalid. Reason: Must be >= 0 and <= 20, if "
            "provided."
        )


@messages_are_sound.around("sqs:SendMessage")
def _digest(call: Call, proceed: Proceed) -> Any:
    """The answer has a digest of the attributes that AWS itself reads, the trace header."""
    answer = proceed()
    if of_system := call.get("MessageSystemAttributes"):
        carrier = Message("", "")
        carrier.message_attributes = of_system
        answer.result["MD5OfMessageSystemAttributes"] = carrier.attribute_md5
    return answer


@messages_are_sound.patch(Message, "validate_attribute_name")
def _any_name(_original: Any, _name: str) -> None:
    """moto knows the letters of English alone; names have been looked at already."""


def _look_at(entry: dict[str, Any]) -> None:
    """Refuse a message that AWS refuses."""
    body = entry.get("MessageBody")
    if not body:
        raise Refused("MissingParameter", "The request must contain the parameter MessageBody.")
    if NO_TEXT.search(body):
        raise Refused(
            "InvalidMessageContents",
            "Invalid characters found. Valid unicode characters are #x9 | #xA | #xD | #x20 to #xD7FF | "
            "#xE000 to #xFFFD | #x10000 to #x10FFFF",
        )
    for name in ("MessageGroupId", "MessageDeduplicationId"):
        value = entry.get(name)
        if value is not None and not ID.fullmatch(value):
            raise invalid(
                f"Value {value} for parameter {name} is invalid. Reason: {name} can only include "
                "alphanumeric and punctuation characters. 1 to 128 in length."
            )
    for name, attribute in (entry.get("MessageAttributes") or {}).items():
        kind, value = str(attribute.get("DataType") or ""), attribute.get("StringValue")
        if not NAME.fullmatch(name):
            raise invalid(
                f"The message attribute name '{name}' is invalid. Attribute name can contain A-Z, a-z, 0-9, "
                "underscore (_), hyphen (-), and period (.) characters."
            )
        if len(kind) > TYPE_LENGTH:
            raise invalid(f"Message (user) attribute '{name}' has an invalid type: it is too long.")
        if value == "" and kind.split(".")[0] != "Binary":
            raise invalid(
                f"Message (user) attribute '{name}' must contain a non-empty value of type "
                f"'{kind.split('.')[0]}'."
            )
        if value is not None and NO_TEXT.search(value):
            raise invalid(f"Message (user) attribute '{name}' has invalid characters in its value.")


def _length(entry: dict[str, Any]) -> int:
    """Bytes of a body and its attributes: their names, types and values."""
    parts: list[Any] = [entry.get("MessageBody") or ""]
    for name, attribute in (entry.get("MessageAttributes") or {}).items():
        value = attribute.get("StringValue") or attribute.get("BinaryValue") or ""
        parts += [name, attribute.get("DataType") or "", value]
    return sum(len(part if isinstance(part, bytes) else str(part).encode()) for part in parts)
