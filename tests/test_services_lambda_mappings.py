"""Event source mappings: what AWS takes and shows, and which messages filters let through."""

from __future__ import annotations

import json
from typing import Any

import pytest
from test_services_iam_needs import sent
from test_services_lambda_functions import code, make
from test_services_support import Case, check, client, cloud, refused, said, table, wait

from awslabs.sandbox.core.engine import Refused
from awslabs.sandbox.services.iam import needs
from awslabs.sandbox.services.lambda_ import filters, mappings  # noqa: F401  (what is tested here)

ACCOUNT = "123456789012"
QUEUE = f"arn:aws:sqs:us-east-1:{ACCOUNT}:q"
FUNCTION = f"arn:aws:lambda:us-east-1:{ACCOUNT}:function:lab"
TABLE = f"arn:aws:dynamodb:us-east-1:{ACCOUNT}:table/t/stream/2026-11-29T00:00:00.000"
INVALID, RULE = "InvalidParameterValueException", "event_source_mappings"
MAY_READ = ("sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes")


def let(*actions: str) -> None:
    """What the function's role may do."""
    statement = {"Effect": "Allow", "Action": list(actions), "Resource": "*"}
    document = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    client("iam").put_role_policy(RoleName="lab", PolicyName="may", PolicyDocument=document)


def function(**more: Any) -> None:
    """A function that may read queues."""
    make(**more)
    let(*MAY_READ)


def queue(name: str = "q", **attributes: str) -> str:
    return str(client("sqs").create_queue(QueueName=name, Attributes=attributes)["QueueUrl"])


def both() -> None:
    function()
    queue()


def mapped(**more: Any) -> dict[str, Any]:
    """A mapping of the queue to the function."""
    asked = {"FunctionName": "lab", "EventSourceArn": QUEUE} | more
    return client("lambda").create_event_source_mapping(**asked)


def get(uuid: str) -> dict[str, Any]:
    return client("lambda").get_event_source_mapping(UUID=uuid)


def states(then: Any, seconds: float) -> list[str]:
    """The state right after a change, just before it is done, and when it is."""
    made = then()
    wait(seconds - 0.1)
    before = get(made["UUID"])["State"]
    wait(0.2)
    return [made["State"], before, said_state(made["UUID"])]


def said_state(uuid: str) -> str:
    try:
        return str(get(uuid)["State"])
    except client("lambda").exceptions.ResourceNotFoundException:
        return "gone"


def from_creating_to_gone() -> list[list[str]]:
    both()
    aws = client("lambda")
    first = states(mapped, 10)
    [uuid] = [each["UUID"] for each in aws.list_event_source_mappings()["EventSourceMappings"]]
    changes = [{"BatchSize": 5}, {"Enabled": False}, {"BatchSize": 6}, {"Enabled": True}]
    found = [states(lambda c=c: aws.update_event_source_mapping(UUID=uuid, **c), 5) for c in changes]
    return [first, *found, states(lambda: aws.delete_event_source_mapping(UUID=uuid), 5)]


def changed_in_the_making() -> list[str]:
    both()
    uuid = mapped()["UUID"]
    return [
        said(client("lambda").update_event_source_mapping, UUID=uuid, BatchSize=2),
        said(client("lambda").delete_event_source_mapping, UUID=uuid),
    ]


def twice() -> list[str]:
    both()
    client("lambda").publish_version(FunctionName="lab")
    mapped()
    return [said(mapped), said(mapped, FunctionName=FUNCTION), said(mapped, FunctionName=f"{FUNCTION}:1")]


def members_of_streams() -> list[str]:
    both()
    return [
        said(mapped, BisectBatchOnFunctionError=True),
        said(mapped, MetricsConfig={"Metrics": ["EventCount"]}),
    ]


