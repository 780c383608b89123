"""Uploads in parts: moto alone, then with the rule."""

from __future__ import annotations

import base64
import io
from typing import Any

import pytest
from boto3.s3.transfer import TransferConfig
from botocore.exceptions import ClientError
from test_services_support import Case, check, client, cloud, refused, said, table

from awslabs.sandbox.core.checksums import DIGESTS
from awslabs.sandbox.services.s3 import uploads  # noqa: F401  (what is tested here)

NAME, KEY = "lab-uploads", "k"
OF_ONE = {"Bucket": NAME, "Key": KEY}
LARGE = b"a" * 5 * 1024**2


def digest(algorithm: str, data: bytes) -> str:
    return base64.b64encode(DIGESTS[algorithm](data)).decode()


def bucket() -> Any:
    s3 = client("s3")
    s3.create_bucket(Bucket=NAME)
    return s3


def begun(**asked: Any) -> tuple[Any, dict[str, Any]]:
    """A client, and an upload of one object."""
    s3 = bucket()
    return s3, {**OF_ONE, "UploadId": s3.create_multipart_upload(**OF_ONE, **asked)["UploadId"]}


def with_parts(
    *bodies: bytes, algorithm: str = "", **asked: Any
) -> tuple[Any, dict[str, Any], list[dict[str, Any]]]:
    s3, upload = begun(**({"ChecksumAlgorithm": algorithm} if algorithm else {}), **asked)
    parts = []
    for number, body in enumerate(bodies, 1):
        own = {f"Checksum{algorithm}": digest(algorithm, body)} if algorithm else {}
        made = s3.upload_part(**upload, PartNumber=number, Body=body, **own)
        parts.append({"PartNumber": number, "ETag": made["ETag"], **own})
    return s3, upload, parts


def done(s3: Any, upload: dict[str, Any], parts: list[dict[str, Any]], **asked: Any) -> dict[str, Any]:
    answer: dict[str, Any] = s3.complete_multipart_upload(**upload, MultipartUpload={"Parts": parts}, **asked)
    return answer


def problem(*what: Any, **asked: Any) -> dict[str, Any]:
    """The error of an upload that is not completed."""
    with pytest.raises(ClientError) as caught:
        done(*what, **asked)
    shown: dict[str, Any] = caught.value.response["Error"]
    return shown


def a_checksum_of_the_whole() -> bool:
    return "ChecksumCRC64NVME" in done(*with_parts(b"1"))


def a_part_without_its_checksum() -> str:
    s3, upload, parts = with_parts(b"1", algorithm="SHA256")
    bare = [{name: part[name] for name in ("PartNumber", "ETag")} for part in parts]
    return said(s3.complete_multipart_upload, **upload, MultipartUpload={"Parts": bare})


def no_number() -> str:
    s3, upload = begun()
    return said(s3.upload_part, **upload, PartNumber=-1, Body=b"")


def half_a_range() -> str:
    s3, upload = begun()
    s3.put_object(Bucket=NAME, Key="source", Body=b"0123456789")
    asked = {"PartNumber": 1, "CopySource": f"{NAME}/source", "CopySourceRange": "bytes=1-"}
    return said(s3.upload_part_copy, **upload, **asked)


@table(
    Case("uploads", a_checksum_of_the_whole, False, True),
    Case("uploads", a_part_without_its_checksum, "ok", "InvalidRequest"),
    Case("parts_have_numbers", no_number, "NoSuchUpload", "InvalidArgument"),
    Case("copied_ranges_are_whole", half_a_range, "ok", "InvalidArgument"),
)
def test_aws_keeps_to_what_an_upload_began_with(case: Case) -> None:
    check(case)


@pytest.mark.parametrize("algorithm", ["CRC32", "CRC32C", "SHA1", "SHA256"])
def test_a_composite_checksum_is_of_the_parts(algorithm: str) -> None:
    with cloud(every=True):
        s3, upload, parts = with_parts(LARGE, b"b", algorithm=algorithm)
        right = digest(algorithm, DIGESTS[algorithm](LARGE) + DIGESTS[algorithm](b"b"))
        listed = s3.list_parts(**upload)
        assert (listed["ChecksumAlgorithm"], listed["ChecksumType"]) == (algorithm, "COMPOSITE")
        assert listed["Parts"][1][f"Checksum{algorithm}"] == digest(algorithm, b"b")
        answer = done(s3, upload, parts)
        assert (answer[f"Checksum{algorithm}"], answer["ChecksumType"]) == (f"{right}-2", "COMPOSITE")
        head = s3.head_object(**OF_ONE, ChecksumMode="ENABLED")
        assert head[f"Checksum{algorithm}"] == f"{right}-2"
        part = s3.get_object(**OF_ONE, PartNumber=2, ChecksumMode="ENABLED")
        assert part[f"Checksum{algorithm}"] == digest(algorithm, b"b")
        told = s3.get_object_attributes(**OF_ONE, ObjectAttributes=["Checksum", "ObjectParts"], MaxParts=1)
        assert told["Checksum"] == {f"Checksum{algorithm}": right, "ChecksumType": "COMPOSITE"}
        assert [each["PartNumber"] for each in told["ObjectParts"]["Parts"]] == [1]
        assert told["ObjectParts"]["IsTruncated"]
        copied = s3.copy_object(Bucket=NAME, Key="d", CopySource=f"{NAME}/{KEY}")["CopyObjectResult"]
        assert copied[f"Checksum{algorithm}"] == digest(algorithm, LARGE + b"b")


