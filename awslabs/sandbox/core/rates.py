"""How often something may be done: some calls at once, and then one each so many seconds.

    admit(stage, {"GET /haiku": Rate(each_s=0.1, burst=5)})     # five at once, then ten per second

AWS's own rates are `spaced(seconds)`: they do not count where no time passes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from awslabs.sandbox.core.engine import clock, memory, state


class Rate(NamedTuple):
    """Seconds between two calls, and how many may come at once."""

    each_s: float
    burst: int


@state
class Taken(dict[str, float]):
    """By name of the rate, when the next call may come (seconds since 1970)."""


def admit(owner: Any, rates: Mapping[str, Rate], **counts: int) -> bool:
    """Whether a call is within all rates; if so it is counted, else nothing is.

    Parameters
    ----------
    owner : object
        Of moto, whose rates these are: they are forgotten with it.
    **counts
        For how many calls this one counts, by name of the rate; default: one.
    """
    taken, now = memory(owner, Taken), clock.now()
    free_at = {
        name: max(taken.get(name, 0.0), now - rate.each_s * (rate.burst - 1)) for name, rate in rates.items()
    }
    if any(at > now for at in free_at.values()):
        return False
    taken |= {name: at + rates[name].each_s * counts.get(name, 1) for name, at in free_at.items()}
    return True
