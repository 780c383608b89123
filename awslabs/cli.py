"""What the command lines of all labs share: options, the ledger they open, output, exit codes.

Progress goes to stderr, results to stdout: as a table, or with ``--json`` as one JSON object.
Exit codes: 0 done, 1 error, 2 wrong usage, 3 something still stands, 130 interrupted.
"""

from __future__ import annotations

import dataclasses
import functools
import ipaddress
import json
import logging
import math
import os
import re
import sys
import threading
import time
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from awslabs import progress
from awslabs.errors import LabError

if TYPE_CHECKING:
    from awslabs.explain import Place
    from awslabs.ledger import Cloud, Ledger

INTERRUPTED = 130
CLOUD_OPTIONS = [
    click.option(
        "--sandbox",
        is_flag=True,
        envvar="AWSLABS_SANDBOX",
        help="Use the practice cloud on this computer: free, no account.",
    ),
    click.option("--region", metavar="REGION", help="AWS Region; else AWS_REGION or the AWS configuration."),
    click.option("--profile", metavar="PROFILE", help="Profile of the AWS configuration."),
]
LEDGER_OPTIONS = [
    click.option("--name", metavar="NAME", default="default", help="Name of this copy of the lab."),
    click.option("--owner", metavar="OWNER", help="Who owns what is built; default: your IAM name."),
]
OUTPUT_OPTIONS = [
    click.option("--json", "as_json", is_flag=True, help="Print the result as one JSON object."),
    click.option("-v", "--verbose", is_flag=True, help="Show reading calls too."),
]
SHARED = {"sandbox", "region", "profile", "name", "owner", "as_json", "verbose"}


# -- Opening a lab ----------------------------------------------------------------------------------------


def open_cloud(*, sandbox: bool = False, region: str | None = None, profile: str | None = None) -> Cloud:
    """AWS, or with `sandbox` the practice cloud, which is started if none runs."""
    from awslabs.ledger import Cloud

    environment = None
    if sandbox:
        from awslabs import sandbox as practice

        environment = (practice.current() or practice.start()).environment(region=region)
    return Cloud(region, None if sandbox else profile, environment)


def open_ledger(lab: str, *, name: str = "default", owner: str | None = None, **where: Any) -> Ledger:
    """The ledger of one lab; keyword arguments as of `open_cloud`. AWS calls: ``sts:GetCallerIdentity``."""
    from awslabs.ledger import Ledger

    return Ledger(open_cloud(**where), lab, name, owner)


# -- Verbs ---------------------------------------------------------------------------------------------


def plain_verb(group: click.Group, name: str) -> Callable:
    """Make a function a verb that opens no ledger; it takes all shared options but --name and --owner.

    What it returns is printed: a dictionary or a list of them, as a table or as JSON.
    """

    def decorate(function: Callable) -> click.Command:
        @functools.wraps(function)
        def run(**options: Any) -> None:
            with reporting(options["verbose"]):
                result = function(**options)
                if result is not None:
                    show(result, options["as_json"])

        decorated: Callable = run
        for option in reversed(CLOUD_OPTIONS + OUTPUT_OPTIONS):
            decorated = option(decorated)
        command = group.command(name)(decorated)
        command.params.sort(key=lambda param: param.name in SHARED)  # help shows the verb's own options first
        return command

    return decorate


def verb(group: click.Group, name: str, lab: str) -> Callable:
    """Make a function a verb of a lab: it gets the lab's ledger first, then its own options."""

    def decorate(function: Callable) -> click.Command:
        @functools.wraps(function)
        def run(as_json: bool, verbose: bool, **options: Any) -> Any:
            opening = {key: options.pop(key) for key in ("sandbox", "region", "profile", "name", "owner")}
            ledger = open_ledger(lab, **opening)
            try:
                return function(ledger, **options)
            except Exception as error:
                if is_botocores(error):
                    raise as_lab_error(error, ledger.place) from error  # type: ignore[misc]
                raise

        decorated: Callable = run
        for option in reversed(LEDGER_OPTIONS):
            decorated = option(decorated)
        return plain_verb(group, name)(decorated)

    return decorate


