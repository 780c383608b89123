"""The whole course once, in the practice cloud: build, look, do the lab's work, take down, verify."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from awslabs import (
    batch_sweep,
    cli,
    ec2,
    ecs_qa,
    gpu,
    images,
    journal,
    ledger_cli,
    prices,
    serverless,
    tunnel,
)
from awslabs.errors import LabError, install
from awslabs.ledger import Ledger
from awslabs.progress import poll
from awslabs.web import Web
from awslabs.workload import tables
from awslabs.workload.batch_sweep import batch_jobs, following, results, sweep
from awslabs.workload.ecs_qa import questions
from awslabs.workload.serverless import functions, haiku

# Modules that the programs of three labs need, beside the package's own.
LEARNING = ("matplotlib", "sklearn", "torch", "torchvision")
LOOK_S = 30.0  # for a page to answer
LEFT_OUT = "left out"  # how the result of work begins that this computer cannot do


def ec2_look(ledger: Ledger) -> str:
    """Chapter 1: the server as AWS shows it."""
    server = ec2.describe(ledger)
    return f"{server.instance_id} is {server.state}, at {server.public_ip}"


def ec2_work(ledger: Ledger) -> str:
    """Chapter 1: log in to the server, and let it say what it is."""
    with tunnel.connect(ec2.server_address(ledger)) as server:
        answer = tunnel.run(server, ["uname", "-sr"])
    if answer.status != 0:
        raise LabError("The server did not run `uname`.", answer.stderr.strip(), ledger.command("ssh"))
    return f"logged in over SSH; the server says it is {answer.stdout.strip()}"


def gpu_up(ledger: Ledger) -> ec2.Server:
    """Chapter 2; without what its notebooks need on this computer, the practice cloud's server alone."""
    return gpu.up(ledger, without_notebook=bool(missing(ledger)))


def gpu_look(ledger: Ledger) -> str:
    """Chapter 2: log in, and see who is there."""
    with tunnel.connect(gpu.server_address(ledger)) as server:
        answer = tunnel.run(server, "id -un; nvidia-smi --list-gpus || echo it shows no GPU")
    user, seen = answer.stdout.strip().split("\n", 1)
    return f"logged in as {user}: {'; '.join(seen.splitlines())}"


def gpu_work(ledger: Ledger) -> str:
    """Chapter 2: multiply two matrices on the server, and train its network for two epochs."""
    gpu.bench(ledger, size=512)
    trained = gpu.mnist(ledger, epochs=2)
    return f"a matrix product timed; digits read with {trained.val_accuracy:.1%} accuracy after two epochs"


def ecs_qa_up(ledger: Ledger) -> ecs_qa.Reader:
    """Chapter 3; the practice cloud gets the program without an operating system."""
    return ecs_qa.up(ledger, without_docker=not ledger.cloud.is_aws)


def ecs_qa_look(ledger: Ledger) -> str:
    """Chapter 3: the cluster, and the image that its tasks will run."""
    lab = ecs_qa.describe(ledger)
    (cluster,) = ledger.client("ecs").describe_clusters(clusters=[lab.cluster_name])["clusters"]
    return (
        f"the cluster is {cluster['status']}, {cluster['runningTasksCount']} tasks run; "
        f"its image has the tag {lab.image.rpartition(':')[2][:12]}"
    )


def ecs_qa_work(ledger: Ledger) -> str:
    """Chapter 3: the lab's own questions, answered by two tasks."""
    asked = questions.ask_many(ledger, tasks=2)
    if asked.failed:
        raise LabError(
            f"{len(asked.failed)} questions have no answer.", asked.failed[0].why, asked.failed[0].fix
        )
    first = asked.answers[0]
    return f"{len(asked.answers)} questions answered by {asked.tasks} tasks: {first.question} {first.answer}."


def batch_sweep_up(ledger: Ledger) -> batch_sweep.Batch:
    """Chapter 4; the practice cloud gets the program without an operating system."""
    return batch_sweep.up(ledger, without_docker=not ledger.cloud.is_aws)


