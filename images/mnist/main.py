"""Train a network on handwritten digits: one cell of a grid, or several of them side by side.

    python main.py --data digits --lr 0.05 --momentum 0.9 --epochs 10
    python main.py --data mnist --lr 0.01 --momentum 0.1 --out s3://my-bucket/results
    python main.py --cells cells.json --pack 9 --epochs 100 --patience 5 --out s3://my-bucket/results
    python main.py -l 0.01 -m 0.1 -e 100 -u true          the textbook's own way

Writes metrics_lr0.0100_m0.1000.csv (train_loss,val_loss,val_accuracy; a line per epoch, accuracy from 0 to 1)
when a training ends, whole or not at all. A list of {"lr": .., "momentum": ..[, "epochs": ..]} in --cells is
cut into pieces of --pack cells; the index of an array job (AWS_BATCH_JOB_ARRAY_INDEX, 0 without) says which
piece is trained here. A role needs s3:ListBucket, s3:PutObject and, for s3://.. in --cells, s3:GetObject.
With -u true the file goes to the root of the bucket that BUCKET_NAME names, anew each time, and its accuracy
is in percent: what the textbook's notebook reads.
Ends with 0; 1 when something is wrong; 2 for arguments that make no sense; 143 after SIGTERM.
"""

from __future__ import annotations

import argparse
import csv
import errno
import io
import json
import math
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    import trainer as trainer_module

SMALLEST = 0.0001  # file names carry four decimals
DEVICES = ("auto", "cpu", "cuda", "mps")
COLUMNS = ("train_loss", "val_loss", "val_accuracy")


class Problem(Exception):
    """What is wrong, and in the same sentence what mends it."""


