"""S3: uploads in parts. Which parts make an object, what they are checked against, and what is told of them.

    checksum type    of what                           given to Complete
    COMPOSITE        of the checksums of all parts     with each part
    FULL_OBJECT      of the whole object               with the whole, if at all
    none asked for   CRC64NVME of the whole object     never

Source: S3 user guide, "Uploading and copying objects using multipart upload in Amazon S3", "Checking object
integrity for data uploads in Amazon S3"; S3 API reference, CompleteMultipartUpload; aws-facts (k).
"""

from __future__ import annotations

import base64
import datetime
import re
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any
from urllib.parse import quote

from moto.s3.models import OWNER, FakeKey, FakeMultipart

from awslabs.sandbox.core.checksums import DIGESTS
from awslabs.sandbox.core.engine import BucketCall, Proceed, Refused, before, memory, rule, state
from awslabs.sandbox.services.s3.checksums import (
    COMPOSITE,
    DEFAULT,
    FULL,
    HEADER,
    algorithm_of,
    encoded,
    look_at_algorithm,
    protect,
)
from awslabs.sandbox.services.s3.conditions import missing, source_of
from awslabs.sandbox.services.s3.documents import document, invalid, malformed
from awslabs.sandbox.services.s3.own_keys import OwnKey
from awslabs.sandbox.services.s3.pages import Listing, listed, natural, page
from awslabs.sandbox.services.s3.versions import allowed_bucket, asked_version, no_version, serialized, stored

LEAST = 5 * 1024**2
MOST_PARTS = 10_000
PAGE = 1000
ATTRIBUTES = {"ETag", "Checksum", "ObjectParts", "StorageClass", "ObjectSize"}
RANGE = "x-amz-copy-source-range"
NEVER = {("CRC64NVME", COMPOSITE), ("SHA1", FULL), ("SHA256", FULL)}
"""Algorithms and types that do not go together: only of CRCs can one of the whole be put together."""

uploads = rule(
    "uploads",
    """An upload keeps to the checksum that it began with: parts have it, Complete is checked against it, the
    object has it, of its parts or of the whole; else CRC64NVME. Errors of Complete name the part. moto takes
    all of it, has no checksums of parts, and one of another kind in the end. Source: aws-facts (k).""",
)


@state
@dataclass
class Protection:
    """The checksum that an upload began with, empty without one, and when that was."""

    algorithm: str = ""
    kind: str = ""
    begun: datetime.datetime = field(default_factory=lambda: datetime.datetime.now(datetime.timezone.utc))


# --- the beginning and the parts ----------------------------------------------------------------------


@uploads.around("s3:CreateMultipartUpload")
def _begin(call: BucketCall, proceed: Proceed) -> Any:
    algorithm, kind = call.header(HEADER + "algorithm").upper(), call.header(HEADER + "type").upper()
    if algorithm:
        look_at_algorithm(algorithm)
    if kind and not algorithm:
        message = "The x-amz-checksum-type header can only be used with the x-amz-checksum-algorithm header."
        raise Refused("InvalidRequest", message)
    if (algorithm, kind) in NEVER:
        message = f"The {kind} checksum type cannot be used with the {algorithm.lower()} checksum algorithm."
        raise Refused("InvalidRequest", message)
    status, headers, body = proceed()
    if status >= 300 or call.bucket is None:
        return status, headers, body
    protection = memory(list(call.bucket.multiparts.values())[-1], Protection)
    if algorithm:
        protection.algorithm = algorithm
        protection.kind = kind or (FULL if algorithm == DEFAULT else COMPOSITE)
        headers |= {HEADER + "algorithm": algorithm, HEADER + "type": protection.kind}
    return status, headers, body


@before("s3:UploadPart", "s3:UploadPartCopy", "s3:GetObject", "s3:HeadObject")
def parts_have_numbers(call: BucketCall) -> None:
    """A part has a number from 1 to 10,000: else InvalidArgument. moto says NoSuchUpload of lower ones.
    Source: aws-facts (k).
    """
    asked = call.response.querystring.get("partNumber", ["" if call.action.startswith("Upload") else "1"])[0]
    if not re.fullmatch(r"[0-9]{1,5}", asked) or not 0 < int(asked) <= MOST_PARTS:
        raise invalid("Part number must be an integer between 1 and 10000, inclusive", "partNumber", asked)


