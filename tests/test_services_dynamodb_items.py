# ruff: noqa: E501  (AWS's sentences are long)
"""DynamoDB's values, keys and expressions: what AWS refuses is refused, and nothing makes moto stumble.

AWSLABS_FUZZ=20000 makes as many examples of each kind, AWSLABS_FUZZ_SEED=N the same ones again: `make fuzz`.
"""

from __future__ import annotations

import contextlib
import os
import random
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import hypothesis
import pytest
from botocore.exceptions import ClientError
from hypothesis import HealthCheck, given, note, settings
from hypothesis import strategies as st
from test_services_support import client, cloud

from awslabs.sandbox.core.engine import Refused
from awslabs.sandbox.services.dynamodb import values
from awslabs.sandbox.services.dynamodb.expressions import Placeholders, Reader

EXAMPLES = int(os.environ.get("AWSLABS_FUZZ", "500"))
ANY = (
    random.SystemRandom().randrange(2**32) if "AWSLABS_FUZZ" in os.environ else 0
)  # CI has the same each time
SEED = int(os.environ.get("AWSLABS_FUZZ_SEED") or ANY)
BAD = "ValidationException"
COUNTED = "1 validation error detected: "


@pytest.fixture(scope="module")
def aws() -> Iterator[Any]:
    """DynamoDB with two tables: `lab` has a sort key and an index, `plain` neither."""
    with cloud(every=True):
        aws = client("dynamodb")
        types = {"id": "S", "seq": "N", "who": "S"}
        aws.create_table(
            TableName="lab",
            AttributeDefinitions=[{"AttributeName": n, "AttributeType": t} for n, t in types.items()],
            KeySchema=schema("id", "seq"),
            GlobalSecondaryIndexes=[
                {"IndexName": "by-who", "KeySchema": schema("who"), "Projection": {"ProjectionType": "ALL"}}
            ],
            BillingMode="PAY_PER_REQUEST",
        )
        aws.create_table(
            TableName="plain",
            AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
            KeySchema=schema("id"),
            BillingMode="PAY_PER_REQUEST",
        )
        yield aws


def schema(*names: str) -> list[dict[str, str]]:
    return [
        {"AttributeName": name, "KeyType": kind} for name, kind in zip(names, ("HASH", "RANGE"), strict=False)
    ]


def answer(method: Any, **request: Any) -> tuple[str, str]:
    """The code and message of a refusal; "ok" and nothing where there is none."""
    try:
        method(**request)
    except ClientError as error:
        return error.response["Error"]["Code"], error.response["Error"]["Message"]
    return "ok", ""


KEY = {"id": {"S": "k"}}
ITEM = KEY | {
    "n": {"N": "5"},
    "s": {"S": "text"},
    "l": {"L": [{"N": "1"}, {"S": "x"}, {"M": {"deep": {"N": "2"}}}]},
    "m": {"M": {"a": {"S": "b"}}},
    "ss": {"SS": ["a", "b"]},
    "bin": {"B": b"\x00\x01"},
}


@pytest.fixture
def item(aws: Any) -> Any:
    aws.put_item(TableName="plain", Item=ITEM)
    return aws


def found(aws: Any, text: str, **named: Any) -> bool:
    """Whether a condition finds the item."""
    more: dict[str, Any] = {"FilterExpression": text}
    if named:
        more["ExpressionAttributeValues"] = {f":{name}": value for name, value in named.items()}
    return bool(aws.scan(TableName="plain", **more)["Count"])