class Group(click.Group):
    """A group whose help lists verbs in the order in which one needs them, each with its whole sentence."""

    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **{"context_settings": {"max_content_width": 100}, **more})

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        lines = [(name, verb.get_short_help_str(limit=1000)) for name, verb in self.commands.items()]
        with formatter.section("Commands"):
            formatter.write_dl(lines)


def lab_group(lab: str, page: str | None) -> click.Group:
    """The command group of a chapter, with the chapter's own first line as its help."""
    return Group(lab, help=(page or "").partition("\n")[0])


class Duration(click.ParamType):
    """``90m``, ``3h``, ``1h30m``: a time in whole minutes, 1 minute to 7 days."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        match = re.fullmatch(r"(?:(\d+)h)?(?:(\d+)m)?", str(value)) if value else None
        minutes = int(match[1] or 0) * 60 + int(match[2] or 0) if match else 0
        if not 1 <= minutes <= 7 * 24 * 60:
            self.fail(f"{value!r} is no time from 1m to 168h; write 90m, 3h or 1h30m.", param, ctx)
        return minutes


class Cidr(click.ParamType):
    """``203.0.113.7/32``: a range of IPv4 addresses; never the whole internet."""

    name = "cidr"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        try:
            network = ipaddress.IPv4Network(value, strict=False)
        except ValueError as error:
            self.fail(f"{error}; write an address as 203.0.113.7/32.", param, ctx)
        if network.prefixlen == 0:
            self.fail(
                "0.0.0.0/0 would let the whole internet try the door; name a smaller range.", param, ctx
            )
        return str(network)


# Options of several labs.
ALLOW_FROM = click.option(
    "--allow-from", metavar="CIDR", type=Cidr(), help="Who may reach SSH; default: this computer alone."
)
NO_DOCKER = click.option(
    "--no-docker",
    "without_docker",
    is_flag=True,
    help="Practice cloud: run the program as a process, build no image.",
)
EXPORT = click.option(
    "--export",
    is_flag=False,
    flag_value="shell",
    type=click.Choice(["shell", "ssm"]),
    help="Print names and addresses as variables of a shell; =ssm: keep them as SSM parameters until down.",
)


# -- Errors and exit codes -------------------------------------------------------------------------------


class reporting:
    """Show log lines and waits on stderr while the body runs; turn its errors into exit codes."""

    def __init__(self, verbose: bool = False) -> None:
        self.verbose = verbose

    def __enter__(self) -> None:
        self.watcher = TerminalWatcher() if sys.stderr.isatty() else PlainWatcher()
        progress.watcher = self.watcher
        self.handler = WatcherHandler(self.watcher)
        logger = logging.getLogger("awslabs")
        logger.addHandler(self.handler)
        logger.setLevel(logging.DEBUG if self.verbose else logging.INFO)

    def __exit__(self, kind: type | None, error: BaseException | None, trace: object) -> None:
        self.watcher.close()
        progress.watcher = None
        logging.getLogger("awslabs").removeHandler(self.handler)
        if error is None or isinstance(error, (SystemExit, click.ClickException)):
            return
        if isinstance(error, KeyboardInterrupt):
            click.echo("\ninterrupted. Nothing is lost: run the same command again, or `down`.", err=True)
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(INTERRUPTED)  # threads that wait for AWS are not waited for
        ours = as_lab_error(error)
        if ours is None:
            return
        for label, text in (("error: ", ours.what), ("why:   ", ours.why), ("fix:   ", ours.fix)):
            if text:
                click.echo(label + text, err=True)
        raise SystemExit(ours.exit_code) from error


def is_botocores(error: BaseException) -> bool:
    return type(error).__module__.startswith("botocore.")


def as_lab_error(error: BaseException, place: Place | None = None) -> LabError | None:
    """Our own error, or botocore's turned into one; None for a bug, which shows its traceback."""
    if isinstance(error, LabError):
        return error
    if is_botocores(error):
        from awslabs.explain import Place, explain

        return explain(error, getattr(error, "operation_name", "a call"), place or Place("", ""))  # type: ignore[arg-type]
    return None


