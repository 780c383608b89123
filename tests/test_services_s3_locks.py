"""Object Lock and lifecycle rules: moto alone, then with the rule."""

from __future__ import annotations

import datetime
import re
from email.utils import parsedate_to_datetime
from typing import Any

import pytest
from botocore.exceptions import ClientError
from test_services_support import Case, check, client, cloud, refused, said, table

from awslabs.sandbox.services.s3 import expiry, locks  # noqa: F401  (what is tested here)

NAME, KEY = "lab-locks", "k"
OF_ONE = {"Bucket": NAME, "Key": KEY}
NOW = datetime.datetime.now(datetime.timezone.utc).replace(microsecond=0)
DAY = datetime.timedelta(days=1)
LOCKED = "Access Denied because object protected by object lock."


def bucket(locked: bool = True) -> Any:
    s3 = client("s3")
    s3.create_bucket(Bucket=NAME, ObjectLockEnabledForBucket=locked)
    s3.put_object(**OF_ONE, Body=b"1")
    return s3


def retention(mode: str = "GOVERNANCE", days: int = 2) -> dict[str, Any]:
    return {"Retention": {"Mode": mode, "RetainUntilDate": NOW + days * DAY}}


def default(**lasts: Any) -> dict[str, Any]:
    return {"ObjectLockEnabled": "Enabled", "Rule": {"DefaultRetention": lasts}}


def by_rules(*rules: dict[str, Any]) -> Any:
    s3 = client("s3")
    s3.create_bucket(Bucket=NAME)
    configuration = {
        "Rules": [
            {"ID": str(number), "Status": "Enabled", "Filter": {}} | rule for number, rule in enumerate(rules)
        ]
    }
    s3.put_bucket_lifecycle_configuration(Bucket=NAME, LifecycleConfiguration=configuration)
    return s3


def ends(answer: dict[str, Any]) -> tuple[datetime.datetime, str] | None:
    """When an object expires, and by which rule."""
    if "Expiration" not in answer:
        return None
    match = re.fullmatch(r'expiry-date="(.*)", rule-id="(.*)"', answer["Expiration"])
    assert match
    return parsedate_to_datetime(match[1]), match[2]


def problem(method: Any, **asked: Any) -> dict[str, Any]:
    with pytest.raises(ClientError) as caught:
        method(**asked)
    said: dict[str, Any] = caught.value.response["Error"]
    return said


def what_was_never_set() -> str:
    return said(bucket().get_object_legal_hold, **OF_ONE)


def a_mode_without_a_date() -> str:
    return said(bucket().put_object, **OF_ONE, Body=b"", ObjectLockMode="GOVERNANCE")


def a_rule_without_days() -> str:
    asked = default(Mode="GOVERNANCE")
    return said(bucket().put_object_lock_configuration, Bucket=NAME, ObjectLockConfiguration=asked)


def an_objects_end() -> bool:
    return "Expiration" in by_rules({"Expiration": {"Days": 1}}).put_object(**OF_ONE, Body=b"")


@table(
    Case("locks", what_was_never_set, "ok", "NoSuchObjectLockConfiguration"),
    Case("new_locks_are_whole", a_mode_without_a_date, "ok", "InvalidArgument"),
    Case("locks", a_rule_without_days, "InvalidBucket", "MalformedXML"),
    Case("expiry", an_objects_end, False, True),
)
def test_aws_locks_and_ends_as_moto_does_not(case: Case) -> None:
    check(case)


def test_retention_is_read_and_extended_and_made_less_by_who_may_bypass_it() -> None:
    with cloud(every=True):
        s3 = bucket()
        assert refused(s3.get_object_retention, **OF_ONE)[::2] == ("NoSuchObjectLockConfiguration", 404)
        assert said(s3.put_object_retention, **OF_ONE, **retention()) == "ok"
        assert s3.get_object_retention(**OF_ONE)["Retention"] == retention()["Retention"]
        assert said(s3.put_object_retention, **OF_ONE, **retention(days=3)) == "ok"
        assert refused(s3.put_object_retention, **OF_ONE, **retention(days=1)) == (
            "AccessDenied",
            LOCKED,
            403,
        )
        assert said(s3.put_object_retention, **OF_ONE, Retention={}) == "AccessDenied"
        assert said(s3.put_object_retention, **OF_ONE, Retention={}, BypassGovernanceRetention=True) == "ok"
        assert said(s3.get_object_retention, **OF_ONE) == "NoSuchObjectLockConfiguration"


def test_in_compliance_mode_nobody_makes_it_less() -> None:
    with cloud(every=True):
        s3 = bucket()
        s3.put_object_retention(**OF_ONE, **retention("COMPLIANCE"))
        for less in (retention("COMPLIANCE", 1), retention("GOVERNANCE", 9), {"Retention": {}}):
            asked = {**OF_ONE, **less, "BypassGovernanceRetention": True}
            assert said(s3.put_object_retention, **asked) == "AccessDenied"
        version = {**OF_ONE, "VersionId": s3.head_object(**OF_ONE)["VersionId"]}
        assert said(s3.delete_object, **version, BypassGovernanceRetention=True) == "AccessDenied"
        assert said(s3.put_object_retention, **OF_ONE, **retention("COMPLIANCE", 9)) == "ok"


