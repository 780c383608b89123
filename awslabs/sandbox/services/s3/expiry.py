"""S3: lifecycle rules, and when an object expires by them. Nothing is deleted here: a day is long.

Source: S3 user guide, "Expiring objects", "Lifecycle configuration elements"; aws-facts (k).
"""

from __future__ import annotations

import datetime
import math
import uuid
from dataclasses import dataclass, field
from email.utils import format_datetime
from typing import Any
from urllib.parse import quote

from botocore.utils import parse_timestamp
from moto.s3.models import FakeKey

from awslabs.sandbox.core.engine import BucketCall, Proceed, Refused, memory, rule, state
from awslabs.sandbox.services.s3.documents import document
from awslabs.sandbox.services.s3.tags import Tags, tags_of
from awslabs.sandbox.services.s3.versions import found, serialized

MINIMUM = "x-amz-transition-default-minimum-object-size"
MINIMA = ("all_storage_classes_128K", "varies_by_storage_class")
_DAY = datetime.timedelta(days=1)

expiry = rule(
    "expiry",
    """A bucket's lifecycle rules come back as they were sent, with filters by size and with the least size of
    a transition. PutObject, GetObject and HeadObject say when and by which rule the current version of an
    object expires: at midnight after so many days. moto has no filter by size, and says nothing of an
    object. Source: aws-facts (k).""",
)


@state
@dataclass
class Lifecycle:
    """A bucket's rules, as `document` reads them, and the least size of what is moved."""

    rules: list[dict[str, Any]] = field(default_factory=list)
    minimum: str = MINIMA[0]


@expiry.around("s3:PutBucketLifecycleConfiguration")
def _keep(call: BucketCall, proceed: Proceed) -> Any:
    minimum = call.header(MINIMUM) or MINIMA[0]
    if minimum not in MINIMA:
        raise Refused("InvalidRequest", f"Invalid TransitionDefaultMinimumObjectSize found: {minimum}")
    rules = [each | {"ID": each.get("ID") or uuid.uuid4().hex} for each in document(call).get("Rules", [])]
    for each in rules:
        _tags(_filter(each))
        if each.get("Expiration", {}).get("Days", 1) < 1:
            raise Refused("InvalidArgument", "'Days' for Expiration action must be a positive integer")
    status, headers, body = proceed()
    if status < 300:
        kept = memory(call.bucket, Lifecycle)
        kept.rules, kept.minimum = rules, minimum
        headers[MINIMUM] = minimum
    return status, headers, body


@expiry.around("s3:GetBucketLifecycleConfiguration")
def _show(call: BucketCall, proceed: Proceed) -> Any:
    status, headers, body = proceed()
    if status < 300:
        kept = memory(call.bucket, Lifecycle)
        status, headers, body = serialized(call, {"Rules": kept.rules})
        headers[MINIMUM] = kept.minimum
    return status, headers, body


@expiry.around("s3:DeleteBucketLifecycle")
def _forget(call: BucketCall, proceed: Proceed) -> Any:
    bucket = call.bucket
    if bucket is not None:
        memory(bucket, Lifecycle).rules = []
    return proceed()


@expiry.around("s3:PutObject", "s3:GetObject", "s3:HeadObject", "s3:CopyObject", "s3:CompleteMultipartUpload")
def _tell(call: BucketCall, proceed: Proceed) -> Any:
    status, headers, body = proceed()
    bucket = call.bucket
    if status >= 300 or bucket is None or "versionId" in call.query:
        return status, headers, body
    key = found(bucket, call.key)
    if isinstance(key, FakeKey):
        tags = call.backend.tagger.get_tag_dict_for_resource(key.arn)
        fitting = [each for each in memory(bucket, Lifecycle).rules if _fits(each, key, tags)]
        ends = [(end, each["ID"]) for each in fitting if (end := _end(each, key)) is not None]
        if ends:
            end, name = min(ends, key=lambda each: each[0])
            date = format_datetime(end, usegmt=True)
            headers["x-amz-expiration"] = f'expiry-date="{date}", rule-id="{quote(name)}"'
    return status, headers, body


def _fits(rule: dict[str, Any], key: FakeKey, tags: dict[str, str]) -> bool:
    """Whether a lifecycle rule is for an object."""
    asked = _filter(rule)
    return (
        rule.get("Status") == "Enabled"
        and key.name.startswith(asked["Prefix"])
        and all(tags.get(name) == value for name, value in _tags(asked))
        and asked.get("ObjectSizeGreaterThan", -1) < key.size < asked.get("ObjectSizeLessThan", math.inf)
    )


def _filter(rule: dict[str, Any]) -> dict[str, Any]:
    """What a rule looks at, which stands in three places."""
    asked: dict[str, Any] = rule.get("Filter", {})
    return {"Prefix": rule.get("Prefix", ""), **asked, **asked.get("And", {})}


def _tags(asked: dict[str, Any]) -> Tags:
    return tags_of([*asked.get("Tags", []), *([asked["Tag"]] if "Tag" in asked else [])])


def _end(rule: dict[str, Any], key: FakeKey) -> datetime.datetime | None:
    """When an object expires by a rule: the first midnight after so many days, or on the rule's date.

    None: never, or behind the year 9999.
    """
    said = rule.get("Expiration", {})
    end: datetime.datetime
    try:
        if said.get("Date"):
            end = parse_timestamp(said["Date"])
            return end.astimezone(datetime.timezone.utc)
        if not said.get("Days"):
            return None
        end = key.last_modified.replace(tzinfo=datetime.timezone.utc) + said["Days"] * _DAY
        midnight = end.replace(hour=0, minute=0, second=0, microsecond=0)
        return midnight if midnight == end else midnight + _DAY
    except OverflowError:
        return None
