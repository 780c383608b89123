"""Lambda: what a function may be, the states it goes through, and what Invoke refuses.

Running a function is the business of `services.lambda_.invocations`, in the server. What both need
to know of a function beyond moto's own record stands in `FunctionLife`.
"""

from __future__ import annotations

import base64
import binascii
import calendar
import io
import json
import math
import re
import zipfile
from dataclasses import dataclass, field
from typing import Any

from moto.awslambda.exceptions import UnknownAliasException, UnknownFunctionException
from moto.awslambda.models import LambdaFunction
from moto.awslambda.utils import get_backend
from moto.ec2.models import ec2_backends
from moto.s3.exceptions import MissingBucket
from moto.s3.models import s3_backends
from moto.sqs.models import sqs_backends

from awslabs.sandbox.core.engine import (
    Call,
    Proceed,
    Refused,
    around,
    before,
    clock,
    memory,
    rule,
    scaled,
    state,
)
from awslabs.sandbox.services.iam import identities, permissions
from awslabs.sandbox.services.lambda_ import unpacking
from awslabs.sandbox.services.lambda_.shapes import (
    asked_for,
    bound,
    invalid,
    look_at_revision,
    missing,
    named,
    split,
    wrong,
)
from awslabs.sandbox.services.servicequotas import quotas

PENDING_S = 3.0
"""How long a new function is Pending at `slow_states` 1 (seconds on AWS, for a small zip; unsourced)."""
UPDATE_S = 1.5
"""How long an update is InProgress, likewise."""
CONCURRENCY = "L-B99A9384"
UNRESERVED = 100
"""Executions that no function may reserve for itself. Source: Lambda developer guide."""
SYNC_BYTES = 6 * 1024 * 1024
ASYNC_BYTES = 1024 * 1024
ZIP_BYTES = 50 * 1024 * 1024
UNZIPPED_BYTES = 250 * 1024 * 1024
ENVIRONMENT_BYTES = 4 * 1024

_MEMORY_MB = (128, 10_240)
_TIMEOUT_S = (1, 900)


# --- finding a function -------------------------------------------------------------------------------


def find(account: str, region: str, name: str, qualifier: str | None = None) -> LambdaFunction:
    """moto's record of a function.

    Parameters
    ----------
    name : str
        Name, ``NAME:QUALIFIER``, or ARN, as Lambda takes them.

    Raises
    ------
    Refused
        ResourceNotFoundException 404.
    """
    if re.fullmatch(r"\d{12}:function:.+", name):
        name = f"arn:aws:lambda:{region}:{name}"
    if name.startswith("arn:") and len(name.split(":")) < 7:
        name = f"{name}:{name.split(':')[-1]}"  # of a word alone AWS makes the name, too
    if name.startswith("arn:") and name.split(":")[3:5] != [region, account]:
        raise missing(f"Function not found: {name}")
    try:
        return get_backend(account, region).get_function(name, qualifier)
    except (UnknownFunctionException, UnknownAliasException) as unknown:
        raise missing(unknown.message) from unknown


def known(account: str, region: str, name: str, qualifier: str | None = None) -> LambdaFunction | None:
    """The same, or None where there is none."""
    try:
        return find(account, region, name, qualifier)
    except Refused:
        return None


def _function(call: Call) -> LambdaFunction | None:
    """The function that a request names, if there is one: moto refuses unknown ones by itself."""
    return known(call.account, call.region, named(call), call.get("Qualifier"))


# --- states -------------------------------------------------------------------------------------------


@state
@dataclass
class FunctionLife:
    """What moto's record of a function lacks.

    Attributes
    ----------
    active_at, updated_at : float
        When the creation, or the last update, is done (seconds since 1970).
    more : dict
        DeadLetterConfig and LoggingConfig, as they were asked for.
    """

    active_at: float = -math.inf
    updated_at: float = -math.inf
    more: dict[str, Any] = field(default_factory=dict)

    @property
    def state(self) -> str:
        return "Pending" if clock.now() < self.active_at else "Active"

    @property
    def last_update(self) -> str:
        return "InProgress" if clock.now() < max(self.active_at, self.updated_at) else "Successful"


def life(function: LambdaFunction) -> FunctionLife:
    """What the rules remember of a function."""
    return memory(function, FunctionLife)


