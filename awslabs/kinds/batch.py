"""AWS Batch: compute environments, job queues, job definitions, and jobs, which are work.

Batch says no with one code alone, ``ClientException``, so the words of its messages count here. AWS documents
none of them; these are from hashicorp/terraform-provider-aws, ``internal/service/batch``, and its issues.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from awslabs.kinds.kind import Found, Kind, Mark, Reason, Step
from awslabs.kinds.named import OURS, as_kept, named, pages, parts, tags_as

# While it changes from one state to another, or something still hangs on it.
BUSY = (
    "ClientException Cannot delete",
    "ClientException resource is being modified",
)
GONE = ("ClientException does not exist", "ClientException not found")
TAKEN = ("ClientException already exists",)
ENDED = ("SUCCEEDED", "FAILED")
VCPUS = {"large": 2, "xlarge": 4, "2xlarge": 8}  # of a server, by the size in its type's name
STATES = {"CREATING": "coming", "UPDATING": "coming", "DELETING": "going"}


def found_by(name: str, shown: dict[str, Any]) -> Found:
    """An environment or a queue, which are alike but for what their name is called."""
    state = STATES.get(shown.get("status", ""), "standing")
    return Found({name: shown[name]}, state, shown.get("tags", {}))


def ours(batch: Any, method: str, key: str, name: str) -> list[Found]:
    """Those whose names begin as ours do."""
    listed = [one for one in pages(batch, method, key) if one[name].startswith(OURS)]
    return [found_by(name, one) for one in listed if one.get("status") != "DELETED"]


# -- Compute environment -----------------------------------------------------------------------------------


def mark_environment(request: dict[str, Any], mark: Mark) -> dict[str, Any]:
    """Our tags; and on the machines, which do not inherit them, whose they are.

    The machines get no token: they are Batch's own to delete, and no row of ours knows them.
    """
    names = {key: value for key, value in mark.tags().items() if key not in ("awslabs:row", "awslabs:token")}
    names["Name"] = f"{mark.ledger} machine"
    resources = {**request["computeResources"], "tags": names}
    return {**request, "computeResources": resources, "tags": mark.tags()}


def describe_environment(batch: Any, name: str) -> dict[str, Any] | None:
    """A compute environment as Batch shows it; None where there is none (any more)."""
    answer = batch.describe_compute_environments(computeEnvironments=[name])
    return next((one for one in answer["computeEnvironments"] if one["status"] != "DELETED"), None)


def show_environment(batch: Any, ids: dict[str, str]) -> Found | None:
    shown = describe_environment(batch, ids["computeEnvironmentName"])
    return None if shown is None else found_by("computeEnvironmentName", shown)


def delete_environment(batch: Any, found: Found) -> None:
    """Out of use first. Until that has taken effect the deletion is refused, and asked for again."""
    shown = describe_environment(batch, found.id)
    if shown is not None and shown["state"] == "ENABLED":
        batch.update_compute_environment(computeEnvironment=found.id, state="DISABLED")
    batch.delete_compute_environment(computeEnvironment=found.id)


def its_machines(request: dict[str, Any]) -> dict[str, str]:
    """What it may start by itself, for the budget: ``c5.large``, or ``c5.large on spot``, and how many."""
    resources = request["computeResources"]
    first = resources["instanceTypes"][0]
    vcpus = VCPUS.get(first.rpartition(".")[2], 1)
    spot = " on spot" if resources["type"] == "SPOT" else ""
    return {"machine": f"{first}{spot}", "machines": str(-(-resources["maxvCpus"] // vcpus))}


COMPUTE_ENVIRONMENT = named(
    "batch:CreateComputeEnvironment",
    "computeEnvironmentName",
    show_environment,
    mark=mark_environment,
    listed=lambda batch, overview: ours(
        batch, "describe_compute_environments", "computeEnvironments", "computeEnvironmentName"
    ),
    delete=delete_environment,
    spends=True,
    tells=its_machines,
    deletes_slowly=True,  # it ends its machines, and uses the roles, the subnets and the firewall until then
    taken=TAKEN,
    busy=BUSY,
    absent=GONE,
    busy_s=900.0,
)


# -- Job queue ---------------------------------------------------------------------------------------------


def describe_queue(batch: Any, name: str) -> dict[str, Any] | None:
    """A job queue as Batch shows it; None where there is none (any more)."""
    answer = batch.describe_job_queues(jobQueues=[name])
    return next((one for one in answer["jobQueues"] if one.get("status") != "DELETED"), None)


def show_queue(batch: Any, ids: dict[str, str]) -> Found | None:
    shown = describe_queue(batch, ids["jobQueueName"])
    return None if shown is None else found_by("jobQueueName", shown)


def our_queues(batch: Any) -> list[Found]:
    return ours(batch, "describe_job_queues", "jobQueues", "jobQueueName")


def delete_queue(batch: Any, found: Found) -> None:
    """As with an environment: out of use, then away."""
    shown = describe_queue(batch, found.id)
    if shown is not None and shown["state"] == "ENABLED":
        batch.update_job_queue(jobQueue=found.id, state="DISABLED")
    batch.delete_job_queue(jobQueue=found.id)


JOB_QUEUE = named(
    "batch:CreateJobQueue",
    "jobQueueName",
    show_queue,
    mark=tags_as("tags"),
    listed=lambda batch, overview: our_queues(batch),
    delete=delete_queue,
    deletes_slowly=True,
    taken=TAKEN,
    not_yet=("ClientException must be valid before attaching",),
    busy=BUSY,
    absent=GONE,
    busy_s=900.0,
)


# -- Job definition ----------------------------------------------------------------------------------------


def show_definition(definition: dict[str, Any]) -> Found:
    ids = {"jobDefinitionArn": definition["jobDefinitionArn"]}
    return Found(ids, tags=definition.get("tags", {}), since=f"{definition['revision']:09d}")


def active_definitions(batch: Any, **which: Any) -> list[Found]:
    """Those in use, oldest first. A deregistered one is INACTIVE: Batch forgets it after 180 days."""
    listed = pages(batch, "describe_job_definitions", "jobDefinitions", status="ACTIVE", **which)
    found = [
        show_definition(one)
        for one in listed
        if one["status"] == "ACTIVE" and one["jobDefinitionName"].startswith(OURS)
    ]
    return sorted(found, key=lambda one: one.since)


def look_for_definition(batch: Any, row: Any) -> list[Found]:
    """Among all of its name, which a recovered row has from its ARN: ``.../NAME:REVISION``."""
    name = row.telling.get("jobDefinitionName") or row.id.rpartition("/")[2].rpartition(":")[0]
    found = active_definitions(batch, jobDefinitionName=name)
    return [one for one in found if one.tags.get("awslabs:token") == row.token or one.id == row.id]


JOB_DEFINITION = Kind(
    call="batch:RegisterJobDefinition",
    known_by=("jobDefinitionArn|jobDefinitionName",),
    ids=lambda request, answer: {"jobDefinitionArn": answer["jobDefinitionArn"]} if answer else {},
    mark=tags_as("tags"),
    look=look_for_definition,
    listed=lambda batch, overview: active_definitions(batch),
    complete=True,
    delete=lambda batch, found: batch.deregister_job_definition(jobDefinition=found.id),
    not_idempotent=True,
    described_by=("jobDefinitionName",),
    absent=GONE,
)


# -- Jobs --------------------------------------------------------------------------------------------------


def mark_job(request: dict[str, Any], mark: Mark) -> dict[str, Any]:
    """The token in the name, by which a queue is asked for a job whose answer was lost; and our tags."""
    return {**request, "jobName": f"{request['jobName']}-{mark.token}", "tags": mark.tags()}


def show_job(job: dict[str, Any]) -> Found:
    """A job, from a listing or a description. Ended ones are shown for about a week."""
    state = {"RUNNING": "standing"}.get(job["status"], "coming")
    if job["status"] in ENDED:
        state = "ended"
    elif job.get("isTerminated") or job.get("isCancelled"):
        state = "going"
    ids = {"jobId": job["jobId"], "jobName": job["jobName"]}
    since, until = str(job.get("createdAt", "")), as_kept(job.get("stoppedAt"))
    return Found(ids, state, job.get("tags", {}), since, until)


def jobs_named(batch: Any, queue: str, name: str) -> list[dict[str, Any]]:
    """Jobs of a queue in any state, by name; with ``*`` at its end by how the name begins.

    A filter makes Batch list all states; without one it lists those that run ("ListJobs", Batch API).
    """
    filters = [{"name": "JOB_NAME", "values": [name]}]
    try:
        return pages(batch, "list_jobs", "jobSummaryList", jobQueue=queue, filters=filters)
    except batch.exceptions.ClientException as error:
        if "does not exist" not in str(error):
            raise
        return []  # with its queue each job is gone


def look_for_job(batch: Any, row: Any) -> list[Found]:
    if job_id := row.ids.get("jobId"):
        shown = batch.describe_jobs(jobs=[job_id])["jobs"]
    else:
        shown = jobs_named(batch, row.telling["jobQueue"], f"{row.telling['jobName']}-{row.token}")
    return sorted((show_job(job) for job in shown), key=lambda one: one.since)


def our_jobs(batch: Any) -> Iterator[Found]:
    """What has not ended in our queues, which Batch lists one by one; a listing shows no tags."""
    for queue in our_queues(batch):
        waiting = [
            job["jobId"] for job in jobs_named(batch, queue.id, f"{OURS}*") if job["status"] not in ENDED
        ]
        yield from map(show_job, described(batch, waiting))


def described(batch: Any, job_ids: Sequence[str]) -> list[dict[str, Any]]:
    """Jobs by their ids, a hundred in one call."""
    return [job for some in parts(job_ids) for job in batch.describe_jobs(jobs=some)["jobs"]]


JOB = Kind(
    call="batch:SubmitJob",
    known_by=("jobId|jobQueue", "jobId|jobName"),
    ids=lambda request, answer: {name: answer[name] for name in ("jobId", "jobName")} if answer else {},
    mark=mark_job,
    look=look_for_job,
    listed=lambda batch, overview: list(our_jobs(batch)),
    at_once=lambda batch, rows, overview: [
        show_job(job) for job in described(batch, [row.id for row in rows if row.id])
    ],
    # CancelJob does nothing to a job that runs: TerminateJob ends each, and of an array all its children.
    delete=lambda batch, found: batch.terminate_job(jobId=found.id, reason="awslabs: down"),
    not_idempotent=True,
    deletes_slowly=True,
    work=True,
    described_by=("jobQueue", "jobName"),
    tells=lambda request: {"jobs": str(request.get("arrayProperties", {}).get("size", 1))},
    absent=GONE,
)

KINDS = [COMPUTE_ENVIRONMENT, JOB_QUEUE, JOB_DEFINITION, JOB]


# -- What is put right -------------------------------------------------------------------------------------


def environment(batch: Any, wanted: dict[str, Any]) -> Iterator[Step]:
    """UpdateComputeEnvironment, where it is out of use, or INVALID: an update lets Batch look at it anew."""
    shown = describe_environment(batch, wanted["computeEnvironment"])
    if shown is not None and (shown["state"] != wanted["state"] or shown["status"] == "INVALID"):
        yield batch.update_compute_environment, wanted


def queue(batch: Any, wanted: dict[str, Any]) -> Iterator[Step]:
    """UpdateJobQueue, where it is out of use or INVALID."""
    shown = describe_queue(batch, wanted["jobQueue"])
    if shown is not None and (shown["state"] != wanted["state"] or shown.get("status") == "INVALID"):
        yield batch.update_job_queue, wanted


ENSURES = {"batch:UpdateComputeEnvironment": environment, "batch:UpdateJobQueue": queue}


# -- What a reader is told ---------------------------------------------------------------------------------

REASONS = {
    "batch:CreateComputeEnvironment": Reason(
        "Which machines Batch may start, and how many at most (a compute environment).",
        "While no job waits there is none of them; Batch starts and ends them as the jobs need.",
        "Batch が起動してよいマシンの種類と、その上限を決めます（コンピューティング環境）。",
        "ジョブがなければマシンもありません。必要に応じて Batch が起動し、終わらせます。",
    ),
    "batch:CreateJobQueue": Reason(
        "The place where jobs wait for a machine (a job queue).",
        "A hundred jobs can be handed in at once; they run as room comes free.",
        "ジョブがマシンの空きを待つ場所です（ジョブキュー）。",
        "百個のジョブを一度に渡しても、空きができた順に実行されます。",
    ),
    "batch:RegisterJobDefinition": Reason(
        "What a job is: an image, its share of a machine, its role, its log (a job definition).",
        "The jobs of a sweep differ in a few numbers only; all else stands here once.",
        "ジョブとは何かを書いたものです。イメージ、使う資源、ロール、ログを決めます（ジョブ定義）。",
        "スイープのジョブは数個の数値が違うだけなので、残りはここに一度だけ書きます。",
    ),
    "batch:SubmitJob": Reason(
        "A job: a program with its numbers, put into the queue.",
        "Batch runs it when there is a machine for it, and tells how it ended.",
        "ジョブです。プログラムと数値をキューに入れます。",
        "マシンが用意できると Batch が実行し、どう終わったかを知らせます。",
    ),
    "batch:UpdateComputeEnvironment": Reason(
        "It puts the compute environment into use, and lets Batch look at it anew.",
        "Batch calls one INVALID whose role is not known everywhere yet; a later look mends that.",
        "コンピューティング環境を有効にし、Batch にもう一度調べさせます。",
        "ロールがまだ行き渡っていないと INVALID になりますが、後で調べ直せば直ります。",
    ),
    "batch:UpdateJobQueue": Reason(
        "It puts the queue into use.",
        "Somebody may have put it out of use; a second `up` mends that.",
        "キューを有効にします。",
        "誰かが無効にしていても、もう一度 `up` すれば元に戻ります。",
    ),
}
