"""SQS: the order in which a FIFO queue gives out its messages."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from typing import Any

from moto.sqs.models import Queue, SQSBackend

from awslabs.sandbox.core.engine import Call, Proceed, clock, memory, rule, scaled, state
from awslabs.sandbox.services.sqs.queues import invalid, queue_of

FIRST_NUMBER = 18_850_000_000_000_000_000
DUPLICATES_S = 300
CHANGED_S = 60
"""Until a changed scope of duplicates takes effect. Source: botocore, SetQueueAttributes."""


@state
@dataclass
class Turns:
    """Of one FIFO queue.

    Attributes
    ----------
    taken : dict
        Group to the number of its last turn: who was served last comes last.
    numbers : iterator
        Of turns, and of messages in the order in which they came.
    seen : dict
        Group, where duplicates are looked for within one, and id for duplicates, to when it came (seconds
        since 1970).
    scope : str
        Where duplicates were looked for before that was changed.
    until : float
        When the change takes effect (seconds since 1970).
    """

    taken: dict[str, int] = field(default_factory=dict)
    numbers: Any = field(default_factory=lambda: itertools.count(1))
    seen: dict[tuple[str, str], float] = field(default_factory=dict)
    scope: str = ""
    until: float = 0.0


groups_take_turns = rule(
    "groups_take_turns",
    """A FIFO queue gives out as many messages of one group as it can, then those of the next; a group that
    was served comes last; while a message of a group is in flight, those that come after it wait.
    Each message has a number. moto gives out in the order of coming, and numbers only what has an id for
    duplicates. Source: aws-facts (k); SQS developer guide, "Amazon SQS FIFO queue delivery logic".""",
)


@groups_take_turns.patch(SQSBackend, "receive_message")
def _receive(original: Any, backend: Any, queue_name: str, *args: Any, **kwargs: Any) -> Any:
    queue = backend.get_queue(queue_name)
    if not queue.fifo_queue:
        return original(backend, queue_name, *args, **kwargs)
    all_of_it = queue._messages
    offered = _in_turn(queue)
    queue._messages, queue._pending_messages = list(offered), set()
    try:
        found = original(backend, queue_name, *args, **kwargs)
    finally:
        left = {id(message) for message in queue._messages}
        moved = {id(message) for message in offered} - left  # to the queue of dead letters
        queue._messages = [message for message in all_of_it if id(message) not in moved]
    turns = memory(queue, Turns)
    for group in dict.fromkeys(message.group_id for message in found):
        turns.taken[group] = next(turns.numbers)
    return found


def _in_turn(queue: Any) -> list[Any]:
    """What can be given out now, in order."""
    now_ms = 1000 * clock.now()
    groups: dict[str, list[Any]] = {}
    for message in queue._messages:
        groups.setdefault(message.group_id, []).append(message)
    taken = memory(queue, Turns).taken
    offered: list[Any] = []
    for group in sorted(groups, key=lambda group: taken.get(group, 0)):  # equal ones stay as they came
        messages = [message for message in groups[group] if message.delayed_until <= now_ms]
        offered += itertools.takewhile(lambda message: message.visible_at < now_ms, messages)
    return offered


@groups_take_turns.around("sqs:SendMessage", "sqs:SendMessageBatch")
def _number(call: Call, proceed: Proceed) -> Any:
    """Messages are numbered as they come; a delay is the queue's alone."""
    queue = queue_of(call)
    if queue is None or not queue.fifo_queue:
        return proceed()
    if call.get("DelaySeconds") == 0:
        call.change("DelaySeconds", None)
    answer = proceed()
    for shown in answer.result.get("Successful", [answer.result]):
        for message in reversed(queue._messages):
            if message.id == shown.get("MessageId"):
                message.sequence_number = str(FIRST_NUMBER + next(memory(queue, Turns).numbers))
                shown["SequenceNumber"] = message.sequence_number
                break
    return answer


duplicates_come_once = rule(
    "duplicates_come_once",
    """For five minutes a FIFO queue takes another message of the same id for duplicates and gives it to
    nobody, even if the first one was deleted; in another group, if `DeduplicationScope` is messageGroup, it
    is no duplicate; a scope that is changed takes effect within a minute, and PurgeQueue forgets all ids.
    moto looks at the messages that it still has, in all groups. Source: aws-facts (k); SQS developer guide,
    "Exactly-once processing in Amazon SQS".""",
)


@duplicates_come_once.around("sqs:PurgeQueue")
def _forget(call: Call, proceed: Proceed) -> Any:
    answer, queue = proceed(), queue_of(call)
    if queue is not None:
        memory(queue, Turns).seen.clear()
    return answer


@duplicates_come_once.before("sqs:SetQueueAttributes")
def _change_scope(call: Call) -> None:
    queue, wanted = queue_of(call), call.get("Attributes", {}).get("DeduplicationScope")
    if queue is None or not queue.fifo_queue or wanted in (None, queue.attributes.get("DeduplicationScope")):
        return
    turns = memory(queue, Turns)
    turns.scope, turns.until = _scope(queue), clock.now() + scaled(CHANGED_S)


def _scope(queue: Any) -> str:
    """Where a queue looks for duplicates now."""
    turns = memory(queue, Turns)
    if clock.now() < turns.until:
        return turns.scope
    return str(queue.attributes.get("DeduplicationScope"))


@duplicates_come_once.patch(Queue, "add_message")
def _add_once(original: Any, queue: Any, message: Any) -> None:
    given = message.deduplication_id
    if not queue.fifo_queue or given is None:
        original(queue, message)
        return
    within = message.group_id if _scope(queue) == "messageGroup" else ""
    seen, now = memory(queue, Turns).seen, clock.now()
    for key in [key for key, came in seen.items() if came <= now - DUPLICATES_S]:
        del seen[key]
    if (within, given) in seen:
        return
    seen[within, given] = now
    message.deduplication_id = None  # moto need not look
    try:
        original(queue, message)
    finally:
        message.deduplication_id = given


@groups_take_turns.before("sqs:DeleteMessage")
def _expired(call: Call) -> None:
    """A handle of a FIFO queue is good until its message can be seen again."""
    queue, handle = queue_of(call), call.get("ReceiptHandle")
    for message in queue._messages if queue is not None and queue.fifo_queue else ():
        if message.had_receipt_handle(handle) and message.visible:
            raise invalid(
                f"Value {handle} for parameter ReceiptHandle is invalid. Reason: The receipt handle has "
                "expired.",
            )