@uploads.around("s3:UploadPart", "s3:UploadPartCopy")
def _part(call: BucketCall, proceed: Proceed) -> Any:
    upload = call.upload
    wanted = memory(upload, Protection).algorithm if upload is not None else ""
    sent = algorithm_of(call)
    if wanted and sent and wanted != sent:
        kinds = f"expected checksum Type: {wanted.lower()}, actual checksum Type: {sent.lower()}"
        raise Refused("InvalidRequest", f"Checksum Type mismatch occurred, {kinds}")
    status, headers, body = proceed()
    if status >= 300 or upload is None:
        return status, headers, body
    part = upload.parts[int(call.response.querystring["partNumber"][0])]
    headers = {name: value for name, value in headers.items() if not name.lower().startswith(HEADER)}
    if wanted:
        part.checksum_algorithm, part.checksum_value = wanted, encoded(wanted, part.value)
    if call.action == "UploadPartCopy" and wanted:
        text = body.decode() if isinstance(body, bytes) else body
        shown = f"<Checksum{wanted}>{part.checksum_value}</Checksum{wanted}></CopyPartResult>"
        body = text.replace("</CopyPartResult>", shown)
    elif algorithm := wanted or sent:
        headers[HEADER + algorithm.lower()] = encoded(algorithm, part.value)
    return status, headers, body


@before("s3:UploadPartCopy")
def copied_ranges_are_whole(call: BucketCall) -> None:
    """A range of a source is `bytes=first-last` and lies within it: else InvalidArgument, or InvalidRequest
    where it begins behind the end. moto takes what it does not understand for all of it.
    Source: aws-facts (k).
    """
    source = source_of(call)
    text = call.header(RANGE)
    if not text:
        return
    match = re.fullmatch(r"bytes=(\d+)-(\d+)", text)
    if match is None or int(match[1]) > int(match[2]):
        message = (
            f"The {RANGE} value must be of the form bytes=first-last where first and last are the zero-based "
            "offsets of the first and last bytes to copy"
        )
        raise invalid(message, RANGE, text)
    if source is not None and int(match[1]) >= source.size:
        raise Refused("InvalidRequest", "The specified copy range is invalid for the source object size")
    if source is not None and int(match[2]) >= source.size:
        raise invalid(f"Range specified is not valid for source object of size: {source.size}", RANGE, text)


@uploads.answers("s3:ListParts")
def _parts(call: BucketCall) -> Any:
    upload = call.upload
    allowed_bucket(call, "s3:ListMultipartUploadParts", call.key)
    assert upload is not None, "uploads_are_there has looked"
    behind = natural(call.parameter("part-number-marker"), "part-number-marker", "partNumberMarker", 0)
    most = natural(call.parameter("max-parts"), "max-parts", "maxParts", PAGE)
    owner = {"ID": OWNER}
    result = {
        "Bucket": call.name,
        "Key": call.key,
        "UploadId": upload.id,
        "StorageClass": upload.storage,
        "Initiator": owner | {"DisplayName": "webfile"},
        "Owner": owner,
    }
    page = _page_of_parts(upload, behind, min(most, PAGE))
    for shown in page["Parts"]:
        part = upload.parts[shown["PartNumber"]]
        shown |= {"ETag": part.etag, "LastModified": part.last_modified_ISO8601}
    return serialized(call, result | page | _kind(upload))


def _page_of_parts(upload: FakeMultipart, behind: int, most: int) -> dict[str, Any]:
    """So many parts behind one, and where the next page begins."""
    left = [number for number in upload.partlist if number > behind]
    shown = left[:most]
    return {
        "PartNumberMarker": behind,
        "NextPartNumberMarker": shown[-1] if shown else 0,
        "MaxParts": most,
        "IsTruncated": len(shown) < len(left),
        "Parts": [_shown(upload.parts[number], number) for number in shown],
    }


def _shown(part: FakeKey, number: int) -> dict[str, Any]:
    shown: dict[str, Any] = {"PartNumber": number, "Size": part.size}
    if part.checksum_value:
        shown[f"Checksum{part.checksum_algorithm}"] = part.checksum_value
    return shown


