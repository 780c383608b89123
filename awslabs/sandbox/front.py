"""What a browser gets at the practice cloud's own address: the way to the console, which shows what stands.

Programs get AWS's answer there (`s3:ListBuckets`). A browser says that it wants HTML; a call to AWS does not.
The console's key is not ours to give: whoever holds it may read, and here anybody of this computer may ask.
"""

from __future__ import annotations

import fcntl
import html
import json
import os
import re
from pathlib import Path
from typing import Any

from awslabs.sandbox.core.answers import Answer

COMMAND = "python -m awslabs.console --sandbox"
ADDRESS = re.compile(r"http://127\.0\.0\.1:\d{1,5}/")
POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"


def wants_page(environ: dict[str, Any]) -> bool:
    """Whether a person looks: a browser's navigation to ``/`` without a call in it."""
    asks = environ.get("REQUEST_METHOD") == "GET" and environ.get("PATH_INFO") == "/"
    plain = not environ.get("QUERY_STRING") and not environ.get("HTTP_AUTHORIZATION")
    return bool(asks and plain and "text/html" in environ.get("HTTP_ACCEPT", ""))


def console_address(home: Path) -> str:
    """Where the console of this user listens; empty where none runs. It holds a lock on its note."""
    try:
        file = os.open(home / "console.json", os.O_RDONLY | os.O_NOFOLLOW)
    except OSError:
        return ""
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        return ""  # nobody holds it: its process has ended
    except BlockingIOError:
        text = os.pread(file, 10_000, 0)
    except OSError:
        return ""
    finally:
        os.close(file)
    try:
        address = str(json.loads(text)["address"])
    except (ValueError, TypeError, KeyError):
        return ""
    return address if ADDRESS.fullmatch(address) else ""


def page(home: Path) -> Answer:
    """Lead to the console that runs, or name the command that starts one."""
    if address := console_address(home):
        return Answer(302, {"location": address, "cache-control": "no-store"}, b"")
    text = (
        '<!doctype html><html lang="en"><meta charset="utf-8"><title>awslabs: the practice cloud</title>'
        '<meta name="viewport" content="width=device-width"><style>'
        "body{font:1rem/1.6 system-ui;margin:3rem auto;max-width:36rem;padding:0 1rem}"
        "pre{padding:.6rem;border:1px solid}</style><h1>The practice cloud</h1>"
        "<p>This address is for AWS clients. To see what stands in it, run:</p>"
        f"<pre>{html.escape(COMMAND)}</pre>"
        '<p lang="ja">ここはAWSクライアント用のアドレスです。'
        "中を見るには、上のコマンドを実行してください。</p></html>"
    )
    headers = {
        "content-type": "text/html; charset=utf-8",
        "content-security-policy": POLICY,
        "cache-control": "no-store",
    }
    return Answer(200, headers, text.encode())
