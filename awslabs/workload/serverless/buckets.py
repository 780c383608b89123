"""Files in the private bucket."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from awslabs.errors import LabError
from awslabs.kinds.named import pages, unless
from awslabs.ledger import Ledger
from awslabs.progress import counting
from awslabs.workload import standing


def put(ledger: Ledger, local: str | Path, key: str = "") -> dict[str, Any]:
    """Copy a file into the bucket, a large one in parts at the same time.

    AWS calls: ``s3:PutObject``, or ``s3:CreateMultipartUpload`` and what follows for more than 8 MiB.

    Parameters
    ----------
    key : str
        Its name there; the file's own name unless given.
    """
    path, bucket = Path(local), standing(ledger, "bucket")
    key = key or path.name
    marked = {"Metadata": {"awslabs-ledger": ledger.prefix}}
    with reachable(path), path.open("rb") as file:
        bytes_ = path.stat().st_size
        with counting("bytes sent", bytes_) as more:
            ledger.client("s3").upload_fileobj(file, bucket, key, ExtraArgs=marked, Callback=more)
    return {"key": key, "bytes": bytes_}


def get(ledger: Ledger, key: str, local: str | Path = "") -> dict[str, Any]:
    """Copy a file out of the bucket. AWS calls: ``s3:HeadObject``, ``s3:GetObject``.

    Parameters
    ----------
    local : str or Path
        A file or a folder; the last part of `key` in the current folder unless given.
    """
    s3, bucket = ledger.client("s3"), standing(ledger, "bucket")
    name = key.rpartition("/")[2]
    path = Path(local or name)
    path = path / name if path.is_dir() else path
    bytes_ = head(ledger, key)["ContentLength"]
    with reachable(path), counting("bytes received", bytes_) as more:
        s3.download_file(bucket, key, str(path), Callback=more)
    return {"key": key, "bytes": bytes_, "path": path}


def ls(ledger: Ledger, beginning: str = "") -> list[dict[str, Any]]:
    """What lies in the bucket, by name. AWS calls: ``s3:ListObjectsV2``, once per 1000 objects."""
    bucket = standing(ledger, "bucket")
    return [
        {"key": one["Key"], "bytes": one["Size"], "modified": one["LastModified"].isoformat()}
        for one in pages(ledger.client("s3"), "list_objects_v2", "Contents", Bucket=bucket, Prefix=beginning)
    ]


def rm(ledger: Ledger, key: str) -> dict[str, Any]:
    """Delete a file. AWS calls: ``s3:HeadObject``, ``s3:DeleteObject``."""
    bytes_ = head(ledger, key)["ContentLength"]
    ledger.client("s3").delete_object(Bucket=standing(ledger, "bucket"), Key=key)
    return {"key": key, "bytes": bytes_}


@contextlib.contextmanager
def reachable(path: Path) -> Iterator[None]:
    """Say it in words when a file of this computer cannot be read or written."""
    try:
        yield
    except OSError as error:
        fix = "name a file that can be read, or be written: in a folder that is there, on a disk with room"
        raise LabError(f"{path}: {error.strerror or error}.", "", fix) from error


def head(ledger: Ledger, key: str) -> dict[str, Any]:
    """What S3 knows of an object."""
    if not key:
        raise LabError("Every object has a key, and this one is empty.", "", ledger.command("bucket ls"))
    bucket = standing(ledger, "bucket")
    head: dict[str, Any] | None = unless(
        ("404", "NoSuchKey"), ledger.client("s3").head_object, Bucket=bucket, Key=key
    )
    if head is None:
        raise LabError(f"There is no {key} in the bucket.", "", ledger.command("bucket ls"))
    return head
