"""The ledger against whatever can happen to it, in any order, as hypothesis thinks it up.

Two people, two computers and two AWS accounts (moto with the strict rules in this process). Labs go up and
down, and at any call or save the process may die, the answer be lost or AWS refuse. Ledger files are lost,
damaged, copied, or come back from an old backup. Things are deleted and changed by hand. Other people have
things of their own in the same accounts, some of which look like ours. Two things must hold:

    at the end, after `recover` and `down`, nothing of ours is left
    nothing of others' is ever touched

CI runs a few examples, always the same ones. For a long search: AWSLABS_TEST_MACHINE=EXAMPLES, such as 500.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import inprocess
import pytest
from botocore.exceptions import ClientError
from harness.outside import AN_ID, Thing, everything
from harness.outside import ec2 as listing
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    precondition,
    rule,
    run_state_machine_as_test,
)
from typed import typed

from awslabs import ec2, journal, ledger_cli
from awslabs.cloud import Cloud
from awslabs.errors import LabError
from awslabs.ledger import Ledger
from awslabs.sandbox.core import weather

pytestmark = pytest.mark.live

EXAMPLES = int(os.environ.get("AWSLABS_TEST_MACHINE", "0"))  # 0: the short run of CI
VISIBLE_S = 30.0  # after this many seconds everybody sees everything, at the longest lag used here

THEIR_KEY = b"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJq4b0hG8b8l0D1pTc3n9E9l3cQ0m8a0Qw0F3b0r1b2Z"

FIRST, OTHER = "111111111111", "222222222222"


@dataclass(frozen=True)
class Desk:
    """Somebody's computer, with keys of one account."""

    computer: str
    owner: str
    account: str


LAPTOP, ABROAD, DESKTOP = (
    Desk("laptop", "ana", FIRST),
    Desk("laptop", "ana", OTHER),
    Desk("desktop", "ben", FIRST),
)
DESKS = (LAPTOP, ABROAD, DESKTOP)
LEDGERS = ((LAPTOP, "default"), (LAPTOP, "second"), (ABROAD, "default"), (DESKTOP, "default"))

Which = tuple[Desk, str]
Plan = dict[int, str]
ledgers = st.sampled_from(LEDGERS)
desks = st.sampled_from(DESKS)
accounts = st.sampled_from([FIRST, OTHER])
sizes = st.sampled_from(["t3.micro", "t3.micro", "t3.micro", "t3.small"])
kinds = st.sampled_from([*inprocess.Trouble.KINDS, "die before", "die after"])  # most of all it dies
calls: st.SearchStrategy[Plan] = st.just({}) | st.dictionaries(
    st.integers(1, 12), kinds, min_size=1, max_size=2
)
saves = st.dictionaries(st.integers(1, 20), st.sampled_from(["die before", "die after", "full"]), max_size=1)

EACH_ONCE = dict.fromkeys(["vpc", "subnet", "internet-gateway", "security-group", "key-pair", "instance"], 1)

happened: Counter[str] = Counter()
opened: dict[Desk, Cloud] = {}  # boto3 clients take long to make, so they are made once


def command(*line: str) -> Any:
    """``python -m awslabs.ledger ...`` at the desk where we sit; no exception may come out of it."""
    result = typed(ledger_cli.command_line(), line)
    happened["recovered"] += result.stdout.count("awslabs-ec2-") if line[0] == "recover" else 0
    return result


def delete(client: Any, kind: str, id: str) -> str:
    """Delete one of our things as the console does."""
    if kind == "instance":
        client.terminate_instances(InstanceIds=[id])
    elif kind == "key-pair":
        client.delete_key_pair(KeyPairId=id)
    else:
        if kind == "internet-gateway":
            detach(client, kind, id)
        names = {"vpc": "VpcId", "subnet": "SubnetId", "security-group": "GroupId"}
        parameter = names.get(kind, "InternetGatewayId")
        getattr(client, f"delete_{kind.replace('-', '_')}")(**{parameter: id})
    return f"{kind} deleted"


