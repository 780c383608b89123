"""awslabs: a cloud course that you can run.

Each chapter is one module that builds a piece of cloud with plain boto3, call by call:

    1  awslabs.ec2            a network, a firewall, a key, one server
    2  awslabs.gpu            a GPU server, a notebook on it through a tunnel
    3  awslabs.ecs_qa         containers on Fargate that answer questions
    4  awslabs.batch_sweep    a grid of trainings on AWS Batch
    5  awslabs.serverless     functions, tables, files, and a web service made of them

From a terminal ``python -m awslabs.ec2 up``, ``... ssh``, ``... down``; in a notebook:

    import awslabs
    from awslabs import ec2

    with awslabs.lab("ec2", sandbox=True) as ledger:
        server = ec2.up(ledger)

Everything that is built stands in a ledger, and ``down`` deletes what the ledger holds. After class:
``python -m awslabs.ledger list`` and ``down --all``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from awslabs.ledger import Ledger


def lab(
    chapter: str,
    /,
    *,
    sandbox: bool = False,
    region: str | None = None,
    profile: str | None = None,
    name: str = "default",
    owner: str | None = None,
    budget: float | None = None,
) -> Ledger:
    """Open the ledger of a lab, which every function of its chapter takes first.

    Parameters
    ----------
    chapter : str
        Which one: ``"ec2"``, or another name of `awslabs.labs.LABS`.
    sandbox : bool
        Use the practice cloud on this computer: free, no account.
    region, profile : str, optional
        As the AWS CLI takes them; otherwise the environment and the AWS configuration decide.
    name : str
        Tells a second copy of the lab from the first.
    owner : str, optional
        Who owns what is built; your IAM name unless given.
    budget : float, optional
        US dollars. When so much is spent, what costs is ended within a minute, as long as this process lives.

    Raises
    ------
    LabError
        For another lab, or an option of another type. Nothing was built then.
    """
    from awslabs.cli import open_ledger
    from awslabs.errors import LabError
    from awslabs.labs import LABS
    from awslabs.limits import Keeper
    from awslabs.screen import watch_in_notebook

    if chapter not in LABS:
        raise LabError(
            f"There is no lab {chapter!r}.",
            f"The labs are {', '.join(LABS)}.",
            'awslabs.lab("ec2")',
        )
    if not isinstance(sandbox, bool):  # "no" would be a yes
        raise LabError(f"sandbox is {sandbox!r}.", "It is True or False.", "awslabs.lab(..., sandbox=True)")
    for option, value in {"region": region, "profile": profile, "name": name, "owner": owner}.items():
        if not isinstance(value, str) and (value is not None or option == "name"):
            raise LabError(f"{option} is {value!r}.", "It is a text.", f'awslabs.lab(..., {option}="...")')
    watch_in_notebook()
    where = {"sandbox": sandbox, "region": region, "profile": profile}
    ledger = open_ledger(chapter, name=name, owner=owner, budget_usd=budget, **where)
    Keeper(ledger).start()
    return ledger
