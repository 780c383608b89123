"""What a patch of a REST API or a stage may name: a path that AWS does not know is refused, not forgotten.

Source: API Gateway API reference, "Patch operations"; aws-facts (k).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

from moto.apigateway.models import RestAPI

from awslabs.sandbox.core.engine import Call, Refused

COMPRESSION_BYTES = 10_485_760
_TYPES = ("REGIONAL", "EDGE", "PRIVATE")
T = TypeVar("T")


class Step(NamedTuple):
    """One step of what an Update operation asks for."""

    op: str
    path: str
    value: str  # empty where there is none

    def read(self, of_type: Callable[[str], T]) -> T:
        """Its value as a number, or what else it has to be."""
        try:
            return of_type(self.value)
        except ValueError as problem:
            raise bad(f"Invalid value {self.value} for {self.path}") from problem

    def put(self, held: dict[str, Any], name: str, value: Any) -> None:
        """Write an entry of a map, as the last one, or take it away."""
        held.pop(name, None)
        if self.op != "remove":
            held[name] = value

    def entry(self, **maps: dict[str, Any]) -> tuple[dict[str, Any], str]:
        """Which one of these maps a path is about, and which entry: ``/requestModels/text~1plain``."""
        found = re.fullmatch(r"/([^/]+)/([^/]+)", self.path)
        if found is None or found[1] not in maps:
            raise bad_path(self.path)
        return maps[found[1]], plain(found[2])


def steps_of(call: Call) -> list[Step]:
    """What an Update operation asks for."""
    asked = call.get("patchOperations") or []
    return [Step(one.get("op", "null"), one.get("path", "null"), one.get("value") or "") for one in asked]


def plain(name: str) -> str:
    """A name in a path of a patch as it is: a slash of its own is written ``~1``."""
    return name.replace("~1", "/").replace("~0", "~")


def bad(message: str) -> Refused:
    return Refused("BadRequestException", message, 400)


def bad_path(path: str) -> Refused:
    return bad(f"Invalid patch path {path}")


def apply(api: RestAPI, steps: list[Step]) -> None:
    """Change an API as UpdateRestApi asks; all of it or, where something is wrong, nothing."""
    todo = [_step(api, *step) for step in steps]
    for change in todo:
        change()


def _step(api: RestAPI, operation: str, path: str, value: str) -> Callable[[], None]:
    """One change, checked."""
    first, _, rest = path.removeprefix("/").partition("/")
    rest = plain(rest)
    if first == "binaryMediaTypes":
        if not rest:
            raise bad_path(path)
        one_of(operation, "add", "remove", "replace")
        return lambda: _change_types(api, operation, rest, value)
    if first == "endpointConfiguration":
        return _endpoint(api, operation, path, rest, value)
    attribute = {
        "name": "name",
        "description": "description",
        "apiKeySource": "api_key_source",
        "disableExecuteApiEndpoint": "disableExecuteApiEndpoint",
        "minimumCompressionSize": "minimum_compression_size",
        "policy": "policy",
        "version": "version",
    }.get(first)
    if attribute is None or rest:
        raise bad_path(path)
    kept: Any = value
    if first == "description":
        one_of(operation, "replace", "remove")
    else:
        one_of(operation, "replace")
    if first == "disableExecuteApiEndpoint":
        kept = value.lower() == "true"
    elif first == "minimumCompressionSize":
        if value and not (value.isdecimal() and int(value) <= COMPRESSION_BYTES):
            raise bad(f"Invalid minimum compression size, must be between 0 and {COMPRESSION_BYTES}")
        kept = int(value) if value else None
    return lambda: setattr(api, attribute, "" if operation == "remove" else kept)


def one_of(operation: str, *allowed: str) -> None:
    if operation not in allowed:
        raise bad(f"Invalid patch operation specified. Must be one of: [{', '.join(allowed)}]")


def _change_types(api: RestAPI, operation: str, kind: str, value: str) -> None:
    if operation == "add":
        if kind not in api.binaryMediaTypes:
            api.binaryMediaTypes.append(kind)
        return
    api.binaryMediaTypes = [each for each in api.binaryMediaTypes if each != kind]
    if operation == "replace":
        api.binaryMediaTypes.append(value)


def _endpoint(api: RestAPI, operation: str, path: str, rest: str, value: str) -> Callable[[], None]:
    """A change of `endpointConfiguration`."""
    configuration: Any = api.endpoint_configuration
    if rest == "ipAddressType":
        one_of(operation, "replace")
        if value not in ("ipv4", "dualstack"):
            raise bad("ipAddressType must be either ipv4 or dualstack.")
        if value == "ipv4" and "PRIVATE" in (configuration.get("types") or []):
            raise bad("Only dualstack ipAddressType is supported for Private APIs.")
        return lambda: configuration.update(ipAddressType=value)
    if not rest.startswith("types/"):
        raise bad_path(path)
    if operation != "replace":
        raise bad("Invalid patch operation specified. Must be 'add'|'remove'|'replace'")
    if value not in _TYPES:
        raise bad(f"Invalid EndpointTypes specified. Valid options are {','.join(_TYPES)}")
    address = {"ipAddressType": "dualstack"} if value == "PRIVATE" else {}
    return lambda: configuration.update(types=[value], **address)


_SETTINGS = (
    *("metrics/enabled", "logging/dataTrace", "logging/loglevel", "throttling/burstLimit"),
    *("throttling/rateLimit", "caching/ttlInSeconds", "caching/enabled", "caching/dataEncrypted"),
    *("caching/requireAuthorizationForCacheControl", "caching/unauthorizedCacheControlHeaderStrategy"),
)
# AWS's own words, commas that are missing included. Source: aws-facts (k).
_SAID = (
    "/deploymentId, /description, /cacheClusterEnabled, /cacheClusterSize, /clientCertificateId, "
    "/accessLogSettings, /accessLogSettings/destinationArn, /accessLogSettings/format, "
    "/{resourcePath}/{httpMethod}/metrics/enabled, /{resourcePath}/{httpMethod}/logging/dataTrace, "
    "/{resourcePath}/{httpMethod}/logging/loglevel, /{resourcePath}/{httpMethod}/throttling/burstLimit"
    "/{resourcePath}/{httpMethod}/throttling/rateLimit/{resourcePath}/{httpMethod}/caching/ttlInSeconds, "
    "/{resourcePath}/{httpMethod}/caching/enabled, /{resourcePath}/{httpMethod}/caching/dataEncrypted, "
    "/{resourcePath}/{httpMethod}/caching/requireAuthorizationForCacheControl, "
    "/{resourcePath}/{httpMethod}/caching/unauthorizedCacheControlHeaderStrategy, "
    "/*/*/metrics/enabled, /*/*/logging/dataTrace, /*/*/logging/loglevel, /*/*/throttling/burstLimit "
    "/*/*/throttling/rateLimit /*/*/caching/ttlInSeconds, /*/*/caching/enabled, /*/*/caching/dataEncrypted, "
    "/*/*/caching/requireAuthorizationForCacheControl, "
    "/*/*/caching/unauthorizedCacheControlHeaderStrategy, /variables/{variable_name}, /tracingEnabled"
)
_OF_STAGE = re.compile(
    r"/(deploymentId|description|cacheClusterEnabled|cacheClusterSize|clientCertificateId|tracingEnabled"
    r"|accessLogSettings(/[^/]*)?|variables/[^/]+|canarySettings(/.*)?|documentationVersion"
    rf"|[^/]+/[^/]+(/({'|'.join(_SETTINGS)}))?)"
)


def look_at_stage(steps: list[Step]) -> None:
    """Refuse a change of a stage that AWS does not know. Slashes of a resource are written ``~1``."""
    for step in steps:
        if not _OF_STAGE.fullmatch(step.path) or (step.path.count("/") == 2 and _is_setting(step)):
            raise bad(f"Invalid method setting path: {step.path}. Must be one of: [{_SAID}]")


def _is_setting(step: Step) -> bool:
    """Whether this would set all settings of a method at once: they can only be removed at once."""
    known = ("/variables/", "/accessLogSettings/", "/canarySettings/")
    return not step.path.startswith(known) and step.op != "remove"


def replaced(call: Call, *paths: str) -> list[Step]:
    """The steps of a patch that can replace these paths and do nothing else."""
    steps = steps_of(call)
    for step in steps:
        begin = f"Invalid patch path  '{step.path}' specified for op '{step.op}'. "
        if step.op != "replace":
            raise bad(begin + "Please choose supported operations")
        if step.path not in paths:
            raise bad(begin + f"Must be one of: [{', '.join(paths)}]")
    return steps
