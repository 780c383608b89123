"""S3: what comes is what was meant. Digests and places that a request names are looked at.

Source: S3 API reference, PutObject, CreateBucket; aws-facts (k).
"""

from __future__ import annotations

import base64
import hashlib
from urllib.parse import quote

from awslabs.sandbox.core import regions
from awslabs.sandbox.core.checksums import DIGESTS
from awslabs.sandbox.core.engine import BucketCall, Refused, before
from awslabs.sandbox.services.iam.needs import copied
from awslabs.sandbox.services.s3.conditions import is_completed, look_for_source
from awslabs.sandbox.services.s3.documents import document, invalid


@before("s3:PutObject", "s3:UploadPart")
def digests_are_compared(call: BucketCall) -> None:
    """A Content-MD5 that is none: InvalidDigest; a checksum that is none, or two: InvalidRequest; either of
    another body: BadDigest. moto looks at neither. What comes in chunks `core.signatures` has looked at.
    Source: aws-facts (k).
    """
    if call.header("content-md5"):
        _compare_md5(call.header("content-md5"), call.body, call.action)
    sent = {name: value for name in DIGESTS if (value := call.header(f"x-amz-checksum-{name.lower()}"))}
    if len(sent) > 1:
        message = "Expecting a single x-amz-checksum- header. Multiple checksum Types are not allowed."
        raise Refused("InvalidRequest", message)
    for name, value in sent.items():
        wanted, right = _decoded(value), DIGESTS[name](call.body)
        if wanted is None or len(wanted) != len(right):
            raise Refused("InvalidRequest", f"Value for x-amz-checksum-{name.lower()} header is invalid.")
        if wanted != right:
            raise Refused("BadDigest", f"The {name} you specified did not match the calculated checksum.")


def _compare_md5(sent: str, body: bytes, action: str) -> None:
    wanted, right = _decoded(sent), hashlib.md5(body, usedforsecurity=False).digest()
    if wanted is None or len(wanted) != len(right):
        raise Refused("InvalidDigest", "The Content-MD5 you specified was invalid.", **{"Content-MD5": sent})
    if wanted != right:
        expected = wanted.hex() if action == "PutObject" else sent  # AWS writes it so and so
        more = {"ExpectedDigest": expected, "CalculatedDigest": base64.b64encode(right).decode()}
        raise Refused("BadDigest", "The Content-MD5 you specified did not match what we received.", **more)


def _decoded(text: str) -> bytes | None:
    try:
        return base64.b64decode(text, validate=True)
    except ValueError:  # it is no base64, or not even ASCII
        return None


@before("s3:CreateBucket")
def buckets_are_somewhere(call: BucketCall) -> None:
    """A location constraint that is no Region: InvalidLocationConstraint, which names it; to another Region
    than us-east-1 any that is not that Region: IllegalLocationConstraintException. moto takes any word, and
    names none. Source: aws-facts (k).
    """
    where = document(call).get("LocationConstraint", "")
    if call.region != "us-east-1" and where != call.region:
        message = (
            f"The {where or 'unspecified'} location constraint is incompatible for the region specific "
            "endpoint this request was sent to."
        )
        raise Refused("IllegalLocationConstraintException", message)
    here = call.region == "us-east-1" and where not in ("", "EU")
    if here and (where == "us-east-1" or not regions.known(where)):
        message = "The specified location-constraint is not valid"
        raise Refused("InvalidLocationConstraint", message, LocationConstraint=where)


@before(
    "s3:UploadPart",
    "s3:UploadPartCopy",
    "s3:CompleteMultipartUpload",
    "s3:AbortMultipartUpload",
    "s3:ListParts",
)
def uploads_are_there(call: BucketCall) -> None:
    """An upload in parts that nobody began, or of another key: NoSuchUpload 404, but one that is done is
    completed again; one that ends without a part: InvalidRequest. moto stumbles over the others, and looks at
    no key. Source: aws-facts (k).
    """
    if call.action == "CompleteMultipartUpload" and is_completed(call):
        return
    upload_id = call.parameter("uploadId")
    upload = call.backend.get_bucket(call.name).multiparts.get(upload_id)
    if upload is None or upload.key_name != call.key:
        message = (
            "The specified upload does not exist. The upload ID may be invalid, or the upload may have been "
            "aborted or completed."
        )
        raise Refused("NoSuchUpload", message, UploadId=upload_id)
    if call.action == "CompleteMultipartUpload" and not call.body:
        raise Refused("InvalidRequest", "You must specify at least one part")


@before("s3:CopyObject", "s3:UploadPartCopy")
def sources_are_a_bucket_and_a_key(call: BucketCall) -> None:
    """A source without a key: InvalidArgument; one may be encoded as a whole, its blanks as plus signs. One
    that is not there: NoSuchKey, NoSuchVersion; a version that is a delete marker: InvalidRequest. moto
    stumbles, finds no such key, or says nothing. Source: aws-facts (k); S3 API reference, CopyObject.
    """
    name = "x-amz-copy-source"
    header = str(call.response.headers.get(name) or "")
    plain = copied(header)
    if not all(plain.partition("/")):
        raise invalid("Invalid copy source object key", name, name)
    version = "".join(header.partition("?")[1:])
    call.request.environ["HTTP_X_AMZ_COPY_SOURCE"] = quote(plain, safe="/") + version
    look_for_source(call)
