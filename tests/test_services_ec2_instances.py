"""The rules of an instance's life: each state in its time, and what the instance keeps until it is over."""

from __future__ import annotations

import base64
import threading
from collections.abc import Callable
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError
from moto import mock_aws
from moto.ec2.models import ec2_backends
from test_services_support import (
    Case,
    Net,
    check,
    client,
    cloud,
    frozen,
    image_id,
    instance,
    net,
    refused,
    said,
    state,
    table,
    wait,
)

from awslabs.sandbox import rules
from awslabs.sandbox.core import engine
from awslabs.sandbox.services.ec2 import power

ON_AWS = (("slow_states", 1.0),)


def states_right_after_launch() -> str:
    return state(net().launch()["InstanceId"])


def a_group_while_shutting_down() -> list[str]:
    here, ec2 = net(), client("ec2")
    instance_id = here.launch()["InstanceId"]
    ec2.terminate_instances(InstanceIds=[instance_id])
    return [state(instance_id), instance(instance_id)["StateReason"]["Code"]]


def starting_the_dead() -> list[str]:
    instance_id, ec2 = net().launch()["InstanceId"], client("ec2")
    ec2.terminate_instances(InstanceIds=[instance_id])
    asked = {"InstanceIds": [instance_id]}
    return [
        said(method, **asked) for method in (ec2.start_instances, ec2.stop_instances, ec2.reboot_instances)
    ]


def an_hour_after_the_end() -> str:
    instance_id, ec2 = net().launch()["InstanceId"], client("ec2")
    ec2.terminate_instances(InstanceIds=[instance_id])
    ec2.describe_instances()
    wait(3601)
    return said(ec2.describe_instances, InstanceIds=[instance_id])


def what_terminate_says_the_second_time() -> str:
    instance_id, ec2 = net().launch()["InstanceId"], client("ec2")
    ec2.terminate_instances(InstanceIds=[instance_id])
    ec2.describe_instances()
    return ec2.terminate_instances(InstanceIds=[instance_id])["TerminatingInstances"][0]["CurrentState"][
        "Name"
    ]


def first_status_check() -> str:
    instance_id = net().launch()["InstanceId"]
    return client("ec2").describe_instance_status(InstanceIds=[instance_id])["InstanceStatuses"][0][
        "InstanceStatus"
    ]["Status"]


def what_finds_an_instance_afterwards() -> list[int]:
    here, ec2 = net(), client("ec2")
    instance_id = here.launch()["InstanceId"]
    of_it = {"vpc-id": here.vpc_id, "ip-address": instance(instance_id)["PublicIpAddress"]}
    ec2.terminate_instances(InstanceIds=[instance_id])
    asked = [[{"Name": name, "Values": [value]}] for name, value in of_it.items()]
    found = [len(ec2.describe_instances(Filters=each)["Reservations"]) for each in asked]
    return [*found, len(instance(instance_id)["NetworkInterfaces"])]


def interfaces_afterwards() -> list[Any]:
    here, ec2 = net(), client("ec2")
    tags = [{"ResourceType": "network-interface", "Tags": [{"Key": "lab", "Value": "1"}]}]
    instance_id = here.launch(TagSpecifications=tags)["InstanceId"]
    before = ec2.describe_network_interfaces()["NetworkInterfaces"][0]["TagSet"]
    ec2.terminate_instances(InstanceIds=[instance_id])
    return [before, len(ec2.describe_network_interfaces()["NetworkInterfaces"])]


def groups_of_an_interface() -> list[int]:
    here = net()
    nic = {"DeviceIndex": 0, "SubnetId": here.subnet_id, "Groups": [here.group_id]}
    with_interface = here.launch(NetworkInterfaces=[nic], SubnetId=None, SecurityGroupIds=None)
    with_nothing = here.launch(SecurityGroupIds=None)
    return [len(each["SecurityGroups"]) for each in (with_interface, with_nothing)]


def another_shutdown_behaviour() -> list[Any]:
    instance_id, ec2 = net().launch()["InstanceId"], client("ec2")
    terminate = {"Value": "terminate"}
    ec2.modify_instance_attribute(InstanceId=instance_id, InstanceInitiatedShutdownBehavior=terminate)
    asked = {"InstanceId": instance_id, "Attribute": "instanceInitiatedShutdownBehavior"}
    shown = ec2.describe_instance_attribute(**asked)["InstanceInitiatedShutdownBehavior"]["Value"]
    return [shown, len(instance(instance_id)["SecurityGroups"])]


