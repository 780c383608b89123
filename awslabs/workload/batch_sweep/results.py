"""What a sweep has found: files in the bucket, a table of them, a picture of them.

    results/digits-epochs10-patience5/metrics_lr0.0100_m0.1000.csv     one line per epoch
    results/digits-epochs10-patience5/final_lr0.0100_m0.1000.json      the one look at the test pictures
    metrics_lr0.0100_m0.1000.csv                    of the textbook's own client: accuracy is in percent there

A model is judged by the epoch in which its loss on the validation pictures was smallest: later it has only
learned its training pictures by heart. The test pictures are looked at once, with the best cell alone.
"""

from __future__ import annotations

import csv
import io
import json
import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from awslabs.errors import LabError, install
from awslabs.kinds.named import pages
from awslabs.ledger import Ledger
from awslabs.progress import each
from awslabs.show import Shown, picture, rows
from awslabs.workload import standing

if TYPE_CHECKING:
    from matplotlib.axes import Axes

log = logging.getLogger(__name__)

AT_ONCE = 16  # files read at the same time
FILE = re.compile(r"(?P<kind>metrics|final)_lr(?P<lr>\d{1,9}\.\d{4})_m(?P<momentum>\d\.\d{4})\.(csv|json)")
SERIES = re.compile(r"(?P<data>.+)-epochs(?P<epochs>\d{1,9})-patience(?P<patience>\d{1,9})")
TOP = "results/"  # of the bucket: a job may write nowhere else
CURVES = 10  # learning curves in a picture, and colours: more cannot be told apart


@dataclass(frozen=True)
class Cell:
    """One pair of hyper-parameters. Files are named by it, with four digits after each point."""

    lr: float
    momentum: float

    @property
    def name(self) -> str:
        """The file of its metrics."""
        return f"metrics_lr{self.lr:.4f}_m{self.momentum:.4f}.csv"

    @property
    def final_name(self) -> str:
        """The file of its one look at the test pictures."""
        return f"final_lr{self.lr:.4f}_m{self.momentum:.4f}.json"


@dataclass(frozen=True)
class Series:
    """The settings that cells have in common; only within one series they can be compared.

    Attributes
    ----------
    data : str
        ``mnist`` or ``digits``.
    epochs : int
        The most of them.
    patience : int
        Epochs without a smaller validation loss after which training stops; 0 for never.
    """

    data: str
    epochs: int
    patience: int

    @property
    def name(self) -> str:
        return f"{self.data}-epochs{self.epochs}-patience{self.patience}"

    @property
    def prefix(self) -> str:
        """Where its files lie in the bucket, without a slash at the end."""
        return TOP + self.name

    def key(self, name: str = "") -> str:
        """Where one of its files lies."""
        return f"{self.prefix}/{name}"

    @classmethod
    def named(cls, name: str) -> Series | None:
        """The series of this name; None where it is none's."""
        match = SERIES.fullmatch(name)
        return cls(match["data"], int(match["epochs"]), int(match["patience"])) if match else None


class Textbook(Series):
    """What jobs of the textbook's own client leave at the bucket's root: whatever its settings, side by side.

    Its place tells that accuracies are in percent; the size of a number does not (1 may be either).
    """

    name = "textbook"
    prefix = ""

    def key(self, name: str = "") -> str:
        return name


TEXTBOOK = Textbook("", 0, 0)


@dataclass(frozen=True)
class Trained(Shown):
    """What came of one cell.

    Attributes
    ----------
    lr, momentum : float
    best_epoch : int
        The epoch with the smallest validation loss, counted from 1.
    epochs : int
        How many were trained.
    val_loss, accuracy : float
        On the validation pictures, in the best epoch; accuracy from 0 to 1.
    device : str
        What trained it: the GPU's name, or ``cpu``; empty where the file does not say.
    """

    lr: float
    momentum: float
    best_epoch: int
    epochs: int
    val_loss: float
    accuracy: float
    device: str = ""


