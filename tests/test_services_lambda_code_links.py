"""Addresses of functions' code: which are forgotten, and when. `..._invocations` shows that they answer."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from moto.core.request import Request
from test_services_support import frozen, wait

from awslabs.sandbox.services.lambda_ import code_links


@pytest.fixture(autouse=True)
def _none() -> Iterator[None]:
    with frozen():
        yield
    code_links.close()


def fetched(address: str) -> tuple[int, Any]:
    answer = code_links.answer(Request({"PATH_INFO": address, "REQUEST_METHOD": "GET"}), b"")
    return answer.status, answer.body if answer.status == 200 else None


def test_an_address_counts_for_ten_minutes() -> None:
    first = code_links._link("1", b"first")
    wait(300)
    second = code_links._link("1", b"second")
    assert (fetched(first), fetched(second)) == ((200, b"first"), (200, b"second"))
    wait(300)
    assert (fetched(first), fetched(second)) == ((403, None), (200, b"second"))
    code_links._link("1", b"third")
    assert len(code_links._kept) == 2, "what is over is not kept"


def test_the_oldest_makes_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(code_links, "MOST", 2)
    made = [code_links._link("1", name) for name in (b"a", b"b", b"c")]
    assert [fetched(each) for each in made] == [(403, None), (200, b"b"), (200, b"c")]


def test_an_account_that_is_reset_has_none() -> None:
    mine, other = code_links._link("1", b"mine"), code_links._link("2", b"other")
    code_links.reset("1")
    assert (fetched(mine), fetched(other)) == ((403, None), (200, b"other"))