def log_group(function: LambdaFunction) -> str:
    """Where a function's output goes."""
    return life(function).more.get("LoggingConfig", {}).get("LogGroup") or function.logs_group_name


def _busy(function: LambdaFunction) -> Refused | None:
    """Lambda's answer while a function is being made or changed."""
    begin = "The operation cannot be performed at this time."
    if life(function).state == "Pending":
        why = f"{begin} The function is currently in the following state: Pending"
    elif life(function).last_update == "InProgress":
        why = f"{begin} An update is in progress for resource: {function.function_arn}"
    else:
        return None
    return Refused("ResourceConflictException", why, 409)


function_states = rule(
    "function_states",
    """A new function is Pending for 3 s, an update InProgress for 1.5 s (times `slow_states`); meanwhile
    updating and publishing: ResourceConflictException 409. Deleting is taken. moto: Active at once.

    Source: aws-facts (a), (b), (j), (k).""",
)


@function_states.around("lambda:CreateFunction")
def _begin(call: Call, proceed: Proceed) -> Any:
    status, headers, body = proceed()
    function = find(call.account, call.region, json.loads(body)["FunctionName"])
    life(function).active_at = clock.now() + scaled(PENDING_S)
    said = json.loads(_with_state(body, function))
    for name in ("LastUpdateStatus", "LastUpdateStatusReason", "LastUpdateStatusReasonCode"):
        said.pop(name, None)  # AWS does not speak of updates yet
    return status, headers, json.dumps(said)


@function_states.around("lambda:UpdateFunctionCode", "lambda:UpdateFunctionConfiguration")
@function_states.around("lambda:PublishVersion")
def _change(call: Call, proceed: Proceed) -> Any:
    function = _function(call)
    if function is None:
        return proceed()
    if (refused := _busy(function)) is not None:
        raise refused
    answer = proceed()
    if not call.action.startswith("Update") or call.get("DryRun"):
        return answer
    life(function).updated_at = clock.now() + scaled(UPDATE_S)
    status, headers, body = answer
    return status, headers, _with_state(body, function)


@function_states.patch(LambdaFunction, "get_configuration")
def _show_state(original: Any, function: LambdaFunction, on_create: bool = False) -> dict[str, Any]:
    shown: dict[str, Any] = original(function, on_create)
    shown["State"] = life(function).state
    if shown["State"] == "Pending":
        shown |= {"StateReason": "The function is being created.", "StateReasonCode": "Creating"}
        if shown["Version"] != "$LATEST":  # of a version AWS does not say that it is updated
            del shown["LastUpdateStatus"]
            return shown
    shown["LastUpdateStatus"] = life(function).last_update
    if shown["LastUpdateStatus"] == "InProgress":
        why = {"LastUpdateStatusReason": "The function is being created."}
        shown |= why | {"LastUpdateStatusReasonCode": "Creating"}
    return shown


def _with_state(body: str, function: LambdaFunction) -> str:
    """An answer of moto's, with the state as it is after the call."""
    fresh = function.get_configuration()
    names = (
        *("RevisionId", "State", "StateReason", "StateReasonCode"),
        *("LastUpdateStatus", "LastUpdateStatusReason", "LastUpdateStatusReasonCode"),
    )
    return json.dumps(json.loads(body) | {name: fresh[name] for name in names if name in fresh})


@around("lambda:DeleteFunction")
def versions_that_are_not_there(call: Call, proceed: Proceed) -> Any:
    """A version that is not there is deleted; $LATEST is not without its function. moto: 404, and it does.

    Source: aws-facts (k).
    """
    name, qualifier = asked_for(call)
    if qualifier == "$LATEST":
        raise invalid("$LATEST version cannot be deleted without deleting the function.")
    if known(call.account, call.region, name) is None:
        arn = f"arn:aws:lambda:{call.region}:{call.account}:function:{name or 'function'}"
        raise missing(f"Function not found: {arn}")
    if qualifier and _function(call) is None:
        return 204, {"status": 204}, ""
    return proceed()


# --- what a function may be ---------------------------------------------------------------------------


