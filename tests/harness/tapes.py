"""Cassettes of the labs, recorded in this process, and the matrix of strict rules that they notice.

    record("ec2", path)                   up, describe, down under the strict rules: nothing runs behind them
    record("ec2", path, strict=False)     the same on plain moto
    met(path)                             the rules that had a hand in it
    matrix(path, rules)                   play it without each of them in turn: what is noticed

A rule is met if it refuses a call, changes one, answers it, or changes its answer; a patch of moto, if moto
would have given something else, or was not asked. A rule that only looks, and lets pass,
is not met: no recording can tell whether it is there. Nor is one of `UNSEEN`, which says why.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import importlib
import json
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import inprocess
import pytest
from wire import Call, around

from awslabs import addresses, cassettes, images, journal, serverless, tunnel
from awslabs.aws_check.probes import look_back, probe
from awslabs.cassettes import Recorder
from awslabs.errors import StillStanding
from awslabs.ledger import Ledger
from awslabs.sandbox import running_parts
from awslabs.sandbox.core import engine, weather
from awslabs.sandbox.replay import Outcome, replay
from awslabs.workload.gpu import notebook

ACCOUNT, OWNER = "222233334444", "ada"
# What a lab meets, and no client can see in it: of each rule the labs, and why. It is left out of the matrix.
UNSEEN = {
    "quick_tags": ({"ec2", "gpu", "ecs_qa", "batch_sweep"}, "the answers are the same, they come sooner"),
    "cpu_credits": ({"ec2"}, "chapter 1 asks for what moto says of every server: `standard`"),
}


@contextlib.contextmanager
def nothing_runs() -> Iterator[None]:
    """No image is built, no server answers, no function starts: the calls are all there is."""
    assert running_parts.PARTS  # with them come the strict rules of their services
    with (
        mock.patch.object(tunnel, "wait_for_ssh"),
        mock.patch.object(notebook, "prepare"),
        mock.patch.object(images, "engine_for", return_value=None),
        mock.patch.object(images, "publish", lambda _, repository, recipe, *__: f"{repository}:{recipe.tag}"),
        mock.patch.object(serverless, "wait_for_api"),
        mock.patch.object(addresses, "my_ip", return_value="198.51.100.7"),
        mock.patch.dict(os.environ, {"AWS_ENDPOINT_URL_FREETIER": "http://127.0.0.1:9"}),
    ):
        yield


def record(lab: str, path: Path, *, strict: bool = True) -> Recorder:
    """Build a lab, look at it and take it down, on a clock that jumps; the recording goes to `path`."""
    chapter = importlib.import_module(f"awslabs.{lab}")
    rules = contextlib.nullcontext() if strict else mock.patch.object(inprocess.rules, "installed", plain)
    # Of calls that are under way together, only the order of their answers is known, not of what they saw.
    one_by_one = mock.patch("awslabs.ledger.AT_ONCE", 1)
    with nothing_runs(), rules, one_by_one, inprocess.cloud() as clock, engine.clock.stopped():
        weather.current.change({"stale": 0.0})  # what comes at random is another thing each time
        cloud = inprocess.open_cloud(ACCOUNT, OWNER)
        ledger = Ledger(cloud, lab)
        if not strict:
            ledger.patience = 0.05  # plain moto never finds the group that a server names
        known = {ACCOUNT: "account", OWNER: "owner", ledger.prefix: "ledger", journal.home_id(): "home"}
        # Only waits move the clock: else the times of calls would hang on how busy this computer is.
        recorder = Recorder(lab, cloud.region, known, lambda: clock.offset_s).listen(cloud)
        cloud.client("sts").get_caller_identity()
        chapter.up(ledger)
        chapter.describe(ledger)
        probe(ledger)
        # Plain moto makes a second server of one token; `down` says so.
        with contextlib.nullcontext() if strict else contextlib.suppress(StillStanding):
            chapter.down(ledger)
        look_back(ledger)
        recorder.write(path)
    return recorder


@contextlib.contextmanager
def plain(**_: Any) -> Iterator[None]:
    """In the place of the strict rules: none, and one call at a time, for which moto is made."""
    mutex = threading.RLock()

    def alone(call: Call) -> Any:
        with mutex:
            return call.send()

    with pytest.MonkeyPatch.context() as patch:
        around(patch, alone)
        yield


# -- Which rules a recording meets -------------------------------------------------------------------------


def met(path: Path) -> list[str]:
    """Names of the rules that had a hand in it, in the order in which they did, without those of `UNSEEN`."""
    return [rule for rule in had_a_hand(path) if lab_of(path) not in UNSEEN.get(rule, (set(), ""))[0]]


def lab_of(path: Path) -> str:
    """The lab that was recorded."""
    return str(cassettes.read(path)[0]["lab"])


def had_a_hand(path: Path) -> list[str]:
    """Names of all the rules that had a hand in it, in the order in which they did."""
    found: dict[str, None] = {}
    of_patch = {id(patch): rule.name for rule in engine.RULES.values() for patch in rule.patches}
    changed = engine._changed

    def through(hooks: list[engine.Hook], call: engine.Call, todo: engine.Proceed) -> Any:
        for hook in reversed(hooks):
            todo = functools.partial(watched, hook, call, todo)
        return todo()

    def watched(hook: engine.Hook, call: engine.Call, proceed: engine.Proceed) -> Any:
        asked, below, went_on = said(getattr(call.response, "params", None)), [], []

        def noted() -> Any:
            went_on.append(hook)
            if said(getattr(call.response, "params", None)) != asked:
                found[hook.rule] = None
            answer = proceed()
            below.append((answer, said(answer)))
            return answer

        try:
            answer = hook.function(call, noted)
        except engine.Refused:
            if not went_on:  # else it was one behind it
                found[hook.rule] = None
            raise
        if not below or said(answer) != below[-1][1]:
            found[hook.rule] = None
        return answer

    def patched(patch: engine.Patch, there: Any) -> Any:
        rule = of_patch.get(id(patch))
        if rule is None or patch.function is None:
            return changed(patch, there)
        return changed(dataclasses.replace(patch, function=noting(rule, patch.function)), there)

    def noting(rule: str, function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def called(original: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
            below = []

            def noted(*these: Any, **those: Any) -> Any:
                below.append(original(*these, **those))
                return below[-1]

            answer = function(noted, *args, **kwargs)
            if not below or answer != below[-1]:
                found[rule] = None
            return answer

        return called

    with (
        mock.patch.object(engine, "_through", through),
        mock.patch.object(engine, "_changed", patched),
    ):
        outcome = replay(path)
    assert not outcome.differences, outcome.differences
    return list(found)


def said(what: Any) -> str:
    """An answer or parameters as a text that changes with them; the order of members changes nothing."""
    inside = getattr(what, "result", what)
    if isinstance(inside, (dict, list, tuple, str, bytes)):
        return json.dumps(read(inside), default=str, skipkeys=True, sort_keys=True)
    return repr(inside)


def read(what: Any) -> Any:
    """What a body says, if it is JSON; all else as it is."""
    if isinstance(what, (list, tuple)):
        return [read(one) for one in what]
    if isinstance(what, (str, bytes)):
        with contextlib.suppress(ValueError):
            return json.loads(what)
    return what


# -- The matrix --------------------------------------------------------------------------------------------


def matrix(
    path: Path, rules: list[str], say: Callable[[str], None] = lambda line: None
) -> dict[str, Outcome]:
    """Play a recording without each of these rules in turn."""
    outcomes = {}
    for number, rule in enumerate(rules, 1):
        outcomes[rule] = replay(path, without={rule}, to_the_first=True)
        found = outcomes[rule].differences
        seen = f"noticed: {str(found[0]).strip()}" if found else "NOT NOTICED"
        say(f"{number:>3} of {len(rules)}  {rule:<40} {seen[:150]}")
    return outcomes


def noticed(outcomes: dict[str, Outcome]) -> float:
    """The share of rules whose absence was noticed."""
    return sum(bool(outcome.differences) for outcome in outcomes.values()) / len(outcomes)
