"""Raw answers held against botocore's models, before its parser drops what it does not know.

    with shapes.watched() as seen:
        ...                                # calls of boto3, in this process
    assert shapes.problems(seen) == []

A client of another language may stumble over what Python's passes over: an element that the model does
not have, a number in quotes, a list where one thing belongs, a word that is none of an enumeration.

Source: botocore's service models and `botocore/parsers.py`; https://smithy.io/2.0/aws/protocols/.
"""

from __future__ import annotations

import base64
import contextlib
import json
import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Any
from unittest.mock import patch

import botocore.endpoint
from botocore.awsrequest import HeadersDict
from botocore.model import ListShape, MapShape, OperationModel, Shape, StructureShape
from botocore.parsers import create_parser

WHOLE = re.compile(r"-?\d+")
NOT_A_NUMBER = ("NaN", "Infinity", "-Infinity")
XML = ("ec2", "query", "rest-xml")
# What an error holds although its model may not say so. Source: the protocols' pages on error serialization;
# "Type" is Lambda's (AWS's answers that Cloud Custodian recorded), the rest S3's "Error responses" page.
ERROR_MEMBERS = {"__type", "code", "message", "Message", "Type", "Code"}
S3_ERROR_MEMBERS = {
    "ArgumentName", "ArgumentValue", "BucketName", "CalculatedDigest", "Condition", "ExpectedDigest",
    "HostId", "Key", "MaxSizeAllowed", "Method", "ProposedSize", "Region", "RequestId", "Resource",
    "ResourceType", "StorageClass", "ActualObjectSize", "RangeRequested", "VersionId", "Expires",
    "ServerTime", "LocationConstraint",
}  # fmt: skip
# Words of AWS's own that its model does not have. Source: recorded answers (tests/recorded_members.json).
NOT_IN_THE_MODEL = {("AttachmentStatus", "available"), ("PlatformValues", "windows")}
# What the model requires and AWS leaves out: of a job that has not started (getmoto/moto#2202), of batches
# of SQS the lists that are empty (aws-facts, k).
LEFT_OUT = {
    ("JobDetail", "startedAt"),
    *(
        (f"{batch}BatchResult", name)
        for batch in ("SendMessage", "DeleteMessage", "ChangeMessageVisibility")
        for name in ("Successful", "Failed")
    ),
}


@dataclass(frozen=True)
class Answered:
    """One raw answer.

    Attributes
    ----------
    operation : OperationModel
        What was asked for.
    status : int
        HTTP status.
    headers : dict
        With names in lower case.
    body : bytes or None
        None: a stream, which is the caller's.
    """

    operation: OperationModel
    status: int
    headers: dict[str, str]
    body: bytes | None

    @property
    def name(self) -> str:
        """``ec2:RunInstances``."""
        return f"{self.operation.service_model.service_name}:{self.operation.name}"


@contextlib.contextmanager
def watched() -> Iterator[list[Answered]]:
    """All raw answers to calls of boto3 in this process, refused and repeated ones too."""
    seen: list[Answered] = []
    convert = botocore.endpoint.convert_to_response_dict

    def noting(http_response: Any, operation_model: OperationModel) -> Any:
        answer = convert(http_response, operation_model)
        body = answer["body"] if isinstance(answer["body"], bytes) else None
        headers = {name.lower(): value for name, value in answer["headers"].items()}
        seen.append(Answered(operation_model, answer["status_code"], headers, body))
        return answer

    with patch.object(botocore.endpoint, "convert_to_response_dict", noting):
        yield seen


def problems(seen: list[Answered]) -> list[str]:
    """What does not fit, each once: ``ec2:RunInstances: Reservation.foo: the model has no such member``."""
    found = (f"{answer.name}: {problem}" for answer in seen for problem in problems_of(answer))
    return list(dict.fromkeys(found))


