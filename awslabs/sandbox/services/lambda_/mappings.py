"""Lambda: event source mappings, as AWS takes, keeps and shows them.

    CreateEventSourceMapping --> may it be?      members, function, role, queue, not twice
                             --> Creating        then Enabled, and polling.py reads the queue, in the server
    Update..., Delete...     --> Updating, Enabling, Disabling, Deleting: what was in force is so until then

The practice cloud polls SQS queues of the caller's account and Region. Streams and brokers are looked at as
far as records of AWS go, and then refused, and so is each member that nothing here would heed.
"""

from __future__ import annotations

import json
import math
import urllib.parse
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from moto.awslambda.models import LambdaFunction
from moto.awslambda.utils import get_backend
from moto.core.utils import get_service_model
from moto.sqs.models import sqs_backends

from awslabs.sandbox.core import engine
from awslabs.sandbox.core.engine import Call, Proceed, Refused, clock, lock, memory, rule, scaled, state
from awslabs.sandbox.services.iam import needs, permissions
from awslabs.sandbox.services.lambda_ import filters, functions, shapes, tags
from awslabs.sandbox.services.lambda_.shapes import invalid

CREATING_S = 10.0
"""How long a new mapping is Creating at `slow_states` 1 (seconds to a minute on AWS; unsourced)."""
CHANGING_S = 5.0
"""How long it is Updating, Enabling, Disabling or Deleting, likewise."""
SMALL_BATCH = 10
"""Messages of a batch that need no batching window; the default, and the most of a FIFO queue."""
NEEDED = ("ReceiveMessage", "DeleteMessage", "GetQueueAttributes")
"""What the function's role must be allowed. Source: Lambda guide, "Using Lambda with Amazon SQS"."""

_HEEDED = {
    *("EventSourceArn", "FunctionName", "Enabled", "BatchSize", "FilterCriteria", "ScalingConfig"),
    *("MaximumBatchingWindowInSeconds", "FunctionResponseTypes", "Tags"),
}
_POSITIONS = ("LATEST", "AT_TIMESTAMP", "TRIM_HORIZON")
_STREAMS = ("dynamodb", "kinesis")
_KIND = "event-source-mapping:"


@dataclass
class Mapping:
    """One event source mapping.

    Attributes
    ----------
    source : str
        ARN of its queue.
    settings : dict
        What answers show of what was asked for: FunctionArn, BatchSize, FilterCriteria ...
    enabled : bool
        Whether it is to poll.
    under_way : str
        ``Creating``, ``Updating`` ... until `settles_at`; empty: nothing is.
    in_force : dict, optional
        The settings with which it polls now; None: it does not.
    """

    account: str
    region: str
    source: str
    settings: dict[str, Any]
    enabled: bool
    tags: dict[str, str]
    uuid: str = field(default_factory=lambda: str(uuid.uuid4()))
    modified: float = 0.0
    under_way: str = ""
    settles_at: float = -math.inf
    in_force: dict[str, Any] | None = None

    @property
    def arn(self) -> str:
        return f"arn:aws:lambda:{self.region}:{self.account}:{_KIND}{self.uuid}"

    @property
    def state(self) -> str:
        return self.under_way or ("Enabled" if self.enabled else "Disabled")

    def begin(self, under_way: str, seconds: float) -> None:
        """Let a change be under way for so long."""
        self.under_way, self.settles_at = under_way, clock.now() + scaled(seconds)
        self.modified = clock.now()

    def shown(self) -> dict[str, Any]:
        """As answers show it."""
        return {
            "UUID": self.uuid,
            "EventSourceArn": self.source,
            "EventSourceMappingArn": self.arn,
            "LastModified": self.modified,
            "State": self.state,
            "StateTransitionReason": "USER_INITIATED",
            **self.settings,
        }


@state
class Mappings(dict[str, Mapping]):
    """The event source mappings of a Region, by their UUID."""


def held(account: str, region: str) -> Mappings:
    """The mappings that are there now: changes that are due are done. The caller holds the lock."""
    found = memory(get_backend(account, region), Mappings)
    for mapping in [each for each in found.values() if each.under_way and clock.now() >= each.settles_at]:
        if mapping.under_way == "Deleting":
            mapping.in_force = None
            del found[mapping.uuid]
            continue
        mapping.under_way = ""
        mapping.in_force = mapping.settings if mapping.enabled else None
    return found


