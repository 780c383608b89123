"""IAM and STS: what refers to what, which documents are sound, and how long AWS needs to know.

IAM is spread over the world: a role or profile that was just made is not known everywhere. Services
that take a role ask `assumable`, EC2 asks `usable`: both say no for the first seconds.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import math
import re
from dataclasses import dataclass
from typing import Any

from botocore.session import get_session
from moto.core.responses import EmptyResult
from moto.core.serialize import BaseXMLSerializer
from moto.iam.aws_managed_policies import aws_managed_policies_data
from moto.iam.models import AWSManagedPolicy, Role, iam_backends
from moto.sts.models import sts_backends

from awslabs.sandbox.core import policies
from awslabs.sandbox.core.engine import (
    Call,
    Proceed,
    Refused,
    around,
    before,
    clock,
    memory,
    patch,
    rule,
    scaled,
    spaced,
    state,
)

READY_S = 8.0
"""How long AWS needs until every service knows a new role, profile or policy (aws-facts (b): 5 to 30 s)."""

COUNTS_ON_S = 4.0
"""How long a policy that was taken off counts on (aws-facts (l))."""


STUDENT = "student"
STUDENT_ID = "AIDAPRACTICESTUDENT00"


@around("sts:GetCallerIdentity")
def callers_are_students(call: Call, proceed: Proceed) -> Any:
    """Whoever comes with a key that is no user's and no role's is the IAM user `student` of the account, as a
    student's own key would show. moto: `user/moto`, with a key's id. Source: STS API reference,
    GetCallerIdentity.
    """
    answer = proceed()
    if answer.result["Arn"].endswith(":user/moto"):
        arn = f"arn:{call.partition}:iam::{call.account}:user/{STUDENT}"
        answer.result.update(UserId=STUDENT_ID, Arn=arn)
    return answer


# --- propagation --------------------------------------------------------------------------------------


@state
@dataclass
class Dates:
    """When a role, or an instance profile, was changed (seconds since 1970)."""

    made: float = -math.inf
    joined: float = -math.inf  # a profile got its role
    permitted: float = -math.inf  # a role's policies changed
    taken_off: dict[str, tuple[float, str]] = dataclasses.field(default_factory=dict)  # when, the text


propagation = rule(
    "propagation",
    """For 8 s (times `slow_states`) a new role cannot be assumed, a new instance profile cannot be used and
    new policies do not count; the answer is that of the service which uses them. moto: at once.

    Source: aws-facts (b); IAM user guide, troubleshoot_general.""",
)


_NOTED = {  # operation -> which date
    "CreateRole": "made",
    "UpdateAssumeRolePolicy": "made",
    "AttachRolePolicy": "permitted",
    "DetachRolePolicy": "permitted",
    "PutRolePolicy": "permitted",
    "DeleteRolePolicy": "permitted",
    "CreateInstanceProfile": "made",
    "AddRoleToInstanceProfile": "joined",
}


@propagation.around(*(f"iam:{operation}" for operation in _NOTED))
def _note(call: Call, proceed: Proceed) -> Any:
    answer = proceed()
    profile = call.get("InstanceProfileName")
    changed = call.iam.get_instance_profile(profile) if profile else call.iam.get_role(call.get("RoleName"))
    setattr(memory(changed, Dates), _NOTED[call.action], clock.now())
    return answer


@around("iam:DeleteRolePolicy")
def policies_count_on(call: Call, proceed: Proceed) -> Any:
    """A policy that was taken off a role counts for some 4 s more. moto: no longer.

    Measured by OFFENSAI (2025) on AWS, aws-facts (l); IAM user guide, troubleshoot_general. It is no state
    that takes long, but how fast the world hears of it: only a practice cloud without any waits has none.
    """
    role, name = find_role(call.iam, call.get("RoleName")), call.get("PolicyName")
    text = role.policies.get(name) if role else None
    answer = proceed()
    if text is not None:
        memory(role, Dates).taken_off[name] = clock.now(), str(text)
    return answer


def counting_on(role: Any) -> list[str]:
    """Inline policies of a role that were taken off it a moment ago."""
    since = clock.now() - spaced(COUNTS_ON_S)
    return [text for at, text in memory(role, Dates).taken_off.values() if at > since]


def usable(entity: Any, since: str = "made") -> bool:
    """Whether AWS knows a role or instance profile everywhere by now; `since`: which of its `Dates`."""
    changed: float = getattr(memory(entity, Dates), since)
    return clock.now() >= changed + scaled(READY_S)


def find_role(iam: Any, name_or_arn: str) -> Any | None:
    """moto's role of that name or ARN, or None."""
    return next((role for role in iam.roles.values() if name_or_arn in (role.name, role.arn)), None)


