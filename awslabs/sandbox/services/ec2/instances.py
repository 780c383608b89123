"""The life of an instance: pending, running, shutting-down, terminated, each in its time.

    RunInstances          pending --5 s--> running --3 s--> sshd answers
                                              '--2 min--> status checks passed
    StopInstances         stopping --5 s--> stopped;  StartInstances: pending again
    TerminateInstances    shutting-down --5 s--> terminated --1 h--> forgotten

All of it times `slow_states`, save the last hour. Until an instance is terminated it keeps its network
interface, volumes, group and public address, and so whatever AWS refuses because of them.
"""

from __future__ import annotations

import base64
import copy
import functools
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any

from moto.core.responses import ActionResult, EmptyResult
from moto.core.types import Base64EncodedString
from moto.core.utils import utcnow
from moto.ec2 import utils as ec2_utils
from moto.ec2.models.instance_types import INSTANCE_TYPES
from moto.ec2.models.instances import Instance, InstanceBackend, InstanceState, StateReason

from awslabs.sandbox.core.engine import (
    Call,
    Proceed,
    Refused,
    around,
    backends,
    clock,
    later,
    lock,
    memory,
    patch,
    quiet,
    rule,
    scaled,
    state,
)
from awslabs.sandbox.services.ec2 import power, spot

PENDING_S, SSHD_S, STOPPING_S, SHUTTING_DOWN_S, CHECKS_S = 5.0, 3.0, 5.0, 5.0, 120.0
KEPT_S = 3600.0
MODIFIABLE = (  # what moto's ModifyInstanceAttribute does; all else it takes for a change of groups, to none
    *("Attribute", "BlockDeviceMappings", "Groups", "InstanceType.Value", "Kernel.Value", "UserData.Value"),
    *("DisableApiTermination.Value", "SourceDestCheck.Value", "EbsOptimized.Value", "DisableApiStop.Value"),
)
STATES = {"pending": 0, "running": 16, "shutting-down": 32, "terminated": 48, "stopping": 64, "stopped": 80}


@state
@dataclass
class Life:
    """What the rules know of an instance.

    Attributes
    ----------
    running_since : float
        Seconds since 1970.
    public_key : str or None
        The key pair's public half at launch: AWS puts it into the instance then.
    hostless : bool
        A service has started it for itself (AWS Batch): no SSH host runs behind it.
    """

    running_since: float = field(default_factory=lambda: clock.now())
    public_key: str | None = None
    hostless: bool = False


def life(instance: Any) -> Life:
    return memory(instance, Life)


def set_state(instance: Any, name: str) -> None:
    instance._state = InstanceState(name, STATES[name])


instances_take_time = rule(
    "instances_take_time",
    """pending, running, shutting-down, terminated, stopping, stopped: each lasts its time.

    A terminated instance is described for an hour, then InvalidInstanceID.NotFound. To start or stop one in
    the wrong state: IncorrectInstanceState.

    moto: running in the next answer, terminated for ever, and no state refuses anything.
    Source: aws-facts (a), (j); EC2 user guide, ec2-instance-lifecycle.""",
)


@instances_take_time.patch(InstanceBackend, "run_instances")
def _run(original: Callable[..., Any], backend: Any, *args: Any, **kwargs: Any) -> Any:
    hostless = kwargs.pop("hostless", False)
    reservation = original(backend, *args, **kwargs)
    for instance in reservation.instances:
        key = backend.key_pairs.get(instance.key_name)
        life(instance).public_key = key.public_key if key is not None else None
        life(instance).hostless = hostless
        if not hostless:
            _plug_in(instance)
        _begin(instance)
    return reservation


def _plug_in(instance: Any) -> None:
    """Reserve the port of an instance, and write it on the instance: the tag that `addresses.py` reads."""
    try:
        port = power.current.reserve(instance.id)
    except OSError as problem:
        message = f"The practice cloud has no room for another instance on this computer: {problem}"
        raise Refused("InsufficientInstanceCapacity", message) from problem
    if port is not None:
        instance.ec2_backend.tags[instance.id]["awslabs:ssh"] = f"127.0.0.1:{port}"


def _begin(instance: Any) -> None:
    """Let an instance be pending, and then run. LaunchTime is when it was last launched (API reference)."""
    set_state(instance, "pending")
    instance.launch_time = _now()
    later(instance.ec2_backend, scaled(PENDING_S), functools.partial(_runs, instance))


def _runs(instance: Any) -> None:
    if instance.state == "pending":
        set_state(instance, "running")
        life(instance).running_since = clock.now()
        if not life(instance).hostless:
            later(instance.ec2_backend, scaled(SSHD_S), functools.partial(_boot, instance))


