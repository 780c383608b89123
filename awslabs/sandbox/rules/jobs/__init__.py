"""AWS Batch, from compute environment to job.

    records.py        what Batch knows in one account and Region
    api.py            how a request becomes an answer, and what all operations check
    environments.py   compute environments;  queues.py  job queues;  definitions.py  job definitions
    submission.py     jobs as clients see them
    life.py           the life of a job: states, attempts, dependencies, arrays, logs
    fleet.py          the scheduler: jobs on instances, which scale from zero and back
    running.py        who runs what a job names: nobody, or the room `awslabs.sandbox.rooms.jobs`
    tags.py           tags, and the tagging API

All of it is the one rule `batch`. moto's own Batch is not asked.
"""

from __future__ import annotations

from awslabs.sandbox.rules.jobs import definitions as definitions
from awslabs.sandbox.rules.jobs import environments as environments
from awslabs.sandbox.rules.jobs import fleet as fleet
from awslabs.sandbox.rules.jobs import queues as queues
from awslabs.sandbox.rules.jobs import submission as submission
from awslabs.sandbox.rules.jobs import tags as tags
from awslabs.sandbox.rules.jobs.api import batch as batch
