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
