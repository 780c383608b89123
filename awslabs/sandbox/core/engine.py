"""How a strict rule is written, and how it is switched on and off.

A rule judges what a client asks of AWS, never what moto does to itself. So nearly every rule is a *hook*
on an AWS operation, `ec2:DeleteVpc`. `TABLE` holds them all, by operation; `dispatch` takes a request to
moto through those of its operation, whichever service it is for, in the server and under `mock_aws` alike.
Where moto's own objects have to behave differently (an instance that takes its time to boot), a rule
*patches* that one method or property where it stands.

    @before("ec2:DeleteVpc")                        # look before moto acts; raise `Refused` or return
    def vpc_in_use(call): ...

    @around("ec2:RunInstances")                     # change the request, or the answer
    def client_token(call, proceed): ...

    @operation("ec2:DescribeRegions")               # answer it; moto is not asked
    def regions_are_opted_in(call): ...

    booting = rule("booting", "AWS takes its time.")    # several hooks and patches, one rule
    @booting.patch(Instance, "terminate")
    def _terminate(original, instance): ...

What a rule must remember it keeps on moto's own backend (`memory`), so that it is forgotten when moto
forgets. What happens later (`later`) is computed from the clock when the next call comes; only the
server, where instances boot for real, has a thread that does not wait for a call.
"""

from __future__ import annotations

import enum
import functools
import heapq
import itertools
import logging
import math
import sys
import threading
import time
import uuid
import weakref
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import ModuleType
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar

from moto.core import responses
from moto.core.base_backend import BaseBackend
from moto.core.exceptions import ServiceException
from moto.core.request import Request, environ_key_for_header
from moto.core.responses import ActionResult, BaseResponse
from moto.core.utils import camelcase_to_underscores, method_names_from_class
from werkzeug.datastructures import ImmutableMultiDict

from awslabs.sandbox.core import weather, wire

if TYPE_CHECKING:
    from moto.s3.models import FakeBucket, FakeMultipart

log = logging.getLogger(__name__)

lock = threading.RLock()
"""Held while moto works: moto is not made for two calls at once, and timers take it too."""


def rest(seconds: float) -> None:
    """Sleep within a call without holding up the others: `lock` is free meanwhile."""
    with lock:
        threading.Condition(lock).wait(seconds)


class Refused(Exception):
    """The answer of an AWS that does not do it: error code, message.

    `status` is the HTTP status where AWS's service model does not name it; 0: what `wire.status_of` says.
    `more`: further members, which S3's errors have.
    """

    def __init__(self, code: str, message: str, status: int = 0, /, **more: str) -> None:
        super().__init__(code, message)
        self.code, self.message, self.status, self.more = code, message, status, more


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
        self._stopped: float | None = None
        self._began = time.time() - self._passed()

    def _passed(self) -> float:
        return time.clock_gettime(EVEN) if self._stopped is None else self._stopped

    @contextmanager
    def stopped(self) -> Iterator[None]:
        """In a `with` block nothing but `offset_s` moves it."""
        self._stopped = self._passed()
        try:
            yield
        finally:
            self._stopped = None

    def now(self) -> float:
        return self._began + self._passed() + self.offset_s


clock = Clock()


def pass_time(seconds: float) -> None:
    """Move the clock, never back, and let happen what becomes due."""
    if not 0 <= seconds < math.inf:
        raise ValueError(f"{seconds} seconds cannot pass")
    clock.offset_s += seconds
    if timer is not None:
        timer.look_again()


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
        return str(self.response.current_account)

    @property
    def region(self) -> str:
        return str(self.response.region)

    @property
    def partition(self) -> str:
        return str(self.response.partition)

    @property
    def ec2(self) -> Any:
        """moto's EC2 of the caller's account and Region."""
        from moto.ec2.models import ec2_backends

        return ec2_backends[self.account][self.region]

    @property
    def iam(self) -> Any:
        """moto's IAM of the caller's account."""
        from moto.iam.models import iam_backends

        return iam_backends[self.account][self.partition]


