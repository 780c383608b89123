"""What is said of an object beside its bytes, and what a presigned address says in a header's place."""

from __future__ import annotations

import base64
from typing import Any

import boto3
import pytest
import requests
from botocore.auth import S3SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.credentials import Credentials
from botocore.exceptions import ClientError
from botocore.handlers import validate_ascii_metadata
from test_services_support import Case, check, client, cloud, said, table

from awslabs import sandbox
from awslabs.sandbox.services.s3.metadata import decoded, encoded


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("plain = ? _ text\t", "plain = ? _ text\t"),
        ("", ""),
        ("ÄMÄZÕÑ S3", "=?UTF-8?Q?=C3=84M=C3=84Z=C3=95=C3=91_S3?="),
        ("test_—_é_2?.pdf", "=?UTF-8?Q?test=5F=E2=80=94=5F=C3=A9=5F2=3F.pdf?="),
        ("2👑.pdf=", "=?UTF-8?Q?2=F0=9F=91=91.pdf=3D?="),
        ("日本", "=?UTF-8?B?5pel5pys?="),
        ("a日", "=?UTF-8?B?YeaXpQ==?="),
        ("\x00\x01\x02\x03", "=?UTF-8?B?AAECAw==?="),
        ("a line\nand more", "=?UTF-8?Q?a_line=0Aand_more?="),
    ],
)
def test_a_text_that_is_not_ascii_is_an_encoded_word(text: str, wanted: str) -> None:
    assert encoded(text) == wanted
    assert decoded(wanted) == text
    assert wanted.isascii()


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("=?utf-8?q?actually-ascii?=", "actually-ascii"),
        ("=?ISO-8859-1?Q?=E9?= and", "é and"),
        ("=?UTF-8?B?YWJj?= =?UTF-8?B?ZA==?=", "abcd"),
        ("=?UTF-8?B?=GGG?=", "=?UTF-8?B?=GGG?="),
        ("=?UTF-8?B?/w==?=", "=?UTF-8?B?/w==?="),
        ("=?NO-SUCH?Q?a?=", "=?NO-SUCH?Q?a?="),
        ("a =? b ?=", "a =? b ?="),
    ],
)
def test_words_that_are_encoded_are_read_and_broken_ones_stay(text: str, wanted: str) -> None:
    assert decoded(text) == wanted


def metadata_of(**metadata: str) -> dict[str, str]:
    aws, where = client("s3"), {"Bucket": "awslabs-metadata", "Key": "k"}
    aws.create_bucket(Bucket="awslabs-metadata")
    aws.put_object(**where, Metadata=metadata)
    assert aws.head_object(**where)["Metadata"] == aws.get_object(**where)["Metadata"]
    found: dict[str, str] = aws.get_object(**where)["Metadata"]
    return found


def words_of_ascii() -> dict[str, str]:
    return metadata_of(a="=?UTF-8?B?YWJj?=", b_c="=?UTF-8?Q?d?=", d="e")


def words_of_others() -> dict[str, str]:
    return metadata_of(a="=?utf-8?b?w6k=?=")


def upload_of_another_class() -> str:
    aws = client("s3")
    aws.create_bucket(Bucket="awslabs-classes")
    return said(aws.create_multipart_upload, Bucket="awslabs-classes", Key="k", StorageClass="OUTPOSTS")


def what_was_requested() -> str | None:
    aws = client("s3")
    aws.create_bucket(Bucket="awslabs-classes")
    with pytest.raises(ClientError) as caught:
        aws.put_object(Bucket="awslabs-classes", Key="k", StorageClass="OUTPOSTS")
    assert caught.value.response["Error"]["Code"] == "InvalidStorageClass"
    named: str | None = caught.value.response["Error"].get("StorageClassRequested")
    return named


CASES = [
    Case(
        "metadata_are_mail_safe",
        words_of_ascii,
        {"a": "=?UTF-8?B?YWJj?=", "b_c": "=?UTF-8?Q?d?=", "d": "e"},
        {"a": "abc", "b_c": "d", "d": "e"},
    ),
    Case("metadata_are_mail_safe", words_of_others, {"a": "=?utf-8?b?w6k=?="}, {"a": "=?UTF-8?B?w6k=?="}),
    Case("storage_classes_are_of_s3", upload_of_another_class, "ok", "InvalidStorageClass"),
    Case("storage_classes_are_of_s3", what_was_requested, None, "OUTPOSTS"),
]


@table(*CASES)
def test_rules(case: Case) -> None:
    check(case)


def test_every_class_of_buckets_is_taken() -> None:
    aws = client("s3")
    with cloud(every=True):
        aws.create_bucket(Bucket="awslabs-classes")
        for name in ("STANDARD", "STANDARD_IA", "GLACIER_IR", "DEEP_ARCHIVE", "INTELLIGENT_TIERING"):
            aws.put_object(Bucket="awslabs-classes", Key="k", StorageClass=name)
            assert aws.head_object(Bucket="awslabs-classes", Key="k").get("StorageClass", "STANDARD") == name