@pytest.mark.parametrize("algorithm", ["CRC32", "CRC32C", "CRC64NVME"])
def test_one_of_the_whole_object_is_compared_with_it(algorithm: str) -> None:
    with cloud(every=True):
        s3, upload, parts = with_parts(b"1", algorithm=algorithm, ChecksumType="FULL_OBJECT")
        right = {f"Checksum{algorithm}": digest(algorithm, b"1"), "ChecksumType": "FULL_OBJECT"}
        says = f"The {algorithm.lower()} you specified did not match the calculated checksum."
        for wrong in (
            right | {f"Checksum{algorithm}": digest(algorithm, b"2")},
            {f"Checksum{algorithm}": digest(algorithm, b"1")},
        ):
            shown = problem(s3, upload, parts, **wrong)
            assert (shown["Code"], shown["Message"]) == ("BadDigest", says)
        assert right.items() <= done(s3, upload, parts, **right).items()


def test_without_an_algorithm_the_whole_has_crc64nvme_and_parts_have_none() -> None:
    with cloud(every=True):
        s3, upload, parts = with_parts(b"1")
        assert "ChecksumCRC32" not in s3.list_parts(**upload)["Parts"][0]
        given = [parts[0] | {"ChecksumCRC32": digest("CRC32", b"1")}]
        assert problem(s3, upload, given)["Code"] == "InvalidPart"
        assert "null checksum mode" in problem(s3, upload, parts, ChecksumType="COMPOSITE")["Message"]
        answer = done(s3, upload, parts)
        assert answer["ChecksumCRC64NVME"] == digest("CRC64NVME", b"1")
        assert "VersionId" not in answer
        told = s3.get_object_attributes(**OF_ONE, ObjectAttributes=["ObjectParts", "ETag"])
        assert told["ObjectParts"] == {"TotalPartsCount": 1}
        assert told["ETag"].endswith("-1")


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ({"ChecksumAlgorithm": "TEST"}, "valid types: [CRC32, CRC32C, CRC64NVME, SHA1, SHA256]"),
        ({"ChecksumType": "COMPOSITE"}, "can only be used with the x-amz-checksum-algorithm header."),
        (
            {"ChecksumAlgorithm": "CRC64NVME", "ChecksumType": "COMPOSITE"},
            "with the crc64nvme checksum algorithm.",
        ),
        ({"ChecksumAlgorithm": "SHA1", "ChecksumType": "FULL_OBJECT"}, "with the sha1 checksum algorithm."),
    ],
)
def test_what_does_not_go_together_is_not_begun(asked: dict[str, Any], says: str) -> None:
    with cloud(every=True):
        code, message, status = refused(bucket().create_multipart_upload, **OF_ONE, **asked)
        assert (code, status, message.endswith(says)) == ("InvalidRequest", 400, True)


def test_parts_of_another_algorithm_are_refused() -> None:
    with cloud(every=True):
        s3, upload, parts = with_parts(b"1", algorithm="CRC32")
        other = {"PartNumber": 2, "Body": b"2", "ChecksumAlgorithm": "SHA256"}
        says = "Checksum Type mismatch occurred, expected checksum Type: crc32, actual checksum Type: sha256"
        assert refused(s3.upload_part, **upload, **other)[:2] == ("InvalidRequest", says)
        bare = {name: parts[0][name] for name in ("PartNumber", "ETag")}
        shown = problem(s3, upload, [bare | {"ChecksumSHA256": digest("SHA256", b"1")}])
        assert shown["Message"] == "The sha256 you specified for part 1 did not match what we received."
        assert problem(s3, upload, [bare | {"ChecksumCRC32": digest("CRC32", b"2")}])["Code"] == "InvalidPart"


def test_an_end_that_is_wrong_names_the_part() -> None:
    with cloud(every=True):
        s3, upload, (one, two) = with_parts(b"1", b"2")
        shown = problem(s3, upload, [one, two])
        assert (shown["Code"], shown["PartNumber"], shown["ProposedSize"]) == ("EntityTooSmall", "1", "1")
        assert shown["MinSizeAllowed"] == "5242880"
        shown = problem(s3, upload, [two, one])
        assert (shown["Code"], shown["UploadId"]) == ("InvalidPartOrder", upload["UploadId"])
        for wrong in (one | {"PartNumber": 7}, one | {"ETag": two["ETag"]}):
            shown = problem(s3, upload, [wrong])
            assert (shown["Code"], shown["PartNumber"]) == ("InvalidPart", str(wrong["PartNumber"]))
            assert shown["ETag"] == wrong["ETag"].strip('"')
        assert (
            "header value 5 does not match what was computed: 1"
            in problem(s3, upload, [two], MpuObjectSize=5)["Message"]
        )
        assert done(s3, upload, [two], MpuObjectSize=1)["ETag"].endswith('-1"')


