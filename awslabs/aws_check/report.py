"""The page that a check leaves: what was done, how long each step and each wait took, what AWS answered.

It is written anew before and after each step. So whatever ends the check, the page says how far it came and,
if anything may still stand, the command that deletes it and what it costs until then.
"""

from __future__ import annotations

import contextlib
import datetime
import platform
import threading
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any, TypeVar

from awslabs import images, journal, screen
from awslabs.aws_check.questions import Witness
from awslabs.cassettes import Recorder
from awslabs.errors import DISTRIBUTION, LabError
from awslabs.explain import as_options
from awslabs.ledger import Ledger
from awslabs.pseudonyms import Pseudonyms

T = TypeVar("T")
PASSED, FAILED, INTERRUPTED, RUNNING = "passed", "failed", "interrupted", "did not end"
LEAST_S = 0.05  # a shorter wait was none
DISTRIBUTIONS = (DISTRIBUTION, "boto3", "botocore", "paramiko", "docker")


@dataclass
class Step:
    """One step: how long it took, what came of it, what was awaited in it."""

    name: str
    since: float
    seconds: float | None = None
    result: str = "began, and did not end"
    waits: list[tuple[str, float]] = field(default_factory=list)


class Report:
    """The page, as far as it is known.

    Parameters
    ----------
    page : Path
        The file.
    lab : str
    given : dict
        The options that chose its machines.
    names : Pseudonyms
        What is blotted.
    """

    def __init__(self, page: Path, lab: str, given: dict[str, Any], names: Pseudonyms) -> None:
        self.page, self.lab, self.given, self.names = page, lab, given, names
        self.ending, self.where, self.region = RUNNING, "", ""
        self.ledger: Ledger | None = None
        self.steps: list[Step] = []
        self.asked: dict[str, str] = {}
        self.images: list[str] = []
        self.engine = ""
        self.trouble = ""
        self.recorder: Recorder | None = None
        self.cassette: Path | None = None
        self.mutex = threading.Lock()

    # -- What happens --------------------------------------------------------------------------------------

    def do(self, name: str, act: Callable[[], T]) -> T:
        """Do one step, say what came of it, and keep that, with what went wrong."""
        step = Step(name, time.monotonic())
        with self.mutex:
            self.steps.append(step)
        if self.ledger:
            self.write()
        try:
            result = act()
            step.result = result if isinstance(result, str) else "opened"
        except BaseException as error:
            step.result = f"{ending_of(error)}: {first_line(error)}"
            raise
        finally:
            step.seconds = time.monotonic() - step.since
            say(f"{self.lab:<12} {name:<8} {step.seconds:>6.1f} s  {step.result}")
            if self.ledger:
                self.write()
        return result

    def begin(self, ledger: Ledger) -> None:
        """Somebody agreed: from now on there is a page, and an error if there cannot be one."""
        self.ledger, self.region = ledger, ledger.cloud.region
        self.where = "AWS" if ledger.cloud.is_aws else "the practice cloud"
        self.engine = engine_in_words()
        try:
            journal.write(self.page, self.text())
        except OSError as error:
            raise LabError(
                f"{self.page} cannot be written.",
                f"{error.strerror or error}. Without its report a check is of no use: nothing was built.",
                "say where it can: --report FILE",
            ) from error

    def record(self, recorder: Recorder, cassette: Path) -> None:
        """Write a cassette whenever the page is written."""
        self.recorder, self.cassette = recorder, cassette
        self.write()

    def ask(self, questions: Callable[[], dict[str, str]]) -> None:
        """Keep what AWS answered to the questions."""

        def ask() -> str:
            self.asked |= questions()
            return f"{len(self.asked)} questions that only AWS can answer"

        self.do("ask", ask)

    def witnessed(self, witness: Witness) -> None:
        """Keep what was seen besides: the images, and how `down` went."""
        self.images = witness.images()
        if taken := next((step.seconds for step in self.steps if step.name == "down"), None):
            self.asked |= witness.of_down(taken)
        self.write()

    def end(self, trouble: BaseException | None) -> None:
        """The last word."""
        self.ending = PASSED if trouble is None else ending_of(trouble)
        self.trouble = "" if trouble is None else told(trouble)
        self.write()

    def began(self, what: str) -> float:
        """A wait starts, as `progress` tells it."""
        return time.monotonic()

    def ended(self, what: str, began: float) -> None:
        """That wait is over; it belongs to the step that is under way."""
        seconds = time.monotonic() - began
        with self.mutex:
            if seconds >= LEAST_S and self.steps:
                self.steps[-1].waits.append((what, seconds))

    # -- The page ------------------------------------------------------------------------------------------

    def write(self) -> None:
        """Put it on the disk, whole; on the screen where that does not take it: deleting goes on."""
        text = self.text()
        try:
            journal.write(self.page, text)
            if self.recorder and self.cassette:
                self.recorder.write(self.cassette)
        except OSError as error:
            screen.complain(
                f"{self.page} could not be written ({error.strerror or error}). It would say:\n{text}"
            )

    def text(self) -> str:
        """The page in Markdown, blotted."""
        what, where = f"{self.lab}{as_options(self.given)}", self.where or "nothing yet"
        lines = [
            f"# {what} on {where}, {datetime.date.today()}: {self.ending}",
            "",
            f"- Region: {self.region or 'not known'}",
            f"- {'; '.join(versions())}; Python {platform.python_version()} on "
            f"{platform.system()} {platform.machine()}",
            f"- Docker: {self.engine or 'not asked'}",
            f"- image: {'; '.join(self.images) or 'none'}",
            f"- cost: {self._cost()}",
        ]
        lines += [f"- {self._standing()}"] if self._standing() else []
        lines += ["", "| step | seconds | result |", "|---|---|---|"]
        for step in self.steps:
            lines.append(f"| {step.name} | {seconds(step.seconds)} | {cell(step.result)} |")
            lines += [f"|  | {seconds(waited)} | waited until {cell(what)} |" for what, waited in step.waits]
        if self.asked:
            lines += ["", "| what only AWS can answer | answer |", "|---|---|"]
            lines += [f"| {cell(question)} | {cell(answer)} |" for question, answer in self.asked.items()]
        if self.trouble:
            lines += ["", "What went wrong:", "", *(f"    {line}" for line in self.trouble.splitlines())]
        return self.names.blotted("\n".join([*lines, ""]))

    def _cost(self) -> str:
        if self.ledger is None:
            return "nothing was built"
        usd = self.ledger.usd_so_far
        much = "not known" if usd is None else f"about {usd:.4f} USD"
        return much if self.ledger.cloud.is_aws else f"{much} on AWS; the practice cloud is free"

    def _standing(self) -> str:
        """What still stands, the command that deletes it, and what it costs until then."""
        if self.ledger is None:
            return ""
        rows = self.ledger.journal.open_rows()
        if not rows:
            return ""
        usd = self.ledger.usd_per_hour
        price = "a price per hour that is not known" if usd is None else f"{usd:.4f} USD per hour"
        return f"**{len(rows)} resources stand, at {price}, until:** `{self.ledger.command('down')}`"


