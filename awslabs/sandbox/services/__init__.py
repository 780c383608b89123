"""The services of the practice cloud, a folder for each, in AWS's own nouns.

A folder holds the service's rules (where AWS is stricter than moto), the operations that it answers itself,
and its running part, if something of it runs. The rules are listed here, what runs in
`sandbox/running_parts.py`. Adding a service is a folder and a line.
"""

from __future__ import annotations

# The order of import is the order in which rules look at a call.
from awslabs.sandbox.services import accounts as accounts  # isort: skip
from awslabs.sandbox.services.ec2 import dry_runs as dry_runs  # isort: skip
from awslabs.sandbox.services.ec2 import ids as ids  # isort: skip
from awslabs.sandbox.services.tagging import tags as tags  # isort: skip
from awslabs.sandbox.services.ec2 import visibility as visibility  # isort: skip
from awslabs.sandbox.services.iam import identities as identities  # isort: skip
from awslabs.sandbox.services.ec2 import images as images  # isort: skip
from awslabs.sandbox.services.servicequotas import quotas as quotas  # isort: skip
from awslabs.sandbox.services.ec2 import launch as launch  # isort: skip
from awslabs.sandbox.services.ec2 import spot as spot  # isort: skip
from awslabs.sandbox.services.ec2 import network as network  # isort: skip
from awslabs.sandbox.services.ec2 import reach as reach  # isort: skip
from awslabs.sandbox.services.ec2 import keys as keys  # isort: skip
from awslabs.sandbox.services.ec2 import instances as instances  # isort: skip
from awslabs.sandbox.services.lambda_ import shapes as shapes  # isort: skip
from awslabs.sandbox.services.lambda_ import functions as functions  # isort: skip
from awslabs.sandbox.services.lambda_ import configurations as configurations  # isort: skip
from awslabs.sandbox.services.logs import log_groups as log_groups  # isort: skip
from awslabs.sandbox.services.sqs import queues as queues  # isort: skip
from awslabs.sandbox.services.sqs import polls as polls  # isort: skip
from awslabs.sandbox.services.dynamodb import tables as tables  # isort: skip
from awslabs.sandbox.services.dynamodb import items as items  # isort: skip
from awslabs.sandbox.services.s3 import buckets as buckets  # isort: skip
from awslabs.sandbox.services.ssm import parameters as parameters  # isort: skip
from awslabs.sandbox.services.apigateway import rest_apis as rest_apis  # isort: skip
from awslabs.sandbox.services.apigateway import answers as answers  # isort: skip
from awslabs.sandbox.services import batch as batch  # isort: skip
from awslabs.sandbox.services.ecr import repositories as repositories  # isort: skip
from awslabs.sandbox.services.ecs import task_definitions as task_definitions  # isort: skip
from awslabs.sandbox.services.ecs import tasks as tasks  # isort: skip