CASES = [
    Case(
        RULE,
        from_creating_to_gone,
        "ResourceNotFoundException",
        [
            ["Creating", "Creating", "Enabled"],
            ["Updating", "Updating", "Enabled"],
            ["Disabling", "Disabling", "Disabled"],
            ["Updating", "Updating", "Disabled"],
            ["Enabling", "Enabling", "Enabled"],
            ["Deleting", "Deleting", "gone"],
        ],
        (("slow_states", 1.0),),
    ),
    Case(
        RULE,
        changed_in_the_making,
        ["ok", "ok"],
        ["ResourceInUseException"] * 2,
        (("slow_states", 1.0),),
    ),
    Case(RULE, twice, ["ok", "ok", "ok"], ["ResourceConflictException"] * 2 + ["ok"]),
    Case(RULE, members_of_streams, ["ok", "ok"], ["NotImplemented"] * 2),
]


@table(*CASES)
def test_a_rule_changes_moto_s_answer(case: Case) -> None:
    check(case)


@pytest.mark.usefixtures("answers_fit")
def test_a_mapping_is_shown_as_aws_shows_it() -> None:
    with cloud(every=True):
        both()
        made = mapped(ScalingConfig={"MaximumConcurrency": 2}, FilterCriteria={"Filters": []})
        meta, uuid = made.pop("ResponseMetadata"), made["UUID"]
        assert meta["HTTPStatusCode"] == 202
        assert made == {
            "BatchSize": 10,
            "EventSourceArn": QUEUE,
            "EventSourceMappingArn": f"arn:aws:lambda:us-east-1:{ACCOUNT}:event-source-mapping:{uuid}",
            "FunctionArn": FUNCTION,
            "FunctionResponseTypes": [],
            "LastModified": made["LastModified"],
            "MaximumBatchingWindowInSeconds": 0,
            "ScalingConfig": {"MaximumConcurrency": 2},
            "State": "Creating",
            "StateTransitionReason": "USER_INITIATED",
            "UUID": uuid,
        }
        shown = get(uuid)
        assert shown.pop("ResponseMetadata")["HTTPStatusCode"] == 200
        assert shown == made | {"State": "Enabled"}
        aws = client("lambda")
        assert "ScalingConfig" not in aws.update_event_source_mapping(UUID=uuid, ScalingConfig={})
        assert mapped(FunctionName="lab:$LATEST", Enabled=False)["FunctionArn"] == f"{FUNCTION}:$LATEST"


@pytest.mark.usefixtures("answers_fit")
def test_mappings_are_listed_by_queue_and_function() -> None:
    with cloud(every=True):
        both()
        queue("r")
        first, second = mapped()["UUID"], mapped(EventSourceArn=QUEUE[:-1] + "r")["UUID"]

        def listed(**asked: Any) -> list[str]:
            pages = client("lambda").get_paginator("list_event_source_mappings").paginate(**asked)
            return [each["UUID"] for page in pages for each in page["EventSourceMappings"]]

        assert listed() == listed(PaginationConfig={"PageSize": 1}) == [first, second]
        assert listed(EventSourceArn=QUEUE) == [first]
        assert listed(FunctionName="lab") == listed(FunctionName=FUNCTION) == [first, second]
        assert listed(FunctionName="other") == listed(EventSourceArn=QUEUE + "x") == []


def test_a_function_that_is_deleted_leaves_its_mapping() -> None:
    with cloud(every=True):
        both()
        uuid = mapped()["UUID"]
        client("lambda").delete_function(FunctionName="lab")
        assert get(uuid)["State"] == "Enabled"
        assert client("lambda").delete_event_source_mapping(UUID=uuid)["State"] == "Deleting"


