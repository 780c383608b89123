"""Tags of buckets and objects, and settings of buckets."""

from __future__ import annotations

import functools
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError
from test_services_support import Case, check, client, cloud, said, table

NAME = "awslabs-tags"


@functools.cache
def lax() -> Any:
    """A client that sends what no SDK lets through."""
    config = Config(parameter_validation=False)
    return boto3.client("s3", "us-east-1", aws_access_key_id="x", aws_secret_access_key="y", config=config)


def error(method: Any, **request: Any) -> dict[str, str]:
    """The error of a call that has to fail, without its ids."""
    with pytest.raises(ClientError) as caught:
        method(**request)
    found: dict[str, str] = caught.value.response["Error"]
    return {name: value for name, value in found.items() if name not in ("HostId", "RequestId")}


def tag(key: str | None, value: str | None = "v") -> dict[str, str | None]:
    return {"Key": key, "Value": value}


WRONG: list[tuple[list[dict[str, Any]], dict[str, str]]] = [
    (
        [tag("a"), tag("a", "w")],
        {"Message": "Cannot provide multiple Tags with the same key", "TagKey": "a"},
    ),
    ([tag("a,b")], {"Message": "The TagKey you have provided is invalid", "TagKey": "a,b"}),
    (
        [tag("a", "v,w")],
        {"Message": "The TagValue you have provided is invalid", "TagKey": "a", "TagValue": "v,w"},
    ),
]


@pytest.mark.parametrize(("tags", "says"), WRONG)
def test_what_no_tag_may_be(tags: list[dict[str, Any]], says: dict[str, str]) -> None:
    aws = client("s3")
    with cloud("tags_are_valid"):
        new = {"Bucket": NAME, "CreateBucketConfiguration": {"Tags": tags}}
        assert error(aws.create_bucket, **new) == {"Code": "InvalidTag", **says}
        aws.create_bucket(Bucket=NAME)
        aws.put_object(Bucket=NAME, Key="k")
        for method, more in ((aws.put_bucket_tagging, {}), (aws.put_object_tagging, {"Key": "k"})):
            asked = {"Bucket": NAME, "Tagging": {"TagSet": tags}, **more}
            assert error(method, **asked) == {"Code": "InvalidTag", **says}


def test_aws_keeps_some_tags_to_itself() -> None:
    aws, tags = client("s3"), [tag("aws:a")]
    with cloud("tags_are_valid"):
        new = {"Bucket": NAME, "CreateBucketConfiguration": {"Tags": tags}}
        refusal = error(aws.create_bucket, **new)
        assert (refusal["Code"], "TagKey" in refusal) == ("InvalidTag", False)
        assert refusal["Message"].startswith('User-defined tag keys can\'t start with "aws:".')
        aws.create_bucket(Bucket=NAME)
        aws.put_object(Bucket=NAME, Key="k")
        asked = {"Bucket": NAME, "Tagging": {"TagSet": tags}}
        refusal = error(aws.put_bucket_tagging, **asked)
        assert refusal["Message"] == "System tags cannot be added/updated by requester"
        refusal = error(aws.put_object_tagging, Key="k", **asked)
        assert refusal["Message"] == "Your TagKey cannot be prefixed with aws:"
        assert refusal["TagKey"] == "aws:a"


@pytest.mark.parametrize("wrong", [tag(None), tag("a", None)])
def test_a_tag_has_a_key_and_a_value(wrong: dict[str, Any]) -> None:
    aws = lax()
    with cloud("tags_are_valid"):
        new = {"Bucket": NAME, "CreateBucketConfiguration": {"Tags": [wrong]}}
        assert said(aws.create_bucket, **new) == "MalformedXML"
        aws.create_bucket(Bucket=NAME)
        aws.put_object(Bucket=NAME, Key="k")
        asked = {"Bucket": NAME, "Tagging": {"TagSet": [wrong]}}
        assert said(aws.put_bucket_tagging, **asked) == "MalformedXML"
        assert said(aws.put_object_tagging, Key="k", **asked) == "MalformedXML"


