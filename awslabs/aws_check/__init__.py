"""A lab on a real account, from end to end, and a report that may be handed out.

    awslabs aws-check                               the smallest: a network, a firewall, a key; costs nothing
    awslabs aws-check --lab ec2                     a whole lab; says the account and the cost, then asks
    awslabs aws-check --lab gpu --cpu               without a GPU; --spot, --instance-type as `up` takes them
    awslabs aws-check --lab ec2 --sandbox           the same in the practice cloud: a rehearsal, free
    awslabs aws-check --lab ec2 --record FILE       all calls besides, as a cassette: `sandbox replay FILE`

    <1> what is built       `tour`'s steps, or those of `smallest`: each is said as it is done
    <2> what AWS is asked   `questions`: what nobody can know without AWS
                            and, for a recording, what it refuses: `probes`
    <3> down, verify        whatever happened before: a refusal, a fault of ours, Ctrl-C, a closed terminal
    <4> the page            `report`: written before each step, so that it is there even after a kill -9

The page holds no account number, id, address, user or host name: `awslabs.pseudonyms` blots them.
"""

from __future__ import annotations

import contextlib
import getpass
import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from awslabs import cli, prices, progress, tour
from awslabs.aws_check import smallest
from awslabs.aws_check.probes import look_back, probe
from awslabs.aws_check.questions import Witness, answers
from awslabs.aws_check.report import Report, say
from awslabs.cassettes import Recorder
from awslabs.errors import LabError
from awslabs.explain import as_options
from awslabs.ledger import Ledger
from awslabs.pseudonyms import Pseudonyms

COPY = "check"  # a copy of the lab of its own: yours stays as it is
SMALLEST = "smallest"
LONGEST_H = 0.5  # hours that a check may take before its stated cost no longer holds
TTL_MINUTES = 90  # after which its server ends by itself, should all else fail


def options_for(lab: str, options: dict[str, Any]) -> dict[str, Any]:
    """Of these options those that were given, if the lab takes them.

    Raises
    ------
    LabError
        When it does not.
    """
    given = {name: value for name, value in options.items() if value}
    taken: tuple[str, ...] = () if lab == SMALLEST else tour.chapter(lab).OPTIONS
    if others := sorted(given.keys() - set(taken)):
        flag = f"--{others[0].replace('_', '-')}"
        ours = ", ".join(f"--{name.replace('_', '-')}" for name in taken) or "none"
        raise LabError(f"The check of {lab} takes no {flag}.", f"It takes: {ours}.", "leave it out")
    return given


def check(
    lab: str,
    page: Path,
    options: dict[str, Any],
    *,
    yes: bool = False,
    cassette: Path | None = None,
    **where: Any,
) -> None:
    """Run one lab from end to end, and write down how it went.

    Parameters
    ----------
    lab : str
        A lab, or ``smallest``.
    page : Path
        Where the report goes.
    options : dict
        ``instance_type``, ``cpu``, ``spot``, as far as the lab takes them.
    yes : bool
        Do not ask.
    cassette : Path, optional
        Where a recording of all calls goes (`cassettes`).
    **where
        As `cli.open_ledger` takes them.

    Raises
    ------
    BaseException
        What went wrong, whatever it was, once everything is taken down and the report is written.
    """
    given = options_for(lab, options)
    report = Report(page, lab, given, Pseudonyms(mine(where)))
    with progress.heard_by(report):
        try:
            ledger = report.do("account", lambda: opened(lab, report, where))
        except BaseException as error:
            report.end(error)
            raise
        if not yes:
            agree(ledger, lab, given)
        report.begin(ledger)
        if cassette:
            report.record(recorder_of(ledger, lab, report), cassette)
        witness = Witness(ledger.cloud)
        with hung_up_is_interrupted():
            trouble = run(ledger, lab, given, report, witness)
        report.end(trouble)
    say(f"The report is {page}." + (f" The recording is {cassette}." if cassette else ""))
    if ledger.journal.open_rows():
        say(f"Something still stands. Delete it: {ledger.command('down')}")
    if trouble is not None:
        raise trouble