WINDOW = "Maximum batch window in seconds must be greater than 0 if maximum batch size is greater than 10"
NO_QUEUE = (
    "Error occurred while ReceiveMessage. SQS Error Code: AWS.SimpleQueueService.NonExistentQueue. SQS Error "
    "Message: The specified queue does not exist."
)
DESTINATION = {"OnSuccess": {"Destination": QUEUE}}


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ({"EventSourceArn": f"arn:aws:s3:::{ACCOUNT}"}, "Unrecognized event source."),
        ({"FunctionName": "other"}, "Function does not exist"),
        (
            {"FunctionName": "other", "DestinationConfig": DESTINATION},
            "Unsupported DestinationConfig parameter for given event source mapping type.",
        ),
        ({"BatchSize": 11}, WINDOW),
        ({"EventSourceArn": QUEUE + "x"}, NO_QUEUE),
        (
            {"EventSourceArn": QUEUE + ".fifo", "MaximumBatchingWindowInSeconds": 1},
            "Batching window is not supported for FIFO queues",
        ),
        ({"FilterCriteria": {"Filters": [{"Pattern": "no"}]}}, "Invalid filter pattern definition."),
        (
            {"EventSourceArn": TABLE},
            "1 validation error detected: Value null at 'startingPosition' failed to satisfy constraint: "
            "Member must not be null.",
        ),
        (
            {"EventSourceArn": TABLE, "StartingPosition": "AT_TIMESTAMP"},
            f"Unsupported starting position for arn type: {TABLE}",
        ),
    ],
)
def test_what_cannot_be_mapped_is_refused_in_aws_s_words(asked: dict[str, Any], says: str) -> None:
    with cloud(every=True):
        both()
        assert refused(mapped, **asked) == (INVALID, says, 400)


def test_a_role_must_be_allowed_to_read_the_queue() -> None:
    with cloud(every=True):
        both()
        for number in range(3):
            let("sqs:SendMessage", *MAY_READ[:number])
            lacks = MAY_READ[number].partition(":")[2]
            says = f"The function execution role does not have permissions to call {lacks} on SQS"
            assert refused(mapped) == (INVALID, says, 400)


def test_the_queue_hides_messages_as_long_as_the_function_may_run() -> None:
    with cloud(every=True):
        function(Timeout=31)
        queue()
        says = "Queue visibility timeout: 30 seconds is less than Function timeout: 31 seconds"
        assert refused(mapped) == (INVALID, says, 400)
        queue("r", VisibilityTimeout="31")
        mapped(EventSourceArn=QUEUE[:-1] + "r")


@pytest.mark.usefixtures("answers_fit")
def test_what_is_there_already_is_named() -> None:
    with cloud(every=True):
        both()
        uuid = mapped()["UUID"]
        assert refused(mapped) == (
            "ResourceConflictException",
            f'An event source mapping with SQS arn (" {QUEUE} ") and function (" lab ") already exists. '
            f"Please update or delete the existing mapping with UUID {uuid}",
            409,
        )
        other = mapped(FunctionName="lab:$LATEST")["UUID"]
        wait(1)
        update = client("lambda").update_event_source_mapping
        assert said(update, UUID=other, FunctionName="lab") == "ResourceConflictException"
        assert said(update, UUID=other, FunctionName="lab:$LATEST") == "ok"


def test_numbers_and_words_are_those_of_the_model() -> None:
    with cloud(every=True):
        both()
        begin = "1 validation error detected: Value '%s' at '%s' failed to satisfy constraint: Member must "
        too_many = begin % (10_001, "batchSize") + "have value less than or equal to 10000"
        assert refused(mapped, BatchSize=10_001) == ("ValidationException", too_many, 400)
        alone = begin % (1001, "scalingConfig.maximumConcurrency") + "have value less than or equal to 1000"
        scaling = {"MaximumConcurrency": 1001}
        assert refused(mapped, ScalingConfig=scaling) == ("ValidationException", alone, 400)
        words = begin % ("x", "startingPosition")
        words += "satisfy enum value set: [LATEST, AT_TIMESTAMP, TRIM_HORIZON]"
        asked = {"EventSourceArn": TABLE, "StartingPosition": "x"}
        assert refused(mapped, **asked) == ("ValidationException", words, 400)


