"""What CreateBucket wants to be told besides a name."""

from __future__ import annotations

from typing import Any


def location(region: str) -> dict[str, Any]:
    """Where a bucket is to lie: us-east-1 must not be said, every other Region must be."""
    return {} if region == "us-east-1" else {"CreateBucketConfiguration": {"LocationConstraint": region}}