def problems_of(answer: Answered) -> Iterator[str]:
    """What of one answer does not fit its operation's output, or the error that it names."""
    protocol = answer.operation.service_model.resolved_protocol
    if answer.status >= 300:
        if answer.status not in (301, 304) and answer.operation.http.get("method") != "HEAD":
            yield from error_problems(answer, protocol)
        return
    shape = answer.operation.output_shape
    if shape is None:
        if protocol in ("json", "rest-json") and answer.body and answer.body.strip() not in (b"{}", b"null"):
            yield f"there is no output, but {answer.body[:60]!r}"
        return
    if protocol.startswith("rest"):
        yield from header_problems(shape, answer.headers)
    body_shape: Shape = shape
    if payload := shape.serialization.get("payload"):
        body_shape = shape.members[payload]
        if body_shape.type_name in ("blob", "string"):
            return
    if answer.body is None or (protocol.startswith("rest") and not answer.body):
        return
    if protocol in XML:
        yield from xml_answer_problems(answer, shape, body_shape, protocol)
    else:
        try:
            value = json.loads(answer.body or b"{}")
        except ValueError:
            yield f"no JSON: {answer.body[:60]!r}"
        else:
            yield from json_problems(body_shape, value, "")


# -- JSON --------------------------------------------------------------------------------------------------


def json_problems(shape: Shape, value: Any, path: str) -> Iterator[str]:
    """What of a JSON value does not fit a shape."""
    if shape.metadata.get("document") or getattr(shape, "is_document_type", False):
        return
    if isinstance(shape, StructureShape):
        if not isinstance(value, dict):
            yield f"{path}: {value!r:.60} is no structure"
            return
        known = {
            member.serialization.get("name", name): member
            for name, member in shape.members.items()
            if "location" not in member.serialization
        }
        for name, inner in value.items():
            if name not in known:
                yield f"{path}.{name}: the model has no such member"
            elif inner is not None:  # some services write null for what is not there
                yield from json_problems(known[name], inner, f"{path}.{name}")
        for name in shape.required_members:
            member = shape.members[name]
            if (
                (shape.name, name) not in LEFT_OUT
                and "location" not in member.serialization
                and value.get(member.serialization.get("name", name)) is None
            ):
                yield f"{path}.{name}: it is required"
    elif isinstance(shape, ListShape):
        if not isinstance(value, list):
            yield f"{path}: {value!r:.60} is no list"
            return
        for inner in value:
            yield from json_problems(shape.member, inner, f"{path}[]")
    elif isinstance(shape, MapShape):
        if not isinstance(value, dict):
            yield f"{path}: {value!r:.60} is no map"
            return
        for inner in value.values():
            yield from json_problems(shape.value, inner, f"{path}{{}}")
    else:
        yield from (f"{path}: {problem}" for problem in json_scalar_problems(shape, value))


def json_scalar_problems(shape: Shape, value: Any) -> Iterator[str]:
    """What of a JSON string, number or boolean does not fit a shape."""
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    kind = shape.type_name
    if kind in ("integer", "long"):
        fits = number and float(value).is_integer() and isinstance(value, int)
    elif kind in ("float", "double"):
        fits = number or value in NOT_A_NUMBER
    elif kind == "boolean":
        fits = isinstance(value, bool)
    elif kind == "timestamp":
        written = shape.serialization.get("timestampFormat", "unixTimestamp")
        fits = number if written == "unixTimestamp" else isinstance(value, str) and is_date(value, written)
    elif kind == "blob":
        fits = isinstance(value, str) and is_base64(value)
    else:
        fits = isinstance(value, str)
    if not fits:
        yield f"{value!r:.60} is no {kind}"
    elif kind in ("string", "character"):
        yield from word_problems(shape, value)


# -- XML ---------------------------------------------------------------------------------------------------


def xml_answer_problems(answer: Answered, shape: Shape, body_shape: Shape, protocol: str) -> Iterator[str]:
    """What of an XML document does not fit, from its root on."""
    try:
        root = ElementTree.fromstring(answer.body or b"")
    except ElementTree.ParseError:
        yield f"no XML: {(answer.body or b'')[:60]!r}"
        return
    if protocol == "query":
        wrapper = shape.serialization.get("resultWrapper", "")
        for child in root:
            if tag(child) not in (wrapper, "ResponseMetadata"):
                yield f"{tag(child)}: neither {wrapper} nor ResponseMetadata"
        inner = next((child for child in root if tag(child) == wrapper), None)
        if inner is None:
            if wrapper and getattr(shape, "members", {}):
                yield f"{wrapper}: it is missing"
            return
        yield from xml_problems(body_shape, inner, "", set())
    else:
        yield from xml_problems(body_shape, root, "", {"requestId"} if protocol == "ec2" else set())


