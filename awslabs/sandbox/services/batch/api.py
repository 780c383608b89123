"""How a request to AWS Batch becomes an answer: one function per operation, and what all of them check.

moto's own Batch is out of the way: it pretends that jobs ran. Every failure is a ClientException 400; its
message tells what it is (aws-facts, wire codes). Where AWS validates a request it says ``Error executing
request, Exception : ..., RequestId: ...``; that form is from public reports of users.
"""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Callable
from typing import Any, TypeVar

from moto.core.utils import get_service_model

from awslabs.sandbox.core.engine import Call, Refused, rule
from awslabs.sandbox.services.batch.records import Batch, Environment, Queue, batch_of

Kept = TypeVar("Kept", Environment, Queue)
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,127}")
TAGS = 50
TYPES: dict[str, tuple[type, ...]] = {
    "map": (dict,),
    "integer": (int,),
    "long": (int,),
    "float": (int, float),
    "double": (int, float),
    "boolean": (bool,),
}
"""How JSON brings what botocore's model calls so; the other types are looked into."""

batch = rule(
    "batch",
    """AWS Batch from environment to job. Environments and queues take their time (CREATING, UPDATING,
    DELETING); an environment becomes INVALID where a role cannot be used; deletion has its order; jobs wait
    for instances that scale from zero and back, and run with attempts, timeouts, dependencies and arrays.
    Every failure is a ClientException.

    moto: all is VALID at once, deletes what is in use, and jobs succeed without running.
    Source: aws-facts (a), (b), (e), (g), (j); botocore, batch; AWS Batch user guide.""",
)

Operation = Callable[[Batch, dict[str, Any]], dict[str, Any]]


def answers(name: str) -> Callable[[Operation], Operation]:
    """Let a function answer an operation: it takes the request and returns the answer."""

    def hang(function: Operation) -> Operation:
        @batch.operation(f"batch:{name}")
        def answer(call: Call) -> dict[str, Any]:
            return function(batch_of(call.account, call.region), json.loads(call.response.body or "{}"))

        return function

    return hang


def refuse(message: str) -> Refused:
    """Batch's answer to what cannot be done now."""
    return Refused("ClientException", message, 400)


def invalid(message: str) -> Refused:
    """Batch's answer to a request that makes no sense."""
    return refuse(f"Error executing request, Exception : {message}, RequestId: {uuid.uuid4()}")


def not_here(what: str) -> Refused:
    """What AWS can do and the practice cloud cannot."""
    return Refused("NotImplemented", f"The practice cloud's AWS Batch has no {what}.", 501)


@batch.before("batch:*")
def _fits_the_model(call: Call) -> None:
    """What botocore's model of Batch does not allow. boto3 looks at types only, not at lists of values."""
    model = get_service_model("batch")
    in_path = "tag" in call.action.lower()  # what tags are on
    if call.action in model.operation_names and not in_path:
        _check(json.loads(call.response.body or "{}"), model.operation_model(call.action).input_shape, "")


def _check(value: Any, shape: Any, where: str) -> None:
    """Compare a part of a request with its shape."""
    if shape.type_name == "structure" and isinstance(value, dict):
        for member in shape.required_members:
            if member not in value:
                raise invalid(f"{where}{member} is required")
        for member, inner in value.items():
            if member not in shape.members:
                raise invalid(f"{where}{member} is not known")
            _check(inner, shape.members[member], f"{where}{member}.")
    elif shape.type_name == "list" and isinstance(value, list):
        for inner in value:
            _check(inner, shape.member, where)
    elif shape.type_name == "string" and isinstance(value, str):
        known = value.upper() if shape.name == "RetryAction" else value  # its case does not matter
        if getattr(shape, "enum", None) and known not in shape.enum:
            listed = ", ".join(shape.enum)
            raise invalid(f"{where.rstrip('.')} is {value!r}; it can be one of {listed}")
    elif type(value) not in TYPES.get(shape.type_name, ()):
        raise invalid(f"{where.rstrip('.')} cannot be {value!r}: it is a {shape.type_name}")


def check_name(name: str, what: str) -> None:
    """Up to 128 letters, digits, hyphens and underscores, a letter or digit first."""
    if not NAME.fullmatch(name):
        raise invalid(f"{what} should match valid pattern")


def check_tags(tags: dict[str, str]) -> dict[str, str]:
    """At most 50 tags, none of them AWS's own."""
    if len(tags) > TAGS:
        raise invalid(f"Tags can have at most {TAGS} entries")
    for key, value in tags.items():
        if key.lower().startswith("aws:") or not 1 <= len(key) <= 128 or len(value) > 256:
            raise invalid(f"Tag key {key!r} is invalid")
    return dict(tags)


def check_role(arn: str | None, account: str, what: str) -> None:
    """A role that a definition names is an ARN of this account."""
    if arn is not None and not re.fullmatch(rf"arn:aws[a-z-]*:iam::{account}:role/.+", arn):
        raise invalid(f"{what} {arn} is not a valid ARN of an IAM role")


def by_name(store: Batch, kept: dict[str, Kept], resource: str, name: str) -> Kept:
    """An environment or a queue by its name or ARN; refused where there is none."""
    name = name.rpartition("/")[2]
    if name not in kept:
        raise refuse(f"{store.arn(f'{resource}/{name}')} does not exist")
    return kept[name]


def chosen(kept: dict[str, Kept], names: list[str] | None, what: str) -> list[Kept]:
    """Those that are named, or all; one that is not there is left out."""
    if names and len(names) > 100:
        raise invalid(f"Maximum number of {what} supported is 100")
    wanted = {name.rpartition("/")[2] for name in names or kept}
    return [each for name, each in kept.items() if name in wanted]


def check_at_rest(one: Environment | Queue, verb: str) -> None:
    """Nothing changes what is changing, and what is to be deleted has to be out of use."""
    if one.status in ("CREATING", "UPDATING", "DELETING"):
        raise refuse(f"Cannot {verb}, resource is being modified.")
    if verb == "delete" and one.state == "ENABLED":
        raise refuse("Cannot delete, state must be DISABLED.")  # unsourced


def page(items: list[Any], asked: dict[str, Any], most: int, name: str) -> dict[str, Any]:
    """One page of a list, and how to ask for the next."""
    try:
        first = int(asked.get("nextToken") or 0)
    except ValueError:  # no number, or one of too many digits for Python
        first = -1
    if first < 0:
        raise invalid("Invalid nextToken")
    size = asked.get("maxResults") or most
    if size < 1:
        raise invalid("maxResults must be positive")
    size = min(size, most)
    rest = {"nextToken": str(first + size)} if first + size < len(items) else {}
    return {name: items[first : first + size]} | rest
