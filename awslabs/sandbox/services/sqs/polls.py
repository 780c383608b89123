"""SQS: a long poll waits without holding up anybody, and a message that comes meanwhile ends it."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable
from typing import Any

from moto.sqs.models import Queue

from awslabs.sandbox.core.engine import Call, Proceed, clock, lock, memory, nobody, rule, state
from awslabs.sandbox.services.sqs.queues import queue_of

LOOK_S = 1.0  # how often a waiting call looks whether its client is still there
LONGEST_S = 20


@state
class Changes(threading.Condition):
    """Of one queue. It is the lock under which moto works: whoever waits for it lets go of that."""

    def __init__(self) -> None:
        super().__init__(lock)


long_polls = rule(
    "long_polls",
    """ReceiveMessage waits for a message up to WaitTimeSeconds, while other calls are answered.

    moto: waits with all other calls behind it, and looks once a second. Source: SQS developer guide, "Amazon
    SQS short and long polling".""",
)


@long_polls.around("sqs:ReceiveMessage")
def _receive(call: Call, proceed: Proceed) -> Any:
    queue = queue_of(call)
    wait_s = call.get("WaitTimeSeconds", queue.receive_message_wait_time_seconds if queue else 0)
    if queue is None or not isinstance(wait_s, int) or not 0 < wait_s <= LONGEST_S:
        return proceed()
    call.change("WaitTimeSeconds", 0)
    ends = time.monotonic() + wait_s
    while True:
        answer = proceed()
        left_s = ends - time.monotonic()
        if answer.result or left_s <= 0:
            return answer
        memory(queue, Changes).wait(min(left_s, LOOK_S, next_message_s(queue) or LOOK_S))
        if _hung_up(call):
            return answer  # nobody reads it; the message that came stays in the queue


def next_message_s(queue: Any) -> float | None:
    """Seconds until a message of the queue can be seen that cannot be seen now; None: there is none."""
    now_ms = 1000 * clock.now()
    due_ms = [max(message.visible_at, message.delayed_until) for message in queue._messages]
    return min((0.001 + (due - now_ms) / 1000 for due in due_ms if due > now_ms), default=None)


def _hung_up(call: Call) -> bool:
    """Whether the client has closed its connection. Without a server there is none."""
    connection = call.response.normalized_request.environ.get("werkzeug.socket")
    if connection is None:
        return False
    try:
        return bool(connection.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT) == b"")
    except BlockingIOError:
        return False
    except OSError:
        return True


@long_polls.patch(Queue, "add_message")
def _add(original: Any, queue: Any, message: Any) -> None:
    original(queue, message)
    note(queue)


@long_polls.around("sqs:ChangeMessageVisibility", "sqs:ChangeMessageVisibilityBatch")
@long_polls.around("sqs:DeleteMessage", "sqs:DeleteMessageBatch")
def _note(call: Call, proceed: Proceed) -> Any:
    """A message that can be seen again; one that is done, which lets the next one of its group go."""
    answer = proceed()
    if queue := queue_of(call):
        note(queue)
    return answer


def note(queue: Any) -> None:
    """Let all know who wait for messages of a queue: some may have come, or may be given out now."""
    changes = memory(queue, Changes)
    with changes:
        changes.notify_all()
    changed(queue)


changed: Callable[[Any], None] = nobody
"""Who is told besides, and returns at once: event source mappings of Lambda, in the server."""
