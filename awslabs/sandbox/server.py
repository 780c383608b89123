"""The background process of the practice cloud: moto, with weather and rules, on one loopback port.

    a client's request
      |  Handler      HTTP/1.1, one thread per connection, which stays open between calls
      |  Cloud        who may come in; routes that are not AWS's (control)
      |    wire         which operation is this?
      |    signatures   and who signed it?
      |    weather      latency, faults
      |    engine.TABLE what a running part answers by itself
      |    moto         everything else, one call at a time, through the strict rules of the same table
      v
    an answer, a recorded call, a line in the log

Start it with `awslabs.sandbox.start`: it expects its orders on standard input.
"""

from __future__ import annotations

import collections
import dataclasses
import functools
import gc
import hashlib
import hmac
import io
import json
import logging
import os
import re
import shutil
import signal
import socket
import sys
import threading
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO, NoReturn

from awslabs.sandbox.core import light as light  # isort: skip  # before moto

from botocore.exceptions import ClientError
from moto.backends import get_backend
from moto.core.base_backend import BackendDict
from moto.core.config import default_user_config
from moto.core.request import Request
from moto.core.utils import get_service_model
from moto.iam.models import iam_backends
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, MotoRequestHandler
from werkzeug.exceptions import ClientDisconnected, HTTPException, MethodNotAllowed, NotFound
from werkzeug.routing import BaseConverter, Map, Rule
from werkzeug.serving import ThreadedWSGIServer, WSGIRequestHandler
from werkzeug.wsgi import LimitedStream

from awslabs.sandbox import (
    ACCOUNT,
    HOST,
    KEY_PREFIX,
    TOKEN_HEADER,
    Host,
    Run,
    born,
    forget,
    front,
    remove_tree,
    rules,
    running_parts,
    services,
    write_note,
)
from awslabs.sandbox.core import engine, moto_changes, signatures, weather, wire
from awslabs.sandbox.core.answers import Answer, as_json, as_text
from awslabs.sandbox.run import isolation
from awslabs.sandbox.run.loop import Loop
from awslabs.sandbox.services import accounts
from awslabs.sandbox.services.iam import permissions
from awslabs.sandbox.services.s3 import posts
from awslabs.sandbox.ssh.hosts import Hosts

log = logging.getLogger("awslabs.sandbox")

PIECE = 4 << 20  # bytes of a large body that are hashed while the client sends more
UUID_LENGTH = 36
KEPT_CALLS = 20_000  # recorded calls per account: a day of a class, about 5 MB
PRACTICE_KEY = re.compile(KEY_PREFIX + r"(\d{12})")
PRELOADED = ("ec2", "sts", "iam", "ssm", "servicequotas", "resourcegroupstaggingapi")

# Calls that AWS takes without a signature, as those who make them have no credentials yet.
UNSIGNED = {"sts:AssumeRoleWithSAML", "sts:AssumeRoleWithWebIdentity"}

# Operations that run what the caller brought. moto answers as if it had; nothing runs here, so it is said.
NOTHING_RUNS = {
    "codebuild:StartBuild",
    "ecs:CreateService",
    "ecs:CreateTaskSet",
    "ecs:StartTask",
    "emr:RunJobFlow",
    "lambda:InvokeAsync",
    "lambda:InvokeWithResponseStream",
    "sagemaker:CreateProcessingJob",
    "sagemaker:CreateTrainingJob",
    "ssm:SendCommand",
    "stepfunctions:GetActivityTask",  # and moto would wait a minute for it, with all calls behind it
    "stepfunctions:StartExecution",
}

# Operations whose keys moto takes from a page of AWS's documents: nobody could sign with them.
NO_KEYS = {"sts:GetFederationToken", "sts:GetSessionToken"}


class Cut(Exception):
    """Close the connection without an answer."""


class Unknown(NotImplementedError):
    """moto has no such service or operation."""


class Regex(BaseConverter):
    """A part of a path, as moto describes it; there may be line breaks in a key of S3."""

    part_isolating = False

    def __init__(self, url_map: Map, regex: str) -> None:
        super().__init__(url_map)
        self.regex = f"(?s:{regex})"


class Asked(Request):
    """A request that came by HTTP, as moto wants to see it."""

    from_wsgi_server = True


