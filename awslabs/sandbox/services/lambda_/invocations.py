"""Lambda, running: functions of the practice cloud run for real.

    Invoke --> which function, may it run now?      functions.invocable, concurrency
           --> an execution environment             one that is warm, or a new one (environments.py)
           --> the handler                          timeout, memory limit
           --> the answer, and START ... REPORT     log stream in /aws/lambda/NAME, log tail

Asynchronous events wait in a queue of their own; an event that fails is tried twice more, after one and
two minutes (times `slow_states`), and then goes to the function's dead-letter queue and destination
(destinations.py). One that cannot run for now (throttled, a role too fresh) comes again.

What is like AWS: one event at a time per environment, reuse while warm, INIT of a cold start, timeouts,
the memory limit (resident memory, looked at 20 times per second and after each event), a share of one
processor in proportion to the memory, the environment variables, credentials of the function's role, errors
and their texts, throttles, log streams.
What is not: functions run with the practice cloud's own Python, whatever 3.x they ask for, on this
computer's processor; its share is not held back while a handler works: what that would have taken longer is
waited for at its end; at most `CAPACITY` run at a time, others wait; an idle environment is not frozen.
Layers, container images and other languages are refused.
"""

from __future__ import annotations

import base64
import collections
import dataclasses
import hashlib
import json
import logging
import math
import re
import secrets
import sys
import threading
import time
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from moto.awslambda.models import LambdaFunction
from moto.awslambda.utils import get_backend
from moto.core.request import Request
from moto.logs.models import logs_backends

from awslabs.sandbox import HOST
from awslabs.sandbox.core import engine, wire
from awslabs.sandbox.core.answers import Answer, as_json
from awslabs.sandbox.core.engine import Refused, scaled
from awslabs.sandbox.run.isolation import NoPlace
from awslabs.sandbox.run.loop import Loop
from awslabs.sandbox.services.iam import identities, permissions
from awslabs.sandbox.services.lambda_ import aliases, destinations, event_settings, shapes, sharing
from awslabs.sandbox.services.lambda_ import functions as strict
from awslabs.sandbox.services.lambda_.environments import (
    OUTPUT_BYTES,
    Ended,
    Environment,
    ForkServer,
    ForkServers,
    Reply,
    TooBig,
    TooLong,
)
from awslabs.sandbox.services.servicequotas import quotas

log = logging.getLogger("awslabs.sandbox")

# Execution environments on this computer. One costs 0.4 MB, with a boto3 client in it 15 MB, and a few ms.
CAPACITY = 200
INIT_S = 10.0  # what an import may take before it counts against the timeout
IDLE_S = 600.0  # how long an environment stays warm; AWS does not say, 5 to 15 minutes are seen
SWEEP_S = 5.0
LATE_S = 2.0  # how long AWS needs to deliver logs, at `slow_states` 1 (unsourced)
RETRY_S = (60.0, 120.0)  # Source: Lambda developer guide, "Asynchronous invocation error handling"
RETURNED_S = 1.0  # until an event that could not run is tried again, at `slow_states` 1: doubled each time
LEAST_WAIT_S = 0.05
DOUBLED = 8  # times at most: about 5 minutes on AWS
NEVER = (400, 404, 413, 501)  # refusals that nothing changes
OLDEST_S = 6 * 3600.0  # how long an event is kept
HOPS = 16  # of an event through destinations; Source: Lambda developer guide, "Recursive loop detection"
PLAIN_ARN = 6  # colons in the ARN of a function without a qualifier
TAIL_BYTES = 4096
KILLED = -9  # minus the signal
MB = 1024 * 1024


class Throttled(Refused):
    """Too many executions at a time; `reason` as in Invoke's answer."""

    def __init__(self, reason: str) -> None:
        super().__init__("TooManyRequestsException", "Rate Exceeded.", 429)
        self.reason = reason


@dataclasses.dataclass(frozen=True)
class Result:
    """What an invocation gave.

    Attributes
    ----------
    status : int
        200, or 202 for an event that was taken.
    payload : bytes
        JSON: the handler's answer, or, where `function_error` says so, an error with its type.
    function_error : str
        ``Unhandled``, or empty.
    log_tail : str
        The last 4 KB of the log, if it was asked for.
    request_id, version : str
        The invocation's id; which version of the function ran.
    """

    status: int
    payload: bytes
    function_error: str = ""
    log_tail: str = ""
    request_id: str = ""
    version: str = "$LATEST"