def detach(client: Any, kind: str, id: str) -> str:
    """Take a gateway off its VPC."""
    assert kind == "internet-gateway"
    for gateway in client.describe_internet_gateways(InternetGatewayIds=[id])["InternetGateways"]:
        for tie in gateway["Attachments"]:
            client.detach_internet_gateway(InternetGatewayId=id, VpcId=tie["VpcId"])
    return "gateway detached"


def change(client: Any, kind: str, id: str) -> str:
    """Change what dies with one of our things."""
    if kind == "vpc":
        client.delete_route(RouteTableId=ec2.main_route_table(client, id), DestinationCidrBlock="0.0.0.0/0")
    elif kind == "subnet":
        client.modify_subnet_attribute(SubnetId=id, MapPublicIpOnLaunch={"Value": False})
    elif kind == "security-group":
        (group,) = client.describe_security_groups(GroupIds=[id])["SecurityGroups"]
        client.revoke_security_group_ingress(GroupId=id, IpPermissions=group["IpPermissions"])
    elif kind == "instance":
        client.stop_instances(InstanceIds=[id])
    else:
        return "nothing"
    return f"{kind} changed"


def network(client: Any, tags: dict[str, str], *, with_server: bool) -> None:
    """A network like ours, of somebody else."""

    def tagged(kind: str) -> list[dict[str, Any]]:
        return [{"ResourceType": kind, "Tags": [{"Key": key, "Value": value} for key, value in tags.items()]}]

    vpc_id = client.create_vpc(CidrBlock="10.10.0.0/23", TagSpecifications=tagged("vpc"))["Vpc"]["VpcId"]
    subnet = client.create_subnet(VpcId=vpc_id, CidrBlock="10.10.0.0/24", AvailabilityZone="us-east-1a")[
        "Subnet"
    ]
    gateway = client.create_internet_gateway(TagSpecifications=tagged("internet-gateway"))["InternetGateway"]
    client.attach_internet_gateway(InternetGatewayId=gateway["InternetGatewayId"], VpcId=vpc_id)
    if with_server:
        client.run_instances(
            ImageId=client.describe_images(Owners=["amazon"])["Images"][0]["ImageId"],
            InstanceType="t3.micro",
            MinCount=1,
            MaxCount=1,
            SubnetId=subnet["SubnetId"],
            TagSpecifications=tagged("instance"),
        )


def everything_quickly(client: Any, method: str, key: str, **request: Any) -> list[Any]:
    """A listing, less the images and snapshots that no lab makes: moto takes most of a second for them."""
    return (
        []
        if method in ("describe_images", "describe_snapshots")
        else everything(client, method, key, **request)
    )


def texts(value: Any) -> Iterator[str]:
    """Every string in a request."""
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, (list, tuple)):
        for one in value:
            yield from texts(one)
    elif isinstance(value, str):
        yield value


def read_prefix(path: Path) -> str:
    """The prefix of a ledger, or one like it."""
    try:
        return journal.read(path)[0]["prefix"]
    except (LabError, OSError):
        return "awslabs-ec2-abc123"


def event(name: str, **details: Any) -> Any:
    """A method of `Machine`, and what it is called with."""
    return st.tuples(st.just(name), st.fixed_dictionaries(details))


file_fates = st.sampled_from(["lost", "damaged", "saved", "restored", "copied"])
deeds = st.sampled_from([delete, delete, detach, change])
others = st.sampled_from(["network", "look-alike", "names", "server", "guest"])
events = st.one_of(
    event("a_file_is", what=file_fates, which=ledgers, other=ledgers),
    event("by_hand_we", what=deeds, account=accounts, number=st.integers(0, 30)),
    event("others_build", what=others, account=accounts, which=ledgers),
    event("recover", desk=desks, all_owners=st.booleans(), named=st.booleans()),
    event("time_passes", minutes=st.sampled_from([1, 59, 61]), lag_s=st.sampled_from([0, 2, 12])),
)