def batch_sweep_look(ledger: Ledger) -> str:
    """Chapter 4: the queue, and the machines behind it: none while there is no work."""
    lab = batch_sweep.describe(ledger)
    (queue,) = ledger.client("batch").describe_job_queues(jobQueues=[lab.job_queue])["jobQueues"]
    machines = len(batch_jobs.machines(ledger))
    return f"the queue is {queue['status']} and {queue['state']}; {machines} machines stand behind it"


def batch_sweep_work(ledger: Ledger) -> str:
    """Chapter 4: a grid of two by two, trained for three epochs on machines that come and go."""
    series = sweep.series_of(ledger, epochs=3)
    swept = sweep.sweep(ledger, sweep.grid([0.1, 0.01], [0.9, 0.5]), series)
    following.follow(ledger, swept.job_ids)
    found = results.results(ledger, series)
    best = found.best
    return (
        f"{len(found.cells)} cells trained; best: lr {best.lr:g}, momentum {best.momentum:g}, "
        f"{best.accuracy:.1%} accuracy"
    )


def serverless_look(ledger: Ledger) -> str:
    """Chapter 5: Bashoutter's page, as a browser gets it."""
    url = serverless.describe(ledger).site_url
    page = Web(url, timeout_s=LOOK_S).send("GET", url).content
    if b"<title>Bashoutter</title>" not in page:
        raise LabError("The site shows another page than Bashoutter's.", "", ledger.command("status"))
    return f"Bashoutter's page is there, {len(page)} bytes"


def serverless_work(ledger: Ledger) -> str:
    """Chapter 5: many functions at once, a table filled, and a haiku posted, liked and read again."""
    ran = functions.invoke_many(ledger, 20)
    written = tables.write(ledger, 500)
    api = haiku.Api(serverless.describe(ledger).api_url)
    posted = haiku.post(
        api, "tour", "An old silent pond", "A frog jumps into the pond", "Splash! Silence again."
    )
    haiku.like(api, posted["item_id"])
    liked = {**posted, "likes": 1}
    # An index follows its table a moment later: the list may not show yet what was just written.
    poll("the liked haiku is listed", lambda: liked in haiku.newest(api), timeout_s=60)
    if ran.finished != 20:
        raise LabError(f"{ran.finished} of 20 functions ran.")
    return f"20 functions ran, {ran.most_at_once} at once; {written.count} people in a table; a haiku liked"


@dataclass(frozen=True)
class Chapter:
    """How one lab is run from end to end.

    Attributes
    ----------
    builds : str
        What it builds, in a few words.
    up, look, work, down : callable
        Its verbs; each takes the ledger. `look` asks the cloud what stands, `work` does what the lab is for;
        both say in a line what came of it.
    usd_per_hour : float or None
        What it costs in us-east-1 while it stands, for who runs it on a real account; None where the price
        table does not know it.
    needs : tuple of str
        Modules that its work needs on this computer when it runs in the practice cloud.
    """

    builds: str
    up: Callable[[Ledger], object]
    look: Callable[[Ledger], str]
    work: Callable[[Ledger], str]
    down: Callable[[Ledger], None]
    usd_per_hour: float | None
    needs: tuple[str, ...] = ()


CHAPTERS = {
    "ec2": Chapter(
        "a network, a firewall, a key and one server",
        ec2.up,
        ec2_look,
        ec2_work,
        ec2.down,
        ec2.usd_per_hour("t3.micro", "us-east-1"),
    ),
    "gpu": Chapter(
        "a GPU server",
        gpu_up,
        gpu_look,
        gpu_work,
        gpu.down,
        gpu.usd_per_hour(gpu.INSTANCE_TYPE, "us-east-1"),
        ("jupyterlab", "nbclient", *LEARNING),
    ),
    "ecs_qa": Chapter(
        "an image, a cluster and a table",
        ecs_qa_up,
        ecs_qa_look,
        ecs_qa_work,
        ecs_qa.down,
        2 * prices.fargate_hour(ecs_qa.VCPUS, ecs_qa.MEMORY_GB, "us-east-1"),
        questions.READER_NEEDS,
    ),
    "batch_sweep": Chapter(
        "an image, a queue and its compute environment",
        batch_sweep_up,
        batch_sweep_look,
        batch_sweep_work,
        batch_sweep.down,
        journal.total(4 * [batch_sweep.usd_per_machine_hour(False, False, "us-east-1")]),
        LEARNING,
    ),
    "serverless": Chapter(
        "functions, tables, files and Bashoutter",
        serverless.up,
        serverless_look,
        serverless_work,
        serverless.down,
        0.0,
    ),
}