def another_group() -> list[bool]:
    here, ec2 = net(), client("ec2")
    other = ec2.create_security_group(VpcId=here.vpc_id, GroupName="other", Description="x")["GroupId"]
    instance_id = here.launch()["InstanceId"]
    ec2.modify_instance_attribute(InstanceId=instance_id, Groups=[other])
    shown = instance(instance_id)
    return [
        [each["GroupId"] for each in groups] == [other]
        for groups in (shown["SecurityGroups"], shown["NetworkInterfaces"][0]["Groups"])
    ]


def another_type_while_it_runs() -> str:
    instance_id = net().launch()["InstanceId"]
    larger = {"InstanceId": instance_id, "InstanceType": {"Value": "t3.large"}}
    return said(client("ec2").modify_instance_attribute, **larger)


def console() -> str:
    text = client("ec2").get_console_output(InstanceId=net().launch()["InstanceId"]).get("Output", "")
    return text[:13]


def latest_console_of_an_old_type() -> str:
    instance_id = net().launch(InstanceType="t2.micro")["InstanceId"]
    return said(client("ec2").get_console_output, InstanceId=instance_id, Latest=True)


def credits() -> list[str]:
    here = net()
    asked = {"CreditSpecification": {"CpuCredits": "standard"}}
    ids = [here.launch(**more)["InstanceId"] for more in ({}, asked, {"InstanceType": "t2.micro"})]
    shown = client("ec2").describe_instance_credit_specifications(InstanceIds=ids)[
        "InstanceCreditSpecifications"
    ]
    by_id = {each["InstanceId"]: each["CpuCredits"] for each in shown}
    return [by_id[each] for each in ids]


def found_by_token() -> int:
    here = net()
    here.launch(ClientToken="one")
    here.launch(ClientToken="two")
    by_token = [{"Name": "client-token", "Values": ["two"]}]
    return len(client("ec2").describe_instances(Filters=by_token)["Reservations"])


CASES = (
    Case("instances_take_time", states_right_after_launch, "running", "pending", ON_AWS),
    Case(
        "instances_take_time",
        a_group_while_shutting_down,
        ["terminated", "Client.UserInitiatedShutdown"],
        ["shutting-down", "Client.UserInitiatedShutdown"],
        ON_AWS,
    ),
    Case("instances_take_time", starting_the_dead, ["ok"] * 3, ["IncorrectInstanceState"] * 3),
    Case("instances_take_time", an_hour_after_the_end, "ok", "InvalidInstanceID.NotFound"),
    Case("instances_take_time", what_terminate_says_the_second_time, "shutting-down", "terminated"),
    Case("status_checks", first_status_check, "ok", "initializing", ON_AWS),
    Case("terminated_are_bare", what_finds_an_instance_afterwards, [1, 0, 1], [0, 0, 0]),
    Case("interfaces_go_with_instance", interfaces_afterwards, [[], 1], [[{"Key": "lab", "Value": "1"}], 0]),
    Case("groups_of_the_interface", groups_of_an_interface, [0, 0], [1, 1]),
    Case("instance_attributes", another_shutdown_behaviour, ["stop", 0], ["terminate", 1]),
    Case("instance_attributes", another_group, [True, False], [True, True]),
    Case("instance_attributes", another_type_while_it_runs, "ok", "IncorrectInstanceState"),
    Case("console_output", console, "Linux version", ""),
    Case("console_output", latest_console_of_an_old_type, "ok", "UnsupportedOperation"),
    Case("cpu_credits", credits, ["standard"] * 3, ["unlimited", "standard", "standard"]),
    Case("instance_filters", found_by_token, "NotImplementedError", 1),
)


@table(*CASES)
def test_moto_lets_it_pass_and_aws_does_not(case: Case) -> None:
    check(case)


