"""Clients that know nothing of this project: the AWS CLI and Terraform on the practice cloud.

The strict rules must not break them. Both are skipped where they are not installed. Terraform fetches
nothing here: it takes the AWS provider from the folder that AWSLABS_TEST_TF_PLUGINS names (as `terraform
providers mirror` fills it), or from a folder where it always looks.
"""

from __future__ import annotations

import json
import os
import pwd
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from practice import client_of

from awslabs import sandbox

SLOW_STATES = 0.02
pytestmark = pytest.mark.live

PROVIDER = "registry.terraform.io/hashicorp/aws"


# -- AWS CLI ----------------------------------------------------------------------------------------------


@pytest.fixture
def aws(run: sandbox.Run) -> Any:
    """Calls the AWS CLI as a student does after `eval "$(python -m awslabs.sandbox env)"`."""
    program = shutil.which("aws")
    if program is None:
        pytest.skip("the AWS CLI is not installed: https://docs.aws.amazon.com/cli/")

    def call(*arguments: str) -> Any:
        said = subprocess.run(
            [program, *arguments, "--output", "json"],
            capture_output=True,
            text=True,
            env=run.surroundings("700000000001"),
            check=False,
        )
        assert said.returncode == 0, said.stderr
        return json.loads(said.stdout) if said.stdout else None

    return call


def test_aws_cli_starts_and_ends_an_instance(aws: Any, tmp_path: Path) -> None:
    assert aws("ec2", "describe-instances") == {"Reservations": []}
    name = "/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-default-x86_64"
    image_id = aws("ssm", "get-parameter", "--name", name)["Parameter"]["Value"]
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(tmp_path / "key")], check=True)
    aws(
        "ec2",
        "import-key-pair",
        "--key-name",
        "k",
        "--public-key-material",
        f"fileb://{tmp_path / 'key.pub'}",
    )
    machine = ("--image-id", image_id, "--instance-type", "t3.micro", "--key-name", "k")
    started = aws("ec2", "run-instances", *machine)["Instances"][0]["InstanceId"]
    aws("ec2", "wait", "instance-running", "--instance-ids", started)
    running = aws("ec2", "describe-instances", "--filters", "Name=instance-state-name,Values=running")
    (instance,) = (each for reservation in running["Reservations"] for each in reservation["Instances"])
    tags = {tag["Key"]: tag["Value"] for tag in instance["Tags"]}
    assert instance["InstanceId"] == started
    assert re.fullmatch(r"127\.0\.0\.1:\d+", tags["awslabs:ssh"])
    aws("ec2", "terminate-instances", "--instance-ids", started)
    aws("ec2", "wait", "instance-terminated", "--instance-ids", started)


def test_aws_cli_reads_other_protocols(aws: Any) -> None:
    assert aws("sts", "get-caller-identity")["Arn"] == "arn:aws:iam::700000000001:user/student"
    assert aws("s3api", "list-buckets")["Buckets"] == []
    assert aws("lambda", "list-functions") == {"Functions": []}
    assert aws("dynamodb", "list-tables") == {"TableNames": []}
    found = aws("resourcegroupstaggingapi", "get-resources", "--tag-filters", "Key=x")
    assert found["ResourceTagMappingList"] == []
    quota = aws("service-quotas", "get-service-quota", "--service-code", "vpc", "--quota-code", "L-F678F1CE")
    assert quota["Quota"]["QuotaName"] == "VPCs per Region"


# -- Terraform --------------------------------------------------------------------------------------------

CONFIGURATION = """
terraform {
  required_providers {
    aws = { source = "hashicorp/aws" }
  }
}

provider "aws" {
  region = "us-east-1"
  ignore_tags {
    key_prefixes = ["awslabs:"] # the practice cloud says there where an instance's sshd listens
  }
}

variable "public_key" {
  type = string
}

data "aws_ssm_parameter" "image" {
  name = "/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-default-x86_64"
}

resource "aws_vpc" "lab" {
  cidr_block = "10.20.0.0/23"
  tags       = { Name = "terraform" }
}

resource "aws_subnet" "lab" {
  vpc_id                  = aws_vpc.lab.id
  cidr_block              = "10.20.0.0/24"
  availability_zone       = "us-east-1a"
  map_public_ip_on_launch = true
}

resource "aws_internet_gateway" "lab" {
  vpc_id = aws_vpc.lab.id
}

resource "aws_route_table" "lab" {
  vpc_id = aws_vpc.lab.id
  route {
    cidr_block = "0.0.0.0/0"
    gateway_id = aws_internet_gateway.lab.id
  }
}

resource "aws_route_table_association" "lab" {
  subnet_id      = aws_subnet.lab.id
  route_table_id = aws_route_table.lab.id
}

resource "aws_security_group" "lab" {
  name        = "terraform-ssh"
  description = "SSH from one address"
  vpc_id      = aws_vpc.lab.id
  ingress {
    from_port   = 22
    to_port     = 22
    protocol    = "tcp"
    cidr_blocks = ["127.0.0.1/32"]
  }
  egress {
    from_port   = 0
    to_port     = 0
    protocol    = "-1"
    cidr_blocks = ["0.0.0.0/0"]
  }
}

resource "aws_key_pair" "lab" {
  key_name   = "terraform-key"
  public_key = var.public_key
}

resource "aws_iam_role" "lab" {
  name = "terraform-server"
  assume_role_policy = jsonencode({
    Version   = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Action    = "sts:AssumeRole"
      Principal = { Service = "ec2.amazonaws.com" }
    }]
  })
}

resource "aws_iam_role_policy_attachment" "lab" {
  role       = aws_iam_role.lab.name
  policy_arn = "arn:aws:iam::aws:policy/AmazonSSMManagedInstanceCore"
}

resource "aws_iam_instance_profile" "lab" {
  name = "terraform-server"
  role = aws_iam_role.lab.name
}

resource "aws_instance" "lab" {
  ami                    = data.aws_ssm_parameter.image.insecure_value
  instance_type          = "t3.micro"
  subnet_id              = aws_subnet.lab.id
  vpc_security_group_ids = [aws_security_group.lab.id]
  key_name               = aws_key_pair.lab.key_name
  iam_instance_profile   = aws_iam_instance_profile.lab.name
  metadata_options {
    http_tokens = "required"
  }
  credit_specification {
    cpu_credits = "standard"
  }
  root_block_device {
    volume_type = "gp3"
    encrypted   = true
  }
  tags = { Name = "terraform" }
}

output "ssh" {
  value = aws_instance.lab.public_ip
}
"""


