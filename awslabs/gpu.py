"""Chapter 2: a GPU in the cloud, a notebook on it, and a tunnel to the notebook.

        this computer                                    VPC 10.10.0.0/20
             |                            . . . . . . . . . . . . . . . . . . . . .
             |                            .  <1> a subnet in each zone that has .
             |                            .      such servers, and the way out    .
        <6> tunnel                        .  <2> firewall: SSH, from one address  .
        127.0.0.1:8931  ====== SSH ======>.  <4> server  g4dn.xlarge, one GPU     .
             |                            .      opened by <3> your key           .
        your browser                      .  <5> JupyterLab, 127.0.0.1:8888       .
                                          . . . . . . . . . . . . . . . . . . . . .

The notebook listens to its own server alone: no port of it is open to the internet, and SSH carries it.
Whoever opens it must show a token that was drawn on the server.

Cost: about 0.54 USD per hour in us-east-1 (g4dn.xlarge 0.526, public address 0.005, 75 GiB disk 0.0082); with
``--spot`` about 0.23. After 3 hours (``--ttl``) the server deletes itself, in case nobody does.
Time: four to eight minutes to build, about two to take down.

    python -m awslabs.gpu up                             # without a GPU: --instance-type m7i-flex.large
    python -m awslabs.gpu jupyter                        # opens the browser; Ctrl-C closes the tunnel
    python -m awslabs.gpu bench                          # a matrix product: CPU against GPU
    python -m awslabs.gpu mnist                          # handwritten digits
    python -m awslabs.gpu down

AWS calls, in order: those of chapter 1, with CreateSubnet and ModifySubnetAttribute once per zone, and
RunInstances once per zone until one has room. A new account may run no GPU at all: `up` says so before
anything is built, and how to ask for it. To read along: "Deep Learning AMI" developer guide.
"""

from __future__ import annotations

import logging
from typing import Any

from awslabs import addresses, prices
from awslabs.errors import AwsError, install
from awslabs.explain import NO_CAPACITY, error_code
from awslabs.ledger import Ledger, ensure, exclusive
from awslabs.network import Subnet, public_network
from awslabs.preflight import newest_image, require_plan, require_quota, size_of, zones_offering
from awslabs.progress import OFTEN, at_once, awaiting
from awslabs.servers import (
    AMAZON_LINUX_2023,
    PARTS,
    Server,
    describe,
    encrypted_root,
    own_key,
    shutdown_after,
    ssh_firewall,
    standard_credits,
    wait_for_login,
)
from awslabs.workload.gpu import notebook

log = logging.getLogger("awslabs.gpu")  # also where it runs as __main__

INSTANCE_TYPE = "g4dn.xlarge"  # the smallest with a whole GPU (NVIDIA T4, 16 GB)
CPU_TYPE = "m7i-flex.large"  # without a GPU: 8 GiB are enough for this lab, and the Free plan runs it
TTL_MINUTES = 180
BOOT_S = 1200.0  # until SSH answers: on its first boot a disk of 75 GiB is read from far away
ROOT_GIB = 30  # least size of the root disk: PyTorch and its libraries take 8 GB
DLAMI_GIB = 75  # size of a Deep Learning AMI's root disk, for the price that is told before it is looked up
# GPUs of the families P2, P3, G3 and G2, which the open driver of the images below does not know. Source:
# release notes of the DLAMIs, supported_ec2_instances.
TOO_OLD = ("K80", "V100", "M60", "K520")