@dataclass(frozen=True)
class Results(Shown):
    """All cells of one series, best first.

    Attributes
    ----------
    series : str
        Its folder.
    cells : list of Trained
    test_accuracy : float or None
        Of the best cell, on pictures that no training has seen; None before somebody looked.
    broken : list of str
        Files that cannot be read as metrics.
    """

    series: str
    cells: list[Trained]
    test_accuracy: float | None
    broken: list[str]

    @property
    def best(self) -> Trained:
        return self.cells[0]

    def _repr_html_(self) -> str:
        cells = [
            {name: value if isinstance(value, str) else f"{value:g}" for name, value in vars(one).items()}
            for one in self.cells
        ]
        test = "" if self.test_accuracy is None else f", test accuracy {self.test_accuracy:.4f}"
        return f"<p>{self.series}{test}</p>{rows(cells, len(cells))}"


@dataclass(frozen=True)
class Picture(Shown):
    """A PNG file; a notebook shows the picture itself."""

    path: Path

    def _repr_html_(self) -> str:
        return picture(self.path)


# -- Reading ---------------------------------------------------------------------------------------------


def there(ledger: Ledger, series: Series) -> set[str]:
    """Names of the files that a series has so far. AWS calls: ``s3:ListObjectsV2``, once per 1000 files."""
    return {one["Key"].removeprefix(series.key()) for one in listed(ledger, series.key())}


def listed(ledger: Ledger, prefix: str) -> list[dict[str, Any]]:
    """What the bucket holds under a prefix; at its root without what lies in folders."""
    more = {"Prefix": prefix} if prefix else {"Delimiter": "/"}
    found = pages(
        ledger.client("s3"), "list_objects_v2", "Contents", Bucket=standing(ledger, "bucket"), **more
    )
    return [one for one in found if prefix or FILE.fullmatch(one["Key"])]


def newest_series(ledger: Ledger) -> Series:
    """The series that was written to last. AWS calls: ``s3:ListObjectsV2``.

    Raises
    ------
    LabError
        When there is none.
    """
    found: list[tuple[Any, str, Series]] = [
        (one["LastModified"], TEXTBOOK.name, TEXTBOOK) for one in listed(ledger, "")
    ]
    for one in listed(ledger, TOP):
        folder, _, name = one["Key"].removeprefix(TOP).rpartition("/")
        if (series := Series.named(folder)) and FILE.fullmatch(name):
            found.append((one["LastModified"], series.name, series))
    if not found:
        raise LabError(
            "There are no results yet.",
            "The bucket holds no metrics.",
            f"{ledger.command('sweep')} --lr 0.1,0.01,0.001 --momentum 0.5,0.1,0.05",
        )
    return max(found, key=lambda one: one[:2])[2]


def results(ledger: Ledger, series: Series | None = None) -> Results:
    """The table of a series, best cell first. AWS calls: ``s3:ListObjectsV2``, ``s3:GetObject`` per file.

    Parameters
    ----------
    series : Series, optional
        The one that was written to last, unless given.
    """
    curves, broken, final, devices = read_all(ledger, series := series or newest_series(ledger))
    cells = sorted(
        (replace(judged(cell, epochs), device=devices[cell]) for cell, epochs in curves.items()),
        key=lambda one: (-one.accuracy, one.val_loss, one.lr, one.momentum),
    )
    if not cells:
        raise no_results(ledger, series, broken)
    best = Cell(cells[0].lr, cells[0].momentum)
    return Results(series.name, cells, final.get(best), broken)


def no_results(ledger: Ledger, series: Series, broken: Sequence[str]) -> LabError:
    """What there is to say of a series without a single table that can be read."""
    return LabError(
        f"The series {series.name} has no results.",
        f"Files that cannot be read: {', '.join(broken)}" if broken else "No cell of it was trained yet.",
        next(filter(None, (again(ledger, series.name, name) for name in broken)), ledger.command("jobs")),
    )