def find_instance_profile(iam: Any, name_or_arn: str) -> Any | None:
    """moto's instance profile of that name or ARN, or None."""
    return next((p for p in iam.instance_profiles.values() if name_or_arn in (p.name, p.arn)), None)


def assumable(account: str, role: str, service: str, source_arn: str = "") -> bool:
    """Whether a service can assume a role now: it exists, is not too fresh, and trusts the service.

    For every service that takes a role (Lambda, ECS, Batch); each has an answer of its own for "no".

    Parameters
    ----------
    role : str
        Name or ARN.
    service : str
        As in a trust policy: ``lambda.amazonaws.com``.
    source_arn : str
        For which resource, where the service says so: a trust policy may ask for it. Empty: not known.
    """
    found = find_role(iam_backends[account]["aws"], role)
    source = {"aws:sourceaccount": account, "aws:sourcearn": source_arn} if source_arn else {}
    principal = policies.Principal("Service", (service,))
    return found is not None and usable(found) and trusts(found, principal, source)


def trusts(role: Any, principal: policies.Principal, context: policies.Context) -> bool:
    """Whether a role's trust policy lets somebody assume it."""
    trust = policies.statements(role.assume_role_policy_document)
    return policies.decide(trust, "sts:AssumeRole", role.arn, principal, context) == "Allow"


@patch(BaseXMLSerializer, "_serialize_error_metadata")
def errors_say_it_once(original: Any, serializer: Any, written: dict[str, Any], *more: Any) -> None:
    """An error has a Message. moto writes it again as `message`, as the model of IAM's errors has one, too.

    Source: aws-facts (k).
    """
    original(serializer, written, *more)
    if "Message" in written:
        written.pop("message", None)


# --- AWS's own policies -------------------------------------------------------------------------------


@around("iam:*")
def aws_managed_policies(call: Call, proceed: Proceed) -> Any:
    """AWS's own policies exist and can be attached. moto knows all of them, or none.

    The one that a call names is loaded for it; ListPolicies loads all. Source: aws-facts (j).
    """
    named = [call.get("PolicyArn"), call.get("PermissionsBoundary")]
    if call.action == "ListPolicies" and call.get("Scope") != "Local":
        named += _managed_policies()
    for arn in named:
        managed_policy(call, arn)
    return proceed()


def managed_policy(call: Call, arn: str | None) -> Any | None:
    """One of AWS's own policies, which moto knows from now on; None: there is none of that ARN."""
    known = call.iam.managed_policies
    if (arn or "").startswith("arn:aws:iam::aws:") and arn not in known and arn in _managed_policies():
        name, data = _managed_policies()[arn]
        known[arn] = AWSManagedPolicy.from_data(name, call.account, call.iam.region_name, data)
        call.iam.aws_managed_policies.append(known[arn])
    return known.get(arn)


@functools.cache
def _managed_policies() -> dict[str | None, tuple[str, dict[str, Any]]]:
    """ARN -> (name, moto's data) of AWS's own policies."""
    data = json.loads(aws_managed_policies_data)
    return {f"arn:aws:iam::aws:policy{each['Path']}{name}": (name, each) for name, each in data.items()}


# --- deletion -----------------------------------------------------------------------------------------


@before("iam:DeletePolicy")
def policy_in_use(call: Call) -> None:
    """A policy that is attached, or has further versions: DeleteConflict 409; one of AWS's: AccessDenied 403.

    moto deletes all of them, and can then neither detach it nor delete the role. Source: aws-facts (a), (j).
    """
    policy = call.iam.managed_policies.get(call.get("PolicyArn"))
    if isinstance(policy, AWSManagedPolicy):
        raise Refused("AccessDenied", "Policy is outside your own account.", 403)
    if policy is not None and policy.attachment_count > 0:
        raise Refused("DeleteConflict", "Cannot delete a policy attached to entities.")
    if policy is not None and len(policy.versions) > 1:
        raise Refused(
            "DeleteConflict",
            "This policy has more than one version. Before you delete a policy, you must delete the policy's "
            "versions. The default version is deleted with the policy.",
        )


@before("iam:RemoveRoleFromInstanceProfile")
def role_is_in_profile(call: Call) -> None:
    """Removing a role that is not in the profile: NoSuchEntity 404. moto: a raw ValueError, HTTP 500.

    Source: aws-facts (j).
    """
    role, name = call.get("RoleName"), call.get("InstanceProfileName")
    profile = find_instance_profile(call.iam, name)
    if profile is not None and role not in {each.name for each in profile.roles}:
        raise Refused("NoSuchEntity", f"Cannot find role {role} in Instance Profile {name}.")


