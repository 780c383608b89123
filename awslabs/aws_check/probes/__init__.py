"""What a recording asks besides: calls that AWS is known to refuse, each of them once, and reads.

A lab that goes well shows how AWS answers who does everything right. The practice cloud is also to refuse
what AWS refuses, so a recording (`--record`) holds these, too. They cost nothing: whatever would be made,
were it not refused, goes through the ledger, and `down` takes it away; what is changed or deleted in vain is
the lab's. Reading ones are not refused: they show what the lab itself does not look at.

    servers       chapters 1 and 2
    containers    chapters 3 and 4
    serverless    chapter 5
    question      what a question is, and those that several ask
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from awslabs.aws_check.probes import containers, serverless, servers
from awslabs.aws_check.probes.question import Question
from awslabs.errors import AwsError
from awslabs.explain import error_code
from awslabs.ledger import Ledger

# Of each lab what it has when it stands, and what is asked then; and what is looked for after `down`.
ASKED: dict[str, tuple[str, Callable[[Ledger], Iterator[Question]]]] = {
    "ec2": ("instance", servers.questions),
    "gpu": ("instance", servers.belongings),
    "ecs_qa": ("task-definition", containers.of_fargate),
    "batch_sweep": ("job-queue", containers.of_batch),
    "serverless": ("api", serverless.questions),
}
AFTER: dict[str, tuple[str, Callable[[Ledger], str]]] = {
    "ec2": ("instance", servers.look_back),
    "gpu": ("instance", servers.look_back),
    "ecs_qa": ("task-definition", containers.families_left),
}


def probe(ledger: Ledger) -> str:
    """Ask all, and say how many AWS refused."""
    row, questions = ASKED[ledger.lab]
    if row not in ledger.resources:
        return "nothing was asked besides"
    from botocore.exceptions import ClientError

    refused: list[str] = []
    taken: list[str] = []
    try:
        for name, ask in questions(ledger):
            code = refusal(ask)
            (refused if code else taken).append(f"{name} ({code})" if code else name)
    except (AwsError, ClientError) as error:  # a quota, perhaps; or what was to be refused was done
        taken.append(f"and no further, since {error.what if isinstance(error, AwsError) else error}")
    said = f"{len(refused)} calls refused: {', '.join(refused)}"
    return said + (f"; taken: {', '.join(taken)}" if taken else "")


def refusal(ask: Callable[[], Any]) -> str:
    """The code with which AWS refuses a call; empty if it does not."""
    from botocore.exceptions import ClientError

    try:
        ask()
    except ClientError as error:
        return error_code(error)
    except AwsError as error:  # what went through the ledger
        return error.code
    return ""


def look_back(ledger: Ledger) -> str:
    """After `down`: what AWS still shows of what was there."""
    row, look = AFTER.get(ledger.lab, ("", None))
    if look is None or row not in {each.name for each in ledger.journal.rows if each.id}:
        return "nothing was looked for"
    return look(ledger)
