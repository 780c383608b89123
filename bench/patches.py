"""How much of moto is changed: what rules, `moto_changes` and the server put into it, all services loaded.

    python bench/patches.py

It looks through moto's modules and classes for what is not moto's own, so that a change counts wherever it is
made; the rules' are known besides. It fails where there are more than we allow ourselves.
"""

from __future__ import annotations

import functools
import importlib
import inspect
import sys
from collections.abc import Iterator
from typing import Any

from awslabs.sandbox import rules, running_parts, server, services
from awslabs.sandbox.core import engine, moto_changes

from moto.core.responses import BaseResponse  # isort: skip  # after the server, which imports moto its own way

MOST, MOST_PRIVATE = 60, 9
# What stands there until the first OpenAPI document comes; then it is moto's own again.
UNTIL_USED = {("moto.apigateway.models", "validate")}


def is_ours(value: Any) -> bool:
    """Whether it was written in the course."""
    if isinstance(value, (staticmethod, classmethod)):
        value = value.__func__
    value = value.fget if isinstance(value, property) else value
    value = value.func if isinstance(value, functools.partial) else value
    return str(getattr(value, "__module__", "")).startswith("awslabs")


def owners() -> Iterator[Any]:
    """Moto's modules, and the classes in them."""
    for name, module in [*sys.modules.items()]:
        if name.split(".")[0] == "moto":
            yield module
            yield from (one for one in vars(module).values() if inspect.isclass(one) and "moto" in str(one))


def name_of(owner: Any, attribute: str) -> tuple[str, str]:
    where = f"{owner.__module__}.{owner.__qualname__}" if inspect.isclass(owner) else owner.__name__
    return where, attribute


def main() -> None:
    services.load()
    for part in running_parts.PARTS:
        importlib.import_module(part)
    moto_changes.install()
    server.Moto().create("swf")
    with rules.installed(running=True):
        spots = [*engine._placed]
        spots += [(one, name) for one in owners() for name, value in vars(one).items() if is_ours(value)]
    names = {name_of(*spot) for spot in spots} - UNTIL_USED
    of_responses = {
        name_of(*spot) for spot in spots if inspect.isclass(spot[0]) and issubclass(spot[0], BaseResponse)
    }
    private = sorted(
        f"{owner.rpartition('.')[2]}.{name}"
        for owner, name in names
        if name.startswith("_") and not name.endswith("__")
    )
    print(f"{len(names)} attributes of moto are changed, {len(of_responses)} of its Response classes")
    print(f"{len(private)} have private names: {', '.join(private)}")
    if len(names) > MOST or of_responses or len(private) > MOST_PRIVATE:
        sys.exit(f"allowed are {MOST}, none of its Response classes, {MOST_PRIVATE} of private names")


if __name__ == "__main__":
    main()