# -- Progress on stderr ------------------------------------------------------------------------------------


class PlainWatcher:
    """Where stderr is no terminal: a line when a wait has lasted a second, and one when it is over."""

    def begin(self, what: str) -> Any:
        timer = threading.Timer(1.0, self.line, [f"waiting until {what}"])
        timer.daemon = True
        timer.start()
        return what, time.monotonic(), timer

    def end(self, wait: Any) -> None:
        what, since, timer = wait
        timer.cancel()
        if (seconds := time.monotonic() - since) >= 1.0:
            self.line(f"waited {seconds:.1f} s until {what}")

    def line(self, text: str) -> None:
        click.echo(text, err=True)

    def close(self) -> None:
        """Nothing is left on the screen."""


class TerminalWatcher:
    """On a terminal: a live line for each wait, with the seconds so far, under the lines of the log."""

    def __init__(self) -> None:
        self.live: Any = None
        self.mutex = threading.Lock()

    def begin(self, what: str) -> object:
        from rich.console import Console
        from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

        with self.mutex:
            if self.live is None:
                columns = SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn()
                self.live = Progress(*columns, console=Console(stderr=True), transient=True)
                self.live.start()
            return self.live.add_task(f"waiting until {what}")

    def end(self, wait: object) -> None:
        with self.mutex:
            self.live.remove_task(wait)

    def line(self, text: str) -> None:
        if self.live is None:
            click.echo(text, err=True)
        else:
            self.live.console.print(text, markup=False, highlight=False)

    def close(self) -> None:
        if self.live is not None:
            self.live.stop()


def watch_in_notebook() -> None:
    """In a notebook, show waits as plain lines under the cell; elsewhere whoever calls decides."""
    if "IPython" in sys.modules and progress.watcher is None:
        progress.watcher = PlainWatcher()


class WatcherHandler(logging.Handler):
    """Log lines, above the waits."""

    def __init__(self, watcher: PlainWatcher | TerminalWatcher) -> None:
        super().__init__()
        self.watcher = watcher

    def emit(self, record: logging.LogRecord) -> None:
        self.watcher.line(record.getMessage())


def say(text: str) -> None:
    """A line for the person at the terminal; scripts that read stdout do not see it."""
    click.echo(text, err=True)


# -- Results on stdout -------------------------------------------------------------------------------------


def plain(value: Any) -> Any:
    """A result as JSON can hold it: dataclasses as objects, paths as text, no number as null."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None  # JSON has no word for what is no number: a loss of a training that fell apart
    return str(value) if isinstance(value, Path) else value


def show(result: Any, as_json: bool) -> None:
    """Print a dictionary as a table of two columns, a list of dictionaries as one of many.

    As JSON it is one object always, a list its ``rows``.
    """
    result = plain(result)
    if as_json:
        whole = {"rows": result} if isinstance(result, list) else result
        click.echo(json.dumps(whole, indent=1, ensure_ascii=False))
    elif isinstance(result, list):
        show_table(result)
    else:
        show_object(result)


def show_object(result: dict, indent: str = "") -> None:
    """One line per key; an object within it stands indented below its key, an empty one as ``none``."""
    width = max((len(key) for key in result), default=0)
    for key, value in result.items():
        if isinstance(value, dict) and value:
            click.echo(f"{indent}{key}")
            show_object(value, indent + "  ")
        else:
            click.echo(f"{indent}{key:<{width}}  {amount(key, value)}")


def show_table(rows: list[dict]) -> None:
    """A table with the keys of the rows as its heads; nothing for no rows. A row may lack a key."""
    if not rows:
        return
    heads = list(dict.fromkeys(key for row in rows for key in row))
    cells = [[amount(head, row[head]) if head in row else "" for head in heads] for row in rows]
    widths = [max(columns(line[column]) for line in [heads, *cells]) for column in range(len(heads))]
    for line in [heads, *cells]:
        padded = (cell + " " * (width - columns(cell)) for cell, width in zip(line, widths, strict=True))
        click.echo("  ".join(padded).rstrip())


def columns(text: str) -> int:
    """How wide a terminal shows a text: a Japanese character takes two places, an accent on a letter none."""
    return sum(
        0 if unicodedata.combining(one) else 2 if unicodedata.east_asian_width(one) in "WF" else 1
        for one in text
    )


def amount(key: str, value: Any) -> str:
    """A cell: four digits of a number, what is not known as ``?``, what is empty as ``none``."""
    if value is None:
        return "?"
    if value in ({}, []):
        return "none"
    if key.startswith("usd") and isinstance(value, (int, float)):
        return f"{value:.4f}"
    if not isinstance(value, float):
        return str(value)
    return f"{value:.4g}" if abs(value) < 1000 else f"{value:.0f}"


def header(ledger: Ledger) -> dict[str, Any]:
    """What the result of every lab's `up` and `status` begins with."""
    return {
        "lab": ledger.lab,
        "name": ledger.journal.header["name"],
        "cloud": ledger.journal.header["cloud"],
        "account": ledger.journal.header["account"],
        "region": ledger.journal.header["region"],
        "ledger": ledger.journal.path,
        "usd_per_hour": ledger.usd_per_hour,
        "usd_so_far": ledger.usd_so_far,
        "resources": ledger.resources,
    }