def test_a_retention_is_whole_and_ends_in_the_future() -> None:
    with cloud(every=True):
        s3 = bucket()
        assert said(s3.put_object_retention, **OF_ONE, Retention={"Mode": "GOVERNANCE"}) == "MalformedXML"
        assert said(s3.put_object_retention, **OF_ONE, **retention("SOME")) == "MalformedXML"
        past = {"Retention": {"Mode": "GOVERNANCE", "RetainUntilDate": datetime.datetime(2020, 1, 1)}}
        shown = problem(s3.put_object_retention, **OF_ONE, **past)
        assert shown["Message"] == "The retain until date must be in the future!"
        assert shown["ArgumentValue"] == "Tue Dec 31 16:00:00 PST 2019"


def test_what_cannot_be_held_says_why() -> None:
    with cloud(every=True):
        s3 = bucket()
        hold: dict[str, Any] = {"LegalHold": {"Status": "ON"}}
        for put, get, asked in (
            (s3.put_object_retention, s3.get_object_retention, retention()),
            (s3.put_object_legal_hold, s3.get_object_legal_hold, hold),
        ):
            assert problem(put, Bucket=NAME, Key="none", **asked)["Key"] == "none"
            assert said(put, Bucket="nobodys", Key=KEY, **asked) == "NoSuchBucket"
            marker = {
                "Bucket": NAME,
                "Key": "d",
                "VersionId": s3.delete_object(Bucket=NAME, Key="d")["VersionId"],
            }
            shown = problem(put, **marker, **asked)
            assert (shown["Code"], shown["Method"], shown["ResourceType"]) == (
                "MethodNotAllowed",
                "PUT",
                "DeleteMarker",
            )
            assert problem(get, **marker)["Method"] == "GET"
        assert said(s3.put_object_legal_hold, **OF_ONE) == "MalformedXML"


def test_without_object_lock_nothing_is_held() -> None:
    with cloud(every=True):
        s3, says = bucket(locked=False), "Bucket is missing Object Lock Configuration"
        assert refused(s3.put_object_retention, **OF_ONE, **retention()) == ("InvalidRequest", says, 400)
        assert refused(s3.get_object_legal_hold, **OF_ONE) == ("InvalidRequest", says, 400)
        shown = problem(s3.get_object_lock_configuration, Bucket=NAME)
        assert (shown["Code"], shown["BucketName"]) == ("ObjectLockConfigurationNotFoundError", NAME)
        on: dict[str, Any] = {"Bucket": NAME, "ObjectLockConfiguration": {"ObjectLockEnabled": "Enabled"}}
        assert refused(s3.put_object_lock_configuration, **on)[::2] == ("InvalidBucketState", 409)
        s3.put_bucket_versioning(Bucket=NAME, VersioningConfiguration={"Status": "Enabled"})
        assert said(s3.put_object_lock_configuration, **on) == "ok"


def test_a_buckets_own_retention_is_whole_and_shown() -> None:
    with cloud(every=True):
        s3 = bucket()
        configure: Any = s3.put_object_lock_configuration
        assert said(configure, Bucket=NAME) == "MissingRequestBodyError"
        for asked in (
            {},
            {"ObjectLockEnabled": "Enabled", "Rule": {}},
            default(Mode="SOME", Days=1),
            default(Mode="GOVERNANCE", Days=1, Years=1),
        ):
            assert said(configure, Bucket=NAME, ObjectLockConfiguration=asked) == "MalformedXML"
        right = default(Mode="GOVERNANCE", Days=1)
        configure(Bucket=NAME, ObjectLockConfiguration=right)
        assert s3.get_object_lock_configuration(Bucket=NAME)["ObjectLockConfiguration"] == right
        s3.put_object(**OF_ONE, Body=b"2")
        assert s3.get_object_retention(**OF_ONE)["Retention"]["Mode"] == "GOVERNANCE"


@pytest.mark.parametrize(
    ("asked", "named"),
    [
        ({"ObjectLockMode": "GOVERNANCE"}, "x-amz-object-lock-retain-until-date"),
        ({"ObjectLockRetainUntilDate": NOW + DAY}, "x-amz-object-lock-mode"),
        ({"ObjectLockMode": "SOME", "ObjectLockRetainUntilDate": NOW + DAY}, "x-amz-object-lock-mode"),
    ],
)
def test_a_new_object_has_a_mode_and_a_date_or_neither(asked: dict[str, Any], named: str) -> None:
    with cloud(every=True):
        s3 = bucket()
        assert problem(s3.put_object, **OF_ONE, Body=b"2", **asked)["ArgumentName"] == named
        assert problem(s3.create_multipart_upload, **OF_ONE, **asked)["ArgumentName"] == named


