"""Signature Version 4, from the side of the one who verifies.

    Sent         a request as it came over the wire
      |  verify    who claims to have sent it, in header or query -> the secret of that access key
      |              -> the signature that only its holder can have made, and the hash of the body
      v
    the access key id, "" (nobody claims to have signed), or Unproven

Nothing here knows moto or the server: `verify` gets a function that knows the keys, and the computer's time.

Two services of AWS hash differently: S3 takes the path as it stands, all others normalise it and encode it
once more; S3 lets a client leave the body unsigned, or sign it in chunks. And S3 still takes presigned URLs
of Signature Version 2, which boto3 makes for us-east-1 unless it is told otherwise; these, too, are verified,
and so is the policy in a form that a browser posts to a bucket.

Source: IAM user guide, "Create a signed AWS API request"; S3 API reference, "Authenticating Requests (AWS
Signature Version 4)" with its pages on query parameters, chunks (`aws-chunked`) and trailers; S3 user guide,
"Signing and authenticating REST requests (AWS signature version 2)".
"""

from __future__ import annotations

import base64
import calendar
import dataclasses
import functools
import hashlib
import hmac
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from email.utils import parsedate_to_datetime
from urllib.parse import quote, unquote_to_bytes

from botocore.auth import HmacV1Auth
from botocore.utils import normalize_url_path

from awslabs.sandbox.core import forms, regions
from awslabs.sandbox.core.checksums import DIGESTS

SKEW_S = 15 * 60  # that a client's clock may be wrong
LONGEST_S = 7 * 24 * 3600  # that a presigned URL may be good
S3 = {"s3", "s3-outposts"}  # names in scopes
UNSIGNED_BODY = S3 | {"ebs", "lex", "mediastore", "omics"}  # botocore's models: authtype v4-unsigned-body
EMPTY = hashlib.sha256().hexdigest()

ALGORITHM = "AWS4-HMAC-SHA256"
UNSIGNED = "UNSIGNED-PAYLOAD"
STREAMS = {
    "STREAMING-UNSIGNED-PAYLOAD-TRAILER",
    "STREAMING-AWS4-HMAC-SHA256-PAYLOAD",
    "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER",
}

# What AWS calls it where it is not the query protocol (IAM, STS): EC2, JSON and CBOR, S3.
NAMES = {
    "IncompleteSignature": (
        "IncompleteSignature",
        "IncompleteSignatureException",
        "AuthorizationHeaderMalformed",
    ),
    "IncompleteQuery": (
        "IncompleteSignature",
        "IncompleteSignatureException",
        "AuthorizationQueryParametersError",
    ),
    "InvalidClientTokenId": ("AuthFailure", "UnrecognizedClientException", "InvalidAccessKeyId"),
    "InvalidToken": ("AuthFailure", "UnrecognizedClientException", "InvalidToken"),
    "SignatureDoesNotMatch": ("AuthFailure", "InvalidSignatureException", "SignatureDoesNotMatch"),
    "SignatureExpired": ("RequestExpired", "InvalidSignatureException", "RequestTimeTooSkewed"),
    "UrlExpired": ("RequestExpired", "InvalidSignatureException", "AccessDenied"),
    "NoSuchRegion": ("AuthFailure", "InvalidSignatureException", "AuthorizationHeaderMalformed"),
}
QUERY_NAMES = {
    "IncompleteQuery": "IncompleteSignature",
    "InvalidToken": "InvalidClientTokenId",
    "SignatureExpired": "SignatureDoesNotMatch",
    "UrlExpired": "SignatureDoesNotMatch",
    "NoSuchRegion": "SignatureDoesNotMatch",
}

