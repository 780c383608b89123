"""The check for a first real account, rehearsed in the practice cloud: always a report, always a `down`."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import inprocess
import pytest
from click.testing import CliRunner
from practice import everything_ours
from wire import ALWAYS, Wire, refusal

from awslabs import addresses, aws_check, cli, inventory, journal, progress, sandbox, tour, tunnel
from awslabs.__main__ import main
from awslabs.aws_check import questions, report
from awslabs.cloud import Cloud
from awslabs.errors import LabError, StillStanding
from awslabs.ledger import Ledger
from awslabs.pseudonyms import Pseudonyms

ACCOUNT = "222233334444"
IDS = re.compile(
    r"\d{12}|\b(vpc|i|sg|igw|subnet|rtb|ami)-[0-9a-f]{6,}|(?<![\d.-])(?!127\.0\.0\.1)(\d{1,3}\.){3}\d{1,3}(?![\d.])|awslabs-ec2-[a-z0-9]{6}"
)


@pytest.fixture
def checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., str]]:
    """Runs a check in a cloud where nothing runs, and returns its page."""
    monkeypatch.setattr(tunnel, "wait_for_ssh", lambda *_, **__: None)
    monkeypatch.setattr(tour.chapter("ec2"), "work", lambda ledger: "nothing to log in to")
    monkeypatch.setattr(addresses, "my_ip", lambda client: "198.51.100.7")
    page = tmp_path / "pages" / "report.md"

    def open_ledger(lab: str, **how: Any) -> Ledger:
        return Ledger(inprocess.open_cloud(ACCOUNT, "ada"), lab, how["name"])

    def check(lab: str = "ec2", error: type[BaseException] | None = None, **options: Any) -> str:
        with pytest.raises(error) if error else contextlib.nullcontext():
            aws_check.check(lab, page, options, yes=True)
        return page.read_text() if page.exists() else ""

    with inprocess.cloud(slow_states=1.0) as clock:
        monkeypatch.setattr(cli, "open_ledger", open_ledger)
        monkeypatch.setattr(report, "time", clock)
        monkeypatch.setattr(questions, "time", clock)
        yield check


def left(name: str = aws_check.COPY) -> list[Any]:
    """What AWS still shows of the check."""
    ledger = Ledger(inprocess.open_cloud(ACCOUNT, "ada"), "ec2", name)
    return everything_ours(ledger.cloud) + ledger.journal.open_rows()


def steps(page: str) -> list[str]:
    return re.findall(r"^\| ([a-z]+) \| [\d.]+ \| ", page, re.MULTILINE)


def test_a_lab_from_end_to_end(checked: Callable[..., str]) -> None:
    page = checked()
    assert steps(page) == ["account", "clean", "up", "look", "work", "ask", "down", "verify"]
    assert page.startswith("# ec2 on the practice cloud, ") or page.startswith("# ec2 on AWS, ")
    assert page.splitlines()[0].endswith(": passed")
    assert "nothing of it is left in the cloud" in page
    for stated in (
        "- Region: us-east-1\n",
        "botocore 1.",
        "- Docker: no engine answers",
        "- image: al2023-ami-",
    ):
        assert stated in page
    assert not IDS.search(page), IDS.search(page)
    assert " ada" not in page
    assert left() == []


def test_every_wait_stands_below_its_step(checked: Callable[..., str]) -> None:
    page = checked()
    up, _, after = page.partition("| look |")
    waits = re.findall(r"^\|  \| ([\d.]+) \| waited until (.*) \|$", up, re.MULTILINE)
    assert "the server <i-1> runs" in [what for _, what in waits]
    assert min(float(took) for took, _ in waits) > 0
    assert "is gone |" in after


def test_what_only_aws_can_answer_is_asked(checked: Callable[..., str]) -> None:
    page = checked()
    assert f"| {questions.CONSOLE} | it was not asked" in page
    (down,) = re.findall(rf"^\| {re.escape(questions.DOWN)} \| (.*) \|$", page, re.MULTILINE)
    assert re.fullmatch(r"1 t3\.micro ran; it took \d+ s; AWS refused .* meanwhile", down), down


def test_the_smallest_check_has_no_server(checked: Callable[..., str]) -> None:
    page = checked("smallest")
    assert steps(page) == ["account", "clean", "quotas", "network", "group", "key", "ask", "down", "verify"]
    assert "L-1216C47A is " in page
    assert "cost: about 0.0000 USD" in page
    assert left(aws_check.SMALLEST) == []


@pytest.mark.parametrize(
    ("step", "error"), [("look", KeyboardInterrupt), ("work", RuntimeError), ("work", LabError)]
)
def test_whatever_happens_there_is_a_down_and_a_report(
    step: str, error: type[BaseException], checked: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(ledger: Ledger) -> str:
        raise error("vpc-0123456789abcdef0 of 123456789012 said no")

    monkeypatch.setattr(tour.chapter("ec2"), step, fail)
    page = checked(error=error)
    ending = "interrupted" if error is KeyboardInterrupt else "failed"
    assert page.splitlines()[0].endswith(f": {ending}")
    assert steps(page)[-3:] == [step, "down", "verify"]
    assert "What went wrong:" in page
    assert ("fail" in page.rpartition("\nWhat went wrong:")[2]) == (error is not LabError)
    assert not IDS.search(page)
    assert left() == []


def test_what_down_leaves_is_named_with_its_command_and_its_price(
    checked: Callable[..., str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    began = []

    def interrupted(ledger: Ledger, *, dry_run: bool = False) -> list[Any]:
        began.append(ledger)
        if len(began) == 1:
            return []  # what an earlier check may have left
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(Ledger, "down", interrupted)
        page = checked(error=KeyboardInterrupt)
    command = r"python -m awslabs\.ec2 down --name check"
    assert re.search(rf"- \*\*\d+ resources stand, at 0\.01\d\d USD per hour, until:\*\* `{command}", page)
    assert re.search(f"Something still stands. Delete it: {command}", capsys.readouterr().err)
    assert steps(page)[-1] == "down"
    assert left()
    checked()  # the next one takes down what this one has left
    assert left() == []


def test_the_page_is_there_before_anything_is_built(
    checked: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pages = []

    def look(ledger: Ledger) -> str:
        pages.append((tmp_path / "pages" / "report.md").read_text())
        return "looked"

    monkeypatch.setattr(tour.chapter("ec2"), "look", look)
    checked()
    (page,) = pages
    assert page.splitlines()[0].endswith(": did not end")
    assert "| look |  | began, and did not end |" in page
    assert "resources stand, at 0.01" in page


def test_where_no_page_can_be_nothing_is_built(checked: Callable[..., str], tmp_path: Path) -> None:
    (tmp_path / "pages").write_text("a file")
    with inprocess.trouble() as trouble:
        checked(error=LabError)
    assert trouble.calls == []


def test_a_disk_that_fills_up_stops_no_down(
    checked: Callable[..., str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write, written = journal.write, []

    def full(path: Path, text: str) -> None:
        if path.suffix == ".md":
            if written:
                raise OSError(28, "No space left on device")
            written.append(text)
        write(path, text)

    monkeypatch.setattr(journal, "write", full)
    checked()
    said = capsys.readouterr().err
    assert "could not be written (No space left on device)" in said
    assert "| verify |" in said
    assert left() == []


def test_credentials_that_open_nothing_leave_a_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: Any, **__: Any) -> Ledger:
        raise LabError("The AWS credentials are not valid.", "", "aws configure")

    monkeypatch.setattr(cli, "open_ledger", refused)
    with pytest.raises(LabError):
        aws_check.check("ec2", tmp_path / "page.md", {}, yes=True)
    page = (tmp_path / "page.md").read_text()
    assert page.splitlines()[0].endswith(": failed")
    assert "The AWS credentials are not valid." in page


def test_verify_looks_at_the_labs_own_kinds_alone(
    checked: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who may build a lab may perhaps list nothing else."""
    with inprocess.trouble() as trouble:
        checked("smallest")
    assert not {"ListClusters", "ListFunctions", "DescribeComputeEnvironments"} & set(trouble.asked)
    monkeypatch.setattr(inventory, "stands", lambda cloud, one: True)
    ledger = Ledger(inprocess.open_cloud(ACCOUNT, "ada"), "ec2", "other")
    ledger.create("vpc", ledger.client("ec2").create_vpc, CidrBlock="10.10.0.0/23")
    with pytest.raises(LabError, match="there is still vpc-"):
        tour.verify(ledger)


