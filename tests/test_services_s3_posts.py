"""Forms that a browser posts to a bucket: what their policy lets through, and what becomes of them."""

from __future__ import annotations

import base64
import json
import re
import time
from typing import Any
from urllib.parse import parse_qs, urlsplit

import boto3
import pytest
import requests
from botocore.config import Config
from botocore.exceptions import ClientError
from test_services_support import TRUST

from awslabs import sandbox
from awslabs.sandbox.core import forms
from awslabs.sandbox.core.engine import Refused
from awslabs.sandbox.services.s3 import posts

NOW = 1_800_000_000.0  # 2027-01-15
LATER, EARLIER = "2027-01-15T08:00:01Z", "2027-01-15T07:59:59.999Z"


def judged(*conditions: Any, size: int = 3, until: str = LATER, **fields: str) -> str:
    """What a policy of these conditions says to a form: code and sentence, or `ok`."""
    policy = {"expiration": until, "conditions": list(conditions)}
    try:
        posts.holds(policy, {"bucket": "b", **fields}, size, NOW)
    except Refused as refused:
        return f"{refused.code} {refused.message}"
    return "ok"


@pytest.mark.parametrize(
    ("condition", "value", "fits"),
    [
        ({"key": "a"}, "a", True),
        ({"key": "a"}, "ab", False),
        ({"KEY": "a"}, "a", True),
        (["eq", "$key", "a"], "a", True),
        (["eq", "$Key", "a"], "a", True),
        (["eq", "$key", "A"], "a", False),
        (["eq", "key", "a"], "a", False),
        (["starts-with", "$key", "a/"], "a/b", True),
        (["starts-with", "$key", ""], "anything", True),
        (["starts-with", "$key", "a/"], "A/b", False),
        (["ends-with", "$key", "b"], "a/b", False),
    ],
)
def test_a_condition_is_on_a_field_of_any_case_and_on_its_exact_value(
    condition: Any, value: str, fits: bool
) -> None:
    said = judged(condition, {"bucket": "b"}, key=value)
    shown = ["eq", f"${next(iter(condition))}", "a"] if isinstance(condition, dict) else condition
    failed = f"AccessDenied Invalid according to Policy: Policy Condition failed: {json.dumps(shown)}"
    assert said == ("ok" if fits else failed)


def test_each_field_is_in_a_condition_but_those_that_sign_and_those_to_ignore() -> None:
    signing = {
        "policy": "p",
        "x-amz-signature": "s",
        "awsaccesskeyid": "k",
        "signature": "s",
        "x-ignore-me": "",
    }
    assert judged({"bucket": "b"}, {"key": "k"}, key="k", **signing) == "ok"
    no_bucket = "AccessDenied Invalid according to Policy: Extra input fields: bucket"
    assert judged({"key": "k"}, key="k") == no_bucket
    extra = "AccessDenied Invalid according to Policy: Extra input fields: acl, tagging"
    assert judged({"bucket": "b"}, {"key": "k"}, key="k", acl="private", tagging="") == extra
    assert judged({"bucket": "another"}).startswith("AccessDenied")


def test_a_policy_ends() -> None:
    assert judged({"bucket": "b"}, until=LATER) == "ok"
    assert (
        judged({"bucket": "b"}, until=EARLIER) == "AccessDenied Invalid according to Policy: Policy expired."
    )


@pytest.mark.parametrize(
    ("limits", "size", "said"),
    [
        ((5, 10), 5, "ok"),
        ((5, 10), 10, "ok"),
        (("5", "10"), 10, "ok"),
        ((5, 10), 12, "EntityTooLarge Your proposed upload exceeds the maximum allowed size"),
        ((5, 10), 1, "EntityTooSmall Your proposed upload is smaller than the minimum allowed size"),
        (
            ("test", "10"),
            7,
            "AccessDenied Invalid according to Policy: Policy Condition failed: "
            '["content-length-range", "test", "10"]',
        ),
    ],
)
def test_a_file_is_as_large_as_it_may_be(limits: tuple[Any, Any], size: int, said: str) -> None:
    assert judged({"bucket": "b"}, ["content-length-range", *limits], size=size) == said


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("not base64", "Invalid Policy: Invalid JSON."),
        (base64.b64encode(b"{").decode(), "Invalid Policy: Invalid JSON."),
        (base64.b64encode(b"[]").decode(), "Invalid Policy: Invalid JSON."),
        (base64.b64encode(b"{}").decode(), "Invalid Policy: Policy missing expiration."),
        (
            base64.b64encode(json.dumps({"expiration": LATER}).encode()).decode(),
            "Invalid Policy: Policy missing conditions.",
        ),
    ],
)
def test_what_is_no_policy(text: str, said: str) -> None:
    with pytest.raises(Refused) as problem:
        posts._policy(text)
    assert (problem.value.code, problem.value.message) == ("InvalidPolicyDocument", said)