def xml_problems(shape: Shape, node: ElementTree.Element, path: str, also: set[str]) -> Iterator[str]:
    """What of an element does not fit a shape; `also` names children that it may have besides."""
    if isinstance(shape, StructureShape):
        yield from xml_structure_problems(shape, node, path, also)
    elif isinstance(shape, ListShape):
        wanted = shape.member.serialization.get("name", "member")
        for child in node:
            if tag(child) != wanted:
                yield f"{path}.{tag(child)}: the list is one of {wanted}"
            else:
                yield from xml_problems(shape.member, child, f"{path}[]", set())
    elif isinstance(shape, MapShape):
        key, value = (
            part.serialization.get("name", name)
            for part, name in ((shape.key, "key"), (shape.value, "value"))
        )
        for entry in node:
            if [tag(child) for child in entry] != [key, value]:
                yield f"{path}: {[tag(child) for child in entry]} are not {key} and {value}"
            else:
                yield from xml_problems(shape.value, entry[1], f"{path}{{}}", set())
    else:
        if len(node):
            yield f"{path}: {tag(node[0])} in a {shape.type_name}"
        yield from (f"{path}: {problem}" for problem in text_problems(shape, node.text or "", "iso8601"))


def xml_structure_problems(
    shape: StructureShape, node: ElementTree.Element, path: str, also: set[str]
) -> Iterator[str]:
    """What of an element's children does not fit the members of a structure."""
    known: dict[str, tuple[str, Shape, bool]] = {}
    for name, member in shape.members.items():
        flat = bool(member.serialization.get("flattened"))
        written = member.serialization.get("name", name)
        if flat and isinstance(member, ListShape) and "name" in member.member.serialization:
            written = member.member.serialization["name"]
        if "location" not in member.serialization and not member.serialization.get("xmlAttribute"):
            known[written] = (name, member, flat)
    if (node.text or "").strip():
        yield f"{path}: {node.text!r:.60} is no structure"
    counted: dict[str, int] = {}
    for child in node:
        name = tag(child)
        counted[name] = counted.get(name, 0) + 1
        if name in also:
            continue
        if name not in known:
            yield f"{path}.{name}: the model has no such member"
            continue
        member_name, member, flat = known[name]
        if flat and isinstance(member, ListShape):
            yield from xml_problems(member.member, child, f"{path}.{member_name}[]", set())
        elif flat and isinstance(member, MapShape):
            entry = ElementTree.Element("map")
            entry.append(child)
            yield from xml_problems(member, entry, f"{path}.{member_name}", set())
        else:
            if counted[name] == 2:
                yield f"{path}.{name}: twice"
            yield from xml_problems(member, child, f"{path}.{member_name}", set())


def text_problems(shape: Shape, text: str, dates: str) -> Iterator[str]:
    """What of a text, in an element or a header, does not fit a shape without members."""
    kind = shape.type_name
    if kind in ("integer", "long"):
        fits = bool(WHOLE.fullmatch(text))
    elif kind in ("float", "double"):
        fits = text in NOT_A_NUMBER or bool(re.fullmatch(r"-?\d+(\.\d+)?([eE][+-]?\d+)?", text))
    elif kind == "boolean":
        fits = text in ("true", "false")
    elif kind == "timestamp":
        fits = is_date(text, shape.serialization.get("timestampFormat", dates))
    elif kind == "blob":
        fits = is_base64(text)
    else:
        fits = True
    if not fits:
        yield f"{text!r:.60} is no {kind}"
    elif kind in ("string", "character"):
        yield from word_problems(shape, text)


def tag(node: ElementTree.Element) -> str:
    """An element's name without its namespace."""
    return node.tag.rpartition("}")[2]


# -- Words, dates, headers ---------------------------------------------------------------------------------


def word_problems(shape: Shape, text: str) -> Iterator[str]:
    """A word that is none of its enumeration."""
    words = getattr(shape, "enum", None)
    if words and text not in words and (shape.name, text) not in NOT_IN_THE_MODEL:
        yield f"{text!r} is none of {', '.join(words)[:120]}"


