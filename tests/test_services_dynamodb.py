"""The rules of DynamoDB: moto alone, then with the rule."""

from __future__ import annotations

from typing import Any

import boto3
import pytest
from botocore.config import Config
from test_services_support import Case, check, client, cloud, refused, said, table, wait

from awslabs.sandbox.services.dynamodb import tables

AWS_TIME = (("slow_states", 1.0),)
GONE, BUSY, BAD = "ResourceNotFoundException", "ResourceInUseException", "ValidationException"


def make(name: str = "lab", **more: Any) -> dict[str, Any]:
    return client("dynamodb").create_table(
        TableName=name,
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        BillingMode="PAY_PER_REQUEST",
        **more,
    )["TableDescription"]


def state(name: str = "lab") -> str:
    return client("dynamodb").describe_table(TableName=name)["Table"]["TableStatus"]


def item(number: int = 0) -> dict[str, Any]:
    return {"id": {"S": str(number)}}


def a_new_table() -> list[str]:
    aws = client("dynamodb")
    states = [make()["TableStatus"], state()]
    states.append(said(aws.put_item, TableName="lab", Item=item()))
    states.append(said(aws.scan, TableName="lab"))
    states.append(said(aws.update_table, TableName="lab", BillingMode="PAY_PER_REQUEST"))
    wait(5)
    return [*states, state(), said(aws.put_item, TableName="lab", Item=item())]


def deleted_too_early() -> list[str]:
    make()
    delete = client("dynamodb").delete_table
    early = said(delete, TableName="lab")
    wait(5)
    return [early, said(delete, TableName="lab")]


def a_deletion() -> list[Any]:
    make()
    wait(5)
    aws = client("dynamodb")
    aws.put_item(TableName="lab", Item=item())
    seen = [aws.delete_table(TableName="lab")["TableDescription"]["TableStatus"]]
    seen.append(said(aws.describe_table, TableName="lab"))
    seen.append(said(aws.delete_table, TableName="lab"))
    seen.append(said(aws.get_item, TableName="lab", Key=item()))
    seen.append(said(aws.batch_write_item, RequestItems={"lab": [{"PutRequest": {"Item": item()}}]}))
    seen.append(aws.list_tables()["TableNames"])
    wait(5)
    return [*seen, said(aws.describe_table, TableName="lab"), aws.list_tables()["TableNames"]]


def made_again() -> list[str]:
    make()
    wait(5)
    client("dynamodb").delete_table(TableName="lab")
    early = said(make)
    wait(5)
    if early != "ok":
        return [early, said(make)]
    return [early]


def a_tables_shape() -> list[bool]:
    made = make()
    aws = client("dynamodb")
    wrote = aws.batch_write_item(RequestItems={"lab": [{"PutRequest": {"Item": item()}}]})
    other = make("other") if "TableId" not in made else made
    gone = aws.delete_table(TableName="lab")["TableDescription"]
    return [
        "TableId" in made,
        "GlobalSecondaryIndexes" in other,
        "WarmThroughput" in made,
        "ItemCollectionMetrics" in wrote,
        "KeySchema" in gone,
        "AttributeDefinitions" in gone,
    ]


def batches() -> list[str]:
    make()
    make("other")
    write = client("dynamodb").batch_write_item

    def puts(count: int, first: int = 0) -> list[dict[str, Any]]:
        return [{"PutRequest": {"Item": item(first + number)}} for number in range(count)]

    return [
        said(write, RequestItems={"lab": puts(26)}),
        said(write, RequestItems={"lab": puts(13), "other": puts(13, 50)}),
        said(write, RequestItems={"lab": puts(25)}),
    ]


