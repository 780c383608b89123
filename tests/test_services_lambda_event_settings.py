"""How often an asynchronous event is tried: settings of functions, versions and aliases."""

from __future__ import annotations

from typing import Any

from test_services_lambda_functions import make
from test_services_support import Case, check, client, cloud, refused, said, table

from awslabs.sandbox.services.lambda_ import event_settings  # noqa: F401  (what is tested here)

FUNCTION = "arn:aws:lambda:us-east-1:123456789012:function:lab"
GONE = "ResourceNotFoundException"
MEMBERS = ("MaximumRetryAttempts", "MaximumEventAgeInSeconds")


def shown(answer: dict[str, Any]) -> list[Any]:
    return [answer.get(member) for member in MEMBERS]


def updating() -> list[list[Any]]:
    make()
    aws = client("lambda")
    aws.put_function_event_invoke_config(
        FunctionName="lab", MaximumRetryAttempts=1, MaximumEventAgeInSeconds=60
    )
    updated = aws.update_function_event_invoke_config(FunctionName="lab", MaximumRetryAttempts=0)
    return [shown(updated), shown(aws.get_function_event_invoke_config(FunctionName="lab"))]


def putting_twice() -> list[Any]:
    make()
    aws = client("lambda")
    aws.put_function_event_invoke_config(
        FunctionName="lab", MaximumRetryAttempts=1, MaximumEventAgeInSeconds=60
    )
    aws.put_function_event_invoke_config(FunctionName="lab", MaximumRetryAttempts=2)
    return shown(aws.get_function_event_invoke_config(FunctionName="lab"))


def updating_nothing() -> str:
    make()
    return said(
        client("lambda").update_function_event_invoke_config, FunctionName="lab", MaximumRetryAttempts=0
    )


def what_is_set() -> tuple[str, Any]:
    make()
    set_to = client("lambda").put_function_event_invoke_config(FunctionName="lab", MaximumRetryAttempts=1)
    return set_to["FunctionArn"], set_to.get("DestinationConfig")


def setting_nothing() -> str:
    make()
    return said(client("lambda").put_function_event_invoke_config, FunctionName="lab")


RULE = "event_settings"


@table(
    Case(RULE, updating, [[0, None], [1, 60]], [[0, 60], [0, 60]]),
    Case(RULE, putting_twice, [1, 60], [2, None]),
    Case(RULE, updating_nothing, "ok", GONE),
    Case(RULE, what_is_set, (FUNCTION, None), (f"{FUNCTION}:$LATEST", {"OnSuccess": {}, "OnFailure": {}})),
    Case(RULE, setting_nothing, "ok", "InvalidParameterValueException"),
)
def test_aws_is_stricter_than_moto(case: Case) -> None:
    check(case)


def test_each_version_has_settings_of_its_own() -> None:
    with cloud(every=True):
        make()
        aws = client("lambda")
        aws.publish_version(FunctionName="lab")
        aws.put_function_event_invoke_config(FunctionName="lab", MaximumRetryAttempts=0)
        code, text, status = refused(aws.get_function_event_invoke_config, FunctionName="lab", Qualifier="1")
        assert (code, status) == (GONE, 404)
        assert text == f"The function {FUNCTION}:1 doesn't have an EventInvokeConfig"
        aws.put_function_event_invoke_config(FunctionName="lab:1", MaximumRetryAttempts=1)
        listed = aws.list_function_event_invoke_configs(FunctionName="lab")["FunctionEventInvokeConfigs"]
        assert [(each["FunctionArn"], each["MaximumRetryAttempts"]) for each in listed] == [
            (f"{FUNCTION}:$LATEST", 0),
            (f"{FUNCTION}:1", 1),
        ]
        gone = aws.delete_function_event_invoke_config(FunctionName="lab", Qualifier="$LATEST")
        assert gone["ResponseMetadata"]["HTTPStatusCode"] == 204
        again = aws.delete_function_event_invoke_config
        assert said(again, FunctionName="lab") == GONE
        assert (
            len(aws.list_function_event_invoke_configs(FunctionName="lab")["FunctionEventInvokeConfigs"]) == 1
        )


def test_a_long_list_comes_in_pages() -> None:
    with cloud(every=True):
        make()
        aws = client("lambda")
        aws.publish_version(FunctionName="lab")
        for qualifier in ("$LATEST", "1"):
            aws.put_function_event_invoke_config(
                FunctionName="lab", Qualifier=qualifier, MaximumRetryAttempts=0
            )
        first = aws.list_function_event_invoke_configs(FunctionName="lab", MaxItems=1)
        assert [len(first["FunctionEventInvokeConfigs"]), "NextMarker" in first] == [1, True]
        rest = aws.list_function_event_invoke_configs(FunctionName="lab", Marker=first["NextMarker"])
        assert [each["FunctionArn"][-1] for each in rest["FunctionEventInvokeConfigs"]] == ["1"]
        assert "NextMarker" not in rest


def test_an_unknown_function_has_none() -> None:
    with cloud(every=True):
        aws = client("lambda")
        put = refused(aws.put_function_event_invoke_config, FunctionName="lab", MaximumRetryAttempts=0)
        assert put == (GONE, "The function doesn't exist.", 404)
        says = "You must specify at least one of error handling or destination setting."
        assert refused(aws.put_function_event_invoke_config, FunctionName="lab")[1] == says
        got = refused(aws.get_function_event_invoke_config, FunctionName="lab")
        assert got == (GONE, f"The function {FUNCTION}:$LATEST doesn't have an EventInvokeConfig", 404)
