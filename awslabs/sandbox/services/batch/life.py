"""The life of a job.

    SUBMITTED --1 s--> PENDING   while jobs that it depends on have not succeeded; an array's parent as well
                       RUNNABLE  until the scheduler has an instance for it (`fleet`)
                       STARTING  --3 s, and the image is there--> RUNNING --> SUCCEEDED
                       ^---------- another attempt ------------------'   '--> FAILED

The first 1 s and 3 s times `slow_states`; timeouts are the definition's own seconds, as the program takes its
own. Source: AWS Batch user guide, "Job states", "Automated job retries", "Array jobs", "Job dependencies";
aws-facts (g), (j). Status reasons are from public reports of users; where a task does not start AWS says
``Task failed to start`` in some places and the reason itself in others: here it is the reason.
"""

from __future__ import annotations

import fnmatch
import functools
import uuid
from typing import Any

from awslabs.sandbox.core.engine import clock, lock, scaled
from awslabs.sandbox.run.orders import Order
from awslabs.sandbox.services.batch import environments, runner
from awslabs.sandbox.services.batch.records import ENDED, Batch, Host, Job, milliseconds
from awslabs.sandbox.services.iam import identities, permissions

SUBMITTED_S, STARTING_S = 1.0, 3.0
WRITE_S = 0.2  # how long lines wait for others before a log shows them
GRACE_S = 30.0  # between SIGTERM and SIGKILL: the ECS agent's ECS_CONTAINER_STOP_TIMEOUT

GROUP = "/aws/batch/job"
EXITED = "Essential container in task exited"
TIMEOUT = "Job attempt duration exceeded timeout"
DEPENDENT = "Dependent Job failed"
CHILD = "Array Child Job failed"
CANNOT_PULL, CANNOT_START = "CannotPullContainerError", "CannotStartContainerError"
NO_LOG = f"{CANNOT_START}: Error response from daemon: failed to initialize logging driver: "


# --- before it runs -----------------------------------------------------------------------------------


def submit(store: Batch, job: Job) -> None:
    """A new job, with its children if it has any, begins its life."""
    for each in (job, *job.children):
        store.jobs[each.id] = each
        for awaited in each.waits_for:
            store.followers.setdefault(awaited, []).append(each)
        if each.parent is not None:
            each.parent.summary[each.status] += 1
    store.later(scaled(SUBMITTED_S), functools.partial(_look_at_dependencies, store, job))


def _look_at_dependencies(store: Batch, job: Job) -> None:
    """The end of SUBMITTED."""
    if job.status != "SUBMITTED":
        return
    _become(job, "PENDING")
    if job.children:
        for child in list(job.children):
            _look_at_dependencies(store, child)
    else:
        _proceed(store, job)


def _proceed(store: Batch, job: Job) -> None:
    """RUNNABLE when nothing is in the way, or the end of a job that cannot run any more."""
    for awaited in sorted(job.waits_for):
        known = store.jobs.get(awaited)
        if known is None or known.status == "SUCCEEDED":
            job.waits_for.discard(awaited)
        elif known.status == "FAILED":
            _end(store, job, "FAILED", DEPENDENT)
            return
    if job.waits_for:
        return
    if job.cancelled:
        _end(store, job, "FAILED", job.cancelled)
        return
    _wait_for_host(store, job)


def _wait_for_host(store: Batch, job: Job) -> None:
    _become(job, "RUNNABLE")
    job.status_reason, job.stuck_since = "", None
    job.work.queue.runnable[job.id] = job
    store.wake()


def _become(job: Job, status: str) -> None:
    if job.parent is not None:
        job.parent.summary[job.status] -= 1
        job.parent.summary[status] += 1
    job.status = status


# --- an attempt ---------------------------------------------------------------------------------------


def begin(store: Batch, job: Job, host: Host, environment: Any) -> None:
    """Another attempt, on this instance."""
    del job.work.queue.runnable[job.id]
    host.jobs.append(job)
    job.host, job.environment, job.over = host, environment.name, ""
    job.attempt += 1
    job.status_reason = ""
    _become(job, "STARTING")
    task_id = uuid.uuid4().hex
    job.seen = {
        "containerInstanceArn": host.arn,
        "taskArn": f"{environment.cluster_arn.replace(':cluster/', ':task/')}/{task_id}",
        "logStreamName": f"{_log(job)['prefix']}/default/{task_id}",
    }
    store.later(scaled(STARTING_S), functools.partial(_start, store, job, job.attempt))


