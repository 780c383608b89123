"""AWS on the wire: which operation a request asks for, and how each protocol writes an error.

    protocol     the operation is named by           services (some)
    ec2          Action=RunInstances                 ec2
    query        Action=GetCallerIdentity            sts, iam
    json         X-Amz-Target: AmazonSSM.GetParameter  ssm, dynamodb, sqs, logs, ecs, ecr, service-quotas
    cbor         /service/NAME/operation/PutMetricData  newer clients of cloudwatch
    rest-json    method and path                     lambda, batch, apigateway
    rest-xml     method and path                     s3

Source: botocore's service models, and the protocol pages of https://smithy.io/2.0/aws/protocols/.
"""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import json
import re
import struct
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs
from xml.sax.saxutils import escape

from botocore.exceptions import UnknownServiceError
from moto.core.model import ServiceModel
from moto.core.request import Request
from moto.core.routing import get_service_router
from moto.core.utils import get_service_model
from werkzeug.exceptions import NotFound

from awslabs.sandbox.core import forms
from awslabs.sandbox.core.answers import Answer

# Services whose requests are not signed with the name that boto3 gives them, or that share that name.
SIGNED_AS: dict[str, tuple[str, ...]] = {
    "airflow": ("mwaa",),
    "aps": ("amp",),
    "apigateway": ("apigateway", "apigatewayv2"),
    "cassandra": ("keyspaces",),
    "dynamodb": ("dynamodb", "dynamodbstreams"),
    "elasticfilesystem": ("efs",),
    "elasticloadbalancing": ("elbv2", "elb"),
    "elasticmapreduce": ("emr",),
    "es": ("es", "opensearch"),
    "execute-api": ("apigatewaymanagementapi",),
    "iotdata": ("iot-data",),
    "kinesisanalytics": ("kinesisanalyticsv2", "kinesisanalytics"),
    "mobiletargeting": ("pinpoint",),
    "monitoring": ("cloudwatch",),
    "rds": ("rds", "neptune", "docdb"),
    "servicequotas": ("service-quotas",),
    "ses": ("ses", "sesv2"),
    "sso": ("sso-admin",),
    "states": ("stepfunctions",),
    "tagging": ("resourcegroupstaggingapi",),
    "timestream": ("timestream-write", "timestream-query"),
}

# HTTP status of codes that the service's own model does not have. Everything else is a 400.
# Source: "Common Errors" of each service's API reference; EC2: "Error codes for the Amazon EC2 API".
STATUS = {
    "AccessDenied": 403,
    "AuthFailure": 401,
    "ExpiredToken": 403,
    "InvalidAccessKeyId": 403,
    "InvalidClientTokenId": 403,
    "MissingAuthenticationToken": 403,
    "NotImplemented": 501,
    "RequestTimeTooSkewed": 403,
    "SignatureDoesNotMatch": 403,
    "UnauthorizedOperation": 403,
    "InternalError": 500,
    "InternalFailure": 500,
    "InternalServerError": 500,
    "ServerException": 500,
    "ServiceFailure": 500,
    "InsufficientInstanceCapacity": 500,
    "InsufficientCapacity": 500,
    "RequestLimitExceeded": 503,
    "ServiceUnavailable": 503,
    "SlowDown": 503,
    "Unavailable": 503,
    "TooManyRequestsException": 429,
}
EC2_STATUS = {"Throttling": 503, "ThrottlingException": 503, "UnauthorizedOperation": 403}
REST_JSON_STATUS = {
    "AccessDeniedException": 403,
    "IncompleteSignatureException": 403,
    "InvalidSignatureException": 403,
    "ThrottlingException": 429,
    "UnrecognizedClientException": 403,
}

_CREDENTIAL = re.compile(r"Credential=([^/,\s]+)/\d{8}/([^/]+)/([^/]+)/aws4_request")
_CBOR_PATH = re.compile(r"/service/([^/]+)/operation/([^/]+)")
_XML_CODE = re.compile(rb"<Code>([^<]+)</Code>")


@dataclasses.dataclass(frozen=True)
class Call:
    """What a request asks for.

    Attributes
    ----------
    service : str
        boto3's name: ``ec2``, ``service-quotas``.
    operation : str
        ``RunInstances``; for a request that fits no operation, its method and path.
    protocol : str
        One of the names in the table above.
    access_key : str
        Empty when the request is not signed.
    signed : str
        ``header``, ``query`` (a presigned URL) or empty.
    """

    service: str
    operation: str
    protocol: str
    access_key: str
    signed: str

    @property
    def known(self) -> bool:
        """Whether it is an operation of the service, as far as its model says."""
        return " " not in self.operation

    @property
    def name(self) -> str:
        """``ec2:RunInstances``."""
        return f"{self.service}:{self.operation}"


