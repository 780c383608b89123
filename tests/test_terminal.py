"""What a student sees on a terminal: each line on its own, nothing erased, nothing raw."""

from __future__ import annotations

import io
import json
import logging
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from processes import eventually
from pty_kit import clean, each_leaves_whole_lines, environment, on_terminal

from awslabs import progress, sandbox, screen, show

pytestmark = pytest.mark.live


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The home of one student, with a practice cloud whose states take a little time."""
    home = tmp_path_factory.mktemp("student")
    run = sandbox.start(slow_states=0.2, home=home)
    yield home
    run.stop()


VERBS = [
    (
        "awslabs.ec2",
        ["up"],
        r"The server answers at 127\.0\.0\.1\. Log in: python -m awslabs\.ec2 ssh --sandbox",
    ),
    ("awslabs.ec2", ["status"], r"│  └─ instance +running +0\.0163 USD/h +i-\w+"),
    ("awslabs.ec2", ["ssh", "--", "echo", "hello"], r"hello"),
    ("awslabs.ledger", ["list"], r"lab +name +cloud .*"),
    ("awslabs.ledger", ["show", "ec2"], r"row +name +state .*"),
    ("awslabs.ledger", ["verify"], r"\d+ rows stand, 0 absent on AWS\. .*"),
    ("awslabs.ec2", ["down", "--dry-run"], r"Would delete \d+ resources, in this order:"),
    ("awslabs.ec2", ["down"], r"\d+ resources deleted; nothing of it is left\. .* USD\."),
    (
        "awslabs.serverless",
        ["up"],
        r"On AWS it would cost .* until: python -m awslabs\.serverless down --sandbox",
    ),
    ("awslabs.serverless", ["status"], r"api +standing +\w+"),
    ("awslabs.serverless", ["invoke"], r"REPORT RequestId: .*"),
    ("awslabs.serverless", ["invoke-many", "30"], r".* s #+.*"),
    ("awslabs.serverless", ["table", "write", "200"], r"count +200"),
    ("awslabs.serverless", ["haiku", "post-many", "20"], r"posted +20"),
    ("awslabs.serverless", ["load", "--rate", "5", "--seconds", "2"], r".*#+.*"),
    ("awslabs.serverless", ["logs"], r"REPORT RequestId: .*"),
    ("awslabs.serverless", ["down"], r"\d+ resources deleted; nothing of it is left\. .*"),
    ("awslabs.ecs_qa", ["status"], r"Nothing stands\."),
    ("awslabs.batch_sweep", ["status"], r"Nothing stands\."),
    ("awslabs.gpu", ["status"], r"Nothing stands\."),
    ("awslabs.sandbox", ["status"], r"The practice cloud listens at http://127\.0\.0\.1:\d+, .*"),
    ("awslabs", [], r"Nothing stands\."),
]


@pytest.mark.parametrize("columns", [80, 110])
def test_each_verb_leaves_whole_lines_on_the_screen(home: Path, columns: int) -> None:
    each_leaves_whole_lines(VERBS, environment(home), columns)


@pytest.mark.parametrize("columns", [80, 110])
def test_json_is_whole_under_the_lines_of_its_waits(home: Path, columns: int) -> None:
    for verb in (["up", "--json"], ["status", "--json"], ["down", "--json"]):
        seen = clean(on_terminal(["awslabs.ec2", *verb], environment(home), columns))
        assert seen.json


def test_waits_are_seen_while_they_last(home: Path) -> None:
    try:
        seen = on_terminal(["awslabs.ec2", "up"], environment(home))
        assert [
            line for line in seen.during if re.match(r"^[\u2800-\u28ff] waiting until .* \d:\d\d:\d\d$", line)
        ]
    finally:
        clean(on_terminal(["awslabs.ec2", "down"], environment(home)))


def test_an_error_stands_on_lines_of_its_own(home: Path) -> None:
    seen = clean(on_terminal(["awslabs.ec2", "ssh"], environment(home)), status=1)
    assert [line.partition(":")[0] for line in seen.lines] == ["error", "why", "fix"]


@pytest.mark.parametrize("encoding", ["iso-8859-1", "cp932"])
def test_an_encoding_that_lacks_a_character_gets_its_escape(home: Path, encoding: str) -> None:
    program = (
        "from awslabs import cli\n"
        "with cli.reporting():\n"
        "  cli.say('古池\U0001f438')\n"
        "  cli.show({'a': '古池\U0001f438é'}, %s)"
    )
    for as_json in (False, True):
        ran = subprocess.run(
            [sys.executable, "-c", program % as_json],
            env=environment(home, PYTHONIOENCODING=encoding),
            capture_output=True,
        )
        assert ran.returncode == 0, ran.stderr
        assert b"\\U0001f438" in ran.stderr
    assert json.loads(ran.stdout.decode(encoding)) == {"a": "古池\U0001f438é"}


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a device that is always full is Linux's")
def test_a_full_disk_under_stdout_is_said(home: Path) -> None:
    with open("/dev/full", "w") as full:
        ran = subprocess.run(
            [sys.executable, "-m", "awslabs.ledger", "list", "--json"],
            env=environment(home),
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
        )
    assert ran.returncode == 1
    assert "error: The result could not be printed.\n" in ran.stderr
    assert "Traceback" not in ran.stderr
    assert "Exception ignored" not in ran.stderr


def test_a_full_disk_under_stderr_stops_no_deletion(home: Path) -> None:
    with open("/dev/full", "w") as full:
        ran = subprocess.run(
            [sys.executable, "-m", "awslabs.ec2", "down", "--json"],
            env=environment(home),
            stdout=subprocess.PIPE,
            stderr=full,
            text=True,
        )
    assert ran.returncode == 0
    assert json.loads(ran.stdout)["deleted"] == 0


HOSTILE = "a\x1b[2Jb\rc\x9b31md\u202ee\nf\tg"


def test_nothing_of_others_reaches_the_terminal_raw(capsys: pytest.CaptureFixture[str]) -> None:
    screen.show([{"name": HOSTILE}], as_json=False)
    screen.show({"name": HOSTILE, HOSTILE: 1}, as_json=False)
    screen.show({"name": HOSTILE}, as_json=True)
    screen.out(HOSTILE)
    screen.say(HOSTILE)
    shown = capsys.readouterr()
    for text in (shown.out, shown.err):
        assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202e]", text)
    table = shown.out.splitlines()
    assert table[1] == r"a\x1b[2Jb\rc\x9b31md\u202ee\nf\tg"


def test_json_holds_what_it_was_given(capsys: pytest.CaptureFixture[str]) -> None:
    screen.show({"name": HOSTILE}, as_json=True)
    assert json.loads(capsys.readouterr().out) == {"name": HOSTILE}


class Terminal(io.StringIO):
    encoding = "utf-8"

    def isatty(self) -> bool:
        return True


def test_many_waits_at_once_leave_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    watcher = screen.watcher_for(terminal)
    monkeypatch.setattr(progress, "watcher", watcher)

    def wait(number: int) -> None:
        with progress.awaiting(f"thing {number} [bold]stands"):
            time.sleep(0.01 * (number % 5))
        with progress.counting(f"count {number}", 3) as more:
            for _ in range(3):
                more(1)

    threads = [threading.Thread(target=wait, args=(number,)) for number in range(30)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    screen.say("done")
    assert isinstance(watcher, screen.TerminalWatcher)
    assert watcher.live is None
    assert terminal.getvalue().endswith("done\n")


def test_off_a_terminal_a_long_count_is_told_now_and_then(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(screen, "STEP_S", 0.0)
    monkeypatch.setattr(progress, "watcher", screen.PlainWatcher())
    with progress.counting("sent", 2) as more:
        more(1)
        more(1)
    assert capsys.readouterr().err == "sent: 1 of 2\nsent: 2 of 2\n"


class Kernel:
    """What of IPython and its kernel a notebook's watcher meets; `cells` is what stands under the cell."""

    kernel = "here"

    def __init__(self) -> None:
        self.cells: list[list[str]] = []

    def get_ipython(self) -> Kernel:
        return self

    def display(self, data: dict[str, str], *, raw: bool, display_id: bool) -> Any:
        assert raw
        assert display_id
        texts = [data["text/plain"]]
        self.cells.append(texts)
        return SimpleNamespace(update=lambda later, raw: texts.append(later["text/plain"]))


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> Iterator[Kernel]:
    kernel, logger = Kernel(), logging.getLogger("awslabs")
    ipython = SimpleNamespace(get_ipython=kernel.get_ipython)
    monkeypatch.setattr(progress, "watcher", None)
    monkeypatch.setitem(sys.modules, "IPython", ipython)
    monkeypatch.setitem(sys.modules, "IPython.display", SimpleNamespace(display=kernel.display))
    before = list(logger.handlers)
    yield kernel
    logger.handlers[:] = before
    progress.watcher = None


