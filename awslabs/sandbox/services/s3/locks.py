"""S3: Object Lock. What a bucket has for its new objects, retention of a version, and legal hold.

Source: S3 user guide, "Locking objects with Object Lock", "Object Lock considerations"; aws-facts (k).
"""

from __future__ import annotations

import datetime
from typing import Any

from botocore.utils import parse_timestamp
from moto.s3.models import FakeBucket, FakeKey

from awslabs.sandbox.core.documents import in_utc, is_time
from awslabs.sandbox.core.engine import BucketCall, Refused, before, rule
from awslabs.sandbox.services.s3.conditions import missing
from awslabs.sandbox.services.s3.deletions import BYPASS, LOCKED
from awslabs.sandbox.services.s3.documents import document, invalid, malformed
from awslabs.sandbox.services.s3.versions import (
    allowed_bucket,
    asked_version,
    found,
    no_method,
    no_version,
    serialized,
)

MODES = ("GOVERNANCE", "COMPLIANCE")
MODE, UNTIL = "x-amz-object-lock-mode", "x-amz-object-lock-retain-until-date"
HOLD = "x-amz-object-lock-legal-hold"
LONGEST = {"Days": 36_500, "Years": 100}
_AS_MOTO_READS = "%Y-%m-%dT%H:%M:%SZ"
_PACIFIC = datetime.timezone(datetime.timedelta(hours=-8), "PST")

locks = rule(
    "locks",
    """Object Lock is for buckets whose versioning is Enabled, also if there are objects; its rule has a mode
    and one of days and years. Retention and legal hold of a version are refused where the bucket has none,
    for a delete marker and for a key that is not there. Retention in governance mode is made less only with
    the header that bypasses it, in compliance mode never, and ends in the future. moto looks at little of
    this, wants the bucket empty, and has no GetObjectRetention. Source: aws-facts (k).""",
)


@locks.answers("s3:GetObjectLockConfiguration")
def _configuration(call: BucketCall) -> Any:
    bucket = allowed_bucket(call, "s3:GetBucketObjectLockConfiguration")
    if not bucket.object_lock_enabled:
        message = "Object Lock configuration does not exist for this bucket"
        raise Refused("ObjectLockConfigurationNotFoundError", message, BucketName=bucket.name)
    shown: dict[str, Any] = {"ObjectLockEnabled": "Enabled"}
    if bucket.default_lock_mode:
        lasts = {"Days": bucket.default_lock_days, "Years": bucket.default_lock_years}
        lasts = {name: value for name, value in lasts.items() if value}
        shown["Rule"] = {"DefaultRetention": {"Mode": bucket.default_lock_mode, **lasts}}
    return serialized(call, {"ObjectLockConfiguration": shown})


@locks.answers("s3:PutObjectLockConfiguration")
def _configure(call: BucketCall) -> Any:
    bucket, said = allowed_bucket(call, "s3:PutBucketObjectLockConfiguration"), document(call)
    retention = said.get("Rule", {}).get("DefaultRetention", {})
    days, years = retention.get("Days"), retention.get("Years")
    whole = retention.get("Mode") in MODES and (days is None) != (years is None)
    if said.get("ObjectLockEnabled") != "Enabled" or ("Rule" in said and not whole):
        raise malformed()
    for name in LONGEST.keys() & retention.keys():
        if not 0 < retention[name] <= LONGEST[name]:
            fault = "too large" if retention[name] > 0 else "must be a positive integer value"
            raise invalid(f"Default retention period {fault}.", name, str(retention[name]))
    if not bucket.is_versioned:
        message = "Versioning must be 'Enabled' on the bucket to apply a Object Lock configuration"
        raise Refused("InvalidBucketState", message, 409)
    bucket.object_lock_enabled, bucket.default_lock_mode = True, retention.get("Mode")
    bucket.default_lock_days, bucket.default_lock_years = days or 0, years or 0
    return 200, {}, ""


