"""What the command lines of all labs share: options, the ledger they open, output, exit codes.

Progress goes to stderr, results to stdout: as a table, or with ``--json`` as one JSON object.
Exit codes: 0 done, 1 error, 2 wrong usage, 3 something still stands or could not be looked at,
130 interrupted.
"""

from __future__ import annotations

import contextlib
import functools
import ipaddress
import logging
import os
import re
import shlex
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from awslabs import cost, graph, journal, limits, prices, progress, screen
from awslabs.errors import LabError
from awslabs.screen import out as out  # chapters say cli.out, cli.say, cli.show
from awslabs.screen import say as say
from awslabs.screen import say_beside as say_beside
from awslabs.screen import show as show
from awslabs.screen import show_table as show_table
from awslabs.screen import takes_unicode as takes_unicode
from awslabs.screen import tell as tell

if TYPE_CHECKING:
    from awslabs.cloud import Cloud
    from awslabs.explain import Place
    from awslabs.ledger import Ledger
    from awslabs.sandbox import Run

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
OWNER = click.option(
    "--owner", metavar="OWNER", help="Whose it is; default: AWSLABS_OWNER, or else your IAM name."
)
LEDGER_OPTIONS = [
    click.option("--name", metavar="NAME", default="default", help="Name of this copy of the lab."),
    OWNER,
]
OUTPUT_OPTIONS = [
    click.option("--json", "as_json", is_flag=True, help="Print the result as one JSON object."),
    click.option("-v", "--verbose", is_flag=True, help="Show reading calls too."),
]
GIVEN = "awslabs.given"  # what a verb was called with, word by word
SHARED = {"sandbox", "region", "profile", "name", "owner", "as_json", "verbose"}


# -- Opening a lab ----------------------------------------------------------------------------------------


def open_cloud(*, sandbox: bool = False, region: str | None = None, profile: str | None = None) -> Cloud:
    """AWS, or with `sandbox` the practice cloud, which is started if none runs."""
    environment = None
    if sandbox:
        from awslabs import sandbox as practice

        environment = (practice.current() or start_practice_cloud()).environment(region=region)
    with progress.awaiting("the cloud's client is there"):  # boto3, which a cold disk gives slowly
        from awslabs.cloud import Cloud

        return Cloud(region, None if sandbox else profile, environment)


def start_practice_cloud(**options: Any) -> Run:
    """Start it, and say so at once: on a cold disk it takes most of a minute. Options: `sandbox.start`.

    Where nothing keeps what runs in it from this user's files, that is said too: here, so once in its life.
    """
    from awslabs import sandbox as practice

    say("Starting the practice cloud: some seconds, the first time up to a minute ...")
    with progress.awaiting("the practice cloud listens"):
        run = practice.start(**options)
    if exposed := why_exposed():
        say_exposed(exposed)
    return run


def why_exposed() -> str:
    """Why what runs in the practice cloud could read this user's files; empty where it cannot."""
    import asyncio
    import tempfile

    from awslabs.sandbox.run import isolation

    with tempfile.TemporaryDirectory(prefix="awslabs-") as scratch:
        return asyncio.run(isolation.why_no_namespaces(Path(scratch)))


def say_exposed(why: str) -> None:
    """What that means for who runs something in it."""
    say(
        "Functions, tasks, jobs and commands on servers run here as programs of yours: they can read what"
        f" you can, ~/.aws and ~/.ssh too. Run only code that you trust. ({why})"
    )


@contextlib.contextmanager
def practice_cloud() -> Iterator[None]:
    """The practice cloud for a while: one that is started for it ends with it, one that ran before stays."""
    from awslabs import sandbox as practice

    ran_before = practice.current()
    run = ran_before or start_practice_cloud()
    try:
        yield
    finally:
        if ran_before is None:
            run.stop()


def open_ledger(
    lab: str,
    *,
    name: str = "default",
    owner: str | None = None,
    budget_usd: float | None = None,
    **where: Any,
) -> Ledger:
    """The ledger of one lab; keyword arguments as of `open_cloud`. AWS calls: ``sts:GetCallerIdentity``.

    A budget holds at once for what stands, and else from the next `up` on.
    """
    cloud = open_cloud(**where)
    from awslabs.ledger import Ledger
    from awslabs.switch import Switch

    with progress.awaiting("the cloud says whose credentials these are"):
        ledger = Ledger(cloud, lab, name, owner)
    Switch(ledger)
    if budget_usd is not None:
        ledger.limit(budget_usd=budget_usd)
    return ledger


