"""The console's page in a real browser, while labs are built, used and taken down in the practice cloud.

Each call that makes or deletes something waits until the page has shown it: so nothing here hangs on how fast
a computer is.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import re
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from bashoutter_browser import Visitor, needs_browser

from awslabs import callbook, ec2, journal, serverless
from awslabs.cloud import Cloud
from awslabs.console import feed
from awslabs.console.__main__ import Clouds
from awslabs.console.server import Console
from awslabs.journal import Row
from awslabs.kinds import KINDS
from awslabs.ledger import Ledger
from awslabs.workload.serverless import functions

pytestmark = [pytest.mark.browser, needs_browser]

READING = ("Describe", "Get", "List", "Head", "Scan", "Query", "Filter")
ENDING = ("Delete", "Terminate", "Detach", "Remove", "Deregister", "Stop")
TILES = """
    return [...document.querySelectorAll("#world .thing")].map(
      (one) => [one.querySelector("b").textContent, one.className.replace("thing ", ""), one.textContent]);
"""
HOSTILE = (
    "<img src=x onerror='window.hacked=1'><svg onload='window.hacked=1'><script>window.hacked=1</script>"
)


@contextlib.contextmanager
def console(folders: list[Path], clouds: Any) -> Iterator[str]:
    """A console of these folders; the address that opens it."""
    server = Console(feed.Files(lambda: folders), feed.Watches(clouds))
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    try:
        yield f"{server.address}#{server.key}"
    finally:
        server.shutdown()
        server.server_close()


@pytest.fixture
def visitor(window: Any) -> Iterator[Visitor]:
    one = Visitor(window)
    one.size(1280, 900)
    one.prefers(color_scheme="light")
    one.problems()
    yield one
    one.driver.get("about:blank")
    assert one.problems() == []


@pytest.fixture
def home(run: Any, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of the module's practice cloud, with nothing of an earlier test in it."""
    monkeypatch.setenv("AWSLABS_HOME", str(run.directory.parent))
    run.reset()
    for path in run.directory.glob("*.us-east-1.*"):
        path.unlink()
    return Path(run.directory)


def tiles(visitor: Visitor) -> dict[str, tuple[str, str]]:
    """What the map shows: name to stage and text."""
    return {name: (stage, text) for name, stage, text in visitor.js(TILES)}


def open_lab(visitor: Visitor, address: str) -> None:
    visitor.driver.get("about:blank")
    visitor.driver.get(address)
    visitor.js("sessionStorage.setItem('awslabs-language', 'en')")
    visitor.driver.refresh()
    visitor.until(lambda: visitor.all("#labs-list button"), "a lab is listed")
    visitor.one("#labs-list button").click()
    visitor.until(lambda: visitor.all("#world .thing"), "its map is drawn")


def click(visitor: Visitor, name: str) -> None:
    """Open a thing; the map may be drawn anew meanwhile."""
    code = """
        const found = [...document.querySelectorAll("#world .thing")].find(
          (one) => one.querySelector("b").textContent === arguments[0]);
        found?.click();
        return Boolean(found);
    """
    visitor.until(lambda: visitor.js(code, name), f"{name} is there")
    visitor.until(lambda: visitor.text("#panel h2") == name, f"{name} is opened")


def press(visitor: Visitor, key: str) -> None:
    """Press a key, whatever has the focus."""
    from selenium.webdriver import ActionChains

    ActionChains(visitor.driver).send_keys(key).perform()


class Shown:
    """Holds each call that makes or deletes something, until the page has shown that it is under way."""

    def __init__(self, visitor: Visitor, ledger: Ledger) -> None:
        self.visitor, self.ledger = visitor, ledger
        self.held: dict[tuple[str, str], threading.Event] = {}
        self.seen: set[tuple[str, str]] = set()
        ledger.cloud.listen("before-call", self.hold)

    def hold(self, model: Any, **_: Any) -> None:
        told = callbook._about.get()
        if told is None or model.name.startswith(READING) or self.visitor is None:
            return
        kinds = {row.name: KINDS[row.call] for row in self.ledger.journal.rows}
        if not told[1] or kinds[told[1]].join:
            return
        stage = "going" if model.name.startswith(ENDING) else "coming"
        row = self.ledger.journal.last(told[1])
        if row is None or row.state == ("standing" if stage == "going" else "deleting"):
            return
        key = (told[1], stage)
        if key not in self.seen:
            self.held.setdefault(key, threading.Event()).wait(300)

    def follow(self, work: Any) -> None:
        """Do the work, and let go of each call as soon as the page shows what it is about."""
        failed: list[BaseException] = []

        def run() -> None:
            try:
                work()
            except BaseException as error:
                failed.append(error)

        thread = threading.Thread(target=run)
        thread.start()
        while thread.is_alive():
            shown = tiles(self.visitor) if self.held else {}
            for key, event in list(self.held.items()):
                if shown.get(key[0], ("",))[0] == key[1]:
                    self.seen.add(key)
                    event.set()
            thread.join(0.02)
        if failed:
            raise failed[0]


