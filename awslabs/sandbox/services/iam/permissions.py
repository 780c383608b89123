"""Roles and users count: what their credentials may do in the practice cloud.

A function, task or instance gets credentials of its role; a user of IAM has a key. Calls made with them are
checked here, before anything else looks at them, against the caller's inline and attached policies:

    operation  --`needs`-->  IAM actions, each with the ARNs that the request touches
               --policies of the role, or of the user and its groups; its boundary, the session's policy-->
                             allowed, or AccessDenied

An operation that is not in the table there is refused to all of them, with a sentence that says so. Whoever
comes with an ordinary key of the practice cloud, which is its owner's, is not checked.

How policies are read, and what becomes of conditions on keys that nobody here knows, says `core.policies`.
What is not looked at: policies of queues and repositories.
Source: IAM user guide, "Policy evaluation logic"; Service Authorization Reference, pages of each service.
"""

from __future__ import annotations

import datetime
import functools
import re
from collections.abc import Callable, Iterable
from typing import Any

from moto.core.request import Request
from moto.core.utils import utcnow
from moto.iam.models import User, iam_backends
from moto.sts.models import AssumedRole, sts_backends

from awslabs.sandbox.core import policies, wire
from awslabs.sandbox.core.engine import lock
from awslabs.sandbox.services.iam import needs
from awslabs.sandbox.services.iam.identities import counting_on, find_role, usable

SESSION_S = 12 * 3600  # how long credentials of a function or task are good
FRESH_S = 6 * 3600  # younger ones are given out again
REGION = "us-east-1"

_SCOPE = re.compile(r"Credential=[^/,\s]+/\d{8}/([^/]+)/")


def region_of(request: Request) -> str:
    """The Region that a request is signed for."""
    match = _SCOPE.search(request.headers.get("Authorization", ""))
    return match[1] if match else REGION


# --- sessions -----------------------------------------------------------------------------------------


def credentials(account: str, role_arn: str, session_name: str, region: str = REGION) -> AssumedRole:
    """Credentials of a role for something that runs: the same ones for hours, as AWS gives them.

    Parameters
    ----------
    role_arn : str
        Of a role that the service may assume: ask `identities.assumable` first.
    session_name : str
        The function's name, the task's id; shows in the caller's ARN.

    Returns
    -------
    AssumedRole
        moto's; it has ``access_key_id``, ``secret_access_key``, ``session_token`` and ``arn``.
    """
    with lock:
        backend = sts_backends[account]["aws"]
        old = utcnow() + datetime.timedelta(seconds=SESSION_S - FRESH_S)
        for session in backend.assumed_roles:
            same = (session.role_arn, session.session_name) == (role_arn, session_name)
            if same and session.expiration > old and not session.policy:
                return session
        return backend.assume_role(region, session_name, role_arn, "", SESSION_S, "")


def new_credentials(account: str, role_arn: str, session_name: str, region: str = REGION) -> AssumedRole:
    """The same, others than all before: each environment of a function has its own (aws-facts (k))."""
    with lock:
        backend = sts_backends[account]["aws"]
        return backend.assume_role(region, session_name, role_arn, "", SESSION_S, "")


def session_of(account: str, access_key: str) -> AssumedRole | None:
    """Whose credentials these are, or None: nobody's, or an ordinary key's."""
    if not access_key.startswith("ASIA") or account not in sts_backends:
        return None
    return sts_backends[account]["aws"].get_assumed_role_from_access_key(access_key)


# --- policies -----------------------------------------------------------------------------------------


def user_of(account: str, access_key: str) -> User | None:
    """The user whose key this is, or None: nobody's, a role's, or an ordinary key."""
    if account not in iam_backends:
        return None
    iam = iam_backends[account]["aws"]
    made = iam.access_keys.get(access_key)
    return iam.users.get(str(made.user_name)) if made else None


def allows(
    account: str,
    role_arn: str,
    action: str,
    resource: str,
    region: str = REGION,
    facts: policies.Context | None = None,
) -> bool:
    """Whether a role's policies, within its boundary, let it do something.

    Parameters
    ----------
    action : str
        ``sqs:SendMessage``.
    resource : str
        The ARN of what it is done to; ``*`` for actions that know no resources.
    facts : mapping, optional
        Condition keys of the request; default: what is known of every call.
    """
    with lock:
        role = find_role(iam_backends[account]["aws"], role_arn)
        if role is None:
            return False
        own = [*_documents(role), *counting_on(role)]
        boundary = _boundary(account, role.permissions_boundary_arn)
    facts = facts or context_of(account, role_arn, region)
    return _within(boundary, action, resource, facts) and _allow(own, action, resource, facts)


def allows_by_now(account: str, role_arn: str, action: str, resource: str, region: str) -> bool:
    """The same of a role that is there, and whose last change of policies AWS knows everywhere by now."""
    role = find_role(iam_backends[account]["aws"], role_arn)
    known = role is not None and usable(role, "permitted")
    return known and allows(account, role_arn, action, resource, region)


def user_may(user: User, action: str, resource: str, facts: policies.Context) -> bool:
    """Whether a user may, whose groups' policies count as well. A user without any may do nothing."""
    with lock:
        groups = iam_backends[user.account_id]["aws"].get_groups_for_user(user.name)
        own = [text for one in (user, *groups) for text in _documents(one)]
        boundary = _boundary(user.account_id, getattr(user, "permissions_boundary_arn", None))
    return _within(boundary, action, resource, facts) and _allow(own, action, resource, facts)


