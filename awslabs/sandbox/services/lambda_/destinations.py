"""Lambda's destinations: where an asynchronous event ends, once nobody tries it any more.

    it worked           --> OnSuccess: a record of the event and its answer
    it did not, at last --> OnFailure: such a record; and the dead-letter queue: the event alone

A destination is an SQS queue or another function of the same account and Region; topics, event buses and
buckets are refused. A record that the function's role may not send is lost.

Source: Lambda developer guide, "Capturing records of Lambda asynchronous invocations"; aws-facts (k).
"""

from __future__ import annotations

import json
import logging
import re
from typing import Any

from moto.awslambda.models import LambdaFunction
from moto.sqs.models import sqs_backends

from awslabs.sandbox.core.engine import Call, Refused
from awslabs.sandbox.services.iam import permissions
from awslabs.sandbox.services.lambda_ import functions, shapes

log = logging.getLogger("awslabs.sandbox")

KINDS = ("OnSuccess", "OnFailure")
_PATTERN = (
    r"$|kafka://([^.]([a-zA-Z0-9\-_.]{0,248}))|arn:(aws[a-zA-Z0-9-]*):([a-zA-Z0-9\-])+:"
    r"((eusc-)?[a-z]{2}((-gov)|(-iso([a-z]?)))?-[a-z]+-\d{1})?:(\d{12})?:(.*)"
)
"""Of a destination, as AWS named it on 2025-11-25: botocore's model has another one."""
_ELSEWHERE = ("sns", "events", "s3")


def wanted(call: Call) -> dict[str, dict[str, str]] | None:
    """The destinations that a request sets, of a form that AWS takes; None: it says nothing of them."""
    asked = call.get("DestinationConfig")
    if asked is None:
        return None
    found = {kind: asked.get(kind) or {} for kind in KINDS if kind in asked}
    for kind, where in found.items():
        target = where.get("Destination")
        if target and not re.fullmatch(_PATTERN, target, re.ASCII):
            member = f"destinationConfig.{kind[0].lower()}{kind[1:]}.destination"
            raise shapes.wrong(target, member, f"Member must satisfy regular expression pattern: {_PATTERN}")
    return found


def look_at(call: Call, function: LambdaFunction, asked: dict[str, dict[str, str]]) -> None:
    """Refuse destinations that are not there, or where nothing would arrive."""
    for where in asked.values():
        if not (target := where.get("Destination")):
            continue
        service, region, account = (target.split(":") + [""] * 3)[2:5]
        if service not in ("sqs", "lambda", *_ELSEWHERE):
            said = {kind: _written(asked.get(kind), kind) for kind in KINDS}
            raise shapes.invalid(
                f"The provided destination config DestinationConfig(onSuccess={said['OnSuccess']}, "
                f"onFailure={said['OnFailure']}) is invalid."
            )
        if service in _ELSEWHERE or (region, account) != (call.region, call.account):
            message = "The practice cloud has queues and functions of one account and Region as destinations."
            raise Refused("NotImplemented", message, 501)
        if service == "lambda" and shapes.split(target)[0] == function.function_name:
            raise shapes.invalid("You can't specify the function as a destination for itself.")
        if not _there(call, service, target):
            raise shapes.invalid(f"The destination ARN {target} is invalid.")


def _written(where: dict[str, str] | None, kind: str) -> str:
    """A destination as AWS's message writes it."""
    target = (where or {}).get("Destination")
    return "null" if where is None else f"{kind}(destination={target or 'null'})"


def _there(call: Call, service: str, target: str) -> bool:
    if service == "sqs":
        return target.rpartition(":")[2] in sqs_backends[call.account][call.region].queues
    return functions.known(call.account, call.region, target) is not None


def record(
    arn: str,
    request_id: str,
    payload: bytes,
    at: str,
    tried: tuple[str, int],
    answer: tuple[str, str, bytes] | None,
) -> dict[str, Any]:
    """What a destination is told.

    Parameters
    ----------
    arn : str
        The function with its qualifier; ``:$LATEST`` where it was invoked without one.
    tried : tuple
        What came of it (``Success``, ``RetriesExhausted``, ``EventAgeExceeded``,
        ``ZeroReservedConcurrency``), and how often it was tried.
    answer : tuple, optional
        Version, function error and payload of the last try.
    """
    told: dict[str, Any] = {
        "version": "1.0",
        "timestamp": at,
        "requestContext": {
            "requestId": request_id,
            "functionArn": arn,
            "condition": tried[0],
            "approximateInvokeCount": tried[1],
        },
        "requestPayload": json.loads(payload or b"{}"),
    }
    if answer is not None:
        version, error, said = answer
        told["responseContext"] = {"statusCode": 200, "executedVersion": version}
        if error:
            told["responseContext"]["functionError"] = error
        told["responsePayload"] = json.loads(said or b"null")
    return told


def send(
    account: str,
    region: str,
    role: str,
    target: str,
    body: str,
    attributes: dict[str, tuple[str, str]],
    trace: str = "",
) -> None:
    """Send to a queue, if it is there and the role may; the caller holds the lock.

    Parameters
    ----------
    attributes : dict
        Of the message: name to type and text.
    trace : str
        What X-Ray would follow; dead letters have none.
    """
    queues, name = sqs_backends[account][region], target.rpartition(":")[2]
    if name not in queues.queues:
        log.info("%s is gone: what was sent to it is lost", target)
        return
    if not permissions.allows(account, role, "sqs:SendMessage", target, region):
        log.info("%s may not send to %s: it is lost", role, target)
        return
    queues.send_message(
        name,
        body,
        {key: {"DataType": kind, "StringValue": text} for key, (kind, text) in attributes.items()},
        system_attributes={"AWSTraceHeader": {"DataType": "String", "StringValue": trace}} if trace else None,
    )