def open_console(*, sandbox: bool, region: str | None, profile: str | None) -> None:
    """Have the console in a browser while something is built; that it does not come stops nothing."""
    from awslabs import console

    named = {"--region": region, "--profile": profile}
    options = [word for option, value in named.items() if value for word in (option, value)]
    try:
        note = console.open_beside([*options, *(["--sandbox"] if sandbox else [])])
    except (LabError, OSError) as error:
        say(f"The console did not open: {error}")
    else:
        say(f"The console is in your browser: {note['address']}")


# -- Verbs ---------------------------------------------------------------------------------------------


def plain_verb(group: click.Group, name: str) -> Callable[[Callable[..., Any]], click.Command]:
    """Make a function a verb that opens no ledger; it takes all shared options but --name and --owner.

    What it returns is printed: a dictionary or a list of them, as a table or as JSON.
    """

    def decorate(function: Callable[..., Any]) -> click.Command:
        @functools.wraps(function)
        def run(**options: Any) -> None:
            with reporting(options.pop("verbose")):
                result = function(**options)
                if result is not None:
                    show(result, options["as_json"])

        command = group.command(name, cls=Verb)(with_options(*CLOUD_OPTIONS, *OUTPUT_OPTIONS)(run))
        command.params.sort(key=lambda param: param.name in SHARED)  # help shows the verb's own options first
        return command

    return decorate


def with_options(*options: Callable[[Any], Any]) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Give a command several options at once, in their order."""

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        for option in reversed(options):
            function = option(function)
        return function

    return decorate


def wants_json() -> bool:
    """Whether the verb that runs now was called with ``--json``."""
    return bool(click.get_current_context().params["as_json"])


def verb(group: click.Group, name: str, lab: str) -> Callable[..., Any]:
    """Make a function a verb of a lab: it gets the lab's ledger first, then its own options."""
    opens = ("sandbox", "region", "profile", "name", "owner", *(["budget_usd"] if name == "up" else []))

    def decorate(function: Callable[..., Any]) -> click.Command:
        @functools.wraps(function)
        def run(as_json: bool, **options: Any) -> Any:
            if name == "up" and options.pop("dry_run"):
                options.pop("with_console")
                return planned(lab, function, options)
            if name != "down":
                limits.from_environment()  # what makes no sense is said before anything begins
            if options.pop("with_console", False):
                open_console(sandbox=options["sandbox"], region=options["region"], profile=options["profile"])
            ledger = open_ledger(lab, **{key: options.pop(key) for key in opens})
            keeping = contextlib.nullcontext() if name == "down" else limits.Keeper(ledger)
            try:
                with keeping:
                    result = function(ledger, **options)
                if name == "up" and result and not as_json:  # `status` tells the names, and --json
                    result = {"export": result["export"]} if "export" in result else None
                if any(row.call == "batch:CreateComputeEnvironment" for row in ledger.journal.open_rows()):
                    ledger.read_meter()  # its machines come and go, and AWS shows them for an hour only
                return result
            except Exception as error:
                if is_botocores(error):
                    raise as_lab_error(error, ledger.place) from error  # type: ignore[misc]
                raise
            finally:
                ledger.keep_count()

        if name == "up":
            add_explain(group, lab, function)
        own = [BUDGET, DRY_RUN, OPEN] if name == "up" else []
        made = plain_verb(group, name)(with_options(*LEDGER_OPTIONS, *own)(run))
        if name == "up":
            group.commands["explain"] = group.commands.pop("explain")  # help names it behind
        return made

    return decorate


def add_explain(group: click.Group, lab: str, function: Callable[..., Any]) -> None:
    """The verb `explain` of a lab: it takes all options of `up`, and says what that would call."""

    def explain(as_json: bool, lang: str | None, as_script: bool, **options: Any) -> dict[str, Any] | None:
        """Say step by step what `up` would call, and why each call is there; nothing is called."""
        return planned(lab, function, options, in_full=True, lang=lang, as_script=as_script)

    explain.__click_params__ = list(getattr(function, "__click_params__", []))  # type: ignore[attr-defined]
    plain_verb(group, "explain")(with_options(LANGUAGE, SCRIPT, *LEDGER_OPTIONS, BUDGET)(explain))


