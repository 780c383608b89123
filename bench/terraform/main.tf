# The first lab as Terraform would have it: the peer of awslabs.ec2 in bench/terraform.py.
terraform {
  required_providers {
    aws = {
      source = "hashicorp/aws"
    }
  }
}

variable "public_key" {
  type = string
}

provider "aws" {
  region                      = "us-east-1"
  skip_metadata_api_check     = true
  skip_region_validation      = true

  default_tags {
    tags = { lab = "terraform-peer" }
  }
}

data "aws_ssm_parameter" "image" {
  name = "/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-default-x86_64"
}

resource "aws_vpc" "lab" {
  cidr_block = "10.10.0.0/23"
}

resource "aws_subnet" "lab" {
  vpc_id                  = aws_vpc.lab.id
  cidr_block              = "10.10.0.0/24"
  availability_zone       = "us-east-1a"
  map_public_ip_on_launch = true
}

resource "aws_internet_gateway" "lab" {
  vpc_id = aws_vpc.lab.id
}

resource "aws_route" "lab" {
  route_table_id         = aws_vpc.lab.main_route_table_id
  destination_cidr_block = "0.0.0.0/0"
  gateway_id             = aws_internet_gateway.lab.id
}

resource "aws_security_group" "lab" {
  name        = "terraform-peer-ssh"
  description = "SSH from one address"
  vpc_id      = aws_vpc.lab.id

  ingress {
    protocol    = "tcp"
    from_port   = 22
    to_port     = 22
    cidr_blocks = ["127.0.0.1/32"]
  }
}

resource "aws_key_pair" "lab" {
  key_name   = "terraform-peer-key"
  public_key = var.public_key
}

resource "aws_instance" "lab" {
  ami                                  = data.aws_ssm_parameter.image.value
  instance_type                        = "t3.micro"
  subnet_id                            = aws_subnet.lab.id
  vpc_security_group_ids               = [aws_security_group.lab.id]
  key_name                             = aws_key_pair.lab.key_name
  instance_initiated_shutdown_behavior = "terminate"

  credit_specification {
    cpu_credits = "standard"
  }

  metadata_options {
    http_tokens = "required"
  }

  root_block_device {
    encrypted   = true
    volume_type = "gp3"
  }

  depends_on = [aws_route.lab]
}

# The lab is done when one can log in: the practice cloud tells SSH's port in a tag of the server.
data "aws_instance" "lab" {
  instance_id = aws_instance.lab.id
}

variable "private_key_file" {
  type = string
}

resource "terraform_data" "login" {
  connection {
    host        = "127.0.0.1"
    port        = split(":", data.aws_instance.lab.tags["awslabs:ssh"])[1]
    user        = "ec2-user"
    private_key = file(var.private_key_file)
    timeout     = "1m"
  }

  provisioner "remote-exec" {
    inline = ["uname -a"]
  }
}
