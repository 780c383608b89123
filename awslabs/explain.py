"""What AWS's refusals mean for a lab, and the command that mends each: botocore's errors as ours."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from awslabs.errors import AwsError

THROTTLED = {
    "Throttling",
    "ThrottlingException",
    "ThrottledException",
    "RequestThrottled",
    "RequestThrottledException",
    "RequestLimitExceeded",
    "TooManyRequestsException",
    "ProvisionedThroughputExceededException",
    "BandwidthLimitExceeded",
    "LimitExceededException",
    "SlowDown",
    "PriorRequestNotComplete",
    "TransactionInProgressException",
    "EC2ThrottledException",
}
DENIED = {
    "AccessDenied",
    "AccessDeniedException",
    "UnauthorizedOperation",
    "UnauthorizedException",
    "NotAuthorized",
}
EXPIRED = {"ExpiredToken", "ExpiredTokenException", "RequestExpired", "TokenRefreshRequired"}
BAD_CREDENTIALS = {
    "AuthFailure",
    "InvalidClientTokenId",
    "InvalidAccessKeyId",
    "SignatureDoesNotMatch",
    "UnrecognizedClientException",
    "IncompleteSignature",
    "MissingAuthenticationToken",
}
NO_CAPACITY = {"InsufficientInstanceCapacity", "InsufficientCapacity", "Server.InsufficientInstanceCapacity"}

# code -> (what is full, service, its Service Quotas code), as moto lists them and AWS documents them.
QUOTAS = {
    "VpcLimitExceeded": ("VPCs in this Region", "vpc", "L-F678F1CE"),
    "InternetGatewayLimitExceeded": ("internet gateways in this Region", "vpc", "L-A4707A72"),
    "VcpuLimitExceeded": ("vCPUs of running on-demand servers", "ec2", "L-1216C47A"),
    "SecurityGroupLimitExceeded": ("security groups in this Region", "vpc", "L-E79EC296"),
    "RulesPerSecurityGroupLimitExceeded": ("rules in one security group", "vpc", "L-0EA8095F"),
    "AddressLimitExceeded": ("Elastic IP addresses", "ec2", "L-0263D0A3"),
}
PAID_PLAN = "aws freetier upgrade-account-plan --account-plan-type PAID --region us-east-1"
G_AND_VT = re.compile(r"^(g\d|vt\d|gr\d)")  # families that the "G and VT" quota counts, L-DB2E81BA


@dataclass(frozen=True)
class Place:
    """Where a call went, as the fixes must name it."""

    lab: str
    region: str
    account: str = ""
    options: str = ""  # what the lab's commands need besides: `` --name second --region eu-west-1``


def vcpu_quota(instance_type: str, *, spot: bool = False) -> tuple[str, str]:
    """Name and Service Quotas code of the vCPU quota that counts on-demand or spot servers of this type."""
    if G_AND_VT.match(instance_type):
        if spot:
            return "All G and VT Spot Instance Requests", "L-3819A6DF"
        return "Running On-Demand G and VT instances", "L-DB2E81BA"
    if spot:
        return "All Standard (A, C, D, H, I, M, R, T, Z) Spot Instance Requests", "L-34B43A08"
    return "Running On-Demand Standard (A, C, D, H, I, M, R, T, Z) instances", "L-1216C47A"


def ask_for_quota(service: str, quota: str, value: int, region: str) -> str:
    """The command that asks AWS for a higher quota."""
    return (
        f"aws service-quotas request-service-quota-increase --service-code {service} "
        f"--quota-code {quota} --desired-value {value} --region {region}"
    )


def error_code(error: BaseException) -> str:
    """AWS's code in a ClientError, or the exception's own name."""
    response = getattr(error, "response", None)
    return response["Error"]["Code"] if response else type(error).__name__


def http_status(error: BaseException) -> int:
    """The HTTP status of a ClientError; 0 where no answer came."""
    response = getattr(error, "response", None)
    return response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0) if response else 0


def answers(error: BaseException, entries: Iterable[str]) -> bool:
    """Whether an error is one of these: a code, or a code with words that its message must hold."""
    code, message = error_code(error), str(error)
    return any(
        code == entry or (entry.startswith(f"{code} ") and entry[len(code) + 1 :] in message)
        for entry in entries
    )


def explain(error: Exception, operation: str, place: Place, request: dict | None = None) -> AwsError:
    """Turn botocore's error into one with what, why and fix.

    Parameters
    ----------
    error : Exception
        A ``ClientError``, or any other ``BotoCoreError``.
    operation : str
        ``ec2:RunInstances``, or what was attempted where no operation is known.
    place : Place
        Lab and Region, for the commands.
    request : dict, optional
        What was asked for; names the instance type in the answer.
    """
    code, request = error_code(error), request or {}
    message = (getattr(error, "response", None) or {}).get("Error", {}).get("Message", "") or str(error)
    lab = f"python -m awslabs.{place.lab}" if place.lab else "the same command"
    instance_type = request.get("InstanceType", "")

    def refusal(why: str, fix: str, what: str = "") -> AwsError:
        return AwsError(
            what or f"{operation} was refused ({code}).", why, fix, code=code, operation=operation
        )

    if code in ("NoCredentialsError", "PartialCredentialsError", "CredentialRetrievalError"):
        return refusal(
            "No AWS credentials were found on this computer.",
            "aws configure    # or, without an AWS account, run the same command with --sandbox",
            "There are no AWS credentials.",
        )
    if code in EXPIRED or code in ("TokenRetrievalError", "UnauthorizedSSOTokenError", "SSOTokenLoadError"):
        return refusal(
            "The session token of these credentials has expired. Nothing was lost.",
            "aws sso login    # or fetch fresh keys where yours come from; then run the same command again",
            "The AWS credentials have expired.",
        )
    if code == "PendingVerification":
        return refusal(
            message,
            "wait for AWS's mail, at most four hours; then run the same command again: it goes on",
            f"AWS is still checking whether this account may use {place.region or 'this Region'}.",
        )
    if code == "OptInRequired":
        return refusal(
            message,
            "finish the sign-up: https://portal.aws.amazon.com/billing/signup    # AWS needs up to a day; "
            "then run the same command again",
            "This account is not signed up for the service yet.",
        )
    if code == "Blocked":
        return refusal(
            message,
            "ask AWS's support (Account and billing): https://console.aws.amazon.com/support/home    # then "
            "run the same command again",
            "AWS has blocked this account.",
        )
    if code == "AuthFailure.ServiceLinkedRoleCreationNotPermitted":
        return refusal(
            f"{message} Spot needs a role of AWS's own, once per account.",
            "aws iam create-service-linked-role --aws-service-name spot.amazonaws.com    # by whoever may; "
            f"or without --spot: {lab} up{place.options}",
        )
    if code in BAD_CREDENTIALS:
        return refusal(
            f"AWS does not know these credentials: {message}",
            "aws configure    # then: aws sts get-caller-identity",
        )
    if code == "NoRegionError":
        return refusal(
            "Neither --region nor AWS_REGION nor the AWS configuration names one.",
            f"{lab} up --region us-east-1{place.options}",
            "No AWS Region is chosen.",
        )
    if code == "ProfileNotFound":
        return refusal(message, "aws configure list-profiles", "That AWS profile does not exist.")
    if code in DENIED and "voc-cancel-cred" in message:
        return refusal(
            "The policy voc-cancel-cred forbids everything from then on. Nothing was lost.",
            "start the lab again in AWS Academy, copy its new credentials, and run the same command again",
            "The session of this AWS Academy lab has ended.",
        )
    if code in DENIED:
        named = re.search(r"perform:? ([\w-]+:\w+)", message)
        action = named.group(1) if named else operation
        who = re.search(r"(?:User|Role)?:? ?(arn:\S+) is not", message)
        without = "leave --spot out" if "InstanceMarketOptions" in request else "take another --instance-type"
        return refusal(
            f"{who.group(1) if who else 'These credentials'} may not do {action}.",
            f"aws sts get-caller-identity    # ask whoever runs the account to allow this caller {action}"
            + (f", or {without}" if instance_type else "")
            + "; then run the same command again",
        )
    if code in ("VcpuLimitExceeded", "MaxSpotInstanceCountExceeded") and instance_type:
        name, quota = vcpu_quota(instance_type, spot=code.startswith("MaxSpot"))
        limit = re.search(r"limit of (\d+)", message)
        return refusal(
            f'{message} The quota is "{name}" ({quota}).',
            ask_for_quota("ec2", quota, int(limit.group(1) if limit else 0) + 8, place.region),
        )
    if code in QUOTAS:
        name, service, quota = QUOTAS[code]
        return refusal(
            f"The account has reached its quota of {name} ({quota}): {message}",
            "python -m awslabs.ledger list    # take down what is not needed; or ask for more: "
            + ask_for_quota(service, quota, 10, place.region),
        )
    if code == "ParameterAlreadyExists":
        return refusal(
            f"{request.get('Name', 'It')} stands in this account and Region already, and not as this lab's. "
            "It was not overwritten.",
            f'eval "$({lab} up --export{place.options})"    # for this terminal alone; or first: '
            f"aws ssm delete-parameter --region {place.region} --name {request.get('Name', 'NAME')}",
        )
    if code in NO_CAPACITY:
        return refusal(
            f"AWS has no free {instance_type or 'server'} in this zone just now. {message}",
            f"{lab} up{place.options}    # again in some minutes, or with another --instance-type; "
            "elsewhere: `down` first",
        )
    if code == "InvalidParameterCombination" and "Free Tier" in message:
        return refusal(
            f"{message} The account is on AWS's Free plan.",
            "aws ec2 describe-instance-types --filters Name=free-tier-eligible,Values=true --query "
            f"'InstanceTypes[].InstanceType' --region {place.region}    # then {lab} up{place.options} with "
            f"one of these as --instance-type; or pay for what you use, your credits first: {PAID_PLAN}",
            f"This account's Free plan does not run {'a ' + instance_type if instance_type else 'this'}.",
        )
    if code in ("Unsupported", "InvalidInstanceType", "InvalidParameterCombination") and instance_type:
        return refusal(
            f"{instance_type} is not offered here: {message}",
            f"{lab} up --instance-type t3.micro{place.options}",
        )
    if code in THROTTLED:
        return refusal(
            f"AWS asked for fewer calls per second, for longer than we wait. {message}",
            "run the same command again in a minute: it goes on where it stopped",
        )
    if code == "SSLError":
        return refusal(
            f"This computer does not trust the certificate; a proxy may have put its own there. {message}",
            "export AWS_CA_BUNDLE=/path/to/proxy.pem    # then run the same command again",
            f"{operation}: AWS could not be reached safely.",
        )
    if code in ("EndpointConnectionError", "ConnectTimeoutError", "ProxyConnectionError", "HTTPClientError"):
        return refusal(
            f"There is no network, or no Region called {place.region or 'so'}: {message}",
            "aws sts get-caller-identity    # once it answers, run the same command again: it goes on",
            f"{operation}: AWS could not be reached.",
        )
    if code in ("ConnectionClosedError", "ReadTimeoutError", "ConnectionError", "IncompleteReadError"):
        return refusal(
            f"The connection broke before an answer came: {message}",
            "run the same command again: it asks AWS first what took effect",
            f"{operation}: no answer came.",
        )
    if "cannot be assumed by Lambda" in message or "Role is not valid" in message:
        service = "lambda" if "Lambda" in message else "ecs-tasks"
        name = (request.get("Role") or request.get("executionRoleArn", "NAME")).rpartition("/")[2]
        return refusal(
            f"{message.rstrip('.')}. It does not exist, or does not trust {service}.amazonaws.com.",
            f"aws iam get-role --role-name {name}    # once it is right, run the same command again",
        )
    if http_status(error) >= 500:
        return refusal(
            f"AWS had a fault of its own: {message}",
            "run the same command again: it goes on where it stopped",
        )
    again = f"; {lab} up{place.options} makes anew what was deleted by hand" if place.lab else ""
    where = re.sub(r" --name \S+", "", place.options)  # it looks at all copies
    return refusal(message, f"python -m awslabs.ledger verify{where}    # shows what stands{again}")