def test_tags_of_a_header_are_a_query() -> None:
    aws = client("s3")
    with cloud("tags_are_valid"):
        aws.create_bucket(Bucket=NAME)
        for text in ("a=1&a=2", "a=1,b=2", "a=1=2"):
            refusal = error(aws.put_object, Bucket=NAME, Key="k", Tagging=text)
            assert (refusal["Code"], refusal["ArgumentName"]) == ("InvalidArgument", "x-amz-tagging")
            assert refusal["ArgumentValue"] == text
        assert said(aws.create_multipart_upload, Bucket=NAME, Key="k", Tagging="a=1&a=2") == "InvalidArgument"
        assert said(aws.put_object, Bucket=NAME, Key="k", Tagging="a=%3F") == "InvalidTag"
        aws.put_object(Bucket=NAME, Key="k", Tagging="a=1%3D2&b+c=&d=%2F")
        found = aws.get_object_tagging(Bucket=NAME, Key="k")["TagSet"]
        assert found == [tag("a", "1=2"), tag("b c", ""), tag("d", "/")]


def values_of_a_bucket() -> list[Any]:
    aws = client("s3")
    aws.create_bucket(Bucket=NAME)
    aws.put_bucket_tagging(Bucket=NAME, Tagging={"TagSet": [tag("a", ""), tag("b")]})
    return [each.get("Value") for each in aws.get_bucket_tagging(Bucket=NAME)["TagSet"]]


def no_tags_for_an_object() -> list[Any]:
    aws = client("s3")
    aws.create_bucket(Bucket=NAME)
    aws.put_object(Bucket=NAME, Key="k", Tagging="a=b")
    aws.put_object_tagging(Bucket=NAME, Key="k", Tagging={"TagSet": []})
    found: list[Any] = aws.get_object_tagging(Bucket=NAME, Key="k")["TagSet"]
    return found


def no_tags_for_no_object() -> str:
    aws = client("s3")
    aws.create_bucket(Bucket=NAME)
    return said(aws.put_object_tagging, Bucket=NAME, Key="k", Tagging={"TagSet": []})


def tags_of_no_object() -> str | None:
    aws = client("s3")
    aws.create_bucket(Bucket=NAME)
    return error(aws.get_object_tagging, Bucket=NAME, Key="k").get("Key")


def no_object_loses_its_tags() -> str:
    aws = client("s3")
    aws.create_bucket(Bucket=NAME)
    return said(aws.delete_object_tagging, Bucket=NAME, Key="k")


def a_marker_loses_its_tags() -> str:
    aws = client("s3")
    aws.create_bucket(Bucket=NAME)
    aws.put_bucket_versioning(Bucket=NAME, VersioningConfiguration={"Status": "Enabled"})
    aws.put_object(Bucket=NAME, Key="k")
    aws.delete_object(Bucket=NAME, Key="k")
    return said(aws.delete_object_tagging, Bucket=NAME, Key="k")


def made_again_with_tags() -> tuple[str, str, list[Any]]:
    aws, tags = client("s3"), {"Tags": [tag("a")]}
    aws.create_bucket(Bucket=NAME)
    aws.put_bucket_tagging(Bucket=NAME, Tagging={"TagSet": [tag("a")]})
    again = said(aws.create_bucket, Bucket=NAME, CreateBucketConfiguration=tags)
    without = said(aws.create_bucket, Bucket=NAME)
    return again, without, aws.get_bucket_tagging(Bucket=NAME)["TagSet"]


# --- settings -----------------------------------------------------------------------------------------


def another_payer() -> tuple[str, str]:
    aws = client("s3")
    aws.create_bucket(Bucket=NAME)
    payer = {"Payer": "Requester"}
    aws.put_bucket_request_payment(Bucket=NAME, RequestPaymentConfiguration=payer)
    wrong = said(aws.put_bucket_request_payment, Bucket=NAME, RequestPaymentConfiguration={"Payer": "Me"})
    return aws.get_bucket_request_payment(Bucket=NAME).get("Payer"), wrong


def payer_of_no_bucket() -> str:
    payer = {"Payer": "Requester"}
    return said(client("s3").put_bucket_request_payment, Bucket=NAME, RequestPaymentConfiguration=payer)


def encrypted(*rules: dict[str, Any]) -> str:
    aws = client("s3")
    aws.create_bucket(Bucket=NAME)
    rules_of = {"Rules": [{"ApplyServerSideEncryptionByDefault": each} for each in rules]}
    return said(aws.put_bucket_encryption, Bucket=NAME, ServerSideEncryptionConfiguration=rules_of)


def two_encryptions() -> str:
    return encrypted({"SSEAlgorithm": "AES256"}, {"SSEAlgorithm": "aws:kms"})


def a_key_without_kms() -> str:
    return encrypted({"SSEAlgorithm": "AES256", "KMSMasterKeyID": "k"})