# --- what is refused ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "given", "says"),
    [
        ("n = :v", {}, "An expression attribute value used in expression is not defined; attribute value: :v"),
        ("#n = s", {}, "An expression attribute name used in the document path is not defined; attribute name: #n"),
        ("n < 3", {}, 'Syntax error; token: "3", near: "< 3"'),
        ("n = 'x'", {}, 'Syntax error; token: "\'", near: "= \'x"'),
        ("name = :v", {":v": {"S": "x"}}, "Attribute name is a reserved keyword; reserved keyword: name"),
        ("", {}, "The expression can not be empty;"),
        ("n = ", {}, 'Syntax error; token: "<EOF>", near: "="'),
        ("n = s)", {}, 'Syntax error; token: ")", near: "s)"'),
        ("((n = s))", {}, "The expression has redundant parentheses;"),
        ("foo(n)", {}, "Invalid function name; function: foo"),
        ("contains(n)", {}, "Incorrect number of operands for operator or function; operator or function: "
         "contains, number of operands: 1"),
        ("size(n)", {}, "The function is not allowed to be used this way in an expression; function: size"),
        ("if_not_exists(n, s)", {}, "The function is not allowed in a condition expression; function: "
         "if_not_exists"),
        ("begins_with(n, :v)", {":v": {"N": "1"}}, "Incorrect operand type for operator or function; operator "
         "or function: begins_with, operand type: N"),
        ("n < :v", {":v": {"BOOL": True}}, "Incorrect operand type for operator or function; operator or "
         "function: <, operand type: BOOL"),
        ("n = n", {}, "The first operand must be distinct from the remaining operands for this operator or "
         "function; operator: =, first operand: [n]"),
        ("attribute_type(n, :v)", {":v": {"S": "X"}}, "Invalid attribute type name found; type: X, valid types: "
         "{B,NULL,SS,BOOL,L,BS,N,NS,S,M}"),
        ("n BETWEEN :a AND :b", {":a": {"N": "2"}, ":b": {"N": "1"}}, "The BETWEEN operator requires upper bound "
         "to be greater than or equal to lower bound; lower bound operand: AttributeValue: {N:2}, upper bound "
         "operand: AttributeValue: {N:1}"),
    ],
)  # fmt: skip
def test_a_condition_that_aws_refuses(item: Any, text: str, given: dict[str, Any], says: str) -> None:
    more = {"ExpressionAttributeValues": given} if given else {}
    asked = {"TableName": "plain", "FilterExpression": text} | more
    assert answer(item.scan, **asked) == (BAD, f"Invalid FilterExpression: {says}")
    asked = {"TableName": "plain", "Key": KEY, "ConditionExpression": text} | more
    assert answer(item.delete_item, **asked) == (BAD, f"{COUNTED}Invalid ConditionExpression: {says}")


