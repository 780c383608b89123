"""S3: every object has a checksum, the one that was sent with it or CRC64NVME.

Source: S3 user guide, "Checking object integrity for data uploads in Amazon S3"; aws-facts (k).
"""

from __future__ import annotations

import base64
from typing import Any

from moto.s3 import responses
from moto.s3.models import FakeKey, S3Backend

from awslabs.sandbox.core.checksums import DIGESTS
from awslabs.sandbox.core.engine import BucketCall, Proceed, Refused, rule
from awslabs.sandbox.services.s3.versions import found, stored

DEFAULT = "CRC64NVME"
FULL, COMPOSITE = "FULL_OBJECT", "COMPOSITE"
HEADER = "x-amz-checksum-"
_INTERNAL = {"last-modified", "content-length", "x-amz-sdk-checksum-algorithm"}
"""Headers of an object that AWS does not show to whoever puts it there."""

checksums = rule(
    "checksums",
    """Every object has a checksum: of the algorithm that came in a header or a trailer, else CRC64NVME; a
    copy that of its source, or of the algorithm that is asked for. PutObject answers with it. moto has what
    the SDK announces, and CRC32 for CRC32C and CRC64NVME. Source: aws-facts (k).""",
)


def encoded(algorithm: str, data: bytes) -> str:
    """A checksum as it stands in headers."""
    return base64.b64encode(DIGESTS[algorithm](data)).decode()


def look_at_algorithm(name: str) -> None:
    """Refuse an algorithm that there is not."""
    if name not in DIGESTS:
        message = "Checksum algorithm provided is unsupported. Please try again with any of the valid types: "
        raise Refused("InvalidRequest", message + f"[{', '.join(sorted(DIGESTS))}]")


def algorithm_of(call: BucketCall) -> str:
    """The algorithm of the checksum that comes with a body; empty without one."""
    trailer = call.header("x-amz-trailer").strip().lower()
    sent = [
        name for name in DIGESTS if call.header(HEADER + name.lower()) or trailer == HEADER + name.lower()
    ]
    return sent[0] if sent else ""


def protect(key: FakeKey, algorithm: str) -> None:
    """Give an object a checksum of all of it."""
    key.checksum_algorithm, key.checksum_type = algorithm, FULL
    key.checksum_value = encoded(algorithm, key.value)


def headers_of(key: FakeKey) -> dict[str, str]:
    """An object's checksum as headers."""
    if not (key.checksum_algorithm and key.checksum_value):
        return {}
    named = {HEADER + key.checksum_algorithm.lower(): key.checksum_value}
    return named | ({HEADER + "type": key.checksum_type} if key.checksum_type else {})


@checksums.patch(responses, "compute_checksum")
def _computed(original: Any, body: bytes, algorithm: str, encode_base64: bool = True) -> bytes:
    look_at_algorithm(algorithm)
    return base64.b64encode(DIGESTS[algorithm](body)) if encode_base64 else DIGESTS[algorithm](body)


@checksums.around("s3:PutObject")
def _put(call: BucketCall, proceed: Proceed) -> Any:
    status, headers, body = proceed()
    key = stored(call) if status < 300 else None
    if key is None:
        return status, headers, body
    protect(key, algorithm_of(call) or DEFAULT)
    shown = {
        name: value
        for name, value in headers.items()
        if not name.lower().startswith(HEADER) and name.lower() not in _INTERNAL
    }
    return status, shown | headers_of(key), body


@checksums.patch(S3Backend, "copy_object")
def _copied(
    original: Any, backend: S3Backend, source: FakeKey, bucket: str, key: str, *args: Any, **more: Any
) -> None:
    algorithm = source.checksum_algorithm or DEFAULT  # a copy onto itself takes the source away
    original(backend, source, bucket, key, *args, **more)
    made: Any = found(backend.get_bucket(bucket), key)
    made.multipart = None  # it is in one piece, whatever its source was
    protect(made, algorithm)
