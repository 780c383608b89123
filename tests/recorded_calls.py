"""Calls that make answers with many members, beside those of the labs: for test_recorded_members."""

from __future__ import annotations

import io
import json
import time
import zipfile
from typing import Any

from awslabs.cloud import Cloud

DOCUMENT = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Action": "s3:GetObject", "Resource": "*"}],
}
READ_ONLY = "arn:aws:iam::aws:policy/AmazonS3ReadOnlyAccess"
TAG = [{"Key": "a", "Value": "b"}]
SMALL = [{"key": "a", "value": "b"}]


def trust(service: str) -> str:
    line = {"Effect": "Allow", "Principal": {"Service": service}, "Action": "sts:AssumeRole"}
    return json.dumps({"Version": "2012-10-17", "Statement": [line]})


def make_all(cloud: Cloud) -> None:
    """Call each service of the labs."""
    role_arn = iam(cloud)
    network = ec2(cloud)
    s3(cloud)
    queues_and_logs(cloud)
    dynamodb(cloud)
    functions(cloud, role_arn, network)
    containers(cloud, role_arn)
    apis(cloud)
    cloud.client("resourcegroupstaggingapi").get_resources()
    cloud.client("batch").register_job_definition(
        jobDefinitionName="j",
        type="container",
        schedulingPriority=1,
        containerProperties={"image": "i", "vcpus": 1, "memory": 512, "command": ["true"]},
        tags={"a": "b"},
    )
    (found,) = cloud.client("batch").describe_job_definitions(jobDefinitionName="j")["jobDefinitions"]
    cloud.client("batch").list_tags_for_resource(resourceArn=found["jobDefinitionArn"])


def iam(cloud: Cloud) -> str:
    client = cloud.client("iam")
    policy = client.create_policy(
        PolicyName="p", PolicyDocument=json.dumps(DOCUMENT), Description="d", Tags=TAG
    )["Policy"]
    client.get_policy(PolicyArn=policy["Arn"])
    for name, service in (("f", "lambda"), ("t", "ecs-tasks"), ("e", "ec2")):
        client.create_role(
            RoleName=name,
            AssumeRolePolicyDocument=trust(f"{service}.amazonaws.com"),
            Description="d",
            PermissionsBoundary=policy["Arn"],
            Tags=TAG,
        )
        client.get_role(RoleName=name)
    client.put_role_policy(RoleName="e", PolicyName="p", PolicyDocument=json.dumps(DOCUMENT))
    client.list_role_policies(RoleName="e")
    client.create_instance_profile(InstanceProfileName="e")
    client.add_role_to_instance_profile(InstanceProfileName="e", RoleName="e")
    client.list_instance_profiles()
    client.list_roles()
    client.list_roles(MaxItems=1)
    return str(client.get_role(RoleName="f")["Role"]["Arn"])


def ec2(cloud: Cloud) -> dict[str, str]:
    client = cloud.client("ec2")
    vpc_id = client.create_vpc(CidrBlock="10.9.0.0/16", AmazonProvidedIpv6CidrBlock=True)["Vpc"]["VpcId"]
    client.describe_vpcs()
    subnet_id = client.create_subnet(VpcId=vpc_id, CidrBlock="10.9.0.0/24", AvailabilityZone="us-east-1a")[
        "Subnet"
    ]["SubnetId"]
    group_id = client.create_security_group(VpcId=vpc_id, GroupName="g", Description="g")["GroupId"]
    prefixes = client.describe_managed_prefix_lists()["PrefixLists"]
    pair: dict[str, Any] = {
        "IpProtocol": "tcp",
        "FromPort": 1,
        "ToPort": 2,
        "UserIdGroupPairs": [{"GroupId": group_id}],
        "PrefixListIds": [{"PrefixListId": prefixes[0]["PrefixListId"]}] if prefixes else [],
    }
    client.authorize_security_group_ingress(GroupId=group_id, IpPermissions=[pair])
    client.authorize_security_group_egress(GroupId=group_id, IpPermissions=[pair])
    client.describe_security_groups()
    table_id = client.create_route_table(VpcId=vpc_id)["RouteTable"]["RouteTableId"]
    client.associate_route_table(RouteTableId=table_id, SubnetId=subnet_id)
    client.create_tags(Resources=[table_id], Tags=TAG)
    client.describe_route_tables()
    image_id = client.create_image
    (image,) = client.describe_images(Owners=["amazon"], MaxResults=1)["Images"][:1]
    made = client.run_instances(
        ImageId=image["ImageId"],
        MinCount=1,
        MaxCount=1,
        InstanceType="t3.micro",
        SubnetId=subnet_id,
        SecurityGroupIds=[group_id],
        IamInstanceProfile={"Name": "e"},
    )["Instances"][0]
    client.get_waiter("instance_running").wait(InstanceIds=[made["InstanceId"]])
    image_id(
        InstanceId=made["InstanceId"], Name="mine", TagSpecifications=[{"ResourceType": "image", "Tags": TAG}]
    )
    client.describe_images(Owners=["self"])
    client.describe_instances()
    client.stop_instances(InstanceIds=[made["InstanceId"]])
    client.get_waiter("instance_stopped").wait(InstanceIds=[made["InstanceId"]])
    client.start_instances(InstanceIds=[made["InstanceId"]])
    return {"subnet": subnet_id, "group": group_id}


