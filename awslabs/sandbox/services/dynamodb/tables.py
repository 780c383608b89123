"""DynamoDB: tables come and go in time, and a batch has an end."""

from __future__ import annotations

import math
import uuid
from dataclasses import dataclass, field
from typing import Any

from moto.dynamodb.exceptions import DeletionProtectedException
from moto.dynamodb.models import DynamoDBBackend, dynamodb_backends
from moto.dynamodb.models.dynamo_type import DynamoType
from moto.dynamodb.models.table import Table
from moto.dynamodb.models.table_import import TableImport

from awslabs.sandbox.core.engine import Call, Proceed, Refused, before, clock, memory, rule, scaled, state

CREATING_S = 5.0
DELETING_S = 5.0
BATCH = 25
ITEMS = (
    *("BatchGetItem", "BatchWriteItem", "DeleteItem", "GetItem", "PutItem", "Query", "Scan"),
    *("TransactGetItems", "TransactWriteItems", "UpdateItem"),
)


@state
@dataclass
class TableLife:
    """A table's state, when it is active, and when it is gone (seconds since 1970)."""

    state: str = "ACTIVE"
    active_at: float = -math.inf
    gone_at: float = math.inf


def in_use(message: str) -> Refused:
    return Refused("ResourceInUseException", message, 400)


table_states = rule(
    "table_states",
    """A table is CREATING for 5 s, and DELETING for 5 s (times `slow_states`). Meanwhile its items are not
    there: ResourceNotFoundException; changing or deleting one that is CREATING, and making one of the name of
    one that is DELETING: ResourceInUseException. Deleting it twice is no error. moto: ACTIVE at once; the
    answer to a deletion says ACTIVE, and the table is gone. Source: aws-facts (a), (b), (j).""",
)


@table_states.patch(DynamoDBBackend, "create_table")
def _begin(original: Any, backend: DynamoDBBackend, name: str, *args: Any, **kwargs: Any) -> Table:
    standing = backend.tables.get(name)
    if standing is not None and memory(standing, TableLife).state == "DELETING":
        raise in_use(f"Attempt to change a resource which is still in use: Table is being deleted: {name}")
    table: Table = original(backend, name, *args, **kwargs)
    life = memory(table, TableLife)
    life.active_at = clock.now() + scaled(CREATING_S)
    _put(table, "CREATING" if life.active_at > clock.now() else "ACTIVE")
    return table


@table_states.patch(DynamoDBBackend, "delete_table")
def _end(original: Any, backend: DynamoDBBackend, name: str) -> Table:
    table: Table = backend.get_table(name)
    life = memory(table, TableLife)
    if life.state == "DELETING":
        return table
    if life.state == "CREATING":
        raise in_use(
            f"Attempt to change a resource which is still in use: Table is being created: {table.name}"
        )
    if table.deletion_protection_enabled:
        raise DeletionProtectedException(table.name)
    _put(table, "DELETING")
    life.gone_at = clock.now() + scaled(DELETING_S)
    if life.gone_at <= clock.now():
        backend.tables.pop(table.name)
    return table


def _put(table: Table, state: str) -> None:
    """Put a table and its indexes into a state."""
    memory(table, TableLife).state = state
    for index in table.global_indexes:
        index.status = state


@table_states.patch(Table, "describe")
def _show(original: Any, table: Table, base_key: str = "TableDescription") -> dict[str, Any]:
    shown: dict[str, Any] = original(table, base_key)
    shown[base_key]["TableStatus"] = memory(table, TableLife).state
    return shown


@table_states.patch(TableImport, "_process_s3_files")
def _imported(original: Any, job: TableImport, *args: Any) -> None:
    """A table that is imported is there when its import is done."""
    original(job, *args)
    if job.table is not None:
        memory(job.table, TableLife).active_at = -math.inf
        _put(job.table, "ACTIVE")


@table_states.around("dynamodb:*")
def _pass_time(call: Call, proceed: Proceed) -> Any:
    backend = dynamodb_backends[call.account][call.region]
    now = clock.now()
    for table in list(backend.tables.values()):
        life = memory(table, TableLife)
        if life.gone_at <= now:
            backend.tables.pop(table.name)
        elif life.state == "CREATING" and life.active_at <= now:
            _put(table, "ACTIVE")
    if call.action in ITEMS:
        for name in _named(call):
            if _state(backend, name) in ("CREATING", "DELETING"):
                raise Refused("ResourceNotFoundException", "Requested resource not found", 400)
    elif call.action in ("UpdateTable", "UpdateTimeToLive", "UpdateContinuousBackups"):
        name = call.get("TableName", "")
        state = _state(backend, name)
        if state in ("CREATING", "DELETING"):
            raise in_use(
                f"Attempt to change a resource which is still in use: Table is being "
                f"{'created' if state == 'CREATING' else 'deleted'}: {name}"
            )
    return proceed()