@pytest.mark.parametrize("md5", ["nonsense", base64.b64encode(b"123").decode()])
def test_a_digest_that_is_none_is_named(md5: str) -> None:
    aws = client("s3")
    with cloud("digests_are_compared"):
        aws.create_bucket(Bucket="awslabs-digests")
        with pytest.raises(ClientError) as caught:
            aws.put_object(Bucket="awslabs-digests", Key="k", Body=b"x", ContentMD5=md5)
    error = caught.value.response["Error"]
    assert (error["Code"], error["Content-MD5"]) == ("InvalidDigest", md5)


def test_a_digest_of_something_else_is_shown_beside_the_right_one() -> None:
    aws, md5, right = client("s3"), base64.b64encode(bytes(16)).decode(), "ndTkYSaMgDT1yFZOFVxnpg=="
    with cloud("digests_are_compared"):
        aws.create_bucket(Bucket="awslabs-digests")
        where = {"Bucket": "awslabs-digests", "Key": "k"}
        with pytest.raises(ClientError) as of_object:
            aws.put_object(**where, Body=b"x", ContentMD5=md5)
        upload_id = aws.create_multipart_upload(**where)["UploadId"]
        with pytest.raises(ClientError) as of_part:
            aws.upload_part(**where, Body=b"x", ContentMD5=md5, UploadId=upload_id, PartNumber=1)
    for caught, expected in ((of_object, bytes(16).hex()), (of_part, md5)):
        error = caught.value.response["Error"]
        assert (error["ExpectedDigest"], error["CalculatedDigest"]) == (expected, right)


# --- presigned addresses ------------------------------------------------------------------------------


@pytest.fixture
def keys(run: sandbox.Run) -> dict[str, Any]:
    own = run.environment()
    return {
        "endpoint_url": run.endpoint_url,
        "region_name": "us-east-1",
        "aws_access_key_id": own["AWS_ACCESS_KEY_ID"],
        "aws_secret_access_key": own["AWS_SECRET_ACCESS_KEY"],
    }


@pytest.fixture
def aws(keys: dict[str, Any]) -> Any:
    """A client, and the bucket `presigned` with the object `k`."""
    made = boto3.client("s3", **keys)
    made.create_bucket(Bucket="presigned")
    made.put_object(Bucket="presigned", Key="k", Body=b"x")
    return made


def address_of(keys: dict[str, Any], method: str, key: str, **query: str) -> str:
    """An address that is signed with this in its query."""
    request = AWSRequest(method, f"{keys['endpoint_url']}/presigned/{key}", {}, params=query)
    credentials = Credentials(keys["aws_access_key_id"], keys["aws_secret_access_key"])
    S3SigV4QueryAuth(credentials, "s3", "us-east-1").add_auth(request)
    return str(request.url)


def test_conditions_may_stand_in_the_query(aws: Any, keys: dict[str, Any]) -> None:
    once = address_of(keys, "PUT", "once", **{"If-None-Match": "*"})
    assert [requests.put(once, data=b"y", timeout=60).status_code for _ in range(2)] == [200, 412]
    other = {"If-Match": '"d41d8cd98f00b204e9800998ecf8427e"'}
    assert requests.get(address_of(keys, "GET", "k", **other), timeout=60).status_code == 412
    same = {"If-None-Match": aws.head_object(Bucket="presigned", Key="k")["ETag"]}
    assert requests.get(address_of(keys, "GET", "k", **same), timeout=60).status_code == 304
    assert requests.get(address_of(keys, "GET", "k"), timeout=60).text == "x"


def test_the_end_of_an_address_is_no_objects_but_its_metadata_are(aws: Any, keys: dict[str, Any]) -> None:
    old = boto3.client("s3", config=Config(signature_version="s3"), **keys)
    old.meta.events.unregister("before-parameter-build.s3.PutObject", validate_ascii_metadata)
    asked = {"Bucket": "presigned", "Key": "old", "Metadata": {"word": "日本", "two": "b"}}
    assert requests.put(old.generate_presigned_url("put_object", asked), timeout=60).status_code == 200
    found = aws.head_object(Bucket="presigned", Key="old")
    assert "Expires" not in found
    assert found["Metadata"] == {"word": "=?UTF-8?B?5pel5pys?=", "two": "b"}


def test_what_no_header_can_say_is_refused(aws: Any, keys: dict[str, Any]) -> None:
    good = address_of(keys, "GET", "k", **{"response-cache-control": "é"})
    assert requests.get(good, timeout=60).headers["cache-control"] == "é"
    bad = requests.get(address_of(keys, "GET", "k", **{"response-cache-control": "a—"}), timeout=60)
    assert bad.status_code == 400
    for part in (
        "<Code>InvalidArgument<",
        "<Message>Header value cannot be represented using ISO-8859-1.<",
        "<ArgumentName>response-cache-control<",
        "<ArgumentValue>a—<",
    ):
        assert part in bad.content.decode()