changed: Callable[[Mapping], None] = engine.nobody
"""Who is told of a mapping that was made or changed: `polling`. Under `mock_aws` nothing polls."""


# --- what a request says ------------------------------------------------------------------------------


event_source_mappings = rule(
    "event_source_mappings",
    """A mapping is Creating for 10 s, and Updating, Enabling, Disabling or Deleting for 5 s (times
    `slow_states`); meanwhile other changes of it: ResourceInUseException. Its function is there, and the
    function's role may read the queue, whose visibility timeout is not shorter than the function's; the same
    queue and function: ResourceConflictException. moto looks at none of that, and invokes functions in the
    middle of SendMessage. Source: aws-facts (k).""",
)


def _asked(call: Call) -> dict[str, Any]:
    """The members of a request that say something, looked at."""
    sent = json.loads(call.response.body or b"{}")
    asked = {name: value for name, value in sent.items() if value is not None}
    shapes.look_at_problems(list(_problems(call.action, asked)))
    names = {name: asked[name] for name in ("FunctionName", "EventSourceArn") if name in asked}
    shapes.look_at(call.action, names, call.region)
    return asked


def _problems(action: str, asked: dict[str, Any]) -> Iterator[str]:
    """Numbers and words that are none of the model's."""
    members = get_service_model("lambda").operation_model(action).input_shape.members
    found = [
        (name, name[0].lower() + name[1:], members[name], asked[name]) for name in asked if name in members
    ]
    if scaling := asked.get("ScalingConfig"):
        most = members["ScalingConfig"].members["MaximumConcurrency"]
        if "MaximumConcurrency" in scaling:
            found.append(("", "scalingConfig.maximumConcurrency", most, scaling["MaximumConcurrency"]))
    for name, path, shape, value in found:
        why = ""
        if shape.type_name == "integer":
            why = shapes.bound(value, shape.metadata["min"], shape.metadata["max"])
        elif name == "StartingPosition" and value not in _POSITIONS:
            why = f"Member must satisfy enum value set: [{', '.join(_POSITIONS)}]"
        if why:
            yield f"Value '{value}' at '{path}' failed to satisfy constraint: {why}"


def _settings(asked: dict[str, Any], before: dict[str, Any], source: str) -> dict[str, Any]:
    """What is in force besides the function, once a request is done."""
    found = before | {
        name: asked[name]
        for name in ("BatchSize", "MaximumBatchingWindowInSeconds", "FunctionResponseTypes")
        if name in asked
    }
    if source.endswith(".fifo") and found["MaximumBatchingWindowInSeconds"]:
        raise invalid("Batching window is not supported for FIFO queues")
    if found["BatchSize"] > SMALL_BATCH and not found["MaximumBatchingWindowInSeconds"]:
        raise invalid(
            "Maximum batch window in seconds must be greater than 0 if maximum batch size is greater than "
            f"{SMALL_BATCH}"
        )
    for name, part in (("FilterCriteria", "Filters"), ("ScalingConfig", "MaximumConcurrency")):
        if name in asked:
            found.pop(name, None)  # an empty one takes away what was there
            if asked[name].get(part):
                found[name] = asked[name]
    for one in found.get("FilterCriteria", {}).get("Filters", []):
        filters.read(one.get("Pattern") or "{}")
    return found


def _look_at_source(asked: dict[str, Any]) -> str:
    """The ARN of a queue that can be polled, with members that a queue's mapping can have."""
    source = str(asked.get("EventSourceArn", ""))
    service = source.split(":")[2] if source.startswith("arn:") else ""
    if service in _STREAMS:
        _look_at_stream(asked, service)
    if not source and (broker := asked.keys() & {"SelfManagedEventSource", "Topics", "Queues"}):
        raise _unheeded(f"{min(broker)} in an event source mapping")
    if service in (*_STREAMS, "kafka", "mq", "rds"):
        raise _unheeded(f"event source mappings of {service}")
    if service != "sqs":
        raise invalid("Unrecognized event source.")
    _look_at_members(asked)
    return source


def _look_at_members(asked: dict[str, Any]) -> None:
    if asked.get("DestinationConfig"):
        raise invalid("Unsupported DestinationConfig parameter for given event source mapping type.")
    for name in sorted(asked.keys() - _HEEDED):
        if asked[name] not in ({}, []):
            raise _unheeded(f"{name} in an event source mapping of a queue")