@pytest.mark.parametrize(
    ("more", "says"),
    [
        (
            {"FilterExpression": "n = :a", "ExpressionAttributeValues": {":a": {"N": "1"}, ":b": {"N": "1"}}},
            "Value provided in ExpressionAttributeValues unused in expressions: keys: {:b}",
        ),
        (
            {"FilterExpression": "n = s", "ExpressionAttributeNames": {"#a": "n"}},
            "Value provided in ExpressionAttributeNames unused in expressions: keys: {#a}",
        ),
        (
            {
                "FilterExpression": "n = s",
                "ExpressionAttributeNames": {"#a": "n"},
                "ExpressionAttributeValues": {":a": {"N": "1"}},
            },
            "Value provided in ExpressionAttributeNames unused in expressions: keys: {#a}",
        ),
        (
            {"ExpressionAttributeValues": {":a": {"N": "1"}}},
            "ExpressionAttributeValues can only be specified when using expressions: FilterExpression is null",
        ),
        (
            {"FilterExpression": "n = s", "ExpressionAttributeNames": {}},
            "ExpressionAttributeNames must not be empty",
        ),
        (
            {"FilterExpression": "a = s", "ExpressionAttributeNames": {"a": "n"}},
            'ExpressionAttributeNames contains invalid key: Syntax error; key: "a"',
        ),
        (
            {"FilterExpression": "n = :a", "ExpressionAttributeValues": {":a": {"N": "1_000"}}},
            "ExpressionAttributeValues contains invalid value: The parameter cannot be converted to a numeric "
            "value: 1_000 for key :a",
        ),
        (
            {"ProjectionExpression": "m, m.a"},
            "Invalid ProjectionExpression: Two document paths overlap with each other; must remove or rewrite "
            "one of these paths; path one: [m], path two: [m, a]",
        ),
        (
            {"ProjectionExpression": "m..a"},
            'Invalid ProjectionExpression: Syntax error; token: ".", near: "..a"',
        ),
    ],
)
def test_names_and_values_are_all_defined_and_all_used(item: Any, more: dict[str, Any], says: str) -> None:
    assert answer(item.scan, TableName="plain", **more) == (BAD, says)


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ({"N": "1_000"}, "The parameter cannot be converted to a numeric value: 1_000"),
        ({"N": "１２"}, "The parameter cannot be converted to a numeric value: １２"),
        ({"N": " 1"}, "The parameter cannot be converted to a numeric value:  1"),
        ({"N": "NaN"}, "The parameter cannot be converted to a numeric value: NaN"),
        ({"N": ""}, "The parameter cannot be converted to a numeric value"),
        ({"N": "1" * 39}, "Attempting to store more than 38 significant digits in a Number"),
        ({"N": "1E126"}, "Number overflow. Attempting to store a number with magnitude larger than supported range"),
        ({"N": "1E-131"}, "Number underflow. Attempting to store a number with magnitude smaller than supported "
         "range"),
        ({"SS": ["a", "a"]}, "One or more parameter values were invalid: Input collection [a, a] contains "
         "duplicates."),
        ({"NS": ["1", "1.0"]}, "Input collection contains duplicates"),
        ({"SS": []}, "One or more parameter values were invalid: An string set  may not be empty"),
        ({"NULL": False}, "One or more parameter values were invalid: Null attribute value types must have the "
         "value of true"),
        ({"L": [{"M": {"a": {"N": "x"}}}]}, "The parameter cannot be converted to a numeric value: x"),
        ({}, "Supplied AttributeValue is empty, must contain exactly one of the supported datatypes"),
    ],
)  # fmt: skip
def test_a_value_that_aws_refuses(item: Any, value: dict[str, Any], says: str) -> None:
    wrong = KEY | {"v": value}
    assert answer(item.put_item, TableName="plain", Item=wrong) == (BAD, COUNTED + says)
    request = {"plain": [{"PutRequest": {"Item": {"id": {"S": "first"}}}}, {"PutRequest": {"Item": wrong}}]}
    assert answer(item.batch_write_item, RequestItems=request) == (BAD, says)
    assert "Item" not in item.get_item(TableName="plain", Key={"id": {"S": "first"}})


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        ("007", "7"), ("-0.0", "0"), ("1.500", "1.5"), ("1e3", "1000"), ("+2", "2"), (".5", "0.5"),
        ("1" * 38, "1" * 38), ("9.9e125", "99" + "0" * 124), ("1E-130", "0." + "0" * 129 + "1"),
    ],
)  # fmt: skip
def test_numbers_are_kept_without_zeros_at_their_ends(item: Any, sent: str, kept: str) -> None:
    item.put_item(TableName="plain", Item=KEY | {"v": {"N": sent}})
    assert item.get_item(TableName="plain", Key=KEY)["Item"]["v"] == {"N": kept}


@pytest.mark.parametrize(
    ("key", "table"),
    [
        ({"id": {"N": "1"}}, "plain"), ({}, "plain"), (KEY | {"n": {"N": "1"}}, "plain"), (KEY, "lab"),
        (KEY | {"seq": {"S": "1"}}, "lab"),
    ],
)  # fmt: skip
def test_a_key_has_to_be_that_of_the_table(item: Any, key: dict[str, Any], table: str) -> None:
    says = (BAD, "The provided key element does not match the schema")
    assert answer(item.get_item, TableName=table, Key=key) == says
    assert answer(item.delete_item, TableName=table, Key=key) == says
    assert answer(item.update_item, TableName=table, Key=key) == says
    assert answer(item.batch_get_item, RequestItems={table: {"Keys": [key]}}) == says


def test_the_keys_of_an_item_have_their_types(item: Any) -> None:
    begin = "One or more parameter values were invalid: "
    put = item.put_item
    assert answer(put, TableName="lab", Item=KEY) == (BAD, f"{begin}Missing the key seq in the item")
    text = f"{begin}Type mismatch for key seq expected: N actual: S"
    assert answer(put, TableName="lab", Item=KEY | {"seq": {"S": "1"}}) == (BAD, text)
    text = f"{begin}Type mismatch for Index Key who Expected: S Actual: N IndexName: by-who"
    assert answer(put, TableName="lab", Item=KEY | {"seq": {"N": "1"}, "who": {"N": "1"}}) == (BAD, text)
    change = {"UpdateExpression": "SET who = :w", "ExpressionAttributeValues": {":w": {"N": "1"}}}
    assert answer(item.update_item, TableName="lab", Key=KEY | {"seq": {"N": "1"}}, **change) == (BAD, text)


