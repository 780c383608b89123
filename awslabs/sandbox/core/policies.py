"""Who may do what: IAM's policy language, read in one place for all kinds of policies.

    decide(statements, action, resource, principal, context)  -->  "Allow", "Deny", or None: nothing said

Policies of roles, users and sessions have no principal; those of buckets, functions and roles (who may
assume one) name it. An explicit Deny wins over every Allow; what nothing allows is refused by who asks here.

It never lets pass what it cannot judge: where a statement hangs on an operator or a condition key that the
practice cloud does not know, its Allow does not count, and its Deny does.

Source: IAM user guide, "Policy evaluation logic", "IAM JSON policy elements" (Principal, NotPrincipal,
Action, Resource, Condition operators, "Multivalued context keys", "Variables and tags").
"""

from __future__ import annotations

import datetime
import functools
import ipaddress
import json
import logging
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from awslabs.sandbox.core.engine import clock

log = logging.getLogger(__name__)

Statement = dict[str, Any]
Context = Mapping[str, "str | Sequence[str] | None"]
"""Condition keys in small letters, with their value or values; None: this request has none.

A key that is not there is one that the practice cloud knows nothing of. ``aws:requesttag/`` stands for all of
its family that are not there by themselves.
"""


@dataclass(frozen=True)
class Principal:
    """Who asks, as policies of resources may name him. Without a name: somebody without credentials.

    Attributes
    ----------
    kind : str
        ``AWS``, or ``Service``.
    names : tuple of str
        ``lambda.amazonaws.com``; ARNs of a user, or of a session and its role.
    account : str
        Of a user or session: whoever names the account names all who are in it.
    """

    kind: str = "AWS"
    names: tuple[str, ...] = ()
    account: str = ""


ANYBODY = Principal()


def context(region: str, **more: str | Sequence[str] | None) -> dict[str, str | Sequence[str] | None]:
    """What every request has for the condition keys that all services share.

    Parameters
    ----------
    **more
        Further keys of ``aws:``, in small letters: ``principalarn="arn:aws:iam::..."``.
    """
    now = clock.now()
    return {
        **_NEVER,
        "aws:currenttime": datetime.datetime.fromtimestamp(now, datetime.timezone.utc).isoformat(),
        "aws:epochtime": str(int(now)),
        "aws:requestedregion": region,
        "aws:securetransport": "false",
        "aws:viaawsservice": "false",
        **{f"aws:{name}": value for name, value in more.items()},
    }


_NEVER = dict.fromkeys(  # no organisations here, no private networks to AWS, nobody calls on another's behalf
    f"aws:{name}"
    for name in (
        "calledvia", "calledviafirst", "calledvialast", "ec2instancesourceprivateipv4",
        "ec2instancesourcevpc", "federatedprovider", "principalorgid", "principalorgpaths",
        "principalservicename", "principalservicenameslist", "resourceorgid", "resourceorgpaths",
        "sourceaccount", "sourcearn", "sourceidentity", "sourceorgid", "sourceorgpaths",
        "sourcevpc", "sourcevpce", "tokenissuetime", "vpcsourceip",
    )
)  # fmt: skip


def decide(
    statements: Iterable[Statement],
    action: str,
    resource: str,
    principal: Principal | None,
    context: Context,
) -> Literal["Allow", "Deny"] | None:
    """What statements say to a request.

    Parameters
    ----------
    action : str
        ``s3:GetObject``.
    resource : str
        The ARN of what it is done to; ``*`` for actions that know no resources.
    principal : Principal or None
        Who asks. None: the statements are his own, and name nobody.
    context : mapping
        See `Context`.
    """
    said: Literal["Allow"] | None = None
    for statement in statements:
        if not _covers(statement, "Action", lambda each: _like(each.lower(), action.lower(), {})):
            continue
        if not _names(statement, principal):
            continue
        applies = _about(statement, resource, principal, context)
        if applies is not False:
            applies = _every(applies, _holds(statement.get("Condition") or {}, context))
        if applies is False:
            continue
        if statement.get("Effect") != "Allow":
            return "Deny"
        if applies:
            said = "Allow"
    return said


def as_list(value: Any) -> list[Any]:
    """A value that may be one or many, as JSON policies have it."""
    if value is None:
        return []
    return value if isinstance(value, list) else [value]


