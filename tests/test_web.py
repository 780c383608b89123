"""Our own HTTP goes the way of boto3's: its certificates, its proxies."""

from __future__ import annotations

import http.server
import ssl
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import boto3
import pytest

from awslabs import addresses, ec2
from awslabs.cloud import Cloud
from awslabs.errors import LabError
from awslabs.ledger import Ledger
from awslabs.web import Web


class Answers(http.server.BaseHTTPRequestHandler):
    """Says which request it saw; as a proxy sees it, the whole address."""

    def do_GET(self) -> None:
        body = f"saw {self.path}".encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Quiet."""


@pytest.fixture
def server() -> Iterator[http.server.ThreadingHTTPServer]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def address(server: http.server.ThreadingHTTPServer) -> str:
    return f"http://127.0.0.1:{server.server_address[1]}"


def test_an_authority_of_the_company_counts_where_aws_ca_bundle_names_it(
    server: http.server.ThreadingHTTPServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=localhost"]
        + ["-addext", "subjectAltName=DNS:localhost", "-keyout", str(key), "-out", str(certificate)],
        check=True,
        capture_output=True,
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    url = f"https://localhost:{server.server_address[1]}"
    unknown = Web(url).send("GET", f"{url}/x")
    assert unknown.status == 0
    assert b"CERTIFICATE_VERIFY_FAILED" in unknown.content
    monkeypatch.setenv("AWS_CA_BUNDLE", str(certificate))
    assert Web(url).send("GET", f"{url}/x").content == b"saw /x"


def test_a_proxy_of_the_environment_is_used_but_not_for_this_computer(
    server: http.server.ThreadingHTTPServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", address(server))
    monkeypatch.setenv("http_proxy", address(server))
    there = "http://203.0.113.9/who"
    assert Web(there).send("GET", there).content == f"saw {there}".encode()
    here = f"{address(server)}/who"
    assert Web(here).send("GET", here).content == b"saw /who"


def test_no_answer_is_a_reply_with_its_reason() -> None:
    reply = Web("http://127.0.0.1:9").send("GET", "http://127.0.0.1:9/")
    assert (reply.status, reply.headers) == (0, {})
    assert b"127.0.0.1:9" in reply.content


def test_my_own_address_goes_through_the_proxy(
    server: http.server.ThreadingHTTPServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(addresses, "WHO_AM_I", "http://checkip.test")
    monkeypatch.setenv("HTTP_PROXY", address(server))
    monkeypatch.setenv("http_proxy", address(server))
    with pytest.raises(LabError, match=r"saw http://checkip\.test"):
        addresses.my_ip(boto3.client("ec2"))


@pytest.mark.parametrize(
    ("host", "aws"),
    [
        ("https://ec2.eu-west-1.amazonaws.com", True),
        ("https://ec2.eu-west-1.api.aws", True),
        ("https://s3.dualstack.eu-west-1.amazonaws.com", True),
        ("https://ec2.cn-north-1.amazonaws.com.cn", True),
        ("http://127.0.0.1:4566", False),
        ("https://amazonaws.com.example.org", False),
    ],
)
def test_which_endpoints_are_awss(host: str, aws: bool) -> None:
    assert addresses.is_aws(boto3.client("ec2", endpoint_url=host)) is aws


def test_dual_stack_endpoints_keep_their_ledgers_where_awss_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_USE_DUALSTACK_ENDPOINT", "true")
    assert Cloud(region="eu-west-1").is_aws


def test_without_an_address_nothing_is_built(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from moto import mock_aws

    def nobody_answers(client: object) -> str:
        raise LabError("Your own public address could not be found.")

    monkeypatch.setattr(addresses, "my_ip", nobody_answers)
    with mock_aws():
        ledger = Ledger(Cloud(), "ec2")
        with pytest.raises(LabError, match="public address"):
            ec2.up(ledger)
        assert ledger.journal.rows == []
