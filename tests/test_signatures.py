"""Signature Version 4: AWS's own examples, botocore's requests, and what is changed on the way."""

from __future__ import annotations

import base64
import calendar
import functools
import hashlib
import hmac
import io
import os
import random
import socket
import time
import zlib
from collections.abc import Callable
from dataclasses import replace
from typing import Any
from urllib.parse import unquote_plus, urlsplit

import pytest
import requests
from botocore.auth import (
    HmacV1PostAuth,
    HmacV1QueryAuth,
    S3SigV4Auth,
    S3SigV4PostAuth,
    S3SigV4QueryAuth,
    SigV4Auth,
    SigV4QueryAuth,
)
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from practice import client_of

from awslabs import sandbox
from awslabs.sandbox import server
from awslabs.sandbox.core import regions, signatures
from awslabs.sandbox.core.signatures import Key, Sent, Unproven, verify

MUTATIONS = int(os.environ.get("AWSLABS_TEST_MUTATIONS", "2000"))
KEY_ID, SECRET, TOKEN = "AKIAPRACTICE111122223333", "a secret/of+forty", "IQoJb3JpZ2lu/the+session=="
KEYS = {KEY_ID: Key(SECRET), "ASIASESSION": Key(SECRET, TOKEN)}
HOST = "127.0.0.1:4566"

# Source: S3 API reference, "Signature Calculations for the Authorization Header" and "... Multiple Chunks",
# "Authenticating Requests: Using Query Parameters".
EXAMPLE_KEY = {"AKIAIOSFODNN7EXAMPLE": Key("wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY")}
EXAMPLE_TIME = calendar.timegm((2013, 5, 24, 0, 0, 0))
EXAMPLE_SCOPE = "AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request"


def sent(method: str, target: str, headers: dict[str, str], body: bytes = b"") -> Sent:
    return Sent(method, target, list(headers.items()), body)


def authorization(names: str, signature: str) -> str:
    return f"AWS4-HMAC-SHA256 Credential={EXAMPLE_SCOPE},SignedHeaders={names},Signature={signature}"


def signed(
    auth: Callable[..., SigV4Auth], method: str, path: str, headers: dict[str, str], body: bytes = b"",
    service: str = "iam", key_id: str = KEY_ID, host: str = HOST, keys: dict[str, Key] = KEYS,
    region: str = "us-east-1",
) -> Sent:  # fmt: skip
    """A request as botocore signs it, now."""
    headers = {"Host": host, **headers}
    request = AWSRequest(method, f"http://{host}{path}", headers, body)
    key = keys[key_id]
    auth(Credentials(key_id, key.secret, key.token or None), service, region).add_auth(request)
    where = urlsplit(request.url)
    target = where.path + (f"?{where.query}" if where.query else "")
    return Sent(method, target, list(request.headers.items()), body)


def chunk(data: bytes, signature: str) -> bytes:
    return f"{len(data):x};chunk-signature={signature}\r\n".encode() + data + b"\r\n"


PARTS = (bytes(range(256)) * 300, b"the rest")


def in_chunks(signed_chunks: bool, host: str = HOST, keys: dict[str, Key] = KEYS) -> Sent:
    """An upload of `PARTS` with a checksum as trailer, as the SDKs of C and Java send it."""
    data = PARTS
    checksum = base64.b64encode(zlib.crc32(b"".join(data)).to_bytes(4, "big")).decode()
    word = f"STREAMING-{'AWS4-HMAC-SHA256' if signed_chunks else 'UNSIGNED'}-PAYLOAD-TRAILER"

    class Chunked(S3SigV4Auth):
        def payload(self, request: AWSRequest) -> str:
            return word

    headers = {
        "X-Amz-Decoded-Content-Length": str(sum(map(len, data))),
        "X-Amz-Trailer": "x-amz-checksum-crc32",
        "Content-Encoding": "aws-chunked",
    }
    seed = signed(Chunked, "PUT", "/bucket/key", headers, service="s3", host=host, keys=keys)
    if not signed_chunks:
        body = b"".join(f"{len(each):x}\r\n".encode() + each + b"\r\n" for each in data)
        return replace(seed, body=body + f"0\r\nx-amz-checksum-crc32:{checksum}\r\n\r\n".encode())
    moment = seed.header("x-amz-date")
    scope = f"{moment[:8]}/us-east-1/s3/aws4_request"
    key = f"AWS4{keys[KEY_ID].secret}".encode()
    for part in scope.split("/"):
        key = hmac.new(key, part.encode(), "sha256").digest()
    before, body, nothing = seed.header("authorization")[-64:], b"", hashlib.sha256().hexdigest()
    for each in (*data, b""):
        lines = ["AWS4-HMAC-SHA256-PAYLOAD", moment, scope, before, nothing, hashlib.sha256(each).hexdigest()]
        before = hmac.new(key, "\n".join(lines).encode(), "sha256").hexdigest()
        body += chunk(each, before) if each else f"0;chunk-signature={before}\r\n".encode()
    trailer = f"x-amz-checksum-crc32:{checksum}\n"
    lines = ["AWS4-HMAC-SHA256-TRAILER", moment, scope, before, hashlib.sha256(trailer.encode()).hexdigest()]
    last = hmac.new(key, "\n".join(lines).encode(), "sha256").hexdigest()
    body += f"{trailer.strip()}\r\nx-amz-trailer-signature:{last}\r\n\r\n".encode()
    return replace(seed, body=body)