def a_key_with_kms() -> str:
    return encrypted({"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": "k"})


def encryption_of_no_bucket() -> str:
    rules = {"Rules": [{"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}}]}
    return said(client("s3").put_bucket_encryption, Bucket=NAME, ServerSideEncryptionConfiguration=rules)


def owned(*words: str) -> str:
    aws = client("s3")
    aws.create_bucket(Bucket=NAME)
    rules = {"Rules": [{"ObjectOwnership": word} for word in words]}
    return said(aws.put_bucket_ownership_controls, Bucket=NAME, OwnershipControls=rules)


def two_owners() -> str:
    return owned("ObjectWriter", "BucketOwnerPreferred")


def another_owner() -> str:
    return owned("Nobody")


def one_owner() -> str:
    return owned("ObjectWriter")


def made_with_another_owner() -> str:
    return said(client("s3").create_bucket, Bucket=NAME, ObjectOwnership="Nobody")


def accelerated_with_dots() -> str:
    aws, how = client("s3"), {"Status": "enabled"}
    aws.create_bucket(Bucket="awslabs.dots")
    method = aws.put_bucket_accelerate_configuration
    return said(method, Bucket="awslabs.dots", AccelerateConfiguration=how)


def told(**rule: str) -> str:
    aws = lax()
    aws.create_bucket(Bucket=NAME)
    client("sqs").create_queue(QueueName="told")
    one = {
        "QueueArn": "arn:aws:sqs:us-east-1:123456789012:told",
        "Events": ["s3:ObjectCreated:*"],
        "Filter": {"Key": {"FilterRules": [rule]}},
    }
    method, wanted = aws.put_bucket_notification_configuration, {"QueueConfigurations": [one]}
    return said(method, Bucket=NAME, NotificationConfiguration=wanted)


def told_by_another_name() -> str:
    return told(Name="INVALID", Value="v")


def told_without_both() -> str:
    return told()


def told_by_a_prefix() -> str:
    return told(Name="prefix", Value="v")


def no_block() -> str | None:
    aws = client("s3")
    aws.create_bucket(Bucket=NAME)
    return error(aws.get_public_access_block, Bucket=NAME).get("BucketName")


CASES = [
    Case("tags_are_valid", values_of_a_bucket, [None, "v"], ["", "v"]),
    Case("tags_are_valid", no_tags_for_an_object, "TypeError", []),
    Case("tags_are_valid", no_tags_for_no_object, "NoSuchKey", "NoSuchKey"),
    Case("tags_of_what_is_there", tags_of_no_object, "k", f"{NAME}/k"),
    Case("tags_of_what_is_there", no_object_loses_its_tags, "AttributeError", "NoSuchKey"),
    Case("tags_of_what_is_there", a_marker_loses_its_tags, "AttributeError", "MethodNotAllowed"),
    Case(
        "a_bucket_is_tagged_once",
        made_again_with_tags,
        ("ok", "ok", [tag("a")]),
        ("BucketAlreadyOwnedByYou", "ok", [tag("a")]),
    ),
    Case("who_pays", another_payer, (None, "ok"), ("Requester", "MalformedXML")),
    Case("who_pays", payer_of_no_bucket, "ok", "NoSuchBucket"),
    Case("one_rule_encrypts", two_encryptions, "AttributeError", "MalformedXML"),
    Case("one_rule_encrypts", a_key_without_kms, "ok", "InvalidArgument"),
    Case("one_rule_encrypts", a_key_with_kms, "ok", "ok"),
    Case("one_rule_encrypts", encryption_of_no_bucket, "NoSuchBucket", "NoSuchBucket"),
    Case("one_rule_owns", two_owners, "AttributeError", "MalformedXML"),
    Case("one_rule_owns", another_owner, "ok", "MalformedXML"),
    Case("one_rule_owns", one_owner, "ok", "ok"),
    Case("one_rule_owns", made_with_another_owner, "ok", "InvalidArgument"),
    Case("no_acceleration_with_dots", accelerated_with_dots, "MalformedXML", "InvalidRequest"),
    Case("filters_have_a_name_and_a_value", told_by_another_name, "AssertionError", "InvalidArgument"),
    Case("filters_have_a_name_and_a_value", told_without_both, "TypeError", "MalformedXML"),
    Case("filters_have_a_name_and_a_value", told_by_a_prefix, "ok", "ok"),
    Case("no_block_names_its_bucket", no_block, None, NAME),
]


@table(*CASES)
def test_rules(case: Case) -> None:
    check(case)