@pytest.mark.parametrize(
    ("condition", "says"),
    [
        ("id = :k OR seq = :n", "Invalid KeyConditionExpression: Invalid operator used in KeyConditionExpression: OR"),
        ("id <> :k AND seq = :n", "Invalid KeyConditionExpression: Invalid operator used in "
         "KeyConditionExpression: <>"),
        ("id = :k AND id = :n", "Invalid KeyConditionExpression: KeyConditionExpressions must only contain one "
         "condition per key"),
        ("id = :k AND size(seq) = :n", "Invalid KeyConditionExpression: KeyConditionExpressions cannot contain "
         "nested operations"),
        ("id = :n AND seq = :k", "One or more parameter values were invalid: Condition parameter type does not "
         "match schema type"),
        ("seq = :n AND seq <> :k", "Invalid KeyConditionExpression: Invalid operator used in "
         "KeyConditionExpression: <>"),
    ],
)  # fmt: skip
def test_a_query_that_aws_refuses(aws: Any, condition: str, says: str) -> None:
    given = {":k": {"S": "k"}, ":n": {"N": "1"}}
    asked = {"KeyConditionExpression": condition, "ExpressionAttributeValues": given}
    assert answer(aws.query, TableName="lab", **asked) == (BAD, says)


def test_a_query_reads_its_condition_in_any_order(aws: Any) -> None:
    for number in range(4):
        aws.put_item(TableName="lab", Item={"id": {"S": "q"}, "seq": {"N": str(number)}})
    given = {":k": {"S": "q"}, ":a": {"N": "1"}, ":b": {"N": "2"}}
    for condition in ("id = :k AND seq BETWEEN :a AND :b", "(seq BETWEEN :a AND :b) AND (:k = id)"):
        asked = {"KeyConditionExpression": condition, "ExpressionAttributeValues": given}
        assert aws.query(TableName="lab", **asked)["Count"] == 2


# --- what it means ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "named", "matches"),
    [
        ("n < :v", {"v": {"S": "6"}}, False),
        ("n = :v", {"v": {"S": "5"}}, False),
        ("n = :v", {"v": {"N": "5.0"}}, True),
        ("n <> :v", {"v": {"S": "5"}}, True),
        ("gone <> :v", {"v": {"S": "5"}}, True),
        ("gone < :v OR gone = :v", {"v": {"N": "5"}}, False),
        ("s > :v", {"v": {"B": b"a"}}, False),
        ("n BETWEEN :a AND :b", {"a": {"S": "4"}, "b": {"S": "6"}}, False),
        ("n IN (:a, :b)", {"a": {"S": "5"}, "b": {"N": "5"}}, True),
        ("contains(ss, :v)", {"v": {"S": "a"}}, True),
        ("contains(ss, :v)", {"v": {"N": "1"}}, False),
        ("contains(l, :v)", {"v": {"S": "x"}}, True),
        ("contains(s, :v)", {"v": {"S": "ex"}}, True),
        ("begins_with(n, :v)", {"v": {"S": "5"}}, False),
        ("begins_with(bin, :v)", {"v": {"B": b"\x00"}}, True),
        ("size(n) > :v", {"v": {"N": "0"}}, False),
        ("size(bin) = :v", {"v": {"N": "2"}}, True),
        ("size(l) = :v AND size(m) < :v", {"v": {"N": "3"}}, True),
        ("l[2].deep = :v", {"v": {"N": "2"}}, True),
        ("l[9].deep = :v", {"v": {"N": "2"}}, False),
        ("n.a = :v", {"v": {"N": "2"}}, False),
        ("attribute_type(l, :v)", {"v": {"S": "L"}}, True),
        ("NOT n = :v AND attribute_exists(m.a)", {"v": {"N": "4"}}, True),
        ("n = :v OR n = :w AND n = :x", {"v": {"N": "5"}, "w": {"N": "1"}, "x": {"N": "1"}}, True),
        ("(n = :v OR n = :w) AND n = :x", {"v": {"N": "5"}, "w": {"N": "1"}, "x": {"N": "1"}}, False),
    ],
)
def test_types_that_differ_do_not_match(item: Any, text: str, named: dict[str, Any], matches: bool) -> None:
    assert found(item, text, **named) is matches