MISMATCH = (
    "The request signature we calculated does not match the signature you provided. Check your AWS Secret "
    "Access Key and signing method. Consult the service documentation for details."
)
CREDENTIAL = "Credential must have 5 elements with slashes between: keyid/date/region/service/aws4_request."
INCOMPLETE = (
    "Query-string authentication version 4 requires the X-Amz-Algorithm, X-Amz-Credential, X-Amz-Signature, "
    "X-Amz-Date, X-Amz-SignedHeaders, and X-Amz-Expires parameters."
)
MALFORMED = (
    "Error parsing the X-Amz-Credential parameter; the Credential is mal-formed; expecting "
    '"<YOUR-AKID>/YYYYMMDD/REGION/SERVICE/aws4_request".'
)
UNKNOWN_KEY = "The security token included in the request is invalid."
SAID = {
    ("ec2", "AuthFailure"): "AWS was not able to validate the provided access credentials",
    ("s3", "InvalidAccessKeyId"): "The AWS Access Key Id you provided does not exist in our records.",
    ("s3", "SignatureDoesNotMatch"): (
        "The request signature we calculated does not match the signature you provided. Check your key and "
        "signing method."
    ),
    ("s3", "InvalidToken"): "The provided token is malformed or otherwise invalid.",
    ("s3", "RequestTimeTooSkewed"): (
        "The difference between the request time and the current time is too large."
    ),
}

_CREDENTIAL = re.compile(r"([^/,\s]+)/(\d{8})/([^/,\s]+)/([^/,\s]+)/aws4_request")
_HEADERS = re.compile(r"[a-z0-9!#$%&'*+.^_`|~-]+(;[a-z0-9!#$%&'*+.^_`|~-]+)*")
_TIME = re.compile(r"(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)Z")
_TARGET = re.compile(r"/[!-\"$-~]*")  # all others, each library reads in its own way
_FORM = re.compile(rb'name="(x-amz-)?signature"', re.IGNORECASE)
_CHUNK = re.compile(rb"([0-9a-fA-F]{1,8})(?:;chunk-signature=([0-9a-f]{64}))?\r\n")


class Unproven(Exception):
    """The request does not prove who sent it.

    Parameters
    ----------
    code : str
        A key of `NAMES`, which has it for each protocol; any other is an S3 code as it stands.
    message : str
        As AWS says it.
    of_s3 : str
        As S3 says it, where that is another sentence.
    more : str
        Further members of an error of S3: ``StringToSign``. No other service has any.
    """

    def __init__(self, code: str, message: str, of_s3: str = "", **more: str) -> None:
        super().__init__(message)
        self.code, self.message, self.of_s3, self.more = code, message, of_s3, more

    def named(self, protocol: str, service: str) -> tuple[str, str]:
        """Code and message as a protocol (`wire.Call.protocol`) and service have them."""
        if self.code not in NAMES:
            return self.code, self.message
        ec2, json, s3 = NAMES[self.code]
        if service in ("ec2", "s3"):
            code = ec2 if service == "ec2" else s3
        elif protocol in ("json", "rest-json", "cbor"):
            code = json
        else:
            code = QUERY_NAMES.get(self.code, self.code)
        if service == "s3" and self.of_s3:
            return code, self.of_s3
        if self.code == "NoSuchRegion":
            return code, self.message
        return code, SAID.get((service, code), self.message)


@dataclasses.dataclass(frozen=True)
class Key:
    """What belongs to an access key id: its secret, and, for temporary ones, the session's token."""

    secret: str = dataclasses.field(repr=False)
    token: str = dataclasses.field(default="", repr=False)


