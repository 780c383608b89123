"""What the policies of `awslabs class policy` allow and refuse, and that every lab passes with them."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import re
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import inprocess
import pytest
import small_reader
import students
from typed import typed

from awslabs import classroom, policies, sandbox, student_policy
from awslabs.errors import StillStanding
from awslabs.explain import DENIED
from awslabs.labs import LABS
from awslabs.ledger import Ledger
from awslabs.sandbox.core.policies import decide
from awslabs.student_policy import Call, Place

ACCOUNT, REGION = students.ACCOUNT, "us-east-1"
LEDGER = "k3x9qa"


def place(lab: str, **more: Any) -> Place:
    return Place(lab, ACCOUNT, REGION, **more)


def all_of(lab: str, *verbs: str, **more: Any) -> list[dict[str, Any]]:
    """All statements that a student has for a lab; of the boundary's none."""
    named = student_policy.documents(place(lab, **more), verbs or student_policy.VERBS)
    named.pop(student_policy.boundary_name(lab), None)
    return [statement for document in named.values() for statement in document["Statement"]]


def made(lab: str, call: Call) -> str:
    """An ARN as it is in one run."""
    text = place(lab).fill(call.on)
    return text.replace(f"awslabs-{lab.replace('_', '-')}-*", f"awslabs-{lab.replace('_', '-')}-{LEDGER}-x")


def may(lab: str, call: Call, who: str = "ana", owner: str = "ana", **facts: Any) -> bool:
    """Whether `who` may do that in the lab of `owner`, by what IAM gets to know of such a call."""
    context: dict[str, Any] = {
        "aws:username": who,
        "aws:requestedregion": REGION,
        "aws:requesttag/": None,
        "aws:resourcetag/": None,
        "batch:privileged": None,
        "iam:permissionsboundary": place(lab).boundary,
        **{key: values[0] for key, values in call.asks.items()},
    }
    if call.owner:
        context[f"aws:{'requesttag' if call.owner == 'made' else 'resourcetag'}/awslabs:owner"] = owner
    if "batch:image" in call.asks:
        context["batch:image"] = (
            f"{ACCOUNT}.dkr.ecr.{REGION}.amazonaws.com/awslabs-batch-sweep-{LEDGER}-mnist:1"
        )
    context |= facts
    return decide(all_of(lab), call.action, made(lab, call), None, context) == "Allow"


def recorded(lab: str, action: str = "") -> list[Call]:
    return [call for call in student_policy.recorded(lab)[0] if action in ("", call.action)]


@pytest.mark.parametrize("lab", LABS)
def test_what_was_decided_is_allowed_and_nothing_else_is(lab: str) -> None:
    calls = recorded(lab)
    assert [call for call in calls if not may(lab, call)] == []
    allowed = {action for one in all_of(lab) for action in student_policy.as_list(one["Action"])}
    assert allowed == {call.action for call in calls}
    assert not [action for action in allowed if "*" in action]
    for verb in student_policy.VERBS:
        of_it = {action for one in all_of(lab, verb) for action in student_policy.as_list(one["Action"])}
        assert of_it == {call.action for call in calls if verb in call.verbs}


@pytest.mark.parametrize("lab", LABS)
def test_each_document_is_as_short_as_iam_wants_it(lab: str) -> None:
    for verbs in (student_policy.VERBS, ["down"], ["up", "down"]):
        named = student_policy.documents(place(lab, owner="a" * 64), verbs)
        assert all(student_policy.size(one) <= student_policy.MANAGED for one in named.values())
        assert len(named) <= 4  # of ten that a user may have