class Machine(RuleBasedStateMachine):
    """The world of this test; hypothesis calls its rules in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.at = LAPTOP
        self.stack = contextlib.ExitStack()
        self.home = Path(tempfile.mkdtemp(prefix="awslabs-machine-"))
        self.stack.callback(shutil.rmtree, self.home)
        patched = self.stack.enter_context(pytest.MonkeyPatch.context())
        patched.setattr(os, "fsync", lambda descriptor: None)  # no power fails here
        patched.setattr("awslabs.ledger.AT_ONCE", 1)  # one thread: what hypothesis finds, it finds again
        patched.setattr("harness.outside.everything", everything_quickly)
        patched.setattr("awslabs.tunnel.wait_for_ssh", lambda *_, **__: None)
        patched.setattr("awslabs.cli.open_cloud", lambda **_: self.cloud(self.at))
        self.clock = self.stack.enter_context(inprocess.cloud())
        self.trouble = self.stack.enter_context(inprocess.trouble())
        self.built = False
        self.notebooks: dict[Which, Ledger] = {}  # kernels that stay open for days
        self.backups: dict[Which, str] = {}
        self.meddled: set[str] = set()  # accounts, of which some file is not as we left it
        self.straight = set(LEDGERS)  # whose file knows all that carries its prefix
        self.before: dict[str, set[Thing]] = {}
        self.theirs: dict[str, set[Thing]] = {FIRST: set(), OTHER: set()}
        self.guests: list[tuple[str, str]] = []  # (account, group) of others, within a VPC of ours

    @initialize(first=st.lists(ledgers, max_size=2, unique=True), lost=st.booleans())
    def something_stands(self, first: list[Which], lost: bool) -> None:
        for desk in DESKS:
            if desk not in opened:
                opened[desk] = inprocess.open_cloud(desk.account, desk.owner)
            opened[desk].folder = self.home / desk.computer
        for account in (FIRST, OTHER):
            self.before[account] = self.survey(account)
        for which in first:
            self.build(which, "t3.micro", notebook=False, at_calls={}, at_saves={})
            if lost:
                self.a_file_is("lost", which, which)

    # -- who does it ---------------------------------------------------------------------------------

    def cloud(self, desk: Desk) -> Cloud:
        """The keys of a desk; from now on we sit there."""
        self.at = desk
        os.environ["AWSLABS_HOME"] = str(self.home / desk.computer)
        return opened[desk]

    def console(self, account: str) -> Any:
        """The console of an account."""
        return opened[LAPTOP if account == FIRST else ABROAD].client("ec2")

    def open(self, which: Which, notebook: bool) -> Ledger:
        """The ledger as a new process opens it, or as an open notebook still has it."""
        desk, name = which
        cloud = self.cloud(desk)
        if notebook and which in self.notebooks:
            happened["a notebook went on"] += 1
            return self.notebooks[which]
        ledger = Ledger(cloud, "ec2", name)
        self.notebooks[which] = ledger
        return ledger

    def path(self, which: Which) -> Path:
        desk, name = which
        return self.home / desk.computer / f"ec2.{name}.{desk.account}.{inprocess.REGION}.json"

    # -- what is seen from outside ----------------------------------------------------------------------

    def survey(self, account: str) -> set[Thing]:
        """Everything in an account, when all is quiet."""
        self.clock.sleep(VISIBLE_S)
        with self.trouble.hand():
            return set(listing(self.console(account)))

    def ours(self, account: str) -> dict[tuple[str, str], dict[str, str]]:
        """Kind and id of all that carries the token of a ledger, and its tags."""
        self.clock.sleep(VISIBLE_S)
        with self.trouble.hand():
            client = self.console(account)
            tags: dict[tuple[str, str], dict[str, str]] = {}
            for tag in client.describe_tags()["Tags"]:
                tags.setdefault((tag["ResourceType"], tag["ResourceId"]), {})[tag["Key"]] = tag["Value"]
            ended = {
                instance["InstanceId"]
                for reservation in client.describe_instances()["Reservations"]
                for instance in reservation["Instances"]
                if instance["State"]["Name"] == "terminated"
            }
        return {
            (kind, id): found
            for (kind, id), found in tags.items()
            if found.get("awslabs:ledger", "").startswith("awslabs-")
            and "awslabs:token" in found
            and id not in ended
            and kind not in ("volume", "network-interface")  # they go with their instance
        }

    def add_theirs(self, account: str, make: Any) -> None:
        """Let somebody else make something, and remember all of it."""
        before = self.survey(account)
        with self.trouble.hand():
            make(self.console(account))
        self.theirs[account] |= self.survey(account) - before

    def touched_theirs(self) -> list[str]:
        """Calls of ours that name something of others'."""
        theirs = {word for things in self.theirs.values() for thing in things for word in thing.id.split()}
        return [
            f"{operation} {request}"
            for operation, request in self.trouble.calls
            if any(AN_ID.fullmatch(text) and text in theirs for text in texts(request))
        ]

    def has_guests(self, which: Which) -> bool:
        """Whether others may have moved into this lab's VPC, which cannot be deleted then."""
        return any(account == which[0].account for account, _ in self.guests)

    # -- the lab ---------------------------------------------------------------------------------------

    @rule(which=ledgers, size=sizes, notebook=st.booleans(), at_calls=calls, at_saves=saves)
    def up(self, which: Which, size: str, notebook: bool, at_calls: Plan, at_saves: Plan) -> None:
        error = self.build(which, size, notebook, at_calls, at_saves)
        self.all_is_known(which[0].account)
        calm = not at_calls and not at_saves
        if error and calm and which in self.straight and not self.has_guests(which):
            assert "stands with another InstanceType" in error.what, error

    def build(
        self, which: Which, size: str, notebook: bool, at_calls: Plan, at_saves: Plan
    ) -> LabError | None:
        """`up`, and what must be true after it; its error, if it ended with one."""
        self.built = True
        try:
            ledger = self.open(which, notebook)
            with self.trouble.ahead(at_calls, at_saves):
                ec2.up(ledger, allow_from="192.0.2.1/32", instance_type=size)
        except inprocess.Death:
            happened["died in up"] += 1
            self.notebooks.pop(which)
            return None
        except LabError as error:
            happened[f"up: {type(error).__name__} {getattr(error, 'code', '')}".rstrip()] += 1
            return error
        happened["up"] += 1
        seen = self.ours(which[0].account)
        known = {row.token for row in ledger.journal.open_rows()}
        if all(
            tags["awslabs:token"] in known
            for tags in seen.values()
            if tags["awslabs:ledger"] == ledger.prefix
        ):
            self.straight.add(which)
        assert (
            Counter(kind for (kind, _), tags in seen.items() if tags["awslabs:token"] in known) == EACH_ONCE
        )
        self.is_joined(which[0].account, ledger.resources)
        with self.trouble.ahead({}, {}):
            ec2.up(ledger, allow_from="192.0.2.1/32", instance_type=size)
            assert self.trouble.sent == 0, self.trouble.calls[-self.trouble.sent :]
        return None

    def all_is_known(self, account: str) -> None:
        """As long as nobody meddles with files, each thing has a row, whatever dies whenever."""
        if account in self.meddled:
            return
        paths = [path for desk in DESKS for path in journal.files(opened[desk].folder)]
        mine = [path for path in paths if path.name.split(".")[2] == account]
        rows = {row.token for path in mine for row in journal.read(path)[1] if row.open}
        assert not {
            one: tags for one, tags in self.ours(account).items() if tags["awslabs:token"] not in rows
        }

    def is_joined(self, account: str, ids: dict[str, str]) -> None:
        """The lab is one: gateway, route, rule and server are where they should be."""
        with self.trouble.hand():
            client = self.console(account)
            in_vpc = [{"Name": "vpc-id", "Values": [ids["vpc"]]}]
            (table,) = client.describe_route_tables(Filters=in_vpc)["RouteTables"]
            gateways = client.describe_internet_gateways(InternetGatewayIds=[ids["internet-gateway"]])
            (group,) = client.describe_security_groups(GroupIds=[ids["security-group"]])["SecurityGroups"]
            shown = client.describe_instances(InstanceIds=[ids["instance"]])["Reservations"]
        assert ("0.0.0.0/0", ids["internet-gateway"], "active") in {
            (route.get("DestinationCidrBlock"), route.get("GatewayId"), route["State"])
            for route in table["Routes"]
        }
        assert [tie["VpcId"] for tie in gateways["InternetGateways"][0]["Attachments"]] == [ids["vpc"]]
        assert "192.0.2.1/32" in {
            one["CidrIp"] for permission in group["IpPermissions"] for one in permission["IpRanges"]
        }
        ((instance,),) = (reservation["Instances"] for reservation in shown)
        assert (instance["State"]["Name"], instance["SubnetId"]) == ("running", ids["subnet"])

    @precondition(lambda self: self.built)
    @rule(which=ledgers, notebook=st.booleans(), at_calls=calls, at_saves=saves)
    def down(self, which: Which, notebook: bool, at_calls: Plan, at_saves: Plan) -> None:
        error = self.take_down(which, notebook, at_calls, at_saves)
        self.all_is_known(which[0].account)
        calm = not at_calls and not at_saves
        if error and calm and which in self.straight and not self.has_guests(which):
            assert self.take_down(which, notebook, {}, {}) is None, error

    def take_down(self, which: Which, notebook: bool, at_calls: Plan, at_saves: Plan) -> LabError | None:
        """`down`, and what must be true after it; its error, if it ended with one."""
        try:
            ledger = self.open(which, notebook)
            with self.trouble.ahead(at_calls, at_saves):
                ledger.down()
        except inprocess.Death:
            happened["died in down"] += 1
            self.notebooks.pop(which)
            return None
        except LabError as error:
            happened[f"down: {type(error).__name__}"] += 1
            return error
        happened["down"] += 1
        seen = self.ours(which[0].account)
        tokens = {row.token for row in ledger.journal.rows}
        assert not [one for one, tags in seen.items() if tags["awslabs:token"] in tokens]
        if which in self.straight:
            assert not [one for one, tags in seen.items() if tags["awslabs:ledger"] == ledger.prefix]
        return None

    def recover(self, desk: Desk, all_owners: bool, named: bool) -> None:
        self.cloud(desk)
        options = ["--yes", *(["--all-owners"] if all_owners else []), *(["ec2"] if named else [])]
        result = command("recover", *options)
        happened[f"recover, exit {result.exit_code}"] += 1
        self.straight -= {which for which in LEDGERS if which[0].computer == desk.computer}

    # -- meanwhile ----------------------------------------------------------------------------------------

    @rule(event=events)
    def meanwhile(self, event: tuple[str, dict[str, Any]]) -> None:
        """One rule for all of this, since hypothesis leaves out some rules in each of its worlds."""
        name, details = event
        getattr(self, name)(**details)

    # -- what happens to a file ---------------------------------------------------------------------------

    def a_file_is(self, what: str, which: Which, other: Which) -> None:
        path = self.path(which)
        if what == "restored" and which in self.backups:
            path.parent.mkdir(exist_ok=True)
            path.write_text(self.backups[which])
            self.straight.discard(which)
        elif what == "copied" and self.path(other).exists() and other != which:
            path.parent.mkdir(exist_ok=True)
            shutil.copy(self.path(other), path)
            self.straight -= {which, other}
        elif not path.exists() or what in ("restored", "copied"):
            return
        elif what == "lost":
            path.unlink()
            self.notebooks.pop(which, None)
            self.straight.add(which)  # what comes next has another prefix
        elif what == "damaged":
            path.write_text(path.read_text()[: len(self.trouble.calls) * 7 % 1000])
            self.straight.discard(which)
        else:
            self.backups[which] = path.read_text()
        if what != "saved":
            self.meddled.add(which[0].account)
        happened[f"a file was {what}"] += 1

    # -- what is done by hand -----------------------------------------------------------------------------

    def by_hand_we(self, what: Any, account: str, number: int) -> None:
        standing = sorted(self.ours(account))
        if what is detach:
            standing = [one for one in standing if one[0] == "internet-gateway"]
        if not standing:
            return
        kind, id = standing[number % len(standing)]
        with self.trouble.hand(), contextlib.suppress(ClientError):  # in use: then the console refuses, too
            happened[f"by hand: {what(self.console(account), kind, id)}"] += 1

    # -- other people ---------------------------------------------------------------------------------------

    def others_build(self, account: str, which: Which, what: str) -> None:
        """Their things have our CIDR block, our names, or tags like ours; never our token."""
        prefix = read_prefix(self.path(which))
        tags = {"Name": f"{prefix} vpc", "awslabs:owner": which[0].owner, "awslabs:row": "01 vpc"}
        if what == "look-alike":
            tags |= {"awslabs:ledger": "theirs-ec2-abc123", "awslabs:token": "20260101000000-0123456789"}
        elif what == "server":
            tags |= {"awslabs:ledger": prefix}
        before, client = self.survey(account), self.console(account)
        with self.trouble.hand(), contextlib.suppress(ClientError):  # they did this before
            if what == "names":
                self.straight.discard(which)  # its name may be taken now
                client.import_key_pair(KeyName=f"{prefix}-key", PublicKeyMaterial=THEIR_KEY)
                client.create_security_group(GroupName=f"{prefix}-ssh", Description="theirs")
            elif what == "guest":
                for vpc_id in sorted(id for kind, id in self.ours(account) if kind == "vpc")[:1]:
                    group = client.create_security_group(GroupName="g", Description="theirs", VpcId=vpc_id)
                    self.guests.append((account, group["GroupId"]))
            else:
                network(client, tags, with_server=what == "server")
        self.theirs[account] |= self.survey(account) - before
        happened[f"others: {what}"] += 1

    # -- time and weather ------------------------------------------------------------------------------------

    def time_passes(self, minutes: int, lag_s: int) -> None:
        self.clock.sleep(minutes * 60)
        weather.current.lag_ms = 1000 * lag_s

    # -- the end --------------------------------------------------------------------------------------------

    def teardown(self) -> None:
        try:
            if self.before and not sys.exc_info()[0]:  # else a rule has failed, and that is what counts
                self.clean_up()
        finally:
            self.stack.close()

    def leave(self, desk: Desk) -> list[Any]:
        """What a teacher does at a desk when the course is over."""
        self.cloud(desk)
        lines = ["recover", "--yes", "--all-owners", "ec2"], ["down", "--all"], ["verify"]
        return [command(*line) for line in lines]

    def clean_up(self) -> None:
        self.clock.sleep(3600)
        assert not self.touched_theirs(), self.touched_theirs()
        for account in (FIRST, OTHER):
            missing = self.theirs[account] - self.survey(account)
            assert not missing, f"lost in {account}: {[*map(str, missing)]}"
        for account, group in self.guests:
            with self.trouble.hand():
                self.console(account).delete_security_group(GroupId=group)
            self.theirs[account] = {thing for thing in self.theirs[account] if group not in thing.id}
        # `down --all` of one account says that the other's still stand; and with one thread a tie that is
        # younger than the server whose address it carries goes only with the next `down`.
        for _ in range(3):
            results = [result for desk in DESKS for result in self.leave(desk)]
            if not any(result.exit_code for result in results):
                break
        assert not any(result.exit_code for result in results), [result.stderr for result in results]
        assert not self.touched_theirs(), self.touched_theirs()
        for account in (FIRST, OTHER):
            stands, others = self.survey(account), self.before[account] | self.theirs[account]
            assert stands <= others, f"left in {account}: {[*map(str, stands - others)]}"
            assert others <= stands, f"lost in {account}: {[*map(str, others - stands)]}"
        for which in LEDGERS:
            if self.path(which).exists():
                assert [row for row in journal.read(self.path(which))[1] if row.open] == []
        happened["examples"] += 1


def test_whatever_happens_nothing_of_ours_is_left_and_nothing_of_others_is_touched() -> None:
    happened.clear()
    run_state_machine_as_test(
        Machine,
        settings=settings(
            max_examples=EXAMPLES or 10,
            stateful_step_count=40 if EXAMPLES else 20,
            derandomize=not EXAMPLES,
            deadline=None,
            database=None,
            report_multiple_bugs=False,
            suppress_health_check=list(HealthCheck),
        ),
    )
    assert {"up", "down", "died in up", "recovered"} <= set(+happened), happened
    print(
        f"{happened.pop('examples')} worlds:",
        ", ".join(f"{many} {what}" for what, many in sorted(happened.items())),
    )
