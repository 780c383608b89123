"""Train the course's network on handwritten digits: quickly, the same each time, on CPU, CUDA or Apple's GPU.

    splits = trainer.load("mnist", "data", device=trainer.best_device())
    net = trainer.network(seed=0, device=splits.device)
    history = trainer.train(net, splits, lr=0.01, momentum=0.9, epochs=10, on_epoch=print)
    loss, accuracy = trainer.evaluate(net, splits.test)

Where the time goes in the usual loop, and what is done here instead:

1.  Each image is opened, converted and normalised again in each epoch. Here all are
    tensors on the device, once.
2.  The processor waits for the device after each batch, to add up a loss. Here losses stay on the
    device until the epoch ends.
3.  ReLU runs after the max-pool, and so does adding the second convolution's bias. There a quarter of the
    numbers is left, and the result is the same: the largest of some numbers with all negative ones raised
    to 0 is their largest, raised to 0; and the largest of some sums with b is the largest number, plus b.
    (In the gradient the last bits may differ: two numbers can round to one sum, and it goes to either.)
4.  On a CPU the pixels of all channels lie side by side (`channels_last`): the max-pool reads
    them at full width.
5.  On a CUDA GPU a step is recorded once and then played, from fetching its images to adding up its loss:
    asking for its forty small calls one by one takes the processor longer than a fast GPU takes to compute
    them.
6.  On a GPU that has TF32 (Ampere and newer: A10G, L4, A100, H100; not the T4) PyTorch's default lets
    convolutions round their factors to 10 bits after the point. That is left as it is, as in the usual loop;
    `torch.backends.cudnn.allow_tf32 = False` turns it off in both. Products of matrices stay exact.
7.  On a CPU under Linux each step's larger tensors would be given back to the operating system and fetched
    anew, page by page: an eighth of the time. Here the process keeps up to 1 GiB of them.
8.  Whoever makes a `torch.optim.SGD` imports PyTorch's compiler, and whoever asks scikit-learn for its digits
    imports SciPy: seconds of each process, for nothing that is used. Here the steps are those of the function
    behind that class, and the digits' file is read as it lies there.

What is learned stays the same: the same steps in the same order, equal within the noise of floating point.
"""

from __future__ import annotations

import copy
import ctypes
import gzip
import importlib.util
import math
import os
import socket
import sys
import tempfile
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol
from urllib.error import URLError

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim.sgd import sgd

SIDE = 28  # pixels: the network takes 28 x 28
MEAN, DEVIATION = 0.1307, 0.3081  # of MNIST's pixels, as all its examples take them
SPLIT_SEED = 0  # one split for all: curves of different seeds can be compared
TRAIN_SHARE = 0.8
EVALUATE_AT_ONCE = 500  # images; a large batch only costs memory
DOWNLOAD_TIMEOUT_S = 30.0
MOST_AT_ONCE = 32  # networks that are trained side by side
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # what glibc's mallopt calls them (malloc.h)
KEPT_BLOCK, KEPT_BYTES = 32 << 20, 1 << 30  # bytes: the largest tensor that is kept, and of all together
STEPS_BEFORE_RECORDING = 3  # in them libraries choose their kernels and take memory: a recording may not
IDX = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)


class TrainerError(Exception):
    """What is wrong, and in the same sentence what mends it."""


@dataclass(frozen=True)
class Split:
    """Images of shape (n, 1, 28, 28), normalised, and their labels 0 to 9; both on the device."""

    images: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True)
class Splits:
    """80 % and 20 % of the training images, and the test images: look at those once, at the end."""

    train: Split
    validation: Split
    test: Split

    @property
    def device(self) -> torch.device:
        return self.train.labels.device


@dataclass(frozen=True)
class Cell:
    """One point of a grid: what a training is asked for."""

    lr: float
    momentum: float
    epochs: int


