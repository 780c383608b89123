"""CloudWatch Logs' answers and refusals: moto alone, then with the rule."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from botocore.exceptions import ClientError
from test_services_support import Case, check, client, cloud, refused, said, table

from awslabs.sandbox.services.logs import log_groups  # noqa: F401  (rules that this needs)

BAD = "InvalidParameterException"
NOW = int(time.time() * 1000)


def group(*names: str, **more: Any) -> Any:
    logs = client("logs")
    for name in names or ("lab",):
        logs.create_log_group(logGroupName=name, **more)
    return logs


def stream() -> Any:
    logs = group()
    logs.create_log_stream(logGroupName="lab", logStreamName="s")
    return logs


def its_class() -> list[Any]:
    logs = group(logGroupClass="INFREQUENT_ACCESS")
    (shown,) = logs.describe_log_groups()["logGroups"]
    return [shown.get("logGroupClass"), shown.get("deletionProtectionEnabled")]


def those_with_ab() -> list[str]:
    logs = group("a/ab", "b/ab/c", "c")
    return [each["logGroupName"] for each in logs.describe_log_groups(logGroupNamePattern="ab")["logGroups"]]


def what_a_pattern_leaves_out() -> list[str]:
    (shown,) = group().describe_log_groups(logGroupNamePattern="a")["logGroups"]
    return sorted({"storedBytes", "deletionProtectionEnabled"} & shown.keys())


def pattern_and_prefix() -> str:
    return said(group().describe_log_groups, logGroupNamePattern="a", logGroupNamePrefix="l")


def name_and_identifier() -> str:
    return said(stream().describe_log_streams, logGroupName="lab", logGroupIdentifier="lab")


def a_token_of_nobody() -> str:
    return said(stream().filter_log_events, logGroupName="lab", nextToken="nobody's")


def a_long_name() -> str:
    with pytest.raises(ClientError) as caught:
        group("a" * 513)
    return str(caught.value.response["Error"]["Message"])[:30]


def size_of_a_stream() -> int:
    logs = stream()
    logs.put_log_events(
        logGroupName="lab", logStreamName="s", logEvents=[{"timestamp": NOW, "message": "hello"}]
    )
    return int(logs.describe_log_streams(logGroupName="lab")["logStreams"][0]["storedBytes"])


def scope() -> str | None:
    logs = client("logs")
    logs.put_resource_policy(policyName="p", policyDocument="{}")
    (policy,) = logs.describe_resource_policies()["resourcePolicies"]
    return policy.get("policyScope")


def a_policy_that_is_kept() -> Any:
    logs = client("logs")
    statement = {"Effect": "Allow", "Principal": {"Service": ["route53.amazonaws.com"]}, "Action": "logs:*"}
    logs.put_resource_policy(policyName="p", policyDocument=json.dumps({"Statement": [statement]}))
    (policy,) = logs.describe_resource_policies()["resourcePolicies"]
    kept = json.loads(policy["policyDocument"])
    return [kept.get("Version"), kept["Statement"][0]["Principal"]["Service"]]


def no_policy() -> str:
    return refused(client("logs").delete_resource_policy, policyName="p")[1]


CASES = (
    Case(
        "policies_have_a_scope",
        a_policy_that_is_kept,
        [None, ["route53.amazonaws.com"]],
        ["2008-10-17", "route53.amazonaws.com"],
    ),
    Case(
        "resource_policies_that_are_not_there",
        no_policy,
        "Policy with name [p] does not exist",
        "Policy with name [p] does not exist.",
    ),
    Case("groups_have_a_class", its_class, [None, None], ["INFREQUENT_ACCESS", False]),
    Case("groups_by_pattern", those_with_ab, ["a/ab", "b/ab/c", "c"], ["a/ab", "b/ab/c"]),
    Case("groups_by_pattern", what_a_pattern_leaves_out, ["storedBytes"], []),
    Case("groups_by_pattern", pattern_and_prefix, "ok", BAD),
    Case("name_or_identifier", name_and_identifier, "ok", "ValidationException"),
    Case("tokens_are_ours", a_token_of_nobody, "ok", BAD),
    Case("log_group_names", a_long_name, "1 validation error detected: V", "Invalid LogGroup or LogStream,"),
    Case("streams_have_no_size", size_of_a_stream, 5, 0),
    Case("policies_have_a_scope", scope, None, "ACCOUNT"),
)


@table(*CASES)
def test_logs_are_as_strict_as_on_aws(case: Case) -> None:
    check(case)


def test_a_pattern_has_pages_and_a_token_that_was_given_goes_on() -> None:
    with cloud(every=True):
        logs = group("a1", "a2", "b", "a3")
        pages = logs.get_paginator("describe_log_groups").paginate(
            logGroupNamePattern="a", PaginationConfig={"PageSize": 2}
        )
        names = [[each["logGroupName"] for each in page["logGroups"]] for page in pages]
        assert names == [["a1", "a2"], ["a3"]]
        logs.create_log_stream(logGroupName="b", logStreamName="s@1")
        events = [{"timestamp": NOW, "message": f"{number}"} for number in range(3)]
        logs.put_log_events(logGroupName="b", logStreamName="s@1", logEvents=events)
        first = logs.filter_log_events(logGroupName="b", limit=2)
        assert [event["message"] for event in first["events"]] == ["0", "1"]
        assert said(logs.filter_log_events, logGroupName="b", nextToken=first["nextToken"]) == "ok"
        code, message, status = refused(logs.filter_log_events, logGroupName="b", nextToken="b@s@99")
        assert (code, message, status) == (BAD, "The specified nextToken is invalid.", 400)


@pytest.mark.parametrize(
    ("days", "rejected"), [(-30, "tooOldLogEventEndIndex"), (1, "tooNewLogEventStartIndex")]
)
def test_events_of_another_time_are_rejected_in_an_answer_and_no_crash(days: int, rejected: str) -> None:
    with cloud(every=True):
        event = {"timestamp": NOW + days * 86_400_000, "message": "elsewhen"}
        answer = stream().put_log_events(logGroupName="lab", logStreamName="s", logEvents=[event])
        assert list(answer["rejectedLogEventsInfo"]) == [rejected]
