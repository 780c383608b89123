"""Chapter 2's work from a terminal: `jupyter`, `run`, `bench`, `mnist`, `ssh`."""

from __future__ import annotations

import webbrowser
from pathlib import Path
from typing import Any

import click

from awslabs import cli, servers
from awslabs.cli import wants_json
from awslabs.ledger import Ledger
from awslabs.workload import logins
from awslabs.workload.gpu import notebook as work

TO = click.option(
    "--to",
    type=click.Path(file_okay=False, path_type=Path),
    default=work.RESULTS,
    show_default=True,
    help="Folder on this computer for what comes back.",
)


def report(ledger: Ledger) -> dict[str, Any]:
    """What `up` and `status` print of the lab: its server, and a tunnel that is open."""
    urls = work.open_tunnels(ledger)
    server = servers.report(servers.describe(ledger))
    return {**server, "jupyter": {"local_url": urls[0]} if urls else {}}


def add(group: click.Group, lab: str) -> None:
    """Give a lab's command line these verbs."""

    @cli.verb(group, "jupyter", lab)
    @click.option(
        "--port", type=click.IntRange(1024, 65535), help="Local port; default: 8931 or the next free."
    )
    @click.option("--no-browser", is_flag=True, help="Only print the address.")
    def _jupyter(ledger: Ledger, port: int | None, no_browser: bool) -> None:
        """Open a tunnel to the notebook, and the browser; stay until Ctrl-C.

        The browser is led there by a file of yours, so that its address is in no list of processes. If it may
        not read that file (Firefox as a snap, Windows over WSL), open the printed address yourself.
        """
        for url in work.open_tunnels(ledger):
            cli.say(f"Another tunnel is open already: {url}")
        try:
            with (
                work.jupyter(ledger, local_port=port) as (notebook, forward),
                work.doorway(ledger.directory, notebook) as page,
            ):
                if wants_json():
                    opened = {"local_url": notebook.local_url, "url": notebook.url}
                    cli.show({"jupyter": opened}, as_json=True)
                else:
                    cli.out(notebook.url)
                cli.say("Whoever has this address may run anything on the server. Ctrl-C closes the tunnel.")
                if not no_browser and not webbrowser.open(page):
                    cli.say("No browser was found here; open the address yourself.")
                work.stay(ledger, forward)
        except KeyboardInterrupt:
            cli.say(f"\nThe tunnel is closed; the notebook goes on. End it all: {ledger.command('down')}")

    @cli.verb(group, "run", lab)
    @click.argument("notebook")
    @TO
    def _run(ledger: Ledger, notebook: str, to: Path) -> dict[str, Any]:
        """Run NOTEBOOK on the server (first_steps, cpu_gpu, mnist, or a file of yours); get the copy back."""
        return vars(work.run(ledger, notebook, to))

    @cli.verb(group, "bench", lab)
    @click.option("--size", type=click.IntRange(2, 65536), help="Rows and columns of the matrices.")
    def _bench(ledger: Ledger, size: int | None) -> list[dict[str, Any]]:
        """Multiply two matrices on the server's CPU and on its GPU."""
        found = work.bench(ledger, size)
        if len(found) == 1:
            cli.say("This server shows no GPU: only its CPU was measured.")
        else:
            cli.say(f"The GPU is {found[1]['tflop_s'] / found[0]['tflop_s']:.0f} times as fast as the CPU.")
        return [
            {**one, "seconds": round(one["seconds"], 6), "tflop_s": round(one["tflop_s"], 3)} for one in found
        ]

    @cli.verb(group, "mnist", lab)
    @click.option(
        "--epochs",
        type=click.IntRange(1, 1000),
        default=10,
        show_default=True,
        help="Passes over all training pictures.",
    )
    @click.option("--lr", type=float, default=0.05, show_default=True, help="Learning rate.")
    @click.option(
        "--momentum",
        type=float,
        default=0.9,
        show_default=True,
        help="Part of the last step that goes into the next.",
    )
    @click.option("--data", metavar="WHICH", help="mnist, digits, or a folder of the server.")
    @TO
    def _mnist(
        ledger: Ledger, epochs: int, lr: float, momentum: float, data: str | None, to: Path
    ) -> dict[str, Any]:
        """Train a network on handwritten digits; loss and accuracy as they come, a picture at the end."""
        trained = work.mnist(ledger, epochs=epochs, lr=lr, momentum=momentum, data=data, folder=to)
        if wants_json():
            return vars(trained)
        return {**vars(trained), "epochs": len(trained.epochs), "files": ", ".join(map(str, trained.files))}

    logins.add(group, lab)
