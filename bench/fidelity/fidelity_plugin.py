"""pytest plugin: run tests that were seen to pass on AWS against any endpoint that says it is AWS.

The tests run as if against AWS (TEST_TARGET=AWS_CLOUD, so no difference that LocalStack excuses for itself
is excused here), and boto3 is led to FIDELITY_ENDPOINT. What each test saw goes to FIDELITY_OUT, a line of
JSON a test:

    id        pytest's node id
    outcome   passed | failed | error | skipped
    phase     where it ended: setup, call, teardown (of a passed test: what its clean-up said)
    seconds   how long
    kind      snapshot (an answer differs from AWS's recorded one) | exception | ""
    why       the exception, last line of the test that raised it
    diffs     for snapshots: [key, path, what, recorded, seen]
    keys      answer: [identical, error code and HTTP status on AWS, the same here]
    whose     answer: the operation that gave it, where it is one's
    calls     [service:Operation, HTTP status, error code, message], all that boto3 sent
    pages     [method, URL, HTTP status, the text's beginning]: what deployed APIs answered with 500 or more

Tests that ask a public web server (httpbin.org) meet one here that answers as it does: none is reached.
"""

from __future__ import annotations

import http.server
import importlib.machinery
import json
import os
import re
import subprocess
import sys
import threading
import time
import types
import urllib.parse
from unittest import mock

import pytest

ENDPOINT = os.environ.get("FIDELITY_ENDPOINT", "").rstrip("/")
TARGET = os.environ.get(
    "FIDELITY_TARGET", "sandbox"
)  # sandbox or not: how addresses of APIs and buckets are written
WORKER = os.environ.get("PYTEST_XDIST_WORKER", "gw0")
OUT = os.environ.get("FIDELITY_OUT", "fidelity") + f".{WORKER}.jsonl"
SLEEP = float(os.environ.get("FIDELITY_SLEEP", "0.2"))  # of the sleeps that tests make for AWS's sake
LENIENT = os.environ.get("FIDELITY_LENIENT") == "1"  # 200 for 201 is no difference: see what comes after it
MARK = os.environ.get("FIDELITY_MARK", "aws_validated")
SECOND = os.environ.get("FIDELITY_SECOND", "000000000002")  # `own`: the second client is of the first account


class _Stub(types.ModuleType):
    """A module of which only other tests need anything."""

    __path__: list = []

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        return mock.MagicMock(name=name)


class _Stubs:
    """Finds a stub for packages that are not installed and matter to no test that is run."""

    roots = ("aws_cdk", "localstack.services.iam.iam_patches", "amazon_kclpy", "bson")

    def find_spec(self, name, path=None, target=None):
        if any(name == root or name.startswith(root + ".") for root in self.roots):
            return importlib.machinery.ModuleSpec(name, self, is_package=True)
        return None

    def create_module(self, spec):
        return _Stub(spec.name)

    def exec_module(self, module):
        pass


sys.meta_path.append(_Stubs())

_sleep = time.sleep
_row: dict = {}
_answers: list = []  # (operation, what boto3 gave for it): whose answer a snapshot looks at


def _slept(seconds):
    _sleep(seconds if seconds < 0.5 else max(0.5, seconds * SLEEP))


def _send(original):
    """requests' adapter: addresses of AWS become addresses of the endpoint."""

    def send(self, request, **kwargs):
        asked = request.url
        parts = urllib.parse.urlsplit(request.url)
        host = parts.hostname or ""
        path, base = parts.path, urllib.parse.urlsplit(ENDPOINT)
        if host.endswith(".amazonaws.com"):
            aws_host = host
            if match := re.fullmatch(r"([a-z0-9]+)\.execute-api\.[\w-]+\.amazonaws\.com", host):
                if TARGET == "sandbox":
                    path, aws_host = f"/_aws/execute-api/{match[1]}{path}", ""
            elif match := re.fullmatch(r"(.+)\.s3-website[.-][\w-]+\.amazonaws\.com", host):
                pass  # nobody serves these: the host stays in the header
            elif match := re.fullmatch(r"(?:(.+)\.)?s3(?:[.-][\w-]+)?\.amazonaws\.com", host):
                if match[1]:
                    path = f"/{match[1]}{path}"
                aws_host = ""
            elif re.fullmatch(r"(sqs|lambda|apigateway|sts|iam)(\.[\w-]+)?\.amazonaws\.com", host):
                aws_host = "" if TARGET == "sandbox" else host
            request.url = urllib.parse.urlunsplit((base.scheme, base.netloc, path, parts.query, ""))
            request.headers["Host"] = aws_host or base.netloc
        answer = original(self, request, **kwargs)
        if ".execute-api." in host and answer.status_code >= 500:
            _row.setdefault("pages", []).append(
                [request.method, asked, answer.status_code, answer.text[:300]]
            )
        return answer

    return send