def _documents(identity: Any) -> list[str]:
    """The texts of all policies of a role, a user or a group."""
    return [*identity.policies.values(), *(_document(each) for each in identity.managed_policies.values())]


def _boundary(account: str, arn: str | None) -> list[str] | None:
    """The policy that bounds somebody; None: nothing does."""
    if not arn:
        return None
    bounds = iam_backends[account]["aws"].managed_policies.get(arn)
    return [_document(bounds)] if bounds is not None else []


def _within(boundary: list[str] | None, action: str, resource: str, facts: policies.Context) -> bool:
    return boundary is None or _allow(boundary, action, resource, facts)


def context_of(account: str, role_arn: str, region: str) -> dict[str, Any]:
    """What is known of a call that is made with credentials of a role."""
    role = find_role(iam_backends[account]["aws"], role_arn)
    return _context(account, region, role_arn, getattr(role, "tags", []), "AssumedRole", None)


def user_context(user: User, region: str) -> dict[str, Any]:
    """The same of a call that is made with a user's key."""
    return _context(user.account_id, region, user.arn, user.tags, "User", user.name)


def _context(
    account: str, region: str, arn: str, tags: list[dict[str, str]] | None, kind: str, username: str | None
) -> dict[str, Any]:
    known = policies.context(
        region,
        multifactorauthpresent="false",
        principalaccount=account,
        principalarn=arn,
        principaltype=kind,
        resourceaccount=account,
        username=username,
    )
    told = {f"aws:principaltag/{tag['Key'].lower()}": tag["Value"] for tag in tags or []}
    return {**known, **told, "aws:principaltag/": None}


def _allow(documents: Iterable[str], action: str, resource: str, facts: policies.Context) -> bool:
    """Whether policies of one's own let one do something."""
    found = (statement for document in documents for statement in policies.statements(document))
    return policies.decide(found, action, resource, None, facts) == "Allow"


def _document(policy: Any) -> str:
    """The text of a managed policy's default version."""
    return str(next(v.document for v in policy.versions if v.version_id == policy.default_version_id))


# --- requests -----------------------------------------------------------------------------------------


def refusal(
    call: wire.Call,
    account: str,
    request: Request,
    body: bytes,
    decisions: list[dict[str, Any]] | None = None,
) -> tuple[str, str] | None:
    """Error code and message when the caller is a role or a user that may not do this; None: go ahead.

    Parameters
    ----------
    call : wire.Call
        What is asked.
    account : str
        The account of the access key.
    request, body
        Where the resources are read from.
    decisions : list, optional
        Takes what was decided: action, resource, whether it may be, and what a policy may ask about it.
    """
    if call.name == "sts:GetCallerIdentity":
        return None
    wanted = needs.needs(needs.Asked(account, region_of(request), call, request, body))
    return judge(call, account, request, wanted, decisions)


def judge(
    call: wire.Call,
    account: str,
    request: Request,
    wanted: Iterable[needs.Need],
    decisions: list[dict[str, Any]] | None = None,
) -> tuple[str, str] | None:
    """The same of what is `wanted`, which is looked at for a role or a user alone."""
    session = session_of(account, call.access_key)
    user = None if session else user_of(account, call.access_key)
    region = region_of(request)
    may: Callable[..., bool]
    limit = None
    if session is not None:
        if session.expiration < utcnow():
            code = "ExpiredTokenException" if call.protocol.endswith("json") else "ExpiredToken"
            return code, "The security token included in the request is expired"
        who, id, what = session.arn, session.user_id, "roles"
        context = context_of(account, session.role_arn, region)
        may = functools.partial(allows, account, session.role_arn, region=region)
        limit = [session.policy] if session.policy else None
    elif user is not None:
        who, id, what = user.arn, user.id, "users"
        context = user_context(user, region)
        may = functools.partial(user_may, user)
    else:
        return None
    if not needs.known(call):
        why = f"the practice cloud does not let {what} call {call.name}: it is not in its table of actions"
        return _denied(call), f"User: {who} is not authorized to perform: {call.name} because {why}"
    context |= {
        "aws:referer": request.headers.get("Referer"),
        "aws:sourceip": request.remote_addr,
        "aws:useragent": request.headers.get("User-Agent"),
        "aws:userid": id,
    }
    for action, resource, more in wanted:
        facts = {**context, **more}
        limited = not _within(limit, action, resource, facts)
        allowed = may(action=action, resource=resource, facts=facts) and not limited
        if decisions is not None:
            told = {key: value for key, value in more.items() if not key.endswith("/")}
            decisions.append({"action": action, "resource": resource, "allowed": allowed, "facts": told})
        if not allowed:
            kind = "session" if limited else "identity-based"
            return _denied(call), (
                f"User: {who} is not authorized to perform: {action} on resource: {resource} "
                f"because no {kind} policy allows the {action} action"
            )
    return None


def _denied(call: wire.Call) -> str:
    """What a protocol calls it."""
    if call.protocol == "ec2":
        return "UnauthorizedOperation"
    return "AccessDeniedException" if call.protocol in ("json", "rest-json", "cbor") else "AccessDenied"


def log_arn(account: str, region: str, group: str, stream: str = "") -> str:
    """What IAM calls a log stream, or, without one, its group: policies name both ``log-group:NAME:*``."""
    return f"arn:aws:logs:{region}:{account}:log-group:{group}:log-stream:{stream}"
