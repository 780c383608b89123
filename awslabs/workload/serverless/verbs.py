"""Chapter 5's work from a terminal: what one does with functions, tables, files and haiku."""

from __future__ import annotations

import json
import webbrowser
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from awslabs import cli, prices
from awslabs.cli import wants_json
from awslabs.ledger import Ledger
from awslabs.workload import pictures, tables
from awslabs.workload.serverless import buckets, dead_letters, functions, haiku

MANY = click.IntRange(1, 1_000_000)
FUNCTIONS = ["greeter", "list-haiku", "post-haiku", "like-haiku", "delete-haiku"]
ASK_FROM = 10_000  # invocations


def say_limit(ledger: Ledger, limits: haiku.Limits, asked: float) -> None:
    """Say it where more is asked for than the API answers in a second."""
    if asked > limits.per_second:
        cli.say(
            f"The API answers {limits.per_second:g} requests per second, and the rest with 429: try again. "
            f"For more: {ledger.command('up')} --rate {min(1000, asked):g}"
        )


def with_picture(result: Any, without: tuple[str, ...] = ()) -> dict[str, Any]:
    """The whole result as JSON; on a terminal the picture above the numbers, without what programs read."""
    if wants_json():
        return asdict(result)
    if result.picture:
        cli.out(result.picture)
    return {name: value for name, value in asdict(result).items() if name not in ("picture", *without)}


def found(result: tables.Read) -> Any:
    """What a scan found: as JSON in one object, on a terminal the counts apart from the rows."""
    if wants_json():
        return asdict(result)
    cli.say(
        f"Items: {result.count} of {result.scanned} read. Pages: {result.pages}, readers: {result.segments}, "
        f"read units: {result.capacity_units:g}."
    )
    return result.items


def add(group: click.Group, lab: str, describe: Callable[[Ledger], Any]) -> None:
    """Give a lab's command line these verbs.

    Parameters
    ----------
    describe : callable
        The chapter's own: its addresses.
    """
    add_functions(group, lab)
    table = cli.Group("table", help="Put, get and search people in a DynamoDB table.")
    bucket = cli.Group("bucket", help="Put and get files in a private S3 bucket.")
    poems = cli.Group("haiku", help="Post, list, like and delete haiku through Bashoutter's API.")
    for each in (table, bucket, poems):
        group.add_command(each)
    add_table(table, lab)
    add_bucket(bucket, lab)

    def api(ledger: Ledger) -> haiku.Api:
        return haiku.Api(describe(ledger).api_url, command=ledger.command)

    add_haiku(poems, lab, api)

    @cli.verb(group, "open", lab)
    def _open(ledger: Ledger) -> dict[str, Any]:
        """Open Bashoutter's page in the browser."""
        url = describe(ledger).site_url
        if not webbrowser.open(url):
            cli.say("No browser was found here; open this address yourself:")
        return {"site_url": url}

    @cli.verb(group, "load", lab)
    @click.option(
        "--rate", type=click.FloatRange(0.1, 1000), default=5, show_default=True, help="Per second."
    )
    @click.option("--seconds", type=click.FloatRange(1, 600), default=10, show_default=True, help="How long.")
    @click.option(
        "--read",
        type=click.Choice(["scan", "query"]),
        default="query",
        show_default=True,
        help="How haiku are found: in the whole table, or by its index.",
    )
    def _load(ledger: Ledger, rate: float, seconds: float, read: str) -> dict[str, Any]:
        """Send a steady stream of requests to the API, and show how long the answers take."""
        say_limit(ledger, haiku.limits(ledger), rate)
        return with_picture(haiku.load(ledger, api(ledger), rate=rate, seconds=seconds, read=read))

    @cli.verb(group, "tune", lab)
    @click.option("--memory", default="128,256,512,1024", show_default=True, help="Sizes in MiB.")
    @click.option(
        "--times", type=click.IntRange(3, 1000), default=20, show_default=True, help="At each size."
    )
    def _tune(ledger: Ledger, memory: str, times: int) -> Any:
        """Show time and price of the function list-haiku at several memory sizes."""
        try:
            sizes = [int(size) for size in memory.split(",")]
        except ValueError as error:
            raise click.BadParameter(f"{memory}: write 128,256,512", param_hint="--memory") from error
        if not all(128 <= size <= 10_240 for size in sizes):
            raise click.BadParameter("Lambda gives 128 to 10240 MB.", param_hint="--memory")
        tuned = functions.tune(ledger, sizes=sizes, times=times)
        if not wants_json():
            cli.out(pictures.bars([(f"{one.memory_mib} MB", one.duration_ms) for one in tuned], " ms"))
            cli.say(f"Left out: cold starts, and what took more than {functions.OUTLIER:g} times the median.")
            if ledger.cloud.region not in prices.RATES["Lambda GB-second"]:
                cli.say(f"Prices are {prices.EAST}'s.")
            if not ledger.cloud.is_aws:
                cli.say(
                    "This is not AWS: what was measured is this computer's processor, and what else it had "
                    "to do. In the practice cloud a function has its share of one by its memory, as on AWS: "
                    "a whole one at 1,769 MB."
                )
        return [asdict(one) for one in tuned]


