"""The whole course once, in the practice cloud: build, do the lab's work, take down, verify."""

from __future__ import annotations

import importlib.util
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from awslabs import after_class, batch_sweep, cli, ec2, ecs_qa, gpu, prices, serverless, tunnel
from awslabs.errors import LabError, install
from awslabs.ledger import Ledger
from awslabs.workload import batch_jobs, functions, haiku, questions, results, sweep, tables

LEARNING = ("matplotlib", "sklearn", "torch", "torchvision")  # what the programs of three labs need


def ec2_work(ledger: Ledger) -> str:
    """Chapter 1: log in to the server, and let it say what it is."""
    with tunnel.connect(ec2.door(ledger)) as server:
        answer = tunnel.run(server, ["uname", "-sr"])
    if answer.status != 0:
        raise LabError("The server did not run `uname`.", answer.stderr.strip(), ledger.command("ssh"))
    return f"logged in over SSH; the server says it is {answer.stdout.strip()}"


def gpu_work(ledger: Ledger) -> str:
    """Chapter 2: multiply two matrices on the server, and train its network for two epochs."""
    gpu.bench(ledger, size=512)
    trained = gpu.mnist(ledger, epochs=2)
    return f"a matrix product timed; digits read with {trained.val_accuracy:.1%} accuracy after two epochs"


def ecs_qa_up(ledger: Ledger) -> ecs_qa.Reader:
    """Chapter 3; the practice cloud gets the program without an operating system."""
    return ecs_qa.up(ledger, without_docker=not ledger.cloud.is_aws)


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


def batch_sweep_work(ledger: Ledger) -> str:
    """Chapter 4: a grid of two by two, trained for three epochs on machines that come and go."""
    series = sweep.series_of(ledger, epochs=3)
    swept = sweep.sweep(ledger, sweep.grid([0.1, 0.01], [0.9, 0.5]), series)
    batch_jobs.follow(ledger, swept.job_ids)
    found = results.results(ledger, series)
    best = found.best
    return (
        f"{len(found.cells)} cells trained; best: lr {best.lr:g}, momentum {best.momentum:g}, "
        f"{best.accuracy:.1%} accuracy"
    )


def serverless_work(ledger: Ledger) -> str:
    """Chapter 5: many functions at once, a table filled, and a haiku posted, liked and read again."""
    ran = functions.invoke_many(ledger, 20)
    written = tables.write(ledger, 500)
    api = haiku.Api(serverless.describe(ledger).api_url)
    posted = haiku.post(
        api, "tour", "An old silent pond", "A frog jumps into the pond", "Splash! Silence again."
    )
    haiku.like(api, posted["item_id"])
    likes = [one["likes"] for one in haiku.newest(api) if one["item_id"] == posted["item_id"]]
    if ran.finished != 20 or likes != [1]:
        raise LabError(f"{ran.finished} of 20 functions ran, and the haiku's likes are {likes}.")
    return f"20 functions ran, {ran.most_at_once} at once; {written.count} people in a table; a haiku liked"


@dataclass(frozen=True)
class Chapter:
    """How one lab is run from end to end.

    Attributes
    ----------
    builds : str
        What it builds, in a few words.
    up, work, down : callable
        Its verbs; each takes the ledger. `work` does what the lab is for, and says in a line what came of it.
    usd_per_hour : float
        What it costs in us-east-1 while it stands, for who runs it on a real account.
    needs : tuple of str
        Modules that its work needs on this computer when it runs in the practice cloud.
    """

    builds: str
    up: Callable[[Ledger], object]
    work: Callable[[Ledger], str]
    down: Callable[[Ledger], None]
    usd_per_hour: float
    needs: tuple[str, ...] = ()

    @property
    def missing(self) -> list[str]:
        """Those of them that are not installed."""
        return [name for name in self.needs if importlib.util.find_spec(name) is None]


CHAPTERS = {
    "ec2": Chapter(
        "a network, a firewall, a key and one server",
        ec2.up,
        ec2_work,
        ec2.down,
        ec2.usd_per_hour("t3.micro", "us-east-1") or 0.0,
    ),
    "gpu": Chapter(
        "a GPU server with a notebook",
        gpu.up,
        gpu_work,
        gpu.down,
        gpu.usd_per_hour(gpu.INSTANCE_TYPE, "us-east-1") or 0.0,
        ("jupyterlab", "nbclient", *LEARNING),
    ),
    "ecs_qa": Chapter(
        "an image, a cluster and a table",
        ecs_qa_up,
        ecs_qa_work,
        ecs_qa.down,
        2 * prices.fargate_hour(ecs_qa.VCPUS, ecs_qa.MEMORY_GB, "us-east-1"),
        ("torch", "transformers"),
    ),
    "batch_sweep": Chapter(
        "an image, a queue and its compute environment",
        batch_sweep_up,
        batch_sweep_work,
        batch_sweep.down,
        4 * (batch_sweep.usd_per_machine_hour(batch_sweep.GPU, False, "us-east-1") or 0.0),
        LEARNING,
    ),
    "serverless": Chapter(
        "functions, tables, files and Bashoutter", serverless.up, serverless_work, serverless.down, 0.0
    ),
}


def tour() -> list[dict[str, Any]]:
    """Run every chapter in the practice cloud, and return one line per step with its seconds.

    A copy of the lab named ``tour`` is used, so that your own copies stay as they are. A chapter whose
    programs cannot run on this computer is left out, and said so with the command that changes it.

    Raises
    ------
    LabError
        When a step fails, or something of the tour still stands at its end.
    """
    lines = []
    for lab, chapter in CHAPTERS.items():
        if missing := chapter.missing:
            cli.say(
                f"{lab:<12} left out: it needs {', '.join(missing)}:  "
                f"{install('sandbox,ml,notebook')}    # 6 GB"
            )
        else:
            lines += run(cli.open_ledger(lab, name="tour", sandbox=True))
    return lines


def run(ledger: Ledger) -> list[dict[str, Any]]:
    """Build, work, take down, verify: one line each, said as it is done."""
    chapter = CHAPTERS[ledger.lab]
    ledger.down()  # what an interrupted run may have left

    def build() -> str:
        chapter.up(ledger)
        return f"{chapter.builds} ({len(ledger.resources)} resources)"

    def delete() -> str:
        chapter.down(ledger)
        return "everything deleted"

    steps = {
        "up": build,
        "work": lambda: chapter.work(ledger),
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
        cli.say(f"{ledger.lab:<12} {step:<7} {lines[-1]['seconds']:>5} s  {result}")
    return lines


def verify(ledger: Ledger) -> str:
    """Ask the cloud, not the ledger, whether anything of this ledger still stands."""
    left = [one for one in after_class.everything_ours(ledger.cloud) if one.ledger == ledger.prefix]
    if left:
        things = ", ".join(one.found.id for one in left)
        raise LabError(f"Of {ledger.lab} there is still {things}.", "", ledger.command("down"))
    return "nothing of it is left in the cloud"
