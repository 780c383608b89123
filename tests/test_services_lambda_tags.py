"""Tags of functions, their concurrency, their layers: what AWS refuses of it."""

from __future__ import annotations

import io
import zipfile
from typing import Any

import pytest
from botocore.exceptions import ClientError
from test_services_lambda_functions import asked, make, role
from test_services_support import Case, check, client, cloud, refused, said, table

from awslabs.sandbox.services.lambda_ import layers as _layers  # noqa: F401  (what is tested here)
from awslabs.sandbox.services.lambda_ import shapes, tags  # noqa: F401  (what is tested here)

FUNCTION = "arn:aws:lambda:us-east-1:123456789012:function:lab"
INVALID, GONE = "InvalidParameterValueException", "ResourceNotFoundException"
FIFTY_ONE = {str(number): "x" for number in range(51)}


def tagging(arn: str, **tags_of_it: str) -> str:
    make()
    client("lambda").publish_version(FunctionName="lab")
    return said(client("lambda").tag_resource, Resource=arn, Tags=tags_of_it)


def making_with(number: int) -> str:
    more = {str(each): "x" for each in range(number)}
    return said(client("lambda").create_function, **asked(Tags=more, Role=role()))


def reserving(name: str) -> str:
    make()
    client("lambda").publish_version(FunctionName="lab")
    return said(client("lambda").put_function_concurrency, FunctionName=name, ReservedConcurrentExecutions=1)


def publishing(code: str) -> str:
    make()
    return said(client("lambda").publish_version, FunctionName="lab", CodeSha256=code)


def layers(count: int) -> list[str]:
    """The ARNs of so many new layers' first versions."""
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w") as archive:
        archive.writestr("python/x.py", "")
    publish = client("lambda").publish_layer_version
    content = {"ZipFile": held.getvalue()}
    return [publish(LayerName=f"l{each}", Content=content)["LayerVersionArn"] for each in range(count)]


def with_layers(arns: list[str]) -> str:
    return said(client("lambda").create_function, **asked(Layers=arns, Role=role()))


def two_versions_of_one() -> str:
    first, second = layers(1)[0], layers(1)[0]
    return with_layers([first, second])


def changing_another() -> str:
    make()
    return said(client("lambda").update_function_configuration, FunctionName="lab", RevisionId="wrong")


def revisions() -> int:
    """How many there are of one function that is tagged and untagged."""
    make()
    aws = client("lambda")

    def now() -> str:
        return str(aws.get_function(FunctionName="lab")["Configuration"]["RevisionId"])

    seen = [now()]
    aws.tag_resource(Resource=FUNCTION, Tags={"a": "b"})
    seen.append(now())
    aws.untag_resource(Resource=FUNCTION, TagKeys=["a"])
    return len({*seen, now()})


CASES = (
    Case("tags_are_changes", revisions, "KeyError", 3, needs=("answers_have_awss_shape",)),
    Case("changes_are_of_what_was_seen", changing_another, "ok", "PreconditionFailedException"),
    Case("tags_are_of_functions", lambda: tagging(f"{FUNCTION}:1", a="b"), "ok", INVALID),
    Case("tags_are_of_functions", lambda: tagging(FUNCTION), "ok", INVALID),
    Case("tags_are_of_functions", lambda: tagging(FUNCTION, **FIFTY_ONE), "ok", INVALID),
    Case("tags_are_of_functions", lambda: tagging("arn:aws:something", a="b"), GONE, "ValidationException"),
    Case("functions_have_fifty_tags", lambda: making_with(51), "ok", INVALID),
    Case("functions_have_fifty_tags", lambda: making_with(50), "ok", "ok"),
    Case("concurrency_is_of_functions", lambda: reserving(f"{FUNCTION}:1"), "ok", INVALID),
    Case("published_code_is_the_one_that_was_seen", lambda: publishing("another"), "ok", INVALID),
    Case("layers_fit_together", lambda: with_layers(layers(6)), "ok", INVALID),
    Case("layers_fit_together", lambda: with_layers(layers(5)), "ok", "ok"),
    Case("layers_fit_together", two_versions_of_one, "ok", INVALID),
)


@table(*CASES)
def test_aws_is_stricter_than_moto(case: Case) -> None:
    check(case)


def test_tags_are_done_with_the_status_of_the_model() -> None:
    with cloud(every=True):
        make()
        aws = client("lambda")
        asked_for: dict[str, Any] = {"Resource": FUNCTION, "Tags": {"a": "b"}}
        assert aws.tag_resource(**asked_for)["ResponseMetadata"]["HTTPStatusCode"] == 204
        assert aws.list_tags(Resource=FUNCTION)["Tags"] == {"a": "b"}


