"""EventBridge Scheduler, running: schedules fire, on the practice cloud's clock.

    CreateSchedule, UpdateSchedule --> when is it due first?        schedules.next_due
                              due  --> in its role: may it?         permissions, trust
                                   --> the function, the queue      an asynchronous event: 202, and it is done
                          refused  --> again, later and later       RetryPolicy; then the dead-letter queue

AWS fires within the minute that a schedule names; here it is its first moment. While the clock leaps (a test
moves it, the computer slept) what was missed is missed: AWS would have fired each.
"""

from __future__ import annotations

import functools
import json
import logging
import uuid
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

from moto.scheduler.models import EventBridgeSchedulerBackend, Schedule
from moto.sqs.models import sqs_backends

from awslabs.sandbox.core.engine import Refused, clock, later, lock, memory, nobody, quiet, scaled, state
from awslabs.sandbox.services.iam import identities, permissions
from awslabs.sandbox.services.lambda_ import invocations
from awslabs.sandbox.services.scheduler import schedules
from awslabs.sandbox.services.scheduler.schedules import SERVICE, next_due

log = logging.getLogger("awslabs.sandbox")

# Until the first of the retries, at `slow_states` 1: doubled each time ("exponential backoff").
RETRY_S = 30.0
LEAST_WAIT_S = 0.05
PAST_S = 0.001  # after a firing, until the next one is planned: its own moment has passed then
AT_ONCE = 8  # deliveries


@state
@dataclass
class SchedulePlan:
    """Which version of a schedule is in force, since when: what was planned for an earlier one is void."""

    version: int = 0
    begun: float = 0.0


