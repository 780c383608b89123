"""One epoch of the MNIST network beside the usual loop: torchvision's dataset and a DataLoader.

    python bench/mnist_epoch.py                              60,000 synthetic images
    python bench/mnist_epoch.py --data data                  the real ones, in data/MNIST/raw
    python bench/mnist_epoch.py --samples 6400 --rounds 3    a short run

Same network, optimiser, batch size (64), weights, order of images and dropout: the losses of all steps are
compared. Each epoch has a process of its own, for ours keeps memory that the usual loop gives back. Without
--data the images are made here, like MNIST's in size and format: scikit-learn's digits, each somewhere else
in its image. Rounds alternate between the two; beside other programs the seconds that the processor worked
for each tell more than those of the clock. The last line says how far the machine's peak is: what the epoch's
multiplications would take at the rate of one large layer.
"""

from __future__ import annotations

import multiprocessing
import os
import statistics
import struct
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import click

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as main.py does: other programs may run beside this one
import torch
import torch.nn.functional as F
from torch import nn

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "images" / "mnist"))
import trainer

LR, MOMENTUM, BATCH, SEED = 0.01, 0.1, 64, 0
CONV1, CONV2 = 26 * 26 * 32 * 9, 24 * 24 * 64 * 32 * 9  # multiplications per image
DENSE = 9216 * 128 + 128 * 10
FLOP_PER_IMAGE = 2 * (2 * CONV1 + 3 * (CONV2 + DENSE))  # forward, to weights, to layers below
GOALS = {"cpu": 2.0}  # of the ratio; what a GPU gains is not measured yet


class Textbook(nn.Module):
    """The network as the course writes it down."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 32, 3)
        self.conv2 = nn.Conv2d(32, 64, 3)
        self.dropout1 = nn.Dropout2d(0.25)
        self.dropout2 = nn.Dropout(0.5)
        self.fc1 = nn.Linear(9216, 128)
        self.fc2 = nn.Linear(128, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = F.relu(self.conv1(x))
        x = F.relu(self.conv2(x))
        x = F.max_pool2d(x, 2)
        x = self.dropout1(x)
        x = torch.flatten(x, 1)
        x = F.relu(self.fc1(x))
        x = self.dropout2(x)
        return F.log_softmax(self.fc2(x), dim=1)


@dataclass(frozen=True)
class Run:
    """Seconds of the epoch, by the clock and of the processor; the loss of each step; what came before it."""

    seconds: float
    cpu_s: float
    losses: list[float]
    prepared_s: float = 0.0


def naive_epoch(root: Path, samples: int, device: torch.device) -> Run:
    """One epoch as tutorials have it; `root` holds MNIST/raw."""
    from torch.utils.data import DataLoader
    from torchvision import datasets, transforms

    steps = transforms.Compose([transforms.ToTensor(), transforms.Normalize((0.1307,), (0.3081,))])
    dataset = datasets.MNIST(str(root), train=True, transform=steps)
    order = torch.randperm(
        samples, generator=torch.Generator(device).manual_seed(SEED), device=device
    ).tolist()
    torch.manual_seed(SEED)
    net = Textbook().to(device)
    optimizer = torch.optim.SGD(net.parameters(), lr=LR, momentum=MOMENTUM)
    torch.manual_seed(SEED)
    loader = DataLoader(dataset, batch_size=BATCH, sampler=order, generator=torch.Generator())
    losses = []
    settle(device)
    since, worked = time.perf_counter(), time.process_time()
    net.train()
    for images, labels in loader:
        images, labels = images.to(device), labels.to(device)
        optimizer.zero_grad()
        loss = F.nll_loss(net(images), labels)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    settle(device)
    return Run(time.perf_counter() - since, time.process_time() - worked, losses)


def our_epoch(root: Path, samples: int, device: torch.device) -> Run:
    """The same epoch with the trainer, without its validation."""
    since = time.perf_counter()
    images, labels, *_ = trainer._idx(root)
    train = trainer._prepared(images[:samples], labels[:samples], device)
    none = trainer.Split(train.images[:1], train.labels[:1])
    settle(device)
    prepared_s = time.perf_counter() - since

    losses = []
    team = trainer._team

    def watched(*arguments, **how):
        found = team(*arguments, **how)
        step = found.step

        def noted(picks):
            losses.append(step(picks).clone())
            return losses[-1]

        found.step = noted
        return found

    net = trainer.network(SEED, device)
    trainer._team = watched
    try:
        since, worked = time.perf_counter(), time.process_time()
        trainer.train(
            net,
            trainer.Splits(train, none, none),
            lr=LR,
            momentum=MOMENTUM,
            epochs=1,
            batch_size=BATCH,
            seed=SEED,
        )
        settle(device)
        seconds, cpu_s = time.perf_counter() - since, time.process_time() - worked
    finally:
        trainer._team = team
    return Run(seconds, cpu_s, torch.cat(losses).tolist(), prepared_s)


def in_its_own_process(run: Callable[..., Run], *arguments: object) -> Run:
    """Run an epoch in a fresh Python."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as process:
        return process.submit(warmed, run, *arguments).result()


def warmed(run: Callable[..., Run], root: Path, samples: int, device: torch.device) -> Run:
    """An epoch after some steps that count for nothing: libraries are loaded, kernels chosen."""
    run(root, min(samples, 10 * BATCH), device)
    return run(root, samples, device)