def add_functions(group: click.Group, lab: str) -> None:
    """`invoke`, `invoke-many`, `dead-letters`, `logs`."""

    @cli.verb(group, "invoke", lab)
    @click.argument("who", default="world")
    @click.option("--fail", is_flag=True, help="Let the function fail.")
    def _invoke(ledger: Ledger, who: str, fail: bool) -> dict[str, Any]:
        """Let the function greet WHO, and show the answer, the billed time and its log."""
        result = functions.invoke(ledger, {"name": who, "fail": fail})
        if wants_json():
            return asdict(result)
        cli.out(result.log.rstrip())
        return {"answer": result.answer, "failed": result.failed, "billed_ms": result.report.billed_ms}

    @cli.verb(group, "invoke-many", lab)
    @click.argument("many", metavar="N", type=MANY)
    @click.option("--no-wait", is_flag=True, help="Only send; do not watch them run.")
    @click.option("--failing", type=click.IntRange(0), default=0, help="So many of them fail.")
    @click.option("--yes", is_flag=True, help=f"Do not ask first where they are more than {ASK_FROM:,}.")
    def _invoke_many(ledger: Ledger, many: int, no_wait: bool, failing: int, yes: bool) -> dict[str, Any]:
        """Send N events to the function at once, and show how many ran at the same time."""
        if many > ASK_FROM and not yes:
            costs = f"{many:,} invocations cost about {many * functions.GREETING_USD:.2f} USD on AWS"
            told = ledger.command(
                f"invoke-many {many}", no_wait=no_wait, failing=str(failing) if failing else None, yes=True
            )
            cli.agree(f"{costs}. Send them?", told)
        result = functions.invoke_many(ledger, many, wait=not no_wait, failing=failing)
        if failing:
            cli.say(
                "Failed events are tried again after about 1 and 2 minutes; then `dead-letters` shows them."
            )
        unknown = ("finished", "most_at_once", "dead_letters") if no_wait else ()
        return with_picture(result, ("request_ids", *unknown))

    @cli.verb(group, "dead-letters", lab)
    @click.option(
        "--limit", type=click.IntRange(1, 1000), default=10, show_default=True, help="How many at most."
    )
    @click.option("--discard", is_flag=True, help="Delete from the queue what is shown.")
    def _dead_letters(ledger: Ledger, limit: int, discard: bool) -> Any:
        """Show the events on which the greeting failed three times, and why; they stay in the queue."""
        dead = dead_letters.read(ledger, limit=limit, discard=discard)
        if wants_json():
            return {"count": len(dead), "discarded": discard, "dead_letters": [asdict(one) for one in dead]}
        cli.say(f"{len(dead)} dead letters{', deleted now' if discard and dead else ''}.")
        return [{**asdict(one), "event": json.dumps(one.event, ensure_ascii=False)} for one in dead]

    @cli.verb(group, "logs", lab)
    @click.argument("function", type=click.Choice(FUNCTIONS), default="greeter")
    @click.option(
        "--minutes", type=click.FloatRange(0.1), default=10, show_default=True, help="How far back."
    )
    def _logs(ledger: Ledger, function: str, minutes: float) -> Any:
        """Show what a function has logged; without a name, the greeting."""
        return cli.logged(functions.logs(ledger, function=function, minutes=minutes), function=function)


