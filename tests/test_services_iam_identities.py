"""The rules of IAM and STS: what refers to what, sound documents, and the first seconds of a role."""

from __future__ import annotations

import json
from typing import Any

import pytest
from botocore.exceptions import ClientError
from moto.iam.models import iam_backends
from test_services_support import (
    FOR_EC2,
    MAY_READ,
    READ_ONLY,
    TRUST,
    Case,
    check,
    client,
    client_with,
    cloud,
    net,
    refused,
    said,
    table,
    wait,
)

from awslabs.sandbox.services.iam import identities as rules_iam
from awslabs.sandbox.services.iam import permissions

ACCOUNT = "123456789012"
FOR_US = TRUST % '{"AWS":"arn:aws:iam::123456789012:root"}'
FOR_LAMBDA = TRUST % '{"Service":"lambda.amazonaws.com"}'


def role(name: str = "lab", trust: str = FOR_EC2, **more: Any) -> str:
    made = client("iam").create_role(RoleName=name, AssumeRolePolicyDocument=trust, **more)
    return made["Role"]["Arn"]


def policy(name: str = "lab", **more: Any) -> str:
    return client("iam").create_policy(PolicyName=name, PolicyDocument=MAY_READ, **more)["Policy"]["Arn"]


def caller() -> str:
    return client("sts").get_caller_identity()["Arn"].rpartition(":")[2]


def an_attached_policy() -> list[str]:
    iam = client("iam")
    role()
    both = {"RoleName": "lab", "PolicyArn": policy()}
    iam.attach_role_policy(**both)
    return [said(iam.delete_policy, PolicyArn=both["PolicyArn"]), said(iam.detach_role_policy, **both)]


def a_policy_with_versions() -> str:
    iam, arn = client("iam"), policy()
    iam.create_policy_version(PolicyArn=arn, PolicyDocument=MAY_READ, SetAsDefault=True)
    return said(iam.delete_policy, PolicyArn=arn)


def a_policy_attached_twice() -> list[str]:
    iam = client("iam")
    role()
    both = {"RoleName": "lab", "PolicyArn": policy()}
    iam.attach_role_policy(**both)
    iam.attach_role_policy(**both)
    iam.detach_role_policy(**both)
    return [client("iam").get_policy(PolicyArn=both["PolicyArn"])["Policy"]["AttachmentCount"]]


def a_role_taken_out_twice() -> str:
    iam = client("iam")
    role()
    iam.create_instance_profile(InstanceProfileName="lab")
    both = {"InstanceProfileName": "lab", "RoleName": "lab"}
    iam.add_role_to_instance_profile(**both)
    iam.remove_role_from_instance_profile(**both)
    return said(iam.remove_role_from_instance_profile, **both)


def names_in_two_cases() -> list[str]:
    iam = client("iam")
    role()
    policy()
    iam.create_instance_profile(InstanceProfileName="lab")
    return [
        said(iam.create_role, RoleName="Lab", AssumeRolePolicyDocument=FOR_EC2),
        said(iam.create_policy, PolicyName="LAB", PolicyDocument=MAY_READ),
        said(iam.create_policy, PolicyName="lab", PolicyDocument=MAY_READ, Path="/other/"),
        said(iam.create_instance_profile, InstanceProfileName="Lab"),
        said(iam.create_role, RoleName="lab2", AssumeRolePolicyDocument=FOR_EC2),
    ]


def eleven_policies() -> list[str]:
    role()
    attach = client("iam").attach_role_policy
    return [said(attach, RoleName="lab", PolicyArn=policy(f"lab{number}")) for number in range(11)][-2:]


def a_policy_of_aws() -> str:
    role()
    return said(client("iam").attach_role_policy, RoleName="lab", PolicyArn=READ_ONLY)


def a_broken_trust_policy() -> str:
    return said(client("iam").create_role, RoleName="lab", AssumeRolePolicyDocument='{"Version":')


def a_trust_policy_of_2008() -> str:
    role()
    old = FOR_EC2.replace("2012-10-17", "2008-10-17")
    return said(client("iam").update_assume_role_policy, RoleName="lab", PolicyDocument=old)


