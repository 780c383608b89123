"""SSM parameters: the names of a lab, for programs that look for them there."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from awslabs.kinds.kind import Found, Mark, Reason, Step
from awslabs.kinds.named import listed_by_name, named, pages, tags_as, tags_in, unless

MISSING = ("ParameterNotFound", "InvalidResourceId")
# What labs call theirs. Programs of others ask for exactly these, so nothing in them says whose they are.
NAMES = (
    "ECS_CLUSTER_NAME",
    "ECS_TASK_DEFINITION_ARN",
    "CONTAINER_NAME",
    "ECS_TASK_VPC_SUBNET_1",
    "TABLE_NAME",
    "ENDPOINT_URL",
)


def show_parameter(ssm: Any, ids: dict[str, str]) -> Found | None:
    name = ids["Name"]
    listed = unless(MISSING, ssm.list_tags_for_resource, ResourceType="Parameter", ResourceId=name)
    if listed is None:
        return None
    return Found({"Name": name}, tags=tags_in(listed["TagList"]))


PARAMETER = named(
    "ssm:PutParameter",
    "Name",
    show_parameter,
    # With tags a parameter cannot be overwritten: one that somebody else has made is refused by AWS.
    mark=tags_as("Tags", Mark.tag_list),
    listed=listed_by_name(
        show_parameter,
        lambda ssm: [
            {"Name": shown["Name"]}
            for shown in pages(
                ssm,
                "describe_parameters",
                "Parameters",
                ParameterFilters=[{"Key": "Name", "Option": "Equals", "Values": list(NAMES)}],
            )
        ],
    ),
    delete=lambda ssm, found: ssm.delete_parameter(Name=found.id),
    taken=("ParameterAlreadyExists",),
    not_yet=("TooManyUpdates",),
    busy=("TooManyUpdates",),
    absent=MISSING,
    looked_up=("Value",),  # what it names may be made anew: `value` puts it right
)

KINDS = [PARAMETER]


def value(ssm: Any, wanted: dict[str, Any]) -> Iterator[Step]:
    """PutParameter, where it holds something else; only for one that `create` has found to be ours."""
    shown = unless(MISSING, ssm.get_parameter, Name=wanted["Name"])
    if shown is None or shown["Parameter"]["Value"] != wanted["Value"]:
        yield ssm.put_parameter, {**wanted, "Overwrite": True}


ENSURES = {"ssm:PutParameter": value}


# -- What a reader is told ---------------------------------------------------------------------------------

REASONS = {
    "ssm:PutParameter": Reason(
        "A value under a name, kept by AWS (a parameter of Systems Manager).",
        "Programs of your own look up the lab's names there, instead of having them in their code.",
        "名前を付けて AWS に預けた値です（Systems Manager のパラメータ）。",
        "自作のプログラムは、コードに書く代わりに、ここで名前を調べます。",
    ),
}
