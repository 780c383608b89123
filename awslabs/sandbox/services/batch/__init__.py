"""AWS Batch, from compute environment to job.

    records.py        what Batch knows in one account and Region
    api.py            how a request becomes an answer, and what all operations check
    environments.py   compute environments;  queues.py  job queues;  definitions.py  job definitions
    submission.py     jobs as clients see them
    life.py           the life of a job: states, attempts, dependencies, arrays, logs
    fleet.py          the scheduler: jobs on instances, which scale from zero and back
    runner.py         who runs what a job names: nobody, or, in the server, running_jobs.py
    tags.py           tags, and the tagging API

All of it is the one rule `batch`. moto's own Batch is not asked.
"""
