"""The dead-man's switch: when a lab's time is up, AWS takes it down, though no laptop ever comes back.

    up --ttl 3h   <1> a role and a log group          first, for AWS needs some seconds to know a role
                  ..  the lab's network meanwhile
                  <2> a function, and a schedule      before the first thing that costs
                      that calls it every two minutes from the end on, until nothing is left

The function (`switch_function`) holds this package's own modules: it finds by tag, name and path what is of
this ledger, as ``ledger recover`` does, and deletes it in order, as `down` does. It needs no ledger file.
Then it deletes its log group, the schedule, itself, and its role.

Why a rate and not one moment: a schedule of one moment is gone after its last failed try, and Lambda takes
an event at once, so a run that timed out would leave all standing in silence. The next run begins where that
one ended. `down` puts the end off while it works, and the schedule goes last: if `down` dies, the switch is
still there.

What the role may reach stands in `policies.take_down`, with the two exceptions.
"""

from __future__ import annotations

import json
import logging
import threading
import zipfile
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

from awslabs import policies, prices
from awslabs.errors import AwsError, LabError
from awslabs.explain import DENIED, boto3_errors
from awslabs.kinds import schedules
from awslabs.kinds.functions import packed
from awslabs.ledger import Ledger
from awslabs.roles import permit

log = logging.getLogger("awslabs.switch")

RUNTIME = "python3.13"
RUN_S = 600  # a run is over by then, and the next one goes on
MEMORY_MIB = 512
EVERY = "rate(2 minutes)"
HANDLER = "awslabs.switch_function.handler"
# In the order in which they can go.
PARTS = ("switch-schedule", "switch-function", "switch-logs", "switch-policy", "switch-role")
# What the function is made of, which is what `recover` and `down` are made of; and all of `kinds/`.
MODULES = (
    *("__init__", "addresses", "callbook", "cloud", "cost", "drawing", "errors", "explain", "inventory"),
    *("journal", "labs", "ledger", "ledgers", "limits", "prices", "progress", "recovery", "rehearsal"),
    *("show", "switch_function", "web"),
)


class Switch:
    """The end of what a ledger builds, where it has a time or a budget: `Ledger.guard`.

    Parameters
    ----------
    required : bool
        Build nothing that costs where the switch cannot be had; else one warning says so.
    """

    def __init__(self, ledger: Ledger, *, required: bool = False) -> None:
        self.ledger, self.required = ledger, required
        self.refused: AwsError | None = None
        self._stands = self._told = False
        self._at: datetime | None = None
        self._mutex = threading.Lock()
        ledger.guard = self

    def prepare(self) -> None:
        """What AWS needs some seconds to know, first: the lab is built meanwhile.

        Where some of it stands already `arm` does it: `up` may have to refuse, and changes nothing then.
        """
        if not self.refused and not self.ledger.journal.open_rows():
            self._unless_denied(lambda: prepare(self.ledger))

    def arm(self, at: datetime | None, usd_per_hour: float | None = None) -> None:
        """Before the first thing that costs, and at the end of `up`: all parts stand, and come at that time.

        Parameters
        ----------
        at : datetime or None
            When AWS begins to take the lab down; None: not yet, for nothing costs by the hour.
        usd_per_hour : float, optional
            What is about to cost so much, for the warning where there can be no switch.
        """
        with self._mutex:
            if not self.refused and not self._stands:
                self._unless_denied(lambda: arm(self.ledger, at))
                self._stands, self._at = self.refused is None, at
            if self.refused:
                self._warn(usd_per_hour)
                return
        self.move(at)

    def move(self, at: datetime | None) -> None:
        """Let the switch, if there is one, come at another time; that it cannot stops no work.

        It is left where it is a few minutes from there.
        """
        if "switch-schedule" not in self.ledger.resources or not schedules.differs(self._at, at):
            return
        try:
            move(self.ledger, at)
        except (LabError, *boto3_errors()) as error:
            log.warning("AWS takes the lab down when it was to before, not %s: %s", in_words(at), error)
        else:
            self._at = at

    def _unless_denied(self, step: Callable[[], None]) -> None:
        """A step; where the caller may not do it, `up` goes on without a switch, or ends."""
        region = self.ledger.cloud.region
        if region not in self.ledger.cloud.session.get_available_regions("scheduler"):
            self._do_without(AwsError(f"EventBridge Scheduler is not in {region}."))
            return
        try:
            step()
        except AwsError as error:
            if error.code not in DENIED:
                raise
            self._do_without(error)

    def _do_without(self, error: AwsError) -> None:
        """Remember why there is no switch, and delete what stands of it; or build nothing."""
        if self.required:
            raise error.mended_by(
                f"{self.ledger.command('up')}    # without --require-switch: you alone take it down then",
                f"{error.why} So AWS cannot take the lab down by itself; nothing that costs stands.".strip(),
            ) from error
        self.refused = error
        for name in PARTS:
            self.ledger.delete(name)

    def _warn(self, usd_per_hour: float | None) -> None:
        """Say once what it means that there is no switch."""
        if self._told or self.refused is None:
            return
        self._told = True
        price = f" about {usd_per_hour:.4f} USD per hour" if usd_per_hour else ""
        log.warning(
            "AWS cannot take this lab down by itself: %s It costs%s%s until you do: %s",
            self.refused.what,
            price or " what it costs",
            prices.note(self.ledger.cloud.region) if price else "",
            self.ledger.command("down"),
        )