def run(
    ledger: Ledger, lab: str, given: dict[str, Any], report: Report, witness: Witness
) -> BaseException | None:
    """All steps in order; what went wrong, or None. Whatever that is, `down` comes after it."""
    trouble: BaseException | None = None
    try:
        report.do("clean", lambda: clean(ledger))
        for step, act in steps(ledger, lab, given).items():
            report.do(step, act)
        report.ask(lambda: answers(ledger, lab, witness))
        if report.recorder:
            report.do("probe", lambda: probe(ledger))
    except BaseException as error:
        trouble = error
    try:
        witness.going_down(ledger)
    except BaseException as error:
        trouble = trouble or error
    try:
        for step, act in tour.ending(ledger).items():
            report.do(step, act)
        if report.recorder:
            report.do("after", lambda: look_back(ledger))
    except BaseException as error:
        trouble = trouble or error
    report.witnessed(witness)
    return trouble


def steps(ledger: Ledger, lab: str, given: dict[str, Any]) -> dict[str, Callable[[], str]]:
    """What is built and done before `down`."""
    if lab == SMALLEST:
        return smallest.steps(ledger)
    limit = {"ttl_minutes": TTL_MINUTES} if lab in ("ec2", "gpu") else {}
    return tour.building(ledger, **given, **limit)


def clean(ledger: Ledger) -> str:
    """What an earlier check may have left, taken down."""
    rows = ledger.down()
    return (
        f"{len(rows)} resources of an earlier check deleted" if rows else "nothing was left of an earlier one"
    )


def opened(lab: str, report: Report, where: dict[str, Any]) -> Ledger:
    """The ledger of the check, and its account: what tells whose it is, is blotted from here on."""
    ledger = cli.open_ledger(
        "ec2" if lab == SMALLEST else lab, name=SMALLEST if lab == SMALLEST else COPY, **where
    )
    identity = ledger.cloud.identity
    names = report.names
    names.know(identity["account"], "account")
    for part in identity["arn"].rpartition(":")[2].split("/")[1:]:
        names.know(part, "user")
    names.know(ledger.journal.header["owner"], "owner")
    names.know(ledger.prefix, "ledger")
    return ledger


def recorder_of(ledger: Ledger, lab: str, report: Report) -> Recorder:
    """Keeps all calls from here on, beginning with who asks."""
    recorder = Recorder(lab, ledger.cloud.region, report.names.known()).listen(ledger.cloud)
    ledger.client("sts").get_caller_identity()
    return recorder


def mine(where: dict[str, Any]) -> dict[str, str]:
    """What tells whose computer this is, and its kind."""
    host = socket.gethostname()
    return {
        str(Path.home()): "home",
        host: "host",
        host.partition(".")[0]: "host",
        user(): "user",
        where.get("owner") or os.environ.get("AWSLABS_OWNER", ""): "owner",
        where.get("profile") or os.environ.get("AWS_PROFILE", ""): "profile",
    }


def user() -> str:
    """Who is logged in here; empty where nothing tells."""
    # A container may run as a number without a name.
    with contextlib.suppress(KeyError, OSError, ImportError):
        return getpass.getuser()
    return ""


def agree(ledger: Ledger, lab: str, given: dict[str, Any]) -> None:
    """Say what will be built, where, and what it costs at most; then ask."""
    cloud, region = "AWS" if ledger.cloud.is_aws else "the practice cloud", ledger.cloud.region
    builds = smallest.BUILDS if lab == SMALLEST else tour.chapter(lab).BUILDS
    hourly = 0.0 if lab == SMALLEST else tour.chapter(lab).usd_per_hour(region, **given)
    most = (
        "an unknown price"
        if hourly is None
        else f"at most about {max(hourly * LONGEST_H, 0.01):.3f} USD{prices.note(region)}"
    )
    cli.say(
        f"Will build {builds} on {cloud}, in account {ledger.cloud.identity['account']}, {region}, "
        f"use it, and delete it: {most}, if it takes under {LONGEST_H * 60:.0f} min."
    )
    told = f"{as_options(given)}{ledger.cloud.place.options}"
    cli.agree("Go on?", f"awslabs aws-check --lab {lab}{told} --yes")


@contextlib.contextmanager
def hung_up_is_interrupted() -> Iterator[None]:
    """A terminal that is closed, and `kill`, are Ctrl-C: what stands is taken down all the same."""
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread may say what a signal does
        return
    signals = (signal.SIGTERM, signal.SIGHUP)
    before = [signal.signal(each, signal.default_int_handler) for each in signals]
    try:
        yield
    finally:
        for each, handler in zip(signals, before, strict=True):
            signal.signal(each, handler)
