"""Bashoutter's page in a real browser (Debian's chromium), over its handlers on loopback.

The page and the API have origins of their own, as on AWS: so CORS counts here.
"""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from bashoutter_browser import Visitor, browser, needs_browser
from bashoutter_kit import PAGE, Gateway, Site, event, gateway, handlers, site

pytestmark = [pytest.mark.browser, needs_browser]

FROG = {"first": "古池や", "second": "蛙飛びこむ", "third": "水の音", "username": "芭蕉"}

# What of a card lies outside of it.
OUTSIDE = """
    const found = [];
    for (const card of document.querySelectorAll("#haiku li")) {
      const box = card.getBoundingClientRect();
      for (const part of card.querySelectorAll("p, time, button:not([hidden]), svg")) {
        const one = part.getBoundingClientRect();
        const wide = one.left < box.left || one.right > box.right;
        if (wide || one.top < box.top || one.bottom > box.bottom) found.push(part.textContent);
      }
    }
    return found;
"""
LIMIT_BYTES = 60_000


class World:
    """The API, the page, and what is in the table."""

    def __init__(self, haiku: ModuleType, api: Gateway, page: Site) -> None:
        self.haiku, self.api, self.page = haiku, api, page

    def post(self, **texts: str) -> dict[str, Any]:
        answer = self.haiku.post_haiku(event("POST", body=json.dumps(FROG | texts)), None)
        assert answer["statusCode"] == 201
        return json.loads(answer["body"])

    def kept(self) -> list[dict[str, Any]]:
        query = {"limit": "100"}
        return json.loads(self.haiku.list_haiku(event(queryStringParameters=query), None)["body"])


@pytest.fixture
def world() -> Iterator[World]:
    with handlers() as haiku, gateway(haiku) as api, site(api.url) as page:
        yield World(haiku, api, page)


@pytest.fixture
def visitor(window: Any) -> Iterator[Visitor]:
    one = Visitor(window)
    one.size(390)
    one.prefers(color_scheme="light")
    one.problems()
    yield one
    one.driver.get("about:blank")  # a page left open would go on asking


def test_a_haiku_in_japanese_is_posted_and_seen_without_reloading(world: World, visitor: Visitor) -> None:
    visitor.open(world.page.address)
    assert visitor.text("#quiet") == "まだ一句もありません。最初の一句を、どうぞ。"
    visitor.js("window.stillHere = true")
    visitor.write(**FROG)
    visitor.one("#compose .main").click()
    visitor.sees("古池や")
    assert visitor.poems() == [["古池や", "蛙飛びこむ", "水の音", "芭蕉"]]
    assert [one["first"] for one in world.kept()] == ["古池や"]
    assert visitor.js("return window.stillHere")
    assert visitor.text("#said") == "詠みました。"
    assert [visitor.one(f"#{name}").get_property("value") for name in FROG] == ["", "", "", "芭蕉"]
    style = "return getComputedStyle(document.querySelector('.poem')).writingMode"
    assert visitor.js(style) == "vertical-rl"
    assert "OPTIONS /haiku" in world.api.seen  # the browser asked first: another origin
    assert visitor.problems() == []


def test_a_like_is_shown_at_once_and_kept(world: World, visitor: Visitor) -> None:
    world.post()
    visitor.open(world.page.address)
    for wanted in ("1", "2"):
        visitor.one(".like").click()
        assert visitor.likes() == wanted
    visitor.until(lambda: world.kept()[0]["likes"] == 2, "both are counted")
    assert visitor.one(".like").accessible_name == "「古池や」に花を添える（今 2）"


def test_a_like_that_was_refused_is_taken_back(world: World, visitor: Visitor) -> None:
    world.post()
    visitor.open(world.page.address)
    world.api.throttled = True
    visitor.one(".like").click()
    visitor.until(lambda: visitor.text("#trouble"), "it says so")
    assert visitor.text("#trouble").startswith("いま混み合っています。")
    assert visitor.likes() == "0"


