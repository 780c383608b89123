"""The ledger against moto in this process: what one row goes through, and the order of deletion."""

from __future__ import annotations

import dataclasses
import json
import logging
import os
import re
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import botocore.session
import inprocess
import pytest
from moto import mock_aws
from moto.ec2.models import amis
from wire import Call, Wire

import awslabs
from awslabs import journal, tunnel
from awslabs.cloud import Cloud
from awslabs.errors import AwsError, LabError, LedgerError, StillStanding
from awslabs.kinds import KINDS
from awslabs.labs import LABS
from awslabs.ledger import Ledger, ensure, operation


@pytest.fixture
def wire(monkeypatch: pytest.MonkeyPatch) -> Iterator[Wire]:
    """moto in this process, with every changing call recorded."""
    monkeypatch.setattr(Ledger, "settle_s", 0.05)
    monkeypatch.setattr(amis, "load_resource", inprocess.no_images_for_ecs)
    monkeypatch.setattr("awslabs.ledger.pause", lambda attempt, longest_s=0: 0.001)
    with mock_aws():
        yield Wire(monkeypatch)


@pytest.fixture
def ledger(wire: Wire) -> Ledger:
    return Ledger(Cloud(), "ec2")


def again(ledger: Ledger) -> Ledger:
    """The same ledger as another process would open it."""
    return Ledger(ledger.cloud, ledger.lab)


def make_vpc(ledger: Ledger, cidr: str = "10.10.0.0/23") -> str:
    return ledger.create("vpc", ledger.client("ec2").create_vpc, CidrBlock=cidr)


def our_vpcs(ledger: Ledger) -> list[str]:
    vpcs = ledger.client("ec2").describe_vpcs()["Vpcs"]
    return [vpc["VpcId"] for vpc in vpcs if not vpc["IsDefault"]]


def build(ledger: Ledger) -> dict[str, str]:
    """The network of the first chapter, without a server."""
    ec2 = ledger.client("ec2")
    vpc_id = make_vpc(ledger)
    subnet_id = ledger.create("subnet", ec2.create_subnet, VpcId=vpc_id, CidrBlock="10.10.0.0/24")
    ensure(ec2.modify_subnet_attribute, SubnetId=subnet_id, MapPublicIpOnLaunch={"Value": True})
    igw_id = ledger.create("internet-gateway", ec2.create_internet_gateway)
    ledger.create("gateway-attachment", ec2.attach_internet_gateway, InternetGatewayId=igw_id, VpcId=vpc_id)
    ledger.create(
        "security-group",
        ec2.create_security_group,
        VpcId=vpc_id,
        GroupName=f"{ledger.prefix}-ssh",
        Description="SSH",
    )
    return ledger.resources


# -- Twice is once ---------------------------------------------------------------------------------------


def test_a_second_up_changes_nothing_and_returns_the_same(ledger: Ledger, wire: Wire) -> None:
    first = build(ledger)
    wire.calls.clear()
    assert build(again(ledger)) == first
    assert wire.changed == []


def test_other_arguments_on_a_standing_row_are_refused_and_named(ledger: Ledger, wire: Wire) -> None:
    make_vpc(ledger)
    with pytest.raises(LedgerError, match="another CidrBlock") as refused:
        make_vpc(again(ledger), cidr="10.20.0.0/23")
    assert "10.10.0.0/23" in refused.value.why
    assert "python -m awslabs.ec2 down" in refused.value.fix
    assert wire.changed == ["CreateVpc"]


def test_what_was_deleted_by_hand_is_made_anew(ledger: Ledger) -> None:
    first = make_vpc(ledger)
    ledger.client("ec2").delete_vpc(VpcId=first)
    second = make_vpc(again(ledger))
    assert second != first
    assert our_vpcs(ledger) == [second]


def test_down_accepts_what_the_console_already_deleted(ledger: Ledger) -> None:
    ids = build(ledger)
    ledger.client("ec2").delete_security_group(GroupId=ids["security-group"])
    again(ledger).down()
    assert our_vpcs(ledger) == []
    assert again(ledger).journal.open_rows() == []


def test_down_of_an_empty_ledger_makes_no_call(ledger: Ledger, wire: Wire) -> None:
    assert ledger.down() == []
    assert wire.changed == []


