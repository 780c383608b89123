"""The rules of images: root volumes, public parameters, what an instance takes from its AMI."""

from __future__ import annotations

from typing import Any

import boto3
import pytest
from moto import mock_aws
from test_services_support import AL2023, Case, check, client, cloud, image_id, instance, net, said, table

from awslabs.sandbox import rules

DLAMI = "/aws/service/deeplearning/ami/x86_64/%s/latest/ami-id"


def volumes_of(instance_id: str) -> dict[str, dict[str, Any]]:
    """An instance's volumes by device."""
    mappings = {each["Ebs"]["VolumeId"]: each for each in instance(instance_id)["BlockDeviceMappings"]}
    shown = client("ec2").describe_volumes(VolumeIds=list(mappings))["Volumes"]
    return {
        mappings[volume["VolumeId"]]["DeviceName"]: volume
        | {"DeleteOnTermination": mappings[volume["VolumeId"]]["Ebs"]["DeleteOnTermination"]}
        for volume in shown
    }


def root_of_an_image() -> tuple[Any, ...]:
    image = client("ec2").describe_images(ImageIds=[image_id()])["Images"][0]
    ebs = image["BlockDeviceMappings"][0]["Ebs"]
    return ebs["VolumeSize"], ebs["VolumeType"], ebs["DeleteOnTermination"]


def root_of_an_instance() -> tuple[Any, ...]:
    found = volumes_of(net().launch()["InstanceId"])
    return tuple((device, each["Size"], each["VolumeType"]) for device, each in found.items())


def root_without_a_size() -> str:
    encrypted = [{"DeviceName": "/dev/xvda", "Ebs": {"Encrypted": True}}]
    net().launch(BlockDeviceMappings=encrypted)
    return "ok"


def a_further_volume() -> dict[str, bool]:
    more = [{"DeviceName": "/dev/sdb", "Ebs": {"VolumeSize": 20}}]
    found = volumes_of(net().launch(BlockDeviceMappings=more)["InstanceId"])
    return {device: each["DeleteOnTermination"] for device, each in sorted(found.items())}


def metadata() -> tuple[str, int]:
    options = net().launch()["MetadataOptions"]
    return options["HttpTokens"], options["HttpPutResponseHopLimit"]


def support_of_an_image() -> str | None:
    return client("ec2").describe_images(ImageIds=[image_id()])["Images"][0].get("ImdsSupport")


def deep_learning_parameter() -> str:
    name = DLAMI % "base-oss-nvidia-driver-gpu-amazon-linux-2023"
    return said(client("ssm").get_parameter, Name=name)


CASES = (
    Case("root_volumes", root_of_an_image, (15, "standard", False), (8, "gp3", True)),
    Case("root_volumes", root_of_an_instance, (("/dev/sda1", 8, "gp2"),), (("/dev/xvda", 8, "gp3"),)),
    Case("root_volumes", root_without_a_size, "MissingParameter", "ok"),
    Case("root_volumes", a_further_volume, {"/dev/sdb": False}, {"/dev/sdb": False, "/dev/xvda": True}),
    Case("metadata_options", metadata, ("optional", 1), ("required", 2)),
    Case("metadata_options", support_of_an_image, None, "v2.0"),
    Case("deep_learning_images", deep_learning_parameter, "ParameterNotFound", "ok"),
)


@table(*CASES)
def test_moto_lets_it_pass_and_aws_does_not(case: Case) -> None:
    check(case)


@pytest.mark.parametrize("region", ["us-east-1", "ap-northeast-1", "eu-central-1"])
def test_the_amazon_linux_parameter_leads_to_an_image_that_is_described(region: str) -> None:
    with rules.installed(), mock_aws():
        value = boto3.client("ssm", region).get_parameter(Name=AL2023)["Parameter"]["Value"]
        image = boto3.client("ec2", region).describe_images(ImageIds=[value])["Images"][0]
        assert (image["RootDeviceName"], image["VirtualizationType"], image["Architecture"]) == (
            "/dev/xvda",
            "hvm",
            "x86_64",
        )
        assert image["BlockDeviceMappings"][0]["Ebs"]["VolumeSize"] == 8


