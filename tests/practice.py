"""Accounts of a practice cloud that runs, and boto3's clients of them."""

from __future__ import annotations

import itertools
import os
from typing import Any

import boto3
from botocore.config import Config

from awslabs import inventory, sandbox
from awslabs.cloud import Cloud

ONCE = {"retries": {"total_max_attempts": 1}, "read_timeout": 60, "max_pool_connections": 20}
_numbers = itertools.count(1)


def fresh_account() -> str:
    """The number of an account that no other test has used."""
    return f"6000{os.getpid() % 10_000:04}{next(_numbers):04}"


def client_of(run: sandbox.Run, account_id: str, service: str, *credentials: str, **config: Any) -> Any:
    """A client of an account's student, or of who has these credentials; all else is botocore's Config."""
    own = run.environment(account_id)
    key, secret, *token = credentials or (own["AWS_ACCESS_KEY_ID"], own["AWS_SECRET_ACCESS_KEY"])
    return boto3.client(
        service,
        endpoint_url=run.endpoint_url,
        aws_access_key_id=key,
        aws_secret_access_key=secret,
        aws_session_token=token[0] if token else None,
        region_name="us-east-1",
        config=Config(**config),
    )


class Account:
    """A fresh account; its clients, which try once, are its attributes: `ec2`, and `lambda_`."""

    def __init__(self, run: sandbox.Run) -> None:
        self.run, self.id = run, fresh_account()

    def __getattr__(self, service: str) -> Any:
        made = client_of(self.run, self.id, service.strip("_"), **ONCE)
        setattr(self, service, made)
        return made


def everything_ours(cloud: Cloud) -> list[inventory.Ours]:
    """All on AWS, in this account and Region, that carries a ledger's mark: nothing is left unlooked at."""
    seen = inventory.survey(cloud)
    assert not seen.refused
    return seen.ours
