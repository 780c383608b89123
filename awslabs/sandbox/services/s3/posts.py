"""S3: forms that a browser posts to a bucket (PostObject, which boto3 only presigns).

    core.signatures   the policy in the form is signed by who says so
      |  answer         the policy still holds, and lets this form through
      v  as_put         the form as the PutObject that it stands for, which the rest of the cloud looks at
    204, 201 with a document, or 303 to where the form wants to lead

Who signs nothing posts as anybody: only what a bucket has opened could let him.
Source: S3 API reference, "Creating a POST policy", "POST Object"; aws-facts (k).
"""

from __future__ import annotations

import base64
import datetime
import io
import json
import re
import string
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import quote, urlencode, urlsplit
from xml.sax.saxutils import escape

from moto.core.request import Request

from awslabs.sandbox.core import documents, forms, wire
from awslabs.sandbox.core.answers import Answer
from awslabs.sandbox.core.engine import Refused
from awslabs.sandbox.services.s3.documents import invalid, malformed
from awslabs.sandbox.services.s3.tags import tags_of

OPERATION = "s3:PostObject"
IN_FORM = "awslabs.in_form"
"""Where the PutObject of a form says that it is one: its metadata are plain text, and no header's."""

Put = Callable[[wire.Call, Request, bytes], Answer]

_HEADERS = re.compile(
    r"cache-control|content-(disposition|encoding|language|type)|expires|x-amz-(checksum|meta|object-lock|"
    r"server-side-encryption)(-.+)?|x-amz-(storage-class|website-redirect-location|sdk-checksum-algorithm)"
)
_UNCOVERED = {"policy", "file", "signature", "awsaccesskeyid", "x-amz-signature"}
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", re.ASCII)


def answer(call: wire.Call, request: Request, body: bytes, put: Put, request_id: str) -> Answer:
    """Answer a form.

    Parameters
    ----------
    call, request, body
        The form's.
    put : callable
        Does a PutObject as any other.
    request_id : str
        For what is refused.
    """
    bucket = request.path.strip("/")
    try:
        form = _form(request.headers.get("Content-Type", ""), body)
        if call.access_key:  # else nobody has signed a policy
            text = form.fields.get("policy", "")
            holds(_policy(text), {**form.fields, "bucket": bucket}, len(form.file or b""), time.time())
        asked, content = as_put(call, request, bucket, form)
    except Refused as problem:
        code, message = problem.code, problem.message
        return wire.error(call, code, message, request_id, problem.status, **problem.more)
    done = put(wire.Call("s3", "PutObject", call.protocol, call.access_key, call.signed), asked, content)
    if done.status >= 300:
        return done
    return _done(done, bucket, _key(form), form)


def _form(content_type: str, body: bytes) -> forms.Form:
    if not forms.is_form(content_type):
        message = "At least one of the pre-conditions you specified did not hold"
        wanted = "Bucket POST must be of the enclosure-type multipart/form-data"
        raise Refused("PreconditionFailed", message, Condition=wanted)
    try:
        form = forms.read(content_type, body)
    except forms.Malformed:
        raise Refused("MalformedPOSTRequest", forms.MALFORMED) from None
    if form.file is None:
        raise invalid("POST requires exactly one file upload per request.", "file", "0")
    if not form.fields.get("key"):
        raise invalid(forms.MISSING.format("key"), "key", "")
    return form


# --- policies -----------------------------------------------------------------------------------------


def _policy(text: str) -> dict[str, Any]:
    """The document that was signed."""
    try:
        policy = json.loads(base64.b64decode(text, validate=True))
    except (ValueError, RecursionError):
        raise _no_policy("Invalid JSON.") from None
    if not isinstance(policy, dict):
        raise _no_policy("Invalid JSON.")
    if _end(policy.get("expiration")) is None:
        raise _no_policy("Policy missing expiration.")
    if not isinstance(policy.get("conditions"), list):
        raise _no_policy("Policy missing conditions.")
    return policy


def _end(expiration: Any) -> float | None:
    """When a policy ends, in seconds since 1970; None: it does not say so."""
    if not _TIME.fullmatch(str(expiration)):
        return None
    try:
        return datetime.datetime.fromisoformat(f"{expiration[:19]}+00:00").timestamp()
    except ValueError:
        return None


def _no_policy(why: str) -> Refused:
    return Refused("InvalidPolicyDocument", f"Invalid Policy: {why}")


def holds(policy: dict[str, Any], fields: dict[str, str], size: int, now: float) -> None:
    """Whether a policy lets a form through; raises `Refused`.

    Parameters
    ----------
    policy : dict
        ``expiration`` and ``conditions``.
    fields : dict
        Those of the form by names in small letters, and ``bucket``.
    size : int
        Of the file, in bytes.
    now : float
        The computer's time, in seconds since 1970.
    """
    end = _end(policy["expiration"])
    if end is None or end < now:
        raise _against("Policy expired.")
    covered = set(_UNCOVERED)
    for condition in policy["conditions"]:
        if isinstance(condition, dict):
            if len(condition) != 1:
                why = "Simple-Conditions must have exactly one property specified."
                raise _no_policy(f"Invalid Simple-Condition: {why}")
            name, value = next(iter(condition.items()))
            if not isinstance(value, str):
                raise _no_policy("Invalid Simple-Condition: value must be a string.")
            condition = ["eq", f"${name}", value]
        if not (isinstance(condition, list) and len(condition) == 3):
            raise _no_policy("Invalid Condition.")
        kind, name, value = condition
        if kind == "content-length-range":
            _in_range(condition, size)
            continue
        field = str(name).removeprefix("$").lower()
        held = fields.get(field, "")
        fits = held == value if kind == "eq" else kind == "starts-with" and held.startswith(str(value))
        if not fits or not str(name).startswith("$"):
            raise _failed(condition)
        covered.add(field)
    extra = [name for name in fields if name not in covered and not name.startswith("x-ignore-")]
    if extra:
        raise _against(f"Extra input fields: {', '.join(extra)}")