@pytest.mark.parametrize(
    ("name", "root", "system"),
    [
        ("base-oss-nvidia-driver-gpu-ubuntu-22.04", "/dev/sda1", "Ubuntu 22.04"),
        ("base-oss-nvidia-driver-gpu-amazon-linux-2023", "/dev/xvda", "Amazon Linux 2023"),
        ("oss-nvidia-driver-gpu-pytorch-2.10-ubuntu-24.04", "/dev/sda1", "Ubuntu 24.04"),
        ("oss-nvidia-driver-gpu-pytorch-2.10-amazon-linux-2023", "/dev/xvda", "Amazon Linux 2023"),
    ],
)
def test_a_deep_learning_parameter_leads_to_its_image(name: str, root: str, system: str) -> None:
    with cloud(every=True):
        value = client("ssm").get_parameter(Name=DLAMI % name)["Parameter"]["Value"]
        image = client("ec2").describe_images(ImageIds=[value])["Images"][0]
        assert image["RootDeviceName"] == root
        assert system in image["Name"]
        assert image["BlockDeviceMappings"][0]["Ebs"]["VolumeSize"] == 75
        snapshot_id = image["BlockDeviceMappings"][0]["Ebs"]["SnapshotId"]
        snapshot = client("ec2").describe_snapshots(SnapshotIds=[snapshot_id])["Snapshots"][0]
        assert snapshot["VolumeSize"] == 75
        found = net().launch(ImageId=value, InstanceType="g4dn.xlarge")
        assert volumes_of(found["InstanceId"])[root]["Size"] == 75


def test_framework_parameters_that_are_gone_are_not_found() -> None:
    with cloud(every=True):
        name = DLAMI % "oss-nvidia-driver-gpu-pytorch-1.13-ubuntu-20.04"
        assert said(client("ssm").get_parameter, Name=name) == "ParameterNotFound"


def test_deep_learning_parameters_are_listed_by_path() -> None:
    with cloud(every=True):
        shown = client("ssm").get_parameters_by_path(Path="/aws/service/deeplearning", Recursive=True)
        assert len(shown["Parameters"]) == 4


def test_a_request_changes_the_root_volume_and_keeps_what_it_does_not_name() -> None:
    with cloud(every=True):
        asked = [{"DeviceName": "/dev/xvda", "Ebs": {"VolumeSize": 30, "Encrypted": True}}]
        root = volumes_of(net().launch(BlockDeviceMappings=asked)["InstanceId"])["/dev/xvda"]
        assert (root["Size"], root["VolumeType"], root["Encrypted"]) == (30, "gp3", True)
        assert root["DeleteOnTermination"] is True


def test_a_volume_kept_on_termination_is_kept() -> None:
    with cloud(every=True):
        ec2 = client("ec2")
        asked = [{"DeviceName": "/dev/xvda", "Ebs": {"DeleteOnTermination": False}}]
        instance_id = net().launch(BlockDeviceMappings=asked)["InstanceId"]
        ec2.terminate_instances(InstanceIds=[instance_id])
        assert [each["State"] for each in ec2.describe_volumes()["Volumes"]] == ["available"]


def test_a_launch_template_brings_its_volumes_once() -> None:
    with cloud(every=True):
        ec2 = client("ec2")
        volumes = [{"DeviceName": "/dev/xvda", "Ebs": {"VolumeSize": 12}}]
        data = {"ImageId": image_id(), "InstanceType": "t3.micro", "BlockDeviceMappings": volumes}
        ec2.create_launch_template(LaunchTemplateName="lab", LaunchTemplateData=data)
        net().launch(LaunchTemplate={"LaunchTemplateName": "lab"}, ImageId=None, InstanceType=None)
        assert [each["Size"] for each in ec2.describe_volumes()["Volumes"]] == [12]


def test_metadata_options_of_the_request_win() -> None:
    with cloud(every=True):
        asked = {"HttpTokens": "optional", "HttpPutResponseHopLimit": 1}
        options = net().launch(MetadataOptions=asked)["MetadataOptions"]
        assert (options["HttpTokens"], options["HttpPutResponseHopLimit"]) == ("optional", 1)


def test_zones_that_do_not_offer_a_type_are_not_listed() -> None:
    with cloud(every=True):
        shown = client("ec2").describe_instance_type_offerings(
            LocationType="availability-zone",
            Filters=[{"Name": "instance-type", "Values": ["t3.micro"]}],
        )["InstanceTypeOfferings"]
        assert {each["Location"][-1] for each in shown} == set("abcdf")
