"""S3: tags of buckets and objects.

Source: S3 user guide, "Categorizing your objects using tags"; aws-facts (k).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any
from urllib.parse import unquote_plus

from moto.s3.models import FakeDeleteMarker

from awslabs.sandbox.core.engine import BucketCall, Proceed, Refused, before, rule
from awslabs.sandbox.services.s3.conditions import missing
from awslabs.sandbox.services.s3.documents import document, invalid, malformed
from awslabs.sandbox.services.s3.versions import no_method, no_version

Tags = list[tuple[str, str]]

_ALLOWED = re.compile(r"[\w\s+\-=.:/@]*")
_OF_BUCKETS = "System tags cannot be added/updated by requester"
_OF_OBJECTS = "Your TagKey cannot be prefixed with aws:"
_OF_NEW_BUCKETS = (
    'User-defined tag keys can\'t start with "aws:". This prefix is reserved for system tags. Remove "aws:" '
    "from your tag keys and try again."
)
_HEADER = (
    "The header 'x-amz-tagging' shall be encoded as UTF-8 then URLEncoded URL query parameters without tag "
    "name duplicates."
)


def tags_of(found: Iterable[dict[str, str]]) -> Tags:
    """Keys and values, of which each tag has one."""
    tags = []
    for tag in found:
        if not tag.get("Key") or "Value" not in tag:
            raise malformed()
        tags.append((tag["Key"], tag["Value"]))
    return tags


def _look(tags: Tags, of_aws: str, named: bool = True) -> None:
    """Refuse what no tag may be."""
    keys = set()
    for key, value in tags:
        if key.startswith("aws:"):
            raise Refused("InvalidTag", of_aws, **({"TagKey": key} if named else {}))
        if key in keys:
            raise Refused("InvalidTag", "Cannot provide multiple Tags with the same key", TagKey=key)
        if len(key) > 128 or not _ALLOWED.fullmatch(key):
            raise Refused("InvalidTag", "The TagKey you have provided is invalid", TagKey=key)
        if len(value) > 256 or not _ALLOWED.fullmatch(value):
            message = "The TagValue you have provided is invalid"
            raise Refused("InvalidTag", message, TagKey=key, TagValue=value)
        keys.add(key)


tags_are_valid = rule(
    "tags_are_valid",
    """Tags have a key and a value of letters, digits and some signs, no key twice and none of AWS's own:
    InvalidTag, which names it; MalformedXML for what lacks, InvalidArgument for a header that is no query.
    An object may be given no tags at all, and a tag an empty value. moto looks at less, stumbles over no
    tags, and loses empty values. Source: aws-facts (k).""",
)


@tags_are_valid.around("s3:PutBucketTagging")
def _tag_bucket(call: BucketCall, proceed: Proceed) -> Any:
    if call.bucket is None:
        return proceed()  # moto says so
    tags = tags_of(document(call).get("TagSet", []))
    _look(tags, _OF_BUCKETS)
    answer = proceed()
    if tags:
        call.backend.put_bucket_tagging(call.name, dict(tags))
    return answer


@tags_are_valid.around("s3:PutObjectTagging")
def _tag_object(call: BucketCall, proceed: Proceed) -> Any:
    if call.bucket is None:
        return proceed()
    tags = tags_of(document(call).get("TagSet", []))
    _look(tags, _OF_OBJECTS)
    if tags:
        return proceed()
    _there(call, call.key)
    call.backend.delete_object_tagging(call.name, call.key, version_id=call.version_id)
    return 200, {}, b""


@tags_are_valid.before("s3:PutObject", "s3:CopyObject", "s3:CreateMultipartUpload")
def _tagged_header(call: BucketCall) -> None:
    text = call.header("x-amz-tagging")
    pairs = [each.partition("=")[::2] for each in text.split("&") if each]
    tags = [(unquote_plus(key), unquote_plus(value)) for key, value in pairs]
    strange = any("," in key + value or "=" in value for key, value in pairs)
    if strange or len(dict(tags)) < len(tags):
        raise invalid(_HEADER, "x-amz-tagging", text)
    _look(tags, _OF_OBJECTS)


@tags_are_valid.before("s3:CreateBucket")
def _tag_new_bucket(call: BucketCall) -> None:
    _look(tags_of(document(call).get("Tags", [])), _OF_NEW_BUCKETS, named=False)


@before("s3:CreateBucket")
def a_bucket_is_tagged_once(call: BucketCall) -> None:
    """A bucket that is there is not made again with tags, the same or others: BucketAlreadyOwnedByYou, also
    in us-east-1, where it is without tags. moto says nothing. Source: aws-facts (k).
    """
    if call.bucket is not None and call.bucket.account_id == call.account and document(call).get("Tags"):
        message = "Your previous request to create the named bucket succeeded and you already own it."
        raise Refused("BucketAlreadyOwnedByYou", message, BucketName=call.name)


tags_of_what_is_there = rule(
    "tags_of_what_is_there",
    """Tags of an object that is not there: NoSuchKey, whose Key begins with the bucket where they are asked
    for; of a delete marker: MethodNotAllowed. moto stumbles over a deletion. Source: aws-facts (k).""",
)


@tags_of_what_is_there.before("s3:DeleteObjectTagging")
def _delete_tags(call: BucketCall) -> None:
    if call.bucket is not None:
        _there(call, call.key)


@tags_of_what_is_there.before("s3:GetObjectTagging")
def _get_tags(call: BucketCall) -> None:
    if call.bucket is not None and "versionId" not in call.query:
        _there(call, f"{call.name}/{call.key}")


def _there(call: BucketCall, shown: str) -> None:
    """Refuse an object that is not there, by this name, or that is deleted."""
    version = call.version_id
    found = call.backend.get_object(call.name, call.key, version_id=version, return_delete_marker=True)
    if isinstance(found, FakeDeleteMarker):
        raise no_method(call.method)
    if found is None:
        raise missing(shown) if version is None else no_version(call.key, version)
