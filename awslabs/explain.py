"""What AWS's refusals mean for a lab, and the command that mends each: botocore's errors as ours."""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit
from weakref import WeakKeyDictionary

from awslabs.errors import AwsError
from awslabs.web import is_loopback

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
    "InvalidSignatureException",
    "UnrecognizedClientException",
    "IncompleteSignature",
    "MissingAuthenticationToken",
}
NO_CAPACITY = {"InsufficientInstanceCapacity", "InsufficientCapacity", "Server.InsufficientInstanceCapacity"}
# botocore's own: no way there was found; it broke before the answer was whole.
UNREACHED = ("EndpointConnectionError", "ConnectTimeoutError", "ProxyConnectionError", "HTTPClientError")
BROKEN = ("ConnectionClosedError", "ReadTimeoutError", "ConnectionError", "IncompleteReadError")

AGAIN = "then run the same command again"
# What AWS says when this computer's clock is off: as a code of its own, or as one of a wrong signature.
CLOCK = re.compile(r"Signature expired|Signature not yet current")

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


def as_options(given: Mapping[str, str | bool | None]) -> str:
    """Options as a command line takes them: `` --region eu-west-1 --cpu``; what was not given is left out."""
    return "".join(
        f" --{name.replace('_', '-')}" + ("" if value is True else f" {shlex.quote(str(value))}")
        for name, value in given.items()
        if value
    )


@dataclass(frozen=True)
class Place:
    """Where a call went, as the fixes must name it.

    Attributes
    ----------
    lab : str
        The chapter; empty where no lab is at work.
    options : str
        What every command needs to go there, too: `` --region eu-west-1 --profile class``, `` --sandbox``.
    name, owner : str
        What the lab's own commands need besides; empty where nobody said it.
    profile : str
        The profile alone, for commands of the AWS CLI.
    """

    lab: str
    region: str
    account: str = ""
    options: str = ""
    name: str = ""
    owner: str = ""
    profile: str = ""

    @classmethod
    def asked(
        cls, region: str | None, profile: str | None, sandbox: bool, *, lab: str = "", name: str = "default"
    ) -> Place:
        """The place that these options mean; what none of them says, the environment tells whoever comes."""
        return cls(
            lab,
            region or "",
            options=as_options({"region": region, "profile": profile, "sandbox": sandbox}),
            name="" if name == "default" else name,
            profile=profile or "",
        )

    def command(self, verb: str) -> str:
        """The command line that runs a verb of the lab on the same copy."""
        new = verb.split()[0] == "up"  # afterwards the ledger itself knows whose it is
        told = as_options({"name": self.name, "owner": new and self.owner})
        return f"python -m awslabs.{self.lab} {verb}{told}{self.options}"

    def of_ledgers(self, verb: str) -> str:
        """The command line that runs a verb of the ledgers in the same place."""
        whose = verb.split()[0] in ("verify", "recover") and self.owner
        owner = as_options({"owner": whose})
        return f"python -m awslabs.ledger {verb}{owner}{self.options}"

    def aws(self, command: str) -> str:
        """A command of the AWS CLI that goes to the same place."""
        line = f"aws {command}{as_options({'profile': self.profile})}"
        return f'(eval "$(python -m awslabs.sandbox env)"; {line})' if "--sandbox" in self.options else line


_places: WeakKeyDictionary[Any, Place] = WeakKeyDictionary()


def boto3_errors() -> tuple[type[Exception], type[Exception]]:
    """What boto3 raises, for an `except`. botocore takes its time, so it comes when something was raised."""
    from botocore.exceptions import BotoCoreError, ClientError

    return BotoCoreError, ClientError


def remember(client: Any, place: Place) -> None:
    """Keep for a boto3 client where its calls go; `place_of` tells it to who has the client alone."""
    _places[client] = place


def place_of(client: Any) -> Place:
    """Where a boto3 client's calls go."""
    return _places.get(client) or Place("", client.meta.region_name)


def vcpu_quota(instance_type: str, *, spot: bool = False) -> tuple[str, str]:
    """Name and Service Quotas code of the vCPU quota that counts on-demand or spot servers of this type."""
    if G_AND_VT.match(instance_type):
        if spot:
            return "All G and VT Spot Instance Requests", "L-3819A6DF"
        return "Running On-Demand G and VT instances", "L-DB2E81BA"
    if spot:
        return "All Standard (A, C, D, H, I, M, R, T, Z) Spot Instance Requests", "L-34B43A08"
    return "Running On-Demand Standard (A, C, D, H, I, M, R, T, Z) instances", "L-1216C47A"


