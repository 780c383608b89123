"""Cells side by side in one process (`--pack 9`) beside one process for each of them, on the same device.

    python bench/pack.py                       9 cells, 2 epochs of scikit-learn's digits
    python bench/pack.py --data data --epochs 10
    python bench/pack.py --stack               on a GPU: a layer of all cells in one call

Both must write the same CSVs; the largest difference is printed (a GPU adds floating-point noise).
What is gained: torch is loaded once, and the images are prepared once. Training itself takes as long, unless
--stack gains something on a GPU that one cell does not fill: not measured yet.
"""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import click

PROGRAM = Path(__file__).resolve().parents[1] / "images" / "mnist" / "main.py"
RATES, MOMENTA = (0.1, 0.05, 0.01), (0.9, 0.5, 0.1)


def run(out: Path, data: str, *arguments: str) -> float:
    """Seconds that the program took, from start to end."""
    command = [
        sys.executable,
        str(PROGRAM),
        "--data",
        data,
        "--out",
        str(out),
        "--progress",
        "json",
        *arguments,
    ]
    since = time.monotonic()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=os.environ)
    return time.monotonic() - since


def figures(folder: Path) -> dict[str, list[float]]:
    """All numbers of each CSV."""
    found = {}
    for path in sorted(folder.glob("*.csv")):
        with path.open(encoding="utf-8", newline="") as file:
            found[path.name] = [float(number) for row in csv.DictReader(file) for number in row.values()]
    return found


@click.command()
@click.option("--data", default="digits", show_default=True, help="digits, mnist or a folder.")
@click.option("--epochs", default=2, show_default=True)
@click.option("--count", default=9, show_default=True, type=click.IntRange(1, 9), help="Cells.")
@click.option("--stack", is_flag=True, help="A layer of all cells in one call.")
def main(data: str, epochs: int, count: int, stack: bool) -> None:
    """Measure both, one after the other, and compare what they wrote."""
    cells = [{"lr": lr, "momentum": momentum} for lr in RATES for momentum in MOMENTA][:count]
    with tempfile.TemporaryDirectory() as folder:
        packed, alone = Path(folder, "packed"), Path(folder, "alone")
        asked, together = ("--epochs", str(epochs)), ("--stack",) if stack else ()
        run(Path(folder, "warm"), data, "--epochs", "1")  # files are in the cache, data is downloaded
        together_s = run(packed, data, "--cells", json.dumps(cells), "--pack", str(count), *together, *asked)
        one_by_one_s = sum(
            run(alone, data, "--lr", str(cell["lr"]), "--momentum", str(cell["momentum"]), *asked)
            for cell in cells
        )
        ours, theirs = figures(packed), figures(alone)
    assert list(ours) == list(theirs)
    assert len(ours) == count
    apart = max(abs(a - b) for name in ours for a, b in zip(ours[name], theirs[name], strict=True))
    print(f"{count} cells, {epochs} epochs of {data}")
    print(f"alone, one after the other  {one_by_one_s:7.1f} s")
    print(f"side by side (--pack {count})     {together_s:7.1f} s")
    print(f"ratio                       {one_by_one_s / together_s:7.2f}")
    print(f"metrics differ by at most   {apart:.1e}")


if __name__ == "__main__":
    main()
