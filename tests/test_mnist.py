"""images/mnist: the trainer learns the same each time, and its program writes whole results or none."""

from __future__ import annotations

import contextlib
import csv
import functools
import gzip
import importlib.util
import io
import json
import os
import platform
import re
import signal
import struct
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import boto3
import pytest
from extras import Later
from moto import mock_aws

pytestmark = pytest.mark.ml

torch = Later("torch")

FOLDER = Path(__file__).resolve().parents[1] / "images" / "mnist"
BENCH = FOLDER.parents[1] / "bench"


def module(name: str, path: Path) -> ModuleType:
    """A program's file as a module, as it is where the program runs: `trainer` beside `main`."""
    spec = importlib.util.spec_from_file_location(name, path)
    found = importlib.util.module_from_spec(spec)
    sys.modules[name] = found
    spec.loader.exec_module(found)
    return found


@pytest.fixture(scope="module", autouse=True)
def _one_thread():
    """Small networks: more threads only wait for each other, and one thread adds up in one order."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def trainer():
    return module("trainer", FOLDER / "trainer.py")


@pytest.fixture(scope="module")
def digits(trainer):
    return trainer.load("digits")


@pytest.fixture(scope="module")
def few(trainer, digits):
    """Two steps per epoch: enough to see that something is done in the right order."""

    def cut(split, count):
        return trainer.Split(split.images[:count], split.labels[:count])

    return trainer.Splits(cut(digits.train, 128), cut(digits.validation, 64), cut(digits.test, 64))


@pytest.fixture
def program(trainer, few, monkeypatch, tmp_path, capfd):
    """Calls main.py with arguments, in this process, on a few digits: exit status, output, errors."""
    main = module("mnist_main", FOLDER / "main.py")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(trainer, "load", lambda *_, **__: few)

    def call(*arguments: str):
        monkeypatch.setattr(sys, "argv", ["main.py", *arguments])
        before = signal.getsignal(signal.SIGTERM)
        try:
            status = main.main()
        except SystemExit as end:
            status = end.code
        finally:
            signal.signal(signal.SIGTERM, before)
        return status, *capfd.readouterr()

    call.main = main
    return call


def lines(text: str) -> list[dict]:
    return [json.loads(line) for line in text.splitlines()]


# --- The network ---------------------------------------------------------------------------------


def test_the_network_learns_what_the_textbook_order_of_its_layers_learns(trainer, few):
    """ReLU and bias after the max-pool instead of before it: equal scores, equal gradients."""
    net = trainer.network(0).eval()
    images, labels = few.train.images[:32], few.train.labels[:32]

    def textbook(x):
        x = torch.max_pool2d(torch.relu(net.conv2(torch.relu(net.conv1(x)))), 2)
        return net.fc2(torch.relu(net.fc1(x.flatten(1))))

    gradients = []
    for forward in (net, textbook):
        scores = forward(images)
        torch.nn.functional.cross_entropy(scores, labels).backward()
        gradients.append([scores.detach(), *(weight.grad.clone() for weight in net.parameters())])
        net.zero_grad()
    for ours, theirs in zip(*gradients, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-6)


def test_a_bias_after_the_max_pool_gives_the_same_bits(trainer, few):
    """Forward: a rounded sum with b keeps the order.

    Not always in the gradient of the weights: two numbers may be one once b is added, and it goes to either.
    """
    net = trainer.network(0)
    bias = net.conv2.bias.detach().view(-1, 1, 1)
    with torch.no_grad():
        below = torch.relu(net.conv1(few.train.images[:32]))
    found = []
    for after in (True, False):
        x = torch.nn.functional.conv2d(below, net.conv2.weight)
        x = torch.max_pool2d(x, 2) + bias if after else torch.max_pool2d(x + bias, 2)
        torch.relu(x).square().sum().backward()
        found.append((x.detach(), net.conv2.weight.grad.clone()))
        net.zero_grad()
    (ours, our_gradient), (theirs, their_gradient) = found
    assert torch.equal(ours, theirs)
    rounding = 1e-6 * our_gradient.abs().max().item()
    torch.testing.assert_close(our_gradient, their_gradient, rtol=0, atol=rounding)


def test_the_digits_are_those_that_scikit_learn_gives(trainer):
    from sklearn.datasets import load_digits

    theirs = load_digits()
    images, labels, test_images, test_labels = trainer._digits()
    assert torch.equal(torch.cat([images, test_images]), torch.from_numpy(theirs.images).float() / 16)
    assert torch.equal(torch.cat([labels, test_labels]), torch.from_numpy(theirs.target))
    assert len(labels) == int(len(theirs.target) * 0.8)


@pytest.mark.parametrize(
    "content",
    [None, gzip.compress(b"x,y\n"), gzip.compress(b"1,2\n"), gzip.compress(b"1,2\n")[:-9]],
    ids=["no file", "letters", "few numbers", "cut off"],
)
def test_digits_that_scikit_learn_lacks_are_one_sentence(trainer, tmp_path, monkeypatch, content):
    sklearn = importlib.util.spec_from_file_location("sklearn", tmp_path / "__init__.py")
    if content is not None:
        (tmp_path / "datasets" / "data").mkdir(parents=True)
        (tmp_path / "datasets" / "data" / "digits.csv.gz").write_bytes(content)
    monkeypatch.setattr(importlib.util, "find_spec", {"sklearn": sklearn}.get)
    with pytest.raises(trainer.TrainerError, match="csv.gz cannot be read .*install scikit-learn anew"):
        trainer.load("digits")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(trainer.TrainerError, match="come with scikit-learn: run `pip install scikit-learn`"):
        trainer.load("digits")


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_a_step_is_bit_by_bit_that_of_pytorchs_own_optimizer(trainer, few, momentum):
    ours, theirs = trainer.network(0), trainer.network(0)
    team = trainer._team([ours], [trainer.Cell(0.05, momentum, 1)], few.train, stacked=False, graph=False)
    optimizer = torch.optim.SGD(theirs.train().parameters(), lr=0.05, momentum=momentum, fused=True)
    for picks in torch.arange(96).split(32):
        torch.manual_seed(1)
        team.step(picks)
        torch.manual_seed(1)
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(theirs(few.train.images[picks]), few.train.labels[picks]).backward()
        optimizer.step()
    for our, their in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert torch.equal(our, their)


def test_the_digits_of_scikit_learn_are_read_at_97_percent(trainer, digits):
    net = trainer.network(0)
    history = trainer.train(net, digits, lr=0.02, momentum=0.9, epochs=10, batch_size=32)
    best = trainer.best_epoch(history)
    assert best.val_accuracy >= 0.97
    assert trainer.evaluate(net, digits.validation)[1] == pytest.approx(best.val_accuracy)
    assert (trainer.predict(net, digits.test.images) == digits.test.labels).float().mean() >= 0.9


def test_the_same_seed_gives_the_same_numbers_and_another_one_others(trainer, few):
    def curve(seed):
        history = trainer.train(trainer.network(seed), few, lr=0.05, momentum=0.9, epochs=2, seed=seed)
        return [(epoch.train_loss, epoch.val_loss, epoch.val_accuracy) for epoch in history]

    assert curve(1) == curve(1)
    assert curve(1) != curve(2)


def test_training_stops_when_the_validation_loss_rises_and_keeps_the_best_weights(trainer, few):
    wrong = replace(few, validation=trainer.Split(few.train.images[:64], (few.train.labels[:64] + 1) % 10))
    net = trainer.network(0)
    history = trainer.train(net, wrong, lr=0.05, momentum=0.9, epochs=30, patience=3)
    best = trainer.best_epoch(history)
    assert len(history) == best.epoch + 3 < 30
    assert history[-1].val_loss > best.val_loss
    assert trainer.evaluate(net, wrong.validation)[0] == pytest.approx(best.val_loss)


def test_patience_0_never_stops(trainer, few):
    wrong = replace(few, validation=trainer.Split(few.train.images[:64], (few.train.labels[:64] + 1) % 10))
    history = trainer.train(trainer.network(0), wrong, lr=0.05, momentum=0.9, epochs=8)
    assert len(history) == 8
    assert trainer.best_epoch(history).epoch < 6


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="memory is kept with glibc's mallopt")
def test_on_a_cpu_a_step_works_on_the_memory_of_the_one_before(tmp_path):
    """Without, each step has some 6,000 pages of memory made for it by the operating system.

    And nothing has imported PyTorch's compiler or scikit-learn, which takes longer than such a training.
    """
    code = """
