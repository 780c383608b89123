"""DynamoDB: tables come and go in time, and a batch has an end."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from moto.dynamodb.exceptions import DeletionProtectedException
from moto.dynamodb.models import DynamoDBBackend, dynamodb_backends
from moto.dynamodb.models.table import Table

from awslabs.sandbox.rules.engine import Call, Proceed, Refused, clock, memory, refusal, rule, scaled

CREATING_S = 5.0
DELETING_S = 5.0
BATCH = 25
ITEMS = (
    *("BatchGetItem", "BatchWriteItem", "DeleteItem", "GetItem", "PutItem", "Query", "Scan"),
    *("TransactGetItems", "TransactWriteItems", "UpdateItem"),
)


@dataclass
class Life:
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
    if standing is not None and memory(standing, Life).state == "DELETING":
        raise in_use(f"Attempt to change a resource which is still in use: Table is being deleted: {name}")
    table: Table = original(backend, name, *args, **kwargs)
    life = memory(table, Life)
    life.active_at = clock.now() + scaled(CREATING_S)
    _put(table, "CREATING" if life.active_at > clock.now() else "ACTIVE")
    return table


@table_states.patch(DynamoDBBackend, "delete_table")
def _end(original: Any, backend: DynamoDBBackend, name: str) -> Table:
    table: Table = backend.get_table(name)
    life = memory(table, Life)
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
    memory(table, Life).state = state
    for index in table.global_indexes:
        index.status = state


@table_states.patch(Table, "describe")
def _show(original: Any, table: Table, base_key: str = "TableDescription") -> dict[str, Any]:
    shown: dict[str, Any] = original(table, base_key)
    shown[base_key]["TableStatus"] = memory(table, Life).state
    return shown


@table_states.around("dynamodb:*")
def _pass_time(call: Call, proceed: Proceed) -> Any:
    backend = dynamodb_backends[call.account][call.region]
    now = clock.now()
    for table in list(backend.tables.values()):
        life = memory(table, Life)
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
    return "" if table is None else memory(table, Life).state


def _named(call: Call) -> list[str]:
    """The tables whose items a call asks for."""
    if items := call.get("TransactItems"):
        return [what.get("TableName", "") for each in items for what in each.values()]
    return list(call.get("RequestItems") or [call.get("TableName", "")])


@refusal("dynamodb:BatchWriteItem")
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
