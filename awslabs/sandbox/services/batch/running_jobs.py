"""Batch, running: what a job names as its image runs, for real.

    the rules         which job starts now, and on which instance: states, attempts, roles, logs
      --> this file   endpoint and credentials of the job's role, or else of its instance's
      --> programs    the image's program, as a container or as a process

What is like AWS: environment variables, command, exit codes, memory limit, SIGTERM before SIGKILL, timeouts,
retries, arrays, logs. What is not: all instances share this computer, so that more of them make nothing
faster, and none of them has a GPU: jobs that asked Batch for one are told so by GPU_STAND_IN=cpu, and a
program that knows that word works on the processor.
"""

from __future__ import annotations

import dataclasses
import threading
from typing import Any

from moto.batch.models import batch_backends

from awslabs.sandbox import HOST
from awslabs.sandbox.core import engine
from awslabs.sandbox.run import programs
from awslabs.sandbox.services.batch import runner
from awslabs.sandbox.services.batch.records import Batch
from awslabs.sandbox.services.iam import permissions


class Jobs:
    """Runs attempts of jobs: the `runner.Runner` of the server.

    Parameters
    ----------
    endpoint_url : str
        Where jobs find AWS: ``http://127.0.0.1:PORT``.
    """

    def __init__(self, endpoint_url: str) -> None:
        self.endpoint_url = endpoint_url
        self.mutex = threading.Lock()
        self.live: dict[str, programs.Program] = {}

    def start(self, task: runner.Task, listener: runner.Listener) -> None:
        """Run an attempt; see `runner.Runner`."""
        order = dataclasses.replace(task.order, environment=self.environment(task))

        def ended(how: programs.Ended) -> None:
            with self.mutex:
                self.live.pop(order.key, None)
            listener.ended(how.exit_code, how.reason)

        with self.mutex:
            self.live[order.key] = programs.start(order, listener.say, ended, listener.began)

    def stop(self, key: str, grace_s: float) -> None:
        """End an attempt, if it runs."""
        with self.mutex:
            program = self.live.get(key)
        if program is not None:
            program.stop(grace_s)

    def environment(self, task: runner.Task) -> dict[str, str]:
        """All variables of a program."""
        account, region = task.order.account, task.order.region
        session = permissions.credentials(account, task.role_arn, task.session_name, region)
        practice = {"MNIST_DATA": "digits"}  # inside scikit-learn: nothing has to be downloaded
        if task.gpus:
            practice["GPU_STAND_IN"] = "cpu"
        return (
            practice
            | task.order.environment
            | {
                "AWS_ACCESS_KEY_ID": session.access_key_id,
                "AWS_SECRET_ACCESS_KEY": session.secret_access_key,
                "AWS_SESSION_TOKEN": session.session_token,
                "AWS_REGION": region,
                "AWS_DEFAULT_REGION": region,
                "AWS_EXECUTION_ENV": "AWS_ECS_EC2",
                # What AWS has no need of: where AWS is.
                "AWS_ENDPOINT_URL": self.endpoint_url,
                "AWS_EC2_METADATA_DISABLED": "true",
                "NO_PROXY": HOST,
                "no_proxy": HOST,
            }
        )


def add_handlers(cloud: Any) -> None:
    """Add its handlers to a practice cloud (`server.Cloud`)."""
    runner.current = Jobs(cloud.run.endpoint_url)


def reset(account: str) -> None:
    """Forget the jobs of an account, so that none is tried again when its program is ended."""
    with engine.lock:
        for backend in list((batch_backends.get(account) or {}).values()):
            backend.__dict__.pop(f"_awslabs_{Batch.__name__}", None)


def close() -> None:
    """Nothing starts here any more; the programs themselves are ended by `programs`."""
    runner.current = None