def test_a_second_visitor_is_seen(world: World, visitor: Visitor, tmp_path: Path) -> None:
    visitor.open(world.page.address)
    with browser(tmp_path / "second") as other_window:
        second = Visitor(other_window)
        second.open(world.page.address)
        second.write(first="菜の花や", second="月は東に", third="日は西に", username="蕪村")
        second.one("#compose .main").click()
        second.sees("菜の花や")
        visitor.one("#refresh").click()
        visitor.sees("菜の花や")
        visitor.one(".like").click()
        visitor.until(lambda: world.kept()[0]["likes"] == 1, "the like is kept")
        second.js("document.dispatchEvent(new Event('visibilitychange'))")  # comes back to the page
        second.until(lambda: second.likes() == "1", "the other's like is seen")


def test_what_others_wrote_stays_text(world: World, visitor: Visitor) -> None:
    lines = ["<script>window.bad=1</script>", "<img src=x onerror=window.bad=1>", "{first} &amp; ${7*7}"]
    world.post(first=lines[0], second=lines[1], third=lines[2], username="<b>me</b>")
    visitor.open(world.page.address)
    visitor.sees(lines[0])
    assert visitor.poems() == [[*lines, "<b>me</b>"]]
    assert visitor.all("#haiku script, #haiku img, #haiku b") == []
    assert visitor.js("return window.bad") is None
    visitor.one("[data-language=en]").click()
    assert visitor.one(".like").accessible_name == f"Like “{lines[0]}” (0 so far)"


def test_the_browser_itself_refuses_markup_from_text(world: World, visitor: Visitor) -> None:
    visitor.open(world.page.address)
    assert (
        visitor.js("try { document.body.innerHTML = '<b>x</b>' } catch (problem) { return problem.name }")
        == "TypeError"
    )
    visitor.js(
        "window.blocked = []; document.addEventListener('securitypolicyviolation',"
        "(one) => window.blocked.push(one.effectiveDirective));"
        "document.body.setAttribute('style', 'color: red');"
        "const image = new Image(); image.src = 'http://127.0.0.1:1/'; document.body.append(image);"
        "fetch('http://192.0.2.1/').catch(() => {});"
    )
    visitor.until(lambda: len(visitor.js("return window.blocked")) >= 3, "three things are blocked")
    assert sorted(visitor.js("return window.blocked")) == ["connect-src", "img-src", "style-src-attr"]


def test_everything_works_by_keyboard_alone(world: World, visitor: Visitor) -> None:
    world.post(first="雪とけて")
    visitor.open(world.page.address)

    from selenium.webdriver.common.action_chains import ActionChains
    from selenium.webdriver.common.keys import Keys

    def press(*keys: str) -> None:
        ActionChains(visitor.driver).send_keys(*keys).perform()

    def focused(code: str = "id") -> str:
        return visitor.js(f"return document.activeElement.{code}")

    for _ in range(10):
        if focused() == "first":
            break
        press(Keys.TAB)
    press("古池や", Keys.ENTER)
    assert focused() == "second"
    press("蛙飛びこむ", Keys.TAB, "水の音", Keys.TAB, "芭蕉")
    outline = "return getComputedStyle(document.activeElement).boxShadow"
    assert visitor.js(outline) != "none"  # one sees where one is
    press(Keys.ENTER)
    visitor.sees("古池や", "雪とけて")
    assert focused() == "first"  # ready for the next one
    for _ in range(20):
        press(Keys.TAB)
        if focused("className").startswith("like") and "雪とけて" in focused("ariaLabel"):
            break
    assert visitor.js("return getComputedStyle(document.activeElement).outlineStyle") == "solid"
    press(Keys.SPACE)
    visitor.until(
        lambda: {one["first"]: one["likes"] for one in world.kept()} == {"雪とけて": 1, "古池や": 0}, "liked"
    )
    assert focused("className").startswith("like")  # and the focus stayed