# Deep Learning AMIs, the best first: with PyTorch, then with the GPU's driver alone. Their names come and go
# with PyTorch's versions, so several are tried. Source: "Finding the ID of a DLAMI" and the release notes in
# the DLAMI developer guide (PyTorch 2.13 and 2.11: 2026-10-05, 2.10: 2026-08-10).
DLAMI = "/aws/service/deeplearning/ami/x86_64/{}/latest/ami-id"
DEEP_LEARNING_AMIS = [
    DLAMI.format(name)
    for name in (
        "oss-nvidia-driver-gpu-pytorch-2.13-amazon-linux-2023",
        "oss-nvidia-driver-gpu-pytorch-2.11-amazon-linux-2023",
        "oss-nvidia-driver-gpu-pytorch-2.10-amazon-linux-2023",
        "oss-nvidia-driver-gpu-pytorch-2.11-ubuntu-24.04",
        "oss-nvidia-driver-gpu-pytorch-2.10-ubuntu-24.04",
        "base-oss-nvidia-driver-gpu-amazon-linux-2023",
        "base-oss-nvidia-driver-gpu-ubuntu-22.04",
    )
]


@exclusive
def up(
    ledger: Ledger,
    *,
    allow_from: str | None = None,
    instance_type: str = INSTANCE_TYPE,
    spot: bool = False,
    ttl_minutes: int | None = TTL_MINUTES,
    without_notebook: bool = False,
) -> Server:
    """Build a network with one server in it, and wait until its notebook answers.

    Parameters
    ----------
    ledger : Ledger
        From ``awslabs.lab("gpu")``.
    allow_from : str, optional
        The only addresses that may reach SSH, as CIDR: ``203.0.113.7/32``. Your own, unless given.
    instance_type : str
        AWS's name for the size of the server. One without a GPU gets plain Amazon Linux 2023, and PyTorch in
        a virtualenv; 8 GiB of memory (``m7i-flex.large``) are enough for this lab.
    spot : bool
        Spare capacity at less than half the price. AWS may take it back with two minutes' notice.
    ttl_minutes : int, optional
        Minutes after which the server shuts itself down, and with that is deleted; None: never.
    without_notebook : bool
        The server alone: nothing is installed on it and nothing runs. Another `up` makes up for it.

    Returns
    -------
    Server
        As of chapter 1.

    Raises
    ------
    AwsError
        Refused by AWS: rights, quota, no capacity in any zone, a type that this Region does not offer.
    LabError, TimedOut, TunnelError
        The server does not answer, is not the one that AWS started, or could not be made ready.
    """
    ec2 = ledger.client("ec2")

    # <0> Before anything is built: where is there such a server, may we have one, and from which image?
    zones, image, let_in = questions(ledger, instance_type, spot, allow_from)

    ledger.limit(ttl_minutes=ttl_minutes)

    # <1> The network: a subnet in each of those zones, since one alone may have no GPU free.
    vpc_id, subnet_ids = public_network(ledger, "10.10.0.0/20", [subnet_in(zone) for zone in zones])

    # <2> The firewall: as in chapter 1, SSH from one address.
    group_id = ssh_firewall(ledger, vpc_id, let_in)

    # <3> The key: as in chapter 1, made here.
    key_name = own_key(ledger)

    # <4> The server: in the first zone that has room. From here on it costs money.
    for zone, subnet_id in zip(zones, subnet_ids, strict=True):
        try:
            instance_id = ledger.create(
                "instance",
                ec2.run_instances,
                ImageId=image["ImageId"],
                InstanceType=instance_type,
                MinCount=1,
                MaxCount=1,
                SubnetId=subnet_id,
                SecurityGroupIds=[group_id],
                KeyName=key_name,
                BlockDeviceMappings=[encrypted_root(image, ROOT_GIB)],
                MetadataOptions={"HttpTokens": "required", "HttpEndpoint": "enabled"},  # IMDSv2 only
                InstanceInitiatedShutdownBehavior="terminate",  # whoever shuts it down has deleted it
                **on_spot(spot),
                **standard_credits(instance_type),
                **shutdown_after(ledger, ttl_minutes),
            )
            break
        except AwsError as refused:
            if refused.code not in NO_CAPACITY:
                raise
            log.info("instance: %s has no %s free", zone, instance_type)
            why = refused.why
    else:
        raise no_room(ledger, zones, instance_type, why)
    ensure(ec2.start_instances, InstanceIds=[instance_id])  # someone may have stopped it
    with awaiting(f"the server {instance_id} runs"):
        ec2.get_waiter("instance_running").wait(InstanceIds=[instance_id], WaiterConfig=OFTEN)
    server = describe(ledger)
    wait_for_login(ledger, server, BOOT_S)

    # <5> The notebook: JupyterLab as a service of the server, for its own loopback only.
    if not without_notebook:
        wants_gpu, again = has_gpu(ec2, instance_type), ledger.command("up")
        found = notebook.prepare(server.ssh, gpu=wants_gpu, again=again, without=without_gpu(ledger))
        if wants_gpu:
            log.info("PyTorch computes on: %s%s", found, ", which stands in for a GPU" * (found == "cpu"))
    return server


