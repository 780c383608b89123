"""Documents of XML that requests bring, read by botocore's model of the operation.

Who decides whether a request may be done, and who does it, read the same: what one of them passed over, the
other could still act on.

Source: https://smithy.io/2.0/spec/protocol-traits.html, "XML bindings".
"""

from __future__ import annotations

import datetime
import functools
import re
from email.utils import parsedate
from typing import Any
from xml.etree import ElementTree

from botocore.utils import parse_timestamp
from moto.core.utils import get_service_model

_INTEGER = re.compile(r"-?[0-9]{1,18}")
_TIME = re.compile(
    r"(19[7-9]\d|[2-9]\d{3})-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])"
    r"(T([01]\d|2[0-3]):[0-5]\d(:[0-5]\d(\.\d{1,9})?)?(Z|[+-]\d\d:?\d\d)?)?",
    re.ASCII,
)


class Malformed(ValueError):
    """A document that is none of its operation's."""


class Other(Malformed):
    """A whole document, but one of another name."""


def read(service: str, operation: str, body: bytes) -> dict[str, Any]:
    """What a request's document holds, by the names of botocore's model, or `Malformed`.

    A list is one also where it has one element, a time stays as it was written.
    """
    shape = shape_of(service, operation)
    assert shape is not None, f"{operation} brings no document"
    try:
        text = body.decode()
        if "<!DOCTYPE" in text:  # which may blow up what stands in it
            raise Malformed("it has a document type")
        root = ElementTree.fromstring(text)
    except (ElementTree.ParseError, UnicodeDecodeError) as problem:
        raise Malformed(str(problem)) from None
    if _name(root) != shape.serialization["name"]:
        raise Other("it is another document")
    found: dict[str, Any] = _value(shape, root)
    return found


@functools.cache
def shape_of(service: str, operation: str) -> Any:
    """botocore's shape of the document that an operation brings; None: it brings none."""
    model = get_service_model(service)
    shape = model.operation_model(operation).input_shape if operation in model.operation_names else None
    payload = shape and shape.members.get(shape.serialization.get("payload"))
    return payload if payload is not None and payload.type_name == "structure" else None


def in_utc(moment: datetime.datetime) -> datetime.datetime:
    """A moment in UTC, which one without a zone is in already."""
    if moment.tzinfo is None:
        return moment.replace(tzinfo=datetime.timezone.utc)
    return moment.astimezone(datetime.timezone.utc)


def is_time(text: str) -> bool:
    """Whether a text is a time by ISO 8601, since 1970."""
    if not _TIME.fullmatch(text):
        return False
    try:
        parse_timestamp(text).astimezone(datetime.timezone.utc)
    except (ValueError, OverflowError):  # the 30th of February, an evening of the year 9999 in the west
        return False
    return True


def _name(element: ElementTree.Element) -> str:
    return str(element.tag).rpartition("}")[2]


def _value(shape: Any, element: ElementTree.Element) -> Any:
    """What an element holds."""
    text = element.text or ""
    if shape.type_name == "structure":
        return _members(shape, element)
    if shape.type_name == "list":
        name = shape.member.serialization.get("name", "member")
        return [_value(shape.member, each) for each in _children(element, {name})]
    if len(element):
        raise Malformed(f"{_name(element)} has elements")
    if shape.type_name in ("integer", "long"):
        if not _INTEGER.fullmatch(text):
            raise Malformed(f"{_name(element)} is no number")
        return int(text)
    if shape.type_name == "boolean":
        return text.lower() == "true"
    if shape.type_name == "timestamp":
        of_mail = shape.serialization.get("timestampFormat") == "rfc822"
        if not (parsedate(text) if of_mail else is_time(text)):
            raise Malformed(f"{_name(element)} is no time")
    return text


def _members(shape: Any, element: ElementTree.Element) -> dict[str, Any]:
    names = {_name_of(member, name): name for name, member in shape.members.items()}
    found: dict[str, Any] = {}
    for each in _children(element, names.keys()):
        name = names[_name(each)]
        member = shape.members[name]
        if member.serialization.get("flattened"):
            found.setdefault(name, []).append(_value(member.member, each))
        elif name in found:
            raise Malformed(f"{_name(each)} comes twice")
        else:
            found[name] = _value(member, each)
    return found


def _children(element: ElementTree.Element, names: Any) -> list[ElementTree.Element]:
    """The elements within one that has no text beside them, and none but these."""
    if any(text.strip() for text in (element.text or "", *(each.tail or "" for each in element))):
        raise Malformed(f"{_name(element)} has a text")
    if strange := {_name(each) for each in element} - set(names):
        raise Malformed(f"{_name(element)} has {min(strange)}")
    return list(element)


def _name_of(member: Any, name: str) -> str:
    """What a member of a structure is called in a document; those of a flattened list as its elements."""
    own = member.member.serialization.get("name") if member.serialization.get("flattened") else None
    return str(own or member.serialization.get("name", name))