def announce(ledger: Ledger, what: str, usd_per_hour: float | None) -> None:
    """Say before building what comes, where, and what it will cost."""
    from awslabs.prices import AS_OF

    head = ledger.journal.header
    cloud = "AWS" if ledger.cloud.is_aws else "the practice cloud (free; prices as on AWS)"
    if usd_per_hour is None:
        price = "an unknown price"
    elif usd_per_hour == 0:
        price = "nothing per hour, only what is used"
    else:
        price = f"about {usd_per_hour:.4f} USD per hour (prices of {AS_OF})"
    say(f"Building {what} on {cloud}: account {head['account']}, {head['region']}, {price}.")


def farewell(ledger: Ledger) -> None:
    """Say at the end of `up` what it costs from now on, and how it ends."""
    costs = "It costs" if ledger.cloud.is_aws else "On AWS it would cost"
    usd = ledger.usd_per_hour
    price = f"about {usd:.4f} USD per hour" if usd else "nothing per hour, only what is used,"
    say(f"{costs} {price} until: {ledger.command('down')}")


def add_down(
    group: click.Group,
    lab: str,
    down: Callable[[Ledger], None],
    bring_home: Callable[[Ledger, Path], str] | None = None,
) -> None:
    """The verb `down` of a lab.

    Parameters
    ----------
    bring_home : callable, optional
        Saves the lab's results in a folder before they go, and says in a few words what it saved; empty for
        nothing. The lab then has the option ``--discard``.
    """

    @verb(group, "down", lab)
    def down_verb(ledger: Ledger, dry_run: bool, discard: bool = False) -> list[dict] | dict | None:
        """Delete everything the lab has built, and wait until AWS shows that it is gone."""
        rows = ledger.down(dry_run=True)
        if dry_run:
            say(f"Would delete {len(rows)} resources, in this order:")
            return [{"row": row.number, "name": row.name, "id": row.id, "state": row.state} for row in rows]
        usd = ledger.usd_so_far
        if bring_home and rows and not discard:
            ledger.end_work()  # what would be finished between saving and deleting, would be lost
            folder = Path("awslabs-results", lab)
            if saved := bring_home(ledger, folder):
                say(f"{saved} saved in {folder}/.")
        down(ledger)
        price = f"about {usd:.4f} USD" if usd else "nothing per hour, only what was used"
        say(
            f"{len(rows)} resources deleted; nothing of it is left. "
            f"{'It cost' if ledger.cloud.is_aws else 'On AWS it would have cost'} {price}."
            if rows
            else "Nothing stands."
        )
        as_json = click.get_current_context().params["as_json"]
        return {"deleted": len(rows), "usd_so_far": usd} if as_json else None

    down_verb.params.append(click.Option(["--dry-run"], is_flag=True, help="Only say what would be deleted."))
    if bring_home:
        saves = f"Do not save the results in awslabs-results/{lab}/ first."
        down_verb.params.append(click.Option(["--discard"], is_flag=True, help=saves))
