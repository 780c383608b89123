"""Objects that are read: markers, ranges, parts, conditions, checksums. moto alone, then with the rule."""

from __future__ import annotations

import base64
import datetime
from typing import Any

import pytest
from botocore.exceptions import ClientError
from test_services_support import Case, check, client, cloud, refused, said, table

from awslabs.sandbox.core.checksums import DIGESTS
from awslabs.sandbox.services.s3 import checksums, conditions, reading  # noqa: F401  (what is tested here)

NAME, KEY, BODY = "lab-reading", "k", b"0123456789"
OF_ONE = {"Bucket": NAME, "Key": KEY}
DAY = datetime.timedelta(days=1)


def stored(body: bytes = BODY, **more: Any) -> Any:
    s3 = client("s3")
    s3.create_bucket(Bucket=NAME)
    s3.put_object(**OF_ONE, Body=body, **more)
    return s3


def versioned() -> Any:
    s3 = client("s3")
    s3.create_bucket(Bucket=NAME)
    s3.put_bucket_versioning(Bucket=NAME, VersioningConfiguration={"Status": "Enabled"})
    return s3


def in_two_parts() -> Any:
    """5 MiB of `a` and three `b`, as two parts."""
    s3 = client("s3")
    s3.create_bucket(Bucket=NAME)
    upload = {**OF_ONE, "UploadId": s3.create_multipart_upload(**OF_ONE)["UploadId"]}
    tags = [
        s3.upload_part(**upload, PartNumber=number, Body=body)["ETag"]
        for number, body in ((2, b"a" * 5 * 1024**2), (4, b"bbb"))
    ]
    parts = [{"PartNumber": number, "ETag": tag} for number, tag in zip((2, 4), tags, strict=True)]
    s3.complete_multipart_upload(**upload, MultipartUpload={"Parts": parts})
    return s3


def problem(method: Any, **asked: Any) -> dict[str, Any]:
    """An error's members and some of its headers."""
    with pytest.raises(ClientError) as caught:
        method(**asked)
    answer = caught.value.response
    headers = answer["ResponseMetadata"]["HTTPHeaders"]
    kept = {
        name: headers[name]
        for name in ("x-amz-delete-marker", "x-amz-version-id", "allow")
        if name in headers
    }
    return {**kept, **answer["Error"], "status": answer["ResponseMetadata"]["HTTPStatusCode"]}


def a_range_that_is_none() -> str:
    return said(stored().get_object, **OF_ONE, Range="0-1")


def the_second_part() -> int:
    return int(in_two_parts().get_object(**OF_ONE, PartNumber=2)["ContentLength"])


def a_marker() -> str:
    s3 = versioned()
    version = s3.delete_object(**OF_ONE).get("VersionId", "none")
    return said(s3.get_object, **OF_ONE, VersionId=version)


def a_date_to_come() -> str:
    later = datetime.datetime.now(datetime.timezone.utc) + DAY
    return said(stored().get_object, **OF_ONE, IfModifiedSince=later)


def no_match_of_an_etag() -> str:
    return said(stored().put_object, **OF_ONE, Body=b"", IfNoneMatch='"abc"')


def deletion_by_size() -> str:
    return said(stored().delete_object, **OF_ONE, IfMatchSize=10)


def copy_of_what_changed() -> str:
    s3 = stored()
    asked = {"Bucket": NAME, "Key": "d", "CopySource": f"{NAME}/{KEY}"}
    return said(s3.copy_object, **asked, CopySourceIfMatch='"abc"')


def an_algorithm_of_its_own() -> bool:
    s3 = stored(ChecksumSHA256=base64.b64encode(DIGESTS["SHA256"](BODY)).decode())
    return "ChecksumSHA256" in s3.head_object(**OF_ONE, ChecksumMode="ENABLED")


@table(
    Case("reading", a_range_that_is_none, "ValueError", "ok"),
    Case("reading", the_second_part, 5 * 1024**2 + 3, 3),
    Case("reading", a_marker, "NoSuchVersion", "MethodNotAllowed", needs=("deletions",)),
    Case("reading", a_date_to_come, "304", "ok"),
    Case("writing_on_condition", no_match_of_an_etag, "ok", "NotImplemented"),
    Case("deletion_on_condition", deletion_by_size, "ok", "NotImplemented"),
    Case("sources_on_condition", copy_of_what_changed, "ok", "PreconditionFailed"),
    Case("checksums", an_algorithm_of_its_own, False, True),
)
def test_aws_reads_as_moto_does_not(case: Case) -> None:
    check(case)


def test_a_delete_marker_is_told_from_what_was_never_there() -> None:
    with cloud(every=True):
        s3 = versioned()
        version = s3.delete_object(**OF_ONE)["VersionId"]
        marked = {"x-amz-delete-marker": "true", "x-amz-version-id": version}
        for method in (s3.get_object, s3.head_object):
            bare = problem(method, **OF_ONE)
            assert marked.items() <= bare.items()
            assert bare["status"] == 404
            named = problem(method, **OF_ONE, VersionId=version)
            assert (marked | {"allow": "DELETE"}).items() <= named.items()
            assert named["status"] == 405
        assert problem(s3.get_object, **OF_ONE)["Key"] == KEY
        assert "x-amz-delete-marker" not in problem(s3.get_object, Bucket=NAME, Key="never")


