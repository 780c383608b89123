"""A call of a deployed API, and the answers that are API Gateway's own.

What is known of a call: the request, the method that it found, and the values that go by ``$context`` in
templates, ``context.`` in mappings and ``requestContext`` in a function's event.
"""

from __future__ import annotations

import dataclasses
import functools
import secrets
import time
from typing import Any

from moto.core.request import Request

from awslabs.sandbox import HOST
from awslabs.sandbox.services.apigateway import api_keys


class Own(Exception):
    """An answer of API Gateway's own.

    Parameters
    ----------
    status : int
        Unless the API says another one for answers of this kind.
    kind : str
        Type of gateway response: ``THROTTLED``. Empty: none that an API could change.
    message : str
        What it says.
    error : str
        For the header ``x-amzn-ErrorType``.
    """

    def __init__(self, status: int, kind: str, message: str, error: str) -> None:
        super().__init__(message)
        self.status, self.kind, self.message, self.error = status, kind, message, error


def forbidden() -> Own:
    return Own(403, "", "Forbidden", "ForbiddenException")


def too_long() -> Own:
    return Own(413, "REQUEST_TOO_LARGE", "Request Too Long", "RequestTooLargeException")


def too_many() -> Own:
    return Own(429, "THROTTLED", "Too Many Requests", "TooManyRequestsException")


def broken(status: int = 500, kind: str = "API_CONFIGURATION_ERROR") -> Own:
    return Own(status, kind, "Internal server error", "InternalServerErrorException")


def not_here(what: str) -> Own:
    return Own(501, "", f"The practice cloud's API Gateway has no {what}.", "NotImplemented")


def unsupported() -> Own:
    return Own(415, "UNSUPPORTED_MEDIA_TYPE", "Unsupported Media Type", "BadRequestException")


def header(asked: ApiCall, name: str) -> str:
    """A header of a request; empty when there is none."""
    return next((value for each, value in asked.headers if each.lower() == name.lower()), "")


@dataclasses.dataclass(frozen=True)
class ApiCall:
    """A request that has found its API.

    Attributes
    ----------
    method : str
        Of HTTP.
    headers : list of (str, str)
        Names as the client spelled them.
    path : str
        Behind the stage, as it was sent: ``/haiku/a%20b``.
    parameters : dict
        Of the path, as they were sent.
    declared : str
        The method as the API has it, which may be ``ANY``.
    resource, integration : dict
        As GetResources shows them, at the time of the deployment.
    variables : dict
        Of the stage.
    host : str
        The name under which the API is called.
    began : float
        When it came, in seconds since 1970.
    key : api_keys.Key or None
        The API key that came with it, where one is required.
    """

    request: Request
    headers: list[tuple[str, str]]
    body: bytes
    request_id: str
    account: str
    region: str
    api_id: str
    stage: str
    deployment_id: str
    method: str
    path: str
    parameters: dict[str, str]
    declared: str
    resource: dict[str, Any]
    definition: dict[str, Any]
    binary: tuple[str, ...]
    variables: dict[str, str]
    host: str
    began: float
    key: api_keys.Key | None = None

    @property
    def integration(self) -> dict[str, Any]:
        return self.definition.get("methodIntegration") or {}

    @functools.cached_property
    def trace(self) -> str:
        """What X-Ray calls this call: what the client says, or a name of its own."""
        said = header(self, "x-amzn-trace-id")
        return said if said.startswith("Root=") else f"Root=1-{int(self.began):08x}-{secrets.token_hex(12)}"

    @functools.cached_property
    def query(self) -> dict[str, list[str]]:
        """Parameters of the query, each with all its values."""
        return self.request.args.to_dict(flat=False)

    @functools.cached_property
    def told_headers(self) -> dict[str, list[str]]:
        """The headers that an integration gets to know, with those that API Gateway adds."""
        ours = {
            "Host": [self.host],
            "X-Amzn-Trace-Id": [self.trace],
            "X-Forwarded-For": [self.request.remote_addr or HOST],
            "X-Forwarded-Port": [self.host.rpartition(":")[2]],
            "X-Forwarded-Proto": ["http"],
        }
        left_out = _NOT_TOLD | {name.lower() for name in ours}
        spelled = {"authorization": "Authorization"}  # AWS spells this one name its own way: aws-facts (k)
        headers: dict[str, list[str]] = {}
        for name, value in self.headers:
            if name.lower() not in left_out:
                headers.setdefault(spelled.setdefault(name.lower(), name), []).append(value)
        return headers | ours

    @functools.cached_property
    def context(self) -> dict[str, Any]:
        """What goes by `requestContext` in the event of a function."""
        identity = dict.fromkeys(
            (
                "accessKey", "accountId", "caller", "cognitoAuthenticationProvider",
                "cognitoAuthenticationType", "cognitoIdentityId", "cognitoIdentityPoolId",
                "principalOrgId", "user", "userArn",
            )
        )  # fmt: skip
        return {
            "accountId": self.account,
            "apiId": self.api_id,
            "deploymentId": self.deployment_id,
            "domainName": self.host,
            "domainPrefix": self.api_id,
            "extendedRequestId": secrets.token_urlsafe(11) + "=",
            "httpMethod": self.method,
            "identity": {
                **identity,
                **({"apiKey": self.key.value, "apiKeyId": self.key.id} if self.key else {}),
                "sourceIp": self.request.remote_addr or HOST,
                "userAgent": self.request.headers.get("User-Agent"),
            },
            "path": f"/{self.stage}{self.path}",
            "protocol": self.request.environ.get("SERVER_PROTOCOL", "HTTP/1.1"),
            "requestId": self.request_id,
            "requestTime": time.strftime("%d/%b/%Y:%H:%M:%S +0000", time.gmtime(self.began)),
            "requestTimeEpoch": int(1000 * self.began),
            "resourceId": self.resource["id"],
            "resourcePath": self.resource["path"],
            "stage": self.stage,
        }


_NOT_TOLD = {
    *("connection", "content-length", "content-md5", "expect", "max-forwards", "proxy-authenticate"),
    *("server", "te", "trailer", "transfer-encoding", "upgrade", "www-authenticate"),
}
"""Headers of a request that an integration is not told. Source: aws-facts (k)."""


def fits_any(content_type: str, patterns: tuple[str, ...]) -> bool:
    """Whether a media type is one of these; ``*/*`` and ``image/*`` are many."""
    kind = content_type.partition(";")[0].strip().lower()
    return any(
        pattern == "*/*"
        or (pattern.lower() == kind and not kind.startswith("*"))
        or (pattern.endswith("/*") and kind.startswith(pattern.lower()[:-1]))
        for pattern in patterns
    )
