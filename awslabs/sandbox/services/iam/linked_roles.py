"""IAM's service-linked roles: their names, the policy that each carries, and that nobody else changes them."""  # noqa: E501

from __future__ import annotations

import json
import uuid
from typing import Any

from awslabs.sandbox.core.engine import Call, Proceed, Refused, around, before
from awslabs.sandbox.services.iam.identities import find_role, managed_policy

PATH = "/aws-service-role/"
TAKES_A_SUFFIX = ("autoscaling.amazonaws.com", "connect.amazonaws.com", "lexv2.amazonaws.com")
"""Services of whose roles there may be several. Source: recorded on AWS, 2025-03-13 (aws-facts (k))."""

_RECORDED = """
    accountdiscovery.ssm AmazonSSM_AccountDiscovery AWSSystemsManagerAccountDiscoveryServicePolicy
    acm CertificateManager CertificateManagerServiceRolePolicy
    appmesh AppMesh AWSAppMeshServiceRolePolicy
    autoscaling-plans AutoScalingPlans_EC2AutoScaling AWSAutoScalingPlansEC2AutoScalingPolicy
    autoscaling AutoScaling AutoScalingServiceRolePolicy
    backup Backup AWSBackupServiceLinkedRolePolicyForBackup
    batch Batch BatchServiceRolePolicy
    cassandra.application-autoscaling ApplicationAutoScaling_CassandraTable AWSApplicationAutoscalingCassandraTablePolicy
    cks.kms KeyManagementServiceCustomKeyStores AWSKeyManagementServiceCustomKeyStoresServiceRolePolicy
    cloudtrail CloudTrail CloudTrailServiceRolePolicy
    codestar-notifications CodeStarNotifications AWSCodeStarNotificationsServiceRolePolicy
    config Config AWSConfigServiceRolePolicy
    connect AmazonConnect AmazonConnectServiceLinkedRolePolicy
    dms-fleet-advisor DMSFleetAdvisor AWSDMSFleetAdvisorServiceRolePolicy
    dms DMSServerless AWSDMSServerlessServiceRolePolicy
    docdb-elastic DocDB-Elastic AmazonDocDB-ElasticServiceRolePolicy
    ec2-instance-connect Ec2InstanceConnect Ec2InstanceConnectEndpoint
    ec2.application-autoscaling ApplicationAutoScaling_EC2SpotFleetRequest AWSApplicationAutoscalingEC2SpotFleetRequestPolicy
    ecr ECRTemplate ECRTemplateServiceRolePolicy
    ecs ECS AmazonECSServiceRolePolicy
    eks-connector AmazonEKSConnector AmazonEKSConnectorServiceRolePolicy
    eks-fargate AmazonEKSForFargate AmazonEKSForFargateServiceRolePolicy
    eks-nodegroup AmazonEKSNodegroup AWSServiceRoleForAmazonEKSNodegroup
    eks AmazonEKS AmazonEKSServiceRolePolicy
    elasticache ElastiCache ElastiCacheServiceRolePolicy
    elasticbeanstalk ElasticBeanstalk AWSElasticBeanstalkServiceRolePolicy
    elasticfilesystem AmazonElasticFileSystem AmazonElasticFileSystemServiceRolePolicy
    elasticloadbalancing ElasticLoadBalancing AWSElasticLoadBalancingServiceRolePolicy
    email.cognito-idp AmazonCognitoIdpEmailService AmazonCognitoIdpEmailServiceRolePolicy
    emr-containers AmazonEMRContainers AmazonEMRContainersServiceRolePolicy
    emrwal EMRWAL EMRDescribeClusterPolicyForEMRWAL
    fis FIS AmazonFISServiceRolePolicy
    grafana AmazonGrafana AmazonGrafanaServiceLinkedRolePolicy
    imagebuilder ImageBuilder AWSServiceRoleForImageBuilder
    iotmanagedintegrations IoTManagedIntegrations AWSIoTManagedIntegrationsRolePolicy
    kafka Kafka KafkaServiceRolePolicy
    kafkaconnect KafkaConnect KafkaConnectServiceRolePolicy
    lakeformation LakeFormationDataAccess LakeFormationDataAccessServiceRolePolicy
    lex LexBots AmazonLexBotPolicy
    lexv2 LexV2Bots AmazonLexV2BotPolicy
    lightsail Lightsail LightsailExportAccess
    m2 AWSM2 AWSM2ServicePolicy
    memorydb MemoryDB MemoryDBServiceRolePolicy
    mq AmazonMQ AmazonMQServiceRolePolicy
    mrk.kms KeyManagementServiceMultiRegionKeys AWSKeyManagementServiceMultiRegionKeysServiceRolePolicy
    notifications AwsUserNotifications AWSUserNotificationsServiceLinkedRolePolicy
    observability.aoss AmazonOpenSearchServerless AmazonOpenSearchServerlessServiceRolePolicy
    opensearchservice AmazonOpenSearchService AmazonOpenSearchServiceRolePolicy
    ops.apigateway APIGateway APIGatewayServiceRolePolicy
    ops.emr-serverless AmazonEMRServerless AmazonEMRServerlessServiceRolePolicy
    opsdatasync.ssm SystemsManagerOpsDataSync AWSSystemsManagerOpsDataSyncServiceRolePolicy
    opsinsights.ssm AmazonSSM_OpsInsights AWSSSMOpsInsightsServiceRolePolicy
    pullthroughcache.ecr ECRPullThroughCache AWSECRPullThroughCache_ServiceRolePolicy
    ram ResourceAccessManager AWSResourceAccessManagerServiceRolePolicy
    rds RDS AmazonRDSServiceRolePolicy
    redshift Redshift AmazonRedshiftServiceLinkedRolePolicy
    replication.cassandra KeyspacesReplication KeyspacesReplicationServiceRolePolicy
    replication.ecr ECRReplication ECRReplicationServiceRolePolicy
    repository.sync.codeconnections GitSync AWSGitSyncServiceRolePolicy
    resource-explorer-2 ResourceExplorer AWSResourceExplorerServiceRolePolicy
    rolesanywhere RolesAnywhere AWSRolesAnywhereServicePolicy
    s3-outposts S3OnOutposts AWSS3OnOutpostsServiceRolePolicy
    ses AmazonSES AmazonSESServiceRolePolicy
    shield AWSShield AWSShieldServiceRolePolicy
    ssm-incidents IncidentManager AWSIncidentManagerServiceRolePolicy
    ssm-quicksetup SSMQuickSetup SSMQuickSetupRolePolicy
    ssm AmazonSSM AmazonSSMServiceRolePolicy
    sso SSO AWSSSOServiceRolePolicy
    vpcorigin.cloudfront CloudFrontVPCOrigin AWSCloudFrontVPCOriginServiceRolePolicy
    waf WAFLogging WAFLoggingServiceRolePolicy
    wafv2 WAFV2Logging WAFV2LoggingServiceRolePolicy
"""  # noqa: E501
_NAMES_ONLY = """
    access-analyzer AccessAnalyzer
    dynamodb.application-autoscaling ApplicationAutoScaling_DynamoDBTable
    ec2fleet EC2Fleet
    ecs.application-autoscaling ApplicationAutoScaling_ECSService
    lambda Lambda
    replicator.lambda LambdaReplicator
    spot EC2Spot
    spotfleet EC2SpotFleet
"""


