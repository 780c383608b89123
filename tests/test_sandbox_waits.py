"""Calls that wait hold up nobody, whichever service they are of; SQS: test_services_sqs.py."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import boto3
import pytest

pytestmark = [pytest.mark.live, pytest.mark.usefixtures("student")]


def test_a_poll_of_swf_holds_up_nobody(run: Any) -> None:
    swf, ec2 = (boto3.client(name, "us-east-1", endpoint_url=run.endpoint_url) for name in ("swf", "ec2"))
    swf.register_domain(name="d", workflowExecutionRetentionPeriodInDays="1")
    ec2.describe_vpcs()
    with ThreadPoolExecutor() as pool:
        waiting = pool.submit(swf.poll_for_decision_task, domain="d", taskList={"name": "t"})
        time.sleep(0.2)
        ec2.describe_vpcs()
        assert not waiting.done()
        assert waiting.result(timeout=120)["startedEventId"] == 0


def test_an_activity_that_nothing_starts_is_not_waited_for(run: Any) -> None:
    states = boto3.client("stepfunctions", "us-east-1", endpoint_url=run.endpoint_url)
    arn = states.create_activity(name="a")["activityArn"]
    with pytest.raises(states.exceptions.ClientError, match="cannot do that yet"):
        states.get_activity_task(activityArn=arn)