@dataclasses.dataclass(frozen=True)
class Sent:
    """A request as it came, before anybody decoded, merged or left out anything.

    Attributes
    ----------
    method : str
    target : str
        Path and query, as in the request line.
    headers : sequence of (str, str)
        In Latin-1, each as often as it was sent.
    body : bytes
    hashed : str
        Its SHA-256 in hexadecimal, if whoever read the body has taken it meanwhile (`wants_hash`).
    """

    method: str
    target: str
    headers: Sequence[tuple[str, str]]
    body: bytes
    hashed: str = ""

    @functools.cached_property
    def sha256(self) -> str:
        """What a signature has for the body."""
        return self.hashed or _sha256(self.body)

    @functools.cached_property
    def values(self) -> dict[str, list[str]]:
        """The headers by their names in small letters."""
        found: dict[str, list[str]] = {}
        for name, value in self.headers:
            found.setdefault(name.lower(), []).append(value)
        return found

    def header(self, name: str) -> str:
        """A header, as it is signed; empty when there is none."""
        return ",".join(" ".join(value.split()) for value in self.values.get(name, ()))

    @functools.cached_property
    def path(self) -> str:
        """The path, still encoded."""
        return self.target.partition("?")[0]

    @functools.cached_property
    def query(self) -> list[tuple[bytes, bytes]]:
        """Names and values of the query, decoded; a plus sign is a plus sign."""
        text = self.target.partition("?")[2]
        pairs = [each.partition("=") for each in text.split("&") if each]
        return [(unquote_to_bytes(_raw(name)), unquote_to_bytes(_raw(value))) for name, _, value in pairs]


@dataclasses.dataclass(frozen=True)
class Claim:
    """Who claims to have sent a request, and what shall prove it."""

    key_id: str
    scope: tuple[str, str, str]  # date, Region, service
    signed_headers: tuple[str, ...]
    signature: str
    time: str  # as X-Amz-Date has it
    in_query: bool
    expires_s: int = SKEW_S

    def string_to_sign(self, kind: str, *rest: str) -> str:
        """What is signed: of a request, a chunk or a trailer."""
        return "\n".join((kind, self.time, "/".join((*self.scope, "aws4_request")), *rest))


def wants_hash(authorization: str, content_sha256: str) -> bool:
    """Whether `verify` will need the hash of a body, by two headers of its request."""
    return authorization.startswith(ALGORITHM) and content_sha256 not in STREAMS | {UNSIGNED}


def verify(sent: Sent, key_of: Callable[[str], Key | None], now: float) -> str:
    """Find out who sent a request.

    Parameters
    ----------
    sent : Sent
    key_of : callable
        Access key id to `Key`; None: there is no such key.
    now : float
        The computer's time, in seconds since 1970.

    Returns
    -------
    str
        The access key id; empty: nobody claims to have signed it.

    Raises
    ------
    Unproven
        Somebody claims to, and it is not so, is no more so, or is not understood.
    """
    claim = _claim(sent)
    if claim is None:
        return _verify_version_2(sent, key_of, now) or _verify_form(sent, key_of)
    if not _TARGET.fullmatch(sent.target):
        raise Unproven("IncompleteSignature", "The request line must have a path, without # and the like.")
    _check_region(claim)
    key = _known(claim.key_id, key_of)
    _check_token(sent, claim, key)
    _check_time(claim, now)
    _check_headers(sent, claim)
    payload = _payload(sent, claim)
    signing = signing_key(key.secret, *claim.scope)
    canonical = canonical_request(sent, claim, payload)
    text = claim.string_to_sign(ALGORITHM, _sha256(_raw(canonical)))
    if not hmac.compare_digest(_sign(signing, text), _raw(claim.signature)):
        raise _other(claim.key_id, claim.signature, text, canonical)
    if payload in STREAMS:
        _check_chunks(sent, claim, payload, signing)
    elif payload != UNSIGNED and not hmac.compare_digest(_raw(payload), _raw(sent.sha256)):
        if claim.scope[2] in S3:
            message = "The provided 'x-amz-content-sha256' header does not match what was computed."
            raise Unproven("XAmzContentSHA256Mismatch", message)
        raise Unproven("SignatureDoesNotMatch", MISMATCH)
    return claim.key_id


def _other(key_id: str, signature: str, text: str, canonical: str = "") -> Unproven:
    """Another signature than the right one; S3 says what should have been signed: aws-facts (k)."""
    more = {"AWSAccessKeyId": key_id, "StringToSign": text, "SignatureProvided": signature}
    more["StringToSignBytes"] = _raw(text).hex(" ")
    if canonical:
        more |= {"CanonicalRequest": canonical, "CanonicalRequestBytes": _raw(canonical).hex(" ")}
    return Unproven("SignatureDoesNotMatch", MISMATCH, **more)