def honest(host: str = HOST, keys: dict[str, Key] = KEYS) -> list[Sent]:
    """One request of each kind, signed now."""
    own, session = functools.partial(signed, host=host, keys=keys), [*keys][1]
    form = {"Content-Type": "application/x-www-form-urlencoded; charset=utf-8"}
    json = {"Content-Type": "application/x-amz-json-1.0", "X-Amz-Target": "DynamoDB_20120810.PutItem"}
    meta = {"x-amz-meta-my_word": "two  words", "Content-Type": "text/plain"}
    lambda_arn = "/2015-03-31/functions/arn%3Aaws%3Alambda/./invocations?Qualifier=a%20b&a=2&a=1"
    return [
        own(SigV4Auth, "POST", "/", form, b"Action=ListUsers&Version=2010-05-08"),
        own(SigV4Auth, "POST", "/", json, b'{"TableName": "t"}', "dynamodb", session),
        own(SigV4Auth, "POST", lambda_arn, {}, b"{}", "lambda"),
        own(SigV4QueryAuth, "GET", "/?Action=GetCallerIdentity&Version=2011-06-15", {}, service="sts"),
        own(S3SigV4Auth, "PUT", "/bucket/a//b/../%E3%81%82~%20x?acl", meta, b"x" * 1000, "s3"),
        own(S3SigV4QueryAuth, "GET", "/bucket/key?versionId=1", {}, service="s3", key_id=session),
        in_chunks(True, host, keys),
        in_chunks(False, host, keys),
    ]


def refusal(asked: Sent, now: float | None = None, keys: dict[str, Key] = KEYS) -> str:
    with pytest.raises(Unproven) as problem:
        verify(asked, keys.get, now or time.time())
    return problem.value.code


# -- honest requests --------------------------------------------------------------------------------------


def test_the_examples_that_aws_publishes() -> None:
    get = sent(
        "GET",
        "/test.txt",
        {
            "Host": "examplebucket.s3.amazonaws.com",
            "Range": "bytes=0-9",
            "x-amz-date": "20130524T000000Z",
            "x-amz-content-sha256": signatures.EMPTY,
            "Authorization": authorization(
                "host;range;x-amz-content-sha256;x-amz-date",
                "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41",
            ),
        },
    )
    presigned = sent(
        "GET",
        "/test.txt?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20130524"
        "%2Fus-east-1%2Fs3%2Faws4_request&X-Amz-Date=20130524T000000Z&X-Amz-Expires=86400"
        "&X-Amz-SignedHeaders=host"
        "&X-Amz-Signature=aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404",
        {"Host": "examplebucket.s3.amazonaws.com"},
    )
    data = b"a" * 66560
    body = (
        chunk(data[:65536], "ad80c730a21e5b8d04586a2213dd63b9a0e99e0e2307b0ade35a65485a288648")
        + chunk(data[65536:], "0055627c9e194cb4542bae2aa5492e3c1575bbb81b612b7d234b86a503ef5497")
        + chunk(b"", "b6c6ea8a5354eaf15b3cb7646744f4275b71ea724fed81ceb9323e279d449df9")
    )
    put = sent(
        "PUT",
        "/examplebucket/chunkObject.txt",
        {
            "Host": "s3.amazonaws.com",
            "x-amz-date": "20130524T000000Z",
            "x-amz-storage-class": "REDUCED_REDUNDANCY",
            "x-amz-content-sha256": "STREAMING-AWS4-HMAC-SHA256-PAYLOAD",
            "Content-Encoding": "aws-chunked",
            "x-amz-decoded-content-length": "66560",
            "Content-Length": "66824",
            "Authorization": authorization(
                "content-encoding;content-length;host;x-amz-content-sha256;x-amz-date;"
                "x-amz-decoded-content-length;x-amz-storage-class",
                "4f232c4386841ef735655705268965c44a0e4690baa4adea153f7db9fa80a0a9",
            ),
        },
        body,
    )
    for asked in (get, presigned, put):
        assert verify(asked, EXAMPLE_KEY.get, EXAMPLE_TIME) == "AKIAIOSFODNN7EXAMPLE"
    assert len(body) == 66824
    assert verify(presigned, EXAMPLE_KEY.get, EXAMPLE_TIME + 86400) == "AKIAIOSFODNN7EXAMPLE"
    assert refusal(presigned, EXAMPLE_TIME + 86401, EXAMPLE_KEY) == "UrlExpired"
    first_changed = replace(put, body=put.body.replace(b"a\r\n400;", b"b\r\n400;"))
    assert refusal(first_changed, EXAMPLE_TIME, EXAMPLE_KEY) == "SignatureDoesNotMatch"


@pytest.mark.parametrize("which", range(8))
def test_what_botocore_signs_is_believed(which: int) -> None:
    asked = honest()[which]
    assert verify(asked, KEYS.get, time.time()) in KEYS


def test_the_date_header_will_do() -> None:
    asked = signed(SigV4Auth, "POST", "/", {"Date": "now"}, b"x")
    assert "x-amz-date" not in asked.values
    assert verify(asked, KEYS.get, time.time()) == KEY_ID


def of_region(region: str, service: str) -> Sent:
    return signed(SigV4Auth, "POST", "/", {}, b"x", service, region=region)


