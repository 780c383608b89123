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

RECORDED = {
    "accountdiscovery.ssm.amazonaws.com": (
        "AmazonSSM_AccountDiscovery",
        "AWSSystemsManagerAccountDiscoveryServicePolicy",
    ),
    "acm.amazonaws.com": ("CertificateManager", "CertificateManagerServiceRolePolicy"),
    "appmesh.amazonaws.com": ("AppMesh", "AWSAppMeshServiceRolePolicy"),
    "autoscaling-plans.amazonaws.com": (
        "AutoScalingPlans_EC2AutoScaling",
        "AWSAutoScalingPlansEC2AutoScalingPolicy",
    ),
    "autoscaling.amazonaws.com": ("AutoScaling", "AutoScalingServiceRolePolicy"),
    "backup.amazonaws.com": ("Backup", "AWSBackupServiceLinkedRolePolicyForBackup"),
    "batch.amazonaws.com": ("Batch", "BatchServiceRolePolicy"),
    "cassandra.application-autoscaling.amazonaws.com": (
        "ApplicationAutoScaling_CassandraTable",
        "AWSApplicationAutoscalingCassandraTablePolicy",
    ),
    "cks.kms.amazonaws.com": (
        "KeyManagementServiceCustomKeyStores",
        "AWSKeyManagementServiceCustomKeyStoresServiceRolePolicy",
    ),
    "cloudtrail.amazonaws.com": ("CloudTrail", "CloudTrailServiceRolePolicy"),
    "codestar-notifications.amazonaws.com": (
        "CodeStarNotifications",
        "AWSCodeStarNotificationsServiceRolePolicy",
    ),
    "config.amazonaws.com": ("Config", "AWSConfigServiceRolePolicy"),
    "connect.amazonaws.com": ("AmazonConnect", "AmazonConnectServiceLinkedRolePolicy"),
    "dms-fleet-advisor.amazonaws.com": ("DMSFleetAdvisor", "AWSDMSFleetAdvisorServiceRolePolicy"),
    "dms.amazonaws.com": ("DMSServerless", "AWSDMSServerlessServiceRolePolicy"),
    "docdb-elastic.amazonaws.com": ("DocDB-Elastic", "AmazonDocDB-ElasticServiceRolePolicy"),
    "ec2-instance-connect.amazonaws.com": ("Ec2InstanceConnect", "Ec2InstanceConnectEndpoint"),
    "ec2.application-autoscaling.amazonaws.com": (
        "ApplicationAutoScaling_EC2SpotFleetRequest",
        "AWSApplicationAutoscalingEC2SpotFleetRequestPolicy",
    ),
    "ecr.amazonaws.com": ("ECRTemplate", "ECRTemplateServiceRolePolicy"),
    "ecs.amazonaws.com": ("ECS", "AmazonECSServiceRolePolicy"),
    "eks-connector.amazonaws.com": ("AmazonEKSConnector", "AmazonEKSConnectorServiceRolePolicy"),
    "eks-fargate.amazonaws.com": ("AmazonEKSForFargate", "AmazonEKSForFargateServiceRolePolicy"),
    "eks-nodegroup.amazonaws.com": ("AmazonEKSNodegroup", "AWSServiceRoleForAmazonEKSNodegroup"),
    "eks.amazonaws.com": ("AmazonEKS", "AmazonEKSServiceRolePolicy"),
    "elasticache.amazonaws.com": ("ElastiCache", "ElastiCacheServiceRolePolicy"),
    "elasticbeanstalk.amazonaws.com": ("ElasticBeanstalk", "AWSElasticBeanstalkServiceRolePolicy"),
    "elasticfilesystem.amazonaws.com": (
        "AmazonElasticFileSystem",
        "AmazonElasticFileSystemServiceRolePolicy",
    ),
    "elasticloadbalancing.amazonaws.com": (
        "ElasticLoadBalancing",
        "AWSElasticLoadBalancingServiceRolePolicy",
    ),
    "email.cognito-idp.amazonaws.com": (
        "AmazonCognitoIdpEmailService",
        "AmazonCognitoIdpEmailServiceRolePolicy",
    ),
    "emr-containers.amazonaws.com": ("AmazonEMRContainers", "AmazonEMRContainersServiceRolePolicy"),
    "emrwal.amazonaws.com": ("EMRWAL", "EMRDescribeClusterPolicyForEMRWAL"),
    "fis.amazonaws.com": ("FIS", "AmazonFISServiceRolePolicy"),
    "grafana.amazonaws.com": ("AmazonGrafana", "AmazonGrafanaServiceLinkedRolePolicy"),
    "imagebuilder.amazonaws.com": ("ImageBuilder", "AWSServiceRoleForImageBuilder"),
    "iotmanagedintegrations.amazonaws.com": ("IoTManagedIntegrations", "AWSIoTManagedIntegrationsRolePolicy"),
    "kafka.amazonaws.com": ("Kafka", "KafkaServiceRolePolicy"),
    "kafkaconnect.amazonaws.com": ("KafkaConnect", "KafkaConnectServiceRolePolicy"),
    "lakeformation.amazonaws.com": ("LakeFormationDataAccess", "LakeFormationDataAccessServiceRolePolicy"),
    "lex.amazonaws.com": ("LexBots", "AmazonLexBotPolicy"),
    "lexv2.amazonaws.com": ("LexV2Bots", "AmazonLexV2BotPolicy"),
    "lightsail.amazonaws.com": ("Lightsail", "LightsailExportAccess"),
    "m2.amazonaws.com": ("AWSM2", "AWSM2ServicePolicy"),
    "memorydb.amazonaws.com": ("MemoryDB", "MemoryDBServiceRolePolicy"),
    "mq.amazonaws.com": ("AmazonMQ", "AmazonMQServiceRolePolicy"),
    "mrk.kms.amazonaws.com": (
        "KeyManagementServiceMultiRegionKeys",
        "AWSKeyManagementServiceMultiRegionKeysServiceRolePolicy",
    ),
    "notifications.amazonaws.com": ("AwsUserNotifications", "AWSUserNotificationsServiceLinkedRolePolicy"),
    "observability.aoss.amazonaws.com": (
        "AmazonOpenSearchServerless",
        "AmazonOpenSearchServerlessServiceRolePolicy",
    ),
    "opensearchservice.amazonaws.com": ("AmazonOpenSearchService", "AmazonOpenSearchServiceRolePolicy"),
    "ops.apigateway.amazonaws.com": ("APIGateway", "APIGatewayServiceRolePolicy"),
    "ops.emr-serverless.amazonaws.com": ("AmazonEMRServerless", "AmazonEMRServerlessServiceRolePolicy"),
    "opsdatasync.ssm.amazonaws.com": (
        "SystemsManagerOpsDataSync",
        "AWSSystemsManagerOpsDataSyncServiceRolePolicy",
    ),
    "opsinsights.ssm.amazonaws.com": ("AmazonSSM_OpsInsights", "AWSSSMOpsInsightsServiceRolePolicy"),
    "pullthroughcache.ecr.amazonaws.com": ("ECRPullThroughCache", "AWSECRPullThroughCache_ServiceRolePolicy"),
    "ram.amazonaws.com": ("ResourceAccessManager", "AWSResourceAccessManagerServiceRolePolicy"),
    "rds.amazonaws.com": ("RDS", "AmazonRDSServiceRolePolicy"),
    "redshift.amazonaws.com": ("Redshift", "AmazonRedshiftServiceLinkedRolePolicy"),
    "replication.cassandra.amazonaws.com": ("KeyspacesReplication", "KeyspacesReplicationServiceRolePolicy"),
    "replication.ecr.amazonaws.com": ("ECRReplication", "ECRReplicationServiceRolePolicy"),
    "repository.sync.codeconnections.amazonaws.com": ("GitSync", "AWSGitSyncServiceRolePolicy"),
    "resource-explorer-2.amazonaws.com": ("ResourceExplorer", "AWSResourceExplorerServiceRolePolicy"),
    "rolesanywhere.amazonaws.com": ("RolesAnywhere", "AWSRolesAnywhereServicePolicy"),
    "s3-outposts.amazonaws.com": ("S3OnOutposts", "AWSS3OnOutpostsServiceRolePolicy"),
    "ses.amazonaws.com": ("AmazonSES", "AmazonSESServiceRolePolicy"),
    "shield.amazonaws.com": ("AWSShield", "AWSShieldServiceRolePolicy"),
    "ssm-incidents.amazonaws.com": ("IncidentManager", "AWSIncidentManagerServiceRolePolicy"),
    "ssm-quicksetup.amazonaws.com": ("SSMQuickSetup", "SSMQuickSetupRolePolicy"),
    "ssm.amazonaws.com": ("AmazonSSM", "AmazonSSMServiceRolePolicy"),
    "sso.amazonaws.com": ("SSO", "AWSSSOServiceRolePolicy"),
    "vpcorigin.cloudfront.amazonaws.com": ("CloudFrontVPCOrigin", "AWSCloudFrontVPCOriginServiceRolePolicy"),
    "waf.amazonaws.com": ("WAFLogging", "WAFLoggingServiceRolePolicy"),
    "wafv2.amazonaws.com": ("WAFV2Logging", "WAFV2LoggingServiceRolePolicy"),
}
"""Service -> what follows `AWSServiceRoleFor`, and the policy of AWS's that the role carries.

Source: as AWS answered on 2025-03-13 (aws-facts (k)).
"""

NAMES_ONLY = {
    "access-analyzer.amazonaws.com": ("AccessAnalyzer", ""),
    "dynamodb.application-autoscaling.amazonaws.com": ("ApplicationAutoScaling_DynamoDBTable", ""),
    "ec2fleet.amazonaws.com": ("EC2Fleet", ""),
    "ecs.application-autoscaling.amazonaws.com": ("ApplicationAutoScaling_ECSService", ""),
    "lambda.amazonaws.com": ("Lambda", ""),
    "replicator.lambda.amazonaws.com": ("LambdaReplicator", ""),
    "spot.amazonaws.com": ("EC2Spot", ""),
    "spotfleet.amazonaws.com": ("EC2SpotFleet", ""),
}
"""The same without a record: Batch's and Spot's names are in aws-facts (e), the others are unsourced."""

SERVICE_LINKED_ROLES = RECORDED | NAMES_ONLY


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
    *(
        f"iam:{operation}"
        for operation in (
            "DeleteRole",
            "AttachRolePolicy",
            "DetachRolePolicy",
            "PutRolePolicy",
            "DeleteRolePolicy",
            "UpdateAssumeRolePolicy",
            "UpdateRole",
            "AddRoleToInstanceProfile",
        )
    )
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