@dataclass(frozen=True)
class BucketCall(Call):
    """A request to S3; what it names stands in its address and in headers."""

    @property
    def request(self) -> Any:
        return self.response.request

    @property
    def method(self) -> str:
        return str(self.request.method)

    @property
    def query(self) -> set[str]:
        """Names in the query of the address; moto's has the names of headers, too."""
        return set(self.request.args)

    def parameter(self, name: str) -> str:
        """A parameter of the query; empty where it has none."""
        return str(self.response.querystring.get(name, [""])[0])

    @property
    def version_id(self) -> str | None:
        """The version that the query names, whatever that is."""
        found: str | None = self.response.querystring.get("versionId", [None])[0]
        return found

    def header(self, name: str) -> str:
        return self.request.environ.get(environ_key_for_header(name)) or ""

    @property
    def name(self) -> str:
        """The bucket's name."""
        return self.response.bucket_name or ""

    @property
    def key(self) -> str:
        return str(self.response.parse_key_name())

    @property
    def body(self) -> bytes:
        body = self.response.body or b""
        return body.encode() if isinstance(body, str) else body

    @property
    def text(self) -> str:
        return self.body.decode("utf-8", "replace")

    @property
    def backend(self) -> Any:
        """moto's S3 of the caller's account."""
        return self.response.backend

    @property
    def bucket(self) -> FakeBucket | None:
        """The bucket, if there is one."""
        return self.bucket_called(self.name)

    def bucket_called(self, name: str) -> FakeBucket | None:
        """A bucket of this name, whosever it is, if there is one."""
        from moto.s3.exceptions import MissingBucket

        try:
            found: FakeBucket = self.backend.get_bucket(name)
        except MissingBucket:
            return None
        return found

    @property
    def upload(self) -> FakeMultipart | None:
        """The upload in parts that the query names, if there is one."""
        bucket = self.bucket
        return bucket.multiparts.get(self.parameter("uploadId")) if bucket is not None else None


Proceed = Callable[[], Any]
Around = Callable[[Any, Proceed], Any]
Before = Callable[[Any], None]
Operation = Callable[[Any], Any]
F = TypeVar("F", bound=Callable[..., Any])
Where = ParamSpec("Where")


# --- rules --------------------------------------------------------------------------------------------


Place = tuple[int, int, int]
"""Where a hook or patch stands among all: by its file in `order`, its rule, and its own number."""

order: dict[str, int] = {}
"""Names of modules to their places; `services` writes it down."""
_numbers = itertools.count()


def place_of(function: Any, number: int = 0) -> Place:
    """The place of what is being written now, in the rule of that number."""
    return order.get(getattr(function, "__module__", ""), len(order)), number, next(_numbers)


class Kind(enum.IntEnum):
    """What a hook does: the last one of a chain may be the one that answers."""

    AROUND = 0
    ANSWERS = 1
    IN_SERVER = 2


@dataclass(frozen=True)
class Hook:
    """What looks at an operation or answers it in moto's place."""

    operation: str
    rule: str
    function: Callable[..., Any]
    kind: Kind
    place: Place


@dataclass(frozen=True)
class Patch:
    """One attribute of moto: wrapped by `function`, or, where that is None, replaced by `value`."""

    owner: Any
    attribute: str
    function: Callable[..., Any] | None
    place: Place
    value: Any = None

    @property
    def spot(self) -> tuple[Any, str]:
        return self.owner, self.attribute


TABLE: dict[str, list[Hook]] = {}
"""Operation (``ec2:RunInstances``, ``ec2:*``) to what looks at it, and who answers it."""


def hang(*hooks: Hook) -> None:
    """Put hooks into the table."""
    for hook in hooks:
        held = TABLE.setdefault(hook.operation, [])
        if hook.kind is not Kind.AROUND and any(each.kind is hook.kind for each in held):
            raise ValueError(f"two functions answer {hook.operation}")
        held.append(hook)
    _chains.clear()


def in_server(*operations: str) -> Callable[[F], F]:
    """Answer a call in the server, before moto is asked and outside of the lock; not under `mock_aws`."""

    def put(function: F) -> F:
        hang(*(Hook(each, "", function, Kind.IN_SERVER, place_of(function)) for each in operations))
        return function

    return put