import resource, sys, torch
sys.path.insert(0, sys.argv[1])
import trainer
torch.set_num_threads(1)
part = trainer.Split(torch.rand(640, 1, 28, 28), torch.arange(640) % 10)
few = trainer.Split(part.images[:64], part.labels[:64])
seen = []
trainer.train(trainer.network(0), trainer.Splits(part, few, few), lr=0.01, momentum=0.1, epochs=2,
              on_epoch=lambda _: seen.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt))
trainer.load("digits")
print(seen[1] - seen[0], *{"torch._dynamo", "sklearn", "scipy", "torchvision"} & sys.modules.keys())
"""
    done = subprocess.run(
        [sys.executable, "-c", code, str(FOLDER)], capture_output=True, text=True, check=True, cwd=tmp_path
    )
    pages, *imported = done.stdout.split()
    assert int(pages) < 6000  # in ten steps; without it is ten times as many
    assert imported == []


def test_numbers_leave_the_device_once_per_epoch(trainer, few, monkeypatch):
    """`item`, `tolist`, `cpu` and a truth value wait for the device: not after each batch."""
    waits = []
    for name in ("item", "tolist", "cpu", "numpy", "__float__", "__bool__"):
        method = getattr(torch.Tensor, name)

        def counted(*args, name=name, method=method, **kwargs):
            waits.append(name)
            return method(*args, **kwargs)

        monkeypatch.setattr(torch.Tensor, name, counted)
    trainer.train(trainer.network(0), few, lr=0.05, momentum=0.9, epochs=3, batch_size=16)
    assert waits == ["tolist"] * 3


# --- Side by side --------------------------------------------------------------------------------


def cells_of(trainer):
    return [trainer.Cell(0.05, 0.9, 3), trainer.Cell(0.01, 0.5, 1), trainer.Cell(0.02, 0.0, 2)]


def curves(histories):
    return [
        [(epoch.epoch, epoch.train_loss, epoch.val_loss, epoch.val_accuracy) for epoch in one]
        for one in histories
    ]


def test_cells_in_turn_learn_exactly_what_each_learns_alone(trainer, few):
    cells = cells_of(trainer)
    nets = [trainer.network(0) for _ in cells]
    together = trainer.train_side_by_side(nets, few, cells, batch_size=48)
    for cell, net, history in zip(cells, nets, together, strict=True):
        alone = trainer.network(0)
        expected = trainer.train(
            alone, few, lr=cell.lr, momentum=cell.momentum, epochs=cell.epochs, batch_size=48
        )
        assert curves([history]) == curves([expected])
        assert all(torch.equal(a, b) for a, b in zip(net.parameters(), alone.parameters(), strict=True))


def test_stacked_cells_learn_what_each_learns_alone(trainer, few):
    """In double precision, where noise has no time to grow: the same to nine digits."""
    torch.set_default_dtype(torch.float64)
    try:
        double = trainer.Splits(
            *(
                trainer.Split(split.images[:64].double(), split.labels[:64])
                for split in (few.train, few.validation, few.test)
            )
        )
        cells = cells_of(trainer)
        nets = [trainer.network(0) for _ in cells]
        stacked = trainer.train_side_by_side(nets, double, cells, batch_size=24, stacked=True)
        for cell, net, history in zip(cells, nets, stacked, strict=True):
            alone = trainer.network(0)
            expected = trainer.train(
                alone, double, lr=cell.lr, momentum=cell.momentum, epochs=cell.epochs, batch_size=24
            )
            assert len(history) == cell.epochs
            for ours, theirs in zip(curves([history])[0], curves([expected])[0], strict=True):
                assert ours == pytest.approx(theirs, rel=1e-9)
            for ours, theirs in zip(net.parameters(), alone.parameters(), strict=True):
                torch.testing.assert_close(ours, theirs, rtol=1e-8, atol=1e-10)
    finally:
        torch.set_default_dtype(torch.float32)


def test_stacked_cells_draw_nothing_inside_vmap(trainer, few, monkeypatch):
    """On CUDA vmap makes dropout's numbers in another way, and stacked cells would drop other units."""
    drawn = []
    for name in ("dropout", "dropout2d"):
        function = getattr(torch.nn.functional, name)

        def watched(x, *args, name=name, function=function, **kwargs):
            drawn.append((name, torch._C._functorch.is_batchedtensor(x)))
            return function(x, *args, **kwargs)

        monkeypatch.setattr(torch.nn.functional, name, watched)
    nets = [trainer.network(0), trainer.network(0)]
    trainer.train_side_by_side(nets, few, [trainer.Cell(0.05, 0.9, 1)] * 2, stacked=True)
    assert drawn == [("dropout2d", False), ("dropout", False)] * 2  # once for each of two batches


