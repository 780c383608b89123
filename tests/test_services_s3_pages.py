"""Lists of buckets, objects and versions, page by page: moto alone, then with the rule."""

from __future__ import annotations

from typing import Any

import pytest
from botocore.exceptions import ClientError
from test_services_support import Case, check, client, cloud, refused, said, table

from awslabs.sandbox.services.s3 import pages  # noqa: F401  (what is tested here)

NAME = "lab-pages"
FOLDERS = ("folder/a/1", "folder/a/2", "folder/x", "folder/y")


def bucket(*keys: str, versioned: bool = False) -> Any:
    s3 = client("s3")
    s3.create_bucket(Bucket=NAME)
    if versioned:
        s3.put_bucket_versioning(Bucket=NAME, VersioningConfiguration={"Status": "Enabled"})
    for key in keys:
        s3.put_object(Bucket=NAME, Key=key, Body=b"1")
    return s3


def walked(method: Any, onward: dict[str, str], **asked: Any) -> list[list[str]]:
    """Keys, versions and prefixes of all pages; `onward`: parameters by the members they come from."""
    found = []
    for _ in range(20):
        shown = method(Bucket=NAME, **asked)
        parts = ("Contents", "Versions", "DeleteMarkers")
        names = [each.get("VersionId", each["Key"]) for part in parts for each in shown.get(part, [])]
        found.append(names + [each["Prefix"] for each in shown.get("CommonPrefixes", [])])
        if not shown["IsTruncated"]:
            break
        asked |= {name: shown[member] for member, name in onward.items() if member in shown}
    return found


def one_by_one_with_folders() -> list[list[str]]:
    s3 = bucket(*FOLDERS)
    asked = {"Prefix": "folder/", "Delimiter": "/", "MaxKeys": 1}
    return walked(s3.list_objects, {"NextMarker": "Marker"}, **asked)


def an_encoding_that_is_none() -> str:
    s3 = bucket()
    asked: dict[str, Any] = {"Bucket": NAME, "EncodingType": "value"}
    return said(s3.list_objects_v2, **asked)


def what_is_behind_a_key() -> Any:
    s3 = bucket("a", "b", versioned=True)
    shown = s3.list_object_versions(Bucket=NAME, KeyMarker="a")
    return [each["Key"] for each in shown.get("Versions", [])]


def buckets_after_the_first() -> list[str]:
    s3 = bucket()
    s3.create_bucket(Bucket="lab-another")
    token = s3.list_buckets(MaxBuckets=1).get("ContinuationToken", "none")
    return [each["Name"] for each in s3.list_buckets(ContinuationToken=token)["Buckets"]]


@table(
    Case(
        "pages",
        one_by_one_with_folders,
        [["folder/x", "folder/a/"], ["folder/y", "folder/a/"]],
        [["folder/a/"], ["folder/x"], ["folder/y"]],
    ),
    Case("keys_are_encoded_for_urls", an_encoding_that_is_none, "ok", "InvalidArgument"),
    Case("pages", what_is_behind_a_key, ["b"], ["b"]),
    Case("pages", buckets_after_the_first, ["lab-pages", "lab-another"], ["lab-pages"]),
)
def test_aws_goes_on_behind_what_it_gave_out(case: Case) -> None:
    check(case)


@pytest.mark.parametrize("most", [1, 2, 3, 1000])
def test_each_thing_is_on_one_page(most: int) -> None:
    with cloud(every=True):
        s3 = bucket(*FOLDERS, "zero", versioned=True)
        asked = {"Prefix": "folder/", "Delimiter": "/", "MaxKeys": most}
        everything = ["folder/a/", "folder/x", "folder/y"]
        for method, onward in (
            (s3.list_objects, {"NextMarker": "Marker"}),
            (s3.list_objects_v2, {"NextContinuationToken": "ContinuationToken"}),
        ):
            shown = walked(method, onward, **asked)
            assert sorted(sum(shown, [])) == everything
            assert all(len(page) <= most for page in shown)
        onward = {"NextKeyMarker": "KeyMarker", "NextVersionIdMarker": "VersionIdMarker"}
        versions = walked(s3.list_object_versions, onward, MaxKeys=most)
        assert len(sum(versions, [])) == len(set(sum(versions, []))) == 5


