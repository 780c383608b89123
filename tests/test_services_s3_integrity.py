"""Digests, places of buckets, and deletions that are quiet."""

from __future__ import annotations

import base64
import hashlib
import zlib
from typing import Any

import pytest
from test_services_support import Case, check, client, cloud, refused, said, table

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


def deleted(quiet: bool) -> list[str]:
    aws, name = client("s3"), bucket()
    for key in ("a", "b"):
        aws.put_object(Bucket=name, Key=key, Body=b"x")
    wanted: dict[str, Any] = {"Quiet": quiet, "Objects": [{"Key": "a"}, {"Key": "<b"}]}
    gone = aws.delete_objects(Bucket=name, Delete=wanted)
    left = [each["Key"] for each in aws.list_objects_v2(Bucket=name)["Contents"]]
    return [each["Key"] for each in gone.get("Deleted", [])] + left


def quietly() -> list[str]:
    return deleted(True)


@table(
    Case("digests_are_compared", another_md5, "ok", "BadDigest"),
    Case("digests_are_compared", no_md5, "ok", "InvalidDigest"),
    Case("digests_are_compared", another_crc32, "ok", "BadDigest"),
    Case("digests_are_compared", no_sha256, "ok", "InvalidRequest"),
    Case("buckets_are_somewhere", a_place_that_is_none, "ok", "InvalidLocationConstraint"),
    Case("quiet_deletions", quietly, ["a", "<b", "b"], ["b"]),
)
def test_aws_is_stricter_than_moto(case: Case) -> None:
    check(case)


@pytest.mark.parametrize("body", [b"", b"x", bytes(range(256)) * 500])
def test_right_digests_pass(body: bytes) -> None:
    digests = {
        "ContentMD5": hashlib.md5(body).digest(),
        "ChecksumSHA256": hashlib.sha256(body).digest(),
        "ChecksumSHA1": hashlib.sha1(body).digest(),
        "ChecksumCRC32": zlib.crc32(body).to_bytes(4, "big"),
    }
    with cloud(every=True):
        aws, name = client("s3"), bucket()
        for field, digest in digests.items():
            given = {field: base64.b64encode(digest).decode()}
            aws.put_object(Bucket=name, Key=field, Body=body, **given)
            assert aws.get_object(Bucket=name, Key=field)["Body"].read() == body


def test_who_is_not_quiet_hears_what_was_deleted() -> None:
    with cloud(every=True):
        assert deleted(False) == ["a", "<b", "b"]


def test_a_wrong_digest_is_told_in_the_words_of_aws() -> None:
    with cloud(every=True):
        aws, name = client("s3"), bucket()
        wrong = {"Bucket": name, "Key": "k", "Body": b"x", "ChecksumCRC32": "AAAAAA=="}
        says = "The CRC32 you specified did not match the calculated checksum."
        assert refused(aws.put_object, **wrong) == ("BadDigest", says, 400)
        assert said(aws.head_object, Bucket=name, Key="k") == "404"
        where = {"LocationConstraint": "eu-west-1"}
        assert said(aws.create_bucket, Bucket="awslabs-eu", CreateBucketConfiguration=where) == "ok"
