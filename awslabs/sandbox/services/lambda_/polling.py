"""Lambda, running: event source mappings read SQS queues and invoke their functions.

    a message comes, or comes back --> look         on the practice cloud's clock; nobody waits for it
                                   --> the buffer   received: hidden until the queue's visibility timeout
              it is full, or late  --> a batch      a thread invokes the function; some at a time
                                   --> deleted      what went well; all else is seen again, or redriven

A mapping costs nothing while its queue is at rest: whoever changes the queue says so (`sqs.polls.changed`),
and what becomes visible later is looked for at that moment.

What is not like AWS: a message is read as soon as it is there, where AWS polls within seconds; at most
`MOST` batches of a mapping run at a time. A mapping whose function is gone, or whose role may not read the
queue any more, reads nothing (unsourced).
Source: Lambda developer guide, "Using Lambda with Amazon SQS" and its pages on scaling, batching, error
handling; aws-facts (k).
"""

from __future__ import annotations

import base64
import functools
import json
import logging
from dataclasses import dataclass
from typing import Any

from moto.awslambda.utils import get_backend
from moto.sqs.models import Message, sqs_backends

from awslabs.sandbox.core import engine
from awslabs.sandbox.core.engine import Refused, clock, lock, memory, quiet
from awslabs.sandbox.services.iam import permissions
from awslabs.sandbox.services.lambda_ import filters, functions, invocations, mappings
from awslabs.sandbox.services.lambda_.mappings import Mapping, Mappings
from awslabs.sandbox.services.sqs import polls
from awslabs.sandbox.services.sqs.queues import delete_messages

log = logging.getLogger("awslabs.sandbox")

FIRST = 5
"""Batches at a time when a queue fills up."""
MORE_PER_S = 5.0
"""And how many more each second: 300 a minute."""
MOST = invocations.CAPACITY // 2
PIECE = 100  # messages that are received in one go: the lock is held meanwhile
PAYLOAD_BYTES = functions.SYNC_BYTES - 64  # without what stands around the records
UNABLE_S = 20.0  # until a mapping that may not read is looked at again
RETRY_S = 1.0  # until a batch that was throttled is tried again: doubled each time
LONGEST_RETRY_S = 60.0


@dataclass(frozen=True)
class Record:
    """A message on its way to a function."""

    id: str
    handle: str
    text: str  # the record, in JSON
    good_until: float  # then the queue shows it again


@dataclass
class Batch:
    """What one invocation gets."""

    queue: Any
    settings: dict[str, Any]
    role: str
    records: list[Record]
    tries: int = 0