def service_linked_role(service: str = "batch.amazonaws.com") -> str:
    return client("iam").create_service_linked_role(AWSServiceName=service)["Role"]["RoleName"]


def a_second_linked_role() -> str:
    service_linked_role()
    return said(client("iam").create_service_linked_role, AWSServiceName="batch.amazonaws.com")


def a_linked_role_of_nobody() -> str:
    return said(client("iam").create_service_linked_role, AWSServiceName="teleport.amazonaws.com")


def deleting_a_linked_role() -> str:
    return said(client("iam").delete_role, RoleName=service_linked_role())


def assuming_nobody() -> str:
    arn = f"arn:aws:iam::{ACCOUNT}:role/nobody"
    return said(client("sts").assume_role, RoleArn=arn, RoleSessionName="lab")


def assuming_what_trusts_another() -> str:
    return said(client("sts").assume_role, RoleArn=role(), RoleSessionName="lab")


def a_profile_made_a_moment_ago() -> str:
    iam = client("iam")
    role()
    iam.create_instance_profile(InstanceProfileName="lab")
    iam.add_role_to_instance_profile(InstanceProfileName="lab", RoleName="lab")
    net().launch(IamInstanceProfile={"Name": "lab"})
    return "ok"


def may_still_read(seconds: float = 0.0) -> bool:
    """Whether a role may do what a policy allowed that was taken off it so many seconds ago."""
    iam = client("iam")
    role_arn = iam.create_role(RoleName="reader", AssumeRolePolicyDocument=FOR_EC2)["Role"]["Arn"]
    iam.put_role_policy(RoleName="reader", PolicyName="read", PolicyDocument=MAY_READ)
    iam.delete_role_policy(RoleName="reader", PolicyName="read")
    wait(seconds)
    return permissions.allows("123456789012", role_arn, "s3:GetObject", "*")


def whole_and_counted() -> list[Any]:
    iam = client("iam")
    arn = iam.create_policy(PolicyName="p", PolicyDocument=MAY_READ)["Policy"]["Arn"]
    iam.create_role(RoleName="r", AssumeRolePolicyDocument=FOR_EC2, PermissionsBoundary=arn)
    policy = iam.get_policy(PolicyArn=arn)["Policy"]
    return [iam.list_instance_profiles().get("IsTruncated"), policy.get("PermissionsBoundaryUsageCount")]


CASES = (
    Case("callers_are_students", caller, "user/moto", "user/student"),
    Case("lists_end_and_policies_are_counted", whole_and_counted, [None, None], [False, 1]),
    Case("policies_count_on", may_still_read, False, True, (("slow_states", 1.0),)),
    Case("policies_count_on", lambda: may_still_read(5.0), False, False, (("slow_states", 1.0),)),
    Case("policies_count_on", may_still_read, False, False),
    Case(
        "propagation",
        a_profile_made_a_moment_ago,
        "ok",
        "InvalidParameterValue",
        (("slow_states", 1.0),),
        needs=("instance_profile_is_usable",),
    ),
    Case("policy_in_use", an_attached_policy, ["ok", "NoSuchEntity"], ["DeleteConflict", "ok"]),
    Case("policy_in_use", a_policy_with_versions, "ok", "DeleteConflict"),
    Case("attaching_twice_counts_once", a_policy_attached_twice, [1], [0]),
    Case("role_is_in_profile", a_role_taken_out_twice, "ValueError", "NoSuchEntity"),
    Case("names_ignore_case", names_in_two_cases, ["ok"] * 5, ["EntityAlreadyExists"] * 4 + ["ok"]),
    Case("ten_policies_per_role", eleven_policies, ["ok", "ok"], ["ok", "LimitExceeded"]),
    Case("aws_managed_policies", a_policy_of_aws, "NoSuchEntity", "ok"),
    Case("trust_policy_is_sound", a_broken_trust_policy, "ok", "MalformedPolicyDocument"),
    Case("trust_policy_is_sound", a_trust_policy_of_2008, "MalformedPolicyDocument", "ok"),
    Case(
        "service_linked_role_names", service_linked_role, "AWSServiceRoleForbatch", "AWSServiceRoleForBatch"
    ),
    Case("service_linked_role_names", a_second_linked_role, "EntityAlreadyExists", "InvalidInput"),
    Case("service_linked_role_names", a_linked_role_of_nobody, "ok", "InvalidInput"),
    Case("service_linked_roles_are_protected", deleting_a_linked_role, "ok", "UnmodifiableEntity"),
    Case("role_lets_the_caller_in", assuming_nobody, "ok", "AccessDenied"),
    Case("role_lets_the_caller_in", assuming_what_trusts_another, "ok", "AccessDenied"),
)


