"""Checksums of S3, beside what others say of the same texts."""

from __future__ import annotations

import random
import zlib

import pytest

from awslabs.sandbox.core.checksums import DIGESTS, LANES, SHORT, Crc

# The catalogue of parametrised CRC algorithms (reveng.sourceforge.io): CRC-32/ISCSI and CRC-64/NVME.
CHECK = {"CRC32": "cbf43926", "CRC32C": "e3069283", "CRC64NVME": "ae8b14860a799888"}


@pytest.mark.parametrize("name", CHECK)
def test_the_nine_digits_have_the_checksum_of_the_catalogue(name: str) -> None:
    assert DIGESTS[name](b"123456789").hex() == CHECK[name]


@pytest.mark.parametrize("length", [0, 1, SHORT - 1, SHORT, SHORT + 1, SHORT + LANES, 100_003])
def test_many_pieces_at_once_are_as_one_byte_after_the_other(length: int) -> None:
    data = random.Random(length).randbytes(length)
    assert Crc(0xEDB88320, 4).digest(data) == zlib.crc32(data).to_bytes(4, "big")


def test_a_long_text_has_the_checksum_that_its_bytes_have_one_by_one() -> None:
    data = random.Random(1).randbytes(SHORT + 5 * LANES + 17)
    crc = Crc(0x9A6C9329AC4BC9B5, 8)
    slowly = (crc._one_by_one(crc.ones, data) ^ crc.ones).to_bytes(8, "big")
    assert DIGESTS["CRC64NVME"](data) == slowly