def test_an_instance_lives_in_its_own_time() -> None:
    with cloud(every=True, slow_states=1.0):
        instance_id, ec2 = net().launch()["InstanceId"], client("ec2")
        seen = [state(instance_id)]
        for seconds in (4.9, 0.2):
            wait(seconds)
            seen.append(state(instance_id))
        answer = ec2.terminate_instances(InstanceIds=[instance_id])["TerminatingInstances"][0]
        seen.append(f"{answer['PreviousState']['Name']} to {answer['CurrentState']['Name']}")
        for seconds in (4.9, 0.2):
            wait(seconds)
            seen.append(state(instance_id))
        assert seen == [
            "pending",
            "pending",
            "running",
            "running to shutting-down",
            "shutting-down",
            "terminated",
        ]


def test_time_is_what_the_weather_says() -> None:
    with cloud(every=True, slow_states=0.2):
        instance_id = net().launch()["InstanceId"]
        wait(0.9)
        assert state(instance_id) == "pending"
        wait(0.2)
        assert state(instance_id) == "running"


def test_an_instance_ended_while_pending_never_runs() -> None:
    with cloud(every=True, slow_states=1.0):
        instance_id, ec2 = net().launch()["InstanceId"], client("ec2")
        wait(4)
        ec2.terminate_instances(InstanceIds=[instance_id])
        wait(2)
        assert state(instance_id) == "shutting-down"
        wait(3.1)
        assert state(instance_id) == "terminated"


def test_everything_is_still_refused_while_it_shuts_down() -> None:
    with cloud(every=True, slow_states=1.0):
        here, ec2 = net(), client("ec2")
        instance_id = here.launch()["InstanceId"]
        wait(5)
        ec2.terminate_instances(InstanceIds=[instance_id])

        def deletions() -> list[str]:
            return [
                said(ec2.delete_security_group, GroupId=here.group_id),
                said(ec2.delete_subnet, SubnetId=here.subnet_id),
                said(ec2.detach_internet_gateway, InternetGatewayId=here.gateway_id, VpcId=here.vpc_id),
            ]

        assert deletions() == ["DependencyViolation"] * 3
        assert len(ec2.describe_volumes()["Volumes"]) == 1
        wait(5.1)
        assert deletions() == ["ok"] * 3
        assert ec2.describe_volumes()["Volumes"] == []


def test_stopping_and_starting_take_their_time_too() -> None:
    with cloud(every=True, slow_states=1.0):
        instance_id, ec2 = net().launch()["InstanceId"], client("ec2")
        asked = {"InstanceIds": [instance_id]}
        assert said(ec2.stop_instances, **asked) == "IncorrectInstanceState"  # pending
        wait(5)
        assert ec2.stop_instances(**asked)["StoppingInstances"][0]["CurrentState"]["Name"] == "stopping"
        assert "PublicIpAddress" not in instance(instance_id)
        assert said(ec2.start_instances, **asked) == "IncorrectInstanceState"  # stopping
        wait(5.1)
        assert state(instance_id) == "stopped"
        assert said(ec2.stop_instances, **asked) == "ok"  # again: nothing happens
        assert ec2.start_instances(**asked)["StartingInstances"][0]["CurrentState"]["Name"] == "pending"
        wait(5.1)
        assert state(instance_id) == "running"
        assert instance(instance_id)["PublicIpAddress"] == "127.0.0.1"
        assert said(ec2.start_instances, **asked) == "ok"
        assert said(ec2.reboot_instances, **asked) == "ok"
        assert state(instance_id) == "running"


def test_status_checks_pass_after_two_minutes() -> None:
    with cloud(every=True, slow_states=1.0):
        instance_id, ec2 = net().launch()["InstanceId"], client("ec2")
        seen = []
        for seconds in (1, 5, 118, 3):
            wait(seconds)
            shown = ec2.describe_instance_status(InstanceIds=[instance_id], IncludeAllInstances=True)
            status = shown["InstanceStatuses"][0]
            seen.append((status["InstanceStatus"]["Status"], status["SystemStatus"]["Status"]))
        assert seen == [
            ("not-applicable", "not-applicable"),
            ("initializing", "initializing"),
            ("initializing", "initializing"),
            ("ok", "ok"),
        ]


