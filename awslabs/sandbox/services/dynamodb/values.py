"""What an attribute's value may be on AWS, and how AWS writes a number down.

Source: DynamoDB developer guide, "Supported data types and naming rules"; aws-facts (k).
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

from awslabs.sandbox.core.engine import Refused

TYPES = ("S", "N", "B", "SS", "NS", "BS", "M", "L", "NULL", "BOOL")
LEVELS = 32
DIGITS = 38
_NUMBER = re.compile(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?")
_LARGEST, _SMALLEST = 125, -130  # powers of ten of the first digit


class Wrong(ValueError):
    """A value that AWS refuses, in AWS's words."""


invalid = functools.partial(Refused, "ValidationException")
"""DynamoDB's answer to nearly every mistake."""


def number(text: str) -> str:
    """A number as DynamoDB keeps it: its digits, without zeros at either end, and no exponent.

    Raises
    ------
    Wrong
        More than 38 digits, too large, too small, or none: ``1_000``, full-width digits, ``Infinity``.
    """
    if not _NUMBER.fullmatch(text):
        said = f": {text}" if text else ""
        raise Wrong(f"The parameter cannot be converted to a numeric value{said}")
    whole, _, exponent = text.lower().partition("e")
    if len(exponent.lstrip("+-").lstrip("0")) > 9:  # beyond what Decimal takes
        exponent = exponent[0] + "999" if exponent[0] in "+-" else "999"
    value = Decimal(f"{whole}e{exponent}" if exponent else whole)
    sign, digits, power = value.as_tuple()
    assert isinstance(power, int)
    kept = "".join(map(str, digits)).lstrip("0")
    power += len(kept) - len(kept.rstrip("0"))
    kept = kept.rstrip("0")
    if not kept:
        return "0"
    first = power + len(kept) - 1
    if first > _LARGEST:
        raise Wrong(
            "Number overflow. Attempting to store a number with magnitude larger than supported range"
        )
    if first < _SMALLEST:
        raise Wrong(
            "Number underflow. Attempting to store a number with magnitude smaller than supported range"
        )
    if len(kept) > DIGITS:
        raise Wrong(f"Attempting to store more than {DIGITS} significant digits in a Number")
    return format(Decimal((sign, tuple(map(int, kept)), power)), "f")


def look_at(value: Any, level: int = 1) -> None:
    """Refuse a value that AWS would, and write its numbers as AWS keeps them.

    Raises
    ------
    Wrong
        In AWS's words.
    """
    if not isinstance(value, dict) or not value:
        raise Wrong("Supplied AttributeValue is empty, must contain exactly one of the supported datatypes")
    if len(value) > 1:
        raise Wrong(
            "Supplied AttributeValue has more than one datatypes set, must contain exactly one of the "
            "supported datatypes"
        )
    ((kind, content),) = value.items()
    begin = "One or more parameter values were invalid: "
    if kind not in TYPES:
        raise Wrong("Supplied AttributeValue is empty, must contain exactly one of the supported datatypes")
    if level > LEVELS:
        raise Wrong("Nesting Levels have exceeded supported limits")
    if kind == "N":
        value[kind] = number(content)
    elif kind == "NULL" and content is not True:
        raise Wrong(f"{begin}Null attribute value types must have the value of true")
    elif kind in ("SS", "NS", "BS"):
        value[kind] = _members(kind, content)
    elif kind == "L":
        for each in content:
            look_at(each, level + 1)
    elif kind == "M":
        for each in content.values():
            look_at(each, level + 1)


def _members(kind: str, members: list[Any]) -> list[Any]:
    """The members of a set: at least one, and each once."""
    begin = "One or more parameter values were invalid: "
    if not members:
        empty = {"SS": "An string set  may not be empty", "NS": "An number set  may not be empty"}
        raise Wrong(begin + empty.get(kind, "Binary sets should not be empty"))
    if kind == "NS":
        kept: list[Any] = [number(each) for each in members]
        if len(set(kept)) < len(kept):
            raise Wrong("Input collection contains duplicates")
        return kept
    if len(set(members)) < len(members):
        shown = f"[{', '.join(map(str, members))}]"
        raise Wrong(
            f"{begin}Input collection {shown}{'of type BS' if kind == 'BS' else ''} contains duplicates."
        )
    return members


def in_request(body: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """The values of one operation, each with the placeholder that it is for; empty for those of an item."""
    for field in ("Item", "Key", "ExclusiveStartKey"):
        for each in (body.get(field) or {}).values():
            yield "", each
    yield from (body.get("ExpressionAttributeValues") or {}).items()