def test_what_is_not_there_is_called_by_its_arn() -> None:
    with cloud(every=True):
        aws = client("lambda")
        capacity = FUNCTION.replace("function", "capacity-provider")
        assert refused(aws.list_tags, Resource=capacity)[1] == f"Capacity provider not found: {capacity}"
        reserve = {"FunctionName": "lab", "ReservedConcurrentExecutions": 1}
        assert refused(aws.put_function_concurrency, **reserve) == (
            GONE,
            f"Function not found: {FUNCTION}:$LATEST",
            404,
        )
        gone = FUNCTION.replace("function:lab", "layer:gone:9")
        arn = role()
        make_it = refused(aws.create_function, **asked(Layers=[gone], Role=arn))
        assert make_it == (INVALID, f"Layer version {gone} does not exist.", 400)
        without = refused(aws.create_function, **asked(Layers=[gone.removesuffix(":9")], Role=arn))
        assert without[0] == "ValidationException"


def test_code_that_is_not_in_s3_is_said_so_by_lambda() -> None:
    with cloud(every=True):
        make()
        aws, arn = client("lambda"), client("iam").get_role(RoleName="lab")["Role"]["Arn"]
        begin = "Error occurred while GetObject. S3 Error Code: "
        bucket = f"{begin}NoSuchBucket. S3 Error Message: The specified bucket does not exist"
        key = f"{begin}NoSuchKey. S3 Error Message: The specified key does not exist."
        code = {"S3Bucket": "awslabs-nowhere", "S3Key": "code.zip"}
        create = asked(FunctionName="another", Role=arn, Code=code)
        assert refused(aws.create_function, **create) == (INVALID, bucket, 400)
        assert refused(aws.update_function_code, FunctionName="lab", **code) == (INVALID, bucket, 400)
        client("s3").create_bucket(Bucket="awslabs-nowhere")
        assert refused(aws.create_function, **create) == (INVALID, key, 400)
        assert refused(aws.update_function_code, FunctionName="lab", **code) == (INVALID, key, 400)


def test_a_change_is_of_the_function_that_was_seen() -> None:
    with cloud(every=True):
        seen = make()["RevisionId"]
        aws = client("lambda")
        for method, more in (
            (aws.update_function_configuration, {"Description": "x"}),
            (aws.update_function_code, {"ZipFile": asked()["Code"]["ZipFile"]}),
            (aws.publish_version, {}),
        ):
            request: dict[str, Any] = {"FunctionName": "lab", **more}
            assert refused(method, **request, RevisionId="wrong")[::2] == ("PreconditionFailedException", 412)
        now = aws.get_function_configuration(FunctionName="lab")["RevisionId"]
        update = {"FunctionName": "lab", "Description": "y"}
        assert said(aws.update_function_configuration, **update, RevisionId=now) == "ok"
        assert said(aws.update_function_configuration, **update, RevisionId=seen) != "ok"


def test_a_deletion_and_a_reservation_keep_their_own_form() -> None:
    with cloud(every=True):
        make()
        aws = client("lambda")
        with pytest.raises(ClientError) as caught:
            aws.put_function_concurrency(FunctionName="lab", ReservedConcurrentExecutions=950)
        assert "Type" not in caught.value.response
        assert aws.delete_function(FunctionName="lab")["ResponseMetadata"]["HTTPStatusCode"] == 204


def test_a_layer_of_another_region_is_refused() -> None:
    with cloud(every=True):
        elsewhere = layers(1)[0].replace("us-east-1", "eu-west-1")
        says = "Layers are not in the same region as the function. Layers are expected to be in region "
        create = asked(Layers=[elsewhere], Role=role())
        assert refused(client("lambda").create_function, **create) == (INVALID, f"{says}us-east-1.", 400)


def test_a_layers_version_is_shown_as_aws_does() -> None:
    with cloud(every=True):
        arn, aws = layers(1)[0], client("lambda")
        shown = aws.get_layer_version_by_arn(Arn=arn)
        assert shown["Description"] == ""
        assert not {"LicenseInfo", "CompatibleRuntimes"} & shown.keys()
        assert shown["LayerVersionArn"] == arn
        (row,) = aws.list_layer_versions(LayerName="l0")["LayerVersions"]
        assert aws.list_layer_versions(LayerName=arn.removesuffix(":1"))["LayerVersions"] == [row]
        (layer,) = aws.list_layers()["Layers"]
        for each in (row, layer["LatestMatchingVersion"]):
            assert (each["LayerVersionArn"], "Content" in each) == (arn, False)
        assert said(aws.get_layer_version_by_arn, Arn=arn[:-1] + "9") == GONE