@dataclass(frozen=True)
class Epoch:
    """What one pass over the training images brought; the accuracy lies between 0 and 1."""

    epoch: int
    train_loss: float
    val_loss: float
    val_accuracy: float
    seconds: float


def best_device(wish: str = "auto") -> torch.device:
    """The device that is asked for, once it has computed something; `auto`: CUDA, Apple's GPU or the CPU.

    A machine without a GPU that stands in for one with, for practice, says so by GPU_STAND_IN=cpu in its
    environment. Nothing else lets the CPU work for a GPU that was asked for: that has the GPU's price.

    Raises
    ------
    TrainerError
        There is no such device, or this PyTorch cannot use it: why not, in PyTorch's own words.
    """
    here = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if wish == "auto":
        wish = next(name for name, present in here.items() if present)
    if wish == "cuda" and not here["cuda"] and os.environ.get("GPU_STAND_IN") == "cpu":
        return torch.device("cpu")
    if not here[wish]:
        raise TrainerError(
            f"PyTorch {torch.__version__} can use no {wish} device here ({_why_not(wish)}): mend that, or "
            "train on the processor with --device cpu"
        )
    device = torch.device(wish)
    try:
        torch.ones(1, device=device).add(1).tolist()
    except RuntimeError as error:
        raise TrainerError(
            explained(error) or f"the {wish} device computes nothing: {_first(error)}"
        ) from error
    return device


def name_of(device: torch.device) -> str:
    """What results call it: `Tesla T4`, `cpu`, `mps`."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type


def explained(error: RuntimeError | MemoryError) -> str:
    """The sentence for what PyTorch has raised, where it is no fault of the program; else nothing."""
    words = str(error)
    if "no kernel image" in words:
        return (
            f"PyTorch {torch.__version__} has no kernels for this GPU (it has {_kernels()}): take a newer "
            "GPU, or a PyTorch that was built for this one"
        )
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)) or "can't allocate memory" in words:
        return f"the memory is used up ({_first(error)}): give a smaller --batch-size or --pack"
    return ""


def _kernels() -> str:
    """The kinds of GPU that this PyTorch was built for: sm_75, sm_80."""
    return ", ".join(torch.cuda.get_arch_list()) or "none for any"


def _why_not(kind: str) -> str:
    """Why there is no such device."""
    if kind == "mps":
        return "it is a part of Apple's computers"
    if torch.version.cuda is None:
        return "it is a build without CUDA"
    try:
        torch.cuda.init()
    except RuntimeError as error:
        return _first(error)
    return "no GPU is to be seen"


def _first(error: BaseException) -> str:
    """The first sentence of what it says."""
    return (str(error).strip() or type(error).__name__).splitlines()[0].split(". ")[0].rstrip(".")


# --- Data ---------------------------------------------------------------------------------------


def load(data: str, folder: str | Path = "data", *, device: torch.device | str = "cpu") -> Splits:
    """Read the images, normalise them, split them and put them on the device: all of it once.

    Parameters
    ----------
    data
        `digits` (1,797 real digits of 8 x 8 that come with scikit-learn, brought to 28 x 28), `mnist`
        (70,000, downloaded by torchvision), or a folder with four IDX files named as MNIST's, gzipped or not.
    folder
        Where `mnist` is downloaded to, 65 MB; what is there already is not downloaded again.
    device
        Where the tensors stay. 70,000 images take 220 MB.

    Raises
    ------
    TrainerError
        A folder or a file that is missing or unreadable, or no network for the download.
    """
    if data == "digits":
        images, labels, test_images, test_labels = _digits()
    elif data == "mnist":
        images, labels, test_images, test_labels = _mnist(Path(folder))
    else:
        images, labels, test_images, test_labels = _idx(Path(data))
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(SPLIT_SEED))
    train, validation = order.tensor_split([int(len(labels) * TRAIN_SHARE)])
    return Splits(
        _prepared(images[train], labels[train], device),
        _prepared(images[validation], labels[validation], device),
        _prepared(test_images, test_labels, device),
    )


def _prepared(images: Tensor, labels: Tensor, device: torch.device | str) -> Split:
    """Bytes or fractions of shape (n, h, w) become what the network takes."""
    images = images.to(device).unsqueeze(1)
    images = images.float().div(255) if images.dtype == torch.uint8 else images.float()
    if images.shape[2:] != (SIDE, SIDE):
        images = F.interpolate(images, size=(SIDE, SIDE), mode="bilinear", align_corners=False)
    return Split(images.sub_(MEAN).div_(DEVIATION), labels.to(device))


def _digits() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """scikit-learn's digits: the first four fifths, then the last fifth (other writers) as the test."""
    found = importlib.util.find_spec("sklearn")  # imports nothing
    if found is None or found.origin is None:
        raise TrainerError("the digits come with scikit-learn: run `pip install scikit-learn`")
    file = Path(found.origin).parent / "datasets" / "data" / "digits.csv.gz"
    try:
        text = np.loadtxt(file, delimiter=",").reshape(1797, 65)  # 64 pixels of 0 to 16, and the digit
    except (OSError, EOFError, ValueError, zlib.error) as error:
        raise TrainerError(
            f"scikit-learn's digits in {file} cannot be read ({_first(error)}): install scikit-learn anew"
        ) from error
    rows = torch.from_numpy(text)
    images, labels = rows[:, :-1].reshape(-1, 8, 8).float() / 16, rows[:, -1].long()
    cut = int(len(labels) * TRAIN_SHARE)
    return images[:cut], labels[:cut], images[cut:], labels[cut:]


