"""The event loop of a practice run: instances listen in it, and processes of all kinds start and end there.

loop = Loop(directory)
loop.call(coroutine)                # from any other thread; waits for it
await loop.find_ground()            # what this computer offers to what runs: looked at once
loop.close()                        # last, when all that runs has ended
"""

from __future__ import annotations

import asyncio
import logging
import shutil
import threading
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, TypeVar

from awslabs.sandbox.run import isolation

log = logging.getLogger("awslabs.sandbox")

T = TypeVar("T")


class Loop:
    """An event loop in a thread of its own.

    Parameters
    ----------
    directory : Path
        Of the practice run.

    Attributes
    ----------
    ground : isolation.Ground or None
        None until somebody has asked for it.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = Path(directory).resolve()
        self.ground: isolation.Ground | None = None
        self.finding = asyncio.Lock()
        self.asyncio = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.asyncio.run_forever, name="event loop", daemon=True)
        self.thread.start()

    def call(self, work: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine in the loop and wait for it."""
        return asyncio.run_coroutine_threadsafe(work, self.asyncio).result()

    async def find_ground(self) -> isolation.Ground:
        """What this computer offers to what runs."""
        async with self.finding:
            if self.ground is None:
                self.ground = await isolation.find_ground(self.directory)
                log.info("what runs, runs %s", self.ground.why_plain or "in namespaces")
        return self.ground

    def close(self) -> None:
        """End the thread, and remove what lies outside of the run's directory."""

        async def end_all() -> None:
            rest = asyncio.all_tasks() - {asyncio.current_task()}
            for task in rest:
                task.cancel()
            await asyncio.gather(*rest, return_exceptions=True)
            await self.asyncio.shutdown_default_executor()

        self.call(end_all())
        self.asyncio.call_soon_threadsafe(self.asyncio.stop)
        self.thread.join()
        self.asyncio.close()
        if self.ground is not None and self.ground.practice.parent != self.directory:
            shutil.rmtree(self.ground.practice.parent)
