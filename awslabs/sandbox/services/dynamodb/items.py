"""DynamoDB: values, keys and expressions are looked at before anything happens, and mean what they do on AWS.

moto stumbles over what AWS refuses (an undefined `:value`, ``age < 3``, `1_000`), matches values of different
types, and leaves half an update behind. So the practice cloud reads the expressions itself (`expressions`,
`conditions`), and moto keeps the items.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from moto.dynamodb import comparisons, responses
from moto.dynamodb.exceptions import ConditionalCheckFailed, ItemSizeTooLarge, MockValidationException
from moto.dynamodb.models import DynamoDBBackend
from moto.dynamodb.models.dynamo_type import DynamoType, Item
from moto.dynamodb.models.table import Table
from moto.dynamodb.parsing.key_condition_expression import validate_schema

from awslabs.sandbox.core.engine import Call, Proceed, Refused, rule
from awslabs.sandbox.services.dynamodb import conditions, values
from awslabs.sandbox.services.dynamodb.expressions import Path, Placeholders, Reader
from awslabs.sandbox.services.dynamodb.tables import ITEMS, backend_of
from awslabs.sandbox.services.dynamodb.values import invalid

COUNTED = "1 validation error detected: "
_EXPRESSIONS = {
    # Which expressions an operation takes; values may stand in all but projections.
    "GetItem": ("ProjectionExpression",),
    "BatchGetItem": ("ProjectionExpression",),
    "PutItem": ("ConditionExpression",),
    "DeleteItem": ("ConditionExpression",),
    "UpdateItem": ("UpdateExpression", "ConditionExpression"),
    "Query": ("ProjectionExpression", "FilterExpression", "KeyConditionExpression"),
    "Scan": ("ProjectionExpression", "FilterExpression"),
    "TransactGetItems": ("ProjectionExpression",),
    "TransactWriteItems": ("UpdateExpression", "ConditionExpression"),
}

expressions_are_read = rule(
    "expressions_are_read",
    """Values, keys and expressions that AWS refuses: ValidationException, in AWS's words. Values of different
    types do not match; numbers are kept without zeros at their ends; an update happens whole or not at all.
    moto stumbles over many of them (a 500), and takes others. Source: aws-facts (k).""",
)


# --- before anything happens --------------------------------------------------------------------------


@expressions_are_read.before(*(f"dynamodb:{action}" for action in ITEMS))
def _look(call: Call) -> None:
    backend = backend_of(call)
    for name, body in _bodies(call):
        try:
            _look_at_values(body)
            _look_at_expressions(call.action, body)
        except Refused as refused:
            # Three operations count what they find; the others do not. Source: aws-facts (k).
            if call.action not in ("PutItem", "UpdateItem", "DeleteItem"):
                raise
            raise invalid(f"{COUNTED}{refused.message}") from refused
        table = backend.tables.get(name.rpartition("/")[2])
        if table is not None:
            _look_at_keys(table, body, call.action == "BatchWriteItem")


@expressions_are_read.around("dynamodb:Scan")
def _uncounted(call: Call, proceed: Proceed) -> Any:
    """A Scan does not count what is wrong with its `Select`; moto lets it, as a Query does."""
    try:
        return proceed()
    except MockValidationException as problem:
        if "Member must" in problem.exception_msg:
            raise
        raise invalid(problem.exception_msg.removeprefix(COUNTED)) from problem


def _bodies(call: Call) -> Iterator[tuple[str, dict[str, Any]]]:
    """What a call asks for: the table's name with Item, Key and expressions, for each part of it."""
    if call.action == "BatchWriteItem":
        for name, requests in (call.get("RequestItems") or {}).items():
            for request in requests:
                yield from ((name, each) for each in request.values())
    elif call.action == "BatchGetItem":
        for name, asked in (call.get("RequestItems") or {}).items():
            yield name, {key: value for key, value in asked.items() if key != "Keys"}
            yield from ((name, {"Key": key}) for key in asked.get("Keys") or [])
    elif call.action.startswith("Transact"):
        for item in call.get("TransactItems") or []:
            yield from ((each.get("TableName", ""), each) for each in item.values())
    else:
        yield call.get("TableName", ""), call.response.params


def _look_at_values(body: dict[str, Any]) -> None:
    for name, value in values.in_request(body):
        try:
            values.look_at(value)
        except values.Wrong as problem:
            if not name or str(problem).endswith("set  may not be empty"):  # its key is not named: [mv]
                raise invalid(str(problem)) from problem
            text = f"ExpressionAttributeValues contains invalid value: {problem} for key {name}"
            raise invalid(text) from problem