@dataclasses.dataclass(frozen=True)
class Version:
    """A function as it is at the moment of an invocation; equal ones share environments."""

    account: str
    region: str
    name: str
    version: str
    arn: str
    handler: str
    runtime: str
    role: str
    memory_mb: int
    timeout_s: int
    variables: tuple[tuple[str, str], ...]
    code: str  # SHA-256 of the zip
    log_group: str
    made: str  # tells a function from an earlier one of the same name
    invoked_arn: str = dataclasses.field(compare=False)  # as it was invoked: with an alias, with $LATEST


@dataclasses.dataclass
class Event:
    """An asynchronous invocation on its way."""

    account: str
    region: str
    name: str
    qualifier: str | None
    payload: bytes
    request_id: str
    generation: int
    born: float
    tries: int = 0
    returned: int = 0
    waited_s: float = 0.0  # between its tries, as AWS counts
    hops: int = 0  # destinations that it has come through


@dataclasses.dataclass
class Warm:
    """An environment with what belongs to it."""

    version: Version
    environment: Environment
    fork_server: ForkServer
    scratch: str
    stream: str
    init_ms: float | None = None  # of a cold start that no invocation has reported yet
    used: float = 0.0


class Journal:
    """The log of one invocation: events with their time, AWS's own lines among them."""

    def __init__(self) -> None:
        self.events: list[tuple[int, str]] = []

    def add(self, text: str) -> None:
        self.events.append((int(1000 * time.time()), text))

    def take(self, output: bytearray) -> None:
        """What a function has printed: an event per line."""
        text = output.decode("utf-8", "replace")
        if len(output) == OUTPUT_BYTES:
            text += f"\nThe practice cloud keeps {OUTPUT_BYTES} bytes of what an invocation prints, no more."
        output.clear()
        for line in text.split("\n"):
            if line:
                self.add(line.replace("\r", "\n") + "\n")

    def tail(self) -> str:
        """The last 4 KB."""
        data = "".join(text for _, text in self.events).encode()[-TAIL_BYTES:]
        return data.decode("utf-8", "ignore")


