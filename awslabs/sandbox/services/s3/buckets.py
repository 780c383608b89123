"""S3: buckets are private from the start; what nobody has opened is closed to those without credentials."""

from __future__ import annotations

import ipaddress
import json
import math
import re
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

from moto.iam.access_control import PermissionResult
from moto.s3.exceptions import CopyObjectMustChangeSomething
from moto.s3.models import FakeBucket, FakeKey, PublicAccessBlock, S3Backend

from awslabs.sandbox.core import policies, weather, wire
from awslabs.sandbox.core.engine import (
    ASKED,
    BucketCall,
    Proceed,
    Refused,
    around,
    before,
    clock,
    memory,
    patch,
    rule,
    scaled,
    state,
)
from awslabs.sandbox.services.iam import needs
from awslabs.sandbox.services.iam.identities import caller_of
from awslabs.sandbox.services.s3.documents import document, invalid, malformed

UNBLOCKED_S = 3.0
"""How long PutBucketPolicy still meets a block that was taken away, at `slow_states` 1 (aws-facts (b))."""
KEY_BYTES = 1024
ENFORCED = "BucketOwnerEnforced"
AES = {
    "Rule": {"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}, "BucketKeyEnabled": "false"}
}
_SUBRESOURCES = {
    *("acl", "accelerate", "cors", "encryption", "intelligent-tiering", "inventory", "lifecycle", "logging"),
    *("metrics", "notification", "object-lock", "ownershipControls", "policy", "publicAccessBlock"),
    *("replication", "requestPayment", "tagging", "versioning", "website"),
}


@state
@dataclass
class Opened:
    """When a bucket's Block Public Access is really gone (seconds since 1970)."""

    at: float = -math.inf


def denied() -> Refused:
    """S3's answer to whoever may not do it."""
    return Refused("AccessDenied", "Access Denied")


@before("s3:*")
def buckets_have_the_owner_that_is_expected(call: BucketCall) -> None:
    """A request may say whose bucket it expects: AccessDenied where it is another's, and
    InvalidBucketOwnerAWSAccountID for what is no account. moto does not look. Source: aws-facts (k).
    """
    expected, bucket = call.header("x-amz-expected-bucket-owner"), call.bucket
    if not expected or bucket is None:
        return
    if not re.fullmatch(r"\d{12}", expected, re.ASCII):
        message = (
            f"The value of the expected bucket owner parameter must be an AWS Account ID... [{expected}]"
        )
        raise Refused("InvalidBucketOwnerAWSAccountID", message)
    if expected != bucket.account_id:
        raise denied()


# --- without credentials ------------------------------------------------------------------------------


@around("s3:*")
def strangers(call: BucketCall, proceed: Proceed) -> Any:
    """Without credentials, only what the bucket's policy (or an ACL, for readers) lets everybody do, unless
    Block Public Access stands before it; all else: AccessDenied 403, and NoSuchKey 404 only for those who may
    list the bucket. moto lets strangers write, list (also the buckets of the account) and delete, and looks
    at no block.
    Source: aws-facts (g); S3 user guide, "Blocking public access".
    """
    if is_signed(call) or call.method == "OPTIONS":
        return proceed()
    if not call.name:
        raise denied()
    bucket = call.bucket
    if bucket is None:
        raise Refused("NoSuchBucket", "The specified bucket does not exist", BucketName=call.name)
    key = call.key
    if key and call.method in ("GET", "HEAD") and not call.query & {"acl", "tagging", "uploadId"}:
        found = call.backend.get_object(call.name, key)
        if not (
            policy_allows(call, bucket, "s3:GetObject", key)
            or (found is not None and _public_acl(bucket, found))
        ):
            raise denied()
        if found is None:
            if policy_allows(call, bucket, "s3:ListBucket"):
                raise Refused("NoSuchKey", "The specified key does not exist.")
            raise denied()
        return proceed()
    lists = not key and call.method in ("GET", "HEAD") and not call.query & _SUBRESOURCES
    if lists and (policy_allows(call, bucket, "s3:ListBucket") or _public_acl(bucket, bucket)):
        return proceed()
    raise denied()


def is_signed(call: BucketCall) -> bool:
    """Whether a request comes from somebody: in the server that was verified, `mock_aws` believes it."""
    said: wire.Call = call.request.environ[ASKED]
    return bool(said.signed) or said.operation == "PostObject"


@before("s3:*")
def buckets_of_other_accounts(call: BucketCall) -> None:
    """With keys of another account than the bucket's, only what its policy lets them do (or an ACL, for
    readers), unless Block Public Access stands before it: else AccessDenied 403. moto lets every account do
    everything. Source: S3 user guide, "Bucket owner granting cross-account bucket permissions", "Blocking
    public access".
    """
    if not is_signed(call) or call.action in ("CreateBucket", "DeleteObjects"):
        return  # whose name it is CreateBucket says, and of each object DeleteObjects
    source = needs.copied(call.header("x-amz-copy-source")).partition("/")[0]
    named = [call.bucket_called(name) for name in (call.name, source)]
    if all(bucket is None or bucket.account_id == call.account for bucket in named):
        return  # as nearly always: what a call needs takes longer to find out
    said: wire.Call = call.request.environ[ASKED]
    if needs.known(said):
        wanted = [*needs.needs(needs.Asked(call.account, call.region, said, call.request, b""))]
    else:
        resource = f"{call.name}/{call.key}".rstrip("/")
        wanted = [needs.Need(call.operation, f"arn:aws:s3:::{resource}")]
    if any(is_anothers(call, need) for need in wanted):
        raise denied()


def is_anothers(call: BucketCall, need: needs.Need) -> bool:
    """Whether something is done to a bucket of another account, which has not allowed it."""
    name, _, key = need.resource.rpartition(":::")[2].partition("/")
    bucket = call.bucket_called(name)
    if bucket is None or bucket.account_id == call.account or policy_allows(call, bucket, need.action, key):
        return False
    readable: Any = {
        "s3:GetObject": call.backend.get_object(name, key),
        "s3:ListBucket": bucket,
    }.get(need.action)
    return not _public_acl(bucket, readable)


def policy_allows(call: BucketCall, bucket: FakeBucket, action: str, key: str = "") -> bool:
    """Whether a bucket's policy lets who asks do something, and no block stands before it."""
    text, block = policy_of(bucket), bucket.public_access_block
    if not text or (block is not None and block.restrict_public_buckets and is_public(text)):
        return False
    resource = f"arn:aws:s3:::{bucket.name}" + (f"/{key}" if key else "")
    return policies.decide(policies.statements(text), action, resource, *asker(call)) == "Allow"


def _public_acl(bucket: FakeBucket, key: Any) -> bool:
    """Whether the ACL of an object, or of the bucket itself, opens it to readers."""
    block = bucket.public_access_block
    enforced = bucket.ownership_rule == ENFORCED  # type: ignore[comparison-overlap]
    ignored = block is not None and block.ignore_public_acls
    return bool(key and key.acl and key.acl.public_read and not enforced and not ignored)


# --- access control lists -----------------------------------------------------------------------------


_HARMLESS = ("", "bucket-owner-full-control")
_PUBLIC = ("public-read", "public-read-write", "authenticated-read")


@before("s3:*")
def access_control_lists(call: BucketCall) -> None:
    """Where ACLs are disabled, as in every new bucket: AccessControlListNotSupported 400 for whatever sets
    one, InvalidBucketAclWithObjectOwnership 400 for a bucket made with one. Where they are not, a public one
    meets BlockPublicAcls: AccessDenied 403. moto takes every ACL. Source: aws-facts (g), (j).
    """
    creates = call.action == "CreateBucket"
    canned = call.header("x-amz-acl")
    grants = any(call.header(f"x-amz-grant-{kind}") for kind in ("read", "write", "full-control", "read-acp"))
    sets = call.method == "PUT" and "acl" in call.query
    if call.method not in ("PUT", "POST") or not (sets or canned or grants):
        return
    bucket = call.bucket
    if bucket is None:
        wanted = call.header("x-amz-object-ownership") or ENFORCED
        if creates and wanted == ENFORCED and (grants or canned not in ("", "private")):
            message = "Bucket cannot have ACLs set with ObjectOwnership's BucketOwnerEnforced setting"
            raise Refused("InvalidBucketAclWithObjectOwnership", message)
        return
    if bucket.ownership_rule == ENFORCED:  # type: ignore[comparison-overlap]
        own = creates and canned == "private"
        if own or (not sets and not grants and canned in _HARMLESS):
            return
        raise Refused("AccessControlListNotSupported", "The bucket does not allow ACLs")
    block = bucket.public_access_block
    public = canned in _PUBLIC or "groups/global/AllUsers" in call.text[:20_000]
    if block is not None and block.block_public_acls and public:
        raise denied()


# --- policies -----------------------------------------------------------------------------------------


@before("s3:PutBucketWebsite")
def websites(call: BucketCall) -> None:
    """A website has an index document without a slash, or leads all requests elsewhere and nothing else; its
    rules have a condition that is not empty, one way to replace a key, and a protocol of the web:
    InvalidArgument, InvalidRequest, MalformedXML. moto takes it.
    Source: aws-facts (k); S3 API reference, PutBucketWebsite.
    """
    website = document(call)
    index, elsewhere = website.get("IndexDocument"), website.get("RedirectAllRequestsTo")
    if elsewhere is not None and {"IndexDocument", "ErrorDocument", "RoutingRules"} & website.keys():
        message = "RedirectAllRequestsTo cannot be provided in conjunction with other Routing Rules."
        raise invalid(message, "RedirectAllRequestsTo", "not null")
    if elsewhere is None and index is None:
        message = "A value for IndexDocument Suffix must be provided if RedirectAllRequestsTo is empty"
        raise invalid(message, "IndexDocument", "null")
    suffix = (index or {}).get("Suffix", "")
    if index is not None and (not suffix or "/" in suffix):
        raise invalid("The IndexDocument Suffix is not well formed", "IndexDocument", suffix)
    if "RoutingRules" not in website:
        return
    if not website["RoutingRules"]:
        raise malformed()
    for each in website["RoutingRules"]:
        there = each.get("Redirect", {})
        if there.get("Protocol", "http") not in ("http", "https"):
            raise Refused(
                "InvalidRequest",
                "Invalid protocol, protocol can be http or https. If not defined the protocol will be "
                "selected automatically.",
            )
        if "ReplaceKeyPrefixWith" in there and "ReplaceKeyWith" in there:
            message = "You can only define ReplaceKeyPrefix or ReplaceKey but not both."
            raise Refused("InvalidRequest", message)
        if "Condition" in each and not each["Condition"]:
            raise Refused(
                "InvalidRequest",
                "Condition cannot be empty. To redirect all requests without a condition, the condition "
                "element shouldn't be present.",
            )


public_policies = rule(
    "public_policies",
    """While BlockPublicPolicy is on a policy that is public: AccessDenied 403; for 3 s (times `slow_states`)
    after it was taken away, too, as often as the weather says (`stale`): people have seen it, records have
    not. moto takes it. Source: aws-facts (b), (g), (j), (k).""",
)


@public_policies.before("s3:DeletePublicAccessBlock")
def _opening(call: BucketCall) -> None:
    bucket = call.bucket
    if bucket is not None and bucket.public_access_block is not None:
        memory(bucket, Opened).at = clock.now() + scaled(UNBLOCKED_S)


@public_policies.before("s3:PutBucketPolicy")
def _look_at_block(call: BucketCall) -> None:
    bucket = call.bucket
    if bucket is None:
        return
    block = bucket.public_access_block
    blocked = block is not None and block.block_public_policy
    fresh = block is None and clock.now() < memory(bucket, Opened).at
    if not is_public(call.text) or not (blocked or (fresh and weather.current.is_late())):
        return
    caller = f"arn:aws:iam::{call.account}:user/student"
    message = (
        f'User: {caller} is not authorized to perform: s3:PutBucketPolicy on resource: "arn:aws:s3:::'
        f'{call.name}" because public policies are prevented by the BlockPublicPolicy setting in S3 Block '
        "Public Access."
    )
    raise Refused("AccessDenied", message)


_FIXED = {
    # Conditions on these make a statement one for certain callers. Source: S3 user guide, "The meaning of
    # "public"".
    *("aws:principalorgid", "aws:principalarn", "aws:principalaccount", "aws:sourceaccount", "aws:sourcearn"),
    *("aws:sourceip", "aws:sourcevpc", "aws:sourcevpce", "aws:userid", "s3:dataaccesspointaccount"),
}


def is_public(policy: str) -> bool:
    """Whether a bucket policy lets everybody do something."""
    try:
        found = json.loads(policy).get("Statement", [])
    except (ValueError, AttributeError):
        return False
    return any(
        statement.get("Effect") == "Allow" and _everybody(statement) and not _limited(statement)
        for statement in policies.as_list(found)
    )


def _everybody(statement: dict[str, Any]) -> bool:
    principal = statement.get("Principal")
    named = principal.get("AWS") if isinstance(principal, dict) else principal
    return "*" in policies.as_list(named) or "NotPrincipal" in statement


def _limited(statement: dict[str, Any]) -> bool:
    keys = {key.lower() for each in (statement.get("Condition") or {}).values() for key in each}
    return bool(keys & _FIXED)


bucket_policies = rule(
    "bucket_policies",
    """A bucket policy that is no JSON, has no statements, names no principal, another bucket's objects or
    actions of other services: MalformedPolicy 400. moto keeps it and falls over it later. What it denies is
    denied to whom it names, under its conditions; moto looks at neither.
    Source: aws-facts (j); S3 user guide, "How Amazon S3 authorizes a request for an object operation".""",
)


@bucket_policies.around("s3:*")
def _answer(call: BucketCall, proceed: Proceed) -> Any:
    asking = _asked.set(call)
    try:
        answer = proceed()
    finally:
        _asked.reset(asking)
    if answer[0] == 403 and not answer[2]:
        raise denied()
    return answer


@bucket_policies.before("s3:PutBucketPolicy")
def _look_at_policy(call: BucketCall) -> None:
    problem = problem_of(call.text, call.name) if call.bucket is not None else ""
    if problem:
        raise Refused("MalformedPolicy", problem)


@bucket_policies.patch(FakeBucket, "get_permission")
def _permission(original: Any, bucket: FakeBucket, action: str, resource: str) -> PermissionResult:
    action = action.replace("HeadObject", "GetObject")  # the one is no action
    said = policies.decide(policies.statements(policy_of(bucket)), action, resource, *asker(_asked.get()))
    return {"Allow": PermissionResult.PERMITTED, "Deny": PermissionResult.DENIED}.get(
        said or "", PermissionResult.NEUTRAL
    )


_asked: ContextVar[BucketCall] = ContextVar("a request to S3, while moto works on it")


def asker(call: BucketCall) -> tuple[policies.Principal, policies.Context]:
    """Who sends a request, and what else policies may ask about it."""
    response, who = call.response, policies.ANYBODY
    if is_signed(call):
        key = response.get_access_key()
        who = caller_of(response.current_account, response.partition, key, response.region)
    context = policies.context(
        response.region,
        principalaccount=who.account or None,
        principalarn=who.names[-1] if who.names else None,
        principaltype=None if who.names else "Anonymous",
        referer=call.header("Referer") or None,
        useragent=call.header("User-Agent") or None,
    )
    if address := getattr(call.request, "remote_addr", None):
        context["aws:sourceip"] = address
    query = response.querystring or {}
    return who, context | {f"s3:{name}": query.get(name) for name in ("prefix", "delimiter", "max-keys")}


def policy_of(bucket: FakeBucket) -> str:
    """The text of a bucket's policy; empty without one."""
    return bucket.policy.decode() if isinstance(bucket.policy, bytes) else bucket.policy or ""


def problem_of(text: str, bucket: str) -> str:
    """What is wrong with a bucket policy; empty when nothing is."""
    try:
        policy = json.loads(text)
    except ValueError:
        policy = None
    if not isinstance(policy, dict):
        return "Policies must be valid JSON and the first byte must be '{'"
    if not policy.get("Statement"):
        return "Missing required field Statement"
    if policy.get("Version", "2008-10-17") not in ("2012-10-17", "2008-10-17"):
        return "The policy must contain a valid version string"
    for statement in policies.as_list(policy["Statement"]):
        if not isinstance(statement, dict):
            return "Statement is not a valid JSON object"
        if statement.get("Effect") not in ("Allow", "Deny"):
            return f"Invalid effect: {statement.get('Effect')}"
        for field in ("Principal", "Action", "Resource"):
            if not statement.get(field) and not statement.get(f"Not{field}"):
                return f"Missing required field {field}"
        for field, pattern in (
            ("Action", r"\*|[Ss]3:.*"),
            ("Resource", rf"\*|arn:aws[\w-]*:s3:::{re.escape(bucket)}(/.*)?"),
        ):
            both = (*policies.as_list(statement.get(field)), *policies.as_list(statement.get(f"Not{field}")))
            if not all(re.fullmatch(pattern, str(each), re.DOTALL) for each in both):
                return f"Policy has invalid {field.lower()}"
    return ""


# --- keys and new buckets ------------------------------------------------------------------------------


object_keys = rule(
    "object_keys",
    """A key of more than 1024 bytes: KeyTooLongError 400. In a list a carriage return is written as &#13;, as
    whoever reads XML takes a bare one for a line feed. moto keeps any key, and writes it bare.
    Source: S3 user guide, "Naming Amazon S3 objects".""",
)


@object_keys.before("s3:*")
def _look_at_key(call: BucketCall) -> None:
    if len(call.key.encode()) > KEY_BYTES:
        raise Refused("KeyTooLongError", "Your key is too long")


@object_keys.around("s3:ListObjects", "s3:ListObjectsV2", "s3:ListObjectVersions", "s3:ListMultipartUploads")
def _write_returns(call: BucketCall, proceed: Proceed) -> Any:
    status, headers, body = proceed()
    return status, headers, body.replace(b"\r", b"&#13;")


@patch(S3Backend, "copy_object")
def copies_change_something(
    original: Any,
    backend: S3Backend,
    src_key: FakeKey,
    dest_bucket_name: str,
    dest_key_name: str,
    storage: str | None = None,
    encryption: str | None = None,
    **more: Any,
) -> None:
    """An object copied onto itself without a change: InvalidRequest 400, also in a bucket with the encryption
    that every new one has. moto takes that for a change. Source: aws-facts (k).
    """
    bucket = backend.get_bucket(dest_bucket_name)
    same = (src_key.bucket_name, src_key.name) == (dest_bucket_name, dest_key_name)
    changes = (
        storage or encryption or more.get("mdirective") == "REPLACE" or more.get("website_redirect_location")
    )
    encrypted = src_key.encryption not in (None, "AES256")
    restores = bucket.is_versioned and more.get("provided_version_id")
    if same and bucket.encryption is AES and not (changes or encrypted or restores):
        raise CopyObjectMustChangeSomething
    original(
        backend, src_key, dest_bucket_name, dest_key_name, storage=storage, encryption=encryption, **more
    )


@before("s3:CreateBucket")
def bucket_names(call: BucketCall) -> None:
    """A name that is not 3 to 63 small letters, digits, dots and hyphens, or looks like an address, or has a
    beginning or an end that AWS keeps: InvalidBucketName 400. moto looks at the length.
    Source: aws-facts (j); S3 user guide, "General purpose bucket naming rules".
    """
    if not is_name(call.name):
        raise Refused("InvalidBucketName", "The specified bucket is not valid.", BucketName=call.name)


def is_name(name: str) -> bool:
    """Whether a bucket may have this name."""
    if not re.fullmatch(r"[a-z0-9][a-z0-9.\-]{1,61}[a-z0-9]", name) or ".." in name:
        return False
    if name.startswith(("xn--", "sthree-", "amzn-s3-demo-")) or name.endswith(
        ("-s3alias", "--ol-s3", ".mrap", "--x-s3", "--table-s3")
    ):
        return False
    try:
        ipaddress.IPv4Address(name)
    except ValueError:
        return True
    return False


@around("s3:CreateBucket")
def new_buckets(call: BucketCall, proceed: Proceed) -> Any:
    """A new bucket blocks public access, has ACLs disabled (BucketOwnerEnforced), encrypts with AES256, and
    has the tags that CreateBucket gave it. moto: none of these. Source: aws-facts (c), (g), (j).
    """
    fresh = call.bucket is None
    answer = proceed()
    bucket = call.bucket
    if fresh and bucket is not None:
        bucket.public_access_block = PublicAccessBlock(True, True, True, True)
        if not call.header("x-amz-object-ownership"):
            bucket.ownership_rule = ENFORCED  # type: ignore[assignment]  # moto keeps it as text
        bucket.encryption = AES
        if tags := document(call).get("Tags"):
            named = {tag["Key"]: tag.get("Value", "") for tag in tags}
            call.backend.put_bucket_tagging(call.name, named)
    return answer