def consumed() -> list[Any]:
    """A batch of a large and a small item, two scans, a batch that makes the large one small."""
    make()
    aws, large = client("dynamodb"), {**item(1), "text": {"S": "x" * 5000}}
    asked: dict[str, Any] = {"ReturnConsumedCapacity": "TOTAL"}
    puts = [{"PutRequest": {"Item": each}} for each in (large, item(2))]
    small = [{"PutRequest": {"Item": item(1)}}, {"DeleteRequest": {"Key": item(2)}}]
    filtered = {"FilterExpression": "id = :id", "ExpressionAttributeValues": {":id": {"S": "2"}}}
    answers = [
        aws.batch_write_item(RequestItems={"lab": puts}, **asked)["ConsumedCapacity"][0],
        aws.scan(TableName="lab", **filtered, **asked)["ConsumedCapacity"],
        aws.scan(TableName="lab", ConsistentRead=True, **asked)["ConsumedCapacity"],
        aws.batch_write_item(RequestItems={"lab": small}, **asked)["ConsumedCapacity"][0],
        aws.scan(TableName="lab", **asked)["ConsumedCapacity"],
    ]
    silent = aws.batch_write_item(RequestItems={"lab": puts})
    return [*(each["CapacityUnits"] for each in answers), "ConsumedCapacity" in silent]


def rash() -> Any:
    """A client that sends what botocore knows to be wrong."""
    keys = {"aws_access_key_id": "x", "aws_secret_access_key": "y"}
    return boto3.client("dynamodb", "us-east-1", config=Config(parameter_validation=False), **keys)


def no_parameters() -> str:
    make()
    return said(rash().execute_statement, Statement="SELECT * FROM lab", Parameters=[])


def a_segment_too_many() -> bool:
    make()
    said_of_it = refused(client("dynamodb").scan, TableName="lab", Segment=3, TotalSegments=3)[1]
    return said_of_it.endswith(": Segment: 3 is not less than TotalSegments: 3")


def insights() -> str:
    make()
    shown = client("dynamodb").describe_contributor_insights(TableName="lab")
    return str(shown["ContributorInsightsStatus"])


CASES = (
    Case("a_list_of_parameters_has_some", no_parameters, "ok", BAD),
    Case(
        "segments_are_counted_from_zero",
        a_segment_too_many,
        False,
        True,
    ),
    Case("insights", insights, "NotImplementedError", "DISABLED"),
    Case(
        "table_states",
        a_new_table,
        ["ACTIVE", "ACTIVE", "ok", "ok", "ok", "ACTIVE", "ok"],
        ["CREATING", "CREATING", GONE, GONE, BUSY, "ACTIVE", "ok"],
        AWS_TIME,
    ),
    Case("table_states", deleted_too_early, ["ok", GONE], [BUSY, "ok"], AWS_TIME),
    Case(
        "table_states",
        a_deletion,
        ["ACTIVE", GONE, GONE, GONE, GONE, [], GONE, []],
        ["DELETING", "ok", "ok", GONE, GONE, ["lab"], GONE, []],
        AWS_TIME,
    ),
    Case("table_states", made_again, ["ok"], [BUSY, "ok"], AWS_TIME),
    Case(
        "tables_have_awss_shape",
        a_tables_shape,
        [False, True, True, True, True, True],
        [True, False, False, False, False, False],
    ),
    Case("batches_of_25", batches, ["ok", "ok", "ok"], [BAD, BAD, "ok"]),
    Case("capacity_is_counted", consumed, [1, 1, 1, 1, 1, True], [6, 1, 2, 6, 0.5, False]),
)


@table(*CASES)
def test_aws_is_stricter_than_moto(case: Case) -> None:
    check(case)


@pytest.mark.parametrize(("number", "size"), [("7", 2), ("36", 2), ("-120", 2), ("1.25", 3), ("1E+3", 2)])
def test_a_number_weighs_half_a_byte_per_digit(number: str, size: int) -> None:
    with cloud("capacity_is_counted"):
        assert tables.DynamoType({"N": number}).size() == size


def test_without_slow_states_a_table_is_there_and_gone_at_once() -> None:
    with cloud(every=True):
        assert make()["TableStatus"] == "ACTIVE"
        gone = client("dynamodb").delete_table(TableName="lab")["TableDescription"]
        assert gone["TableStatus"] == "DELETING"
        assert said(client("dynamodb").describe_table, TableName="lab") == GONE
        make()