class Functions:
    """The running part of Lambda in one practice cloud. All methods may be called from any thread.

    Parameters
    ----------
    endpoint_url : str
        Where functions find AWS: ``http://127.0.0.1:PORT``.
    loop : Loop
        Of the practice run.
    """

    def __init__(self, endpoint_url: str, loop: Loop) -> None:
        self.endpoint_url = endpoint_url
        self.fork_servers = ForkServers(loop)
        self.changed = threading.Condition()
        self.idle: list[Warm] = []  # the one used last at the end
        self.alive = 0
        self.running: collections.Counter[tuple[str, str, str]] = collections.Counter()
        self.waiting: collections.deque[Event] = collections.deque()  # throttled
        self.generations: collections.Counter[str] = collections.Counter()
        self.workers = ThreadPoolExecutor(max_workers=CAPACITY, thread_name_prefix="event")
        self.closed = False
        self.later(SWEEP_S, self.workers.submit, self.sweep)

    def later(self, delay_s: float, action: Callable[..., Any], *args: Any) -> None:
        """Do something quick after so many seconds, unless all has ended by then."""
        assert engine.timer is not None  # functions run in the server alone

        def act() -> None:
            if not self.closed:
                action(*args)

        engine.timer.do(engine.clock.now() + delay_s, act)

    # -- invoking ---------------------------------------------------------------------------------

    def invoke(
        self,
        account: str,
        region: str,
        function_name: str,
        payload: bytes,
        *,
        qualifier: str | None = None,
        asynchronous: bool = False,
        log_tail: bool = False,
        client_context: dict[str, Any] | None = None,
    ) -> Result:
        """Run a function, or take an event for it. See the function `invoke` of this module."""
        request_id = str(uuid.uuid4())
        version, limits = self.look(account, region, function_name, qualifier, payload, asynchronous)
        if asynchronous:
            event = Event(
                account, region, function_name, qualifier, payload, request_id,
                self.generations[account], engine.clock.now(),
            )  # fmt: skip
            self.workers.submit(self.deliver, event)
            return Result(202, b"", request_id=request_id, version=version.version)
        result = self.run(version, limits, payload, request_id, client_context)
        return result if log_tail else dataclasses.replace(result, log_tail="")

    def look(
        self,
        account: str,
        region: str,
        name: str,
        qualifier: str | None,
        payload: bytes,
        asynchronous: bool,
    ) -> tuple[Version, tuple[int | None, int]]:
        """The function as it is now, with its reserved concurrency and what the account has left."""
        with engine.lock:
            function = strict.invocable(account, region, name, qualifier, payload, asynchronous)
            short, own = shapes.split(name)
            asked = qualifier or own
            latest = strict.find(account, region, short)
            if (alias := aliases.of(latest).get(asked)) is not None:
                function = strict.find(account, region, short, aliases.drawn(alias))
            if (unable := strict.unable(function)) is not None:
                raise unable
            limit = int(quotas.limit(account, region, "lambda", strict.CONCURRENCY))
            reserved = latest.reserved_concurrency
            limits = (
                None if reserved is None else int(reserved),
                limit - strict.reserved_by_others(function),
            )
            version = Version(
                account=account,
                region=region,
                name=function.function_name,
                version=str(function.version),
                arn=function.function_arn,
                handler=function.handler or "",
                runtime=str(function.run_time),
                role=function.role,
                memory_mb=int(function.memory_size),
                timeout_s=int(function.timeout),
                variables=tuple(sorted(function.environment_vars.items())),
                code=function.code_sha_256,
                log_group=strict.log_group(function),
                made=function.code.get("UUID", function.code_sha_256),
                invoked_arn=f"{latest.function_arn}:{asked}" if asked else latest.function_arn,
            )
        return version, limits

    def run(
        self,
        version: Version,
        limits: tuple[int | None, int],
        payload: bytes,
        request_id: str,
        client_context: dict[str, Any] | None = None,
    ) -> Result:
        """One event through one environment, now."""
        key = (version.account, version.region, version.name)
        generation = self.generations[version.account]
        self.admit(key, limits)
        try:
            journal = Journal()
            try:
                warm = self.environment(version, journal)
            except Ended:
                # Only a fork server that ended at this very moment leads here: with its account.
                raise Refused("ServiceException", "The account was reset.", 500) from None
            except NoPlace as problem:
                message = f"Functions cannot run on this computer: {problem}"
                raise Refused("ServiceException", message, 500) from None
            warm.version = version  # the same one, perhaps invoked by another name
            try:
                result, usable = self.perform(warm, journal, payload, request_id, client_context)
            except BaseException:  # such as an answer that only a runtime which was tampered with gives
                warm.environment.kill()
                self.release(warm, False)
                raise
        finally:
            with self.changed:
                self.running[key] -= 1
        self.release(warm, usable)
        self.publish(warm, journal, generation)
        self.pump()
        return dataclasses.replace(result, log_tail=journal.tail())

    def admit(self, key: tuple[str, str, str], limits: tuple[int | None, int]) -> None:
        """Count an execution, or refuse it."""
        reserved, left = limits
        with self.changed:
            if reserved is not None:
                if self.running[key] >= reserved:
                    raise Throttled("ReservedFunctionConcurrentInvocationLimitExceeded")
            elif sum(n for each, n in self.running.items() if each[:2] == key[:2]) >= left:
                raise Throttled("ConcurrentInvocationLimitExceeded")
            self.running[key] += 1

    def perform(
        self,
        warm: Warm,
        journal: Journal,
        payload: bytes,
        request_id: str,
        client_context: dict[str, Any] | None,
    ) -> tuple[Result, bool]:
        """Let an environment handle one event; whether it can handle another one."""
        version, began = warm.version, time.monotonic()
        wall = time.time()
        journal.add(f"START RequestId: {request_id} Version: {version.version}\n")
        header = {
            "request_id": request_id,
            "arn": version.invoked_arn,
            "deadline": wall + version.timeout_s,
            "trace_id": trace_id(),
            "client_context": client_context,
        }
        init_ms, error, kind, status, most = warm.init_ms, "", "", "", 0
        failure: dict[str, Any] = {}
        reply: Reply | None = None
        try:
            if init_ms is None:  # a new one, which is importing its handler
                ready = warm.environment.listen(
                    deadline=began + INIT_S + version.timeout_s, memory_bytes=version.memory_mb * MB
                )
                init_ms = warm.init_ms = ready.header["init_ms"]
                began, wall = time.monotonic(), time.time()
                header["deadline"] = wall + version.timeout_s
            else:
                init_ms = None
            reply = warm.environment.ask(
                header, payload, deadline=began + version.timeout_s, memory_bytes=version.memory_mb * MB
            )
            most = reply.header["memory_bytes"]
            if most > version.memory_mb * MB:
                raise TooBig(most)
        except TooLong:
            status = "timeout"
            error = f"Task timed out after {version.timeout_s:.2f} seconds"
            message = f"RequestId: {request_id} Error: {error}"
            failure = {"errorType": "Sandbox.Timedout", "errorMessage": message}
        except TooBig as big:
            most, status, kind, reply = big.memory_bytes, "error", "Runtime.OutOfMemory", None
            failure = exit_error(request_id, KILLED)
        except Ended as end:
            status, kind = "error", "Runtime.ExitError"
            failure = exit_error(request_id, end.status)
        milliseconds = 1000 * (time.monotonic() - began)
        if status == "timeout":
            milliseconds = 1000.0 * version.timeout_s
        if reply is None:
            most = most or warm.environment.memory_bytes()
            warm.environment.kill()
            init_ms = None
        journal.take(warm.environment.output)
        journal.add(f"END RequestId: {request_id}\n")
        journal.add(report(request_id, version, milliseconds, most, init_ms, status, kind))
        if status == "timeout":
            journal.add(f"{iso(time.time())} {request_id} {error}\n\n")
        worked = reply is not None and reply.header["ok"]
        payload = json.dumps(failure).encode() if reply is None else reply.body
        result = Result(
            200, payload, "" if worked else "Unhandled", request_id=request_id, version=version.version
        )
        return result, reply is not None

    # -- environments -----------------------------------------------------------------------------

    def environment(self, version: Version, journal: Journal) -> Warm:
        """One that is warm and idle, or a new one."""
        surplus = None
        with self.changed:
            for place in reversed(range(len(self.idle))):
                if self.idle[place].version == version:
                    return self.idle.pop(place)
            while self.alive >= CAPACITY and not self.idle:
                self.changed.wait()
            if self.alive >= CAPACITY:
                surplus = self.idle.pop(0)
            else:
                self.alive += 1
        try:
            if surplus is not None:
                self.end(surplus)
            return self.start_environment(version, journal)
        except BaseException:
            with self.changed:
                self.alive -= 1
                self.changed.notify()
            raise

    def start_environment(self, version: Version, journal: Journal) -> Warm:
        """Start a new environment."""
        with engine.lock:
            if not identities.assumable(version.account, version.role, "lambda.amazonaws.com"):
                message = "The role defined for the function cannot be assumed by Lambda."
                raise Refused("AccessDeniedException", message, 403)
            name = version.name if len(version.name) > 1 else f"{version.name}@lambda_function"
            session = permissions.new_credentials(version.account, version.role, name, version.region)
            code = strict.find(version.account, version.region, version.name, version.version).code_bytes
        fork_server = self.fork_servers.of(version.account)
        task = fork_server.unpack(hashlib.sha256(code).hexdigest()[:16], code)
        number = secrets.token_hex(16)
        stream = f"{time.strftime('%Y/%m/%d', time.gmtime())}/[{version.version}]{number}"
        scratch = fork_server.scratch(number)
        own = fork_server.own(task, scratch)
        if own:
            task, scratch = own
        variables = {
            **dict(version.variables),
            "_HANDLER": version.handler,
            "AWS_ACCESS_KEY_ID": session.access_key_id,
            "AWS_SECRET_ACCESS_KEY": session.secret_access_key,
            "AWS_SESSION_TOKEN": session.session_token,
            "AWS_REGION": version.region,
            "AWS_DEFAULT_REGION": version.region,
            "AWS_EXECUTION_ENV": f"AWS_Lambda_{version.runtime}",
            "AWS_LAMBDA_FUNCTION_NAME": version.name,
            "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(version.memory_mb),
            "AWS_LAMBDA_FUNCTION_VERSION": version.version,
            "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand",
            "AWS_LAMBDA_LOG_GROUP_NAME": version.log_group,
            "AWS_LAMBDA_LOG_STREAM_NAME": stream,
            "LAMBDA_TASK_ROOT": task,
            "LAMBDA_RUNTIME_DIR": "/var/runtime",
            "LANG": "en_US.UTF-8",
            "PATH": "/usr/local/bin:/usr/bin:/bin",
            "TZ": ":UTC",
            # What AWS has no need of: where AWS is, and what is the function's own on this computer.
            "AWS_ENDPOINT_URL": self.endpoint_url,
            "NO_PROXY": HOST,
            "HOME": scratch,
            "TMPDIR": scratch,
        }
        python = ".".join(map(str, sys.version_info[:3]))
        journal.add(
            f"INIT_START Runtime Version: {version.runtime}, here python:{python} of the practice cloud\n"
        )
        order = {"environment": variables, "task": task, "handler": version.handler, "own": own}
        return Warm(version, fork_server.fork(order), fork_server, number, stream)

    def release(self, warm: Warm, usable: bool) -> None:
        """Keep an environment for the next event, or forget it."""
        warm.used = engine.clock.now()
        with self.changed:
            if usable:
                self.idle.append(warm)
            else:
                self.alive -= 1
            self.changed.notify()
        if not usable:
            warm.fork_server.discard(warm.scratch)

    def end(self, warm: Warm) -> None:
        """End an idle environment."""
        warm.environment.kill()
        warm.fork_server.discard(warm.scratch)

    def sweep(self) -> None:
        """End environments that are idle for long, or whose function has changed or gone."""
        now = engine.clock.now()
        with self.changed:
            versions = {warm.version for warm in self.idle}
        current = {version for version in versions if self.is_current(version)}
        with self.changed:
            doomed = [w for w in self.idle if w.version not in current or w.used < now - IDLE_S]
            doomed = [w for w in doomed if w.version in versions]
            self.idle = [w for w in self.idle if w not in doomed]
            self.alive -= len(doomed)
            self.changed.notify_all()
        for warm in doomed:
            self.end(warm)
        self.later(SWEEP_S, self.workers.submit, self.sweep)

    def is_current(self, version: Version) -> bool:
        """Whether a function is still what it was."""
        try:
            now, _ = self.look(version.account, version.region, version.arn, None, b"", False)
        except Refused:
            return False
        return now == version

    # -- asynchronous events ----------------------------------------------------------------------

    def deliver(self, event: Event) -> None:
        """Try an event once; what comes then depends on how it went."""
        with engine.quiet(f"an event of {event.account} {event.name}"):
            if event.generation != self.generations[event.account]:
                return
            version = None
            try:
                where = (event.account, event.region, event.name, event.qualifier, event.payload, True)
                version, limits = self.look(*where)
                if limits[0] == 0:
                    self.finish(event, version, "ZeroReservedConcurrency")
                    return
                result = self.run(version, limits, event.payload, event.request_id)
            except Refused as refused:
                self.put_back(event, refused, version)
                return
            event.tries += 1
            settings = self.settings(event)
            oldest_s = settings.get("MaximumEventAgeInSeconds", OLDEST_S)
            if not result.function_error:
                self.finish(event, version, "Success", result)
            elif event.tries > settings.get("MaximumRetryAttempts", len(RETRY_S)):
                self.finish(event, version, "RetriesExhausted", result)
            elif event.waited_s + RETRY_S[event.tries - 1] >= oldest_s:  # AWS does not wait for that
                self.finish(event, version, "EventAgeExceeded", result)
            else:
                delay_s = RETRY_S[event.tries - 1]
                event.waited_s += delay_s
                self.later(scaled(delay_s), self.workers.submit, self.deliver, event)

    def settings(self, event: Event) -> dict[str, Any]:
        """What is set for asynchronous events of the function, version or alias; nothing, if it is gone."""
        with engine.lock:
            latest = strict.known(event.account, event.region, shapes.split(event.name)[0])
            return {} if latest is None else event_settings.of(latest, event.name, event.qualifier)

    def finish(self, event: Event, version: Version, condition: str, result: Result | None = None) -> None:
        """Tell the destinations how an event has ended, and send one that failed to the dead-letter queue."""
        worked = condition == "Success"
        where = self.settings(event).get("DestinationConfig", {})
        destination = where.get("OnSuccess" if worked else "OnFailure", {}).get("Destination", "")
        plain = version.invoked_arn.count(":") == PLAIN_ARN
        told = destinations.record(
            f"{version.invoked_arn}:$LATEST" if plain else version.invoked_arn,
            event.request_id,
            event.payload,
            iso(time.time()),
            (condition, event.tries),
            (result.version, result.function_error, result.payload) if result else None,
        )
        with engine.lock:
            if event.generation != self.generations[event.account]:
                return
            letters = self.dead_letters(event)
            place = event.account, event.region, version.role
            if letters and not worked:
                error = json.loads(result.payload).get("errorMessage", "") if result else "Rate Exceeded."
                attributes = {
                    "RequestID": ("String", event.request_id),
                    "ErrorCode": ("Number", "200" if result else "429"),
                    "ErrorMessage": ("String", str(error)[:1024] or "Unknown"),
                }
                destinations.send(*place, letters, event.payload.decode() or "{}", attributes)
            if ":sqs:" in destination:
                destinations.send(*place, destination, json.dumps(told), {}, trace_id())
            elif destination and not permissions.allows(
                event.account, version.role, "lambda:InvokeFunction", destination, event.region
            ):
                log.info("%s may not invoke %s: a record is lost", version.role, destination)
            elif destination and event.hops >= HOPS:
                log.info("a record to %s is dropped: %d functions in a row", destination, HOPS)
            elif destination:
                onward = dataclasses.replace(
                    event, name=destination, qualifier=None, payload=json.dumps(told).encode(),
                    request_id=str(uuid.uuid4()), born=engine.clock.now(), tries=0, returned=0,
                    waited_s=0.0, hops=event.hops + 1,
                )  # fmt: skip
                self.workers.submit(self.deliver, onward)

    def dead_letters(self, event: Event) -> str:
        """The dead-letter queue of a function that may be gone; the caller holds the lock."""
        function = strict.known(event.account, event.region, event.name, event.qualifier)
        more = strict.life(function).more if function is not None else {}
        return str(more.get("DeadLetterConfig", {}).get("TargetArn", ""))

    def put_back(self, event: Event, refused: Refused, version: Version | None) -> None:
        """Keep an event that could not run now: throttled, or its role is too fresh to be assumed.

        It comes again after 1 s, 2 s, 4 s ... (times `slow_states`), for six hours at most; one that was
        throttled also as soon as another has run. What will never run is dropped: the function is gone, or
        such a one as does not run here, or a record for a destination is too large for it.
        Source: Lambda developer guide, "Asynchronous invocation error handling", of 429 and 500s; that
        AWS does so for a role too: unsourced.
        """
        oldest_s = self.settings(event).get("MaximumEventAgeInSeconds", OLDEST_S)
        too_old = engine.clock.now() - event.born >= oldest_s
        if too_old or refused.status in NEVER:
            log.info("an event of %s %s is dropped: %s", event.account, event.name, refused.message)
            if version is not None:
                self.finish(event, version, "EventAgeExceeded")
            return
        delay_s = max(LEAST_WAIT_S, scaled(RETURNED_S)) * 2 ** min(event.returned, DOUBLED)
        event.returned += 1
        if isinstance(refused, Throttled):
            with self.changed:
                self.waiting.append(event)
            self.later(delay_s, self.pump)
        else:
            self.later(delay_s, self.workers.submit, self.deliver, event)

    def pump(self) -> None:
        """Try the oldest event that was throttled once more."""
        with self.changed:
            event = self.waiting.popleft() if self.waiting else None
        if event is not None:
            self.workers.submit(self.deliver, event)

    # -- logs -------------------------------------------------------------------------------------

    def publish(self, warm: Warm, journal: Journal, generation: int) -> None:
        """Bring a log to CloudWatch Logs: late, as on AWS, unless the weather has no delays."""
        delay_s = scaled(LATE_S)
        if delay_s:
            self.later(delay_s, self.write, warm, journal, generation)
        else:
            self.write(warm, journal, generation)

    def write(self, warm: Warm, journal: Journal, generation: int) -> None:
        """Put a log into its stream, as far as the function's role may.

        A group that is not there is made, if the role may: also when it was deleted a moment ago.
        Source: aws-facts (a), (e).
        """
        version = warm.version
        arn = permissions.log_arn(version.account, version.region, version.log_group, warm.stream)
        with engine.lock:
            if generation != self.generations[version.account]:
                return

            def may(action: str, resource: str = arn) -> bool:
                return permissions.allows(
                    version.account, version.role, f"logs:{action}", resource, version.region
                )

            backend = logs_backends[version.account][version.region]
            if version.log_group not in backend.groups:
                group = permissions.log_arn(version.account, version.region, version.log_group)
                if not may("CreateLogGroup", group):
                    return
                backend.create_log_group(version.log_group, {})
            if warm.stream not in backend.groups[version.log_group].streams:
                if not may("CreateLogStream"):
                    return
                backend.create_log_stream(version.log_group, warm.stream)
            if may("PutLogEvents"):
                events = [{"timestamp": at, "message": text} for at, text in journal.events]
                backend.put_log_events(version.log_group, warm.stream, events)

    # -- the end ----------------------------------------------------------------------------------

    def reset(self, account: str) -> None:
        """End all functions of an account, and forget its events."""
        with self.changed:
            self.generations[account] += 1
            gone = [warm for warm in self.idle if warm.version.account == account]
            self.idle = [warm for warm in self.idle if warm.version.account != account]
            self.alive -= len(gone)
            self.waiting = collections.deque(e for e in self.waiting if e.account != account)
            self.changed.notify_all()
        self.fork_servers.end(account)
        for warm in gone:
            warm.environment.kill()

    def close(self) -> None:
        """End everything."""
        self.closed = True
        for account in list(self.fork_servers.held):
            self.reset(account)
        self.fork_servers.close()
        self.workers.shutdown(wait=True, cancel_futures=True)


