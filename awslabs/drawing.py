"""Pictures in a notebook that follow what they show: a lab's map, and curves of what is measured.

    Map(path)                 in a cell: boxes within boxes, as the ledger's file has them now
    Curves(title, x, y)       points of several series, drawn as they come

Both are SVG. A picture in a cell is drawn anew when something changes: at most a few times a second, by a
thread that ends with what it shows. Names and labels come from elsewhere, and stay text.
"""

from __future__ import annotations

import html
import math
import os
import re
import threading
import time
import weakref
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from awslabs import journal
from awslabs.errors import LabError
from awslabs.journal import Row
from awslabs.kinds import KINDS

LOOK_S = 0.5  # seconds between two looks at a ledger's file
DRAW_S = 0.25  # seconds between two drawings of curves
WORK = 24  # tasks and jobs that are drawn, the newest; of the others the number is said
HOLDERS = (
    *("ec2:CreateVpc", "ec2:CreateSubnet", "ecs:CreateCluster"),
    *("batch:CreateComputeEnvironment", "batch:CreateJobQueue"),
)
POINTS = 2_000  # of a series that are drawn
WIDTH, GAP, HEAD, BOX = 880.0, 10.0, 56.0, 200.0  # pixels: a picture, between boxes, a box's height and width
# What XML 1.0 has no place for.
NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
TONES = {"creating": "#b26a00", "standing": "#1b6e3c", "deleting": "#b3261e"}
LINES = ("#1f77b4", "#d62728", "#2ca02c", "#9467bd", "#8c564b", "#e377c2", "#7f7f7f")


def text(said: str, longest: int = 200) -> str:
    """A text as SVG may hold it, cut where it is longer than its place."""
    cut = said if len(said) <= longest else said[: longest - 1] + "…"
    return html.escape(NOT_XML.sub("\ufffd", cut))


def svg(width: float, height: float, title: str, parts: Iterable[str]) -> str:
    """A whole picture, on a ground of its own: it can be read in a light notebook and in a dark one."""
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height:.0f}" '
        f'style="width:100%;max-width:{width:.0f}px" role="img" font-family="sans-serif" font-size="12">'
        f"<title>{text(title)}</title>"
        f'<rect width="100%" height="100%" rx="8" fill="#fbfbf9"/>{"".join(parts)}</svg>'
    )


# -- The map -----------------------------------------------------------------------------------------------


@dataclass
class Box:
    """One row, and the rows that stand in it. `x` and `y` are those of its upper left corner, in pixels."""

    row: Row
    inner: list[Box] = field(default_factory=list)
    x: float = 0.0
    y: float = 0.0
    wide: float = BOX
    high: float = HEAD

    def measure(self, room: float) -> None:
        """Find out how large it is, if so many pixels are free."""
        if self.inner:
            wide, high = _flow(self.inner, room - 2 * GAP)
            self.wide, self.high = max(BOX, wide + 2 * GAP), HEAD + high + GAP

    def place(self, x: float, y: float) -> None:
        """Put it, and what is in it, where it belongs; until now those lie as if this were at 0, 0."""
        self.x, self.y = self.x + x, self.y + y
        for one in self.inner:
            one.place(self.x + GAP, self.y + HEAD)

    def all(self) -> list[Box]:
        """It, and all that is in it."""
        return [self, *(deeper for one in self.inner for deeper in one.all())]

    def draw(self) -> str:
        tone = TONES.get(self.row.state, "#555")
        dashed = "" if self.row.state == "standing" else ' stroke-dasharray="5 3"'
        said = {"creating": "is being made", "deleting": "is being deleted"}.get(self.row.state, "stands")
        cost = f" · {price(self.row)}" if price(self.row) else ""
        left = self.x + 12
        return (
            f"<g><title>{text(f'{self.row.call} {self.row.id}')}</title>"
            f'<rect x="{self.x:.0f}" y="{self.y:.0f}" width="{self.wide:.0f}" height="{self.high:.0f}" '
            f'rx="6" fill="{"#f0f5f3" if self.inner else "#fff"}" stroke="{tone}"{dashed}/>'
            f'<text x="{left:.0f}" y="{self.y + 18:.0f}" font-weight="bold" fill="#1c1c1c">'
            f"{text(self.row.name, 26)}</text>"
            f'<text x="{left:.0f}" y="{self.y + 33:.0f}" fill="{tone}">{said}{text(cost)}</text>'
            f'<text x="{left:.0f}" y="{self.y + 47:.0f}" fill="#595959" font-size="10">'
            f"{text(short(self.row.id), 32)}</text></g>"
        )


