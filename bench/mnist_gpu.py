"""All that is claimed of the MNIST trainer on a GPU, measured in one table.

    python bench/mnist_gpu.py                                 on the GPU server: some minutes
    python bench/mnist_gpu.py --device cpu --samples 768      whether it runs at all

Rows, from top to bottom: whether recorded steps leave the very bits of steps asked for one by one, and the
same ones twice; the epoch beside the usual loop (see mnist_epoch.py), and how far their losses are apart;
what else might make an epoch faster, each beside the epoch as it is; nine cells in turns and stacked, each
beside nine epochs alone: below 1 it does not gain, so do not ask for it (--stack); memory; what stacked cells
learn beside those alone. TF32 takes part where the GPU has it, in the usual loop as well: a row shows the
epoch without. Not measured on any GPU yet.
"""

from __future__ import annotations

import os
import statistics
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import perf_counter

import click

os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # as main.py does: one order of sums
import mnist_epoch
import torch
import trainer

CELLS = [trainer.Cell(lr, momentum, 1) for lr in (0.1, 0.05, 0.01) for momentum in (0.9, 0.5, 0.1)]


class Bench:
    """Trains on one set of images, and takes the time."""

    def __init__(self, root: Path, samples: int, device: torch.device) -> None:
        self.device, self.samples = device, samples
        images, labels, *_ = trainer._idx(root)
        self.all = trainer._prepared(images, labels, device)

    def train(
        self,
        cells: list[trainer.Cell],
        images: int | None = None,
        *,
        channels_last: bool = False,
        **how: bool,
    ) -> tuple[list, list[trainer.Net], float]:
        """Histories, networks, and seconds."""
        nets = [trainer.network(0, self.device) for _ in cells]
        for net in nets if channels_last else ():
            net.to(memory_format=torch.channels_last)
        few = self.cut(64)
        mnist_epoch.settle(self.device)
        since = perf_counter()
        splits = trainer.Splits(self.cut(images or self.samples), few, few)
        histories = trainer.train_side_by_side(nets, splits, cells, **how)
        mnist_epoch.settle(self.device)
        return histories, nets, perf_counter() - since

    def cut(self, count: int) -> trainer.Split:
        return trainer.Split(self.all.images[:count], self.all.labels[:count])

    def seconds(self, cells: list[trainer.Cell] = CELLS[-1:], **how: bool) -> float:
        """Of an epoch: the better one of two, the first of which chooses kernels and takes memory."""
        return min(self.train(cells, **how)[2] for _ in range(2))


@contextmanager
def setting(place: object, name: str, value: object) -> Iterator[None]:
    """PyTorch with another setting."""
    before = getattr(place, name)
    setattr(place, name, value)
    try:
        yield
    finally:
        setattr(place, name, before)


def same_bits(one: list[trainer.Net], other: list[trainer.Net]) -> bool:
    """Whether two lists of networks have the same weights."""
    pairs = zip(one, other, strict=True)
    return all(
        torch.equal(a, b) for x, y in pairs for a, b in zip(x.parameters(), y.parameters(), strict=True)
    )


def row(what: str, *values: object) -> None:
    """A line of the table."""
    shown = [f"{value:.3g}" if isinstance(value, float) else str(value) for value in values]
    print(f"{what:<44}{'  '.join(shown)}", flush=True)


@click.command()
@click.option("--device", default="cuda", show_default=True, help="cuda, or cpu to try it.")
@click.option("--samples", default=60_000, show_default=True, help="Images per epoch.")
def main(device: str, samples: int) -> None:
    """Measure, and print the table."""
    where = trainer.best_device(device)
    row(f"PyTorch {torch.__version__}", trainer.name_of(where))
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        mnist_epoch.write_synthetic(root, samples)
        bench = Bench(root, samples, where)

        # The last batch is a smaller one: it is not played.
        three, odd = [trainer.Cell(0.01, 0.1, 3)], samples // 6 - 7
        recorded, again = (bench.train(three, odd)[1] for _ in range(2))
        row(
            "recorded, asked one by one: same bits",
            same_bits(recorded, bench.train(three, odd, graph=False)[1]),
        )
        row("recorded twice: same bits", same_bits(recorded, again))

        pairs = [
            (mnist_epoch.naive_epoch(root, samples, where), mnist_epoch.our_epoch(root, samples, where))
            for _ in range(3)
        ]
        naive, ours = (min(run.seconds for run in runs) for runs in zip(*pairs, strict=True))
        row("usual loop s, ours s, ratio", naive, ours, naive / ours)
        one, other = (run.losses for run in pairs[0])
        apart = [abs(a / b - 1) for a, b in zip(one, other, strict=True)]
        row("losses apart: median, most of 100 steps", statistics.median(apart), max(apart[:100]))

        epoch = bench.seconds()
        row("an epoch s: recorded, not recorded", epoch, bench.seconds(graph=False))
        row("  channels_last", bench.seconds(channels_last=True))
        with setting(torch.backends.cudnn, "benchmark", True):
            row("  cudnn.benchmark, with channels_last", bench.seconds(), bench.seconds(channels_last=True))
        with setting(torch.backends.cudnn, "allow_tf32", False):
            row("  without TF32", bench.seconds())

        row("nine in turns s, gain over alone", turns := bench.seconds(CELLS), 9 * epoch / turns)
        row("nine stacked s, gain over alone", stack := bench.seconds(CELLS, stacked=True), 9 * epoch / stack)
        if where.type == "cuda":
            row("GB of memory at most", torch.cuda.max_memory_allocated() / 1e9)
        stacked = bench.train(CELLS, samples // 6, stacked=True)[0]
        alone = [bench.train([cell], samples // 6)[0][0] for cell in CELLS]
        apart = [abs(a[0].val_loss - b[0].val_loss) for a, b in zip(stacked, alone, strict=True)]
        row("validation loss, stacked and alone apart", max(apart))


if __name__ == "__main__":
    main()
