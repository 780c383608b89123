"""What a student may do: the IAM policies that one lab needs, computed from the calls that it makes.

    student_calls.json     what the practice cloud has decided while a student ran each lab: which action on
                           what, in which step, and what a policy can tell about it
       |  `recorded`
       v
    Call                   lambda:DeleteFunction on function:{ledger}*, in `down`, of what is the owner's
       |  `statements`     its name, path and Region, its owner's tag, its type of instance
       v
    `documents`            as few policies as IAM's limit of length allows, and what bounds the roles

The record is made by `python tests/students.py`, which runs each lab with all its verbs against a practice
cloud; a test does so again, with what is computed here enforced, and compares. Nobody writes an action here.

A student who may make roles and say what they allow could allow himself everything. So a role is only made
within a *permissions boundary*: a policy beside the student's, which holds what the roles of the lab need, on
things of the ledger that the role's own tag names. The student's shell says which, with AWSLABS_BOUNDARY.

What IAM cannot tell apart is bound by name alone: tables and buckets (their tags count in policies only where
that was switched on), schedules and job definitions (without tags), the main route table of a network, which
carries none. Names hold six random characters, but no owner. Batch has no condition for types of instances.

Source: Service Authorization Reference, resource types and condition keys of each action; IAM user guide,
"Permissions boundaries for IAM entities", "IAM and AWS STS quotas".
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from awslabs.policies import Statement

VERBS = ("up", "work", "down", "verify")
OWNER = "${aws:username}"  # each student's own name, in a policy that all of them share
TAG = "awslabs:owner"
RECORD = Path(__file__).with_suffix("").with_name("student_calls.json")
READING = re.compile(r"\w+:(BatchGet|Describe|Get|List|Filter)|\w+:GET$")
TAGGING = re.compile(r"\w+:(Tag\w+|AddTagsToResource)$")

# Characters, white space not counted. Source: "IAM and AWS STS quotas".
MANAGED, USER, GROUP, ROLE = 6144, 2048, 5120, 10240


@dataclass(frozen=True)
class Call:
    """An action of IAM on one kind of thing, as a lab needs it.

    Attributes
    ----------
    on : str
        The ARN, with ``{account}``, ``{region}`` and ``{ledger}`` in it, and ``*`` for what is drawn anew.
    verbs : frozenset of str
        In which steps.
    owner : str
        ``made``: its request says, each time, who is the owner. ``owned``: what it is about does. Or empty.
    asks : dict
        Further condition keys that it had each time, with all their values.
    """

    action: str
    on: str
    verbs: frozenset[str]
    owner: str = ""
    asks: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def reads(self) -> bool:
        return bool(READING.match(self.action))


# -- The record ---------------------------------------------------------------------------------------------


def recorded(lab: str) -> tuple[list[Call], list[Statement]]:
    """What a lab calls, and what it allows its roles."""
    of_lab = json.loads(RECORD.read_text(encoding="utf-8"))[lab]
    known = [
        Call(one["action"], one["on"], frozenset(one["verbs"]), one.get("owner", ""), one.get("asks", {}))
        for one in of_lab["calls"]
    ]
    return known, of_lab["roles"]


# -- From calls to statements -------------------------------------------------------------------------------


@dataclass(frozen=True)
class Place:
    """For whom, and where, a policy is.

    Attributes
    ----------
    owner : str
        What the tag ``awslabs:owner`` must say.
    instance_types : tuple of str
        Besides those that the lab takes by itself.
    """

    lab: str
    account: str
    region: str
    owner: str = OWNER
    instance_types: tuple[str, ...] = ()

    @property
    def ledger(self) -> str:
        return f"awslabs-{self.lab.replace('_', '-')}-"

    @property
    def boundary(self) -> str:
        return f"arn:aws:iam::{self.account}:policy/{boundary_name(self.lab)}"

    def fill(self, text: str) -> str:
        """An ARN of the record, as a policy names it."""
        filled = text.replace("{account}", self.account).replace("{region}", self.region)
        filled = filled.replace("{ledger}", f"{self.ledger}*").replace("**", "*")
        return re.sub(r"\*:\*$", "*", filled)  # whatever its revision


def boundary_name(lab: str) -> str:
    """What the policy is called that bounds a lab's roles."""
    return f"awslabs-{lab.replace('_', '-')}-boundary"