def _flow(boxes: list[Box], room: float) -> tuple[float, float]:
    """Put boxes beside one another, as many as there is room for, then below; what they take."""
    x = y = high = widest = 0.0
    for box in boxes:
        box.measure(room)
        if x and x + box.wide > room:
            x, y, high = 0.0, y + high + GAP, 0.0
        box.x, box.y = x, y
        x, high = x + box.wide + GAP, max(high, box.high)
        widest = max(widest, x - GAP)
    return widest, y + high


def price(row: Row) -> str:
    """What a row costs each hour, in words; empty for nothing."""
    if row.usd_per_hour == 0:
        return ""
    return "? USD/h" if row.usd_per_hour is None else f"{row.usd_per_hour:.4f} USD/h"


def short(name: str) -> str:
    """Of an ARN with a path its last part."""
    return name.rpartition("/")[2] if name.startswith("arn:") else name


def lab_map(title: str, rows: Iterable[Row]) -> str:
    """What stands as boxes: in networks, clusters and queues what is in them; lines to what else it needs.

    What joins others (an attachment, a permission) is a line between them; a policy of one role a box in it.
    What needs something stands below it.
    """
    still = [row for row in rows if row.open]
    work = [row.number for row in still if row.call in KINDS and KINDS[row.call].work]
    left_out = set(work[:-WORK])
    boxes = {row.number: Box(row) for row in still if row.number not in left_out}
    levels, lines = _arranged(boxes)
    y = 36.0
    for level in levels:
        _, high = _flow(level, WIDTH - 2 * GAP)
        for box in level:
            box.place(GAP, y)
        y += high + 3 * GAP
    every = [deeper for level in levels for box in level for deeper in box.all()]
    more = f"and {len(left_out)} more tasks or jobs" if left_out else ""
    if said := more if boxes else "Nothing stands.":
        y += 2 * GAP
    head = f'<text x="{GAP}" y="22" font-weight="bold" font-size="14" fill="#1c1c1c">{text(title)}</text>'
    return svg(
        WIDTH,
        y,
        title,
        [
            head,
            *(box.draw() for box in every if box.inner),
            *(_line(*ends) for ends in lines),
            *(box.draw() for box in every if not box.inner),
            f'<text x="{GAP}" y="{y - 2 * GAP:.0f}" fill="#595959">{text(said)}</text>' if said else "",
        ],
    )


def _arranged(boxes: Mapping[int, Box]) -> tuple[list[list[Box]], list[tuple[Box, Box]]]:
    """The boxes that stand in no other, level by level, and the ends of each line."""
    lines: list[tuple[Box, Box]] = []
    outermost: dict[int, Box] = {}  # by a row's number: the box at the top in which it is
    levels: dict[int, int] = {}  # by the number of such a box's row
    top: list[Box] = []
    for number, box in sorted(boxes.items()):
        needed = [boxes[one] for one in sorted(box.row.needs) if one in outermost]
        joins = box.row.call in KINDS and KINDS[box.row.call].join
        if joins and len(needed) > 1:
            lines += [(needed[0], other) for other in needed[1:]]
            continue
        homes = [one for one in needed if joins or one.row.call in HOLDERS]
        lines += [(one, box) for one in needed if one not in homes]
        if homes:
            homes[-1].inner.append(box)
            outermost[number] = outermost[homes[-1].row.number]
        else:
            top.append(box)
            outermost[number] = box
        own = outermost[number].row.number
        above = [outermost[one.row.number].row.number for one in needed]
        levels[own] = max([levels.get(own, 0), *(levels[one] + 1 for one in above if one != own)])
    ordered: list[list[Box]] = [[] for _ in range(max(levels.values(), default=-1) + 1)]
    for box in sorted(top, key=lambda box: not box.inner):  # first what holds others
        ordered[levels[box.row.number]].append(box)
    return [level for level in ordered if level], lines