class Parser(argparse.ArgumentParser):
    """Says what is wrong in one sentence, without the long usage."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"error: {message}; see `python main.py --help`\n")


# --- Arguments ----------------------------------------------------------------------------------


def rate(text: Any) -> float:
    value = number(text)
    if not SMALLEST <= value <= 100:
        raise argparse.ArgumentTypeError(f"{text!r} is no learning rate: give 0.0001 to 100")
    return value


def momentum(text: Any) -> float:
    value = number(text)
    if not 0 <= value < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no momentum: give one from 0 to below 1, as 0.9")
    return value


def number(text: Any) -> float:
    """A number with at most four decimals, as the file names have them."""
    try:
        value = float(text)
    except (TypeError, ValueError):
        value = math.nan
    if isinstance(text, bool) or not math.isfinite(value):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number: write it as 0.01")
    if round(value, 4) != value:
        raise argparse.ArgumentTypeError(f"{text!r} has more decimals than the four of a file name: round it")
    return value + 0.0  # a file name has no -0.0000


def positive(text: Any) -> int:
    try:
        value = int(str(text))
    except ValueError:
        value = 0
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is too little: give a whole number from 1 up")
    return value


def from_zero(text: str) -> int:
    if not text.isdecimal() or len(text) > 18:  # PyTorch's seeds have 63 bits
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number from 0 up, of 18 digits at most")
    return int(text)


def yes_or_no(text: str) -> bool:
    if text.lower() not in ("true", "false"):
        raise argparse.ArgumentTypeError(f"{text!r} is neither true nor false")
    return text.lower() == "true"


def arguments() -> argparse.Namespace:
    parser = Parser(description=(__doc__ or "").split("\n")[0])
    add = parser.add_argument
    add("--data", default=os.environ.get("MNIST_DATA") or "mnist", help="digits, mnist, or a folder")
    add("--data-folder", type=Path, default=Path("data"), help="where mnist is downloaded to")
    add("-l", "--lr", type=rate, default=0.01, help="learning rate (0.01)")
    add("-m", "--momentum", type=momentum, default=0.1, help="of the gradient descent (0.1)")
    add("-e", "--epochs", type=positive, default=10, help="passes over the training images (10)")
    add("--batch-size", type=positive, default=64, help="images per step (64)")
    add("--seed", type=from_zero, default=0, help="of weights, order and dropout (0)")
    add("--patience", type=from_zero, default=0, help="epochs without progress until it stops; 0: never")
    add(
        "--device",
        choices=DEVICES,
        default=os.environ.get("MNIST_DEVICE") or "auto",
        help="auto takes the best that is there; cuda fails where there is none (MNIST_DEVICE, else auto)",
    )
    add("--no-graph", action="store_true", help="on CUDA: do not record the steps")
    add("--out", help="folder or s3://bucket/prefix (./results)")
    add(
        "-u",
        "--uploadS3",
        type=yes_or_no,
        default=False,
        metavar="true|false",
        help="true: to the root of the bucket BUCKET_NAME, accuracy in percent",
    )
    add("--cells", help="JSON list, a file with one, or s3://bucket/key")
    add("--pack", type=positive, default=1, help="with --cells: cells to train here, side by side (1)")
    add("--stack", action="store_true", help="with --pack on a GPU: a layer of all cells in one call")
    add("--again", action="store_true", help="train also what has its results already")
    add("--final", action="store_true", help="also evaluate the best epoch on the test images, once")
    add("--progress", choices=("text", "json"), default="text")
    add("--picture", type=Path, help="a PNG: learning curve and predictions")
    options = parser.parse_args()
    if options.device not in DEVICES:
        parser.error(f"MNIST_DEVICE is {options.device!r}: set it to one of {', '.join(DEVICES)}")
    if options.uploadS3:
        if options.out or options.cells:
            parser.error("--uploadS3 goes to the root of a bucket: leave --out and --cells out")
        if not os.environ.get("BUCKET_NAME"):
            parser.error("--uploadS3 finds no bucket: set BUCKET_NAME to its name")
        options.out, options.again = f"s3://{os.environ['BUCKET_NAME']}", True
    options.out = options.out or "results"
    return options


# --- Where results go ---------------------------------------------------------------------------


class Folder:
    """Results in a folder; a file is there whole or not at all."""

    def __init__(self, path: str) -> None:
        self.path = Path(path)

    def names(self) -> set[str]:
        """What is there already."""
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            there = {entry.name for entry in self.path.iterdir()}
            if not os.access(self.path, os.W_OK | os.X_OK):
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
            return there
        except OSError as error:
            raise Problem(
                f"{self.path} is no folder to write to ({error.strerror}): name another with --out"
            ) from error

    def write(self, name: str, text: str, device: str) -> None:
        temporary = self.path / f".{name}.{os.getpid()}"
        try:
            with temporary.open("w", encoding="utf-8", newline="") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(self.path / name)
        except OSError as error:
            raise Problem(
                f"{name} could not be written to {self.path} ({error.strerror}): make room there"
            ) from error
        finally:
            temporary.unlink(missing_ok=True)

    def __str__(self) -> str:
        return str(self.path)


class Bucket:
    """Results under a prefix in S3, where an object is there whole or not at all."""

    def __init__(self, address: str) -> None:
        self.bucket, self.key = s3_address(address)
        self.prefix = f"{self.key.rstrip('/')}/" if self.key else ""

    def names(self) -> set[str]:
        """What is there already: s3:ListObjectsV2."""
        where = {"Bucket": self.bucket, "Prefix": self.prefix}
        pages = s3_call(lambda s3: list(s3.get_paginator("list_objects_v2").paginate(**where)), self.bucket)
        return {item["Key"].removeprefix(self.prefix) for page in pages for item in page.get("Contents", [])}

    def write(self, name: str, text: str, device: str) -> None:
        """s3:PutObject. The object's metadata say what trained it, and for which lab."""
        kind = "text/csv" if name.endswith(".csv") else "application/json"
        told = {"device": device}
        if lab := os.environ.get("AWSLABS_LEDGER"):  # so that the lab knows it from files of others
            told["awslabs-ledger"] = lab
        what = {"Bucket": self.bucket, "Key": self.prefix + name, "Body": text.encode(), "ContentType": kind}
        s3_call(lambda s3: s3.put_object(**what, Metadata=told), self.bucket)

    def __str__(self) -> str:
        return f"s3://{self.bucket}/{self.prefix}"


def s3_address(address: str) -> tuple[str, str]:
    bucket, _, key = address.removeprefix("s3://").partition("/")
    if not bucket:
        raise Problem(f"{address!r} names no bucket: write s3://bucket/prefix")
    return bucket, key


def s3_call(call: Callable[[Any], Any], bucket: str) -> Any:
    """Call S3; its refusals become one sentence."""
    try:
        import boto3
        from botocore.exceptions import BotoCoreError, ClientError
    except ImportError as error:
        raise Problem("S3 needs boto3: run `pip install boto3`, or give --out a folder") from error
    try:
        return call(boto3.client("s3"))
    except (BotoCoreError, ClientError, ValueError) as error:  # the last: an endpoint that is no address
        raise Problem(
            f"S3 said no to bucket {bucket} ({error}): check the name, the Region and the rights of the role"
        ) from error


