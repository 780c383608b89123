"""The script of each lab, run by a shell and the AWS CLI, builds what `up` builds: the same kinds and edges.

Both are looked at from outside: what the cloud describes, no word of the ledger's. Where no AWS CLI is
installed this is skipped (`pip install awscli`). `docker` is here a program of ours, which pushes an image of
one layer by the registry's own protocol: what the practice cloud takes where no engine answers.
"""

from __future__ import annotations

import importlib
import json
import os
import re
import stat
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aws_cli
import boto3
import pytest
from harness import batch_sweep, ecs_qa, outside, serverless  # with them come their listings

from awslabs import plan, rehearsal, sandbox, script
from awslabs.cloud import Cloud
from awslabs.labs import LABS
from awslabs.ledger import Ledger

pytestmark = pytest.mark.live

ROOT = Path(__file__).parents[1]
SERVICES = ("ec2", "iam", "logs", "ecr", "ecs", "dynamodb", "s3", "batch", "sqs", "lambda", "apigateway")
assert {*SERVICES} <= outside.LISTINGS.keys(), (batch_sweep, ecs_qa, serverless)
# No image is built here, so any name of a model will do.
OPTIONS = {"ecs_qa": {"model": "some/model"}}
PATIENCE_S = 900

DOCKER = """#!{python}
import json, os, sys
sys.path.insert(0, {tests!r})
import registry_client
verb, *words = sys.argv[1:]
note = ".login"  # of the lab in whose folder it runs
if verb == "login":
    assert words[:3] == ["--username", "AWS", "--password-stdin"], words
    json.dump([words[3], sys.stdin.read().strip()], open(note, "w"))
elif verb == "build":
    assert words[:2] == ["--platform", "linux/amd64"], words
    assert os.path.isfile(os.path.join(words[-1], "Dockerfile")), words
else:
    host, password = json.load(open(note))
    name, _, tag = words[0].removeprefix(host + "/").partition(":")
    import base64
    token = base64.b64encode(("AWS:" + password).encode()).decode()
    client = registry_client.Registry("http://" + host, token)
    client.push(name, registry_client.program("print('hello')"), tag)
"""


@dataclass
class Built:
    """One lab, built twice: by its script and by `up`, each in an account of its own.

    Attributes
    ----------
    said : str
        What the script has printed at its end.
    by_script, by_up : callable
        A client of each account, by the name of a service.
    environment : dict of str
        Of the script.
    """

    made: plan.Plan
    said: str
    by_script: Callable[[str], Any]
    by_up: Callable[[str], Any]
    environment: dict[str, str]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Built]]:
    """All five labs; the scripts run at the same time, while `up` builds."""
    aws_cli.program()
    top = tmp_path_factory.mktemp("explained")
    docker = top / "bin" / "docker"
    docker.parent.mkdir()
    docker.write_text(DOCKER.format(python=sys.executable, tests=str(ROOT / "tests")))
    docker.chmod(docker.stat().st_mode | stat.S_IXUSR)
    run = sandbox.start(slow_states=0.02, stale=0, home=top / "cloud")
    with pytest.MonkeyPatch.context() as patched, aws_cli.warm(top, (*SERVICES, "sts", "ssm")) as aws:
        patched.setenv("AWSLABS_HOME", str(top / "home"))
        plans = {lab: plan.rehearse(lab, up_of(lab), owner="ada", region="us-east-1") for lab in LABS}
        running, environments = {}, {}
        for number, lab in enumerate(LABS):
            here = top / lab
            here.mkdir()
            (here / "images").symlink_to(ROOT / "images")
            (here / "up.sh").write_text(script.script(plans[lab], "free"))
            environments[lab] = run.surroundings(f"71000000000{number}", "us-east-1") | {
                "PATH": os.pathsep.join([str(aws), str(docker.parent), os.environ["PATH"]]),
                "HOME": str(top),
                "my_ip": "198.51.100.7",
                "pause": "0.2",
            }
            with (here / "out").open("w") as out, (here / "err").open("w") as err:
                running[lab] = subprocess.Popen(
                    ["sh", "up.sh"], cwd=here, env=environments[lab], stdout=out, stderr=err
                )
        try:
            accounts = {}
            for number, lab in enumerate(LABS):
                keys = run.environment(f"72000000000{number}", "us-east-1")
                ledger = Ledger(Cloud(environment=keys), lab, owner="ada")
                patched.setattr(rehearsal, "noted", [])  # no login, no image, no notebook
                up_of(lab)(ledger)
                patched.setattr(rehearsal, "noted", None)
                accounts[lab] = ledger.client
            found = {}
            for lab, process in running.items():
                process.wait(PATIENCE_S)
                assert process.returncode == 0, (top / lab / "err").read_text()[-3000:]
                said = (top / lab / "out").read_text()
                found[lab] = Built(
                    plans[lab], said, clients(environments[lab]), accounts[lab], environments[lab]
                )
            yield found
        finally:
            for process in running.values():
                process.kill()
                process.wait()
            run.stop()