@dataclass
class Delivery:
    """One firing of a schedule, until its target has taken it."""

    backend: EventBridgeSchedulerBackend
    schedule: Schedule
    target: dict[str, Any]
    due: float
    id: str
    tries: int = 0

    @property
    def payload(self) -> str:
        """The target's input, with what AWS fills in; without one, a notification.

        Source: EventBridge Scheduler user guide, "Adding context attributes". How the notification looks:
        (unsourced).
        """
        at = datetime.fromtimestamp(self.due, timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
        filled = {
            "schedule-arn": self.schedule.arn,
            "scheduled-time": at,
            "execution-id": self.id,
            "attempt-number": str(self.tries + 1),
        }
        if "Input" not in self.target:
            return json.dumps(
                {"version": "0", "id": self.id, "detail-type": "Scheduled Event", "source": "aws.scheduler"}
                | {"account": self.backend.account_id, "time": at, "region": self.backend.region_name}
                | {"resources": [self.schedule.arn], "detail": "{}"}
            )
        text = str(self.target["Input"])
        for name, value in filled.items():
            text = text.replace(f"<aws.scheduler.{name}>", value)
        return text


# --- when ------------------------------------------------------------------------------------------------


def changed(backend: EventBridgeSchedulerBackend, schedule: Schedule) -> None:
    """A schedule was made, or made anew: what was planned for it is void."""
    planned = memory(schedule, SchedulePlan)
    planned.version, planned.begun = planned.version + 1, clock.now()
    plan(backend, schedule)


def plan(backend: EventBridgeSchedulerBackend, schedule: Schedule) -> None:
    """Let a schedule fire when it is due next. The caller holds `lock`."""
    planned = memory(schedule, SchedulePlan)
    due = next_due(schedule, planned.begun)
    if due is not None and schedule.state == "ENABLED":
        firing = functools.partial(fire, backend, schedule, planned.version, due)
        later(backend, due - clock.now(), firing)


def fire(backend: EventBridgeSchedulerBackend, schedule: Schedule, version: int, due: float) -> None:
    """Send off what is due, if the schedule is still there and still the same; plan the next time."""
    group = backend.schedule_groups.get(schedule.group_name)
    if group is None or group.schedules.get(schedule.name) is not schedule:
        return
    if memory(schedule, SchedulePlan).version != version or workers is None:
        return
    send(Delivery(backend, schedule, dict(schedule.target), due, str(uuid.uuid4())))
    if schedule.schedule_expression.startswith("rate"):
        later(backend, PAST_S, functools.partial(plan_next, backend, schedule, version))
    elif schedule.action_after_completion == "DELETE":
        group.delete_schedule(schedule.name)


def plan_next(backend: EventBridgeSchedulerBackend, schedule: Schedule, version: int) -> None:
    """Once the moment of one firing has passed, the next."""
    if memory(schedule, SchedulePlan).version == version:
        plan(backend, schedule)


# --- whom ------------------------------------------------------------------------------------------------


def send(delivery: Delivery) -> None:
    """Give a delivery to a thread: nobody's call waits for it."""
    if workers is not None:
        workers.submit(deliver, delivery)


def deliver(delivery: Delivery) -> None:
    """Call the target in the schedule's role; what is refused comes again, as its RetryPolicy says."""
    with quiet(f"a schedule's call of {delivery.target['Arn']}"):
        try:
            call_target(delivery)
        except Refused as refused:
            put_back(delivery, refused)


def call_target(delivery: Delivery) -> None:
    """One try. Raises `Refused`, as the target or IAM answers."""
    backend, role, arn = delivery.backend, delivery.target["RoleArn"], delivery.target["Arn"]
    account, region = backend.account_id, backend.region_name
    group_arn = delivery.schedule.arn.replace(":schedule/", ":schedule-group/").rpartition("/")[0]
    action = "lambda:InvokeFunction" if ":lambda:" in arn else "sqs:SendMessage"
    with lock:
        if not identities.assumable(account, role, SERVICE, source_arn=group_arn):
            raise Refused("AccessDeniedException", f"{role} cannot be assumed by {SERVICE}.")
        if not permissions.allows(account, role, action, arn, region):
            raise Refused("AccessDeniedException", f"{role} may not {action} on {arn}.")
        if action == "sqs:SendMessage":
            send_to_queue(backend, arn, delivery.payload, {})
            return
    invocations.invoke(account, region, arn, delivery.payload.encode(), asynchronous=True)


def put_back(delivery: Delivery, refused: Refused) -> None:
    """Try again after a while, or give up: into the dead-letter queue, if there is one."""
    policy = delivery.target.get("RetryPolicy", {})
    most = policy.get("MaximumRetryAttempts", 185)
    age_s = policy.get("MaximumEventAgeInSeconds", 86400)
    delay_s = max(LEAST_WAIT_S, scaled(RETRY_S)) * 2 ** min(delivery.tries, 8)
    with lock:
        if delivery.tries < most and clock.now() + delay_s <= delivery.due + age_s:
            delivery.tries += 1
            later(delivery.backend, delay_s, functools.partial(send, delivery))
            return
        queue = delivery.target.get("DeadLetterConfig", {}).get("Arn")
        log.info("a schedule could not call %s: %s", delivery.target["Arn"], refused.message)
        role, account = delivery.target["RoleArn"], delivery.backend.account_id
        if queue and permissions.allows(
            account, role, "sqs:SendMessage", queue, delivery.backend.region_name
        ):
            said = {"ERROR_CODE": refused.code, "ERROR_MESSAGE": refused.message}
            said |= {"SCHEDULE_ARN": delivery.schedule.arn, "TARGET_ARN": delivery.target["Arn"]}
            send_to_queue(delivery.backend, queue, delivery.payload, said)


def send_to_queue(backend: EventBridgeSchedulerBackend, arn: str, body: str, said: dict[str, str]) -> None:
    """Put a message into a queue. The caller holds `lock`."""
    queues, name = sqs_backends[backend.account_id][backend.region_name], arn.rpartition(":")[2]
    if name not in queues.queues:
        raise Refused("AWS.SimpleQueueService.NonExistentQueue", "The specified queue does not exist.")
    queues.send_message(
        name, body, {key: {"DataType": "String", "StringValue": value} for key, value in said.items()}
    )


# --- the one of this process -----------------------------------------------------------------------------

workers: ThreadPoolExecutor | None = None


def add_handlers(cloud: Any) -> None:
    """Begin: what is due from now on fires."""
    global workers
    workers = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="schedule")
    schedules.changed = changed


def close() -> None:
    """End: nothing fires any more."""
    global workers
    if workers is not None:
        ending, workers = workers, None
        schedules.changed = nobody
        ending.shutdown(wait=True, cancel_futures=True)
