"""S3: lists of buckets, objects and versions, a page at a time.

    names in order -> behind the marker -> those alike up to the delimiter as one -> as many as asked

Source: S3 API reference, ListBuckets, ListObjects, ListObjectsV2, ListObjectVersions; aws-facts (k).
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from moto.s3.models import OWNER, FakeBucket, FakeDeleteMarker, FakeKey

from awslabs.sandbox.core import regions
from awslabs.sandbox.core.engine import BucketCall, before, rule
from awslabs.sandbox.services.s3.buckets import is_signed
from awslabs.sandbox.services.s3.documents import invalid
from awslabs.sandbox.services.s3.versions import allowed_bucket, born, invalid_id, is_id, serialized

MOST = 1000
LARGEST = 2**31 - 1
MOST_BUCKETS = 10_000
_MARKERS = {"Prefix", "Delimiter", "Marker", "NextMarker", "StartAfter", "KeyMarker", "NextKeyMarker"}
"""Members of a list that are keys or parts of keys, and encoded as these are."""

pages = rule(
    "pages",
    """A list goes on behind the last name that it gave out, be that a key, a version or a common prefix, and
    repeats what was asked; it says of each object how it is protected by a checksum. moto's markers are no
    names, its pages of versions skip some and show others twice, and it leaves much out.
    Source: aws-facts (k).""",
)


@dataclass
class Page:
    """What is given out at once; `last` is what the next page begins behind."""

    shown: list[Any] = field(default_factory=list)
    prefixes: list[str] = field(default_factory=list)
    truncated: bool = False
    last: Any = ""

    @property
    def count(self) -> int:
        return len(self.shown) + len(self.prefixes)


def page(things: Iterable[Any], asked: Listing, passed: Callable[[Any], bool]) -> Page:
    """A page of things that have names and come in their order."""
    found = Page()
    for thing in things:
        if not thing.name.startswith(asked.prefix) or passed(thing):
            continue
        common = asked.common_prefix(thing.name)
        if common and (common <= asked.marker or [common] == found.prefixes[-1:]):
            continue
        if found.count == asked.most:
            found.truncated = asked.most > 0
            break
        if common:
            found.prefixes.append(common)
        else:
            found.shown.append(thing)
        found.last = common or thing
    return found


@dataclass(frozen=True)
class Listing:
    """What lists of a bucket have in common."""

    prefix: str
    delimiter: str
    marker: str
    most: int

    def common_prefix(self, name: str) -> str:
        """The part of a name up to the first delimiter behind the prefix; empty where there is none."""
        if not self.delimiter:
            return ""
        before, delimiter, _ = name[len(self.prefix) :].partition(self.delimiter)
        return self.prefix + before + delimiter if delimiter else ""


def _asked(call: BucketCall, *markers: str) -> Listing:
    marker = next((text for name in markers if (text := call.parameter(name))), "")
    most = natural(call.parameter("max-keys"), "max-keys", "maxKeys", MOST)
    return Listing(call.parameter("prefix"), call.parameter("delimiter"), marker, min(most, MOST))


@before("s3:ListObjects", "s3:ListObjectsV2", "s3:ListObjectVersions", "s3:ListMultipartUploads")
def keys_are_encoded_for_urls(call: BucketCall) -> None:
    """Another encoding of keys than `url`: InvalidArgument. moto takes any. Source: aws-facts (k)."""
    name = "encoding-type"
    if name in call.response.querystring and call.parameter(name) != "url":
        raise invalid("Invalid Encoding Method specified in Request", name, call.parameter(name))


def natural(text: str, name: str, spoken: str, default: int) -> int:
    """A number that a request gives for a page; `spoken`: AWS's second name of it. Source: aws-facts (k)."""
    if not re.fullmatch(r"-?[0-9]{1,10}", text or str(default)) or int(text or default) > LARGEST:
        raise invalid(f"Provided {name} not an integer or within integer range", name, text)
    if int(text or default) < 0:
        raise invalid(f"Argument {spoken} must be an integer between 0 and {LARGEST}", spoken, text)
    return int(text or default)


def listed(call: BucketCall, result: dict[str, Any]) -> Any:
    """A list in S3's XML; its keys are encoded where that was asked for."""
    if call.parameter("encoding-type") == "url":
        result["EncodingType"] = "url"
        result |= {name: quote(result[name]) for name in _MARKERS & result.keys() if result[name]}
        for part in ("Contents", "Versions", "DeleteMarkers", "Uploads"):
            for each in result.get(part, ()):
                each["Key"] = quote(each["Key"])
        for each in result["CommonPrefixes"]:
            each["Prefix"] = quote(each["Prefix"])
    return serialized(call, {name: value for name, value in result.items() if value is not None})


def _common(asked: Listing, found: Page) -> dict[str, Any]:
    return {
        "Prefix": asked.prefix,
        "Delimiter": asked.delimiter or None,
        "MaxKeys": asked.most,
        "IsTruncated": found.truncated,
        "CommonPrefixes": [{"Prefix": each} for each in found.prefixes],
    }


def _object(key: FakeKey) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "Key": key.name,
        "LastModified": key.last_modified_ISO8601,
        "ETag": key.etag,
        "Size": key.size,
        "StorageClass": key.storage_class,
    }
    if key.checksum_algorithm:
        shown |= {"ChecksumAlgorithm": [key.checksum_algorithm], "ChecksumType": key.checksum_type}
    return shown


def _current(bucket: FakeBucket) -> list[FakeKey]:
    """The objects of a bucket as they are now, by name."""
    tops = (bucket.keys[name] for name in sorted(dict(bucket.keys)))
    return [each for each in tops if isinstance(each, FakeKey)]