@functools.lru_cache(maxsize=1024)
def statements(document: str) -> tuple[Statement, ...]:
    """The statements of a policy's text; a text that is no policy has none.

    Before version 2012-10-17 there were no variables: ``${`` is text.
    """
    try:
        found = json.loads(document)
        if found.get("Version") != "2012-10-17" and "${" in document:
            found = json.loads(document.replace("${", "${$}{"))
    except (ValueError, AttributeError):
        return ()
    return tuple(each for each in as_list(found.get("Statement")) if isinstance(each, dict))


# --- yes, no, and who knows ---------------------------------------------------------------------------


def _every(*answers: bool | None) -> bool | None:
    """True, False, or None when that depends on what nobody here knows."""
    return False if False in answers else None if None in answers else True


def _some(answers: Iterable[bool | None]) -> bool | None:
    return _not(_every(*map(_not, answers)))


def _not(answer: bool | None) -> bool | None:
    return None if answer is None else not answer


# --- who and what -------------------------------------------------------------------------------------


def _covers(statement: Statement, field: str, is_it: Callable[[str], bool | None]) -> bool | None:
    """Whether an element of a statement, or its opposite, is about something."""
    opposite = f"Not{field}"
    found = _some(is_it(str(each)) for each in as_list(statement.get(field, statement.get(opposite))))
    return _not(found) if field not in statement and opposite in statement else found


def _about(statement: Statement, resource: str, principal: Principal | None, context: Context) -> bool | None:
    if principal is not None and not {"Resource", "NotResource"} & statement.keys():
        return True  # who may assume a role: its own policy says of nothing else
    return _covers(statement, "Resource", lambda each: _like(each, resource, context, "resource"))


def _names(statement: Statement, principal: Principal | None) -> bool:
    """Whether a statement is meant for somebody; one without a principal is for whose policy it is."""
    if principal is None:
        return not {"Principal", "NotPrincipal"} & statement.keys()
    element = "Principal" if "Principal" in statement else "NotPrincipal"
    named = statement.get(element)
    if named is None:
        return False
    named = named if isinstance(named, dict) else {"AWS": named}
    own = {str(each) for each in as_list(named.get(principal.kind))}
    if element == "NotPrincipal":
        return not own & {"*", *principal.names}
    if "*" in [*own, *as_list(named.get("AWS"))]:
        return True
    whole_account = principal.account in own or any(
        re.fullmatch(rf"arn:[^:]+:iam::{principal.account}:root", each) for each in own
    )
    return bool(own & set(principal.names)) or (bool(principal.account) and whole_account)


_PIECE = re.compile(r"\$\{\s*([^},]+?)\s*(?:,\s*'([^']*)'\s*)?\}|[*?]|\$|[^*?$]+")


def _like(pattern: str, value: str, context: Context, kind: str = "") -> bool | None:
    """Whether a value is as a pattern says, policy variables filled in. None: one of these is not known.

    Parameters
    ----------
    kind : str
        ``""``: ``*`` and ``?`` stand for whatever there is. ``resource``: within a part of an ARN, a ``*`` at
        the end of a part for more parts, too. ``arn``: within a part. ``text``: for themselves; ``any case``:
        the same, large and small letters alike.
    """
    expression, colons = "", 0
    for piece in _PIECE.finditer(pattern):
        text, name = piece[0], piece[1]
        if text in ("*", "?") and kind not in ("text", "any case"):
            ends = kind == "resource" and text == "*" and pattern[piece.end() : piece.end() + 1] in ("", ":")
            inside = kind and colons < 5 and not ends
            expression += ("[^:]" if inside else ".") + ("*" if text == "*" else "")
            continue
        if name in ("*", "?", "$"):
            text = name
        elif name:
            known = _values(context, name)
            if known is None:
                return None
            if len(known) != 1 and piece[2] is None:
                return False
            text = known[0] if len(known) == 1 else piece[2]
        colons += text.count(":")
        expression += re.escape(text)
    return bool(re.fullmatch(expression, value, re.DOTALL | re.IGNORECASE * (kind == "any case")))


# --- conditions ---------------------------------------------------------------------------------------