def test_what_nothing_here_heeds_is_said() -> None:
    with cloud(every=True):
        both()
        for asked, named in (
            ({"EventSourceArn": TABLE, "StartingPosition": "LATEST"}, "dynamodb"),
            ({"ProvisionedPollerConfig": {"MinimumPollers": 2}}, "ProvisionedPollerConfig"),
            ({"EventSourceArn": QUEUE.replace(ACCOUNT, "999999999999")}, "another account"),
            ({"FilterCriteria": {"Filters": [{"Pattern": '{"body": [{"wildcard": "*"}]}'}]}}, "wildcard"),
        ):
            code_, says, status = refused(mapped, **asked)
            assert (code_, status) == ("NotImplemented", 501)
            assert named in says
        client("lambda").create_function(
            FunctionName="node", Runtime="nodejs22.x", Handler="a.b", Role=f"arn:aws:iam::{ACCOUNT}:role/lab",
            Code={"ZipFile": code()},
        )  # fmt: skip
        assert said(mapped, FunctionName="node") == "NotImplemented"


@pytest.mark.usefixtures("answers_fit")
def test_nothing_is_said_of_a_mapping_that_is_not_there() -> None:
    with cloud(every=True):
        aws, nowhere = client("lambda"), "0" * 36
        gone = ("ResourceNotFoundException", "The resource you requested does not exist.", 404)
        assert refused(aws.get_event_source_mapping, UUID=nowhere) == gone
        assert refused(aws.delete_event_source_mapping, UUID=nowhere) == gone
        assert refused(aws.update_event_source_mapping, UUID=nowhere, Enabled=False) == gone


# --- tags ---------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("answers_fit")
def test_a_mapping_has_tags() -> None:
    with cloud(every=True):
        both()
        aws, arn = client("lambda"), mapped(Tags={"a": "1"})["EventSourceMappingArn"]
        added = aws.tag_resource(Resource=arn, Tags={"b": "2", "c": "3"})
        assert added["ResponseMetadata"]["HTTPStatusCode"] == 204
        removed = aws.untag_resource(Resource=arn, TagKeys=["a", "x"])
        assert removed["ResponseMetadata"]["HTTPStatusCode"] == 204
        assert aws.list_tags(Resource=arn)["Tags"] == {"b": "2", "c": "3"}
        many = {f"k{n}": "v" for n in range(49)}
        assert said(aws.tag_resource, Resource=arn, Tags=many) == INVALID
        gone = arn[:-1] + ("0" if arn[-1] != "0" else "1")
        code_, says, status = refused(aws.list_tags, Resource=f"{arn}:alias")
        assert (code_, status) == ("ValidationException", 400)
        assert says.endswith("|capacity-provider:[a-zA-Z0-9-_]+)")
        says = f"Event source mapping not found: {gone}"
        assert refused(aws.list_tags, Resource=gone) == ("ResourceNotFoundException", says, 404)


def test_a_policy_may_ask_for_the_function_and_the_tags_of_a_mapping() -> None:
    with cloud(every=True):
        both()
        asked = {"EventSourceArn": QUEUE, "FunctionName": "lab:$LATEST"}
        [need] = needs.needs(sent("lambda", "create_event_source_mapping", **asked))
        assert need.facts["lambda:functionarn"] == f"{FUNCTION}:$LATEST"
        uuid = mapped(Tags={"Lab": "a"})["UUID"]
        [need] = needs.needs(sent("lambda", "delete_event_source_mapping", UUID=uuid))
        assert need.facts["lambda:functionarn"] == FUNCTION
        assert need.facts["aws:resourcetag/lab"] == "a"
        [need] = needs.needs(sent("lambda", "get_event_source_mapping", UUID="0" * 36))
        assert need.facts["lambda:functionarn"] is None


# --- filters ------------------------------------------------------------------------------------------


