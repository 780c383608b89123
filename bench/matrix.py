"""The full kill matrix of a lab: every fault, at every call, with every way to go on.

    python bench/matrix.py --lab ec2 [--jobs 12] [--only "CreateVpc of up"] [--switch]

Prints each case that fails, with what explains it, and at the end: cases, leaks, duplicates, seconds.
Exit status 0 if every case was good. `tests/harness/` says how a case goes.

With ``--switch`` nobody ever comes back: a kill during and after each call of `up` and of the work, and
then the dead-man's switch alone (`tests/harness/switch.py`). Figures: how many laptops died, before and
after there was a switch, and when what costs was told to end.
"""

from __future__ import annotations

import argparse
import signal
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from harness import EVERY_LAB, Case, Matrix, Recording, Verdict, full, report, switch  # noqa: E402

from awslabs import sandbox  # noqa: E402


def main() -> int:
    """Run the matrix as the command line says."""
    options = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    options.add_argument("--lab", choices=EVERY_LAB, default="ec2")
    options.add_argument(
        "--jobs", type=int, default=12, help="cases at a time; they mostly wait (default: 12)"
    )
    options.add_argument("--only", metavar="TEXT", default="", help="cases whose name holds this text")
    options.add_argument("--switch", action="store_true", help="nobody comes back: the switch alone")
    chosen = options.parse_args()

    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # end what runs, as on Ctrl-C
    if chosen.switch:
        return abandoned(chosen.lab, min(chosen.jobs, 6), chosen.only)
    done = 0

    def show(verdict: Verdict) -> None:
        nonlocal done
        done += 1
        if not verdict.good:
            print(verdict, flush=True)
        elif done % 50 == 0:
            print(f"{done} cases done", flush=True)

    with tempfile.TemporaryDirectory(prefix="awslabs-matrix-") as scratch:
        run = sandbox.start(slow_states=0.1, lag_ms=200, home=Path(scratch) / "cloud")
        try:
            with Matrix(run, Path(scratch) / "cases", chosen.jobs, show) as matrix:
                recording = matrix.record(EVERY_LAB[chosen.lab])
                began = time.monotonic()
                cases = [case for case in full(recording) if chosen.only in str(case)]
                verdicts = matrix.run(cases, recording)
                print(report(verdicts, time.monotonic() - began))
        finally:
            run.stop()
    return 0 if verdicts and all(verdict.good for verdict in verdicts) else 1


def abandoned(lab: str, jobs: int, only: str) -> int:
    """Laptops that never come back, at every call."""
    began = time.monotonic()

    def chosen(recording: Recording) -> list[Case]:
        return [case for case in switch.every(recording) if only in str(case)]

    with tempfile.TemporaryDirectory(prefix="awslabs-switch-") as scratch:
        figures = switch.prove(
            [EVERY_LAB[lab]], Path(scratch), chosen, lambda text: print(text, flush=True), jobs=jobs
        )[lab]
    print(f"switch: {lab}: {figures}, {time.monotonic() - began:.0f} s")
    return 1 if figures.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