def read(request: Request, body: bytes) -> Call:
    """Find out what a request asks for; never fails, whatever it holds."""
    signed, access_key, scope = "", "", "s3"
    authorization = request.headers.get("Authorization", "")
    presigned = request.args.get("X-Amz-Credential", "")
    if match := _CREDENTIAL.search(authorization):
        signed, access_key, scope = "header", match[1], match[3]
    elif presigned.count("/") == 4:
        signed, access_key, _, _, scope, _ = "query", *presigned.split("/")
    elif "Signature" in request.args:  # of version 2, which is S3's alone
        signed, access_key = "query", request.args.get("AWSAccessKeyId", "")
    target = request.headers.get("X-Amz-Target", "")
    form = _form(request, body)
    names = SIGNED_AS.get(scope, (scope,))
    if scope == "s3" and request.path.startswith("/v20180820/"):
        names = ("s3control",)  # else it would be an object in a bucket of that name

    if match := _CBOR_PATH.fullmatch(request.path):
        return Call(names[0], match[2], "cbor", access_key, signed)
    if target:
        prefix, _, operation = target.rpartition(".")
        service = _first(names, lambda model: model.metadata.get("targetPrefix") == prefix)
        return Call(service, operation, "json", access_key, signed)
    if "Action" in form:
        service = _first(names, lambda model: model.api_version == form.get("Version"))
        return Call(service, form["Action"], "ec2" if service == "ec2" else "query", access_key, signed)
    if names == ("s3",) and not request.query_string and forms.is_posted(request.method, request.raw_path):
        return Call("s3", "PostObject", "rest-xml", access_key, signed)  # which no model has
    for service in names:
        try:
            operation = get_service_router(service).match(request)[0].name
        except (NotFound, NotImplementedError, UnknownServiceError):
            continue
        return Call(service, operation, _protocol(service), access_key, signed)
    return Call(names[0], f"{request.method} {request.path}", _protocol(names[0]), access_key, signed)


def _form(request: Request, body: bytes) -> dict[str, str]:
    """The fields of a query-protocol request, from its body or, for GET, from its URL."""
    if "Action" in request.args:
        return request.args.to_dict()
    if not request.content_type or not request.content_type.startswith("application/x-www-form-urlencoded"):
        return {}
    return {name: values[0] for name, values in parse_qs(body.decode("utf-8", "replace")).items()}


def _first(names: tuple[str, ...], fits: Callable[[ServiceModel], bool]) -> str:
    """The service that fits; a name that is alone needs no look at its model."""
    if len(names) > 1:
        for name in names:
            if fits(get_service_model(name)):
                return name
    return names[0]


def _protocol(service: str) -> str:
    """The protocol of a service; of one that nobody knows, rest-json."""
    try:
        return str(get_service_model(service).metadata["protocol"])
    except UnknownServiceError:
        return "rest-json"


def content_type(call: Call) -> str:
    """What AWS says that a body of this protocol is; of S3's objects it says what they were stored as: empty.

    Source: https://smithy.io/2.0/aws/protocols/; aws-facts (k).
    """
    if call.protocol == "json":
        version = get_service_model(call.service).metadata.get("jsonVersion", "1.0")
        return f"application/x-amz-json-{version}"
    return {"rest-json": "application/json", "ec2": "text/xml;charset=UTF-8", "query": "text/xml"}.get(
        call.protocol, ""
    )


def status_of(call: Call, code: str) -> int:
    """The HTTP status with which AWS sends this error code for this operation."""
    if call.protocol == "ec2":
        return EC2_STATUS.get(code) or STATUS.get(code, 400)
    _, shape = _known(call.service, code)
    modelled = shape and shape.metadata.get("error", {}).get("httpStatusCode")  # JSON services leave it out
    if modelled is None and call.protocol == "rest-json":
        modelled = REST_JSON_STATUS.get(code)
    return modelled or STATUS.get(code, 400)


def _known(service: str, code: str) -> tuple[dict[str, Any], Any]:
    """What a service's model says of the service, and the shape of this error, if it has it."""
    try:
        model: ServiceModel = get_service_model(service)
    except UnknownServiceError:
        return {}, None
    return model.metadata, next((s for s in model.error_shapes if code in (s.name, s.error_code)), None)


