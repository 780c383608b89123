"""The labs, as the harness runs them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from awslabs import ec2


@dataclass(frozen=True)
class Lab:
    """A chapter: how it is built, worked with and taken down.

    Attributes
    ----------
    name : str
        As its ledger is called: ``ec2``.
    up, down : callable
        The chapter's own; each takes the ledger.
    work : tuple of callables
        What else is done with it, in this order; each takes the ledger.
    skip : tuple of str
        Functions that most cases leave out since they are slow and change nothing on AWS, as
        ``module:function``; cases with ``thorough`` run them.
    """

    name: str
    up: Callable[[Any], Any]
    down: Callable[[Any], Any]
    work: tuple[Callable[[Any], Any], ...] = ()
    skip: tuple[str, ...] = ()

    @property
    def verbs(self) -> dict[str, Callable[[Any], Any]]:
        """Every verb by name, in the order of a life: ``up``, the work, ``down``."""
        return {"up": self.up, **{verb.__name__: verb for verb in self.work}, "down": self.down}


LABS = {
    "ec2": Lab("ec2", ec2.up, ec2.down, work=(ec2.describe,), skip=("awslabs.tunnel:wait_for_ssh",)),
}