@uploads.answers("s3:ListMultipartUploads")
def _begun(call: BucketCall) -> Any:
    bucket = allowed_bucket(call, "s3:ListBucketMultipartUploads")
    marker = call.parameter("key-marker")
    most = min(natural(call.parameter("max-uploads"), "max-uploads", "maxUploads", PAGE), PAGE)
    asked = Listing(call.parameter("prefix"), call.parameter("delimiter"), marker, most)
    marked = call.parameter("upload-id-marker") if marker else ""
    things = [SimpleNamespace(name=each.key_name, upload=each) for each in bucket.multiparts.values()]
    things.sort(key=lambda each: each.name)  # those of one key stay in the order in which they were begun
    of_key = [each.upload.id for each in things if each.name == marker]
    if marked and marked not in of_key:
        raise invalid("Invalid uploadId marker", "upload-id-marker", marked)
    given = of_key[: of_key.index(marked) + 1] if marked else of_key

    def passed(thing: Any) -> bool:
        return bool(thing.name < marker or thing.upload.id in given)

    found = page(things, asked, passed)
    last = found.last if isinstance(found.last, SimpleNamespace) else None
    owner = {"ID": OWNER}
    result: dict[str, Any] = {
        "Bucket": bucket.name,
        "Prefix": asked.prefix or None,
        "Delimiter": asked.delimiter or None,
        "KeyMarker": marker,
        "UploadIdMarker": marked,
        "NextKeyMarker": last.name if last else "",
        "NextUploadIdMarker": last.upload.id if last else "",
        "MaxUploads": most,
        "IsTruncated": found.truncated,
        "CommonPrefixes": [{"Prefix": each} for each in found.prefixes],
        "Uploads": [
            {
                "Key": each.name,
                "UploadId": each.upload.id,
                "Initiated": memory(each.upload, Protection).begun,
                "StorageClass": each.upload.storage,
                "Owner": owner,
                "Initiator": owner | {"DisplayName": "webfile"},
                **_kind(each.upload),
            }
            for each in found.shown
        ],
    }
    return listed(call, result)


def _kind(upload: FakeMultipart) -> dict[str, str]:
    """The checksum that an upload began with, as lists show it."""
    kept = memory(upload, Protection)
    return {"ChecksumAlgorithm": kept.algorithm, "ChecksumType": kept.kind} if kept.algorithm else {}


# --- the end ------------------------------------------------------------------------------------------


@uploads.around("s3:CompleteMultipartUpload")
def _complete(call: BucketCall, proceed: Proceed) -> Any:
    upload = call.upload
    if upload is None:
        return proceed()  # it is done already, or was never there
    parts = document(call).get("Parts", [])
    if not all({"PartNumber", "ETag"} <= each.keys() for each in parts):
        raise malformed()
    protection = memory(upload, Protection)
    _look_at_parts(upload, parts)
    _look_at_checksums(call, upload, protection, parts)
    status, headers, body = proceed()
    key = stored(call) if status < 300 else None
    if key is None:
        return status, headers, body
    used = [each["PartNumber"] for each in parts]
    upload.parts, upload.partlist = {number: upload.parts[number] for number in used}, used
    for each in parts:
        if f"Checksum{protection.algorithm}" not in each:
            upload.parts[each["PartNumber"]].checksum_value = None
    if protection.kind == COMPOSITE:
        digests = b"".join(base64.b64decode(upload.parts[number].checksum_value or "") for number in used)
        key.checksum_algorithm, key.checksum_type = protection.algorithm, COMPOSITE
        key.checksum_value = f"{encoded(protection.algorithm, digests)}-{len(used)}"
    elif protection.algorithm or not memory(upload, OwnKey).md5:
        protect(key, protection.algorithm or DEFAULT)
    else:
        key.checksum_algorithm = key.checksum_value = key.checksum_type = None
    result = {
        "Location": f"http://{call.name}.s3.amazonaws.com/{quote(call.key)}",
        "Bucket": call.name,
        "Key": call.key,
        "ETag": key.etag,
        **_checksum(key),
    }
    return status, headers, serialized(call, result)[2]


def _checksum(key: FakeKey) -> dict[str, Any]:
    if not key.checksum_value:
        return {}
    return {f"Checksum{key.checksum_algorithm}": key.checksum_value, "ChecksumType": key.checksum_type}


def _look_at_parts(upload: FakeMultipart, parts: list[dict[str, Any]]) -> None:
    """Refuse an order that is none, parts that are not there, and small ones before the last."""
    numbers = [each["PartNumber"] for each in parts]
    if numbers != sorted(set(numbers)):
        message = "The list of parts was not in ascending order. Parts must be ordered by part number."
        raise Refused("InvalidPartOrder", message, UploadId=upload.id)
    for each in parts:
        part = upload.parts.get(each["PartNumber"])
        if part is None or part.etag.strip('"') != each["ETag"].strip('"'):
            raise _invalid_part(upload, each)
    for each in parts[:-1]:
        part = upload.parts[each["PartNumber"]]
        if part.size < LEAST:
            message = "Your proposed upload is smaller than the minimum allowed size"
            more = {"ETag": part.etag.strip('"'), "MinSizeAllowed": str(LEAST)}
            more |= {"PartNumber": str(each["PartNumber"]), "ProposedSize": str(part.size)}
            raise Refused("EntityTooSmall", message, **more)