def test_an_up_after_a_down_starts_with_a_new_prefix(ledger: Ledger) -> None:
    from awslabs.ledger import exclusive

    old = ledger.prefix
    build(ledger)
    ledger.down()
    assert exclusive(lambda ledger: ledger.prefix)(ledger) != old


# -- Crashes, as rows on disk ------------------------------------------------------------------------------


def test_the_row_is_on_disk_with_its_token_before_the_call(ledger: Ledger, wire: Wire) -> None:
    seen: list[dict] = []

    def look_at_the_file(call: Call) -> Any:
        seen.extend(json.loads(ledger.journal.path.read_text())["rows"])
        return call.send()

    wire.fail("CreateVpc", look_at_the_file)
    vpc_id = make_vpc(ledger)
    (row,) = seen
    assert (row["state"], row["ids"]) == ("creating", {})
    tags = ledger.client("ec2").describe_vpcs(VpcIds=[vpc_id])["Vpcs"][0]["Tags"]
    assert {"Key": "awslabs:token", "Value": row["token"]} in tags


@pytest.mark.parametrize(
    "name", ["CreateVpc", "CreateInternetGateway", "AttachInternetGateway", "CreateSubnet"]
)
def test_an_answer_lost_makes_no_second_one(name: str, ledger: Ledger, wire: Wire) -> None:
    wire.fail(name, Call.lose)
    build(ledger)
    ec2 = ledger.client("ec2")
    assert len(our_vpcs(ledger)) == 1
    assert len(inprocess.gateways(ec2)) == 1
    again(ledger).down()
    assert our_vpcs(ledger) == []
    assert inprocess.gateways(ec2) == []


def test_a_crash_after_the_call_is_found_by_the_token(ledger: Ledger, wire: Wire) -> None:
    class Crash(BaseException):
        pass

    def crash(call: Call) -> Any:
        call.send()
        raise Crash

    wire.fail("CreateVpc", crash)
    with pytest.raises(Crash):
        make_vpc(ledger)
    assert make_vpc(again(ledger)) == our_vpcs(ledger)[0]
    assert wire.changed == ["CreateVpc"]


def test_a_crash_before_the_call_leaves_a_row_that_down_closes(ledger: Ledger, wire: Wire) -> None:
    def crash(call: Call) -> Any:
        raise KeyboardInterrupt

    wire.fail("CreateVpc", crash)
    with pytest.raises(KeyboardInterrupt):
        make_vpc(ledger)
    again(ledger).down()
    assert again(ledger).journal.open_rows() == []
    assert our_vpcs(ledger) == []


def copy_of(ledger: Ledger, vpc_id: str) -> str:
    """A VPC made by hand with all tags of ours, as the console's "Launch more like this" does."""
    ec2 = ledger.client("ec2")
    tags = ec2.describe_vpcs(VpcIds=[vpc_id])["Vpcs"][0]["Tags"]
    specification = [{"ResourceType": "vpc", "Tags": tags}]
    return ec2.create_vpc(CidrBlock="10.10.0.0/23", TagSpecifications=specification)["Vpc"]["VpcId"]


def test_of_two_that_an_unknown_call_has_made_one_is_left(ledger: Ledger) -> None:
    copy_of(ledger, make_vpc(ledger))
    row = ledger.journal.open_rows()[0]
    row.state, row.ids = "creating", {}
    ledger.journal.save()
    assert len(our_vpcs(ledger)) == 2
    assert [make_vpc(again(ledger))] == our_vpcs(ledger)


def test_what_was_made_by_hand_with_the_tags_of_a_standing_row_stays(
    ledger: Ledger, wire: Wire, caplog: pytest.LogCaptureFixture
) -> None:
    vpc_id = make_vpc(ledger)
    copy = copy_of(ledger, vpc_id)
    wire.calls.clear()
    assert make_vpc(again(ledger)) == vpc_id
    assert wire.changed == []
    assert f"{copy} carries the mark of {vpc_id}" in caplog.text