def test_a_kind_that_cannot_be_looked_at_is_not_proven_gone(
    checked: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger = Ledger(inprocess.open_cloud(ACCOUNT, "ada"), "ec2", "other")
    ledger.create("vpc", ledger.client("ec2").create_vpc, CidrBlock="10.10.0.0/23")
    ledger.down()

    Wire(monkeypatch).refuse("DescribeVpcs", "UnauthorizedOperation", 403, times=ALWAYS)
    with pytest.raises(StillStanding, match="not proven"):
        tour.verify(ledger)


@pytest.mark.parametrize(
    ("lab", "options", "takes"),
    [
        ("smallest", {"cpu": True}, "none"),
        ("ec2", {"spot": True}, "--instance-type"),
        ("serverless", {"instance_type": "t3.nano"}, "none"),
        ("batch_sweep", {"instance_type": "t3.nano"}, "--cpu, --spot"),
    ],
)
def test_options_that_a_lab_does_not_take_are_refused(lab: str, options: dict, takes: str) -> None:
    with pytest.raises(LabError) as refused:
        aws_check.options_for(lab, options)
    assert refused.value.why == f"It takes: {takes}."


@pytest.mark.parametrize(
    ("lab", "options", "asked"),
    [
        ("ec2", {"instance_type": "t3.nano"}, {"instance_type": "t3.nano", "ttl_minutes": 90}),
        ("gpu", {"cpu": True}, {"instance_type": "m7i-flex.large", "spot": False, "ttl_minutes": 90}),
        ("gpu", {"spot": True}, {"instance_type": "g4dn.xlarge", "spot": True, "ttl_minutes": 90}),
        ("batch_sweep", {"cpu": True, "spot": True}, {"cpu": True, "spot": True}),
    ],
)
def test_options_reach_up(
    lab: str, options: dict, asked: dict, checked: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    heard: list[dict[str, Any]] = []
    # Chapter 1's `up` is the tour's own.
    place = "awslabs.tour.ec2.up" if lab == "ec2" else f"awslabs.{lab}.up"
    monkeypatch.setattr(place, lambda ledger, **how: heard.append(how))
    ledger = Ledger(inprocess.open_cloud(ACCOUNT, "ada"), lab)
    given = aws_check.options_for(lab, options)
    aws_check.steps(ledger, lab, given)["up"]()
    (how,) = heard
    assert asked.items() <= how.items()
    dearer = tour.chapter(lab).usd_per_hour("us-east-1")
    assert tour.chapter(lab).usd_per_hour("us-east-1", **given) < dearer


def test_the_console_is_timed(checked: Callable[..., str]) -> None:
    class Model:
        def __init__(self, name: str) -> None:
            self.name = name
            self.service_model = type("Service", (), {"service_name": "ec2"})

    class Answer:
        status_code = 200

    witness = questions.Witness(inprocess.open_cloud(ACCOUNT, "ada"))
    keys = "-----BEGIN SSH HOST KEY FINGERPRINTS-----\nec2: 256 SHA256:" + "a" * 43 + " x (ED25519)\n"
    keys += "-----END SSH HOST KEY FINGERPRINTS-----\n"
    for name, said in [
        ("RunInstances", {}),
        ("GetConsoleOutput", {}),
        ("GetConsoleOutput", {"Output": "boots"}),
    ]:
        witness._answered(Model(name), said, {}, Answer())
        questions.time.sleep(10.0)
    witness._answered(Model("GetConsoleOutput"), {"Output": keys}, {}, Answer())
    said = questions.console(None, witness)  # type: ignore[arg-type]
    assert said == "its first lines after 20 s, the keys after 30 s, 3 times asked"


def test_a_question_that_is_refused_fails_no_check() -> None:
    def ask(*_: Any) -> str:
        raise refusal("ListContainerInstances", "AccessDeniedException", 400)

    assert questions.answered(ask, None, None).startswith("not known: ")  # type: ignore[arg-type]
    missing: dict[str, int] = {}
    assert "KeyError" in questions.answered(lambda *_: str(missing["createdAt"]), None, None)  # type: ignore[arg-type]


def test_the_report_hears_waits_that_others_are_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Shown(progress.Watcher):
        def __init__(self) -> None:
            self.heard: list[str] = []

        def begin(self, what: str, total: int | None = None) -> None:
            self.heard.append(what)

    page = report.Report(tmp_path / "page.md", "ec2", {}, Pseudonyms())
    page.steps.append(report.Step("up", 0.0))
    monkeypatch.setattr(progress, "watcher", shown := Shown())
    monkeypatch.setattr(report, "time", clock := inprocess.Clock())
    with progress.heard_by(page), progress.awaiting("the server runs"):
        clock.sleep(3)
    with progress.awaiting("nobody listens"):
        clock.sleep(3)
    ((what, took),) = page.steps[0].waits
    assert what == "the server runs"
    assert took >= 3
    assert shown.heard == ["the server runs", "nobody listens"]


def test_a_hang_up_is_an_interruption() -> None:
    before = signal.getsignal(signal.SIGHUP)

    def hang_up() -> None:
        with aws_check.hung_up_is_interrupted():
            os.kill(os.getpid(), signal.SIGHUP)
            time.sleep(60)

    with pytest.raises(KeyboardInterrupt):
        hang_up()
    assert signal.getsignal(signal.SIGHUP) == before


def test_help_says_what_it_takes() -> None:
    said = CliRunner().invoke(main, ["aws-check", "--help"]).output
    for option in (
        "--lab",
        "--cpu",
        "--instance-type",
        "--spot",
        "--report",
        "--yes",
        "--sandbox",
        "--profile",
    ):
        assert option in said
    assert progress.watcher is None


# -- With real processes ---------------------------------------------------------------------------------


@pytest.fixture
def practice(tmp_path: Path) -> Iterator[tuple[sandbox.Run, dict[str, str]]]:
    run = sandbox.start(slow_states=0, home=tmp_path / "awslabs")
    environment = {**run.surroundings(), "AWSLABS_HOME": str(tmp_path / "awslabs"), "HOME": str(tmp_path)}
    yield run, environment
    run.stop()


@pytest.mark.live
def test_it_runs_the_lab_from_end_to_end_and_its_report_tells_no_ids(
    practice: tuple[sandbox.Run, dict[str, str]], tmp_path: Path
) -> None:
    run, environment = practice
    page = tmp_path / "aws-check-ec2.md"
    command = [sys.executable, "-m", "awslabs", "aws-check", "--lab", "ec2", "--sandbox"]
    environment["PYTHONPATH"] = str(Path(__file__).parents[1])

    def go(answer: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command, env=environment, input=answer, cwd=tmp_path, capture_output=True, text=True
        )

    refused = go("n\n")
    assert (refused.returncode, page.exists()) == (1, False), refused.stderr
    assert "at most about 0.010 USD" in refused.stderr
    done = go("y\n")
    assert done.returncode == 0, done.stderr
    made = {call["operation"] for call in run.calls()}
    text = page.read_text()
    assert steps(text) == ["account", "clean", "up", "look", "work", "ask", "down", "verify"]
    assert {"ec2:RunInstances", "ec2:TerminateInstances"} <= made
    assert re.search(r"the keys after \d+ s, \d+ times asked", text)
    assert not IDS.search(text), IDS.search(text)


@pytest.mark.live
def test_a_check_that_is_killed_in_the_middle_takes_everything_down(
    practice: tuple[sandbox.Run, dict[str, str]], tmp_path: Path
) -> None:
    run, environment = practice
    run.weather(slow_states=3.0)
    page = tmp_path / "page.md"
    environment["PYTHONPATH"] = str(Path(__file__).parents[1])
    command = [sys.executable, "-m", "awslabs", "aws-check", "--lab", "ec2", "--sandbox", "--yes"]
    check = subprocess.Popen(
        [*command, "--report", str(page)], env=environment, stderr=subprocess.PIPE, text=True
    )
    until = time.monotonic() + 120
    while not any(call["operation"] == "ec2:RunInstances" for call in run.calls()):
        assert time.monotonic() < until, "no server was started"
        assert check.poll() is None, check.stderr and check.stderr.read()
        time.sleep(0.2)
    run.weather(slow_states=0)
    check.terminate()
    _, said = check.communicate(timeout=180)
    assert check.returncode == 130, said
    text = page.read_text()
    assert text.splitlines()[0].endswith(": interrupted")
    assert steps(text)[-2:] == ["down", "verify"], text
    cloud = Cloud("us-east-1", environment=run.environment())
    assert everything_ours(cloud) == []
