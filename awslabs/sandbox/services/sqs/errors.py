"""SQS: how it says no, in the words of its two protocols, JSON and query."""

from __future__ import annotations

from typing import Any

from moto.core.exceptions import ServiceException

from awslabs.sandbox.core.engine import ASKED, Call, Proceed, Refused, around

GONE = ("QueueDoesNotExist", "AWS.SimpleQueueService.NonExistentQueue")


@around("sqs:*")
def refusals_of_sqs(call: Call, proceed: Proceed) -> Any:
    """A refusal has a name in the body of JSON (InvalidParameterValueException), and a code in a header.

    The code (InvalidParameterValue; `wire.error`) is that of the query protocol, in which a queue that is not
    there has a sentence of its own. moto has the code in both places. Source: aws-facts (k).
    """
    try:
        return proceed()
    except ServiceException as problem:
        code, message = problem.code, str(problem.message)
    except Refused as problem:
        code, message = problem.code, problem.message
    if code in GONE and call.response.normalized_request.environ[ASKED].protocol == "query":
        message = "The specified queue does not exist for this wsdl version."
    raise Refused(code, message)