@pytest.mark.parametrize("region", sorted(regions.ENABLED))
def test_a_key_is_known_in_all_regions_that_are_enabled_from_the_first_day(region: str) -> None:
    assert verify(of_region(region, "ec2"), KEYS.get, time.time()) == KEY_ID


@pytest.mark.parametrize("region", ["ap-east-1", "me-south-1", "eu-south-2", "cn-north-1"])
def test_no_key_is_known_where_nobody_has_opted_in(region: str) -> None:
    names = {
        ("ec2", "ec2"): "AuthFailure",
        ("query", "sts"): "InvalidClientTokenId",
        ("json", "dynamodb"): "UnrecognizedClientException",
        ("rest-json", "lambda"): "UnrecognizedClientException",
        ("rest-xml", "s3"): "InvalidAccessKeyId",
    }
    for (protocol, service), code in names.items():
        with pytest.raises(Unproven) as problem:
            verify(of_region(region, service), KEYS.get, time.time())
        assert problem.value.named(protocol, service)[0] == code


@pytest.mark.parametrize("region", ["us-nowhere-1", "us-east-9", "US-EAST-1"])
def test_a_region_that_is_none_is_named(region: str) -> None:
    names = {
        ("ec2", "ec2"): "AuthFailure",
        ("query", "sts"): "SignatureDoesNotMatch",
        ("json", "dynamodb"): "InvalidSignatureException",
        ("rest-xml", "s3"): "AuthorizationHeaderMalformed",
    }
    for (protocol, service), code in names.items():
        with pytest.raises(Unproven) as problem:
            verify(of_region(region, service), KEYS.get, time.time())
        said = problem.value.named(protocol, service)
        assert said[0] == code
        assert f"scoped to a valid region, not '{region}'" in said[1]


def test_the_global_region_leads_to_an_endpoint_of_s3_which_names_the_right_one() -> None:
    with pytest.raises(Unproven) as problem:
        verify(of_region("aws-global", "s3"), KEYS.get, time.time())
    code, message = problem.value.named("rest-xml", "s3")
    assert code == "AuthorizationHeaderMalformed"
    assert message.endswith("the region 'aws-global' is wrong; expecting 'us-east-1'")
    assert problem.value.more == {"Region": "us-east-1"}


def test_iam_is_the_same_in_all_regions() -> None:
    assert verify(of_region("ap-east-1", "iam"), KEYS.get, time.time()) == KEY_ID


def test_who_signs_nothing_is_nobody() -> None:
    assert verify(sent("GET", "/bucket/key", {"Host": "h"}), KEYS.get, 0) == ""


# -- others -----------------------------------------------------------------------------------------------


def test_old_schemes_and_forms_are_refused_and_not_taken_for_unsigned() -> None:
    for word in ("AWS key:sig", "Bearer x", "AWS4-ECDSA-P256-SHA256 Credential=x", "AWS4-HMAC-SHA256", "x"):
        assert refusal(sent("GET", "/b/k", {"Host": "h", "Authorization": word})) == "IncompleteSignature"
    for query in ("Signature=x", "AWSAccessKeyId=x"):
        assert refusal(sent("GET", f"/b/k?{query}", {"Host": "h"})) == "AccessDenied"
    for query in ("X-Amz-Signature=x", "X-Amz-Credential=x"):
        assert refusal(sent("GET", f"/b/k?{query}", {"Host": "h"})) == "IncompleteQuery"
    form = {"Host": "h", "Content-Type": "multipart/form-data; boundary=b"}
    body = b'--b\r\nContent-Disposition: form-data; name="X-Amz-Signature"\r\n\r\n0\r\n'
    for method, target in (
        ("PUT", "/b"),
        ("POST", "/b/k"),
        ("POST", "/b?x"),
        ("POST", "/b%2Fk"),
        ("POST", "/"),
    ):
        assert refusal(sent(method, target, form, body)) == "NotImplemented"


def test_keys_and_tokens_that_are_others() -> None:
    post, of_session = honest()[:2]
    assert refusal(post, keys={}) == "InvalidClientTokenId"
    assert refusal(post, keys={KEY_ID: Key("practice")}) == "SignatureDoesNotMatch"
    assert refusal(post, keys={KEY_ID: Key(SECRET, TOKEN)}) == "InvalidToken"
    assert refusal(of_session, keys={"ASIASESSION": Key(SECRET)}) == "InvalidToken"
    assert refusal(of_session, keys={"ASIASESSION": Key(SECRET, "another")}) == "InvalidToken"


def test_the_clock_may_be_wrong_by_15_minutes() -> None:
    now = time.time()
    post, presigned = honest()[0], honest()[5]  # 3600 s
    for drift in (-890, 890):
        assert verify(post, KEYS.get, now + drift) == KEY_ID
    for drift in (-910, 910):
        assert refusal(post, now + drift) == "SignatureExpired"
    assert verify(presigned, KEYS.get, now + 3590) == "ASIASESSION"
    assert refusal(presigned, now + 3610) == "UrlExpired"
    assert refusal(presigned, now - 910) == "SignatureExpired"
    week = {"expires": 604_801}
    longer = signed(lambda *who: S3SigV4QueryAuth(*who, **week), "GET", "/b/k", {}, service="s3")
    assert refusal(longer) == "IncompleteQuery"