def test_in_a_notebook_nothing_is_red(kernel: Kernel, capsys: Any) -> None:
    screen.watch_in_notebook()
    screen.say("a line")
    logging.getLogger("awslabs.ec2").warning("a warning")
    assert capsys.readouterr() == ("a line\na warning\n", "")


def test_in_a_notebook_a_wait_is_one_line_that_is_written_over(kernel: Kernel) -> None:
    screen.watch_in_notebook()
    with progress.awaiting("the server boots"):
        eventually(lambda: kernel.cells and len(kernel.cells[0]) >= 2)
    with progress.counting("sent", 7) as more:
        more(3)
        eventually(lambda: len(kernel.cells) == 2)
        more(4)
    with progress.awaiting("a moment has passed"):
        pass
    awaited, counted = kernel.cells
    seconds = [re.fullmatch(r"waiting until the server boots, (\d+) s", line) for line in awaited[:-1]]
    first, second, *_ = [int(each[1]) for each in seconds if each]
    assert 1 <= first < second
    assert re.fullmatch(r"waited \d+\.\d s until the server boots", awaited[-1])
    assert re.fullmatch(r"sent: 3 of 7, [1-9]\d* s", counted[0])
    assert re.fullmatch(r"sent: 7 of 7 in \d+\.\d s", counted[-1])


def test_without_a_notebook_s_kernel_nobody_watches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "watcher", None)
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: None))
    screen.watch_in_notebook()
    assert progress.watcher is None


def test_a_picture_that_a_result_names_is_shown_as_a_picture(tmp_path: Path) -> None:
    picture, table = tmp_path / "mnist.png", tmp_path / "metrics.csv"
    picture.write_bytes(b"png")
    shown = show.cell([table, picture])
    assert shown == f'{table}<br><img alt="mnist.png" src="data:image/png;base64,cG5n">'