def test_an_interface_that_was_there_before_outlives_the_instance() -> None:
    with cloud(every=True):
        here, ec2 = net(), client("ec2")
        eni_id = ec2.create_network_interface(SubnetId=here.subnet_id)["NetworkInterface"][
            "NetworkInterfaceId"
        ]
        nic = {"DeviceIndex": 0, "NetworkInterfaceId": eni_id}
        instance_id = here.launch(NetworkInterfaces=[nic], SubnetId=None, SecurityGroupIds=None)["InstanceId"]
        ec2.terminate_instances(InstanceIds=[instance_id])
        left = ec2.describe_network_interfaces()["NetworkInterfaces"]
        assert [(each["NetworkInterfaceId"], each["Status"]) for each in left] == [(eni_id, "available")]
        assert said(ec2.delete_network_interface, NetworkInterfaceId=eni_id) == "ok"


def test_an_address_is_free_again_after_the_end() -> None:
    with cloud(every=True):
        here, ec2 = net(cidr="10.10.0.0/28"), client("ec2")
        ids = [here.launch()["InstanceId"] for _ in range(11)]
        assert refused(here.launch)[0] == "InsufficientFreeAddressesInSubnet"
        ec2.terminate_instances(InstanceIds=ids[:1])
        assert here.launch()["PrivateIpAddress"].startswith("10.10.0.")


def test_one_wrong_id_fails_the_whole_termination() -> None:
    with cloud(every=True):
        instance_id, ec2 = net().launch()["InstanceId"], client("ec2")
        both = {"InstanceIds": [instance_id, "i-0123456789abcdef0"]}
        assert said(ec2.terminate_instances, **both) == "InvalidInstanceID.NotFound"
        assert state(instance_id) == "running"


def test_the_tags_of_volumes_and_interfaces_go_with_the_instance() -> None:
    with cloud(every=True):
        kinds = ("instance", "volume", "network-interface")
        tags = [{"ResourceType": kind, "Tags": [{"Key": "lab", "Value": kind}]} for kind in kinds]
        instance_id, ec2 = net().launch(TagSpecifications=tags)["InstanceId"], client("ec2")
        assert {tag["Value"] for tag in ec2.describe_tags()["Tags"]} == set(kinds)
        ec2.terminate_instances(InstanceIds=[instance_id])
        assert {tag["Value"] for tag in ec2.describe_tags()["Tags"]} == {"instance"}
        wait(3601)
        assert ec2.describe_tags()["Tags"] == []


# --- with hosts ---------------------------------------------------------------------------------------


class FakeHosts:
    """Hosts that note what is asked of them; `gate` holds an end back, `slow_boot` a boot."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, str]] = []
        self.machines: dict[str, dict[str, Any]] = {}
        self.doors: dict[str, bool] = {}
        self.told: list[str] = []
        self.happened = threading.Condition()
        self.gate, self.slow_boot = threading.Event(), threading.Event()
        self.gate.set()
        self.slow_boot.set()

    def done(self) -> list[str]:
        return [what for what, _ in self.calls if what != "booting"]

    def note(self, what: str, instance_id: str) -> None:
        with self.happened:
            self.calls.append((what, instance_id))
            self.happened.notify_all()

    def wait_for(self, what: str, instance_id: str) -> None:
        with self.happened:
            assert self.happened.wait_for(lambda: (what, instance_id) in self.calls, timeout=120), self.calls

    def reserve(self, instance_id: str) -> int:
        self.note("reserve", instance_id)
        return 40000 + len(self.calls)

    def let_in(self, instance_id: str, lets_in: bool) -> None:
        self.told.append(instance_id)
        self.doors[instance_id] = lets_in

    def boot(self, instance_id: str, **machine: Any) -> None:
        self.machines[instance_id] = machine
        self.note("booting", instance_id)
        self.slow_boot.wait(120)
        self.note("boot", instance_id)

    def console(self, instance_id: str) -> str:
        return "-----BEGIN SSH HOST KEY FINGERPRINTS-----\n" if instance_id in self.machines else ""

    def halt(self, instance_id: str) -> None:
        self.gate.wait(120)
        self.note("halt", instance_id)

    def reboot(self, instance_id: str) -> None:
        self.note("reboot", instance_id)

    def stop(self, instance_id: str) -> None:
        self.gate.wait(120)
        self.note("stop", instance_id)

    def power(self, instance_id: str, what: str) -> None:
        """The instance itself orders something, from a thread of its own."""
        thread = threading.Thread(target=self.machines[instance_id]["on_power"], args=(what,))
        thread.start()
        thread.join()


@pytest.fixture
def hosts() -> Any:
    """All rules, with hosts behind them, in weather where nothing takes time."""
    fake = FakeHosts()
    with frozen(), rules.installed(fake), mock_aws():
        yield fake
        fake.gate.set()
        fake.slow_boot.set()


def eventually(look: Callable[[], Any], wanted: Any) -> None:
    """Look until what is seen is what is wanted, at most two minutes; the practice cloud's clock moves on."""
    never = threading.Event()
    for _ in range(12_000):
        if look() == wanted:
            return
        never.wait(0.01)
        wait(0.01)
    assert look() == wanted


