"""Requests to S3 as no SDK sends them: each has an answer of AWS's, and none makes moto stumble."""

from __future__ import annotations

import datetime
import re
from typing import Any

import pytest
from botocore.credentials import Credentials
from botocore.exceptions import ClientError
from test_services_s3_access import NAME, client, sent
from test_services_support import said

from awslabs import sandbox
from awslabs.sandbox.services.s3 import pages

LOCKED = f"{NAME}-locked"


@pytest.fixture(scope="module")
def s3(run: sandbox.Run) -> Any:
    """A client, a bucket with versions and locks, and one without."""
    s3 = client(run, "s3")
    s3.create_bucket(Bucket=NAME)
    s3.create_bucket(Bucket=LOCKED, ObjectLockEnabledForBucket=True)
    for bucket in (NAME, LOCKED):
        s3.put_object(Bucket=bucket, Key="k", Body=b"0123456789")
    s3.put_object(Bucket=NAME, Key="empty")
    return s3


@pytest.fixture
def ask(run: sandbox.Run, s3: Any) -> Any:
    """Asks the bucket for something; status and code of an error."""
    own = run.environment()
    owner = Credentials(own["AWS_ACCESS_KEY_ID"], own["AWS_SECRET_ACCESS_KEY"])

    def ask(method: str, path: str, body: bytes = b"", **headers: str) -> tuple[int, str]:
        headers = {name.replace("_", "-"): value for name, value in headers.items()}
        answer = sent(run, owner, method, path, body, **headers)
        code = re.search("<Code>(.*?)</Code>", answer.text)
        return answer.status_code, code[1] if code else ""

    return ask


NO_XML, ODD_XML = (b"x", b"<", b"\xff<a/>", b"<other/>"), (b"<%s>text</%s>", b"<%s><other/></%s>")
DOCUMENTS = {
    "/?delete": "Delete",
    "/?versioning": "VersioningConfiguration",
    "/?lifecycle": "LifecycleConfiguration",
    "/?tagging": "Tagging",
    "/k?tagging": "Tagging",
    "/?requestPayment": "RequestPaymentConfiguration",
    "/?encryption": "ServerSideEncryptionConfiguration",
    "/?ownershipControls": "OwnershipControls",
    "/?accelerate": "AccelerateConfiguration",
    "/?notification": "NotificationConfiguration",
    "/?website": "WebsiteConfiguration",
    "/?cors": "CORSConfiguration",
    "/?publicAccessBlock": "PublicAccessBlockConfiguration",
    "-locked/?object-lock": "ObjectLockConfiguration",
    "-locked/k?retention": "Retention",
    "-locked/k?legal-hold": "LegalHold",
    "-new": "CreateBucketConfiguration",
}


@pytest.mark.parametrize("path", DOCUMENTS)
def test_a_document_that_is_none(ask: Any, path: str) -> None:
    root = DOCUMENTS[path].encode()
    method = "POST" if path == "/?delete" else "PUT"
    for body in (*NO_XML, *(each % (root, root) for each in ODD_XML)):
        assert ask(method, path, body) == (400, "MalformedXML"), body
    if path not in ("-new", "-locked/k?legal-hold"):
        assert ask(method, path) == (400, "MissingRequestBodyError")
    assert ask(method, path, b"<%s/>" % root)[0] in (200, 204, 400)  # some take one that has nothing


INVALID, MALFORMED = (400, "InvalidArgument"), (400, "MalformedXML")
NO_UPLOAD = (404, "NoSuchUpload")


@pytest.mark.parametrize(
    ("path", "answer"),
    [
        *((f"/k?partNumber={each}", INVALID) for each in ("0", "-1", "10001", "1.5", "abc", "%D9%A3")),
        ("/empty?partNumber=1", (200, "")),
        ("/k?partNumber=2", (416, "InvalidPartNumber")),
        *((f"/?{kind}max-keys={each}", INVALID) for kind in ("", "list-type=2&") for each in ("abc", "-1")),
        ("/?max-keys=0", (200, "")),
        ("/?max-keys=2147483648", INVALID),
        ("/?uploads&max-uploads=abc", INVALID),
        ("/?list-type=2&continuation-token=%C3%A9", INVALID),
        ("/?versions&key-marker=k&version-id-marker=x", INVALID),
        ("/k?response-content-type=a%0D%0AX%3A%20y", INVALID),
        ("/k?attributes", (200, "")),
        ("/k?If-None-Match=%2A", (200, "")),  # a condition in a query is one of an address that is presigned
    ],
)
def test_a_query_that_is_odd(ask: Any, path: str, answer: tuple[int, str]) -> None:
    assert ask("GET", path) == answer


@pytest.mark.parametrize(
    ("header", "value", "answer"),
    [
        ("If-Modified-Since", "Fri, 31 Dec 9999 23:59:59 -2359", (200, "")),
        ("If-Unmodified-Since", "Mon, 01 Jan 2020 10:10020000001", (200, "")),
        ("x-amz-object-attributes", "Etag", INVALID),
    ],
)
def test_a_header_that_is_odd(ask: Any, header: str, value: str, answer: tuple[int, str]) -> None:
    assert ask("GET", "/k?attributes" if header.startswith("x-amz") else "/k", **{header: value}) == answer