def _line(needed: Box, by: Box) -> str:
    """From the foot of one box's head to the top of the other, or the other way, whichever is above."""
    upper, lower = sorted((needed, by), key=lambda box: box.y)
    x1, y1, x2, y2 = upper.x + BOX / 2, upper.y + HEAD, lower.x + BOX / 2, lower.y
    bend = max(24.0, abs(y2 - y1) / 2)
    return (
        f'<path d="M{x1:.0f} {y1:.0f} C{x1:.0f} {y1 + bend:.0f} {x2:.0f} {y2 - bend:.0f} {x2:.0f} {y2:.0f}" '
        'fill="none" stroke="#9aa5a1"/>'
    )


class Map:
    """A ledger's map: as the last line of a cell it is drawn, and goes on following the ledger.

    Parameters
    ----------
    path : Path
        The ledger's file. It is read without its lock, and AWS is not asked.
    title : str
        What stands above it.
    """

    def __init__(self, path: Path, title: str) -> None:
        self.path, self.title = path, title

    def rows(self) -> list[Row]:
        try:
            return journal.read(self.path)[1]
        except journal.Absent:
            return []

    def _repr_svg_(self) -> str:
        return lab_map(self.title, self.rows())

    def _ipython_display_(self) -> None:
        arguments = weakref.ref(self), Cell(self.mime())
        threading.Thread(target=_follow, args=arguments, name="map", daemon=True).start()

    def mime(self) -> dict[str, str]:
        """The picture, and the same in words, by their media types."""
        still = [f"{row.name}  {row.state}  {row.id}" for row in self.rows() if row.open]
        return {"image/svg+xml": self._repr_svg_(), "text/plain": "\n".join(still) or "Nothing stands."}

    def stamp(self) -> tuple[int, int]:
        """What changes whenever the ledger's file does."""
        try:
            found = os.stat(self.path)
        except OSError:
            return 0, 0
        return found.st_mtime_ns, found.st_size


def _follow(shown: weakref.ref[Map], cell: Cell) -> None:
    """Draw a map anew whenever its ledger changes, as long as somebody holds it."""
    before = None
    while (one := shown()) is not None:
        now = one.stamp()
        if before is not None and now != before:
            try:
                cell.draw(one.mime())
            except LabError:
                now = before  # the next look may be able to read it
        before = now
        del one
        time.sleep(LOOK_S)


class Cell:
    """A picture that stands below a notebook's cell.

    Parameters
    ----------
    mime : dict of str
        What is shown first, by its media types.
    """

    def __init__(self, mime: dict[str, str]) -> None:
        from IPython.display import display

        self._shown: Any = display(mime, raw=True, display_id=True)

    def draw(self, mime: dict[str, str]) -> None:
        """Show this in its place."""
        self._shown.update(mime, raw=True)


# -- Curves ------------------------------------------------------------------------------------------------