def _current(store: Batch, job: Job, attempt: int) -> bool:
    """Whether an attempt is the one that goes on."""
    return not store.forgotten and job.attempt == attempt and job.status in ("STARTING", "RUNNING")


def _start(store: Batch, job: Job, attempt: int) -> None:
    """Start the program of an attempt, if roles and log let it."""
    if not _current(store, job, attempt):
        return
    if job.over:
        _finish(store, job, None, "")
        return
    assert job.host is not None  # who lets go of it ends the attempt
    environment = store.environments[job.environment]
    instance_role = environments.instance_role(store, environment)
    container = job.work.container
    helper = container.get("executionRoleArn") or (instance_role.arn if instance_role is not None else "")
    role_arn = container.get("jobRoleArn") or (instance_role.arn if instance_role is not None else "")
    if problem := _cannot_assume(store, container) or _cannot_pull(store, container, helper):
        _finish(store, job, None, problem)
        return
    if problem := _open_log(store, job, helper):
        _finish(store, job, None, problem)
        return
    programs = runner.current  # which `close` takes away at any time
    if programs is None:
        _began(store, job, attempt)
        return
    command = [substitute(part, job.work.parameters) or "" for part in container.get("command", [])]
    order = Order(
        key=job.key,
        account=store.account,
        region=store.region,
        image=container["image"],
        command=command or None,
        environment=variables(job),
        vcpus=job.work.vcpus,
        memory_mib=job.work.memory_mib,
        architecture=environments.architecture_of(job.host.instance.instance_type),
    )
    programs.start(
        runner.Task(order, job.work.gpus, role_arn, job.seen["taskArn"].rpartition("/")[2]),
        runner.Listener(
            functools.partial(_began, store, job, attempt),
            functools.partial(_hear, store, job, attempt),
            functools.partial(_hear_end, store, job, attempt),
        ),
    )


def _began(store: Batch, job: Job, attempt: int) -> None:
    with lock:
        if not _current(store, job, attempt):
            return
        job.started_at, job.stopped_at = milliseconds(), None
        _become(job, "RUNNING")
        if job.work.timeout_s is not None:
            store.later(job.work.timeout_s, functools.partial(_time_out, store, job, attempt))


def _time_out(store: Batch, job: Job, attempt: int) -> None:
    if _current(store, job, attempt):
        stop(store, job, TIMEOUT)


def _hear(store: Batch, job: Job, attempt: int, at: float, text: str) -> None:
    """A line of the program; it is in the log a moment later."""
    if job.attempt != attempt:
        return
    job.lines.append((at, text))
    if not job.writing:
        with lock:
            if not store.forgotten and not job.writing:
                job.writing = True
                store.later(WRITE_S, functools.partial(_write, store, job, job.seen["logStreamName"]))


def _hear_end(store: Batch, job: Job, attempt: int, exit_code: int | None, reason: str) -> None:
    with lock:
        if _current(store, job, attempt):
            _finish(store, job, exit_code, reason)


def stop(store: Batch, job: Job, reason: str, grace_s: float = GRACE_S) -> None:
    """End the program of a job that is STARTING or RUNNING; the job ends with it, for this reason."""
    job.over = job.over or reason
    if runner.current is not None:
        runner.current.stop(job.key, grace_s)
    elif job.status == "RUNNING":
        _finish(store, job, 137, "")