def test_how_many_buckets_a_page_has(run: sandbox.Run, s3: Any) -> None:
    with pytest.raises(ClientError, match="InvalidArgument"):
        client(run, "s3").list_buckets(MaxBuckets=10_001)
    assert len(client(run, "s3").list_buckets(MaxBuckets=1)["Buckets"]) == 1


def test_an_upload_is_of_one_key(ask: Any, s3: Any) -> None:
    of_one = {"Bucket": NAME, "Key": "parts"}
    upload_id = s3.create_multipart_upload(**of_one, ChecksumAlgorithm="CRC32")["UploadId"]
    part = s3.upload_part(**of_one, UploadId=upload_id, PartNumber=1, Body=b"x", ChecksumAlgorithm="CRC32")
    own = f"<ETag>{part['ETag']}</ETag><ChecksumCRC32>{part['ChecksumCRC32']}</ChecksumCRC32>"
    whole = f"<Part><PartNumber>1</PartNumber>{own}</Part>"
    body = f"<CompleteMultipartUpload>{whole}</CompleteMultipartUpload>".encode()
    for key, method, more in (
        ("other", "PUT", "&partNumber=1"),
        ("other", "GET", ""),
        ("other", "DELETE", ""),
        ("other", "POST", ""),
    ):
        text = body if method == "POST" else b""
        assert ask(method, f"/{key}?uploadId={upload_id}{more}", text) == NO_UPLOAD, method
    copied = {"x_amz_copy_source": f"{NAME}/k"}
    assert ask("PUT", f"/other?partNumber=1&uploadId={upload_id}", **copied) == NO_UPLOAD
    assert ask("GET", f"/parts?uploadId={upload_id}&max-parts=abc") == INVALID
    for inner in ("<Part/>", "<Part><ETag>x</ETag></Part>", "<Part><PartNumber>x</PartNumber></Part>"):
        text = f"<CompleteMultipartUpload>{inner}</CompleteMultipartUpload>".encode()
        assert ask("POST", f"/parts?uploadId={upload_id}", text) == MALFORMED
    asked = {"x_amz_mp_object_size": "many"}
    assert ask("POST", f"/parts?uploadId={upload_id}", body, **asked) == (400, "InvalidRequest")
    assert ask("POST", f"/parts?uploadId={upload_id}", body) == (200, "")
    asked = {"x_amz_object_attributes": "ObjectParts", "x_amz_max_parts": "many"}
    assert ask("GET", "/parts?attributes", **asked) == INVALID


def test_what_is_copied_is_there(ask: Any, s3: Any) -> None:
    s3.put_object(Bucket=NAME, Key="a b", Body=b"blank")
    s3.put_object(Bucket=NAME, Key="a+b", Body=b"plus sign")
    marker = s3.delete_object(Bucket=LOCKED, Key="gone")["VersionId"]
    upload_id = s3.create_multipart_upload(Bucket=NAME, Key="copy")["UploadId"]
    for path in ("/copy", f"/copy?partNumber=1&uploadId={upload_id}"):
        for source, answer in (
            ("", INVALID),
            (NAME, INVALID),
            (f"{NAME}/", INVALID),
            (f"{NAME}/nothing", (404, "NoSuchKey")),
            (f"{NAME}/k?versionId=x", INVALID),
            (f"{LOCKED}/gone", (404, "NoSuchKey")),
            (f"{LOCKED}/gone?versionId={marker}", (400, "InvalidRequest")),
            (f"{LOCKED}/k?versionId=null", (404, "NoSuchVersion")),
            (f"{NAME}/a+b", (200, "")),
        ):
            assert ask("PUT", path, x_amz_copy_source=source) == answer, (path, source)
    parts = s3.list_parts(Bucket=NAME, Key="copy", UploadId=upload_id)["Parts"]
    assert [each["Size"] for each in parts] == [len("blank")]
    assert s3.get_object(Bucket=NAME, Key="copy")["Body"].read() == b"blank"


def lifecycle(rule: str) -> bytes:
    return f"<LifecycleConfiguration><Rule>{rule}</Rule></LifecycleConfiguration>".encode()


