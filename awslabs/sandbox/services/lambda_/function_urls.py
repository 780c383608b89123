"""Lambda's function URLs: an address of its own for a function, or for an alias of one.

What a request there gives is the business of `services.lambda_.url_requests`, in the server.

Source: Lambda developer guide, "Creating and managing Lambda function URLs"; aws-facts (k).
"""

from __future__ import annotations

import datetime
import secrets
import string
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from moto.awslambda import urls
from moto.awslambda.models import LambdaFunction, lambda_backends
from moto.awslambda.responses import LambdaResponse
from moto.awslambda_simple.models import lambda_simple_backends

from awslabs.sandbox.core.engine import Call, Refused, clock, memory, rule, state
from awslabs.sandbox.services.lambda_ import aliases, functions, shapes

ID_LENGTH = 32
_KINDS = ("NONE", "AWS_IAM")
_MODES = ("RESPONSE_STREAM", "BUFFERED")


@dataclass
class FunctionUrl:
    """One address. A `mode` is shown once it was asked for."""

    url_id: str
    arn: str
    auth: str
    mode: str
    made: float
    changed: float

    def shown(self, region: str) -> dict[str, Any]:
        """As answers have it, but for LastModifiedTime and InvokeMode, which not all have."""
        return {
            "FunctionUrl": address(self.url_id, region),
            "FunctionArn": self.arn,
            "AuthType": self.auth,
            "CreationTime": _written(self.made),
        }


@state
class FunctionUrls(dict[str, FunctionUrl]):
    """The addresses of a function, on its unpublished one: by alias, the function's own by ``""``."""


def awss_address(url_id: str, region: str) -> str:
    """Where AWS has it; nobody answers there in the practice cloud."""
    return f"https://{url_id}.lambda-url.{region}.on.aws/"


address: Callable[[str, str], str] = awss_address
"""How an address is written: by `url_requests`, in the server."""


def find(url_id: str) -> tuple[LambdaFunction, FunctionUrl] | None:
    """The function that has an address; the caller holds the lock."""
    both: list[Any] = [*lambda_backends.values(), *lambda_simple_backends.values()]
    for regions in both:
        for backend in list(regions.values()):
            for latest in backend._lambdas.latest():
                for url in memory(latest, FunctionUrls).values():
                    if url.url_id == url_id:
                        return latest, url
    return None


function_urls = rule(
    "function_urls",
    """A function and each of its aliases may have one address; a second: ResourceConflictException; versions
    and $LATEST have none. What does not answer here (streams, Cors) is refused. moto has one for each
    function, keeps whatever it is sent, and has no list of them. Source: aws-facts (k).""",
)
_LISTS = r"{0}/(?P<api_version>[^/]+)/functions/(?P<function_name>[\w_:%-]+)/urls/?$"
function_urls.puts(urls, "url_paths", urls.url_paths | {_LISTS: LambdaResponse.dispatch})


def _written(at: float) -> str:
    moment = datetime.datetime.fromtimestamp(at, datetime.timezone.utc)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{moment.microsecond // 1000:03}+0000"


def _place(call: Call, message: str) -> tuple[LambdaFunction, str]:
    """The function of a request, and the alias that is meant; `message` is what is said where one is not."""
    name, qualifier = shapes.asked_for(call)
    try:
        latest = functions.find(call.account, call.region, name)
    except Refused as unknown:
        raise shapes.missing(message) from unknown
    if qualifier and qualifier not in aliases.of(latest):
        raise shapes.missing(message)
    return latest, qualifier


def _there(
    call: Call, message: str = "The resource you requested does not exist."
) -> tuple[dict[str, FunctionUrl], str]:
    """All addresses of a function, and a qualifier that has one."""
    latest, qualifier = _place(call, message)
    held = memory(latest, FunctionUrls)
    if qualifier not in held:
        raise shapes.missing()
    return held, qualifier


def _look_at(call: Call) -> None:
    """Refuse what no address can be, or is here."""
    shapes.look_at_word("authType", call.get("AuthType"), _KINDS)
    shapes.look_at_word("invokeMode", call.get("InvokeMode"), _MODES)
    if call.get("InvokeMode") == "RESPONSE_STREAM":
        message = "The practice cloud does not stream the answers of functions: BUFFERED alone."
        raise Refused("NotImplemented", message, 501)
    if call.get("Cors"):
        raise Refused("NotImplemented", "The practice cloud has no Cors of function URLs.", 501)


@function_urls.operation("lambda:CreateFunctionUrlConfig")
def _create(call: Call) -> dict[str, Any]:
    _look_at(call)
    latest, qualifier = _place(call, "Function does not exist")
    held = memory(latest, FunctionUrls)
    arn = f"{latest.function_arn}:{qualifier}" if qualifier else latest.function_arn
    if qualifier in held:
        message = (
            f"Failed to create function url config for [functionArn = {arn}]. Error message:  "
            "FunctionUrlConfig exists for this Lambda function"
        )
        raise Refused("ResourceConflictException", message, 409)
    url_id = "".join(secrets.choice(string.ascii_lowercase + string.digits) for _ in range(ID_LENGTH))
    now, mode = clock.now(), str(call.get("InvokeMode") or "")
    url = held[qualifier] = FunctionUrl(url_id, arn, str(call.get("AuthType")), mode, now, now)
    return url.shown(call.region) | ({"InvokeMode": mode} if mode else {})


def _whole(url: FunctionUrl, call: Call) -> dict[str, Any]:
    more = {"InvokeMode": url.mode or "BUFFERED", "LastModifiedTime": _written(url.changed)}
    return url.shown(call.region) | more


@function_urls.operation("lambda:GetFunctionUrlConfig")
def _get(call: Call) -> dict[str, Any]:
    held, qualifier = _there(call)
    return _whole(held[qualifier], call)


@function_urls.operation("lambda:UpdateFunctionUrlConfig")
def _update(call: Call) -> dict[str, Any]:
    _look_at(call)
    held, qualifier = _there(call, "Function does not exist")
    url = held[qualifier]
    url.auth, url.mode = str(call.get("AuthType") or url.auth), str(call.get("InvokeMode") or url.mode)
    url.changed = clock.now()
    more = {"LastModifiedTime": _written(url.changed)} | ({"InvokeMode": url.mode} if url.mode else {})
    return url.shown(call.region) | more


@function_urls.operation("lambda:DeleteFunctionUrlConfig")
def _delete(call: Call) -> dict[str, Any]:
    held, qualifier = _there(call)
    del held[qualifier]
    return {}


@function_urls.operation("lambda:ListFunctionUrlConfigs")
def _list(call: Call) -> dict[str, Any]:
    latest, _ = _place(call, "Function does not exist")
    found = [_whole(url, call) for _, url in sorted(memory(latest, FunctionUrls).items())]
    return shapes.page(call, "FunctionUrlConfigs", found)