@functools.lru_cache(maxsize=1024)
def signing_key(secret: str, date: str, region: str, service: str) -> bytes:
    """The key that signs for one day, Region and service."""
    key = f"AWS4{secret}".encode()
    for part in (date, region, service, "aws4_request"):
        key = hmac.digest(key, _raw(part), "sha256")
    return key


def canonical_request(sent: Sent, claim: Claim, payload: str) -> str:
    """The request as both sides write it down to sign it."""
    of_s3 = claim.scope[2] in S3
    path = _s3_path(sent) if of_s3 else quote(_raw(normalize_url_path(sent.path)), safe="/~")
    left_out = b"X-Amz-Signature" if claim.in_query else None
    pairs = sorted(
        (quote(name, safe="-_.~"), quote(value, safe="-_.~"))
        for name, value in sent.query
        if name != left_out
    )
    query = "&".join(f"{name}={value}" for name, value in pairs)
    headers = [f"{name}:{sent.header(name)}" for name in claim.signed_headers]
    names = ";".join(claim.signed_headers)
    return "\n".join((sent.method, path, query, *headers, "", names, payload))


# --- what a request says of itself --------------------------------------------------------------------


def _claim(sent: Sent) -> Claim | None:
    """Who claims to have sent it; None: nobody does."""
    words = sent.values.get("authorization", [])
    names = [name for name, _ in sent.query]
    in_query = [
        name for name in (b"X-Amz-Algorithm", b"X-Amz-Credential", b"X-Amz-Signature") if name in names
    ]
    if words and in_query:
        raise Unproven("IncompleteSignature", "Only one auth mechanism is allowed: the header, or the query.")
    if words:
        return _claim_of_header(sent, ",".join(words))
    if in_query:
        return _claim_of_query(sent)
    return None


def _claim_of_header(sent: Sent, text: str) -> Claim:
    """Authorization: AWS4-HMAC-SHA256 Credential=..., SignedHeaders=..., Signature=..."""
    algorithm, _, rest = text.strip().partition(" ")
    if algorithm != ALGORITHM:
        raise _unsupported()
    pairs = [each.strip().partition("=")[::2] for each in rest.split(",")]
    fields = dict(pairs)
    for name in ("Credential", "SignedHeaders", "Signature"):
        if not fields.get(name):
            raise Unproven("IncompleteSignature", f"Authorization header requires '{name}' parameter.")
    if len(pairs) != 3:
        raise Unproven(
            "IncompleteSignature", "Authorization header has parameters more than once, or unknown."
        )
    time_sent = sent.header("x-amz-date")
    if not time_sent:
        if "date" not in fields["SignedHeaders"].split(";"):
            raise Unproven(
                "IncompleteSignature",
                "Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' header.",
            )
        try:
            moment = parsedate_to_datetime(sent.header("date"))
            time_sent = time.strftime("%Y%m%dT%H%M%SZ", moment.utctimetuple())
        except (ValueError, TypeError, IndexError, OverflowError):
            time_sent = ""
    return _checked(fields["Credential"], fields["SignedHeaders"], fields["Signature"], time_sent)


