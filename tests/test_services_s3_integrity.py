"""Digests, places of buckets, and deletions that are quiet."""

from __future__ import annotations

import base64
import hashlib
from typing import Any

import pytest
from botocore.exceptions import ClientError
from test_services_support import Case, check, client, cloud, refused, said, table

from awslabs.sandbox.core.checksums import DIGESTS
from awslabs.sandbox.services.s3 import integrity  # noqa: F401  (what is tested here)

NONE = base64.b64encode(bytes(16)).decode()


def bucket() -> str:
    client("s3").create_bucket(Bucket="awslabs-integrity")
    return "awslabs-integrity"


def put(**digest: str) -> str:
    return said(client("s3").put_object, Bucket=bucket(), Key="k", Body=b"x", **digest)


def another_md5() -> str:
    return put(ContentMD5=NONE)


def no_md5() -> str:
    return put(ContentMD5="nonsense")


def another_crc32() -> str:
    return put(ChecksumCRC32=base64.b64encode(bytes(4)).decode())


def no_sha256() -> str:
    return put(ChecksumSHA256="nonsense")


def a_place_that_is_none() -> str:
    where = {"LocationConstraint": "foo"}
    return said(client("s3").create_bucket, Bucket="awslabs-foo", CreateBucketConfiguration=where)


@table(
    Case("digests_are_compared", another_md5, "ok", "BadDigest"),
    Case("digests_are_compared", no_md5, "ok", "InvalidDigest"),
    Case("digests_are_compared", another_crc32, "ok", "BadDigest"),
    Case("digests_are_compared", no_sha256, "ok", "InvalidRequest"),
    Case("buckets_are_somewhere", a_place_that_is_none, "ok", "InvalidLocationConstraint"),
)
def test_aws_is_stricter_than_moto(case: Case) -> None:
    check(case)


@pytest.mark.parametrize("body", [b"", b"x", bytes(range(256)) * 500])
def test_right_digests_pass(body: bytes) -> None:
    digests = {
        "ContentMD5": hashlib.md5(body).digest(),
        **{f"Checksum{name}": digest(body) for name, digest in DIGESTS.items()},
    }
    with cloud(every=True):
        aws, name = client("s3"), bucket()
        for field, digest in digests.items():
            given = {field: base64.b64encode(digest).decode()}
            aws.put_object(Bucket=name, Key=field, Body=body, **given)
            assert aws.get_object(Bucket=name, Key=field)["Body"].read() == body


def test_a_wrong_digest_is_told_in_the_words_of_aws() -> None:
    with cloud(every=True):
        aws, name = client("s3"), bucket()
        wrong = {"Bucket": name, "Key": "k", "Body": b"x", "ChecksumCRC32": "AAAAAA=="}
        says = "The CRC32 you specified did not match the calculated checksum."
        assert refused(aws.put_object, **wrong) == ("BadDigest", says, 400)
        assert said(aws.head_object, Bucket=name, Key="k") == "404"
        where = {"LocationConstraint": "eu-west-1"}
        assert said(aws.create_bucket, Bucket="awslabs-eu", CreateBucketConfiguration=where) == "ok"


def test_an_upload_that_nobody_began_and_one_without_parts() -> None:
    with cloud(every=True):
        s3, name = client("s3"), bucket()
        asked: dict[str, Any] = {"Bucket": name, "Key": "k", "UploadId": "fakeid"}
        for method, more in (
            (s3.upload_part, {"PartNumber": 1, "Body": b"x"}),
            (s3.complete_multipart_upload, {}),
            (s3.abort_multipart_upload, {}),
            (s3.list_parts, {}),
        ):
            assert refused(method, **asked, **more)[::2] == ("NoSuchUpload", 404)
        asked["UploadId"] = s3.create_multipart_upload(Bucket=name, Key="k")["UploadId"]
        assert refused(s3.complete_multipart_upload, **asked)[:2] == (
            "InvalidRequest",
            "You must specify at least one part",
        )
        assert said(s3.abort_multipart_upload, **asked) == "ok"


def test_a_source_is_a_bucket_and_a_key() -> None:
    with cloud(every=True):
        s3, name = client("s3"), bucket()
        s3.put_object(Bucket=name, Key="k", Body=b"x")
        assert said(s3.copy_object, Bucket=name, Key="d", CopySource="wrong") == "InvalidArgument"
        assert said(s3.copy_object, Bucket=name, Key="d", CopySource=f"{name}/k") == "ok"


def test_an_upload_that_is_done_is_completed_again() -> None:
    with cloud(every=True):
        s3, name = client("s3"), bucket()
        asked: dict[str, Any] = {"Bucket": name, "Key": "k"}
        asked["UploadId"] = s3.create_multipart_upload(**asked)["UploadId"]
        tag = s3.upload_part(**asked, PartNumber=1, Body=b"x")["ETag"]
        parts = {"Parts": [{"PartNumber": 1, "ETag": tag}]}
        first = s3.complete_multipart_upload(**asked, MultipartUpload=parts)["ETag"]
        assert s3.complete_multipart_upload(**asked, MultipartUpload=parts)["ETag"] == first
        assert said(s3.list_parts, **asked) == "NoSuchUpload"


def test_a_wrong_md5_is_told_with_the_right_one() -> None:
    with cloud(every=True):
        s3, asked = client("s3"), {"Bucket": bucket(), "Key": "k", "Body": b"something"}
        with pytest.raises(ClientError) as caught:
            s3.put_object(**asked, ContentMD5="MTIz")
        assert caught.value.response["Error"]["Content-MD5"] == "MTIz"
        upload = s3.create_multipart_upload(Bucket=asked["Bucket"], Key="k")["UploadId"]
        for method, more, expected in (
            (s3.put_object, {}, "0" * 32),
            (s3.upload_part, {"UploadId": upload, "PartNumber": 1}, NONE),
        ):
            with pytest.raises(ClientError) as caught:
                method(**asked, **more, ContentMD5=NONE)
            shown = caught.value.response["Error"]
            assert shown["ExpectedDigest"] == expected
            assert shown["CalculatedDigest"] == "Q3uTDbhLgHnC3YBKcZNrXw=="


def test_a_body_comes_with_one_checksum() -> None:
    with cloud(every=True):
        digests = {
            f"Checksum{name}": base64.b64encode(DIGESTS[name](b"x")).decode() for name in ("SHA1", "SHA256")
        }
        says = "Expecting a single x-amz-checksum- header. Multiple checksum Types are not allowed."
        asked = {"Bucket": bucket(), "Key": "k", "Body": b"x"} | digests
        assert refused(client("s3").put_object, **asked)[:2] == ("InvalidRequest", says)
