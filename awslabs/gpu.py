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

import fcntl
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from awslabs import ec2 as chapter1
from awslabs import prices, tunnel
from awslabs.ec2 import (
    AMAZON_LINUX_2023,
    Server,
    Subnet,
    encrypted_root,
    newest_image,
    own_address,
    own_key,
    public_network,
    require_plan,
    require_quota,
    require_running,
    shutdown_after,
    size_of,
    ssh_firewall,
    standard_credits,
    wait_for_login,
    wait_until_it_runs,
    zones_offering,
)
from awslabs.errors import AwsError, LabError, install
from awslabs.explain import NO_CAPACITY, error_code
from awslabs.ledger import Ledger, exclusive
from awslabs.progress import at_once

if TYPE_CHECKING:
    from awslabs.workload.gpu.notebook import Executed, Notebook, Trained

log = logging.getLogger("awslabs.gpu")  # also where it runs as __main__

INSTANCE_TYPE = "g4dn.xlarge"  # the smallest with a whole GPU (NVIDIA T4, 16 GB)
CPU_TYPE = "m7i-flex.large"  # without a GPU: 8 GiB are enough for this lab, and the Free plan runs it
TTL_MINUTES = 180
BOOT_S = 1200.0  # until SSH answers: on its first boot a disk of 75 GiB is read from far away
ROOT_GIB = 30  # least size of the root disk: PyTorch and its libraries take 8 GB
DLAMI_GIB = 75  # size of a Deep Learning AMI's root disk, for the price that is told before it is looked up
RESULTS = Path("awslabs-results", "gpu")
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
    ec2, ssm = ledger.client("ec2"), ledger.client("ssm")

    # <0> Before anything is built: where is there such a server, may we have one, and from which image?
    zones, _, _, image, let_in = at_once(
        lambda: zones_offering(ec2, instance_type),
        lambda: require_plan(ledger, instance_type, f"{ledger.command('up')} --instance-type {CPU_TYPE}"),
        lambda: require_room(ledger, instance_type, spot),
        lambda: image_for(ec2, ssm, instance_type),
        lambda: allow_from or own_address(ec2),
    )

    # <1> The network: a subnet in each of those zones, since one alone may have no GPU free.
    vpc_id, subnet_ids = public_network(ledger, "10.10.0.0/20", [subnet_in(zone) for zone in zones])

    # <2> The firewall, and <3> the key: as in chapter 1.
    group_id = ssh_firewall(ledger, vpc_id, let_in)
    key_name = own_key(ledger)

    # <4> The server: in the first zone that has room. From here on it costs money.
    def start_in(subnet_id: str) -> str:
        return ledger.create(
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
            **shutdown_after(ttl_minutes),
        )

    instance_id = first_with_room(ledger, dict(zip(zones, subnet_ids, strict=True)), start_in, instance_type)
    wait_until_it_runs(ledger, instance_id)
    server = describe(ledger)
    wait_for_login(ledger, server, BOOT_S)

    # <5> The notebook: JupyterLab as a service of the server, for its own loopback only.
    if without_notebook:
        return server
    from awslabs.workload.gpu import notebook

    wants_gpu = has_gpu(ec2, instance_type)
    found = notebook.prepare(
        server.ssh, gpu=wants_gpu, again=ledger.command("up"), without=without_gpu(ledger)
    )
    if wants_gpu:
        log.info(
            "PyTorch computes on: %s", f"{found}, which stands in for a GPU" if found == "cpu" else found
        )
    return server


def describe(ledger: Ledger) -> Server:
    """The lab's server as AWS shows it now. AWS calls: ``ec2:DescribeInstances``, ``DescribeImages``.

    Raises
    ------
    LabError
        When the lab does not stand.
    """
    return chapter1.describe(ledger, login_of)


def server_address(ledger: Ledger) -> tunnel.Address:
    """Where to log in, if the server runs. AWS calls: as `describe`.

    Raises
    ------
    LabError
        When it does not: its time was up, AWS took a spot server back, or someone stopped it.
    """
    return require_running(ledger, describe(ledger)).ssh


