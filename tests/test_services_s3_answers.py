"""Members of S3's answers: moto alone, then with the rule."""

from __future__ import annotations

import json
from typing import Any

from test_services_support import Case, check, client, cloud, table

from awslabs.sandbox.services.s3 import answers  # noqa: F401  (rules that this needs)


def bucket(**more: Any) -> Any:
    s3 = client("s3")
    s3.create_bucket(Bucket="lab-1", **more)
    return s3


def stored(key: str = "a b/c") -> Any:
    s3 = bucket()
    s3.put_object(Bucket="lab-1", Key=key, Body=b"hello")
    return s3


def types_of_checksums() -> list[Any]:
    s3 = bucket()
    put = s3.put_object(Bucket="lab-1", Key="k", Body=b"hello")
    got = s3.get_object(Bucket="lab-1", Key="k", ChecksumMode="ENABLED")
    return [each.get("ChecksumType") for each in (put, got, s3.head_object(Bucket="lab-1", Key="k"))]


def the_copys_type() -> str | None:
    copied = stored().copy_object(Bucket="lab-1", Key="d", CopySource="lab-1/a b/c")["CopyObjectResult"]
    return copied.get("ChecksumType")


def protection() -> list[Any]:
    s3 = stored()
    lists = (
        (s3.list_objects, "Contents"),
        (s3.list_objects_v2, "Contents"),
        (s3.list_object_versions, "Versions"),
    )
    shown = [method(Bucket="lab-1")[part][0] for method, part in lists]
    return [(each.get("ChecksumAlgorithm"), each.get("ChecksumType")) for each in shown]


def names_of_owners() -> list[str]:
    s3 = stored()
    shown = s3.list_buckets(), s3.list_object_versions(Bucket="lab-1")["Versions"][0]
    return [each["Owner"]["DisplayName"] for each in shown if "DisplayName" in each["Owner"]]


def what_was_asked() -> list[Any]:
    s3 = stored()
    old, versions = s3.list_objects(Bucket="lab-1"), s3.list_object_versions(Bucket="lab-1")
    return [
        old.get("Marker"),
        old.get("Prefix"),
        versions.get("EncodingType"),
        versions["Versions"][0]["Key"],
    ]


def regions_of_buckets() -> list[Any]:
    s3 = bucket()
    (plain,), (narrow,) = (s3.list_buckets(**asked)["Buckets"] for asked in ({}, {"Prefix": "lab"}))
    return [plain.get("BucketArn"), plain.get("BucketRegion"), narrow.get("BucketRegion")]


def arn_of_a_new_one() -> str | None:
    return client("s3").create_bucket(Bucket="lab-1").get("BucketArn")


ARN, CRC = "arn:aws:s3:::lab-1", (["CRC32"], "FULL_OBJECT")


def parts() -> list[Any]:
    s3 = bucket()
    upload = s3.create_multipart_upload(Bucket="lab-1", Key="k")
    part = s3.upload_part(Bucket="lab-1", Key="k", UploadId=upload["UploadId"], PartNumber=1, Body=b"a")
    return [each.get("ServerSideEncryption") for each in (upload, part)]


def a_buckets_head() -> list[Any]:
    shown = bucket().head_bucket(Bucket="lab-1")
    return [shown.get("BucketArn"), shown.get("AccessPointAlias")]


def a_policys_status() -> int:
    allow = {"Effect": "Allow", "Principal": {"AWS": "123456789012"}, "Action": "s3:GetObject"}
    text = json.dumps({"Version": "2012-10-17", "Statement": [allow | {"Resource": "arn:aws:s3:::lab-1/*"}]})
    answer = bucket().put_bucket_policy(Bucket="lab-1", Policy=text)
    return int(answer["ResponseMetadata"]["HTTPStatusCode"])


CASES = (
    Case("parts_are_encrypted", parts, [None, None], ["AES256", "AES256"]),
    Case("new_buckets_have_an_arn", a_buckets_head, [None, None], ["arn:aws:s3:::lab-1", False]),
    Case("policies_leave_nothing_to_say", a_policys_status, 200, 204),
    Case("checksums_have_a_type", types_of_checksums, [None] * 3, ["FULL_OBJECT", "FULL_OBJECT", None]),
    Case("lists_say_more", the_copys_type, None, "FULL_OBJECT"),
    Case("lists_say_more", protection, [(None, None), (["CRC32"], None), (None, None)], [CRC] * 3),
    Case("lists_say_more", names_of_owners, ["webfile"] * 2, []),
    Case("lists_say_more", what_was_asked, [None, None, None, "a b/c"], ["", "", "url", "a b/c"]),
    Case("lists_say_more", regions_of_buckets, [None] * 3, [ARN, None, "us-east-1"]),
    Case("new_buckets_have_an_arn", arn_of_a_new_one, None, ARN),
)


@table(*CASES)
def test_s3_says_what_aws_says(case: Case) -> None:
    check(case)


def test_versions_of_keys_with_odd_signs_come_back_as_they_were() -> None:
    with cloud(every=True):
        s3 = bucket()
        s3.put_bucket_versioning(Bucket="lab-1", VersioningConfiguration={"Status": "Enabled"})
        for key in ("a+b", "%41", "ü", "a&b"):
            s3.put_object(Bucket="lab-1", Key=key, Body=b"1")
            s3.put_object(Bucket="lab-1", Key=key, Body=b"2", ChecksumAlgorithm="SHA256")
        s3.delete_object(Bucket="lab-1", Key="ü")
        listed = s3.list_object_versions(Bucket="lab-1")
        assert sorted({each["Key"] for each in listed["Versions"]}) == sorted(["a+b", "%41", "ü", "a&b"])
        assert [each["Key"] for each in listed["DeleteMarkers"]] == ["ü"]
        kinds = {tuple(each["ChecksumAlgorithm"]) for each in listed["Versions"]}
        assert kinds == {("CRC32",), ("SHA256",)}