def finds_nothing(visitor: Visitor) -> list[str]:
    """What axe-core finds; it comes with a package of Python's."""
    found = importlib.util.find_spec("axe_core_python")
    if not found or not found.submodule_search_locations:
        pytest.skip("looks with axe-core: pip install axe-core-python")
    source = (Path(found.submodule_search_locations[0]) / "axe.min.js").read_text(encoding="utf-8")
    # As a debugger does it: the page's own policy would not let a script in.
    visitor.driver.execute_cdp_cmd("Runtime.evaluate", {"expression": source})
    answer = visitor.driver.execute_cdp_cmd(
        "Runtime.evaluate",
        {
            "expression": "axe.run().then((r) => JSON.stringify(r.violations))",
            "awaitPromise": True,
            "returnByValue": True,
        },
    )
    return [
        f"{one['id']}: {[node['html'] for node in one['nodes']]}"
        for one in json.loads(answer["result"]["value"])
    ]


# -- Labs that are built, used and taken down ------------------------------------------------------------


def test_a_server_and_its_network_are_seen_from_their_first_moment_to_their_last(
    run: Any, home: Path, visitor: Visitor
) -> None:
    ledger = Ledger(Cloud(environment=run.environment()), "ec2")
    with console([home], Clouds().of) as address:
        ledger.create("vpc", ledger.client("ec2").create_vpc, CidrBlock="10.10.0.0/23")
        open_lab(visitor, address)
        shown = Shown(visitor, ledger)
        shown.follow(lambda: ec2.up(ledger))
        made = {"subnet", "internet-gateway", "security-group", "key-pair", "instance"}
        assert {(name, "coming") for name in made} <= shown.seen
        visitor.until(lambda: "running" in tiles(visitor)["instance"][1], "the server runs")
        visitor.until(
            lambda: "SSH from 127.0.0.1 only" in tiles(visitor)["security-group"][1], "the firewall in words"
        )
        assert visitor.text(".zone h3").startswith("zone us-east-1")
        assert visitor.js("return Boolean(document.querySelector('.subnet .thing b + .state'))")
        calls = visitor.text("#happens tbody")
        assert "ec2:RunInstances" in calls
        click(visitor, "instance")
        visitor.until(lambda: "ec2.run_instances(" in visitor.text("#panel"), "its call")
        visitor.until(lambda: visitor.all("#panel pre.inside"), "its console output")
        visitor.until(lambda: "SHA256:" in visitor.text("#panel pre.inside"), "the host key is on it")
        assert "aws ec2 run-instances" in visitor.text("#panel")
        assert finds_nothing(visitor) == []
        press(visitor, "\ue00c")  # Escape
        visitor.until(lambda: visitor.js("return document.querySelector('#panel').hidden"), "it is closed")
        assert visitor.js("return document.activeElement.querySelector('b')?.textContent") == "instance"
        shown.follow(ledger.down)
        assert {(name, "going") for name in made | {"vpc"}} <= shown.seen
        visitor.until(lambda: not tiles(visitor), "nothing is left on the map")
        assert "Nothing stands any more." in visitor.text("#map-none")