def _read(rows: str) -> dict[str, tuple[str, str]]:
    found = (row.split() for row in rows.strip().splitlines())
    return {f"{service}.amazonaws.com": (ending, "".join(policy)) for service, ending, *policy in found}


RECORDED = _read(_RECORDED)
"""Service -> what follows `AWSServiceRoleFor`, and the policy of AWS's that the role carries.

Source: as AWS answered on 2025-03-13 (aws-facts (k)).
"""

SERVICE_LINKED_ROLES = RECORDED | _read(_NAMES_ONLY)
"""With those without a record: Batch's and Spot's names are in aws-facts (e), the others are unsourced."""


@around("iam:CreateServiceLinkedRole")
def service_linked_role_names(call: Call, proceed: Proceed) -> Any:
    """AWS names them (AWSServiceRoleForBatch, …ForEC2Spot), gives each its policy, takes few suffixes.

    An unknown service, a second one, a suffix where there is none: InvalidInput. moto:
    AWSServiceRoleForbatch, for any service, without a policy, and EntityAlreadyExists the second time.
    Source: aws-facts (c), (e), (j), (k).
    """
    service, suffix = call.get("AWSServiceName", ""), call.get("CustomSuffix")
    if service not in SERVICE_LINKED_ROLES:
        raise Refused("InvalidInput", f"The practice cloud knows no service-linked role of {service}.")
    if suffix and service in RECORDED and service not in TAKES_A_SUFFIX:
        raise Refused("InvalidInput", f"Custom suffix is not allowed for {service}")
    ending, policy_name = SERVICE_LINKED_ROLES[service]
    name = f"AWSServiceRoleFor{ending}" + (f"_{suffix}" if suffix else "")
    if find_role(call.iam, name) is not None:
        message = f"Service role name {name} has been taken in this account, please try a different suffix."
        raise Refused("InvalidInput", message)
    answer = proceed()
    role = answer.result["Role"]
    role.name = name
    trust = {"Effect": "Allow", "Principal": {"Service": service}, "Action": "sts:AssumeRole"}
    role.assume_role_policy_document = json.dumps({"Version": "2012-10-17", "Statement": [trust]})
    arn = f"arn:{call.partition}:iam::aws:policy{PATH}{policy_name}"
    if policy_name and (policy := managed_policy(call, arn)) is not None:
        policy.attach_to(role)
    return answer


@around("iam:DeleteServiceLinkedRole")
def service_linked_roles_go_with_their_policy(call: Call, proceed: Proceed) -> Any:
    """A service-linked role is deleted as a task, named for it; its policy does not hold it.

    moto names the task by an id alone. Source: aws-facts (k).
    """
    role = find_role(call.iam, call.get("RoleName"))
    if role is None or not role.path.startswith(PATH):
        return proceed()
    for policy in list(role.managed_policies.values()):
        policy.detach_from(role)
    answer = proceed()
    answer.result["DeletionTaskId"] = f"task{role.path}{role.name}/{uuid.uuid4()}"
    return answer


@before(
    *("iam:DeleteRole", "iam:AttachRolePolicy", "iam:DetachRolePolicy", "iam:PutRolePolicy"),
    *("iam:DeleteRolePolicy", "iam:UpdateAssumeRolePolicy", "iam:UpdateRole"),
    "iam:AddRoleToInstanceProfile",
)
def service_linked_roles_are_protected(call: Call) -> None:
    """Any change of a service-linked role: UnmodifiableEntity 400. moto deletes it.

    Source: aws-facts (a), (j).
    """
    role = find_role(call.iam, call.get("RoleName"))
    if role is not None and role.path.startswith(PATH):
        raise Refused(
            "UnmodifiableEntity",
            f"Cannot perform the operation on the protected role '{role.name}' - "
            "this role is only modifiable by AWS",
        )