@before("lambda:CreateFunction", "lambda:UpdateFunctionConfiguration")
def function_role_is_ready(call: Call) -> None:
    """A role that is too fresh or does not trust Lambda: InvalidParameterValueException. moto does not look.

    Source: aws-facts (b), (j).
    """
    role = call.get("Role")
    if role and not identities.assumable(call.account, role, "lambda.amazonaws.com"):
        raise invalid("The role defined for the function cannot be assumed by Lambda.")


_DEPRECATED = {
    # Runtime -> the day from which no function can be made with it (aws-facts (g)); others: unsourced.
    "python3.8": (2027, 2, 1),
    "python3.9": (2027, 2, 1),
    "python3.10": (2027, 2, 1),
}
_RUNTIMES = (
    *("nodejs20.x", "python3.14", "provided.al2023", "python3.12", "python3.13", "nodejs24.x", "nodejs22.x"),
    *("java25", "python3.10", "python3.11", "java21", "ruby3.3", "ruby3.4", "ruby3.2", "python3.8"),
    *("python3.9", "java17", "nodejs16.x", "dotnet10", "dotnet8", "java11", "dotnet6", "nodejs18.x"),
    *("provided.al2", "java8.al2"),
)
"""In AWS's order of 2026-01-12 (aws-facts (k))."""
_GONE = re.compile(r"python(2\.7|3\.[67])|nodejs(\d|1[0-4])\.[x\d]+|go1\.x|java8|dotnet.*|ruby.*|provided")
REQUEST_BYTES = 70_167_211


@before("lambda:CreateFunction", "lambda:UpdateFunctionConfiguration")
def function_limits(call: Call) -> None:
    """An unknown or retired runtime, more memory, time or environment than there is, or reserved variables:
    InvalidParameterValueException. moto takes all of them. Source: aws-facts (g), (j).
    """
    if len(call.response.body or b"") > REQUEST_BYTES:
        message = f"Request must be smaller than {REQUEST_BYTES} bytes for the {call.action} operation"
        raise Refused("RequestEntityTooLargeException", message, 413)
    runtime = call.get("Runtime")
    if runtime is not None:
        _look_at_runtime(runtime)
    for name, (least, most) in (("MemorySize", _MEMORY_MB), ("Timeout", _TIMEOUT_S)):
        value = call.get(name)
        if value is not None and (why := bound(value, least, most)):
            raise invalid(wrong(value, name[0].lower() + name[1:], why).message)
    zipped = call.action == "CreateFunction" and call.get("PackageType", "Zip") == "Zip"
    for name in ("Runtime", "Handler"):
        if zipped and not call.get(name):
            raise invalid(f"{name} is mandatory for functions created with deployment packages.")
    variables = (call.get("Environment") or {}).get("Variables") or {}
    begin = "Lambda was unable to configure your environment variables because the environment variables you"
    reserved = sorted(set(variables) & _RESERVED)
    if reserved:
        raise invalid(
            f"{begin} have provided contains reserved keys that are currently not supported for "
            f"modification. Reserved keys used in this request: {', '.join(reserved)}"
        )
    measured = json.dumps(variables, separators=(",", ":"), ensure_ascii=False)
    if len(measured.encode()) > ENVIRONMENT_BYTES:
        raise invalid(f"{begin} have provided exceeded the 4KB limit. String measured: {measured}")


# Source: Lambda developer guide, "Defined runtime environment variables": those marked as reserved.
_RESERVED = {
    "_HANDLER", "_X_AMZN_TRACE_ID", "AWS_DEFAULT_REGION", "AWS_REGION", "AWS_EXECUTION_ENV",
    "AWS_LAMBDA_FUNCTION_NAME", "AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "AWS_LAMBDA_FUNCTION_VERSION",
    "AWS_LAMBDA_INITIALIZATION_TYPE", "AWS_LAMBDA_LOG_GROUP_NAME", "AWS_LAMBDA_LOG_STREAM_NAME",
    "AWS_ACCESS_KEY", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN",
    "AWS_LAMBDA_RUNTIME_API", "LAMBDA_TASK_ROOT", "LAMBDA_RUNTIME_DIR",
}  # fmt: skip