@around("iam:AttachRolePolicy")
def attaching_twice_counts_once(call: Call, proceed: Proceed) -> Any:
    """A policy that is attached already stays attached once. moto counts it twice, and never lets it go.

    Source: botocore, AttachRolePolicy; found with `policy_in_use` on.
    """
    role = find_role(call.iam, call.get("RoleName"))
    policy = role.managed_policies.get(call.get("PolicyArn")) if role is not None else None
    answer = proceed()
    if policy is not None:
        policy.attachment_count -= 1
    return answer


# --- creation -----------------------------------------------------------------------------------------

_NAMED = {  # operation -> parameter, where moto keeps them, what AWS says
    "CreateRole": ("RoleName", "roles", "Role with name {}"),
    "CreateInstanceProfile": ("InstanceProfileName", "instance_profiles", "Instance Profile {}"),
    "CreatePolicy": ("PolicyName", "managed_policies", "A policy called {}"),
    "CreateUser": ("UserName", "users", "User with name {}"),
    "CreateGroup": ("GroupName", "groups", "Group with name {}"),
}


@before(*(f"iam:{operation}" for operation in _NAMED))
def names_ignore_case(call: Call) -> None:
    """A name that differs only in case, or (policies) only in path: EntityAlreadyExists 409. moto takes it.

    Source: aws-facts (c); IAM user guide, reference_iam-quotas.
    """
    parameter, kind, what = _NAMED[call.action]
    name = call.get(parameter, "")
    ours = (each for each in getattr(call.iam, kind).values() if not isinstance(each, AWSManagedPolicy))
    if any(each.name.lower() == name.lower() for each in ours):
        raise Refused("EntityAlreadyExists", f"{what.format(name)} already exists.")


@before("iam:AttachRolePolicy")
def ten_policies_per_role(call: Call) -> None:
    """An eleventh managed policy on a role: LimitExceeded 409. moto attaches it. Source: aws-facts (f)."""
    role = find_role(call.iam, call.get("RoleName"))
    attached = role.managed_policies if role is not None else {}
    if call.get("PolicyArn") not in attached and len(attached) >= 10:
        raise Refused("LimitExceeded", "Cannot exceed quota for PoliciesPerRole: 10")


@before("iam:AttachRolePolicy", "iam:AttachUserPolicy", "iam:AttachGroupPolicy")
def policy_arns_are_arns(call: Call) -> None:
    """What is no ARN at all, such as a policy's name: ValidationError 400. moto: NoSuchEntity.

    Source: aws-facts (k).
    """
    if not str(call.get("PolicyArn", "")).startswith("arn:"):
        raise Refused("ValidationError", "Invalid ARN:  Could not be parsed!", 400)


class _Created(Role):
    """A role as CreateRole shows it."""

    max_session_duration = None
    role_last_used = None  # type: ignore[assignment]


@around("iam:ListInstanceProfiles", "iam:GetPolicy", "iam:CreatePolicy")
def lists_end_and_policies_are_counted(call: Call, proceed: Proceed) -> Any:
    """A list of instance profiles says that it is whole, a policy of how many roles and users it is the
    boundary. moto says neither. Source: aws-facts (k).
    """
    answer = proceed()
    if call.action == "ListInstanceProfiles":
        answer.result["IsTruncated"] = False
    else:
        bounded = [*call.iam.roles.values(), *call.iam.users.values()]
        arn = answer.result["Policy"].arn
        answer.result["Policy"].permissions_boundary_usage_count = sum(
            getattr(each, "permissions_boundary_arn", None) == arn
            or getattr(each, "permissions_boundary", None) == arn
            for each in bounded
        )
    return answer


@before("iam:DeletePolicy")
def policies_that_are_not_there(call: Call) -> None:
    """A policy that is not there "was not found". moto: "not found". Source: aws-facts (k)."""
    arn = str(call.get("PolicyArn"))
    if arn not in call.iam.managed_policies:
        raise Refused("NoSuchEntity", f"Policy {arn} was not found.", 404)


@around("iam:CreateRole")
def a_new_role_says_less(call: Call, proceed: Proceed) -> Any:
    """CreateRole answers without MaxSessionDuration and RoleLastUsed, which GetRole has. moto shows them.

    Source: aws-facts (k).
    """
    answer = proceed()
    shown = _Created.__new__(_Created)
    held = vars(answer.result["Role"])
    vars(shown).update({name: value for name, value in held.items() if name != "max_session_duration"})
    answer.result["Role"] = shown
    return answer


