"""How much slower `up` is with the dead-man's switch: PYTHONPATH=. python bench/switch.py [--runs N].

The ec2 lab in the practice cloud at AWS's pace (``slow_states`` 1: a role takes 8 s to be known, a server
5 s to boot) and 100 ms per call, with the switch and without; the median of each.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from pathlib import Path
from unittest import mock

from awslabs import ec2, sandbox
from awslabs.cloud import Cloud
from awslabs.ledger import Ledger
from awslabs.switch import Switch


def seconds(run: sandbox.Run, account: str, switched: bool) -> float:
    """One `up` in an account of its own, until the server runs; then `down`."""
    os.environ.update(run.environment(account))
    ledger = Ledger(Cloud(), "ec2")
    if switched:
        Switch(ledger)
        ledger.limit(ttl_minutes=24 * 60)
    began = time.monotonic()
    with mock.patch("awslabs.tunnel.wait_for_ssh"):
        ec2.up(ledger)
    took = time.monotonic() - began
    ledger.down()
    return took


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--runs", type=int, default=5)
    runs = options.parse_args().runs
    with tempfile.TemporaryDirectory() as scratch:
        os.environ["AWSLABS_HOME"] = scratch
        run = sandbox.start(slow_states=1, latency_ms=100, home=Path(scratch))
        try:
            seconds(run, "100000000000", True)  # the first one loads the services
            with_it = [seconds(run, f"2{number:011d}", True) for number in range(runs)]
            without = [seconds(run, f"3{number:011d}", False) for number in range(runs)]
        finally:
            run.stop()
    one, other = statistics.median(with_it), statistics.median(without)
    print(f"up with the switch {one:.1f} s, without {other:.1f} s: {one - other:+.1f} s")


if __name__ == "__main__":
    main()