class Service:
    """What moto answers at the addresses of one service."""

    def __init__(self, name: Any) -> None:
        held: Any = get_backend(name)
        if isinstance(held, BackendDict):
            held = held[ACCOUNT]
            paths = held["us-east-1" if "us-east-1" in held else "aws"].flask_paths
        else:
            paths = held["global"].flask_paths
        known = [Rule(path, endpoint=who, strict_slashes=False) for path, who in paths.items() if path]
        self.paths = Map(known, converters={"regex": Regex})
        self.only = next(iter(paths.values())) if len(set(paths.values())) == 1 else None

    def answer(self, request: Request) -> Any:
        """What moto makes of a request: body, or status, headers and body."""
        if self.only and not request.environ[engine.ASKED].known:
            raise Unknown
        try:
            handler = self.only or self.paths.bind_to_environ(request.environ).match()[0]
        except (NotFound, MethodNotAllowed):
            raise Unknown from None
        try:
            return engine.dispatch(handler, request, request.raw_url, request.headers)
        except HTTPException as problem:
            return problem.code, dict(problem.get_headers()), problem.get_body()
        except ClientError as problem:
            return 400, {}, problem.response["Error"]["Message"]


class Moto(DomainDispatcherApplication):
    """moto, which says so when it does not know a service or operation; its web application is not needed."""

    def __init__(self) -> None:
        super().__init__(self.create)  # type: ignore[arg-type]
        self.get_backend_for_host = functools.lru_cache(maxsize=4096)(self.find)  # type: ignore[method-assign]

    def create(self, name: Any) -> Service:
        """One service of moto's."""
        service = Service(name)
        if name == "swf":
            sys.modules["moto.swf.models"].sleep = engine.rest  # type: ignore[attr-defined]  # in a poll
        return service

    def find(self, host: str | None) -> Any:
        """Which part of moto serves this AWS host name."""
        found = super().get_backend_for_host(host)
        if host and not found:
            raise Unknown
        return found

    def get_service_from_path(self, path_info: str) -> tuple[None, None]:
        """No service is named by a path here: moto does so for its requests to itself, unsigned."""
        return None, None

    def call(self, request: Request) -> Answer:
        """One request through moto."""
        if request.method == "GET" and request.environ[engine.ASKED].protocol == "query":
            request = posted(request)
        service: Any = self.get_application(request.environ)
        answer = service.answer(request)
        status, headers, body = answer if isinstance(answer, tuple) else (200, {}, answer)
        named = {name.lower(): str(value) for name, value in headers.items()}
        if any("\n" in value or "\r" in value for value in named.values()):
            raise ValueError("a header of the answer has a line break")
        return Answer(int(status), named, body.encode() if isinstance(body, str) else body or b"")


def no_action(call: wire.Call, request_id: str) -> Answer | None:
    """What SQS says to an address without an action, and to an action that it does not have.

    Source: aws-facts (k).
    """
    if not call.known and call.operation.startswith("GET "):
        return Answer(404, {"content-type": "text/xml"}, b"<UnknownOperationException/>\n")
    if call.protocol == "query" and call.operation not in get_service_model("sqs").operation_names:
        message = f"The action {call.operation} is not valid for this endpoint."
        return wire.error(call, "InvalidAction", message, request_id)
    return None


def posted(request: Request) -> Request:
    """A call of the query protocol that came by GET, as the POST that it could have been, for moto."""
    form = request.query_string
    environ = {**request.environ, "REQUEST_METHOD": "POST", "wsgi.input": io.BytesIO(form)}
    environ |= {"CONTENT_TYPE": "application/x-www-form-urlencoded", "CONTENT_LENGTH": str(len(form))}
    if signed := request.args.get("X-Amz-Credential"):
        environ.setdefault("HTTP_AUTHORIZATION", f"AWS4-HMAC-SHA256 Credential={signed}")
    return Asked(environ)


Route = Callable[[Request, bytes], Answer]
Stream = Callable[[Request, BinaryIO], Any]


