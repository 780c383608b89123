"""Wait for jobs until they have ended: say what changes, and, when one stays RUNNABLE, why."""

from __future__ import annotations

import contextlib
import logging
import math
import time
from collections.abc import Iterator, Sequence

from awslabs.kinds.batch import ENDED
from awslabs.ledger import Ledger
from awslabs.progress import attempts, plotting
from awslabs.workload import Tail
from awslabs.workload.batch_sweep import batch_jobs, waiting_jobs

log = logging.getLogger(__name__)

EXPLAIN_S = 60.0  # seconds in RUNNABLE after which it is said why
FIRST_S, LONGEST_S = 0.5, 5.0  # seconds between two looks at jobs that are followed


def follow(ledger: Ledger, job_ids: Sequence[str], *, show_log: bool = False) -> list[batch_jobs.Job]:
    """Wait until all have ended, saying what changes; a job that waits for long is explained.

    AWS calls: ``batch:DescribeJobs`` every few seconds, ``logs:GetLogEvents``.

    Parameters
    ----------
    show_log : bool
        Say each epoch as the program logs it; for a single job.

    Raises
    ------
    LabError
        When one has failed; the others have ended by then, too.
    """
    began = since = time.monotonic()
    said, explained, met = "", False, set[str]()
    tail = Tail(ledger)
    what = "the job has ended" if len(job_ids) == 1 else f"{len(job_ids)} jobs have ended"
    with going_on(ledger), plotting("Jobs", "followed for, s", "how many") as point:
        for _ in attempts(what, timeout_s=math.inf, first_s=FIRST_S, longest_s=LONGEST_S):
            shown = batch_jobs.described(ledger, job_ids)
            for status, many in batch_jobs.counts(shown).items():
                if many or status in met:
                    met.add(status)
                    point(status, time.monotonic() - began, many)
            state = batch_jobs.summary(shown)
            if state != said:
                log.info("%s", state)
                said, since = state, time.monotonic()
            if show_log:
                for job in shown:
                    batch_jobs.say_log(tail, job)
            if shown and all(job["status"] in ENDED for job in shown):
                break
            if time.monotonic() - since > EXPLAIN_S * ledger.patience and not explained:
                stuck = waiting_jobs.stuck(ledger, shown)
                if stuck:
                    why = waiting_jobs.explain(ledger, stuck)
                    log.warning("%s\nwhy:   %s\nfix:   %s", why.cause, why.why, why.fix)
                    explained = True
    ledger.close_ended()
    batch_jobs.require_success(ledger, shown)
    return [batch_jobs.as_job(ledger, job) for job in shown]


@contextlib.contextmanager
def going_on(ledger: Ledger) -> Iterator[None]:
    """Ctrl-C ends the waiting alone: say that the jobs, and what they cost, go on."""
    try:
        yield
    except KeyboardInterrupt:
        log.warning("the jobs go on without you; to end them: %s", ledger.command("cancel"))
        raise