@pytest.mark.parametrize("lab", LABS)
def test_nothing_can_be_done_in_another_region(lab: str) -> None:
    for call in recorded(lab):
        on = made(lab, call)
        if call.action.startswith(("iam:", "freetier:")):
            continue  # the services of all Regions; paths of roles name one
        elsewhere = on.replace(REGION, "eu-west-1")
        context = {"aws:username": "ana", "aws:requestedregion": "eu-west-1", "iam:permissionsboundary": None}
        context |= {"aws:requesttag/awslabs:owner": "ana", "aws:resourcetag/awslabs:owner": "ana"}
        context |= {key: values[0] for key, values in call.asks.items()}
        if call.action != "apigateway:PUT" or "/tags/" not in on:
            assert decide(all_of(lab), call.action, elsewhere, None, context) != "Allow", call


@pytest.mark.parametrize("lab", ["ec2", "gpu"])
def test_other_types_of_instances_are_refused_unless_they_are_named(lab: str) -> None:
    (launch,) = [one for one in recorded(lab, "ec2:RunInstances") if "ec2:instancetype" in one.asks]
    assert not may(lab, launch, **{"ec2:instancetype": "p5.48xlarge"})
    (own,) = [
        one for one in all_of(lab) if "ec2:InstanceType" in one.get("Condition", {}).get("StringEquals", {})
    ]
    (wider,) = [
        one
        for one in all_of(lab, instance_types=("m7i-flex.large",))
        if "m7i-flex.large" in one.get("Condition", {}).get("StringEquals", {}).get("ec2:InstanceType", ())
    ]
    kept = own["Condition"]["StringEquals"]["ec2:InstanceType"]
    assert wider["Condition"]["StringEquals"]["ec2:InstanceType"] == sorted([kept, "m7i-flex.large"])


@pytest.mark.parametrize("lab", LABS)
def test_what_carries_anothers_name_cannot_be_changed_nor_taken_over(lab: str) -> None:
    for call in recorded(lab):
        if call.reads and "{ledger}" in call.on:
            continue
        if call.owner == "owned":
            assert not may(lab, call, who="ben"), call
        if call.owner == "made":
            assert not may(lab, call, who="ben"), call  # in another's name
            if student_policy.TAGGING.match(call.action):
                taken = {"aws:resourcetag/awslabs:owner": "ana"}
                assert not may(lab, call, who="ben", owner="ben", **taken), call


# By name alone, as the module's head says: of whatever else one student could touch another's.
BY_NAME = {
    *("apigateway:PUT", "batch:DeregisterJobDefinition", "batch:SubmitJob", "ec2:CreateRoute"),
    *("ecs:DeregisterTaskDefinition", "iam:PassRole"),
}


@pytest.mark.parametrize("lab", LABS)
def test_all_that_changes_something_hangs_on_a_tag_but_what_has_none(lab: str) -> None:
    free = {
        call.action
        for call in recorded(lab)
        if not call.reads
        and not call.owner
        and not call.action.startswith(("dynamodb:", "s3:", "scheduler:"))
    }
    assert free - BY_NAME <= {"ec2:RunInstances", "ecr:GetAuthorizationToken"}  # of an image, and to look


@pytest.mark.parametrize("lab", LABS)
def test_roles_are_made_within_the_boundary_alone(lab: str) -> None:
    calls = recorded(lab)
    for action in ("iam:CreateRole", "iam:PutRolePolicy"):
        (call,) = recorded(lab, action)
        assert may(lab, call)
        assert not may(lab, call, **{"iam:permissionsboundary": None})
        assert not may(
            lab, call, **{"iam:permissionsboundary": "arn:aws:iam::aws:policy/AdministratorAccess"}
        )
    for call in recorded(lab, "iam:PassRole"):
        assert not may(lab, call, **{"iam:passedtoservice": "glue.amazonaws.com"})
        other = Call(call.action, "arn:aws:iam::{account}:role/Admin", call.verbs, asks=call.asks)
        assert not may(lab, other)
    assert not {one.action for one in calls} & {
        *("iam:AttachRolePolicy", "iam:DeleteRolePermissionsBoundary", "iam:PutRolePermissionsBoundary"),
        *("iam:CreatePolicyVersion", "iam:UpdateAssumeRolePolicy", "iam:PutUserPolicy", "sts:AssumeRole"),
    }


