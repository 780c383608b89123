"""What a student sees on a terminal: each line on its own, nothing erased, nothing raw."""

from __future__ import annotations

import io
import json
import logging
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyte
import pytest
from processes import eventually
from pty_kit import clean, each_leaves_whole_lines, environment, on_terminal
from rich import live

from awslabs import progress, screen, show

SLOW_STATES = 0.2  # states take a little time
pytestmark = pytest.mark.live


BOTH = (80, 110)  # columns
# Each verb at both, with work to do at each. Whole up and down of a server at both: in the test of --json.
VERBS = [
    (
        BOTH,
        "awslabs.ec2",
        ["up"],
        r"The server answers at 127\.0\.0\.1\. Log in: python -m awslabs\.ec2 ssh --sandbox",
    ),
    (BOTH, "awslabs.ec2", ["status"], r"│  └─ instance +running +0\.0163 USD/h +i-\w+"),
    (BOTH, "awslabs.ec2", ["ssh", "--", "echo", "hello"], r"hello"),
    (BOTH, "awslabs.ledger", ["list"], r"lab +name +cloud .*"),
    (BOTH, "awslabs.ledger", ["show", "ec2"], r"row +name +state .*"),
    (BOTH, "awslabs.ledger", ["verify"], r"\d+ rows stand, 0 absent on AWS\. .*"),
    (BOTH, "awslabs.ec2", ["down", "--dry-run"], r"Would delete \d+ resources, in this order:"),
    ((110,), "awslabs.ec2", ["down"], r"\d+ resources deleted; nothing of it is left\. .* USD\."),
    (
        BOTH,
        "awslabs.serverless",
        ["up"],
        r"On AWS it would cost .* until: python -m awslabs\.serverless down --sandbox",
    ),
    (BOTH, "awslabs.serverless", ["status"], r"api +standing +\w+"),
    (BOTH, "awslabs.serverless", ["invoke"], r"REPORT RequestId: .*"),
    (BOTH, "awslabs.serverless", ["invoke-many", "30"], r".* s #+.*"),
    (BOTH, "awslabs.serverless", ["table", "write", "200"], r"count +200"),
    (BOTH, "awslabs.serverless", ["haiku", "post-many", "20"], r"posted +20"),
    (BOTH, "awslabs.serverless", ["load", "--rate", "5", "--seconds", "2"], r".*#+.*"),
    (BOTH, "awslabs.serverless", ["logs"], r"REPORT RequestId: .*"),
    ((80,), "awslabs.serverless", ["down"], r"\d+ resources deleted; nothing of it is left\. .*"),
    (BOTH, "awslabs.ecs_qa", ["status"], r"Nothing stands\."),
    (BOTH, "awslabs.batch_sweep", ["status"], r"Nothing stands\."),
    (BOTH, "awslabs.gpu", ["status"], r"Nothing stands\."),
    (BOTH, "awslabs.sandbox", ["status"], r"The practice cloud listens at http://127\.0\.0\.1:\d+, .*"),
    (BOTH, "awslabs", [], r"Nothing stands\."),
]


def test_each_verb_leaves_whole_lines_on_the_screen(home: Path) -> None:
    for widths, *verb in VERBS:
        for columns in widths:
            each_leaves_whole_lines([verb], environment(home), columns)


@pytest.mark.parametrize("columns", BOTH)
def test_json_is_whole_under_the_lines_of_its_waits(home: Path, columns: int) -> None:
    waits = re.compile(r"[\u2800-\u28ff] waiting until .* \d:\d\d:\d\d")
    for verb in ("up", "status", "down"):
        seen = clean(on_terminal(["awslabs.ec2", verb, "--json"], environment(home), columns))
        assert seen.json
        if verb == "up":  # they are seen while they last
            assert any(map(waits.fullmatch, seen.during))


def test_an_error_stands_on_lines_of_its_own(home: Path) -> None:
    seen = clean(on_terminal(["awslabs.ec2", "ssh"], environment(home)), status=1)
    assert [line.partition(":")[0] for line in seen.lines] == ["error", "why", "fix"]


