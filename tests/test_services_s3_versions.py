"""Versions of objects, delete markers and deletions: moto alone, then with the rule."""

from __future__ import annotations

import string
from typing import Any

import pytest
from botocore.exceptions import ClientError
from test_services_support import Case, check, client, cloud, refused, said, table

from awslabs.sandbox.services.s3 import deletions, versions  # noqa: F401  (what is tested here)

NAME, KEY = "lab-versions", "k"
NO_VERSION = "HPniJFCxqTsMuIH9KX8K8wEjNUgmABCD"


def bucket(status: str = "", **more: Any) -> Any:
    s3 = client("s3")
    s3.create_bucket(Bucket=NAME, **more)
    if status:
        versioning(status)
    return s3


def versioning(status: str) -> None:
    client("s3").put_bucket_versioning(Bucket=NAME, VersioningConfiguration={"Status": status})


def put(body: str = "1", key: str = KEY) -> Any:
    return client("s3").put_object(Bucket=NAME, Key=key, Body=body.encode()).get("VersionId")


def listed() -> list[str]:
    """Bodies of all versions, the newest first, and delete markers."""
    s3 = client("s3")
    shown = s3.list_object_versions(Bucket=NAME)
    each = [*shown.get("Versions", []), *shown.get("DeleteMarkers", [])]
    return [
        s3.get_object(Bucket=NAME, Key=one["Key"], VersionId=one["VersionId"])["Body"].read().decode()
        if "Size" in one
        else f"marker {len(one['VersionId'])}"
        for one in each
    ]


def error(method: Any, **asked: Any) -> dict[str, Any]:
    """An error's members, without the request's id."""
    with pytest.raises(ClientError) as caught:
        method(**asked)
    said: dict[str, Any] = caught.value.response["Error"]
    return {name: value for name, value in said.items() if name not in ("RequestId", "HostId", "Message")}


def an_id() -> bool:
    bucket("Enabled")
    letters = set(string.ascii_letters + string.digits + "._")
    version = put()
    return len(version) == 32 and set(version) <= letters


def how_many_stay_when_suspended() -> int:
    bucket("Enabled")
    put("1")
    put("2")
    versioning("Suspended")
    put("3")
    put("4")
    return len(client("s3").list_object_versions(Bucket=NAME)["Versions"])


def a_status_that_is_none() -> str:
    s3 = bucket()
    return said(s3.put_bucket_versioning, Bucket=NAME, VersioningConfiguration={"Status": "enabled"})


def a_marker_where_nothing_was() -> Any:
    return bucket("Enabled").delete_object(Bucket=NAME, Key="none").get("DeleteMarker")


def a_version_that_is_none() -> str:
    return said(bucket("Enabled").delete_object, Bucket=NAME, Key=KEY, VersionId=NO_VERSION)


def quietly() -> Any:
    s3 = bucket()
    put()
    return s3.delete_objects(Bucket=NAME, Delete={"Quiet": True, "Objects": [{"Key": KEY}]}).get("Deleted")


def version_of_a_put_without_versioning() -> Any:
    bucket()
    upload = client("s3").create_multipart_upload(Bucket=NAME, Key=KEY)["UploadId"]
    asked: dict[str, Any] = {"Bucket": NAME, "Key": KEY, "UploadId": upload}
    tag = client("s3").upload_part(**asked, PartNumber=1, Body=b"1")["ETag"]
    parts = {"Parts": [{"PartNumber": 1, "ETag": tag}]}
    return client("s3").complete_multipart_upload(**asked, MultipartUpload=parts).get("VersionId")


def a_bucket_says_that_it_has_versions() -> bool:
    s3 = bucket("Enabled")
    put()
    return "all versions" in refused(s3.delete_bucket, Bucket=NAME)[1]


@table(
    Case("object_versions", an_id, False, True),
    Case("object_versions", how_many_stay_when_suspended, 1, 3),
    Case("versioning_is_enabled_or_suspended", a_status_that_is_none, "ok", "MalformedXML"),
    Case("deletions", a_marker_where_nothing_was, None, True),
    Case("only_locks_are_bypassed", a_version_that_is_none, "ok", "InvalidArgument"),
    Case("deletions", quietly, [{"Key": KEY}], None),
    Case("versions_are_named", version_of_a_put_without_versioning, "null", None),
    Case("versions_fill_a_bucket", a_bucket_says_that_it_has_versions, False, True),
)
def test_aws_keeps_versions_as_moto_does_not(case: Case) -> None:
    check(case)


def test_a_new_object_takes_the_place_of_the_version_null_alone_where_versioning_is_suspended() -> None:
    with cloud(every=True):
        s3 = bucket()
        put("before")
        versioning("Enabled")
        put("1")
        versioning("Suspended")
        assert put("2") is None
        assert listed() == ["2", "1"]
        assert s3.get_object(Bucket=NAME, Key=KEY)["VersionId"] == "null"
        assert s3.delete_object(Bucket=NAME, Key=KEY)["VersionId"] == "null"
        assert listed() == ["1", "marker 4"]
        versioning("Enabled")
        put("3")
        assert listed() == ["3", "1", "marker 4"]


def test_a_copy_names_its_version_and_that_of_its_source() -> None:
    with cloud(every=True):
        s3 = bucket("Enabled")
        source, asked = put(), {"Bucket": NAME, "Key": KEY, "CopySource": f"{NAME}/{KEY}"}
        copied = s3.copy_object(**asked, MetadataDirective="REPLACE")
        assert copied["CopySourceVersionId"] == source != copied["VersionId"]
        versioning("Suspended")
        assert s3.copy_object(**asked, MetadataDirective="REPLACE")["VersionId"] == "null"
        assert "CopySourceVersionId" not in s3.copy_object(**asked, MetadataDirective="REPLACE")