def test_a_policy_that_denies_it_is_asked_first() -> None:
    with cloud(every=True):
        s3 = bucket()
        deny = (
            '{"Version":"2012-10-17","Statement":[{"Effect":"Deny","Principal":"*",'
            f'"Action":"s3:PutObjectLegalHold","Resource":"arn:aws:s3:::{NAME}/*"}}]}}'
        )
        s3.put_bucket_policy(Bucket=NAME, Policy=deny)
        assert said(s3.put_object_legal_hold, **OF_ONE, LegalHold={"Status": "ON"}) == "AccessDenied"
        assert said(s3.put_object_retention, **OF_ONE, **retention()) == "ok"


def test_the_current_version_says_at_which_midnight_it_expires() -> None:
    with cloud(every=True):
        s3 = by_rules({"Expiration": {"Days": 3}})
        s3.put_bucket_versioning(Bucket=NAME, VersioningConfiguration={"Status": "Enabled"})
        put = s3.put_object(**OF_ONE, Body=b"1")
        end = ends(put)
        assert end == ends(s3.head_object(**OF_ONE)) == ends(s3.get_object(**OF_ONE))
        assert end
        assert end[1] == "0"
        assert datetime.timedelta() <= end[0] - s3.head_object(**OF_ONE)["LastModified"] - 3 * DAY < DAY
        assert end[0].hour == end[0].minute == end[0].second == 0
        assert ends(s3.head_object(**OF_ONE, VersionId=put["VersionId"])) is None


@pytest.mark.parametrize(
    ("filtered", "fitting", "other"),
    [
        ({"Prefix": "k"}, {}, {"Key": "other"}),
        ({"ObjectSizeGreaterThan": 3}, {"Body": b"1234"}, {"Body": b"123"}),
        ({"ObjectSizeLessThan": 3}, {"Body": b"12"}, {"Body": b"123"}),
        ({"Tag": {"Key": "a", "Value": "1"}}, {"Tagging": "a=1&b=2"}, {"Tagging": "a=2"}),
        (
            {"And": {"Prefix": "k", "Tags": [{"Key": "a", "Value": "1"}, {"Key": "b", "Value": "2"}]}},
            {"Tagging": "a=1&b=2"},
            {"Tagging": "a=1"},
        ),
    ],
)
def test_a_filter_chooses(filtered: dict[str, Any], fitting: dict[str, Any], other: dict[str, Any]) -> None:
    with cloud(every=True):
        s3 = by_rules({"Filter": filtered, "Expiration": {"Days": 1}})
        assert ends(s3.put_object(**OF_ONE | {"Body": b"1"} | fitting))
        assert ends(s3.put_object(**OF_ONE | {"Body": b"1"} | other)) is None
        (shown,) = s3.get_bucket_lifecycle_configuration(Bucket=NAME)["Rules"]
        assert shown["Filter"] == filtered


def test_the_rule_that_ends_it_first_is_named() -> None:
    with cloud(every=True):
        s3 = by_rules(
            {"Expiration": {"Days": 9}},
            {"Expiration": {"Days": 2}},
            {"Expiration": {"Days": 2}},
            {"Expiration": {"Days": 1}, "Status": "Disabled"},
            {"Expiration": {"ExpiredObjectDeleteMarker": True}},
        )
        end = ends(s3.put_object(**OF_ONE, Body=b""))
        assert end
        assert end[1] == "1"
        s3.delete_bucket_lifecycle(Bucket=NAME)
        assert ends(s3.head_object(**OF_ONE)) is None


def test_a_rule_may_have_a_date() -> None:
    with cloud(every=True):
        date = datetime.datetime(2040, 1, 1, tzinfo=datetime.timezone.utc)
        assert ends(by_rules({"Expiration": {"Date": date}}).put_object(**OF_ONE, Body=b"")) == (date, "0")


def test_the_least_size_of_what_is_moved_is_one_of_two() -> None:
    with cloud(every=True):
        s3 = by_rules({"Expiration": {"Days": 1}})
        asked: dict[str, Any] = {
            "Bucket": NAME,
            "LifecycleConfiguration": {
                "Rules": [{"Status": "Enabled", "Filter": {}, "Expiration": {"Days": 1}}]
            },
        }
        put, named = s3.put_bucket_lifecycle_configuration, "TransitionDefaultMinimumObjectSize"
        assert said(put, **asked, **{named: "value"}) == "InvalidRequest"
        assert put(**asked)[named] == "all_storage_classes_128K"
        put(**asked, **{named: "varies_by_storage_class"})
        shown = s3.get_bucket_lifecycle_configuration(Bucket=NAME)
        assert shown[named] == "varies_by_storage_class"
        assert shown["Rules"][0]["ID"]