def _boot(instance: Any) -> None:
    """Let the SSH host of an instance boot, in the background."""

    def wanted() -> bool:
        backend = instance.ec2_backend
        there = any(kept is backend for account, kept in backends() if account == backend.account_id)
        return there and instance.state == "running"

    image = instance.ec2_backend.amis.get(instance.image_id)
    power.current.boot(
        instance.id,
        wanted,
        user="ubuntu" if image is not None and "ubuntu" in (image.name or "").lower() else "ec2-user",
        public_key=life(instance).public_key,
        hostname=instance.private_dns_name,
        user_data=base64.b64decode(str(instance.user_data)) if instance.user_data else None,
        on_power=functools.partial(_on_power, instance),
    )


def _on_power(instance: Any, what: str) -> None:
    """What the instance's own operating system did: `poweroff` or `reboot`. A thread of the host calls it."""
    with quiet(f"{what} of {instance.id}"), lock:
        if what != "poweroff" or instance.state != "running":
            return  # it reboots by itself, and AWS sees nothing of that
        # A one-time Spot instance cannot be stopped, whatever it says.
        if instance.instance_initiated_shutdown_behavior == "terminate" or instance.lifecycle == "spot":
            instance.terminate()
        else:
            instance.stop()
        code = "Client.InstanceInitiatedShutdown"
        instance.state_reason = StateReason(f"{code}: Instance initiated shutdown", code)
        instance._reason = ""


@instances_take_time.patch(Instance, "terminate")
def _terminate(original: Callable[[Any], Any], instance: Any) -> InstanceState:
    previous: InstanceState = copy.copy(instance._state)
    if instance.state in ("shutting-down", "terminated"):
        return previous
    set_state(instance, "shutting-down")
    _say_user_initiated(instance)
    power.current.stop(instance.id)
    later(instance.ec2_backend, scaled(SHUTTING_DOWN_S), functools.partial(_is_gone, original, instance))
    return previous


def _is_gone(original: Callable[[Any], Any], instance: Any) -> None:
    """The end of shutting-down: processes, interfaces, volumes, addresses are gone, then it is terminated."""
    backend = instance.ec2_backend
    if power.current.ending(instance.id):
        later(backend, 0.02, functools.partial(_is_gone, original, instance))
        return
    why, reason = instance.state_reason, instance._reason
    original(instance)
    instance.state_reason, instance._reason = why, reason
    for nic in instance.nics.values():
        backend.tags.pop(nic.id, None)
        if not nic.delete_on_termination:
            nic.instance, nic.attachment_id, nic.attach_time, nic.device_index = None, None, None, None
            nic.status = "available"
    instance.security_groups = []
    spot.close(instance)
    later(backend, KEPT_S, functools.partial(_forget, instance))


def _forget(instance: Any) -> None:
    """An hour later AWS knows nothing of the instance any more."""
    backend = instance.ec2_backend
    for reservation in list(backend.reservations.values()):
        reservation.instances = [each for each in reservation.instances if each is not instance]
        if not reservation.instances:
            del backend.reservations[reservation.id]
    backend.tags.pop(instance.id, None)
    power.current.forget(instance.id)


def _now() -> datetime:
    """The time as moto keeps it: in UTC, without saying so."""
    return datetime.fromtimestamp(clock.now(), timezone.utc).replace(tzinfo=None)


def _say_user_initiated(instance: Any) -> None:
    code = "Client.UserInitiatedShutdown"
    instance.state_reason = StateReason(f"{code}: User initiated shutdown", code)
    instance._reason = f"User initiated ({_now().strftime('%Y-%m-%d %H:%M:%S GMT')})"


@instances_take_time.patch(Instance, "stop")
def _stop(original: Callable[[Any], Any], instance: Any) -> InstanceState:
    previous: InstanceState = copy.copy(instance._state)
    if instance.state in ("stopping", "stopped"):
        return previous
    if instance.state != "running":
        message = f"This instance '{instance.id}' is not in a state from which it can be stopped."
        raise Refused("IncorrectInstanceState", message)
    if instance.lifecycle == "spot":
        raise Refused(
            "UnsupportedOperation",
            f"You can't stop the Spot Instance '{instance.id}' because it is associated with a one-time Spot "
            "Instance request. You can only stop Spot Instances associated with persistent Spot Instance "
            "requests.",
        )
    original(instance)
    set_state(instance, "stopping")
    _say_user_initiated(instance)
    power.current.halt(instance.id)
    later(instance.ec2_backend, scaled(STOPPING_S), functools.partial(_is_off, instance))
    return previous


def _is_off(instance: Any) -> None:
    if power.current.ending(instance.id):
        later(instance.ec2_backend, 0.02, functools.partial(_is_off, instance))
    elif instance.state == "stopping":
        set_state(instance, "stopped")


