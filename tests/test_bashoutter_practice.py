"""Bashoutter as `up` builds it in the practice cloud: API Gateway, Lambda, DynamoDB, and a public bucket.

What the other tests of Bashoutter do on loopback, once more with everything in between.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import requests
from bashoutter_browser import Visitor, browser, needs_browser
from test_bashoutter_openapi import make_up_requests, needs_schemathesis

from awslabs import sandbox, serverless
from awslabs.cloud import Cloud
from awslabs.ledger import Ledger
from awslabs.serverless import Serverless
from awslabs.workload.serverless import haiku

pytestmark = pytest.mark.live

FROG = {"username": "芭蕉", "first": "古池や", "second": "蛙飛びこむ", "third": "水の音"}


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serverless]:
    """The lab, standing."""
    home = tmp_path_factory.mktemp("cloud")
    run = sandbox.start(slow_states=0, home=home)
    try:
        with pytest.MonkeyPatch.context() as patched:
            patched.setenv("AWSLABS_HOME", str(home))
            ledger = Ledger(Cloud(environment=run.environment()), "serverless")
            yield serverless.up(ledger, rate=1000)  # these tests are in a hurry
    finally:
        run.stop()


@pytest.fixture
def empty(lab: Serverless) -> Iterator[Serverless]:
    """The lab without a haiku."""
    yield lab
    while found := requests.get(f"{lab.api_url}/haiku?limit=100", timeout=120).json():
        for one in found:
            requests.delete(f"{lab.api_url}/haiku/{one['item_id']}", timeout=120)


def test_the_api_answers_as_it_is_described(empty: Serverless) -> None:
    api = f"{empty.api_url}/haiku"
    assert requests.get(api, timeout=120).json() == []
    posted = requests.post(api, json=FROG, timeout=120)
    made = posted.json()
    assert (posted.status_code, made["first"]) == (201, "古池や")
    liked = requests.patch(f"{api}/{made['item_id']}", timeout=120)
    assert (liked.status_code, liked.json()) == (200, made | {"likes": 1})
    listed = requests.get(f"{api}?limit=1", headers={"Origin": "https://elsewhere.example"}, timeout=120)
    assert listed.json() == [made | {"likes": 1}]
    assert listed.headers["Access-Control-Allow-Origin"] == "*"
    assert requests.post(api, data="{", timeout=120).status_code == 400
    assert requests.delete(f"{api}/{made['item_id']}", timeout=120).status_code == 204
    assert requests.delete(f"{api}/{made['item_id']}", timeout=120).status_code == 404


def test_pages_follow_their_links(empty: Serverless) -> None:
    api = f"{empty.api_url}/haiku"
    for number in range(5):
        requests.post(api, json=FROG | {"first": str(number)}, timeout=120)
    found = []
    there: str | None = f"{api}?limit=2"
    while there:
        page = requests.get(there, timeout=120)
        found += [one["first"] for one in page.json()]
        link = page.links.get("next", {}).get("url")
        there = link and requests.compat.urljoin(there, link)
    assert found == ["4", "3", "2", "1", "0"]


def test_a_browser_on_another_site_may_ask(empty: Serverless) -> None:
    asked = {"Origin": "https://elsewhere.example", "Access-Control-Request-Method": "POST"}
    answer = requests.options(f"{empty.api_url}/haiku", headers=asked, timeout=120)
    assert (answer.status_code, answer.content) == (204, b"")
    assert answer.headers["Access-Control-Allow-Origin"] == "*"
    assert "POST" in answer.headers["Access-Control-Allow-Methods"]


def test_posts_and_likes_at_once_lose_nothing(empty: Serverless) -> None:
    api = haiku.Api(empty.api_url)
    posted = haiku.post_many(api, 300)
    with ThreadPoolExecutor(20) as pool:
        liked = list(pool.map(lambda _: haiku.like(api, posted[0]["item_id"])["likes"], range(200)))
    assert sorted(liked) == list(range(1, 201))
    found = {one["item_id"]: one for one in haiku.newest(api, 1000)}
    assert found == {one["item_id"]: one for one in posted} | {
        posted[0]["item_id"]: posted[0] | {"likes": 200}
    }
    assert haiku.clear(api) == 300


@needs_schemathesis
def test_no_request_gets_an_answer_that_is_not_described(empty: Serverless, tmp_path: Path) -> None:
    requests.post(f"{empty.api_url}/haiku", json=FROG, timeout=120)
    count, wrong = make_up_requests(empty.api_url, tmp_path, "--max-examples=10", "--phases=coverage,fuzzing")
    assert not wrong, wrong
    assert count > 100


@needs_browser
def test_the_page_in_the_public_bucket_works(
    empty: Serverless, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with browser(tmp_path / "chromium") as window:
        visitor = Visitor(window)
        visitor.size(390)
        visitor.open(empty.site_url)
        visitor.write(**FROG)
        visitor.one("#compose .main").click()
        visitor.sees("古池や")
        visitor.one(".like").click()
        requests.post(f"{empty.api_url}/haiku", json=FROG | {"first": "菜の花や"}, timeout=120)
        visitor.until(
            lambda: requests.get(f"{empty.api_url}/haiku", timeout=120).json()[1]["likes"] == 1, "liked"
        )
        visitor.one("#refresh").click()
        visitor.sees("菜の花や", "古池や")
        visitor.one(".remove:not([hidden])").click()
        visitor.one(".remove:not([hidden])").click()
        visitor.sees("菜の花や")
        assert visitor.problems() == []
        visitor.open(empty.site_url)
        visitor.sees("菜の花や")
        first_ms = visitor.js("return performance.getEntriesByName('first-haiku')[0].startTime")
    with capsys.disabled():
        print(f"\nbashoutter in the practice cloud: first haiku after {first_ms:.0f} ms")