def _claim_of_query(sent: Sent) -> Claim:
    """A presigned URL."""
    fields: dict[str, str] = {}
    for name, value in sent.query:
        field = name.decode("latin-1")
        if field.startswith("X-Amz-") and field in fields:
            raise Unproven("IncompleteQuery", f"The query has {field} more than once.")
        fields[field] = value.decode("latin-1")
    for field in ("Algorithm", "Credential", "SignedHeaders", "Signature", "Date"):
        if not fields.get(f"X-Amz-{field}"):
            raise Unproven("IncompleteQuery", f"The query requires the parameter X-Amz-{field}.", INCOMPLETE)
    if fields["X-Amz-Algorithm"] != ALGORITHM:
        raise _unsupported()
    credential, names = fields["X-Amz-Credential"], fields["X-Amz-SignedHeaders"]
    expires = fields.get("X-Amz-Expires", str(SKEW_S))
    if not re.fullmatch(r"[0-9]{1,6}", expires) or not 1 <= int(expires) <= LONGEST_S:
        raise Unproven("IncompleteQuery", "X-Amz-Expires must be a number of seconds, 1 to 604800.")
    if not _CREDENTIAL.fullmatch(credential):
        raise Unproven("IncompleteQuery", CREDENTIAL, MALFORMED)
    claim = _checked(credential, names, fields["X-Amz-Signature"], fields["X-Amz-Date"])
    if claim.scope[2] in S3 and "X-Amz-Expires" not in fields:
        raise Unproven("IncompleteQuery", "The query requires the parameter X-Amz-Expires.", INCOMPLETE)
    return dataclasses.replace(claim, in_query=True, expires_s=int(expires))


def _checked(credential: str, names: str, signature: str, time_sent: str) -> Claim:
    """A claim whose parts have the right form, and one date."""
    match = _CREDENTIAL.fullmatch(credential)
    if match is None:
        raise Unproven("IncompleteSignature", CREDENTIAL)
    if not _TIME.fullmatch(time_sent):
        raise Unproven("IncompleteSignature", "Date must be in ISO-8601 'basic format': 20260131T080000Z.")
    if not _HEADERS.fullmatch(names):
        raise Unproven("IncompleteSignature", "SignedHeaders must be names in small letters, with ; between.")
    key_id, date, region, service = match.groups()
    if date != time_sent[:8]:
        raise Unproven("SignatureDoesNotMatch", f"Date in Credential scope does not match {time_sent[:8]}.")
    return Claim(key_id, (date, region, service), tuple(names.split(";")), signature, time_sent, False)


def _unsupported() -> Unproven:
    message = f"The authorization mechanism you have provided is not supported. Please use {ALGORITHM}."
    return Unproven("IncompleteSignature", message)


# --- Signature Version 2 ------------------------------------------------------------------------------


_SIGNED_2 = {
    *HmacV1Auth.QSAOfInterest,
    "AWSAccessKeyId",
    "Expires",
    "Signature",
    "content-md5",
    "content-type",
}


def _verify_version_2(sent: Sent, key_of: Callable[[str], Key | None], now: float) -> str:
    """Who signed a URL for S3 in the old way; empty: nobody claims to. Raises as `verify` does."""
    pairs = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in sent.query]
    fields = dict(pairs)
    if not fields.keys() & {"AWSAccessKeyId", "Signature"}:
        return ""
    if not {"AWSAccessKeyId", "Signature", "Expires"} <= fields.keys():
        message = "Query-string authentication requires the Signature, Expires and AWSAccessKeyId parameters"
        raise Unproven("AccessDenied", message)
    if len(fields) != len(pairs) or not _TARGET.fullmatch(sent.target):
        raise Unproven("IncompleteSignature", "The query has a parameter more than once.")
    key = _known(fields["AWSAccessKeyId"], key_of)
    if not re.fullmatch(r"[0-9]{1,12}", fields["Expires"]):
        raise Unproven("UrlExpired", "Request has expired")
    if int(fields["Expires"]) < now:
        raise _expired(int(fields["Expires"]), now)
    amazons = {name: value.strip() for name, value in pairs if name.startswith("x-amz-")}
    amazons |= {name: sent.header(name) for name in sent.values if name.startswith("x-amz-")}
    if not hmac.compare_digest(_raw(amazons.get("x-amz-security-token", "")), _raw(key.token)):
        raise Unproven("InvalidToken", UNKNOWN_KEY)
    other = [name for name in fields if name not in _SIGNED_2 and name not in amazons]
    if other and sent.method not in ("GET", "HEAD"):  # what the signature does not cover may change no call
        raise Unproven("AccessDenied", f"There were parameters in the query that are not signed: {other}")
    standard = [sent.header(name) or fields.get(name, "") for name in ("content-md5", "content-type")]
    chosen = sorted((name, value) for name, value in pairs if name in HmacV1Auth.QSAOfInterest)
    bare = {each for each in sent.target.partition("?")[2].split("&") if "=" not in each}
    resource = "&".join(name if name in bare else f"{name}={value}" for name, value in chosen)
    lines = [sent.method, *standard, fields["Expires"], *(f"{n}:{v}" for n, v in sorted(amazons.items()))]
    text = "\n".join([*lines, _s3_path(sent) + (f"?{resource}" if resource else "")])
    wanted = base64.b64encode(hmac.digest(key.secret.encode(), _raw(text), "sha1"))
    if not hmac.compare_digest(wanted, _raw(fields["Signature"])):
        raise _other(fields["AWSAccessKeyId"], fields["Signature"], text)
    return fields["AWSAccessKeyId"]