def update(aws: Any, text: str, **named: Any) -> dict[str, Any]:
    more = {"ExpressionAttributeValues": {f":{n}": v for n, v in named.items()}} if named else {}
    return aws.update_item(TableName="plain", Key=KEY, UpdateExpression=text, ReturnValues="ALL_NEW", **more)[
        "Attributes"
    ]


def test_an_update_does_what_it_says(item: Any) -> None:
    after = update(
        item,
        "SET n = n - :one, s = if_not_exists(s, :x), fresh = if_not_exists(gone, :x), l[7] = :x, "
        "m.c = list_append(l, :list) REMOVE l[0], l[2] ADD ss :set DELETE bin_set :bytes",
        one={"N": "0.5"}, x={"S": "new"}, list={"L": [{"N": "9"}]}, set={"SS": ["b", "c"]},
        bytes={"BS": [b"z"]},
    )  # fmt: skip
    assert (after["n"], after["s"], after["fresh"]) == ({"N": "4.5"}, {"S": "text"}, {"S": "new"})
    assert after["l"] == {"L": [{"S": "x"}, {"S": "new"}]}
    assert after["m"]["M"]["c"]["L"][-1] == {"N": "9"}
    assert set(after["ss"]["SS"]) == {"a", "b", "c"}
    after = update(item, "DELETE ss :set ADD hits :two", set={"SS": ["a", "b", "c"]}, two={"N": "2"})
    assert ("ss" in after, after["hits"]) == (False, {"N": "2"})
    big = {"N": "9" * 38}
    assert update(item, "SET big = :big", big=big)["big"] == big
    assert item.update_item(TableName="plain", Key={"id": {"S": "only"}})["ResponseMetadata"]
    assert item.get_item(TableName="plain", Key={"id": {"S": "only"}})["Item"] == {"id": {"S": "only"}}


@pytest.mark.parametrize(
    ("text", "named", "says"),
    [
        ("SET gone.a = :v", {"v": {"N": "1"}}, "The document path provided in the update expression is invalid "
         "for update"),
        ("SET n = gone + :v", {"v": {"N": "1"}}, "The provided expression refers to an attribute that does not "
         "exist in the item"),
        ("SET n = s + :v", {"v": {"N": "1"}}, "An operand in the update expression has an incorrect data type"),
        ("ADD s :v", {"v": {"N": "1"}}, "An operand in the update expression has an incorrect data type"),
        ("SET id = :v", {"v": {"S": "x"}}, "One or more parameter values were invalid: Cannot update attribute "
         "id. This attribute is part of the key"),
        ("SET n = :v SET s = :v", {"v": {"S": "x"}}, 'Invalid UpdateExpression: The "SET" section can only be '
         "used once in an update expression;"),
        ("SET m = :v, m.a = :v", {"v": {"S": "x"}}, "Invalid UpdateExpression: Two document paths overlap with "
         "each other; must remove or rewrite one of these paths; path one: [m], path two: [m, a]"),
        ("ADD n :v", {"v": {"S": "x"}}, "Invalid UpdateExpression: Incorrect operand type for operator or "
         "function; operator: ADD, operand type: STRING, typeSet: ALLOWED_FOR_ADD_OPERAND"),
        ("SET n = :v + :w", {"v": {"S": "x"}, "w": {"N": "1"}}, "Invalid UpdateExpression: Incorrect operand "
         "type for operator or function; operator or function: +, operand type: S"),
        ("ADD ss :v", {"v": {"SS": []}}, "One or more parameter values were invalid: An string set  may not be empty"),
        ("SET n = 3", {}, 'Invalid UpdateExpression: Syntax error; token: "3", near: "= 3"'),
        ("SET fresh = :v, big = n + :w", {"v": {"N": "1"}, "w": {"N": "9" * 38}}, "Attempting to store more "
         "than 38 significant digits in a Number"),
    ],
)  # fmt: skip
def test_an_update_that_fails_changes_nothing(item: Any, text: str, named: dict[str, Any], says: str) -> None:
    with pytest.raises(ClientError) as caught:
        update(item, text, **named)
    before = (
        COUNTED if "Invalid UpdateExpression" in says or "be empty" in says else ""
    )  # the item was not looked at yet
    assert (caught.value.response["Error"]["Code"], caught.value.response["Error"]["Message"]) == (
        BAD,
        before + says,
    )
    assert item.get_item(TableName="plain", Key=KEY)["Item"] == ITEM


