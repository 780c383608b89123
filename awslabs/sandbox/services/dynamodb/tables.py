"""DynamoDB: tables come and go in time, and a batch has an end."""

from __future__ import annotations

import math
import uuid
from dataclasses import dataclass, field
from typing import Any

from moto.dynamodb.models import DynamoDBBackend, dynamodb_backends
from moto.dynamodb.models.dynamo_type import DynamoType
from moto.dynamodb.models.table import Table

from awslabs.sandbox.core.engine import (
    Call,
    Proceed,
    Refused,
    before,
    clock,
    memory,
    operation,
    rule,
    scaled,
    state,
)
from awslabs.sandbox.services.dynamodb.values import invalid

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
    return Refused("ResourceInUseException", f"Attempt to change a resource which is still in use: {message}")


def backend_of(call: Call) -> DynamoDBBackend:
    """moto's DynamoDB of the caller's account and Region."""
    return dynamodb_backends[call.account][call.region]


table_states = rule(
    "table_states",
    """A table is CREATING for 5 s, and DELETING for 5 s (times `slow_states`). Meanwhile its items are not
    there: ResourceNotFoundException; changing or deleting one that is CREATING, and making one of the name of
    one that is DELETING: ResourceInUseException. Deleting it twice is no error. moto: ACTIVE at once; the
    answer to a deletion says ACTIVE, and the table is gone. Source: aws-facts (a), (b), (j).""",
)


@table_states.around("dynamodb:*")
def _pass_time(call: Call, proceed: Proceed) -> Any:
    backend = backend_of(call)
    now = clock.now()
    imported = {job.table_name for job in backend.table_imports.values() if job.status == "IN_PROGRESS"}
    for table in list(backend.tables.values()):
        life = memory(table, TableLife)
        if life.gone_at <= now:
            backend.tables.pop(table.name)
        elif table.name in imported:
            _put(table, "CREATING")
        elif life.state == "CREATING" and life.active_at <= now:
            _put(table, "ACTIVE")
    if call.action in ITEMS:
        for name in _named(call):
            if _state(backend, name) in ("CREATING", "DELETING"):
                raise Refused("ResourceNotFoundException", "Requested resource not found")
    elif call.action in ("DeleteTable", "UpdateTable", "UpdateTimeToLive", "UpdateContinuousBackups"):
        name = call.get("TableName", "")
        state = _state(backend, name)
        if state == "CREATING" or (state == "DELETING" and call.action != "DeleteTable"):
            raise in_use(f"Table is being {'created' if state == 'CREATING' else 'deleted'}: {name}")
    return proceed()


@table_states.around("dynamodb:CreateTable")
def _begin(call: Call, proceed: Proceed) -> Any:
    backend, name = backend_of(call), call.get("TableName", "")
    if _state(backend, name) == "DELETING":
        raise in_use(f"Table is being deleted: {name}")
    answer = proceed()
    table = backend.tables[name]
    life = memory(table, TableLife)
    life.active_at = clock.now() + scaled(CREATING_S)
    _put(table, "CREATING" if life.active_at > clock.now() else "ACTIVE")
    _say(answer.result["TableDescription"], life.state)
    return answer


@table_states.around("dynamodb:DeleteTable")
def _end(call: Call, proceed: Proceed) -> Any:
    backend = backend_of(call)
    table = backend.tables.get(call.get("TableName", "").rpartition("/")[2])
    answer = proceed()  # or moto's refusal
    if table is not None:
        life = memory(table, TableLife)
        if life.state != "DELETING":
            _put(table, "DELETING")
            life.gone_at = clock.now() + scaled(DELETING_S)
        if life.gone_at > clock.now():
            backend.tables[table.name] = table
        _say(answer.result["TableDescription"], "DELETING")
    return answer


@table_states.around("dynamodb:DescribeTable", "dynamodb:UpdateTable")
def _show(call: Call, proceed: Proceed) -> Any:
    answer = proceed()
    for shown in answer.result.values():
        _say(shown, _state(backend_of(call), shown["TableName"]))
    return answer