def test_an_instance_of_a_launch_template_boots_with_the_templates_script(hosts: FakeHosts) -> None:
    here, ec2 = net(), client("ec2")
    script = b"#!/bin/sh\necho template\n"
    template = {"ImageId": image_id(), "UserData": base64.b64encode(script).decode()}
    ec2.create_launch_template(LaunchTemplateName="lab", LaunchTemplateData=template)
    instance_id = here.launch(LaunchTemplate={"LaunchTemplateName": "lab"}, ImageId=None)["InstanceId"]
    hosts.wait_for("boot", instance_id)
    assert hosts.machines[instance_id]["user_data"] == script


def test_an_instance_boots_as_a_host_with_its_key_its_name_and_its_script(hosts: FakeHosts) -> None:
    here, ec2 = net(), client("ec2")
    ec2.create_key_pair(KeyName="lab", KeyType="ed25519")
    public = ec2.describe_key_pairs(IncludePublicKey=True)["KeyPairs"][0]["PublicKey"]
    shown = here.launch(KeyName="lab", UserData="#!/bin/sh\ntrue\n")
    instance_id = shown["InstanceId"]
    assert {"Key": "awslabs:ssh", "Value": "127.0.0.1:40001"} in shown["Tags"]
    ec2.delete_key_pair(KeyName="lab")  # the instance has it already
    hosts.wait_for("boot", instance_id)  # without another call: it boots by itself
    machine = hosts.machines[instance_id]
    assert machine["user"] == "ec2-user"
    assert machine["public_key"].split()[:2] == public.split()[:2]
    assert machine["hostname"] == instance(instance_id)["PrivateDnsName"]
    assert machine["user_data"] == b"#!/bin/sh\ntrue\n"
    assert "FINGERPRINTS" in ec2.get_console_output(InstanceId=instance_id)["Output"]


def test_an_ubuntu_image_boots_with_its_own_user(hosts: FakeHosts) -> None:
    name = "/aws/service/deeplearning/ami/x86_64/base-oss-nvidia-driver-gpu-ubuntu-22.04/latest/ami-id"
    image = client("ssm").get_parameter(Name=name)["Parameter"]["Value"]
    instance_id = net().launch(ImageId=image)["InstanceId"]
    hosts.wait_for("boot", instance_id)
    assert hosts.machines[instance_id]["user"] == "ubuntu"
    assert hosts.machines[instance_id]["public_key"] is None


def test_an_instance_is_terminated_only_when_its_processes_have_ended(hosts: FakeHosts) -> None:
    here, ec2 = net(), client("ec2")
    instance_id = here.launch()["InstanceId"]
    hosts.wait_for("boot", instance_id)
    hosts.gate.clear()
    ec2.terminate_instances(InstanceIds=[instance_id])
    assert [state(instance_id) for _ in range(3)] == ["shutting-down"] * 3
    assert said(ec2.delete_subnet, SubnetId=here.subnet_id) == "DependencyViolation"
    hosts.gate.set()
    hosts.wait_for("stop", instance_id)
    eventually(lambda: state(instance_id), "terminated")
    assert said(ec2.delete_subnet, SubnetId=here.subnet_id) == "ok"


