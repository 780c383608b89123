"""`openapi.yaml` against the API: requests that it allows, and many that it does not, by schemathesis."""

from __future__ import annotations

import importlib.util
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import requests
from bashoutter_kit import FUNCTIONS, HOME, event, gateway, handlers, openapi
from openapi_spec_validator import OpenAPIV30SpecValidator

pytestmark = pytest.mark.live

FROG = {"username": "芭蕉", "first": "古池や", "second": "蛙飛びこむ", "third": "水の音"}

needs_schemathesis = pytest.mark.skipif(
    importlib.util.find_spec("schemathesis") is None, reason="makes up requests: pip install schemathesis"
)


def make_up_requests(url: str, folder: Path, *options: str) -> tuple[int, str]:
    """Number of requests that schemathesis sent, and what it found wrong: nothing, if all is well.

    Two of its checks stay out. `unsupported_method` wants 405 where API Gateway answers 403;
    `use_after_free` takes a preflight for a deleted haiku as a sign that it is still there.
    """
    command = [sys.executable, "-m", "schemathesis.cli", "run", str(HOME / "openapi.yaml"), f"--url={url}"]
    command += ["--exclude-checks=unsupported_method,use_after_free", "--generation-deterministic"]
    done = subprocess.run([*command, "--no-color", *options], cwd=folder, capture_output=True, text=True)
    count = re.search(r"(\d+) generated", done.stdout)
    assert count, done.stdout + done.stderr
    return int(count[1]), done.stdout if done.returncode else ""


def test_the_description_is_valid_openapi() -> None:
    assert list(OpenAPIV30SpecValidator(openapi()).iter_errors()) == []


@needs_schemathesis
def test_no_request_gets_an_answer_that_is_not_described(tmp_path: Path) -> None:
    with handlers() as haiku, gateway(haiku) as api:
        for _ in range(3):
            haiku.post_haiku(event("POST", body=json.dumps(FROG)), None)
        count, wrong = make_up_requests(api.url, tmp_path, "--max-examples=20")
    assert not wrong, wrong
    assert count > 200


@needs_schemathesis
@pytest.mark.parametrize(
    ("fault", "complaint"),
    [
        ({"TEXT": re.compile(".*")}, "Schema-violating request accepted"),
        ({"texts_of": None}, "Server error"),
    ],
    ids=["takes too much", "falls over"],
)
def test_a_fault_in_the_handlers_would_be_found(
    fault: dict, complaint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with handlers() as haiku, gateway(haiku) as api:
        for name, value in fault.items():
            monkeypatch.setattr(haiku, name, value)
        only = "--include-operation-id=postHaiku"
        _, wrong = make_up_requests(api.url, tmp_path, "--phases=coverage", only)
    assert complaint in wrong


def test_what_the_gateway_answers_by_itself_may_be_read_too(tmp_path: Path) -> None:
    with handlers() as haiku, gateway(haiku) as api:
        api.throttled = True
        throttled = requests.get(f"{api.url}/haiku", timeout=120)
        api.throttled = False
        unknown = requests.get(f"{api.url}/tanka", timeout=120)
    for answer, status in ((throttled, 429), (unknown, 403)):
        assert answer.status_code == status
        assert answer.headers["Access-Control-Allow-Origin"] == "*"
        assert set(answer.json()) == {"message"}


def test_each_door_of_the_package_is_in_the_description() -> None:
    text = (HOME / "openapi.yaml").read_text(encoding="utf-8")
    for placeholder in FUNCTIONS:
        assert text.count(f"functions/{placeholder}/invocations") == 1
    assert set(re.findall(r"__[A-Z_]+__", text)) == {*FUNCTIONS, "__REGION__"}
