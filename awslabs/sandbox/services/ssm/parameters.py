"""SSM parameters: which names and values AWS takes."""

from __future__ import annotations

import functools
import re
from typing import Any

from moto.ssm.models import ssm_backends

from awslabs.sandbox.core.engine import Call, Proceed, Refused, around, before

NAME = re.compile(r"[A-Za-z0-9_.-]+|(/[A-Za-z0-9_.-]+)+")
LEVELS = 15
NO_NAME = (
    'Parameter name: can\'t be prefixed with "ssm" (case-insensitive). If formed as a path, it can consist '
    "of sub-paths divided by slash symbol; each sub-path can be formed as a mix of letters, numbers and the "
    "following 3 symbols .-_"
)
STANDARD, ADVANCED = 4096, 8192  # characters of a value


invalid = functools.partial(Refused, "ValidationException")


@before("ssm:PutParameter")
def parameter_name_is_valid(call: Call) -> None:
    """Other characters, a path without its first slash: ValidationException; 16 levels: their own code.

    moto takes any, but for the prefixes `aws` and `ssm`. Source: botocore, PutParameter, Name; "About
    requirements and constraints for parameter names", Systems Manager user guide.
    """
    name = str(call.get("Name", ""))
    if name.count("/") > LEVELS:
        raise Refused(
            "HierarchyLevelLimitExceededException",
            f"A hierarchy can have a maximum of {LEVELS} levels.",
        )
    if "/" in name and not name.startswith("/"):
        raise invalid("Parameter name must be a fully qualified name.")
    if not NAME.fullmatch(name):
        raise invalid(NO_NAME)


@before("ssm:PutParameter")
def parameter_value_fits_its_tier(call: Call) -> None:
    """More than 4096 characters in the standard tier, 8192 in the advanced one: ValidationException.

    moto takes any length. Source: botocore, PutParameter, Value.
    """
    tier = call.get("Tier") or "Standard"
    most = STANDARD if tier == "Standard" else ADVANCED
    if len(str(call.get("Value", ""))) > most:
        more = (
            " To create a larger parameter value, upgrade the parameter to use the advanced-parameter tier."
            if tier == "Standard"
            else ""
        )
        raise invalid(f"{tier} tier parameters support a maximum parameter value of {most} characters.{more}")


@around("ssm:DescribeParameters")
def own_parameters(call: Call, proceed: Proceed) -> Any:
    """DescribeParameters lists the account's own, not those that AWS publishes for all (`/aws/service/`).

    moto lists AWS's, once one of them was read. Source: "Discovering public parameters", Systems Manager user
    guide: they are found by path, with GetParametersByPath.
    """
    parameters = ssm_backends[call.account][call.region]._parameters
    published = {name: parameters.pop(name) for name in list(parameters) if name.startswith("/aws/")}
    try:
        return proceed()
    finally:
        parameters.update(published)


@around("ssm:GetParameter", "ssm:GetParameters")
def parameters_as_they_were_asked_for(call: Call, proceed: Proceed) -> Any:
    """`/name` and `name` are one parameter, called as in the question; `a/b`: ValidationException.

    moto calls it as it was made, and does not find what has no name. ARNs, versions and labels
    (`name:3`) are names, too. Source: aws-facts (k).
    """
    names = [str(name) for name in call.get("Names") or [call.get("Name", "")]]
    for name in names:
        if not name.startswith("arn:") and not NAME.fullmatch(name.partition(":")[0]):
            raise invalid(NO_NAME)
    answer = proceed()
    for shown in answer.result.get("Parameters") or [answer.result.get("Parameter") or {}]:
        if shown and shown["Name"] not in names and f"/{shown['Name']}" in names:
            shown["Name"] = f"/{shown['Name']}"
    return answer
