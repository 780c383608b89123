"""Keys that the customer brings: moto alone, then with the rule."""

from __future__ import annotations

import base64
import hashlib
from typing import Any

import pytest
from botocore.exceptions import ClientError
from test_services_support import Case, check, client, cloud, refused, said, table

from awslabs.sandbox.services.s3 import own_keys  # noqa: F401  (what is tested here)

NAME, KEY = "lab-own-keys", "k"
OF_ONE = {"Bucket": NAME, "Key": KEY}
NOT_STORED = (
    "The object was stored using a form of Server Side Encryption. The correct parameters must be provided "
    "to retrieve the object."
)


def key(text: bytes = b"1234567890abcdef1234567890abcdef", prefix: str = "") -> dict[str, str]:
    return {
        f"{prefix}SSECustomerAlgorithm": "AES256",
        f"{prefix}SSECustomerKey": base64.b64encode(text).decode(),
        f"{prefix}SSECustomerKeyMD5": base64.b64encode(hashlib.md5(text).digest()).decode(),
    }


MINE, OTHER = key(), key(b"abcdef1234567890abcdef1234567890")


def bucket() -> Any:
    s3 = client("s3")
    s3.create_bucket(Bucket=NAME)
    return s3


def stored() -> Any:
    s3 = bucket()
    s3.put_object(**OF_ONE, **MINE, Body=b"secret")
    return s3


def problem(method: Any, **asked: Any) -> dict[str, Any]:
    with pytest.raises(ClientError) as caught:
        method(**asked)
    said: dict[str, Any] = caught.value.response["Error"]
    return said


def read_without_the_key() -> str:
    return said(stored().get_object, **OF_ONE)


def another_algorithm() -> str:
    return said(bucket().put_object, **OF_ONE, **MINE | {"SSECustomerAlgorithm": "KMS"}, Body=b"")


@table(
    Case("own_keys", read_without_the_key, "ok", "InvalidRequest"),
    Case("own_keys", another_algorithm, "ok", "InvalidEncryptionAlgorithmError"),
)
def test_aws_looks_at_the_key(case: Case) -> None:
    check(case)


def test_who_brings_the_key_reads() -> None:
    with cloud(every=True):
        s3, named = (
            stored(),
            {"SSECustomerAlgorithm": "AES256", "SSECustomerKeyMD5": MINE["SSECustomerKeyMD5"]},
        )
        got = s3.get_object(**OF_ONE, **MINE)
        assert got["Body"].read() == b"secret"
        assert named.items() <= got.items()
        assert "ServerSideEncryption" not in got
        assert (
            got["ETag"]
            == s3.head_object(**OF_ONE, **MINE)["ETag"]
            != f'"{hashlib.md5(b"secret").hexdigest()}"'
        )
        attributes = s3.get_object_attributes(**OF_ONE, **MINE, ObjectAttributes=["ETag"])
        assert attributes["ETag"] == got["ETag"].strip('"')
        assert refused(s3.get_object, **OF_ONE)[:2] == ("InvalidRequest", NOT_STORED)
        assert refused(s3.get_object, **OF_ONE, **OTHER)[::2] == ("AccessDenied", 403)
        assert refused(s3.head_object, **OF_ONE, **OTHER)[2] == 403
        assert refused(s3.get_object, **OF_ONE, **key(b"short"))[::2] == ("AccessDenied", 403)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"SSECustomerAlgorithm": None}, "must provide a valid encryption algorithm."),
        ({"SSECustomerKey": None}, "must provide an appropriate secret key."),
        (key(b"short"), "The secret key was invalid for the specified algorithm."),
        ({"SSECustomerKeyMD5": OTHER["SSECustomerKeyMD5"]}, "did not match the hash that was provided."),
        ({"ServerSideEncryption": "AES256"}, "is incompatible with the encryption method specified"),
    ],
)
def test_a_key_is_whole_or_nothing_is_stored(change: dict[str, Any], says: str) -> None:
    with cloud(every=True):
        s3 = bucket()
        asked = {name: value for name, value in (MINE | change).items() if value}
        shown = problem(s3.put_object, **OF_ONE, **asked, Body=b"")
        assert (shown["Code"], shown["ArgumentName"]) == ("InvalidArgument", "x-amz-server-side-encryption")
        assert shown["Message"].endswith(says)
        assert said(s3.head_object, **OF_ONE) == "404"


