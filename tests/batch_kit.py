"""What a compute environment stands on, for tests of Batch."""

from __future__ import annotations

from typing import Any

from awslabs import policies
from awslabs.ledger import Ledger


def names(changes: list[tuple[str, dict]]) -> list[str]:
    return [name for name, _ in changes]


def roles_and_network(ledger: Ledger) -> tuple[str, str, str]:
    """A subnet, a firewall and an instance profile with a role in it."""
    ec2, iam = ledger.client("ec2"), ledger.client("iam")
    vpc_id = ledger.create("vpc", ec2.create_vpc, CidrBlock="10.10.0.0/24")
    zone = f"{ledger.cloud.region}a"  # moto would draw one, and not each has each type of machine
    subnet_id = ledger.create(
        "subnet", ec2.create_subnet, VpcId=vpc_id, CidrBlock="10.10.0.0/24", AvailabilityZone=zone
    )
    group_id = ledger.create(
        "group", ec2.create_security_group, VpcId=vpc_id, GroupName=f"{ledger.prefix}-g", Description="none"
    )
    role, profile = f"{ledger.prefix}-machine-role", f"{ledger.prefix}-machine-profile"
    ledger.create(
        "role", iam.create_role, RoleName=role, AssumeRolePolicyDocument=policies.trust("ec2.amazonaws.com")
    )
    ledger.create(
        "policy",
        iam.put_role_policy,
        RoleName=role,
        PolicyName="what-it-needs",
        PolicyDocument=policies.document(*policies.join_a_cluster("*", "*", "*")),
    )
    arn = ledger.create("profile", iam.create_instance_profile, InstanceProfileName=profile)
    ledger.create("join", iam.add_role_to_instance_profile, InstanceProfileName=profile, RoleName=role)
    return subnet_id, group_id, arn


def environment_request(ledger: Ledger, subnet_id: str, group_id: str, profile_arn: str) -> dict[str, Any]:
    return {
        "computeEnvironmentName": f"{ledger.prefix}-machines",
        "type": "MANAGED",
        "state": "ENABLED",
        "computeResources": {
            "type": "EC2",
            "allocationStrategy": "BEST_FIT_PROGRESSIVE",
            "minvCpus": 0,
            "maxvCpus": 8,
            "instanceTypes": ["c5.large"],
            "subnets": [subnet_id],
            "securityGroupIds": [group_id],
            "instanceRole": profile_arn,
        },
    }
