"""The weather of the practice cloud: how slow it is today, and which calls fail.

AWS throttles, runs out of capacity, loses an answer on the way and takes its time. Here all of that
comes on demand, so that it can be practised for free. `current` is the weather of this process; the
server's control routes change it, and the strict rules read it.
"""

from __future__ import annotations

import dataclasses
import fnmatch
import random
import re
import threading
from collections.abc import Mapping
from typing import Any

CUT = "cut"  # the call takes effect, then the connection is closed without an answer
CUT_BEFORE = "cut-before"  # the connection is closed before the call takes effect

ACCOUNTS = {
    "old": "an account whose owner has asked for more over the years",
    "new": "one with the small quotas of an account opened today",
    "free-plan": "a new one on AWS's Free plan, which runs few types of instances",
    "classroom": "one of a class: no roles of its own, no GPU, no spot, two Regions",
}
MOST = {"latency_ms": 60_000, "slow_states": 60_000, "lag_ms": 60_000, "stale": 1}
ACCOUNT_ID = re.compile(r"\d{12}")
_OPERATION = re.compile(r"\*|[a-z0-9*?-]+:[A-Za-z0-9*?]+")
_CODE = re.compile(r"[A-Za-z][A-Za-z0-9._-]*")


@dataclasses.dataclass
class Fault:
    """A call that fails, always or sometimes.

    Attributes
    ----------
    operation : str
        Which calls: ``ec2:RunInstances`` (boto3's name of the service, AWS's name of the operation),
        with ``*`` and ``?`` as in file names (``ec2:Describe*``, ``*``).
    code : str
        AWS's error code, or ``cut``, or ``cut-before``.
    probability : float
        Between 0 and 1: how often such a call fails.
    count : int or None
        How many calls it still strikes; None: no end.
    account : str or None
        The only account it strikes, 12 digits; None: all of them.
    """

    operation: str
    code: str
    probability: float = 1.0
    count: int | None = None
    account: str | None = None

    @classmethod
    def parse(cls, text: str, account: str | None = None) -> Fault:
        """Read ``OPERATION=CODE[:PROBABILITY[:COUNT]]``, as ``--fault`` takes it.

        Raises
        ------
        ValueError
            With a sentence that says what is wrong.
        """
        operation, equals, rest = text.partition("=")
        code, *numbers = rest.split(":")
        if not equals or not _OPERATION.fullmatch(operation) or not _CODE.fullmatch(code) or len(numbers) > 2:
            raise ValueError(
                f"{text!r} is no fault: write OPERATION=CODE[:PROBABILITY[:COUNT]], "
                "such as ec2:RunInstances=InsufficientInstanceCapacity:0.5"
            )
        try:
            probability = float(numbers[0]) if numbers else 1.0
            count = int(numbers[1]) if len(numbers) == 2 else None
        except ValueError:
            raise ValueError(f"{text!r}: PROBABILITY is a number such as 0.5, COUNT one such as 3") from None
        if not 0 < probability <= 1:
            raise ValueError(f"{text!r}: a probability lies above 0 and is at most 1")
        if count is not None and count < 1:
            raise ValueError(f"{text!r}: a count is 1 or more")
        return cls(operation, code, probability, count, account)

    def __str__(self) -> str:
        text = f"{self.operation}={self.code}"
        if self.probability != 1 or self.count is not None:
            text += f":{self.probability:g}"
        return text if self.count is None else f"{text}:{self.count}"


@dataclasses.dataclass
class Weather:
    """What the practice cloud is like at the moment.

    Attributes
    ----------
    latency_ms : float
        How long every call is on its way, in milliseconds; 0 to 60,000.
    faults : list of Fault
        Calls that fail.
    slow_states : float
        Time scale of boots and state changes: 1 is close to AWS (an instance boots in 5 s), 0 is at once.
    lag_ms : float
        How long a new resource stays invisible, in milliseconds.
    stale : float
        How often, between 0 and 1, a part of AWS has not heard of a change yet where that is seen to happen.
    account : str
        One of `ACCOUNTS`.
    """

    latency_ms: float = 0.0
    faults: list[Fault] = dataclasses.field(default_factory=list)
    slow_states: float = 0.2
    lag_ms: float = 0.0
    stale: float = 0.25
    account: str = "old"

    def __post_init__(self) -> None:
        self._mutex = threading.Lock()

    def change(self, changes: Mapping[str, Any]) -> None:
        """Change what is named, all of it or, when something is wrong, nothing.

        Parameters
        ----------
        changes : mapping
            Attribute to new value; ``faults`` as texts for `Fault.parse`. With an account of 12 digits
            under ``account``, ``faults`` are those of this account alone and replace only its own.

        Raises
        ------
        ValueError
            With a sentence that says what is wrong.
        """
        checked = dict(changes)
        only = None
        if ACCOUNT_ID.fullmatch(str(checked.get("account", ""))):
            only = checked.pop("account")
            if set(checked) != {"faults"}:
                raise ValueError(f"only faults can be limited to one account ({only})")
        for name, value in checked.items():
            if name == "faults":
                checked[name] = [Fault.parse(text, only) for text in value]
            elif name == "account":
                if value not in ACCOUNTS:
                    raise ValueError(f"account is one of {', '.join(ACCOUNTS)}, not {value!r}")
            elif name in MOST:
                checked[name] = _number(name, value)
            else:
                raise ValueError(f"the weather has no {name!r}")
        with self._mutex:
            if "faults" in checked:
                checked["faults"] += [fault for fault in self.faults if fault.account != only]
            for name, value in checked.items():
                setattr(self, name, value)

    def draw(self, operation: str, account: str) -> str | None:
        """The code with which this call fails, or None: it goes through. Counts a fault down."""
        with self._mutex:
            for fault in self.faults:
                ours = fault.account in (None, account)
                if not ours or not fnmatch.fnmatchcase(operation, fault.operation):
                    continue
                if random.random() >= fault.probability:
                    continue
                if fault.count is not None:
                    fault.count -= 1
                    if fault.count == 0:
                        self.faults.remove(fault)
                return fault.code
        return None

    def is_late(self) -> bool:
        """Whether this time a change has not arrived everywhere yet."""
        return random.random() < self.stale

    def forget(self, account: str) -> None:
        """Drop the faults of one account."""
        self.change({"account": account, "faults": []})

    def show(self) -> dict[str, Any]:
        """The same as plain JSON values; a fault of one account begins with ``ACCOUNT ``."""
        with self._mutex:
            shown = {each.name: getattr(self, each.name) for each in dataclasses.fields(self)}
            faults = [f"{fault.account} {fault}" if fault.account else str(fault) for fault in self.faults]
        return shown | {"faults": faults}


def _number(name: str, value: Any) -> float:
    """A number as large as it may be, or ValueError."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise ValueError(f"{name} is a number, not {value!r}") from None
    if not 0 <= number <= MOST[name]:  # which no nan does
        raise ValueError(f"{name} lies between 0 and {MOST[name]}, not at {value!r}")
    return number


current = Weather()