class Rule:
    """One way in which AWS is stricter than, or different from, moto.

    Parameters
    ----------
    name : str
        For ``install(only=[name])``.
    says : str
        What AWS answers, and where we know it from.
    runs : bool
        It is of something that runs, and so not among all rules where nothing does, under `mock_aws`.
    """

    def __init__(self, name: str, says: str, *, runs: bool = False) -> None:
        if name in RULES:
            raise ValueError(f"there are two rules called {name}")
        if not says.strip():
            raise ValueError(f"the rule {name} does not say what AWS answers")
        self.name, self.says, self.runs, self.number = name, says, runs, next(_numbers)
        self.hooks: list[Hook] = []
        self.patches: list[Patch] = []
        RULES[name] = self

    def before(self, *operations: str) -> Callable[[Before], Before]:
        """Look at a call before moto does it."""

        def put(function: Before) -> Before:
            @functools.wraps(function)
            def look(call: Call, proceed: Proceed) -> Any:
                function(call)
                return proceed()

            self.around(*operations)(look)
            return function

        return put

    def around(self, *operations: str) -> Callable[[Around], Around]:
        """Stand around a call: change the request, then the answer. ``ec2:*`` is every call of EC2."""

        def put(function: Around) -> Around:
            self._hang(function, Kind.AROUND, operations)
            return function

        return put

    def operation(self, *operations: str) -> Callable[[Operation], Operation]:
        """Answer a call in moto's place, in the words of botocore's model."""

        def put(function: Operation) -> Operation:
            self.answers(*operations)(functools.wraps(function)(lambda call: ActionResult(function(call))))
            return function

        return put

    def answers(self, *operations: str) -> Callable[[Operation], Operation]:
        """Answer a call in moto's place with status, headers and text, as moto's methods for S3 do."""

        def put(function: Operation) -> Operation:
            @functools.wraps(function)
            def answer(call: Call, proceed: Proceed) -> Any:
                return function(call)

            self._hang(answer, Kind.ANSWERS, operations)
            return function

        return put

    def _hang(self, function: Around, kind: Kind, operations: Iterable[str]) -> None:
        hooks = [
            Hook(each, self.name, function, kind, place_of(function, self.number)) for each in operations
        ]
        hang(*hooks)
        self.hooks += hooks

    def patch(self, owner: Any, *attributes: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
        """Replace a method, property or function of moto; the function's first argument is the original."""

        def put(function: Callable[..., Any]) -> Callable[..., Any]:
            for attribute in attributes:
                self._patch(Patch(owner, attribute, function, place_of(function, self.number)))
            return function

        return put

    def puts(self, owner: Any, attribute: str, value: Any, *, adds: bool = False) -> None:
        """Put a value in place of an attribute of moto; `adds`: where it has none."""
        self._patch(Patch(owner, attribute, None, place_of(value, self.number), value), adds=adds)

    def _patch(self, patch: Patch, adds: bool = False) -> None:
        if hasattr(patch.owner, patch.attribute) == (adds and patch.spot not in _placed):
            how = "is there already" if adds else "is not there"
            raise AttributeError(f"{self.name}: moto's {patch.owner.__name__}.{patch.attribute} {how}")
        self.patches.append(patch)
        if self.name in _on:
            _put(patch)


RULES: dict[str, Rule] = {}
"""All rules that are loaded, by name."""


rule = Rule
"""A rule of several parts."""


def _of_one_function(
    way: Callable[Concatenate[Rule, Where], Callable[[F], F]],
) -> Callable[Where, Callable[[F], F]]:
    """A rule of one function: its name is the rule's, its docstring says what AWS answers."""

    def decorator(*where: Where.args, **how: Where.kwargs) -> Callable[[F], F]:
        def make(function: F) -> F:
            return way(Rule(function.__name__, function.__doc__ or ""), *where, **how)(function)

        return make

    return decorator


before = _of_one_function(Rule.before)
around = _of_one_function(Rule.around)
operation = _of_one_function(Rule.operation)
answers = _of_one_function(Rule.answers)
patch = _of_one_function(Rule.patch)


# --- on and off ---------------------------------------------------------------------------------------


class _Names:
    """Names of rules that are on, of those loaded later too."""

    def __init__(self) -> None:
        self.only: frozenset[str] | None = frozenset()
        self.running = False

    def __contains__(self, name: str) -> bool:
        return name in self.only if self.only is not None else self.running or not RULES[name].runs


_on = _Names()
_chains: dict[str, list[Hook]] = {}  # operation -> the hooks that look at it, the first one outermost
_placed: dict[tuple[Any, str], tuple[Any, list[Patch]]] = {}  # what stood there, and what stands around it
_ABSENT = object()


def switch_on(names: Iterable[str] | None = None, running: bool = False) -> None:
    """Put these rules in place, and all others not; None: all rules, those that are loaded later too.

    Rules of what runs are among all rules only where something is `running`.
    """
    with lock:
        if switched_on():
            raise RuntimeError("the rules are installed already")
        chosen = None if names is None else frozenset(names)
        unknown = (chosen or frozenset()) - RULES.keys()
        if unknown:
            raise ValueError(f"no such rules: {', '.join(sorted(unknown))}")
        _on.only, _on.running = chosen, running
        _chains.clear()
        _put(Patch(BaseBackend, "urls", _urls, (-1, 0, 0)))
        listed = functools.cache(method_names_from_class)  # moto would list them for every call
        _put(Patch(responses, "method_names_from_class", None, (-1, 0, 0), listed))
        for rule in RULES.values():
            for patch in rule.patches if rule.name in _on else ():
                _put(patch)


def switch_off() -> None:
    """Leave moto as it was."""
    with lock:
        for spot, (before, _) in _placed.items():
            _restore(spot, before)
        _placed.clear()
        _chains.clear()
        _on.only = frozenset()


def switched_on() -> bool:
    """Whether any rules are in place."""
    return bool(_placed)


def _put(patch: Patch) -> None:
    """Wrap or replace one attribute; what stands there already stays in its order."""
    before, patches = _placed.setdefault(patch.spot, (vars(patch.owner).get(patch.attribute, _ABSENT), []))
    _restore(patch.spot, before)
    patches.append(patch)
    for each in sorted(patches, key=lambda each: each.place):
        found = vars(patch.owner).get(patch.attribute, _ABSENT)
        found = getattr(patch.owner, patch.attribute, None) if found is _ABSENT else found
        setattr(patch.owner, patch.attribute, _changed(each, found))


def _restore(spot: tuple[Any, str], before: Any) -> None:
    """Put back what stood there; a class that had it of another one gets it of that again."""
    owner, attribute = spot
    if before is not _ABSENT:
        setattr(owner, attribute, before)
    elif attribute in vars(owner):
        delattr(owner, attribute)


def _changed(patch: Patch, found: Any) -> Any:
    """What stands there now, instead of what was found."""
    if patch.function is None:
        return patch.value
    if isinstance(found, property):
        return property(functools.partial(patch.function, found.fget))
    if isinstance(found, staticmethod):
        return staticmethod(functools.partial(patch.function, found.__func__))
    return replacement(patch.function, found)


def replacement(function: Callable[..., Any], original: Any) -> Callable[..., Any]:
    """A plain function, since moto finds its operations with `inspect.isfunction`."""

    def replaced(*args: Any, **kwargs: Any) -> Any:
        return function(original, *args, **kwargs)

    return replaced


# --- from a request to its answer ---------------------------------------------------------------------

Handler = Callable[[Request, str, Any], Any]
ASKED = "awslabs.asked"
"""Where a request says what it asks for (`wire.Call`), once that is known."""


def _urls(original: Callable[[BaseBackend], dict[str, Handler]], backend: BaseBackend) -> dict[str, Handler]:
    """moto's addresses under `mock_aws`, and who answers there."""
    return {url: functools.partial(dispatch, handler) for url, handler in original(backend).items()}


def dispatch(handler: Handler, request: Request, full_url: str, headers: Any) -> Any:
    """Give a request to moto's handler of its address, through the rules of its operation."""
    response = getattr(handler, "__self__", None)
    if not (isinstance(response, type) and issubclass(response, BaseResponse)):
        return handler(request, full_url, headers)  # an address that is no operation's
    if ASKED not in request.environ:
        sent = request.environ["wsgi.input"]
        request.environ[ASKED] = wire.read(request, sent.read())
        sent.seek(0)
    with lock:
        try:
            return handler.__func__(_ruled(response), request, full_url, headers)  # type: ignore[attr-defined, arg-type]
        except Refused as refused:
            asked, request_id = request.environ[ASKED], str(uuid.uuid4())
            code, message, status = refused.code, refused.message, refused.status
            answer = wire.error(asked, code, message, request_id, status, **refused.more)
            return (*answer[:2], b"") if request.method == "HEAD" else answer


@functools.cache
def _ruled(response: Any) -> Any:
    """One of moto's classes of answers, with the rules around what it does."""
    return type(
        response.__name__, (_Buckets if hasattr(response, "bucket_response") else _Ruled, response), {}
    )


class _Ruled(BaseResponse):
    """Between moto's `dispatch`, which has read the request, and its method for the operation."""

    def call_action(self) -> Any:
        call = Call(self, self.normalized_request.environ[ASKED].name)
        hooks = _look(call)
        if hooks and hooks[-1].kind is Kind.ANSWERS:
            try:
                answer = _through(hooks, call, nobody)
            except ServiceException as problem:  # moto's own, of something that the answer asked it for
                answer = ActionResult(problem)
            self._get_action = lambda: call.action  # type: ignore[method-assign]  # where the model describes it
            return self.serialized(answer) if isinstance(answer, ActionResult) else answer
        method = camelcase_to_underscores(self._get_action())
        if hooks and hasattr(self, method):
            todo = functools.partial(_through, hooks, call, getattr(self, method))
            setattr(self, method, todo)  # this object serves one call
        return super().call_action()


class _Buckets(_Ruled):
    """S3, whose requests moto answers on a way of its own, past `call_action`.

    The object serves one call, so what moto works out anew each time is worked out once: the backend, and
    whether the host names the bucket, which the key depends on.
    """

    @functools.cached_property
    def backend(self) -> Any:
        return super().backend  # type: ignore[misc]

    def bucket_response(self, *request: Any) -> Any:
        return self._behind(super().bucket_response, *request)  # type: ignore[misc]

    def key_response(self, *request: Any) -> Any:
        return self._behind(super().key_response, *request)  # type: ignore[misc]

    def _behind(self, door: Handler, request: Request, full_url: str, headers: Any) -> Any:
        if request.environ[ASKED].operation != "PostObject":
            # moto takes the fields of a form for the query of its address; to S3 any other body is bytes.
            vars(request).update(form=ImmutableMultiDict(), files=ImmutableMultiDict())
        self.setup_class(request, full_url, headers)
        self.setup_class = nobody  # type: ignore[method-assign]  # moto would do it again
        response: Any = self
        in_host, key = response.subdomain_based_buckets(request), response.parse_key_name()
        response.subdomain_based_buckets = lambda _request: in_host
        response.parse_key_name = lambda: key
        call = BucketCall(self, request.environ[ASKED].name)
        try:
            return _through(_look(call), call, functools.partial(door, request, full_url, headers))
        except ServiceException as problem:
            return self.serialized(ActionResult(problem))


def nobody(*_args: Any, **_kwargs: Any) -> None:
    """Has nothing to do."""


def _look(call: Call) -> list[Hook]:
    """Let happen what is due, and say who looks at a call."""
    ec2: ModuleType | None = sys.modules.get("moto.ec2.models")
    regions: dict[str, Any] = (ec2 and ec2.ec2_backends.get(call.account)) or {}
    if call.region in list(regions):  # moto says that every Region is `in`
        settle(call.ec2)
    return chain(call.operation)


def chain(operation: str) -> list[Hook]:
    """The hooks that look at an operation, first one outermost; who answers it is the last one."""
    if operation not in _chains:
        found = TABLE.get(operation, []) + TABLE.get(f"{operation.partition(':')[0]}:*", [])
        _chains[operation] = sorted(
            (hook for hook in found if hook.kind is not Kind.IN_SERVER and hook.rule in _on),
            key=lambda hook: (hook.kind, hook.place),
        )
    return _chains[operation]


def served(operation: str) -> Callable[..., Any] | None:
    """Who answers an operation in the server, before moto."""
    hooks = TABLE.get(operation, ())
    return next((hook.function for hook in hooks if hook.kind is Kind.IN_SERVER), None)


def _through(hooks: list[Hook], call: Call, todo: Proceed) -> Any:
    """A call through the hooks around it."""
    for hook in reversed(hooks):
        todo = functools.partial(hook.function, call, todo)
    return todo()


# --- memory and time ----------------------------------------------------------------------------------

T = TypeVar("T")
STATES: dict[str, type] = {}


def state(kind: type[T]) -> type[T]:
    """A class of whose objects the rules keep one on each of moto's; its name is that of the place there."""
    if kind.__name__ in STATES:
        raise ValueError(f"there are two states called {kind.__name__}")
    STATES[kind.__name__] = kind
    return kind


def memory(backend: Any, kind: type[T]) -> T:
    """What the rules keep on a moto object: one `kind` each, made when first asked for.

    moto resets a backend by emptying its `__dict__`, and this goes with it.
    """
    key = f"_awslabs_{kind.__name__}"
    kept: T | None = backend.__dict__.get(key)
    if kept is None:
        assert STATES[kind.__name__] is kind, f"{kind} is no state"
        kept = backend.__dict__[key] = kind()
    return kept


@state
class Events(list[tuple[float, int, Callable[[], None]]]):
    """What is still to happen to one backend, a heap: (when, number, what)."""


def later(backend: Any, delay_s: float, action: Callable[[], None]) -> None:
    """Let something happen to a backend after `delay_s` seconds, or with the first call after that."""
    due = clock.now() + delay_s
    heapq.heappush(memory(backend, Events), (due, next(_numbers), action))
    if timer is not None:
        timer.do(due, functools.partial(_settle_it, weakref.ref(backend)))


def _settle_it(backend: weakref.ref[Any]) -> None:
    if (still_there := backend()) is not None:
        with lock:
            settle(still_there)


def settle(backend: Any) -> None:
    """Do what has become due, in the order of time. The caller holds `lock`."""
    heap = memory(backend, Events)
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

    def look_again(self) -> None:
        """The clock was moved."""
        with self._wake:
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
    from moto.ec2.models import ec2_backends

    for account, regions in list(ec2_backends.items()):
        for backend in list(regions.values()):
            yield account, backend