class Curves:
    """Series of points, as one picture.

    Parameters
    ----------
    title, x, y : str
        What is drawn, and what its axes say, with their units: ``"answered, s"``.
    joined : bool
        Join the points of a series by a line.
    """

    def __init__(self, title: str, x: str, y: str, *, joined: bool = True) -> None:
        self.title, self.x, self.y, self.joined = title, x, y, joined
        self.series: dict[str, list[tuple[float, float]]] = {}
        self._mutex = threading.Lock()

    def add(self, series: str, x: float, y: float | None) -> None:
        """One more point; one that is no number is left out. Threads may call it."""
        if y is not None and math.isfinite(x) and math.isfinite(y):
            with self._mutex:
                self.series.setdefault(series, []).append((float(x), float(y)))

    def svg(self) -> str:
        with self._mutex:
            series = {name: _thinned(points) for name, points in self.series.items()}
        wide, high, left, top = 640.0, 300.0, 64.0, 36.0
        inner_w, inner_h = wide - left - 150, high - top - 44
        every = [point for points in series.values() for point in points] or [(0.0, 0.0)]
        x0, x1 = _span([x for x, _ in every], whole=False)
        y0, y1 = _span([y for _, y in every], whole=True)

        def at(point: tuple[float, float]) -> tuple[float, float]:
            return (
                left + inner_w * (point[0] - x0) / (x1 - x0),
                top + inner_h * (1 - (point[1] - y0) / (y1 - y0)),
            )

        parts = [f'<text x="12" y="22" font-weight="bold" font-size="14">{text(self.title)}</text>']
        for tick in _ticks(y0, y1):
            _, y = at((x0, tick))
            parts.append(
                f'<path d="M{left} {y:.1f}h{inner_w}" stroke="#e3e3df"/>'
                f'<text x="{left - 6}" y="{y + 4:.1f}" text-anchor="end" fill="#595959">{tick:g}</text>'
            )
        for tick in _ticks(x0, x1, whole=all(x.is_integer() for x, _ in every)):
            x, _ = at((tick, y0))
            parts.append(
                f'<text x="{x:.1f}" y="{high - 28}" text-anchor="middle" fill="#595959">{tick:g}</text>'
            )
        parts.append(
            f'<text x="{left + inner_w / 2}" y="{high - 8}" text-anchor="middle" fill="#595959">'
            f'{text(self.x)}</text><text transform="rotate(-90)" x="{-(top + inner_h / 2)}" y="14" '
            f'text-anchor="middle" fill="#595959">{text(self.y)}</text>'
        )
        for number, (name, points) in enumerate(series.items()):
            tone = LINES[number % len(LINES)]
            drawn = [at(point) for point in points]
            if self.joined:
                path = " ".join(f"{x:.1f},{y:.1f}" for x, y in drawn)
                parts.append(f'<polyline points="{path}" fill="none" stroke="{tone}" stroke-width="2"/>')
            if not self.joined or len(drawn) == 1:
                parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2" fill="{tone}"/>' for x, y in drawn]
            below = top + 14 + 18 * number
            parts.append(
                f'<rect x="{wide - 138}" y="{below - 9}" width="10" height="10" fill="{tone}"/>'
                f'<text x="{wide - 122}" y="{below}" fill="#1c1c1c">{text(name, 18)}</text>'
            )
        return svg(wide, high, self.title, parts)

    def mime(self) -> dict[str, str]:
        last = [f"{name}: {points[-1][1]:g}" for name, points in self.series.items()]
        return {"image/svg+xml": self.svg(), "text/plain": f"{self.title}: {', '.join(last)}"}


def _thinned(points: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """Of very many points every second, third ..., and the last."""
    step = -(-len(points) // POINTS) or 1
    return points[:-1:step] + points[-1:]


def _span(values: list[float], *, whole: bool) -> tuple[float, float]:
    """From the least to the most that an axis shows; `whole`: from zero, if nothing lies below."""
    least, most = min(values), max(values)
    if whole and least >= 0:
        least = 0.0
    return least, most if most > least else least + 1.0


def _ticks(least: float, most: float, *, whole: bool = False) -> list[float]:
    """Three to six round numbers between them; fewer where only whole ones mean something."""
    step = 10 ** math.floor(math.log10((most - least) / 2))
    step *= next(factor for factor in (1, 2, 5, 10) if (most - least) / (step * factor) <= 5)
    step = max(step, 1) if whole else step
    first = math.ceil(least / step - 1e-9)
    return [round(number * step, 12) for number in range(first, math.floor(most / step + 1e-9) + 1)]


class LiveCurves(Curves):
    """Curves below a notebook's cell, drawn as the points come: at most every `DRAW_S` seconds."""

    def __init__(self, title: str, x: str, y: str, *, joined: bool = True) -> None:
        super().__init__(title, x, y, joined=joined)
        self._cell: Cell | None = None
        self._drawn = 0.0
        self._drawing = threading.Lock()

    def add(self, series: str, x: float, y: float | None) -> None:
        super().add(series, x, y)
        if time.monotonic() - self._drawn >= DRAW_S and self._drawing.acquire(blocking=False):
            try:
                self.draw()
            finally:
                self._drawing.release()

    def draw(self) -> None:
        """Draw it now, if there is a point."""
        self._drawn = time.monotonic()
        if self._cell is not None:
            self._cell.draw(self.mime())
        elif self.series:
            self._cell = Cell(self.mime())
