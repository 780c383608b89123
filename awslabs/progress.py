"""Say what is awaited, and for how long so far.

Library code writes `with awaiting("the server boots"):` around whatever blocks, and `counting` around what is
done one by one; who watches (the command line, a notebook, nobody) sets `watcher`.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Protocol, TypeVar

from awslabs.errors import TimedOut

T = TypeVar("T")
Item = TypeVar("Item")

OFTEN = {"Delay": 2, "MaxAttempts": 300}  # for AWS's waiters, which would look every 15 to 20 s


class Curves(Protocol):
    """Series of points, as one picture."""

    def add(self, series: str, x: float, y: float | None) -> None:
        """One more point, if there is a number for it; threads may call it."""

    def draw(self) -> None:
        """Draw it now."""


class Watcher:
    """Whoever shows the waits; this one shows nothing."""

    def begin(self, what: str, total: int | None = None) -> Any:
        """A wait starts, or a count up to `total`; what is returned is handed to `advance` and `end`."""

    def advance(self, wait: Any, many: int) -> None:
        """So many more are done."""

    def end(self, wait: Any) -> None:
        """That wait is over, for whatever reason."""

    def line(self, text: str) -> None:
        """Something is said meanwhile."""

    def curves(self, title: str, x: str, y: str, joined: bool) -> Curves | None:
        """A picture that is drawn as its points come; None where there is no place for one."""
        return None


class Listener(Protocol):
    """Whoever hears of waits, and shows nothing."""

    def began(self, what: str) -> Any:
        """A wait starts; what is returned is handed to `ended`."""

    def ended(self, what: str, began: Any) -> None:
        """That wait is over."""


watcher: Watcher | None = None
_listeners: list[Listener] = []


@contextlib.contextmanager
def heard_by(listener: Listener) -> Iterator[None]:
    """Let somebody hear of each wait of this process that begins while the body runs, in any thread."""
    _listeners.append(listener)
    try:
        yield
    finally:
        _listeners.remove(listener)


@contextlib.contextmanager
def awaiting(what: str) -> Iterator[None]:
    """Show `what` as awaited while the body runs."""
    with counting(what, None):
        yield


@contextlib.contextmanager
def counting(what: str, total: int | None) -> Iterator[Callable[[int], None]]:
    """Show how many of `total` are done while the body works.

    Yields
    ------
    callable
        Takes how many more are done; threads may call it.
    """
    seen_by, mutex = watcher or Watcher(), threading.Lock()

    def more(many: int) -> None:
        with mutex:
            seen_by.advance(wait, many)

    told = [(one, one.began(what)) for one in tuple(_listeners)]
    try:
        wait = seen_by.begin(what, total)
        try:
            yield more
        finally:
            seen_by.end(wait)
    finally:
        for one, began in told:
            one.ended(what, began)


@contextlib.contextmanager
def plotting(
    title: str, x: str, y: str, *, joined: bool = True
) -> Iterator[Callable[[str, float, float | None], None]]:
    """Draw points as they come while the body runs, where somebody watches who can be shown a picture.

    Parameters
    ----------
    title, x, y : str
        What is drawn, and what its axes say, with their units.
    joined : bool
        Whether a line joins the points of a series.

    Yields
    ------
    callable
        Takes the name of a series, x and y; threads may call it.
    """
    picture = (watcher or Watcher()).curves(title, x, y, joined)
    if picture is None:
        yield lambda series, x, y: None
        return
    try:
        yield picture.add
    finally:
        picture.draw()


def attempts(
    what: str, *, timeout_s: float, first_s: float = 1.0, longest_s: float = 5.0, fix: str = ""
) -> Iterator[None]:
    """One turn of a loop after the other, with a pause in between, until the loop is left.

    Parameters
    ----------
    what : str
        What is awaited, as it is shown and as the error names it: "the server runs".
    first_s, longest_s : float
        The first turn comes at once, the next every `first_s` seconds; after half a minute in growing steps
        of at most `longest_s` seconds.
    timeout_s : float
        Seconds after which it is given up.
    fix : str
        What to do then.

    Raises
    ------
    TimedOut
        When the loop was not left in time.
    """
    began = time.monotonic()
    with awaiting(what):
        while True:
            yield
            spent = time.monotonic() - began
            if spent >= timeout_s:
                raise TimedOut(
                    f"Waited {timeout_s:.0f} s in vain until {what}.", "It did not come in time.", fix
                )
            time.sleep(min(first_s * max(1.0, spent / 30), longest_s, timeout_s - spent + 0.01))


def poll(what: str, probe: Callable[[], T], **how: Any) -> T:
    """Call `probe` until it answers something true, and return that. All else is as for `attempts`."""
    for _ in attempts(what, **how):
        if answer := probe():
            break
    return answer


def meanwhile(work: Callable[..., T], *args: Any) -> Callable[[], T]:
    """Begin some work in the background; who calls what is returned waits for its end and gets its result.

    An error of the work is raised there. Ctrl-C does not wait for it.
    """
    future: Future[T] = Future()

    def run() -> None:
        try:
            future.set_result(work(*args))
        except BaseException as error:
            future.set_exception(error)

    threading.Thread(target=run, name=getattr(work, "__name__", "work"), daemon=True).start()
    return future.result


def at_once(*questions: Callable[[], Any]) -> list[Any]:
    """Call functions at the same time and return their results in order; the first error is raised."""
    return each(lambda question: question(), questions, len(questions))


def each(function: Callable[[Item], T], items: Iterable[Item], at_once: int) -> list[T]:
    """Call a function with each item, so many at the same time, and return its results in order.

    The first error is raised. It and Ctrl-C wait for nothing, and what has not begun is not begun any more.
    """
    pool = ThreadPoolExecutor(at_once)
    try:
        return list(pool.map(function, items))
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