def statements(known: Iterable[Call], place: Place) -> list[Statement]:
    """What allows these calls, and as little else as IAM can tell apart."""
    by_condition: dict[str, dict[str, set[str]]] = {}
    for call in known:
        on, condition = resource(call, place), conditions(call, place)
        actions = by_condition.setdefault(json.dumps(condition, sort_keys=True), {})
        actions.setdefault(call.action, set()).add(on)
        if call.reads and "/awslabs/{region}/" in call.on:  # IAM forgets the path of what is gone
            gone = call.on.replace("/awslabs/{region}/{ledger}*/*", "/{ledger}*")
            actions[call.action].add(place.fill(gone))
    made = []
    for text, actions in sorted(by_condition.items()):
        alike: dict[tuple[str, ...], list[str]] = {}
        for action, resources in actions.items():
            alike.setdefault(tuple(sorted(_widest(resources))), []).append(action)
        for arns, names in sorted(alike.items()):
            statement = {"Effect": "Allow", "Action": _one(sorted(names)), "Resource": _one(list(arns))}
            made.append(statement | ({"Condition": json.loads(text)} if text != "{}" else {}))
    return made


def resource(call: Call, place: Place) -> str:
    """On what it is allowed: its name or path where it has one of the ledger's; all where only tags tell."""
    service = call.action.partition(":")[0]
    if (
        call.reads
        and "{ledger}" not in call.on
        and not call.owner
        and service not in ("apigateway", "ecr", "ssm")
    ):
        return "*"
    if call.on.startswith("arn:aws:ssm:") and call.on.endswith(":*"):
        return "*"
    if service == "ec2" and call.owner and (call.action, call.owner) != ("ec2:RunInstances", "made"):
        return place.fill("arn:aws:ec2:{region}:{account}:*")
    return place.fill(call.on)


def conditions(call: Call, place: Place) -> dict[str, dict[str, Any]]:
    """What must be true besides."""
    found: dict[str, dict[str, Any]] = {}

    def must(operator: str, key: str, value: Any) -> None:
        found.setdefault(operator, {})[key] = value

    if call.owner == "made":
        must("StringEquals", f"aws:RequestTag/{TAG}", place.owner)
        if TAGGING.match(call.action):  # of what is new; nothing of others' becomes one's own
            must("StringEqualsIfExists", f"aws:ResourceTag/{TAG}", place.owner)
    elif call.owner == "owned" and not (call.reads and "{ledger}" in call.on):
        must("StringEquals", f"aws:ResourceTag/{TAG}", place.owner)
    if call.action in ("iam:CreateRole", "iam:PutRolePolicy"):
        must("ArnEquals", "iam:PermissionsBoundary", place.boundary)
    if types := call.asks.get("ec2:instancetype"):
        must("StringEquals", "ec2:InstanceType", _one(sorted({*types, *place.instance_types})))
    if services := call.asks.get("iam:passedtoservice"):
        must("StringEquals", "iam:PassedToService", _one(list(services)))
    if by := call.asks.get("ec2:createaction"):
        must("StringEquals", "ec2:CreateAction", _one(list(by)))
    if images := call.asks.get("batch:image"):
        must("StringLike", "batch:Image", place.fill(images[0]))
        must("BoolIfExists", "batch:Privileged", "false")
    on, service = resource(call, place), call.action.partition(":")[0]
    if (on == "*" or not on.split(":")[3]) and service not in ("freetier", "iam"):  # it names no Region
        must("StringEquals", "aws:RequestedRegion", place.region)
    return found


def _widest(resources: Iterable[str]) -> set[str]:
    """Without those that another one covers."""
    given = set(resources)
    return {
        one
        for one in given
        if not any(o != one and o.endswith("*") and one.startswith(o[:-1]) for o in given)
    }


def _one(values: list[str]) -> Any:
    return values[0] if len(values) == 1 else values


# -- Documents ----------------------------------------------------------------------------------------------


def size(policy: Mapping[str, Any]) -> int:
    """Its length as IAM counts it."""
    return len(json.dumps(policy, separators=(",", ":")))


def document(made: Iterable[Statement]) -> dict[str, Any]:
    return {"Version": "2012-10-17", "Statement": list(made)}


def packed(made: Iterable[Statement], most: int = MANAGED) -> list[dict[str, Any]]:
    """As few documents as the limit of length allows, the long statements first."""
    held: list[list[Statement]] = []
    for statement in sorted(made, key=lambda one: -len(json.dumps(one))):
        fitting = (one for one in held if size(document([*one, statement])) <= most)
        if (one := next(fitting, None)) is None:
            held.append(one := [])
        one.append(statement)
    return [document(one) for one in held]


