"""Dead letters: the events on which a function failed for good, and why; kept in the queue until told."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

from awslabs.errors import AwsError
from awslabs.kinds.named import parts
from awslabs.ledger import Ledger
from awslabs.show import Shown
from awslabs.workload import standing
from awslabs.workload.serverless import functions

BATCH = 10  # the most that one call of SQS takes
HIDDEN_S = 60  # how long a message that was read shows to nobody: only if this program dies meanwhile


@dataclass(frozen=True)
class DeadLetter(Shown):
    """An event that Lambda gave up.

    Attributes
    ----------
    event : object
        What the function was sent.
    error : str
        What it raised the last time, up to 1 KB.
    error_code : int
        The HTTP status of that invocation: 200 for an error of the function's own.
    request_id : str
        The same in the function's log, for all three tries.
    given_up_at : str
        When Lambda put it into the queue: ``2026-01-31T09:30:00Z``.
    """

    event: Any
    error: str
    error_code: int
    request_id: str
    given_up_at: str


def read(ledger: Ledger, *, limit: int = 10, discard: bool = False) -> list[DeadLetter]:
    """The dead letters, oldest first as far as SQS keeps an order. They stay where they are.

    AWS calls: ``sqs:GetQueueAttributes``, ``sqs:ReceiveMessage``, then ``sqs:ChangeMessageVisibilityBatch``
    or ``sqs:DeleteMessageBatch``.

    Parameters
    ----------
    limit : int
        How many at most.
    discard : bool
        Delete from the queue what is returned. There is no way back.

    Raises
    ------
    AwsError
        Some could not be deleted, or put back: these show again after a minute.
    """
    sqs, url = ledger.client("sqs"), standing(ledger, "dead-letter-queue")
    found = receive(sqs, url, limit, functions.dead_letters(ledger))
    settle(sqs, url, found, discard)
    return sorted((letter(one) for one in found), key=lambda one: one.given_up_at)


def receive(sqs: Any, url: str, limit: int, about: int) -> list[dict[str, Any]]:
    """Messages, each once, until there are enough or no more; `about` is how many SQS believes there are.

    An answer may be empty though there are messages, unless the call waits: then SQS asks all its servers.
    Source: SQS developer guide, "Amazon SQS short and long polling".
    """
    found: dict[str, dict[str, Any]] = {}
    while len(found) < limit:
        answer = sqs.receive_message(
            QueueUrl=url,
            MaxNumberOfMessages=min(BATCH, limit - len(found)),
            MessageAttributeNames=["All"],
            MessageSystemAttributeNames=["SentTimestamp"],
            VisibilityTimeout=HIDDEN_S,
            WaitTimeSeconds=1 if len(found) < about else 0,
        )
        if not answer.get("Messages"):
            break
        found |= {message["MessageId"]: message for message in answer["Messages"]}
    return list(found.values())


def settle(sqs: Any, url: str, messages: Sequence[dict[str, Any]], discard: bool) -> None:
    """Delete what was received, or show it to everybody again at once."""
    entries = [
        {"Id": str(number), "ReceiptHandle": message["ReceiptHandle"]}
        for number, message in enumerate(messages)
    ]
    failed: list[dict[str, Any]] = []
    for batch in parts(entries, BATCH):
        if discard:
            answer = sqs.delete_message_batch(QueueUrl=url, Entries=batch)
        else:
            shown = [{**entry, "VisibilityTimeout": 0} for entry in batch]
            answer = sqs.change_message_visibility_batch(QueueUrl=url, Entries=shown)
        failed += answer.get("Failed", [])
    if failed:
        verb = "delete" if discard else "put back"
        raise AwsError(
            f"SQS did not {verb} {len(failed)} of {len(entries)} dead letters.",
            f"{failed[0].get('Code', '')} {failed[0].get('Message', '')}".strip(),
            "run the same command again in a minute",
            code=failed[0].get("Code", ""),
            operation="sqs:DeleteMessageBatch" if discard else "sqs:ChangeMessageVisibilityBatch",
        )


def letter(message: dict[str, Any]) -> DeadLetter:
    """A message as Lambda writes it: the body is the event, the attributes say why.

    Source: Lambda developer guide, "Dead-letter queues".
    """
    why = {name: value.get("StringValue", "") for name, value in message.get("MessageAttributes", {}).items()}
    try:
        event = json.loads(message["Body"])
    except ValueError:  # not from Lambda: anybody with the right may send to a queue
        event = message["Body"]
    sent = datetime.fromtimestamp(int(message["Attributes"]["SentTimestamp"]) / 1000, timezone.utc)
    return DeadLetter(
        event,
        why.get("ErrorMessage", ""),
        int(why.get("ErrorCode") or 0),
        why.get("RequestID", ""),
        f"{sent:%Y-%m-%dT%H:%M:%SZ}",
    )