# --- forms --------------------------------------------------------------------------------------------


_FIELDS_4 = ("X-Amz-Algorithm", "X-Amz-Credential", "X-Amz-Date", "X-Amz-Signature", "Policy")
_FIELDS_2 = ("AWSAccessKeyId", "Signature", "Policy")


def _verify_form(sent: Sent, key_of: Callable[[str], Key | None]) -> str:
    """Who signed the policy in a form that was posted to a bucket; empty: nobody claims to.

    What the policy says, and until when, is for S3 to read.
    Source: S3 API reference, "Creating a POST policy"; aws-facts (k).
    """
    kind = sent.header("content-type")
    if not forms.is_form(kind):
        return ""
    if not forms.is_posted(sent.method, sent.target):
        if _FORM.search(sent.body):
            message = "The practice cloud takes signed forms at the address of a bucket alone."
            raise Unproven("NotImplemented", message)
        return ""
    try:
        fields = forms.read(kind, sent.body).fields
    except forms.Malformed:
        raise Unproven("MalformedPOSTRequest", forms.MALFORMED) from None
    if fields.keys() & {"x-amz-algorithm", "x-amz-credential", "x-amz-signature"}:
        _need(fields, *_FIELDS_4)
        if fields["x-amz-algorithm"] != ALGORITHM:
            raise _unsupported()
        signature = fields["x-amz-signature"]
        claim = _checked(fields["x-amz-credential"], "host", signature, fields["x-amz-date"])
        _check_region(claim)
        key = _known(claim.key_id, key_of)
        right = _sign(signing_key(key.secret, *claim.scope), fields["policy"])
        proven, key_id = claim.scope[2] in S3, claim.key_id
    elif fields.keys() & {"awsaccesskeyid", "signature"}:
        _need(fields, *_FIELDS_2)
        signature, key_id, proven = fields["signature"], fields["awsaccesskeyid"], True
        key = _known(key_id, key_of)
        right = base64.b64encode(hmac.digest(key.secret.encode(), _raw(fields["policy"]), "sha1"))
    else:
        return ""
    if not hmac.compare_digest(_raw(fields.get("x-amz-security-token", "")), _raw(key.token)):
        raise Unproven("InvalidToken", UNKNOWN_KEY)
    if not proven or not hmac.compare_digest(right, _raw(signature)):
        raise _other(key_id, signature, fields["policy"])
    return key_id


def _need(fields: Mapping[str, str], *names: str) -> None:
    """A form that is signed has all that a signature needs."""
    for name in names:
        if not fields.get(name.lower()):
            message = forms.MISSING.format(name)
            raise Unproven("InvalidArgument", message, ArgumentName=name, ArgumentValue="")


def _known(key_id: str, key_of: Callable[[str], Key | None]) -> Key:
    key = key_of(key_id)
    if key is None:
        raise Unproven("InvalidClientTokenId", UNKNOWN_KEY)
    return key


def _s3_path(sent: Sent) -> str:
    """The path as S3 has it signed: encoded once, but for slashes, and nothing normalised (aws-facts (k))."""
    return quote(unquote_to_bytes(_raw(sent.path)), safe="/~")


# --- what is checked ----------------------------------------------------------------------------------