def _values(context: Context, key: str) -> list[str] | None:
    """The values that a request has for a condition key; None: nobody here knows."""
    small = key.lower()
    family = small.partition("/")[0] + "/"
    if small not in context and family not in context:
        _unknown("key", key)
        return None
    found = context.get(small)
    return [] if found is None else [found] if isinstance(found, str) else list(found)


@functools.cache
def _unknown(what: str, name: str) -> None:
    """Say once in the log why something may be refused that AWS would let pass."""
    log.info("the practice cloud does not know the condition %s %s: Allow does not count there", what, name)


def _holds(condition: dict[str, Any], context: Context) -> bool | None:
    """Whether all of a condition holds."""
    return _every(
        *(
            _test(operator, key, [_text(each) for each in as_list(wanted)], context)
            for operator, keys in condition.items()
            for key, wanted in keys.items()
        )
    )


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _test(operator: str, key: str, wanted: list[str], context: Context) -> bool | None:
    """Whether one line of a condition holds."""
    quantity, _, name = operator.rpartition(":")
    absent_will_do = name.endswith("IfExists")
    name = name.removesuffix("IfExists")
    negated = name in OPPOSITES
    compare = OPERATORS.get(OPPOSITES.get(name, name))
    values = _values(context, key)
    if values is None:
        return None
    if operator == "Null":
        return (not values) == ("true" in map(str.lower, wanted))
    if compare is None or quantity not in ("", "ForAllValues", "ForAnyValue"):
        _unknown("operator", operator)
        return None
    if not values:
        return absent_will_do or quantity == "ForAllValues" or (negated and not quantity)

    def fits(value: str) -> bool | None:
        found = _some(_compared(compare, each, value, context) for each in wanted)
        return _not(found) if negated else found

    found = map(fits, values)
    return _every(*found) if quantity == "ForAllValues" or (negated and not quantity) else _some(found)


Compare = Callable[[str, str, Context], "bool | None"]


def _compared(compare: Compare, wanted: str, value: str, context: Context) -> bool | None:
    try:
        return compare(wanted, value, context)
    except ValueError:  # no number, no date, no address
        return None


def _date(text: str) -> float:
    """Seconds since 1970: from a date as ISO 8601 has it, or from themselves."""
    if re.fullmatch(r"\d{5,}(\.\d+)?", text):
        return float(text)
    at = datetime.datetime.fromisoformat(text.replace("Z", "+00:00"))
    return (at if at.tzinfo else at.replace(tzinfo=datetime.timezone.utc)).timestamp()


def _ordered(read: Callable[[str], float]) -> dict[str, Compare]:
    """Operators of what can be put in order."""
    return {
        "Equals": lambda wanted, value, _: read(value) == read(wanted),
        "LessThan": lambda wanted, value, _: read(value) < read(wanted),
        "LessThanEquals": lambda wanted, value, _: read(value) <= read(wanted),
        "GreaterThan": lambda wanted, value, _: read(value) > read(wanted),
        "GreaterThanEquals": lambda wanted, value, _: read(value) >= read(wanted),
    }


OPERATORS: dict[str, Compare] = {
    "StringEquals": functools.partial(_like, kind="text"),
    "StringEqualsIgnoreCase": functools.partial(_like, kind="any case"),
    "StringLike": _like,
    "ArnEquals": functools.partial(_like, kind="arn"),
    "ArnLike": functools.partial(_like, kind="arn"),
    "BinaryEquals": lambda wanted, value, _: wanted == value,
    "Bool": lambda wanted, value, _: wanted.lower() == value.lower(),
    "IpAddress": lambda wanted, value, _: ipaddress.ip_address(value) in ipaddress.ip_network(wanted, False),
    **{f"Numeric{name}": compare for name, compare in _ordered(float).items()},
    **{f"Date{name}": compare for name, compare in _ordered(_date).items()},
}
OPPOSITES = {
    "StringNotEquals": "StringEquals",
    "StringNotEqualsIgnoreCase": "StringEqualsIgnoreCase",
    "StringNotLike": "StringLike",
    "ArnNotEquals": "ArnEquals",
    "ArnNotLike": "ArnLike",
    "NotIpAddress": "IpAddress",
    "NumericNotEquals": "NumericEquals",
    "DateNotEquals": "DateEquals",
}