def _state(backend: DynamoDBBackend, name: str) -> str:
    """The state of a table by its name or ARN; empty where there is none."""
    table = backend.tables.get(name.rpartition("/")[2])
    return "" if table is None else memory(table, TableLife).state


def _named(call: Call) -> list[str]:
    """The tables whose items a call asks for."""
    if items := call.get("TransactItems"):
        return [what.get("TableName", "") for each in items for what in each.values()]
    return list(call.get("RequestItems") or [call.get("TableName", "")])


@before("dynamodb:BatchWriteItem")
def batches_of_25(call: Call) -> None:
    """More than 25 items in one BatchWriteItem, or none for a table: ValidationException. moto writes any
    number. Source: aws-facts (j); DynamoDB API reference, BatchWriteItem.
    """
    asked = {name: len(items) for name, items in (call.get("RequestItems") or {}).items()}
    if any(count > BATCH or count < 1 for count in asked.values()):
        raise Refused(
            "ValidationException",
            "1 validation error detected: Value at 'requestItems' failed to satisfy constraint: Map value "
            "must satisfy constraint: [Member must have length less than or equal to 25, Member must have "
            "length greater than or equal to 1]",
            400,
        )
    if sum(asked.values()) > BATCH:
        raise Refused("ValidationException", "Too many items requested for the BatchWriteItem call", 400)


capacity_is_counted = rule(
    "capacity_is_counted",
    """Scan and BatchWriteItem say, if asked, what they consumed, as a bill would: half a unit for each 4 KB
    read (consistently: a whole one), whatever a filter leaves of it; a unit for each KB of an item written,
    the old or the new one, whichever is larger. moto: 1 per call. Units of indexes are not counted.

    Source: DynamoDB developer guide, "Read and write operations", "Item sizes and formats".""",
)
READ_BYTES, WRITE_BYTES = 4096, 1024


@state
@dataclass
class Scanned:
    """Whether it counts what scans of a table read, and how much the last one has read."""

    counts: bool = False
    bytes: int = 0


@capacity_is_counted.patch(DynamoType, "size")
def _size(original: Any, value: DynamoType) -> int:
    """Bytes of a value: of a number one for two of its digits, and one more. moto: one per character."""
    if not value.is_number():
        return int(original(value))
    digits = "".join(filter(str.isdigit, str(value.value).upper().partition("E")[0])).strip("0")
    return 1 + math.ceil(len(digits) / 2)


@capacity_is_counted.patch(Table, "scan")
def _weigh(original: Any, table: Table, filters: Any, limit: Any, start: Any, *rest: Any, **more: Any) -> Any:
    found = original(table, filters, limit, start, *rest, **more)
    if memory(table, Scanned).counts:
        expression, index_name, consistent, projection = rest
        whole = found
        if expression is not None or projection:  # they work on what was read already
            whole = original(table, filters, limit, start, None, index_name, consistent, None, **more)
        memory(table, Scanned).bytes = sum(item.size() for item in whole[0])
    return found


@capacity_is_counted.around("dynamodb:Scan")
def _count_reads(call: Call, proceed: Proceed) -> Any:
    name = call.get("TableName", "")
    table = dynamodb_backends[call.account][call.region].tables.get(name.rpartition("/")[2])
    if table is None or not _asked(call):
        return proceed()
    scanned = memory(table, Scanned)
    scanned.counts = True
    try:
        answer = proceed()
    finally:
        scanned.counts = False
    share = 1.0 if call.get("ConsistentRead") else 0.5
    answer.result["ConsumedCapacity"] = _units(
        call, name, share * math.ceil(scanned.bytes / READ_BYTES) or share
    )
    return answer


