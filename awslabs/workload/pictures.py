"""Numbers as text: a bar per line."""

from __future__ import annotations

from collections.abc import Sequence

WIDTH = 50  # characters of the longest bar


def bars(lines: Sequence[tuple[str, float]], unit: str = "") -> str:
    """One bar per line, the longest as long as all can be.

    Parameters
    ----------
    lines
        Label and value of each.
    unit : str
        Said behind each value.
    """
    most = max((value for _, value in lines), default=0.0)
    wide = max((len(label) for label, _ in lines), default=0)
    return "\n".join(
        f"{label:>{wide}} {'#' * round(WIDTH * value / most) if most else ''} {value:g}{unit}".rstrip()
        for label, value in lines
    )


def at_the_same_time(intervals: Sequence[tuple[float, float]], steps: int = 20) -> list[tuple[float, int]]:
    """How many of these intervals (start and end, in seconds) hold each of some moments in between.

    Returns
    -------
    list of (float, int)
        Seconds since the first start, and how many ran then: the most in each step.
    """
    if not intervals:
        return []
    first, last = min(start for start, _ in intervals), max(end for _, end in intervals)
    step = (last - first) / steps or 1.0
    changes = sorted([(start, 1) for start, _ in intervals] + [(end, -1) for _, end in intervals])
    most, running = [0] * (steps + 1), 0
    now = 0
    for moment, change in changes:
        here = min(int((moment - first) / step), steps)
        for passed in range(now + 1, here + 1):
            most[passed] = max(most[passed], running)
        running, now = running + change, here
        most[here] = max(most[here], running)
    return [(number * step, many) for number, many in enumerate(most)]


def quantile(values: Sequence[float], share: float) -> float:
    """The value below which this share of all lies; 0 for no values."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0