def add_table(group: click.Group, lab: str) -> None:
    """`table put|get|scan|write|search-under-age|clear`."""

    @cli.verb(group, "put", lab)
    @click.argument("first_name")
    @click.argument("last_name")
    @click.argument("age", type=click.IntRange(0, 150))
    def _put(ledger: Ledger, first_name: str, last_name: str, age: int) -> dict[str, Any]:
        """Write one person."""
        return tables.put(ledger, first_name, last_name, age)

    @cli.verb(group, "get", lab)
    @click.argument("item_id")
    def _get(ledger: Ledger, item_id: str) -> Any:
        """Show the person with this ITEM_ID."""
        person = tables.get(ledger, item_id)
        if person is None:
            cli.say("There is nobody with this item_id.")
        return person or {}

    @cli.verb(group, "scan", lab)
    def _scan(ledger: Ledger) -> Any:
        """Show everybody."""
        return found(tables.scan(ledger))

    @cli.verb(group, "search-under-age", lab)
    @click.argument("age", type=click.IntRange(0, 1000))
    def _search(ledger: Ledger, age: int) -> Any:
        """Show everybody younger than AGE."""
        return found(tables.search_under_age(ledger, age))

    @cli.verb(group, "write", lab)
    @click.argument("many", metavar="N", type=MANY)
    def _write(ledger: Ledger, many: int) -> dict[str, Any]:
        """Write N generated people, in batches at the same time."""
        return asdict(tables.write(ledger, many))

    @cli.verb(group, "clear", lab)
    def _clear(ledger: Ledger) -> dict[str, Any]:
        """Delete everybody, and keep the table."""
        return asdict(tables.clear(ledger))


def add_bucket(group: click.Group, lab: str) -> None:
    """`bucket put|get|ls|rm`."""

    @cli.verb(group, "put", lab)
    @click.argument("local", type=click.Path(exists=True, dir_okay=False, path_type=Path))
    @click.argument("key", default="")
    def _put(ledger: Ledger, local: Path, key: str) -> dict[str, Any]:
        """Copy the file LOCAL into the bucket, as KEY."""
        return buckets.put(ledger, local, key)

    @cli.verb(group, "get", lab)
    @click.argument("key")
    @click.argument("local", default="")
    def _get(ledger: Ledger, key: str, local: str) -> dict[str, Any]:
        """Copy KEY out of the bucket, to the file or folder LOCAL."""
        return buckets.get(ledger, key, local)

    @cli.verb(group, "ls", lab)
    @click.argument("beginning", default="")
    def _ls(ledger: Ledger, beginning: str) -> Any:
        """Show what lies in the bucket, or whose name has this BEGINNING."""
        files = buckets.ls(ledger, beginning)
        return {"count": len(files), "objects": files} if wants_json() else files

    @cli.verb(group, "rm", lab)
    @click.argument("key")
    def _rm(ledger: Ledger, key: str) -> dict[str, Any]:
        """Delete KEY from the bucket."""
        return buckets.rm(ledger, key)


def add_haiku(group: click.Group, lab: str, api: Callable[[Ledger], haiku.Api]) -> None:
    """`haiku post|list|like|delete|post-many|clear`."""

    @cli.verb(group, "post", lab)
    @click.argument("username")
    @click.argument("first")
    @click.argument("second")
    @click.argument("third")
    def _post(ledger: Ledger, username: str, first: str, second: str, third: str) -> dict[str, Any]:
        """Leave a haiku of three lines."""
        return haiku.post(api(ledger), username, first, second, third)

    @cli.verb(group, "list", lab)
    @click.option("--limit", type=click.IntRange(1, 100_000), default=30, show_default=True, help="How many.")
    def _list(ledger: Ledger, limit: int) -> Any:
        """Show the newest haiku."""
        poems = haiku.newest(api(ledger), limit)
        return {"count": len(poems), "haiku": poems} if wants_json() else poems

    @cli.verb(group, "like", lab)
    @click.argument("item_id")
    def _like(ledger: Ledger, item_id: str) -> dict[str, Any]:
        """Like a haiku once more."""
        return haiku.like(api(ledger), item_id)

    @cli.verb(group, "delete", lab)
    @click.argument("item_id")
    def _delete(ledger: Ledger, item_id: str) -> dict[str, Any]:
        """Delete a haiku."""
        haiku.delete(api(ledger), item_id)
        return {"deleted": item_id}

    @cli.verb(group, "post-many", lab)
    @click.argument("many", metavar="N", type=MANY)
    def _post_many(ledger: Ledger, many: int) -> dict[str, Any]:
        """Leave N generated haiku, 32 at a time."""
        limits = haiku.limits(ledger)
        say_limit(ledger, limits, many)
        return {"posted": len(haiku.post_many(api(ledger), many, limits.at_once))}

    @cli.verb(group, "clear", lab)
    def _clear(ledger: Ledger) -> dict[str, Any]:
        """Delete all haiku."""
        return {"deleted": haiku.clear(api(ledger))}