def down(ledger: Ledger) -> None:
    """Take everything down again, and return when AWS shows nothing of it any more."""
    ledger.down()


# -- What `up` asks AWS before it builds ---------------------------------------------------------------


def questions(
    ledger: Ledger, instance_type: str, spot: bool, allow_from: str | None
) -> tuple[list[str], dict[str, Any], str]:
    """What `up` asks before it builds, all at once: zones, an image, whom to let in; or why not."""
    ec2, ssm = ledger.client("ec2"), ledger.client("ssm")
    zones, image, my_ip, *_ = at_once(
        lambda: zones_offering(ec2, instance_type),
        lambda: image_for(ec2, ssm, instance_type),
        lambda: None if allow_from else addresses.my_ip(ec2),
        lambda: require_plan(ledger, instance_type, f"{ledger.command('up')} --instance-type {CPU_TYPE}"),
        lambda: require_room(ledger, instance_type, spot),
    )
    return zones, image, allow_from or f"{my_ip}/32"


def require_room(ledger: Ledger, instance_type: str, spot: bool) -> None:
    """As chapter 1's `require_quota`; its fix names the way without a GPU, for new accounts may run none."""
    try:
        require_quota(ledger.client("ec2"), ledger.client("service-quotas"), instance_type, spot=spot)
    except AwsError as error:
        without = f"{ledger.command('up')} --instance-type {CPU_TYPE}"
        fix = f"{error.fix}    # AWS takes a day or two; meanwhile, without a GPU: {without}"
        raise error.mended_by(fix) from error


def without_gpu(ledger: Ledger) -> str:
    """The commands that lead from this lab to one without a GPU."""
    return f"{ledger.command('down')} && {ledger.command('up')} --instance-type {CPU_TYPE}"


def image_for(ec2: Any, ssm: Any, instance_type: str) -> dict[str, Any]:
    """The image for this type as ``ec2:DescribeImages`` shows it: for deep learning, or plain without a GPU.

    AWS calls: ``ec2:DescribeInstanceTypes``, ``ssm:GetParameter``, ``ec2:DescribeImages``.
    """
    if not has_gpu(ec2, instance_type):
        return newest_image(ec2, ssm, AMAZON_LINUX_2023)
    for parameter in DEEP_LEARNING_AMIS:
        try:
            return newest_image(ec2, ssm, parameter)
        except ssm.exceptions.ClientError as error:
            if error_code(error) != "ParameterNotFound":
                raise
            log.debug("there is no %s any more", parameter)
    raise AwsError(
        f"None of the {len(DEEP_LEARNING_AMIS)} Deep Learning AMIs that this lab knows exists in "
        f"{ec2.meta.region_name}.",
        "Their names change with PyTorch's versions; this version of the lab is older than those of today.",
        f"{install(newer=True)}    # until then, without a GPU: up --instance-type {CPU_TYPE}",
        code="ParameterNotFound",
        operation="ssm:GetParameter",
    )


def has_gpu(ec2: Any, instance_type: str) -> bool:
    """Whether servers of this type have a GPU; one that the images cannot drive is refused.

    AWS calls: ``ec2:DescribeInstanceTypes``.
    """
    size = size_of(ec2, instance_type, such_as=INSTANCE_TYPE)
    gpus = size.get("GpuInfo", {}).get("Gpus", [])
    for gpu in gpus:
        if gpu["Manufacturer"] != "NVIDIA" or gpu["Name"] in TOO_OLD:
            raise AwsError(
                f"The lab's images cannot use the GPU of {instance_type} ({gpu['Name']}).",
                "They drive NVIDIA's from the T4 on; you would pay for a GPU that nothing uses.",
                f"run `up` with another type, such as --instance-type {INSTANCE_TYPE}",
                code="Unsupported",
                operation="ec2:RunInstances",
            )
    return bool(gpus)


