"""S3: versions of objects. Their ids, the version `null`, and what stands on top of them.

    versioning    a new object              a deletion without a version
    never on      is the version null,      removes the version null
                  in place of the old one
    Enabled       is one more version       puts a delete marker on top
    Suspended     is the version null,      puts a delete marker on top, which is the version null,
                  beside all others         in place of the old one

Source: S3 user guide, "How S3 Versioning works", "Working with objects in a versioning-suspended bucket";
aws-facts (k).
"""

from __future__ import annotations

import hashlib
import secrets
import string
import time
from typing import Any

from moto.core.responses import ActionResult
from moto.iam.access_control import PermissionResult
from moto.s3.models import FakeBucket, FakeDeleteMarker, FakeKey, S3Backend

from awslabs.sandbox.core.engine import BucketCall, Proceed, Refused, around, before, patch
from awslabs.sandbox.services.s3.buckets import denied
from awslabs.sandbox.services.s3.documents import document, invalid, malformed

NULL = "null"
_LETTERS = string.ascii_letters + string.digits + "._"


def fresh_id() -> str:
    """An id of a version; AWS knows its own ids from others without looking whether they are there.

    It begins with its time, so that a list goes on behind a version that is gone.
    """
    start = f"{time.time_ns():016x}" + "".join(secrets.choice(_LETTERS) for _ in range(8))
    return start + _seal(start)


def born(version_id: str) -> int:
    """When a version came to be: a number that grows; -1 for the version `null`, whose id does not say it."""
    return -1 if version_id == NULL else int(version_id[:16], 16)


def is_id(text: str) -> bool:
    """Whether a text is a version's id, of one that is there or was."""
    return text == NULL or (len(text) == 32 and text[24:] == _seal(text[:24]))


def _seal(start: str) -> str:
    """The last eight signs of an id, which follow from the others."""
    return hashlib.sha256(start.encode()).hexdigest()[:8]


def invalid_id(version_id: str, name: str = "versionId") -> Refused:
    """S3's answer to what is no id of a version."""
    return invalid("Invalid version id specified", name, version_id)


def asked_version(call: BucketCall) -> str | None:
    """The version that a request names; refused where it is none."""
    version_id = call.version_id
    if version_id is not None and not is_id(version_id):
        raise invalid_id(version_id)
    return version_id


def no_version(key: str, version_id: str) -> Refused:
    """S3's answer to a version that is not there any more."""
    return Refused("NoSuchVersion", "The specified version does not exist.", Key=key, VersionId=version_id)


def no_method(method: str) -> Refused:
    """S3's answer to whoever takes a delete marker for an object."""
    message = "The specified method is not allowed against this resource."
    return Refused("MethodNotAllowed", message, Method=method, ResourceType="DeleteMarker")


def allowed_bucket(call: BucketCall, action: str, key: str = "") -> FakeBucket:
    """The bucket of a request; refused where its policy denies the action."""
    bucket: FakeBucket = call.backend.get_bucket(call.name)
    resource = f"arn:{bucket.partition}:s3:::{bucket.name}" + (f"/{key}" if key else "")
    if bucket.get_permission(action, resource) == PermissionResult.DENIED:
        raise denied()
    return bucket


def serialized(call: BucketCall, result: dict[str, Any]) -> Any:
    """An answer in S3's XML, as botocore's model has the operation's."""
    call.response.data["Action"] = call.action
    return call.response._send_response(call.response.serialized(ActionResult(result)))


def found(bucket: FakeBucket, key: str, version_id: str | None = None) -> FakeKey | FakeDeleteMarker | None:
    """A version of an object, or a delete marker; without an id what is on top."""
    stacked: list[Any] = bucket.keys.getlist(key, [])
    if version_id is None:
        return stacked[-1] if stacked else None
    return next((each for each in stacked if each.version_id == version_id), None)