# --- trust policies -----------------------------------------------------------------------------------


trust_policy_is_sound = rule(
    "trust_policy_is_sound",
    """A trust policy that is no JSON, lacks a part, or names an unknown service: MalformedPolicyDocument 400.

    moto: CreateRole stores any text; UpdateAssumeRolePolicy refuses the sound version 2008-10-17.
    Source: aws-facts (j); the sentences as quoted in public issues.""",
)


@trust_policy_is_sound.before("iam:CreateRole", "iam:UpdateAssumeRolePolicy")
def _look_at_trust(call: Call) -> None:
    parameter = "AssumeRolePolicyDocument" if call.action == "CreateRole" else "PolicyDocument"
    problem = trust_policy_problem(call.get(parameter, ""), call.iam)
    if problem:
        raise Refused("MalformedPolicyDocument", problem)


@trust_policy_is_sound.around("iam:UpdateAssumeRolePolicy")
def _take_trust(call: Call, proceed: Proceed) -> Any:
    """It has been looked at; moto's own look is not needed any more."""
    call.iam.get_role(call.get("RoleName")).assume_role_policy_document = call.get("PolicyDocument")
    return EmptyResult()


def trust_policy_problem(text: str, iam: Any) -> str | None:
    """What AWS does not like in a trust policy, in its words, or None."""
    try:
        document = json.loads(text)
    except ValueError:
        return "This policy contains invalid Json"
    if not isinstance(document, dict) or set(document) - {"Version", "Id", "Statement"}:
        return "Syntax errors in policy."
    if document.get("Version", "2008-10-17") not in ("2008-10-17", "2012-10-17"):
        return "Syntax errors in policy."
    statements = policies.as_list(document.get("Statement"))
    if not statements or not all(isinstance(statement, dict) for statement in statements):
        return "Syntax errors in policy."
    return next((problem for each in statements if (problem := _statement_problem(each, iam))), None)


_STATEMENT_FIELDS = {"Sid", "Effect", "Principal", "Action", "Resource", "Condition"}


def _statement_problem(statement: dict[str, Any], iam: Any) -> str | None:
    if {field.removeprefix("Not") for field in statement} - _STATEMENT_FIELDS:
        return "Syntax errors in policy."
    for field in ("Effect", "Principal", "Action"):
        if field not in statement:
            return f"Missing required field {field}"
    for field in ("Resource", "NotResource"):
        if field in statement:
            return f"Has prohibited field {field}"
    if statement["Effect"] not in ("Allow", "Deny"):
        return f"Invalid effect: {statement['Effect']}"
    allowed = ("sts:assumerole", "sts:tagsession", "sts:setsourceidentity", "sts:setcontext", "sts:*")
    if not all(
        isinstance(a, str) and a.lower().startswith(allowed) for a in policies.as_list(statement["Action"])
    ):
        return "AssumeRole policy may only specify STS AssumeRole actions."
    principal = statement["Principal"]
    if principal == "*":
        return None
    if not isinstance(principal, dict) or not principal or set(principal) - {"AWS", "Service", "Federated"}:
        return "Syntax errors in policy."
    for service in policies.as_list(principal.get("Service")):
        if not _is_service(service):
            return f'Invalid principal in policy: "SERVICE":"{service}"'
    for arn in policies.as_list(principal.get("AWS")):
        if not _is_known_principal(arn, iam):
            return f'Invalid principal in policy: "AWS":"{arn}"'
    return None


# Service principals whose names are not boto3's names of the service (IAM user guide and AWS service pages).
_MORE_SERVICES = """
    access-analyzer billingconsole chatbot cloudwatch-crossaccount ec2fleet ecs-tasks edgelambda eks-fargate
    eks-fargate-pods eks-nodegroup elasticfilesystem elasticloadbalancing elasticmapreduce email macie
    monitoring opensearchservice ops replicator servicequotas spot spotfleet ssm-incidents states
    transitgateway trustedadvisor vmie vpc vpc-flow-logs waf-regional
"""


@functools.cache
def _services() -> frozenset[str]:
    return frozenset(_MORE_SERVICES.split()) | frozenset(get_session().get_available_services())


def _is_service(principal: Any) -> bool:
    """Whether a service principal looks like one of AWS's: one part of its name is a service's."""
    if not isinstance(principal, str):
        return False
    for ending in (".amazonaws.com", ".amazonaws.com.cn", ".amazon.com"):
        if principal.endswith(ending):
            labels = principal.removesuffix(ending).split(".")
            return any(label in _services() for label in labels)
    return False


