"""The two ways in which the program says no."""

from __future__ import annotations


class Failure(Exception):
    """What ends the program: what happened, why, and what mends it."""

    def __init__(self, what: str, why: str, fix: str) -> None:
        super().__init__(f"error: {what}\nwhy:   {why}\nfix:   {fix}")


class Unreadable(Exception):
    """One question that cannot be answered; the text says why. The others are not touched by it."""
