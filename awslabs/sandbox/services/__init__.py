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

# In the order in which their rules look at a call. Each comes with the first of these packages of moto.
FILES: dict[str, tuple[str, ...]] = {
    "accounts": ("ec2", "iam", "sts"),
    "ec2.dry_runs": ("ec2",),
    "ec2.ids": ("ec2",),
    "ec2.regions": ("ec2",),
    "tagging.tags": ("ec2",),
    "ec2.visibility": ("ec2",),
    "iam.identities": ("iam", "sts"),
    "iam.linked_roles": ("iam",),
    "iam.boundaries": ("iam",),
    "ec2.images": ("ec2", "ssm"),
    "servicequotas.quotas": ("ec2", "servicequotas"),
    "ec2.launch": ("ec2",),
    "ec2.spot": ("ec2",),
    "ec2.network": ("ec2",),
    "ec2.reach": ("ec2",),
    "ec2.keys": ("ec2",),
    "ec2.instances": ("ec2",),
    "ec2.answers": ("ec2",),
    "lambda_.shapes": ("awslambda",),
    "lambda_.sharing": ("awslambda",),
    "lambda_.versions": ("awslambda",),
    "lambda_.functions": ("awslambda",),
    "lambda_.layers": ("awslambda",),
    "lambda_.configurations": ("awslambda",),
    "lambda_.event_settings": ("awslambda",),
    "lambda_.aliases": ("awslambda",),
    "lambda_.resource_policies": ("awslambda",),
    "lambda_.function_urls": ("awslambda",),
    "lambda_.code_links": ("awslambda",),
    "lambda_.tags": ("awslambda",),
    "lambda_.mappings": ("awslambda",),
    "logs.log_groups": ("logs",),
    "sqs.errors": ("sqs",),
    "sqs.messages": ("sqs",),
    "sqs.queues": ("sqs",),
    "sqs.fifo": ("sqs",),
    "sqs.polls": ("sqs",),
    "dynamodb.tables": ("dynamodb",),
    "dynamodb.items": ("dynamodb",),
    "s3.buckets": ("s3",),
    "s3.documents": ("s3",),
    "s3.presigned": ("s3",),
    "s3.metadata": ("s3",),
    "s3.tags": ("s3",),
    "s3.settings": ("s3",),
    "s3.integrity": ("s3",),
    "s3.answers": ("s3",),
    "s3.versions": ("s3",),
    "s3.deletions": ("s3",),
    "s3.checksums": ("s3",),
    "s3.conditions": ("s3",),
    "s3.own_keys": ("s3",),
    "s3.locks": ("s3",),
    "s3.expiry": ("s3",),
    "s3.uploads": ("s3",),
    "s3.reading": ("s3",),
    "s3.pages": ("s3",),
    "ssm.parameters": ("ssm",),
    "apigateway.validation": ("apigateway",),
    "apigateway.answers": ("apigateway",),
    "apigateway.gateway_responses": ("apigateway",),
    "apigateway.documentation": ("apigateway",),
    "apigateway.rest_apis": ("apigateway",),
    "apigateway.methods": ("apigateway",),
    "apigateway.models": ("apigateway",),
    "apigateway.usage_plans": ("apigateway",),
    "apigateway.authorizers": ("apigateway",),
    "apigateway.vpc_links": ("apigateway",),
    "batch.api": ("batch",),
    "batch.definitions": ("batch",),
    "batch.environments": ("batch",),
    "batch.fleet": ("batch",),
    "batch.queues": ("batch",),
    "batch.submission": ("batch",),
    "batch.tags": ("batch",),
    "ecr.repositories": ("ecr",),
    "ecs.task_definitions": ("ecs",),
    "ecs.tasks": ("ecs",),
    "scheduler.schedules": ("scheduler",),
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