LONG = "python -m awslabs.ec2 up --sandbox --region ap-northeast-1 --name second --owner ana --ttl 3h"


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("error: The lab does not stand.", None),
        (
            "why:   0.0000 USD are spent, and it costs 0.0003 at the least. It was not started.",
            [
                "why:   0.0000 USD are spent, and it costs 0.0003 at the least. It was not",
                "       started.",
            ],
        ),
        (f"fix:   {LONG}", ["fix:", LONG]),
        (f"fix:   {LONG}    # then the same again", ["fix:", LONG, "# then the same again"]),
        (
            "fix:   make room where the output goes, or set another one; then ask again: "
            "aws sts get-caller-identity",
            [
                "fix:   make room where the output goes, or set another one; then ask again:",
                "aws sts get-caller-identity",
            ],
        ),
        (
            "fix:   run the same command again without a budget: `down` ends that of `up`, `unset X` that",
            [
                "fix:   run the same command again without a budget: `down` ends that of `up`,",
                "       `unset X` that",
            ],
        ),
        (f"error: {'x' * 90} is long.", [f"error: {'x' * 90}", "       is long."]),
        ("error: " + "夏草や " * 12, ["error: " + "夏草や " * 9 + "夏草や", "       夏草や 夏草や"]),
    ],
)
def test_a_long_line_of_an_error_ends_between_words_and_a_command_stays_whole(
    text: str, lines: list[str] | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    assert screen.fitted(text, Terminal()).split("\n") == (lines or [text])
    assert screen.fitted(text, io.StringIO()) == text  # through a pipe nothing is broken


def test_what_is_said_ends_between_words_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setattr(sys, "stderr", Terminal())
    screen.say("Not counted: " + "words " * 20)
    first, second = sys.stderr.getvalue().splitlines()  # type: ignore[attr-defined]
    assert first.endswith("words")
    assert second.startswith("words")
    assert len(first) <= 80


@pytest.mark.parametrize(
    ("usd", "shown"),
    [(0.0, "0.0000"), (0.00001, "<0.0001"), (0.00005, "0.0001"), (2.0, "2.0000"), (None, "?")],
)
def test_money_that_four_decimals_cannot_show_is_not_called_nothing(usd: float | None, shown: str) -> None:
    assert screen.amount("usd_budget", usd) == shown


@pytest.mark.parametrize(
    "options",
    [("--budget", "0"), ("--budget", "ten"), ("--ttl", "0"), ("--ttl", "2020-01-01"), ("--ttl", "5m")],
)
def test_wrong_usage_is_read_at_eighty_columns(options: tuple[str, str], tmp_path: Path) -> None:
    seen = on_terminal(["awslabs.ec2", "up", *options], environment(tmp_path))
    assert seen.status == 2
    assert [line for line in seen.lines if len(line) > 80] == []  # a line that the edge cut would be longer
    said = " ".join(line.strip() for line in seen.lines[3:])
    assert f"'{options[1]}' is no " in said
    assert said.endswith(("1,000,000 USD.", "0.50.", "1h30m."))


def test_what_others_have_written_reaches_no_terminal_raw_as_wrong_usage_either(tmp_path: Path) -> None:
    roster = tmp_path / "class.csv"
    roster.write_text("na\x1b[2Jme,owner,profile,role_arn,region\n")
    seen = on_terminal(["awslabs", "class", "list", "--class", str(roster)], environment(tmp_path))
    assert seen.status == 2
    assert "not na\\x1b[2jme,owner,profile,role_arn,region" in " ".join(line.strip() for line in seen.lines)


def test_status_is_read_at_eighty_columns(home: Path) -> None:
    """With the longest names that a first lab has, those of its switch."""
    for verb in (["up", "--budget", "1"], ["status"]):
        seen = clean(on_terminal(["awslabs.ec2", *verb], environment(home)))
    assert [line for line in seen.lines if len(line) > 80] == []  # a line that the edge cut would be longer
    assert any(line.split(maxsplit=1)[1].startswith("switch-schedule") for line in seen.lines if "─" in line)
    clean(on_terminal(["awslabs.ec2", "down"], environment(home)))


def test_ctrl_c_at_a_question_is_an_interruption(home: Path) -> None:
    ask = ["awslabs.serverless", "invoke-many", "10001"]
    seen = on_terminal(ask, environment(home), interrupt_at="Send them?")
    assert seen.status == 130
    assert seen.lines[-1] == "interrupted. Nothing is lost: run the same command again, or `down`."


def test_the_practice_cloud_s_weather_is_read_at_eighty_columns(home: Path) -> None:
    seen = clean(on_terminal(["awslabs.sandbox", "status"], environment(home)))
    cut = [
        line for line in seen.lines if len(line) > 80 and " " in line
    ]  # an ARN by itself has no place to break
    assert [line for line in cut if not line.startswith("log: ")] == []
    assert "no faults." in " ".join(seen.lines)


def test_nothing_in_a_sheet_is_a_formula() -> None:
    rows = [{"student": '=HYPERLINK("http://evil")', "usd": -0.5}, {"student": None, "usd": 1}]
    assert screen.sheet(rows, rows[0]) == ('student,usd\n"\'=HYPERLINK(""http://evil"")",-0.5\n?,1')


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


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_what_cannot_be_said_on_a_full_disk_is_no_failure(unbuffered: str) -> None:
    with open("/dev/full", "w") as full:
        said = "from awslabs import screen; screen.say('once'); screen.say('again')"
        variables = {**os.environ, "PYTHONUNBUFFERED": unbuffered}
        ran = subprocess.run([sys.executable, "-c", said], stderr=full, env=variables)
    assert ran.returncode == 0


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


def test_a_long_name_leaves_room_for_the_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal, seen = Terminal(), pyte.Screen(80, 10)
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(progress, "watcher", screen.watcher_for(terminal))
    with progress.awaiting(f"the bucket {'x' * 70} is gone"), progress.counting("y" * 90, 1000) as more:
        more(300)
        eventually(lambda: " 300 " in terminal.getvalue())
        pyte.Stream(seen).feed(terminal.getvalue().replace("\n", "\r\n"))
    wait, count = seen.display[:2]
    assert re.fullmatch(r"[\u2800-\u28ff|/\\-] waiting until the bucket x+… +0:00:\d\d", wait)
    assert re.fullmatch(r"[\u2800-\u28ff|/\\-] y+… 300 of 1000 0:00:\d\d", count)


def test_no_line_is_lost_where_threads_say_many_while_waits_come_and_go(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """rich's own thread drew between a line's place and its text: 3 of 1,800 were gone, waits were left."""
    terminal, place = Terminal(), live.Live.process_renderables

    def slowly(self: live.Live, renderables: list[Any]) -> list[Any]:
        placed = place(self, renderables)
        time.sleep(0.01)
        return placed

    def talk(thread: int) -> None:
        for line in expected[thread::3]:
            with progress.awaiting(f"thread {thread} goes on"):
                screen.say(line)

    monkeypatch.setattr(live.Live, "process_renderables", slowly)
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(progress, "watcher", screen.watcher_for(terminal))
    expected = [f"line {number} of thread {thread}" for number in range(30) for thread in range(3)]
    threads = [threading.Thread(target=talk, args=(number,)) for number in range(3)]
    with progress.awaiting("all is said"):
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    seen = pyte.Screen(80, len(expected) + 20)
    pyte.Stream(seen).feed(terminal.getvalue().replace("\n", "\r\n"))
    assert sorted(filter(None, map(str.rstrip, seen.display))) == sorted(expected)


def test_a_result_stands_on_lines_of_its_own_while_a_thread_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    written = io.BytesIO()
    terminal = io.TextIOWrapper(written, "utf-8", write_through=True)
    monkeypatch.setattr(terminal, "isatty", lambda: True, raising=False)
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setattr(sys, "stdout", terminal)
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(progress, "watcher", screen.watcher_for(terminal))
    seen = pyte.Screen(80, 10)
    with progress.awaiting("the instance is gone"):
        assert screen.takes_unicode(sys.stdout)
        screen.out("a result\nof two lines")
        pyte.ByteStream(seen).feed(written.getvalue().replace(b"\n", b"\r\n"))
        assert [line.rstrip() for line in seen.display[:2]] == ["a result", "of two lines"]
        assert "the instance is gone" in seen.display[2]


def test_prose_in_a_result_ends_between_words_below_its_first() -> None:
    result = {"statement": "word " * 5 + "end", "inner": {"usd": 1, "why": "word " * 4 + "end"}}
    assert list(screen.lines_of(result, room=26)) == [
        "statement  word word word",
        "           word word end",
        "inner",
        "  usd  1.0000",
        "  why  word word word word",
        "       end",
    ]
    assert len(list(screen.lines_of(result))) == 4  # through a pipe nothing is broken


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