def test_a_copy_is_not_taken_for_what_was_deleted_by_hand(ledger: Ledger) -> None:
    vpc_id = make_vpc(ledger)
    copy = copy_of(ledger, vpc_id)
    ledger.client("ec2").delete_vpc(VpcId=vpc_id)
    anew = make_vpc(again(ledger))
    assert anew not in (vpc_id, copy)
    assert sorted(our_vpcs(ledger)) == sorted([anew, copy])


def test_down_deletes_its_own_and_names_what_carries_a_copied_mark(ledger: Ledger) -> None:
    copy = copy_of(ledger, make_vpc(ledger))
    with pytest.raises(StillStanding) as left:
        again(ledger).down()
    assert left.value.exit_code == 3
    assert copy in left.value.why
    assert left.value.fix.startswith("python -m awslabs.ledger recover ec2")
    assert our_vpcs(ledger) == [copy]
    assert again(ledger).journal.open_rows() == []


def test_a_gateway_that_was_moved_to_another_vpc_is_not_taken_off_it(ledger: Ledger) -> None:
    ids, ec2 = build(ledger), ledger.client("ec2")
    gateway = {"InternetGatewayId": ids["internet-gateway"]}
    theirs = ec2.create_vpc(CidrBlock="10.99.0.0/24")["Vpc"]["VpcId"]
    ec2.detach_internet_gateway(**gateway, VpcId=ids["vpc"])
    ec2.attach_internet_gateway(**gateway, VpcId=theirs)
    ledger.patience = 0.0
    with pytest.raises(StillStanding, match="1 of the lab's resources"):
        ledger.down()
    (shown,) = ec2.describe_internet_gateways(InternetGatewayIds=[gateway["InternetGatewayId"]])[
        "InternetGateways"
    ]
    assert [tie["VpcId"] for tie in shown["Attachments"]] == [theirs]


def test_a_join_to_what_no_row_holds_is_not_made(ledger: Ledger, wire: Wire) -> None:
    ids, ec2 = build(ledger), ledger.client("ec2")
    theirs = ec2.create_vpc(CidrBlock="10.99.0.0/24")["Vpc"]["VpcId"]
    rows, calls = len(ledger.journal.rows), len(wire.calls)
    with pytest.raises(LedgerError, match="would tie what this ledger does not hold"):
        ledger.create(
            "another", ec2.attach_internet_gateway, InternetGatewayId=ids["internet-gateway"], VpcId=theirs
        )
    assert (len(ledger.journal.rows), len(wire.calls)) == (rows, calls)


def test_a_join_of_what_no_row_holds_is_left_alone(ledger: Ledger) -> None:
    ids, ec2 = build(ledger), ledger.client("ec2")
    theirs = {
        "InternetGatewayId": ec2.create_internet_gateway()["InternetGateway"]["InternetGatewayId"],
        "VpcId": ec2.create_vpc(CidrBlock="10.99.0.0/24")["Vpc"]["VpcId"],
    }
    ec2.attach_internet_gateway(**theirs)
    row = ledger.journal.last("gateway-attachment")
    assert row is not None
    row.ids = theirs  # a file that was changed by hand
    ledger.journal.save()
    with pytest.raises(StillStanding, match="gateway-attachment") as left:
        again(ledger).down()
    assert "--force-row ec2 gateway-attachment" in left.value.fix
    gateways = ec2.describe_internet_gateways(InternetGatewayIds=[theirs["InternetGatewayId"]])
    assert gateways["InternetGateways"][0]["Attachments"][0]["VpcId"] == theirs["VpcId"]
    assert ids["vpc"] in our_vpcs(ledger)


