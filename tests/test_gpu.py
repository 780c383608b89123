"""Chapter 2 without a server: what `up` asks for, what it does when refused, and its scripts in a shell."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import shutil
import subprocess
import sys
import urllib.parse
import urllib.request
import webbrowser
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import click.testing
import inprocess
import pytest
from wire import ALWAYS, Wire

from awslabs import addresses, cli, explain, gpu, images, kinds, prices, servers, tunnel
from awslabs.errors import AwsError, LabError, LedgerError, TunnelError
from awslabs.ledger import Ledger
from awslabs.sandbox.core import weather
from awslabs.workload.gpu import notebook

ACCOUNT = "333344445555"
ZONES = ["us-east-1a", "us-east-1b", "us-east-1c", "us-east-1d", "us-east-1f"]  # 1e has no g4dn.xlarge


class Aws(Wire):
    @property
    def run(self) -> dict:
        """The request of the last RunInstances."""
        return [request for operation, request in self.calls if operation == "RunInstances"][-1]


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch) -> Iterator[Aws]:
    with inprocess.cloud():
        monkeypatch.setattr(addresses, "my_ip", lambda client: "203.0.113.7")
        monkeypatch.setattr(tunnel, "wait_for_ssh", lambda *_, **__: None)
        monkeypatch.setattr(notebook, "prepare", lambda *_, **__: "Tesla T4")
        yield Aws(monkeypatch)


@pytest.fixture
def ledger(aws: Aws) -> Ledger:
    return Ledger(inprocess.open_cloud(ACCOUNT, "ada"), "gpu")


@pytest.fixture
def standing(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A ledger whose server runs, as far as work on it is to know."""
    monkeypatch.setattr(notebook, "describe", lambda ledger: SimpleNamespace(state="running"))
    monkeypatch.setattr(notebook, "server_address", lambda ledger: None)
    return SimpleNamespace(command=lambda verb: verb, missing=lambda rows: [])


def built(ledger: Ledger) -> dict:
    """The lab's server as AWS shows it."""
    ec2, instance_id = ledger.client("ec2"), ledger.resources["instance"]
    (instance,) = ec2.describe_instances(InstanceIds=[instance_id])["Reservations"][0]["Instances"]
    return instance


def image_name(ledger: Ledger) -> str:
    """The name of the image that the server runs."""
    (image,) = ledger.client("ec2").describe_images(ImageIds=[built(ledger)["ImageId"]])["Images"]
    return image["Name"]


# -- What it builds --------------------------------------------------------------------------------------


def test_each_zone_that_offers_the_type_gets_a_subnet(aws: Aws, ledger: Ledger) -> None:
    gpu.up(ledger)
    made = {
        request["AvailabilityZone"]: request
        for operation, request in aws.calls
        if "CreateSubnet" in operation
    }
    assert list(made) == ZONES
    assert made["us-east-1f"]["CidrBlock"] == "10.10.5.0/24"  # by its letter, whichever zones there are
    public = [request for operation, request in aws.calls if operation == "ModifySubnetAttribute"]
    assert len(public) == len(ZONES)


def test_the_server_is_what_the_page_says(aws: Aws, ledger: Ledger) -> None:
    server = gpu.up(ledger)
    run = aws.run
    (root,) = run["BlockDeviceMappings"]
    assert (root["Ebs"]["VolumeSize"], root["Ebs"]["Encrypted"], root["Ebs"]["VolumeType"]) == (
        75,
        True,
        "gp3",
    )
    assert run["InstanceType"] == "g4dn.xlarge"
    assert run["MetadataOptions"]["HttpTokens"] == "required"
    assert run["InstanceInitiatedShutdownBehavior"] == "terminate"
    assert b'OnCalendar=$(date -u -d "+180 minutes" ' in base64.b64decode(run["UserData"])
    assert "InstanceMarketOptions" not in run
    assert (server.state, server.ssh.user) == ("running", "ec2-user")
    assert "PyTorch 2.10 (Amazon Linux 2023)" in image_name(ledger)  # the first of the list that exists here


def test_a_second_up_changes_nothing(aws: Aws, ledger: Ledger) -> None:
    first = gpu.up(ledger)
    aws.calls.clear()
    assert gpu.up(ledger) == first
    assert aws.calls == []


def test_without_a_gpu_it_is_plain_amazon_linux_with_room_for_pytorch(aws: Aws, ledger: Ledger) -> None:
    gpu.up(ledger, instance_type="t3.large", ttl_minutes=None)
    assert aws.run["BlockDeviceMappings"][0]["Ebs"]["VolumeSize"] == 30
    assert aws.run["CreditSpecification"] == {"CpuCredits": "standard"}
    assert "UserData" not in aws.run
    assert image_name(ledger).startswith("al2023-ami-")


