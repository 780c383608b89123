"""An endpoint that answers every call after 50 ms: with it the client is measured, not a cloud.

    with stub.serving() as url: ...

It knows two calls: ``lambda:Invoke`` for an event, and ``dynamodb:BatchWriteItem``.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator

DELAY_S = 0.05
TAKEN = b"HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\nx-amzn-RequestId: stub\r\n\r\n"
NOTHING_LEFT = b'{"UnprocessedItems":{}}'
WRITTEN = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(NOTHING_LEFT), NOTHING_LEFT)


async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """The calls of one connection, one after the other."""
    with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
        while True:
            head = (await reader.readuntil(b"\r\n\r\n")).lower()
            lengths = [line for line in head.split(b"\r\n") if line.startswith(b"content-length:")]
            await reader.readexactly(int(lengths[0].split(b":")[1]) if lengths else 0)
            await asyncio.sleep(DELAY_S)
            writer.write(WRITTEN if b"x-amz-target" in head else TAKEN)
            await writer.drain()
    writer.close()


async def serve() -> None:
    """Say the port on stdout, and serve until the process is ended."""
    server = await asyncio.start_server(answer, "127.0.0.1", 0, backlog=1024, limit=1 << 20)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


@contextlib.contextmanager
def serving() -> Iterator[str]:
    """The stub in a process of its own; its URL becomes AWS's endpoint in the environment."""
    process = subprocess.Popen([sys.executable, __file__], stdout=subprocess.PIPE, text=True)
    assert process.stdout
    url = f"http://127.0.0.1:{process.stdout.readline().strip()}"
    os.environ.update(
        AWS_ENDPOINT_URL=url,
        AWS_ACCESS_KEY_ID="stub",
        AWS_SECRET_ACCESS_KEY="stub",
        AWS_REGION="us-east-1",
        AWS_DEFAULT_REGION="us-east-1",
    )
    try:
        yield url
    finally:
        process.terminate()
        process.wait()


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(serve())