def test_a_version_that_was_there_is_told_from_one_that_is_none() -> None:
    with cloud(every=True):
        s3 = versioned()
        version = s3.put_object(**OF_ONE, Body=b"1")["VersionId"]
        s3.delete_object(**OF_ONE, VersionId=version)
        shown = problem(s3.get_object, **OF_ONE, VersionId=version)
        assert (shown["Code"], shown["VersionId"], shown["status"]) == ("NoSuchVersion", version, 404)
        assert problem(s3.get_object, **OF_ONE, VersionId=version[:-1] + "-")["Code"] == "InvalidArgument"
        assert problem(s3.head_object, **OF_ONE, VersionId="x")["status"] == 400


@pytest.mark.parametrize(
    ("asked", "status", "body"),
    [
        ("bytes=0-8", 206, b"012345678"),
        ("bytes=1-", 206, b"123456789"),
        ("bytes=-2", 206, b"89"),
        ("bytes=-15", 206, BODY),
        ("bytes=0-100", 206, BODY),
        ("bytes=1-0", 200, BODY),
        ("bytes=-1-", 200, BODY),
        ("bytes=-", 200, BODY),
        ("bytes=0-1,3-4", 200, BODY),
        ("0-1", 200, BODY),
    ],
)
def test_a_range_is_given_out_and_what_is_none_means_nothing(asked: str, status: int, body: bytes) -> None:
    with cloud(every=True):
        s3 = stored()
        got = s3.get_object(**OF_ONE, Range=asked, ChecksumMode="ENABLED")
        assert got["ResponseMetadata"]["HTTPStatusCode"] == status
        assert got["Body"].read() == body
        assert got["ContentLength"] == len(body)
        assert ("ChecksumCRC32" in got) == (body == BODY)
        assert s3.head_object(**OF_ONE, Range=asked)["ContentLength"] == len(body)


@pytest.mark.parametrize("asked", ["bytes=-0", "bytes=100-200", "bytes=10-"])
def test_a_range_behind_the_end_is_refused(asked: str) -> None:
    with cloud(every=True):
        shown = problem(stored().get_object, **OF_ONE, Range=asked)
        assert (shown["Code"], shown["RangeRequested"], shown["status"]) == ("InvalidRange", asked, 416)
        assert shown["ActualObjectSize"] == "10"


def test_a_part_is_given_out_alone() -> None:
    with cloud(every=True):
        s3 = in_two_parts()
        got = s3.get_object(**OF_ONE, PartNumber=2, ChecksumMode="ENABLED")
        assert (got["Body"].read(), got["PartsCount"]) == (b"bbb", 2)
        assert got["ContentRange"] == f"bytes {5 * 1024**2}-{5 * 1024**2 + 2}/{5 * 1024**2 + 3}"
        assert problem(s3.get_object, **OF_ONE, PartNumber=3)["ActualPartCount"] == "2"
        asked = {**OF_ONE, "PartNumber": 1, "Range": "bytes=0-1"}
        assert refused(s3.get_object, **asked)[0] == "InvalidRequest"
        s3.put_object(**OF_ONE, Body=b"1")
        assert s3.get_object(**OF_ONE, PartNumber=1)["ContentRange"] == "bytes 0-0/1"
        assert problem(s3.head_object, **OF_ONE, PartNumber=2)["status"] == 416


def test_conditions_are_looked_at_in_their_order() -> None:
    with cloud(every=True):
        s3 = stored()
        tag, now = s3.head_object(**OF_ONE)["ETag"], datetime.datetime.now(datetime.timezone.utc)
        asked: dict[str, Any] = {
            "IfMatch": "other",
            "IfUnmodifiedSince": now - DAY,
            "IfNoneMatch": tag.strip('"'),
            "IfModifiedSince": now,
        }
        for failing, status, condition in (
            ("IfMatch", 412, "If-Match"),
            ("IfUnmodifiedSince", 412, "If-Unmodified-Since"),
            ("IfNoneMatch", 304, None),
        ):
            shown = problem(s3.get_object, **OF_ONE, **asked)
            assert (shown["status"], shown.get("Condition")) == (status, condition)
            assert problem(s3.head_object, **OF_ONE, **asked)["status"] == status
            del asked[failing]
        seen = s3.head_object(**OF_ONE)["LastModified"]
        assert problem(s3.get_object, **OF_ONE, IfModifiedSince=seen)["status"] == 304
        fine = {
            "IfMatch": tag,
            "IfUnmodifiedSince": now - DAY,
            "IfNoneMatch": "x",
            "IfModifiedSince": now - DAY,
        }
        assert said(s3.get_object, **OF_ONE, **fine) == "ok"