def planned(
    lab: str,
    function: Callable[..., Any],
    options: dict[str, Any],
    *,
    in_full: bool = False,
    lang: str | None = None,
    as_script: bool = False,
) -> dict[str, Any] | None:
    """What `up` with these options would call, printed; or returned for ``--json``. AWS calls: none.

    Parameters
    ----------
    function : callable
        The verb `up`: it takes a ledger.
    in_full : bool
        Explain each step.
    """
    from awslabs import lesson, plan, script
    from awslabs.switch import Switch

    sandbox, region, profile = (options.pop(name) for name in ("sandbox", "region", "profile"))
    if not sandbox:
        region = plan.region_of(region, profile)
    copy = {name: options.pop(name) for name in ("name", "owner", "budget_usd")}

    def build(ledger: Ledger) -> Any:
        Switch(ledger)
        return function(ledger, **options)

    with progress.awaiting("the plan is made"):
        made = plan.rehearse(lab, build, region=region, **copy)
    lang = lang or lesson.language()
    if as_script:
        out(script.script(made, lesson.price(made.usd_per_hour, "en", made.region, all_of_it=True)))
        return None
    if wants_json():
        return lesson.as_dict(made, lang)
    command = " ".join([f"python -m awslabs.{lab} up", *map(shlex.quote, typed())])
    out((lesson.lesson if in_full else lesson.table)(made, lang, command))
    return None


def typed() -> list[str]:
    """The options that the verb which runs now was given, without those that say how a plan is shown."""
    given = iter(click.get_current_context().meta[GIVEN])
    kept = []
    for word in given:
        if word == "--lang":
            next(given, None)
        elif word not in ("--dry-run", "--script", "--json", "-v", "--verbose") and word[:7] != "--lang=":
            kept.append(word)
    return kept


class Verb(click.Command):
    """A verb; where it takes texts, it says how one with a dash in front is given."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        given = ctx.meta[GIVEN] = list(args)  # click takes them from its list as it reads
        try:
            return super().parse_args(ctx, args)
        except click.NoSuchOption as error:
            texts = [word for word in given if re.match(r"-[^-]|--.*\s", word)]
            if texts and any(isinstance(param, click.Argument) for param in self.params):
                line = f"{ctx.command_path} [OPTIONS] -- {shlex.quote(texts[0])} ..."
                hint = f"A text that begins with a dash comes after --, behind all options: {line}"
                raise click.UsageError(f"{error.format_message()}\n{hint}", ctx) from error
            raise


class Group(click.Group):
    """A group whose help lists verbs in the order in which one needs them, each with its whole sentence."""

    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **{"context_settings": {"max_content_width": 100}, **more})

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)

    def invoke(self, ctx: click.Context) -> Any:
        """Run a verb; what click says of wrong usage ends its lines between words, and is safe to show."""
        try:
            return super().invoke(ctx)
        except click.UsageError as error:
            head = "Error: "  # what click writes before it
            said = screen.visible(error.format_message())
            text = screen.fitted(head + said, sys.stderr).removeprefix(head)
            error.format_message = lambda: text  # type: ignore[method-assign]
            raise

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(self.lines_of_help())

    def lines_of_help(self) -> list[tuple[str, str]]:
        """Each verb and what it does."""
        return [(name, verb.get_short_help_str(limit=1000)) for name, verb in self.commands.items()]


def lab_group(lab: str, page: str | None) -> click.Group:
    """The command group of a chapter, with the chapter's own first line as its help."""
    return Group(lab, help=(page or "").partition("\n")[0])