@pytest.mark.parametrize("width", [320, 390, 768, 1200])
def test_nothing_is_wider_than_the_screen(world: World, visitor: Visitor, width: int) -> None:
    for number in range(6):
        world.post(first=f"第{number}句")
    world.post(
        first="W" * 50, second="ー" * 50, third="very long and several words up to here", username="w" * 30
    )
    world.post(
        first="十二字のところまで縦書き",
        second="十二字のところまで縦書き",
        third="十二字のところまで縦書き",
        username="俳号も十二字まで縦書きに",
    )
    world.post(username="名" * 30)
    world.post(first="مطر خفيف", second="على نافذة قديمة", third="يكتب اسمك", username="شاعر")
    visitor.size(width)
    visitor.open(world.page.address)
    visitor.until(lambda: len(visitor.poems()) == 10, "all are shown")
    assert visitor.js("return document.documentElement.scrollWidth") == width
    outside = visitor.js(OUTSIDE)
    assert outside == []


def test_a_finger_can_press_everything(world: World, visitor: Visitor) -> None:
    world.post()
    visitor.open(world.page.address)
    small = visitor.js(
        "return [...document.querySelectorAll('button, input, summary')].filter(one => one.offsetParent)"
        ".map(one => [one.textContent || one.id, one.getBoundingClientRect()])"
        ".filter(([, box]) => box.height < 44 || box.width < 44).map(([name]) => name)"
    )
    assert small == []


def test_an_api_that_is_down_is_said_in_words(world: World, visitor: Visitor) -> None:
    with socket.socket() as nobody:  # bound, and nobody listens
        nobody.bind(("127.0.0.1", 0))
        with site(f"http://127.0.0.1:{nobody.getsockname()[1]}/prod") as page:
            visitor.open(page.address)
            visitor.until(lambda: visitor.text("#trouble"), "it says so")
            assert "APIが答えません。" in visitor.text("#trouble")
            visitor.one("[data-language=en]").click()
            assert "The API does not answer." in visitor.text("#trouble")
            visitor.write(**FROG)
            visitor.one("#compose .main").click()
            visitor.until(lambda: "POST" in visitor.text("#trouble"), "it says so")
            assert [visitor.one(f"#{name}").get_property("value") for name in FROG] == list(
                FROG.values()
            )  # not lost


def test_when_the_api_is_back_one_press_is_enough(world: World, visitor: Visitor) -> None:
    world.post()
    world.api.throttled = True
    visitor.open(world.page.address)
    visitor.until(lambda: visitor.all("#trouble .again"), "it offers to try again")
    assert visitor.text("#quiet") == ""  # it does not say that there is no haiku
    world.api.throttled = False
    visitor.one("#trouble .again").click()
    visitor.sees("古池や")
    assert visitor.text("#trouble") == ""