def _finish(store: Batch, job: Job, exit_code: int | None, reason: str) -> None:
    """The end of an attempt: success, failure, or the next one."""
    _write(store, job, job.seen["logStreamName"])
    host, lost = job.host, job.over.startswith("Host EC2")
    if host is not None:
        host.jobs.remove(job)
        host.idle_since = clock.now()
        job.host = None
    status_reason = job.over or (reason if exit_code is None else EXITED)
    if exit_code is not None and not lost:
        job.seen["exitCode"] = exit_code
    if reason:
        job.seen["reason"] = reason
    now = milliseconds()
    attempt = {
        "container": job.seen | {"networkInterfaces": []},
        "stoppedAt": now,
        "statusReason": status_reason,
    }
    if exit_code is not None and job.started_at is not None:
        attempt["startedAt"] = job.started_at
    job.attempts.append(attempt)
    if exit_code == 0 and not job.over:
        _end(store, job, "SUCCEEDED", status_reason)
    elif _again(job, status_reason, reason, exit_code, lost):
        job.started_at = None
        _wait_for_host(store, job)
    else:
        _end(store, job, "FAILED", status_reason)
    store.wake()


def _again(job: Job, status_reason: str, reason: str, exit_code: int | None, lost: bool) -> bool:
    """Whether there is another attempt. Who was terminated or ran out of time gets none."""
    if job.attempt >= job.work.attempts or job.terminated or (job.over and not lost):
        return False
    for rule in job.work.evaluate:
        conditions = (
            (rule.get("onStatusReason"), status_reason),
            (rule.get("onReason"), reason),
            (rule.get("onExitCode"), "" if exit_code is None or lost else str(exit_code)),
        )
        if all(pattern is None or _like(pattern, text) for pattern, text in conditions):
            return rule["action"].upper() == "RETRY"
    return True


def _like(pattern: str, text: str) -> bool:
    """Whether a text is the pattern, or begins with it where that ends with an asterisk."""
    return fnmatch.fnmatchcase(text, pattern.replace("[", "[[]").replace("?", "[?]"))


# --- the end ------------------------------------------------------------------------------------------


def _end(store: Batch, job: Job, status: str, reason: str) -> None:
    """A job has ended; who waited for it goes on, or ends as well."""
    if job.status in ENDED:
        return
    job.work.queue.runnable.pop(job.id, None)
    _become(job, status)
    job.status_reason, job.stopped_at = reason, milliseconds()
    for follower in store.followers.pop(job.id, []):
        if follower.status == "PENDING" and not follower.children:
            _proceed(store, follower)
    parent = job.parent
    if parent is not None and parent.summary["SUCCEEDED"] + parent.summary["FAILED"] == parent.size:
        failed = parent.summary["FAILED"]
        why = parent.terminated or parent.cancelled or (CHILD if failed else "")
        _end(store, parent, "FAILED" if failed else "SUCCEEDED", why)


def cancel(store: Batch, job: Job, reason: str) -> None:
    """CancelJob: what has not started yet ends; a PENDING job, when those that it waits for have ended."""
    if job.status in ENDED:
        return
    if job.children:
        job.cancelled = reason
        for child in job.children:
            cancel(store, child, reason)
    elif job.status in ("SUBMITTED", "RUNNABLE"):
        job.cancelled = reason
        _end(store, job, "FAILED", reason)
    elif job.status == "PENDING":
        job.cancelled = reason
        _proceed(store, job)


def terminate(store: Batch, job: Job, reason: str) -> None:
    """TerminateJob: it ends, whatever it does."""
    if job.status in ENDED:
        return
    job.terminated = reason
    if job.children:
        for child in job.children:
            terminate(store, child, reason)
    elif job.status in ("STARTING", "RUNNING"):
        stop(store, job, reason)
    else:
        _end(store, job, "FAILED", reason)


# --- what a program finds -----------------------------------------------------------------------------


def substitute(part: str, parameters: dict[str, str]) -> str | None:
    """A part of a command, its ``Ref::name`` replaced by a parameter; None: one that nobody gave."""
    return parameters.get(part.removeprefix("Ref::")) if part.startswith("Ref::") else part


