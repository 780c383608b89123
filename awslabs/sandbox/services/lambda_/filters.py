"""Lambda: filter patterns of event source mappings, and what they let through.

    {"body": {"kind": ["order"], "price": [{"numeric": [">", 10]}]}}

A key names a member of the record; all keys of a pattern have to match, and of a list one rule. The body
of a message counts as JSON where it is an object, and else as the text that it is: a pattern of the one kind
lets no body of the other pass.

Source: Lambda developer guide, "Control which events Lambda sends to your function" (the rules) and "Using
event filtering with an Amazon SQS event source" (the body); aws-facts (k).
"""

from __future__ import annotations

import json
import operator
from collections.abc import Iterator
from typing import Any

from awslabs.sandbox.core.engine import Refused
from awslabs.sandbox.services.lambda_.shapes import invalid

_OPERATORS = {"=": operator.eq, "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge}
_WITH_TEXT = ("prefix", "suffix", "equals-ignore-case")
_OF_EVENTBRIDGE = ("cidr", "wildcard")
"""Rules that EventBridge has, and of which Lambda's table says nothing."""


def read(text: str) -> dict[str, Any]:
    """A pattern, looked at.

    Raises
    ------
    Refused
        InvalidParameterValueException; NotImplemented for a rule that the practice cloud does not know.
    """
    try:
        pattern = json.loads(text)
    except ValueError:
        pattern = None
    if not isinstance(pattern, dict) or not _is_pattern(pattern):
        raise invalid("Invalid filter pattern definition.")
    return pattern


def _is_pattern(pattern: dict[str, Any]) -> bool:
    for key, value in pattern.items():
        if key == "$or":
            either = isinstance(value, list) and len(value) > 1
            if not either or not all(isinstance(one, dict) and _is_pattern(one) for one in value):
                return False
        elif isinstance(value, dict):
            if not _is_pattern(value):
                return False
        elif not (isinstance(value, list) and value and all(map(_is_rule, value))):
            return False
    return True


def _is_rule(rule: Any) -> bool:
    if not isinstance(rule, dict):
        return not isinstance(rule, list)
    [*names] = rule
    if len(names) != 1:
        return False
    [(name, value)] = rule.items()
    if name in _OF_EVENTBRIDGE:
        raise Refused("NotImplemented", f"The practice cloud's filters know no rule {name!r}.", 501)
    if name == "exists":
        return isinstance(value, bool)
    if name in _WITH_TEXT:
        return isinstance(value, str)
    if name == "anything-but":
        plain = value if isinstance(value, list) else [value]
        return bool(plain) and (
            _is_beginning(value) or all(not isinstance(one, (dict, list)) for one in plain)
        )
    if name == "numeric" and isinstance(value, list) and len(value) in (2, 4):
        return all(how in _OPERATORS and _is_number(bound) for how, bound in _pairs(value))
    return False


def _is_beginning(value: Any) -> bool:
    return isinstance(value, dict) and list(value) == ["prefix"] and isinstance(value["prefix"], str)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def passes(patterns: list[dict[str, Any]], record: dict[str, Any]) -> bool:
    """Whether a record of SQS meets one of the patterns."""
    try:
        body = json.loads(record["body"])
    except ValueError:
        body = None
    event = record | ({"body": body} if isinstance(body, dict) else {})
    return any(_meets(pattern, event) for pattern in patterns)


def _meets(pattern: dict[str, Any], event: Any) -> bool:
    if isinstance(event, list):
        return any(_meets(pattern, one) for one in event)
    if not isinstance(event, dict):
        event = {}
    for key, wanted in pattern.items():
        if key == "$or":
            met = any(_meets(one, event) for one in wanted)
        elif isinstance(wanted, dict):
            met = _meets(wanted, event.get(key))
        else:
            met = any(_fits(rule, key, event) for rule in wanted)
        if not met:
            return False
    return True


def _fits(rule: Any, key: str, event: dict[str, Any]) -> bool:
    """Whether a member of an event, or one of those in its list, is as a rule wants it."""
    there = key in event and not isinstance(event[key], dict)
    if isinstance(rule, dict) and "exists" in rule:
        return there is rule["exists"]
    values = event[key] if there and isinstance(event[key], list) else [event[key]] if there else []
    return any(_is_as(rule, value) for value in values)


def _is_as(rule: Any, value: Any) -> bool:
    if not isinstance(rule, dict):
        return (
            type(rule) is type(value)
            and rule == value
            or _is_number(rule)
            and _is_number(value)
            and rule == value
        )
    [(name, wanted)] = rule.items()
    if name == "anything-but":
        if isinstance(wanted, dict):
            return isinstance(value, str) and not value.startswith(wanted["prefix"])
        others = wanted if isinstance(wanted, list) else [wanted]
        return not any(_is_as(other, value) for other in others)
    if name == "numeric":
        return _is_number(value) and all(_OPERATORS[how](value, bound) for how, bound in _pairs(wanted))
    if not isinstance(value, str):
        return False
    if name == "equals-ignore-case":
        return value.lower() == str(wanted).lower()
    return value.startswith(wanted) if name == "prefix" else value.endswith(wanted)


def _pairs(numeric: list[Any]) -> Iterator[tuple[Any, Any]]:
    """Operators with their numbers: ``[">", 0, "<=", 5]``."""
    return zip(numeric[::2], numeric[1::2], strict=True)
