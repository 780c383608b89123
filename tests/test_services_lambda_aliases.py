"""Names for versions of functions, and how much of an alias another version takes."""

from __future__ import annotations

from typing import Any

from test_services_lambda_functions import make
from test_services_support import Case, check, client, cloud, refused, said, table

from awslabs.sandbox.services.lambda_ import aliases  # noqa: F401  (what is tested here)

FUNCTION = "arn:aws:lambda:us-east-1:123456789012:function:lab"
INVALID, GONE = "InvalidParameterValueException", "ResourceNotFoundException"


def two_versions() -> Any:
    """A function with the versions 1 and 2."""
    make()
    aws = client("lambda")
    aws.publish_version(FunctionName="lab")
    aws.update_function_configuration(FunctionName="lab", Description="another")
    aws.publish_version(FunctionName="lab")
    return aws


def alias(version: str = "1", name: str = "live", **weights: float) -> dict[str, Any]:
    """A request for an alias; a share of version 2 as ``v2=0.5``."""
    asked: dict[str, Any] = {"FunctionName": "lab", "Name": name, "FunctionVersion": version}
    shares = {key.replace("latest", "$LATEST").lstrip("v"): share for key, share in weights.items()}
    return asked | ({"RoutingConfig": {"AdditionalVersionWeights": shares}} if shares else {})


def sharing(version: str = "1", name: str = "live", **weights: float) -> str:
    return said(two_versions().create_alias, **alias(version, name, **weights))


def changing() -> bool:
    aws = two_versions()
    before = aws.create_alias(**alias())["RevisionId"]
    return bool(aws.update_alias(FunctionName="lab", Name="live")["RevisionId"] != before)


def listing_a_version() -> list[str]:
    aws = two_versions()
    aws.create_alias(**alias("1", "old"))
    aws.create_alias(**alias("2", "new"))
    return [each["Name"] for each in aws.list_aliases(FunctionName="lab", FunctionVersion="1")["Aliases"]]


RULE = "aliases"


CASES = (
    Case(RULE, lambda: sharing(v1=0.5, v2=0.5), "ok", INVALID),
    Case(RULE, lambda: sharing(v2=2.0), "ok", "ValidationException"),
    Case(RULE, lambda: sharing(v1=0.5), "ok", INVALID),
    Case(RULE, lambda: sharing(v10=0.5), "ok", GONE),
    Case(RULE, lambda: sharing("$LATEST", v1=0.5), "ok", INVALID),
    Case(RULE, lambda: sharing(latest=0.5), "ok", "ValidationException"),
    Case(RULE, lambda: sharing(name="2024"), "ok", "ValidationException"),
    Case(RULE, changing, False, True),
    Case(RULE, listing_a_version, ["new", "old"], ["old"]),
)


@table(*CASES)
def test_aws_is_stricter_than_moto(case: Case) -> None:
    check(case)


def test_an_alias_has_a_share_until_it_is_taken_away() -> None:
    with cloud(every=True):
        aws = two_versions()
        made = aws.create_alias(**alias(v2=0.25))
        assert made["AliasArn"] == f"{FUNCTION}:live"
        assert made["RoutingConfig"] == {"AdditionalVersionWeights": {"2": 0.25}}
        assert made["ResponseMetadata"]["HTTPStatusCode"] == 201
        assert aws.update_alias(FunctionName="lab", Name="live", Description="same")["RoutingConfig"]
        none = {"AdditionalVersionWeights": {}}
        assert "RoutingConfig" not in aws.update_alias(FunctionName="lab", Name="live", RoutingConfig=none)
        got = aws.get_alias(FunctionName=FUNCTION, Name="live")
        assert (got["Description"], "RoutingConfig" in got) == ("same", False)
        assert got["ResponseMetadata"]["HTTPStatusCode"] == 200
        assert aws.get_function(FunctionName="lab", Qualifier="live")["Configuration"]["Version"] == "1"


def test_an_alias_that_is_not_there_is_said_in_three_ways() -> None:
    with cloud(every=True):
        aws = two_versions()
        name = {"FunctionName": "lab", "Name": "live"}
        assert refused(aws.get_alias, **name) == (GONE, f"Cannot find alias arn: {FUNCTION}:live", 404)
        assert refused(aws.update_alias, **name) == (GONE, f"Alias not found: {FUNCTION}:live", 404)
        assert aws.delete_alias(**name)["ResponseMetadata"]["HTTPStatusCode"] == 204


def test_an_alias_is_made_once_and_changed_by_who_has_seen_it_last() -> None:
    with cloud(every=True):
        aws = two_versions()
        old = aws.create_alias(**alias())["RevisionId"]
        assert refused(aws.create_alias, **alias()) == (
            "ResourceConflictException",
            f"Alias already exists: {FUNCTION}:live",
            409,
        )
        name = {"FunctionName": "lab", "Name": "live"}
        assert aws.update_alias(**name, FunctionVersion="2", RevisionId=old)["FunctionVersion"] == "2"
        assert refused(aws.update_alias, **name, RevisionId=old)[2] == 412


def test_a_long_list_of_aliases_comes_in_pages() -> None:
    with cloud(every=True):
        aws = two_versions()
        for name in ("a", "b", "c"):
            aws.create_alias(**alias(name=name))
        pages = aws.get_paginator("list_aliases").paginate(
            FunctionName="lab", PaginationConfig={"PageSize": 2}
        )
        assert [[each["Name"] for each in page["Aliases"]] for page in pages] == [["a", "b"], ["c"]]