def test_a_copy_needs_the_key_of_its_source_and_may_have_its_own() -> None:
    with cloud(every=True):
        s3, of_source = stored(), key(prefix="CopySource")
        copy = {"Bucket": NAME, "Key": "d", "CopySource": f"{NAME}/{KEY}"}
        assert refused(s3.copy_object, **copy)[:2] == ("InvalidRequest", NOT_STORED)
        assert s3.copy_object(**copy, **of_source)["ServerSideEncryption"] == "AES256"
        assert said(s3.get_object, Bucket=NAME, Key="d") == "ok"
        made = s3.copy_object(**copy, **of_source, **OTHER)
        assert made["SSECustomerKeyMD5"] == OTHER["SSECustomerKeyMD5"]
        got = s3.get_object(Bucket=NAME, Key="d", **OTHER)
        assert got["ETag"] == made["CopyObjectResult"]["ETag"]


def test_all_parts_of_an_upload_have_the_same_key() -> None:
    with cloud(every=True):
        s3 = bucket()
        begun = s3.create_multipart_upload(**OF_ONE, **MINE)
        assert begun["SSECustomerKeyMD5"] == MINE["SSECustomerKeyMD5"]
        upload = {**OF_ONE, "UploadId": begun["UploadId"]}
        part = {**upload, "PartNumber": 1, "Body": b"secret"}
        assert refused(s3.upload_part, **part)[1].startswith(
            "The multipart upload initiate requested encryption."
        )
        assert refused(s3.upload_part, **part, **OTHER)[1].startswith("The provided encryption parameters")
        tag = s3.upload_part(**part, **MINE)["ETag"]
        done = s3.complete_multipart_upload(
            **upload, MultipartUpload={"Parts": [{"PartNumber": 1, "ETag": tag}]}
        )
        assert "ServerSideEncryption" not in done
        assert said(s3.get_object, **OF_ONE) == "InvalidRequest"
        assert s3.get_object(**OF_ONE, **MINE)["Body"].read() == b"secret"


def test_who_reads_brings_the_key_and_not_its_md5_alone() -> None:
    with cloud(every=True):
        s3 = stored()
        without = {name: value for name, value in MINE.items() if name != "SSECustomerKey"}
        for method in (s3.get_object, s3.head_object):
            with pytest.raises(ClientError) as caught:
                method(**OF_ONE, **without)
            assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 400
        assert problem(s3.get_object, **OF_ONE, **without)["Code"] == "InvalidArgument"
        assert s3.get_object(**OF_ONE, **MINE)["Body"].read() == b"secret"


def test_a_part_is_copied_by_who_brings_the_key_of_its_source() -> None:
    with cloud(every=True):
        s3 = stored()
        upload = {"Bucket": NAME, "Key": "copy"}
        upload["UploadId"] = s3.create_multipart_upload(**upload)["UploadId"]
        asked = {**upload, "PartNumber": 1, "CopySource": f"{NAME}/{KEY}"}
        assert said(s3.upload_part_copy, **asked) == "InvalidRequest"
        assert said(s3.upload_part_copy, **asked, **key(prefix="CopySource")) == "ok"


def test_an_object_without_a_key_is_not_read_with_one() -> None:
    with cloud(every=True):
        s3 = bucket()
        s3.put_object(**OF_ONE)
        shown = problem(s3.get_object, **OF_ONE, **MINE)
        assert shown["Code"] == "InvalidRequest"
        assert shown["Message"] == "The encryption parameters are not applicable to this object."
