"""How a strict rule is written, and how it is switched on and off.

A rule judges what a client asks of AWS, never what moto does to itself. So nearly every rule is a
*hook* on an AWS operation, `ec2:DeleteVpc`, and all hooks hang on one place in moto: the method that
turns a request into an answer (`BaseResponse.call_action`). Where moto's own objects have to behave
differently (an instance that takes its time to boot), a rule *patches* that one method or property
where it stands.

    @refusal("ec2:DeleteVpc")                       # look before moto acts; raise `Refused` or return
    def vpc_in_use(call): ...

    @around("ec2:RunInstances")                     # change the request, or the answer
    def client_token(call, proceed): ...

    booting = rule("booting", "AWS takes its time.")    # several hooks and patches, one rule
    @booting.patch(Instance, "terminate")
    def _terminate(original, instance): ...

What a rule must remember it keeps on moto's own backend (`memory`), so that it is forgotten when moto
forgets. What happens later (`later`) is computed from the clock when the next call comes; only the
server, where instances boot for real, has a thread that does not wait for a call.
"""

from __future__ import annotations

import functools
import heapq
import itertools
import logging
import threading
import time
import warnings
import weakref
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

from moto.core.exceptions import ServiceException
from moto.core.responses import ActionResult, BaseResponse
from moto.core.utils import camelcase_to_underscores
from moto.ec2.models import ec2_backends
from moto.iam.models import iam_backends

from awslabs.sandbox.core import weather

log = logging.getLogger(__name__)

lock = threading.RLock()
"""Held while moto works: moto is not made for two calls at once, and timers take it too."""


def rest(seconds: float) -> None:
    """Sleep within a call without holding up the others: `lock` is free meanwhile."""
    with lock:
        threading.Condition(lock).wait(seconds)


class Refused(ServiceException):
    """The answer of an AWS that does not do it: error code, message.

    `status` is the HTTP status where AWS's service model does not name it; None: what the model says, or 400.
    """

    def __init__(self, code: str, message: str, status: int | None = None) -> None:
        super().__init__(code, message)
        self.status = status


def mismatch() -> Refused:
    """EC2's answer to a ClientToken that comes back with other parameters: aws-facts (c)."""
    return Refused(
        "IdempotentParameterMismatch",
        "Arguments on this idempotent request are inconsistent with arguments used in previous request(s).",
    )


EVEN = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)  # macOS: its CLOCK_MONOTONIC counts sleep, too


class Clock:
    """Seconds since 1970, as even as they pass: setting the computer's clock changes no instance's age.

    They pass while the computer sleeps, too: no hour on AWS waits for a laptop. A test that waits an hour
    moves the clock by `offset_s`. What goes by it and what does not, says docs/architecture.md, "Two clocks".
    """

    def __init__(self) -> None:
        self.offset_s = 0.0
        self._began = time.time() - self._passed()

    def _passed(self) -> float:
        return time.clock_gettime(EVEN)

    def now(self) -> float:
        return self._began + self._passed() + self.offset_s


clock = Clock()


def scaled(seconds: float) -> float:
    """A duration on AWS, as long as today's weather lets it be."""
    return seconds * weather.current.slow_states


def spaced(seconds: float) -> float:
    """The time between two calls that AWS allows: a fixed rate, unless no time passes here at all."""
    return seconds if weather.current.slow_states else 0.0


# --- what a rule sees of a call -----------------------------------------------------------------------


@dataclass(frozen=True)
class Call:
    """One request, as moto's own response object knows it.

    Attributes
    ----------
    response : moto.core.responses.BaseResponse
        moto's object; rules read and, rarely, write its parameters.
    operation : str
        ``ec2:RunInstances``: boto3's name of the service, AWS's name of the operation.
    """

    response: Any
    operation: str

    def get(self, name: str, default: Any = None) -> Any:
        """A parameter of the request, by AWS's name; ``A.B`` looks into a structure."""
        value = self.response._get_param(name)
        return default if value is None else value

    def change(self, name: str, value: Any) -> None:
        """Give moto another value for a parameter than the client sent."""
        self.response.params[name] = value

    @property
    def action(self) -> str:
        return self.operation.partition(":")[2]

    @property
    def account(self) -> str:
        return self.response.current_account

    @property
    def region(self) -> str:
        return self.response.region

    @property
    def partition(self) -> str:
        return self.response.partition

    @property
    def ec2(self) -> Any:
        """moto's EC2 of the caller's account and Region."""
        return ec2_backends[self.account][self.region]

    @property
    def iam(self) -> Any:
        """moto's IAM of the caller's account."""
        return iam_backends[self.account][self.partition]


Proceed = Callable[[], Any]
Around = Callable[[Call, Proceed], Any]
Refusal = Callable[[Call], None]


# --- rules --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Hook:
    operation: str
    function: Around


@dataclass(frozen=True)
class Patch:
    """One attribute of moto: wrapped by `function`, or, where that is None, replaced by `value`."""

    owner: Any
    attribute: str
    function: Callable[..., Any] | None
    value: Any = None