def told_by_client(sent: str) -> dict[str, Any] | None:
    """What a client says of itself; InvalidRequestContentException where nobody can read it."""
    try:
        told = json.loads(base64.b64decode(sent, validate=True)) if sent else None
    except (ValueError, RecursionError):
        told = ""
    if told is not None and not isinstance(told, dict):
        message = "Client context must be a valid Base64-encoded JSON object."
        raise Refused("InvalidRequestContentException", message, 400, Type="")
    return told


def refusal(call: wire.Call, refused: Refused) -> Answer:
    """A refused invocation. A function that is not there is named with its version: aws-facts (k)."""
    request_id, message = str(uuid.uuid4()), refused.message
    if refused.code == "NotImplemented":
        return wire.error(call, refused.code, message, request_id, refused.status)
    if re.fullmatch(r"Function not found: arn:[^:]+(:[^:]+){5}", message):
        message += ":$LATEST"
    status, headers, text = shapes.error(refused.code, message, refused.status, "Type" not in refused.more)
    said = {"content-type": "application/json", "x-amzn-errortype": headers["x-amzn-errortype"]}
    return Answer(status, said | {"x-amzn-requestid": request_id}, text.encode())


def exit_error(request_id: str, status: int | None) -> dict[str, Any]:
    """What AWS says of a process that has ended with this status; negative: minus a signal."""
    how = f"with error: exit status {status}"
    if not status:
        how = "without providing a reason"
    elif status < 0:
        names = {KILLED: "killed", -11: "segmentation fault", -6: "aborted", -15: "terminated"}
        how = f"with error: signal: {names.get(status, -status)}"
    message = f"RequestId: {request_id} Error: Runtime exited {how}"
    return {"errorType": "Runtime.ExitError", "errorMessage": message}


