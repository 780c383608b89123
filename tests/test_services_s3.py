"""The rules of S3: moto alone, then with the rule."""

from __future__ import annotations

import functools
import json
from typing import Any

import boto3
import pytest
import requests
from botocore import UNSIGNED
from botocore.config import Config
from botocore.exceptions import ClientError
from test_services_support import Case, check, client, client_with, cloud, refused, said, table, wait

from awslabs import policies
from awslabs.sandbox.services.s3 import buckets

AWS_TIME = (("slow_states", 1.0),)
NO, NO_ACLS, BAD_POLICY, BAD_NAME = (
    "AccessDenied",
    "AccessControlListNotSupported",
    "MalformedPolicy",
    "InvalidBucketName",
)


def new(name: str = "lab-bucket", **more: Any) -> str:
    client("s3").create_bucket(Bucket=name, **more)
    return name


def opened() -> str:
    """A bucket with one page that everybody may read."""
    name = new()
    client("s3").delete_public_access_block(Bucket=name)
    client("s3").put_bucket_policy(Bucket=name, Policy=policies.public_read(name))
    client("s3").put_object(Bucket=name, Key="index.html", Body=b"<p>", ContentType="text/html")
    return name


def answered(method: Any, field: str, **request: Any) -> Any:
    """A field of an answer, or the error's code."""
    try:
        return method(**request)[field]
    except ClientError as error:
        return error.response["Error"]["Code"]


def what_a_bucket_begins_with() -> list[Any]:
    aws, name = client("s3"), new()
    block = answered(aws.get_public_access_block, "PublicAccessBlockConfiguration", Bucket=name)
    owner = answered(aws.get_bucket_ownership_controls, "OwnershipControls", Bucket=name)
    encrypted = answered(aws.get_bucket_encryption, "ServerSideEncryptionConfiguration", Bucket=name)
    return [
        block if isinstance(block, str) else set(block.values()),
        owner if isinstance(owner, str) else owner["Rules"][0]["ObjectOwnership"],
        encrypted if isinstance(encrypted, str) else "AES256" in str(encrypted),
    ]


def tags_of_a_new_bucket() -> Any:
    tags = [{"Key": "a", "Value": "1"}, {"Key": "b", "Value": "2"}]
    name = new(CreateBucketConfiguration={"Tags": tags})
    return answered(client("s3").get_bucket_tagging, "TagSet", Bucket=name)


def names() -> list[str]:
    make = client("s3").create_bucket
    wanted = ("Bad_Name", "UPPER", "192.168.1.1", "sthree-lab", "fine.name-1")
    return [said(make, Bucket=name) for name in wanted]


def keys() -> list[str]:
    put = functools.partial(client("s3").put_object, Bucket=new(), Body=b"")
    return [said(put, Key=key) for key in ("k" * 1024, "k" * 1025, "句" * 342)]


def a_public_policy() -> list[str]:
    name = new()
    put = functools.partial(client("s3").put_bucket_policy, Bucket=name)
    own = json.loads(policies.public_read(name))
    own["Statement"][0]["Principal"] = {"AWS": "arn:aws:iam::123456789012:root"}
    return [said(put, Policy=policies.public_read(name)), said(put, Policy=json.dumps(own))]


def a_public_policy_a_moment_later() -> list[str]:
    name = new()
    client("s3").put_public_access_block(
        Bucket=name, PublicAccessBlockConfiguration={"BlockPublicPolicy": True}
    )
    client("s3").delete_public_access_block(Bucket=name)
    put = functools.partial(client("s3").put_bucket_policy, Bucket=name, Policy=policies.public_read(name))
    early = said(put)
    wait(3)
    return [early, said(put)]