def ask_for_quota(service: str, quota: str, value: int, place: Place) -> str:
    """The command that asks AWS for a higher quota."""
    return place.aws(
        f"service-quotas request-service-quota-increase --service-code {service} "
        f"--quota-code {quota} --desired-value {value} --region {place.region}"
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


def is_refused_here(error: BaseException) -> bool:
    """Whether nobody listens at an address of this computer: a practice cloud or an emulator has ended."""
    if type(error).__name__ != "EndpointConnectionError":
        return False
    host = urlsplit(getattr(error, "kwargs", {}).get("endpoint_url", "")).hostname or ""
    return is_loopback(host) or host.endswith(".localhost")


def is_no_aws(error: BaseException) -> bool:
    """Whether an answer is no AWS's: a redirection, or a page where XML or JSON should be."""
    code, status = error_code(error), http_status(error)
    return code == "ResponseParserError" or (code == str(status) and (300 <= status < 400 or status == 405))


def mend_source(place: Place) -> str:
    """What to do where the AWS configuration names a source of credentials that gives none."""
    listed = place.aws("configure list")
    return f"{listed}    # names the source; mend it, or run the same command with --sandbox"


def explain(
    error: Exception, operation: str, place: Place, request: dict[str, Any] | None = None
) -> AwsError:
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
    answer = getattr(error, "last_response", {})  # what a waiter of boto3 saw last
    if "Error" in answer:
        error.response = answer  # type: ignore[attr-defined]
    code, request = error_code(error), request or {}
    message = (getattr(error, "response", None) or {}).get("Error", {}).get("Message", "") or str(error)
    whoami = place.aws("sts get-caller-identity")
    up = place.command("up") if place.lab else "the same command"
    instance_type = request.get("InstanceType", "")

    def refusal(why: str, fix: str, what: str = "") -> AwsError:
        return AwsError(
            what or f"{operation} was refused ({code}).", why, fix, code=code, operation=operation
        )

    if code in ("NoCredentialsError", "PartialCredentialsError"):
        return refusal(
            "No AWS credentials were found on this computer.",
            f"{place.aws('configure')}    # or, without an AWS account, run the same command with --sandbox",
            "There are no AWS credentials.",
        )
    if code == "CredentialRetrievalError":
        return refusal(
            f"Whatever the AWS configuration names as their source gave none: {message}",
            mend_source(place),
            "The AWS credentials could not be fetched.",
        )
    if code == "ConfigParseError":
        path = error.kwargs.get("path", "~/.aws/config")  # type: ignore[attr-defined]
        problem = " ".join(str(error.__context__ or "It is no such file").split())
        return refusal(
            f"{path} is damaged: {problem}",
            f"${{EDITOR:-vi}} {shlex.quote(str(path))}    # mend that line; then run the same command again",
            "The AWS configuration cannot be read.",
        )
    if code in EXPIRED or code in ("TokenRetrievalError", "UnauthorizedSSOTokenError", "SSOTokenLoadError"):
        return refusal(
            "The session token of these credentials has expired. Nothing was lost.",
            f"{place.aws('sso login')}    # or fetch fresh keys where yours come from; "
            "then run the same command again",
            "The AWS credentials have expired.",
        )
    if code == "RequestTimeTooSkewed" or CLOCK.search(message):
        set_clock = (
            "sudo sntp -sS time.apple.com" if sys.platform == "darwin" else "sudo timedatectl set-ntp true"
        )
        return refusal(
            f"This computer's clock is off by more than the 5 minutes that AWS bears: {message}",
            f"{set_clock}    # {AGAIN}",
        )
    if code == "PendingVerification":
        return refusal(
            message,
            f"wait for AWS's mail, at most four hours; {AGAIN}: it goes on",
            f"AWS is still checking whether this account may use {place.region or 'this Region'}.",
        )
    if code == "OptInRequired":
        return refusal(
            message,
            "finish the sign-up: https://portal.aws.amazon.com/billing/signup    # AWS needs up to a day; "
            f"{AGAIN}",
            "This account is not signed up for the service yet.",
        )
    if code == "Blocked":
        return refusal(
            message,
            "ask AWS's support (Account and billing): https://console.aws.amazon.com/support/home    # "
            f"{AGAIN}",
            "AWS has blocked this account.",
        )
    if code == "AuthFailure.ServiceLinkedRoleCreationNotPermitted":
        return refusal(
            f"{message} Spot needs a role of AWS's own, once per account.",
            place.aws("iam create-service-linked-role --aws-service-name spot.amazonaws.com")
            + f"    # by whoever may; or without --spot: {place.command('up')}",
        )
    if code == "InvalidRegionError" or "scoped to a valid region" in message:
        return refusal(
            f"{place.region!r} is no name of one.",
            "run the same command again with a Region's name: --region us-east-1",
            "There is no such AWS Region.",
        )
    if code in BAD_CREDENTIALS:
        return refusal(
            f"AWS does not know these credentials: {message}",
            f"{place.aws('configure')}    # then: {whoami}",
        )
    if code == "WaiterError":
        instances = [one for each in answer.get("Reservations", []) for one in each["Instances"]]
        reasons = [one["StateReason"] for one in (answer, *instances) if one.get("StateReason")]
        told = "; ".join(one if isinstance(one, str) else one["Message"] for one in reasons)
        return refusal(
            told or message,
            f"{up}    # goes on; or makes anew what has ended",
            f"{error.kwargs['name']} did not come.",  # type: ignore[attr-defined]
        )
    if code == "NoRegionError":
        return refusal(
            "Neither --region nor AWS_REGION nor the AWS configuration names one.",
            "export AWS_REGION=us-east-1    # or add --sandbox: the practice cloud",
            "No AWS Region is chosen.",
        )
    if is_no_aws(error):
        return refusal(
            f"What answered is no AWS, nor speaks like it: {message}",
            "unset AWS_ENDPOINT_URL    # or point it at a cloud; behind the page of a hotel or an office, "
            f"log in there; {AGAIN}",
            f"{operation}: an answer came that is not AWS's.",
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
            f"{whoami}    # ask whoever runs the account to allow this caller {action}"
            + (f", or {without}" if instance_type else "")
            + f"; {AGAIN}",
        )
    if code in ("VcpuLimitExceeded", "MaxSpotInstanceCountExceeded") and instance_type:
        name, quota = vcpu_quota(instance_type, spot=code.startswith("MaxSpot"))
        limit = re.search(r"limit of (\d+)", message)
        return refusal(
            f'{message} The quota is "{name}" ({quota}).',
            ask_for_quota("ec2", quota, int(limit.group(1) if limit else 0) + 8, place),
        )
    if code in QUOTAS:
        name, service, quota = QUOTAS[code]
        return refusal(
            f"The account has reached its quota of {name} ({quota}): {message}",
            "python -m awslabs.ledger list    # take down what is not needed; or ask for more: "
            + ask_for_quota(service, quota, 10, place),
        )
    if code == "ParameterAlreadyExists":
        return refusal(
            f"{request.get('Name', 'It')} stands in this account and Region already, and not as this lab's. "
            "It was not overwritten.",
            f'eval "$({place.command("up --export")})"    # for this terminal alone; or first: '
            + place.aws(f"ssm delete-parameter --region {place.region} --name {request.get('Name', 'NAME')}"),
        )
    if code in NO_CAPACITY:
        return refusal(
            f"AWS has no free {instance_type or 'server'} in this zone just now. {message}",
            f"{up}    # again in some minutes, or with another --instance-type; elsewhere: `down` first",
        )
    if code == "InvalidParameterCombination" and "Free Tier" in message:
        return refusal(
            f"{message} The account is on AWS's Free plan.",
            place.aws(
                "ec2 describe-instance-types --filters Name=free-tier-eligible,Values=true --query "
                f"'InstanceTypes[].InstanceType' --region {place.region}"
            )
            + f"    # then {place.command('up')} with one of these as --instance-type; or pay for what "
            f"you use, your credits first: {PAID_PLAN}",
            f"This account's Free plan does not run {'a ' + instance_type if instance_type else 'this'}.",
        )
    if code in ("Unsupported", "InvalidInstanceType", "InvalidParameterCombination") and instance_type:
        another = "t3.small" if instance_type == "t3.micro" else "t3.micro"
        return refusal(
            f"{instance_type} is not offered here: {message}",
            place.command(f"up --instance-type {another}")
            if place.lab
            else f"run the same command with --instance-type {another}",
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
    if is_refused_here(error):
        practice = "--sandbox" in place.options
        go_on = place.command("up") if place.lab else "run the same command again"
        start = "python -m awslabs.sandbox start"
        return refusal(
            f"Nobody listens at {error.kwargs['endpoint_url']} any more. "  # type: ignore[attr-defined]
            "With a practice cloud goes all that stood in it.",
            f"{start} && {go_on}"
            if practice and place.lab
            else f'{start} && eval "$(python -m awslabs.sandbox env)"    # then {go_on}',
            f"{operation}: the practice cloud is gone."
            if practice
            else f"{operation}: AWS_ENDPOINT_URL leads to nobody.",
        )
    if code in UNREACHED:
        return refusal(
            f"There is no network, or no Region called {place.region or 'so'}: {message}",
            f"{whoami}    # once it answers, run the same command again: it goes on",
            f"{operation}: AWS could not be reached.",
        )
    if code in BROKEN:
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
            f"{place.aws(f'iam get-role --role-name {name}')}    # mend it; {AGAIN}",
        )
    if http_status(error) == 501:
        return refusal(
            f"What answers there does not know this call: {message}",
            "unset AWS_ENDPOINT_URL    # or run the same command with --sandbox: "
            "the practice cloud knows what the labs call",
        )
    if http_status(error) >= 500:
        return refusal(
            f"AWS had a fault of its own: {message}",
            "run the same command again: it goes on where it stopped",
        )
    again = f"; {up} makes anew what was deleted by hand" if place.lab else ""
    return refusal(message, f"{place.of_ledgers('verify')}    # shows what stands{again}")