def test_what_is_wrong_with_the_select_of_a_scan_is_not_counted(item: Any) -> None:
    says = "Must specify the AttributesToGet or ProjectionExpression when choosing to get SPECIFIC_ATTRIBUTES"
    assert answer(item.scan, TableName="plain", Select="SPECIFIC_ATTRIBUTES") == (BAD, says)


def test_a_projection_keeps_what_it_names(item: Any) -> None:
    more = {"ProjectionExpression": "l[2], l[0], #m.a, gone, n.x", "ExpressionAttributeNames": {"#m": "m"}}
    kept = item.get_item(TableName="plain", Key=KEY, **more)["Item"]
    assert kept == {"l": {"L": [{"N": "1"}, {"M": {"deep": {"N": "2"}}}]}, "m": {"M": {"a": {"S": "b"}}}}


# --- whatever comes -----------------------------------------------------------------------------------

WORDS = [
    "a",
    "b",
    "n",
    "s",
    "l",
    "m",
    "ss",
    "id",
    "seq",
    "who",
    "name",
    "size",
    "#a",
    "#b",
    "#none",
    "_",
    "count",
]
HOLDERS = [":a", ":b", ":c", ":none"]
digits = st.text("0123456789", min_size=1, max_size=45)
numbers = st.one_of(
    st.builds(lambda s, d: s + d, st.sampled_from(["", "-", "+"]), digits),
    st.builds(lambda d, e, x: f"{d}.{e}e{x}", digits, digits, st.integers(-200, 200)),
    st.integers(-9, 9).map(str),
    st.sampled_from(
        ["", "1_000", "１", "NaN", "Infinity", "0x1", " 1", "1e999999999999", ".", "-", "1.", ".1"]
    ),
    st.text(max_size=4),
)
leaves = st.one_of(
    st.builds(lambda v: {"S": v}, st.text(max_size=6)),
    st.builds(lambda v: {"N": v}, numbers),
    st.builds(lambda v: {"B": v}, st.binary(max_size=4)),
    st.builds(lambda v: {"BOOL": v}, st.booleans()),
    st.builds(lambda v: {"NULL": v}, st.booleans()),
    st.builds(lambda v: {"SS": v}, st.lists(st.sampled_from("abc"), max_size=3)),
    st.builds(lambda v: {"NS": v}, st.lists(numbers, max_size=3)),
    st.builds(lambda v: {"BS": v}, st.lists(st.binary(max_size=2), max_size=3)),
)
any_value = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.builds(lambda v: {"L": v}, st.lists(inner, max_size=3)),
        st.builds(lambda v: {"M": v}, st.dictionaries(st.sampled_from("ab"), inner, max_size=2)),
    ),
    max_leaves=4,
) | st.just({})
names = st.sampled_from(WORDS)
paths = st.builds(
    lambda first, rest: first + "".join(rest),
    names,
    st.lists(st.sampled_from([".a", ".#a", "[0]", "[7]", ".name", "[99999999999]"]), max_size=2),
)
places = st.one_of(paths, st.sampled_from(HOLDERS), st.sampled_from(["3", "'x'", "true"]))
calls = st.builds(
    lambda name, given: f"{name}({', '.join(given)})",
    st.sampled_from(
        ["attribute_exists", "attribute_not_exists", "attribute_type", "begins_with", "contains", "size",
         "if_not_exists", "list_append", "foo"]
    ),
    st.lists(places, max_size=3),
)  # fmt: skip
operands = st.one_of(places, places, calls)
comparisons = st.one_of(
    calls,
    st.builds(
        lambda a, op, b: f"{a} {op} {b}",
        operands,
        st.sampled_from(["=", "<>", "<", "<=", ">", ">="]),
        operands,
    ),
    st.builds(lambda a, b, c: f"{a} BETWEEN {b} AND {c}", operands, operands, operands),
    st.builds(lambda a, each: f"{a} IN ({', '.join(each)})", operands, st.lists(operands, max_size=3)),
)
condition_texts = st.recursive(
    comparisons,
    lambda inner: st.one_of(
        st.builds(lambda a, op, b: f"{a} {op} {b}", inner, st.sampled_from(["AND", "OR", "and"]), inner),
        st.builds(lambda a: f"({a})", inner),
        st.builds(lambda a: f"NOT {a}", inner),
    ),
    max_leaves=4,
)
sums = st.one_of(
    operands, st.builds(lambda a, op, b: f"{a} {op} {b}", operands, st.sampled_from("+-"), operands)
)
sections = st.one_of(
    st.builds(
        lambda each: "SET " + ", ".join(each),
        st.lists(st.builds(lambda p, v: f"{p} = {v}", paths, sums), max_size=3),
    ),
    st.builds(lambda each: "REMOVE " + ", ".join(each), st.lists(paths, max_size=3)),
    st.builds(
        lambda word, each: f"{word} " + ", ".join(each),
        st.sampled_from(["ADD", "DELETE"]),
        st.lists(st.builds(lambda p, v: f"{p} {v}", paths, places), max_size=2),
    ),
)
update_texts = st.lists(sections, max_size=3).map(" ".join)
projection_texts = st.lists(paths, max_size=3).map(", ".join)
key_texts = st.lists(
    st.one_of(comparisons, st.sampled_from(["id = :a", "seq = :b", "seq BETWEEN :b AND :c", "who = :a"])),
    max_size=3,
).map(" AND ".join)
soup = st.lists(
    st.sampled_from(
        [*WORDS, *HOLDERS, "(", ")", ",", ".", "[", "]", "=", "<", ">", "+", "AND", "NOT", "SET", "3"]
    ),
    max_size=12,
).map(" ".join)