def usd_per_hour(instance_type: str, region: str, *, spot: bool = False) -> float | None:
    """What the lab costs each hour while it stands, in US dollars; None for a type without a known price."""
    disk = DLAMI_GIB if instance_type.startswith(("g", "p")) else ROOT_GIB
    return prices.server_hour(instance_type, region, disk, spot=spot)


# -- Small parts of the page above -----------------------------------------------------------------------


def subnet_in(zone: str) -> Subnet:
    """256 addresses for a zone, the same ones whichever other zones there are: 10.10.2.0/24 for ``...c``."""
    return Subnet(f"subnet-{zone}", zone, f"10.10.{'abcdefghijklmnop'.index(zone[-1])}.0/24")


def on_spot(spot: bool) -> dict[str, Any]:
    """A one-time request, which ends with its server; a persistent one would start another server."""
    options = {"SpotInstanceType": "one-time", "InstanceInterruptionBehavior": "terminate"}
    return {"InstanceMarketOptions": {"MarketType": "spot", "SpotOptions": options}} if spot else {}


def no_room(ledger: Ledger, zones: list[str], instance_type: str, why: str) -> AwsError:
    """What to say where no zone has such a server free."""
    return AwsError(
        f"No zone of {ledger.cloud.region} has a {instance_type} free just now.",
        f"{', '.join(zones)} were tried. {why}",
        f"{ledger.command('up')}    # again later, or with another --instance-type, or in another --region; "
        f"what stands of the network costs nothing, and {ledger.command('down')} removes it",
        code="InsufficientInstanceCapacity",
        operation="ec2:RunInstances",
    )


# -- The command line -----------------------------------------------------------------------------------


def command_line() -> Any:
    """``python -m awslabs.gpu``: this page from a terminal."""
    import click

    from awslabs import cli
    from awslabs.workload.gpu import verbs

    group = cli.lab_group("gpu", __doc__)

    @cli.verb(group, "up", "gpu")
    @click.option("--instance-type", default=INSTANCE_TYPE, show_default=True, help="Size of the server.")
    @click.option("--spot", is_flag=True, help="Spare capacity: cheaper, and AWS may take it back.")
    @cli.ALLOW_FROM
    @cli.ttl("3h", "Delete the server after 90m, 3h, ...")
    @click.option("--no-notebook", "without_notebook", is_flag=True, help="The server alone.")
    @cli.ends_by_itself
    def _up(
        ledger: Ledger, instance_type: str, spot: bool, ttl_minutes: int, without_notebook: bool, **how: Any
    ) -> dict[str, Any]:
        """Build the network and the server, and wait until its notebook runs."""
        kind = f"spot {instance_type}" if spot else instance_type
        cli.announce(
            ledger,
            f"a network and one {kind} {'without' if without_notebook else 'with'} a notebook",
            usd_per_hour(instance_type, ledger.cloud.region, spot=spot),
        )
        how |= {"instance_type": instance_type, "spot": spot, "without_notebook": without_notebook}
        server = up(ledger, ttl_minutes=ttl_minutes, **how)
        if not without_notebook:
            cli.say(f"The notebook runs at {server.ssh.host}. Open it: {ledger.command('jupyter')}")
        cli.farewell(ledger)
        return {**cli.header(ledger), **verbs.report(ledger)}

    cli.add_status(group, "gpu", PARTS, verbs.report)
    verbs.add(group, "gpu")
    cli.add_down(group, "gpu", down, notebook.bring_home)
    return group


if __name__ == "__main__":
    command_line()(prog_name="python -m awslabs.gpu")