def test_an_error_of_the_functions_is_said_in_words(
    world: World, visitor: Visitor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("READ", "broken")
    visitor.open(world.page.address)
    visitor.until(lambda: "うまくいきませんでした" in visitor.text("#trouble"), "it says so")


def test_older_haiku_come_when_asked_for(world: World, visitor: Visitor) -> None:
    for number in range(64):
        world.post(first=f"第{number}句")
    visitor.open(world.page.address)
    wanted = [f"第{number}句" for number in range(63, -1, -1)]
    visitor.sees(*wanted[:30])
    visitor.one("#more").click()
    visitor.sees(*wanted[:60])
    assert "第33句" in visitor.js("return document.activeElement.textContent")
    world.post(first="新")
    visitor.one("#refresh").click()
    visitor.sees("新", *wanted[:60])
    visitor.one("#more").click()
    visitor.sees("新", *wanted)
    assert not visitor.one("#more").is_displayed()


def test_many_new_haiku_leave_no_hole(world: World, visitor: Visitor) -> None:
    for number in range(3):
        world.post(first=f"古{number}")
    visitor.open(world.page.address)
    visitor.sees("古2", "古1", "古0")
    for number in range(40):
        world.post(first=f"新{number}")
    visitor.one("#refresh").click()
    wanted = [f"新{number}" for number in range(39, -1, -1)] + ["古2", "古1", "古0"]
    visitor.sees(*wanted[:30])
    visitor.one("#more").click()
    visitor.sees(*wanted)


def test_older_haiku_that_come_late_leave_no_hole(world: World, visitor: Visitor) -> None:
    """They were asked for before so many new ones came that the list begins anew."""
    for number in range(64):
        world.post(first=f"古{number}")
    visitor.open(world.page.address)
    visitor.sees(*(f"古{number}" for number in range(63, 33, -1)))
    visitor.js(HELD)
    visitor.one("#more").click()
    visitor.until(lambda: visitor.js("return window.held"), "the answer is there")
    for number in range(40):
        world.post(first=f"新{number}")
    visitor.one("#refresh").click()
    wanted = [f"新{number}" for number in range(39, -1, -1)] + [f"古{number}" for number in range(63, 43, -1)]
    visitor.sees(*wanted[:30])
    visitor.js("window.release()")
    visitor.one("#more").click()
    visitor.sees(*wanted)


# The answer to the next request comes, and waits for `release`.
HELD = """
const own = window.fetch;
const released = new Promise((done) => { window.release = done; });
window.fetch = async (...asked) => {
  window.fetch = own;
  const answer = await own(...asked);
  window.held = true;
  await released;
  return answer;
};
"""


def test_a_haiku_that_somebody_deleted_goes(world: World, visitor: Visitor) -> None:
    gone, _ = world.post(first="消える"), world.post(first="残る")
    visitor.open(world.page.address)
    visitor.sees("残る", "消える")
    path = {"item_id": gone["item_id"]}
    world.haiku.delete_haiku(event("DELETE", pathParameters=path), None)
    visitor.all(".like")[1].click()
    visitor.until(lambda: "その句はもうありません。" in visitor.text("#trouble"), "it says so")
    visitor.one("#refresh").click()
    visitor.sees("残る")


def test_one_deletes_what_one_posted_and_nothing_else(world: World, visitor: Visitor) -> None:
    world.post(first="他人の句")
    visitor.open(world.page.address)
    visitor.write(**FROG)
    visitor.one("#compose .main").click()
    visitor.sees("古池や", "他人の句")
    mine, other = visitor.all(".remove")
    assert not other.is_displayed()
    mine.click()
    assert (mine.text, len(world.kept())) == ("本当に消す", 2)  # it asks first
    world.post(first="後から")
    visitor.js("document.dispatchEvent(new Event('visibilitychange'))")  # what others wrote comes in
    visitor.sees("後から", "古池や", "他人の句")
    assert mine.text == "本当に消す"
    mine.click()
    visitor.sees("後から", "他人の句")
    assert {one["first"] for one in world.kept()} == {"他人の句", "後から"}


def test_what_is_no_haiku_is_said_before_it_is_sent(world: World, visitor: Visitor) -> None:
    visitor.open(world.page.address)
    visitor.write(first="𠮷" * 50, second="𠮷" * 51, third="　", username="")
    visitor.one("#compose .main").click()
    notes = {name: visitor.text(f"#{name}-note") for name in FROG}
    assert notes == {
        "first": "",
        "second": "50字まで（今 51字）",
        "third": "書いてください",
        "username": "書いてください",
    }
    assert visitor.js("return document.activeElement.id") == "second"
    assert not [one for one in world.api.seen if one.startswith("POST")]
    visitor.write(second="𠮷" * 50, third="水の音", username="芭蕉")
    visitor.one("#compose .main").click()
    visitor.sees("𠮷" * 50)


def test_the_language_is_switched_and_remembered(world: World, visitor: Visitor) -> None:
    visitor.open(world.page.address)
    assert (visitor.text("#desk-title"), visitor.js("return document.documentElement.lang")) == (
        "一句詠む",
        "ja",
    )
    japanese = visitor.js("return [...document.querySelectorAll('[data-t]')].map(one => one.textContent)")
    visitor.one("[data-language=en]").click()
    visitor.open(world.page.address)
    assert (visitor.text("#desk-title"), visitor.js("return document.documentElement.lang")) == (
        "Write a haiku",
        "en",
    )
    english = visitor.js("return [...document.querySelectorAll('[data-t]')].map(one => one.textContent)")
    assert not set(english) & set(japanese)
    visitor.one("[data-language=ja]").click()
    assert (
        visitor.js("return [...document.querySelectorAll('[data-t]')].map(one => one.textContent)")
        == japanese
    )


def test_another_api_can_be_used_and_left_again(world: World, visitor: Visitor) -> None:
    world.post(first="ここの句")

    class Elsewhere:
        @staticmethod
        def list_haiku(*_: Any) -> dict[str, Any]:
            there = {**world.kept()[0], "item_id": "1" * 32, "first": "よその句"}
            return world.haiku.answer(200, [there])

    with gateway(Elsewhere) as other:  # type: ignore[arg-type]
        visitor.open(world.page.address)
        visitor.sees("ここの句")
        visitor.one("summary").click()
        for bad in ("nowhere", "javascript:alert(1)", "file:///etc/passwd"):
            visitor.write(api=bad)
            visitor.one("#address [type=submit]").click()
            assert visitor.text("#api-note") == "https:// で始まる番地を書いてください"
        visitor.write(api=f"{other.url}/")
        visitor.one("#address [type=submit]").click()
        visitor.sees("よその句")
        visitor.open(world.page.address)
        visitor.sees("よその句")  # remembered
        visitor.one("summary").click()
        visitor.one("#address [type=reset]").click()
        visitor.sees("ここの句")
        visitor.open(world.page.address)
        visitor.sees("ここの句")


def test_an_address_that_is_no_bashoutter_is_said_in_words(world: World, visitor: Visitor) -> None:
    with site(f"{world.api.url}/nothing/here") as page:
        visitor.open(page.address)
        visitor.until(lambda: "BashoutterのAPIではないようです" in visitor.text("#trouble"), "it says so")
    with site("__API_URL__") as page:
        visitor.open(page.address)
        visitor.until(lambda: "まだAPIの番地がありません" in visitor.text("#trouble"), "it says so")
        assert visitor.one("#api").is_displayed()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_text_can_be_read(world: World, visitor: Visitor, scheme: str) -> None:
    visitor.prefers(color_scheme=scheme)
    world.post()
    visitor.open(world.page.address)
    visitor.write(**FROG)
    visitor.one("#compose .main").click()
    visitor.until(lambda: len(visitor.poems()) == 2, "posted")
    visitor.one(".like").click()
    visitor.one("summary").click()
    visitor.write(second="長" * 51)
    world.api.throttled = True
    visitor.one("#refresh").click()
    visitor.until(lambda: visitor.text("#trouble"), "it says so")
    ratios = visitor.js((Path(__file__).parent / "contrast.js").read_text())
    assert len(ratios) > 25
    assert {name: ratio for name, ratio in ratios if ratio < 4.5} == {}  # WCAG 2.2, 1.4.3
    background = visitor.js("return getComputedStyle(document.body).backgroundColor")
    assert background == {"light": "rgb(244, 240, 230)", "dark": "rgb(22, 23, 26)"}[scheme]


def test_nothing_moves_for_who_wants_it_still(world: World, visitor: Visitor) -> None:
    moving = "return getComputedStyle(document.querySelector('#haiku li')).animationName"
    for motion, wanted in (("no-preference", "settle"), ("reduce", "none")):
        visitor.prefers(reduced_motion=motion)
        visitor.open(world.page.address)
        visitor.write(**FROG)
        visitor.one("#compose .main").click()
        visitor.until(lambda: visitor.text("#said") == "詠みました。", "posted")
        assert visitor.js(moving) == wanted


def test_the_page_is_light_and_asks_nobody_else(
    world: World, visitor: Visitor, capsys: pytest.CaptureFixture[str]
) -> None:
    for number in range(30):
        world.post(first=f"第{number}句")
    visitor.open(world.page.address)
    visitor.until(lambda: len(visitor.poems()) == 30, "all are shown")
    asked = visitor.js("return performance.getEntriesByType('resource').map(one => new URL(one.name).origin)")
    assert set(asked) == {world.page.url, world.api.url}
    assert visitor.driver.get_cookies() == []
    weight = sum(world.page.sent.values())
    first_ms = visitor.js("return performance.getEntriesByName('first-haiku')[0].startTime")
    with capsys.disabled():
        print(f"\nbashoutter: the page weighs {weight / 1000:.1f} kB; first haiku after {first_ms:.0f} ms")
    assert set(world.page.sent) == {f"/{file.name}" for file in PAGE.iterdir()}  # all there is was sent
    assert weight < LIMIT_BYTES
    assert visitor.problems() == []