def s3(cloud: Cloud) -> None:
    client = cloud.client("s3")
    client.create_bucket(Bucket="recorded-members")
    client.put_bucket_versioning(Bucket="recorded-members", VersioningConfiguration={"Status": "Enabled"})
    client.put_object(Bucket="recorded-members", Key="k", Body=b"x", ServerSideEncryption="aws:kms")
    client.head_object(Bucket="recorded-members", Key="k")
    client.delete_object(Bucket="recorded-members", Key="k")
    client.list_object_versions(Bucket="recorded-members")
    client.put_bucket_tagging(Bucket="recorded-members", Tagging={"TagSet": TAG})
    client.get_bucket_tagging(Bucket="recorded-members")
    site = {"IndexDocument": {"Suffix": "i"}, "ErrorDocument": {"Key": "e"}}
    client.put_bucket_website(Bucket="recorded-members", WebsiteConfiguration=site)
    client.get_bucket_website(Bucket="recorded-members")
    allow = {"Effect": "Allow", "Principal": {"AWS": "111122223333"}, "Action": "s3:GetObject"}
    policy = {"Version": "2012-10-17", "Statement": [allow | {"Resource": "arn:aws:s3:::recorded-members/*"}]}
    client.put_bucket_policy(Bucket="recorded-members", Policy=json.dumps(policy))
    client.get_bucket_policy(Bucket="recorded-members")
    version = client.list_object_versions(Bucket="recorded-members")["Versions"][0]["VersionId"]
    gone = {"Objects": [{"Key": "k", "VersionId": version}]}
    client.delete_objects(Bucket="recorded-members", Delete=gone)
    client.list_buckets()


def queues_and_logs(cloud: Cloud) -> None:
    sqs, logs = cloud.client("sqs"), cloud.client("logs")
    url = sqs.create_queue(QueueName="q")["QueueUrl"]
    sqs.list_queues()
    sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])
    attributes = {"n": {"DataType": "String", "StringValue": "v"}}
    sqs.send_message(QueueUrl=url, MessageBody="m", MessageAttributes=attributes)
    sqs.receive_message(QueueUrl=url, AttributeNames=["All"], MessageAttributeNames=["All"])
    for name in ("a", "b"):
        logs.create_log_group(logGroupName=name, kmsKeyId="arn:aws:kms:us-east-1:111122223333:key/k")
        logs.create_log_stream(logGroupName=name, logStreamName="s")
        event = {"timestamp": int(time.time() * 1000), "message": "m"}
        logs.put_log_events(logGroupName=name, logStreamName="s", logEvents=[event])
    logs.describe_log_groups(limit=1)
    logs.describe_log_streams(logGroupName="a")
    logs.get_log_events(logGroupName="a", logStreamName="s", startFromHead=True)


def dynamodb(cloud: Cloud) -> None:
    client = cloud.client("dynamodb")
    client.create_table(
        TableName="t",
        AttributeDefinitions=[{"AttributeName": "k", "AttributeType": "S"}],
        KeySchema=[{"AttributeName": "k", "KeyType": "HASH"}],
        BillingMode="PAY_PER_REQUEST",
        StreamSpecification={"StreamEnabled": True, "StreamViewType": "NEW_IMAGE"},
        SSESpecification={"Enabled": True, "SSEType": "KMS"},
        TableClass="STANDARD_INFREQUENT_ACCESS",
    )
    client.get_waiter("table_exists").wait(TableName="t")
    client.describe_table(TableName="t")
    client.list_tables()
    client.delete_table(TableName="t")


def functions(cloud: Cloud, role_arn: str, network: dict[str, str]) -> None:
    client = cloud.client("lambda")
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as file:
        file.writestr("main.py", "def handler(event, context):\n    return event\n")
    code = packed.getvalue()
    layer = client.publish_layer_version(LayerName="l", Content={"ZipFile": code})["LayerVersionArn"]
    client.create_function(
        FunctionName="f",
        Role=role_arn,
        Runtime="python3.13",
        Handler="main.handler",
        Code={"ZipFile": code},
        Layers=[layer],
        Environment={"Variables": {"a": "b"}},
        VpcConfig={"SubnetIds": [network["subnet"]], "SecurityGroupIds": [network["group"]]},
    )
    client.get_function(FunctionName="f")
    client.get_function_configuration(FunctionName="f")
    client.get_waiter("function_active_v2").wait(FunctionName="f")
    client.put_function_concurrency(FunctionName="f", ReservedConcurrentExecutions=1)
    client.update_function_configuration(FunctionName="f", Timeout=5)
    client.get_function(FunctionName="f")
    client.get_function_configuration(FunctionName="f")
    client.list_functions()


