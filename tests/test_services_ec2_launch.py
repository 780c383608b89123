"""The rules of RunInstances: the same request again, and what is looked at before anything starts."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from moto.iam.models import iam_backends
from test_services_support import (
    FOR_EC2,
    Case,
    check,
    client,
    cloud,
    image_id,
    instance,
    net,
    refused,
    table,
    wait,
)

from awslabs.sandbox.services.servicequotas import quotas

NEW, FREE = (("account", "new"),), (("account", "free-plan"),)


def launched(**request: Any) -> str:
    """What RunInstances says in a network of its own."""
    net(request.pop("Zone", "us-east-1a")).launch(**request)
    return "ok"


# --- the same request again ---------------------------------------------------------------------------


def the_same_token_twice() -> int:
    here = net()
    return len({here.launch(ClientToken="t")["InstanceId"] for _ in range(2)})


def the_same_token_for_another_type() -> str:
    here = net()
    here.launch(ClientToken="t")
    here.launch(ClientToken="t", InstanceType="t3.small")
    return "ok"


def the_token_of_a_terminated_instance() -> str:
    here = net()
    instance_id = here.launch(ClientToken="t")["InstanceId"]
    client("ec2").terminate_instances(InstanceIds=[instance_id])
    here.launch(ClientToken="t")
    return "ok"


def an_endless_token() -> str:
    return launched(ClientToken="t" * 65)


# --- what the request names ---------------------------------------------------------------------------


def an_unknown_image() -> str:
    return launched(ImageId="ami-0123456789abcdef0")


def no_image_at_all() -> str:
    return launched(ImageId=None)


def an_image_by_its_name() -> str:
    return launched(ImageId="amazon-linux-2023")


def an_unknown_type() -> str:
    return launched(InstanceType="t9.gigantic")


def an_arm_type() -> str:
    return launched(InstanceType="t4g.micro")


def an_unknown_key() -> str:
    return launched(KeyName="lost")


def a_group_of_another_vpc() -> str:
    return launched(SecurityGroupIds=[net().group_id])


def an_unknown_group_of_an_interface() -> str:
    here = net()
    nic = {"DeviceIndex": 0, "SubnetId": here.subnet_id, "Groups": ["sg-0123456789abcdef0"]}
    here.launch(NetworkInterfaces=[nic], SubnetId=None, SecurityGroupIds=None)
    return "ok"


def long_user_data() -> str:
    return launched(UserData="#" * (16 * 1024 + 1))


def user_data_that_just_fits() -> str:
    return launched(UserData="#" * 16 * 1024)


def a_root_volume_that_is_too_small() -> str:
    return launched(BlockDeviceMappings=[{"DeviceName": "/dev/xvda", "Ebs": {"VolumeSize": 4}}])


def an_unknown_profile() -> str:
    return launched(IamInstanceProfile={"Name": "lost"})


def an_unknown_profile_arn() -> str:
    return launched(IamInstanceProfile={"Arn": "arn:aws:iam::123456789012:instance-profile/lost"})


def a_profile_without_a_role() -> str:
    client("iam").create_instance_profile(InstanceProfileName="lab")
    return launched(IamInstanceProfile={"Name": "lab"})


def a_type_in_a_zone_without_it() -> str:
    return launched(Zone="us-east-1e")


def more_than_the_subnet_holds() -> list[str]:
    here = net(cidr="10.10.0.0/28")  # 16 addresses, of which AWS keeps 5
    here.launch(MinCount=10, MaxCount=10)
    found = []
    for _ in range(2):
        try:
            here.launch()
            found.append("ok")
        except client("ec2").exceptions.ClientError as error:
            found.append(error.response["Error"]["Code"])
    return found


def a_gpu_in_a_new_account() -> str:
    return launched(InstanceType="g4dn.xlarge")


def a_gpu_on_spot_in_a_new_account() -> str:
    return launched(InstanceType="g4dn.xlarge", InstanceMarketOptions={"MarketType": "spot"})


def five_servers_in_a_new_account() -> str:
    here = net()
    for _ in range(5):  # of 2 vCPUs each; the account may have 8
        here.launch()
    return "ok"


def between_one_and_three() -> int:
    here = net()
    request = {"ImageId": image_id(), "InstanceType": "t3.micro", "SubnetId": here.subnet_id}
    return len(client("ec2").run_instances(MinCount=1, MaxCount=3, **request)["Instances"])


CASES = (
    Case("client_token", the_same_token_twice, 2, 1),
    Case("client_token", the_same_token_for_another_type, "ok", "IdempotentParameterMismatch"),
    Case("client_token", an_endless_token, "ok", "InvalidParameterValue"),
    Case("image_exists", an_unknown_image, "ok", "InvalidAMIID.NotFound"),
    Case("image_exists", no_image_at_all, "ok", "MissingParameter"),
    Case("image_exists", an_image_by_its_name, "ok", "InvalidAMIID.Malformed"),
    Case("instance_type_exists", an_unknown_type, "ok", "InvalidParameterValue"),
    Case("architecture_fits", an_arm_type, "ok", "InvalidParameterValue"),
    Case("key_pair_exists", an_unknown_key, "ok", "InvalidKeyPair.NotFound"),
    Case("security_groups_fit", a_group_of_another_vpc, "ok", "InvalidParameter"),
    Case("security_groups_fit", an_unknown_group_of_an_interface, "ok", "InvalidGroup.NotFound"),
    Case("instance_profile_is_usable", an_unknown_profile, "NoSuchEntity", "InvalidParameterValue"),
    Case("instance_profile_is_usable", an_unknown_profile_arn, "NoSuchEntity", "InvalidParameterValue"),
    Case("instance_profile_is_usable", a_profile_without_a_role, "ok", "InvalidParameterValue"),
    Case("user_data_is_short", long_user_data, "ok", "InvalidParameterValue"),
    Case("user_data_is_short", user_data_that_just_fits, "ok", "ok"),
    Case("root_volume_holds_the_image", a_root_volume_that_is_too_small, "ok", "InvalidBlockDeviceMapping"),
    Case("type_is_offered_in_zone", a_type_in_a_zone_without_it, "ok", "Unsupported"),
    Case(
        "subnet_has_room",
        more_than_the_subnet_holds,
        "StopIteration",
        ["ok", "InsufficientFreeAddressesInSubnet"],
    ),
    Case("free_plan", a_gpu_in_a_new_account, "ok", "InvalidParameterCombination", FREE),
    Case("free_plan", a_gpu_in_a_new_account, "ok", "ok", NEW),
    Case("vcpu_quota", a_gpu_in_a_new_account, "ok", "VcpuLimitExceeded", NEW),
    Case("vcpu_quota", a_gpu_on_spot_in_a_new_account, "ok", "MaxSpotInstanceCountExceeded", NEW),
    Case("vcpu_quota", a_gpu_in_a_new_account, "ok", "ok"),
    Case("vcpu_quota", five_servers_in_a_new_account, "ok", "VcpuLimitExceeded", NEW),
    Case("as_many_as_there_is_room_for", between_one_and_three, 1, 3),
)


@table(*CASES)
def test_moto_lets_it_pass_and_aws_does_not(case: Case) -> None:
    check(case)


def test_a_token_outlives_its_instance() -> None:
    with cloud("client_token", "instances_take_time"):
        here = net()
        instance_id = here.launch(ClientToken="t")["InstanceId"]
        client("ec2").terminate_instances(InstanceIds=[instance_id])
        code, message, _ = refused(here.launch, ClientToken="t")
        assert code == "IdempotentInstanceTerminated"
        assert message == (
            "The client token you have provided is associated with a terminated instance. "
            "Please use a different client token."
        )


def test_a_token_gives_its_instance_back_while_that_is_shutting_down() -> None:
    with cloud("client_token", "instances_take_time", slow_states=1.0):
        here = net()
        first = here.launch(ClientToken="t")["InstanceId"]
        client("ec2").terminate_instances(InstanceIds=[first])
        assert here.launch(ClientToken="t")["InstanceId"] == first


def test_a_token_of_a_launch_that_met_a_limit_keeps_its_parameters() -> None:
    with cloud(every=True, account="new"):
        here = net()
        gpu = {"ClientToken": "t", "InstanceType": "g4dn.xlarge"}
        assert refused(here.launch, **gpu)[0] == "VcpuLimitExceeded"
        assert refused(here.launch, **gpu | {"InstanceType": "t3.micro"})[0] == "IdempotentParameterMismatch"
        quotas.granted["123456789012", "us-east-1", "L-DB2E81BA"] = 4
        assert here.launch(**gpu)["InstanceType"] == "g4dn.xlarge"


def test_a_token_of_a_request_that_was_wrong_is_free() -> None:
    with cloud(every=True):
        here = net()
        assert refused(here.launch, ClientToken="t", KeyName="lost")[0] == "InvalidKeyPair.NotFound"
        assert here.launch(ClientToken="t")["InstanceId"].startswith("i-")


def test_a_token_outranks_what_has_changed_since() -> None:
    with cloud(every=True):
        here, ec2 = net(), client("ec2")
        ec2.create_key_pair(KeyName="lab")
        first = here.launch(ClientToken="t", KeyName="lab")["InstanceId"]
        ec2.delete_key_pair(KeyName="lab")
        assert here.launch(ClientToken="t", KeyName="lab")["InstanceId"] == first


def test_without_a_token_of_its_own_botocore_sends_a_new_one_each_time() -> None:
    with cloud(every=True):
        here = net()
        assert here.launch()["InstanceId"] != here.launch()["InstanceId"]


def test_a_profile_can_be_used_after_its_first_seconds() -> None:
    with cloud("instance_profile_is_usable", "propagation", slow_states=1.0):
        iam, here = client("iam"), net()
        iam.create_role(RoleName="lab", AssumeRolePolicyDocument=FOR_EC2)
        iam.create_instance_profile(InstanceProfileName="lab")
        wait(9)
        iam.add_role_to_instance_profile(InstanceProfileName="lab", RoleName="lab")
        wait(7)
        code, message, status = refused(here.launch, IamInstanceProfile={"Name": "lab"})
        assert (code, status) == ("InvalidParameterValue", 400)
        assert message.endswith("has no associated IAM Roles")
        wait(1.1)
        shown = here.launch(IamInstanceProfile={"Name": "lab"})
        assert shown["InstanceId"].startswith("i-")


def test_a_profile_made_a_moment_ago_is_no_profile_yet() -> None:
    with cloud("instance_profile_is_usable", "propagation", slow_states=1.0):
        client("iam").create_instance_profile(InstanceProfileName="lab")
        here = net()
        _, message, _ = refused(here.launch, IamInstanceProfile={"Name": "lab"})
        assert message == (
            "Value (lab) for parameter iamInstanceProfile.name is invalid. Invalid IAM Instance Profile name"
        )
        arn = iam_backends["123456789012"]["aws"].instance_profiles["lab"].arn
        _, message, _ = refused(here.launch, IamInstanceProfile={"Arn": arn})
        assert message.endswith("Invalid IAM Instance Profile ARN")


def test_the_quota_counts_what_runs_and_not_what_is_gone() -> None:
    with cloud(every=True, account="new"):
        here = net()
        ids = [here.launch(InstanceType="t3.xlarge")["InstanceId"] for _ in range(2)]  # 4 vCPUs each, of 8
        code, message, _ = refused(here.launch)
        assert code == "VcpuLimitExceeded"
        assert "your current vCPU limit of 8 allows" in message
        client("ec2").terminate_instances(InstanceIds=ids[:1])
        assert here.launch()["InstanceId"].startswith("i-")


def test_as_many_start_as_the_quota_allows() -> None:
    with cloud(every=True, account="new"):
        here = net()
        request = {"ImageId": image_id(), "InstanceType": "t3.micro", "SubnetId": here.subnet_id}
        assert len(client("ec2").run_instances(MinCount=2, MaxCount=10, **request)["Instances"]) == 4
        assert (
            refused(client("ec2").run_instances, MinCount=3, MaxCount=2, **request)[0]
            == "InvalidParameterValue"
        )


def test_the_refused_zone_says_which_zones_would_do() -> None:
    with cloud(every=True):
        _, message, _ = refused(net("us-east-1e").launch)
        assert message == (
            "Your requested instance type (t3.micro) is not supported in your requested Availability Zone "
            "(us-east-1e). Please retry your request by not specifying an Availability Zone or choosing "
            "us-east-1a, us-east-1b, us-east-1c, us-east-1d, us-east-1f."
        )


def test_a_dry_run_starts_nothing() -> None:
    with cloud(every=True):
        here = net()
        code, _, status = refused(here.launch, DryRun=True)
        assert (code, status) == ("DryRunOperation", 412)
        assert client("ec2").describe_instances()["Reservations"] == []


def test_a_launch_template_is_looked_at_too() -> None:
    with cloud(every=True):
        here, ec2 = net(), client("ec2")
        data = {"ImageId": image_id(), "InstanceType": "t3.small", "KeyName": "lost"}
        ec2.create_launch_template(LaunchTemplateName="lab", LaunchTemplateData=data)
        by_template = {"LaunchTemplate": {"LaunchTemplateName": "lab"}, "ImageId": None, "InstanceType": None}
        assert refused(here.launch, **by_template)[0] == "InvalidKeyPair.NotFound"
        ec2.create_key_pair(KeyName="lost")
        shown = here.launch(**by_template)
        assert (shown["InstanceType"], shown["ImageId"]) == ("t3.small", image_id())


@pytest.mark.parametrize(
    ("instance_type", "spot", "code"),
    [
        ("t3.micro", False, "L-1216C47A"),
        ("m7i-flex.large", True, "L-34B43A08"),
        ("g4dn.xlarge", False, "L-DB2E81BA"),
        ("gr6.4xlarge", True, "L-3819A6DF"),
        ("vt1.3xlarge", False, "L-DB2E81BA"),
        ("p5.48xlarge", False, "L-417A185B"),
        ("im4gn.large", False, "L-1216C47A"),
        ("trn1.2xlarge", False, None),
        ("hpc7a.96xlarge", False, None),
        ("mac2.metal", False, None),
    ],
)
def test_a_type_counts_against_its_family(instance_type: str, spot: bool, code: str | None) -> None:
    assert quotas.vcpu_quota_code(instance_type, spot) == code


def test_user_data_arrives_whole() -> None:
    with cloud(every=True):
        script = "#!/bin/sh\necho größe\n"
        instance_id = net().launch(UserData=script)["InstanceId"]
        shown = client("ec2").describe_instance_attribute(InstanceId=instance_id, Attribute="userData")
        assert base64.b64decode(shown["UserData"]["Value"]).decode() == script
        assert instance(instance_id)["InstanceId"] == instance_id
