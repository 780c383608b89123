"""S3: members of answers that AWS sends and moto does not, and the one that AWS does not send any more."""

from __future__ import annotations

import re
from typing import Any

from awslabs.sandbox.core.engine import BucketCall, Proceed, around
from awslabs.sandbox.services.s3.checksums import COMPOSITE, FULL

_LISTED = re.compile(
    rb"(<Buckets>.*</Buckets>|<Buckets\s*/>)(<Owner>.*?</Owner>)"
    rb"|(<(?:Contents|Version|DeleteMarker)>.*</(?:Contents|Version|DeleteMarker)>)(.*?)"
    rb"(?=<CommonPrefixes>|</List(?:Bucket|Versions)Result>)",
    re.DOTALL,
)


@around("s3:*")
def lists_say_more(call: BucketCall, proceed: Proceed) -> Any:
    """Owners are shown by their id alone; lists of buckets have ARNs, and Regions where a list was narrowed
    down; checksums say of what they are one. moto leaves that out and has a DisplayName.
    Source: aws-facts (k).
    """
    response: Any = call.response
    to_bytes = response.serialized  # moto makes bytes of its answer before it comes here

    def serialized(answer: Any) -> Any:
        if isinstance(answer.result, dict):
            _complete(response, answer.result)
        return to_bytes(answer)

    response.serialized = serialized
    return proceed()


def _complete(response: Any, result: dict[str, Any]) -> None:
    """Put into moto's answer what AWS's has."""
    asked = response.querystring
    if "Buckets" in result:
        narrowed = {"prefix", "bucket-region", "max-buckets"} & asked.keys()
        if "prefix" in asked:
            result["Prefix"] = asked["prefix"][0]
        for shown in result["Buckets"]:
            shown["BucketArn"] = f"arn:{response.partition}:s3:::{shown['Name']}"
            if narrowed:
                shown["BucketRegion"] = response.backend.get_bucket(shown["Name"]).region_name
    for part in ("CopyObjectResult", "Checksum"):
        shown = result.get(part)
        if isinstance(shown, dict) and not shown.get("ChecksumType"):
            values = [shown[name] for name in shown if name.startswith("Checksum") and shown[name]]
            shown |= {"ChecksumType": _type_of(values[0])} if values else {}
    _without_names(result)


def _without_names(value: Any) -> None:
    """Owners have an id alone, since 2025-11."""
    if isinstance(value, dict):
        for name, inner in value.items():
            if name == "Owner" and isinstance(inner, dict):
                inner.pop("DisplayName", None)
            else:
                _without_names(inner)
    elif isinstance(value, list):
        for inner in value:
            _without_names(inner)


def _type_of(value: Any) -> str:
    """Whether a checksum is of an object or of its parts, which are counted at its end."""
    text = value.decode() if isinstance(value, bytes) else str(value)
    return COMPOSITE if re.search(r"-\d+$", text) else FULL


@around("s3:ListBuckets", "s3:ListObjects", "s3:ListObjectsV2", "s3:ListObjectVersions")
def heads_come_first(call: BucketCall, proceed: Proceed) -> Any:
    """The owner stands before the buckets, and the name before the objects, as the SDK for Java reads
    in order. moto writes them as botocore's model has them. Source: aws-facts (k).
    """
    status, headers, body = proceed()
    return status, headers, _LISTED.sub(rb"\2\1\4\3", body if isinstance(body, bytes) else body.encode())


@around("s3:CreateBucket", "s3:HeadBucket")
def new_buckets_have_an_arn(call: BucketCall, proceed: Proceed) -> Any:
    """CreateBucket and HeadBucket answer with the bucket's ARN, the latter says that it is no access point's
    alias, the former where a bucket of another Region is. moto does not. Source: aws-facts (k).
    """
    status, headers, body = proceed()
    if status < 300:
        headers["x-amz-bucket-arn"] = f"arn:{call.partition}:s3:::{call.name}"
        if call.action == "HeadBucket":
            headers["x-amz-access-point-alias"] = "false"
        elif "<LocationConstraint>" in str(call.response.body):
            headers["location"] = f"http://{call.name}.s3.amazonaws.com/"
    return status, headers, body


@around("s3:ListObjects", "s3:ListObjectsV2")
def lists_say_where_the_bucket_is(call: BucketCall, proceed: Proceed) -> Any:
    """A list of objects comes with the Region of its bucket. moto leaves it out. Source: aws-facts (k)."""
    status, headers, body = proceed()
    if status < 300:
        headers["x-amz-bucket-region"] = call.backend.get_bucket(call.name).region_name
    return status, headers, body


@around("s3:CreateMultipartUpload", "s3:UploadPart", "s3:UploadPartCopy")
def parts_are_encrypted(call: BucketCall, proceed: Proceed) -> Any:
    """Answers of an upload in parts say how it is encrypted: as it was asked for, or AES256. moto says so of
    whole objects alone. Source: aws-facts (k).
    """
    status, headers, body = proceed()
    own = "x-amz-server-side-encryption-customer-algorithm" in call.response.headers
    if status < 300 and not own:
        name = "x-amz-server-side-encryption"
        upload = call.upload
        asked = call.response.headers.get(name) or (upload and upload.sse_encryption)
        headers.setdefault(name, asked or "AES256")
    return status, headers, body


@around("s3:PutBucketPolicy")
def policies_leave_nothing_to_say(call: BucketCall, proceed: Proceed) -> Any:
    """PutBucketPolicy answers 204. moto: 200. Source: aws-facts (k)."""
    status, headers, body = proceed()
    return 204 if status == 200 else status, headers, body