class Cloud:
    """The practice cloud, from a request to its answer.

    Parameters
    ----------
    run : Run
        Its address and token.
    hosts : Hosts
        The instances that run for real.
    loop : Loop
        In which they listen, and running parts start processes.

    Attributes
    ----------
    routes : dict
        Path prefix to a function: addresses that are not AWS's own API. Running parts add theirs.
    streams : dict
        The same for bodies too large for the memory: the function gets a file to read the body from, and
        answers with bytes, with a `Path`, which is sent piece by piece, or with None: cut the connection.
    """

    def __init__(self, run: Run, hosts: Hosts, loop: Loop) -> None:
        self.run, self.hosts, self.loop = run, hosts, loop
        self.began = time.time()
        self.moto = Moto()
        self.recorded: dict[str, collections.deque[dict[str, Any]]] = {}
        address = run.endpoint_url.removeprefix("http://")
        self.names = {address, address.replace(HOST, "localhost")}
        self.routes: dict[str, Route] = {
            "/_awslabs/": self.control,
            "/moto-api": nothing_here,
            "/latest/": nothing_here,  # moto would play the metadata service of an instance, for anybody
            "/favicon.ico": nothing_here,
        }
        self.streams: dict[str, Stream] = {}

    def stream(self, environ: dict[str, Any]) -> Stream | None:
        """Who reads the body of this request by himself, if anyone does. Calls to AWS are signed."""
        running_parts.asked(environ["PATH_INFO"])
        signed = environ.get("HTTP_AUTHORIZATION", "").startswith("AWS4-")
        for prefix, stream in self.streams.items():
            if environ["PATH_INFO"].startswith(prefix) and environ.get("HTTP_HOST") in self.names:
                return None if signed else stream
        return None

    def answer(self, environ: dict[str, Any], body: bytes) -> Answer:
        """Answer one request, or raise `Cut`."""
        environ["wsgi.input"] = io.BytesIO(body)  # whoever looks into the form does not wait for the client
        request = Asked(environ)
        if environ.get("HTTP_HOST") not in self.names:
            # A web page whose name was made to point here (DNS rebinding) says another name.
            return as_text(403, f"The practice cloud answers at {self.run.endpoint_url} only.")
        if front.wants_page(environ):
            return front.page(self.run.directory.parent)
        for prefix, route in self.routes.items():
            if request.path.startswith(prefix):
                return route(request, body)
        origin = request.headers.get("Origin")
        if origin and origin.removeprefix("http://") not in self.names:
            return as_text(403, f"The practice cloud does not take calls from web pages of {origin}.")
        if brings_credentials(request) and (origin or request.headers.get("Sec-Fetch-Site") == "same-origin"):
            return as_text(403, "The practice cloud takes no signed calls from web pages in its own buckets.")
        return self.aws(request, body)

    def aws(self, request: Request, body: bytes) -> Answer:
        """A call to AWS, in today's weather."""
        at, began = time.time(), time.perf_counter()
        request.environ["wsgi.input"] = io.BytesIO(body)  # else who looks for a form waits at the socket
        call = wire.read(request, body)
        request_id = str(uuid.uuid4())
        try:
            signer = signatures.verify(request.environ["awslabs.sent"](body), self.key_of, at)
            if signer and (call.service, call.protocol != "rest-xml") == ("s3", True):
                # moto would take a form for a call to any service, and S3's bodies need not be signed.
                raise signatures.Unproven("SignatureDoesNotMatch", signatures.MISMATCH)
        except signatures.Unproven as problem:
            code, message = problem.named(call.protocol, call.service)
            log.info("%s is not let in: %s", call.name, code)  # recorded nowhere: whose call would it be?
            return wire.error(call, code, message, request_id, 0, **problem.more)
        call = dataclasses.replace(call, access_key=signer, signed=(call.signed or "query") if signer else "")
        account = account_of(signer)
        if weather.current.latency_ms:
            time.sleep(weather.current.latency_ms / 1000)
        fault = weather.current.draw(call.name, account)
        if fault in (None, weather.CUT):
            answer = self.perform(call, request, body, account, request_id)
        elif fault != weather.CUT_BEFORE:
            message = f"The weather of the practice cloud: {call.name} fails with {fault}."
            answer = wire.error(call, fault, message, request_id)
        cut = fault in (weather.CUT, weather.CUT_BEFORE)
        row: dict[str, Any] = {
            "account": account,
            "operation": call.name,
            "at": at,
            "seconds": time.perf_counter() - began,
            "status": None if cut else answer.status,
            "code": fault if cut else wire.code_of(answer),
        }
        if decisions := request.environ.get("awslabs.decisions"):  # of a user or a role, which are judged
            row |= {"key": call.access_key, "decisions": decisions}
        self.recorded.setdefault(account, collections.deque(maxlen=KEPT_CALLS)).append(row)
        status, milliseconds = row["status"] or "-", 1000 * row["seconds"]
        log.info("%s %s %s %s %.1f ms", account, call.name, status, row["code"], milliseconds)
        if cut:
            raise Cut
        answer = answer._replace(headers={name.lower(): value for name, value in answer.headers.items()})
        if call.service == "s3":
            answer.headers.pop("x-amzn-requestid", None)
            answer.headers.setdefault("x-amz-request-id", request_id)
            answer.headers.setdefault("x-amz-id-2", wire.host_of(request_id))
        elif len(answer.headers.get("x-amzn-requestid", "")) != UUID_LENGTH and call.service != "dynamodb":
            answer.headers["x-amzn-requestid"] = request_id  # moto's look like those of DynamoDB
        if answer.body and (kind := wire.content_type(call)):
            answer.headers.setdefault("content-type", kind)
        return answer

    def perform(
        self, call: wire.Call, request: Request, body: bytes, account: str, request_id: str
    ) -> Answer:
        """A call to AWS in good weather."""
        if call.name == posts.OPERATION:
            put = functools.partial(self.perform, account=account, request_id=request_id)
            return posts.answer(call, request, body, put, request_id)
        if not may_come_in(call):
            code, message = "MissingAuthenticationToken", "Request is missing Authentication Token"
            if call.protocol == "rest-xml":
                code, message = "AccessDenied", "Access Denied"
            return wire.error(call, code, message, request_id)
        request.environ |= {"HTTP_X_MOTO_ACCOUNT_ID": account, engine.ASKED: call}
        request.environ["wsgi.input"] = io.BytesIO(body)
        services.called(call.service)  # before it is judged: whose a thing is, its service's rules tell
        decisions = request.environ["awslabs.decisions"] = []
        refused = permissions.refusal(call, account, request, body, decisions)
        if refused:
            return wire.error(call, *refused, request_id)
        try:
            if call.service == "sqs" and (answer := no_action(call, request_id)):
                return answer
            if answers := engine.served(call.name):
                found: Answer = answers(call, request, body)
                return found
            with rules.lock:
                answer = self.moto.call(request)
            if answer.status == 404 and not call.known and not answer.body and request.method != "HEAD":
                raise Unknown
            return answer
        except NotImplementedError as problem:
            why = "" if isinstance(problem, Unknown) else f" ({problem})"
            message = f"The practice cloud does not know {call.name}{why}."
        except Exception as problem:
            log.exception("%s fell over", call.name)
            message = f"The practice cloud cannot answer this {call.name}: moto stumbled ({problem!r})."
        # 501 and no 500: clients would send it again and again.
        return wire.error(call, "NotImplemented", message, request_id, status=501)

    def record_decision(self, account: str, access_key: str, decision: dict[str, Any]) -> None:
        """What the registry has decided about a user; its requests are no calls, and not recorded else."""
        status, code = (200, "") if decision["allowed"] else (403, "DENIED")
        row = {"account": account, "operation": decision["action"], "at": time.time(), "seconds": 0.0}
        row |= {"status": status, "code": code, "key": access_key, "decisions": [decision]}
        self.recorded.setdefault(account, collections.deque(maxlen=KEPT_CALLS)).append(row)

    def key_of(self, access_key: str) -> signatures.Key | None:
        """The secret of an access key: of an account here, of an IAM user, or of a role's session."""
        if PRACTICE_KEY.fullmatch(access_key):
            return signatures.Key(self.run.secret_access_key(access_key))
        account = owner_of(access_key)
        if account is None:
            return None
        session = permissions.session_of(account, access_key)
        if session is not None:
            return signatures.Key(session.secret_access_key, session.session_token)
        with rules.lock:
            iam = iam_backends[account]["aws"]
            made = iam.access_keys.get(access_key)
            if made is None or made.user_name not in iam.users or made.status != "Active":
                return None
            return signatures.Key(made.secret_access_key)

    # -- control routes ---------------------------------------------------------------------------

    def control(self, request: Request, body: bytes) -> Answer:
        """What `awslabs.sandbox.Run` asks of its server."""
        if not hmac.compare_digest(request.headers.get(TOKEN_HEADER, "").encode(), self.run.token.encode()):
            return as_text(403, f"This needs the token of the practice cloud, in the header {TOKEN_HEADER}.")
        asked = f"{request.method} {request.path.removeprefix('/_awslabs/')}"
        try:
            wanted = json.loads(body or b"{}")
            account = request.args.get("account") or wanted.get("account")
            if asked == "GET run":
                return as_json(200, self.about())
            if asked == "GET calls":
                return as_json(200, self.calls(account))
            if asked == "POST weather":
                weather.current.change(wanted)
                return as_json(200, weather.current.show())
            if asked == "POST clock":
                engine.pass_time(float(wanted["seconds"]))
                return as_json(200, {})
            if asked == "POST reset":
                self.reset(account)
                return as_json(200, {})
        except (KeyError, ValueError, TypeError, AttributeError) as problem:
            return as_text(400, str(problem))
        return as_text(404, f"The practice cloud has no {asked}.")

    def about(self) -> dict[str, Any]:
        """What the process is."""
        calls = {account: len(rows) for account, rows in sorted(self.recorded.items())}
        return {"pid": self.run.pid, "started": self.began, "weather": weather.current.show(), "calls": calls}

    def calls(self, account: str | None) -> list[dict[str, Any]]:
        """Recorded calls, oldest first."""
        chosen = [self.recorded.get(account, ())] if account else list(self.recorded.values())
        return sorted((row for rows in chosen for row in list(rows)), key=lambda row: row["at"])

    def reset(self, account: str | None) -> None:
        """Forget what an account has, or all of them; what runs for it ends."""
        ending = []
        with rules.lock:
            chosen = [account] if account else sorted({id for held in backends() for id in held})
        for account_id in chosen:
            running_parts.reset(account_id)
        with rules.lock:
            for account_id in chosen:
                ending += instances(account_id)
                for held in backends():
                    held.pop(account_id, None)
                    # S3 knows all buckets of the world by name.
                    owners = getattr(held, "bucket_accounts", {})
                    for bucket in [name for name, (_, owner) in owners.items() if owner == account_id]:
                        del owners[bucket]
                self.recorded.pop(account_id, None)
                weather.current.forget(account_id)
        for instance_id in ending:
            self.hosts.stop(instance_id)

    def preload(self) -> None:
        """Import what a first lab calls, so that its first calls need not wait for it."""
        for name in PRELOADED:
            with self.moto.lock:
                if name not in self.moto.app_instances:
                    self.moto.app_instances[name] = self.moto.create(name)  # type: ignore[assignment]
            with rules.lock:
                held = get_backend(name)[ACCOUNT]  # type: ignore[call-overload]
                held["us-east-1" if "us-east-1" in held else "aws"]
        for service in ("ec2", "sts", "iam", "ssm", "service-quotas", "resourcegroupstaggingapi"):
            get_service_model(service)