def test_a_web_service_is_seen_while_it_is_built_and_used_and_others_texts_stay_text(
    run: Any, home: Path, visitor: Visitor
) -> None:
    ledger = Ledger(Cloud(environment=run.environment()), "serverless")
    with console([home], Clouds().of) as address:
        ledger.create(
            "first", ledger.client("logs").create_log_group, logGroupName=f"/aws/{ledger.prefix}-first"
        )
        open_lab(visitor, address)
        shown = Shown(visitor, ledger)
        shown.follow(lambda: serverless.up(ledger))
        made = {"greeter", "list-haiku", "table", "bucket", "dead-letter-queue", "api", "greeter-role"}
        assert {(name, "coming") for name in made} <= shown.seen
        visitor.until(lambda: "ACTIVE" in tiles(visitor)["table"][1], "the table is there")
        table = ledger.resources["table"]
        ledger.client("dynamodb").put_item(
            TableName=table, Item={"item_id": {"S": "1"}, "text": {"S": HOSTILE + "\x1b[31m" + "x" * 300_000}}
        )
        functions.invoke(ledger, {"name": "<b>you</b>"})
        visitor.until(lambda: "lambda:Invoke" in visitor.text("#happens tbody"), "the call is seen")
        click(visitor, "table")
        visitor.until(lambda: visitor.all("#panel pre.inside"), "its items")
        visitor.until(lambda: HOSTILE[:40] in visitor.text("#panel pre.inside"), "as text")
        assert (
            visitor.js("return document.querySelectorAll('#panel img, #panel svg, #panel script').length")
            == 0
        )
        assert visitor.js("return window.hacked === undefined")
        assert "\x1b" not in visitor.text("#panel")
        assert visitor.js("return document.querySelector('#panel pre.inside').textContent.length") < 5000
        click(visitor, "greeter")
        visitor.until(lambda: visitor.all("#panel pre.inside"), "its log")
        visitor.until(lambda: "REPORT RequestId" in visitor.text("#panel pre.inside"), "what it logged")
        assert finds_nothing(visitor) == []
        shown.follow(ledger.down)
        assert {(name, "going") for name in made} <= shown.seen
        visitor.until(lambda: not tiles(visitor), "nothing is left on the map")


# -- From files alone ------------------------------------------------------------------------------------


class Noisy:
    """A cloud whose every answer is meant to do harm."""

    is_aws, place = False, None

    def client(self, service: str) -> Any:
        return self

    def get_console_output(self, **_: Any) -> dict[str, str]:
        return {"Output": "\n".join([HOSTILE, "\x1b]0;owned\x07", HOSTILE * 10_000])}


def hostile_ledger() -> Path:
    """A ledger in whose texts somebody has put markup."""
    made = journal.now()
    path = journal.home() / f"ec2.default.{'1' * 12}.us-east-1.json"
    head = {"lab": "ec2", "name": "default", "cloud": "aws", "account": "1" * 12, "region": "us-east-1"}
    book = journal.Journal(path, {**head, "owner": HOSTILE})
    texts = {"InstanceType": HOSTILE}
    ids = {"InstanceId": HOSTILE}
    book.rows = [
        Row(1, HOSTILE, "ec2:RunInstances", "token-1", "standing", ids, [], {}, texts, made, made),
        Row(2, "vpc", "ec2:CreateVpc", "token-2", "creating", {}, begun=made),
    ]
    book.save()
    lines = [
        {"at": HOSTILE[:30], "call": "ec2:A", "row": "", "outcome": "ok", "ms": 1},
        {"at": made, "call": f"ec2:{HOSTILE[:100]}", "row": HOSTILE[:150], "outcome": HOSTILE[:100], "ms": 1},
        {"at": made, "wait": HOSTILE, "on": True},
    ]
    callbook.path_of(path).write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def test_hostile_names_logs_and_calls_stay_text(visitor: Visitor, monkeypatch: pytest.MonkeyPatch) -> None:
    hostile_ledger()
    monkeypatch.setattr(feed, "look", lambda *_: feed.Looked())
    monkeypatch.setattr(feed, "machines_of_batch", lambda *_: [])
    with console([journal.home()], lambda path: Noisy()) as address:
        open_lab(visitor, address)
        click(visitor, HOSTILE)
        visitor.until(lambda: visitor.all("#panel pre.inside"), "its console output")
        assert HOSTILE in visitor.text("#panel pre.inside")
        assert HOSTILE in visitor.text("#where")
        assert HOSTILE[:100] in visitor.text("#happens tbody")
        assert HOSTILE in visitor.text("#waits")
        assert (
            visitor.js("return document.querySelectorAll('img, script:not([src]), svg[onload]').length") == 0
        )
        assert visitor.js("return window.hacked === undefined")
        assert not re.search(r"[\x00-\x08\x1b]", visitor.text("body"))
        width = visitor.js(
            "return document.documentElement.scrollWidth - document.documentElement.clientWidth"
        )
        assert width <= 0