def missing(ledger: Ledger) -> list[str]:
    """What the work of a lab needs and this computer lacks; on AWS it is there, in images."""
    return [] if ledger.cloud.is_aws else images.lacking(CHAPTERS[ledger.lab].needs)


def tour() -> list[dict[str, Any]]:
    """Run every chapter in the practice cloud, and return one line per step with its seconds.

    A copy of the lab named ``tour`` is used, so that your own copies stay as they are. Work that cannot be
    done on this computer is named, with the command that changes it. A practice cloud that is started for
    the tour ends with it.

    Raises
    ------
    LabError
        When a step fails, or something of the tour still stands at its end.
    """
    lines = []
    with cli.practice_cloud():
        for lab in CHAPTERS:
            lines += run(cli.open_ledger(lab, name="tour", sandbox=True))
    sum_up(lines)
    return lines


def sum_up(lines: list[dict[str, Any]]) -> None:
    """A line for each lab, since the log has carried the others away, and what was left out."""
    seconds = sum(line["seconds"] for line in lines)
    cli.say(f"\nThe tour is over: {len(CHAPTERS)} labs, {len(lines)} steps, {seconds:.0f} s.")
    left_out = [line for line in lines if line["result"].startswith(LEFT_OUT)]
    for lab in CHAPTERS:
        steps = [
            f"{line['step']} {LEFT_OUT if line in left_out else str(line['seconds']) + ' s'}"
            for line in lines
            if line["lab"] == lab
        ]
        cli.say_beside(f"{lab:<12} ", ", ".join(steps))
    if left_out:
        cli.say("Work that was left out needs PyTorch (6 GB). With this the tour does it:")
        cli.say(install("sandbox,ml,notebook"))


def run(ledger: Ledger) -> list[dict[str, Any]]:
    """Build, look, work, take down, verify: one line each, said as it is done."""
    chapter = CHAPTERS[ledger.lab]
    ledger.down()  # what an interrupted run may have left

    def build() -> str:
        chapter.up(ledger)
        return f"{chapter.builds} ({len(ledger.resources)} resources)"

    def work() -> str:
        if lacking := missing(ledger):
            return f"{LEFT_OUT}: it needs {', '.join(lacking)}"
        return chapter.work(ledger)

    def delete() -> str:
        chapter.down(ledger)
        return "everything deleted"

    steps = {
        "up": build,
        "look": lambda: chapter.look(ledger),
        "work": work,
        "down": delete,
        "verify": lambda: verify(ledger),
    }
    lines: list[dict[str, Any]] = []
    for step, act in steps.items():
        since = time.monotonic()
        result = act()
        lines.append(
            {"lab": ledger.lab, "step": step, "seconds": round(time.monotonic() - since, 1), "result": result}
        )
        cli.say_beside(f"{ledger.lab:<12} {step:<7} {lines[-1]['seconds']:>5} s  ", result)
    return lines


def verify(ledger: Ledger) -> str:
    """Ask the cloud, not the ledger, whether anything of this ledger still stands."""
    left = [one for one in ledger_cli.everything_ours(ledger.cloud) if one.ledger == ledger.prefix]
    if left:
        things = ", ".join(one.found.id for one in left)
        raise LabError(f"Of {ledger.lab} there is still {things}.", "", ledger.command("down"))
    return "nothing of it is left in the cloud"
