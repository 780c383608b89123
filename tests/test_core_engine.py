"""How rules are switched on and off, what they remember, and that they cost nothing."""

from __future__ import annotations

import importlib
import pkgutil
import subprocess
import sys
import threading
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from moto.core.base_backend import BaseBackend
from moto.core.utils import get_service_model
from moto.ec2.models import ec2_backends
from moto.ec2.models.instances import Instance
from moto.resourcegroupstaggingapi import models as tagging
from test_services_support import READ_ONLY, client, cloud, net, said, wait

from awslabs.errors import LabError
from awslabs.sandbox import rules, running_parts, services
from awslabs.sandbox.core import engine

services.load()

WITH_CASES = {  # files whose rules are all in the tables of these tests
    *(
        "dry_runs",
        "functions",
        "identities",
        "images",
        "instances",
        "keys",
        "launch",
        "log_groups",
        "network",
        "queues",
    ),
    *("parameters", "quotas", "rest_apis", "spot", "buckets", "tables", "tags", "visibility"),
}
PLACES = [
    (BaseBackend, "urls"),
    (Instance, "terminate"),
    (Instance, "public_dns_name"),
    (tagging, "iter_taggable_backends"),
]


def what_stands_there() -> list[Any]:
    return [vars(owner).get(attribute) for owner, attribute in PLACES]


def test_every_rule_says_what_aws_answers() -> None:
    for name, rule in rules.RULES.items():
        assert rule.hooks or rule.patches, name
        assert "moto" in rule.says, f"{name} does not say what moto does instead"


def file_of(rule: engine.Rule) -> str:
    """The file of a service that a rule stands in."""
    functions = [*(hook.function for hook in rule.hooks), *(patch.function for patch in rule.patches)]
    return next((f.__module__.rpartition(".")[2] for f in functions if f is not None), "")


def test_every_rule_is_shown_beside_moto() -> None:
    tests = [importlib.import_module(path.stem) for path in Path(__file__).parent.glob("test_services_*.py")]
    shown = {case.rule for test in tests for case in getattr(test, "CASES", ())}
    assert {name for name, rule in rules.RULES.items() if file_of(rule) in WITH_CASES} <= shown


def test_moto_is_left_as_it_was() -> None:
    before = what_stands_there()
    with rules.installed():
        during = what_stands_there()
        assert all(one is not other for one, other in zip(before, during, strict=True))
    assert what_stands_there() == before
    assert not engine.switched_on()


def test_moto_is_left_as_it_was_after_an_error_too() -> None:
    before = what_stands_there()
    with pytest.raises(ZeroDivisionError), rules.installed():
        1 / 0  # noqa: B018
    assert what_stands_there() == before


def test_only_the_named_rules_are_switched_on() -> None:
    with cloud("vpc_in_use"):
        here, ec2 = net(), client("ec2")
        assert said(ec2.delete_vpc, VpcId=here.vpc_id) == "DependencyViolation"
        assert said(ec2.delete_route_table, RouteTableId=here.table_id) == "ok"


def test_a_rule_that_does_not_exist_is_refused_before_anything_changes() -> None:
    before = what_stands_there()
    with pytest.raises(ValueError, match="no such rules: teleport"):
        rules.install(only=["teleport"])
    assert what_stands_there() == before


def test_rules_are_not_installed_twice() -> None:
    with rules.installed(only=["vpc_in_use"]):
        with pytest.raises(RuntimeError, match="installed already"):
            rules.install()


@pytest.mark.parametrize("version", ["5.2.4", "5.2.6", "4.0.0", "6.0.0.dev1"])
def test_a_moto_that_was_not_tested_is_refused(monkeypatch: pytest.MonkeyPatch, version: str) -> None:
    monkeypatch.setattr(rules, "version", lambda name: version)
    with pytest.raises(LabError) as caught:
        rules.install()
    assert caught.value.what.startswith(f"moto {version} is installed")
    assert "pip install" in caught.value.fix
    assert not engine.switched_on()


def test_the_moto_that_is_installed_is_the_tested_one() -> None:
    setup = (Path(__file__).parents[1] / "setup.cfg").read_text()
    assert f"    moto[server]=={rules.TESTED_MOTO}\n" in setup


def test_the_installed_moto_is_one_of_those_tested() -> None:
    with rules.installed():
        assert engine.switched_on()


def test_what_rules_remember_goes_with_what_moto_forgets() -> None:
    with cloud(every=True, slow_states=1.0):
        net().launch(ClientToken="t")
        backend = ec2_backends["123456789012"]["us-east-1"]
        assert engine.memory(backend, engine.Events)
        backend.reset()
        assert not engine.memory(backend, engine.Events)
        net().launch(ClientToken="t", InstanceType="t3.small")  # no mismatch: a new world