def test_a_lifecycle_rule_spoils_no_object(ask: Any, s3: Any) -> None:
    expires = "<Expiration><Days>{}</Days></Expiration>"
    on = "<Status>Enabled</Status><Filter>{}</Filter>"
    for wrong, answer in (
        (on.format("") + expires.format("x"), MALFORMED),
        (on.format("") + expires.format(0), INVALID),
        (on.format("<Tag><Key>a</Key></Tag>") + expires.format(1), MALFORMED),
        (on.format("<ObjectSizeGreaterThan>x</ObjectSizeGreaterThan>") + expires.format(1), MALFORMED),
        (on.format("") + "<Expiration><Date>0001-01-01</Date></Expiration>", MALFORMED),
    ):
        assert ask("PUT", "/?lifecycle", lifecycle(wrong)) == answer, wrong
    assert ask("PUT", "/?lifecycle", lifecycle(on.format("") + expires.format(99_999_999_999))) == (200, "")
    assert "Expiration" not in s3.head_object(Bucket=NAME, Key="k")
    named = "<ID>two\nlines \u20ac</ID>" + on.format("") + expires.format(1)
    assert ask("PUT", "/?lifecycle", lifecycle(named)) == (200, "")
    shown = s3.head_object(Bucket=NAME, Key="k")["Expiration"]
    assert shown.endswith('rule-id="two%0Alines%20%E2%82%AC"')
    rules = s3.get_bucket_lifecycle_configuration(Bucket=NAME)["Rules"]
    assert [each["ID"] for each in rules] == ["two\nlines \u20ac"]
    s3.delete_bucket_lifecycle(Bucket=NAME)


MODE, UNTIL = "x_amz_object_lock_mode", "x_amz_object_lock_retain_until_date"


@pytest.mark.parametrize(
    "until", ["soon", "1e400", "0001-01-01", "2999-02-30T00:00:00Z", "2020-01-01T00:00:00Z"]
)
def test_a_date_that_locks_nothing(ask: Any, until: str) -> None:
    lock = {MODE: "GOVERNANCE", UNTIL: until, "x_amz_sdk_checksum_algorithm": "CRC32"}
    assert ask("PUT", "-locked/new", b"x", **lock) == INVALID
    body = f"<Retention><Mode>GOVERNANCE</Mode><RetainUntilDate>{until}</RetainUntilDate></Retention>"
    assert ask("PUT", "-locked/k?retention", body.encode()) == (INVALID if "2020" in until else MALFORMED)


@pytest.mark.parametrize("until", ["2999-01-01", "2999-01-01T01:00:00+01:00", "2999-01-01T00:00:00.000Z"])
def test_a_date_is_written_in_several_ways(ask: Any, s3: Any, until: str) -> None:
    lock = {MODE: "GOVERNANCE", UNTIL: until, "x_amz_sdk_checksum_algorithm": "CRC32"}
    of_one = {"Bucket": LOCKED, "Key": "dated"}
    assert ask("PUT", "-locked/dated", b"x", **lock) == (200, "")
    body = f"<Retention><Mode>GOVERNANCE</Mode><RetainUntilDate>{until}</RetainUntilDate></Retention>"
    version_id = s3.head_object(**of_one)["VersionId"]
    for _ in range(2):
        right = datetime.datetime(2999, 1, 1, tzinfo=datetime.timezone.utc)
        assert s3.get_object_retention(**of_one)["Retention"]["RetainUntilDate"] == right
        assert said(s3.delete_object, **of_one, VersionId=version_id) == "AccessDenied"
        assert ask("PUT", "-locked/dated?retention", body.encode()) == (200, "")
    s3.delete_object(**of_one, VersionId=version_id, BypassGovernanceRetention=True)


def test_how_long_a_bucket_locks_its_objects(s3: Any) -> None:
    for lasts in ({"Days": 0}, {"Days": -1}, {"Days": 36_501}, {"Years": 101}):
        rule = {"DefaultRetention": {"Mode": "GOVERNANCE", **lasts}}
        asked = {"ObjectLockEnabled": "Enabled", "Rule": rule}
        with pytest.raises(ClientError, match="InvalidArgument.*Default retention period"):
            s3.put_object_lock_configuration(Bucket=LOCKED, ObjectLockConfiguration=asked)
    assert "Rule" not in s3.get_object_lock_configuration(Bucket=LOCKED)["ObjectLockConfiguration"]


def test_a_hold_is_on_or_off(ask: Any) -> None:
    hold = {"x_amz_object_lock_legal_hold": "MAYBE", "x_amz_sdk_checksum_algorithm": "CRC32"}
    assert ask("PUT", "-locked/new", b"x", **hold) == INVALID


def test_one_of_many_is_deleted_on_condition(s3: Any) -> None:
    etag = s3.put_object(Bucket=NAME, Key="c")["ETag"]
    answer = s3.delete_objects(Bucket=NAME, Delete={"Objects": [{"Key": "c", "ETag": '"other"'}]})
    assert [each["Code"] for each in answer["Errors"]] == ["PreconditionFailed"]
    assert s3.delete_objects(Bucket=NAME, Delete={"Objects": [{"Key": "c", "ETag": etag}]})["Deleted"]


def test_tags_of_a_copy_are_looked_at(s3: Any) -> None:
    asked = {"Bucket": NAME, "Key": "c", "CopySource": f"{NAME}/k", "TaggingDirective": "REPLACE"}
    assert said(s3.copy_object, **asked, Tagging="a=b&a=c") == "InvalidArgument"


def test_a_name_with_two_zeros_is_no_folder() -> None:
    asked = pages.Listing("", "", "", 10)
    assert asked.common_prefix("a\0\0b") == ""