def nothing_here(request: Request, body: bytes) -> Answer:
    """An address behind which moto has something that is not AWS."""
    return as_text(404, f"The practice cloud has nothing at {request.path}.")


@engine.in_server(accounts.PLAN)
def plan_of(call: wire.Call, request: Request, body: bytes) -> Answer:
    """The plan of the caller's account. moto has no such service."""
    return as_json(200, accounts.plan(account_of(call.access_key)))


@engine.in_server(*NOTHING_RUNS)
def nothing_runs(call: wire.Call, request: Request, body: bytes) -> NoReturn:
    """Refuse to pretend that something ran."""
    raise NotImplementedError("it would run your program, and the practice cloud cannot do that yet")


@engine.in_server(*NO_KEYS)
def no_keys(call: wire.Call, request: Request, body: bytes) -> NoReturn:
    """Refuse to hand out keys that open nothing."""
    raise NotImplementedError("its keys would open nothing here; sts:AssumeRole gives keys that do")


def brings_credentials(request: Request) -> bool:
    """Whether a request says who sends it, in its headers or its address.

    Objects of buckets have the same origin as the API here, unlike on AWS. So a browser lets a page in a
    public bucket read every answer; with a name in it, a call is more than anybody's. Browsers say where it
    comes from (Origin, Sec-Fetch-Site), and no script can change that.
    """
    return "Authorization" in request.headers or not request.args.keys().isdisjoint(
        ("X-Amz-Credential", "X-Amz-Signature", "AWSAccessKeyId", "Signature")
    )