def test_what_is_awss_own_must_be_signed() -> None:
    for asked, code in ((honest()[0], "SignatureDoesNotMatch"), (honest()[4], "AccessDenied")):
        more = [*asked.headers, ("X-Amz-Target", "IAM.DeleteUser")]
        assert refusal(replace(asked, headers=more)) == code
        assert verify(replace(asked, headers=[*asked.headers, ("Accept", "*")]), KEYS.get, time.time())


def test_a_word_instead_of_a_hash_is_for_s3_alone() -> None:
    unsigned = {"X-Amz-Content-SHA256": "UNSIGNED-PAYLOAD"}
    assert verify(signed(SigV4Auth, "PUT", "/b/k", unsigned, b"x", "s3"), KEYS.get, time.time())
    assert refusal(signed(SigV4Auth, "POST", "/", unsigned, b"x")) == "SignatureDoesNotMatch"
    assert refusal(signed(SigV4Auth, "PUT", "/b/k", {}, b"x", "s3")) == "InvalidRequest"
    other = signed(S3SigV4Auth, "PUT", "/b/k", {}, b"x", "s3")
    assert refusal(replace(other, body=b"y")) == "XAmzContentSHA256Mismatch"


def test_a_target_that_libraries_read_differently_is_refused() -> None:
    asked = signed(S3SigV4Auth, "GET", "/b/a%23b", {}, service="s3")
    assert verify(asked, KEYS.get, time.time()) == KEY_ID
    for target in ("/b/a#b", "x:/b/a%23b", "http://127.0.0.1:4566/b/a%23b", "/b/a%23b\xe9", ""):
        assert refusal(replace(asked, target=target)) in ("IncompleteSignature", "SignatureDoesNotMatch")


@pytest.mark.parametrize(
    ("protocol", "service", "wanted"),
    [
        (
            "query",
            "iam",
            "InvalidClientTokenId SignatureDoesNotMatch SignatureDoesNotMatch IncompleteSignature",
        ),
        ("ec2", "ec2", "AuthFailure AuthFailure RequestExpired IncompleteSignature"),
        (
            "json",
            "dynamodb",
            "UnrecognizedClientException InvalidSignatureException InvalidSignatureException "
            "IncompleteSignatureException",
        ),
        (
            "rest-xml",
            "s3",
            "InvalidAccessKeyId SignatureDoesNotMatch RequestTimeTooSkewed AuthorizationHeaderMalformed",
        ),
    ],
)
def test_each_protocol_has_its_own_word_for_it(protocol: str, service: str, wanted: str) -> None:
    codes = ("InvalidClientTokenId", "SignatureDoesNotMatch", "SignatureExpired", "IncompleteSignature")
    assert [Unproven(code, "why").named(protocol, service)[0] for code in codes] == wanted.split()
    assert Unproven("BadDigest", "why").named(protocol, service) == ("BadDigest", "why")


def test_presigned_urls_of_version_2_are_verified_too() -> None:
    def url(key_id: str, method: str, path: str) -> Sent:
        request = AWSRequest(method, f"http://{HOST}{path}", {})
        key = KEYS[key_id]
        HmacV1QueryAuth(Credentials(key_id, key.secret, key.token or None), 60).add_auth(request)
        where = urlsplit(request.url)
        return sent(method, f"{where.path}?{where.query}", {"Host": HOST})

    for key_id in KEYS:
        for path in (
            "/b/k",
            "/b/a%20%E3%81%82?versionId=1&response-content-type=a%2Fb",
            "/b?acl",
            "/b?list-type=2",
        ):
            asked = url(key_id, "GET", path)
            assert verify(asked, KEYS.get, time.time()) == key_id
            assert refusal(asked, time.time() + 62) == "UrlExpired"
            assert refusal(asked, keys=dict.fromkeys(KEYS, Key("practice"))) in (
                "SignatureDoesNotMatch",
                "InvalidToken",
            )
            for old, new in (
                ("/b", "/c"),
                ("Expires=1", "Expires=2"),
                ("Signature=", "Signature=x"),
                ("?", "?tagging&"),
            ):
                assert refusal(replace(asked, target=asked.target.replace(old, new, 1)))
            assert refusal(replace(asked, method="PUT"))
            assert refusal(replace(asked, headers=[*asked.headers, ("x-amz-acl", "public-read")]))
    put = url(KEY_ID, "PUT", "/b/k")
    assert refusal(replace(put, target=put.target + "&attributes=")) == "AccessDenied"
    assert refusal(replace(put, target=put.target + "&Expires=1")) == "IncompleteSignature"


def more_of(asked: Sent, now: float | None = None) -> tuple[str, str, dict[str, str]]:
    """Code, sentence and further members with which S3 refuses."""
    with pytest.raises(Unproven) as problem:
        verify(asked, KEYS.get, now or time.time())
    return *problem.value.named("rest-xml", "s3"), problem.value.more


