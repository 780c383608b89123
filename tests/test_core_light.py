"""The server's imports: what it leaves out is not missed."""

from __future__ import annotations

import gc
import importlib
import json
import subprocess
import sys
from pathlib import Path

ASIDE = """
import json, sys
import awslabs.sandbox.server
from awslabs.sandbox import services
services.called("apigateway")
came = [name for name in ("openapi_spec_validator", "jsonschema", "pydantic", "flask") if name in sys.modules]
import boto3
from moto import mock_aws
from moto.core.utils import get_service_model
from moto.ec2.models.instance_types import INSTANCE_TYPE_OFFERINGS as OFFERINGS
from moto.ec2.models.availability_zones_and_regions import RegionsAndZonesBackend
read = sorted(OFFERINGS["region"])
session = boto3.Session()
answers = {
    "offered": [OFFERINGS[where].get("us-east-1") for where in sorted(OFFERINGS)],
    "nowhere": OFFERINGS["region"].get("xx-east-1", []),
    "zones": sorted(region.name for region in RegionsAndZonesBackend.regions),
    "regions": [session.get_available_regions(name) for name in ("s3", "iam", "service-quotas", "none")],
    "partitions": session.get_available_partitions(),
}
said = []
with mock_aws():
    client = boto3.client("apigateway", "us-east-1", aws_access_key_id="x", aws_secret_access_key="y")
    for paths in ({"/": {"get": {"responses": {"200": {"description": "good"}}}}}, {"/": {"get": 1}}):
        about = {"title": "t", "version": "1", "description": "d"}
        document = {"openapi": "3.0.0", "info": about, "paths": paths}
        try:
            client.import_rest_api(failOnWarnings=True, body=json.dumps(document))
            said.append("good")
        except client.exceptions.BadRequestException:
            said.append("bad")
words = json.dumps(get_service_model("ec2")._service_description).count('"documentation": "')
print(json.dumps({"came": came, "read": read, "answers": answers, "said": said, "words": words}))
"""

MOTO = """
import json
import boto3
from moto.ec2.models.instance_types import INSTANCE_TYPE_OFFERINGS as OFFERINGS
from moto.ec2.models.availability_zones_and_regions import RegionsAndZonesBackend
session = boto3.Session()
print(json.dumps({
    "offered": [OFFERINGS[where].get("us-east-1") for where in sorted(OFFERINGS)],
    "nowhere": OFFERINGS["region"].get("xx-east-1", []),
    "zones": sorted(region.name for region in RegionsAndZonesBackend.regions),
    "regions": [session.get_available_regions(name) for name in ("s3", "iam", "service-quotas", "none")],
    "partitions": session.get_available_partitions(),
}))
"""


def printed(program: str, *path: Path) -> dict:
    """What a program of its own prints; moto is imported once in a process."""
    ran = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path[:0] = {[str(each) for each in path]}\n{program}"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    return json.loads(ran.stdout)


def test_the_server_imports_no_validator_until_a_document_comes(tmp_path: Path) -> None:
    """And then without the grammars that come with Jupyter and take seconds."""
    (tmp_path / "rfc3987_syntax.py").write_text("raise SystemExit('35 grammars are compiled')\n")
    found = printed(ASIDE, tmp_path)
    assert found["came"] == []
    assert found["said"] == ["good", "bad"]
    assert found["read"] == [], "lists of offerings are read before anybody asks"
    assert found["words"] == 0
    assert found["answers"] == printed(MOTO)


def test_only_the_server_puts_off_collecting_garbage() -> None:
    """A program that imported it, such as these tests, grew by 30 MB with each boto3 session."""
    importlib.import_module("awslabs.sandbox.server")
    assert gc.isenabled()


HEADERS = """
import http.client, io, json, random
plainly = http.client.parse_headers
from awslabs.sandbox.core import light

def read(parse, sent):
    source = io.BytesIO(sent)
    try:
        return [parse(source, http.client.HTTPMessage).items(), source.read()]
    except http.client.HTTPException as problem:
        return [type(problem).__name__, str(problem)]

random.seed(7)
parts = [b"Host: a", b"X-A:b", b"x-a:  two ", b":", b" goes on", b"\\tgoes on", b"no colon", b"A b: c"]
parts += [b"\\xe9: d", b"\\r", b"Y: \\xe9", b"Empty:", b"From: me", b"From me", b"Z: a\\rb", b"Z: a\\x00b"]
parts += [b"q" * 70_000, b"L: " + b"q" * 65_000]
ends = [b"\\r\\n"] * 4 + [b"\\n", b"\\r", b""]
requests = [b"", b"\\r\\n", b"".join(b"H%d: v\\r\\n" % n for n in range(99)) + b"\\r\\nrest"]
requests += [b"".join(b"H%d: v\\r\\n" % n for n in range(many)) + b"\\r\\nrest" for many in (100, 101, 200)]
for _ in range(3000):
    few = parts[:8] if random.random() < 0.7 else parts
    lines = [random.choice(few) + random.choice(ends) for _ in range(random.randrange(5))]
    requests.append(b"".join(lines) + random.choice([b"\\r\\n", b"\\n", b""]) + b"rest")
other = [str(sent)[:200] for sent in requests if read(plainly, sent) != read(light.parse_headers, sent)]
took = sum(read(light.parse_headers, sent)[0] not in ("LineTooLong", "HTTPException") for sent in requests)
print(json.dumps({"other": other, "took": took, "ours": http.client.parse_headers is light.parse_headers}))
"""


def test_headers_are_read_as_python_reads_them() -> None:
    """Plain ones and all others, to the same byte; what is too long or too many is refused alike."""
    found = printed(HEADERS)
    assert found["other"] == []
    assert found["ours"]
    assert found["took"] > 2000
