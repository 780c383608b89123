"""How fast the console is with much to show: 100 ledgers, 1,000 jobs, 10,000 calls; from files alone.

    python bench/console.py

First paint, and until the map is drawn, in Chromium; from a change of a file to that of the page; what the
server takes of a processor while a page is open and nothing happens. Beside them stands the load of the
computer, with which all but the last grow.
"""

from __future__ import annotations

import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from awslabs import callbook, console, journal
from awslabs.journal import Row

LEDGERS, JOBS, CALLS, TIMES, IDLE_S = 100, 1000, 10_000, 20, 30.0
ACCOUNT, REGION = "1" * 12, "us-east-1"
FLAGS = ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run")


def ledger(lab: str, name: str, rows: list[Row]) -> Path:
    """A ledger's file."""
    path = journal.home() / f"{lab}.{name}.{ACCOUNT}.{REGION}.json"
    head = {"lab": lab, "name": name, "cloud": "aws", "account": ACCOUNT, "region": REGION, "owner": "me"}
    book = journal.Journal(path, head)
    book.rows = rows
    book.save()
    return path


def row(number: int, name: str, call: str, ids: dict[str, str]) -> Row:
    made = journal.now()
    return Row(
        number, name, call, journal.fresh_token(), "standing", ids, begun=made, made=made, usd_per_hour=0.01
    )


def fill() -> Path:
    """What is shown; the ledger with the jobs."""
    for number in range(LEDGERS - 1):
        rows = [
            row(each, f"vpc-{each}", "ec2:CreateVpc", {"VpcId": f"vpc-{each:017}"}) for each in range(1, 21)
        ]
        ledger("ec2", f"n{number}", rows)
    jobs = [
        row(each, "job", "batch:SubmitJob", {"jobId": f"job-{each}", "jobName": f"job-{each}"})
        for each in range(1, JOBS + 1)
    ]
    path = ledger("batch_sweep", "default", jobs)
    line = {"call": "batch:SubmitJob", "row": "job", "outcome": "ok", "ms": 12.5}
    callbook.path_of(path).write_text(
        "".join(json.dumps({"at": journal.now(), **line}) + "\n" for _ in range(CALLS))
    )
    return path


@contextmanager
def served() -> Iterator[tuple[int, str]]:
    """The console as a process of its own: its number, and the address that opens it."""
    command = [sys.executable, "-m", "awslabs.console", "--no-browser"]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL) as process:
        try:
            while console.running() is None:
                time.sleep(0.05)
            text = console.door_path().read_text()
            yield process.pid, text.partition("url=")[2].partition('"')[0]
        finally:
            process.terminate()


@contextmanager
def window() -> Iterator[Any]:
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium") or ""
    with tempfile.TemporaryDirectory() as profile:
        for flag in (*FLAGS, f"--user-data-dir={profile}"):
            options.add_argument(flag)
        driver = webdriver.Chrome(options=options, service=Service(shutil.which("chromedriver")))
        driver.set_script_timeout(120)
        try:
            yield driver
        finally:
            driver.quit()


def until(driver: Any, code: str) -> None:
    while not driver.execute_script(code):
        time.sleep(0.01)


def cpu_s(pid: int) -> float:
    """Processor seconds of a process until now (Linux)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def first_paint(driver: Any, address: str) -> None:
    """Open the page of the lab with the jobs, five times."""
    driver.get(address)
    until(driver, f"return document.querySelectorAll('#labs-list button').length === {LEDGERS}")
    buttons = "[...document.querySelectorAll('#labs-list button')]"
    driver.execute_script(f"{buttons}.find((b) => b.textContent.includes('batch_sweep')).click()")
    until(driver, "return document.querySelectorAll('#world .thing').length > 3")
    paints, maps = [], []
    for _ in range(5):
        driver.refresh()
        until(driver, "return document.querySelectorAll('#world .thing').length > 3")
        paints.append(
            driver.execute_script(
                "return performance.getEntriesByName('first-contentful-paint')[0].startTime"
            )
        )
        maps.append(driver.execute_script("return performance.now()"))
    print(
        f"first paint {statistics.median(paints):.0f} ms; {JOBS:,} jobs on the map, of {LEDGERS} ledgers and "
        f"{CALLS:,} calls, after at most {statistics.median(maps):.0f} ms"
    )


def update(driver: Any, what: str, change: Callable[[int], None], shown: str) -> None:
    """Milliseconds from a change of a file to the page that shows it."""
    walls = []
    for number in range(TIMES):
        driver.execute_script(
            f"""
            window.shownAt = 0;
            const holds = (n) => {shown};
            const look = () => {{ if (!window.shownAt && holds({number})) window.shownAt = Date.now(); }};
            window.watching?.disconnect();
            window.watching = new MutationObserver(look);
            window.watching.observe(document.body, {{subtree: true, childList: true, characterData: true}});
            """
        )
        time.sleep(0.3)
        change(number)
        since = time.time() * 1000
        until(driver, "return window.shownAt")
        walls.append(driver.execute_script("return window.shownAt") - since)
    walls.sort()
    print(f"{what}  {statistics.median(walls):.0f} ms, the slowest of {TIMES} {walls[-1]:.0f} ms")


def main() -> None:
    print(f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} processors")
    with tempfile.TemporaryDirectory() as name:
        os.environ |= {"AWSLABS_HOME": name, "AWS_EC2_METADATA_DISABLED": "true", "AWS_REGION": REGION}
        path = fill()
        header, rows = journal.read(path)
        with served() as (pid, address), window() as driver:
            first_paint(driver, address)

            def call(number: int) -> None:
                line = {
                    "at": journal.now(),
                    "call": f"batch:Bench{number}",
                    "row": "",
                    "outcome": "ok",
                    "ms": 1,
                }
                with callbook.path_of(path).open("a") as file:
                    file.write(json.dumps(line) + "\n")

            def state(number: int) -> None:
                rows[number].state = "deleting"
                text = journal.as_text(header, rows)
                journal.write(path, text)

            first = "document.querySelector('#happens tbody tr')?.textContent.includes(`Bench${n}`)"
            update(driver, "a call, from its line to the page ", call, first)
            stack = "document.querySelector('#world .thing i')?.textContent.includes(`deleted ${n + 1}`)"
            update(driver, f"a state, of one job of {JOBS:,}     ", state, stack)
            before, since = cpu_s(pid), time.monotonic()
            time.sleep(IDLE_S)
            share = (cpu_s(pid) - before) / (time.monotonic() - since)
            print(f"while nothing happens, with a page open: {100 * share:.2f} % of a core")


if __name__ == "__main__":
    main()