def test_s3_says_what_should_have_been_signed() -> None:
    asked = signed(S3SigV4Auth, "PUT", "/b/k", {}, b"x", "s3")
    other = replace(asked, target="/b/other")
    code, message, more = more_of(other)
    claim = signatures._claim(other)
    assert code == "SignatureDoesNotMatch"
    assert message.endswith("Check your key and signing method.")
    assert claim is not None
    assert more["SignatureProvided"] == claim.signature
    assert more["AWSAccessKeyId"] == KEY_ID
    assert more["CanonicalRequest"].startswith("PUT\n/b/other\n")
    assert more["StringToSign"].endswith(hashlib.sha256(more["CanonicalRequest"].encode()).hexdigest())
    for name in ("CanonicalRequest", "StringToSign"):
        assert bytes.fromhex(more[f"{name}Bytes"]).decode() == more[name]
    right = claim.string_to_sign("AWS4-HMAC-SHA256", more["StringToSign"].rpartition("\n")[2])
    assert right == more["StringToSign"]


def test_s3_says_which_headers_are_not_signed_but_not_the_hash_of_a_presigned_url() -> None:
    url = signed(S3SigV4QueryAuth, "GET", "/b/k", {}, service="s3")
    hashed = [*url.headers, ("X-Amz-Content-SHA256", "UNSIGNED-PAYLOAD")]
    assert verify(replace(url, headers=hashed), KEYS.get, time.time()) == KEY_ID
    other = [*url.headers, ("X-Amz-Content-SHA256", "0" * 64)]
    assert refusal(replace(url, headers=other)) == "SignatureDoesNotMatch"
    code, message, more = more_of(replace(url, headers=[*hashed, ("x-amz-z", ""), ("x-amz-acl", "private")]))
    assert (code, message) == (
        "AccessDenied",
        "There were headers present in the request which were not signed",
    )
    assert more == {"HeadersNotSigned": "x-amz-acl, x-amz-z"}


def test_s3_says_since_when_a_url_is_over() -> None:
    now = time.time()
    url = signed(S3SigV4QueryAuth, "GET", "/b/k", {}, service="s3")
    code, message, more = more_of(url, now + 3700)
    assert (code, message, more["X-Amz-Expires"]) == ("AccessDenied", "Request has expired", "3600")
    ended, seen = (time.strptime(more[name], "%Y-%m-%dT%H:%M:%SZ") for name in ("Expires", "ServerTime"))
    assert calendar.timegm(seen) == int(now + 3700)
    assert calendar.timegm(seen) - calendar.timegm(ended) >= 90
    old = "/b/k?AWSAccessKeyId=" + KEY_ID + "&Signature=x&Expires=1369353600"
    assert more_of(sent("GET", old, {"Host": HOST}))[2]["Expires"] == "2013-05-24T00:00:00Z"


def test_what_lacks_in_a_url_of_s3() -> None:
    url = signed(S3SigV4QueryAuth, "GET", "/b/k", {}, service="s3")
    for name in ("Date", "Expires", "Signature"):
        parts = [each for each in url.target.split("&") if not each.startswith(f"X-Amz-{name}=")]
        code, message, _ = more_of(replace(url, target="&".join(parts)))
        assert code == "AuthorizationQueryParametersError"
        assert "version 4 requires the X-Amz-" in message
    code, message, _ = more_of(replace(url, target=url.target.replace("%2F", "%252F")))
    assert code == "AuthorizationQueryParametersError"
    assert "the Credential is mal-formed" in message
    code, message, _ = more_of(sent("GET", f"/b/k?AWSAccessKeyId={KEY_ID}&Signature=x", {"Host": HOST}))
    assert (code, message[:34]) == ("AccessDenied", "Query-string authentication requir")


def test_a_slash_that_is_encoded_is_signed_as_one() -> None:
    url = signed(S3SigV4QueryAuth, "GET", "/b/k", {}, service="s3")
    more = more_of(replace(url, target=url.target.replace("/b/k", "/%2Fb/k")))[2]
    assert more["CanonicalRequest"].startswith("GET\n//b/k\n")


# -- forms ------------------------------------------------------------------------------------------------


def form_of(fields: dict[str, str], target: str = "/b") -> Sent:
    """A form as a browser posts it."""
    parts = [*(("", name, value) for name, value in fields.items()), ('; filename="f"', "file", "content")]
    body = "".join(
        f'--line\r\nContent-Disposition: form-data; name="{name}"{more}\r\n\r\n{value}\r\n'
        for more, name, value in parts
    )
    headers = {"Host": HOST, "Content-Type": "multipart/form-data; boundary=line"}
    return sent("POST", target, headers, f"{body}--line--\r\n".encode())


def form_4(key_id: str) -> dict[str, str]:
    """The fields that botocore makes, of version 4."""
    key = KEYS[key_id]
    request = AWSRequest("POST", f"http://{HOST}/b", {})
    request.context["s3-presign-post-fields"] = {"key": "k"}
    request.context["s3-presign-post-policy"] = {"conditions": []}
    credentials = Credentials(key_id, key.secret, key.token or None)
    S3SigV4PostAuth(credentials, "s3", "us-east-1").add_auth(request)
    return request.context["s3-presign-post-fields"]


def form_2(key_id: str) -> dict[str, str]:
    """The fields that botocore makes, of version 2."""
    key = KEYS[key_id]
    request = AWSRequest("POST", f"http://{HOST}/b", {})
    request.context["s3-presign-post-fields"] = {"key": "k"}
    request.context["s3-presign-post-policy"] = {"conditions": []}
    HmacV1PostAuth(Credentials(key_id, key.secret, key.token or None)).add_auth(request)
    return request.context["s3-presign-post-fields"]


