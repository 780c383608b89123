"""drawing: a lab's map and live curves as SVG that holds, whatever is in it."""

from __future__ import annotations

import math
import re
import sys
import threading
import time
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import inprocess
import pytest

from awslabs import drawing, ec2, progress, screen
from awslabs.cloud import Cloud
from awslabs.journal import Row
from awslabs.ledger import Ledger

ACCOUNT = "222222222222"
SVG = "{http://www.w3.org/2000/svg}"
HOSTILE = '</text><script>alert(1)</script>"\x00\x1b[31m\ud800&amp;'


@pytest.fixture
def ledger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Ledger]:
    """The first lab's, of which nothing stands yet."""
    with inprocess.first_lab(monkeypatch, tmp_path) as ledger:
        yield ledger


class Notebook:
    """Keeps what a notebook's cells show: of each display what it was, then what came in its place."""

    def __init__(self) -> None:
        self.cells: list[list[dict[str, str]]] = []

    def display(self, data: dict[str, str], *, raw: bool, display_id: bool) -> Any:
        assert raw
        assert display_id
        shown = [data]
        self.cells.append(shown)
        return types.SimpleNamespace(update=lambda data, raw: shown.append(data))


@pytest.fixture
def notebook(monkeypatch: pytest.MonkeyPatch) -> Notebook:
    book, ipython = Notebook(), types.ModuleType("IPython")
    ipython.display = types.ModuleType("IPython.display")  # type: ignore[attr-defined]
    ipython.display.display = book.display  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "IPython", ipython)
    monkeypatch.setitem(sys.modules, "IPython.display", ipython.display)  # type: ignore[attr-defined]
    return book


def boxes(picture: str) -> dict[str, tuple[float, float, float, float]]:
    """Left, top, right and bottom of each box, by its name."""
    found = {}
    for group in ElementTree.fromstring(picture).iter(f"{SVG}g"):
        rect, name = group.find(f"{SVG}rect"), group.find(f"{SVG}text")
        assert rect is not None
        assert name is not None
        assert name.text
        x, y, wide, high = (float(rect.attrib[key]) for key in ("x", "y", "width", "height"))
        found[name.text] = x, y, x + wide, y + high
    return found


def within(inner: tuple[float, ...], outer: tuple[float, ...]) -> bool:
    return outer[0] < inner[0] and outer[1] < inner[1] and inner[2] < outer[2] and inner[3] < outer[3]


def test_a_server_stands_in_its_subnet_and_that_in_its_vpc(ledger: Ledger) -> None:
    assert "Nothing stands." in ledger.map()._repr_svg_()
    ec2.up(ledger)
    picture = ledger.map()._repr_svg_()
    found = boxes(picture)
    assert found.keys() == ledger.resources.keys() - {"gateway-attachment"}  # it is a line
    assert within(found["instance"], found["subnet"])
    assert within(found["subnet"], found["vpc"])
    assert within(found["security-group"], found["vpc"])
    assert not within(found["key-pair"], found["vpc"])
    apart = [found[name] for name in ("vpc", "internet-gateway", "key-pair")]
    for one in apart:
        assert all(
            one is other or one[2] < other[0] or other[2] < one[0] or one[3] < other[1] or other[3] < one[1]
            for other in apart
        )
    assert len(re.findall("<path", picture)) == 3  # VPC and gateway; server, group and key
    assert ">stands · 0.0163 USD/h<" in picture


def test_what_others_wrote_stays_text(ledger: Ledger) -> None:
    row = Row(1, HOSTILE, "ec2:CreateVpc", "t", ids={"VpcId": HOSTILE}, state="standing")
    picture = drawing.lab_map(HOSTILE, [row])
    root = ElementTree.fromstring(picture)
    assert {each.tag.removeprefix(SVG) for each in root.iter()} == {"svg", "title", "rect", "text", "g"}
    curves = drawing.Curves(HOSTILE, HOSTILE, HOSTILE)
    curves.add(HOSTILE, 0, 1)
    drawn = {each.tag.removeprefix(SVG) for each in ElementTree.fromstring(curves.svg()).iter()}
    assert "script" not in drawn