def test_without_a_notebook_nothing_is_installed_and_another_up_makes_up_for_it(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepared: list[tunnel.Address] = []
    monkeypatch.setattr(notebook, "prepare", lambda address, **_: prepared.append(address) or "")
    server = gpu.up(ledger, without_notebook=True)
    assert (server.state, prepared) == ("running", [])
    assert gpu.up(ledger).instance_id == server.instance_id
    assert len(prepared) == 1


def test_prepare_is_told_whether_there_is_a_gpu(
    aws: Aws, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = []
    monkeypatch.setattr(notebook, "prepare", lambda address, **how: told.append(how) or "cpu")
    gpu.up(ledger)
    gpu.down(ledger)
    gpu.up(ledger, instance_type="t3.large")
    again, down = "python -m awslabs.gpu up", "python -m awslabs.gpu down"
    how = {"again": again, "without": f"{down} && {again} --instance-type {gpu.CPU_TYPE}"}
    assert told == [{"gpu": True, **how}, {"gpu": False, **how}]


def test_a_spot_server_is_a_one_time_request_that_ends_with_it(aws: Aws, ledger: Ledger) -> None:
    gpu.up(ledger, spot=True)
    assert aws.run["InstanceMarketOptions"]["SpotOptions"]["SpotInstanceType"] == "one-time"
    tagged = {each["ResourceType"] for each in aws.run["TagSpecifications"]}
    assert tagged == {"instance", "volume", "network-interface", "spot-instances-request"}
    assert ledger.usd_per_hour == pytest.approx(0.2158 + 0.005 + 75 * 0.08 / 730)
    ec2 = ledger.client("ec2")
    (request,) = ec2.describe_spot_instance_requests()["SpotInstanceRequests"]
    assert request["State"] == "active"
    gpu.down(ledger)
    (request,) = ec2.describe_spot_instance_requests()["SpotInstanceRequests"]
    assert request["State"] == "closed"


def test_spot_and_on_demand_do_not_turn_into_each_other(aws: Aws, ledger: Ledger) -> None:
    gpu.up(ledger, spot=True)
    with pytest.raises(LedgerError, match="stands with another InstanceMarketOptions"):
        gpu.up(ledger)


def test_the_price_that_is_told_first_is_the_price_that_stands(aws: Aws, ledger: Ledger) -> None:
    for instance_type, spot in (("g4dn.xlarge", False), ("g4dn.xlarge", True), ("t3.large", False)):
        gpu.up(ledger, instance_type=instance_type, spot=spot)
        told = gpu.usd_per_hour(instance_type, "us-east-1", spot=spot)
        assert told == pytest.approx(ledger.usd_per_hour)
        gpu.down(ledger)
    assert gpu.usd_per_hour("g6.48xlarge", "us-east-1") is None


# -- Zones without room ----------------------------------------------------------------------------------


@pytest.mark.parametrize("spot", [False, True])
def test_the_next_zone_is_tried_when_one_has_no_room(aws: Aws, ledger: Ledger, spot: bool) -> None:
    aws.refuse("RunInstances", "InsufficientInstanceCapacity", times=2)
    gpu.up(ledger, spot=spot)
    assert built(ledger)["Placement"]["AvailabilityZone"] == "us-east-1c"
    assert aws.changed.count("RunInstances") == 3
    aws.calls.clear()
    gpu.up(ledger, spot=spot)  # it stands in the third zone, and stays there
    assert aws.calls == []


def test_no_room_in_any_zone_says_so_and_down_removes_the_rest(aws: Aws, ledger: Ledger) -> None:
    aws.refuse("RunInstances", "InsufficientInstanceCapacity", times=ALWAYS)
    with pytest.raises(AwsError) as caught:
        gpu.up(ledger)
    assert caught.value.what == "No zone of us-east-1 has a g4dn.xlarge free just now."
    assert all(zone in caught.value.why for zone in ZONES)
    assert "another --instance-type" in caught.value.fix
    assert "instance" not in ledger.resources
    gpu.down(ledger)
    assert ledger.resources == {}


def test_another_refusal_is_not_carried_to_the_next_zone(aws: Aws, ledger: Ledger) -> None:
    aws.refuse("RunInstances", "UnauthorizedOperation")
    with pytest.raises(AwsError, match="may not do ec2:RunInstances"):
        gpu.up(ledger)
    assert aws.changed.count("RunInstances") == 1


# -- Before anything is built ----------------------------------------------------------------------------


@pytest.mark.parametrize(("spot", "quota"), [(False, "L-DB2E81BA"), (True, "L-3819A6DF")])
def test_a_new_account_is_told_its_quota_before_anything_is_built(
    aws: Aws, ledger: Ledger, monkeypatch: pytest.MonkeyPatch, spot: bool, quota: str
) -> None:
    monkeypatch.setattr(weather.current, "account", "new")
    with pytest.raises(AwsError) as caught:
        gpu.up(ledger, spot=spot)
    assert caught.value.code == "VcpuLimitExceeded"
    assert f"({quota}) is 0" in caught.value.why
    assert f"--quota-code {quota} --desired-value 8" in caught.value.fix
    assert caught.value.fix.endswith("python -m awslabs.gpu up --instance-type m7i-flex.large")
    assert aws.calls == []


@pytest.mark.parametrize(
    ("instance_type", "spot", "quota"),
    [
        ("g4dn.xlarge", False, "L-DB2E81BA"),
        ("vt1.3xlarge", True, "L-3819A6DF"),
        ("t3.large", False, "L-1216C47A"),
        ("m5.large", True, "L-34B43A08"),
    ],
)
def test_each_kind_of_server_has_its_quota(instance_type: str, spot: bool, quota: str) -> None:
    assert explain.vcpu_quota(instance_type, spot=spot)[1] == quota


def test_a_full_spot_quota_is_explained(aws: Aws, ledger: Ledger) -> None:
    aws.refuse("RunInstances", "MaxSpotInstanceCountExceeded")
    with pytest.raises(AwsError) as caught:
        gpu.up(ledger, spot=True)
    assert "L-3819A6DF" in caught.value.fix


@pytest.mark.parametrize(
    ("instance_type", "what"),
    [
        ("g9.huge", "g9.huge is not offered in us-east-1."),
        ("g5g.xlarge", "The lab's images do not run on g5g.xlarge."),
        ("p3dn.24xlarge", "The lab's images cannot use the GPU of p3dn.24xlarge (V100)."),
    ],
)
def test_a_type_that_cannot_be_is_refused_before_anything_is_built(
    aws: Aws, ledger: Ledger, instance_type: str, what: str
) -> None:
    with pytest.raises(AwsError) as caught:
        gpu.up(ledger, instance_type=instance_type)
    assert caught.value.what == what
    assert "--instance-type" in caught.value.fix
    assert aws.calls == []


@pytest.mark.parametrize(
    ("maker", "name", "fits"),
    [
        ("NVIDIA", "K80", False),
        ("NVIDIA", "M60", False),
        ("NVIDIA", "K520", False),
        ("AMD", "Radeon Pro V520", False),
        ("NVIDIA", "T4", True),
    ],
)
def test_a_gpu_that_no_image_drives_is_refused(maker: str, name: str, fits: bool) -> None:
    gpus = {"Gpus": [{"Manufacturer": maker, "Name": name}]}
    size = {"ProcessorInfo": {"SupportedArchitectures": ["x86_64"]}, "GpuInfo": gpus}
    ec2 = SimpleNamespace(describe_instance_types=lambda **_: {"InstanceTypes": [size]})
    if fits:
        assert gpu.has_gpu(ec2, "some.type")
        return
    with pytest.raises(AwsError, match="cannot use the GPU") as caught:
        gpu.has_gpu(ec2, "some.type")
    assert "--instance-type g4dn.xlarge" in caught.value.fix


def test_a_vanished_image_makes_way_for_the_next_and_its_user(aws: Aws, ledger: Ledger) -> None:
    aws.refuse("GetParameter", "ParameterNotFound", times=4)
    server = gpu.up(ledger)
    assert "PyTorch 2.10 (Ubuntu 24.04)" in image_name(ledger)
    assert server.ssh.user == "ubuntu"
    assert gpu.describe(ledger) == server


def test_the_user_of_an_image_that_was_deprecated_meanwhile_is_known() -> None:
    class Ec2:
        def describe_images(self, **asked: Any) -> dict[str, Any]:
            deprecated = [{"Name": "Deep Learning AMI (Ubuntu 22.04)"}]
            return {"Images": deprecated if asked.get("IncludeDeprecated") else []}

    assert servers.login_of(Ec2(), {"ImageId": "ami-1"}) == "ubuntu"


def test_when_all_images_have_vanished_it_says_so(aws: Aws, ledger: Ledger) -> None:
    aws.refuse("GetParameter", "ParameterNotFound", times=ALWAYS)
    with pytest.raises(AwsError) as caught:
        gpu.up(ledger)
    assert caught.value.what.startswith(f"None of the {len(gpu.DEEP_LEARNING_AMIS)} Deep Learning AMIs")
    assert "--instance-type m7i-flex.large" in caught.value.fix
    assert aws.calls == []


def test_a_refused_image_look_up_is_no_vanished_image(aws: Aws, ledger: Ledger) -> None:
    aws.refuse("GetParameter", "AccessDeniedException", times=ALWAYS)
    with pytest.raises(Exception, match="AccessDeniedException"):
        gpu.up(ledger)


# -- The tunnel's note and its end -----------------------------------------------------------------------


def test_status_knows_the_tunnels_that_are_open_and_only_those(aws: Aws, ledger: Ledger) -> None:
    gpu.up(ledger)
    (ledger.directory / "tunnel-9999").touch()  # of a process that was killed
    assert notebook.open_tunnels(ledger) == []
    with notebook.noted(ledger, 8931), notebook.noted(ledger, 8932):
        assert notebook.open_tunnels(ledger) == ["http://127.0.0.1:8931/lab", "http://127.0.0.1:8932/lab"]
    assert notebook.open_tunnels(ledger) == []


class Line:
    """A tunnel whose connection is down."""

    is_up = False

    def __init__(self, address: tunnel.Address) -> None:
        self.address, self.waits = address, 0

    def wait(self, timeout_s: float) -> None:
        self.waits += 1
        if self.waits > 3:
            raise TunnelError("enough")


def test_a_tunnel_ends_when_its_server_is_gone(aws: Aws, ledger: Ledger) -> None:
    server = gpu.up(ledger)
    ledger.client("ec2").terminate_instances(InstanceIds=[server.instance_id])
    with pytest.raises(LabError, match="is shutting-down|is terminated"):
        notebook.stay(ledger, Line(server.ssh))  # type: ignore[arg-type]


def test_a_tunnel_stays_while_aws_cannot_be_asked(
    aws: Aws, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = gpu.up(ledger)
    aws.refuse("DescribeInstances", "ServiceUnavailable", times=ALWAYS)
    with pytest.raises(TunnelError, match="enough"):
        notebook.stay(ledger, Line(server.ssh))  # type: ignore[arg-type]


def test_a_tunnel_ends_when_its_server_has_moved(aws: Aws, ledger: Ledger) -> None:
    server = gpu.up(ledger)
    elsewhere = tunnel.Address("203.0.113.7", 22, "x", server.ssh.key_path, server.ssh.known_hosts_path)
    with pytest.raises(LabError, match="has another address now"):
        notebook.stay(ledger, Line(elsewhere))  # type: ignore[arg-type]


def test_down_brings_nothing_home_from_a_server_that_does_not_run(aws: Aws, ledger: Ledger) -> None:
    assert notebook.bring_home(ledger, Path("home")) == ""
    server = gpu.up(ledger)
    ledger.client("ec2").terminate_instances(InstanceIds=[server.instance_id])
    assert notebook.bring_home(ledger, Path("home")) == ""


def test_what_cannot_be_brought_home_is_not_lost_unasked(
    aws: Aws, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    gpu.up(ledger)

    @contextlib.contextmanager
    def refused(address: tunnel.Address) -> Iterator[None]:
        raise TunnelError("SSH does not answer.")
        yield

    monkeypatch.setattr(tunnel, "connect", refused)
    with pytest.raises(LabError) as caught:
        notebook.bring_home(ledger, Path("home"))
    assert caught.value.fix == "python -m awslabs.gpu down --discard"


def test_a_computer_without_room_for_the_notebooks_is_told_so(
    standing: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setattr(tunnel, "connect", lambda address: contextlib.nullcontext())
    monkeypatch.setattr(tunnel, "run", lambda *_: tunnel.Output(0, "mnist.ipynb\n", ""))
    with pytest.raises(LabError, match="could not be brought home") as caught:
        notebook.bring_home(standing, tmp_path / "file" / "home")
    assert caught.value.fix == "down --discard"


def test_down_leaves_the_executed_copy_that_run_has_named(
    standing: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    there = tmp_path / "lab"
    (there / "executed").mkdir(parents=True)
    (there / "mnist.ipynb").write_text("as written")
    (there / "executed/mnist.ipynb").write_text("with its pictures")

    def get(address: object, remote: str, local: Path) -> Path:
        source, target = tmp_path / remote, local / Path(remote).name if local.is_dir() else local
        copy = shutil.copytree if source.is_dir() else shutil.copyfile
        copy(source, target, **{"dirs_exist_ok": True} if source.is_dir() else {})
        return target

    def program(client: object, arguments: list[str], heard: Callable[[dict], None]) -> tuple[int, str]:
        heard({"ok": True})
        return 0, ""

    monkeypatch.setattr(tunnel, "connect", lambda address: contextlib.nullcontext())
    monkeypatch.setattr(tunnel, "run", lambda *_: tunnel.Output(0, "mnist.ipynb\nexecuted\n", ""))
    monkeypatch.setattr(tunnel, "get", get)
    monkeypatch.setattr(notebook, "program", program)
    home = tmp_path / "home"
    ran = notebook.run(standing, "mnist", home)
    assert ran.copy.read_text() == "with its pictures"
    notebook.bring_home(standing, home)
    assert ran.copy.read_text() == "with its pictures"
    assert (home / "mnist.ipynb").read_text() == "as written"


def test_the_browser_is_led_to_the_notebook_by_a_file_of_the_users_own(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a browser is started with is in the list of processes, for all users of the computer."""
    opened = notebook.Notebook("http://127.0.0.1:8931/lab", "5ecret")
    monkeypatch.setattr(cli, "open_ledger", lambda *_, **__: ledger)
    monkeypatch.setattr(notebook, "jupyter", lambda *_, **__: contextlib.nullcontext((opened, None)))
    ledger.directory.mkdir(parents=True)  # where the key lies
    (ledger.directory / "jupyter-8931.html").touch(0o644)  # left by a command that was killed
    shown = []

    def browser(address: str) -> bool:
        page = Path(urllib.request.url2pathname(urllib.parse.urlsplit(address).path))
        shown.append((address, page, oct(page.stat().st_mode & 0o777), page.read_text()))
        return True

    def until_ctrl_c(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(webbrowser, "open", browser)
    monkeypatch.setattr(notebook, "stay", until_ctrl_c)
    done = click.testing.CliRunner().invoke(gpu.command_line(), ["jupyter"])
    assert (done.exit_code, done.stdout) == (0, "http://127.0.0.1:8931/lab?token=5ecret\n")
    ((address, page, mode, text),) = shown
    assert address.startswith("file:///")
    assert "5ecret" not in address + done.stderr
    assert mode == "0o600"
    assert '<meta http-equiv="refresh" content="0; url=http://127.0.0.1:8931/lab?token=5ecret">' in text
    assert not page.exists()
    done = click.testing.CliRunner().invoke(gpu.command_line(), ["jupyter", "--no-browser", "--json"])
    assert json.loads(done.stdout)["jupyter"]["url"] == opened.url, "an address that opens"


@pytest.mark.parametrize("said", ["", '{"port": 88'])
def test_notes_of_jupyter_that_are_half_written_are_read_again(
    monkeypatch: pytest.MonkeyPatch, said: str
) -> None:
    answers = iter([tunnel.Output(0, said, ""), tunnel.Output(0, '{"port": 8888}', "")])
    monkeypatch.setattr(tunnel, "run", lambda *_: next(answers))
    monkeypatch.setattr(notebook, "remote", lambda *_: "")
    assert notebook.serve(None, "up") == {"port": 8888}  # type: ignore[arg-type]


def test_what_a_library_prints_is_no_line_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    def talk(client: Any, command: str, on_line: Callable[[str], None]) -> tunnel.Output:
        for line in ("Downloading", "42", "[1]", '{"cell": 1}', '[{"device": "cpu"}]'):
            on_line(line)
        return tunnel.Output(0, "", "")

    heard: list[dict[str, Any]] = []
    monkeypatch.setattr(tunnel, "run", talk)
    notebook.program(None, ["main.py"], heard.append)  # type: ignore[arg-type]
    assert heard == [{"cell": 1}, {"device": "cpu"}]


def talking(*said: str, status: int = 0, stderr: str = "") -> Callable[..., tunnel.Output]:
    """A server on which every program prints these lines and ends so."""

    def run(
        client: Any,
        command: Any,
        *,
        on_line: Callable[[str], None] | None = None,
        timeout_s: float | None = None,
    ) -> tunnel.Output:
        for line in said if on_line else ():
            on_line(line)
        return tunnel.Output(status if on_line else 0, "", stderr)

    return run


def test_a_program_that_was_killed_says_what_is_the_most_likely_cause(
    standing: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(tunnel, "connect", lambda address: contextlib.nullcontext())
    monkeypatch.setattr(tunnel, "run", talking(status=-1))
    with pytest.raises(LabError, match="The matrix product failed") as caught:
        notebook.bench(standing)
    assert "memory was used up" in caught.value.why
    assert caught.value.fix.startswith("Do as its last words say")  # `up` alone would change nothing


def test_what_a_training_leaves_is_not_what_others_have_left_here(
    standing: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    done = '{"done": true, "written": ["metrics_new.csv"], "device": "Tesla T4"}'
    epoch = '{"epoch": 1, "train_loss": 0.4, "val_accuracy": 0.9, "val_loss": 0.3, "seconds": 1.0}'
    monkeypatch.setattr(tunnel, "connect", lambda address: contextlib.nullcontext())
    monkeypatch.setattr(tunnel, "run", talking(epoch, done))
    monkeypatch.setattr(tunnel, "get", lambda address, remote, local: local)
    (tmp_path / "metrics_old.csv").touch()
    trained = notebook.mnist(standing, folder=tmp_path, on_epoch=lambda line: None)
    assert trained.files == [tmp_path / "metrics_new.csv", tmp_path / "mnist.png"]
    assert (trained.val_accuracy, trained.device) == (0.9, "Tesla T4")


class Client:
    """A connection to a server that lacks some modules; `ran` holds what was installed."""

    def __init__(self, missing: str, gpu: tuple[int, str, str] = (0, "Tesla T4", "")) -> None:
        self.missing, self.gpu, self.ran = missing, gpu, list[list[str]]()

    def run(self, client: Any, command: str | list[str], **_: Any) -> tunnel.Output:
        if isinstance(command, list) and notebook.FIND_PYTHON in command:
            return tunnel.Output(0, "/opt/pytorch/bin/python\n", "")
        if isinstance(command, list) and command[2] == notebook.MISSING:
            return tunnel.Output(0, self.missing, "")
        if isinstance(command, list) and notebook.INSTALL in command:
            self.ran.append(command[4:])
            return tunnel.Output(0, "", "")
        return tunnel.Output(*((0, "2.11.0+cu130\n", "") if "version('torch')" in str(command) else self.gpu))


@pytest.mark.parametrize(
    ("gpu_wanted", "missing", "installed"),
    [
        (True, "", []),
        (True, "jupyterlab nbclient", [["jupyterlab", "nbclient"]]),
        (True, "torch torchvision sklearn", [["torch", "torchvision"], ["scikit-learn"]]),
        (True, "torchvision", [["torchvision", "torch==2.11.0+cu130"]]),  # the PyTorch of the image stays
        (False, "torch torchvision", [["--index-url", notebook.CPU_WHEELS, "torch", "torchvision"]]),
    ],
)
def test_only_what_the_image_lacks_is_installed(
    monkeypatch: pytest.MonkeyPatch, gpu_wanted: bool, missing: str, installed: list[list[str]]
) -> None:
    client = Client(missing)
    monkeypatch.setattr(tunnel, "connect", lambda address: contextlib.nullcontext(client))
    monkeypatch.setattr(tunnel, "run", client.run)
    monkeypatch.setattr(notebook, "bring", lambda address: None)
    monkeypatch.setattr(notebook, "serve", lambda client, again: {})
    found = notebook.prepare(None, gpu=gpu_wanted, again="up", without="down")  # type: ignore[arg-type]
    assert found == ("Tesla T4" if gpu_wanted else "cpu")
    assert client.ran == [["/opt/pytorch/bin/python", *words] for words in installed]


def test_a_gpu_that_pytorch_cannot_use_ends_up_with_its_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    why = "PyTorch 2.11 can use no cuda device here (The NVIDIA driver on your system is too old)"
    client = Client("", gpu=(1, "", f"{why}\n"))
    monkeypatch.setattr(tunnel, "connect", lambda address: contextlib.nullcontext(client))
    monkeypatch.setattr(tunnel, "run", client.run)
    monkeypatch.setattr(notebook, "bring", lambda address: None)
    monkeypatch.setattr(notebook, "serve", lambda client, again: {})
    with pytest.raises(LabError, match="could not compute on its GPU") as caught:
        notebook.prepare(None, gpu=True, again="up", without="down && up --cpu")  # type: ignore[arg-type]
    assert (caught.value.why, caught.value.fix) == (why, "down && up --cpu")


@pytest.mark.live
@pytest.mark.parametrize("stands_in", [True, False])
def test_the_question_for_the_gpu_asks_pytorch(stands_in: bool, tmp_path: Path) -> None:
    """With a PyTorch that finds none: a sentence, unless the computer says that it only stands in for one."""
    pytest.importorskip("torch", reason="pip install -e '.[ml]'")
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": "", "PYTHONPATH": str(images.folder("mnist"))}
    environment.pop("GPU_STAND_IN", None)
    more = {"GPU_STAND_IN": "cpu"} if stands_in else {}
    asked = subprocess.run(
        [sys.executable, "-c", notebook.ASK_GPU],
        env=environment | more,
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    if stands_in:
        assert (asked.returncode, asked.stdout) == (0, "cpu\n")
    else:
        assert (asked.returncode, asked.stdout) == (1, "")
        assert "can use no cuda device here" in asked.stderr
        assert "Traceback" not in asked.stderr


# -- Secrets, prices, kinds ------------------------------------------------------------------------------


def test_the_token_shows_in_the_address_alone() -> None:
    opened = notebook.Notebook("http://127.0.0.1:8931/lab", "s3cret")
    assert "s3cret" not in repr(opened)
    assert opened.url == "http://127.0.0.1:8931/lab?token=s3cret"


def test_a_spot_server_has_a_price_of_its_own() -> None:
    on_demand, spot = (
        prices.instance_hour("g4dn.xlarge", "ap-northeast-1", spot=spot) for spot in (False, True)
    )
    assert (on_demand, spot) == (0.71, 0.2853)
    assert prices.instance_hour("t3.large", "us-east-1", spot=True) is None
    kind = kinds.KINDS["ec2:RunInstances"]
    request = {"InstanceType": "g4dn.xlarge", "InstanceMarketOptions": {"MarketType": "spot"}}
    assert kind.usd_per_hour(request, "us-east-1") == pytest.approx(0.2158 + 0.005)


def test_help_needs_no_boto3() -> None:
    code = "import sys, runpy; sys.argv = ['x', '--help']\n"
    code += "try: runpy.run_module('awslabs.gpu', run_name='__main__')\n"
    code += "except SystemExit: pass\n"
    code += "assert not {'boto3', 'botocore', 'paramiko', 'rich', 'docker'} & sys.modules.keys()"
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


# -- What runs in the server's shell ---------------------------------------------------------------------


class Shell:
    """A home and a PATH with made-up programs; what they are called with is written down."""

    def __init__(self, folder: Path) -> None:
        self.home, self.programs, self.log = folder / "user", folder / "bin", folder / "log"
        self.home.mkdir()
        self.programs.mkdir()

    def program(self, name: str, script: str) -> None:
        path = self.programs / name
        path.write_text(f'#!/bin/sh\necho "{name} $*" >> "{self.log}"\n{script}\n')
        path.chmod(0o755)

    def python(self, name: str, *, version: int, torch: bool, where: str = "/nowhere") -> None:
        """A Python that answers our questions: is it 3.`version`, has it torch; it makes virtualenvs, too."""
        makes = 'mkdir -p "$4/bin" && cp "$0" "$4/bin/python"'
        self.program(
            name,
            f'case "$*" in *version_info*) exit {int(version < 10)} ;; *find_spec*) exit {int(not torch)} ;;'
            f' *purelib*) echo {where} ;; "-m venv"*) {makes} ;; esac',
        )

    def start(self, script: str, *arguments: str) -> subprocess.Popen:
        return subprocess.Popen(
            ["sh", "-c", script, "sh", *arguments],
            env={"HOME": str(self.home), "PATH": f"{self.programs}:/usr/bin:/bin"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def __call__(self, script: str, *arguments: str) -> subprocess.CompletedProcess:
        with self.start(script, *arguments) as process:
            return subprocess.CompletedProcess(
                process.args, stdout=process.communicate()[0], returncode=process.returncode
            )

    @property
    def calls(self) -> list[str]:
        """Lines of the log that are no questions."""
        return [line for line in self.log.read_text().splitlines() if " -c " not in line]


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    if os.path.exists("/opt/pytorch/bin/python"):
        pytest.skip("this computer is a Deep Learning AMI itself")
    made = Shell(tmp_path)
    for newer in ("python3.13", "python3.12", "python3.11"):
        made.program(newer, "exit 127")
    return made


def test_a_python_with_pytorch_is_taken_as_it_is(shell: Shell) -> None:
    shell.python("python3", version=11, torch=True)
    done = shell(notebook.FIND_PYTHON)
    assert done.stdout.strip() == str(shell.programs / "python3")
    assert shell.calls == []
    assert (shell.home / ".awslabs").stat().st_mode & 0o777 == 0o700
    assert "export MNIST_DEVICE=auto\n" in (shell.home / ".awslabs/python").read_text()
    assert shell(f"{shell.home}/.awslabs/python a 'b c'").returncode == 0
    assert shell.calls == ["python3 a b c"]


def test_a_python_without_pytorch_gets_a_virtualenv_once(shell: Shell) -> None:
    shell.python("python3", version=9, torch=False)
    shell.python("python3.12", version=12, torch=False)
    venv = shell.home / ".awslabs/venv"
    for _ in range(2):
        assert shell(notebook.FIND_PYTHON).stdout.strip() == str(venv / "bin/python")
    assert shell.calls == [f"python3.12 -m venv --clear {venv}"]


def test_a_virtualenv_that_is_half_made_is_made_again(shell: Shell) -> None:
    shell.python("python3", version=11, torch=False)
    (shell.home / ".awslabs/venv/bin").mkdir(parents=True)
    assert shell(notebook.FIND_PYTHON).returncode == 0
    assert len(shell.calls) == 1


def test_amazon_linux_with_an_old_python_gets_a_newer_one(shell: Shell, tmp_path: Path) -> None:
    shell.python("python3", version=9, torch=False)
    shell.python("newer", version=12, torch=False)
    shell.program("sudo", f'cp "{shell.programs}/newer" "{shell.programs}/python3.12"; echo installed')
    done = shell(notebook.FIND_PYTHON)
    assert done.stdout.strip() == str(shell.home / ".awslabs/venv/bin/python")  # and nothing else
    assert shell.calls[0] == "sudo dnf install -y -q python3.12"


def test_ubuntu_without_venv_gets_its_package(shell: Shell) -> None:
    shell.program(
        "python3", 'case "$*" in *find_spec*) exit 1 ;; "-m venv"*) [ -e ~/package ] && mkdir -p "$4" ;; esac'
    )
    shell.program("sudo", "case $2 in install) touch ~/package ;; esac")
    assert shell(notebook.FIND_PYTHON).returncode == 0
    assert [call for call in shell.calls if "sudo" in call] == [
        "sudo apt-get update -q",
        "sudo apt-get install -y -q -o DPkg::Lock::Timeout=300 python3-venv",
    ]


@pytest.mark.skipif(shutil.which("flock") is None, reason="this computer has no flock (util-linux)")
@pytest.mark.parametrize("mine", [True, False])
def test_a_second_installation_waits_for_the_first(shell: Shell, tmp_path: Path, mine: bool) -> None:
    """Its `up` was killed, and pip runs on. With sudo, too, which closes what it was given."""
    shell.python("python3", version=11, torch=False, where=str(tmp_path) if mine else "/nowhere")
    shell.program("pip", "echo began; read go < ~/gate; touch ~/ended")
    os.mkfifo(shell.home / "gate")
    shell.program("sudo", 'exec 9>&-; shift; "$@"')
    slow = shell.programs / "slow"
    slow.write_text(
        f'#!/bin/sh\ncase "$*" in *pip*) exec pip ;; *) exec {shell.programs}/python3 "$@" ;; esac\n'
    )
    slow.chmod(0o755)
    first = shell.start(notebook.INSTALL, str(slow), "torch")
    assert first.stdout
    assert first.stdout.readline() == "began\n"
    second = shell.start(notebook.FIND_PYTHON + "test -e ~/ended && echo after")
    third = shell.start(notebook.INSTALL.replace("1800", "0"), "python3", "torch")
    assert third.wait(120) == 1
    assert third.stderr
    assert "another installation" in third.stderr.read()
    with open(shell.home / "gate", "w") as gate:
        gate.write("go\n")
    assert second.communicate(timeout=120)[0].endswith("\nafter\n")
    assert first.wait(120) == 0


@pytest.mark.parametrize("mine", [True, False])
def test_packages_that_belong_to_root_are_installed_with_sudo(
    shell: Shell, tmp_path: Path, mine: bool
) -> None:
    shell.python("python3", version=11, torch=False, where=str(tmp_path) if mine else "/nowhere")
    shell.program("sudo", "exit 0")
    python = str(shell.programs / "python3")
    assert shell(notebook.INSTALL, python, "torch").returncode == 0
    pip = "-m pip install --quiet --disable-pip-version-check torch"
    assert shell.calls == ([f"python3 {pip}"] if mine else [f"sudo -H {python} {pip}"])


def test_the_token_is_drawn_once_and_only_its_owner_may_read_it(shell: Shell) -> None:
    shell.program("systemctl", "exit 0")  # it runs already
    (shell.home / ".awslabs").mkdir()
    for _ in range(2):
        assert shell(notebook.START).returncode == 0
    token = shell.home / ".awslabs/token"
    assert token.stat().st_mode & 0o777 == 0o600
    first = token.read_text()
    assert len(first) == 48
    assert set(first) <= set("0123456789abcdef")
    assert shell(notebook.START).returncode == 0
    assert token.read_text() == first


def test_jupyter_is_started_on_loopback_and_its_token_is_no_argument(shell: Shell) -> None:
    shell.python("python3", version=11, torch=True)
    shell(notebook.FIND_PYTHON, "cuda")
    shell.program("systemctl", "exit 3")
    shell.program("sudo", "exit 0")
    assert shell(notebook.START.replace("UNIT", "nb").replace("PORT", "8888")).returncode == 0
    (line,) = [call for call in shell.calls if call.startswith("sudo systemd-run")]
    assert "--unit=nb" in line
    assert "--setenv=MNIST_DEVICE=cuda" in line
    assert f"{shell.programs}/python3 -m jupyterlab --no-browser --ip=127.0.0.1 --port=8888" in line
    assert (shell.home / ".awslabs/token").read_text() not in line


def test_of_the_notes_of_jupyter_only_that_of_a_living_process_counts(shell: Shell) -> None:
    runtime = shell.home / ".awslabs/runtime"
    runtime.mkdir(parents=True)
    assert shell(notebook.RUNNING).stdout == ""
    (runtime / f"jpserver-{os.getpid()}.json").write_text('{"port": 1}')
    (runtime / "jpserver-99999999.json").write_text('{"port": 2}')
    assert shell(notebook.RUNNING).stdout == '{"port": 1}'