def error(call: Call, code: str, message: str, request_id: str, status: int = 0, **more: str) -> Answer:
    """An error as the operation's protocol writes it.

    Parameters
    ----------
    call : Call
        The request that is refused.
    code, message : str
        AWS's error code and a sentence.
    request_id : str
        What support would ask for.
    status : int
        HTTP status; 0: the one that AWS uses.
    more : str
        Further members of an error of S3: ``BucketName``.
    """
    status = status or status_of(call, code)
    headers = {"x-amzn-RequestId": request_id}
    name, code = _two_names(call.service, code)
    if call.protocol == "json" and name:
        fault = "Sender" if status < 500 else "Receiver"
        headers |= {"X-Amzn-ErrorType": name, "x-amzn-query-error": f"{code};{fault}"}
        headers["Content-Type"] = content_type(call)
        return Answer(status, headers, json.dumps({"__type": name, "message": message}).encode())
    if call.protocol in ("json", "rest-json"):
        headers["Content-Type"] = f"application/{'x-amz-json-1.1' if call.protocol == 'json' else 'json'}"
        headers["X-Amzn-ErrorType"] = code
        return Answer(status, headers, json.dumps({"__type": code, "message": message}).encode())
    if call.protocol == "cbor":
        headers |= {"Content-Type": "application/cbor", "smithy-protocol": "rpc-v2-cbor"}
        return Answer(status, headers, b"\xa2" + b"".join(map(_cbor, ("__type", code, "message", message))))
    inner = f"<Code>{escape(code)}</Code><Message>{escape(message)}</Message>"
    if call.protocol == "ec2":
        inner = f"<Errors><Error>{inner}</Error></Errors><RequestID>{request_id}</RequestID>"
        text = f"<Response>{inner}</Response>"
    elif call.service == "s3":
        host_id = host_of(request_id)
        headers = {"x-amz-request-id": request_id, "x-amz-id-2": host_id}
        inner += "".join(f"<{name}>{escape(value)}</{name}>" for name, value in more.items())
        text = f"<Error>{inner}<RequestId>{request_id}</RequestId><HostId>{host_id}</HostId></Error>"
    else:
        kind = "Sender" if status < 500 else "Receiver"
        detail = "<Detail/>" if call.service == "sqs" else ""
        inner = f"<Error><Type>{kind}</Type>{inner}{detail}</Error><RequestId>{request_id}</RequestId>"
        text = f"<ErrorResponse>{inner}</ErrorResponse>"
    headers["Content-Type"] = "text/xml"
    return Answer(status, headers, f'<?xml version="1.0" encoding="UTF-8"?>\n{text}'.encode())


def host_of(request_id: str) -> str:
    """What S3 says beside the id of a request: it, too, means something to AWS alone."""
    return base64.b64encode(hashlib.sha512(request_id.encode()).digest()[:48]).decode()


def _two_names(service: str, code: str) -> tuple[str, str]:
    """Of an error: the name that stands in a body of JSON, and the code that does in a header.

    So with a service that spoke the query protocol once, and keeps its codes; another's have no such name.
    One that the model knows carries its namespace [mv].
    Source: https://smithy.io/2.0/aws/protocols/aws-query-protocol.html, "x-amzn-query-error"; aws-facts (k).
    """
    metadata, shape = _known(service, code)
    if "awsQueryCompatible" not in metadata:
        return "", code
    if shape is not None:
        return f"com.amazonaws.{service}#{shape.name}", str(shape.error_code)
    return {"InvalidParameterValue": "InvalidParameterValueException"}.get(code, code), code


def _cbor(text: str) -> bytes:
    """A text string in CBOR (RFC 8949, section 3.1: major type 3, length in four bytes)."""
    raw = text.encode()
    return b"\x7a" + struct.pack(">I", len(raw)) + raw


def code_of(answer: Answer) -> str:
    """The error code in an answer; empty when it is no error."""
    status, headers, body = answer
    if status < 400 or not isinstance(body, bytes):
        return ""
    if kind := headers.get("x-amzn-errortype"):
        return kind.split(":")[0].rpartition("#")[2]
    if match := _XML_CODE.search(body):
        return match[1].decode("utf-8", "replace")
    try:
        return str(json.loads(body)["__type"]).rpartition("#")[2]
    except (ValueError, KeyError, TypeError):
        return str(status)