def ttl(
    default: str | None = None,
    text: str = "End what costs so long after the last `up`, task or job: 90m, 3h, ...",
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """The option ``--ttl`` of a lab; unless told otherwise of one that works by tasks, jobs or requests."""
    told: dict[str, Any] = {"metavar": "TIME", "default": default, "show_default": True, "help": text}
    return click.option("--ttl", "ttl_minutes", type=Read("duration", minutes_in), **told)


def regions_in(text: str) -> list[str]:
    """The Regions that ``--regions A,B`` names, each once."""
    names = list(dict.fromkeys(text.replace(",", " ").split()))
    for name in names:
        if not journal.REGION.fullmatch(name):
            raise click.UsageError(f"--regions: {name} is no Region, such as us-east-1.")
    return names


class Read(click.ParamType):  # type: ignore[type-arg]
    """What a function reads out of a word; its ValueError says what is wrong with that."""

    def __init__(self, name: str, read: Callable[[str], Any]) -> None:
        self.name, self.read = name, read

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        try:
            return self.read(str(value))
        except ValueError as error:
            self.fail(str(error), param, ctx)


def minutes_in(text: str) -> int:
    """``90m``, ``3h``, ``1h30m``: a time in whole minutes, 10 minutes (a server boots in some) to 7 days."""
    match = re.fullmatch(r"(?:(\d+)h)?(?:(\d+)m)?", text)
    minutes = int(match[1] or 0) * 60 + int(match[2] or 0) if match else 0
    if not 10 <= minutes <= 7 * 24 * 60:
        raise ValueError(f"{text!r} is no time from 10m to 168h; write 90m, 3h or 1h30m.")
    return minutes


def range_in(text: str) -> str:
    """``203.0.113.7/32``: a range of IPv4 addresses; never the whole internet."""
    try:
        network = ipaddress.IPv4Network(text, strict=False)
    except ValueError as error:
        raise ValueError(f"{error}; write an address as 203.0.113.7/32.") from error
    if network.prefixlen == 0:
        raise ValueError("0.0.0.0/0 would let the whole internet try the door; name a smaller range.")
    return str(network)


def ends_by_itself(up: Callable[..., Any]) -> Callable[..., Any]:
    """The option ``--require-switch`` of `up`: AWS itself must see to a time or a budget."""

    @functools.wraps(up)
    def run(ledger: Ledger, require_switch: bool, **options: Any) -> Any:
        if require_switch:
            from awslabs.switch import Switch

            budget = ledger.budget_usd or limits.budget(ledger.journal.header)
            if options["ttl_minutes"] is None and budget is None:
                raise click.UsageError("--require-switch needs --ttl or --budget: when shall it end?")
            Switch(ledger, required=True)
        return up(ledger, **options)

    return REQUIRE_SWITCH(run)


# Options of several labs.
REQUIRE_SWITCH = click.option(
    "--require-switch",
    is_flag=True,
    help="Build nothing that costs where AWS could not delete it by itself, at --ttl or --budget.",
)
BUDGET = click.option(
    "--budget",
    "budget_usd",
    metavar="USD",
    type=Read("amount", limits.amount),
    help="End what costs when this much is spent, until `down`; default: AWSLABS_BUDGET, or no budget.",
)
DRY_RUN = click.option(
    "--dry-run", is_flag=True, help="Only say what would be called; nothing is, not even for the account."
)
LANGUAGE = click.option(
    "--lang", type=click.Choice(["en", "ja"]), help="English or Japanese; default: as LANG says."
)
SCRIPT = click.option("--script", "as_script", is_flag=True, help="Print it as one script of the AWS CLI.")
OPEN = click.option(
    "--open", "with_console", is_flag=True, help="Show it in your browser, while it is built and after."
)
ALLOW_FROM = click.option(
    "--allow-from",
    metavar="CIDR",
    type=Read("cidr", range_in),
    help="Who may reach SSH; default: this computer alone.",
)
NO_DOCKER = click.option(
    "--no-docker",
    "without_docker",
    is_flag=True,
    help="Practice cloud: run the program as a process, build no image.",
)
ROLE_ARN = click.option(
    "--role-arn", metavar="ARN", help="A role that exists, where you may make none; else own ones are made."
)
EXPORT = click.option(
    "--export",
    is_flag=False,
    flag_value="shell",
    type=click.Choice(["shell", "ssm"]),
    help="Print names and addresses as variables of a shell; =ssm: keep them as SSM parameters until down.",
)


# -- Errors and exit codes -------------------------------------------------------------------------------


@contextlib.contextmanager
def reporting(verbose: bool = False) -> Iterator[None]:
    """Show log lines and waits on stderr while the body runs; turn its errors into exit codes."""
    screen.never_fail_on_a_character()
    watcher = progress.watcher = screen.watcher_for(sys.stderr)
    handler, logger = screen.WatcherHandler(), logging.getLogger("awslabs")
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG if verbose else logging.INFO)
    try:
        try:
            yield
        finally:
            watcher.close()
            progress.watcher = None
            logger.removeHandler(handler)
    except KeyboardInterrupt:
        screen.complain("\ninterrupted. Nothing is lost: run the same command again, or `down`.")
        os._exit(INTERRUPTED)  # threads that wait for AWS are not waited for
    except Exception as error:
        ours = as_lab_error(error)
        if ours is None:
            raise
        for label, text in (("error: ", ours.what), ("why:   ", ours.why), ("fix:   ", ours.fix)):
            if text:
                screen.complain(screen.fitted(label + text, sys.stderr))
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