@before("s3:PutObject", "s3:CopyObject", "s3:CreateMultipartUpload")
def new_locks_are_whole(call: BucketCall) -> None:
    """A new object has a mode and a date, or neither; another mode, a date that is none or is over, a hold
    that is neither ON nor OFF: InvalidArgument. moto takes it. Source: aws-facts (k).
    """
    mode, until = call.header(MODE), call.header(UNTIL)
    if bool(mode) != bool(until):
        raise invalid(f"{UNTIL} and {MODE} must both be supplied", UNTIL if mode else MODE)
    if mode and mode not in MODES:
        raise invalid("Unknown wormMode directive.", MODE, mode)
    if until and not is_time(until):
        raise invalid("The retain until date must be provided in ISO 8601 format", UNTIL, until)
    if until:
        date, environ = _date(until), call.request.environ
        _look_at_date(date, UNTIL)
        environ["HTTP_" + UNTIL.upper().replace("-", "_")] = date.strftime(_AS_MOTO_READS)
    hold = call.header(HOLD)
    if hold not in ("", "ON", "OFF"):
        raise invalid("Legal Hold must be either of 'ON' or 'OFF'", HOLD, hold)


@locks.answers("s3:PutObjectRetention")
def _retain(call: BucketCall) -> Any:
    said = document(call)
    mode, text = said.get("Mode"), said.get("RetainUntilDate")
    if bool(mode) != bool(text) or (mode and mode not in MODES):
        raise malformed()
    key = _version(call)
    until = _date(text) if text else None
    if until is not None:
        _look_at_date(until, "RetainUntilDate")
    bypasses = call.header(BYPASS).lower() == "true" and key.lock_mode == "GOVERNANCE"
    if _is_less(key, mode, until) and not bypasses:
        raise Refused("AccessDenied", LOCKED)
    key.lock_mode, key.lock_until = mode, until.strftime(_AS_MOTO_READS) if until else None
    return 200, {}, ""


@locks.answers("s3:GetObjectRetention")
def _retention(call: BucketCall) -> Any:
    key = _version(call)
    if not key.lock_mode:
        raise _never_locked()
    return serialized(call, {"Retention": {"Mode": key.lock_mode, "RetainUntilDate": key.lock_until}})


@locks.answers("s3:PutObjectLegalHold")
def _hold(call: BucketCall) -> Any:
    status = document(call).get("Status")
    if status not in ("ON", "OFF"):
        raise malformed()
    _version(call).lock_legal_status = status
    return 200, {}, ""


@locks.answers("s3:GetObjectLegalHold")
def _held(call: BucketCall) -> Any:
    key = _version(call)
    if not key.lock_legal_status:
        raise _never_locked()
    return serialized(call, {"LegalHold": {"Status": key.lock_legal_status}})


def _version(call: BucketCall) -> FakeKey:
    """The version of an object that a request is about, in a bucket that has locks."""
    bucket: FakeBucket = allowed_bucket(call, f"s3:{call.action}", call.key)
    if not bucket.object_lock_enabled:
        raise Refused("InvalidRequest", "Bucket is missing Object Lock Configuration")
    version_id = asked_version(call)
    key = found(bucket, call.key, version_id)
    if isinstance(key, FakeKey):
        return key
    if key is None:
        raise missing(call.key) if version_id is None else no_version(call.key, version_id)
    raise no_method(call.method)


def _look_at_date(until: datetime.datetime, name: str) -> None:
    """Refuse a retention that is over."""
    if until <= datetime.datetime.now(datetime.timezone.utc):
        shown = until.astimezone(_PACIFIC).strftime("%a %b %d %H:%M:%S %Z %Y")
        raise invalid("The retain until date must be in the future!", name, shown)


def _never_locked() -> Refused:
    message = "The specified object does not have a ObjectLock configuration"
    return Refused("NoSuchObjectLockConfiguration", message, 404)


def _is_less(key: FakeKey, mode: str | None, until: datetime.datetime | None) -> bool:
    """Whether a retention would hold a version less than the one that holds it now."""
    now = datetime.datetime.now(datetime.timezone.utc)
    if not key.lock_mode or not key.lock_until or _date(key.lock_until) <= now:
        return False
    weaker = mode is None or MODES.index(mode) < MODES.index(key.lock_mode)
    return weaker or until is None or until < _date(key.lock_until)


def _date(text: str) -> datetime.datetime:
    return in_utc(parse_timestamp(text))  # Python 3.10 reads no Z