class Rule:
    """One way in which AWS is stricter than, or different from, moto.

    Parameters
    ----------
    name : str
        For ``install(only=[name])``.
    says : str
        What AWS answers, and where we know it from.
    """

    def __init__(self, name: str, says: str) -> None:
        if name in RULES:
            raise ValueError(f"there are two rules called {name}")
        if not says.strip():
            raise ValueError(f"the rule {name} does not say what AWS answers")
        self.name, self.says = name, says
        self.hooks: list[Hook] = []
        self.patches: list[Patch] = []
        RULES[name] = self

    def refusal(self, *operations: str) -> Callable[[Refusal], Refusal]:
        """Look at a call before moto does it."""

        def hang(function: Refusal) -> Refusal:
            @functools.wraps(function)
            def look(call: Call, proceed: Proceed) -> Any:
                function(call)
                return proceed()

            self.hooks += [Hook(operation, look) for operation in operations]
            return function

        return hang

    def around(self, *operations: str) -> Callable[[Around], Around]:
        """Stand around a call: change the request, then the answer. ``ec2:*`` is every call of EC2."""

        def hang(function: Around) -> Around:
            self.hooks += [Hook(operation, function) for operation in operations]
            return function

        return hang

    def patch(self, owner: Any, *attributes: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
        """Replace a method, property or function of moto; the function's first argument is the original.

        A method that moto lacks is added, and its original is None.
        """

        def hang(function: Callable[..., Any]) -> Callable[..., Any]:
            self.patches += [Patch(owner, attribute, function) for attribute in attributes]
            return function

        return hang

    def puts(self, owner: Any, attribute: str, value: Any) -> None:
        """Put a value in place of an attribute of moto, or where it has none."""
        self.patches.append(Patch(owner, attribute, None, value))


RULES: dict[str, Rule] = {}
"""All rules by name, in the order in which they look at a call."""


def rule(name: str, says: str) -> Rule:
    """A rule of several parts."""
    return Rule(name, says)


def refusal(*operations: str) -> Callable[[Refusal], Refusal]:
    """A rule of one look: the function's name is the rule's, its docstring says what AWS answers."""

    def make(function: Refusal) -> Refusal:
        return Rule(function.__name__, function.__doc__ or "").refusal(*operations)(function)

    return make


def around(*operations: str) -> Callable[[Around], Around]:
    """A rule of one function that stands around the call."""

    def make(function: Around) -> Around:
        return Rule(function.__name__, function.__doc__ or "").around(*operations)(function)

    return make


# --- on and off ---------------------------------------------------------------------------------------

_hooks: dict[str, list[Hook]] = {}  # service -> hooks, in the order of RULES
_chains: dict[str, list[Hook]] = {}  # operation -> the hooks that look at it
_undo: list[tuple[Any, str, Any]] = []  # owner, attribute, what stood there; newest last
_ABSENT = object()


def switch_on(names: Iterable[str]) -> None:
    """Put these rules in place; all others stay away."""
    with lock:
        if _undo:
            raise RuntimeError("the rules are installed already")
        chosen = set(names)
        unknown = chosen - RULES.keys()
        if unknown:
            raise ValueError(f"no such rules: {', '.join(sorted(unknown))}")
        _put(Patch(BaseResponse, "call_action", _call_action))
        for name, each in RULES.items():
            if name not in chosen:
                continue
            for hook in each.hooks:
                _hooks.setdefault(hook.operation.partition(":")[0], []).append(hook)
            for patch in each.patches:
                _put(patch)


def switch_off() -> None:
    """Leave moto as it was."""
    with lock:
        while _undo:
            owner, attribute, before = _undo.pop()
            if before is _ABSENT:
                delattr(owner, attribute)
            else:
                setattr(owner, attribute, before)
        _hooks.clear()
        _chains.clear()


def switched_on() -> bool:
    """Whether any rules are in place."""
    return bool(_undo)


def _put(patch: Patch) -> None:
    """Replace one attribute, and note what stood there."""
    own = vars(patch.owner).get(patch.attribute, _ABSENT)
    found = getattr(patch.owner, patch.attribute, None) if own is _ABSENT else own
    new: Any
    if patch.function is None:
        new = patch.value
    elif isinstance(found, property):
        new = property(functools.partial(patch.function, found.fget))
    elif isinstance(found, staticmethod):
        new = staticmethod(functools.partial(patch.function, found.__func__))
    else:
        new = _replacement(patch.function, found)
    _undo.append((patch.owner, patch.attribute, own))
    setattr(patch.owner, patch.attribute, new)


def _replacement(function: Callable[..., Any], original: Any) -> Callable[..., Any]:
    """A plain function, since moto finds its operations with `inspect.isfunction`."""

    def replaced(*args: Any, **kwargs: Any) -> Any:
        return function(original, *args, **kwargs)

    return replaced


def _call_action(original: Callable[[Any], Any], response: Any) -> Any:
    """moto's way from a request to an answer, with the hooks around the operation itself."""
    service = response.boto3_service_name
    if service not in _hooks and service != "resourcegroupstaggingapi":
        return original(response)
    with lock:
        operation = f"{service}:{response._get_action()}"
        call = Call(response, operation)
        regions: dict[str, Any] = ec2_backends.get(call.account) or {}
        if call.region in list(regions):  # moto says that every Region is `in`
            settle(call.ec2)
        method = camelcase_to_underscores(call.action)
        todo = getattr(response, method, None)
        if todo is not None:
            for hook in reversed(_chain(service, operation)):
                todo = functools.partial(hook.function, call, todo)
            setattr(response, method, functools.partial(_answer, response, todo))  # it serves this one call
        return original(response)


def _answer(response: Any, todo: Proceed) -> Any:
    """The answer of rules and moto, with the HTTP status of a refusal that brings one along."""
    try:
        return todo()
    except Refused as refused:
        if refused.status is None:
            raise
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # moto: the code is not in botocore's model of the service
            _, headers, body = response.serialized(ActionResult(refused))
        return refused.status, headers | {"status": refused.status}, body


def _chain(service: str, operation: str) -> list[Hook]:
    """The hooks that look at an operation, first one outermost."""
    if operation not in _chains:
        _chains[operation] = [
            h for h in _hooks.get(service, []) if h.operation in (operation, f"{service}:*")
        ]
    return _chains[operation]


# --- memory and time ----------------------------------------------------------------------------------

T = TypeVar("T")


def memory(backend: Any, kind: type[T]) -> T:
    """What the rules keep on a moto object: one `kind` each, made when first asked for.

    moto resets a backend by emptying its `__dict__`, and this goes with it.
    """
    key = f"_awslabs_{kind.__name__}"
    kept = backend.__dict__.get(key)
    if kept is None:
        kept = backend.__dict__[key] = kind()
    return kept


_numbers = itertools.count()


@dataclass
class Events:
    """What is still to happen to one backend: (when, number, what)."""

    heap: list[tuple[float, int, Callable[[], None]]] = field(default_factory=list)


def later(backend: Any, delay_s: float, action: Callable[[], None]) -> None:
    """Let something happen to a backend after `delay_s` seconds, or with the first call after that."""
    due = clock.now() + delay_s
    heapq.heappush(memory(backend, Events).heap, (due, next(_numbers), action))
    if timer is not None:
        timer.do(due, functools.partial(_settle_it, weakref.ref(backend)))


def _settle_it(backend: weakref.ref[Any]) -> None:
    if (still_there := backend()) is not None:
        with lock:
            settle(still_there)


def settle(backend: Any) -> None:
    """Do what has become due, in the order of time. The caller holds `lock`."""
    heap = memory(backend, Events).heap
    while heap and heap[0][0] <= clock.now():
        _, _, action = heapq.heappop(heap)
        with quiet("something that was due in the practice cloud"):  # it is not the caller's mistake
            action()


@contextmanager
def quiet(what: str) -> Iterator[None]:
    """Log what fails where nobody waits for it."""
    try:
        yield
    except Exception:
        log.exception("%s failed", what)


class Timer(threading.Thread):
    """Does what is due without waiting for a call: instances boot and end, functions are tried again."""

    longest_wait_s = 5.0  # it wakes on its own: while the computer slept, more time has passed than it waited

    def __init__(self) -> None:
        super().__init__(name="practice cloud clock", daemon=True)
        self._wake = threading.Condition()
        self._heap: list[tuple[float, int, Callable[[], Any]]] = []
        self._over = False

    def do(self, due: float, action: Callable[[], Any]) -> None:
        """Do something quick at a time of `clock`; what takes its time goes to a thread of its own."""
        with self._wake:
            heapq.heappush(self._heap, (due, next(_numbers), action))
            self._wake.notify()

    def stop(self) -> None:
        with self._wake:
            self._over = True
            self._wake.notify()
        self.join()

    def run(self) -> None:
        while True:
            with self._wake:
                while not self._over and (not self._heap or self._heap[0][0] > clock.now()):
                    left_s = self._heap[0][0] - clock.now() if self._heap else self.longest_wait_s
                    self._wake.wait(min(left_s, self.longest_wait_s))
                if self._over:
                    return
                action = heapq.heappop(self._heap)[2]
            with quiet("something that was due in the practice cloud"):
                action()


timer: Timer | None = None
"""Of the server; under `mock_aws` what is due happens with the next call."""


def start_timer() -> None:
    global timer
    timer = Timer()
    timer.start()


def stop_timer() -> None:
    global timer
    if timer is not None:
        stopping, timer = timer, None
        stopping.stop()


def backends() -> Iterator[tuple[str, Any]]:
    """Every EC2 that anyone has used: (account, moto's backend)."""
    for account, regions in list(ec2_backends.items()):
        for backend in list(regions.values()):
            yield account, backend