def test_a_refusal_after_a_lost_answer_does_not_close_what_stands(
    ledger: Ledger, wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first try took effect unseen, the second was refused: the row must not be called refused."""
    ec2, look = ledger.client("ec2"), KINDS["ec2:CreateSecurityGroup"].look
    vpc_id, late = make_vpc(ledger), [True]
    unseen = dataclasses.replace(
        KINDS["ec2:CreateSecurityGroup"],
        look=lambda client, row: [] if late and late.pop() else look(client, row),  # not visible at once
    )
    monkeypatch.setitem(KINDS, "ec2:CreateSecurityGroup", unseen)
    wire.fail("CreateSecurityGroup", Call.lose)
    wire.refuse("CreateSecurityGroup", "UnauthorizedOperation", 403)
    ledger.create("group", ec2.create_security_group, VpcId=vpc_id, GroupName="g", Description="d")
    again(ledger).down()
    assert our_vpcs(ledger) == []


# -- What AWS refuses ----------------------------------------------------------------------------------------


def test_a_refusal_leaves_no_open_row(ledger: Ledger, wire: Wire) -> None:
    wire.refuse("CreateVpc", "VpcLimitExceeded", message="The maximum number of VPCs has been reached.")
    with pytest.raises(AwsError) as refused:
        make_vpc(ledger)
    assert (refused.value.code, refused.value.operation) == ("VpcLimitExceeded", "ec2:CreateVpc")
    assert "L-F678F1CE" in refused.value.fix
    assert again(ledger).journal.open_rows() == []


def test_no_capacity_is_a_refusal_at_once(ledger: Ledger, wire: Wire) -> None:
    wire.refuse("CreateVpc", "InsufficientInstanceCapacity", 500)
    with pytest.raises(AwsError, match="InsufficientInstanceCapacity"):
        make_vpc(ledger)
    assert wire.changed == ["CreateVpc"]
    assert again(ledger).journal.open_rows() == []


@pytest.mark.parametrize(
    ("code", "status"),
    [("RequestLimitExceeded", 503), ("InternalError", 500), ("InvalidVpcID.NotFound", 400)],
)
def test_what_passes_is_tried_again(code: str, status: int, ledger: Ledger, wire: Wire) -> None:
    for _ in range(3):
        wire.refuse("CreateSubnet", code, status)
    build(ledger)
    assert wire.changed.count("CreateSubnet") == 4
    assert len(our_vpcs(ledger)) == 1


def test_throttling_that_does_not_end_is_an_error_and_nothing_is_lost(
    ledger: Ledger, wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Ledger, "patience", 0.0)
    wire.refuse("CreateVpc", "RequestLimitExceeded", 503)
    with pytest.raises(AwsError, match="RequestLimitExceeded"):
        make_vpc(ledger)
    make_vpc(again(ledger))
    assert len(our_vpcs(ledger)) == 1


def test_a_name_that_somebody_else_has_is_never_adopted(ledger: Ledger) -> None:
    ec2 = ledger.client("ec2")
    vpc_id = make_vpc(ledger)
    theirs = ec2.create_security_group(GroupName="shared", Description="theirs", VpcId=vpc_id)["GroupId"]
    with pytest.raises(AwsError, match="InvalidGroup.Duplicate"):
        ledger.create(
            "group", ec2.create_security_group, VpcId=vpc_id, GroupName="shared", Description="ours"
        )
    ec2.delete_security_group(GroupId=theirs)  # it is still there to be deleted


def test_a_call_without_an_entry_is_refused_before_it_is_sent(ledger: Ledger, wire: Wire) -> None:
    with pytest.raises(LedgerError, match="ec2:CreatePlacementGroup"):
        ledger.create("group", ledger.client("ec2").create_placement_group, GroupName="close")
    assert wire.changed == []


@pytest.mark.parametrize("call", KINDS)
def test_what_a_second_call_would_make_twice_is_not_sent_again_unseen(call: str) -> None:
    """Without a client token, a name of our own or "there is one already", only looking tells."""
    kind, (service, operation) = KINDS[call], call.split(":")
    asked = botocore.session.get_session().get_service_model(service).operation_model(operation).input_shape
    token = any(member.metadata.get("idempotencyToken") for member in asked.members.values())
    assert kind.not_idempotent is not bool(token or kind.named or kind.taken or kind.join)


# -- Down ------------------------------------------------------------------------------------------------


def test_down_goes_in_the_order_that_aws_demands(ledger: Ledger, wire: Wire) -> None:
    build(ledger)
    wire.calls.clear()
    ledger.down()
    order = {name: wire.changed.index(name) for name in wire.changed}
    assert order["DetachInternetGateway"] < order["DeleteInternetGateway"]
    assert order["DeleteSecurityGroup"] < order["DetachInternetGateway"]  # came later and reaches the VPC
    others = {name: at for name, at in order.items() if name not in ("DeleteVpc", "DeleteInternetGateway")}
    assert max(others.values()) < order["DeleteVpc"]


def test_the_gateway_leaves_the_vpc_only_after_the_server(ledger: Ledger) -> None:
    ids = build(ledger)
    rows = {row.name: row.number for row in ledger.journal.open_rows()}
    instance = journal.Row(number=0, name="instance", call="ec2:RunInstances", token="t")
    instance.needs = ledger._needs({"SubnetId": ids["subnet"]})
    ledger.journal.add(instance)
    before = ledger.order(ledger.journal.open_rows())
    assert instance.number in before[rows["subnet"]]
    assert instance.number in before[rows["gateway-attachment"]]
    assert instance.number not in before[rows["internet-gateway"]]


def test_needs_are_found_inside_json_text(ledger: Ledger) -> None:
    vpc_id = make_vpc(ledger)
    policy = json.dumps({"Statement": [{"Resource": f"arn:aws:ec2:us-east-1:1:vpc/{vpc_id}"}]})
    assert ledger._needs({"Nested": [{"PolicyDocument": policy}]}) == [1]
    assert ledger._needs({"Nested": ["vpc-0"]}) == []


def test_down_goes_past_what_it_cannot_delete_and_says_what_stands(ledger: Ledger, wire: Wire) -> None:
    ids = build(ledger)
    wire.refuse(
        "DeleteSubnet", "UnauthorizedOperation", 403, "You are not authorized to perform this operation."
    )
    with pytest.raises(StillStanding) as left:
        ledger.down()
    assert left.value.exit_code == 3
    assert ids["subnet"] in left.value.why
    assert "ec2:DeleteSubnet" in left.value.why
    assert "security-group" not in ledger.resources
    again(ledger).down()
    assert our_vpcs(ledger) == []


def test_down_waits_while_something_is_still_in_use(ledger: Ledger, wire: Wire) -> None:
    build(ledger)
    for _ in range(3):
        wire.refuse("DeleteSubnet", "DependencyViolation", message="has dependencies")
    ledger.down()
    assert wire.changed.count("DeleteSubnet") == 4
    assert our_vpcs(ledger) == []


def test_a_dry_run_says_what_would_go_and_changes_nothing(ledger: Ledger, wire: Wire) -> None:
    build(ledger)
    wire.calls.clear()
    assert [row.name for row in ledger.down(dry_run=True)][-1] == "vpc"
    assert wire.changed == []


def test_a_deletion_that_does_not_happen_is_not_called_gone(
    ledger: Ledger, wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_vpc(ledger)
    monkeypatch.setattr("awslabs.ledger.GONE_S", 0.2)
    wire.fail("DeleteVpc", lambda call: {})  # a 200 that did nothing
    with pytest.raises(StillStanding, match="1 of the lab's resources"):
        ledger.down()
    again(ledger).down()
    assert our_vpcs(ledger) == []


def test_an_interrupted_down_is_finished_by_the_next(ledger: Ledger, wire: Wire) -> None:
    build(ledger)

    def interrupt(call: Call) -> Any:
        raise KeyboardInterrupt

    wire.fail("DeleteSubnet", interrupt)
    with pytest.raises(KeyboardInterrupt):
        ledger.down()
    again(ledger).down()
    assert our_vpcs(ledger) == []


# -- Ensure ----------------------------------------------------------------------------------------------


def rule(cidr: str) -> dict[str, Any]:
    ranges = [{"CidrIp": cidr, "Description": "awslabs SSH"}]
    return {"IpPermissions": [{"IpProtocol": "tcp", "FromPort": 22, "ToPort": 22, "IpRanges": ranges}]}


def test_an_older_address_of_ours_is_revoked_and_a_rule_by_hand_stays(ledger: Ledger) -> None:
    ids, ec2 = build(ledger), ledger.client("ec2")
    group_id = ids["security-group"]
    by_hand = {"IpProtocol": "tcp", "FromPort": 22, "ToPort": 22, "IpRanges": [{"CidrIp": "192.0.2.1/32"}]}
    ec2.authorize_security_group_ingress(GroupId=group_id, IpPermissions=[by_hand])
    assert ensure(ec2.authorize_security_group_ingress, GroupId=group_id, **rule("198.51.100.1/32"))
    assert ensure(ec2.authorize_security_group_ingress, GroupId=group_id, **rule("198.51.100.2/32"))
    assert not ensure(ec2.authorize_security_group_ingress, GroupId=group_id, **rule("198.51.100.2/32"))
    (permission,) = ec2.describe_security_groups(GroupIds=[group_id])["SecurityGroups"][0]["IpPermissions"]
    assert {one["CidrIp"] for one in permission["IpRanges"]} == {"192.0.2.1/32", "198.51.100.2/32"}


def test_a_route_changed_by_hand_is_put_right(ledger: Ledger) -> None:
    ids, ec2 = build(ledger), ledger.client("ec2")
    (table,) = ec2.describe_route_tables(Filters=[{"Name": "vpc-id", "Values": [ids["vpc"]]}])["RouteTables"]
    wanted = {
        "RouteTableId": table["RouteTableId"],
        "DestinationCidrBlock": "0.0.0.0/0",
        "GatewayId": ids["internet-gateway"],
    }
    assert ensure(ec2.create_route, **wanted)
    assert not ensure(ec2.create_route, **wanted)
    other = ec2.create_internet_gateway()["InternetGateway"]["InternetGatewayId"]
    ec2.replace_route(**{**wanted, "GatewayId": other})
    assert ensure(ec2.create_route, **wanted)
    (table,) = ec2.describe_route_tables(RouteTableIds=[table["RouteTableId"]])["RouteTables"]
    assert ids["internet-gateway"] in [route.get("GatewayId") for route in table["Routes"]]


# -- The file ----------------------------------------------------------------------------------------------


def test_the_file_is_private_and_holds_no_request(ledger: Ledger) -> None:
    ec2 = ledger.client("ec2")
    ledger.create(
        "key", ec2.import_key_pair, KeyName="k", PublicKeyMaterial=tunnel.public_key(ledger.directory)
    )
    text = ledger.journal.path.read_text()
    assert ledger.journal.path.stat().st_mode & 0o777 == 0o600
    assert "ssh-ed25519" not in text


def test_every_folder_on_the_way_to_a_file_is_the_user_s_alone(tmp_path: Path) -> None:
    """Whoever may write into one of them could put ledgers of their own in place of what it holds."""
    before = os.umask(0)
    try:
        journal.write(tmp_path / "school" / "127.0.0.1-4566" / "class" / "a.json", "{}")
    finally:
        os.umask(before)
    made = [tmp_path / "school", *(tmp_path / "school").rglob("*")]
    assert [oct(path.stat().st_mode & 0o777) for path in made] == ["0o700", "0o700", "0o700", "0o600"]


def test_a_damaged_file_is_left_as_it_is_and_stops_up_and_down(ledger: Ledger, wire: Wire) -> None:
    build(ledger)
    ledger.journal.path.write_text('{"rows": [')
    wire.calls.clear()
    with pytest.raises(LedgerError, match="damaged") as damaged:
        again(ledger)
    assert "python -m awslabs.ledger recover" in damaged.value.fix
    assert ledger.journal.path.read_text() == '{"rows": ['
    assert wire.changed == []


def test_a_ledger_is_not_touched_with_another_account(ledger: Ledger) -> None:
    build(ledger)
    ledger.cloud.identity["account"] = "999999999999"
    theirs = again(ledger)
    assert theirs.resources == {}  # another file
    theirs.journal.path.write_text(ledger.journal.path.read_text())
    with pytest.raises(journal.Damaged, match="says account"):
        again(ledger)


def test_a_full_disk_stops_create_before_the_call(
    ledger: Ledger, wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_vpc(ledger)
    before = ledger.journal.path.read_text()

    def full(path: Path, text: str) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(journal, "write", full)
        with pytest.raises(LedgerError, match="could not be written"):
            ledger.create("internet-gateway", ledger.client("ec2").create_internet_gateway)
    assert wire.changed == ["CreateVpc"]
    assert ledger.journal.path.read_text() == before
    assert list(ledger.resources) == ["vpc"]


def test_down_deletes_on_a_full_disk_and_says_so(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    build(ledger)

    def full(path: Path, text: str) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched, caplog.at_level(logging.WARNING):
        patched.setattr(journal, "write", full)
        ledger.down()
    assert our_vpcs(ledger) == []
    assert caplog.text.count("could not be written") == 1
    again(ledger).down()  # the file still shows the rows: they are found to be gone
    assert again(ledger).journal.open_rows() == []


def test_a_ledger_in_use_says_who_holds_it(ledger: Ledger) -> None:
    other = again(ledger)
    with ledger.locked("up"), pytest.raises(LedgerError, match="in use") as held:
        other.down()
    assert "`up`, process" in held.value.why


def test_while_down_runs_new_work_of_the_same_process_is_refused(ledger: Ledger) -> None:
    with ledger.locked("down"), pytest.raises(LedgerError, match="in use"):
        make_vpc(ledger)


def test_threads_that_create_at_once_get_one_row_each(ledger: Ledger) -> None:
    ec2 = ledger.client("ec2")
    threads = [
        threading.Thread(target=ledger.create, args=(f"gateway-{number}", ec2.create_internet_gateway))
        for number in range(20)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    rows = again(ledger).journal.open_rows()
    assert sorted(row.number for row in rows) == list(range(1, 21))
    assert {row.state for row in rows} == {"standing"}


def test_temporary_files_of_a_killed_process_are_cleaned_up(ledger: Ledger) -> None:
    make_vpc(ledger)
    left = ledger.journal.path.parent / f".{ledger.journal.path.stem}-killed"
    left.write_text("half")
    make_vpc(again(ledger))
    assert not left.exists()


def test_a_bad_name_is_refused(ledger: Ledger) -> None:
    with pytest.raises(LedgerError, match="--name second"):
        Ledger(ledger.cloud, "ec2", "../../etc")


def test_the_operation_is_read_off_the_method(ledger: Ledger) -> None:
    assert operation(ledger.client("ec2").create_vpc) == "ec2:CreateVpc"


def test_what_a_lab_has_cost_is_kept_after_down(ledger: Ledger) -> None:
    make_vpc(ledger)
    ledger.down()
    row = ledger.journal.rows[0]
    row.usd_per_hour, row.made, row.ended = 36.0, "2026-11-21T10:00:00.000Z", "2026-11-21T10:01:40.000Z"
    assert ledger.usd_so_far == pytest.approx(1.0)
    ledger.journal.start_over(ledger.usd_so_far)
    assert ledger.usd_so_far == pytest.approx(1.0)


# -- In a notebook ------------------------------------------------------------------------------------------


def test_a_ledger_shows_itself_as_a_table_of_what_stands(ledger: Ledger, wire: Wire) -> None:
    assert "Nothing stands." in ledger._repr_html_()
    vpc_id = make_vpc(ledger)
    wire.calls.clear()
    ledger.journal.rows[0].usd_per_hour = None
    html = ledger._repr_html_()
    assert f"<td>vpc</td><td>standing</td><td>{vpc_id}</td><td>?</td>" in html
    assert "<td>ec2</td><td>default</td><td>aws</td>" in html
    ledger.journal.header["owner"] = ledger.journal.rows[0].name = "<script>"
    assert "<script>" not in ledger._repr_html_()
    assert wire.changed == []


def test_lab_opens_one_of_the_five_and_names_them_all_otherwise(wire: Wire) -> None:
    assert awslabs.lab("ec2", name="second").journal.header["name"] == "second"
    with pytest.raises(LabError, match="There is no lab 'ec3'") as refused:
        awslabs.lab("ec3")
    assert all(lab in refused.value.why for lab in LABS)
    with pytest.raises(TypeError, match="sandox"):
        awslabs.lab("ec2", sandox=True)  # type: ignore[call-arg]


@pytest.mark.parametrize(
    "option", [{"sandbox": "no"}, {"region": 1}, {"name": None}, {"owner": ["ben"]}], ids=str
)
def test_lab_takes_no_option_of_another_type(option: dict[str, Any], wire: Wire) -> None:
    ((name, value),) = option.items()
    with pytest.raises(LabError, match=re.escape(f"{name} is {value!r}")):
        awslabs.lab("ec2", **option)
