"""How fast the CPU and, where there is one, the GPU multiply two matrices.

    python matrix_product.py                 2,048 rows on the CPU, 8,192 on a GPU
    python matrix_product.py --size 4096     the same size on both
    python matrix_product.py --json          one JSON object per device

Two matrices of n x n take 2 n^3 operations: n^2 results, each n products and n sums. The first product
warms the device up; of three more the best one counts. Numbers have 32 bits.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass

SIZES = {"cpu": 2048}
SIZE_ON_A_GPU = 8192
REPEATS = 3


@dataclass(frozen=True)
class Product:
    """One measurement: seconds for one product, and 10^12 operations per second."""

    device: str
    name: str
    size: int
    seconds: float
    tflop_s: float

    def __str__(self) -> str:
        return (
            f"{self.device:5} {self.size:6} x {self.size:<6} {self.seconds:10.6f} s  "
            f"{self.tflop_s:8.3f} TFLOP/s  {self.name}"
        )


def devices() -> list[str]:
    """The CPU, and the GPU that torch sees."""
    import torch

    found = ["cpu"]
    if torch.cuda.is_available():
        found.append("cuda")
    elif torch.backends.mps.is_available():
        found.append("mps")
    return found


def measure(device: str, size: int) -> Product:
    """Multiply two random matrices on this device, a few times; the best time counts."""
    import torch

    if device == "cpu":
        require_memory(size)
    a, b = (torch.rand(size, size, device=device) for _ in range(2))
    times = []
    for _ in range(1 + REPEATS):
        wait_for(device)
        since = time.perf_counter()
        torch.mm(a, b)
        wait_for(device)  # a GPU works on while Python goes on: without this we would time the asking
        times.append(time.perf_counter() - since)
    seconds = min(times[1:])
    return Product(device, name_of(device), size, seconds, 2 * size**3 / seconds / 1e12)


def require_memory(size: int) -> None:
    """Refuse what the computer cannot hold: it would not refuse itself, but stand still and kill programs."""
    needed, there = 3 * 4 * size**2, os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if needed > there:
        raise MemoryError(
            f"three matrices of {size} rows take {needed / 2**30:.0f} GiB, and there are {there / 2**30:.0f}"
        )


def wait_for(device: str) -> None:
    """Until the device has done all that it was given."""
    import torch

    if device == "cuda":
        torch.cuda.synchronize()
    elif device == "mps":
        torch.mps.synchronize()


def name_of(device: str) -> str:
    """What the device is called, and how many threads a CPU takes."""
    import torch

    if device == "cuda":
        return torch.cuda.get_device_name()
    if device == "mps":
        return "Apple GPU"
    return f"{platform.processor() or platform.machine()}, {torch.get_num_threads()} threads"


def all_of(size: int | None = None) -> Iterator[Product]:
    """A measurement per device, as each is done."""
    for device in devices():
        yield measure(device, size or SIZES.get(device, SIZE_ON_A_GPU))


def rows(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 65536:
        raise argparse.ArgumentTypeError(f"{text!r} is no size: give a number of rows from 1 to 65536")
    return int(text)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--size", type=rows, help="rows and columns, for each device")
    parser.add_argument("--json", action="store_true", help="one JSON object per device")
    options = parser.parse_args()
    try:
        for product in all_of(options.size):
            print(json.dumps(asdict(product)) if options.json else product, flush=True)
    except ImportError as error:
        print(f"error: {error.name} is not installed here: run `pip install torch`", file=sys.stderr)
        return 1
    except (MemoryError, RuntimeError) as error:  # torch says so when the matrices do not fit
        print(f"error: {str(error).splitlines()[0]}: give a smaller --size", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
