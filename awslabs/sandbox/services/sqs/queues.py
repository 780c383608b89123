"""SQS: the name of a deleted queue rests for a minute; messages go by the practice cloud's clock."""

from __future__ import annotations

from typing import Any

from moto.sqs import models
from moto.sqs.models import sqs_backends

from awslabs.sandbox.core.engine import Call, Proceed, Refused, clock, memory, rule, scaled, state

REST_S = 60.0


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
    name = call.get("QueueUrl", "").rpartition("/")[2]
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
            400,
        )


messages_go_by_the_clock = rule(
    "messages_go_by_the_clock",
    """A message that is delayed or hidden is seen when its time has passed on the practice cloud's clock.
    moto asks the computer's, and makes a date of it for each message that it looks at: with 1,000 of them a
    SendMessage takes 5 ms. Source: SQS developer guide, "Amazon SQS visibility timeout".""",
)

messages_go_by_the_clock.puts(models, "unix_time", lambda: clock.now())
messages_go_by_the_clock.puts(models, "unix_time_millis", lambda: 1000 * clock.now())