def boundary(known: Iterable[Call], roles: Iterable[Statement], place: Place) -> dict[str, Any]:
    """What a role of the lab may be allowed at most: on things of the ledger and owner in its tags.

    The switch's role may delete things of every lab; of services in which this one makes nothing, not here.
    """
    named = [
        *(call.action for call in known),
        *(action for one in roles for action in as_list(one["Action"])),
    ]
    services = {one.partition(":")[0] for one in named if not READING.match(one) and not _ends(one)}
    ledger = "${aws:PrincipalTag/awslabs:ledger}"

    def bound(text: str) -> str:
        text = re.sub(r"\{ledger\}[^/:*]+", "{ledger}*", text)
        text = text.replace("{account}", place.account).replace("{region}", place.region)
        return text.replace("{ledger}", ledger).replace("**", "*")

    by_reach: dict[str, set[str]] = {}
    for statement in roles:
        reach = {"Resource": _one(sorted({*map(bound, as_list(statement["Resource"]))}))}
        if condition := statement.get("Condition"):
            tests = {
                operator: {
                    key: bound(value) if isinstance(value, str) else value for key, value in test.items()
                }
                for operator, test in condition.items()
            }
            for test in tests.values():
                if "aws:ResourceTag/awslabs:ledger" in test:
                    test[f"aws:ResourceTag/{TAG}"] = f"${{aws:PrincipalTag/{TAG}}}"
            reach["Condition"] = tests
        actions = {
            one for one in as_list(statement["Action"]) if not _ends(one) or one.partition(":")[0] in services
        }
        if actions:
            by_reach.setdefault(json.dumps(reach, sort_keys=True), set()).update(actions)
    return document(
        {"Effect": "Allow", "Action": _one(sorted(actions)), **json.loads(reach)}
        for reach, actions in sorted(by_reach.items())
    )


def _ends(action: str) -> bool:
    """Whether it is for taking down."""
    return bool(re.search(r":(DELETE$|Delete|Deregister|Detach|Remove|Stop|Terminate|Update)", action))


def as_list(value: Any) -> list[str]:
    return value if isinstance(value, list) else [value]


def documents(place: Place, verbs: Iterable[str] = VERBS) -> dict[str, dict[str, Any]]:
    """The policies of a student for one lab, by name; of the boundary, if they ask for it, too."""
    wanted = set(verbs)
    known, roles = recorded(place.lab)
    needed = [call for call in known if call.verbs & wanted]
    found = packed(statements(needed, place))
    base = f"awslabs-{place.lab.replace('_', '-')}"
    named = {f"{base}-{number}" if len(found) > 1 else base: one for number, one in enumerate(found, 1)}
    if any(call.action == "iam:CreateRole" for call in needed):
        named[boundary_name(place.lab)] = boundary(known, roles, place)
    return named


def remarks(named: Mapping[str, Mapping[str, Any]], place: Place) -> Iterator[str]:
    """What whoever gives these policies out must know."""
    own = {name: size(one) for name, one in named.items() if name != boundary_name(place.lab)}
    sizes = ", ".join(f"{name} {length:,}" for name, length in own.items())
    yield f"Characters, of {MANAGED:,} in a managed policy: {sizes}."
    total = size(document(s for name in own for s in named[name]["Statement"]))
    inline = {"user": USER, "group": GROUP, "role": ROLE}
    fits = [f"a {who} ({most:,})" for who, most in inline.items() if total <= most]
    yield f"All in one, {total:,}, fit into the inline policies of: {', '.join(fits) or 'nobody'}."
    if (name := boundary_name(place.lab)) in named:
        yield (
            f"{name} ({size(named[name]):,}) is given to nobody: it bounds the roles that a student makes, "
            "so that nobody becomes more by them. Make it under this name. Students export it, and make no "
            "roles without:"
        )
        yield f"AWSLABS_BOUNDARY={place.boundary}"
    if place.lab == "batch_sweep":
        yield "IAM cannot limit which machines Batch starts; the quota of vCPUs can."
    if place.lab in ("ecs_qa", "batch_sweep", "serverless"):
        yield "Tables, buckets and schedules are bound by name alone: IAM cannot tell whose they are."