def _in_range(condition: list[Any], size: int) -> None:
    """Whether a file is as large as it may be."""
    try:
        least, most = int(condition[1]), int(condition[2])
    except (ValueError, TypeError):
        raise _failed(condition) from None
    proposed = str(size)
    if size > most:
        message = "Your proposed upload exceeds the maximum allowed size"
        raise Refused("EntityTooLarge", message, ProposedSize=proposed, MaxSizeAllowed=str(most))
    if size < least:
        message = "Your proposed upload is smaller than the minimum allowed size"
        raise Refused("EntityTooSmall", message, ProposedSize=proposed, MinSizeAllowed=str(least))


def _failed(condition: list[Any]) -> Refused:
    return _against(f"Policy Condition failed: {json.dumps(condition)}")


def _against(why: str) -> Refused:
    return Refused("AccessDenied", f"Invalid according to Policy: {why}")


# --- what a form stands for ---------------------------------------------------------------------------


def as_put(call: wire.Call, request: Request, bucket: str, form: forms.Form) -> tuple[Request, bytes]:
    """The PutObject that a form stands for, and its body."""
    content = form.file or b""
    path = f"/{bucket}/{_key(form)}"
    came = request.environ
    environ = {name: came[name] for name in came if not name.startswith(("HTTP_", "CONTENT_"))}
    environ |= {
        "REQUEST_METHOD": "PUT",
        "PATH_INFO": path.encode().decode("latin-1"),
        "RAW_URI": quote(path, safe="/~"),
        "QUERY_STRING": "",
        "HTTP_HOST": came.get("HTTP_HOST", ""),
        "CONTENT_LENGTH": str(len(content)),
        "wsgi.input": io.BytesIO(content),
        IN_FORM: True,
    }
    for name in ("werkzeug.request", "REQUEST_URI"):
        environ.pop(name, None)
    if call.access_key:
        scope = form.fields.get("x-amz-credential", "").partition("/")[2]
        scope = scope or f"{time.strftime('%Y%m%d')}/us-east-1/s3/aws4_request"
        environ["HTTP_AUTHORIZATION"] = f"AWS4-HMAC-SHA256 Credential={call.access_key}/{scope}"
    for name, value in form.fields.items():
        if name == "acl":
            name = "x-amz-acl"
        elif name == "tagging":
            name, value = "x-amz-tagging", _tags(value)
        elif not _HEADERS.fullmatch(name):
            continue
        key = name.upper().replace("-", "_")
        plain = name.startswith("x-amz-meta-")
        environ[key if key == "CONTENT_TYPE" else f"HTTP_{key}"] = value if plain else _latin(value)
    return type(request)(environ), content


def _key(form: forms.Form) -> str:
    """The key, in which the browser's name of the file may stand, without the folders that it was in."""
    key, name = form.fields["key"], re.split(r"[/\\]", form.filename)[-1]
    return key.replace("${filename}", name) if name else key


def fits_a_header(value: str) -> bool:
    """Whether a header can hold a text: all of Latin-1 but what steers a line."""
    return all(letter == "\t" or 31 < ord(letter) < 256 and letter != "\x7f" for letter in value)


def _latin(value: str) -> str:
    """A value as a header can hold it: a blank for each letter that it cannot."""
    return "".join(letter if fits_a_header(letter) else " " for letter in value)


def _tags(text: str) -> str:
    """Tags as PutObject's header has them; AWS takes another document for none (aws-facts, k)."""
    try:
        said = documents.read("s3", "PutObjectTagging", text.encode())
    except documents.Other:
        return ""
    except documents.Malformed:
        raise malformed() from None
    return urlencode(tags_of(said.get("TagSet", [])))


def _done(done: Answer, bucket: str, key: str, form: forms.Form) -> Answer:
    """What a form is answered that has become an object."""
    etag = done.headers.get("etag") or ""
    location = f"https://{bucket}.s3.amazonaws.com/{quote(key, safe='/~')}"
    headers = {
        name: value for name, value in done.headers.items() if name not in ("content-type", "location")
    }
    wanted = form.fields.get("success_action_redirect") or form.fields.get("redirect") or ""
    try:
        there = urlsplit(wanted)
    except ValueError:
        there = urlsplit("")
    if there.scheme in ("http", "https") and there.netloc:
        more = urlencode({"bucket": bucket, "key": key, "etag": etag})
        query = f"{there.query}&{more}" if there.query else more
        leads = quote(there._replace(query=query).geturl(), safe=string.punctuation)
        return Answer(303, headers | {"location": leads}, b"")
    headers["location"] = location
    status = form.fields.get("success_action_status", "")
    if status != "201":
        return Answer(200 if status == "200" else 204, headers, b"")
    inner = "".join(
        f"<{name}>{escape(value)}</{name}>"
        for name, value in (("Location", location), ("Bucket", bucket), ("Key", key), ("ETag", etag))
    )
    text = f'<?xml version="1.0" encoding="UTF-8"?>\n<PostResponse>{inner}</PostResponse>'
    return Answer(201, headers | {"content-type": "application/xml"}, text.encode())