def memory(team) -> list[torch.Tensor]:
    """What a step of this team changes."""
    velocities = [velocity for velocity in team.velocities if velocity is not None]  # none without momentum
    return [*team.weights, *velocities, team.loss]


@pytest.fixture
def graphs(trainer, monkeypatch):
    """What `trainer._Recorded` takes of CUDA, on a CPU; nothing is computed while it records."""
    made = []

    class Graph(torch.utils._python_dispatch.TorchDispatchMode):
        """A CUDA graph on a CPU: the calls that it saw are made again, on the same memory."""

        def __init__(self):
            super().__init__()
            self.calls, self.played = [], 0

        def __torch_dispatch__(self, function, types, arguments=(), named=None):
            done = function(*arguments, **(named or {}))
            self.calls.append((function, arguments, named or {}, done))
            return done

        @torch.no_grad()
        def replay(self):
            self.played += 1
            for function, arguments, named, done in self.calls:
                again = torch.utils._pytree.tree_leaves(function(*arguments, **named))
                for old, new in zip(torch.utils._pytree.tree_leaves(done), again, strict=True):
                    if isinstance(old, torch.Tensor) and old.data_ptr() != new.data_ptr():
                        old.detach().copy_(new)

    class Stream:
        def __init__(self, device=None):
            pass

        def wait_stream(self, other):
            pass

    class Recorded(trainer._Recorded):
        def step(self, picks):
            fresh = self.graph is None
            monkeypatch.setattr(torch.cuda, "graph", functools.partial(recording, self.team))
            losses = super().step(picks)
            if fresh and self.graph is not None:
                made.append(self.graph)
            return losses

    @contextlib.contextmanager
    def recording(team, graph, stream):
        moving, dice = memory(team), torch.get_rng_state()
        before = [tensor.detach().clone() for tensor in moving]
        with graph:
            yield
        with torch.no_grad():
            for tensor, value in zip(moving, before, strict=True):
                tensor.copy_(value)
        torch.set_rng_state(dice)

    def team(nets, cells, train, *, stacked, graph):
        found = original(nets, cells, train, stacked=stacked, graph=False)
        if not graph:
            return found
        if isinstance(found, trainer._InTurn):
            found.teams = [Recorded(one) for one in found.teams]
            return found
        return Recorded(found)

    original = trainer._team
    monkeypatch.setattr(torch.cuda, "Stream", Stream)
    monkeypatch.setattr(torch.cuda, "stream", lambda stream: contextlib.nullcontext())
    monkeypatch.setattr(torch.cuda, "current_stream", Stream)
    monkeypatch.setattr(torch.cuda, "CUDAGraph", Graph)
    monkeypatch.setattr(trainer, "_team", team)
    return made


def test_a_recorded_step_learns_what_each_step_learns_alone(trainer, few, graphs):
    """Three batches an epoch, the last one smaller: it is not the one that was recorded."""
    cells, how = [trainer.Cell(0.05, 0.9, 4)], {"batch_size": 48}
    recorded, alone = trainer.network(0), trainer.network(0)
    ours = trainer.train_side_by_side([recorded], few, cells, **how)
    (graph,) = graphs
    theirs = trainer.train_side_by_side([alone], few, cells, **how, graph=False)
    assert len(graphs) == 1  # the other one made none
    assert curves(ours) == curves(theirs)
    assert all(torch.equal(a, b) for a, b in zip(recorded.parameters(), alone.parameters(), strict=True))
    assert graph.played == 2 * 4 - trainer.STEPS_BEFORE_RECORDING
    fetched = torch.ops.aten.index.Tensor
    assert [function for function, *_ in graph.calls].count(
        fetched
    ) == 2  # images and labels, in the recording


