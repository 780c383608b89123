"""A visitor of Bashoutter's page, with a real browser: Debian's chromium, driven by Selenium.

with browser(tmp_path) as window:
    visitor = Visitor(window)
    visitor.open("http://127.0.0.1:.../index.html")
    visitor.write(first="古池や", second="蛙飛びこむ", third="水の音", username="芭蕉")
"""

from __future__ import annotations

import contextlib
import importlib.util
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
needs_browser = pytest.mark.skipif(
    not (CHROMIUM and DRIVER and importlib.util.find_spec("selenium")),
    reason="drives a browser: apt-get install chromium chromium-driver, and pip install selenium",
)

FLAGS = [
    "--headless=new",
    "--no-sandbox",  # which a browser of root's would refuse to start with
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
    "--lang=ja",
    "--accept-lang=ja",
]
PATIENCE_S = 120


@contextlib.contextmanager
def browser(profile: Path) -> Iterator[Any]:
    """A browser that has never been anywhere, and goes nowhere but loopback."""
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM or ""
    for flag in [*FLAGS, f"--user-data-dir={profile}"]:
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(DRIVER))
    driver.set_script_timeout(PATIENCE_S)
    try:
        yield driver
    finally:
        driver.quit()


class Visitor:
    """Somebody with a browser."""

    def __init__(self, driver: Any) -> None:
        self.driver = driver

    def size(self, width: int, height: int = 844) -> None:
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)

    def prefers(self, **features: str) -> None:
        """``prefers(color_scheme="dark")``."""
        chosen = [
            {"name": f"prefers-{name.replace('_', '-')}", "value": value} for name, value in features.items()
        ]
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": chosen})

    def open(self, address: str) -> None:
        """Open the page, and wait until it has asked for its list."""
        self.driver.get(address)
        self.until(lambda: not self.js("return document.querySelector('[aria-busy]')"), "the list is read")

    def js(self, code: str, *arguments: Any) -> Any:
        return self.driver.execute_script(code, *arguments)

    def until(self, holds: Callable[[], Any], what: str) -> Any:
        from selenium.webdriver.support.ui import WebDriverWait

        return WebDriverWait(self.driver, PATIENCE_S, poll_frequency=0.03).until(lambda _: holds(), what)

    def one(self, selector: str) -> Any:
        return self.driver.find_element("css selector", selector)

    def all(self, selector: str) -> list[Any]:
        return self.driver.find_elements("css selector", selector)

    def text(self, selector: str) -> str:
        return self.js("return document.querySelector(arguments[0]).textContent", selector)

    def write(self, **texts: str) -> None:
        for name, text in texts.items():
            field = self.one(f"#{name}")
            field.clear()
            if max(text, default="") <= "\uffff":
                field.send_keys(text)
            else:  # ChromeDriver refuses to type characters beyond the BMP; the browser takes them at once
                self.js("arguments[0].focus()", field)
                self.driver.execute_cdp_cmd("Input.insertText", {"text": text})

    def poems(self) -> list[list[str]]:
        """Lines and name of each haiku that is shown, from the top."""
        return self.js(
            "return [...document.querySelectorAll('#haiku li')].map("
            "card => [...card.querySelectorAll('.poem p')].map(line => line.textContent))"
        )

    def sees(self, *lines: str) -> None:
        """Wait until the first lines on the page are these."""
        self.until(lambda: [poem[0] for poem in self.poems()] == list(lines), f"shown: {lines}")

    def likes(self, number: int = 0) -> str:
        return self.js("return document.querySelectorAll('.like span')[arguments[0]].textContent", number)

    def problems(self) -> list[str]:
        """What the browser complains about: a blocked request, an error in the script."""
        return [entry["message"] for entry in self.driver.get_log("browser") if entry["level"] == "SEVERE"]