def down(ledger: Ledger) -> None:
    """Take everything down again, and return when AWS shows nothing of it any more."""
    ledger.down()


# -- Work on the server --------------------------------------------------------------------------------------


@contextmanager
def jupyter(
    ledger: Ledger,
    *,
    local_port: int | None = None,
    on_change: Callable[[bool, str], None] | None = None,
) -> Iterator[tuple[Notebook, tunnel.Forward]]:
    """<6> A tunnel to the notebook, for the length of a ``with`` block.

    Parameters
    ----------
    local_port : int, optional
        Where it begins on this computer; unless given 8931, or one of the next 19 if that is busy.
    on_change : callable, optional
        Called with (is it up?, why) when the connection drops or is back.

    Yields
    ------
    (Notebook, tunnel.Forward)
        Its ``url`` opens it; `stay` waits until the tunnel ends.
    """
    from awslabs.workload.gpu import notebook

    address = server_address(ledger)
    with notebook.opened(
        address,
        local_port=local_port,
        again=ledger.command("up"),
        on_change=on_change,
    ) as (opened, forward):
        with noted(ledger, forward.local_port):
            yield opened, forward


def stay(ledger: Ledger, forward: tunnel.Forward) -> None:
    """Until Ctrl-C; while the connection is down, look whether there still is a server to come back to.

    Raises
    ------
    LabError
        There is none, or it has another address since it was stopped and started.
    """
    from botocore.exceptions import BotoCoreError, ClientError

    while True:
        forward.wait(timeout_s=10)
        if forward.is_up:
            continue
        try:
            now = server_address(ledger)
        except (BotoCoreError, ClientError) as error:  # no network, as for the tunnel itself: both come back
            log.debug("AWS could not be asked for the server: %s", error)
            continue
        if (now.host, now.port) != (forward.address.host, forward.address.port):
            raise LabError(
                "The server has another address now.",
                f"It was stopped and started: {forward.address} is now {now}.",
                f"{ledger.command('up')}    # then `jupyter` again",
            )


def run(
    ledger: Ledger,
    notebook: str | Path,
    folder: Path = RESULTS,
    on_cell: Callable[[dict[str, Any]], None] | None = None,
) -> Executed:
    """Run a notebook on the server and bring the executed copy back; see `workload.gpu.notebook.run`."""
    from awslabs.workload.gpu import notebook as work

    heard = on_cell or say_cell
    return work.run(server_address(ledger), notebook, folder, again=ledger.command("up"), on_cell=heard)


def say_cell(line: dict[str, Any]) -> None:
    """Log that a cell of the notebook has ended."""
    log.info("cell %s of %s: %.1f s", line["cell"], line["cells"], line["seconds"])


def bench(ledger: Ledger, size: int | None = None) -> list[dict[str, Any]]:
    """The product of two matrices on the server's CPU and GPU; see `workload.gpu.notebook.bench`."""
    from awslabs.workload.gpu import notebook

    return notebook.bench(server_address(ledger), size=size, again=ledger.command("up"))


def mnist(
    ledger: Ledger,
    *,
    epochs: int = 10,
    lr: float = 0.05,
    momentum: float = 0.9,
    data: str | None = None,
    folder: Path = RESULTS,
    on_epoch: Callable[[dict[str, Any]], None] | None = None,
) -> Trained:
    """Train a network on handwritten digits on the server; see `workload.gpu.notebook.mnist`."""
    from awslabs.workload.gpu import notebook

    heard = on_epoch or say_epoch
    return notebook.mnist(
        server_address(ledger),
        folder,
        epochs=epochs,
        lr=lr,
        momentum=momentum,
        data=data,
        again=ledger.command("up"),
        on_epoch=heard,
    )