def test_what_is_no_condition() -> None:
    two = "Invalid Simple-Condition: Simple-Conditions must have exactly one property specified."
    assert judged({"bucket": "b", "key": "k"}, key="k") == f"InvalidPolicyDocument Invalid Policy: {two}"
    assert judged({"bucket": 1}).endswith("Invalid Simple-Condition: value must be a string.")
    assert judged(["eq", "$key"]) == "InvalidPolicyDocument Invalid Policy: Invalid Condition."


@pytest.mark.parametrize("expiration", ["2026-13-01T00:00:00Z", "0000-01-01T00:00:00Z", "soon", 1, None])
def test_a_policy_says_when_it_ends(expiration: Any) -> None:
    text = base64.b64encode(json.dumps({"expiration": expiration, "conditions": []}).encode()).decode()
    with pytest.raises(Refused, match="Policy missing expiration"):
        posts._policy(text)


def test_a_policy_that_is_too_deep_is_none() -> None:
    with pytest.raises(Refused, match="Invalid JSON"):
        posts._policy(base64.b64encode(b"[" * 100_000).decode())


@pytest.mark.parametrize("kind", [["eq"], {}, None])
def test_a_condition_of_no_kind_fails(kind: Any) -> None:
    assert judged({"bucket": "b"}, [kind, "$key", "a"], key="a").startswith("AccessDenied")


@pytest.mark.parametrize("text", ["<", "<Tagging>x</Tagging>", "<Tagging><TagSet><Tag/></TagSet></Tagging>"])
def test_tags_of_a_form_are_a_document(text: str) -> None:
    with pytest.raises(Refused, match="MalformedXML"):
        posts._tags(text)


def test_what_follows_the_file_is_no_field() -> None:
    lines = ("name=key", "k", 'name="file"; filename="a"', "x", "name=acl", "public-read")
    body = "".join(
        f"--b\r\nContent-Disposition: form-data; {name}\r\n\r\n{value}\r\n"
        for name, value in zip(lines[::2], lines[1::2], strict=True)
    )
    form = forms.read("multipart/form-data; boundary=b", f"{body}--b--\r\n".encode())
    assert form == forms.Form({"key": "k"}, b"x", "a")
    for kind, text in (("multipart/form-data", body), ("multipart/form-data; boundary=b", "no form")):
        with pytest.raises(forms.Malformed):
            forms.read(kind, text.encode())


# --- the whole way ------------------------------------------------------------------------------------


