"""Where the time of a question goes: `ask` on the practice cloud, beside the program run by hand.

    python bench/ask.py [--times 3]

On AWS a task takes half a minute to a minute to start, most of it for the image; the practice cloud shows
what the lab itself adds. Needs PyTorch (`pip install -e '.[ml]'`): the small reader is trained first.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import click

from awslabs import ecs_qa, images, sandbox
from awslabs.cloud import Cloud
from awslabs.ledger import Ledger
from awslabs.workload.ecs_qa import questions


@click.command()
@click.option("--times", type=click.IntRange(1), default=3, show_default=True)
@click.option("--slow-states", type=float, default=0.2, show_default=True, help="Time scale of the states.")
def main(times: int, slow_states: float) -> None:
    """Ask a question several times, and print the median of each part."""
    row = questions.shipped()[0]
    with tempfile.TemporaryDirectory() as home:
        os.environ["AWSLABS_HOME"] = home
        run = sandbox.start(slow_states=slow_states, home=Path(home))
        ledger = Ledger(Cloud(environment=run.environment()), "ecs_qa")
        try:
            ecs_qa.up(ledger, without_docker=True)
            asked, by_hand = [], []
            for _ in range(times):
                asked.append(questions.ask(ledger, row["context"], row["question"]))
                by_hand.append(seconds_by_hand(ecs_qa.small_reader(ledger), row))
        finally:
            ledger.down()
            run.stop()
    total, alone = statistics.median(one.seconds for one in asked), statistics.median(by_hand)
    for name in asked[0].parts:
        print(f"{name:>10} {statistics.median(one.parts[name] for one in asked):6.2f} s")
    print(f"{'ask':>10} {total:6.2f} s")
    print(f"{'by hand':>10} {alone:6.2f} s: `ask` takes {total / alone:.2f} times as long")


def seconds_by_hand(model: Path, row: dict[str, str]) -> float:
    """The program in a process of its own, without any cloud."""
    program = images.folder("qa_bot") / "main.py"
    command = [sys.executable, program, "--model", model, "--no-save", row["context"], row["question"]]
    began = time.monotonic()
    subprocess.run(command, check=True, capture_output=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
    return time.monotonic() - began


if __name__ == "__main__":
    main()
