"""`python -m awslabs.sandbox start | stop | status | env | reset | replay`: the practice cloud by hand."""

from __future__ import annotations

import json
import shlex
import time
from pathlib import Path
from typing import Any

import click

from awslabs import cli, sandbox
from awslabs.errors import LabError
from awslabs.sandbox.core.weather import ACCOUNT_ID, ACCOUNTS, Fault

RANGE = click.FloatRange(0, 60_000)


def fault(value: str) -> str:
    """A fault: ``OPERATION=CODE[:PROBABILITY[:COUNT]]``."""
    try:
        return str(Fault.parse(value))
    except ValueError as problem:
        raise click.BadParameter(str(problem)) from None


def account_id(value: str) -> str:
    """12 digits."""
    if not ACCOUNT_ID.fullmatch(value):
        raise click.BadParameter(f"{value!r} is no account id: AWS's have 12 digits")
    return value


class Group(cli.Group):
    """Commands whose errors show as those of the labs do."""

    def invoke(self, ctx: click.Context) -> Any:
        with cli.reporting():
            return super().invoke(ctx)


@click.group(cls=Group)
def main() -> None:
    """The practice cloud: AWS on this computer, for free.

    It listens on 127.0.0.1 only and keeps what is built in it until it is stopped. Point any AWS client
    at it with:

        eval "$(python -m awslabs.sandbox env)"
    """


@main.command()
@click.option("--latency", "latency_ms", type=RANGE, metavar="MS", help="Time that every call takes.")
@click.option(
    "--fault",
    "faults",
    type=fault,
    multiple=True,
    metavar="OPERATION=CODE[:PROBABILITY[:COUNT]]",
    help="Calls that fail, such as ec2:RunInstances=InsufficientInstanceCapacity:0.5. CODE may be `cut`"
    " (done, but the answer is lost) or `cut-before`. Can be given more than once.",
)
@click.option(
    "--slow-states",
    type=RANGE,
    metavar="X",
    help="Time scale of boots and state changes: 1 is close to AWS, 0 is at once.  [fresh cloud: 0.2]",
)
@click.option("--lag", "lag_ms", type=RANGE, metavar="MS", help="Time until what is new can be seen.")
@click.option(
    "--stale",
    type=click.FloatRange(0, 1),
    metavar="P",
    help="How often a part of AWS has not heard of a change yet: a bucket's policy is refused although its"
    " public access is no longer blocked.  [fresh cloud: 0.25]",
)
@click.option(
    "--account",
    type=click.Choice(list(ACCOUNTS)),
    help="; ".join(f"{name}: {what}" for name, what in ACCOUNTS.items()) + ".  [fresh cloud: old]",
)
@click.option("--port", type=click.IntRange(0, 65535), default=0, help="Default: a free one.")
@click.option(
    "--require-isolation", is_flag=True, help="Do not start where what runs in it could read your files."
)
def start(port: int, require_isolation: bool, **options: Any) -> None:
    """Start it, or change the weather of the one that runs."""
    exposed = cli.why_exposed()
    if exposed and require_isolation:
        raise LabError(
            "The practice cloud cannot keep what runs in it from your files.",
            f"That takes namespaces of Linux: {exposed}",
            "python -m awslabs.sandbox start    # without --require-isolation: run only code that you trust",
        )
    options["faults"] = options["faults"] or None
    before = sandbox.current()
    run = (cli.start_practice_cloud if before is None else sandbox.start)(port=port, **options)
    asked = any(value is not None for value in options.values())
    if run != before:
        cli.tell(f"The practice cloud listens at {run.endpoint_url}.")
        cli.out(f"log: {run.directory / 'sandbox.log'}")
    elif asked:
        cli.tell(f"The practice cloud ran already, at {run.endpoint_url}; its weather is changed.")
    else:
        cli.tell(f"The practice cloud ran already, at {run.endpoint_url}.")
    if run == before or asked:
        cli.tell(_weather_line(run.weather()))
    if exposed and run == before:  # of a fresh one it was said when it was started
        cli.say_exposed(exposed)
    cli.out('Point a client at it:  eval "$(python -m awslabs.sandbox env)"')