def test_a_list_of_versions_goes_on_behind_one_that_is_gone() -> None:
    with cloud(every=True):
        s3 = bucket(*["k"] * 5, versioned=True)
        first = s3.list_object_versions(Bucket=NAME, MaxKeys=3)
        left = s3.list_object_versions(Bucket=NAME)["Versions"][3:]
        marker = {"KeyMarker": first["NextKeyMarker"], "VersionIdMarker": first["NextVersionIdMarker"]}
        gone = [{"Key": "k", "VersionId": each["VersionId"]} for each in first["Versions"]]
        s3.delete_objects(Bucket=NAME, Delete={"Objects": gone})
        shown = s3.list_object_versions(Bucket=NAME, **marker)["Versions"]
        assert [each["VersionId"] for each in shown] == [each["VersionId"] for each in left]


def test_the_newest_comes_first_and_is_the_latest() -> None:
    with cloud(every=True):
        s3 = bucket("k", "k", versioned=True)
        marker = s3.delete_object(Bucket=NAME, Key="k")["VersionId"]
        shown = s3.list_object_versions(Bucket=NAME)
        assert [each["IsLatest"] for each in shown["Versions"]] == [False, False]
        assert [(each["VersionId"], each["IsLatest"]) for each in shown["DeleteMarkers"]] == [(marker, True)]
        assert "Contents" not in s3.list_objects_v2(Bucket=NAME)


def test_a_marker_of_versions_has_its_key() -> None:
    with cloud(every=True):
        asked = {"Bucket": NAME, "VersionIdMarker": "x"}
        says = "A version-id marker cannot be specified without a key marker."
        assert refused(bucket(versioned=True).list_object_versions, **asked)[:2] == ("InvalidArgument", says)


def test_the_second_kind_of_list_repeats_where_it_began() -> None:
    with cloud(every=True):
        s3 = bucket("a", "b", "c=1", "d")
        shown = s3.list_objects_v2(Bucket=NAME, StartAfter="a", MaxKeys=1)
        assert (shown["StartAfter"], shown["KeyCount"], shown["Contents"][0]["Key"]) == ("a", 1, "b")
        token = shown["NextContinuationToken"]
        rest = s3.list_objects_v2(Bucket=NAME, StartAfter="d", ContinuationToken=token)
        assert (rest["ContinuationToken"], "StartAfter" in rest) == (token, False)
        assert [each["Key"] for each in rest["Contents"]] == ["c=1", "d"]
        assert "Owner" in s3.list_objects_v2(Bucket=NAME, FetchOwner=True)["Contents"][0]
        for wrong in ("", "x"):
            with pytest.raises(ClientError) as caught:
                s3.list_objects_v2(Bucket=NAME, ContinuationToken=wrong)
            assert caught.value.response["Error"]["ArgumentName"] == "continuation-token"


def test_a_page_of_nothing_is_not_cut_off() -> None:
    with cloud(every=True):
        shown = bucket("a").list_objects_v2(Bucket=NAME, MaxKeys=0)
        assert (shown["IsTruncated"], shown["KeyCount"]) == (False, 0)


def test_buckets_are_listed_by_name_and_region() -> None:
    with cloud(every=True):
        s3 = bucket()
        s3.create_bucket(Bucket="lab-another")
        assert [each["Name"] for each in s3.list_buckets()["Buckets"]] == ["lab-another", NAME]
        assert s3.list_buckets(BucketRegion="us-west-2")["Buckets"] == []
        says = "Argument value eu-east-1 is not a valid AWS Region"
        assert refused(s3.list_buckets, BucketRegion="eu-east-1")[:2] == ("InvalidArgument", says)


def test_a_policy_that_denies_the_list_is_asked() -> None:
    with cloud(every=True):
        s3 = bucket("a")
        deny = (
            '{"Version":"2012-10-17","Statement":[{"Effect":"Deny","Principal":"*",'
            f'"Action":"s3:ListBucket","Resource":"arn:aws:s3:::{NAME}"}}]}}'
        )
        s3.put_bucket_policy(Bucket=NAME, Policy=deny)
        assert said(s3.list_objects_v2, Bucket=NAME) == "AccessDenied"
        assert said(s3.list_object_versions, Bucket=NAME) == "ok"
