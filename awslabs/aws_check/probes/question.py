"""What a question is, and those that more than one lab asks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from awslabs import policies
from awslabs.ledger import Ledger

Question = tuple[str, Callable[[], Any]]  # its name, and what asks it
NOBODYS = "0123456789abcdef0"  # of ids: no such thing is there


def of_network(ledger: Ledger) -> Iterator[Question]:
    """The group that was born with a network stays."""
    ec2 = ledger.client("ec2")
    group_id = default_group(ec2, ledger.resources["vpc"])
    yield "default group", lambda: ec2.delete_security_group(GroupId=group_id)


def default_group(ec2: Any, vpc_id: str) -> str:
    """The group that was born with a network."""
    born = [{"Name": "vpc-id", "Values": [vpc_id]}, {"Name": "group-name", "Values": ["default"]}]
    (default,) = ec2.describe_security_groups(Filters=born)["SecurityGroups"]
    return str(default["GroupId"])


def of_role(ledger: Ledger, row: str) -> Iterator[Question]:
    """Who may wear a role is told in a document of a certain form, and a policy is called by its ARN."""
    iam, name = ledger.client("iam"), name_of_role(ledger, row)
    nobody = policies.trust("probe.amazonaws.com")
    yield "trust in nobody", lambda: iam.update_assume_role_policy(RoleName=name, PolicyDocument=nobody)
    called = {"RoleName": name, "PolicyArn": "a policy without an ARN"}
    yield "policy by its name", lambda: iam.attach_role_policy(**called)


def name_of_role(ledger: Ledger, row: str) -> str:
    """The last part of its ARN."""
    return ledger.resources[row].rpartition("/")[2]


def of_log_group(ledger: Ledger, row: str) -> Iterator[Question]:
    """Days are from a list, and names that begin with aws/ are AWS's own."""
    logs, group = ledger.client("logs"), ledger.resources[row]
    yield "eight days", lambda: logs.put_retention_policy(logGroupName=group, retentionInDays=8)
    yield (
        "name of a log group",
        lambda: ledger.create("probe-logs", logs.create_log_group, logGroupName="aws/probe"),
    )
    yield "log stream", lambda: logs.get_log_events(logGroupName=group, logStreamName="probe")


def of_table(ledger: Ledger, row: str) -> Iterator[Question]:
    """Items have keys, and are written 25 at a time."""
    dynamodb, table = ledger.client("dynamodb"), ledger.resources[row]
    puts = [{"PutRequest": {"Item": {"item_id": {"S": f"probe-{number}"}}}} for number in range(26)]
    yield "26 items", lambda: dynamodb.batch_write_item(RequestItems={table: puts})
    empty = {"item_id": {"S": ""}}
    yield "empty key", lambda: dynamodb.get_item(TableName=table, Key=empty)
    number = {":number": {"N": "1"}}
    begins = {"FilterExpression": "begins_with(item_id, :number)", "ExpressionAttributeValues": number}
    yield "number as a beginning", lambda: dynamodb.scan(TableName=table, **begins)


def of_bucket(ledger: Ledger, row: str) -> Iterator[Question]:
    """A policy has statements, a key an end, and nobody has an access control list."""
    s3, bucket = ledger.client("s3"), ledger.resources[row]
    yield "policy without statements", lambda: s3.put_bucket_policy(Bucket=bucket, Policy="{}")
    yield "long key", lambda: s3.get_object(Bucket=bucket, Key="probe/" * 200)
    yield "access control list", lambda: s3.put_bucket_acl(Bucket=bucket, ACL="log-delivery-write")
    yield "public access", lambda: s3.get_public_access_block(Bucket=bucket)
    yield "encryption", lambda: s3.get_bucket_encryption(Bucket=bucket)
    yield "bucket", lambda: s3.head_bucket(Bucket=bucket)
    yield "list", lambda: s3.list_objects_v2(Bucket=bucket, Prefix="probe/", MaxKeys=1)
