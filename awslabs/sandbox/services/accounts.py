"""Kinds of accounts (`--account`): on AWS's Free plan, which runs few types of instances, and of a class."""

from __future__ import annotations

import functools
import json
from typing import Any

from moto.ec2.models.instance_types import INSTANCE_TYPES
from moto.sts.models import sts_backends

from awslabs.sandbox.core import weather
from awslabs.sandbox.core.engine import Call, Proceed, Refused, around
from awslabs.sandbox.core.policies import Statement, decide

PLAN = "freetier:GetAccountPlanState"

# AWS Academy's Learner Lab. Source: its README of 2025-06-24 ("Service usage and other restrictions").
REGIONS = ["us-east-1", "us-west-2"]
SIZES = ("nano", "micro", "small", "medium", "large")
ROLE, PROFILE = "LabRole", "LabInstanceProfile"
ACT_IN_IT = ("apigateway", "batch", "ec2", "ecs", "ecs-tasks", "events", "lambda", "scheduler")
ROLE_MAY = (
    *("dynamodb:*", "ec2:*", "ecs:*", "lambda:*", "logs:*", "s3:*", "sqs:*", "ssm:*"),
    *("ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:GetAuthorizationToken"),
    "ecr:GetDownloadUrlForLayer",
)
JUDGED = (
    *("apigateway", "batch", "dynamodb", "ec2", "ecr", "ecs", "iam", "lambda", "logs", "s3"),
    *("service-quotas", "sqs", "ssm"),
)
# As IAM would say it, had the lab published its policy.
STUDENT_MAY: tuple[Statement, ...] = (
    {
        "Effect": "Allow",
        "Resource": "*",
        "Action": [f"{service}:*" for service in JUDGED if service != "iam"],
    },
    {
        "Effect": "Allow",
        "Resource": "*",
        "Action": ["iam:CreateServiceLinkedRole", "iam:Get*", "iam:List*", "iam:Simulate*"],
    },
    {
        "Effect": "Deny",
        "Resource": "*",
        "NotAction": ["iam:*", "s3:*"],
        "Condition": {"StringNotEquals": {"aws:RequestedRegion": REGIONS}},
    },
    {
        "Effect": "Deny",
        "Resource": "*",
        "Action": "ec2:RunInstances",
        "Condition": {"StringNotLike": {"ec2:InstanceType": [f"*.{size}" for size in SIZES]}},
    },
    {
        "Effect": "Deny",
        "Resource": "*",
        "Action": "ec2:RunInstances",
        "Condition": {"StringEquals": {"ec2:InstanceMarketType": "spot"}},
    },
    {
        "Effect": "Deny",
        "Resource": "*",
        "Action": ["ec2:CreateFleet", "ec2:RequestSpotFleet", "ec2:RequestSpotInstances"],
    },
)


# --- the Free plan ------------------------------------------------------------------------------------


def runs(instance_type: str, *, spot: bool = False) -> bool:
    """Whether the kind of account allows such instances."""
    if weather.current.account == "free-plan":
        return bool(INSTANCE_TYPES.get(instance_type, {}).get("FreeTierEligible", False))
    if weather.current.account == "classroom":
        return instance_type.rpartition(".")[2] in SIZES and not spot
    return True


def plan(account: str) -> dict[str, Any]:
    """What GetAccountPlanState answers, which moto does not know. Source: botocore, freetier."""
    kind = "FREE" if weather.current.account == "free-plan" else "PAID"
    return {"accountId": account, "accountPlanType": kind, "accountPlanStatus": "ACTIVE"}


# --- a class ------------------------------------------------------------------------------------------


@around(*(f"{service}:*" for service in JUDGED))
def classroom(call: Call, proceed: Proceed) -> Any:
    """With `--account classroom` whoever comes with a key of the account is judged as in AWS Academy's
    Learner Lab: no changes in IAM but service-linked roles, two Regions, on-demand instances up to `large`;
    all else is denied. A role LabRole and a profile LabInstanceProfile exist for the labs' services.
    moto judges nobody. Source: the Learner Lab's README; that the answer is a denial: public issues.
    """
    if weather.current.account != "classroom":
        return proceed()
    _put_role_and_profile(call.iam)
    if not call.response.get_access_key().startswith("ASIA") and not _may(call):
        raise _denied(call)
    return proceed()


def _may(call: Call) -> bool:
    """Whether a student may make this call."""
    if call.operation != "ec2:RunInstances":
        return _allowed(call.operation, call.region)
    market = call.get("InstanceMarketOptions.MarketType", "")
    return _allowed(call.operation, call.region, str(call.get("InstanceType", "m1.small")), str(market))


@functools.lru_cache(maxsize=1024)  # to read the policy takes a fifth of a small call's time
def _allowed(operation: str, region: str, instance_type: str = "", market: str = "") -> bool:
    """What the policy says, of a launch by its type and market."""
    context = {
        "aws:requestedregion": region,
        "ec2:instancetype": instance_type,
        "ec2:instancemarkettype": market,
    }
    return decide(STUDENT_MAY, operation, "*", None, context) == "Allow"


def _denied(call: Call) -> Refused:
    """A denial, as the service calls it."""
    service = call.operation.partition(":")[0]
    code = {"ec2": "UnauthorizedOperation", "iam": "AccessDenied", "s3": "AccessDenied"}.get(
        service, "AccessDeniedException"
    )
    who = sts_backends[call.account][call.partition].get_caller_identity(
        call.response.get_access_key(), call.region
    )[1]
    begin = "You are not authorized to perform this operation. " if service == "ec2" else ""
    return Refused(
        code,
        f"{begin}User: {who} is not authorized to perform: {call.operation} with an explicit deny in an "
        "identity-based policy",
        403,
    )


def _put_role_and_profile(iam: Any) -> None:
    """The role and the profile that a class is given, unless they are there."""
    if PROFILE in iam.instance_profiles:
        return
    services = [f"{service}.amazonaws.com" for service in ACT_IN_IT]
    trust = {"Effect": "Allow", "Principal": {"Service": services}, "Action": "sts:AssumeRole"}
    may = {"Effect": "Allow", "Action": list(ROLE_MAY), "Resource": "*"}
    iam.create_role(ROLE, _document(trust), "/", None, "", [], "3600")
    iam.put_role_policy(ROLE, "lab", _document(may))
    iam.create_instance_profile(PROFILE, "/", [ROLE], [])


def _document(statement: dict[str, Any]) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})