def _say(shown: dict[str, Any], state: str) -> None:
    """Write the state of a table and its indexes into its description."""
    shown["TableStatus"] = state
    for index in shown.get("GlobalSecondaryIndexes") or []:
        index["IndexStatus"] = state


def _put(table: Table, state: str) -> None:
    """Put a table and its indexes into a state."""
    memory(table, TableLife).state = state
    for index in table.global_indexes:
        index.status = state


def _state(backend: DynamoDBBackend, name: str) -> str:
    """The state of a table by its name or ARN; empty where there is none."""
    table = backend.tables.get(name.rpartition("/")[2])
    return "" if table is None else memory(table, TableLife).state


def _named(call: Call) -> list[str]:
    """The tables whose items a call asks for."""
    if items := call.get("TransactItems"):
        return [what.get("TableName", "") for each in items for what in each.values()]
    return list(call.get("RequestItems") or [call.get("TableName", "")])


@before("dynamodb:ExecuteStatement")
def a_list_of_parameters_has_some(call: Call) -> None:
    """An empty list of parameters: ValidationException. moto takes it. Source: aws-facts (k)."""
    if call.get("Parameters") == []:
        raise invalid(
            "1 validation error detected: Value '[]' at 'parameters' failed to satisfy constraint: "
            "Member must have length greater than or equal to 1"
        )


@before("dynamodb:Scan")
def segments_are_counted_from_zero(call: Call) -> None:
    """A segment that is none names both numbers. moto does not. Source: aws-facts (k)."""
    segment, total = call.get("Segment"), call.get("TotalSegments")
    if segment is not None and total is not None and segment >= total:
        raise invalid(
            "The Segment parameter is zero-based and must be less than parameter TotalSegments: "
            f"Segment: {segment} is not less than TotalSegments: {total}"
        )


@operation("dynamodb:DescribeContributorInsights")
def insights(call: Call) -> dict[str, Any]:
    """A table's contributor insights are off until somebody asks for them. moto does not know them; nor does
    the practice cloud switch them on. Source: aws-facts (k).
    """
    table = backend_of(call).get_table(call.get("TableName"))
    return {"TableName": table.name, "ContributorInsightsStatus": "DISABLED"}


@before("dynamodb:BatchWriteItem")
def batches_of_25(call: Call) -> None:
    """More than 25 items in one BatchWriteItem, or none for a table: ValidationException. moto writes any
    number. Source: aws-facts (j); DynamoDB API reference, BatchWriteItem.
    """
    asked = {name: len(items) for name, items in (call.get("RequestItems") or {}).items()}
    if any(count > BATCH or count < 1 for count in asked.values()):
        raise invalid(
            "1 validation error detected: Value at 'requestItems' failed to satisfy constraint: Map value "
            "must satisfy constraint: [Member must have length less than or equal to 25, Member must have "
            "length greater than or equal to 1]"
        )
    if sum(asked.values()) > BATCH:
        raise invalid("Too many items requested for the BatchWriteItem call")


capacity_is_counted = rule(
    "capacity_is_counted",
    """Scan and BatchWriteItem say, if asked, what they consumed, as a bill would: half a unit for each 4 KB
    read (consistently: a whole one), whatever a filter leaves of it; a unit for each KB of an item written,
    the old or the new one, whichever is larger. moto: 1 per call. Units of indexes are not counted.

    Source: DynamoDB developer guide, "Read and write operations", "Item sizes and formats".""",
)
READ_BYTES, WRITE_BYTES = 4096, 1024


@capacity_is_counted.patch(DynamoType, "size")
def _size(original: Any, value: DynamoType) -> int:
    """Bytes of a value: of a number one for two of its digits, and one more. moto: one per character."""
    if not value.is_number():
        return int(original(value))
    digits = "".join(filter(str.isdigit, str(value.value).upper().partition("E")[0])).strip("0")
    return 1 + math.ceil(len(digits) / 2)