def test_an_index_comes_with_its_table() -> None:
    with cloud(every=True, slow_states=1.0):
        index = {
            "IndexName": "same",
            "KeySchema": [{"AttributeName": "id", "KeyType": "HASH"}],
            "Projection": {"ProjectionType": "ALL"},
        }
        shown = make(GlobalSecondaryIndexes=[index])
        assert shown["GlobalSecondaryIndexes"][0]["IndexStatus"] == "CREATING"
        wait(5)
        shown = client("dynamodb").describe_table(TableName="lab")["Table"]
        assert shown["GlobalSecondaryIndexes"][0]["IndexStatus"] == "ACTIVE"


def test_a_protected_table_is_not_deleted() -> None:
    with cloud(every=True, slow_states=1.0):
        make(DeletionProtectionEnabled=True)
        wait(5)
        assert said(client("dynamodb").delete_table, TableName="lab") == BAD
        assert state() == "ACTIVE"


def test_refusals_have_the_words_of_aws() -> None:
    with cloud(every=True, slow_states=1.0):
        make()
        code, message, status = refused(client("dynamodb").delete_table, TableName="lab")
        assert (code, status) == (BUSY, 400)
        assert message.endswith("Table is being created: lab")


def test_an_index_says_what_it_has_and_what_it_is_called() -> None:
    index = {
        "IndexName": "by_day",
        "KeySchema": [{"AttributeName": "day", "KeyType": "HASH"}],
        "Projection": {"ProjectionType": "ALL"},
    }
    kinds = [{"AttributeName": name, "AttributeType": "S"} for name in ("id", "day")]
    with cloud(every=True):
        aws = client("dynamodb")
        made = aws.create_table(
            TableName="days",
            KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
            AttributeDefinitions=kinds,
            BillingMode="PAY_PER_REQUEST",
            GlobalSecondaryIndexes=[index],
        )["TableDescription"]
        shown = made["GlobalSecondaryIndexes"][0]
        assert (shown["IndexArn"], "WarmThroughput" in shown) == (f"{made['TableArn']}/index/by_day", False)
        assert shown["ProvisionedThroughput"]["NumberOfDecreasesToday"] == 0
        for key, more in (("1", {}), ("2", {"day": {"S": "monday"}})):
            aws.put_item(TableName="days", Item={"id": {"S": key}, **more})
        later = aws.describe_table(TableName="days")["Table"]["GlobalSecondaryIndexes"][0]
        assert (later["ItemCount"], later["IndexSizeBytes"]) == (1, len("id2daymonday"))


def test_an_unknown_table_that_is_to_go_is_named() -> None:
    with cloud(every=True):
        says = "Requested resource not found: Table: none not found"
        gone = refused(client("dynamodb").delete_table, TableName="none")
        assert gone == ("ResourceNotFoundException", says, 400)


def test_warm_throughput_that_is_asked_for_is_on_its_way() -> None:
    wanted = {"ReadUnitsPerSecond": 13_000, "WriteUnitsPerSecond": 5_000}
    with cloud(every=True):
        made = make(WarmThroughput=wanted)
        assert made["WarmThroughput"] == {**wanted, "Status": "UPDATING"}


def test_insights_are_off_and_a_list_of_parameters_is_not_empty() -> None:
    with cloud(every=True):
        make()
        aws = client("dynamodb")
        shown = aws.describe_contributor_insights(TableName="lab")
        assert (shown["TableName"], shown["ContributorInsightsStatus"]) == ("lab", "DISABLED")
        assert said(aws.describe_contributor_insights, TableName="gone") == GONE
        statement = "SELECT * FROM lab"
        assert said(rash().execute_statement, Statement=statement, Parameters=[]) == BAD
        assert said(aws.execute_statement, Statement=statement) == "ok"


def test_a_segment_is_counted_from_zero() -> None:
    with cloud(every=True):
        make()
        scan = client("dynamodb").scan
        assert refused(scan, TableName="lab", Segment=3, TotalSegments=3)[1] == (
            "The Segment parameter is zero-based and must be less than parameter TotalSegments: "
            "Segment: 3 is not less than TotalSegments: 3"
        )
        assert said(scan, TableName="lab", Segment=2, TotalSegments=3) == "ok"
