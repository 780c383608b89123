"""Where tests step in between boto3 and AWS: to see calls, to answer in AWS's place, to lose an answer.

    wire = Wire(monkeypatch)
    wire.refuse("CreateVpc", "VpcLimitExceeded")    the next one
    wire.fail("CreateSubnet", Call.lose)            it takes effect, and its answer never comes

`around` stands around a call as its caller sees it. No event of botocore's does: they belong to one client,
and what `before-call` began nothing could end. `around_tries` stands around each try of a call, which
botocore's own retries follow; the kill matrix alone needs it, and lets the practice cloud's weather cut.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NoReturn

import pytest
from botocore.client import BaseClient
from botocore.endpoint import Endpoint
from botocore.exceptions import ClientError, ConnectionClosedError

READING = ("Describe", "Get", "List", "Head")
ALWAYS = math.inf


@dataclass(frozen=True)
class Call:
    """A call on its way: ``CreateVpc`` and its request, by a client."""

    client: BaseClient
    operation: str
    request: dict[str, Any]
    _send: Callable[..., Any]

    @property
    def name(self) -> str:
        """``ec2:CreateVpc``."""
        return f"{self.client.meta.service_model.service_name}:{self.operation}"

    @property
    def reads(self) -> bool:
        """Whether it changes nothing."""
        return self.operation.startswith(READING)

    def send(self, **more: Any) -> Any:
        """Let it go to AWS, with `more` in its request; returns what AWS answers."""
        self.request.update(more)
        return self._send(self.client, self.operation, self.request)

    def cut(self) -> NoReturn:
        """It gets nowhere, and its caller cannot know."""
        raise ConnectionClosedError(endpoint_url=self.client.meta.endpoint_url)

    def lose(self) -> NoReturn:
        """It takes effect, and its answer never comes."""
        self.send()
        self.cut()


How = Callable[[Call], Any]


def around(patch: pytest.MonkeyPatch, hook: How) -> None:
    """Have each call of each client pass through a hook, which answers for it, until the patch is undone."""
    send = BaseClient._make_api_call

    def passed(client: BaseClient, operation: str, request: dict[str, Any]) -> Any:
        return hook(Call(client, operation, request, send))

    patch.setattr(BaseClient, "_make_api_call", passed)


def around_tries(patch: pytest.MonkeyPatch, hook: Callable[[str, Callable[[], Any]], Any]) -> None:
    """Have each try of each call pass through a hook: it takes ``ec2:CreateVpc`` and what sends it.

    What it returns is what that gave: the HTTP answer with what was read of it, or None; and what went wrong.
    """
    send = Endpoint._get_response  # type: ignore[attr-defined]

    def watched(endpoint: Endpoint, request: Any, model: Any, context: Any) -> Any:
        name = f"{model.service_model.service_name}:{model.name}"
        return hook(name, lambda: send(endpoint, request, model, context))

    patch.setattr(Endpoint, "_get_response", watched)


def changes(patch: pytest.MonkeyPatch) -> list[tuple[str, dict[str, Any]]]:
    """Every call that changes something, as ``ec2:CreateVpc`` with its request, in order."""
    made: list[tuple[str, dict[str, Any]]] = []

    def noted(call: Call) -> Any:
        if not call.reads:
            made.append((call.name, call.request))
        return call.send()

    around(patch, noted)
    return made


def refusal(operation: str, code: str, status: int = 400, message: str = "no") -> ClientError:
    """An error as botocore raises it."""
    answer = {"Error": {"Code": code, "Message": message}, "ResponseMetadata": {"HTTPStatusCode": status}}
    return ClientError(answer, operation)  # type: ignore[arg-type]


class Wire:
    """What is asked of AWS, and what goes wrong with it: the next time or, as `times` says, more often.

    Attributes
    ----------
    calls : list of (str, dict)
        The calls that changed something: operation and request, as they were sent.
    asked : list of str
        All operations, those that only read too.
    """

    def __init__(self, patch: pytest.MonkeyPatch, times: float = 1) -> None:
        self.times = times
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self.asked: list[str] = []
        self.mutex = threading.Lock()
        self._faults: list[tuple[str, How | BaseException, float]] = []
        around(patch, self.through)

    @property
    def changed(self) -> list[str]:
        """The operations that changed something."""
        return [operation for operation, _ in self.calls]

    def fail(self, operation: str, how: How | BaseException, times: float = 0) -> None:
        """Let the next calls of an operation (``*``: of any) end in an error, or as a function has it."""
        self._faults.append((operation, how, times or self.times))

    def refuse(
        self, operation: str, code: str, status: int = 400, message: str = "no", times: float = 0
    ) -> None:
        """Answer the next such calls with an error, before they take effect."""
        self.fail(operation, refusal(operation, code, status, message), times)

    def mend(self) -> None:
        """Nothing goes wrong any more."""
        self._faults.clear()

    def through(self, call: Call) -> Any:
        with self.mutex:
            self.asked.append(call.operation)
            if not call.reads:
                self.calls.append((call.operation, call.request))
            how = self.fault(call)
        if isinstance(how, BaseException):
            raise how
        return how(call)

    def fault(self, call: Call) -> How | BaseException:
        """How this call goes on."""
        for place, (operation, how, times) in enumerate(self._faults):
            if operation in (call.operation, "*"):
                self._faults[place : place + 1] = [(operation, how, times - 1)] if times > 1 else []
                return how
        return Call.send
