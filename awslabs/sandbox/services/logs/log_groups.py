"""CloudWatch Logs: how long logs may be kept, and which names a group may have."""

from __future__ import annotations

import re

from awslabs.sandbox.core.engine import Call, Refused, refusal

DAYS = (
    *(1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731),
    *(1096, 1827, 2192, 2557, 2922, 3288, 3653),
)
"""The retention times that there are. Source: CloudWatch Logs API reference, PutRetentionPolicy."""


@refusal("logs:PutRetentionPolicy")
def retention_from_a_list(call: Call) -> None:
    """Days that are not on AWS's list: InvalidParameterException. moto keeps any.

    Source: aws-facts (g), (j).
    """
    days = call.get("retentionInDays")
    if days not in DAYS:
        raise Refused(
            "InvalidParameterException",
            f"1 validation error detected: Value '{days}' at 'retentionInDays' failed to satisfy constraint: "
            f"Member must satisfy enum value set: {list(DAYS)}",
            400,
        )


@refusal("logs:CreateLogGroup")
def log_group_names(call: Call) -> None:
    """A name that begins with ``aws/``, or has other signs than AWS takes: InvalidParameterException.

    moto takes any. Source: aws-facts (j); CloudWatch Logs API reference, CreateLogGroup.
    """
    name = call.get("logGroupName", "")
    if name.lower().startswith("aws/"):
        raise Refused("InvalidParameterException", "Log groups starting with AWS/ are reserved for AWS.", 400)
    if not re.fullmatch(r"[.\-_/#A-Za-z0-9]+", name):
        raise Refused(
            "InvalidParameterException",
            f"1 validation error detected: Value '{name}' at 'logGroupName' failed to satisfy constraint: "
            r"Member must satisfy regular expression pattern: [\.\-_/#A-Za-z0-9]+",
            400,
        )
