"""Functions of other accounts: what their policies open, and what stays shut."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import boto3
import pytest
from test_services_lambda_functions import make
from test_services_support import client, cloud, refused, said

from awslabs.sandbox.services.lambda_ import configurations, sharing  # noqa: F401  (rules that this needs)

OTHER = "222222222222"
FUNCTION = "arn:aws:lambda:us-east-1:123456789012:function:lab"
CALLS: dict[str, dict[str, Any]] = {
    "get_function": {},
    "get_function_configuration": {},
    "list_versions_by_function": {},
    "list_aliases": {},
    "get_policy": {},
    "publish_version": {},
    "put_function_concurrency": {"ReservedConcurrentExecutions": 1},
    "delete_function_concurrency": {},
    "create_alias": {"FunctionVersion": "$LATEST", "Name": "a"},
    "delete_function": {},
}


def stranger(service: str = "lambda") -> Any:
    """Lambda, or another service, as another account sees it."""
    aws = boto3.client(service, "us-east-1", aws_access_key_id="x", aws_secret_access_key="y")

    def come_from_elsewhere(params: Any, **_: Any) -> None:
        params["headers"]["x-moto-account-id"] = OTHER

    aws.meta.events.register(f"before-call.{service}", come_from_elsewhere)
    return aws


def open_to(principal: str, action: str = "lambda:*") -> None:
    asked = {"FunctionName": "lab", "StatementId": "s", "Action": action, "Principal": principal}
    client("lambda").add_permission(**asked)


@pytest.mark.parametrize("operation", CALLS)
def test_a_policy_opens_a_function_to_another_account(operation: str) -> None:
    with cloud(every=True):
        make()
        method: Callable[..., Any] = getattr(stranger(), operation)
        assert said(method, FunctionName=FUNCTION, **CALLS[operation]) == "AccessDeniedException"
        open_to(OTHER)
        assert said(method, FunctionName=FUNCTION, **CALLS[operation]) == "ok"


def test_tags_are_opened_too() -> None:
    with cloud(every=True):
        make()
        open_to(OTHER)
        aws = stranger()
        aws.tag_resource(Resource=FUNCTION, Tags={"a": "b"})
        assert client("lambda").list_tags(Resource=FUNCTION)["Tags"] == {"a": "b"}


def test_a_policy_opens_what_it_names_and_no_more() -> None:
    with cloud(every=True):
        make()
        open_to(OTHER, "lambda:GetFunction")
        aws = stranger()
        assert aws.get_function(FunctionName=FUNCTION)["Configuration"]["FunctionArn"] == FUNCTION
        code, text, status = refused(aws.delete_function, FunctionName=FUNCTION)
        assert (code, status) == ("AccessDeniedException", 403)
        assert f"lambda:DeleteFunction on resource: {FUNCTION} because no resource-based policy" in text
        assert said(aws.get_function, FunctionName="lab") == "ResourceNotFoundException"


def test_no_policy_lets_another_account_change_the_configuration_or_the_policy() -> None:
    with cloud(every=True):
        make()
        open_to(OTHER)
        aws = stranger()
        configure = aws.update_function_configuration
        assert said(configure, FunctionName=FUNCTION, Timeout=9) == "AccessDeniedException"
        asked = {"StatementId": "t", "Action": "lambda:*", "Principal": OTHER}
        assert said(aws.add_permission, FunctionName=FUNCTION, **asked) == "AccessDeniedException"


def test_nobody_learns_whether_another_accounts_function_is_there() -> None:
    with cloud(every=True):
        code = said(stranger().get_function, FunctionName=FUNCTION)
    assert code == "AccessDeniedException"


def test_a_policy_names_one_account_alone() -> None:
    with cloud(every=True):
        make()
        open_to("333333333333")
        statements = json.loads(client("lambda").get_policy(FunctionName="lab")["Policy"])["Statement"]
        assert statements[0]["Principal"] == {"AWS": "arn:aws:iam::333333333333:root"}
        assert said(stranger().get_function, FunctionName=FUNCTION) == "AccessDeniedException"


def test_lists_take_an_arn_and_know_an_unknown_function() -> None:
    with cloud(every=True):
        make()
        aws = client("lambda")
        aws.publish_version(FunctionName="lab")
        for name in ("lab", FUNCTION, FUNCTION.removeprefix("arn:aws:lambda:us-east-1:")):
            versions = aws.list_versions_by_function(FunctionName=name)["Versions"]
            assert [each["Version"] for each in versions] == ["$LATEST", "1"]
            assert aws.list_aliases(FunctionName=name)["Aliases"] == []
        assert said(aws.list_versions_by_function, FunctionName="none") == "ResourceNotFoundException"


def test_the_end_of_an_arn_is_a_name_for_every_operation() -> None:
    with cloud(every=True):
        make()
        aws, end = client("lambda"), FUNCTION.removeprefix("arn:aws:lambda:us-east-1:")
        assert aws.get_function(FunctionName=end)["Configuration"]["FunctionArn"] == FUNCTION
        assert aws.get_function_configuration(FunctionName=end)["FunctionArn"] == FUNCTION
        aws.put_function_concurrency(FunctionName=end, ReservedConcurrentExecutions=1)
        assert aws.get_function_concurrency(FunctionName=end)["ReservedConcurrentExecutions"] == 1
        aws.delete_function(FunctionName=end)
        nobody = FUNCTION.removesuffix(":lab")
        says = f"Function not found: {nobody}:function"
        assert refused(aws.get_function, FunctionName=nobody)[1] == says