def may_come_in(call: wire.Call) -> bool:
    """Whether AWS would look at this request at all: signed, or one of the few that need not be."""
    public = (call.service, call.protocol) == ("s3", "rest-xml") and call.name != "s3:ListBuckets"
    return bool(call.signed) or call.name in UNSIGNED or public


def account_of(access_key: str) -> str:
    """The account whose key this is: in the key itself, or known to IAM, or else the usual one."""
    if match := PRACTICE_KEY.fullmatch(access_key):
        return match[1]
    return owner_of(access_key) or ACCOUNT


def owner_of(access_key: str) -> str | None:
    """The account in which IAM or STS made this key; None: nobody did."""
    if not access_key:
        return None
    for account_id, partitions in list(iam_backends.items()):
        if any(access_key in partition.access_keys for partition in list(partitions.values())):
            return account_id
    return None


def backends() -> list[BackendDict[Any]]:
    """Every service of moto that has been used: account to its state."""
    return list(BackendDict._instances)  # type: ignore[misc]


def instances(account_id: str) -> list[str]:
    """Ids of all EC2 instances of an account, terminated ones too."""
    reservations = [
        kept for owner, ec2 in engine.backends() if owner == account_id for kept in ec2.reservations.values()
    ]
    return [instance.id for reservation in reservations for instance in reservation.instances]