@main.command()
def stop() -> None:
    """End it and all that runs in it, also if it does not answer; say what still stood."""
    run = sandbox.living()
    if run is None:
        cli.out("No practice cloud is running.")
        return
    stood = run.stop()
    cli.tell(f"The practice cloud at {run.endpoint_url} is gone" + (", and with it:" if stood else "."))
    for line in stood:
        cli.tell(f"  {line}")


@main.command()
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
def status(as_json: bool) -> None:
    """Say whether it runs, where, in which weather, and what stands in it."""
    run = sandbox.current()
    if run is None:
        cli.out(json.dumps({"running": False}) if as_json else "No practice cloud is running.")
        return
    about = run.about()
    stands = sandbox.standing(run.directory)
    if as_json:
        where = {"endpoint_url": run.endpoint_url, "directory": str(run.directory)}
        cli.out(json.dumps({"running": True, **where, **about, "standing": stands}))
        return
    minutes = (time.time() - about["started"]) / 60
    cli.tell(f"The practice cloud listens at {run.endpoint_url}, for {minutes:.0f} min; process {run.pid}.")
    cli.tell(_weather_line(about["weather"]))
    for account, calls in about["calls"].items():
        cli.out(f"account {account}: {calls} calls")
    for line in stands:
        cli.tell(f"stands: {line}")
    cli.out(f"log: {run.directory / 'sandbox.log'}")


@main.command()
@click.option("--account", type=account_id, metavar="ID", help=f"12 digits.  [default: {sandbox.ACCOUNT}]")
@click.option("--json", "as_json", is_flag=True, help="One JSON object instead of shell lines.")
def env(account: str | None, as_json: bool) -> None:
    """Print what points an AWS client at it: eval "$(python -m awslabs.sandbox env)"."""
    variables = _running().environment(account)
    if as_json:
        cli.out(json.dumps(variables))
        return
    for name in sandbox.astray():
        cli.out(f"unset {name}")
    for name, value in variables.items():
        cli.out(f"export {name}={shlex.quote(value)}")


@main.command()
@click.argument("cassette", type=click.Path(path_type=Path))
def replay(cassette: Path) -> None:
    """Play a recording of `awslabs aws-check --record` and say what is answered otherwise here.

    Exit codes: 0 nothing, 1 something, 2 no cassette.
    """
    from awslabs.sandbox.replay import replay, told

    outcome = replay(cassette)
    words, lines = told(cassette, outcome)
    for line in lines:
        cli.out(line)
    cli.say(words)
    if outcome.differences:
        raise SystemExit(1)


@main.command()
@click.option("--account", type=account_id, metavar="ID", help="This one only, 12 digits.")
def reset(account: str | None) -> None:
    """Empty it, or one account in it; its weather stays."""
    _running().reset(account)
    cli.out(f"Account {account} is empty." if account else "The practice cloud is empty.")


def _running() -> sandbox.Run:
    """The practice cloud that runs, or an error that says how to start one."""
    run = sandbox.current()
    if run is None:
        raise LabError("No practice cloud is running.", "", "python -m awslabs.sandbox start")
    return run


def _weather_line(weather: dict[str, Any]) -> str:
    """The weather on one line, in the words of the options."""
    parts = [f"latency {weather['latency_ms']:g} ms", f"slow states x{weather['slow_states']:g}"]
    parts += [f"lag {weather['lag_ms']:g} ms", f"stale {weather['stale']:g}", f"{weather['account']} account"]
    parts += [f"fault {fault}" for fault in weather["faults"]] or ["no faults"]
    return "Weather: " + ", ".join(parts) + "."


if __name__ == "__main__":
    main(prog_name="python -m awslabs.sandbox")
