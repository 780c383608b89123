"""What nobody can know without AWS: five questions, each asked by the labs that it is about.

    console       how long after RunInstances the console shows the host keys                 ec2, gpu
    training      which Deep Learning AMI it is, and whether its GPU plays a recorded step    gpu
    first_hour    when Batch's machine is launched and registered, when the first job begins  batch_sweep
    job_logs      whether the lines of what ran can be read, and how soon                     batch_sweep
    task_logs     the same of tasks                                                           ecs_qa
    of_down       how `down` goes while machines run, and what AWS refuses meanwhile          all

No answer is an answer, too: a question that AWS refuses says so, and the check goes on.
"""

from __future__ import annotations

import base64
import contextlib
import threading
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

from awslabs import tunnel
from awslabs.cloud import Cloud
from awslabs.errors import LabError
from awslabs.explain import boto3_errors
from awslabs.kinds.ec2 import instances, of_ledger
from awslabs.ledger import Ledger
from awslabs.progress import awaiting
from awslabs.tour import missing
from awslabs.workload.batch_sweep import batch_jobs
from awslabs.workload.ecs_qa import questions
from awslabs.workload.gpu import notebook

LOG_S = 120.0  # seconds for the last lines of a job to arrive
CONSOLE = "How long after RunInstances does the console show the host keys?"
TRAINING = "Which Deep Learning AMI is it, and does a recorded step train on its GPU?"
FIRST_HOUR = "When is Batch's first machine launched and registered, and when does the first job begin?"
JOB_LOGS = "Can the lines of each job be read, and how soon after its end?"
DOWN = "How does `down` go while machines run?"


class Witness:
    """Sees the calls of one check and their answers, and keeps what the questions need.

    Parameters
    ----------
    cloud : Cloud
        Whose calls; botocore tells of each.
    """

    def __init__(self, cloud: Cloud) -> None:
        self.mutex = threading.Lock()
        self.first: dict[str, float] = {}  # operation: when it was first answered well
        self.console_text_at = self.console_keys_at = 0.0
        self.console_asked = 0
        self.image_names: dict[str, str] = {}  # AMI: its name
        self.used: list[str] = []  # AMIs of servers, addresses of containers
        self.refused: Counter[str] = Counter()
        self.machines = ""
        cloud.listen("provide-client-params", self._asked)
        cloud.listen("after-call", self._answered)

    def _asked(self, params: dict[str, Any], context: dict[str, Any], **_: Any) -> None:
        context["awslabs-asked"] = params

    def _answered(
        self, model: Any, parsed: dict[str, Any], context: dict[str, Any], http_response: Any, **_: Any
    ) -> None:
        call, asked = f"{model.service_model.service_name}:{model.name}", context.get("awslabs-asked") or {}
        now = time.monotonic()
        with self.mutex:
            if http_response.status_code >= 300:
                self.refused[f"{model.name} {parsed.get('Error', {}).get('Code', '?')}"] += 1
                return
            self.first.setdefault(call, now)
            if call == "ec2:GetConsoleOutput":
                self._console(str(parsed.get("Output", "")), now)
            elif call == "ec2:DescribeImages":
                self.image_names |= {one["ImageId"]: one.get("Name", "") for one in parsed.get("Images", [])}
            elif call == "ec2:RunInstances":
                self.used.append(asked.get("ImageId", ""))
            elif call == "ecs:RegisterTaskDefinition":
                self.used += [one["image"] for one in asked["containerDefinitions"]]
            elif call == "batch:RegisterJobDefinition":
                self.used.append(asked["containerProperties"]["image"])

    def _console(self, text: str, now: float) -> None:
        self.console_asked += not self.console_keys_at
        with contextlib.suppress(ValueError):  # botocore has decoded it already
            text = base64.b64decode(text, validate=True).decode(errors="replace")
        if text and not self.console_text_at:
            self.console_text_at = now
        if not self.console_keys_at and tunnel.fingerprints(text):
            self.console_keys_at = now

    def images(self) -> list[str]:
        """The images that servers and containers were started from, by name."""
        with self.mutex:
            named = [self.image_names.get(one, one).rpartition("/")[2] for one in self.used]
        return list(dict.fromkeys(named))

    def going_down(self, ledger: Ledger) -> None:
        """Remember what runs as `down` begins; what is refused from now on, it has to wait for."""
        self.machines = machines_of(ledger)
        with self.mutex:
            self.refused.clear()

    def of_down(self, seconds: float) -> dict[str, str]:
        """The answer to the last question."""
        with self.mutex:
            refused = ", ".join(f"{many} times {what}" for what, many in sorted(self.refused.items()))
        return {
            DOWN: f"{self.machines}; it took {seconds:.0f} s; AWS refused {refused or 'nothing'} meanwhile"
        }


def answers(ledger: Ledger, lab: str, witness: Witness) -> dict[str, str]:
    """The lab's questions, and what AWS says to each."""
    questions: dict[str, tuple[tuple[str, Callable[[Ledger, Witness], str]], ...]] = {
        "ec2": ((CONSOLE, console),),
        "gpu": ((CONSOLE, console), (TRAINING, training)),
        "ecs_qa": ((JOB_LOGS, task_logs),),
        "batch_sweep": ((FIRST_HOUR, first_hour), (JOB_LOGS, job_logs)),
    }
    return {question: answered(ask, ledger, witness) for question, ask in questions.get(lab, ())}