@instances_take_time.patch(Instance, "start")
def _start(original: Callable[[Any], Any], instance: Any) -> InstanceState:
    previous: InstanceState = copy.copy(instance._state)
    if instance.state in ("pending", "running"):
        return previous
    if instance.state != "stopped":
        message = f"The instance '{instance.id}' is not in a state from which it can be started."
        raise Refused("IncorrectInstanceState", message)
    original(instance)
    if not life(instance).hostless:
        _plug_in(instance)  # it has another address now
    _begin(instance)
    return previous


@instances_take_time.around("ec2:RebootInstances")
def _reboot(call: Call, proceed: Proceed) -> Any:
    instances = call.ec2.get_multi_instances_by_id(call.get("InstanceIds", []))
    for instance in instances:
        if instance.state != "running":
            message = f"The instance '{instance.id}' is not in the 'running' state."
            raise Refused("IncorrectInstanceState", message)
    answer = proceed()
    for instance in instances:
        power.current.reboot(instance.id)
    return answer


@instances_take_time.around("ec2:TerminateInstances", "ec2:StopInstances", "ec2:StartInstances")
def _show_current_state(call: Call, proceed: Proceed) -> Any:
    """moto writes one state for all; a terminated instance is terminated, a stopped one stopped."""
    answer = proceed()
    for change in next(iter(answer.result.values())):
        instance = call.ec2.get_instance_by_id(change["InstanceId"])
        change["CurrentState"] = {"Code": instance.state_code, "Name": instance.state}
    return answer


# --- what is seen of it -------------------------------------------------------------------------------


@around("ec2:DescribeInstanceStatus")
def status_checks(call: Call, proceed: Proceed) -> Any:
    """Status checks are `initializing` for the first 2 minutes (times `slow_states`), then `ok`.

    moto: `ok` at once. Source: aws-facts (i), (j): instance_status_ok takes 2 to 4 min.
    """
    answer = proceed()
    answer.result["InstanceStatuses"] = [_checked(each) for each in answer.result["InstanceStatuses"]]
    return answer


def _checked(instance: Any) -> Any:
    if instance.state != "running" or clock.now() >= life(instance).running_since + scaled(CHECKS_S):
        return instance
    checks = {"Details": [{"Name": "reachability", "Status": "initializing"}], "Status": "initializing"}
    return {
        "AvailabilityZone": instance.availability_zone,
        "InstanceId": instance.id,
        "InstanceState": instance.instance_state,
        "InstanceStatus": checks,
        "SystemStatus": checks,
    }


terminated_are_bare = rule(
    "terminated_are_bare",
    """A terminated instance is described without subnet, VPC, addresses, interfaces. moto keeps showing them.

    So a list of a VPC's instances shows the living. Source: EC2 user guide, terminating-instances
    (resources are disassociated from the instance after a short while).""",
)


@terminated_are_bare.patch(Instance, "subnet_id", "vpc_id", "private_ip_address")
def _nowhere(original: Callable[[Any], Any], instance: Any) -> Any:
    return None if instance.state == "terminated" else original(instance)


@terminated_are_bare.patch(Instance, "network_interfaces")
def _no_interfaces(original: Callable[[Any], list[Any]], instance: Any) -> list[Any]:
    return [] if instance.state == "terminated" else original(instance)


@terminated_are_bare.patch(Instance, "private_dns_name")
def _no_name(original: Callable[[Any], str], instance: Any) -> str:
    return "" if instance.state == "terminated" else original(instance)


@patch(InstanceBackend, "run_instances")
def interfaces_go_with_instance(original: Callable[..., Any], backend: Any, *args: Any, **kwargs: Any) -> Any:
    """Interfaces made by RunInstances are deleted with the instance unless the request says otherwise, their
    addresses are free again, and TagSpecifications for network-interface tag them.

    moto: they stay `in-use` for ever, untagged. Source: aws-facts (c), (j); botocore,
    InstanceNetworkInterfaceSpecification.
    """
    specs = {int(spec.get("DeviceIndex", 0)): spec for spec in kwargs.get("nics") or []}
    tags = (kwargs.get("tags") or {}).get("network-interface", {})
    reservation = original(backend, *args, **kwargs)
    for instance in reservation.instances:
        for index, nic in instance.nics.items():
            spec = specs.get(index, {})
            if not spec.get("NetworkInterfaceId"):
                nic.delete_on_termination = spec.get("DeleteOnTermination") is not False
                nic.add_tags(tags)
    return reservation


