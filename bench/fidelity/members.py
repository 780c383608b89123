"""Which members AWS's answers had, of Cloud Custodian's public recordings: the table that a test goes by.

    python bench/fidelity/members.py RECORDINGS DATE > tests/recorded_members.json

RECORDINGS is a folder of JSON lines, a file a service, with `operation`, `status` and `answer`: the answers
of AWS that https://github.com/cloud-custodian/cloud-custodian keeps for its tests (tests/data/placebo), in
which values are masked. Taken over are facts alone: per operation of the labs how many answers there are, and
of those that succeeded the union of the members' paths, with the type of each, which is botocore's. DATE is
the day on which the recordings were taken over; they themselves have no dates.
"""

from __future__ import annotations

import functools
import json
import sys
from pathlib import Path
from typing import Any

from botocore.model import ListShape, MapShape, Shape, StructureShape
from botocore.session import get_session

HERE = Path(__file__).parent
SOURCE = "https://github.com/cloud-custodian/cloud-custodian, tests/data/placebo"
NAMED = {"servicequotas": "service-quotas", "tagging": "resourcegroupstaggingapi"}
"""Files that are not called as boto3 calls the service."""


def members_of(shape: Shape, value: Any, path: str = "") -> dict[str, str]:
    """Each path in an answer that botocore's parser gave, and its type: ``{"Vpcs[].State": "string"}``.

    Keys of a map are its caller's words, not AWS's: ``Environment.Variables{}``. Members that the model does
    not have, as they are newer than it, are left out.
    """
    found: dict[str, str] = {}
    if value is None:
        return found
    if path:
        found[path] = shape.type_name
    if isinstance(shape, StructureShape) and isinstance(value, dict):
        for name, inner in value.items():
            if name in shape.members:
                found |= members_of(shape.members[name], inner, f"{path}.{name}".lstrip("."))
    elif isinstance(shape, ListShape):
        for inner in value:
            found |= members_of(shape.member, inner, f"{path}[]")
    elif isinstance(shape, MapShape):
        for inner in value.values():
            found |= members_of(shape.value, inner, f"{path}{{}}")
    return found


@functools.cache
def output_of(operation: str) -> Shape | None:
    """The model of an operation's answer: of ``ec2:RunInstances``."""
    service, _, name = operation.partition(":")
    shape: Shape | None = get_session().get_service_model(service).operation_model(name).output_shape
    return shape


def table_of(recordings: Path, operations: dict[str, list[str]]) -> dict[str, Any]:
    """What is recorded of each operation, in the order of the list of operations."""
    rows: dict[str, dict[str, Any]] = {
        f"{service}:{operation}": {"answers": 0, "members": {}}
        for service, names in operations.items()
        for operation in names
    }
    for file in sorted(recordings.glob("*.jsonl")):
        service = NAMED.get(file.stem, file.stem)
        for line in file.read_text(encoding="utf-8").splitlines():
            answer = json.loads(line)
            row = rows.get(f"{service}:{answer['operation']}")
            if row is None:
                continue
            row["answers"] += 1
            shape = output_of(f"{service}:{answer['operation']}")
            if answer["status"] < 300 and shape is not None:
                row["members"] |= members_of(shape, answer["answer"])
    for row in rows.values():
        row["members"] = dict(sorted(row["members"].items()))
    return rows


def main() -> None:
    """Print the table."""
    operations = json.loads((HERE / "lab-operations.json").read_text())
    rows = table_of(Path(sys.argv[1]), operations)
    print(json.dumps({"source": SOURCE, "taken": sys.argv[2], "operations": rows}, indent=1))


if __name__ == "__main__":
    main()