def ending_of(error: BaseException) -> str:
    """How it ended."""
    return INTERRUPTED if isinstance(error, KeyboardInterrupt) else FAILED


def first_line(error: BaseException) -> str:
    """What went wrong, in a line."""
    if isinstance(error, LabError):
        return error.what
    return f"{type(error).__name__}: {error}".partition("\n")[0].rstrip(": ")


def told(error: BaseException) -> str:
    """What went wrong, in full: our own errors as they are said, others with where they came from."""
    if isinstance(error, LabError):
        return f"error: {error}"
    frames = traceback.extract_tb(error.__traceback__)
    places = [f"{Path(frame.filename).name}:{frame.lineno} {frame.name}" for frame in frames[-6:]]
    return f"{first_line(error)}\nat " + " > ".join(places)


def say(text: str) -> None:
    """A line for whoever looks; a terminal that was closed is no reason to stop."""
    with contextlib.suppress(OSError):
        screen.say(text)


def versions() -> list[str]:
    """What is installed, of what plays a part."""

    def version(name: str) -> str:
        try:
            return metadata.version(name)
        except metadata.PackageNotFoundError:  # run from its files, as nobody installed it
            return "not installed"

    return [f"{name} {version(name)}" for name in DISTRIBUTIONS]


def engine_in_words() -> str:
    """The Docker engine and where it keeps images: the two stores answer differently."""
    from docker.errors import DockerException
    from requests import RequestException

    client = images.engine()
    if client is None:
        return "no engine answers"
    try:
        said = client.info()
    except (DockerException, RequestException) as error:
        return f"an engine that does not say what it is: {error}"
    finally:
        client.close()
    status = dict(pair for pair in said.get("DriverStatus") or () if len(pair) == 2)
    store = (
        "the containerd image store" if "io.containerd" in str(status.get("driver-type")) else "its own store"
    )
    return (
        f"engine {said.get('ServerVersion', '?')} ({said.get('OperatingSystem', '?')}, "
        f"{said.get('Architecture', '?')}), {said.get('Driver', '?')}, {store}"
    )


def seconds(value: float | None) -> str:
    """Seconds for a cell; nothing of a step that goes on."""
    return "" if value is None else f"{value:.1f}"


def cell(text: str) -> str:
    """A text that stays in its cell."""
    return screen.one_line(text).replace("\\n", "; ").replace("|", "\\|")
