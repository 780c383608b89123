"""What `up` does besides calling AWS, and what takes its place where `up` is only rehearsed.

    @instead(lambda *_: None)           # in a rehearsal: nothing
    def wait_for_login(...): ...

`plan` runs a lab's `up` in this process against the practice cloud's rules. There is no server to log in to
and no image to build then; what a function would have done can be noted for whoever prints the plan.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, TypeVar, cast

Function = TypeVar("Function", bound=Callable[..., Any])

# What the rehearsal that is under way keeps of it: name and facts; None while there is none.
noted: list[tuple[str, dict[str, Any]]] | None = None


def instead(stand_in: Callable[..., Any]) -> Callable[[Function], Function]:
    """Let `stand_in` be called in a function's place while `up` is rehearsed."""

    def decorate(function: Function) -> Function:
        @functools.wraps(function)
        def either(*args: Any, **more: Any) -> Any:
            return (function if noted is None else stand_in)(*args, **more)

        return cast(Function, either)

    return decorate


def note(what: str, **facts: Any) -> None:
    """Keep something for the plan: an image that would be built."""
    if noted is not None:
        noted.append((what, facts))
