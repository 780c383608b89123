"""S3: objects that go, one by one and a thousand at once: removed for good, or beneath a delete marker.

Source: S3 user guide, "Deleting object versions from a versioning-enabled bucket", "Using Object Lock"; S3
API reference, DeleteObject, DeleteObjects; aws-facts (k).
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from moto.iam.access_control import PermissionResult
from moto.s3.models import FakeBucket, FakeDeleteMarker, FakeKey, S3Backend
from moto.s3.notifications import S3NotificationEvent, send_event

from awslabs.sandbox.core.engine import ASKED, BucketCall, Refused, before, rule
from awslabs.sandbox.services.iam import needs, permissions
from awslabs.sandbox.services.s3.buckets import is_anothers
from awslabs.sandbox.services.s3.conditions import fits, unmet
from awslabs.sandbox.services.s3.documents import document, invalid, malformed
from awslabs.sandbox.services.s3.versions import (
    NULL,
    asked_version,
    found,
    fresh_id,
    is_id,
    keep,
    serialized,
)

BYPASS = "x-amz-bypass-governance-retention"
MOST = 1000
LOCKED = "Access Denied because object protected by object lock."

deletions = rule(
    "deletions",
    """A deletion without a version puts a delete marker on top where there was ever versioning, also of a key
    that is not there; one with a version removes that, and says whether it was a marker. DeleteObjects names
    for each key the marker that it made or removed, NoSuchVersion for a version that is none, and
    PreconditionFailed for one whose ETag is another than was given. moto makes
    markers for keys alone that are there, has none where versioning is suspended, and forgets to name them.
    Source: aws-facts (k).""",
)


@deletions.patch(S3Backend, "delete_object")
def _delete(
    original: Any,
    backend: S3Backend,
    bucket_name: str,
    key_name: str,
    version_id: str | None = None,
    bypass: Any = False,
) -> tuple[bool, dict[str, Any]]:
    """moto's shape of an answer: whether it was done, and its headers without `x-amz-`."""
    bucket = backend.get_bucket(bucket_name)
    if version_id is not None:
        gone = _remove(backend, bucket, key_name, version_id, str(bypass).lower() == "true")
        said = {"version-id": version_id}
    elif not bucket.versioning_status:
        gone, said = _remove(backend, bucket, key_name, NULL, False), {}
    else:
        gone = _marker(bucket, key_name)
        said = {"version-id": gone.version_id}
    return True, said | ({"delete-marker": "true"} if isinstance(gone, FakeDeleteMarker) else {})


def _remove(
    backend: S3Backend, bucket: FakeBucket, key: str, version_id: str, bypass: bool
) -> FakeKey | FakeDeleteMarker | None:
    """Take one version away for good; what it was."""
    gone = found(bucket, key, version_id)
    if isinstance(gone, FakeKey):
        if gone.is_locked(governance_bypass=bypass):
            raise Refused("AccessDenied", LOCKED)
        removed = S3NotificationEvent.OBJECT_REMOVED_DELETE_EVENT
        send_event(backend.account_id, removed, bucket, gone)
        backend.tagger.delete_all_tags_for_resource(gone.arn)
    keep(bucket, key, [each for each in bucket.keys.getlist(key, []) if each is not gone])
    return gone


def _marker(bucket: FakeBucket, key: str) -> FakeDeleteMarker:
    """Put a delete marker on top; the version `null` goes where versioning is suspended."""
    marker = FakeDeleteMarker(SimpleNamespace(name=key))  # type: ignore[arg-type]
    marker._version_id = fresh_id() if bucket.is_versioned else NULL
    staying = [each for each in bucket.keys.getlist(key, []) if each.version_id != marker.version_id]
    keep(bucket, key, [*staying, marker])
    return marker


@before("s3:DeleteObject", "s3:DeleteObjects")
def only_locks_are_bypassed(call: BucketCall) -> None:
    """The header that bypasses governance retention, where Object Lock is off: InvalidArgument, as is a
    version that is none. moto looks at neither. Source: aws-facts (k).
    """
    if call.bucket is not None and call.header(BYPASS) and not call.bucket.object_lock_enabled:
        raise invalid(f"{BYPASS} is only applicable to Object Lock enabled buckets.", BYPASS)
    if call.action == "DeleteObject":
        asked_version(call)


@deletions.answers("s3:DeleteObjects")
def _delete_many(call: BucketCall) -> Any:
    bucket = call.backend.get_bucket(call.name)
    said = document(call)
    wanted = said.get("Objects", [])
    if not 0 < len(wanted) <= MOST or not all(each.get("Key") for each in wanted):
        raise malformed()
    deleted: list[dict[str, Any]] = []
    errors: list[dict[str, Any]] = []
    for each in wanted:
        key, version_id = each["Key"], each.get("VersionId")
        named = {"Key": key, "VersionId": version_id} if version_id else {"Key": key}
        refused = _refusal(call, bucket, each)
        if not refused:
            try:
                _, marks = call.backend.delete_object(call.name, key, version_id, bypass=call.header(BYPASS))
            except Refused as problem:
                refused = problem.code, problem.message
        if refused:
            errors.append(named | {"Code": refused[0], "Message": refused[1]})
        elif "delete-marker" in marks:
            deleted.append(named | {"DeleteMarker": True, "DeleteMarkerVersionId": marks["version-id"]})
        else:
            deleted.append(named)
    return serialized(call, {"Deleted": [] if said.get("Quiet") else deleted, "Errors": errors})


def _refusal(call: BucketCall, bucket: FakeBucket, each: dict[str, Any]) -> tuple[str, str] | None:
    """Why one of many is not deleted: code and message."""
    request, version_id = call.response.request, each.get("VersionId")
    resource = f"arn:aws:s3:::{bucket.name}/{each['Key']}"
    wanted = list(needs.deletion(request, resource, bool(version_id)))
    if any(
        bucket.get_permission(*need[:2]) == PermissionResult.DENIED or is_anothers(call, need)
        for need in wanted
    ):
        return "AccessDenied", "Access Denied"
    if (decisions := request.environ.get("awslabs.decisions")) is not None:
        refused = permissions.judge(request.environ[ASKED], call.account, request, wanted, decisions)
        if refused:
            return refused
    there = found(bucket, each["Key"], version_id)
    if isinstance(there, FakeKey) and each.get("ETag") and not fits(there, each["ETag"]):
        return "PreconditionFailed", unmet("If-Match").message
    if version_id and not is_id(version_id):  # one that is gone is gone
        return "NoSuchVersion", "The specified version does not exist."
    return None