def variables(job: Job) -> dict[str, str]:
    """The environment that Batch and the definition give a program.

    Source: AWS Batch user guide, "Job environment variables".
    """
    own = {
        "AWS_BATCH_JOB_ID": job.id,
        "AWS_BATCH_JOB_ATTEMPT": str(job.attempt),
        "AWS_BATCH_JQ_NAME": job.work.queue.name,
        "AWS_BATCH_CE_NAME": job.environment,
    }
    if job.parent is not None:
        own |= {
            "AWS_BATCH_JOB_ARRAY_INDEX": str(job.index),
            "AWS_BATCH_JOB_ARRAY_SIZE": str(job.parent.size),
        }
    given = {each["name"]: each.get("value", "") for each in job.work.container.get("environment", [])}
    return given | own


def _cannot_assume(store: Batch, container: dict[str, Any]) -> str:
    """Why a role of the job cannot be used; empty: it can. Source: aws-facts (b)."""
    for name in ("jobRoleArn", "executionRoleArn"):
        arn = container.get(name)
        who, source = "ecs-tasks.amazonaws.com", store.arn("*", "ecs")
        if arn is not None and not identities.assumable(store.account, arn, who, source_arn=source):
            return (
                f"ECS was unable to assume the role '{arn}' that was provided for this task. Please verify "
                "that the role being passed has the proper trust relationship and permissions and that your "
                "IAM user has permissions to pass this role."
            )
    return ""


def _cannot_pull(store: Batch, container: dict[str, Any], role_arn: str) -> str:
    """Why an image of ECR cannot be pulled with this role; empty: it can, as far as IAM goes."""
    registry, slash, rest = container["image"].partition("/")
    if not slash or not (registry.startswith("127.0.0.1:") or ".dkr.ecr." in registry):
        return ""
    repository = store.arn(f"repository/{rest.partition('@')[0].partition(':')[0]}", "ecr")
    for action, resource in (
        ("ecr:GetAuthorizationToken", "*"),
        ("ecr:BatchGetImage", repository),
        ("ecr:GetDownloadUrlForLayer", repository),
    ):
        if not permissions.allows(store.account, role_arn, action, resource, store.region):
            return (
                f"{CANNOT_PULL}: AccessDeniedException: User: {role_arn} is not authorized to perform: "
                f"{action} on resource: {resource} because no identity-based policy allows it"
            )
    return ""


# --- logs ---------------------------------------------------------------------------------------------


def _log(job: Job) -> dict[str, str]:
    """Where a job's log goes: group, prefix of the stream, and who makes the group."""
    options = job.work.container.get("logConfiguration", {}).get("options", {})
    return {
        "group": options.get("awslogs-group", GROUP),
        "prefix": options.get("awslogs-stream-prefix", job.work.definition.name),
        "create": options.get("awslogs-create-group", "false"),
    }


def _open_log(store: Batch, job: Job, role_arn: str) -> str:
    """Make the stream of an attempt; why that cannot be, or empty. Batch makes its own group by itself."""
    where, stream = _log(job), job.seen["logStreamName"]
    group = where["group"]

    def may_not(action: str, name: str = "") -> str:
        arn = permissions.log_arn(store.account, store.region, group, name)
        if permissions.allows(store.account, role_arn, f"logs:{action}", arn, store.region):
            return ""
        return (
            f"{NO_LOG}failed to create Cloudwatch log stream: AccessDeniedException: User: {role_arn} is not "
            f"authorized to perform: logs:{action} on resource: {arn}"
        )

    if group not in store.logs.groups:
        if group != GROUP and where["create"] != "true":
            return (
                f"{NO_LOG}failed to create Cloudwatch log stream: ResourceNotFoundException: The specified "
                "log group does not exist."
            )
        if group != GROUP and (problem := may_not("CreateLogGroup")):
            return problem
        store.logs.create_log_group(group, {})
    if problem := may_not("CreateLogStream", stream) or may_not("PutLogEvents", stream):
        return problem
    store.logs.create_log_stream(group, stream)
    return ""


def _write(store: Batch, job: Job, stream: str) -> None:
    """Bring the lines of a job to its log. One that somebody has deleted stays away."""
    job.writing = False
    lines, job.lines = job.lines, []
    group = store.logs.groups.get(_log(job)["group"])
    if not lines or group is None or stream not in group.streams:
        return
    events = [{"timestamp": int(1000 * at), "message": text} for at, text in lines]
    store.logs.put_log_events(_log(job)["group"], stream, events)
