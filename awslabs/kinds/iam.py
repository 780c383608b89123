"""IAM roles: they stand under a path of their ledger, and carry tags."""

from __future__ import annotations

from typing import Any

from awslabs.kinds.kind import Found, Kind, Mark
from awslabs.kinds.named import look_by_name, pages, those_of_ours, unless

MISSING = ("NoSuchEntity",)
BUSY = ("DeleteConflict", "ConcurrentModification")


def mark_role(request: dict, mark: Mark) -> dict:
    """Our tags, and a path by which `recover` finds the role: AWS's tagging API does not list roles."""
    tags = [{"Key": key, "Value": value} for key, value in mark.tags().items()]
    return {**request, "Path": f"/awslabs/{mark.ledger}/", "Tags": tags}


def role_ids(request: dict, answer: dict) -> dict[str, str]:
    """The ARN, which the labs use, and the name; the ARN is not known before the answer."""
    return {"Arn": answer["Role"]["Arn"] if answer else "", "RoleName": request["RoleName"]}


def show_role(iam: Any, ids: dict[str, str]) -> Found | None:
    answer = unless(MISSING, iam.get_role, RoleName=ids["RoleName"])
    if answer is None:
        return None
    role = answer["Role"]
    tags = {tag["Key"]: tag["Value"] for tag in role.get("Tags", [])}
    return Found({"Arn": role["Arn"], "RoleName": role["RoleName"]}, tags=tags)


def delete_role(iam: Any, found: Found) -> None:
    """Delete a role of ours; policies that still hang on it (their rows were lost) are taken off first."""
    name = found.ids["RoleName"]
    try:
        iam.delete_role(RoleName=name)
    except iam.exceptions.DeleteConflictException:
        for policy_name in pages(iam, "list_role_policies", "PolicyNames", RoleName=name):
            iam.delete_role_policy(RoleName=name, PolicyName=policy_name)
        iam.delete_role(RoleName=name)


ROLE = Kind(
    call="iam:CreateRole",
    ids=role_ids,
    mark=mark_role,
    look=look_by_name(show_role),
    ours=those_of_ours(show_role, lambda iam: pages(iam, "list_roles", "Roles", PathPrefix="/awslabs/")),
    delete=delete_role,
    named=True,
    taken=("EntityAlreadyExists",),
    busy=BUSY,
    absent=MISSING,
)


def look_for_policy(iam: Any, row: Any) -> list[Found]:
    """The policy inside the role. It carries no tag: the row's two names are its mark."""
    names = {name: row.ids[name] for name in ("RoleName", "PolicyName")}
    return [Found(dict(row.ids))] if unless(MISSING, iam.get_role_policy, **names) else []


ROLE_POLICY = Kind(
    call="iam:PutRolePolicy",
    ids=lambda request, answer: {name: request[name] for name in ("RoleName", "PolicyName")},
    mark=lambda request, mark: request,
    look=look_for_policy,
    ours=lambda iam: [],
    delete=lambda iam, found: iam.delete_role_policy(**found.ids),
    join=True,
    not_yet=MISSING,
    busy=BUSY,
    absent=MISSING,
)

KINDS = [ROLE, ROLE_POLICY]