def assumed(**more: Any) -> str:
    arn = "arn:aws:iam::123456789012:role/nobody"
    return said(client("sts").assume_role, **({"RoleArn": arn, "RoleSessionName": "me"} | more))


def tags(*keys: str) -> list[dict[str, str]]:
    return [{"Key": key, "Value": "v"} for key in keys]


def what_create_role_adds() -> list[str]:
    made = client("iam").create_role(RoleName="r", AssumeRolePolicyDocument=FOR_EC2, Description="d")["Role"]
    asked = client("iam").get_role(RoleName="r")["Role"]
    assert {"RoleId", "Arn", "Description", "AssumeRolePolicyDocument"} <= made.keys()
    assert {"MaxSessionDuration", "RoleLastUsed"} <= asked.keys()
    return sorted(made.keys() & {"MaxSessionDuration", "RoleLastUsed"})


def packed_size() -> bool:
    client("iam").create_role(RoleName="r", AssumeRolePolicyDocument=TRUST % '"*"')
    answer = client("sts").assume_role(RoleArn="arn:aws:iam::123456789012:role/r", RoleSessionName="me")
    return "PackedPolicySize" in answer


def no_policy() -> str:
    gone = "arn:aws:iam::123456789012:policy/gone"
    return refused(client("iam").delete_policy, PolicyArn=gone)[1].replace(gone, "P")


def uses_of_a_new_policy() -> Any:
    made = client("iam").create_policy(PolicyName="p", PolicyDocument=MAY_READ)["Policy"]
    return made.get("PermissionsBoundaryUsageCount")


def no_arn() -> str:
    client("iam").create_role(RoleName="r", AssumeRolePolicyDocument=FOR_EC2)
    return said(client("iam").attach_role_policy, RoleName="r", PolicyArn="MyPolicyWithoutArnEither")


def an_error_says() -> list[str]:
    with pytest.raises(ClientError) as caught:
        client("iam").get_role(RoleName="nobody")
    return [name for name in ("Message", "message") if name in caught.value.response["Error"]]


def handed_on_twice() -> list[str]:
    """What a session may name that was given a transitive tag: that tag, in other letters, another one."""
    client("iam").create_role(RoleName="r", AssumeRolePolicyDocument=TRUST % '"*"')
    asked = {"RoleArn": "arn:aws:iam::123456789012:role/r", "RoleSessionName": "me"}
    answer = client("sts").assume_role(**asked, Tags=tags("team"), TransitiveTagKeys=["team"])
    keys = answer["Credentials"]
    session = client_with("sts", keys)
    return [said(session.assume_role, **asked, Tags=tags(key)) for key in ("team", "TEAM", "other")]


BAD, WRONG = "ValidationError", "InvalidParameterValue"
CASES += (
    Case("assume_role_is_well_formed", lambda: assumed(RoleArn="arn::b:::something/test-role"), "ok", BAD),
    Case("assume_role_is_well_formed", lambda: assumed(RoleArn="arn:a:a::aaaaaaaaaa:"), "ok", BAD),
    Case("assume_role_is_well_formed", lambda: assumed(RoleSessionName="a:2"), "ok", BAD),
    Case("assume_role_is_well_formed", lambda: assumed(Tags=tags("a", "A")), "ok", WRONG),
    Case(
        "assume_role_is_well_formed",
        lambda: assumed(Tags=tags("a"), TransitiveTagKeys=["b"]),
        "ok",
        WRONG,
    ),
    Case(
        "assume_role_is_well_formed",
        lambda: assumed(Tags=tags("a", "b"), TransitiveTagKeys=["A"]),
        "ok",
        "ok",
    ),
    Case("assume_role_is_well_formed", packed_size, True, False),
    Case("assume_role_is_well_formed", handed_on_twice, ["ok"] * 3, [WRONG, WRONG, "ok"]),
    Case("a_new_role_says_less", what_create_role_adds, ["MaxSessionDuration", "RoleLastUsed"], []),
    Case("policies_that_are_not_there", no_policy, "Policy P not found", "Policy P was not found."),
    Case("lists_end_and_policies_are_counted", uses_of_a_new_policy, None, 0),
    Case("policy_arns_are_arns", no_arn, "NoSuchEntity", BAD),
    Case("errors_say_it_once", an_error_says, ["Message", "message"], ["Message"]),
)