def _unheeded(what: str) -> Refused:
    return Refused("NotImplemented", f"The practice cloud does not have {what}.", 501)


def _look_at_stream(asked: dict[str, Any], service: str) -> None:
    """Refuse what AWS was recorded to refuse."""
    position = asked.get("StartingPosition")
    if position is None:
        raise invalid(shapes.wrong(None, "startingPosition", "Member must not be null.").message)
    if position == "AT_TIMESTAMP" and service == "dynamodb":
        raise invalid(f"Unsupported starting position for arn type: {asked['EventSourceArn']}")


def function_arn(account: str, region: str, given: str) -> str:
    """The ARN that a mapping shows of its function: with the qualifier, where one was given."""
    name, qualifier = shapes.split(given)
    return f"arn:aws:lambda:{region}:{account}:function:{name}" + (f":{qualifier}" if qualifier else "")


def _function(call: Call, given: str) -> LambdaFunction:
    """The function of a mapping."""
    try:
        return functions.find(call.account, call.region, function_arn(call.account, call.region, given))
    except Refused as gone:
        raise invalid("Function does not exist") from gone


def _look_at_both(call: Call, function: LambdaFunction, source: str) -> None:
    """Refuse a function that cannot be run for this queue."""
    if (unable := functions.unable(function)) is not None:
        raise unable
    if source.split(":")[3:5] != [call.region, call.account]:
        raise _unheeded("event source mappings of queues in another account or Region")
    for action in NEEDED:
        if not permissions.allows_by_now(call.account, function.role, f"sqs:{action}", source, call.region):
            message = f"The function execution role does not have permissions to call {action} on SQS"
            raise invalid(message)
    queue: Any = sqs_backends[call.account][call.region].queues.get(source.rpartition(":")[2])
    if queue is None:
        raise invalid(
            "Error occurred while ReceiveMessage. SQS Error Code: AWS.SimpleQueueService.NonExistentQueue. "
            "SQS Error Message: The specified queue does not exist."
        )
    if queue.visibility_timeout < int(function.timeout):
        raise invalid(
            f"Queue visibility timeout: {queue.visibility_timeout} seconds is less than Function timeout: "
            f"{function.timeout} seconds"
        )


def _look_at_others(call: Call, arn: str, source: str, own: str = "") -> None:
    """Refuse a second mapping of the same queue and function."""
    for other in held(call.account, call.region).values():
        if (other.source, other.settings["FunctionArn"]) == (source, arn) and other.uuid != own:
            raise Refused(
                "ResourceConflictException",
                f'An event source mapping with SQS arn (" {source} ") and function (" '
                f'{arn.partition(":function:")[2]} ") already exists. Please update or delete the existing '
                f"mapping with UUID {other.uuid}",
                409,
            )


# --- operations ---------------------------------------------------------------------------------------


@event_source_mappings.operation("lambda:CreateEventSourceMapping")
def _create(call: Call) -> dict[str, Any]:
    asked = _asked(call)
    source = _look_at_source(asked)
    plain = {
        "BatchSize": SMALL_BATCH,
        "MaximumBatchingWindowInSeconds": 0,
        "FunctionResponseTypes": [],
    }
    settings = _settings(asked, plain, source)
    function = _function(call, asked["FunctionName"])
    _look_at_both(call, function, source)
    arn = function_arn(call.account, call.region, asked["FunctionName"])
    _look_at_others(call, arn, source)
    tags.look_at_number(asked.get("Tags", {}))
    mapping = Mapping(
        account=call.account,
        region=call.region,
        source=source,
        settings=settings | {"FunctionArn": arn},
        enabled=bool(asked.get("Enabled", True)),
        tags=dict(asked.get("Tags", {})),
        modified=clock.now(),
    )
    held(call.account, call.region)[mapping.uuid] = mapping
    if mapping.enabled:
        mapping.begin("Creating", CREATING_S)
        changed(mapping)
    return mapping.shown()


