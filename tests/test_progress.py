"""How many things at once are done, and how they end."""

from __future__ import annotations

import threading

import pytest

from awslabs import progress, screen
from awslabs.progress import at_once, each


def test_results_come_in_the_order_of_what_was_asked() -> None:
    later = threading.Event()

    def first() -> str:
        later.wait(60)
        return "first"

    def second() -> str:
        later.set()
        return "second"

    assert at_once(first, second) == ["first", "second"]
    assert each(str, iter(range(5)), 2) == ["0", "1", "2", "3", "4"]


def test_after_an_error_nothing_more_is_begun_and_nothing_waited_for() -> None:
    begun: list[int] = []
    over = threading.Event()

    def one(number: int) -> None:
        begun.append(number)
        if number == 0:
            raise KeyError("the first")
        over.wait(60)

    try:
        with pytest.raises(KeyError, match="the first"):
            each(one, range(100), 2)
        assert len(begun) <= 3  # the second worker is at its first item, the first one at its second
    finally:
        over.set()


class Ear:
    """Keeps what it hears."""

    def __init__(self) -> None:
        self.heard: list[str] = []

    def began(self, what: str) -> str:
        self.heard.append(f"{what} began")
        return what

    def ended(self, what: str, began: str) -> None:
        assert began == what
        self.heard.append(f"{what} ended")


def test_of_two_who_listen_the_first_may_go_first_in_the_middle_of_a_wait() -> None:
    one, other = Ear(), Ear()
    first, second = progress.heard_by(one), progress.heard_by(other)
    with first:
        second.__enter__()
        wait = progress.awaiting("the server runs")
        wait.__enter__()
    wait.__exit__(None, None, None)
    with progress.counting("sent", 3) as more:
        more(3)
    second.__exit__(None, None, None)
    with progress.awaiting("nobody listens"):
        pass
    assert one.heard == ["the server runs began", "the server runs ended"]
    assert other.heard == [*one.heard, "sent began", "sent ended"]


def test_who_listens_takes_no_line_from_who_reads(capsys: pytest.CaptureFixture[str]) -> None:
    with progress.heard_by(Ear()):
        screen.say("the jobs go on without you")
    assert capsys.readouterr().err == "the jobs go on without you\n"