@pytest.mark.parametrize("lab", LABS)
def test_a_boundary_holds_what_the_roles_of_the_lab_are_allowed_and_no_way_to_more(lab: str) -> None:
    known, roles = student_policy.recorded(lab)
    bounds = student_policy.boundary(known, roles, place(lab))["Statement"]
    kept = {action for one in bounds for action in student_policy.as_list(one["Action"])}
    ledger = f"awslabs-{lab.replace('_', '-')}-{LEDGER}"
    context: dict[str, Any] = {f"aws:{kind}tag/awslabs:ledger": ledger for kind in ("principal", "resource")}
    context |= {f"aws:{kind}tag/awslabs:owner": "ana" for kind in ("principal", "resource")}
    context |= {"ecs:createaction": "RegisterContainerInstance"}

    def filled(text: str) -> str:
        found = text.replace("{ledger}", ledger).replace("{account}", ACCOUNT).replace("{region}", REGION)
        return "x" if found == "*" else found.replace("*", "x")

    for statement in roles:
        tests = statement.get("Condition", {})
        more = {key.lower(): filled(value) for keys in tests.values() for key, value in keys.items()}
        for action in student_policy.as_list(statement["Action"]):
            for on in student_policy.as_list(statement["Resource"]):
                if action not in kept:  # for taking down what this lab does not make
                    assert not [one for one in known if one.action == action]
                    continue
                asked = action.replace("*", "x"), "*" if on == "*" else filled(on)
                assert decide(bounds, *asked, None, context | more) == "Allow", (action, on)
                if "{ledger}" in on:
                    others = {"aws:principaltag/awslabs:ledger": "awslabs-ec2-others"}
                    assert decide(bounds, *asked, None, context | more | others) is None, (action, on)
    changing = [one for one in bounds if one["Resource"] == "*" and "Condition" not in one]
    for action in {each for one in changing for each in student_policy.as_list(one["Action"])}:
        assert Call(action, "*", frozenset()).reads or action in (
            *("ecs:DeregisterTaskDefinition", "ecs:DiscoverPollEndpoint", "ecr:GetAuthorizationToken"),
        ), action
    for action in (
        "iam:CreateRole",
        "iam:PutRolePolicy",
        "iam:PassRole",
        "sts:AssumeRole",
        "ec2:RunInstances",
    ):
        assert decide(bounds, action, f"arn:aws:iam::{ACCOUNT}:role/x", None, context) is None


def test_who_may_only_take_down_builds_nothing() -> None:
    for lab in LABS:
        actions = {action for one in all_of(lab, "down") for action in student_policy.as_list(one["Action"])}
        assert not [
            one for one in actions if one.partition(":")[2].startswith(("Create", "Run", "Register", "Put"))
        ]


# -- What others say of it ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def parliament() -> Any:
    """Duo Labs' linter. It asks pkg_resources, which setuptools no longer has, for its two files alone."""
    with pytest.MonkeyPatch.context() as patch:
        if importlib.util.find_spec("pkg_resources") is None:
            shim = types.ModuleType("pkg_resources")
            folder = Path(str(importlib.util.find_spec("parliament").origin)).parent  # type: ignore[union-attr]
            shim.resource_filename = lambda package, name: str(folder / name)  # type: ignore[attr-defined]
            patch.setitem(sys.modules, "pkg_resources", shim)
        import parliament

        yield parliament


# It looks at each statement by itself, and these two need several: of what is new the request brings a tag,
# what is there has it already. Its copy of AWS's reference is older than the plan of an account.
SPREAD = {"batch:SubmitJob", "ec2:RunInstances"}
NEWER = "Unknown action freetier:GetAccountPlanState"