@pytest.fixture(params=["s3", "s3v4"])
def s3(run: sandbox.Run, request: pytest.FixtureRequest) -> tuple[Any, Any, str]:
    """A client that presigns in either way, one that signs as all do, and a bucket."""
    own = run.environment()
    client = boto3.client(
        "s3",
        endpoint_url=run.endpoint_url,
        region_name="us-east-1",
        aws_access_key_id=own["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=own["AWS_SECRET_ACCESS_KEY"],
        config=Config(signature_version=request.param),
    )
    name = f"forms-{request.param}"
    plain = boto3.client(
        "s3",
        endpoint_url=run.endpoint_url,
        region_name="us-east-1",
        aws_access_key_id=own["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=own["AWS_SECRET_ACCESS_KEY"],
    )
    plain.create_bucket(Bucket=name)
    return client, plain, name


def post(client: Any, bucket: str, key: str, file: Any = "content", **fields: str) -> requests.Response:
    """Post a form with these fields, all of which its policy allows."""
    made = client.generate_presigned_post(
        bucket, key, Fields=fields, Conditions=[{"bucket": bucket}, *({n: v} for n, v in fields.items())]
    )
    return requests.post(
        made["url"], data=made["fields"], files={"file": file}, allow_redirects=False, timeout=60
    )


def code_of(answer: requests.Response) -> str:
    found = re.search(r"<Code>(\w+)</Code>", answer.text)
    return found[1] if found else "ok"


def test_a_form_becomes_an_object_with_all_that_it_says(s3: Any) -> None:
    client, plain, bucket = s3
    fields = {
        "Content-Type": "text/plain",
        "x-amz-meta-Two": "a b",
        "x-amz-storage-class": "STANDARD_IA",
        "tagging": "<Tagging><TagSet><Tag><Key>k</Key><Value>v w</Value></Tag></TagSet></Tagging>",
    }
    answer = post(client, bucket, "日本/a b", b"\x00\xff" * 40_000, **fields)
    assert (answer.status_code, answer.text) == (204, "")
    assert "content-type" not in answer.headers
    found = plain.get_object(Bucket=bucket, Key="日本/a b")
    assert found["Body"].read() == b"\x00\xff" * 40_000
    assert (found["ContentType"], found["StorageClass"]) == ("text/plain", "STANDARD_IA")
    assert (found["Metadata"], found["ETag"]) == ({"two": "a b"}, answer.headers["etag"])
    assert plain.get_object_tagging(Bucket=bucket, Key="日本/a b")["TagSet"] == [{"Key": "k", "Value": "v w"}]
    assert post(client, bucket, "bare", tagging="<InvalidXmlTagging></InvalidXmlTagging>").status_code == 204
    assert plain.get_object_tagging(Bucket=bucket, Key="bare")["TagSet"] == []


def test_a_form_is_answered_as_it_wants_to_be(s3: Any) -> None:
    client, plain, bucket = s3
    named = post(client, bucket, "a-${filename}", ("my file", "x"), success_action_status="201")
    location = f"https://{bucket}.s3.amazonaws.com/a-my%20file"
    assert (named.status_code, named.headers["location"]) == (201, location)
    for part in (f"<Bucket>{bucket}</Bucket>", "<Key>a-my file</Key>", f"<Location>{location}</Location>"):
        assert part in named.text
    assert post(client, bucket, "k", success_action_status="200").status_code == 200
    assert post(client, bucket, "k", success_action_status="404").status_code == 204
    led = post(client, bucket, "k", success_action_redirect="http://localhost/there?a=1")
    there = urlsplit(led.headers["location"])
    assert (led.status_code, there.path) == (303, "/there")
    assert parse_qs(there.query) == {
        "a": ["1"],
        "bucket": [bucket],
        "key": ["k"],
        "etag": [led.headers["etag"]],
    }
    assert post(client, bucket, "k", success_action_redirect="/there").status_code == 204
    plainly = post(client, bucket, "b-${filename}", (None, "x"))  # a field, which has no name of a file
    assert plainly.status_code == 204
    assert plain.head_object(Bucket=bucket, Key="b-${filename}")["ContentLength"] == 1


def test_what_a_form_is_refused_for(s3: Any) -> None:
    client, plain, bucket = s3
    made = client.generate_presigned_post(bucket, "refused", Conditions=[{"bucket": bucket}])
    fields, files = made["fields"], {"file": "x"}

    def answer(url: str = made["url"], **more: Any) -> requests.Response:
        return requests.post(url, **({"data": fields, "files": files, "timeout": 60} | more))

    assert code_of(answer(data=fields | {"acl": "private"})) == "AccessDenied"
    assert code_of(answer(data=fields | {"key": "another"})) == "AccessDenied"
    assert code_of(answer(url=made["url"].replace(bucket, "forms-else"))) == "AccessDenied"
    assert code_of(answer(data={"key": "refused"})) == "AccessDenied"
    assert code_of(answer(data={name: fields[name] for name in ("key", "policy")})) == "AccessDenied"
    assert code_of(answer(files={"other": "x"})) == "InvalidArgument"
    wrong = answer(headers={"Content-Type": "text/html"})
    assert (wrong.status_code, code_of(wrong)) == (412, "PreconditionFailed")
    assert "<Condition>Bucket POST must be of the enclosure-type multipart/form-data<" in wrong.text
    assert code_of(post(client, bucket, "refused", tagging="not-xml")) == "MalformedXML"
    assert (
        code_of(post(client, bucket, "refused", **{"x-amz-storage-class": "FAKE"})) == "InvalidStorageClass"
    )
    assert code_of(post(client, bucket, "")) == "InvalidArgument"
    assert code_of(post(client, "forms-nowhere", "k")) == "NoSuchBucket"
    assert plain.list_objects_v2(Bucket=bucket, Prefix="refused")["KeyCount"] == 0


def test_a_form_that_a_role_signs_may_what_the_role_may(run: sandbox.Run, s3: Any) -> None:
    _, plain, bucket = s3
    own = run.environment()
    at_home = {"endpoint_url": run.endpoint_url, "region_name": "us-east-1"} | {
        "aws_access_key_id": own["AWS_ACCESS_KEY_ID"],
        "aws_secret_access_key": own["AWS_SECRET_ACCESS_KEY"],
    }
    iam, sts = boto3.client("iam", **at_home), boto3.client("sts", **at_home)
    trust = TRUST % '{"AWS":"*"}'
    name = f"writer-of-{bucket}"
    role = iam.create_role(RoleName=name, AssumeRolePolicyDocument=trust)["Role"]
    keys = sts.assume_role(RoleArn=role["Arn"], RoleSessionName="me")["Credentials"]
    client = boto3.client(
        "s3",
        endpoint_url=run.endpoint_url,
        region_name="us-east-1",
        aws_access_key_id=keys["AccessKeyId"],
        aws_secret_access_key=keys["SecretAccessKey"],
        aws_session_token=keys["SessionToken"],
        config=Config(signature_version=bucket.rpartition("-")[2]),
    )
    assert code_of(post(client, bucket, "of-role/a")) == "AccessDenied"
    with pytest.raises(ClientError):
        plain.head_object(Bucket=bucket, Key="of-role/a")
    allowed = {"Effect": "Allow", "Action": "s3:PutObject", "Resource": f"arn:aws:s3:::{bucket}/of-role/*"}
    document = json.dumps({"Version": "2012-10-17", "Statement": [allowed]})
    iam.put_role_policy(RoleName=name, PolicyName="p", PolicyDocument=document)
    assert post(client, bucket, "of-role/a").status_code == 204
    assert code_of(post(client, bucket, "elsewhere/a")) == "AccessDenied"


def test_a_policy_that_is_over_lets_nothing_through(s3: Any) -> None:
    client, _, bucket = s3
    made = client.generate_presigned_post(bucket, "k", ExpiresIn=-60)
    assert posts._policy(made["fields"]["policy"])["expiration"] < time.strftime("%Y-%m-%dT%H:%M:%SZ")
    answer = requests.post(made["url"], data=made["fields"], files={"file": "x"}, timeout=60)
    assert (answer.status_code, code_of(answer)) == (403, "AccessDenied")
    assert "Invalid according to Policy: Policy expired." in answer.text


def test_a_form_names_its_file_without_folders(s3: Any) -> None:
    client, plain, bucket = s3
    for path in (r"C:\\docs\\a.txt", "../docs/a.txt", "a.txt"):  # a backslash is escaped by another
        assert post(client, bucket, "up/${filename}", (path, b"x")).status_code == 204
    assert [each["Key"] for each in plain.list_objects_v2(Bucket=bucket, Prefix="up/")["Contents"]] == [
        "up/a.txt"
    ]


def test_a_digest_in_a_form_that_is_no_base64(s3: Any) -> None:
    client, _, bucket = s3
    for value in ("\u00e9AAA", "a"):
        answer = post(client, bucket, "k", **{"x-amz-checksum-crc32": value})
        assert code_of(answer) == "InvalidRequest"


def test_a_form_puts_no_lines_into_headers(s3: Any) -> None:
    client, plain, bucket = s3
    fields = {"Content-Type": "text/plain\r\nX-Odd: yes", "Cache-Control": "a\x00b"}
    assert post(client, bucket, "lines", **fields).status_code == 204
    answer = plain.get_object(Bucket=bucket, Key="lines")
    assert (answer["ContentType"], answer["CacheControl"]) == ("text/plain  X-Odd: yes", "a b")
    for address, leads in (
        ("http://there/\u20ac?a=b", "http://there/%E2%82%AC?a=b&bucket="),
        ("http://[there", ""),
        ("javascript://there/%0aalert(1)", ""),
    ):
        shown = post(client, bucket, "lines", success_action_redirect=address)
        assert shown.status_code == (303 if leads else 204)
        assert shown.headers["location"].startswith(leads or "https://")