def answered(ask: Callable[[Ledger, Witness], str], ledger: Ledger, witness: Witness) -> str:
    """The answer, or why there is none: of no question a check fails."""
    try:
        return ask(ledger, witness)
    except (*boto3_errors(), LabError) as error:
        said = error.what if isinstance(error, LabError) else str(error)
        return f"not known: {said}"
    except (LookupError, TypeError, ValueError) as error:  # AWS left out what it was asked for
        return f"not known: the answer lacks something ({type(error).__name__}: {error})"


def machines_of(ledger: Ledger) -> str:
    """The lab's machines that run now, in words. AWS calls: ``ec2:DescribeInstances``."""

    def ask(ledger: Ledger, _: Any) -> str:
        found = Counter(one.instance_type for one in batch_jobs.machines(ledger))
        return (
            ", ".join(f"{many} {kind}" for kind, many in sorted(found.items())) + " ran"
            if found
            else "none ran"
        )

    return answered(ask, ledger, None)  # type: ignore[arg-type]


# -- The questions -----------------------------------------------------------------------------------------


def console(ledger: Ledger, witness: Witness) -> str:
    """How long the console lets one wait."""
    began = witness.first.get("ec2:RunInstances")
    if began is None or not witness.console_asked:
        return "it was not asked: the key was known"
    if not witness.console_keys_at:
        return f"not within {time.monotonic() - began:.0f} s, {witness.console_asked} times asked"
    return (
        f"its first lines after {witness.console_text_at - began:.0f} s, the keys after "
        f"{witness.console_keys_at - began:.0f} s, {witness.console_asked} times asked"
    )


def training(ledger: Ledger, witness: Witness) -> str:
    """The image, the GPU, and one short training with recorded steps beside one without."""
    image = next(iter(witness.images()), "none")
    if missing(ledger):
        return f"{image}; nothing was trained"
    recorded = notebook.mnist(ledger, epochs=2)
    if recorded.device == "cpu":
        return f"{image}; there is no GPU, so no step is recorded"
    asked = notebook.mnist(ledger, epochs=2, graph=False)
    return (
        f"{image} on {recorded.device}: two epochs in {recorded.seconds:.1f} s with a recorded step, "
        f"{asked.seconds:.1f} s without"
    )


def first_hour(ledger: Ledger, witness: Witness) -> str:
    """From the first job's submission on, seconds until its machine was there and it ran.

    AWS calls: ``batch:ListJobs``, ``DescribeJobs``, ``DescribeComputeEnvironments``,
    ``ec2:DescribeInstances``, ``ecs:ListContainerInstances``, ``DescribeContainerInstances``.
    """
    jobs = children(ledger)
    submitted = min(job["createdAt"] for job in jobs) / 1000
    moments = {
        "the first job began": min((job["startedAt"] for job in jobs if "startedAt" in job), default=0)
        / 1000,
        "the last one ended": max((job.get("stoppedAt", 0) for job in jobs), default=0) / 1000,
    }
    shown = instances(ledger.client("ec2"), of_ledger(ledger.prefix))
    launched = [one["LaunchTime"].timestamp() for one in shown]
    moments["a machine was launched"] = min(launched, default=0.0)
    cluster, ecs = batch_jobs.require_environment(ledger)["ecsClusterArn"], ledger.client("ecs")
    arns = ecs.list_container_instances(cluster=cluster)["containerInstanceArns"]
    if arns:
        found = ecs.describe_container_instances(cluster=cluster, containerInstances=arns)[
            "containerInstances"
        ]
        moments["it was registered"] = min(one["registeredAt"].timestamp() for one in found)
    said = [
        f"{what} after {at - submitted:.0f} s"
        for what, at in sorted(moments.items(), key=lambda one: one[1])
        if at
    ]
    unseen = [f"when {what} is not shown" for what, at in moments.items() if not at]
    unseen += [] if arns else ["the cluster shows no registration"]
    return f"{len(jobs)} jobs: " + ", ".join([*said, *unseen])


def job_logs(ledger: Ledger, witness: Witness) -> str:
    """Lines of each job of the sweep."""
    jobs = children(ledger)
    return lines_in_words([lambda job=job: list(batch_jobs.job_log(ledger, job)) for job in jobs])  # type: ignore[misc]


def task_logs(ledger: Ledger, witness: Witness) -> str:
    """Lines of the task that began last."""
    return lines_in_words([lambda: questions.logs(ledger)])


def children(ledger: Ledger) -> list[dict[str, Any]]:
    """All jobs of the lab as Batch describes them, those of arrays one by one."""
    ids = []
    for job in batch_jobs.described(ledger, [one["jobId"] for one in batch_jobs.listed(ledger)]):
        size = job.get("arrayProperties", {}).get("size")
        ids += [f"{job['jobId']}:{index}" for index in range(size)] if size else [job["jobId"]]
    return batch_jobs.described(ledger, ids)


def lines_in_words(logs: list[Callable[[], list[str]]]) -> str:
    """How many of these have lines, and how soon they all have."""
    began = time.monotonic()
    with awaiting("the lines of what ran can be read"):
        while True:
            counts = [len(read()) for read in logs]
            spent = time.monotonic() - began
            if all(counts) or spent > LOG_S:
                break
            time.sleep(2.0)
    having = f"{sum(map(bool, counts))} of {len(counts)} have lines"
    return f"{having}, {sum(counts)} in all, {spent:.0f} s after the work"