def test_what_is_due_happens_in_the_order_of_time() -> None:
    with cloud(every=True):
        net()
        backend = ec2_backends["123456789012"]["us-east-1"]
        seen: list[str] = []
        engine.later(backend, 3, lambda: seen.append("third"))
        engine.later(backend, 1, lambda: seen.append("first"))
        engine.later(backend, 1, lambda: seen.append("second"))
        client("ec2").describe_vpcs()
        assert seen == []
        wait(2)
        client("ec2").describe_vpcs()
        assert seen == ["first", "second"]
        wait(2)
        client("resourcegroupstaggingapi").get_resources()  # the tagging API shows the present, too
        assert seen == ["first", "second", "third"]


def test_what_fails_in_the_background_is_not_the_callers_mistake(caplog: pytest.LogCaptureFixture) -> None:
    def lost() -> None:
        raise KeyError("lost")

    with cloud(every=True):
        net()
        engine.later(ec2_backends["123456789012"]["us-east-1"], 0, lost)
        assert said(client("ec2").describe_vpcs) == "ok"
    assert "KeyError: 'lost'" in caplog.text


def test_accounts_are_apart() -> None:
    with cloud(every=True, account="new"):
        ec2 = client("ec2")
        for _ in range(4):
            ec2.create_vpc(CidrBlock="10.0.0.0/16")
        assert said(ec2.create_vpc, CidrBlock="10.0.0.0/16") == "VpcLimitExceeded"
        assert len(ec2_backends["999988887777"]["us-east-1"].vpcs) == 1


def test_a_refusal_warns_nobody() -> None:
    with cloud(every=True), warnings.catch_warnings():
        warnings.simplefilter("error")
        arn = "arn:aws:iam::123456789012:role/nobody"
        assert said(client("sts").assume_role, RoleArn=arn, RoleSessionName="lab") == "AccessDenied"
        assert said(client("iam").delete_policy, PolicyArn=READ_ONLY) == "AccessDenied"


# --- time ---------------------------------------------------------------------------------------------


def test_the_clock_is_even_and_goes_on_while_the_computer_sleeps(monkeypatch: pytest.MonkeyPatch) -> None:
    passed = [1000.0]
    monkeypatch.setattr(engine.time, "time", lambda: 1_700_000_000.0)
    monkeypatch.setattr(engine.time, "clock_gettime", lambda which: passed[0] * (which == engine.EVEN))
    clock = engine.Clock()
    assert clock.now() == 1_700_000_000.0
    monkeypatch.setattr(engine.time, "time", lambda: 0.0)  # somebody sets the computer's clock
    passed[0] += 3600.0  # as CLOCK_BOOTTIME has it after an hour of sleep
    assert clock.now() == 1_700_003_600.0


def test_the_timer_does_things_in_their_order_and_survives_what_fails() -> None:
    done: list[str] = []
    over = threading.Event()
    timer = engine.Timer()
    now = engine.clock.now()
    for name, after_s, action in (
        ("third", 0.10, over.set),
        ("second", 0.06, lambda: 1 / 0),
        ("first", 0.02, lambda: None),
    ):
        timer.do(now + after_s, lambda name=name, action=action: (done.append(name), action()))
    timer.start()
    assert over.wait(5)
    timer.stop()
    assert done == ["first", "second", "third"]


def test_the_timer_sees_that_more_time_has_passed_than_it_waited(monkeypatch: pytest.MonkeyPatch) -> None:
    over = threading.Event()
    timer = engine.Timer()
    timer.longest_wait_s = 0.02
    timer.do(engine.clock.now() + 3600, over.set)
    timer.start()
    assert not over.wait(0.1)
    monkeypatch.setattr(engine.clock, "offset_s", 3601.0)
    assert over.wait(5)
    timer.stop()


# -- the table -----------------------------------------------------------------------------------------

ORDER = (Path(__file__).parent / "order_of_rules.txt").read_text().split()
"""In which rules looked at a call when the order was that of imports; S3's, patches, last one first."""


def test_the_order_is_the_one_that_is_written_down() -> None:
    with rules.installed():
        for operation in {*engine.TABLE, "ec2:DescribeVpcs"}:
            looks = [hook.rule for hook in engine.chain(operation) if hook.rule in ORDER]
            looks = list(dict.fromkeys(looks))
            assert looks == sorted(looks, key=ORDER.index), operation
    for found in pkgutil.walk_packages(services.__path__, f"{services.__name__}."):
        importlib.import_module(found.name)  # a file that nobody lists is loaded by nobody else
    listed = {f"awslabs.sandbox.services.{file}" for file in services.FILES}
    held = [hook for rule in rules.RULES.values() for hook in rule.hooks]
    assert {
        hook.function.__module__ for hook in held if hook.function.__module__.startswith("awslabs")
    } <= listed


def misspelt(operations: Iterable[str]) -> set[str]:
    """Operations that botocore's models do not have."""
    wrong = set()
    for operation in operations:
        service, _, action = operation.partition(":")
        if action != "*" and action not in get_service_model(service).operation_names:
            wrong.add(operation)
    return wrong