@patch(InstanceBackend, "run_instances")
def groups_of_the_interface(original: Callable[..., Any], backend: Any, *args: Any, **kwargs: Any) -> Any:
    """An instance shows the security groups of its primary interface: those of a NetworkInterfaces parameter,
    or the default group. moto shows those of SecurityGroupIds alone. Source: botocore, Instance.
    """
    reservation = original(backend, *args, **kwargs)
    for instance in reservation.instances:
        instance.security_groups = instance.security_groups or list(instance.nics[0].group_set)
    return reservation


@around("ec2:GetConsoleOutput")
def console_output(call: Call, proceed: Proceed) -> Any:
    """What the latest boot printed; that of the first one has host key fingerprints, once sshd answers.

    moto: a Xen boot of 2006. `Latest` on a type that is not Nitro: UnsupportedOperation.
    Source: aws-facts (i), (j), (k).
    """
    instance = call.ec2.get_instance_by_id(call.get("InstanceId"))
    if instance is None:
        return proceed()  # moto: InvalidInstanceID.NotFound
    nitro = INSTANCE_TYPES.get(instance.instance_type, {}).get("Hypervisor") == "nitro"
    if call.get("Latest") is True and not nitro:
        raise Refused(
            "UnsupportedOperation", "This instance type does not support retrieving the latest console logs."
        )
    text = power.current.console(instance.id)
    answer = {"InstanceId": instance.id, "Timestamp": utcnow()}
    return ActionResult(answer | ({"Output": Base64EncodedString.from_raw_string(text)} if text else {}))


# --- attributes, CPU credits, filters -----------------------------------------------------------------


instance_attributes = rule(
    "instance_attributes",
    """ModifyInstanceAttribute sets the shutdown behaviour; other groups are those of the primary interface,
    too; type, user data and EBS optimisation of an instance that is not stopped: IncorrectInstanceState.

    moto: every attribute that it does not know takes all groups off the instance, and says nothing.
    Source: botocore, ModifyInstanceAttribute; found with terraform-provider-aws 5.100.""",
)


@instance_attributes.before("ec2:ModifyInstanceAttribute")
def _only_when_stopped(call: Call) -> None:
    instance = call.ec2.get_instance_by_id(call.get("InstanceId"))
    changed = [call.get(f"{name}.Value") for name in ("InstanceType", "UserData", "EbsOptimized")]
    if instance is not None and instance.state != "stopped" and any(value is not None for value in changed):
        message = f"The instance '{instance.id}' is not in the 'stopped' state."
        raise Refused("IncorrectInstanceState", message)


@instance_attributes.around("ec2:ModifyInstanceAttribute")
def _modify(call: Call, proceed: Proceed) -> Any:
    instance = call.ec2.get_instance(call.get("InstanceId"))
    behaviour = call.get("InstanceInitiatedShutdownBehavior.Value")
    if behaviour is not None:
        instance.instance_initiated_shutdown_behavior = behaviour
        return EmptyResult()
    if not any(call.get(name) is not None for name in MODIFIABLE):
        raise NotImplementedError("this attribute cannot be changed")
    answer = proceed()
    if call.get("Groups"):
        instance.nics[0]._group_set = list(instance.security_groups)
    return answer


@state
@dataclass
class Credits:
    """How a burstable instance pays for more than its share: standard or unlimited."""

    cpu: str = "standard"


cpu_credits = rule(
    "cpu_credits",
    """T3 and T4g are `unlimited` (extra charge) unless CreditSpecification says `standard`; T2 is `standard`.

    moto: all `standard`, whatever was asked. Source: aws-facts (g); botocore, CreditSpecificationRequest.""",
)


@cpu_credits.around("ec2:RunInstances")
def _note_credits(call: Call, proceed: Proceed) -> Any:
    answer = proceed()
    for instance in answer.result.instances:
        default = "unlimited" if instance.instance_type.startswith(("t3", "t4", "t8")) else "standard"
        memory(instance, Credits).cpu = call.get("CreditSpecification.CpuCredits") or default
    return answer


@cpu_credits.operation("ec2:DescribeInstanceCreditSpecifications")
def _show_credits(call: Call) -> dict[str, Any]:
    found = call.ec2.describe_instance_credit_specifications(call.get("InstanceIds", []))
    shown = [{"InstanceId": each.id, "CpuCredits": memory(each, Credits).cpu} for each in found]
    return {"InstanceCreditSpecifications": shown}


instance_filters = rule(
    "instance_filters",
    """DescribeInstances filters by client-token and instance-lifecycle. moto: not implemented, HTTP 500.

    Source: botocore, DescribeInstances.""",
)
instance_filters.puts(
    ec2_utils,
    "filter_dict_attribute_mapping",
    ec2_utils.filter_dict_attribute_mapping
    | {"client-token": "client_token", "instance-lifecycle": "lifecycle"},
)
