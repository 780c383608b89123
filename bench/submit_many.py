"""1000 cells submitted as one array, beside a plain loop of SubmitJob.

    python bench/submit_many.py [1000]

Both submit to the practice cloud, whose answers take 50 ms. The loop sends a tenth of the jobs, since its
rate does not depend on their number. The array's time holds all that `sweep` asks before: which cells have
results, which are under way, whether the image and the compute environment are there. No job comes to run:
there is no machine to be had.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from pathlib import Path
from unittest import mock

from awslabs import batch_sweep, images, sandbox
from awslabs.cloud import Cloud
from awslabs.ledger import Ledger
from awslabs.workload.batch_sweep import batch_jobs, sweep
from awslabs.workload.batch_sweep.results import Cell, Series

LATENCY_MS = 50


def main() -> None:
    many = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
    cells = [Cell(0.0001 * (1 + number // 100), 0.01 * (number % 100) / 1.1) for number in range(many)]
    cells = [Cell(round(cell.lr, 4), round(cell.momentum, 4)) for cell in cells]
    with tempfile.TemporaryDirectory(prefix="awslabs-bench-") as scratch:
        os.environ["AWSLABS_HOME"] = scratch
        program = Path(scratch) / "program"
        program.mkdir()
        (program / "main.py").write_text("print('never runs')\n")
        run = sandbox.start(
            slow_states=0,
            faults=["ec2:RunInstances=InsufficientInstanceCapacity"],
            home=Path(scratch) / "cloud",
        )
        try:
            ledger = Ledger(Cloud(environment=run.environment(region="us-east-1")), "batch_sweep")
            with mock.patch.object(images, "folder", return_value=program):
                batch_sweep.up(ledger, cpu=True, without_docker=True)
            run.weather(latency_ms=LATENCY_MS)

            few = max(many // 10, 10)
            batch = ledger.cloud.client("batch")
            queue, definition = ledger.resources["job-queue"], batch_jobs.definition_arn(ledger)
            began = time.perf_counter()
            for number in range(few):
                batch.submit_job(jobName=f"cell-{number}", jobQueue=queue, jobDefinition=definition)
            per_cell = (time.perf_counter() - began) / few

            began = time.perf_counter()
            begun = sweep.sweep(ledger, cells, Series("digits", 10, 5))
            seconds = time.perf_counter() - began
            assert (begun.cells, begun.jobs, len(begun.job_ids)) == (many, many, 1)
        finally:
            run.stop()
    print(f"loop of SubmitJob  {many} cells in {per_cell * many:6.2f} s, at {1000 * per_cell:.0f} ms each")
    print(f"one array          {many} cells in {seconds:6.2f} s, {per_cell * many / seconds:.0f} times")


if __name__ == "__main__":
    main()