@pytest.mark.parametrize("fields_of", [form_4, form_2])
def test_forms_are_believed_if_their_policy_is_signed(fields_of: Callable[[str], dict[str, str]]) -> None:
    for key_id in KEYS:
        fields = fields_of(key_id)
        assert verify(form_of(fields), KEYS.get, time.time()) == key_id
        upper = {name.upper(): value for name, value in fields.items()}
        assert verify(form_of(upper, "/b/"), KEYS.get, time.time()) == key_id
        code, _, more = more_of(form_of(fields | {"policy": fields["policy"][:-2]}))
        assert (code, more["StringToSign"]) == ("SignatureDoesNotMatch", fields["policy"][:-2])
        assert "CanonicalRequest" not in more
        for name in fields.keys() - {"key"}:
            assert refusal(form_of(fields | {name: "x"}))
        others = dict.fromkeys(KEYS, Key("practice", KEYS[key_id].token))
        assert refusal(form_of(fields), keys=others) == "SignatureDoesNotMatch"
        assert refusal(form_of(fields), keys={}) == "InvalidClientTokenId"
        assert refusal(form_of(fields), keys={key_id: Key(SECRET, "another")}) == "InvalidToken"


def test_what_lacks_in_a_form_is_named() -> None:
    four, two = form_4(KEY_ID), form_2(KEY_ID)
    for fields, gone, named in (
        (four, ("x-amz-signature",), "X-Amz-Signature"),
        (four, ("x-amz-algorithm", "x-amz-credential"), "X-Amz-Algorithm"),
        (four, ("policy",), "Policy"),
        (two, ("signature",), "Signature"),
        (two, ("AWSAccessKeyId",), "AWSAccessKeyId"),
    ):
        code, message, more = more_of(form_of({n: v for n, v in fields.items() if n not in gone}))
        assert (code, more) == ("InvalidArgument", {"ArgumentName": named, "ArgumentValue": ""})
        assert f"must contain a field named '{named}'." in message
    assert verify(form_of({"key": "k", "policy": four["policy"]}), KEYS.get, time.time()) == ""
    no_form = sent("POST", "/b", {"Content-Type": "multipart/form-data"}, b"signature")
    assert refusal(no_form) == "MalformedPOSTRequest"
    scope = four["x-amz-credential"].replace("/s3/", "/iam/")
    assert refusal(form_of(four | {"x-amz-credential": scope})) == "SignatureDoesNotMatch"


# -- mutations --------------------------------------------------------------------------------------------


def changed(text: str, chance: random.Random) -> str:
    """One character less, more, or another."""
    at = chance.randrange(len(text) + 1)
    letter = chance.choice("aZ09/=%&;-. ~")
    return chance.choice(
        (text[:at] + letter + text[at:], text[:at] + letter + text[at + 1 :], text[:at] + text[at + 1 :])
    )


def mutated(asked: Sent, chance: random.Random) -> Sent:
    """A request in which one thing is another: of what is signed, or of the signature."""
    part = chance.choice(("method", "target", "header", "header", "auth", "auth", "body", "drop", "double"))
    headers = list(asked.headers)
    names = set(_signed_names(asked)) | {"authorization"}
    places = [at for at, (name, _) in enumerate(headers) if name.lower() in names]
    at = chance.choice(places)
    name, value = headers[at]
    if part == "method":
        return replace(
            asked, method=chance.choice(("GET", "PUT", "POST", "DELETE", "HEAD", asked.method.lower()))
        )
    if part == "target" or (part == "auth" and "authorization" not in asked.values):
        return replace(asked, target=changed(asked.target, chance))
    if part == "body":
        body = bytearray(asked.body)
        if body:
            # Not the bit that makes a small letter a capital: sizes of chunks may be written in both.
            body[chance.randrange(len(body))] ^= chance.choice((1, 2, 4, 8, 16, 64, 128))
        return replace(asked, body=bytes(body) + (b"" if asked.body else b"x"))
    if part == "drop":
        del headers[at]
    elif part == "double":
        headers.append((name, changed(value, chance)))
    elif part == "auth":
        headers = [(n, changed(v, chance) if n.lower() == "authorization" else v) for n, v in headers]
    else:
        headers[at] = name, changed(value, chance)
    return replace(asked, headers=headers)


def _signed_names(asked: Sent) -> tuple[str, ...]:
    claim = signatures._claim(asked)
    assert claim is not None
    return claim.signed_headers


def means(asked: Sent) -> object:
    """What AWS says is the same: case and order of names, runs of spaces, order and spelling of a query.

    Written without `signatures`: urllib and the rules of the documents.
    """
    path, _, query = asked.target.replace("+", "%2B").partition("?")
    pairs = sorted(
        (unquote_plus(name, "latin-1"), unquote_plus(value, "latin-1"))
        for name, _, value in (each.partition("=") for each in query.split("&") if each)
    )
    of_s3 = "s3" in asked.target + "".join(asked.values.get("authorization", []))
    parts = [unquote_plus(part, "latin-1") if of_s3 else part for part in path.split("/")]
    if not of_s3:  # normalised: no empty parts, no dots
        kept: list[str] = []
        for part in parts:
            if part == "..":
                kept[-1:] = []
            elif part not in ("", "."):
                kept.append(part)
        parts = [*kept, "/"] if kept and path.endswith(("/", "/.", "/..")) else kept
    found: dict[str, list[str]] = {}
    for name, value in asked.headers:
        value = " ".join(value.split())
        if name.lower() == "authorization":
            scheme, _, rest = value.partition(" ")
            value = scheme + " " + ",".join(sorted(each.strip() for each in rest.split(",")))
        found.setdefault(name.lower(), []).append(value)
    # A header that says nothing is the same as none.
    kept_headers = {name: ",".join(values) for name, values in found.items() if any(values)}
    body = b"" if of_s3 and "authorization" not in found else asked.body  # unsigned in S3's presigned URLs
    return asked.method, pairs, parts, kept_headers, body


