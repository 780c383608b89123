"""A 3 x 3 sweep as one array of jobs, and packed into one job, beside nine runs in a row.

    python bench/sweep.py [--epochs 2] [--side 3]

All three train the same cells for real, in the practice cloud, with the digits that ship inside scikit-learn.
Their metrics must be the same. The practice cloud's machines share this computer's cores: an array gains here
what the cores allow, and the time in which machines start once and not nine times; on AWS each has its own
GPU. Packed, PyTorch is loaded once and the pictures are prepared once.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from awslabs import batch_sweep, sandbox
from awslabs.cloud import Cloud
from awslabs.ledger import Ledger
from awslabs.workload.batch_sweep import following, results, sweep
from awslabs.workload.batch_sweep.results import Cell, Series

RATES, MOMENTA = [0.1, 0.01, 0.001], [0.5, 0.1, 0.05]
SLOW_STATES = 0.05  # a machine boots in some seconds
SAME = 1e-3  # by which losses may differ: side by side, sums are taken in another order


def timed(work: Callable[[], None]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    options.add_argument("--epochs", type=int, default=2)
    options.add_argument("--side", type=int, default=3, choices=(1, 2, 3), help="of the grid (3)")
    chosen = options.parse_args()
    cells = sweep.grid(RATES[: chosen.side], MOMENTA[: chosen.side])

    with tempfile.TemporaryDirectory(prefix="awslabs-bench-") as scratch:
        os.environ["AWSLABS_HOME"] = scratch
        run = sandbox.start(slow_states=SLOW_STATES, home=Path(scratch) / "cloud")
        try:
            ledger = Ledger(Cloud(environment=run.environment(region="us-east-1")), "batch_sweep")
            batch_sweep.up(ledger, cpu=True, without_docker=True)
            ways = {"in a row": in_a_row, "one array": one_array, "packed": packed}
            seconds, found = {}, {}
            for patience, (way, work) in enumerate(ways.items(), start=chosen.epochs):
                # As many epochs without progress as there are: none stops early, and each has its folder.
                series = Series("digits", chosen.epochs, patience)
                seconds[way] = timed(lambda work=work, series=series: work(ledger, cells, series))
                found[way] = {cell: results.read(ledger, series, cell) for cell in cells}
                ratio = seconds["in a row"] / seconds[way]
                print(f"{len(cells)} cells {way:<10} {seconds[way]:6.1f} s   {ratio:4.1f} times", flush=True)
        finally:
            run.stop()
    apart = max(
        abs(found[way][cell].val_loss - found["in a row"][cell].val_loss) for way in found for cell in cells
    )
    print(f"validation losses differ by at most {apart:.1e}")
    return 0 if apart < SAME else 1


def in_a_row(ledger: Ledger, cells: list[Cell], series: Series) -> None:
    """What one does without a queue: begin the next when the last has ended."""
    for cell in cells:
        job_id = sweep.submit(ledger, cell, series)
        assert job_id
        following.follow(ledger, [job_id])


def one_array(ledger: Ledger, cells: list[Cell], series: Series) -> None:
    following.follow(ledger, sweep.sweep(ledger, cells, series).job_ids)


def packed(ledger: Ledger, cells: list[Cell], series: Series) -> None:
    following.follow(ledger, sweep.sweep(ledger, cells, series, pack=len(cells)).job_ids)


if __name__ == "__main__":
    sys.exit(main())