def texts(of: st.SearchStrategy[str]) -> st.SearchStrategy[str | None]:
    return st.one_of(of, of, of, st.none(), soup, st.text(max_size=12))


@st.composite
def placeholders(draw: Any, text: str) -> dict[str, Any]:
    """Names and values: mostly those that an expression has, so that most expressions get past the first look."""
    exact = draw(st.integers(0, 5)) > 0
    wanted = (
        [word for word in HOLDERS[:-1] if word in text] if exact else draw(st.lists(st.sampled_from(HOLDERS)))
    )
    named = (
        [word for word in ("#a", "#b") if word in text]
        if exact
        else draw(st.lists(st.sampled_from(["#a", "b"])))
    )
    more: dict[str, Any] = {}
    if wanted or draw(st.integers(0, 9)) == 0:
        more["ExpressionAttributeValues"] = {word: draw(any_value) for word in wanted}
    if named or draw(st.integers(0, 9)) == 0:
        more["ExpressionAttributeNames"] = {word: draw(names) for word in named}
    return more


keys_of_plain = st.one_of(
    st.builds(lambda v: {"id": {"S": v}}, st.sampled_from("ab")),
    st.dictionaries(st.sampled_from(["id", "seq", "n"]), any_value, max_size=2),
)
keys_of_lab = st.one_of(
    st.builds(lambda v, n: {"id": {"S": v}, "seq": {"N": n}}, st.sampled_from("ab"), numbers),
    keys_of_plain,
)
attributes = st.dictionaries(
    st.sampled_from(["a", "b", "n", "s", "l", "m", "ss", "who"]), any_value, max_size=4
)