class Poller:
    """What reads the queue of one mapping. All is done with the lock held but `run`."""

    def __init__(self, mapping: Mapping) -> None:
        self.mapping = mapping
        self.planned: float | None = None  # the next look
        self.buffer: list[Record] = []
        self.window_ends: float | None = None
        self.batches = 0  # that run
        self.busy_since = 0.0

    # -- looking ----------------------------------------------------------------------------------

    def plan(self, at: float) -> None:
        """Look at that moment, unless it is sooner anyway."""
        if self.planned is None or at < self.planned:
            assert engine.timer is not None  # mappings poll in the server alone
            self.planned = at
            engine.timer.do(at, functools.partial(self.look, at))

    def look(self, planned: float) -> None:
        """Receive what there is, and let a batch run if it is time."""
        with lock:
            if self.planned != planned:
                return  # another look was planned since, for an earlier moment
            self.planned = None
            if not is_there(self.mapping):
                pollers.pop(self.mapping.uuid, None)
                return
            moments = [self.work()]
            if self.mapping.under_way:
                moments.append(self.mapping.settles_at)
            if due := [at for at in moments if at is not None]:
                self.plan(min(due))

    def work(self) -> float | None:
        """Read the queue once; when to look again, if not at a change of the queue."""
        mapping, settings, now = self.mapping, self.mapping.in_force, clock.now()
        queue = queue_of(mapping)
        if settings is None or queue is None:
            self.buffer.clear()
            return None
        if not queue._messages and not self.buffer:
            return None
        most = min(settings.get("ScalingConfig", {}).get("MaximumConcurrency", MOST), MOST)
        if self.batches >= most:
            return None  # the end of one of them is a moment to look
        if self.batches >= FIRST + int(MORE_PER_S * (now - self.busy_since)):
            return now + 1 / MORE_PER_S
        function = functions.known(mapping.account, mapping.region, settings["FunctionArn"])
        if function is None or not may(mapping, function.role, "ReceiveMessage"):
            return now + UNABLE_S
        # What waits for longer than the queue hides it is the queue's again.
        self.buffer = [record for record in self.buffer if now <= record.good_until]
        wanted = settings["BatchSize"] - len(self.buffer)
        got = self.receive(queue, settings, min(wanted, PIECE)) if wanted > 0 else 0
        if not self.buffer:
            self.window_ends = None
        elif self.window_ends is None:
            self.window_ends = now + settings["MaximumBatchingWindowInSeconds"]
        if self.buffer and not (got == PIECE < wanted):
            full = len(self.buffer) >= settings["BatchSize"] or self.length() >= PAYLOAD_BYTES
            if full or now >= (self.window_ends or now):
                self.hand_over(queue, settings, function.role, now)
                return now
        if got:
            return now
        later = polls.next_message_s(queue)
        moments = [self.window_ends if self.buffer else None, None if later is None else now + later]
        return min((at for at in moments if at is not None), default=None)

    def length(self) -> int:
        return sum(len(record.text) + 2 for record in self.buffer)

    def receive(self, queue: Any, settings: dict[str, Any], count: int) -> int:
        """Take messages into the buffer; those that no filter lets pass are deleted. How many there were."""
        backend = sqs_backends[self.mapping.account][self.mapping.region]
        hidden_s = max(1, queue.visibility_timeout)  # of a queue that hides nothing there would be no end
        found = backend.receive_message(queue.name, count, 0, hidden_s, ["All"])
        given = settings.get("FilterCriteria", {}).get("Filters", [])
        patterns = [filters.read(one.get("Pattern") or "{}") for one in given]
        dropped = set()
        for message in found:
            record = record_of(message, queue, settings)
            if patterns and not filters.passes(patterns, record):
                dropped.add(record["receiptHandle"])
                continue
            text = json.dumps(record, separators=(",", ":"))
            until = message.visible_at / 1000
            self.buffer.append(Record(record["messageId"], record["receiptHandle"], text, until))
        if dropped:
            delete_messages(queue, dropped)
        return len(found)

    # -- running ----------------------------------------------------------------------------------

    def hand_over(self, queue: Any, settings: dict[str, Any], role: str, now: float) -> None:
        """Let a batch run, of as many messages as fit into one invocation."""
        count, length = 0, 0
        for record in self.buffer[: settings["BatchSize"]]:
            length += len(record.text) + 2
            if count and length > PAYLOAD_BYTES:
                break
            count += 1
        batch = Batch(queue, settings, role, self.buffer[:count])
        self.buffer = self.buffer[count:]
        self.window_ends = now if self.buffer else None  # what is left has waited long enough
        if not self.batches:
            self.busy_since = now
        self.batches += 1
        self.send(batch)

    def send(self, batch: Batch) -> None:
        """Give a batch to a thread."""
        if invocations.current is not None and is_there(self.mapping):
            invocations.current.workers.submit(self.run, batch)

    def run(self, batch: Batch) -> None:
        """Invoke the function, and delete what went well."""
        mapping = self.mapping
        payload = '{"Records":[' + ",".join(record.text for record in batch.records) + "]}"
        done: set[str] = set()
        with quiet(f"a batch for {batch.settings['FunctionArn']}"):
            try:
                result = invocations.invoke(
                    mapping.account, mapping.region, batch.settings["FunctionArn"], payload.encode()
                )
            except Refused as refused:
                if self.again(batch, refused):
                    return
            else:
                done = succeeded(batch, result)
        with lock:
            if done and queue_of(mapping) is batch.queue:
                self.delete(batch, done)
            self.batches -= 1
            if mapping.uuid in pollers:
                self.plan(clock.now())

    def again(self, batch: Batch, refused: Refused) -> bool:
        """Try a batch that could not run now once more, as long as the queue hides its messages."""
        delay_s = min(RETRY_S * 2**batch.tries, LONGEST_RETRY_S)
        batch.tries += 1
        with lock:
            at = clock.now() + delay_s
            if engine.timer is None or not is_there(self.mapping) or at >= batch.records[0].good_until:
                log.info("a batch for %s is given up: %s", batch.settings["FunctionArn"], refused.message)
                return False
            engine.timer.do(at, functools.partial(self.send, batch))
        return True

    def delete(self, batch: Batch, done: set[str]) -> None:
        """Delete messages from the queue, if the role may."""
        mapping = self.mapping
        if not may(mapping, batch.role, "DeleteMessage"):
            log.info("%s may not delete from %s: its messages come again", batch.role, mapping.source)
            return
        delete_messages(batch.queue, done)
        polls.note(batch.queue)


# --- what a poller asks -------------------------------------------------------------------------------


def is_there(mapping: Mapping) -> bool:
    """Whether a mapping was neither deleted nor reset with its account."""
    return mappings.held(mapping.account, mapping.region).get(mapping.uuid) is mapping