def test_parliament_finds_nothing(parliament: Any) -> None:
    def findings(document: dict[str, Any]) -> list[tuple[str, Any]]:
        # Of variables it knows those without a colon in their names.
        text = re.sub(r"\$\{aws:PrincipalTag/[\w:]+\}", "awslabs-ec2-k3x9qa", json.dumps(document))
        return [(one.issue, one.detail) for one in parliament.analyze_policy_string(text).findings]

    left_out = set()
    for lab in LABS:
        for name, document in student_policy.documents(place(lab)).items():
            for issue, detail in findings(document):
                if issue == "RESOURCE_MISMATCH" and {one["action"] for one in detail} <= SPREAD:
                    left_out |= {one["action"] for one in detail}
                elif detail == NEWER:
                    left_out.add(NEWER)
                else:  # a boundary lets the switch look at all, as `policies.take_down` says
                    assert (issue, name) == ("RESOURCE_STAR", student_policy.boundary_name(lab)), detail
        for action in SPREAD:
            arns = {
                arn
                for one in all_of(lab)
                for arn in student_policy.as_list(one["Resource"])
                if action in student_policy.as_list(one["Action"])
            }
            whole = student_policy.document([{"Effect": "Allow", "Action": action, "Resource": sorted(arns)}])
            missing = [one for _, detail in findings(whole) for one in detail] if arns else []
            # The job is in none of AWS's own examples ("Restrict job submission by definition and queue").
            assert [one for one in missing if "batch:*:*:job/*" not in one["required_format"]] == []
    assert left_out == {*SPREAD, NEWER}
    (wrong,) = findings(student_policy.document([policies.allow("*", "ec2:BuildVpc")]))
    assert wrong[0] == "UNKNOWN_ACTION"


# -- The command --------------------------------------------------------------------------------------------


@pytest.fixture
def account() -> Iterator[None]:
    with inprocess.cloud():
        yield


def said(*line: str) -> Any:
    return typed(classroom.command_line(), ["policy", *line])