def stored(call: BucketCall, version_id: str | None = None) -> FakeKey | None:
    """The object that a request is about, as it is now or in a version; None: there is none."""
    there = found(call.bucket, call.key, version_id) if call.bucket is not None else None
    return there if isinstance(there, FakeKey) else None


def keep(bucket: FakeBucket, key: str, stacked: list[Any]) -> None:
    """Let these be an object's versions, the oldest first, and give free what the others hold."""
    for each in bucket.keys.getlist(key, []):
        if isinstance(each, FakeKey) and each not in stacked:
            each.dispose()
    dict.pop(bucket.keys, key, None)
    if stacked:
        dict.__setitem__(bucket.keys, key, stacked)


@patch(S3Backend, "put_object")
def object_versions(
    original: Any, backend: S3Backend, bucket_name: str, key_name: str, *args: Any, **more: Any
) -> FakeKey:
    """An id of a version has 32 letters, digits, dots and lines. In a bucket whose versioning is suspended a
    new object is the version `null`, and all others stay. moto's ids are UUIDs, and there it drops all
    versions. Source: aws-facts (k).
    """
    bucket = backend.get_bucket(bucket_name)
    stacked = list(bucket.keys.getlist(key_name, []))
    dict.pop(bucket.keys, key_name, None)  # moto would give free what versions hold that stay
    try:
        made: FakeKey = original(backend, bucket_name, key_name, *args, **more)
    except Exception:
        keep(bucket, key_name, stacked)
        raise
    if bucket.is_versioned:
        made._version_id = fresh_id()
    dict.__setitem__(bucket.keys, key_name, stacked)
    keep(bucket, key_name, [*(each for each in stacked if each.version_id != made.version_id), made])
    return made


_SHOWN_WHEN_ENABLED = ("s3:PutObject", "s3:CompleteMultipartUpload")
_SHOWN = ("s3:CopyObject", "s3:GetObjectTagging", "s3:PutObjectTagging", "s3:DeleteObjectTagging")


@around(*_SHOWN_WHEN_ENABLED, *_SHOWN)
def versions_are_named(call: BucketCall, proceed: Proceed) -> Any:
    """Answers say which version they are of, once a bucket had versioning; of a new object only while it has
    it. moto names `null` where there was never any, and not where it is suspended. Source: aws-facts (k).
    """
    status, headers, body = proceed()
    bucket = call.bucket
    if status >= 300 or bucket is None:
        return status, headers, body
    headers.pop("x-amz-version-id", None)
    shown = bucket.is_versioned if call.operation in _SHOWN_WHEN_ENABLED else bucket.versioning_status
    version = found(bucket, call.key, call.version_id)
    if shown and version is not None:
        headers["x-amz-version-id"] = version.version_id
    return status, headers, body


@before("s3:PutBucketVersioning")
def versioning_is_enabled_or_suspended(call: BucketCall) -> None:
    """Another status is MalformedXML, none IllegalVersioningConfigurationException; where Object Lock is on,
    it stays Enabled: InvalidBucketState 409. moto takes every word. Source: aws-facts (k).
    """
    bucket = call.bucket
    if bucket is None:
        return
    status = document(call).get("Status")
    if status is None:
        raise Refused("IllegalVersioningConfigurationException", "The Versioning element must be specified")
    if status not in ("Enabled", "Suspended"):
        raise malformed()
    if bucket.object_lock_enabled and status != "Enabled":
        message = (
            "An Object Lock configuration is present on this bucket, so the versioning state cannot be "
            "changed."
        )
        raise Refused("InvalidBucketState", message, 409)


@before("s3:DeleteBucket")
def versions_fill_a_bucket(call: BucketCall) -> None:
    """A bucket with versions or delete markers: BucketNotEmpty, which says so. moto: the sentence for
    objects. Source: aws-facts (k).
    """
    if call.bucket is not None and call.bucket.versioning_status and call.bucket.keys:
        message = "The bucket you tried to delete is not empty. You must delete all versions in the bucket."
        raise Refused("BucketNotEmpty", message, BucketName=call.name)