@pytest.mark.parametrize("stacked", [False, True])
def test_recorded_cells_learn_what_they_learn_unrecorded_also_when_one_ends_early(
    trainer, few, graphs, stacked
):
    """When one of the stacked ones has ended, the others lie elsewhere: record anew."""
    cells, how = cells_of(trainer), {"batch_size": 24, "stacked": stacked}
    nets, others = ([trainer.network(0) for _ in cells] for _ in "ab")
    ours = trainer.train_side_by_side(nets, few, cells, **how)
    theirs = trainer.train_side_by_side(others, few, cells, **how, graph=False)
    assert curves(ours) == curves(theirs)
    for one, other in zip(nets, others, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))
    assert len(graphs) == 3  # stacked: with three cells, with two, with one; in turns: one for each cell


def test_stacked_cells_take_no_more_memory_to_evaluate_than_one(trainer, few, monkeypatch):
    seen = []
    forward = trainer.Net.forward
    monkeypatch.setattr(trainer, "EVALUATE_AT_ONCE", 64)
    monkeypatch.setattr(
        trainer.Net, "forward", lambda net, images: seen.append(len(images)) or forward(net, images)
    )
    cells = [trainer.Cell(0.05, 0.9, 1)] * 4
    trainer.train_side_by_side([trainer.network(0) for _ in cells], few, cells, batch_size=128, stacked=True)
    assert seen == [128, 16, 16, 16, 16]


def test_convolutions_add_up_in_one_order_while_it_trains_and_then_as_before(trainer, few):
    seen = []
    trainer.train(
        trainer.network(0),
        few,
        lr=0.05,
        momentum=0.9,
        epochs=1,
        on_epoch=lambda epoch: seen.append(torch.backends.cudnn.deterministic),
    )
    assert seen == [True]
    assert torch.backends.cudnn.deterministic is False


def test_the_naive_loop_of_the_bench_has_the_same_loss_curve(tmp_path):
    """torchvision's dataset, per-sample transforms and a DataLoader: equal losses in each step."""
    bench = module("bench_mnist_epoch", BENCH / "mnist_epoch.py")
    bench.write_synthetic(tmp_path, 320)
    naive = bench.naive_epoch(tmp_path, 320, torch.device("cpu"))
    ours = bench.our_epoch(tmp_path, 320, torch.device("cpu"))
    assert len(naive.losses) == len(ours.losses) == 5
    assert ours.losses == pytest.approx(naive.losses, rel=1e-4)
    assert naive.losses[0] != pytest.approx(naive.losses[-1], rel=1e-3)


# --- IDX files -----------------------------------------------------------------------------------


def idx(values: torch.Tensor) -> bytes:
    """The format of MNIST's files: two zeros, the type, the number of dimensions, their sizes, the bytes."""
    header = struct.pack(">BBBB", 0, 0, 8, values.dim()) + struct.pack(f">{values.dim()}I", *values.shape)
    return header + values.to(torch.uint8).numpy().tobytes()


@pytest.fixture
def idx_folder(tmp_path):
    """20 training images, each with its number as grey, and 5 for the test."""
    folder = tmp_path / "idx"
    folder.mkdir()
    for part, count in (("train", 20), ("t10k", 5)):
        images = torch.arange(count).view(-1, 1, 1).expand(-1, 28, 28)
        (folder / f"{part}-images-idx3-ubyte").write_bytes(idx(images))
        (folder / f"{part}-labels-idx1-ubyte").write_bytes(idx(torch.arange(count) % 10))
    return folder


def pack(folder: Path, name: str) -> None:
    path = folder / name
    (folder / f"{name}.gz").write_bytes(gzip.compress(path.read_bytes()))
    path.unlink()


@pytest.mark.parametrize("gzipped", [False, True])
def test_a_folder_of_idx_files_is_read(trainer, idx_folder, gzipped):
    if gzipped:
        for path in list(idx_folder.iterdir()):
            pack(idx_folder, path.name)
    splits = trainer.load(str(idx_folder))
    assert (len(splits.train), len(splits.validation), len(splits.test)) == (16, 4, 5)
    grey = torch.cat([splits.train.images, splits.validation.images])[:, 0, 0, 0] * 0.3081 + 0.1307
    grey = (grey * 255).round().long()
    assert sorted(grey.tolist()) == list(range(20))  # each image is in one of the two
    assert torch.equal(grey % 10, torch.cat([splits.train.labels, splits.validation.labels]))
    assert splits.train.images.shape == (16, 1, 28, 28)
    again = trainer.load(str(idx_folder))
    assert torch.equal(again.train.labels, splits.train.labels)


def test_mnist_that_torchvision_has_on_disk_is_not_downloaded_again(trainer, idx_folder, tmp_path):
    raw = tmp_path / "data" / "MNIST" / "raw"
    raw.parent.mkdir(parents=True)
    idx_folder.rename(raw)
    splits = trainer.load("mnist", tmp_path / "data")
    assert len(splits.train) + len(splits.validation) == 20
    assert torch.equal(trainer.load(str(tmp_path / "data")).train.images, splits.train.images)


def test_images_of_another_size_are_brought_to_28_by_28(trainer, idx_folder):
    (idx_folder / "train-images-idx3-ubyte").write_bytes(idx(torch.full((20, 8, 8), 51)))
    images = trainer.load(str(idx_folder)).train.images
    assert images.shape == (16, 1, 28, 28)
    assert images[0].mean().item() == pytest.approx((51 / 255 - 0.1307) / 0.3081, abs=1e-4)