def in_words(at: datetime | None) -> str:
    """A time, as a warning names it."""
    return "later" if at is None else f"at {at:%F %H:%M} UTC"


def prepare(ledger: Ledger) -> None:
    """The role, in which the function works and the schedule calls it, and where the function writes.

    AWS calls: ``iam:CreateRole``, ``PutRolePolicy``, ``logs:CreateLogGroup``.
    """
    if not ledger.missing(PARTS):
        return  # of an earlier `up`: `arm` looks at it
    logs, name = ledger.client("logs"), f"{ledger.prefix}-switch"
    account, region = ledger.cloud.identity["account"], ledger.cloud.region
    ledger.create(
        "switch-role",
        ledger.client("iam").create_role,
        RoleName=f"{name}-role",
        AssumeRolePolicyDocument=policies.trust("lambda.amazonaws.com", "scheduler.amazonaws.com"),
    )
    permit(
        ledger,
        "switch",
        *policies.take_down(ledger.prefix, region, account),
        policies.write_logs(ledger.arn("logs", f"log-group:/aws/lambda/{name}")),
        policies.allow(ledger.arn("lambda", f"function:{name}"), "lambda:InvokeFunction"),
    )
    ledger.create("switch-logs", logs.create_log_group, logGroupName=f"/aws/lambda/{name}")


def arm(ledger: Ledger, at: datetime | None) -> None:
    """From `at` on the lab is taken down. Twice is once; another time takes the place of the first.

    Without a time all of it stands, and waits: its schedule is out of use.

    AWS calls: those of `prepare`, ``lambda:CreateFunction``, ``scheduler:CreateSchedule``. Where all stands,
    those that look for it, and of `move`.
    """
    if stands(ledger):
        move(ledger, at)
        return
    fresh = "switch-schedule" not in ledger.resources
    prepare(ledger)
    lambda_, scheduler, name = ledger.client("lambda"), ledger.client("scheduler"), f"{ledger.prefix}-switch"
    role_arn = ledger.resources["switch-role"]
    ledger.create(
        "switch-function",
        lambda_.create_function,
        FunctionName=name,
        Runtime=RUNTIME,
        Role=role_arn,
        Handler=HANDLER,
        Code={"ZipFile": package()},
        Timeout=RUN_S,
        MemorySize=MEMORY_MIB,
        LoggingConfig={"LogFormat": "Text", "LogGroup": f"/aws/lambda/{name}"},
    )
    told = {"ledger": ledger.prefix, "settle_s": ledger.settle_s}
    target = {"Arn": ledger.arn("lambda", f"function:{name}"), "RoleArn": role_arn, "Input": json.dumps(told)}
    ledger.create(
        "switch-schedule",
        scheduler.create_schedule,
        Name=ledger.prefix,
        ScheduleExpression=EVERY,
        FlexibleTimeWindow={"Mode": "OFF"},
        Target=target,
        **schedules.when(at),
    )
    if not fresh:
        move(ledger, at)


def stands(ledger: Ledger) -> bool:
    """Whether AWS shows every part, be it of another version of this package than that which runs now."""
    return not ledger.missing(PARTS) and all(ledger.shown(ledger.open_row(name)) for name in PARTS)


def move(ledger: Ledger, at: datetime | None) -> bool:
    """Let the end come at another time, sooner or later or not yet; whether there is a switch at all.

    AWS calls: ``scheduler:GetSchedule``, ``UpdateSchedule`` where it differs.
    """
    name = ledger.resources.get("switch-schedule")
    if name is not None:
        schedules.move(ledger.client("scheduler"), name, at)
    return name is not None


def package() -> bytes:
    """The function's zip."""
    root = Path(__file__).parent
    files = [root / f"{name}.py" for name in MODULES] + sorted((root / "kinds").glob("*.py"))
    contents = {str(file.relative_to(root.parent)): file.read_bytes() for file in files}
    return packed(contents, zipfile.ZIP_DEFLATED)
