"""S3 buckets: their names carry the token, for a bucket may be made without tags and emptied by anybody."""

from __future__ import annotations

import hashlib
import itertools
import json
import logging
import re
from collections.abc import Iterator
from typing import Any

from awslabs.kinds.kind import Found, Mark, Reason, Step
from awslabs.kinds.named import OURS, named, pages, tags_in, unless
from awslabs.kinds.overview import Overview
from awslabs.progress import each

log = logging.getLogger(__name__)

MISSING = ("NoSuchBucket", "404", "NotFound")
BUSY = ("BucketNotEmpty", "OperationAborted")
NAME = re.compile(
    r"(?P<ledger>awslabs-[a-z0-9-]+?-[a-z0-9]{6})-(?P<row>[a-z-]+)-(?P<token>\d{14}-[0-9a-f]{16})"
)
MARKED = "awslabs-ledger"  # metadata of each object that a lab puts into a bucket
LOOKED_AT = 1000  # objects of which it is asked who put them there


def location(region: str) -> dict[str, Any]:
    """Where CreateBucket is to put one: us-east-1 must not be said, every other Region must be."""
    return {} if region == "us-east-1" else {"CreateBucketConfiguration": {"LocationConstraint": region}}


def mark_bucket(request: dict[str, Any], mark: Mark) -> dict[str, Any]:
    """The token at the end of the name, which is unique in the whole world; and our tags."""
    configuration = {**request.get("CreateBucketConfiguration", {}), "Tags": mark.tag_list()}
    return {
        **request,
        "Bucket": f"{request['Bucket']}-{mark.token}",
        "CreateBucketConfiguration": configuration,
    }


def show_bucket(s3: Any, ids: dict[str, str]) -> Found | None:
    """The bucket of that name: nobody else's name holds our token."""
    return Found(dict(ids)) if unless(MISSING, s3.head_bucket, Bucket=ids["Bucket"]) else None


def buckets_of_ours(s3: Any, overview: Overview) -> list[Found]:
    """Buckets of this Region whose name holds a ledger's prefix and a token."""
    found = []
    for bucket in pages(s3, "list_buckets", "Buckets", Prefix=OURS, BucketRegion=s3.meta.region_name):
        name = NAME.fullmatch(bucket["Name"])
        elsewhere = bucket.get("BucketRegion", s3.meta.region_name) != s3.meta.region_name
        if name is None or elsewhere:
            continue
        shown = overview.tags("s3", bucket["Name"])
        if not shown:
            answer = unless(("NoSuchTagSet", *MISSING), s3.get_bucket_tagging, Bucket=bucket["Name"]) or {}
            shown = tags_in(answer.get("TagSet"))
        tags = {
            "awslabs:ledger": name["ledger"],
            "awslabs:row": f"0 {name['row']}",
            **shown,
            "awslabs:token": name["token"],
        }
        found.append(Found({"Bucket": bucket["Name"]}, tags=tags))
    return found


def delete_bucket(s3: Any, found: Found) -> None:
    """Say what of others lies in the bucket, empty it of every version, delete it."""
    strangers, looked_at = count_strangers(s3, found.id)
    if strangers:
        log.warning(
            "%s: %d of %d objects were not put there by a lab; they go too", found.id, strangers, looked_at
        )
    empty(s3, found.id)
    s3.delete_bucket(Bucket=found.id)


def count_strangers(s3: Any, bucket: str) -> tuple[int, int]:
    """Of the first thousand objects, how many no lab has put there, and how many there are.

    AWS calls: ``s3:ListObjectsV2``, ``s3:HeadObject`` for each.
    """
    listing = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket)
    objects = (one for page in listing for one in page.get("Contents", []))
    keys = [one["Key"] for one in itertools.islice(objects, LOOKED_AT)]

    def is_strange(key: str) -> bool:
        head = unless(("404",), s3.head_object, Bucket=bucket, Key=key)
        return head is not None and MARKED not in head["Metadata"]

    return sum(each(is_strange, keys, 16)), len(keys)


def empty(s3: Any, bucket: str) -> None:
    """Delete every version of every object and the markers of deleted ones, up to 1000 in one call."""
    for page in s3.get_paginator("list_object_versions").paginate(Bucket=bucket):
        versions = [*page.get("Versions", []), *page.get("DeleteMarkers", [])]
        objects = [{"Key": one["Key"], "VersionId": one["VersionId"]} for one in versions]
        if objects:
            answer = s3.delete_objects(Bucket=bucket, Delete={"Objects": objects, "Quiet": True})
            for error in answer.get("Errors", [])[:1]:  # with HTTP 200; delete_bucket is refused then
                log.warning("%s: %s is not deleted: %s", bucket, error["Key"], error.get("Message", ""))


