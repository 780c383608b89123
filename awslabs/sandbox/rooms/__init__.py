"""The rooms of the practice cloud: what AWS would run, runs.

A room is a module with three functions, listed in `ROOMS`:

    furnish(cloud)     put its handlers into `cloud.operations` and `cloud.routes` (`server.Cloud`)
    reset(account)     end and forget what an account has there
    close()            end everything

Handlers run outside of the lock that serialises moto; they take `rules.lock` where they touch moto's
backends, and never while something of a user's runs.

    functions.py   Lambda: invocations, asynchronous events, logs
    nursery.py     where its processes live; runtime.py is what runs there
    gateway.py     API Gateway: deployed REST APIs answer
    registry.py    ECR: images come and go by the registry protocol
    tasks.py       ECS: the containers of tasks, and their logs
    jobs.py        AWS Batch: what rules/jobs/ lets start
    programs.py    what tasks and jobs run, as processes; containers.py where Docker is, and its watcher.py
"""

from __future__ import annotations

from types import ModuleType
from typing import Any

from awslabs.sandbox.rooms import functions, gateway, jobs, programs, registry, tasks

# `programs` stands before the rooms that order from it: they close first, and are reset first.
ROOMS: tuple[ModuleType, ...] = (functions, gateway, registry, programs, tasks, jobs)


def furnish(cloud: Any) -> None:
    """Open all rooms in a practice cloud (`server.Cloud`)."""
    for room in ROOMS:
        room.furnish(cloud)


def reset(account: str) -> None:
    """End and forget what an account has in the rooms. Call it before moto forgets the account."""
    for room in reversed(ROOMS):
        room.reset(account)


def close() -> None:
    """End everything in the rooms."""
    for room in reversed(ROOMS):
        room.close()