@pytest.fixture
def terraform(run: sandbox.Run, tmp_path: Path) -> Any:
    """Calls Terraform in a folder of its own, with the provider from this computer."""
    program = shutil.which("terraform")
    if program is None:
        pytest.skip("Terraform is not installed: https://developer.hashicorp.com/terraform/install")
    plugins = plugin_folder()
    if plugins is None:
        pytest.skip(
            f"the Terraform provider {PROVIDER} is not on this computer: fill a folder with `terraform "
            "providers mirror FOLDER` and name it in AWSLABS_TEST_TF_PLUGINS"
        )
    settings = tmp_path / "terraformrc"
    settings.write_text(
        f'provider_installation {{\n  filesystem_mirror {{\n    path = "{plugins}"\n  }}\n}}\n'
    )
    folder = tmp_path / "configuration"
    folder.mkdir()
    (folder / "main.tf").write_text(CONFIGURATION)
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(tmp_path / "key")], check=True)
    environment = run.surroundings("700000000002") | {
        "TF_CLI_CONFIG_FILE": str(settings),
        "TF_IN_AUTOMATION": "1",
        "CHECKPOINT_DISABLE": "1",
        "TF_VAR_public_key": (tmp_path / "key.pub").read_text().strip(),
    }

    def call(*arguments: str) -> str:
        said = subprocess.run(
            [program, *arguments], cwd=folder, capture_output=True, text=True, env=environment, check=False
        )
        assert said.returncode == 0, said.stdout[-3000:] + said.stderr[-3000:]
        return said.stdout

    call("init", "-input=false", "-no-color")
    return call


def plugin_folder() -> Path | None:
    """Where Terraform's AWS provider is: https://developer.hashicorp.com/terraform/cli/config/config-file."""
    home = Path(pwd.getpwuid(os.getuid()).pw_dir)  # HOME is an empty one in tests
    usual = [home / ".terraform.d" / "plugins", Path("/usr/local/share/terraform/plugins")]
    named = os.environ.get("AWSLABS_TEST_TF_PLUGINS")
    return next((path for path in ([Path(named)] if named else usual) if (path / PROVIDER).is_dir()), None)


def test_terraform_applies_and_destroys_under_the_strict_rules(run: sandbox.Run, terraform: Any) -> None:
    ec2, iam = client_of(run, "700000000002", "ec2"), client_of(run, "700000000002", "iam")
    terraform("apply", "-auto-approve", "-input=false", "-no-color")
    made = json.loads(terraform("show", "-json"))["values"]
    assert made["outputs"]["ssh"]["value"] == "127.0.0.1"
    assert len(ec2.describe_vpcs(Filters=[{"Name": "tag:Name", "Values": ["terraform"]}])["Vpcs"]) == 1
    unchanged = terraform("plan", "-detailed-exitcode", "-input=false", "-no-color")
    assert "No changes" in unchanged
    terraform("destroy", "-auto-approve", "-input=false", "-no-color")
    assert [vpc for vpc in ec2.describe_vpcs()["Vpcs"] if not vpc["IsDefault"]] == []
    assert [group["GroupName"] for group in ec2.describe_security_groups()["SecurityGroups"]] == ["default"]
    assert ec2.describe_key_pairs()["KeyPairs"] == []
    assert ec2.describe_network_interfaces()["NetworkInterfaces"] == []
    assert iam.list_instance_profiles()["InstanceProfiles"] == []
    states = {
        instance["State"]["Name"]
        for reservation in ec2.describe_instances()["Reservations"]
        for instance in reservation["Instances"]
    }
    assert states <= {"terminated"}