def _check_region(claim: Claim) -> None:
    """Nobody knows the keys where the account has not opted in; a Region that is none has no endpoint."""
    _, region, service = claim.scope
    if region in regions.ENABLED or regions.is_global(service):
        return
    if regions.known(region):
        raise Unproven("InvalidClientTokenId", UNKNOWN_KEY)
    if region == "aws-global" and service in S3:  # which leads to us-east-1's endpoint
        message = (
            f"The authorization header is malformed; the region '{region}' is wrong; expecting 'us-east-1'"
        )
        raise Unproven("NoSuchRegion", message, Region="us-east-1")
    raise Unproven(
        "NoSuchRegion",
        f"Credential should be scoped to a valid region, not '{region}'. (There is none of this name: on AWS "
        "its endpoints have no address.)",
    )


def _check_token(sent: Sent, claim: Claim, key: Key) -> None:
    """Temporary keys come with their session's token, others with none."""
    token = _raw(sent.header("x-amz-security-token"))
    if claim.in_query:
        token = dict(sent.query).get(b"X-Amz-Security-Token", token)
    if not hmac.compare_digest(token, _raw(key.token)):
        raise Unproven("InvalidToken", UNKNOWN_KEY)


def _check_time(claim: Claim, now: float) -> None:
    """A signed request is good for 15 minutes on both sides, a presigned URL for as long as it says."""
    match = _TIME.fullmatch(claim.time)
    assert match is not None
    parts = [int(part) for part in match.groups()]
    sent_at = calendar.timegm((*parts, 0, 0, 0)) if 1 <= parts[1] <= 12 and parts[0] >= 1970 else 0
    shown = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(now))
    if sent_at > now + SKEW_S:
        message = f"Signature not yet current: {claim.time} is still later than {shown} ({shown} + 15 min.)"
        raise Unproven("SignatureExpired", message)
    if sent_at + claim.expires_s < now:
        if claim.in_query:
            raise _expired(sent_at + claim.expires_s, now, **{"X-Amz-Expires": str(claim.expires_s)})
        message = f"Signature expired: {claim.time} is now earlier than {shown} ({shown} - 15 min.)"
        raise Unproven("SignatureExpired", message)


def _expired(at: float, now: float, **more: str) -> Unproven:
    """A presigned URL whose time is over; S3 says since when: aws-facts (k)."""
    shown = (time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(moment)) for moment in (at, now))
    return Unproven("UrlExpired", "Request has expired", **more, Expires=next(shown), ServerTime=next(shown))


def _check_headers(sent: Sent, claim: Claim) -> None:
    """Host and all that is AWS's own must be signed: else whoever saw a request could change its meaning.

    Not the hash of a body in a presigned URL's header: what it says is signed in the place of the body.
    """
    held = {*claim.signed_headers, *(["x-amz-content-sha256"] if claim.in_query else ())}
    missing = sorted(
        name for name in sent.values if (name == "host" or name.startswith("x-amz-")) and name not in held
    )
    if missing or "host" not in claim.signed_headers or len(sent.values.get("host", ())) != 1:
        message, names = "There were headers present in the request which were not signed", ", ".join(missing)
        if claim.scope[2] in S3:
            raise Unproven("AccessDenied", message, HeadersNotSigned=names)
        raise Unproven("SignatureDoesNotMatch", f"{message}: {names}")


def _payload(sent: Sent, claim: Claim) -> str:
    """What stands for the body in the canonical request: its hash, or a word of `STREAMS` or `UNSIGNED`."""
    service = claim.scope[2]
    said = sent.header("x-amz-content-sha256")
    if claim.in_query and not said:
        said = dict(sent.query).get(b"X-Amz-Content-Sha256", b"").decode("latin-1")
    if not said:
        if service not in S3:
            return sent.sha256
        if claim.in_query:
            return UNSIGNED
        raise Unproven("InvalidRequest", "Missing required header for this request: x-amz-content-sha256")
    if said in STREAMS and service not in S3 or said == UNSIGNED and service not in UNSIGNED_BODY:
        raise Unproven("SignatureDoesNotMatch", MISMATCH)
    if said in STREAMS or said == UNSIGNED or re.fullmatch(r"[0-9a-f]{64}", said):
        return said
    message = "x-amz-content-sha256 must be UNSIGNED-PAYLOAD, a STREAMING- word, or a valid sha256 value."
    raise Unproven("InvalidArgument" if service in S3 else "SignatureDoesNotMatch", message)


