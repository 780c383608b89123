"""IAM's permissions boundaries: what somebody's own policies can give at most.

Source: IAM user guide, "Permissions boundaries for IAM entities"; IAM API reference, CreateUser,
PutUserPermissionsBoundary, DeleteUserPermissionsBoundary, ListUsers (which does not show them).
"""

from __future__ import annotations

import copy
from typing import Any

from moto.core.responses import ActionResult

from awslabs.sandbox.core.engine import Call, Proceed, Refused, before, rule
from awslabs.sandbox.services.iam.identities import managed_policy


@before(
    "iam:CreateUser", "iam:PutUserPermissionsBoundary", "iam:CreateRole", "iam:PutRolePermissionsBoundary"
)
def boundaries_are_policies(call: Call) -> None:
    """What is no ARN of a policy, or lacks where a boundary is put: ValidationError; a policy that is not
    there: NoSuchEntity 404. moto takes any of the right form, and where it lacks takes the boundary away.
    Source: IAM API reference; for the second one AWS's words as tools quote them (openshift/rosa).
    """
    arn = call.get("PermissionsBoundary")
    if arn is None:
        if call.action.startswith("Put"):
            message = (
                "Value null at 'permissionsBoundary' failed to satisfy constraint: Member must not be null"
            )
            raise Refused("ValidationError", f"1 validation error detected: {message}", 400)
        return
    if not call.iam.policy_arn_regex.match(arn):
        raise Refused("ValidationError", f"Value ({arn}) for parameter PermissionsBoundary is invalid.", 400)
    if managed_policy(call, arn) is None:
        raise Refused("NoSuchEntity", f"Scope ARN: {arn} does not exist or is not attachable.", 404)


user_boundaries = rule(
    "user_boundaries",
    """A user keeps the boundary that CreateUser or PutUserPermissionsBoundary gives, GetUser shows it, and
    `permissions` lets no policy go beyond it. moto drops it, or knows no such operation.""",
)


def _show(answer: Any) -> Any:
    """An answer with a user, who shows the boundary."""
    user = answer.result["User"]
    if arn := getattr(user, "permissions_boundary_arn", None):
        shown = copy.copy(user)
        shown.permissions_boundary = {"PermissionsBoundaryType": "Policy", "PermissionsBoundaryArn": arn}
        return ActionResult({"User": shown})
    return answer


@user_boundaries.around("iam:CreateUser")
def _create(call: Call, proceed: Proceed) -> Any:
    answer = proceed()
    call.iam.users[answer.result["User"].name].permissions_boundary_arn = call.get("PermissionsBoundary")
    return _show(answer)


@user_boundaries.around("iam:GetUser")
def _get(call: Call, proceed: Proceed) -> Any:
    return _show(proceed())


@user_boundaries.operation("iam:PutUserPermissionsBoundary")
def _put(call: Call) -> dict[str, Any]:
    call.iam.get_user(call.get("UserName")).permissions_boundary_arn = call.get("PermissionsBoundary")
    return {}


@user_boundaries.operation("iam:DeleteUserPermissionsBoundary")
def _delete(call: Call) -> dict[str, Any]:
    call.iam.get_user(call.get("UserName")).permissions_boundary_arn = None
    return {}