def test_broken_idx_files_are_named_with_what_mends_them(trainer, idx_folder):
    labels = idx_folder / "train-labels-idx1-ubyte"
    whole = labels.read_bytes()
    for content, words in (
        (b"", "no whole IDX file.*fetch it again"),
        (b"<html>not found</html>", "no whole IDX file"),
        (whole[:-2], "no whole IDX file"),
        (idx(torch.arange(19) % 10), "19 labels for 20 images"),
        (idx(torch.arange(20)), "the label 19"),
        (idx(torch.zeros(20, 1)), "no whole IDX file.*1 dimension"),
    ):
        labels.write_bytes(content)
        with pytest.raises(trainer.TrainerError, match=words):
            trainer.load(str(idx_folder))
    labels.unlink()
    with pytest.raises(trainer.TrainerError, match=f"no {labels.name}"):
        trainer.load(str(idx_folder))
    (idx_folder / f"{labels.name}.gz").write_bytes(gzip.compress(whole)[:-9])
    with pytest.raises(trainer.TrainerError, match="no whole IDX file"):
        trainer.load(str(idx_folder))
    with pytest.raises(trainer.TrainerError, match="no folder"):
        trainer.load(str(idx_folder / "nowhere"))


@pytest.mark.parametrize(
    "damage",
    [
        lambda whole: b"",
        lambda whole: whole[:-1],
        lambda whole: whole + b"x",
        lambda whole: b"\0\0\x0d" + whole[3:],  # floating-point numbers, says the magic
        lambda whole: b"<htm" + whole[4:],
        lambda whole: whole[:4] + struct.pack(">I", 4) + whole[8:],  # a count that disagrees
        lambda whole: whole[:4] + struct.pack(">I", 2**31) + whole[8:],
    ],
)
@pytest.mark.parametrize("name", ["train-images-idx3-ubyte", "t10k-labels-idx1-ubyte"])
def test_mnist_that_is_damaged_on_disk_is_named_and_not_called_a_failed_download(
    trainer, idx_folder, tmp_path, name, damage
):
    raw = tmp_path / "data" / "MNIST" / "raw"
    raw.parent.mkdir(parents=True)
    idx_folder.rename(raw)
    (raw / name).write_bytes(damage((raw / name).read_bytes()))
    with pytest.raises(trainer.TrainerError, match=f"damaged: .*{raw}.*Delete the folder {raw}"):
        trainer.load("mnist", tmp_path / "data")