@capacity_is_counted.around("dynamodb:BatchWriteItem")
def _count_writes(call: Call, proceed: Proceed) -> Any:
    if not _asked(call):
        answer = proceed()
        answer.result.pop("ConsumedCapacity", None)
        return answer
    backend = dynamodb_backends[call.account][call.region]
    before = _sizes(call, backend)
    answer = proceed()
    after = _sizes(call, backend)
    answer.result["ConsumedCapacity"] = [
        _units(
            call,
            name,
            sum(max(1, math.ceil(max(each) / WRITE_BYTES)) for each in zip(sizes, after[name], strict=True)),
        )
        for name, sizes in before.items()
    ]
    return answer


def _asked(call: Call) -> bool:
    return bool(call.get("ReturnConsumedCapacity", "NONE") != "NONE")


def _sizes(call: Call, backend: DynamoDBBackend) -> dict[str, list[int]]:
    """Bytes of the items that a BatchWriteItem names, as they are now; 0 for one that is not there."""
    sizes: dict[str, list[int]] = {}
    for name, requests in call.get("RequestItems", {}).items():
        sizes[name] = []
        for request in requests:
            key = request.get("PutRequest", {}).get("Item") or request.get("DeleteRequest", {}).get("Key")
            item = backend.get_item(name, key)
            sizes[name].append(item.size() if item is not None else 0)
    return sizes


def _units(call: Call, name: str, units: float) -> dict[str, Any]:
    """ConsumedCapacity of a table."""
    said: dict[str, Any] = {"TableName": name, "CapacityUnits": float(units)}
    if call.get("ReturnConsumedCapacity") == "INDEXES":
        said["Table"] = {"CapacityUnits": float(units)}
    return said


# --- shapes -------------------------------------------------------------------------------------------


@state
@dataclass
class ShownTable:
    """What a description says of a table beyond moto's record."""

    table_id: str = field(default_factory=lambda: str(uuid.uuid4()))


tables_have_awss_shape = rule(
    "tables_have_awss_shape",
    """A table has a TableId; no lists of indexes that it has not, no summary of the usual billing. The answer
    to a creation knows no warm throughput yet, that to a deletion no keys any more. moto: none of these, and
    it has words of its own for capacity of a table that pays per request. Source: aws-facts (k).""",
)
_LEFT = {
    *("DeletionProtectionEnabled", "ItemCount", "ProvisionedThroughput", "TableArn", "TableId"),
    *("TableName", "TableSizeBytes", "TableStatus", "BillingModeSummary"),
}


@tables_have_awss_shape.patch(Table, "describe")
def _shape(original: Any, table: Table, base_key: str = "TableDescription") -> dict[str, Any]:
    whole: dict[str, Any] = original(table, base_key)
    shown = whole[base_key]
    shown["TableId"] = memory(table, ShownTable).table_id
    for name in ("GlobalSecondaryIndexes", "LocalSecondaryIndexes"):
        if not shown.get(name):
            shown.pop(name, None)
    if (shown.get("BillingModeSummary") or {}).get("BillingMode") != "PAY_PER_REQUEST":
        shown.pop("BillingModeSummary", None)
    elif base_key == "Table":
        summary = shown["BillingModeSummary"]
        shown["BillingModeSummary"] = summary | {
            "LastUpdateToPayPerRequestDateTime": shown["CreationDateTime"]
        }
    return whole


@tables_have_awss_shape.around("dynamodb:CreateTable")
def _made(call: Call, proceed: Proceed) -> Any:
    if call.get("BillingMode") == "PAY_PER_REQUEST" and call.get("ProvisionedThroughput"):
        raise Refused(
            "ValidationException",
            "One or more parameter values were invalid: Neither ReadCapacityUnits nor WriteCapacityUnits can "
            "be specified when BillingMode is PAY_PER_REQUEST",
            400,
        )
    answer = proceed()
    answer.result["TableDescription"].pop("WarmThroughput", None)
    return answer


@tables_have_awss_shape.around("dynamodb:DeleteTable")
def _gone(call: Call, proceed: Proceed) -> Any:
    answer = proceed()
    shown = answer.result["TableDescription"]
    answer.result["TableDescription"] = {name: shown[name] for name in shown if name in _LEFT}
    return answer


@tables_have_awss_shape.around(
    "dynamodb:BatchWriteItem", "dynamodb:BatchGetItem", "dynamodb:TransactWriteItems"
)
def _as_asked(call: Call, proceed: Proceed) -> Any:
    answer = proceed()
    if not _asked(call):
        answer.result.pop("ConsumedCapacity", None)
    if call.get("ReturnItemCollectionMetrics", "NONE") == "NONE":
        answer.result.pop("ItemCollectionMetrics", None)
    return answer
