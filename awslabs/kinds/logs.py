"""CloudWatch log groups."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from awslabs.kinds.kind import Found, Reason, Step
from awslabs.kinds.named import OURS, listed_by_name, named, pages, tags_as, unless

MISSING = ("ResourceNotFoundException",)
BUSY = ("OperationAbortedException",)


def find_group(logs: Any, name: str) -> dict[str, Any] | None:
    """One log group by its whole name; AWS lists by the beginning of a name."""
    groups = pages(logs, "describe_log_groups", "logGroups", logGroupNamePrefix=name)
    return next((group for group in groups if group["logGroupName"] == name), None)


def show_group(logs: Any, ids: dict[str, str]) -> Found | None:
    group = find_group(logs, ids["logGroupName"])
    if group is None:
        return None
    arn = group["arn"].removesuffix(":*")
    answer = unless(MISSING, logs.list_tags_for_resource, resourceArn=arn) or {}
    return Found({"logGroupName": group["logGroupName"]}, tags=answer.get("tags", {}))


LOG_GROUP = named(
    "logs:CreateLogGroup",
    "logGroupName",
    show_group,
    mark=tags_as("tags"),
    listed=listed_by_name(
        show_group,
        lambda logs: [
            {"logGroupName": group["logGroupName"]}
            for group in pages(logs, "describe_log_groups", "logGroups")
            if OURS in group["logGroupName"]
        ],
        lambda overview, ids: Found(ids, tags=overview.tags("logs", f"log-group:{ids['logGroupName']}")),
    ),
    delete=lambda logs, found: logs.delete_log_group(logGroupName=found.id),
    taken=("ResourceAlreadyExistsException",),
    not_yet=(*MISSING, *BUSY),
    busy=BUSY,
    absent=MISSING,
)

KINDS = [LOG_GROUP]


def retention(logs: Any, wanted: dict[str, Any]) -> Iterator[Step]:
    """PutRetentionPolicy, where lines are kept for another number of days, or for ever."""
    group = find_group(logs, wanted["logGroupName"]) or {}
    if group.get("retentionInDays") != wanted["retentionInDays"]:
        yield logs.put_retention_policy, wanted


ENSURES = {"logs:PutRetentionPolicy": retention}


# -- What a reader is told ---------------------------------------------------------------------------------

REASONS = {
    "logs:CreateLogGroup": Reason(
        "A folder for what programs print (a log group of CloudWatch Logs).",
        "A program on AWS has no screen; what it prints is read here.",
        "プログラムの出力をためる場所です（CloudWatch Logs のロググループ）。",
        "AWS 上のプログラムには画面がないので、出力はここで読みます。",
    ),
    "logs:PutRetentionPolicy": Reason(
        "How many days the log keeps a line.",
        "Unless told, AWS keeps all of them, and charges for them, for ever.",
        "ログを何日残すかを決めます。",
        "決めないと AWS はずっと残し、料金もかかり続けます。",
    ),
}