def test_a_data_folder_that_is_a_file_is_one_sentence(trainer, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(trainer.TrainerError, match="could not be downloaded to .*another --data-folder"):
        trainer.load("mnist", tmp_path / "file")


def test_without_a_network_the_download_says_what_else_there_is(trainer, tmp_path, monkeypatch):
    from torchvision.datasets import MNIST

    monkeypatch.setattr(MNIST, "mirrors", ["http://127.0.0.1:9/"])  # the port "discard": nobody listens
    with pytest.raises(trainer.TrainerError, match="could not be downloaded.*refused.*--data digits"):
        trainer.load("mnist", tmp_path)


# --- The program ---------------------------------------------------------------------------------


def test_a_training_leaves_one_line_per_epoch_and_a_csv(program):
    status, out, err = program("--lr", "0.05", "--momentum", "0.9", "--epochs", "3", "--progress", "json")
    assert (status, err) == (0, "")
    *epochs, done = lines(out)
    assert [line["epoch"] for line in epochs] == [1, 2, 3]
    assert set(epochs[0]) == {
        "lr", "momentum", "epoch", "epochs", "train_loss", "val_loss", "val_accuracy", "seconds",
    }  # fmt: skip
    name = "metrics_lr0.0500_m0.9000.csv"
    assert (done["done"], done["written"], done["skipped"]) == (True, [name], [])
    assert os.listdir("results") == [name]
    text = Path("results", name).read_text()
    assert text.startswith("train_loss,val_loss,val_accuracy\n")
    rows = list(csv.DictReader(io.StringIO(text)))
    for row, epoch in zip(rows, epochs, strict=True):
        assert {column: float(value) for column, value in row.items()} == pytest.approx(
            {column: epoch[column] for column in row}, abs=1e-6
        )


def test_what_has_its_results_is_skipped_unless_again(program):
    cells = '[{"lr": 0.05, "momentum": 0.9}, {"lr": 0.01, "momentum": 0.1, "epochs": 2}]'
    asked = ("--epochs", "1", "--progress", "json")
    assert program("--lr", "0.05", "--momentum", "0.9", *asked)[0] == 0
    status, out, _ = program("--cells", cells, "--pack", "2", *asked)
    assert status == 0
    *epochs, done = lines(out)
    assert {line["lr"] for line in epochs} == {0.01}
    assert len(epochs) == 2
    assert done["written"] == ["metrics_lr0.0100_m0.1000.csv"]
    assert done["skipped"] == ["metrics_lr0.0500_m0.9000.csv"]
    assert len(lines(program("--cells", cells, "--pack", "2", *asked)[1])) == 1
    assert len(lines(program("--cells", cells, "--pack", "2", "--again", *asked)[1])) == 4


def test_the_array_index_chooses_the_piece(program, monkeypatch, tmp_path):
    grid = [{"lr": lr, "momentum": 0.5} for lr in (0.1, 0.05, 0.02, 0.01, 0.005)]
    (tmp_path / "cells.json").write_text(json.dumps(grid))
    asked = ("--cells", "cells.json", "--pack", "2", "--epochs", "1", "--progress", "json")
    trained = {}
    for index in (0, 1, 2):
        monkeypatch.setenv("AWS_BATCH_JOB_ARRAY_INDEX", str(index))
        status, out, _ = program(*asked)
        assert status == 0
        trained[index] = [line["lr"] for line in lines(out)[:-1]]
    assert trained == {0: [0.1, 0.05], 1: [0.02, 0.01], 2: [0.005]}
    monkeypatch.setenv("AWS_BATCH_JOB_ARRAY_INDEX", "3")
    status, out, err = program(*asked)
    assert (status, out) == (1, "")
    assert "no cells for job 3" in err
    assert "an array of 3" in err


def test_packed_cells_write_what_each_writes_alone(program):
    cells = [{"lr": 0.05, "momentum": 0.9}, {"lr": 0.01, "momentum": 0.1}, {"lr": 0.1, "momentum": 0}]
    assert program("--cells", json.dumps(cells), "--pack", "3", "--epochs", "2", "--out", "packed")[0] == 0
    for cell in cells:
        arguments = ("--lr", str(cell["lr"]), "--momentum", str(cell["momentum"]), "--epochs", "2")
        assert program(*arguments, "--out", "alone")[0] == 0
    packed, alone = (
        {path.name: path.read_text() for path in Path(name).iterdir()} for name in ("packed", "alone")
    )
    assert len(packed) == 3
    assert packed == alone


def test_the_test_images_are_evaluated_once_at_the_best_epoch(program, trainer, few, monkeypatch):
    seen = []
    evaluate = trainer.evaluate
    monkeypatch.setattr(trainer, "evaluate", lambda net, split: seen.append(split) or evaluate(net, split))
    status, out, _ = program(
        "--lr", "0.05", "--momentum", "0.9", "--epochs", "3", "--final", "--progress", "json"
    )
    assert status == 0
    assert [split is few.test for split in seen] == [True]
    final = json.loads(Path("results/final_lr0.0500_m0.9000.json").read_text())
    *epochs, done = lines(out)
    assert final["epoch"] == min(epochs, key=lambda line: line["val_loss"])["epoch"]
    assert 0 <= final["test_accuracy"] <= 1
    assert final["test_loss"] > 0
    assert done["written"] == ["metrics_lr0.0500_m0.9000.csv", "final_lr0.0500_m0.9000.json"]


def test_a_loss_that_runs_away_is_still_json(program):
    status, out, _ = program("--lr", "100", "--momentum", "0.99", "--epochs", "4", "--progress", "json")
    assert status == 0
    assert "NaN" not in out
    assert "Infinity" not in out
    assert lines(out)[-2]["train_loss"] is None or lines(out)[-2]["train_loss"] > 1e6


def test_a_picture_is_drawn(program):
    status, out, _ = program("--epochs", "2", "--picture", "pictures/mnist.png")
    assert status == 0
    import matplotlib.image

    image = matplotlib.image.imread("pictures/mnist.png")
    assert image.shape[:2] == (700, 900)
    assert image[:, :, :3].std() > 0.1  # not an empty page
    assert "pictures/mnist.png" in out


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (("--lr", "much"), 2, "'much' is not a number"),
        (("--lr", "nan"), 2, "'nan' is not a number"),
        (("--lr", "0"), 2, "0.0001 to 100"),
        (("--lr", "0.00001"), 2, "more decimals"),
        (("--momentum", "1"), 2, "from 0 to below 1"),
        (("--momentum", "-0.1"), 2, "from 0 to below 1"),
        (("--momentum", "inf"), 2, "'inf' is not a number"),
        (("--epochs", "0"), 2, "from 1 up"),
        (("--seed", "1" * 19), 2, "18 digits at most"),
        (("--uploadS3", "perhaps"), 2, "neither true nor false"),
        (("--uploadS3", "true"), 2, "set BUCKET_NAME"),
        (("--uploadS3", "true", "--out", "here"), 2, "leave --out"),
        (("--picture", "picture.bmp"), 1, "ends with .png"),
        (("--picture", "file/picture.png"), 1, "cannot be written.*--picture"),
        (("--epochs", "2.5"), 2, "from 1 up"),
        (("--patience", "-1"), 2, "from 0 up"),
        (("--cells", "nowhere.json"), 1, "cannot be read"),
        (("--cells", "[}"), 1, "no JSON"),
        (("--cells", "[]"), 1, "no list of cells"),
        (("--cells", '[{"lr": 0.1}]'), 1, "cell 0 of --cells"),
        (
            ("--cells", '[{"lr": 0.1, "momentum": 0.1}, {"lr": true, "momentum": 0}]'),
            1,
            "cell 1.*not a number",
        ),
        (("--cells", '[{"lr": 0.1, "momentum": 0.1, "epochs": 0}]'), 1, "cell 0.*from 1 up"),
        (("--cells", '[{"lr": 0.1, "momentum": 0}, {"lr": 0.1, "momentum": 0}]'), 1, "the same file"),
        (("--out", "s3://"), 1, "names no bucket"),
        (("--out", "file/below"), 1, "no folder to write to"),
        (("--device", "mps"), 1, "can use no mps device"),
    ],
)
def test_bad_input_is_one_sentence(program, monkeypatch, arguments, status, words):
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    monkeypatch.delenv("BUCKET_NAME", raising=False)
    Path("file").write_text("a file")
    found, out, err = program(*arguments)
    assert (found, out) == (status, "")
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert re.search(words, err)


@pytest.mark.parametrize("zero", ["-0", "-0.0", "0", "0e5"])
def test_there_is_one_zero(program, zero):
    assert program("--lr", "1e-2", "--momentum", zero, "--epochs", "1")[0] == 0
    assert os.listdir("results") == ["metrics_lr0.0100_m0.0000.csv"]


def test_the_same_number_written_in_another_way_is_the_same_cell(program):
    cells = '[{"lr": 0.010, "momentum": -0.0}, {"lr": 1e-2, "momentum": 0}]'
    status, _, err = program("--cells", cells, "--pack", "2")
    assert (status, "the same file" in err) == (1, True)


