"""Containers: ECR repositories, ECS clusters, task definitions, and tasks, which are work."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from awslabs import prices
from awslabs.kinds.kind import Found, Kind, Mark, Reason
from awslabs.kinds.named import OURS, as_kept, listed_by_name, named, pages, parts, tags_as, tags_in, unless
from awslabs.kinds.overview import Overview

NO_REPOSITORY = ("RepositoryNotFoundException",)
NO_CLUSTER = ("ClusterNotFoundException",)
SHOWN = {"PROVISIONING": "coming", "PENDING": "coming", "ACTIVATING": "coming", "RUNNING": "standing"}


# -- ECR ----------------------------------------------------------------------------------------------------


def repository_ids(request: dict[str, Any], answer: dict[str, Any]) -> dict[str, str]:
    """The name, which calls use, and, once known, the address that images are pushed to."""
    known = {**request, **answer.get("repository", {})}
    return {name: known[name] for name in ("repositoryName", "repositoryUri") if name in known}


def show_repository(ecr: Any, ids: dict[str, str]) -> Found | None:
    names = [ids["repositoryName"]]
    answer = unless(NO_REPOSITORY, ecr.describe_repositories, repositoryNames=names)
    if answer is None:
        return None
    (repository,) = answer["repositories"]
    arn = repository["repositoryArn"]
    tagged = unless(NO_REPOSITORY, ecr.list_tags_for_resource, resourceArn=arn) or {"tags": []}
    return Found(repository_ids({}, {"repository": repository}), tags=tags_in(tagged["tags"]))


REPOSITORY = named(
    "ecr:CreateRepository",
    "repositoryName",
    show_repository,
    ids=repository_ids,
    mark=tags_as("tags", Mark.tag_list),
    listed=listed_by_name(
        show_repository,
        lambda ecr: [
            repository_ids({}, {"repository": one})
            for one in pages(ecr, "describe_repositories", "repositories")
            if one["repositoryName"].startswith(OURS)
        ],
        lambda overview, ids: Found(ids, tags=overview.tags("ecr", f"repository/{ids['repositoryName']}")),
    ),
    # `force` takes the images along; without it a repository that holds some is refused.
    delete=lambda ecr, found: ecr.delete_repository(repositoryName=found.id, force=True),
    spends=True,  # what lies in it, by the month
    taken=("RepositoryAlreadyExistsException",),
    absent=NO_REPOSITORY,
)


# -- ECS ----------------------------------------------------------------------------------------------------


def tags_of(mark: Mark) -> list[dict[str, str]]:
    """ECS writes its tags in small letters."""
    return [{"key": key, "value": value} for key, value in mark.tags().items()]


def tags_shown(shown: dict[str, Any]) -> dict[str, str]:
    return {tag["key"]: tag["value"] for tag in shown.get("tags", [])}


def show_clusters(ecs: Any, names: list[str]) -> Iterator[Found]:
    """Clusters by name, a hundred in one call.

    A deleted one is shown for a while as INACTIVE: that is gone (ECS API reference, DeleteCluster).
    """
    states = {"PROVISIONING": "coming", "DEPROVISIONING": "going"}
    for some in parts(names):
        for cluster in ecs.describe_clusters(clusters=some, include=["TAGS"])["clusters"]:
            if cluster["status"] != "INACTIVE":
                state = states.get(cluster["status"], "standing")
                yield Found({"clusterName": cluster["clusterName"]}, state, tags_shown(cluster))


def our_clusters(ecs: Any) -> list[str]:
    """Names of clusters that begin as ours do."""
    names = (arn.rpartition("/")[2] for arn in pages(ecs, "list_clusters", "clusterArns"))
    return [name for name in names if name.startswith(OURS)]


CLUSTER = named(
    "ecs:CreateCluster",
    "clusterName",
    lambda ecs, ids: next(show_clusters(ecs, [ids["clusterName"]]), None),
    mark=tags_as("tags", tags_of),
    listed=lambda ecs, overview: list(show_clusters(ecs, our_clusters(ecs))),
    delete=lambda ecs, found: ecs.delete_cluster(cluster=found.id),
    # An account's first use of ECS makes a role for the service, which takes a moment.
    not_yet=("InvalidParameterException Unable to assume the service linked role",),
    busy=(
        "ClusterContainsTasksException",
        "ClusterContainsServicesException",
        "ClusterContainsContainerInstancesException",
        "UpdateInProgressException",
    ),
    absent=NO_CLUSTER,
)


def show_definitions(ecs: Any, arns: Iterator[str]) -> Iterator[Found]:
    """Task definitions with their tags; one that is DELETE_IN_PROGRESS is on its way out by itself."""
    for arn in arns:
        answer = unless(
            ("ClientException",), ecs.describe_task_definition, taskDefinition=arn, include=["TAGS"]
        )
        if answer is not None and answer["taskDefinition"]["status"] != "DELETE_IN_PROGRESS":
            definition = answer["taskDefinition"]
            since = str(definition.get("registeredAt", ""))
            state = "standing" if definition["status"] == "ACTIVE" else "spent"
            yield Found({"taskDefinitionArn": arn}, state, tags_shown(answer), since)


def listed_definitions(ecs: Any, family: str = "") -> Iterator[str]:
    """ARNs of all revisions of one family, or of our families; registered or deregistered."""
    chosen = {"familyPrefix": family} if family else {}
    for status in ("ACTIVE", "INACTIVE"):
        listed = pages(ecs, "list_task_definitions", "taskDefinitionArns", status=status, **chosen)
        yield from (arn for arn in listed if arn.rpartition("/")[2].startswith(OURS))


def list_definitions(ecs: Any, overview: Overview) -> list[Found]:
    """All of ours, by their tags; those of which the overview knows none are described one by one."""
    arns = list(listed_definitions(ecs))
    known = {arn: overview.tags("ecs", arn.split(":", 5)[5]) for arn in arns}
    found = [Found({"taskDefinitionArn": arn}, tags=tags) for arn, tags in known.items() if tags]
    return [*found, *show_definitions(ecs, (arn for arn in arns if not known[arn]))]


def look_for_definition(ecs: Any, row: Any) -> list[Found]:
    if "taskDefinitionArn" in row.ids:
        return list(show_definitions(ecs, iter([row.ids["taskDefinitionArn"]])))
    # Its number is AWS's to give: among all of its family the token tells.
    shown = show_definitions(ecs, listed_definitions(ecs, row.telling["family"]))
    return sorted(
        (found for found in shown if found.tags.get("awslabs:token") == row.token),
        key=lambda found: found.since,
    )


def delete_definition(ecs: Any, found: Found) -> None:
    """Out of use first, then away: ECS keeps what is only deregistered for good."""
    shown = ecs.describe_task_definition(taskDefinition=found.id)["taskDefinition"]
    if shown["status"] == "ACTIVE":
        ecs.deregister_task_definition(taskDefinition=found.id)
    answer = ecs.delete_task_definitions(taskDefinitions=[found.id])
    for failure in answer["failures"]:
        raise ecs.exceptions.ClientError(
            {"Error": {"Code": "ClientException", "Message": failure.get("reason", str(failure))}},
            "DeleteTaskDefinitions",
        )


DEFINITION = Kind(
    call="ecs:RegisterTaskDefinition",
    known_by=("taskDefinitionArn|family",),
    ids=lambda request, answer: (
        {"taskDefinitionArn": answer["taskDefinition"]["taskDefinitionArn"]} if answer else {}
    ),
    mark=tags_as("tags", tags_of),
    look=look_for_definition,
    listed=list_definitions,
    complete=True,
    delete=delete_definition,
    not_idempotent=True,
    described_by=("family", "cpu", "memory"),
    not_yet=("ClientException Role is not valid",),
    absent=("ClientException The specified task definition does not exist",),
)


def mark_task(request: dict[str, Any], mark: Mark) -> dict[str, Any]:
    """The token thrice: so that one call makes one task, so that it is listed, and so that it shows."""
    return {
        **request,
        "count": 1,
        "clientToken": mark.token,
        "startedBy": mark.token,
        "tags": tags_of(mark),
    }


def task_refused(answer: dict[str, Any]) -> tuple[str, str] | None:
    """RunTask answers 200 where no task could be placed."""
    if answer["tasks"]:
        return None
    failure = answer["failures"][0] if answer.get("failures") else {}
    reason = failure.get("reason", "no reason")
    return reason, failure.get("detail") or f"ECS could not place the task: {reason}."


def show_tasks(ecs: Any, cluster: str, arns: list[str]) -> list[Found]:
    """Tasks with their tags; AWS shows a stopped one for an hour.

    The token stands in `startedBy`, too, which nobody can take away.
    """
    shown = []
    for some in parts(arns):
        for task in ecs.describe_tasks(cluster=cluster, tasks=some, include=["TAGS"])["tasks"]:
            state = "ended" if task["lastStatus"] == "STOPPED" else SHOWN.get(task["lastStatus"], "going")
            ids = {"taskArn": task["taskArn"], "clusterArn": task["clusterArn"]}
            since, until = str(task.get("createdAt", "")), as_kept(task.get("stoppedAt"))
            tags = {"awslabs:token": task.get("startedBy", ""), **tags_shown(task)}
            size = {"overrides": {name: task[name] for name in ("cpu", "memory") if name in task}}
            billed = as_kept(task.get("pullStartedAt"))  # from there on (AWS Fargate pricing)
            shown.append(Found(ids, state, tags, since, until, billed, request=size))
    return shown


def listed_tasks(ecs: Any, cluster: str, **chosen: str) -> list[str]:
    """ARNs of a cluster's tasks that are to run; none where the cluster is gone.

    ``startedBy`` "must be the only filter" (ECS API reference, ListTasks), so nobody can ask by it for what
    was stopped; what was stopped has ended, or is about to.
    """
    return unless(NO_CLUSTER, pages, ecs, "list_tasks", "taskArns", cluster=cluster, **chosen) or []


def look_for_task(ecs: Any, row: Any) -> list[Found]:
    cluster = row.ids.get("clusterArn") or row.telling["cluster"]
    if arn := row.ids.get("taskArn"):
        return unless(NO_CLUSTER, show_tasks, ecs, cluster, [arn]) or []
    return show_tasks(ecs, cluster, listed_tasks(ecs, cluster, startedBy=row.token))


def tasks_of(ecs: Any, rows: list[Any], overview: Overview) -> list[Found]:
    """The tasks of many rows, a hundred of a cluster in one call; what has no ARN yet is in the listing."""
    by_cluster: dict[str, list[str]] = {}
    for row in rows:
        if "taskArn" in row.ids:
            by_cluster.setdefault(row.ids["clusterArn"], []).append(row.ids["taskArn"])
    found: list[Found] = []
    for cluster, arns in by_cluster.items():
        found += unless(NO_CLUSTER, show_tasks, ecs, cluster, arns) or []
    return found


def our_tasks(ecs: Any) -> list[Found]:
    """What runs in our clusters, which ECS lists one by one, and carries a token."""
    found = [one for name in our_clusters(ecs) for one in show_tasks(ecs, name, listed_tasks(ecs, name))]
    return [one for one in found if "awslabs:ledger" in one.tags and one.state != "ended"]


def task_usd_per_hour(request: dict[str, Any], region: str) -> float | None:
    """Of a Fargate task whose size stands in its overrides; it has a public address of its own."""
    size = request.get("overrides", {})
    if not {"cpu", "memory"} <= size.keys():
        return None
    return prices.fargate_hour(int(size["cpu"]) / 1024, int(size["memory"]) / 1024, region)


TASK = Kind(
    call="ecs:RunTask",
    known_by=("clusterArn|cluster",),
    ids=lambda request, answer: {
        "taskArn": answer["tasks"][0]["taskArn"],
        "clusterArn": answer["tasks"][0]["clusterArn"],
    },
    mark=mark_task,
    look=look_for_task,
    listed=lambda ecs, overview: our_tasks(ecs),
    at_once=tasks_of,
    delete=lambda ecs, found: ecs.stop_task(
        cluster=found.ids["clusterArn"], task=found.id, reason="awslabs: down"
    ),
    work=True,
    deletes_slowly=True,
    described_by=("cluster",),
    not_yet=("ClientException ECS was unable to assume the role",),
    absent=(*NO_CLUSTER, "InvalidParameterException The referenced task was not found"),
    refusal=task_refused,
    usd_per_hour=task_usd_per_hour,
)

KINDS = [REPOSITORY, CLUSTER, DEFINITION, TASK]


# -- What a reader is told ---------------------------------------------------------------------------------

REASONS = {
    "ecr:CreateRepository": Reason(
        "A store for container images (a repository of ECR).",
        "AWS's machines fetch the program from here, not from your computer.",
        "コンテナイメージの置き場です（ECR のリポジトリ）。",
        "AWS のマシンは、あなたのパソコンではなく、ここからプログラムを取り出します。",
    ),
    "ecs:CreateCluster": Reason(
        "A name under which tasks run (a cluster of ECS).",
        "With Fargate there is no server in it: AWS finds a machine for each task.",
        "タスクを動かすためのまとまりの名前です（ECS のクラスター）。",
        "Fargate では中にサーバーを持ちません。タスクごとに AWS がマシンを見つけます。",
    ),
    "ecs:RegisterTaskDefinition": Reason(
        "What a task is: an image, how much processor and memory, its roles, its log (a task definition).",
        "It is written once, and each task is then started by its name.",
        "タスクとは何かを書いたものです。イメージ、CPU とメモリ、ロール、ログを決めます（タスク定義）。",
        "一度書いておけば、あとは名前だけでタスクを起動できます。",
    ),
    "ecs:RunTask": Reason(
        "A task: the image at work, in a container of its own.",
        "It comes with a question and goes with the answer, and is paid for by the second.",
        "タスクです。イメージを専用のコンテナで動かします。",
        "質問とともに現れ、答えとともに消え、料金は秒単位です。",
    ),
}
