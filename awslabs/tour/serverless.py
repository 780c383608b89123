"""Chapter 5 in the tour."""

from __future__ import annotations

from awslabs import serverless
from awslabs.errors import LabError
from awslabs.ledger import Ledger
from awslabs.progress import poll
from awslabs.web import Web
from awslabs.workload import tables
from awslabs.workload.serverless import functions, haiku

BUILDS = "functions, tables, files and Bashoutter"
OPTIONS = ()
NEEDS = ()
LOOK_S = 30.0  # for a page to answer
up = serverless.up


def usd_per_hour(region: str) -> float:
    """Nothing: it is paid by use, and this work uses less than a cent of it."""
    return 0.0


def look(ledger: Ledger) -> str:
    """Bashoutter's page, as a browser gets it."""
    url = serverless.describe(ledger).site_url
    page = Web(url, timeout_s=LOOK_S).send("GET", url).content
    if b"<title>Bashoutter</title>" not in page:
        raise LabError("The site shows another page than Bashoutter's.", "", ledger.command("status"))
    return f"Bashoutter's page is there, {len(page)} bytes"


def work(ledger: Ledger) -> str:
    """Many functions at once, a table filled, and a haiku posted, liked and read again."""
    ran = functions.invoke_many(ledger, 20)
    written = tables.write(ledger, 500)
    api = haiku.Api(serverless.describe(ledger).api_url)
    posted = haiku.post(
        api, "tour", "An old silent pond", "A frog jumps into the pond", "Splash! Silence again."
    )
    haiku.like(api, posted["item_id"])
    liked = {**posted, "likes": 1}
    # An index follows its table a moment later: the list may not show yet what was just written.
    poll("the liked haiku is listed", lambda: liked in haiku.newest(api), timeout_s=60)
    if ran.finished != 20:
        raise LabError(f"{ran.finished} of 20 functions ran.")
    return f"20 functions ran, {ran.most_at_once} at once; {written.count} people in a table; a haiku liked"
