"""The strict rules: where AWS refuses, waits or remembers, and moto does not.

Each row of the fact sheet that a lab can meet is a small named rule; `RULES` holds those that are loaded, by
name. They work in the practice cloud's server and under moto's
`mock_aws` alike:

    from awslabs.sandbox import rules

    with rules.installed(), mock_aws():        # in a test; `only=["vpc_in_use"]` for a single rule
        ...

    rules.install(hosts)                       # in the server: instances boot as SSH hosts, and end

How a rule is written, switched on and off, and what it remembers, says `core/engine.py`; the rules themselves
stand with their services, in `services/`, which lists them all; a service is loaded when it is first called.
Services that take a role ask `services.iam.identities.assumable`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from importlib.metadata import version

from awslabs.errors import LabError
from awslabs.sandbox import services
from awslabs.sandbox.core import engine
from awslabs.sandbox.core.engine import RULES, Refused, clock, lock
from awslabs.sandbox.services.ec2 import power
from awslabs.sandbox.services.ec2.power import Hosts

__all__ = ["RULES", "Hosts", "Refused", "clock", "install", "installed", "lock", "uninstall"]

TESTED_MOTO = "5.2.5"
"""The version of moto that the tests ran with: the rules reach into its insides."""


def install(hosts: Hosts | None = None, *, only: Iterable[str] | None = None, running: bool = False) -> None:
    """Make moto as strict as AWS.

    Parameters
    ----------
    hosts : Hosts, optional
        Where instances run as SSH hosts. Without, an instance is a record that nothing runs behind.
    only : iterable of str, optional
        Names of `RULES`; default: all.
    running : bool
        Also those of what runs, such as `RunTask`: always with `hosts`. Without, moto alone answers them.

    Raises
    ------
    LabError
        If the installed moto is not one that the rules are tested with.
    RuntimeError
        If rules are installed already.
    """
    _check_moto(version("moto"))
    if only is not None:
        services.load()
    engine.switch_on(only, running or hosts is not None)
    services.watch(services.load)
    power.current = power.Power(hosts)
    if hosts is not None:
        engine.start_timer()


def uninstall() -> None:
    """Leave moto as it was. What is under way in the background ends first."""
    engine.stop_timer()
    power.current.wait()
    power.current = power.Power(None)
    services.unwatch()
    engine.switch_off()
    from awslabs.sandbox.services.servicequotas import quotas

    quotas.granted.clear()


@contextmanager
def installed(
    hosts: Hosts | None = None, *, only: Iterable[str] | None = None, running: bool = False
) -> Iterator[None]:
    """`install` for the length of a `with` block."""
    install(hosts, only=only, running=running)
    try:
        yield
    finally:
        uninstall()


def _check_moto(installed_version: str) -> None:
    """Refuse a moto whose insides may differ."""
    if installed_version != TESTED_MOTO:
        raise LabError(
            f"moto {installed_version} is installed; the practice cloud's rules are not tested with it.",
            f"They reach into moto's insides, which change: tested is {TESTED_MOTO}.",
            f"pip install 'moto[server]=={TESTED_MOTO}'",
        )