@table(*CASES)
def test_moto_lets_it_pass_and_aws_does_not(case: Case) -> None:
    check(case)


@pytest.mark.parametrize(
    ("document", "problem"),
    [
        ("{", "This policy contains invalid Json"),
        ("[]", "Syntax errors in policy."),
        ("{}", "Syntax errors in policy."),
        (FOR_EC2.replace("2012", "2013"), "Syntax errors in policy."),
        (FOR_EC2.replace('"Statement"', '"Statements"'), "Syntax errors in policy."),
        (FOR_EC2.replace('"Effect":"Allow",', ""), "Missing required field Effect"),
        (
            FOR_EC2.replace('"Principal":{"Service":"ec2.amazonaws.com"},', ""),
            "Missing required field Principal",
        ),
        (FOR_EC2.replace(',"Action":"sts:AssumeRole"', ""), "Missing required field Action"),
        (
            FOR_EC2.replace("sts:AssumeRole", "s3:*"),
            "AssumeRole policy may only specify STS AssumeRole actions.",
        ),
        (FOR_EC2.replace('"Effect"', '"Resource":"*","Effect"'), "Has prohibited field Resource"),
        (FOR_EC2.replace("Allow", "Maybe"), "Invalid effect: Maybe"),
        (
            TRUST % '{"Service":"teleport.amazonaws.com"}',
            'Invalid principal in policy: "SERVICE":"teleport.amazonaws.com"',
        ),
        (TRUST % '{"Service":"ec2"}', 'Invalid principal in policy: "SERVICE":"ec2"'),
        (
            TRUST % f'{{"AWS":"arn:aws:iam::{ACCOUNT}:role/nobody"}}',
            f'Invalid principal in policy: "AWS":"arn:aws:iam::{ACCOUNT}:role/nobody"',
        ),
        (TRUST % '{"Somebody":"x"}', "Syntax errors in policy."),
    ],
)
def test_a_trust_policy_that_is_not_sound_is_refused(document: str, problem: str) -> None:
    with cloud(every=True):
        answer = refused(client("iam").create_role, RoleName="lab", AssumeRolePolicyDocument=document)
        assert answer == ("MalformedPolicyDocument", problem, 400)


@pytest.mark.parametrize(
    "principal",
    [
        '{"Service":"ecs-tasks.amazonaws.com"}',
        '{"Service":["batch.amazonaws.com","spotfleet.amazonaws.com"]}',
        '{"Service":"ecs.application-autoscaling.amazonaws.com"}',
        '{"Service":"states.us-east-1.amazonaws.com"}',
        '{"Service":"delivery.logs.amazonaws.com"}',
        '{"AWS":"111122223333"}',
        '{"AWS":"arn:aws:iam::111122223333:role/theirs"}',
        f'{{"AWS":"arn:aws:iam::{ACCOUNT}:root"}}',
        f'{{"AWS":"arn:aws:iam::{ACCOUNT}:user/student"}}',
        '{"Federated":"cognito-identity.amazonaws.com"}',
        '"*"',
    ],
)
def test_a_sound_trust_policy_is_taken(principal: str) -> None:
    with cloud(every=True):
        assert role(trust=TRUST % principal).endswith(":role/lab")


