"""IAM roles and instance profiles: they stand under a path of their Region and ledger, and carry tags.

IAM knows no Regions: it lists the roles of all of them, whichever is asked. So the path says whose they are.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from awslabs.kinds.kind import Found, Kind, Mark, Reason
from awslabs.kinds.named import listed_by_name, named, pages, tags_in, unless
from awslabs.kinds.overview import Overview

ROOT = "/awslabs/"  # what all our paths begin with

MISSING = ("NoSuchEntity",)
BUSY = ("DeleteConflict", "ConcurrentModification")


def mark_role(request: dict[str, Any], mark: Mark) -> dict[str, Any]:
    """Our tags, and a path by which `recover` finds the role: AWS's tagging API does not list roles."""
    return {**request, "Path": f"{ROOT}{mark.region}/{mark.ledger}/", "Tags": mark.tag_list()}


def mark_bounded(request: dict[str, Any], mark: Mark) -> dict[str, Any]:
    """The same for a role, within the boundary that whoever runs the account demands."""
    bounded = {"PermissionsBoundary": mark.boundary} if mark.boundary else {}
    return {**mark_role(request, mark), **bounded}


def region_in(path: str) -> str:
    """The Region in ``/awslabs/REGION/LEDGER/``; empty for ``/awslabs/LEDGER/``, as it was before."""
    parts = path.strip("/").split("/")
    return parts[1] if len(parts) == 3 else ""


def ids_of(made: str, name: str) -> Callable[[dict[str, Any], dict[str, Any]], dict[str, str]]:
    """The `ids` of an entry: the ARN, which is not known before the answer, and the name."""
    return lambda request, answer: {"Arn": answer[made]["Arn"] if answer else "", name: request[name]}


def found_as(name: str, shown: dict[str, Any]) -> Found:
    """A role or a profile as IAM describes it; a listing leaves the tags out."""
    ids = {key: shown[key] for key in ("Arn", name)}
    return Found(ids, tags=tags_in(shown.get("Tags")), region=region_in(shown["Path"]))


def found_role(role: dict[str, Any]) -> Found:
    return found_as("RoleName", role)


def show_role(iam: Any, ids: dict[str, str]) -> Found | None:
    answer = unless(MISSING, iam.get_role, RoleName=ids["RoleName"])
    return found_role(answer["Role"]) if answer else None


def roles_of(iam: Any, rows: list[Any], overview: Overview) -> list[Found] | None:
    """The roles of many rows; None where the account's roles may not be read at once."""
    known = {row.ids["RoleName"]: overview.role(row.ids["RoleName"]) for row in rows}
    return [found_role(role) for role in known.values() if role] if overview.knows_roles() else None


def delete_role(iam: Any, found: Found) -> None:
    """Delete a role of ours; policies that still hang on it (their rows were lost) are taken off first."""
    name = found.ids["RoleName"]
    try:
        iam.delete_role(RoleName=name)
    except iam.exceptions.DeleteConflictException:
        for policy_name in pages(iam, "list_role_policies", "PolicyNames", RoleName=name):
            iam.delete_role_policy(RoleName=name, PolicyName=policy_name)
        iam.delete_role(RoleName=name)


ROLE = named(
    "iam:CreateRole",
    "RoleName",
    show_role,
    ids=ids_of("Role", "RoleName"),
    mark=mark_bounded,
    listed=listed_by_name(
        show_role,
        lambda iam: pages(iam, "list_roles", "Roles", PathPrefix=ROOT),
        lambda overview, role: found_role(overview.role(role["RoleName"]) or role),
    ),
    complete=False,
    at_once=roles_of,
    delete=delete_role,
    taken=("EntityAlreadyExists",),
    busy=BUSY,
    absent=MISSING,
)


def look_for_policy(iam: Any, row: Any) -> list[Found]:
    """The policy inside the role. It carries no tag: the row's two names are its mark."""
    return [Found(dict(row.ids))] if unless(MISSING, iam.get_role_policy, **row.ids) else []


def policies_of(iam: Any, rows: list[Any], overview: Overview) -> list[Found] | None:
    """The policies inside the roles of many rows; None where the roles may not be read at once."""
    names = {row.ids["RoleName"] for row in rows}
    roles = [role for name in sorted(names) if (role := overview.role(name))]
    found = [
        Found({"RoleName": role["RoleName"], "PolicyName": policy["PolicyName"]})
        for role in roles
        for policy in role["RolePolicyList"]
    ]
    return found if overview.knows_roles() else None


ROLE_POLICY = Kind(
    call="iam:PutRolePolicy",
    known_by=("RoleName", "PolicyName"),
    ids=lambda request, answer: {name: request[name] for name in ("RoleName", "PolicyName")},
    look=look_for_policy,
    at_once=policies_of,
    delete=lambda iam, found: iam.delete_role_policy(**found.ids),
    ends=("RoleName",),
    not_yet=MISSING,
    busy=BUSY,
    absent=MISSING,
)


