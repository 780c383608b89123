"""S3: objects that are encrypted with a key that the customer brings (SSE-C).

AWS keeps the key's MD5 alone, and whoever reads brings the key again. Nothing is encrypted here.

Source: S3 user guide, "Using server-side encryption with customer-provided keys (SSE-C)"; aws-facts (k).
"""

from __future__ import annotations

import base64
import hashlib
import secrets
from dataclasses import dataclass
from typing import Any

from moto.s3.models import FakeKey

from awslabs.sandbox.core.engine import BucketCall, Proceed, Refused, memory, rule, state
from awslabs.sandbox.services.s3.conditions import source_of
from awslabs.sandbox.services.s3.documents import invalid
from awslabs.sandbox.services.s3.versions import stored

SSE = "x-amz-server-side-encryption"
SOURCE = "x-amz-copy-source-server-side-encryption"
KEY_BYTES = 32
_WITH = "Requests specifying Server Side Encryption with Customer provided keys must provide "

own_keys = rule(
    "own_keys",
    """A key that the customer brings has AES256, 32 bytes and its own MD5, or the object is not stored; its
    ETag is no MD5, and answers name the key's MD5. Who reads or copies it without the key meets
    InvalidRequest, with another one AccessDenied 403; who brings a key for an object that has none,
    InvalidRequest. All parts of an upload have the same key. moto looks at
    none of this. Source: aws-facts (k).""",
)


@state
@dataclass
class OwnKey:
    """The MD5 of the key of an object or an upload; empty without one."""

    md5: str = ""


def _headers(md5: str) -> dict[str, str]:
    return {f"{SSE}-customer-algorithm": "AES256", f"{SSE}-customer-key-md5": md5}


def _without_sse(headers: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in headers.items() if not name.lower().startswith(SSE)}


def _sent(call: BucketCall, prefix: str = SSE) -> tuple[str, str, str]:
    """Algorithm, key, and MD5 of the key that come with a request."""
    algorithm, key, md5 = (
        call.header(f"{prefix}-customer-{name}") for name in ("algorithm", "key", "key-md5")
    )
    if algorithm and algorithm != "AES256" and not (prefix == SSE and call.header(SSE)):
        message = "The Encryption request you specified is not valid. Supported value: AES256."
        raise Refused("InvalidEncryptionAlgorithmError", message, ArgumentName=SSE, ArgumentValue=algorithm)
    return algorithm, key, md5


def _key_to_store_with(call: BucketCall) -> str:
    """The MD5 of the key that comes with what is stored; empty without one."""
    algorithm, key, md5 = _sent(call)
    if not (algorithm or key or md5):
        return ""
    if call.header(SSE):
        message = (
            "Server Side Encryption with Customer provided key is incompatible with the encryption method "
            "specified"
        )
        raise invalid(message, SSE, call.header(SSE))
    _check(algorithm, key, md5)
    return md5


def _check(algorithm: str, key: str, md5: str) -> None:
    """Refuse a key that is none."""
    try:
        secret = base64.b64decode(key, validate=True)
    except ValueError:
        secret = b""
    problem = ""
    if not algorithm:
        problem = _WITH + "a valid encryption algorithm."
    elif not key:
        problem = _WITH + "an appropriate secret key."
    elif len(secret) != KEY_BYTES:
        problem = "The secret key was invalid for the specified algorithm."
    elif md5 != base64.b64encode(hashlib.md5(secret, usedforsecurity=False).digest()).decode():
        problem = "The calculated MD5 hash of the key did not match the hash that was provided."
    if problem:
        raise invalid(problem, SSE)


def _unlock(call: BucketCall, key: FakeKey | None, prefix: str = SSE) -> None:
    """Refuse who does not bring the key of an object."""
    if key is None:
        return
    sent, wanted = _sent(call, prefix), memory(key, OwnKey).md5
    if not any(sent) and not wanted:
        return
    if not any(sent):
        message = (
            "The object was stored using a form of Server Side Encryption. The correct parameters must be "
            "provided to retrieve the object."
        )
        raise Refused("InvalidRequest", message)
    if wanted and all(sent) and sent[2] != wanted:  # also one that could be no key at all
        raise Refused("AccessDenied", _WITH + "the correct secret key.")
    _check(*sent)
    if not wanted:
        raise Refused("InvalidRequest", "The encryption parameters are not applicable to this object.")


def _lock(key: FakeKey, md5: str) -> str:
    """Store an object with a key; its new ETag."""
    memory(key, OwnKey).md5 = md5
    key.encryption = key.kms_key_id = None
    key._etag = secrets.token_hex(16)
    return key.etag


@own_keys.around("s3:PutObject", "s3:CopyObject")
def _store(call: BucketCall, proceed: Proceed) -> Any:
    if call.action == "CopyObject":
        _unlock(call, source_of(call), SOURCE)
    md5 = _key_to_store_with(call)
    status, headers, body = proceed()
    key = stored(call) if md5 and status < 300 else None
    if key is not None:
        before, after = key.etag.strip('"'), _lock(key, md5)
        headers = _without_sse(headers) | _headers(md5)
        headers |= {name: after for name in headers if name.lower() == "etag"}
        text = body.decode() if isinstance(body, bytes) else body
        body = text.replace(before, after.strip('"'))
    return status, headers, body


@own_keys.around("s3:GetObject", "s3:HeadObject", "s3:GetObjectAttributes")
def _show(call: BucketCall, proceed: Proceed) -> Any:
    key = stored(call, call.version_id)
    _unlock(call, key)
    status, headers, body = proceed()
    if key is not None and status < 300 and (md5 := memory(key, OwnKey).md5):
        shown = {} if call.action == "GetObjectAttributes" else _headers(md5)
        headers = _without_sse(headers) | shown
    return status, headers, body


@own_keys.around("s3:CreateMultipartUpload")
def _begin(call: BucketCall, proceed: Proceed) -> Any:
    md5 = _key_to_store_with(call)
    status, headers, body = proceed()
    if md5 and status < 300:
        upload = list(call.bucket.multiparts.values())[-1]  # type: ignore[union-attr]
        memory(upload, OwnKey).md5 = md5
        headers = _without_sse(headers) | _headers(md5)
    return status, headers, body


@own_keys.around("s3:UploadPart", "s3:UploadPartCopy")
def _part(call: BucketCall, proceed: Proceed) -> Any:
    if call.action == "UploadPartCopy":
        _unlock(call, source_of(call), SOURCE)
    upload = call.upload
    wanted = memory(upload, OwnKey).md5 if upload is not None else ""
    md5 = _key_to_store_with(call)
    if upload is not None and bool(wanted) != bool(md5):
        message = (
            "The multipart upload initiate requested encryption. Subsequent part requests must include the "
            "appropriate encryption parameters."
        )
        raise Refused("InvalidRequest", message)
    if wanted and md5 != wanted:
        message = "The provided encryption parameters did not match the ones used originally."
        raise Refused("InvalidRequest", message)
    status, headers, body = proceed()
    return status, _without_sse(headers) | _headers(md5) if md5 else headers, body


@own_keys.around("s3:CompleteMultipartUpload")
def _complete(call: BucketCall, proceed: Proceed) -> Any:
    upload = call.upload
    md5 = memory(upload, OwnKey).md5 if upload is not None else ""
    status, headers, body = proceed()
    key = stored(call) if md5 and status < 300 else None
    if key is not None:
        memory(key, OwnKey).md5 = md5
        key.encryption = key.kms_key_id = None
        headers = _without_sse(headers)
    return status, headers, body
