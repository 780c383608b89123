"""What it costs that signatures are verified: a small call, and an upload of 100 MB.

    python bench/signatures.py

The small call is verified 10,000 times, and the mean printed. The upload is sent to a practice cloud of its
own with boto3; printed are its time, and how long verifying the same request takes alone: the share of it.
"""

from __future__ import annotations

import os
import time
from urllib.parse import urlsplit

from botocore.auth import S3SigV4Auth, SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from servers import practice_cloud

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


def upload_s(body: bytes) -> float:
    """Seconds that PutObject takes, the best of three."""
    with practice_cloud() as server:
        s3 = server.client("s3")
        s3.create_bucket(Bucket="bench")
        seconds = []
        for _ in range(3):
            since = time.perf_counter()
            s3.put_object(Bucket="bench", Key="large", Body=body)
            seconds.append(time.perf_counter() - since)
        return min(seconds)


def main() -> None:
    target = {"X-Amz-Target": "DynamoDB_20120810.PutItem", "Content-Type": "application/x-amz-json-1.0"}
    small = verify_s(signed(SigV4Auth, "/", target, os.urandom(1024), "dynamodb"), 10_000)
    print(f"a call of 1 KB       {1e6 * small:.0f} us")
    body = os.urandom(UPLOAD_BYTES)
    alone = verify_s(signed(S3SigV4Auth, "/bench/large", {}, body, "s3"), 3)
    whole = upload_s(body)
    print(f"PutObject of 100 MB  {whole:.2f} s, of which {alone:.2f} s ({alone / whole:.1%}) to verify it")


if __name__ == "__main__":
    main()