def test_a_thousand_jobs_leave_a_picture_that_can_be_read() -> None:
    rows = [
        Row(n, f"job-{n}", "batch:SubmitJob", "t", ids={"jobId": f"j-{n}"}, state="standing")
        for n in range(1, 1001)
    ]
    picture = drawing.lab_map("many", rows)
    assert len(boxes(picture)) == drawing.WORK
    assert "job-1000" in picture
    assert f"and {1000 - drawing.WORK} more tasks or jobs" in picture


def test_a_map_in_a_cell_follows_the_ledger(
    ledger: Ledger, notebook: Notebook, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(drawing, "LOOK_S", 0.02)
    shown = ledger.map()
    shown._ipython_display_()
    (cell,) = notebook.cells
    assert cell[0]["text/plain"] == "Nothing stands."
    time.sleep(0.1)  # the thread has seen the file as it was
    ec2.up(ledger)
    until(lambda: "instance  standing" in cell[-1]["text/plain"])
    assert "instance" in boxes(cell[-1]["image/svg+xml"])
    ec2.down(ledger)
    until(lambda: cell[-1]["text/plain"] == "Nothing stands.")
    del shown
    until(lambda: not [one for one in threading.enumerate() if one.name == "map"])


def until(true: Any) -> None:
    end = time.monotonic() + 60
    while not true():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_points_come_as_curves_below_a_cell(notebook: Notebook, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "watcher", screen.NotebookWatcher())
    with progress.plotting("Loss", "epoch", "cross-entropy") as point:
        assert not notebook.cells
        for epoch, loss in enumerate([2.0, 1.0, None, math.nan, 0.5]):
            point("training", epoch, loss)
    (cell,) = notebook.cells
    assert cell[-1]["text/plain"] == "Loss: training: 0.5"
    (line,) = ElementTree.fromstring(cell[-1]["image/svg+xml"]).iter(f"{SVG}polyline")
    points = [tuple(map(float, each.split(","))) for each in line.attrib["points"].split()]
    assert len(points) == 3
    assert points == sorted(points)  # to the right and, as SVG counts, down


def test_where_there_is_no_place_for_a_picture_nothing_is_drawn(
    notebook: Notebook, monkeypatch: pytest.MonkeyPatch
) -> None:
    for watcher in (None, screen.PlainWatcher(), screen.TerminalWatcher(), progress.Watcher()):
        monkeypatch.setattr(progress, "watcher", watcher)
        with progress.plotting("Loss", "epoch", "cross-entropy") as point:
            point("training", 0, 1.0)
    assert not notebook.cells


@pytest.mark.parametrize(
    ("least", "most", "ticks"),
    [
        (0, 1, [0, 0.2, 0.4, 0.6, 0.8, 1]),
        (0, 30, [0, 10, 20, 30]),
        (3, 8, [3, 4, 5, 6, 7, 8]),
        (0, 1e6, None),
        (-0.2, 0.1, None),
    ],
)
def test_an_axis_has_few_round_numbers(least: float, most: float, ticks: list[float] | None) -> None:
    found = drawing._ticks(least, most)
    assert drawing._ticks(1, 2, whole=True) == [1, 2]
    assert found == ticks or ticks is None
    assert 2 <= len(found) <= 6
    assert all(least - 1e-9 <= one <= most + 1e-9 for one in found)


def test_very_many_points_make_a_small_picture() -> None:
    curves = drawing.Curves("many", "x", "y")
    for number in range(100_000):
        curves.add("one", number, math.sin(number / 1e4))
    assert len(curves.svg()) < 60_000


def test_the_ledger_is_not_locked_and_aws_not_asked(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    ec2.up(ledger)
    monkeypatch.setattr(Cloud, "client", lambda *_, **__: pytest.fail("AWS was asked"))
    with ledger.journal.locked("up"):
        assert "instance" in boxes(ledger.map()._repr_svg_())