def test_a_wrong_index_of_an_array_is_one_sentence(program, monkeypatch):
    monkeypatch.setenv("AWS_BATCH_JOB_ARRAY_INDEX", "first")
    status, _, err = program("--cells", '[{"lr": 0.1, "momentum": 0.1}]')
    assert status == 1
    assert re.fullmatch(r"error: AWS_BATCH_JOB_ARRAY_INDEX is wrong.*\n", err)


def test_a_folder_that_cannot_be_written_to_is_found_out_before_the_work(program, monkeypatch):
    monkeypatch.setattr(program.main.os, "access", lambda *_: False)  # root may write everywhere
    status, out, err = program("--epochs", "1")
    assert (status, out) == (1, "")
    assert "Permission denied" in err


def test_an_output_that_takes_nothing_more_is_one_sentence(tmp_path):
    if not os.path.exists("/dev/full"):
        pytest.skip("there is no /dev/full here")
    command = [sys.executable, str(FOLDER / "main.py"), "--data", "digits", "--epochs", "1"]
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            command, stdout=full, stderr=subprocess.PIPE, text=True, cwd=tmp_path, timeout=300
        )
    assert done.returncode == 1
    assert re.fullmatch(r"error: the output takes nothing more \(No space left on device\).*\n", done.stderr)


def test_more_cells_than_fit_are_trained_group_by_group(program, trainer, monkeypatch):
    groups = []
    train = trainer.train_side_by_side
    monkeypatch.setattr(trainer, "MOST_AT_ONCE", 2)
    monkeypatch.setattr(
        trainer,
        "train_side_by_side",
        lambda nets, *all_, **how: groups.append(len(nets)) or train(nets, *all_, **how),
    )
    cells = [{"lr": lr, "momentum": 0.5} for lr in (0.1, 0.05, 0.02)]
    asked = ("--cells", json.dumps(cells), "--pack", "3", "--epochs", "1", "--picture", "best.png")
    assert program(*asked)[0] == 0
    assert groups == [2, 1]
    assert len(os.listdir("results")) == 3


# --- The device ----------------------------------------------------------------------------------


def test_a_gpu_that_is_asked_for_is_never_a_silent_cpu(program, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.version, "cuda", None)
    for asked in (("--device", "cuda"), ()):
        monkeypatch.setenv("MNIST_DEVICE", "cuda")
        status, out, err = program("--epochs", "1", *asked)
        assert (status, out) == (1, "")
        assert re.search("no cuda device here .it is a build without CUDA.*--device cpu", err)
    monkeypatch.setattr(torch.version, "cuda", "12.6")

    def init():
        raise RuntimeError("The NVIDIA driver on your system is too old (found version 11040). Please update")

    monkeypatch.setattr(torch.cuda, "init", init)
    assert "(The NVIDIA driver on your system is too old (found version 11040)):" in program()[2]
    monkeypatch.setenv("MNIST_DEVICE", "tpu")
    assert program()[0] == 2