# --- Which cells --------------------------------------------------------------------------------


def chosen(options: argparse.Namespace) -> list[trainer_module.Cell]:
    """The cells that this process trains."""
    from trainer import Cell

    if options.cells is None:
        return [Cell(options.lr, options.momentum, options.epochs)]
    rows = read_cells(options.cells)
    cells = []
    for place, row in enumerate(rows):
        try:
            if not isinstance(row, dict) or row.keys() - {"epochs"} != {"lr", "momentum"}:
                raise argparse.ArgumentTypeError('it is not {"lr": .., "momentum": ..[, "epochs": ..]}')
            cells.append(
                Cell(rate(row["lr"]), momentum(row["momentum"]), positive(row.get("epochs", options.epochs)))
            )
        except argparse.ArgumentTypeError as error:
            raise Problem(f"cell {place} of --cells is wrong, {error}") from error
    if len({name_of(cell) for cell in cells}) < len(cells):
        raise Problem("two of the cells would write the same file: name each pair of lr and momentum once")
    try:
        index = from_zero(os.environ.get("AWS_BATCH_JOB_ARRAY_INDEX", "0"))
    except argparse.ArgumentTypeError as error:
        raise Problem(f"AWS_BATCH_JOB_ARRAY_INDEX is wrong, {error}: unset it") from error
    mine = cells[index * options.pack : (index + 1) * options.pack]
    if not mine:
        jobs = math.ceil(len(cells) / options.pack)
        raise Problem(
            f"there are no cells for job {index}: {len(cells)} cells by {options.pack} make {jobs} jobs, so "
            f"submit an array of {jobs}"
        )
    return mine


def read_cells(source: str) -> list[Any]:
    """The list, from the argument itself, from a file or from S3 (s3:GetObject)."""
    text = source
    if source.startswith("s3://"):
        bucket, key = s3_address(source)
        text = s3_call(
            lambda s3: s3.get_object(Bucket=bucket, Key=key)["Body"].read().decode(errors="replace"), bucket
        )
    elif not source.lstrip().startswith("["):
        try:
            text = Path(source).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise Problem(
                f"{source} with the cells cannot be read: give a JSON list, a file, or s3://..."
            ) from error
    try:
        rows = json.loads(text)
    except ValueError as error:
        raise Problem(f'--cells holds no JSON ({error}): write [{{"lr": 0.01, "momentum": 0.1}}]') from error
    if not isinstance(rows, list) or not rows:
        raise Problem('--cells holds no list of cells: write [{"lr": 0.01, "momentum": 0.1}]')
    return rows


def name_of(cell: trainer_module.Cell, kind: str = "metrics", ending: str = "csv") -> str:
    """A file's name: ``metrics_lr0.0100_m0.1000.csv``."""
    return f"{kind}_lr{cell.lr:.4f}_m{cell.momentum:.4f}.{ending}"


# --- The work -----------------------------------------------------------------------------------


