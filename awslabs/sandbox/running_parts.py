"""The running parts of services: what AWS would run, runs.

A running part is a module with three functions, listed in `PARTS`:

    add_handlers(cloud)   put its handlers into `cloud.operations` and `cloud.routes` (`server.Cloud`)
    reset(account)        end and forget what an account has there
    close()               end everything

Handlers run outside of the lock that serialises moto; they take `engine.lock` where they touch moto's
backends, and never while something of a user's runs.

    lambda_/invocations.py      Lambda: invocations, asynchronous events, logs; environments.py is where its
                                processes live, runtime.py what runs there
    apigateway/execute_api.py   API Gateway: deployed REST APIs answer
    ecr/registry.py             ECR: images come and go by the registry protocol
    run/programs.py             what tasks and jobs run, as processes; containers.py where Docker is
    ecs/running_tasks.py        ECS: the containers of tasks, and their logs
    batch/running_jobs.py       AWS Batch: what its scheduler lets start
"""

from __future__ import annotations

from types import ModuleType
from typing import Any

from awslabs.sandbox.run import programs
from awslabs.sandbox.services.apigateway import execute_api
from awslabs.sandbox.services.batch import running_jobs
from awslabs.sandbox.services.ecr import registry
from awslabs.sandbox.services.ecs import running_tasks
from awslabs.sandbox.services.lambda_ import invocations

# `programs` stands before the parts that order from it: they close first, and are reset first.
PARTS: tuple[ModuleType, ...] = (invocations, execute_api, registry, programs, running_tasks, running_jobs)


def add_handlers(cloud: Any) -> None:
    """Add the handlers of all parts to a practice cloud (`server.Cloud`)."""
    for part in PARTS:
        part.add_handlers(cloud)


def reset(account: str) -> None:
    """End and forget what an account has there. Call it before moto forgets the account."""
    for part in reversed(PARTS):
        part.reset(account)


def close() -> None:
    """End everything in all parts."""
    for part in reversed(PARTS):
        part.close()