@event_source_mappings.operation("lambda:UpdateEventSourceMapping")
def _update(call: Call) -> dict[str, Any]:
    mapping = _found(call)
    asked = _asked(call)
    _look_at_members(asked)
    settings = _settings(asked, mapping.settings, mapping.source)
    if "FunctionName" in asked:
        function = _function(call, asked["FunctionName"])
        _look_at_both(call, function, mapping.source)
        arn = function_arn(call.account, call.region, asked["FunctionName"])
        _look_at_others(call, arn, mapping.source, mapping.uuid)
        settings["FunctionArn"] = arn
    _look_at_state(mapping, "update")
    enabled = bool(asked.get("Enabled", mapping.enabled))
    how = "Updating" if enabled == mapping.enabled else "Enabling" if enabled else "Disabling"
    mapping.settings, mapping.enabled = settings, enabled
    mapping.begin(how, CHANGING_S)
    changed(mapping)
    return mapping.shown()


@event_source_mappings.operation("lambda:DeleteEventSourceMapping")
def _delete(call: Call) -> dict[str, Any]:
    mapping = _found(call)
    _look_at_state(mapping, "delete")
    mapping.begin("Deleting", CHANGING_S)
    changed(mapping)
    return mapping.shown()


@event_source_mappings.operation("lambda:GetEventSourceMapping")
def _get(call: Call) -> dict[str, Any]:
    return _found(call).shown()


@event_source_mappings.operation("lambda:ListEventSourceMappings")
def _list(call: Call) -> dict[str, Any]:
    asked = {name: call.get(name) for name in ("FunctionName", "EventSourceArn")}
    names = {name: given for name, given in asked.items() if given is not None}
    shapes.look_at(call.action, names, call.region)
    arn = function_arn(call.account, call.region, names["FunctionName"]) if "FunctionName" in names else None
    found = [
        mapping.shown()
        for mapping in held(call.account, call.region).values()
        if arn in (None, mapping.settings["FunctionArn"])
        and names.get("EventSourceArn") in (None, mapping.source)
    ]
    return shapes.page(call, "EventSourceMappings", found, usual=100)


def _found(call: Call) -> Mapping:
    """The mapping that a request names."""
    named = call.response.path.rstrip("/").rpartition("/")[2]
    mapping = held(call.account, call.region).get(named)
    if mapping is None:
        raise shapes.missing()
    return mapping


def _look_at_state(mapping: Mapping, verb: str) -> None:
    if mapping.under_way:
        message = f"Cannot {verb} the event source mapping because it is in use."
        raise Refused("ResourceInUseException", message, 400)


# --- tags ---------------------------------------------------------------------------------------------


@event_source_mappings.around("lambda:ListTags", "lambda:TagResource", "lambda:UntagResource")
def _tag(call: Call, proceed: Proceed) -> Any:
    arn = urllib.parse.unquote(call.response.path.partition("/tags/")[2])
    if f":{_KIND}" not in arn:
        return proceed()
    mapping = held(call.account, call.region).get(arn.rpartition(":")[2])
    if mapping is None or mapping.arn != arn:
        raise shapes.missing(f"Event source mapping not found: {arn}")
    if call.action == "ListTags":
        return 200, {"status": 200}, json.dumps({"Tags": mapping.tags})
    if call.action == "TagResource":
        added = json.loads(call.response.body)["Tags"]
        tags.look_at_number(mapping.tags | added)
        mapping.tags |= added
    else:
        for key in call.response.querystring.get("tagKeys", []):
            mapping.tags.pop(key, None)
    return 204, {"status": 204}, ""


_of_functions = needs.TAGGED["lambda"]


def _tags(account: str, region: str, rest: str) -> dict[str, str] | None:
    """What a policy may ask about the tags of a function, or of a mapping."""
    if not rest.startswith(_KIND):
        return _of_functions(account, region, rest)
    mapping = held(account, region).get(rest.removeprefix(_KIND))
    return dict(mapping.tags) if mapping else {}


def _mapped(asked: needs.Asked, arn: str) -> str | None:
    """The function that a call is about, which policies ask for: `lambda:FunctionArn`."""
    if given := asked.fields.get("FunctionName"):
        return function_arn(asked.account, asked.region, given)
    with lock:
        mapping = held(asked.account, asked.region).get(asked.fields.get("UUID", ""))
    return mapping.settings["FunctionArn"] if mapping else None


needs.TAGGED["lambda"] = _tags
needs.TOLD |= {
    f"lambda:{verb}EventSourceMapping": {"lambda:functionarn": _mapped}
    for verb in ("Create", "Delete", "Get", "Update")
}
