"""The first lab as a student runs it: commands in a terminal, the practice cloud, OpenSSH."""

from __future__ import annotations

import http.client
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path
from typing import Any
from unittest import mock

import pexpect
import pytest
from sshd import free_port

from awslabs import ec2 as chapter1
from awslabs import sandbox

LAB = [sys.executable, "-m", "awslabs.ec2"]
SHORT_LIVED = 'import awslabs, awslabs.ec2 as ec2; ec2.up(awslabs.lab("ec2", name="ttl"), ttl_minutes=1)'
IMPATIENT = "from awslabs import ec2, servers; servers.PATIENCE_S = 1; ec2.command_line()(prog_name='%s')"
KEYS = {"lab", "name", "cloud", "account", "region", "ledger", "usd_per_hour", "resources", "instance_id"}
pytestmark = [
    pytest.mark.live,
    pytest.mark.skipif(
        shutil.which("ssh") is None, reason="needs OpenSSH's client: apt install openssh-client"
    ),
]


class Lab:
    """One lab that stands, and the environment that its commands run in."""

    def __init__(self, run: sandbox.Run, environment: dict[str, str]) -> None:
        self.run, self.environment = run, environment
        self.up = json.loads(self("up", "--json").stdout)

    def __call__(self, *arguments: str, expect: int = 0, **options: Any) -> subprocess.CompletedProcess:
        done = subprocess.run(
            [*LAB, *arguments], env=self.environment, capture_output=True, text=True, **options
        )
        assert done.returncode == expect, done.stdout + done.stderr
        return done

    @property
    def ssh(self) -> list[str]:
        """The command that `up` prints, split as a shell does."""
        return shlex.split(self.up["ssh"]["command"])


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    home = tmp_path_factory.mktemp("ec2")
    run = sandbox.start(slow_states=0, home=home / "awslabs")
    environment = {**run.surroundings(), "AWSLABS_HOME": str(home / "awslabs"), "HOME": str(home)}
    try:
        lab = Lab(run, environment)
        subprocess.run([sys.executable, "-c", SHORT_LIVED], env=environment, check=True)
        yield lab
        lab("down")
    finally:
        run.stop()


def test_up_prints_one_json_object_with_the_promised_keys(lab: Lab) -> None:
    assert lab.up.keys() >= KEYS | {"public_ip", "ssh"}
    assert lab.up["ssh"].keys() >= {"host", "port", "user", "key_path", "known_hosts_path", "command"}
    assert lab.up["cloud"] == "sandbox"
    assert list(lab.up["resources"]) == [
        "vpc",
        "subnet",
        "internet-gateway",
        "gateway-attachment",
        "security-group",
        "key-pair",
        "instance",
    ]
    assert lab.up["usd_per_hour"] == pytest.approx(0.0163, abs=0.0001)