@pytest.mark.parametrize("document", ["{", "{}", '{"Version":"2012-10-17","Statement":[{"Effect":"Allow"}]}'])
@pytest.mark.parametrize("every", [False, True], ids=["moto", "rules"])
def test_a_permissions_policy_that_is_not_sound_is_refused_by_moto_too(document: str, every: bool) -> None:
    with cloud(every=every):
        role()
        iam, malformed = client("iam"), "MalformedPolicyDocument"
        assert said(iam.create_policy, PolicyName="lab", PolicyDocument=document) == malformed
        inline = {"RoleName": "lab", "PolicyName": "lab", "PolicyDocument": document}
        assert said(iam.put_role_policy, **inline) == malformed


def test_deletion_goes_in_aws_order_and_each_violated_step_conflicts() -> None:
    with cloud(every=True):
        iam = client("iam")
        role()
        arn = policy()
        iam.attach_role_policy(RoleName="lab", PolicyArn=arn)
        iam.put_role_policy(RoleName="lab", PolicyName="inline", PolicyDocument=MAY_READ)
        iam.create_instance_profile(InstanceProfileName="lab")
        iam.add_role_to_instance_profile(InstanceProfileName="lab", RoleName="lab")
        second = said(iam.add_role_to_instance_profile, InstanceProfileName="lab", RoleName="lab")
        assert second == "LimitExceeded"

        def conflict(method: Any, **request: Any) -> None:
            assert refused(method, **request)[::2] == ("DeleteConflict", 409)

        conflict(iam.delete_instance_profile, InstanceProfileName="lab")
        conflict(iam.delete_role, RoleName="lab")
        iam.remove_role_from_instance_profile(InstanceProfileName="lab", RoleName="lab")
        iam.delete_instance_profile(InstanceProfileName="lab")
        conflict(iam.delete_role, RoleName="lab")
        conflict(iam.delete_policy, PolicyArn=arn)
        iam.detach_role_policy(RoleName="lab", PolicyArn=arn)
        conflict(iam.delete_role, RoleName="lab")
        iam.delete_role_policy(RoleName="lab", PolicyName="inline")
        iam.delete_role(RoleName="lab")
        iam.delete_policy(PolicyArn=arn)
        gone = [
            said(iam.delete_role, RoleName="lab"),
            said(iam.delete_policy, PolicyArn=arn),
            said(iam.delete_instance_profile, InstanceProfileName="lab"),
        ]
        assert gone == ["NoSuchEntity"] * 3


@pytest.mark.parametrize(
    ("service", "name"),
    [
        ("batch.amazonaws.com", "AWSServiceRoleForBatch"),
        ("ecs.amazonaws.com", "AWSServiceRoleForECS"),
        ("spot.amazonaws.com", "AWSServiceRoleForEC2Spot"),
        ("autoscaling.amazonaws.com", "AWSServiceRoleForAutoScaling"),
    ],
)
def test_service_linked_roles_have_their_names(service: str, name: str) -> None:
    with cloud(every=True):
        assert service_linked_role(service) == name
        shown = client("iam").get_role(RoleName=name)["Role"]
        assert shown["Arn"] == f"arn:aws:iam::{ACCOUNT}:role/aws-service-role/{service}/{name}"
        again = refused(client("iam").create_service_linked_role, AWSServiceName=service)
        assert again == (
            "InvalidInput",
            f"Service role name {name} has been taken in this account, please try a different suffix.",
            400,
        )


def test_aws_own_policies_are_listed_and_their_own_are_apart() -> None:
    with cloud(every=True):
        iam = client("iam")
        own = policy()
        pages = iam.get_paginator("list_policies").paginate(Scope="AWS")
        arns = {each["Arn"] for page in pages for each in page["Policies"]}
        assert READ_ONLY in arns
        assert own not in arns
        assert [each["Arn"] for each in iam.list_policies(Scope="Local")["Policies"]] == [own]
        assert said(iam.get_policy, PolicyArn="arn:aws:iam::aws:policy/Nonsense") == "NoSuchEntity"


# --- the first seconds --------------------------------------------------------------------------------


def backend() -> Any:
    return iam_backends[ACCOUNT]["aws"]