def websites() -> list[str]:
    put = functools.partial(client("s3").put_bucket_website, Bucket=new())
    index: dict[str, Any] = {"IndexDocument": {"Suffix": "index.html"}}
    elsewhere: dict[str, Any] = {"RedirectAllRequestsTo": {"HostName": "x"}}
    both = {"ReplaceKeyPrefixWith": "a", "ReplaceKeyWith": "b"}
    replaced: dict[str, Any] = {"Redirect": {"ReplaceKeyWith": "b"}}
    asked: list[dict[str, Any]] = [
        {"IndexDocument": {"Suffix": "/index.html"}},
        {"IndexDocument": {"Suffix": ""}},
        {"ErrorDocument": {"Key": "error.html"}},
        elsewhere | index,
        index | {"RoutingRules": []},
        index | {"RoutingRules": [{"Redirect": {"Protocol": "ftp"}}]},
        index | {"RoutingRules": [{"Redirect": both}]},
        index | {"RoutingRules": [replaced | {"Condition": {}}]},
        index | {"RoutingRules": [replaced | {"Condition": {"KeyPrefixEquals": "a"}}]},
        elsewhere,
        index,
    ]
    return [said(put, WebsiteConfiguration=each) for each in asked]


def copies_onto_itself() -> list[str]:
    aws, name = client("s3"), new()
    aws.put_object(Bucket=name, Key="a", Body=b"x")
    copy = functools.partial(aws.copy_object, Bucket=name, CopySource={"Bucket": name, "Key": "a"})
    return [
        said(copy, Key="a"),
        said(copy, Key="b"),
        said(copy, Key="a", MetadataDirective="REPLACE", Metadata={"x": "y"}),
        said(copy, Key="a", StorageClass="STANDARD_IA"),
    ]


def broken_policies() -> list[str]:
    name = new()
    whole = json.loads(policies.public_read(name))["Statement"][0]
    statements: list[Any] = [
        {field: value for field, value in whole.items() if field != "Principal"},
        whole | {"Resource": "arn:aws:s3:::another/*"},
        whole | {"Action": "ec2:RunInstances"},
        whole | {"Effect": "Perhaps"},
    ]
    texts = [
        "{}",
        "no json",
        *(json.dumps({"Version": "2012-10-17", "Statement": [each]}) for each in statements),
    ]
    return [said(client("s3").put_bucket_policy, Bucket=name, Policy=text) for text in texts]


def acls() -> list[str]:
    aws, name = client("s3"), new()
    client("s3").put_bucket_ownership_controls(
        Bucket=name, OwnershipControls={"Rules": [{"ObjectOwnership": "BucketOwnerEnforced"}]}
    )
    aws.put_object(Bucket=name, Key="a", Body=b"")
    return [
        said(aws.put_bucket_acl, Bucket=name, ACL="private"),
        said(aws.put_object_acl, Bucket=name, Key="a", ACL="public-read"),
        said(aws.put_object, Bucket=name, Key="b", Body=b"", ACL="public-read"),
        said(aws.put_object, Bucket=name, Key="b", Body=b"", ACL="bucket-owner-full-control"),
        said(aws.create_bucket, Bucket="another-bucket", ACL="public-read"),
    ]


def acls_behind_a_block() -> list[str]:
    aws, name = client("s3"), new(ObjectOwnership="ObjectWriter")
    block = {"BlockPublicAcls": True}
    aws.put_public_access_block(Bucket=name, PublicAccessBlockConfiguration=block)
    return [
        said(aws.put_object, Bucket=name, Key="a", Body=b"", ACL=acl) for acl in ("public-read", "private")
    ]


def strangers() -> list[int]:
    name = opened()
    client("s3").put_object(Bucket=new("closed-bucket"), Key="a", Body=b"")
    url = "https://s3.amazonaws.com"
    return [
        requests.get(f"{url}/{name}/index.html").status_code,
        requests.get(f"{url}/{name}/nothing").status_code,
        requests.get(f"{url}/{name}").status_code,
        requests.put(f"{url}/{name}/new", data=b"x").status_code,
        requests.delete(f"{url}/{name}/index.html").status_code,
        requests.get(f"{url}/closed-bucket/a").status_code,
    ]


def a_stranger_who_only_looks() -> list[str]:
    name = opened()
    unsigned = boto3.client("s3", "us-east-1", config=Config(signature_version=UNSIGNED))
    return [said(unsigned.head_object, Bucket=name, Key=key) for key in ("index.html", "nothing")]