def test_a_machine_may_say_that_its_cpu_stands_in_for_a_gpu(program, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setenv("GPU_STAND_IN", "cpu")
    status, out, _ = program("--epochs", "1", "--device", "cuda")
    assert status == 0
    assert "on cpu, which stands in for a GPU" in out
    assert "stands in" not in program("--epochs", "1", "--again")[1]


@pytest.mark.parametrize(
    ("raised", "words"),
    [
        (
            lambda: torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0"),
            "memory is used up",
        ),
        (
            lambda: RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried"),
            "smaller --batch-size or --pack",
        ),
        (MemoryError, "memory is used up .MemoryError"),
        (
            lambda: RuntimeError("CUDA error: no kernel image is available for execution"),
            "no kernels for this GPU",
        ),
    ],
)
def test_what_the_device_lacks_is_one_sentence(program, trainer, monkeypatch, raised, words):
    def fail(*_, **__):
        raise raised()

    monkeypatch.setattr(trainer, "train_side_by_side", fail)
    status, _, err = program("--epochs", "1")
    assert status == 1
    assert re.fullmatch(rf"error: .*{words}.*\n", err)


def test_a_fault_of_the_program_stays_a_traceback(program, trainer, monkeypatch):
    def fail(*_, **__):
        raise RuntimeError("shapes do not fit")

    monkeypatch.setattr(trainer, "train_side_by_side", fail)
    with pytest.raises(RuntimeError, match="shapes"):
        program("--epochs", "1")


def test_a_full_disk_leaves_no_half_csv(program, monkeypatch):
    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(program.main.os, "fsync", full)
    status, _, err = program("--epochs", "1")
    assert status == 1
    assert "No space left on device" in err
    assert os.listdir("results") == []


# --- S3 ------------------------------------------------------------------------------------------


@pytest.fixture
def bucket(monkeypatch):
    with mock_aws():
        s3 = boto3.client("s3", region_name="us-east-1")
        s3.create_bucket(Bucket="results-of-a-class")
        yield s3


def test_results_go_to_s3_and_are_found_there(program, bucket):
    bucket.put_object(
        Bucket="results-of-a-class", Key="in/cells.json", Body=b'[{"lr": 0.05, "momentum": 0.9}]'
    )
    asked = ("--cells", "s3://results-of-a-class/in/cells.json", "--out", "s3://results-of-a-class/run/1")
    status, out, err = program(*asked, "--epochs", "2", "--final", "--progress", "json")
    assert (status, err) == (0, "")
    keys = [item["Key"] for item in bucket.list_objects_v2(Bucket="results-of-a-class")["Contents"]]
    assert keys == [
        "in/cells.json",
        "run/1/final_lr0.0500_m0.9000.json",
        "run/1/metrics_lr0.0500_m0.9000.csv",
    ]
    body = bucket.get_object(Bucket="results-of-a-class", Key=keys[2])["Body"].read().decode()
    assert body.splitlines()[0] == "train_loss,val_loss,val_accuracy"
    assert len(body.splitlines()) == 3
    assert lines(program(*asked, "--epochs", "2", "--progress", "json")[1])[0]["skipped"] == [
        "metrics_lr0.0500_m0.9000.csv"
    ]


def test_the_textbooks_own_way_leaves_percent_at_the_root_anew_each_time(program, bucket, monkeypatch):
    monkeypatch.setenv("BUCKET_NAME", "results-of-a-class")
    asked = ("-l", "0.05", "-m", "0.9", "-e", "2", "-u", "true", "--progress", "json")
    for _ in range(2):
        status, out, err = program(*asked)
        assert (status, err) == (0, "")
        *epochs, done = lines(out)
        assert (len(epochs), done["device"]) == (2, "cpu")
        assert done["written"] == ["metrics_lr0.0500_m0.9000.csv"]
    (key,) = [item["Key"] for item in bucket.list_objects_v2(Bucket="results-of-a-class")["Contents"]]
    answer = bucket.get_object(Bucket="results-of-a-class", Key=key)
    rows = list(csv.DictReader(io.StringIO(answer["Body"].read().decode())))
    assert list(rows[0]) == ["train_loss", "val_loss", "val_accuracy"]
    for row, epoch in zip(rows, epochs, strict=True):
        assert float(row["val_accuracy"]) == pytest.approx(100 * epoch["val_accuracy"], abs=1e-6)
    assert (key, answer["Metadata"]["device"]) == ("metrics_lr0.0500_m0.9000.csv", "cpu")
    assert program("-l", "0.05", "-m", "0.9", "-e", "1", "-u", "false")[0] == 0
    assert "metrics_lr0.0500_m0.9000.csv" in os.listdir("results")


def test_another_prefix_is_not_taken_for_ours(program, bucket):
    bucket.put_object(Bucket="results-of-a-class", Key="run/10/metrics_lr0.0100_m0.1000.csv", Body=b"")
    status, out, _ = program("--out", "s3://results-of-a-class/run/1", "--epochs", "1", "--progress", "json")
    assert status == 0
    assert lines(out)[-1]["written"] == ["metrics_lr0.0100_m0.1000.csv"]


def test_a_bucket_that_is_not_there_is_found_out_before_the_work(program, bucket):
    status, out, err = program("--out", "s3://somebody-elses/run", "--epochs", "1")
    assert (status, out) == (1, "")
    assert "NoSuchBucket" in err
    assert err.count("\n") == 1


# --- As a program of its own ---------------------------------------------------------------------


def start(folder: Path, *arguments: str, before: str = "pass") -> subprocess.Popen:
    """`python main.py` as a container runs it."""
    code = f"import runpy, sys; {before}; sys.path[0] = {str(FOLDER)!r}; sys.argv[0] = 'main.py'; "
    code += f"runpy.run_path({str(FOLDER / 'main.py')!r}, run_name='__main__')"
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "MNIST_DATA": "digits"}
    return subprocess.Popen(
        [sys.executable, "-c", code, *arguments],
        cwd=folder, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


def test_sigterm_ends_it_with_whole_results_only(tmp_path):
    cells = '[{"lr": 0.05, "momentum": 0.9, "epochs": 1}, {"lr": 0.01, "momentum": 0.1, "epochs": 500}]'
    with start(tmp_path, "--cells", cells, "--pack", "2", "--progress", "json") as process:
        try:
            for line in process.stdout:
                if json.loads(line)["epoch"] == 2:
                    break
            process.send_signal(signal.SIGTERM)
            out, err = process.communicate(timeout=120)
        finally:
            process.kill()
    assert process.returncode == 128 + signal.SIGTERM, err
    assert "SIGTERM" in err
    assert "Traceback" not in err
    assert [path.name for path in (tmp_path / "results").iterdir()] == ["metrics_lr0.0500_m0.9000.csv"]
    last = lines(out)[-1]
    assert (last["done"], last["written"]) == (False, ["metrics_lr0.0500_m0.9000.csv"])


def test_help_needs_no_torch_and_its_lack_is_one_sentence(tmp_path):
    hidden = "sys.modules['torch'] = None"
    with start(tmp_path, "--help", before=hidden) as process:
        out, err = process.communicate(timeout=120)
    assert (process.returncode, err) == (0, "")
    assert "--cells" in out
    with start(tmp_path, "--epochs", "1", before=hidden) as process:
        out, err = process.communicate(timeout=120)
    assert (process.returncode, out) == (1, "")
    assert err.startswith("error: torch is not installed")
    assert err.count("\n") == 1


# --- The image -----------------------------------------------------------------------------------


def test_the_image_is_built_from_any_base_runs_as_nobody_and_pins_what_it_installs():
    text = (FOLDER / "Dockerfile").read_text()
    assert "ARG BASE_IMAGE=python:3.13-slim\nFROM ${BASE_IMAGE}" in text
    assert "ARG TORCH_INDEX_URL=https://download.pytorch.org/whl/cu" in text
    assert re.search(r"^USER (?!root)\w+", text, re.MULTILINE)
    assert 'ENTRYPOINT ["python", "main.py"]' in text
    assert "ARG REQUIREMENTS=requirements.txt" in text
    assert re.search(r"COPY .*\$\{REQUIREMENTS\}", text)
    for name in ("main.py", "trainer.py"):
        assert re.search(rf"COPY .*{re.escape(name)}", text), name
    pinned = (FOLDER / "requirements.txt").read_text().splitlines()
    packages = [line for line in pinned if line and not line.startswith("#")]
    assert packages
    assert all(re.fullmatch(r"[a-z0-9_-]+==[\w.]+", line) for line in packages)
    assert re.search(r"torch==[\d.]+ torchvision==[\d.]+", text)