def _look_at_expressions(action: str, body: dict[str, Any]) -> None:
    """Read every expression, and see that names and values are all used."""
    taken = _EXPRESSIONS.get(action, ())
    present = [kind for kind in taken if body.get(kind) is not None]
    given = Placeholders()
    fields: tuple[tuple[str, str, dict[str, Any]], ...] = (
        ("ExpressionAttributeNames", "#", given.names),
        ("ExpressionAttributeValues", ":", given.values),
    )
    for field, sign, kept in fields:
        said = body.get(field)
        if said is None:
            continue
        needed = [kind for kind in taken if kind != "ProjectionExpression" or sign == "#"]
        if not set(needed) & set(present):
            null = [kind for kind in needed if kind != "ProjectionExpression"]
            why = f": {' and '.join(null)} {'is' if len(null) == 1 else 'are'} null" if null else ""
            raise invalid(f"{field} can only be specified when using expressions{why}")
        if not said:
            raise invalid(f"{field} must not be empty")
        for key in said:
            if not key.startswith(sign) or len(key) < 2 or not key[1:].replace("_", "a").isalnum():
                raise invalid(f'{field} contains invalid key: Syntax error; key: "{key}"')
        kept |= said
    for kind in present:
        _read(kind, body[kind], given)
    for field, _, kept in fields:
        if unused := sorted(kept.keys() - given.used):
            raise invalid(f"Value provided in {field} unused in expressions: keys: {{{', '.join(unused)}}}")


def _read(kind: str, text: str, given: Placeholders) -> Any:
    """An expression of any kind."""
    reader = Reader(kind, text, given)
    return {
        "ProjectionExpression": reader.projection,
        "FilterExpression": reader.condition,
        "ConditionExpression": reader.condition,
        "KeyConditionExpression": reader.key_condition,
        "UpdateExpression": reader.update,
    }[kind]()


def _types(table: Table) -> dict[str, str]:
    """The types of the attributes that are keys of a table or its indexes."""
    return {each["AttributeName"]: each["AttributeType"] for each in table.attr}


def _look_at_keys(table: Table, body: dict[str, Any], batch: bool) -> None:
    types = _types(table)
    own = [name for name in (table.hash_key_attr, table.range_key_attr) if name]
    if (key := body.get("Key")) is not None:
        if set(key) != set(own) or any(types[name] not in key[name] for name in own):
            raise invalid("The provided key element does not match the schema")
        _look_at_emptiness({name: key[name] for name in own})
    if (item := body.get("Item")) is not None:
        begin = "One or more parameter values were invalid: "
        for name in own:
            if name not in item and batch:
                raise invalid("The provided key element does not match the schema")
            if name not in item:
                raise invalid(f"{begin}Missing the key {name} in the item")
            if (kind := next(iter(item[name]))) != types[name]:
                raise invalid(f"{begin}Type mismatch for key {name} expected: {types[name]} actual: {kind}")
        _look_at_emptiness({name: item[name] for name in own})
        _look_at_index_keys(table, item)
    if (start := body.get("ExclusiveStartKey")) is not None:
        index = next((each for each in table.all_indexes() if each.name == body.get("IndexName")), None)
        wanted = {*own, *(each["AttributeName"] for each in (index.schema if index is not None else []))}
        if set(start) != wanted or any(types[name] not in start[name] for name in wanted):
            raise invalid("The provided starting key is invalid")
    if (condition := body.get("KeyConditionExpression")) is not None:
        given = Placeholders(
            body.get("ExpressionAttributeNames") or {}, body.get("ExpressionAttributeValues") or {}
        )
        for name, _, operands in _read("KeyConditionExpression", condition, given):
            if name in types and any(types[name] not in each for each in operands):
                raise invalid(
                    "One or more parameter values were invalid: Condition parameter type does not match "
                    "schema type"
                )


def _look_at_emptiness(keys: dict[str, dict[str, Any]]) -> None:
    for name, value in keys.items():
        ((kind, content),) = value.items()
        if kind in ("S", "B") and not content:
            raise invalid(
                "One or more parameter values are not valid. The AttributeValue for a key attribute cannot "
                f"contain an empty {'string' if kind == 'S' else 'binary'} value. Key: {name}"
            )


def _look_at_index_keys(table: Table, item: dict[str, Any]) -> None:
    """The keys of indexes, where an item has them, have the types that the table says, and are not empty."""
    types = _types(table)
    for index in table.all_indexes():
        for name in (each["AttributeName"] for each in index.schema):
            if name not in item or name in (table.hash_key_attr, table.range_key_attr):
                continue
            ((kind, content),) = item[name].items()
            begin = "One or more parameter values "
            if kind != types[name]:
                raise invalid(
                    f"{begin}were invalid: Type mismatch for Index Key {name} Expected: {types[name]} "
                    f"Actual: {kind} IndexName: {index.name}"
                )
            if kind in ("S", "B") and not content:
                raise invalid(
                    f"{begin}are not valid. A value specified for a secondary index key is not supported. "
                    f"The AttributeValue for a key attribute cannot contain an empty "
                    f"{'string' if kind == 'S' else 'binary'} value. IndexName: {index.name}, "
                    f"IndexKey: {name}"
                )


