"""The services of the practice cloud, a folder for each, in AWS's own nouns.

A folder holds the service's rules (where AWS is stricter than moto), the operations that it answers itself,
and its running part, if something of it runs. The files of rules are listed here, what runs in
`sandbox/running_parts.py`, what roles need in `iam/needs.py`, quotas in `servicequotas/quotas.py`.

A service is loaded when it is first called, or rather when somebody imports moto's models of it: ECS reaches
into moto's EC2 before any call of EC2 comes.
"""

from __future__ import annotations

import importlib.machinery
import importlib.util
import sys
import threading
from collections.abc import Callable, Iterable
from typing import Any

from awslabs.sandbox.core import engine

# Folders and their files, in the order in which their rules look at a call.
ORDER: tuple[tuple[str, ...], ...] = (
    ("", "accounts"),
    ("ec2", "dry_runs", "ids", "regions"),
    ("tagging", "tags"),
    ("ec2", "visibility"),
    ("iam", "identities", "linked_roles", "boundaries"),
    ("ec2", "images"),
    ("servicequotas", "quotas"),
    ("ec2", "launch", "spot", "network", "reach", "keys", "instances", "answers"),
    (
        *("lambda_", "shapes", "sharing", "versions", "functions", "layers", "configurations"),
        *("event_settings", "aliases", "resource_policies", "function_urls", "code_links", "tags"),
        "mappings",
    ),
    ("logs", "log_groups"),
    ("sqs", "queues", "messages", "fifo", "polls"),
    ("dynamodb", "tables", "items"),
    (
        *("s3", "buckets", "documents", "presigned", "metadata", "tags", "settings", "integrity", "answers"),
        *("versions", "deletions", "checksums", "conditions", "own_keys", "locks", "expiry", "uploads"),
        *("reading", "pages"),
    ),
    ("ssm", "parameters"),
    (
        *("apigateway", "validation", "answers", "gateway_responses", "documentation", "rest_apis"),
        *("methods", "models", "usage_plans", "authorizers", "vpc_links"),
    ),
    ("batch", "api", "definitions", "environments", "fleet", "queues", "submission", "tags"),
    ("ecr", "repositories"),
    ("ecs", "task_definitions", "tasks"),
    ("scheduler", "schedules"),
)
# Each comes with the first of these packages of moto; what is not here, with that of its folder's name.
COMES_WITH = {
    "accounts": ("ec2", "iam", "sts"),
    "tagging.tags": ("ec2",),
    "iam.identities": ("iam", "sts"),
    "ec2.images": ("ec2", "ssm"),
    "servicequotas.quotas": ("ec2", "servicequotas"),
}
FILES: dict[str, tuple[str, ...]] = {
    file: COMES_WITH.get(file, ("awslambda" if folder == "lambda_" else folder,))
    for folder, *names in ORDER
    for file in (f"{folder}.{name}".lstrip(".") for name in names)
}
PACKAGES = frozenset(package for packages in FILES.values() for package in packages)
NAMED = {"lambda": "awslambda", "service-quotas": "servicequotas"}
"""Services that moto keeps under another name than boto3."""

engine.order.update({f"{__name__}.{file}": place for place, file in enumerate(FILES)})


def load(packages: Iterable[str] = PACKAGES) -> None:
    """Load the files of rules that come with these packages of moto."""
    wanted = set(packages)
    with engine.lock:
        for file, comes_with in FILES.items():
            if wanted.intersection(comes_with):
                importlib.import_module(f"{__name__}.{file}")


def called(service: str) -> None:
    """See to it that the rules of a service are there, by boto3's name of it, before a call is looked at."""
    package = NAMED.get(service, service)
    if package in PACKAGES and f"moto.{package}.models" not in sys.modules:
        load([package])  # its files import moto's


class Watch(threading.local):
    """Sees moto's models imported, by whomever, and lets all `listeners` know the packages, by name.

    It waits until the outermost module of moto's, or of our own, is complete: who is told may import any of
    them, and moto's import each other in circles.
    """

    def __init__(self) -> None:
        self.depth = 0
        self.came: list[str] = []

    def find_spec(self, name: str, path: Any, target: Any = None) -> Any:
        if not name.startswith(("moto.", "awslabs.sandbox.")):
            return None
        models = name.startswith("moto.") and name.endswith(".models")
        spec = importlib.machinery.PathFinder.find_spec(name, path, target)
        if spec is not None and spec.loader is not None:
            execute = spec.loader.exec_module

            def exec_module(module: Any) -> None:
                self.depth += 1
                try:
                    execute(module)
                    self.came += [name.split(".")[1]] if models else []
                finally:
                    self.depth -= 1
                if self.came and not self.depth:
                    came, self.came = self.came, []
                    for then in listeners:
                        then(came)

            spec.loader.exec_module = exec_module  # type: ignore[method-assign]
        return spec


listeners: list[Callable[[list[str]], None]] = []
_watch: Any = Watch()


def watch(then: Callable[[list[str]], None]) -> None:
    """Call `then` with what is imported of moto already, and whenever more is."""
    listeners.append(then)
    if _watch not in sys.meta_path:
        sys.meta_path.insert(0, _watch)
    then([package for package in PACKAGES if f"moto.{package}.models" in sys.modules])


def unwatch() -> None:
    """What is imported from now on is nobody's concern."""
    listeners.clear()
    if _watch in sys.meta_path:
        sys.meta_path.remove(_watch)