def test_a_pattern_that_is_none_is_refused() -> None:
    no_patterns = [
        *("", "null", '"text"', "[]", '{"a": "b"}', '{"a": []}', '{"a": [[]]}', '{"a": [{}]}'),
        *('{"a": [{"prefix": 1}]}', '{"a": [{"numeric": [">"]}]}', '{"a": [{"numeric": ["~", 1]}]}'),
        *('{"a": [{"exists": 1}]}', '{"a": [{"prefix": "b", "suffix": "c"}]}', '{"a": [{"other": 1}]}'),
        *('{"$or": [{"a": [1]}]}', '{"a": [{"anything-but": []}]}', '{"a": [{"numeric": ["<", true]}]}'),
    ]
    for text in no_patterns:
        with pytest.raises(Refused, match="Invalid filter pattern definition"):
            filters.read(text)


@pytest.mark.parametrize(
    ("pattern", "passing", "not_passing"),
    [
        ({"k": ["v", "w"]}, [{"k": "w"}, {"k": ["x", "v"]}], [{"k": "x"}, {}, {"k": {"v": 1}}]),
        ({"k": ["v"], "l": ["w"]}, [{"k": "v", "l": "w"}], [{"k": "v"}, {"k": "v", "l": "x"}]),
        ({"k": [1]}, [{"k": 1}, {"k": 1.0}], [{"k": True}, {"k": "1"}]),
        ({"k": [None, True]}, [{"k": None}, {"k": True}], [{"k": 1}, {"k": False}, {}]),
        ({"k": {"l": [1]}}, [{"k": {"l": 1}}, {"k": [{"l": 2}, {"l": 1}]}], [{"k": 1}, {"k": [{"l": 2}]}]),
        ({"k": [{"exists": True}]}, [{"k": 0}, {"k": None}], [{}, {"k": {"l": 1}}]),
        ({"k": [{"exists": False}]}, [{"l": 1}], [{"k": 1}]),
        ({"k": [{"prefix": "a"}]}, [{"k": "ab"}], [{"k": "ba"}, {"k": 1}]),
        ({"k": [{"suffix": "a"}]}, [{"k": "ba"}], [{"k": "ab"}]),
        ({"k": [{"equals-ignore-case": "Ab"}]}, [{"k": "aB"}], [{"k": "a"}]),
        ({"k": [{"numeric": [">=", 100, "<", 200]}]}, [{"k": 100}, {"k": 199.5}], [{"k": 200}, {"k": "150"}]),
        ({"k": [{"numeric": ["=", 5]}]}, [{"k": 5}], [{"k": 6}, {"k": True}]),
        ({"k": [{"anything-but": ["a", 1]}]}, [{"k": "b"}, {"k": 2}], [{"k": "a"}, {"k": 1}, {}]),
        ({"k": [{"anything-but": {"prefix": "a"}}]}, [{"k": "ba"}], [{"k": "ab"}]),
        ({"$or": [{"k": [1]}, {"l": [2]}]}, [{"k": 1}, {"l": 2}], [{"k": 2, "l": 1}]),
    ],
)
def test_a_pattern_lets_through_what_it_means(
    pattern: dict[str, Any], passing: list[Any], not_passing: list[Any]
) -> None:
    found = filters.read(json.dumps({"body": pattern}))
    assert [each for each in passing if not filters.passes([found], {"body": json.dumps(each)})] == []
    assert [each for each in not_passing if filters.passes([found], {"body": json.dumps(each)})] == []


def test_a_body_of_one_kind_meets_no_pattern_of_the_other() -> None:
    of_text, of_json = filters.read('{"body": ["plain"]}'), filters.read('{"body": {"k": ["plain"]}}')
    assert filters.passes([of_text], {"body": "plain"})
    assert not filters.passes([of_text], {"body": '{"k": "plain"}'})
    assert not filters.passes([of_json], {"body": "plain"})
    assert filters.passes([of_text, of_json], {"body": '{"k": "plain"}'})
    by_attribute = filters.read('{"messageAttributes": {"kind": {"stringValue": ["a"]}}}')
    record = {"body": "x", "messageAttributes": {"kind": {"stringValue": "a"}}}
    assert filters.passes([by_attribute], record)