def show_profile(iam: Any, ids: dict[str, str]) -> Found | None:
    answer = unless(MISSING, iam.get_instance_profile, InstanceProfileName=ids["InstanceProfileName"])
    return found_as("InstanceProfileName", answer["InstanceProfile"]) if answer else None


def our_profiles(iam: Any) -> list[dict[str, Any]]:
    """Those under our paths, each with its roles."""
    return pages(iam, "list_instance_profiles", "InstanceProfiles", PathPrefix=ROOT)


def profile_in(overview: Overview, listed: dict[str, Any]) -> Found:
    """A profile with its tags, where the description of a role that is in it has them."""
    shown = [overview.role(role["RoleName"]) or {} for role in listed["Roles"]]
    profiles = [profile for role in shown for profile in role.get("InstanceProfileList", [])]
    same = (one for one in profiles if one["InstanceProfileName"] == listed["InstanceProfileName"])
    return found_as("InstanceProfileName", next(same, {**listed, "Tags": []}))


def delete_profile(iam: Any, found: Found) -> None:
    """Delete a profile of ours; a role that is still in it (that join was lost) is taken out first."""
    name = {"InstanceProfileName": found.ids["InstanceProfileName"]}
    try:
        iam.delete_instance_profile(**name)
    except iam.exceptions.DeleteConflictException:
        for role in iam.get_instance_profile(**name)["InstanceProfile"]["Roles"]:
            iam.remove_role_from_instance_profile(RoleName=role["RoleName"], **name)
        iam.delete_instance_profile(**name)


INSTANCE_PROFILE = named(
    "iam:CreateInstanceProfile",
    "InstanceProfileName",
    show_profile,
    ids=ids_of("InstanceProfile", "InstanceProfileName"),
    mark=mark_role,
    listed=listed_by_name(show_profile, our_profiles, profile_in),
    complete=False,
    delete=delete_profile,
    taken=("EntityAlreadyExists",),
    busy=BUSY,
    absent=MISSING,
)


def look_for_role_in_profile(iam: Any, row: Any) -> list[Found]:
    """The tie between this role and this profile. It carries no tag: the row's two names are its mark."""
    name = row.ids["InstanceProfileName"]
    answer = unless(MISSING, iam.get_instance_profile, InstanceProfileName=name)
    roles = answer["InstanceProfile"]["Roles"] if answer else []
    return [Found(dict(row.ids)) for role in roles if role["RoleName"] == row.ids["RoleName"]]


ROLE_IN_PROFILE = Kind(
    call="iam:AddRoleToInstanceProfile",
    known_by=("InstanceProfileName", "RoleName"),
    ids=lambda request, answer: {name: request[name] for name in ("InstanceProfileName", "RoleName")},
    look=look_for_role_in_profile,
    at_once=lambda iam, rows, overview: [
        Found({"InstanceProfileName": profile["InstanceProfileName"], "RoleName": role["RoleName"]})
        for profile in our_profiles(iam)
        for role in profile["Roles"]
    ],
    delete=lambda iam, found: iam.remove_role_from_instance_profile(**found.ids),
    ends=("InstanceProfileName", "RoleName"),
    taken=("LimitExceeded",),  # a profile holds one role
    not_yet=MISSING,
    busy=BUSY,
    absent=MISSING,
)

KINDS = [ROLE, ROLE_POLICY, INSTANCE_PROFILE, ROLE_IN_PROFILE]


# -- What a reader is told ---------------------------------------------------------------------------------

REASONS = {
    "iam:CreateRole": Reason(
        "An identity without a password, in which a service of AWS acts (a role).",
        "A program on AWS then needs no keys of yours: it may do what its role may, and no more.",
        "パスワードのない身分で、AWS のサービスがこれを名乗って働きます（ロール）。",
        "プログラムにあなたの鍵を渡さずに済み、ロールに許されたことしかできません。",
    ),
    "iam:PutRolePolicy": Reason(
        "The list of what the role may do, and to what (a policy).",
        "A new role may do nothing; it gets the few rights its work needs, so no mistake reaches further.",
        "ロールが何に対して何をしてよいかの一覧です（ポリシー）。",
        "最初は何もできません。仕事に要る権限だけを与えれば、間違いも広がりません。",
    ),
    "iam:CreateInstanceProfile": Reason(
        "A case in which a server carries a role (an instance profile).",
        "EC2 hands a role to a server in such a case only.",
        "サーバーにロールを持たせるための入れ物です（インスタンスプロファイル）。",
        "EC2 は、この入れ物を通してだけサーバーにロールを渡します。",
    ),
    "iam:AddRoleToInstanceProfile": Reason(
        "It puts the role into that case.",
        "An empty one gives its server no rights.",
        "ロールをその入れ物に入れます。",
        "空のままでは、サーバーは何の権限も得られません。",
    ),
}