def another_account() -> list[str]:
    """What it may do in a bucket that lets it read; and in one that lets it nothing."""
    role = "arn:aws:iam::999988887777:role/any"
    keys = client("sts").assume_role(RoleArn=role, RoleSessionName="any")["Credentials"]
    other = client_with("s3", keys)
    one, two = {"Bucket": opened(), "Key": "index.html"}, {"Bucket": new("closed-bucket"), "Key": "a"}
    client("s3").put_object(**two)
    return [said(method, **of) for of in (one, two) for method in (other.get_object, other.put_object)]


def denials() -> list[str]:
    """What GetObject meets for several reasons why somebody may not; at last of another object."""
    aws, name = client("s3"), new()
    for key in ("a", "b"):
        aws.put_object(Bucket=name, Key=key, Body=b"")
    never = {
        "Effect": "Deny",
        "Principal": "*",
        "Action": "s3:GetObject",
        "Resource": f"arn:aws:s3:::{name}/a",
    }
    found = []
    for more in (
        {"Principal": {"AWS": "arn:aws:iam::999999999999:role/another"}},
        {"Condition": {"Bool": {"aws:SecureTransport": "true"}}},
        {"Condition": {"Bool": {"aws:SecureTransport": "false"}}},
        {},
    ):
        aws.put_bucket_policy(Bucket=name, Policy=policies.document(never | more))
        found.append(said(aws.get_object, Bucket=name, Key="a"))
    return [*found, said(aws.get_object, Bucket=name, Key="b")]


def expected_owners() -> list[str]:
    look = functools.partial(client("s3").list_objects_v2, Bucket=new())
    return [said(look, ExpectedBucketOwner=owner) for owner in ("123456789012", "000000000002", "abcd")]


CASES = (
    Case(
        "buckets_have_the_owner_that_is_expected",
        expected_owners,
        ["ok"] * 3,
        ["ok", "AccessDenied", "InvalidBucketOwnerAWSAccountID"],
    ),
    Case(
        "new_buckets",
        what_a_bucket_begins_with,
        [
            "NoSuchPublicAccessBlockConfiguration",
            "OwnershipControlsNotFoundError",
            "ServerSideEncryptionConfigurationNotFoundError",
        ],
        [{True}, "BucketOwnerEnforced", True],
    ),
    Case(
        "new_buckets",
        tags_of_a_new_bucket,
        "NoSuchTagSet",
        [{"Key": "a", "Value": "1"}, {"Key": "b", "Value": "2"}],
    ),
    Case("bucket_names", names, ["ok"] * 5, [BAD_NAME] * 4 + ["ok"]),
    Case("object_keys", keys, ["ok"] * 3, ["ok", "KeyTooLongError", "KeyTooLongError"]),
    Case("public_policies", a_public_policy, ["ok", "ok"], [NO, "ok"], (), ("new_buckets",)),
    Case(
        "public_policies",
        a_public_policy_a_moment_later,
        ["ok", "ok"],
        [NO, "ok"],
        (*AWS_TIME, ("stale", 1.0)),
    ),
    Case(
        "public_policies",
        a_public_policy_a_moment_later,
        ["ok", "ok"],
        ["ok", "ok"],
        (*AWS_TIME, ("stale", 0.0)),
    ),
    Case(
        "websites",
        websites,
        ["ok"] * 11,
        ["InvalidArgument"] * 4 + ["MalformedXML"] + ["InvalidRequest"] * 3 + ["ok"] * 3,
    ),
    Case(
        "copies_change_something",
        copies_onto_itself,
        ["InvalidRequest", "ok", "ok", "ok"],
        ["InvalidRequest", "ok", "ok", "ok"],
        (),
        ("new_buckets",),
    ),
    Case("bucket_policies", broken_policies, ["ok"] * 6, [BAD_POLICY] * 6),
    Case(
        "access_control_lists",
        acls,
        ["ok"] * 5,
        [NO_ACLS, NO_ACLS, NO_ACLS, "ok", "InvalidBucketAclWithObjectOwnership"],
    ),
    Case("access_control_lists", acls_behind_a_block, ["ok", "ok"], [NO, "ok"]),
    Case(
        "bucket_policies", denials, ["403"] * 4 + ["ok"], ["ok", "ok", "AccessDenied", "AccessDenied", "ok"]
    ),
    Case("strangers", a_stranger_who_only_looks, ["403", "404"], ["ok", "403"], (), ("bucket_policies",)),
    Case(
        "buckets_of_other_accounts",
        another_account,
        ["ok"] * 4,
        ["ok", "AccessDenied", "AccessDenied", "AccessDenied"],
    ),
    Case("strangers", strangers, [200, 404, 200, 200, 403, 403], [200, 403, 403, 403, 403, 403]),
)