def test_the_printed_command_runs_uname(lab: Lab) -> None:
    done = subprocess.run([*lab.ssh, "uname", "-a"], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0
    assert done.stdout.startswith(os.uname().sysname)


def test_the_exit_status_of_the_remote_command_is_ours(lab: Lab) -> None:
    assert lab("ssh", "--", "echo out; echo err >&2; exit 7", expect=7).stdout == "out\n"


def test_an_interactive_shell_has_a_terminal(lab: Lab) -> None:
    shell = pexpect.spawn(lab.ssh[0], lab.ssh[1:], timeout=120, encoding="utf-8", dimensions=(33, 111))
    shell.sendline("stty size; tty; exit 3")
    shell.expect("33 111")
    shell.expect("/dev/")
    shell.expect(pexpect.EOF)
    shell.close()
    assert shell.exitstatus == 3


def test_scp_copies_there_and_back(lab: Lab, tmp_path: Path) -> None:
    scp = ["scp", *["-P" if word == "-p" else word for word in lab.ssh[1:-1]]]
    (tmp_path / "there.txt").write_text("haiku")
    for source, target in (
        (str(tmp_path / "there.txt"), f"{lab.ssh[-1]}:x.txt"),
        (f"{lab.ssh[-1]}:x.txt", str(tmp_path / "back.txt")),
    ):
        subprocess.run([*scp, source, target], check=True, capture_output=True, timeout=120)
    assert (tmp_path / "back.txt").read_text() == "haiku"


def test_put_and_get_copy_a_folder(lab: Lab, tmp_path: Path) -> None:
    (tmp_path / "folder" / "deep").mkdir(parents=True)
    (tmp_path / "folder" / "deep" / "file").write_text("42")
    assert json.loads(lab("put", str(tmp_path / "folder"), "--json").stdout)["remote"].endswith("folder")
    assert lab("ssh", "--", "cat folder/deep/file").stdout == "42"
    brought = lab("get", "folder/deep/file", str(tmp_path / "file"), "--json").stdout
    assert json.loads(brought) == {"local": str(tmp_path / "file")}
    assert (tmp_path / "file").read_text() == "42"


def test_a_web_server_on_the_instance_is_reached_through_a_forwarded_port(lab: Lab) -> None:
    local = free_port()
    serve = (
        "mkdir -p www && echo served > www/index.html && exec python3 -u -m http.server -b 127.0.0.1 -d www 0"
    )
    with subprocess.Popen([*lab.ssh, serve], stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout
        remote = re.search(r"port (\d+)", server.stdout.readline())
        assert remote
        forward = [*lab.ssh[:1], "-N", "-L", f"{local}:127.0.0.1:{remote[1]}", *lab.ssh[1:]]
        with subprocess.Popen(forward) as tunnel:
            try:
                assert fetch(local) == b"served\n"
            finally:
                tunnel.kill()
                server.kill()


def fetch(port: int) -> bytes:
    """The page behind a port that a tunnel opens soon."""
    for _ in range(1200):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
        try:
            connection.request("GET", "/")
            return connection.getresponse().read()
        except (ConnectionError, http.client.HTTPException):
            time.sleep(0.1)
        finally:
            connection.close()
    raise AssertionError("the tunnel never opened")


def test_another_key_is_refused(lab: Lab, tmp_path: Path) -> None:
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", tmp_path / "other"], check=True)
    command = [str(tmp_path / "other") if word == lab.up["ssh"]["key_path"] else word for word in lab.ssh]
    done = subprocess.run(
        [*command, "-o", "BatchMode=yes"][:-2] + ["true"], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 255
    assert "Permission denied" in done.stderr


def test_a_changed_host_key_is_refused(lab: Lab, tmp_path: Path) -> None:
    known = Path(lab.up["ssh"]["known_hosts_path"])
    before = known.read_text()
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", tmp_path / "other"], check=True)
    host = before.split()[0]
    key = " ".join((tmp_path / "other.pub").read_text().split()[:2])
    try:
        known.write_text(f"{host} {key}\n")
        done = subprocess.run([*lab.ssh, "true"], capture_output=True, text=True, timeout=120)
    finally:
        known.write_text(before)
    assert done.returncode == 255
    assert "HOST IDENTIFICATION HAS CHANGED" in done.stderr


def test_up_again_makes_no_changing_call_and_prints_the_same(lab: Lab) -> None:
    before = len(lab.run.calls())
    again = json.loads(lab("up", "--json").stdout)
    changing = [
        call["operation"]
        for call in lab.run.calls()[before:]
        if not re.search(":(Describe|Get|List)", call["operation"])
    ]
    assert changing == []
    assert {key: again[key] for key in again if key != "usd_so_far"} == {
        key: lab.up[key] for key in lab.up if key != "usd_so_far"
    }


def test_the_server_is_what_the_page_says(lab: Lab) -> None:
    """Encrypted gp3, IMDSv2 only, tags on all of it, SSH from one address, in a zone that offers the type."""
    import boto3

    environment = lab.run.environment()
    ec2 = boto3.client(
        "ec2",
        endpoint_url=lab.run.endpoint_url,
        region_name="us-east-1",
        aws_access_key_id=environment["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=environment["AWS_SECRET_ACCESS_KEY"],
    )
    (instance,) = ec2.describe_instances(InstanceIds=[lab.up["instance_id"]])["Reservations"][0]["Instances"]
    assert instance["MetadataOptions"]["HttpTokens"] == "required"
    volume_id = instance["BlockDeviceMappings"][0]["Ebs"]["VolumeId"]
    (volume,) = ec2.describe_volumes(VolumeIds=[volume_id])["Volumes"]
    assert (volume["Encrypted"], volume["VolumeType"]) == (True, "gp3")
    for tags in (instance["Tags"], volume["Tags"]):
        assert {tag["Key"] for tag in tags} >= {
            "awslabs:ledger",
            "awslabs:owner",
            "awslabs:row",
            "awslabs:token",
        }
    (group,) = ec2.describe_security_groups(GroupIds=[lab.up["resources"]["security-group"]])[
        "SecurityGroups"
    ]
    (rule,) = group["IpPermissions"]
    assert [one["CidrIp"] for one in rule["IpRanges"]] == ["127.0.0.1/32"]


def test_the_private_key_is_for_its_owner_alone(lab: Lab) -> None:
    key = Path(lab.up["ssh"]["key_path"])
    assert key.stat().st_mode & 0o777 == 0o400
    assert key.parent.stat().st_mode & 0o777 == 0o700


def test_status_without_a_server_says_so(lab: Lab) -> None:
    done = lab("status", "--name", "other")
    assert "The lab does not stand. Missing: instance." in done.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ["up", "--ttl", "soon"],
        ["up", "--allow-from", "0.0.0.0/0"],
        ["up", "--allow-from", "me"],
        ["rise"],
        ["up", "--nope"],
    ],
)
def test_wrong_usage_exits_with_2(lab: Lab, arguments: list[str]) -> None:
    lab(*arguments, expect=2)


def test_a_server_that_was_stopped_and_started_is_still_trusted(lab: Lab) -> None:
    up = json.loads(lab("up", "--name", "moved", "--json").stdout)
    import boto3

    ec2 = boto3.client(
        "ec2",
        endpoint_url=lab.run.endpoint_url,
        region_name="us-east-1",
        aws_access_key_id=lab.environment["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=lab.environment["AWS_SECRET_ACCESS_KEY"],
    )
    same = {"InstanceIds": [up["instance_id"]]}
    ec2.stop_instances(**same)
    ec2.get_waiter("instance_stopped").wait(**same, WaiterConfig={"Delay": 1})
    again = json.loads(lab("up", "--name", "moved", "--json").stdout)  # starts it
    assert again["instance_id"] == up["instance_id"]
    assert again["ssh"]["port"] != up["ssh"]["port"]
    assert "HOST KEY" not in ec2.get_console_output(InstanceId=up["instance_id"])["Output"]
    done = subprocess.run([*shlex.split(again["ssh"]["command"]), "echo in"], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "in\n")
    lab("down", "--name", "moved")


def test_the_firewall_keeps_out_whom_it_does_not_let_in(lab: Lab) -> None:
    """Another address, no rule at all, no route: SSH hears nothing; who is in stays in; `up` mends it."""
    run = [sys.executable, "-c", IMPATIENT % "python -m awslabs.ec2", "up", "--name", "wall"]
    shut = subprocess.run(
        [*run, "--allow-from", "203.0.113.7/32"], env=lab.environment, capture_output=True, text=True
    )
    assert shut.returncode == 1, shut.stdout
    assert re.search(
        r"why: +sg-\w+ lets in 203.0.113.7/32; this computer's address is 127.0.0.1", shut.stderr
    )
    assert "fix:   python -m awslabs.ec2 up --name wall --allow-from 127.0.0.1/32" in shut.stderr
    up = json.loads(lab("up", "--name", "wall", "--json").stdout)
    ssh = shlex.split(up["ssh"]["command"])
    ssh[1:1] = ["-o", "ConnectTimeout=2"]

    import boto3

    ec2 = boto3.client(
        "ec2",
        endpoint_url=lab.run.endpoint_url,
        region_name="us-east-1",
        aws_access_key_id=lab.environment["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=lab.environment["AWS_SECRET_ACCESS_KEY"],
    )
    group_id, vpc_id = up["resources"]["security-group"], up["resources"]["vpc"]
    (group,) = ec2.describe_security_groups(GroupIds=[group_id])["SecurityGroups"]
    filters = [{"Name": "vpc-id", "Values": [vpc_id]}]
    (table,) = ec2.describe_route_tables(Filters=filters)["RouteTables"]

    def revoke() -> None:
        ec2.revoke_security_group_ingress(GroupId=group_id, IpPermissions=group["IpPermissions"])

    def unroute() -> None:
        ec2.delete_route(RouteTableId=table["RouteTableId"], DestinationCidrBlock="0.0.0.0/0")

    for shut_off in (revoke, unroute):
        with subprocess.Popen([*ssh, "cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as inside:
            assert inside.stdin
            assert inside.stdout
            inside.stdin.write(b"in\n")
            inside.stdin.flush()
            assert inside.stdout.readline() == b"in\n"
            shut_off()
            line = [ssh[0], "-o", "ConnectTimeout=2", *ssh[1:], "true"]  # a person waits for longer
            done = subprocess.run(line, capture_output=True, text=True)
            assert done.returncode == 255
            assert "timed out" in done.stderr
            assert inside.communicate(b"still\n", timeout=120)[0] == b"still\n"
        assert json.loads(lab("up", "--name", "wall", "--json").stdout)["state"] == "running"
    lab("down", "--name", "wall")


def test_a_server_with_a_ttl_ends_itself_and_says_so(lab: Lab) -> None:
    """It was built with a minute to live, before the other tests: it powers off, and that is its end.

    Where those took long, its switch has taken down all of the lab by now.
    """
    for _ in range(240):
        state = json.loads(lab("status", "--name", "ttl", "--json").stdout).get("state", "gone")
        if state in ("terminated", "gone"):
            break
        time.sleep(1)
    assert state in ("terminated", "gone")
    assert "python -m awslabs.ec2 up --name ttl" in lab("ssh", "--name", "ttl", expect=1).stderr
    lab("down", "--name", "ttl")
    assert json.loads(lab("status", "--name", "ttl", "--json").stdout)["resources"] == {}


def test_the_timer_of_a_ttl_is_one_that_systemd_takes(tmp_path: Path) -> None:
    if not shutil.which("systemd-analyze"):
        pytest.skip("it asks systemd-analyze, and this computer has none: apt-get install systemd")
    (tmp_path / "systemctl").write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/orders\n')
    (tmp_path / "systemctl").chmod(0o755)
    nothing = mock.Mock(journal=mock.Mock(last=lambda name: None))  # stands yet
    script = chapter1.shutdown_after(nothing, 90)["UserData"].replace("/etc/systemd/system", str(tmp_path))
    before = time.time()
    subprocess.run(["sh", "-ec", script], env={"PATH": f"{tmp_path}:{os.environ['PATH']}"}, check=True)
    assert (tmp_path / "orders").read_text() == "enable --now awslabs-ttl.timer\n"
    units = [str(tmp_path / f"awslabs-ttl.{kind}") for kind in ("service", "timer")]
    judged = subprocess.run(["systemd-analyze", "verify", *units], capture_output=True, text=True)
    assert (judged.returncode, judged.stderr) == (0, "")
    timer = dict(line.split("=") for line in Path(units[1]).read_text().splitlines() if "=" in line)
    assert timer["Persistent"] == "true"
    read = subprocess.run(
        ["systemd-analyze", "calendar", timer["OnCalendar"]], capture_output=True, text=True, check=True
    )
    assert f"Normalized form: {timer['OnCalendar']}" in read.stdout
    at = datetime.strptime(timer["OnCalendar"], "%Y-%m-%d %H:%M:%S UTC").replace(tzinfo=timezone.utc)
    assert before + 90 * 60 - 1 <= at.timestamp() <= time.time() + 90 * 60


def test_help_needs_no_boto3() -> None:
    code = "import sys, runpy; sys.argv = ['x', '--help']\n"
    code += "try: runpy.run_module('awslabs.ec2', run_name='__main__')\n"
    code += (
        "except SystemExit: pass\nassert not {'boto3', 'botocore', 'paramiko', 'rich'} & sys.modules.keys()"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