BUCKET = named(
    "s3:CreateBucket",
    "Bucket",
    show_bucket,
    mark=mark_bucket,
    listed=buckets_of_ours,
    delete=delete_bucket,
    taken=("BucketAlreadyOwnedByYou",),
    # The second AccessDenied passes some seconds after the block on public policies was taken away.
    not_yet=("OperationAborted", "NoSuchBucket", "AccessDenied BlockPublicPolicy"),
    busy=BUSY,
    absent=MISSING,
)

KINDS = [BUCKET]


# -- What dies with its bucket ---------------------------------------------------------------------------


def no_public_access_block(s3: Any, wanted: dict[str, Any]) -> Iterator[Step]:
    """DeletePublicAccessBlock, where there is one: every new bucket has it."""
    if unless(("NoSuchPublicAccessBlockConfiguration",), s3.get_public_access_block, **wanted):
        yield s3.delete_public_access_block, wanted


def bucket_policy(s3: Any, wanted: dict[str, Any]) -> Iterator[Step]:
    """PutBucketPolicy, where another one stands, or none."""
    answer = unless(("NoSuchBucketPolicy",), s3.get_bucket_policy, Bucket=wanted["Bucket"])
    if not answer or json.loads(answer["Policy"]) != json.loads(wanted["Policy"]):
        yield s3.put_bucket_policy, wanted


def website(s3: Any, wanted: dict[str, Any]) -> Iterator[Step]:
    """PutBucketWebsite, where the bucket is none, or one with other documents."""
    answer = unless(("NoSuchWebsiteConfiguration",), s3.get_bucket_website, Bucket=wanted["Bucket"]) or {}
    if {name: answer.get(name) for name in wanted["WebsiteConfiguration"]} != wanted["WebsiteConfiguration"]:
        yield s3.put_bucket_website, wanted


def small_object(s3: Any, wanted: dict[str, Any]) -> Iterator[Step]:
    """PutObject, where the object is missing or another; its ETag is the MD5 of what is sent in one piece."""
    head = unless(("404", "NoSuchKey"), s3.head_object, Bucket=wanted["Bucket"], Key=wanted["Key"]) or {}
    same = head.get("ETag") == f'"{hashlib.md5(wanted["Body"], usedforsecurity=False).hexdigest()}"'
    if not same or head["ContentType"] != wanted["ContentType"]:
        yield s3.put_object, wanted


ENSURES = {
    "s3:DeletePublicAccessBlock": no_public_access_block,
    "s3:PutBucketPolicy": bucket_policy,
    "s3:PutBucketWebsite": website,
    "s3:PutObject": small_object,
}


# -- What a reader is told ---------------------------------------------------------------------------------

REASONS = {
    "s3:CreateBucket": Reason(
        "A store for files of any size (a bucket of S3); no other in the world has its name.",
        "Files in it outlive the machine that wrote them.",
        "どんな大きさのファイルでも置ける場所です（S3 のバケット）。名前は世界でひとつだけです。",
        "書いたマシンが消えても、ファイルは残ります。",
    ),
    "s3:DeletePublicAccessBlock": Reason(
        "It takes off the lock that keeps each new bucket from becoming public.",
        "The page is for everybody, and AWS opens no bucket while the lock is on.",
        "新しいバケットが公開されないように掛かっている鍵を外します。",
        "ページは誰でも見るものですが、鍵が掛かったままでは公開できません。",
    ),
    "s3:PutBucketPolicy": Reason(
        "Who may do what with the files in the bucket.",
        "Everybody may read them, and nobody but you may write any.",
        "バケットのファイルに、誰が何をしてよいかを決めます。",
        "読むのは誰でもでき、書くのはあなただけです。",
    ),
    "s3:PutBucketWebsite": Reason(
        "Which file is the page to begin with.",
        "Who asks for the address alone then gets index.html.",
        "最初に見せるページのファイルを決めます。",
        "アドレスだけを開いた人に index.html を見せます。",
    ),
    "s3:PutObject": Reason(
        "A file, put into the bucket.",
        "The page is made of these, and browsers fetch them.",
        "ファイルをバケットに置きます。",
        "ページはこれらでできていて、ブラウザが取りに来ます。",
    ),
}