def queue_of(mapping: Mapping) -> Any:
    """moto's queue of a mapping, if it is there."""
    return sqs_backends[mapping.account][mapping.region].queues.get(mapping.source.rpartition(":")[2])


def may(mapping: Mapping, role: str, action: str) -> bool:
    """Whether the function's role may do this to the queue."""
    return permissions.allows(mapping.account, role, f"sqs:{action}", mapping.source, mapping.region)


def record_of(message: Message, queue: Any, settings: dict[str, Any]) -> dict[str, Any]:
    """A message, as a function sees it.

    Without attributes it has no digest of them, or, where a batching window is set, one that is null.
    Source: aws-facts (k).
    """
    told = {
        "ApproximateReceiveCount": message.approximate_receive_count,
        "AWSTraceHeader": message.system_attributes.get("AWSTraceHeader", {}).get("StringValue"),
        "SentTimestamp": message.sent_timestamp,
        "SequenceNumber": message.sequence_number if queue.fifo_queue else None,
        "MessageGroupId": message.group_id,
        "SenderId": message.sender_id,
        "MessageDeduplicationId": message.deduplication_id if queue.fifo_queue else None,
        "ApproximateFirstReceiveTimestamp": message.approximate_first_receive_timestamp,
    }
    digest = {}
    if message.message_attributes or settings["MaximumBatchingWindowInSeconds"]:
        digest["md5OfMessageAttributes"] = message.attribute_md5 if message.message_attributes else None
    return {
        "messageId": message.id,
        "receiptHandle": message.receipt_handle,
        "body": message.body,
        "attributes": {name: str(value) for name, value in told.items() if value is not None},
        "messageAttributes": {name: _attribute(one) for name, one in message.message_attributes.items()},
        **digest,
        "md5OfBody": message.body_md5,
        "eventSource": "aws:sqs",
        "eventSourceARN": queue.queue_arn,
        "awsRegion": queue.region,
    }


def _attribute(sent: dict[str, Any]) -> dict[str, Any]:
    """An attribute of a message: lists are of no use in SQS, and empty."""
    shown: dict[str, Any] = {}
    if (binary := sent.get("BinaryValue")) is not None:
        shown["binaryValue"] = base64.b64encode(binary).decode() if isinstance(binary, bytes) else binary
    else:
        shown["stringValue"] = sent.get("StringValue")
    return shown | {"stringListValues": [], "binaryListValues": [], "dataType": sent["DataType"]}


def succeeded(batch: Batch, result: invocations.Result) -> set[str]:
    """The receipt handles of what a function has done.

    All, unless it failed, or was asked to report failures and names some; an answer to that which is no
    object, or names a message that was not in the batch, is a failure of all. Source: Lambda developer guide,
    "Implementing partial batch responses" (of a message that was not in the batch: unsourced).
    """
    if result.function_error:
        return set()
    handles = {record.id: record.handle for record in batch.records}
    if "ReportBatchItemFailures" not in batch.settings["FunctionResponseTypes"]:
        return set(handles.values())
    try:
        said = json.loads(result.payload or b"null")
    except ValueError:
        return set()
    failures = said.get("batchItemFailures") or [] if isinstance(said, dict) else said or []
    if not isinstance(failures, list):
        return set()
    for one in failures:
        id = one.get("itemIdentifier") if isinstance(one, dict) else None
        if not isinstance(id, str) or handles.pop(id, None) is None:
            return set()
    return set(handles.values())


# --- the one of this process --------------------------------------------------------------------------

pollers: dict[str, Poller] = {}
"""UUID of a mapping to what reads for it."""


def changed(mapping: Mapping) -> None:
    """A mapping was made, or is to change. The caller holds the lock."""
    pollers.setdefault(mapping.uuid, Poller(mapping)).plan(mapping.settles_at)


def queue_changed(queue: Any) -> None:
    """Messages of a queue may have come, or may be given out now. The caller holds the lock."""
    for poller in list(pollers.values()):
        if poller.mapping.source == queue.queue_arn:
            poller.plan(clock.now())


def add_handlers(cloud: Any) -> None:
    """Begin: mappings poll from now on."""
    mappings.changed, polls.changed = changed, queue_changed


def reset(account: str) -> None:
    """Forget the mappings of an account: no batch of theirs begins any more."""
    with lock:
        for uuid, poller in list(pollers.items()):
            if poller.mapping.account == account:
                memory(get_backend(account, poller.mapping.region), Mappings).clear()
                del pollers[uuid]


def close() -> None:
    """End: nothing is read any more."""
    with lock:
        mappings.changed, polls.changed = engine.nobody, engine.nobody
        pollers.clear()