def test_a_source_meets_the_same_conditions() -> None:
    with cloud(every=True):
        s3 = stored()
        copy = {"Bucket": NAME, "Key": "d", "CopySource": f"{NAME}/{KEY}"}
        tag, past = s3.head_object(**OF_ONE)["ETag"], datetime.datetime.now(datetime.timezone.utc) - DAY
        for asked, condition in (
            ({"CopySourceIfMatch": "x"}, "If-Match"),
            ({"CopySourceIfUnmodifiedSince": past}, "If-Unmodified-Since"),
            ({"CopySourceIfNoneMatch": tag}, "If-None-Match"),
        ):
            shown = problem(s3.copy_object, **copy, **asked)
            assert (shown["Condition"], shown["status"]) == (f"x-amz-copy-source-{condition}", 412)
        upload = s3.create_multipart_upload(Bucket=NAME, Key="d")["UploadId"]
        part = {**copy, "UploadId": upload, "PartNumber": 1}
        assert problem(s3.upload_part_copy, **part, CopySourceIfNoneMatch=tag)["status"] == 412
        assert said(s3.upload_part_copy, **part, CopySourceIfModifiedSince=past) == "ok"


def test_what_is_written_on_condition_has_one_of_two() -> None:
    with cloud(every=True):
        s3 = stored()
        tag, asked = (
            s3.head_object(**OF_ONE)["ETag"],
            {"Bucket": NAME, "Key": "d", "CopySource": f"{NAME}/{KEY}"},
        )
        assert said(s3.copy_object, **asked, IfNoneMatch="*") == "ok"
        assert problem(s3.copy_object, **asked, IfNoneMatch="*")["Condition"] == "If-None-Match"
        assert problem(s3.copy_object, **asked, IfMatch="x")["Condition"] == "If-Match"
        assert said(s3.copy_object, **asked, IfMatch=tag) == "ok"
        shown = problem(s3.put_object, Bucket=NAME, Key="none", Body=b"", IfMatch=tag)
        assert (shown["Code"], shown["Key"]) == ("NoSuchKey", "none")
        shown = problem(s3.put_object, **OF_ONE, Body=b"", IfMatch=tag, IfNoneMatch="*")
        assert (shown["Header"], shown["status"]) == ("If-Match,If-None-Match", 501)
        assert problem(s3.put_object, **OF_ONE, Body=b"", IfMatch="*")["Header"] == "If-Match"


@pytest.mark.parametrize("algorithm", list(DIGESTS))
def test_an_object_keeps_the_checksum_that_came_with_it(algorithm: str) -> None:
    with cloud(every=True):
        right = base64.b64encode(DIGESTS[algorithm](BODY)).decode()
        s3 = stored(**{f"Checksum{algorithm}": right})
        shown = s3.head_object(**OF_ONE, ChecksumMode="ENABLED")
        assert (shown[f"Checksum{algorithm}"], shown["ChecksumType"]) == (right, "FULL_OBJECT")
        attributes = s3.get_object_attributes(**OF_ONE, ObjectAttributes=["Checksum"])["Checksum"]
        assert attributes == {f"Checksum{algorithm}": right, "ChecksumType": "FULL_OBJECT"}
        copied = s3.copy_object(Bucket=NAME, Key="d", CopySource=f"{NAME}/{KEY}")["CopyObjectResult"]
        assert (copied[f"Checksum{algorithm}"], copied["ChecksumType"]) == (right, "FULL_OBJECT")


def test_a_copy_may_have_a_checksum_of_another_kind() -> None:
    with cloud(every=True):
        s3 = stored()
        asked = {"Bucket": NAME, "Key": "d", "CopySource": f"{NAME}/{KEY}", "ChecksumAlgorithm": "CRC32C"}
        right = base64.b64encode(DIGESTS["CRC32C"](BODY)).decode()
        assert s3.copy_object(**asked)["CopyObjectResult"]["ChecksumCRC32C"] == right
        assert s3.head_object(Bucket=NAME, Key="d", ChecksumMode="ENABLED")["ChecksumCRC32C"] == right


def test_an_answer_holds_what_aws_shows_and_nothing_of_the_practice_cloud() -> None:
    with cloud(every=True):
        s3 = stored(Metadata={"a": "1"}, ContentType="text/plain", ContentLanguage="en")
        got = s3.get_object(**OF_ONE, ResponseContentType="text/html")
        assert (got["ContentType"], got["ContentLanguage"], got["Metadata"]) == (
            "text/html",
            "en",
            {"a": "1"},
        )
        headers = got["ResponseMetadata"]["HTTPHeaders"]
        assert not {"x-amz-content-sha256", "x-amz-sdk-checksum-algorithm"} & headers.keys()


def test_an_archived_object_shows_its_head_alone() -> None:
    with cloud(every=True):
        s3 = stored(StorageClass="GLACIER")
        assert said(s3.get_object, **OF_ONE) == "InvalidObjectState"
        assert s3.head_object(**OF_ONE)["StorageClass"] == "GLACIER"
