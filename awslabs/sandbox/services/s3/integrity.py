"""S3: what comes is what was meant. Digests and places that a request names are looked at.

Source: S3 API reference, PutObject, CreateBucket, DeleteObjects; aws-facts (k).
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from typing import Any

import xmltodict

from awslabs.sandbox.core import regions, signatures
from awslabs.sandbox.core.engine import Call, Proceed, Refused, around, before
from awslabs.sandbox.services.s3.buckets import BucketCall

_DELETED = re.compile(r"<Deleted>.*?</Deleted>|<Deleted\s*/>", re.DOTALL)


@before("s3:PutObject", "s3:UploadPart")
def digests_are_compared(call: Call) -> None:
    """A Content-MD5 that is none: InvalidDigest; a checksum that is none: InvalidRequest; either of another
    body: BadDigest. moto looks at neither. Not compared are CRC32C and CRC64NVME, and what comes in chunks,
    whose checksum `core.signatures` has looked at. Source: aws-facts (k).
    """
    asked = BucketCall(call.response)
    body = call.response.body or b""
    body = body.encode() if isinstance(body, str) else body
    if asked.header("content-md5"):
        wanted = _decoded(asked.header("content-md5"))
        if wanted is None or len(wanted) != hashlib.md5(usedforsecurity=False).digest_size:
            raise Refused("InvalidDigest", "The Content-MD5 you specified was invalid.", 400)
        if wanted != hashlib.md5(body, usedforsecurity=False).digest():
            raise Refused("BadDigest", "The Content-MD5 you specified did not match what we received.", 400)
    for name, digest in signatures.CHECKSUMS.items():
        sent = asked.header(f"x-amz-checksum-{name}")
        if not sent:
            continue
        wanted, right = _decoded(sent), digest(body)
        if wanted is None or len(wanted) != len(right):
            raise Refused("InvalidRequest", f"Value for x-amz-checksum-{name} header is invalid.", 400)
        if wanted != right:
            message = f"The {name.upper()} you specified did not match the calculated checksum."
            raise Refused("BadDigest", message, 400)


def _decoded(text: str) -> bytes | None:
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error:
        return None


@before("s3:CreateBucket")
def buckets_are_somewhere(call: Call) -> None:
    """A location constraint that is no Region: InvalidLocationConstraint, which names it; to another Region
    than us-east-1 any that is not that Region: IllegalLocationConstraintException. moto takes any word, and
    names none. Source: aws-facts (k).
    """
    text = BucketCall(call.response).text
    said = (xmltodict.parse(text).get("CreateBucketConfiguration") or {}) if text.strip() else {}
    where = said.get("LocationConstraint") or ""
    if call.region != "us-east-1" and where != call.region:
        message = (
            f"The {where or 'unspecified'} location constraint is incompatible for the region specific "
            "endpoint this request was sent to."
        )
        raise Refused("IllegalLocationConstraintException", message, 400)
    here = call.region == "us-east-1" and where not in ("", "EU")
    if here and (where == "us-east-1" or not regions.known(where)):
        message = "The specified location-constraint is not valid"
        raise Refused("InvalidLocationConstraint", message, 400, LocationConstraint=where)


@around("s3:DeleteObjects")
def quiet_deletions(call: Call, proceed: Proceed) -> Any:
    """With `Quiet` the answer has the errors alone. moto lists what was deleted all the same.

    Source: aws-facts (k).
    """
    said = xmltodict.parse(BucketCall(call.response).text).get("Delete") or {}
    status, headers, body = proceed()
    if str(said.get("Quiet")).lower() != "true":
        return status, headers, body
    text = body.decode() if isinstance(body, bytes) else body
    return status, headers, _DELETED.sub("", text)