def again(ledger: Ledger, series: str, name: str) -> str:
    """The command that trains a cell anew whose file cannot be read; empty for what is no cell's file."""
    of, cell = Series.named(series), FILE.fullmatch(name)
    if of is None or cell is None:
        return ""
    final = " --final" if cell["kind"] == "final" else ""
    return (
        f"{ledger.command('submit')} --lr {float(cell['lr']):g} --momentum {float(cell['momentum']):g} "
        f"--data {of.data} --epochs {of.epochs} --patience {of.patience} --again{final}"
    )


def read(ledger: Ledger, series: Series, cell: Cell) -> Trained:
    """What came of one cell. AWS calls: ``s3:GetObject``."""
    s3 = ledger.client("s3")
    try:
        text, device = object_of(ledger, series.key(cell.name))
        epochs = metrics(text)
    except s3.exceptions.NoSuchKey as error:
        raise LabError(
            f"{cell.name} is not in the bucket.",
            f"The series {series.name} has not trained that cell.",
            f"{ledger.command('submit')} --lr {cell.lr:g} --momentum {cell.momentum:g}",
        ) from error
    return replace(judged(cell, epochs), device=device)


def test_accuracy(ledger: Ledger, series: Series, cell: Cell) -> float:
    """What the final training of a cell has measured. AWS calls: ``s3:GetObject``."""
    return float(json.loads(content(ledger, series.key(cell.final_name)))["test_accuracy"])


Curves = dict[Cell, list[dict[str, float]]]


def read_all(ledger: Ledger, series: Series) -> tuple[Curves, list[str], dict[Cell, float], dict[Cell, str]]:
    """Each cell's metrics per epoch; names of files that are none; test accuracies; devices."""
    percent = isinstance(series, Textbook)
    matches = {name: FILE.fullmatch(name) for name in sorted(there(ledger, series))}
    named = {name: match for name, match in matches.items() if match}
    broken = [name for name in matches if name not in named and not name.endswith("/") and name]
    texts = each(lambda name: readable(ledger, series.key(name)), named, AT_ONCE)
    curves, final, devices = Curves(), dict[Cell, float](), dict[Cell, str]()
    for (name, match), (text, device) in zip(named.items(), texts, strict=True):
        try:
            cell = Cell(float(match["lr"]), float(match["momentum"]))
            if match["kind"] == "final":
                final[cell] = float(json.loads(text)["test_accuracy"])
            else:
                curves[cell], devices[cell] = metrics(text, percent=percent), device
        except (ValueError, KeyError, TypeError, RecursionError, csv.Error):
            broken.append(name)
    return curves, sorted(broken), final, devices


def content(ledger: Ledger, key: str) -> str:
    """An object of the bucket as text."""
    return object_of(ledger, key)[0]


def object_of(ledger: Ledger, key: str) -> tuple[str, str]:
    """An object of the bucket as text, and the device that its metadata name."""
    answer = ledger.client("s3").get_object(Bucket=standing(ledger, "bucket"), Key=key)
    return answer["Body"].read().decode(errors="replace"), answer.get("Metadata", {}).get("device", "")


def readable(ledger: Ledger, key: str) -> tuple[str, str]:
    """The same; empty for what cannot be read any more: deleted meanwhile, archived, locked by others."""
    try:
        return object_of(ledger, key)
    except ledger.client("s3").exceptions.ClientError as error:
        if error.response["Error"]["Code"] not in ("NoSuchKey", "InvalidObjectState", "AccessDenied"):
            raise
        log.warning("%s: %s", key, error)
        return "", ""


