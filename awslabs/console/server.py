"""The console's server: one page and what it asks, on loopback, for whoever holds the key.

    GET /  /console.css  /console.js             the page; nothing of anybody's
    GET /api/stream?lab=KEY                      lines of JSON, as long as the page is seen
    GET /api/thing?lab=KEY&row=7                 what one thing is, and its call
    GET /api/inside?lab=KEY&row=7                its console output, log, items, files

It only reads, and it takes nothing but GET. Whoever asks below /api/ must bring the key as a bearer token: it
is in the fragment of the page's address, which a browser sends to nobody. Another page's scripts are told
nothing (Origin, Sec-Fetch-Site), nor is a name that was made to point here (Host).
"""

from __future__ import annotations

import contextlib
import hmac
import json
import logging
import secrets
import select
import socket
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from awslabs.console.details import details, inside
from awslabs.console.feed import File, Files, Watches, events
from awslabs.errors import LabError
from awslabs.explain import DENIED, boto3_errors, error_code, explain
from awslabs.journal import Row

log = logging.getLogger(__name__)

HOST = "127.0.0.1"
PAGE = Path(__file__).parent / "page"
TYPES = {
    "/": ("index.html", "text/html; charset=utf-8"),
    "/console.css": ("console.css", "text/css; charset=utf-8"),
    "/console.js": ("console.js", "text/javascript; charset=utf-8"),
}
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'"
)
SAFE = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-store",
}
SEND_S = 30.0  # seconds for which a page may take nothing, before its stream ends


class Console(ThreadingHTTPServer):
    """The server.

    Parameters
    ----------
    files : Files
        The ledgers that are shown.
    watches : Watches
        What looks at AWS.
    port : int
        0: a free one.

    Attributes
    ----------
    key : str
        Whoever has it may read; drawn for this server.
    """

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, files: Files, watches: Watches, port: int = 0) -> None:
        self.files, self.watches = files, watches
        self.key = secrets.token_urlsafe(32)
        self.streams = 0
        super().__init__((HOST, port), Handler)

    @property
    def address(self) -> str:
        """``http://127.0.0.1:PORT/``."""
        return f"http://{HOST}:{self.server_port}/"

    @property
    def names(self) -> set[str]:
        """What a browser may call it."""
        return {f"{name}:{self.server_port}" for name in (HOST, "localhost")}

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A page that goes away in the middle of an answer is no error."""
        log.debug("a request ended", exc_info=True)


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    server_version, sys_version = "awslabs", ""
    timeout = 60.0
    server: Console

    def do_GET(self) -> None:  # noqa: N802 (http.server's own name)
        asked = urlsplit(self.path)
        query = {name: values[-1] for name, values in parse_qs(asked.query).items()}
        if reason := self._refusal(asked.path):
            self._send(reason, "text/plain; charset=utf-8", reason.phrase.encode())
        elif page := TYPES.get(asked.path):
            name, content_type = page
            self._send(HTTPStatus.OK, content_type, (PAGE / name).read_bytes())
        else:
            answer = {"/api/stream": self._stream, "/api/thing": self._thing, "/api/inside": self._inside}
            answer[asked.path](query)

    def _refusal(self, path: str) -> HTTPStatus | None:
        """Why this request is not answered; None where it is."""
        headers = self.headers
        if headers.get("Host") not in self.server.names:
            return HTTPStatus.MISDIRECTED_REQUEST
        origin, site = headers.get("Origin"), headers.get("Sec-Fetch-Site")
        if origin is not None and origin.removeprefix("http://") not in self.server.names:
            return HTTPStatus.FORBIDDEN
        if path in TYPES:  # a link may lead to the page; what is in it is for nobody else's page
            return None if path == "/" or site in (None, "same-origin", "none") else HTTPStatus.FORBIDDEN
        if path not in ("/api/stream", "/api/thing", "/api/inside"):
            return HTTPStatus.NOT_FOUND
        if site not in (None, "same-origin"):
            return HTTPStatus.FORBIDDEN
        wanted = f"Bearer {self.server.key}".encode()
        if not hmac.compare_digest(headers.get("Authorization", "").encode("utf-8", "replace"), wanted):
            return HTTPStatus.UNAUTHORIZED
        return None

    def _send(self, status: HTTPStatus, content_type: str, body: bytes) -> None:
        asks = {"WWW-Authenticate": "Bearer"} if status == HTTPStatus.UNAUTHORIZED else {}
        self._head(status, {"Content-Type": content_type, "Content-Length": str(len(body)), **asks})
        self.wfile.write(body)

    def _head(self, status: HTTPStatus, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in {**SAFE, **headers}.items():
            self.send_header(name, value)
        self.end_headers()

    def _json(self, told: Any) -> None:
        body = json.dumps(told, default=str).encode()
        self._send(HTTPStatus.OK, "application/json; charset=utf-8", body)

    def _found(self, query: dict[str, str]) -> tuple[File, Row] | None:
        """The row that is asked for, out of a file as it is now."""
        known = self.server.files.of(query.get("lab", ""))
        if known is not None:
            file = File(known.path)
            file.read()
            for row in file.rows:
                if str(row.number) == query.get("row"):
                    return file, row
        self._send(HTTPStatus.NOT_FOUND, "text/plain; charset=utf-8", b"Not Found")
        return None

    def _thing(self, query: dict[str, str]) -> None:
        if found := self._found(query):
            self._json(details(*found))

    def _inside(self, query: dict[str, str]) -> None:
        if not (found := self._found(query)):
            return
        file, row = found
        told: dict[str, Any] = {"kind": "", "lines": []}
        try:
            cloud = self.server.watches.cloud_of(file.path)
            told = inside(cloud.client, row)
        except boto3_errors() as error:
            if error_code(error) in DENIED:
                told["hidden"] = True
            else:
                told["error"] = explain(error, row.call, cloud.place).what
        except LabError as error:
            told["error"] = error.what
        self._json(told)

    def _stream(self, query: dict[str, str]) -> None:
        """Lines of JSON until the page goes away. There is no length: the connection's end is the end."""
        self._head(HTTPStatus.OK, {"Content-Type": "application/x-ndjson", "Connection": "close"})
        self.close_connection = True
        self.connection.settimeout(SEND_S)
        told = events(self.server.files, self.server.watches, query.get("lab", ""), self._rest)
        self.server.streams += 1
        try:
            with contextlib.closing(told), contextlib.suppress(OSError):
                for event in told:
                    self.wfile.write(json.dumps(event, default=str).encode() + b"\n")
        finally:
            self.server.streams -= 1

    def _rest(self, seconds: float) -> bool:
        """Wait so long; False as soon as the page has gone."""
        readable, _, _ = select.select([self.connection], [], [], seconds)
        try:
            return not readable or bool(self.connection.recv(1, socket.MSG_PEEK))
        except OSError:
            return False

    def log_message(self, format: str, *args: Any) -> None:
        """Nobody reads an access log of a page of one's own; and no address with a key comes into one."""
        log.debug(format, *args)
