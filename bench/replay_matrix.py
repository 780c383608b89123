"""Which strict rules of the practice cloud a recording of a lab would notice, were they not there.

    python bench/replay_matrix.py --lab ec2          all that the lab meets, one after the other

Records up and down of the lab in this process, on a clock that jumps, plays it without each rule in turn,
and prints what is noticed first. Exit status 0 if nine of ten are noticed; `tests/harness/tapes.py` tells
what a lab meets.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from harness import tapes  # noqa: E402

from awslabs.labs import LABS  # noqa: E402

WANTED = 0.9


def main() -> int:
    """Record, play, and say."""
    options = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    options.add_argument("--lab", choices=list(LABS), default="ec2")
    lab = options.parse_args().lab
    with tempfile.TemporaryDirectory(prefix="awslabs-replay-") as scratch:
        os.environ["AWSLABS_HOME"] = os.environ["HOME"] = scratch
        os.environ["AWS_EC2_METADATA_DISABLED"] = "true"
        path, began = Path(scratch) / f"{lab}.jsonl", time.monotonic()
        tapes.record(lab, path)
        rules = tapes.met(path)
        outcomes = tapes.matrix(path, rules, lambda line: print(line, flush=True))
    share, many = tapes.noticed(outcomes), sum(bool(one.differences) for one in outcomes.values())
    print(f"{lab}: {many} of {len(rules)} rules noticed ({share:.0%}), {time.monotonic() - began:.0f} s")
    return 0 if share >= WANTED else 1


if __name__ == "__main__":
    sys.exit(main())