def agree(question: str, unasked: str) -> None:
    """Ask for a yes.

    Raises
    ------
    LabError
        For a no; and where nobody answers, naming the command that does not ask.
    """
    try:
        agreed = click.confirm(question, err=True)
    except click.Abort as error:
        if isinstance(error.__context__, KeyboardInterrupt):
            raise KeyboardInterrupt from None
        if not sys.stdin.isatty():
            raise LabError("Nobody is there to answer, so nothing was done.", "", unasked) from None
        agreed = False  # Ctrl-D
    if not agreed:
        raise LabError("Nothing was done.")


# -- What the result of a lab begins and ends with -----------------------------------------------------------


def header(ledger: Ledger) -> dict[str, Any]:
    """What the result of every lab's `up` and `status` begins with."""
    ledger.read_meter()
    head = ledger.journal.header
    note = cost.price_note(head, ledger.journal.rows).strip(" ()")
    return {
        **journal.whereabouts(head),
        "ledger": ledger.journal.path,
        "usd_per_hour": ledger.usd_per_hour,
        "usd_so_far": ledger.usd_so_far,
        **({"prices": note} if note else {}),
        **limited(ledger),
        "resources": ledger.resources,
    }


def limited(ledger: Ledger) -> dict[str, Any]:
    """The lab's budget, what is left of it, and when what costs ends at this price; nothing for no limits."""
    head, rows = ledger.journal.header, ledger.journal.rows
    budget, due = limits.budget(head), ledger.due
    gone = limits.spent(head, rows)
    left = None if budget is None or gone is None else max(0.0, budget - gone)
    money = {} if budget is None else {"usd_budget": budget, "usd_left": left}
    return {**money, **({"ends": due} if due else {})}


def overview(ledger: Ledger, facts: dict[str, Any], states: dict[int, str]) -> list[str]:
    """What `status` shows a person: a tree of things with their states, then what is short of the rest."""
    head, rows = ledger.journal.header, ledger.journal.open_rows()
    server = ledger.journal.last("instance")
    if server and "state" in facts:
        states = {**states, server.number: facts["state"]}
    where = "on AWS" if ledger.cloud.is_aws else "in the practice cloud"
    lines = [f"{ledger.lab} ({head['name']}) {where}, account {head['account']}, {head['region']}", ""]
    room = screen.room_of(sys.stdout)
    tree = graph.tree(rows, states, plain=not takes_unicode(sys.stdout), room=room)
    lines += tree or ["Nothing stands."]
    told = {"state", "usd_per_hour", *ledger.resources.values()}  # above or below
    short = {
        key: value
        for key, value in facts.items()
        if isinstance(value, (str, int, float)) and not {key, value} & told
    }
    lines += ["", *screen.lines_of(short, room=room)] if short else []
    hourly = facts.get("usd_per_hour", ledger.usd_per_hour)
    so_far = screen.amount("usd", ledger.usd_so_far)
    costs = "It costs" if ledger.cloud.is_aws else "It is free; on AWS it would cost"
    lines += ["", f"{costs} {per_hour(hourly, head['region'])}; {so_far} USD until now."]
    if ends := limits.told(head, ledger.journal.rows):
        lines.append(ends)
    return [*lines, f"End it: {ledger.command('down')}"] if rows else lines


def logged(lines: list[str], **of: str) -> dict[str, Any] | None:
    """What the verb `logs` of a lab returns: the lines for a program, or nothing once a person sees them."""
    if wants_json():
        return {**of, "lines": lines}
    out("\n".join(lines) or "Nothing was logged.")
    return None


def announce(ledger: Ledger, what: str, usd_per_hour: float | None) -> None:
    """Say before building what comes, where, and what it will cost; stop where the budget is too small."""
    head = ledger.journal.header
    where = f"account {head['account']}, {head['region']}"
    if ledger.cloud.is_aws:
        price = per_hour(usd_per_hour, head["region"])
        price += f" (prices of {prices.AS_OF})" if usd_per_hour else ""
        say(f"Building {what} on AWS: {where}, {price}.")
    else:
        say(f"Building {what} in the practice cloud, which is free: {where}.")
    ledger.afford_hours("the lab", usd_per_hour)


def farewell(ledger: Ledger) -> None:
    """Say at the end of `up` what it costs from now on, and how it ends."""
    costs = "It costs" if ledger.cloud.is_aws else "On AWS it would cost"
    usd = ledger.usd_per_hour
    price = per_hour(usd, ledger.cloud.region) + ("," if usd == 0 else "")
    say(f"{costs} {price} until: {ledger.command('down')}")
    if ends := limits.told(ledger.journal.header, ledger.journal.rows):
        switched = "switch-schedule" in ledger.resources
        say(
            f"{ends} AWS deletes the lab then, with all results, though nobody comes back."
            if switched
            else ends
        )
    say(f"Its parts, their states and ids: {ledger.command('status')}")