def _is_known_principal(arn: Any, iam: Any) -> bool:
    """Whether an account, user or role exists; those of other accounts are taken at their word."""
    if not isinstance(arn, str):
        return False
    begin, _, name = arn.rpartition("/")
    if not begin.startswith(f"arn:aws:iam::{iam.account_id}:"):
        return arn == "*" or arn.startswith("arn:aws:") or (arn.isdigit() and len(arn) == 12)
    if ":role" in begin:
        return find_role(iam, arn) is not None
    if ":user" in begin:
        return name in {user.name for user in iam.users.values()} or name == "student"
    return True


# --- STS ----------------------------------------------------------------------------------------------


@state
class HandedOn(set[str]):
    """Keys of tags, in small letters, that a session hands on to those that come from it."""


@around("sts:AssumeRole")
def assume_role_is_well_formed(call: Call, proceed: Proceed) -> Any:
    """An ARN without partition, service or resource, another sign in a session's name: ValidationError 400.

    This comes before the question whether the caller may. Tags that are named twice, transitive ones that are
    not there, or such as the calling session hands on: InvalidParameterValue. The answer has a
    PackedPolicySize only where a policy or tags were sent. moto looks at nothing but the name's length, and
    always says 6. Source: aws-facts (k).
    """
    arn, name = str(call.get("RoleArn", "")), str(call.get("RoleSessionName", ""))
    parts = arn.split(":", 5)
    if len(parts) < 6 or parts[0] != "arn" or not (parts[1] and parts[2] and parts[5]):
        raise Refused("ValidationError", f"{arn} is invalid", 400)
    if not re.fullmatch(r"[\w+=,.@-]*", name, re.ASCII):
        raise Refused(
            "ValidationError",
            f"1 validation error detected: Value '{name}' at 'roleSessionName' failed to satisfy constraint: "
            r"Member must satisfy regular expression pattern: [\w+=,.@-]*",
            400,
        )
    keys = [str(tag["Key"]).lower() for tag in call.get("Tags", [])]
    if len(keys) != len(set(keys)):
        message = "Duplicate tag keys found. Please note that Tag keys are case insensitive."
        raise Refused("InvalidParameterValue", message, 400)
    transitive = {str(key).lower() for key in call.get("TransitiveTagKeys", [])}
    if transitive - set(keys):
        message = "The specified transitive tag key must be included in the requested tags."
        raise Refused("InvalidParameterValue", message, 400)
    backend = sts_backends[call.account][call.partition]
    caller = backend.get_assumed_role_from_access_key(call.response.get_access_key())
    if caller is not None:
        handed_on = memory(caller, HandedOn)
        if handed_on & set(keys):
            message = (
                "One of the specified transitive tag keys can't be set because it conflicts with a "
                "transitive tag key from the calling session."
            )
            raise Refused("InvalidParameterValue", message, 400)
        transitive |= handed_on
    answer = proceed()
    memory(answer.result["Credentials"], HandedOn).update(transitive)
    if not (call.get("Policy") or call.get("PolicyArns") or keys):
        answer.result.pop("PackedPolicySize", None)
    return answer


@before("sts:AssumeRole")
def role_lets_the_caller_in(call: Call) -> None:
    """AssumeRole of a role that is absent, too fresh, or does not trust the caller: AccessDenied 403.

    moto hands out credentials for roles that do not exist. Source: aws-facts (b); DESIGN section 4.
    """
    arn = call.get("RoleArn", "")
    owner = arn.split(":")[4] if arn.count(":") >= 5 else call.account
    role = find_role(iam_backends[owner][call.partition], arn)
    caller = caller_of(call.account, call.partition, call.response.get_access_key(), call.region)
    context = policies.context(
        call.region, principalaccount=caller.account, principalarn=caller.names[-1]
    ) | {"sts:externalid": call.get("ExternalId"), "sts:rolesessionname": call.get("RoleSessionName")}
    if role is None or not usable(role) or not trusts(role, caller, context):
        message = f"User: {caller.names[0]} is not authorized to perform: sts:AssumeRole on resource: {arn}"
        raise Refused("AccessDenied", message, 403)


def caller_of(account: str, partition: str, access_key: str, region: str) -> policies.Principal:
    """Who makes a call: first as `get_caller_identity` says, last as policies know him."""
    backend = sts_backends[account][partition]
    arn = backend.get_caller_identity(access_key, region)[1]
    session = backend.get_assumed_role_from_access_key(access_key)
    return policies.Principal("AWS", (arn, session.role_arn) if session else (arn,), account)