def _look_at_runtime(runtime: str) -> None:
    """Refuse a runtime that functions cannot be made with any more, or never could."""
    blocked = _DEPRECATED.get(runtime)
    retired = blocked is not None and clock.now() >= calendar.timegm((*blocked, 0, 0, 0))
    if retired or (runtime not in _RUNTIMES and _GONE.fullmatch(runtime)):
        raise invalid(
            f"The runtime parameter of {runtime} is no longer supported for creating or updating AWS Lambda "
            "functions. We recommend you use a supported runtime while creating or updating functions."
        )
    if runtime not in _RUNTIMES:
        raise invalid(
            f"Value {runtime} at 'runtime' failed to satisfy constraint: Member must satisfy enum value set: "
            f"[{', '.join(_RUNTIMES)}] or be a valid ARN"
        )


@before("lambda:CreateFunction", "lambda:UpdateFunctionCode")
def code_is_a_zip(call: Call) -> None:
    """What nobody can unpack, or is not in S3: InvalidParameterValueException; too much at once:
    RequestEntityTooLargeException.

    moto stores anything. Source: aws-facts (g), (j); Lambda developer guide, "Lambda quotas".
    """
    given: Any = (call.get("Code") or {}) if call.action == "CreateFunction" else call
    text, bucket, key = map(given.get, ("ZipFile", "S3Bucket", "S3Key"))
    try:
        if text is not None:
            data = base64.b64decode(text)
        elif bucket:
            data = _in_s3(call, bucket, key)
        else:
            return
        if text is not None and len(data) > ZIP_BYTES:
            message = f"Zipped size must be smaller than {ZIP_BYTES} bytes"
            raise Refused("RequestEntityTooLargeException", message, 413)
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            unpacking.look_through(archive)
            size = sum(entry.file_size for entry in archive.infolist())
    except (zipfile.BadZipFile, binascii.Error) as problem:
        message = "Could not unzip uploaded file. Please check your file, then try to upload again."
        raise invalid(message) from problem
    if size >= UNZIPPED_BYTES:
        raise invalid(f"Unzipped size must be smaller than {UNZIPPED_BYTES} bytes")
    if size == 0:
        raise invalid("Uploaded file must be a non-empty zip")


def _in_s3(call: Call, bucket: str, key: str) -> bytes:
    """The bytes of an object that holds a function's code."""
    code, message = "NoSuchBucket", "The specified bucket does not exist"
    try:
        stored = s3_backends[call.account][call.partition].get_object(bucket, key)
    except MissingBucket:
        stored = None
    else:
        code, message = "NoSuchKey", "The specified key does not exist."
    if stored is None:
        raise invalid(f"Error occurred while GetObject. S3 Error Code: {code}. S3 Error Message: {message}")
    data: bytes = stored.value
    return data


@before("lambda:CreateFunction", "lambda:UpdateFunctionConfiguration")
def function_network_exists(call: Call) -> None:
    """A subnet or security group that is not there: InvalidParameterValueException. moto takes any.

    Source: aws-facts (j).
    """
    network = call.get("VpcConfig")
    if not network:
        return  # the EC2 of an account is made when first asked for, with a thousand AMIs: that takes a while
    ec2 = ec2_backends[call.account][call.region]
    groups = {group_id for held in ec2.groups.values() for group_id in held}
    subnets = {subnet_id for held in ec2.subnets.values() for subnet_id in held}
    for member, wanted, pattern in (
        ("subnetIds", network.get("SubnetIds") or [], "subnet-[0-9a-z]*"),
        ("securityGroupIds", network.get("SecurityGroupIds") or [], "sg-[0-9a-zA-Z]*"),
    ):
        if any(not re.fullmatch(pattern, each) for each in wanted):
            raise wrong(
                f"[{', '.join(wanted)}]",
                f"vpcConfig.{member}",
                "Member must satisfy constraint: [Member must have length less than or equal to 1024, Member "
                "must have length greater than or equal to 0, Member must satisfy regular expression "
                f"pattern: {pattern}]",
            )
    for group_id in set(network.get("SecurityGroupIds") or []) - groups:
        raise invalid(
            "Error occurred while DescribeSecurityGroups. EC2 Error Code: InvalidGroup.NotFound. EC2 Error "
            f"Message: The security group '{group_id}' does not exist"
        )
    for subnet_id in set(network.get("SubnetIds") or []) - subnets:
        raise invalid(
            "Error occurred while DescribeSubnets. EC2 Error Code: InvalidSubnetID.NotFound. EC2 Error "
            f"Message: The subnet ID '{subnet_id}' does not exist"
        )


