"""IAM documents: what the sentences say."""

from __future__ import annotations

import fnmatch
import json

import pytest

from awslabs import policies


def test_a_document_is_json_with_its_statements_in_order() -> None:
    first, second = policies.allow("arn:a", "s3:GetObject"), policies.allow("arn:b", "s3:PutObject")
    assert json.loads(policies.document(first, second)) == {
        "Version": "2012-10-17",
        "Statement": [
            {"Effect": "Allow", "Action": ["s3:GetObject"], "Resource": "arn:a"},
            {"Effect": "Allow", "Action": ["s3:PutObject"], "Resource": "arn:b"},
        ],
    }


def test_a_trust_policy_names_the_service_that_may_act_in_the_role() -> None:
    (statement,) = json.loads(policies.trust("lambda.amazonaws.com"))["Statement"]
    assert statement["Principal"] == {"Service": "lambda.amazonaws.com"}
    assert statement["Action"] == "sts:AssumeRole"


def test_who_may_write_logs_may_not_make_groups() -> None:
    statement = policies.write_logs("arn:aws:logs:us-east-1:1:log-group:/aws/lambda/f")
    assert statement["Resource"] == "arn:aws:logs:us-east-1:1:log-group:/aws/lambda/f:*"
    assert statement["Action"] == ["logs:CreateLogStream", "logs:PutLogEvents"]


def test_a_public_bucket_may_be_read_and_not_listed() -> None:
    (statement,) = json.loads(policies.public_read("page"))["Statement"]
    assert (statement["Action"], statement["Resource"]) == ("s3:GetObject", "arn:aws:s3:::page/*")


ARN = "arn:aws:ecs:us-east-1:111122223333"
MANAGED = {  # AmazonEC2ContainerServiceforEC2Role v10, less images, logs, CreateCluster: done to what
    "ec2:DescribeTags": "*",
    "ecs:DiscoverPollEndpoint": "*",
    "ecs:RegisterContainerInstance": f"{ARN}:cluster/{{}}",
    "ecs:DeregisterContainerInstance": f"{ARN}:cluster/{{}}",
    "ecs:SubmitTaskStateChange": f"{ARN}:cluster/{{}}",
    "ecs:SubmitContainerStateChange": f"{ARN}:cluster/{{}}",
    "ecs:Poll": f"{ARN}:container-instance/{{}}/1",
    "ecs:StartTelemetrySession": f"{ARN}:container-instance/{{}}/1",
    "ecs:UpdateContainerInstancesState": f"{ARN}:container-instance/{{}}/1",
    "ecs:TagResource": f"{ARN}:container-instance/{{}}/1",
    "ecs:ListTagsForResource": f"{ARN}:task/{{}}/1",
}


def allowed(action: str, resource: str, **facts: str) -> bool:
    """Whether what a machine has lets it do this, as IAM would judge."""
    statements = policies.join_a_cluster("lab-machines", "us-east-1", "111122223333")
    return any(
        any(fnmatch.fnmatchcase(action, pattern) for pattern in one["Action"])
        and fnmatch.fnmatchcase(resource, one["Resource"])
        and all(
            fnmatch.fnmatchcase(facts.get(key.replace(":", "_"), ""), wanted)
            for keys in one.get("Condition", {}).values()
            for key, wanted in keys.items()
        )
        for one in statements
    )


@pytest.mark.parametrize("action", MANAGED)
def test_a_machine_may_what_aws_lets_it_and_in_the_labs_own_cluster_alone(action: str) -> None:
    own, other = "AWSBatch-lab-machines-44b3ac0e", "AWSBatch-other-machines-44b3ac0e"
    creating = {"ecs_CreateAction": "RegisterContainerInstance"}
    assert allowed(action, MANAGED[action].format(own), ecs_cluster=f"{ARN}:cluster/{own}", **creating)
    elsewhere = allowed(
        action, MANAGED[action].format(other), ecs_cluster=f"{ARN}:cluster/{other}", **creating
    )
    assert elsewhere == (action in ("ec2:DescribeTags", "ecs:DiscoverPollEndpoint", "ecs:TagResource"))


def test_a_machine_may_tag_only_itself_as_it_registers() -> None:
    assert not allowed("ecs:TagResource", f"{ARN}:container-instance/AWSBatch-lab-machines-1/1")
    assert not allowed("ecs:TagResource", f"{ARN}:cluster/other", ecs_CreateAction="CreateCluster")
