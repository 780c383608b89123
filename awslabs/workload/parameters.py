"""The names of a lab for programs of your own: as variables of a shell, or as parameters of SSM."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Any

from awslabs import cli
from awslabs.ledger import Ledger, ensure


def put(ledger: Ledger, values: Mapping[str, str]) -> None:
    """Keep each value as an SSM parameter of that name, until `down`.

    They are the account's, and names like ``TABLE_NAME`` everybody's: one that is not this lab's is never
    overwritten, and ends `up`. Standard parameters cost nothing.

    AWS calls: ``ssm:PutParameter``, ``ssm:ListTagsForResource``, ``ssm:GetParameter``.

    Raises
    ------
    AwsError
        ParameterAlreadyExists: somebody else's, or of another lab, has this name.
    """
    ssm = ledger.client("ssm")
    for name, text in values.items():
        request = {"Name": name, "Value": text, "Type": "String"}
        ledger.create(f"parameter-{name.lower().replace('_', '-')}", ssm.put_parameter, **request)
        ensure(ssm.put_parameter, **request)


def built(ledger: Ledger, lab: Any, values: dict[str, str], export: str | None) -> dict[str, Any] | None:
    """What `up` prints at its end: the lab, or lines for ``eval "$(... up --export)"``."""
    if export == "shell" and not cli.wants_json():
        cli.out("\n".join(f"export {name}={shlex.quote(text)}" for name, text in values.items()))
        return None
    return {**cli.header(ledger), **vars(lab), **({"export": values} if export else {})}
