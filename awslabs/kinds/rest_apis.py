"""REST APIs of API Gateway. Resources, methods, deployments and stages die with their API."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from typing import Any

from awslabs.kinds.kind import Found, Kind, Reason, Step
from awslabs.kinds.named import pages, tags_as

MISSING = ("NotFoundException",)
# One change at a time: the last one is not everywhere yet. Source: hashicorp/terraform-provider-aws#45905.
UNDER_WAY = (
    "BadRequestException There is already an update in progress",
    "ConflictException There is already an update in progress",
    "ConflictException Unable to complete operation due to concurrent modification",
)
INTEGRATION = re.compile(r"arn:aws[\w-]*:apigateway:[^\s\"']+")


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
    mark=tags_as("tags"),
    look=lambda client, row: [
        one for one in find_apis(client) if one.tags.get("awslabs:token") == row.token or one.id == row.id
    ],
    listed=lambda client, overview: find_apis(client),
    complete=True,
    delete=lambda client, found: client.delete_rest_api(restApiId=found.id),
    not_idempotent=True,
    spends=True,  # each request of whoever knows its address
    not_yet=(*MISSING, *UNDER_WAY, "ConflictException Stage already exists"),
    busy=("ConflictException", *UNDER_WAY),
    absent=MISSING,
    # Of a class of 60 the last one waits 59 x 30 s, and until somebody asks when the next may go.
    busy_s=2700.0,
    rate="API Gateway takes one such deletion per 30 s in an account",
)

KINDS = [REST_API]


def deployments(client: Any, api_id: str) -> list[dict[str, Any]]:
    """The API's deployments, oldest first."""
    found = pages(client, "get_deployments", "items", restApiId=api_id)
    return sorted(found, key=lambda one: (str(one["createdDate"]), one["id"]))


def definition(client: Any, wanted: dict[str, Any]) -> Iterator[Step]:
    """PutRestApi, where no deployment was made of this document, or the API's methods call other functions.

    A deployment tells by its description which document it was made of.
    """
    resources = pages(client, "get_resources", "items", restApiId=wanted["restApiId"], embed=["methods"])
    methods = [method for one in resources for method in one.get("resourceMethods", {}).values()]
    there = sorted(uri for one in methods if (uri := one.get("methodIntegration", {}).get("uri")))
    known = [one.get("description", "") for one in deployments(client, wanted["restApiId"])]
    same = there == sorted(INTEGRATION.findall(wanted["body"].decode()))
    if not same or digest(wanted["body"]) not in known:
        yield client.put_rest_api, wanted


def digest(body: bytes) -> str:
    """What the deployment of a document is described by: it changes with the document."""
    return f"document {hashlib.sha256(body).hexdigest()[:16]}"


def deployment_of(client: Any, api_id: str, body: bytes) -> str:
    """The deployment that was made of a document; the oldest, if a lost answer made two."""
    made: list[str] = [
        one["id"] for one in deployments(client, api_id) if one.get("description") == digest(body)
    ]
    return made[0]


def deployment(client: Any, wanted: dict[str, Any]) -> Iterator[Step]:
    """CreateDeployment, where none has this description."""
    if all(
        one.get("description") != wanted["description"] for one in deployments(client, wanted["restApiId"])
    ):
        yield client.create_deployment, wanted


def stage(client: Any, wanted: dict[str, Any]) -> Iterator[Step]:
    """CreateStage, or UpdateStage where it serves another deployment. What no stage serves any more goes.

    A lost answer may have made two deployments: that is how the second one goes, too.
    """
    api = {"restApiId": wanted["restApiId"]}
    stages = {one["stageName"]: one["deploymentId"] for one in client.get_stages(**api)["item"]}
    name, deployment_id = wanted["stageName"], wanted["deploymentId"]
    if name not in stages:
        yield client.create_stage, wanted
    elif stages[name] != deployment_id:
        switch = {"op": "replace", "path": "/deploymentId", "value": deployment_id}
        yield client.update_stage, {**api, "stageName": name, "patchOperations": [switch]}
    in_use = {**stages, name: deployment_id}.values()
    for one in deployments(client, wanted["restApiId"]):
        if one["id"] not in in_use:
            yield client.delete_deployment, {**api, "deploymentId": one["id"]}


def limits(client: Any, wanted: dict[str, Any]) -> Iterator[Step]:
    """UpdateStage, where its throttling limits for all methods are others."""
    standing = client.get_stage(restApiId=wanted["restApiId"], stageName=wanted["stageName"])
    settings = standing.get("methodSettings", {}).get("*/*", {})
    standing_limits = {
        "/*/*/throttling/rateLimit": settings.get("throttlingRateLimit"),
        "/*/*/throttling/burstLimit": settings.get("throttlingBurstLimit"),
    }
    if any(standing_limits[one["path"]] != float(one["value"]) for one in wanted["patchOperations"]):
        yield client.update_stage, wanted


ENSURES = {
    "apigateway:PutRestApi": definition,
    "apigateway:CreateDeployment": deployment,
    "apigateway:CreateStage": stage,
    "apigateway:UpdateStage": limits,
}


# -- What a reader is told ---------------------------------------------------------------------------------

REASONS = {
    "apigateway:CreateRestApi": Reason(
        "A web address that takes requests (an API of API Gateway).",
        "Browsers speak HTTP: it hands each request to a function, and the answer back.",
        "リクエストを受け取る Web のアドレスです（API Gateway の API）。",
        "ブラウザは HTTP を話します。リクエストを関数に渡し、答えを返します。",
    ),
    "apigateway:PutRestApi": Reason(
        "The description of the API: which path and method lead to which function.",
        "All of it is one document (OpenAPI) that one can read, in place of a call for each part.",
        "API の説明書です。どのパスとメソッドがどの関数につながるかを書きます。",
        "部品ごとに呼び出す代わりに、読める一枚の文書（OpenAPI）にまとめます。",
    ),
    "apigateway:CreateDeployment": Reason(
        "A snapshot of the API as it is now (a deployment).",
        "Callers see what was deployed; a change is not live before.",
        "今の API を写し取ったものです（デプロイ）。",
        "呼び出す人に見えるのはデプロイしたものだけで、変更はそれまで反映されません。",
    ),
    "apigateway:CreateStage": Reason(
        "A name in the API's address that serves one snapshot (a stage).",
        "So the next snapshot could be tried under another name first.",
        "API のアドレスに入る名前で、ひとつのデプロイを公開します（ステージ）。",
        "次のデプロイは、先に別の名前で試せます。",
    ),
    "apigateway:UpdateStage": Reason(
        "How many requests per second the stage lets through.",
        "Everybody may call it, and a loop gone wild must not become expensive.",
        "ステージが一秒に通すリクエストの数です。",
        "誰でも呼べるので、暴走したループで料金がかさまないようにします。",
    ),
}