def settle(device: torch.device) -> None:
    """Wait until the device has done what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize()
    elif device.type == "mps":
        torch.mps.synchronize()


def peak_flop_s(device: torch.device) -> float:
    """Floating-point operations per second of a large matrix product or convolution: the best of twenty."""
    side = 1024 if device.type == "cpu" else 8192
    a, b = torch.rand(side, side, device=device), torch.rand(side, side, device=device)
    images, weights = torch.rand(64, 128, 26, 26, device=device), torch.rand(128, 128, 3, 3, device=device)
    if device.type == "cpu":
        images, weights = (t.to(memory_format=torch.channels_last) for t in (images, weights))
    rates = []
    for _ in range(20):
        for flop, work in (
            (2 * side**3, lambda: a @ b),
            (2 * 64 * 24 * 24 * 128 * 128 * 9, lambda: F.conv2d(images, weights)),
        ):
            settle(device)
            since = time.perf_counter()
            work()
            settle(device)
            rates.append(flop / (time.perf_counter() - since))
    return max(rates)


def write_synthetic(root: Path, samples: int) -> None:
    """IDX files as torchvision wants them: digits of 8 x 8, brought to 20 x 20, somewhere in 28 x 28."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    images = torch.from_numpy(digits.images).float().unsqueeze(1) * (255 / 16)
    images = F.interpolate(images, size=(20, 20), mode="bilinear").round().to(torch.uint8)[:, 0]
    dice = torch.Generator().manual_seed(SEED)
    raw = root / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for part, count in (("train", samples), ("t10k", 10)):
        picks = torch.randint(len(images), (count,), generator=dice)
        canvas = torch.zeros(count, 28, 28, dtype=torch.uint8)
        places = torch.randint(9, (count, 2), generator=dice).tolist()
        for page, pick, (y, x) in zip(canvas, picks.tolist(), places, strict=True):
            page[y : y + 20, x : x + 20] = images[pick]
        labels = torch.from_numpy(digits.target)[picks].to(torch.uint8)
        for kind, values in (("images-idx3", canvas), ("labels-idx1", labels)):
            header = struct.pack(f">BBBB{values.dim()}I", 0, 0, 8, values.dim(), *values.shape)
            (raw / f"{part}-{kind}-ubyte").write_bytes(header + values.numpy().tobytes())


@click.command()
@click.option("--data", type=click.Path(exists=True, path_type=Path), help="Folder of MNIST/raw.")
@click.option("--samples", default=60_000, show_default=True, help="Images per epoch.")
@click.option("--rounds", default=1, show_default=True, help="Epochs of each, in turns.")
@click.option("--device", default="auto", help="auto, cpu, cuda or mps.")
def main(data: Path | None, samples: int, rounds: int, device: str) -> None:
    """Measure one epoch of both, in turns."""
    where = trainer.best_device(device)
    with tempfile.TemporaryDirectory() as folder:
        root = data or Path(folder)
        if data is None:
            write_synthetic(root, samples)
        naive, ours = [], []
        for number in range(rounds):
            naive.append(in_its_own_process(naive_epoch, root, samples, where))
            ours.append(in_its_own_process(our_epoch, root, samples, where))
            print(
                f"round {number + 1}: naive {naive[-1].seconds:.2f} s, ours {ours[-1].seconds:.2f} s; "
                f"of the processor {naive[-1].cpu_s:.2f} s, {ours[-1].cpu_s:.2f} s",
                flush=True,
            )
    slow, fast = (min(run.seconds for run in runs) for runs in (naive, ours))
    worked = min(run.cpu_s for run in naive) / min(run.cpu_s for run in ours)
    ratios = [one.seconds / other.seconds for one, other in zip(naive, ours, strict=True)]
    steps = len(ours[0].losses)
    apart = [abs(a - b) / abs(a) for a, b in zip(naive[0].losses, ours[0].losses, strict=True)]
    name = torch.cuda.get_device_name() if where.type == "cuda" else f"{torch.get_num_threads()} threads"
    print(
        f"{samples} {'real' if data else 'synthetic'} images, {steps} steps of {BATCH}, {where.type} ({name})"
    )
    print(f"naive  {slow:8.2f} s")
    print(f"ours   {fast:8.2f} s, after {ours[0].prepared_s:.2f} s once for all epochs")
    print(
        f"ratio  {slow / fast:8.2f} of the fastest rounds, {statistics.median(ratios):.2f} in the middle "
        f"one, {worked:.2f} of the processor's seconds "
        f"(goal {GOALS.get(where.type, 'none yet')}); load {os.getloadavg()[0]:.1f}"
    )
    print(
        f"loss   {statistics.mean(naive[0].losses):.6f} naive, {statistics.mean(ours[0].losses):.6f} ours; "
        f"steps differ by {statistics.median(apart):.1e} (median), {max(apart[:100]):.1e} (most, of 100)"
    )
    peak = peak_flop_s(where)
    bound = samples * FLOP_PER_IMAGE / peak
    print(
        f"peak   {bound:8.2f} s at the {peak / 1e9:.0f} GFLOP/s of one layer: ours is {fast / bound:.1f} "
        f"times that, naive {slow / bound:.1f}"
    )


if __name__ == "__main__":
    main()
