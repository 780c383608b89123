"""The rules of quotas: the Service Quotas API, and that a limit can be raised."""

from __future__ import annotations

import pytest
from test_services_support import Case, check, client, cloud, refused, said, table

from awslabs.sandbox.services.servicequotas import quotas

ACCOUNT, REGION = "123456789012", "us-east-1"


def gpu_quota() -> object:
    return client("service-quotas").get_service_quota(ServiceCode="ec2", QuotaCode="L-DB2E81BA")["Quota"][
        "Value"
    ]


def ask_for_more() -> object:
    request = {"ServiceCode": "ec2", "QuotaCode": "L-DB2E81BA", "DesiredValue": 8}
    return client("service-quotas").request_service_quota_increase(**request)["RequestedQuota"]["Status"]


def lists() -> object:
    return len(client("service-quotas").list_service_quotas(ServiceCode="ec2")["Quotas"]) > 5


def defaults() -> object:
    return len(client("service-quotas").list_aws_default_service_quotas(ServiceCode="lambda")["Quotas"])


CASES = (
    Case("service_quotas", gpu_quota, "NoSuchResourceException", 0.0, (("account", "new"),)),
    Case("service_quotas", gpu_quota, "NoSuchResourceException", 64.0),
    Case("service_quotas", ask_for_more, "NotImplementedError", "PENDING", (("account", "new"),)),
    Case("service_quotas", lists, "NotImplementedError", True),
    Case("service_quotas", defaults, "NoSuchResourceException", 1),
)


@table(*CASES)
def test_moto_does_not_know_and_aws_does(case: Case) -> None:
    check(case)


@pytest.mark.parametrize(
    ("service", "code", "new"),
    [
        ("ec2", "L-DB2E81BA", 0),
        ("ec2", "L-3819A6DF", 0),
        ("ec2", "L-1216C47A", 8),
        ("vpc", "L-F678F1CE", 5),
        ("vpc", "L-A4707A72", 5),
        ("vpc", "L-E79EC296", 2500),
        ("vpc", "L-0EA8095F", 60),
        ("ec2", "L-0263D0A3", 5),
        ("fargate", "L-3032A538", 6),
        ("fargate", "L-36FBB829", 6),
        ("lambda", "L-B99A9384", 10),
        ("s3", "L-DC2B2D3D", 10_000),
    ],
)
def test_a_new_account_has_the_quotas_of_the_fact_sheet(service: str, code: str, new: int) -> None:
    with cloud(every=True, account="new"):
        quota = client("service-quotas").get_service_quota(ServiceCode=service, QuotaCode=code)["Quota"]
        assert (quota["Value"], quota["QuotaCode"], quota["ServiceCode"]) == (new, code, service)


def test_quotas_that_moto_knows_are_still_there() -> None:
    with cloud(every=True):
        shown = client("service-quotas").list_service_quotas(ServiceCode="vpc")["Quotas"]
        codes = [quota["QuotaCode"] for quota in shown]
        assert "L-7E9ECCDB" in codes
        assert len(codes) == len(set(codes))


def test_a_request_is_recorded_and_waits() -> None:
    with cloud(every=True, account="new"):
        api = client("service-quotas")
        more = {"ServiceCode": "ec2", "QuotaCode": "L-DB2E81BA", "DesiredValue": 8}
        made = api.request_service_quota_increase(**more)["RequestedQuota"]
        assert said(api.request_service_quota_increase, **more) == "ResourceAlreadyExistsException"
        listed = api.list_requested_service_quota_change_history(ServiceCode="ec2")["RequestedQuotas"]
        assert [(each["Id"], each["DesiredValue"], each["Status"]) for each in listed] == [
            (made["Id"], 8, "PENDING")
        ]
        assert api.list_requested_service_quota_change_history(ServiceCode="vpc")["RequestedQuotas"] == []
        shown = api.get_requested_service_quota_change(RequestId=made["Id"])["RequestedQuota"]
        assert shown["QuotaCode"] == "L-DB2E81BA"
        assert gpu_quota() == 0  # nobody has read it


def test_asking_for_less_is_refused() -> None:
    with cloud(every=True):
        less = {"ServiceCode": "ec2", "QuotaCode": "L-1216C47A", "DesiredValue": 1}
        code, _, status = refused(client("service-quotas").request_service_quota_increase, **less)
        assert (code, status) == ("IllegalArgumentException", 400)


def test_what_is_unknown_is_said_to_be() -> None:
    with cloud(every=True):
        api = client("service-quotas")
        unknown = "NoSuchResourceException"
        assert said(api.get_service_quota, ServiceCode="ec2", QuotaCode="L-00000000") == unknown
        assert said(api.get_service_quota, ServiceCode="teleport", QuotaCode="L-DB2E81BA") == unknown
        assert said(api.get_requested_service_quota_change, RequestId="0") == unknown


def test_a_limit_that_was_raised_counts_at_once_and_for_this_account_alone() -> None:
    with cloud(every=True, account="new"):
        quotas.granted[ACCOUNT, REGION, "L-F678F1CE"] = 6
        ec2 = client("ec2")
        assert [said(ec2.create_vpc, CidrBlock="10.0.0.0/16") for _ in range(6)] == ["ok"] * 5 + [
            "VpcLimitExceeded"
        ]
        api = client("service-quotas")
        quota = {"ServiceCode": "vpc", "QuotaCode": "L-F678F1CE"}
        assert api.get_service_quota(**quota)["Quota"]["Value"] == 6
        assert api.get_aws_default_service_quota(**quota)["Quota"]["Value"] == 5
        assert quotas.limit("999988887777", REGION, "vpc", "L-F678F1CE") == 5
    assert quotas.granted == {}


def test_an_old_account_has_room_for_a_class() -> None:
    with cloud(every=True):
        assert quotas.limit(ACCOUNT, REGION, "vpc", "L-F678F1CE") > 101
        assert quotas.limit(ACCOUNT, REGION, "ec2", "L-1216C47A") >= 200
