"""Containers: what the practice cloud makes of what a Docker engine says."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from awslabs.sandbox.run.containers import Container

AT = "2026-11-29T12:00:00.000000000Z"


class Engine:
    """Of an engine its logs; whoever follows them may not get the last pieces, as with Docker."""

    def __init__(self, pieces: list[str], left_out: int) -> None:
        self.pieces = [f"{AT} {piece}".encode() for piece in pieces]
        self.left_out = left_out

    def logs(self, _: str, *, stream: bool, timestamps: bool, follow: bool = False) -> Iterator[bytes]:
        assert (stream, timestamps) == (True, True)
        return iter(self.pieces[: len(self.pieces) - self.left_out] if follow else self.pieces)


@pytest.mark.parametrize("left_out", [0, 1, 2, 4])
def test_each_line_is_told_once_though_the_engine_leaves_out_the_last(left_out: int) -> None:
    told: list[str] = []
    engine = Engine(["one\n", "a long ", "one\n", "no line end"], left_out)
    Container(engine, "id").follow(lambda at, line: told.append(line))
    assert told == ["one", "a long one", "no line end"]