# --- what moto asks -----------------------------------------------------------------------------------


def _filter(text: str | None, names: Any, placeholders: Any) -> conditions.Filter:
    """A condition that can be asked of an item; all fit one without a text."""
    given = Placeholders(names or {}, placeholders or {})
    return conditions.Filter(_read("ConditionExpression", text, given) if text else None)


class _Condition:
    """A condition in the shape of moto's reader."""

    def __init__(self, text: str | None, names: Any, placeholders: Any) -> None:
        self.condition = _filter(text, names, placeholders)
        self.expr_attr_names_found = list(names or ())
        self.expr_attr_values_found = list(placeholders or ())

    def parse(self) -> conditions.Filter:
        return self.condition


class _Projection:
    """The same of a projection."""

    def __init__(self, expression: str | None, names: dict[str, str] | None) -> None:
        given = Placeholders(names or {})
        self.paths = Reader("ProjectionExpression", expression, given).projection() if expression else []
        self.expr_attr_names_found = list(names or ())

    def parse(self) -> list[Path]:
        return self.paths


class _Update:
    """The same of an update, whose names and values are known to be used."""

    @staticmethod
    def make(expression: str) -> _Update:
        return _Update()

    def find_clauses(self, kinds: Any) -> list[Any]:
        return []


expressions_are_read.puts(comparisons, "ConditionExpressionParser", _Condition)
expressions_are_read.puts(responses, "ProjectionExpressionParser", _Projection)
expressions_are_read.puts(responses, "UpdateExpressionParser", _Update)


@expressions_are_read.patch(responses, "parse_expression")
def _key_condition(
    original: Any,
    key_condition_expression: str,
    expression_attribute_values: dict[str, Any],
    expression_attribute_names: dict[str, str],
    schema: list[dict[str, str]],
) -> Any:
    given = Placeholders(expression_attribute_names, expression_attribute_values)
    found = _read("KeyConditionExpression", key_condition_expression, given)
    of_hash, of_range = validate_schema(found, schema)
    return of_hash, of_range, list(expression_attribute_names)


@expressions_are_read.patch(Item, "project")
def _project(original: Any, item: Item, projection_expressions: list[Any]) -> Item:
    if not all(isinstance(each, Path) for each in projection_expressions):
        found: Item = original(item, projection_expressions)
        return found
    kept = conditions.projected(projection_expressions, item.attrs)
    return Item(item.hash_key, item.range_key, kept)


@expressions_are_read.patch(DynamoDBBackend, "update_item")
def _update_item(
    original: Callable[..., Item],
    backend: DynamoDBBackend,
    table_name: str,
    key: dict[str, Any],
    update_expression: str,
    expression_attribute_names: dict[str, str],
    expression_attribute_values: dict[str, Any],
    attribute_updates: dict[str, Any] | None = None,
    expected: dict[str, Any] | None = None,
    condition_expression: str | None = None,
    return_values_on_condition_check_failure: str | None = None,
) -> Item:
    if attribute_updates or expected:
        return original(
            backend, table_name, key, update_expression, expression_attribute_names,
            expression_attribute_values, attribute_updates, expected, condition_expression,
            return_values_on_condition_check_failure,
        )  # fmt: skip
    table = backend.get_table(table_name)
    place = backend.get_keys_value(table, key)
    standing = table.get_item(*place)
    names, placeholders = expression_attribute_names or {}, expression_attribute_values or {}
    if not _filter(condition_expression, names, placeholders).expr(standing):
        if return_values_on_condition_check_failure == "ALL_OLD" and standing is not None:
            raise ConditionalCheckFailed(item=standing.to_json()["Attributes"])
        raise ConditionalCheckFailed
    before = dict(standing.attrs) if standing is not None else {n: DynamoType(v) for n, v in key.items()}
    after = before
    if update_expression:
        changes = Reader("UpdateExpression", update_expression, Placeholders(names, placeholders)).update()
        for change in changes:
            if change.path.parts[0] in key:
                raise invalid(
                    "One or more parameter values were invalid: Cannot update attribute "
                    f"{change.path.parts[0]}. This attribute is part of the key"
                )
        after = conditions.updated(changes, before)
    _look_at_index_keys(table, {name: {value.type: value.value} for name, value in after.items()})
    try:
        return table.put_item(after, overwrite=True)
    except ItemSizeTooLarge as problem:
        raise invalid("Item size to update has exceeded the maximum allowed size") from problem
