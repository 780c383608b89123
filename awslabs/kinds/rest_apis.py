"""REST APIs of API Gateway. Resources, methods, deployments and stages die with their API."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from awslabs.kinds.kind import Found, Kind, Mark, Step
from awslabs.kinds.named import pages

MISSING = ("NotFoundException",)
INTEGRATION = re.compile(r"arn:aws[\w-]*:apigateway:[^\s\"']+")


def mark_api(request: dict, mark: Mark) -> dict:
    return {**request, "tags": mark.tags()}


def find_apis(client: Any) -> list[Found]:
    """Every API of the account and Region, oldest first."""
    apis = pages(client, "get_rest_apis", "items")
    found = [
        Found({"id": api["id"]}, tags=api.get("tags", {}), since=str(api["createdDate"])) for api in apis
    ]
    return sorted(found, key=lambda one: (one.since, one.id))


REST_API = Kind(
    call="apigateway:CreateRestApi",
    ids=lambda request, answer: {"id": answer["id"]},
    mark=mark_api,
    look=lambda client, row: [one for one in find_apis(client) if one.tags.get("awslabs:token") == row.token],
    ours=lambda client: [one for one in find_apis(client) if "awslabs:token" in one.tags],
    delete=lambda client, found: client.delete_rest_api(restApiId=found.id),
    doubles=True,
    not_yet=MISSING,
    busy=("ConflictException",),
    absent=MISSING,
    busy_s=1800.0,
    rate="API Gateway takes one such deletion per 30 s in an account",
)

KINDS = [REST_API]


def definition(client: Any, wanted: dict) -> Iterator[Step]:
    """PutRestApi, where the API's methods call other functions than the document says, or are missing."""
    resources = pages(client, "get_resources", "items", restApiId=wanted["restApiId"], embed=["methods"])
    methods = [method for one in resources for method in one.get("resourceMethods", {}).values()]
    there = sorted(uri for one in methods if (uri := one.get("methodIntegration", {}).get("uri")))
    if there != sorted(INTEGRATION.findall(wanted["body"].decode())):
        yield client.put_rest_api, wanted


def deployment(client: Any, wanted: dict) -> Iterator[Step]:
    """CreateDeployment, where the stage serves another one; then those that no stage serves any more go.

    The description, which holds the digest of the API, tells one deployment from another. A lost answer may
    have made two: that is why those without a stage are deleted.
    """
    api = {"restApiId": wanted["restApiId"]}

    def live() -> dict[str, str]:
        return {stage["stageName"]: stage["deploymentId"] for stage in client.get_stages(**api)["item"]}

    def all_of_them() -> list[dict]:
        return pages(client, "get_deployments", "items", **api)

    served = live().get(wanted["stageName"])
    if not any(
        (one["id"], one.get("description")) == (served, wanted["description"]) for one in all_of_them()
    ):
        yield client.create_deployment, wanted
    in_use = set(live().values())
    for one in all_of_them():
        if one["id"] not in in_use:
            yield client.delete_deployment, {**api, "deploymentId": one["id"]}


def stage(client: Any, wanted: dict) -> Iterator[Step]:
    """UpdateStage, where its throttling limits for all methods are others."""
    standing = client.get_stage(restApiId=wanted["restApiId"], stageName=wanted["stageName"])
    settings = standing.get("methodSettings", {}).get("*/*", {})
    limits = {
        "/*/*/throttling/rateLimit": settings.get("throttlingRateLimit"),
        "/*/*/throttling/burstLimit": settings.get("throttlingBurstLimit"),
    }
    if any(limits[one["path"]] != float(one["value"]) for one in wanted["patchOperations"]):
        yield client.update_stage, wanted


ENSURES = {
    "apigateway:PutRestApi": definition,
    "apigateway:CreateDeployment": deployment,
    "apigateway:UpdateStage": stage,
}