def report(
    request_id: str,
    version: Version,
    milliseconds: float,
    memory_bytes: int,
    init_ms: float | None,
    status: str,
    kind: str,
) -> str:
    """The REPORT line. The time of a cold start is billed, too (AWS, since 2025-08-01; unsourced)."""
    billed = math.ceil(milliseconds + (init_ms or 0.0))
    used = min(version.memory_mb, math.ceil(memory_bytes / MB))
    fields = [
        f"REPORT RequestId: {request_id}",
        f"Duration: {milliseconds:.2f} ms",
        f"Billed Duration: {billed} ms",
        f"Memory Size: {version.memory_mb} MB",
        f"Max Memory Used: {used} MB",
    ]
    if init_ms is not None:
        fields.append(f"Init Duration: {init_ms:.2f} ms")
    if status:
        fields.append(f"Status: {status}")
    if kind:
        fields.append(f"Error Type: {kind}")
    return "\t".join(fields) + "\t\n"


def iso(at: float) -> str:
    """A time as AWS writes it into logs."""
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(at)) + f".{int(1000 * at) % 1000:03d}Z"


def trace_id() -> str:
    """What X-Ray would follow; not sampled."""
    root = f"1-{int(time.time()):08x}-{secrets.token_hex(12)}"
    return f"Root={root};Parent={secrets.token_hex(8)};Sampled=0;Lineage=1:{secrets.token_hex(4)}:0"


