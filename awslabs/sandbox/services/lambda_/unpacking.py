"""The zip of a Lambda function: whether it can be unpacked at all, and unpacking it.

As on AWS, which unpacks it with `unzip`: files keep who may run them, and a symbolic link stays one. Names
stay below the folder, whatever they say. Links come last, so that nothing is ever written through one.
"""

from __future__ import annotations

import os
import stat
import zipfile
from pathlib import Path

LONGEST_NAME = 255  # bytes, of a file on Linux
LONGEST_LINK = 4095  # bytes, of what a link says
PASSWORD = 1  # the flag of an entry that needs one


def look_through(archive: zipfile.ZipFile) -> None:
    """Find what would stop the unpacking.

    Raises
    ------
    zipfile.BadZipFile
        An entry below a file or a link, a name that is too long, an entry with a password.
    """
    folders: set[tuple[str, ...]] = {()}
    others: set[tuple[str, ...]] = set()
    for entry in archive.infolist():
        name = parts(entry)
        if entry.flag_bits & PASSWORD or any(len(part.encode()) > LONGEST_NAME for part in name):
            raise zipfile.BadZipFile(f"{entry.filename!r} cannot be unpacked")
        if is_link(entry) and not (0 < entry.file_size <= LONGEST_LINK and b"\0" not in archive.read(entry)):
            raise zipfile.BadZipFile(f"{entry.filename!r} is a link to nowhere")
        folders |= {name[:depth] for depth in range(len(name))}
        (folders if entry.is_dir() else others).add(name)
    if both := folders & others:
        raise zipfile.BadZipFile(f"{'/'.join(both.pop())!r} is a file and a folder")


def unpack(archive: zipfile.ZipFile, target: Path) -> None:
    """Lay out the files in a folder, which is made; every user may read them.

    Source: Lambda developer guide: files keep their modes; every user must be able to read them.
    """
    target.mkdir(exist_ok=True)
    entries = archive.infolist()
    for entry in (one for one in entries if not is_link(one)):
        runs = entry.external_attr >> 16 & 0o100 or entry.is_dir()
        Path(archive.extract(entry, target)).chmod(0o755 if runs else 0o644)
    for entry in filter(is_link, entries):
        path = target.joinpath(*parts(entry))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)  # of two entries with one name the last counts
        os.symlink(archive.read(entry), os.fsencode(path))


def is_link(entry: zipfile.ZipInfo) -> bool:
    """Whether an entry is a symbolic link; its bytes are what it leads to."""
    return stat.S_ISLNK(entry.external_attr >> 16)


def parts(entry: zipfile.ZipInfo) -> tuple[str, ...]:
    """The name of an entry as it is unpacked: below the folder."""
    return tuple(part for part in entry.filename.split("/") if part not in ("", ".", ".."))