def per_hour(usd: float | None, *regions: str) -> str:
    """An hourly price in words, with a note where it is not those Regions' own."""
    if usd is None:
        return "an unknown price"
    notes = "".join(sorted({prices.note(region) for region in regions}))
    return f"about {usd:.4f} USD per hour{notes}" if usd else "nothing per hour, only what is used"


def add_status(
    group: click.Group, lab: str, parts: Iterable[str], report: Callable[[Ledger], dict[str, Any]]
) -> None:
    """The verbs `status` and `limit` of a lab.

    Parameters
    ----------
    parts : iterable of str
        The rows without which it is no lab to work with.
    report : callable
        What is said of one that stands, besides the header.
    """

    @verb(group, "status", lab)
    def _status(ledger: Ledger) -> dict[str, Any] | None:
        """Show what stands, where, in which state, and what it costs."""
        ledger.close_ended()
        facts: dict[str, Any] = {}
        if gone := ledger.missing(parts):
            say(f"The lab does not stand. Missing: {', '.join(gone)}.")
        else:
            facts = report(ledger)
        whole, states = {**header(ledger), **facts}, ledger.states()
        if wants_json():
            by_name = {row.name: states.get(row.number, "") for row in ledger.journal.open_rows()}
            return {**whole, "states": by_name}
        tell("\n".join(overview(ledger, facts, states)))
        return None

    @verb(group, "limit", lab)
    @BUDGET
    @ttl()
    def _limit(ledger: Ledger, budget_usd: float | None, ttl_minutes: int | None) -> dict[str, Any]:
        """Show or change what the lab may cost, and how long it may stand."""
        if not ledger.journal.open_rows():
            asked = {
                "budget": limits.written(budget_usd) if budget_usd else None,
                "ttl": f"{ttl_minutes}m" if ttl_minutes else None,
            }
            raise LabError(
                "The lab does not stand.",
                "A budget and a time are a standing lab's; `up` takes them as well.",
                ledger.command("up", **asked),
            )
        timer = any("ttl_minutes" in row.telling for row in ledger.journal.open_rows())
        if timer and ttl_minutes:
            raise LabError(
                "The server's time was not changed.",
                "Its own timer ends it, and that was set when it started.",
                f"{ledger.command('down')}    # then `up` with another --ttl",
            )
        if budget_usd or ttl_minutes:
            ledger.limit(budget_usd=budget_usd, ttl_minutes=ttl_minutes)
        ledger.read_meter()
        return {"lab": lab, "usd_per_hour": ledger.usd_per_hour, **limited(ledger)}


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
    def down_verb(
        ledger: Ledger, dry_run: bool, discard: bool = False
    ) -> list[dict[str, Any]] | dict[str, Any] | None:
        """Delete everything the lab has built, and wait until AWS shows that it is gone."""
        rows = ledger.down(dry_run=True)
        if dry_run:
            say(f"Would delete {len(rows)} resources, in this order:")
            return [{"row": row.number, "name": row.name, "id": row.id, "state": row.state} for row in rows]
        if rows:
            ledger.read_meter()  # logs, too, before they go
        if bring_home and rows and not discard:
            ledger.end_work()  # what would be finished between saving and deleting, would be lost
            folder = Path("awslabs-results", lab)
            if saved := bring_home(ledger, folder):
                say(f"{saved} saved in {folder}/.")
        down(ledger)
        if rows:
            ledger.read_meter()  # when its servers ended
        usd = ledger.usd_so_far
        note = cost.price_note(ledger.journal.header, ledger.journal.rows)
        price = f"about {usd:.4f} USD{note}" if usd and usd >= 5e-5 else "less than 0.0001 USD"
        price = "an unknown price" if usd is None else price
        say(
            f"{len(rows)} resources deleted; nothing of it is left. "
            f"{'It cost' if ledger.cloud.is_aws else 'On AWS it would have cost'} {price}."
            if rows
            else "Nothing stands."
        )
        return {"deleted": len(rows), "usd_so_far": usd} if wants_json() else None

    down_verb.params.append(click.Option(["--dry-run"], is_flag=True, help="Only say what would be deleted."))
    if bring_home:
        saves = f"Do not save the results in awslabs-results/{lab}/ first."
        down_verb.params.append(click.Option(["--discard"], is_flag=True, help=saves))