# --- dead letters, logging ----------------------------------------------------------------------------


function_extras = rule(
    "function_extras",
    """DeadLetterConfig, LoggingConfig and SnapStart come back in every answer; a dead-letter queue must exist
    and the role must be allowed to send to it, which AWS knows 8 s (times `slow_states`) after the policy was
    written: InvalidParameterValueException. moto forgets them. Source: aws-facts (b), (j).""",
)


_EXTRAS = ("DeadLetterConfig", "LoggingConfig", "SnapStart")


@function_extras.around("lambda:CreateFunction", "lambda:UpdateFunctionConfiguration")
def _keep_extras(call: Call, proceed: Proceed) -> Any:
    asked = {name: call.get(name) for name in _EXTRAS if call.get(name)}
    target = asked.get("DeadLetterConfig", {}).get("TargetArn")
    if target:
        function = _function(call) if call.action.startswith("Update") else None
        _look_at_target(call, target, call.get("Role") or getattr(function, "role", ""))
    status, headers, body = proceed()
    function = find(call.account, call.region, json.loads(body)["FunctionName"])
    kept = life(function).more.get("LoggingConfig", {})
    if "LoggingConfig" in asked:
        asked["LoggingConfig"] = kept | asked["LoggingConfig"]
    more = life(function).more = life(function).more | asked
    if "DeadLetterConfig" in more and not more["DeadLetterConfig"].get("TargetArn"):
        del more["DeadLetterConfig"]  # an empty target takes it away
    shown = json.loads(body)
    shown.pop("DeadLetterConfig", None)  # moto has answered before it was taken away
    return status, headers, json.dumps(shown | _extras(function))


@function_extras.patch(LambdaFunction, "get_configuration")
def _show_extras(original: Any, function: LambdaFunction, on_create: bool = False) -> dict[str, Any]:
    found: dict[str, Any] = original(function, on_create) | _extras(function)
    return found


def _extras(function: LambdaFunction) -> dict[str, Any]:
    """What `get_configuration` shows of them."""
    more = life(function).more
    logging = {"LogFormat": "Text", "LogGroup": log_group(function)} | more.get("LoggingConfig", {})
    levels = {"ApplicationLogLevel": "INFO", "SystemLogLevel": "INFO"}
    if logging["LogFormat"] == "JSON":
        logging = levels | logging
    else:
        logging = {name: value for name, value in logging.items() if name not in levels}
    shown = {**more, "LoggingConfig": logging}
    if "SnapStart" in more:
        published = str(function.version) != "$LATEST" and more["SnapStart"]["ApplyOn"] == "PublishedVersions"
        shown["SnapStart"] = {
            "ApplyOn": more["SnapStart"]["ApplyOn"],
            "OptimizationStatus": "On" if published else "Off",
        }
    return shown


def _look_at_target(call: Call, target: str, role_arn: str) -> None:
    """Refuse a dead-letter target that is no queue of ours, or that the role may not write to."""
    parts = target.split(":")
    if parts[2:3] != ["sqs"]:
        raise Refused("NotImplemented", "The practice cloud sends dead letters to SQS queues only.", 501)
    known = sqs_backends[call.account][call.region].queues
    if parts[3:5] != [call.region, call.account] or parts[-1] not in known:
        raise invalid(f"The target ARN {target} of the dead-letter queue does not exist.")
    if not permissions.allows_by_now(call.account, role_arn, "sqs:SendMessage", target, call.region):
        raise invalid("The provided execution role does not have permissions to call SendMessage on SQS")


# --- concurrency --------------------------------------------------------------------------------------


@before("lambda:PutFunctionConcurrency")
def some_concurrency_stays_free(call: Call) -> None:
    """A reservation that leaves the other functions fewer than 100: InvalidParameterValueException.

    moto reserves anything. Source: aws-facts (j); Lambda developer guide, "Reserved concurrency".
    """
    function, wanted = _function(call), call.get("ReservedConcurrentExecutions")
    if function is None or wanted is None:
        return
    limit = int(quotas.limit(call.account, call.region, "lambda", CONCURRENCY))
    least = min(UNRESERVED, limit)
    if wanted and limit - wanted - reserved_by_others(function) < least:
        message = (
            "Specified ReservedConcurrentExecutions for function decreases account's "
            f"UnreservedConcurrentExecution below its minimum value of [{least}]."
        )
        raise Refused("InvalidParameterValueException", message, 400, Type="")


