"""IAM documents: what the sentences say."""

from __future__ import annotations

import json

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
