"""Documents of XML, read by AWS's own model: what botocore writes comes out as it went in."""

from __future__ import annotations

from typing import Any

import pytest
from botocore.serialize import create_serializer
from moto.core.utils import get_service_model

from awslabs.sandbox.core import documents

S3 = get_service_model("s3")
BRINGING = [name for name in S3.operation_names if documents.shape_of("s3", name)]
DEPRECATED = "PutBucketNotification"  # its model has one name for two things


def example(shape: Any) -> Any:
    """Something of a shape, with all that it may hold."""
    if shape.type_name == "structure":
        members = shape.members.items()
        return {name: example(each) for name, each in members if not each.serialization.get("xmlAttribute")}
    if shape.type_name == "list":
        return [example(shape.member)] * 2
    if shape.type_name == "timestamp":
        of_mail = shape.serialization.get("timestampFormat") == "rfc822"
        return "Wed, 02 Jan 2030 03:04:05 GMT" if of_mail else "2030-01-02T03:04:05Z"
    return {"integer": 3, "long": 4, "boolean": True}.get(shape.type_name, " a&<\u00e9 ")


@pytest.mark.parametrize("name", sorted(set(BRINGING) - {DEPRECATED}))
def test_a_document_of_botocore_is_read_as_it_was_meant(name: str) -> None:
    model = S3.operation_model(name)
    holds = example(documents.shape_of("s3", name))
    asked = {each: "b" for each in ("Bucket", "Key", "UploadId", "Id") if each in model.input_shape.members}
    asked[model.input_shape.serialization["payload"]] = holds
    sent = create_serializer("rest-xml", include_validation=False).serialize_to_request(asked, model)
    assert documents.read("s3", name, sent["body"]) == holds


@pytest.mark.parametrize(
    ("operation", "body"),
    [
        ("DeleteObjects", b""),
        ("DeleteObjects", b"<"),
        ("DeleteObjects", b"\xff<Delete/>"),
        ("DeleteObjects", b"<Other/>"),
        ("DeleteObjects", b"<!DOCTYPE Delete><Delete/>"),
        ("DeleteObjects", b"<Delete>k</Delete>"),
        ("DeleteObjects", b"<Delete><Key>k</Key></Delete>"),
        ("DeleteObjects", b"<Delete><Object/>k</Delete>"),
        ("DeleteObjects", b"<Delete><Object><Key>k</Key><Key>l</Key></Object></Delete>"),
        ("DeleteObjects", b"<Delete><Object><Key>k<b/></Key></Object></Delete>"),
        ("DeleteObjects", b"<Delete><Object><Key>k</Key><Size>large</Size></Object></Delete>"),
        ("DeleteObjects", b"<Delete><Object><LastModifiedTime>soon</LastModifiedTime></Object></Delete>"),
        ("PutObjectRetention", b"<Retention><RetainUntilDate>0001-01-01</RetainUntilDate></Retention>"),
        ("PutObjectTagging", b"<Tagging><TagSet><Key>a</Key></TagSet></Tagging>"),
    ],
)
def test_what_is_no_document_of_an_operation_is_not_read(operation: str, body: bytes) -> None:
    with pytest.raises(documents.Malformed):
        documents.read("s3", operation, body)


def test_namespaces_comments_and_blanks_between_elements_mean_nothing() -> None:
    body = (
        b'<?xml version="1.0" encoding="UTF-8"?>\n<Delete xmlns="x">\n <Quiet>true</Quiet><!-- -->\n</Delete>'
    )
    assert documents.read("s3", "DeleteObjects", body) == {"Quiet": True}
