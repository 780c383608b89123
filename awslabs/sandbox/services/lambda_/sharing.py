"""Lambda: functions of other accounts, which their own policies open.

    a caller of 2222  --ARN of 1111's function-->  that function's policy  -->  done there, or 403

Source: Lambda developer guide, "Granting Lambda function access to other accounts"; aws-facts (k).
"""

from __future__ import annotations

import json
import re
import urllib.parse

from awslabs.sandbox.core import policies
from awslabs.sandbox.core.engine import Call, Proceed, Refused, around, before
from awslabs.sandbox.services.iam.identities import caller_of
from awslabs.sandbox.services.lambda_ import functions, resource_policies, shapes

SHARED = {
    *("CreateAlias", "DeleteAlias", "DeleteFunction", "DeleteFunctionConcurrency", "GetAlias", "GetFunction"),
    *("GetFunctionConfiguration", "GetPolicy", "Invoke", "ListAliases", "ListTags", "ListVersionsByFunction"),
    *("PublishVersion", "PutFunctionConcurrency", "TagResource", "UntagResource", "UpdateAlias"),
    "UpdateFunctionCode",
}
"""What a function's policy can grant to another account; all else, nobody but the owner may do."""

_FUNCTION = re.compile(r"(?:arn:aws[\w-]*:lambda:[\w-]+:)?(\d{12}):function:([^:]+)(:[^:]+)?")


def owner(given: str, account: str) -> str:
    """Whose function a request names: only an ARN, whole or from the account on, names another's."""
    match = _FUNCTION.fullmatch(given)
    return account if match is None else match[1]


def look_at_policy(given: str, region: str, action: str, caller: policies.Principal) -> None:
    """Refuse what another account's function does not grant to the caller.

    Parameters
    ----------
    given : str
        The function, as the request names it.
    action : str
        ``GetFunction``.

    Raises
    ------
    Refused
        AccessDeniedException 403: also for a function that is not there, of which nobody else learns.
    """
    match = _FUNCTION.fullmatch(given)
    assert match is not None  # it is another account's
    other, name, qualifier = match[1], match[2], match[3] or ""
    arn = f"arn:aws:lambda:{region}:{other}:function:{name}{qualifier}"
    needed = "lambda:InvokeFunction" if action == "Invoke" else f"lambda:{action}"
    context = policies.context(region, principalaccount=caller.account, resourceaccount=other)
    said = resource_policies.statements(other, region, arn)
    if action in SHARED and policies.decide(said, needed, arn, caller, context) == "Allow":
        return
    raise denied(caller, needed, arn)


def denied(caller: policies.Principal, needed: str, arn: str) -> Refused:
    """What another account's thing says to whom its policy does not let in."""
    return Refused(
        "AccessDeniedException",
        f"User: {caller.names[0]} is not authorized to perform: {needed} on resource: {arn} because no "
        f"resource-based policy allows the {needed} action",
        403,
    )


@around("lambda:*")
def functions_of_other_accounts(call: Call, proceed: Proceed) -> object:
    """The ARN of another account's function is that function, if its policy grants the operation to the
    caller; else AccessDeniedException. moto looks for it among the caller's own. Source: aws-facts (k).
    """
    given = shapes.named(call) or urllib.parse.unquote(call.response.path.partition("/tags/")[2])
    other = owner(given, call.account)
    if other != call.account:
        caller = caller_of(call.account, call.partition, call.response.get_access_key(), call.region)
        look_at_policy(given, call.region, call.action, caller)
        call.response.current_account = other
    return proceed()


@before("lambda:*")
def parts_of_arns_are_names(call: Call) -> None:
    """A function may be named by the end of its ARN, from the account on; an ARN without a name is that of a
    function called `function`. moto stumbles over the first. Source: aws-facts (k).
    """
    given = shapes.named(call)
    if re.fullmatch(r"\d{12}:function:.+", given):
        whole = f"arn:{call.partition}:lambda:{call.region}:{given}"
    elif re.fullmatch(r"arn:aws[\w-]*:lambda:[\w-]+:\d{12}:function", given):
        whole = f"{given}:function"
    else:
        return
    before, _, rest = call.response.path.partition("/functions/")
    _, slash, after = rest.partition("/")
    call.response.path = f"{before}/functions/{urllib.parse.quote(whole, safe='')}{slash}{after}"


@before("lambda:ListVersionsByFunction", "lambda:UpdateFunctionConfiguration")
def lists_take_every_name(call: Call) -> None:
    """Versions are listed of a name, a part of an ARN and an ARN alike, and a configuration is
    changed so; of a function that is not there: ResourceNotFoundException. moto finds plain names alone, and
    nothing of any other. Source: aws-facts (k).
    """
    function = functions.find(call.account, call.region, shapes.named(call))
    kind = call.response.path.rstrip("/").rpartition("/")[2]
    call.response.path = f"/2015-03-31/functions/{function.function_name}/{kind}"


@before("lambda:CreateFunction")
def functions_are_made_by_every_name(call: Call) -> None:
    """A function may be made by its ARN, or a part of one; under another account's: AccessDeniedException.

    moto takes the ARN for a name. Source: aws-facts (k).
    """
    match = _FUNCTION.fullmatch(str(call.get("FunctionName", "")))
    if match is None:
        return
    if match[1] != call.account:
        raise Refused("AccessDeniedException", "", 403)
    call.response.body = json.dumps(json.loads(call.response.body) | {"FunctionName": match[2]})
