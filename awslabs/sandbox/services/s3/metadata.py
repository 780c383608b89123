"""S3: what is said of an object beside its bytes: its own metadata, its storage class.

Source: S3 user guide, "Working with object metadata"; RFC 2047; aws-facts (k).
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterable
from typing import Any

from awslabs.sandbox.core.engine import BucketCall, Proceed, Refused, before, rule
from awslabs.sandbox.services.s3.posts import IN_FORM

OWN = "x-amz-meta-"
STORAGE = {
    *("STANDARD", "REDUCED_REDUNDANCY", "STANDARD_IA", "ONEZONE_IA", "INTELLIGENT_TIERING"),
    *("GLACIER", "DEEP_ARCHIVE", "GLACIER_IR", "EXPRESS_ONEZONE"),
}
_WORD = re.compile(r"=\?([^?\s]+)\?([QqBb])\?([^?\s]*)\?=")
_BETWEEN = re.compile(r"(\?=)\s+(=\?)")

metadata_are_mail_safe = rule(
    "metadata_are_mail_safe",
    """Metadata of an object come back as encoded words (RFC 2047) where they are not ASCII, and are taken as
    such words in headers, though not in forms. moto keeps what stands there; what is not Latin-1 no header
    can carry. Source: aws-facts (k).""",
)


@metadata_are_mail_safe.around("s3:PutObject", "s3:CopyObject", "s3:CreateMultipartUpload")
def _take(call: BucketCall, proceed: Proceed) -> Any:
    environ, query = call.request.environ, call.response.querystring
    if environ.get(IN_FORM):
        return proceed()
    for name, value in list(environ.items()):
        if name.startswith("HTTP_X_AMZ_META_"):
            environ[name] = decoded(_text(value))
    for name in _own(query):  # to which moto adds all headers, as plain text
        value = query[name]
        taken = decoded(_text(value)) if isinstance(value, str) else [decoded(each) for each in value]
        query[name] = taken
    return proceed()


@metadata_are_mail_safe.around("s3:GetObject", "s3:HeadObject")
def _give(call: BucketCall, proceed: Proceed) -> Any:
    status, headers, body = proceed()
    for name in _own(headers):
        headers[name] = encoded(str(headers[name]))
    return status, headers, body


def _own(headers: Iterable[str]) -> list[str]:
    return [name for name in headers if name.lower().startswith(OWN)]


def _text(value: str) -> str:
    """A header's value, which is Latin-1 on the wire, and often UTF-8 in truth."""
    try:
        return value.encode("latin-1").decode()
    except UnicodeError:
        return value


def encoded(text: str) -> str:
    """A text as it is if it is ASCII, else as an encoded word: Q where most of it is ASCII, B elsewhere."""
    strange = sum(not (" " <= letter <= "~" or letter == "\t") for letter in text)
    if not strange:
        return text
    raw = text.encode("utf-8", "replace")
    if 2 * strange >= len(text):
        return f"=?UTF-8?B?{base64.b64encode(raw).decode()}?="
    kept = "".join(
        chr(each) if 32 < each < 127 and chr(each) not in "=?_" else f"={each:02X}" for each in raw
    )
    return f"=?UTF-8?Q?{kept.replace('=20', '_')}?="


def decoded(text: str) -> str:
    """A text whose encoded words are what they stand for; one that is broken stays as it is."""
    return _WORD.sub(_of_word, _BETWEEN.sub(r"\1\2", text)) if "=?" in text else text


def _of_word(match: re.Match[str]) -> str:
    charset, kind, inner = match.groups()
    try:
        raw = (
            base64.b64decode(inner, validate=True)
            if kind in "Bb"
            else binascii.a2b_qp(inner.encode("ascii"), header=True)
        )
        return raw.decode(charset)
    except (ValueError, LookupError):
        return match[0]


@before("s3:PutObject", "s3:CopyObject", "s3:CreateMultipartUpload")
def storage_classes_are_of_s3(call: BucketCall) -> None:
    """A storage class that there is not, or that buckets have not (OUTPOSTS): InvalidStorageClass, which says
    what was requested. moto begins uploads in parts with any, and names the class otherwise. Source:
    aws-facts (k).
    """
    wanted = call.header("x-amz-storage-class")
    if wanted and wanted not in STORAGE:
        message = "The storage class you specified is not valid"
        raise Refused("InvalidStorageClass", message, StorageClassRequested=wanted)
