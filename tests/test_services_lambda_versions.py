"""Versions of functions: moto alone, then with the rule."""

from __future__ import annotations

from typing import Any

from test_services_lambda_functions import FOR_LAMBDA, code, make
from test_services_support import Case, check, client, cloud, table, wait

from awslabs.sandbox.services.lambda_ import versions  # noqa: F401  (what is tested here)

FUNCTION = "arn:aws:lambda:us-east-1:123456789012:function:lab"


def publish() -> str:
    return str(client("lambda").publish_version(FunctionName="lab")["Version"])


def change(text: str) -> None:
    client("lambda").update_function_configuration(FunctionName="lab", Description=text)


def of(qualifier: str) -> dict[str, Any]:
    found: dict[str, Any] = client("lambda").get_function(FunctionName="lab", Qualifier=qualifier)
    return dict(found["Configuration"])


def unchanged() -> list[str]:
    make()
    change("one")
    return [publish(), publish()]


def numbers() -> list[str]:
    make()
    given = [publish()]
    for text in ("one", "two"):
        change(text)
        given.append(publish())
    client("lambda").delete_function(FunctionName="lab", Qualifier="1")
    change("three")
    return [*given, publish()]


def an_alias() -> str:
    make()
    publish()
    client("lambda").create_alias(FunctionName="lab", Name="live", FunctionVersion="1")
    return str(of("live")["FunctionArn"])


@table(
    Case("versions", unchanged, ["1", "2"], ["1", "1"]),
    Case("versions", numbers, ["1", "2", "3", "3"], ["1", "2", "3", "4"]),
    Case("versions", an_alias, f"{FUNCTION}:1", f"{FUNCTION}:live"),
)
def test_aws_is_stricter_than_moto(case: Case) -> None:
    check(case)


def test_a_version_has_a_revision_of_its_own_for_good() -> None:
    with cloud(every=True):
        before = make()["RevisionId"]
        version = client("lambda").publish_version(FunctionName="lab")["RevisionId"]
        latest = of("$LATEST")["RevisionId"]
        assert len({before, version, latest}) == 3
        publish()
        assert (of("1")["RevisionId"], of("$LATEST")["RevisionId"]) == (version, latest)
        change("one")
        assert of("1")["RevisionId"] == version
        assert of("$LATEST")["RevisionId"] != latest


def test_a_version_keeps_what_it_was_published_with() -> None:
    with cloud(every=True):
        make(LoggingConfig={"LogFormat": "JSON"})
        publish()
        client("lambda").update_function_configuration(
            FunctionName="lab", LoggingConfig={"LogFormat": "Text"}
        )
        assert of("1")["LoggingConfig"]["LogFormat"] == "JSON"


def test_a_version_published_with_an_update_is_pending_meanwhile() -> None:
    with cloud(every=True, slow_states=1.0):
        role = client("iam").create_role(RoleName="r", AssumeRolePolicyDocument=FOR_LAMBDA)["Role"]["Arn"]
        wait(30)
        make(Role=role)
        wait(5)
        update = client("lambda").update_function_code(
            FunctionName="lab", ZipFile=code("def handler(event, context):\n    return 2\n"), Publish=True
        )
        for shown in (update, of("1")):
            assert (shown["Version"], shown["State"], "LastUpdateStatus" in shown) == ("1", "Pending", False)
            assert shown["FunctionArn"] == f"{FUNCTION}:1"
        latest = of("$LATEST")
        assert (latest["State"], latest["LastUpdateStatus"]) == ("Active", "InProgress")
        assert latest["RevisionId"] != update["RevisionId"]
        wait(2)
        done = of("1")
        assert (done["State"], done["RevisionId"]) == ("Active", update["RevisionId"])


def test_a_function_that_is_made_with_a_version_is_another_one() -> None:
    with cloud(every=True):
        made = make(Publish=True)
        assert (made["Version"], made["FunctionArn"]) == ("1", FUNCTION)
        assert of("1")["RevisionId"] != of("$LATEST")["RevisionId"]
        assert publish() == "1"