@capacity_is_counted.around("dynamodb:Scan")
def _count_reads(call: Call, proceed: Proceed) -> Any:
    answer = proceed()
    name = call.get("TableName", "")
    table = backend_of(call).tables.get(name.rpartition("/")[2])
    if table is None or not _asked(call):
        return answer
    read = table.scan(  # without filter and projection: they work on what was read already
        {},
        call.get("Limit"),
        call.get("ExclusiveStartKey"),
        index_name=call.get("IndexName"),
        segments=(call.get("Segment"), call.get("TotalSegments")),
    )[0]
    share = 1.0 if call.get("ConsistentRead") else 0.5
    units = share * math.ceil(sum(item.size() for item in read) / READ_BYTES) or share
    answer.result["ConsumedCapacity"] = _units(call, name, units)
    return answer


@capacity_is_counted.around("dynamodb:BatchWriteItem")
def _count_writes(call: Call, proceed: Proceed) -> Any:
    if not _asked(call):
        answer = proceed()
        answer.result.pop("ConsumedCapacity", None)
        return answer
    backend = backend_of(call)
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


@tables_have_awss_shape.around("dynamodb:CreateTable", "dynamodb:DeleteTable")
@tables_have_awss_shape.around("dynamodb:DescribeTable", "dynamodb:UpdateTable")
def _shape(call: Call, proceed: Proceed) -> Any:
    backend = backend_of(call)
    name = call.get("TableName", "").rpartition("/")[2]
    standing = backend.tables.get(name)
    answer = proceed()
    for key, shown in answer.result.items():
        shown["TableId"] = memory(standing or backend.tables[name], ShownTable).table_id
        for each in ("GlobalSecondaryIndexes", "LocalSecondaryIndexes"):
            if not shown.get(each):
                shown.pop(each, None)
            for index in shown.get(each, []):
                _describe_index(index, shown["TableArn"], standing)
        if (shown.get("BillingModeSummary") or {}).get("BillingMode") != "PAY_PER_REQUEST":
            shown.pop("BillingModeSummary", None)
        elif key == "Table":
            shown["BillingModeSummary"] |= {"LastUpdateToPayPerRequestDateTime": shown["CreationDateTime"]}
    return answer


def _describe_index(index: dict[str, Any], table_arn: str, table: Any) -> None:
    """What an index says of itself beyond moto's record; its items are those that have all its keys."""
    keys = {each["AttributeName"] for each in index["KeySchema"]}
    items = [each for each in table.all_items() if keys <= each.attrs.keys()] if table is not None else []
    index["IndexArn"] = f"{table_arn}/index/{index['IndexName']}"
    index["ItemCount"], index["IndexSizeBytes"] = len(items), sum(each.size() for each in items)
    if "ProvisionedThroughput" in index:
        index["ProvisionedThroughput"] = {"NumberOfDecreasesToday": 0, **index["ProvisionedThroughput"]}


@tables_have_awss_shape.around("dynamodb:CreateTable")
def _made(call: Call, proceed: Proceed) -> Any:
    if call.get("BillingMode") == "PAY_PER_REQUEST" and call.get("ProvisionedThroughput"):
        raise invalid(
            "One or more parameter values were invalid: Neither ReadCapacityUnits nor WriteCapacityUnits can "
            "be specified when BillingMode is PAY_PER_REQUEST"
        )
    answer = proceed()
    shown = answer.result["TableDescription"]
    shown.pop("WarmThroughput", None)
    if asked := call.get("WarmThroughput"):
        shown["WarmThroughput"] = {**asked, "Status": "UPDATING"}
    for index in shown.get("GlobalSecondaryIndexes", []):
        index.pop("WarmThroughput", None)
    return answer


@tables_have_awss_shape.around("dynamodb:DeleteTable")
def _gone(call: Call, proceed: Proceed) -> Any:
    name = call.get("TableName", "").rpartition("/")[2]
    if name not in backend_of(call).tables:
        raise Refused("ResourceNotFoundException", f"Requested resource not found: Table: {name} not found")
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