def many_labs(count: int) -> None:
    for number in range(count):
        head = {
            "lab": "ec2",
            "name": f"n{number}",
            "cloud": "aws",
            "account": "1" * 12,
            "region": "us-east-1",
        }
        path = journal.home() / f"ec2.n{number}.{'1' * 12}.us-east-1.json"
        book = journal.Journal(path, {**head, "owner": "me"})
        made = journal.now()
        book.rows = [
            Row(1, "vpc", "ec2:CreateVpc", "token", "standing", {"VpcId": "vpc-1"}, begun=made, made=made)
        ]
        book.save()


def test_without_its_key_the_page_says_how_to_get_it(visitor: Visitor) -> None:
    many_labs(1)
    with console([journal.home()], lambda path: Noisy()) as address:
        visitor.driver.get(address.partition("#")[0])
        visitor.js("sessionStorage.clear()")
        visitor.driver.get(address.partition("#")[0] + "#wrong")
        visitor.driver.refresh()
        visitor.until(lambda: "python -m awslabs.console" in visitor.text("#banner"), "the command")
        assert not visitor.all("#labs-list button")
        visitor.problems()  # the browser tells of the 401


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_the_page_is_for_everybody(
    visitor: Visitor, monkeypatch: pytest.MonkeyPatch, scheme: str, width: int
) -> None:
    """Both languages, both schemes, a phone: axe-core finds nothing, and nothing is wider than the screen."""
    many_labs(4)
    monkeypatch.setattr(feed, "look", lambda *_: feed.Looked())
    visitor.size(width)
    visitor.prefers(color_scheme=scheme)
    with console([journal.home()], lambda path: Noisy()) as address:
        open_lab(visitor, address)
        assert visitor.js("return document.documentElement.dataset.theme") == scheme
        for language in ("ja", "en"):
            visitor.one("#language").click()
            assert visitor.js("return document.documentElement.lang") == language
            click(visitor, "vpc")
            assert finds_nothing(visitor) == []
            over = "return document.documentElement.scrollWidth - document.documentElement.clientWidth"
            assert visitor.js(over) <= 0
        visitor.one("#home").click()
        visitor.until(lambda: len(visitor.all("#labs-list button")) == 4, "the list")
        assert finds_nothing(visitor) == []


def test_it_is_used_by_keyboard_alone(visitor: Visitor, monkeypatch: pytest.MonkeyPatch) -> None:
    from selenium.webdriver.common.keys import Keys

    hostile_ledger()
    monkeypatch.setattr(feed, "look", lambda *_: feed.Looked())
    with console([journal.home()], lambda path: Noisy()) as address:
        open_lab(visitor, address)
        assert visitor.js("return document.querySelectorAll('#world .thing[tabindex=\"0\"]').length") == 1
        visitor.js("document.querySelector('#world .thing[tabindex=\"0\"]').focus()")
        first = visitor.js("return document.activeElement.dataset.key")
        press(visitor, Keys.END)
        last = visitor.js("return document.activeElement.dataset.key")
        assert last != first
        assert visitor.js("return document.activeElement.tabIndex") == 0
        press(visitor, Keys.ENTER)
        visitor.until(
            lambda: not visitor.js("return document.querySelector('#panel').hidden"), "it is opened"
        )
        assert visitor.js("return document.activeElement.id") == "close"
        press(visitor, Keys.ESCAPE)
        assert visitor.js("return document.querySelector('#panel').hidden")
        assert visitor.js("return document.activeElement.dataset.key") == last


def test_nobody_is_asked_while_nobody_looks(visitor: Visitor, monkeypatch: pytest.MonkeyPatch) -> None:
    many_labs(1)
    looked = threading.Event()
    monkeypatch.setattr(feed, "look", lambda *_: looked.set() or feed.Looked())
    server = Console(feed.Files(lambda: [journal.home()]), feed.Watches(lambda path: Noisy()))
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    open_lab(visitor, f"{server.address}#{server.key}")
    visitor.until(looked.is_set, "AWS is asked")
    hide = "Object.defineProperty(document, 'hidden', {value: arguments[0], configurable: true});"
    hide += "document.dispatchEvent(new Event('visibilitychange'))"
    visitor.js(hide, True)
    visitor.until(lambda: server.streams == 0, "the stream has ended")
    (watch,) = server.watches._by_path.values()
    assert watch._thread is not None
    watch._thread.join(60)
    assert not watch._thread.is_alive()
    visitor.js(hide, False)
    visitor.until(lambda: server.streams == 1, "it goes on")
    server.shutdown()
    server.server_close()