@pages.answers("s3:ListObjects")
def _objects(call: BucketCall) -> Any:
    bucket, asked = allowed_bucket(call, "s3:ListBucket"), _asked(call, "marker")
    found = page(_current(bucket), asked, lambda key: key.name <= asked.marker)
    last = getattr(found.last, "name", found.last)
    owner = {"Owner": {"ID": OWNER}} if is_signed(call) else {}  # strangers see none
    result = _common(asked, found) | {
        "Name": bucket.name,
        "Marker": asked.marker,
        "NextMarker": last if found.truncated and asked.delimiter else None,
        "Contents": [_object(key) | owner for key in found.shown],
    }
    return listed(call, result)


@pages.answers("s3:ListObjectsV2")
def _objects_2(call: BucketCall) -> Any:
    bucket, token = allowed_bucket(call, "s3:ListBucket"), call.parameter("continuation-token")
    asked = _asked(call, "start-after")
    start_after = asked.marker
    if "continuation-token" in call.response.querystring:
        asked = Listing(asked.prefix, asked.delimiter, _name_of(token), asked.most)
    found = page(_current(bucket), asked, lambda key: key.name <= asked.marker)
    last = getattr(found.last, "name", found.last)
    owner = {"Owner": {"ID": OWNER}} if call.parameter("fetch-owner") == "true" else {}
    result = _common(asked, found) | {
        "Name": bucket.name,
        "KeyCount": found.count,
        "ContinuationToken": token or None,
        "NextContinuationToken": _token(last) if found.truncated else None,
        "StartAfter": None if token else start_after or None,
        "Contents": [_object(key) | owner for key in found.shown],
    }
    return listed(call, result)


def _token(name: str) -> str:
    return base64.urlsafe_b64encode(name.encode()).decode()


def _name_of(token: str) -> str:
    """The name that a list goes on behind."""
    try:
        name = base64.b64decode(token, altchars=b"-_", validate=True).decode()
    except ValueError:
        name = ""
    if not name:
        raise invalid("The continuation token provided is incorrect", "continuation-token")
    return name


@pages.answers("s3:ListObjectVersions")
def _versions(call: BucketCall) -> Any:
    bucket, asked = allowed_bucket(call, "s3:ListBucketVersions"), _asked(call, "key-marker")
    marked = call.parameter("version-id-marker")
    if marked and not asked.marker:
        message = "A version-id marker cannot be specified without a key marker."
        raise invalid(message, "version-id-marker", marked)
    if marked and not is_id(marked):
        raise invalid_id(marked, "version-id-marker")
    stacks = {name: list(reversed(bucket.keys.getlist(name))) for name in sorted(dict(bucket.keys))}
    given = _given_out(stacks.get(asked.marker, []), marked) if marked else None

    def passed(version: Any) -> bool:
        if version.name == asked.marker and given is not None:
            return any(version is each for each in given)
        return bool(version.name <= asked.marker)

    found = page((each for stack in stacks.values() for each in stack), asked, passed)
    versions: list[dict[str, Any]] = []
    markers: list[dict[str, Any]] = []
    for each in found.shown:
        latest = each is stacks[each.name][0]
        shown: dict[str, Any] = {"VersionId": each.version_id, "Owner": {"ID": OWNER}, "IsLatest": latest}
        if isinstance(each, FakeDeleteMarker):
            markers.append({"Key": each.name, "LastModified": each.last_modified_ISO8601, **shown})
        else:
            versions.append(_object(each) | shown)
    result = _common(asked, found) | {
        "Name": bucket.name,
        "KeyMarker": asked.marker,
        "VersionIdMarker": marked,
        "NextKeyMarker": getattr(found.last, "name", found.last) if found.truncated else None,
        "NextVersionIdMarker": getattr(found.last, "version_id", None) if found.truncated else None,
        "Versions": versions,
        "DeleteMarkers": markers,
    }
    return listed(call, result)


def _given_out(stack: list[Any], marked: str) -> list[Any]:
    """Of an object's versions, the newest first, those up to the marked one, which may be gone meanwhile."""
    place = next((number for number, each in enumerate(stack) if each.version_id == marked), None)
    if place is not None:
        return stack[: place + 1]
    return [each for each in stack if born(each.version_id) >= born(marked)]


@pages.answers("s3:ListBuckets")
def _buckets(call: BucketCall) -> Any:
    region, prefix = call.parameter("bucket-region"), call.parameter("prefix")
    most, token = call.parameter("max-buckets"), call.parameter("continuation-token")
    if region and not regions.known(region):
        raise invalid(f"Argument value {region} is not a valid AWS Region", "bucket-region")
    if most and not (re.fullmatch(r"[0-9]{1,5}", most) and 1 <= int(most) <= MOST_BUCKETS):
        message = f"Argument max-buckets must be an integer between 1 and {MOST_BUCKETS}"
        raise invalid(message, "max-buckets", most)
    mine = call.backend.list_buckets(prefix=prefix, bucket_region=region, max_buckets=None)
    behind = _name_of(token) if token else ""
    left = [each for each in sorted(mine, key=lambda each: each.name) if each.name > behind]
    shown = left[: int(most)] if most else left
    result: dict[str, Any] = {
        "Owner": {"ID": OWNER},
        "Buckets": [{"Name": each.name, "CreationDate": each.creation_date_ISO8601} for each in shown],
    }
    if len(shown) < len(left):
        result["ContinuationToken"] = _token(shown[-1].name)
    return serialized(call, result)
