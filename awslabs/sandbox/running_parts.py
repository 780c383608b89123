"""The running parts of services: what AWS would run, runs.

A running part is a module with these functions, listed in `PARTS`, and comes with its service:

    add_handlers(cloud)   begin in a practice cloud (`server.Cloud`); its routes are put into `cloud.routes`
    reset(account)        end and forget what an account has there, besides what moto or another part has
    close()               end everything

Handlers run outside of the lock that serialises moto; they take `engine.lock` where they touch moto's
backends, and never while something of a user's runs.
"""

from __future__ import annotations

import importlib
import sys
from typing import Any

from awslabs.sandbox import services

ROOT = "awslabs.sandbox"
# `programs` stands before the parts that order from it: they close first, and are reset first.
PARTS: dict[str, tuple[str, ...]] = {  # each with the packages of moto with which it comes
    f"{ROOT}.services.lambda_.invocations": ("awslambda",),  # invocations, asynchronous events, logs
    f"{ROOT}.services.lambda_.polling": ("awslambda",),  # event source mappings read queues; it ends first
    f"{ROOT}.services.lambda_.url_requests": ("awslambda",),  # the addresses of functions answer
    f"{ROOT}.services.lambda_.code_links": ("awslambda",),  # the code of functions can be fetched
    f"{ROOT}.services.apigateway.execute_api": ("apigateway",),  # deployed REST APIs answer
    f"{ROOT}.services.ecr.registry": ("ecr",),  # images come and go by the registry protocol
    f"{ROOT}.run.programs": ("batch", "ecs"),  # what tasks and jobs run: processes, or containers
    f"{ROOT}.services.ecs.running_tasks": ("ecs",),  # the containers of tasks (programs end them), their logs
    f"{ROOT}.services.batch.running_jobs": ("batch",),  # what the scheduler of AWS Batch lets start
    f"{ROOT}.services.scheduler.firing": ("scheduler",),  # schedules fire, until moto forgets them
}
PATHS = {
    "/v2/": "ecr",
    "/_aws/execute-api/": "apigateway",
    "/_aws/lambda-code/": "lambda",
    "/_aws/lambda-url/": "lambda",
}
"""Addresses that are not AWS's API: whoever asks there first loads the service."""

_begun: list[str] = []


def begin(cloud: Any) -> None:
    """Let the parts work in a practice cloud (`server.Cloud`), each once its service is loaded."""

    def came(packages: list[str]) -> None:
        for name, comes_with in PARTS.items():
            if name not in _begun and set(packages).intersection(comes_with):
                _begun.append(name)
                importlib.import_module(name).add_handlers(cloud)

    services.watch(came)


def asked(path: str) -> None:
    """Somebody asks at an address that may be a part's."""
    for prefix, service in PATHS.items():
        if path.startswith(prefix):
            services.called(service)


def reset(account: str) -> None:
    """End and forget what an account has there. Call it before moto forgets the account."""
    for name in reversed(PARTS):
        if name in _begun and (reset := getattr(sys.modules[name], "reset", None)):
            reset(account)


def close() -> None:
    """End everything in all parts."""
    for name in reversed(PARTS):
        if name in _begun:
            sys.modules[name].close()
    _begun.clear()
