"""What it costs that signatures are verified: a small call, and an upload of 100 MB.

    python bench/signatures.py

The small call is verified 10,000 times, and the mean printed. The upload is sent to a practice cloud of its
own, by turns with a signed body, whose hash the server must take, and with an unsigned one: the best of each.
"""

from __future__ import annotations

import http.client
import os
import time
from urllib.parse import urlsplit

from botocore.auth import S3SigV4Auth, SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from servers import Server, practice_cloud

from awslabs.sandbox.core.signatures import Key, Sent, verify

HOST = "127.0.0.1:4566"
UPLOAD_BYTES = 100 << 20


def signed(auth: type[SigV4Auth], path: str, headers: dict[str, str], body: bytes, service: str) -> Sent:
    """A request as botocore signs it."""
    request = AWSRequest("POST", f"http://{HOST}{path}", {"Host": HOST, **headers}, body)
    auth(Credentials("AKIA", "secret"), service, "us-east-1").add_auth(request)
    return Sent("POST", urlsplit(request.url).path, list(request.headers.items()), body)


def verify_s(sent: Sent, times: int) -> float:
    """Seconds that verifying takes, each time as if the request had just come."""
    keys = {"AKIA": Key("secret")}
    since = time.perf_counter()
    for _ in range(times):
        verify(Sent(sent.method, sent.target, sent.headers, sent.body), keys.get, time.time())
    return (time.perf_counter() - since) / times


class UnsignedBody(S3SigV4Auth):
    """Signs the headers, and lets the body be what it may."""

    def payload(self, request: AWSRequest) -> str:
        return "UNSIGNED-PAYLOAD"


def put_s(server: Server, auth: type[SigV4Auth], path: str, body: bytes) -> float:
    """Seconds from the first byte of a PUT, signed beforehand, to its answer."""
    address = server.endpoint_url.removeprefix("http://")
    request = AWSRequest("PUT", server.endpoint_url + path, {"Host": address}, body)
    auth(Credentials(server.access_key, server.secret_key), "s3", "us-east-1").add_auth(request)
    connection = http.client.HTTPConnection(address)
    since = time.perf_counter()
    connection.request("PUT", path, body, dict(request.headers.items()))
    answer = connection.getresponse()
    text = answer.read()
    seconds = time.perf_counter() - since
    assert answer.status == 200, text
    connection.close()
    return seconds


def uploads_s(body: bytes, times: int) -> tuple[float, float]:
    """Seconds that PutObject takes with a signed and with an unsigned body, the best of some of each."""
    kinds = (S3SigV4Auth, UnsignedBody)
    with practice_cloud() as server:
        put_s(server, S3SigV4Auth, "/bench", b"")
        seconds = [[put_s(server, kind, "/bench/large", body) for kind in kinds] for _ in range(times)]
    signed_ones, unsigned_ones = zip(*seconds, strict=True)
    return min(signed_ones), min(unsigned_ones)


def main() -> None:
    target = {"X-Amz-Target": "DynamoDB_20120810.PutItem", "Content-Type": "application/x-amz-json-1.0"}
    small = verify_s(signed(SigV4Auth, "/", target, os.urandom(1024), "dynamodb"), 10_000)
    print(f"a call of 1 KB       {1e6 * small:.0f} us")
    whole, bare = uploads_s(os.urandom(UPLOAD_BYTES), 9)
    print(f"PutObject of 100 MB  {whole:.2f} s, with an unsigned body {bare:.2f} s: {whole / bare - 1:+.1%}")


if __name__ == "__main__":
    main()