def _called(original):
    """boto3's one door to AWS: note what went through."""

    def call(self, operation_name, api_params):
        name = f"{self.meta.service_model.service_name}:{operation_name}"
        try:
            answer = original(self, operation_name, api_params)
        except Exception as problem:
            response = getattr(problem, "response", None) or {}
            status = response.get("ResponseMetadata", {}).get("HTTPStatusCode")
            error = response.get("Error", {})
            said = [error.get("Code") or type(problem).__name__, (error.get("Message") or str(problem))[:300]]
            _row.setdefault("calls", []).append([name, status, *said])
            _answers.append((name, response))
            raise
        meta = answer.get("ResponseMetadata", {})
        _row.setdefault("calls", []).append([name, meta.get("HTTPStatusCode"), "", ""])
        _answers.append((name, answer))
        if LENIENT and str(meta.get("HTTPStatusCode"))[:1] == "2":
            meta["HTTPStatusCode"] = self.meta.service_model.operation_model(operation_name).http.get(
                "responseCode", 200
            )
        return answer

    return call


def _matched(original):
    """A snapshot's `match`: note whose answer, or part of an answer, it looks at."""

    def match(self, key, obj):
        whose = [
            name for name, answer in _answers if answer is obj or any(part is obj for part in answer.values())
        ]
        if whose:
            _row.setdefault("whose", {})[key] = whose[-1]
        return original(self, key, obj)

    return match


class _Echo(http.server.BaseHTTPRequestHandler):
    """What httpbin.org says to `/status/N`, and to everything else."""

    protocol_version = "HTTP/1.1"
    server_version, sys_version = "gunicorn/19.9.0", ""

    def answer(self):
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode("utf-8", "replace")
        parts = urllib.parse.urlsplit(self.path)
        status, said = 200, b""
        if parts.path.startswith("/status/"):
            status = int(parts.path.rpartition("/")[2])
        else:
            try:
                document = json.loads(body)
            except ValueError:
                document = None
            args = urllib.parse.parse_qs(parts.query, keep_blank_values=True)
            echo = {
                "args": {name: values[0] if len(values) == 1 else values for name, values in args.items()},
                "data": body,
                "files": {},
                "form": {},
                "headers": {
                    name.title(): value for name, value in self.headers.items() if name != "Connection"
                },
                "json": document,
                "origin": self.client_address[0],
                "url": f"http://{self.headers.get('Host')}{self.path}",
            }
            if parts.path.startswith("/anything"):
                echo["method"] = self.command
            said = json.dumps(echo, indent=2).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json" if said else "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(said)))
        self.send_header("Connection", "keep-alive")
        self.send_header("Access-Control-Allow-Origin", "*")
        self.send_header("Access-Control-Allow-Credentials", "true")
        self.end_headers()
        self.wfile.write(said)

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = answer

    def log_message(self, *args):
        pass


def _serve_echo():
    """Put a server of our own in place of the public one that LocalStack's tests ask."""
    try:
        from localstack.testing.pytest import fixtures
    except ImportError:  # for moto's own tests alone it is not needed
        return
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Echo)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    fixtures.PUBLIC_HTTP_ECHO_SERVER_URL = f"http://127.0.0.1:{server.server_address[1]}"


def _keys_of(account):
    """Access key and secret of one of the practice cloud's accounts."""
    asked = [
        os.environ.get("AWSLABS", "python"),
        "-m",
        "awslabs.sandbox",
        "env",
        "--account",
        account,
        "--json",
    ]
    surroundings = {**os.environ, "PYTHONPATH": os.environ.get("AWSLABS_PATH", "")}
    said = subprocess.run(asked, capture_output=True, text=True, check=True, env=surroundings).stdout
    found = json.loads(said)
    return found["AWS_ACCESS_KEY_ID"], found["AWS_SECRET_ACCESS_KEY"]


