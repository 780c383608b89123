"""Roles count: what credentials of a role may do in the practice cloud.

A function, task or instance gets credentials of its role. Calls made with them are checked here, before
anything else looks at them, against the role's inline and attached policies:

    operation  --`needs`-->  IAM actions, each with the ARNs that the request touches
               --policies of the role, its boundary, the session's policy-->  allowed, or AccessDenied

An operation that is not in the table there is refused to every role, with a sentence that says so. Whoever
comes with an ordinary key of the practice cloud is not checked.

How policies are read, and what becomes of conditions on keys that nobody here knows, says `core.policies`.
What is not looked at: policies of queues and repositories.
Source: IAM user guide, "Policy evaluation logic"; Service Authorization Reference, pages of each service.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Iterable
from typing import Any

from moto.core.request import Request
from moto.core.utils import utcnow
from moto.iam.models import iam_backends
from moto.sts.models import AssumedRole, sts_backends

from awslabs.sandbox.core import policies, wire
from awslabs.sandbox.core.engine import lock
from awslabs.sandbox.services.iam import needs
from awslabs.sandbox.services.iam.identities import counting_on, find_role

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


def session_of(account: str, access_key: str) -> AssumedRole | None:
    """Whose credentials these are, or None: nobody's, or an ordinary key's."""
    if not access_key.startswith("ASIA") or account not in sts_backends:
        return None
    return sts_backends[account]["aws"].get_assumed_role_from_access_key(access_key)


# --- policies -----------------------------------------------------------------------------------------


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
        iam = iam_backends[account]["aws"]
        role = find_role(iam, role_arn)
        if role is None:
            return False
        own = [*role.policies.values(), *(_document(each) for each in role.managed_policies.values())]
        own += counting_on(role)
        bounds = iam.managed_policies.get(role.permissions_boundary_arn)
        boundary = [_document(bounds)] if bounds is not None else []
    facts = facts or context_of(account, role_arn, region)
    if role.permissions_boundary_arn and not _allow(boundary, action, resource, facts):
        return False
    return _allow(own, action, resource, facts)


def context_of(account: str, role_arn: str, region: str) -> dict[str, Any]:
    """What is known of a call that is made with credentials of a role."""
    role = find_role(iam_backends[account]["aws"], role_arn)
    tags = {f"aws:principaltag/{tag['Key'].lower()}": tag["Value"] for tag in getattr(role, "tags", [])}
    known = policies.context(
        region,
        multifactorauthpresent="false",
        principalaccount=account,
        principalarn=role_arn,
        principaltype="AssumedRole",
        resourceaccount=account,
        username=None,
    )
    return {**known, **tags, "aws:principaltag/": None}


def _allow(documents: Iterable[str], action: str, resource: str, facts: policies.Context) -> bool:
    """Whether policies of one's own let one do something."""
    found = (statement for document in documents for statement in policies.statements(document))
    return policies.decide(found, action, resource, None, facts) == "Allow"


def _document(policy: Any) -> str:
    """The text of a managed policy's default version."""
    return str(next(v.document for v in policy.versions if v.version_id == policy.default_version_id))


# --- requests -----------------------------------------------------------------------------------------


def refusal(call: wire.Call, account: str, request: Request, body: bytes) -> tuple[str, str] | None:
    """Error code and message when the caller is a role that may not do this; None: go ahead.

    Parameters
    ----------
    call : wire.Call
        What is asked.
    account : str
        The account of the access key.
    request, body
        Where the resources are read from.
    """
    session = session_of(account, call.access_key)
    if session is None or call.name == "sts:GetCallerIdentity":
        return None
    if session.expiration < utcnow():
        code = "ExpiredTokenException" if call.protocol.endswith("json") else "ExpiredToken"
        return code, "The security token included in the request is expired"
    if not needs.known(call):
        why = f"the practice cloud does not let roles call {call.name}: it is not in its table of actions"
        return _denied(call), f"User: {session.arn} is not authorized to perform: {call.name} because {why}"
    region = region_of(request)
    context = context_of(account, session.role_arn, region) | {
        "aws:referer": request.headers.get("Referer"),
        "aws:sourceip": request.remote_addr,
        "aws:useragent": request.headers.get("User-Agent"),
        "aws:userid": session.user_id,
    }
    for action, resource, more in needs.needs(needs.Asked(account, region, call, request, body)):
        facts = {**context, **more}
        limited = session.policy and not _allow([session.policy], action, resource, facts)
        if limited or not allows(account, session.role_arn, action, resource, region, facts):
            kind = "session" if limited else "identity-based"
            return _denied(call), (
                f"User: {session.arn} is not authorized to perform: {action} on resource: {resource} "
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