def header_problems(shape: StructureShape, headers: dict[str, str]) -> Iterator[str]:
    """What of an answer's headers does not fit the members that stand in them."""
    for name, member in shape.members.items():
        if member.serialization.get("location") == "header":
            written = member.serialization.get("name", name).lower()
            if written in headers and not isinstance(member, (ListShape, MapShape)):
                dates = "rfc822"
                yield from (
                    f"header {written}: {each}" for each in text_problems(member, headers[written], dates)
                )


def is_date(text: str, written: str) -> bool:
    """Whether a text is a time as this format writes it."""
    try:
        if written == "unixTimestamp":
            float(text)
        elif written == "rfc822":
            parsedate_to_datetime(text)
        else:
            return datetime.fromisoformat(text.replace("Z", "+00:00")).tzinfo is not None
    except (ValueError, TypeError):
        return False
    return True


def is_base64(text: str) -> bool:
    """Whether a text is base64."""
    try:
        base64.b64decode(text.replace("\n", ""), validate=True)
    except ValueError:
        return False
    return True


# -- Errors ------------------------------------------------------------------------------------------------


def error_problems(answer: Answered, protocol: str) -> Iterator[str]:
    """What of a refusal does not fit its protocol's form, or the error that the model has under its code."""
    body = answer.body or b""
    if protocol in XML:
        yield from xml_error_problems(body, protocol, answer.operation.service_model.service_name)
        return
    try:
        said = json.loads(body)
    except ValueError:
        yield f"an error that is no JSON: {body[:60]!r}"
        return
    if not isinstance(said, dict):
        yield f"an error that is no structure: {body[:60]!r}"
        return
    code = answer.headers.get("x-amzn-errortype") or said.get("__type") or said.get("code") or ""
    code = code.split(":")[0].rpartition("#")[2]
    if not code:
        yield f"an error without a code: {body[:60]!r}"
    modelled = next(
        (
            shape
            for shape in answer.operation.service_model.error_shapes
            if code in (shape.name, shape.error_code)
        ),
        None,
    )
    members = ERROR_MEMBERS | set(modelled.members if modelled is not None else ())
    for name in said.keys() - members:
        yield f"{code}.{name}: the model has no such member"
    if not (said.get("message") or said.get("Message")):
        yield f"{code}: it says nothing"
    status = modelled.metadata.get("error", {}).get("httpStatusCode") if modelled is not None else None
    if status and status != answer.status:
        yield f"{code}: HTTP {answer.status}, in the model {status}"


def xml_error_problems(body: bytes, protocol: str, service: str) -> Iterator[str]:
    """What of a refusal in XML does not fit."""
    try:
        root = ElementTree.fromstring(body)
    except ElementTree.ParseError:
        yield f"an error that is no XML: {body[:60]!r}"
        return
    if protocol == "ec2":
        form, inner, more = "Response", root.find("./{*}Errors/{*}Error"), {"Code", "Message"}
    elif protocol == "query" or tag(root) == "ErrorResponse" and service != "s3":  # S3 Control
        form, inner, more = "ErrorResponse", root.find("./{*}Error"), {"Code", "Message", "Type", "Detail"}
    else:
        form, inner, more = "Error", root, {"Code", "Message", *S3_ERROR_MEMBERS}
    if tag(root) != form or inner is None:
        yield f"an error in the form {body[:80]!r}"
        return
    said = {tag(child): (child.text or "").strip() for child in inner}
    for name in said.keys() - more:
        yield f"{said.get('Code')}.{name}: no error has such a member"
    for name in ("Code", "Message"):
        if not said.get(name):
            yield f"{said.get('Code')}: it has no {name}"


def parsed(answer: Answered) -> dict[str, Any] | None:
    """What botocore's parser makes of an answer; None: a refusal, or a stream."""
    if answer.status >= 300 or answer.body is None:
        return None
    parser = create_parser(answer.operation.service_model.resolved_protocol)
    response = {"status_code": answer.status, "headers": HeadersDict(answer.headers), "body": answer.body}
    made: dict[str, Any] = parser.parse(response, answer.operation.output_shape)
    return made