def metrics(text: str, *, percent: bool = False) -> list[dict[str, float]]:
    """The lines of one CSV, an epoch each: ``train_loss, val_loss, val_accuracy`` (0 to 1).

    Parameters
    ----------
    percent : bool
        Accuracies in the file are in percent.

    Raises
    ------
    ValueError, TypeError, csv.Error
        When it is none.
    """
    lines = [
        {name: float(line[name]) for name in ("train_loss", "val_loss", "val_accuracy")}
        for line in csv.DictReader(io.StringIO(text))
    ]
    if not lines:
        raise ValueError("no epoch")
    for line in lines if percent else ():
        line["val_accuracy"] /= 100
    return lines


def judged(cell: Cell, epochs: Sequence[dict[str, float]]) -> Trained:
    """A cell by its best epoch. A loss that is no number (training fell apart) is worse than any other."""
    losses = [one["val_loss"] if one["val_loss"] == one["val_loss"] else float("inf") for one in epochs]
    best = losses.index(min(losses))
    return Trained(
        cell.lr, cell.momentum, best + 1, len(epochs), epochs[best]["val_loss"], epochs[best]["val_accuracy"]
    )


# -- Bringing home -----------------------------------------------------------------------------------------


def bring_home(ledger: Ledger, folder: Path) -> str:
    """Copy all results to this computer, and say how many; files that are there already are written anew.

    AWS calls: ``s3:ListObjectsV2``, ``s3:GetObject`` for each.
    """
    if ledger.missing(["bucket"]):
        return ""
    s3, bucket = ledger.client("s3"), standing(ledger, "bucket")
    try:
        keys = [one["Key"] for prefix in (TOP, "") for one in listed(ledger, prefix)]
    except s3.exceptions.NoSuchBucket:
        return ""  # somebody has deleted it: there is nothing to save
    keys = [key for key in keys if not key.endswith("/")]  # those are folders, made in the console

    def fetch(key: str) -> bool:
        path = folder / (key.removeprefix(TOP) if key.startswith(TOP) else f"{TEXTBOOK.name}/{key}")
        if not path.resolve().is_relative_to(folder.resolve()):
            return False  # a key such as results/../../x was put there by nobody of ours
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            s3.download_file(bucket, key, str(path))
        except OSError as error:
            series, _, name = key.removeprefix(TOP).rpartition("/")
            if SERIES.fullmatch(series) and FILE.fullmatch(name):
                raise
            # Such as a file of others whose name is a folder of this computer, or too long for one.
            log.warning("%s is left out: %s", key, error.strerror)
            return False
        return True

    try:
        saved = sum(each(fetch, keys, AT_ONCE))
    except OSError as error:
        raise LabError(
            "The results could not be saved on this computer, so nothing was deleted.",
            str(error),
            f"make room, or leave them: {ledger.command('down')} --discard",
        ) from error
    return f"{saved} files of results" if saved else ""


# -- The picture -------------------------------------------------------------------------------------------


def plot(ledger: Ledger, path: str | Path = "sweep.png", series: Series | None = None) -> Picture:
    """Draw the grid as a heat map of accuracies, and beside it how the validation loss fell.

    Parameters
    ----------
    path : str or Path
        The PNG file to write.
    series : Series, optional
        The one that was written to last, unless given.

    Raises
    ------
    LabError
        Without results, and where matplotlib is not installed.
    """
    series = series or newest_series(ledger)
    curves, broken, *_ = read_all(ledger, series)
    if not curves:
        raise no_results(ledger, series, broken)
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise LabError("matplotlib is not installed.", "It draws the picture.", install("ml")) from error
    figure = Figure(figsize=(13, 4.5), layout="constrained")
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2, width_ratios=[1.1, 1])
    trained = [judged(cell, epochs) for cell, epochs in curves.items()]
    rates, momenta = sorted({one.lr for one in trained}), sorted({one.momentum for one in trained})
    if len(trained) * 2 > len(rates) * len(momenta):
        draw_grid(figure, left, trained, rates, momenta)
    else:
        draw_points(figure, left, trained)
    draw_curves(right, curves, trained)
    about = "" if series is TEXTBOOK else f", at most {series.epochs} epochs"
    figure.suptitle(f"{series.data or series.name}: accuracy on validation pictures{about}")
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, dpi=120, format="png")
    except OSError as error:
        raise LabError(
            f"The picture {path} could not be written.",
            str(error),
            f"{ledger.command('plot')} /tmp/sweep.png    # or another place with room",
        ) from error
    return Picture(path)