@table(*CASES)
def test_aws_is_stricter_than_moto(case: Case) -> None:
    check(case)


def test_a_block_in_front_of_a_public_policy_closes_the_bucket() -> None:
    with cloud(every=True):
        name = opened()
        url = f"https://s3.amazonaws.com/{name}/index.html"
        answer = requests.get(url)
        assert (answer.status_code, answer.headers["Content-Type"], answer.text) == (200, "text/html", "<p>")
        client("s3").put_public_access_block(
            Bucket=name, PublicAccessBlockConfiguration={"RestrictPublicBuckets": True}
        )
        answer = requests.get(url)
        assert answer.status_code == 403
        assert "<Code>AccessDenied</Code>" in answer.text
        assert client("s3").get_object(Bucket=name, Key="index.html")["Body"].read() == b"<p>"


def test_the_refusal_names_the_setting_in_the_way() -> None:
    with cloud(every=True):
        name = new()
        _, message, status = refused(
            client("s3").put_bucket_policy, Bucket=name, Policy=policies.public_read(name)
        )
        assert status == 403
        assert "public policies are prevented by the BlockPublicPolicy setting" in message


def test_whoever_may_list_learns_that_a_key_is_not_there() -> None:
    with cloud(every=True):
        name = opened()
        policy = json.loads(policies.public_read(name))
        policy["Statement"].append(
            {
                "Effect": "Allow",
                "Principal": {"AWS": "*"},
                "Action": "s3:List*",
                "Resource": f"arn:aws:s3:::{name}",
            }
        )
        client("s3").put_bucket_policy(Bucket=name, Policy=json.dumps(policy))
        url = f"https://s3.amazonaws.com/{name}"
        assert requests.get(f"{url}/nothing").status_code == 404
        assert "index.html" in requests.get(url).text


def test_a_link_that_was_signed_opens_a_private_object() -> None:
    with cloud(every=True):
        client("s3").put_object(Bucket=new(), Key="a", Body=b"mine")
        where = {"Bucket": "lab-bucket", "Key": "a"}
        assert requests.get(client("s3").generate_presigned_url("get_object", where)).text == "mine"


def test_a_bucket_that_stands_keeps_its_tags_when_made_again() -> None:
    with cloud(every=True):
        new(CreateBucketConfiguration={"Tags": [{"Key": "a", "Value": "1"}]})
        again = {"Bucket": "lab-bucket", "CreateBucketConfiguration": {"Tags": [{"Key": "a", "Value": "2"}]}}
        assert said(client("s3").create_bucket, **again) == "BucketAlreadyOwnedByYou"
        new()
        assert client("s3").get_bucket_tagging(Bucket="lab-bucket")["TagSet"][0]["Value"] == "1"


def test_buckets_in_other_regions_are_made_as_before() -> None:
    with cloud(every=True):
        aws = boto3.client("s3", "eu-west-1", aws_access_key_id="x", aws_secret_access_key="y")
        where = {"LocationConstraint": "eu-west-1", "Tags": [{"Key": "a", "Value": "1"}]}
        aws.create_bucket(Bucket="lab-bucket", CreateBucketConfiguration=where)
        assert aws.get_bucket_tagging(Bucket="lab-bucket")["TagSet"] == [{"Key": "a", "Value": "1"}]


@pytest.mark.parametrize(
    ("condition", "public"),
    [
        ({}, True),
        ({"StringLike": {"aws:Referer": "*"}}, True),
        ({"IpAddress": {"aws:SourceIp": "192.0.2.0/24"}}, False),
    ],
)
def test_a_policy_for_certain_callers_is_not_public(condition: dict[str, Any], public: bool) -> None:
    policy = json.loads(policies.public_read("lab-bucket"))
    policy["Statement"][0]["Condition"] = condition
    assert buckets.is_public(json.dumps(policy)) == public
