"""S3: GetObject and HeadObject, which is the same without a body.

    which version -> does the request's condition hold -> all, a range, or a part of it -> headers

Source: S3 API reference, GetObject, HeadObject; RFC 9110, "Range Requests"; aws-facts (k).
"""

from __future__ import annotations

import re
import uuid
from typing import Any

from moto.core.utils import iso_8601_datetime_without_milliseconds_s3
from moto.s3.exceptions import InvalidObjectState
from moto.s3.models import FakeBucket, FakeDeleteMarker, FakeKey
from moto.s3.responses import ALLOWED_HEADER_OVERRIDES
from moto.s3.utils import ARCHIVE_STORAGE_CLASSES

from awslabs.sandbox.core import wire
from awslabs.sandbox.core.engine import ASKED, BucketCall, Refused, answers
from awslabs.sandbox.services.s3.checksums import HEADER, headers_of
from awslabs.sandbox.services.s3.conditions import CHANGES, failed, missing, unmet
from awslabs.sandbox.services.s3.versions import allowed_bucket, asked_version, found, no_method, no_version

_RANGE = re.compile(r"bytes=(\d*)-(\d*)")
_OURS = re.compile(r"(?!x-amz-(meta-|website-redirect-location))x-amz-", re.IGNORECASE)
"""What moto keeps among the headers of an object that its sender chose."""


@answers("s3:GetObject", "s3:HeadObject")
def reading(call: BucketCall) -> Any:
    """A delete marker is told from a key that is not there by x-amz-delete-marker: 404, and 405 where its
    version is asked for. A part of an upload, and a range, are given out alone, with the checksum of a part
    or of all. Conditions are looked at in the order of the RFC. moto gives all for a part, stumbles over
    ranges and says nothing of a marker. Source: aws-facts (k).
    """
    bucket = allowed_bucket(call, "s3:GetObject", call.key)
    call.backend.log_incoming_request(call.request, call.name)
    version_id = asked_version(call)
    key = found(bucket, call.key, version_id)
    if isinstance(key, FakeDeleteMarker):
        return _marker(call, key, version_id)
    if key is None and version_id is not None:
        raise no_version(call.key, version_id)
    if key is None:
        raise missing(call.key)
    key.advance()
    if call.action == "GetObject" and _is_archived(key):
        raise InvalidObjectState(storage_class=key.storage_class)
    return _answer(call, bucket, key)


def _marker(call: BucketCall, marker: FakeDeleteMarker, version_id: str | None) -> Any:
    """What is said of a delete marker; its headers tell it from a key that was never there."""
    headers = {"x-amz-delete-marker": "true", "x-amz-version-id": marker.version_id}
    request = call.response.request
    refused = missing(marker.name) if version_id is None else no_method(request.method)
    if version_id is not None:
        headers |= {
            "allow": "DELETE",
            "last-modified": iso_8601_datetime_without_milliseconds_s3(marker.last_modified) or "",
        }
    asked, request_id = request.environ[ASKED], str(uuid.uuid4())
    status, more, body = wire.error(
        asked, refused.code, refused.message, request_id, refused.status, **refused.more
    )
    return status, more | headers, b"" if call.action == "HeadObject" else body


def _is_archived(key: FakeKey) -> bool:
    restored = 'ongoing-request="false"' in key.response_dict.get("x-amz-restore", "")
    return key.storage_class in ARCHIVE_STORAGE_CLASSES and not restored


def _answer(call: BucketCall, bucket: FakeBucket, key: FakeKey) -> Any:
    response = call.response
    headers = response._get_cors_headers_other() | _headers(bucket, key)
    condition = failed(key, response.headers)
    if condition in CHANGES:
        gone = {name for name in headers if name.lower().startswith("content-")}
        return 304, {name: value for name, value in headers.items() if name not in gone}, ""
    if condition:
        raise unmet(condition)
    for parameter, name in ALLOWED_HEADER_OVERRIDES.items():
        if parameter in response.querystring:
            headers = {each: value for each, value in headers.items() if each.lower() != name.lower()}
            headers[name] = response.querystring[parameter][0]
    status, begin, end, checksum = _wanted(call, key)
    mode = call.header("x-amz-checksum-mode") or call.parameter("x-amz-checksum-mode")
    headers |= checksum if mode.upper() == "ENABLED" else {}
    headers["content-length"] = str(end - begin)
    if status == 206:
        headers["content-range"] = f"bytes {begin}-{end - 1}/{key.size}"
    if "partNumber" in response.querystring and key.multipart is not None:
        headers["x-amz-mp-parts-count"] = str(len(key.multipart.partlist))
    return status, headers, "" if call.action == "HeadObject" else key.value[begin:end]


def _headers(bucket: FakeBucket, key: FakeKey) -> dict[str, str]:
    """All that an object has to say of itself, but its checksum."""
    said = {name: value for name, value in key.metadata.items() if not _OURS.match(name)}
    said |= key.response_dict | {"Accept-Ranges": "bytes"}
    said.pop("x-amz-sdk-checksum-algorithm", None)
    said.pop("x-amz-version-id", None)
    if bucket.versioning_status:
        said["x-amz-version-id"] = key.version_id
    return said


def _wanted(call: BucketCall, key: FakeKey) -> tuple[int, int, int, dict[str, str]]:
    """What of an object is asked for: the status, from where to where, and the checksum of that."""
    part, ranged = call.parameter("partNumber"), call.header("Range")
    if part and ranged:
        raise Refused("InvalidRequest", "Cannot specify both Range header and partNumber query parameter")
    if part:
        return 206 if key.size else 200, *_part(key, int(part))
    match = _RANGE.fullmatch(ranged)
    if match is None or not any(match.groups()) or (all(match.groups()) and int(match[1]) > int(match[2])):
        return 200, 0, key.size, headers_of(key)  # what is no range means nothing
    begin = int(match[1]) if match[1] else max(0, key.size - int(match[2]))
    end = min(key.size, int(match[2]) + 1) if match[1] and match[2] else key.size
    if begin >= key.size:
        more = {"RangeRequested": ranged, "ActualObjectSize": str(key.size)}
        raise Refused("InvalidRange", "The requested range is not satisfiable", **more)
    return 206, begin, end, headers_of(key) if end - begin == key.size else {}


def _part(key: FakeKey, number: int) -> tuple[int, int, dict[str, str]]:
    """From where to where a part goes, and its own checksum; what came in one piece is one part."""
    parts = [key.multipart.parts[each] for each in key.multipart.partlist] if key.multipart else [key]
    if not 0 < number <= len(parts):
        more = {"PartNumberRequested": str(number), "ActualPartCount": str(len(parts))}
        raise Refused("InvalidPartNumber", "The requested partnumber is not satisfiable", 416, **more)
    begin = sum(each.size for each in parts[: number - 1])
    checksum = headers_of(parts[number - 1])
    if checksum and key.checksum_type:
        checksum[HEADER + "type"] = key.checksum_type
    return begin, begin + parts[number - 1].size, checksum
