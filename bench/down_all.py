"""After class: `down --all` over many copies of the first lab in one account, beside a loop over the same.

    python bench/down_all.py --copies 100

On a practice cloud with 20 ms per call; a server shuts down in one second. The copies are built without
waiting for SSH, and one after the other is taken down by the peer: `for ledger in ledgers: ledger.down()`.
"""

from __future__ import annotations

import os
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from unittest import mock

import click

from awslabs import ec2, ledgers, sandbox, tunnel
from awslabs.cloud import Cloud
from awslabs.ledger import Ledger


def build(cloud: Cloud, copies: int) -> None:
    """Build many copies at once; nobody logs in to them here."""
    with mock.patch.object(tunnel, "wait_for_ssh"), ThreadPoolExecutor(16) as pool:
        list(pool.map(lambda number: ec2.up(Ledger(cloud, "ec2", f"s{number}")), range(copies)))


def in_a_loop(cloud: Cloud, copies: int) -> float:
    """Seconds that a loop over the ledgers takes."""
    since = time.monotonic()
    for number in range(copies):
        Ledger(cloud, "ec2", f"s{number}").down()
    return time.monotonic() - since


def all_at_once(cloud: Cloud, copies: int) -> float:
    """Seconds that `python -m awslabs.ledger down --all` takes from its first call on."""
    entries = ledgers.standing([cloud.folder])
    assert len(entries) == copies
    since = time.monotonic()
    results = ledgers.down_all(lambda region: cloud, entries)
    seconds = time.monotonic() - since
    assert [error for _, error in results if error] == []
    return seconds


@click.command()
@click.option("--copies", default=100, show_default=True, help="Copies of the lab.")
def main(copies: int) -> None:
    """Print both times and their ratio."""
    with tempfile.TemporaryDirectory() as name:
        os.environ["AWSLABS_HOME"] = str(Path(name) / "home")
        run = sandbox.start(latency_ms=20, slow_states=0.2)
        try:
            cloud = Cloud(environment=run.environment())
            build(cloud, copies)
            loop = in_a_loop(cloud, copies)
            build(cloud, copies)
            ours = all_at_once(cloud, copies)
        finally:
            run.stop()
    print(f"{copies} copies: a loop {loop:.1f} s, `down --all` {ours:.1f} s: {loop / ours:.1f} times faster")


if __name__ == "__main__":
    main()