def test_a_service_can_assume_a_role_after_eight_seconds() -> None:
    with cloud(every=True, slow_states=1.0):
        arn = role(trust=FOR_LAMBDA)
        for name in ("lab", arn):
            assert not rules_iam.assumable(ACCOUNT, name, "lambda.amazonaws.com")
        wait(7.9)
        assert not rules_iam.assumable(ACCOUNT, arn, "lambda.amazonaws.com")
        wait(0.2)
        assert rules_iam.assumable(ACCOUNT, arn, "lambda.amazonaws.com")
        assert not rules_iam.assumable(ACCOUNT, arn, "ecs-tasks.amazonaws.com")
        assert not rules_iam.assumable(ACCOUNT, "nobody", "lambda.amazonaws.com")


def test_another_trust_policy_starts_the_wait_again() -> None:
    with cloud(every=True, slow_states=1.0):
        role()
        wait(9)
        client("iam").update_assume_role_policy(RoleName="lab", PolicyDocument=FOR_LAMBDA)
        assert not rules_iam.assumable(ACCOUNT, "lab", "lambda.amazonaws.com")
        wait(9)
        assert rules_iam.assumable(ACCOUNT, "lab", "lambda.amazonaws.com")


@pytest.mark.parametrize(
    ("change", "request_"),
    [
        ("attach_role_policy", {"PolicyArn": READ_ONLY}),
        ("put_role_policy", {"PolicyName": "inline", "PolicyDocument": MAY_READ}),
    ],
)
def test_new_policies_count_after_eight_seconds(change: str, request_: dict[str, str]) -> None:
    with cloud(every=True, slow_states=1.0):
        role()
        wait(9)
        assert rules_iam.usable(backend().get_role("lab"), "permitted")
        getattr(client("iam"), change)(RoleName="lab", **request_)
        assert not rules_iam.usable(backend().get_role("lab"), "permitted")
        wait(9)
        assert rules_iam.usable(backend().get_role("lab"), "permitted")


def test_a_deny_in_a_trust_policy_counts() -> None:
    with cloud(every=True):
        document = json.loads(FOR_LAMBDA)
        document["Statement"].append({**document["Statement"][0], "Effect": "Deny"})
        role(trust=json.dumps(document))
        assert not rules_iam.assumable(ACCOUNT, "lab", "lambda.amazonaws.com")


@pytest.mark.parametrize(
    ("condition", "source", "trusted"),
    [
        ({"ArnLike": {"aws:SourceArn": f"arn:aws:ecs:us-east-1:{ACCOUNT}:*"}}, "ecs", True),
        ({"ArnLike": {"aws:SourceArn": f"arn:aws:ecs:eu-west-1:{ACCOUNT}:*"}}, "ecs", False),
        ({"StringEquals": {"aws:SourceAccount": ACCOUNT}}, "ecs", True),
        ({"StringEquals": {"aws:SourceAccount": "999999999999"}}, "ecs", False),
        ({"StringEquals": {"aws:SourceAccount": ACCOUNT}}, "", False),
        ({"StringEquals": {"sts:ExternalId": "x"}}, "ecs", False),
    ],
)
def test_a_condition_in_a_trust_policy_counts(condition: dict[str, Any], source: str, trusted: bool) -> None:
    with cloud(every=True):
        document = json.loads(FOR_LAMBDA)
        document["Statement"][0]["Condition"] = condition
        role(trust=json.dumps(document))
        arn = f"arn:aws:{source}:us-east-1:{ACCOUNT}:task/lab/1" if source else ""
        assert rules_iam.assumable(ACCOUNT, "lab", "lambda.amazonaws.com", source_arn=arn) is trusted


def test_a_role_that_trusts_the_account_can_be_assumed_after_eight_seconds() -> None:
    with cloud(every=True, slow_states=1.0):
        arn, sts = role(trust=FOR_US), client("sts")
        code, message, status = refused(sts.assume_role, RoleArn=arn, RoleSessionName="lab")
        assert (code, status) == ("AccessDenied", 403)
        assert message.endswith(f"is not authorized to perform: sts:AssumeRole on resource: {arn}")
        wait(9)
        assumed = sts.assume_role(RoleArn=arn, RoleSessionName="lab")["AssumedRoleUser"]["Arn"]
        assert assumed == f"arn:aws:sts::{ACCOUNT}:assumed-role/lab/lab"
