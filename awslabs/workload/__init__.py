"""What one does with a lab once it stands.

    ec2/           Chapter 1: one server
        verbs.py         ssh, put, get

    gpu/           Chapter 2: a GPU server
        notebook.py      JupyterLab there, through a tunnel; run_notebook.py runs a notebook on the server
        verbs.py         all of it from a terminal

    ecs_qa/        Chapter 3: questions to containers
        questions.py     ask, ask_many
        verbs.py         all of it from a terminal

    batch_sweep/   Chapter 4: trainings as Batch jobs
        sweep.py         grid, scattered, submit, sweep, run
        batch_jobs.py    jobs, machines, logs, cancel
        following.py     follow: until they have ended
        waiting_jobs.py  explain: why a job stays RUNNABLE
        results.py       results, plot, bring_home
        verbs.py         all of it from a terminal

    serverless/    Chapter 5: functions, files, an API
        functions.py     invoke, invoke_many, tune, logs
        dead_letters.py  read: the events on which a function failed for good
        buckets.py       put, get, ls, rm
        haiku.py         post, list, like, delete, post_many, clear, load: through the API, as anybody
        verbs.py         all of it from a terminal

    logins.py      chapters 1 and 2: the verb `ssh`
    tables.py      chapters 3 and 5: put, get, scan, write, search_under_age, clear
    pictures.py    numbers as bars of text

    Chapters 3 and 5
    parameters.py  what programs of your own look for: variables, SSM parameters

Each function takes the ledger first, as everything of a chapter does:

    from awslabs.workload.serverless import functions
    functions.invoke_many(ledger, 100)
"""

from __future__ import annotations

from collections.abc import Iterator

from awslabs.errors import LabError
from awslabs.ledger import Ledger


class Tail:
    """What programs of a lab print into its log group, each from where it was read last."""

    def __init__(self, ledger: Ledger) -> None:
        self.ledger, self.tokens = ledger, dict[str, str]()

    def lines(self, stream: str) -> Iterator[str]:
        """Lines of a stream that were not read yet; none while it is not there yet."""
        logs = self.ledger.client("logs")
        while True:
            after = {"nextToken": self.tokens[stream]} if stream in self.tokens else {}
            try:
                answer = logs.get_log_events(
                    logGroupName=standing(self.ledger, "log-group"),
                    logStreamName=stream,
                    startFromHead=True,
                    **after,
                )
            except logs.exceptions.ResourceNotFoundException:
                return
            yield from (event["message"] for event in answer["events"])
            token = answer["nextForwardToken"]  # at the end it is the one that was sent
            if self.tokens.get(stream) == token:
                return
            self.tokens[stream] = token


def standing(ledger: Ledger, row_name: str) -> str:
    """The identifier of what stands under a row. AWS calls: none.

    Raises
    ------
    LabError
        When it does not stand, or is being taken down just now.
    """
    row = ledger.journal.last(row_name)
    if row is None or row.state == "creating":
        raise LabError(f"The {row_name} does not stand.", "", ledger.command("up"))
    if row.state == "deleting":
        raise LabError(
            f"The {row_name} is being taken down.",
            "No new work is begun on a lab that goes.",
            f"{ledger.command('down')}    # then `up` again",
        )
    return row.id
