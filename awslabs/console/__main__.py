"""The console's command: ``python -m awslabs.console``."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from awslabs import cli, console, journal
from awslabs.errors import LabError, LedgerError

if TYPE_CHECKING:
    from awslabs.console.server import Console

UNSEEN_S = 600.0  # seconds after which one that `up --open` has started ends, when no page shows it
FOLDERS_S = 2.0  # seconds for which it is believed that the practice cloud has neither begun nor ended


class Clouds:
    """The cloud of each ledger's file, with the credentials that its account needs.

    Parameters
    ----------
    profile : str, optional
        For AWS.
    """

    def __init__(self, profile: str | None = None) -> None:
        self._profile = profile
        self._mutex = threading.Lock()
        self._by_place: dict[tuple[str, ...], Any] = {}

    def of(self, path: Path) -> Any:
        """The `Cloud` of a file.

        Raises
        ------
        LabError
            When there is none: other credentials, a practice cloud that has ended.
        """
        from awslabs import sandbox
        from awslabs.cloud import Cloud

        _, _, account, region, _ = path.name.split(".")
        run = sandbox.living()
        environment = run.environment(account, region) if run and path.parent == run.directory else None
        place = (str(path.parent), account, region, run.token if environment and run else "")
        with self._mutex:
            if place not in self._by_place:
                cloud = Cloud(region, None if environment else self._profile, environment)
                if cloud.folder != path.parent:
                    raise LedgerError(
                        "The cloud of this lab is not there.",
                        f"Its ledger is {path}; now calls go to {cloud.folder}.",
                        "start that cloud, or set AWS_ENDPOINT_URL to it; then run the console again",
                    )
                if cloud.identity["account"] != account:
                    raise LedgerError(
                        f"This lab is of account {account}.",
                        f"These credentials are of account {cloud.identity['account']}, and cannot see it.",
                        "python -m awslabs.console --profile NAME    # the credentials that built it",
                    )
                self._by_place[place] = cloud
            return self._by_place[place]

    def forget(self) -> None:
        """Read credentials and configuration anew: they may have been renewed."""
        with self._mutex:
            self._by_place.clear()


def now_and_then(find: Callable[[], list[Path]]) -> Callable[[], list[Path]]:
    """What was found a moment ago is found again."""
    at, found = -FOLDERS_S, list[Path]()

    def again() -> list[Path]:
        nonlocal at, found
        if time.monotonic() - at > FOLDERS_S:
            at, found = time.monotonic(), find()
        return found

    return again


def serve(server: Console, shows: list[str], *, browser: bool, while_seen: bool) -> None:
    """Serve the page until Ctrl-C, or with `while_seen` until nobody has looked for ten minutes."""
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.5}, daemon=True)
    with server:
        thread.start()
        try:
            with console.noted(server.address, server.key, shows) as first:
                opened = browser and first and console.open_browser()
                cli.say(
                    f"The console is at {server.address}#{server.key}"
                    + (", open in your browser." if opened else " (open this address).")
                )
                cli.say("It only looks. Ctrl-C ends it; what stands goes on standing.")
                wait(server, while_seen)
        except KeyboardInterrupt:
            pass
        finally:
            server.shutdown()
    cli.say("The console has ended.")


def wait(server: Console, while_seen: bool) -> None:
    """Until Ctrl-C; or until no page has been there for a while."""
    seen = time.monotonic()
    while True:
        time.sleep(1.0 if while_seen else 3600.0)
        if server.streams:
            seen = time.monotonic()
        elif while_seen and time.monotonic() - seen > UNSEEN_S:
            return


@click.command("console")
@click.option("--port", metavar="N", type=click.IntRange(0, 65535), default=0, help="Port; 0: a free one.")
@click.option("--all-owners", is_flag=True, help="Also the ledgers of other owners than AWSLABS_OWNER.")
@click.option("--no-browser", is_flag=True, help="Open no browser.")
@click.option("--while-seen", is_flag=True, hidden=True)
@cli.with_options(*cli.CLOUD_OPTIONS, cli.OWNER)
def main(
    port: int,
    all_owners: bool,
    no_browser: bool,
    while_seen: bool,
    sandbox: bool,
    region: str | None,
    profile: str | None,
    owner: str | None,
) -> None:
    """Show what stands, runs and costs, on a page in your browser: it only looks."""
    from awslabs.console.feed import Files, Watches
    from awslabs.console.server import Console
    from awslabs.ledgers import folders

    with cli.reporting():
        whose = None if all_owners else journal.chosen_owner(owner)
        if region:
            os.environ.setdefault("AWS_REGION", region)
        clouds = Clouds(profile)
        shown = Files(now_and_then(lambda: folders(sandbox)), whose, region)
        try:
            server = Console(shown, Watches(clouds.of, clouds.forget), port)
        except OSError as error:
            raise LabError(
                f"The console cannot listen at port {port}.",
                f"{error.strerror or error}.",
                "python -m awslabs.console    # takes a free one",
            ) from error
        shows = [*(["--sandbox"] if sandbox else []), *(["--profile", profile] if profile else [])]
        serve(server, shows, browser=not no_browser, while_seen=while_seen)


if __name__ == "__main__":
    main(prog_name="python -m awslabs.console")