def _invalid_part(upload: FakeMultipart, each: dict[str, Any]) -> Refused:
    message = (
        "One or more of the specified parts could not be found.  The part may not have been uploaded, or the "
        "specified entity tag may not match the part's entity tag."
    )
    more = {"PartNumber": str(each["PartNumber"]), "ETag": each["ETag"].strip('"'), "UploadId": upload.id}
    return Refused("InvalidPart", message, **more)


def _look_at_checksums(
    call: BucketCall, upload: FakeMultipart, protection: Protection, parts: list[dict[str, Any]]
) -> None:
    """Refuse what does not fit the checksum that the upload began with, or the size of the whole."""
    kind, own = call.header(HEADER + "type").upper(), protection.algorithm
    if kind and kind != protection.kind:
        message = (
            f"The upload was created using the {protection.kind or 'null'} checksum mode. The complete "
            "request must use the same checksum mode."
        )
        raise Refused("InvalidRequest", message)
    for each in parts:
        part = upload.parts[each["PartNumber"]]
        given = {name for name in DIGESTS if f"Checksum{name}" in each}
        if own and given - {own}:
            other = min(given - {own}).lower()
            message = (
                f"The {other} you specified for part {each['PartNumber']} did not match what we received."
            )
            raise Refused("BadDigest", message)
        if given and (not own or each[f"Checksum{own}"] != part.checksum_value):
            raise _invalid_part(upload, each)
        if protection.kind == COMPOSITE and not given:
            message = (
                f"The upload was created using a {own.lower()} checksum. The complete request must include "
                f"the checksum for each part. It was missing for part {each['PartNumber']} in the request."
            )
            raise Refused("InvalidRequest", message)
    whole = b"".join(upload.parts[each["PartNumber"]].value for each in parts)
    sent = {name: value for name in DIGESTS if (value := call.header(HEADER + name.lower()))}
    if protection.kind == FULL and sent and (not kind or sent != {own: encoded(own, whole)}):
        raise Refused("BadDigest", f"The {own.lower()} you specified did not match the calculated checksum.")
    size = call.header("x-amz-mp-object-size")
    if size and size != str(len(whole)):
        message = (
            f"The provided 'x-amz-mp-object-size' header value {size} does not match what was computed: "
        )
        raise Refused("InvalidRequest", message + str(len(whole)))


# --- what is told of an object -------------------------------------------------------------------------


@uploads.answers("s3:GetObjectAttributes")
def _attributes(call: BucketCall) -> Any:
    bucket = allowed_bucket(call, "s3:GetObjectAttributes", call.key)
    version_id = asked_version(call)
    key = stored(call, version_id)
    if key is None:
        raise missing(call.key) if version_id is None else no_version(call.key, version_id)
    wanted = {each.strip() for each in call.header("x-amz-object-attributes").split(",")}
    if not wanted <= ATTRIBUTES:
        raise Refused("InvalidArgument", "Invalid attribute name specified.")
    checksum = _checksum(key)
    if key.checksum_type == COMPOSITE:
        checksum[f"Checksum{key.checksum_algorithm}"] = str(key.checksum_value).rpartition("-")[0]
    told = {
        "ETag": key.etag.strip('"'),
        "Checksum": checksum or None,
        "ObjectParts": _parts_told(call, key),
        "StorageClass": key.storage_class,
        "ObjectSize": key.size,
    }
    shown = {name: value for name, value in told.items() if name in wanted and value is not None}
    status, headers, body = serialized(call, shown | {"LastModified": key.last_modified})
    headers |= call.response._get_cors_headers_other()
    if bucket.versioning_status:
        headers["x-amz-version-id"] = key.version_id
    return status, headers, body.replace(b"GetObjectAttributesOutput", b"GetObjectAttributesResponse")


def _parts_told(call: BucketCall, key: FakeKey) -> dict[str, Any] | None:
    """How many parts an object came in; where its checksum is of them, each."""
    if key.multipart is None:
        return None
    count = {"TotalPartsCount": len(key.multipart.partlist)}
    if key.checksum_type != COMPOSITE:
        return count
    marker, size = "x-amz-part-number-marker", "x-amz-max-parts"
    behind = natural(call.header(marker), marker, marker, 0)
    most = natural(call.header(size), size, size, PAGE)
    return count | _page_of_parts(key.multipart, behind, most)
