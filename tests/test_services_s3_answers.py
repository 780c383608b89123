"""Members of S3's answers: moto alone, then with the rule."""

from __future__ import annotations

import json
import re
from typing import Any
from xml.etree import ElementTree

import boto3
from botocore import UNSIGNED
from botocore.config import Config
from test_services_support import Case, check, client, cloud, refused, said, table

from awslabs.sandbox.services.s3 import answers  # noqa: F401  (rules that this needs)


def bucket(**more: Any) -> Any:
    s3 = client("s3")
    s3.create_bucket(Bucket="lab-1", **more)
    return s3


def stored(key: str = "a b/c") -> Any:
    s3 = bucket()
    s3.put_object(Bucket="lab-1", Key=key, Body=b"hello")
    return s3


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


ARN, CRC, NO_CRC = "arn:aws:s3:::lab-1", (["CRC32"], "FULL_OBJECT"), (None, None)


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
    Case("lists_say_more", the_copys_type, None, "FULL_OBJECT"),
    Case(
        "pages", protection, [(None, None), (["CRC32"], None), (None, None)], [CRC] * 3, needs=("checksums",)
    ),
    Case("lists_say_more", names_of_owners, ["webfile"] * 2, []),
    Case("pages", what_was_asked, [None, None, None, "a b/c"], ["", "", "url", "a b/c"]),
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


def test_a_bucket_is_whose_it_is_expected_to_be() -> None:
    with cloud(every=True):
        s3 = bucket()
        policy = {"Bucket": "lab-1", "Policy": json.dumps({"Version": "2012-10-17", "Statement": []})}
        assert refused(s3.put_bucket_policy, **policy, ExpectedBucketOwner="abcd") == (
            "InvalidBucketOwnerAWSAccountID",
            "The value of the expected bucket owner parameter must be an AWS Account ID... [abcd]",
            400,
        )
        assert (
            said(s3.get_bucket_policy, Bucket="lab-1", ExpectedBucketOwner="000000000002") == "AccessDenied"
        )
        assert said(s3.list_objects_v2, Bucket="lab-1", ExpectedBucketOwner="123456789012") == "ok"


def test_a_list_says_in_which_region_its_bucket_is() -> None:
    with cloud(every=True):
        s3 = bucket(CreateBucketConfiguration={"LocationConstraint": "us-west-2"})
        listed = s3.list_objects_v2(Bucket="lab-1")
        assert listed["ResponseMetadata"]["HTTPHeaders"]["x-amz-bucket-region"] == "us-west-2"


def elements(body: bytes) -> list[str]:
    """The names of a document's elements below its root, each once, in order."""
    root = re.sub(rb"^<\?xml.*?\?>\s*", b"", body)
    return list(dict.fromkeys(re.sub(r"^\{.*\}", "", each.tag) for each in ElementTree.fromstring(root)))


def test_what_a_list_is_of_stands_before_what_is_in_it() -> None:
    aws, bodies = client("s3"), []

    def keep(http_response: Any, **_more: Any) -> None:
        bodies.append(http_response.content)

    with cloud(every=True):
        aws.create_bucket(Bucket="awslabs-order")
        for key in ("a", "b", "c/d"):
            aws.put_object(Bucket="awslabs-order", Key=key)
        aws.meta.events.register("after-call.s3", keep)
        try:
            aws.list_buckets()
            aws.list_objects(Bucket="awslabs-order")
            aws.list_objects_v2(Bucket="awslabs-order", Delimiter="/")
            aws.list_object_versions(Bucket="awslabs-order")
        finally:
            aws.meta.events.unregister("after-call.s3", keep)
    names = [elements(body) for body in bodies]
    assert names[0][:2] == ["Owner", "Buckets"]
    assert names[1][-1] == "Contents"
    assert names[2].index("Name") < names[2].index("Contents") < names[2].index("CommonPrefixes")
    assert names[3][-1] == "Version"
    assert [body.count(b"<Contents>") for body in bodies] == [0, 3, 2, 0]


def test_strangers_see_what_an_open_list_has_but_not_whose_it_is() -> None:
    aws, stranger = client("s3"), boto3.client("s3", "us-east-1", config=Config(signature_version=UNSIGNED))
    with cloud(every=True):
        where = {"Bucket": "awslabs-open"}
        aws.create_bucket(**where, ObjectOwnership="ObjectWriter")
        aws.put_object(**where, Key="a")
        assert said(stranger.list_objects, **where) == "AccessDenied"
        aws.delete_public_access_block(**where)
        aws.put_bucket_acl(**where, ACL="public-read")
        [shown] = stranger.list_objects(**where)["Contents"]
        assert (shown["Key"], "Owner" in shown) == ("a", False)
        assert "Owner" in aws.list_objects(**where)["Contents"][0]
        assert said(stranger.put_object, **where, Key="b") == "AccessDenied"
        blocked = {"IgnorePublicAcls": True}
        aws.put_public_access_block(**where, PublicAccessBlockConfiguration=blocked)
        assert said(stranger.list_objects, **where) == "AccessDenied"


def test_a_source_may_be_encoded_as_a_whole_and_have_plus_signs() -> None:
    aws, where = client("s3"), {"Bucket": "awslabs-copies"}
    with cloud(every=True):
        aws.create_bucket(**where)
        aws.put_object(**where, Key="a b+c/d;e", Body=b"x")
        sources = (
            "awslabs-copies%2Fa+b%2Bc%2Fd%3Be",
            "/awslabs-copies/a%20b%2Bc/d%3Be",
            "http://127.0.0.1:4566/awslabs-copies/a+b%2Bc/d%3Be",
        )
        for number, source in enumerate(sources):

            def as_it_is(request: Any, source: str = source, **_more: Any) -> None:
                request.headers.replace_header("x-amz-copy-source", source)

            aws.meta.events.register("before-sign.s3.CopyObject", as_it_is)
            try:
                aws.copy_object(**where, Key=str(number), CopySource="a/b")
            finally:
                aws.meta.events.unregister("before-sign.s3.CopyObject", as_it_is)
            assert aws.get_object(**where, Key=str(number))["Body"].read() == b"x"
