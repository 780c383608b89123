"""Lambda's names, errors and answers in AWS's shape: moto alone, then with the rule."""

from __future__ import annotations

from typing import Any

import boto3
import practice
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError
from test_services_lambda_functions import asked, make, role
from test_services_support import Case, check, client, cloud, refused, said, table, wait

from awslabs import sandbox
from awslabs.sandbox.services.lambda_ import configurations, shapes  # noqa: F401  (rules that this needs)

FUNCTION = "arn:aws:lambda:us-east-1:123456789012:function:lab"
LACKS = "Value null at '{}' failed to satisfy constraint: Member must not be null"
NO, BAD, GONE = "InvalidParameterValueException", "ValidationException", "ResourceNotFoundException"


def names() -> list[str]:
    make()
    aws = client("lambda")
    get = aws.get_function
    other = FUNCTION.replace("us-east-1", "eu-west-1")
    return [
        said(get, FunctionName="my-function!"),
        said(get, FunctionName="lab", Qualifier="not valid"),
        said(get, FunctionName="lab:$LATEST", Qualifier="1"),
        said(get, FunctionName=other),
        said(get, FunctionName="lab:$LATEST"),
        said(get, FunctionName=FUNCTION),
        said(get, FunctionName=FUNCTION.removesuffix(":lab")),
    ]


def names_of_new_ones() -> list[str]:
    arn = role()
    return [
        code_of(make, FunctionName="a!", Role=arn),
        code_of(make, FunctionName="a" * 65, Role=arn),
        code_of(make, Role="r1"),
    ]


def code_of(do: Any, **more: Any) -> str:
    try:
        do(**more)
    except ClientError as error:
        return str(error.response["Error"]["Code"])
    return "ok"


def deletions() -> list[str]:
    make()
    delete = client("lambda").delete_function
    return [
        said(delete, FunctionName="lab", Qualifier="77"),
        said(delete, FunctionName="lab", Qualifier="$LATEST"),
        said(delete, FunctionName="lab"),
        said(delete, FunctionName="lab", Qualifier="77"),
    ]


def words() -> list[str]:
    aws = client("lambda")
    make()
    change = aws.update_function_configuration
    return [
        said(aws.list_functions, FunctionVersion="invalid"),
        said(change, FunctionName="lab", SnapStart={"ApplyOn": "maybe"}),
        said(aws.list_functions, FunctionVersion="ALL"),
    ]


def made_by_arn() -> str:
    return str(make(FunctionName=FUNCTION)["FunctionName"])


def permissions() -> list[str]:
    make()
    asked = {"FunctionName": "lab", "StatementId": "a", "Action": "lambda:InvokeFunction"}
    asked["Principal"] = "apigateway.amazonaws.com"
    changes = (
        {"StatementId": "a b!"}, {"Action": "s3:GetObject"}, {"Principal": "nobody"},
        {"Qualifier": "$LATEST"}, {"Principal": "*"},
    )  # fmt: skip
    return [said(client("lambda").add_permission, **(asked | each)) for each in changes]


def the_answer_to_a_creation() -> list[Any]:
    made = make(Environment={"Variables": {}})
    asked = client("lambda").get_function(FunctionName="lab")["Configuration"]
    names = ("RevisionId", "RuntimeVersionConfig", "Environment", "Layers")
    return [name for name in names for each in (made, asked) if name in each]


def revisions() -> list[int]:
    first = make()["RevisionId"]
    aws = client("lambda")
    second = aws.update_function_configuration(FunctionName="lab", Timeout=5)["RevisionId"]
    third = aws.get_function_configuration(FunctionName="lab")["RevisionId"]
    return [len({first, second}), len({second, third})]


def what_lists_say() -> list[str]:
    make()
    aws = client("lambda")
    rows = aws.list_functions()["Functions"] + aws.list_versions_by_function(FunctionName="lab")["Versions"]
    return sorted({name for row in rows for name in row if "Stat" in name})


def an_error() -> list[Any]:
    with pytest.raises(ClientError) as caught:
        client("lambda").get_function(FunctionName="gone")
    answer = caught.value.response
    return [answer.get("Type"), "Message" in answer]


