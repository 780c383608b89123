"""S3: the documents that requests bring, as `core.documents` reads them.

Source: S3 API reference, "Error responses".
"""

from __future__ import annotations

from typing import Any

from awslabs.sandbox.core import documents
from awslabs.sandbox.core.engine import BucketCall, Refused, before

NAMESPACE = "http://s3.amazonaws.com/doc/2006-03-01/"
_NEEDED_BY_NONE = {
    *("CompleteMultipartUpload", "CreateBucket", "PutBucketAcl", "PutObjectAcl", "PutObjectLegalHold"),
    "RestoreObject",
}
"""Operations that come without a document, too, or say themselves what lacks."""


def malformed() -> Refused:
    """S3's answer to a document that is none of its own."""
    message = "The XML you provided was not well-formed or did not validate against our published schema"
    return Refused("MalformedXML", message)


def invalid(message: str, name: str, value: str | None = None) -> Refused:
    """S3's answer to a parameter or a header that cannot be; mostly it says what came."""
    named = {"ArgumentName": name} if value is None else {"ArgumentName": name, "ArgumentValue": value}
    return Refused("InvalidArgument", message, **named)


def document(call: BucketCall) -> dict[str, Any]:
    """What a request's document holds, by the names of botocore's model, or `Refused`."""
    if not call.body and call.action in _NEEDED_BY_NONE:
        return {}
    if not call.body:
        raise Refused("MissingRequestBodyError", "Request Body is empty")
    try:
        return documents.read("s3", call.action, call.body)
    except documents.Malformed:
        raise malformed() from None


@before("s3:*")
def documents_fit(call: BucketCall) -> None:
    """A document that is no XML, or not as the operation has it: MalformedXML; none: MissingRequestBodyError.
    moto stumbles, or passes over what it does not understand. Source: aws-facts (k); S3 API reference, "Error
    responses".
    """
    shape = documents.shape_of("s3", call.action)
    if shape is not None and not document(call) and call.body:
        root = shape.serialization["name"]  # moto stumbles over one that has nothing, not even this
        call.response.body = f'<{root} xmlns="{NAMESPACE}"/>'.encode()