def containers(cloud: Cloud, role_arn: str) -> None:
    client = cloud.client("ecs")
    client.create_cluster(clusterName="c", tags=SMALL)
    client.list_clusters()
    client.describe_clusters(clusters=["c", "nobody"])
    container: dict[str, Any] = {
        "name": "n",
        "image": "i",
        "command": ["true"],
        "entryPoint": ["sh"],
        "memory": 128,
        "portMappings": [{"containerPort": 80, "protocol": "tcp", "name": "web", "appProtocol": "http"}],
        "secrets": [{"name": "s", "valueFrom": "arn:aws:ssm:us-east-1:111122223333:parameter/s"}],
        "mountPoints": [{"sourceVolume": "v", "containerPath": "/v"}],
        "dockerLabels": {"a": "b"},
        "linuxParameters": {"capabilities": {"add": [], "drop": []}, "devices": []},
        "privileged": False,
        "readonlyRootFilesystem": False,
        "pseudoTerminal": False,
    }
    made = client.register_task_definition(
        family="d",
        containerDefinitions=[container],
        requiresCompatibilities=["FARGATE"],
        networkMode="awsvpc",
        cpu="256",
        memory="512",
        executionRoleArn=role_arn.replace("role/f", "role/t"),
        volumes=[{"name": "v", "host": {}}],
        tags=SMALL,
    )["taskDefinition"]["taskDefinitionArn"]
    client.describe_task_definition(taskDefinition=made, include=["TAGS"])
    client.list_tags_for_resource(resourceArn=made)
    client.list_task_definitions()
    ec2 = cloud.client("ec2")
    subnets = ec2.describe_subnets(Filters=[{"Name": "default-for-az", "Values": ["true"]}])["Subnets"]
    simple = client.register_task_definition(
        family="e",
        containerDefinitions=[{"name": "n", "image": "i", "memory": 128}],
        requiresCompatibilities=["FARGATE"],
        networkMode="awsvpc",
        cpu="256",
        memory="512",
        executionRoleArn=role_arn.replace("role/f", "role/t"),
    )["taskDefinition"]["taskDefinitionArn"]
    network = {"awsvpcConfiguration": {"subnets": [subnets[0]["SubnetId"]], "assignPublicIp": "ENABLED"}}
    (task,) = client.run_task(
        cluster="c",
        taskDefinition=simple,
        launchType="FARGATE",
        startedBy="me",
        networkConfiguration=network,
        tags=SMALL,
        overrides={"containerOverrides": [{"name": "n", "command": ["x"]}]},
    )["tasks"]
    client.list_tasks(cluster="c")
    for _ in range(4):
        client.describe_tasks(cluster="c", tasks=[task["taskArn"]], include=["TAGS"])
        time.sleep(0)
    client.stop_task(cluster="c", task=task["taskArn"], reason="enough")
    client.describe_tasks(cluster="c", tasks=[task["taskArn"]], include=["TAGS"])
    client.deregister_task_definition(taskDefinition=made)
    client.delete_task_definitions(taskDefinitions=[made])


def apis(cloud: Cloud) -> None:
    client = cloud.client("apigateway")
    api_id = client.create_rest_api(
        name="a", binaryMediaTypes=["image/png"], policy=json.dumps(DOCUMENT), tags={"a": "b"}
    )["id"]
    client.get_rest_apis()
    (root,) = client.get_resources(restApiId=api_id)["items"]
    client.create_resource(restApiId=api_id, parentId=root["id"], pathPart="p")
    client.put_method(restApiId=api_id, resourceId=root["id"], httpMethod="GET", authorizationType="NONE")
    client.put_integration(restApiId=api_id, resourceId=root["id"], httpMethod="GET", type="MOCK")
    client.get_resources(restApiId=api_id, embed=["methods"])
    made = client.create_deployment(restApiId=api_id, stageName="s", variables={"a": "b"})
    client.create_stage(
        restApiId=api_id, stageName="t", deploymentId=made["id"], description="d", tags={"a": "b"}
    )
    client.get_stage(restApiId=api_id, stageName="t")
    level = {"op": "replace", "path": "/*/*/logging/loglevel", "value": "INFO"}
    client.update_stage(restApiId=api_id, stageName="s", patchOperations=[level])
    client.get_stage(restApiId=api_id, stageName="s")
    client.get_stages(restApiId=api_id)