@pytest.mark.parametrize(
    ("behaviour", "ended", "done"), [("terminate", "terminated", "stop"), ("stop", "stopped", "halt")]
)
def test_a_shutdown_from_inside_does_what_the_instance_was_told(
    hosts: FakeHosts, behaviour: str, ended: str, done: str
) -> None:
    instance_id = net().launch(InstanceInitiatedShutdownBehavior=behaviour)["InstanceId"]
    hosts.wait_for("boot", instance_id)
    hosts.power(instance_id, "poweroff")
    hosts.wait_for(done, instance_id)
    eventually(lambda: state(instance_id), ended)
    assert instance(instance_id)["StateReason"]["Code"] == "Client.InstanceInitiatedShutdown"


def test_a_reboot_from_inside_is_no_matter_for_aws(hosts: FakeHosts) -> None:
    instance_id = net().launch()["InstanceId"]
    hosts.wait_for("boot", instance_id)
    hosts.power(instance_id, "reboot")
    assert state(instance_id) == "running"
    assert hosts.done() == ["reserve", "boot"]


def test_stop_start_and_reboot_reach_the_host(hosts: FakeHosts) -> None:
    instance_id, ec2 = net().launch()["InstanceId"], client("ec2")
    hosts.wait_for("boot", instance_id)
    ec2.reboot_instances(InstanceIds=[instance_id])
    hosts.wait_for("reboot", instance_id)
    ec2.stop_instances(InstanceIds=[instance_id])
    eventually(lambda: state(instance_id), "stopped")
    ec2.start_instances(InstanceIds=[instance_id])
    eventually(hosts.done, ["reserve", "boot", "reboot", "halt", "reserve", "boot"])  # at another address


def test_an_instance_ends_only_after_it_has_booted(hosts: FakeHosts) -> None:
    hosts.slow_boot.clear()
    instance_id = net().launch()["InstanceId"]
    hosts.wait_for("booting", instance_id)
    client("ec2").terminate_instances(InstanceIds=[instance_id])
    (ending,) = [each for each in threading.enumerate() if each.name == f"end of {instance_id}"]
    ending.join(0.3)
    assert ending.is_alive()  # it waits for its turn
    hosts.slow_boot.set()
    hosts.wait_for("stop", instance_id)
    assert hosts.done() == ["reserve", "boot", "stop"]


def test_an_instance_of_an_account_that_was_reset_does_not_boot() -> None:
    fake = FakeHosts()
    with frozen(slow_states=1.0), rules.installed(fake), mock_aws():
        instance_id = net().launch()["InstanceId"]
        backend = ec2_backends["123456789012"]["us-east-1"]
        wait(6)
        assert state(instance_id) == "running"
        with rules.lock:
            del ec2_backends["123456789012"]
        wait(4)
        with rules.lock:
            engine.settle(backend)
        power.current.wait()
        assert fake.done() == ["reserve"]


def test_an_instance_that_was_ended_before_it_ran_never_boots() -> None:
    fake = FakeHosts()
    with frozen(slow_states=1.0), rules.installed(fake), mock_aws():
        instance_id = net().launch()["InstanceId"]
        client("ec2").terminate_instances(InstanceIds=[instance_id])
        fake.wait_for("stop", instance_id)
        wait(60)
        eventually(lambda: state(instance_id), "terminated")
    assert fake.done() == ["reserve", "stop"]


def test_a_computer_that_is_full_has_no_capacity(hosts: FakeHosts, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(instance_id: str) -> int:
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(hosts, "reserve", full)
    code, message, _ = refused(net().launch)
    assert code == "InsufficientInstanceCapacity"
    assert "Too many open files" in message


def test_calls_from_many_threads_do_not_disturb_each_other(hosts: FakeHosts) -> None:
    here: Net = net()
    image, found, failed = image_id(), [], []

    def work() -> None:
        try:
            ec2 = boto3.client("ec2", "us-east-1")
            request = {"ImageId": image, "InstanceType": "t3.micro", "SubnetId": here.subnet_id}
            for _ in range(5):
                made = ec2.run_instances(MinCount=1, MaxCount=1, **request)["Instances"][0]["InstanceId"]
                ec2.terminate_instances(InstanceIds=[made])
                found.append(made)
        except ClientError as error:
            failed.append(error)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    assert len(set(found)) == 20
    every_one = [{"Name": "instance-state-name", "Values": ["terminated"]}]

    def terminated() -> int:
        shown = client("ec2").describe_instances(Filters=every_one)["Reservations"]
        return sum(len(each["Instances"]) for each in shown)

    eventually(terminated, 20)
