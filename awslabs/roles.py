"""Roles of a lab: made with what they allow, or given by hand where one may make none."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from awslabs import policies
from awslabs.errors import AwsError
from awslabs.explain import DENIED
from awslabs.ledger import Ledger
from awslabs.policies import Statement


def require_same(
    ledger: Ledger, part: str, own: str, given: str | None, way_on: Callable[[], str] = str
) -> None:
    """A lab that stands with roles of its own does not go on with another's, nor the other way round.

    Parameters
    ----------
    part, own : str
        The row of what wears a role, and the one of a role of its own.
    given : str, optional
        The role that was asked for by hand.
    way_on : callable
        Gives the command that goes on with what stands; see `Ledger.refuse_other`.
    """
    stands = ledger.resources
    if part in stands and (own in stands) == bool(given):
        ledger.refuse_other("roles of its own" if given else "a role that was given by --role-arn", way_on())


@contextmanager
def own_roles(ledger: Ledger, *, profile: bool = False, **given: str | bool | None) -> Iterator[None]:
    """Roles are made in this block; whoever may not make any is told how to give those that exist.

    Parameters
    ----------
    profile : bool
        Whether the lab takes an instance profile, too.
    **given
        The options of `up` besides, as `Ledger.command` takes them.

    Raises
    ------
    AwsError
        AWS's refusal, with these options in its fix.
    """
    try:
        yield
    except AwsError as error:
        if error.code not in DENIED:
            raise
        begin = f"arn:aws:iam::{ledger.cloud.identity['account']}"
        given |= {"role_arn": f"{begin}:role/LabRole"}
        if profile:
            given |= {"instance_profile_arn": f"{begin}:instance-profile/LabInstanceProfile"}
        fix = (
            f"{ledger.command('up', **given)}    # AWS Academy's names; elsewhere ask whoever runs the "
            "account, and show them what the README says of rights"
        )
        why = f"{error.why} The lab makes its roles first, so nothing that costs stands."
        raise error.mended_by(fix, why) from error


def role(ledger: Ledger, name: str, service: str, *may: Statement) -> str:
    """A role in which a service of AWS acts, with these rights alone; returns its ARN.

    Without rights it may do nothing until `permit` gives it some.

    AWS calls: ``iam:CreateRole``, ``PutRolePolicy``.

    Parameters
    ----------
    name : str
        What its rows in the ledger and its name on AWS begin with: ``task``.
    service : str
        Who may act in it: ``ecs-tasks.amazonaws.com``.
    *may : Statement
        What it allows, as `policies.allow` makes them.
    """
    iam = ledger.client("iam")
    role_arn = ledger.create(
        f"{name}-role",
        iam.create_role,
        RoleName=f"{ledger.prefix}-{name}-role",
        AssumeRolePolicyDocument=policies.trust(service),
    )
    if may:
        permit(ledger, name, *may)
    return role_arn


def permit(ledger: Ledger, name: str, *may: Statement) -> None:
    """What a role of this name allows. AWS calls: ``iam:PutRolePolicy``."""
    ledger.create(
        f"{name}-policy",
        ledger.client("iam").put_role_policy,
        RoleName=f"{ledger.prefix}-{name}-role",
        PolicyName="what-it-needs",
        PolicyDocument=policies.document(*may),
    )
