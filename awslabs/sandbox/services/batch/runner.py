"""What a job runs, while somebody is there who runs it.

In the server `running_jobs` puts itself into `current`. Under `mock_aws` nobody does:
then a job is a record that nothing runs behind: it stays RUNNING until its timeout, or until it is
terminated.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from awslabs.sandbox.run.orders import Order


@dataclass(frozen=True)
class Task:
    """One attempt of a job.

    Attributes
    ----------
    order : Order
        What shall run, with the variables that Batch and the definition set: endpoint and credentials come
        from who runs it.
    role_arn, session_name : str
        Whose credentials the program gets: the job's role, or else that of its instance.
    """

    order: Order
    gpus: int
    role_arn: str
    session_name: str


@dataclass(frozen=True)
class Listener:
    """Who hears of an attempt. Not one of these is called with a lock held.

    Attributes
    ----------
    began : callable
        The image is there, and the program starts.
    say : callable
        Unix time and text of a line that it printed.
    ended : callable
        Exit code (None: it never started) and reason (empty, or in the words of ECS), once.
    """

    began: Callable[[], None]
    say: Callable[[float, str], None]
    ended: Callable[[int | None, str], None]


class Runner(Protocol):
    """Who runs attempts. Both methods return at once, and may be called with `engine.lock` held."""

    def start(self, task: Task, listener: Listener) -> None: ...

    def stop(self, key: str, grace_s: float) -> None: ...


current: Any = None
"""The `Runner` of this process, or None."""