@before("lambda:PutFunctionConcurrency")
def concurrency_is_of_functions(call: Call) -> None:
    """Concurrency of a version or an alias: InvalidParameterValueException; an unknown function is spoken of
    with $LATEST. moto finds the function. Source: aws-facts (k).
    """
    name = named(call)
    if split(name)[1]:
        raise invalid(
            "This operation is permitted on Lambda functions only. Aliases and versions do not support this "
            "operation. Please specify either a function name or an unqualified function ARN."
        )
    find(call.account, call.region, name, "$LATEST")


@before("lambda:UpdateFunctionCode", "lambda:UpdateFunctionConfiguration", "lambda:PublishVersion")
def changes_are_of_what_was_seen(call: Call) -> None:
    """Another RevisionId than the function has now: PreconditionFailedException 412. moto does not look.

    Source: aws-facts (k).
    """
    if (function := _function(call)) is not None:
        look_at_revision(call, function.get_configuration().get("RevisionId", ""))


@before("lambda:PublishVersion")
def published_code_is_the_one_that_was_seen(call: Call) -> None:
    """Another CodeSha256 than that of $LATEST: InvalidParameterValueException. moto does not look.

    Source: aws-facts (k).
    """
    function, wanted = _function(call), call.get("CodeSha256")
    if function is not None and wanted and wanted != function.code_sha_256:
        raise invalid(
            f"CodeSHA256 ({wanted}) is different from current CodeSHA256 in $LATEST "
            f"({function.code_sha_256}). Please try again with the CodeSHA256 in $LATEST."
        )


def reserved_by_others(function: LambdaFunction) -> int:
    """What the other functions of the account have reserved in this Region."""
    held = get_backend(function.account_id, function.region)._lambdas._functions.values()
    return sum(
        int(each["latest"].reserved_concurrency or 0)
        for each in held
        if each["latest"] is not None and each["latest"].function_name != function.function_name
    )


# --- invoking -----------------------------------------------------------------------------------------


def unable(function: LambdaFunction) -> Refused | None:
    """What is said of a function that does not run here; None: it does."""
    runtime = function.run_time or ""
    if function.package_type == "Zip" and runtime.startswith("python3") and not function.layers:
        return None
    message = "The practice cloud runs functions in Python, from a zip, without layers; no others."
    return Refused("NotImplemented", message, 501)


def invocable(
    account: str, region: str, name: str, qualifier: str | None, payload: bytes, asynchronous: bool
) -> LambdaFunction:
    """The function that may be invoked with this; the caller holds the lock.

    Raises
    ------
    Refused
        ResourceNotFoundException, ResourceConflictException, RequestTooLargeException or
        InvalidRequestContentException.
    """
    function = find(account, region, name, qualifier)
    most = ASYNC_BYTES if asynchronous else SYNC_BYTES
    if len(payload) > most:
        kind = "Event" if asynchronous else "RequestResponse"
        message = (
            f"{len(payload)} byte payload is too large for the {kind} invocation type (limit {most} bytes)"
        )
        raise Refused("RequestTooLargeException", message, 413)
    if life(function).state == "Pending" and (refused := _busy(function)) is not None:
        raise refused
    try:
        json.loads((payload or b"{}").decode())
    except (ValueError, RecursionError) as problem:
        message = f"Could not parse request body into json: Could not parse payload into json: {problem}"
        raise Refused("InvalidRequestContentException", message, 400) from problem
    return function


@before("lambda:Invoke")
def invoke_looks_first(call: Call) -> None:
    """An unknown function 404, one that is Pending 409, a payload over 6 MB (asynchronous: 1 MB) 413, or
    one that is no JSON 400. moto: OK to all of them. Source: aws-facts (b), (g), (j).
    """
    body, headers = call.response.body, call.response.headers
    payload = body if isinstance(body, bytes) else str(body or "").encode()
    asynchronous = headers.get("X-Amz-Invocation-Type") == "Event"
    invocable(call.account, call.region, named(call), call.get("Qualifier"), payload, asynchronous)