def _check_chunks(sent: Sent, claim: Claim, payload: str, signing: bytes) -> None:
    """Each chunk of an aws-chunked body, and its trailer: signatures if it is signed, lengths, checksum.

    SIZE[;chunk-signature=SIGNATURE] CRLF DATA CRLF ... 0[;...] CRLF [NAME:VALUE CRLF ...] CRLF
    """
    signed = payload.startswith("STREAMING-AWS4")
    pieces: list[memoryview] = []
    before, at, view = claim.signature, 0, memoryview(sent.body)
    while True:
        match = _CHUNK.match(sent.body, at)
        if match is None or bool(match[2]) != signed:
            raise _malformed("a chunk has no proper header")
        start, size = match.end(), int(match[1], 16)
        piece, at = view[start : start + size], start + size
        if signed:
            text = claim.string_to_sign(f"{ALGORITHM}-PAYLOAD", before, EMPTY, _sha256(piece))
            _check_signature(signing, text, match[2])
            before = match[2].decode()
        if not size:
            break
        if len(piece) != size or sent.body[at : at + 2] != b"\r\n":
            raise _malformed("a chunk is shorter or longer than it says")
        pieces.append(piece)
        at += 2
    if str(sum(map(len, pieces))) != sent.header("x-amz-decoded-content-length"):
        raise _malformed("x-amz-decoded-content-length is another one")
    trailer = dict(_trailer(sent.body[at:]))
    if signed and payload.endswith("TRAILER"):
        signature = trailer.pop("x-amz-trailer-signature", "")
        lines = "".join(f"{name}:{value}\n" for name, value in trailer.items())
        text = claim.string_to_sign(f"{ALGORITHM}-TRAILER", before, _sha256(_raw(lines)))
        _check_signature(signing, text, _raw(signature))
    announced = {each.strip().lower() for each in sent.header("x-amz-trailer").split(",") if each.strip()}
    if trailer.keys() != announced:
        raise _malformed("its trailer is not the one that x-amz-trailer announces")
    for name, value in trailer.items():
        kind = name.removeprefix("x-amz-checksum-").upper()
        if kind in DIGESTS:
            found = base64.b64encode(DIGESTS[kind](b"".join(pieces))).decode()
            if found != value:
                message = f"The {kind} you specified did not match the calculated checksum."
                raise Unproven("BadDigest", message)


def _check_signature(signing: bytes, text: str, signature: bytes) -> None:
    if not hmac.compare_digest(_sign(signing, text), signature):
        raise Unproven("SignatureDoesNotMatch", MISMATCH)


def _trailer(text: bytes) -> Iterator[tuple[str, str]]:
    """Names and values after the last chunk."""
    lines = text.split(b"\r\n")
    if lines[-1]:
        raise _malformed("its trailer has no end")
    for line in filter(None, lines):
        name, colon, value = line.rstrip(b"\n").decode("latin-1").partition(":")
        if not colon:
            raise _malformed("a line of its trailer has no colon")
        yield name.lower(), value.strip(" ")


def _malformed(why: str) -> Unproven:
    return Unproven("IncompleteBody", f"The request body terminated unexpectedly: {why}.")


def _sign(key: bytes, text: str) -> bytes:
    return hmac.digest(key, _raw(text), "sha256").hex().encode()


def _sha256(data: bytes | memoryview) -> str:
    return hashlib.sha256(data).hexdigest()


def _raw(text: str) -> bytes:
    """The bytes that a text was on the wire."""
    return text.encode("latin-1", "replace")