def a_seed() -> int:
    """Another one each time, where more mutations are asked for than CI makes."""
    return random.randrange(1 << 32) if "AWSLABS_TEST_MUTATIONS" in os.environ else 0


def test_no_mutated_request_is_believed_and_none_falls_over() -> None:
    """2,000 by default; AWSLABS_TEST_MUTATIONS=10000 for more. The seed is shown when it fails."""
    seed = a_seed()
    chance, kinds, tried = random.Random(seed), honest(), 0
    now = time.time()
    while tried < MUTATIONS:
        asked = chance.choice(kinds)
        other = mutated(asked, chance)
        if means(other) == means(asked):
            continue
        tried += 1
        try:
            believed = verify(other, KEYS.get, now)
        except Unproven:
            continue
        # Without any sign of a signature it is nobody's request, which opens what is public.
        assert believed == "", f"{seed}:\n{asked}\n{other}"
        assert "authorization" not in other.values, (seed, other)


def test_a_verifier_that_believes_everybody_would_be_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    def believing(asked: Sent, key_of: object, now: float) -> str:
        claim = signatures._claim(asked)
        return claim.key_id if claim else ""

    monkeypatch.setitem(globals(), "verify", believing)
    with pytest.raises(AssertionError):
        test_no_mutated_request_is_believed_and_none_falls_over()


# -- a large body -----------------------------------------------------------------------------------------


class Pieces(io.RawIOBase):
    """A body that tells when it is read: at each piece, how much of it was hashed before."""

    def __init__(self, body: bytes, hashed: list[int]) -> None:
        self.body, self.at, self.hashed, self.before = body, 0, hashed, list[int]()

    def readinto(self, room: Any) -> int:
        self.before.append(sum(self.hashed))
        count = min(len(room), len(self.body) - self.at)
        room[:count] = self.body[self.at : self.at + count]
        self.at += count
        return count


def test_a_large_body_is_hashed_while_it_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    body, hashed = os.urandom(2 * server.PIECE + 17), list[int]()
    sha256 = hashlib.sha256

    class Hash:
        def __init__(self) -> None:
            self.inner = sha256()

        def update(self, data: memoryview) -> None:
            hashed.append(len(data))
            self.inner.update(data)

        def hexdigest(self) -> str:
            return self.inner.hexdigest()

    digest = hashlib.sha256(body).hexdigest()
    monkeypatch.setattr(server.hashlib, "sha256", Hash)
    source = Pieces(body, hashed)
    assert server.read_hashed(source, len(body)) == (body, digest)
    assert source.before[:3] == [0, server.PIECE, 2 * server.PIECE]
    cut = Pieces(body[:100], [])
    assert server.read_hashed(cut, len(body))[0] == body[:100]  # the client went away