# --- the one of this process ----------------------------------------------------------------------------

current: Functions | None = None


def invoke(
    account: str,
    region: str,
    function_name: str,
    payload: bytes,
    *,
    asynchronous: bool = False,
) -> Result:
    """Invoke a function from inside the practice cloud: API Gateway does.

    Not to be called with `engine.lock` held: a function may call AWS itself.

    Parameters
    ----------
    function_name : str
        Name, ``NAME:QUALIFIER`` or ARN.
    payload : bytes
        JSON; at most 6 MB, asynchronous 1 MB.
    asynchronous : bool
        Take the event and return at once, with status 202.

    Raises
    ------
    Refused
        ResourceNotFoundException, TooManyRequestsException (`Throttled`), and whatever else Lambda's
        Invoke answers, with `code`, `message` and `status`.
    """
    if current is None:
        raise RuntimeError("this practice cloud has no running part of Lambda")
    return current.invoke(account, region, function_name, payload, asynchronous=asynchronous)


@engine.in_server("lambda:Invoke")
def _invoke(call: wire.Call, request: Request, body: bytes) -> Answer:
    part = current  # which `close` takes away at any time
    assert part is not None
    account, region = request.environ["HTTP_X_MOTO_ACCOUNT_ID"], permissions.region_of(request)
    match = re.search(r"/functions/(.+)/invocations/?$", request.path)
    assert match is not None  # it is an Invoke
    qualifier = request.args.get("Qualifier")
    kind = request.headers.get("X-Amz-Invocation-Type", "RequestResponse")
    log_type = request.headers.get("X-Amz-Log-Type")
    asked = {"FunctionName": match[1]} | ({"Qualifier": qualifier} if qualifier else {})
    try:
        shapes.look_at_word("invocationType", kind, ("Event", "RequestResponse", "DryRun"))
        shapes.look_at_word("logType", log_type, ("None", "Tail"))
        shapes.look_at("Invoke", asked, region)
        context = told_by_client(request.headers.get("X-Amz-Client-Context", ""))
        if (owner := sharing.owner(match[1], account)) != account:
            with engine.lock:
                caller = identities.caller_of(account, "aws", call.access_key, region)
                sharing.look_at_policy(match[1], region, "Invoke", caller)
            account = owner
        if kind == "DryRun":  # it needs no runtime
            with engine.lock:
                strict.invocable(account, region, match[1], qualifier, body, False)
            return Answer(204, {}, b"")
        result = part.invoke(
            account,
            region,
            match[1],
            body,
            qualifier=qualifier,
            asynchronous=kind == "Event",
            log_tail=log_type == "Tail",
            client_context=context,
        )
    except Throttled as throttled:
        said = {"Reason": throttled.reason, "Type": "User", "message": throttled.message}
        return as_json(429, said, **{"x-amzn-errortype": throttled.code})
    except Refused as refused:
        return refusal(call, refused)
    headers = {"x-amzn-requestid": result.request_id}
    if kind != "Event":
        headers["X-Amz-Executed-Version"] = result.version
    if result.function_error:
        headers["X-Amz-Function-Error"] = result.function_error
    if result.log_tail:
        headers["X-Amz-Log-Result"] = base64.b64encode(result.log_tail.encode()).decode()
    return Answer(result.status, {"Content-Type": "application/json", **headers}, result.payload)


