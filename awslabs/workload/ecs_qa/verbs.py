"""Chapter 3's work from a terminal: `ask`, `ask-many`, `answers`, `clear`, `logs`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from awslabs import cli
from awslabs.cli import wants_json
from awslabs.errors import LabError
from awslabs.ledger import Ledger
from awslabs.workload import tables
from awslabs.workload.ecs_qa import questions


def add(group: click.Group, lab: str, describe: Callable[[Ledger], Any]) -> None:
    """Give a lab's command line these verbs.

    Parameters
    ----------
    describe : callable
        The chapter's own; it refuses where the lab does not stand.
    """

    @cli.verb(group, "ask", lab)
    @click.argument("context")
    @click.argument("question")
    def _ask(ledger: Ledger, context: str, question: str) -> dict[str, Any]:
        """Ask QUESTION about the text CONTEXT, and wait for the answer."""
        describe(ledger)
        asked = questions.ask(ledger, context, question)
        (answer,) = asked.answers
        return {**asdict(answer), "task_seconds": asked.parts, "total_seconds": asked.seconds}

    @cli.verb(group, "ask-many", lab)
    @click.argument("file", required=False, type=click.Path(path_type=Path))
    @click.option(
        "--tasks", type=click.IntRange(1, 1000), help="How many at once; default: one for 16 questions."
    )
    def _ask_many(ledger: Ledger, file: Path | None, tasks: int | None) -> Any:
        """Ask all questions of FILE, or those that ship with the lab, in parallel tasks."""
        describe(ledger)
        asked = questions.ask_many(ledger, questions.read(file) if file else None, tasks=tasks)
        if wants_json():
            cli.show(asdict(asked), as_json=True)
        else:
            cli.show_table([short(answer) for answer in asked.answers])
            cli.say(f"{len(asked.answers)} answers from {asked.tasks} tasks in {asked.seconds:.1f} s")
        if asked.failed:
            raise LabError(
                f"{len(asked.failed)} of {len(asked.failed) + len(asked.answers)} questions have no answer.",
                "\n       ".join(f"{one.number}: {one.why}" for one in asked.failed),
                asked.failed[0].fix,
            )
        return None

    @cli.verb(group, "answers", lab)
    @click.option("--limit", type=click.IntRange(1), help="At most so many.")
    def _answers(ledger: Ledger, limit: int | None) -> Any:
        """Show the answers that the table holds."""
        found = questions.answers(ledger, limit)
        return [asdict(one) if wants_json() else short(one) for one in found]

    @cli.verb(group, "clear", lab)
    def _clear(ledger: Ledger) -> dict[str, Any]:
        """Delete all answers, and keep the table."""
        return asdict(tables.clear(ledger))

    @cli.verb(group, "logs", lab)
    @click.argument("task", required=False, default="")
    @click.option("--lines", type=click.IntRange(1), default=50, show_default=True, help="The last so many.")
    def _logs(ledger: Ledger, task: str, lines: int) -> Any:
        """Show what TASK has printed, or the task that began last."""
        return cli.logged(questions.logs(ledger, task, lines=lines))


def short(answer: questions.FoundAnswer) -> dict[str, Any]:
    """An answer as a line of a table."""
    score = None if answer.score is None else f"{answer.score:.3f}"
    return {"question": answer.question, "answer": answer.answer, "score": score}