@pytest.mark.parametrize(
    ("asked", "code"),
    [
        ("0-8", "InvalidArgument"),
        ("bytes=1-0", "InvalidArgument"),
        ("bytes=-2", "InvalidArgument"),
        ("bytes=0-100", "InvalidArgument"),
        ("bytes=100-200", "InvalidRequest"),
        ("bytes=0-9", "ok"),
    ],
)
def test_a_range_of_a_source_lies_within_it(asked: str, code: str) -> None:
    with cloud(every=True):
        s3, upload = begun(ChecksumAlgorithm="SHA256")
        s3.put_object(Bucket=NAME, Key="source", Body=b"0123456789")
        part = {"PartNumber": 1, "CopySource": f"{NAME}/source", "CopySourceRange": asked}
        assert said(s3.upload_part_copy, **upload, **part) == code


def test_a_copied_part_has_the_checksum_of_the_upload() -> None:
    with cloud(every=True):
        s3, upload = begun(ChecksumAlgorithm="SHA256")
        s3.put_object(Bucket=NAME, Key="source", Body=b"0123456789")
        made = s3.upload_part_copy(**upload, PartNumber=1, CopySource=f"{NAME}/source")["CopyPartResult"]
        assert made["ChecksumSHA256"] == digest("SHA256", b"0123456789")
        part = {"PartNumber": 1, "ETag": made["ETag"], "ChecksumSHA256": made["ChecksumSHA256"]}
        assert done(s3, upload, [part])["ChecksumType"] == "COMPOSITE"


def test_uploads_are_listed_by_key_and_go_on_behind_a_marker() -> None:
    with cloud(every=True):
        s3 = bucket()
        assert s3.list_multipart_uploads(Bucket=NAME)["NextKeyMarker"] == ""
        ids = [
            (key, s3.create_multipart_upload(Bucket=NAME, Key=key)["UploadId"])
            for key in ("c", "a", "b/1", "a", "b/2")
        ]
        order = [ids[1], ids[3], ids[2], ids[4], ids[0]]
        for most in (1, 2, 1000):
            asked: dict[str, Any] = {}
            found: list[tuple[str, str]] = []
            for _ in range(9):
                shown = s3.list_multipart_uploads(Bucket=NAME, MaxUploads=most, **asked)
                found += [(each["Key"], each["UploadId"]) for each in shown["Uploads"]]
                asked = {"KeyMarker": shown["NextKeyMarker"], "UploadIdMarker": shown["NextUploadIdMarker"]}
                if not shown["IsTruncated"]:
                    break
            assert found == order
        folders = s3.list_multipart_uploads(Bucket=NAME, Prefix="b", Delimiter="/", EncodingType="url")
        assert folders["CommonPrefixes"] == [{"Prefix": "b/"}]
        assert (folders["Prefix"], folders["NextKeyMarker"], "Uploads" in folders) == ("b", "", False)
        behind = s3.list_multipart_uploads(Bucket=NAME, KeyMarker="a")["Uploads"]
        assert [each["Key"] for each in behind] == ["b/1", "b/2", "c"]
        wrong = {"KeyMarker": "c", "UploadIdMarker": ids[1][1]}
        says = "Invalid uploadId marker"
        assert refused(s3.list_multipart_uploads, Bucket=NAME, **wrong)[:2] == ("InvalidArgument", says)


def test_what_is_completed_once_more_meets_no_condition() -> None:
    with cloud(every=True):
        s3, upload, parts = with_parts(b"1", WebsiteRedirectLocation="/elsewhere")
        assert done(s3, upload, parts)["ETag"] == done(s3, upload, parts, IfNoneMatch="*")["ETag"]
        assert s3.head_object(**OF_ONE)["WebsiteRedirectLocation"] == "/elsewhere"
        s3, upload, parts = with_parts(b"2")
        assert problem(s3, upload, parts, IfNoneMatch="*")["Code"] == "PreconditionFailed"


def test_what_boto3_uploads_in_parts_comes_back() -> None:
    with cloud(every=True):
        s3, body = bucket(), LARGE * 2 + b"end"
        parts = TransferConfig(
            multipart_threshold=len(LARGE), multipart_chunksize=len(LARGE), use_threads=False
        )
        s3.upload_fileobj(io.BytesIO(body), NAME, "täst é", Config=parts)
        got = io.BytesIO()
        s3.download_fileobj(NAME, "täst é", got, Config=parts)
        assert got.getvalue() == body