CASES = (
    Case("versions_that_are_not_there", deletions, [GONE, "ok", GONE, GONE], ["ok", NO, "ok", GONE]),
    Case("words_are_of_the_model", words, ["ok", "ok", "ok"], [BAD, BAD, "ok"]),
    Case("functions_are_made_by_every_name", made_by_arn, FUNCTION, "lab"),
    Case(
        "names_are_looked_at",
        names,
        [GONE, GONE, "ok", "ok", "ok", "ok", GONE],
        [BAD, BAD, NO, GONE, "ok", "ok", GONE],
    ),
    Case("names_are_looked_at", names_of_new_ones, ["ok", "ok", BAD], [BAD, NO, BAD]),
    Case("names_are_looked_at", permissions, ["ok"] * 5, [BAD, BAD, NO, NO, "ok"]),
    Case(
        "answers_have_awss_shape",
        the_answer_to_a_creation,
        ["Layers"] * 2,
        ["RevisionId"] * 2 + ["RuntimeVersionConfig"] * 2 + ["Environment"] * 2,
    ),
    Case("answers_have_awss_shape", revisions, "KeyError", [2, 1]),
    Case("answers_have_awss_shape", what_lists_say, ["LastUpdateStatus", "State"], []),
    Case("errors_have_awss_shape", an_error, [None, False], ["User", True]),
)


@table(*CASES)
def test_aws_is_stricter_than_moto(case: Case) -> None:
    check(case)


def test_a_new_function_has_no_last_update_until_it_is_asked_for() -> None:
    with cloud("function_states", "answers_have_awss_shape", slow_states=1.0):
        made = make()
        assert (made["State"], "LastUpdateStatus" in made) == ("Pending", False)
        shown = client("lambda").get_function_configuration(FunctionName="lab")
        assert (shown["LastUpdateStatus"], shown["LastUpdateStatusReasonCode"]) == ("InProgress", "Creating")
        assert shown["RevisionId"] == made["RevisionId"]
        wait(3)
        active = client("lambda").get_function_configuration(FunctionName="lab")
        assert (active["LastUpdateStatus"], "LastUpdateStatusReason" in active) == ("Successful", False)
        assert len({shown["RevisionId"], active["RevisionId"]}) == 2


def test_an_error_of_concurrency_has_no_type() -> None:
    with cloud("errors_have_awss_shape", "some_concurrency_stays_free"):
        make()
        most = {"FunctionName": "lab", "ReservedConcurrentExecutions": 999}
        with pytest.raises(ClientError) as caught:
            client("lambda").put_function_concurrency(**most)
        assert "Type" not in caught.value.response


def test_a_member_that_is_required_is_missed() -> None:
    with cloud(every=True):
        make()
        aws = boto3.client("lambda", "us-east-1", config=Config(parameter_validation=False))
        says = f"1 validation error detected: {LACKS}"
        add = {"FunctionName": "lab", "StatementId": "a", "Principal": "*"}
        assert refused(aws.add_permission, **add) == (BAD, says.format("action"), 400)
        assert refused(aws.create_function_url_config, FunctionName="lab") == (
            BAD,
            says.format("authType"),
            400,
        )


@pytest.mark.live
def test_tags_without_keys_are_not_taken_away(run: sandbox.Run) -> None:
    account = practice.Account(run)
    aws = practice.client_of(run, account.id, "lambda", parameter_validation=False)
    arn = FUNCTION.replace("123456789012", account.id)
    says = f"1 validation error detected: {LACKS.format('tagKeys')}"
    assert refused(aws.untag_resource, Resource=arn) == (BAD, says, 400)


def test_names_have_the_words_of_aws() -> None:
    with cloud(every=True):
        aws = client("lambda")
        code, text, status = refused(aws.get_function, FunctionName="f!")
        assert (code, status) == (BAD, 400)
        begin = "1 validation error detected: Value 'f!' at 'functionName' failed to satisfy constraint: "
        assert text.startswith(f"{begin}Member must satisfy regular expression pattern: (arn:")
        other = FUNCTION.replace("us-east-1", "eu-west-1")
        says = "Functions from 'eu-west-1' are not reachable in this region ('us-east-1')"
        assert refused(aws.get_function, FunctionName=other) == (GONE, says, 404)


def test_an_architecture_that_there_is_not_is_named() -> None:
    with cloud(every=True):
        says = (
            "1 validation error detected: Value '[X86_64]' at 'architectures' failed to satisfy constraint: "
            "Member must satisfy constraint: [Member must satisfy enum value set: [x86_64, arm64], Member "
            "must not be null]"
        )
        create = client("lambda").create_function
        assert refused(create, **asked(Role=role(), Architectures=["X86_64"])) == (BAD, says, 400)


def test_security_groups_are_looked_at_before_subnets() -> None:
    with cloud(every=True):
        network = {"SubnetIds": ["subnet-0123"], "SecurityGroupIds": ["sg-0123"]}
        code, text, _ = refused(client("lambda").create_function, **asked(Role=role(), VpcConfig=network))
        assert (code, "DescribeSecurityGroups" in text) == (NO, True)


def test_lists_show_the_empty_environment_that_was_asked_for() -> None:
    with cloud(every=True):
        make(Environment={"Variables": {}}, Publish=True)
        listed = client("lambda").list_functions(FunctionVersion="ALL")["Functions"]
        assert [each["Environment"] for each in listed] == [{"Variables": {}}] * 2