@engine.in_server("lambda:GetAccountSettings")
def _settings(call: wire.Call, request: Request, body: bytes) -> Answer:
    """GetAccountSettings, which moto lacks."""
    account, region = request.environ["HTTP_X_MOTO_ACCOUNT_ID"], permissions.region_of(request)
    with engine.lock:
        limit = int(quotas.limit(account, region, "lambda", strict.CONCURRENCY))
        backend = get_backend(account, region)
        held: list[LambdaFunction] = list(backend.list_functions())
        reserved = sum(int(each.reserved_concurrency or 0) for each in held)
        versions = [each for one in backend._lambdas._functions.values() for each in one["versions"]]
        layers = [each for one in backend._layers._layers.values() for each in one.layer_versions.values()]
        size = sum(each.code_size for each in (*held, *versions, *layers))
    limits = {
        "TotalCodeSize": 80_530_636_800,
        "CodeSizeUnzipped": strict.UNZIPPED_BYTES,
        "CodeSizeZipped": strict.ZIP_BYTES,
        "ConcurrentExecutions": limit,
        "UnreservedConcurrentExecutions": limit - reserved,
    }
    usage = {"TotalCodeSize": size, "FunctionCount": len(held)}
    return as_json(200, {"AccountLimit": limits, "AccountUsage": usage})


def add_handlers(cloud: Any) -> None:
    """Add its handlers to a practice cloud (`server.Cloud`)."""
    global current
    current = Functions(cloud.run.endpoint_url, cloud.loop)


def reset(account: str) -> None:
    """Forget what an account has here."""
    if current is not None:
        current.reset(account)


def close() -> None:
    """End everything here."""
    global current
    if current is not None:
        part, current = current, None
        part.close()