def say_epoch(line: dict[str, Any]) -> None:
    """Log what an epoch came to."""
    losses = (line["train_loss"], line["val_loss"])
    train, validation = ("ran away" if loss is None else f"{loss:.4f}" for loss in losses)
    log.info(
        "epoch %3d of %d  train loss %s  loss %s  accuracy %.2f %%  %.2f s",
        line["epoch"],
        line["epochs"],
        train,
        validation,
        100 * line["val_accuracy"],
        line["seconds"],
    )


def bring_home(ledger: Ledger, folder: Path) -> str:
    """Copy notebooks and results from the server, if it runs; say in a few words what was saved."""
    from awslabs.workload.gpu import notebook

    if "instance" not in ledger.resources or describe(ledger).state != "running":
        return ""
    return notebook.bring_home(server_address(ledger), folder, f"{ledger.command('down')} --discard")


# -- What `up` asks AWS before it builds ---------------------------------------------------------------


def require_room(ledger: Ledger, instance_type: str, spot: bool) -> None:
    """As chapter 1's `require_quota`; its fix names the way without a GPU, for new accounts may run none."""
    try:
        require_quota(ledger.client("ec2"), ledger.client("service-quotas"), instance_type, spot=spot)
    except AwsError as error:
        without = f"{ledger.command('up')} --instance-type {CPU_TYPE}"
        raise AwsError(
            error.what,
            error.why,
            f"{error.fix}    # AWS takes a day or two; meanwhile, without a GPU: {without}",
            code=error.code,
            operation=error.operation,
        ) from error


def without_gpu(ledger: Ledger) -> str:
    """The commands that lead from this lab to one without a GPU."""
    return f"{ledger.command('down')} && {ledger.command('up')} --instance-type {CPU_TYPE}"


def image_for(ec2: Any, ssm: Any, instance_type: str) -> dict[str, Any]:
    """The image for this type as ``ec2:DescribeImages`` shows it: for deep learning, or plain without a GPU.

    AWS calls: ``ec2:DescribeInstanceTypes``, ``ssm:GetParameter``, ``ec2:DescribeImages``.
    """
    if not has_gpu(ec2, instance_type):
        return newest_image(ec2, ssm, AMAZON_LINUX_2023)
    from botocore.exceptions import ClientError

    for parameter in DEEP_LEARNING_AMIS:
        try:
            return newest_image(ec2, ssm, parameter)
        except ClientError as error:
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
    server = prices.instance_hour(instance_type, region, spot=spot)
    disk = DLAMI_GIB if instance_type.startswith(("g", "p")) else ROOT_GIB
    return None if server is None else server + prices.PUBLIC_IPV4_HOUR + prices.volume_hour(disk, region)


# -- Small parts of the page above -----------------------------------------------------------------------


def subnet_in(zone: str) -> Subnet:
    """256 addresses for a zone, the same ones whichever other zones there are: 10.10.2.0/24 for ``...c``."""
    return Subnet(f"subnet-{zone}", zone, f"10.10.{'abcdefghijklmnop'.index(zone[-1])}.0/24")


def on_spot(spot: bool) -> dict[str, Any]:
    """A one-time request, which ends with its server; a persistent one would start another server."""
    options = {"SpotInstanceType": "one-time", "InstanceInterruptionBehavior": "terminate"}
    return {"InstanceMarketOptions": {"MarketType": "spot", "SpotOptions": options}} if spot else {}


def first_with_room(
    ledger: Ledger, subnets: dict[str, str], start_in: Callable[[str], str], instance_type: str
) -> str:
    """Start the server in the first zone where AWS has one free, and return its id."""
    why = ""
    for zone, subnet_id in subnets.items():
        try:
            return start_in(subnet_id)
        except AwsError as error:
            if error.code not in NO_CAPACITY:
                raise
            log.info("instance: %s has no %s free", zone, instance_type)
            why = error.why
    raise AwsError(
        f"No zone of {ledger.cloud.region} has a {instance_type} free just now.",
        f"{', '.join(subnets)} were tried. {why}",
        f"{ledger.command('up')}    # again later, or with another --instance-type, or in another --region; "
        f"what stands of the network costs nothing, and {ledger.command('down')} removes it",
        code="InsufficientInstanceCapacity",
        operation="ec2:RunInstances",
    )


