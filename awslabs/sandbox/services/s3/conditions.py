"""S3: requests that are done on condition: If-Match, If-None-Match, If-Modified-Since, If-Unmodified-Since.

    reading     all four; what fails is 412, or 304 where only a change was asked for
    copies      all four of the source, as x-amz-copy-source-if-...; what fails is 412
    writing     If-Match with an ETag, If-None-Match with `*`; else NotImplemented
    deletion    If-Match

Source: S3 user guide, "Add preconditions to S3 operations with conditional requests"; S3 API reference,
GetObject, CopyObject; aws-facts (k).
"""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import parse_qs

from moto.s3.exceptions import MissingBucket
from moto.s3.models import FakeKey

from awslabs.sandbox.core.documents import in_utc
from awslabs.sandbox.core.engine import BucketCall, Refused, before
from awslabs.sandbox.services.iam.needs import copied
from awslabs.sandbox.services.s3.versions import found, invalid_id, is_id, no_version, stored

SOURCE = "x-amz-copy-source-"
CHANGES = ("If-None-Match", "If-Modified-Since")
"""Conditions of whoever has an object already and asks whether it is another one now."""


def failed(key: FakeKey, headers: Mapping[str, str], prefix: str = "") -> str:
    """The name of the condition that an object does not meet; empty when it meets all.

    An ETag that fits makes the dates of its side mean nothing; nor does a date that is still to come.
    """

    def date(name: str) -> datetime.datetime | None:
        try:
            return in_utc(parsedate_to_datetime(headers.get(prefix + name) or ""))
        except (ValueError, OverflowError):
            return None

    modified = key.last_modified.replace(microsecond=0, tzinfo=datetime.timezone.utc)
    match, none_match = headers.get(prefix + "If-Match"), headers.get(prefix + "If-None-Match")
    unmodified_since, modified_since = date("If-Unmodified-Since"), date("If-Modified-Since")
    if match:
        if not fits(key, match):
            return prefix + "If-Match"
    elif unmodified_since and modified > unmodified_since:
        return prefix + "If-Unmodified-Since"
    if none_match:
        return prefix + "If-None-Match" if fits(key, none_match) else ""
    if modified_since and modified <= modified_since <= datetime.datetime.now(datetime.timezone.utc):
        return prefix + "If-Modified-Since"
    return ""


def fits(key: FakeKey, etag: str) -> bool:
    """Whether an ETag, with its quotes or without, is an object's."""
    return etag == "*" or etag.strip('"') == key.etag.strip('"')


def unmet(condition: str) -> Refused:
    """S3's answer to a condition that is not met."""
    message = "At least one of the pre-conditions you specified did not hold"
    return Refused("PreconditionFailed", message, Condition=condition)


def missing(key: str) -> Refused:
    """S3's answer to a key that is not there."""
    return Refused("NoSuchKey", "The specified key does not exist.", Key=key)


def _not_implemented(header: str, sentence: str = "") -> Refused:
    message = "A header you provided implies functionality that is not implemented"
    more = {"additionalMessage": sentence} if sentence else {}
    return Refused("NotImplemented", message, Header=header, **more)


@before("s3:PutObject", "s3:CopyObject", "s3:CompleteMultipartUpload")
def writing_on_condition(call: BucketCall) -> None:
    """If-Match takes an ETag, If-None-Match `*`, and not both: else NotImplemented 501, as AWS has it. moto
    looks at them in PutObject, at some in the others, and never at their values. Source: aws-facts (k).
    """
    match, none_match = call.header("If-Match"), call.header("If-None-Match")
    if match and none_match:
        sentence = "Multiple conditional request headers present in the request"
        raise _not_implemented("If-Match,If-None-Match", sentence)
    for name, value, right in (
        ("If-Match", match, match != "*"),
        ("If-None-Match", none_match, none_match == "*"),
    ):
        if value and not right:
            raise _not_implemented(name, f"We don't accept the provided value of {name} header for this API")
    if call.bucket is None or not (match or none_match) or is_completed(call):
        return
    there = stored(call)
    if match and there is None:
        raise missing(call.key)
    if match and there is not None and not fits(there, match):
        raise unmet("If-Match")
    if none_match and there is not None:
        raise unmet("If-None-Match")


def is_completed(call: BucketCall) -> bool:
    """Whether the upload that a request names is what made the object: Complete may be said once more."""
    made = stored(call)
    return made is not None and made.multipart is not None and made.multipart.id == call.parameter("uploadId")


@before("s3:DeleteObject")
def deletion_on_condition(call: BucketCall) -> None:
    """The size or the date of what is deleted as a condition: NotImplemented 501, as AWS has it outside of
    directory buckets. moto looks at neither. Source: aws-facts (k).
    """
    for name in ("x-amz-if-match-last-modified-time", "x-amz-if-match-size"):
        if call.header(name):
            raise _not_implemented(name)


@before("s3:CopyObject", "s3:UploadPartCopy")
def sources_on_condition(call: BucketCall) -> None:
    """What is copied meets the conditions of the request, or it is PreconditionFailed 412, which names the
    first that it does not. moto knows one of four in CopyObject, and none in UploadPartCopy.
    Source: aws-facts (k).
    """
    key = source_of(call)
    condition = failed(key, call.response.headers, SOURCE) if key is not None else ""
    if condition:
        raise unmet(condition)


def source_of(call: BucketCall) -> FakeKey | None:
    """The object that a request copies, if it is there."""
    try:
        return look_for_source(call)
    except (MissingBucket, Refused):
        return None


def look_for_source(call: BucketCall) -> FakeKey:
    """The object that a request copies; refused, by moto or here, where it is not there."""
    asked: Any = call.response.headers.get("x-amz-copy-source") or ""
    header = asked.decode() if isinstance(asked, bytes) else asked
    bucket, _, key = copied(header).partition("/")
    version_id = parse_qs(header.partition("?")[2]).get("versionId", [None])[0]
    if version_id is not None and not is_id(version_id):
        raise invalid_id(version_id)
    version = found(call.backend.get_bucket(bucket), key, version_id)
    if isinstance(version, FakeKey):
        return version
    if version is not None and version_id is not None:
        message = "The source of a copy request may not specifically refer to a delete marker by version id."
        raise Refused("InvalidRequest", message)
    raise missing(key) if version_id is None else no_version(key, version_id)