def read_hashed(source: BinaryIO, length: int) -> tuple[bytes, str]:
    """A body, or as much of it as comes, and its SHA-256 in hexadecimal.

    It is read into the place where it stays: joining pieces costs as much as hashing them.
    """
    kept, at, sha256 = io.BytesIO(bytes(length)), 0, hashlib.sha256()
    with kept.getbuffer() as room:
        while count := source.readinto(room[at : at + PIECE]):  # type: ignore[attr-defined]
            sha256.update(room[at : at + count])
            at += count
    kept.truncate(at)
    return kept.getvalue(), sha256.hexdigest()


class Handler(MotoRequestHandler):
    """HTTP/1.1 with connections that stay open; werkzeug's own handler closes every one.

    A body is read whole before anything else happens, so that the next request on the connection
    begins where this one ends; an answer leaves in one piece.
    """

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = 65536

    def handle_expect_100(self) -> bool:
        going_on = super().handle_expect_100()
        self.wfile.flush()
        return going_on

    def make_environ(self) -> dict[str, Any]:
        """moto's own looks twice more at every header, for the sake of those with an underscore."""
        odd = any("_" in name for name in self.headers)
        return super().make_environ() if odd else WSGIRequestHandler.make_environ(self)

    def run_wsgi(self) -> None:
        environ = self.make_environ()
        cloud: Cloud = self.server.app  # type: ignore[assignment]
        try:
            if stream := cloud.stream(environ):
                answer = self.let_read(stream, environ)
            else:
                content, hashed = self.read_body(environ)
                # WSGI decodes the path, merges headers, leaves some out, and `http.server` folds a path's
                # first slashes (`self.path`): what is signed is what was sent.
                target = self.requestline.split()[1]
                environ["awslabs.sent"] = functools.partial(
                    signatures.Sent, self.command, target, self.headers.items(), hashed=hashed
                )
                answer = None if content is None else cloud.answer(environ, content)
            if answer is None:
                self.close_connection = True
                return
            status, headers, body = answer
        except Cut:
            self.close_connection = True
            return
        except Exception:
            log.exception("no answer to %s %s", self.command, self.path)
            status, headers, body = as_text(500, "The practice cloud fell over; its log says how.")
        bodiless = self.command == "HEAD" or status in (204, 304)
        ours = {"connection", "date", "transfer-encoding"} | (set() if bodiless else {"content-length"})
        self.send_response_only(status)
        for name, value in headers.items():
            if name.lower() not in ours:
                self.send_header(name, value)
        self.send_header("Date", self.date_time_string())
        if not bodiless:
            size = body.stat().st_size if isinstance(body, Path) else len(body)
            self.send_header("Content-Length", str(size))
        self.end_headers()
        if isinstance(body, Path):
            with body.open("rb") as file:
                shutil.copyfileobj(file, self.wfile)
        elif not bodiless:
            self.wfile.write(body)

    def let_read(self, stream: Stream, environ: dict[str, Any]) -> Any:
        """Let somebody read the body piece by piece; what he leaves is read and forgotten."""
        source = environ["wsgi.input"]
        if "wsgi.input_terminated" not in environ:
            source = LimitedStream(source, int(environ.get("CONTENT_LENGTH") or 0))
        try:
            answer = stream(Request(environ), source)
            while source.read(1 << 20):
                pass  # a client that still writes would not see the answer
        except (OSError, ClientDisconnected) as problem:
            log.info("a request that ends badly: %s", problem)
            return None
        return answer

    def read_body(self, environ: dict[str, Any]) -> tuple[bytes | None, str]:
        """All of it; None when the client goes away before its end: half a call is no call.

        And, of a large one that is signed, its hash, which is taken while the client sends the next piece.
        """
        source = environ["wsgi.input"]
        try:
            if "wsgi.input_terminated" in environ:
                return source.read(), ""
            length = int(environ.get("CONTENT_LENGTH") or 0)
            if length > PIECE and signatures.wants_hash(
                environ.get("HTTP_AUTHORIZATION", ""), environ.get("HTTP_X_AMZ_CONTENT_SHA256", "")
            ):
                body, hashed = read_hashed(source, length)
            else:
                body, hashed = source.read(max(0, length)), ""
        except (OSError, ValueError) as problem:
            log.info("a request that ends badly: %s", problem)
            return None, ""
        return (body, hashed) if len(body) == length else (None, "")

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: `Cloud` logs calls."""


def main() -> None:
    """Run the practice cloud as the orders on standard input say, until SIGTERM."""
    order = json.loads(sys.stdin.buffer.read())
    if os.fork():
        os._exit(0)  # whoever started this is not its parent, so need not wait for its end
    isolation.leave_login()
    home = Path(order["home"])
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((HOST, order["port"]))
    except OSError as problem:
        sys.exit(f"Port {order['port']} of {HOST} cannot be had: {problem.strerror}.")
    listener.listen(1024)  # a class may come at once
    port = listener.getsockname()[1]
    directory = home / f"{HOST}-{port}"
    remove_tree(directory)
    directory.mkdir(mode=0o700)
    began = born(os.getpid())
    assert began is not None
    run = Run(f"http://{HOST}:{port}", os.getpid(), directory, order["token"], began, Host.here())
    starter = os.dup(1)
    write_log_to(directory / "sandbox.log")
    stopping = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stopping.set())
    for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)  # a background job ignores these: so would each shell in here
    gc.freeze()  # nothing of what is imported will ever be garbage
    gc.enable()
    try:
        weather.current.change(order["weather"])
        # No Docker behind anybody's back.
        default_user_config["batch"] = default_user_config["lambda"] = {"use_docker": False}
        moto_changes.install()
        loop = Loop(directory)
        hosts = Hosts(loop)
        rules.install(hosts)
        cloud = Cloud(run, hosts, loop)
        running_parts.begin(cloud)
        server = ThreadedWSGIServer(HOST, port, cloud, Handler, fd=listener.fileno())  # type: ignore[arg-type]
        threading.Thread(target=server.serve_forever, name="listener", daemon=True).start()
        write_note(home, run)
    except BaseException as problem:
        os.write(starter, f"{problem!r}\n{directory / 'sandbox.log'} says more.".encode())
        raise
    os.close(order["lock"])
    os.write(starter, b"listening\n")
    os.close(starter)
    log.info("listening at %s", run.endpoint_url)
    threading.Thread(target=cloud.preload, name="preload", daemon=True).start()
    stopping.wait()
    try:
        server.shutdown()
        running_parts.close()
        rules.uninstall()
        hosts.close()
        loop.close()
    finally:
        forget(run)
        os._exit(0)  # threads of open connections have nothing left to do


def write_log_to(path: Path) -> None:
    """Send all that this process prints or logs to one file; what it starts reads nothing."""
    target = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    nothing = os.open(os.devnull, os.O_RDONLY)
    for source, ends in ((nothing, (0,)), (target, (1, 2))):
        for end in ends:
            os.dup2(source, end)
        os.close(source)
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    # A line per call: nobody reads which line of ours wrote it ("Optimization" in Python's Logging HOWTO).
    logging._srcfile = None
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    logging.basicConfig(stream=sys.stderr, level=logging.INFO)
    logging.root.handlers[0].setFormatter(OneLine("%(asctime)s %(message)s"))


class OneLine(logging.Formatter):
    """A message is a line of the log, whatever the path of a stranger's request has in it."""

    def formatMessage(self, record: logging.LogRecord) -> str:
        text = super().formatMessage(record)
        if text.isprintable():
            return text
        return re.sub(r"[\x00-\x1f\x7f-\x9f]", lambda letter: f"\\x{ord(letter[0]):02x}", text)


if __name__ == "__main__":
    main()
