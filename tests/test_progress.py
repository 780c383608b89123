"""How many things at once are done, and how they end."""

from __future__ import annotations

import threading

import pytest

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