@pytest.mark.usefixtures("account")
def test_the_command_prints_policies_of_this_account_and_region(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    result = said("serverless", "--region", "eu-west-1", "--owner", "ana")
    assert result.exit_code == 0, result.output
    named = json.loads(result.stdout)
    assert named == student_policy.documents(Place("serverless", "222233334444", "eu-west-1", "ana"))
    assert max(map(len, result.stderr.splitlines())) <= 80
    assert "AWSLABS_BOUNDARY=arn:aws:iam::222233334444:policy/awslabs-serverless-boundary" in result.stderr
    alone = said("ec2", "--verbs", "down", "--json")
    assert list(json.loads(alone.stdout)) == ["awslabs-ec2"]
    assert "AWSLABS_BOUNDARY" not in alone.stderr
    assert said("ec2", "--verbs", "sweep").exit_code == 2


@pytest.mark.usefixtures("account")
def test_files_are_written_with_the_commands_that_make_them(tmp_path: Path) -> None:
    result = said("ec2", "-o", str(tmp_path / "to give out"))
    named = student_policy.documents(Place("ec2", "222233334444", REGION))
    assert len(result.stdout.splitlines()) == len(named)
    for name, document in named.items():
        assert json.loads((tmp_path / "to give out" / f"{name}.json").read_text()) == document
        assert f"--policy-name {name} --policy-document 'file://" in result.stdout


@pytest.mark.usefixtures("account")
def test_a_lab_makes_its_roles_within_the_boundary_of_the_shell(monkeypatch: pytest.MonkeyPatch) -> None:
    cloud = inprocess.open_cloud(ACCOUNT, "ana")
    iam = cloud.client("iam")
    text = policies.document(policies.allow("*", "s3:GetObject"))
    bounds = iam.create_policy(PolicyName="bounds", PolicyDocument=text)["Policy"]["Arn"]
    trust = policies.trust("lambda.amazonaws.com")
    shown = {}
    for name, boundary in (("without", ""), ("within", bounds)):
        monkeypatch.setenv("AWSLABS_BOUNDARY", boundary)
        ledger = Ledger(cloud, "ec2", name)
        role = f"{ledger.prefix}-role"
        ledger.create("role", iam.create_role, RoleName=role, AssumeRolePolicyDocument=trust)
        shown[name] = iam.get_role(RoleName=role)["Role"].get("PermissionsBoundary", {})
    assert shown["without"] == {}
    assert shown["within"]["PermissionsBoundaryArn"] == bounds


# -- Labs ---------------------------------------------------------------------------------------------------

CHANGED = tuple[str, str, str, frozenset[str]]


def changes(calls: list[Call], *steps: str) -> set[CHANGED]:
    """What of them changes something in these steps, and how it is bound."""
    return {
        (one.action, one.on, one.owner, one.verbs & {*steps})
        for one in calls
        if not one.reads and one.verbs & {*steps}
    }


def passes(student: students.Student, lab: str, *steps: str) -> None:
    """A student does it all with the lab's policies alone; what is decided is what the record says."""
    calls, roles = students.calls_of(student, lab, *steps)
    known, known_roles = student_policy.recorded(lab)
    how = f"python tests/students.py {lab}    # writes the record anew"
    assert changes(calls, *steps) == changes(known, *steps), how
    needed = {one.action for one in known if one.verbs & {*steps}}
    assert {one.action for one in calls} == needed, how  # each action that is given is asked for
    assert roles == known_roles, how


def refused(client: Any, method: str, **request: Any) -> None:
    """IAM does not let one do it."""
    with pytest.raises(client.exceptions.ClientError) as caught:
        getattr(client, method)(**request)
    assert caught.value.response["Error"]["Code"] in DENIED


@pytest.mark.live
def test_the_first_call_of_a_service_is_judged_like_every_other(tmp_path: Path) -> None:
    """Whose a thing is, the rules of its service tell, which a practice cloud loads when it is called."""
    run = sandbox.start(slow_states=0, home=tmp_path / "cloud")
    with contextlib.ExitStack() as stack:
        stack.callback(run.stop)
        batch = students.enrolled(run, "batch_sweep", "ana", tmp_path / "ana").client("batch")
        image = f"{ACCOUNT}.dkr.ecr.{REGION}.amazonaws.com/awslabs-batch-sweep-{LEDGER}-mnist:1"
        asked: dict[str, Any] = {
            "jobDefinitionName": f"awslabs-batch-sweep-{LEDGER}-job",
            "type": "container",
            "containerProperties": {"image": image, "vcpus": 1, "memory": 512},
        }
        batch.register_job_definition(**asked, tags={"awslabs:owner": "ana"})
        refused(batch, "register_job_definition", **asked, tags={"awslabs:owner": "ben"})


@pytest.mark.live
@pytest.mark.parametrize("lab", ["gpu", "serverless"])
def test_a_lab_passes_and_asks_for_each_action(lab: str, run: Any, tmp_path: Path) -> None:
    passes(students.enrolled(run, lab, f"s-{lab}", tmp_path), lab, *students.STEPS[lab])


@pytest.mark.ml
@pytest.mark.parametrize("lab", ["ecs_qa", "batch_sweep"])
def test_a_lab_that_trains_passes_and_asks_for_each_action(
    lab: str, run: Any, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    pytest.importorskip("torch", reason="its programs need it: pip install -e '.[ml]'")
    student = students.enrolled(run, lab, f"m-{lab}", tmp_path)
    if lab == "ecs_qa":  # the reader that all tests have; a lab trains the same one for its own
        student.words["MODEL"] = str(small_reader.trained(tmp_path_factory))
    passes(student, lab, *students.STEPS[lab])


@pytest.mark.live
def test_who_may_only_take_down_does_and_a_second_student_cannot(run: Any, tmp_path: Path) -> None:
    ana = students.enrolled(run, "ec2", "ana", tmp_path / "ana")
    ben = students.enrolled(run, "ec2", "ben", tmp_path / "ben")
    passed, roles = students.calls_of(ana, "ec2", "up", "work")
    standing = json.loads(ana.types("ec2", "status --json"))["resources"]

    # Another one, with the same policies, who wants to have hers away, or to have it as his.
    ec2, iam = ben.client("ec2"), ben.client("iam")
    role = standing["switch-role"].rpartition("/")[2]
    refused(ec2, "terminate_instances", InstanceIds=[standing["instance"]])
    refused(ec2, "delete_vpc", VpcId=standing["vpc"])
    refused(ec2, "delete_key_pair", KeyName=standing["key-pair"])
    mine = [{"Key": "awslabs:owner", "Value": "ben"}]
    refused(ec2, "create_tags", Resources=[standing["instance"]], Tags=mine)
    refused(iam, "tag_role", RoleName=role, Tags=mine)
    refused(iam, "delete_role_policy", RoleName=role, PolicyName="what-it-needs")
    everything = policies.document(policies.allow("*", "*"))
    refused(iam, "put_role_policy", RoleName=role, PolicyName="more", PolicyDocument=everything)
    refused(ben.client("lambda"), "delete_function", FunctionName=standing["switch-function"])
    refused(ben.client("logs"), "delete_log_group", logGroupName=standing["switch-logs"])

    # Nor anywhere else, nor on something larger, nor in her name; and no role without bounds.
    assert "UnauthorizedOperation" in ben.fails("ec2", "up --region eu-west-1")
    assert "UnauthorizedOperation" in ben.fails("ec2", "up --instance-type t3.large")
    ben.types("ec2", "down")
    assert "UnauthorizedOperation" in ben.fails("ec2", "up --owner ana --name hers")
    unbounded = students.enrol(run, "cleo", tmp_path / "cleo", *students.documents_of("ec2"))
    assert "AccessDenied" in unbounded.fails("ec2", "up --ttl 3h --require-switch")

    # Without one action of those that end it a part stands, and she is told which she lacks.
    lacking = "ec2:DetachInternetGateway"
    students.gives(run, "ana", *(students.without(one, lacking) for one in students.documents_of("ec2")))
    ana.decisions()
    assert lacking in ana.fails("ec2", "down", StillStanding.exit_code)
    decided = {"down": ana.decisions()}
    assert {one["action"] for one in decided["down"] if not one["allowed"]} == {lacking}

    # What is left of her rights suffices to end it, and not to begin again.
    students.gives(run, "ana", *students.documents_of("ec2", verbs=("down", "verify")))
    for step in ("down", "verify"):
        ana.passes("ec2", step)
        decided[step] = [*decided.get(step, ()), *ana.decisions()]
    calls = students.calls("ec2", decided, {"account": ACCOUNT, "region": REGION, "owner": "ana"})
    known = student_policy.recorded("ec2")[0]
    assert changes([*passed], "up", "work") == changes(known, "up", "work")
    assert changes(calls, "down", "verify") == changes(known, "down", "verify")
    assert roles == student_policy.recorded("ec2")[1]
    assert "UnauthorizedOperation" in ana.fails("ec2", "up")


@pytest.mark.live
@pytest.mark.parametrize(
    "action", ["ec2:DescribeRouteTables", "ec2:CreateSecurityGroup", "ec2:ImportKeyPair", "iam:PassRole"]
)
def test_without_one_of_its_actions_the_lab_is_not_built(action: str, run: Any, tmp_path: Path) -> None:
    name = f"less-{action.partition(':')[2].lower()}"
    student, whole = students.enrolled(run, "ec2", name, tmp_path), students.documents_of("ec2")
    students.gives(run, name, *(students.without(document, action) for document in whole))
    assert action.partition(":")[2] in student.fails("ec2", "up --ttl 3h --require-switch")
    assert {one["action"] for one in student.decisions() if not one["allowed"]} == {action}
    student.types("ec2", "down")