def test_a_deletion_says_what_it_made_and_what_it_removed() -> None:
    with cloud(every=True):
        s3 = bucket("Enabled")
        version = put()
        made = s3.delete_object(Bucket=NAME, Key=KEY)
        assert made["DeleteMarker"]
        assert len(made["VersionId"]) == 32
        marker = {"Key": KEY, "VersionId": made["VersionId"]}
        many = s3.delete_objects(Bucket=NAME, Delete={"Objects": [marker, {"Key": "another"}]})["Deleted"]
        assert many[0] == marker | {"DeleteMarker": True, "DeleteMarkerVersionId": marker["VersionId"]}
        assert many[1]["DeleteMarker"]
        assert "VersionId" not in many[1]
        assert listed() == ["1", "marker 32"]
        gone = s3.delete_object(Bucket=NAME, Key=KEY, VersionId=version)
        assert gone["VersionId"] == version
        assert "DeleteMarker" not in gone
        s3.delete_objects(
            Bucket=NAME,
            Delete={"Objects": [{"Key": "another", "VersionId": many[1]["DeleteMarkerVersionId"]}]},
        )
        assert said(s3.delete_bucket, Bucket=NAME) == "ok"


def test_one_of_many_versions_that_is_none_is_an_error_among_them() -> None:
    with cloud(every=True):
        s3 = bucket()
        put()
        wrong = {"Key": KEY, "VersionId": NO_VERSION}
        answer = s3.delete_objects(Bucket=NAME, Delete={"Objects": [wrong, {"Key": "none"}, {"Key": KEY}]})
        (problem,) = answer["Errors"]
        assert problem == wrong | {
            "Code": "NoSuchVersion",
            "Message": "The specified version does not exist.",
        }
        assert answer["Deleted"] == [{"Key": "none"}, {"Key": KEY}]


def test_a_version_that_is_gone_is_deleted_once_more() -> None:
    with cloud(every=True):
        s3 = bucket()
        versioning = {"Status": "Enabled"}
        s3.put_bucket_versioning(Bucket=NAME, VersioningConfiguration=versioning)
        one = {"Key": KEY, "VersionId": s3.put_object(Bucket=NAME, Key=KEY, Body=b"1")["VersionId"]}
        for _ in range(2):
            answer = s3.delete_objects(Bucket=NAME, Delete={"Objects": [one]})
            assert (answer["Deleted"], answer.get("Errors", [])) == ([one], [])


def test_many_deletions_at_once_are_at_most_a_thousand() -> None:
    with cloud(every=True):
        s3 = bucket()
        many = [{"Key": str(number)} for number in range(1001)]
        assert said(s3.delete_objects, Bucket=NAME, Delete={"Objects": many}) == "MalformedXML"
        assert len(s3.delete_objects(Bucket=NAME, Delete={"Objects": many[:-1]})["Deleted"]) == 1000


def test_what_bypasses_a_lock_is_refused_where_there_is_none() -> None:
    with cloud(every=True):
        s3 = bucket()
        named = "x-amz-bypass-governance-retention"
        asked = {"Bucket": NAME, "BypassGovernanceRetention": False}
        assert error(s3.delete_object, **asked, Key=KEY) == {"Code": "InvalidArgument", "ArgumentName": named}
        many = {"Objects": [{"Key": KEY}]}
        assert error(s3.delete_objects, **asked, Delete=many)["ArgumentName"] == named


def test_a_locked_version_stays_and_says_why() -> None:
    with cloud(every=True):
        s3 = bucket(ObjectLockEnabledForBucket=True)
        version = {"Key": KEY, "VersionId": put()}
        s3.put_object_legal_hold(Bucket=NAME, **version, LegalHold={"Status": "ON"})
        says = "Access Denied because object protected by object lock."
        assert refused(s3.delete_object, Bucket=NAME, **version) == ("AccessDenied", says, 403)
        (problem,) = s3.delete_objects(Bucket=NAME, Delete={"Objects": [version]})["Errors"]
        assert problem == version | {"Code": "AccessDenied", "Message": says}
        assert s3.delete_object(Bucket=NAME, Key=KEY)["DeleteMarker"]


def test_versioning_is_there_or_suspended_and_stays_with_a_lock() -> None:
    with cloud(every=True):
        s3 = bucket(ObjectLockEnabledForBucket=True)
        configure = s3.put_bucket_versioning
        assert error(configure, Bucket=NAME, VersioningConfiguration={}) == {
            "Code": "IllegalVersioningConfigurationException"
        }
        suspended = {"Status": "Suspended"}
        assert refused(configure, Bucket=NAME, VersioningConfiguration=suspended)[::2] == (
            "InvalidBucketState",
            409,
        )
        assert said(configure, Bucket=NAME, VersioningConfiguration={"Status": "Enabled"}) == "ok"
        assert said(configure, Bucket="nobodys", VersioningConfiguration=suspended) == "NoSuchBucket"


def test_what_cannot_be_stored_leaves_what_was_there() -> None:
    with cloud(every=True):
        s3 = bucket("Enabled")
        put("1")
        assert said(s3.put_object, Bucket=NAME, Key=KEY, StorageClass="NONE") == "InvalidStorageClass"
        assert listed() == ["1"]
