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

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from awslabs.ledger import Ledger


def lab(chapter: str, /, **options: Any) -> Ledger:
    """Open the ledger of a lab, which every function of its chapter takes first.

    Parameters
    ----------
    chapter : str
        Which one: ``"ec2"``.
    **options
        ``sandbox=True`` for the practice cloud on this computer; ``region``, ``profile``, ``owner`` as on the
        command line; ``name`` for a second copy of the lab.
    """
    from awslabs.cli import open_ledger
    from awslabs.screen import watch_in_notebook

    watch_in_notebook()
    return open_ledger(chapter, **options)