class Work:
    """Trains cells, says how it goes, and writes what is complete."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options, self.since = options, time.monotonic()
        self.cells = chosen(options)
        self.results = Bucket(options.out) if options.out.startswith("s3://") else Folder(options.out)
        self.percent = options.uploadS3  # the textbook's own place has the textbook's own numbers
        self.device = ""
        self.written: list[str] = []
        self.skipped: list[str] = []
        self.best: list[dict[str, Any]] = []

    def run(self) -> None:
        import trainer

        options = self.options
        there = self.results.names()  # a bucket that cannot be had is found out before the work
        cells = []
        for cell in self.cells:
            wanted = [name_of(cell), *([name_of(cell, "final", "json")] if options.final else [])]
            if there.issuperset(wanted) and not options.again:
                self.skipped += wanted
                self.say(f"{wanted[0]} is in {self.results} already: skipped (--again trains it anew)")
            else:
                cells.append(cell)
        if not cells:
            return
        if options.picture:
            drawable(options.picture)  # or else it would be found out after the work
        device = trainer.best_device(options.device)
        self.device = trainer.name_of(device)
        splits = trainer.load(options.data, options.data_folder, device=device)
        self.say(
            f"{len(splits.train)} images to train, {len(splits.validation)} to validate, on {self.device}"
            f"{', which stands in for a GPU' * (options.device not in ('auto', device.type))}; "
            f"{len(cells)} cell{'s' * (len(cells) > 1)}; prepared after {time.monotonic() - self.since:.1f} s"
        )
        done = []
        for first in range(0, len(cells), trainer.MOST_AT_ONCE):
            done += self.train(cells[first : first + trainer.MOST_AT_ONCE], splits)
        if options.picture:
            net, history = min(done, key=lambda one: trainer.best_epoch(one[1]).val_loss)
            draw(options.picture, net, splits.validation, history)
            self.say(f"the picture is {options.picture}")

    def train(
        self, cells: list[trainer_module.Cell], splits: trainer_module.Splits
    ) -> list[tuple[trainer_module.Net, list[trainer_module.Epoch]]]:
        """Train these side by side; what of them a picture needs."""
        import trainer

        options = self.options
        nets = [trainer.network(options.seed, splits.device) for _ in cells]
        histories = trainer.train_side_by_side(
            nets,
            splits,
            cells,
            batch_size=options.batch_size,
            seed=options.seed,
            patience=options.patience,
            on_epoch=lambda index, epoch: self.tell(cells[index], epoch),
            on_end=lambda index, history: self.keep(cells[index], history),
            stacked=options.stack and len(cells) > 1,
            graph=not options.no_graph,
        )
        if options.final:
            for cell, net, history in zip(cells, nets, histories, strict=True):
                loss, accuracy = trainer.evaluate(net, splits.test)
                final = {
                    "test_accuracy": accuracy,
                    "test_loss": loss,
                    "epoch": trainer.best_epoch(history).epoch,
                    "device": self.device,
                }
                self.write(name_of(cell, "final", "json"), json.dumps(final) + "\n")
                self.say(f"test images, seen once: accuracy {100 * accuracy:.2f} %, loss {loss:.4f}")
        return list(zip(nets, histories, strict=True)) if options.picture else []

    def tell(self, cell: trainer_module.Cell, epoch: trainer_module.Epoch) -> None:
        """A line per epoch."""
        if self.options.progress == "json":
            emit({
                "lr": cell.lr, "momentum": cell.momentum, "epoch": epoch.epoch, "epochs": cell.epochs,
                "train_loss": finite(epoch.train_loss), "val_loss": finite(epoch.val_loss),
                "val_accuracy": epoch.val_accuracy, "seconds": round(epoch.seconds, 4),
            })  # fmt: skip
        else:
            say(
                f"lr {cell.lr:.4f}  momentum {cell.momentum:.4f}  epoch {epoch.epoch}/{cell.epochs}  "
                f"train_loss {epoch.train_loss:.4f}  val_loss {epoch.val_loss:.4f}  "
                f"val_accuracy {100 * epoch.val_accuracy:.2f} %  {epoch.seconds:.2f} s"
            )

    def keep(self, cell: trainer_module.Cell, history: list[trainer_module.Epoch]) -> None:
        """A training is over: its CSV, at once, so that what comes later cannot lose it."""
        from trainer import best_epoch

        file = io.StringIO()
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow(COLUMNS)
        for epoch in history:
            accuracy = epoch.val_accuracy * (100 if self.percent else 1)
            rows.writerow([f"{number:.6f}" for number in (epoch.train_loss, epoch.val_loss, accuracy)])
        self.write(name_of(cell), file.getvalue())
        best = best_epoch(history)
        self.best.append({
            "lr": cell.lr, "momentum": cell.momentum, "epoch": best.epoch, "epochs": len(history),
            "val_loss": finite(best.val_loss), "val_accuracy": best.val_accuracy,
        })  # fmt: skip

    def write(self, name: str, text: str) -> None:
        self.results.write(name, text, self.device)
        self.written.append(name)

    def say(self, words: str) -> None:
        if self.options.progress == "text":
            say(words)

    def ending(self, done: bool) -> dict[str, Any]:
        """What there is now, and where."""
        return {
            "done": done,
            "out": str(self.results),
            "written": self.written,
            "skipped": self.skipped,
            "best": self.best,
            "device": self.device,
            "seconds": round(time.monotonic() - self.since, 3),
        }


def finite(value: float) -> float | None:
    """A loss, or null for one that ran away: JSON knows no NaN."""
    return value if math.isfinite(value) else None


def emit(line: dict[str, Any]) -> None:
    say(json.dumps(line))


def say(text: str) -> None:
    """A line for whoever listens; where nobody can hear any more, work ends."""
    try:
        print(text, flush=True)
    except OSError as error:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())  # Python writes the rest of its buffer when it ends
        raise Problem(f"the output takes nothing more ({error.strerror}): send it elsewhere") from error


def drawable(path: Path) -> None:
    """Refuse a picture that could not be written."""
    if path.suffix.lower() != ".png":
        raise Problem(f"{path} is no name of a PNG: give --picture one that ends with .png")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.open("ab").close()
    except OSError as error:
        raise Problem(
            f"the picture {path} cannot be written ({error.strerror}): name another file with --picture"
        ) from error


def draw(path: Path, net: Any, split: trainer_module.Split, history: list[trainer_module.Epoch]) -> None:
    """Learning curve above, sixteen images with what the network saw below."""
    from trainer import predict

    try:
        import matplotlib
    except ImportError as error:
        raise Problem(
            "a picture needs matplotlib: run `pip install matplotlib`, or leave --picture out"
        ) from error
    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure = pyplot.figure(figsize=(9, 7), layout="constrained")
    panes: Any = figure.subfigures(2, 1, height_ratios=(3, 2))
    top, bottom = panes
    losses, accuracies = top.subplots(1, 2)
    numbers = [epoch.epoch for epoch in history]
    losses.plot(numbers, [epoch.train_loss for epoch in history], marker="o", label="training")
    losses.plot(numbers, [epoch.val_loss for epoch in history], marker="o", label="validation")
    losses.set(xlabel="epoch", ylabel="loss", title="Loss")
    losses.legend()
    accuracies.plot(numbers, [100 * epoch.val_accuracy for epoch in history], marker="o", color="tab:green")
    accuracies.set(xlabel="epoch", ylabel="%", title="Accuracy on validation images")
    for axes in (losses, accuracies):
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.grid(alpha=0.3)
    images, labels = split.images[:16], split.labels[:16].tolist()
    seen = predict(net, images).tolist()
    places = list(bottom.subplots(2, 8).flat)
    for axes in places:
        axes.axis("off")
    for axes, image, digit, label in zip(places, images.cpu().numpy(), seen, labels, strict=False):
        axes.imshow(image[0], cmap="gray_r")
        right = digit == label
        axes.set_title(f"{digit}" if right else f"{digit}, is {label}", color="black" if right else "red")
    bottom.suptitle("What the network sees")
    try:
        figure.savefig(path, dpi=100)
    except OSError as error:
        raise Problem(
            f"the picture {path} could not be written ({error.strerror}): make room there"
        ) from error
    pyplot.close(figure)


class Stopped(BaseException):
    """SIGTERM came."""


def stop(*_: object) -> NoReturn:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # once is enough
    raise Stopped


def main() -> int:
    try:
        return work_through(arguments())
    except Problem as error:  # the output is full, or closed
        print(f"error: {error}", file=sys.stderr)
        return 1


def work_through(options: argparse.Namespace) -> int:
    """Train, and say how it ended; the exit status."""
    signal.signal(signal.SIGTERM, stop)
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # the same sums in the same order each time
    os.environ.setdefault(
        "OMP_WAIT_POLICY", "PASSIVE"
    )  # spinning threads starve each other on a shared machine
    work = None
    try:
        from trainer import TrainerError, explained
    except ImportError as error:
        print(f"error: {error.name} is not installed here: run `pip install {error.name}`", file=sys.stderr)
        return 1
    try:
        work = Work(options)
        work.run()
    except (Problem, TrainerError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except (RuntimeError, MemoryError) as error:
        if not (words := explained(error)):
            raise
        print(f"error: {words}", file=sys.stderr)
        return 1
    except Stopped:
        if work and options.progress == "json":
            emit(work.ending(done=False))
        print("error: stopped by SIGTERM, nothing half is written: start again for the rest", file=sys.stderr)
        return 128 + signal.SIGTERM
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    if options.progress == "json":
        emit(work.ending(done=True))
    else:
        for best in work.best:
            say(
                f"lr {best['lr']:.4f}  momentum {best['momentum']:.4f}  was best in epoch {best['epoch']} of "
                f"{best['epochs']}: val_accuracy {100 * best['val_accuracy']:.2f} %"
            )
        say(f"done: {len(work.written)} written to {work.results}, {len(work.skipped)} there already")
    return 0


if __name__ == "__main__":
    sys.exit(main())