SERVED = """
import importlib
from awslabs.sandbox import running_parts, server, services
services.load()
for name in running_parts.PARTS:
    importlib.import_module(name)
print(*server.engine.TABLE)
"""


def test_every_operation_is_one_of_awss() -> None:
    """Those that the server and the running parts answer, too."""
    told = subprocess.run([sys.executable, "-c", SERVED], capture_output=True, text=True, check=True).stdout
    assert {"ssm:SendCommand", "lambda:Invoke", "ec2:CreateVpc"} <= set(told.split())
    assert misspelt(told.split()) == set()
    assert misspelt(["ec2:DescribeVpc", "batch:submitjob", "ec2:*", "s3:PutObject"]) == {
        "ec2:DescribeVpc",
        "batch:submitjob",
    }


def test_what_moto_does_not_have_is_not_patched() -> None:
    rule = engine.Rule("vanished", "AWS. moto.")
    try:
        with pytest.raises(AttributeError, match=r"vanished: moto's Instance.teleport is not there"):
            rule.patch(Instance, "teleport")(lambda original: None)
        with pytest.raises(AttributeError, match=r"Instance.terminate is there already"):
            rule.puts(Instance, "terminate", None, adds=True)
    finally:
        del engine.RULES["vanished"]


def test_moto_is_changed_in_few_places_and_no_class_of_its_answers() -> None:
    command = Path(__file__).parents[1] / "bench" / "patches.py"
    ran = subprocess.run([sys.executable, command], capture_output=True, text=True)
    assert (ran.returncode, ran.stderr) == (0, ""), ran.stdout


def test_two_states_of_one_name_are_an_error() -> None:
    with pytest.raises(ValueError, match="two states called Events"):
        engine.state(type("Events", (), {}))


def test_two_functions_do_not_answer_one_operation() -> None:
    [answers] = [hook for hook in engine.TABLE["batch:SubmitJob"] if hook.kind is engine.Kind.ANSWERS]
    with pytest.raises(ValueError, match="two functions answer batch:SubmitJob"):
        engine.hang(answers)


# What runs something, or shows what runs: moto alone answers it under `mock_aws`, where nothing runs.
NOT_UNDER_MOCK_AWS = {
    *("ecr:BatchDeleteImage", "ecr:CompleteLayerUpload", "ecr:DeleteRepository"),
    *("ecs:DescribeTasks", "ecs:ListTasks", "ecs:RunTask", "ecs:StopTask"),
    *("lambda:GetAccountSettings", "lambda:Invoke"),
}


def test_what_needs_a_running_part_is_not_installed_under_mock_aws() -> None:
    for name in running_parts.PARTS:
        importlib.import_module(name)
    served = {
        operation
        for operation, hooks in engine.TABLE.items()
        for hook in hooks
        if hook.kind is engine.Kind.IN_SERVER and hook.function.__module__ in running_parts.PARTS
    }
    run = {hook.operation for rule in rules.RULES.values() if rule.runs for hook in rule.hooks}
    assert served | run == NOT_UNDER_MOCK_AWS
    with rules.installed():
        assert not any(hook.rule == "tasks_run" for each in run for hook in engine.chain(each))
        assert all(hook.kind is not engine.Kind.IN_SERVER for each in served for hook in engine.chain(each))


LOADED = """
import importlib, sys
from awslabs.sandbox import rules, running_parts, services
from awslabs.sandbox.core import engine
first, order = sys.argv[1:]
packages = sorted(services.PACKAGES, reverse=order == "backwards")
if first == "rules":
    rules.install()
for package in packages if order == "backwards" else ("ecs", *packages):
    importlib.import_module(f"moto.{package}.models")
    if first == "rules" and package == "ecs":  # it has reached into EC2, of which no call has come
        assert "instances_take_time" in engine.RULES
if first == "moto":
    rules.install()
files = [*services.FILES, "engine"]
for owner, attribute in sorted(engine._placed, key=str):
    around = sorted(engine._placed[owner, attribute][1], key=lambda each: each.place)
    print(owner, attribute, *(files[each.place[0]] for each in around))
for operation in sorted(engine.TABLE):
    chain = engine.chain(operation)
    print(operation, *(f"{files[hook.place[0]]} {hook.rule} {hook.function.__qualname__}" for hook in chain))
"""


def test_rules_are_the_same_whoever_imports_moto_first_and_in_which_order() -> None:
    """All services', patches and hooks, as two orders of loading and both of who comes first leave them."""
    said = [
        subprocess.run(
            [sys.executable, "-c", LOADED, *how], capture_output=True, text=True, check=True
        ).stdout
        for how in (("rules", "forwards"), ("rules", "backwards"), ("moto", "backwards"))
    ]
    assert said[0] == said[1] == said[2]
    silent = set(services.FILES) - set(said[0].split())
    assert all(each.startswith("batch.") for each in silent)  # whose operations `batch.api` hangs