@st.composite
def requests(draw: Any) -> tuple[str, dict[str, Any]]:
    """A call of one of the labs' operations."""
    table = draw(st.sampled_from(["lab", "plain"]))
    key = draw(keys_of_lab if table == "lab" else keys_of_plain)
    kinds = {
        "put_item": {"ConditionExpression": condition_texts},
        "get_item": {"ProjectionExpression": projection_texts},
        "delete_item": {"ConditionExpression": condition_texts},
        "update_item": {"UpdateExpression": update_texts, "ConditionExpression": condition_texts},
        "query": {
            "KeyConditionExpression": key_texts,
            "FilterExpression": condition_texts,
            "ProjectionExpression": projection_texts,
        },
        "scan": {"FilterExpression": condition_texts, "ProjectionExpression": projection_texts},
        "batch_get_item": {"ProjectionExpression": projection_texts},
        "batch_write_item": {},
    }
    operation = draw(st.sampled_from(sorted(kinds)))
    more = {kind: text for kind, of in kinds[operation].items() if (text := draw(texts(of))) is not None}
    more |= draw(placeholders(" ".join(more.values()))) if kinds[operation] else {}
    if operation == "put_item":
        return operation, {"TableName": table, "Item": draw(attributes) | key} | more
    if operation == "batch_get_item":
        more.pop("ExpressionAttributeValues", None)
        return operation, {"RequestItems": {table: {"Keys": [key] * draw(st.integers(1, 2))} | more}}
    if operation == "batch_write_item":
        write = draw(
            st.sampled_from(
                [{"PutRequest": {"Item": draw(attributes) | key}}, {"DeleteRequest": {"Key": key}}]
            )
        )
        return operation, {"RequestItems": {table: [write]}}
    if operation in ("query", "scan"):
        if draw(st.integers(0, 4)) == 0:
            more["ExclusiveStartKey"] = key
        if table == "lab" and draw(st.booleans()):
            more["IndexName"] = "by-who"
        more["Limit"] = draw(st.integers(1, 3))
        return operation, {"TableName": table} | more
    if operation == "get_item":
        more.pop("ExpressionAttributeValues", None)
    return operation, {"TableName": table, "Key": key} | more


def fuzzed(strategy: st.SearchStrategy[Any]) -> Any:
    """As many examples as are asked for, the same ones again for the same seed."""
    quiet = [HealthCheck.too_slow, HealthCheck.function_scoped_fixture, HealthCheck.filter_too_much]
    limits = settings(max_examples=EXAMPLES, deadline=None, database=None, suppress_health_check=quiet)

    def decorate(test: Any) -> Any:
        return hypothesis.seed(SEED)(limits(given(asked=strategy)(test)))

    return decorate


print(f"AWSLABS_FUZZ_SEED={SEED}")  # once for all, with `pytest -s`; an example that fails says it, too
REFUSALS = {BAD, "ConditionalCheckFailedException"}


@fuzzed(requests())
def test_no_request_makes_moto_stumble(aws: Any, asked: tuple[str, dict[str, Any]]) -> None:
    operation, request = asked
    note(f"AWSLABS_FUZZ_SEED={SEED}")
    table = request.get("TableName", "plain")
    before = aws.scan(TableName=table)["Items"]
    code, _ = answer(getattr(aws, operation), **request)
    assert code == "ok" or code in REFUSALS
    if code != "ok":
        assert aws.scan(TableName=table)["Items"] == before
    if len(before) > 5:
        for each in before:
            names = ("id", "seq") if table == "lab" else ("id",)
            aws.delete_item(TableName=table, Key={name: each[name] for name in names})


@fuzzed(numbers)
def test_a_number_is_kept_or_refused(asked: str) -> None:
    note(f"AWSLABS_FUZZ_SEED={SEED}")
    try:
        kept = values.number(asked)
    except values.Wrong:
        return
    assert Decimal(kept) == Decimal(asked)
    assert values.number(kept) == kept
    assert set(kept) <= set("-.0123456789")


@fuzzed(st.one_of(condition_texts, update_texts, soup, st.text()))
def test_an_expression_is_read_or_refused(asked: str) -> None:
    note(f"AWSLABS_FUZZ_SEED={SEED}")
    given_values = {":a": {"S": "x"}, ":b": {"N": "1"}, ":c": {"L": []}}
    for kind in ("condition", "update", "projection", "key_condition"):
        with contextlib.suppress(Refused):
            reader = Reader("FilterExpression", asked, Placeholders({"#a": "a", "#b": "b"}, given_values))
            getattr(reader, kind)()


@pytest.mark.parametrize(
    "text", ["(" * 4000, "NOT " * 1000 + "a = b", "size(" * 800, "a" * 5000, "a = b AND " * 400]
)
def test_a_long_expression_is_refused_and_no_more(aws: Any, text: str) -> None:
    assert answer(aws.scan, TableName="plain", FilterExpression=text)[0] == BAD
