"""Service-linked roles, as AWS names and equips them."""

from __future__ import annotations

from typing import Any

import pytest
from test_services_support import Case, check, client, cloud, refused, said, table

from awslabs.sandbox.services.iam import linked_roles

BATCH = "batch.amazonaws.com"


def policies_of_batch() -> list[str]:
    iam = client("iam")
    name = iam.create_service_linked_role(AWSServiceName=BATCH)["Role"]["RoleName"]
    return [each["PolicyName"] for each in iam.list_attached_role_policies(RoleName=name)["AttachedPolicies"]]


def a_suffix() -> str:
    return said(client("iam").create_service_linked_role, AWSServiceName=BATCH, CustomSuffix="two")


def task_of_the_deletion() -> list[str]:
    iam = client("iam")
    name = iam.create_service_linked_role(AWSServiceName=BATCH)["Role"]["RoleName"]
    task = iam.delete_service_linked_role(RoleName=name)["DeletionTaskId"]
    return task.split("/")[:-1]


CASES = (
    Case("service_linked_role_names", policies_of_batch, [], ["BatchServiceRolePolicy"]),
    Case("service_linked_role_names", a_suffix, "ok", "InvalidInput"),
    Case(
        "service_linked_roles_go_with_their_policy",
        task_of_the_deletion,
        [],
        ["task", "aws-service-role", BATCH, "AWSServiceRoleForBatch"],
        needs=("service_linked_role_names",),
    ),
)


@table(*CASES)
def test_service_linked_roles_are_awss(case: Case) -> None:
    check(case)


@pytest.mark.parametrize("service", sorted(linked_roles.SERVICE_LINKED_ROLES))
def test_each_role_trusts_its_service_and_carries_its_policy(service: str) -> None:
    with cloud(every=True):
        iam = client("iam")
        name = iam.create_service_linked_role(AWSServiceName=service)["Role"]["RoleName"]
        role = iam.get_role(RoleName=name)["Role"]
        (line,) = role["AssumeRolePolicyDocument"]["Statement"]
        assert line == {"Effect": "Allow", "Principal": {"Service": service}, "Action": "sts:AssumeRole"}
        assert role["Arn"].endswith(f":role/aws-service-role/{service}/{name}")
        attached: list[Any] = iam.list_attached_role_policies(RoleName=name)["AttachedPolicies"]
        wanted = linked_roles.SERVICE_LINKED_ROLES[service][1]
        assert [each["PolicyName"] for each in attached] in ([wanted], [])


def test_what_is_refused_says_why() -> None:
    with cloud(every=True):
        iam = client("iam")
        code, message, status = refused(
            iam.create_service_linked_role, AWSServiceName=BATCH, CustomSuffix="two"
        )
        assert (code, status) == ("InvalidInput", 400)
        assert message == f"Custom suffix is not allowed for {BATCH}"
        two = iam.create_service_linked_role(AWSServiceName="autoscaling.amazonaws.com", CustomSuffix="two")
        assert two["Role"]["RoleName"] == "AWSServiceRoleForAutoScaling_two"