def draw_grid(
    figure: Any, axes: Axes, trained: Sequence[Trained], rates: Sequence[float], momenta: Sequence[float]
) -> None:
    """A field per cell, with its accuracy in it; the best one has a frame; one not trained yet is empty."""
    from matplotlib.patches import Rectangle

    fields = [[float("nan")] * len(rates) for _ in momenta]
    for one in trained:
        fields[momenta.index(one.momentum)][rates.index(one.lr)] = one.accuracy
    picture = axes.imshow(fields, origin="lower", aspect="auto", cmap="viridis")
    low, high = picture.get_clim()
    best = max(trained, key=lambda one: (one.accuracy, -one.val_loss))
    few = len(rates) * len(momenta) <= 100  # in more, numbers would be too small to read
    for one in trained:
        x, y = rates.index(one.lr), momenta.index(one.momentum)
        if few:
            dark = one.accuracy < low + 0.6 * (high - low)
            colour = "white" if dark else "black"
            axes.text(x, y, f"{100 * one.accuracy:.1f} %", ha="center", va="center", color=colour)
        if one is best:
            axes.add_patch(Rectangle((x - 0.5, y - 0.5), 1, 1, fill=False, edgecolor="red", linewidth=3))
    axes.set_xticks(range(len(rates)), [f"{rate:g}" for rate in rates])
    axes.set_yticks(range(len(momenta)), [f"{momentum:g}" for momentum in momenta])
    axes.set(xlabel="learning rate", ylabel="momentum")
    figure.colorbar(picture, ax=axes, label="accuracy in the best epoch")


def draw_points(figure: Any, axes: Axes, trained: Sequence[Trained]) -> None:
    """Cells that form no grid: a point each."""
    rates, momenta, accuracies = zip(*((one.lr, one.momentum, one.accuracy) for one in trained), strict=True)
    points = axes.scatter(rates, momenta, c=accuracies, cmap="viridis", s=70, edgecolors="black")
    best = max(trained, key=lambda one: (one.accuracy, -one.val_loss))
    axes.scatter([best.lr], [best.momentum], s=200, facecolors="none", edgecolors="red", linewidths=2)
    axes.set(xscale="log", xlabel="learning rate", ylabel="momentum")
    plain(axes.xaxis)
    figure.colorbar(points, ax=axes, label="accuracy in the best epoch")


def draw_curves(axes: Axes, curves: Curves, trained: Sequence[Trained]) -> None:
    """The validation loss of each epoch, of the best cells; a point where it was smallest."""
    from matplotlib.ticker import MaxNLocator

    chosen = sorted(trained, key=lambda one: (-one.accuracy, one.val_loss))[:CURVES]
    for one in chosen:
        losses = [epoch["val_loss"] for epoch in curves[Cell(one.lr, one.momentum)]]
        (line,) = axes.plot(
            range(1, len(losses) + 1), losses, label=f"lr {one.lr:g}, momentum {one.momentum:g}"
        )
        axes.plot([one.best_epoch], [one.val_loss], "o", color=line.get_color())
    axes.set(xlabel="epoch", ylabel="validation loss", yscale="log")
    axes.grid(alpha=0.3)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    plain(axes.yaxis)
    title = f"the best {CURVES} of {len(trained)}" if len(trained) > CURVES else None
    axes.legend(fontsize="small", title=title, loc="center left", bbox_to_anchor=(1.02, 0.5))


def plain(axis: Any) -> None:
    """Numbers of a logarithmic axis as one writes them: 0.001, 0.002, 0.005, 0.01."""
    from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

    axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axis.set_minor_formatter(NullFormatter())
