"""Who may do what in buckets: strangers, other accounts, and users whose policies count."""

from __future__ import annotations

import base64
import datetime
import json
import zlib
from typing import Any

import boto3
import pytest
import requests
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from test_services_support import said

from awslabs import sandbox

NAME = "awslabs-access"


def client(run: sandbox.Run, service: str, access_key: str = "", secret: str = "") -> Any:
    own = run.environment()
    return boto3.client(
        service,
        endpoint_url=run.endpoint_url,
        region_name="us-east-1",
        aws_access_key_id=access_key or own["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=secret or own["AWS_SECRET_ACCESS_KEY"],
    )


@pytest.fixture
def s3(run: sandbox.Run) -> Any:
    """The owner of a bucket with one object."""
    s3 = client(run, "s3")
    s3.create_bucket(Bucket=NAME)
    s3.put_object(Bucket=NAME, Key="k", Body=b"private")
    yield s3
    run.reset()


# --- strangers ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["Signature", "X-Amz-Signature", "AWSAccessKeyId", "x-amz-credential"])
def test_a_header_that_is_called_like_a_signature_signs_nothing(run: sandbox.Run, s3: Any, name: str) -> None:
    url = f"{run.endpoint_url}/{NAME}"
    for method, path in (("GET", "/k"), ("GET", ""), ("PUT", "/k"), ("DELETE", "/k")):
        assert requests.request(method, url + path, headers={name: "x"}).status_code == 403, (method, path)
    assert s3.get_object(Bucket=NAME, Key="k")["Body"].read() == b"private"


@pytest.mark.parametrize("kind", ["application/x-www-form-urlencoded", "multipart/form-data; boundary=b"])
def test_the_fields_of_a_form_are_no_query(run: sandbox.Run, s3: Any, kind: str) -> None:
    form = {"X-Amz-Signature": "x", "Signature": "x"}
    plain = "&".join(f"{name}={value}" for name, value in form.items())
    parts = "".join(
        f'--b\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'
        for name, value in form.items()
    )
    body = f"{parts}--b--\r\n" if "boundary" in kind else plain
    for method in ("GET", "PUT"):
        url, headers = f"{run.endpoint_url}/{NAME}/k", {"Content-Type": kind}
        assert requests.request(method, url, data=body, headers=headers).status_code in (403, 501)
    for text in (body, "key=other&versionId=x"):
        s3.put_object(Bucket=NAME, Key="k", Body=text, ContentType=kind)
        assert s3.get_object(Bucket=NAME, Key="k")["Body"].read().decode() == text


# --- other accounts -----------------------------------------------------------------------------------

OTHER = "999988887777"


@pytest.fixture
def other(run: sandbox.Run) -> Any:
    """Somebody of another account."""
    key = f"{sandbox.KEY_PREFIX}{OTHER}"
    return client(run, "s3", key, run.secret_access_key(key))


def test_a_bucket_of_another_account_is_closed(s3: Any, other: Any) -> None:
    of_one, of_bucket = {"Bucket": NAME, "Key": "k"}, {"Bucket": NAME}
    for method, asked in (
        (other.get_object, of_one),
        (other.put_object, of_one),
        (other.delete_object, of_one),
        (other.get_object_attributes, of_one | {"ObjectAttributes": ["ETag"]}),
        (other.create_multipart_upload, of_one),
        (other.list_objects_v2, of_bucket),
        (other.list_object_versions, of_bucket),
        (other.list_multipart_uploads, of_bucket),
        (other.get_bucket_versioning, of_bucket),
        (other.put_bucket_versioning, of_bucket | {"VersioningConfiguration": {"Status": "Enabled"}}),
        (other.delete_bucket, of_bucket),
    ):
        assert said(method, **asked) == "AccessDenied", method
    assert said(other.head_bucket, **of_bucket) == "403"
    answer = other.delete_objects(Bucket=NAME, Delete={"Objects": [{"Key": "k"}]})
    assert [each["Code"] for each in answer["Errors"]] == ["AccessDenied"]
    assert said(other.create_bucket, **of_bucket) == "BucketAlreadyExists"
    url = other.generate_presigned_url("get_object", Params=of_one)
    assert requests.get(url).status_code == 403
    assert s3.get_object(**of_one)["Body"].read() == b"private"


def test_nothing_is_copied_out_of_a_bucket_of_another_account(s3: Any, other: Any) -> None:
    other.create_bucket(Bucket=f"{NAME}-2")
    into = {"Bucket": f"{NAME}-2", "Key": "k"}
    assert said(other.copy_object, **into, CopySource=f"{NAME}/k") == "AccessDenied"
    into["UploadId"] = other.create_multipart_upload(**into)["UploadId"]
    assert said(other.upload_part_copy, **into, CopySource=f"{NAME}/k", PartNumber=1) == "AccessDenied"


def test_a_policy_opens_a_bucket_to_another_account(s3: Any, other: Any) -> None:
    allowed = {
        "Effect": "Allow",
        "Principal": {"AWS": f"arn:aws:iam::{OTHER}:root"},
        "Action": ["s3:GetObject", "s3:DeleteObject"],
        "Resource": f"arn:aws:s3:::{NAME}/k*",
    }
    policy = {"Version": "2012-10-17", "Statement": [allowed]}
    s3.put_bucket_policy(Bucket=NAME, Policy=json.dumps(policy))
    assert other.get_object(Bucket=NAME, Key="k")["Body"].read() == b"private"
    assert said(other.put_object, Bucket=NAME, Key="k") == "AccessDenied"
    answer = other.delete_objects(Bucket=NAME, Delete={"Objects": [{"Key": "k"}, {"Key": "other"}]})
    assert [each["Key"] for each in answer["Deleted"]] == ["k"]
    assert [each["Key"] for each in answer["Errors"]] == ["other"]


# --- users --------------------------------------------------------------------------------------------


def user(run: sandbox.Run, *statements: dict[str, Any]) -> Credentials:
    """A user of IAM with these rights."""
    iam = client(run, "iam")
    iam.create_user(UserName="student-1")
    document = json.dumps({"Version": "2012-10-17", "Statement": list(statements)})
    if statements:
        iam.put_user_policy(UserName="student-1", PolicyName="lab", PolicyDocument=document)
    key = iam.create_access_key(UserName="student-1")["AccessKey"]
    return Credentials(key["AccessKeyId"], key["SecretAccessKey"])


def may(*actions: str, on: str = f"arn:aws:s3:::{NAME}/k") -> dict[str, Any]:
    return {"Effect": "Allow", "Action": list(actions), "Resource": on}


def sent(
    run: sandbox.Run, who: Credentials, method: str, path: str, body: bytes = b"", **headers: str
) -> requests.Response:
    """A request as no SDK sends it, signed."""
    asked = AWSRequest(method, f"{run.endpoint_url}/{NAME}{path}", data=body, headers=headers)
    signing = S3SigV4Auth(who, "s3", "us-east-1")
    if "x-amz-content-sha256" in headers:
        signing.payload = lambda request: headers["x-amz-content-sha256"]
    signing.add_auth(asked)
    return requests.request(method, asked.url, data=body, headers=dict(asked.headers.items()))


def test_each_of_many_deletions_is_judged_for_itself(run: sandbox.Run, s3: Any) -> None:
    s3.put_object(Bucket=NAME, Key="other")
    who = user(run, may("s3:DeleteObject"))
    mine = client(run, "s3", who.access_key, who.secret_key)
    wanted = [{"Key": "k"}, {"Key": "other"}, {"Key": "k", "VersionId": "null"}]
    answer = mine.delete_objects(Bucket=NAME, Delete={"Objects": wanted})
    assert [each["Key"] for each in answer["Deleted"]] == ["k"]
    assert [each["Code"] for each in answer["Errors"]] == ["AccessDenied"] * 2
    assert "s3:DeleteObjectVersion" in answer["Errors"][1]["Message"]


def test_a_policy_keeps_one_of_many_from_being_deleted(s3: Any) -> None:
    s3.put_object(Bucket=NAME, Key="other")
    denied = {"Effect": "Deny", "Principal": "*", "Action": "s3:DeleteObject"}
    policy = {"Version": "2012-10-17", "Statement": [denied | {"Resource": f"arn:aws:s3:::{NAME}/k"}]}
    s3.put_bucket_policy(Bucket=NAME, Policy=json.dumps(policy))
    answer = s3.delete_objects(Bucket=NAME, Delete={"Objects": [{"Key": "k"}, {"Key": "other"}]})
    assert [each["Key"] for each in answer["Deleted"]] == ["other"]
    assert [(each["Key"], each["Code"]) for each in answer["Errors"]] == [("k", "AccessDenied")]


@pytest.mark.parametrize("hidden", ["<Size>large</Size>", "<LastModifiedTime>soon</LastModifiedTime>", ""])
def test_no_document_hides_what_it_deletes(run: sandbox.Run, s3: Any, hidden: str) -> None:
    body = f"<Delete><Object><Key>k</Key>{hidden}</Object></Delete>".encode()
    crc = zlib.crc32(body).to_bytes(4, "big")
    chunks = b"%x\r\n%s\r\n0\r\n" % (len(body), body)
    chunks += b"x-amz-checksum-crc32:" + base64.b64encode(crc) + b"\r\n\r\n"
    headers = {
        "x-amz-content-sha256": "STREAMING-UNSIGNED-PAYLOAD-TRAILER",
        "x-amz-decoded-content-length": str(len(body)),
        "x-amz-trailer": "x-amz-checksum-crc32",
    }
    who = user(run)
    for answer in (
        sent(run, who, "POST", "?delete", body),
        sent(run, who, "POST", "?delete", chunks, **headers),
    ):
        assert ("MalformedXML" if hidden else "AccessDenied") in answer.text
    assert said(s3.head_object, Bucket=NAME, Key="k") == "ok"


def test_a_header_that_nobody_can_read_hides_no_object(run: sandbox.Run, s3: Any) -> None:
    denied = {"Effect": "Deny", "Action": "s3:GetObject", "Resource": f"arn:aws:s3:::{NAME}/k"}
    who = user(run, may("s3:GetObject", on="*"), denied)
    assert sent(run, who, "GET", "/k", **{"If-Modified-Since": "some time"}).status_code == 403
    assert sent(run, who, "GET", "/k?versionId=null").status_code == 403


def test_retention_is_passed_over_by_whom_it_is_allowed(run: sandbox.Run, s3: Any) -> None:
    name = f"{NAME}-locked"
    s3.create_bucket(Bucket=name, ObjectLockEnabledForBucket=True)
    until = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(days=1)
    lock = {"ObjectLockMode": "GOVERNANCE", "ObjectLockRetainUntilDate": until}
    version_id = s3.put_object(Bucket=name, Key="k", **lock)["VersionId"]
    who = user(run, may("s3:DeleteObjectVersion", on=f"arn:aws:s3:::{name}/*"))
    mine = client(run, "s3", who.access_key, who.secret_key)
    one = {"Bucket": name, "BypassGovernanceRetention": True}
    version = {"Key": "k", "VersionId": version_id}
    assert said(mine.delete_object, **one, **version) == "AccessDenied"
    answer = mine.delete_objects(**one, Delete={"Objects": [version]})
    assert "s3:BypassGovernanceRetention" in answer["Errors"][0]["Message"]
    s3.delete_object(**one, **version)