def pytest_configure(config):
    if TARGET == "sandbox":  # an account for each worker: AWS limits some calls by account
        base = os.environ.get("FIDELITY_ACCOUNT", "111122223300")
        first = _keys_of(base[:-2] + f"{int(WORKER[2:]):02d}")
        second = first if SECOND == "own" else _keys_of(SECOND)
        os.environ["AWS_ACCESS_KEY_ID"], os.environ["AWS_SECRET_ACCESS_KEY"] = first
        for name, value in zip(("ACCESS_KEY_ID", "SECRET_ACCESS_KEY"), second, strict=True):
            os.environ[f"SECONDARY_TEST_AWS_{name}"] = value
    import botocore.client
    import requests.adapters

    _serve_echo()
    try:
        from localstack_snapshot.snapshots.prototype import SnapshotSession
    except ImportError:  # for moto's own tests alone it is not needed
        pass
    else:
        SnapshotSession.match = _matched(SnapshotSession.match)

    time.sleep = _slept
    requests.adapters.HTTPAdapter.send = _send(requests.adapters.HTTPAdapter.send)
    botocore.client.BaseClient._make_api_call = _called(botocore.client.BaseClient._make_api_call)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config, items):
    """Only what was seen to pass on AWS."""
    chosen = [item for item in items if MARK in item.keywords]
    config.hook.pytest_deselected(items=[item for item in items if MARK not in item.keywords])
    for module in {item.module for item in chosen}:  # addresses that are signed are those of the endpoint
        if hasattr(module, "_endpoint_url"):
            module._endpoint_url = lambda *_args, **_more: ENDPOINT
    items[:] = chosen
    for item in items:  # skipped because LocalStack cannot, though AWS was seen to
        for node in item.listchain():
            node.own_markers = [
                mark for mark in node.own_markers if mark.name not in ("skip", "skipif", "xfail")
            ]


def _diffs(problem):
    rows = []
    for result in problem.result:
        if result:
            continue
        for what, levels in result.result.items():
            for level in levels:
                rows.append([result.key, level.path(), what, _short(level.t1), _short(level.t2)])
    return rows


def _keys(item):
    """Of each answer that was compared: identical, and the outcome (code, HTTP status) on AWS and here."""
    sm = item.funcargs.get("snapshot") if hasattr(item, "funcargs") else None
    recorded, observed = getattr(sm, "recorded_state", None) or {}, getattr(sm, "observed_state", None) or {}
    return {
        key: [recorded[key] == observed.get(key), *_outcome(recorded[key]), *_outcome(observed.get(key))]
        for key in recorded
        if key in observed
    }


def _outcome(answer):
    if not isinstance(answer, dict):
        return "", None
    meta, error = answer.get("ResponseMetadata"), answer.get("Error")
    status = meta.get("HTTPStatusCode") if isinstance(meta, dict) else answer.get("statusCode")
    return (error.get("Code", "") if isinstance(error, dict) else ""), status


def _short(value):
    text = value if isinstance(value, str) else repr(value)
    return text if len(text) < 400 else text[:400] + "…"


@pytest.hookimpl(hookwrapper=True, tryfirst=True)
def pytest_runtest_protocol(item):
    _row.clear()
    _answers.clear()
    _row.update(id=item.nodeid, outcome="passed", phase="", seconds=0.0, kind="", why="", diffs=[], calls=[])
    began = time.perf_counter()
    yield
    _row["seconds"] = round(time.perf_counter() - began, 2)
    with open(OUT, "a") as file:
        file.write(json.dumps(_row, default=str) + "\n")


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    result = yield
    report = result.get_result()
    if report.outcome == "skipped" and _row["outcome"] == "passed":
        _row.update(outcome="skipped", phase=call.when, why=str(report.longrepr)[-300:])
        return
    if call.excinfo is None or report.outcome == "skipped":
        if call.when == "call":
            _row["keys"] = _keys(item)
        return
    problem = call.excinfo.value
    if call.when == "teardown":
        _row["teardown"] = f"{type(problem).__name__}: {problem}"[:600]
        return
    if _row["outcome"] in ("failed", "error"):
        return
    _row.update(outcome="error" if call.when == "setup" else "failed", phase=call.when)
    if type(problem).__name__ == "SnapshotAssertionError":
        _row.update(kind="snapshot", diffs=_diffs(problem), keys=_keys(item))
        return
    place = ""
    for entry in call.excinfo.traceback:
        if f"{os.sep}tests{os.sep}aws{os.sep}" in str(entry.path):
            statement = str(entry.statement).strip()[:300]
            place = f"{os.path.basename(str(entry.path))}:{entry.lineno + 1}: {statement}"
    _row.update(kind="exception", why=f"{type(problem).__name__}: {problem}"[:900], place=place)
    sm = item.funcargs.get("snapshot") if hasattr(item, "funcargs") else None
    if sm is not None and getattr(sm, "observed_state", None):  # what it saw until then counts all the same
        try:
            from localstack_snapshot.snapshots.prototype import SnapshotAssertionError

            recorded = set(sm.recorded_state or {})
            sm.called_keys &= recorded
            sm._assert_all(True, [])
        except SnapshotAssertionError as differs:
            _row["diffs"] = _diffs(differs)
        except Exception as worse:
            _row["diffs_problem"] = repr(worse)[:200]
        _row["keys"] = _keys(item)
