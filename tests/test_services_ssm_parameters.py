"""The rules of SSM's parameters: moto alone, then with the rule."""

from __future__ import annotations

from typing import Any

import pytest
from test_services_support import Case, check, client, cloud, refused, said

BAD, DEEP, THERE = "ValidationException", "HierarchyLevelLimitExceededException", "ParameterAlreadyExists"


def put(name: str = "TABLE_NAME", value: str = "x", **more: Any) -> Any:
    return said(client("ssm").put_parameter, Name=name, Value=value, Type="String", **more)


LATEST = "/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-default-x86_64"


def listed() -> bool:
    """Whether AWS's own parameters are listed once one of them was read."""
    client("ssm").get_parameter(Name=LATEST)
    put("mine")
    names = {one["Name"] for one in client("ssm").describe_parameters()["Parameters"]}
    assert "mine" in names or len(names) == 10  # moto's first page is full of AWS's
    return any(name.startswith("/aws/") for name in names)


CASES = [
    Case("own_parameters", listed, True, False),
    *(
        Case("parameter_name_is_valid", lambda name=name: put(name), "ok", BAD)
        for name in ("a b", "a/b", "/a//b", "é")
    ),
    Case("parameter_name_is_valid", lambda: put("/a" * 16), "ok", DEEP),
    *(
        Case("parameter_name_is_valid", lambda name=name: put(name), "ok", "ok")
        for name in ("A_b.c-1", "/a" * 15)
    ),
    Case("parameter_value_fits_its_tier", lambda: put(value="x" * 4097), "ok", BAD),
    Case("parameter_value_fits_its_tier", lambda: put(value="x" * 4096), "ok", "ok"),
    Case("parameter_value_fits_its_tier", lambda: put(value="x" * 8192, Tier="Advanced"), "ok", "ok"),
]


def called(name: str) -> list[str]:
    ssm = client("ssm")
    put("lab")
    put("/a/b", "x")
    one = ssm.get_parameter(Name=name)["Parameter"]["Name"]
    return [one, *(each["Name"] for each in ssm.get_parameters(Names=[name])["Parameters"])]


CASES += [
    Case("parameters_as_they_were_asked_for", lambda: called("/lab"), ["lab", "lab"], ["/lab", "/lab"]),
    Case("parameters_as_they_were_asked_for", lambda: called("lab"), ["lab", "lab"], ["lab", "lab"]),
    Case("parameters_as_they_were_asked_for", lambda: called("/a/b:1"), ["/a/b"] * 2, ["/a/b"] * 2),
    Case("parameters_as_they_were_asked_for", lambda: called("/a//b"), "ParameterNotFound", BAD),
    Case("parameters_as_they_were_asked_for", lambda: called("a/b"), "ParameterNotFound", BAD),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.rule)
def test_a_rule_changes_moto_s_answer(case: Case) -> None:
    check(case)


def test_a_parameter_of_somebody_else_is_not_overwritten_unless_asked_for() -> None:
    with cloud(every=True):
        assert put() == "ok"
        assert put(Tags=[{"Key": "a", "Value": "b"}]) == THERE
        assert put(Overwrite=True) == "ok"
        assert put(Overwrite=True, Tags=[{"Key": "a", "Value": "b"}]) == BAD
        assert put("aws_x") == put("/ssm/x/y") == BAD
        code, message, status = refused(
            client("ssm").put_parameter, Name="TABLE_NAME", Value="x" * 4097, Type="String", Overwrite=True
        )
        assert (code, status) == (BAD, 400)
        assert message.startswith("Standard tier parameters support a maximum parameter value of 4096")