def up_of(lab: str) -> Callable[[Ledger], Any]:
    up = importlib.import_module(f"awslabs.{lab}").up
    return lambda ledger: up(ledger, **OPTIONS.get(lab, {}))


def clients(environment: dict[str, str]) -> Callable[[str], Any]:
    def client(service: str) -> Any:
        return boto3.client(
            service,
            endpoint_url=environment["AWS_ENDPOINT_URL"],
            region_name=environment["AWS_REGION"],
            aws_access_key_id=environment["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=environment["AWS_SECRET_ACCESS_KEY"],
        )

    return client


@pytest.mark.parametrize("lab", LABS)
def test_a_script_builds_the_same_things(lab: str, built: dict[str, Built]) -> None:
    one = built[lab]
    assert re.fullmatch(rf"awslabs-{lab.replace('_', '-')}-[0-9a-f]{{6}} stands\n", one.said)
    by_script = outside.shapes(outside.survey(SERVICES, one.by_script))
    by_up = outside.shapes(outside.survey(SERVICES, one.by_up))
    images = {what: many for what, many in by_script.items() if what.startswith("ecr image")}
    pushed = [step.params["recipe"].tag for step in one.made.steps if step.call == "docker:push"]
    assert images == {f"ecr image {tag}": 1 for tag in pushed}
    assert by_script - Counter(images) == by_up
    assert sum(by_up.values()) > 15


@pytest.mark.parametrize("lab", LABS)
def test_a_script_ties_them_alike(lab: str, built: dict[str, Built]) -> None:
    one = built[lab]
    by_up = Counter(edges(one.by_up))
    assert Counter(edges(one.by_script)) == by_up
    assert len(by_up) >= 5


def edges(client: Callable[[str], Any]) -> Iterator[tuple[str, str, str]]:
    """What hangs on what, as the cloud describes it: names without what is drawn for each lab."""
    ec2, names = client("ec2"), dict[str, str]()

    def name(thing: Any, key: str) -> str:
        tags = {tag["Key"]: tag["Value"] for tag in thing.get("Tags", [])}
        return names.setdefault(thing[key], equal(tags.get("Name") or key))

    def ours(text: str) -> str:
        """The name of whatever a text names by its id, or else its own name."""
        return names.get(text) or equal(text)

    for vpc in ec2.describe_vpcs()["Vpcs"]:
        name(vpc, "VpcId")
    for gateway in ec2.describe_internet_gateways()["InternetGateways"]:
        for tie in gateway["Attachments"]:
            yield "gateway", name(gateway, "InternetGatewayId"), ours(tie["VpcId"])
    for subnet in ec2.describe_subnets()["Subnets"]:
        yield "subnet", name(subnet, "SubnetId"), ours(subnet["VpcId"])
        yield "subnet in zone", names[subnet["SubnetId"]], subnet["AvailabilityZone"]
    for table in ec2.describe_route_tables()["RouteTables"]:
        for route in table["Routes"]:
            way = ours(route.get("GatewayId", "none"))
            yield "route", ours(table["VpcId"]), f"{route['DestinationCidrBlock']} {way}"
    for group in ec2.describe_security_groups()["SecurityGroups"]:
        yield "security group", name(group, "GroupId"), ours(group["VpcId"])
        for rule in group["IpPermissions"]:
            for source in rule["IpRanges"]:
                yield "rule", names[group["GroupId"]], f"{rule.get('FromPort')} {source['CidrIp']}"
    for reservation in ec2.describe_instances()["Reservations"]:
        for server in reservation["Instances"]:
            own = name(server, "InstanceId")
            yield "server in", own, ours(server["SubnetId"])
            yield "server from", own, server["ImageId"]
            yield "server with", own, equal(server["KeyName"])
            for group in server["SecurityGroups"]:
                yield "server behind", own, ours(group["GroupId"])
    iam = client("iam")
    for role in iam.list_roles()["Roles"]:
        if role["Path"].startswith("/aws-service-role/"):
            continue
        yield "role for", equal(role["Arn"]), json.dumps(role["AssumeRolePolicyDocument"], sort_keys=True)
        for policy in iam.list_role_policies(RoleName=role["RoleName"])["PolicyNames"]:
            shown = iam.get_role_policy(RoleName=role["RoleName"], PolicyName=policy)["PolicyDocument"]
            yield "policy", equal(role["Arn"]), equal(json.dumps(shown, sort_keys=True))
    for profile in iam.list_instance_profiles()["InstanceProfiles"]:
        for role in profile["Roles"]:
            yield "profile", equal(profile["Arn"]), equal(role["Arn"])
    functions = client("lambda")
    for function in functions.list_functions()["Functions"]:
        own = equal(function["FunctionName"])
        yield "function in role", own, equal(function["Role"])
        yield "function of", own, f"{function['Runtime']} {function['Handler']}"
        yield "function logs", own, equal(function["LoggingConfig"]["LogGroup"])
        yield "dead letters", own, equal(function.get("DeadLetterConfig", {}).get("TargetArn", "none"))
        yield "variables", own, equal(json.dumps(function.get("Environment", {}), sort_keys=True))
        if not own.endswith("greeter"):
            policy = json.loads(functions.get_policy(FunctionName=function["FunctionName"])["Policy"])
            for statement in policy["Statement"]:
                source = statement["Condition"]["ArnLike"]["AWS:SourceArn"]
                yield "function called by", own, API.sub("api", equal(source))
    apis = client("apigateway")
    for api in apis.get_rest_apis()["items"]:
        for resource in apis.get_resources(restApiId=api["id"], embed=["methods"])["items"]:
            for verb, method in resource.get("resourceMethods", {}).items():
                uri = method.get("methodIntegration", {}).get("uri", "none")
                yield "method", f"{verb} {resource['path']}", equal(uri)
    s3 = client("s3")
    for bucket in s3.list_buckets()["Buckets"]:
        for one in s3.list_objects_v2(Bucket=bucket["Name"]).get("Contents", []):
            yield "object", equal(bucket["Name"]), one["Key"]
    yield from of_work(client, ours)


def of_work(client: Callable[[str], Any], ours: Callable[[str], str]) -> Iterator[tuple[str, str, str]]:
    """The same of ECS and Batch."""
    ecs, batch = client("ecs"), client("batch")
    for arn in ecs.list_task_definitions()["taskDefinitionArns"]:
        shown = ecs.describe_task_definition(taskDefinition=arn)["taskDefinition"]
        (container,) = shown["containerDefinitions"]
        yield "task executes as", equal(shown["family"]), equal(shown["executionRoleArn"])
        yield "task acts as", equal(shown["family"]), equal(shown["taskRoleArn"])
        yield "task image", equal(shown["family"]), equal(container["image"].partition(":")[2].split("/")[1])
        yield "task logs", equal(shown["family"]), equal(json.dumps(container["logConfiguration"]))
    for environment in batch.describe_compute_environments()["computeEnvironments"]:
        own, resources = equal(environment["computeEnvironmentName"]), environment["computeResources"]
        for part in (*resources["subnets"], *resources["securityGroupIds"]):
            yield "machines in", own, ours(part)
        yield "machines as", own, equal(resources["instanceRole"])
    for queue in batch.describe_job_queues()["jobQueues"]:
        for order in queue["computeEnvironmentOrder"]:
            yield "queue", equal(queue["jobQueueName"]), equal(order["computeEnvironment"])
    for job in batch.describe_job_definitions()["jobDefinitions"]:
        properties = job["containerProperties"]
        yield "job acts as", equal(job["jobDefinitionName"]), equal(properties["jobRoleArn"])
        yield "job logs", equal(job["jobDefinitionName"]), equal(json.dumps(properties["logConfiguration"]))
        for variable in properties["environment"]:
            yield f"job's {variable['name']}", equal(job["jobDefinitionName"]), equal(variable["value"])


API = re.compile(r"(?<=:)[a-z0-9]{10}(?=/)")


def equal(text: str) -> str:
    """A text without what is drawn for each lab: its name, tokens, the account."""
    text = outside.A_NAME.sub("awslabs", outside.A_TOKEN.sub("", text))
    return re.sub(r"\b7[12]0000000\d{3}\b", "account", text)


def test_a_key_that_the_script_made_opens_the_server(built: dict[str, Built]) -> None:
    """AWS has the public half of the key that lies beside the script."""
    one = built["ec2"]
    prefix = one.said.split()[0]
    here = Path(one.environment["HOME"]) / "ec2" / prefix
    (pair,) = one.by_script("ec2").describe_key_pairs(IncludePublicKey=True)["KeyPairs"]
    said = subprocess.run(["ssh-keygen", "-y", "-f", here / "key-pair"], capture_output=True, check=True)
    assert said.stdout.split()[:2] == pair["PublicKey"].encode().split()[:2]
