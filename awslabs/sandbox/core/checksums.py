"""The checksums of S3: CRC32, CRC32C, CRC64NVME, SHA1, SHA256.

Python has no fast CRC32C and no CRC64NVME. A CRC is linear, so many pieces of a text can go through it side
by side: here each byte of a piece stands beside the same byte of all others, and what is looked up in a table
is looked up for all of them at once (`bytes.translate`). 8 MiB take about 0.4 s so.
"""

from __future__ import annotations

import functools
import hashlib
import zlib
from collections.abc import Callable

LANES = 1024
"""How many pieces go side by side."""
SHORT = 28 * LANES
"""What is no longer than that goes byte by byte: to join so many pieces takes as long as 28 KiB do so."""


class Crc:
    """A CRC that begins and ends with all bits set, and has its lowest bit first.

    Parameters
    ----------
    polynomial : int
        With its bits reversed.
    size : int
        In bytes.
    """

    def __init__(self, polynomial: int, size: int) -> None:
        self.size, self.ones = size, (1 << 8 * size) - 1
        table = []
        for value in range(256):
            for _ in range(8):
                value = value >> 1 ^ (polynomial if value & 1 else 0)
            table.append(value)
        self.table = table
        self.planes = [bytes(each >> 8 * place & 255 for each in table) for place in range(size)]

    def digest(self, data: bytes) -> bytes:
        """The checksum of a text, as AWS writes it: the highest byte first."""
        length = len(data) // LANES if len(data) > SHORT else 0
        even = data[: length * LANES]
        state = self.ones
        if length:
            state = self._joined(state, self._side_by_side(even, length), length)
        return (self._one_by_one(state, data[len(even) :]) ^ self.ones).to_bytes(self.size, "big")

    def _one_by_one(self, state: int, data: bytes) -> int:
        table = self.table
        for byte in data:
            state = state >> 8 ^ table[(state ^ byte) & 255]
        return state

    def _side_by_side(self, data: bytes, length: int) -> list[int]:
        """What each of the pieces of this length makes of a state of zero."""
        lowest = (1 << 8 * LANES) - 1
        states = 0  # of all states the lowest bytes, then the next ones, ...
        for place in range(length):
            beside = states & lowest ^ int.from_bytes(data[place::length], "little")
            asked = beside.to_bytes(LANES, "little")
            looked_up = b"".join(map(asked.translate, self.planes))
            states = states >> 8 * LANES ^ int.from_bytes(looked_up, "little")
        found = states.to_bytes(self.size * LANES, "little")
        return [int.from_bytes(found[lane::LANES], "little") for lane in range(LANES)]

    def _joined(self, state: int, pieces: list[int], length: int) -> int:
        """The state after all pieces, one behind the other."""
        shifted = _columns(self.size * 8, self._after(length))
        for piece in pieces:
            moved = piece
            for column, bits in enumerate(shifted):
                moved ^= bits[state >> 8 * column & 255]
            state = moved
        return state

    def _after(self, length: int) -> list[int]:
        """What becomes of each single bit of a state behind so many bytes of zero."""
        bits = [1 << place for place in range(self.size * 8)]
        step = [self._one_by_one(bit, b"\0") for bit in bits]
        while length:
            if length & 1:
                bits = [_applied(step, bit) for bit in bits]
            step = [_applied(step, bit) for bit in step]
            length >>= 1
        return bits


def _applied(matrix: list[int], state: int) -> int:
    """A linear map, given by what it makes of single bits, on a state."""
    found = 0
    while state:
        lowest = state & -state
        found ^= matrix[lowest.bit_length() - 1]
        state ^= lowest
    return found


def _columns(bits: int, matrix: list[int]) -> list[list[int]]:
    """The same map as tables, one for each byte of a state."""
    return [[_applied(matrix, byte << place) for byte in range(256)] for place in range(0, bits, 8)]


_crc = functools.cache(Crc)

DIGESTS: dict[str, Callable[[bytes], bytes]] = {
    "CRC32": lambda data: zlib.crc32(data).to_bytes(4, "big"),
    "CRC32C": lambda data: _crc(0x82F63B78, 4).digest(data),
    "CRC64NVME": lambda data: _crc(0x9A6C9329AC4BC9B5, 8).digest(data),
    "SHA1": lambda data: hashlib.sha1(data, usedforsecurity=False).digest(),
    "SHA256": lambda data: hashlib.sha256(data).digest(),
}
"""Algorithms by AWS's names, each from a text to its checksum."""
