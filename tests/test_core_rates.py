"""Rates: a burst, then one call each so many seconds."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from test_services_support import frozen, wait

from awslabs.sandbox.core.rates import Rate, admit


@pytest.mark.parametrize(
    ("rate", "calls", "went"),
    [
        # When each call comes, in seconds after the one before; how many of them go through.
        (Rate(1.0, 1), [0, 0.5, 0.5, 1], [True, False, True, True]),
        (Rate(1.0, 3), [0, 0, 0, 0, 1, 0], [True, True, True, False, True, False]),
        (Rate(0.5, 2), [0, 0, 100, 0, 0], [True, True, True, True, False]),  # a pause gives one burst
        (Rate(30.0, 1), [0, 29.9, 29.9], [True, False, True]),  # a refused call costs nothing
        (Rate(0.0, 1), [0, 0, 0], [True, True, True]),
    ],
)
def test_a_rate_after_a_burst(rate: Rate, calls: list[float], went: list[bool]) -> None:
    owner, found = SimpleNamespace(), []
    with frozen():
        for after_s in calls:
            wait(after_s)
            found.append(admit(owner, {"one": rate}))
    assert found == went


def test_all_rates_or_none_are_counted() -> None:
    owner = SimpleNamespace()
    both = {"all": Rate(1.0, 3), "rare": Rate(10.0, 1)}
    with frozen():
        assert admit(owner, both)
        assert not admit(owner, both)
        assert [admit(owner, {"all": both["all"]}) for _ in range(3)] == [True, True, False]
        assert admit(SimpleNamespace(), both)  # another's own


def test_a_call_may_count_for_many() -> None:
    owner, rates = SimpleNamespace(), {"calls": Rate(1.0, 100), "tasks": Rate(1.0, 20)}
    with frozen():
        assert [admit(owner, rates, tasks=10) for _ in range(3)] == [True, True, False]
        wait(1)
        assert admit(owner, rates, tasks=10)