def test_what_was_hashed_meanwhile_is_not_hashed_again(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = signed(SigV4Auth, "POST", "/", {}, b"x" * 10_000)
    done, sha256 = replace(asked, hashed=hashlib.sha256(asked.body).hexdigest()), signatures._sha256

    def small(data: bytes | memoryview) -> str:
        assert len(data) < 10_000
        return sha256(data)

    monkeypatch.setattr(signatures, "_sha256", small)
    assert verify(done, KEYS.get, time.time()) == KEY_ID
    with pytest.raises(Unproven):
        verify(replace(done, hashed=hashlib.sha256(b"another").hexdigest()), KEYS.get, time.time())


@pytest.mark.parametrize(
    ("authorization", "content_sha256", "wanted"),
    [
        ("AWS4-HMAC-SHA256 Credential=...", hashlib.sha256(b"").hexdigest(), True),
        ("AWS4-HMAC-SHA256 Credential=...", "", True),
        ("AWS4-HMAC-SHA256 Credential=...", "UNSIGNED-PAYLOAD", False),
        ("AWS4-HMAC-SHA256 Credential=...", "STREAMING-UNSIGNED-PAYLOAD-TRAILER", False),
        ("", "", False),
        ("Basic QVdTOg==", "", False),
    ],
)
def test_only_what_a_signature_needs_is_hashed(authorization: str, content_sha256: str, wanted: bool) -> None:
    assert signatures.wants_hash(authorization, content_sha256) is wanted


def test_a_large_upload_is_held_to_its_hash(run: sandbox.Run) -> None:
    s3, body = client(run, "s3"), os.urandom(server.PIECE + (1 << 20))
    s3.create_bucket(Bucket="large")
    s3.put_object(Bucket="large", Key="large", Body=body)
    assert s3.get_object(Bucket="large", Key="large")["Body"].read() == body
    address, keys = run.endpoint_url.removeprefix("http://"), {KEY_ID: Key(run.secret_access_key(KEY_ID))}
    honest_one = signed(S3SigV4Auth, "PUT", "/large/other", {}, body, service="s3", host=address, keys=keys)
    changed = replace(honest_one, body=body[:-1] + bytes([body[-1] ^ 1]))
    assert b"XAmzContentSHA256Mismatch" in answer(changed, address)[1]
    assert answer(honest_one, address)[0] == 200


# -- the server -------------------------------------------------------------------------------------------


def client(run: sandbox.Run, service: str) -> Any:
    return client_of(run, sandbox.ACCOUNT, service)


def answer(asked: Sent, address: str) -> tuple[int, bytes]:
    """Status and body that the server sends for exactly these bytes."""
    lines = [
        f"{asked.method} {asked.target} HTTP/1.1",
        *(f"{name}: {value}" for name, value in asked.headers),
    ]
    head = "\r\n".join([*lines, f"Content-Length: {len(asked.body)}", "Connection: close", "", ""])
    host, port = address.split(":")
    with socket.create_connection((host, int(port)), timeout=120) as connection:
        connection.sendall(head.encode("latin-1") + asked.body)
        with connection.makefile("rb") as file:
            status = int(file.readline().split()[1])
            return status, file.read().partition(b"\r\n\r\n")[2]


def test_the_server_takes_what_is_signed_and_nothing_else(run: sandbox.Run) -> None:
    """Each kind of request over the wire, then 300 changed ones: no success, no 500."""
    address = run.endpoint_url.removeprefix("http://")
    trust = (
        '{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "sts:AssumeRole", '
        '"Principal": {"AWS": "*"}}]}'
    )
    role = client(run, "iam").create_role(RoleName="reader", AssumeRolePolicyDocument=trust)["Role"]["Arn"]
    made = client(run, "sts").assume_role(RoleArn=role, RoleSessionName="me")["Credentials"]
    keys = {
        KEY_ID: Key(run.secret_access_key(KEY_ID)),
        made["AccessKeyId"]: Key(made["SecretAccessKey"], made["SessionToken"]),
    }
    s3 = client(run, "s3")
    s3.create_bucket(Bucket="bucket")
    users, put_item, invoke, caller, acl, get_object, *uploads = honest(address, keys)
    assert answer(users, address)[0] == answer(caller, address)[0] == 200
    for of_role in (put_item, get_object):
        assert b":assumed-role/reader/me is not authorized" in answer(of_role, address)[1]
    assert b"does not know lambda:POST" in answer(invoke, address)[1]  # let in: no such path
    assert b"AccessControlListNotSupported" in answer(acl, address)[1]
    for upload in uploads:
        assert answer(upload, address)[0] == 200
        assert s3.get_object(Bucket="bucket", Key="key")["Body"].read() == b"".join(PARTS)

    for upload in uploads:  # Python's http.server would fold the slashes
        assert answer(replace(upload, target=f"/{upload.target}"), address)[0] == 403

    seed, tried = a_seed(), 0
    chance = random.Random(seed)
    kinds = [users, put_item, invoke, caller, acl, get_object, *uploads]
    while tried < 300:
        other = mutated(asked := chance.choice(kinds), chance)
        if means(other) == means(asked) or " " in other.target or not other.target:
            continue  # the same, or without one target: no request of HTTP
        tried += 1
        status, text = answer(other, address)
        assert 400 <= status < 500 or status == 501, f"{seed}: {status} {text!r}\n{asked}\n{other}"
    assert s3.get_object(Bucket="bucket", Key="key")["Body"].read() == b"".join(PARTS)


def test_keys_of_objects_and_presigned_urls_are_as_boto3_has_them(run: sandbox.Run) -> None:
    s3 = client(run, "s3")
    s3.create_bucket(Bucket="letters")
    for key in ("a b", "a//b/../c", "~é+%25&=?#;", "a'(*)!", "日本", ".", "a:b@c,$"):
        where = {"Bucket": "letters", "Key": key}
        s3.put_object(**where, Body=key.encode(), Metadata={"two": "a  b"})
        assert s3.get_object(**where)["Body"].read() == key.encode()
        url = s3.generate_presigned_url("get_object", where, ExpiresIn=60)
        where_to = urlsplit(url)  # `requests` would take dots out of the path
        target, header = f"{where_to.path}?{where_to.query}", {"Host": where_to.netloc}
        assert answer(sent("GET", target, header), where_to.netloc) == (200, key.encode())
        for other in (
            target.replace("Expires=1", "Expires=2"),
            f"{target}&Action=ListUsers&Version=2010-05-08",
        ):
            assert answer(sent("GET", other, header), where_to.netloc)[0] == 403
    assert len(s3.list_objects_v2(Bucket="letters", Prefix="a", Delimiter="/")["Contents"]) == 3
    assert requests.get(f"{run.endpoint_url}/letters/a%20b").status_code == 403
    client(run, "s3").delete_public_access_block(Bucket="letters")
    policy = (
        '{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Principal": "*", '
        '"Action": "s3:GetObject", "Resource": "arn:aws:s3:::letters/*"}]}'
    )
    s3.put_bucket_policy(Bucket="letters", Policy=policy)
    assert requests.get(f"{run.endpoint_url}/letters/a%20b").text == "a b"
    assert (
        requests.get(f"{run.endpoint_url}/letters/a%20b", headers={"Authorization": "AWS a:b"}).status_code
        == 400
    )
