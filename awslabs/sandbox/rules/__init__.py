"""The strict rules: where AWS refuses, waits or remembers, and moto does not.

Each row of the fact sheet that a lab can meet is a small named rule; `RULES` holds all of them by name,
in the order in which they look at a call. They work in the practice cloud's server and under moto's
`mock_aws` alike:

    from awslabs.sandbox import rules

    with rules.installed(), mock_aws():        # in a test; `only=["vpc_in_use"]` for a single rule
        ...

    rules.install(hosts)                       # in the server: instances boot as SSH hosts, and end

    engine.py      how a rule is written, switched on and off; the clock; what a rule remembers
    network.py     VPCs, subnets, gateways, routes, security groups, interfaces, addresses
    keys.py        key pairs
    launch.py      what RunInstances looks at
    instances.py   the life of an instance; power.py lets it run for real
    spot.py        Spot requests
    images.py      AMIs, their volumes, public parameters
    tagging.py     tags and the tagging API
    visibility.py  late visibility; dry_runs.py
    quotas.py      quotas of an account and the Service Quotas API; accounts.py: kinds of accounts
    iam.py         policies, roles, profiles, service-linked roles, STS
    functions.py   Lambda; logs.py, queues.py (SQS), tables.py (DynamoDB), storage.py (S3)
    rest_apis.py   API Gateway
    jobs/          AWS Batch
    repositories.py, task_definitions.py, tasks.py  ECR and ECS

A rule for another service is a function in a file beside these, imported below. Services that take a
role ask `iam.assumable`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from importlib.metadata import version

from awslabs.errors import LabError
from awslabs.sandbox.rules import engine, power

# The order of import is the order in which rules look at a call.
from awslabs.sandbox.rules import accounts as accounts  # isort: skip
from awslabs.sandbox.rules import dry_runs as dry_runs  # isort: skip
from awslabs.sandbox.rules import visibility as visibility  # isort: skip
from awslabs.sandbox.rules import tagging as tagging  # isort: skip
from awslabs.sandbox.rules import launch as launch  # isort: skip
from awslabs.sandbox.rules import spot as spot  # isort: skip
from awslabs.sandbox.rules import network as network  # isort: skip
from awslabs.sandbox.rules import keys as keys  # isort: skip
from awslabs.sandbox.rules import images as images  # isort: skip
from awslabs.sandbox.rules import instances as instances  # isort: skip
from awslabs.sandbox.rules import quotas as quotas  # isort: skip
from awslabs.sandbox.rules import iam as iam  # isort: skip
from awslabs.sandbox.rules import functions as functions  # isort: skip
from awslabs.sandbox.rules import logs as logs  # isort: skip
from awslabs.sandbox.rules import queues as queues  # isort: skip
from awslabs.sandbox.rules import tables as tables  # isort: skip
from awslabs.sandbox.rules import storage as storage  # isort: skip
from awslabs.sandbox.rules import rest_apis as rest_apis  # isort: skip
from awslabs.sandbox.rules import jobs as jobs  # isort: skip
from awslabs.sandbox.rules import repositories as repositories  # isort: skip
from awslabs.sandbox.rules import task_definitions as task_definitions  # isort: skip
from awslabs.sandbox.rules import tasks as tasks  # isort: skip
from awslabs.sandbox.rules.engine import RULES, Refused, clock, lock
from awslabs.sandbox.rules.power import Hosts

__all__ = ["RULES", "Hosts", "Refused", "clock", "install", "installed", "lock", "uninstall"]

TESTED_MOTO = ((5, 2, 5), (5, 3))
"""From this version of moto on, up to but without that one: the rules reach into moto's insides."""


def install(hosts: Hosts | None = None, *, only: Iterable[str] | None = None) -> None:
    """Make moto as strict as AWS.

    Parameters
    ----------
    hosts : Hosts, optional
        Where instances run as SSH hosts. Without, an instance is a record that nothing runs behind.
    only : iterable of str, optional
        Names of `RULES`; default: all.

    Raises
    ------
    LabError
        If the installed moto is not one that the rules are tested with.
    RuntimeError
        If rules are installed already.
    """
    _check_moto(version("moto"))
    engine.switch_on(RULES if only is None else only)
    power.current = power.Power(hosts)
    if hosts is not None:
        engine.start_ticker()


def uninstall() -> None:
    """Leave moto as it was. What is under way in the background ends first."""
    engine.stop_ticker()
    power.current.wait()
    power.current = power.Power(None)
    quotas.granted.clear()
    engine.switch_off()


@contextmanager
def installed(hosts: Hosts | None = None, *, only: Iterable[str] | None = None) -> Iterator[None]:
    """`install` for the length of a `with` block."""
    install(hosts, only=only)
    try:
        yield
    finally:
        uninstall()


def _check_moto(installed_version: str) -> None:
    """Refuse a moto whose insides may differ."""
    numbers = tuple(int(part) for part in installed_version.split(".")[:3] if part.isdigit())
    first, end = TESTED_MOTO
    if not first <= numbers < end:
        raise LabError(
            f"moto {installed_version} is installed; the practice cloud's rules are not tested with it.",
            "They reach into moto's insides, which change: tested is 5.2.5 and what follows, before 5.3.",
            "pip install 'moto[server]>=5.2.5,<5.3'",
        )