def _mnist(folder: Path) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """MNIST, downloaded by torchvision where it is not in the folder yet."""
    raw = folder / "MNIST" / "raw"
    if not all((raw / name).is_file() for name in IDX):
        _download(folder)
    try:
        return _idx(folder)
    except TrainerError as error:
        raise TrainerError(
            f"MNIST in {folder} is damaged: {error}. Delete the folder {raw}, and it is downloaded anew"
        ) from error


def _download(folder: Path) -> None:
    """Let torchvision fetch the four files and look at their sums."""
    from torchvision.datasets import MNIST

    patience_s = socket.getdefaulttimeout()
    socket.setdefaulttimeout(DOWNLOAD_TIMEOUT_S)
    try:
        MNIST(str(folder), download=True)
    except (URLError, RuntimeError, OSError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[-1]
        raise TrainerError(
            f"MNIST could not be downloaded to {folder} ({reason}): use --data digits, --data FOLDER with "
            "the four IDX files, or another --data-folder"
        ) from error
    finally:
        socket.setdefaulttimeout(patience_s)


def _idx(folder: Path) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Four IDX files, in the folder itself or where torchvision puts them below it."""
    if not folder.is_dir():
        raise TrainerError(
            f"there is no folder {folder}: use --data digits, --data mnist, or a folder of IDX files"
        )
    places = [folder, folder / "raw", folder / "MNIST" / "raw"]
    found = [_find(places, name) for name in IDX]
    train_images, train_labels, test_images, test_labels = (_read(path) for path in found)
    for images, labels, path in (
        (train_images, train_labels, found[1]),
        (test_images, test_labels, found[3]),
    ):
        if len(images) != len(labels) or not len(labels):
            raise TrainerError(
                f"{path} has {len(labels)} labels for {len(images)} images: fetch the files again"
            )
        if labels.max() > 9:
            raise TrainerError(
                f"{path} has the label {int(labels.max())}: the network knows the digits 0 to 9 only"
            )
    if len(train_labels) < 2:
        raise TrainerError(f"{found[1]} has one label: training and validation need at least two images")
    return train_images, train_labels, test_images, test_labels


def _find(places: list[Path], name: str) -> Path:
    for place in places:
        for path in (place / name, place / f"{name}.gz"):
            if path.is_file():
                return path
    raise TrainerError(f"{places[0]} has no {name} (or {name}.gz): put all of {', '.join(IDX)} there")


def _read(path: Path) -> Tensor:
    """One IDX file, read by torchvision, which knows no gzip."""
    from torchvision.datasets.mnist import read_image_file, read_label_file

    read: Callable[[str], Tensor] = read_image_file if "images" in path.name else read_label_file
    try:
        if path.suffix != ".gz":
            return read(str(path))
        with tempfile.TemporaryDirectory() as folder:
            plain = Path(folder) / path.stem
            plain.write_bytes(gzip.decompress(path.read_bytes()))
            return read(str(plain))
    except (
        AssertionError,
        EOFError,
        IndexError,
        KeyError,
        OSError,
        RuntimeError,
        TypeError,
        ValueError,
    ) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise TrainerError(f"{path} is no whole IDX file ({reason}): fetch it again") from error


# --- The network --------------------------------------------------------------------------------


class Net(nn.Module):
    """Two convolutions of 3 x 3 (32 and 64 filters), max-pool, 128 units, 10 digits: 1.2 million weights."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 32, 3)
        self.conv2 = nn.Conv2d(32, 64, 3)
        self.dropout1: nn.Module = nn.Dropout2d(0.25)
        self.dropout2: nn.Module = nn.Dropout(0.5)
        self.fc1 = nn.Linear(64 * 12 * 12, 128)
        self.fc2 = nn.Linear(128, 10)

    def forward(self, images: Tensor) -> Tensor:
        """Scores of shape (n, 10); their softmax are probabilities."""
        x = F.relu(self.conv1(images), inplace=True)
        x = F.max_pool2d(F.conv2d(x, self.conv2.weight), 2)
        assert self.conv2.bias is not None  # which only the type leaves open
        x = F.relu(x + self.conv2.bias.view(-1, 1, 1))  # in this order: see 3. above
        x = self.dropout1(x).flatten(1)
        x = self.dropout2(F.relu(self.fc1(x)))
        scores: Tensor = self.fc2(x)
        return scores


def network(seed: int = 0, device: torch.device | str = "cpu") -> Net:
    """A fresh network; the same seed gives the same weights on each device."""
    torch.manual_seed(seed)
    net = Net()
    if torch.device(device).type == "cpu":
        return net.to(memory_format=torch.channels_last)
    return net.to(device)


@torch.no_grad()
def evaluate(net: Net, split: Split) -> tuple[float, float]:
    """Mean loss, and the share of images named rightly (0 to 1)."""
    loss, accuracy = _evaluate(net, split)
    return float(loss), float(accuracy)


@torch.no_grad()
def predict(net: Net, images: Tensor) -> Tensor:
    """The digit that the network sees in each image."""
    net.eval()
    return torch.cat([net(some).argmax(1) for some in images.split(EVALUATE_AT_ONCE)])


def _evaluate(
    net: Callable[[Tensor], Tensor], split: Split, at_once: int = EVALUATE_AT_ONCE
) -> tuple[Tensor, Tensor]:
    """As `evaluate`, but the figures stay on the device."""
    if isinstance(net, nn.Module):
        net.eval()
    loss = torch.zeros((), device=split.labels.device)
    right = torch.zeros((), device=split.labels.device)
    for images, labels in zip(split.images.split(at_once), split.labels.split(at_once), strict=True):
        scores = net(images)
        loss = loss + F.cross_entropy(scores, labels, reduction="sum")
        right = right + (scores.argmax(1) == labels).sum()
    return loss / len(split), right / len(split)


# --- Training -----------------------------------------------------------------------------------


def train(
    net: Net,
    splits: Splits,
    *,
    lr: float,
    momentum: float,
    epochs: int,
    batch_size: int = 64,
    seed: int = 0,
    patience: int = 0,
    on_epoch: Callable[[Epoch], object] | None = None,
) -> list[Epoch]:
    """Train with stochastic gradient descent; afterwards the network has the weights of its best epoch.

    Parameters
    ----------
    seed
        Of the order of the images and of the dropout.
    patience
        Stop after so many epochs without a lower validation loss; 0 never stops early.
    on_epoch
        Called with each epoch when it ends.

    Returns
    -------
    One `Epoch` per pass over the training images; the best one has the lowest validation loss.
    """
    tell = (lambda _, epoch: on_epoch(epoch)) if on_epoch else None
    cells = [Cell(lr, momentum, epochs)]
    return train_side_by_side(
        [net], splits, cells, batch_size=batch_size, seed=seed, patience=patience, on_epoch=tell
    )[0]


@contextmanager
def _the_same_each_time() -> Iterator[None]:
    """No convolution that adds up in another order each time, as some of the fastest on CUDA do."""
    before = torch.backends.cudnn.deterministic
    torch.backends.cudnn.deterministic = True
    try:
        yield
    finally:
        torch.backends.cudnn.deterministic = before


@_the_same_each_time()
def train_side_by_side(
    nets: Sequence[Net],
    splits: Splits,
    cells: Sequence[Cell],
    *,
    batch_size: int = 64,
    seed: int = 0,
    patience: int = 0,
    on_epoch: Callable[[int, Epoch], object] | None = None,
    on_end: Callable[[int, list[Epoch]], object] | None = None,
    stacked: bool = False,
    graph: bool = True,
) -> list[list[Epoch]]:
    """Train several networks on one device, each exactly as it would be trained alone.

    All see the same batch at the same time and drop the same units, and the images are prepared once. They
    take turns with each batch.

    Parameters
    ----------
    nets, cells
        One network for each cell, `MOST_AT_ONCE` at most: each takes some 100 MB of a GPU (an estimate).
    on_epoch, on_end
        Called with the index of the cell, and its latest epoch or all its epochs.
    stacked
        No turns: one call computes a layer of all networks. They learn the same within the noise of floating
        point. Whether that is faster depends on the GPU; a CPU, which one network fills, gains nothing.
    graph
        On CUDA: record a step and play it, see 5. above; False asks for each call one by one.
    """
    _keep_memory(splits.device)
    torch.manual_seed(seed)
    order = torch.Generator(splits.device).manual_seed(seed)
    team = _team(nets, cells, splits.train, stacked=stacked, graph=graph)
    histories: list[list[Epoch]] = [[] for _ in cells]
    best = [math.inf for _ in cells]
    running = list(range(len(cells)))
    while running:
        since = time.perf_counter()
        for picks in torch.randperm(len(splits.train), generator=order, device=splits.device).split(
            batch_size
        ):
            team.step(picks)
        figures = torch.stack([team.epoch_loss(), *team.evaluate(splits.validation)], 1)
        lines = figures.tolist()  # the only time that an epoch waits for the device
        seconds = time.perf_counter() - since
        for place, (index, line) in enumerate(zip(running, lines, strict=True)):
            train_loss, val_loss, val_accuracy = line
            epoch = Epoch(len(histories[index]) + 1, train_loss, val_loss, val_accuracy, seconds)
            histories[index].append(epoch)
            if epoch.val_loss < best[index]:
                best[index] = epoch.val_loss
                team.remember(place)
            if on_epoch:
                on_epoch(index, epoch)
        goes_on = [not _is_over(histories[index], cells[index], patience) for index in running]
        for index, on in zip(running, goes_on, strict=True):
            if not on and on_end:
                on_end(index, histories[index])
        if not all(goes_on):
            team.keep([place for place, on in enumerate(goes_on) if on])
            running = [index for index, on in zip(running, goes_on, strict=True) if on]
    return histories


def best_epoch(history: Sequence[Epoch]) -> Epoch:
    """The epoch with the lowest validation loss; the first one where none has a number."""
    return min(history, key=lambda epoch: epoch.val_loss if not math.isnan(epoch.val_loss) else math.inf)


def _is_over(history: list[Epoch], cell: Cell, patience: int) -> bool:
    """All epochs are done, or nothing got better for too long."""
    if len(history) >= cell.epochs:
        return True
    return patience > 0 and len(history) - best_epoch(history).epoch >= patience


def _keep_memory(device: torch.device) -> None:
    """Let glibc keep what a step has freed for the next one: 7. above. Other C libraries are left alone."""
    if device.type == "cpu" and sys.platform == "linux":
        mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
        if mallopt is not None:
            mallopt(M_MMAP_THRESHOLD, KEPT_BLOCK)
            mallopt(M_TRIM_THRESHOLD, KEPT_BYTES)


class _Team(Protocol):
    """Who trains: one network, several at once, several in turns, or one of these as a recording."""

    def step(self, picks: Tensor) -> Tensor:
        """One step with the training images of these numbers; the losses before it, until the next step."""

    def epoch_loss(self) -> Tensor:
        """The mean loss of each network over the images seen since the last call."""

    def evaluate(self, split: Split) -> tuple[Tensor, Tensor]:
        """Loss and accuracy of each network."""

    def remember(self, place: int) -> None:
        """This network was never better."""

    def keep(self, places: list[int]) -> None:
        """The others are done: they get the weights of their best epoch."""


def _team(nets: Sequence[Net], cells: Sequence[Cell], train: Split, *, stacked: bool, graph: bool) -> _Team:
    """Who trains these networks."""
    alone: list[_Alone | _Stacked] = (
        [_Stacked(nets, cells, train)]
        if stacked
        else [_Alone(net, cell, train) for net, cell in zip(nets, cells, strict=True)]
    )
    recorded = graph and train.labels.is_cuda
    teams: list[_Team] = [_Recorded(team) if recorded else team for team in alone]
    return teams[0] if len(teams) == 1 else _InTurn(teams, train.labels.device)


class _Alone:
    """One network; its steps are those of `torch.optim.SGD`: 8. above."""

    def __init__(self, net: Net, cell: Cell, train: Split) -> None:
        self.net, self.cell, self.train = net, cell, train
        device = train.labels.device
        self.weights: list[Tensor] = list(net.parameters())
        self.velocities: list[Tensor | None] = [None for _ in self.weights]  # made by the first step
        self.fused = True if device.type in ("cpu", "cuda") else None  # one kernel for all weights
        self.loss = torch.zeros(1, device=device)
        self.remembered: dict[str, Tensor] = {}

    def step(self, picks: Tensor) -> Tensor:
        self.net.train()
        loss = F.cross_entropy(self.net(self.train.images[picks]), self.train.labels[picks])
        self.net.zero_grad()
        loss.backward()
        gradients: list[Any] = [weight.grad for weight in self.weights]
        with torch.no_grad():
            sgd(
                self.weights,
                gradients,
                self.velocities,
                fused=self.fused,
                lr=self.cell.lr,
                momentum=self.cell.momentum,
                weight_decay=0,
                dampening=0,
                nesterov=False,
                maximize=False,
            )
        losses = loss.detach().view(1)
        self.loss += losses * len(picks)
        return losses

    def epoch_loss(self) -> Tensor:
        return _taken(self.loss, len(self.train))

    @torch.no_grad()
    def evaluate(self, split: Split) -> tuple[Tensor, Tensor]:
        loss, accuracy = _evaluate(self.net, split)
        return loss.view(1), accuracy.view(1)

    def remember(self, place: int) -> None:
        state = self.net.state_dict()
        self.remembered = {name: tensor.detach().clone() for name, tensor in state.items()}

    def keep(self, places: list[int]) -> None:
        if not places and self.remembered:
            self.net.load_state_dict(self.remembered)


class _InTurn:
    """Networks that take turns with each batch."""

    def __init__(self, teams: Sequence[_Team], device: torch.device) -> None:
        self.teams, self.device = list(teams), device

    def step(self, picks: Tensor) -> Tensor:
        dice, losses = _dice(self.device), []
        for team in self.teams:
            _set_dice(self.device, dice)  # the same units are dropped in each
            losses.append(team.step(picks))
        return torch.cat(losses)

    def epoch_loss(self) -> Tensor:
        return torch.cat([team.epoch_loss() for team in self.teams])

    def evaluate(self, split: Split) -> tuple[Tensor, Tensor]:
        losses, accuracies = zip(*(team.evaluate(split) for team in self.teams), strict=True)
        return torch.cat(losses), torch.cat(accuracies)

    def remember(self, place: int) -> None:
        self.teams[place].remember(0)

    def keep(self, places: list[int]) -> None:
        for place in set(range(len(self.teams))) - set(places):
            self.teams[place].keep([])
        self.teams = [self.teams[place] for place in places]


class _Recorded:
    """A team on a CUDA GPU, whose step is recorded as a CUDA graph after the first few, and then played.

    What is played works on the memory that it was recorded with: the numbers of the images of each batch are
    copied there. Dropout still draws new numbers each time, those that it would draw without a recording.
    Source: "CUDA Graphs" in PyTorch's notes on CUDA semantics, which ask for a stream of its own.
    """

    def __init__(self, team: _Alone | _Stacked) -> None:
        self.team, self.stream = team, torch.cuda.Stream(team.train.labels.device)
        self.epoch_loss, self.evaluate, self.remember = team.epoch_loss, team.evaluate, team.remember
        self.forget()

    def forget(self) -> None:
        """Record anew after some steps."""
        self.graph: torch.cuda.CUDAGraph | None = None
        self.picks = self.losses = torch.empty(0)
        self.full_steps = 0

    def step(self, picks: Tensor) -> Tensor:
        if self.full_steps == 0:
            self.picks = torch.empty_like(picks)
        if len(picks) < len(self.picks):  # an epoch's last batch may be smaller than what is recorded
            return self._aside(picks)
        self.full_steps += 1
        if self.full_steps <= STEPS_BEFORE_RECORDING:
            return self._aside(picks)
        self.picks.copy_(picks)
        if self.graph is None:
            self.graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(self.graph, stream=self.stream):  # nothing is computed in here
                self.losses = self.team.step(self.picks)
        self.graph.replay()
        return self.losses

    def _aside(self, picks: Tensor) -> Tensor:
        """A step without a recording, on the stream that records."""
        here = torch.cuda.current_stream(picks.device)
        self.stream.wait_stream(here)
        with torch.cuda.stream(self.stream):
            losses = self.team.step(picks)
        here.wait_stream(self.stream)
        return losses

    def keep(self, places: list[int]) -> None:
        self.team.keep(places)
        self.forget()  # what is left has other memory


class _Stacked:
    """Networks whose weights are stacked: a layer of all of them is one call."""

    def __init__(self, nets: Sequence[Net], cells: Sequence[Cell], train: Split) -> None:
        self.nets, self.train = list(nets), train
        self.model = copy.deepcopy(nets[0])
        self.dropouts = (_Drawn(self.model.dropout1, (64, 1, 1)), _Drawn(self.model.dropout2, (128,)))
        self.model.dropout1, self.model.dropout2 = self.dropouts
        self.names = [name for name, _ in nets[0].named_parameters()]
        stacked = zip(*(net.parameters() for net in nets), strict=True)
        self.weights = [
            torch.stack([weight.detach() for weight in same]).requires_grad_() for same in stacked
        ]
        self.velocities = [torch.zeros_like(weight) for weight in self.weights]
        device = train.labels.device
        self.lr = torch.tensor([cell.lr for cell in cells], device=device)
        self.momentum = torch.tensor([cell.momentum for cell in cells], device=device)
        self.loss = torch.zeros(len(cells), device=device)
        self.remembered: list[dict[str, Tensor]] = [{} for _ in nets]

    def step(self, picks: Tensor) -> Tensor:
        images, labels = self.train.images[picks], self.train.labels[picks]
        self.model.train()
        for dropout in self.dropouts:
            dropout.draw(images)

        def loss_of(weights: list[Tensor]) -> Tensor:
            return F.cross_entropy(self._scores(weights, images), labels)

        losses = torch.func.vmap(loss_of)(self.weights)
        gradients = torch.autograd.grad(losses.sum(), self.weights)  # of a sum: each network gets its own
        with torch.no_grad():
            for weight, velocity, gradient in zip(self.weights, self.velocities, gradients, strict=True):
                shape = (-1, *(1 for _ in weight.shape[1:]))
                velocity.mul_(self.momentum.view(shape)).add_(gradient)
                weight.sub_(self.lr.view(shape) * velocity)
            self.loss += losses * len(picks)
        return losses.detach()

    def epoch_loss(self) -> Tensor:
        return _taken(self.loss, len(self.train))

    @torch.no_grad()
    def evaluate(self, split: Split) -> tuple[Tensor, Tensor]:
        self.model.eval()
        at_once = max(1, EVALUATE_AT_ONCE // len(self.nets))  # as much memory as one network takes
        return torch.func.vmap(
            lambda weights: _evaluate(lambda images: self._scores(weights, images), split, at_once)
        )(self.weights)

    def _scores(self, weights: list[Tensor], images: Tensor) -> Tensor:
        by_name = dict(zip(self.names, weights, strict=True))
        scores: Tensor = torch.func.functional_call(self.model, by_name, (images,))
        return scores

    def remember(self, place: int) -> None:
        stacked = zip(self.names, self.weights, strict=True)
        self.remembered[place] = {name: weight[place].detach().clone() for name, weight in stacked}

    def keep(self, places: list[int]) -> None:
        for place in set(range(len(self.nets))) - set(places):
            if self.remembered[place]:
                self.nets[place].load_state_dict(self.remembered[place])
        self.nets = [self.nets[place] for place in places]
        self.remembered = [self.remembered[place] for place in places]
        self.weights = [weight.detach()[places].requires_grad_() for weight in self.weights]
        self.velocities = [velocity[places] for velocity in self.velocities]
        self.lr, self.momentum, self.loss = self.lr[places], self.momentum[places], self.loss[places]


def _taken(loss: Tensor, images: int) -> Tensor:
    """The mean of a sum of losses over so many images; the sum begins anew."""
    mean = loss / images
    loss.zero_()
    return mean


class _Drawn(nn.Module):
    """A dropout that draws for a batch before it is needed: on CUDA vmap would draw in another way.

    So the same units are dropped as in a network that is trained alone.
    """

    def __init__(self, dropout: nn.Module, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.dropout, self.shape = dropout, shape

    def draw(self, images: Tensor) -> None:
        """What each unit is multiplied by in the next step: 0, or so much that the mean stays."""
        self.factors = self.dropout(images.new_ones(len(images), *self.shape))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.factors if self.training else x


def _dice(device: torch.device) -> Tensor:
    """The state of the random numbers that dropout draws on this device."""
    if device.type == "cuda":
        return torch.cuda.get_rng_state(device)
    return torch.mps.get_rng_state() if device.type == "mps" else torch.get_rng_state()


def _set_dice(device: torch.device, dice: Tensor) -> None:
    """Put the random numbers back to where they were."""
    if device.type == "cuda":
        torch.cuda.set_rng_state(dice, device)
    elif device.type == "mps":
        torch.mps.set_rng_state(dice)
    else:
        torch.set_rng_state(dice)