def login_of(ec2: Any, instance: dict[str, Any]) -> str:
    """The user that the server's image lets in.

    Source: "Manage system users on your Amazon EC2 Linux instance".
    """
    by_id = {"Name": "image-id", "Values": [instance.get("ImageId", "none")]}  # one that is gone is no error
    images = ec2.describe_images(Filters=[by_id])["Images"]
    return "ubuntu" if images and "ubuntu" in images[0].get("Name", "").lower() else chapter1.LOGIN


@contextmanager
def noted(ledger: Ledger, port: int) -> Iterator[None]:
    """Leave a note for `status` that a tunnel is open; it counts while this process holds its lock."""
    note = ledger.directory / f"tunnel-{port}"
    with open(note, "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        try:
            yield
        finally:
            note.unlink(missing_ok=True)  # `down` may have been here


def open_tunnels(ledger: Ledger) -> list[str]:
    """Addresses of the notebook on this computer, of tunnels that are open now."""
    urls = []
    for note in sorted(ledger.directory.glob("tunnel-*")):
        with open(note) as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                urls.append(f"http://127.0.0.1:{note.name.removeprefix('tunnel-')}/lab")
    return urls


# -- The command line -----------------------------------------------------------------------------------


def command_line() -> Any:
    """``python -m awslabs.gpu``: this page from a terminal."""
    import click

    from awslabs import cli

    group = cli.lab_group("gpu", __doc__)
    to = click.option(
        "--to",
        type=click.Path(file_okay=False, path_type=Path),
        default=RESULTS,
        show_default=True,
        help="Folder on this computer for what comes back.",
    )

    def report(ledger: Ledger, server: Server) -> dict[str, Any]:
        urls = open_tunnels(ledger)
        return {**chapter1.report(ledger, server), "jupyter": {"local_url": urls[0]} if urls else {}}

    @cli.verb(group, "up", "gpu")
    @click.option("--instance-type", default=INSTANCE_TYPE, show_default=True, help="Size of the server.")
    @click.option("--spot", is_flag=True, help="Spare capacity: cheaper, and AWS may take it back.")
    @cli.ALLOW_FROM
    @click.option(
        "--ttl",
        metavar="TIME",
        default="3h",
        show_default=True,
        type=cli.Duration(),
        help="Delete the server after 90m, 3h, ...",
    )
    @click.option("--no-notebook", "without_notebook", is_flag=True, help="The server alone.")
    def _up(
        ledger: Ledger, instance_type: str, spot: bool, ttl: int, without_notebook: bool, **how: Any
    ) -> dict[str, Any]:
        """Build the network and the server, and wait until its notebook runs."""
        kind = f"spot {instance_type}" if spot else instance_type
        cli.announce(
            ledger,
            f"a network and one {kind} {'without' if without_notebook else 'with'} a notebook",
            usd_per_hour(instance_type, ledger.cloud.region, spot=spot),
        )
        how |= {"instance_type": instance_type, "spot": spot, "without_notebook": without_notebook}
        server = up(ledger, ttl_minutes=ttl, **how)
        if not without_notebook:
            cli.say(f"The notebook runs at {server.ssh.host}. Open it: {ledger.command('jupyter')}")
        cli.say(f"The server deletes itself {ttl // 60} h {ttl % 60} min after its start.")
        cli.farewell(ledger)
        return report(ledger, server)

    @cli.verb(group, "status", "gpu")
    def _status(ledger: Ledger) -> dict[str, Any]:
        """Show what stands, where, and what it costs."""
        if "instance" not in ledger.resources:
            cli.say("No server stands.")
            return cli.header(ledger)
        return report(ledger, describe(ledger))

    @cli.verb(group, "jupyter", "gpu")
    @click.option(
        "--port", type=click.IntRange(1024, 65535), help="Local port; default: 8931 or the next free."
    )
    @click.option("--no-browser", is_flag=True, help="Only print the address.")
    def _jupyter(ledger: Ledger, port: int | None, no_browser: bool) -> None:
        """Open a tunnel to the notebook, and the browser; stay until Ctrl-C.

        The browser is led there by a file of yours, so that its address is in no list of processes. If it may
        not read that file (Firefox as a snap, Windows over WSL), open the printed address yourself.
        """
        import webbrowser

        from awslabs.workload.gpu.notebook import doorway

        as_json = click.get_current_context().params["as_json"]
        for url in open_tunnels(ledger):
            cli.say(f"Another tunnel is open already: {url}")
        try:
            with (
                jupyter(ledger, local_port=port) as (notebook, forward),
                doorway(ledger.directory, notebook) as page,
            ):
                if as_json:
                    cli.show(
                        {"jupyter": {"local_url": notebook.local_url, "url": notebook.url}}, as_json=True
                    )
                else:
                    cli.out(notebook.url)
                cli.say("Whoever has this address may run anything on the server. Ctrl-C closes the tunnel.")
                if not no_browser and not webbrowser.open(page):
                    cli.say("No browser was found here; open the address yourself.")
                stay(ledger, forward)
        except KeyboardInterrupt:
            cli.say(f"\nThe tunnel is closed; the notebook goes on. End it all: {ledger.command('down')}")

    @cli.verb(group, "run", "gpu")
    @click.argument("notebook")
    @to
    def _run(ledger: Ledger, notebook: str, to: Path) -> dict[str, Any]:
        """Run NOTEBOOK on the server (first_steps, cpu_gpu, mnist, or a file of yours); get the copy back."""

        return vars(run(ledger, notebook, to))

    @cli.verb(group, "bench", "gpu")
    @click.option("--size", type=click.IntRange(2, 65536), help="Rows and columns of the matrices.")
    def _bench(ledger: Ledger, size: int | None) -> list[dict[str, Any]]:
        """Multiply two matrices on the server's CPU and on its GPU."""
        found = bench(ledger, size)
        if len(found) == 1:
            cli.say("This server shows no GPU: only its CPU was measured.")
        else:
            cli.say(f"The GPU is {found[1]['tflop_s'] / found[0]['tflop_s']:.0f} times as fast as the CPU.")
        return [
            {**one, "seconds": round(one["seconds"], 6), "tflop_s": round(one["tflop_s"], 3)} for one in found
        ]

    @cli.verb(group, "mnist", "gpu")
    @click.option(
        "--epochs",
        type=click.IntRange(1, 1000),
        default=10,
        show_default=True,
        help="Passes over all training pictures.",
    )
    @click.option("--lr", type=float, default=0.05, show_default=True, help="Learning rate.")
    @click.option(
        "--momentum",
        type=float,
        default=0.9,
        show_default=True,
        help="Part of the last step that goes into the next.",
    )
    @click.option("--data", metavar="WHICH", help="mnist, digits, or a folder of the server.")
    @to
    def _mnist(
        ledger: Ledger, epochs: int, lr: float, momentum: float, data: str | None, to: Path
    ) -> dict[str, Any]:
        """Train a network on handwritten digits; loss and accuracy as they come, a picture at the end."""

        trained = mnist(ledger, epochs=epochs, lr=lr, momentum=momentum, data=data, folder=to)
        if click.get_current_context().params["as_json"]:
            return vars(trained)
        return {**vars(trained), "epochs": len(trained.epochs), "files": ", ".join(map(str, trained.files))}

    chapter1.add_ssh(group, "gpu", server_address)
    cli.add_down(group, "gpu", down, bring_home)
    return group


if __name__ == "__main__":
    command_line()(prog_name="python -m awslabs.gpu")
